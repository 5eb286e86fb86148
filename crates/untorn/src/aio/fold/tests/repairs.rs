//! Other sources, expired cursors, and what a listing may delete.

use super::*;
use crate::fold::Lineage;

/// A fold that has followed a stream and was closed.
async fn followed(stream: &MemoryStream) -> MemFold {
    let fold = MemFold::new();
    let handle = follower(&fold, stream).spawn();
    handle.ready().await.unwrap();
    handle.stop().await.result.unwrap();
    fold
}

/// Follows until it fails; what it fails with.
async fn refused(builder: FollowBuilder<MemFold>) -> ErrorKind {
    let end = builder.run(tokio::time::sleep(LONG)).await;
    end.result.err().map_or(ErrorKind::TimedOut, |error| error.kind())
}

#[test]
fn a_bucket_that_was_made_again_is_another_one() {
    run(async {
        for grown in [false, true] {
            let stream = stream();
            let fold = followed(&stream).await;
            let before = fold.text();
            stream.recreate();
            stream.put("new", "1");
            if grown {
                for n in 0..9 {
                    stream.put("n", format!("{n}"));
                }
            }
            for change in [LineageChange::Fail, LineageChange::Relist] {
                let builder = follower(&fold, &stream).on_lineage_change(change);
                if change == LineageChange::Fail {
                    assert_eq!(refused(builder).await, ErrorKind::LineageMismatch);
                    assert_eq!((fold.text(), fold.cursor().as_u64()), (before.clone(), Some(5)));
                    continue;
                }
                let handle = builder.spawn();
                handle.ready().await.unwrap();
                catch_up(&handle, &fold, &stream).await;
                handle.stop().await.result.unwrap();
                assert_eq!(fold.cursor().as_u64(), stream.head().as_u64());
                assert_eq!(fold.lineage().unwrap().id, b"test 2");
            }
        }
    });
}

#[test]
fn a_bucket_that_is_made_again_while_it_is_followed_is_noticed() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        stream.recreate();
        stream.put("new", "1");
        let end = handle.join().await;
        assert_eq!(end.result.unwrap_err().kind(), ErrorKind::LineageMismatch);
        assert_eq!(fold.text(), "a=3 c=4");
    });
}

#[test]
fn a_restored_backup_is_noticed_before_and_after_it_has_grown_past_the_cursor() {
    run(async {
        for grown in [0, 1, 2, 3, 9] {
            let stream = stream();
            let fold = followed(&stream).await;
            stream.roll_back(3);
            // The same positions come again, with other messages: the time tells them apart.
            for n in 0..grown {
                stream.put("other", format!("{n}"));
            }
            let kind = refused(follower(&fold, &stream)).await;
            assert_eq!(kind, ErrorKind::LineageMismatch, "{grown}");
            let adopt = follower(&fold, &stream).on_lineage_change(LineageChange::Adopt);
            assert_eq!(refused(adopt).await, ErrorKind::LineageMismatch);
            assert_eq!((fold.text().as_str(), fold.cursor().as_u64()), ("a=3 c=4", Some(5)));
            let relist = follower(&fold, &stream).on_lineage_change(LineageChange::Relist);
            let handle = relist.spawn();
            handle.ready().await.unwrap();
            assert_eq!(fold.text(), text(&stream));
            assert_eq!(fold.cursor().as_u64(), stream.head().as_u64());
            handle.stop().await.result.unwrap();
        }
    });
}

#[test]
fn a_stream_under_another_name_is_adopted_where_the_user_says_so() {
    run(async {
        let stream = stream();
        let fold = followed(&stream).await;
        fold.look().lineage = Some(Lineage { kind: "memory".into(), id: b"moved".to_vec() });
        stream.put("d", "1");
        assert_eq!(refused(follower(&fold, &stream)).await, ErrorKind::LineageMismatch);
        let handle = follower(&fold, &stream).on_lineage_change(LineageChange::Adopt).spawn();
        handle.ready().await.unwrap();
        catch_up(&handle, &fold, &stream).await;
        assert!(fold.look().sweeps.is_empty(), "it resumed");
        handle.stop().await.result.unwrap();
        assert_eq!(fold.lineage().unwrap().id, b"test 1");
    });
}

