//! A long list of elements, appended at the end and read by position without a copy, while it grows.
//!
//! [`AppendOnlyFile`] is its one writer: [`append`](AppendOnlyFile::append) and [`rewind`](AppendOnlyFile::rewind) are
//! pending until [`flush`](AppendOnlyFile::flush) makes them one commit, durable with one sync. [`Reader`] and [`Snapshot`] read from any thread, without waiting for
//! the writer; what a snapshot shows stays, also while the writer rewinds, compacts or drops the head. [`AppendGroup`] moves several files from
//! state to state as one. [`DataFile`] counts values of one type from 1 on.
//!
//! ```
//! use untorn::append::OpenOptions;
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("events.dat");
//! let mut events = OpenOptions::<Vec<u8>>::new().open(&path)?;
//! let reader = events.reader()?; // for other threads
//! events.append(b"created")?;
//! events.append(b"renamed")?;
//! events.flush()?; // both are durable now
//! let now = reader.snapshot()?;
//! events.rewind(1)?; // keeps the first
//! events.append(b"removed")?;
//! events.flush()?; // rewind and append in one
//! assert_eq!(now.get(1)?, b"renamed"); // what was taken stays
//! assert_eq!(reader.snapshot()?.get(1)?, b"removed");
//! events.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # On disk
//! The data file has the elements, one after the other, and nothing else: any program can read it. Beside it, in `NAME.untorn`, are the log
//! of commits, where elements of variable size end, and the checksums: docs/FORMAT.md has every byte.
//!
//! # Concurrency
//! One writer, across threads and processes, by the lock in `NAME.untorn`; a snapshot that outlives it holds the lock on. Any number of readers.
//!
//! # Limits
//! An element has less than 4 GiB, a commit less than 1 GiB in the place of elements that it rewinds. That no foreign program shortens or changes the data file while it is
//! read through a map is the user's duty; `ReadMode::Pread` needs none.

use std::path::Path;

use crate::{Error, ErrorKind};

mod begin;
mod blocks;
mod builder;
mod check;
mod checkpoint;
mod column;
mod commit;
mod compact;
mod damage;
mod data_file;
mod element;
mod file;
mod follow;
#[cfg(test)]
mod for_tests;
mod group;
mod iter;
mod meta;
mod open;
mod options;
mod overlay;
mod pending;
mod publish;
mod range;
mod reader;
mod record;
mod replay;
mod settings;
#[cfg(all(test, shuttle, feature = "sim"))]
mod shuttle_tests;
mod sizes;
mod snapshot;
mod stats;
mod store;
mod tail;

pub use builder::OpenOptions;
pub use check::{BlockDamage, CheckReport};
pub use data_file::DataFile;
pub use file::{AppendOnlyFile, Own, Savepoint};
pub use follow::{Identity, MemberIdentity, identify};
pub use group::{AppendGroup, FileSpec, GroupOptions, GroupReader, GroupSnapshot};
pub use iter::Elements;
pub use options::{OnForeign, ProtocolVersion, SizeEntry, SizeInfo, Verify};
pub use reader::Reader;
pub use snapshot::Snapshot;
pub use stats::{Commit, PruneReport, RecoveryReport, Stats};
pub use tail::{Tail, TailEvent};

pub use crate::fs::{Plain, ReadMode};

/// Bytes that one record carries at most.
const INLINE_MAX: usize = 1 << 30;

/// A position below the first element that is kept.
fn pruned(operation: &'static str, path: &Path, position: u64, first: u64) -> Error {
    let what = format!("element {position} was dropped; the first one is {first}");
    Error::new(ErrorKind::Pruned, operation, path, what)
}
