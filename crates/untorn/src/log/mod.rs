//! A segmented, checksummed append log with group commit: durable ordered records for one writer and many readers.
//!
//! [`Log::append`] numbers a record and never waits for the disk; [`Log::wait`] waits until it is acknowledged. All who wait
//! share one sync. After a crash the log opens by itself: what was acknowledged is there, what was not is there whole or
//! not at all, and only damage to acknowledged records refuses, with file and offset.
//!
//! ```
//! use untorn::log::{Log, LogOptions, Upto};
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("events");
//! let (log, report) = Log::open(&dir, LogOptions::new())?;
//! assert_eq!(report.last_seq, 0);
//! let first = log.append(b"created")?;
//! let second = log.append(b"renamed")?;
//! assert_eq!(log.wait(&second)?, 2); // both are durable now
//! let mut scan = log.read(first.seq, Upto::Durable)?;
//! while let Some(record) = scan.next()? {
//!     println!("{} {:?}", record.seq, record.bytes);
//! }
//! log.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # On disk
//! A directory with `META`, segments `0000000000000001.seg`, a `LOCK` and, where something was cut, a `quarantine`:
//! docs/FORMAT.md has every byte.
//!
//! # Concurrency
//! One process owns a log; any number of its threads append, wait and read. Any number of other processes read with
//! [`LogReader`], without a lock and without holding the owner up.
//!
//! # Limits
//! Records up to 1 GiB; frames, and so batches, below 4 GiB. Opening reads the last segment into memory.
//! Not promised: rot in the last records before a crash, which nothing later vouches for, is told apart from a torn tail only
//! by its looks (`suspect` in the report); a copy is kept in any case.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::commit::{Claim, Poison};
use crate::fs::Dir;
use crate::{Durability, Error, ErrorKind, Result};

mod company;
#[cfg(feature = "blake3")]
mod copy;
mod cursor;
mod cut;
mod format;
mod lane;
mod open;
mod options;
mod prepare;
mod queue;
mod reader;
mod recover;
mod salvage;
mod scan;
mod serve;
mod state;
mod stats;
#[cfg(feature = "tokio")]
mod task;
mod thread;
mod ticket;
mod truncate;
mod verdict;
mod watch;
mod window;

use lane::{Lane, Until};
use queue::{Admitted, Pending, Queue};
use recover::Begun;
use ticket::Woken;
use watch::Watch;

#[cfg(feature = "blake3")]
pub(crate) use copy::Piece as LogPiece;
pub use open::{Healed, LogReport};
pub use options::{Floor, LogOptions, SyncPolicy};
pub use reader::{LogReader, SegmentInfo, VerifyReport};
pub use salvage::{Hole, SalvageReport};
pub use scan::{Pin, Rec, Scan};
pub(crate) use serve::{Peek, bytes_of, frame_stands_at, peek, segment_file};
pub use state::{Piece, State};
pub(crate) use state::{piece_of, read_state};
pub use stats::{Hist, LogStats};
pub use ticket::Ticket;

/// No record is larger.
const RECORD_MAX: usize = 1 << 30;

/// How far [`Log::read`] goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upto {
    /// The last record that survives power loss.
    #[default]
    Durable,
    /// The last record that is written; it may be lost by a power cut.
    Written,
}

/// Where a record lies: to be kept in a checkpoint, and given to [`LogOptions::start`] and [`Log::read_at`].
///
/// Void once a `truncate_back` passed it: then it does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores write it into their own files")]
pub struct LogPos {
    /// Number of the segment.
    pub segment: u64,
    /// Offset of the frame in the segment.
    pub frame: u64,
    /// Offset of the record's prefix in the frame; 0 for the frame itself.
    pub at: u32,
    /// The checksum that ends the frame's header.
    pub frame_crc: u32,
}

