//! Compaction: what was written since the base is merged into a new one, which takes its place.
//!
//! # Invariants
//! - M1 The log is synced up to what is merged before the new base gets its name: a base is never ahead of its log.
//! - M2 The new base is whole and synced before it gets its name; the log gives up what it has only after the name is synced.
//! - M3 Whatever fails before the name changes nothing: old base and log have everything. It is never an error of a commit.
//! - M4 Everything that is merged verifies; damage ends the merge, and is not copied under a new sum.
//! - M5 A tombstone lives through one whole compaction, so that a late update of its key is known to be older.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::base::{Base, BaseWriter, Header, Meta};
use super::held::{Held, Value};
use super::shared::Shared;
use super::view::{State, View};
use crate::commit::{AtomicFile, Cut, Quarantine, Sites};
use crate::fs::{Dir, Fs, How, SyncSite};
use crate::{Error, Outcome, Result};

/// The base's name.
pub(super) const BASE: &str = "base";
/// The syncs of a base.
const SITES: Sites = Sites { file: SyncSite::FoldBase, dir: SyncSite::FoldBaseDir };
/// Bytes that the background writes before it lets others look.
const SLICE: u64 = 1 << 20;

/// How far a compaction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactProgress {
    /// Nothing is being merged any more.
    pub done: bool,
    /// Bytes of the new base so far.
    pub written: u64,
    /// About so many there will be.
    pub expected: u64,
}

/// A new base in the making.
#[derive(Debug)]
pub(super) struct Merge {
    out: BaseWriter<AtomicFile>,
    /// What is merged: the old base, and the frozen layer.
    from: View,
    /// The last key that was written or left out.
    after: Option<Vec<u8>>,
    floor: u64,
}

/// Whose base is written.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) fs: &'a dyn Fs,
    pub(super) dir: &'a Arc<dyn Dir>,
    pub(super) store_id: [u8; 16],
}

impl Merge {
    /// Begins to write what `from` has, to the place of the base in `at`. The log's records from `floor` on are not in it.
    pub(super) fn begin(at: &Target<'_>, from: View, floor: u64) -> Result<Self> {
        let name = OsStr::new(BASE);
        // A base that is being replaced keeps its mode; a symbolic link is none.
        let mode = match at.dir.open(name, How::Read) {
            Ok(old) => old.stat().map_err(|e| Error::system("look at", old.path(), e))?.mode,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0o600,
            Err(e) => return Err(Error::system("open", &at.dir.path().join(name), e)),
        };
        let out = AtomicFile::in_dir(at.fs, at.dir, name, mode, SITES)?;
        let path = out.path();
        let out = BaseWriter::new(out, path, &Header { store_id: at.store_id, floor })?;
        Ok(Self { out, from, after: None, floor })
    }

    /// Writes about so many bytes; true once everything is written.
    pub(super) fn step(&mut self, budget: u64) -> Result<bool> {
        let stop_at = self.out.written().saturating_add(budget);
        let from = self.after.as_ref().map(|after| [&after[..], &[0]].concat());
        let mut walk = self.from.walk(from.as_deref(), false)?;
        let mut last = None;
        let mut done = false;
        loop {
            if self.out.written() >= stop_at && last.is_some() {
                break;
            }
            let Some(held) = walk.next()? else {
                done = true;
                break;
            };
            write(&mut self.out, &self.from, &held)?;
            let key: &mut Vec<u8> = last.get_or_insert_default();
            key.clear();
            key.extend_from_slice(held.key);
        }
        if last.is_some() {
            self.after = last;
        }
        Ok(done)
    }

    /// Ends the base and gives it its name. The error is one of before the name, unless its outcome is `Unknown`.
    pub(super) fn publish(self) -> Result<()> {
        let (file, _) = self.out.finish(meta_of(&self.from.state))?;
        file.commit()
    }
}

/// Writes an entry of a view behind what is there already, or leaves it out (M5).
pub(super) fn write<W: std::io::Write>(
    out: &mut BaseWriter<W>,
    from: &View,
    held: &Held<'_>,
) -> Result<()> {
    match held.value {
        Value::Gone { aged: true } => Ok(()),
        Value::Gone { aged: false } => {
            out.push(&Held { value: Value::Gone { aged: true }, ..*held })
        }
        Value::Here(_) => out.push(held),
        Value::InLog(_) | Value::InBase(_) => {
            let value = from.value(held)?.unwrap_or_default();
            out.push(&Held { value: Value::Here(&value), ..*held })
        }
    }
}

/// What a base of this state says of itself; it counts its entries itself.
pub(super) fn meta_of(state: &State) -> Meta {
    Meta {
        cursor: state.cursor.clone(),
        lineage: state.lineage.as_deref().cloned(),
        mark: state.mark.clone(),
        wall_ms: state.wall_ms,
        ..Meta::default()
    }
}

/// Copies the base to the quarantine, if there is one.
pub(super) fn keep_base(fs: &dyn Fs, dir: &dyn Dir, why: &str) -> Result<Option<PathBuf>> {
    let file = match dir.open(OsStr::new(BASE), How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::system("open", &dir.path().join(BASE), e)),
    };
    let len = file.stat().map_err(|e| Error::system("look at", file.path(), e))?.len;
    let cut = Cut { file: &*file, bytes: 0..len, why: why.to_owned() };
    Quarantine { fs, home: dir }.keep(&cut).map(Some)
}

