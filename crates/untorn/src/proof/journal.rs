//! The journal under the explorer: events and checkpoints, crashed everywhere, opened again, compared and used on.

use std::fmt;
use std::sync::Arc;

use super::shape::{Entry, Item, Promises, candidates, recognise};
use super::{Part, Task};
use crate::codec::Raw;
use crate::journal::{Journal, JournalOptions, Machine, RecoveryReport};
use crate::log::LogOptions;
use crate::sim::{After, Explorer, Fail, FaultKind, Report, Run, Violation};
use crate::{Durability, ErrorKind, Outcome};

const DIR: &str = "/data/app";
/// Small enough that a checkpoint can drop segments.
const SEGMENT: u64 = 1024;

/// A machine that remembers every event with its number: nothing lost, doubled or swapped goes unnoticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Memory {
    events: Vec<(u64, Vec<u8>)>,
}

impl Machine for Memory {
    type Event = Vec<u8>;
    type View = Vec<u8>;
    type EventCodec = Raw;
    type ViewCodec = Raw;
    const NAME: &'static str = "memory";
    const VERSION: u32 = 1;

    fn apply(&mut self, seq: u64, event: &Vec<u8>) {
        self.events.push((seq, event.clone()));
    }

    fn capture(&self) -> Vec<u8> {
        let mut view = Vec::new();
        for (seq, event) in &self.events {
            view.extend(seq.to_le_bytes());
            view.extend((event.len() as u64).to_le_bytes());
            view.extend(event);
        }
        view
    }

    fn restore(view: Vec<u8>) -> Result<Self, String> {
        let mut events = Vec::new();
        let mut rest = &view[..];
        while let Some((head, after)) = rest.split_first_chunk::<16>() {
            let number =
                |at: usize| u64::from_le_bytes(*head[at..].first_chunk().unwrap_or(&[0; 8]));
            let len = usize::try_from(number(8)).map_err(|e| e.to_string())?;
            let (event, after) = after.split_at_checked(len).ok_or("the view is cut")?;
            events.push((number(0), event.to_vec()));
            rest = after;
        }
        Ok(Self { events })
    }

    fn digest(&self) -> Option<u64> {
        Some(self.events.iter().map(|(seq, event)| seq ^ event.len() as u64).sum())
    }
}

/// What a journal holds.
#[derive(Clone, Default)]
struct Shape {
    events: Vec<Item>,
    /// A snapshot that covers so many of them was promised.
    snapshot: u64,
}

impl Shape {
    fn matches(&self, seen: &Seen) -> bool {
        let same =
            |item: &Item, (seq, bytes): &(u64, Vec<u8>)| item.seq == *seq && item.bytes() == *bytes;
        self.snapshot <= seen.snapshot
            && self.events.len() == seen.events.len()
            && self.events.iter().zip(&seen.events).all(|(item, event)| same(item, event))
    }

    fn last(&self) -> u64 {
        self.events.len() as u64
    }

    fn with(&self, new: &[(u64, usize)]) -> Self {
        let mut next = self.clone();
        for &(id, len) in new {
            next.events.push(Item { seq: next.last() + 1, id, len });
        }
        next
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "events 1..={}, a snapshot from {} on", self.last(), self.snapshot)
    }
}

type Ledger = Entry<Shape>;

/// What an open journal shows.
struct Seen {
    events: Vec<(u64, Vec<u8>)>,
    snapshot: u64,
}

impl Seen {
    fn of(journal: &Journal<Memory>, report: &RecoveryReport) -> Self {
        let events = journal.peek(|memory, _| memory.events.clone());
        let snapshot = report.snapshot.as_ref().map_or(0, |info| info.seq);
        Self { events, snapshot }
    }
}

struct World {
    journal: Option<Journal<Memory>>,
    options: JournalOptions,
    shape: Shape,
    promises: Promises,
}

fn options(fs: Arc<dyn crate::fs::Fs>, durability: Durability, keep: usize) -> JournalOptions {
    let log = LogOptions::new().segment_bytes(SEGMENT).durability(durability);
    JournalOptions::new().log(log).keep_snapshots(keep).fs(fs)
}

