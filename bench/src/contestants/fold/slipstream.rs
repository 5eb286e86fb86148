//! beyond-slipstream: its append log, which never syncs a commit, and its tree on fjall.

use std::path::Path;

use slipstream::{
    AppendLogSnapshot, FjallConfig, FjallSnapshot, KvEntry, KvUpdate, SnapshotStore, VersionToken,
    WatchCursor,
};

use super::{Each, Fold, Op};
use crate::Result;

/// The bytes after which its log is written anew.
const THRESHOLD: u64 = 10 << 20;

/// One of its stores.
pub trait Store: SnapshotStore {
    fn at(path: &Path, synced: bool) -> Result<Self>;
    fn of(artifact: &Path, path: &Path) -> Result<Self>;
    const SYNCS: bool;
}

impl Store for AppendLogSnapshot {
    fn at(path: &Path, _: bool) -> Result<Self> {
        Ok(Self::open(path, THRESHOLD)?.1)
    }

    fn of(artifact: &Path, path: &Path) -> Result<Self> {
        Ok(Self::import(artifact, path, THRESHOLD)?.1)
    }

    const SYNCS: bool = false;
}

impl Store for FjallSnapshot {
    fn at(path: &Path, sync: bool) -> Result<Self> {
        Ok(Self::open(path, FjallConfig { sync, ..FjallConfig::default() })?.1)
    }

    fn of(artifact: &Path, path: &Path) -> Result<Self> {
        Ok(Self::import(artifact, path, FjallConfig::default())?.1)
    }

    const SYNCS: bool = true;
}

pub struct Slipstream<S>(S);
pub type SlipstreamLog = Slipstream<AppendLogSnapshot>;
pub type SlipstreamFjall = Slipstream<FjallSnapshot>;

impl<S: Store> Fold for Slipstream<S> {
    type Batch = (Vec<KvUpdate>, WatchCursor);

    fn open(dir: &Path, synced: bool) -> Result<Self> {
        // Its log is a file.
        std::fs::create_dir_all(dir)?;
        Ok(Self(S::at(&dir.join("store"), synced)?))
    }

    fn batch(ops: Vec<Op>, cursor: u64) -> Self::Batch {
        let put = |op: Op| {
            let version = VersionToken::from_u64(op.version);
            KvUpdate::Put(KvEntry { key: op.key, value: op.value, version })
        };
        (ops.into_iter().map(put).collect(), WatchCursor::from_u64(cursor))
    }

    fn apply(&mut self, (updates, cursor): &Self::Batch) -> Result<()> {
        Ok(self.0.apply(updates, cursor)?)
    }

    fn syncs() -> bool {
        S::SYNCS
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(key)?.map(|entry| entry.value))
    }

    fn each(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        Ok(self.0.for_each_in_range(prefix, &mut |entry: KvEntry| {
            each(entry.key.as_bytes(), &entry.value);
            Ok(())
        })?)
    }

    fn export(&mut self, dest: &Path) -> Result<bool> {
        self.0.export_to(dest)?;
        Ok(true)
    }

    fn import(from: &Path, dir: &Path) -> Result<Option<Self>> {
        std::fs::create_dir_all(dir)?;
        Ok(Some(Self(S::of(from, &dir.join("store"))?)))
    }
}
