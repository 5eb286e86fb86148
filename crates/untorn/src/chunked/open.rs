//! Claims a part and finds out what of it can be used.
//!
//! # Invariants
//! - O1 What was recorded as trusted under the same identity is kept; everything else in a part is worth nothing, whatever it
//!   shows.
//! - O2 A part whose bytes are the target's, or that has a `meta` and no bytes, is the rest of a finished commit.
//! - O3 Bytes of a life that synced nothing (`buffered`), or whose sync failed (`taint`), count only with their checksum, and are
//!   written anew before anything vouches for them: into a new file, if the old one is tainted.
//! - O4 Two fillings never share a file: one that starts afresh gets a new inode.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::checkpoint::{checksum, encoded, open_map, read_blocks};
use super::format::{CHUNK_SHIFTS, Change, Extent, Meta, Parsed};
use super::inner::{Factory, Home};
use super::options::{ChunkedOptions, IfExists, Resume};
use super::part::{DATA, Part, TAINT};
use super::trust::{Bounds, Trust};
use super::{OpenIntent, Opened, ResourceExt, ResourceStatus};
use crate::commit::{self, Place, Sites, Temp};
use crate::fs::{File, Rename, Stat, SyncSite};
use crate::log::State;
use crate::{Durability, Error, ErrorKind, Outcome, Result};

/// An opened part.
pub(super) struct Ready<R> {
    pub(super) home: Home,
    pub(super) resource: R,
    pub(super) opened: Opened,
    /// What is available.
    pub(super) extents: Vec<Extent>,
    /// Whether that is trusted already.
    pub(super) trusted: bool,
    /// Bytes per checksum: those of the earlier life, if it is gone on with.
    pub(super) chunk: u64,
    pub(super) expected_len: Option<u64>,
}

/// A part and its target, with nothing of the bytes held open.
pub(super) struct Parts {
    pub(super) part: Part,
    pub(super) to: Place,
}

impl Parts {
    pub(super) fn of(home: Home) -> Self {
        let Home { part, to, .. } = home;
        Self { part, to }
    }
}

/// What an earlier life left.
struct Kept {
    meta: Meta,
    map: State,
    data: Arc<dyn File>,
    extents: Vec<Extent>,
    dropped: u64,
    trusted: bool,
}

enum Found {
    Kept(Box<Kept>),
    Nothing(Opened),
}

pub(super) fn check(path: &Path, options: &ChunkedOptions) -> Result<()> {
    let refuse = |what: &'static str| Err(Error::new(ErrorKind::InvalidInput, "open", path, what));
    let chunk = options.chunk_bytes();
    let shift = u8::try_from(chunk.trailing_zeros()).unwrap_or(0);
    if !chunk.is_power_of_two() || !CHUNK_SHIFTS.contains(&shift) {
        return refuse("chunk_size must be a power of two from 4 KiB to 1 GiB");
    }
    if options.max_len > i64::MAX.unsigned_abs() {
        return refuse("max_len is more than a file can have");
    }
    if options.identity.len.is_some_and(|len| len > options.max_len) {
        let what = "the file is longer than max_len allows";
        return Err(Error::new(ErrorKind::TooLarge, "open", path, what));
    }
    Ok(())
}

/// The target, with symbolic links followed once, and what stands there.
fn target(path: &Path, options: &ChunkedOptions) -> Result<Place> {
    let fs = &*options.fs;
    if options.create_dirs
        && let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
    {
        let (dir, made) = commit::open_or_make_dir(fs, parent)?;
        let synced = options.durability == Durability::Synced;
        // An empty one may have been made by a process that died before it synced the way to it.
        let fail = |e| Error::system("open", parent, e);
        if synced && (made || dir.is_empty().map_err(fail)?) {
            commit::sync_way(fs, parent, made)?;
        }
    }
    let (to, old) = Place::resolve(fs, "open", path, options.symlink)?;
    refuse_taken(&to, old.as_ref(), options)?;
    Ok(to)
}