impl World {
    fn open(run: &Run<Ledger>, durability: Durability, keep: usize) -> Result<Self, Fail> {
        let options = options(run.fs(), durability, keep);
        let mut world =
            Self { journal: None, options, shape: Shape::default(), promises: Promises::default() };
        world.reopen(run)?;
        Ok(world)
    }

    /// Opens the journal; what it shows then is promised.
    fn reopen(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.journal = None;
        let (journal, report) = Journal::open(DIR, Memory::default(), self.options.clone())?;
        let seen = Seen::of(&journal, &report);
        let events = recognise(&seen.events, &self.shape.events);
        let Some(events) = events else {
            return Err("an event has other bytes than were logged".into());
        };
        // That a snapshot was found does not mean that it is durable: the state is, with it or without.
        self.shape.events = events;
        let entry = self.promises.issue(run, "opened", &self.shape);
        self.promises.ack(run, entry);
        self.journal = Some(journal);
        Ok(())
    }

    /// Makes a step: begins the new state, and promises it or takes it back.
    fn step(
        &mut self,
        run: &Run<Ledger>,
        name: &'static str,
        next: Shape,
        act: impl FnOnce(&Journal<Memory>) -> crate::Result<Acked>,
    ) -> Result<(), Fail> {
        let journal = self.journal.clone().ok_or("the journal did not open")?;
        let (before, all_promised) = (self.shape.clone(), self.promises.all_kept());
        self.shape = next;
        let entry = self.promises.issue(run, name, &self.shape);
        match act(&journal) {
            Ok(Acked::No) => {}
            Ok(Acked::Buffered) => run.ack_buffered(entry),
            Ok(Acked::Synced) => self.promises.ack(run, entry),
            Err(error) => {
                if error.outcome() == Outcome::Unchanged && error.kind() != ErrorKind::Poisoned {
                    // C10: what an error calls unchanged is not found changed.
                    self.shape = before;
                    let entry = self.promises.issue(run, "unchanged", &self.shape);
                    if all_promised {
                        self.promises.ack(run, entry);
                    }
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn acked(&self) -> Acked {
        match self.options.log.durability {
            Durability::Synced => Acked::Synced,
            Durability::Buffered => Acked::Buffered,
        }
    }

    fn log(&mut self, run: &Run<Ledger>, lens: &[usize], wait: bool) -> Result<(), Fail> {
        let ids: Vec<(u64, usize)> = lens.iter().map(|&len| (run.next(), len)).collect();
        let next = self.shape.with(&ids);
        let mut events: Vec<Vec<u8>> =
            next.events[self.shape.events.len()..].iter().map(|item| item.bytes()).collect();
        let acked = self.acked();
        self.step(run, "log", next, |journal| {
            let ticket = match events.len() {
                1 => journal.submit(events.remove(0))?,
                _ => journal.submit_batch(events)?,
            };
            if !wait {
                return Ok(Acked::No);
            }
            journal.wait(&ticket)?;
            Ok(acked)
        })
    }

    /// Whatever a refusal or a reader saw is promised when it returns.
    fn refuse(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let (next, last, acked) = (self.shape.clone(), self.shape.last(), self.acked());
        self.step(run, "refuse", next, |journal| {
            let seen =
                journal.update(|memory| Err::<(Vec<u8>, ()), u64>(memory.events.len() as u64))?;
            Ok(if seen == Err(last) { acked } else { Acked::No })
        })
    }

    fn checkpoint(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let next = Shape { snapshot: self.shape.last(), ..self.shape.clone() };
        self.step(run, "checkpoint", next, |journal| {
            journal.checkpoint()?;
            Ok(Acked::Synced)
        })
    }

    fn close(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let next = self.shape.clone();
        self.step(run, "close", next, |journal| {
            journal.clone().close()?;
            Ok(Acked::Synced)
        })?;
        self.reopen(run)
    }
}

#[derive(Clone, Copy)]
enum Acked {
    No,
    Buffered,
    Synced,
}

fn check(after: &After<Ledger>, keep: usize) -> Result<(), Fail> {
    let options = options(after.fs(), Durability::Synced, keep);
    let before = look_before(after, &options)?;
    let (journal, report) = Journal::open(DIR, Memory::default(), options.clone())?;
    let seen = Seen::of(&journal, &report);
    compare(after, &seen)?;
    if let Some((path, error)) = report.skipped.first() {
        return Err(Fail::new(format!("a crash spoiled {}: {error}", path.display())));
    }
    if !seen.events.starts_with(&before) {
        return Err("a reader saw what the owner's open does not show".into());
    }
    let snapshot = candidates(after).0.first().map_or(0, |promised| promised.snapshot);
    let shape = Shape { events: restore(after, &seen.events), snapshot };
    let opened = Entry::State(after.next(), "recovered", Arc::new(shape.clone()));
    after.issue(opened.clone());
    after.ack(opened);
    if journal.seqs().durable != shape.last() {
        return Err("an open journal has a tail that it calls not durable".into());
    }
    no_leaks(after, report.log.first_seq)?;
    let shape = use_on(after, &journal, shape)?;
    drop(journal);
    // C7: opened once more, it shows the same.
    let (journal, report) = Journal::open(DIR, Memory::default(), options)?;
    if report.log.healed.is_some() || !report.skipped.is_empty() {
        return Err("a journal that was opened and used in order was healed again".into());
    }
    if shape.matches(&Seen::of(&journal, &report)) {
        Ok(())
    } else {
        Err("opened again, it shows something else".into())
    }
}

fn compare(after: &After<Ledger>, seen: &Seen) -> Result<(), Fail> {
    let (states, or_nothing) = candidates(after);
    let nothing = or_nothing && seen.events.is_empty();
    if nothing || states.iter().any(|shape| shape.matches(seen)) {
        return Ok(());
    }
    let promised = states.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let (found, snapshot) = (seen.events.len(), seen.snapshot);
    Err(Fail::new(format!("promised {promised}; found {found} events, a snapshot of {snapshot}")))
}

/// What a reader sees that looks before the owner opens; it changes nothing.
fn look_before(
    after: &After<Ledger>,
    options: &JournalOptions,
) -> Result<Vec<(u64, Vec<u8>)>, Fail> {
    let files = after.sim().dump();
    match Journal::open_read_only(DIR, Memory::default(), options.clone()) {
        Ok(reader) if after.sim().dump() == files => Ok(reader.state().events.clone()),
        Ok(_) => Err("a reader changed something".into()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e.into()),
    }
}

/// The items of what was found; it was compared before.
fn restore(after: &After<Ledger>, found: &[(u64, Vec<u8>)]) -> Vec<Item> {
    let (states, _) = candidates(after);
    let written: Vec<Item> = states.iter().flat_map(|shape| shape.events.iter().copied()).collect();
    recognise(found, &written).unwrap_or_default()
}

/// C8: what was recovered can be used.
fn use_on(
    after: &After<Ledger>,
    journal: &Journal<Memory>,
    mut shape: Shape,
) -> Result<Shape, Fail> {
    let seq = shape.last() + 1;
    let item = Item { seq, id: after.next(), len: 40 };
    shape.events.push(item);
    let entry = Entry::State(after.next(), "used on", Arc::new(shape.clone()));
    after.issue(entry.clone());
    let got = journal.commit(item.bytes())?;
    after.ack(entry);
    if got != seq {
        return Err(Fail::new(format!("the next event got number {got}, not {seq}")));
    }
    shape.snapshot = seq;
    let entry = Entry::State(after.next(), "checkpoint after recovery", Arc::new(shape.clone()));
    after.issue(entry.clone());
    journal.checkpoint()?;
    after.ack(entry);
    Ok(shape)
}

/// C9: the directory holds what the journal needs and nothing else, and each snapshot has the log that it needs (J5).
fn no_leaks(after: &After<Ledger>, first_seq: u64) -> Result<(), Fail> {
    for (path, _) in after.sim().dump() {
        let Some(name) = path.strip_prefix(DIR).ok().and_then(|p| p.to_str()) else { continue };
        let parts: Vec<&str> = name.split('/').collect();
        let known = match parts[..] {
            ["" | "JOURNAL" | "LOCK" | "log" | "snap" | "quarantine"]
            | ["log", "META" | "LOCK" | "quarantine"] => true,
            ["log", segment] => segment.strip_suffix(".seg").is_some(),
            ["snap", snapshot] => {
                let seq =
                    snapshot.strip_suffix(".snap").and_then(|digits| digits.parse::<u64>().ok());
                if seq.is_some_and(|seq| seq + 1 < first_seq) {
                    return Err(Fail::new(format!("{name} needs the log from before {first_seq}")));
                }
                seq.is_some()
            }
            ["quarantine", copy] | ["log", "quarantine", copy] => {
                copy.strip_suffix(".untorn-tmp").is_none()
            }
            _ => false,
        };
        if !known {
            return Err(Fail::new(format!("left over: {name}")));
        }
    }
    Ok(())
}

fn check_two(after: &After<Ledger>) -> Result<(), Fail> {
    check(after, 2)
}

fn check_one(after: &After<Ledger>) -> Result<(), Fail> {
    check(after, 1)
}

fn explorer(
    task: Task<'_>,
    check: fn(&After<Ledger>) -> Result<(), Fail>,
) -> Explorer<Ledger, World> {
    task.explorer(check)
        .op("commit", |run, world: &mut World| world.log(run, &[20], true))
        .op("commit a sector", |run, world| world.log(run, &[600], true))
        .op("submit", |run, world| world.log(run, &[24], false))
        .op("commit a batch", |run, world| world.log(run, &[30, 200, 10], true))
        .op("refuse", |run, world| world.refuse(run))
        .op("checkpoint", |run, world| world.checkpoint(run))
        .op("close", |run, world| world.close(run))
        .op("reopen", |run, world| world.reopen(run))
}

/// Two snapshots, and a log whose front has moved.
fn two_checkpoints(run: &Run<Ledger>, keep: usize) -> Result<World, Fail> {
    let mut world = World::open(run, Durability::Synced, keep)?;
    for _ in 0..2 {
        world.log(run, &[20, 400], true)?;
        world.log(run, &[500], true)?;
        world.checkpoint(run)?;
    }
    world.log(run, &[30], true)?;
    Ok(world)
}

fn sequences(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task, check_two)
        .start("empty", |run| World::open(run, Durability::Synced, 2))
        .start("two checkpoints", |run| two_checkpoints(run, 2))
        .sequences(3)
        .states_per_point(64, 16)
        .try_explore()
        .map_err(Box::new)
}

fn keep_one(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task, check_one)
        .start("two checkpoints, one kept", |run| two_checkpoints(run, 1))
        .start("empty, buffered", |run| World::open(run, Durability::Buffered, 1))
        .sequences(2)
        .states_per_point(64, 16)
        .try_explore()
        .map_err(Box::new)
}

fn nested(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    explorer(task, check_two)
        .start("empty", |run| World::open(run, Durability::Synced, 2))
        .start("two checkpoints", |run| two_checkpoints(run, 2))
        .sequences(1)
        .states_per_point(16, 4)
        .nested(2)
        .nested_budget(states)
        .try_explore()
        .map_err(Box::new)
}

fn faults(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task, check_two)
        .start("empty", |run| World::open(run, Durability::Synced, 2))
        .start("two checkpoints", |run| two_checkpoints(run, 2))
        .fault_sequences(2)
        .states_per_point(8, 2)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part {
            name: "journal_all_sequences",
            what: "events and checkpoints, sequences of up to three, power cuts and kills",
            run: sequences,
        },
        Part {
            name: "journal_keeps_one_snapshot",
            what: "the same with one snapshot kept, and acknowledged as buffered only",
            run: keep_one,
        },
        Part {
            name: "journal_crashes_within_recovery",
            what: "crashes within the recovery, and within the recovery from those",
            run: nested,
        },
        Part {
            name: "journal_a_fault_at_every_call",
            what: "calls that fail, each in every way, then power cuts and kills",
            run: faults,
        },
    ]
}
