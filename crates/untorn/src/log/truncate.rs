//! Takes records away: whole segments at the front, exactly at the back; and records the end at a close.

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use super::cursor::{Cursor, Found, read_header};
use super::format::{
    Ended, FRAME_HEADER, FrameHeader, FrameKind, Meta, Parsed, SEGMENT_HEADER, seed, segment_name,
};
use super::lane::{Current, Lane};
use super::queue::Pending;
use super::recover::open_segment;
use super::window::Window;
use super::{Inner, Log};
use crate::codec::bytes::pad8;
use crate::codec::checksum::crc32;
use crate::commit;
use crate::fs::How;
use crate::{Error, ErrorKind, Outcome, Result};

impl Log {
    /// Drops whole segments whose records are all below `keep_from`; returns the new [`first_seq`](Self::first_seq).
    ///
    /// Stops at the oldest [`Pin`](super::Pin), and keeps the segment that is being written.
    ///
    /// # Durability
    /// **On `Ok`** what was dropped never comes back. **On `Err`** with `Unchanged` all records are there; with `Applied` the
    /// front moved, but a file could not be removed: the next open does that; with `Unknown` the log is poisoned. **If the process dies** or **if power fails** the old front or the new one holds.
    ///
    /// # Cost
    /// Two syncs if a segment goes, else none.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`, `NoSpace`, `Io`.
    pub fn truncate_front(&self, keep_from: u64) -> Result<u64> {
        let inner = &*self.0;
        let mut lane = inner.lane();
        inner.poison.check("truncate", &inner.path)?;
        inner.queue().closed_check(&inner.path)?;
        let pinned = inner.pins().iter().map(|&(_, seq)| seq).min().unwrap_or(u64::MAX);
        // The front moves only to a segment whose header a sync covers.
        let synced = |number| number != lane.current.header.number || lane.current.header_synced;
        let front = {
            let segments = inner.segments();
            let keeps = |first_seq| first_seq <= keep_from.min(pinned);
            segments.iter().rev().find(|s| keeps(s.first_seq) && synced(s.number)).copied()
        };
        let Some(front) = front.filter(|f| f.number > lane.home.meta.front_segment) else {
            return Ok(self.first_seq());
        };
        let meta = lane.home.meta;
        let moved = Meta { front_segment: front.number, front_seq: front.first_seq, ..meta };
        inner.store_meta(&mut lane, moved)?;
        inner.first.store(front.first_seq, Release);
        inner.segments().retain(|s| s.number >= front.number);
        // Not synced: what comes back lies below the front, and the next open sweeps it.
        let unlink = |number| commit::unlink(&*lane.home.dir, OsStr::new(&segment_name(number)));
        let mut removed = (meta.front_segment..front.number).map(unlink);
        let first_failure = removed.find_map(Result::err);
        removed.for_each(drop);
        match first_failure {
            None => Ok(front.first_seq),
            Some(error) => Err(error.with_outcome(Outcome::Applied)),
        }
    }

    /// Drops all records above `last`. What is appended afterwards gets their numbers again.
    ///
    /// # Durability
    /// **On `Ok`** what was dropped never comes back, and all that is left survives power loss. **On `Err`** with `Unchanged` all
    /// records are there; with `Unknown` the log is poisoned. **If the process dies** or **if power fails** meanwhile, all of
    /// it is done at the next open, or nothing.
    ///
    /// # Cost
    /// Six syncs, one more if something is pending; the rest of the segment is zeroed. Other appends wait.
    ///
    /// # Errors
    /// `OutOfRange` below `first_seq - 1`; `Poisoned`, `Closed`, `NoSpace`, `Io`. Waiters above `last` get `Stale`.
    pub fn truncate_back(&self, last: u64) -> Result<()> {
        let inner = &*self.0;
        let mut lane = inner.lane();
        inner.queue().closed_check(&inner.path)?;
        let first = self.first_seq();
        if last.saturating_add(1) < first {
            let what =
                format!("the log begins at {first}; nothing below it can be the last record");
            return Err(Error::new(ErrorKind::OutOfRange, "truncate", &inner.path, what));
        }
        inner.flush_all(&mut lane)?;
        let mut queue = inner.queue();
        if last.saturating_add(1) >= queue.next_seq {
            return Ok(());
        }
        let place = inner.find_end(&lane, last)?;
        let number = place.current.header.number;
        let before = std::mem::replace(&mut lane.current, place.current);
        inner.cuts.fetch_add(1, AcqRel);
        let outcome = match inner.cut_here(&mut lane, &mut queue, last, place.frame_header) {
            Ok(()) => {
                let what = "a truncate_back removed the record";
                Arc::new(Error::new(ErrorKind::Stale, "wait for", &inner.path, what))
            }
            Err(error) if error.outcome() == Outcome::Unchanged => {
                lane.current = before;
                return Err(error);
            }
            // The cut is begun, and only a reopen can finish it.
            Err(error) => {
                let cause = Arc::new(error);
                inner.poison_by(&cause);
                cause
            }
        };
        inner.segments().retain(|s| s.number <= number);
        lane.vouched = lane.vouched.min(last);
        queue.pending_bytes = 0;
        let dropped: Vec<Pending> = queue.groups.drain(..).collect();
        drop(queue);
        for pending in dropped {
            pending.group.complete(Err(Arc::clone(&outcome)));
        }
        inner.poison.check("truncate", &inner.path)
    }
}

