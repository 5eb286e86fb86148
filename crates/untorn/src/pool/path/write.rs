//! Writes objects into a path and stages them: frames at the end of a segment, long ones in files of their own. Nothing is synced.
//!
//! # Invariants
//! - W1 A batch is there whole or not at all: after an error its keys are not known, and its bytes are cut off or unlinked.
//! - W2 Bytes that a write left behind are not written over: where they cannot be cut off, a new segment begins.
//! - W3 An inode whose sync failed gets no second name: what was in it is read, verified, and written anew.

use std::ffi::OsStr;
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use super::core::{Core, OBJECTS, SEGMENTS, Seg, Writer, prefix, prefix_name};
use super::table::{Listed, Place};
use crate::commit;
use crate::fs::{Dir, How, SyncSite};
use crate::pool::batch::{Batch, FRAME_HEADER};
use crate::pool::frame::{FILE_HEADER, FileHeader, FrameHeader, Parsed, as_read};
use crate::pool::segment::{Segment, own_name, segment_name};
use crate::{Error, ErrorKind, Outcome, Result};

/// Where the first frame of a file begins.
const FIRST: u64 = FILE_HEADER as u64;
/// So many own files stay open until the next commit; beyond, they are synced before it.
const UNSYNCED_MAX: usize = 256;

/// What a batch has written so far.
#[derive(Debug, Default)]
struct Written {
    /// By the number in the batch.
    objects: Vec<(Uuid, Listed)>,
    own: Vec<(Uuid, Arc<Segment>)>,
    begun: Vec<u64>,
}

impl Core {
    /// Stages a key that the path has, or whose bytes are still there, for the loose set; false if they are not.
    pub(in crate::pool) fn stage(&self, key: Uuid, hold: bool) -> Result<bool> {
        self.check("persist")?;
        Ok(self.stage_known(key, hold))
    }

    fn stage_known(&self, key: Uuid, hold: bool) -> bool {
        self.state().stage(key, hold)
    }

    /// Writes all objects of the batch and stages them for the loose set, or none. A key that is known is only staged. With `hold`
    /// each is registered.
    pub(in crate::pool) fn write(&self, batch: &mut Batch, hold: bool) -> Result<()> {
        let mut writer = self.writer();
        self.check("persist")?;
        // What is known already must not be forgotten before it is staged.
        let (before, kept) = {
            let mut state = self.state();
            let current = state.current;
            let before = current.and_then(|n| Some((n, state.segments.get(&n)?.len)));
            let keys = batch.parts.iter().map(|part| part.key);
            (before, keys.filter(|key| state.hold(*key)).collect::<Vec<_>>())
        };
        let mut written = Written::default();
        let done = self.write_parts(&mut writer, batch, &mut written);
        if done.is_err() {
            self.roll_back(&written, before);
        }
        {
            // In one step, so that nobody forgets what is not staged yet.
            let mut state = self.state();
            if done.is_ok() {
                for (key, object) in &written.objects {
                    state.arrived(object);
                    state.insert(*key, *object);
                }
                state.unsynced.extend(written.own);
                for part in &batch.parts {
                    state.stage(part.key, hold);
                }
            }
            for key in kept {
                state.let_go(key);
            }
        }
        done?;
        self.empty_trash(&mut writer);
        self.sync_overflow()
    }

    fn write_parts(
        &self,
        writer: &mut Writer,
        batch: &mut Batch,
        written: &mut Written,
    ) -> Result<()> {
        let options = &self.options;
        let long = |batch: &Batch| batch.parts.iter().map(|part| part.stored_len as u64).max();
        if let Some(len) = long(batch).filter(|len| *len > options.max_object) {
            let what =
                format!("an object has {len} bytes; the options allow {}", options.max_object);
            return Err(Error::new(ErrorKind::TooLarge, "persist", &self.path, what));
        }
        let mut run = 0..0;
        let mut room = 0_u64;
        let mut seen = std::collections::HashSet::new();
        for nth in 0..batch.parts.len() {
            let Some(part) = batch.part(nth).copied() else { break };
            let known = !seen.insert(part.key) || self.knows(part.key);
            let own = part.stored_len as u64 > options.segment_max;
            let framed = part.framed_len() as u64;
            if known || own || (framed > room && !run.is_empty()) {
                self.write_run(batch, run.clone(), written)?;
                run = nth..nth;
            }
            if known || own {
                run = nth.saturating_add(1)..nth.saturating_add(1);
            }
            if known {
                continue;
            }
            if own {
                self.write_own(writer, batch, nth, written)?;
                continue;
            }
            if run.is_empty() {
                room = self.room(writer, framed, written)?;
            }
            room = room.saturating_sub(framed);
            run.end = nth.saturating_add(1);
        }
        self.write_run(batch, run, written)
    }

