//! Entries, jobs and the budget under `shuttle`: it runs the threads one at a time, and chooses at each step which goes on. `cargo
//! xtask ci shuttle` runs a number of such schedules; `UNTORN_SCHEDULES` is another number, `UNTORN_SEED` another choice.
//!
//! Four threads load, write, persist, change, insert and let go of three shared objects and some of their own, in a budget of one or
//! two; calls of the backend fail now and then. A wake-up that is lost is a deadlock, which the scheduler reports: waits do not run out here.
//! Not tried: tasks, orders weaker than `SeqCst`.
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Count;
use std::sync::atomic::Ordering::Relaxed;

use shuttle::rand::{RngCore, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};
use uuid::Uuid;

use super::{BackingStore, BackingStoreT, Fb, Pool, Strategy, TrackedPath};
use crate::sync::{Mutex, lock};
use crate::{Error, ErrorKind, Result};

/// What happened, so that a test that meets nothing fails.
#[derive(Debug, Default)]
struct Seen {
    loads: Count,
    stores: Count,
    refused: Count,
    changed: Count,
}

/// A backend whose calls others come between: each lock is a step.
struct Shelf {
    values: Mutex<HashMap<Uuid, u64>>,
    fails: bool,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Path(Mutex<HashMap<Uuid, u64>>);

fn below(n: u64) -> u64 {
    thread_rng().next_u64() % n
}

impl Shelf {
    fn may_fail(&self) -> Result<()> {
        if self.fails && below(6) == 0 {
            self.seen.refused.fetch_add(1, Relaxed);
            return Err(Error::of_caller(ErrorKind::NoSpace, "use the shelf", "now and then"));
        }
        Ok(())
    }

    fn known(&self, key: Uuid) -> Result<u64> {
        let value = lock(&self.values).get(&key).copied();
        value.ok_or_else(|| Error::of_caller(ErrorKind::NotFound, "use the shelf", "no such key"))
    }
}

impl BackingStoreT for Shelf {
    type PersistPath = Path;

    fn sanitize_path(&self, _: &Path) -> Result<Vec<Uuid>> {
        Ok(Vec::new())
    }

    fn delete_persisted(&self, path: &Path, key: Uuid) -> Result<()> {
        lock(&path.0).remove(&key);
        Ok(())
    }

    fn sync_persisted(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn delete(&self, key: Uuid) -> Result<()> {
        lock(&self.values).remove(&key);
        Ok(())
    }

    fn persist(&self, dest: &Path, key: Uuid) -> Result<()> {
        let value = self.known(key)?;
        self.may_fail()?;
        lock(&dest.0).insert(key, value);
        Ok(())
    }

    fn register(&self, src: &Path, key: Uuid) -> Result<()> {
        let value = lock(&src.0).get(&key).copied();
        if let Some(value) = value {
            lock(&self.values).insert(key, value);
        }
        Ok(())
    }
}

impl Strategy<u64> for Shelf {
    fn store(&self, key: Uuid, value: &u64) -> Result<()> {
        self.seen.stores.fetch_add(1, Relaxed);
        self.may_fail()?;
        lock(&self.values).insert(key, *value);
        Ok(())
    }

