//! Reads records in order: one large buffered scan, payloads borrowed, every frame verified.

use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use super::cursor::{Cursor, Found, read_header};
use super::format::{FRAME_HEADER, FrameHeader, FrameKind, Parsed};
use super::recover::{Begun, open_segment};
use super::window::Window;
use super::{Log, LogPos, Upto};
use crate::fs::{Dir, How};
use crate::{Error, ErrorKind, Result};

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rec<'a> {
    /// Its sequence number.
    pub seq: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where it lies.
    pub pos: LogPos,
}

/// Keeps a log's records from some number on, whatever `truncate_front` is told, as long as it lives.
pub struct Pin {
    log: Log,
    id: u64,
    seq: u64,
}

impl Pin {
    fn new(log: &Log, seq: u64) -> Self {
        let mut pins = log.0.pins();
        let id = pins.iter().map(|&(id, _)| id).max().map_or(0, |id| id.wrapping_add(1));
        pins.push((id, seq));
        drop(pins);
        Self { log: log.clone(), id, seq }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.log.0.pins().retain(|&(id, _)| id != self.id);
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Log {
    /// Keeps all records from `from` on until the pin is dropped.
    pub fn pin(&self, from: u64) -> Pin {
        Pin::new(self, from)
    }

    /// Reads the records from `from` on, up to the last durable or written one at the time of the call.
    ///
    /// # Cost
    /// Reads of 1 MiB; nothing is allocated per record. Skips to `from` from the start of its segment.
    ///
    /// # Errors
    /// `OutOfRange` below [`first_seq`](Self::first_seq). [`Scan::next`] has its own.
    pub fn read(&self, from: u64, upto: Upto) -> Result<Scan> {
        let pin = self.pin(from);
        let limit = match upto {
            Upto::Durable => self.durable_seq(),
            Upto::Written => self.written_seq(),
        };
        let first = self.first_seq();
        if from < first {
            let what = format!("record {from} was dropped; the log begins at {first}");
            return Err(Error::new(ErrorKind::OutOfRange, "read", self.path(), what));
        }
        let dir = Arc::clone(&self.0.dir);
        let source = Source::Live { cuts: self.0.cuts.load(Acquire), pin };
        Ok(Scan::new(dir, source, self.0.segments().clone(), from, limit))
    }

    /// Reads the record at a position, of `len` bytes.
    ///
    /// # Cost
    /// One read. With `record_crc` of the record; else of its whole frame, which is verified.
    ///
    /// # Errors
    /// `Damaged` if it does not verify; `Stale` if the position was cut or dropped; `Io`.
    pub fn read_at(&self, pos: LogPos, len: usize) -> Result<Vec<u8>> {
        let stale = || {
            let what = "the record was dropped, or its position is of another log";
            Error::new(ErrorKind::Stale, "read", self.path(), what).at(pos.frame)
        };
        let known = self.0.segments().iter().any(|s| s.number == pos.segment);
        if !known {
            return Err(stale());
        }
        let dir = &self.0.dir;
        let mut window = Window::new(open_segment(&**dir, pos.segment, How::Read)?);
        let (file_len, Parsed::Valid(segment)) = read_header(&mut window)? else {
            return Err(stale());
        };
        let file = Arc::clone(window.file());
        let mut cursor = Cursor::new(window, file_len, segment);
        let layout = cursor.layout();
        let at = pos.frame.saturating_add(u64::from(pos.at));
        let damaged = |why| {
            let error = Error::new(ErrorKind::Damaged, "read", file.path(), why);
            Err(error.at(at))
        };
        let prefix = layout.prefix();
        if layout.record_crc && at.saturating_add(prefix.saturating_add(len) as u64) <= file_len {
            let mut bytes = vec![0; prefix.saturating_add(len)];
            let got = file.read_at(&mut bytes, at);
            got.map_err(|e| Error::system("read", file.path(), e).at(at))?;
            return match layout.decode(&bytes, at, true) {
                Some(record) if record.len() == len => Ok(record.to_vec()),
                _ => damaged("the record does not verify, or there is none at this position"),
            };
        }
        let bytes = cursor.window().get(pos.frame, FRAME_HEADER)?;
        let frame = match FrameHeader::decode(bytes, segment.salt, pos.frame) {
            Parsed::Valid(frame) if frame.crc == pos.frame_crc => frame,
            _ => return Err(stale()),
        };
        cursor = cursor.resume(pos.frame, frame.prev, frame.first_seq);
        let Found::Frame { header, offset } = cursor.step()? else {
            return damaged("the record's frame does not verify");
        };
        let from = (pos.at as usize).checked_sub(FRAME_HEADER);
        let record = from.and_then(|from| cursor.body(&header, offset).get(from..));
        match record.and_then(|bytes| layout.decode(bytes, at, false)) {
            Some(record) if record.len() == len => Ok(record.to_vec()),
            _ => damaged("there is no record of this length at this position"),
        }
    }
}

/// Who is read.
#[derive(Debug)]
pub(super) enum Source {
    /// An open log of this process.
    Live { cuts: u64, pin: Pin },
    /// Another process may be writing it.
    Foreign,
}

/// Records of a log, in order. See [`Log::read`].
#[derive(Debug)]
pub struct Scan {
    dir: Arc<dyn Dir>,
    source: Source,
    /// Segments that are still to be read, the next one last.
    rest: Vec<Begun>,
    cursor: Option<Cursor>,
    frame: Option<(FrameHeader, u64)>,
    /// The next record in the frame: its number and its offset in the body.
    next: (u64, usize),
    from: u64,
    limit: u64,
}

impl Scan {
    pub(super) fn new(
        dir: Arc<dyn Dir>,
        source: Source,
        segments: Vec<Begun>,
        from: u64,
        limit: u64,
    ) -> Self {
        let start = segments.iter().rposition(|s| s.first_seq <= from).unwrap_or(0);
        let rest: Vec<Begun> = segments.into_iter().skip(start).rev().collect();
        Self { dir, source, rest, cursor: None, frame: None, next: (0, 0), from, limit }
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// `Damaged` with file and offset if it does not verify; `Stale` if a `truncate_back` took it, or another process
    /// replaced what is read: read again; `Io`.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Rec<'_>>> {
        if !self.find()? {
            return Ok(None);
        }
        let (Some(cursor), Some((header, offset))) = (&self.cursor, &self.frame) else {
            return Ok(None);
        };
        let (seq, at) = self.next;
        let rec = record_in(cursor, header, *offset, at, seq);
        self.next = (seq.saturating_add(1), after(cursor, at, rec.bytes));
        Ok(Some(rec))
    }

    /// Goes on to the next record that is asked for; false after the last.
    fn find(&mut self) -> Result<bool> {
        loop {
            let (Some(cursor), Some((header, offset))) = (&self.cursor, &self.frame) else {
                if !self.next_frame()? {
                    return Ok(false);
                }
                continue;
            };
            let (seq, at) = self.next;
            if seq >= header.next_seq() {
                self.frame = None;
            } else if seq > self.limit {
                return Ok(false);
            } else if seq >= self.from {
                return Ok(true);
            } else {
                let bytes = record_at(cursor, header, *offset, at);
                self.next = (seq.saturating_add(1), after(cursor, at, bytes));
            }
        }
    }

    /// Finds the next frame with records; false at the end.
    fn next_frame(&mut self) -> Result<bool> {
        loop {
            let done = |c: &Cursor| c.next_seq() > self.limit;
            if self.cursor.as_ref().is_some_and(done) {
                return Ok(false);
            }
            let Some(cursor) = &mut self.cursor else {
                if !self.next_segment()? {
                    return Ok(false);
                }
                continue;
            };
            match cursor.step()? {
                Found::Frame { header, offset } => match header.kind {
                    FrameKind::Data { .. } => {
                        self.frame = Some((header, offset));
                        self.next = (header.first_seq, 0);
                        return Ok(true);
                    }
                    FrameKind::Mark => {}
                    FrameKind::Seal { .. } => self.cursor = None,
                },
                Found::Newer => {
                    return Err(super::recover::newer(cursor.file().path(), cursor.offset()));
                }
                Found::Flaw(why) => {
                    let (path, offset) = (cursor.file().path().to_path_buf(), cursor.offset());
                    return Err(self.does_not_verify(&path, offset, why));
                }
            }
        }
    }

    fn next_segment(&mut self) -> Result<bool> {
        let Some(begun) = self.rest.pop() else { return Ok(false) };
        if begun.first_seq > self.limit {
            return Ok(false);
        }
        let file =
            open_segment(&*self.dir, begun.number, How::Read).map_err(|e| match e.kind() {
                ErrorKind::NotFound => {
                    e.with_kind(ErrorKind::Stale).because("it was dropped meanwhile; read again")
                }
                _ => e,
            })?;
        let path = file.path().to_path_buf();
        let mut window = Window::new(file);
        match read_header(&mut window)? {
            (len, Parsed::Valid(h)) if h.first_seq == begun.first_seq => {
                self.cursor = Some(Cursor::new(window, len, h));
                Ok(true)
            }
            _ => Err(self.does_not_verify(&path, 0, "a segment's header does not verify")),
        }
    }

    /// What was verified at open does not verify now: cut meanwhile, or damaged.
    fn does_not_verify(&self, path: &std::path::Path, offset: u64, why: &'static str) -> Error {
        let stale = match &self.source {
            Source::Live { cuts, pin } => pin.log.0.cuts.load(Acquire) != *cuts,
            Source::Foreign => false,
        };
        let (kind, what) = if stale {
            (ErrorKind::Stale, "a truncate_back took the record; read again")
        } else {
            (ErrorKind::Damaged, why)
        };
        Error::new(kind, "read", path, what).at(offset)
    }
}

/// The record `seq`, whose prefix lies at `at` of a frame's body.
pub(super) fn record_in<'a>(
    cursor: &'a Cursor,
    header: &FrameHeader,
    offset: u64,
    at: usize,
    seq: u64,
) -> Rec<'a> {
    let bytes = record_at(cursor, header, offset, at);
    let at = u32::try_from(at.saturating_add(FRAME_HEADER)).unwrap_or(u32::MAX);
    let segment = cursor.segment().number;
    Rec { seq, bytes, pos: LogPos { segment, frame: offset, at, frame_crc: header.crc } }
}

/// The record whose prefix lies at `at` of a frame's body. The frame was verified as a whole.
fn record_at<'a>(cursor: &'a Cursor, header: &FrameHeader, offset: u64, at: usize) -> &'a [u8] {
    let rest = cursor.body(header, offset).get(at..).unwrap_or_default();
    cursor.layout().decode(rest, 0, false).unwrap_or_default()
}

/// Where the next record's prefix lies.
pub(super) const fn after(cursor: &Cursor, at: usize, record: &[u8]) -> usize {
    at.saturating_add(cursor.layout().prefix()).saturating_add(record.len())
}
