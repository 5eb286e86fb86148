//! How much memory values may take, shared by any pools.
//!
//! # Invariants
//! - G1 `used` is the sum of what was admitted and not released. It passes `limit` only by [`MemoryBudget::reweigh`] and
//!   [`MemoryBudget::resize`]; nothing is admitted until that is repaid.
//! - G2 Who waits is served in the order of coming: nothing is admitted past a waiter, so that a large request comes to its turn.
//! - G3 Whatever may let a waiter go on (a release, the end of a spill, a pin that is gone, a value that came) wakes him.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, lock};
use crate::{Error, ErrorKind, Result};

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Bytes, as the pools weigh their values.
    Bytes,
    /// Values.
    Items,
}

/// A limit for the values that pools hold in memory. Clones are the same budget.
///
/// Charged are values that are resident, being loaded, being spilled, or held by a guard. Inserts and loads wait until there is
/// room; only a value that grew under a [`WriteGuard`](super::WriteGuard) passes the limit, and the next admission repays that first.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Inner>);

struct Inner {
    unit: Unit,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    limit: u64,
    used: u64,
    peak: u64,
    /// Of `used`: dirty values on their way to the disk, whose room is as good as free.
    leaving: u64,
    /// Counts what gave hope: a waiter whose time is up looks whether anything moved.
    moved: u64,
    waiting: VecDeque<Arc<Waiter>>,
    members: Vec<Weak<dyn Member>>,
}

/// A pool, as the budget sees it.
pub(crate) trait Member: Send + Sync {
    /// What its values take.
    fn resident(&self) -> u64;
    /// Its weight among the pools of the budget.
    fn share(&self) -> u64;
    /// What guards hold of it.
    fn pinned(&self) -> u64;
    /// Gives up to about so much; may write. Not while any lock of a pool or entry is held.
    fn reclaim(&self, want: u64) -> Reclaimed;
    /// Gives up what needs no writing.
    #[cfg(feature = "tokio")]
    fn reclaim_clean(&self, want: u64) -> u64;
}

/// What a pool gave up.
#[derive(Debug)]
pub(crate) enum Reclaimed {
    /// So much.
    Freed(u64),
    /// Nothing can be given up now.
    Nothing,
    /// It could not be written.
    Failed(Error),
}

