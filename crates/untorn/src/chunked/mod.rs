//! A large file that arrives in pieces, in any order, from several threads: read while it fills, published whole, resumed
//! after a crash.
//!
//! [`AtomicChunked`] fills `NAME.part/` and gives the finished file its name when it is whole, verified and durable. Until
//! then the name shows what it showed before. Readers wait for the bytes they need; what was made durable is not
//! transferred a second time, also after `kill -9` or a power cut. [`FileResource`] and [`MemResource`] are the bytes alone, in a
//! file of their own or in memory; [`fill`] fetches from any [`RangeSource`]; [`PartView`] looks on from another process.
//!
//! # On disk
//! A directory beside the target while it fills, and nothing but the plain file afterwards: docs/FORMAT.md has every byte.
//!
//! # Concurrency
//! One owner fills a file, with any number of threads that write, read and wait at once. Its lock ends with its process.
//!
//! # Limits
//! A file has `max_len` bytes at most, 1 TiB if nothing is said. That no foreign program shortens a file while it is read through a map is the
//! user's duty; [`ReadMode::Pread`] needs none. Each file that fills has a directory of its own, so that many small ones are better
//! written with [`replace`](crate::replace).

use std::ops::Range;
use std::path::Path;

use crate::{Error, Result};

mod atomic;
mod checkpoint;
mod commit;
mod coverage;
mod cursor;
mod digest;
mod driver;
mod fill;
mod format;
mod identity;
mod inner;
mod ledger;
mod open;
mod options;
mod part;
mod part_view;
mod presence;
mod reader;
mod resource;
mod source;
mod stats;
mod storage;
mod sweep;
mod trust;
mod view;
mod waiters;
mod whole;

pub use atomic::AtomicChunked;
#[cfg(feature = "tokio")]
pub(crate) use atomic::{Tasks, Waiting};
pub use commit::commit_many;
pub use cursor::ChunkCursor;
#[cfg(feature = "tokio")]
pub(crate) use cursor::sought;
pub use digest::Digest;
#[cfg(feature = "blake3")]
pub use digest::blake3;
pub use driver::{Driver, FileDriver, FileOptions, MemDriver, MmapDriver, OpenMode, ReadMode};
pub use fill::{FillOptions, FillReport, fill};
pub use identity::{Expected, Identity};
pub use options::{
    CheckpointPolicy, ChunkedOptions, CommitOptions, CommitReport, Holes, IfExists, OnDrop, Resume,
};
pub use part_view::{PartReport, PartState, PartView};
pub use reader::ChunkReader;
pub use resource::{FileResource, MemResource, MmapResource, Resource};
pub use source::RangeSource;
pub use stats::ChunkedStats;
pub use storage::StorageResource;
pub use sweep::{PartSweep, sweep_parts, sweep_parts_with};
pub use view::View;
pub use waiters::Cancel;
pub use whole::Atomic;

/// The result of every fallible call of this module.
pub type StorageResult<T> = Result<T, Error>;

/// The error of this module: that of the crate.
pub type StorageError = Error;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitOutcome {
    /// All bytes of the range are there, up to the end of the file.
    Ready,
    /// The range begins at the end of the file or behind it.
    Eof,
    /// The time ran out, or the wait was cancelled.
    Interrupted,
}

/// What an open found of an earlier life.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// Nothing.
    Fresh,
    /// Bytes that it goes on with.
    Resumed {
        /// How many bytes are kept.
        trusted: u64,
        /// Bytes that were recorded and do not verify any more: they have to come again.
        dropped: u64,
    },
    /// Bytes that it could not go on with; they are gone.
    Restarted {
        /// Why.
        why: String,
    },
}

/// What a factory opens bytes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenIntent {
    /// For a new file: nothing is there.
    Fresh,
    /// To go on: the bytes of an earlier life are there, and [`ResourceExt::restore`] will tell which of them count.
    Resume,
    /// For reading what was committed.
    Reopen,
}

/// What a claim of a target found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Claim<R: ResourceExt> {
    /// We fill it.
    Writer(AtomicChunked<R>),
    /// Another owner fills it; it can be followed.
    Busy(PartView),
    /// The file is there, and was not to be replaced.
    Ready(R),
}

/// Is told what becomes available. No lock is held meanwhile, so it may call the file.
pub trait AvailabilityObserver: Send + Sync {
    /// The bytes of `range` are available.
    #[expect(unused_variables, reason = "the default does nothing")]
    fn on_write(&self, range: Range<u64>) {}

    /// So many bytes are trusted.
    #[expect(unused_variables, reason = "the default does nothing")]
    fn on_checkpoint(&self, trusted: u64) {}

    /// The file of this length is durable under its name.
    #[expect(unused_variables, reason = "the default does nothing")]
    fn on_commit(&self, len: u64) {}

