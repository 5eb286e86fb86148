//! redb: one transaction for a batch and its cursor. A commit without a sync does not even survive the end of the process there; it
//! has nothing between that and a sync.

use std::fs;
use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{Each, Fold, Op, joined, value};
use crate::Result;

const DATA: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("data");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

pub struct Redb {
    db: Database,
    durability: Durability,
}

impl Fold for Redb {
    type Batch = (Vec<(String, Vec<u8>)>, u64);

    fn open(dir: &Path, synced: bool) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let durability = if synced { Durability::Immediate } else { Durability::None };
        Ok(Self { db: Database::create(dir.join("redb"))?, durability })
    }

    fn batch(ops: Vec<Op>, cursor: u64) -> Self::Batch {
        let put = |op: Op| {
            let joined = joined(&op);
            (op.key, joined)
        };
        (ops.into_iter().map(put).collect(), cursor)
    }

    fn apply(&mut self, (puts, cursor): &Self::Batch) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(self.durability)?;
        {
            let mut data = txn.open_table(DATA)?;
            for (key, value) in puts {
                data.insert(&**key, &**value)?;
            }
            txn.open_table(META)?.insert("cursor", cursor)?;
        }
        Ok(txn.commit()?)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let data = self.db.begin_read()?.open_table(DATA)?;
        Ok(data.get(key)?.map(|joined| value(joined.value()).to_vec()))
    }

    fn peek(&self, key: &str) -> Result<Option<Option<usize>>> {
        let data = self.db.begin_read()?.open_table(DATA)?;
        Ok(Some(data.get(key)?.map(|joined| value(joined.value()).len())))
    }

    fn each(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        let data = self.db.begin_read()?.open_table(DATA)?;
        for entry in data.range(prefix..)? {
            let (key, joined) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            each(key.value().as_bytes(), value(joined.value()));
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        // Makes durable what was committed before.
        Ok(self.db.begin_write()?.commit()?)
    }
}
