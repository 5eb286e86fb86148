//! The decorator that makes a resource atomic: claimed, resumed, published whole.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cursor::Filling;
use super::format::Extent;
use super::inner::{Factory, Inner, lock};
use super::open::{self, Ready};
use super::options::{ChunkedOptions, CommitOptions, CommitReport, IfExists};
use super::presence::{Freeze, Presence, Until};
use super::stats::ChunkedStats;
use super::{
    AvailabilityObserver, Cancel, ChunkCursor, ChunkReader, Claim, OpenIntent, Opened, PartView,
    ReadMode, ResourceExt, ResourceStatus, StorageResult, View, WaitOutcome,
};
use crate::commit::{Place, is_network};
use crate::fs::File;
use crate::{Error, ErrorKind, Result};

/// A file that fills in pieces and takes its name when it is whole.
///
/// The bytes are those of a resource that the factory opens in `NAME.part/`, mostly a [`FileResource`](super::FileResource). What was written
/// is available to readers at once; a [`checkpoint`](Self::checkpoint) makes it durable, so that a later owner goes on with it;
/// [`commit`](ResourceExt::commit) gives the file its name.
///
/// Resuming needs an [`Identity`](super::Identity), or [`Resume::Always`](super::Resume::Always): without one, every open starts afresh, so that two versions of a
/// file cannot be mixed.
///
/// # Concurrency
/// One owner per target, in one process; any number of its threads write, read and wait at once. Of writes that overlap at
/// the same time it is not specified which wins, byte by byte. Other processes look with [`PartView`], which holds nobody up.
///
/// # Durability
/// If it is dropped, the process dies or power fails, the target is what it was; what was trusted is gone on with by the next
/// owner, everything else is forgotten.
///
/// # Example
/// ```
/// use untorn::chunked::{AtomicChunked, FileResource, ResourceExt};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("model.bin");
/// let file = AtomicChunked::open(path.clone(), |part| FileResource::open(part))?;
/// file.write_at(5, b"world")?;
/// assert!(!path.exists());
/// file.write_at(0, b"hello")?;
/// file.commit(None)?; // durable, under its name
/// assert_eq!(std::fs::read(&path)?, b"helloworld");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AtomicChunked<R: ResourceExt> {
    pub(super) inner: Arc<Inner<R>>,
}

impl<R: ResourceExt> AtomicChunked<R> {
    /// Claims the part of `canonical` and starts afresh. As [`open_with`](Self::open_with) with the default options.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open<F>(canonical: PathBuf, factory: F) -> StorageResult<Self>
    where
        F: Fn(&Path) -> StorageResult<R> + Send + Sync + 'static,
    {
        Self::open_with(canonical, ChunkedOptions::new(), move |path, _| factory(path))
    }

    /// Claims the part of `canonical`, and goes on with what an earlier owner left, if it is of the same file.
    ///
    /// The factory opens the bytes: once in the part, and once under the target's name after a commit.
    ///
    /// # Durability
    /// **On `Ok`** [`opened`](Self::opened) says what is there. **On `Err`** nothing was lost; a part that this call made is gone.
    ///
    /// # Cost
    /// No sync for a new part. One if an earlier one is thrown away; what a log costs that was not closed, if one is resumed. A
    /// directory that was made, or is empty, is synced with all above it.
    ///
    /// # Errors
    /// `Locked` if another owner fills it; `NotOurs` if something else stands at `NAME.part`; `NewerFormat`; `AlreadyExists` with
    /// [`IfExists::NoClobber`]; `Precondition` with [`Resume::Require`](super::Resume::Require), or if the target is no regular file; `Damaged` if the list of
    /// trusted ranges is, unless [`ChunkedOptions::on_damage`] says otherwise; `NoSpace`; `Unsupported` where locks do not exclude;
    /// `InvalidInput`; those of the factory; the system's.
    pub fn open_with<F>(
        canonical: PathBuf,
        options: ChunkedOptions,
        factory: F,
    ) -> StorageResult<Self>
    where
        F: Fn(&Path, OpenIntent) -> StorageResult<R> + Send + Sync + 'static,
    {
        let factory: Box<Factory<R>> = Box::new(factory);
        let ready = open::open(&canonical, &options, &*factory)?;
        Ok(Self::with_part(canonical, options, factory, ready))
    }

