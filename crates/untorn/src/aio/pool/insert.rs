//! Room for values, awaited.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Sleep;
use uuid::Uuid;

use super::submit;
use crate::pool::{Fb, Found, Pool, Rejected, Room, TrackedPath, Turn};
use crate::{Error, Result};

impl<T: Send + Sync + 'static> Pool<T> {
    /// As [`blocking_insert`](Self::blocking_insert), awaited. Dropping the future gives the place in the queue up, and the value.
    ///
    /// # Errors
    /// As [`blocking_insert`](Self::blocking_insert).
    ///
    /// # Panics
    /// Where it has to wait on a runtime without a clock (`enable_time`).
    pub async fn insert(self: &Arc<Self>, value: T) -> Result<Fb<T>, Rejected<T>> {
        let weight = match self.weigh(&value) {
            Ok(weight) => weight,
            Err(error) => return Err(Rejected::new(error, value)),
        };
        match self.room(weight, || false).await {
            Ok(Some(room)) => Ok(self.take_in(value, weight, room)),
            Ok(None) => Err(Rejected::new(crate::pool::would_block(), value)),
            Err(error) => Err(Rejected::new(error, value)),
        }
    }

    /// As [`blocking_register`](Self::blocking_register); for backends that only look at what is in memory already, such as
    /// directories, it need not be awaited.
    ///
    /// # Errors
    /// As [`blocking_register`](Self::blocking_register).
    pub async fn register<P: Send + Sync + 'static>(
        self: &Arc<Self>,
        path: &Arc<TrackedPath<P>>,
        key: Uuid,
    ) -> Result<Option<Fb<T>>> {
        let (pool, path) = (Arc::clone(self), Arc::clone(path));
        crate::aio::blocking(std::path::Path::new(""), move || pool.blocking_register(&path, key))
            .await
    }

    /// Room for `need`; `None` as soon as `stop` says that it is needed no more.
    pub(super) async fn room(&self, need: u64, stop: impl Fn() -> bool) -> Result<Option<Room>> {
        self.budget().check(need)?;
        if let Some(room) = self.try_admit(need) {
            return Ok(Some(room));
        }
        let began = self.inner.core.fs.monotonic();
        let mut wait = Wait { turn: self.budget().queue(need), timer: None };
        let granted =
            std::future::poll_fn(|context| wait.poll(context, self, need, began, &stop)).await?;
        Ok(if granted { wait.turn.take() } else { None })
    }
}

struct Wait {
    turn: Turn,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// True with room, false if it is needed no more.
    fn poll<T: Send + Sync + 'static>(
        &mut self,
        context: &mut Context<'_>,
        pool: &Pool<T>,
        need: u64,
        began: std::time::Duration,
        stop: &impl Fn() -> bool,
    ) -> Poll<Result<bool>> {
        let mut helped = false;
        loop {
            match self.turn.look(Some(context.waker())) {
                Found::Granted => return Poll::Ready(Ok(true)),
                Found::Failed(error) => return Poll::Ready(Err(Error::share(&error))),
                Found::Rung => {
                    helped = false;
                    continue;
                }
                Found::Waits => {}
            }
            if stop() {
                return Poll::Ready(Ok(false));
            }
            if !helped {
                // What needs no writing goes here and now; a job does the rest.
                helped = true;
                if !pool.budget().reclaim_clean()
                    && let Some(job) = pool.helper_job()
                {
                    submit(&pool.inner.core.runner, job);
                }
                continue;
            }
            let limit = pool.inner.pin_wait;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            if let Err(error) = pool.give_up_waiting(&mut self.turn, need, began) {
                return Poll::Ready(Err(error));
            }
        }
    }
}
