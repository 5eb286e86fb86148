//! The state that readers see: published by the writer, taken by readers without waiting for him.
//!
//! # Invariants
//! - P1 A state that was published does not change, and nobody gets hold of one but from `current`, from `durable`, or from another
//!   holder. `durable` is `current` or an older state.
//! - P2 A turn (bytes that older states show are about to change) takes both out before it looks who holds one. Who loaded a state
//!   before is counted then: `arc_swap` pays, in the swap, the debts of guards that have no count of their own. Who loads later
//!   finds nothing and waits for the turn's end. So a state that has no count at that moment will never have a reader again, and
//!   `living` misses nobody.
//! - P3 All states whose count may be above zero are in `book.states`, weakly: each was put there before it was published.
//! - P4 `turning` is locked as long as a turn lasts; who finds nothing waits for it. A turn always ends with a state: its own or, if
//!   it is dropped, the fallback.
//! - P5 A rewind is noted before the state that shows it. So who takes a state and then asks for the rewinds learns of all that led
//!   to it, and perhaps of one that is about to come: then he hears of it twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::range::Range;
use crate::commit::Claim;
use crate::sync::{ArcCell, Condvar, Mutex, MutexGuard, PoisonError, lock};

/// Rewinds that are remembered of a member; older ones are told as deeper than they were.
const REWINDS_MAX: usize = 1024;
/// So many states that nobody holds may be listed before they are looked for.
const UNHELD_MAX: usize = 64;

/// One member as a state shows it.
#[derive(Clone)]
pub(super) struct View {
    pub(super) data: Arc<Range>,
    /// Where the elements end, if their size varies.
    pub(super) ends: Option<Arc<Range>>,
    /// Their size, if it does not.
    pub(super) fixed: u32,
    /// Elements below were dropped.
    pub(super) first: u64,
    /// Elements, with those that were dropped.
    pub(super) len: u64,
    /// Bytes of the data column.
    pub(super) data_end: u64,
}

/// A commit as readers see it.
pub(super) struct Published {
    pub(super) seq: u64,
    pub(super) members: Box<[View]>,
    /// Nobody else changes the files as long as someone reads them; a reader in another process has no say in that.
    #[expect(dead_code, reason = "held for its lock")]
    pub(super) hold: Option<Arc<Claim>>,
}

/// Where the writer publishes and readers look.
pub(super) struct Shared {
    /// What snapshots see; nothing during a turn.
    current: ArcCell<Published>,
    /// What a power cut leaves; nothing during a turn.
    durable: ArcCell<Published>,
    turning: Mutex<()>,
    book: Mutex<Book>,
    bell: Condvar,
}

#[derive(Default)]
struct Book {
    states: Vec<Weak<Published>>,
    /// How long the list may get before it is looked through.
    states_max: usize,
    /// The number of the durable state.
    durable: u64,
    /// Of each member: commit and elements kept, both rising.
    rewinds: BTreeMap<usize, Vec<(u64, u64)>>,
    closed: bool,
}

impl Book {
    fn add(&mut self, state: &Arc<Published>) {
        if self.states.len() >= self.states_max {
            self.states.retain(|state| state.strong_count() > 0);
            self.states_max = self.states.len().saturating_mul(2).max(UNHELD_MAX);
        }
        self.states.push(Arc::downgrade(state));
    }
}

impl Shared {
    /// With a first state, which is durable.
    pub(super) fn new(first: Published) -> Arc<Self> {
        let first = Arc::new(first);
        let mut book = Book { durable: first.seq, ..Book::default() };
        book.add(&first);
        Arc::new(Self {
            current: ArcCell::new(Some(Arc::clone(&first))),
            durable: ArcCell::new(Some(first)),
            turning: Mutex::new(()),
            book: Mutex::new(book),
            bell: Condvar::new(),
        })
    }

    /// The last state.
    pub(super) fn visible(&self) -> Arc<Published> {
        self.wait_for(&self.current)
    }

    /// The last state that a power cut leaves.
    pub(super) fn durable(&self) -> Arc<Published> {
        self.wait_for(&self.durable)
    }