/// An open log. Cheap to clone; all clones are the same log. See the [module](self).
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    path: PathBuf,
    store_id: [u8; 16],
    dir: Arc<dyn Dir>,
    options: LogOptions,
    /// Entropy for salts is drawn ahead, since it can fail where they are needed.
    salts: Mutex<Salts>,
    poison: Poison,
    queue: Mutex<Queue>,
    /// Told when pending records were taken out to be written.
    room: Condvar,
    lane: Mutex<Lane>,
    segments: Mutex<Vec<Begun>>,
    pins: Mutex<Vec<(u64, u64)>>,
    stats: Mutex<LogStats>,
    written: AtomicU64,
    durable: AtomicU64,
    first: AtomicU64,
    floor: AtomicU64,
    /// How often the log was cut at the back: a scan that finds nonsense after a cut is stale, not damaged.
    cuts: AtomicU64,
    watch: Watch,
    /// A withdrawal that no sync has told of yet: whoever syncs may hold no ticket.
    withdrawn: Mutex<Option<Arc<Error>>>,
    /// META says where the log ends; that has to go before the next record comes.
    recorded_end: AtomicBool,
    /// Whether a task that will drive the lane is queued already.
    #[cfg(feature = "tokio")]
    task_queued: AtomicBool,
    /// Held until the log is closed, or its last clone and ticket are dropped.
    claim: Mutex<Option<Claim>>,
}

/// Salts that differ from the last one and are never zero.
#[derive(Debug)]
struct Salts {
    last: u32,
    state: u64,
}

impl Salts {
    /// Splitmix over a random start: what matters is that incarnations differ, not that nobody can guess.
    fn draw(&mut self) -> u32 {
        loop {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let salt = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0);
            if salt != 0 && salt != self.last {
                self.last = salt;
                return salt;
            }
        }
    }
}

impl Log {
    /// Appends a record to what will be written next, and numbers it. Does not wait for the disk, but where space has to be
    /// prepared or too much is pending.
    ///
    /// # Durability
    /// **On `Ok`** the record is in memory; [`wait`](Self::wait) for it. **On `Err`** there is no such record; `Unchanged`.
    /// **If the process dies** or **if power fails** before it is acknowledged, it is there whole or not at all, and never
    /// without all records before it.
    ///
    /// # Cost
    /// A copy into memory. The first one after a clean close replaces META: two syncs, one rename. A new segment is prepared
    /// with one sync for each 256 KiB of it and one for its name; mostly the one who syncs has done that before.
    ///
    /// # Errors
    /// `TooLarge`; `NoSpace` if no space can be prepared: retry when there is some; `Poisoned`; `Closed`; `Io`.
    pub fn append(&self, record: &[u8]) -> Result<Ticket> {
        self.put(&[record], true, None)
    }

    /// As [`append`](Self::append), but never touches the disk.
    ///
    /// # Errors
    /// As [`append`](Self::append), and `WouldBlock` where that would prepare space or help to write, and on the
    /// first call after a clean close, which takes back the recorded end.
    pub fn try_append(&self, record: &[u8]) -> Result<Ticket> {
        self.put(&[record], false, None)
    }

