//! A backend in memory, for tests and for what need not survive the process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::batch::{Batch, Meta, Object};
use super::sets::{CheckpointId, ObjectInfo, Set, SetInfo, SetPath};
use super::{BackingStoreT, BlobStore, Compacted, Known, Usage};
use crate::codec::checksum::crc32;
use crate::{Error, ErrorKind, Result};

const NAME_MAX: usize = 255;
const META_MAX: usize = 1 << 20;

/// An object's bytes as they are stored.
#[derive(Debug)]
struct Blob {
    meta: Meta,
    bytes: Box<[u8]>,
}

/// A backend that keeps everything in memory: what is spilled to it saves none. For tests, and to try a pool out.
///
/// # Example
/// ```
/// use untorn::pool::{BackingStoreT, Batch, BlobStore, Compression, MemPath, MemStore, Meta};
/// # let key = uuid::Uuid::from_u128(1);
/// let (store, path) = (MemStore::new(), MemPath::new());
/// let mut batch = Batch::new();
/// batch.push(key, Meta::new(0, 0, 5), Compression::None, |out| {
///     out.extend_from_slice(b"bytes");
///     Ok(())
/// })?;
/// store.put(&mut batch)?;
/// store.persist(&path, key)?;
/// store.sync_persisted(&path)?;
/// store.delete(key)?;
///
/// store.register(&path, key)?;
/// assert_eq!(store.get(key, &mut Vec::new())?.bytes, b"bytes");
/// # Ok::<(), untorn::Error>(())
/// ```
#[derive(Debug)]
pub struct MemStore {
    limit: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    slots: HashMap<Uuid, Slot>,
    objects: u64,
    bytes: u64,
    next: u64,
}

#[derive(Debug)]
struct Slot {
    spilled: Option<Arc<Blob>>,
    registered: Option<Arc<Blob>>,
    order: u64,
}

impl Slot {
    fn blob(&self) -> Option<&Arc<Blob>> {
        self.spilled.as_ref().or(self.registered.as_ref())
    }
}

impl Default for MemStore {
    fn default() -> Self {
        Self::with_limit(u64::MAX)
    }
}

impl MemStore {
    /// Without objects and without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`new`](Self::new); spill copies may take so many bytes.
    pub fn with_limit(bytes: u64) -> Self {
        Self { limit: bytes, held: Mutex::default() }
    }

