//! The default backend: scratch below a root directory, and directories that objects are persisted to.
//!
//! # Invariants
//! - D1 What is registered holds its path's object, once: taken with the entry in `registered`, given back after it is gone.
//! - D2 `registered` is never locked over I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use uuid::Uuid;

use super::backend::{BackingStoreT, BlobStore, Compacted, Known, Usage};
use super::batch::{Batch, FRAME_HEADER, Meta, Object};
use super::path::{Core, DirPath};
use super::segment::MAX_OBJECT;
use super::spill::{Limits, Spill, SpillReport};
use crate::fs::{Fs, OsFs};
use crate::{Error, ErrorKind, Result};

/// Bytes of objects that are copied to a path with one write.
const PIECE: usize = 1 << 20;

/// Options of a [`DirStore`].
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct DirOptions {
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
    /// What the spill may take on the disk, in bytes. Default `u64::MAX`: no limit.
    pub disk_limit: u64,
    /// The longest object, as it is stored. Default 1 GiB.
    pub max_object: u64,
    /// Objects that take more bytes than this, as they are stored, get a file of their own, which can be persisted by a second
    /// name instead of a copy. Default 256 KiB.
    pub segment_max: u64,
    /// What a segment grows to. Default 64 MiB; less below a small `disk_limit`.
    pub segment_bytes: u64,
}

impl DirOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            fs: Arc::new(OsFs::new()),
            disk_limit: u64::MAX,
            max_object: MAX_OBJECT,
            segment_max: 256 << 10,
            segment_bytes: 64 << 20,
        }
    }
}

impl Default for DirOptions {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl DirOptions {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })*
        }
    };
}

setters! {
    /// Sets the file system.
    fs: Arc<dyn Fs>,
    /// Sets what the spill may take on the disk.
    disk_limit: u64,
    /// Sets the longest object.
    max_object: u64,
    /// Sets from which length on an object gets a file of its own.
    segment_max: u64,
    /// Sets what a segment grows to.
    segment_bytes: u64,
}

/// Spills objects to scratch files below a root, and persists them to directories, [`DirPath`]s.
///
/// What is spilled is gone when the store is dropped, and after a crash when any store is next opened on the root. Any number of
/// stores, of any number of processes, may have one root: each has a directory of its own in `spill`.
///
/// # Durability
/// Spill copies have none and cost no sync. What is persisted survives power loss when `sync_persisted` has returned, see
/// [`DirPath`].
///
/// # Example
/// ```
/// use untorn::pool::{BackingStoreT, Batch, BlobStore, Compression, DirPath, DirStore, Meta};
/// # let dir = tempfile::tempdir()?;
/// # let key = uuid::Uuid::from_u128(1);
/// let store = DirStore::new(dir.path().join("scratch"))?;
/// let mut batch = Batch::new();
/// batch.push(key, Meta::new(0, 0, 5), Compression::None, |out| {
///     out.extend_from_slice(b"bytes");
///     Ok(())
/// })?;
/// store.put(&mut batch)?;
/// assert_eq!(store.get(key, &mut Vec::new())?.bytes, b"bytes");
///
/// let path = DirPath::new(dir.path().join("state"));
/// store.sanitize_path(&path)?;
/// store.persist(&path, key)?;
/// store.sync_persisted(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DirStore {
    spill: Spill,
    report: SpillReport,
    registered: Mutex<HashMap<Uuid, Arc<Core>>>,
    /// The paths that were taken into use, to compact them.
    paths: Mutex<Vec<Weak<Core>>>,
}

impl DirStore {
    /// Makes the root where it is missing, takes away what dead owners left in it, and begins a spill.
    ///
    /// # Cost
    /// One listing, and one of each dead owner's directory. No sync.
    ///
    /// # Errors
    /// `NotOurs` if the root is a file; `Unsupported` where the file system has no locks; `NoSpace`, `ReadOnly`, `Io`.
    pub fn new(root: impl AsRef<Path>) -> Result<Self> {
        Self::with(root, &DirOptions::new())
    }

