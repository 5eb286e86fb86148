//! The supervisor: connects, checks, repairs, follows, and comes again.
//!
//! F2. At every connection the source is compared with the fold before anything is taken from it, and again after it was opened: its
//!     floor may have moved in between.
//! F3. What can be repaired by waiting is waited for; all else ends the run with its error, and the store comes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::control::{Control, Cut};
use super::handle::Parts;
use super::options::{FollowBuilder, LineageChange, Options};
use super::source::{Anchor, BoxFuture, Source, SourceInfo, Start};
use super::state::{FollowState, Phase};
use super::work::{At, Slot, Worker, done};
use crate::fold::protocol::{
    Asked, FirstStep, Repair, Truth, Verdict, first_step, gap_free, gap_is_harmless,
    listing_is_truth, may_retry_apply, repair, resume, source_gave_up,
};
use crate::fold::{CursorOrder, Lineage, SnapshotStore, WatchCursor};
use crate::{Error, ErrorKind, Result};

/// How long a source may take to close.
const CLOSE: Duration = Duration::from_secs(5);

/// Why a session is over.
pub(super) enum Over {
    Stop,
    Finished,
    /// At once, with a listing.
    Resync,
    /// After a while.
    Again(Error),
    Fatal(Error),
}

pub(super) struct Driver<S> {
    pub(super) source: Box<dyn Source>,
    pub(super) rest: Rest<S>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is remembered on its own")]
/// All but the source, which is borrowed while it is asked.
pub(super) struct Rest<S> {
    pub(super) slot: Slot<S>,
    pub(super) control: Control,
    pub(super) state: watch::Sender<FollowState>,
    pub(super) options: Options,
    pub(super) backoff: Backoff,
    pub(super) cursor: WatchCursor,
    pub(super) order: CursorOrder,
    pub(super) lineage: Option<Lineage>,
    /// Whether the source, as long as it is this one, was ever seen to evict.
    pub(super) seen_evicting: bool,
    /// The last listing was empty: another one confirms it.
    pub(super) empty_seen: bool,
    pub(super) relist_wanted: bool,
    /// The source said so itself, which counts at the next connection.
    pub(super) said_expired: bool,
    pub(super) said_other: bool,
    pub(super) next_resync: Option<Instant>,
    store_order: CursorOrder,
}

impl<S: SnapshotStore + 'static> Driver<S> {
    pub(super) fn new(
        builder: FollowBuilder<S>,
        shutdown: Option<BoxFuture<'static, ()>>,
    ) -> (Self, Parts<S>) {
        let FollowBuilder { store, source, options, validate, on_applied } = builder;
        let (cursor, durable) = (store.cursor(), store.durable_cursor());
        let (store_order, lineage) = (store.cursor_order(), store.lineage());
        let (sender, resyncs) = mpsc::channel(16);
        let asked = shutdown.is_none();
        let resyncs = asked.then_some(resyncs);
        let (state, seen) = watch::channel(FollowState::new(cursor.clone(), durable, store_order));
        let slot = Slot::new(Worker { store, validate, on_applied, sync: None });
        let control = Control { resyncs, shutdown, stopped: false, askers: Vec::new() };
        let parts = Parts { slot: slot.clone(), state: seen, resyncs: asked.then_some(sender) };
        let rest = Rest {
            slot,
            control,
            state,
            backoff: Backoff::new(options.backoff_min, options.backoff_max),
            options,
            seen_evicting: cursor.seen_evicting(),
            cursor,
            order: store_order,
            lineage,
            empty_seen: false,
            relist_wanted: false,
            said_expired: false,
            said_other: false,
            next_resync: None,
            store_order,
        };
        (Self { source, rest }, parts)
    }

    /// Until it is over. The state says so, whatever happened.
    pub(super) async fn run(mut self) -> Result<()> {
        let result = self.supervise().await;
        self.close().await;
        self.rest.slot.leave().await;
        self.rest.control.askers.clear();
        let result = result.map_err(Arc::new);
        let cause = result.as_ref().err().map(Arc::clone);
        self.rest.phase(Phase::Stopped { cause });
        result.map_err(|error| Error::share(&error))
    }

    async fn supervise(&mut self) -> Result<()> {
        loop {
            let over = match self.connect().await {
                Ok(info) => self.stream(&info).await,
                Err(over) => over,
            };
            match over {
                Over::Stop | Over::Finished => return Ok(()),
                Over::Fatal(error) => return Err(error),
                Over::Resync => self.close().await,
                Over::Again(error) => {
                    self.close().await;
                    let cause = Arc::new(error);
                    let until = instant_after(self.rest.backoff.next());
                    self.rest.phase(Phase::Backoff { until, cause });
                    if self.rest.control.sleep(until).await {
                        return Ok(());
                    }
                }
            }
            self.rest.state.send_modify(|s| s.reconnects = s.reconnects.saturating_add(1));
        }
    }

