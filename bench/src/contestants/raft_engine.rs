//! raft-engine: one value in a batch of its own, synced; its files filled with zeros ahead, which is its fastest way.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use raft_engine::{Config, Engine, LogBatch, ReadableSize};

use super::Contestant;
use crate::Result;

/// Values that are kept at the same time: it keeps an index of them in memory.
const KEYS: u64 = 1024;

pub struct RaftEngine {
    engine: Engine,
    next: AtomicU64,
}

impl RaftEngine {
    pub fn open(path: &Path) -> Result<Self> {
        let config = Config {
            dir: path.to_str().ok_or("the directory's name is not UTF-8")?.to_owned(),
            target_file_size: ReadableSize::mb(16),
            purge_threshold: ReadableSize::mb(128),
            prefill_for_recycle: true,
            prefill_limit: Some(ReadableSize::mb(128)),
            batch_compression_threshold: ReadableSize(0),
            ..Config::default()
        };
        Ok(Self { engine: Engine::open(config)?, next: AtomicU64::new(0) })
    }
}

impl Contestant for RaftEngine {
    fn name(&self) -> &'static str {
        "raft-engine"
    }

    fn commit(&self, record: &[u8]) -> Result<()> {
        let key = self.next.fetch_add(1, Ordering::Relaxed) % KEYS;
        let mut batch = LogBatch::with_capacity(1);
        batch.put(1, key.to_le_bytes().to_vec(), record.to_vec())?;
        self.engine.write(&mut batch, true)?;
        Ok(())
    }
}