    fn wait_for(&self, cell: &ArcCell<Published>) -> Arc<Published> {
        loop {
            if let Some(state) = cell.load_full() {
                return state;
            }
            self.wait_for_turn();
        }
    }

    /// Hands the last state to `f`, without a counter that other threads write to as well.
    pub(super) fn with<R>(&self, f: impl FnOnce(&Published) -> R) -> R {
        loop {
            let state = self.current.load();
            if let Some(state) = state.as_ref() {
                return f(state);
            }
            drop(state);
            self.wait_for_turn();
        }
    }

    /// Until the turn that was seen has ended (P4).
    #[cold]
    fn wait_for_turn(&self) {
        drop(lock(&self.turning));
    }

    /// Shows a further state. What older states show does not change by it.
    pub(super) fn publish(&self, next: Published, durable: bool) {
        let next = Arc::new(next);
        let mut book = lock(&self.book);
        book.add(&next);
        self.current.store(Some(Arc::clone(&next)));
        if durable {
            self.set_durable(&mut book, next);
        }
    }

    /// The state that is visible is durable now.
    pub(super) fn made_durable(&self) {
        let mut book = lock(&self.book);
        // A turn makes its own state durable.
        if let Some(state) = self.current.load_full() {
            self.set_durable(&mut book, state);
        }
    }

    fn set_durable(&self, book: &mut Book, state: Arc<Published>) {
        book.durable = state.seq;
        self.durable.store(Some(state));
        self.bell.notify_all();
    }

    /// Bytes that older states show are about to change: from here on readers wait for the end of the turn. If the turn does not get
    /// to its end, `fallback` is published. What is published then is durable.
    pub(super) fn turn(&self, fallback: Published) -> Turn<'_> {
        let waiting = lock(&self.turning);
        let book = lock(&self.book);
        // P2. Ours are dropped here.
        drop(self.current.take());
        drop(self.durable.take());
        drop(book);
        Turn { shared: self, fallback: Some(fallback), waiting }
    }

    /// Nothing more will be published. Readers keep the last state.
    pub(super) fn close(&self) {
        lock(&self.book).closed = true;
        self.bell.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.book).closed
    }

    /// The smallest number of elements that a rewind kept which was published after the commit `seq`.
    pub(super) fn rewinds_since(&self, seq: u64, member: usize) -> Option<u64> {
        let book = lock(&self.book);
        let rewinds = book.rewinds.get(&member)?;
        // They rise, so that the first is the deepest.
        rewinds.get(rewinds.partition_point(|(at, _)| *at <= seq)).map(|(_, keep)| *keep)
    }

    /// Before the commit `seq` is published, which keeps so many elements of the member (P5).
    pub(super) fn note_rewind(&self, seq: u64, member: usize, keep: u64) {
        let mut book = lock(&self.book);
        let rewinds = book.rewinds.entry(member).or_default();
        // Who has not heard of these has not heard of this one either, which is deeper.
        while rewinds.pop_if(|(_, kept)| *kept >= keep).is_some() {}
        rewinds.push((seq, keep));
        if rewinds.len() > REWINDS_MAX {
            let (_, oldest) = rewinds.remove(0);
            if let Some((_, kept)) = rewinds.first_mut() {
                *kept = oldest;
            }
        }
    }

    /// Waits until a commit after `seq` is durable; false if none is when the time is out, or the writer is gone.
    pub(super) fn wait_past(&self, seq: u64, timeout: Duration) -> bool {
        let book = lock(&self.book);
        let waiting = |book: &mut Book| book.durable <= seq && !book.closed;
        let (book, _) = self
            .bell
            .wait_timeout_while(book, timeout, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        book.durable > seq
    }

    /// Whether a state that is held, other than the last, shows elements before these, one for each member.
    pub(super) fn shows_below(&self, firsts: &[u64]) -> bool {
        let mut book = lock(&self.book);
        book.states.retain(|state| state.strong_count() > 0);
        let below = |state: Arc<Published>| {
            state.members.iter().zip(firsts).any(|(view, first)| view.first < *first)
        };
        book.states.iter().filter_map(Weak::upgrade).any(below)
    }

    /// How many states are held by someone, and how many bytes are kept in memory for them.
    pub(super) fn held(&self) -> (usize, u64) {
        let states: Vec<_> = lock(&self.book).states.iter().filter_map(Weak::upgrade).collect();
        let ours = [self.current.load_full(), self.durable.load_full()];
        let (mut count, mut ranges) = (0_usize, BTreeMap::new());
        for state in states {
            // The cells count one each, and each of the two loads above another; the list counts one.
            let by_us = ours.iter().flatten().filter(|our| Arc::ptr_eq(our, &state)).count();
            let by_us = by_us.saturating_mul(2).saturating_add(1);
            count = count.saturating_add(usize::from(Arc::strong_count(&state) > by_us));
            for view in &state.members {
                for range in std::iter::once(&view.data).chain(&view.ends) {
                    ranges.insert(Arc::as_ptr(range).addr(), range.frozen_bytes());
                }
            }
        }
        (count, ranges.values().fold(0, |sum, bytes| u64::saturating_add(sum, *bytes)))
    }
}

