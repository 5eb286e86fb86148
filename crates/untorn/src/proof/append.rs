//! The append-only file under the explorer: appended, rewound, pruned, alone and in a group.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::shape::{Entry, Promises, candidates};
use super::{Part, Task, nested};
use crate::append::{
    AppendGroup, AppendOnlyFile, Commit, FileSpec, GroupOptions, GroupSnapshot, OpenOptions,
    Snapshot,
};
use crate::fs::{Fs, How};
use crate::sim::{After, Explorer, Fail, FaultKind, Report, Run, Violation};
use crate::{Durability, ErrorKind, Outcome};

const DIR: &str = "/data";
/// Bytes of an element of fixed size: sixteen fill a block.
const SIZE: u32 = 1024;
/// Elements that stand there at the start: almost a block.
const START: u64 = 14;

/// What is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Fixed,
    Variable,
    /// Fixed, variable, fixed.
    Group,
}

impl Shape {
    const fn members(self) -> &'static [bool] {
        match self {
            Self::Fixed => &[true],
            Self::Variable => &[false],
            Self::Group => &[true, false, true],
        }
    }
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// The bytes of an element, by what it was numbered when it was made.
fn bytes(id: u64, fixed: bool) -> Vec<u8> {
    let len = index(if fixed { u64::from(SIZE) } else { id * 397 % 1700 });
    // In words: most of the time of an exploration goes into making these.
    let word = |at: u64| {
        let mixed = (id ^ at << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8) as u64).flat_map(word).collect();
    bytes.truncate(len);
    bytes
}

/// A member: its first element, and all by their numbers, with those that were dropped.
type List = (u64, Vec<u64>);

/// What the store holds.
#[derive(Clone, Default, PartialEq)]
struct Disk {
    lists: Vec<List>,
    /// The note of the last commit, by its number.
    note: u64,
}

impl Disk {
    fn of(shape: Shape) -> Self {
        Self { lists: vec![(0, Vec::new()); shape.members().len()], note: 0 }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (first, ids) in &self.lists {
            write!(f, "[{first}.. {} ", ids.len())?;
            write!(f, "{:?}] ", &ids[index(*first).max(ids.len().saturating_sub(6))..])?;
        }
        Ok(())
    }
}

type Ledger = Entry<Disk>;

enum Store {
    File(Box<AppendOnlyFile<Vec<u8>>>),
    Group(Box<AppendGroup>),
}

enum Held {
    File(Snapshot<Vec<u8>>),
    Group(GroupSnapshot),
}

fn path(member: usize) -> String {
    format!("{DIR}/{}", ["a", "b", "c"][member])
}

#[derive(Clone, Copy)]
struct Kind {
    shape: Shape,
    checkpoint_bytes: u64,
}

impl Kind {
    fn file(self, fs: Arc<dyn Fs>) -> OpenOptions<Vec<u8>> {
        let options = OpenOptions::new();
        let fixed = self.shape == Shape::Fixed;
        let options = if fixed { options.fixed(SIZE) } else { options.variable() };
        options
            .inline_limit(2048)
            .checkpoint_bytes(self.checkpoint_bytes)
            .log_segment_bytes(8192)
            .fs(fs)
    }

    fn group(self, fs: Arc<dyn Fs>) -> GroupOptions {
        let mut options = AppendGroup::options(format!("{DIR}/group"));
        for (nth, fixed) in self.shape.members().iter().enumerate() {
            let spec = if *fixed { FileSpec::fixed(SIZE) } else { FileSpec::variable() };
            options = options.file(["a", "b", "c"][nth], path(nth), spec);
        }
        options
            .inline_limit(2048)
            .checkpoint_bytes(self.checkpoint_bytes)
            .log_segment_bytes(8192)
            .fs(fs)
    }

