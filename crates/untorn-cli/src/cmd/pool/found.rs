//! Tells a path of a pool from other directories.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use untorn::ErrorKind;

use super::scratch::is_scratch;
use crate::exit::{Failure, Result};

/// Where a segment, or the file of an object, begins.
pub(in crate::cmd) const MAGIC: &[u8; 8] = b"UNTPOOL\0";
const META: &[u8] = b"UNTORNLM";
/// Where META has the four letters of the log's owner.
const OWNER: std::ops::Range<usize> = 32..36;

/// Whether objects of a pool are persisted to a directory, or were before it lost its manifest.
pub(in crate::cmd) fn is_path(dir: &Path) -> bool {
    let mut head = [0; 36];
    let read = File::open(dir.join("manifest").join("META"))
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok();
    let of_pool = read && head.starts_with(META) && head.get(OWNER) == Some(b"POOL");
    of_pool || has_object(&dir.join("seg")) || below(&dir.join("obj")).iter().any(|d| has_object(d))
}

/// Whether a file of the directory has objects in it, as far as its first bytes tell.
fn has_object(dir: &Path) -> bool {
    let begins = |path: &PathBuf| {
        let mut head = [0; MAGIC.len()];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
        read.is_ok() && head == *MAGIC
    };
    below(dir).iter().any(begins)
}

pub(super) fn below(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir).into_iter().flatten();
    names.filter_map(std::result::Result::ok).map(|entry| entry.path()).collect()
}

/// The directory must be a path; what is missing or something else is said so.
pub(super) fn must_be_one(dir: &Path) -> Result<()> {
    if is_path(dir) {
        return Ok(());
    }
    let stat = fs::metadata(dir).map_err(|e| Failure::io("open", dir, e))?;
    if stat.is_dir() && fs::read_dir(dir).is_ok_and(|mut names| names.next().is_none()) {
        let what = "the directory is empty; no pool has persisted anything to it";
        return Err(Failure::new(ErrorKind::NotFound, dir, what));
    }
    let what = if is_scratch(dir) {
        "it is scratch of pools, gone with its owners; name a directory that objects are persisted to"
    } else {
        "no pool has persisted anything to it; `untorn inspect` says what it is"
    };
    Err(Failure::new(ErrorKind::NotOurs, dir, what))
}

/// The manifest is recovered with its path: alone, it might be cut while objects lie as they were.
pub(in crate::cmd) fn refuse_its_log(path: &Path) -> Result<()> {
    let Ok(whole) = path.canonicalize() else { return Ok(()) };
    let is_log = whole.file_name() == Some(OsStr::new("manifest"));
    match whole.parent().filter(|parent| is_log && is_path(parent)) {
        Some(parent) => {
            let what =
                format!("it is the manifest of a pool: `untorn recover {}`", parent.display());
            Err(Failure::new(ErrorKind::Precondition, path, what))
        }
        None => Ok(()),
    }
}

/// The directories of a path that left-overs may be in.
pub(in crate::cmd) fn dirs(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        ["", "manifest", "seg", "quarantine"].map(|name| dir.join(name)).into();
    all.push(dir.join("manifest").join("quarantine"));
    all.extend(below(&dir.join("obj")));
    all.into_iter().filter(|dir| dir.is_dir()).collect()
}
