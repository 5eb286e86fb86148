//! Makes what is pending a commit.
//!
//! ```text
//! in use?   plan   write beyond the ends   SYNC what no record carries   record, SYNC LOG
//!     readers wait, copies for snapshots, write below the ends, cut   (a rewind alone)
//!     publish   checkpoint, now and then
//! ```
//!
//! # Invariants
//! - W1 Bytes of a record are in it (inline), or were synced in place before it (direct), or the record says that they were not.
//! - W2 Bytes below the committed end are inline always, and are written in place when their record is durable (K1).
//! - W3 A commit that rewinds is synced, whatever was asked for: what was written before it is vouched for with it.
//! - W4 Nothing is cut or overwritten while a state that is still held shows it: what it shows was copied away.

use std::sync::Arc;

use super::blocks::{Tail, block_of, start_of};
use super::column::Column;
use super::pending::Pending;
use super::publish::Published;
use super::range::Range;
use super::record::{Change, Entry, Extend};
use super::stats::Commit;
use super::store::{END, Member, Store};
use crate::fs::SyncSite;
use crate::{Durability, Error, ErrorKind, Outcome, Result};

/// What a commit does to one column.
struct Part {
    member: usize,
    is_ends: bool,
    /// Where the column ends now.
    old: u64,
    keep: u64,
    /// The column's tail with it.
    tail: Tail,
    bytes: Bytes,
    /// How many of the bytes ride in the record.
    inline: usize,
    /// The sums of the blocks that it fills.
    sums: Vec<u8>,
}

/// Where the bytes of a part are.
enum Bytes {
    Data(Arc<Pending>),
    Ends(Vec<u8>),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Data(pending) => &pending.bytes,
            Bytes::Ends(bytes) => bytes,
        }
    }

    fn rewinds(&self) -> bool {
        self.keep < self.old
    }

    /// It has bytes that no record carries.
    fn is_direct(&self) -> bool {
        self.inline < self.bytes().len()
    }

    fn extend(&self) -> Extend<'_> {
        Extend {
            member: u16::try_from(self.member).unwrap_or(u16::MAX),
            ends: self.is_ends,
            keep: self.keep,
            add: self.bytes().len() as u64,
            inline: self.bytes().get(..self.inline).unwrap_or_default(),
            sums: &self.sums,
            crc: self.tail.crc,
        }
    }
}

impl Store {
    /// See the module. With nothing pending: what earlier buffered commits left is synced, if that is asked for.
    pub(super) fn commit(&mut self, durability: Durability) -> Result<Commit> {
        self.check("commit")?;
        let nothing = !self.members.iter().any(Member::has_pending);
        if nothing && self.next_note.is_none() {
            return match durability {
                Durability::Synced => self.sync(),
                Durability::Buffered => Ok(self.stands(0, 0)),
            };
        }
        let parts = self.plan()?;
        self.copies_fit(&parts)?;
        self.begin_use()?;
        let rewinds = parts.iter().any(Part::rewinds);
        let durability = if rewinds { Durability::Synced } else { durability };
        let mut syncs = 0;
        if let Err(error) = self.write_ahead(&parts, durability, &mut syncs) {
            self.take_back(&parts);
            return Err(error);
        }
        self.write_record(&parts, durability)?;
        syncs = syncs.saturating_add(u32::from(durability == Durability::Synced));
        // The record stands: what fails from here on is done by the next open (S3).
        let data = parts.iter().filter(|part| !part.is_ends);
        let bytes = data.map(|part| part.bytes().len() as u64).sum();
        if let Err(error) = self.apply(parts, durability) {
            return Err(self.poison_by(error.with_outcome(Outcome::Applied)));
        }
        self.checkpoint_if_due();
        Ok(self.stands(bytes, syncs))
    }

    fn stands(&self, bytes: u64, syncs: u32) -> Commit {
        let len = self.members.iter().map(Member::len).sum();
        Commit { seq: self.seq, len, bytes, syncs }
    }

