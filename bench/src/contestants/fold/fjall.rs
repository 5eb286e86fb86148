//! fjall: one keyspace for the data and one for the cursor, a batch over both.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Each, Fold, Op, joined, value};
use crate::Result;

pub struct Fjall {
    db: Database,
    data: Keyspace,
    meta: Keyspace,
    mode: PersistMode,
}

impl Fold for Fjall {
    type Batch = (Vec<(String, Vec<u8>)>, u64);

    fn open(dir: &Path, synced: bool) -> Result<Self> {
        let db = Database::builder(dir).open()?;
        let data = db.keyspace("data", KeyspaceCreateOptions::default)?;
        let meta = db.keyspace("meta", KeyspaceCreateOptions::default)?;
        let mode = if synced { PersistMode::SyncData } else { PersistMode::Buffer };
        Ok(Self { db, data, meta, mode })
    }

    fn batch(ops: Vec<Op>, cursor: u64) -> Self::Batch {
        let put = |op: Op| {
            let joined = joined(&op);
            (op.key, joined)
        };
        (ops.into_iter().map(put).collect(), cursor)
    }

    fn apply(&mut self, (puts, cursor): &Self::Batch) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(self.mode));
        for (key, value) in puts {
            batch.insert(&self.data, &**key, &**value);
        }
        batch.insert(&self.meta, "cursor", cursor.to_be_bytes());
        Ok(batch.commit()?)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.data.get(key)?.map(|joined| value(&joined).to_vec()))
    }

    fn peek(&self, key: &str) -> Result<Option<Option<usize>>> {
        Ok(Some(self.data.get(key)?.map(|joined| value(&joined).len())))
    }

    fn each(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        for entry in self.data.prefix(prefix) {
            let (key, joined) = entry.into_inner()?;
            each(&key, value(&joined));
        }
        Ok(())
    }
}
