//! A file, or memory, that is filled in pieces: the plain form, under its own name from the start.
//!
//! # Invariants
//! - E1 `presence` says what may be read and whether may be written; the driver does as it is told.
//! - E2 As long as a view is a map, nothing is written to the file: a resource is made active again only when there is none,
//!   and a view is made only of a committed one, both under `views`.
//! - E3 A failed sync poisons. A commit that fails before its sync leaves it active.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::cursor::{ChunkCursor, Filling};
use super::driver::{self, Driver, FileDriver, FileOptions, MemDriver, OpenMode};
use super::presence::{Freeze, Presence, Until};
use super::view::{Bytes, View};
use super::{Cancel, ResourceExt, ResourceStatus, WaitOutcome};
use crate::fs::OsFs;
use crate::{Error, ErrorKind, Result};

/// Bytes that become available in any order, in a file or in memory, read while they come.
///
/// This is the plain form: it knows what is available as long as it lives, and a file stands under its own name from the
/// start. `AtomicChunked` puts claim, resume and atomic publication on top of it.
///
/// # Concurrency
/// Any number of threads write, read and wait at once. Where two writes overlap at the same time, either may win, byte for
/// byte. It does not exclude other processes.
pub struct Resource<D: Driver> {
    presence: Presence,
    driver: D,
    /// The last view that was made.
    views: Mutex<Weak<Bytes>>,
}

/// A file that is filled in pieces, under its own name from the start.
///
/// A file that exists counts as committed, also an empty one: nothing on disk says which bytes of a plain file are valid.
/// So one that is not finished must not be opened by its name again; who wants to resume, or others to see only whole
/// files, uses `AtomicChunked`.
///
/// # Limits
/// One of unknown length has 1 TiB at most, see [`FileOptions::max_len`].
///
/// # Example
/// ```
/// use untorn::ErrorKind;
/// use untorn::chunked::{FileResource, ResourceExt as _};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("model.gguf");
/// let file = FileResource::create(&path, 11)?;
/// file.write_at(6, b"world")?;
/// let missing = file.commit(None).unwrap_err();
/// assert_eq!((missing.kind(), missing.gap()), (ErrorKind::Incomplete, Some(0..6)));
/// file.write_at(0, b"hello ")?;
/// file.commit(None)?;
/// assert_eq!(&file.view()?[..], b"hello world");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type FileResource = Resource<FileDriver>;

/// The name that [`FileResource`] has in other crates.
pub type MmapResource = FileResource;

/// Memory that is filled in pieces.
///
/// It takes as much memory as its last byte needs; what is between is zero, and not available.
///
/// # Example
/// ```
/// use untorn::chunked::{MemResource, ResourceExt as _, WaitOutcome};
/// let memory = MemResource::new();
/// std::thread::scope(|scope| {
///     let reader = scope.spawn(|| memory.wait_range(0..5));
///     memory.write_at(0, b"hello")?;
///     assert_eq!(reader.join().expect("it does not panic")?, WaitOutcome::Ready);
///     memory.commit(None)
/// })?;
/// assert_eq!(memory.len(), Some(5));
/// # Ok::<(), untorn::Error>(())
/// ```
pub type MemResource = Resource<MemDriver>;

impl FileResource {
    /// Opens the file at `path`, or makes it to be filled, see [`FileResource`].
    ///
    /// # Durability
    /// Nothing is durable before [`commit`](ResourceExt::commit).
    ///
    /// # Errors
    /// `Precondition` if it is a symbolic link or no file; the system's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, FileOptions::new())
    }

    /// As [`open`](Self::open), in a mode.
    ///
    /// # Errors
    /// As [`open`](Self::open); `NotFound` if it does not exist and is opened for reading.
    pub fn open_mode(path: impl AsRef<Path>, mode: OpenMode) -> Result<Self> {
        Self::open_with(path, FileOptions::new().mode(mode))
    }

    /// Makes a file of `len` bytes to be filled, and reserves the space.
    ///
    /// # Errors
    /// `AlreadyExists`; `NoSpace`, and no file is left; as [`open`](Self::open).
    pub fn create(path: impl AsRef<Path>, len: u64) -> Result<Self> {
        let options = FileOptions::new().len(len).max_len(len);
        Self::begin(path.as_ref(), options, driver::Existing::Refuse)
    }

    /// As [`open`](Self::open), with options. With a length the space for all of it is reserved.
    ///
    /// # Errors
    /// As [`open_mode`](Self::open_mode); `TooLarge` if the length is beyond the limit; `NoSpace`, and no file is left.
    pub fn open_with(path: impl AsRef<Path>, options: FileOptions) -> Result<Self> {
        Self::begin(path.as_ref(), options, driver::Existing::Open)
    }

    fn begin(path: &Path, options: FileOptions, existing: driver::Existing) -> Result<Self> {
        let (len, max_len, fs) = (options.len, options.max_len, Arc::clone(&options.fs));
        let (driver, committed) = FileDriver::open(path, options, existing)?;
        let max_len = max_len.max(committed.unwrap_or(0));
        let presence = Presence::new(path.to_path_buf(), max_len, len, fs);
        Ok(Self::of(driver, presence, committed))
    }
}

