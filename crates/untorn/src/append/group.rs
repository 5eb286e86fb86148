//! Several files with one commit.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{AppendOnlyFile, Savepoint};
use super::follow::Follow;
use super::open::{GROUP, home_of};
use super::options::ProtocolVersion;
use super::publish::Published;
use super::reader::{Reader, Source};
use super::settings::{MemberSpec, Settings, settings_setters};
use super::snapshot::Snapshot;
use super::stats::{Commit, PruneReport, RecoveryReport};
use super::store::{Member, Store};
use crate::codec::{Codec, Raw};
use crate::commit::{self, Place, Sites};
use crate::fs::SyncSite;
use crate::{Durability, Error, ErrorKind, Result};

/// What one file of a group has.
#[derive(Clone, Debug)]
#[must_use]
pub struct FileSpec {
    fixed: u32,
    fixed_zero: bool,
    codec: &'static str,
    version: u32,
    size_file: Option<PathBuf>,
}

impl FileSpec {
    /// Elements of so many bytes.
    pub const fn fixed(size: u32) -> Self {
        let mut spec = Self::variable();
        (spec.fixed, spec.fixed_zero) = (size, size == 0);
        spec
    }

    /// Elements that differ in size.
    pub const fn variable() -> Self {
        Self { fixed: 0, fixed_zero: false, codec: "raw", version: 0, size_file: None }
    }

    /// Sets the codec by which elements are encoded. Default [`Raw`].
    pub const fn codec<T, C: Codec<T>>(mut self) -> Self {
        self.codec = C::NAME;
        self
    }

    /// Sets the version of the elements' encoding. Default 0.
    pub const fn version(mut self, version: ProtocolVersion) -> Self {
        self.version = version.0;
        self
    }

    /// Where `grin_store` has the sizes of the elements, for a file that is taken over.
    pub fn size_file(mut self, path: impl AsRef<Path>) -> Self {
        self.size_file = Some(path.as_ref().to_path_buf());
        self
    }
}

/// Options of an [`AppendGroup`]: where its home is, and its files.
#[derive(Clone, Debug)]
#[must_use]
pub struct GroupOptions {
    home: PathBuf,
    files: Vec<(MemberSpec, bool)>,
    settings: Settings,
}

impl GroupOptions {
    /// Adds a file. Names tell the files of a group apart; a group has the same ones, in the same order, each time.
    pub fn file(mut self, name: &str, path: impl AsRef<Path>, spec: FileSpec) -> Self {
        let mut member = MemberSpec::new(path.as_ref(), spec.fixed);
        name.clone_into(&mut member.name);
        member.codec = spec.codec;
        member.version = spec.version;
        member.size_file = spec.size_file;
        self.files.push((member, spec.fixed_zero));
        self
    }

    settings_setters!();

    /// Opens or creates the group and its files.
    ///
    /// # Errors
    /// `InvalidInput` for no files, or two of one name or path; else as [`AppendOnlyFile::open`].
    pub fn open(self) -> Result<AppendGroup> {
        let (home, specs) = self.check()?;
        for spec in &specs {
            claim_member(&self.settings, spec, &self.home)?;
        }
        let settings = self.settings.clone();
        let store = Store::open(&home, self.home, &specs, settings)?;
        Ok(AppendGroup { store })
    }

    /// A reader of the group, also while its owner writes, and after his death; as [`OpenOptions::open_read_only`](super::OpenOptions::open_read_only). Which files it has
    /// is read from its home: none need be named.
    ///
    /// # Errors
    /// `NotFound`; `Damaged`, `Stale`, `NotOurs`, `NewerFormat`, `Io`.
    pub fn open_read_only(self) -> Result<GroupReader> {
        let Some(follow) = Follow::open(&self.home, &self.settings)? else {
            let what = "there is no such group";
            return Err(Error::new(ErrorKind::NotFound, "open group", &self.home, what));
        };
        follow.look()?;
        Ok(GroupReader { follow })
    }

    pub(super) fn check(&self) -> Result<(Place, Vec<MemberSpec>)> {
        let refuse =
            |what: String| Err(Error::new(ErrorKind::InvalidInput, "open group", &self.home, what));
        if self.files.is_empty() {
            return refuse("a group has at least one file".to_owned());
        }
        for (nth, (file, zero)) in self.files.iter().enumerate() {
            if *zero || file.name.is_empty() {
                let what = "a file of a group has a name, and elements of fixed size a byte";
                return refuse(what.to_owned());
            }
            let twice = |(other, _): &(MemberSpec, bool)| {
                other.name == file.name || other.path == file.path
            };
            if self.files.iter().take(nth).any(twice) {
                return refuse(format!("`{}` is named twice, or its path is", file.name));
            }
        }
        let specs = self.files.iter().map(|(file, _)| file.clone()).collect();
        Ok((home_of(&self.settings, &self.home)?, specs))
    }
}

