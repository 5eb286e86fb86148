//! All sequences of what can be done with a path, crashed everywhere, opened again, compared and used on.
#![expect(clippy::arithmetic_side_effects, reason = "the numbers are those of the tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::core::Core;
use super::table::Place;
use super::tests::{LONG, PATH, batch, body, key, options, reads, recount};
use super::{DirPath, SetPath as _};
use crate::Outcome;
use crate::fs::{Fs, SyncSite};
use crate::sim::{After, Explorer, Fail, FaultKind, Item, Report, Run, Violation};

/// Lengths of objects, by their numbers: two in segments, one in a file of its own.
const LENS: [usize; 3] = [40, 480, LONG];
const FOREIGN: [&str; 1] = ["/data/pool/notes.txt"];

fn len(n: u64) -> usize {
    LENS[usize::try_from(n % 3).unwrap()]
}

/// What is committed.
#[derive(Clone, Default, PartialEq)]
struct Disk {
    loose: BTreeSet<u64>,
    sets: BTreeMap<&'static str, Vec<u64>>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.loose, self.sets)
    }
}

/// A state, numbered.
#[derive(Clone)]
struct Entry(u64, &'static str, Arc<Disk>);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}: {}", self.0, self.1, self.2)
    }
}

impl Disk {
    fn all(&self) -> BTreeSet<u64> {
        self.loose.iter().chain(self.sets.values().flatten()).copied().collect()
    }
}

fn number(key: uuid::Uuid) -> u64 {
    u64::try_from(key.as_u128() & ((1 << 48) - 1)).unwrap()
}

/// What the manifest says.
fn listed(core: &Core) -> Disk {
    let state = core.state();
    let loose = state.table.objects.iter().filter(|(_, entry)| entry.loose);
    let loose = loose.map(|(key, _)| number(*key)).collect();
    let name = |name: &str| if name == "a" { "a" } else { "b" };
    let sets = state
        .table
        .sets
        .iter()
        .map(|(of, set)| (name(of), set.keys.iter().map(|key| number(*key)).collect()));
    Disk { loose, sets: sets.collect() }
}

fn whole(core: &Core, disk: &Disk) -> Result<(), Fail> {
    let keys: BTreeSet<u64> = core.durable_keys().into_iter().map(number).collect();
    if keys != disk.all() {
        return Err(Fail::new(format!("it has {keys:?}, and is {disk}")));
    }
    match keys.iter().find(|n| !reads(core, **n, len(**n))) {
        Some(n) => {
            let error =
                core.get(key(*n), &mut Vec::new()).map(|object| object.bytes == body(*n, len(*n)));
            Err(Fail::new(format!("object {n} does not load: {error:?}")))
        }
        None => Ok(()),
    }
}

fn open(fs: Arc<dyn Fs>) -> crate::Result<DirPath> {
    let path = DirPath::with(PATH, options(fs));
    path.open()?;
    Ok(path)
}

struct World {
    path: Option<DirPath>,
    disk: Disk,
    /// Or this, after a failure of which nobody knows what it did.
    or: Option<Disk>,
    adds: BTreeSet<u64>,
    dels: BTreeSet<u64>,
    held: Option<(Arc<Core>, u64)>,
    promised: bool,
}

impl World {
    fn new(run: &Run<Entry>, filled: bool) -> Result<Self, Fail> {
        let mut world = Self {
            path: None,
            disk: Disk::default(),
            or: None,
            adds: BTreeSet::new(),
            dels: BTreeSet::new(),
            held: None,
            promised: true,
        };
        let entry = Self::issue(run, "empty", &world.disk);
        run.ack(entry);
        if filled {
            world.write(run, &[0, 1, 2])?;
            world.commit(run)?;
            world.write(run, &[1, 2])?;
            world.checkpoint(run, "a", |world| world.adds.iter().copied().collect())?;
        }
        Ok(world)
    }

    fn issue(run: &Run<Entry>, step: &'static str, disk: &Disk) -> Entry {
        let entry = Entry(run.next(), step, Arc::new(disk.clone()));
        run.issue(entry.clone());
        entry
    }

