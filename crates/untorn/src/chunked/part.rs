//! The directory `NAME.part` in which a file fills: whose it is, what is in it, and how it goes away.
//!
//! # Invariants
//! - P1 Who holds the lock of `LOCK`, and finds by path the directory and the file that he holds, owns the part. Nobody else
//!   changes a byte in it.
//! - P2 `LOCK` goes last, and only by its holder's hand. Who opened it before it went finds another inode, or none, by its
//!   path, and starts again.
//! - P3 A directory is ours if its `LOCK` says so. Without that (a power cut can take it) it must be ours by the names in it and
//!   by its mode. What is not ours is not changed.
//! - P4 Nothing in a part is trusted without `meta`; so that goes first, and durably before anything takes the place of what it
//!   vouched for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use super::format::{META_MAX, Meta, Parsed};
use crate::codec::checksum::crc32;
use crate::commit::{self, Claim, LOCK, Place};
use crate::fs::{Dir, File, Fs, How, Kind, SyncSite};
use crate::{Durability, Error, ErrorKind, Outcome, Result};

pub(super) const DATA: &str = "data";
pub(super) const META: &str = "meta";
pub(super) const MAP: &str = "map";
pub(super) const TAINT: &str = "taint";
/// How the text of a part's lock begins; the version is behind it.
const SIGNATURE: &str = "untorn-part ";
const VERSION: u32 = 1;
const SUFFIX: &str = ".part";
const NAME_MAX: usize = 255;

/// The part of a target, claimed.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) at: Place,
    pub(super) dir: Arc<dyn Dir>,
    claim: Claim,
    /// Whether this claim made the directory, and nobody else was in it: then nothing is there, and nothing can come back.
    pub(super) made: bool,
}

/// The name of the part of a target: `NAME.part`, or, where that is longer than a name may be, the first bytes of the name and
/// its checksum.
pub(super) fn part_name(target: &OsStr) -> OsString {
    const KEEP: usize = 200;
    let mut name = target.as_bytes().to_vec();
    if name.len().saturating_add(SUFFIX.len()) > NAME_MAX {
        let crc = crc32(&name, 0);
        let continues = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
        let cut = (0..=KEEP).rev().find(|cut| !continues(name.get(*cut))).unwrap_or(KEEP);
        name.truncate(cut);
        name.extend(format!("~{crc:08x}").as_bytes());
    }
    name.extend(SUFFIX.as_bytes());
    OsString::from_vec(name)
}

fn of_table(name: &OsStr) -> bool {
    [LOCK, DATA, META, MAP, TAINT].iter().any(|known| name == *known) || commit::is_temp_name(name)
}

impl Part {
    /// Makes the part of `target` or takes one that nobody owns.
    pub(super) fn claim(fs: &Arc<dyn Fs>, target: &Place) -> Result<Self> {
        const TRIES: u32 = 100;
        let at = Place { dir: Arc::clone(&target.dir), name: part_name(&target.name) };
        let fail = |e| Error::system("claim", &at.path(), e);
        for _ in 0..TRIES {
            let made = match at.dir.make_dir(&at.name, 0o700) {
                Ok(()) => true,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
                Err(e) => return Err(fail(e)),
            };
            match Self::take(fs, &at, made) {
                Ok(Some(part)) => return Ok(part),
                // Its owner took it away under our hands (P2).
                Ok(None) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => {
                    if made {
                        // Nothing is in it but perhaps a lock that nobody holds; whoever came since keeps it.
                        drop(commit::unlink_dir(&*at.dir, &at.name));
                    }
                    return Err(e);
                }
            }
        }
        let what =
            "it comes and goes faster than it can be claimed; does something else clean here?";
        Err(Error::new(ErrorKind::Locked, "claim", &at.path(), what))
    }

    /// Takes the part of this name, if nobody owns it; `None` if it went away meanwhile.
    pub(super) fn claim_at(fs: &Arc<dyn Fs>, at: &Place) -> Result<Option<Self>> {
        Self::take(fs, at, false)
    }

