//! A commit: a batch and the cursor behind it, in the log, then in memory.
//!
//! # Invariants
//! - A1 The record, or the records that the log writes all or not at all, has all of the batch and the cursor.
//! - A2 Nothing in memory changes before the record is written, and synced where commits are. What fails before changes nothing.
//! - A3 What an open makes of the records is what was made of them here.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::base::Base;
use super::held::{Held, Slot, Spot, Value};
use super::options::{FoldOptions, Redelivery, SyncPolicy};
use super::record::{Action, Commit, Laid, Writer, raise};
use super::shared::Shared;
use super::subscribe::{Change, change};
use super::view::{Segment, State};
use super::{CursorOrder, KEY_MAX, KvUpdate, VersionToken, WatchCursor};
use crate::log::{Log, Ticket, bytes_of, segment_file};
use crate::{Durability, Error, ErrorKind, Outcome, Result};

/// Batches above this are put into a copy of the view, so that readers are not held up.
const LARGE: usize = 1024;

/// What is committed besides the updates.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) commit: Commit,
    /// Updates are taken as they come.
    pub(super) as_given: bool,
}

/// An update that counts, and where its value was laid.
struct Taken<'a> {
    update: &'a KvUpdate,
    laid: Laid,
}

impl Shared {
    /// The log, for who may write.
    pub(super) fn writable(&self, operation: &'static str) -> Result<Log> {
        self.poison.check(operation, &self.path)?;
        let log = self.log().clone();
        if let Some(log) = log {
            log.check(operation)?;
            return Ok(log);
        }
        let (kind, what) = if self.options.read_only {
            (ErrorKind::ReadOnly, "it was opened to be read only")
        } else {
            (ErrorKind::Closed, "the fold was closed")
        };
        Err(Error::new(kind, operation, &self.path, what))
    }

    /// Commits updates and what the terms say, as one.
    pub(super) fn commit(&self, updates: &[KvUpdate], terms: &Terms) -> Result<()> {
        let log = self.writable("apply")?;
        self.check_sizes(updates)?;
        let commit = &terms.commit;
        let state = self.view().state.clone();
        if !commit.restart && !commit.cursor.reaches(&state.cursor, self.options.cursor_order) {
            self.check_order(&commit.cursor, &state.cursor)?;
        }
        let mut writer = Writer::default();
        let taken = self.take(updates, terms, &state, &mut writer)?;
        let records = writer.finish(commit);
        let bytes: u64 = records.iter().map(|record| record.len() as u64).sum();
        let ticket = log.append_batch(records.iter().map(Vec::as_slice))?;
        let lens: Vec<usize> = records.iter().map(Vec::len).collect();
        drop(records);
        log.wait(&ticket)?;
        // From here on it is committed: what fails must not say that it is not (A2).
        let slots = self.slots(&taken, &lens, &ticket);
        let changes = self.changes(&taken, &commit.cursor);
        let mut newest = VersionToken::unknown();
        for taken in &taken {
            raise(&mut newest, taken.update.version().as_bytes());
        }
        self.count_garbage(&taken);
        self.show(slots, |state| advance(state, commit, ticket.seq, &newest));
        self.hub.tell(&changes);
        self.tail.fetch_add(bytes, Relaxed);
        let mut counters = self.counters();
        counters.commits = counters.commits.saturating_add(1);
        counters.updates = counters.updates.saturating_add(taken.len() as u64);
        let dropped = updates.len().saturating_sub(taken.len());
        counters.stale_ops = counters.stale_ops.saturating_add(dropped as u64);
        drop(counters);
        self.tell_commit(ticket.seq, bytes, &commit.cursor);
        self.sync_if_due(&log)
    }

    fn check_sizes(&self, updates: &[KvUpdate]) -> Result<()> {
        for update in updates {
            let refuse = |what: String| {
                let error = Error::new(ErrorKind::TooLarge, "apply", &self.path, what);
                Err(error.with_outcome(Outcome::Unchanged))
            };
            if update.key().len() > KEY_MAX {
                return refuse(format!(
                    "a key has {} bytes; {KEY_MAX} is the most",
                    update.key().len()
                ));
            }
            let (len, most) = (update.value().map_or(0, <[u8]>::len), self.options.max_value);
            if len as u64 > u64::from(most) {
                let key: String = update.key().chars().take(100).collect();
                return refuse(format!("the value of {key:?} has {len} bytes; {most} is the most"));
            }
        }
        Ok(())
    }

