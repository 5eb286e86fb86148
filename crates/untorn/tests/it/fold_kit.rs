//! What the tests of folds share: short words for updates, and for what a fold has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::ErrorKind;
use untorn::fold::{
    AppendLogSnapshot, Compaction, FoldOptions, KvUpdate, SnapshotStore, VersionToken, WatchCursor,
};
use untorn::sim::{Item, SimFs};

/// Where the fold is on a simulated disk.
pub(crate) const PATH: &str = "/d/f";
/// The first segment of its log.
pub(crate) const SEGMENT: &str = "/d/f/log/0000000000000001.seg";
pub(crate) const BASE: &str = "/d/f/base";

pub(crate) fn at(position: u64) -> WatchCursor {
    WatchCursor::from_u64(position)
}

pub(crate) fn put(key: &str, value: impl Into<Vec<u8>>, version: u64) -> KvUpdate {
    KvUpdate::put(key, value, VersionToken::from_u64(version))
}

pub(crate) fn delete(key: &str, version: u64) -> KvUpdate {
    KvUpdate::delete(key, VersionToken::from_u64(version))
}

pub(crate) fn disk() -> SimFs {
    let sim = SimFs::new(1);
    sim.make_dirs("/d").unwrap();
    sim
}

/// Nothing is merged but by hand.
pub(crate) fn options(sim: &SimFs) -> FoldOptions {
    let options = FoldOptions::new().fs(Arc::new(sim.clone())).compaction(Compaction::Manual);
    options.log_segment_bytes(64 << 10)
}

pub(crate) fn open(sim: &SimFs) -> AppendLogSnapshot {
    options(sim).open(PATH).unwrap().1
}

/// All that a fold has: each key with its value and its version, and the cursor.
pub(crate) type All = (BTreeMap<String, (Vec<u8>, u64)>, WatchCursor);

pub(crate) fn all(fold: &AppendLogSnapshot) -> All {
    let seen = fold.snapshot();
    let entries = seen.range("").unwrap().into_iter();
    let entries = entries.map(|e| (e.key, (e.value, e.version.as_u64().unwrap_or(0))));
    (entries.collect(), seen.cursor())
}

pub(crate) fn value(fold: &AppendLogSnapshot, key: &str) -> Option<Vec<u8>> {
    fold.get(key).unwrap().map(|entry| entry.value)
}

pub(crate) fn kind<T: std::fmt::Debug>(result: untorn::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Every file but the text in locks, which is for people.
pub(crate) fn image(sim: &SimFs) -> BTreeMap<PathBuf, Vec<u8>> {
    let file = |(path, item): (PathBuf, Item)| match item {
        Item::File(bytes) if !path.ends_with("LOCK") => Some((path, bytes)),
        _ => None,
    };
    sim.dump().into_iter().filter_map(file).collect()
}

/// Files that a fold should not have.
pub(crate) fn temporaries(sim: &SimFs) -> Vec<PathBuf> {
    let is = |path: &PathBuf| path.to_string_lossy().contains("untorn-tmp");
    sim.dump().into_keys().filter(is).collect()
}

/// The file of the base that is being written.
pub(crate) fn new_base(sim: &SimFs) -> Option<PathBuf> {
    let is = |path: &PathBuf| {
        path.parent() == Some(Path::new(PATH)) && path.to_string_lossy().contains(".base.")
    };
    temporaries(sim).into_iter().find(is)
}

/// A fold of one commit for each key `k00`, `k01`, and where each frame of its log begins. Versions and cursors count from 1.
pub(crate) fn frames(
    sim: &SimFs,
    keys: u64,
    value: impl Fn(u64) -> Vec<u8>,
) -> (AppendLogSnapshot, Vec<usize>) {
    let mut fold = open(sim);
    let mut starts = Vec::new();
    for n in 0..keys {
        let before = sim.read(SEGMENT).unwrap();
        fold.apply(&[put(&format!("k{n:02}"), value(n), n + 1)], &at(n + 1)).unwrap();
        let after = sim.read(SEGMENT).unwrap();
        let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        starts.push(same);
    }
    (fold, starts)
}
