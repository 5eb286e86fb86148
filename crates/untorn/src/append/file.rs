//! The writer of an append-only file.

use std::fmt;
use std::io::Write as _;
use std::marker::PhantomData;
use std::ops::Range as Positions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builder::OpenOptions;
use super::pending::{Held, Pending};
use super::reader::{Reader, Source};
use super::settings::{MemberSpec, Settings};
use super::sizes;
use super::snapshot::Snapshot;
use super::stats::{Commit, PruneReport, RecoveryReport, Stats};
use super::store::{Member, Store};
use super::{ProtocolVersion, SizeEntry, SizeInfo};
use crate::codec::{Codec, Raw};
use crate::commit::{AtomicFile, Place, ReplaceOptions};
use crate::{Durability, Error, ErrorKind, Result};

/// The writer of a file of elements; there is one at a time, and it holds the file's lock. See the [module](super).
///
/// `T` is what [`append_elmt`](Self::append_elmt) and [`read_as_elmt`](Self::read_as_elmt) take and give through the codec `C`; all other methods work with bytes.
/// `H` is the store behind it: its own, or a group's.
///
/// # Positions
/// From 0 on, and kept for ever, but where [`compact`](Self::compact) says otherwise.
///
/// # States
/// Open; *poisoned* after a failed sync or a write that failed behind its record ([`ErrorKind::Poisoned`]); *released*
/// ([`ErrorKind::Closed`]). [`init`](Self::init) leads back to the first. A handle that is dropped loses what is pending, and nothing else.
pub struct AppendOnlyFile<T, C = Raw, H = Own> {
    holds: H,
    member: usize,
    codec: Arc<C>,
    element: PhantomData<fn() -> T>,
}

/// The store of a file that belongs to no group.
#[derive(Debug)]
pub struct Own {
    store: Option<Store>,
    again: Again,
    sizes: Option<Box<AppendOnlyFile<SizeEntry>>>,
}

/// How it was opened.
#[derive(Clone, Debug)]
pub(super) struct Again {
    pub(super) home: Place,
    pub(super) path: PathBuf,
    pub(super) spec: MemberSpec,
    pub(super) settings: Settings,
}

impl Again {
    fn open(&self) -> Result<Store> {
        let specs = std::slice::from_ref(&self.spec);
        Store::open(&self.home, self.path.clone(), specs, self.settings.clone())
    }
}

/// Where the store of a handle is.
#[expect(unnameable_types, reason = "that nobody can name it is what seals it")]
pub trait Holds {
    #[doc(hidden)]
    fn store(&self) -> Result<&Store>;
    #[doc(hidden)]
    fn store_mut(&mut self) -> Result<&mut Store>;
}

impl Holds for Own {
    fn store(&self) -> Result<&Store> {
        self.store.as_ref().ok_or_else(|| closed(&self.again.path))
    }

    fn store_mut(&mut self) -> Result<&mut Store> {
        self.store.as_mut().ok_or_else(|| closed(&self.again.path))
    }
}

impl Holds for &mut Store {
    fn store(&self) -> Result<&Store> {
        Ok(self)
    }

    fn store_mut(&mut self) -> Result<&mut Store> {
        Ok(self)
    }
}

fn closed(path: &Path) -> Error {
    let what = "the file was released; init opens it again";
    Error::new(ErrorKind::Closed, "use", path, what)
}

impl<T, C> AppendOnlyFile<T, C> {
    /// Opens or creates the file at `path`, with elements of bytes as they are.
    ///
    /// The rest of the store is in the directory `NAME.untorn` beside it. A file that has bytes and no such directory is taken over: the
    /// elements of fixed size are where they are, those of variable size need [`SizeInfo::VariableSize`].
    ///
    /// # Durability
    /// **On `Ok`** the file, its directory and all names that lead to them survive power loss, and what a crash left was
    /// healed: [`recovery`](Self::recovery). **On `Err`** nothing that was acknowledged changed.
    ///
    /// # Cost
    /// After a close in order no sync, and time that does not grow with the file. After a crash what the log has since the last checkpoint is
    /// written again (64 MiB at most, but for what one commit had more): 3 syncs, with variable sizes 5, and those of the log.
    ///
    /// # Errors
    /// `Locked`: another handle, thread or process has it. `Precondition`: another element size, codec or version than the
    /// file has; it belongs to a group; or a foreign program added to it. `NotFound`: the data is gone and its directory is
    /// there. `Damaged`, `NotOurs`, `NewerFormat`, `NoSpace`, `Io`.
    pub fn open(
        path: impl AsRef<Path>,
        size_info: SizeInfo,
        version: ProtocolVersion,
    ) -> Result<Self>
    where
        C: Codec<T> + Default,
    {
        let options = OpenOptions::<T>::new().version(version).codec(C::default());
        match size_info {
            SizeInfo::FixedSize(size) => options.fixed(size).open(path),
            SizeInfo::Variable => options.open(path),
            SizeInfo::VariableSize(sizes) => {
                let file = sizes.path()?.to_path_buf();
                let mut opened = options.size_file(&file).open(path)?;
                opened.holds.sizes = Some(sizes);
                Ok(opened)
            }
        }
    }

