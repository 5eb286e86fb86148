//! Giving memory up: values that have a copy are dropped, others are written first, about a mebibyte at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::budget::Reclaimed;
use super::entry::{Claimed, Entry, GaveUp, Spilled};
use super::job::Job;
use super::pool::{Inner, Pool};
use super::queues::End;
use super::tier::Item;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// What one write takes, about.
const BATCH: u64 = 1 << 20;
/// Of a small budget not more than one part in so many is written at once.
const PART: u64 = 32;
/// So many writes of values that have no form in bytes are passed over.
const TRIES: u32 = 8;
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Whether it is the value's own fault that it was not written: others may be.
fn own_fault(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Codec | ErrorKind::TooLarge)
}

impl<T: Send + Sync + 'static> Inner<T> {
    /// Gives up about `want`, and writes what that takes. Values that cannot be encoded stand behind the others; some are passed over.
    pub(crate) fn reclaim_some(&self, want: u64) -> Reclaimed {
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            match self.reclaim_once(want) {
                Reclaimed::Failed(error) if own_fault(&error) && tries < TRIES => {}
                reclaimed => return reclaimed,
            }
        }
    }

    /// Each value is looked at a few times at most.
    fn reclaim_once(&self, want: u64) -> Reclaimed {
        let job = Job::running(false);
        let batch = BATCH.min(self.budget.limit().checked_div(PART).unwrap_or(0));
        let (mut freed, mut leaving) = (0_u64, 0_u64);
        let mut claimed: Vec<Claimed<T>> = Vec::new();
        let mut returned = false;
        let mut looks = lock(&self.queues).len().saturating_mul(4);
        while looks > 0 {
            let enough = freed.saturating_add(leaving) >= want;
            // Where something is written anyway, more goes with it, and stays until its room is needed.
            if (enough && (claimed.is_empty() || leaving >= batch)) || leaving >= BATCH {
                break;
            }
            looks = looks.saturating_sub(1);
            let Some((entry, from)) = lock(&self.queues).pop() else { break };
            match entry.give_up(from, Some(&job), enough) {
                GaveUp::Value(value, weight) => {
                    self.gone(value, weight);
                    freed = freed.saturating_add(weight);
                }
                GaveUp::Dirty(claim) => {
                    leaving = leaving.saturating_add(claim.weight);
                    claimed.push(claim);
                }
                GaveUp::Stays(place, weight, end) => {
                    lock(&self.queues).push(&entry, weight, place, end);
                    returned = true;
                    if end == End::Front {
                        break;
                    }
                }
                GaveUp::Aside => {}
            }
        }
        if returned {
            // Who looked while it was in our hands saw nothing (G3).
            self.budget.nudge();
        }
        if claimed.is_empty() {
            return if freed > 0 { Reclaimed::Freed(freed) } else { Reclaimed::Nothing };
        }
        let (written, error) = self.spill(&job, claimed, want.saturating_sub(freed));
        freed = freed.saturating_add(written);
        match error {
            Some(error) if freed == 0 => Reclaimed::Failed(Error::share(&error)),
            _ => Reclaimed::Freed(freed.max(1)),
        }
    }

    /// Writes claimed values, and gives up as many of them as `want` takes.
    fn spill(
        &self,
        job: &Arc<Job>,
        mut claimed: Vec<Claimed<T>>,
        want: u64,
    ) -> (u64, Option<Arc<Error>>) {
        let weight = claimed.iter().fold(0_u64, |sum, claim| sum.saturating_add(claim.weight));
        let leaving = self.budget.leaving(weight.min(want));
        let results = self.write(&mut claimed, None);
        let (mut before, mut evict) = (0_u64, Vec::with_capacity(claimed.len()));
        for claim in &claimed {
            evict.push(before < want);
            before = before.saturating_add(claim.weight);
        }
        let (mut freed, mut first) = (0_u64, None);
        // From the last on, so that those that stay stand before the queue as they did.
        for ((claim, result), evict) in claimed.iter().zip(results).zip(evict).rev() {
            let end = match &result {
                Ok(()) => Spilled::Written { evict },
                Err(error) if own_fault(error) => Spilled::Unfit,
                Err(_) => Spilled::Failed,
            };
            if let Some((value, weight)) = claim.entry.end_spill(claim.place, end) {
                self.gone(value, weight);
                freed = freed.saturating_add(weight);
            }
            if let Err(error) = result {
                first = Some((claim.key, Arc::new(error)));
            }
        }
        let error = first.map(|(key, error)| {
            self.core.note(Some(key), &error);
            error
        });
        self.settle_backoff(error.is_some());
        job.finish(error.clone());
        drop(leaving);
        (freed, error)
    }

    /// Encodes and writes; the values are let go as soon as that is done.
    pub(crate) fn write(
        &self,
        claimed: &mut [Claimed<T>],
        dest: Option<&dyn std::any::Any>,
    ) -> Vec<Result<()>> {
        let items: Vec<Item<'_, T>> = claimed
            .iter()
            .filter_map(|claim| {
                let value = claim.value.as_deref()?;
                Some(Item { key: claim.key, weight: claim.weight, value })
            })
            .collect();
        let results = self.tier.write(&items, dest);
        let written = results.iter().filter(|result| result.is_ok()).count() as u64;
        self.counters.writes.fetch_add(1, Relaxed);
        self.counters.spills.fetch_add(written, Relaxed);
        drop(items);
        for claim in claimed {
            claim.value = None;
        }
        results
    }

    fn gone(&self, value: Arc<T>, weight: u64) {
        // The memory first, then the charge (E2).
        drop(value);
        self.resident.fetch_sub(weight, Relaxed);
        self.counters.evictions.fetch_add(1, Relaxed);
        self.budget.release(weight);
    }

    pub(crate) fn reclaim_clean_some(&self, want: u64) -> u64 {
        let mut freed = 0_u64;
        let mut looks = lock(&self.queues).len().saturating_mul(4);
        while freed < want && looks > 0 {
            looks = looks.saturating_sub(1);
            let Some((entry, from)) = lock(&self.queues).pop() else { break };
            match entry.give_up(from, None, false) {
                GaveUp::Value(value, weight) => {
                    self.gone(value, weight);
                    freed = freed.saturating_add(weight);
                }
                GaveUp::Stays(place, weight, _) => {
                    // A dirty one goes to the back, so that the others are looked at.
                    lock(&self.queues).push(&entry, weight, place, End::Back);
                }
                GaveUp::Dirty(_) | GaveUp::Aside => {}
            }
        }
        freed
    }

    pub(crate) fn reclaim_clean_for(&self, need: u64) -> bool {
        let over = self.budget.used().saturating_add(need).saturating_sub(self.budget.limit());
        if over == 0 {
            return false;
        }
        let freed = self.reclaim_clean_some(over);
        // Who looked while dirty values were in our hands saw nothing (G3). Who waits himself goes on to have them written.
        self.budget.nudge();
        freed > 0
    }

    fn settle_backoff(&self, failed: bool) {
        let mut backoff = lock(&self.helper.backoff);
        if !failed {
            backoff.step = Duration::ZERO;
            return;
        }
        backoff.step = backoff.step.saturating_mul(2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        backoff.until = self.core.fs.monotonic().saturating_add(backoff.step);
    }

    /// Gives up until all who wait are served and the reserve is free.
    fn help(&self) {
        loop {
            let seen = self.helper.calls.load(Acquire);
            loop {
                match self.budget.reclaim(self.spill_ahead) {
                    Reclaimed::Freed(_) => {}
                    Reclaimed::Nothing => break,
                    Reclaimed::Failed(error) => {
                        self.budget.fail(&Arc::new(error));
                        break;
                    }
                }
            }
            if !self.helper.end(seen) {
                return;
            }
        }
    }
}

