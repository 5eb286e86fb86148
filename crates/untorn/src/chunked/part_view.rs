//! Looks at a file that another process fills: no lock, no write, nobody is held up.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::{checksum, map_options};
use super::format::{Extent, Meta, Parsed};
use super::options::ChunkedOptions;
use super::part::{DATA, MAP, open_part, part_name, read_meta, refuse_foreign};
use super::trust::{Bounds, Trust};
use super::{Identity, StorageResult, WaitOutcome};
use crate::commit::{Holder, Place, holder_in};
use crate::fs::{Dir, File, Fs, How};
use crate::log::{Log, read_state};
use crate::{Error, ErrorKind, Result};

/// How long a wait sleeps between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a look is taken again if the owner changed the part meanwhile.
const LOOKS: u32 = 16;

/// What the last look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartState {
    /// Neither a file nor a part of it is there.
    Missing,
    /// It fills, or waits to be gone on with.
    Filling,
    /// The file is there, and no part beside it.
    Committed {
        /// Its length.
        len: u64,
    },
}

/// A read-only look at a file and its part, from any process.
///
/// Only trusted bytes are shown: what a writer has not made durable yet is not there. Goes over to the final file when it is
/// committed.
pub struct PartView {
    canonical: PathBuf,
    fs: Arc<dyn Fs>,
    max_len: u64,
    to: Place,
    seen: Seen,
}

/// One consistent look.
enum Seen {
    Missing,
    Filling(Box<Filling>),
    Committed { file: Arc<dyn File>, len: u64 },
}

struct Filling {
    dir: Arc<dyn Dir>,
    meta: Option<Meta>,
    data: Option<Arc<dyn File>>,
    extents: Vec<Extent>,
    /// Of which part, and the last record of its map: if they are others later, bytes that were read may be others too.
    at: ([u8; 16], u64),
}

/// What a verification of a part found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartReport {
    /// Bytes that are trusted.
    pub trusted: u64,
    /// The trusted ranges whose bytes have another checksum.
    pub damaged: Vec<Range<u64>>,
}

