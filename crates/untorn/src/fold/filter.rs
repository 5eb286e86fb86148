//! Which keys a tree may have: most that it has not are known without a search.
//!
//! One word for each key, three bits in it. Bits are only ever set, so that copies of a tree share it with the one that goes on: for them it
//! says *perhaps* a little more often.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Bits for each key that it was made for.
const BITS: usize = 16;
/// Keys that the smallest one is made for.
const LEAST: usize = 1024;

#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    words: Arc<[AtomicU64]>,
    /// Keys that it was made for.
    room: usize,
}

impl Filter {
    /// For so many keys, and as many again.
    pub(super) fn with_room(keys: usize) -> Self {
        let room = keys.saturating_mul(2).max(LEAST);
        let words = room.saturating_mul(BITS).div_ceil(64).next_power_of_two();
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect(), room }
    }

    /// Whether a tree of so many keys should have a larger one.
    pub(super) const fn is_full(&self, keys: usize) -> bool {
        keys >= self.room
    }

    pub(super) fn add(&self, key: &[u8]) {
        if let Some((word, bits)) = self.place(key) {
            word.fetch_or(bits, Relaxed);
        }
    }

    /// Whether the key may have been added. Says no only if it was not.
    pub(super) fn may_have(&self, key: &[u8]) -> bool {
        self.place(key).is_some_and(|(word, bits)| word.load(Relaxed) & bits == bits)
    }

    fn place(&self, key: &[u8]) -> Option<(&AtomicU64, u64)> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let mask = (self.words.len() as u64).checked_sub(1)?;
        let word = self.words.get(usize::try_from((hash >> 18) & mask).ok()?)?;
        let bit = |shift: u32| 1_u64 << ((hash >> shift) & 63);
        Some((word, bit(0) | bit(6) | bit(12)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_may_be_there_and_most_else_is_not() {
        let filter = Filter::with_room(10_000);
        for n in 0..10_000_u32 {
            filter.add(format!("key-{n}").as_bytes());
        }
        assert!((0..10_000).all(|n: u32| filter.may_have(format!("key-{n}").as_bytes())));
        let wrong =
            (10_000..30_000).filter(|n: &u32| filter.may_have(format!("key-{n}").as_bytes()));
        assert!(wrong.count() < 1000);
        assert!(!Filter::default().may_have(b"key"));
    }
}
