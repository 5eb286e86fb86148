//! What is seen of a follower from outside.

use std::sync::Arc;

use tokio::time::Instant;

use crate::Error;
use crate::fold::{CursorOrder, WatchCursor};

/// What a follower does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// It asks the source who it is.
    Connecting,
    /// It takes what the source had when it was opened.
    Loading {
        /// Updates so far.
        seen: u64,
    },
    /// It has all that there was, and takes what comes.
    Live,
    /// It compares the fold with a listing.
    Relisting {
        /// Keys so far.
        seen: u64,
    },
    /// Something failed, and it will try again.
    Backoff {
        /// When.
        until: Instant,
        /// What failed.
        cause: Arc<Error>,
    },
    /// It is over.
    Stopped {
        /// Why, if it was not asked to.
        cause: Option<Arc<Error>>,
    },
}

/// How a follower is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowState {
    /// What it does.
    pub phase: Phase,
    /// The cursor of the last commit.
    pub cursor: WatchCursor,
    /// The cursor of the last commit that survives power loss.
    pub durable: WatchCursor,
    /// The newest position of the source that is known.
    pub head: Option<WatchCursor>,
    /// How far the cursor is behind that, where positions are numbers.
    pub lag: Option<u64>,
    /// How often a connection was made again.
    pub reconnects: u64,
    /// When the source last said something.
    pub last_event: Option<Instant>,
    /// Whether the fold has had all that the source had, at least once.
    pub caught_up: bool,
    pub(super) order: CursorOrder,
}

impl FollowState {
    pub(super) fn new(cursor: WatchCursor, durable: WatchCursor, order: CursorOrder) -> Self {
        Self {
            phase: Phase::Connecting,
            cursor,
            durable,
            head: None,
            lag: None,
            reconnects: 0,
            last_event: None,
            caught_up: false,
            order,
        }
    }

    /// Keeps the newest position, and how far it is.
    pub(super) fn saw_head(&mut self, head: &WatchCursor) {
        let newer = self.head.as_ref().is_none_or(|old| head.reaches(old, self.order));
        if newer || self.order == CursorOrder::Opaque {
            self.head = Some(head.clone());
        }
        self.measure();
    }

    pub(super) fn measure(&mut self) {
        let number =
            |cursor: &WatchCursor| if cursor.is_none() { Some(0) } else { cursor.as_u64() };
        let head = self.head.as_ref().and_then(number);
        self.lag = head.zip(number(&self.cursor)).map(|(head, at)| head.saturating_sub(at));
    }

    pub(super) const fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped { .. })
    }
}
