//! Opens a log: claims it, finds its end, heals what a crash left, and vouches for the tail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::company::Company;
use super::cut::{CutAt, Home, load, not_ours};
use super::format::{
    Ended, FRAME_HEADER, META, Meta, SEGMENT_HEADER, SegmentHeader, segment_name, segment_number,
};
use super::lane::{Current, Lane, own_crc};
use super::options::{LogOptions, SyncPolicy};
use super::prepare::{Preparing, usual_len};
use super::queue::{Queue, Ready, Tail};
use super::recover::{Route, Walked, damaged, open_segment};
use super::stats::LogStats;
use super::verdict::Verdict;
use super::watch::Watch;
use super::window::Window;
use super::{Inner, Log, LogPos, RECORD_MAX, Rec, Salts};
use crate::commit::{self, Claim, Cut, Poison, Quarantine};
use crate::fs::{Dir, Fs, How};
use crate::{Error, ErrorKind, OnDamage, Result};

/// What opening a log found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogReport {
    /// The oldest record that is kept, or the next one if there is none.
    pub first_seq: u64,
    /// The last record; `first_seq - 1` if there is none.
    pub last_seq: u64,
    /// Records and bytes that were read and verified.
    pub records_scanned: u64,
    /// Bytes of the frames that were read.
    pub bytes_scanned: u64,
    /// Where reading began, if it was at [`LogOptions::start`]; `None` if it was at the front.
    pub started_at: Option<LogPos>,
    /// What was cut, if anything was.
    pub healed: Option<Healed>,
    /// Bytes of the tail that were written again, since nothing vouched for them.
    pub rewritten_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// What was cut at open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Healed {
    /// The segment it was cut from.
    pub path: PathBuf,
    /// Where the cut began.
    pub offset: u64,
    /// How many bytes, up to the last that was not zero; with [`OnDamage::Truncate`] of all segments.
    pub bytes: u64,
    /// Why they did not count.
    pub why: String,
    /// Acknowledged records that were cut off: only with [`OnDamage::Truncate`]. First and last.
    pub lost: Option<(u64, u64)>,
    /// The copies, one for each segment.
    pub quarantine: Vec<PathBuf>,
    /// It does not look like a plain torn write: it may be rot in records that nothing vouches for yet.
    pub suspect: bool,
}

impl Log {
    /// Opens the log in the directory `path`, or creates it; recovers it first if its last owner crashed.
    ///
    /// # Durability
    /// **On `Ok`** all records up to `last_seq` survive power loss. **On `Err`** nothing was lost; `Damaged`, `NotOurs`,
    /// `NewerFormat` and `Locked` changed nothing but the text in `LOCK` (and a cut that was begun before is finished). **If the process dies** or **if power fails** meanwhile, the next open goes on.
    ///
    /// # Cost
    /// Of a new log with the usual first segment of 256 KiB five syncs, and one for each directory above it. After a clean
    /// close none. After a crash, or if the log was only dropped, six: the tail that nothing vouches for is written again, and
    /// the rest of the last segment zeroed. Six more if a cut was pending, four more for each copy that goes to the
    /// quarantine, two after a clean close if dropped segments are still there. Reads from [`LogOptions::start`], else the whole log.
    ///
    /// # Errors
    /// `Locked` if another owner lives; `Damaged` with file, offset and the records that are lost, unless
    /// [`OnDamage::Truncate`]; `NotOurs`; `NewerFormat`; `Precondition` if it belongs to another kind of owner; `InvalidInput` for
    /// options that no log can have; `NoSpace`; `ReadOnly`; `Io`.
    pub fn open(path: impl AsRef<Path>, options: LogOptions) -> Result<(Self, LogReport)> {
        Self::open_and_replay(path.as_ref(), options, &mut |_| Ok(()))
    }

