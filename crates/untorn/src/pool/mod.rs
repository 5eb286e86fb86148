//! More objects than memory holds: spilled, loaded again, persisted as sets that change as one.

mod backend;
mod batch;
mod budget;
mod compress;
mod entry;
mod fb;
mod guard;
mod job;
mod keys;
mod options;
mod persist;
#[expect(clippy::module_inception, reason = "the pool of the pool")]
mod pool;
mod queues;
mod reclaim;
mod rejected;
mod runner;
mod sets;
mod stats;
mod store;
mod tier;
mod tracked;

#[cfg(feature = "tokio")]
pub(crate) use {
    budget::{Found, Room, Turn},
    entry::Look,
    fb::held,
    job::Job,
    pool::would_block,
    runner::{Runner, Tasks},
};
#[cfg(feature = "sim")]
pub mod conformance;
mod frame;
mod mem;
mod segment;
mod sets;
mod spill;

pub use backend::{BackingStoreT, BlobStore, Compacted, Known, Strategy, Usage};
pub use batch::{Batch, Meta, Object, codec_id};
pub use budget::{MemoryBudget, Unit};
pub use compress::Compression;
pub use fb::Fb;
pub use guard::{OwnedReadGuard, ReadGuard, WriteGuard};
pub use options::PoolOptions;
pub use pool::{FBPool, Pool, WriteOn};
pub use rejected::Rejected;
pub use mem::{MemPath, MemStore};
pub use spill::SpillReport;
pub use sets::{CheckpointId, ObjectInfo, Set, SetInfo, SetPath};
pub use stats::PoolStats;
pub use store::{BackingStore, StoreStats};
pub use tracked::{RegisteredTokens, TrackedPath};
