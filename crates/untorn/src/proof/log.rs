//! The log under the explorer: every sequence of its operations, crashed, opened again, compared and used on.

use std::fmt;
use std::sync::Arc;

use super::shape::{Entry, Item, Promises, candidates, recognise, torn_bytes_are_kept};
use super::{Part, Task};
use crate::log::{Log, LogOptions, Upto};
use crate::sim::{After, Crash, Explorer, Fail, FaultKind, Report, Run, Violation};
use crate::{Durability, ErrorKind, Outcome};

const DIR: &str = "/data/log";
/// Small enough that every operation meets a segment's end.
const SEGMENT: u64 = 1024;

/// What a log holds: each record's number, and what its bytes are made from.
#[derive(Clone, Default)]
struct Shape {
    /// Where the log may begin: from the one that is known to be dropped to what may be dropped.
    front: (u64, u64),
    records: Vec<Item>,
}

impl Shape {
    /// Whether a log shows this state.
    fn matches(&self, (first, found): &Seen) -> bool {
        let kept = self.records.iter().filter(|item| item.seq >= *first);
        (self.front.0..=self.front.1).contains(first)
            && kept.clone().count() == found.len()
            && kept
                .zip(found)
                .all(|(item, (seq, bytes))| item.seq == *seq && item.bytes() == *bytes)
    }

    fn last(&self) -> u64 {
        self.records.last().map_or(self.front.0 - 1, |item| item.seq)
    }

    /// With new records at the end.
    fn with(&self, new: &[(u64, usize)]) -> Self {
        let mut next = self.clone();
        for &(id, len) in new {
            next.records.push(Item { seq: next.last() + 1, id, len });
        }
        next
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.records.last().map_or(0, |item| item.seq);
        let (first, up_to) = self.front;
        if first == up_to {
            write!(f, "{first}..={last}")
        } else {
            write!(f, "{first}|{up_to}..={last}")
        }
    }
}

type Ledger = Entry<Shape>;

/// What a log shows: its first number, and all records with theirs.
type Seen = (u64, Vec<(u64, Vec<u8>)>);

/// An open log, and what it holds.
struct World {
    log: Option<Log>,
    options: LogOptions,
    shape: Shape,
    promises: Promises,
}

fn options(run: &Run<Ledger>, durability: Durability) -> LogOptions {
    LogOptions::new().segment_bytes(SEGMENT).durability(durability).fs(run.fs())
}

impl World {
    fn open(run: &Run<Ledger>, durability: Durability) -> Result<Self, Fail> {
        let options = options(run, durability);
        let shape = Shape { front: (1, 1), records: Vec::new() };
        let mut world = Self { log: None, options, shape, promises: Promises::default() };
        world.reopen(run)?;
        Ok(world)
    }

    /// Opens the log; what it shows then is promised.
    fn reopen(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.log = None;
        let (log, _) = Log::open(DIR, self.options.clone())?;
        let (first, found) = read(&log)?;
        let records = recognise(&found, &self.shape.records);
        let Some(records) = records else {
            return Err("a record has other bytes than were written".into());
        };
        self.shape = Shape { front: (first, first), records };
        let entry = self.promises.issue(run, "opened", &self.shape);
        self.promises.ack(run, entry);
        self.log = Some(log);
        Ok(())
    }

    fn log(&self) -> Result<Log, Fail> {
        self.log.clone().ok_or_else(|| "the log did not open".into())
    }