    /// Appends records that are there all or not at all after a crash, with adjacent numbers. The ticket is the last one's.
    ///
    /// A batch is one frame: one that fits no segment gets a segment of its own size.
    ///
    /// # Errors
    /// As [`append`](Self::append); `InvalidInput` for an empty batch; `TooLarge` from 4 GiB on.
    #[expect(single_use_lifetimes, reason = "an elided one is not allowed here")]
    pub fn append_batch<'a>(&self, records: impl IntoIterator<Item = &'a [u8]>) -> Result<Ticket> {
        let records: Vec<&[u8]> = records.into_iter().collect();
        self.put(&records, true, None)
    }

    /// Appends a record and waits until it is acknowledged.
    ///
    /// # Durability
    /// **On `Ok`** the record survives power loss (with `Buffered`: the death of the process). **On `Err`** see
    /// [`Error::outcome`].
    ///
    /// # Cost
    /// One write and one sync, shared with all who wait at the same time (with `Buffered` no sync), and what
    /// [`append`](Self::append) costs. Blocks.
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`wait`](Self::wait).
    pub fn append_synced(&self, record: &[u8]) -> Result<u64> {
        let ticket = self.append(record)?;
        self.wait(&ticket)
    }

    /// Waits until the record and all before it are acknowledged; writes and syncs itself if nobody else does.
    ///
    /// # Cost
    /// One write and one sync for each frame up to the record's: all that was appended meanwhile is one frame, up to
    /// `max_group_bytes`. With [`SyncPolicy::Interval`] and [`SyncPolicy::Manual`] none, it only waits.
    ///
    /// # Errors
    /// `Poisoned` with `Unknown`, if its write or sync failed; `NoSpace` with `Unchanged`, if it was taken back since the disk
    /// was full after all; `Stale` if a `truncate_back` removed it.
    pub fn wait(&self, ticket: &Ticket) -> Result<u64> {
        self.wait_for(ticket, None)
    }

    fn wait_for(&self, ticket: &Ticket, timeout: Option<Duration>) -> Result<u64> {
        let inner = &*self.0;
        let group = &*ticket.group;
        let clock = || inner.options.fs.monotonic();
        let deadline = timeout.map(|timeout| clock().saturating_add(timeout));
        let leads =
            matches!(inner.options.sync_policy, SyncPolicy::Each | SyncPolicy::Window { .. });
        loop {
            if let Some(outcome) = group.outcome() {
                return match outcome {
                    Ok(_) => Ok(ticket.seq),
                    Err(cause) => Err(inner.waiter_error(&cause)),
                };
            }
            group.enter();
            // Who may not lead must not even try: leaving the lane would nudge him awake again, for ever.
            let lane = if leads { inner.try_lane() } else { None };
            let woken = match lane {
                Some(mut lane) => {
                    inner.wait_for_company(&mut lane);
                    inner.drive(&mut lane, Until::Group(group));
                    inner.prepare_ahead(&mut lane);
                    Woken::Done
                }
                None => group.sleep(deadline.map(|end| end.saturating_sub(clock()))),
            };
            group.leave();
            if matches!(woken, Woken::TimedOut) {
                return Err(ticket::timed_out(self));
            }
        }
    }

    /// Syncs everything that was appended before the call, and returns the last number that is durable.
    ///
    /// # Durability
    /// **On `Ok`** all of it survives power loss, also with `Buffered`. **On `Err`** with `NoSpace`, records appended since the last
    /// `sync` were taken back, since the disk was full after all; their tickets tell which, and the log goes on. Else `Unknown`:
    /// the log is poisoned.
    ///
    /// # Cost
    /// One sync for each frame that is pending, which is one up to `max_group_bytes`; with `Buffered` one in all. None if there
    /// is nothing to sync.
    ///
    /// # Errors
    /// `Poisoned`, `NoSpace`.
    pub fn sync(&self) -> Result<u64> {
        let inner = &*self.0;
        let target = inner.queue().next_seq.saturating_sub(1);
        if self.durable_seq() < target || inner.poison.is_set() {
            inner.flush_all(&mut inner.lane())?;
        }
        inner.tell_withdrawn()?;
        Ok(self.durable_seq())
    }

    /// With [`Floor::Store`]: says that the store has acknowledged all up to `seq`; frames claim no more than that.
    pub fn raise_floor(&self, seq: u64) {
        self.0.floor.fetch_max(seq, AcqRel);
    }

    /// The last record that survives power loss; 0 if there is none.
    pub fn durable_seq(&self) -> u64 {
        self.0.durable.load(Acquire)
    }

    /// The last record that is written to the system; it survives the death of the process.
    pub fn written_seq(&self) -> u64 {
        self.0.written.load(Acquire)
    }

    /// The number that the next record will get.
    pub fn next_seq(&self) -> u64 {
        self.0.queue().next_seq
    }

    /// The oldest record that is kept, or the next one if there is none.
    pub fn first_seq(&self) -> u64 {
        self.0.first.load(Acquire)
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What the log did since it was opened.
    pub fn stats(&self) -> LogStats {
        let pending = self.0.queue().pending_bytes;
        LogStats {
            durable_seq: self.durable_seq(),
            written_seq: self.written_seq(),
            pending_bytes: pending as u64,
            poisoned: self.0.poison.is_set(),
            ..self.0.stats().clone()
        }
    }

    /// Syncs what was appended and records the end, so that the next open knows it to the byte. Other clones answer `Closed`.
    ///
    /// # Durability
    /// **On `Ok`** everything survives power loss, and whatever is missing afterwards is known as damage. **On `Err`** what
    /// was acknowledged stays so.
    ///
    /// # Cost
    /// One sync for what is pending; two more and one rename, but if the end was recorded by an earlier close and nothing was
    /// appended since.
    ///
    /// # Errors
    /// As [`sync`](Self::sync); `Closed`; and those of a replaced file.
    pub fn close(self) -> Result<()> {
        let inner = &*self.0;
        let mut lane = inner.lane();
        inner.queue().closed_check(&inner.path)?;
        inner.flush_all(&mut lane)?;
        inner.queue().closed = true;
        inner.watch.ring();
        // What came between is written too: from here on nothing is admitted.
        inner.flush_all(&mut lane)?;
        inner.tell_withdrawn()?;
        inner.record_end(&mut lane)?;
        drop(inner.claim.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }

    fn put(&self, records: &[&[u8]], may_block: bool, expected: Option<u64>) -> Result<Ticket> {
        let inner = &*self.0;
        inner.check_sizes(records)?;
        loop {
            inner.poison.check("append to", &inner.path)?;
            if inner.recorded_end.load(Acquire) {
                inner.or_would_block(may_block)?;
                inner.clear_recorded_end(&mut inner.lane())?;
            }
            let admitted = {
                let mut queue = inner.queue();
                queue.closed_check(&inner.path)?;
                queue.number_check(expected, &inner.path)?;
                queue.admit(records, || inner.new_salt())
            };
            match admitted {
                Admitted::Yes { seq, at, group } => {
                    let mut stats = inner.stats();
                    stats.appends = stats.appends.saturating_add(records.len() as u64);
                    return Ok(Ticket { seq, at, group, log: self.clone() });
                }
                Admitted::Full => {
                    inner.or_would_block(may_block)?;
                    let mut lane = inner.lane();
                    inner.drive(&mut lane, Until::Pending(inner.options.max_pending / 2));
                }
                Admitted::NeedsSegment(needs) => {
                    inner.or_would_block(may_block)?;
                    inner.prepare_now(&mut inner.lane(), needs)?;
                }
            }
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.0.path)
            .field("first_seq", &self.first_seq())
            .field("durable_seq", &self.durable_seq())
            .field("poisoned", &self.0.poison.is_set())
            .finish_non_exhaustive()
    }
}

/// The lane while it is held; who lets it go tells the next one (W1).
struct LaneGuard<'a> {
    inner: &'a Inner,
    lane: Option<MutexGuard<'a, Lane>>,
}

