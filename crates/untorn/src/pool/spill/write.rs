//! A batch on its way to files: all of it comes into the table, or none stays on the disk.

use uuid::Uuid;

use super::super::batch::{Batch, Part};
use super::super::frame::{FILE_HEADER, FileHeader};
use super::super::segment::{Segment, own_name};
use super::table::{At, Gone, Out, Spilled, Table};
use super::{Spill, unlink};
use crate::{ErrorKind, Result};

/// What was written of a batch. Dropped before it is in the table, it takes that back.
#[derive(Debug)]
pub(super) struct Writing<'s> {
    spill: &'s Spill,
    /// Bytes of the disk that were taken for it, of which `used` are in use.
    reserved: u64,
    used: u64,
    out: Option<Out>,
    /// Where `out` ended before.
    start: u64,
    /// Whether `out` was made for this batch.
    made: bool,
    /// Bytes of a write to `out` that may have failed half way.
    torn: u64,
    written: Vec<(Uuid, Spilled)>,
}

impl<'s> Writing<'s> {
    pub(super) const fn new(spill: &'s Spill, reserved: u64) -> Self {
        let written = Vec::new();
        Self { spill, reserved, used: 0, out: None, start: 0, made: false, torn: 0, written }
    }

    /// Writes an object to its own file; false if there is one by that name, which is about to go.
    pub(super) fn own(&mut self, batch: &mut Batch, nth: usize, part: &Part) -> Result<bool> {
        let (dir, name) = (&*self.spill.home.dir, own_name(part.key));
        let header = FileHeader::own(part.key);
        let file = match Segment::create(dir, &name, header) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(e) => {
                drop(unlink(dir, &name));
                return Err(e);
            }
        };
        self.add(part, At::Own);
        self.used = self.used.saturating_add(FILE_HEADER as u64);
        batch.seal(nth, header.salt);
        file.append(batch.frames(nth..nth.saturating_add(1)), FILE_HEADER as u64)?;
        Ok(true)
    }

    /// Writes objects that follow each other in the batch to a segment, with one call.
    pub(super) fn run(&mut self, batch: &mut Batch, run: &[(usize, Part)]) -> Result<()> {
        let [(first, _), ..] = run else { return Ok(()) };
        let parts = *first..first.saturating_add(run.len());
        let (number, segment, mut at) = {
            let out = self.out()?;
            (out.number, std::sync::Arc::clone(&out.segment), out.end)
        };
        for (nth, _) in run {
            batch.seal(*nth, segment.header.salt);
        }
        let frames = batch.frames(parts);
        self.torn = frames.len() as u64;
        segment.append(frames, at)?;
        self.torn = 0;
        for (_, part) in run {
            self.add(part, At::Segment { number, at });
            at = at.saturating_add(part.framed_len() as u64);
        }
        if let Some(out) = &mut self.out {
            out.end = at;
        }
        Ok(())
    }

    fn add(&mut self, part: &Part, at: At) {
        let (stored_len, meta) = (part.stored_len as u64, part.meta);
        self.used = self.used.saturating_add(part.framed_len() as u64);
        self.written.push((part.key, Spilled { at, stored_len, meta }));
    }

    /// The segment of this batch.
    fn out(&mut self) -> Result<&Out> {
        let out = match self.out.take().or_else(|| self.spill.with(Table::take)) {
            Some(out) => out,
            None => self.make()?,
        };
        if self.start == 0 {
            self.start = out.end;
        }
        Ok(self.out.insert(out))
    }

    /// A new segment.
    fn make(&mut self) -> Result<Out> {
        let number = self.spill.with(Table::number).ok_or_else(|| {
            let what = "it has had all the segments that there are numbers for";
            self.spill.refuse(ErrorKind::TooLarge, what.to_owned())
        })?;
        let segment = self.spill.make_segment(number)?;
        self.used = self.used.saturating_add(FILE_HEADER as u64);
        self.made = true;
        Ok(self.spill.with(|table| table.made(number, &segment)))
    }

    /// Makes all that was written known.
    pub(super) fn insert(self) {
        self.done(Table::insert);
    }

    /// What was written is where objects are now that were elsewhere; those that are not there any more stay gone. Returns how
    /// many bytes were moved.
    pub(super) fn moved(self, from: &[At]) -> u64 {
        let mut from = from.iter();
        let mut bytes = 0_u64;
        self.done(|table, key, spilled| {
            let moved = from.next().is_some_and(|from| table.moved(key, *from, spilled.at));
            bytes = bytes.saturating_add(if moved { spilled.framed() } else { 0 });
            moved
        });
        bytes
    }

    fn done(mut self, mut take: impl FnMut(&mut Table, Uuid, &Spilled) -> bool) {
        let written = std::mem::take(&mut self.written);
        let unused = self.reserved.saturating_sub(self.used);
        let limit = self.spill.limits.segment_bytes;
        let (out, spill) = (self.out.take(), self.spill);
        self.reserved = 0;
        let gone = spill.with(|table| {
            let mut gone = Vec::new();
            for (key, spilled) in &written {
                // Another thread was faster: what was written is garbage.
                if !take(table, *key, spilled) && spilled.at == At::Own {
                    let bytes = spilled.framed().saturating_add(FILE_HEADER as u64);
                    gone.push(Gone::Own { key: *key, bytes });
                }
            }
            table.release(unused);
            gone.extend(out.and_then(|out| table.give_back(out.number, out.end, out.end >= limit)));
            gone
        });
        // What cannot be taken away now goes with the directory.
        for gone in &gone {
            drop(spill.take_away(gone));
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if self.reserved == 0 {
            return;
        }
        let mut kept = 0_u64;
        for (key, spilled) in self.written.drain(..) {
            if spilled.at == At::Own && unlink(&*self.spill.home.dir, &own_name(key)).is_err() {
                kept = kept.saturating_add(spilled.framed()).saturating_add(FILE_HEADER as u64);
            }
        }
        let gone = self.out.take().and_then(|out| {
            let longest = out.end.saturating_add(self.torn);
            let cut = longest == self.start || out.segment.file.set_len(self.start).is_ok();
            let end = if cut { self.start } else { longest };
            // A segment that was made for this batch stays, with its header.
            let header = if self.made { FILE_HEADER as u64 } else { 0 };
            kept = kept.saturating_add(end.saturating_sub(self.start)).saturating_add(header);
            self.spill.with(|table| table.give_back(out.number, end, !cut))
        });
        self.spill.with(|table| table.release(self.reserved.saturating_sub(kept)));
        drop(gone.map(|gone| self.spill.take_away(&gone)));
    }
}
