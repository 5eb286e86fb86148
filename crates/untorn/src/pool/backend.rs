//! What a pool asks of the place that its objects are spilled and persisted to: three traits, none of which knows a runtime.

use uuid::Uuid;

use super::batch::{Batch, Meta, Object};
use crate::Result;

/// Where objects are spilled, and the paths that they are persisted to. All calls may block; all come from threads that may.
///
/// A key stands for one value that never changes: an object that is changed gets a new key. A backend holds, by key, a *spill copy*
/// (scratch, gone with the process), and what is *registered* from a path. To [`delete`](Self::delete) a key forgets both; what a
/// path has stays.
///
/// Implement [`Strategy`] beside it for a backend that stores values its own way, or [`BlobStore`] for one that moves bytes: that
/// one gets frames, checksums, codecs and compression. `pool::conformance` tests either.
pub trait BackingStoreT: Send + Sync + 'static {
    /// A place that objects are persisted to.
    type PersistPath: Send + Sync + 'static;

    /// Takes the path into use, and lists the keys that are in it. Deletes nothing that may be anybody's.
    ///
    /// # Errors
    /// `Locked` if another owner has it; `NotOurs`, `NewerFormat`, `Damaged`; the backend's.
    fn sanitize_path(&self, path: &Self::PersistPath) -> Result<Vec<Uuid>>;

    /// Whether the path has a key, staged changes included; `None` if the backend keeps no account, then [`TrackedPath`](super::TrackedPath)
    /// does from what goes through it.
    fn contains(&self, path: &Self::PersistPath, key: Uuid) -> Option<bool> {
        let _ = (path, key);
        None
    }

    /// Whether the path's loose set has a key, staged changes included: of such a key nothing is to be done to persist it. `None` as
    /// [`contains`](Self::contains).
    fn is_loose(&self, path: &Self::PersistPath, key: Uuid) -> Option<bool> {
        self.contains(path, key)
    }

    /// All keys of the path, staged changes included, in no order; `None` as [`contains`](Self::contains).
    fn all_keys(&self, path: &Self::PersistPath) -> Option<Vec<Uuid>> {
        let _ = path;
        None
    }

    /// Stages the removal of a key from the path's loose set. A key that is not there is no error.
    ///
    /// # Errors
    /// The backend's; then the key stays.
    fn delete_persisted(&self, path: &Self::PersistPath, key: Uuid) -> Result<()>;

    /// Commits everything that was staged for the path: all of it, or nothing.
    ///
    /// # Errors
    /// `Unchanged`: nothing was committed, and it stays staged. `Unknown`: a sync failed, and the path is `Poisoned`.
    fn sync_persisted(&self, path: &Self::PersistPath) -> Result<()>;

    /// Forgets the spill copy and the registration of a key, and gives their space back. A key that is not known is no error.
    ///
    /// # Errors
    /// The backend's; the key is forgotten all the same.
    fn delete(&self, key: Uuid) -> Result<()>;

    /// Copies what is known by the key, spilled or registered, to the path, and stages it for the loose set. A key that the
    /// path has already is no error.
    ///
    /// # Errors
    /// `NotFound` if the key is not known; `Damaged`, `NoSpace`, the backend's; then nothing is staged.
    fn persist(&self, dest: &Self::PersistPath, key: Uuid) -> Result<()>;

    /// Makes a key of the path known, so that it can be loaded. A key that is known already is no error.
    ///
    /// # Errors
    /// `NotFound` if the path does not have it; the backend's.
    fn register(&self, src: &Self::PersistPath, key: Uuid) -> Result<()>;

    /// As [`register`](Self::register), many at once; after an error some may be registered.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    fn register_many(&self, src: &Self::PersistPath, keys: &[Uuid]) -> Result<()> {
        keys.iter().try_for_each(|key| self.register(src, *key))
    }
}

/// A backend that stores values its own way.
pub trait Strategy<T>: BackingStoreT {
    /// Writes a spill copy.
    ///
    /// # Errors
    /// The backend's; then there is none.
    fn store(&self, key: Uuid, value: &T) -> Result<()>;

    /// Reads what is known by the key.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `Codec`; the backend's. Nothing is changed by it.
    fn load(&self, key: Uuid) -> Result<T>;
}

/// A backend that moves bytes, and keeps for each object what [`Meta`] says.
pub trait BlobStore: BackingStoreT {
    /// Writes spill copies of all objects of the batch, or of none.
    ///
    /// # Errors
    /// `NoSpace`, `OverBudget` at the disk limit, `TooLarge`, the backend's; then nothing is known by their keys that was not before.
    fn put(&self, batch: &mut Batch) -> Result<()>;

    /// Writes all objects of the batch to the path, stages them for the loose set, and registers them; or none. A key that the
    /// path has already is registered only.
    ///
    /// # Errors
    /// As [`put`](Self::put), and `Poisoned`.
    fn put_persisted(&self, dest: &Self::PersistPath, batch: &mut Batch) -> Result<()>;