    /// Makes what `write` wrote durable.
    pub(super) fn sync(&mut self) -> Result<Commit> {
        self.check("sync")?;
        if !self.unsynced {
            return Ok(self.stands(0, 0));
        }
        let mut syncs = 1;
        self.sync_loose(&mut syncs)?;
        let change = self.nothing_new();
        self.put(&change, Durability::Synced)?;
        self.unsynced = false;
        self.shared.made_durable();
        self.checkpoint_if_due();
        Ok(self.stands(0, syncs))
    }

    /// What each column gets. Changes nothing.
    fn plan(&mut self) -> Result<Vec<Part>> {
        let members = self.members.iter_mut().enumerate().filter(|(_, m)| m.has_pending());
        let shared: Vec<_> = members.map(|(nth, member)| (nth, member.pending.share())).collect();
        let mut parts = Vec::new();
        for (nth, pending) in shared {
            let member = self.member(nth)?;
            let keep = member.start_of(pending.keep)?;
            let data = Bytes::Data(Arc::clone(&pending));
            parts.push(self.part(nth, &member.data, keep, data)?);
            if let Some(ends) = &member.ends {
                let mut bytes = Vec::with_capacity(pending.ends().len().saturating_mul(8));
                for end in pending.ends() {
                    bytes.extend_from_slice(&keep.saturating_add(*end).to_le_bytes());
                }
                let kept = pending.keep.saturating_mul(END);
                parts.push(self.part(nth, ends, kept, Bytes::Ends(bytes))?);
            }
        }
        Ok(parts)
    }

    fn part(&self, member: usize, column: &Column, keep: u64, bytes: Bytes) -> Result<Part> {
        let is_ends = matches!(bytes, Bytes::Ends(_));
        let (old, tail) = (column.tail.end, column.tail_at(keep)?);
        let (inline, sums) = (0, Vec::new());
        let mut part = Part { member, is_ends, old, keep, tail, bytes, inline, sums };
        let mut sums = Vec::new();
        let mut tail = part.tail;
        tail.extend(part.bytes(), &mut sums);
        part.tail = tail;
        part.sums = super::blocks::sum_bytes(&sums);
        let len = part.bytes().len();
        let below = usize::try_from(old.saturating_sub(keep)).unwrap_or(usize::MAX).min(len);
        let small = is_ends || len <= self.settings.inline_limit;
        part.inline = if small { len } else { below };
        let limit = super::INLINE_MAX;
        if part.inline > limit {
            let what = format!(
                "it rewinds and appends {} bytes in the place of committed ones; a commit takes {limit} such bytes: flush the rewind first",
                part.inline
            );
            return Err(Error::new(ErrorKind::TooLarge, "commit", &self.path, what));
        }
        Ok(part)
    }

    /// Refuses a rewind that snapshots would make too dear.
    fn copies_fit(&self, parts: &[Part]) -> Result<()> {
        let rewound: u64 = parts
            .iter()
            .filter(|part| part.rewinds())
            .map(|part| part.old.saturating_sub(start_of(block_of(part.keep))))
            .sum();
        if rewound <= self.settings.snapshot_copy_max {
            return Ok(());
        }
        let (held, _) = self.shared.held();
        if held == 0 {
            return Ok(());
        }
        let what = format!(
            "{held} snapshots show what is rewound: {rewound} bytes would be copied for them, the limit is {} (snapshot_copy_max); drop them first",
            self.settings.snapshot_copy_max
        );
        Err(Error::new(ErrorKind::OverBudget, "rewind", &self.path, what))
    }

    /// A record without entries: everything stands as it stood, the note too.
    fn nothing_new(&self) -> Vec<u8> {
        let entries = Vec::new();
        Change { vouches: true, seq: self.seq, note: &self.note, entries }.encode()
    }

