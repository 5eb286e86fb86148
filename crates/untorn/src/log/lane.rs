//! The lane: whoever holds it writes frames, syncs them and wakes those who wait. One sync in flight.
//!
//! # Invariants
//! - W1 The lane is held by code that runs, never by a queued task; whoever leaves it nudges the next who waits.
//! - W2 `durable_seq` of the log rises only after a sync returned Ok, and of a frame says only what was so before it was written.
//! - W3 A segment's header is written only after the sync of the seal that leads to it.
//! - W4 After a failed write or sync the handle is poisoned, and every group that was taken out is completed.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, PoisonError};

use super::company::Company;
use super::cut::{CutAt, Home};
use super::format::{
    Ended, FRAME_HEADER, FrameHeader, FrameKind, Meta, SEGMENT_HEADER, SegmentHeader, seed,
};
use super::prepare::{Preparing, usual_len};
use super::queue::{HEADROOM, Pending, Queue, Ready, Tail};
use super::recover::Begun;
use super::ticket::Group;
use super::{Inner, LogPos};
use crate::codec::bytes::pad8;
use crate::codec::checksum::crc32;
use crate::commit;
use crate::fs::{File, SyncSite};
use crate::{Durability, Error, ErrorKind, Outcome, Result};

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) file: Arc<dyn File>,
    pub(super) header: SegmentHeader,
    pub(super) len: u64,
    /// Where the next frame goes.
    pub(super) offset: u64,
    /// The chain value so far.
    pub(super) chain: u32,
    /// The seal, if it is written: its offset and the chain value before it.
    pub(super) seal: Option<(u64, u32)>,
    /// Whether a sync covers the header.
    pub(super) header_synced: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) home: Home,
    pub(super) current: Current,
    pub(super) preparing: Option<Preparing>,
    /// The largest `durable_seq` in a frame on disk.
    pub(super) vouched: u64,
    /// Something is written that no sync covers.
    pub(super) dirty: bool,
    pub(super) company: Company,
}

/// How far to drive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until<'a> {
    Group(&'a Group),
    /// Until no more than so many bytes are pending.
    Pending(usize),
    Empty,
}

/// Poisons the log if its holder leaves without an outcome, so that nobody waits for ever.
struct Flight<'a> {
    inner: &'a Inner,
    group: Option<Arc<Group>>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            let what = "the writing thread panicked";
            let cause = Error::new(ErrorKind::Failed, "write", &self.inner.path, what)
                .with_outcome(Outcome::Unknown);
            self.inner.fail_all(&group, cause);
        }
    }
}

impl Inner {
    /// Before anything follows a recorded end, the record of it goes. Done at admission, where a full disk changes nothing.
    pub(super) fn clear_recorded_end(&self, lane: &mut Lane) -> Result<()> {
        if lane.home.meta.ended == Ended::Clean {
            let open = Meta { ended: Ended::Open, ..lane.home.meta };
            self.store_meta(lane, open)?;
        }
        self.recorded_end.store(false, Release);
        Ok(())
    }

    /// Replaces META; if it is not known which one the disk has, the log is poisoned.
    pub(super) fn store_meta(&self, lane: &mut Lane, meta: Meta) -> Result<()> {
        let Err(error) = lane.home.store(meta) else { return Ok(()) };
        if error.outcome() == Outcome::Unchanged {
            return Err(error);
        }
        let cause = Arc::new(error);
        self.poison_by(&cause);
        Err(Error::share(&cause))
    }

    /// From now on every call says so, and nobody watches in vain.
    pub(super) fn poison_by(&self, cause: &Arc<Error>) {
        self.poison.set(Arc::clone(cause));
        self.watch.ring();
    }

    /// Writes queued groups, in order, and syncs each with `Synced`. Errors reach those who wait for the groups.
    pub(super) fn drive(&self, lane: &mut Lane, until: Until<'_>) {
        loop {
            let pending = {
                let mut queue = self.queue();
                let enough = match until {
                    Until::Group(group) => group.outcome().is_some(),
                    Until::Pending(bytes) => queue.pending_bytes <= bytes,
                    Until::Empty => false,
                };
                if enough {
                    return;
                }
                match queue.pop(|| self.new_salt()) {
                    Some(pending) => pending,
                    None => return,
                }
            };
            self.room.notify_all();
            let group = Arc::clone(&pending.group);
            let mut flight = Flight { inner: self, group: Some(Arc::clone(&group)) };
            let written = self.write(lane, pending);
            flight.group = None;
            match written {
                Ok(frame) => {
                    let waiting = group.waiting();
                    group.complete(Ok(frame));
                    lane.company.expected = waiting.saturating_add(self.waiting_next());
                }
                Err(e) => self.fail_all(&group, e),
            }
        }
    }

