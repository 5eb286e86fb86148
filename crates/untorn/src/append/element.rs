//! Where an element lies in the columns of a member, and how its bytes are read.
//!
//! # Invariants
//! - E1 Element `k` of varying size lies between the ends of `k - 1` and of `k`, that of element 0 begins at 0. The ends are compared
//!   with each other and with the end of the data before they are used, whatever their checksum says.
//! - E2 No position at or above `len` or below `first` is looked up: the files need not have it.

use std::borrow::Cow;
use std::ops;

use super::blocks::BLOCK;
use super::publish::View;
use super::range::Range;
use crate::{Error, ErrorKind, Result};

/// Bytes of an end.
const END: u64 = 8;

impl View {
    /// The element, if it is there and all blocks of it are seen.
    #[inline]
    pub(super) fn get(&self, pos: u64) -> Option<&[u8]> {
        // Below `first` it wraps round and is too large.
        if pos.wrapping_sub(self.first) >= self.len.wrapping_sub(self.first) {
            return None;
        }
        let lent = match &self.ends {
            None => {
                let fixed = u64::from(self.fixed);
                self.data.lent(pos.wrapping_mul(fixed), fixed)
            }
            Some(ends) => self.lent_varying(ends, pos),
        };
        match lent {
            None => self.get_by_bits(pos),
            lent => lent,
        }
    }

    #[inline]
    fn lent_varying(&self, ends: &Range, pos: u64) -> Option<&[u8]> {
        // Before element 0 it wraps round, and nothing is lent.
        let two = ends.lent(pos.wrapping_sub(1).wrapping_mul(END), 2 * END)?;
        let place = self.checked(place_of(two)?)?;
        self.data.lent(place.start, place.end.wrapping_sub(place.start))
    }

    /// The same, block by block. Apart, so that the usual case stays small where it is inlined.
    #[inline(never)]
    fn get_by_bits(&self, pos: u64) -> Option<&[u8]> {
        let Some(ends) = &self.ends else {
            let start = pos.wrapping_mul(u64::from(self.fixed));
            return self.data.get(start..start.wrapping_add(u64::from(self.fixed)));
        };
        let at = pos.wrapping_mul(END);
        let place = if pos == 0 {
            0..u64::from_le_bytes(*ends.get(0..END)?.first_chunk()?)
        } else {
            place_of(ends.get(at.wrapping_sub(END)..at.wrapping_add(END))?)?
        };
        self.data.get(self.checked(place)?)
    }

    /// The place of an element, if it can be one (E1).
    #[inline]
    fn checked(&self, place: ops::Range<u64>) -> Option<ops::Range<u64>> {
        (place.start <= place.end && place.end <= self.data_end).then_some(place)
    }

    /// The element, borrowed.
    #[inline]
    pub(super) fn get_or_read(&self, pos: u64) -> Result<&[u8]> {
        match self.get(pos) {
            Some(bytes) => Ok(bytes),
            None => self.read_slowly(pos).map(|slow| slow.0),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_slowly(&self, pos: u64) -> Result<Slow<'_>> {
        self.read(pos).map(Slow)
    }

    /// The same of one that is not there to be got at once.
    #[cold]
    #[inline(never)]
    pub(super) fn read(&self, pos: u64) -> Result<&[u8]> {
        let at = self.place(pos)?;
        self.data.read(at).map_err(|e| self.name(e))
    }

    /// The element as it can be had: borrowed, or as a copy.
    pub(super) fn cow(&self, pos: u64) -> Result<Cow<'_, [u8]>> {
        if let Some(bytes) = self.get(pos) {
            return Ok(Cow::Borrowed(bytes));
        }
        if self.data.is_mapped() {
            return self.read(pos).map(Cow::Borrowed);
        }
        let mut copy = Vec::new();
        self.copy(self.place(pos)?, &mut copy)?;
        Ok(Cow::Owned(copy))
    }

    /// Hands the element to `f`; `buf` is for the copy, if it takes one.
    pub(super) fn with<R>(
        &self,
        pos: u64,
        buf: &mut Vec<u8>,
        f: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        if let Some(bytes) = self.get(pos) {
            return Ok(f(bytes));
        }
        if self.data.is_mapped() {
            return self.read(pos).map(f);
        }
        buf.clear();
        self.copy(self.place(pos)?, buf)?;
        Ok(f(buf))
    }

    /// Appends bytes of the data column to `to`.
    pub(super) fn copy(&self, bytes: ops::Range<u64>, to: &mut Vec<u8>) -> Result<()> {
        self.data.copy(bytes, to).map_err(|e| self.name(e))
    }

