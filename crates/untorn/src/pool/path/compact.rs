//! Gives the space of forgotten objects back: what is wanted of a segment is written anew, and the old one goes.
//!
//! # Invariants
//! - M1 The old segment goes after the record that says where its objects are now is durable, and their new bytes before it (C1).
//! - M2 An object that does not verify is not moved, and its segment stays.

use uuid::Uuid;

use super::core::{Core, Owner};
use super::record::Writer as Record;
use super::table::{Listed, Place};
use crate::commit::{self, sync_dir};
use crate::fs::SyncSite;
use crate::pool::backend::Compacted;
use crate::pool::batch::Batch;
use crate::{Error, ErrorKind, Outcome, Result};

/// Below this, what is wasted is not worth a commit.
const WASTE_MIN: u64 = 1 << 20;
/// Bytes of objects that are moved with one write.
const BATCH: u64 = 1 << 20;

impl Core {
    /// Compacts all segments of which less than half is wanted. Readers that are in an old one go on.
    pub(in crate::pool) fn compact(&self) -> Result<Compacted> {
        let owner = self.owner();
        self.check("compact")?;
        let Some(owner) = owner.as_ref() else { return Ok(Compacted::default()) };
        {
            // Whoever writes has made sure that there is one to append to.
            let _writer = self.writer();
            let mut state = self.state();
            let seg = state.current.and_then(|number| state.segments.get(&number));
            if seg.is_some_and(|seg| seg.dead() > seg.live) {
                state.current = None;
            }
        }
        self.compact_some(owner, None)
    }

    /// Whether more is wasted than used.
    pub(super) fn is_wasteful(&self) -> bool {
        let stats = self.stats();
        stats.dead_bytes > stats.live_bytes.max(WASTE_MIN)
    }

    /// Compacts segments, the most wasteful first, and at most so many. The caller is the one who commits.
    pub(super) fn compact_some(&self, owner: &Owner, limit: Option<usize>) -> Result<Compacted> {
        let mut found: Vec<(u64, u64)> = {
            let state = self.state();
            let current = state.current;
            let poor = state.segments.iter().filter(|(number, seg)| {
                Some(**number) != current && seg.dead() > seg.live && seg.len > 0
            });
            poor.map(|(number, seg)| (seg.dead(), *number)).collect()
        };
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(limit.unwrap_or(usize::MAX));
        let mut report = Compacted::default();
        for (_, number) in found {
            match self.compact_one(owner, number, &mut report) {
                // Nothing of it can be read (M2): the others are moved all the same.
                Err(e) if e.outcome() == Outcome::Unchanged && is_no_good(&e) => {}
                done => done?,
            }
        }
        Ok(report)
    }

    fn compact_one(&self, owner: &Owner, number: u64, report: &mut Compacted) -> Result<()> {
        let mut moved = Vec::new();
        let done = self.move_all(owner, number, &mut moved, report);
        {
            let mut state = self.state();
            for (_, _, new) in &moved {
                state.arrived(new);
            }
        }
        self.clear_away();
        done
    }

    /// Moves all objects of a segment. What was written of them goes to `moved`, also after an error.
    fn move_all(
        &self,
        owner: &Owner,
        number: u64,
        moved: &mut Vec<(Uuid, Listed, Listed)>,
        report: &mut Compacted,
    ) -> Result<()> {
        let mut objects = self.objects_in(number);
        objects.sort_unstable_by_key(|(_, object)| match object.place {
            Place::Segment { at, .. } => at,
            Place::Own => 0,
        });
        let mut rest = objects.as_slice();
        while !rest.is_empty() {
            rest = self.copy_some(number, rest, moved)?;
        }
        self.sync_moved()?;
        let mut record = Record::new();
        {
            let state = self.state();
            for (key, old, new) in moved.iter() {
                let entry = state.table.objects.get(key);
                if entry.is_some_and(|e| e.is_listed() && e.object.place == old.place) {
                    record.moved(*key, new.place);
                }
            }
        }
        if !record.is_empty() {
            self.put(owner, &record.bytes())?;
        }
        let freed = {
            let mut state = self.state();
            for (key, old, new) in moved.iter() {
                // Meanwhile it may have been forgotten; then its copy is waste.
                let entry = state.table.objects.get_mut(key);
                let Some(entry) = entry.filter(|e| e.object.place == old.place) else { continue };
                entry.object.place = new.place;
                state.live(old, false);
                state.live(new, true);
                report.moved_bytes = report.moved_bytes.saturating_add(old.stored);
            }
            state.segments.get(&number).filter(|seg| seg.is_void()).map(|seg| seg.len)
        };
        if let Some(len) = freed {
            report.segments = report.segments.saturating_add(1);
            report.freed_bytes = report.freed_bytes.saturating_add(len);
        }
        Ok(())
    }

