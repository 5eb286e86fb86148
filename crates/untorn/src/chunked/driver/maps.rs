//! The map that reads come from, kept so that threads do not meet when they copy from it.
//!
//! # Invariants
//! - M1 Who copies holds the lock of his shard. Who takes the map away holds all of them, one after the other, and waits so
//!   for all copies; he keeps others from putting a map in meanwhile.

use std::sync::{Arc, PoisonError, RwLock};

use crate::fs::Map;

const SHARDS: usize = 8;

/// The same map in several places.
#[derive(Debug, Default)]
pub(super) struct Maps([Shard; SHARDS]);

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(RwLock<Option<Arc<Map>>>);

impl Maps {
    /// Copies the bytes at `offset`; false if they are not in the map, or there is none.
    pub(super) fn copy(&self, offset: u64, buf: &mut [u8]) -> bool {
        let Ok(offset) = usize::try_from(offset) else { return false };
        let Some(shard) = self.0.get(shard()) else { return false };
        let map = shard.0.read().unwrap_or_else(PoisonError::into_inner);
        map.as_ref().is_some_and(|map| map.copy_to(offset, buf))
    }

    /// Puts another map in, or none, after all copies from the old one ended (M1). One caller at a time.
    pub(super) fn set(&self, map: Option<Map>) {
        let map = map.map(Arc::new);
        for shard in &self.0 {
            let mut place = shard.0.write().unwrap_or_else(PoisonError::into_inner);
            (*place).clone_from(&map);
        }
    }
}

/// A place for the calling thread: the stacks of threads lie megabytes apart.
fn shard() -> usize {
    const GOLDEN: usize = (usize::MAX / 1000 * 618) | 1;
    let here = 0_u8;
    let stack = (&raw const here).addr() >> 21;
    stack.wrapping_mul(GOLDEN).wrapping_shr(usize::BITS.wrapping_sub(SHARDS.ilog2()))
}
