//! The pool, awaited: on one thread, with one blocking thread, with none of them left.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use untorn::ErrorKind;
use untorn::codec::Raw;
use untorn::pool::{BackingStore, Fb, MemPath, MemStore, MemoryBudget, Pool};

type Bytes = Pool<Vec<u8>>;

const SIZE: usize = 1000;

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap()
}

fn runtimes() -> Vec<Runtime> {
    let mut many = Builder::new_multi_thread();
    let many = many.worker_threads(2).enable_all().max_blocking_threads(1).build();
    vec![one_thread(), many.unwrap()]
}

/// Room for `values` values of about [`SIZE`] bytes.
fn pool(values: usize, handle: Handle) -> (Arc<BackingStore<MemStore>>, Arc<Bytes>) {
    let store = Arc::new(BackingStore::new(MemStore::new(), handle));
    let budget = MemoryBudget::bytes(values * SIZE);
    let options =
        Pool::options().budget(budget).weigh(Vec::len).pin_wait(Duration::from_millis(200));
    (Arc::clone(&store), Arc::new(options.build(&store, Raw).unwrap()))
}

fn value(n: usize) -> Vec<u8> {
    vec![u8::try_from(n % 251).unwrap(); SIZE]
}

#[test]
fn ten_times_the_budget_on_one_thread_and_one_blocking_thread() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let (store, pool) = pool(10, Handle::current());
            let mut handles = Vec::new();
            for n in 0..100 {
                handles.push(pool.insert(value(n)).await.unwrap());
            }
            for (n, fb) in handles.iter().enumerate() {
                assert_eq!(*fb.load().await.unwrap(), value(n));
            }
            assert!(pool.budget().peak() <= 10 * SIZE as u64);
            store.finished().await.unwrap();
            drop(handles);
            assert_eq!((pool.size(), pool.budget().used()), (0, 0));
        });
    }
}

#[test]
fn eight_tasks_load_and_change_at_once() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let (store, pool) = pool(12, Handle::current());
            let tasks: Vec<_> = (0..8)
                .map(|t| {
                    let pool = Arc::clone(&pool);
                    tokio::spawn(async move {
                        let mut mine: Vec<Fb<Vec<u8>>> = Vec::new();
                        for n in 0..40 {
                            mine.push(pool.insert(value(t * 40 + n)).await.unwrap());
                            let at = (n * 7) % mine.len();
                            let mut guard = mine[at].load_mut().await.unwrap();
                            guard[0] = guard[0].wrapping_add(1);
                            drop(guard);
                            drop(mine[at].spawn_write_now().await);
                            assert_eq!(mine[at].load().await.unwrap().len(), SIZE);
                        }
                        for fb in mine {
                            assert_eq!(fb.into_value().await.unwrap().len(), SIZE);
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            store.finished().await.unwrap();
            assert_eq!((pool.size(), pool.budget().used()), (0, 0));
            assert!(pool.budget().peak() <= 12 * SIZE as u64);
        });
    }
}

/// An existing crate waited for ever: its load needed a blocking thread while it held the only one.
#[test]
fn blocking_calls_on_the_only_blocking_thread_go_on() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let (store, pool) = pool(2, Handle::current());
            let inner = Arc::clone(&pool);
            let work = store.spawn_blocking(move || {
                let handles: Vec<_> =
                    (0..20).map(|n| inner.blocking_insert(value(n)).unwrap()).collect();
                for (n, fb) in handles.iter().enumerate() {
                    assert_eq!(*fb.blocking_load().unwrap(), value(n));
                }
            });
            // Meanwhile others are queued behind it.
            let fb = pool.insert(value(1)).await.unwrap();
            assert_eq!(*fb.load().await.unwrap(), value(1));
            work.await.unwrap();
        });
    }
}

