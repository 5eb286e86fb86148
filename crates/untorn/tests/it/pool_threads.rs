//! A pool on a real disk under eight threads: what the budget allows is never passed, what is acknowledged is there when it is opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use untorn::codec::Raw;
use untorn::fs::OsFs;
use untorn::pool::{
    BackingStore, DirOptions, DirPath, DirPathOptions, DirStore, Fb, MemoryBudget, Pool,
    TrackedPath, verify_path,
};
use uuid::Uuid;

use crate::pool_disk::{Bytes, body};

const THREADS: u64 = 8;
const CALLS: u64 = 300;
/// Room for a few values: guards of all threads must fit.
const BUDGET: usize = 64 << 10;

type Store = Arc<BackingStore<DirStore>>;

struct All {
    store: Store,
    pool: Arc<Pool<Bytes>>,
    path: TrackedPath<DirPath>,
}

fn open(dir: &Path) -> All {
    let options = DirOptions::new().segment_max(2000).segment_bytes(16 << 10);
    let store =
        Arc::new(BackingStore::open(DirStore::with(dir.join("scratch"), &options).unwrap()));
    let options = DirPathOptions::new().segment_max(2000).segment_bytes(16 << 10);
    let path = store.blocking_track_path(DirPath::with(dir.join("state"), options)).unwrap();
    let options = Pool::options().budget(MemoryBudget::bytes(BUDGET)).weigh(Vec::len);
    let pool = options.pin_wait(Duration::from_secs(60)).build(&store, Raw).unwrap();
    All { pool: Arc::new(pool), path, store }
}

