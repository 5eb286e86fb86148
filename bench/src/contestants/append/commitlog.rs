//! commitlog: NOT DURABLE, it never syncs. Elements get offsets, a hash and an index.

use std::ops::Range;
use std::path::Path;

use commitlog::message::MessageSet;
use commitlog::{CommitLog, LogOptions, ReadLimit};

use super::{Appender, Elements, taste};
use crate::Result;

pub struct Commitlog {
    pub log: CommitLog,
    elements: Elements,
}

impl Commitlog {
    pub fn open(path: &Path, elements: &Elements) -> Result<Self> {
        let log = CommitLog::new(LogOptions::new(path))?;
        Ok(Self { log, elements: elements.clone() })
    }
}

impl Appender for Commitlog {
    fn name(&self) -> &'static str {
        "commitlog (not synced)"
    }

    fn append(&mut self, range: Range<u64>) -> Result<()> {
        for n in range {
            self.log.append_msg(self.elements.get(n))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.log.flush()?)
    }
}

/// Reads one element of some forty bytes.
pub fn read_one(log: &CommitLog, offset: u64) -> Option<u64> {
    let read = log.read(offset, ReadLimit::max_bytes(100)).ok()?;
    read.iter().next().and_then(|message| taste(message.payload()))
}
