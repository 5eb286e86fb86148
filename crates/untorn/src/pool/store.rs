//! A backend with what its pools share: the account of keys, the jobs, the errors that nobody was there to take.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use uuid::Uuid;

use super::backend::{BackingStoreT, BlobStore, Compacted, Usage};
use super::keys::Keys;
use super::runner::Runner;
use super::sets::SetPath;
use super::tracked::{RegisteredTokens, TrackedPath};
use crate::fs::{Fs, OsFs};
use crate::sync::{Mutex, RwLock, lock, read, write};
use crate::{Error, Result};

/// A backend and the jobs on it. Pools are built on it; paths are tracked by it.
///
/// # Concurrency
/// Shared as an `Arc` by any number of pools and threads. Without a runtime ([`open`](Self::open)) everything runs on the caller's
/// thread; with one (`new`, feature `tokio`) spilling goes on in the background, and the async calls are there.
pub struct BackingStore<B: BackingStoreT> {
    backing: Arc<B>,
    pub(crate) core: Arc<Core>,
}

/// What does not know the backend's type.
pub(crate) struct Core {
    backing: Arc<dyn Forget>,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) runner: Arc<Runner>,
    keys: Keys,
    /// How many entries and tokens there are of keys that paths have. Others are of one entry.
    shared: Mutex<HashMap<Uuid, u32>>,
    /// Held for reading from counting a key until it is registered, for writing while the last one's goes: else a key that comes
    /// while it goes would be forgotten after it was registered.
    gate: RwLock<()>,
    failures: Mutex<Failures>,
    failed: AtomicU64,
}

/// The one thing that is asked of a backend where its type is not known.
trait Forget: Send + Sync {
    fn forget(&self, key: Uuid) -> Result<()>;
}

impl<B: BackingStoreT> Forget for B {
    fn forget(&self, key: Uuid) -> Result<()> {
        self.delete(key)
    }
}

#[derive(Default)]
struct Failures {
    first: Option<(Option<Uuid>, Error)>,
    count: u64,
}

/// What a store holds, and how its jobs went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// What the backend holds of spilled objects.
    pub usage: Usage,
    /// Keys of paths that are in use.
    pub registered: u64,
    /// Jobs that failed since the store was opened.
    pub failed_jobs: u64,
}

impl<B: BackingStoreT> BackingStore<B> {
    /// A store without a runtime: everything runs on the threads that call.
    pub fn open(backing: B) -> Self {
        Self::open_on(backing, Arc::new(OsFs::new()))
    }

    /// As [`open`](Self::open), with clock and entropy of a file system: the simulated one replays.
    pub fn open_on(backing: B, fs: Arc<dyn Fs>) -> Self {
        Self::build(backing, fs, Runner::none())
    }

    pub(crate) fn build(backing: B, fs: Arc<dyn Fs>, runner: Arc<Runner>) -> Self {
        let backing = Arc::new(backing);
        let core = Arc::new(Core {
            backing: Arc::clone(&backing) as Arc<dyn Forget>,
            keys: Keys::new(&*fs),
            fs,
            runner,
            shared: Mutex::default(),
            gate: RwLock::new(()),
            failures: Mutex::default(),
            failed: AtomicU64::new(0),
        });
        Self { backing, core }
    }

    /// The backend.
    pub fn backing(&self) -> &Arc<B> {
        &self.backing
    }

    /// Takes a path into use.
    ///
    /// # Errors
    /// As [`BackingStoreT::sanitize_path`].
    pub fn blocking_track_path(&self, path: B::PersistPath) -> Result<TrackedPath<B::PersistPath>> {
        let keys = self.backing.sanitize_path(&path)?;
        let backing = Arc::clone(&self.backing) as Arc<dyn BackingStoreT<PersistPath = _>>;
        Ok(TrackedPath::new(path, Arc::clone(&self.core), backing, keys))
    }

    /// Commits what was staged for a path: all of it as one.
    ///
    /// # Durability
    /// **On `Ok`** all that was persisted and deleted before survives power loss. **On `Err`** see
    /// [`Error::outcome`]: `Unchanged`, nothing of it is committed, and it stays staged; `Unknown`, a sync failed, and the path is
    /// poisoned until it is tracked anew.
    ///
    /// # Cost
    /// One sync for each segment and each own file that was written, one for each directory with new names, one for the manifest.
    ///
    /// # Errors
    /// `NoSpace`, `Poisoned`, `Precondition` for a path of another store; the backend's.
    pub fn blocking_sync(&self, path: &TrackedPath<B::PersistPath>) -> Result<()> {
        path.check(&self.core)?;
        self.backing.sync_persisted(path.path())
    }

    /// Stages the removal of a key from a path's loose set. Its bytes stay until the last handle on them is gone.
    ///
    /// # Errors
    /// `Precondition` for a path of another store; `Poisoned`; the backend's.
    pub fn blocking_delete_persisted(
        &self,
        path: &TrackedPath<B::PersistPath>,
        key: Uuid,
    ) -> Result<()> {
        path.check(&self.core)?;
        self.backing.delete_persisted(path.path(), key)?;
        path.note_deleted(key);
        Ok(())
    }

