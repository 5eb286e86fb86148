//! One stretch of a column through which it is read: from a map that grows with the file, or by a call for each read.
//!
//! A range belongs to the states of one life of its column: bytes below the end of a state are the same in all of them. Before
//! the writer changes such bytes (a rewind) he freezes the range, and goes on in its successor.
//!
//! # Invariants
//! - R1 Bytes are lent or copied only of blocks whose bit is set. It is set by who compared the block with its sum, by the writer
//!   for blocks that he wrote, and by whoever makes the range: for the last block if it is not full, and for blocks of which nobody
//!   is shown a byte (E2). It is never cleared.
//! - R2 Who asks for bytes asks below the end of a state that he holds, so that the file (or a frozen piece) has them, and a block
//!   whose bit is not set is full. Its sum is in the file of sums before the state is published.
//! - R3 A block is compared under the read lock of `held`, from before its first byte is read until its bit is set. `freeze`
//!   holds the write lock, and no byte of the data or of the sums changes before it returned. So a comparison is either over
//!   before the freeze, with data and sum that belong together, or it begins after it and is not made any more (R4).
//! - R4 `freeze` decides each block that the change touches, while its sum still stands in the file: the bit is set, or the block is
//!   in `bad` for ever. From the block `decided` on the file of sums has none for the bytes of this range.
//! - R5 Mapped: the pages that change are exchanged for copies (A4 of `sys/ahead.rs`) before `freeze` returns, so that at the
//!   addresses of the range no byte below the end ever changes. This is why bytes are lent without a lock.
//! - R6 By call: bytes are read from the file under the read lock of `held`, those of a frozen piece from memory. A read of the
//!   file is over before the freeze that precedes the change; one that begins after it takes the piece.
//! - R7 A piece is whole pages when mapped, also behind the end: the pages have bytes of the file, and so they exist. So pieces
//!   can be added on both sides. Nobody writes to the file while it is frozen, as the writer freezes.
//! - R8 The map is clear (A6) up to a byte below which the bits of all blocks are set. Who sets bits raises it afterwards. Bits are set, and looked at for this, in one order for all threads (`SeqCst`): of two that set bits at
//!   once the one sees the other's, so that it does not stay below blocks that all were seen.

use std::collections::BTreeSet;
use std::io;
use std::ops;
use std::sync::Arc;

use rustix::io::Errno;

use super::Verify;
use super::blocks::{BLOCK, SUM, Seed, block_of, start_of, sum_at};
use crate::fs::{Ahead, File, ReadMode, page_size};
use crate::sync::Ordering::{AcqRel, Acquire, SeqCst};
use crate::sync::{AtomicU64, RwLock, read, write};
use crate::{Error, ErrorKind, Result};

/// Addresses for a column that is still small. A scheduler of tests goes through all words of bits, and one is enough for it.
const CAPACITY_MIN: u64 = if cfg!(all(test, shuttle)) { 1 << 20 } else { 64 << 20 };
/// How many blocks are compared under one lock, and their sums read by one call.
const RUN: u64 = 64;
const RUN_BYTES: u64 = RUN * BLOCK;
#[expect(clippy::cast_possible_truncation, reason = "256 bytes")]
const SUMS_LEN: usize = (RUN * SUM) as usize;
#[expect(clippy::cast_possible_truncation, reason = "16 KiB")]
const BLOCK_LEN: usize = BLOCK as usize;

/// What a column is read through.
#[derive(Clone, Debug)]
pub(super) struct Through {
    pub(super) file: Arc<dyn File>,
    pub(super) sums: Arc<dyn File>,
    /// Where the column begins in its file.
    pub(super) base: u64,
    pub(super) seed: Seed,
    /// Decided: `Auto` is a map.
    pub(super) mode: ReadMode,
    pub(super) verify: Verify,
    /// Bytes of addresses that are taken at least.
    pub(super) reserve: u64,
}

/// One stretch of a column. Offsets are those of the column, but in pieces and in errors.
pub(super) struct Range {
    /// Clear as far as R8 says.
    map: Option<Ahead>,
    /// A bit for each block of the capacity (R1).
    seen: Box<[AtomicU64]>,
    through: Through,
    held: RwLock<Held>,
}

/// What was frozen.
#[derive(Default)]
struct Held {
    /// Apart from each other, in the order of their offsets in the file.
    pieces: Vec<Piece>,
    /// Blocks that did not fit their sums when those were there to compare (R4).
    bad: BTreeSet<u64>,
    /// The first block that a freeze decided.
    decided: Option<u64>,
}

