//! Verifies a journal without its program: every byte, and whether an open would find the exact state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::open::{LOG, look};
use super::shelf;
use crate::fs::{Dir, Fs, OsFs};
use crate::log::{Log, LogOptions, LogPos, LogReader, VerifyReport, frame_stands_at};
use crate::snapshot::SnapshotInfo;
use crate::snapshot::blocks;
use crate::{Error, ErrorKind, Result};

/// What a journal holds, and what of it does not verify.
#[derive(Debug)]
#[non_exhaustive]
pub struct JournalReport {
    /// What it is a journal of.
    pub machine: String,
    /// How its events are written.
    pub event_codec: String,
    /// What all its files are marked with.
    pub store_id: Uuid,
    /// Who writes its log: `JRNL`.
    pub log_owner: [u8; 4],
    /// The snapshots that verify and fit the log, the oldest first.
    pub snapshots: Vec<SnapshotInfo>,
    /// Those that do not, and why.
    pub bad_snapshots: Vec<(PathBuf, Error)>,
    /// The whole log, or if that is damaged what follows the newest snapshot; `None` if that is damaged too.
    pub log: Option<VerifyReport>,
    /// The damage to the log, if there is any.
    pub log_damage: Option<Error>,
}

impl JournalReport {
    /// Nothing is damaged. A torn tail is no damage.
    pub const fn is_sound(&self) -> bool {
        self.bad_snapshots.is_empty() && self.log_damage.is_none()
    }

    /// An open finds the exact state, although something may be damaged: what is not readable, a snapshot covers.
    pub fn opens(&self) -> bool {
        let reaches = |log: &VerifyReport| log.first_seq <= 1 || !self.snapshots.is_empty();
        self.log.as_ref().is_some_and(reaches)
    }
}

/// Verifies the journal at `path`: every snapshot and every event's checksum. Decodes nothing, changes nothing, takes no lock; works beside a living owner.
///
/// # Errors
/// `NotFound`; `NotOurs`; `NewerFormat`; `Damaged` if it cannot even be told what it is a journal of; `Io`. Other damage is in the report.
///
/// # Example
/// ```
/// # use untorn::codec::Json;
/// # use untorn::journal::{self, Journal, JournalOptions, Machine};
/// # struct Sum(u64);
/// # impl Machine for Sum {
/// #     type Event = u64;
/// #     type View = u64;
/// #     type EventCodec = Json;
/// #     type ViewCodec = Json;
/// #     const NAME: &'static str = "sum";
/// #     const VERSION: u32 = 1;
/// #     fn apply(&mut self, _seq: u64, event: &u64) { self.0 += *event; }
/// #     fn capture(&self) -> u64 { self.0 }
/// #     fn restore(view: u64) -> Result<Self, String> { Ok(Self(view)) }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("sum");
/// let (journal, _) = Journal::open(&dir, Sum(0), JournalOptions::new())?;
/// journal.commit(1)?;
/// journal.checkpoint()?;
/// let report = journal::verify(&dir)?;
/// assert!(report.is_sound());
/// assert_eq!((report.machine.as_str(), report.snapshots.len()), ("sum", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(path: impl AsRef<Path>) -> Result<JournalReport> {
    verify_with(path, Arc::new(OsFs::new()))
}

/// As [`verify`], on a file system.
///
/// # Errors
/// As [`verify`].
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn verify_with(path: impl AsRef<Path>, fs: Arc<dyn Fs>) -> Result<JournalReport> {
    let path = path.as_ref();
    let dir = fs.open_dir(path).map_err(|e| Error::system("verify", path, e))?;
    let Some((log, identity)) = look(&*dir)? else {
        let what = "there is no journal in it, or its owner is just making one";
        return Err(Error::new(ErrorKind::NotFound, "verify", path, what));
    };
    let fail = |name: &str, e| Error::system("open", &path.join(name), e);
    let mut report = JournalReport {
        machine: identity.machine,
        event_codec: identity.event_codec,
        store_id: Uuid::from_bytes(log.store_id),
        log_owner: [0; 4],
        snapshots: Vec::new(),
        bad_snapshots: Vec::new(),
        log: None,
        log_damage: None,
    };
    let log_dir = dir.open_dir(LOG.as_ref()).map_err(|e| fail(LOG, e))?;
    // As an open does: what a snapshot of this journal covers was acknowledged, whether it fits the log or not.
    let mut acknowledged = 0;
    match dir.open_dir(shelf::DIR.as_ref()) {
        Ok(snap_dir) => {
            for seq in shelf::list(&*snap_dir)? {
                let file = match shelf::open(&*snap_dir, seq) {
                    Err(e) if e.kind() == ErrorKind::NotFound => continue, // retired meanwhile
                    file => file?,
                };
                let checked = blocks::verify(&*file).and_then(|(header, totals)| {
                    let stands = match header.pos {
                        Some(pos) => frame_stands_at(&*log_dir, pos)?,
                        None => seq == 0,
                    };
                    let ours =
                        header.store_id == log.store_id && header.machine == report.machine;
                    if ours {
                        acknowledged = acknowledged.max(header.seq);
                    }
                    if ours && header.seq == seq && stands {
                        return Ok(SnapshotInfo::of_blocks(file.path(), &header, totals));
                    }
                    let what = "it is not of this journal, or the log does not have the event that it ends with";
                    Err(Error::new(ErrorKind::Damaged, "verify", file.path(), what))
                });
                match checked {
                    Ok(info) => report.snapshots.push(info),
                    // Retired while it was read: its name went before the log that it needs did.
                    Err(e) if e.kind() == ErrorKind::Damaged && gone(&*snap_dir, seq) => {}
                    Err(e) if e.kind() == ErrorKind::Damaged => {
                        report.bad_snapshots.push((file.path().to_path_buf(), e));
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(fail(shelf::DIR, e)),
    }
    report.snapshots.reverse();
    report.look_at_log(&path.join(LOG), &fs, acknowledged)?;
    Ok(report)
}

/// Whether the snapshot has no name any more.
fn gone(snap_dir: &dyn Dir, seq: u64) -> bool {
    let stat = snap_dir.stat(&shelf::name(seq));
    stat.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

impl JournalReport {
    fn look_at_log(&mut self, path: &Path, fs: &Arc<dyn Fs>, acknowledged: u64) -> Result<()> {
        let open = |pos: Option<LogPos>| {
            let known = LogOptions::new().acknowledged(acknowledged);
            Log::open_read_only(path, known.start(pos).fs(Arc::clone(fs)))
        };
        let pos = self.snapshots.last().and_then(|info| info.pos);
        let found = match open(None) {
            Err(e) if e.kind() == ErrorKind::Damaged => {
                self.log_damage = Some(e);
                if pos.is_none() {
                    return Ok(());
                }
                match open(pos) {
                    Err(e) if e.kind() == ErrorKind::Damaged => return Ok(()),
                    found => found?,
                }
            }
            found => found?,
        };
        self.log_owner = LogReader::owner(&found);
        self.log = Some(found.report());
        Ok(())
    }
}
