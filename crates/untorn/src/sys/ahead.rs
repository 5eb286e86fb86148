//! Read-only maps that reach beyond the end of their file: the bytes become readable at the same addresses as the file
//! grows, and a part of them can be replaced by a copy of itself before the file's own bytes change.
//!
//! # Invariants
//! - A1 `address` and `len` are those of one range of addresses that nobody else unmaps, or `len` is 0 and nothing is mapped.
//!   All of it is mapped as long as `self` lives: the file's pages, and copies of them (A4).
//! - A2 The range is never writable.
//! - A3 That the bytes which are asked for lie within the file, and that nobody changes them or cuts them off while a slice of
//!   them may live, is the duty of whoever hands the map out. Beyond the last page of the file a read would kill the program.
//! - A4 `freeze` exchanges pages of the file for private ones with the same bytes. The kernel moves them in one step that page
//!   faults wait for: a reader sees a page from before or from after it, and both have the same bytes. So a slice stays what it
//!   was, and the duty of A3 ends for these pages.
//! - A5 The kernel looks for what can fail of such a move (the number of maps) before it takes the old pages away. What is left
//!   are allocations so small that it waits for them.
//! - A6 `front` lies `base` behind `address`, and `clear` bytes from it on are in the range: `base + clear` is at most `len`.
//!   `clear` only rises.
#![expect(unsafe_code, reason = "memory maps")]

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, SeqCst};

/// A file in memory, with room for it to grow, until it is dropped.
pub(crate) struct Ahead {
    address: NonNull<u8>,
    len: usize,
    front: NonNull<u8>,
    base: usize,
    clear: AtomicUsize,
}