#[derive(Debug)]
struct Waiter {
    need: u64,
    parked: Mutex<Parked>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Parked {
    granted: bool,
    rung: bool,
    failed: Option<Arc<Error>>,
    waker: Option<Waker>,
}

impl Waiter {
    fn ring(&self, change: impl FnOnce(&mut Parked)) {
        let waker = {
            let mut parked = lock(&self.parked);
            change(&mut parked);
            parked.rung = true;
            parked.waker.take()
        };
        self.bell.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl MemoryBudget {
    /// So many bytes, as the pools weigh their values.
    pub fn bytes(limit: usize) -> Self {
        Self::new(Unit::Bytes, limit as u64)
    }

    /// So many values.
    pub fn items(limit: usize) -> Self {
        Self::new(Unit::Items, limit as u64)
    }

    fn new(unit: Unit, limit: u64) -> Self {
        let ledger = Ledger { limit, ..Ledger::default() };
        Self(Arc::new(Inner { unit, ledger: Mutex::new(ledger) }))
    }

    /// What it counts.
    pub fn unit(&self) -> Unit {
        self.0.unit
    }

    /// The limit.
    pub fn limit(&self) -> u64 {
        self.ledger().limit
    }

    /// What is charged now.
    pub fn used(&self) -> u64 {
        self.ledger().used
    }

    /// The most that was ever charged at once.
    pub fn peak(&self) -> u64 {
        self.ledger().peak
    }

    /// How many callers wait for room.
    pub fn waiting(&self) -> usize {
        self.ledger().waiting.len()
    }

    /// What guards hold now. Walks through the values in memory.
    pub fn pinned(&self) -> u64 {
        self.members().iter().fold(0, |sum, member| sum.saturating_add(member.pinned()))
    }

    /// Changes the limit. What is held above a lower one is given up as room is asked for.
    pub fn resize(&self, limit: usize) {
        let mut ledger = self.ledger();
        ledger.limit = limit as u64;
        ledger.grant();
        ledger.ring_all();
    }

    pub(crate) fn join(&self, member: Weak<dyn Member>) {
        let mut ledger = self.ledger();
        ledger.members.retain(|member| member.strong_count() > 0);
        ledger.members.push(member);
    }

    /// Room for `need` at once, or `None`.
    pub(crate) fn try_admit(&self, need: u64) -> Option<Room> {
        let mut ledger = self.ledger();
        if !ledger.waiting.is_empty() || !ledger.fits(need) {
            return None;
        }
        ledger.charge(need);
        Some(Room { budget: self.clone(), amount: need })
    }

    /// Stands in the queue for `need`.
    pub(crate) fn queue(&self, need: u64) -> Turn {
        let waiter =
            Arc::new(Waiter { need, parked: Mutex::new(Parked::default()), bell: Condvar::new() });
        let mut ledger = self.ledger();
        ledger.waiting.push_back(Arc::clone(&waiter));
        ledger.grant();
        let seen = ledger.moved;
        drop(ledger);
        Turn { budget: self.clone(), waiter, seen }
    }

    /// What would have to go so that all who wait can be served, and `ahead` be free beside.
    pub(crate) fn wanted(&self, ahead: u64) -> u64 {
        let ledger = self.ledger();
        let asked = ledger.waiting.iter().fold(0_u64, |sum, w| sum.saturating_add(w.need));
        let target = ledger.used.saturating_add(asked).saturating_add(ahead);
        target.saturating_sub(ledger.limit).saturating_sub(ledger.leaving)
    }

    /// Lets the pools give up what is wanted, that one first which is furthest above its share. `Nothing` also if enough is on its way out.
    pub(crate) fn reclaim(&self, ahead: u64) -> Reclaimed {
        let want = self.wanted(ahead);
        if want == 0 {
            return Reclaimed::Nothing;
        }
        let mut failed = None;
        for member in self.members() {
            match member.reclaim(want) {
                Reclaimed::Freed(freed) if freed > 0 => return Reclaimed::Freed(freed),
                Reclaimed::Failed(error) => failed = failed.or(Some(error)),
                _ => {}
            }
        }
        failed.map_or(Reclaimed::Nothing, Reclaimed::Failed)
    }

    /// As [`reclaim`](Self::reclaim), and writes nothing.
    #[cfg(feature = "tokio")]
    pub(crate) fn reclaim_clean(&self) -> bool {
        let want = self.wanted(0);
        want > 0 && self.members().iter().any(|member| member.reclaim_clean(want) > 0)
    }

    /// The pools, that one first which is furthest above its share.
    fn members(&self) -> Vec<Arc<dyn Member>> {
        let mut members: Vec<_> = {
            let ledger = self.ledger();
            ledger.members.iter().filter_map(Weak::upgrade).collect()
        };
        if members.len() > 1 {
            members.sort_by_cached_key(|member| {
                let per_share = member.resident().checked_div(member.share().max(1));
                std::cmp::Reverse(per_share.unwrap_or(0))
            });
        }
        members
    }

    pub(crate) fn release(&self, amount: u64) {
        let mut ledger = self.ledger();
        ledger.used = ledger.used.saturating_sub(amount);
        ledger.grant();
    }

    /// A value that is held weighs something else now.
    pub(crate) fn reweigh(&self, old: u64, new: u64) {
        let mut ledger = self.ledger();
        ledger.used = ledger.used.saturating_sub(old);
        ledger.charge(new);
        ledger.grant();
    }

    /// So much is on its way to the disk, until what is returned is dropped.
    pub(crate) fn leaving(&self, amount: u64) -> Leaving {
        let mut ledger = self.ledger();
        ledger.leaving = ledger.leaving.saturating_add(amount);
        Leaving { budget: self.clone(), amount }
    }

    /// Wakes all who wait, to look again (G3).
    pub(crate) fn nudge(&self) {
        let mut ledger = self.ledger();
        if !ledger.waiting.is_empty() {
            ledger.moved = ledger.moved.wrapping_add(1);
            ledger.ring_all();
        }
    }

    /// Tells all who wait that nothing could be written.
    pub(crate) fn fail(&self, error: &Arc<Error>) {
        let ledger = self.ledger();
        for waiter in &ledger.waiting {
            waiter.ring(|parked| parked.failed = Some(Arc::clone(error)));
        }
    }

    /// Nothing so large is ever admitted.
    pub(crate) fn check(&self, need: u64) -> Result<()> {
        let limit = self.limit();
        if need <= limit {
            return Ok(());
        }
        let unit = self.words();
        let what = format!("one value of {need} {unit} is more than the whole budget of {limit}");
        Err(Error::of_caller(ErrorKind::OverBudget, "make room", what))
    }

    /// All who could be asked to give something up could not.
    #[cold]
    pub(crate) fn refused(&self, need: u64, waited: Duration) -> Error {
        let pinned = self.pinned();
        let (used, limit, unit) = (self.used(), self.limit(), self.words());
        let what = format!(
            "no room for {need} {unit} in {waited:?}: {used} of {limit} are used, {pinned} held by guards; drop guards, or make the budget larger"
        );
        Error::of_caller(ErrorKind::OverBudget, "make room", what)
    }

    fn words(&self) -> &'static str {
        match self.0.unit {
            Unit::Bytes => "bytes",
            Unit::Items => "values",
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.0.ledger)
    }
}

impl Ledger {
    fn fits(&self, need: u64) -> bool {
        self.used.saturating_add(need) <= self.limit
    }

