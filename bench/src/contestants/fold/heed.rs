//! LMDB through heed: one transaction for a batch and its cursor.

use std::fs;
use std::path::Path;

use heed::types::{Bytes, Str};
use heed::{CompactionOption, Database, Env, EnvFlags, EnvOpenOptions};

use super::{Each, Fold, Op, joined, value};
use crate::Result;

/// The file never becomes larger; it takes only what is used.
const MAP: usize = 64 << 30;

pub struct Heed {
    env: Env,
    data: Database<Str, Bytes>,
    meta: Database<Str, Bytes>,
}

impl Fold for Heed {
    type Batch = (Vec<(String, Vec<u8>)>, u64);

    fn open(dir: &Path, synced: bool) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP).max_dbs(2);
        // SAFETY: nobody else has the files; without syncs the order of writes is that of the system's cache, which outlives the process.
        let env = unsafe {
            if !synced {
                options.flags(EnvFlags::NO_SYNC);
            }
            options.open(dir)?
        };
        let mut txn = env.write_txn()?;
        let data = env.create_database(&mut txn, Some("data"))?;
        let meta = env.create_database(&mut txn, Some("meta"))?;
        txn.commit()?;
        Ok(Self { env, data, meta })
    }

    fn batch(ops: Vec<Op>, cursor: u64) -> Self::Batch {
        let put = |op: Op| {
            let joined = joined(&op);
            (op.key, joined)
        };
        (ops.into_iter().map(put).collect(), cursor)
    }

    fn apply(&mut self, (puts, cursor): &Self::Batch) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in puts {
            self.data.put(&mut txn, key, value)?;
        }
        self.meta.put(&mut txn, "cursor", &cursor.to_be_bytes())?;
        Ok(txn.commit()?)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let txn = self.env.read_txn()?;
        Ok(self.data.get(&txn, key)?.map(|joined| value(joined).to_vec()))
    }

    fn peek(&self, key: &str) -> Result<Option<Option<usize>>> {
        let txn = self.env.read_txn()?;
        Ok(Some(self.data.get(&txn, key)?.map(|joined| value(joined).len())))
    }

    fn each(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        let txn = self.env.read_txn()?;
        if prefix.is_empty() {
            for entry in self.data.iter(&txn)? {
                let (key, joined) = entry?;
                each(key.as_bytes(), value(joined));
            }
            return Ok(());
        }
        for entry in self.data.prefix_iter(&txn, prefix)? {
            let (key, joined) = entry?;
            each(key.as_bytes(), value(joined));
        }
        Ok(())
    }

    fn export(&mut self, dest: &Path) -> Result<bool> {
        let file = self.env.copy_to_path(dest, CompactionOption::Disabled)?;
        file.sync_all()?;
        Ok(true)
    }

    fn close(self) -> Result<()> {
        self.env.force_sync()?;
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}
