//! `SimFs`: one simulated disk in one life, shared by all handles of that life.
//!
//! # Invariants
//! - D1 After `kill` or `power_cut` the old life is frozen: its handles fail and change nothing, and further crashes of
//!   the same moment can still be taken from it.
//! - D2 Every call of the seam that can fail is counted, can be hit by a fault, and is recorded while a trace is on.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::fault::{CallKind, Effect, Fault, Twist, error};
use super::handle::SimDir;
use super::inode::{DirNode, FileNode, Ino, Node, Writing};
use super::model::{DiskModel, Names, Unwritten};
use super::pick::{Layout, Pick, PowerStates};
use super::rng::Rng;
use super::state::{ROOT, State};
use super::trace::{Entry, Note, Trace};
use crate::fs::{Dir, Fs, Lock, sealed};

/// A simulated disk: what programs see now, and every state that the disk may hold if power fails now.
///
/// Clones are handles to the same disk. [`kill`](Self::kill) and [`power_cut`](Self::power_cut) end this life and give
/// a new disk: all handles of the old one answer EIO from then on and change nothing.
///
/// # Example
/// ```
/// use std::path::Path;
/// use untorn::fs::{Fs, How, SyncSite, SyncWhat};
/// use untorn::sim::SimFs;
///
/// let fs = SimFs::new(1);
/// let dir = fs.open_dir(Path::new("/"))?;
/// let file = dir.open("note".as_ref(), How::Create(0o644))?;
/// file.write_at(b"hello", 0)?;
/// file.sync(SyncWhat::Data, SyncSite::Caller)?;
///
/// // The bytes are synced, the name is not: in some states the file is gone, in none it is torn.
/// let states: Vec<_> = fs.power_states().map(|pick| fs.power_cut(&pick).dump()).collect();
/// assert!(states.iter().any(|tree| tree.is_empty()));
/// assert!(states.iter().any(|tree| tree.contains_key(Path::new("/note"))));
/// assert!(file.write_at(b"late", 0).is_err(), "a handle of the old life");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimFs {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    core: Mutex<Core>,
}

/// A thing that a file system may be unable to do: see [`SimFs::without`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Renaming without replacing; without it EINVAL.
    RenameNoReplace,
    /// Reserving space; without it EOPNOTSUPP.
    Allocate,
    /// Giving space back; without it EOPNOTSUPP.
    Punch,
    /// Sharing blocks; without it EOPNOTSUPP.
    Reflink,
    /// Locks; without them ENOLCK.
    Locks,
    /// Syncing a directory; without it EINVAL.
    DirSync,
    /// Hard links; without them EOPNOTSUPP.
    Link,
    /// Extended attributes; without them EOPNOTSUPP.
    Xattrs,
}

/// One thing in the visible tree, as [`SimFs::dump`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A directory.
    Dir,
    /// A regular file and its bytes.
    File(Vec<u8>),
    /// A symlink and where it leads.
    Symlink(PathBuf),
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) state: Arc<State>,
    pub(super) model: DiskModel,
    pub(super) seed: u64,
    pub(super) life: u32,
    pub(super) dead: bool,
    pub(super) fs_dead: bool,
    pub(super) calls: u64,
    /// Numbers the pending operations.
    pub(super) seq: u64,
    clock_ns: u64,
    pub(super) entropy: Rng,
    pub(super) faults: Vec<Fault>,
    pub(super) missing: Vec<Capability>,
    pub(super) capacity: Option<u64>,
    /// How many handles each inode has.
    pub(super) open: HashMap<Ino, u32>,
    pub(super) locks: HashMap<Ino, Vec<(u64, Lock)>>,
    pub(super) next_handle: u64,
    created: u32,
    pub(super) trace: Option<Trace>,
    pub(super) note: Note,
}

impl Core {
    pub(super) fn new(state: Arc<State>, model: DiskModel, seed: u64, life: u32) -> Self {
        Self {
            state,
            model,
            seed,
            life,
            dead: false,
            fs_dead: false,
            calls: 0,
            seq: 1,
            clock_ns: u64::from(life) * 1_000_000_000,
            entropy: Rng::new(seed ^ (u64::from(life) << 40)),
            faults: Vec::new(),
            missing: Vec::new(),
            capacity: None,
            open: HashMap::new(),
            locks: HashMap::new(),
            next_handle: 1,
            created: 0,
            trace: None,
            note: Note::None,
        }
    }

    pub(super) fn state_mut(&mut self) -> &mut State {
        Arc::make_mut(&mut self.state)
    }

    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub(super) fn writing(&mut self) -> Writing {
        Writing {
            seq: self.next_seq(),
            whole_pages: self.model.whole_pages(),
            garbage: self.model.unwritten == Unwritten::Garbage,
        }
    }

