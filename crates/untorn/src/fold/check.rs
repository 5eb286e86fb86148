//! Reads every byte of a fold and says what does not verify. Changes nothing, and takes no lock.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::base::Base;
use super::compact::BASE;
use super::open::{Home, LOG, log_options, refuse_file};
use super::options::FoldOptions;
use super::record::{self, Record};
use super::replay::Replay;
use super::{Lineage, WatchCursor};
use crate::fs::{Dir, Fs, How, ReadMode};
use crate::log::{Log, LogOptions, LogReader, Upto, VerifyReport};
use crate::{Error, ErrorKind, OnDamage, Result, commit};

/// How often damage is looked at again while an owner lives: what he moves meanwhile looks like it.
const LOOKS: u32 = 8;

/// What a fold holds, and what of it does not verify.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FoldReport {
    /// The cursor of the last commit before any damage.
    pub cursor: WatchCursor,
    /// The source that it is of.
    pub lineage: Option<Lineage>,
    /// The base, if there is one that opens.
    pub base: Option<CheckedBase>,
    /// Commits in the log above the base, before any damage.
    pub commits: u64,
    /// Updates in them.
    pub updates: u64,
    /// Bytes of their records.
    pub tail_bytes: u64,
    /// Commits behind the first damage in the log that are intact.
    pub behind: u64,
    /// What was found of the log; of a damaged one what precedes the damage.
    pub log: Option<VerifyReport>,
    /// Every place that does not verify, the base's before the log's.
    pub damage: Vec<FoldDamage>,
}

/// The base of a fold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckedBase {
    /// Its length.
    pub bytes: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Its entries, as it says.
    pub entries: u64,
    /// The cursor that it ends with.
    pub cursor: WatchCursor,
}

/// A place that does not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoldDamage {
    /// The file, or the directory that lacks one.
    pub path: PathBuf,
    /// Where in the file it is.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// Of the base: the keys that cannot be read, from the first on, below the second; an end that is missing is open.
    pub keys: Option<(Option<String>, Option<String>)>,
}

impl FoldReport {
    /// Whether all of it verifies; a torn tail, which nobody was told was written, is no damage.
    pub const fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Verifies the fold in the directory `path`: reads the log through, and every block and value of the base. `progress` gets the bytes
/// that were looked at, and how many there are.
///
/// # Durability
/// Nothing is changed, and no lock is taken.
///
/// # Cost
/// Reads all of it once; what is damaged several times.
///
/// # Errors
/// `NotFound` and `NotOurs` if it is no fold; `NewerFormat`; `Stale` if its owner changes it faster than it can be read; `Io`. Damage is no
/// error: it is in the report.
///
/// ```
/// use untorn::fold::{AppendLogSnapshot, KvUpdate, SnapshotStore, VersionToken, WatchCursor, verify};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("fold");
/// let (_, mut fold) = AppendLogSnapshot::open(&path, u64::MAX)?;
/// fold.apply(&[KvUpdate::put("a", "1", VersionToken::from_u64(1))], &WatchCursor::from_u64(1))?;
/// fold.close()?;
/// let report = verify(&path, std::sync::Arc::new(untorn::fs::OsFs::new()), |_, _| ())?;
/// assert!(report.is_sound() && report.commits == 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn verify(
    path: impl AsRef<Path>,
    fs: Arc<dyn Fs>,
    mut progress: impl FnMut(u64, u64),
) -> Result<FoldReport> {
    let path = path.as_ref();
    // A file that is cut while it is checked must not end the process: no map.
    let options = FoldOptions::new().fs(Arc::clone(&fs)).read_mode(ReadMode::Pread);
    refuse_file(&options, path)?;
    let dir = fs.open_dir(path).map_err(|e| Error::system("verify", path, e))?;
    let mut looks: u32 = 1;
    loop {
        let report = Check { dir: &dir, options: &options, report: FoldReport::default() };
        let report = report.run(&mut progress);
        let moved = match &report {
            Ok(report) => !report.is_sound(),
            Err(error) => {
                matches!(error.kind(), ErrorKind::Stale | ErrorKind::NotFound)
            }
        };
        let lives =
            || commit::holder_in(&*dir).is_ok_and(|h| h.is_some_and(|h| h.alive != Some(false)));
        if !moved || looks >= LOOKS || !lives() {
            return report;
        }
        looks = looks.saturating_add(1);
    }
}