impl MemResource {
    /// Empty memory, of 1 TiB at most.
    pub fn new() -> Self {
        Self::with_max(1 << 40)
    }

    /// Empty memory of `max_len` bytes at most: a write beyond is `TooLarge`.
    pub fn with_max(max_len: u64) -> Self {
        Self::of(MemDriver::default(), memory(max_len), None)
    }

    /// Memory that is committed with these bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self::of(MemDriver::new(bytes), memory(len.max(1 << 40)), Some(len))
    }
}

impl Default for MemResource {
    fn default() -> Self {
        Self::new()
    }
}

fn memory(max_len: u64) -> Presence {
    Presence::new(PathBuf::from(driver::MEMORY), max_len, None, Arc::new(OsFs::new()))
}

impl<D: Driver> Resource<D> {
    fn of(driver: D, presence: Presence, committed: Option<u64>) -> Self {
        let presence = match committed {
            Some(len) => presence.committed(len),
            None => presence,
        };
        Self { presence, driver, views: Mutex::default() }
    }

    /// All bytes of a committed resource, in one piece.
    ///
    /// # Cost
    /// A map; a copy of memory, and of a file where reads come from no map.
    ///
    /// # Errors
    /// `Incomplete` while it is active; `OverBudget` if there is not enough memory; the system's.
    pub fn view(&self) -> Result<View> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        self.presence.refuse("view")?;
        let Some(len) = self.presence.len() else {
            let gap = self.first_gap();
            return Err(self.presence.incomplete("view", gap));
        };
        if let Some(bytes) = views.upgrade() {
            return Ok(View(bytes));
        }
        let view = self.driver.view(len)?;
        *views = Arc::downgrade(&view.0);
        Ok(view)
    }

    /// As [`wait_range`](ResourceExt::wait_range), for about `time` at most: then `Interrupted`.
    ///
    /// # Errors
    /// As [`wait_range`](ResourceExt::wait_range).
    pub fn wait_range_timeout(&self, range: Range<u64>, time: Duration) -> Result<WaitOutcome> {
        self.presence.wait(&range, Until::For(time))
    }

    /// As [`wait_range`](ResourceExt::wait_range), until it is cancelled: then `Interrupted`.
    ///
    /// # Errors
    /// As [`wait_range`](ResourceExt::wait_range).
    pub fn wait_range_cancel(&self, range: Range<u64>, cancel: &Cancel) -> Result<WaitOutcome> {
        self.presence.wait(&range, Until::Cancelled(cancel))
    }

    /// Reads what is there from `offset` on, up to the first gap; 0 bytes at a gap and at the end.
    ///
    /// # Errors
    /// `Failed`, `Poisoned`; the system's.
    pub fn read_available(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.read(offset, buf, |offset, len| self.presence.readable_prefix(offset, len))
    }

    /// Reads it in order, and waits where bytes are missing.
    pub fn cursor(&self) -> ChunkCursor<'_> {
        ChunkCursor::new(self)
    }

    /// The available ranges, in order, none touching the next.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        self.presence.ranges()
    }

    /// The length that it will have, if it is known.
    pub fn expected_len(&self) -> Option<u64> {
        self.presence.expected_len()
    }

    /// What the one who has waited longest misses next, cut to `max` bytes: what to fetch first.
    pub fn wanted(&self, max: u64) -> Option<Range<u64>> {
        self.presence.wanted(max)
    }

    fn read(
        &self,
        offset: u64,
        buf: &mut [u8],
        count: impl Fn(u64, usize) -> Result<usize>,
    ) -> Result<usize> {
        let mut before = None;
        loop {
            let count = count(offset, buf.len())?;
            let buf = buf.get_mut(..count).unwrap_or_default();
            if self.driver.read(offset, buf)? == count {
                return Ok(count);
            }
            // A commit has cut it since; the answer is another one now.
            if before.replace(count) == Some(count) {
                let what = "it is shorter than it was: a foreign program has cut it";
                let path = self.presence.path();
                return Err(Error::new(ErrorKind::Damaged, "read", path, what).at(offset));
            }
        }
    }

    /// The first gap of one that is not committed.
    fn first_gap(&self) -> Range<u64> {
        let max = self.presence.max_len();
        self.presence.next_gap(0, max).unwrap_or(max..max)
    }

    /// The length that a commit gives it. Nobody writes.
    fn length(&self, final_len: Option<u64>) -> Result<u64> {
        match (self.presence.expected_len(), final_len) {
            (Some(expected), Some(len)) if expected != len => Err(self.other_len(expected, len)),
            (Some(len), _) | (None, Some(len)) => Ok(len),
            (None, None) => Ok(self.presence.coverage().end()),
        }
    }

    fn other_len(&self, is: u64, wanted: u64) -> Error {
        let what = format!("it has {is} bytes, not {wanted}");
        Error::new(ErrorKind::Precondition, "commit", self.presence.path(), what)
    }

    /// Poisons it with a failed sync (E3).
    fn poison(&self, cause: Error) -> Error {
        let cause = Arc::new(cause);
        self.presence.poison(Arc::clone(&cause));
        Error::share(&cause)
    }

    /// Makes it active with these bytes, if no view is a map of it (E2).
    fn activate(&self, available: impl FnOnce() -> Vec<Range<u64>>) -> Result<()> {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        // From here on nobody else makes it active, so that no commit can begin unless it is.
        self.presence.settle();
        self.presence.refuse_end("reactivate")?;
        if views.upgrade().is_some_and(|bytes| matches!(*bytes, Bytes::Map(_))) {
            let what = "there is a view of it, whose bytes must not change; drop it first";
            let path = self.presence.path();
            return Err(Error::new(ErrorKind::Precondition, "reactivate", path, what));
        }
        let size = self.driver.reopen()?;
        let available = available();
        if let Some(range) = available.iter().find(|range| range.end > size) {
            let what = format!("it has {size} bytes, not all of {}..{}", range.start, range.end);
            let path = self.presence.path();
            return Err(Error::new(ErrorKind::Precondition, "restore", path, what));
        }
        let expected = self.presence.expected_len();
        // One that was committed with another length than it was opened for has that length no more.
        let expected = expected.filter(|len| available.iter().all(|range| range.end <= *len));
        self.presence.reactivate(&available, expected)
    }
}