    /// As [`open`](Self::open), and shows `each` every record from [`LogOptions::start`] on, or of the whole log, as it is verified:
    /// nothing is read twice. An error of `each` ends the open before anything is healed or vouched for.
    pub(crate) fn open_and_replay(
        path: &Path,
        options: LogOptions,
        each: &mut dyn FnMut(Rec<'_>) -> Result<()>,
    ) -> Result<(Self, LogReport)> {
        let options = checked(path, options)?;
        let fs = Arc::clone(&options.fs);
        let started = fs.monotonic();
        let (dir, made) = commit::open_or_make_dir(&*fs, path)?;
        refuse_foreign(&*dir)?;
        let claim = Claim::take(&*fs, &*dir)?;
        let (meta, created) = match load(&*dir)? {
            Some(meta) => (meta, false),
            None => (create(&fs, &dir, &options, made)?, true),
        };
        if meta.owner != options.owner {
            let what = format!(
                "it is a log of {}, and was opened as one of {}",
                meta.owner.escape_ascii(),
                options.owner.escape_ascii()
            );
            return Err(Error::new(ErrorKind::Precondition, "open log", path, what));
        }
        let mut home = Home { fs, dir, meta };
        if home.meta.ended == Ended::Cut {
            // That it is to be seen does not mean that it is durable; what follows cannot be taken back.
            home.store(home.meta)?;
            home.redo((0, &[]))?;
        }
        let walked = Route {
            dir: &*home.dir,
            meta: &home.meta,
            start: options.start,
            acknowledged: options.acknowledged,
        }
        .walk_with(each)?;
        refuse_damage(&walked, &options)?;
        commit::sweep_store(&*home.dir)?;
        let healed = quarantine(&home, &walked)?;
        let (ready, rewritten) = if created { (None, 0) } else { settle(&mut home, &walked)? };
        for &number in &walked.below {
            commit::unlink(&*home.dir, OsStr::new(&segment_name(number)))?;
        }
        let report = LogReport {
            first_seq: home.meta.front_seq,
            last_seq: walked.end.next_seq.saturating_sub(1),
            records_scanned: walked.records,
            bytes_scanned: walked.bytes,
            started_at: walked.started_at,
            healed,
            rewritten_bytes: rewritten,
            elapsed: home.fs.monotonic().saturating_sub(started),
        };
        let log = build(path, options, home, walked, ready, claim)?;
        Ok((log, report))
    }
}

fn checked(path: &Path, mut options: LogOptions) -> Result<LogOptions> {
    let refuse =
        |what: &'static str| Err(Error::new(ErrorKind::InvalidInput, "open log", path, what));
    if !(super::format::SEGMENT_MIN..=super::format::SEGMENT_MAX).contains(&options.segment_bytes) {
        return refuse("segment_bytes must be from 1 KiB up to 4 GiB less 1 MiB");
    }
    if options.max_record > RECORD_MAX {
        return refuse("max_record must be at most 1 GiB");
    }
    if matches!(options.sync_policy, SyncPolicy::Interval(_)) && !options.sync_thread {
        return refuse("an interval of syncs needs sync_thread");
    }
    if options.on_damage == OnDamage::Salvage {
        return refuse(
            "a log is salvaged into another directory: see Log::salvage, or `untorn recover --salvage`",
        );
    }
    options.segment_bytes &= !7;
    Ok(options)
}

/// Without META, only an empty directory or the remains of a creation are ours.
pub(super) fn refuse_foreign(dir: &dyn Dir) -> Result<()> {
    let names = dir.list().map_err(|e| Error::system("open log", dir.path(), e))?;
    if names.iter().any(|name| name == META) {
        return Ok(());
    }
    let ours = |name: &OsStr| {
        name == commit::LOCK || commit::is_temp_name(name) || segment_number(name).is_some()
    };
    if names.iter().all(|name| ours(name)) { Ok(()) } else { Err(not_ours(dir)) }
}

/// A first segment, then META: who finds no META knows that nothing was ever acknowledged.
fn create(fs: &Arc<dyn Fs>, dir: &Arc<dyn Dir>, options: &LogOptions, made: bool) -> Result<Meta> {
    refuse_lost_meta(&**dir)?;
    let mut random = [0; 20];
    fs.entropy(&mut random).map_err(|e| Error::system("create log", dir.path(), e))?;
    let (id, salt) = random.split_at(16);
    let mut store_id = [0; 16];
    store_id.copy_from_slice(id);
    let random_id = *uuid::Builder::from_random_bytes(store_id).as_uuid().as_bytes();
    let (store_id, first_seq) = options.born.unwrap_or((random_id, 1));
    let salt = salt.first_chunk().map_or(1, |salt| u32::from_le_bytes(*salt)).max(1);
    let header = SegmentHeader {
        store_id,
        owner: options.owner,
        number: 1,
        first_seq,
        salt,
        prev: 0,
        record_crc: options.record_crc,
        crc: 0,
    };
    let mut first = Preparing::start(&**fs, dir, 1, usual_len(1, options.segment_bytes))?;
    while !first.is_filled() {
        first.part(options.durability)?;
    }
    first.head(&header.encode())?;
    first.publish(dir)?;
    commit::sync_way(&**fs, dir.path(), made)?;
    let meta = Meta {
        store_id,
        owner: options.owner,
        ended: Ended::Open,
        front_segment: 1,
        front_seq: first_seq,
        last_seq: first_seq.saturating_sub(1),
        segment: 0,
        offset: 0,
        frame_header: [0; FRAME_HEADER],
    };
    let mut home = Home { fs: Arc::clone(fs), dir: Arc::clone(dir), meta };
    home.store(meta)?;
    Ok(meta)
}

/// Segments with records but no META: somebody removed it.
fn refuse_lost_meta(dir: &dyn Dir) -> Result<()> {
    for number in super::recover::list(dir)? {
        let file = open_segment(dir, number, How::Read)?;
        let has_frames = Window::new(Arc::clone(&file)).first_nonzero(SEGMENT_HEADER as u64)?;
        if number != 1 || has_frames.is_some() {
            let path = dir.path().join(META);
            return Err(damaged(&path, 0, 1, None, "META is missing, but there are records"));
        }
    }
    Ok(())
}

/// What a store knows to be acknowledged from elsewhere is never cut, whatever the options say: it could not go on after it.
fn refuse_damage(walked: &Walked, options: &LogOptions) -> Result<()> {
    let known = walked.end.next_seq <= options.acknowledged;
    match (&walked.flaw, walked.verdict, options.on_damage) {
        (Some(flaw), Verdict::Damaged, on_damage) if known || on_damage == OnDamage::Refuse => {
            Err(damaged(&flaw.path, flaw.offset, flaw.seqs.0, Some(flaw.seqs.1), flaw.why))
        }
        _ => Ok(()),
    }
}

/// Copies what will be cut (C6).
fn quarantine(home: &Home, walked: &Walked) -> Result<Option<Healed>> {
    let Some(flaw) = &walked.flaw else { return Ok(None) };
    let quarantine = Quarantine { fs: &*home.fs, home: &*home.dir };
    let damaged = walked.verdict == Verdict::Damaged;
    let why = if damaged { "damage" } else { "a torn tail that was never acknowledged" };
    let mut bytes = 0_u64;
    let mut copies = Vec::new();
    let mut keep = |number: u64, range: std::ops::Range<u64>| -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let file = open_segment(&*home.dir, number, How::Read)?;
        bytes = bytes.saturating_add(range.end.saturating_sub(range.start));
        let why = format!("cut as {why}: {}", flaw.why);
        copies.push(quarantine.keep(&Cut { file: &*file, bytes: range, why })?);
        Ok(())
    };
    let number = flaw.path.file_name().and_then(segment_number).unwrap_or_default();
    // Of a damaged segment all of it is kept; of a torn one what is cut.
    let from = if damaged { 0 } else { flaw.offset };
    keep(number, from..flaw.bytes_end.max(from))?;
    for &number in &walked.behind {
        let file = open_segment(&*home.dir, number, How::Read)?;
        let end = Window::new(file).end_of_nonzero(0)?;
        keep(number, 0..end)?;
    }
    Ok(Some(Healed {
        path: flaw.path.clone(),
        offset: flaw.offset,
        bytes,
        why: flaw.why.to_owned(),
        lost: damaged.then_some(flaw.seqs),
        quarantine: copies,
        suspect: flaw.suspect,
    }))
}

