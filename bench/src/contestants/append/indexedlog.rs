//! sapling-indexedlog: a log with checksums, told to sync. It is not read by position, so it only writes here.

use std::ops::Range;
use std::path::Path;

use indexedlog::log::{Log, OpenOptions};

use super::{Appender, Elements};
use crate::Result;

pub struct Indexedlog {
    log: Log,
    elements: Elements,
}

impl Indexedlog {
    pub fn open(path: &Path, elements: &Elements) -> Result<Self> {
        let log = OpenOptions::new().create(true).fsync(true).open(path)?;
        Ok(Self { log, elements: elements.clone() })
    }
}

impl Appender for Indexedlog {
    fn name(&self) -> &'static str {
        "indexedlog"
    }

    fn append(&mut self, range: Range<u64>) -> Result<()> {
        for n in range {
            self.log.append(self.elements.get(n))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.log.sync()?;
        Ok(())
    }
}