    /// Poisons the log; `group` and all that is queued fail with the same cause.
    fn fail_all(&self, group: &Arc<Group>, error: Error) {
        // A withdrawal left the log sound: it fails what was withdrawn, and the log goes on.
        let goes_on = error.outcome() == Outcome::Unchanged;
        let cause = Arc::new(error);
        if !goes_on {
            self.poison_by(&cause);
        }
        let queued: Vec<Pending> =
            if goes_on { Vec::new() } else { self.queue().groups.drain(..).collect() };
        group.complete(Err(Arc::clone(&cause)));
        for pending in queued {
            pending.group.complete(Err(Arc::clone(&cause)));
        }
        self.room.notify_all();
    }

    /// One write, and with `Synced` one sync, for a group.
    fn write(&self, lane: &mut Lane, mut pending: Pending) -> Result<LogPos> {
        self.poison.check("write", &self.path)?;
        let begun = match pending.begins.take() {
            Some(ready) => {
                self.sync_lane(lane)?; // W3: with `Buffered` nothing has synced the seal yet
                Some(lane.begin(&ready, pending.salt, pending.first_seq))
            }
            None => None,
        };
        let current = begun.as_ref().unwrap_or(&lane.current);
        let durable = self.acknowledged();
        let frame = seal_buffer(current, &mut pending, durable);
        let (skip, at) = match &begun {
            Some(new) => {
                let head = pending.buffer.get_mut(..SEGMENT_HEADER);
                if let Some(head) = head {
                    head.copy_from_slice(&new.header.encode());
                }
                (0, 0)
            }
            None => (SEGMENT_HEADER, pending.offset),
        };
        let bytes = pending.buffer.get(skip..).unwrap_or_default();
        if let Err(e) = current.file.write_at(bytes, at) {
            let error = Error::system("append to", current.file.path(), e).at(at);
            return Err(self.withdraw(lane, pending.first_seq, begun.is_some(), error));
        }
        if let Some(new) = begun {
            self.segments()
                .push(Begun { number: new.header.number, first_seq: new.header.first_seq });
            lane.current = new;
        }
        lane.current.offset = frame.end;
        lane.current.chain = frame.chain;
        lane.current.seal = frame.seal;
        lane.dirty = true;
        lane.vouched = lane.vouched.max(durable);
        self.count_frame(&pending, bytes.len());
        let last = pending.first_seq.saturating_add(u64::from(pending.count)).saturating_sub(1);
        self.written.store(last, Release);
        if self.options.durability == Durability::Synced {
            self.sync_lane(lane)?;
        }
        let segment = pending.segment;
        self.queue().recycle(pending.buffer);
        Ok(LogPos { segment, frame: pending.offset, at: 0, frame_crc: frame.crc })
    }

    /// Syncs what was written, if anything was.
    pub(super) fn sync_lane(&self, lane: &mut Lane) -> Result<()> {
        if !lane.dirty {
            return Ok(());
        }
        self.poison.check("sync", &self.path)?;
        let started = lane.home.fs.monotonic();
        let target = self.written.load(Acquire);
        if let Err(e) = commit::sync_data(&*lane.current.file, SyncSite::LogFrame) {
            let mut stats = self.stats();
            stats.sync_errors = stats.sync_errors.saturating_add(1);
            // Final, whoever asked for it (W4).
            let cause = Arc::new(e);
            self.poison_by(&cause);
            return Err(Error::share(&cause));
        }
        let took = lane.home.fs.monotonic().saturating_sub(started);
        lane.dirty = false;
        lane.company.sync = took;
        lane.current.header_synced = true;
        let before = self.durable.swap(target, AcqRel);
        self.watch.ring();
        let mut stats = self.stats();
        stats.syncs = stats.syncs.saturating_add(1);
        stats.sync_micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        stats.records_per_sync.add(target.saturating_sub(before));
        Ok(())
    }