    fn knows(&self, key: Uuid) -> bool {
        self.state().table.objects.contains_key(&key)
    }

    /// Sees to it that there is a segment with room for some bytes, or an empty one; says how much it has.
    fn room(&self, writer: &mut Writer, framed: u64, written: &mut Written) -> Result<u64> {
        let limit = self.options.segment_bytes;
        let end = {
            let state = self.state();
            state.current.and_then(|number| state.segments.get(&number)).map(|seg| seg.len)
        };
        if let Some(room) = end.map(|end| limit.saturating_sub(end)).filter(|room| *room >= framed)
        {
            return Ok(room);
        }
        written.begun.push(self.begin_segment(writer)?);
        Ok(limit.saturating_sub(FIRST).max(framed))
    }

    /// Begins a segment and makes it the one that is appended to.
    pub(super) fn begin_segment(&self, writer: &mut Writer) -> Result<u64> {
        let dir = self.make_segment_dir(writer)?;
        let mut salt = [0; 4];
        let path = dir.path();
        self.fs().entropy(&mut salt).map_err(|e| Error::system("begin segment", path, e))?;
        let number = {
            let mut state = self.state();
            let number = state.next_segment;
            state.next_segment = number.saturating_add(1);
            // What fails may have made the name all the same.
            state.names.segments = true;
            number
        };
        let name = segment_name(number);
        let header = FileHeader::segment(self.store_id, number, u32::from_le_bytes(salt));
        let file = Segment::create(&*dir, &name, header).inspect_err(|e| {
            if e.kind() != ErrorKind::AlreadyExists {
                drop(commit::unlink(&*dir, &name));
            }
        })?;
        let seg = Seg { file: Some(Arc::new(file)), len: FIRST, unsynced: true, ..Seg::default() };
        let mut state = self.state();
        state.segments.insert(number, seg);
        state.current = Some(number);
        Ok(number)
    }

    /// Writes objects that follow each other at the end of the segment, with one call.
    fn write_run(&self, batch: &mut Batch, run: Range<usize>, written: &mut Written) -> Result<()> {
        if run.is_empty() {
            return Ok(());
        }
        for (key, object) in self.append(batch, run)? {
            written.objects.push((key, object));
        }
        Ok(())
    }

    /// Seals objects and appends them to the segment that is current. The caller has seen to it that there is one.
    pub(super) fn append(
        &self,
        batch: &mut Batch,
        run: Range<usize>,
    ) -> Result<Vec<(Uuid, Listed)>> {
        let found = {
            let state = self.state();
            state.current.and_then(|number| {
                let seg = state.segments.get(&number)?;
                Some((number, seg.file.clone()?, seg.len))
            })
        };
        let Some((number, file, start)) = found else {
            let what = "there is no segment to append to";
            return Err(Error::new(ErrorKind::Io, "persist", &self.path, what));
        };
        let mut objects = Vec::with_capacity(run.len());
        let mut at = start;
        for nth in run.clone() {
            let crc = batch.seal(nth, file.header.salt);
            let Some(part) = batch.part(nth) else { break };
            let place = Place::Segment { number, at };
            let stored = part.stored_len as u64;
            objects.push((part.key, Listed { place, meta: as_read(part.meta), stored, crc }));
            at = at.saturating_add(part.framed_len() as u64);
        }
        file.append(batch.frames(run), start)?;
        if let Some(seg) = self.state().segments.get_mut(&number) {
            seg.coming = seg.coming.saturating_add(at.saturating_sub(start));
            seg.len = at;
            seg.unsynced = true;
        }
        Ok(objects)
    }

