//! Fills a file from a source of ranges, with several fetches at once.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{AtomicChunked, Cancel, RangeSource, ResourceExt, StorageResult};
use crate::{Error, ErrorKind, Result};

/// Options of [`fill`].
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct FillOptions {
    /// How many fetches run at once. Default 4.
    pub parallel: NonZeroUsize,
    /// Bytes that are asked for at once at most. Default 8 MiB.
    pub piece: u64,
    /// How often a piece is tried again after an error that may pass. Default 4.
    pub retries: u32,
    /// How long the first of these waits; each next one twice as long, up to a minute. Default 500 ms.
    pub backoff: Duration,
    /// Ends the filling early, with `Cancelled`; the file stays active.
    pub cancel: Option<Cancel>,
}

impl FillOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            parallel: NonZeroUsize::MIN.saturating_add(3),
            piece: 8 << 20,
            retries: 4,
            backoff: Duration::from_millis(500),
            cancel: None,
        }
    }

    /// Sets how many fetches run at once.
    pub const fn parallel(mut self, parallel: NonZeroUsize) -> Self {
        self.parallel = parallel;
        self
    }

    /// Sets how many bytes are asked for at once.
    pub const fn piece(mut self, bytes: u64) -> Self {
        self.piece = bytes;
        self
    }

    /// Sets how often a piece is tried again.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sets how long the first retry waits.
    pub const fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets what ends it early.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }
}

impl Default for FillOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a filling did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillReport {
    /// Bytes that were written.
    pub fetched: u64,
    /// Fetches that were made, those that failed too.
    pub fetches: u64,
    /// Fetches that failed and were tried again.
    pub retried: u64,
}

/// Fetches every missing byte of `to` from `from`, and returns when all are there. Commits nothing.
///
/// What a reader waits for comes first. The length must be known: that of [`Identity`](super::Identity) at open.
///
/// # Durability
/// As of [`write_at`](ResourceExt::write_at): checkpoints are made as the options of `to` say. **On `Err`** what was written stays
/// available, and the next `fill` goes on with the rest.
///
/// # Errors
/// `Precondition` if the length is not known, or the source has changed; `Cancelled`; those of `from` after as many tries as
/// the options say; those of `to`.
///
/// # Example
/// ```
/// use std::ops::Range;
/// use untorn::chunked::{
///     AtomicChunked, ChunkedOptions, FileResource, FillOptions, Identity, RangeSource, ResourceExt, fill,
/// };
/// struct Numbers;
/// impl RangeSource for Numbers {
///     fn identity(&self) -> untorn::Result<Identity> {
///         Ok(Identity::new().len(100_000).etag("\"1\""))
///     }
///     fn fetch(
///         &self,
///         range: Range<u64>,
///         sink: &mut dyn FnMut(u64, &[u8]) -> untorn::Result<()>,
///     ) -> untorn::Result<()> {
///         let bytes: Vec<u8> = range.clone().map(|n| n.to_le_bytes()[0]).collect();
///         sink(range.start, &bytes)
///     }
/// }
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("numbers");
/// let options = ChunkedOptions::new().identity(Numbers.identity()?);
/// let file = AtomicChunked::open_with(path.clone(), options, |path, _| FileResource::open(path))?;
/// let report = fill(&file, &Numbers, &FillOptions::new())?;
/// assert_eq!(report.fetched, 100_000);
/// file.commit(None)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fill<R: ResourceExt>(
    to: &AtomicChunked<R>,
    from: &dyn RangeSource,
    options: &FillOptions,
) -> StorageResult<FillReport> {
    let Some(len) = to.expected_len() else {
        let what = "its length is not known; give it with the identity";
        return Err(Error::new(ErrorKind::Precondition, "fill", to.canonical_path(), what));
    };
    if options.piece == 0 {
        let what = "a piece must have at least one byte";
        return Err(Error::new(ErrorKind::InvalidInput, "fill", to.canonical_path(), what));
    }
    let filling = Filling { to, from, options, len, desk: Mutex::default(), bell: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 1..options.parallel.get() {
            scope.spawn(|| filling.work());
        }
        filling.work();
    });
    let Desk { report, failed, .. } =
        filling.desk.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(report), Err)
}

struct Filling<'a, R: ResourceExt> {
    to: &'a AtomicChunked<R>,
    from: &'a dyn RangeSource,
    options: &'a FillOptions,
    len: u64,
    desk: Mutex<Desk>,
    /// Rung when a piece ends, and when all is over.
    bell: Condvar,
}

/// Who does what.
#[derive(Debug, Default)]
struct Desk {
    /// What is being fetched, by whom it was taken.
    taken: Vec<Range<u64>>,
    report: FillReport,
    failed: Option<Error>,
}

