//! The fold under the explorer: batches, compactions and listings, crashed everywhere, opened again, compared and used on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::shape::{Entry, Promises, candidates};
use super::{Part, Task, nested};
use crate::fold::{
    AppendLogSnapshot, Compaction, FoldOptions, FoldSnapshot, KvUpdate, Lineage,
    SnapshotStore as _, SyncScope, VersionToken, WatchCursor,
};
use crate::fs::Fs;
use crate::sim::{After, Explorer, Fail, FaultKind, Item, Report, Run, Violation};
use crate::{Durability, ErrorKind, Outcome};

const DIR: &str = "/data/fold";
/// Values in memory, in the log, in a block and apart from it.
const KEYS: [(&str, usize); 4] = [("a", 8), ("b", 90), ("b/c", 1500), ("d", 300)];

/// What the fold has: of each key the number from which value and version are made.
#[derive(Clone, Default, PartialEq)]
struct Disk {
    entries: BTreeMap<usize, u64>,
    cursor: u64,
    lineage: u64,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} of {}", self.entries, self.cursor, self.lineage)
    }
}

type Ledger = Entry<Disk>;

/// How a fold is opened.
#[derive(Clone, Copy)]
struct Kind {
    durability: Durability,
    compaction: Compaction,
}

fn value(key: usize, id: u64) -> Vec<u8> {
    let mut state = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let filler = std::iter::repeat_with(move || {
        state = state.rotate_left(23).wrapping_mul(5).wrapping_add(1);
        state.to_le_bytes()[3]
    });
    id.to_le_bytes().into_iter().chain(filler).take(KEYS[key].1).collect()
}

fn put(key: usize, id: u64) -> KvUpdate {
    KvUpdate::put(KEYS[key].0, value(key, id), VersionToken::from_u64(id))
}

fn delete(key: usize, id: u64) -> KvUpdate {
    KvUpdate::delete(KEYS[key].0, VersionToken::from_u64(id))
}

fn lineage(id: u64) -> Lineage {
    Lineage { kind: "test".to_owned(), id: id.to_le_bytes().to_vec() }
}

impl Kind {
    fn options(self, fs: Arc<dyn Fs>) -> FoldOptions {
        FoldOptions::new()
            .fs(fs)
            .durability(self.durability)
            .compaction(self.compaction)
            .compact_threshold(700)
            .log_segment_bytes(4096)
    }

    fn open(self, fs: Arc<dyn Fs>) -> crate::Result<AppendLogSnapshot> {
        Ok(self.options(fs).open(DIR)?.1)
    }

