//! One piece of work on an entry: reading it, writing it. One thread does it, any number wait.
//!
//! # Invariants
//! - J1 A job is queued, running or done. Whoever takes the work out of a queued one runs it, and only he.
//! - J2 A running job does I/O and codec work; it waits for no other job, no guard and no budget. So who waits for one waits for
//!   a thread that goes on by itself, and one blocking thread is enough for any number of callers.
//! - J3 Who would wait for a queued job runs it instead.

use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::task::Poll;
use std::task::Waker;

use crate::sync::{Condvar, Mutex, PoisonError, lock};
use crate::{Error, Result};

type Work = Box<dyn FnOnce() + Send>;

pub(crate) struct Job {
    /// Whether it brings a value: then its error is that of who waits for the value.
    loads: bool,
    state: Mutex<State>,
    bell: Condvar,
}

/// How a job ended.
#[derive(Clone)]
enum Done {
    Well,
    Badly(Arc<Error>),
}

#[derive(Default)]
struct State {
    work: Option<Work>,
    done: Option<Done>,
    wakers: Vec<Waker>,
    /// Those who were to run it are gone.
    abandoned: bool,
}

impl Job {
    /// Of the calling thread, which goes on to do it.
    pub(crate) fn running(loads: bool) -> Arc<Self> {
        Arc::new(Self { loads, state: Mutex::default(), bell: Condvar::new() })
    }

    /// That whoever comes first does. The work ends with [`finish`](Self::finish).
    pub(crate) fn enqueue(&self, work: Work) {
        lock(&self.state).work = Some(work);
    }

    /// Does the work, if nobody does (J1).
    pub(crate) fn run(&self) {
        let work = lock(&self.state).work.take();
        if let Some(work) = work {
            work();
        }
    }

    pub(crate) fn finish(&self, error: Option<Arc<Error>>) {
        let wakers = {
            let mut state = lock(&self.state);
            state.done = Some(error.map_or(Done::Well, Done::Badly));
            std::mem::take(&mut state.wakers)
        };
        self.bell.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until it is done, or does it (J3).
    pub(crate) fn wait(&self) -> Result<()> {
        self.run();
        let mut state = lock(&self.state);
        loop {
            if let Some(done) = &state.done {
                return self.outcome(done);
            }
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As [`wait`](Self::wait), without waiting or doing.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<()>> {
        let mut state = lock(&self.state);
        if let Some(done) = &state.done {
            return Poll::Ready(self.outcome(done));
        }
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    }

    /// Tells who waits that nobody will do it: the runtime that was to run it is gone.
    pub(crate) fn abandon(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.abandoned = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether whoever waits has to do it.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_abandoned(&self) -> bool {
        let state = lock(&self.state);
        state.abandoned && state.work.is_some()
    }

    fn outcome(&self, done: &Done) -> Result<()> {
        match done {
            Done::Badly(error) if self.loads => Err(Error::share(error)),
            _ => Ok(()),
        }
    }

    /// How it ended, whatever it was.
    pub(crate) fn result(&self) -> Result<()> {
        match &lock(&self.state).done {
            Some(Done::Badly(error)) => Err(Error::share(error)),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("loads", &self.loads).finish_non_exhaustive()
    }
}
