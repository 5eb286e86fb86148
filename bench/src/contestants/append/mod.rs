//! Who appends elements to a file and keeps them for good, each the same ones.

mod commitlog;
pub mod grin;
mod indexedlog;
mod mmap_append;
mod raw;
pub mod untorn;

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::machines::scattered;
use crate::raw::pattern;

pub use self::commitlog::{Commitlog, read_one as read_commitlog};
pub use self::grin::Grin;
pub use self::indexedlog::Indexedlog;
pub use self::mmap_append::MmapAppend;
pub use self::raw::{Raw, write_plain};

/// Appends elements.
pub trait Appender {
    /// As it stands in the tables.
    fn name(&self) -> &'static str;

    /// Appends elements, and no more than that.
    fn append(&mut self, range: Range<u64>) -> Result<()>;

    /// When it returns, they are as durable as this one makes them.
    fn flush(&mut self) -> Result<()>;
}

/// What is appended: any number of elements, out of bytes that fit into the caches.
#[derive(Clone, Debug)]
pub struct Elements {
    pub bytes: Vec<u8>,
    least: usize,
    most: usize,
}

/// The elements begin somewhere in so many bytes.
const SPREAD: u64 = 256 << 10;

impl Elements {
    pub fn fixed(len: usize) -> Self {
        Self::between(len, len)
    }

    /// Lengths without order, between these two.
    pub fn between(least: usize, most: usize) -> Self {
        Self { bytes: pattern(SPREAD as usize + most), least, most }
    }

    /// Where the bytes of an element are. No two neighbours are alike.
    pub fn place(&self, n: u64) -> Range<usize> {
        let from = (n * 64 % SPREAD) as usize;
        from..from + self.len(n)
    }

    pub fn get(&self, n: u64) -> &[u8] {
        &self.bytes[self.place(n)]
    }

    fn len(&self, n: u64) -> usize {
        if self.least == self.most {
            return self.least;
        }
        self.least + scattered(n) as usize % (self.most - self.least + 1)
    }

    /// The length, if all have the same one.
    pub fn same_len(&self) -> Option<usize> {
        (self.least == self.most).then_some(self.least)
    }
}

/// Where the lengths of the elements of a file are, if they differ.
pub fn sizes_of(path: &Path) -> PathBuf {
    path.with_added_extension("size")
}

/// Something of an element, so that it is read.
#[inline]
pub fn taste(element: &[u8]) -> Option<u64> {
    element.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Several of a kind, each flushed by itself.
pub struct Several<A> {
    pub name: &'static str,
    pub all: Vec<A>,
}

impl<A: Appender> Appender for Several<A> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn append(&mut self, range: Range<u64>) -> Result<()> {
        self.all.iter_mut().try_for_each(|one| one.append(range.clone()))
    }

    fn flush(&mut self) -> Result<()> {
        self.all.iter_mut().try_for_each(Appender::flush)
    }
}
