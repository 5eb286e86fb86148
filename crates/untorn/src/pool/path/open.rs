//! Opens a path: claims it, reads its manifest, takes away segments that hold nothing.
//!
//! # Invariants
//! - O1 Nothing changes in a directory that is not ours, or whose manifest is gone though there are objects.
//! - O2 Only segments of this very path, by their headers, are removed, and only if the manifest was read to its end.
//! - O3 What an earlier life left in a segment behind the listed objects is not written to: appends go to a new one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use uuid::Uuid;

use super::core::{Core, OBJECTS, Owner, SEGMENTS, Seg, State, Writer, open_dir, prefix};
use super::options::{DirPathOptions, OpenReport};
use super::table::{Misfit, Place, Table};
use crate::codec::bytes::common;
use crate::commit::{self, Claim, LOCK, Poison};
use crate::fs::{Dir, How, Kind};
use crate::log::{self, LogOptions, Piece};
use crate::pool::frame::{FILE_HEADER, FileHeader, SALT_AT};
use crate::pool::segment::{segment_name, segment_number};
use crate::{Error, ErrorKind, OnDamage, Result};

/// The log of a path.
pub(super) const MANIFEST: &str = "manifest";
const QUARANTINE: &str = "quarantine";
const RECORD_MAX: usize = 1 << 30;

pub(super) fn log_options(options: &DirPathOptions) -> LogOptions {
    let on_damage = match options.on_damage {
        OnDamage::Salvage => OnDamage::Truncate,
        other => other,
    };
    LogOptions::new()
        .owner(*b"POOL")
        .segment_bytes(1 << 20)
        .max_record(RECORD_MAX)
        .max_pending(RECORD_MAX)
        .on_damage(on_damage)
        .fs(Arc::clone(&options.fs))
}

/// Looks at a directory and says whether it is a path already; `NotOurs` if it is something else (O1).
pub(super) fn look(dir: &dyn Dir) -> Result<Option<log::Peek>> {
    let fail = |e| Error::system("open path", dir.path(), e);
    let names = dir.list().map_err(fail)?;
    let manifest = match dir.open_dir(OsStr::new(MANIFEST)) {
        Ok(manifest) => log::peek(&*manifest)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::system("open", &dir.path().join(MANIFEST), e)),
    };
    if manifest.is_some() {
        return Ok(manifest);
    }
    if !names.iter().all(|name| is_ours(name)) {
        let what = "the directory has other files, and no objects of a pool; name one that is empty or missing";
        return Err(Error::new(ErrorKind::NotOurs, "open path", dir.path(), what));
    }
    if names.iter().any(|name| name == SEGMENTS || name == OBJECTS) {
        let what = "there are objects and no manifest, which is made first and never removed; restore it from a copy";
        return Err(Error::new(ErrorKind::Damaged, "open path", &dir.path().join(MANIFEST), what));
    }
    Ok(None)
}

fn is_ours(name: &OsStr) -> bool {
    [LOCK, MANIFEST, SEGMENTS, OBJECTS, QUARANTINE].iter().any(|known| name == *known)
        || commit::is_temp_name(name)
}

/// A record of the manifest, put into the table.
pub(super) fn replay(table: &mut Table, piece: Piece<'_>, manifest: &Path) -> Result<()> {
    let done = match piece {
        Piece::Full(bytes) => table.replay(bytes, true),
        Piece::Change(bytes) => table.replay(bytes, false),
    };
    done.map_err(|misfit| match misfit {
        Misfit::Newer => {
            let what = "a record was written by a later version; update this program";
            Error::new(ErrorKind::NewerFormat, "open path", manifest, what)
        }
        Misfit::Bad(why) => {
            let what = format!("a record does not go with those before it: {why}");
            Error::new(ErrorKind::Damaged, "open path", manifest, what)
        }
    })
}