    /// A write found the disk full although its space was prepared: takes the group and all behind it back.
    fn withdraw(
        &self,
        lane: &mut Lane,
        first_seq: u64,
        begins_segment: bool,
        error: Error,
    ) -> Error {
        if error.kind() != ErrorKind::NoSpace {
            return error.with_outcome(Outcome::Unknown);
        }
        let mut queue = self.queue();
        if begins_segment {
            // The seal before the segment that could not begin goes too.
            if let Some((offset, chain)) = lane.current.seal.take() {
                lane.current.offset = offset;
                lane.current.chain = chain;
            }
        }
        let last_seq = first_seq.saturating_sub(1);
        if let Err(e) = self.cut_here(lane, &mut queue, last_seq, None) {
            return e.with_outcome(Outcome::Unknown);
        }
        let withdrawn: Vec<Pending> = queue.groups.drain(..).collect();
        queue.pending_bytes = 0;
        drop(queue);
        let error = error.with_outcome(Outcome::Unchanged);
        let cause = Arc::new(error);
        *self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&cause));
        for pending in withdrawn {
            pending.group.complete(Err(Arc::clone(&cause)));
        }
        Error::share(&cause)
    }

    /// Cuts the log at the lane's place, and lets the queue go on there.
    pub(super) fn cut_here(
        &self,
        lane: &mut Lane,
        queue: &mut Queue,
        last_seq: u64,
        frame_header: Option<[u8; FRAME_HEADER]>,
    ) -> Result<()> {
        let current = &lane.current;
        let (segment, offset) = (current.header.number, current.offset);
        lane.preparing = None;
        queue.ready = None;
        lane.home.cut(&CutAt { segment, offset, last_seq, frame_header }, (0, &[]))?;
        lane.dirty = false;
        lane.current.header_synced = true;
        queue.next_seq = last_seq.saturating_add(1);
        queue.tail = Tail {
            segment,
            len: lane.current.len,
            offset,
            salt: lane.current.header.salt,
            begins: None,
        };
        self.written.store(last_seq, Release);
        self.durable.store(last_seq, Release);
        self.floor.fetch_min(last_seq, AcqRel);
        Ok(())
    }

    /// Does a part of the next segment, once the current one is half full; errors show when the space is needed.
    pub(super) fn prepare_ahead(&self, lane: &mut Lane) {
        let wanted = {
            let queue = self.queue();
            let half_full = queue.next_offset() > queue.tail.len / 2;
            (half_full && queue.ready.is_none() && queue.tail.begins.is_none())
                .then(|| queue.tail.segment.saturating_add(1))
        };
        if let Some(number) = wanted {
            let len = usual_len(number, self.options.segment_bytes);
            let filled = self.fill(lane, number, len, true);
            if filled.and_then(|filled| self.publish(lane, filled)).is_err() {
                lane.preparing = None;
            }
        }
    }

    /// Prepares a segment that holds `needs` bytes, all of it, now.
    pub(super) fn prepare_now(&self, lane: &mut Lane, needs: u64) -> Result<()> {
        // What is queued begins the tail's segment, where it is not begun yet: no two unbegun segments are ever named.
        self.drive(lane, Until::Empty);
        let (number, too_short) = {
            let mut queue = self.queue();
            if queue.unbegun_len() >= needs || !queue.groups.is_empty() {
                return Ok(()); // someone else came first
            }
            let begun = lane.current.header.number == queue.tail.segment;
            let number = queue.tail.segment.saturating_add(u64::from(begun));
            // Out of reach from this moment on: else another thread begins it while a longer one takes its name.
            (number, queue.take_unbegun(number))
        };
        let usual = usual_len(number, self.options.segment_bytes);
        let len = if needs <= usual { usual } else { needs.next_multiple_of(4096) };
        match self.fill(lane, number, len, false) {
            Ok(filled) => self.publish(lane, filled),
            Err(e) => {
                // Its name leads to the short one still.
                if let Some(ready) = too_short {
                    self.queue().put_unbegun(ready);
                }
                Err(e)
            }
        }
    }

    /// Fills the next segment with zeros, one part of it or all.
    fn fill(
        &self,
        lane: &mut Lane,
        number: u64,
        len: u64,
        one_part: bool,
    ) -> Result<Option<Preparing>> {
        self.poison.check("prepare space in", &self.path)?;
        if !lane.preparing.as_ref().is_some_and(|p| p.serves(number, len)) {
            let home = &lane.home;
            lane.preparing = Some(Preparing::start(&*home.fs, &home.dir, number, len)?);
        }
        while let Some(preparing) = lane.preparing.as_mut().filter(|p| !p.is_filled()) {
            if let Err(e) = preparing.part(self.options.durability) {
                lane.preparing = None;
                return Err(e);
            }
            if one_part {
                break;
            }
        }
        Ok(lane.preparing.take_if(|p| p.is_filled()))
    }

    /// Names a filled segment, and puts it within reach.
    fn publish(&self, lane: &mut Lane, filled: Option<Preparing>) -> Result<()> {
        let Some(filled) = filled else { return Ok(()) };
        // The segment before it must be begun and synced: then one that lost all its bytes is known as damage.
        if !lane.current.header_synced {
            self.sync_lane(lane)?;
        }
        if !filled.follows(lane.current.header.number) {
            lane.preparing = Some(filled);
            return Ok(());
        }
        let ready = filled.publish(&lane.home.dir)?;
        self.queue().put_unbegun(ready);
        Ok(())
    }

    /// Writes a mark, not synced: it vouches for all that is acknowledged.
    pub(super) fn mark(&self, lane: &mut Lane) -> Result<()> {
        let durable = self.acknowledged();
        let mut queue = self.queue();
        let current = &mut lane.current;
        let room = current.offset.saturating_add(const { 2 * FRAME_HEADER as u64 }) <= current.len;
        let idle = queue.groups.is_empty() && current.seal.is_none();
        if lane.vouched >= durable || !idle || !room || self.poison.is_set() {
            return Ok(());
        }
        let header = FrameHeader {
            kind: FrameKind::Mark,
            body_len: 0,
            record_count: 0,
            first_seq: queue.next_seq,
            durable_seq: durable,
            prev: current.chain,
            salt: current.header.salt,
            crc: 0,
        };
        let bytes = header.encode(current.offset);
        let written = current.file.write_at(&bytes, current.offset);
        written.map_err(|e| Error::system("mark", current.file.path(), e).at(current.offset))?;
        current.chain = own_crc(&bytes);
        current.offset = current.offset.saturating_add(FRAME_HEADER as u64);
        queue.tail.offset = current.offset;
        lane.vouched = durable;
        lane.dirty = true;
        Ok(())
    }
}