/// The time in which bytes of older states change.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    fallback: Option<Published>,
    #[expect(dead_code, reason = "held until the end")]
    waiting: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// All states that someone still holds (P2). To hold them keeps them alive for the next turn.
    pub(super) fn living(&self) -> Vec<Arc<Published>> {
        let mut book = lock(&self.shared.book);
        book.states.retain(|state| state.strong_count() > 0);
        book.states.iter().filter_map(Weak::upgrade).collect()
    }

    /// Shows the state after the change, which is durable.
    pub(super) fn finish(mut self, next: Published) {
        self.fallback = Some(next);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The lock is given back after it, as fields are dropped last.
        if let Some(next) = self.fallback.take() {
            self.shared.publish(next, true);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_possible_truncation, reason = "small numbers")]

    use super::super::for_tests::{World, noise, worlds};
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    fn world() -> World {
        worlds().remove(1)
    }

    #[test]
    fn the_durable_state_follows_the_visible_one() {
        let world = world();
        let (_, view) = world.fixed(10, &noise(1, 1000));
        let hold = world.claim();
        let shared = Shared::new(world.state(1, &view, &hold));
        shared.publish(world.state(2, &view, &hold), false);
        assert_eq!((shared.visible().seq, shared.durable().seq), (2, 1));
        assert!(!shared.wait_past(1, Duration::ZERO));
        shared.made_durable();
        assert_eq!((shared.durable().seq, shared.wait_past(1, Duration::ZERO)), (2, true));
        shared.publish(world.state(3, &view, &hold), true);
        assert_eq!((shared.with(|state| state.seq), shared.durable().seq), (3, 3));
        shared.close();
        assert!(!shared.wait_past(3, Duration::from_secs(3600)));
        assert_eq!(shared.visible().seq, 3);
    }

    #[test]
    fn the_living_are_those_that_someone_holds() {
        let world = world();
        let (_, view) = world.fixed(10, &noise(1, 1000));
        let hold = world.claim();
        let state = |seq| world.state(seq, &view, &hold);
        let seqs = |turn: &Turn<'_>| -> Vec<u64> { turn.living().iter().map(|s| s.seq).collect() };
        let shared = Shared::new(state(1));
        let first = shared.visible();
        let clone = Arc::clone(&first);
        for seq in 2..200 {
            shared.publish(state(seq), true);
        }
        // A look without a count, as a reader takes it.
        let look = shared.current.load();
        shared.publish(state(200), false);
        assert_eq!(shared.held().0, 2);
        let turn = shared.turn(state(0));
        assert_eq!(seqs(&turn), [1, 199]);
        turn.finish(state(201));
        drop((first, look));
        // The last one, looked at when the turn begins.
        let look = shared.current.load();
        let turn = shared.turn(state(0));
        assert_eq!(seqs(&turn), [1, 201]);
        drop((look, clone));
        assert_eq!(seqs(&turn), [] as [u64; 0]);
        drop(turn);
        assert_eq!((shared.visible().seq, shared.durable().seq), (0, 0));
        assert_eq!(shared.held(), (0, 0));
        let turn = shared.turn(state(0));
        assert!(turn.living().is_empty(), "what nobody holds is not kept by us");
    }

    #[test]
    fn the_oldest_states_are_forgotten() {
        let world = world();
        let (_, view) = world.fixed(10, &noise(1, 1000));
        let hold = world.claim();
        let shared = Shared::new(world.state(1, &view, &hold));
        for seq in 2..10_000 {
            shared.publish(world.state(seq, &view, &hold), true);
        }
        assert!(lock(&shared.book).states.len() <= 2 * UNHELD_MAX);
    }

    #[test]
    fn copies_that_are_held_are_counted_once() {
        let world = world();
        let (_, view) = world.fixed(10, &noise(1, 1000));
        let hold = world.claim();
        let shared = Shared::new(world.state(1, &view, &hold));
        let first = shared.visible();
        shared.publish(world.state(2, &view, &hold), true);
        let second = shared.visible();
        view.data.freeze(400, 1000).unwrap();
        assert_eq!(shared.held(), (2, 600));
        drop((first, second));
    }

    #[test]
    fn rewinds_are_told_as_deep_as_they_were() {
        let world = world();
        let (_, view) = world.fixed(10, &noise(1, 1000));
        let shared = Shared::new(world.state(1, &view, &world.claim()));
        // Against the plain list of all.
        let mut all: Vec<(u64, u64)> = Vec::new();
        let keeps = noise(5, 300);
        for (seq, keep) in (2..).zip(keeps.iter().map(|k| u64::from(*k))) {
            shared.note_rewind(seq, 0, keep);
            all.push((seq, keep));
            for since in [0, seq / 2, seq - 1, seq] {
                let want = all.iter().filter(|(at, _)| *at > since).map(|(_, keep)| *keep).min();
                assert_eq!(shared.rewinds_since(since, 0), want, "{since} of {seq}");
            }
        }
        assert_eq!(shared.rewinds_since(0, 1), None);
        // Ever higher ones do not pile up, and none is forgotten: an old one is told as deeper.
        for n in 0..10_000 {
            shared.note_rewind(1000 + n, 1, n);
        }
        assert!(lock(&shared.book).rewinds.get(&1).unwrap().len() <= REWINDS_MAX);
        assert_eq!(shared.rewinds_since(10_998, 1), Some(9999));
        assert!((0..=5000).contains(&shared.rewinds_since(6000, 1).unwrap()));
    }

    /// Whoever gets hold of a state while turns come and go reads what it showed when it was published.
    #[test]
    fn no_reader_sees_a_turn() {
        for world in worlds().iter().filter(|world| world.name != "sim") {
            let (mut column, mut view) = world.fixed(100, &noise(0, 200_000));
            let hold = world.claim();
            let shared = Shared::new(world.state(0, &view, &hold));
            let done = AtomicBool::new(false);
            // All elements of the commit are those of its number.
            let check = |state: &Published| {
                let view = &state.members[0];
                let want = noise(state.seq, 200_000);
                for pos in (0..2000).step_by(97) {
                    let at = pos as usize * 100;
                    let got = view.cow(pos).unwrap();
                    assert!(
                        *got == want[at..at + 100],
                        "{} of {} in {}",
                        pos,
                        state.seq,
                        world.name
                    );
                }
            };
            std::thread::scope(|scope| {
                for reader in 0..2 {
                    let (shared, check, done) = (&shared, &check, &done);
                    scope.spawn(move || {
                        let mut kept: Vec<Arc<Published>> = Vec::new();
                        let mut round = reader;
                        while !done.load(SeqCst) {
                            shared.with(check);
                            check(&shared.durable());
                            kept.push(shared.visible());
                            for state in &kept {
                                check(state);
                            }
                            round += 1;
                            kept.truncate(round % 4);
                        }
                    });
                }
                for seq in 1..80 {
                    let turn = shared.turn(world.state(seq, &view, &hold));
                    for old in turn.living() {
                        let old = &old.members[0];
                        old.data.freeze(0, old.data_end).unwrap();
                    }
                    column.change(0, &noise(seq, 200_000));
                    let next = view.data.successor(0, 200_000).unwrap();
                    next.trust(196_608..200_000);
                    view.data = Arc::new(next);
                    turn.finish(world.state(seq, &view, &hold));
                }
                done.store(true, SeqCst);
            });
        }
    }
}
