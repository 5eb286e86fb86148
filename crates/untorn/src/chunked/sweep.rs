//! Takes away the parts in a directory that nobody can go on with.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::format::Parsed;
use super::part::{DATA, Part, open_part, read_meta, refuse_foreign};
use crate::commit::{Place, holder_in};
use crate::fs::{Dir, Fs, Kind, OsFs};
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
/// file was committed. One with trusted bytes is removed only if its last owner
/// claimed it longer than `older_than` ago. What is not a part of
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
        let Some(part) = is_dir.then(|| open_part(&at)).and_then(Result::ok) else { continue };
        if refuse_foreign(&at, &*part).is_err() {
            continue;
        }
        let path = at.path();
        let holder = holder_in(&*part)?;
        let since =
            holder.as_ref().map_or(Duration::ZERO, |holder| Duration::from_secs(holder.since));
        let old = older_than.is_some_and(|limit| fs.now().saturating_sub(since) >= limit);
        // What stays is not claimed: a claim would make it young again.
        if !old && resumes(&at, &*part)? {
            let busy = holder.is_some_and(|holder| holder.alive == Some(true));
            if busy { &mut report.busy } else { &mut report.kept }.push(path);
            continue;
        }
        match Part::claim_at(fs, &at) {
            Ok(Some(part)) if old || !resumes(&at, &*part.dir)? => {
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

/// Whether somebody can go on with it.
fn resumes(at: &Place, part: &dyn Dir) -> Result<bool> {
    let Some(Parsed::Valid(meta)) = read_meta(part)? else { return Ok(false) };
    let Ok(data) = part.stat(OsStr::new(DATA)) else { return Ok(false) };
    let target = at.dir.stat(OsStr::from_bytes(&meta.name));
    Ok(!target.is_ok_and(|target| target.same_inode(&data)))
}
