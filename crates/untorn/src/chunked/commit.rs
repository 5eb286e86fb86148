//! Gives the finished file its name.
//!
//! ```text
//! freeze   length   coverage   trim, mode, owner   still ours?   SYNC DATA   digest   rename   SYNC PARENT
//!     unlink meta, SYNC PART   remove the rest   open the target   Committed
//! ```
//!
//! # Invariants
//! - Q1 Data is durable before the rename; the rename is durable before anyone is told.
//! - Q2 Bytes whose sync failed, or whose digest is another, never get the name.
//! - Q3 What fails before the rename leaves everything as it was, and may be tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::read_blocks;
use super::digest::{Digest, built_in};
use super::inner::{Home, Inner, lock};
use super::options::{CommitOptions, CommitReport, Holes, IfExists};
use super::part::DATA;
use super::presence::{Freeze, Frozen};
use super::{AtomicChunked, Expected, OpenIntent, ResourceExt, StorageResult};
use crate::commit::{self, Moved};
use crate::fs::{Kind, Rename, SyncSite};
use crate::{Durability, Error, ErrorKind, Outcome, Result};

/// A commit on its way.
struct Committing<'a, R: ResourceExt> {
    inner: &'a Inner<R>,
    frozen: Frozen<'a>,
    home: Home,
    expect: Option<Expected>,
    report: CommitReport,
}

/// What a commit begins as.
enum Begun<'a, R: ResourceExt> {
    On(Box<Committing<'a, R>>),
    /// Another one committed it.
    Done(CommitReport),
}

impl<R: ResourceExt> Inner<R> {
    pub(super) fn commit(&self, options: &CommitOptions) -> Result<CommitReport> {
        let mut on = match self.begin_commit(options)? {
            Begun::On(on) => on,
            Begun::Done(report) => return Ok(report),
        };
        let done = on.sync().and_then(|()| on.give_name()).and_then(|()| on.sync_parent());
        match done {
            Ok(()) => on.finish(None),
            Err(error) => on.give_up(error),
        }
    }