struct Check<'a> {
    dir: &'a Arc<dyn Dir>,
    options: &'a FoldOptions,
    report: FoldReport,
}

impl Check<'_> {
    fn run(mut self, progress: &mut impl FnMut(u64, u64)) -> Result<FoldReport> {
        let of = self.total();
        // What a look at the log alone finds wrong is told below, with where it is.
        let home = match Home::look(Arc::clone(self.dir), false) {
            Ok(home) => Some(home),
            Err(e) if e.kind() == ErrorKind::Damaged => {
                self.note(&e, None);
                None
            }
            Err(e) => return Err(e),
        };
        let base = self.base()?;
        if base.is_none() && self.report.damage.is_empty() {
            let nothing = home.as_ref().is_none_or(|home| home.log.is_none());
            if nothing {
                let what = "there is no fold in this directory";
                return Err(Error::new(ErrorKind::NotFound, "verify", self.dir.path(), what));
            }
        }
        if let (Some(home), true) = (&home, base.is_some() || self.report.damage.is_empty()) {
            match home.check(base.as_deref()) {
                Err(e) if e.kind() == ErrorKind::Damaged => self.note(&e, None),
                checked => checked?,
            }
        }
        let mut done = 0_u64;
        if let Some(base) = &base {
            self.report.base = Some(CheckedBase {
                bytes: base.len(),
                blocks: base.blocks() as u64,
                entries: base.meta.entries,
                cursor: base.meta.cursor.clone(),
            });
            base.check(
                |nth, error| {
                    let text = |key: Option<&[u8]>| {
                        key.map(|key| String::from_utf8_lossy(key).into_owned())
                    };
                    let (from, to) = base.keys_of(nth);
                    self.note(&error, Some((text(from), text(to))));
                    Ok(())
                },
                |bytes| progress(bytes, of),
            )?;
            done = base.len();
        }
        let lost = base.is_none() && !self.report.damage.is_empty();
        if home.is_some_and(|home| home.log.is_some()) {
            self.log(base, |bytes| progress(done.saturating_add(bytes), of))?;
            if lost {
                // What the log has is above a base that is not there.
                self.report.cursor = WatchCursor::none();
            }
        } else if let Some(base) = &base {
            self.report.cursor = base.meta.cursor.clone();
            self.report.lineage.clone_from(&base.meta.lineage);
        }
        Ok(self.report)
    }

    /// Bytes that there are to read, about.
    fn total(&self) -> u64 {
        let len = |dir: &dyn Dir, name: &OsStr| dir.stat(name).map_or(0, |stat| stat.len);
        let log = self.dir.open_dir(OsStr::new(LOG)).map_or(0, |log| {
            let names = log.list().unwrap_or_default();
            names.iter().fold(0_u64, |sum, name| sum.saturating_add(len(&*log, name)))
        });
        log.saturating_add(len(&**self.dir, OsStr::new(BASE)))
    }

    fn note(&mut self, error: &Error, keys: Option<(Option<String>, Option<String>)>) {
        let path = error.path().unwrap_or_else(|| self.dir.path()).to_path_buf();
        let what = error.detail();
        let what = what.strip_prefix("damaged: ").unwrap_or(what);
        // What can be done about it is for who asks to say.
        let what = what.split("; ").next().unwrap_or(what).to_owned();
        self.report.damage.push(FoldDamage { path, offset: error.offset(), what, keys });
    }

    /// The base; `None` if there is none, or none that opens.
    fn base(&mut self) -> Result<Option<Arc<Base>>> {
        let file = match self.dir.open(OsStr::new(BASE), How::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::system("open", &self.dir.path().join(BASE), e)),
        };
        match Base::open(file, ReadMode::Pread) {
            Ok(base) => Ok(Some(Arc::new(base))),
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NotOurs) => {
                self.note(&e, Some((None, None)));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Reads the log through; what precedes damage makes the cursor.
    fn log(&mut self, base: Option<Arc<Base>>, mut progress: impl FnMut(u64)) -> Result<()> {
        let path = self.dir.path().join(LOG);
        let floor = base.as_ref().map_or(1, |base| base.header.floor);
        let options = log_options(self.options, floor.saturating_sub(1));
        let (reader, damage) = match Log::open_read_only(&path, options.clone()) {
            Ok(reader) => (Some(reader), None),
            Err(e) if e.kind() == ErrorKind::Damaged => {
                let view = LogOptions { on_damage: OnDamage::Truncate, ..options };
                (Log::open_read_only(&path, view).ok(), Some(e))
            }
            Err(e) => return Err(e),
        };
        let mut replay = Replay::new(base, self.options);
        if let Some(reader) = &reader {
            self.report.log = Some(reader.report());
            let first = floor.max(reader.first_seq());
            if let Err(e) = read(reader, first, &mut replay, &path, &mut progress) {
                match e.kind() {
                    ErrorKind::Damaged => self.note(&e, None),
                    _ => return Err(e),
                }
            }
        }
        self.report.cursor = replay.state().cursor.clone();
        self.report.lineage = replay.state().lineage.as_deref().cloned();
        self.report.commits = replay.commits;
        self.report.updates = replay.updates;
        self.report.tail_bytes = replay.tail;
        match damage {
            Some(damage) => self.behind(&damage, replay.state().seq, &path),
            None => Ok(()),
        }
    }

    /// Notes the first damage of the log and every other hole in it, and counts the commits behind.
    fn behind(&mut self, first: &Error, last_good: u64, path: &Path) -> Result<()> {
        self.note(first, None);
        let dir = self.dir.open_dir(OsStr::new(LOG));
        let dir = dir.map_err(|e| Error::system("open", path, e))?;
        let mut behind = 0_u64;
        let survey = Log::survey(&*dir, |rec| {
            let whole = matches!(record::read(rec.bytes, |_| ()), Ok(Record::Commit(_)));
            behind = behind.saturating_add(u64::from(whole && rec.seq > last_good));
            Ok(())
        })?;
        self.report.behind = behind;
        let mut last: Option<Option<(u64, u64)>> = None;
        for hole in survey.holes {
            // What the last hole of a segment hides is missed again at the next one's beginning.
            let before = last.replace(hole.seqs);
            if hole.bytes == 0 && (before == Some(None) || before == Some(hole.seqs)) {
                continue;
            }
            let known = (Some(&*hole.path), Some(hole.offset)) == (first.path(), first.offset());
            // Behind the last record may be a torn tail, which is none.
            if let (Some((from, to)), false) = (hole.seqs, known) {
                let what = if from == to {
                    format!("record {from} is missing")
                } else {
                    format!("records {from} to {to} are missing")
                };
                let (path, offset) = (hole.path, Some(hole.offset));
                self.report.damage.push(FoldDamage { path, offset, what, keys: None });
            }
        }
        Ok(())
    }
}

fn read(
    reader: &LogReader,
    first: u64,
    replay: &mut Replay,
    path: &Path,
    progress: &mut impl FnMut(u64),
) -> Result<()> {
    if reader.last_seq() < first {
        return Ok(());
    }
    let mut bytes = 0_u64;
    let mut scan = reader.read(first, Upto::Written)?;
    while let Some(rec) = scan.next()? {
        replay.take(&rec, path)?;
        bytes = bytes.saturating_add(rec.bytes.len() as u64);
        progress(bytes);
    }
    Ok(())
}
