//! What a copy of a log consists of: the copy is a log that was closed in order.

use std::sync::Arc;

use super::format::{Ended, FRAME_HEADER, META, Meta, SEGMENT_HEADER, segment_name};
use super::recover::open_segment;
use super::{Log, LogPos};
use crate::fs::{File, How};
use crate::{Error, ErrorKind, Result};

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
    /// The last event, and the pieces of a closed log that holds the records from the frame `from` (or the front) to the last durable one.
    ///
    /// The caller holds a pin below them. A frame is never written again once it is synced, so copies may be made meanwhile.
    pub(crate) fn pieces(&self, from: Option<LogPos>) -> Result<(u64, Vec<Piece>)> {
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
        Ok((meta.last_seq, pieces))
    }
}