    /// Options with which a file can be opened.
    pub fn options() -> OpenOptions<T> {
        OpenOptions::new()
    }

    pub(super) fn with(again: Again, codec: Arc<C>) -> Result<Self> {
        let store = Some(again.open()?);
        let holds = Own { store, again, sizes: None };
        Ok(Self { holds, member: 0, codec, element: PhantomData })
    }

    /// Opens the file anew on the same handle: reads what is on disk, and so heals and ends `Poisoned` and `Closed`.
    ///
    /// # Errors
    /// `Precondition` if something is pending, unless the handle is poisoned; `Locked` while snapshots of this handle live;
    /// else as [`open`](Self::open).
    pub fn init(&mut self) -> Result<()> {
        if let Some(store) = &self.holds.store
            && !store.poison.is_set()
        {
            store.nothing_pending("init")?;
        }
        self.release();
        self.holds.store = Some(self.holds.again.open()?);
        Ok(())
    }

    /// Gives up lock, maps and descriptors; what is pending is lost. Later calls answer `Closed`, until [`init`](Self::init).
    pub fn release(&mut self) {
        if let Some(store) = self.holds.store.take() {
            store.shared.close();
        }
    }

    /// Writes a checkpoint that says that the file was closed in order, and gives up the lock. Replaces the file of sizes, if
    /// there is one.
    ///
    /// # Durability
    /// **On `Ok`** everything committed survives power loss, also what was only [written](Self::write); a change by a foreign program will be noticed. **On
    /// `Err`** what was acknowledged stays so. What is pending is lost either way.
    ///
    /// # Cost
    /// 5 syncs and a rename, with variable sizes 7; none if nothing was committed since a close.
    ///
    /// # Errors
    /// `TooLarge` for a file of sizes if an element has more than 65,535 bytes: the old one stays; `Poisoned`, `NoSpace`, `Io`.
    pub fn close(mut self) -> Result<()> {
        let sizes = self.export_sizes();
        if let Some(mut store) = self.holds.store.take() {
            store.shared.close();
            store.close()?;
        }
        sizes
    }

    fn export_sizes(&mut self) -> Result<()> {
        if let Some(mut sizes) = self.holds.sizes.take() {
            let entries = self.size_entries()?;
            let known = sizes.len().min(entries.len() as u64);
            let mut same = known;
            for (nth, entry) in entries.iter().enumerate().take(usize::try_from(known).unwrap_or(0))
            {
                if sizes.read_as_elmt(nth as u64)? != *entry {
                    same = nth as u64;
                    break;
                }
            }
            sizes.rewind(same)?;
            let from = usize::try_from(same).unwrap_or(usize::MAX);
            sizes.append_elmts(entries.get(from..).unwrap_or_default())?;
            sizes.flush()?;
            return sizes.close();
        }
        let export = self.holds.again.spec.size_file.clone();
        match export {
            Some(path) if self.holds.store.is_some() => self.export_size_file(&path),
            _ => Ok(()),
        }
    }

    /// What the open found and did.
    ///
    /// # Errors
    /// `Closed`.
    pub fn recovery(&self) -> Result<&RecoveryReport> {
        Ok(&self.holds.store()?.report)
    }
}

impl<T, C, H: Holds> AppendOnlyFile<T, C, H> {
    pub(super) const fn of_group(holds: H, member: usize, codec: Arc<C>) -> Self {
        Self { holds, member, codec, element: PhantomData }
    }

