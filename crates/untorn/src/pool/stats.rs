//! What a pool counts.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::budget::MemoryBudget;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) inserts: AtomicU64,
    pub(crate) loads: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) spills: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) waits: AtomicU64,
}

/// What a pool holds, and what it did since it was made. Loads of values that are in memory are not counted: that would cost as
/// much as they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Objects with handles.
    pub objects: u64,
    /// What values take in memory, by weight.
    pub resident: u64,
    /// What the budget has of all its pools.
    pub used: u64,
    /// The most that it had at once.
    pub peak: u64,
    /// Its limit.
    pub limit: u64,
    /// Values that were inserted.
    pub inserts: u64,
    /// Values that were read from the disk.
    pub loads: u64,
    /// Values that left memory.
    pub evictions: u64,
    /// Values that were written.
    pub spills: u64,
    /// Writes that they went in.
    pub writes: u64,
    /// Calls that found no room at once.
    pub waits: u64,
}

impl Counters {
    pub(crate) fn read(&self, objects: u64, resident: u64, budget: &MemoryBudget) -> PoolStats {
        PoolStats {
            objects,
            resident,
            used: budget.used(),
            peak: budget.peak(),
            limit: budget.limit(),
            inserts: self.inserts.load(Relaxed),
            loads: self.loads.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            spills: self.spills.load(Relaxed),
            writes: self.writes.load(Relaxed),
            waits: self.waits.load(Relaxed),
        }
    }
}
