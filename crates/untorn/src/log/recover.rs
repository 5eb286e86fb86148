//! Finds where a log ends, and whether what follows is torn or damaged. Reads only.
//!
//! # Invariants
//! - R1 A segment is begun once a byte of it is not zero; then a sync covered all segments before it.
//! - R2 `D` comes from whole headers with the segment's salt, from a clean end, and from what the store knows; from nothing else.
//! - R3 What is rewritten at open are the bytes that were verified here, never a second read.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use super::cursor::{Cursor, Found, read_header};
use super::format::{
    Ended, FRAME_HEADER, FrameHeader, FrameKind, Meta, Parsed, SEGMENT_HEADER, SEGMENT_MIN,
    SegmentHeader, segment_name, segment_number,
};
use super::scan::{after, record_in};
use super::verdict::{Facts, Verdict, judge, looks_torn};
use super::window::Window;
use super::{LogPos, Rec};
use crate::fs::{Dir, File, How};
use crate::{Error, ErrorKind, Result};

/// A segment that holds records, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) number: u64,
    pub(super) first_seq: u64,
}

/// Where a log ends.
#[derive(Debug)]
pub(super) struct End {
    /// Length of the segment's file.
    pub(super) len: u64,
    pub(super) segment: SegmentHeader,
    /// Where the next frame goes. A seal before it is not counted: it is cut and written again.
    pub(super) offset: u64,
    pub(super) prev: u32,
    pub(super) next_seq: u64,
    /// The frames that nothing vouches for: where the first of them lies, and all bytes from there to the end (R3).
    pub(super) unvouched: (u64, Vec<u8>),
}

/// What follows the end and does not verify.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    pub(super) why: &'static str,
    /// Sequence numbers that are lost if it is damage.
    pub(super) seqs: (u64, u64),
    /// One past the last byte in this segment that is not zero.
    pub(super) bytes_end: u64,
    pub(super) suspect: bool,
}

#[derive(Debug)]
pub(super) struct Walked {
    pub(super) verdict: Verdict,
    /// From the front to the end's segment.
    pub(super) begun: Vec<Begun>,
    /// Segments with records behind a flaw; to be kept before they are cut.
    pub(super) behind: Vec<u64>,
    /// Numbers below the front: left-overs of a `truncate_front`.
    pub(super) below: Vec<u64>,
    pub(super) end: End,
    /// How far frames verify in the end's segment, a seal included.
    pub(super) seen_to: u64,
    pub(super) flaw: Option<Flaw>,
    /// `D`.
    pub(super) vouched: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) started_at: Option<LogPos>,
}

/// What the walk is told.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) dir: &'a dyn Dir,
    pub(super) meta: &'a Meta,
    /// A frame from which on to read; if it does not verify, the walk starts at the front.
    pub(super) start: Option<LogPos>,
    /// What the store knows to be acknowledged.
    pub(super) acknowledged: u64,
}

