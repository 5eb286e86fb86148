//! How the old crate fails on its file, and what untorn does with the same. The numbers are those of the list in the design of the
//! store.

use std::fs;
use std::path::Path;

use slipstream::snapshot::SnapshotError;
use slipstream::{AppendLogSnapshot, SnapshotStore, WatchCursor};
use untorn::fold::pgss;
use untorn::{ErrorKind, OnDamage};

use crate::files::{fs, open, ours, put, theirs};

/// A file of theirs with ten thousand keys, each in a batch of a hundred.
fn filled(path: &Path) -> Vec<u8> {
    let (_, mut store) = open(path);
    for batch in 0..100 {
        let updates: Vec<_> =
            (0..100).map(|n| put(&format!("key{batch:03}{n:03}"), &[7; 100], batch)).collect();
        store.apply(&updates, &WatchCursor::from_u64(batch)).unwrap();
    }
    drop(store);
    fs::read(path).unwrap()
}

/// 2.
#[test]
fn a_flipped_bit_in_a_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.snap");
    let mut bytes = filled(&path);
    assert!(bytes.len() > 1_200_000);
    bytes[6 + 7 + 9 + 2] ^= 32; // 2 MiB more of the first value
    fs::write(&path, &bytes).unwrap();

    let error = pgss::read(&path).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(6)));
    let salvaged = pgss::read_with(&path, fs(), OnDamage::Salvage).unwrap();
    assert_eq!(salvaged.len(), 9_999);
    assert!(salvaged.cursor().is_none(), "from the beginning on, the lost one comes again");
    assert!(fs::read(&path).unwrap() == bytes, "nothing was changed");

    let (cursor, store) = open(&path);
    assert!(cursor.is_none() && theirs(&store).is_empty());
    drop(store);
    assert_eq!(fs::metadata(&path).unwrap().len(), 6, "of 1.2 MB");
}

/// 3.
#[test]
fn junk_behind_the_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.snap");
    let whole = filled(&path);
    fs::write(&path, [&whole[..], &[0xa5; 16]].concat()).unwrap();
    let refused = AppendLogSnapshot::open(&path, u64::MAX).map(drop);
    assert!(matches!(refused, Err(SnapshotError::InvalidFormat(_))), "{refused:?}");
    let image = pgss::read(&path).unwrap();
    assert_eq!((image.len(), image.report().torn_bytes), (10_000, 16));
}

/// 3.
#[test]
fn a_flipped_bit_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.snap");
    let mut bytes = filled(&path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(AppendLogSnapshot::open(&path, u64::MAX).is_err(), "and there is no way out");
    assert_eq!(pgss::read(&path).unwrap_err().kind(), ErrorKind::Damaged);
    let cut = pgss::read_with(&path, fs(), OnDamage::Truncate).unwrap();
    assert!((4_000..6_000).contains(&cut.len()), "{}", cut.len());
    let salvaged = pgss::read_with(&path, fs(), OnDamage::Salvage).unwrap();
    assert!(salvaged.len() >= 9_999);
    assert_eq!(salvaged.cursor(), cut.cursor());
}

/// 4.
#[test]
fn a_crash_within_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.snap");
    let (_, mut store) = open(&path);
    store.apply(&[put("a", b"1", 1)], &WatchCursor::from_u64(1)).unwrap();
    let first = fs::metadata(&path).unwrap().len();
    store.apply(&[put("a", b"2", 2), put("b", b"2", 3)], &WatchCursor::from_u64(3)).unwrap();
    drop(store);
    // The put of `a` is whole, the rest of the batch is not there.
    let bytes = fs::read(&path).unwrap();
    let cut = usize::try_from(first).unwrap() + 12 + 1 + 1 + 8;
    fs::write(&path, &bytes[..cut + 5]).unwrap();
    let image = pgss::read(&path).unwrap();
    assert_eq!((image.cursor().as_u64(), image.report().ops_after_cursor), (Some(1), 1));
    let ours = ours(&image);
    assert_eq!(ours[0].1, b"2", "the data is ahead of its cursor, which the report says");
    let (cursor, store) = open(&path);
    assert_eq!((cursor.as_u64(), theirs(&store)), (Some(1), ours));
}

/// 11.
#[test]
fn cursors_that_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("edge.snap");
    let (_, mut store) = open(&path);
    store.apply(&[put("a", b"new", 9)], &WatchCursor::from_u64(9)).unwrap();
    store.apply(&[put("a", b"old", 3)], &WatchCursor::from_u64(3)).unwrap();
    assert_eq!(theirs(&store)[0].1, b"old");
    // What they wrote is read as they wrote it: the last one counts.
    let image = pgss::read(&path).unwrap();
    assert_eq!((image.cursor().as_u64(), ours(&image)), (Some(3), theirs(&store)));
}
