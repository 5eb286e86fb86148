//! A backend as existing programs have them: it stores values its own way. With faults, and doors that hold a call up.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex};

use untorn::pool::{BackingStore, BackingStoreT, Pool, Strategy};
use untorn::{Error, ErrorKind, Result};
use uuid::Uuid;

#[derive(Default)]
pub(crate) struct Shelf {
    values: Mutex<HashMap<Uuid, u64>>,
    /// What calls are to fail, and as what.
    pub(crate) refuse_stores: Mutex<Option<ErrorKind>>,
    pub(crate) refuse_loads: Mutex<Option<ErrorKind>>,
    pub(crate) stores: AtomicUsize,
    pub(crate) loads: AtomicUsize,
    pub(crate) deletes: AtomicUsize,
    pub(crate) door: Door,
}

/// Holds calls up while it is shut.
#[derive(Default)]
pub(crate) struct Door {
    shut: Mutex<(bool, usize)>,
    bell: Condvar,
}

impl Door {
    pub(crate) fn shut(&self) {
        self.shut.lock().unwrap().0 = true;
    }

    pub(crate) fn open(&self) {
        self.shut.lock().unwrap().0 = false;
        self.bell.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.shut.lock().unwrap();
        shut.1 += 1;
        self.bell.notify_all();
        while shut.0 {
            shut = self.bell.wait(shut).unwrap();
        }
        shut.1 -= 1;
    }

    /// Waits until so many stand before it.
    pub(crate) fn wait_for(&self, count: usize) {
        let mut shut = self.shut.lock().unwrap();
        while shut.1 < count {
            shut = self.bell.wait(shut).unwrap();
        }
    }
}

impl Shelf {
    pub(crate) fn len(&self) -> usize {
        self.values.lock().unwrap().len()
    }
}

fn refused(switch: &Mutex<Option<ErrorKind>>, call: &'static str) -> Result<()> {
    switch.lock().unwrap().map_or(Ok(()), |kind| Err(Error::of_caller(kind, call, "refused")))
}

/// A path of the shelf: what is on it, and what is staged.
#[derive(Default)]
pub(crate) struct ShelfPath {
    values: Mutex<HashMap<Uuid, u64>>,
    durable: Mutex<HashSet<Uuid>>,
}

impl BackingStoreT for Shelf {
    type PersistPath = ShelfPath;

    fn sanitize_path(&self, path: &ShelfPath) -> Result<Vec<Uuid>> {
        Ok(path.values.lock().unwrap().keys().copied().collect())
    }

    fn delete_persisted(&self, path: &ShelfPath, key: Uuid) -> Result<()> {
        path.values.lock().unwrap().remove(&key);
        Ok(())
    }

    fn sync_persisted(&self, path: &ShelfPath) -> Result<()> {
        let keys = path.values.lock().unwrap().keys().copied().collect();
        *path.durable.lock().unwrap() = keys;
        Ok(())
    }

    fn delete(&self, key: Uuid) -> Result<()> {
        self.deletes.fetch_add(1, SeqCst);
        self.values.lock().unwrap().remove(&key);
        Ok(())
    }

    fn persist(&self, dest: &ShelfPath, key: Uuid) -> Result<()> {
        let value = self.values.lock().unwrap().get(&key).copied();
        let value = value.ok_or_else(|| not_found("persist"))?;
        dest.values.lock().unwrap().insert(key, value);
        Ok(())
    }

    fn register(&self, src: &ShelfPath, key: Uuid) -> Result<()> {
        let value = src.values.lock().unwrap().get(&key).copied();
        let value = value.ok_or_else(|| not_found("register"))?;
        self.values.lock().unwrap().insert(key, value);
        Ok(())
    }
}

fn not_found(call: &'static str) -> Error {
    Error::of_caller(ErrorKind::NotFound, call, "no such key")
}

/// Values that know their number, so that any type can be stored.
pub(crate) trait Numbered: Send + Sync + 'static {
    fn number(&self) -> u64;
    fn of(number: u64) -> Self;
}

impl Numbered for u64 {
    fn number(&self) -> u64 {
        *self
    }

    fn of(number: u64) -> Self {
        number
    }
}

impl<T: Numbered> Strategy<T> for Shelf {
    fn store(&self, key: Uuid, value: &T) -> Result<()> {
        self.stores.fetch_add(1, SeqCst);
        self.door.pass();
        refused(&self.refuse_stores, "store")?;
        let number = value.number();
        self.values.lock().unwrap().insert(key, number);
        Ok(())
    }

    fn load(&self, key: Uuid) -> Result<T> {
        self.loads.fetch_add(1, SeqCst);
        self.door.pass();
        refused(&self.refuse_loads, "load")?;
        let value = self.values.lock().unwrap().get(&key).copied();
        value.map(T::of).ok_or_else(|| not_found("load"))
    }
}

pub(crate) type Store = Arc<BackingStore<Arc<Shelf>>>;

/// A pool of so many values in memory, on a shelf, without a runtime.
pub(crate) fn pool<T: Numbered>(limit: usize) -> (Arc<Shelf>, Store, Arc<Pool<T>>) {
    let shelf = Arc::new(Shelf::default());
    let store = Arc::new(BackingStore::open(Arc::clone(&shelf)));
    let pool = Arc::new(Pool::new(Arc::clone(&store), limit));
    (shelf, store, pool)
}
