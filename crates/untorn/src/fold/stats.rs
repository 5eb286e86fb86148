//! What a fold says of itself.

use std::path::PathBuf;
use std::time::Duration;

use super::{Lineage, WatchCursor};
use crate::log::{Healed, LogStats};

/// What an open found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether there was no fold, and one was made.
    pub created: bool,
    /// Entries of the base; 0 if there is none.
    pub base_entries: u64,
    /// Bytes of the base.
    pub base_bytes: u64,
    /// Commits that were read from the log, above the base.
    pub commits: u64,
    /// Updates in them.
    pub updates: u64,
    /// Bytes of their records.
    pub tail_bytes: u64,
    /// What was cut from the log, if anything was.
    pub healed: Option<Healed>,
    /// What was salvaged, if it was.
    pub salvaged: Option<Salvaged>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a salvage kept and what it had to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// Commits from behind the damage in the log whose updates were kept.
    pub commits_behind: u64,
    /// Ranges of keys that a damaged base could not give: from the first on, below the second; an end that is missing is open.
    pub lost_keys: Vec<(Option<String>, Option<String>)>,
    /// Copies of the originals.
    pub quarantine: Vec<PathBuf>,
}

/// What a fold did since it was opened, and how large it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoldStats {
    /// The cursor of the last commit.
    pub cursor: WatchCursor,
    /// The cursor of the last commit that survives power loss.
    pub durable_cursor: WatchCursor,
    /// The source that it is of.
    pub lineage: Option<Lineage>,
    /// Keys in memory, at most: what was written since the base.
    pub overlay_keys: u64,
    /// Entries of the base.
    pub base_entries: u64,
    /// Bytes of the base.
    pub base_bytes: u64,
    /// Bytes of records that the base does not have.
    pub tail_bytes: u64,
    /// Commits since it was opened.
    pub commits: u64,
    /// Updates in them.
    pub updates: u64,
    /// Updates that were dropped, since what is held is as new or newer.
    pub stale_ops: u64,
    /// Compactions that were finished.
    pub compactions: u64,
    /// Bytes of bases that they wrote.
    pub compacted_bytes: u64,
    /// Why the last compaction failed; it is tried again.
    pub compaction_error: Option<String>,
    /// Whether one is under way.
    pub compacting: bool,
    /// The log's own.
    pub log: Option<LogStats>,
}

/// What is counted on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: u64,
    pub(super) updates: u64,
    pub(super) stale_ops: u64,
    pub(super) compactions: u64,
    pub(super) compacted_bytes: u64,
    pub(super) compaction_error: Option<String>,
    /// Bytes of tail at which a compaction that failed is tried again.
    pub(super) retry_at: u64,
}