/// Leaves word in a file's own home that it belongs to the group.
fn claim_member(settings: &Settings, spec: &MemberSpec, group: &Path) -> Result<()> {
    let home = home_of(settings, &spec.path)?;
    let dir = commit::make_dir_if_missing(&*home.dir, &home.name, 0o700)?;
    if dir.stat(GROUP.as_ref()).is_ok() {
        return Ok(());
    }
    if dir.stat(super::open::META.as_ref()).is_ok() {
        let what = "it has been opened alone, and has a store of its own; import it into the group instead";
        return Err(Error::new(ErrorKind::Precondition, "open group", &spec.path, what));
    }
    let sites = Sites { file: SyncSite::AppendMetaFile, dir: SyncSite::AppendMetaDir };
    let name = group.as_os_str().as_encoded_bytes();
    commit::replace_in(&*settings.fs, &dir, GROUP.as_ref(), name, Durability::Synced, sites)
}

/// Several append-only files that move from state to state as one: one lock, one log, one commit.
///
/// ```
/// use untorn::append::{AppendGroup, FileSpec};
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// let mut chain = AppendGroup::options(dir.join("chain"))
///     .file("hash", dir.join("hash.bin"), FileSpec::fixed(4))
///     .file("body", dir.join("body.bin"), FileSpec::variable())
///     .open()?;
/// chain.file::<Vec<u8>>("hash")?.append(b"abcd")?;
/// chain.file::<Vec<u8>>("body")?.append(b"a longer text")?;
/// chain.annotate(b"block 1")?;
/// let commit = chain.flush()?; // both, in one sync
/// assert_eq!(commit.syncs, 1);
/// let state = chain.snapshot();
/// assert_eq!(state.file::<Vec<u8>>("body")?.get(0)?, b"a longer text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AppendGroup {
    store: Store,
}

impl AppendGroup {
    /// Options of a group whose home is `NAME.untorn` beside its files, or wherever `home` says.
    pub fn options(home: impl AsRef<Path>) -> GroupOptions {
        let home = home.as_ref().to_path_buf();
        GroupOptions { home, files: Vec::new(), settings: Settings::default() }
    }

    /// One of its files. Its `flush` commits the whole group; what is pending stays with the group.
    ///
    /// # Errors
    /// `NotFound`: it has no such file; `Precondition`: the file has another codec.
    pub fn file<T>(&mut self, name: &str) -> Result<AppendOnlyFile<T, Raw, &mut Store>> {
        self.file_with(name, Raw, "raw")
    }

    /// One of its files, whose elements are encoded by a codec.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn file_as<T, C: Codec<T>>(
        &mut self,
        name: &str,
        codec: C,
    ) -> Result<AppendOnlyFile<T, C, &mut Store>> {
        self.file_with(name, codec, C::NAME)
    }

    fn file_with<T, C>(
        &mut self,
        name: &str,
        codec: C,
        codec_name: &str,
    ) -> Result<AppendOnlyFile<T, C, &mut Store>> {
        let nth = find(&self.store, name, codec_name)?;
        Ok(AppendOnlyFile::of_group(&mut self.store, nth, Arc::new(codec)))
    }

    /// The names of its files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.store.members.iter().map(|member| member.spec.name.as_str())
    }

    /// As [`AppendOnlyFile::flush`], of all files.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::flush`].
    pub fn flush(&mut self) -> Result<Commit> {
        self.store.commit(Durability::Synced)
    }

    /// As [`AppendOnlyFile::write`], of all files.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::write`].
    pub fn write(&mut self) -> Result<Commit> {
        self.store.commit(Durability::Buffered)
    }

    /// As [`AppendOnlyFile::sync`], of all files.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::sync`].
    pub fn sync(&mut self) -> Result<Commit> {
        self.store.sync()
    }

    /// Forgets what is pending, of all files.
    pub fn discard(&mut self) {
        self.store.next_note = None;
        self.store.members.iter_mut().for_each(Member::discard);
    }

    /// Marks what is pending in all files.
    pub fn savepoint(&self) -> Savepoint {
        let pending = self.store.members.iter().map(|member| member.pending.copied());
        let pending = pending.enumerate().collect();
        Savepoint { store: self.store.id, seq: self.store.seq, pending }
    }

    /// Makes pending what was pending at the savepoint.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::rollback_to`].
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        self.store.rollback_to(savepoint)
    }

    /// As [`AppendOnlyFile::annotate`].
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn annotate(&mut self, note: &[u8]) -> Result<()> {
        self.store.annotate(note)
    }

    /// The note of the last commit that had one.
    pub fn note(&self) -> &[u8] {
        &self.store.note
    }

    /// Drops elements of several files in one commit; their positions shift.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::compact`]; `NotFound` for a name that it does not have.
    pub fn compact(&mut self, dead: &[(&str, &[u64])]) -> Result<Vec<PruneReport>> {
        let mut reports = Vec::new();
        for (name, dead) in dead {
            let nth = self.find(name)?;
            reports.push(self.store.prepare(nth, dead)?);
        }
        self.store.replace()?;
        Ok(reports)
    }

    fn find(&self, name: &str) -> Result<usize> {
        let found = self.store.members.iter().position(|member| member.spec.name == name);
        found.ok_or_else(|| {
            let what = format!("the group has no file `{name}`");
            Error::new(ErrorKind::NotFound, "use", &self.store.path, what)
        })
    }

    /// What is committed now, of all files.
    pub fn snapshot(&self) -> GroupSnapshot {
        let names = self.names().map(str::to_owned).collect();
        GroupSnapshot { state: self.store.shared.visible(), names, path: self.store.path.clone() }
    }

    /// A reader of one of its files.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn reader<T>(&self, name: &str) -> Result<Reader<T>> {
        let nth = self.find(name)?;
        Ok(Reader::of(Source::Local(Arc::clone(&self.store.shared)), nth, Arc::new(Raw)))
    }

    /// What the open found and did.
    pub const fn recovery(&self) -> &RecoveryReport {
        &self.store.report
    }

    /// Records that the group was closed in order, and gives up the lock. As [`AppendOnlyFile::close`].
    ///
    /// # Errors
    /// As [`AppendOnlyFile::close`].
    pub fn close(mut self) -> Result<()> {
        self.store.shared.close();
        self.store.close()
    }
}