    /// As [`new`](Self::new), with options.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(root: impl AsRef<Path>, options: &DirOptions) -> Result<Self> {
        let limits = Limits {
            disk: options.disk_limit,
            object: options.max_object,
            segment_max: options.segment_max,
            segment_bytes: options.segment_bytes,
        };
        let (spill, report) = Spill::open(&*options.fs, root.as_ref(), limits)?;
        Ok(Self { spill, report, registered: Mutex::default(), paths: Mutex::default() })
    }

    /// What opening it found of other owners.
    pub const fn spill_report(&self) -> &SpillReport {
        &self.report
    }

    fn registered(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Core>>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn home_of(&self, key: Uuid) -> Option<Arc<Core>> {
        self.registered().get(&key).cloned()
    }

    fn hold(&self, core: &Arc<Core>, key: Uuid) -> Result<()> {
        let mut registered = self.registered();
        if let Entry::Vacant(vacant) = registered.entry(key) {
            core.hold(key)?;
            vacant.insert(Arc::clone(core));
        }
        Ok(())
    }

    /// Reads an object into `buf`, as a segment does it. If the spill's copy is no good, the registered one may be.
    fn read(&self, key: Uuid, buf: &mut Vec<u8>) -> Result<(Meta, usize)> {
        let spilled = self.spill.get(key, buf).map(lengths);
        match spilled {
            Err(e) if is_no_good(&e) => match self.home_of(key).or_else(|| self.other(&e, key)) {
                Some(core) => core.get(key, buf).map(lengths),
                None => Err(e),
            },
            read => read,
        }
    }

    /// A path that has the key of a spill copy that is damaged: it was copied there, and not registered.
    fn other(&self, error: &Error, key: Uuid) -> Option<Arc<Core>> {
        if error.kind() != ErrorKind::Damaged {
            return None;
        }
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.iter().filter_map(Weak::upgrade).find(|core| core.contains(key))
    }

    fn read_nowait(&self, key: Uuid, buf: &mut Vec<u8>) -> Result<Option<(Meta, usize)>> {
        let spilled = self.spill.get_nowait(key, buf).map(|object| object.map(lengths));
        match spilled {
            Err(e) if is_no_good(&e) => match self.home_of(key).or_else(|| self.other(&e, key)) {
                Some(core) => {
                    let read = core.get_with(key, buf, |file, buf, at| file.read_nowait(buf, at));
                    Ok(read?.map(lengths))
                }
                None => Err(e),
            },
            read => read,
        }
    }

    /// Stages keys one by one, and what must be copied together; `staged` gets those that were not in the path before.
    fn stage(&self, core: &Core, keys: &[Uuid], staged: &mut Vec<Uuid>) -> Result<()> {
        let (mut batch, mut buf) = (Batch::new(), Vec::new());
        for key in keys {
            if !core.contains(*key) {
                staged.push(*key);
            }
            if core.stage(*key, false)? {
                continue;
            }
            if let Some(own) = self.spill.to_link(*key)? {
                core.link_own(*key, (own.dir, &own.name), &own.file, false)?;
                continue;
            }
            let (meta, len) = self.read(*key, &mut buf)?;
            batch.push_stored(*key, meta, object(&buf, meta, len).bytes);
            if batch.bytes_len() >= PIECE {
                core.write(&mut batch, false)?;
                batch.clear(PIECE.saturating_mul(2));
            }
        }
        core.write(&mut batch, false)
    }
}

impl Drop for DirStore {
    fn drop(&mut self) {
        let registered = std::mem::take(&mut *self.registered());
        for (key, core) in registered {
            core.release(key);
        }
    }
}

/// Whether another copy may do.
fn is_no_good(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged)
}

fn lengths(object: Object<'_>) -> (Meta, usize) {
    (object.meta, object.bytes.len())
}

/// The object that was read into `buf`, behind its header.
fn object(buf: &[u8], meta: Meta, len: usize) -> Object<'_> {
    let bytes = buf.get(FRAME_HEADER..FRAME_HEADER.saturating_add(len));
    Object::new(meta, bytes.unwrap_or_default())
}

impl BackingStoreT for DirStore {
    type PersistPath = DirPath;

    fn sanitize_path(&self, path: &DirPath) -> Result<Vec<Uuid>> {
        let core = path.open()?;
        let keys = core.keys();
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.retain(|known| known.upgrade().is_some_and(|known| !Arc::ptr_eq(&known, &core)));
        paths.push(Arc::downgrade(&core));
        Ok(keys)
    }

    fn contains(&self, path: &DirPath, key: Uuid) -> Option<bool> {
        path.core().ok().map(|core| core.contains(key))
    }

    fn is_loose(&self, path: &DirPath, key: Uuid) -> Option<bool> {
        path.core().ok().map(|core| core.is_loose(key))
    }

    fn all_keys(&self, path: &DirPath) -> Option<Vec<Uuid>> {
        path.core().ok().map(|core| core.keys())
    }

    fn delete_persisted(&self, path: &DirPath, key: Uuid) -> Result<()> {
        path.core()?.delete(key)
    }

    fn sync_persisted(&self, path: &DirPath) -> Result<()> {
        path.core()?.commit()
    }

    fn delete(&self, key: Uuid) -> Result<()> {
        let core = self.registered().remove(&key);
        if let Some(core) = core {
            core.release(key);
        }
        self.spill.delete(key)
    }

