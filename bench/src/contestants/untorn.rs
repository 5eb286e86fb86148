//! untorn's log, with its defaults.

use std::path::Path;

use untorn::log::{Log, LogOptions};

use super::Contestant;
use crate::Result;

#[derive(Debug)]
pub struct Untorn(pub Log);

impl Untorn {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(Log::open(path, LogOptions::new())?.0))
    }
}

impl Contestant for Untorn {
    fn name(&self) -> &'static str {
        "untorn"
    }

    fn commit(&self, record: &[u8]) -> Result<()> {
        self.0.append_synced(record)?;
        Ok(())
    }
}
