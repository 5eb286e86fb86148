//! okaywal: one chunk in an entry of its own. Its files hold as much as a segment of the log, so that it does not
//! checkpoint more often than the log rolls.

use std::path::Path;

use okaywal::{Configuration, LogVoid, WriteAheadLog};

use super::Contestant;
use crate::Result;

#[derive(Debug)]
pub struct Okaywal(WriteAheadLog);

impl Okaywal {
    pub fn open(path: &Path) -> Result<Self> {
        let configuration = Configuration::default_for(path)
            .preallocate_bytes(16 << 20)
            .checkpoint_after_bytes(15 << 20);
        Ok(Self(configuration.open(LogVoid)?))
    }
}

impl Contestant for Okaywal {
    fn name(&self) -> &'static str {
        "okaywal"
    }

    fn commit(&self, record: &[u8]) -> Result<()> {
        let mut entry = self.0.begin_entry()?;
        entry.write_chunk(record)?;
        entry.commit()?;
        Ok(())
    }
}
