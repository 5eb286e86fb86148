//! An open connection: events become batches, batches become commits.
//!
//! F6. The source is polled while a commit is under way, until as many events wait as the channel has.
//! F7. A batch whose commit failed and may be tried again is kept whole, and nothing goes before it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::backoff::Backoff;
use super::control::{begin_caught, poll_caught};
use super::driver::{Driver, Over, Rest, instant_after};
use super::flow::{Batch, Flow};
use super::source::{BoxFuture, SourceEvent, SourceInfo};
use super::state::Phase;
use super::work::{At, Job, done};
use crate::fold::SnapshotStore;
use crate::fold::protocol::{Asked, Repair, may_retry_apply, repair};
use crate::{Error, ErrorKind, Result};

/// What a wait ended with.
enum Woke {
    Stop,
    Event(Result<SourceEvent>),
    Applied(Result<At>),
    Resync,
    Timer,
}

/// A commit under way, or one that will be tried again.
struct Commit {
    batch: Arc<Batch>,
    job: Option<Job<At>>,
    again_at: Option<Instant>,
}

struct Session {
    flow: Flow,
    commit: Option<Commit>,
    retry: Backoff,
    /// When the source must have said something.
    idle: Instant,
    timer: Pin<Box<Sleep>>,
    live: bool,
}

impl<S: SnapshotStore + 'static> Driver<S> {
    /// Follows until the connection is over, or more than that.
    pub(super) async fn stream(&mut self, info: &SourceInfo) -> Over {
        let Self { source, rest } = self;
        rest.phase(Phase::Loading { seen: 0 });
        let idle = instant_after(rest.options.idle_watchdog);
        let mut session = Session {
            flow: Flow::new(rest.cursor.clone(), rest.order, &rest.options),
            commit: None,
            retry: Backoff::new(rest.options.backoff_min, rest.options.backoff_max),
            idle,
            timer: Box::pin(sleep_until(idle)),
            live: false,
        };
        loop {
            let made = if session.flow.is_closed() {
                None
            } else {
                let source = &mut *source;
                Some(begin_caught("next", move || source.next()))
            };
            let mut next = match made.transpose() {
                Ok(next) => next,
                Err(error) => return Over::Fatal(error),
            };
            // Until there is an event, the same future is polled.
            loop {
                session.flow.gather();
                session.begin_commit(rest);
                if let Some(over) = session.over(rest) {
                    return over;
                }
                match session.wait(rest, next.as_mut()).await {
                    Woke::Stop => return session.stop(rest).await,
                    Woke::Event(event) => {
                        session.idle = instant_after(rest.options.idle_watchdog);
                        session.received(event, rest);
                        break;
                    }
                    Woke::Applied(result) => {
                        // A source that had to wait for room is not to blame.
                        session.idle = instant_after(rest.options.idle_watchdog);
                        if let Some(over) = session.applied(result, rest) {
                            return over;
                        }
                    }
                    Woke::Resync => rest.asked_to_resync(info, &mut session.flow),
                    Woke::Timer => {
                        if session.wants_event() && session.idle <= Instant::now() {
                            let what = "the source says nothing any more";
                            let error = Error::of_caller(ErrorKind::TimedOut, "follow", what);
                            session.flow.close(Over::Again(error));
                            break;
                        }
                    }
                }
            }
        }
    }
}

impl Session {
    fn wants_event(&self) -> bool {
        !self.flow.is_closed() && self.flow.has_room()
    }