    /// As [`persist`](BackingStoreT::persist), many at once: all of them are staged, or none.
    ///
    /// # Errors
    /// As [`persist`](BackingStoreT::persist).
    fn persist_many(&self, dest: &Self::PersistPath, keys: &[Uuid]) -> Result<()>;

    /// Reads and verifies an object. The spill copy, or else what is registered, or that where the spill copy is damaged. `buf`
    /// is working memory that can be used again.
    ///
    /// # Errors
    /// `NotFound`, `Damaged` with file and offset, `TooLarge`; the backend's.
    fn get<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Object<'b>>;

    /// As [`get`](Self::get) if that need not wait for the disk, else `None`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_nowait<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Option<Object<'b>>>;

    /// What is known of an object without reading it; `None` if nothing is known by the key.
    fn look(&self, key: Uuid) -> Option<Known>;

    /// How much it holds.
    fn usage(&self) -> Usage;

    /// Gives the space of forgotten objects back, in spill and paths.
    ///
    /// # Errors
    /// The backend's; objects stay readable all the same.
    fn compact(&self) -> Result<Compacted>;
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// What was said of it when it was put.
    pub meta: Meta,
    /// Its length as it is stored, in bytes.
    pub stored_len: u64,
    /// Objects are read fastest in the order of this.
    pub order: u64,
}

impl Known {
    /// For a backend to say what it knows.
    pub const fn new(meta: Meta, stored_len: u64, order: u64) -> Self {
        Self { meta, stored_len, order }
    }
}

/// How much a backend holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Objects with a spill copy.
    pub objects: u64,
    /// Bytes of their frames.
    pub live_bytes: u64,
    /// Bytes that the spill takes on the disk.
    pub disk_bytes: u64,
    /// What it may take; `u64::MAX` for no limit.
    pub disk_limit: u64,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Segments that were given up.
    pub segments: u64,
    /// Bytes of objects that were moved.
    pub moved_bytes: u64,
    /// Bytes that the disk got back.
    pub freed_bytes: u64,
}

impl<B: BackingStoreT> BackingStoreT for std::sync::Arc<B> {
    type PersistPath = B::PersistPath;

    fn sanitize_path(&self, path: &Self::PersistPath) -> Result<Vec<Uuid>> {
        (**self).sanitize_path(path)
    }

    fn contains(&self, path: &Self::PersistPath, key: Uuid) -> Option<bool> {
        (**self).contains(path, key)
    }

    fn is_loose(&self, path: &Self::PersistPath, key: Uuid) -> Option<bool> {
        (**self).is_loose(path, key)
    }

    fn all_keys(&self, path: &Self::PersistPath) -> Option<Vec<Uuid>> {
        (**self).all_keys(path)
    }

    fn delete_persisted(&self, path: &Self::PersistPath, key: Uuid) -> Result<()> {
        (**self).delete_persisted(path, key)
    }

    fn sync_persisted(&self, path: &Self::PersistPath) -> Result<()> {
        (**self).sync_persisted(path)
    }

    fn delete(&self, key: Uuid) -> Result<()> {
        (**self).delete(key)
    }

    fn persist(&self, dest: &Self::PersistPath, key: Uuid) -> Result<()> {
        (**self).persist(dest, key)
    }

    fn register(&self, src: &Self::PersistPath, key: Uuid) -> Result<()> {
        (**self).register(src, key)
    }

    fn register_many(&self, src: &Self::PersistPath, keys: &[Uuid]) -> Result<()> {
        (**self).register_many(src, keys)
    }
}

impl<T, B: Strategy<T>> Strategy<T> for std::sync::Arc<B> {
    fn store(&self, key: Uuid, value: &T) -> Result<()> {
        (**self).store(key, value)
    }

    fn load(&self, key: Uuid) -> Result<T> {
        (**self).load(key)
    }
}

impl<B: BlobStore> BlobStore for std::sync::Arc<B> {
    fn put(&self, batch: &mut Batch) -> Result<()> {
        (**self).put(batch)
    }

    fn put_persisted(&self, dest: &Self::PersistPath, batch: &mut Batch) -> Result<()> {
        (**self).put_persisted(dest, batch)
    }

    fn persist_many(&self, dest: &Self::PersistPath, keys: &[Uuid]) -> Result<()> {
        (**self).persist_many(dest, keys)
    }

    fn get<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Object<'b>> {
        (**self).get(key, buf)
    }

    fn get_nowait<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Option<Object<'b>>> {
        (**self).get_nowait(key, buf)
    }

    fn look(&self, key: Uuid) -> Option<Known> {
        (**self).look(key)
    }

    fn usage(&self) -> Usage {
        (**self).usage()
    }

    fn compact(&self) -> Result<Compacted> {
        (**self).compact()
    }
}
