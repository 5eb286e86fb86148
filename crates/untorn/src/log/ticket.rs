//! Tickets: a record's number now, its acknowledgement later.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::{Log, LogPos};
use crate::{Error, ErrorKind, Result};

/// A record that was appended and may not be acknowledged yet. Dropping it changes nothing.
#[derive(Clone)]
#[non_exhaustive]
pub struct Ticket {
    /// The record's sequence number; of a batch, that of its last record.
    pub seq: u64,
    pub(super) at: u32,
    pub(super) group: Arc<Group>,
    pub(super) log: Log,
}

impl Ticket {
    /// Waits until the record and all before it are acknowledged, and returns its sequence number. As [`Log::wait`].
    ///
    /// # Errors
    /// As [`Log::wait`].
    pub fn wait(&self) -> Result<u64> {
        self.log.wait(self)
    }

    /// As [`wait`](Self::wait), for so long at most. The time limits the waiting for others, not a write or sync
    /// that this thread makes itself.
    ///
    /// # Errors
    /// As [`Log::wait`]; `TimedOut` if it is not acknowledged by then: it may still be later.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u64> {
        self.log.wait_for(self, Some(timeout))
    }

    /// Whether the record is acknowledged, or failed.
    pub fn is_done(&self) -> bool {
        self.group.outcome().is_some()
    }

    /// Where the record lies, once it is acknowledged. Void after a `truncate_back` below it.
    pub fn pos(&self) -> Option<LogPos> {
        let frame = self.group.outcome()?.ok()?;
        Some(LogPos { at: self.at, ..frame })
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("seq", &self.seq)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

/// The records of one frame, whose fate they share: one lock and one wake word for all who wait.
#[derive(Debug, Default)]
pub(super) struct Group {
    state: Mutex<State>,
    wake: Condvar,
    /// Told when as many wait here as who leads wants.
    gathered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<LogPos, Arc<Error>>>,
    /// The lane was left free while someone waited here: one of them is to take it.
    nudged: bool,
    waiting: u32,
    /// So many are to wait here before it is written; 0 if nobody asks.
    wanted: u32,
    wakers: Vec<Waker>,
}

/// Why a waiter woke.
pub(super) enum Woken {
    Done,
    /// It may find the lane free.
    Nudged,
    TimedOut,
}

impl Group {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame's position (of its first record), or why it failed.
    pub(super) fn outcome(&self) -> Option<Result<LogPos, Arc<Error>>> {
        self.lock().outcome.clone()
    }

    pub(super) fn complete(&self, outcome: Result<LogPos, Arc<Error>>) {
        let wakers = {
            let mut state = self.lock();
            if state.outcome.is_none() {
                state.outcome = Some(outcome);
            }
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            // Not under the lock: whoever wakes needs it first.
            self.wake.notify_all();
            wakers
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Says that someone is about to wait here. Must come before his last look at the lane: who leaves the lane
    /// free looks for waiters afterwards, so one of the two sees the other.
    pub(super) fn enter(&self) {
        let mut state = self.lock();
        state.waiting = state.waiting.saturating_add(1);
        if state.waiting == state.wanted {
            self.gathered.notify_one();
        }
    }

    /// Waits until so many wait here, for so long at most; returns how many do.
    pub(super) fn gather(&self, wanted: u32, longest: Duration) -> u32 {
        let mut state = self.lock();
        if state.waiting < wanted && !longest.is_zero() {
            state.wanted = wanted;
            let result = self.gathered.wait_timeout_while(state, longest, |s| s.waiting < s.wanted);
            (state, _) = result.unwrap_or_else(PoisonError::into_inner);
            state.wanted = 0;
        }
        state.waiting
    }

    /// How many threads wait here.
    pub(super) fn waiting(&self) -> u32 {
        self.lock().waiting
    }

    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.waiting = state.waiting.saturating_sub(1);
    }

    pub(super) fn sleep(&self, timeout: Option<Duration>) -> Woken {
        let mut state = self.lock();
        loop {
            if state.outcome.is_some() {
                return Woken::Done;
            }
            if std::mem::take(&mut state.nudged) {
                return Woken::Nudged;
            }
            state = match timeout {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => {
                    let waited = self.wake.wait_timeout(state, timeout);
                    let (state, result) = waited.unwrap_or_else(PoisonError::into_inner);
                    if result.timed_out() && state.outcome.is_none() && !state.nudged {
                        return Woken::TimedOut;
                    }
                    state
                }
            };
        }
    }

    /// Tells one of those who wait here that the lane is free; false if nobody waits.
    pub(super) fn nudge(&self) -> bool {
        let wakers = {
            let mut state = self.lock();
            if state.outcome.is_some() || (state.waiting == 0 && state.wakers.is_empty()) {
                return false;
            }
            state.nudged = state.waiting > 0;
            self.wake.notify_one();
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    /// Wakes `waker` when the group is done or nudged; at once true if it is done.
    #[cfg(feature = "tokio")]
    pub(super) fn watch(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return true;
        }
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        false
    }
}

pub(super) fn timed_out(log: &Log) -> Error {
    let what = "the record is not acknowledged yet; it may still be";
    Error::new(ErrorKind::TimedOut, "wait for", log.path(), what)
        .with_outcome(crate::Outcome::Unknown)
}