struct Piece {
    /// In the file.
    at: ops::Range<u64>,
    /// By call.
    bytes: Option<Box<[u8]>>,
}

impl Range {
    /// A range for a column of `end` bytes, with room for it to grow.
    pub(super) fn new(through: Through, end: u64) -> Result<Self> {
        let usual = end.saturating_mul(4).max(CAPACITY_MIN);
        let least = blocks_up(end.saturating_add(CAPACITY_MIN));
        let wanted = blocks_up(usual.max(through.reserve));
        let mapped = |capacity| {
            if through.mode == ReadMode::Pread {
                return Ok::<_, Error>(None);
            }
            Ok(map(&through, capacity)?.map(|map| (map, capacity)))
        };
        let map = match mapped(wanted)? {
            None => mapped(least)?,
            some => some,
        };
        let (map, capacity) = match map {
            Some((map, capacity)) => (Some(map), capacity),
            None => (None, blocks_up(usual)),
        };
        let bits = if through.verify == Verify::Never { u64::MAX } else { 0 };
        let words = usize::try_from(block_of(capacity).div_ceil(64)).unwrap_or(usize::MAX);
        let mut seen = Vec::new();
        seen.try_reserve_exact(words).map_err(|_| too_large(&through, capacity))?;
        seen.resize_with(words, || AtomicU64::new(bits));
        let seen = seen.into_boxed_slice();
        let range = Self { map, seen, through, held: RwLock::default() };
        range.raise();
        Ok(range)
    }

    /// A new range over the same column, now of `end` bytes. Below the block of `keep` it trusts what this one does; that block is
    /// the caller's.
    pub(super) fn successor(&self, keep: u64, end: u64) -> Result<Self> {
        let next = Self::new(self.through.clone(), end)?;
        let blocks = block_of(keep);
        for (word, (old, new)) in (0_u64..).zip(self.seen.iter().zip(&next.seen)) {
            let mask = below(blocks.saturating_sub(start_of_word(word)));
            new.fetch_or(old.load(Acquire) & mask, AcqRel);
        }
        next.raise();
        Ok(next)
    }

    /// How many bytes the column may grow to in this range.
    pub(super) fn capacity(&self) -> u64 {
        start_of((self.seen.len() as u64).saturating_mul(64)).min(self.map.as_ref().map_or(
            u64::MAX,
            |map| {
                let bytes = (map.len() as u64).saturating_sub(self.through.base);
                start_of(block_of(bytes))
            },
        ))
    }

    pub(super) const fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// How it is read.
    pub(super) const fn mode(&self) -> ReadMode {
        self.through.mode
    }

    /// The file that the column is in.
    pub(super) fn file(&self) -> &dyn File {
        &*self.through.file
    }

    /// Where the column begins in it.
    pub(super) const fn base(&self) -> u64 {
        self.through.base
    }

    /// Bytes that are there to be lent, if those before them are as well (R8): the quick way.
    #[inline]
    pub(super) fn lent(&self, start: u64, len: u64) -> Option<&[u8]> {
        self.map.as_ref()?.lent(usize::try_from(start).ok()?, usize::try_from(len).ok()?)
    }

    /// Bytes that are there to be lent: mapped, and all their blocks seen (R1, R5).
    pub(super) fn get(&self, bytes: ops::Range<u64>) -> Option<&[u8]> {
        if !self.are_seen(&bytes) {
            return None;
        }
        // What wraps round is not in the map.
        let at = usize::try_from(self.through.base.wrapping_add(bytes.start)).ok()?;
        self.map.as_ref()?.slice(at, usize::try_from(bytes.end.wrapping_sub(bytes.start)).ok()?)
    }

    /// Lends bytes; blocks that were not seen yet are compared with their sums.
    pub(super) fn read(&self, bytes: ops::Range<u64>) -> Result<&[u8]> {
        if self.map.is_none() {
            let why = "nothing is lent where the file is read by calls; use copy_to or get_cow";
            return Err(Error::new(ErrorKind::Unsupported, "read", self.path(), why));
        }
        if bytes.is_empty() {
            return Ok(&[]);
        }
        let len = bytes.end.wrapping_sub(bytes.start);
        if let Some(lent) = self.lent(bytes.start, len) {
            return Ok(lent);
        }
        self.compare(bytes.clone())?;
        self.get(bytes.clone()).ok_or_else(|| self.outside(&bytes))
    }