    fn take(fs: &Arc<dyn Fs>, at: &Place, made: bool) -> Result<Option<Self>> {
        let path = at.path();
        let fail = |e| Error::system("claim", &path, e);
        let dir = open_part(at)?;
        if !made {
            refuse_foreign(at, &*dir)?;
        }
        let mut token = [0; 16];
        fs.entropy(&mut token).map_err(fail)?;
        let token = uuid::Uuid::from_bytes(token).simple();
        let head = format!("{SIGNATURE}{VERSION}\ntoken {token}\n");
        let claim = Claim::take_as(&**fs, &*dir, &head).map_err(|e| match e.kind() {
            ErrorKind::Locked => e.during("claim").with_path(&path),
            _ => e,
        })?;
        // P1: by path, for the directory too.
        let by_path = open_part(at)?;
        if !claim.stands(&*by_path).map_err(fail)? {
            return Ok(None);
        }
        if !commit::claim_excludes(&*dir).map_err(fail)? {
            let what = "the locks of this file system exclude nobody, so two owners could not be told apart";
            return Err(Error::new(ErrorKind::Unsupported, "claim", &path, what));
        }
        // Between making it and claiming it another owner may have come and gone.
        let new = made && dir.list().map_err(fail)? == [LOCK];
        if !new {
            refuse_foreign(at, &*dir)?;
            commit::sweep_dir(&*dir)?;
        }
        Ok(Some(Self { fs: Arc::clone(fs), at: at.clone(), dir, claim, made: new }))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.at.path()
    }

    /// Whether it is still ours, also where locks exclude nobody (P1).
    pub(super) fn check_ours(&self) -> Result<()> {
        let fail = |e| Error::system("look at", &self.path(), e);
        let by_path = self.at.dir.open_dir(&self.at.name).map_err(fail)?;
        if self.claim.stands(&*by_path).map_err(fail)? {
            return Ok(());
        }
        let what = "somebody else has claimed the part meanwhile; nothing was published";
        Err(Error::new(ErrorKind::Precondition, "commit", &self.path(), what))
    }

    /// Opens the bytes; `None` if there are none.
    pub(super) fn data(&self) -> Result<Option<Arc<dyn File>>> {
        match self.dir.open(OsStr::new(DATA), How::Write) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::system("open", &self.dir.path().join(DATA), e)),
        }
    }

    pub(super) fn has(&self, name: &str) -> Result<bool> {
        match self.dir.stat(OsStr::new(name)) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::system("look at", &self.dir.path().join(name), e)),
        }
    }

    /// Reads `meta`; `None` if there is none.
    pub(super) fn meta(&self) -> Result<Option<Parsed>> {
        read_meta(&*self.dir)
    }

    /// Says durably what the part is a part of: from here on its map is trusted.
    pub(super) fn set_meta(&self, bytes: &[u8], durability: Durability) -> Result<()> {
        let sites = commit::Sites { file: SyncSite::ChunkMetaFile, dir: SyncSite::ChunkMetaDir };
        commit::replace_in(&*self.fs, &self.dir, OsStr::new(META), bytes, durability, sites)
    }

    /// Makes the part empty but for its lock. What was trusted is durably no more, before anything else can take its place (P4).
    pub(super) fn clear(&self) -> Result<()> {
        // That no `meta` is to be seen does not mean that none comes back: who removed it may not have synced it.
        if self.made && !self.has(META)? {
            return self.remove_rest();
        }
        // An error may come after the effect.
        commit::unlink(&*self.dir, OsStr::new(META))
            .and_then(|()| commit::sync_dir(&*self.dir, SyncSite::ChunkForget))
            .and_then(|()| self.remove_rest())
            .map_err(|e| e.with_outcome(Outcome::Unknown))
    }

    fn remove_rest(&self) -> Result<()> {
        for name in [DATA, TAINT] {
            commit::unlink(&*self.dir, OsStr::new(name))?;
        }
        self.remove_map()?;
        commit::sweep_dir(&*self.dir).map(drop)
    }

    pub(super) fn remove_map(&self) -> Result<()> {
        match commit::remove_tree(&*self.dir, OsStr::new(MAP)) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::system("remove", &self.dir.path().join(MAP), e)),
        }
    }

    /// Takes the part away after its bytes went to the target; what could not be removed, and how many syncs it took.
    ///
    /// `meta` says that there is one; if anything was synced, it must not come back after a power cut beside bytes that came
    /// back too (P4). Without it there is nothing left but the lock.
    pub(super) fn finish(self, meta: bool, durability: Durability) -> (Vec<PathBuf>, u32) {
        let path = self.path();
        let forget = meta && durability == Durability::Synced;
        let gone = || {
            if meta {
                commit::unlink(&*self.dir, OsStr::new(META))?;
            }
            if forget {
                commit::sync_dir(&*self.dir, SyncSite::ChunkForget)?;
            }
            if meta { self.remove_rest() } else { Ok(()) }
        };
        let removed = gone().and_then(|()| self.remove_lock());
        let left = removed.err().map(|e| e.path().map_or(path, PathBuf::from));
        (left.into_iter().collect(), u32::from(forget))
    }

    /// Takes the part away without a sync, as a drop does. What a power cut brings back is as it was, or has no bytes any more; so the map stays
    /// where there is a `meta` that may come back, until somebody claims the part or sweeps it.
    pub(super) fn discard(self) -> Result<()> {
        let had_meta = self.has(META)?;
        commit::unlink(&*self.dir, OsStr::new(META))?;
        if had_meta {
            return commit::unlink(&*self.dir, OsStr::new(DATA));
        }
        self.remove_rest()?;
        self.remove_lock()
    }

    /// Takes the part away for good: what a power cut may bring back of it is trusted by nobody, and swept.
    pub(super) fn remove(self) -> Result<()> {
        let had_meta = self.has(META)?;
        self.clear()?;
        // What was trusted is durably gone already.
        self.remove_lock().map_err(|e| if had_meta { e.with_outcome(Outcome::Applied) } else { e })
    }

    /// Lets go of the part (P2).
    fn remove_lock(self) -> Result<()> {
        commit::unlink(&*self.dir, OsStr::new(LOCK))?;
        let Self { at, claim, .. } = self;
        let removed = commit::unlink_dir(&*at.dir, &at.name);
        drop(claim);
        removed
    }
}

