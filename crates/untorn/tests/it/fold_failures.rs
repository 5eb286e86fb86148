//! How the crate before this one fails, by the numbers of the list that the fold was built against, and what happens here.
//!
//! 2 and 3 are in `fold_damage`, 10 in `fold_readers`, 11, 17, 18 and 24 in `fold_versions`, 12 and 27 in `fold_artifacts`. Shown elsewhere: 7 and 19 by the benchmark, 13 to 16, 23 and 25 by
//! the tests of the follower and of `fold::protocol`, 20 by the store on the other engine, 26 by the tests of remote artifacts.
#![expect(
    clippy::cast_possible_truncation,
    reason = "small numbers, and bytes that are made of them"
)]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use untorn::fold::{
    AppendLogSnapshot, Compaction, KvUpdate, SnapshotStore, SyncPolicy, WatchCursor,
};
use untorn::fs::ReadMode;
use untorn::sim::{CallKind, Effect, Fault, FaultKind, Meter, SimFs};
use untorn::{Durability, Error, ErrorKind, Outcome};

use super::fold_kit::{
    All, PATH, SEGMENT, all, at, disk, kind, new_base, open, options, put, temporaries,
};

/// So many puts, of values that do not fit in memory and of some that do.
fn batch(from: u64, count: u64) -> Vec<KvUpdate> {
    let value = |n: u64| vec![n as u8; if n.is_multiple_of(2) { 300 } else { 9 }];
    (from..from + count).map(|n| put(&format!("k{:03}", n % 100), value(n), n)).collect()
}

/// 1: a write that ends in its midst, or does more than it says, is taken back, and the same call may be made again.
#[test]
fn n01_a_short_write_is_taken_back() {
    let effects = [Effect::None, Effect::Prefix, Effect::Whole];
    let faults = [FaultKind::NoSpace, FaultKind::Quota];
    for (fault, effect, dies) in faults
        .iter()
        .flat_map(|fault| effects.map(|effect| (*fault, effect)))
        .flat_map(|(fault, effect)| [true, false].map(|dies| (fault, effect, dies)))
    {
        let sim = disk();
        let mut fold = open(&sim);
        let reader = fold.reader();
        fold.apply(&batch(1, 10), &at(10)).unwrap();
        let before = all(&fold);
        for _ in 0..3 {
            sim.inject(Fault::new(fault).on(CallKind::Write).on_path(SEGMENT).effect(effect));
            let error = fold.apply(&batch(5, 20), &at(25)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
            assert_eq!(error.outcome(), Outcome::Unchanged, "{error}");
            assert_eq!((all(&fold), reader.cursor()), (before.clone(), at(10)));
            assert_eq!((reader.count("").unwrap(), fold.durable_cursor()), (10, at(10)));
        }
        if dies {
            // Who comes after sees nothing of it either.
            assert_eq!(all(&open(&sim.kill())), before, "{fault} {effect:?}");
            continue;
        }
        fold.apply(&batch(5, 20), &at(25)).unwrap();
        fold.apply(&batch(30, 1), &at(30)).unwrap();
        let after = all(&fold);
        assert_eq!((after.0.len(), &after.1), (25, &at(30)));
        drop((fold, reader));
        let fold = open(&sim.kill());
        assert_eq!((all(&fold), fold.recovery().healed.is_none()), (after, true));
    }
}

/// 1: the same on a disk that is full indeed, with batches of several segments.
#[test]
fn n01_a_full_disk_is_gone_on_with_once_there_is_room() {
    let sim = disk();
    let mut fold = options(&sim).log_segment_bytes(8192).open(PATH).unwrap().1;
    sim.set_capacity(Some(60_000));
    let (mut done, mut failed) = (0, 0);
    for n in 0..40_u64 {
        let updates = batch(n * 20 + 1, 20);
        let before = all(&fold);
        match fold.apply(&updates, &at(n * 20 + 20)) {
            Ok(()) => done += 1,
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.outcome()),
                    (ErrorKind::NoSpace, Outcome::Unchanged)
                );
                assert_eq!(all(&fold), before);
                failed += 1;
                break;
            }
        }
    }
    assert!(done > 3 && failed == 1, "{done} {failed}");
    sim.set_capacity(None);
    fold.apply(&batch(done * 20 + 1, 20), &at(done * 20 + 20)).unwrap();
    let after = all(&fold);
    drop(fold);
    assert_eq!(all(&open(&sim.kill())), after);
}