    /// As [`open_with`](Self::open_with), but another owner, or a file that is there and is not to be replaced, is no error.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with), without `Locked` and `AlreadyExists`.
    pub fn claim<F>(
        canonical: PathBuf,
        options: ChunkedOptions,
        factory: F,
    ) -> StorageResult<Claim<R>>
    where
        F: Fn(&Path, OpenIntent) -> StorageResult<R> + Send + Sync + 'static,
    {
        let factory: Box<Factory<R>> = Box::new(factory);
        match open::open(&canonical, &options, &*factory) {
            Ok(ready) => Ok(Claim::Writer(Self::with_part(canonical, options, factory, ready))),
            Err(e) if e.kind() == ErrorKind::Locked => {
                PartView::open_with(canonical, &options).map(Claim::Busy)
            }
            Err(e)
                if e.kind() == ErrorKind::AlreadyExists
                    && options.if_exists == IfExists::NoClobber =>
            {
                factory(&canonical, OpenIntent::Reopen).map(Claim::Ready)
            }
            Err(e) => Err(e),
        }
    }

    /// Decorates nothing: no claim, no part, no rename. Every call goes to `inner`.
    pub fn passthrough(inner: R, canonical: PathBuf) -> Self {
        let options = ChunkedOptions::new();
        let fs = Arc::clone(&options.fs);
        let max_len = options.max_len;
        let mut presence = Presence::new(canonical.clone(), max_len, None, fs);
        if let ResourceStatus::Committed { final_len } = inner.status() {
            presence = presence.committed(final_len.unwrap_or(0));
        } else {
            let mut at = 0;
            while let Some(gap) = inner.next_gap(at, max_len) {
                presence.coverage().insert(&(at..gap.start));
                at = gap.end;
            }
        }
        let inner = Inner::new(canonical, options, None, presence, inner);
        Self { inner: Arc::new(inner) }
    }

    fn with_part(
        canonical: PathBuf,
        options: ChunkedOptions,
        factory: Box<Factory<R>>,
        ready: Ready<R>,
    ) -> Self {
        let Ready { home, resource, opened, extents, trusted, chunk, expected_len } = ready;
        let fs = Arc::clone(&options.fs);
        let max_len = expected_len.unwrap_or(options.max_len);
        let presence = Presence::new(canonical.clone(), max_len, expected_len, fs);
        for extent in &extents {
            presence.coverage().insert(&extent.range());
        }
        let inner = Inner::new(canonical, options, Some(factory), presence, resource);
        inner.ledger().restore(chunk, &extents, trusted);
        *inner.home() = Some(home);
        *lock(&inner.opened) = opened;
        Self { inner: Arc::new(inner) }
    }

    /// The target, as it was given.
    pub fn canonical_path(&self) -> &Path {
        &self.inner.canonical
    }

    /// What the open found of an earlier life.
    pub fn opened(&self) -> Opened {
        lock(&self.inner.opened).clone()
    }

    /// Gives the finished file its name. As [`commit`](ResourceExt::commit), with options and a report.
    ///
    /// The length is the expected one, else the one given, else the end of the last byte written. All of it must be there. A
    /// second caller waits for the first, and gets the same answer.
    ///
    /// # Durability
    /// **On `Ok`** the file is whole under its name, and stays so after a power cut; nothing else is left. **On `Err`** with
    /// `Unchanged` the target is what it was, and the file is active again, but for `Damaged`. With `Unknown` it is poisoned: a
    /// sync failed, or nobody can tell whether the name was given. With `Applied` the file is in place; what came after failed.
    /// **If the process dies** or **if power fails** before, the target is the old file or the new one.
    ///
    /// # Cost
    /// Two syncs (file, directory); a third one if checkpoints were made. With an expected digest it reads the file once. Blocks.
    ///
    /// # Errors
    /// `Incomplete` with [`Error::gap`]; `Precondition` for another length than the expected one, or if the part was claimed by
    /// someone else; `Damaged` for another digest: nothing of it is used again, and the file is failed; `AlreadyExists` with
    /// [`IfExists::NoClobber`]; `Unsupported` where the target cannot be renamed over; `NoSpace`, `Io`; `Poisoned`.
    #[expect(clippy::needless_pass_by_value, reason = "options are handed over")]
    pub fn commit_with(&self, options: CommitOptions) -> StorageResult<CommitReport> {
        self.inner.told(self.inner.commit(&options))
    }

