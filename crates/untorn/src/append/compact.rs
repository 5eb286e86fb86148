//! Drops elements from the middle: the others are written into new files, and the store goes over to them in one record.
//!
//! # Invariants
//! - M1 The new files and their names are durable before the record that goes over to them; the old ones are removed after it.
//! - M2 Blocks are verified while they are copied: damage is found, and not copied under a new sum.
//! - M3 Old states keep reading from the old files, which nobody changes any more.

use std::borrow::Cow;
use std::sync::Arc;

use super::begin::{Site, file_name};
use super::blocks::{HEADER, Tail, block_of, start_of, sum_bytes};
use super::column::{Column, Files};
use super::meta::{ENDS, ENDS_SUMS, SUMS};
use super::open::take_name;
use super::record::{End, Entry, MemberState};
use super::stats::PruneReport;
use super::store::{END, Member, Store};
use crate::commit::{self, sync_dir, sync_file};
use crate::fs::{How, SyncSite};
use crate::{Durability, Error, ErrorKind, Outcome, Result};

/// So many bytes are copied at once.
const PIECE: usize = 1 << 20;

/// A successor that is written and not gone over to.
#[derive(Debug)]
pub(super) struct Prepared {
    generation: u64,
    data: Files,
    data_tail: Tail,
    ends: Option<(Files, Tail)>,
    /// Elements of the old files that it covers, dropped or copied.
    covers: u64,
    /// The commit that it was made at.
    seq: u64,
    report: PruneReport,
}

impl Prepared {
    fn state(&self) -> MemberState {
        let end = |tail: Tail| End { end: tail.end, crc: tail.crc };
        MemberState {
            generation: self.generation,
            first: 0,
            first_byte: 0,
            data: end(self.data_tail),
            ends: self.ends.as_ref().map(|(_, tail)| end(*tail)),
        }
    }
}

/// Writes a column in pieces, with its sums.
struct Writing<'a> {
    files: &'a Files,
    tail: &'a mut Tail,
    buffer: Vec<u8>,
}

