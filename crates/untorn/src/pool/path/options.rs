//! How a path is opened, and what an open found.

use std::path::PathBuf;
use std::sync::Arc;

use crate::fs::{Fs, OsFs};
use crate::log::Healed;
use crate::pool::segment::MAX_OBJECT;
use crate::{Error, ErrorKind, OnDamage, Result};

/// Offsets in a segment fit 32 bits, also where the last batch goes beyond the size.
const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// Options of a [`DirPath`](super::DirPath).
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct DirPathOptions {
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
    /// Objects that take more bytes than this, as they are stored, get a file of their own. Default 256 KiB.
    pub segment_max: u64,
    /// What a segment grows to. Default 64 MiB, at most 2 GiB.
    pub segment_bytes: u64,
    /// The longest object, as it is stored. Default 1 GiB.
    pub max_object: u64,
    /// What to do if the manifest is damaged; an object that is damaged is an error of its load. `Salvage` is as `Truncate`. Default `Refuse`.
    pub on_damage: OnDamage,
}

impl DirPathOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            fs: Arc::new(OsFs::new()),
            segment_max: 256 << 10,
            segment_bytes: 64 << 20,
            max_object: MAX_OBJECT,
            on_damage: OnDamage::default(),
        }
    }

    pub(super) fn check(&self, path: &std::path::Path) -> Result<()> {
        if (4096..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes)
            && self.segment_max <= self.segment_bytes
        {
            return Ok(());
        }
        let what = "segment_bytes is from 4 KiB up to 2 GiB, and segment_max no more than it";
        Err(Error::new(ErrorKind::InvalidInput, "open path", path, what))
    }
}

impl Default for DirPathOptions {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl DirPathOptions {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })*
        }
    };
}

setters! {
    /// Sets the file system.
    fs: Arc<dyn Fs>,
    /// Sets from which length on an object gets a file of its own.
    segment_max: u64,
    /// Sets what a segment grows to.
    segment_bytes: u64,
    /// Sets the longest object.
    max_object: u64,
    /// Sets what to do about a damaged manifest.
    on_damage: OnDamage,
}

/// What opening a path found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Whether it was made.
    pub created: bool,
    /// Objects that are committed.
    pub objects: u64,
    /// Named sets.
    pub sets: u64,
    /// What is in the path or in `seg` and is not of it; left alone. In `obj` nobody looked.
    pub foreign: Vec<PathBuf>,
    /// Segments of it that held no listed object; gone now.
    pub removed: Vec<PathBuf>,
    /// Segments that hold listed objects and are not there: those objects cannot be loaded.
    pub missing: Vec<PathBuf>,
    /// What was cut from the manifest: a torn record that nobody was told was written, or, if the options say so, damage.
    pub healed: Option<Healed>,
}