/// Where a log is to end.
struct Place {
    /// Its state with the cut as its end.
    current: Current,
    frame_header: Option<[u8; FRAME_HEADER]>,
}

impl Inner {
    /// Finds the frame of `last`, and shortens it if `last` is not its last record.
    fn find_end(&self, lane: &Lane, last: u64) -> Result<Place> {
        let segments = self.segments().clone();
        let begun = segments.iter().rev().find(|s| s.first_seq <= last).or(segments.first());
        let Some(begun) = begun.copied() else { return Err(self.lost(0)) };
        let file = open_segment(&*lane.home.dir, begun.number, How::Write)?;
        let mut window = Window::new(Arc::clone(&file));
        let (len, Parsed::Valid(header)) = read_header(&mut window)? else {
            return Err(self.lost(0));
        };
        let mut cursor = Cursor::new(window, len, header);
        let mut place = Place {
            current: Current {
                file,
                header,
                len,
                offset: SEGMENT_HEADER as u64,
                chain: header.crc,
                seal: None,
                header_synced: true,
            },
            frame_header: None,
        };
        while cursor.next_seq() <= last {
            let Found::Frame { header: frame, offset } = cursor.step()? else {
                return Err(self.lost(cursor.offset()));
            };
            place.current.offset = cursor.offset();
            place.current.chain = cursor.prev();
            if frame.next_seq() > last.saturating_add(1) {
                let keep = last.saturating_add(1).saturating_sub(frame.first_seq);
                let Some((bytes, end)) = shorten(&cursor, &frame, offset, keep) else {
                    return Err(self.lost(offset));
                };
                place.current.offset = end;
                place.current.chain = super::lane::own_crc(&bytes);
                place.frame_header = Some(bytes);
                break;
            }
        }
        Ok(place)
    }

    fn lost(&self, offset: u64) -> Error {
        let what = "records that were verified at open do not verify any more; nothing was changed";
        Error::new(ErrorKind::Damaged, "truncate", &self.path, what).at(offset)
    }

    /// Records the end of a log in META, if the log may vouch for all of it.
    pub(super) fn record_end(&self, lane: &mut Lane) -> Result<()> {
        let written = self.written.load(Acquire);
        if lane.home.meta.ended == Ended::Clean || self.acknowledged() < written {
            return Ok(());
        }
        let current = &lane.current;
        let meta = Meta {
            ended: Ended::Clean,
            last_seq: written,
            segment: current.header.number,
            offset: current.offset,
            ..lane.home.meta
        };
        self.store_meta(lane, meta)
    }
}

/// The header of a frame with only its first `keep` records, and where that frame ends.
fn shorten(
    cursor: &Cursor,
    frame: &FrameHeader,
    offset: u64,
    keep: u64,
) -> Option<([u8; FRAME_HEADER], u64)> {
    let body = cursor.body(frame, offset);
    let layout = cursor.layout();
    let mut len = 0_usize;
    for _ in 0..keep {
        let record = layout.decode(body.get(len..)?, 0, false)?;
        len = len.checked_add(layout.prefix())?.checked_add(record.len())?;
    }
    let body = body.get(..len)?;
    let header = FrameHeader {
        kind: FrameKind::Data { body_crc: crc32(body, seed(frame.salt, offset)) },
        body_len: u32::try_from(len).ok()?,
        record_count: u32::try_from(keep).ok()?,
        ..*frame
    };
    let end = offset.checked_add(FRAME_HEADER as u64)?.checked_add(pad8(len as u64))?;
    Some((header.encode(offset), end))
}
