//! The spill: objects that memory has no room for, in scratch files that die with their owner.
//!
//! # Invariants
//! - W1 The table's lock is never held over I/O.
//! - W2 An object is in the table only after its frame was written whole; a batch comes into it in one step, or not at all.
//! - W3 Whoever appends to a segment has it for himself. So what a failed write left is cut off again, and where that fails
//!   nothing is written behind it.
//! - W4 Bytes that the table points to are never changed: who reads holds the file, also after its name is gone.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::backend::{Known, Usage};
use super::batch::{Batch, Object, Part};
use super::frame::{FILE_HEADER, FileHeader};
use super::segment::{Segment, own_name, segment_name};
use crate::codec::checksum::crc32;
use crate::commit::unlink;
use crate::fs::{Dir, Fs};
use crate::{Error, ErrorKind, Result};

mod compact;
mod home;
mod table;
#[cfg(feature = "sim")]
#[cfg(test)]
mod tests;
mod write;

pub use home::{SpillReport, sweep_spill};

use home::Home;
use table::{At, Gone, Spilled, Table};
use write::Writing;

/// How much the spill may take, and how it is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of all files.
    pub(super) disk: u64,
    /// Bytes of an object, as it is stored.
    pub(super) object: u64,
    /// Objects above it have their own files.
    pub(super) segment_max: u64,
    /// A segment takes no more objects from here on.
    pub(super) segment_bytes: u64,
}

/// The file of one object.
#[derive(Debug)]
pub(super) struct OwnFile<'s> {
    pub(super) dir: &'s dyn Dir,
    pub(super) name: OsString,
    pub(super) file: Arc<Segment>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Spill {
    limits: Limits,
    table: Mutex<Table>,
    /// One compaction at a time.
    compacting: Mutex<()>,
    /// What the salts of segments are made of.
    seed: u32,
    home: Home,
}

impl Spill {
    /// Sweeps the root, and begins a spill in it.
    pub(super) fn open(fs: &dyn Fs, root: &Path, limits: Limits) -> Result<(Self, SpillReport)> {
        let (home, report) = Home::make(fs, root)?;
        let mut seed = [0; 4];
        fs.entropy(&mut seed).map_err(|e| Error::system("make spill", root, e))?;
        // Small enough that what is alive in one can be moved before the limit is reached.
        let segment_bytes = limits.segment_bytes.min(limits.disk / 8);
        let limits = Limits { segment_bytes, ..limits };
        let (table, compacting) = (Mutex::default(), Mutex::default());
        let seed = u32::from_le_bytes(seed);
        Ok((Self { limits, table, compacting, seed, home }, report))
    }

    fn with<R>(&self, does: impl FnOnce(&mut Table) -> R) -> R {
        does(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes all objects of the batch that are not there yet, or none.
    pub(super) fn put(&self, batch: &mut Batch) -> Result<()> {
        let mut parts: Vec<(usize, Part)> = Vec::with_capacity(batch.len());
        for (nth, part) in batch.parts.iter().enumerate() {
            if part.stored_len as u64 > self.limits.object {
                let what = format!("object {} has {} bytes", part.key, part.stored_len);
                return Err(self.refuse(ErrorKind::TooLarge, what));
            }
            parts.push((nth, *part));
        }
        self.with(|table| parts.retain(|(_, part)| !table.has(part.key)));
        if parts.is_empty() {
            return Ok(());
        }
        let mut writing = self.room(self.need(&parts))?;
        let (own, mut small): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(_, part)| self.is_own(part));
        for (nth, part) in own {
            if !writing.own(batch, nth, &part)? {
                small.push((nth, part));
            }
        }
        small.sort_unstable_by_key(|(nth, _)| *nth);
        for run in small.chunk_by(|(a, _), (b, _)| a.checked_add(1) == Some(*b)) {
            writing.run(batch, run)?;
        }
        writing.insert();
        Ok(())
    }

    fn is_own(&self, part: &Part) -> bool {
        part.stored_len as u64 > self.limits.segment_max
    }

    /// What the files of these objects take at most: each own file has a header, and there may be a new segment.
    fn need(&self, parts: &[(usize, Part)]) -> u64 {
        let header = FILE_HEADER as u64;
        parts.iter().fold(header, |sum, (_, part)| {
            let own = if self.is_own(part) { header } else { 0 };
            sum.saturating_add(part.framed_len() as u64).saturating_add(own)
        })
    }

    /// Takes so much of the disk; makes room for it where there is none.
    fn room(&self, need: u64) -> Result<Writing<'_>> {
        // What is left is for a compaction: a segment of which less than half is alive, and may be a batch too long.
        let spare = (self.limits.segment_bytes / 2).saturating_add(self.limits.disk / 64);
        let limit = self.limits.disk.saturating_sub(spare);
        let due = self.with(|table| {
            let near = limit.saturating_sub(limit / 8);
            let wasteful =
                table.garbage() > self.limits.segment_bytes && table.garbage() > table.disk / 2;
            wasteful || table.disk.saturating_add(need) > near
        });
        if due {
            // Bounded: one segment. If it fails, what is to be written will say so or fit all the same.
            drop(self.compact_one(false));
        }
        loop {
            if self.with(|table| table.reserve(need, limit)) {
                return Ok(Writing::new(self, need));
            }
            if !matches!(self.compact_one(true), Ok(Some(_))) {
                break;
            }
        }
        // Somebody else's compaction may have made room.
        if self.with(|table| table.reserve(need, limit)) {
            return Ok(Writing::new(self, need));
        }
        let (disk, live) = self.with(|table| (table.disk, table.live));
        let what = format!(
            "{need} bytes more would pass the limit of {}, less {spare} to work with: {disk} are in use, {live} of them by objects",
            self.limits.disk
        );
        Err(self.refuse(ErrorKind::OverBudget, what))
    }