    /// Makes all keys of a path readable, for as long as the tokens live.
    ///
    /// # Errors
    /// Those of [`BackingStoreT::register_many`]; then none is.
    pub fn blocking_register_all(
        &self,
        path: &TrackedPath<B::PersistPath>,
    ) -> Result<RegisteredTokens> {
        path.check(&self.core)?;
        self.register_many(path, path.all_keys())
    }

    /// Waits until no job is queued or runs, and returns the first error of a job since this was asked last. The store stays usable.
    ///
    /// # Errors
    /// That of a job; it says how many failed.
    pub fn blocking_finished(&self) -> Result<()> {
        self.core.runner.wait_idle();
        self.core.take_failure()
    }

    /// What it holds, and how its jobs went.
    pub fn stats(&self) -> StoreStats
    where
        B: BlobStore,
    {
        StoreStats {
            usage: self.backing.usage(),
            registered: lock(&self.core.shared).len() as u64,
            failed_jobs: self.core.failed.load(Relaxed),
        }
    }

    /// Gives the space of objects that are gone back to the disk.
    ///
    /// # Errors
    /// The backend's; everything stays readable.
    pub fn compact(&self) -> Result<Compacted>
    where
        B: BlobStore,
    {
        self.backing.compact()
    }

    /// The set by that name, and its objects made readable, for as long as the tokens live.
    ///
    /// # Errors
    /// Those of [`SetPath::read_set`] and [`BackingStoreT::register_many`].
    pub fn blocking_register_set(
        &self,
        path: &TrackedPath<B::PersistPath>,
        name: &str,
    ) -> Result<Option<(super::Set, RegisteredTokens)>>
    where
        B::PersistPath: SetPath,
    {
        path.check(&self.core)?;
        let Some(set) = path.read_set(name)? else { return Ok(None) };
        let tokens = self.register_many(path, set.keys.clone())?;
        Ok(Some((set, tokens)))
    }

    fn register_many(
        &self,
        path: &TrackedPath<B::PersistPath>,
        keys: Vec<Uuid>,
    ) -> Result<RegisteredTokens> {
        let tokens = RegisteredTokens::of(Arc::clone(&self.core), keys);
        let _coming = read(&self.core.gate);
        tokens.count();
        self.backing.register_many(path.path(), tokens.keys())?;
        Ok(tokens)
    }
}

impl Core {
    pub(crate) fn draw_key(&self) -> Uuid {
        self.keys.draw(&*self.fs)
    }

    /// One more has to do with a key that a path has.
    pub(crate) fn share(&self, key: Uuid) {
        let mut shared = lock(&self.shared);
        let count = shared.entry(key).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Counts a key and has it registered; a failed one is not counted.
    pub(crate) fn share_registered<R>(
        &self,
        key: Uuid,
        register: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let registered = {
            let _coming = read(&self.gate);
            self.share(key);
            register()
        };
        if registered.is_err() {
            self.unshare(key);
        }
        registered
    }

    /// One less; the last one has the backend forget it.
    pub(crate) fn unshare(&self, key: Uuid) {
        let drop_one = |last_too: bool| {
            let mut shared = lock(&self.shared);
            let Some(count) = shared.get_mut(&key) else { return true };
            if *count > 1 {
                *count = count.saturating_sub(1);
                return true;
            }
            last_too && shared.remove(&key).is_none()
        };
        if drop_one(false) {
            return;
        }
        let _going = write(&self.gate);
        if !drop_one(true) {
            self.forget(key);
        }
    }

    pub(crate) fn forget(&self, key: Uuid) {
        if let Err(error) = self.backing.forget(key) {
            self.note(Some(key), &Arc::new(error));
        }
    }

    /// Keeps an error for who asks whether all went well.
    pub(crate) fn note(&self, key: Option<Uuid>, error: &Arc<Error>) {
        self.failed.fetch_add(1, Relaxed);
        let mut failures = lock(&self.failures);
        failures.count = failures.count.saturating_add(1);
        failures.first.get_or_insert_with(|| (key, Error::share(error)));
    }

    pub(crate) fn take_failure(&self) -> Result<()> {
        let Failures { first, count } = std::mem::take(&mut *lock(&self.failures));
        let Some((key, error)) = first else { return Ok(()) };
        let of = key.map_or_else(String::new, |key| format!(" of object {key}"));
        let what = format!("{count} jobs failed; the first{of}: {error}");
        Err(Error::of_caller(error.kind(), "finish", what).with_outcome(error.outcome()))
    }
}

impl<B: BackingStoreT> std::fmt::Debug for BackingStore<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackingStore").field("runner", &self.core.runner).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("runner", &self.runner).finish_non_exhaustive()
    }
}