    /// It failed, was cancelled or poisoned.
    fn on_fail(&self) {}
}

/// What state a resource is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResourceStatus {
    /// Bytes may be written.
    Active,
    /// It is whole; nothing is written any more.
    Committed {
        /// How many bytes it has.
        final_len: Option<u64>,
    },
    /// Someone gave up on it, or a sync failed; the reason.
    Failed(String),
    /// It was cancelled.
    Cancelled,
}

/// Bytes at offsets that become available in any order. Ranges are half-open, in bytes from 0.
///
/// All methods may be called from any number of threads at once.
pub trait ResourceExt: Send + Sync + 'static {
    /// Writes all of `data` at `offset`, or fails.
    ///
    /// # Durability
    /// **On `Ok`** the bytes are available to readers, not durable. **On `Err`** any part of the bytes may have been written;
    /// what was not available before is not now.
    ///
    /// # Errors
    /// `Closed` if it is committed or being committed; `Precondition` or `TooLarge` beyond its length or limit; `NoSpace`;
    /// `Failed`, `Cancelled`, `Poisoned`; the system's.
    fn write_at(&self, offset: u64, data: &[u8]) -> StorageResult<()>;

    /// Reads from `offset` on until `buf` is full or the known end comes; returns how many bytes were read.
    ///
    /// # Errors
    /// `Incomplete` if a byte is not available; [`Error::gap`] has the first missing range, and nothing was read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> StorageResult<usize>;

    /// Reads everything, appends it to `buf`, and returns how many bytes that were.
    ///
    /// # Errors
    /// `Incomplete` while it has gaps or its length is not known; `buf` is unchanged then.
    fn read_into(&self, buf: &mut Vec<u8>) -> StorageResult<usize>;

    /// Replaces the whole content and commits it.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at) and [`commit`](Self::commit).
    fn write_all(&self, data: &[u8]) -> StorageResult<()>;

    /// Waits until all bytes of `range` are available; one that crosses the end is ready when all up to the end are.
    ///
    /// # Errors
    /// `InvalidInput` if the range ends before it starts; `Failed`, `Cancelled`, `Poisoned`.
    fn wait_range(&self, range: Range<u64>) -> StorageResult<WaitOutcome>;

    /// Whether all bytes of `range` are available: true for an empty range, false for one that ends before it starts.
    fn contains_range(&self, range: Range<u64>) -> bool;

    /// The first missing range that begins in `from..limit`, cut to it.
    fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>>;

    /// Ends the filling: the content is `0..final_len`.
    ///
    /// # Errors
    /// `Incomplete` with [`Error::gap`] if bytes are missing: it stays active.
    fn commit(&self, final_len: Option<u64>) -> StorageResult<()>;

    /// Gives up: who waits gets the error `Failed` with this reason. Waits for writes in flight.
    fn fail(&self, reason: String);

    /// Makes it active again, with the bytes it has available.
    ///
    /// # Errors
    /// `Locked` if another owner holds it now; `Poisoned`; the system's.
    fn reactivate(&self) -> StorageResult<()>;

    /// The committed length; `None` while it is active.
    fn len(&self) -> Option<u64>;

    /// Whether it is committed and empty.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Where it is; `None` for memory.
    fn path(&self) -> Option<&Path>;

    /// What state it is in.
    fn status(&self) -> ResourceStatus;

    /// Makes it active with exactly these bytes available.
    ///
    /// [`AtomicChunked`] calls it when it resumes. The default answers `Unsupported`; then the decorator starts afresh.
    ///
    /// # Errors
    /// `Unsupported`; the system's.
    #[expect(unused_variables, reason = "the default takes up nothing")]
    fn restore(&self, available: &[Range<u64>]) -> StorageResult<()> {
        let path = self.path().unwrap_or_else(|| Path::new("memory"));
        let what = "this resource cannot take up bytes of an earlier life";
        Err(Error::new(crate::ErrorKind::Unsupported, "restore", path, what))
    }

    /// Gives up what lies behind `len`, before a commit with that length; nobody reads it any more afterwards. The default does
    /// nothing: what the file has behind its length is cut off then.
    ///
    /// # Errors
    /// The system's.
    #[expect(unused_variables, reason = "the default does nothing")]
    fn trim(&self, len: u64) -> StorageResult<()> {
        Ok(())
    }

    /// Hands buffered bytes to the system, without a sync. The default does nothing, as fits a resource without buffers.
    ///
    /// # Errors
    /// The system's.
    fn write_out(&self) -> StorageResult<()> {
        Ok(())
    }

    /// Hands buffered bytes to the system and syncs the data. The default is [`write_out`](Self::write_out).
    ///
    /// # Errors
    /// The system's; a failed sync is final.
    fn sync(&self) -> StorageResult<()> {
        self.write_out()
    }
}
