//! A state machine whose every event is durable before it counts: events in a log, the state in snapshots.
//!
//! A program keeps its state in memory, as a [`Machine`]. [`Journal::update`] decides on the state as it is, logs the
//! event, applies it, and returns when the event is durable. Any number of threads do so at once: each decision sees all
//! decisions before it, and all of them share syncs. [`Journal::checkpoint`] writes the state down and drops the log that it
//! covers. [`Journal::open`] brings the state back: the newest snapshot that verifies, and every event after it.
//!
//! ```
//! use std::collections::BTreeMap;
//! use untorn::codec::Json;
//! use untorn::journal::{Journal, JournalOptions, Machine};
//!
//! /// Accounts, and what is on them.
//! #[derive(Default)]
//! struct Ledger(BTreeMap<String, u64>);
//!
//! impl Machine for Ledger {
//!     type Event = (String, String, u64); // from, to, amount
//!     type View = BTreeMap<String, u64>;
//!     type EventCodec = Json;
//!     type ViewCodec = Json;
//!     const NAME: &'static str = "ledger";
//!     const VERSION: u32 = 1;
//!
//!     fn apply(&mut self, _seq: u64, (from, to, amount): &Self::Event) {
//!         if let Some(balance) = self.0.get_mut(from) {
//!             *balance -= amount;
//!         }
//!         *self.0.entry(to.clone()).or_default() += amount;
//!     }
//!     fn capture(&self) -> Self::View {
//!         self.0.clone()
//!     }
//!     fn restore(view: Self::View) -> Result<Self, String> {
//!         Ok(Self(view))
//!     }
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("ledger");
//! let start = Ledger(BTreeMap::from([("bank".to_owned(), 100)]));
//! let (journal, _report) = Journal::open(&dir, start, JournalOptions::new())?;
//! let pay = |from: &str, to: &str, amount: u64| {
//!     journal.update(|ledger| {
//!         let balance = ledger.0.get(from).copied().unwrap_or(0);
//!         let left = balance.checked_sub(amount).ok_or("not enough")?;
//!         Ok::<_, &str>(((from.to_owned(), to.to_owned(), amount), left))
//!     })
//! };
//! assert_eq!(pay("bank", "ann", 60)?, Ok(40)); // durable
//! assert_eq!(pay("bank", "bob", 60)?, Err("not enough")); // decided on what is durable
//! assert_eq!(journal.read(|ledger| ledger.0["ann"])?, 60);
//! journal.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Testing a machine
//! With the feature `sim` the explorer runs a machine of your own through every state in which a power cut or a kill may leave it:
//! ```
//! # #[cfg(feature = "sim")] {
//! # use untorn::codec::Json;
//! # use untorn::journal::{Journal, JournalOptions, Machine};
//! # #[derive(Default)]
//! # struct Sum(u64);
//! # impl Machine for Sum {
//! #     type Event = u64;
//! #     type View = u64;
//! #     type EventCodec = Json;
//! #     type ViewCodec = Json;
//! #     const NAME: &'static str = "sum";
//! #     const VERSION: u32 = 1;
//! #     fn apply(&mut self, _seq: u64, event: &u64) { self.0 += *event; }
//! #     fn capture(&self) -> u64 { self.0 }
//! #     fn restore(view: u64) -> Result<Self, String> { Ok(Self(view)) }
//! # }
//! use untorn::sim::{Explorer, Fail};
//! let open = |fs| Journal::open("/app", Sum::default(), JournalOptions::new().fs(fs));
//! let report = Explorer::new("sum")
//!     .workload(move |run| {
//!         let (journal, _) = open(run.fs())?;
//!         for sum in [1, 2, 3] {
//!             run.issue(sum); // from here on it may be found
//!             journal.commit(1)?;
//!             run.ack(sum); // from here on it must be found
//!             journal.checkpoint()?;
//!         }
//!         Ok(())
//!     })
//!     .check(move |after| {
//!         let found = open(after.fs())?.0.peek(|sum, _| sum.0);
//!         let acked = after.acked().last().copied().unwrap_or(0);
//!         let issued = after.issued().last().copied().unwrap_or(0);
//!         if (acked..=issued).contains(&found) { Ok(()) } else { Err(Fail::new("lost")) }
//!     })
//!     .explore();
//! assert!(report.distinct_states > 100);
//! # }
//! ```
//!
//! # On disk
//! A directory with `JOURNAL` (what it is a journal of), `log`, `snap`, a `LOCK` and, where something was cut or does not
//! verify, a `quarantine`: docs/FORMAT.md has every byte. The truth is the newest snapshot that verifies, and the log above it.
//!
//! # Concurrency
//! One process owns a journal; any number of its threads use it. Other processes read with [`Journal::open_read_only`].
//! Decisions are made one after the other, under a lock that is not held during a sync.
//!
//! # Limits
//! The state fits in memory, and so do one event and the bytes of one snapshot while it is loaded.
//! Not for queries over more data than memory, nor for more than one writing process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::commit::{Claim, Poison};
use crate::fs::{Dir, Fs};
use crate::log::{Log, LogPos, Ticket};
use crate::snapshot::SnapshotInfo;
use crate::{Durability, Error, ErrorKind, Outcome, Result};