    fn persist(&self, dest: &DirPath, key: Uuid) -> Result<()> {
        self.persist_many(dest, &[key])
    }

    fn register(&self, src: &DirPath, key: Uuid) -> Result<()> {
        self.hold(&src.core()?, key)
    }

    fn register_many(&self, src: &DirPath, keys: &[Uuid]) -> Result<()> {
        let core = src.core()?;
        keys.iter().try_for_each(|key| self.hold(&core, *key))
    }
}

impl BlobStore for DirStore {
    fn put(&self, batch: &mut Batch) -> Result<()> {
        self.spill.put(batch)
    }

    fn put_persisted(&self, dest: &DirPath, batch: &mut Batch) -> Result<()> {
        let core = dest.core()?;
        core.write(batch, true)?;
        let mut registered = self.registered();
        // Each part was held once; one is enough for each key (D1).
        let mut twice = Vec::new();
        for part in &batch.parts {
            match registered.entry(part.key) {
                Entry::Vacant(vacant) => drop(vacant.insert(Arc::clone(&core))),
                Entry::Occupied(_) => twice.push(part.key),
            }
        }
        drop(registered);
        for key in twice {
            core.release(key);
        }
        Ok(())
    }

    fn persist_many(&self, dest: &DirPath, keys: &[Uuid]) -> Result<()> {
        let core = dest.core()?;
        let mut keys = keys.to_vec();
        // Read in the order in which they lie.
        keys.sort_by_cached_key(|key| self.spill.look(*key).map(|known| known.order));
        let mut staged = Vec::new();
        self.stage(&core, &keys, &mut staged).inspect_err(|_| {
            // Of a path that is poisoned nothing is staged any more.
            for key in &staged {
                drop(core.delete(*key));
            }
        })
    }

    fn get<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Object<'b>> {
        let (meta, len) = self.read(key, buf)?;
        Ok(object(buf, meta, len))
    }

    fn get_nowait<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Option<Object<'b>>> {
        let read = self.read_nowait(key, buf)?;
        Ok(read.map(|(meta, len)| object(buf, meta, len)))
    }

    fn look(&self, key: Uuid) -> Option<Known> {
        self.spill.look(key).or_else(|| self.home_of(key)?.look(key))
    }

    fn usage(&self) -> Usage {
        self.spill.usage()
    }

    fn compact(&self) -> Result<Compacted> {
        let mut all = self.spill.compact()?;
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for core in paths.iter().filter_map(Weak::upgrade).filter(|core| !core.is_poisoned()) {
            let one = match core.compact() {
                // The path was dropped; what is registered of it stays readable.
                Err(e) if e.kind() == ErrorKind::Closed => continue,
                one => one?,
            };
            all.segments = all.segments.saturating_add(one.segments);
            all.moved_bytes = all.moved_bytes.saturating_add(one.moved_bytes);
            all.freed_bytes = all.freed_bytes.saturating_add(one.freed_bytes);
        }
        Ok(all)
    }
}

