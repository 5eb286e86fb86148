//! Walks the frames of one segment, each verified before it is shown.

use std::sync::Arc;

use super::format::{
    FRAME_HEADER, FrameHeader, FrameKind, Parsed, RecordLayout, SEGMENT_HEADER, SegmentHeader, seed,
};
use super::window::Window;
use crate::codec::checksum::crc32;
use crate::fs::File;
use crate::{Error, Result};

/// What stands at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame; the cursor is past it now.
    Frame { header: FrameHeader, offset: u64 },
    /// No frame that continues the chain. The cursor stays.
    Flaw(&'static str),
    /// A whole header of a later version. The cursor stays.
    Newer,
}

#[derive(Debug)]
pub(super) struct Cursor {
    window: Window,
    len: u64,
    segment: SegmentHeader,
    offset: u64,
    /// Chain value of what precedes the cursor.
    prev: u32,
    next_seq: u64,
}

impl Cursor {
    /// Stands at the first frame. `segment` is the window's verified header, `len` the file's length.
    pub(super) const fn new(window: Window, len: u64, segment: SegmentHeader) -> Self {
        let offset = SEGMENT_HEADER as u64;
        Self { window, len, segment, offset, prev: segment.crc, next_seq: segment.first_seq }
    }

    /// Stands at a frame in the middle, whose header a position vouches for.
    pub(super) const fn resume(mut self, offset: u64, prev: u32, next_seq: u64) -> Self {
        self.jump(offset, prev, next_seq);
        self
    }

    pub(super) const fn jump(&mut self, offset: u64, prev: u32, next_seq: u64) {
        self.offset = offset;
        self.prev = prev;
        self.next_seq = next_seq;
    }

    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) const fn prev(&self) -> u32 {
        self.prev
    }

    pub(super) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn segment(&self) -> &SegmentHeader {
        &self.segment
    }

    pub(super) const fn layout(&self) -> RecordLayout {
        RecordLayout { record_crc: self.segment.record_crc, salt: self.segment.salt }
    }

    pub(super) fn file(&self) -> &Arc<dyn File> {
        self.window.file()
    }

    pub(super) const fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    /// The body of the frame that was found last.
    pub(super) fn body(&self, header: &FrameHeader, offset: u64) -> &[u8] {
        let at = offset.saturating_add(FRAME_HEADER as u64);
        self.window.held(at, header.body_len as usize).unwrap_or_default()
    }

    /// The next frame, verified: chain, sequence, bounds, checksums, padding.
    pub(super) fn step(&mut self) -> Result<Found> {
        let offset = self.offset;
        if offset.saturating_add(FRAME_HEADER as u64) > self.len {
            return Ok(Found::Flaw("the segment ends"));
        }
        let bytes = self.window.get(offset, FRAME_HEADER)?;
        let header = match FrameHeader::decode(bytes, self.segment.salt, offset) {
            Parsed::Valid(header) => header,
            Parsed::Newer => return Ok(Found::Newer),
            Parsed::Invalid => return Ok(Found::Flaw("no frame header verifies")),
        };
        if let Some(why) = self.breaks(&header) {
            return Ok(Found::Flaw(why));
        }
        if let FrameKind::Data { body_crc } = header.kind {
            let layout = self.layout();
            let frame = usize::try_from(header.frame_len()).unwrap_or(usize::MAX);
            let frame = self.window.get(offset, frame)?;
            let rest = frame.get(FRAME_HEADER..).unwrap_or_default();
            let Some((body, padding)) = rest.split_at_checked(header.body_len as usize) else {
                return Ok(Found::Flaw("the file ends inside a frame"));
            };
            if crc32(body, seed(header.salt, offset)) != body_crc {
                return Ok(Found::Flaw("a frame's body does not verify"));
            }
            if padding.iter().any(|&b| b != 0) || !layout.adds_up(body, header.record_count) {
                return Ok(Found::Flaw("a frame's records do not add up"));
            }
        }
        self.offset = offset.saturating_add(header.frame_len());
        self.prev = header.crc;
        self.next_seq = header.next_seq();
        Ok(Found::Frame { header, offset })
    }

    /// Why a valid header does not continue the chain, before its body is looked at.
    fn breaks(&self, header: &FrameHeader) -> Option<&'static str> {
        let end = self.offset.saturating_add(header.frame_len());
        let empty = matches!(header.kind, FrameKind::Data { .. }) && header.record_count == 0;
        if header.prev != self.prev {
            Some("a frame does not follow the one before it")
        } else if header.first_seq != self.next_seq {
            Some("a frame has the wrong sequence number")
        } else if end > self.len || empty || header.durable_seq >= header.first_seq {
            Some("a frame's lengths do not add up")
        } else {
            None
        }
    }

    /// From the cursor on, in steps of 8, the headers that verify by themselves, wherever they stand in the chain.
    pub(super) fn scan_headers(
        &mut self,
        mut found: impl FnMut(u64, Parsed<FrameHeader>),
    ) -> Result<()> {
        let mut at = self.offset;
        while at.saturating_add(FRAME_HEADER as u64) <= self.len {
            let bytes = self.window.get(at, FRAME_HEADER)?;
            if bytes.starts_with(&[0; 8]) {
                // No header begins with zero (L1): on to the next byte that is none.
                let Some(next) = self.window.first_nonzero(at)? else { break };
                at = at.saturating_add(next.saturating_sub(at) & !7);
                continue;
            }
            match FrameHeader::decode(bytes, self.segment.salt, at) {
                Parsed::Invalid => {}
                parsed => found(at, parsed),
            }
            at = at.saturating_add(8);
        }
        Ok(())
    }
}

/// Opens a segment's file and reads its header.
pub(super) fn read_header(window: &mut Window) -> Result<(u64, Parsed<SegmentHeader>)> {
    let file = window.file();
    let stat = file.stat().map_err(|e| Error::system("look at", file.path(), e))?;
    let bytes = window.get(0, SEGMENT_HEADER)?;
    Ok((stat.len, SegmentHeader::decode(bytes)))
}