mod background;
mod checkpoint;
mod event;
mod identify;
mod identity;
mod machine;
mod open;
mod options;
mod reader;
mod shelf;
mod stats;
mod tail;
#[cfg(feature = "blake3")]
mod transfer;
mod verify;
pub mod wal;

use background::Background;
use checkpoint::Growth;
use shelf::Shelf;

pub use event::split_record;
pub use identify::{JournalInfo, identify};
pub use machine::Machine;
pub use open::RecoveryReport;
pub use options::{Checkpoint, JournalOptions};
pub use reader::JournalReader;
pub use stats::JournalStats;
pub use tail::Tail;
#[cfg(feature = "blake3")]
pub use transfer::{import, import_with};
pub use verify::{JournalReport, verify, verify_with};

/// An event's buffer above this is not kept for the next one.
const KEEP_RECORD: usize = 1 << 20;

/// An open journal. Cheap to clone; all clones are the same journal. See the [module](self).
pub struct Journal<M: Machine>(Arc<Inner<M>>);

struct Inner<M> {
    path: PathBuf,
    fs: Arc<dyn Fs>,
    dir: Arc<dyn Dir>,
    options: JournalOptions,
    log: Log,
    state: RwLock<State<M>>,
    /// Set where the state is ahead of what the log will ever hold, or is not to be trusted: see `poison_by`.
    poison: Poison,
    /// The directory of the snapshots.
    snap_dir: Arc<dyn Dir>,
    /// The snapshots that count. Held during a checkpoint, so that there is one at a time.
    shelf: Mutex<Shelf>,
    /// The newest one that counts, for those who only ask.
    latest: Mutex<Option<SnapshotInfo>>,
    growth: Growth,
    background: Background,
    /// Why the last checkpoint in the background failed.
    checkpoint_error: Mutex<Option<Arc<Error>>>,
    claim: Mutex<Option<Claim>>,
}

/// The state, and the event that it was made by last.
struct State<M> {
    machine: M,
    applied: u64,
    last: Last,
    /// Where events are encoded, one after the other.
    record: Vec<u8>,
}

/// Where the last applied event is.
#[derive(Clone, Debug)]
enum Last {
    /// On its way.
    Ticket(Ticket),
    /// On disk since the journal was opened; `None` if there is no event at all.
    Pos(Option<LogPos>),
}

/// What a caller saw: it may leave when that is acknowledged.
#[derive(Debug)]
struct Seen {
    seq: u64,
    last: Last,
}

/// How far a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seqs {
    /// The last event that was applied to the state.
    pub applied: u64,
    /// The last event that survives power loss.
    pub durable: u64,
}