    /// The end of a connection, in bounded time. A panic in it changes nothing any more.
    async fn close(&mut self) {
        let source = &mut self.source;
        let limit = CLOSE.min(self.rest.options.idle_watchdog);
        let mut deaf =
            Control { resyncs: None, shutdown: None, stopped: false, askers: Vec::new() };
        let close = || -> BoxFuture<'_, Result<()>> {
            Box::pin(async move {
                source.close().await;
                Ok(())
            })
        };
        drop(deaf.call("close", limit, close).await);
    }

    /// Identify, compare, repair, open, compare again.
    async fn connect(&mut self) -> std::result::Result<SourceInfo, Over> {
        self.rest.phase(Phase::Connecting);
        let Self { source, rest } = self;
        let info = rest.call("identify", || source.identify()).await?;
        rest.know(&info)?;
        let mut verdict = self.verdict(&info, self.rest.lineage.clone()).await?;
        if verdict == Verdict::OtherLineage
            && self.rest.options.on_lineage_change == LineageChange::Adopt
        {
            verdict = self.verdict(&info, None).await?;
            if !matches!(verdict, Verdict::WentBack) {
                self.rest.name(&info.lineage).await?;
            }
        }
        let rest = &mut self.rest;
        if std::mem::take(&mut rest.said_other) && verdict != Verdict::OtherLineage {
            verdict = Verdict::WentBack;
        }
        if rest.said_expired && verdict == Verdict::Resume {
            verdict = Verdict::Expired;
        }
        match verdict {
            Verdict::OtherLineage | Verdict::WentBack => self.other(&info, verdict).await?,
            Verdict::Expired => self.expired(&info).await?,
            Verdict::Fresh => {
                let has = rest.work(|worker| worker.store.has_entries()).await?;
                match first_step(has, rest.truth(&info), false) {
                    FirstStep::Open | FirstStep::Restore => {}
                    FirstStep::Repair => self.expired(&info).await?,
                }
            }
            Verdict::Resume => {}
        }
        if self.rest.relist_wanted {
            self.relist(&info, false).await?;
        }
        self.settle(&info).await?;
        self.open().await
    }

    async fn verdict(
        &mut self,
        info: &SourceInfo,
        known: Option<Lineage>,
    ) -> std::result::Result<Verdict, Over> {
        let Self { source, rest } = self;
        let mut anchor = None;
        if let Some(asked) = Anchor::of(&rest.cursor)
            && known.as_ref().is_none_or(|known| *known == info.lineage)
        {
            anchor = Some(rest.call("verify anchor", || source.verify_anchor(&asked)).await?);
        }
        Ok(resume(known.as_ref(), &rest.cursor, info, anchor))
    }

    /// Another source, or this one in an older state.
    async fn other(
        &mut self,
        info: &SourceInfo,
        verdict: Verdict,
    ) -> std::result::Result<(), Over> {
        let rest = &self.rest;
        let truth = listing_is_truth(false, info.evicts_current_values, info.floor.as_ref());
        let relist = rest.options.on_lineage_change == LineageChange::Relist;
        if relist && repair(Asked::Relist, truth) == Repair::Relist {
            return self.relist(info, true).await;
        }
        let what =
            if verdict == Verdict::OtherLineage { "another source" } else { "an older state" };
        let refused =
            if relist { "; its listing is not the truth, since it evicts values" } else { "" };
        let what = format!(
            "the fold is at {}, and what is there now is {what}: {} {:?}{refused}",
            rest.cursor,
            info.lineage.kind,
            String::from_utf8_lossy(&info.lineage.id),
        );
        Err(Over::Fatal(Error::of_caller(ErrorKind::LineageMismatch, "follow", what)))
    }

    /// What follows the cursor is gone, or there is no cursor for what the fold has.
    async fn expired(&mut self, info: &SourceInfo) -> std::result::Result<(), Over> {
        let truth = self.rest.truth(info);
        match repair(self.rest.options.on_expired.asked(), truth) {
            Repair::Relist => self.relist(info, false).await,
            Repair::Restore | Repair::Refuse => {
                let why = match truth {
                    Truth::Yes => "and it is told to fail",
                    Truth::No => {
                        "and its listing is not the truth, since it evicts values: needs a restore"
                    }
                    Truth::Unknown => "and it does not say whether its listing is the truth",
                };
                let floor = info.floor.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
                let what = format!(
                    "the fold is at {}, what the source still has begins at {floor}, {why}",
                    self.rest.cursor
                );
                Err(Over::Fatal(Error::of_caller(ErrorKind::CursorExpired, "follow", what)))
            }
        }
    }

    /// Writes down what is to be known after a crash: who the source is, and that it evicts.
    async fn settle(&mut self, info: &SourceInfo) -> std::result::Result<(), Over> {
        let rest = &mut self.rest;
        if rest.lineage.is_none() {
            rest.name(&info.lineage).await?;
        }
        rest.seen_evicting |= info.evicts_current_values == Some(true);
        if rest.seen_evicting && !rest.cursor.seen_evicting() && !rest.cursor.is_none() {
            let cursor = rest.cursor.clone().remember_evicting(true);
            let at = rest.work(move |worker| worker.apply(&[], &cursor)).await?;
            rest.came_to(at);
        }
        Ok(())
    }

    async fn open(&mut self) -> std::result::Result<SourceInfo, Over> {
        let Self { source, rest } = self;
        let start =
            if rest.cursor.is_none() { Start::Fresh } else { Start::After(rest.cursor.clone()) };
        let scope = rest.options.scope.clone();
        rest.call("open", || source.open(start, &scope)).await?;
        let info = rest.call("identify", || source.identify()).await?;
        rest.know(&info)?;
        if rest.lineage.as_ref().is_some_and(|lineage| *lineage != info.lineage) {
            let what = "the source became another one while it was opened";
            let error = Error::of_caller(ErrorKind::LineageMismatch, "open", what);
            return Err(Over::Again(error));
        }
        let free = info.floor.as_ref().and_then(|floor| gap_free(&rest.cursor, floor, info.order));
        let lost = free == Some(false) && !rest.cursor.is_none();
        if lost && !gap_is_harmless(rest.cursor.written_ms(), info.aging) {
            let what = "what follows the cursor went while the source was opened";
            return Err(rest.over(Error::of_caller(ErrorKind::CursorExpired, "open", what)));
        }
        Ok(info)
    }
}