impl Writing<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let (at, block) = (self.tail.end, block_of(self.tail.end));
        let mut sums = Vec::new();
        self.tail.extend(&self.buffer, &mut sums);
        let sums = sum_bytes(&sums);
        self.files.write(at, &self.buffer)?;
        self.files.write_sums_beyond(0, block, &sums)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Store {
    /// Writes the successor of a member without the elements `dead`. What the store holds does not change.
    pub(super) fn prepare(&mut self, nth: usize, dead: &[u64]) -> Result<PruneReport> {
        self.check("prune")?;
        self.nothing_pending("prune")?;
        self.drop_prepared(nth);
        check_dead(self.member(nth)?, dead)?;
        // An open after a close in order sweeps nothing (S2).
        self.begin_use()?;
        let mut next = self.empty_successor(nth)?;
        let written = self.copy(nth, &mut next, dead);
        let done = written.and_then(|()| self.sync_successor(&next));
        if let Err(error) = done {
            self.unlink_successor(nth, next.generation);
            return Err(error.with_outcome(Outcome::Unchanged));
        }
        let report = next.report;
        self.member_mut(nth)?.prepared = Some(next);
        Ok(report)
    }

    /// What dropping these elements would do.
    pub(super) fn would_prune(&self, nth: usize, dead: &[u64]) -> Result<PruneReport> {
        let member = self.member(nth)?;
        check_dead(member, dead)?;
        let mut bytes = 0_u64;
        for &element in dead {
            let end = member.start_of(element.saturating_add(1))?;
            bytes = bytes.saturating_add(end.saturating_sub(member.start_of(element)?));
        }
        let all = member.data.tail.end.saturating_sub(member.first_byte);
        let (dropped, len) = (dead.len() as u64, member.len().saturating_sub(member.first));
        let (kept, written) = (len.saturating_sub(dropped), all.saturating_sub(bytes));
        Ok(PruneReport { dropped, kept, freed: bytes, written, later: false })
    }

    /// Goes over to what was prepared, of all members that have something (M1).
    pub(super) fn replace(&mut self) -> Result<()> {
        self.check("replace")?;
        self.nothing_pending("replace")?;
        let ready: Vec<usize> = (0..self.members.len())
            .filter(|nth| self.members.get(*nth).is_some_and(|m| m.prepared.is_some()))
            .collect();
        if ready.is_empty() {
            let what = "nothing was prepared; call write_tmp_pruned first";
            return Err(Error::new(ErrorKind::Precondition, "replace", &self.path, what));
        }
        for &nth in &ready {
            self.catch_up(nth)?;
        }
        self.begin_use()?;
        let entries = ready
            .iter()
            .filter_map(|nth| {
                let state = self.members.get(*nth)?.prepared.as_ref()?.state();
                Some(Entry::Switch { member: u16::try_from(*nth).unwrap_or(u16::MAX), state })
            })
            .collect();
        // All that is older goes with the old files: what was not synced is vouched for by the new ones.
        let mut syncs = 0;
        self.sync_loose(&mut syncs)?;
        self.put_entries(entries, Durability::Synced)?;
        if let Err(error) = self.go_over(&ready) {
            return Err(self.poison_by(error.with_outcome(Outcome::Applied)));
        }
        self.checkpoint(false).and_then(|()| self.sweep_files()).or_else(|error| {
            // The switch stands; what is left is done by the next open.
            if self.poison.is_set() { Err(error.with_outcome(Outcome::Applied)) } else { Ok(()) }
        })
    }

    fn go_over(&mut self, ready: &[usize]) -> Result<()> {
        let home = Arc::clone(&self.home);
        let settings = self.settings.clone();
        for &nth in ready {
            let member = self.member_mut(nth)?;
            let Some(next) = member.prepared.take() else { continue };
            take_name(&*home, &member.place, nth, next.generation)?;
            let like = &member.data;
            member.data =
                Column::open(next.data, next.data_tail, like.range.mode(), &settings, false)?;
            if let (Some(old), Some((files, tail))) = (&member.ends, next.ends) {
                member.ends = Some(Column::open(files, tail, old.range.mode(), &settings, false)?);
            }
            (member.generation, member.first, member.first_byte) = (next.generation, 0, 0);
            member.head_to_punch = false;
            member.discard();
        }
        for &nth in ready {
            // Positions shift: who follows begins anew.
            self.shared.note_rewind(self.seq, nth, 0);
        }
        let next = self.published();
        self.shared.publish(next, true);
        Ok(())
    }

    fn empty_successor(&self, nth: usize) -> Result<Prepared> {
        let member = self.member(nth)?;
        let generation = member.generation.saturating_add(1);
        let site = Site { settings: &self.settings, home: &self.home, store_id: self.id };
        let name = file_name("data", nth, generation);
        let path = self.home.path().join(&name);
        let fail = |e| Error::system("make", &path, e);
        let file = self.home.open(&name, How::Create(0o600)).map_err(fail)?;
        file.set_len(0).map_err(fail)?;
        let old = member.data.files.file.stat().map_err(fail)?;
        file.set_mode(old.mode).map_err(fail)?;
        let data = Files { file, sums: site.make(SUMS, nth, generation)?, base: 0 };
        let ends = match &member.ends {
            None => None,
            Some(ends) => Some((
                Files {
                    file: site.make(ENDS, nth, generation)?,
                    sums: site.make(ENDS_SUMS, nth, generation)?,
                    base: HEADER,
                },
                Tail::empty(ends.tail.seed),
            )),
        };
        let (covers, report) = (member.first, PruneReport::default());
        let data_tail = Tail::empty(member.data.tail.seed);
        Ok(Prepared { generation, data, data_tail, ends, covers, seq: self.seq, report })
    }

    /// Copies the elements from where the successor is to the end, but the dead ones.
    fn copy(&self, nth: usize, next: &mut Prepared, dead: &[u64]) -> Result<()> {
        let member = self.member(nth)?;
        let len = member.len();
        let mut source = Source::new(member, next.covers)?;
        let mut data = Writing { files: &next.data, tail: &mut next.data_tail, buffer: Vec::new() };
        let mut ends =
            next.ends.as_mut().map(|(files, tail)| Writing { files, tail, buffer: Vec::new() });
        let mut dead = dead.iter().copied().peekable();
        let mut at = next.covers;
        let mut new_end = data.tail.end;
        let (mut tell_at, dropped_before) = (0, next.report.dropped);
        let whole = member.data.tail.end;
        while at < len {
            if dead.next_if_eq(&at).is_some() {
                source.skip(at)?;
                next.report.dropped = next.report.dropped.saturating_add(1);
                at = at.saturating_add(1);
            } else if let Some(ends) = &mut ends {
                let bytes = source.take(at)?;
                data.put(bytes)?;
                new_end = new_end.saturating_add(bytes.len() as u64);
                ends.put(&new_end.to_le_bytes())?;
                at = at.saturating_add(1);
            } else {
                // All up to the next dead one, as far as they are at hand.
                let (bytes, until) = source.take_to(dead.peek().map_or(len, |dead| *dead), at)?;
                data.put(bytes)?;
                at = until;
            }
            if source.at >= tell_at {
                self.settings.tell(source.at, whole);
                tell_at = source.at.saturating_add(PIECE as u64);
            }
        }
        let covered = len.saturating_sub(next.covers);
        let kept = covered.saturating_sub(next.report.dropped.saturating_sub(dropped_before));
        next.report.kept = next.report.kept.saturating_add(kept);
        data.write()?;
        if let Some(mut ends) = ends {
            ends.write()?;
        }
        next.covers = len;
        next.report.written = next.data_tail.end;
        next.report.freed =
            whole.saturating_sub(member.first_byte).saturating_sub(next.data_tail.end);
        Ok(())
    }

    fn sync_successor(&self, next: &Prepared) -> Result<()> {
        for files in std::iter::once(&next.data).chain(next.ends.as_ref().map(|(files, _)| files)) {
            sync_file(&*files.file, SyncSite::AppendNext)?;
            sync_file(&*files.sums, SyncSite::AppendNext)?;
        }
        sync_dir(&*self.home, SyncSite::AppendNextDir)
    }

    /// Copies what was appended since the successor was written.
    fn catch_up(&mut self, nth: usize) -> Result<()> {
        let member = self.member_mut(nth)?;
        let Some(mut next) = member.prepared.take() else { return Ok(()) };
        let rewound = self.shared.rewinds_since(next.seq, nth);
        if rewound.is_some_and(|kept| kept < next.covers) {
            self.unlink_successor(nth, next.generation);
            let what =
                "elements that it covers were rewound since it was prepared; prepare it anew";
            return Err(Error::new(ErrorKind::Precondition, "replace", &self.path, what));
        }
        if self.member(nth)?.len() > next.covers {
            let done = self.copy(nth, &mut next, &[]).and_then(|()| self.sync_successor(&next));
            if let Err(error) = done {
                self.unlink_successor(nth, next.generation);
                return Err(error.with_outcome(Outcome::Unchanged));
            }
        }
        self.member_mut(nth)?.prepared = Some(next);
        Ok(())
    }

    pub(super) fn drop_prepared(&mut self, nth: usize) {
        let prepared = self.members.get_mut(nth).and_then(|member| member.prepared.take());
        if let Some(prepared) = prepared {
            self.unlink_successor(nth, prepared.generation);
        }
    }

    /// A successor that is not wanted. What cannot be removed now is swept by an open.
    fn unlink_successor(&self, nth: usize, generation: u64) {
        for kind in ["data", "ends", "sums", "esums"] {
            drop(commit::unlink(&*self.home, &file_name(kind, nth, generation)));
        }
    }

    /// Raises the first element, in one commit; then gives back the blocks before it.
    pub(super) fn drop_head(&mut self, nth: usize, first: u64) -> Result<PruneReport> {
        self.check("drop the head of")?;
        self.nothing_pending("drop the head of")?;
        let member = self.member(nth)?;
        let path = member.place.path();
        if first > member.len() {
            let what = format!("it has {} elements; {first} cannot be the first", member.len());
            return Err(Error::new(ErrorKind::OutOfRange, "drop the head of", &path, what));
        }
        if first < member.first {
            return Err(super::pruned("drop the head of", &path, first, member.first));
        }
        let kept = member.len().saturating_sub(first);
        let dropped = first.saturating_sub(member.first);
        if dropped == 0 {
            return Ok(PruneReport { kept, ..PruneReport::default() });
        }
        let first_byte = member.start_of(first)?;
        let before = member.first_byte;
        self.begin_use()?;
        let mut syncs = 0;
        self.sync_loose(&mut syncs)?;
        let member = u16::try_from(nth).unwrap_or(u16::MAX);
        self.put_entries(vec![Entry::Head { member, first, first_byte }], Durability::Synced)?;
        let member = self.member_mut(nth)?;
        (member.first, member.first_byte, member.head_to_punch) = (first, first_byte, true);
        let next = self.published();
        self.shared.publish(next, true);
        let blocks = |byte| start_of(block_of(byte));
        let want = blocks(first_byte).saturating_sub(blocks(before));
        let freed = self.punch_heads().min(want);
        Ok(PruneReport { dropped, kept, freed, written: 0, later: freed < want })
    }
}

