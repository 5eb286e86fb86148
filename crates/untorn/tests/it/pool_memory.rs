//! The pool's memory: the budget holds whatever runs, nothing is lost by a failed call, nobody waits for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use untorn::ErrorKind;
use untorn::pool::{BackingStore, Fb, MemoryBudget, Pool};

use crate::pool_kit::{Numbered, Shelf, ShelfPath, pool};

fn rng(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    let x = *state ^ (*state >> 29);
    x.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

fn below(state: &mut u64, n: usize) -> usize {
    usize::try_from(rng(state)).unwrap() % n
}

#[test]
fn ten_times_the_budget_is_spilled_and_loaded_again() {
    let (shelf, _, pool) = pool::<u64>(10);
    let handles: Vec<Fb<u64>> = (0..100).map(|n| pool.blocking_insert(n).unwrap()).collect();
    assert_eq!((pool.size(), pool.resident(), pool.budget().peak()), (100, 10, 10));
    for (n, fb) in (0..).zip(&handles) {
        assert_eq!(*fb.blocking_load().unwrap(), n);
    }
    assert!(pool.resident() <= 10 && pool.budget().peak() == 10);
    drop(handles);
    assert_eq!((pool.size(), pool.resident(), pool.budget().used(), shelf.len()), (0, 0, 0, 0));
}

#[test]
fn a_value_that_was_changed_has_a_new_key_and_its_old_copy_goes() {
    let (shelf, _, pool) = pool::<u64>(1);
    let mut fb = pool.blocking_insert(1).unwrap();
    fb.blocking_write_now().unwrap();
    let old = fb.key();
    *fb.blocking_load_mut().unwrap() += 1;
    assert_ne!(fb.key(), old);
    assert_eq!((shelf.len(), *fb.blocking_load().unwrap()), (0, 2));
    let other = pool.blocking_insert(7).unwrap();
    assert!(!fb.is_resident());
    assert_eq!(*fb.blocking_load().unwrap(), 2);
    assert_eq!(other.blocking_into_value().unwrap(), 7);
    assert_eq!(pool.size(), 1);
}

/// A full disk while values are spilled: an existing crate told nobody, kept the value over its limit and could never persist it again.
#[test]
fn full_disk_while_evicting_loses_nothing_and_passes_no_limit() {
    let (shelf, store, pool) = pool::<u64>(4);
    let handles: Vec<_> = (0..4).map(|n| pool.blocking_insert(n).unwrap()).collect();
    *shelf.refuse_stores.lock().unwrap() = Some(ErrorKind::NoSpace);
    for n in 4..8 {
        let refused = pool.blocking_insert(n).unwrap_err();
        assert_eq!((refused.kind(), refused.into_value()), (ErrorKind::NoSpace, n));
        assert_eq!((pool.resident(), pool.budget().used()), (4, 4));
    }
    let first = store.blocking_finished().unwrap_err();
    assert_eq!(first.kind(), ErrorKind::NoSpace);
    assert!(first.to_string().contains("4 jobs failed"), "{first}");
    for (n, fb) in (0..).zip(&handles) {
        assert_eq!(*fb.try_load().unwrap(), n);
    }
    *shelf.refuse_stores.lock().unwrap() = None;
    let more: Vec<_> = (4..8).map(|n| pool.blocking_insert(n).unwrap()).collect();
    store.blocking_finished().unwrap();
    for (n, fb) in (0..).zip(handles.iter().chain(&more)) {
        assert_eq!(*fb.blocking_load().unwrap(), n);
    }
}

/// Too many open files while a value was loaded to be changed: an existing crate deleted the only copy.
#[test]
fn a_load_that_fails_changes_nothing() {
    let (shelf, _, pool) = pool::<u64>(1);
    let mut fb = pool.blocking_insert(5).unwrap();
    let _other = pool.blocking_insert(6).unwrap();
    let key = fb.key();
    *shelf.refuse_loads.lock().unwrap() = Some(ErrorKind::Io);
    for _ in 0..3 {
        assert_eq!(fb.blocking_load_mut().unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(fb.blocking_load().unwrap_err().kind(), ErrorKind::Io);
    }
    assert_eq!((fb.key(), shelf.deletes.load(SeqCst), pool.budget().used()), (key, 0, 0));
    *shelf.refuse_loads.lock().unwrap() = None;
    *fb.blocking_load_mut().unwrap() += 1;
    assert_eq!(*fb.blocking_load().unwrap(), 6);
}

#[test]
fn many_who_load_one_object_share_one_read() {
    let (shelf, _, pool) = pool::<u64>(1);
    let fb = Arc::new(pool.blocking_insert(5).unwrap());
    drop(pool.blocking_insert(6).unwrap());
    shelf.door.shut();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(*fb.blocking_load().unwrap(), 5));
        }
        shelf.door.wait_for(1);
        shelf.door.open();
    });
    assert_eq!(shelf.loads.load(SeqCst), 1);
    assert_eq!(pool.budget().used(), 1);
}

