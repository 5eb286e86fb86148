//! A local, ordered, crash-safe copy of someone else's key-value stream, with the cursor to resume it in the same commit.

mod cursor;
mod entry;
#[cfg(test)]
pub(crate) mod for_tests;
#[cfg(feature = "blake3")]
mod manifest;
#[cfg(feature = "json")]
pub mod ndjson;
pub mod protocol;
mod relist;
mod store;
mod version;

pub use cursor::{CursorOrder, WatchCursor};
pub use entry::{EntryRef, KEY_MAX, KvEntry, KvUpdate, Lineage};
#[cfg(feature = "blake3")]
pub use manifest::ExportManifest;
pub use relist::{SweepReport, SyncScope, SyncToken};
pub use store::{LoadOptions, SnapshotStore};
pub use version::VersionToken;

/// The error of every store; the name is that of the documented interface.
pub type SnapshotError = crate::Error;

/// Bytes of a position, and of a version, at most.
const POSITION_MAX: usize = 255;