    /// The new cursor does not reach the old one.
    fn check_order(&self, new: &WatchCursor, old: &WatchCursor) -> Result<()> {
        if self.options.cursor_order == CursorOrder::Opaque && !new.is_none() {
            return Ok(());
        }
        let what = format!("the cursor {new} is behind {old}, which the fold has");
        let error = Error::new(ErrorKind::CursorRegressed, "apply", &self.path, what);
        Err(error.with_outcome(Outcome::Unchanged))
    }

    /// Writes the updates that count.
    fn take<'a>(
        &self,
        updates: &'a [KvUpdate],
        terms: &Terms,
        state: &State,
        writer: &mut Writer,
    ) -> Result<Vec<Taken<'a>>> {
        let mut taken = Vec::with_capacity(updates.len());
        for update in updates {
            if !terms.as_given && self.is_stale(update, state)? {
                continue;
            }
            let action = match update {
                KvUpdate::Put(entry) => Action::Put(&entry.value),
                KvUpdate::Delete { .. } => Action::Delete,
                KvUpdate::Purge { .. } => Action::Purge,
            };
            let laid = writer.push(update.key().as_bytes(), update.version().as_bytes(), action);
            taken.push(Taken { update, laid });
        }
        Ok(taken)
    }

    /// Whether what is held is as new as this, or newer.
    fn is_stale(&self, update: &KvUpdate, state: &State) -> Result<bool> {
        let (order, version) = (self.options.cursor_order, update.version().as_bytes());
        let above = |mark: &[u8]| order.newer(version, mark);
        match self.options.redelivery {
            Redelivery::Accept => Ok(false),
            Redelivery::Skip => Ok(above(state.cursor.position()) == Some(false)),
            Redelivery::PerKey
                if version.is_empty() || above(state.mark.as_bytes()) == Some(true) =>
            {
                Ok(false)
            }
            Redelivery::PerKey => {
                let held = self.version_held(update.key())?;
                Ok(held.is_some_and(|held| above(held.as_bytes()) == Some(false)))
            }
        }
    }

    /// The version that is held of a key, deleted or not.
    pub(super) fn version_held(&self, key: &str) -> Result<Option<VersionToken>> {
        self.find(key, |held| Ok(VersionToken::of(held.version)))
    }

    /// Shows `look` what is held of a key, deleted or not, without the view's lock (S2).
    pub(super) fn find<R>(
        &self,
        key: &str,
        look: impl FnOnce(&Held<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let (found, base) = {
            let view = self.view();
            match view.overlay(key.as_bytes()) {
                Some(slot) => (Some(slot.clone()), None),
                None => (None, view.base.clone()),
            }
        };
        match (found, base) {
            (Some(slot), _) => look(&slot.held()).map(Some),
            (None, Some(base)) => base.find(key.as_bytes(), look),
            (None, None) => Ok(None),
        }
    }

    /// What the updates are in memory. A value whose segment cannot be opened stays there.
    fn slots(&self, taken: &[Taken<'_>], lens: &[usize], ticket: &Ticket) -> Vec<Slot> {
        let place = ticket.pos().and_then(|pos| {
            self.keep_segment(pos.segment).ok()?;
            // The position is that of the last record; the others lie before it, each behind its own prefix.
            let prefix =
                bytes_of(pos, false).saturating_sub(pos.frame.saturating_add(u64::from(pos.at)));
            let mut start = bytes_of(pos, false);
            let mut starts: Vec<u64> = Vec::with_capacity(lens.len());
            for len in lens.iter().rev().skip(1) {
                starts.push(start);
                start = start.saturating_sub(prefix).saturating_sub(*len as u64);
            }
            starts.push(start);
            starts.reverse();
            Some((pos.segment, starts))
        });
        let mut scratch = Vec::new();
        let inline_max = inline_max(&self.options);
        let slot = |taken: &Taken<'_>| {
            let value = match taken.update.value() {
                None => Value::Gone { aged: false },
                Some(bytes) => match &place {
                    Some((segment, starts)) if bytes.len() > inline_max => {
                        let record = starts.get(taken.laid.record).copied().unwrap_or_default();
                        Value::InLog(Spot {
                            segment: *segment,
                            offset: record.saturating_add(taken.laid.at as u64),
                            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                            crc: taken.laid.crc,
                        })
                    }
                    _ => Value::Here(bytes),
                },
            };
            let (key, version) = (taken.update.key().as_bytes(), taken.update.version().as_bytes());
            Slot::new(&Held { key, version, value }, &mut scratch)
        };
        taken.iter().map(slot).collect()
    }

    /// Opens a segment, so that values can be read from it while a view has them (V2).
    fn keep_segment(&self, number: u64) -> Result<()> {
        if self.view().has_segment(number) {
            return Ok(());
        }
        let segment = Segment::open(number, segment_file(&*self.log_dir, number)?, self.read_mode)?;
        let mut view = self.view_mut();
        let mut segments = (*view.segments).clone();
        segments.push(Arc::new(segment));
        view.segments = Arc::new(segments);
        Ok(())
    }

    /// Puts slots into the view, and goes on with its state, as one.
    pub(super) fn show(&self, slots: Vec<Slot>, advance: impl FnOnce(&mut State)) {
        if slots.len() <= LARGE {
            let mut view = self.view_mut();
            for slot in slots {
                view.live.insert(slot);
            }
            advance(&mut view.state);
            return;
        }
        // Only the writer changes what is live, so that nothing is lost between the two.
        let mut live = self.view().live.clone();
        for slot in slots {
            live.insert(slot);
        }
        let mut view = self.view_mut();
        view.live = live;
        advance(&mut view.state);
    }

    /// What subscribers are told, if there are any.
    fn changes(&self, taken: &[Taken<'_>], cursor: &WatchCursor) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.hub.is_empty() {
            return changes;
        }
        for Taken { update, .. } in taken.iter().filter(|taken| self.hub.wants(taken.update.key()))
        {
            let old = self.find(update.key(), |held| {
                Ok((!held.value.is_gone()).then(|| VersionToken::of(held.version)))
            });
            // Who listens is not told a wrong version where the old one cannot be read.
            changes.push(change(update, old.ok().flatten().flatten(), cursor));
        }
        changes
    }

    /// What deletions made garbage in the base: a tail of them is short, however much they free.
    fn count_garbage(&self, taken: &[Taken<'_>]) {
        let Some(base) = self.view().base.clone() else { return };
        let deleted = taken.iter().filter(|taken| taken.update.value().is_none());
        let garbage: u64 = deleted.map(|taken| size_in(&base, taken.update.key())).sum();
        self.garbage.fetch_add(garbage, Relaxed);
    }

    fn sync_if_due(&self, log: &Log) -> Result<()> {
        if let SyncPolicy::Window { time, bytes } = self.options.sync_policy
            && self.options.durability == Durability::Synced
            && self.window_is_over(time, bytes)
        {
            log.sync()?;
        }
        Ok(())
    }
}

/// Bytes that a base has of a key, if it has a value.
fn size_in(base: &Base, key: &str) -> u64 {
    let size = base.find(key.as_bytes(), |held| {
        let value = match held.value {
            Value::Gone { .. } => return Ok(0),
            Value::Here(bytes) => bytes.len() as u64,
            Value::InBase(spot) | Value::InLog(spot) => u64::from(spot.len),
        };
        Ok(value.saturating_add(held.key.len() as u64))
    });
    size.ok().flatten().unwrap_or(0)
}

/// Values up to this stay in memory; those without a checksum of their own do in any case.
pub(super) fn inline_max(options: &FoldOptions) -> usize {
    usize::try_from(options.inline_value_max).unwrap_or(usize::MAX).max(super::record::SMALL_VALUE)
}

/// What a commit makes of the state, where `newest` is the newest version in it; an open does the same with what it reads (A3).
pub(super) fn advance(state: &mut State, commit: &Commit, seq: u64, newest: &VersionToken) {
    if commit.restart {
        state.mark = VersionToken::unknown();
    }
    raise(&mut state.mark, newest.as_bytes());
    raise(&mut state.mark, commit.cursor.position());
    state.cursor = commit.cursor.clone();
    if let Some(lineage) = &commit.lineage {
        state.lineage = Some(Arc::new(lineage.clone()));
    }
    state.wall_ms = commit.wall_ms;
    state.seq = seq;
}
