//! What a workload and a check are given: a file system, and a ledger of what was issued and acknowledged.
//!
//! # Invariants
//! - L1 The ledger only grows within a life; a crash point is a number of calls and a number of its events.
//! - L2 A power cut voids what was only acknowledged as buffered; a kill does not.

use std::fmt::{self, Debug};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::disk::SimFs;
use super::super::page::{hash_bytes, mix};
use crate::fs::Fs;

/// Why a workload or a check failed, in words.
///
/// It is made with `?` from [`untorn::Error`](crate::Error), from [`io::Error`] and from strings.
pub struct Fail(String);

impl Fail {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Debug for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Fail {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl From<&str> for Fail {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<crate::Error> for Fail {
    fn from(error: crate::Error) -> Self {
        Self(error.to_string())
    }
}

/// What the values of a ledger must be able to do.
///
/// Implemented for every type that can; `PartialEq` pairs a buffered acknowledgement with the synced one that follows,
/// `Debug` prints the trace and tells states apart.
pub trait Value: Clone + PartialEq + Debug + 'static {}

impl<T: Clone + PartialEq + Debug + 'static> Value for T {}

#[derive(Clone, Debug)]
pub(super) enum What<V> {
    Issue(V),
    Ack(V),
    Buffered(V),
    /// An operation of a sequence begins.
    Op(Arc<str>),
}

#[derive(Clone, Debug)]
pub(super) struct Event<V> {
    pub(super) what: What<V>,
    /// How many calls had been recorded.
    pub(super) at: usize,
    hash: u64,
    counter: u64,
}

/// One life of the process: its disk and its ledger.
#[derive(Debug)]
pub(super) struct Life<V> {
    pub(super) sim: SimFs,
    fs: Arc<dyn Fs>,
    ledger: Mutex<Ledger<V>>,
}

#[derive(Debug)]
pub(super) struct Ledger<V> {
    pub(super) events: Vec<Event<V>>,
    counter: u64,
}

/// What was promised at one crash point.
#[derive(Debug)]
pub(super) struct Promised<V> {
    pub(super) issued: Vec<V>,
    pub(super) acked: Vec<V>,
    /// Tells apart what checks can tell apart.
    pub(super) hash: u64,
    carried: Vec<Event<V>>,
    counter: u64,
}

impl<V: Value> Promised<V> {
    /// From the events before the crash.
    pub(super) fn new(events: &[Event<V>], power_cut: bool) -> Self {
        let mut issued = Vec::new();
        let mut acked: Vec<(V, u64, bool)> = Vec::new();
        let mut hash = 0;
        for event in events {
            match &event.what {
                What::Issue(value) => {
                    hash = mix(hash, event.hash);
                    issued.push(value.clone());
                }
                What::Buffered(value) => acked.push((value.clone(), event.hash, false)),
                What::Ack(value) => {
                    let buffered = acked.iter_mut().find(|(v, _, synced)| !synced && v == value);
                    match buffered {
                        Some(entry) => entry.2 = true,
                        None => acked.push((value.clone(), event.hash, true)),
                    }
                }
                What::Op(_) => {}
            }
        }
        acked.retain(|(_, _, synced)| *synced || !power_cut);
        let carry = |what: What<V>, hash: u64| Event { what, at: 0, hash, counter: 0 };
        let mut carried: Vec<_> =
            issued.iter().map(|v| carry(What::Issue(v.clone()), value_hash(v))).collect();
        for (value, value_hash, synced) in &acked {
            hash = mix(hash, mix(*value_hash, u64::from(*synced)));
            let value = value.clone();
            let what = if *synced { What::Ack(value) } else { What::Buffered(value) };
            carried.push(carry(what, *value_hash));
        }
        let acked = acked.into_iter().map(|(value, _, _)| value).collect();
        let counter = events.last().map_or(0, |event| event.counter);
        Self { issued, acked, hash, carried, counter }
    }
}

impl<V> Promised<V> {
    /// How many events the next life starts with.
    pub(super) const fn event_count(&self) -> usize {
        self.carried.len()
    }
}

fn value_hash<V: Debug>(value: &V) -> u64 {
    hash_bytes(11, format!("{value:?}").as_bytes())
}

impl<V: Value> Life<V> {
    pub(super) fn new(sim: SimFs, fs: Arc<dyn Fs>, before: Option<&Promised<V>>) -> Self {
        let (events, counter) =
            before.map_or((Vec::new(), 0), |before| (before.carried.clone(), before.counter));
        let mut ledger = Ledger { events, counter };
        for event in &mut ledger.events {
            event.counter = counter;
        }
        Self { sim, fs, ledger: Mutex::new(ledger) }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger<V>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, what: What<V>) {
        let at = self.sim.shared.lock().trace.as_ref().map_or(0, |trace| trace.entries.len());
        let hash = match &what {
            What::Issue(value) | What::Ack(value) | What::Buffered(value) => value_hash(value),
            What::Op(_) => 0,
        };
        let mut ledger = self.ledger();
        let counter = ledger.counter;
        ledger.events.push(Event { what, at, hash, counter });
    }

