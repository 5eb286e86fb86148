//! Bytes in a file: written at offsets, read from a map.
//!
//! # Invariants
//! - D1 `size` is never more than the size of the file. It grows after the file did, and is cut before the file is.
//! - D2 No map is longer than `size`, and a cut takes the map away first. So no copy meets the end of the file, unless a
//!   foreign program shortens it.
//! - D3 A write lies within `size`: the space was reserved, but where it lay in a large hole, or the system said that it
//!   cannot reserve. A full disk is an error of the reservation or of the write.
//! - D4 `size`, the length of the file and the map are changed under `growing`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::maps::Maps;
use super::{Driver, FileOptions, OpenMode, ReadMode, reserve, sealed};
use crate::chunked::View;
use crate::commit::{Place, Symlink, is_network, sync_data, sync_dir, unlink};
use crate::fs::{File, How, SyncSite};
use crate::{Error, ErrorKind, Result};

/// What is reserved ahead of use if the length is not known: nothing for the first write, which may be the only one; then so
/// much, and twice as much each time.
const STEP_MIN: u64 = 1 << 20;
const STEP_MAX: u64 = 64 << 20;
/// How often an open looks again if the file comes and goes meanwhile.
const TRIES: u32 = 100;

/// Bytes in a file.
#[derive(Debug)]
pub struct FileDriver {
    path: PathBuf,
    place: Place,
    options: FileOptions,
    file: Arc<dyn File>,
    /// Where a file that was opened for reading is made active again.
    writable: OnceLock<Arc<dyn File>>,
    size: AtomicU64,
    growing: Mutex<Growing>,
    maps: Maps,
    /// Whether reads come from the map.
    mapped: AtomicBool,
}

/// How far the file and its map have grown.
#[derive(Debug)]
struct Growing {
    /// What the next reservation takes ahead.
    step: u64,
    /// The length of the map.
    mapped: u64,
}

/// The name that [`FileDriver`] has in other crates.
pub type MmapDriver = FileDriver;

/// Whether the file may exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chunked) enum Existing {
    Open,
    Refuse,
}

impl FileDriver {
    /// Opens or makes the file. Says how long one is that existed.
    pub(in crate::chunked) fn open(
        path: &Path,
        options: FileOptions,
        existing: Existing,
    ) -> Result<(Self, Option<u64>)> {
        if options.len.is_some_and(|len| len > options.max_len) {
            let what = format!("its length is beyond the limit of {} bytes", options.max_len);
            return Err(Error::new(ErrorKind::TooLarge, "open", path, what));
        }
        for _ in 0..TRIES {
            let place = Place::resolve(&*options.fs, "open", path, Symlink::Refuse)?;
            let (how, gone_again) = match (&place.1, options.mode) {
                (Some(_), _) if existing == Existing::Refuse => {
                    let what = "it exists already";
                    return Err(Error::new(ErrorKind::AlreadyExists, "create", path, what));
                }
                (Some(_), OpenMode::ReadWrite) => (How::Write, io::ErrorKind::NotFound),
                (Some(_), _) => (How::Read, io::ErrorKind::NotFound),
                (None, OpenMode::ReadOnly) => {
                    let what = "there is no such file";
                    return Err(Error::new(ErrorKind::NotFound, "open", path, what));
                }
                (None, _) => (How::CreateNew(0o666), io::ErrorKind::AlreadyExists),
            };
            let file = match place.0.dir.open(&place.0.name, how) {
                Ok(file) => file,
                Err(e) if e.kind() == gone_again => continue,
                Err(e) => return Err(Error::system("open", path, e)),
            };
            let existed = place.1.is_some();
            return Self::with(path, place.0, options, file, existed);
        }
        let what = "it comes and goes while it is opened";
        Err(Error::new(ErrorKind::Locked, "open", path, what))
    }

    fn with(
        path: &Path,
        place: Place,
        options: FileOptions,
        file: Arc<dyn File>,
        existed: bool,
    ) -> Result<(Self, Option<u64>)> {
        let fail = |e| Error::system("open", path, e);
        let mapped = match options.read_mode {
            ReadMode::Map => true,
            ReadMode::Pread => false,
            ReadMode::Auto => !is_network(&place.dir.file_system().map_err(fail)?),
        };
        let size = file.stat().map_err(fail)?.len;
        let writable = OnceLock::new();
        if !existed || options.mode == OpenMode::ReadWrite {
            let _first = writable.set(Arc::clone(&file));
        }
        let driver = Self {
            path: path.to_path_buf(),
            place,
            file,
            writable,
            size: AtomicU64::new(size),
            growing: Mutex::new(Growing { step: 0, mapped: 0 }),
            maps: Maps::default(),
            mapped: AtomicBool::new(mapped),
            options,
        };
        if existed {
            return Ok((driver, Some(size)));
        }
        if let Err(e) = driver.grow(0, driver.options.len.unwrap_or(0)) {
            // This call made it, and the next one would take it for a committed file. That it may stay is no other error.
            drop(unlink(&*driver.place.dir, &driver.place.name));
            return Err(e.during("open"));
        }
        Ok((driver, None))
    }