impl PartView {
    /// Looks at the file `canonical` and its part.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(canonical: impl Into<PathBuf>) -> StorageResult<Self> {
        Self::open_with(canonical, &ChunkedOptions::new())
    }

    /// As [`open`](Self::open); of the options `fs`, `symlink` and `max_len` count.
    ///
    /// # Errors
    /// `NotFound` if the directory is missing; `NotOurs`, `NewerFormat`; `Damaged` if the list of trusted ranges is; the system's.
    pub fn open_with(
        canonical: impl Into<PathBuf>,
        options: &ChunkedOptions,
    ) -> StorageResult<Self> {
        let canonical = canonical.into();
        let fs = Arc::clone(&options.fs);
        let (to, _) = Place::resolve(&*fs, "open", &canonical, options.symlink)?;
        let max_len = options.max_len;
        let mut view = Self { canonical, fs, max_len, to, seen: Seen::Missing };
        view.refresh()?;
        Ok(view)
    }

    /// Looks again.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn refresh(&mut self) -> StorageResult<()> {
        let mut looks = 0_u32;
        self.seen = loop {
            match self.look() {
                Ok(seen) => break seen,
                // The owner commits, or starts afresh, under our eyes.
                Err(e)
                    if looks < LOOKS
                        && matches!(
                            e.kind(),
                            ErrorKind::NotFound | ErrorKind::Stale | ErrorKind::Damaged
                        ) =>
                {
                    looks = looks.saturating_add(1);
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(e),
            }
        };
        Ok(())
    }

    fn look(&self) -> Result<Seen> {
        let at = Place { dir: Arc::clone(&self.to.dir), name: part_name(&self.to.name) };
        let dir = match open_part(&at) {
            Ok(dir) => dir,
            Err(e) if e.kind() == ErrorKind::NotFound => return self.look_at_file(),
            Err(e) => return Err(e),
        };
        refuse_foreign(&at, &*dir)?;
        let open = |name: &str| match dir.open(OsStr::new(name), How::Read) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::system("open", &dir.path().join(name), e)),
        };
        let meta = match read_meta(&*dir)? {
            Some(Parsed::Valid(meta)) => Some(meta),
            _ => None,
        };
        let data = open(DATA)?;
        if data.is_none() && meta.is_some() {
            // Committed; the rest has not been tidied up yet.
            return self.look_at_file();
        }
        let (extents, at) = match &meta {
            Some(meta) => {
                let (extents, last_seq) = self.trusted(&*dir, meta)?;
                (extents, (meta.part_id, last_seq))
            }
            None => (Vec::new(), ([0; 16], 0)),
        };
        Ok(Seen::Filling(Box::new(Filling { dir, meta, data, extents, at })))
    }

    fn look_at_file(&self) -> Result<Seen> {
        match self.to.open("open")? {
            Some(file) => {
                let len = file.stat().map_err(|e| Error::system("open", &self.canonical, e))?.len;
                Ok(Seen::Committed { file, len })
            }
            None => Ok(Seen::Missing),
        }
    }

    fn trusted(&self, dir: &dyn Dir, meta: &Meta) -> Result<(Vec<Extent>, u64)> {
        let path = dir.path().join(MAP);
        let log = Log::open_read_only(&path, map_options(Arc::clone(&self.fs)))?;
        let end = meta.identity.len.unwrap_or(self.max_len);
        let bounds = Bounds { chunk: 1_u64 << meta.chunk_shift, end };
        let mut trust = Trust::default();
        read_state(&log, &mut |piece| {
            let taken = trust.take(piece, bounds);
            taken.map_err(|why| Error::new(ErrorKind::Damaged, "open", &path, why))
        })?;
        let of_this = trust.part_id == Some(meta.part_id);
        let extents = if of_this { trust.into_extents() } else { Vec::new() };
        Ok((extents, log.last_seq()))
    }

    /// What the last look showed.
    pub fn state(&self) -> PartState {
        match &self.seen {
            Seen::Missing => PartState::Missing,
            Seen::Filling(_) => PartState::Filling,
            Seen::Committed { len, .. } => PartState::Committed { len: *len },
        }
    }

    /// What is known of the file that fills; `None` before the first checkpoint, and once it is committed.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.seen {
            Seen::Filling(filling) => filling.meta.as_ref().map(|meta| &meta.identity),
            _ => None,
        }
    }

    /// The trusted ranges; all of a committed file.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        match &self.seen {
            Seen::Missing => {}
            Seen::Committed { len, .. } => ranges.extend((*len > 0).then_some(0..*len)),
            Seen::Filling(filling) => {
                for extent in &filling.extents {
                    match ranges.last_mut() {
                        Some(last) if last.end == extent.start => last.end = extent.end(),
                        _ => ranges.push(extent.range()),
                    }
                }
            }
        }
        ranges
    }

    /// Who fills it, or filled it last; `None` if there is no part. [`Holder::alive`] tells which.
    ///
    /// # Errors
    /// The system's.
    pub fn holder(&self) -> StorageResult<Option<Holder>> {
        match &self.seen {
            Seen::Filling(filling) => holder_in(&*filling.dir),
            _ => Ok(None),
        }
    }

    /// The first missing range in `from..limit`, cut to it.
    pub fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        let mut at = from;
        for range in self.ranges() {
            if range.start > at {
                break;
            }
            at = at.max(range.end);
        }
        let next = self.ranges().into_iter().map(|range| range.start).find(|start| *start > at);
        let end = next.unwrap_or(limit).min(limit);
        (at < limit).then_some(at..end)
    }

    /// Reads from `offset` on until `buf` is full or the file ends; looks again first if the bytes are not there.
    ///
    /// # Errors
    /// `Incomplete` if a byte is not trusted yet; [`Error::gap`] has the first missing range. `NotFound` if there is neither
    /// file nor part; as [`refresh`](Self::refresh).
    pub fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> StorageResult<usize> {
        for _ in 0..LOOKS {
            if let Some(got) = self.try_read(offset, buf)? {
                return Ok(got);
            }
        }
        let what = "its owner changes it faster than it can be read; try again";
        Err(Error::new(ErrorKind::Stale, "read", &self.canonical, what))
    }

    /// `None`: what was read may have been overwritten meanwhile.
    fn try_read(&mut self, offset: u64, buf: &mut [u8]) -> Result<Option<usize>> {
        let end = offset.saturating_add(buf.len() as u64);
        if self.missing(offset, end).is_some() {
            self.refresh()?;
        }
        if let Some(gap) = self.missing(offset, end) {
            if matches!(self.seen, Seen::Missing) {
                let what = "there is neither the file nor a part of it";
                return Err(Error::new(ErrorKind::NotFound, "read", &self.canonical, what));
            }
            let what = format!("bytes {}..{} are not there yet", gap.start, gap.end);
            let error = Error::new(ErrorKind::Incomplete, "read", &self.canonical, what);
            return Err(error.at(gap.start).with_gap(gap));
        }
        let fail = |e| Error::system("read", &self.canonical, e).at(offset);
        match &self.seen {
            Seen::Missing => Ok(Some(0)),
            Seen::Committed { file, .. } => file.read_at(buf, offset).map(Some).map_err(fail),
            Seen::Filling(filling) => {
                let end = self.known_len().unwrap_or(u64::MAX).min(end);
                let want = usize::try_from(end.saturating_sub(offset)).unwrap_or(buf.len());
                let Some(data) = &filling.data else { return Ok(Some(0)) };
                let wanted = buf.get_mut(..want.min(buf.len())).unwrap_or_default();
                let got = data.read_at(wanted, offset).map_err(fail)?;
                // An owner takes ranges back in the map before it writes over them.
                let before = filling.at;
                self.refresh()?;
                let same = matches!(&self.seen, Seen::Filling(now) if now.at == before);
                Ok(same.then_some(got))
            }
        }
    }

    /// The first missing range of `from..end`, up to the known end.
    fn missing(&self, from: u64, end: u64) -> Option<Range<u64>> {
        self.next_gap(from, self.known_len().unwrap_or(end).min(end))
    }

    /// The length, if it is known.
    pub fn known_len(&self) -> Option<u64> {
        match &self.seen {
            Seen::Missing => None,
            Seen::Committed { len, .. } => Some(*len),
            Seen::Filling(filling) => filling.meta.as_ref().and_then(|meta| meta.identity.len),
        }
    }

    /// Waits until all bytes of `range` are trusted, for so long at most, looking every 50 ms.
    ///
    /// # Errors
    /// `InvalidInput` if it ends before it starts; as [`refresh`](Self::refresh).
    pub fn wait_range(
        &mut self,
        range: Range<u64>,
        timeout: Option<Duration>,
    ) -> StorageResult<WaitOutcome> {
        if range.end < range.start {
            let what = "the range ends before it starts";
            return Err(Error::new(ErrorKind::InvalidInput, "wait for", &self.canonical, what));
        }
        let started = self.fs.monotonic();
        loop {
            if range.is_empty() {
                return Ok(WaitOutcome::Ready);
            }
            if self.known_len().is_some_and(|len| range.start >= len) {
                return Ok(WaitOutcome::Eof);
            }
            if !matches!(self.seen, Seen::Missing) && self.missing(range.start, range.end).is_none()
            {
                return Ok(WaitOutcome::Ready);
            }
            let waited = self.fs.monotonic().saturating_sub(started);
            if timeout.is_some_and(|timeout| waited >= timeout) {
                return Ok(WaitOutcome::Interrupted);
            }
            std::thread::sleep(PAUSE);
            self.refresh()?;
        }
    }

    /// Reads all trusted bytes of a part and compares them with their checksums; changes nothing.
    ///
    /// # Errors
    /// `NotFound` if there is no part; the system's.
    pub fn verify(&mut self) -> StorageResult<PartReport> {
        self.refresh()?;
        let Seen::Filling(filling) = &self.seen else {
            let what = "there is no part of it";
            return Err(Error::new(ErrorKind::NotFound, "verify", &self.canonical, what));
        };
        let mut report = PartReport::default();
        for extent in &filling.extents {
            report.trusted = report.trusted.saturating_add(u64::from(extent.len));
            let sum = match &filling.data {
                Some(data) => checksum(&**data, extent.start, u64::from(extent.len)),
                None => Ok(!extent.crc),
            };
            match sum {
                Ok(sum) if sum == extent.crc => {}
                Ok(_) => report.damaged.push(extent.range()),
                Err(e) if e.kind() == ErrorKind::Damaged => report.damaged.push(extent.range()),
                Err(e) => return Err(e),
            }
        }
        Ok(report)
    }

    /// The target, as it was given.
    pub fn canonical_path(&self) -> &Path {
        &self.canonical
    }
}

impl fmt::Debug for PartView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartView")
            .field("canonical", &self.canonical)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