    /// Says in the log that the files may have more than it knows of (S2).
    pub(super) fn begin_use(&mut self) -> Result<()> {
        if self.in_use {
            return Ok(());
        }
        let change = self.nothing_new();
        self.put(&change, Durability::Synced)?;
        self.in_use = true;
        Ok(())
    }

    fn write_ahead(
        &mut self,
        parts: &[Part],
        durability: Durability,
        syncs: &mut u32,
    ) -> Result<()> {
        for part in parts {
            let files = &self.column(part.member, part.is_ends)?.files;
            files.write_beyond(part.old, part.keep, part.bytes())?;
            files.write_sums_beyond(part.old, block_of(part.keep), &part.sums)?;
        }
        let direct: Vec<(usize, bool)> =
            parts.iter().filter(|p| p.is_direct()).map(|p| (p.member, p.is_ends)).collect();
        for (member, is_ends) in direct {
            self.column_mut(member, is_ends)?.loose = true;
        }
        if durability == Durability::Synced { self.sync_loose(syncs) } else { Ok(()) }
    }

    /// Syncs what no record carries. A failure is final; the records that there are do not count on it.
    pub(super) fn sync_loose(&mut self, syncs: &mut u32) -> Result<()> {
        for member in &mut self.members {
            for column in member.columns_mut().filter(|column| column.loose) {
                if let Err(error) = column.make_durable(SyncSite::AppendAhead) {
                    let error = error.with_outcome(Outcome::Unchanged);
                    let first = Arc::new(error);
                    self.poison.set(Arc::clone(&first));
                    return Err(Error::share(&first));
                }
                *syncs = syncs.saturating_add(1);
            }
        }
        Ok(())
    }

    fn write_record(&mut self, parts: &[Part], durability: Durability) -> Result<()> {
        let entries = parts.iter().map(|part| Entry::Extend(part.extend())).collect();
        let written = self.put_entries(entries, durability);
        if let Err(error) = &written
            && error.outcome() == Outcome::Unchanged
        {
            self.take_back(parts);
        }
        written
    }

    /// Appends the record of the next commit, with the note that was left for it.
    pub(super) fn put_entries(
        &mut self,
        entries: Vec<Entry<'_>>,
        durability: Durability,
    ) -> Result<()> {
        let note = self.next_note.as_ref().unwrap_or(&self.note);
        let seq = self.seq.saturating_add(1);
        let loose = |member: &Member| member.columns().any(|column| column.loose);
        let vouches = !self.members.iter().any(loose);
        let change = Change { vouches, seq, note, entries }.encode();
        self.put(&change, durability)?;
        self.seq = seq;
        if let Some(note) = self.next_note.take() {
            self.note = note;
        }
        Ok(())
    }

    /// Appends a record. What fails with another outcome than `Unchanged` has poisoned the store.
    pub(super) fn put(&mut self, change: &[u8], durability: Durability) -> Result<()> {
        let ticket = match self.log.change(change) {
            Err(error) if error.outcome() != Outcome::Unchanged => {
                return Err(self.poison_by(error));
            }
            ticket => ticket?,
        };
        let done = match durability {
            Durability::Synced => self.log.log().sync().map(drop),
            Durability::Buffered => ticket.wait().map(drop),
        };
        match done {
            Ok(()) => {
                self.since = self.since.saturating_add(change.len() as u64);
                self.unsynced = durability == Durability::Buffered;
                Ok(())
            }
            // Earlier buffered records that were told would be withdrawn with it.
            Err(error) if !self.unsynced && error.outcome() == Outcome::Unchanged => Err(error),
            Err(error) => Err(self.poison_by(error.with_outcome(Outcome::Unknown))),
        }
    }

    /// Gives back the space of what was written ahead. If that fails it stays behind the end, where nobody looks.
    fn take_back(&mut self, parts: &[Part]) {
        for part in parts {
            if let Ok(column) = self.column_mut(part.member, part.is_ends) {
                column.cut = true;
                drop(column.files.cut(part.old));
            }
        }
    }

