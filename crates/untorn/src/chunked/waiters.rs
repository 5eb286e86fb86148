//! Who waits for bytes that are not there yet, and how he is woken.
//!
//! # Invariants
//! - W1 Who is in the list stands under the first byte that he misses. It was missing when he was put there, under the
//!   lock; so only a write of that byte can be the one that he needs next, and no other wakes him or looks at him.
//! - W2 `count` is how many are in the list. It is raised under the lock, before the look that decides about waiting.
//! - W3 No wake-up is lost. A writer inserts the bytes, fences, and loads `count`. A waiter raises `count`, fences, and
//!   looks at the bytes, all under the lock. One of the fences is first. The writer's: the look sees the bytes. The
//!   waiter's: the writer sees him counted, waits for the lock, and finds him in the list.
//! - W4 A writer who looks on behalf of a waiter fences under the lock first. So W3 holds between him and the next writer.
//! - W5 A wake-up is a hint: who is woken is out of the list and looks again. What he looks at is stored before he is woken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem::take;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, Thread};
use std::time::Duration;

use super::coverage::Coverage;

/// How someone is woken.
#[derive(Clone, Debug)]
pub(super) enum Wake {
    Thread(Arc<Parked>),
    Task(Waker),
}

/// A thread that sleeps until it is woken.
#[derive(Debug)]
pub(super) struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Parked {
    /// The calling thread; only it may [`park`](Self::park).
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), woken: AtomicBool::new(false) })
    }

    /// Sleeps until woken, or about so long: then it may return early, for the caller to look at the clock.
    pub(super) fn park(&self, at_most: Option<Duration>) {
        // Others unpark threads too: only the flag says who it was.
        while !self.woken.swap(false, Acquire) {
            match at_most {
                None => thread::park(),
                Some(left) => return thread::park_timeout(left),
            }
        }
    }
}

impl Wake {
    pub(super) fn wake(self) {
        match self {
            Self::Thread(parked) => {
                parked.woken.store(true, Release);
                parked.thread.unpark();
            }
            Self::Task(waker) => waker.wake(),
        }
    }
}

/// The list of those who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    next_id: u64,
    /// In the order in which they came.
    by_id: BTreeMap<u64, Waiter>,
    /// By the first byte that each misses (W1).
    by_missing: BTreeSet<(u64, u64)>,
}

#[derive(Debug)]
struct Waiter {
    missing: u64,
    /// Where what he waits for ends.
    end: u64,
    wake: Wake,
}

impl Waiters {
    /// Puts someone in the list if `look` says under the lock what he waits for: from the first missing byte on.
    ///
    /// `None`: there is nothing to wait for any more. Else his number in the list.
    pub(super) fn enter(
        &self,
        wake: Wake,
        look: impl FnOnce() -> Option<Range<u64>>,
    ) -> Option<u64> {
        let mut list = self.lock();
        self.count.fetch_add(1, SeqCst);
        fence(SeqCst);
        let Some(Range { start: missing, end }) = look() else {
            self.count.fetch_sub(1, SeqCst);
            return None;
        };
        let id = list.next_id;
        list.next_id = id.wrapping_add(1);
        list.by_missing.insert((missing, id));
        list.by_id.insert(id, Waiter { missing, end, wake });
        Some(id)
    }

    /// Takes someone out who does not wait any more; nothing if he was woken.
    pub(super) fn leave(&self, id: u64) {
        let mut list = self.lock();
        if list.take(id).is_some() {
            self.count.fetch_sub(1, SeqCst);
        }
    }

    /// Has a task woken by another waker from now on; false if it was woken and is not in the list.
    pub(super) fn renew(&self, id: u64, waker: &Waker) -> bool {
        let mut list = self.lock();
        let Some(waiter) = list.by_id.get_mut(&id) else { return false };
        match &mut waiter.wake {
            Wake::Task(old) => old.clone_from(waker),
            wake @ Wake::Thread(_) => *wake = Wake::Task(waker.clone()),
        }
        true
    }

