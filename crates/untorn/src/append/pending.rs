//! What was appended and rewound, and is not committed: in memory alone.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::{Error, ErrorKind};

/// What is pending of a member: the writer's own, or held by others as well (savepoints, a commit on its way), who see it as it is
/// now. An append finds it his own nearly always, and then asks no counter.
pub(super) enum Held {
    Own(Pending),
    Shared(Arc<Pending>),
}

impl Held {
    /// To change it. What others hold is copied first.
    #[inline]
    pub(super) fn own(&mut self) -> &mut Pending {
        if let Self::Shared(shared) = self {
            let pending = Arc::unwrap_or_clone(std::mem::take(shared));
            *self = Self::Own(pending);
        }
        match self {
            Self::Own(pending) => pending,
            Self::Shared(shared) => Arc::make_mut(shared),
        }
    }

    /// For others to hold, without a copy.
    pub(super) fn share(&mut self) -> Arc<Pending> {
        let shared = match std::mem::replace(self, Self::Own(Pending::default())) {
            Self::Own(pending) => Arc::new(pending),
            Self::Shared(shared) => shared,
        };
        *self = Self::Shared(Arc::clone(&shared));
        shared
    }

    /// The same of what cannot be changed: a copy, if it is the writer's own.
    pub(super) fn copied(&self) -> Arc<Pending> {
        match self {
            Self::Own(pending) => Arc::new(pending.clone()),
            Self::Shared(shared) => Arc::clone(shared),
        }
    }

    /// Forgets everything; what others hold stays as it is.
    pub(super) fn clear(&mut self, len: u64) {
        if let Self::Shared(shared) = self
            && Arc::get_mut(shared).is_none()
        {
            *self = Self::Own(Pending::none(len, shared.fixed));
        }
        self.own().clear(len);
    }
}

impl Deref for Held {
    type Target = Pending;

    #[inline]
    fn deref(&self) -> &Pending {
        match self {
            Self::Own(pending) => pending,
            Self::Shared(shared) => shared,
        }
    }
}

/// The elements of a member that a commit would keep, and those that it would add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    /// Committed elements that are kept.
    pub(super) keep: u64,
    /// The bytes of the added ones.
    pub(super) bytes: Vec<u8>,
    /// Of elements that differ in size: where each ends in `bytes`.
    ends: Vec<u64>,
    /// Elements that are added.
    added: u64,
    /// Bytes of each element; 0 if they differ.
    fixed: u32,
}

impl Pending {
    /// Nothing is pending on a member of `len` elements.
    pub(super) const fn none(len: u64, fixed: u32) -> Self {
        Self { keep: len, bytes: Vec::new(), ends: Vec::new(), added: 0, fixed }
    }

    /// Forgets everything, and keeps the memory for what comes next.
    pub(super) fn clear(&mut self, len: u64) {
        // To grow anew is dearer than to append: every page of it is taken and zeroed again.
        const KEEP: usize = 4 << 20;
        self.keep = len;
        self.bytes.clear();
        self.ends.clear();
        self.added = 0;
        self.bytes.shrink_to(KEEP);
        self.ends.shrink_to(KEEP / 8);
    }

    /// Whether a commit would change anything of a member of `len` elements.
    pub(super) const fn is_none(&self, len: u64) -> bool {
        self.keep == len && self.added() == 0
    }

    /// Elements that are added.
    pub(super) const fn added(&self) -> u64 {
        self.added
    }

    /// Elements with what is pending.
    pub(super) const fn len(&self) -> u64 {
        self.keep.saturating_add(self.added())
    }

    /// Where the added elements end, each by the bytes before it.
    pub(super) fn ends(&self) -> &[u64] {
        &self.ends
    }

    /// Counts the bytes that were put behind the last element as one more. Their number is the caller's to check.
    #[inline]
    pub(super) fn seal(&mut self) -> u64 {
        let position = self.len();
        if self.fixed == 0 {
            self.ends.push(self.bytes.len() as u64);
        }
        self.added = self.added.saturating_add(1);
        position
    }