    /// Writes an object into a file of its own.
    fn write_own(
        &self,
        writer: &mut Writer,
        batch: &mut Batch,
        nth: usize,
        written: &mut Written,
    ) -> Result<()> {
        let Some(part) = batch.part(nth).copied() else { return Ok(()) };
        let dir = self.free_own_name(writer, part.key)?;
        let header = FileHeader::own(part.key);
        let crc = batch.seal(nth, header.salt);
        let frame = batch.frames(nth..nth.saturating_add(1));
        let file = create_own(&*dir, part.key, frame)?;
        let (place, stored) = (Place::Own, part.stored_len as u64);
        let object = Listed { place, meta: as_read(part.meta), stored, crc };
        written.objects.push((part.key, object));
        written.own.push((part.key, Arc::new(file)));
        Ok(())
    }

    /// The directory for an own file, in which its name is free: what an earlier life left there is listed by nothing.
    fn free_own_name(&self, writer: &mut Writer, key: Uuid) -> Result<Arc<dyn Dir>> {
        let dir = self.make_prefix_dir(writer, prefix(key))?;
        self.state().trash.retain(|trash| *trash != key);
        commit::unlink(&*dir, &own_name(key))?;
        Ok(dir)
    }

    fn make_segment_dir(&self, writer: &mut Writer) -> Result<Arc<dyn Dir>> {
        if !writer.segments {
            make_dir(&*self.dir, SEGMENTS)?;
            self.state().names.path = true;
            writer.segments = true;
        }
        self.segment_dir()
    }

    fn make_prefix_dir(&self, writer: &mut Writer, prefix: u8) -> Result<Arc<dyn Dir>> {
        if !writer.objects {
            make_dir(&*self.dir, OBJECTS)?;
            self.state().names.path = true;
            writer.objects = true;
        }
        if !writer.prefixes.contains(&prefix) {
            make_dir(&*self.object_dir()?, &prefix_name(prefix))?;
            self.state().names.objects = true;
            writer.prefixes.insert(prefix);
        }
        let dir = self.prefix_dir(prefix)?;
        self.state().names.prefixes.insert(prefix);
        Ok(dir)
    }

    /// Undoes what a batch did (W1).
    fn roll_back(&self, written: &Written, before: Option<(u64, u64)>) {
        for (key, _) in &written.own {
            if let Ok(dir) = self.prefix_dir(prefix(*key)) {
                drop(commit::unlink(&*dir, &own_name(*key)));
            }
        }
        for number in &written.begun {
            self.state().segments.remove(number);
            if let Ok(dir) = self.segment_dir() {
                drop(commit::unlink(&*dir, &segment_name(*number)));
            }
        }
        let mut current = None;
        if let Some((number, len)) = before {
            let file = self.state().segments.get(&number).and_then(|seg| seg.file.clone());
            let cut = file.map(|file| (file.file.set_len(len), file.file.stat()));
            let mut state = self.state();
            if let (Some(seg), Some((cut, stat))) = (state.segments.get_mut(&number), cut) {
                if cut.is_ok() {
                    seg.len = len;
                    current = Some(number);
                } else {
                    // The next batch begins another one (W2).
                    seg.len = stat.map_or(seg.len, |stat| stat.len);
                }
            }
        }
        {
            let mut state = self.state();
            state.current = current;
            written.objects.iter().for_each(|(_, object)| state.arrived(object));
        }
        self.clear_away();
    }

    /// Syncs own files, where there are more than may stay open.
    fn sync_overflow(&self) -> Result<()> {
        let many = {
            let mut state = self.state();
            if state.unsynced.len() <= UNSYNCED_MAX {
                return Ok(());
            }
            std::mem::take(&mut state.unsynced)
        };
        self.sync_own(many.into_values())
    }

    /// Syncs own files. A failure is final, for the path and for the inode (W3).
    pub(super) fn sync_own(&self, files: impl Iterator<Item = Arc<Segment>>) -> Result<()> {
        for file in files {
            if let Err(error) = commit::sync_data(&*file.file, SyncSite::PoolObject) {
                file.taint();
                return Err(self.poisoned(error));
            }
        }
        Ok(())
    }

    /// Nothing that is staged can be trusted any more.
    pub(super) fn poisoned(&self, error: Error) -> Error {
        let first = Arc::new(error.with_outcome(Outcome::Unknown));
        self.poison.set(Arc::clone(&first));
        Error::share(&first)
    }

