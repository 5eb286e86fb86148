//! One object of a pool: its value, its copy on the disk, or both.
//!
//! # Invariants
//! - E1 There is a value, or a copy, or both; or the value is lent to a [`WriteGuard`](super::WriteGuard).
//! - E2 A value that is there or lent is charged to the budget with the slot's weight, and its memory is given back before the charge.
//! - E3 A copy is of the value: both have the slot's key. Who may change the value has given the entry a new key, without a copy.
//! - E4 While `job` is set, one job reads or writes this entry, and ends by clearing it. Nobody else changes `value` from some to none, nor `stored`.
//! - E5 A value that is pinned stays. `Aside` is left by whoever takes the last pin away or ends the job.
//! - E6 The slot's lock is held over no I/O, no codec, no code of the user's, and no other lock.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use uuid::Uuid;

use super::budget::Room;
use super::job::Job;
use super::pool::Pool;
use super::queues::{End, Place};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Error, Result};

/// A counter of uses goes no higher.
const HITS_MAX: u8 = 3;

pub(crate) struct Entry<T: Send + Sync + 'static> {
    pub(crate) pool: Arc<Pool<T>>,
    hits: AtomicU8,
    slot: Mutex<Slot<T>>,
}

#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub(crate) struct Slot<T> {
    pub(crate) key: Uuid,
    pub(crate) value: Option<Arc<T>>,
    pub(crate) job: Option<Arc<Job>>,
    pub(crate) weight: u64,
    /// When it was given up from the small queue.
    gone_at: Option<std::num::NonZeroU64>,
    pub(crate) pins: u32,
    place: Place,
    pub(crate) stored: bool,
    /// The key is counted by the store: a path has it.
    pub(crate) shared: bool,
    pub(crate) lent: bool,
    /// It was used since the job began.
    used: bool,
}

/// What an entry has to offer.
pub(crate) enum Look<T> {
    /// The value, pinned.
    Here(Arc<T>),
    /// Somebody is at it.
    Busy(Arc<Job>),
    /// Only a copy; so much is needed to load it.
    Away(u64),
    /// A guard was forgotten: the handle has the value.
    Lent,
}

/// What became of an entry that was asked to give its value up.
pub(crate) enum GaveUp<T: Send + Sync + 'static> {
    /// The value; it is to be dropped, and so much released.
    Value(Arc<T>, u64),
    /// It has to be written first.
    Dirty(Claimed<T>),
    /// It stays, and is to stand there.
    Stays(Place, u64, End),
    /// It cannot now; whoever is at it puts it back.
    Aside,
}

/// How a spill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spilled {
    /// There is a copy; the value is to go, or to stay until its room is needed.
    Written { evict: bool },
    /// The value has no form in bytes.
    Unfit,
    /// It could not be written.
    Failed,
}

/// A value on its way to the disk, with the job that the entry has for it.
pub(crate) struct Claimed<T: Send + Sync + 'static> {
    pub(crate) entry: Arc<Entry<T>>,
    pub(crate) key: Uuid,
    pub(crate) weight: u64,
    /// Given back as soon as it is encoded (E2).
    pub(crate) value: Option<Arc<T>>,
    /// Where the entry stood.
    pub(crate) place: Place,
}