    fn load(&self, key: Uuid) -> Result<u64> {
        self.seen.loads.fetch_add(1, Relaxed);
        let value = self.known(key)?;
        self.may_fail()?;
        Ok(value)
    }
}

/// A call that may be refused now and then is made again until it is not.
fn again<R>(mut call: impl FnMut() -> Result<R>) -> R {
    for _ in 0..1000 {
        match call() {
            Ok(answer) => return answer,
            Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
        }
    }
    unreachable!("refused a thousand times")
}

fn thread_of(
    pool: &Arc<Pool<u64>>,
    path: &TrackedPath<Path>,
    shared: &[Arc<Fb<u64>>],
    seen: &Seen,
) {
    let mut own: Option<(Fb<u64>, u64)> = None;
    for _ in 0..3 {
        let at = below(3) as usize;
        let fb = &shared[at];
        match below(7) {
            0 => drop(fb.blocking_write_now()),
            1 => drop(fb.blocking_persist(path)),
            2 => {
                let value = 100 + below(100);
                if let Ok(fb) = pool.blocking_insert(value) {
                    own = Some((fb, value));
                }
            }
            3 => {
                if let Some((fb, value)) = &mut own
                    && let Ok(mut guard) = fb.blocking_load_mut()
                {
                    *value += 1;
                    *guard = *value;
                    seen.changed.fetch_add(1, Relaxed);
                }
            }
            4 => {
                let twin = pool.blocking_register(path, fb.key());
                if let Ok(Some(twin)) = twin {
                    assert_eq!(*again(|| twin.blocking_load()), at as u64);
                }
            }
            _ => assert_eq!(*again(|| fb.blocking_load()), at as u64),
        }
        assert!(pool.budget().used() <= pool.budget().limit());
    }
    if let Some((fb, value)) = own {
        assert_eq!(*again(|| fb.blocking_load()), value);
    }
}

fn schedule(fails: bool, seen: &Arc<Seen>) {
    let shelf = Shelf { values: Mutex::new(HashMap::new()), fails, seen: Arc::clone(seen) };
    let shelf = Arc::new(shelf);
    let store = Arc::new(BackingStore::open(Arc::clone(&shelf)));
    let limit = 1 + below(2) as usize;
    let pool: Arc<Pool<u64>> = Arc::new(Pool::new(Arc::clone(&store), limit));
    let path = Arc::new(store.blocking_track_path(Path::default()).unwrap());
    let insert = |value| Arc::new(again(|| pool.blocking_insert(value).map_err(Error::from)));
    let shared: Arc<[Arc<Fb<u64>>]> = (0..3).map(insert).collect();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (pool, path) = (Arc::clone(&pool), Arc::clone(&path));
            let (shared, seen) = (Arc::clone(&shared), Arc::clone(seen));
            thread::spawn(move || thread_of(&pool, &path, &shared, &seen))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(pool.resident() <= limit as u64 && pool.budget().waiting() == 0);
    drop(shared);
    assert_eq!((pool.size(), pool.resident(), pool.budget().used()), (0, 0, 0));
    assert_eq!(lock(&shelf.values).len(), 0);
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn explore(scheduler: impl Scheduler + 'static, fails: bool) {
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    let seen = Arc::new(Seen::default());
    let inner = Arc::clone(&seen);
    let ran = Runner::new(scheduler, config).run(move || schedule(fails, &inner));
    println!("{ran} schedules: {seen:?}");
    for count in [&seen.loads, &seen.stores, &seen.changed] {
        assert!(count.load(Relaxed) > 0, "nothing met: {seen:?}");
    }
    assert_eq!(seen.refused.load(Relaxed) > 0, fails, "{seen:?}");
}

fn seed() -> u64 {
    number("UNTORN_SEED", 1) as u64
}

#[test]
fn nobody_waits_for_ever_and_nothing_is_lost_in_random_schedules() {
    let count = number("UNTORN_SCHEDULES", 3000);
    explore(RandomScheduler::new_from_seed(seed(), count), false);
}

#[test]
fn nobody_waits_for_ever_and_nothing_is_lost_where_one_thread_runs_long() {
    let count = number("UNTORN_SCHEDULES", 3000);
    explore(PctScheduler::new_from_seed(seed(), 4, count), false);
}

#[test]
fn calls_that_fail_keep_nobody_waiting_in_random_schedules() {
    let count = number("UNTORN_SCHEDULES", 3000);
    explore(RandomScheduler::new_from_seed(seed(), count), true);
}

#[test]
fn calls_that_fail_keep_nobody_waiting_where_one_thread_runs_long() {
    let count = number("UNTORN_SCHEDULES", 3000);
    explore(PctScheduler::new_from_seed(seed(), 4, count), true);
}