#[test]
fn a_stream_under_another_name_in_an_older_state_is_not_adopted() {
    run(async {
        let stream = stream();
        let fold = followed(&stream).await;
        fold.look().lineage = Some(Lineage { kind: "memory".into(), id: b"moved".to_vec() });
        stream.roll_back(3);
        let adopt = follower(&fold, &stream).on_lineage_change(LineageChange::Adopt);
        assert_eq!(refused(adopt).await, ErrorKind::LineageMismatch);
        assert_eq!(fold.lineage().unwrap().id, b"moved");
    });
}

/// A fold at 5, and a stream that went on, deleted, and forgot how.
async fn expired() -> (MemFold, MemoryStream) {
    let stream = stream();
    let fold = followed(&stream).await;
    stream.delete("a");
    stream.put("d", "1");
    stream.put("e", "1");
    stream.compact(8);
    (fold, stream)
}

#[test]
fn an_expired_cursor_is_repaired_by_a_listing_where_that_is_the_truth() {
    run(async {
        use ExpiryRepair::{Fail, Relist, RelistIfTruth};
        for (repair, says, repairs) in [
            (Fail, Some(false), false),
            (RelistIfTruth, Some(false), true),
            (RelistIfTruth, None, false),
            (RelistIfTruth, Some(true), false),
            (Relist, Some(false), true),
            (Relist, None, true),
            (Relist, Some(true), false),
        ] {
            let (fold, stream) = expired().await;
            stream.evicts(says);
            let builder = follower(&fold, &stream).on_expired(repair);
            if !repairs {
                assert_eq!(refused(builder).await, ErrorKind::CursorExpired, "{repair:?} {says:?}");
                assert_eq!((fold.text().as_str(), fold.cursor().as_u64()), ("a=3 c=4", Some(5)));
                continue;
            }
            let handle = builder.spawn();
            handle.ready().await.unwrap();
            assert_eq!(fold.text(), "c=4 d=1 e=1");
            assert_eq!(fold.look().sweeps.len(), 1);
            handle.stop().await.result.unwrap();
        }
    });
}

#[test]
fn a_listing_of_a_source_that_evicts_deletes_nothing() {
    run(async {
        let stream = stream();
        let fold = followed(&stream).await;
        stream.put("d", "1");
        // `a` and `c` are not deleted: they aged out.
        stream.evict(7);
        for repair in [ExpiryRepair::Relist, ExpiryRepair::RelistIfTruth] {
            let kind = refused(follower(&fold, &stream).on_expired(repair)).await;
            assert_eq!(kind, ErrorKind::CursorExpired);
            assert_eq!(fold.text(), "a=3 c=4");
        }
    });
}

#[test]
fn that_a_source_was_seen_to_evict_is_never_forgotten() {
    run(async {
        let stream = stream();
        let fold = followed(&stream).await;
        assert!(!fold.cursor().seen_evicting());
        stream.evicts(Some(true));
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        assert!(fold.cursor().seen_evicting(), "also without any news");
        let error = handle.resync().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CursorExpired);
        handle.stop().await.result.unwrap();
        stream.evict(4);
        stream.put("d", "1");
        stream.compact(8);
        stream.put("d", "2");
        // Someone makes a bucket of it that does not evict: what went before went.
        stream.evicts(Some(false));
        for repair in [ExpiryRepair::Relist, ExpiryRepair::RelistIfTruth] {
            let kind = refused(follower(&fold, &stream).on_expired(repair)).await;
            assert_eq!(kind, ErrorKind::CursorExpired);
        }
        assert_eq!(fold.text(), "a=3 c=4");
    });
}