impl<M: Machine> Journal<M> {
    /// Decides on the state, logs the event that `decide` returns, applies it, and returns when it is durable.
    ///
    /// `decide` sees every event that was decided before, durable or not; so does its refusal, and it too is returned
    /// only when what it saw is durable. No other decision is made meanwhile, so it should be short.
    ///
    /// # Durability
    /// **On `Ok(Ok(r))`** the event and all before it survive power loss (with `Buffered`: the death of the process).
    /// **On `Ok(Err(x))`** nothing was logged. **On `Err`** [`Error::outcome`] says whether the event is there: `Unchanged`, or
    /// `Unknown` and the journal is poisoned. **If the process dies** or **if power fails** before it returns, the event is
    /// there whole or not at all, and never without all events before it.
    ///
    /// # Cost
    /// One sync, shared by all who wait at the same time. Blocks.
    ///
    /// # Errors
    /// `Codec`; `TooLarge`; `NoSpace`: no effect, retry when there is some; `NoSpace` from an event that was already
    /// admitted, and any error of the disk: the journal is `Poisoned` from then on, for its state is ahead of its log; `Closed`.
    ///
    /// # Panics
    /// If `decide` does: nothing happened then. If [`Machine::apply`] does: the journal is poisoned.
    pub fn update<R, X>(
        &self,
        decide: impl FnOnce(&M) -> Result<(M::Event, R), X>,
    ) -> Result<Result<R, X>> {
        let (decided, seen) = self.0.decide("update", decide)?;
        self.0.settle(seen)?;
        Ok(decided)
    }

    /// Logs and applies an event, and does not wait: it is acknowledged when the ticket is.
    ///
    /// # Durability
    /// **On `Ok`** as [`Log::append`]: wait for the ticket, with [`wait`](Self::wait) or as a future of
    /// `aio`. **On `Err`** nothing happened; `Unchanged`.
    ///
    /// # Cost
    /// No sync, but where [`Log::append`] has one.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    ///
    /// # Panics
    /// If [`Machine::apply`] does; the journal is poisoned then.
    pub fn submit(&self, event: M::Event) -> Result<Ticket> {
        match self.submit_with(|_| Ok::<_, std::convert::Infallible>(event))? {
            Ok(ticket) => Ok(ticket),
            Err(never) => match never {},
        }
    }

    /// As [`submit`](Self::submit), of an event that is decided on the state.
    ///
    /// A refusal is returned at once; what it saw may not be durable yet.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    ///
    /// # Panics
    /// As [`update`](Self::update).
    pub fn submit_with<X>(
        &self,
        decide: impl FnOnce(&M) -> Result<M::Event, X>,
    ) -> Result<Result<Ticket, X>> {
        let (decided, seen) = self.0.decide("submit to", |m| decide(m).map(|event| (event, ())))?;
        match (decided, seen.last) {
            (Ok(()), Last::Ticket(ticket)) => Ok(Ok(ticket)),
            (Ok(()), Last::Pos(_)) => {
                unreachable!("an event that was logged just now has a ticket")
            }
            (Err(refusal), _) => Ok(Err(refusal)),
        }
    }

    /// Logs and applies events that are there all or not at all after a crash. The ticket is the last one's.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); `InvalidInput` for no events; `TooLarge` from 4 GiB on.
    ///
    /// # Panics
    /// If [`Machine::apply`] does; the journal is poisoned then.
    #[expect(clippy::needless_pass_by_value, reason = "an event that was submitted is gone")]
    pub fn submit_batch(&self, events: Vec<M::Event>) -> Result<Ticket> {
        self.0.submit_batch(&events)
    }

    /// Logs and applies an event, and returns its number when it is durable.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    ///
    /// # Panics
    /// As [`submit`](Self::submit).
    pub fn commit(&self, event: M::Event) -> Result<u64> {
        let ticket = self.submit(event)?;
        self.wait(&ticket)
    }

