//! Reading typed events from a log, also beside its writer.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{WalEvent, WalFsReaderError, WalOptions, WalReader, WalReaderError};
use crate::Result;
use crate::codec::{Codec, Json};
use crate::log::{Log, LogReader, Scan, Upto};

/// A reader of a write-ahead log. See the [module](super).
///
/// # Concurrency
/// Takes no lock and never holds the writer up; any number of them, in any process. It shows what was there when it was
/// opened; [`reset_eof`](Self::reset_eof) and [`follow`](Self::follow) look again.
#[derive(Debug)]
pub struct WalFsReader<E, C = Json> {
    reader: LogReader,
    path: PathBuf,
    codec: C,
    upto: Upto,
    /// Stands at `next`, if it is there.
    scan: Option<Scan>,
    next: u64,
    end: bool,
    /// The end was reached, and what came since is asked for.
    look_again: bool,
    events: PhantomData<fn() -> E>,
}

impl<E> WalFsReader<E>
where
    Json: Codec<E>,
{
    /// Opens the log in `dir`, with events as JSON, at its first event.
    ///
    /// # Durability
    /// Nothing is changed; a torn tail is not shown, and left to the writer's next open.
    ///
    /// # Cost
    /// Reads the log once, and verifies it. No sync.
    ///
    /// # Errors
    /// `NotFound`; `NotOurs`; `NewerFormat`; `Damaged` with file and offset; `Io`.
    pub fn new(dir: impl AsRef<Path>) -> Result<Self, WalFsReaderError> {
        Self::with(dir, WalOptions::new())
    }
}

impl<E, C: Codec<E>> WalFsReader<E, C> {
    /// As [`new`](WalFsReader::new), with options.
    ///
    /// # Errors
    /// As [`new`](WalFsReader::new).
    pub fn with(dir: impl AsRef<Path>, options: WalOptions<C>) -> Result<Self, WalFsReaderError> {
        let path = dir.as_ref().to_path_buf();
        let reader = Log::open_read_only(&path, options.log)?;
        let next = reader.first_seq();
        let WalOptions { codec, upto, .. } = options;
        Ok(Self {
            reader,
            path,
            codec,
            upto,
            scan: None,
            next,
            end: false,
            look_again: false,
            events: PhantomData,
        })
    }

    /// The next event, waiting for one for so long at most; `None` if none came.
    ///
    /// # Cost
    /// Looks at the log every 20 ms while it waits. Blocks.
    ///
    /// # Errors
    /// `Stale` if the writer took back events that were read: open a new reader. Else as [`new`](WalFsReader::new).
    pub fn follow(&mut self, timeout: Duration) -> Result<Option<WalEvent<E>>, WalReaderError> {
        if let Some(event) = self.read_next()? {
            return Ok(Some(event));
        }
        self.reader.wait_for_more(timeout)?;
        // The scan ends at what was there when it was begun.
        (self.end, self.scan) = (false, None);
        self.read_next()
    }
}

impl<E, C> WalFsReader<E, C> {
    /// The number of the event before the place where it reads on: the last one it returned, mostly; 0 before the first.
    pub const fn current_sequence(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Forgets that the end was reached: the next read looks for what came since.
    pub const fn reset_eof(&mut self) {
        self.end = false;
        self.look_again = true;
    }

    fn last(&self) -> u64 {
        match self.upto {
            Upto::Durable => self.reader.durable_seq(),
            Upto::Written => self.reader.last_seq(),
        }
    }
}

impl<E, C: Codec<E>> WalReader<E> for WalFsReader<E, C> {
    /// The next event; `None` at the end, until [`reset_eof`](WalFsReader::reset_eof).
    ///
    /// # Errors
    /// `Codec` if the event does not decode, again at each call: seek past it. `Stale` if the writer dropped it meanwhile:
    /// open a new reader. `Damaged`; `Io`.
    fn read_next(&mut self) -> Result<Option<WalEvent<E>>, WalReaderError> {
        if std::mem::take(&mut self.look_again) {
            self.reader.refresh()?;
            self.scan = None;
        }
        if self.end || self.next > self.last() {
            self.end = true;
            return Ok(None);
        }
        let mut scan = match self.scan.take() {
            Some(scan) => scan,
            None => self.reader.read(self.next, self.upto)?,
        };
        let Some(record) = scan.next()? else {
            self.end = true;
            return Ok(None);
        };
        let sequence = record.seq;
        let event = self.codec.decode(record.bytes).map_err(|e| {
            let what = format!("the {} codec does not decode event {sequence}", C::NAME);
            e.with_path(&self.path).because(what)
        })?;
        self.scan = Some(scan);
        self.next = sequence.saturating_add(1);
        Ok(Some(WalEvent::new(sequence, event)))
    }

    /// Goes to the event with this number; above the last one, to the end, where [`is_end`](WalReader::is_end) is true.
    ///
    /// # Cost
    /// The next read skips to it from the start of its segment. Above what was seen it looks again first.
    ///
    /// # Errors
    /// `OutOfRange` below the first event that is kept.
    fn seek_to_sequence(&mut self, sequence: u64) -> Result<(), WalReaderError> {
        if sequence > self.last() {
            self.reader.refresh()?;
        }
        // Asked for itself, since it refuses what was dropped.
        let scan = self.reader.read(sequence, self.upto)?;
        let after = self.last().saturating_add(1);
        self.look_again = false;
        self.end = sequence >= after;
        self.scan = (!self.end).then_some(scan);
        self.next = sequence.min(after.max(self.reader.first_seq()));
        Ok(())
    }

    fn is_end(&self) -> bool {
        self.end
    }
}
