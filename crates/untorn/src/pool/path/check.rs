//! Reads every object of a path and says what does not verify. Changes nothing, and takes no lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::core::{Core, FIRST};
use super::options::DirPathOptions;
use super::table::{Entry, Listed, Place};
use crate::fs::Fs;
use crate::pool::frame::as_read;
use crate::{Error, ErrorKind, OnDamage, Result, commit};

/// How often damage is looked at again while an owner lives: what he moves meanwhile looks like it.
const LOOKS: u32 = 8;

/// What a path holds, and what of it does not verify.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PathReport {
    /// Objects that the manifest lists.
    pub objects: u64,
    /// Their bytes, as they are stored.
    pub bytes: u64,
    /// Named sets.
    pub sets: u64,
    /// Objects with a file of their own.
    pub own_files: u64,
    /// Segments with listed objects.
    pub segments: u64,
    /// Every object that does not verify, and the manifest if it does not.
    pub damage: Vec<PathDamage>,
}

/// A place that does not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathDamage {
    /// The object; `None` if it is the manifest.
    pub key: Option<Uuid>,
    /// The file.
    pub path: PathBuf,
    /// Where in the file it is.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl PathReport {
    /// Whether all of it verifies.
    pub const fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Verifies a path: its manifest, and every object that it lists. `progress` gets the bytes that were read, and how many there are.
///
/// # Durability
/// Nothing is changed, and no lock is taken; also beside a living owner.
///
/// # Cost
/// Reads all of it once; what is damaged several times.
///
/// # Errors
/// `NotFound` and `NotOurs` if it is no path; `NewerFormat`; `Stale` if its owner changes it faster than it can be read; `Io`. Damage is no
/// error: it is in the report.
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn verify_path(
    path: impl AsRef<Path>,
    fs: Arc<dyn Fs>,
    mut progress: impl FnMut(u64, u64),
) -> Result<PathReport> {
    let path = path.as_ref();
    let options = DirPathOptions::new().fs(Arc::clone(&fs));
    let mut report = PathReport::default();
    let core = match Core::read_only(path, &options) {
        Ok((core, _)) => core,
        Err(e) if e.kind() == ErrorKind::Damaged => {
            report.note(&e, path, None);
            // What precedes the damage is checked all the same, where something does.
            match Core::read_only(path, &options.on_damage(OnDamage::Truncate)) {
                Ok((core, _)) => core,
                Err(_) => return Ok(report),
            }
        }
        Err(e) => return Err(e),
    };
    let objects: Vec<(Uuid, Listed)> = {
        let state = core.state();
        report.sets = state.table.sets.len() as u64;
        report.segments = state.segments.len() as u64;
        state.table.objects.iter().map(|(key, entry)| (*key, entry.object)).collect()
    };
    report.objects = objects.len() as u64;
    report.bytes = objects.iter().fold(0, |sum, (_, object)| object.stored.saturating_add(sum));
    check(&core, objects, &mut report, &mut progress)?;
    Ok(report)
}

fn check(
    core: &Core,
    mut objects: Vec<(Uuid, Listed)>,
    report: &mut PathReport,
    progress: &mut impl FnMut(u64, u64),
) -> Result<()> {
    // Files from their beginnings to their ends.
    objects.sort_unstable_by_key(|(key, object)| match object.place {
        Place::Own => (u64::MAX, 0, *key),
        Place::Segment { number, at } => (number, at, *key),
    });
    let (mut done, mut buf, of) = (0_u64, Vec::new(), report.bytes);
    for (key, object) in objects {
        report.own_files = report.own_files.saturating_add(u64::from(object.place == Place::Own));
        let mut looks = 0;
        let mut object = object;
        while let Err(error) = one(core, key, &object, &mut buf) {
            looks = LOOKS.min(looks).saturating_add(1);
            let damaged = matches!(
                error.kind(),
                ErrorKind::Damaged | ErrorKind::NotOurs | ErrorKind::NotFound
            );
            if !damaged {
                return Err(error);
            }
            // Its owner may have moved or deleted it.
            core.refresh()
                .or_else(|e| if e.kind() == ErrorKind::Damaged { Ok(()) } else { Err(e) })?;
            let now = core.state().table.objects.get(&key).map(|entry: &Entry| entry.object);
            let Some(now) = now else { break };
            if now.place == object.place || looks >= LOOKS {
                report.note(&error, &core.path, Some(key));
                break;
            }
            object = now;
        }
        done = done.saturating_add(object.stored);
        progress(done, of);
    }
    Ok(())
}

