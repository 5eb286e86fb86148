//! Where the bytes come from.

use std::ops::Range;

use super::Identity;
use crate::Result;

/// Something that has the bytes of a file and hands out ranges of them: a server, a bucket, another file.
pub trait RangeSource: Send + Sync {
    /// What is known of the file now.
    ///
    /// # Errors
    /// The source's.
    fn identity(&self) -> Result<Identity>;

    /// Hands the bytes of `range` to `sink`, in order, each piece with its offset.
    ///
    /// An error of `sink` ends the fetch and is returned. Bytes that were handed over by then are used.
    ///
    /// # Errors
    /// `Precondition` if the file changed since [`identity`](Self::identity) was asked: nothing more is fetched from it. Else
    /// the source's; `Io`, `TimedOut` and `WouldBlock` are tried again.
    fn fetch(
        &self,
        range: Range<u64>,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()>;
}
