//! Mark and sweep with a listing of the source.
//!
//! F4. An empty listing is believed when a second one, some time later, is empty too.
//! F5. A sweep that the guard refuses deletes nothing.

use super::driver::{Driver, Over, Rest, instant_after};
use super::source::{Listed, Scope, SourceInfo};
use super::state::Phase;
use super::work::Worker;
use crate::fold::protocol::{must_confirm_empty, sweep_allowed};
use crate::fold::{CursorOrder, KvUpdate, SnapshotStore, WatchCursor};
use crate::{Error, ErrorKind, Result};

impl<S: SnapshotStore + 'static> Driver<S> {
    /// Brings the fold to what the source lists. With a new lineage, old versions say nothing, and the fold is of the new one then.
    pub(super) async fn relist(
        &mut self,
        info: &SourceInfo,
        new_lineage: bool,
    ) -> std::result::Result<(), Over> {
        let Self { source, rest } = self;
        rest.phase(Phase::Relisting { seen: 0 });
        let scope = rest.options.scope.clone();
        let mut sync = scope.to_sync();
        if new_lineage {
            sync = sync.of_new_lineage(info.lineage.clone());
        }
        rest.work(move |worker| {
            worker.sync = Some(worker.store.begin_sync(sync)?);
            Ok(())
        })
        .await?;
        let mut listing = rest.call("list", || source.list(&scope, false)).await?;
        let mut seen = 0_u64;
        let end = loop {
            match rest.call("list", || listing.next()).await? {
                Listed::End(cursor) => break cursor,
                Listed::Chunk(updates) => {
                    seen = seen.saturating_add(updates.len() as u64);
                    let at = rest.work(move |worker| worker.list(&updates)).await?;
                    rest.came_to(at);
                    rest.phase(Phase::Relisting { seen });
                }
            }
        };
        drop(listing);
        let lags = !new_lineage && !end.reaches(&rest.cursor, rest.order);
        if lags && rest.order == CursorOrder::Bytes {
            let what = format!("the listing is of {end}, and the fold is at {}", rest.cursor);
            return Err(Over::Again(Error::of_caller(ErrorKind::Stale, "list", what)));
        }
        rest.confirm(seen, !end.is_none(), &scope).await?;
        rest.finish(end, &scope, info, new_lineage).await
    }
}

impl<S: SnapshotStore + 'static> Rest<S> {
    async fn confirm(
        &mut self,
        listed: u64,
        has_history: bool,
        scope: &Scope,
    ) -> std::result::Result<(), Over> {
        if listed > 0 {
            self.empty_seen = false;
            return Ok(());
        }
        let ranges = scope.ranges();
        let has = self.work(move |worker| has_entries(worker, &ranges)).await?;
        if must_confirm_empty(listed, has, has_history, self.empty_seen) {
            self.empty_seen = true;
            let what = "the listing is empty: another one is to confirm it";
            return Err(Over::Again(Error::of_caller(ErrorKind::Incomplete, "list", what)));
        }
        self.empty_seen = false;
        Ok(())
    }

    async fn finish(
        &mut self,
        end: WatchCursor,
        scope: &Scope,
        info: &SourceInfo,
        new_lineage: bool,
    ) -> std::result::Result<(), Over> {
        let evicts = info.evicts_current_values == Some(true);
        let seen_evicting = evicts || (self.seen_evicting && !new_lineage);
        let cursor = end.remember_evicting(seen_evicting);
        let guard = self.options.sweep_guard.map(|fraction| (fraction, scope.ranges()));
        let (report, at) = self
            .work(move |worker| {
                if let Some((fraction, ranges)) = guard {
                    may_sweep(worker, fraction, &ranges)?;
                }
                let token = worker.sync.take().ok_or_else(|| {
                    Error::of_caller(ErrorKind::Precondition, "list", "no listing is under way")
                })?;
                let report = worker.store.finish_sync(token, &cursor)?;
                Ok((report, worker.at()))
            })
            .await?;
        self.came_to(at);
        if new_lineage {
            self.lineage = Some(info.lineage.clone());
        }
        self.seen_evicting = seen_evicting;
        (self.said_expired, self.said_other, self.relist_wanted) = (false, false, false);
        self.next_resync = self.options.resync_every.map(instant_after);
        self.backoff.reset();
        for asker in self.control.askers.drain(..) {
            // Who asked may be gone.
            drop(asker.send(Ok(report.clone())));
        }
        Ok(())
    }
}

fn has_entries<S: SnapshotStore>(worker: &Worker<S>, ranges: &[String]) -> Result<bool> {
    for range in ranges {
        let mut found = false;
        let stopped = worker.store.for_each_in_range(range, |_| {
            found = true;
            Err(Error::of_caller(ErrorKind::Cancelled, "look", "one is enough"))
        });
        if found {
            return Ok(true);
        }
        stopped?;
    }
    Ok(false)
}

/// Counts what the sweep would delete at most.
fn may_sweep<S: SnapshotStore>(worker: &Worker<S>, fraction: f64, ranges: &[String]) -> Result<()> {
    let Some(token) = &worker.sync else { return Ok(()) };
    let (mut held, mut swept) = (0_u64, 0_u64);
    for range in ranges {
        worker.store.for_each_in_range(range, |entry| {
            held = held.saturating_add(1);
            swept = swept.saturating_add(u64::from(!token.has(&entry.key)));
            Ok(())
        })?;
    }
    if sweep_allowed(held, swept, Some(fraction)) {
        return Ok(());
    }
    let what = format!(
        "the sweep would delete {swept} of {held} keys, and the guard allows {fraction} of them"
    );
    Err(Error::of_caller(ErrorKind::Precondition, "sweep", what))
}

/// Bytes of an update as they count for a batch.
pub(super) fn size_of_update(update: &KvUpdate) -> usize {
    update.key().len().saturating_add(update.value().map_or(0, <[u8]>::len))
}