    /// All that comes before the syncs.
    fn begin_commit(&self, options: &CommitOptions) -> Result<Begun<'_, R>> {
        let frozen = match self.presence.freeze()? {
            Freeze::Frozen(frozen) => frozen,
            Freeze::Committed(len) => {
                let report = CommitReport { len, ..CommitReport::default() };
                return Ok(Begun::Done(lock(&self.report).clone().unwrap_or(report)));
            }
        };
        let len = self.final_len(options)?;
        if self.is_passthrough() {
            self.check_whole(len, options)?;
            self.resource.load().commit(Some(len))?;
            let report = CommitReport { len, ..CommitReport::default() };
            frozen.commit(len)?;
            self.tell(|observer| observer.on_commit(len));
            return Ok(Begun::Done(report));
        }
        let Some(mut home) = self.home().take() else { return Err(self.no_part("commit")) };
        let prepared = self.prepare(&mut home, len, options);
        let replaced = match prepared {
            Ok(replaced) => replaced,
            Err(error) => {
                *self.home() = Some(home);
                return Err(error);
            }
        };
        let expect = options.expect.clone().or_else(|| self.options.identity.digest.clone());
        let report = CommitReport { len, replaced, ..CommitReport::default() };
        Ok(Begun::On(Box::new(Committing { inner: self, frozen, home, expect, report })))
    }

    fn final_len(&self, options: &CommitOptions) -> Result<u64> {
        let expected = self.presence.expected_len();
        match (expected, options.final_len) {
            (Some(expected), Some(len)) if expected != len => {
                let what = format!("its length is known to be {expected}, not {len}");
                Err(Error::new(ErrorKind::Precondition, "commit", &self.canonical, what))
            }
            (known, len) => Ok(known.or(len).unwrap_or_else(|| self.presence.coverage().end())),
        }
    }

    fn check_whole(&self, len: u64, options: &CommitOptions) -> Result<()> {
        match self.presence.coverage().next_gap(0, len) {
            Some(gap) if options.holes == Holes::Refuse => {
                let what = format!("bytes {}..{} are not there yet", gap.start, gap.end);
                let error = Error::new(ErrorKind::Incomplete, "commit", &self.canonical, what);
                Err(error.at(gap.start).with_gap(gap))
            }
            _ => Ok(()),
        }
    }

    /// Makes the file what it is to be, but for its name. Whether it will replace one.
    fn prepare(&self, home: &mut Home, len: u64, options: &CommitOptions) -> Result<bool> {
        self.check_whole(len, options)?;
        self.fill_holes(home, len)?;
        self.cut(home, len)?;
        let data = &*home.data;
        let fail = |e| Error::system("commit", &self.canonical, e);
        self.resource.load().write_out()?;
        self.resource.load().trim(len)?;
        if data.stat().map_err(fail)?.len != len {
            data.set_len(len).map_err(fail)?;
        }
        let old = match home.to.dir.stat(&home.to.name) {
            Ok(old) => Some(old),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(fail(e)),
        };
        if old.is_some() && self.options.if_exists == IfExists::NoClobber {
            let what = "it exists, and the options say not to replace it";
            return Err(Error::new(ErrorKind::AlreadyExists, "commit", &self.canonical, what));
        }
        let mode = match &old {
            Some(old) if old.kind == Kind::File => {
                let (mode, owner) = (self.options.mode, self.options.owner);
                Some(commit::keep_attributes(data, &home.to, old, mode, owner)?)
            }
            _ => self.options.mode,
        };
        if let Some(mode) = mode {
            data.set_mode(mode).map_err(fail)?;
        }
        home.part.check_ours()?;
        let by_path = home.part.dir.stat(DATA.as_ref()).map_err(fail)?;
        if !by_path.same_inode(&data.stat().map_err(fail)?) {
            let what = "something took the place of its bytes; nothing was published";
            return Err(Error::new(ErrorKind::Precondition, "commit", &self.canonical, what));
        }
        Ok(old.is_some())
    }

    /// Writes zeros where nobody wrote: what lies there may be of an earlier life.
    fn fill_holes(&self, home: &Home, len: u64) -> Result<()> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        while let Some(gap) = self.presence.coverage().next_gap(0, len) {
            let mut at = gap.start;
            while at < gap.end {
                let want = usize::try_from(gap.end.saturating_sub(at)).unwrap_or(ZEROS.len());
                let zeros = ZEROS.get(..want.min(ZEROS.len())).unwrap_or_default();
                let written = home.data.write_at(zeros, at);
                written.map_err(|e| Error::system("commit", home.data.path(), e).at(at))?;
                at = at.saturating_add(zeros.len() as u64);
            }
            if self.keeps_account() {
                self.ledger().add_unread(gap.clone());
            }
            self.presence.coverage().insert(&gap);
        }
        Ok(())
    }

    /// Takes away what is available behind the end.
    fn cut(&self, home: &mut Home, len: u64) -> Result<()> {
        let end = self.presence.coverage().end();
        if end <= len {
            return Ok(());
        }
        let behind = len..end;
        let lost = self.ledger().trusted_in(&behind);
        self.retract(home, &lost)?;
        self.ledger().forget(&behind);
        self.presence.coverage().remove(&behind);
        Ok(())
    }

    fn hasher(&self, algo: &str) -> Result<Box<dyn Digest>> {
        let given = self.options.hashers.iter().find(|(name, _)| name == algo);
        given.map(|(_, make)| make()).or_else(|| built_in(algo)).ok_or_else(|| {
            let what = format!("no digest {algo} is known; give one with ChunkedOptions::hasher");
            Error::new(ErrorKind::Unsupported, "commit", &self.canonical, what)
        })
    }
}