impl<T: Send + Sync + 'static> Entry<T> {
    /// Of a value that was admitted.
    pub(crate) fn of_value(pool: &Arc<Pool<T>>, value: T, weight: u64, room: Room) -> Arc<Self> {
        let slot = Slot { value: Some(Arc::new(value)), place: Place::Small, ..Slot::new(weight) };
        let entry = Self::new(pool, Slot { key: pool.draw_key(), ..slot });
        room.keep();
        pool.came(weight);
        pool.queues().push(&entry, weight, Place::Small, End::Back);
        // There is something to give up that who waits has not seen (G3).
        pool.budget().nudge();
        entry
    }

    /// Of a copy that a path has. The caller has counted its key.
    pub(crate) fn of_copy(pool: &Arc<Pool<T>>, key: Uuid, weight: u64) -> Arc<Self> {
        Self::new(pool, Slot { key, stored: true, shared: true, ..Slot::new(weight) })
    }

    fn new(pool: &Arc<Pool<T>>, slot: Slot<T>) -> Arc<Self> {
        pool.born();
        Arc::new(Self { pool: Arc::clone(pool), hits: AtomicU8::new(0), slot: Mutex::new(slot) })
    }

    pub(crate) fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        lock(&self.slot)
    }

    /// Pins the value if it is there.
    pub(crate) fn look(&self) -> Look<T> {
        let mut slot = self.slot();
        if let Some(value) = &slot.value {
            let value = Arc::clone(value);
            slot.pins = slot.pins.saturating_add(1);
            slot.used = true;
            drop(slot);
            // A race loses a count at most; that costs nothing but a guess.
            let hits = self.hits.load(Relaxed);
            if hits < HITS_MAX {
                self.hits.store(hits.saturating_add(1), Relaxed);
            }
            return Look::Here(value);
        }
        match &slot.job {
            Some(job) => Look::Busy(Arc::clone(job)),
            None if slot.lent => Look::Lent,
            None => Look::Away(slot.weight),
        }
    }

    /// Whether it has only a copy, and nobody is at it.
    pub(crate) fn is_away(&self) -> bool {
        let slot = self.slot();
        slot.value.is_none() && slot.job.is_none() && !slot.lent
    }

    /// Whether a load need not begin: it is there, or on its way.
    pub(crate) fn is_coming(&self) -> bool {
        let slot = self.slot();
        slot.value.is_some() || slot.job.is_some()
    }

    /// Takes a pin away. The value that the guard had is dropped already.
    pub(crate) fn unpin(self: &Arc<Self>) {
        let mut slot = self.slot();
        slot.pins = slot.pins.saturating_sub(1);
        let back = slot.put_back(Place::Main);
        drop(slot);
        if let Some((weight, place)) = back {
            self.pool.queues().push(self, weight, place, End::Back);
            // There is something to give up again (G3).
            self.pool.budget().nudge();
        }
    }

    /// Begins to load, unless it is there or on its way.
    pub(crate) fn begin_load(&self) -> Option<(Arc<Job>, Uuid)> {
        let mut slot = self.slot();
        if slot.value.is_some() || slot.job.is_some() || slot.lent {
            return None;
        }
        let job = Job::running(true);
        slot.job = Some(Arc::clone(&job));
        Some((job, slot.key))
    }

    /// Ends a load; hands out the value, pinned, if asked to.
    pub(crate) fn end_load(
        self: &Arc<Self>,
        job: &Job,
        read: Result<T>,
        room: Room,
        pin: bool,
    ) -> Result<Option<Arc<T>>> {
        let value = match read {
            Ok(value) => Arc::new(value),
            Err(error) => {
                let error = Arc::new(error);
                self.slot().job = None;
                drop(room);
                job.finish(Some(Arc::clone(&error)));
                self.pool.budget().nudge();
                return Err(Error::share(&error));
            }
        };
        let pool = &self.pool;
        let mut slot = self.slot();
        let (weight, gone_at) = (slot.weight, slot.gone_at);
        slot.job = None;
        slot.value = Some(Arc::clone(&value));
        slot.pins = slot.pins.saturating_add(u32::from(pin));
        drop(slot);
        room.keep();
        pool.came(weight);
        self.hits.store(0, Relaxed);
        let limit = pool.budget().limit();
        let place = pool.queues().back(gone_at.map(std::num::NonZeroU64::get), limit);
        self.stand(place, weight, End::Back);
        job.finish(None);
        // Whoever waits for room to load the same need not wait any more (G3).
        pool.budget().nudge();
        Ok(pin.then_some(value))
    }

    /// Puts a resident entry into a queue.
    fn stand(self: &Arc<Self>, place: Place, weight: u64, end: End) {
        {
            let mut slot = self.slot();
            if slot.value.is_none() || slot.place != Place::Nowhere {
                return;
            }
            slot.place = place;
        }
        self.pool.queues().push(self, weight, place, end);
    }

    /// Asks an entry that was taken from a queue to give its value up. With `write`, a dirty one is claimed for that job; with
    /// `keep`, one that could go at once stays.
    pub(crate) fn give_up(
        self: &Arc<Self>,
        from: Place,
        write: Option<&Arc<Job>>,
        keep: bool,
    ) -> GaveUp<T> {
        let hits = self.hits.load(Relaxed);
        let mut slot = self.slot();
        slot.place = Place::Nowhere;
        if slot.pins > 0 || slot.job.is_some() || slot.lent {
            slot.place = Place::Aside;
            return GaveUp::Aside;
        }
        let Some(value) = &slot.value else { return GaveUp::Aside };
        if hits > 0 {
            let left = if from == Place::Small { 0 } else { hits.saturating_sub(1) };
            self.hits.store(left, Relaxed);
            slot.place = Place::Main;
            return GaveUp::Stays(Place::Main, slot.weight, End::Back);
        }
        if slot.stored && keep {
            slot.place = from;
            return GaveUp::Stays(from, slot.weight, End::Front);
        }
        if slot.stored {
            let weight = slot.weight;
            return match self.take_value(slot, from) {
                Some(value) => GaveUp::Value(value, weight),
                None => GaveUp::Aside,
            };
        }
        let Some(job) = write else {
            slot.place = from;
            return GaveUp::Stays(from, slot.weight, End::Back);
        };
        let claimed = Claimed {
            entry: Arc::clone(self),
            key: slot.key,
            weight: slot.weight,
            value: Some(Arc::clone(value)),
            place: from,
        };
        slot.job = Some(Arc::clone(job));
        slot.used = false;
        GaveUp::Dirty(claimed)
    }

    /// Takes the value out of an entry that has a copy, and remembers when, for its return.
    fn take_value(&self, mut slot: MutexGuard<'_, Slot<T>>, from: Place) -> Option<Arc<T>> {
        let value = slot.value.take();
        let weight = slot.weight;
        drop(slot);
        let now = self.pool.queues().gave_up(weight);
        if from == Place::Small {
            // Between the two locks a load may have begun: then this comes too late to matter.
            self.slot().gone_at = std::num::NonZeroU64::new(now);
        }
        value
    }

    /// Claims the value for a job that writes it and leaves it there. `None` if there is nothing to write, or another job is at it.
    pub(crate) fn begin_write(self: &Arc<Self>, job: &Arc<Job>) -> Option<Claimed<T>> {
        let mut slot = self.slot();
        if slot.job.is_some() || slot.stored || slot.lent {
            return None;
        }
        let value = Some(Arc::clone(slot.value.as_ref()?));
        slot.job = Some(Arc::clone(job));
        slot.used = true;
        let (key, weight) = (slot.key, slot.weight);
        let place = Place::Nowhere;
        Some(Claimed { entry: Arc::clone(self), key, weight, value, place })
    }

    /// Holds the copy still for a job that copies it. `None` if there is none, or another job is at it.
    pub(crate) fn begin_copy(&self, job: &Arc<Job>) -> Option<Uuid> {
        let mut slot = self.slot();
        if slot.job.is_some() || !slot.stored {
            return None;
        }
        slot.job = Some(Arc::clone(job));
        Some(slot.key)
    }

    /// Ends a job that left the value where it was.
    pub(crate) fn end_job(self: &Arc<Self>, stored: bool) {
        let mut slot = self.slot();
        slot.job = None;
        slot.stored |= stored;
        let back = slot.put_back(Place::Main);
        drop(slot);
        if let Some((weight, place)) = back {
            self.pool.queues().push(self, weight, place, End::Back);
            self.pool.budget().nudge();
        }
    }

    /// Ends a spill. Returns what it gave up: nothing if it is to stay, was used meanwhile, or could not be written.
    pub(crate) fn end_spill(self: &Arc<Self>, from: Place, how: Spilled) -> Option<(Arc<T>, u64)> {
        let mut slot = self.slot();
        slot.job = None;
        slot.stored |= matches!(how, Spilled::Written { .. });
        let weight = slot.weight;
        if how == (Spilled::Written { evict: true }) && slot.pins == 0 && !slot.used {
            return self.take_value(slot, from).map(|value| (value, weight));
        }
        if slot.pins > 0 {
            slot.place = Place::Aside;
            return None;
        }
        // What cannot be written must not stand before what can.
        let (place, end) =
            if how == Spilled::Unfit { (Place::Main, End::Back) } else { (from, End::Front) };
        slot.place = place;
        drop(slot);
        self.pool.queues().push(self, weight, place, end);
        None
    }

    /// Lends the value, which the caller has pinned, to be changed: the entry gets a new key, and its copy is not its own any more.
    pub(crate) fn lend(&self) -> Lend<T> {
        let key = self.pool.draw_key();
        let mut slot = self.slot();
        if slot.job.is_some() {
            return Lend::Busy;
        }
        if slot.pins > 1 {
            return Lend::Held;
        }
        let Some(value) = slot.value.take() else { return Lend::Held };
        slot.lent = true;
        let old = std::mem::replace(&mut slot.key, key);
        let (stored, shared) = (slot.stored, slot.shared);
        (slot.stored, slot.shared) = (false, false);
        drop(slot);
        self.pool.release_key(old, stored, shared);
        Lend::Value(value)
    }

    /// Gives back a value that was lent, and its pin; with what it weighs now, if that is known. Nothing if that was done already.
    pub(crate) fn unlend(self: &Arc<Self>, value: &Arc<T>, weight: Option<u64>) {
        let mut slot = self.slot();
        if !slot.lent {
            return;
        }
        let old = slot.weight;
        let new = weight.unwrap_or(old);
        slot.weight = new;
        slot.value = Some(Arc::clone(value));
        slot.lent = false;
        drop(slot);
        if old != new {
            self.pool.came(new);
            self.pool.went(old);
            self.pool.budget().reweigh(old, new);
        }
        self.unpin();
    }

    /// Takes the value, which the caller has pinned, out for good.
    pub(crate) fn take_out(&self) -> Lend<T> {
        let mut slot = self.slot();
        match (&slot.job, slot.pins) {
            (Some(_), _) => Lend::Busy,
            (None, 1) => slot.value.take().map_or(Lend::Held, Lend::Value),
            _ => Lend::Held,
        }
    }

    /// The key belongs to a path from now on, whatever becomes of it there: the store counts who has to do with it. Before it is
    /// seen there, so that nobody else's count is the last one.
    pub(crate) fn mark_shared(&self) {
        let (key, first) = {
            let mut slot = self.slot();
            (slot.key, !std::mem::replace(&mut slot.shared, true))
        };
        if first {
            self.pool.inner.core.share(key);
        }
    }

    /// It is not used any more, for all its holder knows.
    pub(crate) fn cool(&self) {
        self.hits.store(0, Relaxed);
    }
}