    /// Reads the state. The result is handed out when all that `look` saw is durable, so nobody acts on what a crash takes back.
    ///
    /// # Cost
    /// No sync if what it saw is durable, which it mostly is; else it waits for the sync that is running or makes one.
    ///
    /// # Errors
    /// `Poisoned`; `Closed`.
    ///
    /// # Panics
    /// If `look` does.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> Result<R> {
        let (result, seen) = self.0.look("read", look)?;
        self.0.settle(seen)?;
        Ok(result)
    }

    /// Reads the state as it is, durable or not: [`Seqs`] tells how far ahead of the disk it is. Works on a poisoned journal too.
    ///
    /// # Panics
    /// If `look` does.
    pub fn peek<R>(&self, look: impl FnOnce(&M, Seqs) -> R) -> R {
        let state = self.0.state();
        let seqs = Seqs { applied: state.applied, durable: self.0.log.durable_seq() };
        look(&state.machine, seqs)
    }

    /// Waits until the event and all before it are durable, and returns its number.
    ///
    /// # Errors
    /// As [`Log::wait`]; the journal is poisoned then.
    pub fn wait(&self, ticket: &Ticket) -> Result<u64> {
        let waited = self.0.log.wait(ticket);
        waited.map_err(|error| self.0.poison_by(error))
    }

    /// Syncs all events that were logged before the call, and returns the last number that is durable.
    ///
    /// # Errors
    /// As [`Log::sync`]; the journal is poisoned then.
    pub fn sync(&self) -> Result<u64> {
        self.0.check("sync")?;
        self.0.log.sync().map_err(|error| self.0.poison_by(error))
    }

    /// Decides, logs and applies; the ticket is what to wait for before the result may be handed out.
    #[cfg(feature = "tokio")]
    pub(crate) fn begin_update<R, X>(
        &self,
        decide: impl FnOnce(&M) -> Result<(M::Event, R), X>,
    ) -> Result<(Result<R, X>, Option<Ticket>)> {
        let (decided, seen) = self.0.decide("update", decide)?;
        Ok((decided, self.0.pending(seen)?))
    }

    /// Reads; the ticket is what to wait for before the result may be handed out.
    #[cfg(feature = "tokio")]
    pub(crate) fn begin_read<R>(&self, look: impl FnOnce(&M) -> R) -> Result<(R, Option<Ticket>)> {
        let (result, seen) = self.0.look("read", look)?;
        Ok((result, self.0.pending(seen)?))
    }

    /// What an event fails by that was awaited.
    #[cfg(feature = "tokio")]
    pub(crate) fn failed(&self, error: Error) -> Error {
        self.0.poison_by(error)
    }

    /// How far the journal is.
    pub fn seqs(&self) -> Seqs {
        self.peek(|_, seqs| seqs)
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Waits for a checkpoint that runs, syncs, and records the end of the log. Other clones answer `Closed`. Makes no checkpoint.
    ///
    /// # Durability
    /// As [`Log::close`].
    ///
    /// # Errors
    /// As [`Log::close`]; `Poisoned`.
    pub fn close(self) -> Result<()> {
        let inner = &*self.0;
        inner.background.stop();
        let _no_checkpoint = inner.shelf();
        inner.check("close")?;
        inner.log.clone().close()?;
        drop(inner.claim.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }
}

impl<M> Inner<M> {
    fn state(&self) -> RwLockReadGuard<'_, State<M>> {
        // A panic in a decision left the state as it was; one in `apply` has set `poison`.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State<M>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> MutexGuard<'_, Option<SnapshotInfo>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        self.poison.check(operation, &self.path)?;
        self.log.check(operation)
    }

    /// What is as good as acknowledged.
    fn acknowledged(&self) -> u64 {
        match self.options.log.durability {
            Durability::Synced => self.log.durable_seq(),
            Durability::Buffered => self.log.written_seq(),
        }
    }

    fn look<R>(&self, operation: &'static str, look: impl FnOnce(&M) -> R) -> Result<(R, Seen)> {
        let state = self.state();
        self.check(operation)?;
        Ok((look(&state.machine), state.seen()))
    }

    /// Waits until what was seen is acknowledged.
    fn settle(&self, seen: Seen) -> Result<()> {
        match self.pending(seen)? {
            None => Ok(()),
            Some(ticket) => {
                let waited = self.log.wait(&ticket);
                waited.map(drop).map_err(|error| self.poison_by(error))
            }
        }
    }

    /// What is to be waited for until what was seen is acknowledged.
    fn pending(&self, seen: Seen) -> Result<Option<Ticket>> {
        match seen.last {
            _ if self.acknowledged() >= seen.seq => Ok(None),
            Last::Ticket(ticket) => Ok(Some(ticket)),
            // It was durable when the journal was opened; a withdrawal never goes back so far.
            Last::Pos(_) => self.check("read").map(|()| None),
        }
    }

    /// Whatever an admitted event fails by, the state has it and the log may not: only a reopen tells. Returns the error.
    #[cold]
    fn poison_by(&self, error: Error) -> Error {
        let harmless = [ErrorKind::TimedOut, ErrorKind::Closed];
        if harmless.contains(&error.kind()) {
            return error;
        }
        let cause = Arc::new(error);
        self.poison.set(Arc::clone(&cause));
        Error::share(&cause)
    }
}

