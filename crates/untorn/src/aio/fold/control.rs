//! What the outside wants of a follower, and calls of a source that it can cut short.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::source::BoxFuture;
use super::work::panicked;
use crate::fold::SweepReport;
use crate::{Error, ErrorKind, Result};

/// Who waits for a listing.
pub(super) type Asker = oneshot::Sender<Result<SweepReport>>;

/// The outside: that all handles are gone or the shutdown is ready means stop.
pub(super) struct Control {
    pub(super) resyncs: Option<mpsc::Receiver<Asker>>,
    pub(super) shutdown: Option<BoxFuture<'static, ()>>,
    pub(super) stopped: bool,
    pub(super) askers: Vec<Asker>,
}

/// A call was cut short, or failed.
pub(super) enum Cut {
    Stop,
    Failed(Error),
}

impl Control {
    /// Ready when it is to stop. Takes notes of other wishes.
    pub(super) fn poll_stop(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.stopped {
            return Poll::Ready(());
        }
        if let Some(shutdown) = &mut self.shutdown {
            let polled = catch_unwind(AssertUnwindSafe(|| shutdown.as_mut().poll(context)));
            // A shutdown that panics is one, too.
            self.stopped |= !matches!(polled, Ok(Poll::Pending));
        }
        while let Some(resyncs) = &mut self.resyncs {
            match resyncs.poll_recv(context) {
                Poll::Ready(Some(asker)) => self.askers.push(asker),
                Poll::Ready(None) => {
                    self.stopped = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if self.stopped { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Awaits a call of the source, up to `limit`.
    pub(super) async fn call<'a, T>(
        &mut self,
        what: &'static str,
        limit: Duration,
        make: impl FnOnce() -> BoxFuture<'a, Result<T>>,
    ) -> std::result::Result<T, Cut> {
        let mut call = begin_caught(what, make).map_err(Cut::Failed)?;
        let mut sleep = pin!(tokio::time::sleep(limit));
        poll_fn(|context| {
            if self.poll_stop(context).is_ready() {
                return Poll::Ready(Err(Cut::Stop));
            }
            if let Poll::Ready(answer) = poll_caught(what, &mut call, context) {
                return Poll::Ready(answer.map_err(Cut::Failed));
            }
            sleep.as_mut().poll(context).map(|()| {
                let text = format!("the source does not answer for {limit:?}");
                Err(Cut::Failed(Error::of_caller(ErrorKind::TimedOut, what, text)))
            })
        })
        .await
    }

    /// Waits; whether it is to stop.
    pub(super) async fn sleep(&mut self, until: tokio::time::Instant) -> bool {
        let mut sleep = pin!(tokio::time::sleep_until(until));
        poll_fn(|context| match self.poll_stop(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| false),
        })
        .await
    }
}

/// Makes a future that is handed in. A panic is an error of it.
pub(super) fn begin_caught<'a, T>(
    what: &'static str,
    make: impl FnOnce() -> BoxFuture<'a, Result<T>>,
) -> Result<BoxFuture<'a, Result<T>>> {
    catch_unwind(AssertUnwindSafe(make)).map_err(|payload| panicked(what, &*payload))
}

/// Polls a future that was handed in. A panic in it is an error of it.
pub(super) fn poll_caught<T>(
    what: &'static str,
    call: &mut BoxFuture<'_, Result<T>>,
    context: &mut Context<'_>,
) -> Poll<Result<T>> {
    match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
        Ok(polled) => polled,
        Err(payload) => Poll::Ready(Err(panicked(what, &*payload))),
    }
}
