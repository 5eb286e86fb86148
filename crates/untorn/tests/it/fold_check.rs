//! What the verification of a fold says of sound ones, damaged ones, and of one that is written meanwhile.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use untorn::fold::{
    AppendLogSnapshot, FoldOptions, FoldReport, KvUpdate, SnapshotStore as _, VersionToken,
    WatchCursor, verify,
};
use untorn::fs::OsFs;
use untorn::{ErrorKind, Result};

const BASE: &str = "base";
const LOG: &str = "log";

fn check(path: &Path) -> Result<FoldReport> {
    verify(path, Arc::new(OsFs::new()), |done, of| assert!(done <= of, "{done} of {of}"))
}

fn apply(fold: &mut AppendLogSnapshot, n: u64) {
    let key = |n: u64| format!("key-{:03}", n % 40);
    let value = vec![1; if n.is_multiple_of(7) { 1500 } else { 20 }];
    let version = VersionToken::from_u64(n);
    let updates = [
        KvUpdate::put(key(n), value, version.clone()),
        KvUpdate::delete(key(n.wrapping_mul(3)), version),
    ];
    fold.apply(&updates, &WatchCursor::from_u64(n)).unwrap();
}

/// A base up to 50 and ten commits above it, closed.
fn fold(path: &Path) {
    let options = FoldOptions::new().compact_threshold(u64::MAX).log_segment_bytes(4096);
    let (_, mut fold) = options.open(path).unwrap();
    for n in 1..=60 {
        apply(&mut fold, n);
        if n == 50 {
            fold.compact_all().unwrap();
        }
    }
    fold.close().unwrap();
}

#[test]
fn a_sound_fold_is_told_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fold");
    fold(&path);
    let report = check(&path).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.commits, report.updates, report.behind), (10, 20, 0));
    assert_eq!(report.cursor.as_u64(), Some(60));
    let base = report.base.unwrap();
    assert_eq!(base.cursor.as_u64(), Some(50));
    assert_eq!(base.bytes, path.join(BASE).metadata().unwrap().len());
}

#[test]
fn no_flipped_bit_of_a_base_is_overlooked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fold");
    fold(&path);
    let base = path.join(BASE);
    let bytes = fs::read(&base).unwrap();
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        fs::write(&base, &other).unwrap();
        match check(&path) {
            Ok(report) => assert!(!report.is_sound(), "byte {at}"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::NewerFormat, "byte {at}: {e}"),
        }
        assert_eq!(fs::read(&base).unwrap(), other);
    }
}

#[test]
fn a_flipped_bit_of_a_log_is_named_and_what_is_behind_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fold");
    let (_, mut fold) = FoldOptions::new().compact_threshold(u64::MAX).open(&path).unwrap();
    (1..=9).for_each(|n| apply(&mut fold, n));
    fold.close().unwrap();
    let log = path.join(LOG);
    let names = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let segment = names.into_iter().find(|path| path.extension().is_some()).unwrap();
    let bytes = fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut behind = [false; 10];
    for at in (0..=end).step_by(5) {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        fs::write(&segment, &other).unwrap();
        let report = match check(&path) {
            Ok(report) => report,
            // Its version.
            Err(e) if e.kind() == ErrorKind::NewerFormat => continue,
            Err(e) => panic!("byte {at}: {e}"),
        };
        if report.is_sound() {
            // A flag that nobody reads, or zeros between frames.
            assert_eq!(report.commits, 9, "byte {at}: {report:?}");
            continue;
        }
        let good = report.cursor.as_u64().unwrap_or(0);
        assert_eq!(report.commits, good, "byte {at}: {report:?}");
        assert!(good + report.behind <= 9, "byte {at}: {report:?}");
        assert!(report.damage[0].offset.is_some_and(|offset| offset <= at as u64), "{report:?}");
        behind[usize::try_from(report.behind).unwrap()] = true;
    }
    assert!(behind[..8].iter().filter(|seen| **seen).count() > 4, "{behind:?}");
}

#[test]
fn what_is_missing_or_of_another_fold_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let [path, other] = ["fold", "other"].map(|name| dir.path().join(name));
    fold(&path);
    fold(&other);
    fs::copy(other.join(BASE), path.join(BASE)).unwrap();
    let report = check(&path).unwrap();
    assert!(report.damage[0].what.contains("another fold"), "{report:?}");
    fs::remove_file(path.join(BASE)).unwrap();
    let report = check(&path).unwrap();
    assert!(report.damage[0].what.contains("its base is missing"), "{report:?}");
    fs::remove_dir_all(other.join(LOG)).unwrap();
    let report = check(&other).unwrap();
    assert!(report.damage[0].what.contains("its log is missing"), "{report:?}");
    assert_eq!(report.cursor.as_u64(), Some(50));
    for (name, kind) in [("no", ErrorKind::NotFound), ("dir", ErrorKind::NotFound)] {
        if name == "dir" {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(check(&dir.path().join(name)).unwrap_err().kind(), kind);
    }
}

/// What an owner moves while it is read is not taken for damage.
#[test]
fn an_owner_that_compacts_meanwhile_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fold");
    let options = FoldOptions::new().compact_threshold(2000).log_segment_bytes(4096);
    let (_, mut owner) = options.open(&path).unwrap();
    apply(&mut owner, 1);
    let over = AtomicBool::new(false);
    let (looked, compactions) = thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut looked = 0;
            while !over.load(Ordering::Relaxed) {
                match check(&path) {
                    Ok(report) => assert!(report.is_sound(), "{report:?}"),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Stale, "{e}"),
                }
                looked += 1;
            }
            looked
        });
        (2..600).for_each(|n| apply(&mut owner, n));
        over.store(true, Ordering::Relaxed);
        (looker.join().unwrap(), owner.stats().compactions)
    });
    assert!(looked > 2 && compactions > 2, "{looked} {compactions}");
}
