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

mod chunked {
    //! Files that fill in pieces: who waits holds no thread, and a dropped future leaves the file usable.

    use std::future::Future;
    use std::io::SeekFrom;
    use std::path::Path;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::AsyncSeek;
    use untorn::aio::chunked::AtomicChunked;
    use untorn::chunked::{
        ChunkedOptions, CommitOptions, FileResource, FillOptions, Identity, RangeSource,
        ResourceExt as _, ResourceStatus, WaitOutcome,
    };
    use untorn::{ErrorKind, Result};

    use super::runtime;

    const PIECE: u64 = 1000;

    type File = AtomicChunked<FileResource>;

    fn options(len: u64) -> ChunkedOptions {
        ChunkedOptions::new().identity(Identity::new().len(len).etag("\"1\"")).chunk_size(4096)
    }

    async fn open(path: &Path, options: ChunkedOptions) -> File {
        let factory = |path: &Path, _| FileResource::open(path);
        AtomicChunked::open_with(path, options, factory).await.unwrap()
    }

    fn bytes(range: std::ops::Range<u64>) -> Vec<u8> {
        range.map(|at| (at / 3).to_le_bytes()[0]).collect()
    }

    #[test]
    fn a_thousand_wait_and_one_blocking_thread_writes() {
        for threads in [0, 2] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let all = bytes(0..1000 * PIECE);
            runtime(threads).block_on(async {
                let file = open(&path, options(1000 * PIECE)).await;
                let waiting: Vec<_> = (0..1000)
                    .map(|piece| {
                        let reader = file.reader();
                        tokio::spawn(async move {
                            let range = piece * PIECE..(piece + 1) * PIECE;
                            let outcome = reader.wait_range(range.clone()).await.unwrap();
                            let mut buf = vec![0; 1000];
                            reader.get().read_at(range.start, &mut buf).unwrap();
                            assert_eq!((outcome, buf), (WaitOutcome::Ready, bytes(range)));
                        })
                    })
                    .collect();
                while file.get().stats().waiters < 1000 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(file.get().wanted(10).map(|gap| gap.end - gap.start), Some(10));
                for piece in (0..1000).rev() {
                    let range = piece * PIECE..(piece + 1) * PIECE;
                    file.write_at(range.start, bytes(range)).await.unwrap();
                }
                for task in waiting {
                    task.await.unwrap();
                }
                assert_eq!(file.checkpoint().await.unwrap(), 1000 * PIECE);
                let report = file.commit_with(CommitOptions::new()).await.unwrap();
                assert_eq!(report.len, 1000 * PIECE);
            });
            assert_eq!(std::fs::read(&path).unwrap(), all);
        }
    }

    async fn read_all(cursor: &mut untorn::aio::chunked::ChunkCursor<FileResource>) -> Vec<u8> {
        let (mut all, mut buf) = (Vec::new(), [0; 1500]);
        loop {
            match cursor.read(&mut buf).await.unwrap() {
                0 => return all,
                count => all.extend_from_slice(&buf[..count]),
            }
        }
    }

    #[test]
    fn a_cursor_reads_what_comes_and_seeks() {
        for (threads, known) in [(0, true), (0, false), (2, true), (2, false)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            runtime(threads).block_on(async {
                let options = if known { options(100_000) } else { ChunkedOptions::new() };
                let file = open(&path, options).await;
                let mut cursor = file.cursor();
                let end = Pin::new(&mut cursor).start_seek(SeekFrom::End(-10));
                assert_eq!(end.is_ok(), known);
                let far = Pin::new(&mut cursor).start_seek(SeekFrom::Current(i64::MIN));
                assert_eq!(far.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
                Pin::new(&mut cursor).start_seek(SeekFrom::Start(500)).unwrap();
                let reading = tokio::spawn(async move {
                    let all = read_all(&mut cursor).await;
                    (all, cursor.position())
                });
                for start in (0..10).rev().map(|piece| piece * 10_000) {
                    file.write_at(start, bytes(start..start + 10_000)).await.unwrap();
                }
                file.commit(None).await.unwrap();
                assert_eq!(reading.await.unwrap(), (bytes(500..100_000), 100_000));
            });
        }
    }

    #[test]
    fn who_waits_for_a_writer_that_goes_away_is_told() {
        let dir = tempfile::tempdir().unwrap();
        runtime(0).block_on(async {
            let file = open(&dir.path().join("file"), options(1000)).await;
            let (reader, mut cursor) = (file.reader(), file.cursor());
            let waiting = tokio::spawn(reader.wait_range(0..10));
            let reading = tokio::spawn(async move { cursor.read(&mut [0; 10]).await });
            while file.get().stats().waiters < 2 {
                tokio::task::yield_now().await;
            }
            drop(file);
            assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Failed);
            let error = reading.await.unwrap().unwrap_err();
            let kind = error.downcast::<untorn::Error>().unwrap().kind();
            assert_eq!(kind, ErrorKind::Failed);
        });
    }

    struct Numbers;

    impl RangeSource for Numbers {
        fn identity(&self) -> Result<Identity> {
            Ok(Identity::new().len(50_000).etag("\"1\""))
        }

        fn fetch(
            &self,
            range: std::ops::Range<u64>,
            sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
        ) -> Result<()> {
            sink(range.start, &bytes(range.clone()))
        }
    }

    /// Polls a future so often, with other tasks in between, and drops it; true if it was ready by then.
    async fn dropped_after<F: Future>(polls: usize, future: F) -> bool {
        let mut future = Box::pin(future);
        for poll in 0..polls {
            if poll > 0 {
                tokio::task::yield_now().await;
                // The blocking thread gets a chance too.
                std::thread::yield_now();
            }
            let ready = std::future::poll_fn(|context| {
                Poll::Ready(future.as_mut().poll(context).is_ready())
            });
            if ready.await {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_future_dropped_at_any_await_leaves_the_file_usable() {
        for threads in [0, 2] {
            for polls in 0..6 {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("file");
                runtime(threads).block_on(async {
                    let factory = |path: &Path, _| FileResource::open(path);
                    let opening = File::open_with(&path, options(50_000), factory);
                    dropped_after(polls, opening).await;
                    // An open that goes on without us lets go of the part when it has it.
                    let file = loop {
                        let factory = |path: &Path, _| FileResource::open(path);
                        match File::open_with(&path, options(50_000), factory).await {
                            Ok(file) => break file,
                            Err(e) => assert_eq!(e.kind(), ErrorKind::Locked, "{e}"),
                        }
                    };
                    dropped_after(polls, file.wait_range(0..10)).await;
                    dropped_after(polls, file.cursor().read(&mut [0; 10])).await;
                    assert_eq!(file.get().stats().waiters, 0, "who is dropped is out of the list");
                    let written = dropped_after(polls, file.write_at(0, bytes(0..10_000))).await;
                    assert!(!written || file.get().contains_range(0..10_000));
                    dropped_after(polls, file.checkpoint()).await;
                    dropped_after(polls, file.fill(Numbers, FillOptions::new())).await;
                    // The one blocking thread has done by then what was begun.
                    file.fill(Numbers, FillOptions::new()).await.unwrap();
                    assert_eq!(file.checkpoint().await.unwrap(), 50_000);
                    // All is there and the length is known: it ends before the commit.
                    assert_eq!(read_all(&mut file.cursor()).await, bytes(0..50_000));
                    dropped_after(polls, file.commit(None)).await;
                    file.commit(None).await.unwrap();
                });
                assert_eq!(std::fs::read(&path).unwrap(), bytes(0..50_000));
                assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            }
        }
    }

    /// Once it was polled, a commit runs to its end, whatever becomes of its future; before that nothing is done.
    #[test]
    fn a_dropped_commit_still_commits() {
        for threads in [0, 2] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            runtime(threads).block_on(async {
                let file = open(&path, options(1000)).await;
                file.write_at(0, bytes(0..1000)).await.unwrap();
                drop(file.commit(None));
                file.checkpoint().await.unwrap();
                assert_eq!(file.status(), ResourceStatus::Active);
                let mut committing = Box::pin(file.commit(None));
                // Its waker is of nobody: only the pool carries it on.
                let mut context = Context::from_waker(Waker::noop());
                let polled = committing.as_mut().poll(&mut context);
                drop(committing);
                assert!(polled.is_pending());
                // A runtime that goes away drops what its pool has not begun; so this waits behind it.
                file.checkpoint().await.unwrap_err();
                assert_eq!(file.status(), ResourceStatus::Committed { final_len: Some(1000) });
            });
            assert_eq!(std::fs::read(&path).unwrap(), bytes(0..1000), "{threads}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }
}
