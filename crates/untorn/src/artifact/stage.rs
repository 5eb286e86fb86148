//! A directory that is filled with files, each synced at its end, and published whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::rules;
use crate::commit::{TempDir, sync_file, sync_staged};
use crate::fs::{Dir, File, Fs, How, SyncSite};
use crate::{Error, ErrorKind, Result};

/// Bytes collected before they are written.
const BUFFER: usize = 128 * 1024;

/// The directory, and those that were made in it.
#[derive(Debug)]
pub(crate) struct Stage {
    operation: &'static str,
    temp: TempDir,
    dirs: BTreeMap<PathBuf, Arc<dyn Dir>>,
    /// A file was begun and not finished: what is there is not whole.
    broken: bool,
}

impl Stage {
    /// Begins what is to become `dest`.
    pub(super) fn begin(fs: &dyn Fs, operation: &'static str, dest: &Path) -> Result<Self> {
        let temp = TempDir::begin(fs, operation, dest)?;
        Ok(Self { operation, temp, dirs: BTreeMap::new(), broken: false })
    }

    /// Where it is until it is published: a store may open it there. What the store writes it must sync itself.
    pub(crate) fn path(&self) -> PathBuf {
        self.temp.path()
    }

    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// A new file, with mode 0600, in a directory that is made if it is missing.
    pub(super) fn create(&mut self, path: &Path) -> Result<Filling<'_>> {
        let fail = |e| Error::system("create", path, e);
        let dir = self.sub_dir(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or_default();
        let file = dir.open(name, How::CreateNew(0o600)).map_err(fail)?;
        self.broken = true;
        let (hasher, buffer) = (blake3::Hasher::new(), Vec::new());
        Ok(Filling { file, broken: &mut self.broken, hasher, written: 0, buffer })
    }

    fn sub_dir(&mut self, path: &Path) -> Result<Arc<dyn Dir>> {
        if path.as_os_str().is_empty() {
            return Ok(Arc::clone(self.temp.dir()));
        }
        if let Some(dir) = self.dirs.get(path) {
            return Ok(Arc::clone(dir));
        }
        let above = self.sub_dir(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or_default();
        let made = above.make_dir(name, 0o700).and_then(|()| above.open_dir(name));
        let dir = made.map_err(|e| Error::system("make directory", path, e))?;
        self.dirs.insert(path.to_path_buf(), Arc::clone(&dir));
        Ok(dir)
    }

    /// Syncs every directory that was made, and gives the whole its name.
    ///
    /// On an error nothing is at the destination, unless the outcome is `Unknown`.
    pub(crate) fn publish(self) -> Result<()> {
        if self.broken {
            let what = "a file in it was begun and not finished";
            let path = self.temp.path();
            return Err(Error::new(ErrorKind::Incomplete, self.operation, &path, what));
        }
        self.dirs.values().try_for_each(|dir| sync_staged(&**dir))?;
        self.temp.publish(self.operation)
    }
}

/// A file of a stage while it is written. It counts only once it is [finished](Self::finish).
#[derive(Debug)]
pub(crate) struct Filling<'a> {
    file: Arc<dyn File>,
    broken: &'a mut bool,
    hasher: blake3::Hasher,
    written: u64,
    buffer: Vec<u8>,
}

impl Filling<'_> {
    /// Writes what is buffered and syncs the file; its length and its BLAKE3.
    pub(super) fn finish(mut self) -> Result<(u64, String)> {
        self.write_out()?;
        sync_file(&*self.file, SyncSite::ArtifactFile)?;
        *self.broken = false;
        Ok((self.written, rules::hex(self.hasher.finalize().as_bytes())))
    }

    /// Writes past the buffer.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_out()?;
        self.write_through(bytes)
    }

    fn write_out(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.write_through(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        written
    }

    fn write_through(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file
            .write_at(bytes, self.written)
            .map_err(|e| Error::system("write", self.file.path(), e).at(self.written))?;
        self.hasher.update(bytes);
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

impl io::Write for Filling<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len().saturating_add(bytes.len()) > BUFFER {
            self.write_out()?;
        }
        if bytes.len() >= BUFFER {
            self.write_through(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.write_out()?)
    }
}