    /// Makes all completed writes durable and trusted, so that a later owner goes on with them; how many bytes are trusted then.
    ///
    /// # Durability
    /// **On `Ok`** these bytes survive power loss, as part of the unfinished file. **On `Err`** what was trusted before still is.
    ///
    /// # Cost
    /// Two syncs: of the bytes, and of the list of ranges. The first one makes that list: some more, and one for each directory
    /// above. Reads back chunks that were written in parts that overlap. Other threads may write meanwhile.
    ///
    /// # Errors
    /// `Precondition` without an identity; `NoSpace`, and it may be tried again; `Io` with `Unknown`, and it is poisoned;
    /// `Closed`, `Failed`, `Cancelled`, `Poisoned`.
    pub fn checkpoint(&self) -> StorageResult<u64> {
        self.inner.told(self.inner.checkpoint())
    }

    /// Makes a checkpoint and lets the part go, for a later owner to go on with.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint); what was trusted before is kept in any case.
    pub fn suspend(self) -> StorageResult<()> {
        self.checkpoint()?;
        self.inner.presence.fail("its writer suspended it".to_owned());
        drop(self.inner.home().take());
        Ok(())
    }

    /// Gives up for good: the part is removed, and nothing is published.
    ///
    /// # Durability
    /// **On `Ok`** nobody goes on with these bytes, also after a power cut; if that brings back any of them, they are swept.
    ///
    /// # Cost
    /// One sync if checkpoints were made, else none.
    ///
    /// # Errors
    /// The system's; what is left is taken by the next open or a sweep.
    pub fn abandon(self) -> StorageResult<()> {
        self.inner.presence.fail("its writer abandoned it".to_owned());
        let Some(home) = self.inner.home().take() else { return Ok(()) };
        let open::Parts { part, .. } = open::Parts::of(home);
        part.remove()
    }

    /// Begins a new generation with nothing in it; the target stays what it is until the next commit.
    ///
    /// # Errors
    /// As [`reactivate`](ResourceExt::reactivate).
    pub fn reactivate_empty(&self) -> StorageResult<()> {
        self.inner.reactivate(false)
    }

    /// A reader for other threads. When the writer goes away without a commit, readers get `Failed`.
    pub fn reader(&self) -> ChunkReader<R> {
        ChunkReader::new(Arc::clone(&self.inner))
    }

    /// As [`wait_range`](ResourceExt::wait_range), for so long at most: then it is `Interrupted`.
    ///
    /// # Errors
    /// As [`wait_range`](ResourceExt::wait_range).
    pub fn wait_range_timeout(
        &self,
        range: Range<u64>,
        timeout: Duration,
    ) -> StorageResult<WaitOutcome> {
        self.inner.presence.wait(&range, Until::For(timeout))
    }

    /// As [`wait_range`](ResourceExt::wait_range), until `cancel` is: then it is `Interrupted`.
    ///
    /// # Errors
    /// As [`wait_range`](ResourceExt::wait_range).
    pub fn wait_range_cancel(
        &self,
        range: Range<u64>,
        cancel: &Cancel,
    ) -> StorageResult<WaitOutcome> {
        self.inner.presence.wait(&range, Until::Cancelled(cancel))
    }

    /// Reads what is there from `offset` on, up to the first gap; 0 if the first byte is missing.
    ///
    /// # Errors
    /// `Failed`, `Cancelled`, `Poisoned`; the system's.
    pub fn read_available(&self, offset: u64, buf: &mut [u8]) -> StorageResult<usize> {
        self.inner.read_available(offset, buf)
    }

    /// The gap that the reader needs who waits longest, cut to `max` bytes; `None` if nobody waits.
    pub fn wanted(&self, max: u64) -> Option<Range<u64>> {
        self.inner.presence.wanted(max)
    }

