//! What was written, what of it is trusted, and with which checksums: the account that a checkpoint settles.
//!
//! # Invariants
//! - L1 Extents do not overlap and lie within chunks. A checksum is that of the bytes on the disk, or it is not known.
//! - L2 No write touches a trusted extent, nor one that a checkpoint is about to trust: it is taken back first.
//! - L3 A checkpoint takes no extent that a write in flight touches. Writes that overlap while in flight leave no checksum.

use std::collections::BTreeMap;
use std::ops::Range;

use super::format::Extent;
use crate::codec::checksum::{crc32, crc32_join};

/// How far the checkpoints have come with an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Dirty,
    /// A checkpoint has taken it.
    Pending,
    Trusted,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    end: u64,
    /// `None`: it has to be read back.
    crc: Option<u32>,
    standing: Standing,
}

/// A write in flight.
#[derive(Debug)]
struct Flight {
    id: u64,
    range: Range<u64>,
    /// Another one in flight overlaps it.
    clash: bool,
}

/// Whether a write may begin.
#[derive(Debug)]
pub(super) enum Begin {
    Go(u64),
    /// A checkpoint is at these bytes, or they are trusted: they have to be taken back first (L2).
    TakeBack,
}

/// Bytes that a checkpoint is about to trust.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) crc: Option<u32>,
}

/// The account of one part.
#[derive(Debug)]
pub(super) struct Ledger {
    chunk: u64,
    pieces: BTreeMap<u64, Piece>,
    flying: Vec<Flight>,
    next_id: u64,
    dirty: u64,
    trusted: u64,
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The parts of `range` in each chunk.
pub(super) fn by_chunk(range: Range<u64>, chunk: u64) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let next = at.checked_div(chunk)?.saturating_add(1).saturating_mul(chunk).min(range.end);
        let piece = at..next;
        at = next;
        Some(piece)
    })
}

/// The checksums of `data`, which lies at `offset`: one for each chunk that it touches.
pub(super) fn checksums(offset: u64, data: &[u8], chunk: u64) -> Vec<u32> {
    let end = offset.saturating_add(data.len() as u64);
    let of = |piece: Range<u64>| {
        let index = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
        crc32(data.get(index(piece.start)..index(piece.end)).unwrap_or_default(), 0)
    };
    by_chunk(offset..end, chunk).map(of).collect()
}

impl Ledger {
    pub(super) const fn new(chunk: u64) -> Self {
        let pieces = BTreeMap::new();
        Self { chunk, pieces, flying: Vec::new(), next_id: 0, dirty: 0, trusted: 0 }
    }

    /// Bytes per checksum.
    pub(super) const fn chunk(&self) -> u64 {
        self.chunk
    }

    /// Begins anew with what is known of an earlier life: trusted, or only there.
    pub(super) fn restore(&mut self, chunk: u64, extents: &[Extent], trusted: bool) {
        *self = Self::new(chunk);
        let standing = if trusted { Standing::Trusted } else { Standing::Dirty };
        for extent in extents {
            let piece = Piece { end: extent.end(), crc: Some(extent.crc), standing };
            self.pieces.insert(extent.start, piece);
            let sum = if trusted { &mut self.trusted } else { &mut self.dirty };
            *sum = sum.saturating_add(u64::from(extent.len));
        }
    }

    /// Bytes that are written and not trusted yet.
    pub(super) const fn dirty(&self) -> u64 {
        self.dirty
    }

    /// Bytes that are trusted.
    pub(super) const fn trusted(&self) -> u64 {
        self.trusted
    }

