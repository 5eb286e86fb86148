//! The follower on a stream in memory. One thread for the executor, one for what blocks; time is simulated.

mod faults;
mod repairs;
mod soak;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::fold::for_tests::{Gate, MemFold};
use crate::fold::{KvUpdate, SnapshotStore, WatchCursor};
use crate::{ErrorKind, Outcome, Result};

const LONG: Duration = Duration::from_secs(3600);

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build();
    runtime.unwrap().block_on(test)
}

/// A stream of three keys, of which one is deleted again.
fn stream() -> MemoryStream {
    let stream = MemoryStream::new("test");
    stream.put("a", "1");
    stream.put("b", "2");
    stream.put("a", "3");
    stream.put("c", "4");
    stream.delete("b");
    stream
}

fn text(stream: &MemoryStream) -> String {
    let show =
        |(key, value): (String, Vec<u8>)| format!("{key}={}", String::from_utf8_lossy(&value));
    stream.values().into_iter().map(show).collect::<Vec<_>>().join(" ")
}

fn follower(fold: &MemFold, stream: &MemoryStream) -> FollowBuilder<MemFold> {
    Follower::builder(fold.clone(), stream.source())
}

/// Follows until the fold is where the stream is.
async fn catch_up(handle: &FollowHandle<MemFold>, fold: &MemFold, stream: &MemoryStream) {
    handle.wait_for(&stream.head(), LONG).await.unwrap();
    assert_eq!(fold.text(), text(stream));
}

#[test]
fn a_fold_follows_and_comes_back() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        assert_eq!(fold.text(), "a=3 c=4");
        stream.put("d", "");
        catch_up(&handle, &fold, &stream).await;
        // An empty value is a value, and no deletion.
        assert_eq!(fold.get("d").unwrap().unwrap().value, b"");
        let state = handle.state().borrow().clone();
        assert!(matches!(state.phase, Phase::Live), "{state:?}");
        assert_eq!((state.lag, state.reconnects), (Some(0), 0));
        let end = handle.stop().await;
        end.result.unwrap();
        assert_eq!((end.cursor.as_u64(), end.store.text()), (Some(6), "a=3 c=4 d=".into()));
        assert!(end.cursor.written_ms().is_some(), "the anchor is in the cursor");
        assert_eq!(stream.readers(), 0);
        // It goes on where it was.
        stream.delete("a");
        let applied = fold.look().applied.len();
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        assert_eq!(fold.text(), "c=4 d=");
        assert_eq!(fold.look().applied[applied..].iter().sum::<usize>(), 1);
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn it_runs_in_a_future_until_the_shutdown() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let end = follower(&fold, &stream).run(tokio::time::sleep(LONG)).await;
        end.result.unwrap();
        assert_eq!(end.store.text(), "a=3 c=4");
    });
}

#[test]
fn an_empty_source_is_caught_up_at_once() {
    run(async {
        let (fold, stream) = (MemFold::new(), MemoryStream::new("empty"));
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        assert!(fold.look().applied.is_empty());
        let end = handle.stop().await;
        assert!(end.cursor.is_none() && end.result.is_ok());
    });
}

