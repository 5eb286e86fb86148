//! The object pool under the explorer: objects inserted, changed, spilled, persisted, deleted and named by checkpoints, crashed
//! everywhere, opened again, compared byte by byte and used on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::shape::{Entry, Item, Promises, candidates};
use super::{Part, Task, nested};
use crate::codec::Raw;
use crate::fs::Fs;
use crate::pool::{
    BackingStore, DirOptions, DirPath, DirPathOptions, DirStore, Fb, MemoryBudget, Pool,
    TrackedPath,
};
use crate::sim::{
    After, Explorer, Fail, FaultKind, Item as Found, Report, Run, Unwritten, Violation,
};
use crate::{ErrorKind, Outcome};

const ROOT: &str = "/data/scratch";
const STATE: &str = "/data/state";
/// Files that nobody of ours made: they must be there to the end.
const FOREIGN: [&str; 2] =
    ["/data/scratch/spill/readme", "/data/scratch/spill/0123456789abcdef0123456789abcdef/keep.txt"];
/// Objects above this have files of their own.
const SEGMENT_MAX: u64 = 1000;
const SMALL: usize = 300;
const LARGE: usize = 1500;

type Bytes = Vec<u8>;

/// An object: the number that its bytes are made from, and how many.
type Object = (u64, usize);

fn bytes((id, len): Object) -> Bytes {
    Item { seq: 0, id, len }.bytes()
}

/// What the path has.
#[derive(Clone, Default, PartialEq)]
struct Disk {
    objects: BTreeMap<Uuid, Object>,
    loose: BTreeSet<Uuid>,
    sets: BTreeMap<&'static str, (Vec<Uuid>, u64)>,
}

impl Disk {
    fn listed(&self, key: Uuid) -> bool {
        self.loose.contains(&key) || self.sets.values().any(|(keys, _)| keys.contains(&key))
    }

    /// Without the objects that no set lists.
    fn tidy(mut self) -> Self {
        let unlisted: Vec<Uuid> =
            self.objects.keys().copied().filter(|key| !self.listed(*key)).collect();
        for key in unlisted {
            self.objects.remove(&key);
        }
        self
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |key: &Uuid| self.objects.get(key).map_or(0, |(id, _)| *id);
        let loose: Vec<u64> = self.loose.iter().map(id).collect();
        let sets: Vec<(&str, Vec<u64>, u64)> = self
            .sets
            .iter()
            .map(|(name, (keys, meta))| (*name, keys.iter().map(id).collect(), *meta))
            .collect();
        write!(f, "loose {loose:?} sets {sets:?}")
    }
}

type Ledger = Entry<Disk>;

/// A pool that is open, with its path.
struct Open {
    store: Arc<BackingStore<DirStore>>,
    pool: Arc<Pool<Bytes>>,
    path: TrackedPath<DirPath>,
}

impl Open {
    fn new(fs: &Arc<dyn Fs>) -> crate::Result<Self> {
        let options = DirOptions::new().fs(Arc::clone(fs)).segment_max(SEGMENT_MAX);
        let backing = DirStore::with(ROOT, &options.segment_bytes(4096))?;
        let store = Arc::new(BackingStore::open_on(backing, Arc::clone(fs)));
        let budget = MemoryBudget::bytes(2 * LARGE);
        let options = Pool::options().budget(budget).weigh(Vec::len).type_name("test");
        let pool = Arc::new(options.build(&store, Raw)?);
        let path = store.blocking_track_path(DirPath::with(STATE, path_options(fs)))?;
        Ok(Self { store, pool, path })
    }

    /// Whether the path has just this, as committed.
    fn shows(&self, disk: &Disk) -> Result<bool, Fail> {
        let keys: BTreeSet<Uuid> = self.path.durable_keys().into_iter().collect();
        if keys != disk.objects.keys().copied().collect() {
            return Ok(false);
        }
        let named: BTreeMap<String, (Vec<Uuid>, Bytes)> = self
            .path
            .sets()
            .into_iter()
            .map(|info| {
                let set = self.path.read_set(&info.name)?;
                let set = set.ok_or_else(|| Fail::new("a set that is listed is not there"))?;
                Ok((info.name, (set.keys, set.meta)))
            })
            .collect::<Result<_, Fail>>()?;
        let expected = disk.sets.iter().map(|(name, (keys, meta))| {
            ((*name).to_owned(), (keys.clone(), meta.to_le_bytes().to_vec()))
        });
        if named != expected.collect() {
            return Ok(false);
        }
        Ok(true)
    }