    /// Appends a copy of the bytes to `to`; blocks that were not seen yet are compared with their sums. After an error `to` is as
    /// it was.
    pub(super) fn copy(&self, bytes: ops::Range<u64>, to: &mut Vec<u8>) -> Result<()> {
        if self.map.is_some() {
            to.extend_from_slice(self.read(bytes)?);
            return Ok(());
        }
        let before = to.len();
        let done = self.copy_by_call(bytes, to);
        if done.is_err() {
            to.truncate(before);
        }
        done
    }

    fn copy_by_call(&self, bytes: ops::Range<u64>, to: &mut Vec<u8>) -> Result<()> {
        for run in runs(bytes) {
            // From the comparison until the bytes were read (R3, R6).
            let held = read(&self.held);
            self.compare_run(&held, run.clone())?;
            let start = to.len();
            to.resize(start.saturating_add(self.len(&run)?), 0);
            self.fill(&held, run.start, to.get_mut(start..).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Sees to it that the blocks of these bytes are seen.
    pub(super) fn compare(&self, bytes: ops::Range<u64>) -> Result<()> {
        for run in runs(bytes) {
            if !self.are_seen(&run) {
                self.compare_run(&read(&self.held), run)?;
            }
        }
        Ok(())
    }

    fn compare_run(&self, held: &Held, bytes: ops::Range<u64>) -> Result<()> {
        self.refuse_bad(held, &bytes)?;
        let done = self.sums(
            touched(&bytes),
            |block| self.is_seen(block),
            |block, fits| {
                if !fits {
                    return Err(self.damaged(block));
                }
                self.see(block);
                Ok(())
            },
        );
        self.raise();
        done
    }

    /// A block that was found bad has no sum of its own in the file any more (R4).
    fn refuse_bad(&self, held: &Held, bytes: &ops::Range<u64>) -> Result<()> {
        let bad = held.bad.iter().find(|block| touched(bytes).contains(block));
        bad.map_or(Ok(()), |block| Err(self.damaged(*block)))
    }

    /// Compares all full blocks of these bytes with their sums, also those that were seen already. `end` is that of the column;
    /// the last block, if it is not full, has no sum.
    pub(super) fn verify(&self, bytes: ops::Range<u64>, end: u64) -> Result<()> {
        let full = start_of(block_of(end));
        for run in runs(bytes.start..bytes.end.min(full)) {
            let held = read(&self.held);
            self.refuse_bad(&held, &run)?;
            // What was decided is a copy in memory, and its sum is gone (R4).
            let gone = |block| held.decided.is_some_and(|decided| block >= decided);
            self.sums(touched(&run), gone, |block, fits| {
                if !fits {
                    return Err(self.damaged(block));
                }
                self.see(block);
                Ok(())
            })?;
            self.raise();
        }
        Ok(())
    }

    /// The blocks of these bytes need no comparison: the writer wrote them, or compared them, or nobody is shown any of them.
    pub(super) fn trust(&self, bytes: ops::Range<u64>) {
        let blocks = touched(&bytes);
        let mut block = blocks.start;
        while block < blocks.end {
            // Those of one word at once.
            let next = start_of_word(block / 64).saturating_add(64).min(blocks.end);
            let ones = below(next.saturating_sub(start_of_word(block / 64)));
            self.set(block / 64, ones & !below(block % 64));
            block = next;
        }
        self.raise();
    }

    /// Lets the system read ahead what lies behind these bytes.
    pub(super) fn will_need(&self, bytes: &ops::Range<u64>) {
        if let (Some(map), Ok(len)) = (&self.map, self.len(bytes))
            && let Ok(at) = usize::try_from(self.through.base.saturating_add(bytes.start))
        {
            map.will_need(at, len);
        }
    }

    /// Before the writer changes or cuts bytes from `from` on: what this range shows of `from..end` stays from here on, in memory.
    /// `end` is that of a state that is read through this range, and its bytes are in the file.
    ///
    /// After it nothing behind `end` is read through this range. After an error nothing that is read changed.
    pub(super) fn freeze(&self, from: u64, end: u64) -> Result<()> {
        if from >= end {
            return Ok(());
        }
        let mut guard = write(&self.held);
        let held = &mut *guard;
        let full = start_of(block_of(end));
        let known = held.bad.clone();
        for run in runs(from..end.min(full)) {
            let bad = &mut held.bad;
            // What an earlier freeze decided stays so: its sum is gone.
            let decided = |block| self.is_seen(block) || known.contains(&block);
            self.sums(touched(&run), decided, |block, fits| {
                if fits {
                    self.see(block);
                } else {
                    bad.insert(block);
                }
                Ok(())
            })?;
        }
        // The last block has no sum and was trusted from the start (R1).
        if end > full {
            self.see(block_of(end));
        }
        self.raise();
        let first = block_of(from);
        let (from, end) =
            (self.through.base.saturating_add(from), self.through.base.saturating_add(end));
        let wanted = match &self.map {
            Some(map) => pages(from..end, map.len() as u64),
            None => from..end,
        };
        for gap in gaps(&held.pieces, wanted) {
            let piece = self.piece(gap)?;
            let place = held.pieces.partition_point(|other| other.at.start < piece.at.start);
            held.pieces.insert(place, piece);
        }
        held.decided = Some(held.decided.map_or(first, |decided| decided.min(first)));
        Ok(())
    }

    /// A copy of some of the file, in memory from here on.
    fn piece(&self, at: ops::Range<u64>) -> Result<Piece> {
        let len = self.len(&at)?;
        let failed = |e| Error::system("freeze", self.path(), e).at(at.start);
        if let Some(map) = &self.map {
            let start = usize::try_from(at.start).map_err(|_| self.outside(&at))?;
            map.freeze(start, len).map_err(failed)?;
            return Ok(Piece { at, bytes: None });
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| failed(Errno::NOMEM.into()))?;
        bytes.resize(len, 0);
        self.load(at.start, &mut bytes)?;
        Ok(Piece { at, bytes: Some(bytes.into_boxed_slice()) })
    }

    /// Bytes of the column that are kept in memory for those who read them still.
    pub(super) fn frozen_bytes(&self) -> u64 {
        let held = read(&self.held);
        held.pieces
            .iter()
            .fold(0, |sum, piece| sum.saturating_add(piece.at.end.saturating_sub(piece.at.start)))
    }

    fn path(&self) -> &std::path::Path {
        self.through.file.path()
    }

    #[inline]
    fn is_seen(&self, block: u64) -> bool {
        let Ok(word) = usize::try_from(block / 64) else { return false };
        self.seen.get(word).is_some_and(|word| word.load(Acquire) >> (block % 64) & 1 == 1)
    }

    fn are_seen(&self, bytes: &ops::Range<u64>) -> bool {
        let (first, last) = (block_of(bytes.start), block_of(bytes.end.wrapping_sub(1)));
        self.is_seen(first) && (last == first || (first..=last).all(|block| self.is_seen(block)))
    }

    fn see(&self, block: u64) {
        self.set(block / 64, 1 << (block % 64));
    }

    fn set(&self, word: u64, bits: u64) {
        if let Some(word) = usize::try_from(word).ok().and_then(|word| self.seen.get(word)) {
            word.fetch_or(bits, SeqCst);
        }
    }

    /// Says that the map is clear up to the first block that was not seen (R8).
    fn raise(&self) {
        let Some(map) = &self.map else { return };
        let mut block = block_of(map.is_clear_to() as u64);
        while let Some(word) = usize::try_from(block / 64).ok().and_then(|word| self.seen.get(word))
        {
            let ones = (word.load(SeqCst) >> (block % 64)).trailing_ones();
            block = block.saturating_add(u64::from(ones));
            if ones == 0 || !block.is_multiple_of(64) {
                break;
            }
        }
        map.clear_to(usize::try_from(start_of(block)).unwrap_or(usize::MAX));
    }

    /// Compares the blocks that are not to be skipped, a run at most, and hands each to `found`, with whether it fits its sum.
    fn sums(
        &self,
        blocks: ops::Range<u64>,
        skip: impl Fn(u64) -> bool,
        mut found: impl FnMut(u64, bool) -> Result<()>,
    ) -> Result<()> {
        let mut sums = [0; SUMS_LEN];
        let mut loaded: Option<(u64, usize)> = None;
        let mut buf = Vec::new();
        let end = blocks.end;
        for block in blocks {
            if skip(block) {
                continue;
            }
            let (first, got) = if let Some(loaded) = loaded {
                loaded
            } else {
                let count = end.saturating_sub(block);
                let len = usize::try_from(count.saturating_mul(SUM)).unwrap_or(usize::MAX);
                let part = sums.get_mut(..len.min(SUMS_LEN)).unwrap_or_default();
                let got = self.through.sums.read_at(part, sum_at(block)).map_err(|e| {
                    Error::system("read", self.through.sums.path(), e).at(sum_at(block))
                })?;
                *loaded.insert((block, got))
            };
            let at = block.saturating_sub(first).saturating_mul(SUM);
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let sum = sums.get(..got).and_then(|sums| sums.get(at..)?.first_chunk());
            // A sum that is not there fits nothing.
            let fits = match sum {
                Some(sum) => u32::from_le_bytes(*sum) == self.sum_of(block, &mut buf)?,
                None => false,
            };
            found(block, fits)?;
        }
        Ok(())
    }

    /// What the sum of a full block should be.
    fn sum_of(&self, block: u64, buf: &mut Vec<u8>) -> Result<u32> {
        let at = self.through.base.saturating_add(start_of(block));
        let bytes = if let Some(map) = &self.map {
            let lent = usize::try_from(at).ok().and_then(|at| map.slice(at, BLOCK_LEN));
            lent.ok_or_else(|| self.outside(&(at..at.saturating_add(BLOCK))))?
        } else {
            buf.resize(BLOCK_LEN, 0);
            self.load(at, buf)?;
            buf.as_slice()
        };
        Ok(self.through.seed.sum(block, bytes))
    }

    /// Reads from the file, all of it.
    fn load(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        let got = self.through.file.read_at(buf, at);
        let got = got.map_err(|e| Error::system("read", self.path(), e).at(at))?;
        if got == buf.len() {
            return Ok(());
        }
        let why = "the file is shorter than what was committed; was it cut by another program?";
        let at = at.saturating_add(got as u64);
        Err(Error::new(ErrorKind::Damaged, "read", self.path(), why).at(at))
    }

    /// By call: reads from the pieces, and between them from the file (R6).
    fn fill(&self, held: &Held, at: u64, mut buf: &mut [u8]) -> Result<()> {
        let mut at = self.through.base.saturating_add(at);
        while !buf.is_empty() {
            let place = held.pieces.partition_point(|piece| piece.at.end <= at);
            let piece = held.pieces.get(place);
            let frozen = piece.filter(|piece| piece.at.start <= at);
            let until = match (frozen, piece) {
                (Some(frozen), _) => frozen.at.end,
                (None, Some(next)) => next.at.start,
                (None, None) => u64::MAX,
            };
            let room = usize::try_from(until.saturating_sub(at)).unwrap_or(usize::MAX);
            let (now, later) = buf.split_at_mut(room.min(buf.len()));
            match frozen {
                None => self.load(at, now)?,
                Some(piece) => {
                    let skip = usize::try_from(at.saturating_sub(piece.at.start)).ok();
                    let from =
                        piece.bytes.as_deref().zip(skip).and_then(|(bytes, skip)| {
                            bytes.get(skip..skip.checked_add(now.len())?)
                        });
                    now.copy_from_slice(from.ok_or_else(|| self.outside(&piece.at))?);
                }
            }
            at = at.saturating_add(now.len() as u64);
            buf = later;
        }
        Ok(())
    }

    fn len(&self, bytes: &ops::Range<u64>) -> Result<usize> {
        let len = bytes.end.checked_sub(bytes.start).map(usize::try_from);
        len.and_then(Result::ok).ok_or_else(|| self.outside(bytes))
    }

    #[cold]
    fn damaged(&self, block: u64) -> Error {
        let from = self.through.base.saturating_add(start_of(block));
        let to = from.saturating_add(BLOCK);
        let why = format!("the bytes {from}..{to} of the file do not fit their checksum");
        Error::new(ErrorKind::Damaged, "read", self.path(), why).at(from)
    }

    #[cold]
    fn outside(&self, bytes: &ops::Range<u64>) -> Error {
        let why = format!("the bytes {}..{} are not in reach", bytes.start, bytes.end);
        Error::new(ErrorKind::OutOfRange, "read", self.path(), why)
    }
}

/// A map for so many bytes of the column; `None` if there are not enough addresses.
fn map(through: &Through, capacity: u64) -> Result<Option<Ahead>> {
    let Ok(len) = usize::try_from(through.base.saturating_add(capacity)) else { return Ok(None) };
    let Ok(base) = usize::try_from(through.base) else { return Ok(None) };
    match through.file.map_ahead(len) {
        Ok(map) => Ok(Some(map.from(base))),
        Err(e) if cannot(&e) => Ok(None),
        Err(e) => Err(Error::system("map", through.file.path(), e)),
    }
}

/// Whether there is no map for want of addresses, or because the file system has none: then calls do.
fn cannot(error: &io::Error) -> bool {
    let these = [Errno::NOMEM, Errno::NODEV, Errno::OPNOTSUPP, Errno::AGAIN];
    error.kind() == io::ErrorKind::Unsupported
        || these.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cold]
fn too_large(through: &Through, capacity: u64) -> Error {
    let why = format!("{capacity} bytes are more than this machine can address");
    Error::new(ErrorKind::TooLarge, "map", through.file.path(), why)
}

fn blocks_up(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// The first block of a word of bits.
const fn start_of_word(word: u64) -> u64 {
    word.saturating_mul(64)
}

/// The bits below this one.
fn below(bit: u64) -> u64 {
    let bit = u32::try_from(bit).ok().and_then(|bit| 1_u64.checked_shl(bit));
    bit.map_or(u64::MAX, |bit| bit.wrapping_sub(1))
}

/// The blocks that bytes lie in.
fn touched(bytes: &ops::Range<u64>) -> ops::Range<u64> {
    if bytes.is_empty() {
        return 0..0;
    }
    block_of(bytes.start)..block_of(bytes.end.saturating_sub(1)).saturating_add(1)
}

/// The bytes in runs that end where a block does.
fn runs(bytes: ops::Range<u64>) -> impl Iterator<Item = ops::Range<u64>> {
    let mut next = bytes.start;
    std::iter::from_fn(move || {
        let start = next;
        next = start_of(block_of(start)).saturating_add(RUN_BYTES).min(bytes.end);
        (start < bytes.end).then_some(start..next)
    })
}

/// The whole pages of bytes of the file (R7).
fn pages(bytes: ops::Range<u64>, len: u64) -> ops::Range<u64> {
    let page = page_size() as u64;
    let into = bytes.start.checked_rem(page).unwrap_or_default();
    let end = bytes.end.checked_next_multiple_of(page).unwrap_or(u64::MAX);
    bytes.start.saturating_sub(into)..end.min(len)
}

/// What of the wanted bytes is in no piece.
fn gaps(pieces: &[Piece], wanted: ops::Range<u64>) -> Vec<ops::Range<u64>> {
    let mut gaps = Vec::new();
    let mut at = wanted.start;
    for piece in pieces {
        let until = piece.at.start.min(wanted.end);
        if at < until {
            gaps.push(at..until);
        }
        at = at.max(piece.at.end);
    }
    if at < wanted.end {
        gaps.push(at..wanted.end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_possible_truncation, reason = "small numbers")]

    use super::super::for_tests::{copied, noise, real, worlds};
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn bytes_are_read_across_blocks_and_compared_once() {
        for world in worlds() {
            for base in [0, 64] {
                let bytes = noise(3, 300_000);
                let column = world.column("column", base, &bytes);
                let range = column.range();
                assert_eq!(range.is_mapped(), world.name == "map", "{}", world.name);
                assert!(range.capacity() >= 64 << 20);
                for (from, to) in [(0, 1), (16_383, 16_385), (5, 299_999), (300_000, 300_000)] {
                    let want = &bytes[from as usize..to as usize];
                    assert_eq!(copied(&range, from..to).unwrap(), want, "{}", world.name);
                    match range.read(from..to) {
                        Ok(lent) => assert_eq!(lent, want),
                        Err(e) => {
                            assert!(!range.is_mapped());
                            assert_eq!(e.kind(), ErrorKind::Unsupported);
                        }
                    }
                }
                assert_eq!(range.get(5..9).is_some(), range.is_mapped());
                range.verify(0..300_000, 300_000).unwrap();
                // Seen blocks are not compared again, but by who asks for it.
                column.rot(20_000);
                copied(&range, 20_001..20_002).unwrap();
                let error = range.verify(0..300_000, 300_000).unwrap_err();
                assert_eq!(error.offset(), Some(base + 16_384));
                range.verify(32_768..300_000, 300_000).unwrap();
                world.dir.unlink("column".as_ref()).unwrap();
                world.dir.unlink("column.sums".as_ref()).unwrap();
            }
        }
    }

    #[test]
    fn damage_is_found_at_the_first_touch_of_its_block() {
        for world in worlds() {
            let column = world.column("column", 64, &noise(4, 100_000));
            let range = column.range();
            column.rot(40_000);
            assert!(range.get(39_000..39_001).is_none());
            for (from, to) in [(39_000, 39_001), (0, 100_000)] {
                let error = copied(&range, from..to).unwrap_err();
                assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(64 + 32_768)));
                assert_eq!(error.path(), Some(column.file.path()));
            }
            assert!(copied(&range, 0..32_768).is_ok() && copied(&range, 49_152..100_000).is_ok());
            assert!(range.get(39_000..39_001).is_none());
            // A sum that is missing fits nothing, whatever the block has.
            let short = world.column("short", 0, &noise(4, 16_384));
            short.sums.set_len(66).unwrap();
            assert_eq!(copied(&short.range(), 0..1).unwrap_err().kind(), ErrorKind::Damaged);
            // Who wants no comparison gets none.
            let through = Through { verify: Verify::Never, ..column.through() };
            let range = Range::new(through, 100_000).unwrap();
            assert!(copied(&range, 39_000..40_001).is_ok());
            assert!(range.verify(0..100_000, 100_000).is_err());
        }
    }

    #[test]
    fn a_file_that_was_cut_by_others_is_damage_by_calls() {
        for world in worlds().iter().filter(|world| world.name != "map") {
            let column = world.column("column", 0, &noise(4, 100_000));
            let range = column.range();
            column.file.set_len(20_000).unwrap();
            for at in [90_000, 99_999] {
                let error = copied(&range, at..at + 1).unwrap_err();
                assert_eq!(
                    (error.kind(), error.offset() >= Some(20_000)),
                    (ErrorKind::Damaged, true)
                );
            }
        }
    }

    #[test]
    fn what_is_frozen_stays_while_the_file_is_overwritten_and_cut() {
        for world in worlds() {
            for base in [0, 64] {
                for (from, new) in [(50_000, 60_000), (90_001, 0), (98_304, 5), (1, 200_000)] {
                    let old = noise(5, 100_000);
                    let mut column = world.column("column", base, &old);
                    let range = column.range();
                    let lent = range.read(0..100_000).ok();
                    range.freeze(from, 100_000).unwrap();
                    let kept = range.frozen_bytes();
                    assert!(kept >= 100_000 - from && kept < 110_000 - from + 8192, "{kept}");
                    column.change(from as usize, &noise(6, new));
                    assert_eq!(copied(&range, 0..100_000).unwrap(), old, "{}", world.name);
                    assert!(lent.is_none_or(|lent| lent == old), "{}", world.name);
                    assert_eq!(lent.is_some(), world.name == "map");
                    range.verify(0..100_000, 100_000).unwrap();
                    // The others go on with the file as it is.
                    let next = range.successor(from, column.bytes.len() as u64).unwrap();
                    next.trust(from / 16_384 * 16_384..column.bytes.len() as u64);
                    let now = copied(&next, 0..column.bytes.len() as u64).unwrap();
                    assert_eq!(now, column.bytes, "{}", world.name);
                    world.dir.unlink("column".as_ref()).unwrap();
                    world.dir.unlink("column.sums".as_ref()).unwrap();
                }
            }
        }
    }

    /// Rewinds go ever deeper, and states of one range end in different places.
    #[test]
    fn a_second_freeze_adds_what_is_missing_on_both_sides() {
        for world in worlds() {
            let old = noise(7, 200_000);
            let mut column = world.column("column", 0, &old);
            let range = column.range();
            range.freeze(150_000, 160_000).unwrap();
            range.freeze(150_000, 200_000).unwrap();
            column.change(150_000, &noise(8, 1000));
            let once = range.frozen_bytes();
            range.freeze(160_000, 200_000).unwrap();
            assert_eq!(range.frozen_bytes(), once);
            range.freeze(20_000, 30_000).unwrap();
            range.freeze(20_000, 200_000).unwrap();
            column.change(20_000, &noise(9, 10));
            assert_eq!(copied(&range, 0..200_000).unwrap(), old, "{}", world.name);
            assert!(range.read(0..200_000).is_ok_and(|lent| lent == old) || !range.is_mapped());
            assert!(range.frozen_bytes() <= 180_000 + 8192);
        }
    }

    /// The sums of the old bytes are gone after the writer went on: the new ones must not make damaged bytes good, also not if a
    /// later freeze looks at the block again.
    #[test]
    fn a_bad_block_stays_damaged_after_a_freeze() {
        for world in worlds() {
            let old = noise(10, 100_000);
            let mut column = world.column("column", 0, &old);
            let range = column.range();
            column.rot(70_000);
            let rotten = {
                let mut rotten = vec![0; 34_464];
                column.file.read_at(&mut rotten, 65_536).unwrap();
                rotten
            };
            range.freeze(66_000, 100_000).unwrap();
            // The writer happens to write what the disk had made of it, so that the new sums fit the damaged bytes.
            column.change(65_536, &rotten);
            for _ in 0..2 {
                let error = copied(&range, 70_001..70_002).unwrap_err();
                assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(65_536)));
                assert!(range.verify(0..100_000, 100_000).is_err());
                assert!(range.get(70_001..70_002).is_none());
                assert_eq!(copied(&range, 81_920..100_000).unwrap(), old[81_920..]);
                range.freeze(10, 100_000).unwrap();
            }
        }
    }

