//! The fold in a directory of its own: a log, and the base that it is merged into.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use super::apply::Terms;
use super::compact::CompactProgress;
use super::follow::Follow;
use super::options::{Compaction, DEFAULT_COMPACT_THRESHOLD, FoldOptions};
use super::reader::FoldReader;
use super::record::{Commit, reset};
use super::relist::{Sweep, SyncScope, SyncToken};
use super::scan::{Bounds, entry, for_each};
use super::shared::Shared;
use super::snapshot::FoldSnapshot;
use super::stats::{FoldStats, Recovery};
use super::view::State;
use super::{
    CursorOrder, KvEntry, KvUpdate, Lineage, LoadOptions, SnapshotStore, SweepReport, WatchCursor,
};
use crate::commit::Claim;
use crate::{Error, ErrorKind, Outcome, Result};

/// Bytes of base that a commit writes where the background cannot keep up.
const HELP: u64 = 256 << 10;
/// The longest name of a kind of source, and of a source.
const KIND_MAX: usize = 64;
const ID_MAX: usize = 1024;

/// A fold. See the [module](super).
#[derive(Debug)]
pub struct AppendLogSnapshot {
    shared: Arc<Shared>,
    claim: Option<Claim>,
    recovery: Recovery,
    thread: Option<JoinHandle<()>>,
    follow: Option<Follow>,
}

impl AppendLogSnapshot {
    pub(super) const fn of(shared: Arc<Shared>, claim: Option<Claim>, recovery: Recovery) -> Self {
        Self { shared, claim, recovery, thread: None, follow: None }
    }

    pub(super) fn following(shared: Arc<Shared>, recovery: Recovery, follow: Follow) -> Self {
        let mut fold = Self::of(shared, None, recovery);
        fold.follow = Some(follow);
        fold
    }

    /// Opens the fold in the directory `path`, or makes it; recovers it first if its last owner crashed. A compaction is due when
    /// the log behind the base has `compact_threshold` bytes, and is made by a thread of its own; `u64::MAX` for never.
    ///
    /// # Durability
    /// **On `Ok`** all commits up to the cursor survive power loss. **On `Err`** nothing was lost; `Damaged`, `NotOurs`,
    /// `NewerFormat` and `Locked` changed nothing but the text in `LOCK`. **If the process dies** or **if power fails** meanwhile, the next open goes on.
    ///
    /// # Cost
    /// Reads the index of the base, and the log behind it. Syncs as [`Log::open`](crate::log::Log::open); after a clean close none.
    ///
    /// # Errors
    /// `Locked` if another owner lives; `Damaged` with file, offset, the last good cursor and what lies behind; `NotOurs`;
    /// `NewerFormat`; `NoSpace`; `Io`.
    pub fn open(path: &Path, compact_threshold: u64) -> Result<(WatchCursor, Self)> {
        Self::options().compact_threshold(compact_threshold).open(path)
    }

    /// The options, to be opened with others than the defaults.
    pub fn options() -> FoldOptions {
        FoldOptions::new()
    }

