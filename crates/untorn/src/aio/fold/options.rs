//! What a follower is told.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::driver::Driver;
use super::handle::{FollowEnd, FollowHandle};
use super::source::{BoxFuture, Scope, Source};
use crate::fold::protocol::Asked;
use crate::fold::{KvUpdate, SnapshotStore, WatchCursor};

/// What is done if the source does not have what follows the cursor any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpiryRepair {
    /// The run ends with `CursorExpired`.
    Fail,
    /// Everything is listed and the rest swept, unless the listing is known not to be the truth: then as `Fail`.
    Relist,
    /// Everything is listed and the rest swept, only where the listing is known to be the truth: else as `Fail`.
    #[default]
    RelistIfTruth,
}

impl ExpiryRepair {
    pub(super) const fn asked(self) -> Asked {
        match self {
            Self::Fail => Asked::Fail,
            Self::Relist => Asked::Relist,
            Self::RelistIfTruth => Asked::RelistIfTruth,
        }
    }
}

/// What is done if the source is another one than the fold has been of, or the same one in an older state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineageChange {
    /// The run ends with `LineageMismatch`.
    #[default]
    Fail,
    /// The fold becomes a copy of what the source has now, unless its listing is known not to be the truth.
    Relist,
    /// The new name is taken over and the stream goes on at the cursor: for a stream that is the same under another name, such as one
    /// that was moved. A source that went back is refused all the same.
    Adopt,
}

/// What [`FollowBuilder::validate`] says of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is taken, left, or the end")]
pub enum Validation {
    /// It is applied.
    Accept,
    /// It is not, and the stream goes on behind it.
    Skip,
    /// The run ends with `Failed`, before the batch that it is in.
    Stop,
}

pub(super) type Validate = Box<dyn FnMut(&KvUpdate) -> Validation + Send>;
pub(super) type OnApplied = Box<dyn FnMut(&[KvUpdate], &WatchCursor) + Send>;

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) scope: Scope,
    pub(super) max_ops: usize,
    pub(super) window: Duration,
    pub(super) max_bytes: usize,
    pub(super) channel: usize,
    pub(super) on_expired: ExpiryRepair,
    pub(super) on_lineage_change: LineageChange,
    pub(super) backoff_min: Duration,
    pub(super) backoff_max: Duration,
    pub(super) idle_watchdog: Duration,
    pub(super) resync_every: Option<Duration>,
    pub(super) sweep_guard: Option<f64>,
}

/// A follower that is being described. See [`Follower::builder`].
#[must_use]
pub struct FollowBuilder<S> {
    pub(super) store: S,
    pub(super) source: Box<dyn Source>,
    pub(super) options: Options,
    pub(super) validate: Option<Validate>,
    pub(super) on_applied: Option<OnApplied>,
}

/// Follows a source into a fold.
#[derive(Debug)]
#[non_exhaustive]
pub struct Follower;

impl Follower {
    /// A follower that feeds `store` from `source`.
    ///
    /// The store comes back when the follower ends. A store that has readers of its own gives them out before it is handed in here; they
    /// go on while it is followed.
    pub fn builder<S: SnapshotStore + 'static>(
        store: S,
        source: impl Source + 'static,
    ) -> FollowBuilder<S> {
        let options = Options {
            scope: Scope::All,
            max_ops: 1000,
            window: Duration::from_millis(10),
            max_bytes: 4 << 20,
            channel: 64,
            on_expired: ExpiryRepair::default(),
            on_lineage_change: LineageChange::default(),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            idle_watchdog: Duration::from_secs(30),
            resync_every: None,
            sweep_guard: None,
        };
        let source = Box::new(source);
        FollowBuilder { store, source, options, validate: None, on_applied: None }
    }
}

impl<S: SnapshotStore + 'static> FollowBuilder<S> {
    /// Sets which keys are followed. Default all.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.options.scope = scope;
        self
    }

    /// Sets how much one commit takes: so many updates, or so many bytes of keys and values, or what came within the window. What
    /// the source sent as one batch is never divided. Default 1000, 10 ms and 4 MiB.
    pub const fn batch(mut self, max_ops: usize, window: Duration, max_bytes: usize) -> Self {
        self.options.max_ops = if max_ops == 0 { 1 } else { max_ops };
        self.options.window = window;
        self.options.max_bytes = max_bytes;
        self
    }

    /// Sets how many events of the source are taken ahead while a commit is under way. Default 64.
    pub const fn channel(mut self, capacity: usize) -> Self {
        self.options.channel = if capacity == 0 { 1 } else { capacity };
        self
    }

    /// Sets what is done about an expired cursor. Default [`RelistIfTruth`](ExpiryRepair::RelistIfTruth).
    pub const fn on_expired(mut self, repair: ExpiryRepair) -> Self {
        self.options.on_expired = repair;
        self
    }

    /// Sets what is done if the source is another one. Default [`Fail`](LineageChange::Fail).
    pub const fn on_lineage_change(mut self, change: LineageChange) -> Self {
        self.options.on_lineage_change = change;
        self
    }

    /// Sets how long it waits before it tries again: by chance up to `min`, twice that after each failure, up to `max`. Default 250 ms
    /// and 30 s.
    pub const fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.options.backoff_min = min;
        self.options.backoff_max = max;
        self
    }

    /// Sets after how long without an answer or an event the connection is made anew. Default 30 s.
    pub const fn idle_watchdog(mut self, after: Duration) -> Self {
        self.options.idle_watchdog = after;
        self
    }

    /// Has `validate` look at every update before it is applied, on the blocking pool; again, if the commit is tried again.
    pub fn validate(
        mut self,
        validate: impl FnMut(&KvUpdate) -> Validation + Send + 'static,
    ) -> Self {
        self.validate = Some(Box::new(validate));
        self
    }

    /// Has `on_applied` see every batch after its commit, on the blocking pool, with the cursor behind it. Parts of a listing come with
    /// the cursor that the fold had before.
    pub fn on_applied(
        mut self,
        on_applied: impl FnMut(&[KvUpdate], &WatchCursor) + Send + 'static,
    ) -> Self {
        self.on_applied = Some(Box::new(on_applied));
        self
    }

    /// Has everything listed from time to time and the rest swept, against keys whose deletion was missed. Default never.
    pub const fn resync_every(mut self, every: Option<Duration>) -> Self {
        self.options.resync_every = every;
        self
    }

    /// Refuses a sweep that deletes more than this fraction of the keys in the scope: the run ends with `Precondition`. Default none.
    pub const fn sweep_guard(mut self, fraction: f64) -> Self {
        self.options.sweep_guard = Some(fraction);
        self
    }

    /// Starts it as a task of the runtime that this is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime with timers.
    pub fn spawn(self) -> FollowHandle<S> {
        let (driver, parts) = Driver::new(self, None);
        FollowHandle::new(tokio::spawn(driver.run()), parts)
    }

    /// Follows until `shutdown` is ready, or something cannot be repaired. A commit that is under way is finished first.
    ///
    /// If the future is dropped, the store goes with it, when the commit that is under way is done.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> FollowEnd<S> {
        let shutdown: BoxFuture<'static, ()> = Box::pin(shutdown);
        let (driver, parts) = Driver::new(self, Some(shutdown));
        let result = driver.run().await;
        parts.end(result).await
    }
}

impl<S> fmt::Debug for FollowBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
