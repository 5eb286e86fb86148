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
        match self.view.get(pos) {
            Some(bytes) => Ok(bytes),
            None => self.view.read(pos),
        }
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
