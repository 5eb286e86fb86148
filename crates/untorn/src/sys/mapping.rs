//! Read-only shared maps of files.
//!
//! # Invariants
//! - I1 `address` and `len` are those of one map that nobody else unmaps, or `len` is 0 and nothing is mapped.
//! - I2 The map is never writable. That nobody shortens the file under it is the duty of whoever hands it out.
#![expect(unsafe_code, reason = "memory maps")]

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// The first bytes of a file in memory, until it is dropped.
pub(crate) struct Mapping {
    address: NonNull<u8>,
    len: usize,
}

impl Mapping {
    pub(super) fn new(file: BorrowedFd<'_>, len: usize) -> Result<Self, Errno> {
        // The system refuses a map of nothing.
        if len == 0 {
            return Ok(Self { address: NonNull::dangling(), len });
        }
        // A slice may not be longer.
        if isize::try_from(len).is_err() {
            return Err(Errno::NOMEM);
        }
        let hint = std::ptr::null_mut();
        // SAFETY: without a hint the system picks addresses that nothing uses, so that no memory changes under anyone.
        let address =
            unsafe { rustix::mm::mmap(hint, len, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
        let address = NonNull::new(address.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { address, len })
    }

    pub(crate) const fn as_slice(&self) -> &[u8] {
        // SAFETY: I1, so that `len` bytes are readable as long as `self` lives; for 0 bytes any aligned address will do.
        // The bytes are initialised: the kernel fills each page from the file. I2 for the rest.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.len) }
    }
}

impl Mapping {
    /// Copies bytes out, also such as are being written to the file meanwhile; false if they are not all in the map.
    pub(crate) fn copy_to(&self, offset: usize, buf: &mut [u8]) -> bool {
        if offset.checked_add(buf.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        // SAFETY: `offset` is at most `len`, so that the address is in the map (I1) or right behind it.
        let from = unsafe { self.address.as_ptr().add(offset) };
        // SAFETY: all of it lies in the map (I1), and `buf` does not: that is memory that can be written (I2). No reference
        // to the bytes is made, so that they may change under the copy; then it has some of the old and some of the new.
        unsafe { std::ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), buf.len()) };
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: I1; every slice of the map borrowed `self` and is gone.
            let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.len) };
            debug_assert!(unmapped.is_ok(), "a map that was made can be unmade");
        }
    }
}

// SAFETY: it owns its addresses (I1) and they are the same in every thread.
unsafe impl Send for Mapping {}
// SAFETY: it offers nothing but reading (I2).
unsafe impl Sync for Mapping {}
