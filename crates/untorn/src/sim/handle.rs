//! Handles of the simulated disk: a held directory and an open file.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::disk::{Capability, Core, Shared};
use super::fault::{CallKind, Effect, Twist, error};
use super::inode::{DirNode, FileNode, Ino, Node, Reached};
use super::model::{FailedSync, Syncs};
use super::trace::Note;
use crate::fs::{Ahead, Dir, File, How, Kind, Lock, Map, Rename, Stat, SyncSite, SyncWhat, sealed};

const UMASK: u32 = 0o022;

#[derive(Debug)]
pub(super) struct SimDir {
    shared: Arc<Shared>,
    ino: Ino,
    path: PathBuf,
}

#[derive(Debug)]
pub(super) struct SimFile {
    shared: Arc<Shared>,
    ino: Ino,
    /// The open file description: owner of locks, receiver of write-back errors.
    handle: u64,
    /// How many failed write-backs of the inode it has reported.
    reported: std::sync::atomic::AtomicU32,
    path: PathBuf,
}

impl SimDir {
    pub(super) fn open(
        shared: &Arc<Shared>,
        core: &mut Core,
        ino: Ino,
        path: &Path,
    ) -> Arc<dyn Dir> {
        *core.open.entry(ino).or_insert(0) += 1;
        Arc::new(Self { shared: Arc::clone(shared), ino, path: path.to_path_buf() })
    }

    /// The other directory of a call on two; EXDEV if it is of another disk.
    fn other<'a>(&self, dir: &'a dyn Dir) -> io::Result<&'a Self> {
        dir.as_any()
            .downcast_ref::<Self>()
            .filter(|dir| Arc::ptr_eq(&dir.shared, &self.shared))
            .ok_or_else(|| error(Errno::XDEV))
    }
}

fn plain(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_encoded_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a name in a directory is one plain component",
        ));
    }
    Ok(name)
}

fn release(core: &mut Core, ino: Ino) {
    if let Some(count) = core.open.get_mut(&ino) {
        *count -= 1;
        if *count == 0 {
            core.open.remove(&ino);
        }
    }
}

fn stat(core: &Core, ino: Ino) -> io::Result<Stat> {
    let inode = core.state.inode(ino).ok_or_else(|| error(Errno::NOENT))?;
    let stat = Stat {
        kind: Kind::Other,
        len: 0,
        mode: 0o777,
        uid: 1000,
        gid: 1000,
        ino: ino as u64,
        dev: 1,
        nlink: core.state.links(ino),
    };
    Ok(match &inode.node {
        Node::File(file) => Stat {
            kind: Kind::File,
            len: file.len,
            mode: file.meta.mode,
            uid: file.meta.uid,
            gid: file.meta.gid,
            ..stat
        },
        Node::Dir(dir) => Stat { kind: Kind::Dir, mode: dir.mode, nlink: 2, ..stat },
        Node::Symlink(to) => Stat { kind: Kind::Symlink, len: to.as_os_str().len() as u64, ..stat },
    })
}

impl Drop for SimDir {
    fn drop(&mut self) {
        release(&mut self.shared.lock(), self.ino);
    }
}

impl sealed::Sealed for SimDir {}

