//! Which object lies where in the spill, and how much of each file is alive. In memory only, and no I/O here.
//!
//! # Invariants
//! - B1 An entry of `objects` with its key takes 40 bytes; what does not fit into it is in `large`.
//! - B2 A segment's `live` is the sum of the frames that `objects` has in it.
//! - B3 A segment that is `out` belongs to one thread: nobody else appends to it or takes it away.
//! - B4 `disk` is not less than what the files take, but for blocks of the file system.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::super::batch::{FRAME_HEADER, Meta, framed_len};
use super::super::frame::{FILE_HEADER, compression_code, compression_of};
use super::super::segment::Segment;

/// The segment's number of an object that has its own file.
const OWN: u32 = u32::MAX;
/// The kind of an object whose lengths are in `large`.
const LARGE: u16 = u16::MAX;

/// Where an object is, and what is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spilled {
    pub(super) at: At,
    pub(super) stored_len: u64,
    pub(super) meta: Meta,
}

impl Spilled {
    pub(super) fn framed(&self) -> u64 {
        usize::try_from(self.stored_len).map_or(u64::MAX, |len| framed_len(len) as u64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// In a file of its own.
    Own,
    /// In a segment, its frame from `at` on.
    Segment { number: u32, at: u64 },
}

/// A [`Spilled`] in 24 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    segment: u32,
    /// Where its frame begins, by the lengths that frames are multiples of.
    unit: u32,
    stored: u32,
    raw: u32,
    weight: u32,
    /// Which codec, compression and tag.
    kind: u16,
}

/// Codec, compression, tag: objects of one pool have them in common.
type Kind = (u16, u8, u64);

/// A segment that is held open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) segment: Arc<Segment>,
    /// The next frame goes here.
    pub(super) end: u64,
    live: u64,
    out: bool,
    /// Nothing is appended to it any more.
    full: bool,
    /// A compaction could not move all that is in it.
    stuck: bool,
}

/// A segment to append to, for one thread (B3).
#[derive(Debug)]
pub(super) struct Out {
    pub(super) number: u32,
    pub(super) segment: Arc<Segment>,
    pub(super) end: u64,
}

/// What is to be unlinked after the lock was given back.
#[derive(Debug)]
pub(super) enum Gone {
    Own { key: Uuid, bytes: u64 },
    Segment { number: u32, bytes: u64 },
}

impl Gone {
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::Own { bytes, .. } | Self::Segment { bytes, .. } => *bytes,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    objects: HashMap<Uuid, Entry>,
    large: HashMap<Uuid, (Meta, u64)>,
    /// Own files that may have another name by now.
    linked: HashSet<Uuid>,
    kinds: Vec<Kind>,
    kind_of: HashMap<Kind, u16>,
    segments: HashMap<u32, Held>,
    idle: Vec<u32>,
    next: u32,
    pub(super) live: u64,
    pub(super) disk: u64,
}

impl Table {
    pub(super) fn len(&self) -> u64 {
        self.objects.len() as u64
    }

    pub(super) fn has(&self, key: Uuid) -> bool {
        self.objects.contains_key(&key)
    }

    pub(super) fn find(&self, key: Uuid) -> Option<Spilled> {
        let entry = self.objects.get(&key)?;
        let at = match entry.segment {
            OWN => At::Own,
            number => At::Segment {
                number,
                at: u64::from(entry.unit).saturating_mul(FRAME_HEADER as u64),
            },
        };
        if entry.kind == LARGE {
            let (meta, stored_len) = *self.large.get(&key)?;
            return Some(Spilled { at, stored_len, meta });
        }
        let (codec, compression, tag) = *self.kinds.get(usize::from(entry.kind))?;
        let compression = compression_of(compression)?;
        let (raw_len, weight) = (u64::from(entry.raw), u64::from(entry.weight));
        let meta = Meta { codec, compression, tag, raw_len, weight };
        Some(Spilled { at, stored_len: u64::from(entry.stored), meta })
    }

    /// Whether the object has its own file, which was not asked for so before.
    pub(super) fn link(&mut self, key: Uuid) -> bool {
        self.find(key).is_some_and(|found| found.at == At::Own) && self.linked.insert(key)
    }

    /// The object, and the segment that it is in.
    pub(super) fn locate(&self, key: Uuid) -> Option<(Spilled, Option<Arc<Segment>>)> {
        let spilled = self.find(key)?;
        let segment = match spilled.at {
            At::Own => None,
            At::Segment { number, .. } => Some(Arc::clone(&self.segments.get(&number)?.segment)),
        };
        Some((spilled, segment))
    }