    fn next(&self) -> u64 {
        let mut ledger = self.ledger();
        ledger.counter += 1;
        ledger.counter
    }
}

/// A running workload: its file system, and the ledger of what it issued and what was promised to it.
#[derive(Debug)]
pub struct Run<V> {
    pub(super) life: Arc<Life<V>>,
}

impl<V> Clone for Run<V> {
    fn clone(&self) -> Self {
        Self { life: Arc::clone(&self.life) }
    }
}

impl<V: Value> Run<V> {
    /// The file system to open the store on.
    pub fn fs(&self) -> Arc<dyn Fs> {
        Arc::clone(&self.life.fs)
    }

    /// The simulated disk itself, without what was left out of it: for faults, rot and looking.
    pub fn sim(&self) -> SimFs {
        self.life.sim.clone()
    }

    /// Says that `value` is going to be written: from now on it may be found after a crash.
    pub fn issue(&self, value: V) {
        self.life.note(What::Issue(value));
    }

    /// Says that `value` was promised to be durable: from now on it must be found after any crash.
    pub fn ack(&self, value: V) {
        self.life.note(What::Ack(value));
    }

    /// Says that `value` was promised to survive the death of the process, not yet a power cut. A later
    /// [`ack`](Self::ack) of an equal value raises the promise.
    pub fn ack_buffered(&self, value: V) {
        self.life.note(What::Buffered(value));
    }

    /// A number that was not given before, counting from 1, also across crashes: to make values distinct.
    pub fn next(&self) -> u64 {
        self.life.next()
    }
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Crash {
    /// The process died; what it wrote is still there.
    Kill,
    /// Power failed; the disk holds one of the states it may hold.
    PowerCut,
}

/// After a crash: a new life on what is left, and what must and may be found there.
#[derive(Debug)]
pub struct After<V> {
    pub(super) run: Run<V>,
    pub(super) issued: Vec<V>,
    pub(super) acked: Vec<V>,
    pub(super) crash: Crash,
    pub(super) depth: u32,
    pub(super) faulted: bool,
}

impl<V: Value> After<V> {
    /// The file system to reopen the store on.
    pub fn fs(&self) -> Arc<dyn Fs> {
        self.run.fs()
    }

    /// The simulated disk itself: for looking at what is on it.
    pub fn sim(&self) -> SimFs {
        self.run.sim()
    }

    /// What was issued before the crash, in order: nothing else may be found.
    pub fn issued(&self) -> &[V] {
        &self.issued
    }

    /// What was promised to survive this crash, in order: all of it must be found. After a power cut that is what was
    /// acknowledged as synced, after a kill also what was acknowledged as buffered since the last power cut.
    pub fn acked(&self) -> &[V] {
        &self.acked
    }

    /// How the life before ended.
    pub const fn crash(&self) -> Crash {
        self.crash
    }

    /// How many crashes there were before: 1, or more within a nested exploration.
    pub const fn crashes(&self) -> u32 {
        self.depth
    }

    /// Whether a fault was injected in an earlier life.
    pub const fn faulted(&self) -> bool {
        self.faulted
    }

    /// As [`Run::issue`], for a check that goes on using the store: a crash within the check knows of it.
    pub fn issue(&self, value: V) {
        self.run.issue(value);
    }

    /// As [`Run::ack`].
    pub fn ack(&self, value: V) {
        self.run.ack(value);
    }

    /// As [`Run::ack_buffered`].
    pub fn ack_buffered(&self, value: V) {
        self.run.ack_buffered(value);
    }

    /// As [`Run::next`].
    pub fn next(&self) -> u64 {
        self.run.next()
    }
}