    /// The available ranges.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        self.inner.presence.ranges()
    }

    /// The ranges that a later owner could go on with after a crash.
    pub fn trusted_ranges(&self) -> Vec<Range<u64>> {
        self.inner.ledger().trusted_ranges()
    }

    /// The length that the file will have, if that is known.
    pub fn expected_len(&self) -> Option<u64> {
        self.inner.presence.expected_len()
    }

    /// The committed bytes as a slice: a map that keeps them, whatever becomes of the name.
    ///
    /// # Errors
    /// `Incomplete` while it is not committed; the system's.
    pub fn view(&self) -> StorageResult<View> {
        self.inner.view()
    }

    /// Reads in order, and waits where bytes are missing.
    pub fn cursor(&self) -> ChunkCursor<'_> {
        ChunkCursor::new(&*self.inner)
    }

    /// Tells `observer` from now on what becomes available.
    pub fn observe(&self, observer: Arc<dyn AvailabilityObserver>) {
        self.inner.observe(observer);
    }

    /// Gives up without a reason: who waits, and all later calls, get `Cancelled`. The part is kept.
    pub fn cancel(&self) {
        if self.inner.presence.cancel() {
            self.inner.tell(|observer| observer.on_fail());
        }
    }

    /// What it did since it was opened, and how it stands.
    pub fn stats(&self) -> ChunkedStats {
        let presence = &self.inner.presence;
        ChunkedStats {
            available: presence.len().unwrap_or_else(|| presence.coverage().covered()),
            trusted: self.inner.ledger().trusted(),
            waiters: presence.waiting(),
            ..self.inner.counts.stats()
        }
    }
}

impl<R: ResourceExt> Filling for Inner<R> {
    fn read_available(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Self::read_available(self, offset, buf)
    }

    fn wait(&self, range: Range<u64>, time: Option<Duration>) -> Result<WaitOutcome> {
        self.presence.wait(&range, time.map_or(Until::Ever, Until::For))
    }

    fn known_len(&self) -> Option<u64> {
        self.presence.len().or_else(|| self.presence.expected_len())
    }
}

