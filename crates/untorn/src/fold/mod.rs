//! A local, ordered, crash-safe copy of someone else's key-value stream, with the cursor to resume it in the same commit.

mod append_log;
mod apply;
mod base;
mod compact;
mod cursor;
mod damage;
mod entry;
#[cfg(feature = "blake3")]
mod export;
mod follow;
mod held;
#[cfg(feature = "blake3")]
mod manifest;
mod open;
mod options;
pub mod pgss;
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
pub use compact::CompactProgress;
pub use cursor::{CursorOrder, WatchCursor};
pub use entry::{EntryRef, KEY_MAX, KvEntry, KvUpdate, Lineage};
#[cfg(feature = "blake3")]
pub use export::{ExportOptions, ImportOptions};
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
