//! Who owns a store: the operating system's lock on a file that is never renamed, and never unlinked while it is held.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::temp::locked_and_named;
use crate::fs::{Dir, File, Fs, How, Lock, OsFs};
use crate::{Error, ErrorKind, Result};

/// The lock file of a store's directory.
pub(crate) const LOCK: &str = "LOCK";
/// What is read of a lock file at most.
const TEXT_MAX: usize = 512;

/// The ownership of a directory, as long as it lives. The death of the process ends it; no operator ever needs to.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Holds the lock.
    file: Arc<dyn File>,
    /// What it says of us.
    text: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The last descriptor of the file may be that of a process which is just being started elsewhere in the program.
        drop(self.file.unlock());
    }
}

impl Claim {
    /// Takes the lock of `dir`, or says who holds it.
    ///
    /// The file's text (process, host, time) is for people and for the error's words; the lock alone decides (C5).
    pub(crate) fn take(fs: &dyn Fs, dir: &dyn Dir) -> Result<Self> {
        Self::take_as(fs, dir, "")
    }

    /// As [`take`](Self::take); the text begins with `head`.
    pub(crate) fn take_as(fs: &dyn Fs, dir: &dyn Dir, head: &str) -> Result<Self> {
        const TRIES: u32 = 16;
        let path = dir.path().join(LOCK);
        let fail = |e: std::io::Error| {
            let unsupported = [rustix::io::Errno::NOLCK, rustix::io::Errno::OPNOTSUPP];
            let no_locks = unsupported.iter().any(|u| e.raw_os_error() == Some(u.raw_os_error()));
            let error = Error::system("lock", &path, e);
            if no_locks {
                error
                    .with_kind(ErrorKind::Unsupported)
                    .because("this file system has no locks, so two owners could not be told apart")
            } else {
                error
            }
        };
        for _ in 0..TRIES {
            let file = dir.open(OsStr::new(LOCK), How::Create(0o600)).map_err(fail)?;
            if locked_and_named(&*file, dir, OsStr::new(LOCK)).map_err(fail)? {
                let text = sign(fs, &*file, head).map_err(fail)?;
                return Ok(Self { file, text });
            }
            let named = dir.stat(OsStr::new(LOCK)).and_then(|s| Ok(s.same_inode(&file.stat()?)));
            if named.unwrap_or(false) {
                let what = match Holder::read(&*file) {
                    Some(holder) => {
                        format!("{holder} has it open; stop that process, or wait for it")
                    }
                    None => "another process has it open; stop it, or wait for it".to_owned(),
                };
                return Err(Error::new(ErrorKind::Locked, "lock", &path, what));
            }
            // The file was unlinked or replaced between open and lock: not the lock of this directory any more.
        }
        let what =
            "the lock file is replaced again and again; does something else clean this directory?";
        Err(Error::new(ErrorKind::Locked, "lock", &path, what))
    }

    /// Whether the name in `dir` leads to our lock file and that says what we wrote: nobody took it meanwhile, also where
    /// locks exclude nobody.
    pub(crate) fn stands(&self, dir: &dyn Dir) -> std::io::Result<bool> {
        if !dir.stat(OsStr::new(LOCK))?.same_inode(&self.file.stat()?) {
            return Ok(false);
        }
        let mut text = [0; TEXT_MAX];
        let len = self.file.read_at(&mut text, 0)?;
        Ok(text.get(..len) == Some(self.text.as_bytes()))
    }
}

/// Whether the lock of a directory that is claimed excludes another opener, by trying.
pub(crate) fn claim_excludes(dir: &dyn Dir) -> std::io::Result<bool> {
    let other = dir.open(OsStr::new(LOCK), How::Write)?;
    Ok(!other.try_lock(Lock::Exclusive)?)
}

/// Writes who we are. Not synced: after a crash there is no owner.
fn sign(fs: &dyn Fs, file: &dyn File, head: &str) -> std::io::Result<String> {
    let host = crate::sys::host_name();
    let mut text = head.to_owned();
    let pid = std::process::id();
    let written = writeln!(text, "pid {pid}\nhost {host}\nsince {}", fs.now().as_secs());
    written.map_err(std::io::Error::other)?;
    file.set_len(0)?;
    file.write_at(text.as_bytes(), 0)?;
    Ok(text)
}

/// Who claims to hold a store, by the text of its lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Process id on its host.
    pub pid: u32,
    /// Name of the host.
    pub host: String,
    /// Seconds since the Unix epoch when it took the lock.
    pub since: u64,
    /// Whether the lock is held now: `None` where the system does not tell without taking it.
    pub alive: Option<bool>,
}

impl Holder {
    fn read(file: &dyn File) -> Option<Self> {
        let mut text = [0; TEXT_MAX];
        let len = file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..len)?).ok()?;
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Some(Self {
            pid: field("pid")?.parse().ok()?,
            host: field("host")?.chars().filter(|c| !c.is_control()).collect(),
            since: field("since")?.parse().ok()?,
            alive: None,
        })
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// Who holds the store at `path`, a directory of ours; `None` if nobody ever opened it for writing.
///
/// Looks without taking the lock, so that it never makes an owner's open fail.
///
/// # Errors
/// `NotFound` and the system's.
pub fn holder(path: impl AsRef<Path>) -> Result<Option<Holder>> {
    let path = path.as_ref();
    let fail = |e| Error::system("look at", path, e);
    let dir = OsFs::new().open_dir(path).map_err(fail)?;
    holder_in(&*dir)
}

/// As [`holder`], of a held directory.
pub(crate) fn holder_in(dir: &dyn Dir) -> Result<Option<Holder>> {
    let fail = |e| Error::system("look at", dir.path(), e);
    let file = match dir.open(OsStr::new(LOCK), How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let Some(mut holder) = Holder::read(&*file) else { return Ok(None) };
    let stat = file.stat().map_err(fail)?;
    // Elsewhere (btrfs, overlay, nfs) the system's list of locks may name another device than `stat` does.
    let listed = ["ext4", "xfs", "f2fs", "tmpfs", "ramfs"];
    let kind = dir.file_system().map_err(fail)?;
    holder.alive = crate::sys::lock_is_held(stat.dev, stat.ino)
        .filter(|held| *held || listed.contains(&kind.as_str()));
    Ok(Some(holder))
}
