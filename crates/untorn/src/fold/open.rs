//! Opens a fold: the base, and what the log has above it.
//!
//! # Invariants
//! - O1 A log without its base, or a base without its log, is damage, unless the log says that it has been there from its first record on.
//! - O2 Nothing on disk changes before everything that is there was found to be sound.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::base::Base;
use super::compact::BASE;
use super::options::FoldOptions;
use super::replay::Replay;
use super::shared::{Parts, Shared};
use super::stats::Recovery;
use super::{AppendLogSnapshot, WatchCursor};
use crate::commit::{self, Claim, LOCK};
use crate::fs::{Dir, How, Kind};
use crate::log::{self, Log, LogOptions};
use crate::{Durability, Error, ErrorKind, OnDamage, Result};

/// The log's directory in a fold.
pub(super) const LOG: &str = "log";
/// What a fold's directory has besides its own files.
const QUARANTINE: &str = "quarantine";
/// A record has a batch's operations and little more.
const RECORD_MAX: usize = 1 << 30;
/// Values above this would not leave a record room for anything else.
pub(super) const VALUE_MAX: u32 = (1 << 30) - (1 << 20);

/// How the log of a fold is opened. `acknowledged` is what its base has.
pub(super) fn log_options(options: &FoldOptions, acknowledged: u64) -> LogOptions {
    let durability = if options.syncs_each() { Durability::Synced } else { Durability::Buffered };
    let on_damage = match options.on_damage {
        OnDamage::Salvage => OnDamage::Truncate,
        other => other,
    };
    LogOptions::new()
        .owner(*b"FOLD")
        .segment_bytes(options.log_segment_bytes)
        .max_record(RECORD_MAX)
        .durability(durability)
        .acknowledged(acknowledged)
        .on_damage(on_damage)
        .fs(Arc::clone(&options.fs))
}

/// What a directory has of a fold.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dir: Arc<dyn Dir>,
    /// Whether there is a log already.
    pub(super) log: Option<log::Peek>,
}

impl Home {
    /// Looks at a directory; `NotOurs` if it has something else than a fold. For a salvage a log that does not say what it is counts as missing.
    pub(super) fn look(dir: Arc<dyn Dir>, salvage: bool) -> Result<Self> {
        let names = dir.list().map_err(|e| Error::system("open fold", dir.path(), e))?;
        let ours = |name: &OsStr| {
            [LOG, BASE, LOCK, QUARANTINE].iter().any(|known| name == *known)
                || commit::is_temp_name(name)
        };
        let log = match dir.open_dir(OsStr::new(LOG)) {
            Ok(log) => match log::peek(&*log) {
                Err(e) if salvage && e.kind() == ErrorKind::Damaged => None,
                other => other?,
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::system("open", &dir.path().join(LOG), e)),
        };
        let base = names.iter().any(|name| name == BASE);
        if log.is_none() && !base && !names.iter().all(|name| ours(name)) {
            let what =
                "the directory has other files, and no fold; name one that is empty or missing";
            return Err(Error::new(ErrorKind::NotOurs, "open fold", dir.path(), what));
        }
        Ok(Self { dir, log })
    }

    /// The base, if there is one.
    pub(super) fn base(&self, options: &FoldOptions) -> Result<Option<Arc<Base>>> {
        let mode = commit::settle_read_mode(options.read_mode, &*self.dir)?;
        match self.dir.open(OsStr::new(BASE), How::Read) {
            Ok(file) => Base::open(file, mode).map(|base| Some(Arc::new(base))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::system("open", &self.dir.path().join(BASE), e)),
        }
    }

    /// Whether base and log belong together (O1).
    pub(super) fn check(&self, base: Option<&Base>) -> Result<()> {
        let damaged =
            |what: String| Err(Error::new(ErrorKind::Damaged, "open fold", self.dir.path(), what));
        match (base, &self.log) {
            (None, Some(log)) if log.first_seq != 1 => damaged(format!(
                "its base is missing, and its log begins at record {}; restore `{BASE}` from a copy",
                log.first_seq
            )),
            (Some(_), None) => damaged(format!(
                "its log is missing; with OnDamage::Salvage it is what `{BASE}` has, and later commits are lost"
            )),
            (Some(base), Some(log)) if base.header.store_id != log.store_id => {
                damaged(format!("`{BASE}` is of another fold than its log"))
            }
            (Some(base), Some(log)) if log.first_seq > base.header.floor => damaged(format!(
                "`{BASE}` ends before record {}, and the log begins at {}; a newer base is missing",
                base.header.floor, log.first_seq
            )),
            _ => Ok(()),
        }
    }
}

