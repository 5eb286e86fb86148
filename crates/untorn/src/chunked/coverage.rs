//! Which bytes of a file are there.
//!
//! A whole granule (4 KiB or more) is one bit, in leaves that are made when their first bit is set. A piece of a granule
//! is a range in a sorted map under a mutex, an edge. So the memory follows the size of the file, not the number of
//! writes, and who asks for whole granules takes no lock.
//!
//! # Invariants
//! - G1 Bytes are written before they are inserted, and an insert releases: who finds them acquires, and may read them.
//! - G2 An edge lies in one granule, is neither empty nor all of it, and touches no other edge of that granule.
//! - G3 A bit is set before its edges are dropped, and edges stand before their bit is cleared. So who finds the bit
//!   clear, then no edge, then the bit still clear, knows that the bytes were missing.
//! - G4 `edge_count` is the number of edges, stored under the lock, before the bit is looked at. A granule's bit is set
//!   before `edge_count` is looked at. Both in the one order of `SeqCst`: an edge does not outlive the insert of its
//!   whole granule, and `remove` cannot bring it back.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::repeat_with;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The smallest granule, as a power of two: 4 KiB.
const GRANULE_SHIFT_MIN: u32 = 12;
/// How many granules a file has at most, as a power of two.
const GRANULES_SHIFT_MAX: u32 = 28;
const WORD_BITS: u64 = 64;
/// Words of a leaf: 4 KiB.
const LEAF_WORDS: u64 = 512;
/// Leaves of a branch.
const BRANCH_LEAVES: u64 = 128;
const BRANCH_WORDS: u64 = LEAF_WORDS * BRANCH_LEAVES;

type Leaf = Box<[AtomicU64]>;
type Branch = Box<[OnceLock<Leaf>]>;
type Edges = BTreeMap<u64, u64>;

/// Which bytes of `0..max_len` are available.
pub(super) struct Coverage {
    /// A granule has two to this power bytes.
    shift: u32,
    /// Words of each leaf and leaves of each branch: fewer than the limits in a small file.
    leaf_words: usize,
    branch_leaves: usize,
    branches: Box<[OnceLock<Branch>]>,
    edge_count: AtomicUsize,
    edges: Mutex<Edges>,
}