/// Refuses a target that is there, if it is not to be replaced.
fn refuse_taken(to: &Place, old: Option<&Stat>, options: &ChunkedOptions) -> Result<()> {
    if old.is_some() && options.if_exists == IfExists::NoClobber {
        let what = "it exists, and the options say not to replace it";
        return Err(Error::new(ErrorKind::AlreadyExists, "open", &to.path(), what));
    }
    Ok(())
}

pub(super) fn open<R: ResourceExt>(
    path: &Path,
    options: &ChunkedOptions,
    factory: &Factory<R>,
) -> Result<Ready<R>> {
    check(path, options)?;
    let to = target(path, options)?;
    let part = Part::claim(&options.fs, &to)?;
    take_up(part, to, options, factory)
}

/// Claims the part and begins with nothing, whatever is in it.
pub(super) fn anew<R: ResourceExt>(
    path: &Path,
    options: &ChunkedOptions,
    factory: &Factory<R>,
) -> Result<Ready<R>> {
    let (to, _) = Place::resolve(&*options.fs, "open", path, options.symlink)?;
    let part = Part::claim(&options.fs, &to)?;
    part.clear()?;
    fresh(part, to, Opened::Fresh, options, factory)
}

/// Goes on with what is in a claimed part, or starts afresh.
fn take_up<R: ResourceExt>(
    part: Part,
    to: Place,
    options: &ChunkedOptions,
    factory: &Factory<R>,
) -> Result<Ready<R>> {
    // Looked at under the claim: before it, another owner may have committed.
    let old = match to.dir.stat(&to.name) {
        Ok(stat) => Some(stat),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::system("open", &to.path(), e)),
    };
    let found = refuse_taken(&to, old.as_ref(), options)
        .and_then(|()| find(&part, &to, old.as_ref(), options));
    let kept = match found {
        Err(error) => {
            if part.made {
                drop(part.discard()); // what is left of it is swept
            }
            return Err(error);
        }
        Ok(Found::Kept(kept)) => kept,
        Ok(Found::Nothing(opened)) => {
            // What was there is gone, whatever comes of the new beginning.
            let gone = matches!(opened, Opened::Restarted { .. });
            let unknown = |e: Error| if gone { e.with_outcome(Outcome::Unknown) } else { e };
            return fresh(part, to, opened, options, factory).map_err(unknown);
        }
    };
    let resource = factory(&part.dir.path().join(DATA), OpenIntent::Resume)?;
    let ranges: Vec<Range<u64>> = kept.extents.iter().map(Extent::range).collect();
    match resource.restore(&ranges) {
        Ok(()) => return resumed(part, to, *kept, resource, options),
        Err(e) if e.kind() == ErrorKind::Unsupported => {}
        Err(e) => return Err(e),
    }
    drop(kept);
    part.clear()?;
    let why = "the resource cannot take up bytes of an earlier life".to_owned();
    fresh(part, to, Opened::Restarted { why }, options, factory)
        .map_err(|e| e.with_outcome(Outcome::Unknown))
}

fn resumed<R>(
    part: Part,
    to: Place,
    kept: Kept,
    resource: R,
    options: &ChunkedOptions,
) -> Result<Ready<R>> {
    let Kept { meta, map, data, extents, dropped, trusted } = kept;
    let bytes = extents.iter().map(|extent| u64::from(extent.len)).sum();
    let expected_len = options.identity.len.or(meta.identity.len);
    if let Some(len) = expected_len {
        reserve(&*data, len)?;
    }
    let chunk = 1_u64 << meta.chunk_shift;
    let home = Home { to, part, data, map: Some(map), meta: Some(meta) };
    let opened = Opened::Resumed { trusted: bytes, dropped };
    Ok(Ready { home, resource, opened, extents, trusted, chunk, expected_len })
}

