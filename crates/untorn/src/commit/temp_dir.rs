//! A directory that is filled before it has a name that matters, and gets that name whole.
//!
//! ```text
//! .NAME.RANDOM.untorn-tmp      the owner's locked file: made first, unlinked last
//! .NAME.RANDOM.untorn-tmp.d    the directory: renamed, or removed with all that is in it
//!
//! owner   directory   fill and SYNC what is in it   SYNC DIRECTORY   rename   unlink owner   SYNC PARENT   ok
//! ```
//!
//! # Invariants
//! - T1 The directory is there only while its owner's file is, but for what a power cut kept of the two. So whoever finds the
//!   file missing, or takes its lock, is alone with the directory (C4).
//! - T2 It replaces nothing but an empty directory: a rename over anything else fails.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::sweep::sweep_for;
use super::temp::{DIR_SUFFIX, cannot};
use super::{Place, Temp, sync_dir};
use crate::fs::{Dir, Fs, Kind, Rename, SyncSite};
use crate::{Error, ErrorKind, Outcome, Result};

/// Directories nest no deeper in what is removed.
const DEPTH_MAX: u32 = 64;

/// A directory that has no name that matters yet. Dropped, it goes with all that is in it.
#[derive(Debug)]
pub(crate) struct TempDir {
    to: Place,
    name: OsString,
    dir: Arc<dyn Dir>,
    named: bool,
    /// Dropped last: its lock is what keeps sweeps away.
    owner: Option<Temp>,
}

impl TempDir {
    /// A new empty directory with mode 0700, to become `dest`, which must not exist or be an empty directory. Takes away
    /// what dead writers of `dest` left.
    pub(crate) fn begin(fs: &dyn Fs, operation: &'static str, dest: &Path) -> Result<Self> {
        // Without a slash at the end, which a directory's name may well have.
        let dest: PathBuf = dest.components().collect();
        let to = Place::of(fs, operation, &dest)?;
        if !is_free(&to).map_err(|e| Error::system(operation, &dest, e))? {
            return Err(taken(operation, &dest));
        }
        sweep_for(&*to.dir, &to.name)?;
        let owner = Temp::create(fs, &to.dir, &to.name, 0o600)?;
        let mut name = owner.name().to_os_string();
        name.push(DIR_SUFFIX);
        let made = to.dir.make_dir(&name, 0o700).and_then(|()| to.dir.open_dir(&name));
        let dir = made.map_err(|e| {
            // The error may have come after the effect. The name is ours alone.
            drop(to.dir.remove_dir(&name));
            Error::system(operation, &dest, e)
        })?;
        Ok(Self { to, name, dir, named: true, owner: Some(owner) })
    }

    /// The directory itself.
    pub(crate) const fn dir(&self) -> &Arc<dyn Dir> {
        &self.dir
    }

    /// Where it is now: a store may open it there.
    pub(crate) fn path(&self) -> PathBuf {
        self.to.dir.path().join(&self.name)
    }

    /// Gives it its name. All files in it and all directories below it are synced; it and its parent are synced here.
    ///
    /// `Unchanged` unless the rename or the parent's sync fails with `Unknown`; `AlreadyExists` if there is something now.
    pub(crate) fn publish(mut self, operation: &'static str) -> Result<()> {
        sync_staged(&*self.dir)?;
        let dest = self.to.path();
        if let Err(error) = self.rename() {
            // An error may come after the effect: only the name that is still there tells that nothing happened.
            let in_the_way = [Errno::EXIST, Errno::NOTEMPTY, Errno::NOTDIR];
            let refused = in_the_way.iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()));
            let here = self.to.dir.stat(&self.name).is_ok();
            return Err(match (here, refused) {
                (true, true) => taken(operation, &dest),
                (true, false) => Error::system("rename into place", &dest, error),
                (false, _) => {
                    Error::system("rename into place", &dest, error).with_outcome(Outcome::Unknown)
                }
            });
        }
        self.named = false;
        drop(self.owner.take());
        sync_dir(&*self.to.dir, SyncSite::ArtifactParent)
    }

    fn rename(&self) -> io::Result<()> {
        let dir = &self.to.dir;
        let rename = |mode| dir.rename(&self.name, &**dir, &self.to.name, mode);
        match dir.stat(&self.to.name) {
            // An empty directory may be replaced. One that somebody has just made may not, if that can be helped.
            Ok(_) => rename(Rename::Replace),
            Err(e) if e.kind() == io::ErrorKind::NotFound => match rename(Rename::NoReplace) {
                Err(e) if cannot(&e) => rename(Rename::Replace), // T2
                done => done,
            },
            Err(e) => Err(e),
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if self.named {
            // If it fails, or the process dies before it, a sweep takes the rest. No sync: it may come back and is swept.
            drop(remove_tree(&*self.to.dir, &self.name));
        }
    }
}

/// Syncs the names of a directory that is not published yet.
pub(crate) fn sync_staged(dir: &dyn Dir) -> Result<()> {
    let failed = sync_dir(dir, SyncSite::ArtifactDir);
    failed.map_err(|e| match e.kind() {
        ErrorKind::Unsupported | ErrorKind::InvalidInput => e
            .with_kind(ErrorKind::Unsupported)
            .with_outcome(Outcome::Unchanged)
            .because("this file system cannot sync a directory, so nothing in it would last"),
        _ => e.with_outcome(Outcome::Unchanged),
    })
}

/// Whether there is nothing by that name, or an empty directory.
fn is_free(to: &Place) -> io::Result<bool> {
    match to.dir.stat(&to.name) {
        Ok(stat) if stat.kind == Kind::Dir => Ok(to.dir.open_dir(&to.name)?.list()?.is_empty()),
        Ok(_) => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e),
    }
}

fn taken(operation: &'static str, dest: &Path) -> Error {
    let what = "it exists and is no empty directory; choose another name, or remove it first";
    Error::new(ErrorKind::AlreadyExists, operation, dest, what)
}

/// Removes a directory with all that is in it; says whether it was there. Symbolic links are removed, not followed.
pub(crate) fn remove_tree(parent: &dyn Dir, name: &OsStr) -> io::Result<bool> {
    remove_to_depth(parent, name, DEPTH_MAX)
}

fn remove_to_depth(parent: &dyn Dir, name: &OsStr, depth: u32) -> io::Result<bool> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(io::Error::other("directories nest too deep in it"));
    };
    // Another sweep may be at it too: what is gone is gone.
    let unless_gone = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    };
    let dir = match parent.open_dir(name) {
        Ok(dir) => dir,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    for entry in dir.list()? {
        match dir.stat(&entry) {
            Ok(stat) if stat.kind == Kind::Dir => remove_to_depth(&*dir, &entry, depth)?,
            Ok(_) => unless_gone(dir.unlink(&entry))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
    }
    drop(dir);
    unless_gone(parent.remove_dir(name))
}
