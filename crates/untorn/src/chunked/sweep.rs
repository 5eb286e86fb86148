//! Takes away the parts in a directory that nobody can go on with.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::format::{Meta, Parsed};
use super::part::{Part, open_part, refuse_foreign};
use crate::commit::Place;
use crate::fs::{Fs, Kind, OsFs};
use crate::{Error, ErrorKind, Result};

/// What a sweep of parts found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartSweep {
    /// Parts that nobody could go on with, or that were old enough; gone now.
    pub removed: Vec<PathBuf>,
    /// Parts that someone can go on with; left alone.
    pub kept: Vec<PathBuf>,
    /// Parts of living owners; left alone.
    pub busy: Vec<PathBuf>,
}

/// Removes the parts in the directory `path` that dead owners left and nobody can go on with: nothing in them is trusted, or the
/// file was committed. One with trusted bytes is removed only if it was begun longer than `older_than` ago. What is not a part of
/// ours is never touched.
///
/// # Durability
/// **On `Ok`** nobody goes on with what was removed, also after a power cut.
///
/// # Cost
/// One sync for each part that is removed.
///
/// # Errors
/// `NotFound`, `ReadOnly` and the system's; what was removed by then stays removed.
pub fn sweep_parts(path: impl AsRef<Path>, older_than: Option<Duration>) -> Result<PartSweep> {
    let fs: Arc<dyn Fs> = Arc::new(OsFs::new());
    sweep_parts_with(path, older_than, &fs)
}

/// As [`sweep_parts`], on a file system.
///
/// # Errors
/// As [`sweep_parts`].
pub fn sweep_parts_with(
    path: impl AsRef<Path>,
    older_than: Option<Duration>,
    fs: &Arc<dyn Fs>,
) -> Result<PartSweep> {
    let path = path.as_ref();
    let fail = |e| Error::system("sweep", path, e);
    let dir = fs.open_dir(path).map_err(fail)?;
    let mut report = PartSweep::default();
    for name in dir.list().map_err(fail)? {
        if !name.as_bytes().ends_with(b".part") {
            continue;
        }
        let at = Place { dir: Arc::clone(&dir), name };
        let is_dir = dir.stat(&at.name).is_ok_and(|stat| stat.kind == Kind::Dir);
        if !is_dir || open_part(&at).and_then(|part| refuse_foreign(&at, &*part)).is_err() {
            continue;
        }
        let path = at.path();
        match Part::claim_at(fs, &at) {
            Ok(Some(part)) if goes(&part, older_than)? => {
                part.remove()?;
                report.removed.push(path);
            }
            Ok(Some(_)) => report.kept.push(path),
            Ok(None) => {}
            Err(e) if e.kind() == ErrorKind::Locked => report.busy.push(path),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(report)
}

/// Whether nobody can go on with it, or nobody has for so long.
fn goes(part: &Part, older_than: Option<Duration>) -> Result<bool> {
    let (Some(Parsed::Valid(meta)), Some(data)) = (part.meta()?, part.data()?) else {
        return Ok(true);
    };
    let name = std::ffi::OsString::from_vec(meta.name.clone());
    let fail = |e| Error::system("look at", data.path(), e);
    let stat = data.stat().map_err(fail)?;
    let finished = part.at.dir.stat(&name).is_ok_and(|target| target.same_inode(&stat));
    Ok(finished || older_than.is_some_and(|limit| age(part, &meta) > limit))
}

fn age(part: &Part, meta: &Meta) -> Duration {
    part.fs.now().saturating_sub(Duration::from_millis(meta.created_ms))
}
