//! The directory of `file_backed`'s `FBStore`, read and written: one file an object, and nothing in it but the object's bytes.
//!
//! ```text
//! <dir>/<hh>/<32 hex>    hh = 00 to ff, the first two digits of the name; digits in lower case
//! ```

use std::sync::Arc;

use uuid::Uuid;

use super::path::DirPath;
use super::segment::MAX_OBJECT;
use crate::fs::{Fs, OsFs};
use crate::{Error, ErrorKind, Result};

mod export;
mod import;
#[cfg(feature = "sim")]
#[cfg(test)]
mod tests;

pub use export::{ExportReport, export_file_backed};
pub use import::{ImportReport, Suspicion, import_file_backed};

/// Bytes of objects that go to a path with one write.
const PIECE: usize = 1 << 20;

/// Says of an object's key and bytes whether they are one.
pub type Verify<'a> = &'a dyn Fn(Uuid, &[u8]) -> bool;

/// Options of [`import_file_backed`] and [`export_file_backed`].
#[must_use]
#[non_exhaustive]
pub struct FileBackedOptions<'a> {
    /// The file system of the directory. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
    /// Import: takes files that are empty or all zeros, too, as a crash may have left them. Default false.
    pub accept_suspect: bool,
    /// Import: the longest file that is taken. Default 1 GiB.
    pub max_object: u64,
    /// Import: the type of the objects, see [`Meta::tag`](super::Meta). Default 0, none.
    pub tag: u64,
    /// Import: says whether bytes are an object. Those that are not are never taken. Default: all are.
    pub verify: Option<Verify<'a>>,
    /// Is told now and then how many objects it has gone through.
    pub progress: Option<&'a mut dyn FnMut(u64)>,
}

impl<'a> FileBackedOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        let fs = Arc::new(OsFs::new());
        let (accept_suspect, max_object, tag) = (false, MAX_OBJECT, 0);
        Self { fs, accept_suspect, max_object, tag, verify: None, progress: None }
    }

    /// Sets the file system.
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }

    /// Sets whether files that are empty or all zeros are taken.
    pub const fn accept_suspect(mut self, accept: bool) -> Self {
        self.accept_suspect = accept;
        self
    }

    /// Sets the longest file that is taken.
    pub const fn max_object(mut self, bytes: u64) -> Self {
        self.max_object = bytes;
        self
    }

    /// Sets the type of the objects.
    pub const fn tag(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    /// Sets what says whether bytes are an object.
    pub fn verify(mut self, verify: Verify<'a>) -> Self {
        self.verify = Some(verify);
        self
    }

    /// Sets what is told how far it is.
    pub fn progress(mut self, progress: &'a mut dyn FnMut(u64)) -> Self {
        self.progress = Some(progress);
        self
    }

    fn tell(&mut self, objects: u64) {
        if let Some(progress) = &mut self.progress {
            progress(objects);
        }
    }
}

impl Default for FileBackedOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for FileBackedOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileBackedOptions")
            .field("fs", &self.fs)
            .field("accept_suspect", &self.accept_suspect)
            .field("max_object", &self.max_object)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// The name of the directory of objects whose names begin so.
fn prefix_name(prefix: u8) -> String {
    format!("{prefix:02x}")
}

fn prefix(key: Uuid) -> u8 {
    let [first, ..] = *key.as_bytes();
    first
}
