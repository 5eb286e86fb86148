//! A file written as a stream, that takes its name only when it is whole.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::replace::{Sites, publish, publish_checked};
use super::{Place, Temp};
use crate::fs::{Dir, File, Fs, How, OsFs, Rename, Stat, SyncSite};
use crate::{Durability, Error, ErrorKind, Outcome, Result};

/// Bytes collected before they are written.
const BUFFER: usize = 128 * 1024;

/// What a replace does with a symbolic link as its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Symlink {
    /// The file that the link leads to is replaced; the link stays.
    #[default]
    Follow,
    /// It is a `Precondition` error.
    Refuse,
}

/// What a replace does with owner, access control lists and extended attributes of the file that it replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// They are kept as far as the caller may; a mode with set-user-id loses that bit if the owner could not be kept.
    #[default]
    KeepOrIgnore,
    /// If they cannot be kept, nothing is replaced.
    KeepOrFail,
}

/// Options of [`replace_with`](crate::replace_with), [`create_new_with`](crate::create_new_with) and [`AtomicFile::with`].
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct ReplaceOptions {
    /// How long the new file lasts. Default `Synced`; `Buffered` leaves out both syncs.
    pub durability: Durability,
    /// What to do with a symbolic link. Default `Follow`.
    pub symlink: Symlink,
    /// What to do with owner and attributes of the old file. Default `KeepOrIgnore`.
    pub owner: Owner,
    /// Permission bits of the new file. Default: those of the file it replaces, else 0666 less the umask.
    pub mode: Option<u32>,
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
}

impl ReplaceOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            durability: Durability::default(),
            symlink: Symlink::default(),
            owner: Owner::default(),
            mode: None,
            fs: Arc::new(OsFs::new()),
        }
    }

    /// Sets how long the new file lasts.
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets what to do with a symbolic link.
    pub const fn symlink(mut self, symlink: Symlink) -> Self {
        self.symlink = symlink;
        self
    }

    /// Sets what to do with owner and attributes of the old file.
    pub const fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Sets the permission bits of the new file.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets the file system.
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }
}

impl Default for ReplaceOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A file that is written as a stream and takes the place of its target when it is committed.
///
/// Dropping it, or the death of the process, leaves the target as it was; the temporary beside it is unlinked, or taken
/// by the next [`sweep`](crate::sweep).
///
/// # Concurrency
/// Any number of writers may have the same target, in any number of processes: the last commit wins whole.
///
/// # Example
/// ```
/// use std::io::Write;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("report.csv");
/// let mut file = untorn::AtomicFile::create(&path)?;
/// for n in 0..1000 {
///     writeln!(file, "{n},{}", n * n)?;
/// }
/// assert!(!path.exists());
/// file.commit()?;
/// assert!(path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    temp: Temp,
    to: Place,
    rename: Rename,
    durability: Durability,
    sites: Sites,
    mode: u32,
    written: u64,
    buffer: Vec<u8>,
}