    fn member(&self) -> Result<&Member> {
        self.holds.store()?.member(self.member)
    }

    #[inline]
    fn pending(&mut self) -> Result<&mut Pending> {
        let store = self.holds.store_mut()?;
        store.check_open()?;
        Ok(store.member_mut(self.member)?.pending.own())
    }

    /// What is pending, for an element of this length.
    #[inline]
    fn pending_for(&mut self, len: usize) -> Result<&mut Pending> {
        let store = self.holds.store_mut()?;
        store.check_open()?;
        let member = store.member_mut(self.member)?;
        let max = member.spec.max_element;
        if member.pending.takes(len, max) {
            return Ok(member.pending.own());
        }
        Err(member.pending.refusal(len, max, &member.place.path()))
    }

    /// Appends an element to what is pending; returns its position. Memory only.
    ///
    /// # Errors
    /// `InvalidInput` for another length than the fixed one; `TooLarge`; `Poisoned`; `Closed`. Then nothing is pending that was not
    /// before.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let pending = self.pending_for(bytes.len())?;
        pending.bytes.extend_from_slice(bytes);
        Ok(pending.seal())
    }

    /// Appends an element of `len` bytes, zeros at first, that `fill` builds in place.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_with(&mut self, len: u32, fill: impl FnOnce(&mut [u8])) -> Result<u64> {
        let len = len as usize;
        let pending = self.pending_for(len)?;
        let start = pending.bytes.len();
        pending.bytes.resize(start.saturating_add(len), 0);
        fill(pending.bytes.get_mut(start..).unwrap_or_default());
        Ok(pending.seal())
    }

    /// Appends elements, all or none; returns their positions.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_batch<B: AsRef<[u8]>>(
        &mut self,
        elements: impl IntoIterator<Item = B>,
    ) -> Result<Positions<u64>> {
        let start = self.size_unsync_in_elmts()?;
        for element in elements {
            if let Err(error) = self.append(element.as_ref()) {
                self.pending()?.rewind(start);
                return Err(error);
            }
        }
        Ok(start..self.size_unsync_in_elmts()?)
    }

    /// Keeps the first `position` elements: takes pending ones away, and committed ones where those do not suffice. Pending until the
    /// next [`flush`](Self::flush); [`discard`](Self::discard) undoes it.
    ///
    /// # Errors
    /// `OutOfRange` above [`size_unsync_in_elmts`](Self::size_unsync_in_elmts); `Pruned` below [`first`](Self::first); `Poisoned`; `Closed`.
    pub fn rewind(&mut self, position: u64) -> Result<()> {
        let member = self.member()?;
        let (path, len) = (member.place.path(), member.pending.len());
        if position > len {
            let what = format!("it has {len} elements; {position} of them cannot be kept");
            return Err(Error::new(ErrorKind::OutOfRange, "rewind", &path, what));
        }
        if position < member.first {
            return Err(super::pruned("rewind", &path, position, member.first));
        }
        self.pending()?.rewind(position);
        Ok(())
    }

    /// Forgets what is pending: appended elements, rewinds.
    pub fn discard(&mut self) {
        let member = self.member;
        if let Ok(store) = self.holds.store_mut() {
            store.next_note = None;
            if let Ok(member) = store.member_mut(member) {
                member.discard();
            }
        }
    }

    /// Marks what is pending now, to come back to with [`rollback_to`](Self::rollback_to). It copies what is pending, unless an earlier one did and
    /// nothing changed since a rollback to it.
    ///
    /// # Errors
    /// `Closed`.
    pub fn savepoint(&self) -> Result<Savepoint> {
        let store = self.holds.store()?;
        let pending = vec![(self.member, self.member()?.pending.copied())];
        Ok(Savepoint { store: store.id, seq: store.seq, pending })
    }

    /// Makes pending what was pending at the savepoint. It can be come back to again.
    ///
    /// # Errors
    /// `Precondition` after a commit, or if it is another file's.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        self.holds.store_mut()?.rollback_to(savepoint)
    }

    /// Puts a note of up to 65,535 bytes into the next commit: a block's hash, a cursor. It is there with the commit, or not.
    ///
    /// # Errors
    /// `TooLarge`; `Closed`.
    pub fn annotate(&mut self, note: &[u8]) -> Result<()> {
        self.holds.store_mut()?.annotate(note)
    }

    /// The note of the last commit that had one.
    ///
    /// # Errors
    /// `Closed`.
    pub fn note(&self) -> Result<&[u8]> {
        Ok(&self.holds.store()?.note)
    }

    /// Makes all that is pending one commit, durable. In a group: of all its files.
    ///
    /// # Durability
    /// **On `Ok`** all of it survives power loss, also what was only [written](Self::write) before. **On `Err`** [`Error::outcome`]: with
    /// `Unchanged` it is pending still, and can be tried again; with `Unknown` or `Applied` the handle is poisoned. **If the
    /// process dies** or **if power fails** meanwhile: all of it or nothing.
    ///
    /// # Cost
    /// One sync, if no file got more than `inline_limit` bytes; else one more for each that did. The first one after an open in order: three
    /// more. Every `checkpoint_bytes` of log a checkpoint. Nothing pending: nothing at all.
    ///
    /// # Errors
    /// `NoSpace`, `Unchanged`; `OverBudget` if snapshots show more of what is rewound than may be copied for them; `Damaged` if a rewind ends in a block
    /// that is damaged; `TooLarge`; `Poisoned`; `Closed`; `Io`.
    pub fn flush(&mut self) -> Result<Commit> {
        self.holds.store_mut()?.commit(Durability::Synced)
    }

    /// Makes all that is pending one commit that survives the death of the process, and with a later [`sync`](Self::sync) or
    /// [`flush`](Self::flush) power loss.
    ///
    /// # Durability
    /// **On `Ok`** it survives the death of the process. **If power fails** it is there or not, whole, and never without the commits
    /// before it. A commit that rewinds is synced.
    ///
    /// # Cost
    /// No sync, but for a rewind.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn write(&mut self) -> Result<Commit> {
        self.holds.store_mut()?.commit(Durability::Buffered)
    }

    /// Makes what was written durable. What is pending stays pending.
    ///
    /// # Cost
    /// One sync, and one for each file that has bytes which no record carries. None if everything is durable.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`.
    pub fn sync(&mut self) -> Result<Commit> {
        self.holds.store_mut()?.sync()
    }

    /// The element at a position, committed or pending.
    ///
    /// # Errors
    /// `OutOfRange`, `Pruned`, `Damaged`, `Closed`; `Unsupported` where the file is read by calls: use
    /// [`copy_to`](Self::copy_to).
    #[inline]
    pub fn read(&self, position: u64) -> Result<&[u8]> {
        let member = self.member()?;
        if position < member.pending.keep {
            return member.view.get_or_read(position);
        }
        member.pending.get(position).ok_or_else(|| Self::out_of_range(member, position))
    }

    /// Appends a copy of the element at a position to `to`. After an error `to` is as it was.
    ///
    /// # Errors
    /// As [`read`](Self::read), but `Unsupported`.
    pub fn copy_to(&self, position: u64, to: &mut Vec<u8>) -> Result<()> {
        let member = self.member()?;
        if position < member.pending.keep {
            to.extend_from_slice(&member.view.cow(position)?);
            return Ok(());
        }
        let bytes = member.pending.get(position);
        to.extend_from_slice(bytes.ok_or_else(|| Self::out_of_range(member, position))?);
        Ok(())
    }

    #[cold]
    fn out_of_range(member: &Member, position: u64) -> Error {
        let what = format!("it has {} elements; there is none at {position}", member.pending.len());
        Error::new(ErrorKind::OutOfRange, "read", &member.place.path(), what)
    }

    /// A copy of what this handle shows, pending changes too, in a file without a name; at position 0. A reflink where the file system
    /// can and nothing is pending.
    ///
    /// # Errors
    /// `Unsupported` on a file system that is not the operating system's; `NoSpace`, `Damaged`, `Closed`, `Io`.
    pub fn as_temp_file(&self) -> Result<std::fs::File> {
        let store = self.holds.store()?;
        store.temp_file(self.member)
    }

    /// Writes what [`replace_with_tmp`](Self::replace_with_tmp) will go over to: all elements but those at `dead`. What the file holds
    /// does not change. A second call replaces the first; an open forgets it.
    ///
    /// # Cost
    /// A copy of what is kept, 3 syncs, with variable sizes 5.
    ///
    /// # Errors
    /// `InvalidInput` if the positions do not go up; `OutOfRange`; `Pruned`; `Precondition` if something is pending; `Damaged`: nothing
    /// changed; `NoSpace`.
    pub fn write_tmp_pruned(&mut self, dead: &[u64]) -> Result<PruneReport> {
        let member = self.member;
        self.holds.store_mut()?.prepare(member, dead)
    }

    /// Goes over to what [`write_tmp_pruned`](Self::write_tmp_pruned) wrote, and what was committed since. Positions shift: the first
    /// element is at 0 again. Snapshots keep what they show.
    ///
    /// # Durability
    /// **On `Ok`** it survives power loss. **On `Err`** with `Unchanged` the old elements are there; with `Applied` the new ones, and the handle is
    /// poisoned. **If the process dies** or **if power fails** meanwhile: the old or the new ones, whole.
    ///
    /// # Cost
    /// 4 syncs and a rename, with variable sizes 6.
    ///
    /// # Errors
    /// `Precondition` if nothing is prepared, something is pending, or elements that it covers were rewound; `Poisoned`, `NoSpace`, `Io`.
    pub fn replace_with_tmp(&mut self) -> Result<()> {
        self.holds.store_mut()?.replace()
    }

    /// Drops the elements at `dead`, positions that go up: [`write_tmp_pruned`](Self::write_tmp_pruned) and
    /// [`replace_with_tmp`](Self::replace_with_tmp) in one. Positions shift.
    ///
    /// # Errors
    /// As those two.
    pub fn compact(&mut self, dead: impl IntoIterator<Item = u64>) -> Result<PruneReport> {
        let dead: Vec<u64> = dead.into_iter().collect();
        let report = self.write_tmp_pruned(&dead)?;
        self.replace_with_tmp()?;
        Ok(report)
    }

    /// What [`compact`](Self::compact) would do.
    ///
    /// # Errors
    /// As [`write_tmp_pruned`](Self::write_tmp_pruned), without writing anything.
    pub fn would_compact(&self, dead: &[u64]) -> Result<PruneReport> {
        self.holds.store()?.would_prune(self.member, dead)
    }

    /// Drops all elements before `first`. Positions stay. Whole blocks before it become a hole in the file, when no snapshot shows
    /// them any more.
    ///
    /// # Durability
    /// **On `Ok`** they never come back. **If the process dies** or **if power fails** meanwhile: all are there, or none.
    ///
    /// # Cost
    /// One sync.
    ///
    /// # Errors
    /// `OutOfRange` above [`len`](Self::len); `Pruned` below [`first`](Self::first); `Precondition` if something is pending; `Poisoned`, `NoSpace`.
    pub fn drop_head(&mut self, first: u64) -> Result<PruneReport> {
        let member = self.member;
        self.holds.store_mut()?.drop_head(member, first)
    }

    /// The data file, as it was given.
    ///
    /// # Errors
    /// `Closed`.
    pub fn path(&self) -> Result<&Path> {
        Ok(&self.member()?.spec.path)
    }

    /// Committed bytes of the data.
    ///
    /// # Errors
    /// `Closed`.
    pub fn size(&self) -> Result<u64> {
        Ok(self.member()?.data.tail.end)
    }

    /// Committed elements, with those that were dropped at the head.
    ///
    /// # Errors
    /// `Closed`.
    pub fn size_in_elmts(&self) -> Result<u64> {
        Ok(self.member()?.len())
    }

    /// Elements as they would be with what is pending.
    ///
    /// # Errors
    /// `Closed`.
    pub fn size_unsync_in_elmts(&self) -> Result<u64> {
        Ok(self.member()?.pending.len())
    }

    /// The first element that is kept; 0 on a released handle.
    pub fn first(&self) -> u64 {
        self.member().map_or(0, |member| member.first)
    }

    /// Committed elements, with those that were dropped at the head; 0 on a released handle.
    pub fn len(&self) -> u64 {
        self.size_in_elmts().unwrap_or(0)
    }

    /// Whether there is no committed element that is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == self.first()
    }

    /// Elements that survive power loss; 0 on a released handle.
    pub fn durable_len(&self) -> u64 {
        let Ok(store) = self.holds.store() else { return 0 };
        let state = store.shared.durable();
        state.members.get(self.member).map_or(0, |view| view.len)
    }

    /// A reader: cheap to clone, for any thread, never held up by the writer.
    ///
    /// # Errors
    /// `Closed`.
    pub fn reader(&self) -> Result<Reader<T, C>> {
        let store = self.holds.store()?;
        let source = Source::Local(Arc::clone(&store.shared));
        Ok(Reader::of(source, self.member, Arc::clone(&self.codec)))
    }

    /// What is committed now, for as long as it is held.
    ///
    /// # Errors
    /// `Closed`.
    pub fn snapshot(&self) -> Result<Snapshot<T, C>> {
        self.reader()?.snapshot()
    }

    /// Replaces the file at `to` by one of sizes as `grin_store` has them, of what is committed. Elements that were dropped at the head
    /// count, with their bytes.
    ///
    /// # Errors
    /// `TooLarge` if an element has more than 65,535 bytes: the old file stays; `InvalidInput` for elements of fixed size; `Closed`; as [`AtomicFile`].
    pub fn export_size_file(&self, to: &Path) -> Result<()> {
        let store = self.holds.store()?;
        let member = self.member()?;
        if member.ends.is_none() {
            let what = "its elements have one size; there is nothing to export";
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "export the sizes of",
                &member.spec.path,
                what,
            ));
        }
        let mut options = ReplaceOptions::new();
        options.fs = Arc::clone(&store.settings.fs);
        let mut out = AtomicFile::with(to, &options)?;
        self.each_size(|entry| {
            let Some(bytes) = sizes::encode(entry) else {
                let what = format!(
                    "the element at byte {} has {} bytes; the file of sizes has room for 65 535",
                    entry.offset, entry.size
                );
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    "export the sizes of",
                    &member.spec.path,
                    what,
                ));
            };
            out.write_all(&bytes).map_err(|e| Error::system("write", to, e))
        })?;
        out.commit()
    }

    fn size_entries(&self) -> Result<Vec<SizeEntry>> {
        let mut entries = Vec::new();
        self.each_size(|entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(entries)
    }

    fn each_size(&self, mut each: impl FnMut(SizeEntry) -> Result<()>) -> Result<()> {
        let member = self.member()?;
        let mut offset = 0;
        for element in member.first..member.len() {
            let end = member.start_of(element.saturating_add(1))?;
            if element == member.first && member.first > 0 {
                let what = "its head was dropped, so that nothing says where those elements ended; compact it first";
                return Err(Error::new(
                    ErrorKind::Pruned,
                    "export the sizes of",
                    &member.spec.path,
                    what,
                ));
            }
            let size = u32::try_from(end.saturating_sub(offset)).unwrap_or(u32::MAX);
            each(SizeEntry { offset, size })?;
            offset = end;
        }
        Ok(())
    }

    /// Where the file stands.
    ///
    /// # Errors
    /// `Closed`.
    pub fn stats(&self) -> Result<Stats> {
        let store = self.holds.store()?;
        let member = self.member()?;
        let (snapshots, snapshot_bytes) = store.shared.held();
        Ok(Stats {
            seq: store.seq,
            first: member.first,
            len: member.len(),
            pending_len: member.pending.len(),
            data_bytes: member.data.tail.end,
            log_bytes: store.since,
            snapshots: snapshots as u64,
            snapshot_bytes,
            poisoned: store.poison.is_set(),
        })
    }
}

