//! Extended attributes.

use super::Kernel;
use super::gate::Call;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

/// Both calls tell the size first; it may have grown until the second.
const GROWTH_MAX: u32 = 16;

impl Kernel {
    /// Names and values, sorted by name; empty where the file system has none.
    pub(crate) fn xattrs(&self, file: BorrowedFd<'_>) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        let listed = self.sized(
            Call::ListXattr,
            || rustix::fs::flistxattr_query(file),
            |buf| rustix::fs::flistxattr(file, buf),
        );
        let names = match listed {
            Ok(names) => names,
            Err(error) if is(&error, &[Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS]) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let name = OsStr::from_bytes(name);
            let value = self.sized(
                Call::GetXattr,
                || rustix::fs::fgetxattr_query(file, name),
                |buf| rustix::fs::fgetxattr(file, name, buf),
            );
            match value {
                Ok(value) => found.push((name.to_os_string(), value)),
                // Removed since the list was made.
                Err(error) if is(&error, &GONE) => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    pub(crate) fn set_xattr(
        &self,
        file: BorrowedFd<'_>,
        name: &OsStr,
        value: &[u8],
    ) -> io::Result<()> {
        self.call(Call::SetXattr, || {
            rustix::fs::fsetxattr(file, name, value, rustix::fs::XattrFlags::empty())
        })
    }

    /// Calls first for the size, then for the bytes.
    fn sized(
        &self,
        call: Call,
        mut size: impl FnMut() -> Result<usize, Errno>,
        mut get: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
    ) -> io::Result<Vec<u8>> {
        let mut tries = 0_u32;
        loop {
            let len = self.call(call, &mut size)?;
            let mut bytes = vec![0; len];
            if len == 0 {
                return Ok(bytes);
            }
            match self.call(call, || get(&mut bytes)) {
                Ok(len) => {
                    bytes.truncate(len);
                    return Ok(bytes);
                }
                Err(error) if is(&error, &[Errno::RANGE]) && tries < GROWTH_MAX => {
                    tries = tries.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(target_vendor = "apple")]
const GONE: [Errno; 1] = [Errno::NOATTR];
#[cfg(not(target_vendor = "apple"))]
const GONE: [Errno; 1] = [Errno::NODATA];

fn is(error: &io::Error, any: &[Errno]) -> bool {
    any.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
