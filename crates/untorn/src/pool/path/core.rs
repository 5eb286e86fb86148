//! A path in use: what is known of it in memory, and how objects are read.
//!
//! # Invariants
//! - P1 Locks are taken in this order: `owner`, `writer`, `state`. None but the first two is held over a call to the disk.
//! - P2 A name that the manifest may list after a crash is not unlinked: only what a durable commit let go of is, or what none listed.
//! - P3 What nothing wants is forgotten in the moment in which that becomes so, under `state`; its file goes later.
//! - P4 A name in `seg` is given once. A name in `obj` is given and taken under `writer`.
//! - P5 A segment that somebody writes to is wanted: what he wrote comes into the table when he is done.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use uuid::Uuid;

use super::options::DirPathOptions;
use super::table::{Entry, Listed, Place, Table};
use crate::commit::{self, Claim, Poison};
use crate::fs::{Dir, File, Fs, How};
use crate::log;
use crate::pool::backend::Known;
use crate::pool::batch::Object;
use crate::pool::frame::FILE_HEADER;
use crate::pool::segment::{Segment, own_name, segment_name};
use crate::pool::sets::ObjectInfo;
use crate::{Error, ErrorKind, Result};

/// Directories of a path.
pub(super) const SEGMENTS: &str = "seg";
pub(super) const OBJECTS: &str = "obj";
/// Where the only object of a file begins.
pub(super) const FIRST: u64 = FILE_HEADER as u64;

/// A path in use. Whoever registers objects of it keeps it: reads go on after the path itself was dropped.
#[derive(Debug)]
pub(in crate::pool) struct Core {
    pub(super) path: PathBuf,
    pub(super) dir: Arc<dyn Dir>,
    pub(super) options: DirPathOptions,
    pub(super) store_id: [u8; 16],
    pub(super) poison: Poison,
    /// It is somebody else's, and only looked at.
    pub(super) read_only: bool,
    /// Who commits.
    pub(super) owner: Mutex<Option<Owner>>,
    /// Who writes objects.
    pub(super) writer: Mutex<Writer>,
    pub(super) state: Mutex<State>,
    pub(super) segments: OnceLock<Arc<dyn Dir>>,
    pub(super) objects: OnceLock<Arc<dyn Dir>>,
}

/// What makes it the owner of its directory.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) manifest: log::State,
    /// Given up after the manifest.
    pub(super) _claim: Claim,
}

/// What this life knows of the directories that it gives names in.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) segments: bool,
    pub(super) objects: bool,
    pub(super) prefixes: BTreeSet<u8>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) table: Table,
    /// Keys whose entries want something of the loose set.
    pub(super) staged: BTreeSet<Uuid>,
    pub(super) segments: BTreeMap<u64, Seg>,
    /// The one that is appended to.
    pub(super) current: Option<u64>,
    pub(super) next_segment: u64,
    /// Own files that no sync covers yet.
    pub(super) unsynced: BTreeMap<Uuid, Arc<Segment>>,
    pub(super) names: Names,
    /// Own files that can go.
    pub(super) trash: Vec<Uuid>,
    /// Registrations of all objects.
    pub(super) holds: u64,
    /// The path was dropped.
    pub(super) closed: bool,
}

/// Directories with names that no sync covers yet.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// `seg` or `obj` in the path.
    pub(super) path: bool,
    /// The prefixes in `obj`.
    pub(super) objects: bool,
    pub(super) segments: bool,
    pub(super) prefixes: BTreeSet<u8>,
}

/// A segment, as its path knows it.
#[derive(Debug, Default)]
pub(super) struct Seg {
    /// Opened when it is first needed.
    pub(super) file: Option<Arc<Segment>>,
    /// Bytes of the file.
    pub(super) len: u64,
    /// Bytes of frames that something wants.
    pub(super) live: u64,
    /// Bytes of frames that were written and are not in the table yet (P5).
    pub(super) coming: u64,
    /// It has bytes that no sync covers.
    pub(super) unsynced: bool,
}