/// What becomes of a value that somebody wants for himself.
pub(crate) enum Lend<T> {
    Value(Arc<T>),
    /// A job is at it.
    Busy,
    /// Other guards hold it.
    Held,
}

impl<T> Slot<T> {
    fn new(weight: u64) -> Self {
        Self {
            key: Uuid::nil(),
            value: None,
            job: None,
            weight,
            gone_at: None,
            pins: 0,
            place: Place::Nowhere,
            stored: false,
            shared: false,
            lent: false,
            used: false,
        }
    }

    /// If nothing holds it aside any more, it goes back into a queue (E5).
    fn put_back(&mut self, place: Place) -> Option<(u64, Place)> {
        let free = self.place == Place::Aside && self.pins == 0 && self.job.is_none();
        if !free {
            return None;
        }
        self.place = if self.value.is_some() { place } else { Place::Nowhere };
        self.value.is_some().then_some((self.weight, self.place))
    }
}

impl<T: Send + Sync + 'static> Drop for Entry<T> {
    fn drop(&mut self) {
        let (value, weight, queued, key, stored, shared) = {
            let mut slot = self.slot();
            let queued = matches!(slot.place, Place::Small | Place::Main);
            (slot.value.take(), slot.weight, queued, slot.key, slot.stored, slot.shared)
        };
        if queued {
            self.pool.queues().died();
        }
        if value.is_some() {
            // The user's code runs here, without any lock of ours; then the room is free (E2).
            drop(value);
            self.pool.went(weight);
            self.pool.budget().release(weight);
        }
        self.pool.release_key(key, stored, shared);
        self.pool.died();
    }
}

impl<T: Send + Sync + 'static> std::fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slot = self.slot();
        f.debug_struct("Entry")
            .field("key", &slot.key)
            .field("resident", &slot.value.is_some())
            .field("stored", &slot.stored)
            .finish_non_exhaustive()
    }
}