    fn core(&mut self, run: &Run<Entry>) -> Result<Arc<Core>, Fail> {
        if self.path.is_none() {
            let path = open(run.fs())?;
            let core = path.core()?;
            (self.adds, self.dels) = (BTreeSet::new(), BTreeSet::new());
            let found = listed(&core);
            if let Some(or) = self.or.take().filter(|or| *or == found) {
                self.disk = or;
            }
            if found != self.disk {
                return Err(Fail::new(format!("opened {found}, and it is not {}", self.disk)));
            }
            whole(&core, &self.disk)?;
            self.path = Some(path);
        }
        Ok(self.path.as_ref().ok_or("it was just opened")?.core()?)
    }

    fn write(&mut self, run: &Run<Entry>, kinds: &[u64]) -> Result<(), Fail> {
        let core = self.core(run)?;
        let new: Vec<u64> = kinds.iter().map(|kind| run.next() * 3 + kind).collect();
        let of: Vec<_> = new.iter().map(|n| (*n, len(*n))).collect();
        self.unless(core.write(&mut batch(&of), false))?;
        self.adds.extend(new);
        self.read_back()
    }

    /// After a failed sync the path is of no use.
    fn unless(&mut self, done: crate::Result<()>) -> Result<(), Fail> {
        let Err(error) = done else { return Ok(()) };
        if error.outcome() == Outcome::Unchanged {
            self.read_back()?;
        } else {
            self.path = None;
        }
        Err(error.into())
    }

    /// The state before may be found, or the one after, until it is acknowledged.
    fn step(
        &mut self,
        run: &Run<Entry>,
        what: &'static str,
        next: Disk,
        act: impl FnOnce(&DirPath) -> crate::Result<()>,
    ) -> Result<(), Fail> {
        self.core(run)?;
        let before = std::mem::replace(&mut self.disk, next);
        let entry = Self::issue(run, what, &self.disk);
        let Some(path) = &self.path else { return Err("it is open".into()) };
        match act(path) {
            Ok(()) => {
                run.ack(entry);
                self.promised = true;
                Ok(())
            }
            Err(error) if error.outcome() == Outcome::Unchanged => {
                self.disk = before;
                let entry = Self::issue(run, "unchanged", &self.disk);
                if self.promised {
                    run.ack(entry);
                }
                self.read_back()?;
                Err(error.into())
            }
            Err(error) => {
                (self.path, self.promised) = (None, false);
                self.or = Some(before);
                Err(error.into())
            }
        }
    }

    /// The handle shows what is committed and what is staged, and its accounts are right.
    fn read_back(&self) -> Result<(), Fail> {
        let Some(path) = &self.path else { return Ok(()) };
        let core = path.core()?;
        let found = listed(&core);
        if found != self.disk {
            return Err(Fail::new(format!("it shows {found}, not {}", self.disk)));
        }
        let mut there = self.disk.all();
        let named: BTreeSet<u64> = self.disk.sets.values().flatten().copied().collect();
        there.extend(&self.adds);
        there.retain(|n| !self.dels.contains(n) || named.contains(n));
        let keys: BTreeSet<u64> = core.keys().into_iter().map(number).collect();
        if keys != there {
            return Err(Fail::new(format!("it shows {keys:?} with what is staged, not {there:?}")));
        }
        recount(&core);
        match &self.held {
            Some((core, n)) if !reads(core, *n, len(*n)) => {
                Err(Fail::new(format!("object {n}, which is registered, does not load")))
            }
            _ => Ok(()),
        }
    }

    fn commit(&mut self, run: &Run<Entry>) -> Result<(), Fail> {
        self.core(run)?;
        let mut next = self.disk.clone();
        next.loose.extend(&self.adds);
        next.loose.retain(|n| !self.dels.contains(n));
        self.step(run, "sync", next, |path| path.core()?.commit())?;
        (self.adds, self.dels) = (BTreeSet::new(), BTreeSet::new());
        self.read_back()
    }

