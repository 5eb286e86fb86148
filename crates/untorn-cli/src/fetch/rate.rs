//! How fast bytes may come in: one limit, shared by all connections.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes per second. Who takes bytes is told how long to wait before taking more.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u64,
    /// When all that was taken is paid for.
    paid: Mutex<Option<Instant>>,
}

/// What was not taken in this time is not saved up: a pause does not end in a flood.
const SAVED: Duration = Duration::from_millis(100);

impl Rate {
    pub(crate) fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1), paid: Mutex::new(None) }
    }

    /// `bytes` were taken at `now`: wait so long before the next ones.
    pub(crate) fn take(&self, bytes: u64, now: Instant) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        // A limit of one byte per second makes this more than a person waits; it is cut to what a clock can add.
        let costs = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = now.checked_sub(SAVED).unwrap_or(now);
        let from = paid.map_or(oldest, |paid| paid.max(oldest));
        let until = from.checked_add(costs).unwrap_or(from);
        *paid = Some(until);
        until.saturating_duration_since(now)
    }

    /// How much to read at once, so that the waits stay short.
    pub(crate) fn piece(&self, largest: usize) -> usize {
        let tenth = usize::try_from(self.per_second / 10).unwrap_or(usize::MAX);
        tenth.clamp(1, largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_bytes_takes_a_second_whoever_takes_them() {
        let rate = Rate::new(1000);
        let start = Instant::now() + Duration::from_secs(10);
        assert_eq!(rate.take(100, start), Duration::ZERO, "what was saved up");
        assert_eq!(rate.take(500, start), Duration::from_millis(500));
        // Another connection takes as much, and waits for both.
        assert_eq!(rate.take(500, start), Duration::from_secs(1));
        let later = start + Duration::from_millis(600);
        assert_eq!(rate.take(100, later), Duration::from_millis(500));
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let rate = Rate::new(1000);
        let start = Instant::now() + Duration::from_secs(10);
        rate.take(1000, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(rate.take(1100, later), Duration::from_secs(1));
    }

    #[test]
    fn limits_beyond_sense_do_not_panic() {
        let now = Instant::now();
        let _waits = Rate::new(0).take(u64::MAX, now);
        assert_eq!(Rate::new(u64::MAX).take(u64::MAX, now), Duration::from_millis(900));
        assert_eq!(Rate::new(0).piece(4096), 1);
        assert_eq!(Rate::new(50_000).piece(4096), 4096);
        assert_eq!(Rate::new(5000).piece(4096), 500);
    }
}
