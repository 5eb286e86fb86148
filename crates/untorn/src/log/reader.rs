//! Reads a log of another process, beside its living owner: no lock, no write, no waiting.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cut::{load, no_directory};
use super::format::{Ended, FRAME_HEADER, FrameHeader, Meta, Parsed, segment_name};
use super::options::LogOptions;
use super::recover::{Begun, Route, Walked, damaged};
use super::scan::{Scan, Source};
use super::verdict::Verdict;
use super::{Log, LogPos, Upto};
use crate::fs::Dir;
use crate::{Error, ErrorKind, OnDamage, Result};

/// How often a look is taken again if the owner changed the log meanwhile.
const LOOKS: u32 = 16;

/// What a segment is, for tools.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its file.
    pub path: PathBuf,
    /// Its number.
    pub number: u64,
    /// Its first record.
    pub first_seq: u64,
    /// The length of its file.
    pub len: u64,
}

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// First record.
    pub first_seq: u64,
    /// Last whole record.
    pub last_seq: u64,
    /// Records read and verified.
    pub records: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Whether the log was closed in order.
    pub closed: bool,
    /// A torn tail that the owner's next open will heal: file, offset, bytes, and whether it looks like anything but a torn write.
    pub torn: Option<(PathBuf, u64, u64, bool)>,
    /// Behind damage, which [`OnDamage::Truncate`] lets a view end before: acknowledged records that it does not show, first and
    /// last as far as can be told.
    pub lost: Option<(u64, u64)>,
}

/// A read-only view of a log, as of the last look at it.
#[derive(Debug)]
pub struct LogReader {
    dir: Arc<dyn Dir>,
    options: LogOptions,
    meta: Meta,
    seen: Walked,
}

impl Log {
    /// Opens a log for reading, also while its owner writes.
    ///
    /// Writes nothing, takes no lock, never holds the owner up.
    ///
    /// # Errors
    /// `NotFound`; `NotOurs`; `NewerFormat`; `Stale` if the owner drops segments all the time; `Damaged`, unless [`OnDamage`] is `Truncate`: then the view ends before the damage;
    /// `Io`.
    pub fn open_read_only(path: impl AsRef<Path>, options: LogOptions) -> Result<LogReader> {
        let path = path.as_ref();
        let dir = options.fs.open_dir(path).map_err(|e| no_directory(path, e))?;
        let (meta, seen) = look(&dir, &options, None)?;
        Ok(LogReader { dir, options, meta, seen })
    }
}

/// One consistent look: if META changed meanwhile, another one.
fn look(dir: &Arc<dyn Dir>, options: &LogOptions, from: Option<LogPos>) -> Result<(Meta, Walked)> {
    let mut looks: u32 = 0;
    let mut seen: Option<(ErrorKind, Option<u64>)> = None;
    loop {
        let Some(meta) = load(&**dir)? else { return Err(no_log(&**dir)) };
        let route = Route {
            dir: &**dir,
            meta: &meta,
            start: from.or(options.start),
            acknowledged: options.acknowledged,
        };
        let walked = route.walk().and_then(|walked| match (&walked.flaw, walked.verdict) {
            (Some(flaw), Verdict::Damaged) if options.on_damage == OnDamage::Refuse => {
                Err(damaged(&flaw.path, flaw.offset, flaw.seqs.0, Some(flaw.seqs.1), flaw.why))
            }
            _ => Ok(walked),
        });
        let error = match walked {
            Ok(walked) => return Ok((meta, walked)),
            Err(error) => error,
        };
        looks = looks.saturating_add(1);
        // A cut or a dropped segment under our eyes looks like damage.
        let moved = load(&**dir)? != Some(meta);
        let cutting = meta.ended == Ended::Cut && looks < LOOKS;
        // So does a frame that was written after its place was read, and before the next frame, which vouches for it.
        let found = Some((error.kind(), error.offset()));
        let again = error.kind() == ErrorKind::Damaged && found != seen && looks < LOOKS;
        seen = found;
        if !(moved || cutting || again) {
            return Err(error);
        }
        if looks >= LOOKS {
            let what = "its owner changes it faster than it can be looked at; try again";
            return Err(Error::new(ErrorKind::Stale, "open log", dir.path(), what));
        }
    }
}

fn no_log(dir: &dyn Dir) -> Error {
    match super::open::refuse_foreign(dir) {
        Ok(()) => {
            let what = "there is no log in it yet, or its owner is just making one";
            Error::new(ErrorKind::NotFound, "open log", dir.path(), what)
        }
        Err(not_ours) => not_ours,
    }
}

impl LogReader {
    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The oldest record.
    pub fn first_seq(&self) -> u64 {
        self.meta.front_seq
    }

    /// The last whole record as of the last look.
    pub fn last_seq(&self) -> u64 {
        self.seen.end.next_seq.saturating_sub(1)
    }

    /// The last record that something in the log vouches for; the owner may have acknowledged more.
    pub fn durable_seq(&self) -> u64 {
        self.seen.vouched.min(self.last_seq())
    }

    /// Who writes the log: the four letters of [`LogOptions::owner`].
    pub fn owner(&self) -> [u8; 4] {
        self.meta.owner
    }

    /// The store's id.
    pub fn store_id(&self) -> uuid::Uuid {
        uuid::Uuid::from_bytes(self.meta.store_id)
    }

