//! One type for files and memory.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    AtomicChunked, FileResource, MemResource, ResourceExt, ResourceStatus, StorageResult,
    WaitOutcome,
};

/// A resource in a file or in memory. Clones are the same resource.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "callers tell the two apart")]
pub enum StorageResource {
    /// In a file.
    File(Arc<AtomicChunked<FileResource>>),
    /// In memory.
    Mem(Arc<AtomicChunked<MemResource>>),
}

impl From<AtomicChunked<FileResource>> for StorageResource {
    fn from(file: AtomicChunked<FileResource>) -> Self {
        Self::File(Arc::new(file))
    }
}

impl From<FileResource> for StorageResource {
    /// The file as it is: no part, no rename.
    fn from(file: FileResource) -> Self {
        let path = file.path().map_or_else(PathBuf::new, Path::to_path_buf);
        Self::File(Arc::new(AtomicChunked::passthrough(file, path)))
    }
}

impl From<MemResource> for StorageResource {
    fn from(memory: MemResource) -> Self {
        Self::Mem(Arc::new(AtomicChunked::passthrough(memory, PathBuf::from("memory"))))
    }
}

/// The same call on whichever it is.
macro_rules! on {
    ($self:ident, $resource:ident => $call:expr) => {
        match $self {
            Self::File($resource) => $call,
            Self::Mem($resource) => $call,
        }
    };
}

impl ResourceExt for StorageResource {
    fn write_at(&self, offset: u64, data: &[u8]) -> StorageResult<()> {
        on!(self, resource => resource.write_at(offset, data))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> StorageResult<usize> {
        on!(self, resource => resource.read_at(offset, buf))
    }

    fn read_into(&self, buf: &mut Vec<u8>) -> StorageResult<usize> {
        on!(self, resource => resource.read_into(buf))
    }

    fn write_all(&self, data: &[u8]) -> StorageResult<()> {
        on!(self, resource => resource.write_all(data))
    }

    fn wait_range(&self, range: Range<u64>) -> StorageResult<WaitOutcome> {
        on!(self, resource => resource.wait_range(range))
    }

    fn contains_range(&self, range: Range<u64>) -> bool {
        on!(self, resource => resource.contains_range(range))
    }

    fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        on!(self, resource => resource.next_gap(from, limit))
    }

    fn commit(&self, final_len: Option<u64>) -> StorageResult<()> {
        on!(self, resource => resource.commit(final_len))
    }

    fn fail(&self, reason: String) {
        on!(self, resource => resource.fail(reason));
    }

    fn reactivate(&self) -> StorageResult<()> {
        on!(self, resource => resource.reactivate())
    }

    fn len(&self) -> Option<u64> {
        on!(self, resource => resource.len())
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::File(file) => file.path(),
            Self::Mem(_) => None,
        }
    }

    fn status(&self) -> ResourceStatus {
        on!(self, resource => resource.status())
    }

    fn sync(&self) -> StorageResult<()> {
        on!(self, resource => resource.sync())
    }
}
