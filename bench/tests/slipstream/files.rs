//! That crate's store and its entries, beside ours.

use std::path::Path;
use std::sync::Arc;

use slipstream::{AppendLogSnapshot, KvEntry, KvUpdate, SnapshotStore, VersionToken, WatchCursor};
use untorn::fold;
use untorn::fs::OsFs;

/// Key, value and version, as both have them.
pub type Plain = (String, Vec<u8>, Vec<u8>);

pub fn fs() -> Arc<OsFs> {
    Arc::new(OsFs::new())
}

/// Never compacts but when it is opened.
pub fn open(path: &Path) -> (WatchCursor, AppendLogSnapshot) {
    AppendLogSnapshot::open(path, u64::MAX).unwrap()
}

pub fn put(key: &str, value: &[u8], version: u64) -> KvUpdate {
    let version = VersionToken::from_u64(version);
    KvUpdate::Put(KvEntry { key: key.to_owned(), value: value.to_vec(), version })
}

pub fn delete(key: &str, version: u64) -> KvUpdate {
    KvUpdate::Delete { key: key.to_owned(), version: VersionToken::from_u64(version) }
}

pub fn purge(key: &str, version: u64) -> KvUpdate {
    KvUpdate::Purge { key: key.to_owned(), version: VersionToken::from_u64(version) }
}

/// Puts, one of them empty, overwrites, a delete and a purge, in three batches, the last at 11.
pub fn fill(store: &mut impl SnapshotStore) {
    let batches = [
        (vec![put("b", b"1", 1), put("a.x", b"", 2), put("gone", b"x", 3), put("c", b"y", 4)], 4),
        (vec![put("b", &[7; 3000], 5), delete("gone", 6), purge("never", 7), put("d", b"z", 8)], 8),
        (vec![purge("d", 9), put("\u{e4}", b"\0", 10), put("gone again", b"", 11)], 11),
    ];
    for (batch, cursor) in batches {
        store.apply(&batch, &WatchCursor::from_u64(cursor)).unwrap();
    }
}

/// What [`fill`] leaves, in order.
pub fn filled() -> Vec<Plain> {
    let number = |n: u64| n.to_be_bytes().to_vec();
    vec![
        ("a.x".into(), vec![], number(2)),
        ("b".into(), vec![7; 3000], number(5)),
        ("c".into(), b"y".to_vec(), number(4)),
        ("gone again".into(), vec![], number(11)),
        ("\u{e4}".into(), vec![0], number(10)),
    ]
}

pub fn theirs(store: &impl SnapshotStore) -> Vec<Plain> {
    let plain = |entry: KvEntry| (entry.key, entry.value, entry.version.as_bytes().to_vec());
    store.range("").unwrap().into_iter().map(plain).collect()
}

pub fn ours(image: &fold::pgss::Image) -> Vec<Plain> {
    let plain = |entry: fold::EntryRef<'_>| {
        (entry.key.to_owned(), entry.value.to_vec(), entry.version.to_vec())
    };
    image.entries().map(plain).collect()
}

/// The same as entries of ours.
pub fn entries(plain: &[Plain]) -> impl Iterator<Item = untorn::Result<fold::KvEntry>> {
    plain.iter().cloned().map(|(key, value, version)| {
        Ok(fold::KvEntry { key, value, version: fold::VersionToken::from_raw(&version)? })
    })
}

/// Cursors of every form that both have.
pub fn cursors() -> Vec<fold::WatchCursor> {
    let number = fold::WatchCursor::from_u64(11);
    let wide = fold::WatchCursor::from_raw(&[0, 0, 0, 0, 0, 0, 0, 11, 0, 1]).unwrap();
    let seen = number.clone().remember_evicting(true);
    let timed = seen.clone().written_at(Some(1_767_225_600_000));
    let wide_timed = wide.clone().remember_evicting(true).written_at(Some(1));
    vec![number, wide, seen, timed, wide_timed]
}
