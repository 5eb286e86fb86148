//! What is there of a file, who waits for the rest, and what state it is in.
//!
//! ```text
//!            freeze              commit
//!   Active ---------> Committing -------> Committed
//!   ^ | |  <---------   thaw                  |
//!   | | +--> Cancelled                        |
//!   | +----> Failed ------- reactivate -------+---> Active        any ---> Poisoned, for good
//! ```
//!
//! # Invariants
//! - P1 `gate` is the state and the number of writes in flight, in one word. A write counts itself before it looks at the
//!   state, so that a freeze that finds nobody counted has everybody behind it, and all that was written is inserted.
//! - P2 The state changes only under `ends`. Whoever waits for another state, or for the last write, holds `ends` when he
//!   looks; whoever changes what he looks for takes `ends` before he rings.
//! - P3 `final_len` is stored before the state says Committed; the reason of an end before the state says so.
//! - P4 Every end of waiting other than by a write is `wake_all` after the state was stored.
#![cfg_attr(not(any(test, feature = "tokio")), expect(dead_code, reason = "tasks wait in `aio`"))]

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::coverage::Coverage;
use super::waiters::{Cancel, Parked, Waiters, Wake};
use super::{ResourceStatus, WaitOutcome};
use crate::fs::Fs;
use crate::{Error, ErrorKind, Result};

/// A length that is not known.
const UNKNOWN: u64 = u64::MAX;
/// The bits of the gate that are the state.
const STATE: u64 = 7;
/// One write in flight, in the gate.
const ONE: u64 = STATE + 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active = 0,
    Committing = 1,
    Committed = 2,
    Failed = 3,
    Cancelled = 4,
    Poisoned = 5,
}

impl State {
    const fn of(gate: u64) -> Self {
        match gate & STATE {
            0 => Self::Active,
            1 => Self::Committing,
            2 => Self::Committed,
            3 => Self::Failed,
            4 => Self::Cancelled,
            _ => Self::Poisoned,
        }
    }

    /// Whether bytes come and are waited for.
    const fn is_filling(self) -> bool {
        matches!(self, Self::Active | Self::Committing)
    }
}

/// What is there, who waits, and the state.
pub(super) struct Presence {
    /// For messages.
    path: PathBuf,
    fs: Arc<dyn Fs>,
    max_len: u64,
    expected_len: AtomicU64,
    final_len: AtomicU64,
    gate: AtomicU64,
    ends: Mutex<Ends>,
    bell: Condvar,
    coverage: Coverage,
    waiters: Arc<Waiters>,
}

/// Why it ended.
#[derive(Default)]
struct Ends {
    reason: String,
    cause: Option<Arc<Error>>,
    /// Cancelled during a commit: it counts if the commit fails.
    cancelled: bool,
}

/// How long a wait lasts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until<'a> {
    Ever,
    For(Duration),
    Cancelled(&'a Cancel),
}

/// What a freeze found.
#[derive(Debug)]
pub(super) enum Freeze<'a> {
    /// Nobody writes until the guard is dropped or used.
    Frozen(Frozen<'a>),
    /// Another commit was first; the length it gave.
    Committed(u64),
}

impl Presence {
    /// Active, and nothing there.
    pub(super) fn new(
        path: PathBuf,
        max_len: u64,
        expected_len: Option<u64>,
        fs: Arc<dyn Fs>,
    ) -> Self {
        Self {
            path,
            fs,
            max_len,
            expected_len: AtomicU64::new(expected_len.unwrap_or(UNKNOWN)),
            final_len: AtomicU64::new(UNKNOWN),
            gate: AtomicU64::new(State::Active as u64),
            ends: Mutex::default(),
            bell: Condvar::new(),
            coverage: Coverage::new(max_len),
            waiters: Arc::default(),
        }
    }

    /// Committed with this length, without a bit for each of its granules.
    pub(super) fn committed(self, len: u64) -> Self {
        self.final_len.store(len, Release);
        self.set(State::Committed);
        self
    }

