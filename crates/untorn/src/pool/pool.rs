//! A pool: values of one type under a budget.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64 as Counter;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Weak};
use std::time::Duration;

use uuid::Uuid;

use super::backend::Strategy;
use super::budget::{Found, Member, MemoryBudget, Reclaimed, Room, Turn, Unit};
use super::entry::Entry;
use super::fb::Fb;
use super::options::PoolOptions;
use super::queues::Queues;
use super::rejected::Rejected;
use super::sets::SetPath;
use super::stats::{Counters, PoolStats};
use super::store::{BackingStore, Core};
use super::tier::{Tier, guarded};
use super::tracked::TrackedPath;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Error, ErrorKind, Result};

/// A pool of values of one type. See the [module](super).
///
/// # Concurrency
/// Shared as an `Arc`; each handle holds one. All calls may be made from any thread.
pub struct Pool<T: Send + Sync + 'static> {
    pub(crate) inner: Arc<Inner<T>>,
}

/// The name that an existing crate has for a [`Pool`].
pub type FBPool<T> = Pool<T>;

/// When a value is first written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteOn {
    /// When it has to leave memory.
    #[default]
    Evict,
    /// When it is inserted, so that it can leave memory at once.
    Insert,
}

pub(crate) struct Inner<T: Send + Sync + 'static> {
    pub(crate) tier: Arc<dyn Tier<T>>,
    pub(crate) core: Arc<Core>,
    pub(crate) budget: MemoryBudget,
    pub(crate) share: u32,
    pub(crate) spill_ahead: u64,
    pub(crate) pin_wait: Duration,
    pub(crate) write_on: WriteOn,
    pub(crate) weigh: Option<fn(&T) -> usize>,
    pub(crate) queues: Mutex<Queues<T>>,
    pub(crate) resident: Counter,
    pub(crate) count: Counter,
    pub(crate) counters: Counters,
    pub(crate) helper: Helper,
}

/// The job that gives memory up in the background: one at a time.
pub(crate) struct Helper {
    pub(crate) on: AtomicBool,
    /// How often it was called for.
    pub(crate) calls: Counter,
    pub(crate) backoff: Mutex<Backoff>,
}

/// After a write that failed the background waits before it tries again; who asks for room tries at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    pub(crate) until: Duration,
    pub(crate) step: Duration,
}

