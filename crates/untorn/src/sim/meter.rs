//! `Meter`: a file system that counts what passes through it, leaves syncs out, and can kill the process at one call.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::fault::CallKind;
use crate::fs::{Ahead, Dir, File, Fs, How, Lock, Map, Rename, Stat, SyncSite, SyncWhat, sealed};

/// A wrapper around any file system, also around [`OsFs`](crate::fs::OsFs): counts calls, drops syncs, kills.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use std::path::Path;
/// use untorn::fs::{Fs, SyncSite};
/// use untorn::sim::{CallKind, Meter, SimFs};
///
/// let meter = Meter::new(Arc::new(SimFs::new(1)));
/// let dir = meter.open_dir(Path::new("/"))?;
/// dir.sync(SyncSite::Caller)?;
/// let counts = meter.counts();
/// assert_eq!(counts.of(CallKind::SyncDir), 1);
/// assert_eq!(counts.syncs_at(SyncSite::Caller), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Meter {
    inner: Arc<dyn Fs>,
    shared: Arc<Shared>,
}

/// What passed through a [`Meter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls by kind; kinds that did not occur are absent.
    pub calls: BTreeMap<CallKind, u64>,
    /// Syncs by site, dropped ones too.
    pub syncs: BTreeMap<SyncSite, u64>,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Syncs that were left out.
    pub syncs_dropped: u64,
}

impl Counts {
    /// Calls of one kind.
    pub fn of(&self, kind: CallKind) -> u64 {
        self.calls.get(&kind).copied().unwrap_or(0)
    }

    /// Syncs at one site.
    pub fn syncs_at(&self, site: SyncSite) -> u64 {
        self.syncs.get(&site).copied().unwrap_or(0)
    }

    /// All calls.
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// All syncs.
    pub fn total_syncs(&self) -> u64 {
        self.syncs.values().sum()
    }
}

/// Where within a call the process dies: see [`Meter::kill_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KillWhen {
    /// Before it has done anything.
    Before,
    /// A write: after half of its bytes. Any other call: before.
    Inside,
    /// After it was done, before its caller hears of it.
    After,
}

#[derive(Debug, Default)]
struct Shared(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    dropped: Vec<SyncSite>,
    kill: Option<(u64, KillWhen)>,
    total: u64,
}

impl Meter {
    /// Counts what passes to `inner`.
    pub fn new(inner: Arc<dyn Fs>) -> Self {
        Self { inner, shared: Arc::default() }
    }

    /// Syncs at this site return Ok from now on and do nothing.
    #[must_use]
    pub fn without_sync(self, site: SyncSite) -> Self {
        self.shared.lock().dropped.push(site);
        self
    }

    /// The process sends itself SIGKILL before, inside or after its call number `call`, counted from 1.
    pub fn kill_at(&self, call: u64, when: KillWhen) {
        self.shared.lock().kill = Some((call, when));
    }

    /// What passed through so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts.clone()
    }

    /// Starts counting anew.
    pub fn reset(&self) {
        self.shared.lock().counts = Counts::default();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes one call on.
    fn pass<R>(&self, kind: CallKind, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let (number, kill) = self.enter(kind);
        die_if(kill, number, &[KillWhen::Before, KillWhen::Inside]);
        let result = call();
        die_if(kill, number, &[KillWhen::After]);
        result
    }

    fn enter(&self, kind: CallKind) -> (u64, Option<(u64, KillWhen)>) {
        let mut inner = self.lock();
        inner.total += 1;
        *inner.counts.calls.entry(kind).or_insert(0) += 1;
        (inner.total, inner.kill)
    }

    /// Counts a sync; whether it is to be made.
    fn sync(&self, site: SyncSite) -> bool {
        let mut inner = self.lock();
        *inner.counts.syncs.entry(site).or_insert(0) += 1;
        let dropped = inner.dropped.contains(&site);
        inner.counts.syncs_dropped += u64::from(dropped);
        !dropped
    }

    fn dir(self: &Arc<Self>, inner: Arc<dyn Dir>) -> Arc<dyn Dir> {
        Arc::new(MeterDir { inner, shared: Arc::clone(self) })
    }
}

fn die_if(kill: Option<(u64, KillWhen)>, number: u64, when: &[KillWhen]) {
    if kill.is_some_and(|(at, how)| at == number && when.contains(&how)) {
        die();
    }
}

/// SIGKILL to the own process: nothing of it runs any more, no destructor, no buffer is written.
fn die() {
    let me = rustix::process::getpid();
    if rustix::process::kill_process(me, rustix::process::Signal::KILL).is_err() {
        std::process::abort();
    }
    loop {
        std::thread::park();
    }
}

impl sealed::Sealed for Meter {}

impl Fs for Meter {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        let dir = self.shared.pass(CallKind::OpenDir, || self.inner.open_dir(path))?;
        Ok(self.shared.dir(dir))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.shared.pass(CallKind::Canonicalize, || self.inner.canonicalize(path))
    }

    fn now(&self) -> Duration {
        self.inner.now()
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        self.shared.pass(CallKind::Entropy, || self.inner.entropy(buf))
    }
}

