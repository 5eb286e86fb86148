//! Temporary files beside their target: unique per attempt, locked while their maker lives (C4), unlinked on drop.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use super::Place;
use crate::fs::{Dir, File, Fs, How, Lock, Rename, SyncSite, SyncWhat};
use crate::{Error, ErrorKind, Outcome, Result};

const SUFFIX: &[u8] = b".untorn-tmp";
/// What the name of a staged directory has more than that of the file that owns it.
pub(super) const DIR_SUFFIX: &str = ".d";
const RANDOM_HEX: usize = 16;
/// The longest name that Linux and macOS file systems take, in bytes.
const NAME_MAX: usize = 255;

/// A file that has no name that matters yet.
#[derive(Debug)]
pub(crate) struct Temp {
    dir: Arc<dyn Dir>,
    name: OsString,
    file: Arc<dyn File>,
    named: bool,
}

impl Temp {
    /// A new empty file in `dir`, to become `target`: `.<target>.<16 hex digits>.untorn-tmp`.
    pub(crate) fn create(
        fs: &dyn Fs,
        dir: &Arc<dyn Dir>,
        target: &OsStr,
        mode: u32,
    ) -> Result<Self> {
        const TRIES: u32 = 16;
        let fail = |e| Error::system("create temporary for", &dir.path().join(target), e);
        for _ in 0..TRIES {
            let mut random = [0; RANDOM_HEX / 2];
            fs.entropy(&mut random).map_err(fail)?;
            let name = name_for(target, u64::from_le_bytes(random));
            let file = match dir.open(&name, How::CreateNew(mode)) {
                Ok(file) => file,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(fail(e)),
            };
            let temp = Self { dir: Arc::clone(dir), name, file, named: true };
            // A sweep may have come between creation and lock; then the name is gone or its lock is held (C5).
            if locked_and_named(&*temp.file, &**dir, &temp.name).map_err(fail)? {
                return Ok(temp);
            }
        }
        Err(Error::new(
            ErrorKind::Io,
            "create temporary for",
            &dir.path().join(target),
            "every temporary was taken away at once; does something else clean this directory?",
        ))
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The same bytes through a handle of its own, which knows nothing of how they were written.
    pub(crate) fn reopen(&self) -> Result<Arc<dyn File>> {
        let file = self.dir.open(&self.name, How::Read);
        file.map_err(|e| Error::system("read back", self.file.path(), e))
    }

    /// Syncs content and attributes. After an error the file must not get a name (C3): drop it.
    pub(crate) fn sync(&self, site: SyncSite) -> Result<()> {
        self.file.sync(SyncWhat::All, site).map_err(|e| Error::system("sync", self.file.path(), e))
    }

    /// Gives the file its name in the same directory. The caller has synced it and syncs the directory.
    pub(crate) fn give_name(mut self, to: &OsStr, mode: Rename) -> Result<Arc<dyn File>> {
        let to = Place { dir: Arc::clone(&self.dir), name: to.to_os_string() };
        // Where there is no such rename, drop unlinks the temporary's name.
        self.named = rename_to(&*self.dir, &self.name, &*self.file, &to, mode)? == Moved::Linked;
        Ok(Arc::clone(&self.file))
    }

    /// Unlinks the file, and says if that fails.
    pub(crate) fn remove(mut self) -> Result<()> {
        self.named = false;
        super::unlink(&*self.dir, &self.name)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.named {
            // If it fails, or the process dies before it, a sweep takes the file. No sync: it may come back and is swept.
            drop(self.dir.unlink(&self.name));
        }
    }
}

/// How a file got its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Its old name is gone.
    Renamed,
    /// It has both names; the caller unlinks the old one. A crash before that leaves both.
    Linked,
}

/// Gives `file`, which is `name` in `dir`, the name `to`, also in another directory. The caller has synced the file (C1) and
/// syncs the directory (C2). The error's outcome tells whether the name is there.
pub(crate) fn rename_to(
    dir: &dyn Dir,
    name: &OsStr,
    file: &dyn File,
    to: &Place,
    mode: Rename,
) -> Result<Moved> {
    let fail = |e| Error::system("rename into place", &to.path(), e);
    match dir.rename(name, &*to.dir, &to.name, mode) {
        Ok(()) => Ok(Moved::Renamed),
        Err(e) if mode == Rename::NoReplace && cannot(&e) => {
            dir.link(name, &*to.dir, &to.name).map_err(|e| {
                let known = e.kind() == std::io::ErrorKind::AlreadyExists;
                let outcome = if known { Outcome::Unchanged } else { Outcome::Unknown };
                fail(e).with_outcome(outcome)
            })?;
            Ok(Moved::Linked)
        }
        // An error may come after the effect, or after half of it: only the names tell that nothing happened.
        Err(e) => {
            let leads = |dir: &dyn Dir, name: &OsStr| {
                Ok::<_, std::io::Error>(dir.stat(name)?.same_inode(&file.stat()?))
            };
            let here = leads(dir, name).unwrap_or(false);
            let there = leads(&*to.dir, &to.name).unwrap_or(false);
            let outcome = if here && !there { Outcome::Unchanged } else { Outcome::Unknown };
            Err(fail(e).with_outcome(outcome))
        }
    }
}