    /// The state, for the user; a poisoned one shows as failed.
    pub(super) fn status(&self) -> ResourceStatus {
        let ends = self.lock();
        match self.state() {
            State::Active | State::Committing => ResourceStatus::Active,
            State::Committed => ResourceStatus::Committed { final_len: self.len() },
            State::Failed => ResourceStatus::Failed(ends.reason.clone()),
            State::Cancelled => ResourceStatus::Cancelled,
            State::Poisoned => {
                let cause = ends.cause.as_ref().map(ToString::to_string);
                ResourceStatus::Failed(cause.unwrap_or_default())
            }
        }
    }

    /// Whether writes are taken.
    pub(super) fn is_active(&self) -> bool {
        self.state() == State::Active
    }

    /// The committed length.
    pub(super) fn len(&self) -> Option<u64> {
        (self.state() == State::Committed).then(|| self.final_len.load(Acquire))
    }

    /// The length that it will have, if it is known.
    pub(super) fn expected_len(&self) -> Option<u64> {
        Some(self.expected_len.load(Acquire)).filter(|len| *len != UNKNOWN)
    }

    /// The length that it has at most.
    pub(super) fn max_len(&self) -> u64 {
        self.max_len
    }

    /// The path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Which bytes were written. Of one that was made committed it knows nothing: see [`ranges`](Self::ranges).
    pub(super) fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// What is there, in order.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        match self.len() {
            Some(0) => Vec::new(),
            Some(len) => std::iter::once(0..len).collect(),
            None => self.coverage.ranges(),
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiters.count()
    }

    /// The range of a write of `len` bytes.
    ///
    /// # Errors
    /// `InvalidInput` if it ends beyond all numbers; `Precondition` beyond the expected length; `TooLarge` beyond the limit.
    pub(super) fn check_bounds(&self, offset: u64, len: usize) -> Result<Range<u64>> {
        let fail = |kind, what: String| Err(Error::new(kind, "write", &self.path, what).at(offset));
        let Some(end) = u64::try_from(len).ok().and_then(|len| offset.checked_add(len)) else {
            return fail(ErrorKind::InvalidInput, "no file is that long".to_owned());
        };
        match self.expected_len() {
            Some(expected) if end > expected => {
                let what = format!("{end} is beyond its length of {expected} bytes");
                fail(ErrorKind::Precondition, what)
            }
            _ if end > self.max_len => {
                let what = format!("{end} is beyond the limit of {} bytes", self.max_len);
                fail(ErrorKind::TooLarge, what)
            }
            _ => Ok(offset..end),
        }
    }

    /// Counts a write as in flight (P1).
    ///
    /// # Errors
    /// `Closed` if it is committed or being committed; `Failed`, `Cancelled`, `Poisoned`.
    pub(super) fn begin_write(&self) -> Result<Writing<'_>> {
        let state = State::of(self.gate.fetch_add(ONE, SeqCst));
        let writing = Writing { presence: self };
        if state == State::Active {
            return Ok(writing);
        }
        drop(writing);
        self.refuse("write")?;
        let what = "it is committed or being committed; nothing can be written any more";
        Err(Error::new(ErrorKind::Closed, "write", &self.path, what))
    }

    /// Ends all writing, and waits for the writes in flight. Waits for another commit to end first.
    ///
    /// # Errors
    /// `Failed`, `Cancelled`, `Poisoned`.
    pub(super) fn freeze(&self) -> Result<Freeze<'_>> {
        let mut ends = self.lock();
        loop {
            match self.state() {
                State::Active => break,
                State::Committing => ends = self.wait_for_bell(ends),
                State::Committed => return Ok(Freeze::Committed(self.final_len.load(Acquire))),
                _ => return Err(self.refusal("commit", &ends)),
            }
        }
        self.set(State::Committing);
        let ends = self.wait_for_writes(ends);
        if self.state() != State::Committing {
            return Err(self.refusal("commit", &ends));
        }
        Ok(Freeze::Frozen(Frozen { presence: self, live: true }))
    }

    /// Waits until no commit runs.
    pub(super) fn settle(&self) {
        let mut ends = self.lock();
        while self.state() == State::Committing {
            ends = self.wait_for_bell(ends);
        }
    }

    /// Active becomes failed, after a commit that runs; all who wait are woken. Waits for the writes in flight. Whether it was
    /// active.
    pub(super) fn fail(&self, reason: String) -> bool {
        let mut ends = self.lock();
        while self.state() == State::Committing {
            ends = self.wait_for_bell(ends);
        }
        if self.state() != State::Active {
            return false;
        }
        ends.reason = reason;
        self.set(State::Failed);
        self.waiters.wake_all();
        drop(self.wait_for_writes(ends));
        true
    }

    /// Active becomes cancelled, and all who wait are woken. During a commit: if it fails. Whether it is cancelled now.
    pub(super) fn cancel(&self) -> bool {
        let mut ends = self.lock();
        match self.state() {
            State::Active => self.set(State::Cancelled),
            State::Committing => {
                ends.cancelled = true;
                return false;
            }
            _ => return false,
        }
        drop(ends);
        self.waiters.wake_all();
        true
    }

    /// A sync failed: nothing is believed any more.
    pub(super) fn poison(&self, cause: Arc<Error>) {
        let mut ends = self.lock();
        if self.state() == State::Poisoned {
            return;
        }
        ends.cause = Some(cause);
        self.set(State::Poisoned);
        self.bell.notify_all();
        drop(ends);
        self.waiters.wake_all();
    }

    /// The error of one that is failed, cancelled or poisoned.
    ///
    /// # Errors
    /// `Failed`, `Cancelled`, `Poisoned`.
    pub(super) fn refuse(&self, operation: &'static str) -> Result<()> {
        match self.state() {
            State::Active | State::Committing | State::Committed => Ok(()),
            _ => {
                let ends = self.lock();
                Err(self.refusal(operation, &ends))
            }
        }
    }

    /// The error of one that does not become active again.
    ///
    /// # Errors
    /// `Cancelled`, `Poisoned`.
    pub(super) fn refuse_end(&self, operation: &'static str) -> Result<()> {
        match self.state() {
            State::Cancelled | State::Poisoned => self.refuse(operation),
            _ => Ok(()),
        }
    }

    /// Committed or failed becomes active, with exactly these bytes available. An active one too, when nobody writes.
    ///
    /// # Errors
    /// `TooLarge` or `Precondition` if a range is beyond the limit or the length, `InvalidInput` if it ends before it
    /// starts: nothing changed. `Cancelled`, `Poisoned`.
    pub(super) fn reactivate(
        &self,
        available: &[Range<u64>],
        expected_len: Option<u64>,
    ) -> Result<()> {
        for range in available {
            self.check_restored(range, expected_len)?;
        }
        let mut ends = self.lock();
        loop {
            match self.state() {
                State::Committing => ends = self.wait_for_bell(ends),
                State::Cancelled | State::Poisoned => {
                    return Err(self.refusal("reactivate", &ends));
                }
                State::Active => {
                    self.set(State::Committing);
                    ends = self.wait_for_writes(ends);
                    break;
                }
                // A write may still be in flight; another reactivation may come first.
                _ if self.gate.load(SeqCst) >= ONE => ends = self.wait_for_bell(ends),
                _ => break,
            }
        }
        if self.state() == State::Poisoned {
            return Err(self.refusal("reactivate", &ends));
        }
        self.coverage.clear();
        for range in available {
            self.coverage.insert(range);
        }
        self.expected_len.store(expected_len.unwrap_or(UNKNOWN), SeqCst);
        self.set(State::Active);
        self.bell.notify_all();
        drop(ends);
        self.waiters.wake_all();
        Ok(())
    }

    /// How many bytes a read of `len` bytes yields: less only at the known end.
    ///
    /// # Errors
    /// `Incomplete` with the first gap; `Failed`, `Cancelled`, `Poisoned`.
    pub(super) fn check_read(&self, offset: u64, len: usize) -> Result<usize> {
        let (state, range) = self.readable(offset, len)?;
        let count = range.end.saturating_sub(range.start);
        if state != State::Committed && !self.coverage.contains(&range) {
            // A write since may have filled it.
            if let Some(gap) = self.coverage.next_gap(range.start, range.end) {
                return Err(self.incomplete("read", gap));
            }
        }
        Ok(usize::try_from(count).unwrap_or(len))
    }

    /// How many of `len` bytes are there from `offset` on, up to the first gap or the end.
    ///
    /// # Errors
    /// `Failed`, `Cancelled`, `Poisoned`.
    pub(super) fn readable_prefix(&self, offset: u64, len: usize) -> Result<usize> {
        let (state, range) = self.readable(offset, len)?;
        let mut end = range.end;
        if state != State::Committed
            && let Some(gap) = self.coverage.next_gap(range.start, range.end)
        {
            end = gap.start;
        }
        Ok(usize::try_from(end.saturating_sub(range.start)).unwrap_or(len))
    }

    /// Whether all of the range is there up to the known end, in any state: true for an empty one, false for one that begins behind
    /// the end or ends before it starts.
    pub(super) fn contains(&self, range: &Range<u64>) -> bool {
        if range.start >= range.end {
            return range.start == range.end;
        }
        let state = self.state();
        let end = range.end.min(self.known_end(state));
        range.start < end
            && (state == State::Committed || self.coverage.contains(&(range.start..end)))
    }

    /// The first missing range that begins in `from..limit`, cut to it and to the known end.
    pub(super) fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        let state = self.state();
        if state == State::Committed {
            return None;
        }
        self.coverage.next_gap(from, limit.min(self.known_end(state)))
    }

    /// Waits until all of the range is there up to the known end.
    ///
    /// # Errors
    /// `InvalidInput` if the range ends before it starts; `Failed`, `Cancelled`, `Poisoned`.
    pub(super) fn wait(&self, range: &Range<u64>, until: Until<'_>) -> Result<WaitOutcome> {
        if let Some(outcome) = self.look(range)? {
            return Ok(outcome);
        }
        let parked = Parked::new();
        let wake = || Wake::Thread(Arc::clone(&parked));
        let (mut deadline, mut cancel) = (None, None);
        match until {
            Until::Ever => {}
            Until::For(time) => deadline = Some(self.fs.monotonic().saturating_add(time)),
            Until::Cancelled(by) => cancel = Some((by, by.join(wake()))),
        }
        loop {
            let left = deadline.map(|deadline| deadline.saturating_sub(self.fs.monotonic()));
            let cancelled = cancel.as_ref().is_some_and(|(cancel, _)| cancel.is_cancelled());
            if cancelled || left.is_some_and(|left| left.is_zero()) {
                return Ok(WaitOutcome::Interrupted);
            }
            if let Some(id) = self.waiters.enter(wake(), || self.missing(range)) {
                parked.park(left);
                self.waiters.leave(id);
            }
            if let Some(outcome) = self.look(range)? {
                return Ok(outcome);
            }
        }
    }

    /// As [`wait`](Self::wait), for a task: pending, it is in the list as long as the registration lives.
    ///
    /// A registration is of one range: for another one, begin with none.
    pub(super) fn poll_wait(
        &self,
        range: &Range<u64>,
        registration: &mut Option<Registration>,
        waker: &Waker,
    ) -> Poll<Result<WaitOutcome>> {
        loop {
            if let Some(outcome) = self.look(range).transpose() {
                *registration = None;
                return Poll::Ready(outcome);
            }
            // Who is in the list still misses a byte (W1), whatever was written since the look.
            if registration.as_ref().is_some_and(|r| r.waiters.renew(r.id, waker)) {
                return Poll::Pending;
            }
            *registration = None;
            let entered = self.waiters.enter(Wake::Task(waker.clone()), || self.missing(range));
            if let Some(id) = entered {
                *registration = Some(Registration { waiters: Arc::clone(&self.waiters), id });
                return Poll::Pending;
            }
        }
    }

    /// What the one who has waited longest misses next, cut to `max` bytes.
    pub(super) fn wanted(&self, max: u64) -> Option<Range<u64>> {
        self.waiters.wanted(&self.coverage, max)
    }

    /// How a wait ends, if it does now.
    fn look(&self, range: &Range<u64>) -> Result<Option<WaitOutcome>> {
        if range.start > range.end {
            let what = format!("the range {}..{} ends before it starts", range.start, range.end);
            return Err(Error::new(ErrorKind::InvalidInput, "wait", &self.path, what));
        }
        if range.is_empty() {
            return Ok(Some(WaitOutcome::Ready));
        }
        let state = self.state();
        if !state.is_filling() && state != State::Committed {
            self.refuse("wait")?;
            // Reactivated since: as if it had been asked later.
            return Ok(None);
        }
        let end = range.end.min(self.known_end(state));
        if range.start >= end {
            return Ok(Some(WaitOutcome::Eof));
        }
        let ready = state == State::Committed || self.coverage.contains(&(range.start..end));
        Ok(ready.then_some(WaitOutcome::Ready))
    }

    /// What of the range is to be waited for: from the first missing byte on, up to the known end.
    fn missing(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let state = self.state();
        if !state.is_filling() {
            return None;
        }
        let end = range.end.min(self.known_end(state));
        self.coverage.next_gap(range.start, end).map(|gap| gap.start..end)
    }

    /// The part of a read that is not behind the known end.
    fn readable(&self, offset: u64, len: usize) -> Result<(State, Range<u64>)> {
        let state = self.state();
        if !state.is_filling() && state != State::Committed {
            self.refuse("read")?;
        }
        let end = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        let end = end.min(self.known_end(state));
        Ok((state, offset..end.max(offset)))
    }

    fn check_restored(&self, range: &Range<u64>, expected_len: Option<u64>) -> Result<()> {
        let (kind, what) = if range.start > range.end {
            (ErrorKind::InvalidInput, "it ends before it starts")
        } else if expected_len.is_some_and(|len| range.end > len) {
            (ErrorKind::Precondition, "it is beyond the length")
        } else if range.end > self.max_len {
            (ErrorKind::TooLarge, "it is beyond the limit")
        } else {
            return Ok(());
        };
        let what = format!("the range {}..{}: {what}", range.start, range.end);
        Err(Error::new(kind, "restore", &self.path, what))
    }

    /// Not all bytes are there.
    pub(super) fn incomplete(&self, operation: &'static str, gap: Range<u64>) -> Error {
        let what = format!("the bytes {}..{} are missing", gap.start, gap.end);
        let start = gap.start;
        Error::new(ErrorKind::Incomplete, operation, &self.path, what).at(start).with_gap(gap)
    }

    /// Where it ends, as far as that is known; else all numbers are before it.
    fn known_end(&self, state: State) -> u64 {
        match state {
            State::Committed => self.final_len.load(Acquire),
            _ => self.expected_len.load(Acquire),
        }
    }

    fn refusal(&self, operation: &'static str, ends: &Ends) -> Error {
        let path = &self.path;
        match (self.state(), &ends.cause) {
            (State::Poisoned, Some(cause)) => Error::poisoned(operation, path, Arc::clone(cause)),
            (State::Failed, _) => {
                Error::new(ErrorKind::Failed, operation, path, ends.reason.clone())
            }
            _ => Error::new(ErrorKind::Cancelled, operation, path, "it was cancelled"),
        }
    }

    fn state(&self) -> State {
        State::of(self.gate.load(SeqCst))
    }

    /// Sets the state; the caller holds `ends` (P2).
    fn set(&self, state: State) {
        let swap = |gate| Some((gate & !STATE) | state as u64);
        // The closure never declines.
        let _before = self.gate.fetch_update(SeqCst, SeqCst, swap);
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_bell<'a>(&self, ends: MutexGuard<'a, Ends>) -> MutexGuard<'a, Ends> {
        self.bell.wait(ends).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no write is in flight. The state is not Active, so that no new one stays.
    fn wait_for_writes<'a>(&self, mut ends: MutexGuard<'a, Ends>) -> MutexGuard<'a, Ends> {
        while self.gate.load(SeqCst) >= ONE {
            ends = self.wait_for_bell(ends);
        }
        ends
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("path", &self.path)
            .field("status", &self.status())
            .field("coverage", &self.coverage)
            .finish_non_exhaustive()
    }
}