/// A file is no fold; that of the existing crate can be made one.
pub(super) fn refuse_file(options: &FoldOptions, path: &Path) -> Result<()> {
    let Ok(place) = commit::Place::of(&*options.fs, "open fold", path) else { return Ok(()) };
    let Ok(stat) = place.dir.stat(&place.name) else { return Ok(()) };
    if stat.kind != Kind::File {
        return Ok(());
    }
    let mut magic = [0; 4];
    let file = place.dir.open(&place.name, How::Read);
    let read = file.and_then(|file| file.read_at(&mut magic, 0));
    let what = match read {
        Ok(4) if magic == *b"PGSS" => {
            "it is a file of the append-log snapshots of another crate; `untorn convert --from pgss` makes a fold of it"
        }
        _ => "a fold is a directory, and this is a file",
    };
    Err(Error::new(ErrorKind::NotOurs, "open fold", path, what))
}

impl AppendLogSnapshot {
    pub(super) fn open_with(path: &Path, options: FoldOptions) -> Result<(WatchCursor, Self)> {
        if options.max_value > VALUE_MAX {
            let what = "max_value is at most 1 GiB less 1 MiB";
            return Err(Error::new(ErrorKind::InvalidInput, "open fold", path, what));
        }
        refuse_file(&options, path)?;
        if options.read_only {
            return super::follow::open(path, options);
        }
        let fs = Arc::clone(&options.fs);
        let started = fs.monotonic();
        let dir = if options.create {
            commit::open_or_make_dir(&*fs, path)?.0
        } else {
            fs.open_dir(path).map_err(|e| Error::system("open fold", path, e))?
        };
        let salvage = options.on_damage == OnDamage::Salvage;
        drop(Home::look(Arc::clone(&dir), salvage)?);
        let claim = Claim::take(&*fs, &*dir)?;
        let home = Home::look(Arc::clone(&dir), salvage)?;
        // A base alone is a fold that lost its log, which is said below.
        if home.log.is_none() && !options.create && home.base(&options)?.is_none() {
            let what = "there is no fold in this directory";
            return Err(Error::new(ErrorKind::NotFound, "open fold", path, what));
        }
        let mut report = Recovery { created: home.log.is_none(), ..Recovery::default() };
        if salvage {
            report.salvaged = super::damage::salvage(&home, &options)?;
            report.created &= report.salvaged.is_none();
        }
        // A salvage may have made what was missing.
        let home = Home::look(dir, false)?;
        let base = home.base(&options)?;
        home.check(base.as_deref())?;
        let shared = assemble(home, base, path, options, &mut report)?;
        report.elapsed = fs.monotonic().saturating_sub(started);
        let cursor = shared.view().state.cursor.clone();
        Ok((cursor, Self::of(Arc::new(shared), Some(claim), report)))
    }
}

fn assemble(
    home: Home,
    base: Option<Arc<Base>>,
    path: &Path,
    options: FoldOptions,
    report: &mut Recovery,
) -> Result<Shared> {
    let floor = base.as_ref().map_or(1, |base| base.header.floor);
    if let Some(base) = &base {
        report.base_entries = base.meta.entries;
        report.base_bytes = base.len();
    }
    let log_path = home.dir.path().join(LOG);
    let mut replay = Replay::new(base, &options);
    let opened = Log::open_and_replay(
        &log_path,
        log_options(&options, floor.saturating_sub(1)),
        &mut |rec| {
            options.tell(rec.seq, 0);
            replay.take(&rec, &log_path)
        },
    );
    let (log, log_report) =
        opened.map_err(|e| super::damage::explain(e, replay.state(), &log_path, &options))?;
    commit::sweep_store(&*home.dir)?;
    if log.first_seq() < floor {
        log.truncate_front(floor)?;
    }
    let log_dir = home.dir.open_dir(OsStr::new(LOG));
    let log_dir = log_dir.map_err(|e| Error::system("open", &log_path, e))?;
    let read_mode = commit::settle_read_mode(options.read_mode, &*home.dir)?;
    report.commits = replay.commits;
    report.updates = replay.updates;
    report.tail_bytes = replay.tail;
    report.healed = log_report.healed;
    let (tail, base_is_void) = (replay.tail, replay.void);
    let view = replay.finish(&*log_dir, read_mode)?;
    let store_id = log.store_id();
    Ok(Shared::new(Parts {
        path: path.to_path_buf(),
        options,
        read_mode,
        dir: home.dir,
        log_dir,
        log: Some(log),
        store_id,
        view,
        tail,
        base_is_void,
    }))
}

impl Shared {
    /// No more commits; the log is closed in order.
    pub(super) fn close(&self) -> Result<()> {
        self.hub.close();
        // A base that is not whole is nobody's.
        *self.merge() = None;
        let log = self.log().take();
        let closed = match log {
            Some(log) if !self.poison.is_set() => log.close(),
            _ => self.poison.check("close", &self.path),
        };
        if closed.is_ok() {
            self.forget_unsynced(self.view().state.cursor.clone());
        }
        self.wake();
        closed
    }
}