    #[test]
    fn a_successor_trusts_what_is_below_the_cut() {
        let world = real("map", ReadMode::Map);
        let mut column = world.column("column", 0, &noise(11, 16_384 * 200));
        let range = column.range();
        copied(&range, 0..16_384 * 140).unwrap();
        let next = range.successor(16_384 * 130 + 5, 16_384 * 200).unwrap();
        column.change(0, &vec![0; 16_384 * 200]);
        for block in 0..200_u64 {
            let seen = next.get(block * 16_384..block * 16_384 + 1).is_some();
            assert_eq!(seen, block < 130, "{block}");
        }
    }

    /// In whatever order blocks are seen, and by how many: when all were, the quick way is open to the last of them, and before
    /// only to the first that was not.
    #[test]
    fn the_front_is_clear_as_far_as_all_blocks_were_seen() {
        const BLOCKS: u64 = 200;
        let world = real("map", ReadMode::Map);
        let bytes = noise(14, BLOCKS as usize * 16_384);
        let column = world.column("column", 64, &bytes);
        let open_to = |range: &Range| {
            (0..BLOCKS).take_while(|block| range.lent(block * 16_384, 16_384).is_some()).count()
        };
        let range = column.range();
        for (seen, open) in [(1..2, 0), (0..1, 2), (64..130, 2), (3..64, 2), (2..3, 130)] {
            copied(&range, seen.start * 16_384..seen.end * 16_384).unwrap();
            assert_eq!(open_to(&range), open);
        }
        assert_eq!(range.lent(0, 130 * 16_384).unwrap(), &bytes[..130 * 16_384]);
        assert!(range.lent(0, 130 * 16_384 + 1).is_none() && range.lent(u64::MAX, 2).is_none());
        range.trust(140 * 16_384..200 * 16_384);
        range.trust(130 * 16_384..140 * 16_384);
        assert_eq!(open_to(&range), 200);
        assert_eq!(open_to(&range.successor(70 * 16_384 + 5, 200 * 16_384).unwrap()), 70);
        let through = Through { verify: Verify::Never, ..column.through() };
        assert_eq!(open_to(&Range::new(through, BLOCKS * 16_384).unwrap()), 200);
        for _ in 0..20 {
            let range = &column.range();
            std::thread::scope(|scope| {
                for reader in 0..2 {
                    scope.spawn(move || {
                        for n in 0..BLOCKS / 2 {
                            let block = (n * 2 * 67 + reader * 67) % BLOCKS;
                            range.compare(block * 16_384..block * 16_384 + 1).unwrap();
                        }
                    });
                }
            });
            assert_eq!(open_to(range), 200);
        }
    }