impl AtomicFile {
    /// Starts a replacement of `path`, with the default options.
    ///
    /// # Errors
    /// As [`replace`](crate::replace).
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::with(path, &ReplaceOptions::new())
    }

    /// Starts a replacement of `path`. Owner and attributes of the old file are put on the temporary here.
    ///
    /// # Errors
    /// As [`replace`](crate::replace); with [`Owner::KeepOrFail`] also the system's refusal to set them.
    pub fn with(path: impl AsRef<Path>, options: &ReplaceOptions) -> Result<Self> {
        let fs = &*options.fs;
        let (to, old) = Place::resolve(fs, "replace", path.as_ref(), options.symlink)?;
        let sites = Sites { file: SyncSite::ReplaceFile, dir: SyncSite::ReplaceDir };
        let known_mode = options.mode.or(old.map(|old| old.mode));
        let mut file = Self::start(fs, to, options.durability, known_mode, Rename::Replace, sites)?;
        if let Some(old) = old {
            file.keep_attributes(&old, options)?;
        }
        Ok(file)
    }

    /// Starts a file that must not exist, as [`create_new`](crate::create_new) makes it from bytes; `symlink` and `owner`
    /// have no effect. Looked at here, and again by the commit, which decides.
    ///
    /// # Errors
    /// As [`create_new`](crate::create_new).
    pub fn create_new(path: impl AsRef<Path>, options: &ReplaceOptions) -> Result<Self> {
        Self::new_name(path.as_ref(), options)
    }

    /// Starts a file that must not exist.
    pub(crate) fn new_name(path: &Path, options: &ReplaceOptions) -> Result<Self> {
        let fs = &*options.fs;
        let to = Place::of(fs, "create", path)?;
        if to.dir.stat(&to.name).is_ok() {
            let what = "something by that name is there already";
            return Err(Error::new(ErrorKind::AlreadyExists, "create", path, what));
        }
        let sites = Sites { file: SyncSite::PublishFile, dir: SyncSite::PublishDir };
        Self::start(fs, to, options.durability, options.mode, Rename::NoReplace, sites)
    }

    /// Starts a replacement of `name` in a store's own directory: no symlink, no attributes to keep but the mode.
    pub(crate) fn in_dir(
        fs: &dyn Fs,
        dir: &Arc<dyn Dir>,
        name: &OsStr,
        mode: u32,
        sites: Sites,
    ) -> Result<Self> {
        let to = Place { dir: Arc::clone(dir), name: name.to_os_string() };
        Self::start(fs, to, Durability::Synced, Some(mode), Rename::Replace, sites)
    }

    fn start(
        fs: &dyn Fs,
        to: Place,
        durability: Durability,
        known_mode: Option<u32>,
        rename: Rename,
        sites: Sites,
    ) -> Result<Self> {
        // Where the umask decides, the file is created with what it leaves of 0666: nobody can open it then who could not
        // open it later. Else nobody but its owner may, since the final mode may be as strict.
        let temp = Temp::create(fs, &to.dir, &to.name, known_mode.map_or(0o666, |_| 0o600))?;
        let mode = if let Some(mode) = known_mode {
            mode
        } else {
            let stat = temp.file().stat();
            stat.map_err(|e| Error::system("look at", temp.file().path(), e))?.mode
        };
        let buffer = Vec::new();
        Ok(Self { temp, to, rename, durability, sites, mode, written: 0, buffer })
    }

    /// Puts owner and extended attributes of the old file on the new one; the mode follows at the commit.
    fn keep_attributes(&mut self, old: &Stat, options: &ReplaceOptions) -> Result<()> {
        let file = &**self.temp.file();
        self.mode = keep_attributes(file, &self.to, old, options.mode, options.owner)?;
        Ok(())
    }

    /// Where the file will be: the end of the symlinks, if there were any.
    pub fn path(&self) -> PathBuf {
        self.to.path()
    }

    /// Makes the file whole, durable and visible under its name.
    ///
    /// # Durability
    /// **On `Ok`** (with `Synced`) the target has the new content after a power cut too. **On `Err`** the temporary is gone;
    /// [`Error::outcome`] says whether the target is `Unchanged`, `Unknown` or, where a directory cannot be synced, `Applied`.
    ///
    /// # Cost
    /// Two syncs (file, directory) and one rename; with `Buffered` no sync. Blocks.
    ///
    /// # Errors
    /// As [`replace`](crate::replace).
    pub fn commit(mut self) -> Result<()> {
        self.write_out()?;
        let file = self.temp.file();
        file.set_mode(self.mode).map_err(|e| Error::system("set the mode of", file.path(), e))?;
        publish(self.temp, &self.to, self.rename, self.durability, self.sites)
            .map(drop)
            .map_err(|e| explain(e, &self.to.path()))
    }

    /// Gives up: the target stays as it was, the temporary is unlinked. The same as dropping it, but says if that fails.
    ///
    /// # Errors
    /// The system's, if the temporary cannot be unlinked; a [`sweep`](crate::sweep) takes it later.
    pub fn discard(self) -> Result<()> {
        self.temp.remove()
    }

    /// As [`commit`](Self::commit); between the sync and the rename `check` looks at the bytes through a handle of its own. What
    /// it refuses gets no name.
    pub(crate) fn commit_checked(
        mut self,
        check: impl FnOnce(&dyn File) -> Result<()>,
    ) -> Result<()> {
        self.write_out()?;
        let file = self.temp.file();
        // Opened before the mode is set, which may forbid it.
        let fresh = self.temp.reopen()?;
        file.set_mode(self.mode).map_err(|e| Error::system("set the mode of", file.path(), e))?;
        let (to, sites) = (&self.to, self.sites);
        publish_checked(self.temp, to, self.rename, self.durability, sites, || check(&*fresh))
            .map(drop)
            .map_err(|e| explain(e, &to.path()))
    }

    /// Forgets what was written: the file is empty again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.buffer.clear();
        let file = self.temp.file();
        file.set_len(0).map_err(|e| Error::system("empty", file.path(), e))?;
        self.written = 0;
        Ok(())
    }

    /// Writes over bytes that were written before, such as a header whose fields are known only at the end.
    pub(crate) fn patch(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_out()?;
        let file = self.temp.file();
        file.write_at(bytes, offset).map_err(|e| Error::system("write", file.path(), e).at(offset))
    }

    /// Syncs what was written so far; the target stays as it is. After an error the file must not be committed (C3): drop it.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.write_out()?;
        self.temp.sync(self.sites.file)
    }

    /// What stands at the target now, open for reading.
    pub(crate) fn present(&self) -> Result<Option<Arc<dyn File>>> {
        self.to.open("replace")
    }

    /// Unlinks the temporaries that dead writers of this target left. Only tried: what cannot be looked at stays for a sweep.
    pub(crate) fn sweep_left_overs(&self) {
        drop(super::sweep::sweep_for(&*self.to.dir, &self.to.name));
    }

    /// Writes a whole content at once, past the buffer.
    pub(crate) fn write_whole(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_out()?;
        self.put(bytes)
    }

    fn write_out(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.put(&buffer);
        self.buffer = buffer;
        written?;
        self.buffer.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let file = &**self.temp.file();
        file.write_at(bytes, self.written)
            .map_err(|e| Error::system("write", file.path(), e).at(self.written))?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

impl io::Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len().saturating_add(bytes.len()) > BUFFER {
            self.write_out()?;
        }
        if bytes.len() >= BUFFER {
            self.put(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    /// Hands the buffered bytes to the system. Nothing is durable or visible before [`commit`](AtomicFile::commit).
    fn flush(&mut self) -> io::Result<()> {
        Ok(self.write_out()?)
    }
}

/// Puts owner and extended attributes of the file at `from` on `file`, and says which mode it should have: `mode` if given, else
/// the old one.
pub(crate) fn keep_attributes(
    file: &dyn File,
    from: &Place,
    old: &Stat,
    mode: Option<u32>,
    owner: Owner,
) -> Result<u32> {
    let strict = owner == Owner::KeepOrFail;
    let fail = |e| Error::system("keep the attributes of", &from.path(), e);
    let mut mode = mode.unwrap_or(old.mode);
    let new = file.stat().map_err(fail)?;
    if (new.uid, new.gid) != (old.uid, old.gid)
        && let Err(e) = file.set_owner(old.uid, old.gid)
    {
        if strict {
            return Err(fail(e));
        }
        // The group alone is often allowed. Under another owner the set-id bits would mean something else.
        drop(file.set_owner(new.uid, old.gid));
        mode &= 0o777;
    }
    let attributes = from.dir.open(&from.name, How::Read).and_then(|old| old.xattrs());
    let kept = attributes.and_then(|attributes| {
        attributes.iter().try_for_each(|(name, value)| file.set_xattr(name, value))
    });
    if let (Err(e), true) = (kept, strict) {
        return Err(fail(e));
    }
    Ok(mode)
}

/// Says why a rename into place cannot work here, where that is known.
pub(crate) fn explain(error: Error, target: &Path) -> Error {
    use std::error::Error as _;
    let errno = error
        .source()
        .and_then(|s| s.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    let busy = rustix::io::Errno::BUSY.raw_os_error();
    let crosses = rustix::io::Errno::XDEV.raw_os_error();
    let why = match errno {
        Some(e) if e == busy => {
            "it is a mount point of its own, which cannot be renamed over; mount its directory instead"
        }
        Some(e) if e == crosses => {
            "its directory spans file systems, so nothing can be renamed into place there"
        }
        _ => return error.with_path(target),
    };
    error
        .with_path(target)
        .with_kind(ErrorKind::Unsupported)
        .with_outcome(Outcome::Unchanged)
        .because(why)
}
