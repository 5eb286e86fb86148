//! Folds: stores of the latest value of each key, with a cursor in the same commit. Each is measured in a process of its own.

#[cfg(feature = "fold-rivals")]
mod fjall;
#[cfg(feature = "fold-rivals")]
mod heed;
mod raw;
#[cfg(feature = "fold-rivals")]
mod redb;
#[cfg(feature = "fold-rivals")]
mod slipstream;
#[cfg(feature = "fold-rivals")]
mod sqlite;
mod untorn;

use std::path::Path;

use crate::Result;

#[cfg(feature = "fold-rivals")]
pub use self::fjall::Fjall;
#[cfg(feature = "fold-rivals")]
pub use self::heed::Heed;
pub use self::raw::Raw;
#[cfg(feature = "fold-rivals")]
pub use self::redb::Redb;
#[cfg(feature = "fold-rivals")]
pub use self::slipstream::{SlipstreamFjall, SlipstreamLog};
#[cfg(feature = "fold-rivals")]
pub use self::sqlite::Sqlite;
pub use self::untorn::Untorn;

/// A put.
#[derive(Debug)]
pub struct Op {
    pub key: String,
    pub value: Vec<u8>,
    pub version: u64,
}

/// Sees a key and its value.
pub type Each<'a> = dyn FnMut(&[u8], &[u8]) + 'a;

pub trait Fold: Sized {
    /// A batch in the words of the store, made outside of the time.
    type Batch;

    /// Opens the store in a directory, or makes it. With `synced` a commit survives power loss, else the end of the process at least, as
    /// far as the store can.
    fn open(dir: &Path, synced: bool) -> Result<Self>;

    fn batch(ops: Vec<Op>, cursor: u64) -> Self::Batch;

    /// Commits a batch with its cursor.
    fn apply(&mut self, batch: &Self::Batch) -> Result<()>;

    /// Whether its commits can be synced.
    fn syncs() -> bool {
        true
    }

    /// Whether it can be read.
    fn reads() -> bool {
        true
    }

    /// The value of a key as the caller's own.
    fn get(&self, _key: &str) -> Result<Option<Vec<u8>>> {
        Err("it is not read".into())
    }

    /// The same where it lies: its length, if it is there. `None` if the store has no such way.
    fn peek(&self, _key: &str) -> Result<Option<Option<usize>>> {
        Ok(None)
    }

    /// All entries whose keys begin so, in order.
    fn each(&self, _prefix: &str, _each: &mut Each<'_>) -> Result<()> {
        Err("it is not read".into())
    }

    /// Writes a copy to a path that does not exist. `false` if the store has no such way.
    fn export(&mut self, _dest: &Path) -> Result<bool> {
        Ok(false)
    }

    /// Makes a store in a new directory of what was exported, and opens it. `None` if the store has no such way.
    fn import(_from: &Path, _dir: &Path) -> Result<Option<Self>> {
        Ok(None)
    }

    /// Does all that is left to be done in the background. `false` if there is no such thing.
    fn settle(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

/// Version and value in one, for stores that have no place for a version.
#[cfg(feature = "fold-rivals")]
fn joined(op: &Op) -> Vec<u8> {
    [&op.version.to_be_bytes()[..], &op.value].concat()
}

/// The value in what [`joined`] made.
#[cfg(feature = "fold-rivals")]
fn value(joined: &[u8]) -> &[u8] {
    joined.get(8..).unwrap_or_default()
}
