//! For the tests of the read side: columns that are built by hand, as a writer leaves them.
#![expect(clippy::arithmetic_side_effects, reason = "the numbers are those of the tests")]

use std::ffi::OsStr;
use std::ops;
use std::sync::Arc;

use super::Verify;
use super::blocks::{HEADER, Seed, Tail, sum_at};
use super::publish::{Published, View};
use super::range::{Range, Through};
use crate::commit::Claim;
use crate::fs::{Dir, File, Fs, How, OsFs, ReadMode};

/// A directory to build in, with the way in which its files are read.
pub(super) struct World {
    pub(super) name: &'static str,
    pub(super) dir: Arc<dyn Dir>,
    pub(super) mode: ReadMode,
    fs: Arc<dyn Fs>,
    _temp: Option<tempfile::TempDir>,
}

/// The operating system with a map and with calls, and the simulated disk, which has no map.
pub(super) fn worlds() -> Vec<World> {
    let real = [real("map", ReadMode::Map), real("calls", ReadMode::Pread)];
    real.into_iter().chain(simulated()).collect()
}

#[cfg(feature = "sim")]
fn simulated() -> Vec<World> {
    let fs: Arc<dyn Fs> = Arc::new(crate::sim::SimFs::new(1));
    let dir = fs.open_dir(std::path::Path::new("/")).unwrap();
    vec![World { name: "sim", dir, mode: ReadMode::Map, fs, _temp: None }]
}

#[cfg(not(feature = "sim"))]
const fn simulated() -> Vec<World> {
    Vec::new()
}

pub(super) fn real(name: &'static str, mode: ReadMode) -> World {
    let temp = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(OsFs::new());
    let dir = fs.open_dir(temp.path()).unwrap();
    World { name, dir, mode, fs, _temp: Some(temp) }
}

impl World {
    fn file(&self, name: &str) -> Arc<dyn File> {
        self.dir.open(OsStr::new(name), How::Create(0o600)).unwrap()
    }

    /// A column of these bytes with all its sums.
    pub(super) fn column(&self, name: &str, base: u64, bytes: &[u8]) -> Column {
        let column = Column {
            file: self.file(name),
            sums: self.file(&format!("{name}.sums")),
            base,
            seed: Seed::new([7; 16], 1),
            mode: self.mode,
            bytes: Vec::new(),
        };
        column.with(0, bytes)
    }

    pub(super) fn claim(&self) -> Arc<Claim> {
        Arc::new(Claim::take(&*self.fs, &*self.dir).unwrap())
    }

    /// Elements of a fixed size.
    pub(super) fn fixed(&self, size: u32, bytes: &[u8]) -> (Column, View) {
        let column = self.column("data", 0, bytes);
        let (data, data_end) = (Arc::new(column.range()), bytes.len() as u64);
        let len = data_end / u64::from(size);
        (column, View { data, ends: None, fixed: size, first: 0, len, data_end })
    }

    /// Elements of varying size.
    pub(super) fn variable(&self, elements: &[Vec<u8>]) -> (Column, Column, View) {
        let data = self.column("data", 0, &elements.concat());
        let mut end = 0_u64;
        let ends: Vec<u8> = elements
            .iter()
            .flat_map(|element| {
                end += element.len() as u64;
                end.to_le_bytes()
            })
            .collect();
        let ends = self.column("ends", HEADER, &ends);
        let view = View {
            data: Arc::new(data.range()),
            ends: Some(Arc::new(ends.range())),
            fixed: 0,
            first: 0,
            len: elements.len() as u64,
            data_end: end,
        };
        (data, ends, view)
    }

    #[expect(clippy::unused_self, reason = "a state is one of this world")]
    pub(super) fn state(&self, seq: u64, view: &View, hold: &Arc<Claim>) -> Published {
        Published { seq, members: Box::new([view.clone()]), hold: Some(Arc::clone(hold)) }
    }
}

/// A column on disk, and what it should have.
pub(super) struct Column {
    pub(super) file: Arc<dyn File>,
    pub(super) sums: Arc<dyn File>,
    pub(super) base: u64,
    pub(super) seed: Seed,
    pub(super) mode: ReadMode,
    pub(super) bytes: Vec<u8>,
}

impl Column {
    pub(super) fn through(&self) -> Through {
        Through {
            file: Arc::clone(&self.file),
            sums: Arc::clone(&self.sums),
            base: self.base,
            seed: self.seed,
            mode: self.mode,
            verify: Verify::FirstTouch,
            reserve: 0,
        }
    }

    /// A range that trusts the unfinished block.
    pub(super) fn range(&self) -> Range {
        let end = self.bytes.len() as u64;
        let range = Range::new(self.through(), end).unwrap();
        range.trust(end / 16_384 * 16_384..end);
        range
    }

    /// Overwrites from `at` on and cuts what is behind, as a writer does after a rewind: the data, then the sums.
    pub(super) fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.change(at, bytes);
        self
    }

    pub(super) fn change(&mut self, at: usize, bytes: &[u8]) {
        self.bytes.truncate(at);
        self.bytes.extend(bytes);
        self.file.set_len(self.base + at as u64).unwrap();
        self.file.write_at(bytes, self.base + at as u64).unwrap();
        let (mut tail, mut sums) = (Tail::empty(self.seed), Vec::new());
        tail.extend(&self.bytes, &mut sums);
        let sums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        self.sums.write_at(&sums, sum_at(0)).unwrap();
    }

    /// Changes one byte as a failing disk does.
    pub(super) fn rot(&self, at: u64) {
        let mut byte = [0];
        self.file.read_at(&mut byte, self.base + at).unwrap();
        self.file.write_at(&[byte[0] ^ 1], self.base + at).unwrap();
    }
}

/// Bytes that differ everywhere.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(next());
    }
    bytes.truncate(len);
    bytes
}

/// A copy of bytes of a range.
pub(super) fn copied(range: &Range, at: ops::Range<u64>) -> crate::Result<Vec<u8>> {
    let mut copy = b"before".to_vec();
    let done = range.copy(at, &mut copy);
    assert!(copy.starts_with(b"before") && (done.is_ok() || copy.len() == 6));
    done.map(|()| copy.split_off(6))
}
