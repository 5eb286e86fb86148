//! The async face, on tokio: the same log, journal, snapshots, chunked and append-only files, awaited.
//!
//! Blocking work runs on tokio's blocking pool, one task at a time for all who wait; nothing blocks an executor, and one
//! blocking thread is enough. Dropping a future changes nothing: what was appended is acknowledged, or not, all the same.
//!
//! [`fold`] follows a source into a fold.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::log::{LogOptions, LogReport, Upto};
use crate::{Error, ErrorKind, Result};

pub mod append;
pub mod chunked;
pub mod fold;
mod journal;
mod lent;
pub mod pool;
pub mod snapshot;

pub use journal::Journal;

/// A log whose calls are awaited. See [`log::Log`](crate::log::Log).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use untorn::aio::Log;
/// use untorn::log::LogOptions;
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("events");
/// let (log, _) = Log::open(&dir, LogOptions::new()).await?;
/// let first = log.append(b"created").await?;
/// let second = log.append(b"renamed").await?;
/// assert_eq!((first.await?, second.await?), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Log(crate::log::Log);

impl Log {
    /// Opens or creates a log. As [`log::Log::open`](crate::log::Log::open).
    ///
    /// # Errors
    /// As [`log::Log::open`](crate::log::Log::open).
    pub async fn open(path: impl AsRef<Path>, options: LogOptions) -> Result<(Self, LogReport)> {
        let path = path.as_ref().to_path_buf();
        let given = path.clone();
        let (log, report) = blocking(&given, move || crate::log::Log::open(path, options)).await?;
        Ok((Self(log), report))
    }

    /// The same log, for calls that block.
    pub const fn get(&self) -> &crate::log::Log {
        &self.0
    }

    /// Appends a record; the ticket is a future of its own. Waits only where space has to be prepared.
    ///
    /// # Errors
    /// As [`log::Log::append`](crate::log::Log::append).
    pub async fn append(&self, record: &[u8]) -> Result<Ticket> {
        match self.0.try_append(record) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let (log, record) = (self.0.clone(), record.to_vec());
                blocking(self.0.path(), move || log.append(&record)).await.map(Ticket)
            }
            other => other.map(Ticket),
        }
    }

    /// Syncs everything that was appended before the call. As [`log::Log::sync`](crate::log::Log::sync).
    ///
    /// # Errors
    /// As [`log::Log::sync`](crate::log::Log::sync).
    pub async fn sync(&self) -> Result<u64> {
        let log = self.0.clone();
        blocking(self.0.path(), move || log.sync()).await
    }

    /// Reads records from `from` on, with their numbers, until they are `max_bytes` or the end comes; at least one if there is
    /// one.
    ///
    /// # Errors
    /// As [`log::Log::read`](crate::log::Log::read) and [`Scan::next`](crate::log::Scan::next).
    pub async fn read(
        &self,
        from: u64,
        upto: Upto,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>> {
        let log = self.0.clone();
        blocking(self.0.path(), move || {
            let mut scan = log.read(from, upto)?;
            let (mut records, mut bytes) = (Vec::new(), 0_usize);
            while let Some(record) = scan.next()? {
                bytes = bytes.saturating_add(record.bytes.len());
                records.push((record.seq, record.bytes.to_vec()));
                if bytes >= max_bytes {
                    break;
                }
            }
            Ok(records)
        })
        .await
    }

    /// Closes the log. As [`log::Log::close`](crate::log::Log::close).
    ///
    /// # Errors
    /// As [`log::Log::close`](crate::log::Log::close).
    pub async fn close(self) -> Result<()> {
        let path = self.0.path().to_path_buf();
        blocking(&path, move || self.0.close()).await
    }
}

/// A record that was appended: await it for its acknowledgement. Dropping it changes nothing.
#[derive(Clone, Debug)]
#[must_use = "await it to know that the record is acknowledged"]
pub struct Ticket(crate::log::Ticket);

impl Ticket {
    /// The record's sequence number.
    pub const fn seq(&self) -> u64 {
        self.0.seq
    }
}

impl Future for Ticket {
    type Output = Result<u64>;

    /// # Panics
    /// Outside of a tokio runtime, as every blocking task does.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.0.poll(context.waker()) {
            return Poll::Ready(outcome);
        }
        if let Some(task) = self.0.task() {
            drop(tokio::task::spawn_blocking(move || task.run()));
        }
        Poll::Pending
    }
}

/// Runs a blocking call on tokio's pool. A panic in it goes on here; a runtime that shuts down is `Cancelled`.
async fn blocking<T: Send + 'static>(
    path: &Path,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => {
            let what = "the runtime shuts down; the call may have been done or not";
            let error = Error::new(ErrorKind::Cancelled, "await", path, what);
            Err(error.with_outcome(crate::Outcome::Unknown))
        }
    }
}
