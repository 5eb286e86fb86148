//! A local, ordered, crash-safe copy of someone else's key-value stream, with the cursor to resume it in the same commit.
//!
//! A fold has the latest value of each key. [`apply`](SnapshotStore::apply) commits a batch of updates and the cursor behind it, as one: after any
//! crash the data is exactly what the cursor says, so that a stream resumed there misses nothing and repeats nothing. [`FoldReader`] reads from any thread
//! while it is written; a [`FoldSnapshot`] stays as it is. A listing of the source is compared and swept in one commit; a fold is exported as a verified artifact, and imported whole.
//!
//! ```
//! use untorn::fold::{AppendLogSnapshot, KvUpdate, SnapshotStore, VersionToken, WatchCursor, DEFAULT_COMPACT_THRESHOLD};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("edge");
//! let (cursor, mut fold) = AppendLogSnapshot::open(&path, DEFAULT_COMPACT_THRESHOLD)?;
//! assert!(cursor.is_none()); // nothing was applied so far: begin with everything
//! let updates = [
//!     KvUpdate::put("route/a", "10.0.0.1", VersionToken::from_u64(41)),
//!     KvUpdate::put("route/b", "10.0.0.2", VersionToken::from_u64(42)),
//! ];
//! fold.apply(&updates, &WatchCursor::from_u64(42))?; // durable, with the cursor
//! let reader = fold.reader(); // for other threads
//! assert_eq!(reader.range("route/")?.len(), 2);
//! fold.close()?;
//! let (cursor, _) = AppendLogSnapshot::open(&path, DEFAULT_COMPACT_THRESHOLD)?;
//! assert_eq!(cursor.as_u64(), Some(42)); // go on behind it
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # On disk
//! A directory with the `log` of commits and the `base` that it is merged into: docs/FORMAT.md has every byte.
//!
//! # Concurrency
//! One writer, across threads and processes, by the lock in the directory. Any number of readers in the process, which never wait for it; other processes open
//! the fold to be read only, without a lock.
//!
//! # Limits
//! Keys up to 65,535 bytes of UTF-8, values up to 64 MiB, by option to 1 GiB. In memory is what was written since the base, without values of more than 64 bytes, and about 30 bytes and the beginning of a key for each 4 KiB of the base. That no foreign program
//! shortens or changes a file of the fold while it is read through a map is the user's duty; `ReadMode::Pread` needs none. A deleted key is remembered through one compaction: an older update that comes later than that brings it back.

mod append_log;
mod apply;
mod base;
mod check;
mod compact;
pub mod conformance;
mod cursor;
mod damage;
mod entry;
#[cfg(feature = "blake3")]
mod export;
mod filter;
mod follow;
#[cfg(test)]
pub(crate) mod for_tests;
mod held;
#[cfg(feature = "blake3")]
mod manifest;
#[cfg(feature = "json")]
pub mod ndjson;
mod open;
mod options;
pub mod pgss;
pub mod protocol;
mod reader;
mod record;
mod relist;
mod replay;
mod scan;
mod shared;
mod snapshot;
mod stats;
mod store;
mod subscribe;
mod tree;
mod version;
mod view;
mod walk;

pub use append_log::AppendLogSnapshot;
pub use check::{CheckedBase, FoldDamage, FoldReport, verify};
pub use compact::CompactProgress;
pub use cursor::{CursorOrder, WatchCursor};
pub use entry::{EntryRef, KEY_MAX, KvEntry, KvUpdate, Lineage};
#[cfg(feature = "blake3")]
pub use export::{ExportFormat, ExportOptions, ImportOptions};
#[cfg(feature = "blake3")]
pub use manifest::ExportManifest;
pub use options::{Compaction, DEFAULT_COMPACT_THRESHOLD, FoldOptions, Redelivery, SyncPolicy};
pub use reader::FoldReader;
pub use relist::{SweepReport, SyncScope, SyncToken};
pub use scan::{Scan, ScanOptions};
pub use snapshot::{Diff, FoldSnapshot};
pub use stats::{FoldStats, Recovery, Salvaged};
pub use store::{LoadOptions, SnapshotStore};
pub use subscribe::{Change, Event, Receiver};
pub use version::VersionToken;

/// The error of every store; the name is that of the documented interface.
pub type SnapshotError = crate::Error;

/// Bytes of a position, and of a version, at most.
const POSITION_MAX: usize = 255;