    /// Loads every object of the path.
    fn reads_back(&self, disk: &Disk) -> Result<(), Fail> {
        for (key, object) in &disk.objects {
            let fb = self.pool.blocking_register(&self.path, *key)?;
            let Some(fb) = fb else { return Err("a listed object cannot be registered".into()) };
            if *fb.blocking_load()? != bytes(*object) {
                return Err(Fail::new(format!("object {} has other bytes", object.0)));
            }
        }
        Ok(())
    }
}

fn path_options(fs: &Arc<dyn Fs>) -> DirPathOptions {
    let options = DirPathOptions::new().fs(Arc::clone(fs)).segment_max(SEGMENT_MAX);
    options.segment_bytes(4096)
}

struct World {
    /// Handles go before what they are of.
    handles: Vec<(Fb<Bytes>, Object)>,
    open: Option<Open>,
    disk: Disk,
    /// Or this, after a failure of which nobody knows what it did.
    or: Option<Disk>,
    added: BTreeMap<Uuid, Object>,
    removed: BTreeSet<Uuid>,
    promises: Promises,
}

impl World {
    fn new(run: &Run<Ledger>, filled: bool) -> Result<Self, Fail> {
        let mut promises = Promises::default();
        let disk = Disk::default();
        let entry = promises.issue(run, "empty", &disk);
        promises.ack(run, entry);
        let mut world = Self {
            handles: Vec::new(),
            open: None,
            disk,
            or: None,
            added: BTreeMap::new(),
            removed: BTreeSet::new(),
            promises,
        };
        if filled {
            world.insert(run, SMALL)?;
            world.insert(run, LARGE)?;
            world.persist(run)?;
            world.insert(run, SMALL)?;
            world.persist(run)?;
            world.sync(run)?;
            world.checkpoint(run, "a", 2)?;
        }
        Ok(world)
    }

    fn open(&mut self, run: &Run<Ledger>) -> Result<&Open, Fail> {
        if self.open.is_none() {
            let open = Open::new(&run.fs())?;
            if let Some(or) = self.or.take()
                && !open.shows(&self.disk)?
            {
                self.disk = or;
            }
            if !open.shows(&self.disk)? {
                return Err(Fail::new(format!("opened, and it is not {}", self.disk)));
            }
            for (key, object) in &self.disk.objects {
                let Some(fb) = open.pool.blocking_register(&open.path, *key)? else {
                    return Err("a listed object cannot be registered".into());
                };
                self.handles.push((fb, *object));
            }
            self.open = Some(open);
        }
        self.open.as_ref().ok_or_else(|| "it was just opened".into())
    }

    /// Everything but the disk is gone.
    fn leave(&mut self) {
        self.handles.clear();
        self.open = None;
        self.added.clear();
        self.removed.clear();
    }

    /// One commit: the state before it may be found, or the one after it, until it is acknowledged.
    fn commit(
        &mut self,
        run: &Run<Ledger>,
        what: &'static str,
        next: Disk,
        act: impl FnOnce(&Open, &[(Fb<Bytes>, Object)]) -> crate::Result<()>,
    ) -> Result<(), Fail> {
        let before = std::mem::replace(&mut self.disk, next);
        let kept = self.promises.all_kept();
        let entry = self.promises.issue(run, what, &self.disk);
        let Some(open) = &self.open else { return Err("it is open".into()) };
        match act(open, &self.handles) {
            Ok(()) => self.promises.ack(run, entry),
            Err(error) => {
                if error.outcome() == Outcome::Unchanged && error.kind() != ErrorKind::Poisoned {
                    self.disk = before;
                    let entry = self.promises.issue(run, "unchanged", &self.disk);
                    if kept {
                        self.promises.ack(run, entry);
                    }
                    self.handles_read()?;
                } else {
                    // What is in memory and in the spill is of use all the same.
                    self.handles_read()?;
                    self.leave();
                    self.or = Some(before);
                }
                return Err(error.into());
            }
        }
        let shown = open.shows(&self.disk)?;
        if !shown {
            return Err(Fail::new(format!("it does not show {}", self.disk)));
        }
        self.handles_read()
    }

    /// Every handle loads its value, or says why not and does so the next time.
    fn handles_read(&self) -> Result<(), Fail> {
        for (fb, object) in &self.handles {
            let loaded = fb.blocking_load();
            let again = if loaded.is_err() { fb.blocking_load() } else { loaded };
            if *again? != bytes(*object) {
                return Err(Fail::new(format!("handle {} has other bytes", object.0)));
            }
        }
        Ok(())
    }