impl Ahead {
    /// Maps `len` bytes, rounded up to whole pages, whether the file has them yet or not.
    pub(super) fn new(file: BorrowedFd<'_>, len: usize) -> Result<Self, Errno> {
        if len == 0 {
            return Ok(Self::at(NonNull::dangling(), len));
        }
        let len = len.checked_next_multiple_of(page_size()).ok_or(Errno::NOMEM)?;
        // A slice may not be longer.
        if isize::try_from(len).is_err() {
            return Err(Errno::NOMEM);
        }
        let hint = std::ptr::null_mut();
        // SAFETY: without a hint the system picks addresses that nothing uses, so that no memory changes under anyone.
        let address =
            unsafe { rustix::mm::mmap(hint, len, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
        let address = NonNull::new(address.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self::at(address, len))
    }

    const fn at(address: NonNull<u8>, len: usize) -> Self {
        Self { address, len, front: address, base: 0, clear: AtomicUsize::new(0) }
    }

    /// Before it is shared: offsets in what is lent count from `base` on.
    pub(crate) fn from(mut self, base: usize) -> Self {
        self.base = base.min(self.len);
        // SAFETY: `base` is at most `self.len`, so that the address is in the range (A1) or right behind it.
        self.front = unsafe { self.address.add(self.base) };
        *self.clear.get_mut() = 0;
        self
    }

    /// Bytes behind the base may be lent if they end here or before.
    pub(crate) fn is_clear_to(&self) -> usize {
        self.clear.load(SeqCst)
    }

    /// From now on bytes behind the base may be lent if they end here or before (A6). The caller knows that the file has all of
    /// them that will be asked for (A3).
    pub(crate) fn clear_to(&self, to: usize) {
        self.clear.fetch_max(to.min(self.len.saturating_sub(self.base)), SeqCst);
    }

    /// Some of the bytes behind the base, if all of them are clear. One comparison: this is what reading an element comes down to.
    #[inline]
    pub(crate) fn lent(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len)?;
        if end > self.clear.load(Acquire) {
            return None;
        }
        // SAFETY: `offset` is at most `clear`, so that the address is in the range or right behind it (A6).
        let from = unsafe { self.front.as_ptr().add(offset) };
        // SAFETY: the bytes lie in the range (A6) and in the file (A3); for the rest as in `slice`.
        Some(unsafe { std::slice::from_raw_parts(from, len) })
    }

    /// How many bytes of addresses there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Some of the bytes; `None` if they are not all in the map. The caller knows that the file has them (A3).
    #[inline]
    pub(crate) fn slice(&self, offset: usize, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: `offset` is at most `self.len`, so that the address is in the range (A1) or right behind it.
        let from = unsafe { self.address.as_ptr().add(offset) };
        // SAFETY: the bytes lie in the range (A1) and in the file (A3), so that they are readable and initialised as long as
        // `self` lives; nobody writes them here (A2) or elsewhere (A3), and a freeze keeps them what they are (A4).
        Some(unsafe { std::slice::from_raw_parts(from, len) })
    }

    /// Lets the system read pages ahead. Only advice: a system that takes none reads when it must.
    pub(crate) fn will_need(&self, offset: usize, len: usize) {
        let into_page = offset.checked_rem(page_size()).unwrap_or_default();
        let start = offset.saturating_sub(into_page).min(self.len);
        let len = offset.saturating_add(len).min(self.len).saturating_sub(start);
        if len == 0 {
            return;
        }
        // SAFETY: `start` is at most `self.len`, so that the address is in the range (A1) or right behind it.
        let from = unsafe { self.address.as_ptr().add(start) };
        // SAFETY: the pages are ours (A1); to read them ahead changes no byte.
        let _reads_ahead = unsafe { rustix::mm::madvise(from.cast(), len, Advice::WillNeed) };
    }

    /// From now on the pages that `len` bytes at `offset` lie in are a copy of what they are now, of which the bytes behind the
    /// `len` are zeros. Slices stay valid, with the same bytes (A4). `offset` is that of a page. After an error nothing changed
    /// (A5).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn freeze(&self, offset: usize, len: usize) -> Result<(), Errno> {
        use rustix::mm::{MprotectFlags, MremapFlags};

        if len == 0 {
            return Ok(());
        }
        let bytes = self.slice(offset, len).ok_or(Errno::INVAL)?;
        if !offset.is_multiple_of(page_size()) {
            return Err(Errno::INVAL);
        }
        let copy = Private::new(len.next_multiple_of(page_size()))?;
        // SAFETY: the copy is fresh memory of at least `len` bytes that nobody else knows, so that nothing overlaps.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy.address.as_ptr(), len) };
        let (from, size) = (copy.address.as_ptr().cast(), copy.len);
        // SAFETY: these pages are ours alone, and no reference to them was made.
        unsafe { rustix::mm::mprotect(from, size, MprotectFlags::READ) }?;
        // SAFETY: the slice above lies in the range, so that its address plus `offset` does.
        let to = unsafe { self.address.as_ptr().add(offset) };
        // SAFETY: `to` and `size` are whole pages of our range: it ends with a page, and the bytes lie in it (A1). What is lent of
        // them reads the same afterwards (A4). The copy's own addresses are free after it, and nobody had them.
        let moved =
            unsafe { rustix::mm::mremap_fixed(from, size, size, MremapFlags::MAYMOVE, to.cast()) };
        // A failed move leaves the copy where it is (A5), and dropping it unmaps it.
        moved?;
        copy.forget();
        Ok(())
    }

    /// This system cannot exchange pages that may be read meanwhile.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn freeze(&self, _: usize, _: usize) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: A1; every slice of the range borrowed `self` and is gone.
            let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.len) };
            debug_assert!(unmapped.is_ok(), "a map that was made can be unmade");
        }
    }
}

// SAFETY: it owns its addresses (A1) and they are the same in every thread.
unsafe impl Send for Ahead {}
// SAFETY: it offers nothing but reading (A2), and a freeze that readers do not notice (A4).
unsafe impl Sync for Ahead {}

