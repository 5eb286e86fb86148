//! Every call of the append-only file, at random, against lists of elements: alone and in a group, with kills and power cuts between.
#![expect(
    clippy::cast_possible_truncation,
    reason = "small numbers, and bytes that are made of them"
)]

use std::sync::Arc;

use untorn::append::{
    AppendGroup, AppendOnlyFile, FileSpec, GroupSnapshot, OpenOptions, Savepoint, Snapshot,
};
use untorn::fs::{Fs, OsFs};
use untorn::sim::SimFs;
use untorn::{ErrorKind, Outcome, Result};

const NAMES: [&str; 3] = ["a", "b", "c"];

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A file: its first element, and all of them, with those that were dropped.
#[derive(Clone, Debug, Default, PartialEq)]
struct List {
    first: u64,
    elements: Vec<Vec<u8>>,
}

type Lists = Vec<List>;

enum Store {
    File(Box<AppendOnlyFile<Vec<u8>>>),
    Group(Box<AppendGroup>),
}

#[derive(Clone)]
enum Seen {
    File(Snapshot<Vec<u8>>),
    Group(GroupSnapshot),
}

impl Seen {
    fn of(&self, member: usize) -> Snapshot<Vec<u8>> {
        match self {
            Self::File(snapshot) => snapshot.clone(),
            Self::Group(state) => state.file(NAMES[member]).unwrap(),
        }
    }

    fn lists(&self, members: usize) -> Lists {
        let list = |member| {
            let snapshot = self.of(member);
            let read = |at| snapshot.get_cow(at).unwrap().into_owned();
            let mut elements = vec![Vec::new(); snapshot.first() as usize];
            elements.extend((snapshot.first()..snapshot.len()).map(read));
            List { first: snapshot.first(), elements }
        };
        (0..members).map(list).collect()
    }
}

/// What was dropped does not show: only that it was there.
fn shown(lists: &[List]) -> Lists {
    let blank = |list: &List| {
        let mut list = list.clone();
        list.elements.iter_mut().take(list.first as usize).for_each(Vec::clear);
        list
    };
    lists.iter().map(blank).collect()
}

/// Calls a method of the file, or of a member of the group.
macro_rules! on {
    ($store:expr, $member:expr, $file:ident => $call:expr) => {
        match $store {
            Store::File($file) => $call,
            Store::Group(group) => {
                let $file = &mut group.file::<Vec<u8>>(NAMES[$member]).unwrap();
                $call
            }
        }
    };
}

struct World {
    sizes: &'static [u32],
    dir: String,
    fs: Arc<dyn Fs>,
    sim: Option<SimFs>,
    rng: Rng,
    store: Option<Store>,
    /// What a power cut may leave, the oldest first; the last one is what is visible.
    states: Vec<Lists>,
    pending: Lists,
    saved: Option<(Savepoint, Lists)>,
    held: Vec<(Seen, Lists)>,
    /// Of each member: elements of the successor that was prepared, and how many of the file it covers.
    prepared: Vec<Option<(Vec<Vec<u8>>, usize)>>,
}

impl World {
    fn new(
        sizes: &'static [u32],
        dir: &str,
        fs: Arc<dyn Fs>,
        sim: Option<SimFs>,
        seed: u64,
    ) -> Self {
        let lists = vec![List::default(); sizes.len()];
        let (store, saved, held) = (None, None, Vec::new());
        let mut world = Self {
            sizes,
            dir: dir.to_owned(),
            fs,
            sim,
            rng: Rng(seed),
            store,
            states: vec![lists.clone()],
            pending: lists,
            saved,
            held,
            prepared: vec![None; sizes.len()],
        };
        world.open().unwrap();
        world
    }