    /// Ends the fold in order: what was applied is synced, and the next open is quick.
    ///
    /// # Durability
    /// **On `Ok`** everything that was applied survives power loss. **On `Err`** what was durable stays so.
    ///
    /// # Cost
    /// As [`Log::close`](crate::log::Log::close). A compaction under way is given up.
    ///
    /// # Errors
    /// Those of the last sync; `Poisoned`.
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.stop_thread();
        let closed = self.shared.close();
        self.claim = None;
        closed
    }

    fn stop_thread(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.cancel.store(true, Relaxed);
            drop(thread.join());
            self.shared.cancel.store(false, Relaxed);
        }
    }

    /// Leaves the fold as a process leaves it that is killed: nothing more is written.
    #[cfg(feature = "sim")]
    pub(crate) fn forget(mut self) {
        self.stop_thread();
        drop(self.shared.log().take());
        *self.shared.merge() = None;
        self.claim = None;
    }

    /// Syncs all that was applied, and returns its cursor.
    ///
    /// # Durability
    /// **On `Ok`** everything that was applied survives power loss. **On `Err`** the fold is poisoned.
    ///
    /// # Cost
    /// One sync, or none if there is nothing.
    ///
    /// # Errors
    /// `Poisoned`, `ReadOnly`.
    pub fn sync(&mut self) -> Result<WatchCursor> {
        self.shared.writable("sync")?.sync()?;
        Ok(self.shared.durable_cursor())
    }

    /// Reads the fold from other threads.
    pub fn reader(&self) -> FoldReader {
        FoldReader::of(Arc::clone(&self.shared))
    }

    /// The state as of the last commit, which stays.
    pub fn snapshot(&self) -> FoldSnapshot {
        FoldSnapshot::of(self.shared.view().clone())
    }

    /// What the open found and did.
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    /// How large it is, and what it did since it was opened.
    pub fn stats(&self) -> FoldStats {
        let shared = &self.shared;
        let durable_cursor = shared.durable_cursor();
        let log = shared.log().as_ref().map(crate::log::Log::stats);
        let view = shared.view();
        let counters = shared.counters();
        let base = view.base.as_ref();
        FoldStats {
            cursor: view.state.cursor.clone(),
            durable_cursor,
            lineage: view.state.lineage.as_deref().cloned(),
            overlay_keys: view.overlay_len() as u64,
            base_entries: base.map_or(0, |base| base.meta.entries),
            base_bytes: base.map_or(0, |base| base.len()),
            tail_bytes: shared.tail.load(Relaxed),
            commits: counters.commits,
            updates: counters.updates,
            stale_ops: counters.stale_ops,
            compactions: counters.compactions,
            compacted_bytes: counters.compacted_bytes,
            compaction_error: counters.compaction_error.clone(),
            compacting: view.frozen.is_some(),
            log,
        }
    }

    /// Writes about so many bytes of a new base; begins one if none is under way and there is anything to merge.
    ///
    /// # Durability
    /// Nothing changes but where the data lies. **On `Err`** base and log have everything as before, unless the fold is poisoned.
    ///
    /// # Cost
    /// The last step makes two syncs and one rename, and two more syncs if the log gives up segments.
    ///
    /// # Errors
    /// `NoSpace`, `Damaged`, `Io`: it begins anew with the next step. `Poisoned`.
    pub fn compact_step(&mut self, budget_bytes: u64) -> Result<CompactProgress> {
        if !self.shared.freeze()? {
            return Ok(CompactProgress { done: true, ..CompactProgress::default() });
        }
        self.shared.compact_slice(budget_bytes.max(1))
    }

    /// Merges everything that was applied into the base.
    ///
    /// # Errors
    /// As [`compact_step`](Self::compact_step).
    pub fn compact_all(&mut self) -> Result<()> {
        while self.shared.freeze()? {
            while !self.shared.compact_slice(u64::MAX / 2)?.done {}
        }
        Ok(())
    }

    /// Empties the fold: no entries, no cursor, no lineage. The old state is in the quarantine afterwards.
    ///
    /// # Durability
    /// **On `Ok`** it is empty, and stays so. **On `Err`** see [`Error::outcome`]. **If the process dies** or **if power fails** meanwhile, it is empty or as before.
    ///
    /// # Cost
    /// Two compactions and a copy of the base.
    ///
    /// # Errors
    /// As [`compact_all`](Self::compact_all); a base that is damaged cannot be kept whole, so it is not given up.
    pub fn reset(&mut self, reason: &str) -> Result<()> {
        self.stop_thread();
        self.compact_all()?;
        let log = self.shared.writable("reset")?;
        let reason: String = reason.chars().take(1000).collect();
        let wall_ms = self.shared.wall_ms();
        let ticket = log.append(&reset(&reason, wall_ms))?;
        log.wait(&ticket)?;
        log.sync()?;
        {
            let mut view = self.shared.view_mut();
            let state = State { wall_ms, seq: ticket.seq, ..State::default() };
            *view = super::view::View { state, ..super::view::View::default() };
        }
        self.shared.base_is_void.store(true, Relaxed);
        self.shared.forget_unsynced(WatchCursor::none());
        self.shared.hub.lag(&WatchCursor::none());
        self.shared.wake();
        // It is reset already: what is left is to write that down in less space.
        drop(self.compact_all());
        Ok(())
    }

    /// Looks again at a fold that was opened to be read only: takes what its owner committed since.
    ///
    /// # Errors
    /// `Stale` if the owner changes it faster than it can be looked at; `Precondition` for an owner; `Damaged`, `Io`.
    pub fn refresh(&mut self) -> Result<WatchCursor> {
        let Some(follow) = &mut self.follow else {
            let what = "only a fold that was opened to be read only is looked at again";
            return Err(Error::new(ErrorKind::Precondition, "refresh", self.shared.path(), what));
        };
        follow.look(&self.shared)?;
        Ok(self.cursor())
    }

    #[cfg(feature = "blake3")]
    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Commits what an artifact has above its base, where `meta` is what it says of itself.
    #[cfg(feature = "blake3")]
    pub(super) fn take_tail(
        &mut self,
        updates: &[KvUpdate],
        meta: &super::base::Meta,
    ) -> Result<()> {
        let mut terms = self.terms(&meta.cursor);
        terms.as_given = true;
        terms.commit.lineage.clone_from(&meta.lineage);
        // Positions began anew in it, or have no order.
        terms.commit.restart = !meta.cursor.reaches(&self.cursor(), self.cursor_order());
        self.commit(updates, &terms)
    }

    fn commit(&mut self, updates: &[KvUpdate], terms: &Terms) -> Result<()> {
        self.shared.commit(updates, terms)?;
        self.compact_if_due();
        Ok(())
    }

    /// It is never an error of a commit (M3): what fails is in the stats.
    fn compact_if_due(&mut self) {
        let shared = &self.shared;
        match shared.options.compaction {
            Compaction::Manual => {}
            Compaction::Inline { budget_per_apply } => {
                let under_way = shared.merge().is_some();
                if (under_way || shared.compaction_due(1)) && shared.freeze().is_ok() {
                    drop(shared.compact_slice(budget_per_apply.max(1)));
                }
            }
            Compaction::Background => {
                let running = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
                if running {
                    if shared.compaction_due(2) {
                        drop(shared.try_compact_slice(HELP));
                    }
                    return;
                }
                if shared.compaction_due(1) && shared.freeze().is_ok_and(|any| any) {
                    self.start_thread();
                }
            }
        }
    }

    fn start_thread(&mut self) {
        if let Some(ended) = self.thread.take() {
            drop(ended.join());
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("untorn-fold-compact".to_owned());
        // Where no thread can be had, the commit does a part itself.
        match thread.spawn(move || shared.compact_in_background()) {
            Ok(thread) => self.thread = Some(thread),
            Err(_) => drop(self.shared.compact_slice(HELP)),
        }
    }

    fn terms(&self, cursor: &WatchCursor) -> Terms {
        let wall_ms = self.shared.wall_ms();
        let cursor = cursor.clone();
        Terms { commit: Commit { cursor, lineage: None, restart: false, wall_ms }, as_given: false }
    }

    /// Whether a listed entry is to be written: it is newer than what is held, or versions say nothing and it is not the same.
    fn is_news(&self, update: &KvUpdate, new_lineage: bool) -> Result<bool> {
        let version = update.version().as_bytes();
        let held = self.shared.version_held(update.key())?;
        let Some(held) = held else { return Ok(true) };
        match self.cursor_order().newer(version, held.as_bytes()) {
            Some(newer) if !new_lineage => Ok(newer),
            _ => {
                let held = self.get(update.key())?;
                let same = |held: KvEntry| {
                    held.version == *update.version() && Some(&*held.value) == update.value()
                };
                Ok(!held.is_some_and(same))
            }
        }
    }
}

