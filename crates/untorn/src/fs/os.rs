//! The operating system behind the seam: held directories and files as file descriptors.
//!
//! # Invariants
//! - I1 A name passes `check_name` before it reaches the system.
//! - I2 What `Dir::open` hands out is a regular file, open for reading at least.

use super::name::check_name;
use super::{Ahead, Dir, File, Fs, How, Kind, Lock, Map, Rename, Stat, SyncSite, SyncWhat, sealed};
use crate::sys::{self, Kernel, to};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The operating system's file systems.
#[derive(Clone, Debug, Default)]
pub struct OsFs {
    kernel: Kernel,
}

impl OsFs {
    /// The operating system's file systems.
    pub fn new() -> Self {
        Self::default()
    }

    #[cfg(test)]
    pub(crate) const fn with_kernel(kernel: Kernel) -> Self {
        Self { kernel }
    }
}

impl sealed::Sealed for OsFs {}

impl Fs for OsFs {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        let fd = self.kernel.open_dir(path)?;
        Ok(Arc::new(OsDir { kernel: self.kernel.clone(), fd, path: path.to_path_buf() }))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.kernel.canonicalize(path)
    }

    fn now(&self) -> Duration {
        sys::now()
    }

    fn monotonic(&self) -> Duration {
        sys::monotonic()
    }

    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        self.kernel.entropy(buf)
    }
}

#[derive(Debug)]
struct OsDir {
    kernel: Kernel,
    fd: OwnedFd,
    path: PathBuf,
}

impl OsDir {
    /// What a failed open of `name` meant, where the system's answer does not say it.
    fn explain(&self, name: &OsStr, error: io::Error) -> io::Error {
        // ENXIO is what a socket answers, and a device that is not there.
        let unclear = error.raw_os_error() == Some(Errno::NXIO.raw_os_error());
        match self.stat(name) {
            Ok(stat) if unclear && stat.kind == Kind::Other => not_regular(&self.path.join(name)),
            _ => error,
        }
    }
}

impl sealed::Sealed for OsDir {}

impl Dir for OsDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &OsStr, how: How) -> io::Result<Arc<dyn File>> {
        check_name(name)?;
        let (flags, mode) = match how {
            How::Read => (OFlags::RDONLY, 0),
            How::Write => (OFlags::RDWR, 0),
            How::Create(mode) => (OFlags::RDWR | OFlags::CREATE, mode),
            How::CreateNew(mode) => (OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode),
        };
        let fd = self
            .kernel
            .open_at(self.fd.as_fd(), name, flags, mode)
            .map_err(|error| self.explain(name, error))?;
        let path = self.path.join(name);
        match stat_of(&self.kernel.stat(fd.as_fd())?).kind {
            Kind::File => {}
            Kind::Dir => return Err(Errno::ISDIR.into()),
            _ => return Err(not_regular(&path)),
        }
        // It was opened without waiting for the sake of pipes; reads and writes of a file are to wait.
        self.kernel.clear_flags(fd.as_fd())?;
        Ok(Arc::new(OsFile { kernel: self.kernel.clone(), fd, path }))
    }

    fn open_dir(&self, name: &OsStr) -> io::Result<Arc<dyn Dir>> {
        check_name(name)?;
        let fd = self.kernel.open_dir_at(self.fd.as_fd(), name)?;
        Ok(Arc::new(Self { kernel: self.kernel.clone(), fd, path: self.path.join(name) }))
    }

    fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        check_name(name)?;
        self.kernel.make_dir(self.fd.as_fd(), name, mode)
    }

    fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        check_name(name)?;
        Ok(stat_of(&self.kernel.stat_at(self.fd.as_fd(), name)?))
    }

    fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        check_name(name)?;
        self.kernel.read_link(self.fd.as_fd(), name)
    }

    fn list(&self) -> io::Result<Vec<OsString>> {
        self.kernel.list(self.fd.as_fd())
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.kernel.is_empty(self.fd.as_fd())
    }

    fn rename(&self, from: &OsStr, to_dir: &dyn Dir, to: &OsStr, mode: Rename) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        let from = (self.fd.as_fd(), from);
        let to = (own_dir(to_dir)?.fd.as_fd(), to);
        match mode {
            Rename::Replace => self.kernel.rename(from, to),
            Rename::NoReplace => self.kernel.rename_no_replace(from, to),
        }
    }

    fn link(&self, from: &OsStr, to_dir: &dyn Dir, to: &OsStr) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        let to_fd = own_dir(to_dir)?.fd.as_fd();
        self.kernel.link((self.fd.as_fd(), from), (to_fd, to))
    }

    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        check_name(name)?;
        self.kernel.unlink(self.fd.as_fd(), name)
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        check_name(name)?;
        self.kernel.remove_dir(self.fd.as_fd(), name)
    }

    fn sync(&self, _site: SyncSite) -> io::Result<()> {
        self.kernel.sync_all(self.fd.as_fd())
    }

    fn file_system(&self) -> io::Result<String> {
        self.kernel.file_system(self.fd.as_fd())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Debug)]