    /// First touches, the freeze, and the writer who overwrites data and sums, all at once.
    #[test]
    fn first_touches_race_with_a_freeze_and_an_overwrite() {
        const BLOCKS: u64 = 24;
        for world in worlds().iter().filter(|world| world.name != "sim") {
            let (old, new) = (noise(12, BLOCKS as usize * 16_384), noise(13, 10 * 16_384));
            for round in 0..40_u64 {
                let mut column = world.column("column", 0, &old);
                let range = &column.range();
                let (old, start) = (&old, &Barrier::new(3));
                std::thread::scope(|scope| {
                    for reader in 0..2 {
                        scope.spawn(move || {
                            start.wait();
                            for n in 0..BLOCKS * 4 {
                                let block = (n * 7 + reader * 5 + round) % BLOCKS;
                                let from = (block * 16_384).saturating_sub(n % 3 * 9000);
                                let want = &old[from as usize..][..10_000];
                                let name = world.name;
                                assert_eq!(
                                    copied(range, from..from + 10_000).unwrap(),
                                    want,
                                    "{name}"
                                );
                                if let Ok(lent) = range.read(from..from + 10_000) {
                                    assert_eq!(lent, want, "{name}");
                                }
                            }
                        });
                    }
                    start.wait();
                    let from = (round % 12) * 16_384 + 100;
                    range.freeze(from, BLOCKS * 16_384).unwrap();
                    column.change(from as usize, &new);
                });
                assert!(copied(range, 0..BLOCKS * 16_384).unwrap() == *old);
            }
        }
    }
}
