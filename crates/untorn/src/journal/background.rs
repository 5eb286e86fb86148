//! The thread that makes checkpoints when they are due, where the options ask for it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Inner, Journal, Machine};
use crate::{Error, Result};

/// After a checkpoint failed, the next one is not tried sooner.
const PAUSE: Duration = Duration::from_secs(1);

/// What the thread is told.
#[derive(Debug, Default)]
pub(super) struct Background(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<Asked>,
    told: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    checkpoint: bool,
    stop: bool,
}

impl Background {
    pub(super) fn wake(&self) {
        let mut state = self.0.lock();
        let known = std::mem::replace(&mut state.checkpoint, true);
        drop(state);
        if !known {
            self.0.told.notify_all();
        }
    }

    pub(super) fn stop(&self) {
        self.0.lock().stop = true;
        self.0.told.notify_all();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Signal {
    fn lock(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a checkpoint is asked for; false if there will be none any more.
    fn wait(&self) -> bool {
        let idle = |asked: &mut Asked| !asked.checkpoint && !asked.stop;
        let state = self.told.wait_while(self.lock(), idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.checkpoint = false;
        !state.stop
    }

    /// Waits a while, or until it is told to stop.
    fn pause(&self) {
        let waited = self.told.wait_timeout_while(self.lock(), PAUSE, |asked| !asked.stop);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Starts the thread; it holds the journal only while it works, and ends with it.
pub(super) fn start<M: Machine + 'static>(journal: &Journal<M>) -> Result<()> {
    let signal = Arc::clone(&journal.0.background.0);
    let inner = Arc::downgrade(&journal.0);
    let work = move || {
        while signal.wait() {
            let Some(inner) = inner.upgrade() else { return };
            if !turn(&inner) {
                drop(inner);
                signal.pause();
            }
        }
    };
    let spawned = std::thread::Builder::new().name("untorn-checkpoint".to_owned()).spawn(work);
    spawned.map(drop).map_err(|e| Error::system("start the thread of", journal.path(), e))
}

/// Makes a checkpoint if one is due; false if it failed. The failure is kept for `stats`; the next event asks again.
fn turn<M: Machine>(inner: &Inner<M>) -> bool {
    if !inner.due() {
        return true;
    }
    let outcome = inner.checkpoint();
    let failed = outcome.is_err();
    let mut last = inner.checkpoint_error.lock().unwrap_or_else(PoisonError::into_inner);
    *last = outcome.err().map(Arc::new);
    !failed
}