impl<S: SnapshotStore + 'static> Rest<S> {
    pub(super) fn phase(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    /// Whether the source lists all that is true.
    pub(super) fn truth(&self, info: &SourceInfo) -> Truth {
        listing_is_truth(self.seen_evicting, info.evicts_current_values, info.floor.as_ref())
    }

    /// Takes down what the source says of itself.
    fn know(&mut self, info: &SourceInfo) -> std::result::Result<(), Over> {
        if info.order == CursorOrder::Opaque && self.store_order == CursorOrder::Bytes {
            let what =
                "positions of this source have no order: open the store with `CursorOrder::Opaque`";
            return Err(Over::Fatal(Error::of_caller(ErrorKind::Precondition, "follow", what)));
        }
        self.order = info.order;
        let same = self.lineage.as_ref().is_none_or(|lineage| *lineage == info.lineage);
        self.seen_evicting |= same && info.evicts_current_values == Some(true);
        self.state.send_modify(|state| {
            state.order = info.order;
            state.last_event = Some(Instant::now());
            if let Some(head) = &info.head {
                state.head = Some(head.clone());
            }
            state.measure();
        });
        Ok(())
    }

    /// The fold is of this source from here on, also where the store does not keep it.
    async fn name(&mut self, lineage: &Lineage) -> std::result::Result<(), Over> {
        let kept = lineage.clone();
        let named = move |worker: &mut Worker<S>| match worker.store.set_lineage(kept) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            other => other,
        };
        self.work(named).await?;
        self.lineage = Some(lineage.clone());
        Ok(())
    }

    pub(super) fn came_to(&mut self, at: At) {
        self.cursor = at.cursor.clone();
        self.state.send_modify(|state| {
            (state.cursor, state.durable) = (at.cursor, at.durable);
            let cursor = state.cursor.clone();
            state.saw_head(&cursor);
        });
    }

    /// Asks the source.
    pub(super) async fn call<'a, T>(
        &mut self,
        what: &'static str,
        make: impl FnOnce() -> BoxFuture<'a, Result<T>>,
    ) -> std::result::Result<T, Over> {
        let answer = self.control.call(what, self.options.idle_watchdog, make).await;
        answer.map_err(|cut| match cut {
            Cut::Stop => Over::Stop,
            Cut::Failed(error) => self.over(error),
        })
    }

    /// What an error of the source leads to.
    pub(super) fn over(&mut self, error: Error) -> Over {
        match error.kind() {
            kind if source_gave_up(kind) => return Over::Fatal(error),
            ErrorKind::CursorExpired => self.said_expired = true,
            ErrorKind::LineageMismatch => self.said_other = true,
            _ => {}
        }
        Over::Again(error)
    }

    /// Works with the store, to the end.
    pub(super) async fn work<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Worker<S>) -> Result<R> + Send + 'static,
    ) -> std::result::Result<R, Over> {
        done(self.slot.start(work).await).map_err(|error| {
            let waits = may_retry_apply(error.kind(), error.outcome());
            if waits { Over::Again(error) } else { Over::Fatal(error) }
        })
    }
}

/// A time that far away; the largest waits are as good as for ever.
pub(super) fn instant_after(wait: Duration) -> Instant {
    let now = Instant::now();
    let forever = Duration::from_secs(1 << 30);
    now.checked_add(wait.min(forever)).unwrap_or(now)
}