/// Makes the log end where it was found to end. After a recorded end that held, nothing is written.
fn settle(home: &mut Home, walked: &Walked) -> Result<(Option<Ready>, u64)> {
    let end = &walked.end;
    let number = end.segment.number;
    let at_seal = walked.end.offset < walked.seen_to;
    if home.meta.ended == Ended::Clean && walked.verdict == Verdict::Sound && !at_seal {
        if !walked.below.is_empty() {
            home.store(home.meta)?; // the front must be durable before what lies below it goes
        }
        return Ok((prepared(home, number.saturating_add(1))?, 0));
    }
    let (from, tail) = &end.unvouched;
    let cut = CutAt {
        segment: number,
        offset: end.offset,
        last_seq: end.next_seq.saturating_sub(1),
        frame_header: None,
    };
    home.cut(&cut, (*from, tail))?;
    Ok((None, tail.len() as u64))
}

/// The segment that was prepared before the log was closed, if there is one.
fn prepared(home: &Home, number: u64) -> Result<Option<Ready>> {
    if !super::recover::list(&*home.dir)?.contains(&number) {
        return Ok(None);
    }
    let file = open_segment(&*home.dir, number, How::Write)?;
    let stat = file.stat().map_err(|e| Error::system("look at", file.path(), e))?;
    Ok(Some(Ready { number, len: stat.len, file }))
}

