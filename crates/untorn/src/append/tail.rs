//! Following the elements as they become durable.
//!
//! # Invariants
//! - T1 The follower knows the elements below `next`, as they were in the commit `seq`. Each event changes both for him and here.
//! - T2 The state is taken before the rewinds are asked for, so that none that led to it is missed (P5). One that is told early is
//!   told again when its state comes, if elements above it were handed out between.

use std::fmt::{Debug, Formatter};
use std::ops::Range;
use std::time::Duration;

use super::Reader;
use super::reader::Source;
use crate::codec::Raw;
use crate::{Error, ErrorKind, Result};

/// Follows the durable elements of a file, in the order in which they became durable. Made by
/// [`Reader::subscribe`](super::Reader::subscribe).
///
/// It holds no state: elements that it tells of may have been rewound by the time they are read, and then
/// [`next`](Self::next) tells of that.
pub struct Tail<T, C = Raw> {
    reader: Reader<T, C>,
    source: Source,
    member: usize,
    next: u64,
    seq: u64,
}

/// What happened to the durable elements of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a follower who does not know an event follows wrongly"
)]
pub enum TailEvent {
    /// These are new. If they do not begin where the last ones ended, those between were dropped.
    Elements(Range<u64>),
    /// Only the elements below this position are left of those that were told of; others may follow in their place.
    Rewound {
        /// So many are left.
        to: u64,
    },
}

impl<T, C> Tail<T, C> {
    pub(super) fn new(reader: Reader<T, C>, source: Source, member: usize, from: u64) -> Self {
        let seq = source.durable().seq;
        Self { reader, source, member, next: from, seq }
    }

    /// The reader that it was made by, to read the elements with.
    pub const fn reader(&self) -> &Reader<T, C> {
        &self.reader
    }

    /// The position that follows the last element that was told of.
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// The next event, or `None` if there is none within the time.
    ///
    /// # Errors
    /// `Closed` if the writer is gone and everything was told.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<TailEvent>> {
        match self.source.clone() {
            Source::Local(shared) => {
                // Before the look, so that nothing comes after the last look.
                let closed = shared.is_closed();
                if let Some(event) = self.look() {
                    return Ok(Some(event));
                }
                if closed {
                    let why = "the writer is gone; nothing more will come";
                    return Err(Error::of_caller(ErrorKind::Closed, "follow", why));
                }
                // Commits that change nothing here are not told, and shorten the wait.
                shared.wait_past(self.seq, timeout);
                Ok(self.look())
            }
        }
    }

    fn look(&mut self) -> Option<TailEvent> {
        let state = self.source.durable();
        let view = state.members.get(self.member)?;
        let rewound = match &self.source {
            Source::Local(shared) => shared.rewinds_since(self.seq, self.member),
        };
        self.seq = state.seq;
        // What is there no longer was rewound, also before the subscription.
        let to = rewound.unwrap_or(u64::MAX).min(view.len);
        if to < self.next {
            self.next = to;
            return Some(TailEvent::Rewound { to });
        }
        let start = self.next.max(view.first);
        if start < view.len {
            self.next = view.len;
            return Some(TailEvent::Elements(start..view.len));
        }
        None
    }
}

impl<T, C> Debug for Tail<T, C> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("position", &self.next).finish_non_exhaustive()
    }
}
