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