    fn insert(&mut self, run: &Run<Ledger>, len: usize) -> Result<(), Fail> {
        let object = (run.next(), len);
        let fb = self.open(run)?.pool.blocking_insert(bytes(object));
        let fb = fb.map_err(crate::Error::from)?;
        self.handles.push((fb, object));
        Ok(())
    }

    fn change(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        let id = run.next();
        if let Some((fb, object)) = self.handles.last_mut() {
            let mut guard = fb.blocking_load_mut()?;
            object.0 = id;
            *guard = bytes(*object);
        }
        Ok(())
    }

    fn let_go(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        if !self.handles.is_empty() {
            drop(self.handles.remove(0));
        }
        self.handles_read()
    }

    fn spill(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?.pool.spill_all()?;
        self.handles_read()
    }

    /// Stages the handle that came last, and the first one.
    fn persist(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        let Some(open) = &self.open else { return Ok(()) };
        for (fb, object) in self.handles.iter().rev().take(1).chain(self.handles.iter().take(1)) {
            let key = fb.key();
            fb.blocking_persist(&open.path)?;
            self.removed.remove(&key);
            // That a named set has it is not enough: it may be dropped.
            if !self.disk.loose.contains(&key) {
                self.added.insert(key, *object);
            }
        }
        Ok(())
    }

    /// Stages the removal of the first loose object, and of the last one that is staged.
    fn delete(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let first = self.disk.loose.iter().next().copied();
        let open = self.open(run)?;
        if let Some(key) = first {
            open.store.blocking_delete_persisted(&open.path, key)?;
            self.removed.insert(key);
        }
        let last = self.added.last_key_value().map(|(key, _)| *key);
        if let Some((key, open)) = last.zip(self.open.as_ref()) {
            open.store.blocking_delete_persisted(&open.path, key)?;
            self.added.remove(&key);
        }
        self.handles_read()
    }

    fn sync(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        let mut next = self.disk.clone();
        for (key, object) in &self.added {
            next.objects.insert(*key, *object);
            next.loose.insert(*key);
        }
        next.loose.retain(|key| !self.removed.contains(key));
        let next = next.tidy();
        self.commit(run, "sync", next, |open, _| open.store.blocking_sync(&open.path))?;
        self.added.clear();
        self.removed.clear();
        Ok(())
    }

    /// Names the last `count` handles, in the order of their coming.
    fn checkpoint(
        &mut self,
        run: &Run<Ledger>,
        name: &'static str,
        count: usize,
    ) -> Result<(), Fail> {
        self.open(run)?;
        let meta = run.next();
        let mut next = self.disk.clone();
        let mut keys = Vec::new();
        let from = self.handles.len().saturating_sub(count);
        for (fb, object) in &self.handles[from..] {
            let key = fb.key();
            keys.push(key);
            next.objects.insert(key, *object);
        }
        next.sets.insert(name, (keys.clone(), meta));
        let next = next.tidy();
        self.commit(run, "checkpoint", next, |open, handles| {
            let handles: Vec<&Fb<Bytes>> = handles[from..].iter().map(|(fb, _)| fb).collect();
            let meta = meta.to_le_bytes();
            Fb::blocking_checkpoint(&handles, &open.path, name, &meta).map(drop)
        })?;
        // What was staged and is in the set now is not staged any more.
        self.added.retain(|key, _| !keys.contains(key));
        Ok(())
    }

    fn drop_set(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        let mut next = self.disk.clone();
        next.sets.remove("a");
        self.commit(run, "drop set", next.tidy(), |open, _| open.path.drop_set("a"))
    }

    /// Where the objects lie changes, and nothing else.
    fn compact(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        let next = self.disk.clone();
        self.commit(run, "compact", next, |open, _| open.store.compact().map(drop))
    }

    fn reopen(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        self.leave();
        self.open(run)?;
        self.handles_read()
    }
}

