//! What a journal did, for whoever watches it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Acquire;

use super::{Journal, Machine, Seqs};
use crate::Error;
use crate::log::LogStats;
use crate::snapshot::SnapshotInfo;

/// What a journal did since it was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct JournalStats {
    /// Of the log: appends, syncs, how many shared one.
    pub log: LogStats,
    /// How far it is.
    pub seqs: Seqs,
    /// Bytes of events since the last checkpoint.
    pub bytes_since_checkpoint: u64,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotInfo>,
    /// Why the last checkpoint in the background failed, if it did.
    pub checkpoint_error: Option<Error>,
    /// Whether nothing but [`Journal::peek`] works any more.
    pub poisoned: bool,
}

impl<M: Machine> Journal<M> {
    /// What the journal did.
    pub fn stats(&self) -> JournalStats {
        let inner = &*self.0;
        let log = inner.log.stats();
        let error = inner.checkpoint_error.lock().unwrap_or_else(PoisonError::into_inner);
        JournalStats {
            seqs: self.seqs(),
            bytes_since_checkpoint: inner.growth.bytes.load(Acquire),
            snapshot: inner.latest().clone(),
            checkpoint_error: error.as_ref().map(Error::share),
            poisoned: log.poisoned || inner.poison.is_set(),
            log,
        }
    }
}