impl Core {
    /// See the module.
    pub(super) fn open(path: &Path, options: &DirPathOptions) -> Result<(Arc<Self>, OpenReport)> {
        options.check(path)?;
        let fs = &*options.fs;
        // The manifest's log makes the whole way durable before there is a manifest.
        let (dir, _) = commit::open_or_make_dir(fs, path)?;
        look(&*dir)?;
        let claim = Claim::take(fs, &*dir)?;
        let created = look(&*dir)?.is_none();
        let mut table = Table::default();
        let manifest_path = dir.path().join(MANIFEST);
        let (manifest, log_report) =
            log::State::open(&manifest_path, log_options(options), |piece| {
                replay(&mut table, piece, &manifest_path)
            })?;
        commit::sweep_store(&*dir)?;
        let store_id = manifest.log().store_id();
        let lossy = log_report.healed.as_ref().is_some_and(|healed| healed.lost.is_some());
        let mut report = OpenReport {
            created,
            objects: table.objects.len() as u64,
            sets: table.sets.len() as u64,
            healed: log_report.healed,
            ..OpenReport::default()
        };
        let mut writer = Writer::default();
        let mut segments: BTreeMap<u64, Seg> = BTreeMap::new();
        for (key, entry) in &table.objects {
            match entry.object.place {
                Place::Own => {
                    writer.objects = true;
                    writer.prefixes.insert(prefix(*key));
                }
                Place::Segment { number, .. } => {
                    writer.segments = true;
                    let seg = segments.entry(number).or_default();
                    seg.live = seg.live.saturating_add(entry.object.framed());
                }
            }
        }
        let names = dir.list().map_err(|e| Error::system("open path", path, e))?;
        let foreign = names.iter().filter(|name| !is_ours(name));
        report.foreign = foreign.map(|name| dir.path().join(name)).collect();
        let seg_slot = OnceLock::new();
        let mut next_segment = segments.keys().last().map_or(1, |last| last.saturating_add(1));
        match open_dir(&*dir, SEGMENTS) {
            Ok(seg_dir) => {
                // After a loss the segments are what could make up for it (O2).
                let mut look = Look { dir: &*seg_dir, store_id, keep: lossy, report: &mut report };
                next_segment = look.over(&mut segments)?.max(next_segment);
                seg_slot.get_or_init(|| seg_dir);
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let absent = segments.iter().filter(|(_, seg)| seg.len == 0);
        let seg_path = dir.path().join(SEGMENTS);
        report.missing = absent.map(|(number, _)| seg_path.join(segment_name(*number))).collect();
        let state = State { table, segments, next_segment, ..State::default() };
        let core = Self {
            path: path.to_path_buf(),
            dir,
            options: options.clone(),
            store_id,
            poison: Poison::default(),
            read_only: false,
            owner: Mutex::new(Some(Owner { manifest, _claim: claim })),
            writer: Mutex::new(writer),
            state: Mutex::new(state),
            segments: seg_slot,
            objects: OnceLock::new(),
        };
        Ok((Arc::new(core), report))
    }
}

/// Goes over the segments that are there.
struct Look<'a> {
    dir: &'a dyn Dir,
    store_id: [u8; 16],
    keep: bool,
    report: &'a mut OpenReport,
}

impl Look<'_> {
    /// Notes the lengths of listed segments, removes others of ours; returns the first number that none ever had.
    fn over(&mut self, segments: &mut BTreeMap<u64, Seg>) -> Result<u64> {
        let names = self.dir.list().map_err(|e| Error::system("open path", self.dir.path(), e))?;
        let mut next = 1;
        for name in names {
            let path = self.dir.path().join(&name);
            let Some(number) = segment_number(&name) else {
                self.report.foreign.push(path);
                continue;
            };
            next = number.saturating_add(1).max(next);
            if let Some(seg) = segments.get_mut(&number) {
                let stat = self.dir.stat(&name).map_err(|e| Error::system("look at", &path, e))?;
                seg.len = stat.len;
            } else if !is_remnant(self.dir, &name, self.store_id)? {
                self.report.foreign.push(path);
            } else if !self.keep {
                // Not synced: what comes back is removed by the next open.
                commit::unlink(self.dir, &name)?;
                self.report.removed.push(path);
            }
        }
        Ok(next)
    }
}

/// Whether an unlisted file by the name of a segment is one of this path: by its header, or by as much of that as a crash left.
pub(super) fn is_remnant(dir: &dyn Dir, name: &OsStr, store_id: [u8; 16]) -> Result<bool> {
    let Some(number) = segment_number(name) else { return Ok(false) };
    begins(dir, name, &FileHeader::segment(store_id, number, 1))
}

/// As [`is_remnant`], of the own file of an object.
pub(super) fn is_own_remnant(dir: &dyn Dir, name: &OsStr, key: Uuid) -> Result<bool> {
    begins(dir, name, &FileHeader::own(key))
}

fn begins(dir: &dyn Dir, name: &OsStr, header: &FileHeader) -> Result<bool> {
    let path: PathBuf = dir.path().join(name);
    let fail = |e| Error::system("look at", &path, e);
    if dir.stat(name).map_err(fail)?.kind != Kind::File {
        return Ok(false);
    }
    let file = dir.open(name, How::Read).map_err(fail)?;
    let mut head = [0; FILE_HEADER];
    file.read_at(&mut head, 0).map_err(fail)?;
    let same = common(&head, &header.encode());
    Ok(same >= SALT_AT || head.get(same..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0)))
}
