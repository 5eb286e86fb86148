//! The saves of [`convenience`](crate::pool::convenience), awaited.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use crate::aio::blocking;
use crate::pool::convenience::{post_save_cleanup, prepare_save};
use crate::pool::{BackingStore, BackingStoreT, Fb, TrackedPath};
use crate::{Error, Result};

/// As [`blocking_save`](crate::pool::convenience::blocking_save); `change_key` is awaited between the two commits. Where the future
/// is dropped, what was begun is done: the objects are staged, or committed, and none was deleted before `change_key` has ended.
///
/// # Errors
/// As [`blocking_save`](crate::pool::convenience::blocking_save).
pub async fn save<T, B, R, E, F>(
    store: &Arc<BackingStore<B>>,
    handles: impl IntoIterator<Item = Arc<Fb<T>>>,
    path: &Arc<TrackedPath<B::PersistPath>>,
    max_simultaneous_tasks: usize,
    change_key: impl FnOnce() -> F,
) -> Result<R, E>
where
    T: Send + Sync + 'static,
    B: BackingStoreT,
    E: From<Error>,
    F: Future<Output = Result<R, E>>,
{
    let handles: Vec<Arc<Fb<T>>> = handles.into_iter().collect();
    let mut old = path.all_keys();
    let (on, to) = (Arc::clone(store), Arc::clone(path));
    let kept = blocking(Path::new(""), move || {
        let handles: Vec<&Fb<T>> = handles.iter().map(|handle| &**handle).collect();
        let kept = prepare_save::<_, Error>(
            |persister| persister.persist_many(&handles),
            &to,
            max_simultaneous_tasks,
        )?;
        on.blocking_sync(&to)?;
        Ok(kept)
    })
    .await?;
    let answer = change_key().await?;
    old.retain(|key| !kept.contains(key));
    let (on, to) = (Arc::clone(store), Arc::clone(path));
    blocking(Path::new(""), move || post_save_cleanup(&on, &to, max_simultaneous_tasks, &old))
        .await?;
    Ok(answer)
}
