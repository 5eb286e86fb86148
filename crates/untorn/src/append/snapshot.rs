//! What one commit shows, kept as it was for as long as someone looks at it.
//!
//! # Invariants
//! - S1 `view` is a member of `state`. The state is held as long as the snapshot lives, so that the writer knows of it and freezes
//!   what it shows before he changes it (P2, R5): what `view` lends stays what it is.

use std::borrow::Cow;
use std::fmt::{Debug, Formatter};
use std::io::Write;
use std::marker::PhantomData;
use std::ops::{self, Bound, RangeBounds};
use std::sync::Arc;

use super::iter::Elements;
use super::publish::{Published, View};
use crate::codec::{Codec, Raw};
use crate::fs::{self, Plain};
use crate::{Error, ErrorKind, Result};

/// Bytes that are handed to a writer at once.
const PIECE: u64 = 1 << 20;

/// The elements of one commit, as they were.
///
/// What is appended, rewound and dropped later is not seen. `&[u8]` borrow from the snapshot; they are the bytes of the file itself, or,
/// after a rewind of what the snapshot shows, of a copy in memory at the same addresses. Other threads, the writer and its syncs are
/// not waited for.
///
/// A snapshot keeps the file locked also when its writer is gone, until it is dropped.
///
/// # Durability
/// None of its methods changes the disk.
///
/// # Cost
/// A clone is two counters. To read an element again, or another one of its block of 16 KiB, is a look at a bit and no system call;
/// the first time, the block is compared with its checksum. Where the file is read by calls
/// ([`ReadMode::Pread`](crate::fs::ReadMode::Pread)) each read is one call, and what borrows fails with `Unsupported`.
pub struct Snapshot<T, C = Raw> {
    view: View,
    state: Arc<Published>,
    codec: Arc<C>,
    of: PhantomData<fn() -> T>,
}

impl<T, C> Snapshot<T, C> {
    /// Of a state's member, if it has it.
    pub(super) fn of(state: Arc<Published>, member: usize, codec: Arc<C>) -> Option<Self> {
        let view = state.members.get(member)?.clone();
        Some(Self { view, state, codec, of: PhantomData })
    }

    /// How many elements there are, with those that were dropped: the position of the next one.
    #[inline]
    pub fn len(&self) -> u64 {
        self.view.len
    }

    /// The first position that can be read: elements below were dropped.
    #[inline]
    pub fn first(&self) -> u64 {
        self.view.first
    }

