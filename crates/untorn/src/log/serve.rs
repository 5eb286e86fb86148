//! What the stores of this crate ask of their log, and programs do not.

use std::ffi::OsStr;
use std::sync::Arc;

use super::cursor::read_header;
use super::cut::load;
use super::format::{
    Ended, FRAME_HEADER, FrameHeader, META, Meta, Parsed, SEGMENT_HEADER, segment_name,
};
use super::recover::open_segment;
use super::window::Window;
use super::{Log, LogPos, Ticket};
use crate::fs::{Dir, File, How};
use crate::{Error, ErrorKind, Result};

/// What can be known of a log before it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peek {
    pub(crate) store_id: [u8; 16],
    pub(crate) first_seq: u64,
}

/// Looks at META alone; `None` if there is no log yet.
pub(crate) fn peek(dir: &dyn Dir) -> Result<Option<Peek>> {
    let meta = load(dir)?;
    Ok(meta.map(|meta| Peek { store_id: meta.store_id, first_seq: meta.front_seq }))
}

/// Whether this very frame stands at this place, by its header.
pub(crate) fn frame_stands_at(dir: &dyn Dir, pos: LogPos) -> Result<bool> {
    let file = match open_segment(dir, pos.segment, How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let mut window = Window::new(file);
    let (_, Parsed::Valid(segment)) = read_header(&mut window)? else { return Ok(false) };
    let bytes = window.get(pos.frame, FRAME_HEADER)?;
    Ok(match FrameHeader::decode(bytes, segment.salt, pos.frame) {
        Parsed::Valid(frame) => segment.number == pos.segment && frame.crc == pos.frame_crc,
        _ => false,
    })
}

/// A file of a log's copy: its name, and where its bytes come from.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(String, Vec<u8>),
    /// The file up to `used`, then zeros up to `len`.
    File {
        name: String,
        file: Arc<dyn File>,
        used: u64,
        len: u64,
    },
}

impl Log {
    /// Appends records only if the first of them gets the number `expected`; they are there all or not at all.
    ///
    /// A store that has counted ahead learns here that the log took something back: `Stale`, and nothing is appended.
    pub(crate) fn append_next(&self, expected: u64, records: &[&[u8]]) -> Result<Ticket> {
        self.put(records, true, Some(expected))
    }

    /// What all files of the store are marked with.
    pub(crate) fn store_id(&self) -> [u8; 16] {
        self.0.store_id
    }

    /// Whether the log can still be used.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        self.0.poison.check(operation, &self.0.path)?;
        self.0.queue().closed_check(&self.0.path)
    }

    /// The pieces of a closed log that holds the records from the frame `from` (or the front) to the last durable one.
    ///
    /// The caller holds a pin below them. A frame is never written again once it is synced, so copies may be made meanwhile.
    pub(crate) fn pieces(&self, from: Option<LogPos>) -> Result<Vec<Piece>> {
        let inner = &*self.0;
        let mut lane = inner.lane();
        inner.flush_all(&mut lane)?;
        let first = from.map_or(0, |pos| pos.segment);
        let segments: Vec<_> =
            inner.segments().iter().copied().filter(|s| s.number >= first).collect();
        let Some(front) = segments.first() else {
            let what = "the segment that it should begin with was dropped";
            return Err(Error::new(ErrorKind::Stale, "copy", &inner.path, what));
        };
        let current = &lane.current;
        let (number, end) = match current.seal {
            Some((offset, _)) => (current.header.number, offset),
            None => (current.header.number, current.offset),
        };
        let meta = Meta {
            ended: Ended::Clean,
            front_segment: front.number,
            front_seq: front.first_seq,
            last_seq: self.durable_seq(),
            segment: number,
            offset: end,
            frame_header: [0; FRAME_HEADER],
            ..lane.home.meta
        };
        let mut pieces = Vec::new();
        for segment in &segments {
            let name = segment_name(segment.number);
            let file = open_segment(&*inner.dir, segment.number, How::Read)?;
            let len = file.stat().map_err(|e| Error::system("look at", file.path(), e))?.len;
            let used = if segment.number == number { end } else { len };
            pieces.push(Piece::File { name, file, used: used.max(SEGMENT_HEADER as u64), len });
        }
        pieces.push(Piece::Bytes(META.to_owned(), meta.encode().to_vec()));
        Ok(pieces)
    }
}

/// Whether a directory holds a log, or what is left of one.
pub(crate) fn has_meta(dir: &dyn Dir) -> bool {
    dir.stat(OsStr::new(META)).is_ok()
}
