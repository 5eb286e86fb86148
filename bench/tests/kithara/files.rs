//! Both decorators, opened as their users open them.

use std::path::{Path, PathBuf};

use kithara_platform::CancelToken;
use kithara_storage::{MmapDriver, MmapOptions, OpenIntent, OpenMode, Resource, StorageResult};
use untorn::chunked::{AtomicChunked, FileResource};

pub type Old = kithara_storage::AtomicChunked<MmapDriver>;
pub type Ours = AtomicChunked<FileResource>;

pub fn open_old(path: &Path) -> StorageResult<Old> {
    Old::open(path.to_path_buf(), |path, intent| {
        plain_old(
            path,
            match intent {
                OpenIntent::Fresh => OpenMode::ReadWrite,
                OpenIntent::Reopen => OpenMode::ReadOnly,
            },
        )
    })
}

/// Without the decorator.
pub fn plain_old(path: &Path, mode: OpenMode) -> StorageResult<kithara_storage::MmapResource> {
    let options = MmapOptions::for_path(path.to_path_buf()).mode(mode).build();
    Resource::open(CancelToken::never(), options)
}

pub fn open(path: &Path) -> untorn::Result<Ours> {
    AtomicChunked::open(path.to_path_buf(), |path| FileResource::open(path))
}

/// Bytes that tell where they belong and whose they are.
pub fn bytes(of: u8, len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 7) as u8 ^ (n % 251) as u8 ^ of).collect()
}

/// A directory for both, and a name in it for each.
pub fn two(dir: &tempfile::TempDir) -> (PathBuf, PathBuf) {
    (dir.path().join("theirs"), dir.path().join("ours"))
}