impl<R: ResourceExt> Inner<R> {
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let len = self.presence.check_read(offset, buf.len())?;
        let Some(wanted) = buf.get_mut(..len) else { return Ok(0) };
        self.resource.load().read_at(offset, wanted)
    }

    pub(super) fn read_available(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let len = self.presence.readable_prefix(offset, buf.len())?;
        let Some(wanted) = buf.get_mut(..len) else { return Ok(0) };
        self.resource.load().read_at(offset, wanted)
    }

    pub(super) fn read_into(&self, buf: &mut Vec<u8>) -> Result<usize> {
        self.presence.refuse("read")?;
        let Some(len) = self.presence.len().or_else(|| self.presence.expected_len()) else {
            // Its length is not known yet: more may come.
            let max = self.presence.max_len();
            let gap = self.presence.next_gap(0, max).unwrap_or(max..max);
            return Err(self.presence.incomplete("read", gap));
        };
        let too_large = || {
            let what = format!("its {len} bytes do not fit into memory");
            Error::new(ErrorKind::TooLarge, "read", &self.canonical, what)
        };
        let bytes = usize::try_from(len).map_err(|_| too_large())?;
        // What is missing is found before memory is taken.
        self.presence.check_read(0, bytes)?;
        let before = buf.len();
        buf.try_reserve_exact(bytes).map_err(|_| too_large())?;
        buf.resize(before.saturating_add(bytes), 0);
        let read = self.read(0, buf.get_mut(before..).unwrap_or_default());
        buf.truncate(before.saturating_add(*read.as_ref().unwrap_or(&0)));
        read
    }

    pub(super) fn view(&self) -> Result<View> {
        let Some(len) = self.presence.len() else {
            let what = "it is not committed yet";
            return Err(Error::new(ErrorKind::Incomplete, "view", &self.canonical, what));
        };
        let Some(file) = self.committed().filter(|_| self.maps()) else {
            let mut bytes = Vec::new();
            self.read_into(&mut bytes)?;
            return Ok(View::owned(bytes));
        };
        let fail = |e| Error::system("map", &self.canonical, e);
        let len = usize::try_from(len).map_err(|_| {
            let what = "it does not fit into memory";
            Error::new(ErrorKind::TooLarge, "map", &self.canonical, what)
        })?;
        file.map(len).map(View::map).map_err(fail)
    }

    /// Whether a view is a map: where it cannot be told, it is not.
    fn maps(&self) -> bool {
        let local = || {
            let dir = Place::of(&*self.options.fs, "map", &self.canonical).ok()?.dir;
            dir.file_system().ok().map(|kind| !is_network(&kind))
        };
        match self.options.read_mode {
            ReadMode::Map => true,
            ReadMode::Auto => local().unwrap_or(false),
            ReadMode::Pread => false,
        }
    }

    /// Committed or failed: active again, in a part of its own; with the bytes it had, or with none.
    pub(super) fn reactivate(&self, with_bytes: bool) -> Result<()> {
        let Some(factory) = &self.factory else { return self.reactivate_undecorated(with_bytes) };
        match self.presence.status() {
            ResourceStatus::Active if with_bytes => return Ok(()),
            ResourceStatus::Active => return self.begin_anew(&**factory),
            ResourceStatus::Committed { .. } => {}
            ResourceStatus::Cancelled | ResourceStatus::Failed(_) => {
                self.presence.refuse_end("reactivate")?;
            }
        }
        let mut home = self.home();
        let committed = self.presence.len().zip(self.committed());
        let ready = match &committed {
            Some(_) => open::anew(&self.canonical, &self.options, &**factory)?,
            None => open::open(&self.canonical, &self.options, &**factory)?,
        };
        let Ready { home: claimed, resource, opened, extents, trusted, chunk, expected_len } =
            ready;
        let mut ranges: Vec<Range<u64>> = extents.iter().map(Extent::range).collect();
        self.ledger().restore(chunk, &extents, trusted);
        if let (Some((len, old)), true) = (committed, with_bytes) {
            open::copy_range(&*old, &*claimed.data, 0..len)?;
            ranges.extend((len > 0).then_some(0..len));
            resource.restore(&ranges)?;
            if self.keeps_account() {
                self.ledger().add_unread(0..len);
            }
        }
        self.resource.store(Arc::new(resource));
        *lock(&self.opened) = opened;
        *home = Some(claimed);
        self.presence.reactivate(&ranges, expected_len)
    }

    /// Active: forgets what was written, and keeps the claim. Writers wait in front of the freeze, not of `home`.
    fn begin_anew(&self, factory: &Factory<R>) -> Result<()> {
        let frozen = match self.presence.freeze()? {
            Freeze::Frozen(frozen) => frozen,
            Freeze::Committed(_) => return self.reactivate(false),
        };
        let mut home = self.home();
        let Some(claimed) = home.take() else { return Err(self.no_part("reactivate")) };
        let open::Parts { part, to } = open::Parts::of(claimed);
        let begun = part.clear().and_then(|()| {
            self.ledger().forget(&(0..u64::MAX));
            self.presence.coverage().clear();
            open::fresh(part, to, Opened::Fresh, &self.options, factory)
        });
        let Ready { home: claimed, resource, .. } = match begun {
            Ok(ready) => ready,
            Err(error) => {
                // The part is let go, so nobody could write to it any more.
                frozen.fail(&error)?;
                return Err(error);
            }
        };
        self.ledger().restore(self.options.chunk_bytes(), &[], false);
        self.resource.store(Arc::new(resource));
        *home = Some(claimed);
        Ok(())
    }

    fn reactivate_undecorated(&self, with_bytes: bool) -> Result<()> {
        let resource = self.resource.load();
        resource.reactivate()?;
        let kept = self.presence.ranges();
        if with_bytes {
            return self.presence.reactivate(&kept, None);
        }
        resource.restore(&[])?;
        self.presence.reactivate(&[], None)
    }

    fn committed(&self) -> Option<Arc<dyn File>> {
        lock(&self.committed).clone()
    }
}