/// `write_now` and persists beside evictions: an existing crate kept 951 of 1000 values in memory at a limit of 10.
#[test]
fn overlapping_writes_do_not_defeat_eviction() {
    let (shelf, store, pool) = pool::<u64>(10);
    let path = store.blocking_track_path(ShelfPath::default()).unwrap();
    let handles: Vec<Fb<u64>> = thread::scope(|scope| {
        let insert = |from: u64| {
            let (pool, path) = (&pool, &path);
            move || {
                let one = |n| {
                    let fb = pool.blocking_insert(n).unwrap();
                    match n % 3 {
                        0 => fb.blocking_write_now().unwrap(),
                        1 => fb.blocking_persist(path).unwrap(),
                        _ => {}
                    }
                    assert!(pool.budget().used() <= 10);
                    fb
                };
                (from..from + 250).map(one).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..4).map(|t| scope.spawn(insert(t * 250))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(pool.resident() <= 10 && pool.budget().peak() <= 10);
    for (n, fb) in (0..).zip(&handles) {
        assert_eq!(*fb.blocking_load().unwrap(), n);
    }
    // Each was written once: what was persisted or written need not be written again to leave.
    assert_eq!(shelf.stores.load(SeqCst), 1000);
}

#[test]
fn guards_that_hold_the_whole_budget_are_an_error_and_no_hang() {
    let shelf = Arc::new(Shelf::default());
    let store = Arc::new(BackingStore::open(shelf));
    let pool: Arc<Pool<u64>> = Arc::new(Pool::new(Arc::clone(&store), 2));
    let handles: Vec<_> = (0..2).map(|n| pool.blocking_insert(n).unwrap()).collect();
    let guards: Vec<_> = handles.iter().map(|fb| fb.blocking_load().unwrap()).collect();
    assert_eq!(pool.budget().pinned(), 2);
    assert_eq!(pool.try_insert(9).unwrap_err().kind(), ErrorKind::WouldBlock);
    thread::scope(|scope| {
        // A guard that goes lets the waiting one in.
        let waiter = scope.spawn(|| pool.blocking_insert(3).unwrap());
        while pool.budget().waiting() == 0 {
            thread::yield_now();
        }
        drop(guards);
        assert_eq!(*waiter.join().unwrap().blocking_load().unwrap(), 3);
    });
}

#[test]
fn who_waits_too_long_for_guards_gets_his_value_back() {
    let budget = MemoryBudget::items(1);
    let store = Arc::new(BackingStore::open(Arc::new(Shelf::default())));
    let options = Pool::<u64>::options().budget(budget).pin_wait(Duration::from_millis(20));
    let pool = Arc::new(options.build_strategy(&store));
    let fb = pool.blocking_insert(1).unwrap();
    let guard = fb.blocking_load_owned().unwrap();
    let refused = pool.blocking_insert(2).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OverBudget);
    assert!(refused.to_string().contains("1 held by guards"), "{refused}");
    assert_eq!(refused.into_value(), 2);
    drop(fb);
    assert_eq!((*guard, pool.size(), pool.budget().used()), (1, 1, 1));
    drop(guard);
    assert_eq!((pool.size(), pool.budget().used()), (0, 0));
}

#[test]
fn a_value_is_not_changed_under_a_guard_that_borrows_nothing() {
    let (_, _, pool) = pool::<u64>(2);
    let mut fb = pool.blocking_insert(1).unwrap();
    let guard = fb.blocking_load_owned().unwrap();
    assert_eq!(fb.blocking_load_mut().unwrap_err().kind(), ErrorKind::Precondition);
    let refused = fb.blocking_into_value().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Precondition);
    let mut fb = refused.into_value();
    drop(guard);
    *fb.blocking_load_mut().unwrap() = 9;
    let mut shared = Arc::new(fb);
    let other = Arc::clone(&shared);
    *shared.blocking_make_mut().unwrap() = 10;
    assert_eq!((*shared.blocking_load().unwrap(), *other.blocking_load().unwrap()), (10, 9));
}

#[test]
#[expect(clippy::mem_forget, reason = "what is tested")]
fn forgotten_guards_lose_nothing() {
    let (_, _, pool) = pool::<u64>(2);
    let mut fb = pool.blocking_insert(1).unwrap();
    let mut guard = fb.blocking_load_mut().unwrap();
    *guard = 2;
    std::mem::forget(guard);
    assert_eq!(*fb.blocking_load().unwrap(), 2);
    *fb.blocking_load_mut().unwrap() += 1;
    // The pin of the forgotten guard is gone, too: the value can leave memory.
    fb.hint_cold();
    let others: Vec<_> = (0..2).map(|n| pool.blocking_insert(n).unwrap()).collect();
    assert!(!fb.is_resident());
    assert_eq!(*fb.blocking_load().unwrap(), 3);
    std::mem::forget(fb.blocking_load_mut().unwrap());
    drop(fb);
    drop(others);
    assert_eq!((pool.size(), pool.budget().used()), (0, 0));
}

/// Its drop takes a value out of the pool, and puts one in.
struct Nosy(u64, Option<Arc<Pool<u64>>>);

impl Numbered for Nosy {
    fn number(&self) -> u64 {
        assert_ne!(self.0, 13, "the number is unlucky");
        self.0
    }

    fn of(number: u64) -> Self {
        Self(number, None)
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(pool) = &self.1 {
            let fb = pool.blocking_insert(self.0).unwrap();
            assert_eq!(*fb.blocking_load().unwrap(), self.0);
        }
    }
}

#[test]
fn a_value_may_use_a_pool_when_it_is_dropped() {
    let store = Arc::new(BackingStore::open(Arc::new(Shelf::default())));
    let numbers = Arc::new(Pool::<u64>::new(Arc::clone(&store), 2));
    let nosy = Arc::new(Pool::<Nosy>::new(Arc::clone(&store), 3));
    let insert = |n| nosy.blocking_insert(Nosy(n, Some(Arc::clone(&numbers)))).unwrap();
    let handles: Vec<_> = (20..40).map(insert).collect();
    drop(handles);
    assert_eq!((nosy.size(), numbers.size(), nosy.budget().used()), (0, 0, 0));
}

#[test]
fn a_codec_that_panics_is_an_error_and_the_value_stays() {
    let (_, store, pool) = pool::<Nosy>(2);
    let unlucky = pool.blocking_insert(Nosy(13, None)).unwrap();
    let error = unlucky.blocking_write_now().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.to_string().contains("unlucky"), "{error}");
    let others: Vec<_> = (0..5).map(|n| pool.blocking_insert(Nosy(n, None)).unwrap()).collect();
    assert!(unlucky.is_resident() && others.len() == 5);
    assert_eq!(store.blocking_finished().unwrap_err().kind(), ErrorKind::Codec);
    store.blocking_finished().unwrap();
}

/// A handle goes while its object is written, read or persisted.
#[test]
fn handles_that_go_while_a_job_runs_leave_nothing_behind() {
    let (shelf, _, pool) = pool::<u64>(4);
    for kind in 0..2 {
        let fb = Arc::new(pool.blocking_insert(kind).unwrap());
        if kind == 1 {
            fb.blocking_write_now().unwrap();
            pool.spill_all().unwrap();
        }
        shelf.door.shut();
        let job = {
            let fb = Arc::clone(&fb);
            thread::spawn(move || match kind {
                1 => drop(fb.blocking_load().unwrap()),
                _ => fb.blocking_write_now().unwrap(),
            })
        };
        shelf.door.wait_for(1);
        drop(fb);
        shelf.door.open();
        job.join().unwrap();
        assert_eq!((pool.size(), pool.budget().used(), shelf.len()), (0, 0, 0), "{kind}");
    }
}

/// Random calls from eight threads under budgets from one to all; at the end the account is that of a recount.
#[test]
fn whatever_eight_threads_do_the_budget_holds_and_nothing_is_lost() {
    for (seed, limit) in [(1, 1), (2, 3), (3, 16), (4, 64), (5, 400)] {
        let (shelf, store, pool) = pool::<u64>(limit);
        let path = store.blocking_track_path(ShelfPath::default()).unwrap();
        thread::scope(|scope| {
            for t in 0..8_u64 {
                let (pool, path, store) = (&pool, &path, &store);
                scope.spawn(move || {
                    let mut state = seed * 100 + t;
                    let mut mine: Vec<(u64, Fb<u64>)> = Vec::new();
                    for n in 0..400 {
                        let value = t * 1000 + n;
                        if mine.is_empty() || rng(&mut state).is_multiple_of(3) {
                            mine.push((value, pool.blocking_insert(value).unwrap()));
                        }
                        let at = below(&mut state, mine.len());
                        let (expected, fb) = &mut mine[at];
                        match rng(&mut state) % 8 {
                            0 => fb.blocking_write_now().unwrap(),
                            1 => {
                                fb.blocking_persist(path).unwrap();
                                let key = fb.key();
                                let twin = pool.blocking_register(path, key).unwrap();
                                assert_eq!(*twin.unwrap().blocking_load().unwrap(), *expected);
                            }
                            2 => {
                                *fb.blocking_load_mut().unwrap() = value;
                                *expected = value;
                            }
                            3 => drop(mine.swap_remove(at)),
                            4 => {
                                store.blocking_delete_persisted(path, fb.key()).unwrap();
                            }
                            5 => fb.hint_cold(),
                            _ => assert_eq!(*fb.blocking_load().unwrap(), *expected),
                        }
                        assert!(pool.budget().used() <= limit as u64);
                    }
                    for (expected, fb) in &mine {
                        assert_eq!(*fb.blocking_load().unwrap(), *expected);
                    }
                });
            }
        });
        assert_eq!(
            (pool.size(), pool.resident(), pool.budget().used()),
            (0, 0, 0),
            "limit {limit}"
        );
        assert_eq!(shelf.len(), 0, "limit {limit}");
        store.blocking_finished().unwrap();
    }
}

/// An existing crate's save: nothing is deleted unless the key was changed.
#[test]
fn a_save_deletes_nothing_before_its_key_is_changed() {
    use untorn::pool::convenience::{blocking_save, blocking_save_with};
    let (_, store, pool) = pool::<u64>(2);
    let path = store.blocking_track_path(ShelfPath::default()).unwrap();
    let insert = |n| Arc::new(pool.blocking_insert(n).unwrap());
    let old: Vec<_> = (0..4).map(insert).collect();
    blocking_save(&store, old.clone(), &path, 4, || Ok::<_, untorn::Error>(())).unwrap();
    let new: Vec<_> = (4..6).map(insert).collect();
    let refused = || Err(untorn::Error::of_caller(ErrorKind::Io, "write the key", "refused"));
    let failed = blocking_save::<_, _, (), untorn::Error>(&store, new.clone(), &path, 4, refused);
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(path.all_keys().len(), 6);
    let none = blocking_save(&store, new.clone(), &path, 0, || Ok::<_, untorn::Error>(()));
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Precondition);
    let answer = blocking_save_with(
        &store,
        |persister| new.iter().try_for_each(|fb| persister.persist(fb)),
        &path,
        1,
        || Ok::<_, untorn::Error>("changed"),
    );
    assert_eq!(answer.unwrap(), "changed");
    assert!(path.all_keys().len() == 2 && new.iter().all(|fb| path.contains_key(fb.key())));
    assert_eq!(*old[3].blocking_load().unwrap(), 3);
}

/// A set had it, and it was persisted as well: then it stays when the set goes.
#[test]
fn what_is_persisted_stays_though_its_set_goes() {
    use untorn::codec::Raw;
    use untorn::pool::{DirPath, DirStore};
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::new(dir.path().join("scratch")).unwrap();
    let store = Arc::new(BackingStore::open(store));
    let pool: Arc<Pool<Vec<u8>>> = Arc::new(Pool::options().build(&store, Raw).unwrap());
    let path = store.blocking_track_path(DirPath::new(dir.path().join("state"))).unwrap();
    let both = pool.blocking_insert(vec![1]).unwrap();
    let named = pool.blocking_insert(vec![2]).unwrap();
    Fb::blocking_checkpoint(&[&both, &named], &path, "set", b"").unwrap();
    both.blocking_persist(&path).unwrap();
    store.blocking_sync(&path).unwrap();
    path.drop_set("set").unwrap();
    assert_eq!(path.durable_keys(), [both.key()]);
}
