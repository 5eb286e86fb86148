//! A directory for the files of a case, removed with all that is in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Result;

static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(base: &Path) -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("untorn-bench.{}.{number}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// A path in it that nobody else has.
    pub fn path(&self, name: &str) -> PathBuf {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.0.join(format!("{name}.{number}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("untorn-bench: {} is left over: {error}", self.0.display());
        }
    }
}

/// The files in a directory, in order of their names.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Bytes of the files in a directory.
pub fn bytes(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for file in files(dir)? {
        // A file may be on its way out.
        sum += fs::metadata(file).map_or(0, |m| m.len());
    }
    Ok(sum)
}

/// Syncs what a contestant left unsynced when it was opened, so that the first commit does not pay for it.
pub fn settle(dir: &Path) -> Result<()> {
    for file in files(dir)? {
        File::open(file)?.sync_all()?;
    }
    File::open(dir)?.sync_all()?;
    Ok(())
}