/// Opens the directory of a part, never through a symbolic link.
pub(super) fn open_part(at: &Place) -> Result<Arc<dyn Dir>> {
    at.dir.open_dir(&at.name).map_err(|e| {
        let error = Error::system("open", &at.path(), e);
        match at.dir.stat(&at.name) {
            Ok(stat) if stat.kind != Kind::Dir => not_ours(at),
            _ => error,
        }
    })
}

pub(super) fn read_meta(dir: &dyn Dir) -> Result<Option<Parsed>> {
    let path = dir.path().join(META);
    let fail = |e| Error::system("read", &path, e);
    let file = match dir.open(OsStr::new(META), How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let mut bytes = vec![0; META_MAX.saturating_add(1)];
    let len = file.read_at(&mut bytes, 0).map_err(fail)?;
    bytes.truncate(len);
    Ok(Some(Meta::decode(&bytes)))
}

/// Refuses a directory that is not a part of ours, or one of a later version (P3).
pub(super) fn refuse_foreign(at: &Place, dir: &dyn Dir) -> Result<()> {
    let path = at.path();
    let fail = |e| Error::system("look at", &path, e);
    let newer = |version: &str| {
        let what =
            format!("it is a part of version {version}, and this program knows 1; use a newer one");
        Err(Error::new(ErrorKind::NewerFormat, "open", &path, what))
    };
    if let Some(Parsed::Newer(version)) = read_meta(dir)? {
        return newer(&version.to_string());
    }
    let signed = match dir.open(OsStr::new(LOCK), How::Read) {
        Ok(file) => {
            let mut text = [0; 64];
            let len = file.read_at(&mut text, 0).map_err(fail)?;
            // It is never synced: a power cut can leave anything in it, and a kill the first half of it.
            match version_of(text.get(..len).unwrap_or_default()) {
                Some(version) if version > VERSION => return newer(&version.to_string()),
                version => version.is_some(),
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(fail(e)),
    };
    let names = dir.list().map_err(fail)?;
    let private = || at.dir.stat(&at.name).is_ok_and(|stat| stat.mode & 0o777 == 0o700);
    if names.iter().all(|name| of_table(name)) && (signed || names.is_empty() || private()) {
        return Ok(());
    }
    Err(not_ours(at))
}

/// Which version of this crate signed a lock file; `None` if that is not to be seen.
fn version_of(text: &[u8]) -> Option<u32> {
    let rest = std::str::from_utf8(text.strip_prefix(SIGNATURE.as_bytes())?).ok()?;
    rest.split_once('\n')?.0.parse().ok()
}

fn not_ours(at: &Place) -> Error {
    let what = "it is not a part of this crate; move it away, or choose another target";
    Error::new(ErrorKind::NotOurs, "open", &at.path(), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_names() {
        assert_eq!(part_name(OsStr::new("a.bin")), "a.bin.part");
        for len in [249, 250, 251, 255] {
            let target = "x".repeat(len);
            let name = part_name(OsStr::new(&target));
            assert!(name.len() <= NAME_MAX && name.as_bytes().ends_with(b".part"), "{len}");
            assert_eq!(name.to_str() == Some(&format!("{target}.part")), len <= 250);
        }
        // Two-byte characters: the cut is between two of them.
        let target = "\u{e9}".repeat(127);
        assert!(part_name(OsStr::new(&target)).to_str().is_some());
    }
}
