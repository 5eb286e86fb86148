//! Finds the store that a path means: a data file, a home `NAME.untorn`, the name of a group, one of its files, or the directory that
//! a group alone is in.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use untorn::ErrorKind;
use untorn::append::{Identity, MemberIdentity, identify};

use crate::exit::{Failure, Result};

const SUFFIX: &str = ".untorn";

/// A store that is there.
#[derive(Debug)]
pub(in crate::cmd) struct Store {
    /// As it was asked for.
    pub(super) asked: PathBuf,
    /// What it is opened by: the data file, or the name of a group.
    pub(super) path: PathBuf,
    pub(in crate::cmd) home: PathBuf,
    pub(super) identity: Identity,
    /// Which of a group's files was asked for.
    nth: Option<usize>,
}

impl Store {
    fn at(asked: &Path, path: PathBuf) -> Result<Option<Self>> {
        let Some(home) = home_of(&path) else { return Ok(None) };
        if !home.join("META").exists() {
            return Ok(None);
        }
        let Some(identity) = identify(&path)? else { return Ok(None) };
        let asked = asked.to_path_buf();
        Ok(Some(Self { asked, path, home, identity, nth: None }))
    }

    /// Which of a group's files was asked for by its name.
    pub(super) fn named(&self) -> Option<&MemberIdentity> {
        self.identity.members.get(self.nth?)
    }

    /// Those that were asked for: the named one, or all.
    pub(super) fn members(&self) -> impl Iterator<Item = (usize, &MemberIdentity)> {
        let members = self.identity.members.iter().enumerate();
        members.filter(|(nth, _)| self.nth.is_none_or(|named| named == *nth))
    }

    /// The number of the one file that was asked for.
    pub(super) fn one(&self) -> Result<usize> {
        let mut members = self.members();
        if let (Some((nth, _)), None) = (members.next(), members.next()) {
            return Ok(nth);
        }
        let names: Vec<_> =
            self.members().map(|(_, member)| member.path.display().to_string()).collect();
        let what = format!("it is a group; name one of its files: {}", names.join(", "));
        Err(Failure::new(ErrorKind::Precondition, &self.asked, what))
    }

    pub(super) fn member(&self) -> Result<&MemberIdentity> {
        let nth = self.one()?;
        let missing = || Failure::new(ErrorKind::Damaged, &self.asked, "META names no file");
        self.identity.members.get(nth).ok_or_else(missing)
    }
}

/// The directory beside a file or group, if the path has a name.
pub(super) fn home_of(path: &Path) -> Option<PathBuf> {
    let mut name = path.file_name()?.to_os_string();
    name.push(SUFFIX);
    Some(path.with_file_name(name))
}

/// The store that the path is or belongs to, by its own name.
pub(in crate::cmd) fn find(path: &Path) -> Result<Option<Store>> {
    let stripped = path
        .file_name()
        .and_then(OsStr::to_str)
        .and_then(|name| name.strip_suffix(SUFFIX))
        .filter(|name| !name.is_empty() && path.is_dir())
        .map(|name| path.with_file_name(name));
    for store in stripped.into_iter().chain([path.to_path_buf()]) {
        let Some(home) = home_of(&store) else { continue };
        if let Some(found) = Store::at(path, store.clone())? {
            return Ok(Some(found));
        }
        if let Ok(group) = fs::read(home.join("GROUP")) {
            return of_group(path, &store, group).map(Some);
        }
    }
    Ok(None)
}

/// As `find`; a directory with one group and no other store in it means the group.
pub(in crate::cmd) fn find_within(path: &Path) -> Result<Option<Store>> {
    if let Some(found) = find(path)? {
        return Ok(Some(found));
    }
    let Ok(names) = fs::read_dir(path) else { return Ok(None) };
    let homes = names.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        let store = name.to_str()?.strip_suffix(SUFFIX).filter(|name| !name.is_empty())?;
        path.join(&name).join("META").exists().then(|| path.join(store))
    });
    let homes: Vec<_> = homes.take(2).collect();
    match homes.as_slice() {
        [one] => Ok(Store::at(path, one.clone())?.filter(|store| store.identity.is_group)),
        _ => Ok(None),
    }
}

/// As `find_within`; there must be one.
pub(super) fn must_find(path: &Path) -> Result<Store> {
    if let Some(found) = find_within(path)? {
        return Ok(found);
    }
    let stat = fs::metadata(path).map_err(|e| Failure::io("open", path, e))?;
    let what = if stat.is_file() {
        "it is a plain file; `untorn aof create` makes an append-only file of it"
    } else {
        "it is no append-only file; `untorn inspect` says what it is"
    };
    Err(Failure::new(ErrorKind::NotOurs, path, what))
}

/// The group that a file says it belongs to.
fn of_group(asked: &Path, file: &Path, group: Vec<u8>) -> Result<Store> {
    let group = PathBuf::from(std::ffi::OsString::from_vec(group));
    let beside = file.parent().map(|parent| parent.join(&group));
    for path in beside.into_iter().chain([group.clone()]) {
        let Some(mut store) = Store::at(asked, path)? else { continue };
        let same = |member: &MemberIdentity| member.path.canonicalize().ok();
        let this = file.canonicalize().ok();
        let nth = store.identity.members.iter().position(|member| same(member) == this);
        if let Some(nth) = nth.filter(|_| this.is_some()) {
            store.nth = Some(nth);
            return Ok(store);
        }
    }
    let what = format!("it belongs to the group {}, which is not there", group.display());
    Err(Failure::new(ErrorKind::NotFound, asked, what))
}
