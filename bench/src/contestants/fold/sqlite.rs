//! SQLite with a write-ahead log: one transaction for a batch and its cursor, statements that are prepared once, 64 MiB of cache.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::{Each, Fold, Op};
use crate::Result;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS data (key TEXT PRIMARY KEY, value BLOB NOT NULL, version BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";
const PUT: &str = "INSERT INTO data (key, value, version) VALUES (?1, ?2, ?3)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version";
const CURSOR: &str = "INSERT OR REPLACE INTO meta (name, value) VALUES ('cursor', ?1)";
const GET: &str = "SELECT value FROM data WHERE key = ?1";
const RANGE: &str = "SELECT key, value FROM data WHERE key >= ?1 AND key < ?2 ORDER BY key";

pub struct Sqlite(Connection);

impl Fold for Sqlite {
    type Batch = (Vec<Op>, u64);

    fn open(dir: &Path, synced: bool) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let db = Connection::open(dir.join("sqlite"))?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", if synced { "full" } else { "off" })?;
        db.pragma_update(None, "cache_size", -65_536)?;
        db.execute_batch(TABLES)?;
        Ok(Self(db))
    }

    fn batch(ops: Vec<Op>, cursor: u64) -> Self::Batch {
        (ops, cursor)
    }

    fn apply(&mut self, (ops, cursor): &Self::Batch) -> Result<()> {
        let txn = self.0.transaction()?;
        {
            let mut put = txn.prepare_cached(PUT)?;
            for op in ops {
                put.execute((&op.key, &op.value, op.version.to_be_bytes()))?;
            }
            txn.prepare_cached(CURSOR)?.execute([i64::try_from(*cursor)?])?;
        }
        Ok(txn.commit()?)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut get = self.0.prepare_cached(GET)?;
        Ok(get.query_row([key], |row| row.get(0)).optional()?)
    }

    fn each(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        let mut range = self.0.prepare_cached(RANGE)?;
        let end = format!("{prefix}\u{10ffff}");
        let mut rows = range.query([prefix, &end])?;
        while let Some(row) = rows.next()? {
            each(row.get_ref(0)?.as_bytes()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn export(&mut self, dest: &Path) -> Result<bool> {
        let dest = dest.to_str().ok_or("the path is not UTF-8")?;
        self.0.execute("VACUUM INTO ?1", [dest])?;
        Ok(true)
    }

    fn close(self) -> Result<()> {
        Ok(self.0.close().map_err(|(_, error)| error)?)
    }
}
