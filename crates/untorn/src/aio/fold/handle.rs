//! A follower that runs, and what comes of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::control::Asker;
use super::state::{FollowState, Phase};
use super::work::{Slot, done};
use crate::fold::{CursorOrder, SnapshotStore, SweepReport, WatchCursor};
use crate::{Error, ErrorKind, Result};

/// What is left when a follower has ended.
#[must_use = "the store is in it, and why the follower ended"]
#[non_exhaustive]
pub struct FollowEnd<S> {
    /// The store.
    pub store: S,
    /// Its cursor.
    pub cursor: WatchCursor,
    /// `Ok` if it was asked to end, or the source finished.
    pub result: Result<()>,
}

impl<S> fmt::Debug for FollowEnd<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut show = f.debug_struct("FollowEnd");
        show.field("cursor", &self.cursor).field("result", &self.result).finish_non_exhaustive()
    }
}

/// What is outside of a driver.
pub(super) struct Parts<S> {
    pub(super) slot: Slot<S>,
    pub(super) state: watch::Receiver<FollowState>,
    pub(super) resyncs: Option<mpsc::Sender<Asker>>,
}

impl<S: SnapshotStore + 'static> Parts<S> {
    #[expect(clippy::expect_used, reason = "only this takes it, and takes the parts")]
    pub(super) async fn end(self, result: Result<()>) -> FollowEnd<S> {
        let store = self.slot.take().await.expect("the store is taken once").store;
        FollowEnd { cursor: store.cursor(), store, result }
    }
}

/// A follower that runs. Dropping it stops it; a commit that is under way is finished, and the store is closed then.
#[must_use = "dropping it stops the follower"]
pub struct FollowHandle<S> {
    task: JoinHandle<Result<()>>,
    parts: Parts<S>,
}

impl<S: SnapshotStore + 'static> FollowHandle<S> {
    pub(super) const fn new(task: JoinHandle<Result<()>>, parts: Parts<S>) -> Self {
        Self { task, parts }
    }

    /// How it is doing, to look at and to wait for.
    pub fn state(&self) -> watch::Receiver<FollowState> {
        self.parts.state.clone()
    }

    /// Waits until the fold has had all that the source had when it was opened, once. An empty source is had at once.
    ///
    /// # Errors
    /// That with which the follower ended; `Closed` if it ended without one.
    pub async fn ready(&self) -> Result<()> {
        self.until(|state| state.caught_up).await
    }

    /// Waits until the fold is at this cursor or behind it; at this one, where positions have no order.
    ///
    /// # Errors
    /// `TimedOut`; as [`ready`](Self::ready).
    pub async fn wait_for(&self, cursor: &WatchCursor, timeout: Duration) -> Result<()> {
        let there = self.until(|state| match state.order {
            CursorOrder::Bytes => state.cursor.reaches(cursor, state.order),
            CursorOrder::Opaque => state.cursor.same_position(cursor),
        });
        tokio::time::timeout(timeout, there).await.unwrap_or_else(|_| {
            let what = format!("the fold is at {}", self.parts.state.borrow().cursor);
            Err(Error::of_caller(ErrorKind::TimedOut, "wait for cursor", what))
        })
    }

    async fn until(&self, mut there: impl FnMut(&FollowState) -> bool) -> Result<()> {
        let mut state = self.state();
        let closed = || Error::of_caller(ErrorKind::Closed, "wait", "the follower has ended");
        let seen = state.wait_for(|state| there(state) || state.is_stopped()).await;
        let Ok(seen) = seen else { return Err(closed()) };
        match &seen.phase {
            _ if there(&seen) => Ok(()),
            Phase::Stopped { cause: Some(cause) } => Err(Error::share(cause)),
            _ => Err(closed()),
        }
    }

    /// Has everything listed and the rest swept, against keys whose deletion was missed. Waits for it.
    ///
    /// # Errors
    /// `CursorExpired` if the listing is known not to be the truth: nothing is done then. `Closed` if the follower ends before.
    pub async fn resync(&self) -> Result<SweepReport> {
        let closed = || Error::of_caller(ErrorKind::Closed, "resync", "the follower has ended");
        let (asker, answer) = oneshot::channel();
        let Some(resyncs) = &self.parts.resyncs else { return Err(closed()) };
        resyncs.send(asker).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Works with the store between two commits, on the blocking pool: to look into it, or to export it. The follower waits meanwhile.
    ///
    /// What changes the entries or the cursor is the follower's own work.
    ///
    /// # Errors
    /// Those of `work`; `Failed` if it panics; `Cancelled` if the runtime shuts down.
    pub async fn with_store<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        done(self.parts.slot.start(move |worker| work(&mut worker.store)).await)
    }

    /// Ends it: a commit that is under way is finished, what was received behind it will come again. The store comes back, also
    /// after an error, and after a panic of the source, the store or the user's code.
    pub async fn stop(self) -> FollowEnd<S> {
        let Self { task, mut parts } = self;
        drop(parts.resyncs.take());
        Self::ended(task, parts).await
    }

    /// Waits until it ends by itself: at the end of a source that finishes, or with an error.
    pub async fn join(self) -> FollowEnd<S> {
        Self::ended(self.task, self.parts).await
    }

    async fn ended(task: JoinHandle<Result<()>>, parts: Parts<S>) -> FollowEnd<S> {
        let result = task.await.unwrap_or_else(|joined| {
            Err(Error::of_caller(ErrorKind::Failed, "follow", Arc::new(joined).to_string()))
        });
        parts.end(result).await
    }
}

impl<S> fmt::Debug for FollowHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.parts.state.borrow().clone();
        f.debug_struct("FollowHandle").field("state", &state).finish_non_exhaustive()
    }
}