    /// What is seen without a lock and without healing; `None` if there is no store yet.
    fn look(self, fs: Arc<dyn Fs>) -> crate::Result<Option<Held>> {
        let seen = if self.shape == Shape::Group {
            self.group(fs).open_read_only().and_then(|group| group.snapshot()).map(Held::Group)
        } else {
            self.file(fs).open_read_only(path(0)).and_then(|file| file.snapshot()).map(Held::File)
        };
        match seen {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            // The data file alone says nothing of where its elements end.
            Err(e) if e.kind() == ErrorKind::Precondition => Ok(None),
            seen => seen.map(Some),
        }
    }
}

impl Store {
    fn open(fs: Arc<dyn Fs>, how: Kind) -> crate::Result<Self> {
        if how.shape == Shape::Group {
            return Ok(Self::Group(Box::new(how.group(fs).open()?)));
        }
        Ok(Self::File(Box::new(how.file(fs).open(path(0))?)))
    }

    fn append(&mut self, member: usize, bytes: &[u8]) -> crate::Result<u64> {
        match self {
            Self::File(file) => file.append(bytes),
            Self::Group(group) => group.file::<Vec<u8>>(["a", "b", "c"][member])?.append(bytes),
        }
    }

    fn rewind(&mut self, member: usize, keep: u64) -> crate::Result<()> {
        match self {
            Self::File(file) => file.rewind(keep),
            Self::Group(group) => group.file::<Vec<u8>>(["a", "b", "c"][member])?.rewind(keep),
        }
    }

    fn drop_head(&mut self, member: usize, first: u64) -> crate::Result<()> {
        match self {
            Self::File(file) => file.drop_head(first).map(drop),
            Self::Group(group) => {
                group.file::<Vec<u8>>(["a", "b", "c"][member])?.drop_head(first).map(drop)
            }
        }
    }

    fn compact(&mut self, dead: &[Vec<u64>]) -> crate::Result<()> {
        match self {
            Self::File(file) => file.compact(dead[0].iter().copied()).map(drop),
            Self::Group(group) => {
                let dead: Vec<(&str, &[u64])> =
                    ["a", "b", "c"].into_iter().zip(dead).map(|(n, d)| (n, &d[..])).collect();
                group.compact(&dead).map(drop)
            }
        }
    }

    fn commit(&mut self, durability: Durability) -> crate::Result<Commit> {
        match (self, durability) {
            (Self::File(file), Durability::Synced) => file.flush(),
            (Self::File(file), Durability::Buffered) => file.write(),
            (Self::Group(group), Durability::Synced) => group.flush(),
            (Self::Group(group), Durability::Buffered) => group.write(),
        }
    }

    fn sync(&mut self) -> crate::Result<Commit> {
        match self {
            Self::File(file) => file.sync(),
            Self::Group(group) => group.sync(),
        }
    }

    fn annotate(&mut self, note: u64) -> crate::Result<()> {
        match self {
            Self::File(file) => file.annotate(&note.to_le_bytes()),
            Self::Group(group) => group.annotate(&note.to_le_bytes()),
        }
    }

    /// 0 if there is none.
    fn note(&self) -> crate::Result<u64> {
        let note = match self {
            Self::File(file) => file.note()?,
            Self::Group(group) => group.note(),
        };
        Ok(note.try_into().map_or(0, u64::from_le_bytes))
    }

    fn discard(&mut self) {
        match self {
            Self::File(file) => file.discard(),
            Self::Group(group) => group.discard(),
        }
    }

    fn close(self) -> crate::Result<()> {
        match self {
            Self::File(file) => file.close(),
            Self::Group(group) => group.close(),
        }
    }

    fn hold(&self) -> crate::Result<Held> {
        match self {
            Self::File(file) => file.snapshot().map(Held::File),
            Self::Group(group) => Ok(Held::Group(group.snapshot())),
        }
    }
}

impl Held {
    fn member(&self, member: usize) -> crate::Result<Snapshot<Vec<u8>>> {
        match self {
            Self::File(snapshot) => Ok(snapshot.clone()),
            Self::Group(snapshot) => snapshot.file(["a", "b", "c"][member]),
        }
    }

