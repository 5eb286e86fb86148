//! The store's own calls, awaited.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::BackingStore;
use crate::Result;
use crate::fs::OsFs;
use crate::pool::{BackingStoreT, Runner, SetPath, Tasks, TrackedPath};

/// The fewest jobs that may be under way at once.
const IO_MIN: usize = 4;

/// # With a runtime
/// A `JoinHandle` that is dropped does not stop its job; the job's error then goes to [`finished`](Self::finished), where it goes in
/// any case. A thread that blocks on such a handle while it is the last blocking thread waits for itself: use the `blocking_` form there.
impl<B: BackingStoreT> BackingStore<B> {
    /// A store whose jobs run on the blocking threads of a runtime: twice as many at a time as there are processors, and at least four.
    pub fn new(backing: B, runtime: Handle) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_limit(backing, runtime, cores.saturating_mul(2).max(IO_MIN))
    }

    /// As [`new`](Self::new), with so many jobs at a time.
    pub fn with_limit(backing: B, runtime: Handle, io_limit: usize) -> Self {
        let tasks = Tasks { handle: runtime, tracker: TaskTracker::new() };
        Self::build(backing, Arc::new(OsFs::new()), Runner::on(tasks, io_limit))
    }

    /// Counts every task of this store. A store without a runtime has none.
    pub fn task_tracker(&self) -> Option<&TaskTracker> {
        self.core.runner.tasks().map(|tasks| &tasks.tracker)
    }

    /// Runs a call that may block, on the store's runtime, or else the caller's.
    ///
    /// # Panics
    /// Outside of a tokio runtime, if the store has none.
    pub fn spawn_blocking<R: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce() -> R + Send + 'static,
    ) -> JoinHandle<R> {
        let open = self.core.runner.count();
        let call = move || {
            let answer = call();
            drop(open);
            answer
        };
        match self.core.runner.tasks() {
            Some(tasks) => tasks.tracker.spawn_blocking_on(call, &tasks.handle),
            None => tokio::task::spawn_blocking(call),
        }
    }

    /// As [`spawn_blocking`](Self::spawn_blocking); an error is noted for [`finished`](Self::finished) as well.
    fn spawn_noted<R: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> Result<R> + Send + 'static,
    ) -> JoinHandle<Result<R>> {
        let store = Arc::clone(self);
        self.spawn_blocking(move || {
            call(&store).map_err(|error| {
                let error = Arc::new(error);
                store.core.note(None, &error);
                crate::Error::share(&error)
            })
        })
    }

    /// As [`blocking_track_path`](Self::blocking_track_path).
    pub fn track_path(
        self: &Arc<Self>,
        path: B::PersistPath,
    ) -> JoinHandle<Result<TrackedPath<B::PersistPath>>> {
        self.spawn_noted(move |store| store.blocking_track_path(path))
    }

    /// As [`blocking_sync`](Self::blocking_sync).
    pub fn sync(
        self: &Arc<Self>,
        path: &Arc<TrackedPath<B::PersistPath>>,
    ) -> JoinHandle<Result<()>> {
        let path = Arc::clone(path);
        self.spawn_noted(move |store| store.blocking_sync(&path))
    }

    /// As [`blocking_delete_persisted`](Self::blocking_delete_persisted).
    pub fn delete_persisted(
        self: &Arc<Self>,
        path: &Arc<TrackedPath<B::PersistPath>>,
        key: Uuid,
    ) -> JoinHandle<Result<()>> {
        let path = Arc::clone(path);
        self.spawn_noted(move |store| store.blocking_delete_persisted(&path, key))
    }

    /// As [`TrackedPath::checkpoint`].
    pub fn checkpoint(
        self: &Arc<Self>,
        path: &Arc<TrackedPath<B::PersistPath>>,
        name: &str,
        keys: Vec<Uuid>,
        meta: Vec<u8>,
    ) -> JoinHandle<Result<crate::pool::CheckpointId>>
    where
        B::PersistPath: SetPath,
    {
        let (path, name) = (Arc::clone(path), name.to_owned());
        self.spawn_noted(move |_| path.checkpoint(&name, &keys, &meta))
    }

    /// As [`blocking_finished`](Self::blocking_finished). Tasks that were given to [`spawn_blocking`](Self::spawn_blocking) count.
    ///
    /// # Errors
    /// As [`blocking_finished`](Self::blocking_finished).
    pub async fn finished(&self) -> Result<()> {
        std::future::poll_fn(|context| {
            if self.core.runner.poll_idle(context.waker()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        self.core.take_failure()
    }
}