#[cfg(feature = "sim")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{DirPathOptions, conformance};
    use crate::sim::SimFs;
    use std::cell::Cell;

    fn on(fs: &SimFs, limit: u64) -> impl FnMut() -> (DirStore, DirPath) + use<> {
        let (fs, next): (Arc<dyn Fs>, _) = (Arc::new(fs.clone()), Cell::new(0));
        move || {
            next.update(|next: u32| next.saturating_add(1));
            let options = DirOptions::new().fs(Arc::clone(&fs)).disk_limit(limit);
            let store = DirStore::with("/scratch", &options).unwrap();
            let options = DirPathOptions::new().fs(Arc::clone(&fs));
            (store, DirPath::with(format!("/state{}", next.get()), options))
        }
    }

    #[test]
    fn it_does_what_a_backend_does() {
        conformance::backend(on(&SimFs::new(1), u64::MAX)).unwrap();
        conformance::backend(on(&SimFs::new(1), 4 << 20)).unwrap();
        conformance::sets(on(&SimFs::new(1), u64::MAX)).unwrap();
    }

    #[test]
    fn it_does_so_on_a_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut nth = 0;
        conformance::backend(|| {
            nth += 1;
            let store = DirStore::new(dir.path().join("scratch")).unwrap();
            (store, DirPath::new(dir.path().join(nth.to_string())))
        })
        .unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("scratch/spill")).unwrap().count(), 0);
    }

    fn batch(objects: &[(u128, usize)]) -> Batch {
        let mut batch = Batch::new();
        for (key, len) in objects {
            batch.push_stored(Uuid::from_u128(*key), Meta::new(1, 2, 3), &vec![7; *len]);
        }
        batch
    }

    /// Registered twice, by whatever way, and deleted once: the path is free when it is dropped.
    #[test]
    fn an_object_is_held_once() {
        let fs = SimFs::new(1);
        let mut make = on(&fs, u64::MAX);
        let (store, path) = make();
        store.sanitize_path(&path).unwrap();
        for _ in 0..2 {
            store.put_persisted(&path, &mut batch(&[(1, 100), (1, 100), (2, 100)])).unwrap();
            store.register(&path, Uuid::from_u128(1)).unwrap();
        }
        store.sync_persisted(&path).unwrap();
        for key in [1, 2].map(Uuid::from_u128) {
            store.delete(key).unwrap();
        }
        // With the last hold an object goes that no set lists.
        store.put_persisted(&path, &mut batch(&[(3, 100), (3, 100)])).unwrap();
        store.delete_persisted(&path, Uuid::from_u128(3)).unwrap();
        store.delete(Uuid::from_u128(3)).unwrap();
        assert!(path.core().unwrap().look(Uuid::from_u128(3)).is_none());
        let again = DirPath::with(path.path(), DirPathOptions::new().fs(Arc::new(fs.clone())));
        assert_eq!(store.sanitize_path(&again).unwrap_err().kind(), ErrorKind::Locked);
        drop(path);
        let mut keys = store.sanitize_path(&again).unwrap();
        keys.sort_unstable();
        assert_eq!(keys, [1, 2].map(Uuid::from_u128));
        store.register_many(&again, &keys).unwrap();
        let path = DirPath::with(again.path(), DirPathOptions::new().fs(Arc::new(fs.clone())));
        drop(again);
        assert_eq!(store.get(keys[0], &mut Vec::new()).unwrap().bytes, [7; 100]);
        drop(store);
        let (store, _) = make();
        assert_eq!(store.sanitize_path(&path).unwrap().len(), 2);
    }

    #[test]
    fn an_own_file_is_linked_once_and_copied_after() {
        let fs = SimFs::new(1);
        let mut make = on(&fs, u64::MAX);
        let ((store, path), (_other, second)) = (make(), make());
        let key = Uuid::from_u128(1);
        store.put(&mut batch(&[(1, 300_000)])).unwrap();
        for path in [&path, &second] {
            store.sanitize_path(path).unwrap();
            store.persist(path, key).unwrap();
            store.sync_persisted(path).unwrap();
        }
        let inode = |at: &DirPath| {
            let dir = fs.open_dir(&at.path().join("obj/00")).unwrap();
            let stat = dir.stat(&crate::pool::segment::own_name(key)).unwrap();
            (stat.ino, stat.nlink)
        };
        let (first, second) = (inode(&path), inode(&second));
        assert_eq!((first.1, second.1), (2, 1));
        assert_ne!(first.0, second.0);
    }

    #[test]
    fn a_spill_copy_that_is_damaged_or_gone_is_read_from_the_path() {
        let fs = SimFs::new(1);
        let (store, path) = on(&fs, u64::MAX)();
        store.sanitize_path(&path).unwrap();
        let (small, large) = (Uuid::from_u128(1), Uuid::from_u128(2));
        store.put(&mut batch(&[(1, 100), (2, 300_000), (3, 100)])).unwrap();
        store.persist_many(&path, &[large]).unwrap();
        store.put_persisted(&path, &mut batch(&[(1, 100)])).unwrap();
        store.sync_persisted(&path).unwrap();
        store.register(&path, large).unwrap();
        let home = fs.open_dir(Path::new("/scratch/spill")).unwrap();
        let home = home.open_dir(&home.list().unwrap()[0]).unwrap();
        for name in home.list().unwrap() {
            let path = home.path().join(&name);
            if path.extension().is_some_and(|end| end == "seg") {
                fs.flip_bit(&path, 8 * (64 + 64 + 50)).unwrap();
            }
            if path.extension().is_some_and(|end| end == "obj") {
                home.unlink(&name).unwrap();
            }
        }
        let mut buf = Vec::new();
        assert_eq!(store.get(small, &mut buf).unwrap().bytes, [7; 100]);
        assert_eq!(store.get_nowait(small, &mut buf).unwrap().unwrap().bytes, [7; 100]);
        assert_eq!(store.get(large, &mut buf).unwrap().bytes, vec![7; 300_000]);
        // Without a copy elsewhere it is damage, and to delete it is no error.
        store.put(&mut batch(&[(4, 300_000)])).unwrap();
        let lost = Uuid::from_u128(4);
        home.unlink(&crate::pool::segment::own_name(lost)).unwrap();
        let error = store.get(lost, &mut buf).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        store.delete(lost).unwrap();
        assert!(store.look(lost).is_none());
    }
}