/// A future that stands in the queue, or waits for its load, is dropped at each point where it waits.
#[test]
fn futures_that_are_dropped_leave_nothing_behind() {
    one_thread().block_on(async {
        let (store, pool) = pool(2, Handle::current());
        let handles: Vec<_> = {
            let mut handles = Vec::new();
            for n in 0..6 {
                handles.push(pool.insert(value(n)).await.unwrap());
            }
            handles
        };
        for polls in 0..6 {
            for (n, fb) in handles.iter().enumerate() {
                let mut load = Box::pin(fb.load());
                let mut insert = Box::pin(pool.insert(value(n)));
                let mut context = Context::from_waker(Waker::noop());
                for _ in 0..polls {
                    if load.as_mut().poll(&mut context).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(load);
                for _ in 0..polls {
                    if insert.as_mut().poll(&mut context).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            for (n, fb) in handles.iter().enumerate() {
                assert_eq!(*fb.load().await.unwrap(), value(n), "{polls}");
            }
        }
        store.finished().await.unwrap();
        assert_eq!(pool.budget().waiting(), 0);
        drop(handles);
        assert_eq!((pool.size(), pool.budget().used()), (0, 0));
    });
}

#[test]
fn room_that_guards_hold_is_an_error_in_time_or_comes_when_they_go() {
    one_thread().block_on(async {
        let (_, pool) = pool(1, Handle::current());
        let fb = pool.insert(value(1)).await.unwrap();
        let guard = fb.load_owned().await.unwrap();
        let refused = pool.insert(value(2)).await.unwrap_err();
        assert_eq!((refused.kind(), refused.into_value()), (ErrorKind::OverBudget, value(2)));
        let waits = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.insert(value(3)).await.map(|fb| fb.weight()) }
        });
        while pool.budget().waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(guard);
        assert_eq!(waits.await.unwrap().unwrap(), SIZE as u64);
        assert_eq!(*fb.load().await.unwrap(), value(1));
    });
}

#[test]
fn handles_are_of_use_after_their_runtime() {
    for runtime in runtimes() {
        let (store, pool) = pool(2, runtime.handle().clone());
        let path = store.blocking_track_path(MemPath::new()).unwrap();
        let path = Arc::new(path);
        let handles: Vec<_> = runtime.block_on(async {
            let mut handles = Vec::new();
            for n in 0..10 {
                handles.push(pool.insert(value(n)).await.unwrap());
            }
            drop(handles[3].spawn_persist(&path).await);
            handles
        });
        runtime.shutdown_background();
        for (n, fb) in handles.iter().enumerate() {
            assert_eq!(*fb.blocking_load().unwrap(), value(n));
        }
        let more = pool.blocking_insert(value(11)).unwrap();
        more.blocking_persist(&path).unwrap();
        store.blocking_sync(&path).unwrap();
        store.blocking_finished().unwrap();
        // Also awaited, by another runtime.
        one_thread().block_on(async {
            for (n, fb) in handles.iter().enumerate() {
                assert_eq!(*fb.load().await.unwrap(), value(n));
            }
            let fb = pool.insert(value(12)).await.unwrap();
            assert_eq!(*fb.load().await.unwrap(), value(12));
        });
        drop(handles);
        drop(more);
        assert_eq!((pool.size(), pool.budget().used()), (0, 0));
    }
}

#[test]
fn what_is_persisted_in_the_background_is_the_value_of_the_call() {
    one_thread().block_on(async {
        let (store, pool) = pool(4, Handle::current());
        let path = store.track_path(MemPath::new()).await.unwrap().unwrap();
        let path = Arc::new(path);
        let mut fb = pool.insert(value(1)).await.unwrap();
        let old = fb.key();
        let persist = fb.spawn_persist(&path).await;
        *fb.load_mut().await.unwrap() = value(2);
        persist.await.unwrap().unwrap();
        store.sync(&path).await.unwrap().unwrap();
        drop(fb);
        let again = pool.register(&path, old).await.unwrap().unwrap();
        assert_eq!(*again.load().await.unwrap(), value(1));
        store.delete_persisted(&path, old).await.unwrap().unwrap();
        assert!(pool.register(&path, old).await.unwrap().is_none());
        assert_eq!(*again.load().await.unwrap(), value(1));
    });
}

#[test]
fn values_are_fetched_ahead_in_the_background() {
    one_thread().block_on(async {
        let (store, pool) = pool(10, Handle::current());
        let mut handles = Vec::new();
        for n in 0..8 {
            handles.push(pool.insert(value(n)).await.unwrap());
        }
        pool.spill_all().unwrap();
        assert!(handles.iter().all(|fb| !fb.is_resident()));
        Fb::prefetch_many(&handles.iter().collect::<Vec<_>>());
        store.finished().await.unwrap();
        assert!(handles.iter().all(Fb::is_resident));
        assert_eq!(pool.stats().loads, 8);
    });
}

/// A future is polled once more after its waker rang; nobody else wakes it.
#[test]
fn a_load_wakes_its_task_by_itself() {
    let runtime = one_thread();
    let (_, pool) = pool(2, runtime.handle().clone());
    let fb = pool.blocking_insert(value(5)).unwrap();
    pool.spill_all().unwrap();
    let got = runtime.block_on(async { fb.load().await.map(|guard| guard.len()) });
    assert_eq!(got.unwrap(), SIZE);
    let mut load = Box::pin(fb.load());
    assert!(matches!(
        load.as_mut().poll(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(Ok(_))
    ));
}