    /// The segments, oldest first.
    ///
    /// # Errors
    /// `Stale` if one was dropped meanwhile; `Io`.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let info = |begun: &Begun| {
            let name = segment_name(begun.number);
            let path = self.dir.path().join(&name);
            let stat =
                self.dir.stat(name.as_ref()).map_err(|e| Error::system("look at", &path, e))?;
            Ok(SegmentInfo {
                path,
                number: begun.number,
                first_seq: begun.first_seq,
                len: stat.len,
            })
        };
        self.seen.begun.iter().map(info).collect()
    }

    /// Reads from `from` on. `Upto::Durable` ends at [`durable_seq`](Self::durable_seq).
    ///
    /// # Errors
    /// `OutOfRange` below [`first_seq`](Self::first_seq).
    pub fn read(&self, from: u64, upto: Upto) -> Result<Scan> {
        let first = self.first_seq();
        if from < first {
            let what = format!("record {from} was dropped; the log begins at {first}");
            return Err(Error::new(ErrorKind::OutOfRange, "read", self.dir.path(), what));
        }
        let limit = match upto {
            Upto::Durable => self.durable_seq(),
            Upto::Written => self.last_seq(),
        };
        let segments = self.seen.begun.clone();
        Ok(Scan::new(Arc::clone(&self.dir), Source::Foreign, segments, from, limit))
    }

    /// Looks again; returns whether there are more records than before. Reads only what is new where it can.
    ///
    /// # Errors
    /// `Stale` if the owner took back records that this view showed: open a new one. Else as [`Log::open_read_only`].
    pub fn refresh(&mut self) -> Result<bool> {
        let before = self.last_seq();
        let segment = self.seen.end.segment.number;
        let (meta, seen) = look(&self.dir, &self.options, self.last_frame())?;
        let gone =
            self.meta.store_id != meta.store_id || seen.end.next_seq.saturating_sub(1) < before;
        let salt = seen.end.segment.number == segment
            && seen.end.segment.salt != self.seen.end.segment.salt;
        if gone || salt {
            let what = "the owner took back records that were read; open the log again";
            return Err(Error::new(ErrorKind::Stale, "follow", self.dir.path(), what));
        }
        let vouched = self.seen.vouched.max(seen.vouched);
        (self.meta, self.seen) = (meta, seen);
        self.seen.vouched = vouched; // a look that starts late does not see what vouched before
        Ok(self.last_seq() > before)
    }

    /// The first frame that nothing vouched for: from there on a look may find other bytes.
    fn last_frame(&self) -> Option<LogPos> {
        let (offset, bytes) = &self.seen.end.unvouched;
        let segment = self.seen.end.segment;
        let header = bytes.get(..FRAME_HEADER)?;
        match FrameHeader::decode(header, segment.salt, *offset) {
            Parsed::Valid(frame) => Some(LogPos {
                segment: segment.number,
                frame: *offset,
                at: 0,
                frame_crc: frame.crc,
            }),
            _ => None,
        }
    }

    /// What the look found, for a person: nothing is read again.
    pub fn report(&self) -> VerifyReport {
        // What stands behind a cut that is not finished yet is not torn, it is being taken back.
        let flaw = self.seen.flaw.as_ref().filter(|_| self.meta.ended != Ended::Cut);
        let lost = flaw.filter(|_| self.seen.verdict == Verdict::Damaged);
        let torn = flaw.map(|flaw| {
            let bytes = flaw.bytes_end.saturating_sub(flaw.offset);
            (flaw.path.clone(), flaw.offset, bytes, flaw.suspect)
        });
        VerifyReport {
            first_seq: self.first_seq(),
            last_seq: self.last_seq(),
            records: self.seen.records,
            bytes: self.seen.bytes,
            closed: self.meta.ended == Ended::Clean,
            torn,
            lost: lost.map(|flaw| flaw.seqs),
        }
    }

    /// Waits until there are more records, for so long at most, looking again and again.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub fn wait_for_more(&mut self, timeout: Duration) -> Result<bool> {
        const PAUSE: Duration = Duration::from_millis(20);
        let fs = Arc::clone(&self.options.fs);
        let started = fs.monotonic();
        loop {
            if self.refresh()? {
                return Ok(true);
            }
            if fs.monotonic().saturating_sub(started) >= timeout {
                return Ok(false);
            }
            std::thread::sleep(PAUSE.min(timeout));
        }
    }
}

impl Log {
    /// Reads and verifies every durable record without changing a byte; `progress` gets each record's number.
    ///
    /// # Errors
    /// `Damaged` with file and offset; `Io`.
    pub fn verify(&self, mut progress: impl FnMut(u64)) -> Result<VerifyReport> {
        let first_seq = self.first_seq();
        let mut scan = self.read(first_seq, Upto::Durable)?;
        let (mut records, mut bytes, mut last_seq) = (0_u64, 0_u64, first_seq.saturating_sub(1));
        while let Some(record) = scan.next()? {
            records = records.saturating_add(1);
            bytes = bytes.saturating_add(record.bytes.len() as u64);
            last_seq = record.seq;
            progress(record.seq);
        }
        Ok(VerifyReport {
            first_seq,
            last_seq,
            records,
            bytes,
            closed: false,
            torn: None,
            lost: None,
        })
    }
}
