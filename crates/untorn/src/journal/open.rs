//! Brings a journal back: the newest snapshot that verifies, then every event after it, in one pass over the log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use super::background::{self, Background};
use super::checkpoint::Growth;
use super::identity::{self, Identity};
use super::shelf::{self, Loaded, Search, Shelf, Skipped};
use super::{Inner, Journal, JournalOptions, Last, Machine, State, event};
use crate::codec::Codec;
use crate::commit::{self, Claim, Poison};
use crate::fs::{Dir, Fs};
use crate::log::{Floor, Log, LogOptions, LogPos, LogReport, Peek, Rec, peek};
use crate::snapshot::SnapshotInfo;
use crate::{Error, ErrorKind, Result};

/// The log's directory in a journal.
pub(super) const LOG: &str = "log";
/// Who writes that log.
pub(super) const OWNER: [u8; 4] = *b"JRNL";

/// What opening a journal found and did.
#[derive(Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The snapshot that the state was taken from; `None` if it is the initial state and the whole log.
    pub snapshot: Option<SnapshotInfo>,
    /// Newer snapshots that could not be used, and why. The state is exact all the same; the next checkpoint moves them to the quarantine.
    pub skipped: Vec<(PathBuf, Error)>,
    /// Events that were decoded and applied after the snapshot.
    pub replayed: u64,
    /// Bytes of these events.
    pub replayed_bytes: u64,
    /// What opening the log found and did.
    pub log: LogReport,
    /// How long the snapshot took to load.
    pub snapshot_elapsed: Duration,
    /// How long everything took.
    pub elapsed: Duration,
}

/// The state so far, while events are replayed.
pub(super) struct Replay<M> {
    pub(super) machine: M,
    pub(super) applied: u64,
    pub(super) pos: Option<LogPos>,
    pub(super) replayed: u64,
    pub(super) bytes: u64,
}

impl<M: Machine> Replay<M> {
    pub(super) fn new(initial: M, loaded: Option<Loaded<M>>) -> (Self, Option<SnapshotInfo>) {
        let (machine, applied, pos, info) = match loaded {
            Some(l) => (l.machine, l.seq, l.pos, Some(l.info)),
            None => (initial, 0, None, None),
        };
        (Self { machine, applied, pos, replayed: 0, bytes: 0 }, info)
    }

    /// Applies an event, once, if it comes after the state.
    pub(super) fn take(&mut self, rec: &Rec<'_>, path: &Path) -> Result<()> {
        if rec.seq <= self.applied {
            return Ok(());
        }
        if rec.seq != self.applied.saturating_add(1) {
            let what = format!("event {} follows event {}", rec.seq, self.applied);
            return Err(Error::new(ErrorKind::Damaged, "replay", path, what).at(rec.pos.frame));
        }
        let event = event::decode::<M>(rec.bytes, rec.seq, path)?;
        self.machine.apply(rec.seq, &event);
        self.applied = rec.seq;
        self.pos = Some(rec.pos);
        self.replayed = self.replayed.saturating_add(1);
        self.bytes = self.bytes.saturating_add(rec.bytes.len() as u64);
        Ok(())
    }
}

