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
    #[inline]
    pub(super) fn new(view: &'a View, positions: Range<u64>) -> Self {
        let end = positions.end.max(positions.start);
        Self { view, window: [].chunks_exact(1), next: positions.start, end }
    }
}

/// What comes when the window is empty.
struct More<'a> {
    first: Result<&'a [u8]>,
    /// What is still to come after it.
    window: ChunksExact<'a, u8>,
    next: u64,
    end: u64,
}

/// By values, so that the address of the iterator goes nowhere, and a loop keeps it in registers.
#[inline(never)]
fn more(view: &View, next: u64, end: u64) -> Option<More<'_>> {
    if next >= end {
        return None;
    }
    if let Some((mut window, next)) = window(view, next, end)
        && let Some(first) = window.next()
    {
        return Some(More { first: Ok(first), window, next, end });
    }
    let first = view.get_or_read(next);
    let window = [].chunks_exact(1);
    let next = next.saturating_add(1);
    // After any error but damage nothing follows.
    let over = first.as_ref().is_err_and(|error| error.kind() != ErrorKind::Damaged);
    Some(More { first, window, next, end: if over { next } else { end } })
}

/// A window for the elements from `next` on, and where it ends; `None` if there is none to be had: of elements of varying size, or
/// with damage in it.
fn window(view: &View, next: u64, end: u64) -> Option<(ChunksExact<'_, u8>, u64)> {
    let fixed = u64::from(view.fixed);
    if view.ends.is_some() || fixed == 0 {
        return None;
    }
    let count = WINDOW.checked_div(fixed)?.max(1);
    let until = next.saturating_add(count).min(end).min(view.len);
    let bytes = view.places(&(next..until)).ok()?;
    let bytes = view.data.read(bytes).ok()?;
    Some((bytes.chunks_exact(usize::try_from(fixed).ok()?), until))
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(bytes) = self.window.next() {
            return Some(Ok(bytes));
        }
        let more = more(self.view, self.next, self.end)?;
        (self.window, self.next, self.end) = (more.window, more.next, more.end);
        // Taken apart, so that it is joined with the usual answer in registers.
        match more.first {
            Ok(bytes) => Some(Ok(bytes)),
            Err(error) => Some(Err(error)),
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
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return self.window.next_back().map(Ok);
        }
        self.end = self.end.saturating_sub(1);
        let answer = self.view.get_or_read(self.end);
        if answer.as_ref().is_err_and(|error| error.kind() != ErrorKind::Damaged) {
            self.end = self.next;
            self.window = [].chunks_exact(1);
        }
        Some(answer)
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