impl<D: Driver> ResourceExt for Resource<D> {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let writing = self.presence.begin_write()?;
        let range = self.presence.check_bounds(offset, data.len())?;
        self.driver.write(offset, data)?;
        writing.wrote(&range);
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.read(offset, buf, |offset, len| self.presence.check_read(offset, len))
    }

    fn read_into(&self, buf: &mut Vec<u8>) -> Result<usize> {
        self.presence.refuse("read")?;
        let Some(len) = self.presence.len().or_else(|| self.presence.expected_len()) else {
            return Err(self.presence.incomplete("read", self.first_gap()));
        };
        // Before memory is taken for it: all of it must be there.
        if let Some(gap) = self.presence.next_gap(0, len) {
            return Err(self.presence.incomplete("read", gap));
        }
        let before = buf.len();
        let Some(count) = driver::reserve(buf, len) else {
            let what = format!("there is not enough memory for {len} bytes");
            return Err(Error::new(ErrorKind::OverBudget, "read", self.presence.path(), what));
        };
        buf.resize(before.saturating_add(count), 0);
        let read = self.read_at(0, buf.get_mut(before..).unwrap_or_default());
        buf.truncate(before.saturating_add(*read.as_ref().unwrap_or(&0)));
        read
    }

    fn write_all(&self, data: &[u8]) -> Result<()> {
        let len = data.len() as u64;
        if let Some(expected) = self.presence.expected_len().filter(|expected| *expected != len) {
            return Err(self.other_len(expected, len));
        }
        self.write_at(0, data)?;
        self.commit(Some(len))
    }

    fn wait_range(&self, range: Range<u64>) -> Result<WaitOutcome> {
        self.presence.wait(&range, Until::Ever)
    }

    fn contains_range(&self, range: Range<u64>) -> bool {
        self.presence.contains(&range)
    }

    fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        self.presence.next_gap(from, limit)
    }

    /// Commits it: the content is durable then, and the name.
    ///
    /// Without a length it is the expected one, or the end of the last byte that was written. What is behind `final_len`
    /// is cut off. One that is committed with this length already: nothing is done.
    ///
    /// # Durability
    /// **On `Ok`** the content and the name are durable. **On `Err`** of a sync it is poisoned, and what the disk holds is
    /// not known; on any other it is active, and only what is behind `final_len` may be gone. **If the process dies** or
    /// **power fails** before, the file holds any part of what was written.
    ///
    /// # Cost
    /// A file: two syncs, of the file and of its directory. It blocks for them, and for writes in flight.
    ///
    /// # Errors
    /// `Incomplete` with [`Error::gap`] if bytes are missing; `Precondition` if its length is known to be another; `Failed`,
    /// `Poisoned`; the system's.
    fn commit(&self, final_len: Option<u64>) -> Result<()> {
        let frozen = match self.presence.freeze()? {
            Freeze::Frozen(frozen) => frozen,
            Freeze::Committed(len) => {
                let same = final_len.is_none_or(|wanted| wanted == len);
                return if same {
                    Ok(())
                } else {
                    Err(self.other_len(len, final_len.unwrap_or(0)))
                };
            }
        };
        let len = self.length(final_len)?;
        let coverage = self.presence.coverage();
        if let Some(gap) = coverage.next_gap(0, len) {
            return Err(self.presence.incomplete("commit", gap));
        }
        self.trim(len)?;
        let synced = self.driver.sync_data().and_then(|()| self.driver.sync_name());
        synced.map_err(|e| self.poison(e))?;
        frozen.commit(len)
    }

    fn fail(&self, reason: String) {
        self.presence.fail(reason);
    }

    /// Makes it active again, with the bytes it has; an active one stays as it is. The file itself is written to then.
    ///
    /// # Errors
    /// `Precondition` while a view is a map of it; `ReadOnly` if it was opened so; `Stale` if another file has its name now;
    /// `Poisoned`; the system's.
    fn reactivate(&self) -> Result<()> {
        self.presence.settle();
        if self.presence.is_active() {
            return Ok(());
        }
        self.activate(|| self.presence.ranges())
    }

    fn len(&self) -> Option<u64> {
        self.presence.len()
    }

    fn path(&self) -> Option<&Path> {
        self.driver.path()
    }

    fn status(&self) -> ResourceStatus {
        self.presence.status()
    }

    /// Makes it active with exactly these bytes; that they are what they should be is the caller's word.
    ///
    /// # Errors
    /// `Precondition` if it has fewer bytes than these; as [`reactivate`](Self::reactivate).
    fn restore(&self, available: &[Range<u64>]) -> Result<()> {
        self.activate(|| available.to_vec())
    }

    fn trim(&self, len: u64) -> Result<()> {
        let coverage = self.presence.coverage();
        let end = coverage.end();
        if len < end {
            coverage.remove(&(len..end));
        }
        self.driver.trim(len)
    }

    /// Makes the bytes of a file durable as they are now; not its name.
    ///
    /// # Cost
    /// One sync.
    ///
    /// # Errors
    /// `Poisoned`; the system's, and then it is poisoned.
    fn sync(&self) -> Result<()> {
        self.presence.refuse_end("sync")?;
        self.driver.sync_data().map_err(|e| self.poison(e))
    }
}

impl<D: Driver> Filling for Resource<D> {
    fn read_available(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Self::read_available(self, offset, buf)
    }

    fn wait(&self, range: Range<u64>, time: Option<Duration>) -> Result<WaitOutcome> {
        self.presence.wait(&range, time.map_or(Until::Ever, Until::For))
    }

    fn known_len(&self) -> Option<u64> {
        self.presence.len().or_else(|| self.presence.expected_len())
    }
}

impl<D: Driver> fmt::Debug for Resource<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("path", &self.presence.path())
            .field("status", &self.presence.status())
            .finish_non_exhaustive()
    }
}