    /// Whether there is no element that can be read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.view.first >= self.view.len
    }

    /// The number of the commit.
    pub fn seq(&self) -> u64 {
        self.state.seq
    }

    /// The element at `pos`. One without bytes is `Ok(&[])`.
    ///
    /// # Errors
    /// `OutOfRange` at or above [`len`](Self::len); `Pruned` below [`first`](Self::first); `Damaged` with file, offset and elements;
    /// `Unsupported` where the file is read by calls; the system's.
    #[inline]
    pub fn get(&self, pos: u64) -> Result<&[u8]> {
        self.view.get_or_read(pos)
    }

    /// The element at `pos`, as a copy where it cannot be borrowed.
    ///
    /// # Errors
    /// As [`get`](Self::get), but not `Unsupported`.
    pub fn get_cow(&self, pos: u64) -> Result<Cow<'_, [u8]>> {
        self.view.cow(pos)
    }

    /// The element at `pos`, decoded.
    ///
    /// # Errors
    /// As [`get_cow`](Self::get_cow); the codec's.
    #[inline]
    pub fn get_elmt(&self, pos: u64) -> Result<T>
    where
        C: Codec<T>,
    {
        self.view.with(pos, &mut Vec::new(), |bytes| self.codec.decode(bytes))?
    }

    /// The element at `pos` as a value, without decoding. `V` may be another type than `T`.
    ///
    /// # Errors
    /// As [`get`](Self::get); `InvalidInput` if the elements do not have the fixed size of the value.
    #[inline]
    pub fn view<V: Plain>(&self, pos: u64) -> Result<&V> {
        let bytes = self.get(pos)?;
        let value = if self.view.ends.is_none() { fs::view(bytes) } else { None };
        value.ok_or_else(|| self.of_other_size(size_of::<V>()))
    }

    /// The elements at these positions, in their order.
    ///
    /// # Errors
    /// As [`get_cow`](Self::get_cow), of the first that fails.
    pub fn get_many(&self, positions: &[u64]) -> Result<Vec<Cow<'_, [u8]>>> {
        positions.iter().map(|pos| self.view.cow(*pos)).collect()
    }

    /// Appends the element at `pos` to `to`. After an error `to` is as it was.
    ///
    /// # Errors
    /// As [`get_cow`](Self::get_cow).
    pub fn copy_to(&self, pos: u64, to: &mut Vec<u8>) -> Result<()> {
        match self.view.get(pos) {
            Some(bytes) => to.extend_from_slice(bytes),
            None => self.view.copy(self.view.place(pos)?, to)?,
        }
        Ok(())
    }

    /// The elements of a range of positions, in order. An open beginning is the first element that is there.
    ///
    /// The items fail as [`get`](Self::get) does. After an element that is damaged the next one follows; after any other error none.
    ///
    /// # Cost
    /// Of elements of fixed size: as much as to go through the bytes.
    #[inline]
    pub fn iter(&self, range: impl RangeBounds<u64>) -> Elements<'_> {
        Elements::new(&self.view, self.positions(range))
    }

    /// The same from the last one to the first.
    pub fn iter_rev(&self, range: impl RangeBounds<u64>) -> std::iter::Rev<Elements<'_>> {
        self.iter(range).rev()
    }

    /// The bytes of the elements of a range of positions, which follow each other without anything between them.
    ///
    /// # Errors
    /// As [`get`](Self::get); `OutOfRange` also if the range ends before it begins.
    pub fn bytes(&self, range: impl RangeBounds<u64>) -> Result<&[u8]> {
        let bytes = self.view.places(&self.positions(range))?;
        self.view.data.read(bytes).map_err(|e| self.view.name(e))
    }

    /// All elements from [`first`](Self::first) on, which have `N` bytes each; an `N` of 0 does not compile.
    ///
    /// # Errors
    /// As [`get`](Self::get); `InvalidInput` if their size is not `N`.
    pub fn as_chunks<const N: usize>(&self) -> Result<&[[u8; N]]> {
        let fixed = usize::try_from(self.view.fixed).ok().filter(|fixed| *fixed == N);
        if self.view.ends.is_some() || fixed.is_none() {
            return Err(self.of_other_size(N));
        }
        let (chunks, rest) = self.bytes(..)?.as_chunks();
        debug_assert!(rest.is_empty(), "the bytes are those of whole elements");
        Ok(chunks)
    }

    /// Compares all full blocks of 16 KiB of the elements with their checksums, also such as were compared before; `progress` is told
    /// after each MiB how many bytes that makes. The last block has no checksum before it is full.
    ///
    /// # Errors
    /// `Damaged` with file, offset and elements of the first block that does not fit; `OutOfRange`, `Pruned`; the system's.
    pub fn verify(
        &self,
        range: impl RangeBounds<u64>,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let positions = self.positions(range);
        let view = &self.view;
        let mut done = 0_u64;
        if let Some(ends) = &view.ends {
            let all = view.len.saturating_mul(8);
            // With the end of the element before.
            let from = positions.start.saturating_sub(1).saturating_mul(8);
            for piece in pieces(from..positions.end.saturating_mul(8).min(all)) {
                done = done.saturating_add(piece.end.saturating_sub(piece.start));
                ends.verify(piece, all).map_err(|e| view.name(e))?;
                progress(done);
            }
        }
        for piece in pieces(view.places(&positions)?) {
            done = done.saturating_add(piece.end.saturating_sub(piece.start));
            view.data.verify(piece, view.data_end).map_err(|e| view.name(e))?;
            progress(done);
        }
        Ok(())
    }

    /// Writes the bytes of the elements of a range of positions to `out`, one after the other.
    ///
    /// # Errors
    /// As [`get_cow`](Self::get_cow); the writer's. Part of the bytes may be written by then.
    pub fn write_to(&self, out: &mut impl Write, range: impl RangeBounds<u64>) -> Result<()> {
        let mut buf = Vec::new();
        for piece in pieces(self.view.places(&self.positions(range))?) {
            let bytes = if self.view.data.is_mapped() {
                self.view.data.read(piece).map_err(|e| self.view.name(e))?
            } else {
                buf.clear();
                self.view.copy(piece, &mut buf)?;
                &buf
            };
            out.write_all(bytes).map_err(|e| Error::stream("write", e))?;
        }
        Ok(())
    }

    /// Reads the elements of a range of positions ahead and compares their blocks with their checksums, so that reading them neither waits
    /// for the disk nor computes.
    ///
    /// # Errors
    /// As [`get_cow`](Self::get_cow).
    pub fn prefetch(&self, range: impl RangeBounds<u64>) -> Result<()> {
        let bytes = self.view.places(&self.positions(range))?;
        self.view.data.will_need(&bytes);
        self.view.data.compare(bytes).map_err(|e| self.view.name(e))
    }

    /// The position of the first element of which `pred` does not hold, in elements that are ordered so that it holds of all before
    /// and of none behind; [`len`](Self::len) if it holds of all.
    ///
    /// # Errors
    /// As [`get_cow`](Self::get_cow).
    pub fn partition_point(&self, mut pred: impl FnMut(&[u8]) -> bool) -> Result<u64> {
        let mut buf = Vec::new();
        self.view.partition(|view, pos| view.with(pos, &mut buf, &mut pred))
    }

    #[inline]
    fn positions(&self, range: impl RangeBounds<u64>) -> ops::Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => self.view.first,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.view.len,
        };
        start..end
    }

    #[cold]
    fn of_other_size(&self, size: usize) -> Error {
        let why = match self.view.fixed {
            _ if self.view.ends.is_some() => "the elements have no fixed size".to_owned(),
            fixed => format!("the elements have {fixed} bytes, not {size}"),
        };
        self.view.error(ErrorKind::InvalidInput, why)
    }
}

