//! Reads a journal without owning it: beside a living owner, or as it was at some event.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::open::{LOG, Replay, expected, load, look, no_beginning};
use super::shelf::{self, Loaded};
use super::{Journal, JournalOptions, Machine};
use crate::fs::Dir;
use crate::log::{Log, LogOptions, LogReader, Upto};
use crate::{Error, ErrorKind, Result};

/// How often a look is taken again if the owner made a checkpoint meanwhile.
const LOOKS: u32 = 8;

/// The state of a journal as its log vouches for it; another process may own it. See [`Journal::open_read_only`].
pub struct JournalReader<M: Machine> {
    log: LogReader,
    replay: Replay<M>,
}

impl<M: Machine> Journal<M> {
    /// Opens a journal for reading, also while its owner writes.
    ///
    /// Writes nothing, takes no lock, never holds the owner up. The state is that of the events that the log itself vouches
    /// for; the owner may have acknowledged more: those show once something is logged after them, or the owner closes.
    ///
    /// # Errors
    /// `NotFound`; else as [`Journal::open`].
    #[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its options")]
    pub fn open_read_only(
        path: impl AsRef<Path>,
        initial: M,
        options: JournalOptions,
    ) -> Result<JournalReader<M>> {
        view(path.as_ref(), initial, &options, None)
    }

    /// The state as it was after the event `seq`, from the newest snapshot at or below it. As [`open_read_only`](Self::open_read_only).
    ///
    /// # Errors
    /// `OutOfRange` if the log no longer reaches back so far, or not yet so far; else as [`open_read_only`](Self::open_read_only).
    #[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its options")]
    pub fn open_at(
        path: impl AsRef<Path>,
        initial: M,
        seq: u64,
        options: JournalOptions,
    ) -> Result<M> {
        let reader = view(path.as_ref(), initial, &options, Some(seq))?;
        Ok(reader.replay.machine)
    }
}

fn view<M: Machine>(
    path: &Path,
    initial: M,
    options: &JournalOptions,
    at: Option<u64>,
) -> Result<JournalReader<M>> {
    let mut initial = Some(initial);
    let mut looks = 0_u32;
    loop {
        looks = looks.saturating_add(1);
        match try_view(path, &mut initial, options, at) {
            // A checkpoint under our eyes takes away what was just listed.
            Err(e) if looks < LOOKS && moved(e.kind()) && initial.is_some() => {}
            outcome => return outcome,
        }
    }
}

const fn moved(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Stale | ErrorKind::Damaged)
}

fn try_view<M: Machine>(
    path: &Path,
    initial: &mut Option<M>,
    options: &JournalOptions,
    at: Option<u64>,
) -> Result<JournalReader<M>> {
    let fs = &options.log.fs;
    let dir = fs.open_dir(path).map_err(|e| Error::system("open journal", path, e))?;
    let Some((peeked, identity)) = look(&*dir)? else {
        let what = "there is no journal in it yet, or its owner is just making one";
        return Err(Error::new(ErrorKind::NotFound, "open journal", path, what));
    };
    identity.expect(&expected::<M>(path)?, path)?;
    let loaded: Option<Loaded<M>> = start(&*dir, &peeked, at)?;
    let begin = loaded.as_ref().map_or((0, None), |l| (l.seq, l.pos));
    let log_path = path.join(LOG);
    let log_options = LogOptions {
        acknowledged: begin.0,
        start: begin.1,
        fs: Arc::clone(fs),
        ..LogOptions::new()
    };
    let log = Log::open_read_only(&log_path, log_options)?;
    let limit = at.unwrap_or(u64::MAX);
    if let Some(seq) = at.filter(|&seq| seq > log.durable_seq().max(begin.0)) {
        let what = format!("the log vouches for events up to {}, not for {seq}", log.durable_seq());
        return Err(Error::new(ErrorKind::OutOfRange, "open journal", path, what));
    }
    let from = begin.0.saturating_add(1);
    let mut scan = log.read(from.max(log.first_seq()), Upto::Durable)?;
    let Some(initial) = initial.take() else {
        let what = "its owner made a checkpoint while it was read; open it again";
        return Err(Error::new(ErrorKind::Stale, "open journal", path, what));
    };
    let (mut replay, _) = Replay::new(initial, loaded);
    while let Some(rec) = scan.next()? {
        if rec.seq > limit {
            break;
        }
        replay.take(&rec, &log_path)?;
    }
    Ok(JournalReader { log, replay })
}

/// The snapshot to begin with: the newest, or the newest at or below `at`.
fn start<M: Machine>(
    dir: &dyn Dir,
    peeked: &crate::log::Peek,
    at: Option<u64>,
) -> Result<Option<Loaded<M>>> {
    let fail = |name: &str, e| Error::system("open", &dir.path().join(name), e);
    let snap_dir = dir.open_dir(shelf::DIR.as_ref()).map_err(|e| fail(shelf::DIR, e))?;
    let Some(seq) = at else { return Ok(load(dir, &*snap_dir, peeked)?.loaded) };
    let log_dir = dir.open_dir(LOG.as_ref()).map_err(|e| fail(LOG, e))?;
    let search = shelf::newest::<M>(&*snap_dir, &*log_dir, peeked, seq)?;
    if search.loaded.is_none() && peeked.first_seq > 1 {
        let error = no_beginning(&*snap_dir, peeked, &search.skipped);
        return Err(if search.skipped.is_empty() {
            error.with_kind(ErrorKind::OutOfRange)
        } else {
            error
        });
    }
    Ok(search.loaded)
}

impl<M: Machine> JournalReader<M> {
    /// The state, as of [`seq`](Self::seq).
    pub const fn state(&self) -> &M {
        &self.replay.machine
    }

    /// The last event that the state has.
    pub const fn seq(&self) -> u64 {
        self.replay.applied
    }

    /// Looks again, and applies the events that are vouched for since; returns whether there were any.
    ///
    /// # Errors
    /// `Stale` if the owner went on so far that the log no longer has the next event, or took back events: open it again. Else as
    /// [`Journal::open_read_only`].
    ///
    /// # Panics
    /// If [`Machine::apply`] does.
    pub fn refresh(&mut self) -> Result<bool> {
        self.log.refresh()?;
        let next = self.replay.applied.saturating_add(1);
        let mut scan = self.log.read(next, Upto::Durable).map_err(|e| match e.kind() {
            ErrorKind::OutOfRange => e.with_kind(ErrorKind::Stale),
            _ => e,
        })?;
        let path = self.log.path().to_path_buf();
        while let Some(rec) = scan.next()? {
            self.replay.take(&rec, &path)?;
        }
        Ok(self.replay.applied >= next)
    }

    /// Waits until there are more events, for so long at most, looking again and again.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    ///
    /// # Panics
    /// As [`refresh`](Self::refresh).
    pub fn wait_for_more(&mut self, timeout: Duration) -> Result<bool> {
        if self.refresh()? {
            return Ok(true);
        }
        self.log.wait_for_more(timeout)?;
        self.refresh()
    }
}

impl<M: Machine> std::fmt::Debug for JournalReader<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalReader")
            .field("machine", &M::NAME)
            .field("seq", &self.replay.applied)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}
