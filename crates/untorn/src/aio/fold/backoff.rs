//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Full jitter: by chance between nothing and a bound that doubles with each failure, so that those who failed together do not come
/// back together.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    chance: RandomState,
    drawn: u64,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), failures: 0, chance: RandomState::new(), drawn: 0 }
    }

    /// Something worked.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    pub(super) fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        self.drawn = self.drawn.wrapping_add(1);
        // 32 bits of chance, as a fraction of the bound.
        let drawn = u32::try_from(self.chance.hash_one(self.drawn) >> 32).unwrap_or(u32::MAX);
        bound.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
    }

    fn bound(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_and_the_wait_is_any_part_of_it() {
        let (min, max) = (Duration::from_millis(250), Duration::from_secs(30));
        let mut backoff = Backoff::new(min, max);
        let mut small = 0;
        for round in 0..200 {
            let bound = backoff.bound();
            let expected = if round < 7 { min * 2_u32.pow(round) } else { max };
            assert_eq!(bound, expected.min(max));
            let wait = backoff.next();
            assert!(wait <= bound);
            small += u32::from(wait < bound / 2);
        }
        assert!((50..150).contains(&small), "{small} of 200 below the half");
        backoff.reset();
        assert_eq!(backoff.bound(), min);
    }
}