/// A write in flight.
#[derive(Debug)]
#[must_use]
pub(super) struct Writing<'a> {
    presence: &'a Presence,
}

impl Writing<'_> {
    /// The bytes of the range were written: they are available now, and who waited for them is woken.
    pub(super) fn wrote(self, range: &Range<u64>) {
        let presence = self.presence;
        presence.coverage.insert(range);
        drop(self);
        presence.waiters.written(range, &presence.coverage);
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let presence = self.presence;
        let before = presence.gate.fetch_sub(ONE, SeqCst);
        // The last one rings, if there may be someone who waits for it (P2).
        if State::of(before) != State::Active && before < ONE.saturating_mul(2) {
            let ends = presence.lock();
            presence.bell.notify_all();
            drop(ends);
        }
    }
}

/// A commit that runs: nobody writes. Dropped, it is active again.
#[derive(Debug)]
#[must_use]
pub(super) struct Frozen<'a> {
    presence: &'a Presence,
    live: bool,
}

impl Frozen<'_> {
    /// It is committed with this length.
    ///
    /// # Errors
    /// `Poisoned` if it was since the freeze.
    pub(super) fn commit(mut self, len: u64) -> Result<()> {
        self.presence.final_len.store(len, Release);
        self.end(State::Committed, |_| {})
    }

    /// The commit found that the content is wrong: it is failed.
    pub(super) fn fail(mut self, reason: &Error) -> Result<()> {
        self.end(State::Failed, |ends| ends.reason = reason.to_string())
    }

    fn end(&mut self, state: State, change: impl FnOnce(&mut Ends)) -> Result<()> {
        let presence = self.presence;
        self.live = false;
        let mut ends = presence.lock();
        if presence.state() != State::Committing {
            return Err(presence.refusal("commit", &ends));
        }
        change(&mut ends);
        ends.cancelled = false;
        presence.set(state);
        presence.bell.notify_all();
        drop(ends);
        presence.waiters.wake_all();
        Ok(())
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let presence = self.presence;
        let mut ends = presence.lock();
        if !self.live || presence.state() != State::Committing {
            return;
        }
        let cancelled = std::mem::take(&mut ends.cancelled);
        presence.set(if cancelled { State::Cancelled } else { State::Active });
        presence.bell.notify_all();
        drop(ends);
        if cancelled {
            presence.waiters.wake_all();
        }
    }
}

