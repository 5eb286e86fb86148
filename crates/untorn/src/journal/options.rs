//! What a journal can be told when it is opened.

use std::sync::Arc;

use crate::fs::Fs;
use crate::log::LogOptions;

/// When a checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Checkpoint {
    /// When the log has grown since the last one by more than `min_bytes`, and by more than `ratio` times its snapshot.
    Auto {
        /// Bytes of the log.
        min_bytes: u64,
        /// Times the size of the last snapshot.
        ratio: f64,
    },
    /// Never by itself.
    Manual,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self::Auto { min_bytes: 64 << 20, ratio: 1.0 }
    }
}

/// Options of [`Journal::open`](super::Journal::open). All are checked there.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct JournalOptions {
    /// The log's options. `owner`, `floor`, `acknowledged` and `start` are the journal's and are set by it.
    pub log: LogOptions,
    /// How many snapshots are kept, at least 1. Default 2: if the newest does not verify, the one before it and the log
    /// still give the exact state.
    pub keep_snapshots: usize,
    /// When a checkpoint is due. Default: after 64 MiB of log, or the size of the last snapshot if that is more.
    pub checkpoint: Checkpoint,
    /// Whether a thread of the journal's own makes checkpoints when they are due. Default no: then
    /// [`checkpoint_due`](super::Journal::checkpoint_due) tells. Such a thread holds the journal while it works: close the journal,
    /// rather than drop it, before it is opened again.
    pub background_checkpoint: bool,
}

impl JournalOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            log: LogOptions::new(),
            keep_snapshots: 2,
            checkpoint: Checkpoint::default(),
            background_checkpoint: false,
        }
    }

    /// Sets the log's options.
    pub fn log(mut self, log: LogOptions) -> Self {
        self.log = log;
        self
    }

    /// Sets how many snapshots are kept.
    pub const fn keep_snapshots(mut self, keep_snapshots: usize) -> Self {
        self.keep_snapshots = keep_snapshots;
        self
    }

    /// Sets when a checkpoint is due.
    pub const fn checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// Sets whether a thread makes checkpoints.
    pub const fn background_checkpoint(mut self, background_checkpoint: bool) -> Self {
        self.background_checkpoint = background_checkpoint;
        self
    }

    /// Sets the file system, also of the log.
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.log.fs = fs;
        self
    }
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self::new()
    }
}