    /// After the bytes of `range` were inserted: wakes those who have all their bytes now, and no others.
    pub(super) fn written(&self, range: &Range<u64>, coverage: &Coverage) {
        fence(SeqCst);
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut woken = Vec::new();
        let mut list = self.lock();
        let met = list.by_missing.range((range.start, 0)..(range.end, 0));
        let met: Vec<(u64, u64)> = met.copied().collect();
        if !met.is_empty() {
            // W4.
            fence(SeqCst);
        }
        for (missing, id) in met {
            let Some(waiter) = list.by_id.get_mut(&id) else { continue };
            match coverage.next_gap(missing, waiter.end) {
                Some(gap) => {
                    waiter.missing = gap.start;
                    list.by_missing.remove(&(missing, id));
                    list.by_missing.insert((gap.start, id));
                }
                None => woken.extend(list.take(id)),
            }
        }
        self.count.fetch_sub(woken.len(), SeqCst);
        drop(list);
        woken.into_iter().for_each(Wake::wake);
    }

    /// After the state changed: wakes all.
    pub(super) fn wake_all(&self) {
        fence(SeqCst);
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut list = self.lock();
        list.by_missing.clear();
        let woken = take(&mut list.by_id);
        self.count.fetch_sub(woken.len(), SeqCst);
        drop(list);
        for waiter in woken.into_values() {
            waiter.wake.wake();
        }
    }

    /// What the one who has waited longest misses next, cut to `max` bytes.
    pub(super) fn wanted(&self, coverage: &Coverage, max: u64) -> Option<Range<u64>> {
        if max == 0 || self.count.load(SeqCst) == 0 {
            return None;
        }
        let list = self.lock();
        let mut gaps = list.by_id.values().filter_map(|waiter| {
            // One whose last byte was just written is about to be woken.
            coverage.next_gap(waiter.missing, waiter.end)
        });
        gaps.next().map(|gap| gap.start..gap.end.min(gap.start.saturating_add(max)))
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn take(&mut self, id: u64) -> Option<Wake> {
        let waiter = self.by_id.remove(&id)?;
        self.by_missing.remove(&(waiter.missing, id));
        Some(waiter.wake)
    }
}

/// Ends waits from elsewhere: who waits with it gets [`WaitOutcome::Interrupted`](super::WaitOutcome::Interrupted).
///
/// Clones are one and the same. It stays cancelled.
///
/// ```
/// use untorn::chunked::Cancel;
/// let cancel = Cancel::new();
/// let other = cancel.clone();
/// other.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct Cancel(Arc<Cancelling>);

#[derive(Default)]
struct Cancelling {
    cancelled: AtomicBool,
    waiting: Mutex<(u64, BTreeMap<u64, Wake>)>,
}

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all waits with it, now and later.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, SeqCst);
        let woken = take(&mut self.0.lock().1);
        woken.into_values().for_each(Wake::wake);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(SeqCst)
    }

    /// Has someone woken when it is cancelled, until the guard is dropped.
    ///
    /// He asks [`is_cancelled`](Self::is_cancelled) afterwards, before he sleeps: who cancelled before he was on the list
    /// had the lock before him, so that he sees it.
    pub(super) fn join(&self, wake: Wake) -> Joined<'_> {
        let mut waiting = self.0.lock();
        let id = waiting.0;
        waiting.0 = id.wrapping_add(1);
        waiting.1.insert(id, wake);
        Joined { cancel: self, id }
    }
}

impl Cancelling {
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Wake>)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("cancelled", &self.is_cancelled()).finish()
    }
}

