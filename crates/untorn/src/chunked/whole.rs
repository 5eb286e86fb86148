//! A file that is only ever written as a whole.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::inner::Factory;
use super::{OpenIntent, ResourceExt, ResourceStatus, StorageResult, WaitOutcome};
use crate::commit::ReplaceOptions;
use crate::{Error, ErrorKind, Result};

/// A resource whose whole content is replaced at once, as [`untorn::replace`](crate::replace) does; read as any resource.
///
/// # Example
/// ```
/// use untorn::chunked::{Atomic, FileResource, ResourceExt};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("index.bin");
/// let index = Atomic::open(path.clone(), |path| FileResource::open(path))?;
/// index.write_all(b"one")?; // durable
/// index.write_all(b"two")?;
/// assert_eq!(std::fs::read(&path)?, b"two");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Atomic<R: ResourceExt> {
    path: PathBuf,
    options: ReplaceOptions,
    factory: Box<Factory<R>>,
    resource: ArcSwap<R>,
}

impl<R: ResourceExt> Atomic<R> {
    /// Opens the file at `path`; it need not exist.
    ///
    /// # Errors
    /// Those of the factory.
    pub fn open<F>(path: PathBuf, factory: F) -> StorageResult<Self>
    where
        F: Fn(&Path) -> StorageResult<R> + Send + Sync + 'static,
    {
        Self::open_with(path, ReplaceOptions::new(), factory)
    }

    /// As [`open`](Self::open), with options for the replacing.
    ///
    /// # Errors
    /// Those of the factory.
    pub fn open_with<F>(path: PathBuf, options: ReplaceOptions, factory: F) -> StorageResult<Self>
    where
        F: Fn(&Path) -> StorageResult<R> + Send + Sync + 'static,
    {
        let resource = ArcSwap::from_pointee(factory(&path)?);
        let factory: Box<Factory<R>> = Box::new(move |path: &Path, _: OpenIntent| factory(path));
        Ok(Self { path, options, factory, resource })
    }

    fn only_whole(&self, operation: &'static str) -> Error {
        let what = "it is only written as a whole, with write_all";
        Error::new(ErrorKind::Unsupported, operation, &self.path, what)
    }
}

impl<R: ResourceExt> ResourceExt for Atomic<R> {
    /// # Errors
    /// Always `Unsupported`: see [`write_all`](Self::write_all).
    fn write_at(&self, offset: u64, _: &[u8]) -> StorageResult<()> {
        Err(self.only_whole("write").at(offset))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> StorageResult<usize> {
        self.resource.load().read_at(offset, buf)
    }

    fn read_into(&self, buf: &mut Vec<u8>) -> StorageResult<usize> {
        self.resource.load().read_into(buf)
    }

    /// Replaces the file.
    ///
    /// # Durability
    /// As [`untorn::replace`](crate::replace): two syncs; the mode of the old file is kept. An error of the factory afterwards has
    /// the outcome `Applied`.
    fn write_all(&self, data: &[u8]) -> StorageResult<()> {
        crate::commit::replace_with(&self.path, data, &self.options)?;
        let opened: Result<R> = (self.factory)(&self.path, OpenIntent::Reopen);
        let resource = opened.map_err(|e| e.with_outcome(crate::Outcome::Applied))?;
        self.resource.store(Arc::new(resource));
        Ok(())
    }

    fn wait_range(&self, range: Range<u64>) -> StorageResult<WaitOutcome> {
        self.resource.load().wait_range(range)
    }

    fn contains_range(&self, range: Range<u64>) -> bool {
        self.resource.load().contains_range(range)
    }

    fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        self.resource.load().next_gap(from, limit)
    }

    /// There is nothing to commit once it was written; before, it is `Incomplete`.
    fn commit(&self, final_len: Option<u64>) -> StorageResult<()> {
        match self.len() {
            Some(len) if final_len.is_none_or(|expected| expected == len) => Ok(()),
            Some(len) => {
                let what = format!("it was written with {len} bytes");
                Err(Error::new(ErrorKind::Precondition, "commit", &self.path, what))
            }
            None => {
                let what = "nothing was written yet";
                Err(Error::new(ErrorKind::Incomplete, "commit", &self.path, what))
            }
        }
    }

    fn fail(&self, reason: String) {
        self.resource.load().fail(reason);
    }

    fn reactivate(&self) -> StorageResult<()> {
        Ok(())
    }

    fn len(&self) -> Option<u64> {
        self.resource.load().len()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn status(&self) -> ResourceStatus {
        self.resource.load().status()
    }
}

impl<R: ResourceExt> fmt::Debug for Atomic<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Atomic").field("path", &self.path).finish_non_exhaustive()
    }
}
