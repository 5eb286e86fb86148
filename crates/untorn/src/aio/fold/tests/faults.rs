//! Connections that fail, and code that panics.

use super::*;
use crate::fold::for_tests::Fault;

#[test]
fn an_end_is_no_end_and_leaves_no_connection_behind() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        for n in 0..100 {
            stream.cut();
            stream.put("n", format!("{n}"));
            catch_up(&handle, &fold, &stream).await;
            assert_eq!(stream.readers(), 1);
        }
        assert_eq!((stream.opened(), handle.state().borrow().reconnects), (101, 100));
        handle.stop().await.result.unwrap();
        assert_eq!(stream.readers(), 0);
    });
}

#[test]
fn nothing_is_held_at_the_server_while_it_waits_to_come_again() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let handle = follower(&fold, &stream).backoff(LONG, LONG).spawn();
        handle.ready().await.unwrap();
        stream.cut();
        let mut state = handle.state();
        drop(state.wait_for(|state| matches!(state.phase, Phase::Backoff { .. })).await.unwrap());
        assert_eq!(stream.readers(), 0);
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn whatever_a_connection_does_the_fold_is_the_stream() {
    let faults = [
        MemoryFault::Drop,
        MemoryFault::Duplicate,
        MemoryFault::Reorder,
        MemoryFault::Stall(Duration::from_secs(10)),
        MemoryFault::Stall(Duration::from_secs(100)),
        MemoryFault::End,
        MemoryFault::Error(ErrorKind::Io),
        MemoryFault::Expire,
        MemoryFault::Hang,
        MemoryFault::HangAfterReconnect,
    ];
    for fault in faults {
        for after in 0..6 {
            for keys in 1..6 {
                run(async {
                    let (fold, stream) = (MemFold::new(), MemoryStream::new("test"));
                    stream.per_batch(1);
                    let handle = follower(&fold, &stream).spawn();
                    handle.ready().await.unwrap();
                    stream.fault_after(after, fault.clone());
                    if fault == MemoryFault::HangAfterReconnect {
                        stream.cut();
                    }
                    for n in 0..keys {
                        stream.put(format!("k{n}"), "1");
                        stream.delete(format!("k{}", n / 2));
                    }
                    catch_up(&handle, &fold, &stream).await;
                    handle.stop().await.result.unwrap();
                });
            }
        }
    }
}

#[test]
fn a_source_that_hangs_is_left_after_a_while() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        stream.fault(MemoryFault::HangAfterReconnect);
        let begun = tokio::time::Instant::now();
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        let took = begun.elapsed();
        assert!((30..32).contains(&took.as_secs()), "{took:?}");
        // Who says that it lives is not left.
        tokio::time::sleep(LONG).await;
        assert_eq!((stream.opened(), stream.readers()), (2, 1));
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn a_source_that_gives_up_ends_the_run() {
    run(async {
        for kind in [ErrorKind::Failed, ErrorKind::Unsupported, ErrorKind::Codec] {
            let (fold, stream) = (MemFold::new(), stream());
            stream.fault(MemoryFault::Error(kind));
            let end = follower(&fold, &stream).spawn().join().await;
            assert_eq!(end.result.unwrap_err().kind(), kind);
        }
    });
}

#[test]
fn the_store_comes_back_whatever_panics() {
    run(async {
        for what in ["validate", "on_applied", "apply", "source", "with_store"] {
            let (fold, stream) = (MemFold::new(), stream());
            let mut builder = follower(&fold, &stream);
            match what {
                "validate" => builder = builder.validate(|_| panic!("user")),
                "on_applied" => builder = builder.on_applied(|_, _| panic!("user")),
                "apply" => fold.look().faults.push_back(Fault::Panic),
                "source" => stream.fault(MemoryFault::Panic),
                _ => {}
            }
            let handle = builder.spawn();
            if what == "with_store" {
                let error = handle.with_store(|_| -> Result<()> { panic!("user") }).await;
                assert_eq!(error.unwrap_err().kind(), ErrorKind::Failed);
                handle.ready().await.unwrap();
                handle.stop().await.result.unwrap();
                continue;
            }
            let end = handle.join().await;
            let error = end.result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Failed, "{what}: {error}");
            assert!(error.to_string().contains("panicked"), "{error}");
            // What was committed before stands.
            assert_eq!(end.store.text(), if what == "on_applied" { "a=3 c=4" } else { "" });
        }
    });
}

#[test]
fn it_stops_at_once_whatever_it_waits_for() {
    run(async {
        for fault in
            [MemoryFault::Hang, MemoryFault::Stall(LONG), MemoryFault::Error(ErrorKind::Io)]
        {
            let (fold, stream) = (MemFold::new(), stream());
            stream.fault(fault);
            let handle = follower(&fold, &stream).backoff(LONG, LONG).spawn();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let begun = tokio::time::Instant::now();
            handle.stop().await.result.unwrap();
            assert!(begun.elapsed() < Duration::from_millis(10));
            assert_eq!(stream.readers(), 0);
        }
    });
}
