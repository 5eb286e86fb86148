//! The same file with untorn, to stand beside what the old crate does with it.

use std::path::{Path, PathBuf};

use untorn::append::{AppendOnlyFile, OpenOptions};
use untorn::{ErrorKind, Result};

use crate::files::element;

pub type Ours = AppendOnlyFile<Vec<u8>>;

/// With elements of so many bytes, 0 for those of variable size.
pub fn options(size: u32) -> OpenOptions<Vec<u8>> {
    match size {
        0 => OpenOptions::new(),
        size => OpenOptions::new().fixed(size),
    }
}

/// Where ours is while theirs is at `path`.
pub fn beside(path: &Path) -> PathBuf {
    path.with_file_name("ours.bin")
}

/// A file beside `path` with elements of 40 bytes, 0 to `count`.
pub fn filled(path: &Path, count: usize) -> Ours {
    let mut file = options(40).open(beside(path)).unwrap();
    append(&mut file, 0..count);
    file.flush().unwrap();
    file
}

pub fn append(file: &mut Ours, numbers: impl IntoIterator<Item = usize>) {
    for n in numbers {
        file.append(&element(n, 40)).unwrap();
    }
}

/// All elements, what is pending too.
pub fn all(file: &Ours) -> Vec<Vec<u8>> {
    let len = file.size_unsync_in_elmts().unwrap();
    (0..len).map(|n| file.read(n).unwrap().to_vec()).collect()
}

pub fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}