/// As long as it lives, a cancel wakes.
#[derive(Debug)]
pub(super) struct Joined<'a> {
    cancel: &'a Cancel,
    id: u64,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.cancel.0.lock().1.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake as TaskWake;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl TaskWake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    struct Scene {
        coverage: Coverage,
        waiters: Waiters,
    }

    impl Scene {
        fn new() -> Self {
            Self { coverage: Coverage::new(1 << 30), waiters: Waiters::default() }
        }

        fn wait(&self, range: Range<u64>) -> (Arc<Bell>, Option<u64>) {
            let bell = Arc::new(Bell::default());
            let wake = Wake::Task(Waker::from(Arc::clone(&bell)));
            let look = || Some(self.coverage.next_gap(range.start, range.end)?.start..range.end);
            let id = self.waiters.enter(wake, look);
            (bell, id)
        }

        fn write(&self, range: Range<u64>) {
            self.coverage.insert(&range);
            self.waiters.written(&range, &self.coverage);
        }
    }

    #[test]
    fn only_who_has_all_is_woken() {
        let scene = Scene::new();
        let (whole, _) = scene.wait(0..30_000);
        let (tail, _) = scene.wait(20_000..20_010);
        let (apart, _) = scene.wait(90_000..90_001);
        let rings = || [&whole, &tail, &apart].map(|bell| bell.0.load(SeqCst));
        scene.write(0..10_000);
        scene.write(20_005..30_000);
        assert_eq!((rings(), scene.waiters.count()), ([0, 0, 0], 3));
        assert_eq!(scene.waiters.wanted(&scene.coverage, 4), Some(10_000..10_004));
        scene.write(20_000..20_005);
        assert_eq!(rings(), [0, 1, 0]);
        scene.write(10_000..20_000);
        assert_eq!((rings(), scene.waiters.count()), ([1, 1, 0], 1));
        assert_eq!(scene.waiters.wanted(&scene.coverage, 4), Some(90_000..90_001));
        scene.waiters.wake_all();
        assert_eq!((rings(), scene.waiters.count()), ([1, 1, 1], 0));
        assert_eq!(scene.waiters.wanted(&scene.coverage, 4), None);
    }

    #[test]
    fn who_leaves_or_need_not_wait_is_forgotten() {
        let scene = Scene::new();
        scene.write(5..9);
        assert_eq!(scene.wait(5..9).1, None);
        let (bell, id) = scene.wait(5..10);
        assert!(scene.waiters.renew(id.unwrap(), Waker::noop()));
        scene.waiters.leave(id.unwrap());
        scene.waiters.leave(id.unwrap());
        assert!(!scene.waiters.renew(id.unwrap(), Waker::noop()));
        scene.write(9..10);
        assert_eq!((bell.0.load(SeqCst), scene.waiters.count()), (0, 0));
        assert!(scene.waiters.lock().by_missing.is_empty());
    }

    /// A writer and a waiter at the same moment: either he sees the bytes, or he is woken (W3).
    #[test]
    fn no_wake_up_is_lost() {
        let scene = Scene::new();
        thread::scope(|scope| {
            for part in 0..2_u64 {
                let scene = &scene;
                scope.spawn(move || {
                    for n in 0..20_000 {
                        let at = n * 100 + part * 50;
                        scene.write(at..at + 50);
                    }
                });
            }
            scope.spawn(|| {
                let parked = Parked::new();
                for n in 0..20_000 {
                    let range = n * 100..n * 100 + 100;
                    let gap = || scene.coverage.next_gap(range.start, range.end);
                    let look = || Some(gap()?.start..range.end);
                    let wake = Wake::Thread(Arc::clone(&parked));
                    if scene.waiters.enter(wake, look).is_some() {
                        parked.park(None);
                    }
                    assert!(scene.coverage.contains(&range));
                }
            });
        });
        assert_eq!(scene.waiters.count(), 0);
    }

    #[test]
    fn a_cancel_wakes_who_joined() {
        let cancel = Cancel::new();
        let bell = Arc::new(Bell::default());
        let wake = || Wake::Task(Waker::from(Arc::clone(&bell)));
        drop(cancel.join(wake()));
        let joined = cancel.join(wake());
        assert!(!cancel.is_cancelled());
        cancel.clone().cancel();
        cancel.cancel();
        assert_eq!((bell.0.load(SeqCst), cancel.is_cancelled()), (1, true));
        drop(joined);
    }
}