    fn charge(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
        self.peak = self.peak.max(self.used);
    }

    /// Serves who waits, from the front, as far as there is room (G2).
    fn grant(&mut self) {
        self.moved = self.moved.wrapping_add(1);
        while let Some(waiter) = self.waiting.front() {
            if !self.fits(waiter.need) {
                return;
            }
            let waiter = Arc::clone(waiter);
            self.waiting.pop_front();
            self.charge(waiter.need);
            waiter.ring(|parked| parked.granted = true);
        }
    }

    fn ring_all(&self) {
        for waiter in &self.waiting {
            waiter.ring(|_| ());
        }
    }
}

impl std::fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ledger = self.ledger();
        f.debug_struct("MemoryBudget")
            .field("unit", &self.0.unit)
            .field("limit", &ledger.limit)
            .field("used", &ledger.used)
            .field("peak", &ledger.peak)
            .field("waiting", &ledger.waiting.len())
            .finish_non_exhaustive()
    }
}

/// What was admitted, until it is dropped or kept.
#[derive(Debug)]
pub(crate) struct Room {
    budget: MemoryBudget,
    amount: u64,
}

impl Room {
    /// It is an entry's now, which releases it.
    pub(crate) fn keep(mut self) {
        self.amount = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.budget.release(self.amount);
        }
    }
}

/// See [`MemoryBudget::leaving`].
#[derive(Debug)]
pub(crate) struct Leaving {
    budget: MemoryBudget,
    amount: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut ledger = self.budget.ledger();
        ledger.leaving = ledger.leaving.saturating_sub(self.amount);
        ledger.moved = ledger.moved.wrapping_add(1);
        // Whoever saw enough on its way out looks again.
        ledger.ring_all();
    }
}

/// A place in the queue. Dropping it leaves the queue, and gives back what was granted.
#[derive(Debug)]
pub(crate) struct Turn {
    budget: MemoryBudget,
    waiter: Arc<Waiter>,
    seen: u64,
}

/// What a waiter finds.
#[derive(Debug)]
pub(crate) enum Found {
    Granted,
    Failed(Arc<Error>),
    /// Nothing yet; look what can be done.
    Rung,
    Waits,
}

impl Turn {
    /// What is the case now; with a waker, which is woken when that changes.
    pub(crate) fn look(&self, waker: Option<&Waker>) -> Found {
        let mut parked = lock(&self.waiter.parked);
        if parked.granted {
            return Found::Granted;
        }
        if let Some(error) = parked.failed.take() {
            return Found::Failed(error);
        }
        if std::mem::take(&mut parked.rung) {
            return Found::Rung;
        }
        if let Some(waker) = waker {
            match &mut parked.waker {
                Some(old) => old.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
        Found::Waits
    }

    /// Sleeps until something changes or the time is up; false if it is.
    pub(crate) fn park(&self, timeout: Duration) -> bool {
        let parked = lock(&self.waiter.parked);
        if parked.granted || parked.rung || parked.failed.is_some() {
            return true;
        }
        let slept = self.waiter.bell.wait_timeout(parked, timeout);
        let (parked, _) = slept.unwrap_or_else(PoisonError::into_inner);
        parked.granted || parked.rung || parked.failed.is_some()
    }

    /// Whether anything moved since this was asked last, or since the queue was joined.
    pub(crate) fn moved(&mut self) -> bool {
        let moved = self.budget.ledger().moved;
        std::mem::replace(&mut self.seen, moved) != moved
    }

    /// Takes what was granted.
    pub(crate) fn take(self) -> Option<Room> {
        let granted = std::mem::take(&mut lock(&self.waiter.parked).granted);
        granted.then(|| Room { budget: self.budget.clone(), amount: self.waiter.need })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut ledger = self.budget.ledger();
        ledger.waiting.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
        // Under the ledger's lock, so that nothing is granted between.
        let granted = std::mem::take(&mut lock(&self.waiter.parked).granted);
        if granted {
            ledger.used = ledger.used.saturating_sub(self.waiter.need);
        }
        // Who stood behind may fit.
        ledger.grant();
    }
}