fn build(
    path: &Path,
    options: LogOptions,
    home: Home,
    walked: Walked,
    ready: Option<Ready>,
    claim: Claim,
) -> Result<Log> {
    let end = &walked.end;
    let header = SegmentHeader { crc: own_crc(&end.segment.encode()), ..end.segment };
    let number = header.number;
    let file = open_segment(&*home.dir, number, How::Write)?;
    let mut random = [0; 8];
    home.fs.entropy(&mut random).map_err(|e| Error::system("open log", path, e))?;
    let last_seq = end.next_seq.saturating_sub(1);
    let tail =
        Tail { segment: number, len: end.len, offset: end.offset, salt: header.salt, begins: None };
    let limits = (options.max_pending, options.max_group_bytes);
    let queue = Queue::new(end.next_seq, tail, ready, header.record_crc, limits);
    let vouched = if home.meta.ended == Ended::Clean { last_seq } else { walked.vouched };
    let acknowledged = walked.vouched.max(options.acknowledged);
    let first = home.meta.front_seq;
    let recorded_end = home.meta.ended == Ended::Clean;
    let dir = Arc::clone(&home.dir);
    let lane = Lane {
        home,
        current: Current {
            file,
            header,
            len: end.len,
            offset: end.offset,
            chain: end.prev,
            seal: None,
            header_synced: true,
        },
        preparing: None,
        vouched,
        dirty: false,
        company: Company::default(),
    };
    let inner = Inner {
        path: path.to_path_buf(),
        store_id: header.store_id,
        dir,
        salts: Mutex::new(Salts { last: header.salt, state: u64::from_le_bytes(random) }),
        poison: Poison::default(),
        queue: Mutex::new(queue),
        room: Condvar::new(),
        lane: Mutex::new(lane),
        segments: Mutex::new(walked.begun),
        pins: Mutex::new(Vec::new()),
        stats: Mutex::new(LogStats::default()),
        written: AtomicU64::new(last_seq),
        durable: AtomicU64::new(last_seq),
        first: AtomicU64::new(first),
        floor: AtomicU64::new(acknowledged.min(last_seq)),
        cuts: AtomicU64::new(0),
        watch: Watch::default(),
        withdrawn: Mutex::new(None),
        recorded_end: AtomicBool::new(recorded_end),
        #[cfg(feature = "tokio")]
        task_queued: AtomicBool::new(false),
        claim: Mutex::new(Some(claim)),
        options,
    };
    let log = Log(Arc::new(inner));
    super::thread::start(&log)?;
    Ok(log)
}