    /// The trusted ranges, joined.
    pub(super) fn trusted_ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for extent in self.trusted_extents() {
            match ranges.last_mut() {
                Some(last) if last.end == extent.start => last.end = extent.end(),
                _ => ranges.push(extent.range()),
            }
        }
        ranges
    }

    /// The trusted extents, in order.
    pub(super) fn trusted_extents(&self) -> Vec<Extent> {
        let trusted = self.pieces.iter().filter(|(_, piece)| piece.standing == Standing::Trusted);
        trusted.filter_map(|(start, piece)| extent(*start, piece)).collect()
    }

    /// A write of `range` wants to begin.
    pub(super) fn begin(&mut self, range: &Range<u64>) -> Begin {
        if self.touched(range).any(|(_, piece)| piece.standing != Standing::Dirty) {
            return Begin::TakeBack;
        }
        let mut clash = false;
        for other in self.flying.iter_mut().filter(|other| overlap(&other.range, range)) {
            other.clash = true;
            clash = true;
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.flying.push(Flight { id, range: range.clone(), clash });
        Begin::Go(id)
    }

    /// The write ended; `sums` are those of its bytes by chunk, `None` if it failed: then any of them may be written.
    pub(super) fn end(&mut self, id: u64, sums: Option<&[u32]>) {
        let Some(at) = self.flying.iter().position(|flight| flight.id == id) else { return };
        let Flight { range, clash, .. } = self.flying.swap_remove(at);
        let touched: Vec<u64> = self.touched(&range).map(|(start, _)| start).collect();
        for start in touched {
            if let Some(piece) = self.pieces.get_mut(&start) {
                piece.crc = None;
            }
        }
        let Some(sums) = sums else { return };
        for (piece, sum) in by_chunk(range, self.chunk).zip(sums) {
            self.add(piece, Some(*sum).filter(|_| !clash));
        }
    }

    /// Adds written bytes of one chunk, joined with those that are dirty beside or below them.
    fn add(&mut self, range: Range<u64>, crc: Option<u32>) {
        let mut joined = Piece { end: range.end, crc, standing: Standing::Dirty };
        let mut start = range.start;
        let below: Vec<u64> = self.touched(&range).map(|(start, _)| start).collect();
        for below in below {
            let Some(old) = self.pieces.remove(&below) else { continue };
            self.dirty = self.dirty.saturating_sub(old.end.saturating_sub(below));
            // The same bytes written again are known to the last; else they have to be read back.
            if below < range.start || old.end > range.end {
                joined.crc = None;
            }
            start = start.min(below);
            joined.end = joined.end.max(old.end);
        }
        let same_chunk = |a: u64, b: u64| a.checked_div(self.chunk) == b.checked_div(self.chunk);
        let left = self.pieces.range(..start).next_back().map(|(at, piece)| (*at, *piece));
        if let Some((at, left)) = left
            && left.end == start
            && left.standing == Standing::Dirty
            && same_chunk(at, start)
        {
            self.pieces.remove(&at);
            self.dirty = self.dirty.saturating_sub(left.end.saturating_sub(at));
            joined.crc = join(left.crc, joined.crc, joined.end.saturating_sub(start));
            start = at;
        }
        let right = self.pieces.get(&joined.end).copied();
        if let Some(right) = right
            && right.standing == Standing::Dirty
            && same_chunk(start, joined.end)
        {
            self.pieces.remove(&joined.end);
            let len = right.end.saturating_sub(joined.end);
            self.dirty = self.dirty.saturating_sub(len);
            joined.crc = join(joined.crc, right.crc, len);
            joined.end = right.end;
        }
        self.dirty = self.dirty.saturating_add(joined.end.saturating_sub(start));
        self.pieces.insert(start, joined);
    }

    /// Bytes that are there by other ways than a write: zeros of a hole, a copy. Their checksum has to be read.
    pub(super) fn add_unread(&mut self, range: Range<u64>) {
        for piece in by_chunk(range, self.chunk) {
            self.add(piece, None);
        }
    }

    /// Takes what is dirty and not in flight (L3).
    pub(super) fn take(&mut self) -> Vec<Taken> {
        let flying = &self.flying;
        let mut taken = Vec::new();
        for (start, piece) in &mut self.pieces {
            let range = *start..piece.end;
            let busy = flying.iter().any(|flight| overlap(&flight.range, &range));
            if piece.standing == Standing::Dirty && !busy {
                piece.standing = Standing::Pending;
                taken.push(Taken { start: *start, end: piece.end, crc: piece.crc });
            }
        }
        taken
    }

    /// The extents that a checkpoint of these records: each glued to the trusted neighbours of its chunk, so that a chunk that
    /// fills up ends as one extent.
    pub(super) fn records(&self, settled: &[Extent]) -> Vec<Extent> {
        let chunk_of = |at: u64| at.checked_div(self.chunk).unwrap_or(0);
        let mut all: BTreeMap<u64, (Extent, bool)> = BTreeMap::new();
        let mut seen = None;
        for new in settled {
            let chunk = chunk_of(new.start);
            if seen != Some(chunk) {
                seen = Some(chunk);
                let start = chunk.saturating_mul(self.chunk);
                let old = self.trusted_in(&(start..start.saturating_add(self.chunk)));
                all.extend(old.into_iter().map(|old| (old.start, (old, false))));
            }
            all.insert(new.start, (*new, true));
        }
        let mut runs: Vec<(Extent, bool)> = Vec::new();
        for (next, new) in all.into_values() {
            match runs.last_mut() {
                Some((run, has_new))
                    if run.end() == next.start && chunk_of(run.start) == chunk_of(next.start) =>
                {
                    *run = glue(*run, next);
                    *has_new |= new;
                }
                _ => runs.push((next, new)),
            }
        }
        runs.into_iter().filter(|(_, has_new)| *has_new).map(|(run, _)| run).collect()
    }

    /// The records are durable: what they cover is trusted, in their form.
    pub(super) fn trust(&mut self, taken: &[Taken], records: &[Extent]) {
        for taken in taken {
            self.dirty = self.dirty.saturating_sub(taken.end.saturating_sub(taken.start));
            self.trusted = self.trusted.saturating_add(taken.end.saturating_sub(taken.start));
        }
        for record in records {
            let inside: Vec<u64> = self.pieces.range(record.range()).map(|(at, _)| *at).collect();
            for at in inside {
                self.pieces.remove(&at);
            }
            let (end, crc) = (record.end(), Some(record.crc));
            self.pieces.insert(record.start, Piece { end, crc, standing: Standing::Trusted });
        }
    }

    /// The checkpoint failed: what it took is dirty again.
    pub(super) fn give_back(&mut self, taken: &[Taken]) {
        for taken in taken {
            if let Some(piece) = self.pieces.get_mut(&taken.start) {
                piece.standing = Standing::Dirty;
            }
        }
    }

    /// The trusted extents that `range` touches.
    pub(super) fn trusted_in(&self, range: &Range<u64>) -> Vec<Extent> {
        let trusted = self.touched(range).filter(|(_, piece)| piece.standing == Standing::Trusted);
        trusted.filter_map(|(start, piece)| extent(start, piece)).collect()
    }

    /// These are durably no longer trusted, but still there.
    pub(super) fn distrust(&mut self, extents: &[Extent]) {
        for extent in extents {
            if let Some(piece) = self.pieces.get_mut(&extent.start) {
                piece.standing = Standing::Dirty;
                self.trusted = self.trusted.saturating_sub(u64::from(extent.len));
                self.dirty = self.dirty.saturating_add(u64::from(extent.len));
            }
        }
    }

    /// Forgets bytes that are no longer there. Trusted ones were taken back before.
    pub(super) fn forget(&mut self, range: &Range<u64>) {
        let touched: Vec<u64> = self.touched(range).map(|(start, _)| start).collect();
        for start in touched {
            let Some(piece) = self.pieces.remove(&start) else { continue };
            self.dirty = self.dirty.saturating_sub(piece.end.saturating_sub(start));
            for rest in [start..range.start.min(piece.end), range.end.max(start)..piece.end] {
                if rest.start < rest.end {
                    self.dirty = self.dirty.saturating_add(rest.end.saturating_sub(rest.start));
                    let (end, crc) = (rest.end, None);
                    self.pieces.insert(rest.start, Piece { end, crc, standing: piece.standing });
                }
            }
        }
    }

    fn touched(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, &Piece)> {
        let from = self.pieces.range(..range.start).next_back();
        let from = from.filter(|(_, piece)| piece.end > range.start);
        let from = from.map_or(range.start, |(start, _)| *start);
        self.pieces.range(from..range.end.max(from)).map(|(start, piece)| (*start, piece))
    }
}