impl Dir for SimDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &OsStr, how: How) -> io::Result<Arc<dyn File>> {
        let name = plain(name)?;
        let path = self.path.join(name);
        let kind = match how {
            How::Read | How::Write => CallKind::Open,
            How::Create(_) | How::CreateNew(_) => CallKind::Create,
        };
        self.shared.call(kind, &path, |core| {
            let found = core.state.lookup(self.ino, name);
            let (ino, reported) = match (found, how) {
                (Ok(_), How::CreateNew(_)) => return Err(error(Errno::EXIST)),
                (Ok(ino), _) => match core.state.inode(ino).map(|inode| &inode.node) {
                    Some(Node::File(file)) => {
                        let unseen = file.unseen && !core.open.contains_key(&ino);
                        (ino, file.errors.wrapping_sub(u32::from(unseen)))
                    }
                    Some(Node::Symlink(_)) => return Err(error(Errno::LOOP)),
                    _ => return Err(error(Errno::ISDIR)),
                },
                (Err(Errno::NOENT), How::Create(mode) | How::CreateNew(mode)) => {
                    core.state.dir(self.ino)?;
                    let seq = core.next_seq();
                    let state = core.state_mut();
                    if state.links_to_dir(self.ino) == 0 {
                        return Err(error(Errno::NOENT));
                    }
                    let file = FileNode::empty(mode & 0o7777 & !UMASK);
                    let ino = state.add(Node::File(Box::new(file)));
                    state.set_name(seq, self.ino, name, ino)?;
                    (ino, 0)
                }
                (Err(errno), _) => return Err(error(errno)),
            };
            *core.open.entry(ino).or_insert(0) += 1;
            core.next_handle += 1;
            core.collect();
            Ok(Arc::new(SimFile {
                shared: Arc::clone(&self.shared),
                ino,
                handle: core.next_handle,
                reported: reported.into(),
                path: path.clone(),
            }) as Arc<dyn File>)
        })
    }

    fn open_dir(&self, name: &OsStr) -> io::Result<Arc<dyn Dir>> {
        let name = plain(name)?;
        let path = self.path.join(name);
        self.shared.call(CallKind::OpenDir, &path, |core| {
            let ino = core.state.lookup(self.ino, name)?;
            match core.state.inode(ino).map(|inode| &inode.node) {
                Some(Node::Dir(_)) => Ok(Self::open(&self.shared, core, ino, &path)),
                Some(Node::Symlink(_)) => Err(error(Errno::LOOP)),
                _ => Err(error(Errno::NOTDIR)),
            }
        })
    }

    fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let name = plain(name)?;
        self.shared.call(CallKind::MakeDir, &self.path.join(name), |core| {
            if core.state.lookup(self.ino, name).is_ok() {
                return Err(error(Errno::EXIST));
            }
            core.state.dir(self.ino)?;
            let seq = core.next_seq();
            let mode = mode & 0o7777 & !UMASK;
            let state = core.state_mut();
            let ino = state.add(Node::Dir(DirNode { mode, ..DirNode::default() }));
            Ok(state.set_name(seq, self.ino, name, ino)?)
        })
    }

    fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        let name = plain(name)?;
        self.shared.call(CallKind::Stat, &self.path.join(name), |core| {
            stat(core, core.state.lookup(self.ino, name)?)
        })
    }

    fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let name = plain(name)?;
        self.shared.call(CallKind::ReadLink, &self.path.join(name), |core| {
            let ino = core.state.lookup(self.ino, name)?;
            match core.state.inode(ino).map(|inode| &inode.node) {
                Some(Node::Symlink(to)) => Ok(to.to_path_buf()),
                _ => Err(error(Errno::INVAL)),
            }
        })
    }

    fn list(&self) -> io::Result<Vec<OsString>> {
        self.shared.call(CallKind::List, &self.path, |core| {
            let dir = core.state.dir(self.ino)?;
            Ok(dir.entries.keys().map(|name| name.to_os_string()).collect())
        })
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.list()?.is_empty())
    }

    fn rename(&self, from: &OsStr, to_dir: &dyn Dir, to: &OsStr, mode: Rename) -> io::Result<()> {
        let (from, to) = (plain(from)?, plain(to)?);
        let other = self.other(to_dir)?;
        let kind = match mode {
            Rename::Replace => CallKind::Rename,
            Rename::NoReplace => CallKind::RenameNoReplace,
        };
        self.shared.call_with(kind, &self.path.join(from), |core, twist| {
            if core.trace.is_some() {
                core.note = Note::To(Arc::from(other.path.join(to)));
            }
            let (errno, effect) = match twist {
                Twist::Fail(errno, effect) => (Some(errno), effect),
                _ => (None, Effect::Whole),
            };
            if effect == Effect::None {
                return Err(error(errno.unwrap_or(Errno::IO)));
            }
            if mode == Rename::NoReplace && core.lacks(Capability::RenameNoReplace) {
                return Err(error(Errno::INVAL));
            }
            let ino = core.state.lookup(self.ino, from)?;
            let is_dir = core.state.dir(ino).is_ok();
            match core.state.lookup(other.ino, to) {
                Ok(_) if mode == Rename::NoReplace => return Err(error(Errno::EXIST)),
                // Two names of one inode: the system does nothing.
                Ok(old) if old == ino => return Ok(()),
                Ok(old) => match core.state.dir(old) {
                    Ok(_) if !is_dir => return Err(error(Errno::ISDIR)),
                    Ok(dir) if !dir.entries.is_empty() => return Err(error(Errno::NOTEMPTY)),
                    Err(_) if is_dir => return Err(error(Errno::NOTDIR)),
                    _ => {}
                },
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(error(errno)),
            }
            core.state.dir(other.ino)?;
            let (seq, names) = (core.next_seq(), core.model.names);
            let half = effect == Effect::Prefix;
            core.state_mut().rename(seq, (self.ino, from), (other.ino, to), names, half)?;
            core.collect();
            errno.map_or(Ok(()), |errno| Err(error(errno)))
        })
    }

    fn link(&self, from: &OsStr, to_dir: &dyn Dir, to: &OsStr) -> io::Result<()> {
        let (from, to) = (plain(from)?, plain(to)?);
        let other = self.other(to_dir)?;
        self.shared.call(CallKind::Link, &self.path.join(from), |core| {
            if core.trace.is_some() {
                core.note = Note::To(Arc::from(other.path.join(to)));
            }
            if core.lacks(Capability::Link) {
                return Err(error(Errno::OPNOTSUPP));
            }
            let ino = core.state.lookup(self.ino, from)?;
            if core.state.dir(ino).is_ok() {
                return Err(error(Errno::PERM));
            }
            if core.state.lookup(other.ino, to).is_ok() {
                return Err(error(Errno::EXIST));
            }
            let seq = core.next_seq();
            Ok(core.state_mut().set_name(seq, other.ino, to, ino)?)
        })
    }

    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        let name = plain(name)?;
        self.shared.call(CallKind::Unlink, &self.path.join(name), |core| {
            let ino = core.state.lookup(self.ino, name)?;
            if core.state.dir(ino).is_ok() {
                return Err(error(Errno::ISDIR));
            }
            let seq = core.next_seq();
            core.state_mut().clear_name(seq, self.ino, name)?;
            core.collect();
            Ok(())
        })
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        let name = plain(name)?;
        self.shared.call(CallKind::RemoveDir, &self.path.join(name), |core| {
            let ino = core.state.lookup(self.ino, name)?;
            let dir = core.state.dir(ino).map_err(|_| error(Errno::NOTDIR))?;
            if !dir.entries.is_empty() {
                return Err(error(Errno::NOTEMPTY));
            }
            let seq = core.next_seq();
            Ok(core.state_mut().clear_name(seq, self.ino, name)?)
        })
    }

    fn sync(&self, _site: SyncSite) -> io::Result<()> {
        self.shared.call_with(CallKind::SyncDir, &self.path, |core, twist| {
            if core.lacks(Capability::DirSync) {
                return Err(error(Errno::INVAL));
            }
            core.state.dir(self.ino)?;
            let names = core.model.names;
            let (failed, whole) = match twist {
                Twist::Fail(errno, effect) => (Some(errno), effect == Effect::Whole),
                Twist::Drop => (None, false),
                _ => (None, core.model.syncs == Syncs::Honoured),
            };
            if whole && !core.state.names.is_empty() {
                core.state_mut().sync_names(names, |change| change.in_dir(self.ino));
                core.collect();
            }
            let Some(errno) = failed else { return Ok(()) };
            if !whole && core.model.failed_dir_sync_sticks {
                core.state_mut().stick_names(self.ino);
            }
            core.fs_dead |= core.model.failed_sync == FailedSync::FsDead;
            Err(error(errno))
        })
    }

    fn file_system(&self) -> io::Result<String> {
        Ok("sim".to_owned())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl SimFile {
    fn release_lock(&self, core: &mut Core) {
        if let Some(locks) = core.locks.get_mut(&self.ino) {
            locks.retain(|(handle, _)| *handle != self.handle);
        }
    }

    fn call<R>(&self, kind: CallKind, f: impl FnOnce(&mut Core) -> io::Result<R>) -> io::Result<R> {
        self.shared.call(kind, &self.path, f)
    }

    fn set_meta(
        &self,
        kind: CallKind,
        change: impl FnOnce(&mut super::inode::Meta),
    ) -> io::Result<()> {
        self.call(kind, |core| {
            let seq = core.next_seq();
            core.state_mut().file_mut(self.ino)?.set_meta(seq, change);
            Ok(())
        })
    }

    /// Half of `len` if the call fails half way, all of it if it succeeds or fails late, `None` if it does nothing.
    const fn share(twist: Twist, len: u64) -> Option<u64> {
        match twist {
            Twist::Fail(_, Effect::None) => None,
            Twist::Fail(_, Effect::Prefix) => Some(len / 2),
            _ => Some(len),
        }
    }

    fn end(twist: Twist) -> io::Result<()> {
        match twist {
            Twist::Fail(errno, _) => Err(error(errno)),
            _ => Ok(()),
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut core = self.shared.lock();
        self.release_lock(&mut core);
        release(&mut core, self.ino);
    }
}

impl sealed::Sealed for SimFile {}

impl File for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.shared.call_with(CallKind::Read, &self.path, |core, twist| {
            core.note = Note::Range { offset, len: buf.len() as u64 };
            if let Twist::Fail(errno, _) = twist {
                return Err(error(errno));
            }
            let count = core.state.file(self.ino)?.read(buf, offset);
            if twist == Twist::Flip
                && let Some(byte) = buf[..count].get_mut(count / 2)
            {
                *byte ^= 4;
            }
            Ok(count)
        })
    }

    fn read_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buf, offset).map(Some)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.shared.call_with(CallKind::Write, &self.path, |core, twist| {
            if core.trace.is_some() {
                core.note = Note::Write { ino: self.ino, offset, bytes: Arc::from(bytes) };
            }
            let Some(count) = Self::share(twist, bytes.len() as u64) else {
                return Self::end(twist);
            };
            if twist == Twist::Drop || bytes.is_empty() {
                return Ok(());
            }
            let offset = if twist == Twist::Misdirect { offset + 4096 } else { offset };
            let len = core.state.file(self.ino)?.len;
            let wanted = offset.checked_add(count).ok_or_else(|| error(Errno::FBIG))?;
            if wanted > 1 << 40 {
                return Err(error(Errno::FBIG));
            }
            let room = core.room(len, wanted);
            let how = core.writing();
            let part = (room.saturating_sub(offset)).min(count) as usize;
            core.state_mut().file_mut(self.ino)?.write(how, offset, &bytes[..part]);
            if room < wanted {
                return Err(error(Errno::NOSPC));
            }
            Self::end(twist)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(CallKind::SetLen, |core| {
            core.note = Note::Range { offset: len, len: 0 };
            if len > 1 << 40 {
                return Err(error(Errno::FBIG));
            }
            let now = core.state.file(self.ino)?.len;
            if core.room(now, len) < len {
                return Err(error(Errno::NOSPC));
            }
            let how = core.writing();
            core.state_mut().file_mut(self.ino)?.set_len(how, len);
            Ok(())
        })
    }

    fn stat(&self) -> io::Result<Stat> {
        self.call(CallKind::FileStat, |core| stat(core, self.ino))
    }

    fn sync(&self, what: SyncWhat, _site: SyncSite) -> io::Result<()> {
        use std::sync::atomic::Ordering::Relaxed;
        let (kind, all) = match what {
            SyncWhat::Data => (CallKind::SyncData, false),
            SyncWhat::All => (CallKind::SyncAll, true),
        };
        self.shared.call_with(kind, &self.path, |core, twist| {
            let model = core.model;
            if let Twist::Fail(errno, effect) = twist {
                let reached = match effect {
                    Effect::None => Reached::Nothing,
                    Effect::Prefix => Reached::Half,
                    Effect::Whole => Reached::All,
                };
                let revert = model.failed_sync == FailedSync::RevertOld;
                let file = core.state_mut().file_mut(self.ino)?;
                file.sync_failed(all, reached, revert);
                self.reported.store(file.errors, Relaxed);
                core.fs_dead |= model.failed_sync == FailedSync::FsDead;
                return Err(error(errno));
            }
            if twist == Twist::Drop || model.syncs == Syncs::Lost {
                return Ok(());
            }
            let file = core.state.file(self.ino)?;
            let (errors, clean) = (file.errors, file.pend.is_none());
            if !clean {
                core.state_mut().file_mut(self.ino)?.sync(all);
            }
            if model.file_sync_keeps_name && !core.state.names.is_empty() {
                let leads_here =
                    |change: &super::names::Change| change.leads_to() == Some(self.ino);
                core.state_mut().sync_names(model.names, leads_here);
            }
            if self.reported.swap(errors, Relaxed) != errors {
                core.state_mut().file_mut(self.ino)?.unseen = false;
                return Err(error(Errno::IO));
            }
            Ok(())
        })
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.shared.call_with(CallKind::Allocate, &self.path, |core, twist| {
            core.note = Note::Range { offset, len };
            if core.lacks(Capability::Allocate) {
                return Err(error(Errno::OPNOTSUPP));
            }
            let end = offset.checked_add(len).filter(|end| len > 0 && *end <= 1 << 40);
            let end = end.ok_or_else(|| error(Errno::INVAL))?;
            let now = core.state.file(self.ino)?.len;
            if core.room(now, end) < end {
                return Err(error(Errno::NOSPC));
            }
            let grow = end.saturating_sub(now);
            let Some(grow) = Self::share(twist, grow) else { return Self::end(twist) };
            let how = core.writing();
            if grow > 0 {
                core.state_mut().file_mut(self.ino)?.set_len(how, now + grow);
            }
            Self::end(twist)
        })
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.shared.call_with(CallKind::Punch, &self.path, |core, twist| {
            core.note = Note::Range { offset, len };
            if core.lacks(Capability::Punch) {
                return Err(error(Errno::OPNOTSUPP));
            }
            let Some(len) = Self::share(twist, len) else { return Self::end(twist) };
            let how = core.writing();
            core.state_mut().file_mut(self.ino)?.zero(how, offset, len);
            Self::end(twist)
        })
    }

    fn reflink_from(&self, source: &dyn File) -> io::Result<()> {
        let source = source
            .as_any()
            .downcast_ref::<Self>()
            .filter(|file| Arc::ptr_eq(&file.shared, &self.shared))
            .ok_or_else(|| error(Errno::XDEV))?;
        self.shared.call_with(CallKind::Reflink, &self.path, |core, twist| {
            if core.lacks(Capability::Reflink) {
                return Err(error(Errno::OPNOTSUPP));
            }
            let from = core.state.file(source.ino)?.clone();
            let now = core.state.file(self.ino)?.len;
            if core.room(now, from.len) < from.len {
                return Err(error(Errno::NOSPC));
            }
            let Some(len) = Self::share(twist, from.len) else { return Self::end(twist) };
            let how = core.writing();
            core.state_mut().file_mut(self.ino)?.clone_from_file(how, &from, len);
            Self::end(twist)
        })
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        self.shared.call_with(CallKind::Map, &self.path, |core, twist| {
            if let Twist::Fail(errno, _) = twist {
                return Err(error(errno));
            }
            let file = core.state.file(self.ino)?;
            if len as u64 > file.len {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the map is longer than the file",
                ));
            }
            let mut bytes = vec![0; len].into_boxed_slice();
            file.read(&mut bytes, 0);
            if twist == Twist::Flip
                && let Some(byte) = bytes.get_mut(len / 2)
            {
                *byte ^= 4;
            }
            Ok(Map::copy(bytes))
        })
    }

    /// There are no pages behind it that could grow.
    fn map_ahead(&self, _len: usize) -> io::Result<Ahead> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn to_std(&self) -> io::Result<std::fs::File> {
        Err(error(Errno::OPNOTSUPP))
    }

    /// It never fails, so that it is no call that could.
    fn unlock(&self) -> io::Result<()> {
        self.release_lock(&mut self.shared.lock());
        Ok(())
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.call(CallKind::Lock, |core| {
            if core.lacks(Capability::Locks) {
                return Err(error(Errno::NOLCK));
            }
            let holders = core.locks.entry(self.ino).or_default();
            let free = holders.iter().all(|(handle, held)| {
                *handle == self.handle || (*held == Lock::Shared && lock == Lock::Shared)
            });
            if free {
                holders.retain(|(handle, _)| *handle != self.handle);
                holders.push((self.handle, lock));
            }
            Ok(free)
        })
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.set_meta(CallKind::SetMode, |meta| meta.mode = mode & 0o7777)
    }

    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        self.set_meta(CallKind::SetOwner, |meta| (meta.uid, meta.gid) = (uid, gid))
    }

    fn xattrs(&self) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        self.call(CallKind::Xattrs, |core| {
            if core.lacks(Capability::Xattrs) {
                return Err(error(Errno::OPNOTSUPP));
            }
            let xattrs = &core.state.file(self.ino)?.meta.xattrs;
            Ok(xattrs.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
        })
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        self.call(CallKind::SetXattr, |core| {
            if core.lacks(Capability::Xattrs) {
                return Err(error(Errno::OPNOTSUPP));
            }
            let seq = core.next_seq();
            core.state_mut().file_mut(self.ino)?.set_meta(seq, |meta| {
                Arc::make_mut(&mut meta.xattrs).insert(name.to_os_string(), value.to_vec());
            });
            Ok(())
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
