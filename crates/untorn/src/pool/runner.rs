//! Where jobs run that nobody waits for: a number of them at a time, on threads that somebody else has.

use std::collections::VecDeque;
use std::sync::Arc;

use super::job::Job;
use crate::sync::{Condvar, Mutex, PoisonError, lock};

/// Runs a closure on a thread that may block; or drops it, if there is none any more.
pub(crate) type Start = dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync;

/// Where the tasks of a store run.
#[cfg(feature = "tokio")]
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    pub(crate) handle: tokio::runtime::Handle,
    pub(crate) tracker: tokio_util::task::TaskTracker,
}

/// The jobs of a store.
pub(crate) struct Runner {
    start: Option<Box<Start>>,
    limit: usize,
    #[cfg(feature = "tokio")]
    tasks: Option<Tasks>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Job>>,
    threads: usize,
    /// Jobs that are queued or run, and calls of the user's that he had run here.
    open: usize,
    #[cfg(feature = "tokio")]
    wakers: Vec<std::task::Waker>,
}

impl Runner {
    /// Without threads: whoever waits for a job runs it.
    pub(crate) fn none() -> Arc<Self> {
        Arc::new(Self {
            start: None,
            limit: 1,
            #[cfg(feature = "tokio")]
            tasks: None,
            state: Mutex::default(),
            idle: Condvar::new(),
        })
    }

    /// On the blocking threads of a runtime, so many at a time.
    #[cfg(feature = "tokio")]
    pub(crate) fn on(tasks: Tasks, limit: usize) -> Arc<Self> {
        let place = tasks.clone();
        let start: Box<Start> = Box::new(move |work| {
            drop(place.tracker.spawn_blocking_on(work, &place.handle));
        });
        Arc::new(Self {
            start: Some(start),
            limit: limit.max(1),
            tasks: Some(tasks),
            state: Mutex::default(),
            idle: Condvar::new(),
        })
    }

    /// Where its tasks run, if there is a place of its own.
    #[cfg(feature = "tokio")]
    pub(crate) const fn tasks(&self) -> Option<&Tasks> {
        self.tasks.as_ref()
    }

    /// Whether jobs run by themselves.
    pub(crate) const fn has_threads(&self) -> bool {
        self.start.is_some()
    }

    /// Queues a job. Without threads whoever waits for it runs it.
    pub(crate) fn submit(self: &Arc<Self>, job: Arc<Job>) {
        let Some(start) = &self.start else { return };
        {
            let mut state = lock(&self.state);
            state.queue.push_back(job);
            state.open = state.open.saturating_add(1);
            if state.threads >= self.limit {
                return;
            }
            state.threads = state.threads.saturating_add(1);
        }
        let thread = Thread { runner: Arc::clone(self) };
        start(Box::new(move || thread.run()));
    }

    /// Counts a call that is made elsewhere, until what is returned is dropped.
    #[cfg(feature = "tokio")]
    pub(crate) fn count(self: &Arc<Self>) -> Open {
        let mut state = lock(&self.state);
        state.open = state.open.saturating_add(1);
        Open(Arc::clone(self))
    }

    /// Waits until nothing is queued nor runs; helps.
    pub(crate) fn wait_idle(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                job.run();
                drop(job);
                self.ended();
                state = lock(&self.state);
                continue;
            }
            if state.open == 0 {
                return;
            }
            state = self.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether nothing is queued nor runs; else the waker is woken when that is so.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_idle(&self, waker: &std::task::Waker) -> bool {
        let mut state = lock(&self.state);
        if state.open > 0 {
            state.wakers.push(waker.clone());
        }
        state.open == 0
    }

    fn ended(&self) {
        let mut state = lock(&self.state);
        state.open = state.open.saturating_sub(1);
        if state.open > 0 {
            return;
        }
        #[cfg(feature = "tokio")]
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.idle.notify_all();
        #[cfg(feature = "tokio")]
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Runner")
            .field("limit", &self.limit)
            .field("open", &state.open)
            .finish_non_exhaustive()
    }
}

/// See [`Runner::count`].
#[cfg(feature = "tokio")]
pub(crate) struct Open(Arc<Runner>);

#[cfg(feature = "tokio")]
impl Drop for Open {
    fn drop(&mut self) {
        self.0.ended();
    }
}

/// A thread that runs what is queued, and goes.
struct Thread {
    runner: Arc<Runner>,
}

impl Thread {
    fn run(self) {
        loop {
            let job = {
                let mut state = lock(&self.runner.state);
                let Some(job) = state.queue.pop_front() else { return };
                job
            };
            job.run();
            drop(job);
            self.runner.ended();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // It ends when nothing is queued; or it never ran, since the runtime shut down: then others do the work.
        let left = {
            let mut state = lock(&self.runner.state);
            state.threads = state.threads.saturating_sub(1);
            if state.threads > 0 { VecDeque::new() } else { std::mem::take(&mut state.queue) }
        };
        for job in left {
            job.abandon();
            self.runner.ended();
        }
    }
}
