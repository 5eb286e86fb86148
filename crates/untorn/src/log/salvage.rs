//! What can be proven to be good in a damaged log: every frame that verifies by itself, around the holes.

use std::path::{Path, PathBuf};

use super::cursor::{Cursor, Found, read_header};
use super::cut::{load, no_directory};
use super::format::{FRAME_HEADER, FrameHeader, FrameKind, Parsed, SegmentHeader};
use super::options::LogOptions;
use super::recover::{list, open_segment};
use super::scan::Rec;
use super::window::Window;
use super::{Log, LogPos};
use crate::Result;
use crate::commit::Claim;
use crate::fs::{Dir, How};

/// Bytes that could not be proven to be records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hole {
    /// The segment.
    pub path: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The records that are missing before the next good one: first and last; `None` at the log's end.
    pub seqs: Option<(u64, u64)>,
}

/// What a salvage found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Records handed out.
    pub records: u64,
    /// What lies between them.
    pub holes: Vec<Hole>,
}

impl Log {
    /// Hands out every record of the log at `path` that lies in a frame that verifies, in order, around whatever does not.
    ///
    /// Changes nothing but the text in `LOCK`. The records keep their numbers; where some are missing is in the report. Write them to a new log.
    ///
    /// # Errors
    /// `Locked` if an owner lives; `NotFound`; `NotOurs`; `NewerFormat`; `Io`; and those of `each`, which end it.
    pub fn salvage(
        path: impl AsRef<Path>,
        options: &LogOptions,
        each: impl FnMut(Rec<'_>) -> Result<()>,
    ) -> Result<SalvageReport> {
        let path = path.as_ref();
        let dir = options.fs.open_dir(path).map_err(|e| no_directory(path, e))?;
        if list(&*dir)?.is_empty() {
            return Err(super::cut::not_ours(&*dir));
        }
        let _claim = Claim::take(&*options.fs, &*dir)?;
        Self::survey(&*dir, each)
    }

    /// As [`salvage`](Self::salvage), without a lock: what an owner does meanwhile may look like a hole.
    pub(crate) fn survey(
        dir: &dyn Dir,
        mut each: impl FnMut(Rec<'_>) -> Result<()>,
    ) -> Result<SalvageReport> {
        let numbers = list(dir)?;
        // A lost META is no reason to lose the records.
        let front = load(dir).ok().flatten().map_or(0, |meta| meta.front_segment);
        let mut report = SalvageReport::default();
        let mut next_salt = None;
        let mut next_seq = None;
        for number in numbers.into_iter().filter(|&n| n >= front) {
            let salt = next_salt.take();
            let mut segment = match open(dir, number, salt)? {
                Some(cursor) => Segment { cursor, next_seq, hole: None },
                None => continue,
            };
            next_salt = segment.run(&mut report, &mut each)?;
            next_seq = segment.next_seq;
        }
        Ok(report)
    }
}

/// A cursor at the segment's start; if its header is lost, by the salt that the seal before it gave.
fn open(dir: &dyn Dir, number: u64, salt: Option<u32>) -> Result<Option<Cursor>> {
    let mut window = Window::new(open_segment(dir, number, How::Read)?);
    if window.first_nonzero(0)?.is_none() {
        return Ok(None);
    }
    let (len, parsed) = read_header(&mut window)?;
    let header = match (parsed, salt) {
        (Parsed::Newer, _) => return Err(super::recover::newer(window.file().path(), 0)),
        (Parsed::Valid(header), _) => return Ok(Some(Cursor::new(window, len, header))),
        (Parsed::Invalid, Some(salt)) => SegmentHeader {
            store_id: [0; 16],
            owner: [0; 4],
            number,
            first_seq: 0,
            salt,
            prev: 0,
            record_crc: false,
            crc: 0,
        },
        (Parsed::Invalid, None) => return Ok(None),
    };
    Ok(Some(Cursor::new(window, len, header).resume(0, 0, 0)))
}

struct Segment {
    cursor: Cursor,
    /// The number after the last record that was handed out, if there was one.
    next_seq: Option<u64>,
    hole: Option<u64>,
}

impl Segment {
    /// Goes through one segment; returns the salt in its seal.
    fn run(
        &mut self,
        report: &mut SalvageReport,
        each: &mut impl FnMut(Rec<'_>) -> Result<()>,
    ) -> Result<Option<u32>> {
        loop {
            let at = self.cursor.offset();
            match self.cursor.step()? {
                Found::Frame { header, offset } => {
                    self.close_hole(report, offset, Some(&header));
                    if let FrameKind::Seal { next_salt } = header.kind {
                        return Ok(Some(next_salt));
                    }
                    self.hand_out(&header, offset, report, each)?;
                }
                Found::Newer => return Err(super::recover::newer(self.cursor.file().path(), at)),
                Found::Flaw(_) => {
                    self.hole = self.hole.or(Some(at));
                    if !self.find_next(at.saturating_add(8))? {
                        let end = self.cursor.window().end_of_nonzero(at)?;
                        self.close_hole(report, end, None);
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Moves to the next header that verifies by itself.
    fn find_next(&mut self, from: u64) -> Result<bool> {
        let salt = self.cursor.segment().salt;
        let mut at = from;
        while at.saturating_add(FRAME_HEADER as u64) <= self.cursor.len() {
            let bytes = self.cursor.window().get(at, FRAME_HEADER)?;
            if let Parsed::Valid(header) = FrameHeader::decode(bytes, salt, at) {
                self.cursor.jump(at, header.prev, header.first_seq);
                return Ok(true);
            }
            at = at.saturating_add(8);
        }
        Ok(false)
    }

    fn close_hole(&mut self, report: &mut SalvageReport, end: u64, found: Option<&FrameHeader>) {
        let expected = self.next_seq;
        let missing = found.zip(expected).and_then(|(header, expected)| {
            (header.first_seq > expected).then(|| (expected, header.first_seq.saturating_sub(1)))
        });
        let start = self.hole.take();
        // A tail of zeros is no hole; records that are missing without one lay in a segment that is gone.
        if missing.is_none() && start.is_none_or(|start| end <= start) {
            return;
        }
        let offset = start.unwrap_or(end);
        report.holes.push(Hole {
            path: self.cursor.file().path().to_path_buf(),
            offset,
            bytes: end.saturating_sub(offset),
            seqs: missing,
        });
    }

    fn hand_out(
        &mut self,
        header: &FrameHeader,
        offset: u64,
        report: &mut SalvageReport,
        each: &mut impl FnMut(Rec<'_>) -> Result<()>,
    ) -> Result<()> {
        let layout = self.cursor.layout();
        let segment = self.cursor.segment().number;
        let body = self.cursor.body(header, offset);
        let mut at = 0_usize;
        for seq in header.first_seq..header.next_seq() {
            let rest = body.get(at..).unwrap_or_default();
            let Some(bytes) = layout.decode(rest, 0, false) else { break };
            let in_frame = u32::try_from(at.saturating_add(FRAME_HEADER)).unwrap_or(u32::MAX);
            let pos = LogPos { segment, frame: offset, at: in_frame, frame_crc: header.crc };
            each(Rec { seq, bytes, pos })?;
            report.records = report.records.saturating_add(1);
            at = at.saturating_add(layout.prefix()).saturating_add(bytes.len());
        }
        self.next_seq = Some(header.next_seq());
        Ok(())
    }
}