impl Seg {
    /// Bytes of frames that nothing wants.
    pub(super) const fn dead(&self) -> u64 {
        self.len.saturating_sub(FIRST).saturating_sub(self.live).saturating_sub(self.coming)
    }

    /// Whether nothing wants it.
    pub(super) const fn is_void(&self) -> bool {
        self.live == 0 && self.coming == 0
    }
}

/// How much a path holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStats {
    /// Objects that the path has, with what is staged.
    pub objects: u64,
    /// How many of them have files of their own.
    pub own_files: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of their frames that something wants.
    pub live_bytes: u64,
    /// And of those that nothing does.
    pub dead_bytes: u64,
}

impl Core {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn owner(&self) -> MutexGuard<'_, Option<Owner>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fs(&self) -> &dyn Fs {
        &*self.options.fs
    }

    /// Whether it can be changed.
    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        self.poison.check(operation, &self.path)?;
        if self.read_only {
            let what = "the path was opened for reading alone";
            return Err(Error::new(ErrorKind::ReadOnly, operation, &self.path, what));
        }
        if self.state().closed {
            let what = "the path was dropped";
            return Err(Error::new(ErrorKind::Closed, operation, &self.path, what));
        }
        Ok(())
    }

    /// Whether a sync failed: then it is of no use but for reading, until it is opened anew.
    pub(in crate::pool) fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Whether the path has the key, with what is staged.
    pub(in crate::pool) fn contains(&self, key: Uuid) -> bool {
        self.state().table.objects.get(&key).is_some_and(Entry::is_there)
    }

    /// Whether the loose set has the key, with what is staged.
    pub(in crate::pool) fn is_loose(&self, key: Uuid) -> bool {
        let state = self.state();
        state.table.objects.get(&key).is_some_and(|entry| entry.want.unwrap_or(entry.loose))
    }

    /// All keys, with what is staged.
    pub(in crate::pool) fn keys(&self) -> Vec<Uuid> {
        let state = self.state();
        let there = state.table.objects.iter().filter(|(_, entry)| entry.is_there());
        there.map(|(key, _)| *key).collect()
    }

    /// All keys that are committed.
    pub(super) fn durable_keys(&self) -> Vec<Uuid> {
        let state = self.state();
        let listed = state.table.objects.iter().filter(|(_, entry)| entry.is_listed());
        listed.map(|(key, _)| *key).collect()
    }

    /// All objects, with what is staged.
    pub(super) fn infos(&self) -> Vec<(Uuid, ObjectInfo)> {
        let state = self.state();
        let there = state.table.objects.iter().filter(|(_, entry)| entry.is_there());
        there
            .map(|(key, entry)| {
                let loose = entry.want.unwrap_or(entry.loose);
                (*key, ObjectInfo { loose, ..info(*key, &entry.object, entry.is_listed()) })
            })
            .collect()
    }

    /// What is known of an object that the path has, or that is registered.
    pub(in crate::pool) fn look(&self, key: Uuid) -> Option<Known> {
        self.listed(key).map(|object| known(&object))
    }

    fn listed(&self, key: Uuid) -> Option<Listed> {
        self.state().table.objects.get(&key).map(|entry| entry.object)
    }

    /// Registers an object: its bytes stay readable until it is released as often, also when the path does not have it any more.
    pub(in crate::pool) fn hold(&self, key: Uuid) -> Result<()> {
        let mut state = self.state();
        if !state.table.objects.get(&key).is_some_and(Entry::is_there) {
            return Err(self.unknown("register", key));
        }
        state.hold(key);
        Ok(())
    }

    /// Takes a registration back. A key that is not registered is no error.
    pub(in crate::pool) fn release(&self, key: Uuid) {
        let last = {
            let mut state = self.state();
            let before = state.holds;
            state.let_go(key);
            state.closed && state.holds == 0 && before > 0
        };
        self.clear_away();
        if last {
            self.give_up();
        }
    }

    /// Gives the directory to others.
    fn give_up(&self) {
        let mut owner = self.owner();
        // Whoever still writes is let finish: he may take names away again.
        let _writer = self.writer();
        drop(owner.take());
    }

    /// The path was dropped: no more changes. The directory is free for others when nothing of it is registered any more.
    pub(super) fn close(&self) {
        let held = {
            let mut state = self.state();
            state.closed = true;
            // What was staged will not be committed; the files of it that nothing holds can go.
            for key in std::mem::take(&mut state.staged) {
                state.want(key, false);
            }
            state.holds > 0
        };
        self.clear_away();
        if !held || self.poison.is_set() {
            self.give_up();
        }
    }

    /// Stages the removal of a key from the loose set. A key that is not there is no error.
    pub(in crate::pool) fn delete(&self, key: Uuid) -> Result<()> {
        self.check("delete")?;
        self.state().want(key, false);
        self.clear_away();
        Ok(())
    }

    pub(super) fn unknown(&self, operation: &'static str, key: Uuid) -> Error {
        let what = format!("the path does not have the object {key}");
        Error::new(ErrorKind::NotFound, operation, &self.path, what)
    }

    /// Reads an object that the path has, or that is registered.
    pub(in crate::pool) fn get<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Object<'b>> {
        let (file, at, object) = self.locate(key)?;
        file.read(at, object.stored, key, buf)
    }

    /// As [`get`](Self::get), without waiting for the disk: `read` says that it would have to. `None` then, and where a file is not open.
    pub(in crate::pool) fn get_with<'b>(
        &self,
        key: Uuid,
        buf: &'b mut Vec<u8>,
        read: impl FnOnce(&dyn File, &mut [u8], u64) -> io::Result<Option<usize>>,
    ) -> Result<Option<Object<'b>>> {
        let (file, at, stored) = {
            let state = self.state();
            let entry = state.table.objects.get(&key);
            let object = entry.ok_or_else(|| self.unknown("load", key))?.object;
            let Place::Segment { number, at } = object.place else { return Ok(None) };
            let seg = state.segments.get(&number).and_then(|seg| seg.file.clone());
            let Some(file) = seg else { return Ok(None) };
            (file, at, object.stored)
        };
        file.read_with(at, stored, key, buf, read)
    }

    /// The file that an object is in, and where.
    pub(super) fn locate(&self, key: Uuid) -> Result<(Arc<Segment>, u64, Listed)> {
        let mut before = None;
        loop {
            let object = self.listed(key).ok_or_else(|| self.unknown("load", key))?;
            match self.open_place(key, object.place) {
                Ok((file, at)) => return Ok((file, at, object)),
                // It may have moved between the look and the open.
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    if self.read_only && before != Some(object.place) {
                        self.refresh()?;
                    } else if before == Some(object.place) {
                        if self.read_only && !self.contains(key) {
                            return Err(self.unknown("load", key));
                        }
                        let what = format!("the file of object {key} is missing");
                        return Err(e.with_kind(ErrorKind::Damaged).during("load").because(what));
                    }
                    before = Some(object.place);
                }
                Err(e) => return Err(e),
            }
        }
    }

    pub(super) fn open_place(&self, key: Uuid, place: Place) -> Result<(Arc<Segment>, u64)> {
        let open = || match place {
            Place::Own => {
                let dir = self.prefix_dir(prefix(key))?;
                Ok((Arc::new(Segment::open_own(&*dir, key)?), FIRST))
            }
            Place::Segment { number, at } => Ok((self.segment(number)?, at)),
        };
        // The manifest says that it is ours.
        open().map_err(|e: Error| match e.kind() {
            ErrorKind::NotOurs => e.with_kind(ErrorKind::Damaged),
            _ => e,
        })
    }

    /// The file of a segment, which is kept open.
    pub(super) fn segment(&self, number: u64) -> Result<Arc<Segment>> {
        if let Some(file) = self.state().segments.get(&number).and_then(|seg| seg.file.clone()) {
            return Ok(file);
        }
        let dir = self.segment_dir()?;
        let file = Segment::open_segment(&*dir, number, self.store_id, How::Read)?;
        let file = Arc::new(file);
        if let Some(seg) = self.state().segments.get_mut(&number) {
            seg.file.get_or_insert_with(|| Arc::clone(&file));
        }
        Ok(file)
    }

    pub(super) fn segment_dir(&self) -> Result<Arc<dyn Dir>> {
        held(&self.segments, &*self.dir, SEGMENTS)
    }

    pub(super) fn object_dir(&self) -> Result<Arc<dyn Dir>> {
        held(&self.objects, &*self.dir, OBJECTS)
    }

    /// The directory of the own files whose keys begin so.
    pub(super) fn prefix_dir(&self, prefix: u8) -> Result<Arc<dyn Dir>> {
        open_dir(&*self.object_dir()?, &prefix_name(prefix))
    }

    /// Takes away the files of what was forgotten (P2). What fails stays, and is swept or found by a `gc`: no sync, for it may come back.
    pub(super) fn clear_away(&self) {
        let void: Vec<u64> = {
            let mut state = self.state();
            if self.poison.is_set() || self.read_only {
                // The next open may find an older state, and the names of others are not ours.
                return;
            }
            let (mut void, current) = (Vec::new(), state.current);
            state.segments.retain(|number, seg| {
                let goes = seg.is_void() && Some(*number) != current;
                if goes {
                    void.push(*number);
                }
                !goes
            });
            void
        };
        if let (false, Ok(dir)) = (void.is_empty(), self.segment_dir()) {
            for number in void {
                drop(commit::unlink(&*dir, &segment_name(number)));
            }
        }
        // Else whoever writes does it when he is done.
        if let Ok(mut writer) = self.writer.try_lock() {
            self.empty_trash(&mut writer);
        }
    }

    /// Unlinks the own files of what was forgotten (P4).
    pub(super) fn empty_trash(&self, _: &mut Writer) {
        let trash = std::mem::take(&mut self.state().trash);
        for key in trash {
            if self.poison.is_set() {
                return;
            }
            if let Ok(dir) = self.prefix_dir(prefix(key)) {
                drop(commit::unlink(&*dir, &own_name(key)));
            }
        }
    }

    /// How much it holds.
    pub(in crate::pool) fn stats(&self) -> PathStats {
        let state = self.state();
        let there = || state.table.objects.values().filter(|entry| entry.is_there());
        let own = there().filter(|entry| entry.object.place == Place::Own);
        let mut sum = PathStats {
            objects: there().count() as u64,
            own_files: own.count() as u64,
            segments: state.segments.len() as u64,
            ..PathStats::default()
        };
        for seg in state.segments.values() {
            sum.live_bytes = sum.live_bytes.saturating_add(seg.live);
            sum.dead_bytes = sum.dead_bytes.saturating_add(seg.dead());
        }
        sum
    }
}

