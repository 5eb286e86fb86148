//! The durable verbs: replace, publish, claim, make a directory, sweep, quarantine, sync. Nothing else renames or syncs.
//!
//! # Invariants
//! - C1 A name leads to synced bytes or to what it led to before: the file is synced before it gets the name.
//! - C2 `Ok` at `Synced` means that the directory was synced after the name was given.
//! - C3 An inode whose sync failed never gets a name that matters; its temporary is unlinked.
//! - C4 A temporary is locked by its maker as long as he lives; who gets the lock may unlink it, nobody else. A staged
//!   directory has such a file beside it: who gets its lock, or finds it missing, may remove the directory.
//! - C5 A lock counts only while the locked inode is the one that the path leads to.
//! - C6 What is cut or overwritten for good is copied first, and the copy is synced.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{Dir, File, Fs, Kind, SyncSite, SyncWhat};
use crate::{Error, ErrorKind, Outcome, Result};

mod atomic_file;
mod claim;
mod poison;
mod probe;
mod quarantine;
mod replace;
mod sweep;
mod temp;
mod temp_dir;

pub use atomic_file::{AtomicFile, Owner, ReplaceOptions, Symlink};
pub(crate) use atomic_file::{explain, keep_attributes};
pub(crate) use claim::{Claim, LOCK, claim_excludes, holder_in};
pub use claim::{Holder, holder};
pub(crate) use poison::Poison;
pub use probe::{Probe, probe, probe_with};
pub(crate) use probe::{is_network, settle_read_mode};
pub(crate) use quarantine::{Cut, Quarantine};
pub(crate) use replace::{Sites, publish, replace_in, sync_named};
pub use replace::{create_new, create_new_with, replace, replace_with};
pub use sweep::{SweepReport, sweep, sweep_with};
pub(crate) use sweep::{sweep_dir, sweep_store};
pub(crate) use temp::{Moved, Temp, is_temp_name, rename_to};
pub(crate) use temp_dir::{TempDir, remove_tree, sync_staged};

/// Syncs a file's bytes and size. An error is final for the handle: the caller poisons it.
pub(crate) fn sync_data(file: &dyn File, site: SyncSite) -> Result<()> {
    file.sync(SyncWhat::Data, site)
        .map_err(|e| Error::system("sync", file.path(), e).with_outcome(Outcome::Unknown))
}

/// Syncs a file's bytes, size and attributes.
pub(crate) fn sync_file(file: &dyn File, site: SyncSite) -> Result<()> {
    file.sync(SyncWhat::All, site).map_err(|e| Error::system("sync", file.path(), e))
}

/// Syncs the names of a directory.
pub(crate) fn sync_dir(dir: &dyn Dir, site: SyncSite) -> Result<()> {
    dir.sync(site)
        .map_err(|e| Error::system("sync directory", dir.path(), e).with_outcome(Outcome::Unknown))
}

/// Unlinks a file; that it is not there is no error. Not synced: the caller says which sync covers it, or why none does.
pub(crate) fn unlink(dir: &dyn Dir, name: &OsStr) -> Result<()> {
    match dir.unlink(name) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::system("remove", &dir.path().join(name), e))
        }
        _ => Ok(()),
    }
}

/// Removes an empty directory; that it is gone, or that somebody put something into it, is no error. Not synced, as [`unlink`].
pub(crate) fn unlink_dir(dir: &dyn Dir, name: &OsStr) -> Result<()> {
    use std::io::ErrorKind::{DirectoryNotEmpty, NotFound};
    match dir.remove_dir(name) {
        Err(e) if !matches!(e.kind(), NotFound | DirectoryNotEmpty) => {
            Err(Error::system("remove", &dir.path().join(name), e))
        }
        _ => Ok(()),
    }
}

/// Opens the directory at `path`; makes it, and what is missing above it, with mode 0777 less the umask. Nothing of that is
/// durable yet: see [`sync_way`]. Says whether anything was made.
pub(crate) fn open_or_make_dir(fs: &dyn Fs, path: &Path) -> Result<(Arc<dyn Dir>, bool)> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match fs.open_dir(path) {
        Ok(dir) => Ok((dir, false)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(Error::system("open directory", path, e));
            };
            let (parent, _) = open_or_make_dir(fs, parent)?;
            match parent.make_dir(name, 0o777) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::system("make directory", path, e));
                }
                _ => {}
            }
            let dir = parent.open_dir(name);
            Ok((dir.map_err(|e| Error::system("open directory", path, e))?, true))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            let what = "it is a file, not a directory";
            Err(Error::new(ErrorKind::NotOurs, "open directory", path, what))
        }
        Err(e) => Err(Error::system("open directory", path, e)),
    }
}