/// Begins with nothing, in a part that has nothing but its lock (O4).
pub(super) fn fresh<R: ResourceExt>(
    part: Part,
    to: Place,
    opened: Opened,
    options: &ChunkedOptions,
    factory: &Factory<R>,
) -> Result<Ready<R>> {
    let made = part.made;
    let begun = || {
        let path = part.dir.path().join(DATA);
        let resource = factory(&path, OpenIntent::Fresh)?;
        if resource.status() != ResourceStatus::Active {
            resource.restore(&[])?;
        }
        let Some(data) = part.data()? else {
            let what = "the factory made no file there";
            return Err(Error::new(ErrorKind::Precondition, "open", &path, what));
        };
        if let Some(len) = options.identity.len {
            reserve(&*data, len)?;
        }
        Ok((resource, data))
    };
    match begun() {
        Ok((resource, data)) => {
            let home = Home { to, part, data, map: None, meta: None };
            let (extents, trusted) = (Vec::new(), false);
            let (chunk, expected_len) = (options.chunk_bytes(), options.identity.len);
            Ok(Ready { home, resource, opened, extents, trusted, chunk, expected_len })
        }
        Err(error) => {
            if made {
                drop(part.discard()); // what is left of it is swept
            }
            Err(error)
        }
    }
}

/// Takes the space now, so that a full disk shows before anything is transferred.
fn reserve(data: &dyn File, len: u64) -> Result<()> {
    let fail = |e| Error::system("reserve space for", data.path(), e);
    match data.allocate(0, len) {
        Err(e) if e.kind() == std::io::ErrorKind::Unsupported => {
            if data.stat().map_err(fail)?.len < len {
                data.set_len(len).map_err(fail)?;
            }
            Ok(())
        }
        other => other.map_err(fail),
    }
}

/// What of the part can be used; it is cleared if nothing can.
fn find(part: &Part, to: &Place, old: Option<&Stat>, options: &ChunkedOptions) -> Result<Found> {
    if part.made && options.resume != Resume::Require {
        return Ok(Found::Nothing(Opened::Fresh));
    }
    let data = part.data()?;
    let parsed = part.meta()?;
    let stat =
        |file: &Arc<dyn File>| file.stat().map_err(|e| Error::system("look at", file.path(), e));
    let same = match (&data, old) {
        (Some(data), Some(old)) => stat(data)?.same_inode(old),
        _ => false,
    };
    let finished = same || (parsed.is_some() && data.is_none()); // O2
    let why = match (parsed, data) {
        _ if finished => None,
        (Some(Parsed::Valid(meta)), Some(data)) => match unlike(&meta, to, options)? {
            None => match keep(part, meta, data, options)? {
                Ok(kept) => return Ok(Found::Kept(Box::new(kept))),
                Err(why) => Some(why),
            },
            why => why,
        },
        (Some(Parsed::Bad(why)), _) => Some(format!("its meta is not whole: {why}")),
        _ => None,
    };
    if options.resume == Resume::Require {
        let why = why.unwrap_or_else(|| "there is nothing to go on with".to_owned());
        let what = format!("{why}, and the options require to resume");
        return Err(Error::new(ErrorKind::Precondition, "resume", &part.path(), what));
    }
    part.clear()?;
    Ok(Found::Nothing(why.map_or(Opened::Fresh, |why| Opened::Restarted { why })))
}

/// Why the bytes of this part are not those of the file that is to be filled; `None` if they are.
fn unlike(meta: &Meta, to: &Place, options: &ChunkedOptions) -> Result<Option<String>> {
    if meta.name != to.name.as_bytes() {
        let what = format!(
            "its part is that of another target, \"{}\", whose name begins alike",
            meta.name.escape_ascii()
        );
        return Err(Error::new(ErrorKind::Precondition, "open", &to.path(), what));
    }
    let (new, old) = (&options.identity, &meta.identity);
    let why = match options.resume {
        Resume::Never => "the options say not to resume",
        Resume::IfSame | Resume::Require if new.is_same(old) => return Ok(None),
        Resume::Always if new.agrees(old) => return Ok(None),
        _ if new.agrees(old) => "nothing is known by which it could be known to be the same file",
        _ => "the file has changed since",
    };
    Ok(Some(why.to_owned()))
}