impl<T: Send + Sync + 'static> Pool<T> {
    /// A pool that holds at most `mem_size` values in memory, and spills the others as the backend does.
    #[expect(clippy::needless_pass_by_value, reason = "as existing programs call it")]
    pub fn new<B: Strategy<T>>(store: Arc<BackingStore<B>>, mem_size: usize) -> Self {
        PoolOptions::new().budget(MemoryBudget::items(mem_size)).build_strategy(&store)
    }

    /// The options; [`PoolOptions::build`] makes a pool with a budget in bytes.
    pub fn options() -> PoolOptions<T> {
        PoolOptions::new()
    }

    /// Takes a value in; waits for room, and makes it by writing others out.
    ///
    /// # Durability
    /// None: what is spilled is gone with the process. See [`Fb::blocking_persist`].
    ///
    /// # Cost
    /// None, where there is room; else writes about 1 MiB of other values, without a sync. Blocks.
    ///
    /// # Errors
    /// `OverBudget` if the value alone is more than the budget, or if guards hold all of it for longer than `pin_wait`; `NoSpace`
    /// and others if nothing can be written: everything stays in memory, and the call can be made again. The value comes back with all.
    pub fn blocking_insert(self: &Arc<Self>, value: T) -> Result<Fb<T>, Rejected<T>> {
        let admitted = self.weigh(&value).and_then(|weight| {
            let room = self.admit(weight, || false)?;
            Ok((weight, room))
        });
        match admitted {
            Ok((weight, Some(room))) => Ok(self.take_in(value, weight, room)),
            Ok((_, None)) => Err(Rejected::new(would_block(), value)),
            Err(error) => Err(Rejected::new(error, value)),
        }
    }

    /// Takes a value in if there is room, or can be made without writing. Never waits, never does I/O.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room now; `OverBudget` if the value alone is more than the budget. The value comes back with all.
    pub fn try_insert(self: &Arc<Self>, value: T) -> Result<Fb<T>, Rejected<T>> {
        let admitted = self.weigh(&value).and_then(|weight| {
            self.budget().check(weight)?;
            self.try_admit(weight).map(|room| (weight, room)).ok_or_else(would_block)
        });
        match admitted {
            Ok((weight, room)) => Ok(self.take_in(value, weight, room)),
            Err(error) => Err(Rejected::new(error, value)),
        }
    }

    pub(crate) fn take_in(self: &Arc<Self>, value: T, weight: u64, room: Room) -> Fb<T> {
        let entry = Entry::of_value(self, value, weight, room);
        self.inner.counters.inserts.fetch_add(1, Relaxed);
        if self.inner.write_on == WriteOn::Insert {
            self.write_behind(&entry);
        }
        self.spill_ahead();
        Fb::of(entry)
    }

    /// A handle on an object of a path; `None` if it is not there. Reads nothing but what the path knows.
    ///
    /// # Errors
    /// `Precondition` if it is of another codec or type, or the path of another store; the backend's.
    pub fn blocking_register<P: Send + Sync + 'static>(
        self: &Arc<Self>,
        path: &TrackedPath<P>,
        key: Uuid,
    ) -> Result<Option<Fb<T>>> {
        path.check(&self.inner.core)?;
        if !path.contains_key(key) {
            return Ok(None);
        }
        let inner = &self.inner;
        let known = inner.core.share_registered(key, || inner.tier.register(path.any(), key))?;
        let weight = if inner.budget.unit() == Unit::Items { 1 } else { known.unwrap_or(1) };
        Ok(Some(Fb::of(Entry::of_copy(self, key, weight))))
    }

    /// Handles on all objects of a named set, in its order; none if there is no such set.
    ///
    /// # Errors
    /// As [`blocking_register`](Self::blocking_register); `Damaged` if the path lacks one of them.
    pub fn blocking_register_set<P: SetPath>(
        self: &Arc<Self>,
        path: &TrackedPath<P>,
        name: &str,
    ) -> Result<Vec<Fb<T>>> {
        let Some(set) = path.read_set(name)? else { return Ok(Vec::new()) };
        let handle = |key: Uuid| {
            self.blocking_register(path, key)?.ok_or_else(|| {
                let what = format!("object {key} of the set is not in the path");
                Error::of_caller(ErrorKind::Damaged, "register", what)
            })
        };
        set.keys.into_iter().map(handle).collect()
    }

    /// The budget.
    pub fn budget(&self) -> &MemoryBudget {
        &self.inner.budget
    }

    /// How many objects have handles, in memory and on the disk.
    pub fn size(&self) -> usize {
        usize::try_from(self.inner.count.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// What its values take in memory, by weight.
    pub fn resident(&self) -> u64 {
        self.inner.resident.load(Relaxed)
    }

    /// What it holds, and what it did.
    pub fn stats(&self) -> PoolStats {
        self.inner.counters.read(self.size() as u64, self.resident(), self.budget())
    }

    /// Writes all values out that guards do not hold, so that the pool takes no memory but for its handles.
    ///
    /// # Errors
    /// `NoSpace` and others; what could not be written stays in memory.
    pub fn spill_all(&self) -> Result<()> {
        loop {
            match self.inner.reclaim_some(u64::MAX) {
                Reclaimed::Freed(_) => {}
                Reclaimed::Nothing => return Ok(()),
                Reclaimed::Failed(error) => return Err(error),
            }
        }
    }

    pub(crate) fn weigh(&self, value: &T) -> Result<u64> {
        let inner = &self.inner;
        if inner.budget.unit() == Unit::Items {
            return Ok(1);
        }
        match inner.weigh {
            Some(weigh) => guarded("weigh", || Ok(weigh(value) as u64)),
            None => inner.tier.weigh(value),
        }
    }

    /// Room at once, or by giving up what needs no writing.
    pub(crate) fn try_admit(&self, need: u64) -> Option<Room> {
        let budget = self.budget();
        loop {
            if let Some(room) = budget.try_admit(need) {
                return Some(room);
            }
            // Only what stands before the others can be made room for.
            if budget.waiting() > 0 || !self.inner.reclaim_clean_for(need) {
                return None;
            }
        }
    }

    /// Waits for room, and makes it. `None` as soon as `stop` says that it is needed no more.
    pub(crate) fn admit(&self, need: u64, stop: impl Fn() -> bool) -> Result<Option<Room>> {
        let budget = self.budget();
        budget.check(need)?;
        if let Some(room) = budget.try_admit(need) {
            return Ok(Some(room));
        }
        self.inner.counters.waits.fetch_add(1, Relaxed);
        let fs = &self.inner.core.fs;
        let mut turn = budget.queue(need);
        let began = fs.monotonic();
        let mut deadline = began.saturating_add(self.inner.pin_wait);
        loop {
            match turn.look(None) {
                Found::Granted => return Ok(turn.take()),
                Found::Failed(error) => return Err(Error::share(&error)),
                Found::Rung | Found::Waits => {}
            }
            if stop() {
                return Ok(None);
            }
            match budget.reclaim(0) {
                Reclaimed::Freed(_) => continue,
                Reclaimed::Failed(error) => return Err(error),
                Reclaimed::Nothing => {}
            }
            if !turn.park(deadline.saturating_sub(fs.monotonic())) {
                self.give_up_waiting(&mut turn, need, began)?;
                deadline = fs.monotonic().saturating_add(self.inner.pin_wait);
            }
        }
    }

    /// The time is up: an error, unless something moved meanwhile.
    pub(crate) fn give_up_waiting(
        &self,
        turn: &mut Turn,
        need: u64,
        began: Duration,
    ) -> Result<()> {
        if turn.moved() {
            return Ok(());
        }
        let waited = self.inner.core.fs.monotonic().saturating_sub(began);
        Err(self.budget().refused(need, waited))
    }

    pub(crate) fn draw_key(&self) -> Uuid {
        self.inner.core.draw_key()
    }

    pub(crate) fn queues(&self) -> MutexGuard<'_, Queues<T>> {
        lock(&self.inner.queues)
    }

    pub(crate) fn came(&self, weight: u64) {
        self.inner.resident.fetch_add(weight, Relaxed);
    }

    pub(crate) fn went(&self, weight: u64) {
        self.inner.resident.fetch_sub(weight, Relaxed);
    }

    pub(crate) fn born(&self) {
        self.inner.count.fetch_add(1, Relaxed);
    }

    pub(crate) fn died(&self) {
        self.inner.count.fetch_sub(1, Relaxed);
    }

    /// An entry has nothing to do with a key any more.
    pub(crate) fn release_key(&self, key: Uuid, stored: bool, shared: bool) {
        if shared {
            self.inner.core.unshare(key);
        } else if stored {
            self.inner.core.forget(key);
        }
    }
}