    fn checkpoint(
        &mut self,
        run: &Run<Entry>,
        name: &'static str,
        of: impl FnOnce(&Self) -> Vec<u64>,
    ) -> Result<(), Fail> {
        self.core(run)?;
        let of = of(self);
        let mut next = self.disk.clone();
        next.sets.insert(name, of.clone());
        let keys: Vec<_> = of.iter().map(|n| key(*n)).collect();
        self.step(run, "checkpoint", next, |path| path.checkpoint(name, &keys, b"").map(drop))?;
        self.adds.retain(|n| !of.contains(n));
        self.read_back()
    }

    fn drop_set(&mut self, run: &Run<Entry>) -> Result<(), Fail> {
        self.core(run)?;
        let mut next = self.disk.clone();
        next.sets.remove("a");
        self.step(run, "drop set", next, |path| path.drop_set("a"))?;
        self.read_back()
    }

    fn delete(&mut self, run: &Run<Entry>) -> Result<(), Fail> {
        let core = self.core(run)?;
        let gone = self.disk.loose.iter().find(|n| !self.dels.contains(n)).copied();
        let staged = self.adds.last().copied();
        for n in gone.into_iter().chain(staged) {
            self.unless(core.delete(key(n)))?;
            if !self.adds.remove(&n) {
                self.dels.insert(n);
            }
        }
        self.read_back()
    }

    fn compact(&mut self, run: &Run<Entry>) -> Result<(), Fail> {
        self.core(run)?;
        let next = self.disk.clone();
        self.step(run, "compact", next, |path| path.core()?.compact().map(drop))?;
        self.read_back()
    }

    fn hold(&mut self, run: &Run<Entry>) -> Result<(), Fail> {
        let core = self.core(run)?;
        if let Some((core, n)) = self.held.take() {
            core.release(key(n));
        } else if let Some(n) = self.disk.all().into_iter().find(|n| core.contains(key(*n))) {
            core.hold(key(n))?;
            self.held = Some((core, n));
        }
        self.read_back()
    }

    fn reopen(&mut self, run: &Run<Entry>) -> Result<(), Fail> {
        self.path = None;
        if let Some((core, n)) = self.held.take() {
            core.release(key(n));
        }
        self.core(run)?;
        let entry = Self::issue(run, "reopen", &self.disk);
        run.ack(entry);
        self.promised = true;
        self.read_back()
    }
}

fn check(after: &After<Entry>) -> Result<(), Fail> {
    let promised = after.acked().last();
    let from = promised.and_then(|p| after.issued().iter().position(|entry| entry == p));
    let mut states: Vec<_> =
        after.issued().iter().skip(from.unwrap_or(0)).map(|entry| Arc::clone(&entry.2)).collect();
    if from.is_none() {
        states.push(Arc::default());
    }
    let path = open(after.fs())?;
    let core = path.core()?;
    let found = listed(&core);
    if !states.iter().any(|state| **state == found) {
        let promised = states.first().map_or_else(String::new, ToString::to_string);
        return Err(Fail::new(format!("promised {promised}; found {found}")));
    }
    whole(&core, &found)?;
    leftovers(after, &core)?;
    let kept = Entry(after.next(), "found", Arc::new(found.clone()));
    after.issue(kept.clone());
    after.ack(kept);
    // It can be gone on with, and that lasts.
    let new = [after.next() * 3, after.next() * 3 + 2];
    let mut next = found.clone();
    next.loose.extend(new);
    let first = next.loose.first().copied();
    if let Some(first) = first {
        next.loose.remove(&first);
        core.delete(key(first))?;
    }
    next.sets.remove("a");
    let used = Entry(after.next(), "used on", Arc::new(Disk { sets: found.sets, ..next.clone() }));
    after.issue(used.clone());
    core.write(&mut batch(&new.map(|n| (n, len(n)))), false)?;
    if let Some(first) = first.filter(|first| new.contains(first)) {
        core.delete(key(first))?;
    }
    core.commit()?;
    after.ack(used);
    let dropped = Entry(after.next(), "dropped", Arc::new(next.clone()));
    after.issue(dropped.clone());
    path.drop_set("a")?;
    after.ack(dropped);
    core.compact()?;
    whole(&core, &next)?;
    drop((core, path));
    let path = open(after.fs())?;
    let core = path.core()?;
    if listed(&core) != next {
        return Err(Fail::new(format!("{} became {}", next, listed(&core))));
    }
    whole(&core, &next)?;
    leftovers(after, &core)
}