    #[cold]
    fn refuse(&self, kind: ErrorKind, what: String) -> Error {
        Error::new(kind, "spill", self.home.dir.path(), what)
    }

    fn salt(&self, number: u32) -> u32 {
        crc32(&number.to_le_bytes(), self.seed)
    }

    /// Makes a segment; leaves nothing behind if that fails.
    fn make_segment(&self, number: u32) -> Result<Arc<Segment>> {
        let name = segment_name(u64::from(number));
        let header = FileHeader::segment(self.home.id, u64::from(number), self.salt(number));
        Segment::create(&*self.home.dir, &name, header).map(Arc::new).inspect_err(|_| {
            drop(unlink(&*self.home.dir, &name));
        })
    }

    /// Reads and verifies an object; `NotFound` if it is not here.
    pub(super) fn get<'b>(&self, key: Uuid, buf: &'b mut Vec<u8>) -> Result<Object<'b>> {
        let (spilled, segment) = self.locate(key)?;
        let (at, segment) = match (spilled.at, segment) {
            (At::Segment { at, .. }, Some(segment)) => (at, segment),
            _ => (FILE_HEADER as u64, self.own_file(key)?),
        };
        segment.read(at, spilled.stored_len, key, buf)
    }

    /// As [`get`](Self::get) if that need not wait.
    pub(super) fn get_nowait<'b>(
        &self,
        key: Uuid,
        buf: &'b mut Vec<u8>,
    ) -> Result<Option<Object<'b>>> {
        match self.locate(key)? {
            (Spilled { at: At::Segment { at, .. }, stored_len, .. }, Some(segment)) => segment
                .read_with(at, stored_len, key, buf, |file, buf, at| file.read_nowait(buf, at)),
            // To open a file may wait.
            _ => Ok(None),
        }
    }

    fn locate(&self, key: Uuid) -> Result<(Spilled, Option<Arc<Segment>>)> {
        self.with(|table| table.locate(key)).ok_or_else(|| self.unknown(key))
    }

    #[cold]
    fn unknown(&self, key: Uuid) -> Error {
        let what = format!("there is no object {key}");
        Error::new(ErrorKind::NotFound, "look up", self.home.dir.path(), what)
    }

    fn own_file(&self, key: Uuid) -> Result<Arc<Segment>> {
        match Segment::open_own(&*self.home.dir, key) {
            Ok(file) => Ok(Arc::new(file)),
            // Deleted meanwhile; else somebody took the file away.
            Err(e) if e.kind() == ErrorKind::NotFound && self.look(key).is_none() => {
                Err(self.unknown(key))
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotOurs) => {
                Err(e.with_kind(ErrorKind::Damaged))
            }
            Err(e) => Err(e),
        }
    }

    /// The own file of an object, to give it another name elsewhere; `None` if it has none. Once only: nobody here is told if a
    /// sync of it fails there, and then it must not get a third name.
    pub(super) fn to_link(&self, key: Uuid) -> Result<Option<OwnFile<'_>>> {
        if !self.with(|table| table.link(key)) {
            return Ok(None);
        }
        let (dir, name) = (&*self.home.dir, own_name(key));
        Ok(Some(OwnFile { dir, name, file: self.own_file(key)? }))
    }

    pub(super) fn look(&self, key: Uuid) -> Option<Known> {
        let spilled = self.with(|table| table.find(key))?;
        let order = match spilled.at {
            At::Own => u64::MAX,
            // In the order of the segments, and in them.
            At::Segment { number, at } => u64::from(number) << 32 | (at >> 6).min(0xffff_ffff),
        };
        Some(Known::new(spilled.meta, spilled.stored_len, order))
    }

    /// Forgets an object. A file that nothing needs any more is taken away.
    pub(super) fn delete(&self, key: Uuid) -> Result<()> {
        let gone = self.with(|table| table.remove(key));
        gone.map_or(Ok(()), |gone| self.take_away(&gone))
    }

    /// Takes a file away and counts its bytes back; those of one that stays are not.
    fn take_away(&self, gone: &Gone) -> Result<()> {
        let name = match *gone {
            Gone::Own { key, .. } => own_name(key),
            Gone::Segment { number, .. } => segment_name(u64::from(number)),
        };
        unlink(&*self.home.dir, &name)?;
        self.with(|table| table.release(gone.bytes()));
        Ok(())
    }

    pub(super) fn usage(&self) -> Usage {
        let disk_limit = self.limits.disk;
        self.with(|table| Usage {
            objects: table.len(),
            live_bytes: table.live,
            disk_bytes: table.disk,
            disk_limit,
        })
    }
}