    /// Takes the own file of another tier over, by a second name where that can be, and stages it for the loose set. `name` leads to
    /// `file` in `dir`. A key that is known is only staged. With `hold` it is registered.
    pub(in crate::pool) fn link_own(
        &self,
        key: Uuid,
        (dir, name): (&dyn Dir, &OsStr),
        file: &Arc<Segment>,
        hold: bool,
    ) -> Result<()> {
        let mut writer = self.writer();
        self.check("persist")?;
        if self.stage_known(key, hold) {
            return Ok(());
        }
        let object = own_object(file, key)?;
        if object.stored > self.options.max_object {
            let what = format!(
                "an object has {} bytes; the options allow {}",
                object.stored, self.options.max_object
            );
            return Err(Error::new(ErrorKind::TooLarge, "persist", &self.path, what));
        }
        let to = self.free_own_name(&mut writer, key)?;
        let taken = take_over(key, (dir, name), file, &*to, &object);
        let taken = taken.inspect_err(|_| drop(commit::unlink(&*to, &own_name(key))))?;
        {
            let mut state = self.state();
            state.insert(key, object);
            state.unsynced.insert(key, taken);
            state.stage(key, hold);
        }
        self.empty_trash(&mut writer);
        self.sync_overflow()
    }
}

/// Link, else share the blocks, else copy. Returns the file that is to be synced.
fn take_over(
    key: Uuid,
    (dir, name): (&dyn Dir, &OsStr),
    file: &Arc<Segment>,
    to: &dyn Dir,
    object: &Listed,
) -> Result<Arc<Segment>> {
    let own = own_name(key);
    if !file.is_tainted() {
        if dir.link(name, to, &own).is_ok() && leads_to(to, &own, file) {
            return Ok(Arc::clone(file));
        }
        commit::unlink(to, &own)?;
        if let Ok(new) = to.open(&own, How::CreateNew(0o600))
            && new.reflink_from(&*file.file).is_ok()
        {
            return Segment::open(new).map(Arc::new);
        }
        commit::unlink(to, &own)?;
    }
    let (mut bytes, mut batch) = (Vec::new(), Batch::new());
    let read = file.read(FIRST, object.stored, key, &mut bytes)?;
    batch.push_stored(key, read.meta, read.bytes);
    batch.seal(0, FileHeader::own(key).salt);
    create_own(to, key, batch.frames(0..1)).map(Arc::new)
}

/// Whether the name leads to the inode that we know: an error, or a success, may have been of something else.
fn leads_to(dir: &dyn Dir, name: &OsStr, file: &Segment) -> bool {
    let same = || Ok::<_, std::io::Error>(dir.stat(name)?.same_inode(&file.file.stat()?));
    same().unwrap_or(false)
}

/// What an own file says of its object. Its bytes are not read: whoever loads it does that.
pub(super) fn own_object(file: &Segment, key: Uuid) -> Result<Listed> {
    let mut bytes = [0; FRAME_HEADER];
    let got = file.file.read_at(&mut bytes, FIRST);
    let got = got.map_err(|e| Error::system("read", file.path(), e).at(FIRST))?;
    let salt = FileHeader::own(key).salt;
    match FrameHeader::decode(bytes.get(..got).unwrap_or_default(), salt) {
        Parsed::Valid(header) if header.key == key => {
            let (meta, stored, crc) = (header.meta, header.stored_len, header.crc(salt));
            Ok(Listed { place: Place::Own, meta, stored, crc })
        }
        _ => {
            let what = format!("object {key} is damaged: its header does not verify");
            Err(Error::new(ErrorKind::Damaged, "persist", file.path(), what).at(FIRST))
        }
    }
}

/// A new own file of a sealed frame; none after an error.
fn create_own(dir: &dyn Dir, key: Uuid, frame: &[u8]) -> Result<Segment> {
    let name = own_name(key);
    let file = Segment::create(dir, &name, FileHeader::own(key));
    let written = file.and_then(|file| file.append(frame, FIRST).map(|()| file));
    written.inspect_err(|_| drop(commit::unlink(dir, &name)))
}

/// Makes a directory, if it is not there. The next commit syncs its parent, also if somebody else made it, who may have died then.
fn make_dir(parent: &dyn Dir, name: &str) -> Result<()> {
    match parent.make_dir(OsStr::new(name), 0o700) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::system("make directory", &parent.path().join(name), e))
        }
        _ => Ok(()),
    }
}
