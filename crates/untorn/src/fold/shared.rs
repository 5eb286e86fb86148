//! What a fold's writer, its readers and its compaction share.
//!
//! # Invariants
//! - S1 A view is shown after the record of its last commit was written, and synced where commits are; never a part of a commit.
//! - S2 The lock of the view is held for what is done in memory, never over a system call or the caller's code.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use std::time::Duration;

use super::WatchCursor;
use super::compact::Merge;
use super::options::FoldOptions;
use super::stats::Counters;
use super::subscribe::Hub;
use super::view::View;
use crate::Result;
use crate::commit::Poison;
use crate::fs::{Dir, ReadMode};
use crate::log::Log;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: FoldOptions,
    pub(super) read_mode: ReadMode,
    pub(super) dir: Arc<dyn Dir>,
    pub(super) log_dir: Arc<dyn Dir>,
    /// None where it is only read, and once it was closed: readers that are left hold no lock.
    log: Mutex<Option<Log>>,
    pub(super) store_id: [u8; 16],
    view: RwLock<View>,
    /// Told after each commit; holds how many there were.
    commits: Mutex<u64>,
    committed: Condvar,
    durable: Mutex<Durable>,
    pub(super) merge: Mutex<Option<Merge>>,
    pub(super) cancel: AtomicBool,
    /// Bytes of records since the base, or since what is being merged was frozen.
    pub(super) tail: AtomicU64,
    /// Bytes of the base that later commits made garbage.
    pub(super) garbage: AtomicU64,
    /// A reset made the file of the base void, and no other has taken its place.
    pub(super) base_is_void: AtomicBool,
    pub(super) hub: Hub,
    pub(super) counters: Mutex<Counters>,
    pub(super) poison: Poison,
}

/// What is synced.
#[derive(Debug, Default)]
struct Durable {
    cursor: WatchCursor,
    /// Commits behind it, with the record that each ends with.
    waiting: VecDeque<(u64, WatchCursor)>,
    /// Since when there are any, and how many bytes they have.
    since: Duration,
    bytes: u64,
}

/// What a fold is made of, as an open found it.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) path: PathBuf,
    pub(super) options: FoldOptions,
    pub(super) read_mode: ReadMode,
    pub(super) dir: Arc<dyn Dir>,
    pub(super) log_dir: Arc<dyn Dir>,
    pub(super) log: Option<Log>,
    pub(super) store_id: [u8; 16],
    pub(super) view: View,
    pub(super) tail: u64,
    pub(super) base_is_void: bool,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let durable = Durable { cursor: parts.view.state.cursor.clone(), ..Durable::default() };
        Self {
            path: parts.path,
            options: parts.options,
            read_mode: parts.read_mode,
            dir: parts.dir,
            log_dir: parts.log_dir,
            log: Mutex::new(parts.log),
            store_id: parts.store_id,
            view: RwLock::new(parts.view),
            commits: Mutex::new(0),
            committed: Condvar::new(),
            durable: Mutex::new(durable),
            merge: Mutex::new(None),
            cancel: AtomicBool::new(false),
            tail: AtomicU64::new(parts.tail),
            garbage: AtomicU64::new(0),
            base_is_void: AtomicBool::new(parts.base_is_void),
            hub: Hub::default(),
            counters: Mutex::default(),
            poison: Poison::default(),
        }
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Option<Log>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn merge(&self) -> MutexGuard<'_, Option<Merge>> {
        self.merge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that there was a commit, which ends with the record `seq`, of so many bytes.
    pub(super) fn tell_commit(&self, seq: u64, bytes: u64, cursor: &WatchCursor) {
        if !self.options.syncs_each() {
            // What was synced meanwhile waits no longer: a window begins with the first commit that is not.
            drop(self.durable_cursor());
        }
        let mut durable = self.durable();
        if self.options.syncs_each() {
            durable.cursor = cursor.clone();
        } else {
            if durable.waiting.is_empty() {
                (durable.since, durable.bytes) = (self.options.fs.monotonic(), 0);
            }
            durable.bytes = durable.bytes.saturating_add(bytes);
            durable.waiting.push_back((seq, cursor.clone()));
        }
        drop(durable);
        self.wake();
    }

    /// Wakes those who wait for a commit.
    pub(super) fn wake(&self) {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        *commits = commits.wrapping_add(1);
        drop(commits);
        self.committed.notify_all();
    }

    /// The cursor of the last commit that a sync covers.
    pub(super) fn durable_cursor(&self) -> WatchCursor {
        let synced = self.log().as_ref().map_or(0, Log::durable_seq);
        let mut durable = self.durable();
        while durable.waiting.front().is_some_and(|(seq, _)| *seq <= synced) {
            if let Some((_, cursor)) = durable.waiting.pop_front() {
                durable.cursor = cursor;
            }
        }
        durable.cursor.clone()
    }

    /// What is waiting goes with what it waited for.
    pub(super) fn forget_unsynced(&self, cursor: WatchCursor) {
        *self.durable() = Durable { cursor, ..Durable::default() };
    }

    /// Whether what waits for a sync has waited so long, or is so much.
    pub(super) fn window_is_over(&self, time: Duration, bytes: u64) -> bool {
        drop(self.durable_cursor());
        let durable = self.durable();
        let waited = self.options.fs.monotonic().saturating_sub(durable.since);
        !durable.waiting.is_empty() && (waited >= time || durable.bytes >= bytes)
    }

    /// Waits until `ready` says yes, looking after each commit, for so long at most.
    pub(super) fn wait_until(
        &self,
        timeout: Duration,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<bool> {
        let clock = || self.options.fs.monotonic();
        let deadline = clock().saturating_add(timeout);
        loop {
            let seen = *self.commits.lock().unwrap_or_else(PoisonError::into_inner);
            if ready()? {
                return Ok(true);
            }
            let closed = !self.options.read_only && self.log().is_none();
            let left = deadline.saturating_sub(clock());
            if left.is_zero() || closed {
                return Ok(false);
            }
            let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.committed.wait_timeout_while(commits, left, |now| *now == seen);
            drop(waited);
        }
    }

    /// Milliseconds since the Unix epoch, for people.
    pub(super) fn wall_ms(&self) -> u64 {
        u64::try_from(self.options.fs.now().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
