//! Admission: what is appended gets its number and its place here, in memory, under one short lock.
//!
//! # Invariants
//! - Q1 A record is admitted only where zero-filled space is ready for it: after that no full disk can refuse it
//!   (where reserved space is really reserved).
//! - Q2 A frame never crosses a segment; 48 bytes before its end are kept for the seal.
//! - Q3 Groups are written in the order of the queue, and the last one alone still takes records.

use std::collections::VecDeque;
use std::sync::Arc;

use super::format::{FRAME_HEADER, RecordLayout, SEGMENT_HEADER};
use super::ticket::Group;
use crate::codec::bytes::pad8;
use crate::fs::File;

/// Room before a body, so that headers and body go out in one write.
pub(super) const HEADROOM: usize = SEGMENT_HEADER + FRAME_HEADER;
const FRAME: u64 = FRAME_HEADER as u64;
/// Buffers above this are not kept for reuse.
const KEEP_BUFFER: usize = 8 << 20;

/// A segment of zeros, synced, with a synced name.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) number: u64,
    pub(super) len: u64,
    pub(super) file: Arc<dyn File>,
}

/// Where the next frame goes.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) segment: u64,
    pub(super) len: u64,
    pub(super) offset: u64,
    pub(super) salt: u32,
    /// The segment has no header yet: the next group brings it.
    pub(super) begins: Option<Ready>,
}

/// Records that go out as one frame.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) group: Arc<Group>,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) salt: u32,
    pub(super) begins: Option<Ready>,
    /// `HEADROOM`, then the body.
    pub(super) buffer: Vec<u8>,
    pub(super) first_seq: u64,
    pub(super) count: u32,
    /// The salt of the next segment, if this one ends here.
    pub(super) seal: Option<u32>,
}

impl Pending {
    pub(super) fn body_len(&self) -> usize {
        self.buffer.len().saturating_sub(HEADROOM)
    }

    /// Where its frame ends, without a seal; a group of no records is a seal alone.
    pub(super) fn end(&self) -> u64 {
        let frame = if self.count == 0 { 0 } else { FRAME };
        self.offset.saturating_add(frame).saturating_add(pad8(self.body_len() as u64))
    }
}

/// What admission says.
pub(super) enum Admitted {
    /// The last record's number, and its offset in its frame.
    Yes { seq: u64, at: u32, group: Arc<Group> },
    /// Too much is pending: help to write it.
    Full,
    /// A segment of this length has to be prepared first.
    NeedsSegment(u64),
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) groups: VecDeque<Pending>,
    pub(super) next_seq: u64,
    pub(super) tail: Tail,
    pub(super) ready: Option<Ready>,
    pub(super) pending_bytes: usize,
    pub(super) closed: bool,
    pub(super) record_crc: bool,
    pub(super) max_pending: usize,
    pub(super) max_group: usize,
    spare: Vec<Vec<u8>>,
}

impl Queue {
    pub(super) const fn new(
        next_seq: u64,
        tail: Tail,
        ready: Option<Ready>,
        record_crc: bool,
        limits: (usize, usize),
    ) -> Self {
        Self {
            groups: VecDeque::new(),
            next_seq,
            tail,
            ready,
            pending_bytes: 0,
            closed: false,
            record_crc,
            max_pending: limits.0,
            max_group: limits.1,
            spare: Vec::new(),
        }
    }

    pub(super) const fn layout(&self) -> RecordLayout {
        RecordLayout { record_crc: self.record_crc, salt: self.tail.salt }
    }

    /// Admits records that go into one frame. `new_salt` is asked when a segment is sealed.
    pub(super) fn admit(&mut self, records: &[&[u8]], new_salt: impl FnOnce() -> u32) -> Admitted {
        let prefix = self.layout().prefix();
        let bytes: usize =
            records.iter().map(|r| r.len().saturating_add(prefix)).fold(0, usize::saturating_add);
        if self.pending_bytes > 0 && self.pending_bytes.saturating_add(bytes) > self.max_pending {
            return Admitted::Full;
        }
        let open = self.groups.back().filter(|g| g.count > 0 && g.seal.is_none());
        let joins = open.is_some_and(|group| {
            let body = group.body_len().saturating_add(bytes);
            body <= self.max_group && self.fits(group.offset, body)
        });
        if !joins && !self.fits(self.next_offset(), bytes) {
            let needs = space_for(bytes);
            let Some(ready) = self.ready.take_if(|ready| ready.len >= needs) else {
                return Admitted::NeedsSegment(needs);
            };
            self.roll(ready, new_salt());
        }
        if !joins {
            self.open_group();
        }
        self.push(records, bytes)
    }