#[test]
fn a_prefix_that_ends_within_a_token_matches() {
    run(async {
        let (fold, stream) = (MemFold::new(), MemoryStream::new("test"));
        for key in ["app.config", "app.con", "app.x", "b"] {
            stream.put(key, "1");
        }
        let handle = follower(&fold, &stream).scope(Scope::Prefix("app.con".into())).spawn();
        handle.ready().await.unwrap();
        assert_eq!(fold.text(), "app.con=1 app.config=1");
        // What is not in the scope moves the cursor all the same, or a restart would go through it again.
        for _ in 0..10 {
            stream.put("b", "2");
        }
        handle.wait_for(&stream.head(), LONG).await.unwrap();
        assert_eq!(fold.cursor().as_u64(), Some(14));
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn a_batch_ends_where_it_is_told() {
    run(async {
        let stream = MemoryStream::new("test");
        stream.per_batch(1);
        for n in 0..10 {
            stream.put(format!("k{n}"), vec![b'v'; 98]);
        }
        let window = Duration::from_millis(10);
        for (max_ops, max_bytes, expected) in [(4, 1 << 20, 4), (100, 300, 3), (1, 1, 1)] {
            let fold = MemFold::new();
            let handle = follower(&fold, &stream).batch(max_ops, window, max_bytes).spawn();
            handle.ready().await.unwrap();
            let sizes = fold.look().applied.clone();
            assert_eq!(sizes.iter().max(), Some(&expected), "{sizes:?}");
            assert_eq!(sizes.iter().sum::<usize>(), 10);
            handle.stop().await.result.unwrap();
        }
        // What comes one at a time is committed after the window, not after each.
        let fold = MemFold::new();
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        fold.look().applied.clear();
        for n in 0..10 {
            stream.put("x", format!("{n}"));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        catch_up(&handle, &fold, &stream).await;
        let commits = fold.look().applied.len();
        assert!((1..=3).contains(&commits), "{commits}");
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn the_source_is_polled_while_a_commit_is_slow_and_no_further_than_told() {
    run(async {
        let (fold, stream) = (MemFold::new(), MemoryStream::new("test"));
        stream.per_batch(1);
        for n in 0..50 {
            stream.put(format!("k{n}"), "1");
        }
        let gate = Arc::clone(&fold.look().gate);
        gate.close(true);
        // Also if the test fails: the runtime waits for the store.
        let opens = OpensAtLast(Arc::clone(&gate));
        let taken = Arc::new(AtomicUsize::new(0));
        let source = Counted(stream.source(), Arc::clone(&taken));
        let builder = Follower::builder(fold.clone(), source).channel(3);
        let handle = builder.batch(1, Duration::ZERO, 1 << 20).spawn();
        // The executor runs on while the store stands still.
        for turn in 0..10_000_000 {
            tokio::task::yield_now().await;
            if taken.load(Ordering::Relaxed) >= 5 && turn > 1000 {
                break;
            }
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        // One in the store, one in the next batch, three in the channel.
        assert_eq!(taken.load(Ordering::Relaxed), 5);
        drop(opens);
        catch_up(&handle, &fold, &stream).await;
        handle.stop().await.result.unwrap();
    });
}

struct OpensAtLast(Arc<Gate>);

impl Drop for OpensAtLast {
    fn drop(&mut self) {
        self.0.close(false);
    }
}

/// Counts what is taken from a source.
struct Counted(MemorySource, Arc<AtomicUsize>);

impl Source for Counted {
    fn identify(&mut self) -> BoxFuture<'_, Result<SourceInfo>> {
        self.0.identify()
    }

    fn open<'a>(&'a mut self, start: Start, scope: &'a Scope) -> BoxFuture<'a, Result<()>> {
        self.0.open(start, scope)
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async {
            let event = self.0.next().await;
            self.1.fetch_add(1, Ordering::Relaxed);
            event
        })
    }

    fn list<'a>(
        &'a mut self,
        scope: &'a Scope,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Listing + 'a>>> {
        self.0.list(scope, keys_only)
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

#[test]
fn who_waits_for_a_cursor_gets_it_or_the_reason() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let handle = follower(&fold, &stream).spawn();
        let at = WatchCursor::from_u64;
        handle.wait_for(&at(3), LONG).await.unwrap();
        handle.wait_for(&WatchCursor::none(), LONG).await.unwrap();
        let error = handle.wait_for(&at(99), Duration::from_secs(9)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        stream.recreate();
        let error = handle.wait_for(&at(99), LONG).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LineageMismatch);
        let seen = handle.with_store(|store| Ok(store.text())).await.unwrap();
        assert_eq!(seen, "a=3 c=4");
        assert_eq!(handle.resync().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(handle.join().await.result.unwrap_err().kind(), ErrorKind::LineageMismatch);
    });
}

#[test]
fn the_user_looks_at_every_update() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let look = |update: &KvUpdate| match update.key() {
            "a" => Validation::Skip,
            "stop" => Validation::Stop,
            _ => Validation::Accept,
        };
        let handle = follower(&fold, &stream)
            .validate(look)
            .on_applied(move |updates, cursor| {
                let keys: Vec<String> = updates.iter().map(|u| u.key().to_owned()).collect();
                told.lock().unwrap().push((keys.join(" "), cursor.as_u64()));
            })
            .spawn();
        handle.ready().await.unwrap();
        assert_eq!(fold.text(), "c=4");
        assert_eq!(*seen.lock().unwrap(), [("c".to_owned(), Some(5))]);
        stream.put("stop", "");
        let end = handle.join().await;
        assert_eq!(end.result.unwrap_err().kind(), ErrorKind::Failed);
        assert_eq!((end.store.text().as_str(), end.cursor.as_u64()), ("c=4", Some(5)));
    });
}

#[test]
fn a_dropped_handle_stops_the_follower() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        let mut state = handle.state();
        drop(handle);
        // On the blocking pool, before it says that it is over.
        assert_eq!(fold.holders(), 2);
        state.wait_for(|state| matches!(state.phase, Phase::Stopped { .. })).await.unwrap();
        assert_eq!((stream.readers(), fold.holders()), (0, 1));
    });
}

#[test]
fn a_commit_that_fails_is_kept_and_tried_again_unless_nothing_helps() {
    use crate::fold::for_tests::Fault;
    let error = |kind, outcome| {
        Fault::Fail(crate::Error::of_caller(kind, "apply", "full").with_outcome(outcome))
    };
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        for _ in 0..5 {
            fold.look().faults.push_back(error(ErrorKind::NoSpace, Outcome::Unchanged));
        }
        let handle = follower(&fold, &stream).spawn();
        let mut state = handle.state();
        state.wait_for(|state| matches!(state.phase, Phase::Backoff { .. })).await.unwrap();
        catch_up(&handle, &fold, &stream).await;
        assert_eq!(handle.state().borrow().reconnects, 0);
        handle.stop().await.result.unwrap();
        for (kind, outcome) in [
            (ErrorKind::Poisoned, Outcome::Unknown),
            (ErrorKind::Damaged, Outcome::Unchanged),
            (ErrorKind::NoSpace, Outcome::Unknown),
            (ErrorKind::TooLarge, Outcome::Unchanged),
        ] {
            let fold = MemFold::new();
            fold.look().faults.push_back(error(kind, outcome));
            let end = follower(&fold, &stream).spawn().join().await;
            assert_eq!(end.result.unwrap_err().kind(), kind);
            assert_eq!(end.store.text(), "");
        }
    });
}