impl Coverage {
    /// Nothing available of a file of at most `max_len` bytes.
    pub(super) fn new(max_len: u64) -> Self {
        let least = max_len.div_ceil(1 << GRANULES_SHIFT_MAX).max(1 << GRANULE_SHIFT_MIN);
        let shift = least.checked_next_power_of_two().map_or(63, u64::trailing_zeros);
        let size = 1_u64.wrapping_shl(shift);
        let words = max_len.checked_div(size).unwrap_or(0).saturating_add(1).div_ceil(WORD_BITS);
        let leaves = words.div_ceil(LEAF_WORDS);
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            shift,
            leaf_words: count(words.min(LEAF_WORDS)),
            branch_leaves: count(leaves.min(BRANCH_LEAVES)),
            branches: empty(count(leaves.div_ceil(BRANCH_LEAVES))),
            edge_count: AtomicUsize::new(0),
            edges: Mutex::default(),
        }
    }

    /// Calls the bytes of `range` available (G1). That it lies within `max_len` is the caller's duty.
    pub(super) fn insert(&self, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Split { head, full, tail } = self.split(range);
        for (index, mask) in masks(&full) {
            if let Some(word) = self.word_or_new(index) {
                word.fetch_or(mask, SeqCst);
            }
        }
        if !head.is_empty() || !tail.is_empty() {
            let mut edges = self.lock();
            for piece in [head, tail] {
                self.insert_piece(&mut edges, piece);
            }
            self.drop_edges(&mut edges, &full);
        } else if self.edge_count.load(SeqCst) != 0 {
            self.drop_edges(&mut self.lock(), &full);
        }
    }

    /// Calls the bytes of `range` missing. Not at the same time as an insert of any of them.
    pub(super) fn remove(&self, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut edges = self.lock();
        let Split { head, full, tail } = self.split(range);
        for (index, mask) in masks(&full) {
            if let Some(word) = self.word(index) {
                word.fetch_and(!mask, SeqCst);
            }
        }
        self.drop_edges(&mut edges, &full);
        for piece in [head, tail] {
            self.remove_piece(&mut edges, &piece);
        }
    }

    /// Calls all bytes missing. Not at the same time as an insert.
    pub(super) fn clear(&self) {
        let mut edges = self.lock();
        for (_, leaf) in self.leaves() {
            for word in leaf {
                word.store(0, SeqCst);
            }
        }
        edges.clear();
        self.edge_count.store(0, SeqCst);
    }

    /// Whether all bytes of `range` are available: true for an empty range, false for one that ends before it starts.
    pub(super) fn contains(&self, range: &Range<u64>) -> bool {
        if range.start >= range.end {
            return range.start == range.end;
        }
        let granules = self.touched(range);
        let whole = masks(&granules).all(|(index, mask)| self.load(index) & mask == mask);
        whole || self.first_missing(range.start, range.end).is_none()
    }

    /// The first missing range that begins in `from..limit`, cut to it.
    pub(super) fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        let start = self.first_missing(from, limit)?;
        let next = self.granule(start).saturating_add(1);
        let end_granule = self.granule(limit.saturating_sub(1)).saturating_add(1);
        let mut end = limit;
        if let Some(granule) = self.next_set(next, end_granule) {
            end = end.min(self.start_of(granule));
        }
        if self.edge_count.load(Acquire) != 0
            && let Some((&edge, _)) = self.lock().range(start..end).next()
        {
            end = edge;
        }
        // An insert since the look above may have taken the start away; a gap that was there is answered all the same.
        Some(start..end.max(start.saturating_add(1)))
    }

    /// All available ranges, in order, none touching the next.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        let (mut ranges, mut from, end) = (Vec::new(), 0, self.end());
        while from < end {
            let gap = self.next_gap(from, end).unwrap_or(end..end);
            if from < gap.start {
                ranges.push(from..gap.start);
            }
            from = gap.end;
        }
        ranges
    }

    /// How many bytes are available.
    pub(super) fn covered(&self) -> u64 {
        let edges = self.lock();
        let bits = self.leaves().flat_map(|(_, leaf)| leaf).map(|w| w.load(Acquire).count_ones());
        let whole = self.start_of(bits.map(u64::from).sum());
        let pieces = edges.iter().map(|(start, end)| end.saturating_sub(*start));
        whole.saturating_add(pieces.sum())
    }

    /// The end of the last available range, or 0.
    pub(super) fn end(&self) -> u64 {
        let edges = self.lock();
        let edge = edges.last_key_value().map_or(0, |(_, end)| *end);
        let words = self.leaves().rev().flat_map(|(first, leaf)| {
            leaf.iter().enumerate().rev().map(move |(n, word)| (first, n as u64, word))
        });
        let last = words.map(|(first, n, word)| (first.wrapping_add(n), word.load(Acquire)));
        let whole = last.into_iter().find(|(_, word)| *word != 0).map_or(0, |(index, word)| {
            let bits = WORD_BITS.saturating_sub(u64::from(word.leading_zeros()));
            self.start_of(index.wrapping_mul(WORD_BITS).wrapping_add(bits))
        });
        edge.max(whole)
    }

    /// The first missing byte of `from..limit`.
    fn first_missing(&self, from: u64, limit: u64) -> Option<u64> {
        let mut at = from;
        while at < limit {
            let end = self.granule(limit.saturating_sub(1)).saturating_add(1);
            let granule = self.next_clear(self.granule(at), end)?;
            at = at.max(self.start_of(granule));
            if at >= limit {
                return None;
            }
            match self.edge_over(granule, at) {
                Some(end) => at = end,
                None => return Some(at),
            }
        }
        None
    }

    /// Where what covers the byte `at` ends, in a granule that was found not to be full; `None` if nothing does.
    fn edge_over(&self, granule: u64, at: u64) -> Option<u64> {
        let full = || self.is_set(granule).then(|| self.start_of(granule.saturating_add(1)));
        if self.edge_count.load(Acquire) == 0 {
            return full();
        }
        let edges = self.lock();
        let edge = edges.range(..=at).next_back().map(|(_, end)| *end).filter(|end| *end > at);
        edge.or_else(full)
    }

    /// Adds a piece of one granule; the empty piece is none.
    fn insert_piece(&self, edges: &mut Edges, piece: Range<u64>) {
        if piece.is_empty() {
            return;
        }
        let granule = self.granule(piece.start);
        let bounds = self.bounds(granule);
        let (mut start, mut end) = (piece.start, piece.end);
        if let Some((&left, &left_end)) = edges.range(bounds.start..start).next_back()
            && left_end >= start
        {
            start = left;
            end = end.max(left_end);
        }
        while let Some((&next, &next_end)) = edges.range(start..bounds.end).next()
            && next <= end
        {
            edges.remove(&next);
            end = end.max(next_end);
        }
        if start == bounds.start && end == bounds.end {
            if let Some(word) = self.word_or_new(granule / WORD_BITS) {
                word.fetch_or(bit(granule), SeqCst);
            }
        } else {
            edges.insert(start, end);
        }
        self.edge_count.store(edges.len(), SeqCst);
        // G4: an insert of the whole granule that saw no edges.
        if self.is_set(granule) {
            self.drop_edges(edges, &(granule..granule.saturating_add(1)));
        }
    }

    /// Takes a piece of one granule away; the empty piece is none.
    fn remove_piece(&self, edges: &mut Edges, piece: &Range<u64>) {
        if piece.is_empty() {
            return;
        }
        let granule = self.granule(piece.start);
        let bounds = self.bounds(granule);
        let mut rest = Vec::new();
        if self.is_set(granule) {
            rest.push(bounds);
        } else {
            rest.extend(edges.range(bounds).map(|(start, end)| *start..*end));
        }
        for edge in rest {
            if edge.end <= piece.start || edge.start >= piece.end {
                continue;
            }
            edges.remove(&edge.start);
            if edge.start < piece.start {
                edges.insert(edge.start, piece.start);
            }
            if edge.end > piece.end {
                edges.insert(piece.end, edge.end);
            }
        }
        self.edge_count.store(edges.len(), SeqCst);
        // G3: what is left of the granule stands as edges by now.
        if let Some(word) = self.word(granule / WORD_BITS) {
            word.fetch_and(!bit(granule), SeqCst);
        }
    }

    /// Drops the edges of granules whose bits are set, or are to be clear.
    fn drop_edges(&self, edges: &mut Edges, granules: &Range<u64>) {
        let range = self.start_of(granules.start)..self.start_of(granules.end);
        while let Some((&start, _)) = edges.range(range.clone()).next() {
            edges.remove(&start);
        }
        self.edge_count.store(edges.len(), SeqCst);
    }

    /// The first granule of `from..end` that is not full.
    fn next_clear(&self, from: u64, end: u64) -> Option<u64> {
        masks(&(from..end)).find_map(|(index, mask)| {
            let clear = mask & !self.load(index);
            (clear != 0).then(|| granule_at(index, clear.trailing_zeros()))
        })
    }

    /// The first full granule of `from..end`.
    fn next_set(&self, from: u64, end: u64) -> Option<u64> {
        // Behind the last branch nothing can be set.
        let words = (self.branches.len() as u64).saturating_mul(BRANCH_WORDS);
        let (mut from, end) = (from, end.min(words.saturating_mul(WORD_BITS)));
        while from < end {
            let (index, mask) = masks(&(from..end)).next()?;
            match self.leaf(index) {
                Ok(leaf) => {
                    let word = position(index, LEAF_WORDS).and_then(|n| leaf.get(n))?;
                    let set = mask & word.load(Acquire);
                    if set != 0 {
                        return Some(granule_at(index, set.trailing_zeros()));
                    }
                    from = granule_at(index.saturating_add(1), 0);
                }
                Err(skip) => {
                    // Nothing was ever set up to the next leaf, or the next branch.
                    let next = index.checked_div(skip).unwrap_or(0).saturating_add(1);
                    from = granule_at(next.saturating_mul(skip), 0);
                }
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Edges> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn granule(&self, at: u64) -> u64 {
        at.wrapping_shr(self.shift)
    }

    const fn start_of(&self, granule: u64) -> u64 {
        granule.saturating_mul(1_u64.wrapping_shl(self.shift))
    }

    const fn bounds(&self, granule: u64) -> Range<u64> {
        self.start_of(granule)..self.start_of(granule.saturating_add(1))
    }

    /// The granules that a range touches. It is not empty.
    const fn touched(&self, range: &Range<u64>) -> Range<u64> {
        self.granule(range.start)..self.granule(range.end.saturating_sub(1)).saturating_add(1)
    }

    /// A range as a piece, whole granules, and a piece.
    fn split(&self, range: &Range<u64>) -> Split {
        let touched = self.touched(range);
        let starts_whole = self.start_of(touched.start) == range.start;
        let first = if starts_whole { touched.start } else { touched.start.saturating_add(1) };
        let end = self.granule(range.end);
        if first > end {
            return Split { head: range.clone(), full: first..first, tail: 0..0 };
        }
        let (from, to) = (self.start_of(first), self.start_of(end));
        Split { head: range.start..from, full: first..end, tail: to..range.end }
    }

    fn is_set(&self, granule: u64) -> bool {
        let word = self.word(granule / WORD_BITS);
        word.is_some_and(|word| word.load(SeqCst) & bit(granule) != 0)
    }

    fn load(&self, index: u64) -> u64 {
        self.word(index).map_or(0, |word| word.load(Acquire))
    }

    fn word(&self, index: u64) -> Option<&AtomicU64> {
        self.leaf(index).ok()?.get(position(index, LEAF_WORDS)?)
    }

    /// The leaf that has the word; else in units of how many words nothing is there.
    fn leaf(&self, index: u64) -> Result<&[AtomicU64], u64> {
        let branch = usize::try_from(index / BRANCH_WORDS).ok().and_then(|n| self.branches.get(n));
        let branch = branch.and_then(OnceLock::get).ok_or(BRANCH_WORDS)?;
        let leaf = position(index / LEAF_WORDS, BRANCH_LEAVES).and_then(|n| branch.get(n));
        leaf.and_then(OnceLock::get).map(|leaf| &**leaf).ok_or(LEAF_WORDS)
    }

    fn word_or_new(&self, index: u64) -> Option<&AtomicU64> {
        let branch = usize::try_from(index / BRANCH_WORDS).ok().and_then(|n| self.branches.get(n));
        let branch = branch?.get_or_init(|| empty(self.branch_leaves));
        let leaf = branch.get(position(index / LEAF_WORDS, BRANCH_LEAVES)?)?;
        let leaf = leaf.get_or_init(|| empty(self.leaf_words));
        leaf.get(position(index, LEAF_WORDS)?)
    }

    /// The leaves that are there, each with the index of its first word.
    fn leaves(&self) -> impl DoubleEndedIterator<Item = (u64, &[AtomicU64])> {
        self.branches.iter().enumerate().flat_map(|(n, branch)| {
            let first = (n as u64).wrapping_mul(BRANCH_WORDS);
            let leaves = branch.get().map_or(&[][..], |leaves| leaves);
            leaves.iter().enumerate().filter_map(move |(n, leaf)| {
                let first = first.wrapping_add((n as u64).wrapping_mul(LEAF_WORDS));
                leaf.get().map(|leaf| (first, &**leaf))
            })
        })
    }
}

impl fmt::Debug for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coverage").field("covered", &self.covered()).finish_non_exhaustive()
    }
}