/// Ends the helper where its job is dropped before it ran, so that another one may begin.
struct Unrun<T: Send + Sync + 'static>(Option<Arc<Inner<T>>>);

impl<T: Send + Sync + 'static> Unrun<T> {
    fn ran(&mut self) {
        self.0 = None;
    }
}

impl<T: Send + Sync + 'static> Drop for Unrun<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            inner.helper.on.store(false, Release);
            inner.budget.nudge();
        }
    }
}

impl<T: Send + Sync + 'static> Pool<T> {
    /// Spills in the background, where there is one, so that the next one need not wait.
    pub(crate) fn spill_ahead(&self) {
        let inner = &self.inner;
        if !inner.core.runner.has_threads() || inner.budget.wanted(inner.spill_ahead) == 0 {
            return;
        }
        let backoff = lock(&inner.helper.backoff);
        let rests = !backoff.step.is_zero() && inner.core.fs.monotonic() < backoff.until;
        drop(backoff);
        if let (false, Some(job)) = (rests, self.helper_job()) {
            inner.core.runner.submit(job);
        }
    }

    /// The job that makes room for all who wait; `None` if it is under way.
    pub(crate) fn helper_job(&self) -> Option<Arc<Job>> {
        let inner = &self.inner;
        if !inner.helper.call() {
            return None;
        }
        let job = Job::running(false);
        let (work, done) = (Arc::clone(inner), Arc::clone(&job));
        let mut unrun = Unrun(Some(Arc::clone(inner)));
        job.enqueue(Box::new(move || {
            unrun.ran();
            work.help();
            done.finish(None);
        }));
        Some(job)
    }

    /// Writes an entry that was just inserted, in the background where there is one.
    pub(crate) fn write_behind(&self, entry: &Arc<Entry<T>>) {
        let job = Job::running(false);
        let Some(claimed) = entry.begin_write(&job) else { return };
        self.inner.enqueue_write(&job, claimed);
        if self.inner.core.runner.has_threads() {
            self.inner.core.runner.submit(job);
        } else {
            job.run();
        }
    }
}

impl<T: Send + Sync + 'static> Inner<T> {
    /// Makes the job one that writes the value to the spill. Whoever comes first does it.
    pub(crate) fn enqueue_write(self: &Arc<Self>, job: &Arc<Job>, claimed: Claimed<T>) {
        let (inner, done) = (Arc::clone(self), Arc::clone(job));
        job.enqueue(Box::new(move || {
            let mut claimed = [claimed];
            let result = inner.write(&mut claimed, None).pop().unwrap_or(Ok(()));
            let [claim] = claimed;
            claim.entry.end_job(result.is_ok());
            done.finish(result.err().map(Arc::new));
        }));
    }
}
