//! Read-only handles for other threads.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::inner::Inner;
use super::presence::Until;
use super::{Cancel, ChunkCursor, ResourceExt, ResourceStatus, StorageResult, View, WaitOutcome};

/// Reads a file while it fills, and after. Cheap to clone.
///
/// When the [`AtomicChunked`](super::AtomicChunked) that it came from goes away without a commit, its calls answer `Failed`.
pub struct ChunkReader<R: ResourceExt> {
    inner: Arc<Inner<R>>,
}

impl<R: ResourceExt> ChunkReader<R> {
    pub(super) const fn new(inner: Arc<Inner<R>>) -> Self {
        Self { inner }
    }

    /// As [`ResourceExt::read_at`].
    ///
    /// # Errors
    /// As [`ResourceExt::read_at`].
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> StorageResult<usize> {
        self.inner.read(offset, buf)
    }

    /// Reads what is there from `offset` on, up to the first gap; 0 if the first byte is missing.
    ///
    /// # Errors
    /// `Failed`, `Cancelled`, `Poisoned`; the system's.
    pub fn read_available(&self, offset: u64, buf: &mut [u8]) -> StorageResult<usize> {
        self.inner.read_available(offset, buf)
    }

    /// As [`ResourceExt::read_into`].
    ///
    /// # Errors
    /// As [`ResourceExt::read_into`].
    pub fn read_into(&self, buf: &mut Vec<u8>) -> StorageResult<usize> {
        self.inner.read_into(buf)
    }

    /// As [`ResourceExt::wait_range`].
    ///
    /// # Errors
    /// As [`ResourceExt::wait_range`].
    pub fn wait_range(&self, range: Range<u64>) -> StorageResult<WaitOutcome> {
        self.inner.presence.wait(&range, Until::Ever)
    }

    /// As [`wait_range`](Self::wait_range), for so long at most: then it is `Interrupted`.
    ///
    /// # Errors
    /// As [`wait_range`](Self::wait_range).
    pub fn wait_range_timeout(
        &self,
        range: Range<u64>,
        timeout: Duration,
    ) -> StorageResult<WaitOutcome> {
        self.inner.presence.wait(&range, Until::For(timeout))
    }

    /// As [`wait_range`](Self::wait_range), until `cancel` is: then it is `Interrupted`.
    ///
    /// # Errors
    /// As [`wait_range`](Self::wait_range).
    pub fn wait_range_cancel(
        &self,
        range: Range<u64>,
        cancel: &Cancel,
    ) -> StorageResult<WaitOutcome> {
        self.inner.presence.wait(&range, Until::Cancelled(cancel))
    }

    /// Whether all bytes of `range` are available.
    pub fn contains_range(&self, range: Range<u64>) -> bool {
        self.inner.presence.contains(&range)
    }

    /// The committed length; `None` while it fills.
    #[expect(
        clippy::len_without_is_empty,
        reason = "as the trait, whose is_empty asks another question"
    )]
    pub fn len(&self) -> Option<u64> {
        self.inner.presence.len()
    }

    /// The length that the file will have, if that is known.
    pub fn expected_len(&self) -> Option<u64> {
        self.inner.presence.expected_len()
    }

    /// What state it is in.
    pub fn status(&self) -> ResourceStatus {
        self.inner.presence.status()
    }

    /// The committed bytes as a slice. As [`AtomicChunked::view`](super::AtomicChunked::view).
    ///
    /// # Errors
    /// As [`AtomicChunked::view`](super::AtomicChunked::view).
    pub fn view(&self) -> StorageResult<View> {
        self.inner.view()
    }

    /// Reads in order, and waits where bytes are missing.
    pub fn cursor(&self) -> ChunkCursor<'_> {
        ChunkCursor::new(&*self.inner)
    }

    /// The target, as it was given.
    pub fn canonical_path(&self) -> &Path {
        &self.inner.canonical
    }
}

impl<R: ResourceExt> Clone for ChunkReader<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R: ResourceExt> fmt::Debug for ChunkReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkReader")
            .field("canonical", &self.inner.canonical)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
