//! What a fold can be told when it is opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{AppendLogSnapshot, CursorOrder, WatchCursor};
use crate::fs::{Fs, OsFs, ReadMode};
use crate::{Durability, OnDamage, Result};

/// Bytes of log behind the base at which a compaction is due, if nothing else is said.
pub const DEFAULT_COMPACT_THRESHOLD: u64 = 10 << 20;

/// When commits are synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Each of them, before it is seen.
    #[default]
    EachCommit,
    /// The commit with which so much time has passed, or so many bytes have been written, since the first that is not synced.
    /// Nothing is synced while nothing is applied: call [`sync`](AppendLogSnapshot::sync) where the stream pauses.
    Window {
        /// How long.
        time: Duration,
        /// How many bytes.
        bytes: u64,
    },
    /// Only by [`sync`](AppendLogSnapshot::sync), and before a base is written.
    Manual,
}

/// Who merges what was written into the base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compaction {
    /// A thread that is started when it is due, and ends after it.
    #[default]
    Background,
    /// Each commit, as soon as it is due, about so many bytes of it.
    Inline {
        /// Bytes of base that one commit writes.
        budget_per_apply: u64,
    },
    /// Only [`compact_step`](AppendLogSnapshot::compact_step) and [`compact_all`](AppendLogSnapshot::compact_all).
    Manual,
}

/// What is done with updates that may have been applied before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redelivery {
    /// Those whose version is not above all that were seen are compared with what is held of their key, and dropped if they are
    /// not newer.
    #[default]
    PerKey,
    /// Those whose version is not above the cursor are dropped without a look.
    Skip,
    /// They are applied as they come.
    Accept,
}

/// Tells how far long work is: bytes done, and bytes in all.
pub(super) type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Options of a fold: what it is opened with.
#[derive(Clone)]
#[must_use]
#[non_exhaustive]
pub struct FoldOptions {
    /// Makes the fold if there is none. Default yes.
    pub create: bool,
    /// Opens it beside its owner, takes no lock and never writes. Default no.
    pub read_only: bool,
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
    /// Whether commits are synced at all. Default `Synced`.
    pub durability: Durability,
    /// When they are synced. Default each.
    pub sync_policy: SyncPolicy,
    /// Bytes of log behind the base at which a compaction is due; `u64::MAX` for never. It waits for half the base in any case.
    /// Default [`DEFAULT_COMPACT_THRESHOLD`].
    pub compact_threshold: u64,
    /// Who compacts. Default `Background`.
    pub compaction: Compaction,
    /// Values up to this stay in memory until the next compaction; longer ones are read from the log. Default 64.
    pub inline_value_max: u32,
    /// The longest value. Default 64 MiB, at most 1 GiB less 1 MiB.
    pub max_value: u32,
    /// How the source's positions relate. Default `Bytes`.
    pub cursor_order: CursorOrder,
    /// What is done with updates that may have been applied before. Default `PerKey`.
    pub redelivery: Redelivery,
    /// What to do if acknowledged bytes do not verify. Default `Refuse`.
    pub on_damage: OnDamage,
    /// How files are read. Default `Auto`.
    pub read_mode: ReadMode,
    /// Size that segments of the log grow to. Default 8 MiB.
    pub log_segment_bytes: u64,
    pub(super) progress: Option<Progress>,
}

impl FoldOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            create: true,
            read_only: false,
            fs: Arc::new(OsFs::new()),
            durability: Durability::default(),
            sync_policy: SyncPolicy::default(),
            compact_threshold: DEFAULT_COMPACT_THRESHOLD,
            compaction: Compaction::default(),
            inline_value_max: 64,
            max_value: 64 << 20,
            cursor_order: CursorOrder::default(),
            redelivery: Redelivery::default(),
            on_damage: OnDamage::default(),
            read_mode: ReadMode::default(),
            log_segment_bytes: 8 << 20,
            progress: None,
        }
    }

    /// Sets who is told how far an import is, in bytes done and bytes in all, or an open, in the number of the record that was read and 0.
    pub fn progress(mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Opens the fold in the directory `path`. As [`AppendLogSnapshot::open`].
    ///
    /// # Errors
    /// As [`AppendLogSnapshot::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<(WatchCursor, AppendLogSnapshot)> {
        AppendLogSnapshot::open_with(path.as_ref(), self)
    }

    pub(super) fn tell(&self, done: u64, of: u64) {
        if let Some(progress) = &self.progress {
            progress(done, of);
        }
    }

    /// Whether a commit is synced before it is seen.
    pub(super) fn syncs_each(&self) -> bool {
        self.durability == Durability::Synced && self.sync_policy == SyncPolicy::EachCommit
    }
}

impl Default for FoldOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for FoldOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoldOptions")
            .field("fs", &self.fs)
            .field("durability", &self.durability)
            .field("compact_threshold", &self.compact_threshold)
            .field("compaction", &self.compaction)
            .finish_non_exhaustive()
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl FoldOptions {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })*
        }
    };
}

setters! {
    /// Sets whether the fold is made if there is none.
    create: bool,
    /// Sets whether it is only read.
    read_only: bool,
    /// Sets the file system.
    fs: Arc<dyn Fs>,
    /// Sets whether commits are synced.
    durability: Durability,
    /// Sets when they are.
    sync_policy: SyncPolicy,
    /// Sets when a compaction is due.
    compact_threshold: u64,
    /// Sets who compacts.
    compaction: Compaction,
    /// Sets which values stay in memory.
    inline_value_max: u32,
    /// Sets the longest value.
    max_value: u32,
    /// Sets how the source's positions relate.
    cursor_order: CursorOrder,
    /// Sets what is done with updates that may have been applied before.
    redelivery: Redelivery,
    /// Sets what to do about damage.
    on_damage: OnDamage,
    /// Sets how files are read.
    read_mode: ReadMode,
    /// Sets the size that segments of the log grow to.
    log_segment_bytes: u64,
}