    fn with<R>(&self, does: impl FnOnce(&mut Held) -> R) -> R {
        does(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn blob(&self, key: Uuid) -> Result<Arc<Blob>> {
        let blob = self.with(|held| held.slots.get(&key).and_then(Slot::blob).cloned());
        blob.ok_or_else(|| unknown(key))
    }
}

impl Held {
    fn slot(&mut self, key: Uuid) -> &mut Slot {
        self.next = self.next.saturating_add(1);
        let order = self.next;
        self.slots.entry(key).or_insert(Slot { spilled: None, registered: None, order })
    }

    fn is_spilled(&self, key: Uuid) -> bool {
        self.slots.get(&key).is_some_and(|slot| slot.spilled.is_some())
    }
}

impl BackingStoreT for MemStore {
    type PersistPath = MemPath;

    fn sanitize_path(&self, path: &MemPath) -> Result<Vec<Uuid>> {
        Ok(path.with(|kept| kept.all_keys()))
    }

    fn contains(&self, path: &MemPath, key: Uuid) -> Option<bool> {
        Some(path.with(|kept| kept.has(key)))
    }

    fn is_loose(&self, path: &MemPath, key: Uuid) -> Option<bool> {
        Some(path.with(|kept| kept.loose(key)))
    }

    fn all_keys(&self, path: &MemPath) -> Option<Vec<Uuid>> {
        Some(path.with(|kept| kept.all_keys()))
    }

    fn delete_persisted(&self, path: &MemPath, key: Uuid) -> Result<()> {
        path.with(|kept| kept.remove(key));
        Ok(())
    }

    fn sync_persisted(&self, path: &MemPath) -> Result<()> {
        path.with(Kept::commit);
        Ok(())
    }

    fn delete(&self, key: Uuid) -> Result<()> {
        self.with(|held| {
            if let Some(blob) = held.slots.remove(&key).and_then(|slot| slot.spilled) {
                held.objects = held.objects.saturating_sub(1);
                held.bytes = held.bytes.saturating_sub(blob.bytes.len() as u64);
            }
        });
        Ok(())
    }

    fn persist(&self, dest: &MemPath, key: Uuid) -> Result<()> {
        self.persist_many(dest, &[key])
    }

    fn register(&self, src: &MemPath, key: Uuid) -> Result<()> {
        let blob = src.with(|kept| kept.has(key).then(|| kept.objects.get(&key).cloned()));
        let blob = blob.flatten().ok_or_else(|| unknown(key))?;
        self.with(|held| held.slot(key).registered.get_or_insert(blob).meta);
        Ok(())
    }
}

impl BlobStore for MemStore {
    fn put(&self, batch: &mut Batch) -> Result<()> {
        self.with(|held| {
            let new = batch.objects().filter(|(key, ..)| !held.is_spilled(*key));
            let more = new.map(|(.., bytes)| bytes.len() as u64).fold(0, u64::saturating_add);
            if held.bytes.saturating_add(more) > self.limit {
                let what = format!("{} of {} bytes are in use", held.bytes, self.limit);
                return Err(Error::of_caller(ErrorKind::OverBudget, "spill", what));
            }
            for (key, meta, bytes) in batch.objects() {
                let slot = held.slot(key);
                if slot.spilled.is_none() {
                    slot.spilled = Some(Arc::new(Blob { meta, bytes: bytes.into() }));
                    held.objects = held.objects.saturating_add(1);
                    held.bytes = held.bytes.saturating_add(bytes.len() as u64);
                }
            }
            Ok(())
        })
    }

    fn put_persisted(&self, dest: &MemPath, batch: &mut Batch) -> Result<()> {
        dest.with(|kept| {
            for (key, meta, bytes) in batch.objects() {
                kept.add(key, || Arc::new(Blob { meta, bytes: bytes.into() }));
            }
        });
        batch.objects().try_for_each(|(key, ..)| self.register(dest, key))
    }

    fn persist_many(&self, dest: &MemPath, keys: &[Uuid]) -> Result<()> {
        let find = |key: &Uuid| {
            let there = dest.with(|kept| kept.has(*key).then(|| kept.objects.get(key).cloned()));
            Ok((*key, there.flatten().map_or_else(|| self.blob(*key), Ok)?))
        };
        let blobs = keys.iter().map(find).collect::<Result<Vec<_>>>()?;
        dest.with(|kept| blobs.into_iter().for_each(|(key, blob)| kept.add(key, || blob)));
        Ok(())
    }

    fn get<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Object<'b>> {
        let blob = self.blob(key)?;
        buf.clear();
        buf.extend_from_slice(&blob.bytes);
        Ok(Object::new(blob.meta, buf))
    }

    fn get_nowait<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Option<Object<'b>>> {
        self.get(key, buf).map(Some)
    }

    fn look(&self, key: Uuid) -> Option<Known> {
        self.with(|held| {
            let slot = held.slots.get(&key)?;
            let blob = slot.blob()?;
            Some(Known::new(blob.meta, blob.bytes.len() as u64, slot.order))
        })
    }

    fn usage(&self) -> Usage {
        self.with(|held| Usage {
            objects: held.objects,
            live_bytes: held.bytes,
            disk_bytes: held.bytes,
            disk_limit: self.limit,
        })
    }

    fn compact(&self) -> Result<Compacted> {
        Ok(Compacted::default())
    }
}

/// What objects of a [`MemStore`] are persisted to: it outlives the store, not the process. Clones are the same path.
#[derive(Clone, Debug, Default)]
pub struct MemPath(Arc<Mutex<Kept>>);

/// A key is in the path as long as the loose set lists it, or a named one, or it is staged.
#[derive(Debug, Default)]
struct Kept {
    objects: HashMap<Uuid, Arc<Blob>>,
    loose: HashSet<Uuid>,
    added: HashSet<Uuid>,
    /// To go from the loose set.
    removed: HashSet<Uuid>,
    sets: BTreeMap<String, Set>,
    last: u64,
}

