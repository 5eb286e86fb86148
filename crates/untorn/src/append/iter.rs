//! Elements one after the other.
//!
//! # Invariants
//! - I1 The elements still to come are those in `window`, then `next..end`. The window has whole elements of fixed size, whose blocks
//!   were seen.

use std::fmt::{Debug, Formatter};
use std::iter::FusedIterator;
use std::ops::Range;
use std::slice::ChunksExact;

use super::publish::View;
use crate::{Error, ErrorKind, Result};

/// Bytes whose blocks are compared at once.
const WINDOW: u64 = 1 << 20;

/// The elements of a range of positions, borrowed from a [`Snapshot`](super::Snapshot), from both ends.
pub struct Elements<'a> {
    view: &'a View,
    window: ChunksExact<'a, u8>,
    next: u64,
    end: u64,
}

impl<'a> Elements<'a> {
    #[inline]
    pub(super) fn new(view: &'a View, positions: Range<u64>) -> Self {
        let end = positions.end.max(positions.start);
        Self { view, window: [].chunks_exact(1), next: positions.start, end }
    }

    fn one(&mut self, pos: u64) -> Result<&'a [u8]> {
        if let Some(bytes) = self.view.get(pos) {
            return Ok(bytes);
        }
        match one(self.view, pos) {
            Ok(bytes) => Ok(bytes),
            Err((error, over)) => {
                if over {
                    self.end = self.next;
                    self.window = [].chunks_exact(1);
                }
                Err(error)
            }
        }
    }
}

/// A window for the elements from `next` on, and where it ends; `None` if there is none to be had: of elements of varying size, at
/// the end, or with damage in it.
///
/// By values, as `one`: an iterator whose address goes nowhere is kept in registers.
#[inline(never)]
fn window(view: &View, next: u64, end: u64) -> Option<(ChunksExact<'_, u8>, u64)> {
    let fixed = u64::from(view.fixed);
    if view.ends.is_some() || fixed == 0 || next >= end {
        return None;
    }
    let count = WINDOW.checked_div(fixed)?.max(1);
    let until = next.saturating_add(count).min(end).min(view.len);
    let bytes = view.places(&(next..until)).ok()?;
    let bytes = view.data.read(bytes).ok()?;
    Some((bytes.chunks_exact(usize::try_from(fixed).ok()?), until))
}

/// An element by itself, or an error, and whether nothing follows: so it is after any but damage.
#[cold]
#[inline(never)]
fn one(view: &View, pos: u64) -> Result<&[u8], (Error, bool)> {
    view.read(pos).map_err(|error| {
        let over = error.kind() != ErrorKind::Damaged;
        (error, over)
    })
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(bytes) = self.window.next() {
            return Some(Ok(bytes));
        }
        if self.next >= self.end {
            return None;
        }
        if self.view.ends.is_none()
            && let Some((mut window, next)) = window(self.view, self.next, self.end)
            && let Some(bytes) = window.next()
        {
            (self.window, self.next) = (window, next);
            return Some(Ok(bytes));
        }
        let pos = self.next;
        self.next = pos.saturating_add(1);
        Some(self.one(pos))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let more = usize::try_from(self.end.saturating_sub(self.next)).ok();
        let more = more.and_then(|more| more.checked_add(self.window.len()));
        // An error may end it early.
        (0, more)
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let ahead = n.saturating_sub(self.window.len()) as u64;
        if n >= self.window.len() {
            self.window = [].chunks_exact(1);
            self.next = self.next.saturating_add(ahead).min(self.end);
            return self.next();
        }
        self.window.nth(n).map(Ok)
    }
}

impl DoubleEndedIterator for Elements<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return self.window.next_back().map(Ok);
        }
        self.end = self.end.saturating_sub(1);
        Some(self.one(self.end))
    }
}

impl FusedIterator for Elements<'_> {}

impl Debug for Elements<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elements")
            .field("next", &self.next.saturating_sub(self.window.len() as u64))
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