    /// The element at a position, if it is one of the added.
    pub(super) fn get(&self, position: u64) -> Option<&[u8]> {
        let nth = usize::try_from(position.checked_sub(self.keep)?).ok()?;
        let (from, to) = if self.fixed == 0 {
            let from = nth.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before))?;
            (*from, *self.ends.get(nth)?)
        } else {
            let from = (nth as u64).checked_mul(u64::from(self.fixed))?;
            (from, from.checked_add(u64::from(self.fixed))?)
        };
        self.bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
    }

    /// Keeps `len` elements: drops added ones, and committed ones where those do not suffice.
    pub(super) fn rewind(&mut self, len: u64) {
        self.added = self.added.min(len.saturating_sub(self.keep));
        let added = usize::try_from(self.added).unwrap_or(usize::MAX);
        self.keep = self.keep.min(len);
        if self.fixed == 0 {
            self.ends.truncate(added);
            let end = self.ends.last().copied().unwrap_or(0);
            self.bytes.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        } else {
            self.bytes.truncate(added.saturating_mul(self.fixed as usize));
        }
    }

    /// Whether an element may have this length.
    #[inline]
    pub(super) fn takes(&self, len: usize, max: u32) -> bool {
        let fits = self.fixed == 0 || len == self.fixed as usize;
        fits && u32::try_from(len).is_ok_and(|len| len <= max)
    }

    /// Says why it may not.
    #[cold]
    pub(super) fn refusal(&self, len: usize, max: u32, path: &Path) -> Error {
        if self.fixed != 0 && len != self.fixed as usize {
            let what = format!("its elements have {} bytes each, this one has {len}", self.fixed);
            return Error::new(ErrorKind::InvalidInput, "append to", path, what);
        }
        let what = format!("an element of {len} bytes is above the limit of {max} (max_element)");
        Error::new(ErrorKind::TooLarge, "append to", path, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(pending: &mut Pending, bytes: &[u8]) -> u64 {
        pending.bytes.extend_from_slice(bytes);
        pending.seal()
    }

    #[test]
    fn positions_go_on_where_the_committed_ones_end() {
        for fixed in [0, 3] {
            let mut pending = Pending::none(10, fixed);
            assert!(pending.is_none(10));
            assert_eq!([put(&mut pending, b"abc"), put(&mut pending, b"def")], [10, 11]);
            assert_eq!((pending.added(), pending.len()), (2, 12));
            assert_eq!(pending.get(9), None);
            assert_eq!(pending.get(10), Some(&b"abc"[..]));
            assert_eq!(pending.get(11), Some(&b"def"[..]));
            assert_eq!(pending.get(12), None);
        }
    }

    #[test]
    fn a_rewind_takes_added_elements_first() {
        for fixed in [0, 3] {
            let mut pending = Pending::none(10, fixed);
            for element in [b"abc", b"def", b"ghi"] {
                put(&mut pending, element);
            }
            pending.rewind(11);
            assert_eq!((pending.keep, pending.added(), &pending.bytes[..]), (10, 1, &b"abc"[..]));
            assert_eq!(put(&mut pending, b"xyz"), 11);
            pending.rewind(8);
            assert_eq!((pending.keep, pending.added()), (8, 0));
            assert_eq!(put(&mut pending, b"new"), 8);
            assert_eq!(pending.get(8), Some(&b"new"[..]));
            pending.clear(10);
            assert!(pending.is_none(10));
        }
    }

    #[test]
    fn what_others_hold_stays_as_it_is() {
        let mut held = Held::Own(Pending::none(10, 3));
        put(held.own(), b"abc");
        let copy = held.copied();
        let address = held.bytes.as_ptr();
        let shared = held.share();
        assert_eq!((shared.bytes.as_ptr(), &shared), (address, &copy));
        assert!(Arc::ptr_eq(&shared, &held.copied()));
        put(held.own(), b"def");
        assert_eq!((held.added(), shared.added(), *copy == *shared), (2, 1, true));
        // Nobody else has it any more: it is not copied.
        let address = held.bytes.as_ptr();
        drop(held.share());
        assert_eq!(held.own().bytes.as_ptr(), address);
        let shared = held.share();
        held.clear(12);
        assert_eq!((held.len(), shared.len()), (12, 12));
        assert!(held.is_none(12) && !shared.is_none(12));
        assert_eq!((put(held.own(), b"ghi"), held.fixed), (12, 3));
    }

    #[test]
    fn an_empty_element_is_one() {
        let mut pending = Pending::none(0, 0);
        assert_eq!(
            [put(&mut pending, b""), put(&mut pending, b"x"), put(&mut pending, b"")],
            [0, 1, 2]
        );
        assert_eq!(pending.get(0), Some(&b""[..]));
        assert_eq!(pending.get(2), Some(&b""[..]));
        pending.rewind(1);
        assert_eq!(pending.len(), 1);
        assert!(!pending.is_none(0));
    }
}
