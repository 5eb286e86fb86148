//! Where the bytes of a resource lie: in a file, or in memory.

mod file;
mod maps;
mod mem;
mod options;

pub use crate::fs::ReadMode;
pub(super) use file::Existing;
pub use file::{FileDriver, MmapDriver};
pub use mem::MemDriver;
pub(super) use mem::NAME as MEMORY;
pub use options::{FileOptions, OpenMode};

/// Where the bytes of a [`Resource`](super::Resource) lie. Sealed: a file or memory.
pub trait Driver: sealed::Backing {}

pub(super) mod sealed {
    use std::fmt::Debug;
    use std::path::Path;

    use crate::Result;
    use crate::chunked::View;

    /// Bytes at offsets. What is available, and who may write, is the resource's business.
    #[expect(unnameable_types, reason = "that nobody can name it is what seals the driver")]
    pub trait Backing: Debug + Send + Sync + 'static {
        /// Where the file is.
        fn path(&self) -> Option<&Path>;

        /// Writes all, after it has reserved space.
        ///
        /// # Errors
        /// `NoSpace`, `OverBudget`; the system's.
        fn write(&self, offset: u64, data: &[u8]) -> Result<()>;

        /// Reads bytes that are available; fewer if they were cut off meanwhile.
        ///
        /// # Errors
        /// The system's.
        fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

        /// Cuts what is behind `len`, and waits for who copies from there. Nobody writes.
        ///
        /// # Errors
        /// The system's; nothing was cut.
        fn trim(&self, len: u64) -> Result<()>;

        /// Makes bytes and size durable.
        ///
        /// # Errors
        /// The system's; final.
        fn sync_data(&self) -> Result<()>;

        /// Makes the name durable.
        ///
        /// # Errors
        /// The system's; final.
        fn sync_name(&self) -> Result<()>;

        /// Makes it ready for writing, with its bytes, and says how many there are.
        ///
        /// # Errors
        /// `ReadOnly`, `Stale`, `NoSpace`; the system's.
        fn reopen(&self) -> Result<u64>;

        /// All bytes; there are `len`, and nobody writes.
        ///
        /// # Errors
        /// `OverBudget`; the system's.
        fn view(&self, len: u64) -> Result<View>;
    }
}

/// Takes memory for so many bytes at the end of `buf`, before they are there.
pub(super) fn reserve(buf: &mut Vec<u8>, len: u64) -> Option<usize> {
    let len = usize::try_from(len).ok()?;
    buf.try_reserve(len).ok()?;
    Some(len)
}
