//! A fold of format version 1, as it was written once: it opens for ever, and has what stands here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::fold::{
    AppendLogSnapshot, Compaction, FoldOptions, KvUpdate, Lineage, SnapshotStore, VersionToken,
    WatchCursor,
};
use untorn::fs::{Fs, OsFs};
use untorn::sim::SimFs;

use super::fold_kit::{PATH, delete, image, put};

/// The files, below the fold's directory.
const FILES: [&str; 4] =
    ["base", "log/META", "log/0000000000000002.seg", "log/0000000000000003.seg"];
/// A versionstamp.
const STAMP: [u8; 10] = [0xf0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/fold")
}

fn options(fs: Arc<dyn Fs>) -> FoldOptions {
    FoldOptions::new().fs(fs).compaction(Compaction::Manual).log_segment_bytes(2048)
}

fn lineage() -> Lineage {
    Lineage { kind: "nats".into(), id: b"KV_edge 1767225600000000000".to_vec() }
}

fn cursor() -> WatchCursor {
    WatchCursor::from_u64(0x00d6_1a02).remember_evicting(true).written_at(Some(1_767_225_600_123))
}

/// How the files were made; the simulated disk makes the same ones each time.
fn write() -> SimFs {
    let sim = SimFs::new(1);
    sim.make_dirs("/d").unwrap();
    let mut fold = options(Arc::new(sim.clone())).open(PATH).unwrap().1;
    fold.set_lineage(lineage()).unwrap();
    let mut updates: Vec<_> =
        (1..=40).map(|n| put(&format!("svc/{n:03}"), format!("10.0.0.{n}"), n)).collect();
    updates.push(put("empty", "", 41));
    updates.push(put("apart", vec![0x61; 1500], 42));
    updates.push(put("later/deleted", "in the base only", 43));
    updates.push(delete("gone", 44));
    updates.push(put("gr\u{fc}n", "utf-8", 45));
    for part in updates.chunks(15) {
        fold.apply(part, &WatchCursor::from_version(part[part.len() - 1].version().clone()))
            .unwrap();
    }
    fold.compact_all().unwrap();
    let stamp = VersionToken::from_raw(&STAMP).unwrap();
    let tail = [
        put("svc/001", "10.1.0.1", 46),
        put("long", vec![0x62; 300], 47),
        delete("later/deleted", 48),
        KvUpdate::Purge { key: "svc/040".into(), version: VersionToken::from_u64(49) },
        KvUpdate::put("stamp", "of ten bytes", stamp),
    ];
    fold.apply(&tail, &WatchCursor::from_u64(49)).unwrap();
    fold.apply(&[], &cursor()).unwrap();
    fold.close().unwrap();
    sim
}

/// What the fold has, in whatever way it is opened.
fn check(fold: &AppendLogSnapshot) {
    assert_eq!((fold.cursor(), fold.lineage()), (cursor(), Some(lineage())));
    let mut expected: Vec<_> = (2..40_u64)
        .map(|n| {
            (format!("svc/{n:03}"), format!("10.0.0.{n}").into_bytes(), n.to_be_bytes().to_vec())
        })
        .collect();
    for (key, value, version) in [
        ("apart", vec![0x61; 1500], 42_u64),
        ("empty", Vec::new(), 41),
        ("gr\u{fc}n", b"utf-8".to_vec(), 45),
        ("long", vec![0x62; 300], 47),
        ("svc/001", b"10.1.0.1".to_vec(), 46),
    ] {
        expected.push((key.to_owned(), value, version.to_be_bytes().to_vec()));
    }
    expected.push(("stamp".to_owned(), b"of ten bytes".to_vec(), STAMP.to_vec()));
    expected.sort();
    let found = fold.range("").unwrap().into_iter();
    let found: Vec<_> = found.map(|e| (e.key, e.value, e.version.as_bytes().to_vec())).collect();
    assert_eq!(found, expected);
}

fn copy_to(dir: &Path) {
    std::fs::create_dir_all(dir.join("log")).unwrap();
    for name in FILES {
        std::fs::copy(golden().join(name), dir.join(name)).unwrap();
    }
}

#[test]
fn the_first_version_opens() {
    if std::env::var_os("UNTORN_WRITE_GOLDEN").is_some() {
        for (path, bytes) in image(&write()) {
            let to = golden().join(path.strip_prefix(PATH).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, bytes).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    copy_to(&path);
    let total: u64 =
        FILES.iter().map(|name| std::fs::metadata(path.join(name)).unwrap().len()).sum();
    assert!(total < 64 << 10, "{total}");
    let fs: Arc<dyn Fs> = Arc::new(OsFs::new());
    check(&options(Arc::clone(&fs)).read_only(true).open(&path).unwrap().1);
    let (opened, mut fold) = options(Arc::clone(&fs)).open(&path).unwrap();
    check(&fold);
    assert_eq!(opened, cursor());
    assert_eq!((fold.recovery().base_entries, fold.recovery().commits), (44, 2));
    // What was deleted stays so: an older update is known for what it is.
    fold.apply(&[put("gone", "late", 40), put("later/deleted", "late", 43)], &cursor()).unwrap();
    check(&fold);
    fold.compact_all().unwrap();
    fold.close().unwrap();
    check(&options(Arc::clone(&fs)).open(&path).unwrap().1);
}

/// What is written today has the same entries, wherever its bytes are.
#[test]
fn what_is_written_today_has_the_same() {
    let sim = write();
    check(&options(Arc::new(sim.kill())).open(PATH).unwrap().1);
}