    fn kind(&mut self, meta: &Meta) -> Option<u16> {
        let kind = (meta.codec, compression_code(meta.compression), meta.tag);
        if let Some(known) = self.kind_of.get(&kind) {
            return Some(*known);
        }
        let number = u16::try_from(self.kinds.len()).ok().filter(|number| *number != LARGE)?;
        self.kinds.push(kind);
        self.kind_of.insert(kind, number);
        Some(number)
    }

    fn entry(&mut self, spilled: &Spilled) -> Option<Entry> {
        let (segment, unit) = match spilled.at {
            At::Own => (OWN, 0),
            At::Segment { number, at } => {
                (number, u32::try_from(at.checked_div(FRAME_HEADER as u64)?).ok()?)
            }
        };
        let Spilled { stored_len, meta, .. } = spilled;
        let lens = [*stored_len, meta.raw_len, meta.weight].map(u32::try_from);
        let entry = Entry { segment, unit, stored: 0, raw: 0, weight: 0, kind: LARGE };
        Some(match (lens, self.kind(meta)) {
            ([Ok(stored), Ok(raw), Ok(weight)], Some(kind)) => {
                Entry { stored, raw, weight, kind, ..entry }
            }
            _ => entry,
        })
    }

    /// Makes an object known; false if it is already, or has no room in an entry.
    pub(super) fn insert(&mut self, key: Uuid, spilled: &Spilled) -> bool {
        if self.has(key) {
            return false;
        }
        let Some(entry) = self.entry(spilled) else { return false };
        if entry.kind == LARGE {
            let Meta { codec, compression, tag, raw_len, weight } = spilled.meta;
            let compression = compression_of(compression_code(compression)).unwrap_or_default();
            let meta = Meta { codec, compression, tag, raw_len, weight };
            self.large.insert(key, (meta, spilled.stored_len));
        }
        self.objects.insert(key, entry);
        self.count(spilled, true);
        true
    }

    /// The object is elsewhere now, if it was at `from`.
    pub(super) fn moved(&mut self, key: Uuid, from: At, to: At) -> bool {
        let Some(old) = self.find(key).filter(|old| old.at == from) else { return false };
        let new = Spilled { at: to, ..old };
        let Some(entry) = self.entry(&new) else { return false };
        self.objects.insert(key, entry);
        self.count(&old, false);
        self.count(&new, true);
        true
    }

    fn count(&mut self, spilled: &Spilled, more: bool) {
        let framed = spilled.framed();
        let change = if more { u64::saturating_add } else { u64::saturating_sub };
        self.live = change(self.live, framed);
        if let At::Segment { number, .. } = spilled.at
            && let Some(held) = self.segments.get_mut(&number)
        {
            held.live = change(held.live, framed);
        }
    }

    /// Forgets an object, and says what file nothing needs any more.
    pub(super) fn remove(&mut self, key: Uuid) -> Option<Gone> {
        let spilled = self.find(key)?;
        self.objects.remove(&key);
        self.large.remove(&key);
        self.linked.remove(&key);
        self.count(&spilled, false);
        match spilled.at {
            At::Own => {
                Some(Gone::Own { key, bytes: spilled.framed().saturating_add(FILE_HEADER as u64) })
            }
            At::Segment { number, .. } => self.emptied(number),
        }
    }

    /// Gives a segment up in which nothing is alive.
    fn emptied(&mut self, number: u32) -> Option<Gone> {
        let held = self.segments.get(&number)?;
        if held.out || held.live > 0 || (held.end <= FILE_HEADER as u64 && !held.full) {
            return None;
        }
        let bytes = held.end;
        self.segments.remove(&number);
        self.idle.retain(|idle| *idle != number);
        Some(Gone::Segment { number, bytes })
    }

    /// A segment to append to, if one waits for that.
    pub(super) fn take(&mut self) -> Option<Out> {
        let number = self.idle.pop()?;
        let held = self.segments.get_mut(&number)?;
        held.out = true;
        Some(Out { number, segment: Arc::clone(&held.segment), end: held.end })
    }

    /// The number of a segment that is about to be made.
    pub(super) fn number(&mut self) -> Option<u32> {
        self.next = self.next.checked_add(1).filter(|next| *next != OWN)?;
        Some(self.next)
    }

    /// A segment that was made, with nothing in it.
    pub(super) fn made(&mut self, number: u32, segment: &Arc<Segment>) -> Out {
        let (segment, end) = (Arc::clone(segment), FILE_HEADER as u64);
        let held = Held {
            segment: Arc::clone(&segment),
            end,
            live: 0,
            out: true,
            full: false,
            stuck: false,
        };
        self.segments.insert(number, held);
        Out { number, segment, end }
    }

