//! What is being filled, read in order: it waits where bytes are missing.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::time::Duration;

use super::WaitOutcome;
use crate::{Error, ErrorKind, Result};

/// What is waited for at once: a reader with a large buffer goes on with what comes first.
const WAIT_BYTES: u64 = 64 << 10;

/// What a cursor reads.
pub(super) trait Filling {
    /// Reads what is there, up to the first gap.
    fn read_available(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Waits until all of the range is there, for ever or for so long.
    fn wait(&self, range: Range<u64>, time: Option<Duration>) -> Result<WaitOutcome>;

    /// The length, if it is known.
    fn known_len(&self) -> Option<u64>;
}

/// Reads in order, and waits where bytes are missing. From `Resource::cursor`.
///
/// A read yields what is there. Only if there is nothing, it waits: for what fits into its buffer, 64 KiB at most.
///
/// ```
/// use std::io::Read as _;
/// use untorn::chunked::{MemResource, ResourceExt as _};
/// let memory = MemResource::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         memory.write_at(6, b"world")?;
///         memory.write_at(0, b"hello ")?;
///         memory.commit(None)
///     });
///     let mut text = String::new();
///     memory.cursor().read_to_string(&mut text)?;
///     assert_eq!(text, "hello world");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ChunkCursor<'a> {
    source: &'a dyn Filling,
    at: u64,
    timeout: Option<Duration>,
}

impl<'a> ChunkCursor<'a> {
    pub(super) fn new(source: &'a dyn Filling) -> Self {
        Self { source, at: 0, timeout: None }
    }

    /// Has each read wait for so long at most; then it fails with [`io::ErrorKind::TimedOut`], and may be repeated.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Where the next read begins.
    pub fn position(&self) -> u64 {
        self.at
    }
}

impl Read for ChunkCursor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // No file has a byte at the largest number.
        if buf.is_empty() || self.at == u64::MAX {
            return Ok(0);
        }
        let mut waited = None;
        loop {
            let count = self.source.read_available(self.at, buf)?;
            if count != 0 || waited == Some(WaitOutcome::Eof) {
                self.at = self.at.saturating_add(count as u64);
                return Ok(count);
            }
            if waited == Some(WaitOutcome::Interrupted) {
                let what = "the bytes did not come in time";
                return Err(Error::of_caller(ErrorKind::TimedOut, "read", what).at(self.at).into());
            }
            let end = self.at.saturating_add(WAIT_BYTES.min(buf.len() as u64));
            waited = Some(self.source.wait(self.at..end, self.timeout)?);
        }
    }
}

/// Where a seek from `at` leads.
pub(crate) fn sought(
    at: u64,
    to: SeekFrom,
    known_len: impl FnOnce() -> Option<u64>,
) -> Result<u64> {
    let at = match to {
        SeekFrom::Start(at) => Some(at),
        SeekFrom::Current(by) => at.checked_add_signed(by),
        SeekFrom::End(by) => {
            let Some(len) = known_len() else {
                let what = "its length is not known yet";
                return Err(Error::of_caller(ErrorKind::Unsupported, "seek", what));
            };
            len.checked_add_signed(by)
        }
    };
    at.ok_or_else(|| {
        let what = "before the start, or beyond all numbers";
        Error::of_caller(ErrorKind::InvalidInput, "seek", what)
    })
}

impl Seek for ChunkCursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = sought(self.at, to, || self.source.known_len())?;
        self.at = at;
        Ok(at)
    }
}

impl fmt::Debug for ChunkCursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkCursor").field("at", &self.at).finish_non_exhaustive()
    }
}