impl Drop for AppendLogSnapshot {
    fn drop(&mut self) {
        if self.claim.is_some() {
            // An error shows only to who closes.
            drop(self.end());
        }
    }
}

impl SnapshotStore for AppendLogSnapshot {
    fn load(path: &Path) -> Result<(WatchCursor, Self)> {
        Self::open(path, DEFAULT_COMPACT_THRESHOLD)
    }

    fn load_with(path: &Path, options: &LoadOptions) -> Result<(WatchCursor, Self)> {
        Self::options()
            .fs(Arc::clone(&options.fs))
            .create(options.create)
            .read_only(options.read_only)
            .open(path)
    }

    /// # Cost
    /// One write, and one sync where commits are synced.
    fn apply(&mut self, updates: &[KvUpdate], cursor: &WatchCursor) -> Result<()> {
        let terms = self.terms(cursor);
        self.commit(updates, &terms)
    }

    fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        self.reader().get(key)
    }

    fn range(&self, prefix: &str) -> Result<Vec<KvEntry>> {
        self.reader().range(prefix)
    }

    fn for_each_in_range(
        &self,
        prefix: &str,
        mut each: impl FnMut(KvEntry) -> Result<()>,
    ) -> Result<()> {
        let view = self.shared.view().clone();
        for_each(&view, &Bounds::prefix(prefix), |held| {
            each(entry(&view, held, false)?)?;
            Ok(true)
        })
    }

    fn has_entries(&self) -> Result<bool> {
        self.snapshot().has_entries()
    }

    fn cursor(&self) -> WatchCursor {
        self.shared.view().state.cursor.clone()
    }

    #[cfg(feature = "blake3")]
    fn export_to(&mut self, dest: &Path) -> Result<super::ExportManifest> {
        self.export(dest, &super::ExportOptions::new())
    }

    fn durable_cursor(&self) -> WatchCursor {
        self.shared.durable_cursor()
    }

    fn cursor_order(&self) -> CursorOrder {
        self.shared.options.cursor_order
    }

    fn lineage(&self) -> Option<Lineage> {
        self.shared.view().state.lineage.as_deref().cloned()
    }

    fn set_lineage(&mut self, lineage: Lineage) -> Result<()> {
        check_lineage(&lineage, self.shared.path())?;
        let mut terms = self.terms(&self.cursor());
        terms.commit.lineage = Some(lineage);
        self.commit(&[], &terms)
    }

    fn begin_sync(&mut self, scope: SyncScope) -> Result<SyncToken> {
        if let Some(lineage) = &scope.new_lineage {
            check_lineage(lineage, self.shared.path())?;
        }
        drop(self.shared.writable("begin sync")?);
        Ok(SyncToken::new(scope))
    }

    fn sync_apply(&mut self, token: &SyncToken, updates: &[KvUpdate]) -> Result<()> {
        token.mark(updates)?;
        let new_lineage = token.scope().new_lineage.is_some();
        let mut wanted = Vec::new();
        for update in updates {
            if self.is_news(update, new_lineage)? {
                wanted.push(update.clone());
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut terms = self.terms(&self.cursor());
        terms.as_given = true;
        self.commit(&wanted, &terms)
    }

    fn finish_sync(&mut self, token: SyncToken, cursor: &WatchCursor) -> Result<SweepReport> {
        let mut sweep = Sweep::new(&token, self.cursor_order(), cursor);
        let view = self.shared.view().clone();
        for prefix in token.scope().ranges() {
            // Keys and versions alone: no value is read.
            for_each(&view, &Bounds::prefix(&prefix), |held| {
                sweep.see(super::scan::text(held.key)?, held.version);
                Ok(true)
            })?;
        }
        let Sweep { deletes, report, .. } = sweep;
        let mut terms = self.terms(cursor);
        terms.as_given = true;
        if let Some(lineage) = &token.scope().new_lineage {
            terms.commit.lineage = Some(lineage.clone());
            terms.commit.restart = true;
        }
        self.commit(&deletes, &terms)?;
        Ok(report)
    }
}

fn check_lineage(lineage: &Lineage, path: &Path) -> Result<()> {
    if (1..=KIND_MAX).contains(&lineage.kind.len()) && lineage.id.len() <= ID_MAX {
        return Ok(());
    }
    let what = "the kind of a lineage has 1 to 64 bytes, its id up to 1024";
    let error = Error::new(ErrorKind::InvalidInput, "set lineage", path, what);
    Err(error.with_outcome(Outcome::Unchanged))
}
