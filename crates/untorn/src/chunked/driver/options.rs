//! What a file can be told when it is opened.

use std::sync::Arc;

use crate::fs::{Fs, OsFs, ReadMode};

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenMode {
    /// One that exists is opened for reading; one that does not is made, to be filled.
    #[default]
    Auto,
    /// The same, but one that exists must be writable too.
    ReadWrite,
    /// It must exist, and is not made active again.
    ReadOnly,
}

/// Options of [`FileResource::open_with`](crate::chunked::FileResource::open_with). All are checked there.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct FileOptions {
    /// How it is opened. Default `Auto`.
    pub mode: OpenMode,
    /// The length in bytes of a file that is to be filled: space is reserved for all of it. Default not known.
    pub len: Option<u64>,
    /// The length in bytes that a file of unknown length has at most. Default 1 TiB.
    pub max_len: u64,
    /// How bytes are read. Default `Auto`.
    pub read_mode: ReadMode,
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
}

impl FileOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            mode: OpenMode::default(),
            len: None,
            max_len: 1 << 40,
            read_mode: ReadMode::default(),
            fs: Arc::new(OsFs::new()),
        }
    }

    /// Sets how it is opened.
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets its length.
    pub fn len(mut self, len: u64) -> Self {
        self.len = Some(len);
        self
    }

    /// Sets the length that it has at most.
    pub fn max_len(mut self, max_len: u64) -> Self {
        self.max_len = max_len;
        self
    }

    /// Sets how bytes are read.
    pub fn read_mode(mut self, read_mode: ReadMode) -> Self {
        self.read_mode = read_mode;
        self
    }

    /// Sets the file system.
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        Self::new()
    }
}