impl<M: Machine + 'static> Journal<M> {
    /// Opens the journal in the directory `path`, or creates it; `initial` is the state without any event, the same each time.
    ///
    /// The state is that of all events that were acknowledged, and perhaps of some that were logged and not acknowledged before a
    /// crash. All of them are durable now.
    ///
    /// # Durability
    /// **On `Ok`** the state and everything it is made of survives power loss. **On `Err`** nothing was lost; `Damaged`, `NotOurs`,
    /// `NewerFormat`, `Precondition`, `Codec`, `Failed` and `Locked` changed nothing but the text in `LOCK`. **If the process dies** or **if power fails**
    /// meanwhile, the next open goes on.
    ///
    /// # Cost
    /// Of a new journal six syncs, and one for each directory above its log; else what [`Log::open`] costs. Reads the newest
    /// snapshot, and the log from there on once, every event decoded once.
    ///
    /// # Errors
    /// `Locked`; `Damaged` with file and offset, if acknowledged events are not readable and no snapshot covers them, or no
    /// snapshot verifies and the log does not begin with the first event; `Precondition` if it is another machine's journal or its files are
    /// of different journals; `NewerFormat`, never a fall-back to older files; `Codec`; `Failed` if the machine refuses a view or an old version; `NotOurs`;
    /// `InvalidInput` for options and names that no journal can have; `NoSpace`; `Io`.
    ///
    /// # Panics
    /// If [`Machine::apply`] or [`Machine::restore`] does.
    pub fn open(
        path: impl AsRef<Path>,
        initial: M,
        options: JournalOptions,
    ) -> Result<(Self, RecoveryReport)> {
        let path = path.as_ref();
        let expected = checked::<M>(path, &options)?;
        let fs = Arc::clone(&options.log.fs);
        let started = fs.monotonic();
        let (dir, _) = commit::open_or_make_dir(&*fs, path)?;
        refuse_foreign(&*dir)?;
        let claim = Claim::take(&*fs, &*dir)?;
        let log_path = path.join(LOG);
        let found = look(&*dir)?;
        let snap_dir = match &found {
            None => create(&fs, &dir, &expected)?,
            Some((_, identity)) => {
                identity.expect(&expected, path)?;
                commit::make_dir_if_missing(&*dir, shelf::DIR.as_ref(), 0o700)?
            }
        };
        let search = match &found {
            Some((peeked, _)) => load(&*dir, &*snap_dir, peeked)?,
            None => Search { loaded: None, skipped: Vec::new(), acknowledged: 0 },
        };
        let snapshot_elapsed = fs.monotonic().saturating_sub(started);
        let (mut replay, snapshot) = Replay::new(initial, search.loaded);
        let log_options = LogOptions {
            floor: Floor::Log,
            acknowledged: search.acknowledged,
            start: replay.pos,
            ..options.log.clone()
        }
        .owner(OWNER);
        let (log, log_report) =
            Log::open_and_replay(&log_path, log_options, &mut |rec| replay.take(&rec, &log_path))?;
        if log_report.last_seq != replay.applied {
            let what = format!(
                "it ends at event {}, the state at {}",
                log_report.last_seq, replay.applied
            );
            return Err(Error::new(ErrorKind::Damaged, "open journal", &log_path, what));
        }
        commit::sweep_store(&*dir)?;
        commit::sweep_dir(&*snap_dir)?;
        let report = RecoveryReport {
            snapshot: snapshot.clone(),
            replayed: replay.replayed,
            replayed_bytes: replay.bytes,
            log: log_report,
            snapshot_elapsed,
            elapsed: fs.monotonic().saturating_sub(started),
            skipped: search.skipped,
        };
        let journal = build(path, (fs, dir, snap_dir), options, log, replay, &report, claim);
        if journal.0.options.background_checkpoint {
            background::start(&journal)?;
        }
        Ok((journal, report))
    }
}

fn build<M: Machine>(
    path: &Path,
    (fs, dir, snap_dir): (Arc<dyn Fs>, Arc<dyn Dir>, Arc<dyn Dir>),
    options: JournalOptions,
    log: Log,
    replay: Replay<M>,
    report: &RecoveryReport,
    claim: Claim,
) -> Journal<M> {
    let growth = Growth::default();
    growth.set(replay.bytes, report.snapshot.as_ref().map_or(0, |s| s.stored_bytes));
    let bad = report.skipped.iter().filter_map(|(path, _)| shelf::number(path.file_name()?));
    let shelf = Shelf {
        dir: Arc::clone(&snap_dir),
        sure: report.snapshot.iter().map(|info| info.seq).collect(),
        bad: bad.collect(),
        copied: Vec::new(),
    };
    let state = State {
        machine: replay.machine,
        applied: replay.applied,
        last: Last::Pos(replay.pos),
        record: Vec::new(),
    };
    Journal(Arc::new(Inner {
        path: path.to_path_buf(),
        fs,
        dir,
        snap_dir,
        options,
        log,
        state: RwLock::new(state),
        poison: Poison::default(),
        shelf: Mutex::new(shelf),
        latest: Mutex::new(report.snapshot.clone()),
        growth,
        background: Background::default(),
        checkpoint_error: Mutex::new(None),
        claim: Mutex::new(Some(claim)),
    }))
}

