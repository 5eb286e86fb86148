//! Every call of a fold, at random, against a map and a cursor: with kills and power cuts between, and on the real file system.
#![expect(
    clippy::cast_possible_truncation,
    reason = "small numbers, and bytes that are made of them"
)]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use untorn::fold::{
    AppendLogSnapshot, Change, Compaction, Event, FoldOptions, FoldSnapshot, KvEntry, KvUpdate,
    Lineage, Receiver, ScanOptions, SnapshotStore, SyncPolicy, SyncScope, VersionToken,
    WatchCursor,
};
use untorn::fs::{Fs, OsFs};
use untorn::sim::SimFs;
use untorn::{Durability, ErrorKind};

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

/// What a fold should have.
#[derive(Clone, Default, PartialEq)]
struct State {
    entries: BTreeMap<String, (Vec<u8>, u64)>,
    cursor: u64,
    lineage: Option<Lineage>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries =
            self.entries.iter().map(|(key, (value, version))| (key, (value.len(), version)));
        f.debug_map().entries(entries).finish()?;
        write!(f, " at {} of {:?}", self.cursor, self.lineage)
    }
}

impl State {
    /// The newest version that there is: a listing that was not finished has some above the cursor.
    fn newest(&self) -> u64 {
        self.entries.values().map(|(_, version)| *version).fold(self.cursor, u64::max)
    }

    fn of(seen: &FoldSnapshot) -> Self {
        let entry = |e: KvEntry| (e.key, (e.value, e.version.as_u64().unwrap()));
        Self {
            entries: seen.range("").unwrap().into_iter().map(entry).collect(),
            cursor: seen.cursor().as_u64().unwrap_or(0),
            lineage: seen.lineage(),
        }
    }

    fn list(&self, wanted: impl Fn(&str) -> bool) -> Vec<KvEntry> {
        let entry = |(key, (value, version)): (&String, &(Vec<u8>, u64))| KvEntry {
            key: key.clone(),
            value: value.clone(),
            version: VersionToken::from_u64(*version),
        };
        self.entries.iter().filter(|(key, _)| wanted(key)).map(entry).collect()
    }
}

#[derive(Clone, Copy)]
struct Kind {
    compaction: Compaction,
    durability: Durability,
    policy: SyncPolicy,
    keys: u64,
}

struct World {
    kind: Kind,
    path: PathBuf,
    fs: Arc<dyn Fs>,
    sim: Option<SimFs>,
    rng: Rng,
    fold: Option<AppendLogSnapshot>,
    /// What a power cut may leave, the oldest first; the last one is what is visible.
    states: Vec<State>,
    held: Vec<(FoldSnapshot, State)>,
    heard: Option<(Receiver, State)>,
    exports: u64,
}

impl World {
    fn new(kind: Kind, path: &Path, fs: Arc<dyn Fs>, sim: Option<SimFs>, seed: u64) -> Self {
        let mut world = Self {
            kind,
            path: path.to_owned(),
            fs,
            sim,
            rng: Rng(seed),
            fold: None,
            states: vec![State::default()],
            held: Vec::new(),
            heard: None,
            exports: 0,
        };
        world.open();
        world
    }

    fn options(&self) -> FoldOptions {
        FoldOptions::new()
            .fs(Arc::clone(&self.fs))
            .durability(self.kind.durability)
            .sync_policy(self.kind.policy)
            .compaction(self.kind.compaction)
            .compact_threshold(1500)
            .log_segment_bytes(8192)
    }

    fn open(&mut self) {
        let (cursor, fold) = self.options().open(&self.path).unwrap();
        assert_eq!(cursor, fold.cursor());
        assert_eq!(fold.durable_cursor(), cursor);
        self.fold = Some(fold);
    }

    fn fold(&mut self) -> &mut AppendLogSnapshot {
        self.fold.as_mut().unwrap()
    }

    fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    /// The fold is in this state now; the older ones may be what a power cut leaves, unless it is synced.
    fn advance(&mut self, next: State) {
        self.states.push(next);
        self.forget_synced();
    }