    /// Whether it shows just this.
    fn shows(&self, disk: &Disk, shape: Shape) -> crate::Result<bool> {
        for (member, fixed) in shape.members().iter().enumerate() {
            let (first, ids) = &disk.lists[member];
            let snapshot = self.member(member)?;
            if (snapshot.first(), snapshot.len()) != (*first, ids.len() as u64) {
                return Ok(false);
            }
            for pos in *first..ids.len() as u64 {
                if *snapshot.get_cow(pos)? != bytes(ids[index(pos)], *fixed) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

struct World {
    how: Kind,
    store: Option<Store>,
    disk: Disk,
    /// Or this, after a failure of which nobody knows what it did.
    or: Option<Disk>,
    held: Option<(Held, Disk)>,
    promises: Promises,
}

impl World {
    /// A store of some elements, closed in order or just left.
    fn new(run: &Run<Ledger>, how: Kind, elements: u64) -> Result<Self, Fail> {
        let mut promises = Promises::default();
        let disk = Disk::of(how.shape);
        let entry = promises.issue(run, "empty", &disk);
        promises.ack(run, entry);
        let mut world = Self { how, store: None, disk, or: None, held: None, promises };
        if elements > 0 {
            world.extend(run, elements, Durability::Synced)?;
        }
        Ok(world)
    }

    fn open(&mut self, run: &Run<Ledger>) -> Result<&mut Store, Fail> {
        if self.store.is_none() {
            self.held = None;
            let store = Store::open(run.fs(), self.how)?;
            let seen = store.hold()?;
            if let Some(or) = self.or.take()
                && (!seen.shows(&self.disk, self.how.shape)? || store.note()? != self.disk.note)
            {
                self.disk = or;
            }
            if !seen.shows(&self.disk, self.how.shape)? || store.note()? != self.disk.note {
                return Err(Fail::new(format!("opened, and it is not {}", self.disk)));
            }
            self.store = Some(store);
        }
        self.store.as_mut().ok_or_else(|| "it was just opened".into())
    }

    /// The state before the step may be found, or the one after it, until it is acknowledged.
    fn step(
        &mut self,
        run: &Run<Ledger>,
        what: &'static str,
        durability: Durability,
        next: Disk,
        act: impl FnOnce(&mut Store) -> crate::Result<()>,
    ) -> Result<(), Fail> {
        self.open(run)?;
        let before = std::mem::replace(&mut self.disk, next);
        let kept = self.promises.all_kept();
        let entry = self.promises.issue(run, what, &self.disk);
        let Some(store) = &mut self.store else { return Err("it is open".into()) };
        match act(store) {
            Ok(()) if durability == Durability::Synced => self.promises.ack(run, entry),
            Ok(()) => run.ack_buffered(entry),
            Err(error) => {
                store.discard();
                match error.outcome() {
                    Outcome::Unchanged => {
                        self.disk = before;
                        let entry = self.promises.issue(run, "unchanged", &self.disk);
                        if kept {
                            self.promises.ack(run, entry);
                        }
                    }
                    // Which one it is shows when it is opened again.
                    Outcome::Applied => self.store = None,
                    Outcome::Unknown => {
                        self.store = None;
                        self.or = Some(before);
                    }
                }
                if error.kind() == ErrorKind::Poisoned {
                    self.store = None;
                }
                return Err(error.into());
            }
        }
        self.read_back()
    }

    /// The handle shows what it should, and so does what is held.
    fn read_back(&self) -> Result<(), Fail> {
        let Some(store) = &self.store else { return Ok(()) };
        if !store.hold()?.shows(&self.disk, self.how.shape)? {
            return Err(Fail::new(format!("it does not show {}", self.disk)));
        }
        match &self.held {
            Some((held, disk)) if !held.shows(disk, self.how.shape)? => {
                Err(Fail::new(format!("a snapshot does not show {disk} any more")))
            }
            _ => Ok(()),
        }
    }

    /// Elements for each member, after a rewind of some.
    fn change(
        &mut self,
        run: &Run<Ledger>,
        what: &'static str,
        (rewind, add): (u64, u64),
        durability: Durability,
    ) -> Result<(), Fail> {
        self.open(run)?;
        let mut next = self.disk.clone();
        let mut keeps = Vec::new();
        for (first, ids) in &mut next.lists {
            let keep = (ids.len() as u64).saturating_sub(rewind).max(*first);
            ids.truncate(index(keep));
            keeps.push(keep);
            ids.extend((0..add).map(|_| run.next()));
        }
        next.note = run.next();
        let after = next.clone();
        let durability = if rewind > 0 { Durability::Synced } else { durability };
        let shape = self.how.shape;
        self.step(run, what, durability, next, |store| {
            for (member, fixed) in shape.members().iter().enumerate() {
                if rewind > 0 {
                    store.rewind(member, keeps[member])?;
                }
                for id in &after.lists[member].1[index(keeps[member])..] {
                    store.append(member, &bytes(*id, *fixed))?;
                }
            }
            store.annotate(after.note)?;
            store.commit(durability).map(drop)
        })
    }

    fn extend(&mut self, run: &Run<Ledger>, add: u64, durability: Durability) -> Result<(), Fail> {
        self.change(run, "append", (0, add), durability)
    }

    fn sync(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let next = self.disk.clone();
        self.step(run, "sync", Durability::Synced, next, |store| store.sync().map(drop))
    }

    fn compact(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        let mut next = self.disk.clone();
        let mut dead = Vec::new();
        for (first, ids) in &mut next.lists {
            let these: Vec<u64> = (*first..ids.len() as u64).filter(|pos| pos % 3 == 1).collect();
            let kept = |(pos, id): (usize, &u64)| {
                (pos as u64 >= *first && !these.contains(&(pos as u64))).then_some(*id)
            };
            let kept: Vec<u64> = ids.iter().enumerate().filter_map(kept).collect();
            (*first, *ids) = (0, kept);
            dead.push(these);
        }
        self.step(run, "compact", Durability::Synced, next, |store| store.compact(&dead))
    }

    /// Of one member: its head is a commit of its own.
    fn drop_head(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        let mut next = self.disk.clone();
        let member = next.lists.len() / 2;
        let (first, ids) = &mut next.lists[member];
        *first += (ids.len() as u64 - *first) * 2 / 3;
        let to = *first;
        self.step(run, "drop head", Durability::Synced, next, |store| store.drop_head(member, to))
    }

    fn hold(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        self.held = match (&self.held, &self.store) {
            (None, Some(store)) => Some((store.hold()?, self.disk.clone())),
            _ => None,
        };
        Ok(())
    }

    fn close(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.open(run)?;
        self.held = None;
        let entry = self.promises.issue(run, "close", &self.disk);
        if let Some(store) = self.store.take() {
            store.close()?;
            self.promises.ack(run, entry);
        }
        self.open(run).map(drop)
    }

    fn reopen(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.store = None;
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
        states.push(Arc::new(Disk::of(how.shape)));
    }
    if let Some(seen) = how.look(after.fs())? {
        let mut fits = false;
        for state in &states {
            fits |= seen.shows(state, how.shape)?;
        }
        if !fits {
            return Err("a reader without a lock sees what nobody wrote".into());
        }
    } else if !states.iter().any(|state| **state == Disk::of(how.shape)) {
        return Err("a reader without a lock sees no store".into());
    }
    let mut store = Store::open(after.fs(), how)?;
    let seen = store.hold()?;
    let mut found = None;
    for state in &states {
        if seen.shows(state, how.shape)? && store.note()? == state.note {
            found = Some(Arc::clone(state));
        }
    }
    let Some(found) = found else {
        let promised = states.first().map_or_else(String::new, ToString::to_string);
        let lens: Vec<_> = (0..how.shape.members().len())
            .map(|n| seen.member(n).map(|s| (s.first(), s.len())))
            .collect::<Result<_, _>>()?;
        return Err(Fail::new(format!("promised {promised}; found first and length {lens:?}")));
    };
    drop(seen);
    for (member, fixed) in how.shape.members().iter().enumerate() {
        let ids = &found.lists[member].1;
        let len = after.sim().read(path(member)).map_or(0, |data| data.len());
        if *fixed && len as u64 != ids.len() as u64 * u64::from(SIZE) {
            return Err(Fail::new(format!("{} elements in {len} bytes of data", ids.len())));
        }
    }
    leftovers(after, how)?;
    // What was found stays: the open vouches for it.
    let kept = Entry::State(after.next(), "found", Arc::clone(&found));
    after.issue(kept.clone());
    after.ack(kept);
    // It can be gone on with, and that lasts.
    let mut next = (*found).clone();
    for (member, fixed) in how.shape.members().iter().enumerate() {
        let (first, ids) = &mut next.lists[member];
        let keep = ids.len().saturating_sub(1).max(index(*first));
        store.rewind(member, keep as u64)?;
        ids.truncate(keep);
        for id in [(); 3].map(|()| after.next()) {
            store.append(member, &bytes(id, *fixed))?;
            ids.push(id);
        }
    }
    let used = Entry::State(after.next(), "used on", Arc::new(next.clone()));
    after.issue(used.clone());
    store.commit(Durability::Synced)?;
    after.ack(used);
    drop(store);
    let store = Store::open(after.fs(), how)?;
    if !store.hold()?.shows(&next, how.shape)? {
        return Err("what was appended after recovery is not there".into());
    }
    store.close()?;
    let store = Store::open(after.fs(), how)?;
    if !store.hold()?.shows(&next, how.shape)? {
        return Err("what was closed is not there".into());
    }
    Ok(())
}

/// Nothing is left over of compactions and creations that did not come to their end.
fn leftovers(after: &After<Ledger>, how: Kind) -> Result<(), Fail> {
    let members = how.shape.members();
    let columns: usize = members.iter().map(|fixed| if *fixed { 1 } else { 3 }).sum();
    let ours = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ["data.", "ends.", "sums.", "esums."].iter().any(|kind| file.starts_with(kind))
    };
    let there: Vec<PathBuf> = after.sim().dump().into_keys().filter(ours).collect();
    if there.len() == columns {
        return Ok(());
    }
    Err(Fail::new(format!("{columns} files belong to it, there are {there:?}")))
}

const ALONE: Kind = Kind { shape: Shape::Variable, checkpoint_bytes: 1 << 20 };
const FIXED: Kind = Kind { shape: Shape::Fixed, checkpoint_bytes: 1 << 20 };
const GROUP: Kind = Kind { shape: Shape::Group, checkpoint_bytes: 1 << 20 };
/// So small that almost each commit is followed by a checkpoint.
const CHECKPOINTS: Kind = Kind { shape: Shape::Variable, checkpoint_bytes: 600 };

fn explorer(
    task: Task<'_>,
    how: Kind,
    check: fn(&After<Ledger>) -> Result<(), Fail>,
) -> Explorer<Ledger, World> {
    task.explorer(check)
        .prepare(|sim| drop(sim.make_dirs(DIR)))
        .start("almost a block", move |run| World::new(run, how, START))
        .start("empty", move |run| World::new(run, how, 0))
        .start("closed", move |run| {
            let mut world = World::new(run, how, START)?;
            world.close(run)?;
            Ok(world)
        })
        .op("append and flush", |run, world: &mut World| world.extend(run, 1, Durability::Synced))
        .op("append much and flush", |run, world| world.extend(run, 4, Durability::Synced))
        .op("append much and write", |run, world| world.extend(run, 4, Durability::Buffered))
        .op("rewind and flush", |run, world| {
            world.change(run, "rewind", (2, 0), Durability::Synced)
        })
        .op("rewind, append much and flush", |run, world| {
            world.change(run, "rewind and append", (3, 6), Durability::Synced)
        })
        .op("compact", |run, world| world.compact(run))
        .op("drop the head", |run, world| world.drop_head(run))
        .op("close and open", |run, world| world.close(run))
        .op("drop and open", |run, world| world.reopen(run))
        .op("hold a snapshot, or drop it", |run, world| world.hold(run))
}

fn sequences(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    nested(explorer(task, ALONE, |after| check(after, ALONE)), 3, states)
}

fn checkpoints(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    let explorer = explorer(task, CHECKPOINTS, |after| check(after, CHECKPOINTS))
        .op("append and write", |run, world| world.extend(run, 1, Durability::Buffered))
        .op("sync", |run, world| world.sync(run));
    nested(explorer, 3, states)
}

fn group(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    nested(explorer(task, GROUP, |after| check(after, GROUP)), 2, states)
}

fn pruning(task: Task<'_>) -> Result<Report, Box<Violation>> {
    task.explorer(|after| check(after, ALONE))
        .prepare(|sim| drop(sim.make_dirs(DIR)))
        .start("a block and more", |run| World::new(run, ALONE, START + 4))
        .op("compact", |run, world: &mut World| world.compact(run))
        .op("drop the head", |run, world| world.drop_head(run))
        .op("append and flush", |run, world| world.extend(run, 1, Durability::Synced))
        .sequences(2)
        .states_per_point(24, 8)
        .try_explore()
        .map_err(Box::new)
}

/// A file that another program wrote, and never synced, is taken over.
fn adopted(task: Task<'_>) -> Result<Report, Box<Violation>> {
    task.explorer(|after: &After<Ledger>| {
        let (states, or_nothing) = candidates(after);
        // Before the open returned the file may be as short as the power cut left it.
        if or_nothing || states.iter().all(|state| state.lists[0].1.is_empty()) {
            return Ok(());
        }
        check(after, FIXED)
    })
    .prepare(|sim| drop(sim.make_dirs(DIR)))
    .start("another program's file", |run| {
        let ids: Vec<u64> = (0..20).collect();
        let data: Vec<u8> = ids.iter().flat_map(|id| bytes(*id, true)).collect();
        let dir = run.fs().open_dir(DIR.as_ref())?;
        dir.open("a".as_ref(), How::Create(0o666))?.write_at(&data, 0)?;
        let mut promises = Promises::default();
        let disk = Disk { lists: vec![(0, ids)], note: 0 };
        let entry = promises.issue(run, "adopt", &disk);
        let store = Store::open(run.fs(), FIXED)?;
        promises.ack(run, entry);
        let (or, held) = (None, None);
        Ok(World { how: FIXED, store: Some(store), disk, or, held, promises })
    })
    .op("append and flush", |run, world: &mut World| world.extend(run, 1, Durability::Synced))
    .op("close and open", |run, world| world.close(run))
    .sequences(2)
    .states_per_point(24, 8)
    .try_explore()
    .map_err(Box::new)
}

fn faults(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task, CHECKPOINTS, |after| check(after, CHECKPOINTS))
        .fault_sequences(2)
        .states_per_point(6, 2)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part {
            name: "append_all_sequences",
            what: "elements of variable size: sequences of up to three operations from three starts",
            run: sequences,
        },
        Part {
            name: "append_checkpoints",
            what: "the same with a checkpoint after almost each commit, and commits that are not synced",
            run: checkpoints,
        },
        Part {
            name: "append_group",
            what: "three files with one commit: sequences of up to two operations",
            run: group,
        },
        Part {
            name: "append_adopted",
            what: "a file that another program left unsynced is taken over",
            run: adopted,
        },
        Part {
            name: "append_pruning",
            what: "elements dropped from the middle and from the head",
            run: pruning,
        },
        Part {
            name: "append_a_fault_at_every_call",
            what: "calls that fail, each in every way, then power cuts and kills",
            run: faults,
        },
    ]
}
