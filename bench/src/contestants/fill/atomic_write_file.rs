//! atomic-write-file: an anonymous file that is synced, linked and renamed.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Filler, Job};
use crate::Result;

#[derive(Clone, Copy, Debug)]
pub struct AtomicWriteFile;

impl Filler for AtomicWriteFile {
    fn name(&self) -> &'static str {
        "atomic-write-file"
    }

    fn fill(&self, path: &Path, job: &Job) -> Result<()> {
        let file = atomic_write_file::AtomicWriteFile::open(path)?;
        job.each(|offset, piece| Ok(file.as_file().write_all_at(piece, offset)?))?;
        Ok(file.commit()?)
    }
}