    fn forget_synced(&mut self) {
        let durable = self.fold.as_ref().unwrap().durable_cursor().as_u64().unwrap_or(0);
        let synced = self.kind.durability == Durability::Synced
            && self.kind.policy == SyncPolicy::EachCommit;
        if synced {
            self.states.drain(..self.states.len() - 1);
        } else {
            // Commits that do not move the cursor are not told apart by it.
            let first = self.states.iter().position(|s| s.cursor >= durable).unwrap_or(0);
            self.states.drain(..first);
        }
    }

    fn key(&mut self) -> String {
        let keys = self.kind.keys;
        let n = self.rng.below(keys);
        match n % 4 {
            0 => format!("a{n:03}"),
            1 => format!("a/{}/{n:05}", n % 7),
            2 => format!("{n}"),
            _ => format!("z\u{e9}{n:03}"),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.below(12) {
            0 => 0,
            1..7 => self.rng.below(60),
            7..11 => 65 + self.rng.below(400),
            _ => 1000 + self.rng.below(3000),
        };
        let byte = self.rng.next() as u8;
        vec![byte; len as usize]
    }

    fn apply(&mut self) {
        let mut next = self.now().clone();
        next.cursor = next.newest();
        let mut updates = Vec::new();
        for _ in 0..self.rng.below(12) {
            let (key, version) = (self.key(), next.cursor + 1);
            next.cursor = version;
            let token = VersionToken::from_u64(version);
            if self.rng.below(4) == 0 {
                next.entries.remove(&key);
                updates.push(match self.rng.below(2) {
                    0 => KvUpdate::delete(key, token),
                    _ => KvUpdate::Purge { key, version: token },
                });
            } else {
                let value = self.value();
                next.entries.insert(key.clone(), (value.clone(), version));
                updates.push(KvUpdate::put(key, value, token));
            }
        }
        next.cursor += 1;
        let cursor = WatchCursor::from_u64(next.cursor);
        self.fold().apply(&updates, &cursor).unwrap();
        self.advance(next);
    }

    /// What comes again, or too late, changes nothing; a cursor that goes back is refused.
    fn stale(&mut self) {
        let next = State { cursor: self.now().newest() + 1, ..self.now().clone() };
        let mut updates = Vec::new();
        for entry in self.now().list(|_| true).into_iter().take(6) {
            let older = VersionToken::from_u64(entry.version.as_u64().unwrap() - 1);
            updates.push(KvUpdate::put(entry.key.clone(), "late", older.clone()));
            updates.push(KvUpdate::delete(entry.key.clone(), older));
            updates.push(KvUpdate::Put(entry));
        }
        let back = WatchCursor::from_u64(self.now().cursor.saturating_sub(1));
        let fold = self.fold();
        if fold.cursor().as_u64().is_some_and(|now| now > back.as_u64().unwrap()) {
            let error = fold.apply(&updates, &back).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CursorRegressed);
        }
        fold.apply(&updates, &WatchCursor::from_u64(next.cursor)).unwrap();
        self.advance(next);
    }

    fn relist(&mut self) {
        let prefix = ["", "a", "a/", "z"][self.rng.below(4) as usize];
        let new = self.rng.below(3) == 0 && prefix.is_empty();
        let mut scope = match prefix {
            "" => SyncScope::all(),
            _ => SyncScope::prefixes(vec![prefix.to_owned(), format!("{prefix}/more")]),
        };
        let mut next = self.now().clone();
        if new {
            let lineage = Lineage { kind: "test".into(), id: vec![self.rng.next() as u8] };
            next.lineage = Some(lineage.clone());
            scope = scope.of_new_lineage(lineage);
        }
        let token = self.fold().begin_sync(scope).unwrap();
        let start = next.cursor;
        next.cursor = next.newest();
        let mut kept = Vec::new();
        for entry in self.now().list(|key| key.starts_with(prefix)) {
            match self.rng.below(3) {
                0 => {}
                1 => kept.push(entry),
                _ => {
                    next.cursor += 1;
                    let value = self.value();
                    next.entries.insert(entry.key.clone(), (value.clone(), next.cursor));
                    let version = VersionToken::from_u64(next.cursor);
                    kept.push(KvEntry { key: entry.key, value, version });
                }
            }
        }
        let (cursor, swept) = (next.cursor + 1, next.clone());
        // Until it is finished nothing is swept, and the cursor stands.
        next.cursor = start;
        next.lineage.clone_from(&self.now().lineage);
        for part in kept.chunks(5) {
            let updates: Vec<_> = part.iter().cloned().map(KvUpdate::Put).collect();
            self.fold().sync_apply(&token, &updates).unwrap();
            let mut between = self.now().clone();
            for entry in part {
                let stored = (entry.value.clone(), entry.version.as_u64().unwrap());
                between.entries.insert(entry.key.clone(), stored);
            }
            self.advance(between);
        }
        assert_eq!(*self.now(), next);
        if self.rng.below(5) == 0 {
            return;
        }
        let listed: Vec<String> = kept.into_iter().map(|entry| entry.key).collect();
        let mut next = State { cursor, ..swept };
        let before = next.entries.len();
        next.entries.retain(|key, _| !key.starts_with(prefix) || listed.contains(key));
        let report = self.fold().finish_sync(token, &WatchCursor::from_u64(cursor)).unwrap();
        assert_eq!((report.listed, report.newer), (listed.len() as u64, 0));
        assert_eq!(report.swept, (before - next.entries.len()) as u64);
        self.advance(next);
    }