    /// Where the element lies in the data column.
    pub(super) fn place(&self, pos: u64) -> Result<ops::Range<u64>> {
        if pos >= self.len {
            let why = format!("there is no element {pos}: there are {}", self.len);
            return Err(self.error(ErrorKind::OutOfRange, why));
        }
        if pos < self.first {
            let why = format!("element {pos} was dropped: the first is {}", self.first);
            return Err(self.error(ErrorKind::Pruned, why));
        }
        if self.ends.is_none() {
            let start = pos.saturating_mul(u64::from(self.fixed));
            return Ok(start..start.saturating_add(u64::from(self.fixed)));
        }
        let start = if pos == 0 { 0 } else { self.end_of(pos.saturating_sub(1))? };
        let end = self.end_of(pos)?;
        if start > end || end > self.data_end {
            let why = format!("element {pos} ends at {end}, and begins at {start}");
            return Err(self.error(ErrorKind::Damaged, why));
        }
        Ok(start..end)
    }

    /// Where elements lie in the data column.
    pub(super) fn places(&self, elements: &ops::Range<u64>) -> Result<ops::Range<u64>> {
        let last = elements.end.checked_sub(1).filter(|last| *last >= elements.start);
        let Some(last) = last else {
            let why = format!("elements {}..{}", elements.start, elements.end);
            return if elements.start == elements.end && elements.start <= self.len {
                Ok(0..0)
            } else {
                Err(self.error(ErrorKind::OutOfRange, why))
            };
        };
        // The last first, so that what is said of a position behind the end names it.
        let end = self.place(last)?.end;
        Ok(self.place(elements.start)?.start.min(end)..end)
    }

    fn end_of(&self, pos: u64) -> Result<u64> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let at = pos.saturating_mul(END);
        let mut copy = Vec::new();
        let bytes = ends.copy(at..at.saturating_add(END), &mut copy).map(|()| copy.first_chunk());
        match bytes.map_err(|e| self.name(e))? {
            Some(bytes) => Ok(u64::from_le_bytes(*bytes)),
            None => Err(self.error(ErrorKind::Damaged, format!("the end of element {pos}"))),
        }
    }

    #[cold]
    pub(super) fn error(&self, kind: ErrorKind, why: String) -> Error {
        Error::new(kind, "read", self.data.file().path(), why)
    }

    /// Says of damage which elements it hits.
    #[cold]
    pub(super) fn name(&self, error: Error) -> Error {
        let (ErrorKind::Damaged, Some(at)) = (error.kind(), error.offset()) else { return error };
        let hit = match &self.ends {
            Some(ends) if error.path() == Some(ends.file().path()) => {
                let at = at.saturating_sub(ends.base());
                at / END..at.saturating_add(BLOCK) / END
            }
            _ => {
                let at = at.saturating_sub(self.data.base());
                let Some(hit) = self.elements(at..at.saturating_add(BLOCK)) else { return error };
                hit
            }
        };
        let hit = hit.start.max(self.first)..hit.end.min(self.len);
        let why = format!(
            "the {BLOCK} bytes there do not fit their checksum; they have to do with the elements {}..={}",
            hit.start,
            hit.end.saturating_sub(1),
        );
        error.because(why)
    }

    /// The elements that bytes of the data column belong to, if that can be told.
    fn elements(&self, bytes: ops::Range<u64>) -> Option<ops::Range<u64>> {
        if self.ends.is_none() {
            let fixed = u64::from(self.fixed);
            let start = bytes.start.checked_div(fixed)?;
            return Some(start..bytes.end.checked_add(fixed)?.checked_sub(1)?.checked_div(fixed)?);
        }
        // The first that ends behind the beginning, and the first that begins behind the end.
        let start = self.partition(|view, pos| Ok(view.end_of(pos)? <= bytes.start)).ok()?;
        let end = self.partition(|view, pos| Ok(view.place(pos)?.start < bytes.end)).ok()?;
        Some(start..end)
    }

    /// The first element of which `pred` does not hold, if it holds of all before it.
    pub(super) fn partition(
        &self,
        mut pred: impl FnMut(&Self, u64) -> Result<bool>,
    ) -> Result<u64> {
        let (mut low, mut high) = (self.first, self.len);
        while low < high {
            let middle = low.midpoint(high);
            if pred(self, middle)? {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// Bytes that were not there to be got at once. A type of its own, so that the compiler takes an answer apart before it joins it
/// with the usual one, and leaves that in registers.
struct Slow<'a>(&'a [u8]);

/// Two ends that follow each other.
#[inline]
fn place_of(ends: &[u8]) -> Option<ops::Range<u64>> {
    let (start, end) = (ends.first_chunk()?, ends.last_chunk()?);
    Some(u64::from_le_bytes(*start)..u64::from_le_bytes(*end))
}
