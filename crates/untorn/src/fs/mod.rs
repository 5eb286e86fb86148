//! The seam to the disk: everything that untorn asks of a file system, in three traits.
//!
//! [`Fs`] opens directories and supplies clock and entropy; a [`Dir`] is a held directory, through which names are made,
//! changed and synced; a [`File`] is bytes at offsets. [`OsFs`] is the operating system, `SimFs` (feature `sim`) the
//! simulated disk of docs/DURABILITY.md. The traits are sealed until 1.0.
//!
//! # Rules that every implementation keeps
//! - F1 `read_at` fills the buffer; it returns less only where the file ends.
//! - F2 `write_at` writes all or fails; after a failure any part of the bytes may have been written.
//! - F3 Nothing but `sync` makes anything durable: a file's sync its bytes and size, a directory's sync its names.
//! - F4 Names are plain components, relative to the held directory; a symlink is never followed below it.
//! - F5 Errors are the system's own, with `raw_os_error` where there is one; interrupted calls are repeated inside.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod ahead;
pub(crate) mod name;
mod os;
#[cfg(test)]
mod os_tests;
mod read_mode;
mod site;

pub use crate::sys::Plain;
pub(crate) use crate::sys::{page_size, view};
pub use ahead::Ahead;
pub use os::OsFs;
pub use read_mode::ReadMode;
pub use site::SyncSite;

pub(crate) mod sealed {
    /// Only this crate implements the seam, so that methods can still be added.
    #[expect(unnameable_types, reason = "that nobody can name it is what seals the seam")]
    pub trait Sealed {}
}

/// A file system: opens directories, and is the source of time and of randomness, so that a simulated run replays.
pub trait Fs: Debug + Send + Sync + sealed::Sealed {
    /// Opens the directory at `path`, following symlinks in it.
    ///
    /// # Errors
    /// The system's: not found, not a directory, no permission, too many open files.
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>>;

    /// The path with `.`, `..` and all symlinks resolved; it must exist.
    ///
    /// # Errors
    /// The system's.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;

    /// Time since the Unix epoch, for names and reports; never used for a decision.
    fn now(&self) -> Duration;

    /// Time since some fixed point, never going back; for measuring.
    fn monotonic(&self) -> Duration;

    /// Fills `buf` with random bytes: salts, store ids, temporary names.
    ///
    /// # Errors
    /// The system's.
    fn entropy(&self, buf: &mut [u8]) -> io::Result<()>;
}

/// A held directory. Names in it are changed through the handle, so that a swapped parent cannot redirect them.
///
/// A name is one plain component: `InvalidInput` for an empty name, `.`, `..`, or one with `/` or NUL in it.
pub trait Dir: Debug + Send + Sync + sealed::Sealed {
    /// The path it was opened by, for messages.
    fn path(&self) -> &Path;

    /// Opens or creates the regular file `name`. A symlink is refused (ELOOP), never followed.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, name: &OsStr, how: How) -> io::Result<Arc<dyn File>>;

    /// Opens the subdirectory `name`. A symlink is refused.
    ///
    /// # Errors
    /// The system's.
    fn open_dir(&self, name: &OsStr) -> io::Result<Arc<dyn Dir>>;

    /// Makes the subdirectory `name` with `mode`, less the umask.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` if there is anything by that name.
    fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()>;

    /// What `name` is. A symlink is described itself, not what it leads to.
    ///
    /// # Errors
    /// The system's.
    fn stat(&self, name: &OsStr) -> io::Result<Stat>;

    /// Where the symlink `name` leads, as written in it.
    ///
    /// # Errors
    /// The system's; EINVAL if it is no symlink.
    fn read_link(&self, name: &OsStr) -> io::Result<PathBuf>;

    /// All names in the directory but `.` and `..`, sorted by their bytes.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<OsString>>;

    /// Whether there is no name in the directory but `.` and `..`. Reads no further than the first.
    ///
    /// # Errors
    /// The system's.
    fn is_empty(&self) -> io::Result<bool>;