    fn compact(&mut self) {
        if self.rng.below(3) == 0 {
            self.fold().compact_all().unwrap();
        } else {
            let budget = 200 + self.rng.below(3000);
            let progress = self.fold().compact_step(budget).unwrap();
            assert!(progress.written <= progress.expected || progress.done);
        }
        self.forget_synced();
    }

    fn sync(&mut self) {
        let cursor = self.fold().sync().unwrap();
        assert_eq!(cursor.as_u64().unwrap_or(0), self.now().cursor);
        let last = self.now().clone();
        self.states = vec![last];
    }

    fn hold(&mut self) {
        if self.held.len() >= 3 {
            self.held.remove(0);
        }
        let state = self.now().clone();
        let seen = self.fold().snapshot();
        self.held.push((seen, state));
    }

    /// The states that are held differ by what was done between them.
    fn diff(&mut self) {
        let Some((old, before)) = self.held.first() else { return };
        let new = self.fold.as_ref().unwrap().snapshot();
        let mut after = before.entries.clone();
        let mut last: Option<String> = None;
        for change in old.diff(&new) {
            let Change { key, old, new, .. } = change.unwrap();
            assert!(last.as_ref().is_none_or(|last| *last < key));
            let had = after.get(&key).map(|(_, version)| *version);
            assert_eq!(old.and_then(|version| version.as_u64()), had);
            match new {
                Some(entry) => {
                    after.insert(key.clone(), (entry.value, entry.version.as_u64().unwrap()));
                }
                None => drop(after.remove(&key)),
            }
            last = Some(key);
        }
        assert_eq!(after, self.now().entries);
        if before.entries == self.now().entries {
            assert_eq!(old.digest().unwrap(), new.digest().unwrap());
        }
    }

