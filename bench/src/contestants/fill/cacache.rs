//! cacache: content under its SHA-256, and an entry of an index. It takes pieces in order only, and never syncs.

use std::io::Write;
use std::path::Path;

use super::{Filler, Job};
use crate::Result;

#[derive(Clone, Copy, Debug)]
pub struct Cacache;

impl Filler for Cacache {
    fn name(&self) -> &'static str {
        "cacache"
    }

    /// `path` is the cache: a directory.
    fn fill(&self, path: &Path, job: &Job) -> Result<()> {
        let options = cacache::WriteOpts::new().size(usize::try_from(job.len)?);
        let mut file = options.open_sync(path, "key")?;
        job.each(|_, piece| Ok(file.write_all(piece)?))?;
        file.commit()?;
        Ok(())
    }
}