/// A piece before the first whole granule, whole granules, a piece behind the last.
struct Split {
    head: Range<u64>,
    full: Range<u64>,
    tail: Range<u64>,
}

/// The words that have the bits of these granules, each with a mask of them.
fn masks(granules: &Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    let (start, end) = (granules.start, granules.end);
    let indexes = start / WORD_BITS..if start < end { end.div_ceil(WORD_BITS) } else { 0 };
    indexes.map(move |index| {
        let first = index.saturating_mul(WORD_BITS);
        let low = start.saturating_sub(first);
        let high = end.saturating_sub(first).min(WORD_BITS);
        // Bits `low..high`; a shift by all 64 would be none.
        let below = |n: u64| u32::try_from(n).ok().and_then(|n| 1_u64.checked_shl(n));
        let up_to = |n: u64| below(n).map_or(u64::MAX, |bit| bit.wrapping_sub(1));
        (index, up_to(high) & !up_to(low))
    })
}

const fn bit(granule: u64) -> u64 {
    // Both are below 64.
    1_u64.rotate_left((granule % WORD_BITS) as u32)
}

fn granule_at(index: u64, bit: u32) -> u64 {
    index.saturating_mul(WORD_BITS).saturating_add(u64::from(bit))
}

/// The place of an item in a part that has `of` of them.
fn position(index: u64, of: u64) -> Option<usize> {
    usize::try_from(index.checked_rem(of)?).ok()
}