    async fn wait<S: SnapshotStore + 'static>(
        &mut self,
        rest: &mut Rest<S>,
        mut next: Option<&mut BoxFuture<'_, Result<SourceEvent>>>,
    ) -> Woke {
        let due = self.next_due(rest.next_resync);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        poll_fn(|context| self.poll(rest, next.as_deref_mut(), context)).await
    }

    fn poll<S: SnapshotStore + 'static>(
        &mut self,
        rest: &mut Rest<S>,
        next: Option<&mut BoxFuture<'_, Result<SourceEvent>>>,
        context: &mut Context<'_>,
    ) -> Poll<Woke> {
        if rest.control.poll_stop(context).is_ready() {
            return Poll::Ready(Woke::Stop);
        }
        if let Some(job) = self.commit.as_mut().and_then(|commit| commit.job.as_mut())
            && let Poll::Ready(joined) = Pin::new(job).poll(context)
        {
            return Poll::Ready(Woke::Applied(done(joined)));
        }
        let resync = !rest.control.askers.is_empty()
            || rest.next_resync.is_some_and(|at| self.live && at <= Instant::now());
        if resync && !self.flow.is_closed() {
            return Poll::Ready(Woke::Resync);
        }
        if self.wants_event()
            && let Some(next) = next
            && let Poll::Ready(event) = poll_caught("next", next, context)
        {
            return Poll::Ready(Woke::Event(event));
        }
        self.timer.as_mut().poll(context).map(|()| Woke::Timer)
    }

    /// When there is something to do without anyone saying so.
    fn next_due(&self, resync: Option<Instant>) -> Instant {
        let mut due = instant_after(std::time::Duration::MAX);
        if self.wants_event() {
            due = due.min(self.idle);
        }
        match &self.commit {
            None => due = self.flow.flush_at().map_or(due, |at| due.min(at)),
            Some(commit) => due = commit.again_at.map_or(due, |at| due.min(at)),
        }
        if self.live && !self.flow.is_closed() {
            due = resync.map_or(due, |at| due.min(at));
        }
        due
    }

    fn received<S>(&mut self, event: Result<SourceEvent>, rest: &mut Rest<S>)
    where
        S: SnapshotStore + 'static,
    {
        match event {
            Err(error) => {
                let over = rest.over(error);
                self.flow.close(over);
            }
            Ok(event) => {
                rest.state.send_modify(|state| {
                    state.last_event = Some(Instant::now());
                    if let SourceEvent::Batch { cursor, .. }
                    | SourceEvent::Progress(cursor)
                    | SourceEvent::CaughtUp(cursor) = &event
                    {
                        state.saw_head(cursor);
                    }
                });
                if let SourceEvent::Expired { .. } = &event {
                    rest.said_expired = true;
                }
                self.flow.push(event);
            }
        }
    }

    /// Gives the next batch to the store, if there is one and none is before it.
    fn begin_commit<S: SnapshotStore + 'static>(&mut self, rest: &mut Rest<S>) {
        while self.commit.is_none() {
            let Some(batch) = self.flow.take_batch(Instant::now()) else { return };
            self.flow.gather();
            if batch.is_empty() {
                self.caught_up(rest);
            } else {
                self.commit = Some(Commit { batch: Arc::new(batch), job: None, again_at: None });
            }
        }
        let Some(commit) = &mut self.commit else { return };
        let waits = commit.again_at.is_some_and(|at| at > Instant::now());
        if commit.job.is_none() && !waits {
            commit.again_at = None;
            let batch = Arc::clone(&commit.batch);
            let seen_evicting = rest.seen_evicting;
            commit.job = Some(rest.slot.start(move |worker| {
                let cursor = batch.cursor.clone().remember_evicting(seen_evicting);
                worker.apply(&batch.updates, &cursor)
            }));
        }
    }

    fn applied<S>(&mut self, result: Result<At>, rest: &mut Rest<S>) -> Option<Over>
    where
        S: SnapshotStore + 'static,
    {
        match result {
            Ok(at) => {
                rest.came_to(at);
                let caught_up = self.commit.take().is_some_and(|commit| commit.batch.caught_up);
                self.retry.reset();
                rest.backoff.reset();
                if caught_up {
                    self.caught_up(rest);
                } else {
                    self.show_phase(rest);
                }
                None
            }
            Err(error) if may_retry_apply(error.kind(), error.outcome()) => {
                let until = instant_after(self.retry.next());
                if let Some(commit) = &mut self.commit {
                    (commit.job, commit.again_at) = (None, Some(until));
                }
                rest.phase(Phase::Backoff { until, cause: Arc::new(error) });
                None
            }
            Err(error) => Some(Over::Fatal(error)),
        }
    }

    fn caught_up<S: SnapshotStore + 'static>(&mut self, rest: &mut Rest<S>) {
        self.live = true;
        rest.backoff.reset();
        if rest.next_resync.is_none() {
            rest.next_resync = rest.options.resync_every.map(instant_after);
        }
        rest.state.send_modify(|state| {
            state.caught_up = true;
            state.phase = Phase::Live;
        });
    }

    fn show_phase<S: SnapshotStore + 'static>(&self, rest: &Rest<S>) {
        let seen = self.flow.seen();
        rest.phase(if self.live { Phase::Live } else { Phase::Loading { seen } });
    }

    /// Whether the connection is over and all that came before is in the fold.
    fn over<S: SnapshotStore + 'static>(&mut self, rest: &mut Rest<S>) -> Option<Over> {
        if self.commit.is_some() {
            return None;
        }
        let over = self.flow.take_over()?;
        rest.relist_wanted |= matches!(over, Over::Resync);
        Some(over)
    }

    /// The commit that is under way is finished; one that failed is not tried again.
    async fn stop<S: SnapshotStore + 'static>(self, rest: &mut Rest<S>) -> Over {
        if let Some(job) = self.commit.and_then(|commit| commit.job) {
            match done(job.await) {
                Ok(at) => rest.came_to(at),
                Err(error) => return Over::Fatal(error),
            }
        }
        Over::Stop
    }
}

impl<S: SnapshotStore + 'static> Rest<S> {
    /// Someone asks for a listing, or it is time for one: what is under way is finished first.
    fn asked_to_resync(&mut self, info: &SourceInfo, flow: &mut Flow) {
        let truth = self.truth(info);
        let by_time = self.control.askers.is_empty();
        let asked = if by_time { Asked::RelistIfTruth } else { Asked::Relist };
        if repair(asked, truth) == Repair::Relist {
            flow.close(Over::Resync);
            return;
        }
        self.next_resync = self.options.resync_every.map(instant_after);
        for asker in self.control.askers.drain(..) {
            let what = "the listing of this source is not the truth, since it evicts values";
            let error = Error::of_caller(ErrorKind::CursorExpired, "resync", what);
            // Who asked may be gone.
            drop(asker.send(Err(error)));
        }
    }
}