    fn open(&mut self) -> Result<()> {
        let path = |name: &str| format!("{}/{name}", self.dir);
        let inline = 200;
        let store = if self.sizes.len() == 1 {
            let options = OpenOptions::<Vec<u8>>::new().inline_limit(inline).checkpoint_bytes(3000);
            let options = options.log_segment_bytes(8192).fs(Arc::clone(&self.fs));
            let options = match self.sizes[0] {
                0 => options.variable(),
                size => options.fixed(size),
            };
            Store::File(Box::new(options.open(path("a"))?))
        } else {
            let mut options = AppendGroup::options(path("group"));
            for (name, size) in NAMES.into_iter().zip(self.sizes) {
                let spec = if *size == 0 { FileSpec::variable() } else { FileSpec::fixed(*size) };
                options = options.file(name, path(name), spec);
            }
            let options = options.inline_limit(inline).checkpoint_bytes(3000);
            let options = options.log_segment_bytes(8192).fs(Arc::clone(&self.fs));
            Store::Group(Box::new(options.open()?))
        };
        self.store = Some(store);
        Ok(())
    }

    fn visible(&self) -> &Lists {
        self.states.last().unwrap()
    }

    fn seen(&self) -> Seen {
        match self.store.as_ref().unwrap() {
            Store::File(file) => Seen::File(file.snapshot().unwrap()),
            Store::Group(group) => Seen::Group(group.snapshot()),
        }
    }

    fn check(&mut self) {
        let members = self.sizes.len();
        let seen = self.seen();
        assert_eq!(seen.lists(members), shown(self.visible()), "what is visible");
        for (seen, lists) in &self.held {
            assert_eq!(seen.lists(members), shown(lists), "what is held");
        }
        drop(seen);
        for (member, list) in self.pending.iter().enumerate() {
            let store = self.store.as_mut().unwrap();
            let len = list.elements.len() as u64;
            on!(store, member, file => {
                assert_eq!(file.size_unsync_in_elmts().unwrap(), len);
                let mut found = Vec::new();
                for at in list.first..len {
                    found.clear();
                    file.copy_to(at, &mut found).unwrap();
                    assert_eq!(found, list.elements[at as usize], "pending, {at}");
                }
                assert_eq!(file.copy_to(len, &mut found).unwrap_err().kind(), ErrorKind::OutOfRange);
            });
        }
    }

    fn element(&mut self, member: usize) -> Vec<u8> {
        let len = match (self.sizes[member], self.rng.below(12)) {
            (0, 0) => 0,
            (0, 1) => 500 + self.rng.below(3000),
            (0, _) => self.rng.below(60),
            (size, _) => u64::from(size),
        };
        let seed = self.rng.next();
        (0..len).map(|at| (seed >> (at % 56)).wrapping_add(at * 7) as u8).collect()
    }

    fn member(&mut self) -> usize {
        self.rng.below(self.sizes.len() as u64) as usize
    }

    fn append(&mut self) {
        let member = self.member();
        let count = if self.rng.below(8) == 0 { 40 } else { self.rng.below(5) };
        let elements: Vec<Vec<u8>> = (0..count).map(|_| self.element(member)).collect();
        let wrong = self.sizes[member] != 0 && self.rng.below(10) == 0;
        let start = self.pending[member].elements.len() as u64;
        let store = self.store.as_mut().unwrap();
        on!(store, member, file => {
            if wrong {
                let mut bad = elements.clone();
                bad.push(vec![1; 3]);
                let error = file.append_batch(&bad).unwrap_err();
                assert_eq!((error.kind(), error.outcome()), (ErrorKind::InvalidInput, Outcome::Unchanged));
                return;
            }
            assert_eq!(file.append_batch(&elements).unwrap(), start..start + count);
        });
        self.pending[member].elements.extend(elements);
    }

    fn rewind(&mut self) {
        let member = self.member();
        let list = &self.pending[member];
        let (first, len) = (list.first, list.elements.len() as u64);
        let back = if self.rng.below(3) == 0 { 1000 } else { 6 };
        let to = (len + 2).saturating_sub(self.rng.below(back));
        let store = self.store.as_mut().unwrap();
        let done = on!(store, member, file => file.rewind(to));
        match done.map_err(|e| e.kind()) {
            Err(ErrorKind::OutOfRange) => assert!(to > len),
            Err(ErrorKind::Pruned) => assert!(to < first),
            done => {
                done.unwrap();
                assert!((first..=len).contains(&to));
                self.pending[member].elements.truncate(to as usize);
            }
        }
    }

