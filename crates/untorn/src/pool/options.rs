//! What a pool can be told when it is made.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::backend::{BlobStore, Strategy};
use super::budget::{MemoryBudget, Unit};
use super::compress::{self, Compression};
use super::pool::{Helper, Inner, Pool, WriteOn};
use super::queues::Queues;
use super::stats::Counters;
use super::store::{BackingStore, Core};
use super::tier::{Blobs, Strategic, Tier};
use crate::Result;
use crate::codec::Codec;
use crate::sync::Mutex;

/// The reserve is one part in so many of the budget, and no more than the second.
const AHEAD_PART: u64 = 16;
const AHEAD_MAX: u64 = 64 << 20;
const BUDGET: usize = 64 << 20;

/// Options of a [`Pool`]. [`build`](Self::build) checks them.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub struct PoolOptions<T> {
    /// What values may take in memory; may be shared with other pools. Default 64 MiB.
    pub budget: MemoryBudget,
    /// The pool's weight among those of its budget. Default 1.
    pub share: u32,
    /// What a value takes in memory, in bytes. Default: what the type takes itself, and what the value is encoded to.
    pub weigh: Option<fn(&T) -> usize>,
    /// How objects are compressed. Default not at all.
    pub compression: Compression,
    /// What the type is called, so that objects of another are refused. Default nothing.
    pub type_name: Option<String>,
    /// With a runtime: so much of the budget is kept free by spilling ahead. Default a sixteenth, at most 64 MiB.
    pub spill_ahead: Option<u64>,
    /// How long a call waits for room that guards hold. Default 10 s.
    pub pin_wait: Duration,
    /// When a value is first written. Default when it has to leave memory.
    pub write_on: WriteOn,
}

impl<T: Send + Sync + 'static> PoolOptions<T> {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            budget: MemoryBudget::bytes(BUDGET),
            share: 1,
            weigh: None,
            compression: Compression::None,
            type_name: None,
            spill_ahead: None,
            pin_wait: Duration::from_secs(10),
            write_on: WriteOn::Evict,
        }
    }

    /// Sets the budget.
    pub fn budget(mut self, budget: MemoryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// Sets the pool's weight in a shared budget.
    pub const fn share(mut self, share: u32) -> Self {
        self.share = share;
        self
    }

    /// Sets how values are weighed: bytes in memory, with what they own.
    pub fn weigh(mut self, weigh: fn(&T) -> usize) -> Self {
        self.weigh = Some(weigh);
        self
    }

    /// Sets how objects are compressed.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets what the type is called.
    pub fn type_name(mut self, name: impl Into<String>) -> Self {
        self.type_name = Some(name.into());
        self
    }

    /// Sets how much is kept free by spilling ahead; 0 for nothing.
    pub const fn spill_ahead(mut self, bytes: u64) -> Self {
        self.spill_ahead = Some(bytes);
        self
    }

    /// Sets how long a call waits for room that guards hold.
    pub const fn pin_wait(mut self, wait: Duration) -> Self {
        self.pin_wait = wait;
        self
    }

    /// Sets when a value is first written.
    pub const fn write_on(mut self, write_on: WriteOn) -> Self {
        self.write_on = write_on;
        self
    }

    /// The pool, on a store, with a codec for its values.
    ///
    /// # Errors
    /// `Unsupported` for a compression that this build does not have.
    pub fn build<B, C>(self, store: &Arc<BackingStore<B>>, codec: C) -> Result<Pool<T>>
    where
        B: BlobStore,
        C: Codec<T> + Send + Sync + 'static,
    {
        compress::check(self.compression)?;
        let tag = self.type_name.as_deref().map_or(0, tag_of);
        let backing = Arc::clone(store.backing());
        let blobs = Blobs::new(backing, codec, C::NAME, tag, self.compression);
        Ok(self.finish(Arc::new(blobs), Arc::clone(&store.core)))
    }

    /// As [`build`](Self::build), on a backend that stores values its own way. It knows no bytes: a value weighs one where the
    /// budget counts bytes and nothing else is said.
    pub fn build_strategy<B: Strategy<T>>(self, store: &Arc<BackingStore<B>>) -> Pool<T> {
        let tier = Arc::new(Strategic(Arc::clone(store.backing())));
        self.finish(tier, Arc::clone(&store.core))
    }

    fn finish(self, tier: Arc<dyn Tier<T>>, core: Arc<Core>) -> Pool<T> {
        let ahead = match self.budget.unit() {
            Unit::Items => 0,
            Unit::Bytes => self.budget.limit().checked_div(AHEAD_PART).unwrap_or(0).min(AHEAD_MAX),
        };
        let inner = Arc::new(Inner {
            tier,
            core,
            budget: self.budget,
            share: self.share,
            spill_ahead: self.spill_ahead.unwrap_or(ahead),
            pin_wait: self.pin_wait,
            write_on: self.write_on,
            weigh: self.weigh,
            queues: Mutex::new(Queues::new()),
            resident: AtomicU64::new(0),
            count: AtomicU64::new(0),
            counters: Counters::default(),
            helper: Helper::new(),
        });
        inner.join();
        Pool { inner }
    }
}

impl<T: Send + Sync + 'static> Default for PoolOptions<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// FNV-1a of the name; never zero, which says that there is none.
fn tag_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}
