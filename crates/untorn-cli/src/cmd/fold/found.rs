//! Tells a fold from other directories.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use untorn::ErrorKind;

use super::missing;
use crate::exit::{Failure, Result};

const BASE: &[u8] = b"UNTORNFB";
const META: &[u8] = b"UNTORNLM";
/// Where META has the four letters of the log's owner.
const OWNER: std::ops::Range<usize> = 32..36;

/// Whether a directory is a fold, or was one before it lost a part.
pub(in crate::cmd) fn is_fold(dir: &Path) -> bool {
    let head = |path: PathBuf| {
        let mut head = [0; 36];
        File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok().then_some(head)
    };
    let of_log = |meta: [u8; 36]| meta.starts_with(META) && meta.get(OWNER) == Some(b"FOLD");
    head(dir.join("base")).is_some_and(|base| base.starts_with(BASE))
        || head(dir.join("log").join("META")).is_some_and(of_log)
}

/// The directory must be a fold; what is missing or something else is said so.
pub(super) fn must_be_one(dir: &Path) -> Result<()> {
    if is_fold(dir) {
        return Ok(());
    }
    let stat = fs::metadata(dir).map_err(|e| Failure::io("open", dir, e))?;
    if !stat.is_dir() {
        // The library knows the files that it can make a fold of.
        let opened = untorn::fold::FoldOptions::new().create(false).read_only(true).open(dir);
        return opened.map(drop).map_err(Failure::from);
    }
    let empty = fs::read_dir(dir).is_ok_and(|mut names| names.next().is_none());
    if empty {
        return Err(missing(dir, "the directory is empty; there is no fold in it"));
    }
    let what = "it is no fold; `untorn inspect` says what it is";
    Err(Failure::new(ErrorKind::NotOurs, dir, what))
}

/// The log of a fold is recovered with the fold: alone, it might be cut below what the base has.
pub(in crate::cmd) fn refuse_its_log(path: &Path) -> Result<()> {
    let Ok(whole) = path.canonicalize() else { return Ok(()) };
    let is_log = whole.file_name() == Some(OsStr::new("log"));
    match whole.parent().filter(|parent| is_log && is_fold(parent)) {
        Some(parent) => {
            let what = format!("it is the log of a fold: `untorn recover {}`", parent.display());
            Err(Failure::new(ErrorKind::Precondition, path, what))
        }
        None => Ok(()),
    }
}

/// The directories of a fold that left-overs may be in.
pub(in crate::cmd) fn dirs(dir: &Path) -> Vec<PathBuf> {
    let all = [dir.to_path_buf(), dir.join("log"), dir.join("quarantine")];
    all.into_iter().filter(|dir| dir.is_dir()).collect()
}
