//! Named sets of a path: what a checkpoint names, whole, and replaces as one.

use std::time::Duration;

use uuid::Uuid;

use super::batch::Meta;
use crate::Result;

/// A path that keeps, besides the loose set of what was just persisted, sets that have names.
///
/// An object stays while any set lists it. What is staged is in no set yet: [`sync_persisted`](super::BackingStoreT::sync_persisted)
/// commits it to the loose set, a checkpoint that names it commits it to its own set instead.
pub trait SetPath: Send + Sync + 'static {
    /// Makes `keys` the set `name`, in place of what it was, in one commit.
    ///
    /// # Durability
    /// **On `Ok`** the set survives power loss, with all its objects. **On `Err`** see [`Error::outcome`](crate::Error::outcome):
    /// `Unchanged`, the old set stands; `Unknown`, a sync failed, the path is poisoned, and the next open finds the old set or the new one.
    ///
    /// # Errors
    /// `NotFound` for a key that the path does not have; `InvalidInput` for a name that is empty or longer than 255 bytes, a
    /// key that comes twice, or `meta` above 1 MiB; `NoSpace`, `Poisoned`, `Io`.
    fn checkpoint(&self, name: &str, keys: &[Uuid], meta: &[u8]) -> Result<CheckpointId>;

    /// The set by that name, as it is committed.
    ///
    /// # Errors
    /// `Poisoned`.
    fn read_set(&self, name: &str) -> Result<Option<Set>>;

    /// Drops the set; that there is none is no error. Durable on `Ok`, as a checkpoint is.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    fn drop_set(&self, name: &str) -> Result<()>;

    /// All named sets, in the order of their names.
    fn sets(&self) -> Vec<SetInfo>;

    /// The objects of all sets, and those that are staged, with what is known of each; in no order.
    fn objects(&self) -> Vec<(Uuid, ObjectInfo)>;

    /// The keys that are committed, in any set; in no order.
    fn durable_keys(&self) -> Vec<Uuid>;
}

/// The number of a checkpoint: each one of a path is higher than those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number")]
pub struct CheckpointId(pub u64);

/// A named set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Set {
    /// Its keys, in the order in which the checkpoint named them.
    pub keys: Vec<Uuid>,
    /// What the checkpoint said of it.
    pub meta: Vec<u8>,
    /// The checkpoint.
    pub id: CheckpointId,
}

/// What is said of a named set without its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetInfo {
    /// Its name.
    pub name: String,
    /// How many objects it lists.
    pub objects: u64,
    /// Length of what the checkpoint said of it.
    pub meta_len: u64,
    /// The checkpoint.
    pub id: CheckpointId,
}

/// What is known of an object of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// What was said of it when it was put.
    pub meta: Meta,
    /// Its length as it is stored, in bytes.
    pub stored_len: u64,
    /// Checksum of its stored bytes, without a seed.
    pub crc: u32,
    /// When its key was made, since the Unix epoch, if the key says so (uuid v7).
    pub created: Option<Duration>,
    /// Whether it is committed.
    pub durable: bool,
    /// Whether the loose set lists it, with what is staged.
    pub loose: bool,
}