/// Reads the map and says what can be trusted, or why nothing can.
fn keep(
    part: &Part,
    mut meta: Meta,
    data: Arc<dyn File>,
    options: &ChunkedOptions,
) -> Result<Result<Kept, String>> {
    let refuse = options.on_damage == crate::OnDamage::Refuse;
    let path = part.dir.path().join(super::part::MAP);
    let damaged = |why: &str| {
        let what = format!("{why}; choose to keep what its checksums prove, or abandon the part");
        Error::new(ErrorKind::Damaged, "open", &path, what)
    };
    if !part.has(super::part::MAP)? {
        let why = "the list of its trusted ranges is gone";
        return if refuse { Err(damaged(why)) } else { Ok(Err(why.to_owned())) };
    }
    let bounds = Bounds {
        chunk: 1_u64 << meta.chunk_shift,
        end: meta.identity.len.unwrap_or(options.max_len),
    };
    let mut trust = Trust::default();
    let mut wrong = None;
    let opened = open_map(part, options, &mut |piece| {
        trust.take(piece, bounds).map_err(|why| {
            wrong = Some(why);
            damaged(why)
        })
    });
    let (map, report) = match opened {
        Err(_) if wrong.is_some() && !refuse => {
            return Ok(Err(wrong.unwrap_or_default().to_owned()));
        }
        opened => opened?,
    };
    if trust.part_id != Some(meta.part_id) {
        return Ok(Err("its map belongs to another part".to_owned()));
    }
    let tainted = part.has(TAINT)?;
    let cut = report.healed.is_some_and(|healed| healed.lost.is_some());
    let verify = options.verify_on_resume || meta.buffered || tainted || cut;
    let len = data.stat().map_err(|e| Error::system("look at", data.path(), e))?.len;
    let (mut extents, mut lost) = (Vec::new(), Vec::new());
    for extent in trust.into_extents() {
        let holds = extent.end() <= len
            && (!verify || checksum(&*data, extent.start, u64::from(extent.len))? == extent.crc);
        if holds { extents.push(extent) } else { lost.push(extent) }
    }
    let synced = options.durability == Durability::Synced;
    // O3: what the cache shows was proven by its checksum, and is written where no failed sync has been.
    let data = if tainted { copied(part, &*data, &extents)? } else { data };
    let dropped = lost.iter().map(|extent| u64::from(extent.len)).sum();
    if !lost.is_empty() {
        map.change(&Change::Retract(lost).encode())?.wait()?;
    }
    if tainted {
        // Should it come back, the same is done again.
        commit::unlink(&*part.dir, OsStr::new(TAINT))?;
    }
    let trusted = !(meta.buffered && synced);
    if !trusted {
        copy(&*data, &*data, &extents)?; // O3
    }
    if !synced && !meta.buffered {
        // Before anything is recorded that was not synced.
        meta.buffered = true;
        part.set_meta(&encoded(options, &meta)?, Durability::Synced)?;
    }
    Ok(Ok(Kept { meta, map, data, extents, dropped, trusted }))
}

/// A new file with these bytes in the place of one whose sync failed.
fn copied(part: &Part, from: &dyn File, extents: &[Extent]) -> Result<Arc<dyn File>> {
    let temp = Temp::create(&*part.fs, &part.dir, OsStr::new(DATA), 0o666)?;
    copy(from, &**temp.file(), extents)?;
    let sites = Sites { file: SyncSite::ChunkCopyFile, dir: SyncSite::ChunkCopyDir };
    let to = Place { dir: Arc::clone(&part.dir), name: DATA.into() };
    commit::publish(temp, &to, Rename::Replace, Durability::Synced, sites)
}

fn copy(from: &dyn File, to: &dyn File, extents: &[Extent]) -> Result<()> {
    extents.iter().try_for_each(|extent| copy_range(from, to, extent.range()))
}

/// Copies a range of bytes to the same place in another file.
pub(super) fn copy_range(from: &dyn File, to: &dyn File, range: Range<u64>) -> Result<()> {
    let mut at = range.start;
    read_blocks(from, at, range.end.saturating_sub(at), &mut |block| {
        to.write_at(block, at).map_err(|e| Error::system("write", to.path(), e).at(at))?;
        at = at.saturating_add(block.len() as u64);
        Ok(())
    })
}
