//! The limit: the system calls that do the same work, and nothing beside them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::{Filler, Job};
use crate::Result;

/// Writes, syncs, renames, syncs the directory.
#[derive(Clone, Copy, Debug)]
pub enum Raw {
    Plain,
    /// Reserves the space first.
    Reserved,
    /// And takes a CRC-32 of every piece.
    Checked,
}

impl Filler for Raw {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain => "raw",
            Self::Reserved => "raw + fallocate",
            Self::Checked => "raw + fallocate + CRC",
        }
    }

    fn fill(&self, path: &Path, job: &Job) -> Result<()> {
        let (new, file) = begin(path)?;
        if !matches!(self, Self::Plain) {
            fallocate(&file, FallocateFlags::empty(), 0, job.len)?;
        }
        let mut sum = 0;
        job.each(|offset, piece| {
            if matches!(self, Self::Checked) {
                sum ^= crc32fast::hash(piece);
            }
            Ok(file.write_all_at(piece, offset)?)
        })?;
        std::hint::black_box(sum);
        file.sync_data()?;
        finish(&new, path)?;
        Ok(File::open(parent(path)?)?.sync_all()?)
    }
}

/// A file beside `path`, which is to get that name.
pub fn begin(path: &Path) -> Result<(PathBuf, File)> {
    let new = path.with_extension("new");
    let file = File::options().write(true).create_new(true).open(&new)?;
    Ok((new, file))
}

/// Gives it the name.
pub fn finish(new: &Path, path: &Path) -> Result<()> {
    Ok(fs::rename(new, path)?)
}

fn parent(path: &Path) -> Result<&Path> {
    Ok(path.parent().ok_or("a file without a directory")?)
}