/// Whether the system says that it does not have the call.
pub(crate) fn cannot(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported)
}

/// Takes the exclusive lock of an open file, and says whether `name` still leads to it (C5).
pub(crate) fn locked_and_named(
    file: &dyn File,
    dir: &dyn Dir,
    name: &OsStr,
) -> std::io::Result<bool> {
    if !file.try_lock(Lock::Exclusive)? {
        return Ok(false);
    }
    match dir.stat(name) {
        Ok(stat) => Ok(stat.same_inode(&file.stat()?)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn name_for(target: &OsStr, random: u64) -> OsString {
    let mut name = Vec::with_capacity(NAME_MAX);
    name.push(b'.');
    name.extend_from_slice(shown(target));
    name.extend_from_slice(format!(".{random:016x}").as_bytes());
    name.extend_from_slice(SUFFIX);
    OsString::from_vec(name)
}

/// So much of a target's name as a temporary's name has room for.
fn shown(target: &OsStr) -> &[u8] {
    const KEEP: usize = NAME_MAX - 2 - RANDOM_HEX - SUFFIX.len() - DIR_SUFFIX.len();
    let target = target.as_bytes();
    target.get(..KEEP).unwrap_or(target)
}

/// Whether a name is one that [`Temp`] gives.
pub(crate) fn is_temp_name(name: &OsStr) -> bool {
    target_of(name.as_bytes()).is_some()
}

/// The name of the file that owns the staged directory `name`, if that is the name of one.
pub(super) fn owner_of_dir(name: &OsStr) -> Option<&OsStr> {
    let owner = OsStr::from_bytes(name.as_bytes().strip_suffix(DIR_SUFFIX.as_bytes())?);
    is_temp_name(owner).then_some(owner)
}

/// Whether `name` is a temporary, or a staged directory, that was to become `target`.
pub(super) fn is_temp_of(name: &OsStr, target: &OsStr) -> bool {
    target_of(owner_of_dir(name).unwrap_or(name).as_bytes()) == Some(shown(target))
}

fn target_of(name: &[u8]) -> Option<&[u8]> {
    let rest = name.strip_suffix(SUFFIX)?;
    let (target, random) = rest.split_at(rest.len().checked_sub(RANDOM_HEX.saturating_add(1))?);
    let random = random.strip_prefix(b".")?;
    let hex = random.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    target.strip_prefix(b".").filter(|_| hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_what_a_file_system_takes() {
        for len in [1, 200, 224, 225, 255] {
            let target = OsString::from_vec(vec![b'x'; len]);
            let name = name_for(&target, 0xabc);
            assert!(name.len() + DIR_SUFFIX.len() <= NAME_MAX, "{len}");
            assert!(is_temp_of(&name, &target) && !is_temp_of(&name, OsStr::new("y")), "{len}");
            assert!(is_temp_name(&name), "{name:?}");
        }
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in
            ["", "x.tmp", ".x.untorn-tmp", ".x.123.untorn-tmp", "x.0123456789abcdef.untorn-tmp"]
        {
            assert!(!is_temp_name(OsStr::new(name)), "{name}");
        }
        assert!(!is_temp_name(OsStr::new(".x.0123456789abcdeg.untorn-tmp")));
        assert!(is_temp_name(OsStr::new(".x.0123456789abcdef.untorn-tmp")));
        let owner = owner_of_dir(OsStr::new(".x.0123456789abcdef.untorn-tmp.d"));
        assert_eq!(owner, Some(OsStr::new(".x.0123456789abcdef.untorn-tmp")));
        for name in [".x.0123456789abcdef.untorn-tmp", "x.d", ".d", ".x.untorn-tmp.d"] {
            assert_eq!(owner_of_dir(OsStr::new(name)), None, "{name}");
        }
    }
}
