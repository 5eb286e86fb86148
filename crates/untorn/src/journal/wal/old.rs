//! The single-file log of older programs (FORMAT.md, "Old WAL frame"): read, never written.
//!
//! # Invariants
//! - O1 Nothing is held in memory before its checksum was computed: a length field alone takes none.
//! - O2 Looking for later frames checksums eight times the file's length at most.

use std::path::Path;
use std::sync::Arc;

use super::verdict::Facts;
use crate::codec::bytes::Reader;
use crate::codec::checksum::crc32;
use crate::commit::Place;
use crate::fs::{File, Fs, How, OsFs};
use crate::{Error, ErrorKind, Result};

/// Version u32, length u32, crc u32.
const HEADER: usize = 12;
/// The longest sequence: a varint of a u64.
const VARINT_MAX: usize = 10;
/// Bytes read at once.
const READ: usize = 1 << 20;
const SECTOR: u64 = 512;
/// What one look at a frame counts for at least, so that many short ones are bounded too.
const LOOK: u64 = 64;

/// A record of an old log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OldRec<'a> {
    /// Its sequence number.
    pub sequence: u64,
    /// The bytes of its event, as postcard made them: the payload without the sequence.
    pub event: &'a [u8],
    /// Where its frame begins.
    pub offset: u64,
}

/// How an old log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OldTail {
    /// It was not read to its end yet.
    Unread,
    /// Behind the last record there is nothing.
    Clean,
    /// The last record was being written when its writer died; nobody was told that it was there.
    Torn {
        /// Where it begins.
        offset: u64,
        /// How many bytes the file has from there on.
        bytes: u64,
    },
    /// What follows was written, and does not verify or does not follow.
    Damaged {
        /// Where.
        offset: u64,
        /// Why.
        why: String,
    },
}

/// Options of [`OldWalReader::with`].
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct OldWalOptions {
    /// The version in each frame. Default 5.
    pub version: u32,
    /// Whether sequences may leave numbers out, also at the start. Default no.
    pub allow_gaps: bool,
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
}

impl OldWalOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self { version: 5, allow_gaps: false, fs: Arc::new(OsFs::new()) }
    }

    /// Sets the version in each frame.
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Sets whether sequences may leave numbers out.
    pub const fn allow_gaps(mut self, allow: bool) -> Self {
        self.allow_gaps = allow;
        self
    }

    /// Sets the file system.
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }
}

impl Default for OldWalOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads an old log, record by record, and says at its first flaw whether it is torn or damaged.
///
/// Its writer must not be running. Nothing is changed. See [`convert_old_wal`](super::convert_old_wal).
///
/// # Example
/// ```
/// use untorn::journal::wal::{OldTail, OldWalReader};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("old.wal");
/// # std::fs::write(&path, [&[5, 0, 0, 0, 2, 0, 0, 0, 0x1d, 0xb6, 0xa6, 0xc6, 1, 7][..], &[5, 0, 0]].concat())?;
/// let mut old = OldWalReader::open(&path, 5)?;
/// while let Some(record) = old.next()? {
///     println!("{} has {} bytes", record.sequence, record.event.len());
/// }
/// assert_eq!(*old.outcome(), OldTail::Torn { offset: 14, bytes: 3 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OldWalReader {
    bytes: Bytes,
    version: u32,
    allow_gaps: bool,
    offset: u64,
    last: u64,
    tail: OldTail,
}