/// What a program's journal must say that it is.
pub(super) fn expected<M: Machine>(path: &Path) -> Result<Identity> {
    let identity = Identity {
        machine: M::NAME.to_owned(),
        event_codec: <M::EventCodec as Codec<M::Event>>::NAME.to_owned(),
    };
    identity.check(path)?;
    Ok(identity)
}

fn checked<M: Machine>(path: &Path, options: &JournalOptions) -> Result<Identity> {
    let what = if M::VERSION == 0 {
        "a machine's VERSION counts from 1"
    } else if options.keep_snapshots == 0 {
        "keep_snapshots must be at least 1"
    } else {
        return expected::<M>(path);
    };
    Err(Error::new(ErrorKind::InvalidInput, "open journal", path, what))
}

/// The log beneath, and what the journal says that it is; `None` if nothing was ever logged here.
pub(super) fn look(dir: &dyn Dir) -> Result<Option<(Peek, Identity)>> {
    let identity = Identity::load(dir)?;
    let lost = |name: &str, what: &'static str| {
        let path = dir.path().join(name);
        Err(Error::new(ErrorKind::Damaged, "open journal", &path, what))
    };
    let log = match dir.open_dir(LOG.as_ref()) {
        Ok(log) => peek(&*log)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::system("open", &dir.path().join(LOG), e)),
    };
    match (log, identity) {
        (Some(log), Some(identity)) => Ok(Some((log, identity))),
        // J1: no crash leaves a log without it.
        (Some(_), None) => {
            lost(identity::NAME, "it is missing, but there is a log; nothing was changed")
        }
        (None, _) => {
            let snapshots = match dir.open_dir(shelf::DIR.as_ref()) {
                Ok(snap_dir) => shelf::list(&*snap_dir)?,
                Err(_) => Vec::new(),
            };
            if snapshots.is_empty() {
                return Ok(None);
            }
            lost(LOG, "the log is missing, but there are snapshots; nothing was changed")
        }
    }
}

/// Makes what has to be there before the log is: its own creation makes these names durable (J1).
fn create(fs: &Arc<dyn Fs>, dir: &Arc<dyn Dir>, expected: &Identity) -> Result<Arc<dyn Dir>> {
    if let Some(found) = Identity::load(&**dir)? {
        found.expect(expected, dir.path())?;
    }
    let (snap_dir, _) = commit::open_or_make_dir(&**fs, &dir.path().join(shelf::DIR))?;
    expected.store(&**fs, dir)?;
    Ok(snap_dir)
}

/// The newest snapshot that can be used. Where there is none the log must begin with the first event.
pub(super) fn load<M: Machine>(dir: &dyn Dir, snap_dir: &dyn Dir, log: &Peek) -> Result<Search<M>> {
    let log_dir = dir.open_dir(LOG.as_ref());
    let log_dir = log_dir.map_err(|e| Error::system("open", &dir.path().join(LOG), e))?;
    let search = shelf::newest::<M>(snap_dir, &*log_dir, log, u64::MAX)?;
    if search.loaded.is_none() && log.first_seq > 1 {
        return Err(no_beginning(snap_dir, log, &search.skipped));
    }
    Ok(search)
}

/// There is no state to begin with.
pub(super) fn no_beginning(snap_dir: &dyn Dir, log: &Peek, skipped: &Skipped) -> Error {
    let why = skipped.first().map_or_else(|| "there is none".to_owned(), |(_, e)| e.to_string());
    let what = format!(
        "the log begins at event {}, and no snapshot can be used to get there: {why}; nothing was changed",
        log.first_seq
    );
    Error::new(ErrorKind::Damaged, "open journal", snap_dir.path(), what)
}

/// Without `JOURNAL`, only an empty directory or the remains of a creation are ours.
fn refuse_foreign(dir: &dyn Dir) -> Result<()> {
    let names = dir.list().map_err(|e| Error::system("open journal", dir.path(), e))?;
    let ours = |name: &std::ffi::OsString| {
        [commit::LOCK, LOG, shelf::DIR].iter().any(|known| name == known)
            || commit::is_temp_name(name)
    };
    if names.iter().any(|name| name == identity::NAME) || names.iter().all(ours) {
        return Ok(());
    }
    let what = "it is neither a journal nor empty; give the journal a directory of its own";
    Err(Error::new(ErrorKind::NotOurs, "open journal", dir.path(), what))
}
