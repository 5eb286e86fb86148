//! Waiting for the log to become durable further, without taking part in it: for those who only follow.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicUsize, fence};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Log;
use crate::Result;

/// Those who watch, and the bell that rings for them. Who rings it for nobody pays one load.
#[derive(Debug, Default)]
pub(super) struct Watch {
    watching: AtomicUsize,
    rings: Mutex<u64>,
    bell: Condvar,
}

impl Watch {
    /// The log is durable further, or will never be again.
    pub(super) fn ring(&self) {
        // Either this load sees the watcher, or his next look sees what was stored before the ring.
        fence(SeqCst);
        if self.watching.load(SeqCst) > 0 {
            let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
            *rings = rings.wrapping_add(1);
            drop(rings);
            self.bell.notify_all();
        }
    }
}

impl Log {
    /// Waits until the record `seq` is durable, for so long at most; false if it is not by then.
    ///
    /// Only watches: it syncs nothing, and `seq` need not be appended yet. To acknowledge a record use [`wait`](Self::wait).
    ///
    /// # Errors
    /// `Poisoned`; `Closed`.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// use untorn::log::{Log, LogOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let dir = dir.path().join("events");
    /// let (log, _) = Log::open(&dir, LogOptions::new())?;
    /// std::thread::scope(|scope| {
    ///     let follower = scope.spawn(|| log.watch(1, Duration::from_secs(60)));
    ///     log.append_synced(b"created")?;
    ///     assert!(follower.join().expect("it does not panic")?);
    ///     Ok::<(), untorn::Error>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self, seq: u64, timeout: Duration) -> Result<bool> {
        let inner = &*self.0;
        let watch = &inner.watch;
        let clock = || inner.options.fs.monotonic();
        let deadline = clock().saturating_add(timeout);
        watch.watching.fetch_add(1, SeqCst);
        fence(SeqCst);
        let outcome = loop {
            let rings = *watch.rings.lock().unwrap_or_else(PoisonError::into_inner);
            if self.durable_seq() >= seq {
                break Ok(true);
            }
            if let Err(e) = self.check("watch") {
                break Err(e);
            }
            let left = deadline.saturating_sub(clock());
            if left.is_zero() {
                break Ok(false);
            }
            // A ring since the look above is not slept through.
            let state = watch.rings.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = watch.bell.wait_timeout_while(state, left, |now| *now == rings);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        };
        watch.watching.fetch_sub(1, SeqCst);
        outcome
    }
}