fn empty<T: Default>(len: usize) -> Box<[T]> {
    repeat_with(T::default).take(len).collect()
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
mod tests {
    use super::*;

    struct Rng(u64);

    impl Rng {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
    }

    fn model_gap(model: &[bool], from: u64, limit: u64) -> Option<Range<u64>> {
        let at = |n: u64| model.get(usize::try_from(n).unwrap()).copied().unwrap_or(false);
        let start = (from..limit).find(|&n| !at(n))?;
        Some(start..(start..limit).find(|&n| at(n)).unwrap_or(limit))
    }

    fn model_ranges(model: &[bool]) -> Vec<Range<u64>> {
        let (mut found, mut at) = (Vec::new(), 0);
        for run in model.chunk_by(|a, b| a == b) {
            if run[0] {
                found.push(at as u64..(at + run.len()) as u64);
            }
            at += run.len();
        }
        found
    }

    #[track_caller]
    fn check(seed: u64, len: u64, longest: u64) {
        let mut rng = Rng(seed);
        let coverage = Coverage::new(len);
        let mut model = vec![false; usize::try_from(len).unwrap()];
        for step in 0..if len < 1 << 16 { 400 } else { 60 } {
            let mut start = rng.below(len);
            let mut end = (start + 1 + rng.below(longest)).min(len);
            if rng.below(3) == 0 {
                // Whole granules, where the bits are.
                (start, end) = (start / 4096 * 4096, (end.div_ceil(4096) * 4096).min(len));
            }
            let range = start..end;
            let insert = rng.below(5) > 1;
            if insert {
                coverage.insert(&range);
            } else {
                coverage.remove(&range);
            }
            let slice = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            model[slice].fill(insert);
            if rng.below(97) == 0 {
                coverage.clear();
                model.fill(false);
            }
            assert_eq!(coverage.ranges(), model_ranges(&model), "step {step} of seed {seed}");
            let (from, limit) = (rng.below(len), rng.below(len + 9000));
            assert_eq!(coverage.next_gap(from, limit), model_gap(&model, from, limit));
            let whole = model_gap(&model, from, limit).is_none();
            assert_eq!(coverage.contains(&(from..limit)), whole && from <= limit);
            assert_eq!(coverage.covered(), model.iter().filter(|&&there| there).count() as u64);
            let end = model.iter().rposition(|&there| there).map_or(0, |last| last as u64 + 1);
            assert_eq!(coverage.end(), end);
            let edges = coverage.lock();
            for (start, end) in edges.iter() {
                assert!(start < end && coverage.granule(*start) == coverage.granule(end - 1));
                assert!(!coverage.is_set(coverage.granule(*start)), "an edge under its bit");
            }
            assert_eq!(coverage.edge_count.load(SeqCst), edges.len());
        }
    }

    #[test]
    fn as_a_list_of_bytes_would_say() {
        for seed in 1..4 {
            check(seed, 1, 1);
            check(seed, 11, 5);
            check(seed, 4096, 900);
            check(seed, 3 * 4096 + 1, 9000);
            check(seed, 70 * 4096, 20_000);
            check(seed, 300 * 4096 + 77, 600_000);
        }
    }

    #[test]
    fn odd_ranges() {
        let coverage = Coverage::new(1 << 40);
        assert!(coverage.contains(&(7..7)));
        let reversed = Range { start: 7, end: 6 };
        assert!(!coverage.contains(&reversed));
        assert_eq!(coverage.next_gap(9, 9), None);
        assert_eq!(coverage.next_gap(0, u64::MAX), Some(0..u64::MAX));
        assert_eq!(coverage.next_gap(u64::MAX - 1, u64::MAX), Some(u64::MAX - 1..u64::MAX));
        assert!(!coverage.contains(&(0..u64::MAX)));
        assert!(coverage.ranges().is_empty());
        coverage.insert(&((1 << 40) - 4096..1 << 40));
        assert_eq!(coverage.end(), 1 << 40);
        assert_eq!(coverage.next_gap(0, u64::MAX), Some(0..(1 << 40) - 4096));
        assert_eq!(coverage.next_gap((1 << 40) - 1, u64::MAX), Some(1 << 40..u64::MAX));
        let largest = Coverage::new(u64::MAX);
        largest.insert(&(0..u64::MAX));
        assert_eq!((largest.end(), largest.covered()), (u64::MAX, u64::MAX));
        assert!(largest.contains(&(5..u64::MAX)));
        Coverage::new(0).insert(&(0..0));
    }

    /// Many calls on one file once took 24 bytes each.
    #[test]
    fn memory_follows_the_file() {
        let bytes = |coverage: &Coverage| {
            let branches = coverage.branches.iter().filter(|branch| branch.get().is_some()).count();
            let slots = coverage.branches.len() + branches * coverage.branch_leaves;
            slots * size_of::<OnceLock<Leaf>>()
                + coverage.leaves().count() * coverage.leaf_words * size_of::<u64>()
                + coverage.lock().len() * 32
        };
        let sparse = Coverage::new(1 << 40);
        let mut rng = Rng(5);
        for _ in 0..500 {
            let start = rng.below((1 << 40) - 70_000);
            sparse.insert(&(start..start + 65_536));
        }
        assert!(bytes(&sparse) < 4 << 20, "{}", bytes(&sparse));
        let dense = Coverage::new(1 << 30);
        for n in 0..1_u64 << 17 {
            let at = (n * 7919 % (1 << 17)) * 8192;
            dense.insert(&(at..at + 8192));
        }
        assert_eq!(dense.ranges(), vec![0..1 << 30]);
        assert!(bytes(&dense) < 64 << 10, "{}", bytes(&dense));
        assert!(bytes(&Coverage::new(65_536)) < 256);
    }

    #[test]
    fn threads_insert_pieces_of_the_same_granules() {
        for piece in [1000_u64, 4096, 5000] {
            let coverage = Coverage::new(1 << 22);
            std::thread::scope(|scope| {
                for part in 0..4_u64 {
                    let coverage = &coverage;
                    scope.spawn(move || {
                        let mut at = part * piece;
                        while at < 1 << 22 {
                            let range = at..(at + piece).min(1 << 22);
                            coverage.insert(&range);
                            assert!(coverage.contains(&range));
                            at += 4 * piece;
                        }
                    });
                }
            });
            assert_eq!(coverage.ranges(), vec![0..1 << 22], "pieces of {piece}");
            assert!(coverage.lock().is_empty());
        }
    }

    /// A whole granule and a piece of it at once: the edge must not stay under the bit (G4).
    #[test]
    fn no_edge_outlives_its_whole_granule() {
        for round in 0..2000 {
            let coverage = Coverage::new(1 << 20);
            std::thread::scope(|scope| {
                scope.spawn(|| coverage.insert(&(0..4096)));
                scope.spawn(|| coverage.insert(&(100..200)));
            });
            coverage.remove(&(0..4096));
            assert_eq!(coverage.ranges(), vec![], "round {round}");
        }
    }
}