impl<M: Machine> Inner<M> {
    fn decide<R, X>(
        &self,
        operation: &'static str,
        decide: impl FnOnce(&M) -> Result<(M::Event, R), X>,
    ) -> Result<(Result<R, X>, Seen)> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        self.check(operation)?;
        let (event, result) = match decide(&state.machine) {
            Ok(decided) => decided,
            Err(refusal) => return Ok((Err(refusal), state.seen())),
        };
        state.record.clear();
        event::encode::<M>(&event, &mut state.record).map_err(|e| e.with_path(&self.path))?;
        let next = state.applied.saturating_add(1);
        let ticket = self.append(next, &[&state.record])?;
        self.grew(state.record.len());
        if state.record.capacity() > KEEP_RECORD {
            state.record = Vec::new();
        }
        self.apply(state, std::slice::from_ref(&event), ticket);
        Ok((Ok(result), state.seen()))
    }

    fn submit_batch(&self, events: &[M::Event]) -> Result<Ticket> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        self.check("submit to")?;
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(events.len());
        for event in events {
            event::encode::<M>(event, &mut bytes).map_err(|e| e.with_path(&self.path))?;
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let records: Vec<&[u8]> =
            starts.zip(&ends).filter_map(|(from, &to)| bytes.get(from..to)).collect();
        let ticket = self.append(state.applied.saturating_add(1), &records)?;
        self.grew(bytes.len());
        self.apply(state, events, ticket.clone());
        Ok(ticket)
    }

    /// Appends the records that follow the state; where the log has taken back what the state has, nothing can follow.
    fn append(&self, next: u64, records: &[&[u8]]) -> Result<Ticket> {
        self.log.append_next(next, records).map_err(|error| {
            if error.kind() != ErrorKind::Stale {
                return error;
            }
            let what =
                "the log took back events that the state has, since the disk was full after all";
            let cause = Error::new(ErrorKind::NoSpace, "append to", &self.path, what);
            self.poison.set(Arc::new(cause));
            match self.poison.check("append to", &self.path) {
                Err(poisoned) => poisoned.with_outcome(Outcome::Unchanged),
                Ok(()) => error,
            }
        })
    }

    /// Applies what was logged. A panic on the way leaves nobody a state to rely on.
    fn apply(&self, state: &mut State<M>, events: &[M::Event], ticket: Ticket) {
        let mut guard = ApplyGuard { inner: self, done: false };
        state.last = Last::Ticket(ticket);
        for event in events {
            let seq = state.applied.saturating_add(1);
            state.machine.apply(seq, event);
            state.applied = seq;
        }
        guard.done = true;
    }
}

/// Poisons the journal if `apply` does not come back.
struct ApplyGuard<'a, M> {
    inner: &'a Inner<M>,
    done: bool,
}

impl<M> Drop for ApplyGuard<'_, M> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let what = "the machine panicked while it applied an event";
        let cause = Error::new(ErrorKind::Failed, "apply", &self.inner.path, what)
            .with_outcome(Outcome::Unknown);
        self.inner.poison.set(Arc::new(cause));
    }
}

impl<M> State<M> {
    fn seen(&self) -> Seen {
        Seen { seq: self.applied, last: self.last.clone() }
    }
}

impl<M: Machine> Clone for Journal<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Machine> std::fmt::Debug for Journal<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seqs = self.seqs();
        f.debug_struct("Journal")
            .field("machine", &M::NAME)
            .field("path", &self.0.path)
            .field("applied", &seqs.applied)
            .field("durable", &seqs.durable)
            .field("poisoned", &self.0.poison.is_set())
            .finish_non_exhaustive()
    }
}