    fn commit(&mut self, synced: bool) {
        let rewinds = self.pending.iter().zip(self.visible()).any(|(new, old)| {
            let same = new.elements.iter().zip(&old.elements).take_while(|(a, b)| a == b).count();
            same < old.elements.len()
        });
        let changed = self.pending != *self.visible();
        match (self.store.as_mut().unwrap(), synced) {
            (Store::File(file), true) => file.flush().unwrap(),
            (Store::File(file), false) => file.write().unwrap(),
            (Store::Group(group), true) => group.flush().unwrap(),
            (Store::Group(group), false) => group.write().unwrap(),
        };
        self.advance(synced || rewinds, changed);
    }

    /// What is pending is visible now.
    fn advance(&mut self, durable: bool, changed: bool) {
        if durable {
            self.states.clear();
        }
        self.states.push(self.pending.clone());
        if changed {
            self.saved = None;
        }
    }

    fn discard(&mut self) {
        match self.store.as_mut().unwrap() {
            Store::File(file) => file.discard(),
            Store::Group(group) => group.discard(),
        }
        self.pending = self.visible().clone();
    }

    fn save(&mut self) {
        if let Some((savepoint, lists)) = self.saved.take() {
            let store = self.store.as_mut().unwrap();
            on!(store, 0, file => file.rollback_to(&savepoint).unwrap());
            self.pending = lists;
            return;
        }
        let savepoint = match self.store.as_ref().unwrap() {
            Store::File(file) => file.savepoint().unwrap(),
            Store::Group(group) => group.savepoint(),
        };
        self.saved = Some((savepoint, self.pending.clone()));
    }

    fn prepare(&mut self) {
        let member = self.member();
        let clean = self.pending == *self.visible();
        let list = &self.pending[member];
        let (first, len) = (list.first, list.elements.len() as u64);
        let every = 2 + self.rng.below(4);
        let dead: Vec<u64> = (first..len).filter(|at| at % every == 0).collect();
        let store = self.store.as_mut().unwrap();
        let done = on!(store, member, file => file.write_tmp_pruned(&dead));
        if !clean {
            assert_eq!(done.unwrap_err().kind(), ErrorKind::Precondition);
            return;
        }
        assert_eq!(done.unwrap().dropped, dead.len() as u64);
        let list = &self.pending[member];
        let alive = |at: &u64| !at.is_multiple_of(every);
        let kept = (first..len).filter(alive).map(|at| list.elements[at as usize].clone());
        self.prepared[member] = Some((kept.collect(), len as usize));
    }

    fn replace(&mut self) {
        let clean = self.pending == *self.visible();
        let ready = self.prepared.iter().any(Option::is_some);
        let store = self.store.as_mut().unwrap();
        let done = on!(store, 0, file => file.replace_with_tmp());
        if !clean || !ready {
            assert_eq!(done.unwrap_err().kind(), ErrorKind::Precondition);
            return;
        }
        match done.map_err(|e| e.kind()) {
            // Rewound below what it covers: then it is gone.
            Err(ErrorKind::Precondition) => {
                self.forget_prepared();
                return;
            }
            done => done.unwrap(),
        }
        for (list, prepared) in self.pending.iter_mut().zip(&mut self.prepared) {
            if let Some((mut kept, covers)) = prepared.take() {
                kept.extend(list.elements.iter().skip(covers).cloned());
                *list = List { first: 0, elements: kept };
            }
        }
        self.advance(true, true);
    }

    /// Nothing is told of which ones are left.
    fn forget_prepared(&mut self) {
        self.prepared.fill(None);
        self.reopen(false);
    }

