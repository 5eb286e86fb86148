//! A path that is in use, and tokens that keep its objects readable.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::backend::BackingStoreT;
use super::sets::{CheckpointId, ObjectInfo, Set, SetInfo, SetPath};
use super::store::Core;
use super::tier::other_store;
use crate::Result;
use crate::sync::{Mutex, lock};

/// A path that a [`BackingStore`](super::BackingStore) has taken into use.
pub struct TrackedPath<P: Send + Sync + 'static> {
    path: P,
    core: Arc<Core>,
    backing: Arc<dyn BackingStoreT<PersistPath = P>>,
    /// Where the backend keeps no account of what is staged.
    keys: Option<Mutex<HashSet<Uuid>>>,
}

impl<P: Send + Sync + 'static> TrackedPath<P> {
    pub(super) fn new(
        path: P,
        core: Arc<Core>,
        backing: Arc<dyn BackingStoreT<PersistPath = P>>,
        keys: Vec<Uuid>,
    ) -> Self {
        let known = backing.contains(&path, Uuid::nil()).is_some();
        let keys = (!known).then(|| Mutex::new(keys.into_iter().collect()));
        Self { path, core, backing, keys }
    }

    /// The path.
    pub const fn path(&self) -> &P {
        &self.path
    }

    /// All keys, with what is staged, in no order.
    pub fn all_keys(&self) -> Vec<Uuid> {
        match &self.keys {
            Some(keys) => lock(keys).iter().copied().collect(),
            None => self.backing.all_keys(&self.path).unwrap_or_default(),
        }
    }

    /// Whether it has the key, with what is staged.
    pub fn contains_key(&self, key: Uuid) -> bool {
        match &self.keys {
            Some(keys) => lock(keys).contains(&key),
            None => self.backing.contains(&self.path, key).unwrap_or(false),
        }
    }

    /// Whether there is nothing to be done to persist it: that a named set has it is not enough.
    pub(super) fn is_loose(&self, key: Uuid) -> bool {
        match &self.keys {
            Some(keys) => lock(keys).contains(&key),
            None => self.backing.is_loose(&self.path, key).unwrap_or(false),
        }
    }

    pub(super) fn check(&self, core: &Arc<Core>) -> Result<()> {
        if Arc::ptr_eq(&self.core, core) { Ok(()) } else { Err(other_store()) }
    }

    pub(super) fn note_persisted(&self, key: Uuid) {
        if let Some(keys) = &self.keys {
            lock(keys).insert(key);
        }
    }

    pub(super) fn note_deleted(&self, key: Uuid) {
        if let Some(keys) = &self.keys {
            lock(keys).remove(&key);
        }
    }

    /// For the tier, which knows the type.
    pub(super) fn any(&self) -> &dyn Any {
        &self.path
    }
}

impl<P: SetPath> TrackedPath<P> {
    /// Makes `keys` the set `name`, in one commit. See [`SetPath::checkpoint`].
    ///
    /// # Errors
    /// As [`SetPath::checkpoint`].
    pub fn checkpoint(&self, name: &str, keys: &[Uuid], meta: &[u8]) -> Result<CheckpointId> {
        self.path.checkpoint(name, keys, meta)
    }

    /// The set by that name.
    ///
    /// # Errors
    /// As [`SetPath::read_set`].
    pub fn read_set(&self, name: &str) -> Result<Option<Set>> {
        self.path.read_set(name)
    }

    /// Drops the set, durably.
    ///
    /// # Errors
    /// As [`SetPath::drop_set`].
    pub fn drop_set(&self, name: &str) -> Result<()> {
        self.path.drop_set(name)
    }

    /// All named sets.
    pub fn sets(&self) -> Vec<SetInfo> {
        self.path.sets()
    }

    /// All objects, with what is known of each, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, ObjectInfo)> + use<P> {
        self.path.objects().into_iter()
    }

    /// The keys that are committed, in any set, in no order.
    pub fn durable_keys(&self) -> Vec<Uuid> {
        self.path.durable_keys()
    }
}

impl<P: Send + Sync + 'static> std::fmt::Debug for TrackedPath<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrackedPath").finish_non_exhaustive()
    }
}

/// Keeps the bytes of objects of a path readable as long as it lives, also if they are deleted.
#[derive(Debug)]
pub struct RegisteredTokens {
    core: Arc<Core>,
    keys: Vec<Uuid>,
}

impl RegisteredTokens {
    /// Of keys that are not counted yet.
    pub(super) const fn of(core: Arc<Core>, keys: Vec<Uuid>) -> Self {
        Self { core, keys }
    }

    pub(super) fn count(&self) {
        self.keys.iter().for_each(|key| self.core.share(*key));
    }

    /// The keys.
    pub fn keys(&self) -> &[Uuid] {
        &self.keys
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Drop for RegisteredTokens {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.core.unshare(*key));
    }
}
