//! Which value goes first: S3-FIFO. New values stand in a small queue, a fifth of all; those that were used there go on to the main
//! queue, the others are given up. A value that comes back soon after it was given up goes to the main queue at once.
//!
//! A use sets a counter and moves nothing, so that the queues are touched only where a value comes or goes.
//!
//! # Invariants
//! - Q1 An entry stands in a queue at most once, and only if its slot says so.
//! - Q2 Nothing is dropped and no slot is locked while the queues are.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::entry::Entry;

/// The small queue is one part in so many of what is resident.
const SMALL_PART: u64 = 5;
/// Dead entries are swept out when they are more than the living ones, and than these.
const DEAD: usize = 64;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// In no queue: not resident, or being looked at.
    #[default]
    Nowhere,
    Small,
    Main,
    /// In none since a guard holds it or a job is at it; whoever ends that puts it back.
    Aside,
}

/// Which end of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Goes next.
    Front,
    /// Goes last.
    Back,
}

pub(crate) struct Queues<T: Send + Sync + 'static> {
    small: VecDeque<(Weak<Entry<T>>, u64)>,
    main: VecDeque<(Weak<Entry<T>>, u64)>,
    small_weight: u64,
    main_weight: u64,
    /// What was given up so far, by weight.
    clock: u64,
    dead: usize,
}

impl<T: Send + Sync + 'static> Queues<T> {
    pub(crate) const fn new() -> Self {
        Self {
            small: VecDeque::new(),
            main: VecDeque::new(),
            small_weight: 0,
            main_weight: 0,
            clock: 0,
            dead: 0,
        }
    }

    pub(crate) fn push(&mut self, entry: &Arc<Entry<T>>, weight: u64, place: Place, end: End) {
        let (queue, sum) = match place {
            Place::Small => (&mut self.small, &mut self.small_weight),
            Place::Main => (&mut self.main, &mut self.main_weight),
            Place::Nowhere | Place::Aside => return,
        };
        *sum = sum.saturating_add(weight);
        let item = (Arc::downgrade(entry), weight);
        match end {
            End::Front => queue.push_front(item),
            End::Back => queue.push_back(item),
        }
    }

    /// The entry that is to be looked at next. Its slot still says where it stood.
    pub(crate) fn pop(&mut self) -> Option<(Arc<Entry<T>>, Place)> {
        loop {
            let all = self.small_weight.saturating_add(self.main_weight);
            let small = !self.small.is_empty()
                && (self.main.is_empty() || self.small_weight.saturating_mul(SMALL_PART) > all);
            let (queue, sum, place) = if small {
                (&mut self.small, &mut self.small_weight, Place::Small)
            } else {
                (&mut self.main, &mut self.main_weight, Place::Main)
            };
            let (entry, weight) = queue.pop_front()?;
            *sum = sum.saturating_sub(weight);
            match entry.upgrade() {
                Some(entry) => return Some((entry, place)),
                None => self.dead = self.dead.saturating_sub(1),
            }
        }
    }

    /// An entry that stands in a queue is gone.
    pub(crate) fn died(&mut self) {
        self.dead = self.dead.saturating_add(1);
        if self.dead < DEAD || self.dead < self.len().saturating_sub(self.dead) {
            return;
        }
        self.dead = 0;
        for (queue, sum) in
            [(&mut self.small, &mut self.small_weight), (&mut self.main, &mut self.main_weight)]
        {
            queue.retain(|(entry, weight)| {
                let lives = entry.strong_count() > 0;
                if !lives {
                    *sum = sum.saturating_sub(*weight);
                }
                lives
            });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.small.len().saturating_add(self.main.len())
    }

    /// Counts what was given up, and says when that was.
    pub(crate) fn gave_up(&mut self, weight: u64) -> u64 {
        self.clock = self.clock.saturating_add(weight);
        self.clock
    }

    /// Where a value goes that was given up at `then` and comes back.
    pub(crate) fn back(&self, then: Option<u64>, limit: u64) -> Place {
        match then {
            Some(then) if self.clock.saturating_sub(then) <= limit => Place::Main,
            _ => Place::Small,
        }
    }

    /// The entries that stand in the queues now.
    pub(crate) fn entries(&self) -> Vec<Weak<Entry<T>>> {
        self.small.iter().chain(&self.main).map(|(entry, _)| Weak::clone(entry)).collect()
    }
}
