//! Writing typed events to a log.

use std::marker::PhantomData;
use std::path::Path;

use super::{RepairPolicy, WalEvent, WalFsWriterInitError, WalOptions, WalWriter, WalWriterError};
use crate::codec::{Codec, Json};
use crate::log::{Log, LogReport, Ticket};
use crate::{Error, ErrorKind, Result};

/// The writer of a write-ahead log. See the [module](super).
///
/// # Concurrency
/// One writer at a time, of all processes: a second one is `Locked`. Its threads may share it: [`submit`](Self::submit)
/// takes `&self`. Any number of readers.
#[derive(Debug)]
pub struct WalFsWriter<E, C = Json> {
    log: Log,
    report: LogReport,
    codec: C,
    events: PhantomData<fn(&E)>,
}

impl<E> WalFsWriter<E>
where
    Json: Codec<E>,
{
    /// Opens or creates the log in the directory `dir`, with events as JSON.
    ///
    /// # Durability
    /// **On `Ok`** every event that is there is durable, and so are the names that lead to the log. A torn tail is cut, with
    /// a copy: see [`report`](Self::report). **On `Err`**, **if the process dies** or **if power fails** nothing that was
    /// acknowledged is lost; the next open goes on.
    ///
    /// # Cost
    /// As [`Log::open`]. Reads the last segment.
    ///
    /// # Errors
    /// `Locked`; `Damaged` with file and offset, nothing changed; `NotOurs` for anything but a directory of ours, such as the
    /// single file of an older program: [`convert_old_wal`](super::convert_old_wal); `NewerFormat`; `Precondition` for the
    /// log of another owner; `NoSpace`; `Io`.
    pub fn new(dir: impl AsRef<Path>) -> Result<Self, WalFsWriterInitError> {
        Self::with(dir, WalOptions::new())
    }

    /// As [`new`](Self::new): both policies heal a torn tail, neither cuts damage.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_with_repair(
        dir: impl AsRef<Path>,
        _policy: RepairPolicy,
    ) -> Result<Self, WalFsWriterInitError> {
        Self::new(dir)
    }
}

impl<E, C: Codec<E>> WalFsWriter<E, C> {
    /// As [`new`](WalFsWriter::new), with options.
    ///
    /// # Errors
    /// As [`new`](WalFsWriter::new); `InvalidInput` for options that contradict each other.
    pub fn with(
        dir: impl AsRef<Path>,
        options: WalOptions<C>,
    ) -> Result<Self, WalFsWriterInitError> {
        let (log, report) = Log::open(dir, options.log)?;
        Ok(Self { log, report, codec: options.codec, events: PhantomData })
    }

    /// Appends an event and numbers it; the ticket has the number, and waits for the acknowledgement.
    ///
    /// # Durability
    /// As [`Log::append`]: durable once the ticket was waited for, or [`flush`](WalWriter::flush) has returned.
    ///
    /// # Cost
    /// As [`Log::append`], and the encoding.
    ///
    /// # Errors
    /// `Codec`, and those of [`Log::append`].
    pub fn submit(&self, event: &E) -> Result<Ticket, WalWriterError> {
        let mut bytes = Vec::new();
        self.codec.encode(event, &mut bytes)?;
        self.log.append(&bytes)
    }
}

impl<E, C> WalFsWriter<E, C> {
    /// The number of the last event that was appended; 0 if there is none.
    pub fn current_sequence(&self) -> u64 {
        self.log.next_seq().saturating_sub(1)
    }

    /// What the open found, and whether it healed something.
    pub const fn report(&self) -> &LogReport {
        &self.report
    }

    /// The log itself: to truncate, to read, for its numbers.
    pub const fn log(&self) -> &Log {
        &self.log
    }
}

impl<E, C: Codec<E>> WalWriter<E> for WalFsWriter<E, C> {
    /// Appends an event whose sequence is the next one.
    ///
    /// # Durability
    /// **On `Ok`** it is in memory; [`flush`](WalWriter::flush) makes it durable. **On `Err`** there is no such event. **If the
    /// process dies** or **if power fails** before the flush returned, it is there whole or not at all, and never without all
    /// before it.
    ///
    /// # Cost
    /// As [`Log::append`], and the encoding.
    ///
    /// # Errors
    /// `OutOfRange` with the number that was expected and the one that came; `Codec`; and those of [`Log::append`].
    fn append(&mut self, event: &WalEvent<E>) -> Result<(), WalWriterError> {
        let (expected, found) = (self.log.next_seq(), event.sequence());
        if expected != found {
            let what = format!("the next event has sequence {expected}, and this one has {found}");
            return Err(Error::new(ErrorKind::OutOfRange, "append to", self.log.path(), what));
        }
        self.submit(event.event()).map(drop)
    }

    /// Makes everything durable that was appended.
    ///
    /// # Durability
    /// **On `Ok`** it survives power loss, whatever the options say of durability. **On `Err`** with `NoSpace` events since
    /// the last flush were taken back: [`current_sequence`](WalFsWriter::current_sequence) tells the last that is there. Else
    /// `Unknown`: reopen and look.
    ///
    /// # Cost
    /// As [`Log::sync`]: one sync for what was appended since the last one; none if that is nothing. Blocks.
    ///
    /// # Errors
    /// `NoSpace`, `Poisoned`.
    fn flush(&mut self) -> Result<(), WalWriterError> {
        self.log.sync().map(drop)
    }

    /// Makes everything durable and records the end, so that whatever is missing later is known as damage.
    ///
    /// # Durability
    /// As [`Log::close`]. Dropping the writer instead promises nothing new.
    ///
    /// # Cost
    /// As [`Log::close`].
    ///
    /// # Errors
    /// Those of [`Log::close`].
    fn close(self) -> Result<(), WalWriterError> {
        self.log.close()
    }
}
