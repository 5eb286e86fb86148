//! The handle on one object.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use uuid::Uuid;

use super::entry::{Entry, Lend, Look};
use super::guard::{OwnedReadGuard, ReadGuard, WriteGuard};
use super::job::Job;
use super::pool::Pool;
use super::rejected::Rejected;
use super::tracked::TrackedPath;
use crate::{Error, ErrorKind, Result};

/// The handle on one object of a [`Pool`]: its value is in memory, on the disk, or both. Dropping it drops the object; what was
/// persisted stays.
///
/// Not `Clone`: share it as an `Arc`. A load that fails changes nothing and may be tried again.
pub struct Fb<T: Send + Sync + 'static> {
    pub(crate) entry: Arc<Entry<T>>,
    /// The value, while a [`WriteGuard`] changes it; and after that if the guard was forgotten.
    pub(crate) lent: Option<Arc<T>>,
}

impl<T: Send + Sync + 'static> Fb<T> {
    pub(crate) const fn of(entry: Arc<Entry<T>>) -> Self {
        Self { entry, lent: None }
    }

    /// The object's key. A change of the value gives it a new one.
    pub fn key(&self) -> Uuid {
        self.entry.slot().key
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool<T>> {
        &self.entry.pool
    }

    /// Whether the value is in memory now.
    pub fn is_resident(&self) -> bool {
        let slot = self.entry.slot();
        slot.value.is_some() || slot.lent
    }

    /// What the value weighs, as it was last weighed.
    pub fn weight(&self) -> u64 {
        self.entry.slot().weight
    }

    /// The value, if it is in memory. Never waits, never does I/O.
    pub fn try_load(&self) -> Option<ReadGuard<'_, T>> {
        loop {
            match self.entry.look() {
                Look::Here(value) => return Some(ReadGuard::of(&self.entry, value)),
                Look::Lent => self.restore(),
                Look::Busy(_) | Look::Away(_) => return None,
            }
        }
    }

    /// The value; loads it, and makes room for it, if it is not in memory.
    ///
    /// # Cost
    /// One read, shared with all who load it at the same time; and what [`Pool::blocking_insert`] does to make room. Blocks.
    ///
    /// # Errors
    /// `Damaged` with file, offset and key; `Codec`; `OverBudget`, `NoSpace` if no room can be made; `Precondition` if it is of another type; `Io`.
    pub fn blocking_load(&self) -> Result<ReadGuard<'_, T>> {
        self.bring().map(|value| ReadGuard::of(&self.entry, value))
    }

    /// As [`blocking_load`](Self::blocking_load), with a guard that borrows nothing.
    ///
    /// # Errors
    /// As [`blocking_load`](Self::blocking_load).
    pub fn blocking_load_owned(&self) -> Result<OwnedReadGuard<T>> {
        self.bring().map(|value| OwnedReadGuard::of(Arc::clone(&self.entry), value))
    }

    /// The value, to be changed. It is loaded first; then the handle gets a new key, and its spill copy goes. What was persisted
    /// under the old key stays.
    ///
    /// # Errors
    /// As [`blocking_load`](Self::blocking_load), and nothing has changed; `Precondition` while an [`OwnedReadGuard`] holds the value.
    pub fn blocking_load_mut(&mut self) -> Result<WriteGuard<'_, T>> {
        loop {
            self.take_back();
            drop(self.blocking_load()?);
            self.wait_settled();
            // What left memory again between the two is loaded again.
            if let Some(value) = self.lend_now()? {
                return self.write_guard(value);
            }
        }
    }

    /// As [`blocking_load_mut`](Self::blocking_load_mut), if the value is in memory and no job is at it. Never waits, never reads.
    ///
    /// # Errors
    /// `Precondition` while an [`OwnedReadGuard`] holds the value.
    pub fn try_load_mut(&mut self) -> Result<Option<WriteGuard<'_, T>>> {
        match self.lend_now()? {
            Some(value) => self.write_guard(value).map(Some),
            None => Ok(None),
        }
    }

    /// The value, lent, if it is in memory and no job is at it.
    pub(crate) fn lend_now(&mut self) -> Result<Option<Arc<T>>> {
        self.take_back();
        self.alone(Entry::lend)
    }

    /// The value, for good, if it is in memory and no job is at it.
    pub(crate) fn take_now(&mut self) -> Result<Option<T>> {
        self.take_back();
        let Some(value) = self.alone(Entry::take_out)? else { return Ok(None) };
        match Arc::try_unwrap(value) {
            Ok(value) => {
                let weight = self.weight();
                self.pool().went(weight);
                self.pool().budget().release(weight);
                Ok(Some(value))
            }
            Err(value) => {
                self.entry.slot().value = Some(value);
                self.entry.unpin();
                Err(held())
            }
        }
    }

    /// Pins the value if it is in memory, and takes it if nobody else has it.
    fn alone(&self, take: impl FnOnce(&Entry<T>) -> Lend<T>) -> Result<Option<Arc<T>>> {
        let Look::Here(value) = self.entry.look() else { return Ok(None) };
        drop(value);
        let refused = match take(&self.entry) {
            Lend::Value(value) => return Ok(Some(value)),
            Lend::Busy => Ok(None),
            Lend::Held => Err(held()),
        };
        self.entry.unpin();
        refused
    }

    /// Waits until no job is at it.
    fn wait_settled(&self) {
        loop {
            let job = self.entry.slot().job.clone();
            match job {
                Some(job) => drop(job.wait()),
                None => return,
            }
        }
    }

    /// The value, to be changed, also where the handle is shared: then it becomes a handle on a clone.
    ///
    /// # Errors
    /// As [`blocking_load_mut`](Self::blocking_load_mut) and [`Pool::blocking_insert`].
    pub fn blocking_make_mut(self: &mut Arc<Self>) -> Result<WriteGuard<'_, T>>
    where
        T: Clone,
    {
        if Arc::get_mut(self).is_none() {
            let clone = T::clone(&*self.blocking_load()?);
            *self = Arc::new(self.pool().blocking_insert(clone)?);
        }
        Arc::get_mut(self).ok_or_else(held)?.blocking_load_mut()
    }

    /// The value itself; the object is no more.
    ///
    /// # Errors
    /// As [`blocking_load_mut`](Self::blocking_load_mut); the handle comes back.
    pub fn blocking_into_value(mut self) -> Result<T, Rejected<Self>> {
        loop {
            if let Err(error) = self.blocking_load().map(drop) {
                return Err(Rejected::new(error, self));
            }
            self.wait_settled();
            match self.take_now() {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(error) => return Err(Rejected::new(error, self)),
            }
        }
    }

    /// Writes the spill copy, if there is none. The value stays in memory, and can leave it without being written again.
    ///
    /// # Errors
    /// `NoSpace`, `OverBudget` at the disk limit, `Codec`; the backend's.
    pub fn blocking_write_now(&self) -> Result<()> {
        match self.begin_write_now() {
            None => Ok(()),
            Some(job) => {
                drop(job.wait());
                job.result()
            }
        }
    }

    /// The job that writes the spill copy; `None` if there is a copy. Waits for what another job does to it.
    pub(crate) fn begin_write_now(&self) -> Option<Arc<Job>> {
        loop {
            let job = Job::running(false);
            if let Some(claimed) = self.entry.begin_write(&job) {
                self.pool().inner.enqueue_write(&job, claimed);
                return Some(job);
            }
            let (busy, lent) = {
                let slot = self.entry.slot();
                (slot.job.clone(), slot.lent)
            };
            match (busy, lent) {
                (Some(busy), _) => drop(busy.wait()),
                (None, true) => self.restore(),
                (None, false) => return None,
            }
        }
    }

    /// Stages the object for a path's loose set; that it is there is no error. [`BackingStore::blocking_sync`](super::BackingStore::blocking_sync)
    /// or a checkpoint makes it durable.
    ///
    /// # Durability
    /// **On `Ok`** it is staged: nothing survives a crash before the next sync. **On `Err`** it is not staged.
    ///
    /// # Cost
    /// Writes the value, or copies its spill copy (a long one by a hard link). No sync.
    ///
    /// # Errors
    /// `NoSpace`, `Poisoned`, `Codec`, `Damaged`; `Precondition` for a path of another store; the backend's.
    pub fn blocking_persist<P: Send + Sync + 'static>(&self, path: &TrackedPath<P>) -> Result<()> {
        Self::blocking_persist_many(&[self], path)
    }

    pub(crate) fn restore(&self) {
        if let Some(value) = &self.lent {
            self.entry.unlend(value, None);
        }
    }

    /// As [`restore`](Self::restore), and lets go of the value, so that the entry has the only reference.
    pub(crate) fn take_back(&mut self) {
        self.restore();
        self.lent = None;
    }

    /// A guard is done: the value is weighed again.
    pub(crate) fn give_back(&mut self) {
        let Some(value) = self.lent.take() else { return };
        // What cannot be weighed any more weighs what it did.
        let weight = self.pool().weigh(&value).ok();
        self.entry.unlend(&value, weight);
    }

    /// The value, pinned.
    fn bring(&self) -> Result<Arc<T>> {
        let (entry, pool) = (&self.entry, self.pool());
        loop {
            let weight = match entry.look() {
                Look::Here(value) => return Ok(value),
                Look::Busy(job) => {
                    job.wait()?;
                    continue;
                }
                Look::Lent => {
                    self.restore();
                    continue;
                }
                Look::Away(weight) => weight,
            };
            let Some(room) = pool.admit(weight, || entry.is_coming())? else { continue };
            let Some((job, key)) = entry.begin_load() else { continue };
            pool.inner.counters.loads.fetch_add(1, Relaxed);
            let read = pool.inner.tier.read(key);
            if let Some(value) = entry.end_load(&job, read, room, true)? {
                return Ok(value);
            }
        }
    }

    pub(crate) fn write_guard(&mut self, value: Arc<T>) -> Result<WriteGuard<'_, T>> {
        self.lent = Some(value);
        let alone = self.lent.as_mut().and_then(Arc::get_mut).is_some();
        if !alone {
            self.take_back();
            return Err(held());
        }
        Ok(WriteGuard::of(self))
    }

    /// It will not be needed soon: its value is among the next to leave memory.
    pub fn hint_cold(&self) {
        self.entry.cool();
    }

    /// Has the values loaded in the background, as far as there is room for them now, in the order in which they lie on the disk.
    /// Without a runtime it does nothing.
    pub fn prefetch_many(handles: &[&Self]) {
        let Some(first) = handles.first() else { return };
        let inner = &first.pool().inner;
        if !inner.core.runner.has_threads() {
            return;
        }
        let mut away: Vec<_> = handles
            .iter()
            .filter(|fb| fb.entry.is_away())
            .map(|fb| (inner.tier.order(fb.key()), *fb))
            .collect();
        away.sort_unstable_by_key(|(order, _)| *order);
        let mut jobs = Vec::new();
        for (_, fb) in away {
            let Some(room) = fb.pool().try_admit(fb.weight()) else { break };
            let Some((job, key)) = fb.entry.begin_load() else { continue };
            fb.enqueue_load(&job, key, room);
            jobs.push(job);
        }
        if jobs.is_empty() {
            return;
        }
        let all = Job::running(false);
        let done = Arc::clone(&all);
        all.enqueue(Box::new(move || {
            for job in jobs {
                job.run();
            }
            done.finish(None);
        }));
        inner.core.runner.submit(all);
    }

    /// As [`prefetch_many`](Self::prefetch_many), of one.
    pub fn prefetch(&self) {
        Self::prefetch_many(&[self]);
    }

    /// Makes the job one that loads the value. Whoever comes first does it.
    pub(crate) fn enqueue_load(&self, job: &Arc<Job>, key: Uuid, room: super::budget::Room) {
        let (entry, done) = (Arc::clone(&self.entry), Arc::clone(job));
        job.enqueue(Box::new(move || {
            let inner = &entry.pool.inner;
            inner.counters.loads.fetch_add(1, Relaxed);
            let read = inner.tier.read(key);
            // The error is the job's, for all who wait for it.
            drop(entry.end_load(&done, read, room, false));
        }));
    }
}

impl<T: Send + Sync + 'static> Drop for Fb<T> {
    fn drop(&mut self) {
        self.take_back();
    }
}

#[cold]
pub(crate) fn held() -> Error {
    let what = "a guard that borrows nothing still holds the value; drop it first";
    Error::of_caller(ErrorKind::Precondition, "change a value", what)
}

impl<T: Send + Sync + 'static> std::fmt::Debug for Fb<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.entry.fmt(f)
    }
}