/// Memory of its own, whole pages.
#[cfg(any(target_os = "linux", target_os = "android"))]
struct Private {
    address: NonNull<u8>,
    len: usize,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Private {
    fn new(len: usize) -> Result<Self, Errno> {
        let (hint, rights) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: without a hint the system picks addresses that nothing uses, so that no memory changes under anyone.
        let address = unsafe { rustix::mm::mmap_anonymous(hint, len, rights, MapFlags::PRIVATE) }?;
        let address = NonNull::new(address.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { address, len })
    }

    /// The addresses went elsewhere.
    const fn forget(mut self) {
        self.len = 0;
        let _gone = std::mem::ManuallyDrop::new(self);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Drop for Private {
    fn drop(&mut self) {
        // SAFETY: the pages are ours, and no reference to them was made.
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "memory that was taken can be given back");
    }
}

/// Bytes of a page of memory.
pub(crate) fn page_size() -> usize {
    rustix::param::page_size()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};
    use std::os::fd::AsFd;

    fn file_of(bytes: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn the_map_grows_with_the_file_at_the_same_address() {
        let mut file = file_of(b"first");
        let ahead = Ahead::new(file.as_fd(), 3 * page_size()).unwrap();
        let first = ahead.slice(0, 5).unwrap();
        file.write_all(&vec![7; 2 * page_size()]).unwrap();
        let all = ahead.slice(0, 5 + 2 * page_size()).unwrap();
        assert_eq!((first, all.as_ptr()), (&b"first"[..], first.as_ptr()));
        assert!(all[5..].iter().all(|&b| b == 7));
        assert_eq!(ahead.len(), 3 * page_size());
        assert!(ahead.slice(3 * page_size(), 1).is_none() && ahead.slice(1, usize::MAX).is_none());
        ahead.will_need(page_size() + 1, usize::MAX);
    }

    #[test]
    fn what_is_lent_is_clear_and_in_the_map() {
        let bytes: Vec<u8> = (0..=250).cycle().take(2 * page_size()).collect();
        let file = file_of(&bytes);
        let ahead = Ahead::new(file.as_fd(), 2 * page_size()).unwrap().from(64);
        assert_eq!((ahead.lent(0, 1), ahead.lent(0, 0).unwrap().len()), (None, 0));
        ahead.clear_to(10);
        ahead.clear_to(5);
        assert_eq!((ahead.is_clear_to(), ahead.lent(3, 7).unwrap()), (10, &bytes[67..74]));
        assert!(ahead.lent(3, 8).is_none() && ahead.lent(usize::MAX, 2).is_none());
        ahead.clear_to(usize::MAX);
        let last = 2 * page_size() - 65;
        assert_eq!(ahead.lent(last, 1).unwrap(), &bytes[last + 64..]);
        assert!(ahead.lent(last, 2).is_none() && ahead.lent(1, usize::MAX).is_none());
        let nothing = Ahead::new(file.as_fd(), 0).unwrap().from(64);
        nothing.clear_to(1);
        assert!(nothing.lent(0, 1).is_none());
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn what_is_frozen_stays_when_the_file_is_overwritten_and_cut() {
        let page = page_size();
        let old: Vec<u8> = (0..=250).cycle().take(4 * page).collect();
        let mut file = file_of(&old);
        let ahead = Ahead::new(file.as_fd(), 8 * page).unwrap();
        let lent = ahead.slice(page, 2 * page + 10).unwrap();
        ahead.freeze(page, 2 * page + 10).unwrap();
        assert_eq!(lent, &old[page..3 * page + 10]);
        file.set_len(0).unwrap();
        file.rewind().unwrap();
        file.write_all(&vec![0xee; page]).unwrap();
        assert_eq!(lent, &old[page..3 * page + 10]);
        assert_eq!(ahead.slice(0, 1).unwrap(), [0xee]);
        assert_eq!(ahead.slice(3 * page + 10, 1).unwrap(), [0]);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn only_whole_pages_of_the_map_are_frozen() {
        let file = file_of(&vec![1; 2 * page_size()]);
        let ahead = Ahead::new(file.as_fd(), 2 * page_size()).unwrap();
        assert_eq!(ahead.freeze(1, 1), Err(Errno::INVAL));
        assert_eq!(ahead.freeze(page_size(), page_size() + 1), Err(Errno::INVAL));
        assert_eq!(ahead.freeze(2 * page_size(), 0), Ok(()));
        assert_eq!(ahead.slice(0, 2).unwrap(), [1, 1]);
    }
}
