//! Who fills a file piece by piece and gives it its name: each takes the same pieces in the same order.

mod atomic_write_file;
mod cacache;
mod kithara;
mod raw;
mod untorn;

use std::path::Path;

use crate::Result;
use crate::machines::permuted;
use crate::raw::pattern;

pub use self::atomic_write_file::AtomicWriteFile;
pub use self::cacache::Cacache;
pub use self::kithara::{Kithara, open as open_kithara};
pub use self::raw::{Raw, begin as begin_raw, finish as finish_raw};
pub use self::untorn::{Untorn, identity, open as open_untorn};

/// Fills files.
pub trait Filler {
    fn name(&self) -> &'static str;

    /// Fills the file and gives it its name. When it returns, it is as durable as this one makes it.
    fn fill(&self, path: &Path, job: &Job) -> Result<()>;
}

/// What is to be written.
pub struct Job {
    pub len: u64,
    pub piece: usize,
    /// Where the pieces go, in the order in which they come.
    pub offsets: Vec<u64>,
    /// The bytes, again and again: longer than any piece, shorter than the caches.
    bytes: Vec<u8>,
}

impl Job {
    pub fn in_order(len: u64, piece: usize) -> Self {
        let offsets = (0..len / piece as u64).map(|n| n * piece as u64).collect();
        Self { len, piece, offsets, bytes: pattern(piece + (256 << 10)) }
    }

    /// The same pieces in an order without order.
    pub fn at_random(len: u64, piece: usize) -> Self {
        let mut job = Self::in_order(len, piece);
        permuted(&mut job.offsets);
        job
    }

    /// Hands out each piece with its offset.
    pub fn each(&self, mut write: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        for &offset in &self.offsets {
            // No two neighbours are alike.
            let from = (offset / self.piece as u64 * 64) as usize % (256 << 10);
            write(offset, &self.bytes[from..from + self.piece])?;
        }
        Ok(())
    }
}
