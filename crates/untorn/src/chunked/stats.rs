//! What a chunked file did since it was opened.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What a chunked file did since it was opened, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkedStats {
    /// Bytes that are available.
    pub available: u64,
    /// Bytes that a later owner could go on with after a crash.
    pub trusted: u64,
    /// Bytes that were written in all, and in how many writes.
    pub written: u64,
    /// How many writes that were.
    pub writes: u64,
    /// Who waits now.
    pub waiters: usize,
    /// Syncs of the bytes.
    pub syncs: u64,
    /// How long they took in all.
    pub sync_time: Duration,
}

/// The counts behind it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    written: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
    sync_nanos: AtomicU64,
}

impl Counts {
    pub(super) fn wrote(&self, len: usize) {
        self.written.fetch_add(len as u64, Relaxed);
        self.writes.fetch_add(1, Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        self.syncs.fetch_add(1, Relaxed);
        self.sync_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn stats(&self) -> ChunkedStats {
        ChunkedStats {
            written: self.written.load(Relaxed),
            writes: self.writes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            sync_time: Duration::from_nanos(self.sync_nanos.load(Relaxed)),
            ..ChunkedStats::default()
        }
    }
}