#[cold]
pub(crate) fn would_block() -> Error {
    let what = "there is no room without waiting or writing";
    Error::of_caller(ErrorKind::WouldBlock, "make room", what)
}

impl<T: Send + Sync + 'static> Inner<T> {
    pub(crate) fn join(self: &Arc<Self>) {
        let member: Weak<dyn Member> = Arc::downgrade(self) as Weak<dyn Member>;
        self.budget.join(member);
    }
}

impl<T: Send + Sync + 'static> Member for Inner<T> {
    fn resident(&self) -> u64 {
        self.resident.load(Relaxed)
    }

    fn share(&self) -> u64 {
        u64::from(self.share)
    }

    fn pinned(&self) -> u64 {
        // Those that nobody asked to give up yet stand in the queues; the others stand aside, and are what is missing there.
        let entries = lock(&self.queues).entries();
        let mut queued = HashMap::new();
        let mut pinned = 0_u64;
        for entry in entries.iter().filter_map(Weak::upgrade) {
            let slot = entry.slot();
            let (weight, held) = (slot.weight, slot.pins > 0);
            drop(slot);
            if queued.insert(Arc::as_ptr(&entry) as usize, ()).is_none() && !held {
                pinned = pinned.saturating_add(weight);
            }
        }
        self.resident().saturating_sub(pinned)
    }

    fn reclaim(&self, want: u64) -> Reclaimed {
        self.reclaim_some(want)
    }

    #[cfg(feature = "tokio")]
    fn reclaim_clean(&self, want: u64) -> u64 {
        self.reclaim_clean_some(want)
    }
}

impl Helper {
    pub(crate) fn new() -> Self {
        Self { on: AtomicBool::new(false), calls: Counter::new(0), backoff: Mutex::default() }
    }

    /// Whether the caller is to start it.
    pub(crate) fn call(&self) -> bool {
        self.calls.fetch_add(1, AcqRel);
        !self.on.swap(true, AcqRel)
    }

    /// Ends it; whether it must go on since it was called for after `seen`.
    pub(crate) fn end(&self, seen: u64) -> bool {
        self.on.store(false, Release);
        self.calls.load(Acquire) != seen && !self.on.swap(true, AcqRel)
    }
}

impl<T: Send + Sync + 'static> std::fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.size())
            .field("resident", &self.resident())
            .field("budget", self.budget())
            .finish_non_exhaustive()
    }
}