fn check_dead(member: &Member, dead: &[u64]) -> Result<()> {
    let path = member.place.path();
    let error = |kind, what: String| Err(Error::new(kind, "prune", &path, what));
    if let Some(&[_, next]) = dead.windows(2).find(|two| two.first() >= two.last()) {
        let what = format!("positions must go up, each once; {next} comes too late");
        return error(ErrorKind::InvalidInput, what);
    }
    if let Some(last) = dead.last().filter(|last| **last >= member.len()) {
        let what = format!("it has {} elements; there is none at {last}", member.len());
        return error(ErrorKind::OutOfRange, what);
    }
    match dead.first() {
        Some(first) if *first < member.first => {
            Err(super::pruned("prune", &path, *first, member.first))
        }
        _ => Ok(()),
    }
}

/// Reads elements one after the other, each byte once, verified (M2).
struct Source<'a> {
    member: &'a Member,
    /// Bytes of the data, from `from` on; `at` is the next to be handed out. Where the file is mapped they are not copied.
    window: Cow<'a, [u8]>,
    from: u64,
    at: u64,
    /// Some of the ends, from that of `ends_from` on.
    ends: Vec<u8>,
    ends_from: u64,
}

impl<'a> Source<'a> {
    fn new(member: &'a Member, first: u64) -> Result<Self> {
        let at = member.start_of(first)?;
        let (window, ends) = (Cow::Borrowed(&[][..]), Vec::new());
        Ok(Self { member, window, from: at, at, ends, ends_from: first })
    }

