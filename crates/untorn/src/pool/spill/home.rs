//! The directory of one owner's spill: claimed while he lives, taken away with him, or by the next who opens the root.
//!
//! ```text
//! <root>/spill/<32 hex>/LOCK          begins with our line; taken away last
//! <root>/spill/<32 hex>/<n>.seg       segments
//! <root>/spill/<32 hex>/<32 hex>.obj  objects of their own
//! ```
//!
//! # Invariants
//! - H1 Nothing here is ever synced: it is worth nothing without the process.
//! - H2 What is swept was in a directory of our name, below a lock that we got and whose text is ours, or empty as a power cut
//!   leaves it; and it has a name of ours, and our magic or nothing at all in its header. Everything else stays.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind::{AlreadyExists, NotFound};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::frame::{FILE_HEADER, FileHeader};
use super::super::segment::{own_key, segment_number};
use crate::commit::{Claim, LOCK, open_or_make_dir, unlink, unlink_dir};
use crate::fs::{Dir, Fs, How, Kind, Lock};
use crate::{Error, ErrorKind, Result};

const SPILL: &str = "spill";
/// The first line of a lock file of ours.
const HEAD: &str = "untorn pool spill\n";
/// Scratch is nobody else's to read.
const MODE: u32 = 0o700;

/// What was found of other owners in a root, when a store was opened or by [`sweep_spill`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpillReport {
    /// Dead owners whose directories were taken away, or would be.
    pub swept: u64,
    /// Files of dead owners that were taken away, or would be.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Owners that live.
    pub alive: u64,
    /// What was left where it is: it is not ours, or could not be taken away.
    pub left: Vec<PathBuf>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Home {
    above: Arc<dyn Dir>,
    name: OsString,
    pub(super) dir: Arc<dyn Dir>,
    pub(super) id: [u8; 16],
    /// Dropped last: its lock is what keeps sweeps away.
    _claim: Claim,
}

impl Home {
    /// Sweeps what dead owners left below `root`, and makes a directory of our own.
    pub(super) fn make(fs: &dyn Fs, root: &Path) -> Result<(Self, SpillReport)> {
        const TRIES: u32 = 16;
        let (root, _) = open_or_make_dir(fs, root)?;
        let above = subdir(&*root, OsStr::new(SPILL))?;
        let report = sweep(fs, &*above, true)?;
        for _ in 0..TRIES {
            let mut id = [0; 16];
            fs.entropy(&mut id).map_err(|e| Error::system("make spill", above.path(), e))?;
            let name: OsString = uuid::Uuid::from_bytes(id).simple().to_string().into();
            let dir = subdir(&*above, &name)?;
            match Claim::take_as(fs, &*dir, HEAD) {
                Ok(claim) => return Ok((Self { above, name, dir, id, _claim: claim }, report)),
                // A sweep came between directory and lock; it takes the directory away.
                Err(e) if matches!(e.kind(), ErrorKind::Locked | ErrorKind::NotFound) => {}
                Err(e) => {
                    drop(unlink(&*dir, OsStr::new(LOCK)));
                    drop(unlink_dir(&*above, &name));
                    return Err(e);
                }
            }
        }
        let what = "every directory was taken away at once; does something else clean it?";
        Err(Error::new(ErrorKind::Io, "make spill", above.path(), what))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Whatever fails here is taken by the next sweep.
        let names = self.dir.list().unwrap_or_default();
        for name in names.iter().filter(|name| is_ours(name)) {
            drop(unlink(&*self.dir, name));
        }
        drop(unlink(&*self.dir, OsStr::new(LOCK)));
        drop(unlink_dir(&*self.above, &self.name));
    }
}

fn subdir(above: &dyn Dir, name: &OsStr) -> Result<Arc<dyn Dir>> {
    let path = || above.path().join(name);
    match above.make_dir(name, MODE) {
        Err(e) if e.kind() != AlreadyExists => Err(Error::system("make directory", &path(), e)),
        _ => above.open_dir(name).map_err(|e| Error::system("open directory", &path(), e)),
    }
}

fn is_ours(name: &OsStr) -> bool {
    segment_number(name).is_some() || own_key(name).is_some()
}

fn is_owner(name: &OsStr) -> bool {
    let id = name.to_str().and_then(|name| uuid::Uuid::try_parse(name).ok());
    id.is_some_and(|id| *id.simple().to_string() == *name)
}

/// Finds what dead owners left below the root of a [`DirStore`](crate::pool::DirStore), and with `remove` takes it away, as each
/// store does that is opened there. What is not of ours stays in any case.
///
/// # Durability
/// None is needed: what comes back after a power cut is found again. Without `remove` nothing is changed.
///
/// # Cost
/// One listing, one of each owner's directory, and a look into each file of the dead; no sync.
///
/// # Errors
/// `NotFound` if there is no such root, or no spill in it; `Io`.
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn sweep_spill(root: impl AsRef<Path>, fs: Arc<dyn Fs>, remove: bool) -> Result<SpillReport> {
    let path = root.as_ref().join(SPILL);
    let above = fs.open_dir(&path).map_err(|e| Error::system("sweep", &path, e))?;
    sweep(&*fs, &*above, remove)
}

