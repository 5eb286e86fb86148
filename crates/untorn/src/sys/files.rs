//! Calls on open files.

use super::gate::Call;
use super::{Ahead, Kernel, Mapping};
use rustix::fs::{FlockOperation, OFlags, Stat};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;

/// What one call transfers at most: some systems refuse counts above 2^31 instead of cutting them.
const TRANSFER_BYTES_MAX: usize = 1 << 30;

impl Kernel {
    /// Reads until `buf` is full or the file ends.
    pub(crate) fn read_at(
        &self,
        file: BorrowedFd<'_>,
        mut buf: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let mut done = 0_usize;
        while !buf.is_empty() {
            let at = position(offset, done)?;
            let len = buf.len().min(TRANSFER_BYTES_MAX);
            let got = self.transfer(Call::Read, len, |len| {
                rustix::io::pread(file, buf.get_mut(..len).unwrap_or_default(), at)
            })?;
            if got == 0 {
                break;
            }
            done = done.saturating_add(got);
            buf = buf.get_mut(got..).unwrap_or_default();
        }
        Ok(done)
    }

    /// Reads what the system has in memory, in one call; `None` unless that is all of it up to the end of the file.
    pub(crate) fn read_nowait(
        &self,
        file: BorrowedFd<'_>,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<Option<usize>> {
        let wanted = buf.len();
        let read = self
            .pass(Call::Read, wanted.min(TRANSFER_BYTES_MAX))
            .and_then(|len| Ok(read_nowait(file, buf.get_mut(..len).unwrap_or_default(), offset)?));
        match read {
            Ok(got) if got == wanted => Ok(Some(got)),
            // Short where the file ends, and where the rest would have to be waited for.
            Ok(got) => {
                let ends = super::to::<u64>(self.stat(file)?.st_size) <= position(offset, got)?;
                Ok(ends.then_some(got))
            }
            Err(error) if declined(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes all of `bytes`.
    pub(crate) fn write_at(
        &self,
        file: BorrowedFd<'_>,
        mut bytes: &[u8],
        offset: u64,
    ) -> io::Result<()> {
        let mut done = 0_usize;
        while !bytes.is_empty() {
            let at = position(offset, done)?;
            let len = bytes.len().min(TRANSFER_BYTES_MAX);
            let put = self.transfer(Call::Write, len, |len| {
                rustix::io::pwrite(file, bytes.get(..len).unwrap_or_default(), at)
            })?;
            if put == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            done = done.saturating_add(put);
            bytes = bytes.get(put..).unwrap_or_default();
        }
        Ok(())
    }

    pub(crate) fn set_len(&self, file: BorrowedFd<'_>, len: u64) -> io::Result<()> {
        self.call(Call::SetLen, || rustix::fs::ftruncate(file, len))
    }

    pub(crate) fn stat(&self, file: BorrowedFd<'_>) -> io::Result<Stat> {
        self.call(Call::Stat, || rustix::fs::fstat(file))
    }

    /// Makes a file opened without waiting an ordinary one.
    pub(crate) fn clear_flags(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.call(Call::SetFlags, || rustix::fs::fcntl_setfl(file, OFlags::empty()))
    }

    /// Makes bytes and size durable.
    pub(crate) fn sync_data(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.call(Call::SyncData, || {
            #[cfg(target_vendor = "apple")]
            return rustix::fs::fcntl_fullfsync(file);
            #[cfg(not(target_vendor = "apple"))]
            return rustix::fs::fdatasync(file);
        })
    }

    /// Makes a file with its mode, owner and times durable, or the names in a directory.
    pub(crate) fn sync_all(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.call(Call::SyncAll, || {
            // There fsync does not reach the medium.
            #[cfg(target_vendor = "apple")]
            return rustix::fs::fcntl_fullfsync(file);
            #[cfg(not(target_vendor = "apple"))]
            return rustix::fs::fsync(file);
        })
    }

    /// Reserves space, growing the file where needed.
    pub(crate) fn allocate(&self, file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        self.call(Call::Allocate, || allocate(file, offset, len))
    }

    /// Gives space back; it reads as zeros then.
    pub(crate) fn punch(&self, file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        self.call(Call::Punch, || punch(file, offset, len))
    }

    /// Lets `file` share the blocks of `source`.
    pub(crate) fn reflink(&self, file: BorrowedFd<'_>, source: BorrowedFd<'_>) -> io::Result<()> {
        self.call(Call::Reflink, || reflink(file, source))
    }

    /// Maps the first `len` bytes, which the caller knows to be within the file.
    pub(crate) fn map(&self, file: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        self.call(Call::Map, || Mapping::new(file, len))
    }

    /// Maps `len` bytes, of which the file need not have all yet.
    pub(crate) fn map_ahead(&self, file: BorrowedFd<'_>, len: usize) -> io::Result<Ahead> {
        self.call(Call::Map, || Ahead::new(file, len))
    }

    /// Takes the lock of the open file, or answers false if another has it.
    pub(crate) fn try_lock(&self, file: BorrowedFd<'_>, exclusive: bool) -> io::Result<bool> {
        let operation = if exclusive {
            FlockOperation::NonBlockingLockExclusive
        } else {
            FlockOperation::NonBlockingLockShared
        };
        match self.call(Call::Lock, || rustix::fs::flock(file, operation)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn unlock(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.call(Call::Lock, || rustix::fs::flock(file, FlockOperation::Unlock))
    }

    pub(crate) fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        let mode = super::names::mode_bits(mode);
        self.call(Call::SetMode, || rustix::fs::fchmod(file, mode))
    }

    pub(crate) fn set_owner(&self, file: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
        // The all-ones number means "leave it" to the system; nobody owns a file under it.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::INVAL.into());
        }
        let uid = rustix::fs::Uid::from_raw(uid);
        let gid = rustix::fs::Gid::from_raw(gid);
        self.call(Call::SetOwner, || rustix::fs::fchown(file, Some(uid), Some(gid)))
    }
}

/// The system itself refuses what does not fit into its signed offsets.
fn position(offset: u64, done: usize) -> io::Result<u64> {
    let done = u64::try_from(done).map_err(|_| Errno::FBIG)?;
    Ok(offset.checked_add(done).ok_or(Errno::FBIG)?)
}

#[cfg(target_os = "linux")]
fn read_nowait(file: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
    // To the call, this offset is where the file happens to be.
    if offset == u64::MAX {
        return Err(Errno::INVAL);
    }
    let mut bufs = [io::IoSliceMut::new(buf)];
    rustix::io::preadv2(file, &mut bufs, offset, rustix::io::ReadWriteFlags::NOWAIT)
}

#[cfg(not(target_os = "linux"))]
fn read_nowait(_: BorrowedFd<'_>, _: &mut [u8], _: u64) -> Result<usize, Errno> {
    Err(Errno::OPNOTSUPP)
}

/// Whether a read without waiting was not made, for a reason that does not concern one that waits.
fn declined(error: &io::Error) -> bool {
    // EINVAL: a kernel that does not know the flag.
    let reasons =
        [Errno::AGAIN, Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::INTR, Errno::PERM];
    reasons.iter().any(|reason| error.raw_os_error() == Some(reason.raw_os_error()))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate(file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), offset, len)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allocate(_: BorrowedFd<'_>, _: u64, _: u64) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn punch(file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    use rustix::fs::FallocateFlags;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, offset, len)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn punch(_: BorrowedFd<'_>, _: u64, _: u64) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(target_arch = "sparc", target_arch = "sparc64"))
))]
fn reflink(file: BorrowedFd<'_>, source: BorrowedFd<'_>) -> Result<(), Errno> {
    // A file system that knows no such ioctl at all answers ENOTTY.
    rustix::fs::ioctl_ficlone(file, source)
        .map_err(|errno| if errno == Errno::NOTTY { Errno::OPNOTSUPP } else { errno })
}

#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(any(target_arch = "sparc", target_arch = "sparc64"))
)))]
fn reflink(_: BorrowedFd<'_>, _: BorrowedFd<'_>) -> Result<(), Errno> {
    Err(Errno::OPNOTSUPP)
}
