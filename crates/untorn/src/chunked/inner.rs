//! What an [`AtomicChunked`](super::AtomicChunked) and its readers share.
//!
//! Locks are taken in this order: `home`, then `ledger`. `home` is held through a checkpoint and a commit, `ledger` never
//! through I/O.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwap;

use super::format::{Change, Extent, Meta};
use super::ledger::{Begin, Ledger, checksums};
use super::options::{ChunkedOptions, CommitReport, OnDrop};
use super::part::{Part, TAINT};
use super::presence::Presence;
use super::stats::Counts;
use super::{AvailabilityObserver, OpenIntent, Opened, ResourceExt, ResourceStatus};
use crate::commit::Place;
use crate::fs::{File, How};
use crate::log::State;
use crate::{Error, ErrorKind, Outcome, Result};

pub(super) type Factory<R> = dyn Fn(&Path, OpenIntent) -> Result<R> + Send + Sync;

/// Of whom it is one: the decorator of a part, or of nothing.
pub(super) struct Inner<R> {
    pub(super) canonical: PathBuf,
    pub(super) options: ChunkedOptions,
    /// `None`: every call goes to the resource as it was given, and there is no part.
    pub(super) factory: Option<Box<Factory<R>>>,
    pub(super) presence: Presence,
    /// The bytes; replaced when a commit or a reactivation opens them anew.
    pub(super) resource: ArcSwap<R>,
    pub(super) home: Mutex<Option<Home>>,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) opened: Mutex<Opened>,
    /// What the last commit answered, for those who call it again.
    pub(super) report: Mutex<Option<CommitReport>>,
    /// The committed bytes: they stay whatever becomes of the name.
    pub(super) committed: Mutex<Option<Arc<dyn File>>>,
    pub(super) counts: Counts,
    observers: RwLock<Vec<Arc<dyn AvailabilityObserver>>>,
    observed: AtomicBool,
    poison_told: AtomicBool,
}

/// A claimed part.
#[derive(Debug)]
pub(super) struct Home {
    /// The target, with symbolic links followed once.
    pub(super) to: Place,
    pub(super) part: Part,
    pub(super) data: Arc<dyn File>,
    /// The trusted ranges; made by the first checkpoint.
    pub(super) map: Option<State>,
    /// What `meta` says; `None` if there is none.
    pub(super) meta: Option<Meta>,
}