/// Takes away what dead owners left (H2), or only finds it.
fn sweep(fs: &dyn Fs, above: &dyn Dir, remove: bool) -> Result<SpillReport> {
    let mut report = SpillReport::default();
    let names = above.list().map_err(|e| Error::system("sweep", above.path(), e))?;
    for name in names {
        let swept = if is_owner(&name) {
            sweep_owner(fs, above, &name, remove, &mut report)
        } else {
            Ok(false)
        };
        match swept {
            Ok(true) => {}
            // One that cannot be swept now must not keep a new owner from his work.
            Ok(false) | Err(_) => report.left.push(above.path().join(&name)),
        }
    }
    Ok(report)
}

/// Whether the directory needs no mention: it is gone, or its owner lives.
fn sweep_owner(
    fs: &dyn Fs,
    above: &dyn Dir,
    name: &OsStr,
    remove: bool,
    report: &mut SpillReport,
) -> Result<bool> {
    let fail = |e| Error::system("sweep", &above.path().join(name), e);
    let dir = match above.open_dir(name) {
        Ok(dir) => dir,
        // Its owner took it away meanwhile.
        Err(e) if e.kind() == NotFound => return Ok(true),
        Err(e) => return Err(fail(e)),
    };
    if !says_ours(&*dir).map_err(fail)? && !lost_its_lock(&*dir).map_err(fail)? {
        // It may just be going, after its lock.
        return Ok(above.stat(name).is_err_and(|e| e.kind() == NotFound));
    }
    // Who only looks must not sign the lock file.
    let claim = if remove {
        match Claim::take_as(fs, &*dir, HEAD) {
            Ok(claim) => Some(claim),
            Err(e) if e.kind() == ErrorKind::Locked => None,
            Err(e) => return Err(e),
        }
    } else {
        None
    };
    if claim.is_none() && (remove || is_held(&*dir).map_err(fail)?) {
        report.alive = report.alive.saturating_add(1);
        return Ok(true);
    }
    let mut clean = true;
    for file in dir.list().map_err(fail)? {
        if file == LOCK {
            continue;
        }
        let Some(bytes) = scratch(&*dir, &file).map_err(fail)? else {
            clean = false;
            report.left.push(dir.path().join(&file));
            continue;
        };
        if remove {
            unlink(&*dir, &file)?;
        }
        report.files = report.files.saturating_add(1);
        report.bytes = report.bytes.saturating_add(bytes);
    }
    if clean {
        if remove {
            unlink(&*dir, OsStr::new(LOCK))?;
            unlink_dir(above, name)?;
        }
        report.swept = report.swept.saturating_add(1);
    }
    drop(claim);
    Ok(true)
}

/// Whether the lock file is one of ours; or the beginning of one, or empty, as a crash leaves what was never synced.
fn says_ours(dir: &dyn Dir) -> std::io::Result<bool> {
    let file = match dir.open(OsStr::new(LOCK), How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let mut text = [0; HEAD.len()];
    let got = file.read_at(&mut text, 0)?;
    let text = text.get(..got).unwrap_or_default();
    Ok(HEAD.as_bytes().starts_with(text) || text.iter().all(|byte| *byte == 0))
}

/// Whether an owner has the lock.
fn is_held(dir: &dyn Dir) -> std::io::Result<bool> {
    match dir.open(OsStr::new(LOCK), How::Read) {
        Ok(file) => Ok(!file.try_lock(Lock::Shared)?),
        Err(e) if e.kind() == NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether there is no lock file, and nothing that is not ours: an owner died between the making of the two, or a power cut kept
/// other names than the lock's.
fn lost_its_lock(dir: &dyn Dir) -> std::io::Result<bool> {
    for name in dir.list()? {
        if name == LOCK || scratch(dir, &name)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How long a file is, if it is one of ours by its name and its header.
fn scratch(dir: &dyn Dir, name: &OsStr) -> std::io::Result<Option<u64>> {
    if !is_ours(name) || dir.stat(name)?.kind != Kind::File {
        return Ok(None);
    }
    let file = dir.open(name, How::Read)?;
    let mut header = [0; FILE_HEADER];
    let got = file.read_at(&mut header, 0)?;
    let header = header.get(..got).unwrap_or_default();
    let ours =
        got < FILE_HEADER || FileHeader::has_magic(header) || header.iter().all(|byte| *byte == 0);
    Ok(ours.then_some(file.stat()?.len))
}
