//! One PGSS file, two programs: each reads what the other wrote.

use std::fs;

use slipstream::{SnapshotStore, WatchCursor, snapshot};
use untorn::fold::pgss;

use crate::files::{cursors, entries, fill, filled, fs, open, ours, put, theirs};

#[test]
fn what_they_wrote_we_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.snap");
    let (_, mut store) = open(&path);
    fill(&mut store);
    let before = fs::read(&path).unwrap();
    // Deletes, overwrites and three cursors are in it; after their next open it is compact.
    for compact in [false, true] {
        let image = pgss::read(&path).unwrap();
        assert_eq!(ours(&image), filled());
        assert_eq!(image.cursor().as_u64(), Some(11));
        let report = image.report();
        assert_eq!(report.records, if compact { 6 } else { 14 });
        assert_eq!((report.torn_bytes, report.ops_after_cursor), (0, 0));
        if !compact {
            assert!(fs::read(&path).unwrap() == before, "nothing was changed");
            drop(open(&path));
        }
    }
    // What we write of it are the same bytes.
    let copy = dir.path().join("copy.snap");
    let image = pgss::read(&path).unwrap();
    let cursor = image.cursor().clone();
    pgss::write_entries(image.into_entries().map(Ok), &cursor, &copy, fs()).unwrap();
    assert!(fs::read(&copy).unwrap() == fs::read(&path).unwrap());
}

#[test]
fn cursors_with_their_memo_come_and_go() {
    for cursor in cursors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("theirs.snap");
        let as_theirs = WatchCursor::from_bytes(&cursor.to_bytes()).unwrap();
        let (_, mut store) = open(&path);
        store.apply(&[put("a", b"1", 1)], &as_theirs).unwrap();
        assert_eq!(pgss::read(&path).unwrap().cursor(), &cursor);

        let path = dir.path().join("ours.snap");
        pgss::write_entries(entries(&filled()), &cursor, &path, fs()).unwrap();
        let (read, store) = open(&path);
        assert_eq!(read.to_bytes(), cursor.to_bytes(), "{cursor:?}");
        assert_eq!(theirs(&store), filled());
        assert_eq!(store.cursor().to_bytes(), cursor.to_bytes());
    }
}

#[test]
fn what_we_wrote_they_go_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("both.snap");
    // Versions of ten bytes, of one and of none, which only a file can bring them.
    let mut wide = filled();
    wide[0].2 = vec![0, 0, 0, 0, 0, 0, 0, 7, 0, 1];
    wide[1].2 = vec![9];
    wide[2].2 = Vec::new();
    wide.insert(0, (String::new(), b"the empty key".to_vec(), vec![255; 10]));
    let cursor = untorn::fold::WatchCursor::from_u64(11);
    pgss::write_entries(entries(&wide), &cursor, &path, fs()).unwrap();
    let written = fs::read(&path).unwrap();
    let loaded = snapshot::load(&path).unwrap().unwrap();
    assert_eq!((loaded.entries.len(), loaded.cursor.as_u64()), (wide.len(), Some(11)));
    assert!(fs::read(&path).unwrap() == written, "it is as they would have it");
    let (_, mut store) = open(&path);
    assert_eq!(theirs(&store), wide);
    store.apply(&[put("z", b"", 12)], &WatchCursor::from_u64(12)).unwrap();
    drop(store);
    let image = pgss::read(&path).unwrap();
    let mut expected = wide.clone();
    expected.insert(expected.len() - 1, ("z".into(), Vec::new(), 12_u64.to_be_bytes().to_vec()));
    assert_eq!((ours(&image), image.cursor().as_u64()), (expected, Some(12)));
}

#[test]
fn without_a_cursor_and_without_entries() {
    let dir = tempfile::tempdir().unwrap();
    let none = untorn::fold::WatchCursor::none();
    for (n, entries_of) in [Vec::new(), filled()].iter().enumerate() {
        let path = dir.path().join(n.to_string());
        pgss::write_entries(entries(entries_of), &none, &path, fs()).unwrap();
        let (cursor, store) = open(&path);
        assert!(cursor.is_none());
        assert_eq!(&theirs(&store), entries_of);
        drop(store);
        let image = pgss::read(&path).unwrap();
        assert_eq!((&ours(&image), image.cursor()), (entries_of, &none));
    }
    // What they make of a new one.
    let path = dir.path().join("new");
    drop(open(&path));
    assert!(pgss::read(&path).unwrap().is_empty());
}

/// Cut anywhere, both have the same; they write the file anew for it.
#[test]
fn every_cut_means_the_same_to_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whole");
    let (_, mut store) = open(&path);
    let batches = [(vec![put("a", b"1", 1), put("b", b"22", 2)], 2), (vec![put("a", b"", 3)], 3)];
    for (batch, cursor) in batches {
        store.apply(&batch, &WatchCursor::from_u64(cursor)).unwrap();
    }
    let whole = fs::read(&path).unwrap();
    let cut_at = dir.path().join("cut");
    for cut in 6..=whole.len() {
        fs::write(&cut_at, &whole[..cut]).unwrap();
        let image = pgss::read(&cut_at).unwrap();
        let (cursor, store) = open(&cut_at);
        assert_eq!(ours(&image), theirs(&store), "{cut}");
        assert_eq!(image.cursor().to_bytes(), cursor.to_bytes(), "{cut}");
    }
}