impl MemPath {
    /// Without objects.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<R>(&self, does: impl FnOnce(&mut Kept) -> R) -> R {
        does(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    fn named(&self, key: Uuid) -> bool {
        self.sets.values().any(|set| set.keys.contains(&key))
    }

    fn has(&self, key: Uuid) -> bool {
        let loose = self.loose.contains(&key) && !self.removed.contains(&key);
        loose || self.added.contains(&key) || self.named(key)
    }

    fn durable(&self, key: Uuid) -> bool {
        self.loose.contains(&key) || self.named(key)
    }

    /// Whether the loose set lists it, with what is staged.
    fn loose(&self, key: Uuid) -> bool {
        self.added.contains(&key) || (self.loose.contains(&key) && !self.removed.contains(&key))
    }

    fn all_keys(&self) -> Vec<Uuid> {
        self.objects.keys().copied().filter(|key| self.has(*key)).collect()
    }

    /// Stages it for the loose set.
    fn add(&mut self, key: Uuid, blob: impl FnOnce() -> Arc<Blob>) {
        self.objects.entry(key).or_insert_with(blob);
        self.removed.remove(&key);
        if !self.loose.contains(&key) {
            self.added.insert(key);
        }
    }

    fn remove(&mut self, key: Uuid) {
        self.added.remove(&key);
        if self.loose.contains(&key) {
            self.removed.insert(key);
        }
        self.sweep();
    }

    fn commit(&mut self) {
        self.loose.extend(self.added.drain());
        for key in self.removed.drain() {
            self.loose.remove(&key);
        }
        self.sweep();
    }

    /// Lets go of what nothing lists.
    fn sweep(&mut self) {
        let objects = std::mem::take(&mut self.objects);
        let listed = |key: &Uuid| self.durable(*key) || self.added.contains(key);
        self.objects = objects.into_iter().filter(|(key, _)| listed(key)).collect();
    }
}

impl SetPath for MemPath {
    fn checkpoint(&self, name: &str, keys: &[Uuid], meta: &[u8]) -> Result<CheckpointId> {
        let refuse =
            |what: &str| Err(Error::of_caller(ErrorKind::InvalidInput, "checkpoint", what));
        if name.is_empty() || name.len() > NAME_MAX {
            return refuse("a name has 1 to 255 bytes");
        }
        if meta.len() > META_MAX {
            return refuse("what is said of a set is 1 MiB long at most");
        }
        let mut seen = HashSet::new();
        if !keys.iter().all(|key| seen.insert(*key)) {
            return refuse("a key comes twice");
        }
        self.with(|kept| {
            if let Some(missing) = keys.iter().find(|key| !kept.has(**key)) {
                return Err(unknown(*missing));
            }
            for key in keys {
                kept.added.remove(key);
            }
            kept.last = kept.last.saturating_add(1);
            let id = CheckpointId(kept.last);
            let set = Set { keys: keys.to_vec(), meta: meta.to_vec(), id };
            kept.sets.insert(name.to_owned(), set);
            kept.sweep();
            Ok(id)
        })
    }

    fn read_set(&self, name: &str) -> Result<Option<Set>> {
        Ok(self.with(|kept| kept.sets.get(name).cloned()))
    }

    fn drop_set(&self, name: &str) -> Result<()> {
        self.with(|kept| {
            kept.sets.remove(name);
            kept.sweep();
        });
        Ok(())
    }

    fn sets(&self) -> Vec<SetInfo> {
        let info = |(name, set): (&String, &Set)| SetInfo {
            name: name.clone(),
            objects: set.keys.len() as u64,
            meta_len: set.meta.len() as u64,
            id: set.id,
        };
        self.with(|kept| kept.sets.iter().map(info).collect())
    }

    fn objects(&self) -> Vec<(Uuid, ObjectInfo)> {
        self.with(|kept| {
            let has = kept.objects.iter().filter(|(key, _)| kept.has(**key));
            let info = |(key, blob): (&Uuid, &Arc<Blob>)| {
                let (stored_len, crc) = (blob.bytes.len() as u64, crc32(&blob.bytes, 0));
                let (created, durable) = (created(*key), kept.durable(*key));
                let loose = kept.loose(*key);
                (*key, ObjectInfo { meta: blob.meta, stored_len, crc, created, durable, loose })
            };
            has.map(info).collect()
        })
    }

    fn durable_keys(&self) -> Vec<Uuid> {
        self.with(|kept| kept.objects.keys().copied().filter(|key| kept.durable(*key)).collect())
    }
}

/// When a key was made, if it is one that says so.
fn created(key: Uuid) -> Option<Duration> {
    let millis = u64::try_from(key.as_u128() >> 80).unwrap_or_default();
    (key.get_version_num() == 7).then(|| Duration::from_millis(millis))
}

#[cold]
fn unknown(key: Uuid) -> Error {
    Error::of_caller(ErrorKind::NotFound, "look up", format!("there is no object {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sim")]
    #[test]
    fn it_does_what_a_backend_does() {
        use crate::pool::conformance;
        conformance::backend(|| (MemStore::new(), MemPath::new())).unwrap();
        conformance::backend(|| (MemStore::with_limit(4 << 20), MemPath::new())).unwrap();
        conformance::sets(|| (MemStore::new(), MemPath::new())).unwrap();
    }

    #[test]
    fn a_key_of_version_7_says_when_it_was_made() {
        let key = Uuid::from_u128(0x0000_0000_03e8_7000_8000_0000_0000_0000);
        assert_eq!(created(key), Some(Duration::from_secs(1)));
        assert_eq!(created(Uuid::from_u128(5)), None);
    }
}