/// 4: whatever a power cut leaves of a batch, it is all of it with its cursor, or nothing.
#[test]
fn n04_a_batch_and_its_cursor_are_one() {
    let sim = disk();
    let mut fold = options(&sim).sync_policy(SyncPolicy::Manual).open(PATH).unwrap().1;
    fold.apply(&batch(1, 10), &at(10)).unwrap();
    fold.sync().unwrap();
    let mut states = vec![all(&fold)];
    for n in 1..3 {
        fold.apply(&batch(n * 10 + 1, 12), &at(n * 10 + 12)).unwrap();
        states.push(all(&fold));
    }
    let mut seen = [0; 3];
    for pick in sim.power_states_within(512, 200) {
        let cut = sim.power_cut(&pick);
        let found = all(&open(&cut));
        let which = states.iter().position(|state| *state == found);
        seen[which.unwrap_or_else(|| panic!("{:?} at {:?}", found.0.keys(), found.1))] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

/// 5: what is said to survive power loss does, under every policy, from the first commit on.
#[test]
fn n05_the_durable_cursor_keeps_its_word() {
    let window = |bytes| SyncPolicy::Window { time: Duration::MAX, bytes };
    for (durability, policy, expected) in [
        (Durability::Synced, SyncPolicy::EachCommit, [1, 2, 3, 4]),
        (Durability::Synced, SyncPolicy::Manual, [0, 0, 0, 0]),
        (Durability::Synced, window(u64::MAX), [0, 0, 0, 0]),
        // A commit has 3,400 bytes: the second one fills the window.
        (Durability::Synced, window(5000), [0, 2, 2, 4]),
        (
            Durability::Synced,
            SyncPolicy::Window { time: Duration::ZERO, bytes: u64::MAX },
            [1, 2, 3, 4],
        ),
        (Durability::Buffered, SyncPolicy::EachCommit, [0, 0, 0, 0]),
    ] {
        for (count, expected) in (1..).zip(expected) {
            let sim = disk();
            let options = options(&sim).durability(durability).sync_policy(policy);
            let mut fold = options.open(PATH).unwrap().1;
            let mut states: Vec<All> = vec![all(&fold)];
            for n in 1..=count {
                fold.apply(&batch(n * 100, 20), &at(n)).unwrap();
                states.push(all(&fold));
            }
            let durable = fold.durable_cursor().as_u64().unwrap_or(0);
            assert_eq!(durable, expected, "{durability:?} {policy:?} after {count}");
            assert_eq!(fold.stats().durable_cursor, fold.durable_cursor());
            let mut lost = false;
            for pick in sim.power_states_within(64, 40) {
                let found = all(&open(&sim.power_cut(&pick)));
                let state = states.iter().position(|state| *state == found).unwrap() as u64;
                assert!(state >= durable, "{policy:?}: {state} of {durable} after {count}");
                lost |= state < count;
            }
            // And it says no less than it must: what is not in it may be lost.
            assert_eq!(lost, durable < count, "{durability:?} {policy:?} after {count}");
        }
        let sim = disk();
        let options = options(&sim).durability(durability).sync_policy(policy);
        let mut fold = options.open(PATH).unwrap().1;
        fold.apply(&batch(1, 20), &at(4)).unwrap();
        let state = all(&fold);
        assert_eq!((fold.sync().unwrap(), fold.durable_cursor()), (at(4), at(4)));
        for pick in sim.power_states_within(64, 40) {
            assert_eq!(all(&open(&sim.power_cut(&pick))), state);
        }
    }
}

/// What a compaction does on its way, and where it is made to fail.
fn compaction_faults(path: &std::path::Path) -> [Fault; 5] {
    [
        Fault::new(FaultKind::NoSpace).on(CallKind::Write).on_path(path).effect(Effect::Prefix),
        Fault::new(FaultKind::Io).on(CallKind::Write).on_path(path),
        Fault::new(FaultKind::Io).on(CallKind::SyncData).on_path(path),
        Fault::new(FaultKind::Io).on(CallKind::SyncAll).on_path(path),
        Fault::new(FaultKind::NoSpace).on(CallKind::Rename),
    ]
}

/// 6: a compaction that fails is no error of a commit; it is told, and made again.
#[test]
fn n06_a_compaction_that_fails_is_made_again() {
    let inline = Compaction::Inline { budget_per_apply: 300 };
    let mut failed = 0;
    for nth in 0..5 {
        let sim = disk();
        let mut fold =
            options(&sim).compaction(inline).compact_threshold(4000).open(PATH).unwrap().1;
        let (mut n, mut told, mut failing) = (0, false, None);
        while fold.stats().compactions < 3 {
            n += 1;
            assert!(n < 200, "it is not made again");
            fold.apply(&batch(n * 5, 5), &at(n * 5 + 4)).unwrap();
            if let Some(path) = new_base(&sim).filter(|_| failing.is_none()) {
                sim.inject(compaction_faults(&path)[nth].clone());
                failing = Some(path);
            }
            if let Some(error) = fold.stats().compaction_error {
                assert_ne!(new_base(&sim), failing, "{error}");
                told = true;
            }
        }
        failed += u64::from(told);
        assert_eq!((fold.stats().compaction_error, fold.stats().commits), (None, n));
        let before = all(&fold);
        assert_eq!(before.1, at(n * 5 + 4));
        drop(fold);
        let sim = sim.kill();
        assert_eq!((all(&open(&sim)), temporaries(&sim)), (before, vec![]));
    }
    // A base is synced with one call of the two.
    assert_eq!(failed, 4);
}

/// 6: in the background, on a disk that has no room for a base.
#[test]
fn n06_a_disk_without_room_for_a_base_takes_commits() {
    let sim = disk();
    let options = options(&sim).compaction(Compaction::Background).compact_threshold(2000);
    let mut fold = options.open(PATH).unwrap().1;
    sim.inject(Fault::new(FaultKind::NoSpace).on(CallKind::Rename).lasting());
    for n in 1..30 {
        fold.apply(&batch(n * 5, 5), &at(n * 5 + 4)).unwrap();
    }
    // By hand it fails at once, whatever the background is at.
    assert_eq!(kind(fold.compact_all()), ErrorKind::NoSpace);
    assert!(fold.stats().compaction_error.is_some_and(|error| error.contains("base")));
    assert_eq!((fold.stats().compactions, fold.stats().base_bytes), (0, 0));
    sim.clear_faults();
    fold.compact_all().unwrap();
    let before = all(&fold);
    assert_eq!((fold.stats().compaction_error, before.0.len()), (None, 100));
    fold.close().unwrap();
    let fold = open(&sim.kill());
    assert_eq!((all(&fold), fold.recovery().commits), (before, 0));
}

/// 6: where it is not known which base the disk has, nothing is built on either; and the commit before it was one.
#[test]
fn n06_a_name_that_is_not_synced_poisons() {
    let sim = disk();
    let mut fold = open(&sim);
    fold.apply(&batch(1, 20), &at(20)).unwrap();
    let before = all(&fold);
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncDir).on_path(PATH));
    assert_eq!(kind(fold.compact_all()), ErrorKind::Poisoned);
    assert_eq!(kind(fold.apply(&batch(30, 1), &at(30))), ErrorKind::Poisoned);
    assert_eq!(all(&fold), before, "what was committed is still read");
    for pick in sim.power_states_within(64, 40) {
        assert_eq!(all(&open(&sim.power_cut(&pick))), before);
    }
}