impl<R: ResourceExt> Committing<'_, R> {
    fn synced(&self) -> bool {
        self.inner.options.durability == Durability::Synced
    }

    /// Q1, and the digest (Q2).
    fn sync(&mut self) -> Result<()> {
        let inner = self.inner;
        let mut hasher = match &self.expect {
            Some(expected) => Some(inner.hasher(&expected.algo)?),
            None => None,
        };
        if self.synced() {
            let fs = &inner.options.fs;
            let started = fs.monotonic();
            commit::sync_file(&*self.home.data, SyncSite::ChunkCommit)
                .map_err(|e| inner.poison(Some(&self.home), e))?;
            inner.counts.synced(fs.monotonic().saturating_sub(started));
            self.report.syncs = self.report.syncs.saturating_add(1);
        }
        let (Some(expected), Some(hasher)) = (&self.expect, &mut hasher) else { return Ok(()) };
        read_blocks(&*self.home.data, 0, self.report.len, &mut |block| {
            hasher.update(block);
            Ok(())
        })?;
        let sum = hasher.finish();
        if sum == expected.sum {
            self.report.digest = Some(expected.clone());
            return Ok(());
        }
        let found = Expected { algo: expected.algo.clone(), sum };
        let what = format!(
            "its digest is {found}, not {expected}; nothing was published, and all of it has to come again"
        );
        let error = Error::new(ErrorKind::Damaged, "commit", &inner.canonical, what);
        self.forget_all()?;
        Err(error)
    }

    /// All bytes are worth nothing: durably so, else the next life would meet the same ones again.
    fn forget_all(&mut self) -> Result<()> {
        let inner = self.inner;
        let everything = 0..u64::MAX;
        let lost = inner.ledger().trusted_in(&everything);
        inner.retract(&mut self.home, &lost)?;
        inner.ledger().forget(&everything);
        inner.presence.coverage().clear();
        Ok(())
    }

    fn give_name(&self) -> Result<()> {
        let mode = match self.inner.options.if_exists {
            IfExists::Replace => Rename::Replace,
            IfExists::NoClobber => Rename::NoReplace,
        };
        let Home { part, data, to, .. } = &self.home;
        let moved = commit::rename_to(&*part.dir, DATA.as_ref(), &**data, to, mode);
        let target = self.inner.canonical.as_path();
        match moved.map_err(|e| commit::explain(e, target))? {
            Moved::Renamed => Ok(()),
            // The name is given. A second one that stays is known by its inode at the next open.
            Moved::Linked => {
                drop(commit::unlink(&*part.dir, DATA.as_ref()));
                Ok(())
            }
        }
    }

    fn sync_parent(&mut self) -> Result<()> {
        if self.synced() {
            commit::sync_named(&*self.home.to.dir, SyncSite::ChunkCommitDir)?;
            self.report.syncs = self.report.syncs.saturating_add(1);
        }
        Ok(())
    }

    /// After an error: active again if nothing happened, poisoned if that cannot be told.
    fn give_up(self: Box<Self>, error: Error) -> Result<CommitReport> {
        match error.outcome() {
            Outcome::Applied => return self.finish(Some(error)),
            Outcome::Unchanged if error.kind() == ErrorKind::Damaged => {
                let Self { inner, frozen, home, .. } = *self;
                *inner.home() = Some(home);
                frozen.fail(&error)?;
                inner.tell(|observer| observer.on_fail());
                inner.release();
                return Err(error);
            }
            Outcome::Unchanged => {}
            Outcome::Unknown => {
                // The bytes are synced, or poisoned already: only the name is in doubt.
                let error = self.inner.poison(None, error);
                *self.inner.home() = Some(self.home);
                return Err(error);
            }
        }
        *self.inner.home() = Some(self.home);
        Err(error)
    }

    /// The file has its name. What fails from here on does not change that.
    fn finish(self: Box<Self>, late: Option<Error>) -> Result<CommitReport> {
        let Self { inner, frozen, home, mut report, .. } = *self;
        let Home { to, part, data, map, meta } = home;
        drop(map);
        let len = report.len;
        let (leftovers, syncs) = match late {
            None => part.finish(meta.is_some(), inner.options.durability),
            // Without a durable name the part is still what vouches for the bytes. The next open takes it.
            Some(_) => (vec![part.path()], 0),
        };
        report.leftovers = leftovers;
        report.syncs = report.syncs.saturating_add(syncs);
        *lock(&inner.committed) = Some(data);
        *lock(&inner.report) = Some(report.clone());
        let reopened = match &inner.factory {
            Some(factory) => factory(&to.path(), OpenIntent::Reopen).map(Some),
            None => Ok(None),
        };
        let late = match reopened {
            Ok(Some(resource)) => {
                inner.resource.store(Arc::new(resource));
                late
            }
            Ok(None) => late,
            Err(e) => late.or_else(|| Some(e.with_outcome(Outcome::Applied))),
        };
        frozen.commit(len)?;
        inner.tell(|observer| observer.on_commit(len));
        match late {
            None => Ok(report),
            Some(error) => Err(error),
        }
    }
}