impl State {
    /// Puts an object into the table, whose bytes were written.
    pub(super) fn insert(&mut self, key: Uuid, object: Listed) {
        self.live(&object, true);
        self.table.objects.insert(key, Entry::new(object));
    }

    /// Counts the bytes of an object, or does so no more.
    pub(super) fn live(&mut self, object: &Listed, more: bool) {
        let Place::Segment { number, .. } = object.place else { return };
        let Some(seg) = self.segments.get_mut(&number) else { return };
        let framed = object.framed();
        seg.live =
            if more { seg.live.saturating_add(framed) } else { seg.live.saturating_sub(framed) };
    }

    /// An object that was written is in the table now, or will never be.
    pub(super) fn arrived(&mut self, object: &Listed) {
        let Place::Segment { number, .. } = object.place else { return };
        let Some(seg) = self.segments.get_mut(&number) else { return };
        seg.coming = seg.coming.saturating_sub(object.framed());
    }

    /// Registers an object, if it is known.
    pub(super) fn hold(&mut self, key: Uuid) -> bool {
        let Some(entry) = self.table.objects.get_mut(&key) else { return false };
        entry.holds = entry.holds.saturating_add(1);
        self.holds = self.holds.saturating_add(1);
        true
    }

    /// Takes that back.
    pub(super) fn let_go(&mut self, key: Uuid) {
        let Some(entry) = self.table.objects.get_mut(&key) else { return };
        if entry.holds > 0 {
            entry.holds = entry.holds.saturating_sub(1);
            self.holds = self.holds.saturating_sub(1);
            self.free_if_unwanted(key);
        }
    }

