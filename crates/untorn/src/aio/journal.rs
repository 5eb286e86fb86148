//! The journal, awaited.

use std::path::Path;

use super::{Ticket, blocking};
use crate::Result;
use crate::journal::{JournalOptions, Machine, RecoveryReport};
use crate::snapshot::SnapshotInfo;

/// A journal whose calls are awaited. See [`journal::Journal`](crate::journal::Journal).
///
/// Dropping a future changes nothing: a decision that was begun is made, logged and applied, and its event becomes durable with
/// the next sync, or the program ends before.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # use untorn::codec::Json;
/// # use untorn::journal::{JournalOptions, Machine};
/// # struct Sum(u64);
/// # impl Machine for Sum {
/// #     type Event = u64;
/// #     type View = u64;
/// #     type EventCodec = Json;
/// #     type ViewCodec = Json;
/// #     const NAME: &'static str = "sum";
/// #     const VERSION: u32 = 1;
/// #     fn apply(&mut self, _seq: u64, event: &u64) { self.0 += *event; }
/// #     fn capture(&self) -> u64 { self.0 }
/// #     fn restore(view: u64) -> Result<Self, String> { Ok(Self(view)) }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("sum");
/// use untorn::aio::Journal;
/// let (journal, _) = Journal::open(&dir, Sum(0), JournalOptions::new()).await?;
/// let doubled = journal.update(|sum| Ok::<_, ()>((5, sum.0 + 5))).await?;
/// assert_eq!(doubled, Ok(5)); // durable
/// assert_eq!(journal.read(|sum| sum.0).await?, 5);
/// journal.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Journal<M: Machine>(crate::journal::Journal<M>);

impl<M: Machine + 'static> Journal<M> {
    /// Opens or creates a journal. As [`journal::Journal::open`](crate::journal::Journal::open).
    ///
    /// # Errors
    /// As [`journal::Journal::open`](crate::journal::Journal::open).
    pub async fn open(
        path: impl AsRef<Path>,
        initial: M,
        options: JournalOptions,
    ) -> Result<(Self, RecoveryReport)> {
        let path = path.as_ref().to_path_buf();
        let given = path.clone();
        let open = move || crate::journal::Journal::open(path, initial, options);
        let (journal, report) = blocking(&given, open).await?;
        Ok((Self(journal), report))
    }

    /// The same journal, for calls that block.
    pub const fn get(&self) -> &crate::journal::Journal<M> {
        &self.0
    }

    /// Decides, logs, applies, and is ready when the event is durable. As [`journal::Journal::update`](crate::journal::Journal::update).
    ///
    /// # Errors
    /// As [`journal::Journal::update`](crate::journal::Journal::update).
    ///
    /// # Panics
    /// If `decide` does; nothing happened then.
    pub async fn update<R, X>(
        &self,
        decide: impl FnOnce(&M) -> Result<(M::Event, R), X> + Send + 'static,
    ) -> Result<Result<R, X>>
    where
        R: Send + 'static,
        X: Send + 'static,
    {
        let journal = self.0.clone();
        let (decided, ticket) =
            blocking(self.0.path(), move || journal.begin_update(decide)).await?;
        self.acknowledged(ticket).await?;
        Ok(decided)
    }

    /// Logs and applies an event; the ticket is a future of its own. As [`journal::Journal::submit`](crate::journal::Journal::submit).
    ///
    /// # Errors
    /// As [`journal::Journal::submit`](crate::journal::Journal::submit).
    pub async fn submit(&self, event: M::Event) -> Result<Ticket>
    where
        M::Event: Send + 'static,
    {
        let journal = self.0.clone();
        blocking(self.0.path(), move || journal.submit(event)).await.map(Ticket)
    }

    /// Reads the state; ready when all that `look` saw is durable. As [`journal::Journal::read`](crate::journal::Journal::read).
    ///
    /// # Errors
    /// As [`journal::Journal::read`](crate::journal::Journal::read).
    ///
    /// # Panics
    /// If `look` does.
    pub async fn read<R: Send + 'static>(
        &self,
        look: impl FnOnce(&M) -> R + Send + 'static,
    ) -> Result<R> {
        let journal = self.0.clone();
        let (result, ticket) = blocking(self.0.path(), move || journal.begin_read(look)).await?;
        self.acknowledged(ticket).await?;
        Ok(result)
    }

    /// Syncs all events that were logged before. As [`journal::Journal::sync`](crate::journal::Journal::sync).
    ///
    /// # Errors
    /// As [`journal::Journal::sync`](crate::journal::Journal::sync).
    pub async fn sync(&self) -> Result<u64> {
        let journal = self.0.clone();
        blocking(self.0.path(), move || journal.sync()).await
    }

    /// Writes the state down. As [`journal::Journal::checkpoint`](crate::journal::Journal::checkpoint).
    ///
    /// # Errors
    /// As [`journal::Journal::checkpoint`](crate::journal::Journal::checkpoint).
    pub async fn checkpoint(&self) -> Result<SnapshotInfo> {
        let journal = self.0.clone();
        blocking(self.0.path(), move || journal.checkpoint()).await
    }

    /// Closes the journal. As [`journal::Journal::close`](crate::journal::Journal::close).
    ///
    /// # Errors
    /// As [`journal::Journal::close`](crate::journal::Journal::close).
    pub async fn close(self) -> Result<()> {
        let path = self.0.path().to_path_buf();
        blocking(&path, move || self.0.close()).await
    }

    /// Waits as a future does: one blocking thread syncs for all who wait.
    async fn acknowledged(&self, ticket: Option<crate::log::Ticket>) -> Result<()> {
        match ticket {
            None => Ok(()),
            Some(ticket) => Ticket(ticket).await.map(drop).map_err(|error| self.0.failed(error)),
        }
    }
}

impl<M: Machine> Clone for Journal<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Machine> std::fmt::Debug for Journal<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
