//! The way to the kernel: the gate, and how often a call is repeated that was interrupted or found the file busy.

use super::gate::{Call, Gate};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// So many interruptions in a row are no accident: give up rather than hang.
const INTERRUPTIONS_MAX: u32 = 1 << 20;

/// EAGAIN has no meaning for a regular file, but some network file systems answer it under load.
const BUSY_MAX: u32 = 1 << 10;

/// The operating system's calls, one method each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    /// None is the plain kernel; only tests set one.
    gate: Option<Arc<dyn Gate>>,
}

impl Kernel {
    #[cfg(test)]
    pub(crate) fn with_gate(gate: Arc<dyn Gate>) -> Self {
        Self { gate: Some(gate) }
    }

    pub(super) fn pass(&self, call: Call, len: usize) -> io::Result<usize> {
        self.gate.as_ref().map_or(Ok(len), |gate| gate.pass(call, len))
    }

    /// Makes a call, again if it was interrupted.
    ///
    /// That goes for syncs too: the kernel interrupts a sync only while it waits for a server (FUSE, NFS), and the call
    /// that follows waits for all of it. An error of the disk is never EINTR.
    pub(super) fn call<T, E: Into<io::Error>>(
        &self,
        call: Call,
        mut make: impl FnMut() -> Result<T, E>,
    ) -> io::Result<T> {
        let mut interruptions = 0_u32;
        loop {
            match self.pass(call, 0).and_then(|_| make().map_err(Into::into)) {
                Err(error) if again(&error, &mut interruptions) => {}
                answer => return answer,
            }
        }
    }

    /// Makes a call that transfers up to `len` bytes, again if it was interrupted or the file was busy. The call is told
    /// how many bytes it may transfer and answers how many it did.
    pub(super) fn transfer<E: Into<io::Error>>(
        &self,
        call: Call,
        len: usize,
        mut make: impl FnMut(usize) -> Result<usize, E>,
    ) -> io::Result<usize> {
        let mut interruptions = 0_u32;
        let mut busy = 0_u32;
        loop {
            match self.pass(call, len).and_then(|len| make(len).map_err(Into::into)) {
                Err(error) if again(&error, &mut interruptions) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && busy < BUSY_MAX => {
                    busy = busy.saturating_add(1);
                    std::thread::yield_now();
                }
                answer => return answer,
            }
        }
    }

    pub(crate) fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.call(Call::Canonicalize, || std::fs::canonicalize(path))
    }

    /// Fills `buf` with random bytes.
    pub(crate) fn entropy(&self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let len = buf.len();
            let got = self.transfer(Call::Entropy, len, |len| {
                random(buf.get_mut(..len).unwrap_or_default())
            })?;
            match buf.split_at_mut_checked(got) {
                Some((_, rest)) if got > 0 => buf = rest,
                _ => return Err(io::Error::other("the system's random source is dry")),
            }
        }
        Ok(())
    }
}

fn again(error: &io::Error, interruptions: &mut u32) -> bool {
    *interruptions = interruptions.saturating_add(1);
    error.kind() == io::ErrorKind::Interrupted && *interruptions <= INTERRUPTIONS_MAX
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn random(buf: &mut [u8]) -> rustix::io::Result<usize> {
    rustix::rand::getrandom(buf, rustix::rand::GetRandomFlags::empty())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn random(buf: &mut [u8]) -> rustix::io::Result<usize> {
    use rustix::fs::{Mode, OFlags};
    let source = rustix::fs::open("/dev/urandom", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::read(source, buf)
}

/// Time since the Unix epoch.
pub(crate) fn now() -> Duration {
    duration(rustix::time::clock_gettime(rustix::time::ClockId::Realtime))
}

/// Time since some fixed point, never going back.
pub(crate) fn monotonic() -> Duration {
    duration(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

fn duration(time: rustix::time::Timespec) -> Duration {
    // A clock before 1970 is set wrong; names and reports get along with zero.
    Duration::new(to(time.tv_sec), to(time.tv_nsec))
}

/// Converts between integers of the system, whose widths differ from one to another; a negative becomes zero.
pub(crate) fn to<T: Default>(number: impl TryInto<T>) -> T {
    number.try_into().unwrap_or_default()
}
