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
use crate::{ErrorKind, Result};

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
    pub(super) fn new(view: &'a View, positions: Range<u64>) -> Self {
        let end = positions.end.max(positions.start);
        Self { view, window: [].chunks_exact(1), next: positions.start, end }
    }

    /// The next element when the window is empty.
    #[cold]
    fn refill(&mut self) -> Option<Result<&'a [u8]>> {
        if self.next >= self.end {
            return None;
        }
        if self.fill_window().is_some()
            && let Some(bytes) = self.window.next()
        {
            return Some(Ok(bytes));
        }
        let pos = self.next;
        self.next = pos.saturating_add(1);
        Some(self.one(pos))
    }

    /// `None` if there is no window to be had: of elements of varying size, or with damage in it.
    fn fill_window(&mut self) -> Option<()> {
        let fixed = u64::from(self.view.fixed);
        if self.view.ends.is_some() || fixed == 0 {
            return None;
        }
        let count = WINDOW.checked_div(fixed)?.max(1);
        let until = self.next.saturating_add(count).min(self.end).min(self.view.len);
        let bytes = self.view.places(&(self.next..until)).ok()?;
        let bytes = self.view.data.read(bytes).ok()?;
        self.window = bytes.chunks_exact(usize::try_from(fixed).ok()?);
        self.next = until;
        Some(())
    }

    fn one(&mut self, pos: u64) -> Result<&'a [u8]> {
        let answer = self.view.get(pos).map_or_else(|| self.view.read(pos), Ok);
        if answer.as_ref().is_err_and(|e| e.kind() != ErrorKind::Damaged) {
            self.end = self.next;
            self.window = [].chunks_exact(1);
        }
        answer
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.window.next() {
            Some(bytes) => Some(Ok(bytes)),
            None if self.view.ends.is_some() && self.next < self.end => {
                let pos = self.next;
                self.next = pos.wrapping_add(1);
                Some(self.one(pos))
            }
            None => self.refill(),
        }
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