struct OsFile {
    kernel: Kernel,
    fd: OwnedFd,
    path: PathBuf,
}

impl sealed::Sealed for OsFile {}

impl File for OsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.kernel.read_at(self.fd.as_fd(), buf, offset)
    }

    fn read_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.kernel.read_nowait(self.fd.as_fd(), buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.kernel.write_at(self.fd.as_fd(), bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.kernel.set_len(self.fd.as_fd(), len)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&self.kernel.stat(self.fd.as_fd())?))
    }

    fn sync(&self, what: SyncWhat, _site: SyncSite) -> io::Result<()> {
        match what {
            SyncWhat::Data => self.kernel.sync_data(self.fd.as_fd()),
            SyncWhat::All => self.kernel.sync_all(self.fd.as_fd()),
        }
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.kernel.allocate(self.fd.as_fd(), offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.kernel.punch(self.fd.as_fd(), offset, len)
    }

    fn reflink_from(&self, source: &dyn File) -> io::Result<()> {
        let source = source.as_any().downcast_ref::<Self>().ok_or(Errno::XDEV)?;
        self.kernel.reflink(self.fd.as_fd(), source.fd.as_fd())
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        // Beyond the last page of the file the first touch would kill the program.
        if self.stat()?.len < u64::try_from(len).unwrap_or(u64::MAX) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is shorter than the {len} bytes to map", self.path.display()),
            ));
        }
        self.kernel.map(self.fd.as_fd(), len).map(Map::os)
    }

    fn map_ahead(&self, len: usize) -> io::Result<Ahead> {
        self.kernel.map_ahead(self.fd.as_fd(), len).map(Ahead)
    }

    fn to_std(&self) -> io::Result<std::fs::File> {
        self.fd.try_clone().map(Into::into)
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.kernel.try_lock(self.fd.as_fd(), lock == Lock::Exclusive)
    }

    fn unlock(&self) -> io::Result<()> {
        self.kernel.unlock(self.fd.as_fd())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.kernel.set_mode(self.fd.as_fd(), mode)
    }

    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        self.kernel.set_owner(self.fd.as_fd(), uid, gid)
    }

    fn xattrs(&self) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        self.kernel.xattrs(self.fd.as_fd())
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        self.kernel.set_xattr(self.fd.as_fd(), name, value)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn own_dir(dir: &dyn Dir) -> io::Result<&OsDir> {
    Ok(dir.as_any().downcast_ref().ok_or(Errno::XDEV)?)
}

#[cold]
fn not_regular(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a regular file", path.display()))
}

fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    };
    Stat {
        kind,
        len: to(stat.st_size),
        mode: to::<u32>(stat.st_mode) & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        ino: to(stat.st_ino),
        dev: to(stat.st_dev),
        nlink: to(stat.st_nlink),
    }
}
