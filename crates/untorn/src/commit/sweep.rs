//! Takes away what dead writers left: temporaries whose lock can be had, and staged directories without an owner (C4).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::temp::{is_temp_name, is_temp_of, locked_and_named, owner_of_dir};
use super::temp_dir::remove_tree;
use crate::fs::{Dir, Fs, How, Kind, OsFs};
use crate::{Error, Result};

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// Temporaries and staged directories of dead writers; gone now.
    pub removed: Vec<PathBuf>,
    /// Those of living writers; left alone.
    pub busy: Vec<PathBuf>,
}

/// Removes the temporaries and staged directories that dead writers left in the directory `path`. Files of others are
/// never touched.
///
/// # Durability
/// None is needed: after a power cut a removed temporary may be back, and the next sweep takes it.
///
/// # Cost
/// One listing of the directory; no sync.
///
/// # Errors
/// `NotFound`, `ReadOnly` and the system's; what was removed by then stays removed.
///
/// # Example
/// ```
/// # let dir = tempfile::tempdir()?;
/// let report = untorn::sweep(dir.path())?;
/// assert!(report.removed.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sweep(path: impl AsRef<Path>) -> Result<SweepReport> {
    sweep_with(path, Arc::new(OsFs::new()))
}

/// As [`sweep`], on a file system.
///
/// # Errors
/// As [`sweep`].
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn sweep_with(path: impl AsRef<Path>, fs: Arc<dyn Fs>) -> Result<SweepReport> {
    let path = path.as_ref();
    let dir = fs.open_dir(path).map_err(|e| Error::system("sweep", path, e))?;
    sweep_dir(&*dir)
}

/// Sweeps a store's directory and its quarantine. The caller holds the store's lock.
pub(crate) fn sweep_store(dir: &dyn Dir) -> Result<SweepReport> {
    let report = sweep_dir(dir)?;
    if let Ok(quarantine) = dir.open_dir(super::quarantine::DIR.as_ref()) {
        sweep_dir(&*quarantine)?;
    }
    Ok(report)
}

/// Takes away what dead writers of `target` left beside it.
pub(super) fn sweep_for(dir: &dyn Dir, target: &OsStr) -> Result<SweepReport> {
    sweep_those(dir, |name| is_temp_of(name, target))
}

pub(crate) fn sweep_dir(dir: &dyn Dir) -> Result<SweepReport> {
    sweep_those(dir, |_| true)
}

fn sweep_those(dir: &dyn Dir, those: impl Fn(&OsStr) -> bool) -> Result<SweepReport> {
    let mut report = SweepReport::default();
    let mut names = dir.list().map_err(|e| Error::system("sweep", dir.path(), e))?;
    names.retain(|name| those(name));
    for name in names.iter().filter(|name| is_temp_name(name)) {
        let path = dir.path().join(name);
        let gone = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
        let taken = dir.stat(name).and_then(|stat| {
            if stat.kind != Kind::File {
                return Ok(None);
            }
            let file = dir.open(name, How::Read)?;
            // The name is unique per attempt: who has the lock while the name still leads here is alone with it.
            Ok(Some(locked_and_named(&*file, dir, name)?))
        });
        match taken {
            Ok(Some(true)) => {
                super::unlink(dir, name)?;
                report.removed.push(path);
            }
            Ok(Some(false)) => report.busy.push(path),
            Ok(None) => {}
            Err(e) if gone(&e) => {}
            Err(e) => return Err(Error::system("sweep", &path, e)),
        }
    }
    for name in &names {
        // Its owner's file was made before it and goes after it: where that is gone, the owner is (C4).
        let Some(owner) = owner_of_dir(name) else { continue };
        let path = dir.path().join(name);
        let fail = |e| Error::system("sweep", &path, e);
        match dir.stat(owner) {
            Ok(_) => report.busy.push(path),
            Err(_) if dir.stat(name).is_ok_and(|stat| stat.kind != Kind::Dir) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if remove_tree(dir, name).map_err(fail)? {
                    report.removed.push(path);
                }
            }
            Err(e) => return Err(fail(e)),
        }
    }
    Ok(report)
}