    /// Brings files, columns and readers to where the record is.
    fn apply(&mut self, parts: Vec<Part>, durability: Durability) -> Result<()> {
        if !parts.iter().any(Part::rewinds) {
            self.moved(parts, &[])?;
            let next = self.published();
            self.shared.publish(next, durability == Durability::Synced);
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let turn = shared.turn(self.rewound(&parts)?);
        let living = turn.living();
        copy_away(&parts, &living)?;
        for part in parts.iter().filter(|part| part.rewinds()) {
            let column = self.column_mut(part.member, part.is_ends)?;
            column.files.write_below(part.old, part.keep, part.bytes())?;
            column.files.write_sums_below(part.old, block_of(part.keep), &part.sums)?;
            if part.tail.end < part.old {
                column.cut = true;
                column.files.cut(part.tail.end)?;
            }
        }
        for part in parts.iter().filter(|part| part.rewinds() && !part.is_ends) {
            let keep = self.member(part.member)?.pending.keep;
            shared.note_rewind(self.seq, part.member, keep);
        }
        self.moved(parts, &living)?;
        drop(living);
        turn.finish(self.published());
        Ok(())
    }

    /// What readers see if the rewind cannot be finished: the elements that it keeps. The block that it ends in was compared when the
    /// tail was made of it, so that it is not looked for in sums that may be half written.
    fn rewound(&self, parts: &[Part]) -> Result<Published> {
        let members = self.members.iter().map(Member::shown).collect();
        let mut next = Published { seq: self.seq, members, hold: Some(Arc::clone(&self.claim)) };
        for part in parts.iter().filter(|part| part.rewinds() && !part.is_ends) {
            let keep = self.member(part.member)?.pending.keep;
            if let Some(view) = next.members.get_mut(part.member) {
                view.len = keep;
                view.data_end = part.keep;
            }
        }
        Ok(next)
    }

    /// The columns end where the record says; what was pending is committed.
    fn moved(&mut self, parts: Vec<Part>, living: &[Arc<Published>]) -> Result<()> {
        let mut members = Vec::new();
        for part in parts {
            let (keep, tail, nth, is_ends) = (part.keep, part.tail, part.member, part.is_ends);
            drop(part);
            let column = self.column_mut(nth, is_ends)?;
            let shown = living.iter().any(|state| shows(state, nth, &column.range));
            if (shown && keep < column.tail.end) || tail.end > column.range.capacity() {
                column.range = Arc::new(column.range.successor(keep, tail.end)?);
            }
            // Its beginning was compared when the tail was made of it.
            column.range.trust(start_of(block_of(keep))..tail.end);
            column.tail = tail;
            members.push(nth);
        }
        for nth in members {
            self.member_mut(nth)?.discard();
        }
        Ok(())
    }
}

/// Whether a state reads through this range.
fn shows(state: &Published, member: usize, range: &Arc<Range>) -> bool {
    state.members.get(member).is_some_and(|view| {
        Arc::ptr_eq(&view.data, range)
            || view.ends.as_ref().is_some_and(|ends| Arc::ptr_eq(ends, range))
    })
}

/// Copies what states that are still held show of bytes that are about to change (W4).
fn copy_away(parts: &[Part], living: &[Arc<Published>]) -> Result<()> {
    for state in living {
        for part in parts.iter().filter(|part| part.rewinds()) {
            let Some(view) = state.members.get(part.member) else { continue };
            let (range, end) = if part.is_ends {
                (view.ends.as_ref(), view.len.saturating_mul(END))
            } else {
                (Some(&view.data), view.data_end)
            };
            if let Some(range) = range.filter(|_| end > part.keep) {
                range.freeze(part.keep, end)?;
            }
        }
    }
    Ok(())
}
