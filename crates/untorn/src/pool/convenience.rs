//! Saves as existing programs make them: the objects to a path, then a key to them somewhere else, then the old objects away.
//!
//! Where the key is a name in the same path, a [checkpoint](super::TrackedPath::checkpoint) does all of it in one commit.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::backend::BackingStoreT;
use super::fb::Fb;
use super::store::BackingStore;
use super::tracked::TrackedPath;
use crate::{Error, ErrorKind, Result};

/// Takes the objects that a save keeps.
#[derive(Debug)]
pub struct Persister<'a, P: Send + Sync + 'static> {
    path: &'a TrackedPath<P>,
    kept: HashSet<Uuid>,
}

impl<P: Send + Sync + 'static> Persister<'_, P> {
    /// Stages an object, and has the save keep it.
    ///
    /// # Errors
    /// As [`Fb::blocking_persist`].
    pub fn persist<T: Send + Sync + 'static>(&mut self, handle: &Fb<T>) -> Result<()> {
        self.persist_many(&[handle])
    }

    /// As [`persist`](Self::persist), many in few writes.
    ///
    /// # Errors
    /// As [`Fb::blocking_persist_many`].
    pub fn persist_many<T: Send + Sync + 'static>(&mut self, handles: &[&Fb<T>]) -> Result<()> {
        Fb::blocking_persist_many(handles, self.path)?;
        self.kept.extend(handles.iter().map(|handle| handle.key()));
        Ok(())
    }
}

/// Saves objects of one type: persists them, commits, has `change_key` put the key to them in its place, and then removes the objects
/// of the path's loose set that are not among them.
///
/// # Durability
/// **On `Ok`** all of it survives power loss. **On `Err`** of `change_key`, and if the process dies or power fails before it, what was
/// saved before is there whole; nothing is deleted until `change_key` has returned.
///
/// # Cost
/// Two commits, see [`BackingStore::blocking_sync`]. Objects go in writes of about 1 MiB, so that `max_simultaneous_tasks` limits nothing.
///
/// # Errors
/// `Precondition` for no tasks at all; those of [`Fb::blocking_persist`] and [`BackingStore::blocking_sync`]; and that of `change_key`.
pub fn blocking_save<T, B, R, E>(
    store: &BackingStore<B>,
    handles: impl IntoIterator<Item = Arc<Fb<T>>>,
    path: &TrackedPath<B::PersistPath>,
    max_simultaneous_tasks: usize,
    change_key: impl FnOnce() -> Result<R, E>,
) -> Result<R, E>
where
    T: Send + Sync + 'static,
    B: BackingStoreT,
    E: From<Error>,
{
    let handles: Vec<Arc<Fb<T>>> = handles.into_iter().collect();
    let persist = |persister: &mut Persister<'_, B::PersistPath>| {
        let handles: Vec<&Fb<T>> = handles.iter().map(|handle| &**handle).collect();
        persister.persist_many(&handles).map_err(E::from)
    };
    blocking_save_with(store, persist, path, max_simultaneous_tasks, change_key)
}

/// As [`blocking_save`], of objects of any types, which `persist` names.
///
/// # Errors
/// As [`blocking_save`].
pub fn blocking_save_with<B, R, E>(
    store: &BackingStore<B>,
    persist: impl FnOnce(&mut Persister<'_, B::PersistPath>) -> Result<(), E>,
    path: &TrackedPath<B::PersistPath>,
    max_simultaneous_tasks: usize,
    change_key: impl FnOnce() -> Result<R, E>,
) -> Result<R, E>
where
    B: BackingStoreT,
    E: From<Error>,
{
    let mut old = path.all_keys();
    let kept = prepare_save(persist, path, max_simultaneous_tasks)?;
    store.blocking_sync(path)?;
    let answer = change_key()?;
    old.retain(|key| !kept.contains(key));
    post_save_cleanup(store, path, max_simultaneous_tasks, &old)?;
    Ok(answer)
}

/// The first half of [`blocking_save_with`]: stages what `persist` names, and returns the keys.
///
/// # Errors
/// As [`blocking_save`].
pub fn prepare_save<P, E>(
    persist: impl FnOnce(&mut Persister<'_, P>) -> Result<(), E>,
    path: &TrackedPath<P>,
    max_simultaneous_tasks: usize,
) -> Result<HashSet<Uuid>, E>
where
    P: Send + Sync + 'static,
    E: From<Error>,
{
    check(max_simultaneous_tasks)?;
    let mut persister = Persister { path, kept: HashSet::new() };
    persist(&mut persister)?;
    Ok(persister.kept)
}

/// The last part of [`blocking_save_with`]: removes keys from the loose set, in one commit.
///
/// # Errors
/// As [`BackingStore::blocking_sync`].
pub fn post_save_cleanup<B: BackingStoreT>(
    store: &BackingStore<B>,
    path: &TrackedPath<B::PersistPath>,
    max_simultaneous_tasks: usize,
    keys: &[Uuid],
) -> Result<()> {
    check(max_simultaneous_tasks)?;
    keys.iter().try_for_each(|key| store.blocking_delete_persisted(path, *key))?;
    store.blocking_sync(path)
}

fn check(tasks: usize) -> Result<()> {
    if tasks > 0 {
        return Ok(());
    }
    let what = "a save needs one task at least";
    Err(Error::of_caller(ErrorKind::Precondition, "save", what))
}