    /// Stages an object for the loose set, if it is known; with `hold` it is registered.
    pub(super) fn stage(&mut self, key: Uuid, hold: bool) -> bool {
        let known = if hold { self.hold(key) } else { self.table.objects.contains_key(&key) };
        if known {
            self.want(key, true);
        }
        known
    }

    /// Says whether the loose set is to have the object after the next commit.
    pub(super) fn want(&mut self, key: Uuid, loose: bool) {
        let Some(entry) = self.table.objects.get_mut(&key) else { return };
        entry.want = Some(loose);
        self.settle(key);
    }

    /// What is wanted and is so already is not staged any more.
    pub(super) fn settle(&mut self, key: Uuid) {
        let Some(entry) = self.table.objects.get_mut(&key) else { return };
        if entry.want == Some(entry.loose) && !entry.committing {
            entry.want = None;
        }
        if entry.want.is_some() {
            self.staged.insert(key);
        } else {
            self.staged.remove(&key);
        }
        self.free_if_unwanted(key);
    }

    /// Forgets an object that nothing wants (P3).
    pub(super) fn free_if_unwanted(&mut self, key: Uuid) {
        if !self.table.objects.get(&key).is_some_and(Entry::is_free) {
            return;
        }
        let Some(entry) = self.table.objects.remove(&key) else { return };
        self.staged.remove(&key);
        self.live(&entry.object, false);
        if entry.object.place == Place::Own {
            self.unsynced.remove(&key);
            self.trash.push(key);
        }
    }
}