/// What stands at an offset.
enum Found {
    Frame {
        sequence: u64,
        /// Where the event begins in the payload.
        skip: usize,
        payload: u64,
    },
    /// A whole frame of this other version.
    Version(u32),
    /// No frame. `None` if it is not even known where it would end.
    Flaw(&'static str, Option<u64>),
    /// Its checksum is right, and still it is no frame: no torn write looks like this.
    Nonsense(&'static str),
}

impl OldWalReader {
    /// Opens the old log `file`, whose frames have this version, which is 5.
    ///
    /// # Cost
    /// Reads as it goes, 1 MiB at a time.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` if it is no regular file; `Io`.
    pub fn open(file: impl AsRef<Path>, version: u32) -> Result<Self> {
        Self::with(file, &OldWalOptions::new().version(version))
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with(file: impl AsRef<Path>, options: &OldWalOptions) -> Result<Self> {
        let (fs, path) = (&*options.fs, file.as_ref());
        let fail = |e| Error::system("open", path, e);
        let (place, _) = Place::resolve(fs, "open", path, crate::commit::Symlink::Follow)?;
        let file = place.dir.open(&place.name, How::Read).map_err(fail)?;
        let len = file.stat().map_err(fail)?.len;
        Ok(Self {
            bytes: Bytes { file, len, start: 0, held: Vec::new() },
            version: options.version,
            allow_gaps: options.allow_gaps,
            offset: 0,
            last: 0,
            tail: OldTail::Unread,
        })
    }

    /// The next record; `None` at the end, which [`outcome`](Self::outcome) tells more of.
    ///
    /// # Errors
    /// `Damaged` with the offset, if what follows was written and does not verify, or leaves numbers out;
    /// `NotOurs` if the file does not begin like an old log; `NewerFormat`; `Unsupported` for an earlier version; `Io`.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<OldRec<'_>>> {
        match &self.tail {
            OldTail::Unread => {}
            OldTail::Clean | OldTail::Torn { .. } => return Ok(None),
            OldTail::Damaged { offset, why } => return Err(self.damaged(*offset, why.clone())),
        }
        let offset = self.offset;
        if offset >= self.bytes.len {
            self.tail = OldTail::Clean;
            return Ok(None);
        }
        let (sequence, skip, payload) = match self.frame_at(offset)? {
            Found::Frame { sequence, skip, payload } => (sequence, skip, payload),
            Found::Version(version) => return Err(self.other_version(version)),
            Found::Nonsense(why) => return self.end_damaged(why.to_owned()),
            Found::Flaw(why, end) => return self.judge(why, end).map(|()| None),
        };
        let next = self.last.saturating_add(1);
        if sequence < next || (sequence > next && !self.allow_gaps) {
            let what = format!("the next record has sequence {next}, and this one has {sequence}");
            return self.end_damaged(what);
        }
        self.last = sequence;
        let body = offset.saturating_add(HEADER as u64);
        self.offset = body.saturating_add(payload);
        let payload = self.bytes.get(body, usize::try_from(payload).unwrap_or(usize::MAX))?;
        Ok(Some(OldRec { sequence, event: payload.get(skip..).unwrap_or_default(), offset }))
    }

    /// How the log ends, once it was read to there.
    pub const fn outcome(&self) -> &OldTail {
        &self.tail
    }

    /// The sequence of the last record that was read; 0 before the first.
    pub const fn current_sequence(&self) -> u64 {
        self.last
    }

    /// What stands at `offset`, which is inside the file.
    fn frame_at(&mut self, offset: u64) -> Result<Found> {
        let left = self.bytes.len.saturating_sub(offset);
        let head = self.bytes.get(offset, HEADER.saturating_add(VARINT_MAX))?;
        let Some((version, payload, crc)) = header(head) else {
            return Ok(Found::Flaw("the file ends inside a frame's header", Some(u64::MAX)));
        };
        let varint = varint(head.get(HEADER..).unwrap_or_default());
        let end = (HEADER as u64).saturating_add(u64::from(payload));
        let ours = version == self.version;
        if payload == 0 || end > left {
            return Ok(match ours {
                true if payload == 0 => Found::Flaw("a frame is empty", None),
                true => Found::Flaw("the file ends inside a frame", Some(u64::MAX)),
                false => Found::Flaw("no frame begins here", None),
            });
        }
        let body = offset.saturating_add(HEADER as u64);
        if self.bytes.crc(body, u64::from(payload))? != crc {
            let end = ours.then(|| offset.saturating_add(end));
            return Ok(Found::Flaw("a frame does not verify", end));
        }
        Ok(match varint {
            _ if !ours => Found::Version(version),
            Some((sequence, skip)) if skip as u64 <= u64::from(payload) => {
                Found::Frame { sequence, skip, payload: u64::from(payload) }
            }
            _ => Found::Nonsense("a frame has no sequence"),
        })
    }

    /// Torn or damaged: the table in `verdict`. `end` is where the frame that does not verify would end.
    fn judge(&mut self, why: &'static str, end: Option<u64>) -> Result<()> {
        let (offset, len) = (self.offset, self.bytes.len);
        let rest_is_zero = self.bytes.is_zero(offset, len)?;
        let later_frame = !rest_is_zero && self.later_frame(offset)?;
        let cut = end.is_some_and(|end| end > len);
        let cut_or_hole = cut || self.has_hole(offset, end.unwrap_or(len))?;
        if (Facts { rest_is_zero, later_frame, cut_or_hole }).is_torn() {
            self.tail = OldTail::Torn { offset, bytes: len.saturating_sub(offset) };
            return Ok(());
        }
        if offset == 0 && end.is_none() && !later_frame {
            let (path, version) = (self.bytes.file.path(), self.version);
            let what = format!("it does not begin like a log of version {version}");
            return Err(Error::new(ErrorKind::NotOurs, "read", path, what));
        }
        self.end_damaged(why.to_owned()).map(drop)
    }

    /// Whether a frame with a larger sequence verifies somewhere behind `offset`.
    fn later_frame(&mut self, offset: u64) -> Result<bool> {
        let mut budget = self.bytes.len.saturating_mul(8);
        let mut at = offset.saturating_add(1);
        while at.saturating_add(HEADER as u64) < self.bytes.len {
            let (version, last, len) = (self.version, self.last, self.bytes.len);
            let chunk = self.bytes.get(at, READ)?;
            let whole = at.saturating_add(chunk.len() as u64) >= len;
            // The last bytes of a chunk are looked at with the next one, so that a header is seen whole.
            let looked =
                if whole { chunk.len() } else { chunk.len().saturating_sub(HEADER + VARINT_MAX) };
            let mark = version.to_le_bytes();
            let starts = chunk.windows(mark.len()).enumerate().take(looked);
            let mut candidates = Vec::new();
            for (n, _) in starts.filter(|(_, bytes)| *bytes == mark) {
                let rest = chunk.get(n..).unwrap_or_default();
                let Some((_, payload, crc)) = header(rest) else { continue };
                let begin = at.saturating_add(n as u64);
                let body = begin.saturating_add(HEADER as u64);
                let fits = body.saturating_add(u64::from(payload)) <= len;
                let sequence = varint(rest.get(HEADER..).unwrap_or_default());
                let follows = sequence
                    .is_some_and(|(seq, skip)| seq > last && skip as u64 <= u64::from(payload));
                if fits && follows {
                    candidates.push((body, u64::from(payload), crc));
                }
            }
            for (body, payload, crc) in candidates {
                // O2: a file that takes longer was not left by a crash.
                let Some(left) = budget.checked_sub(payload.max(LOOK)) else { return Ok(true) };
                budget = left;
                if self.bytes.crc(body, payload)? == crc {
                    return Ok(true);
                }
            }
            at = at.saturating_add(looked.max(1) as u64);
        }
        Ok(false)
    }

    /// Whether what the frame `offset..end` has of some sector is all zero.
    fn has_hole(&mut self, offset: u64, end: u64) -> Result<bool> {
        let end = end.min(self.bytes.len);
        let mut at = offset;
        while at < end {
            let sector_end = at.saturating_add(SECTOR.saturating_sub(at % SECTOR)).min(end);
            if self.bytes.is_zero(at, sector_end)? {
                return Ok(true);
            }
            at = sector_end;
        }
        Ok(false)
    }

    fn end_damaged(&mut self, why: String) -> Result<Option<OldRec<'_>>> {
        self.tail = OldTail::Damaged { offset: self.offset, why: why.clone() };
        Err(self.damaged(self.offset, why))
    }

    fn damaged(&self, offset: u64, why: String) -> Error {
        Error::new(ErrorKind::Damaged, "read", self.bytes.file.path(), why).at(offset)
    }

    fn other_version(&self, found: u32) -> Error {
        let kind =
            if found > self.version { ErrorKind::NewerFormat } else { ErrorKind::Unsupported };
        let what = format!("a record is of version {found}, and {} is read", self.version);
        Error::new(kind, "read", self.bytes.file.path(), what).at(self.offset)
    }
}

/// Version, length and crc.
fn header(bytes: &[u8]) -> Option<(u32, u32, u32)> {
    let mut reader = Reader::new(bytes);
    Some((reader.u32()?, reader.u32()?, reader.u32()?))
}

/// A number in groups of seven bits, the lowest first, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().take(VARINT_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = u32::try_from(n).ok()?.saturating_mul(7);
        let shifted = bits.checked_shl(shift)?;
        if shifted.checked_shr(shift) != Some(bits) {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some((value, n.saturating_add(1)));
        }
    }
    None
}

