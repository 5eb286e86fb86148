//! The calls of a handle, awaited.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::task::JoinHandle;

use super::{done, submit};
use crate::pool::{Fb, Look, OwnedReadGuard, ReadGuard, Rejected, TrackedPath, WriteGuard, held};
use crate::{Error, Result};

/// # Awaited
/// A future that is dropped changes nothing: a load that it began goes on, and its value is there for the next one.
impl<T: Send + Sync + 'static> Fb<T> {
    /// As [`blocking_load`](Self::blocking_load). A value that is in memory is handed out without a point to wait at; one that the system
    /// has in memory is read on the spot.
    ///
    /// # Errors
    /// As [`blocking_load`](Self::blocking_load).
    pub async fn load(&self) -> Result<ReadGuard<'_, T>> {
        let value = self.bring_awaited().await?;
        Ok(ReadGuard::of(&self.entry, value))
    }

    /// As [`blocking_load_owned`](Self::blocking_load_owned).
    ///
    /// # Errors
    /// As [`blocking_load`](Self::blocking_load).
    pub async fn load_owned(&self) -> Result<OwnedReadGuard<T>> {
        let value = self.bring_awaited().await?;
        Ok(OwnedReadGuard::of(Arc::clone(&self.entry), value))
    }

    /// As [`blocking_load`](Self::blocking_load), for async code that cannot await: other tasks of a multi-threaded runtime go on meanwhile.
    /// On any other thread it just blocks, and never waits for work that only this thread could do.
    ///
    /// # Errors
    /// As [`blocking_load`](Self::blocking_load).
    pub fn load_in_place(&self) -> Result<ReadGuard<'_, T>> {
        use tokio::runtime::{Handle, RuntimeFlavor};
        if let Some(guard) = self.try_load() {
            return Ok(guard);
        }
        let threads = Handle::try_current()
            .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        if threads {
            tokio::task::block_in_place(|| self.blocking_load())
        } else {
            self.blocking_load()
        }
    }

    /// As [`blocking_load_mut`](Self::blocking_load_mut).
    ///
    /// # Errors
    /// As [`blocking_load_mut`](Self::blocking_load_mut).
    pub async fn load_mut(&mut self) -> Result<WriteGuard<'_, T>> {
        loop {
            self.take_back();
            drop(self.load_owned().await?);
            self.settled().await;
            // What left memory again between the two is loaded again.
            if let Some(value) = self.lend_now()? {
                return self.write_guard(value);
            }
        }
    }

    /// As [`blocking_make_mut`](Self::blocking_make_mut).
    ///
    /// # Errors
    /// As [`blocking_make_mut`](Self::blocking_make_mut).
    pub async fn make_mut(self: &mut Arc<Self>) -> Result<WriteGuard<'_, T>>
    where
        T: Clone,
    {
        if Arc::get_mut(self).is_none() {
            let clone = T::clone(&*self.load().await?);
            *self = Arc::new(self.pool().insert(clone).await?);
        }
        Arc::get_mut(self).ok_or_else(held)?.load_mut().await
    }

    /// As [`blocking_into_value`](Self::blocking_into_value).
    ///
    /// # Errors
    /// As [`blocking_into_value`](Self::blocking_into_value).
    pub async fn into_value(mut self) -> Result<T, Rejected<Self>> {
        loop {
            if let Err(error) = self.load_owned().await.map(drop) {
                return Err(Rejected::new(error, self));
            }
            self.settled().await;
            match self.take_now() {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(error) => return Err(Rejected::new(error, self)),
            }
        }
    }

    /// Writes the spill copy. As [`blocking_write_now`](Self::blocking_write_now), by a task; awaited only for a job that is at the object now.
    pub async fn spawn_write_now(&self) -> JoinHandle<Result<()>> {
        self.settled().await;
        let job = self.begin_write_now();
        self.spawn(move || match job {
            Some(job) => {
                drop(job.wait());
                job.result()
            }
            None => Ok(()),
        })
    }

    /// Stages the object for a path. As [`blocking_persist`](Self::blocking_persist), by a task; it is the value of now, whatever becomes
    /// of the handle. Awaited only for a job that is at the object now.
    pub async fn spawn_persist<P: Send + Sync + 'static>(
        &self,
        path: &Arc<TrackedPath<P>>,
    ) -> JoinHandle<Result<()>> {
        self.settled().await;
        let begun = self.begin_persist(path);
        self.spawn(move || {
            let Some(job) = begun? else { return Ok(()) };
            drop(job.wait());
            job.result()
        })
    }

    /// Waits until no job is at the object.
    async fn settled(&self) {
        loop {
            let job = self.entry.slot().job.clone();
            match job {
                Some(job) => drop(done(&job).await),
                None => return,
            }
        }
    }

    fn spawn(&self, call: impl FnOnce() -> Result<()> + Send + 'static) -> JoinHandle<Result<()>> {
        let core = Arc::clone(&self.pool().inner.core);
        let (open, key) = (core.runner.count(), self.key());
        let noted = Arc::clone(&core);
        let call = move || {
            let answer = call().map_err(|error| {
                let error = Arc::new(error);
                noted.note(Some(key), &error);
                Error::share(&error)
            });
            drop(open);
            answer
        };
        match core.runner.tasks() {
            Some(tasks) => tasks.tracker.spawn_blocking_on(call, &tasks.handle),
            None => tokio::task::spawn_blocking(call),
        }
    }

    /// The value, pinned.
    async fn bring_awaited(&self) -> Result<Arc<T>> {
        let (entry, pool) = (&self.entry, self.pool());
        let inner = &pool.inner;
        loop {
            let weight = match entry.look() {
                Look::Here(value) => return Ok(value),
                Look::Busy(job) => {
                    done(&job).await?;
                    continue;
                }
                Look::Lent => {
                    self.restore();
                    continue;
                }
                Look::Away(weight) => weight,
            };
            let Some(room) = pool.room(weight, || entry.is_coming()).await? else { continue };
            // From the beginning of the load until its job is queued there is no point to wait at.
            let Some((job, key)) = entry.begin_load() else { continue };
            let here = if weight <= NOWAIT_MAX { inner.tier.read_nowait(key) } else { Ok(None) };
            if let Some(read) = here.transpose() {
                inner.counters.loads.fetch_add(1, Relaxed);
                if let Some(value) = entry.end_load(&job, read, room, true)? {
                    return Ok(value);
                }
                continue;
            }
            self.enqueue_load(&job, key, room);
            submit(&inner.core.runner, Arc::clone(&job));
            done(&job).await?;
        }
    }
}

/// A value that weighs more is not decoded on an executor.
const NOWAIT_MAX: u64 = 64 << 10;