    pub(super) fn lacks(&self, what: Capability) -> bool {
        self.missing.contains(&what)
    }

    /// Counts the call and decides how it goes.
    fn enter(&mut self, kind: CallKind, path: &Path) -> io::Result<Twist> {
        if self.dead {
            return Err(error(Errno::IO));
        }
        self.calls += 1;
        self.clock_ns += 1_000;
        if self.fs_dead {
            return Err(error(if kind.changes() && !kind.is_sync() {
                Errno::ROFS
            } else {
                Errno::IO
            }));
        }
        let number = self.calls;
        let Some(fault) = self.faults.iter_mut().find(|f| f.strikes(number, kind, path)) else {
            return Ok(Twist::Go);
        };
        fault.spent = !fault.lasting;
        Ok(match fault.kind.errno() {
            Some(errno) => Twist::Fail(errno, fault.effect),
            None => match fault.kind {
                super::FaultKind::BitFlip => Twist::Flip,
                super::FaultKind::Misdirected => Twist::Misdirect,
                _ => Twist::Drop,
            },
        })
    }

    fn record<R>(&mut self, kind: CallKind, path: &Path, result: &io::Result<R>) {
        let note = std::mem::replace(&mut self.note, Note::None);
        let (number, after) = (self.calls, &self.state);
        if let Some(trace) = &mut self.trace {
            let errno = result.as_ref().err().map(|error| error.raw_os_error().unwrap_or(0));
            let (path, after) = (Arc::from(path), Arc::clone(after));
            trace.entries.push(Entry { number, kind, path, note, errno, after });
        }
    }

    /// Drops what no name, no pending change and no handle leads to, now and then.
    pub(super) fn collect(&mut self) {
        self.created += 1;
        if self.created > 64 {
            self.created = 0;
            let Self { state, open, .. } = self;
            Arc::make_mut(state).collect(|ino| open.contains_key(&ino));
        }
    }

    /// Bytes taken by files.
    pub(super) fn used(&self) -> u64 {
        self.state
            .numbers()
            .filter_map(|(_, inode)| match &inode.node {
                Node::File(file) => Some(file.len),
                _ => None,
            })
            .sum()
    }

    /// How far a file of `len` bytes may grow towards `wanted`.
    pub(super) fn room(&self, len: u64, wanted: u64) -> u64 {
        match self.capacity {
            Some(capacity) if wanted > len => {
                wanted.min(len + capacity.saturating_sub(self.used()))
            }
            _ => wanted,
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the seam whose effect cannot be divided.
    pub(super) fn call<R>(
        &self,
        kind: CallKind,
        path: &Path,
        f: impl FnOnce(&mut Core) -> io::Result<R>,
    ) -> io::Result<R> {
        // A handle that was made and is not given out must not be dropped while the disk is locked.
        let mut unwanted = None;
        let result = self.call_with(kind, path, |core, twist| match twist {
            Twist::Fail(errno, Effect::Whole) => {
                unwanted = Some(f(core)?);
                Err(error(errno))
            }
            Twist::Fail(errno, _) => Err(error(errno)),
            _ => f(core),
        });
        drop(unwanted);
        result
    }

    /// One call of the seam.
    pub(super) fn call_with<R>(
        &self,
        kind: CallKind,
        path: &Path,
        f: impl FnOnce(&mut Core, Twist) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut core = self.lock();
        let twist = core.enter(kind, path)?;
        let result = f(&mut core, twist);
        core.record(kind, path, &result);
        result
    }
}

impl SimFs {
    /// An empty disk of the default model; clock and entropy follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_model(seed, DiskModel::default())
    }

    /// An empty disk of this model.
    pub fn with_model(seed: u64, model: DiskModel) -> Self {
        Self::from_core(Core::new(Arc::new(State::new()), model, seed, 0))
    }

    pub(super) fn from_core(core: Core) -> Self {
        Self { shared: Arc::new(Shared { core: Mutex::new(core) }) }
    }

    /// The model of this disk.
    pub fn model(&self) -> DiskModel {
        self.shared.lock().model
    }

    /// The process dies: the visible bytes and names stay, what was pending stays pending; handles and locks go.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut core = self.shared.lock();
        core.dead = true;
        let state = Arc::clone(&core.state);
        core.reborn(state)
    }

    /// Every state that the disk may hold if power fails now, or a sample where they are too many.
    pub fn power_states(&self) -> PowerStates {
        self.power_states_within(4096, 256)
    }

