//! Replace a file, or create one that must not exist: whole or not at all, durable on `Ok`.
//!
//! ```text
//! temporary   write   SYNC FILE (C1)   rename   SYNC DIRECTORY (C2)   ok
//! a crash up to the rename's own moment shows the old file; from then on one of the two; after the last sync the new one
//! ```

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::{AtomicFile, Place, ReplaceOptions, Temp, sync_dir};
use crate::fs::{Dir, File, Fs, Rename, SyncSite};
use crate::{Durability, Error, ErrorKind, Outcome, Result};

/// Replaces the content of `path` by `bytes`, or creates it.
///
/// # Durability
/// **On `Ok`** the file has the new content and keeps it after a power cut. **On `Err`** [`Error::outcome`] says:
/// `Unchanged`; `Unknown` if a rename or the last sync failed; `Applied` with `Unsupported`, if the new file is in place but its
/// directory cannot be synced. **If the process dies** or **if power fails** before,
/// the file holds the old content or the new one, never a mix.
///
/// # Cost
/// Two syncs (file, directory) and one rename; with `Buffered` no sync. Blocks.
///
/// # Errors
/// `NotFound` if the directory does not exist; `NoSpace`; `Precondition` if `path` leads to anything but a regular file;
/// `Unsupported` where the target cannot be renamed over (it is a mount point of its own) or the directory
/// refuses to sync; `Io`.
///
/// # Example
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("settings.json");
/// untorn::replace(&path, br#"{"volume":7}"#)?;
/// assert_eq!(std::fs::read(&path)?, br#"{"volume":7}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn replace(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    replace_with(path, bytes, &ReplaceOptions::new())
}

/// As [`replace`], with options.
///
/// # Errors
/// As [`replace`].
pub fn replace_with(path: impl AsRef<Path>, bytes: &[u8], options: &ReplaceOptions) -> Result<()> {
    let mut file = AtomicFile::with(path, options)?;
    file.write_whole(bytes)?;
    file.commit()
}

/// Creates `path` with `bytes`; it must not exist in any form.
///
/// # Durability
/// **On `Ok`** the file is there, whole, and stays after a power cut. **On `Err`** with `AlreadyExists`, nothing changed; else
/// see [`Error::outcome`]. **If the process dies** or **if power fails** before, there is no file or the whole one.
///
/// # Cost
/// Two syncs (file, directory) and one rename, which is a link and an unlink where a rename cannot be told not to replace.
/// With `Buffered` no sync. Blocks.
///
/// # Errors
/// `AlreadyExists` if there is anything by that name, a dangling symlink too; else as [`replace`].
///
/// # Example
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("id");
/// untorn::create_new(&path, b"7f3a")?;
/// let again = untorn::create_new(&path, b"0000").unwrap_err();
/// assert_eq!(again.kind(), untorn::ErrorKind::AlreadyExists);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn create_new(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    create_new_with(path, bytes, &ReplaceOptions::new())
}

/// As [`create_new`], with options; `symlink` and `owner` have no effect.
///
/// # Errors
/// As [`create_new`].
pub fn create_new_with(
    path: impl AsRef<Path>,
    bytes: &[u8],
    options: &ReplaceOptions,
) -> Result<()> {
    let path = path.as_ref();
    let mut file = AtomicFile::new_name(path, options)?;
    file.write_all(bytes).map_err(|e| Error::system("write", path, e))?;
    file.commit()
}

/// The two syncs of a replace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sites {
    pub(crate) file: SyncSite,
    pub(crate) dir: SyncSite,
}

/// Replaces a small file of a store's own directory: mode 0600, no symlink, no attributes to keep.
pub(crate) fn replace_in(
    fs: &dyn Fs,
    dir: &Arc<dyn Dir>,
    name: &OsStr,
    bytes: &[u8],
    durability: Durability,
    sites: Sites,
) -> Result<()> {
    let temp = Temp::create(fs, dir, name, 0o600)?;
    temp.file().write_at(bytes, 0).map_err(|e| Error::system("write", temp.file().path(), e))?;
    publish(
        temp,
        &Place { dir: Arc::clone(dir), name: name.to_os_string() },
        Rename::Replace,
        durability,
        sites,
    )?;
    Ok(())
}

/// Gives a finished temporary its name. This is the commit that everything in this crate goes through.
pub(crate) fn publish(
    temp: Temp,
    to: &Place,
    mode: Rename,
    durability: Durability,
    sites: Sites,
) -> Result<Arc<dyn File>> {
    publish_checked(temp, to, mode, durability, sites, || Ok(()))
}

/// As [`publish`]; what `check` refuses after the sync gets no name.
pub(super) fn publish_checked(
    temp: Temp,
    to: &Place,
    mode: Rename,
    durability: Durability,
    sites: Sites,
    check: impl FnOnce() -> Result<()>,
) -> Result<Arc<dyn File>> {
    if durability == Durability::Synced {
        temp.sync(sites.file)?;
    }
    check()?;
    let file = temp.give_name(&to.name, mode)?;
    if durability == Durability::Synced {
        sync_named(&*to.dir, sites.dir)?;
    }
    Ok(file)
}

/// Syncs the directory in which a file has just got its name (C2).
pub(crate) fn sync_named(dir: &dyn Dir, site: SyncSite) -> Result<()> {
    sync_dir(dir, site).map_err(|e| match e.kind() {
        // The new content is in place, but this directory can never promise that it stays.
        ErrorKind::Unsupported | ErrorKind::InvalidInput => e
            .with_kind(ErrorKind::Unsupported)
            .with_outcome(Outcome::Applied)
            .because("the file is in place, but this file system cannot sync a directory, so it may be lost by a power cut"),
        _ => e,
    })
}