/// Takes a lock, also after a panic under it: none leaves anything half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: ResourceExt> Inner<R> {
    pub(super) fn new(
        canonical: PathBuf,
        options: ChunkedOptions,
        factory: Option<Box<Factory<R>>>,
        presence: Presence,
        resource: R,
    ) -> Self {
        let chunk = options.chunk_bytes();
        Self {
            canonical,
            options,
            factory,
            presence,
            resource: ArcSwap::from_pointee(resource),
            home: Mutex::new(None),
            ledger: Mutex::new(Ledger::new(chunk)),
            opened: Mutex::new(Opened::Fresh),
            report: Mutex::new(None),
            committed: Mutex::new(None),
            counts: Counts::default(),
            observers: RwLock::new(Vec::new()),
            observed: AtomicBool::new(false),
            poison_told: AtomicBool::new(false),
        }
    }

    pub(super) fn home(&self) -> MutexGuard<'_, Option<Home>> {
        lock(&self.home)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Whether checksums and trust are kept: only for a part that somebody may go on with.
    pub(super) fn keeps_account(&self) -> bool {
        self.factory.is_some() && self.options.resumable()
    }

    pub(super) fn observe(&self, observer: Arc<dyn AvailabilityObserver>) {
        self.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
        self.observed.store(true, Release);
    }

    /// Tells all observers; no lock of ours is held while they run, so they may call us.
    pub(super) fn tell(&self, tell: impl Fn(&dyn AvailabilityObserver)) {
        if self.observed.load(Acquire) {
            let observers = self.observers.read().unwrap_or_else(PoisonError::into_inner).clone();
            for observer in observers {
                tell(&*observer);
            }
        }
    }

    /// Passes on what a call answered, and tells the observers once if it was poisoned meanwhile. No lock is held here.
    pub(super) fn told<T>(&self, answer: Result<T>) -> Result<T> {
        let poisoned = || matches!(self.presence.refuse_end("look at"), Err(e) if e.kind() == ErrorKind::Poisoned);
        if answer.is_err() && poisoned() && !self.poison_told.swap(true, AcqRel) {
            self.tell(|observer| observer.on_fail());
        }
        answer
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let range = self.presence.check_bounds(offset, data.len())?;
        let writing = self.presence.begin_write()?;
        if data.is_empty() {
            return Ok(());
        }
        if self.keeps_account() {
            let chunk = self.ledger().chunk();
            let sums = checksums(offset, data, chunk);
            let mut taken_back = false;
            let flight = loop {
                match self.ledger().begin(&range) {
                    Begin::Go(flight) => break flight,
                    Begin::TakeBack => taken_back = true,
                }
                self.take_back(&range)?;
            };
            let written = self.resource.load().write_at(offset, data);
            self.ledger().end(flight, written.is_ok().then_some(&sums));
            // What was trusted is so no more, and its bytes may be the old ones or the new ones.
            let outcome = if taken_back { Outcome::Unknown } else { Outcome::Unchanged };
            written.map_err(|e| e.with_outcome(outcome))?;
        } else {
            self.resource.load().write_at(offset, data)?;
        }
        self.counts.wrote(data.len());
        writing.wrote(&range);
        self.tell(|observer| observer.on_write(range.clone()));
        self.checkpoint_if_due()
    }

    /// Makes the trusted extents in `range` untrusted, durably, so that they may be written (L2).
    fn take_back(&self, range: &std::ops::Range<u64>) -> Result<()> {
        let mut home = self.home();
        let Some(home) = home.as_mut() else { return Err(self.no_part("write")) };
        let lost = self.ledger().trusted_in(range);
        self.retract(home, &lost)
    }

    /// Records durably that these are trusted no more.
    pub(super) fn retract(&self, home: &mut Home, lost: &[Extent]) -> Result<()> {
        if lost.is_empty() {
            return Ok(());
        }
        if let Some(map) = &home.map {
            let recorded = map
                .change(&Change::Retract(lost.to_vec()).encode())
                .and_then(|ticket| ticket.wait());
            recorded.map_err(|e| self.map_failed(home, e))?;
        }
        self.ledger().distrust(lost);
        Ok(())
    }

    /// An error of the map: one that leaves it poisoned leaves us poisoned too.
    pub(super) fn map_failed(&self, home: &Home, error: Error) -> Error {
        let error = error.with_path(&home.part.path());
        match error.outcome() {
            Outcome::Unchanged => error,
            _ => self.poison(None, error),
        }
    }

    /// A sync failed: the bytes never get the target's name, and as far as the disk lets it, `taint` tells later owners to copy
    /// what was trusted before. It is not synced: after a power cut no cache is left that could show what the disk has not.
    pub(super) fn poison(&self, home: Option<&Home>, error: Error) -> Error {
        let error = Arc::new(error.with_outcome(Outcome::Unknown));
        if let Some(home) = home.filter(|home| home.meta.is_some()) {
            drop(home.part.dir.open(TAINT.as_ref(), How::Create(0o600)));
        }
        self.presence.poison(Arc::clone(&error));
        Error::share(&error)
    }

    pub(super) fn no_part(&self, operation: &'static str) -> Error {
        let what = "its part was given up";
        Error::new(ErrorKind::Closed, operation, &self.canonical, what)
    }

    /// Lets go of the part, and removes it or not as the options say. No sync.
    pub(super) fn release(&self) {
        let Some(home) = self.home().take() else { return };
        let Home { part, map, meta, data, .. } = home;
        drop((map, data));
        let keep = match self.options.on_drop {
            OnDrop::Keep => true,
            OnDrop::Remove => false,
            OnDrop::Auto => {
                meta.is_some() || matches!(self.presence.status(), ResourceStatus::Cancelled)
            }
        };
        if !keep {
            // What fails here is found by the next owner, or by a sweep.
            drop(part.discard());
        }
    }

    pub(super) fn is_passthrough(&self) -> bool {
        self.factory.is_none()
    }
}