    /// The state of a reader without a lock; `None` if there is no fold yet.
    fn look(self, fs: Arc<dyn Fs>) -> Result<Option<FoldSnapshot>, Fail> {
        match self.options(fs).read_only(true).open(DIR) {
            Ok((_, fold)) => Ok(Some(fold.snapshot())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// Whether it shows just this.
fn shows(seen: &FoldSnapshot, disk: &Disk) -> crate::Result<bool> {
    let cursor = match disk.cursor {
        0 => WatchCursor::none(),
        at => WatchCursor::from_u64(at),
    };
    let of = (disk.lineage > 0).then(|| lineage(disk.lineage));
    if (seen.cursor(), seen.lineage()) != (cursor, of) {
        return Ok(false);
    }
    let mut rest = seen.range("")?.into_iter();
    for (&key, &id) in &disk.entries {
        let found = rest.next();
        let expected = put(key, id);
        let same = found.is_some_and(|entry| KvUpdate::Put(entry) == expected);
        if !same || seen.get(KEYS[key].0)?.map(KvUpdate::Put) != Some(expected) {
            return Ok(false);
        }
    }
    let missing = (0..KEYS.len()).filter(|key| !disk.entries.contains_key(key));
    for key in missing {
        if seen.get(KEYS[key].0)?.is_some() {
            return Ok(false);
        }
    }
    Ok(rest.next().is_none())
}

struct World {
    how: Kind,
    fold: Option<AppendLogSnapshot>,
    disk: Disk,
    /// Or this, after a failure of which nobody knows what it did.
    or: Option<Disk>,
    held: Option<(FoldSnapshot, Disk)>,
    promises: Promises,
}

impl World {
    fn new(run: &Run<Ledger>, how: Kind, filled: bool) -> Result<Self, Fail> {
        let mut promises = Promises::default();
        let disk = Disk::default();
        let entry = promises.issue(run, "empty", &disk);
        promises.ack(run, entry);
        let mut world = Self { how, fold: None, disk, or: None, held: None, promises };
        if filled {
            world.put(run, &[0, 1, 2, 3])?;
            world.compact(run, u64::MAX)?;
            world.put(run, &[1])?;
            world.delete(run, &[0])?;
            world.sync(run)?;
        }
        Ok(world)
    }

    fn open(&mut self, run: &Run<Ledger>) -> Result<&mut AppendLogSnapshot, Fail> {
        if self.fold.is_none() {
            let fold = self.how.open(run.fs())?;
            let seen = fold.snapshot();
            if let Some(or) = self.or.take()
                && !shows(&seen, &self.disk)?
            {
                self.disk = or;
            }
            if !shows(&seen, &self.disk)? {
                return Err(Fail::new(format!("opened, and it is not {}", self.disk)));
            }
            self.fold = Some(fold);
        }
        self.fold.as_mut().ok_or_else(|| "it was just opened".into())
    }

    /// The state before the step may be found, or the one after it, until it is acknowledged.
    fn step(
        &mut self,
        run: &Run<Ledger>,
        what: &'static str,
        durability: Durability,
        next: Disk,
        act: impl FnOnce(&mut AppendLogSnapshot) -> crate::Result<()>,
    ) -> Result<(), Fail> {
        self.open(run)?;
        let before = std::mem::replace(&mut self.disk, next);
        let kept = self.promises.all_kept();
        let entry = self.promises.issue(run, what, &self.disk);
        let Some(fold) = &mut self.fold else { return Err("it is open".into()) };
        match act(fold) {
            Ok(()) if durability == Durability::Synced => self.promises.ack(run, entry),
            Ok(()) => run.ack_buffered(entry),
            Err(error) => {
                if error.outcome() == Outcome::Unchanged {
                    self.disk = before;
                    let entry = self.promises.issue(run, "unchanged", &self.disk);
                    if kept {
                        self.promises.ack(run, entry);
                    }
                } else {
                    self.fold = None;
                    self.or = Some(before);
                }
                if error.kind() == ErrorKind::Poisoned {
                    self.fold = None;
                }
                return Err(error.into());
            }
        }
        self.read_back()
    }

    /// The handle shows what it should, and so does what is held.
    fn read_back(&self) -> Result<(), Fail> {
        let Some(fold) = &self.fold else { return Ok(()) };
        if !shows(&fold.snapshot(), &self.disk)? {
            return Err(Fail::new(format!("it does not show {}", self.disk)));
        }
        match &self.held {
            Some((held, disk)) if !shows(held, disk)? => {
                Err(Fail::new(format!("a snapshot does not show {disk} any more")))
            }
            _ => Ok(()),
        }
    }

    fn apply(
        &mut self,
        run: &Run<Ledger>,
        what: &'static str,
        updates: &[KvUpdate],
        next: Disk,
    ) -> Result<(), Fail> {
        let cursor = WatchCursor::from_u64(next.cursor);
        let durability = self.how.durability;
        self.step(run, what, durability, next, |fold| fold.apply(updates, &cursor))
    }

    fn put(&mut self, run: &Run<Ledger>, keys: &[usize]) -> Result<(), Fail> {
        let mut next = self.disk.clone();
        let mut updates = Vec::new();
        for key in keys {
            let id = run.next();
            updates.push(put(*key, id));
            next.entries.insert(*key, id);
            next.cursor = id;
        }
        self.apply(run, "put", &updates, next)
    }

    fn delete(&mut self, run: &Run<Ledger>, keys: &[usize]) -> Result<(), Fail> {
        let mut next = self.disk.clone();
        let mut updates = Vec::new();
        for key in keys {
            let id = run.next();
            updates.push(delete(*key, id));
            next.entries.remove(key);
            next.cursor = id;
        }
        self.apply(run, "delete", &updates, next)
    }

    /// A cursor alone; and, with it, what was delivered before comes again and changes nothing.
    fn progress(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let next = Disk { cursor: run.next(), ..self.disk.clone() };
        let again: Vec<KvUpdate> =
            self.disk.entries.iter().map(|(key, id)| put(*key, *id)).collect();
        self.apply(run, "progress", &again, next)
    }

    fn sync(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let next = self.disk.clone();
        self.step(run, "sync", Durability::Synced, next, |fold| fold.sync().map(drop))
    }

    /// Where the data lies changes, and nothing else.
    fn compact(&mut self, run: &Run<Ledger>, budget: u64) -> Result<(), Fail> {
        let next = self.disk.clone();
        // A freeze syncs what there is.
        let durability = self.how.durability;
        self.step(run, "compact", durability, next, |fold| match budget {
            u64::MAX => fold.compact_all(),
            _ => fold.compact_step(budget).map(drop),
        })
    }

    /// A listing of one key that is new and one that is known: the others are swept, in one commit at its end.
    fn relist(&mut self, run: &Run<Ledger>, new_source: bool) -> Result<(), Fail> {
        self.open(run)?;
        let durability = self.how.durability;
        let mut next = self.disk.clone();
        let listed = [(0, run.next()), (3, run.next())];
        let mut scope = SyncScope::all();
        if new_source {
            next.lineage = run.next();
            scope = scope.of_new_lineage(lineage(next.lineage));
        }
        let Some(fold) = &mut self.fold else { return Err("it is open".into()) };
        let token = fold.begin_sync(scope)?;
        let mut between = self.disk.clone();
        between.entries.extend(listed);
        let updates = listed.map(|(key, id)| put(key, id));
        self.step(run, "list", durability, between, |fold| fold.sync_apply(&token, &updates))?;
        next.entries = listed.into();
        next.cursor = run.next();
        let cursor = WatchCursor::from_u64(next.cursor);
        self.step(run, "sweep", durability, next, |fold| {
            let report = fold.finish_sync(token, &cursor)?;
            assert_eq!(report.listed, 2, "both were listed");
            Ok(())
        })
    }

    fn reset(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.step(run, "reset", Durability::Synced, Disk::default(), |fold| fold.reset("a test"))
    }

    fn set_lineage(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let next = Disk { lineage: run.next(), ..self.disk.clone() };
        let (of, durability) = (lineage(next.lineage), self.how.durability);
        self.step(run, "lineage", durability, next, |fold| fold.set_lineage(of))
    }

    fn hold(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        self.held = match (&self.held, &self.fold) {
            (None, Some(fold)) => Some((fold.snapshot(), self.disk.clone())),
            _ => None,
        };
        Ok(())
    }

    fn close(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        let entry = self.promises.issue(run, "close", &self.disk);
        if let Some(fold) = self.fold.take() {
            fold.close()?;
            self.promises.ack(run, entry);
        }
        self.open(run).map(drop)
    }

    fn reopen(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        if let Some(fold) = self.fold.take() {
            fold.forget();
        }
        // All that was committed, promised or not: it was not a power cut.
        self.open(run)?;
        let entry = self.promises.issue(run, "reopen", &self.disk);
        self.promises.ack(run, entry);
        Ok(())
    }
}

/// Opens what is there, compares it with what may be, and goes on with it to the end.
fn check(after: &After<Ledger>, how: Kind) -> Result<(), Fail> {
    let (mut states, or_nothing) = candidates(after);
    if or_nothing {
        states.push(Arc::new(Disk::default()));
    }
    let among = |seen: &FoldSnapshot| -> Result<Option<Arc<Disk>>, Fail> {
        for state in states.iter().rev() {
            if shows(seen, state)? {
                return Ok(Some(Arc::clone(state)));
            }
        }
        Ok(None)
    };
    match how.look(after.fs())? {
        Some(seen) if among(&seen)?.is_none() => {
            return Err("a reader without a lock sees what nobody wrote".into());
        }
        None if states.iter().all(|state| **state != Disk::default()) => {
            return Err("a reader without a lock sees no fold".into());
        }
        _ => {}
    }
    let mut fold = how.open(after.fs())?;
    let seen = fold.snapshot();
    let Some(found) = among(&seen)? else {
        let promised = states.first().map_or_else(String::new, ToString::to_string);
        let keys: Vec<_> = seen.range("")?.into_iter().map(|e| (e.key, e.version)).collect();
        return Err(Fail::new(format!("promised {promised}; found {keys:?} at {}", seen.cursor())));
    };
    if fold.durable_cursor() != fold.cursor() {
        return Err("what an open found is not durable".into());
    }
    drop(seen);
    leftovers(after)?;
    // What was found stays: the open vouches for it.
    let kept = Entry::State(after.next(), "found", Arc::clone(&found));
    after.issue(kept.clone());
    after.ack(kept);
    // It can be gone on with, and that lasts.
    let mut next = (*found).clone();
    let id = after.next();
    next.entries.insert(1, id);
    next.entries.remove(&2);
    next.cursor = id;
    let used = Entry::State(after.next(), "used on", Arc::new(next.clone()));
    after.issue(used.clone());
    fold.apply(&[put(1, id), delete(2, id)], &WatchCursor::from_u64(id))?;
    fold.sync()?;
    after.ack(used);
    // What was deleted does not come back with a late delivery.
    if let Some(late) = found.entries.get(&2).filter(|_| found.lineage == 0) {
        fold.apply(&[put(2, *late)], &WatchCursor::from_u64(id))?;
    }
    fold.compact_all()?;
    if !shows(&fold.snapshot(), &next)? {
        return Err("what was applied after recovery is not there".into());
    }
    fold.forget();
    let fold = how.open(after.fs())?;
    if !shows(&fold.snapshot(), &next)? {
        return Err("what was compacted after recovery is not there".into());
    }
    fold.close()?;
    let fold = how.open(after.fs())?;
    if !shows(&fold.snapshot(), &next)? {
        return Err("what was closed is not there".into());
    }
    leftovers(after)
}

/// Nothing is left over of bases that did not come to their end.
fn leftovers(after: &After<Ledger>) -> Result<(), Fail> {
    let dump = after.sim().dump();
    let files = dump.iter().filter(|(_, item)| matches!(item, Item::File(_)));
    let here = files.filter(|(path, _)| path.parent() == Some(Path::new(DIR)));
    let names: Vec<_> = here.filter_map(|(path, _)| path.file_name()?.to_str()).collect();
    if names.iter().all(|name| ["base", "LOCK"].contains(name)) {
        return Ok(());
    }
    Err(Fail::new(format!("left over: {names:?}")))
}

const SYNCED: Kind = Kind { durability: Durability::Synced, compaction: Compaction::Manual };
/// A compaction goes on a little with each commit.
const INLINE: Kind = Kind {
    durability: Durability::Buffered,
    compaction: Compaction::Inline { budget_per_apply: 900 },
};

fn explorer(
    task: Task<'_>,
    how: Kind,
    check: fn(&After<Ledger>) -> Result<(), Fail>,
) -> Explorer<Ledger, World> {
    task.explorer(check)
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .start("a base and more", move |run| World::new(run, how, true))
        .start("empty", move |run| World::new(run, how, false))
        .op("put one", |run, world: &mut World| world.put(run, &[1]))
        .op("put all", |run, world| world.put(run, &[0, 1, 2, 3]))
        .op("delete", |run, world| world.delete(run, &[2, 3]))
        .op("progress", |run, world| world.progress(run))
        .op("compact all", |run, world| world.compact(run, u64::MAX))
        .op("compact a little", |run, world| world.compact(run, 600))
        .op("list and sweep", |run, world| world.relist(run, false))
        .op("list another source", |run, world| world.relist(run, true))
        .op("close and open", |run, world| world.close(run))
        .op("die and open", |run, world| world.reopen(run))
        .op("hold a snapshot, or drop it", |run, world| world.hold(run))
}

fn sequences(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    nested(explorer(task, SYNCED, |after| check(after, SYNCED)), 3, states)
}

fn inline(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    let explorer = explorer(task, INLINE, |after| check(after, INLINE))
        .op("sync", |run, world| world.sync(run));
    nested(explorer, 3, states)
}

/// A fold that is emptied: the base that it had is void from the record on.
fn resets(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    let explorer = task
        .explorer(|after| check(after, SYNCED))
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .start("a base and more", |run| World::new(run, SYNCED, true))
        .op("reset", |run, world: &mut World| world.reset(run))
        .op("put one", |run, world| world.put(run, &[1]))
        .op("name the source", |run, world| world.set_lineage(run));
    nested(explorer, 2, states)
}

fn faults(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task, INLINE, |after| check(after, INLINE))
        .fault_sequences(2)
        .states_per_point(6, 2)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part {
            name: "fold_all_sequences",
            what: "a copy of a stream and its cursor: sequences of up to three operations from two starts",
            run: sequences,
        },
        Part {
            name: "fold_compactions_in_slices",
            what: "the same with commits that are not synced, and compactions that go on with each",
            run: inline,
        },
        Part { name: "fold_resets", what: "folds that are emptied", run: resets },
        Part {
            name: "fold_a_fault_at_every_call",
            what: "calls that fail, each in every way, then power cuts and kills",
            run: faults,
        },
    ]
}