impl Shared {
    /// Whether so much was written since the base, or so much of it is garbage, that a compaction pays: at `times` that.
    pub(super) fn compaction_due(&self, times: u64) -> bool {
        if self.options.compact_threshold == u64::MAX {
            return false;
        }
        let (base, frozen) = {
            let view = self.view();
            (view.base.as_ref().map_or(0, |base| base.len()), view.frozen.is_some())
        };
        let trigger = self.options.compact_threshold.max(base / 2).max(1);
        let tail = self.tail.load(Relaxed);
        if frozen && times == 1 {
            return tail >= self.counters().retry_at;
        }
        tail.max(self.garbage.load(Relaxed)) >= trigger.saturating_mul(times)
    }

    /// Freezes what there is, if nothing is frozen already, so that it can be merged. Only the writer may. False if there is nothing.
    pub(super) fn freeze(&self) -> Result<bool> {
        let log = self.writable("compact")?;
        if self.view().frozen.is_some() {
            return Ok(true);
        }
        let same = {
            let view = self.view();
            view.base.as_ref().is_some_and(|base| base.header.floor > view.state.seq)
        };
        if same {
            return Ok(false);
        }
        log.sync()?; // M1
        self.view_mut().freeze();
        self.tail.store(0, Relaxed);
        self.garbage.store(0, Relaxed);
        self.counters().retry_at = 0;
        Ok(true)
    }

    /// Merges about so many bytes of what is frozen. After an error old base and log have everything, and it begins anew.
    pub(super) fn compact_slice(&self, budget: u64) -> Result<CompactProgress> {
        let mut merge = self.merge();
        self.slice(&mut merge, budget)
    }

    /// As [`compact_slice`](Self::compact_slice), unless another thread is at it.
    pub(super) fn try_compact_slice(&self, budget: u64) -> Result<()> {
        match self.merge.try_lock() {
            Ok(mut merge) => self.slice(&mut merge, budget).map(drop),
            Err(_) => Ok(()),
        }
    }

    fn slice(&self, merge: &mut Option<Merge>, budget: u64) -> Result<CompactProgress> {
        self.writable("compact")?;
        let progress = self.step(merge, budget);
        progress.inspect_err(|error| {
            *merge = None;
            let retry_in = self.options.compact_threshold / 10;
            let mut counters = self.counters();
            counters.compaction_error = Some(error.to_string());
            counters.retry_at = self.tail.load(Relaxed).saturating_add(retry_in);
        })
    }

    fn step(&self, merge: &mut Option<Merge>, budget: u64) -> Result<CompactProgress> {
        if merge.is_none() {
            let Some(from) = self.view().below() else {
                return Ok(CompactProgress { done: true, ..CompactProgress::default() });
            };
            let at = Target { fs: &*self.options.fs, dir: &self.dir, store_id: self.store_id };
            let floor = from.state.seq.saturating_add(1);
            *merge = Some(Merge::begin(&at, from, floor)?);
        }
        let Some(now) = merge else { return Ok(CompactProgress::default()) };
        let done = now.step(budget)?;
        let written = now.out.written();
        let base = now.from.base.as_ref().map_or(0, |base| base.len());
        let expected = base.max(written);
        if done && let Some(whole) = merge.take() {
            self.finish_merge(whole)?;
        }
        Ok(CompactProgress { done, written, expected })
    }

    fn finish_merge(&self, merge: Merge) -> Result<()> {
        self.keep_void_base()?;
        let floor = merge.floor;
        if let Err(error) = merge.publish() {
            if error.outcome() == Outcome::Unknown {
                // Which base the disk has is not known, so nothing may be built on either.
                self.poison.set(Arc::new(error));
                self.writable("compact")?;
                return Ok(());
            }
            return Err(error);
        }
        // From here on the disk has the new base. Until it is shown, what is shown is as true.
        let path = self.dir.path().join(BASE);
        let file = self.dir.open(OsStr::new(BASE), How::Read);
        let file = file.map_err(|e| Error::system("open", &path, e))?;
        let base = Arc::new(Base::open(file, self.read_mode)?);
        let len = base.len();
        self.view_mut().thaw(base);
        self.base_is_void.store(false, Relaxed);
        let mut counters = self.counters();
        counters.compactions = counters.compactions.saturating_add(1);
        counters.compacted_bytes = counters.compacted_bytes.saturating_add(len);
        // If the log cannot give it up now, the next compaction or open lets it.
        let truncated = self.writable("compact").and_then(|log| log.truncate_front(floor));
        counters.compaction_error = truncated.err().map(|error| error.to_string());
        Ok(())
    }

    /// Before a base that a reset made void loses its name, it is copied.
    fn keep_void_base(&self) -> Result<()> {
        if !self.base_is_void.load(Relaxed) {
            return Ok(());
        }
        keep_base(&*self.options.fs, &*self.dir, "the fold was reset").map(drop)
    }

    /// What the thread does that a commit starts: all that is frozen, and then it ends.
    pub(super) fn compact_in_background(&self) {
        while !self.cancel.load(Relaxed) {
            match self.compact_slice(SLICE) {
                Ok(progress) if !progress.done => {}
                // It is in the counters.
                _ => break,
            }
        }
    }
}