#[test]
fn a_floor_that_moves_while_the_source_is_opened_is_noticed() {
    run(async {
        let stream = stream();
        let fold = followed(&stream).await;
        stream.delete("a");
        stream.put("d", "1");
        stream.fault(MemoryFault::CompactWhileOpening);
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        catch_up(&handle, &fold, &stream).await;
        assert_eq!((fold.text().as_str(), fold.look().sweeps.len()), ("c=4 d=1", 1));
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn a_source_that_is_compacted_past_a_slow_reader_is_repaired() {
    run(async {
        let (fold, stream) = (MemFold::new(), stream());
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        // At once, before the reader has a turn.
        stream.delete("a");
        stream.put("d", "1");
        stream.compact(8);
        catch_up(&handle, &fold, &stream).await;
        assert_eq!(fold.look().sweeps.len(), 1);
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn a_young_cursor_on_a_source_where_only_age_evicts_is_not_expired() {
    run(async {
        for (passed, kind) in [(10, ErrorKind::TimedOut), (100, ErrorKind::CursorExpired)] {
            let stream = stream();
            stream.max_age_ms(100);
            let fold = followed(&stream).await;
            stream.advance_clock_ms(passed);
            stream.put("d", "1");
            stream.evicts(Some(true));
            stream.compact(7);
            assert_eq!(refused(follower(&fold, &stream)).await, kind, "{passed}");
        }
    });
}

#[test]
fn an_empty_listing_is_believed_when_another_confirms_it() {
    run(async {
        let (fold, stream) = expired().await;
        stream.fault(MemoryFault::EmptyListing);
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        catch_up(&handle, &fold, &stream).await;
        // The empty listing swept nothing; the next one did what there was to do.
        assert_eq!(fold.look().sweeps.iter().map(|sweep| sweep.swept).collect::<Vec<_>>(), [1]);
        handle.stop().await.result.unwrap();

        let (fold, stream) = expired().await;
        for key in ["c", "d", "e"] {
            stream.delete(key);
        }
        stream.compact(11);
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        assert_eq!((fold.text().as_str(), handle.state().borrow().reconnects), ("", 1));
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn a_sweep_beyond_the_guard_is_refused() {
    run(async {
        for (fraction, refuses) in [(0.2, true), (0.3, false)] {
            // One of c, d, e and the old a goes.
            let (fold, stream) = expired().await;
            let builder = follower(&fold, &stream).sweep_guard(fraction);
            let kind = refused(builder).await;
            let expected = if refuses { ErrorKind::Precondition } else { ErrorKind::TimedOut };
            assert_eq!(kind, expected);
            assert_eq!(fold.get("a").unwrap().is_some(), refuses);
        }
    });
}

#[test]
fn a_fold_with_entries_and_no_cursor_is_repaired_first() {
    run(async {
        let stream = stream();
        let fold = MemFold::of(&[("ghost", 1), ("a", 1)], 0);
        let handle = follower(&fold, &stream).spawn();
        handle.ready().await.unwrap();
        assert_eq!((fold.text(), fold.look().sweeps.len()), (text(&stream), 1));
        handle.stop().await.result.unwrap();
        stream.evicts(None);
        stream.compact(3);
        let fold = MemFold::of(&[("ghost", 1)], 0);
        assert_eq!(refused(follower(&fold, &stream)).await, ErrorKind::CursorExpired);
        assert_eq!(fold.text(), "ghost=old");
    });
}

#[test]
fn a_resync_takes_ghosts_away_in_the_scope_alone() {
    run(async {
        let stream = stream();
        let fold = MemFold::of(&[("ghost", 1), ("other", 1), ("a", 3)], 4);
        let handle = follower(&fold, &stream).scope(Scope::Prefix("g".into())).spawn();
        handle.ready().await.unwrap();
        assert_eq!(fold.text(), "a=old ghost=old other=old");
        // The listing of the scope is empty, and confirmed.
        let report = handle.resync().await.unwrap();
        assert_eq!((report.swept, fold.text().as_str()), (1, "a=old other=old"));
        let report = handle.resync().await.unwrap();
        assert_eq!(report.swept, 0);
        handle.stop().await.result.unwrap();
    });
}

#[test]
fn a_resync_comes_by_itself_as_often_as_told() {
    run(async {
        let stream = stream();
        let fold = MemFold::of(&[("ghost", 1), ("a", 3), ("c", 4)], 5);
        let hour = follower(&fold, &stream).resync_every(Some(LONG));
        let handle = hour.spawn();
        handle.ready().await.unwrap();
        tokio::time::sleep(LONG / 2).await;
        assert!(fold.text().contains("ghost"));
        tokio::time::sleep(LONG).await;
        assert!(!fold.text().contains("ghost"));
        tokio::time::sleep(LONG * 3).await;
        assert_eq!(fold.look().sweeps.len(), 4);
        handle.stop().await.result.unwrap();
    });
}