    /// Q2: whether a frame with this body, and a seal behind it, fits at `offset` of the tail's segment.
    fn fits(&self, offset: u64, body: usize) -> bool {
        let end = offset.saturating_add(FRAME).saturating_add(pad8(body as u64));
        end.saturating_add(FRAME) <= self.tail.len
    }

    /// Where a frame behind all that is queued would start.
    pub(super) fn next_offset(&self) -> u64 {
        match self.groups.back() {
            Some(last) if last.segment == self.tail.segment => last.end(),
            _ => self.tail.offset,
        }
    }

    /// Ends the tail's segment with a seal, and goes on in the next.
    fn roll(&mut self, ready: Ready, salt: u32) {
        match self.groups.back_mut() {
            Some(last) if last.segment == self.tail.segment => last.seal = Some(salt),
            // What the seal would follow is written already: it goes out alone, one sync more.
            _ => {
                self.open_group();
                if let Some(alone) = self.groups.back_mut() {
                    alone.seal = Some(salt);
                }
            }
        }
        self.move_tail(ready, salt);
    }

    fn move_tail(&mut self, ready: Ready, salt: u32) {
        self.tail = Tail {
            segment: ready.number,
            len: ready.len,
            offset: SEGMENT_HEADER as u64,
            salt,
            begins: Some(ready),
        };
    }

    fn open_group(&mut self) {
        let offset = self.next_offset();
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.resize(HEADROOM, 0);
        self.groups.push_back(Pending {
            group: Arc::new(Group::default()),
            segment: self.tail.segment,
            offset,
            salt: self.tail.salt,
            begins: self.tail.begins.take(),
            buffer,
            first_seq: self.next_seq,
            count: 0,
            seal: None,
        });
    }

    fn push(&mut self, records: &[&[u8]], bytes: usize) -> Admitted {
        let layout = self.layout();
        let Some(last) = self.groups.back_mut() else { return Admitted::Full };
        let mut at = 0;
        for record in records {
            at = FRAME.saturating_add(last.body_len() as u64);
            layout.encode(record, last.offset.saturating_add(at), &mut last.buffer);
            last.count = last.count.saturating_add(1);
            self.next_seq = self.next_seq.saturating_add(1);
        }
        self.pending_bytes = self.pending_bytes.saturating_add(bytes);
        Admitted::Yes {
            seq: self.next_seq.saturating_sub(1),
            at: u32::try_from(at).unwrap_or(u32::MAX),
            group: Arc::clone(&last.group),
        }
    }

    /// Takes the first group out, to be written. From now on it takes no more records.
    pub(super) fn pop(&mut self, new_salt: impl FnOnce() -> u32) -> Option<Pending> {
        let mut first = self.groups.pop_front()?;
        self.pending_bytes = self.pending_bytes.saturating_sub(first.body_len());
        if first.segment == self.tail.segment {
            self.tail.offset = first.end();
            if self.groups.is_empty() && first.seal.is_none() {
                self.seal_early(&mut first, new_salt);
            }
        }
        Some(first)
    }

    /// Where the next group would hardly fit, the seal goes along with this one and costs no sync of its own.
    fn seal_early(&mut self, first: &mut Pending, new_salt: impl FnOnce() -> u32) {
        let left = self.tail.len.saturating_sub(first.end()).saturating_sub(FRAME);
        let frame = first.end().saturating_sub(first.offset);
        if left < frame.min(self.tail.len / 64)
            && let Some(ready) = self.ready.take()
        {
            let salt = new_salt();
            first.seal = Some(salt);
            self.move_tail(ready, salt);
        }
    }

    /// The length of the segment that is prepared and not begun; 0 if there is none.
    pub(super) fn unbegun_len(&self) -> u64 {
        let unbegun = self.tail.begins.as_ref().or(self.ready.as_ref());
        unbegun.map_or(0, |ready| ready.len)
    }

    /// Puts the segment `number`, which is not begun, out of reach of appends.
    pub(super) fn take_unbegun(&mut self, number: u64) -> Option<Ready> {
        if self.tail.segment == number {
            self.tail.len = 0; // nothing fits
            return self.tail.begins.take();
        }
        self.ready.take_if(|ready| ready.number == number)
    }

    /// Puts a segment that is not begun within reach: as the tail, or as the one after it.
    pub(super) fn put_unbegun(&mut self, ready: Ready) {
        if self.tail.segment == ready.number {
            self.tail.len = ready.len;
            self.tail.begins = Some(ready);
        } else {
            self.ready = Some(ready);
        }
    }

    /// Keeps a buffer for the next group.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= KEEP_BUFFER && self.spare.len() < 2 {
            self.spare.push(buffer);
        }
    }
}

/// The length of a segment that holds one frame with this body.
fn space_for(body: usize) -> u64 {
    (SEGMENT_HEADER as u64)
        .saturating_add(FRAME)
        .saturating_add(pad8(body as u64))
        .saturating_add(FRAME)
}