/// 8: nothing is gone through that is not asked for.
#[test]
fn n08_ranges_stream() {
    let sim = disk();
    let meter = Meter::new(Arc::new(sim.clone()));
    let options = options(&sim).fs(Arc::new(meter.clone())).read_mode(ReadMode::Pread);
    let mut fold = options.open(PATH).unwrap().1;
    let updates: Vec<_> =
        (0..3000_u64).map(|n| put(&format!("p{:02}/{n:05}", n / 100), [7; 50], n)).collect();
    fold.apply(&updates, &at(3000)).unwrap();
    fold.compact_all().unwrap();
    let whole = fold.stats().base_bytes;
    assert!(whole > 100_000);
    meter.reset();
    let calls = Cell::new(0);
    let stop = |_| {
        calls.set(calls.get() + 1);
        let enough = Error::of_caller(ErrorKind::Cancelled, "look", "enough");
        if calls.get() == 3 { Err(enough) } else { Ok(()) }
    };
    assert_eq!(kind(fold.for_each_in_range("p", stop)), ErrorKind::Cancelled);
    assert_eq!(calls.get(), 3);
    assert!(meter.counts().bytes_read < whole / 10, "{} of {whole}", meter.counts().bytes_read);
    meter.reset();
    assert_eq!(fold.range("p17/").unwrap().len(), 100);
    assert!(meter.counts().bytes_read < whole / 10, "{} of {whole}", meter.counts().bytes_read);
    meter.reset();
    assert!(fold.has_entries().unwrap());
    assert!(meter.counts().bytes_read < whole / 10, "{} of {whole}", meter.counts().bytes_read);
}

