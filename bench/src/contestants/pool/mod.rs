//! Pools: more objects than memory holds, each behind a handle. Each is measured in a process of its own.

#[cfg(feature = "pool-rivals")]
mod file_backed;
mod raw;
mod untorn;

use std::future::Future;
use std::path::Path;

use crate::Result;

#[cfg(feature = "pool-rivals")]
pub use self::file_backed::{FileBacked, FileBackedRedb};
pub use self::raw::Raw;
pub use self::untorn::Untorn;

/// What a pool may hold in memory: so many objects of so many bytes.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub objects: usize,
    pub object_len: usize,
}

impl Budget {
    pub fn bytes(self) -> usize {
        self.objects * self.object_len
    }
}

/// The runtime that a contestant has for what it does in the background.
pub type Runtime = tokio::runtime::Runtime;

/// A pool with its handles, by their numbers, and a path that they are persisted to.
pub trait Pool: Sized + Sync {
    fn open(dir: &Path, budget: Budget, runtime: &Runtime) -> Result<Self>;

    /// Inserts the object that comes next.
    fn insert(&mut self, object: Vec<u8>) -> Result<()>;

    /// Waits until nothing is under way.
    fn drained(&mut self, runtime: &Runtime) -> Result<()>;

    /// Loads an object, and looks at its first and last byte.
    fn load(&self, number: usize) -> Result<u64>;

    /// The same, awaited.
    fn load_awaited(&self, number: usize) -> impl Future<Output = Result<u64>> + Send;

    /// Whether loads can be awaited.
    fn awaits() -> bool {
        true
    }

    /// Persists all objects, and syncs.
    fn persist(&mut self, runtime: &Runtime) -> Result<()>;

    /// Changes every so manieth object.
    fn change(&mut self, every: usize) -> Result<()>;

    /// Drops all handles.
    fn clear(&mut self) -> Result<()>;

    /// In a new process: takes the path into use.
    fn track(dir: &Path, budget: Budget, runtime: &Runtime) -> Result<Self>;

    /// A handle on everything that the path has.
    fn register(&mut self) -> Result<usize>;

    /// The most that its budget had at once, and the budget, in bytes, if it tells.
    fn peak(&self) -> Option<(u64, u64)> {
        None
    }

    /// Loads so far that went to the disk, if it tells.
    fn misses(&self) -> Option<u64> {
        None
    }
}

fn ends(bytes: &[u8]) -> u64 {
    u64::from(bytes.first().copied().unwrap_or(0)) + u64::from(bytes.last().copied().unwrap_or(0))
}