/// Reads an object, and holds what its frame says against the manifest.
fn one(core: &Core, key: Uuid, object: &Listed, buf: &mut Vec<u8>) -> Result<()> {
    let (file, at) = core.open_place(key, object.place)?;
    let read = file.read(at, object.stored, key, buf)?;
    let crc = crate::codec::checksum::crc32(read.bytes, 0);
    if (as_read(read.meta), crc) == (object.meta, object.crc) {
        return Ok(());
    }
    let what = "its frame is whole, and not the one that the manifest lists";
    let at = if object.place == Place::Own { FIRST } else { at };
    Err(Error::new(ErrorKind::Damaged, "verify", file.path(), what).at(at))
}

impl PathReport {
    fn note(&mut self, error: &Error, path: &Path, key: Option<Uuid>) {
        let what = match error.kind() {
            ErrorKind::NotFound => "its file is missing",
            _ => error.detail(),
        };
        let what = what.strip_prefix("damaged: ").unwrap_or(what);
        // What can be done about it is for who asks to say.
        let what = what.split("; ").next().unwrap_or(what).to_owned();
        let path = error.path().unwrap_or(path).to_path_buf();
        self.damage.push(PathDamage { key, path, offset: error.offset(), what });
    }
}

/// What a [`gc`](super::DirPath::gc) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// Segments and files of objects of this path that nothing lists, stages or has registered; gone now, if that was asked for.
    pub files: Vec<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
    /// What is in `seg` and `obj` and is not of this path; left alone.
    pub foreign: Vec<PathBuf>,
}

impl Core {
    /// Finds the files that nothing lists, and removes them if asked to. The only one that walks through `obj`.
    pub(super) fn gc(&self, remove: bool) -> Result<GcReport> {
        // Neither a commit nor a write must be under way.
        let _owner = self.owner();
        let mut writer = self.writer();
        if remove || !self.read_only {
            self.check("gc")?;
        }
        self.empty_trash(&mut writer);
        let mut report = GcReport::default();
        let found = self.segment_dir();
        if let Some(dir) = unless_missing(found)? {
            for name in listed(&*dir)? {
                let number = crate::pool::segment::segment_number(&name);
                if number.is_some_and(|n| self.state().segments.contains_key(&n)) {
                    continue;
                }
                let ours = super::open::is_remnant(&*dir, &name, self.store_id);
                report.take(&*dir, &name, ours, remove)?;
            }
        }
        let Some(objects) = unless_missing(self.object_dir())? else { return Ok(report) };
        for prefix in 0..=u8::MAX {
            let dir = super::core::open_dir(&*objects, &super::core::prefix_name(prefix));
            let Some(dir) = unless_missing(dir)? else { continue };
            for name in listed(&*dir)? {
                let key = crate::pool::segment::own_key(&name);
                let key = key.filter(|key| super::core::prefix(*key) == prefix);
                let known = |key: &Uuid| {
                    let state = self.state();
                    let entry = state.table.objects.get(key);
                    entry.is_some_and(|entry| entry.object.place == Place::Own)
                };
                if key.as_ref().is_some_and(known) {
                    continue;
                }
                let ours = match key {
                    Some(key) => super::open::is_own_remnant(&*dir, &name, key),
                    None => Ok(false),
                };
                report.take(&*dir, &name, ours, remove)?;
            }
        }
        Ok(report)
    }
}

impl GcReport {
    fn take(
        &mut self,
        dir: &dyn crate::fs::Dir,
        name: &std::ffi::OsStr,
        ours: Result<bool>,
        remove: bool,
    ) -> Result<()> {
        let path = dir.path().join(name);
        // A living owner may have removed it since it was listed.
        let Some(ours) = unless_missing(ours)? else { return Ok(()) };
        if !ours {
            self.foreign.push(path);
            return Ok(());
        }
        let stat = dir.stat(name).map_err(|e| Error::system("look at", &path, e));
        let Some(stat) = unless_missing(stat)? else { return Ok(()) };
        self.bytes = self.bytes.saturating_add(stat.len);
        if remove {
            // Not synced: what comes back is found again.
            commit::unlink(dir, name)?;
        }
        self.files.push(path);
        Ok(())
    }
}

fn unless_missing<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn listed(dir: &dyn crate::fs::Dir) -> Result<Vec<std::ffi::OsString>> {
    dir.list().map_err(|e| Error::system("list", dir.path(), e))
}