fn rng(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    let x = *state ^ (*state >> 29);
    x.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

/// One in eight is long.
fn value(n: u64) -> Bytes {
    let len = if n.is_multiple_of(8) { 3000 } else { 50 + n * 97 % 1500 };
    body(n, usize::try_from(len).unwrap())
}

/// What one thread was told of the path.
#[derive(Default)]
struct Told {
    /// Persisted, or deleted, before a sync that came after.
    loose: BTreeMap<Uuid, u64>,
    /// What was changed since: it may be there or not.
    open: BTreeSet<Uuid>,
    set: Vec<(Uuid, u64)>,
}

fn work(all: &All, t: u64, seed: u64) -> Told {
    let name = format!("set {t}");
    let (mut state, mut told) = (seed * 100 + t, Told::default());
    let mut mine: Vec<(u64, Fb<Bytes>)> = Vec::new();
    let mut staged: BTreeMap<Uuid, Option<u64>> = BTreeMap::new();
    let settle = |told: &mut Told, staged: &mut BTreeMap<Uuid, Option<u64>>| {
        for (key, of) in std::mem::take(staged) {
            told.open.remove(&key);
            match of {
                Some(n) => drop(told.loose.insert(key, n)),
                None => drop(told.loose.remove(&key)),
            }
        }
    };
    for call in 0..CALLS {
        let n = t * CALLS + call;
        if mine.len() < 2 || rng(&mut state).is_multiple_of(3) {
            mine.push((n, all.pool.blocking_insert(value(n)).unwrap()));
        }
        let at = usize::try_from(rng(&mut state)).unwrap() % mine.len();
        let (expected, fb) = &mut mine[at];
        match rng(&mut state) % 16 {
            0 => fb.blocking_write_now().unwrap(),
            1..4 => {
                let key = fb.key();
                fb.blocking_persist(&all.path).unwrap();
                staged.insert(key, Some(*expected));
                told.open.insert(key);
            }
            4 => {
                // As long as it was: what grows in a guard may pass the budget.
                let next = *expected + 12_000;
                *fb.blocking_load_mut().unwrap() = value(next);
                *expected = next;
            }
            5 => drop(mine.swap_remove(at)),
            6 | 7 => {
                let key = fb.key();
                all.store.blocking_delete_persisted(&all.path, key).unwrap();
                staged.insert(key, None);
                told.open.insert(key);
            }
            8 => {
                all.store.blocking_sync(&all.path).unwrap();
                settle(&mut told, &mut staged);
            }
            9 => {
                let from = mine.len().saturating_sub(5);
                let of: Vec<&Fb<Bytes>> = mine[from..].iter().map(|(_, fb)| fb).collect();
                Fb::blocking_checkpoint(&of, &all.path, &name, b"").unwrap();
                told.set = mine[from..].iter().map(|(n, fb)| (fb.key(), *n)).collect();
                // It stages what it names: a sync of another thread in between makes that loose, else it is not.
                for (key, _) in &told.set {
                    staged.remove(key);
                    if !told.loose.contains_key(key) || told.open.contains(key) {
                        told.open.insert(*key);
                        told.loose.remove(key);
                    }
                }
            }
            10 => {
                for (n, fb) in
                    told.set.iter().zip(all.pool.blocking_register_set(&all.path, &name).unwrap())
                {
                    assert_eq!(*fb.blocking_load().unwrap(), value(n.1));
                }
            }
            11 => fb.hint_cold(),
            _ => assert_eq!(*fb.blocking_load().unwrap(), value(*expected)),
        }
        assert!(all.pool.budget().used() <= BUDGET as u64);
    }
    for (n, fb) in &mine {
        assert_eq!(*fb.blocking_load().unwrap(), value(*n));
    }
    told
}

#[test]
fn what_eight_threads_were_told_is_there_again() {
    for seed in 1..4 {
        let dir = tempfile::tempdir().unwrap();
        let all = open(dir.path());
        let told = Mutex::new(Vec::new());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let compacts = scope.spawn(|| {
                let mut moved = 0;
                while !done.load(Acquire) {
                    moved += all.store.compact().unwrap().moved_bytes;
                    thread::yield_now();
                }
                moved
            });
            let threads: Vec<_> = (0..THREADS)
                .map(|t| {
                    let (all, told) = (&all, &told);
                    scope.spawn(move || {
                        let of = work(all, t, seed);
                        told.lock().unwrap().push(of);
                    })
                })
                .collect();
            for thread in threads {
                let ended = thread.join();
                if ended.is_err() {
                    done.store(true, Release);
                }
                ended.unwrap();
            }
            done.store(true, Release);
            assert!(compacts.join().unwrap() > 0);
        });
        assert_eq!((all.pool.size(), all.pool.resident(), all.pool.budget().used()), (0, 0, 0));
        let stats = all.store.stats();
        assert_eq!((stats.usage.objects, stats.usage.live_bytes, stats.registered), (0, 0, 0));
        all.store.blocking_finished().unwrap();
        drop(all);
        assert_eq!(std::fs::read_dir(dir.path().join("scratch/spill")).unwrap().count(), 0);
        let report = verify_path(dir.path().join("state"), Arc::new(OsFs::new()), |_, _| ());
        assert!(report.as_ref().unwrap().is_sound(), "{report:?}");
        let all = open(dir.path());
        let loose: BTreeSet<Uuid> =
            all.path.iter().filter(|(_, info)| info.loose).map(|(key, _)| key).collect();
        let mut allowed: BTreeSet<Uuid> = BTreeSet::new();
        for told in told.into_inner().unwrap() {
            for (key, n) in told.loose.iter().filter(|(key, _)| !told.open.contains(key)) {
                assert!(loose.contains(key), "seed {seed}: {key} was synced");
                let fb = all.pool.blocking_register(&all.path, *key).unwrap().unwrap();
                assert_eq!(*fb.blocking_load().unwrap(), value(*n));
            }
            allowed.extend(told.loose.keys().chain(&told.open));
            let first = told.set.first().copied();
            if let Some((key, _)) = first {
                assert!(all.path.contains_key(key));
                let name = all.path.sets().into_iter().map(|info| info.name);
                let name = name.into_iter().find(|name| {
                    all.path.read_set(name).unwrap().unwrap().keys.first() == Some(&key)
                });
                let handles = all.pool.blocking_register_set(&all.path, &name.unwrap()).unwrap();
                let found: Vec<Bytes> =
                    handles.iter().map(|fb| (*fb.blocking_load().unwrap()).clone()).collect();
                let expected: Vec<Bytes> = told.set.iter().map(|(_, n)| value(*n)).collect();
                assert_eq!(found, expected);
            }
        }
        assert!(loose.is_subset(&allowed), "seed {seed}: something deleted is back");
        let gc = all.path.path().gc(false).unwrap();
        assert!(gc.foreign.is_empty(), "{gc:?}");
    }
}