    /// As [`power_states`](Self::power_states): all of them if there are at most `all_up_to`, else the extremes and
    /// `random_count` random ones.
    pub fn power_states_within(&self, all_up_to: usize, random_count: usize) -> PowerStates {
        let core = self.shared.lock();
        let mut rng = Rng::new(core.seed ^ core.seq);
        Layout::new(&core.state, &core.model, core.seed).picks(all_up_to, random_count, &mut rng)
    }

    /// Power fails: the disk comes back in the state that `pick` names.
    ///
    /// A pick that was made at another moment is read as far as it fits.
    #[must_use]
    pub fn power_cut(&self, pick: &Pick) -> Self {
        let mut core = self.shared.lock();
        core.dead = true;
        let state = Layout::new(&core.state, &core.model, core.seed).build(pick);
        core.reborn(Arc::new(state))
    }

    /// Adds a fault; the first one added that fits a call strikes it.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// From now on the file system cannot do this.
    #[must_use]
    pub fn without(self, what: Capability) -> Self {
        self.shared.lock().missing.push(what);
        self
    }

    /// Limits the sum of all file lengths; what goes beyond is ENOSPC, a write by then having written what fits.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.lock().capacity = bytes;
    }

    /// Calls of the seam so far in this life.
    pub fn calls(&self) -> u64 {
        self.shared.lock().calls
    }

    /// Hash of the visible tree: names, bytes, modes, owners, attributes.
    pub fn image_hash(&self) -> u64 {
        self.shared.lock().state.hash()
    }

    /// The whole visible tree but the root, by path.
    pub fn dump(&self) -> BTreeMap<PathBuf, Item> {
        let state = Arc::clone(&self.shared.lock().state);
        let mut tree = BTreeMap::new();
        let mut todo = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, ino)) = todo.pop() {
            let Ok(dir) = state.dir(ino) else { continue };
            for (name, ino) in dir.entries.iter() {
                let path = path.join(&**name);
                let item = match state.inode(*ino).map(|inode| &inode.node) {
                    Some(Node::Dir(_)) => {
                        todo.push((path.clone(), *ino));
                        Item::Dir
                    }
                    Some(Node::File(file)) => {
                        let mut bytes = vec![0; file.len as usize];
                        file.read(&mut bytes, 0);
                        Item::File(bytes)
                    }
                    Some(Node::Symlink(to)) => Item::Symlink(to.to_path_buf()),
                    None => continue,
                };
                tree.insert(path, item);
            }
        }
        tree
    }

    /// The visible bytes of a file, symlinks followed. Not a call of the seam.
    ///
    /// # Errors
    /// ENOENT and the like.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let core = self.shared.lock();
        let (ino, _) = resolve(&core.state, path.as_ref())?;
        let file = core.state.file(ino)?;
        let mut bytes = vec![0; file.len as usize];
        file.read(&mut bytes, 0);
        Ok(bytes)
    }

    /// Makes a file with these bytes, durable at once: for setting up a test. Missing parents are made.
    ///
    /// # Errors
    /// ENOTDIR and the like.
    pub fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let mut file = FileNode::empty(0o644);
        file.write(Writing { seq: 0, whole_pages: true, garbage: false }, 0, bytes);
        file.pend = None;
        self.place(path.as_ref(), Node::File(Box::new(file)))
    }

    /// Makes a directory and its parents, durable at once: for setting up a test.
    ///
    /// # Errors
    /// ENOTDIR and the like.
    pub fn make_dirs(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut core = self.shared.lock();
        make_dirs(&mut core, path.as_ref())?;
        Ok(())
    }

    /// Makes a symlink at `path` that leads to `target`, durable at once: for setting up a test.
    ///
    /// # Errors
    /// ENOTDIR and the like.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> io::Result<()> {
        self.place(path.as_ref(), Node::Symlink(Arc::from(target.as_ref())))
    }

    fn place(&self, path: &Path, node: Node) -> io::Result<()> {
        let mut core = self.shared.lock();
        let name = path.file_name().ok_or_else(|| error(Errno::INVAL))?;
        let parent = make_dirs(&mut core, path.parent().unwrap_or_else(|| Path::new("/")))?;
        let state = core.state_mut();
        let ino = state.add(node);
        place_durable(state, parent, name, ino)
    }

    /// Flips one bit of a file on disk and in the cache: rot.
    ///
    /// # Errors
    /// ENOENT and the like.
    pub fn flip_bit(&self, path: impl AsRef<Path>, bit: u64) -> io::Result<()> {
        let mut core = self.shared.lock();
        let (ino, _) = resolve(&core.state, path.as_ref())?;
        core.state_mut().file_mut(ino)?.flip_bit(bit);
        Ok(())
    }

    /// The cache forgets the clean bytes of a file: what a failed sync dropped shows what the disk holds.
    ///
    /// # Errors
    /// ENOENT and the like.
    pub fn evict(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut core = self.shared.lock();
        let (ino, _) = resolve(&core.state, path.as_ref())?;
        core.state_mut().file_mut(ino)?.evict();
        Ok(())
    }

    /// The system writes the dirty bytes of a file back by itself, and fails: the next sync of each open file says so,
    /// or, if none is open, the next sync of one that is opened then.
    ///
    /// # Errors
    /// ENOENT and the like.
    pub fn fail_writeback(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut core = self.shared.lock();
        let (ino, _) = resolve(&core.state, path.as_ref())?;
        let revert = core.model.failed_sync == super::FailedSync::RevertOld;
        let file = core.state_mut().file_mut(ino)?;
        file.sync_failed(false, super::inode::Reached::Nothing, revert);
        file.unseen = true;
        Ok(())
    }

    /// Reads of this file fail with EIO from now on.
    pub fn fail_reads(&self, path: impl AsRef<Path>) {
        for call in [CallKind::Read, CallKind::Map] {
            self.inject(Fault::new(super::FaultKind::Io).on_path(&path).on(call).lasting());
        }
    }
}

