//! The load: keys in an order without order, values without meaning, both from a number, so that nothing of it has to be held.

use crate::contestants::fold::Op;

/// Keys with the same prefix.
pub const PER_PREFIX: u64 = 1000;
const VALUE: usize = 100;
/// Puts in a batch.
pub const BATCH: u64 = 100;

/// Numbers below `count`, each once, in an order without order.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    count: u64,
    half: u32,
    seed: u64,
}

impl Order {
    pub fn new(count: u64, seed: u64) -> Self {
        let bits = u64::BITS - count.max(2).saturating_sub(1).leading_zeros();
        Self { count, half: bits.div_ceil(2), seed }
    }

    /// How many there are.
    pub fn len(self) -> u64 {
        self.count
    }

    /// The number at a place below `count`.
    pub fn at(self, place: u64) -> u64 {
        let mut number = place;
        // What is above the count is sent through again, and comes below it some time.
        loop {
            number = self.round(number);
            if number < self.count {
                return number;
            }
        }
    }

    /// A permutation of twice `half` bits.
    fn round(self, number: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half, number & mask);
        for round in 0..4 {
            (left, right) = (right, left ^ (mixed(right ^ (round << 32) ^ self.seed) & mask));
        }
        (left << self.half) | right
    }
}

/// All bits of a number spread over all bits of another.
pub fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

pub fn prefix(number: u64) -> String {
    format!("svc-{:06}/", number / PER_PREFIX)
}

/// 32 bytes.
pub fn key(number: u64) -> String {
    format!("svc-{:06}/{number:021}", number / PER_PREFIX)
}

pub fn put(number: u64, version: u64) -> Op {
    let mut value = Vec::with_capacity(VALUE + 8);
    let mut word = mixed(number ^ (version << 32));
    while value.len() < VALUE {
        value.extend_from_slice(&word.to_le_bytes());
        word = mixed(word.wrapping_add(0x9e37_79b9_7f4a_7c15));
    }
    value.truncate(VALUE);
    Op { key: key(number), value, version }
}

/// Bytes of keys and values.
pub fn live(keys: u64) -> u64 {
    keys * (32 + VALUE as u64)
}