    /// Who listens to all changes has the same state in the end.
    fn listen(&mut self) {
        let now = self.now().clone();
        let Some((receiver, mut state)) = self.heard.take() else {
            let receiver = self.fold().reader().subscribe("", 40);
            self.heard = Some((receiver, now));
            return;
        };
        while let Some(event) = receiver.try_recv() {
            match event {
                Event::Changed(change) => {
                    let had = state.entries.get(&change.key).map(|(_, version)| *version);
                    assert_eq!(change.old.and_then(|version| version.as_u64()), had);
                    match change.new {
                        Some(entry) => {
                            let stored = (entry.value, entry.version.as_u64().unwrap());
                            state.entries.insert(change.key, stored);
                        }
                        None => drop(state.entries.remove(&change.key)),
                    }
                }
                Event::Lagged { resync_from } => {
                    assert!(resync_from.as_u64().unwrap() <= now.cursor);
                    // What follows is in the state already.
                    while receiver.try_recv().is_some() {}
                    state = now.clone();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(state.entries, now.entries);
        state = now;
        self.heard = Some((receiver, state));
    }

    fn read(&mut self) {
        let prefix = ["", "a", "a/", "a/3/", "z", "z\u{e9}", "nothing"][self.rng.below(7) as usize];
        let (from, to) = (self.key(), self.key());
        let reverse = self.rng.below(2) == 0;
        let limit = self.rng.below(20) as usize;
        let state = self.now().clone();
        let reader = self.fold().reader();
        let all = state.list(|key| key.starts_with(prefix));
        assert_eq!(reader.range(prefix).unwrap(), all);
        assert_eq!(reader.count(prefix).unwrap(), all.len() as u64);
        let ordered = |mut list: Vec<KvEntry>| {
            if reverse {
                list.reverse();
            }
            list
        };
        let scan = |options: ScanOptions| -> Vec<KvEntry> {
            reader.scan(&options.reverse(reverse)).collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(scan(ScanOptions::prefix(prefix)), ordered(all.clone()));
        let between = state.list(|key| key >= &*from && key < &*to);
        let bounds =
            ScanOptions::new().from(Bound::Included(from.clone())).to(Bound::Excluded(to.clone()));
        assert_eq!(scan(bounds), ordered(between));
        let between = state.list(|key| key > &*from && key <= &*to && key.starts_with(prefix));
        let bounds =
            ScanOptions::prefix(prefix).from(Bound::Excluded(from.clone())).to(Bound::Included(to));
        assert_eq!(scan(bounds), ordered(between));
        // Page by page.
        let mut paged: Vec<KvEntry> = Vec::new();
        loop {
            let mut options = ScanOptions::prefix(prefix).limit(limit.max(1)).keys_only(true);
            if let Some(last) = paged.last() {
                options = options.after(last.key.clone());
            }
            let page = scan(options);
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= limit.max(1));
            paged.extend(page);
        }
        let keys = |list: &[KvEntry]| list.iter().map(|e| e.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&paged), keys(&ordered(all)));
        for key in [from, "no such key".to_owned()] {
            let had = state.entries.get(&key);
            let found = reader.get_with(&key, |entry| entry.value.to_vec()).unwrap();
            assert_eq!(found.as_ref(), had.map(|(value, _)| value));
            assert_eq!(reader.contains(&key).unwrap(), had.is_some());
            let version = reader.version_of(&key).unwrap().and_then(|v| v.as_u64());
            assert_eq!(version, had.map(|(_, version)| *version));
            let many = reader.get_many(&[&key, &key]).unwrap();
            assert_eq!(many[0], many[1]);
        }
        let fold = self.fold.as_ref().unwrap();
        assert_eq!(fold.has_entries().unwrap(), !state.entries.is_empty());
        assert!(reader.wait_for(&fold.cursor(), Duration::ZERO).unwrap());
    }

    /// Without a lock, beside the owner.
    fn look(&mut self) {
        let (cursor, other) = self.options().read_only(true).open(&self.path).unwrap();
        assert_eq!(cursor.as_u64().unwrap_or(0), self.now().cursor);
        assert_eq!(State::of(&other.snapshot()), *self.now());
        let mut other = other;
        let refused = other.apply(&[], &cursor).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ReadOnly);
        self.apply();
        other.refresh().unwrap();
        assert_eq!(State::of(&other.snapshot()), *self.now());
    }

    fn export(&mut self) {
        self.exports += 1;
        let name = |what: &str, n: u64| {
            let file = format!("{}-{what}-{n}", self.path.file_name().unwrap().to_string_lossy());
            self.path.with_file_name(file)
        };
        let (artifact, copy) = (name("artifact", self.exports), name("copy", self.exports));
        let options = untorn::fold::ExportOptions::new().digest(self.rng.below(2) == 0);
        let manifest = self.fold.as_ref().unwrap().export(&artifact, &options).unwrap();
        assert_eq!(manifest.entries, self.now().entries.len() as u64);
        let import = untorn::fold::ImportOptions::new().open(self.options());
        let (_, fold) = AppendLogSnapshot::import_with(&artifact, &copy, &import).unwrap();
        assert_eq!(State::of(&fold.snapshot()), *self.now());
        if self.rng.below(3) == 0 {
            // It is gone on with in the copy.
            drop((self.fold.take(), fold));
            self.heard = None;
            self.held.clear();
            self.path = copy;
            self.open();
            let last = self.now().clone();
            self.states = vec![last];
        }
    }

    fn reset(&mut self) {
        self.fold().reset("the model says so").unwrap();
        self.heard = None;
        self.states = vec![State::default()];
    }

    fn reopen(&mut self, close: bool) {
        self.heard = None;
        let fold = self.fold.take().unwrap();
        if close {
            fold.close().unwrap();
        } else {
            drop(fold);
        }
        self.open();
        let last = self.now().clone();
        self.states = vec![last];
        self.same();
    }

    /// The process dies, or the power fails.
    fn crash(&mut self, power: bool) {
        let Some(sim) = self.sim.take() else { return self.reopen(false) };
        self.held.clear();
        self.heard = None;
        let after = if power {
            let states: Vec<_> = sim.power_states_within(64, 16).collect();
            let pick = &states[self.rng.below(states.len() as u64) as usize];
            sim.power_cut(pick)
        } else {
            let last = self.now().clone();
            self.states = vec![last];
            sim.kill()
        };
        // Only now: what a drop writes must not be in what the crash left.
        self.fold = None;
        (self.fs, self.sim) = (Arc::new(after.clone()), Some(after));
        self.open();
        let found = State::of(&self.fold().snapshot());
        let known = self.states.contains(&found);
        assert!(known, "found {found:?}, which is none of {:?}", self.states);
        self.states = vec![found];
    }

    fn same(&self) {
        let fold = self.fold.as_ref().unwrap();
        assert_eq!(State::of(&fold.snapshot()), *self.now());
        for (seen, state) in &self.held {
            assert_eq!(State::of(seen), *state);
        }
    }

    fn step(&mut self) {
        match self.rng.below(40) {
            0..14 => self.apply(),
            14..16 => self.stale(),
            16..18 => self.relist(),
            18..22 => self.compact(),
            22..24 => self.sync(),
            24..26 => self.hold(),
            26 => self.diff(),
            27..29 => self.listen(),
            29..32 => self.read(),
            32 => self.look(),
            33 => self.export(),
            34 if self.rng.below(6) == 0 => self.reset(),
            34 | 35 => self.reopen(true),
            36 => self.reopen(false),
            37 => self.crash(false),
            _ => self.crash(true),
        }
    }
}

const KINDS: [Kind; 3] = [
    Kind {
        compaction: Compaction::Manual,
        durability: Durability::Synced,
        policy: SyncPolicy::EachCommit,
        keys: 12,
    },
    Kind {
        compaction: Compaction::Inline { budget_per_apply: 700 },
        durability: Durability::Buffered,
        policy: SyncPolicy::EachCommit,
        keys: 60,
    },
    Kind {
        compaction: Compaction::Inline { budget_per_apply: 3000 },
        durability: Durability::Synced,
        policy: SyncPolicy::Window { time: Duration::from_secs(3600), bytes: 2000 },
        keys: 300,
    },
];

/// How many sequences; a longer run sets `UNTORN_MODEL_RUNS`.
fn runs(usual: u64) -> u64 {
    let set = std::env::var("UNTORN_MODEL_RUNS").ok();
    set.and_then(|runs| runs.parse().ok()).unwrap_or(usual)
}

#[test]
fn agrees_with_a_map_through_kills_and_power_cuts() {
    for seed in 0..runs(120) {
        for (n, kind) in KINDS.into_iter().enumerate() {
            let sim = SimFs::new(seed + 1);
            sim.make_dirs("/data").unwrap();
            let fs = Arc::new(sim.clone());
            let path = Path::new("/data/fold");
            let mut world = World::new(kind, path, fs, Some(sim), seed * 3 + n as u64);
            for _ in 0..40 {
                world.step();
                world.same();
            }
        }
    }
}

#[test]
fn agrees_with_a_map_on_the_real_file_system() {
    for seed in 0..runs(12).min(200) {
        for (n, kind) in KINDS.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let kind = match n {
                1 => Kind { compaction: Compaction::Background, ..kind },
                _ => kind,
            };
            let path = dir.path().join("fold");
            let fs = Arc::new(OsFs::new());
            let mut world = World::new(kind, &path, fs, None, seed * 3 + n as u64 + 7000);
            for _ in 0..60 {
                world.step();
                world.same();
            }
        }
    }
}