    /// Gives `from` the name `to` in `to_dir`, a directory of the same file system (else EXDEV).
    ///
    /// # Errors
    /// The system's; with [`Rename::NoReplace`]: EEXIST if `to` exists, EINVAL, ENOSYS or EOPNOTSUPP where the system cannot.
    fn rename(&self, from: &OsStr, to_dir: &dyn Dir, to: &OsStr, mode: Rename) -> io::Result<()>;

    /// Gives the file `from` a second name `to` in `to_dir`.
    ///
    /// # Errors
    /// The system's; EEXIST if `to` exists.
    fn link(&self, from: &OsStr, to_dir: &dyn Dir, to: &OsStr) -> io::Result<()>;

    /// Takes the name of a file away.
    ///
    /// # Errors
    /// The system's.
    fn unlink(&self, name: &OsStr) -> io::Result<()>;

    /// Removes the empty subdirectory `name`.
    ///
    /// # Errors
    /// The system's; ENOTEMPTY if it is not empty.
    fn remove_dir(&self, name: &OsStr) -> io::Result<()>;

    /// The kind of file system it is on, as `mount` names it, or its number: for reports, never for a decision.
    ///
    /// # Errors
    /// The system's.
    fn file_system(&self) -> io::Result<String>;

    /// Makes all names made, changed and removed in this directory durable.
    ///
    /// # Errors
    /// The system's. A failed sync is final: a later one that succeeds proves nothing.
    fn sync(&self, site: SyncSite) -> io::Result<()>;

    /// For the implementation to find its own directory in an argument.
    #[doc(hidden)]
    fn as_any(&self) -> &dyn Any;
}

/// A regular file: bytes at offsets. All methods take `&self`; positions are the caller's.
pub trait File: Debug + Send + Sync + sealed::Sealed {
    /// The path it was opened by, for messages.
    fn path(&self) -> &Path;

    /// Reads from `offset` on until `buf` is full or the file ends; returns how many bytes were read.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`read_at`](Self::read_at) if the system has all of the bytes in memory; `None` if it would wait for the disk, or
    /// cannot tell. What is in `buf` after `None` has no meaning.
    ///
    /// # Errors
    /// The system's. It may also answer `None` then: `read_at` is what tells.
    fn read_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Writes all of `bytes` at `offset`, growing the file where needed.
    ///
    /// # Errors
    /// The system's; any part of the bytes may have been written by then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes, or grows it with zeros.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Size, kind, mode, owner and identity.
    ///
    /// # Errors
    /// The system's.
    fn stat(&self) -> io::Result<Stat>;

    /// Makes the bytes and the size durable; with [`SyncWhat::All`] also mode, owner and times.
    ///
    /// # Errors
    /// The system's. A failed sync is final: a later one that succeeds proves nothing.
    fn sync(&self, what: SyncWhat, site: SyncSite) -> io::Result<()>;

    /// Reserves space for `len` bytes at `offset`, growing the size where needed.
    ///
    /// # Errors
    /// The system's; EOPNOTSUPP where the file system cannot.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Turns `len` bytes at `offset` into zeros and gives their space back; the size stays.
    ///
    /// # Errors
    /// The system's; EOPNOTSUPP where the file system cannot.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes this file's content that of `source` by sharing its blocks.
    ///
    /// # Errors
    /// The system's; EOPNOTSUPP, EXDEV or EINVAL where the file system cannot.
    fn reflink_from(&self, source: &dyn File) -> io::Result<()>;

    /// A read-only map of the first `len` bytes, which must lie within the file.
    ///
    /// # Errors
    /// The system's; `InvalidInput` if the file is shorter.
    fn map(&self, len: usize) -> io::Result<Map>;

    /// A read-only map of `len` bytes from the beginning, of which the file need not have all yet: they become readable as it
    /// grows. The program dies of a read beyond the end.
    ///
    /// # Errors
    /// The system's; `Unsupported` on the simulated disk.
    fn map_ahead(&self, len: usize) -> io::Result<Ahead>;

    /// Takes the lock of this open file, shared or exclusive, without waiting; false if another open file holds it.
    ///
    /// # Errors
    /// The system's; ENOLCK or EOPNOTSUPP where the file system has no locks.
    fn try_lock(&self, lock: Lock) -> io::Result<bool>;

    /// Gives the lock up now, also where another process has this open file by inheritance: one that was just forked, and has
    /// not begun its program yet.
    ///
    /// # Errors
    /// The system's.
    fn unlock(&self) -> io::Result<()>;