impl Desk {
    /// The first part of `gap` that nobody fetches, cut to `piece` bytes.
    fn free(&self, gap: Range<u64>, piece: u64) -> Option<Range<u64>> {
        let mut at = gap.start;
        while let Some(other) = self.taken.iter().find(|other| other.contains(&at)) {
            at = other.end;
        }
        let next = self.taken.iter().map(|other| other.start).filter(|start| *start > at).min();
        // Pieces end at multiples of their length, so that retries and resumes ask for the same ones.
        let aligned = at.checked_div(piece)?.saturating_add(1).saturating_mul(piece);
        let end = gap.end.min(next.unwrap_or(u64::MAX)).min(aligned);
        (at < end).then_some(at..end)
    }
}

impl<R: ResourceExt> Filling<'_, R> {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, which: impl FnOnce(&mut FillReport) -> &mut u64, more: u64) {
        let mut desk = self.desk();
        let count = which(&mut desk.report);
        *count = count.saturating_add(more);
    }

    fn work(&self) {
        while let Some(range) = self.next() {
            let done = self.piece(range.clone());
            let mut desk = self.desk();
            desk.taken.retain(|taken| *taken != range);
            if let Err(error) = done {
                desk.failed.get_or_insert(error);
            }
            drop(desk);
            self.bell.notify_all();
        }
    }

    /// The next piece to fetch: what a reader waits for longest, else the first that is missing. `None` when all is there.
    fn next(&self) -> Option<Range<u64>> {
        let mut desk = self.desk();
        loop {
            if desk.failed.is_some() {
                return None;
            }
            if self.cancelled() {
                let what = "the filling was cancelled; what is there is kept";
                let path = self.to.canonical_path();
                desk.failed = Some(Error::new(ErrorKind::Cancelled, "fill", path, what));
                return None;
            }
            let piece = self.options.piece;
            let wanted = self.to.wanted(piece).and_then(|gap| desk.free(gap, piece));
            let range = wanted.or_else(|| self.first_free(&desk));
            match range {
                Some(range) => {
                    desk.taken.push(range.clone());
                    return Some(range);
                }
                None if desk.taken.is_empty() => return None,
                // Others are at the rest; one of them may give his piece back.
                None => desk = self.bell.wait(desk).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn first_free(&self, desk: &Desk) -> Option<Range<u64>> {
        let mut from = 0;
        while let Some(gap) = self.to.next_gap(from, self.len) {
            if let Some(free) = desk.free(gap.clone(), self.options.piece) {
                return Some(free);
            }
            from = gap.end;
        }
        None
    }

    /// Fetches one piece, again and again if need be; what came of it is not asked for again.
    fn piece(&self, range: Range<u64>) -> Result<()> {
        let mut tries = 0_u32;
        while let Some(gap) = self.to.next_gap(range.start, range.end) {
            self.count(|report| &mut report.fetches, 1);
            let mut at = gap.start;
            let fetched = self.from.fetch(gap.clone(), &mut |offset, bytes| {
                let end = offset.saturating_add(bytes.len() as u64);
                if offset != at || end > gap.end {
                    let what = "the source handed over other bytes than it was asked for";
                    return Err(Error::of_caller(ErrorKind::Io, "fill", what));
                }
                if self.cancelled() {
                    let what = "the filling was cancelled; what is there is kept";
                    return Err(Error::of_caller(ErrorKind::Cancelled, "fill", what));
                }
                self.to.write_at(offset, bytes)?;
                at = end;
                self.count(|report| &mut report.fetched, bytes.len() as u64);
                Ok(())
            });
            let error = match fetched {
                Ok(()) if at == gap.end => continue,
                Ok(()) => {
                    let what = "the source ended before the range did";
                    Error::of_caller(ErrorKind::Io, "fill", what)
                }
                Err(error) => error,
            };
            if at > gap.start {
                tries = 0; // it goes forward
            }
            let passes =
                matches!(error.kind(), ErrorKind::Io | ErrorKind::TimedOut | ErrorKind::WouldBlock);
            let ours = error.path().is_some(); // the disk's, not the source's
            if !passes || ours || tries >= self.options.retries || self.desk().failed.is_some() {
                return Err(error);
            }
            self.count(|report| &mut report.retried, 1);
            self.pause(tries);
            tries = tries.saturating_add(1);
        }
        Ok(())
    }

    /// Sleeps, but not longer than until somebody failed or cancelled.
    fn pause(&self, tries: u32) {
        const MOST: Duration = Duration::from_secs(60);
        const STEP: Duration = Duration::from_millis(20);
        let mut left = self.options.backoff.saturating_mul(1 << tries.min(16)).min(MOST);
        while !left.is_zero() && !self.cancelled() && self.desk().failed.is_none() {
            let step = left.min(STEP);
            std::thread::sleep(step);
            left = left.saturating_sub(step);
        }
    }

    fn cancelled(&self) -> bool {
        self.options.cancel.as_ref().is_some_and(Cancel::is_cancelled)
    }
}
