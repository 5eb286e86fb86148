//! Events on their way to the store.

use std::collections::VecDeque;
use std::mem::take;
use std::time::Duration;

use tokio::time::Instant;

use super::driver::{Over, instant_after};
use super::options::Options;
use super::relist::size_of_update;
use super::source::SourceEvent;
use crate::fold::protocol::{Continuity, continuity};
use crate::fold::{CursorOrder, KvUpdate, WatchCursor};
use crate::{Error, ErrorKind};

/// What one commit takes.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) updates: Vec<KvUpdate>,
    pub(super) cursor: WatchCursor,
    /// Whether with it the fold has all that there was.
    pub(super) caught_up: bool,
    moves: bool,
}

impl Batch {
    /// Whether there is nothing to commit.
    pub(super) const fn is_empty(&self) -> bool {
        self.updates.is_empty() && !self.moves
    }
}

/// Events that wait, and the batch that grows.
pub(super) struct Flow {
    queue: VecDeque<SourceEvent>,
    channel: usize,
    max_ops: usize,
    max_bytes: usize,
    window: Duration,
    order: CursorOrder,
    updates: Vec<KvUpdate>,
    bytes: usize,
    /// The position of the last event that was gathered.
    received: WatchCursor,
    /// Whether that is another one than the last batch has.
    moves: bool,
    since: Option<Instant>,
    caught_up: bool,
    seen: u64,
    /// What follows the last event; nothing more is taken.
    over: Option<Over>,
    closed: bool,
}

impl Flow {
    pub(super) fn new(cursor: WatchCursor, order: CursorOrder, options: &Options) -> Self {
        Self {
            queue: VecDeque::new(),
            channel: options.channel,
            max_ops: options.max_ops,
            max_bytes: options.max_bytes,
            window: options.window,
            order,
            updates: Vec::new(),
            bytes: 0,
            received: cursor,
            moves: false,
            since: None,
            caught_up: false,
            seen: 0,
            over: None,
            closed: false,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < self.channel
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn push(&mut self, event: SourceEvent) {
        self.queue.push_back(event);
    }

    /// Nothing more is taken from the source; what was is committed first.
    pub(super) fn close(&mut self, over: Over) {
        if !self.closed {
            self.closed = true;
            self.over = Some(over);
        }
    }

    /// How it ends, once nothing waits any more.
    pub(super) fn take_over(&mut self) -> Option<Over> {
        if !self.queue.is_empty() || self.is_pending() { None } else { self.over.take() }
    }

    const fn is_pending(&self) -> bool {
        !self.updates.is_empty() || self.moves || self.caught_up
    }

    const fn is_full(&self) -> bool {
        self.updates.len() >= self.max_ops || self.bytes >= self.max_bytes || self.caught_up
    }

    /// Moves waiting events into the batch, while it has room.
    pub(super) fn gather(&mut self) {
        while !self.is_full() {
            let Some(event) = self.queue.pop_front() else { return };
            self.take_event(event);
        }
    }

    fn take_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Batch { updates, cursor, after } => {
                match continuity(after.as_ref(), &self.received, &cursor, self.order) {
                    Continuity::Next => {
                        self.add(updates);
                        self.come_to(cursor);
                    }
                    Continuity::Late => self.add(updates),
                    Continuity::Repeated => {}
                    Continuity::Gap => {
                        let after = after.unwrap_or_default();
                        let what = format!(
                            "an event is missing: {cursor} follows {after}, and {} came before",
                            self.received
                        );
                        self.cut(Error::of_caller(ErrorKind::Incomplete, "follow", what));
                    }
                }
            }
            SourceEvent::Progress(cursor) => self.progress(cursor),
            SourceEvent::CaughtUp(cursor) => {
                self.progress(cursor);
                self.caught_up = true;
            }
            SourceEvent::Expired { floor } => {
                let what = format!("what the source still has begins at {floor}");
                self.cut(Error::of_caller(ErrorKind::CursorExpired, "follow", what));
            }
            SourceEvent::LineageChanged(lineage) => {
                let id = String::from_utf8_lossy(&lineage.id);
                let what = format!("it is another source now: {} {id:?}", lineage.kind);
                self.cut(Error::of_caller(ErrorKind::LineageMismatch, "follow", what));
            }
            SourceEvent::End => {
                let what = "the source ended the connection";
                self.cut(Error::of_caller(ErrorKind::Closed, "follow", what));
            }
            SourceEvent::Finished => {
                self.queue.clear();
                self.closed = true;
                self.over = Some(Over::Finished);
            }
        }
    }

    /// What came behind the event that this is about is not used.
    fn cut(&mut self, error: Error) {
        self.queue.clear();
        self.closed = true;
        self.over = Some(Over::Again(error));
    }

    fn add(&mut self, updates: Vec<KvUpdate>) {
        self.seen = self.seen.saturating_add(updates.len() as u64);
        let bytes = updates.iter().map(size_of_update).fold(0, usize::saturating_add);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.updates.is_empty() {
            self.updates = updates;
        } else {
            self.updates.extend(updates);
        }
        self.touch();
    }

    fn progress(&mut self, cursor: WatchCursor) {
        if !cursor.same_position(&self.received)
            && (cursor.reaches(&self.received, self.order) || self.order == CursorOrder::Opaque)
        {
            self.come_to(cursor);
        }
    }

    fn come_to(&mut self, cursor: WatchCursor) {
        self.moves |= self.received != cursor;
        self.received = cursor;
        self.touch();
    }

    fn touch(&mut self) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// When the batch is committed, if nothing more comes.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        let since = self.since.filter(|_| self.is_pending())?;
        Some(since.checked_add(self.window).unwrap_or_else(|| instant_after(Duration::MAX)))
    }

    /// The batch, if it is time for it.
    pub(super) fn take_batch(&mut self, now: Instant) -> Option<Batch> {
        let due = self.is_full()
            || (self.closed && self.queue.is_empty())
            || self.flush_at().is_some_and(|at| at <= now);
        if !due || !self.is_pending() {
            return None;
        }
        (self.bytes, self.since) = (0, None);
        Some(Batch {
            updates: take(&mut self.updates),
            cursor: self.received.clone(),
            caught_up: take(&mut self.caught_up),
            moves: take(&mut self.moves),
        })
    }
}