impl<R: ResourceExt> ResourceExt for AtomicChunked<R> {
    /// Writes all of `data` at `offset`, or fails. As [`ResourceExt::write_at`].
    ///
    /// # Cost
    /// No sync; but the write that crosses [`CheckpointPolicy::Bytes`](super::CheckpointPolicy::Bytes) makes a
    /// [`checkpoint`](Self::checkpoint), and an error of that is its error though the bytes are available. Bytes that are trusted
    /// already are first taken back, with one sync.
    fn write_at(&self, offset: u64, data: &[u8]) -> StorageResult<()> {
        self.inner.told(self.inner.write(offset, data))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> StorageResult<usize> {
        self.inner.read(offset, buf)
    }

    fn read_into(&self, buf: &mut Vec<u8>) -> StorageResult<usize> {
        self.inner.read_into(buf)
    }

    /// Replaces the whole content, durably: of an active file too, whatever was written to it. One that failed, and data of
    /// another length than the expected one, are refused, and nothing changes.
    fn write_all(&self, data: &[u8]) -> StorageResult<()> {
        self.inner.presence.refuse("write")?;
        let len = data.len() as u64;
        if let Some(expected) = self.expected_len().filter(|expected| *expected != len) {
            let what = format!("its length is known to be {expected}, not {len}");
            let path = self.canonical_path();
            return Err(Error::new(ErrorKind::Precondition, "write", path, what));
        }
        if self.inner.presence.len().is_some() || self.inner.presence.coverage().end() > 0 {
            self.inner.reactivate(false)?;
        }
        self.write_at(0, data)?;
        self.commit_with(CommitOptions::new().final_len(len)).map(drop)
    }

    fn wait_range(&self, range: Range<u64>) -> StorageResult<WaitOutcome> {
        self.inner.presence.wait(&range, Until::Ever)
    }

    fn contains_range(&self, range: Range<u64>) -> bool {
        self.inner.presence.contains(&range)
    }

    fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        self.inner.presence.next_gap(from, limit)
    }

    fn commit(&self, final_len: Option<u64>) -> StorageResult<()> {
        self.commit_with(CommitOptions { final_len, ..CommitOptions::new() }).map(drop)
    }

    /// Gives up: who waits gets `Failed` with this reason; the part is let go, and stays or goes as the options say.
    fn fail(&self, reason: String) {
        if self.inner.presence.fail(reason) {
            self.inner.tell(|observer| observer.on_fail());
            self.inner.release();
        }
    }

    /// Committed or failed: claims the part again. After a commit the old bytes are copied into it and available; the target
    /// stays what it is until the next commit. After a failure what was trusted is available.
    fn reactivate(&self) -> StorageResult<()> {
        self.inner.reactivate(true)
    }

    fn len(&self) -> Option<u64> {
        self.inner.presence.len()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.inner.canonical)
    }

    fn status(&self) -> ResourceStatus {
        self.inner.presence.status()
    }

    /// As [`checkpoint`](Self::checkpoint) where something can be resumed; else syncs the bytes.
    fn sync(&self) -> StorageResult<()> {
        if self.inner.keeps_account() {
            return self.checkpoint().map(drop);
        }
        self.inner.resource.load().sync()
    }
}

impl<R: ResourceExt> Drop for AtomicChunked<R> {
    /// Lets the part go, without a sync. Readers get `Failed`, unless it was committed.
    fn drop(&mut self) {
        self.inner.presence.fail("its writer went away before it was whole".to_owned());
        self.inner.release();
    }
}

impl<R: ResourceExt> fmt::Debug for AtomicChunked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtomicChunked")
            .field("canonical", &self.inner.canonical)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// The door of `aio`: reads what is there, and waits without a thread. Does not keep the writer.
#[cfg(feature = "tokio")]
pub(crate) struct Tasks<R: ResourceExt>(Arc<Inner<R>>);

/// A task in the list of those who wait, for one range. Dropped, it is out of it.
#[cfg(feature = "tokio")]
#[derive(Debug, Default)]
pub(crate) struct Waiting(Option<super::presence::Registration>);

#[cfg(feature = "tokio")]
impl<R: ResourceExt> AtomicChunked<R> {
    pub(crate) fn tasks(&self) -> Tasks<R> {
        Tasks(Arc::clone(&self.inner))
    }
}

#[cfg(feature = "tokio")]
impl<R: ResourceExt> Tasks<R> {
    /// As [`wait_range`](ResourceExt::wait_range), for a task. Another range begins with another `waiting`.
    pub(crate) fn poll_wait(
        &self,
        range: &Range<u64>,
        waiting: &mut Waiting,
        waker: &std::task::Waker,
    ) -> std::task::Poll<Result<WaitOutcome>> {
        self.0.presence.poll_wait(range, &mut waiting.0, waker)
    }

    pub(crate) fn read_available(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.0.read_available(offset, buf)
    }

    /// The length, if it is known.
    pub(crate) fn known_len(&self) -> Option<u64> {
        Filling::known_len(&*self.0)
    }

    pub(crate) fn reader(&self) -> ChunkReader<R> {
        ChunkReader::new(Arc::clone(&self.0))
    }
}

#[cfg(feature = "tokio")]
impl<R: ResourceExt> Clone for Tasks<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