/// The directory that the own file of an object is in.
pub(super) fn prefix(key: Uuid) -> u8 {
    // Keys that are times (v7) change it every few hours: what is committed together is in one directory, which is synced once.
    let [_, _, third, ..] = key.into_bytes();
    third
}

pub(super) fn prefix_name(prefix: u8) -> String {
    format!("{prefix:02x}")
}

fn held(slot: &OnceLock<Arc<dyn Dir>>, parent: &dyn Dir, name: &str) -> Result<Arc<dyn Dir>> {
    if let Some(dir) = slot.get() {
        return Ok(Arc::clone(dir));
    }
    let dir = open_dir(parent, name)?;
    Ok(Arc::clone(slot.get_or_init(|| dir)))
}

pub(super) fn open_dir(parent: &dyn Dir, name: &str) -> Result<Arc<dyn Dir>> {
    let opened = parent.open_dir(OsStr::new(name));
    opened.map_err(|e| Error::system("open directory", &parent.path().join(name), e))
}

pub(super) fn known(object: &Listed) -> Known {
    let order = match object.place {
        Place::Own => u64::MAX,
        Place::Segment { number, at } => number.saturating_mul(1 << 32).saturating_add(at),
    };
    Known::new(object.meta, object.stored, order)
}

pub(super) fn info(key: Uuid, object: &Listed, durable: bool) -> ObjectInfo {
    let created = key.get_timestamp().filter(|_| key.get_version_num() == 7);
    let created = created.map(|time| {
        let (seconds, nanos) = time.to_unix();
        std::time::Duration::new(seconds, nanos)
    });
    let Listed { meta, stored: stored_len, crc, .. } = *object;
    ObjectInfo { meta, stored_len, crc, created, durable, loose: false }
}
