//! More objects than memory holds: spilled, loaded again, persisted as sets that change as one.
//!
//! A [`Pool`] owns values of one type. Each has a handle, [`Fb`]; its value is in memory, on the disk, or both. What values take in
//! memory stays under a [`MemoryBudget`], shared by any pools: when it is full, values that were not used are written out, and
//! whoever brings a new one waits for that. Nothing is ever dropped to make room.
//!
//! What is spilled is scratch: it is gone with the process. What is [persisted](Fb::blocking_persist) to a path is state: once
//! [synced](BackingStore::blocking_sync), or named by a [checkpoint](TrackedPath::checkpoint), it survives power loss, changes as one, and is
//! [registered](Pool::blocking_register) again after a restart.
//!
//! ```
//! use std::sync::Arc;
//! use untorn::codec::Raw;
//! use untorn::pool::{BackingStore, DirPath, DirStore, Fb, MemoryBudget, Pool};
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let store = Arc::new(BackingStore::open(DirStore::new(dir.join("scratch"))?));
//! let options = Pool::options().budget(MemoryBudget::bytes(1 << 20));
//! let pool: Arc<Pool<Vec<u8>>> = Arc::new(options.build(&store, Raw)?);
//! let state = store.blocking_track_path(DirPath::new(dir.join("state")))?;
//!
//! let mut tiles = Vec::new();
//! for n in 0..100_u8 {
//!     tiles.push(pool.blocking_insert(vec![n; 64 << 10])?); // six times what memory may hold
//! }
//! assert_eq!(tiles[7].blocking_load()?[0], 7);
//! assert!(pool.budget().peak() <= 1 << 20);
//!
//! let all: Vec<&Fb<Vec<u8>>> = tiles.iter().collect();
//! Fb::blocking_checkpoint(&all, &state, "map", b"version 1")?; // the whole set, or the one before
//!
//! // After a restart, with new handles:
//! let again = pool.blocking_register_set(&state, "map")?;
//! assert_eq!(again[7].blocking_load()?[0], 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # On disk
//! docs/FORMAT.md: a path is a manifest (a [log](crate::log) of what is in which set), segments of small objects and a file for each
//! large one. The manifest is the truth; each object has its key, type and checksum before it.
//!
//! # Concurrency
//! Everything may be called from any thread. No lock is held over I/O, a codec or code of the user's. The `blocking_` calls need no
//! runtime; with one (feature `tokio`) the same calls are awaited, see `aio::pool`.
//!
//! # Limits
//! The budget counts what values weigh, by what they are encoded to or by your own measure; what the allocator adds is not counted.
//! A path has one owner, found by a lock; any number of processes may have their pools on one scratch directory.

mod backend;
mod batch;
mod budget;
mod compress;
#[cfg(feature = "sim")]
pub mod conformance;
pub mod convenience;
mod dir;
mod entry;
mod fb;
mod file_backed;
mod frame;
mod guard;
mod job;
mod keys;
mod mem;
mod options;
mod path;
mod persist;
#[expect(clippy::module_inception, reason = "the pool of the pool")]
mod pool;
mod queues;
mod reclaim;
mod rejected;
mod runner;
mod segment;
mod sets;
#[cfg(all(test, shuttle))]
mod shuttle_tests;
mod spill;
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

pub use backend::{BackingStoreT, BlobStore, Compacted, Known, Strategy, Usage};
pub use batch::{Batch, Meta, Object, codec_id};
pub use budget::{MemoryBudget, Unit};
pub use compress::Compression;
pub use dir::{DirOptions, DirStore};
pub use fb::Fb;
pub use file_backed::{
    ExportReport, FileBackedOptions, ImportReport, Suspicion, Verify, export_file_backed,
    import_file_backed,
};
pub use guard::{OwnedReadGuard, ReadGuard, WriteGuard};
pub use mem::{MemPath, MemStore};
pub use options::PoolOptions;
pub use path::{
    DirPath, DirPathOptions, GcReport, OpenReport, PathDamage, PathReport, PathStats, verify_path,
};
pub use pool::{FBPool, Pool, WriteOn};
pub use rejected::Rejected;
pub use sets::{CheckpointId, ObjectInfo, Set, SetInfo, SetPath};
pub use spill::{SpillReport, sweep_spill};
pub use stats::PoolStats;
pub use store::{BackingStore, StoreStats};
pub use tracked::{RegisteredTokens, TrackedPath};