impl<T, C> Clone for Snapshot<T, C> {
    fn clone(&self) -> Self {
        let (view, state, codec) = (self.view.clone(), self.state.clone(), self.codec.clone());
        Self { view, state, codec, of: PhantomData }
    }
}

impl<T, C> Debug for Snapshot<T, C> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("path", &self.view.data.file().path())
            .field("seq", &self.state.seq)
            .field("first", &self.view.first)
            .field("len", &self.view.len)
            .finish_non_exhaustive()
    }
}

/// Bytes in pieces that are handed on at once.
fn pieces(bytes: ops::Range<u64>) -> impl Iterator<Item = ops::Range<u64>> {
    let mut next = bytes.start;
    std::iter::from_fn(move || {
        let start = next;
        // Where a block ends, so that no block is read twice.
        let aligned = start.checked_next_multiple_of(PIECE).filter(|next| *next > start);
        next = aligned.unwrap_or(start.saturating_add(PIECE)).min(bytes.end);
        (start < bytes.end).then_some(start..next)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_possible_truncation, reason = "small numbers")]

    use super::super::for_tests::{World, noise, worlds};
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Elements of varying size, some without bytes, some larger than a block; their ends fill more than a block.
    fn elements() -> Vec<Vec<u8>> {
        (0..5000_u64)
            .map(|n| match n % 1000 {
                0 | 1 | 998 => Vec::new(),
                500 => noise(n, 40_000),
                _ => noise(n, (n % 90) as usize),
            })
            .collect()
    }

    fn of<C>(world: &World, view: &View, codec: C) -> Snapshot<Vec<u8>, C> {
        let state = Arc::new(world.state(7, view, &world.claim()));
        Snapshot::of(state, 0, Arc::new(codec)).unwrap()
    }

    #[test]
    fn elements_of_fixed_size_are_read_in_every_way() {
        for world in worlds() {
            let bytes = noise(1, 40 * 3000);
            let (_column, mut view) = world.fixed(40, &bytes);
            view.first = 10;
            let snapshot = of(&world, &view, Raw);
            let mapped = world.name == "map";
            assert_eq!((snapshot.len(), snapshot.first(), snapshot.seq()), (3000, 10, 7));
            let element = |pos: u64| &bytes[pos as usize * 40..][..40];
            let mut buf = b"x".to_vec();
            for pos in [10, 11, 409, 410, 2999] {
                assert_eq!(snapshot.get_cow(pos).unwrap(), element(pos));
                assert_eq!(snapshot.get_elmt(pos).unwrap(), element(pos));
                buf.truncate(1);
                snapshot.copy_to(pos, &mut buf).unwrap();
                assert_eq!(buf[1..], *element(pos));
                if mapped {
                    assert_eq!(snapshot.get(pos).unwrap(), element(pos));
                    assert_eq!(snapshot.view::<[u64; 5]>(pos).unwrap().len(), 5);
                    let first = snapshot.view::<[u64; 5]>(pos).unwrap()[0];
                    let bytes = element(pos).first_chunk().unwrap();
                    assert_eq!(first.to_le(), u64::from_le_bytes(*bytes));
                } else {
                    let error = snapshot.get(pos).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Unsupported);
                    assert!(error.to_string().contains("copy_to"), "{error}");
                }
            }
            let many = snapshot.get_many(&[2999, 10, 2999]).unwrap();
            assert_eq!(many, [element(2999), element(10), element(2999)]);
            assert_eq!(snapshot.get_many(&[10, 3000]).unwrap_err().kind(), ErrorKind::OutOfRange);
            for (pos, kind) in [
                (3000, ErrorKind::OutOfRange),
                (u64::MAX, ErrorKind::OutOfRange),
                (9, ErrorKind::Pruned),
                (0, ErrorKind::Pruned),
            ] {
                assert_eq!(snapshot.get(pos).unwrap_err().kind(), kind, "{pos}");
                assert_eq!(snapshot.get_cow(pos).unwrap_err().kind(), kind);
                assert_eq!(snapshot.copy_to(pos, &mut buf).unwrap_err().kind(), kind);
            }
            let mut out = Vec::new();
            snapshot.write_to(&mut out, 10..).unwrap();
            assert_eq!(out, bytes[400..]);
            if mapped {
                assert_eq!(snapshot.bytes(10..=2998).unwrap(), &bytes[400..119_960]);
                assert_eq!(snapshot.bytes(50..50).unwrap(), b"");
                let chunks = snapshot.as_chunks::<40>().unwrap();
                assert_eq!((chunks.len(), &chunks[0][..]), (2990, element(10)));
                let kind = snapshot.view::<u64>(10).unwrap_err().kind();
                assert_eq!(kind, ErrorKind::InvalidInput);
                assert_eq!(snapshot.as_chunks::<41>().unwrap_err().kind(), ErrorKind::InvalidInput);
            }
            #[expect(clippy::reversed_empty_ranges, reason = "that is the case")]
            let error = snapshot.bytes(50..49).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfRange);
            let mut told = 0;
            snapshot.verify(.., |done| told = done).unwrap();
            assert_eq!(told, 40 * 2990);
            snapshot.prefetch(20..3000).unwrap();
        }
    }

    #[test]
    fn elements_of_varying_size_are_read_in_every_way() {
        for world in worlds() {
            let elements = elements();
            let (.., view) = world.variable(&elements);
            let snapshot = of(&world, &view, Raw);
            for (pos, element) in (0..).zip(&elements) {
                assert_eq!(snapshot.get_cow(pos).unwrap(), *element, "{pos} in {}", world.name);
                if world.name == "map" {
                    assert_eq!(snapshot.get(pos).unwrap(), element);
                }
            }
            let error = snapshot.get_cow(5000).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfRange);
            let mut out = Vec::new();
            snapshot.write_to(&mut out, 499..502).unwrap();
            assert_eq!(out, elements[499..502].concat());
            snapshot.verify(3.., drop).unwrap();
            snapshot.prefetch(..).unwrap();
            if world.name == "map" {
                assert_eq!(snapshot.bytes(3..4000).unwrap(), elements[3..4000].concat());
                assert_eq!(
                    snapshot.view::<[u8; 40]>(7).unwrap_err().kind(),
                    ErrorKind::InvalidInput
                );
                let all = snapshot.iter(..).map(Result::unwrap).eq(&elements);
                assert!(all && snapshot.iter_rev(..).map(Result::unwrap).eq(elements.iter().rev()));
            }
        }
    }

    #[test]
    fn an_iterator_goes_from_both_ends() {
        let world = worlds().remove(0);
        let bytes = noise(2, 40 * 60_000);
        let (_column, view) = world.fixed(40, &bytes);
        let snapshot = of(&world, &view, Raw);
        let want: Vec<&[u8]> = bytes.chunks(40).collect();
        assert!(snapshot.iter(..).map(Result::unwrap).eq(want.iter().copied()));
        assert!(
            snapshot
                .iter_rev(5..59_000)
                .map(Result::unwrap)
                .eq(want[5..59_000].iter().rev().copied())
        );
        let mut both = snapshot.iter(100..40_000);
        let (mut low, mut high) = (100, 40_000);
        while low < high {
            for _ in 0..3.min(high - low) {
                assert_eq!(both.next().unwrap().unwrap(), want[low]);
                low += 1;
            }
            if low < high {
                high -= 1;
                assert_eq!(both.next_back().unwrap().unwrap(), want[high]);
            }
        }
        assert!(both.next().is_none() && both.next_back().is_none());
        let mut some = snapshot.iter(..);
        assert_eq!(some.nth(3).unwrap().unwrap(), want[3]);
        assert_eq!(some.nth(50_000).unwrap().unwrap(), want[50_004]);
        assert_eq!(some.next().unwrap().unwrap(), want[50_005]);
        assert!(some.nth(60_000).is_none());
        // What is not there is one error, and the end.
        let last: Vec<_> = snapshot.iter(59_998..70_000).collect();
        assert_eq!((last.len(), last[2].as_ref().unwrap_err().kind()), (3, ErrorKind::OutOfRange));
    }

    #[test]
    fn by_calls_an_iterator_answers_once() {
        for world in worlds().iter().skip(1) {
            let (_column, view) = world.fixed(40, &noise(2, 4000));
            let snapshot = of(world, &view, Raw);
            let all: Vec<_> = snapshot.iter(..).collect();
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].as_ref().unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn damage_names_the_elements() {
        for world in worlds() {
            let (column, view) = world.fixed(40, &noise(1, 40 * 3000));
            column.rot(20_000);
            let snapshot = of(&world, &view, Raw);
            let error = snapshot.get_cow(450).unwrap_err();
            assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(16_384)));
            assert!(error.to_string().contains("elements 409..=819"), "{error}");
            assert!(snapshot.get_cow(409).is_err() && snapshot.get_cow(408).is_ok());
            assert!(snapshot.get_cow(819).is_err() && snapshot.get_cow(820).is_ok());
            assert_eq!(snapshot.verify(.., drop).unwrap_err().to_string(), error.to_string());
            if world.name == "map" {
                let (good, bad): (Vec<_>, Vec<_>) = snapshot.iter(..).partition(Result::is_ok);
                assert_eq!((good.len(), bad.len()), (3000 - 411, 411));
            }
        }
        for world in worlds() {
            let elements = elements();
            let (data, ends, mut view) = world.variable(&elements);
            data.rot(16_384 * 3 + 5);
            let error = of(&world, &view, Raw).write_to(&mut std::io::sink(), ..).unwrap_err();
            assert_eq!(error.offset(), Some(16_384 * 3));
            let begin = elements.iter().scan(0, |end, e| {
                *end += e.len() as u64;
                Some(*end)
            });
            let first = begin.clone().take_while(|end| *end <= 16_384 * 3).count();
            let last = begin.take_while(|end| *end < 16_384 * 4).count();
            let words = format!("elements {first}..={last}");
            assert!(error.to_string().contains(&words), "{error}: not {words}");
            // In the ends: as many elements as there are ends in the block.
            ends.rot(16_384 + 8);
            view.ends = Some(Arc::new(ends.range()));
            let error = of(&world, &view, Raw).get_cow(2048).unwrap_err();
            assert_eq!((error.path(), error.offset()), (Some(ends.file.path()), Some(16_448)));
            assert!(error.to_string().contains("elements 2048..=4095"), "{error}");
        }
    }

    /// Ends with a good checksum that a program of ours got wrong.
    #[test]
    fn ends_that_make_no_sense_are_damage() {
        for world in worlds() {
            let (_data, mut ends, mut view) = world.variable(&elements());
            let at = ends.bytes.len() - 16;
            let last = view.data_end.to_le_bytes();
            ends.change(at, &[(view.data_end + 1).to_le_bytes(), last].concat());
            view.ends = Some(Arc::new(ends.range()));
            let snapshot = of(&world, &view, Raw);
            for pos in [4998, 4999] {
                assert_eq!(snapshot.get_cow(pos).unwrap_err().kind(), ErrorKind::Damaged, "{pos}");
            }
            assert!(snapshot.get_cow(4997).is_ok());
        }
    }

    #[test]
    fn a_partition_point_asks_few() {
        for world in worlds() {
            let bytes: Vec<u8> = (0..1000_u32).flat_map(u32::to_be_bytes).collect();
            let (_column, mut view) = world.fixed(4, &bytes);
            view.first = 100;
            let snapshot = of(&world, &view, Raw);
            let asked = AtomicUsize::new(0);
            for (above, want) in [(0_u32, 100), (137, 137), (999, 999), (5000, 1000)] {
                let point = snapshot.partition_point(|bytes| {
                    asked.fetch_add(1, Relaxed);
                    bytes < &above.to_be_bytes()[..]
                });
                assert_eq!(point.unwrap(), want);
            }
            assert!(asked.into_inner() <= 44);
        }
    }

    #[test]
    fn an_empty_file_has_nothing_to_read() {
        for world in worlds() {
            let (_column, view) = world.fixed(4, &[]);
            let snapshot = of(&world, &view, Raw);
            assert!(snapshot.is_empty() && snapshot.iter(..).next().is_none());
            assert_eq!(snapshot.get(0).unwrap_err().kind(), ErrorKind::OutOfRange);
            snapshot.verify(.., drop).unwrap();
            if world.name == "map" {
                assert!(snapshot.as_chunks::<4>().unwrap().is_empty());
            }
        }
    }
}