/// Commits several files, with one sync for each directory instead of one for each file.
///
/// Not a transaction: after a crash any of them may be there, each whole. One that fails is left out, and the others are
/// committed.
///
/// # Durability
/// As [`AtomicChunked::commit_with`], for each.
///
/// # Cost
/// One sync for each file and one for each directory; and one for each file of which checkpoints were made. The files are synced
/// by up to eight threads, which end before it returns: a disk takes syncs that come together as one.
#[expect(clippy::needless_pass_by_value, reason = "options are handed over")]
pub fn commit_many<R: ResourceExt>(
    files: Vec<(&AtomicChunked<R>, CommitOptions)>,
) -> Vec<StorageResult<CommitReport>> {
    let begun = files.iter().map(|(file, options)| file.inner.begin_commit(options));
    let mut all: Vec<Result<Begun<'_, R>>> = begun.collect();
    sync_all(&mut all);
    each(&mut all, |on| on.give_name());
    sync_parents(&mut all);
    let finish = |one: Result<Begun<'_, R>>| match one? {
        Begun::Done(report) => Ok(report),
        Begun::On(on) => on.finish(None),
    };
    let finished = all.into_iter().map(finish);
    finished.zip(&files).map(|(answer, (file, _))| file.inner.told(answer)).collect()
}

/// Syncs all that are on their way, several at once.
fn sync_all<R: ResourceExt>(all: &mut [Result<Begun<'_, R>>]) {
    const THREADS: usize = 8;
    let share = all.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        for some in all.chunks_mut(share) {
            scope.spawn(|| each(some, Committing::sync));
        }
    });
}

/// Takes a step with all that are still on their way; who fails is not any more.
fn each<'a, R: ResourceExt>(
    all: &mut [Result<Begun<'a, R>>],
    mut step: impl FnMut(&mut Committing<'a, R>) -> Result<()>,
) {
    for one in all {
        let Ok(Begun::On(on)) = one else { continue };
        if let Err(error) = step(on) {
            let closed = Error::new(ErrorKind::Closed, "commit", Path::new(""), "");
            let on = std::mem::replace(one, Err(closed));
            if let Ok(Begun::On(on)) = on {
                *one = on.give_up(error).map(Begun::Done);
            }
        }
    }
}

/// Syncs each directory in which names were given, once: all names in it were given before.
fn sync_parents<R: ResourceExt>(all: &mut [Result<Begun<'_, R>>]) {
    let mut synced: Vec<(PathBuf, Option<Arc<Error>>)> = Vec::new();
    each(all, |on| {
        let path = on.home.to.dir.path();
        match synced.iter().find(|(dir, _)| dir == path) {
            Some((_, None)) => Ok(()),
            Some((_, Some(error))) => Err(Error::share(error)),
            None => {
                let path = path.to_path_buf();
                let failed = on.sync_parent().err().map(Arc::new);
                let result = failed.as_ref().map_or(Ok(()), |error| Err(Error::share(error)));
                synced.push((path, failed));
                result
            }
        }
    });
}
