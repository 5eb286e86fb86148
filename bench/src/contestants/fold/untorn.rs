//! untorn's fold, with its defaults but for what is asked for.

use std::path::Path;

use untorn::Durability;
use untorn::fold::{
    AppendLogSnapshot, Compaction, DEFAULT_COMPACT_THRESHOLD, FoldReader, KvEntry, KvUpdate,
    SnapshotStore, VersionToken, WatchCursor,
};

use super::{Each, Fold, Op};
use crate::Result;

pub struct Untorn {
    store: AppendLogSnapshot,
    reader: FoldReader,
}

impl Untorn {
    fn with(store: AppendLogSnapshot) -> Self {
        let reader = store.reader();
        Self { store, reader }
    }
}

impl Fold for Untorn {
    type Batch = (Vec<KvUpdate>, WatchCursor);

    fn open(dir: &Path, synced: bool) -> Result<Self> {
        let durability = if synced { Durability::Synced } else { Durability::Buffered };
        let options = AppendLogSnapshot::options()
            .durability(durability)
            .compact_threshold(DEFAULT_COMPACT_THRESHOLD)
            .compaction(Compaction::Background);
        Ok(Self::with(options.open(dir)?.1))
    }

    fn batch(ops: Vec<Op>, cursor: u64) -> Self::Batch {
        let put = |op: Op| {
            let version = VersionToken::from_u64(op.version);
            KvUpdate::Put(KvEntry { key: op.key, value: op.value, version })
        };
        (ops.into_iter().map(put).collect(), WatchCursor::from_u64(cursor))
    }

    fn apply(&mut self, (updates, cursor): &Self::Batch) -> Result<()> {
        Ok(self.store.apply(updates, cursor)?)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.store.get(key)?.map(|entry| entry.value))
    }

    fn peek(&self, key: &str) -> Result<Option<Option<usize>>> {
        Ok(Some(self.reader.get_with(key, |entry| entry.value.len())?))
    }

    fn each(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        Ok(self.store.for_each_in_range(prefix, |entry| {
            each(entry.key.as_bytes(), &entry.value);
            Ok(())
        })?)
    }

    fn export(&mut self, dest: &Path) -> Result<bool> {
        self.store.export_to(dest)?;
        Ok(true)
    }

    fn import(from: &Path, dir: &Path) -> Result<Option<Self>> {
        let (_, store) = AppendLogSnapshot::import(from, dir, DEFAULT_COMPACT_THRESHOLD)?;
        Ok(Some(Self::with(store)))
    }

    fn settle(&mut self) -> Result<bool> {
        self.store.compact_all()?;
        Ok(true)
    }

    fn close(self) -> Result<()> {
        drop(self.reader);
        Ok(self.store.close()?)
    }
}