impl<T, C: Codec<T>, H: Holds> AppendOnlyFile<T, C, H> {
    /// Encodes and appends an element; returns its position. Memory only.
    ///
    /// # Errors
    /// `Codec`; else as [`append`](Self::append). Then nothing is pending that was not before.
    pub fn append_elmt(&mut self, element: &T) -> Result<u64> {
        let codec = Arc::clone(&self.codec);
        let store = self.holds.store_mut()?;
        store.check_open()?;
        let member = store.member_mut(self.member)?;
        let (max, place) = (member.spec.max_element, &member.place);
        let pending = member.pending.own();
        let start = pending.bytes.len();
        let done = codec.encode(element, &mut pending.bytes).and_then(|()| {
            let len = pending.bytes.len().saturating_sub(start);
            if pending.takes(len, max) {
                return Ok(());
            }
            Err(pending.refusal(len, max, &place.path()))
        });
        match done {
            Ok(()) => Ok(pending.seal()),
            Err(error) => {
                pending.bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// Encodes and appends elements, all or none; returns their positions.
    ///
    /// # Errors
    /// As [`append_elmt`](Self::append_elmt).
    pub fn append_elmts(&mut self, elements: &[T]) -> Result<Positions<u64>> {
        let start = self.size_unsync_in_elmts()?;
        for element in elements {
            if let Err(error) = self.append_elmt(element) {
                self.pending()?.rewind(start);
                return Err(error);
            }
        }
        Ok(start..self.size_unsync_in_elmts()?)
    }

    /// Decodes the element at a position, committed or pending.
    ///
    /// # Errors
    /// `Codec`; else as [`copy_to`](Self::copy_to).
    pub fn read_as_elmt(&self, position: u64) -> Result<T> {
        let member = self.member()?;
        if position < member.pending.keep {
            return self.codec.decode(&member.view.cow(position)?);
        }
        let bytes = member.pending.get(position);
        self.codec.decode(bytes.ok_or_else(|| Self::out_of_range(member, position))?)
    }
}

impl<T, C, H> fmt::Debug for AppendOnlyFile<T, C, H>
where
    H: Holds,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendOnlyFile")
            .field("path", &self.path().ok())
            .field("first", &self.first())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// What was pending at a moment, of a file or of a group.
#[derive(Clone, Debug)]
pub struct Savepoint {
    pub(super) store: [u8; 16],
    pub(super) seq: u64,
    pub(super) pending: Vec<(usize, Arc<Pending>)>,
}

impl Store {
    pub(super) fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        if savepoint.store != self.id || savepoint.seq != self.seq {
            let what = "the savepoint is another store's, or there was a commit since";
            return Err(Error::new(ErrorKind::Precondition, "roll back", &self.path, what));
        }
        for (nth, pending) in &savepoint.pending {
            self.member_mut(*nth)?.pending = Held::Shared(Arc::clone(pending));
        }
        Ok(())
    }

    pub(super) fn annotate(&mut self, note: &[u8]) -> Result<()> {
        if note.len() > usize::from(u16::MAX) {
            let what = format!("a note of {} bytes is above the limit of 65 535", note.len());
            return Err(Error::new(ErrorKind::TooLarge, "annotate", &self.path, what));
        }
        self.next_note = Some(note.to_vec());
        Ok(())
    }

    /// Records that the store was closed in order; nothing if it was never used. The log records its end, too: the next open need
    /// not write its tail again.
    pub(super) fn close(&mut self) -> Result<()> {
        self.members.iter_mut().for_each(Member::discard);
        (0..self.members.len()).for_each(|nth| self.drop_prepared(nth));
        if self.in_use {
            self.checkpoint(true)?;
        }
        // Its end is recorded, so that records that are missing later are known to be.
        self.log.log().clone().close()
    }

    fn temp_file(&self, nth: usize) -> Result<std::fs::File> {
        let member = self.member(nth)?;
        let fail = |e| Error::system("make a copy of", &member.place.path(), e);
        let temp = crate::commit::Temp::create(
            &*self.settings.fs,
            &self.home,
            std::ffi::OsStr::new("copy"),
            0o600,
        )?;
        let file = temp.file();
        let pending = &member.pending;
        let kept = member.start_of(pending.keep)?;
        let whole = kept == member.data.tail.end && member.first == 0;
        let shared = whole && file.reflink_from(&*member.data.files.file).is_ok();
        if shared {
            file.set_len(kept).map_err(fail)?;
        } else {
            let mut at = member.first_byte.min(kept);
            while at < kept {
                let next = at.saturating_add(1 << 20).min(kept);
                let mut bytes = Vec::new();
                member.data.range.copy(at..next, &mut bytes)?;
                file.write_at(&bytes, at).map_err(fail)?;
                at = next;
            }
        }
        file.write_at(&pending.bytes, kept).map_err(fail)?;
        let end = kept.saturating_add(pending.bytes.len() as u64);
        file.set_len(end).map_err(fail)?;
        let own = file.to_std().map_err(fail)?;
        temp.remove()?;
        Ok(own)
    }
}
