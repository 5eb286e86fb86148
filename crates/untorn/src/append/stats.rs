//! What a store tells of itself.

use std::path::PathBuf;
use std::time::Duration;

/// A commit, as it was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// Its number.
    pub seq: u64,
    /// Elements, with those that were dropped at the head; of a group, those of all its files.
    pub len: u64,
    /// Bytes of elements that it added.
    pub bytes: u64,
    /// Syncs that it cost, without those that prepare space in the log.
    pub syncs: u32,
}

/// What an open found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The store was made by this open.
    pub created: bool,
    /// It was closed in order, and nothing had to be done.
    pub clean: bool,
    /// Commits that were done again from the log.
    pub redone: u64,
    /// Bytes of elements that were written again.
    pub rewritten_bytes: u64,
    /// Commits of `write` that a power cut had torn: never acknowledged as synced, and taken back.
    pub torn_commits: u64,
    /// Bytes behind the end, written ahead of a commit that never came or by a foreign program; they were copied and cut.
    pub cut_bytes: u64,
    /// Elements that were found in a file that was not ours yet, or that a foreign program had added.
    pub adopted: u64,
    /// Elements of nothing but zeros at the end of a file that was adopted.
    pub zero_tail: u64,
    /// Elements that were given up, since they are damaged.
    pub lost: u64,
    /// Where copies of what was cut are.
    pub quarantine: Vec<PathBuf>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What pruning did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Elements that are dropped.
    pub dropped: u64,
    /// Elements that are kept.
    pub kept: u64,
    /// Bytes of data that the file system got back.
    pub freed: u64,
    /// Bytes of data that were written.
    pub written: u64,
    /// The space was not given back: this file system has no holes, or a snapshot still shows it and a checkpoint will do it.
    pub later: bool,
}

/// Where a file stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The last commit.
    pub seq: u64,
    /// The first element that is kept.
    pub first: u64,
    /// Elements that are committed, with those before `first`.
    pub len: u64,
    /// Elements as they would be with what is pending.
    pub pending_len: u64,
    /// Bytes of the data.
    pub data_bytes: u64,
    /// Bytes of records since the last checkpoint: what an open after a crash would read.
    pub log_bytes: u64,
    /// States of the store that readers hold.
    pub snapshots: u64,
    /// Bytes that are kept in memory for them.
    pub snapshot_bytes: u64,
    /// Whether a sync or a write failed after its record.
    pub poisoned: bool,
}