/// No segment is there that nothing needs, and what is not ours is untouched.
fn leftovers(after: &After<Entry>, core: &Core) -> Result<(), Fail> {
    let used: BTreeSet<u64> = core
        .state()
        .table
        .objects
        .values()
        .filter_map(|entry| match entry.object.place {
            Place::Segment { number, .. } => Some(number),
            Place::Own => None,
        })
        .collect();
    for (path, item) in after.sim().dump() {
        let name = path.file_name().unwrap_or_default();
        let number = crate::pool::segment::segment_number(name);
        if path.parent().is_some_and(|dir| dir.ends_with("pool/seg"))
            && number.is_some_and(|number| !used.contains(&number))
        {
            return Err(Fail::new(format!("left over: {}", path.display())));
        }
        let foreign = FOREIGN.iter().any(|name| path.as_os_str() == *name);
        if foreign && item != Item::File(b"mine".to_vec()) {
            return Err(Fail::new(format!("changed: {}", path.display())));
        }
    }
    let there = FOREIGN.iter().all(|path| after.sim().read(path).is_ok());
    if there { Ok(()) } else { Err("a foreign file is gone".into()) }
}

/// The first start finds a path that another life made, with what is not its own beside it.
fn explorer(states: u64) -> Explorer<Entry, World> {
    Explorer::new("path_all_sequences")
        .max_states(states)
        .check(check)
        .prepare(|sim| {
            drop(sim.make_dirs("/data"));
            drop(open(Arc::new(sim.clone())));
            for name in FOREIGN {
                drop(sim.put(name, b"mine"));
            }
        })
        .start("filled", |run| World::new(run, true))
        .start("empty", |run| World::new(run, false))
        .op("write small", |run, world: &mut World| world.write(run, &[0, 1]))
        .op("write long", |run, world| world.write(run, &[2, 0]))
        .op("sync", |run, world| world.commit(run))
        .op("delete", |run, world| world.delete(run))
        .op("checkpoint all", |run, world| {
            world.checkpoint(run, "a", |world| {
                let mut all: Vec<_> = world.disk.all().into_iter().collect();
                all.extend(&world.adds);
                all.reverse();
                all
            })
        })
        .op("checkpoint new", |run, world| {
            world.checkpoint(run, "b", |world| world.adds.iter().copied().collect())
        })
        .op("drop set", |run, world| world.drop_set(run))
        .op("compact", |run, world| world.compact(run))
        .op("hold or release", |run, world| world.hold(run))
        .op("reopen", |run, world| world.reopen(run))
}

fn sequences(len: usize, states: u64) -> Explorer<Entry, World> {
    explorer(states).sequences(len).states_per_point(16, 4)
}

#[test]
fn path_all_sequences() {
    let report = sequences(2, 60_000).nested(1).nested_budget(10_000).explore();
    assert!(report.distinct_states > 1000, "{report:?}");
}

#[test]
fn path_a_fault_at_every_call() {
    let report = explorer(3_000)
        .fault_sequences(2)
        .states_per_point(4, 1)
        .faults(FaultKind::ERRORS)
        .explore();
    assert!(report.faults > 1000, "{report:?}");
}

/// Each sync is needed: without it there is a violation.
#[test]
fn path_each_sync_has_its_reason() {
    for site in [
        SyncSite::PoolSegment,
        SyncSite::PoolSegmentDir,
        SyncSite::PoolObject,
        SyncSite::PoolObjectDir,
        SyncSite::PoolDir,
        SyncSite::LogFrame,
    ] {
        let explored: Result<Report, Violation> =
            sequences(2, 60_000).without_sync(site).try_explore();
        assert!(explored.is_err(), "nobody notices that {} is missing", site.name());
    }
}