#[derive(Debug)]
struct MeterDir {
    inner: Arc<dyn Dir>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct MeterFile {
    inner: Arc<dyn File>,
    shared: Arc<Shared>,
}

fn inner_dir(dir: &dyn Dir) -> &dyn Dir {
    dir.as_any().downcast_ref::<MeterDir>().map_or(dir, |dir| &*dir.inner)
}

fn inner_file(file: &dyn File) -> &dyn File {
    file.as_any().downcast_ref::<MeterFile>().map_or(file, |file| &*file.inner)
}

impl sealed::Sealed for MeterDir {}

impl Dir for MeterDir {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn open(&self, name: &OsStr, how: How) -> io::Result<Arc<dyn File>> {
        let kind = match how {
            How::Read | How::Write => CallKind::Open,
            How::Create(_) | How::CreateNew(_) => CallKind::Create,
        };
        let inner = self.shared.pass(kind, || self.inner.open(name, how))?;
        Ok(Arc::new(MeterFile { inner, shared: Arc::clone(&self.shared) }))
    }

    fn open_dir(&self, name: &OsStr) -> io::Result<Arc<dyn Dir>> {
        let dir = self.shared.pass(CallKind::OpenDir, || self.inner.open_dir(name))?;
        Ok(self.shared.dir(dir))
    }

    fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        self.shared.pass(CallKind::MakeDir, || self.inner.make_dir(name, mode))
    }

    fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        self.shared.pass(CallKind::Stat, || self.inner.stat(name))
    }

    fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        self.shared.pass(CallKind::ReadLink, || self.inner.read_link(name))
    }

    fn list(&self) -> io::Result<Vec<OsString>> {
        self.shared.pass(CallKind::List, || self.inner.list())
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.shared.pass(CallKind::List, || self.inner.is_empty())
    }

    fn rename(&self, from: &OsStr, to_dir: &dyn Dir, to: &OsStr, mode: Rename) -> io::Result<()> {
        let kind = match mode {
            Rename::Replace => CallKind::Rename,
            Rename::NoReplace => CallKind::RenameNoReplace,
        };
        self.shared.pass(kind, || self.inner.rename(from, inner_dir(to_dir), to, mode))
    }

    fn link(&self, from: &OsStr, to_dir: &dyn Dir, to: &OsStr) -> io::Result<()> {
        self.shared.pass(CallKind::Link, || self.inner.link(from, inner_dir(to_dir), to))
    }

    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        self.shared.pass(CallKind::Unlink, || self.inner.unlink(name))
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        self.shared.pass(CallKind::RemoveDir, || self.inner.remove_dir(name))
    }

    fn sync(&self, site: SyncSite) -> io::Result<()> {
        let wanted = self.shared.sync(site);
        self.shared.pass(CallKind::SyncDir, || if wanted { self.inner.sync(site) } else { Ok(()) })
    }

    fn file_system(&self) -> io::Result<String> {
        self.inner.file_system()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl sealed::Sealed for MeterFile {}

impl File for MeterFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.shared.pass(CallKind::Read, || self.inner.read_at(buf, offset))?;
        self.shared.lock().counts.bytes_read += count as u64;
        Ok(count)
    }

    fn read_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let count = self.shared.pass(CallKind::Read, || self.inner.read_nowait(buf, offset))?;
        self.shared.lock().counts.bytes_read += count.unwrap_or_default() as u64;
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (number, kill) = self.shared.enter(CallKind::Write);
        die_if(kill, number, &[KillWhen::Before]);
        if kill == Some((number, KillWhen::Inside)) {
            // Whether this half arrives does not matter: the process is dead either way.
            drop(self.inner.write_at(&bytes[..bytes.len() / 2], offset));
            die();
        }
        self.inner.write_at(bytes, offset)?;
        die_if(kill, number, &[KillWhen::After]);
        self.shared.lock().counts.bytes_written += bytes.len() as u64;
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.shared.pass(CallKind::SetLen, || self.inner.set_len(len))
    }

    fn stat(&self) -> io::Result<Stat> {
        self.shared.pass(CallKind::FileStat, || self.inner.stat())
    }

    fn sync(&self, what: SyncWhat, site: SyncSite) -> io::Result<()> {
        let kind = match what {
            SyncWhat::Data => CallKind::SyncData,
            SyncWhat::All => CallKind::SyncAll,
        };
        let wanted = self.shared.sync(site);
        self.shared.pass(kind, || if wanted { self.inner.sync(what, site) } else { Ok(()) })
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.shared.pass(CallKind::Allocate, || self.inner.allocate(offset, len))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.shared.pass(CallKind::Punch, || self.inner.punch(offset, len))
    }

    fn reflink_from(&self, source: &dyn File) -> io::Result<()> {
        self.shared.pass(CallKind::Reflink, || self.inner.reflink_from(inner_file(source)))
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        self.shared.pass(CallKind::Map, || self.inner.map(len))
    }

    fn map_ahead(&self, len: usize) -> io::Result<Ahead> {
        self.shared.pass(CallKind::Map, || self.inner.map_ahead(len))
    }

    fn to_std(&self) -> io::Result<std::fs::File> {
        self.inner.to_std()
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.shared.pass(CallKind::Lock, || self.inner.try_lock(lock))
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.shared.pass(CallKind::SetMode, || self.inner.set_mode(mode))
    }

    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        self.shared.pass(CallKind::SetOwner, || self.inner.set_owner(uid, gid))
    }

    fn xattrs(&self) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        self.shared.pass(CallKind::Xattrs, || self.inner.xattrs())
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        self.shared.pass(CallKind::SetXattr, || self.inner.set_xattr(name, value))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
