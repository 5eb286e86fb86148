//! What the file system of a directory grants.

use std::path::Path;
use std::sync::Arc;

use super::{Temp, temp::cannot};
use crate::fs::{Dir, Fs, How, Lock, OsFs, ReadMode, Rename, SyncSite};
use crate::{Error, Result};

/// What the file system of a directory grants; `None` where it cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Its kind, as `mount` names it: `ext4`, `xfs`, `btrfs`, `tmpfs`, `nfs`; or its number.
    pub file_system: String,
    /// Locks of open files exclude each other. Without them no store can be opened for writing.
    pub locks: Option<bool>,
    /// Directories can be synced. Without it nothing is durable.
    pub dir_sync: Option<bool>,
    /// A rename can be told not to replace; else it is done in two steps.
    pub rename_noreplace: Option<bool>,
    /// Files can share blocks; else they are copied.
    pub reflink: Option<bool>,
    /// Space can be reserved; else zeros are written.
    pub fallocate: Option<bool>,
    /// Overwrites go to new blocks, so that reserved space is no promise: a full disk may show late.
    pub copy_on_write: Option<bool>,
    /// On another machine.
    pub network: Option<bool>,
    /// In memory: nothing survives a power cut, whatever is synced.
    pub tmpfs: Option<bool>,
}

/// Tries out what the file system of the directory `path` grants. Leaves nothing behind.
///
/// # Cost
/// A few small files made and removed; one sync of the directory.
///
/// # Errors
/// `NotFound`, `ReadOnly`, `NoSpace` and the system's.
///
/// # Example
/// ```
/// # let dir = tempfile::tempdir()?;
/// let probe = untorn::probe(dir.path())?;
/// assert_eq!(probe.locks, Some(true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn probe(path: impl AsRef<Path>) -> Result<Probe> {
    probe_with(path, &OsFs::new())
}

/// As [`probe`], on a file system.
///
/// # Errors
/// As [`probe`].
pub fn probe_with(path: impl AsRef<Path>, fs: &dyn Fs) -> Result<Probe> {
    let path = path.as_ref();
    let dir = fs.open_dir(path).map_err(|e| Error::system("probe", path, e))?;
    let file_system = dir.file_system().map_err(|e| Error::system("probe", path, e))?;
    let is = |names: &[&str]| Some(names.contains(&file_system.as_str()));
    Ok(Probe {
        locks: locks(fs, &dir)?,
        dir_sync: granted(dir.sync(SyncSite::Caller)),
        rename_noreplace: rename_noreplace(fs, &dir)?,
        reflink: reflink(fs, &dir)?,
        fallocate: fallocate(fs, &dir)?,
        copy_on_write: is(&["btrfs", "zfs", "bcachefs", "apfs"]),
        network: Some(is_network(&file_system)),
        tmpfs: is(&["tmpfs", "ramfs"]),
        file_system,
    })
}

/// By call or through a map: how files of this directory are read.
pub(crate) fn settle_read_mode(mode: ReadMode, dir: &dyn Dir) -> Result<ReadMode> {
    if mode != ReadMode::Auto {
        return Ok(mode);
    }
    let kind = dir.file_system().map_err(|e| Error::system("look at", dir.path(), e))?;
    Ok(if is_network(&kind) { ReadMode::Pread } else { ReadMode::Map })
}

/// Whether a file system of this kind may lie on another machine.
pub(crate) fn is_network(file_system: &str) -> bool {
    ["nfs", "cifs", "smb2", "9p", "ceph", "afs", "fuse"].contains(&file_system)
}

/// Yes, no, or an answer that says neither.
fn granted(answer: std::io::Result<()>) -> Option<bool> {
    match answer {
        Ok(()) => Some(true),
        Err(e)
            if cannot(&e) || e.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) =>
        {
            Some(false)
        }
        Err(_) => None,
    }
}

fn temp(fs: &dyn Fs, dir: &Arc<dyn Dir>) -> Result<Temp> {
    Temp::create(fs, dir, "probe".as_ref(), 0o600)
}

fn locks(fs: &dyn Fs, dir: &Arc<dyn Dir>) -> Result<Option<bool>> {
    let held = match temp(fs, dir) {
        Ok(held) => held,
        // A temporary is locked; without locks there is none.
        Err(e) if e.kind() == crate::ErrorKind::Unsupported => return Ok(Some(false)),
        Err(e) => return Err(e),
    };
    let name = held.file().path().file_name().unwrap_or_default();
    let other = dir.open(name, How::Read);
    let other = other.map_err(|e| Error::system("probe", dir.path(), e))?;
    Ok(other.try_lock(Lock::Exclusive).ok().map(|got| !got))
}

fn rename_noreplace(fs: &dyn Fs, dir: &Arc<dyn Dir>) -> Result<Option<bool>> {
    let (from, to) = (temp(fs, dir)?, temp(fs, dir)?);
    let name = |t: &Temp| t.file().path().file_name().unwrap_or_default().to_os_string();
    let answer = dir.rename(&name(&from), &**dir, &name(&to), Rename::NoReplace);
    Ok(match answer {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Some(true),
        other => granted(other).map(|_| false),
    })
}

fn reflink(fs: &dyn Fs, dir: &Arc<dyn Dir>) -> Result<Option<bool>> {
    let (from, to) = (temp(fs, dir)?, temp(fs, dir)?);
    let written = from.file().write_at(&[1; 4096], 0);
    written.map_err(|e| Error::system("probe", dir.path(), e))?;
    Ok(granted(to.file().reflink_from(&**from.file())))
}

fn fallocate(fs: &dyn Fs, dir: &Arc<dyn Dir>) -> Result<Option<bool>> {
    Ok(granted(temp(fs, dir)?.file().allocate(0, 4096)))
}