fn find(store: &Store, name: &str, codec: &str) -> Result<usize> {
    let found = store.members.iter().position(|member| member.spec.name == name);
    let refuse = |kind, what: String| Err(Error::new(kind, "use", &store.path, what));
    let Some(nth) = found else {
        return refuse(ErrorKind::NotFound, format!("the group has no file `{name}`"));
    };
    match store.members.get(nth) {
        Some(member) if member.spec.codec != codec => {
            let has = member.spec.codec;
            let what = format!("the codec of `{name}` is `{has}`, not `{codec}`");
            refuse(ErrorKind::Precondition, what)
        }
        _ => Ok(nth),
    }
}

impl fmt::Debug for AppendGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendGroup")
            .field("path", &self.store.path)
            .field("seq", &self.store.seq)
            .finish_non_exhaustive()
    }
}

/// Reads a group of another process. See [`GroupOptions::open_read_only`].
#[derive(Clone, Debug)]
pub struct GroupReader {
    follow: Arc<Follow>,
}

impl GroupReader {
    /// The last commit, of all files.
    ///
    /// # Errors
    /// `Stale` if the owner changes the group all the time; `Damaged`, `Io`.
    pub fn snapshot(&self) -> Result<GroupSnapshot> {
        let names = self.names().map(str::to_owned).collect();
        Ok(GroupSnapshot {
            state: self.follow.look()?,
            names,
            path: self.follow.path().to_path_buf(),
        })
    }

    /// A reader of one of the files.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn reader<T>(&self, name: &str) -> Result<Reader<T>> {
        let nth = self.names().position(|known| known == name);
        let nth = nth.ok_or_else(|| {
            let what = format!("the group has no file `{name}`");
            Error::new(ErrorKind::NotFound, "use", self.follow.path(), what)
        })?;
        Ok(Reader::of(Source::Foreign(Arc::clone(&self.follow)), nth, Arc::new(Raw)))
    }

    /// The names of its files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.follow.meta().members.iter().map(|member| member.name.as_str())
    }
}

/// One commit of all files of a group, for as long as it is held.
#[derive(Clone)]
pub struct GroupSnapshot {
    state: Arc<Published>,
    names: Vec<String>,
    path: PathBuf,
}

impl GroupSnapshot {
    /// The number of the commit.
    pub fn seq(&self) -> u64 {
        self.state.seq
    }

    /// One of the files.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn file<T>(&self, name: &str) -> Result<Snapshot<T>> {
        let nth = self.names.iter().position(|known| known == name);
        let found = nth.and_then(|nth| Snapshot::of(Arc::clone(&self.state), nth, Arc::new(Raw)));
        found.ok_or_else(|| {
            let what = format!("the group has no file `{name}`");
            Error::new(ErrorKind::NotFound, "use", &self.path, what)
        })
    }
}

impl fmt::Debug for GroupSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSnapshot").field("seq", &self.seq()).finish_non_exhaustive()
    }
}