    /// Makes a step: begins the new state, and promises it or takes it back.
    fn step(
        &mut self,
        run: &Run<Ledger>,
        name: &'static str,
        next: Shape,
        act: impl FnOnce(&Log) -> crate::Result<Acked>,
    ) -> Result<(), Fail> {
        let log = self.log()?;
        let (before, all_promised) = (self.shape.clone(), self.promises.all_kept());
        self.shape = next;
        let entry = self.promises.issue(run, name, &self.shape);
        match act(&log) {
            Ok(Acked::No) => {}
            Ok(Acked::Buffered) => run.ack_buffered(entry),
            Ok(Acked::Synced) => self.promises.ack(run, entry),
            Ok(Acked::Front(first)) => {
                self.shape.front = (first, first);
                self.shape.records.retain(|item| item.seq >= first);
                let entry = self.promises.issue(run, "front moved", &self.shape);
                self.promises.ack(run, entry);
            }
            Err(error) if error.outcome() == Outcome::Applied => {
                let first = log.first_seq();
                self.shape.front = (first, first);
                self.shape.records.retain(|item| item.seq >= first);
                let entry = self.promises.issue(run, "applied", &self.shape);
                self.promises.ack(run, entry);
                return Err(error.into());
            }
            Err(error) => {
                if error.outcome() == Outcome::Unchanged && error.kind() != ErrorKind::Poisoned {
                    // C10: what an error calls unchanged is not found changed; what waited may be taken back with it.
                    let all_promised = all_promised
                        || error.kind() == ErrorKind::NoSpace && log.written_seq() < before.last();
                    self.shape = before;
                    let written = log.written_seq();
                    if all_promised {
                        self.shape.records.retain(|item| item.seq <= written);
                    }
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

    fn append(&mut self, run: &Run<Ledger>, lens: &[usize], wait: bool) -> Result<(), Fail> {
        let ids: Vec<(u64, usize)> = lens.iter().map(|&len| (run.next(), len)).collect();
        let next = self.shape.with(&ids);
        let bytes: Vec<Vec<u8>> =
            next.records[self.shape.records.len()..].iter().map(|i| i.bytes()).collect();
        // A full disk may take back what waits to be written; the new records then get those numbers.
        let mut withdrawn = self.shape.clone();
        let written = self.log()?.written_seq();
        withdrawn.records.retain(|item| item.seq <= written);
        let withdrawn = withdrawn.with(&ids);
        if withdrawn.records.len() < next.records.len() {
            let full = std::mem::replace(&mut self.shape, withdrawn.clone());
            self.promises.issue(run, "append after a withdrawal", &self.shape);
            self.shape = full;
        }
        let (durability, expected, mut got) = (self.options.durability, next.last(), 0);
        let result = self.step(run, "append", next, |log| {
            let ticket = log.append_batch(bytes.iter().map(Vec::as_slice))?;
            got = ticket.seq;
            if !wait {
                return Ok(Acked::No);
            }
            log.wait(&ticket)?;
            if got != expected {
                return Ok(Acked::No); // it is the other state that is promised
            }
            Ok(if durability == Durability::Synced { Acked::Synced } else { Acked::Buffered })
        });
        if result.is_ok() && withdrawn.last() == got && self.shape.last() != got {
            self.shape = withdrawn;
            let entry = self.promises.issue(run, "withdrawn, appended", &self.shape);
            if wait && durability == Durability::Synced {
                self.promises.ack(run, entry);
            }
        }
        result
    }

    fn truncate_back(&mut self, run: &Run<Ledger>, drop: usize) -> Result<(), Fail> {
        let mut next = self.shape.clone();
        next.records.truncate(next.records.len().saturating_sub(drop));
        let last = next.last();
        self.step(run, "truncate back", next, |log| {
            log.truncate_back(last)?;
            Ok(Acked::Synced)
        })
    }

    /// Everything is synced first: else any part of what is written may come back with the new front.
    fn truncate_front(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        if !self.promises.all_kept() {
            self.sync(run)?;
        }
        let mut next = self.shape.clone();
        let keep = next.records.last().map_or(next.front.0, |last| last.seq);
        next.front.1 = keep;
        self.step(run, "truncate front", next, |log| Ok(Acked::Front(log.truncate_front(keep)?)))
    }

    fn sync(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let next = self.shape.clone();
        self.step(run, "sync", next, |log| {
            log.sync()?;
            Ok(Acked::Synced)
        })
    }

    fn close(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let next = self.shape.clone();
        self.step(run, "close", next, |log| {
            log.clone().close()?;
            Ok(Acked::Synced)
        })?;
        self.reopen(run)
    }
}

enum Acked {
    No,
    Buffered,
    Synced,
    Front(u64),
}

/// All records that a log shows.
fn read(log: &Log) -> Result<Seen, Fail> {
    let mut scan = log.read(log.first_seq(), Upto::Written)?;
    let mut found = Vec::new();
    while let Some(record) = scan.next()? {
        found.push((record.seq, record.bytes.to_vec()));
    }
    Ok((log.first_seq(), found))
}

/// C2 to C6: what is found is one of the states that may be.
fn compare(after: &After<Ledger>, seen: &Seen) -> Result<(), Fail> {
    let (first, found) = seen;
    let (states, or_nothing) = candidates(after);
    if states.iter().any(|shape| shape.matches(seen)) || (or_nothing && *seen == (1, Vec::new())) {
        return Ok(());
    }
    let promised = states.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let last = found.last().map_or(0, |(seq, _)| *seq);
    let intact = found.iter().all(|(seq, bytes)| {
        states.iter().any(|s| s.records.iter().any(|i| i.seq == *seq && i.bytes() == *bytes))
    });
    let bytes = if intact { "" } else { ", with bytes that were not written so" };
    Err(Fail::new(format!("promised {promised}, found {first}..={last}{bytes}")))
}

fn check(after: &After<Ledger>) -> Result<(), Fail> {
    torn_bytes_are_kept(after)?;
    let options = LogOptions::new().segment_bytes(SEGMENT).fs(after.fs());
    look_before(after, &options)?;
    let (log, report) = Log::open(DIR, options.clone())?;
    let seen = read(&log)?;
    let (first, found) = &seen;
    compare(after, &seen)?;
    torn_bytes_are_kept(after)?;
    let shape = Shape { front: (*first, *first), records: restore(after, found) };
    let opened = Entry::State(after.next(), "recovered", Arc::new(shape.clone()));
    after.issue(opened.clone());
    after.ack(opened);
    if report.last_seq != log.durable_seq() {
        return Err("an open log has a tail that it calls not durable".into());
    }
    no_leaks(after)?;
    let shape = use_on(after, &log, shape)?;
    drop(log);
    // C7: opened once more, it shows the same.
    let (log, report) = Log::open(DIR, options)?;
    if report.healed.is_some() {
        return Err("a log that was opened and used in order was healed again".into());
    }
    if shape.matches(&read(&log)?) {
        Ok(())
    } else {
        Err("opened again, it shows something else".into())
    }
}

/// A reader that looks before the owner opens sees what is promised, and changes nothing. What it calls torn is noted:
/// from now on those bytes must be kept.
fn look_before(after: &After<Ledger>, options: &LogOptions) -> Result<(), Fail> {
    let reader = match Log::open_read_only(DIR, options.clone()) {
        Ok(reader) => reader,
        // Nothing was promised yet, or the log is not made yet.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotOurs) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let Some((path, offset, len, _)) = reader.report().torn else { return Ok(()) };
    let path = path.display().to_string();
    let bytes = after.sim().read(&path)?;
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    if let Some(torn) = bytes.get(start..end).filter(|torn| !torn.is_empty()) {
        let entry = Entry::Torn { path, offset, bytes: torn.into() };
        after.issue(entry.clone());
        // After a kill they are in the cache only, and a power cut may take them without anybody's fault.
        match after.crash() {
            Crash::PowerCut => after.ack(entry),
            _ => after.ack_buffered(entry),
        }
    }
    Ok(())
}

/// The items of what was found; it was compared before.
fn restore(after: &After<Ledger>, found: &[(u64, Vec<u8>)]) -> Vec<Item> {
    let (states, _) = candidates(after);
    let written: Vec<Item> =
        states.iter().flat_map(|shape| shape.records.iter().copied()).collect();
    recognise(found, &written).unwrap_or_default()
}

/// C8: what was recovered can be used.
fn use_on(after: &After<Ledger>, log: &Log, mut shape: Shape) -> Result<Shape, Fail> {
    let seq = shape.last() + 1;
    let item = Item { seq, id: after.next(), len: 40 };
    shape.records.push(item);
    let entry = Entry::State(after.next(), "used on", Arc::new(shape.clone()));
    after.issue(entry.clone());
    let got = log.append_synced(&item.bytes())?;
    after.ack(entry);
    if got == seq {
        Ok(shape)
    } else {
        Err(Fail::new(format!("the next record got number {got}, not {seq}")))
    }
}

/// C9: an open log's directory holds what it needs and nothing else.
fn no_leaks(after: &After<Ledger>) -> Result<(), Fail> {
    for (path, _) in after.sim().dump() {
        let Some(name) = path.strip_prefix(DIR).ok().and_then(|p| p.to_str()) else { continue };
        let known = matches!(name, "" | "META" | "LOCK" | "quarantine")
            || path.extension().is_some_and(|e| e == "seg")
            || name.starts_with("quarantine/") && !name.ends_with(".untorn-tmp");
        if !known {
            return Err(Fail::new(format!("left over: {name}")));
        }
    }
    Ok(())
}

fn explorer(task: Task<'_>) -> Explorer<Ledger, World> {
    task.explorer(check)
        .op("append", |run, world: &mut World| world.append(run, &[20], true))
        .op("append a sector", |run, world| world.append(run, &[600], true))
        .op("append a segment", |run, world| world.append(run, &[1500], true))
        .op("append a batch", |run, world| world.append(run, &[30, 200, 10], true))
        .op("append unwaited", |run, world| world.append(run, &[24], false))
        .op("sync", |run, world| world.sync(run))
        .op("truncate back", |run, world| world.truncate_back(run, 2))
        .op("truncate all", |run, world| world.truncate_back(run, usize::MAX))
        .op("truncate front", |run, world| world.truncate_front(run))
        .op("close", |run, world| world.close(run))
        .op("reopen", |run, world| world.reopen(run))
}

fn three_segments(run: &Run<Ledger>) -> Result<World, Fail> {
    let mut world = World::open(run, Durability::Synced)?;
    for _ in 0..3 {
        world.append(run, &[20, 300], true)?;
        world.append(run, &[500], true)?;
    }
    Ok(world)
}

fn sequences(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task)
        .start("empty", |run| World::open(run, Durability::Synced))
        .start("three segments", three_segments)
        .sequences(3)
        .states_per_point(64, 16)
        .try_explore()
        .map_err(Box::new)
}

fn buffered(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task)
        .start("empty, buffered", |run| World::open(run, Durability::Buffered))
        .sequences(3)
        .states_per_point(256, 32)
        .try_explore()
        .map_err(Box::new)
}

fn nested(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    explorer(task)
        .start("empty", |run| World::open(run, Durability::Synced))
        .start("three segments", three_segments)
        .sequences(1)
        .states_per_point(16, 4)
        .nested(2)
        .nested_budget(states)
        .try_explore()
        .map_err(Box::new)
}

fn faults(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task)
        .start("empty", |run| World::open(run, Durability::Synced))
        .start("three segments", three_segments)
        .fault_sequences(2)
        .states_per_point(8, 2)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part {
            name: "log_all_sequences",
            what: "sequences of up to three operations, power cuts and kills",
            run: sequences,
        },
        Part {
            name: "log_all_sequences_buffered",
            what: "the same, acknowledged as buffered only",
            run: buffered,
        },
        Part {
            name: "log_crashes_within_recovery",
            what: "crashes within the recovery, and within the recovery from those",
            run: nested,
        },
        Part {
            name: "log_a_fault_at_every_call",
            what: "calls that fail, each in every way, then power cuts and kills",
            run: faults,
        },
    ]
}
