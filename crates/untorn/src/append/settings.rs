//! What a store is told, whatever its elements are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::{OnForeign, Verify};
use crate::fs::{Fs, OsFs, ReadMode};
use crate::{Error, ErrorKind, OnDamage, Result};

/// Tells how far long work is: bytes done, and bytes in all.
pub(super) type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) inline_limit: usize,
    pub(super) checkpoint_bytes: u64,
    pub(super) reserve: u64,
    pub(super) snapshot_copy_max: u64,
    pub(super) read_mode: ReadMode,
    pub(super) verify: Verify,
    pub(super) on_damage: OnDamage,
    pub(super) on_foreign: OnForeign,
    pub(super) trim_zero_tail: bool,
    pub(super) create: bool,
    pub(super) log_segment_bytes: u64,
    pub(super) progress: Option<Progress>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fs: Arc::new(OsFs::new()),
            inline_limit: 64 << 10,
            checkpoint_bytes: 64 << 20,
            reserve: 0,
            snapshot_copy_max: 64 << 20,
            read_mode: ReadMode::default(),
            verify: Verify::default(),
            on_damage: OnDamage::default(),
            on_foreign: OnForeign::default(),
            trim_zero_tail: false,
            create: true,
            log_segment_bytes: 4 << 20,
            progress: None,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("fs", &self.fs)
            .field("inline_limit", &self.inline_limit)
            .field("checkpoint_bytes", &self.checkpoint_bytes)
            .finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn tell(&self, done: u64, of: u64) {
        if let Some(progress) = &self.progress {
            progress(done, of);
        }
    }
}

/// What a member is asked to be.
#[derive(Clone, Debug)]
pub(super) struct MemberSpec {
    /// Its name in a group; empty for a file alone.
    pub(super) name: String,
    /// The data file, as the caller names it.
    pub(super) path: PathBuf,
    /// Bytes of each element; 0 if they differ.
    pub(super) fixed: u32,
    pub(super) codec: &'static str,
    pub(super) version: u32,
    /// Other versions that are taken as well.
    pub(super) accept: Vec<u32>,
    /// A file of sizes as `grin_store` writes it.
    pub(super) size_file: Option<PathBuf>,
    pub(super) max_element: u32,
}

impl MemberSpec {
    pub(super) fn new(path: &Path, fixed: u32) -> Self {
        Self {
            name: String::new(),
            path: path.to_path_buf(),
            fixed,
            codec: "raw",
            version: 0,
            accept: Vec::new(),
            size_file: None,
            max_element: u32::MAX,
        }
    }

    /// Refuses what cannot be.
    pub(super) fn check(&self) -> Result<()> {
        if self.fixed != 0 && self.size_file.is_some() {
            let what = "a file of sizes is for elements that differ in size";
            return Err(Error::new(ErrorKind::InvalidInput, "open", &self.path, what));
        }
        Ok(())
    }
}

/// The setters that options of one file and of a group have alike, for a type with a field `settings`.
macro_rules! settings_setters {
    () => {
        /// Up to so many bytes of each file ride in the record of a commit, so that one sync does. Default 64 KiB.
        pub fn inline_limit(mut self, bytes: usize) -> Self {
            self.settings.inline_limit = bytes;
            self
        }

        /// Bytes of records after which a checkpoint is made: what an open after a crash may have to write again. Default 64 MiB.
        pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
            self.settings.checkpoint_bytes = bytes;
            self
        }

        /// Addresses that are reserved for the map at least. Default: four times the file, and 64 MiB at least.
        pub fn reserve(mut self, bytes: u64) -> Self {
            self.settings.reserve = bytes;
            self
        }

        /// Bytes that a rewind may copy to memory for snapshots that are held. Default 64 MiB.
        pub fn snapshot_copy_max(mut self, bytes: u64) -> Self {
            self.settings.snapshot_copy_max = bytes;
            self
        }

        /// How the data is read. Default: from a map, but on a network file system.
        pub fn read_mode(mut self, mode: $crate::fs::ReadMode) -> Self {
            self.settings.read_mode = mode;
            self
        }

        /// When bytes are compared with their checksums. Default: when they are first touched.
        pub fn verify(mut self, verify: $crate::append::Verify) -> Self {
            self.settings.verify = verify;
            self
        }

        /// What to do if committed bytes do not verify at the open. Default: refuse.
        pub fn on_damage(mut self, on_damage: $crate::OnDamage) -> Self {
            self.settings.on_damage = on_damage;
            self
        }

        /// What to do if a foreign program changed the length of the file while it was closed. Default: refuse.
        pub fn on_foreign(mut self, on_foreign: $crate::append::OnForeign) -> Self {
            self.settings.on_foreign = on_foreign;
            self
        }

        /// Whether elements of zeros at the end of a file that is taken over are cut, with a copy. Default: they are only reported.
        pub fn trim_zero_tail(mut self, trim: bool) -> Self {
            self.settings.trim_zero_tail = trim;
            self
        }

        /// Whether a file that does not exist is made. Default yes.
        pub fn create(mut self, create: bool) -> Self {
            self.settings.create = create;
            self
        }

        /// Is told how far long work is, in bytes done and bytes in all: taking over a file, compaction.
        pub fn progress(mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
            self.settings.progress = Some(std::sync::Arc::new(progress));
            self
        }

        /// The file system. Default [`OsFs`](crate::fs::OsFs).
        pub fn fs(mut self, fs: std::sync::Arc<dyn $crate::fs::Fs>) -> Self {
            self.settings.fs = fs;
            self
        }

        /// Size that segments of the log grow to.
        #[doc(hidden)]
        pub fn log_segment_bytes(mut self, bytes: u64) -> Self {
            self.settings.log_segment_bytes = bytes;
            self
        }
    };
}
pub(super) use settings_setters;
