//! The async face: no deadlock with one blocking thread, none on a current-thread runtime, and drops that change nothing.

use untorn::aio::Log;
use untorn::log::{LogOptions, Upto};

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = if threads == 0 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads);
        builder
    };
    builder.max_blocking_threads(1).enable_time().build().unwrap()
}

#[test]
fn one_blocking_thread_serves_all() {
    for threads in [0, 2] {
        let dir = tempfile::tempdir().unwrap();
        runtime(threads).block_on(async {
            let options = LogOptions::new().segment_bytes(4096).max_group_bytes(256);
            let (log, _) = Log::open(dir.path(), options).await.unwrap();
            let tasks: Vec<_> = (0..16_u8)
                .map(|task| {
                    let log = log.clone();
                    tokio::spawn(async move {
                        for n in 0..25_u8 {
                            let ticket = log.append(&[task, n]).await.unwrap();
                            let seq = ticket.seq();
                            assert_eq!(ticket.await.unwrap(), seq);
                            if n % 10 == 0 {
                                log.sync().await.unwrap();
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let records = log.read(1, Upto::Durable, usize::MAX).await.unwrap();
            assert_eq!(records.len(), 400);
            log.close().await.unwrap();
        });
    }
}

#[test]
fn a_dropped_future_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    runtime(0).block_on(async {
        let (log, _) = Log::open(&path, LogOptions::new()).await.unwrap();
        for n in 0..20_u8 {
            let mut ticket = Box::pin(log.append(&[n]).await.unwrap());
            // Polled once, so that it has asked for the sync, then dropped.
            let polled = tokio::time::timeout(std::time::Duration::ZERO, &mut ticket).await;
            drop((polled, ticket));
        }
        assert_eq!(log.append(b"last").await.unwrap().await.unwrap(), 21);
        let records = log.read(1, Upto::Durable, usize::MAX).await.unwrap();
        assert_eq!(records.len(), 21);
    });
}

/// A runtime that goes away with a task that it never ran must not leave others waiting for that task.
#[test]
fn a_runtime_that_shuts_down_leaves_the_log_usable() {
    let dir = tempfile::tempdir().unwrap();
    let first = runtime(0);
    let (log, _) = first.block_on(Log::open(dir.path(), LogOptions::new())).unwrap();
    first.block_on(async {
        // The only blocking thread is busy, so that the log's task stays queued.
        let (free, busy) = std::sync::mpsc::channel::<()>();
        let blocked = tokio::task::spawn_blocking(move || busy.recv());
        let mut ticket = Box::pin(log.append(b"one").await.unwrap());
        let polled = tokio::time::timeout(std::time::Duration::ZERO, &mut ticket).await;
        assert!(polled.is_err(), "nobody can have synced it");
        drop((free, blocked));
    });
    first.shutdown_background();
    let seq = runtime(0).block_on(async { log.append(b"two").await.unwrap().await }).unwrap();
    assert_eq!(seq, 2);
}

/// A save that is dropped while it works publishes whole, or not at all; one that was never polled does nothing.
#[test]
fn a_dropped_save_publishes_whole_or_not_at_all() {
    use untorn::aio::snapshot::{load, save};
    use untorn::codec::Raw;
    use untorn::snapshot::SnapshotOptions;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let options = || SnapshotOptions::with_codec(Raw);
    let value = |n: u8| vec![n; 200_000];
    for threads in [0, 2] {
        let runtime = runtime(threads);
        runtime.block_on(async {
            save(&path, value(1), options()).await.unwrap();
            drop(save(&path, value(2), options()));
            assert_eq!(load(&path, options()).await.unwrap(), Some(value(1)));
            for n in 3..20 {
                let mut saving = Box::pin(save(&path, value(n), options()));
                let polled = tokio::time::timeout(std::time::Duration::ZERO, &mut saving).await;
                drop((polled, saving));
                // The one blocking thread has done it before it loads.
                assert_eq!(load(&path, options()).await.unwrap(), Some(value(n)));
            }
            let failed = save(dir.path().join("no/state"), value(1), options()).await;
            assert_eq!(failed.unwrap_err().kind(), untorn::ErrorKind::NotFound);
        });
        drop(runtime);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

/// A machine that counts.
struct Sum(u64);

impl untorn::journal::Machine for Sum {
    type Event = Vec<u8>;
    type View = Vec<u8>;
    type EventCodec = untorn::codec::Raw;
    type ViewCodec = untorn::codec::Raw;
    const NAME: &'static str = "sum";
    const VERSION: u32 = 1;

    fn apply(&mut self, _seq: u64, event: &Vec<u8>) {
        self.0 += event.len() as u64;
    }

    fn capture(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn restore(view: Vec<u8>) -> Result<Self, String> {
        Ok(Self(u64::from_le_bytes(view.try_into().map_err(|_| "not 8 bytes")?)))
    }
}

/// One blocking thread is enough for any number of decisions at once, and a dropped future leaves its event made or not.
#[test]
fn a_journal_is_awaited_with_one_blocking_thread() {
    use untorn::journal::JournalOptions;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app");
    let (durable, dropped) = runtime(0).block_on(async {
        let (journal, _) =
            untorn::aio::Journal::open(&path, Sum(0), JournalOptions::new()).await.unwrap();
        let mut tasks = Vec::new();
        for _ in 0..100 {
            let journal = journal.clone();
            tasks.push(tokio::spawn(async move {
                journal.update(|sum| Ok::<_, ()>((vec![0], sum.0))).await.unwrap().unwrap()
            }));
        }
        let mut seen = Vec::new();
        for task in tasks {
            seen.push(task.await.unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<u64>>(), "each saw all before it");
        assert!(journal.get().stats().log.syncs < 100);
        let ticket = journal.submit(vec![0]).await.unwrap();
        assert_eq!((ticket.seq(), ticket.await.unwrap()), (101, 101));
        assert_eq!(journal.update(|_| Err::<(Vec<u8>, ()), _>("no")).await.unwrap(), Err("no"));
        assert_eq!(journal.checkpoint().await.unwrap().seq, 101);
        for _ in 0..20 {
            let journal = journal.clone();
            let task =
                tokio::spawn(async move { journal.update(|_| Ok::<_, ()>((vec![0], ()))).await });
            tokio::task::yield_now().await;
            task.abort();
        }
        let durable = journal.read(|sum| sum.0).await.unwrap();
        journal.sync().await.unwrap();
        let all = journal.get().seqs().applied;
        journal.close().await.unwrap();
        (durable, all)
    });
    assert!((101..=121).contains(&durable) && durable <= dropped, "{durable} {dropped}");
    let (journal, _) =
        untorn::journal::Journal::open(&path, Sum(0), JournalOptions::new()).unwrap();
    assert_eq!(journal.read(|sum| sum.0).unwrap(), journal.seqs().applied);
    assert!(journal.seqs().applied >= durable);
}