    fn drop_head(&mut self) {
        let member = self.member();
        let clean = self.pending == *self.visible();
        let list = &self.pending[member];
        let first = list.first + self.rng.below(list.elements.len() as u64 - list.first + 1);
        let moved = first > list.first;
        let store = self.store.as_mut().unwrap();
        let done = on!(store, member, file => file.drop_head(first));
        if !clean {
            assert_eq!(done.unwrap_err().kind(), ErrorKind::Precondition);
            return;
        }
        assert_eq!(done.unwrap().dropped, first - self.pending[member].first);
        self.pending[member].first = first;
        // A successor that was made before has the elements that are dropped now.
        if moved && self.prepared[member].is_some() {
            self.forget_prepared_after_head();
        } else if moved {
            self.advance(true, true);
        }
    }

    fn forget_prepared_after_head(&mut self) {
        self.advance(true, true);
        self.forget_prepared();
    }

    fn reopen(&mut self, close: bool) {
        self.held.clear();
        self.saved = None;
        self.prepared.fill(None);
        match (self.store.take().unwrap(), close) {
            (Store::File(file), true) => file.close().unwrap(),
            (Store::Group(group), true) => group.close().unwrap(),
            _ => {}
        }
        self.open().unwrap();
        // Nothing that was committed is lost but by a power cut, and an open syncs what it finds.
        let last = self.visible().clone();
        (self.states, self.pending) = (vec![last.clone()], last);
    }

    /// The process dies, or the power fails.
    fn crash(&mut self, power: bool) {
        let Some(sim) = self.sim.take() else { return self.reopen(false) };
        self.held.clear();
        (self.saved, self.store) = (None, None);
        self.prepared.fill(None);
        let after = if power {
            let states: Vec<_> = sim.power_states_within(64, 16).collect();
            let pick = &states[self.rng.below(states.len() as u64) as usize];
            sim.power_cut(pick)
        } else {
            self.states = vec![self.visible().clone()];
            sim.kill()
        };
        (self.fs, self.sim) = (Arc::new(after.clone()), Some(after));
        self.open().unwrap();
        let found = self.seen().lists(self.sizes.len());
        let Some(state) = self.states.iter().find(|state| shown(state) == found) else {
            panic!("found {found:?}, which is none of {:?}", self.states);
        };
        let state = state.clone();
        (self.states, self.pending) = (vec![state.clone()], state);
    }

    fn step(&mut self) {
        match self.rng.below(24) {
            0..8 => self.append(),
            8..11 => self.rewind(),
            11..14 => self.commit(true),
            14 => self.commit(false),
            15 => self.discard(),
            16 => self.save(),
            17 => {
                if self.rng.below(2) == 0 || self.held.len() > 3 {
                    self.held.clear();
                } else {
                    self.held.push((self.seen(), self.visible().clone()));
                }
            }
            18 => self.prepare(),
            19 => self.replace(),
            20 => self.drop_head(),
            21 => {
                let close = self.rng.below(2) == 0;
                self.reopen(close);
            }
            22 => self.crash(false),
            _ => self.crash(true),
        }
        self.check();
    }
}

fn on_sim(sizes: &'static [u32], seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let sim = SimFs::new(seed);
        sim.make_dirs("/d").unwrap();
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let mut world = World::new(sizes, "/d", fs, Some(sim), seed);
        for _ in 0..30 {
            world.step();
        }
    }
}

#[test]
fn fixed_with_crashes() {
    on_sim(&[24], 0..3400);
}

#[test]
fn variable_with_crashes() {
    on_sim(&[0], 10_000..13_400);
}

#[test]
fn a_group_with_crashes() {
    on_sim(&[24, 0, 8], 20_000..23_400);
}

/// On the system's own files, read through maps.
#[test]
fn through_maps() {
    for sizes in [&[24][..], &[0], &[24, 0, 8]] {
        for seed in 0..60 {
            let dir = tempfile::tempdir().unwrap();
            let at = dir.path().to_str().unwrap();
            let mut world = World::new(sizes, at, Arc::new(OsFs::new()), None, seed);
            for _ in 0..60 {
                world.step();
            }
        }
    }
}
