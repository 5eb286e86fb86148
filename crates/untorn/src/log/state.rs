//! A small state kept as its full form and changes to it, in a log that is cut down when it has grown.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::options::LogOptions;
use super::reader::LogReader;
use super::scan::Scan;
use super::{Log, LogReport, Ticket, Upto};
use crate::{Error, ErrorKind, Result};

/// A record begins with what it is.
const FULL: u8 = 1;
const CHANGE: u8 = 2;
/// The log is rewritten when its changes are this much larger than its full form, and than this many bytes.
const GROWTH: u64 = 4;
const SMALL: u64 = 64 * 1024;

/// What [`State::open`] hands out, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece<'a> {
    /// The newest full form; at most one, and first.
    Full(&'a [u8]),
    /// A change that came after it.
    Change(&'a [u8]),
}

/// A small state: a map of ranges, a manifest. See [`State::open`].
///
/// # Concurrency
/// As a [`Log`]; changes are ordered as they are appended.
#[derive(Debug)]
pub struct State {
    log: Log,
    size: Mutex<Size>,
}

/// Hands out what a reader sees of a state: its newest full form, and the changes since, as far as they are written.
pub(crate) fn read_state(
    log: &LogReader,
    each: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<()> {
    replay(log.path(), log.first_seq(), |from| log.read(from, Upto::Written), each).map(drop)
}

/// What a record of a state's log is; `None` if it is not one.
pub(crate) fn piece_of(record: &[u8]) -> Option<Piece<'_>> {
    match record.split_first()? {
        (&FULL, bytes) => Some(Piece::Full(bytes)),
        (&CHANGE, bytes) => Some(Piece::Change(bytes)),
        _ => None,
    }
}

fn replay(
    path: &Path,
    first: u64,
    read: impl Fn(u64) -> Result<Scan>,
    each: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<Size> {
    let mut from = first;
    let mut scan = read(from)?;
    while let Some(record) = scan.next()? {
        if record.bytes.first() == Some(&FULL) {
            from = record.seq;
        }
    }
    let mut size = Size::default();
    let mut scan = read(from)?;
    while let Some(record) = scan.next()? {
        let Some(piece) = piece_of(record.bytes) else {
            let what = "a record is neither a full state nor a change; it is not a log of a state";
            let error = Error::new(ErrorKind::Damaged, "open state", path, what);
            return Err(error.at(record.pos.frame));
        };
        match piece {
            Piece::Full(bytes) => size = Size { full: bytes.len() as u64, changes: 0 },
            Piece::Change(bytes) => {
                size.changes = size.changes.saturating_add(bytes.len() as u64);
            }
        }
        each(piece)?;
    }
    Ok(size)
}

#[derive(Clone, Copy, Debug, Default)]
struct Size {
    full: u64,
    changes: u64,
}

impl State {
    /// Opens or creates the state in the directory `path`, and hands out its newest full form and the changes since.
    ///
    /// # Durability
    /// As [`Log::open`].
    ///
    /// # Errors
    /// As [`Log::open`]; `Damaged` for a record that is neither; and those of `each`.
    pub fn open(
        path: impl AsRef<Path>,
        options: LogOptions,
        mut each: impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<(Self, LogReport)> {
        let path = path.as_ref();
        let (log, report) = Log::open(path, options)?;
        let read = |from| log.read(from, Upto::Durable);
        let size = replay(path, log.first_seq(), read, &mut each)?;
        Ok((Self { log, size: Mutex::new(size) }, report))
    }

    /// Hands out once more what an open would: for who needs to read it twice, and not to hold it.
    pub(crate) fn again(&self, mut each: impl FnMut(Piece<'_>) -> Result<()>) -> Result<()> {
        let read = |from| self.log.read(from, Upto::Durable);
        replay(self.log.path(), self.log.first_seq(), read, &mut each).map(drop)
    }

    /// Appends a change; wait for the ticket.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn change(&self, bytes: &[u8]) -> Result<Ticket> {
        let ticket = self.append(CHANGE, bytes)?;
        let mut size = self.size();
        size.changes = size.changes.saturating_add(bytes.len() as u64);
        Ok(ticket)
    }

    /// Whether the changes have outgrown the full form: then the owner should call [`full`](Self::full).
    pub fn due(&self) -> bool {
        let size = *self.size();
        size.changes > size.full.saturating_mul(GROWTH).max(SMALL)
    }

    /// Appends the full form, waits until it is durable, and drops what came before it.
    ///
    /// # Durability
    /// **On `Ok`** the full form survives power loss. **On `Err`** the old form and all changes are there.
    ///
    /// # Cost
    /// One sync; two more if a segment can go.
    ///
    /// # Errors
    /// As [`Log::append`], [`Log::wait`] and [`Log::truncate_front`].
    pub fn full(&self, bytes: &[u8]) -> Result<()> {
        let ticket = self.append(FULL, bytes)?;
        let seq = ticket.wait()?;
        self.replaced(seq, bytes)
    }

    /// As [`full`](Self::full), and durable also in a log whose waiters are told before a sync.
    pub(crate) fn full_synced(&self, bytes: &[u8]) -> Result<()> {
        let ticket = self.append(FULL, bytes)?;
        self.log.sync()?;
        self.replaced(ticket.seq, bytes)
    }

    fn replaced(&self, seq: u64, full: &[u8]) -> Result<()> {
        *self.size() = Size { full: full.len() as u64, changes: 0 };
        self.log.truncate_front(seq)?;
        Ok(())
    }

    /// The log beneath.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    fn append(&self, tag: u8, bytes: &[u8]) -> Result<Ticket> {
        let mut record = Vec::with_capacity(bytes.len().saturating_add(1));
        record.push(tag);
        record.extend_from_slice(bytes);
        self.log.append(&record)
    }

    fn size(&self) -> std::sync::MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