impl Core {
    fn reborn(&self, state: Arc<State>) -> SimFs {
        let mut core = Self::new(state, self.model, self.seed, self.life + 1);
        core.seq = self.seq;
        core.missing.clone_from(&self.missing);
        core.capacity = self.capacity;
        SimFs::from_core(core)
    }
}

fn place_durable(state: &mut State, parent: Ino, name: &OsStr, ino: Ino) -> io::Result<()> {
    state.set_name(0, parent, name, ino)?;
    let last = |change: &super::names::Change| change.leads_to() == Some(ino);
    state.sync_names(Names::Subset, last);
    Ok(())
}

fn make_dirs(core: &mut Core, path: &Path) -> io::Result<Ino> {
    let mut at = ROOT;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        let state = core.state_mut();
        at = if let Ok(ino) = state.lookup(at, name) {
            ino
        } else {
            let ino = state.add(Node::Dir(DirNode { mode: 0o755, ..DirNode::default() }));
            place_durable(state, at, name, ino)?;
            ino
        };
        state.dir(at).map_err(|_| error(Errno::NOTDIR))?;
    }
    Ok(at)
}

/// Follows `path` from the root, symlinks too; the inode and the path without them.
pub(super) fn resolve(state: &State, path: &Path) -> Result<(Ino, PathBuf), Errno> {
    let mut stack: Vec<(Ino, std::ffi::OsString)> = Vec::new();
    let mut todo: Vec<std::ffi::OsString> =
        path.components().rev().map(|part| part.as_os_str().to_os_string()).collect();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        let here = stack.last().map_or(ROOT, |(ino, _)| *ino);
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => stack.clear(),
            Some(Component::ParentDir) => {
                stack.pop();
            }
            Some(Component::Normal(name)) => {
                state.dir(here).map_err(|_| Errno::NOTDIR)?;
                let ino = state.lookup(here, name)?;
                if let Some(Node::Symlink(to)) = state.inode(ino).map(|inode| &inode.node) {
                    links += 1;
                    if links > 40 {
                        return Err(Errno::LOOP);
                    }
                    todo.extend(to.components().rev().map(|p| p.as_os_str().to_os_string()));
                } else {
                    stack.push((ino, name.to_os_string()));
                }
            }
            _ => {}
        }
    }
    let mut real = PathBuf::from("/");
    real.extend(stack.iter().map(|(_, name)| name));
    Ok((stack.last().map_or(ROOT, |(ino, _)| *ino), real))
}

impl std::fmt::Debug for SimFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let core = self.shared.lock();
        f.debug_struct("SimFs")
            .field("seed", &core.seed)
            .field("life", &core.life)
            .field("calls", &core.calls)
            .field("dead", &core.dead)
            .finish_non_exhaustive()
    }
}

impl sealed::Sealed for SimFs {}

impl Fs for SimFs {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        self.shared.call(CallKind::OpenDir, path, |core| {
            let (ino, _) = resolve(&core.state, path)?;
            core.state.dir(ino).map_err(|_| error(Errno::NOTDIR))?;
            Ok(SimDir::open(&self.shared, core, ino, path))
        })
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.shared.call(CallKind::Canonicalize, path, |core| Ok(resolve(&core.state, path)?.1))
    }

    fn now(&self) -> Duration {
        Duration::from_secs(1_700_000_000) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        let mut core = self.shared.lock();
        if !core.dead {
            core.clock_ns += 1_000;
        }
        Duration::from_nanos(core.clock_ns)
    }

    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        self.shared.call(CallKind::Entropy, Path::new(""), |core| {
            core.entropy.fill(buf);
            Ok(())
        })
    }
}