    fn end_of(&mut self, element: u64) -> Result<u64> {
        let Some(ends) = &self.member.ends else {
            return Ok(self.at.saturating_add(u64::from(self.member.spec.fixed)));
        };
        let have = (self.ends.len() as u64) / END;
        if element >= self.ends_from.saturating_add(have) {
            self.ends.clear();
            self.ends_from = element;
            let from = element.saturating_mul(END);
            let to = from.saturating_add(PIECE as u64).min(ends.tail.end);
            ends.range.copy(from..to, &mut self.ends)?;
        }
        let nth = usize::try_from(element.saturating_sub(self.ends_from)).unwrap_or(usize::MAX);
        let at = nth.saturating_mul(8);
        let bytes = self.ends.get(at..at.saturating_add(8)).unwrap_or_default();
        let end = bytes.try_into().map_or(0, u64::from_le_bytes);
        if end < self.at || end > self.member.data.tail.end {
            let path = ends.files.file.path();
            let what = format!("element {element} is said to end where no element can");
            return Err(Error::new(ErrorKind::Damaged, "prune", path, what));
        }
        Ok(end)
    }

    fn skip(&mut self, element: u64) -> Result<()> {
        self.at = self.end_of(element)?;
        Ok(())
    }

    fn take(&mut self, element: u64) -> Result<&[u8]> {
        let end = self.end_of(element)?;
        self.look_at(end)?;
        Ok(self.hand_out(end))
    }

    /// Elements of fixed size from `element` up to `until`, one at least, as far as they are in the window; and where they end.
    fn take_to(&mut self, until: u64, element: u64) -> Result<(&[u8], u64)> {
        let fixed = u64::from(self.member.spec.fixed);
        self.look_at(self.at.saturating_add(fixed))?;
        let there = self.from.saturating_add(self.window.len() as u64).saturating_sub(self.at);
        let wanted = until.saturating_sub(element);
        let count = there.checked_div(fixed).map_or(wanted, |there| there.min(wanted)).max(1);
        let end = self.at.saturating_add(count.saturating_mul(fixed));
        Ok((self.hand_out(end), element.saturating_add(count)))
    }

    /// Sees to it that the bytes up to `end` are in the window.
    fn look_at(&mut self, end: u64) -> Result<()> {
        if end <= self.from.saturating_add(self.window.len() as u64) {
            return Ok(());
        }
        self.from = self.at;
        let data = &self.member.data;
        let to = self.at.saturating_add(PIECE as u64).max(end).min(data.tail.end);
        if data.range.is_mapped() {
            self.window = Cow::Borrowed(data.range.read(self.from..to)?);
            return Ok(());
        }
        let mut window = std::mem::take(&mut self.window).into_owned();
        window.clear();
        data.range.copy(self.from..to, &mut window)?;
        self.window = Cow::Owned(window);
        Ok(())
    }

    fn hand_out(&mut self, end: u64) -> &[u8] {
        let index = |at: u64| usize::try_from(at.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let bytes = index(self.at)..index(end);
        self.at = end;
        self.window.get(bytes).unwrap_or_default()
    }
}