    /// Sees to it that the file has `end` bytes at least, and space for those from `start` on (D3).
    fn grow(&self, start: u64, end: u64) -> Result<()> {
        if end <= self.size.load(Acquire) {
            return Ok(());
        }
        let fail = |e| Error::system("write", &self.path, e).at(end);
        let mut growing = self.growing();
        // Another write was first; or someone above has reserved the space.
        let size = self.handle().stat().map_err(fail)?.len;
        if end > size {
            let ahead = match self.options.len {
                Some(len) => len,
                None => size.saturating_add(growing.step).min(self.options.max_len),
            };
            let target = ahead.max(end);
            // Of a hole that is larger than a step nobody knows whether it will ever be filled.
            let hole = start.saturating_sub(size) > STEP_MAX;
            let from = if hole { start } else { size };
            match self.reserve(from, target) {
                // With less ahead it may do.
                Err(e) if is_full(&e) && target > end => self.reserve(from, end).map_err(fail)?,
                reserved => reserved.map_err(fail)?,
            }
            growing.step = growing.step.saturating_mul(2).clamp(STEP_MIN, STEP_MAX);
        }
        let size = self.handle().stat().map_err(fail)?.len;
        self.size.store(size, Release);
        Ok(())
    }

    fn reserve(&self, from: u64, to: u64) -> io::Result<()> {
        let file = self.handle();
        match file.allocate(from, to.saturating_sub(from)) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => file.set_len(to),
            reserved => reserved,
        }
    }

    /// Maps what the file has by now; afterwards reads come from there, or from the file.
    fn remap(&self, end: u64) {
        let mut growing = self.growing();
        let size = self.size.load(Acquire);
        // Cut meanwhile; or another reader was first.
        if end > size || end <= growing.mapped {
            return;
        }
        let map = usize::try_from(size).map_err(io::Error::other);
        match map.and_then(|size| self.handle().map(size)) {
            Ok(map) if map.is_live() => {
                self.maps.set(Some(map));
                growing.mapped = size;
            }
            _ => self.mapped.store(false, Relaxed),
        }
    }

    fn handle(&self) -> &dyn File {
        &**self.writable.get().unwrap_or(&self.file)
    }

    fn growing(&self) -> MutexGuard<'_, Growing> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for FileDriver {}

impl sealed::Backing for FileDriver {
    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.grow(offset, offset.saturating_add(data.len() as u64))?;
        let written = self.handle().write_at(data, offset);
        written.map_err(|e| Error::system("write", &self.path, e).at(offset))
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if self.mapped.load(Relaxed) {
            if self.maps.copy(offset, buf) {
                return Ok(buf.len());
            }
            self.remap(offset.saturating_add(buf.len() as u64));
            if self.maps.copy(offset, buf) {
                return Ok(buf.len());
            }
        }
        let read = self.handle().read_at(buf, offset);
        read.map_err(|e| Error::system("read", &self.path, e).at(offset))
    }

    fn trim(&self, len: u64) -> Result<()> {
        let fail = |e| Error::system("commit", &self.path, e);
        let mut growing = self.growing();
        if self.handle().stat().map_err(fail)?.len != len {
            // D1, D2: if the cut fails, the next write finds out how long the file is.
            self.size.store(len, Release);
            self.maps.set(None);
            growing.mapped = 0;
            self.handle().set_len(len).map_err(fail)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        sync_data(self.handle(), SyncSite::ResourceFile)
    }

    fn sync_name(&self) -> Result<()> {
        sync_dir(&*self.place.dir, SyncSite::ResourceDir)
    }

    fn reopen(&self) -> Result<u64> {
        let fail = |e| Error::system("reactivate", &self.path, e);
        if self.options.mode == OpenMode::ReadOnly {
            let what = "it was opened for reading";
            return Err(Error::new(ErrorKind::ReadOnly, "reactivate", &self.path, what));
        }
        if self.writable.get().is_none() {
            let file = self.place.dir.open(&self.place.name, How::Write).map_err(fail)?;
            let (new, old) = (file.stat().map_err(fail)?, self.file.stat().map_err(fail)?);
            if !new.same_inode(&old) {
                let what = "another file has its name now; open that one";
                return Err(Error::new(ErrorKind::Stale, "reactivate", &self.path, what));
            }
            let _first = self.writable.set(file);
        }
        let size = self.handle().stat().map_err(fail)?.len;
        self.grow(0, self.options.len.unwrap_or(0))?;
        Ok(size)
    }

    fn view(&self, len: u64) -> Result<View> {
        let fail = |e| Error::system("view", &self.path, e);
        if self.mapped.load(Relaxed) || self.options.read_mode == ReadMode::Map {
            let len = usize::try_from(len).map_err(|e| fail(io::Error::other(e)))?;
            return self.handle().map(len).map(View::map).map_err(fail);
        }
        let mut bytes = Vec::new();
        let Some(count) = reserve(&mut bytes, len) else {
            let what = "there is not enough memory";
            return Err(Error::new(ErrorKind::OverBudget, "view", &self.path, what));
        };
        bytes.resize(count, 0);
        if self.handle().read_at(&mut bytes, 0).map_err(fail)? < count {
            let what = "it is shorter than it was: a foreign program has cut it";
            return Err(Error::new(ErrorKind::Damaged, "view", &self.path, what));
        }
        Ok(View::owned(bytes))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