/// 9: one owner, in this process and in others. The test is the other process itself, where it is told a path.
#[test]
fn n09_one_owner() {
    const TOLD: &str = "UNTORN_TEST_FOLD_OWNED";
    if let Some(path) = std::env::var_os(TOLD) {
        let found = AppendLogSnapshot::load(path.as_ref()).map(drop);
        assert_eq!(kind(found), ErrorKind::Locked);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let mut fold = AppendLogSnapshot::load(&path).unwrap().1;
    let reader = fold.reader();
    fold.apply(&batch(1, 1), &at(1)).unwrap();
    assert_eq!(kind(AppendLogSnapshot::load(&path)), ErrorKind::Locked);
    let other = || {
        let name = std::thread::current().name().unwrap().to_owned();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let output = command.args([&*name, "--exact"]).env(TOLD, &path).output().unwrap();
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("1 passed")
                || !output.status.success()
        );
        output.status.success()
    };
    assert!(other(), "it is locked");
    fold.compact_all().unwrap();
    fold.apply(&batch(2, 1), &at(2)).unwrap();
    assert!(other(), "after a compaction, too");
    fold.close().unwrap();
    // A reader that is left holds no lock.
    assert!(!other(), "nobody has it");
    assert_eq!(reader.cursor(), at(2));
    assert_eq!(AppendLogSnapshot::load(&path).unwrap().0, at(2));
}

/// 21: a compaction leaves the mode as it is, and goes through no symbolic link.
#[test]
fn n21_the_mode_is_kept_and_links_are_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let base = path.join("base");
    let mut fold = AppendLogSnapshot::open(&path, u64::MAX).unwrap().1;
    let mode = || std::fs::symlink_metadata(&base).unwrap().permissions().mode() & 0o777;
    fold.apply(&batch(1, 5), &at(5)).unwrap();
    fold.compact_all().unwrap();
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o640)).unwrap();
    fold.apply(&batch(6, 5), &at(10)).unwrap();
    fold.compact_all().unwrap();
    assert_eq!((mode(), fold.stats().compactions), (0o640, 2));

    let elsewhere = dir.path().join("elsewhere");
    std::fs::rename(&base, &elsewhere).unwrap();
    symlink(&elsewhere, &base).unwrap();
    let before = std::fs::read(&elsewhere).unwrap();
    fold.apply(&batch(11, 5), &at(15)).unwrap();
    fold.compact_all().unwrap_err();
    assert!(fold.stats().compaction_error.is_some());
    fold.apply(&batch(16, 5), &at(20)).unwrap();
    assert!(std::fs::symlink_metadata(&base).unwrap().is_symlink());
    let kept = all(&fold);
    drop(fold);
    assert_ne!(kind(AppendLogSnapshot::open(&path, u64::MAX)), ErrorKind::Locked);
    assert_eq!(std::fs::read(&elsewhere).unwrap(), before);
    // It is the user's to put it back.
    std::fs::rename(&elsewhere, &base).unwrap();
    let fold = AppendLogSnapshot::open(&path, u64::MAX).unwrap().1;
    assert_eq!(all(&fold), kept);
}

/// What is done between two kills: commits, and compactions of all kinds.
fn work(sim: &SimFs, mut acked: impl FnMut(&AppendLogSnapshot)) -> untorn::Result<()> {
    let mut fold = options(sim).log_segment_bytes(2048).open(PATH)?.1;
    for n in 1..6_u64 {
        fold.apply(&batch(n * 3, 6), &at(n * 3 + 5))?;
        acked(&fold);
        if n.is_multiple_of(2) {
            fold.compact_all()?;
        }
    }
    fold.close()
}

/// 22: data and cursor are one, so that there is nothing to be thrown away after an unclean stop, wherever it was.
#[test]
fn n22_an_unclean_stop_anywhere_loses_nothing() {
    let sim = disk();
    let mut states = vec![(std::collections::BTreeMap::new(), WatchCursor::none())];
    work(&sim, |fold| states.push(all(fold))).unwrap();
    let calls = sim.calls();
    assert!(calls > 100);
    for call in 1..calls {
        let sim = disk();
        sim.inject(Fault::new(FaultKind::Io).at_call(call).lasting());
        let mut acked = 0;
        // At the end there are calls that may fail: what is left is swept by the next.
        assert!(work(&sim, |_| acked += 1).is_err() || (acked == 5 && call + 20 > calls), "{call}");
        let sim = sim.kill();
        let mut fold = open(&sim);
        let found = all(&fold);
        let which = states.iter().position(|state| *state == found);
        // The commit that failed may have been written.
        assert!(
            which == Some(acked) || which == Some(acked + 1),
            "call {call}: {which:?} of {acked}"
        );
        fold.apply(&batch(90, 6), &at(100)).unwrap();
        assert_eq!(fold.cursor(), at(100));
    }
}