fn join(first: Option<u32>, second: Option<u32>, second_len: u64) -> Option<u32> {
    Some(crc32_join(first?, second?, second_len))
}

fn glue(first: Extent, second: Extent) -> Extent {
    let crc = crc32_join(first.crc, second.crc, u64::from(second.len));
    Extent { start: first.start, len: first.len.saturating_add(second.len), crc }
}

fn extent(start: u64, piece: &Piece) -> Option<Extent> {
    let len = u32::try_from(piece.end.saturating_sub(start)).ok()?;
    Some(Extent { start, len, crc: piece.crc? })
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
mod tests {
    use super::*;
    use crate::chunked::format::Change;
    use crate::chunked::trust::{Bounds, Trust};
    use crate::log::Piece as Record;

    const CHUNK: u64 = 4096;

    fn write(ledger: &mut Ledger, disk: &mut [u8], range: Range<u64>, fill: u8) {
        let Begin::Go(id) = ledger.begin(&range) else { panic!("it has to be taken back") };
        let index = |at: u64| usize::try_from(at).unwrap();
        let bytes = &mut disk[index(range.start)..index(range.end)];
        bytes.fill(fill);
        ledger.end(id, Some(&checksums(range.start, bytes, CHUNK)));
    }

    fn read(disk: &[u8], range: Range<u64>) -> u32 {
        let index = |at: u64| usize::try_from(at).unwrap();
        crc32(&disk[index(range.start)..index(range.end)], 0)
    }

    /// What a checkpoint does, without a disk.
    fn checkpoint(ledger: &mut Ledger, disk: &[u8]) -> Vec<Extent> {
        let taken = ledger.take();
        let settled: Vec<Extent> = taken
            .iter()
            .map(|taken| {
                let crc = read(disk, taken.start..taken.end);
                assert!(taken.crc.is_none_or(|known| known == crc), "{taken:?}");
                let len = u32::try_from(taken.end - taken.start).unwrap();
                Extent { start: taken.start, len, crc }
            })
            .collect();
        let records = ledger.records(&settled);
        ledger.trust(&taken, &records);
        records
    }

    #[test]
    fn any_order_of_writes_ends_as_one_extent_per_chunk_with_its_checksum() {
        let mut state = 7_u64;
        for _ in 0..300 {
            let mut draw = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % below
            };
            let mut disk = vec![0; 4 * 4096];
            let mut ledger = Ledger::new(CHUNK);
            let mut map = Trust::default();
            let bounds = Bounds { chunk: CHUNK, end: 4 * CHUNK };
            for _ in 0..draw(30) {
                let start = draw(4 * CHUNK - 1);
                let end = (start + 1 + draw(3000)).min(4 * CHUNK);
                let lost = ledger.trusted_in(&(start..end));
                if !lost.is_empty() {
                    let record = Change::Retract(lost.clone()).encode();
                    map.take(Record::Change(&record), bounds).unwrap();
                    ledger.distrust(&lost);
                }
                let fill = draw(256).to_le_bytes()[0];
                write(&mut ledger, &mut disk, start..end, fill);
                if draw(4) == 0 {
                    let records = checkpoint(&mut ledger, &disk);
                    let record = Change::Cover(records).encode();
                    map.take(Record::Change(&record), bounds).unwrap();
                }
            }
            let records = checkpoint(&mut ledger, &disk);
            let record = Change::Cover(records).encode();
            map.take(Record::Change(&record), bounds).unwrap();
            let trusted = map.into_extents();
            assert_eq!(trusted, ledger.trusted_extents());
            for extent in &trusted {
                assert_eq!(extent.crc, read(&disk, extent.range()));
            }
            let bytes: u64 = trusted.iter().map(|extent| u64::from(extent.len)).sum();
            assert_eq!((ledger.trusted(), ledger.dirty()), (bytes, 0));
        }
    }

    #[test]
    fn writes_that_overlap_in_flight_leave_no_checksum() {
        let mut ledger = Ledger::new(CHUNK);
        let (Begin::Go(a), Begin::Go(b)) = (ledger.begin(&(0..100)), ledger.begin(&(50..150)))
        else {
            panic!("nothing is trusted")
        };
        ledger.end(a, Some(&[1]));
        assert!(ledger.take().is_empty(), "L3: the other one still flies over it");
        ledger.end(b, Some(&[2]));
        let taken = ledger.take();
        assert_eq!((taken.len(), taken[0].start, taken[0].end, taken[0].crc), (1, 0, 150, None));
        assert!(matches!(ledger.begin(&(149..200)), Begin::TakeBack), "L2");
        ledger.give_back(&taken);
        assert_eq!(ledger.dirty(), 150);
    }

    #[test]
    fn a_failed_write_leaves_no_checksum_of_what_it_touched() {
        let mut ledger = Ledger::new(CHUNK);
        let mut disk = vec![0; 4096];
        write(&mut ledger, &mut disk, 0..200, 9);
        let Begin::Go(id) = ledger.begin(&(100..300)) else { panic!("nothing is trusted") };
        ledger.end(id, None);
        let taken = ledger.take();
        assert_eq!((taken[0].start, taken[0].end, taken[0].crc), (0, 200, None));
    }
}