impl std::ops::Deref for LaneGuard<'_> {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        self.lane.as_deref().unwrap_or_else(|| unreachable!("the lane is held until the drop"))
    }
}

impl std::ops::DerefMut for LaneGuard<'_> {
    fn deref_mut(&mut self) -> &mut Lane {
        self.lane.as_deref_mut().unwrap_or_else(|| unreachable!("the lane is held until the drop"))
    }
}

impl Drop for LaneGuard<'_> {
    fn drop(&mut self) {
        drop(self.lane.take());
        self.inner.nudge_next();
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, LogStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> MutexGuard<'_, Vec<Begun>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pins(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self) -> LaneGuard<'_> {
        let lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        LaneGuard { inner: self, lane: Some(lane) }
    }

    fn try_lane(&self) -> Option<LaneGuard<'_>> {
        match self.lane.try_lock() {
            Ok(lane) => Some(LaneGuard { inner: self, lane: Some(lane) }),
            Err(TryLockError::Poisoned(lane)) => {
                Some(LaneGuard { inner: self, lane: Some(lane.into_inner()) })
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn new_salt(&self) -> u32 {
        self.salts.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    /// Tells the first who waits for a queued group that the lane may be free.
    fn nudge_next(&self) {
        for pending in &self.queue().groups {
            if pending.group.nudge() {
                break;
            }
        }
    }

    /// What frames may say was acknowledged.
    fn acknowledged(&self) -> u64 {
        let durable = self.durable.load(Acquire);
        match self.options.floor {
            Floor::Log => durable,
            Floor::Store => durable.min(self.floor.load(Acquire)),
        }
    }

    /// Writes and syncs all that is queued.
    fn flush_all(&self, lane: &mut Lane) -> Result<()> {
        self.poison.check("sync", &self.path)?;
        self.drive(lane, Until::Empty);
        self.poison.check("sync", &self.path)?;
        self.sync_lane(lane)
    }

    /// Reports a withdrawal once.
    fn tell_withdrawn(&self) -> Result<()> {
        let first = self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.map_or(Ok(()), |cause| Err(Error::share(&cause)))
    }

    /// With a window: waits until enough is pending, or for so long.
    fn wait_for_company(&self, lane: &mut Lane) {
        let SyncPolicy::Window { delay, bytes } = self.options.sync_policy else {
            return self.gather(lane);
        };
        let queue = self.queue();
        let waited =
            self.room.wait_timeout_while(queue, delay, |queue| queue.pending_bytes < bytes);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn waiter_error(&self, cause: &Arc<Error>) -> Error {
        match cause.kind() {
            // Withdrawn, cut or closed: the first failure is the whole story.
            ErrorKind::NoSpace | ErrorKind::Stale
                if cause.outcome() == crate::Outcome::Unchanged =>
            {
                Error::share(cause)
            }
            ErrorKind::Poisoned => Error::share(cause),
            _ => Error::poisoned("wait for", &self.path, Arc::clone(cause)),
        }
    }

    fn or_would_block(&self, may_block: bool) -> Result<()> {
        if may_block {
            return Ok(());
        }
        let what = "space has to be prepared or pending records written first";
        Err(Error::new(ErrorKind::WouldBlock, "append to", &self.path, what))
    }

    fn check_sizes(&self, records: &[&[u8]]) -> Result<()> {
        let error = |kind, what: String| Err(Error::new(kind, "append to", &self.path, what));
        if records.is_empty() {
            return error(ErrorKind::InvalidInput, "a batch needs at least one record".to_owned());
        }
        let limit = self.options.max_record;
        if let Some(large) = records.iter().map(|r| r.len()).find(|&len| len > limit) {
            let what =
                format!("a record of {large} bytes is above the limit of {limit} (max_record)");
            return error(ErrorKind::TooLarge, what);
        }
        let total: u64 = records
            .iter()
            .map(|r| (r.len() as u64).saturating_add(8))
            .fold(256, u64::saturating_add);
        if total > format::SEGMENT_MAX {
            return error(
                ErrorKind::TooLarge,
                "a batch must stay below 4 GiB; split it".to_owned(),
            );
        }
        Ok(())
    }

    fn count_frame(&self, pending: &Pending, bytes: usize) {
        let mut stats = self.stats();
        stats.frames = stats.frames.saturating_add(u64::from(pending.count > 0));
        stats.bytes = stats.bytes.saturating_add(bytes as u64);
    }
}

impl Queue {
    fn closed_check(&self, path: &Path) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::Closed, "use", path, "the log was closed"));
        }
        Ok(())
    }

    fn number_check(&self, expected: Option<u64>, path: &Path) -> Result<()> {
        match expected {
            Some(expected) if expected != self.next_seq => {
                let what = format!("the next record is {}, not {expected}", self.next_seq);
                Err(Error::new(ErrorKind::Stale, "append to", path, what))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Inner {
    /// Hands what is pending to the system, and vouches for what is acknowledged: both unsynced, both no promise.
    fn drop(&mut self) {
        if self.queue().closed || self.poison.is_set() {
            return;
        }
        self.options.durability = Durability::Buffered;
        let mut lane = self.lane();
        self.drive(&mut lane, Until::Empty);
        drop(self.mark(&mut lane));
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Log>();
    shared::<Ticket>();
};