    fn objects_in(&self, wanted: u64) -> Vec<(Uuid, Listed)> {
        let state = self.state();
        let of = |object: &Listed| matches!(object.place, Place::Segment { number, .. } if number == wanted);
        let objects = state.table.objects.iter().filter(|(_, entry)| of(&entry.object));
        objects.map(|(key, entry)| (*key, entry.object)).collect()
    }

    /// Copies some objects to the end of the current segment; returns those that are left.
    fn copy_some<'a>(
        &self,
        number: u64,
        objects: &'a [(Uuid, Listed)],
        moved: &mut Vec<(Uuid, Listed, Listed)>,
    ) -> Result<&'a [(Uuid, Listed)]> {
        let from = self.segment(number)?;
        let (mut batch, mut buf, mut taken) = (Batch::new(), Vec::new(), Vec::new());
        let mut rest = objects;
        while let Some(((key, object), behind)) = rest.split_first() {
            let full = batch.bytes_len() as u64 >= BATCH;
            if full {
                break;
            }
            rest = behind;
            let Place::Segment { at, .. } = object.place else { continue };
            match from.read(at, object.stored, *key, &mut buf) {
                Ok(read) => batch.push_stored(*key, read.meta, read.bytes),
                Err(e) if e.kind() == ErrorKind::Damaged => continue, // M2
                Err(e) => return Err(e),
            }
            taken.push(*object);
        }
        if batch.is_empty() {
            return Ok(rest);
        }
        let mut writer = self.writer();
        let room = {
            let state = self.state();
            let end = state.current.and_then(|current| state.segments.get(&current));
            end.map_or(0, |seg| self.options.segment_bytes.saturating_sub(seg.len))
        };
        if room < batch.bytes_len() as u64 {
            self.begin_segment(&mut writer)?;
        }
        let all = 0..batch.len();
        let new = self.append(&mut batch, all).inspect_err(|_| {
            // What it left behind is not written over (W2).
            self.state().current = None;
        })?;
        drop(writer);
        let pairs = new.into_iter().zip(taken);
        moved.extend(pairs.map(|((key, new), old)| (key, old, new)));
        Ok(rest)
    }

    /// Syncs the segments that were written to, and where they got their names.
    fn sync_moved(&self) -> Result<()> {
        // Opened before anything is taken over: that may fail, and nothing has changed then.
        let dir = self.segment_dir()?;
        let (files, named, path) = {
            let mut state = self.state();
            let files = state.unsynced_segments();
            let named = std::mem::take(&mut state.names.segments);
            (files, named, std::mem::take(&mut state.names.path))
        };
        let sync = || {
            for file in &files {
                commit::sync_data(&*file.file, SyncSite::PoolSegment)?;
            }
            if named {
                sync_dir(&*dir, SyncSite::PoolSegmentDir)?;
            }
            if path { sync_dir(&*self.dir, SyncSite::PoolDir) } else { Ok(()) }
        };
        sync().map_err(|e| self.poisoned(e))
    }
}

fn is_no_good(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotOurs | ErrorKind::NotFound)
}