    /// A segment comes back, so long now. It may be one that is needed no more.
    pub(super) fn give_back(&mut self, number: u32, end: u64, full: bool) -> Option<Gone> {
        let held = self.segments.get_mut(&number)?;
        held.out = false;
        held.end = end;
        held.full |= full;
        if !held.full {
            self.idle.push(number);
        }
        self.emptied(number)
    }

    /// The segment with the least in it that is alive, if that is less than half, to move what is. It is out then.
    pub(super) fn victim(&mut self) -> Option<(u32, Arc<Segment>, u64)> {
        let wasteful = |held: &Held| {
            let frames = held.end.saturating_sub(FILE_HEADER as u64);
            !held.out && !held.stuck && held.live.saturating_mul(2) < frames
        };
        let share = |held: &Held| {
            held.live.saturating_mul(1 << 16).checked_div(held.end).unwrap_or_default()
        };
        let candidates = self.segments.iter_mut().filter(|(_, held)| wasteful(held));
        let (number, held) = candidates.min_by_key(|(_, held)| share(held))?;
        held.out = true;
        let found = (*number, Arc::clone(&held.segment), held.end);
        self.idle.retain(|idle| *idle != found.0);
        Some(found)
    }

    /// A victim comes back; if it was gone through, what is still alive in it cannot be moved.
    pub(super) fn compacted(&mut self, number: u32, end: u64, through: bool) -> Option<Gone> {
        let gone = self.give_back(number, end, true);
        if let Some(held) = self.segments.get_mut(&number) {
            held.stuck |= through;
        }
        gone
    }

    /// Takes so much of the disk if the limit allows it.
    pub(super) fn reserve(&mut self, bytes: u64, limit: u64) -> bool {
        match self.disk.checked_add(bytes) {
            Some(disk) if disk <= limit => {
                self.disk = disk;
                true
            }
            _ => false,
        }
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.disk = self.disk.saturating_sub(bytes);
    }

    /// What the files take that no object needs.
    pub(super) fn garbage(&self) -> u64 {
        self.disk.saturating_sub(self.live)
    }

    /// Counts everything anew: whether the sums are right (B2).
    #[cfg(test)]
    #[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
    pub(super) fn recount(&self) -> bool {
        let mut live: HashMap<u32, u64> = HashMap::new();
        let mut all = 0;
        for key in self.objects.keys() {
            let spilled = self.find(*key).unwrap();
            all += spilled.framed();
            if let At::Segment { number, .. } = spilled.at {
                *live.entry(number).or_default() += spilled.framed();
            }
        }
        let sums = self.segments.iter();
        all == self.live
            && sums
                .map(|(number, held)| (number, held.live))
                .all(|(number, sum)| live.get(number).copied().unwrap_or_default() == sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Compression;

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<(Uuid, Entry)>() <= 40);
    }

    #[test]
    fn what_is_said_of_an_object_comes_back_however_long_it_is() {
        let mut table = Table::default();
        let meta = |compression, raw_len, weight, tag| Meta {
            compression,
            raw_len,
            weight,
            ..Meta::new(4, tag, 0)
        };
        let metas = [
            meta(Compression::None, 10, 20, 0),
            meta(Compression::Lz4, 10, 20, u64::MAX),
            meta(Compression::Zstd(0), u64::from(u32::MAX), 1, 5),
            meta(Compression::Zstd(0), 1 << 40, 1, 5),
            meta(Compression::Lz4, 1, u64::MAX, 5),
        ];
        for (nth, meta) in metas.into_iter().enumerate() {
            let key = Uuid::from_u128(nth as u128);
            let spilled = Spilled { at: At::Own, stored_len: 1 << (nth * 10), meta };
            assert!(table.insert(key, &spilled));
            assert!(!table.insert(key, &spilled));
            assert_eq!(table.find(key), Some(spilled));
        }
        assert!(table.recount());
        for nth in 0..metas.len() {
            assert!(matches!(table.remove(Uuid::from_u128(nth as u128)), Some(Gone::Own { .. })));
        }
        assert!(table.large.is_empty() && table.objects.is_empty() && table.live == 0);
    }

    #[test]
    fn more_kinds_than_there_are_numbers_for_are_kept_apart() {
        let mut table = Table::default();
        for nth in 0..66_000_u32 {
            let meta = Meta::new(1, u64::from(nth), 0);
            let spilled = Spilled { at: At::Own, stored_len: 1, meta };
            assert!(table.insert(Uuid::from_u128(u128::from(nth)), &spilled));
        }
        for nth in [0, 65_534, 65_535, 65_999] {
            let found = table.find(Uuid::from_u128(nth)).unwrap();
            assert_eq!(u128::from(found.meta.tag), nth);
        }
        assert!(table.large.len() == 66_000 - 65_535);
    }
}
