//! What is on its way: which ranges are being fetched, how much has come in. The progress bar looks at it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// All fetches that run.
#[derive(Debug, Default)]
pub(super) struct Flights {
    running: Mutex<BTreeMap<u64, Range<u64>>>,
    next: AtomicU64,
    received: AtomicU64,
}

/// One fetch; when it is dropped, it has landed.
#[derive(Debug)]
pub(super) struct Flight<'a> {
    of: &'a Flights,
    number: u64,
}

impl Flights {
    pub(super) fn begin(&self, range: Range<u64>) -> Flight<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, range);
        Flight { of: self, number }
    }

    /// What is still to come of each.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.lock().values().cloned().collect()
    }

    /// Bytes of bodies, of all fetches together.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Range<u64>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight<'_> {
    /// Bytes came in; the next one is that at `at`.
    pub(super) fn came(&self, bytes: usize, at: u64) {
        self.of.received.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(range) = self.of.lock().get_mut(&self.number) {
            range.start = at.min(range.end);
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.of.lock().remove(&self.number);
    }
}
