//! What a follower asks of a source.

use std::future::Future;
use std::pin::Pin;

pub use crate::fold::protocol::{Aging, Anchor, AnchorState, SourceInfo};

use crate::Result;
use crate::fold::{KvUpdate, Lineage, SyncScope, WatchCursor};

/// A future in a box, as the methods of [`Source`] return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which keys are followed: those that begin with a prefix, as [`range`](crate::fold::SnapshotStore::range) means it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "all keys, or some prefixes")]
pub enum Scope {
    /// All keys.
    #[default]
    All,
    /// The keys that begin with this; a plain string, that need not end where a token of the source does.
    Prefix(String),
    /// The keys that begin with one of these.
    Prefixes(Vec<String>),
}

impl Scope {
    /// Whether a key is in it.
    pub fn covers(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => key.starts_with(&**prefix),
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| key.starts_with(&**prefix)),
        }
    }

    pub(super) fn to_sync(&self) -> SyncScope {
        match self {
            Self::All => SyncScope::all(),
            Self::Prefix(prefix) => SyncScope::prefixes(vec![prefix.clone()]),
            Self::Prefixes(prefixes) => SyncScope::prefixes(prefixes.clone()),
        }
    }

    /// Prefixes that together cover each key of the scope once.
    pub(super) fn ranges(&self) -> Vec<String> {
        let mut sorted = match self {
            Self::All => return vec![String::new()],
            Self::Prefix(prefix) => return vec![prefix.clone()],
            Self::Prefixes(prefixes) => prefixes.clone(),
        };
        sorted.sort();
        let mut ranges: Vec<String> = Vec::new();
        for prefix in sorted {
            if ranges.last().is_none_or(|last| !prefix.starts_with(&**last)) {
                ranges.push(prefix);
            }
        }
        ranges
    }
}

/// Where a source begins to send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the beginning, or behind a position")]
pub enum Start {
    /// All that it has: every current value at least, then what comes.
    Fresh,
    /// What follows this position.
    After(WatchCursor),
}

/// What a source sends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// Updates, in the order of the stream, and the position behind the last.
    Batch {
        /// The updates. A commit takes all of them: keep them few enough.
        updates: Vec<KvUpdate>,
        /// The position behind them.
        cursor: WatchCursor,
        /// The position of the event before them, if the source knows: then what is missing or comes twice is noticed.
        after: Option<WatchCursor>,
    },
    /// Nothing in the scope up to this position. Also the sign of life that the idle watchdog waits for.
    Progress(WatchCursor),
    /// All that the source had when it was opened has been sent, up to this position. Once for each [`open`](Source::open), also if there
    /// was nothing.
    CaughtUp(WatchCursor),
    /// What follows is not there any more.
    Expired {
        /// The oldest position that is.
        floor: WatchCursor,
    },
    /// It is another source from here on.
    LineageChanged(Lineage),
    /// The connection is over; it is made again.
    End,
    /// The stream is over, for good.
    Finished,
}

impl SourceEvent {
    /// Updates behind which the stream is at `cursor`.
    pub const fn batch(updates: Vec<KvUpdate>, cursor: WatchCursor) -> Self {
        Self::Batch { updates, cursor, after: None }
    }

    /// The same, of a source that knows which event came before.
    pub const fn batch_after(
        updates: Vec<KvUpdate>,
        cursor: WatchCursor,
        after: WatchCursor,
    ) -> Self {
        Self::Batch { updates, cursor, after: Some(after) }
    }
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a listing goes on or ends")]
pub enum Listed {
    /// Some of the keys, as puts with the versions that the source gave them. A key may come twice.
    Chunk(Vec<KvUpdate>),
    /// That was all; the listing has every key as it was at this position, or newer.
    End(WatchCursor),
}

/// A listing under way.
pub trait Listing: Send {
    /// The next part.
    ///
    /// # Errors
    /// As [`Source`]; then the listing starts over.
    fn next(&mut self) -> BoxFuture<'_, Result<Listed>>;
}

/// Where a stream of updates comes from, such as a bucket of a server.
///
/// # How it is called
/// [`identify`](Self::identify) first, at every connection; perhaps [`verify_anchor`](Self::verify_anchor) and [`list`](Self::list);
/// then [`open`](Self::open), `identify` again, since what it has may have gone meanwhile, [`next`](Self::next) until something goes
/// wrong, and [`close`](Self::close). After `close` it begins again.
/// A future may be dropped before it is ready; then `close` follows. No method may block the thread that polls it.
///
/// # Errors
/// The kind decides. `CursorExpired` and `LineageMismatch` are repaired as the follower was told. `Failed`, `InvalidInput`, `Unsupported`,
/// `Codec`, `TooLarge`, `Damaged`, `NotOurs` and `NewerFormat` end the run. After all others the follower comes again, a little later.
///
/// [`conformance::run`](super::conformance::run) tests a source.
pub trait Source: Send {
    /// Who it is, and what it has.
    ///
    /// # Errors
    /// As the source.
    fn identify(&mut self) -> BoxFuture<'_, Result<SourceInfo>>;

    /// Begins to send.
    ///
    /// # Errors
    /// `CursorExpired` if what follows is not there any more; `LineageMismatch`; else as the source.
    fn open<'a>(&'a mut self, start: Start, scope: &'a Scope) -> BoxFuture<'a, Result<()>>;

    /// The next event. A source that has nothing to say sends [`Progress`](SourceEvent::Progress) from time to time, more often than
    /// the follower's idle watchdog bites.
    ///
    /// # Errors
    /// As the source.
    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent>>;

    /// Lists all keys of the scope in one pass; values may be left out where only keys are asked for.
    ///
    /// # Errors
    /// `Unsupported` if it cannot; else as the source.
    fn list<'a>(
        &'a mut self,
        scope: &'a Scope,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Listing + 'a>>>;

    /// What stands at the position of an anchor. Default [`Gone`](AnchorState::Gone), which says nothing.
    ///
    /// # Errors
    /// As the source.
    fn verify_anchor<'a>(&'a mut self, _anchor: &'a Anchor) -> BoxFuture<'a, Result<AnchorState>> {
        Box::pin(std::future::ready(Ok(AnchorState::Gone)))
    }

    /// Lets go of what [`open`](Self::open) took at the server. Called after everything that went wrong, too, and more than once.
    fn close(&mut self) -> BoxFuture<'_, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_string() {
        let scope = Scope::Prefix("app.con".into());
        assert!(scope.covers("app.config") && scope.covers("app.con") && !scope.covers("app."));
        let scope = Scope::Prefixes(vec!["b".into(), "a".into(), "ab".into()]);
        assert!(scope.covers("abc") && scope.covers("b") && !scope.covers("c"));
        assert_eq!(scope.ranges(), ["a", "b"]);
        assert!(Scope::All.covers("") && !Scope::Prefixes(vec![]).covers(""));
        assert_eq!((Scope::All.ranges().len(), Scope::Prefixes(vec![]).ranges().len()), (1, 0));
    }
}
