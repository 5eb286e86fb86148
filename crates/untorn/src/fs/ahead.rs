//! A map with room for the file to grow, as the seam hands it out.

use std::fmt::{Debug, Formatter};
use std::io;

/// A read-only map of a file that may reach beyond its end.
///
/// Whoever hands out slices of it must see to it that their bytes lie within the file, and that nobody changes them or cuts them
/// off as long as the slices live.
pub struct Ahead(pub(super) crate::sys::Ahead);

impl Ahead {
    /// How many bytes of addresses there are, whole pages.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Some of the bytes, which must lie within the file and stay as they are; `None` if they are not all in the map.
    #[inline]
    pub(crate) fn slice(&self, offset: usize, len: usize) -> Option<&[u8]> {
        self.0.slice(offset, len)
    }

    /// Before it is shared: offsets in what is [`lent`](Self::lent) count from `base` on.
    pub(crate) fn from(self, base: usize) -> Self {
        Self(self.0.from(base))
    }

    /// Some of the bytes behind the base, if all of them are clear.
    #[inline]
    pub(crate) fn lent(&self, offset: usize, len: usize) -> Option<&[u8]> {
        self.0.lent(offset, len)
    }

    /// Bytes behind the base may be lent if they end here or before.
    pub(crate) fn is_clear_to(&self) -> usize {
        self.0.is_clear_to()
    }

    /// From now on bytes behind the base may be lent if they end here or before. It only rises; what is not in the map stays out.
    pub(crate) fn clear_to(&self, to: usize) {
        self.0.clear_to(to);
    }

    /// Lets the system read pages ahead.
    pub(crate) fn will_need(&self, offset: usize, len: usize) {
        self.0.will_need(offset, len);
    }

    /// Exchanges the pages that `len` bytes at `offset` lie in for a copy of these bytes, in one step for who reads them; what
    /// was lent stays valid. `offset` is that of a page, and the file has the bytes. After an error nothing changed.
    pub(crate) fn freeze(&self, offset: usize, len: usize) -> io::Result<()> {
        Ok(self.0.freeze(offset, len)?)
    }
}

impl Debug for Ahead {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").field("len", &self.len()).finish()
    }
}