/// A file and a part of it that is in memory.
#[derive(Debug)]
struct Bytes {
    file: Arc<dyn File>,
    len: u64,
    start: u64,
    held: Vec<u8>,
}

impl Bytes {
    /// Up to `want` bytes at `at`, fewer where the file ends.
    fn get(&mut self, at: u64, want: usize) -> Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(left);
        let skip = at.checked_sub(self.start).and_then(|n| usize::try_from(n).ok());
        let held = skip.is_some_and(|n| self.held.len() >= n.saturating_add(want));
        let skip = if held { skip.unwrap_or(0) } else { 0 };
        if !held {
            self.start = at;
            self.held.resize(want.max(READ.min(left)), 0);
            let got = self.file.read_at(&mut self.held, at);
            let got = got.map_err(|e| Error::system("read", self.file.path(), e).at(at))?;
            self.held.truncate(got);
        }
        let end = skip.saturating_add(want).min(self.held.len());
        Ok(self.held.get(skip..end).unwrap_or_default())
    }

    /// The checksum of `len` bytes at `at`, 1 MiB of them in memory at a time (O1).
    fn crc(&mut self, at: u64, len: u64) -> Result<u32> {
        let mut crc = 0;
        let end = at.saturating_add(len);
        let mut at = at;
        while at < end {
            let want = usize::try_from(end.saturating_sub(at)).unwrap_or(READ).min(READ);
            let part = self.get(at, want)?;
            if part.is_empty() {
                break;
            }
            crc = crc32(part, crc);
            at = at.saturating_add(part.len() as u64);
        }
        Ok(crc)
    }

    fn is_zero(&mut self, from: u64, to: u64) -> Result<bool> {
        let mut at = from;
        while at < to {
            let want = usize::try_from(to.saturating_sub(at)).unwrap_or(READ).min(READ);
            let part = self.get(at, want)?;
            if part.is_empty() {
                break;
            }
            if part.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at = at.saturating_add(part.len() as u64);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::varint;

    #[test]
    fn numbers_in_groups_of_seven_bits() {
        for (bytes, value) in [
            (&[0][..], Some((0, 1))),
            (&[0x7f, 9], Some((127, 1))),
            (&[0x80, 0x01], Some((128, 2))),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some((u64::MAX, 10))),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], None),
            (&[0x80; 11], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(varint(bytes), value, "{bytes:?}");
        }
    }
}