/// Opens what is there, compares it with what may be, and goes on with it to the end.
fn check(after: &After<Ledger>) -> Result<(), Fail> {
    let (mut states, or_nothing) = candidates(after);
    if or_nothing {
        states.push(Arc::new(Disk::default()));
    }
    let fs = after.fs();
    let open = Open::new(&fs)?;
    let mut found = None;
    for state in states.iter().rev() {
        if open.shows(state)? {
            found = Some(Arc::clone(state));
            break;
        }
    }
    let Some(found) = found else {
        let promised = states.first().map_or_else(String::new, ToString::to_string);
        let keys = open.path.durable_keys().len();
        return Err(Fail::new(format!("promised {promised}; found {keys} objects")));
    };
    open.reads_back(&found)?;
    leftovers(after, &found)?;
    let kept = Entry::State(after.next(), "found", Arc::clone(&found));
    after.issue(kept.clone());
    after.ack(kept);
    // It can be gone on with, and that lasts.
    let object = (after.next(), SMALL);
    let fb = open.pool.blocking_insert(bytes(object)).map_err(crate::Error::from)?;
    let mut next = (*found).clone();
    if let Some(key) = found.loose.first() {
        open.store.blocking_delete_persisted(&open.path, *key)?;
        next.loose.remove(key);
    }
    next.objects.insert(fb.key(), object);
    next.loose.insert(fb.key());
    let next = next.tidy();
    let used = Entry::State(after.next(), "used on", Arc::new(next.clone()));
    after.issue(used.clone());
    fb.blocking_persist(&open.path)?;
    open.store.blocking_sync(&open.path)?;
    after.ack(used);
    open.store.compact()?;
    if !open.shows(&next)? {
        return Err("what was persisted after recovery is not there".into());
    }
    open.reads_back(&next)?;
    drop(fb);
    drop(open);
    let open = Open::new(&fs)?;
    if !open.shows(&next)? {
        return Err("what was persisted after recovery is not there when it is opened again".into());
    }
    open.reads_back(&next)?;
    leftovers(after, &next)
}

/// Nothing is left over but what a sweep may take; what others put there is as it was.
fn leftovers(after: &After<Ledger>, disk: &Disk) -> Result<(), Fail> {
    let dump = after.sim().dump();
    for foreign in FOREIGN {
        if !dump.iter().any(|(path, _)| path.as_os_str() == foreign) {
            return Err(Fail::new(format!("{foreign} is gone")));
        }
    }
    if after.sim().model().unwritten == Unwritten::Garbage {
        // What has garbage for a header or a lock's text is not known for ours, and stays.
        return Ok(());
    }
    let mut owners = BTreeSet::new();
    for (path, item) in &dump {
        let path = path.to_string_lossy();
        if let Some(rest) = path.strip_prefix("/data/scratch/spill/")
            && !FOREIGN.iter().any(|foreign| foreign.starts_with(&*path))
        {
            let owner = rest.split('/').next().unwrap_or_default();
            owners.insert(owner.to_owned());
        }
        let unlisted = matches!(item, Found::File(_)) && path.starts_with("/data/state/seg/");
        if unlisted && disk.objects.is_empty() && disk.sets.is_empty() {
            return Err(Fail::new(format!("{path} holds nothing and is left")));
        }
    }
    if owners.len() > 1 {
        return Err(Fail::new(format!("the spills of dead owners are left: {owners:?}")));
    }
    Ok(())
}

fn explorer(task: Task<'_>) -> Explorer<Ledger, World> {
    task.explorer(check)
        .prepare(|sim| {
            for foreign in FOREIGN {
                let dir = foreign.rsplit_once('/').map_or("", |(dir, _)| dir);
                drop(sim.make_dirs(dir));
                drop(sim.put(foreign, b"not ours"));
            }
        })
        .start("two sets", |run| World::new(run, true))
        .start("empty", |run| World::new(run, false))
        .op("insert", |run, world: &mut World| world.insert(run, SMALL))
        .op("insert a long one", |run, world| world.insert(run, LARGE))
        .op("change", |run, world| world.change(run))
        .op("let go", |run, world| world.let_go(run))
        .op("spill", |run, world| world.spill(run))
        .op("persist", |run, world| world.persist(run))
        .op("delete", |run, world| world.delete(run))
        .op("sync", |run, world| world.sync(run))
        .op("checkpoint all", |run, world| world.checkpoint(run, "a", 9))
        .op("checkpoint one", |run, world| world.checkpoint(run, "b", 1))
        .op("drop a set", |run, world| world.drop_set(run))
        .op("compact", |run, world| world.compact(run))
        .op("close and open", |run, world| world.reopen(run))
}

fn sequences(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    nested(explorer(task), 3, states)
}

fn faults(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task)
        .fault_sequences(2)
        .states_per_point(6, 2)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part {
            name: "pool_all_sequences",
            what: "objects of a pool and their sets: sequences of up to three operations from two starts",
            run: sequences,
        },
        Part {
            name: "pool_a_fault_at_every_call",
            what: "calls that fail, each in every way, then power cuts and kills",
            run: faults,
        },
    ]
}