/// Makes the way to a directory durable: the entries of all directories that lead to it.
///
/// Also of those that were there already: whoever made one may have been killed before he synced it. Goes up as far as the
/// caller may look, unless `made` says that he has just made something above.
pub(crate) fn sync_way(fs: &dyn Fs, path: &Path, made: bool) -> Result<()> {
    let fail = |path: &Path, e| Error::system("sync directory", path, e);
    let path = fs.canonicalize(path).map_err(|e| fail(path, e))?;
    for above in path.ancestors().skip(1) {
        let dir = match fs.open_dir(above) {
            Ok(dir) => dir,
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && !made => return Ok(()),
            Err(e) => return Err(fail(above, e)),
        };
        sync_dir(&*dir, SyncSite::MakeDirParent)?;
    }
    Ok(())
}

/// Makes the subdirectory `name` and syncs its parent (C2); opens it if it is there already.
pub(crate) fn make_dir(parent: &dyn Dir, name: &OsStr, mode: u32) -> Result<Arc<dyn Dir>> {
    let path = || parent.path().join(name);
    match parent.make_dir(name, mode) {
        Ok(()) => sync_dir(parent, SyncSite::MakeDirParent)?,
        // Whoever made it may not have synced it yet, or may have died before he did.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            sync_dir(parent, SyncSite::MakeDirParent)?;
        }
        Err(e) => return Err(Error::system("make directory", &path(), e)),
    }
    parent.open_dir(name).map_err(|e| Error::system("open directory", &path(), e))
}

/// Opens the subdirectory `name`, or makes it as [`make_dir`] does.
pub(crate) fn make_dir_if_missing(
    parent: &dyn Dir,
    name: &OsStr,
    mode: u32,
) -> Result<Arc<dyn Dir>> {
    match parent.open_dir(name) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => make_dir(parent, name, mode),
        opened => opened.map_err(|e| Error::system("open directory", &parent.path().join(name), e)),
    }
}

/// A path taken apart: the held directory, and the name in it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) dir: Arc<dyn Dir>,
    pub(crate) name: std::ffi::OsString,
}

impl Place {
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    /// The file that stands there, open for reading; `None` if there is none.
    pub(crate) fn open(&self, operation: &'static str) -> Result<Option<Arc<dyn File>>> {
        match self.dir.open(&self.name, crate::fs::How::Read) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::system(operation, &self.path(), e)),
        }
    }

    /// Opens the directory that holds `path`'s last component.
    pub(crate) fn of(fs: &dyn Fs, operation: &'static str, path: &Path) -> Result<Self> {
        let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let (Some(name), false) = (path.file_name(), slash) else {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                operation,
                path,
                "this path names no file; end it with a file name",
            ));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let dir = fs.open_dir(parent).map_err(|e| Error::system(operation, path, e))?;
        Ok(Self { dir, name: name.to_os_string() })
    }

    /// As [`of`](Self::of), and follows symlinks at the end of the path, so that the link stays and its target is meant.
    pub(crate) fn resolve(
        fs: &dyn Fs,
        operation: &'static str,
        path: &Path,
        symlink: Symlink,
    ) -> Result<(Self, Option<crate::fs::Stat>)> {
        const HOPS: u32 = 40;
        let mut at = path.to_path_buf();
        for _ in 0..HOPS {
            let place = Self::of(fs, operation, &at)?;
            let stat = match place.dir.stat(&place.name) {
                Ok(stat) => stat,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((place, None)),
                Err(e) => return Err(Error::system(operation, &at, e)),
            };
            match (stat.kind, symlink) {
                (Kind::File, _) => return Ok((place, Some(stat))),
                (Kind::Symlink, Symlink::Follow) => {
                    let link = place.dir.read_link(&place.name);
                    let link = link.map_err(|e| Error::system(operation, &at, e))?;
                    at = place.dir.path().join(link);
                }
                (kind, _) => {
                    let what = match kind {
                        Kind::Symlink => "it is a symbolic link, and the options refuse those",
                        Kind::Dir => "it is a directory, not a file",
                        _ => "it is no regular file; only those can be replaced",
                    };
                    return Err(Error::new(ErrorKind::Precondition, operation, &at, what));
                }
            }
        }
        let what = "too many symbolic links lead to each other";
        Err(Error::new(ErrorKind::Precondition, operation, path, what))
    }
}