    /// Sets the permission bits.
    ///
    /// # Errors
    /// The system's.
    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// Sets owner and group.
    ///
    /// # Errors
    /// The system's.
    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()>;

    /// The extended attributes (access control lists are among them), sorted by name; empty where there are none.
    ///
    /// # Errors
    /// The system's.
    fn xattrs(&self) -> io::Result<Vec<(OsString, Vec<u8>)>>;

    /// Sets one extended attribute.
    ///
    /// # Errors
    /// The system's.
    fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()>;

    /// Another handle of the same open file, as the standard library has them.
    ///
    /// # Errors
    /// The system's; EOPNOTSUPP if it is not a file of the operating system.
    fn to_std(&self) -> io::Result<std::fs::File>;

    /// For the implementation to find its own file in an argument.
    #[doc(hidden)]
    fn as_any(&self) -> &dyn Any;
}

/// How [`Dir::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; created empty with this mode, less the umask, if it does not exist.
    Create(u32),
    /// For reading and writing; it must not exist in any form; created with this mode, less the umask.
    CreateNew(u32),
}

/// What [`Dir::rename`] does if the new name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a name is replaced or it is not")]
pub enum Rename {
    /// The new name leads to the renamed file; what it led to before loses the name.
    Replace,
    /// It is an error.
    NoReplace,
}

/// What [`File::sync`] makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the two calls of the system")]
pub enum SyncWhat {
    /// The bytes, and the size where it grew (fdatasync).
    Data,
    /// Mode, owner and times too (fsync).
    All,
}

/// The two kinds of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the two locks of the system")]
pub enum Lock {
    /// Many may hold it at once.
    Shared,
    /// One holds it, and nobody the shared one.
    Exclusive,
}

/// What a name or a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// File, directory, symlink or something else.
    pub kind: Kind,
    /// Size in bytes.
    pub len: u64,
    /// Permission bits, set-user-id and the like: the low 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of the inode in its file system.
    pub ino: u64,
    /// Number of the file system.
    pub dev: u64,
    /// Number of names.
    pub nlink: u64,
}

impl Stat {
    /// Whether both describe the same inode.
    pub const fn same_inode(&self, other: &Self) -> bool {
        self.ino == other.ino && self.dev == other.dev
    }
}

/// What kind of thing a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe, a socket.
    Other,
}

/// A read-only view of a file's bytes, as long as it lives.
///
/// On the operating system it shows what is written to the file meanwhile; whoever hands out a map must see to it that
/// nobody shortens the file. On the simulated disk it is a copy, made when the map was.
pub struct Map(MapInner);

enum MapInner {
    #[cfg(feature = "sim")]
    Copy(Box<[u8]>),
    Os(crate::sys::Mapping),
}

impl Map {
    #[cfg(feature = "sim")]
    pub(crate) const fn copy(bytes: Box<[u8]>) -> Self {
        Self(MapInner::Copy(bytes))
    }

    pub(crate) const fn os(mapping: crate::sys::Mapping) -> Self {
        Self(MapInner::Os(mapping))
    }

    /// Copies bytes out, also such as are being written to the file meanwhile; false if they are not all in the map.
    pub(crate) fn copy_to(&self, offset: usize, buf: &mut [u8]) -> bool {
        match &self.0 {
            #[cfg(feature = "sim")]
            MapInner::Copy(bytes) => {
                let end = offset.checked_add(buf.len());
                let Some(bytes) = end.and_then(|end| bytes.get(offset..end)) else { return false };
                buf.copy_from_slice(bytes);
                true
            }
            MapInner::Os(mapping) => mapping.copy_to(offset, buf),
        }
    }

    /// Whether it shows what is written to the file meanwhile.
    pub(crate) const fn is_live(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "sim")]
            MapInner::Copy(_) => false,
            MapInner::Os(_) => true,
        }
    }
}

impl std::ops::Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            #[cfg(feature = "sim")]
            MapInner::Copy(bytes) => bytes,
            MapInner::Os(mapping) => mapping.as_slice(),
        }
    }
}

impl Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Map").field("len", &self.len()).finish()
    }
}
