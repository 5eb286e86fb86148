//! The snapshots of a journal: `snap/00000000000000012345.snap`, named by the last event that each covers.
//!
//! # Invariants
//! - J2 A snapshot counts once it was read back or loaded, and its name synced. Only those that count decide what may go.
//! - J3 What goes is gone, durably, before the log's front passes what it would need.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use super::Machine;
use crate::codec::Codec as _;
use crate::commit::{self, Cut, Quarantine};
use crate::fs::{Dir, File, How, SyncSite};
use crate::log::{LogPos, Peek, frame_stands_at};
use crate::snapshot::SnapshotInfo;
use crate::snapshot::blocks::{self, Header, Totals};
use crate::{Error, ErrorKind, Result};

/// The directory's name in a journal.
pub(super) const DIR: &str = "snap";
const SUFFIX: &str = ".snap";
/// Digits of a name: as many as the largest number has.
const DIGITS: usize = 20;

/// `00000000000000012345.snap`
pub(super) fn name(seq: u64) -> OsString {
    OsString::from(format!("{seq:0DIGITS$}{SUFFIX}"))
}

/// The number in such a name.
pub(super) fn number(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(SUFFIX)?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// The numbers of all snapshots in the directory, the newest first.
pub(super) fn list(dir: &dyn Dir) -> Result<Vec<u64>> {
    let names = dir.list().map_err(|e| Error::system("list", dir.path(), e))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

pub(super) fn open(dir: &dyn Dir, seq: u64) -> Result<Arc<dyn File>> {
    let name = name(seq);
    dir.open(&name, How::Read).map_err(|e| Error::system("open", &dir.path().join(&name), e))
}

/// What is known of the snapshots on disk.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) dir: Arc<dyn Dir>,
    /// Those that count (J2), the oldest first.
    pub(super) sure: Vec<u64>,
    /// Those that do not verify: to be moved out of the way by the next checkpoint.
    pub(super) bad: Vec<u64>,
    /// Those of them that are in the quarantine, and have their name here still.
    pub(super) copied: Vec<u64>,
}

impl Shelf {
    /// Copies what does not verify, before its name is taken away or given to a new snapshot.
    pub(super) fn copy_bad(&mut self, quarantine: &Quarantine<'_>) -> Result<()> {
        while let Some(&seq) = self.bad.first() {
            if let Ok(file) = open(&*self.dir, seq) {
                let len = file.stat().map_err(|e| Error::system("look at", file.path(), e))?.len;
                let why = "a snapshot that does not verify".to_owned();
                quarantine.keep(&Cut { file: &*file, bytes: 0..len, why })?;
            }
            self.copied.push(self.bad.remove(0));
        }
        Ok(())
    }

    /// A new snapshot has its name: it counts, whatever stood there before.
    pub(super) fn put(&mut self, seq: u64) {
        self.copied.retain(|&copied| copied != seq);
        self.sure.push(seq);
    }

    /// Makes room after a new snapshot: keeps the newest `keep` that count, moves bad ones to the quarantine, removes
    /// the rest. Returns the oldest kept one, if as many are kept as should be: the log may be cut below it.
    pub(super) fn tidy(&mut self, keep: usize, quarantine: &Quarantine<'_>) -> Result<Option<u64>> {
        let on_disk = list(&*self.dir)?;
        self.count_older(&on_disk, keep)?;
        self.copy_bad(quarantine)?;
        while self.sure.len() > keep {
            self.sure.remove(0);
        }
        let Some(&oldest) = self.sure.first() else { return Ok(None) };
        let retired: Vec<u64> = on_disk.iter().copied().filter(|&seq| seq < oldest).collect();
        if !retired.is_empty() || !self.copied.is_empty() {
            for seq in retired.iter().chain(&self.copied) {
                commit::unlink(&*self.dir, &name(*seq))?;
            }
            commit::sync_dir(&*self.dir, SyncSite::SnapshotRetire)?; // J3
            self.copied.clear();
        }
        Ok((self.sure.len() >= keep).then_some(oldest))
    }

    /// Snapshots of earlier runs count when they verify now.
    fn count_older(&mut self, on_disk: &[u64], keep: usize) -> Result<()> {
        for &seq in on_disk {
            let known =
                [&self.sure, &self.bad, &self.copied].iter().any(|list| list.contains(&seq));
            let newer = self.sure.last().is_some_and(|&last| seq > last);
            if self.sure.len() >= keep || known || newer {
                continue;
            }
            match blocks::verify(&*open(&*self.dir, seq)?) {
                Ok((header, _)) if header.seq == seq => self.sure.push(seq),
                Ok(_) => self.bad.push(seq),
                Err(e) if e.kind() == ErrorKind::Damaged => self.bad.push(seq),
                Err(e) => return Err(e),
            }
            self.sure.sort_unstable();
        }
        Ok(())
    }
}

/// A state that was read from a snapshot.
pub(super) struct Loaded<M> {
    pub(super) machine: M,
    pub(super) seq: u64,
    pub(super) pos: Option<LogPos>,
    pub(super) info: SnapshotInfo,
}

/// Snapshots that were passed over, the newest first, each with why.
pub(super) type Skipped = Vec<(PathBuf, Error)>;

/// What a look through the snapshots found.
pub(super) struct Search<M> {
    pub(super) loaded: Option<Loaded<M>>,
    pub(super) skipped: Skipped,
    /// The last event that a snapshot of this journal covers, also of one that does not fit the log: so much was acknowledged.
    pub(super) acknowledged: u64,
}

/// The newest snapshot at or below `upto` that verifies and that the log beneath belongs to.
pub(super) fn newest<M: Machine>(
    dir: &dyn Dir,
    log_dir: &dyn Dir,
    log: &Peek,
    upto: u64,
) -> Result<Search<M>> {
    let mut search = Search { loaded: None, skipped: Vec::new(), acknowledged: 0 };
    for seq in list(dir)?.into_iter().filter(|&seq| seq <= upto) {
        let file = open(dir, seq)?;
        let read = blocks::load(&*file).and_then(|read| {
            belongs::<M>(&read.0, log, file.path())?;
            search.acknowledged = search.acknowledged.max(read.0.seq);
            load::<M>(&*file, read, log_dir, log, seq)
        });
        match read {
            Ok(loaded) => {
                search.loaded = Some(loaded);
                break;
            }
            Err(e) if e.kind() == ErrorKind::Damaged => {
                search.skipped.push((dir.path().join(name(seq)), e));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(search)
}

/// The state of one snapshot that was read: `Damaged` if another one may serve, any other error if none should be tried.
fn load<M: Machine>(
    file: &dyn File,
    (header, totals, payload): (Header, Totals, Vec<u8>),
    log_dir: &dyn Dir,
    log: &Peek,
    seq: u64,
) -> Result<Loaded<M>> {
    let path = file.path();
    let fail = |kind, what: String| Error::new(kind, "load snapshot", path, what);
    if header.seq != seq {
        let what = format!("it covers events up to {}, its name says {seq}", header.seq);
        return Err(fail(ErrorKind::Damaged, what));
    }
    let stands = match header.pos {
        Some(pos) => frame_stands_at(log_dir, pos)?,
        None => seq == 0,
    };
    if !stands || seq.saturating_add(1) < log.first_seq {
        let what = "the log beside it does not have the event that it ends with";
        return Err(fail(ErrorKind::Damaged, what.to_owned()));
    }
    let view = if header.machine_version == M::VERSION {
        let view = M::ViewCodec::default().decode(&payload);
        view.map_err(|e| e.with_path(path).because("it verifies, but does not decode"))?
    } else {
        let view = M::upgrade_view(header.machine_version, &payload);
        view.map_err(|why| fail(ErrorKind::Failed, why))?
    };
    drop(payload);
    let machine = M::restore(view).map_err(|why| fail(ErrorKind::Failed, why))?;
    if let (Some(written), Some(now)) = (header.digest, machine.digest())
        && written != now
    {
        let what =
            format!("its state has digest {now:016x}, and had {written:016x} when it was written");
        return Err(fail(ErrorKind::Damaged, what));
    }
    let info = SnapshotInfo::of_blocks(path, &header, totals);
    Ok(Loaded { machine, seq, pos: header.pos, info })
}

/// Whether the snapshot is one of this machine, in this journal.
fn belongs<M: Machine>(header: &Header, log: &Peek, path: &std::path::Path) -> Result<()> {
    let fail = |kind, what: String| Err(Error::new(kind, "load snapshot", path, what));
    let codec = <M::ViewCodec as crate::codec::Codec<M::View>>::NAME;
    if header.store_id != log.store_id {
        return fail(ErrorKind::Precondition, "it is of another journal".to_owned());
    }
    if header.machine != M::NAME {
        let what = format!("it is a state of `{}`, not of `{}`", header.machine, M::NAME);
        return fail(ErrorKind::Precondition, what);
    }
    if header.machine_version > M::VERSION {
        let what = format!(
            "it has version {}, this program knows up to {}; update the program",
            header.machine_version,
            M::VERSION
        );
        return fail(ErrorKind::NewerFormat, what);
    }
    if header.machine_version == M::VERSION && header.codec != codec {
        let what =
            format!("it is written in {}, and states of this version in {codec}", header.codec);
        return fail(ErrorKind::Precondition, what);
    }
    Ok(())
}

/// The snapshots on disk whose headers verify, the oldest first.
pub(super) fn infos(dir: &dyn Dir) -> Result<Vec<SnapshotInfo>> {
    let mut infos = Vec::new();
    for seq in list(dir)? {
        let file = match open(dir, seq) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => continue, // retired meanwhile
            Err(e) => return Err(e),
        };
        match blocks::verify(&*file) {
            Ok((header, totals)) => {
                infos.push(SnapshotInfo::of_blocks(file.path(), &header, totals));
            }
            Err(e) if e.kind() == ErrorKind::Damaged => {}
            Err(e) => return Err(e),
        }
    }
    infos.reverse();
    Ok(infos)
}