/// A task in the list of those who wait. Dropped, it is out of it.
#[derive(Debug)]
pub(super) struct Registration {
    waiters: Arc<Waiters>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.waiters.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::OsFs;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    fn presence(expected: Option<u64>) -> Presence {
        Presence::new(PathBuf::from("p"), 1 << 30, expected, Arc::new(OsFs::new()))
    }

    fn write(presence: &Presence, range: Range<u64>) {
        presence.begin_write().unwrap().wrote(&range);
    }

    fn frozen(presence: &Presence) -> Frozen<'_> {
        match presence.freeze().unwrap() {
            Freeze::Frozen(frozen) => frozen,
            Freeze::Committed(_) => panic!("nobody committed it"),
        }
    }

    fn kind<T: fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn bounds() {
        let p = presence(Some(10));
        assert_eq!(p.check_bounds(4, 6).unwrap(), 4..10);
        assert_eq!(kind(p.check_bounds(4, 7)), ErrorKind::Precondition);
        assert_eq!(kind(p.check_bounds(u64::MAX, 1)), ErrorKind::InvalidInput);
        let p = presence(None);
        assert_eq!(p.check_bounds(1 << 30, 0).unwrap(), 1 << 30..1 << 30);
        assert_eq!(kind(p.check_bounds(1 << 30, 1)), ErrorKind::TooLarge);
    }

    #[test]
    fn reads_and_looks_while_it_fills() {
        let p = presence(Some(100));
        write(&p, 0..40);
        write(&p, 60..100);
        assert_eq!((p.check_read(0, 40).unwrap(), p.check_read(90, 50).unwrap()), (40, 10));
        assert_eq!(p.check_read(30, 50).unwrap_err().gap(), Some(40..60));
        assert_eq!(
            (p.readable_prefix(30, 50).unwrap(), p.readable_prefix(45, 9).unwrap()),
            (10, 0)
        );
        assert_eq!((p.check_read(100, 5).unwrap(), p.check_read(u64::MAX, 5).unwrap()), (0, 0));
        assert!(p.contains(&(80..200)) && p.contains(&(150..150)) && !p.contains(&(100..101)));
        assert_eq!((p.next_gap(0, 1000), p.next_gap(60, 1000)), (Some(40..60), None));
        let wait = |range| p.wait(&range, Until::For(Duration::ZERO)).unwrap();
        assert_eq!((wait(80..200), wait(100..200)), (WaitOutcome::Ready, WaitOutcome::Eof));
        assert_eq!((wait(50..70), wait(50..50)), (WaitOutcome::Interrupted, WaitOutcome::Ready));
        let reversed = Range { start: 2, end: 1 };
        assert_eq!(kind(p.wait(&reversed, Until::Ever)), ErrorKind::InvalidInput);
        assert_eq!(p.waiting(), 0);
    }

    #[test]
    fn a_commit_is_one_shot_and_reads_follow_it() {
        let p = presence(None);
        write(&p, 0..11);
        drop(frozen(&p));
        assert!(p.is_active());
        let commit = frozen(&p);
        assert_eq!(kind(p.begin_write()), ErrorKind::Closed);
        assert_eq!((p.status(), p.check_read(0, 11).unwrap()), (ResourceStatus::Active, 11));
        commit.commit(11).unwrap();
        assert_eq!(kind(p.begin_write()), ErrorKind::Closed);
        assert!(matches!(p.freeze().unwrap(), Freeze::Committed(11)));
        assert_eq!((p.len(), p.check_read(5, 50).unwrap()), (Some(11), 6));
        assert!(p.contains(&(10..90)) && !p.contains(&(11..12)));
        assert_eq!((p.next_gap(0, 90), p.ranges().last()), (None, Some(&(0..11))));
        assert_eq!(p.wait(&(11..12), Until::Ever).unwrap(), WaitOutcome::Eof);
        p.reactivate(&[0..4, 6..9], Some(9)).unwrap();
        assert_eq!((p.ranges(), p.len(), p.expected_len()), (vec![0..4, 6..9], None, Some(9)));
        assert_eq!(kind(p.reactivate(&[0..4, 6..10], Some(9))), ErrorKind::Precondition);
    }

    #[test]
    fn ends_stay() {
        let p = presence(None);
        write(&p, 0..5);
        p.fail("no network".to_owned());
        p.cancel();
        assert_eq!(p.status(), ResourceStatus::Failed("no network".to_owned()));
        assert_eq!(kind(p.begin_write()), ErrorKind::Failed);
        assert_eq!(kind(p.freeze()), ErrorKind::Failed);
        assert_eq!(kind(p.check_read(0, 1)), ErrorKind::Failed);
        assert!(p.wait(&(0..9), Until::Ever).unwrap_err().to_string().ends_with("no network"));
        p.reactivate(&p.ranges(), None).unwrap();
        assert_eq!(p.check_read(0, 5).unwrap(), 5);
        p.cancel();
        assert_eq!(
            (p.status(), kind(p.begin_write())),
            (ResourceStatus::Cancelled, ErrorKind::Cancelled)
        );
        p.poison(Arc::new(Error::new(ErrorKind::Io, "sync", Path::new("p"), "lost")));
        assert_eq!(kind(p.reactivate(&[], None)), ErrorKind::Poisoned);
        assert_eq!(p.status(), ResourceStatus::Failed("sync p: lost".to_owned()));
    }

    #[test]
    fn a_commit_is_overtaken_by_poison_and_holds_up_a_cancel() {
        let p = presence(None);
        let commit = frozen(&p);
        p.cancel();
        assert_eq!(p.status(), ResourceStatus::Active);
        drop(commit);
        assert_eq!(p.status(), ResourceStatus::Cancelled);
        let p = presence(None);
        let commit = frozen(&p);
        p.cancel();
        commit.commit(0).unwrap();
        assert_eq!(p.len(), Some(0));
        let p = presence(None);
        let commit = frozen(&p);
        p.poison(Arc::new(Error::new(ErrorKind::Io, "sync", Path::new("p"), "lost")));
        assert_eq!(kind(commit.commit(0)), ErrorKind::Poisoned);
        let p = presence(None);
        frozen(&p).fail(&Error::new(ErrorKind::Damaged, "commit", Path::new("p"), "sum")).unwrap();
        assert_eq!(p.status(), ResourceStatus::Failed("commit p: sum".to_owned()));
    }

    #[test]
    fn a_freeze_waits_for_the_writes_in_flight() {
        for _ in 0..300 {
            let (p, done) = (presence(None), AtomicBool::new(false));
            let writing = p.begin_write().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let commit = frozen(&p);
                    assert!(done.load(SeqCst) && p.coverage().contains(&(0..5)));
                    commit.commit(5).unwrap();
                });
                scope.spawn(|| match p.freeze().unwrap() {
                    // Whichever of the two is first commits; the other one sees it or tries itself.
                    Freeze::Frozen(frozen) => drop(frozen),
                    Freeze::Committed(len) => assert_eq!(len, 5),
                });
                while p.begin_write().is_ok() {
                    std::hint::spin_loop();
                }
                done.store(true, SeqCst);
                writing.wrote(&(0..5));
            });
            assert_eq!(p.len(), Some(5));
        }
    }

    #[test]
    fn every_end_wakes_who_waits() {
        type End = fn(&Presence);
        let ends: [(End, ErrorKind); 3] = [
            (|p| assert!(p.fail("off".to_owned())), ErrorKind::Failed),
            (|p| assert!(p.cancel()), ErrorKind::Cancelled),
            (
                |p| p.poison(Arc::new(Error::new(ErrorKind::Io, "sync", Path::new("p"), ""))),
                ErrorKind::Poisoned,
            ),
        ];
        for (end, expected) in ends {
            let p = presence(None);
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| p.wait(&(0..9), Until::Ever));
                while p.waiting() == 0 {
                    std::thread::yield_now();
                }
                end(&p);
                assert_eq!(kind(waiter.join().unwrap()), expected);
            });
        }
        let p = presence(None);
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let commit = scope.spawn(|| p.wait(&(3..9), Until::Ever).unwrap());
            let eof = scope.spawn(|| p.wait(&(5..9), Until::For(Duration::from_secs(99))).unwrap());
            let off = scope.spawn(|| p.wait(&(5..9), Until::Cancelled(&cancel)).unwrap());
            while p.waiting() < 3 {
                std::thread::yield_now();
            }
            cancel.cancel();
            assert_eq!(off.join().unwrap(), WaitOutcome::Interrupted);
            assert_eq!((p.waiting(), p.wanted(2).map(|gap| gap.end - gap.start)), (2, Some(2)));
            write(&p, 0..5);
            frozen(&p).commit(5).unwrap();
            assert_eq!(commit.join().unwrap(), WaitOutcome::Ready);
            assert_eq!(eof.join().unwrap(), WaitOutcome::Eof);
        });
    }

    #[test]
    fn tasks_wait_in_the_same_list() {
        struct Bell(AtomicUsize);
        impl std::task::Wake for Bell {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        let bell = Arc::new(Bell(AtomicUsize::new(0)));
        let (p, waker) = (presence(Some(9)), Waker::from(Arc::clone(&bell)));
        let mut registration = None;
        let mut poll = |p: &Presence| p.poll_wait(&(2..20), &mut registration, &waker);
        assert!(poll(&p).is_pending() && poll(&p).is_pending());
        assert_eq!((p.waiting(), p.wanted(99)), (1, Some(2..9)));
        write(&p, 0..8);
        assert!(poll(&p).is_pending());
        assert_eq!((bell.0.load(SeqCst), p.wanted(99)), (0, Some(8..9)));
        write(&p, 8..9);
        assert_eq!(bell.0.load(SeqCst), 1);
        assert!(matches!(poll(&p), Poll::Ready(Ok(WaitOutcome::Ready))));
        let p = presence(None);
        assert!(p.poll_wait(&(2..20), &mut registration, &waker).is_pending());
        drop(registration);
        assert_eq!(p.waiting(), 0);
    }
}
