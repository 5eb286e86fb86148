//! What the async face needs: a ticket that wakes, and one task at most that drives the lane for all of them.

use std::sync::atomic::Ordering::AcqRel;
use std::sync::atomic::Ordering::Release;
use std::task::Waker;

use super::lane::Until;
use super::{Log, SyncPolicy, Ticket};
use crate::Result;

impl Ticket {
    /// The outcome, or `None`: then `waker` is woken when it is worth asking again.
    pub(crate) fn poll(&self, waker: &Waker) -> Option<Result<u64>> {
        if !self.group.watch(waker) {
            return None;
        }
        let outcome = self.group.outcome()?;
        Some(outcome.map(|_| self.seq).map_err(|cause| self.log.0.waiter_error(&cause)))
    }

    /// A task to run on a thread that may block, unless one is queued already.
    ///
    /// The order matters: who polls registers his waker first and asks for a task then. A task that finds the lane taken
    /// ends; whoever leaves the lane wakes those who are registered.
    pub(crate) fn task(&self) -> Option<Task> {
        let inner = &self.log.0;
        let leads =
            matches!(inner.options.sync_policy, SyncPolicy::Each | SyncPolicy::Window { .. });
        let queue = leads && !inner.task_queued.swap(true, AcqRel);
        queue.then(|| Task { log: self.log.clone() })
    }
}

/// Drives the lane once. If it is dropped without having run, those who rely on it are woken, to find another way.
#[derive(Debug)]
pub(crate) struct Task {
    log: Log,
}

impl Task {
    pub(crate) fn run(self) {
        let inner = &self.log.0;
        // From here on a new one may be queued: what is appended after this task's last look needs it.
        inner.task_queued.store(false, Release);
        if let Some(mut lane) = inner.try_lane() {
            inner.wait_for_company(&mut lane);
            inner.drive(&mut lane, Until::Empty);
            inner.prepare_ahead(&mut lane);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let inner = &self.log.0;
        inner.task_queued.store(false, Release);
        inner.nudge_next();
    }
}
