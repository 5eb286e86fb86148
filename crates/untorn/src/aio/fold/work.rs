//! The store and the user's code, on the blocking pool.
//!
//! F1. The store is in a place of its own, that a task borrows while it works: it comes back whatever panics or is cancelled.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::options::{OnApplied, Validate, Validation};
use crate::fold::{KvUpdate, SnapshotStore, SyncToken, WatchCursor};
use crate::{Error, ErrorKind, Outcome, Result};

/// The store, the user's code, and a listing under way.
pub(super) struct Worker<S> {
    pub(super) store: S,
    pub(super) validate: Option<Validate>,
    pub(super) on_applied: Option<OnApplied>,
    pub(super) sync: Option<SyncToken>,
}

/// Where a store is after a commit.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) cursor: WatchCursor,
    pub(super) durable: WatchCursor,
}

impl<S: SnapshotStore> Worker<S> {
    pub(super) fn at(&self) -> At {
        At { cursor: self.store.cursor(), durable: self.store.durable_cursor() }
    }

    /// One commit: the user looks, the store takes, the user is told.
    pub(super) fn apply(&mut self, updates: &[KvUpdate], cursor: &WatchCursor) -> Result<At> {
        match self.skipped(updates)? {
            None => {
                self.store.apply(updates, cursor)?;
                self.tell(updates, cursor);
            }
            Some((accepted, _)) => {
                self.store.apply(&accepted, cursor)?;
                self.tell(&accepted, cursor);
            }
        }
        Ok(self.at())
    }

    /// A part of a listing. What the user skips counts as listed: what the fold has of it stays.
    pub(super) fn list(&mut self, updates: &[KvUpdate]) -> Result<At> {
        let skipped = self.skipped(updates)?;
        let token = self.sync.as_ref().ok_or_else(|| {
            Error::of_caller(ErrorKind::Precondition, "list", "no listing is under way")
        })?;
        let accepted = match &skipped {
            None => updates,
            Some((accepted, left)) => {
                token.mark(left)?;
                accepted
            }
        };
        self.store.sync_apply(token, accepted)?;
        let cursor = self.store.cursor();
        self.tell(accepted, &cursor);
        Ok(self.at())
    }

    fn tell(&mut self, updates: &[KvUpdate], cursor: &WatchCursor) {
        if let Some(on_applied) = &mut self.on_applied {
            on_applied(updates, cursor);
        }
    }

    /// What the user takes, and what not; `None` if it takes all.
    fn skipped(&mut self, updates: &[KvUpdate]) -> Result<Option<(Vec<KvUpdate>, Vec<KvUpdate>)>> {
        let Some(validate) = &mut self.validate else { return Ok(None) };
        let (mut skips, mut any) = (Vec::with_capacity(updates.len()), false);
        for update in updates {
            let skip = match validate(update) {
                Validation::Accept => false,
                Validation::Skip => true,
                Validation::Stop => {
                    let what = format!("the validation stops at {:?}", update.key());
                    return Err(Error::of_caller(ErrorKind::Failed, "validate", what));
                }
            };
            any |= skip;
            skips.push(skip);
        }
        if !any {
            return Ok(None);
        }
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for (update, skip) in updates.iter().zip(skips) {
            if skip { &mut left } else { &mut taken }.push(update.clone());
        }
        Ok(Some((taken, left)))
    }
}

/// Where the store is, for all who work with it.
pub(super) struct Slot<S>(Arc<Mutex<Option<Worker<S>>>>);

impl<S> Clone for Slot<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Send + 'static> Slot<S> {
    pub(super) fn new(worker: Worker<S>) -> Self {
        Self(Arc::new(Mutex::new(Some(worker))))
    }

    /// Begins work on the blocking pool. Whoever has the lock has a thread, too: one thread is enough.
    pub(super) fn start<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker<S>) -> Result<R> + Send + 'static,
    ) -> Job<R> {
        let place = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let mut worker = place.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(worker) = worker.as_mut() else {
                return Err(Error::of_caller(
                    ErrorKind::Closed,
                    "follow",
                    "the store was taken out",
                ));
            };
            match catch_unwind(AssertUnwindSafe(|| work(worker))) {
                Ok(result) => result,
                Err(payload) => Err(panicked("apply", &*payload).with_outcome(Outcome::Unknown)),
            }
        })
    }

    /// Closes the store, if nobody else can take it out. That may wait for the disk, too.
    pub(super) async fn leave(&self) {
        if Arc::strong_count(&self.0) == 1 {
            let place = Arc::clone(&self.0);
            let close = move || drop(place.lock().unwrap_or_else(PoisonError::into_inner).take());
            // A runtime that shuts down closes it with all else.
            drop(tokio::task::spawn_blocking(close).await);
        }
    }

    /// Takes the store out, when the work that is under way is done.
    pub(super) async fn take(&self) -> Option<Worker<S>> {
        let place = Arc::clone(&self.0);
        let take = move || place.lock().unwrap_or_else(PoisonError::into_inner).take();
        match tokio::task::spawn_blocking(take.clone()).await {
            Ok(taken) => taken,
            // The runtime shuts down, and begins no work any more: nobody has the lock for long.
            Err(_) => take(),
        }
    }
}

/// Work under way.
pub(super) type Job<R> = JoinHandle<Result<R>>;

/// What came of work.
pub(super) fn done<R>(joined: std::result::Result<Result<R>, tokio::task::JoinError>) -> Result<R> {
    joined.unwrap_or_else(|_| {
        let what = "the runtime shuts down; the call may have been done or not";
        let error = Error::of_caller(ErrorKind::Cancelled, "apply", what);
        Err(error.with_outcome(Outcome::Unknown))
    })
}

/// Code that was handed in panicked: it gave up.
pub(super) fn panicked(operation: &'static str, payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let what = format!("it panicked: {}", text.unwrap_or("no message"));
    Error::of_caller(ErrorKind::Failed, operation, what)
}
