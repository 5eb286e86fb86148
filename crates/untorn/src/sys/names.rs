//! Calls on names, all relative to a held directory.

use super::Kernel;
use super::gate::Call;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

pub(super) const fn mode_bits(mode: u32) -> Mode {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Mode::from_raw_mode(mode & 0o7777);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[expect(clippy::cast_possible_truncation, reason = "twelve bits fit into sixteen")]
    return Mode::from_raw_mode((mode & 0o7777) as rustix::fs::RawMode);
}

impl Kernel {
    /// Opens a directory by its path, following symlinks.
    pub(crate) fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        self.call(Call::Open, || rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()))
    }

    /// Opens a subdirectory, not following a symlink.
    pub(crate) fn open_dir_at(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        self.call(Call::Open, || rustix::fs::openat(dir, name, flags, Mode::empty()))
    }

    /// Opens a file, not following a symlink and not waiting for the other end of a pipe.
    pub(crate) fn open_at(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        flags: OFlags,
        mode: u32,
    ) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
        self.call(Call::Open, || rustix::fs::openat(dir, name, flags, mode_bits(mode)))
    }

    pub(crate) fn make_dir(&self, dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<()> {
        self.call(Call::MakeDir, || rustix::fs::mkdirat(dir, name, mode_bits(mode)))
    }

    pub(crate) fn stat_at(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Stat> {
        self.call(Call::Stat, || rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    pub(crate) fn read_link(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<PathBuf> {
        let link = self.call(Call::ReadLink, || rustix::fs::readlinkat(dir, name, Vec::new()))?;
        Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
    }

    /// All names but `.` and `..`, sorted by their bytes.
    pub(crate) fn list(&self, dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
        let mut names = self.call(Call::List, || {
            // It opens the directory anew: the position of the held one is shared by all its users.
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(dir)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.push(OsStr::from_bytes(name).to_os_string());
                }
            }
            Ok::<_, io::Error>(names)
        })?;
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is no name but `.` and `..`.
    pub(crate) fn is_empty(&self, dir: BorrowedFd<'_>) -> io::Result<bool> {
        self.call(Call::List, || {
            for entry in rustix::fs::Dir::read_from(dir)? {
                let entry = entry?;
                if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    return Ok(false);
                }
            }
            Ok::<_, io::Error>(true)
        })
    }

    pub(crate) fn rename(
        &self,
        (from_dir, from): (BorrowedFd<'_>, &OsStr),
        (to_dir, to): (BorrowedFd<'_>, &OsStr),
    ) -> io::Result<()> {
        self.call(Call::Rename, || rustix::fs::renameat(from_dir, from, to_dir, to))
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    pub(crate) fn rename_no_replace(
        &self,
        (from_dir, from): (BorrowedFd<'_>, &OsStr),
        (to_dir, to): (BorrowedFd<'_>, &OsStr),
    ) -> io::Result<()> {
        self.call(Call::RenameNoReplace, || {
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(from_dir, from, to_dir, to, flags)
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    pub(crate) fn rename_no_replace(
        &self,
        _from: (BorrowedFd<'_>, &OsStr),
        _to: (BorrowedFd<'_>, &OsStr),
    ) -> io::Result<()> {
        self.call(Call::RenameNoReplace, || Err(rustix::io::Errno::NOSYS))
    }

    pub(crate) fn link(
        &self,
        (from_dir, from): (BorrowedFd<'_>, &OsStr),
        (to_dir, to): (BorrowedFd<'_>, &OsStr),
    ) -> io::Result<()> {
        // Without AT_SYMLINK_FOLLOW a symlink gets the second name itself.
        self.call(Call::Link, || rustix::fs::linkat(from_dir, from, to_dir, to, AtFlags::empty()))
    }

    pub(crate) fn unlink(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        self.call(Call::Unlink, || rustix::fs::unlinkat(dir, name, AtFlags::empty()))
    }

    pub(crate) fn remove_dir(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        self.call(Call::Unlink, || rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR))
    }
}
