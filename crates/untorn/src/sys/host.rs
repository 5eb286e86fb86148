//! What the system says of itself: its name, who holds a lock, what kind of file system a directory is on.

use std::io;
use std::os::fd::BorrowedFd;

use super::Kernel;
use super::gate::Call;

/// The machine's name, for people.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether some process holds the lock of an inode; `None` where the system does not list its locks.
pub(crate) fn lock_is_held(dev: u64, ino: u64) -> Option<bool> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let device = (rustix::fs::major(dev), rustix::fs::minor(dev));
    Some(locks.lines().any(|line| locked_inode(line) == Some((device, ino))))
}

/// Device and inode of a line such as `1: FLOCK  ADVISORY  WRITE 4711 08:02:131 0 EOF`.
fn locked_inode(line: &str) -> Option<((u32, u32), u64)> {
    let mut fields = line.split_whitespace().skip(1);
    if fields.next()? != "FLOCK" {
        return None;
    }
    let place = fields.nth(3)?;
    let mut parts = place.split(':');
    let major = u32::from_str_radix(parts.next()?, 16).ok()?;
    let minor = u32::from_str_radix(parts.next()?, 16).ok()?;
    Some(((major, minor), parts.next()?.parse().ok()?))
}

impl Kernel {
    /// The kind of file system, as `mount` names it; its number where that is not known here.
    #[cfg(target_os = "linux")]
    pub(crate) fn file_system(&self, dir: BorrowedFd<'_>) -> io::Result<String> {
        const KNOWN: [(u64, &str); 17] = [
            (0xef53, "ext4"),
            (0x5846_5342, "xfs"),
            (0x9123_683e, "btrfs"),
            (0x2fc1_2fc1, "zfs"),
            (0xca45_1a4e, "bcachefs"),
            (0xf2f5_2010, "f2fs"),
            (0x0102_1994, "tmpfs"),
            (0x8584_58f6, "ramfs"),
            (0x794c_7630, "overlay"),
            (0x6969, "nfs"),
            (0xff53_4d42, "cifs"),
            (0xfe53_4d42, "smb2"),
            (0x0102_1997, "9p"),
            (0x00c3_6400, "ceph"),
            (0x5346_414f, "afs"),
            (0x6573_5546, "fuse"),
            (0x4d44, "vfat"),
        ];
        let stat = self.call(Call::Stat, || rustix::fs::fstatfs(dir))?;
        let magic = u64::try_from(stat.f_type).unwrap_or(0) & 0xffff_ffff;
        let known = KNOWN.iter().find(|(number, _)| *number == magic);
        Ok(known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned()))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn file_system(&self, dir: BorrowedFd<'_>) -> io::Result<String> {
        self.call(Call::Stat, || rustix::fs::fstatfs(dir))?;
        Ok("unknown".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_lock_list() {
        let line = "1: FLOCK  ADVISORY  WRITE 4711 08:1f:131 0 EOF";
        assert_eq!(locked_inode(line), Some(((8, 0x1f), 131)));
        assert_eq!(locked_inode("2: POSIX  ADVISORY  WRITE 1 08:02:9 0 EOF"), None);
        assert_eq!(locked_inode("1: -> FLOCK"), None);
        assert_eq!(locked_inode(""), None);
    }
}