/// All segment numbers in the directory, ascending.
pub(super) fn list(dir: &dyn Dir) -> Result<Vec<u64>> {
    let names = dir.list().map_err(|e| Error::system("list", dir.path(), e))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn open_segment(dir: &dyn Dir, number: u64, how: How) -> Result<Arc<dyn File>> {
    let name = segment_name(number);
    dir.open(OsStr::new(&name), how).map_err(|e| Error::system("open", &dir.path().join(&name), e))
}

/// Who is shown the records on the way, each once, in order.
pub(super) type Each<'a> = &'a mut dyn FnMut(Rec<'_>) -> Result<()>;

impl Route<'_> {
    pub(super) fn walk(&self) -> Result<Walked> {
        self.walk_with(&mut |_| Ok(()))
    }

    /// As [`walk`](Self::walk); `each` is shown every record that verifies, up to the end that is found.
    pub(super) fn walk_with(&self, each: Each<'_>) -> Result<Walked> {
        let (below, mut numbers): (Vec<u64>, Vec<u64>) =
            list(self.dir)?.into_iter().partition(|&n| n < self.meta.front_segment);
        if self.redoing() {
            // A cut that is not finished yet: what lies behind it is gone, or going.
            numbers.retain(|&n| n <= self.meta.segment);
        }
        self.refuse_gaps(&numbers)?;
        let last = self.last_begun(&numbers)?;
        let (mut begun, mut state) = self.set_out(last)?;
        loop {
            let stop = state.run(self, each)?;
            let number = state.cursor.segment().number;
            begun.push(Begun { number, first_seq: state.cursor.segment().first_seq });
            match stop {
                Stop::Sealed { .. } if number < last => {
                    if let Some(flaw) = state.advance(self, last, stop)? {
                        return state.finish(self, last, begun, below, Some(flaw));
                    }
                }
                Stop::Sealed { .. }
                    if !numbers.contains(&number.saturating_add(1)) && !self.redoing() =>
                {
                    // The next name was synced before the seal was written.
                    let path = self.path(number.saturating_add(1));
                    return Err(damaged(&path, 0, state.next(), None, "the segment is missing"));
                }
                Stop::Sealed { .. } | Stop::Recorded => {
                    return state.finish(self, last, begun, below, None);
                }
                Stop::Flaw(why) => {
                    let flaw = Some((number, state.cursor.offset(), why));
                    return state.finish(self, last, begun, below, flaw);
                }
            }
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.path().join(segment_name(number))
    }

    /// Only a reader meets a pending cut; the owner has finished it before he walks.
    fn redoing(&self) -> bool {
        self.meta.ended == Ended::Cut
    }

    fn refuse_gaps(&self, numbers: &[u64]) -> Result<()> {
        let mut expected = self.meta.front_segment;
        for &number in numbers {
            if number != expected {
                break;
            }
            expected = expected.saturating_add(1);
        }
        let complete = expected.checked_sub(1) == numbers.last().copied();
        if complete && !numbers.is_empty() {
            return Ok(());
        }
        Err(damaged(&self.path(expected), 0, self.meta.front_seq, None, "the segment is missing"))
    }

    /// The last segment with a byte that is not zero (R1). One empty one may follow, which was prepared for use.
    fn last_begun(&self, numbers: &[u64]) -> Result<u64> {
        let mut empty = 0_u32;
        for &number in numbers.iter().rev() {
            let mut window = Window::new(open_segment(self.dir, number, How::Read)?);
            let (len, _) = read_header(&mut window)?;
            if len < SEGMENT_MIN {
                let why = "the file is shorter than a segment is ever made: somebody cut it";
                return Err(damaged(&self.path(number), len, 0, None, why));
            }
            if window.first_nonzero(0)?.is_some() {
                if empty > 1 {
                    let lost = number.saturating_add(1);
                    let why = "all its bytes are zero, yet a later segment was prepared";
                    return Err(damaged(&self.path(lost), 0, 0, None, why));
                }
                return Ok(number);
            }
            empty = empty.saturating_add(1);
        }
        let why = "its header is lost";
        Err(damaged(&self.path(self.meta.front_segment), 0, self.meta.front_seq, None, why))
    }

    /// Where to start: at the frame that the store names, if it verifies; else at the front.
    fn set_out(&self, last: u64) -> Result<(Vec<Begun>, Walk)> {
        if let Some(pos) = self.start.filter(|p| p.segment > 0)
            && let Some(walk) = self.start_at(pos, last)?
        {
            let mut begun = Vec::new();
            for number in self.meta.front_segment..pos.segment {
                let mut window = Window::new(open_segment(self.dir, number, How::Read)?);
                match read_header(&mut window)?.1 {
                    Parsed::Valid(h) => begun.push(Begun { number, first_seq: h.first_seq }),
                    _ => return Err(damaged(&self.path(number), 0, 0, None, "its header is lost")),
                }
            }
            return Ok((begun, walk));
        }
        let number = self.meta.front_segment;
        let (len, window, parsed) = self.open(number, last)?;
        match self.accept(number, parsed)? {
            Some(header) if header.first_seq == self.meta.front_seq => {
                Ok((Vec::new(), Walk::new(Cursor::new(window, len, header), None)))
            }
            _ => Err(damaged(
                &self.path(number),
                0,
                self.meta.front_seq,
                None,
                "the header of the log's first segment does not verify",
            )),
        }
    }

    fn start_at(&self, pos: LogPos, last: u64) -> Result<Option<Walk>> {
        if !(self.meta.front_segment..=last).contains(&pos.segment) {
            return Ok(None);
        }
        let (len, mut window, parsed) = self.open(pos.segment, last)?;
        let Some(segment) = self.accept(pos.segment, parsed)? else { return Ok(None) };
        if !pos.frame.is_multiple_of(8) || pos.frame < SEGMENT_HEADER as u64 {
            return Ok(None);
        }
        let bytes = window.get(pos.frame, FRAME_HEADER)?;
        match FrameHeader::decode(bytes, segment.salt, pos.frame) {
            Parsed::Valid(frame) if frame.crc == pos.frame_crc => {
                let cursor = Cursor::new(window, len, segment);
                let end = pos.frame.saturating_add(frame.frame_len());
                let covered = frame.next_seq() <= self.acknowledged.saturating_add(1) && end <= len;
                let cursor = if covered {
                    // The store has all of its records elsewhere: whether they can be read here does not matter.
                    cursor.resume(end, frame.crc, frame.next_seq())
                } else {
                    cursor.resume(pos.frame, frame.prev, frame.first_seq)
                };
                Ok(Some(Walk::new(cursor, Some(pos))))
            }
            _ => Ok(None),
        }
    }

    /// The last segment is read whole, since its tail is written again (R3); not so after a recorded end, which vouches for it.
    fn open(&self, number: u64, last: u64) -> Result<(u64, Window, Parsed<SegmentHeader>)> {
        let file = open_segment(self.dir, number, How::Read)?;
        let stat = file.stat().map_err(|e| Error::system("look at", file.path(), e))?;
        let rewrites = number == last && self.meta.ended != Ended::Clean;
        let mut window = if rewrites { Window::whole(file, stat.len)? } else { Window::new(file) };
        let (_, parsed) = read_header(&mut window)?;
        Ok((stat.len, window, parsed))
    }

    /// A header of this log and of this number; `None` if it does not verify.
    fn accept(&self, number: u64, parsed: Parsed<SegmentHeader>) -> Result<Option<SegmentHeader>> {
        match parsed {
            Parsed::Newer => Err(newer(&self.path(number), 0)),
            Parsed::Invalid => Ok(None),
            Parsed::Valid(h) => {
                let ours = (h.number, h.store_id) == (number, self.meta.store_id);
                Ok(ours.then_some(h))
            }
        }
    }
}

/// Shows the records of a frame that verified.
fn records(
    cursor: &Cursor,
    header: &FrameHeader,
    offset: u64,
    each: &mut dyn FnMut(Rec<'_>) -> Result<()>,
) -> Result<()> {
    let mut at = 0;
    for n in 0..u64::from(header.record_count) {
        let rec = record_in(cursor, header, offset, at, header.first_seq.saturating_add(n));
        at = after(cursor, at, rec.bytes);
        each(rec)?;
    }
    Ok(())
}

pub(super) fn newer(path: &std::path::Path, offset: u64) -> Error {
    let what = "it was written by a later version; update this program";
    Error::new(ErrorKind::NewerFormat, "open log", path, what).at(offset)
}

pub(super) fn damaged(
    path: &std::path::Path,
    offset: u64,
    first: u64,
    last: Option<u64>,
    why: &str,
) -> Error {
    let records = match last {
        Some(last) => format!("{first}..={last} are"),
        None if first == 0 => "may not be".to_owned(),
        None => format!("from {first} on may not be"),
    };
    let what = format!(
        "damaged: {why}; acknowledged records {records}{} readable; nothing was changed; \
         see `untorn recover` for what can be done",
        if last.is_some() { " not" } else { "" }
    );
    Error::new(ErrorKind::Damaged, "open log", path, what).at(offset)
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    /// A seal; the salt that the next segment must have.
    Sealed {
        next_salt: u32,
    },
    /// The end that META records.
    Recorded,
    Flaw(&'static str),
}

/// The state of a walk: one segment's cursor, and what was learned so far.
struct Walk {
    cursor: Cursor,
    started_at: Option<LogPos>,
    vouched: u64,
    records: u64,
    bytes: u64,
    /// Offset and first sequence number of this segment's frames above `vouched`.
    unvouched: VecDeque<(u64, u64)>,
    /// This segment's seal: its offset and the chain value before it.
    seal: Option<(u64, u32)>,
}

impl Walk {
    const fn new(cursor: Cursor, started_at: Option<LogPos>) -> Self {
        Self {
            cursor,
            started_at,
            vouched: 0,
            records: 0,
            bytes: 0,
            unvouched: VecDeque::new(),
            seal: None,
        }
    }

    const fn next(&self) -> u64 {
        self.cursor.next_seq()
    }

    /// Walks the frames of one segment.
    fn run(&mut self, route: &Route<'_>, each: Each<'_>) -> Result<Stop> {
        let meta = route.meta;
        loop {
            let at = (self.cursor.segment().number, self.cursor.offset());
            if meta.ended != Ended::Open && at >= (meta.segment, meta.offset) {
                return Ok(Stop::Recorded);
            }
            let prev = self.cursor.prev();
            match self.cursor.step()? {
                Found::Frame { header, offset } => {
                    self.vouched = self.vouched.max(header.durable_seq);
                    self.records = self.records.saturating_add(u64::from(header.record_count));
                    self.bytes = self.bytes.saturating_add(header.frame_len());
                    self.unvouched.push_back((offset, header.first_seq));
                    self.drop_vouched();
                    records(&self.cursor, &header, offset, each)?;
                    if let FrameKind::Seal { next_salt } = header.kind {
                        self.seal = Some((offset, prev));
                        return Ok(Stop::Sealed { next_salt });
                    }
                }
                Found::Newer => {
                    return Err(newer(self.cursor.file().path(), self.cursor.offset()));
                }
                Found::Flaw(why) => return Ok(Stop::Flaw(why)),
            }
        }
    }

    fn drop_vouched(&mut self) {
        while self.unvouched.front().is_some_and(|&(_, seq)| seq <= self.vouched) {
            self.unvouched.pop_front();
        }
    }

    /// Goes on to the next segment, or says why its header does not follow; the walk then stays at the seal.
    fn advance(
        &mut self,
        route: &Route<'_>,
        last: u64,
        stop: Stop,
    ) -> Result<Option<(u64, u64, &'static str)>> {
        let Stop::Sealed { next_salt } = stop else { return Ok(None) };
        let number = self.cursor.segment().number.saturating_add(1);
        // A byte in it: a sync covered all that is here (R1).
        self.vouched = self.vouched.max(self.next().saturating_sub(1));
        self.drop_vouched();
        let (len, window, parsed) = route.open(number, last)?;
        let header = route.accept(number, parsed)?;
        let follows = |h: &SegmentHeader| {
            (h.salt, h.prev, h.first_seq) == (next_salt, self.cursor.prev(), self.next())
        };
        if let Some(header) = header.filter(follows) {
            self.cursor = Cursor::new(window, len, header);
            self.unvouched.clear();
            self.seal = None;
            return Ok(None);
        }
        // Only the salt in the seal tells what may be in there.
        let salted = SegmentHeader { salt: next_salt, number, ..*self.cursor.segment() };
        let mut cursor = Cursor::new(window, len, salted).resume(0, 0, self.next());
        self.vouched = self.vouched.max(vouched_by_headers(&mut cursor)?);
        Ok(Some((number, 0, "a segment's header does not verify")))
    }

    fn finish(
        mut self,
        route: &Route<'_>,
        last: u64,
        begun: Vec<Begun>,
        below: Vec<u64>,
        flaw: Option<(u64, u64, &'static str)>,
    ) -> Result<Walked> {
        let meta = route.meta;
        let number = self.cursor.segment().number;
        let (flaw_segment, flaw_offset, mut why) =
            flaw.unwrap_or((number, self.cursor.offset(), "bytes follow the recorded end"));
        let redoing = route.redoing();
        if flaw_segment == number && flaw_segment == last && !redoing {
            let seen = if flaw.is_some() { vouched_by_headers(&mut self.cursor)? } else { 0 };
            self.vouched = self.vouched.max(seen);
        }
        let clean = meta.ended == Ended::Clean;
        if clean {
            self.vouched = self.vouched.max(meta.last_seq);
        }
        // A pending cut decides nothing about damage: it is redone first.
        self.vouched = self.vouched.max(if redoing { 0 } else { route.acknowledged });
        self.drop_vouched();
        let (bytes_end, suspect) = if flaw_segment == number {
            self.after(flaw_offset)?
        } else {
            let mut window = Window::new(open_segment(route.dir, flaw_segment, How::Read)?);
            let end = window.end_of_nonzero(0)?;
            (end, !looks_torn(&take(&mut window, 0, end)?, 0, 0))
        };
        let next = self.next();
        let facts = Facts {
            // What stands behind a recorded end was never ours.
            in_last_segment: flaw_segment == last || clean && flaw.is_none() || redoing,
            bytes_after: bytes_end > flaw_offset || flaw_segment < last,
            vouched_beyond: self.vouched >= next && !redoing,
        };
        let verdict = judge(facts);
        if verdict == Verdict::Damaged && bytes_end <= flaw_offset {
            why = "acknowledged records are missing at its end";
        }
        let flaw = (verdict != Verdict::Sound).then(|| Flaw {
            path: route.path(flaw_segment),
            offset: flaw_offset,
            why,
            seqs: (next, self.vouched.max(next)),
            bytes_end,
            suspect: suspect || clean,
        });
        let behind = (flaw_segment.saturating_add(1)..=last).collect();
        Ok(Walked {
            verdict,
            begun,
            behind,
            below,
            flaw,
            vouched: self.vouched,
            records: self.records,
            bytes: self.bytes,
            seen_to: self.cursor.offset(),
            started_at: self.started_at,
            end: self.end(next)?,
        })
    }

    /// One past the last byte after `offset` that is not zero, and whether that looks like anything but a torn write.
    fn after(&mut self, offset: u64) -> Result<(u64, bool)> {
        let segment = *self.cursor.segment();
        let window = self.cursor.window();
        let end = window.end_of_nonzero(offset)?;
        if end <= offset {
            return Ok((offset, false));
        }
        let write_end =
            match FrameHeader::decode(window.get(offset, FRAME_HEADER)?, segment.salt, offset) {
                Parsed::Valid(header) => offset
                    .saturating_add(FRAME_HEADER as u64)
                    .saturating_add(u64::from(header.body_len)),
                _ => offset.saturating_add(FRAME_HEADER as u64),
            };
        let bytes = take(window, offset, end)?;
        Ok((end, !looks_torn(&bytes, offset, write_end)))
    }

    fn end(mut self, next_seq: u64) -> Result<End> {
        let (offset, prev) = self.seal.unwrap_or((self.cursor.offset(), self.cursor.prev()));
        let from = self.unvouched.front().map_or(offset, |&(at, _)| at.min(offset));
        let unvouched = (from, take(self.cursor.window(), from, offset)?);
        let (len, segment) = (self.cursor.len(), *self.cursor.segment());
        Ok(End { len, segment, offset, prev, next_seq, unvouched })
    }
}

fn take(window: &mut Window, from: u64, to: u64) -> Result<Vec<u8>> {
    let len = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    Ok(window.get(from, len)?.to_vec())
}

/// What whole headers behind a flaw say was acknowledged (R2).
fn vouched_by_headers(cursor: &mut Cursor) -> Result<u64> {
    let (mut vouched, mut newer_at) = (0, None);
    cursor.scan_headers(|at, parsed| match parsed {
        Parsed::Valid(header) => vouched = vouched.max(header.durable_seq),
        Parsed::Newer => newer_at = newer_at.or(Some(at)),
        Parsed::Invalid => {}
    })?;
    match newer_at {
        Some(at) => Err(newer(cursor.file().path(), at)),
        None => Ok(vouched),
    }
}