impl Lane {
    /// The state of a segment whose header goes out with its first frame.
    fn begin(&self, ready: &Ready, salt: u32, first_seq: u64) -> Current {
        let mut header = SegmentHeader {
            number: ready.number,
            first_seq,
            salt,
            prev: self.current.chain,
            ..self.current.header
        };
        header.crc = own_crc(&header.encode());
        Current {
            file: Arc::clone(&ready.file),
            header,
            len: ready.len,
            offset: SEGMENT_HEADER as u64,
            chain: header.crc,
            seal: None,
            header_synced: false,
        }
    }
}

/// The checksum that ends a header.
pub(super) fn own_crc(header: &[u8]) -> u32 {
    header.last_chunk::<4>().map_or(0, |crc| u32::from_le_bytes(*crc))
}

/// What a written group adds up to.
struct Framed {
    crc: u32,
    chain: u32,
    end: u64,
    seal: Option<(u64, u32)>,
}

/// Fills in the frame's header, padding and seal.
fn seal_buffer(current: &Current, pending: &mut Pending, durable: u64) -> Framed {
    let salt = current.header.salt;
    let next_seq = pending.first_seq.saturating_add(u64::from(pending.count));
    let mut framed =
        Framed { crc: current.chain, chain: current.chain, end: pending.end(), seal: None };
    if pending.count > 0 {
        let body = pending.buffer.get(HEADROOM..).unwrap_or_default();
        let header = FrameHeader {
            kind: FrameKind::Data { body_crc: crc32(body, seed(salt, pending.offset)) },
            body_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            record_count: pending.count,
            first_seq: pending.first_seq,
            durable_seq: durable.min(pending.first_seq.saturating_sub(1)),
            prev: current.chain,
            salt,
            crc: 0,
        };
        let bytes = header.encode(pending.offset);
        framed.crc = own_crc(&bytes);
        framed.chain = framed.crc;
        if let Some(slot) = pending.buffer.get_mut(SEGMENT_HEADER..HEADROOM) {
            slot.copy_from_slice(&bytes);
        }
        let padded = pad8(pending.body_len() as u64);
        let padded = usize::try_from(padded).unwrap_or(usize::MAX).saturating_add(HEADROOM);
        pending.buffer.resize(padded, 0);
    } else {
        pending.buffer.truncate(SEGMENT_HEADER);
    }
    if let Some(next_salt) = pending.seal {
        let seal = FrameHeader {
            kind: FrameKind::Seal { next_salt },
            body_len: 0,
            record_count: 0,
            first_seq: next_seq,
            durable_seq: durable.min(next_seq.saturating_sub(1)),
            prev: framed.chain,
            salt,
            crc: 0,
        };
        let bytes = seal.encode(framed.end);
        framed.seal = Some((framed.end, framed.chain));
        framed.chain = own_crc(&bytes);
        framed.end = framed.end.saturating_add(FRAME_HEADER as u64);
        pending.buffer.extend_from_slice(&bytes);
    }
    framed
}
