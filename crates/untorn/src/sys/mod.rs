//! System calls, memory maps, locks: the only folder with `unsafe`.
#![expect(unsafe_code, reason = "memory maps")]

/// A read-only shared map of a file.
pub(crate) struct Mapping {
    address: std::ptr::NonNull<u8>,
    len: usize,
}

impl Mapping {
    pub(crate) const fn as_slice(&self) -> &[u8] {
        // SAFETY: replaced by the real thing
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.len) }
    }
}

// SAFETY: read-only memory.
unsafe impl Send for Mapping {}
// SAFETY: read-only memory.
unsafe impl Sync for Mapping {}
