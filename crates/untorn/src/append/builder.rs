//! How a file is opened.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use super::begin::resolve;
use super::check::CheckReport;
use super::file::{Again, AppendOnlyFile};
use super::follow::{Follow, plain};
use super::open::home_of;
use super::options::{OnForeign, ProtocolVersion, Verify};
use super::reader::{Reader, Source};
use super::settings::{MemberSpec, Settings};
use crate::codec::{Codec, Raw};
use crate::fs::{Fs, ReadMode};
use crate::{Error, ErrorKind, OnDamage, Result};

/// Options of an [`AppendOnlyFile`]. All are checked by [`open`](Self::open).
///
/// ```
/// use untorn::append::OpenOptions;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("hashes.bin");
/// let mut hashes = OpenOptions::<Vec<u8>>::new().fixed(32).open(&path)?;
/// hashes.append(&[7; 32])?;
/// hashes.flush()?;
/// assert_eq!(hashes.read(0)?, [7; 32]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct OpenOptions<T, C = Raw> {
    spec: MemberSpec,
    /// Set to nothing by mistake.
    fixed_zero: bool,
    settings: Settings,
    codec: Arc<C>,
    element: PhantomData<fn() -> T>,
}

impl<T> OpenOptions<T> {
    /// Elements of variable size, as bytes; protocol version 0.
    pub fn new() -> Self {
        Self {
            spec: MemberSpec::new(Path::new(""), 0),
            fixed_zero: false,
            settings: Settings::default(),
            codec: Arc::new(Raw),
            element: PhantomData,
        }
    }
}

impl<T> Default for OpenOptions<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, C> OpenOptions<T, C> {
    /// All elements have this many bytes.
    pub fn fixed(mut self, size: u32) -> Self {
        self.spec.fixed = size;
        self.fixed_zero = size == 0;
        self
    }

    /// Elements differ in size. The default.
    pub fn variable(mut self) -> Self {
        self.spec.fixed = 0;
        self.fixed_zero = false;
        self
    }

    /// Where `grin_store` has the sizes of the elements: read when the file is taken over, replaced at each
    /// [`close`](AppendOnlyFile::close).
    pub fn size_file(mut self, path: impl AsRef<Path>) -> Self {
        self.spec.size_file = Some(path.as_ref().to_path_buf());
        self
    }

    /// The version of the elements' encoding. Default 0.
    pub fn version(mut self, version: ProtocolVersion) -> Self {
        self.spec.version = version.0;
        self
    }

    /// Other versions that a file may have as well.
    pub fn accept_versions(mut self, versions: &[ProtocolVersion]) -> Self {
        self.spec.accept = versions.iter().map(|version| version.0).collect();
        self
    }

    /// How elements are encoded; the name is kept with the file.
    pub fn codec<D: Codec<T>>(self, codec: D) -> OpenOptions<T, D> {
        let spec = MemberSpec { codec: D::NAME, ..self.spec };
        let (fixed_zero, settings) = (self.fixed_zero, self.settings);
        OpenOptions { spec, fixed_zero, settings, codec: Arc::new(codec), element: PhantomData }
    }

    /// The largest element. Default, and at most, 4 GiB less a byte.
    pub fn max_element(mut self, bytes: u32) -> Self {
        self.spec.max_element = bytes;
        self
    }

    /// Up to so many bytes of a commit ride in its record, so that one sync does. Default 64 KiB.
    pub fn inline_limit(mut self, bytes: usize) -> Self {
        self.settings.inline_limit = bytes;
        self
    }

    /// Bytes of records after which a checkpoint is made: what an open after a crash may have to write again. Default 64 MiB.
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.settings.checkpoint_bytes = bytes;
        self
    }

    /// Addresses that are reserved for the map at least. Default: four times the file, and 64 MiB at least.
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.settings.reserve = bytes;
        self
    }

    /// Bytes that a rewind may copy to memory for snapshots that are held. Default 64 MiB.
    pub fn snapshot_copy_max(mut self, bytes: u64) -> Self {
        self.settings.snapshot_copy_max = bytes;
        self
    }

    /// How the data is read. Default: from a map, but on a network file system.
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.settings.read_mode = mode;
        self
    }

    /// When bytes are compared with their checksums. Default: when they are first touched.
    pub fn verify(mut self, verify: Verify) -> Self {
        self.settings.verify = verify;
        self
    }

    /// What to do if committed bytes do not verify at the open. Default: refuse.
    pub fn on_damage(mut self, on_damage: OnDamage) -> Self {
        self.settings.on_damage = on_damage;
        self
    }

    /// What to do if a foreign program changed the length of the file while it was closed. Default: refuse.
    pub fn on_foreign(mut self, on_foreign: OnForeign) -> Self {
        self.settings.on_foreign = on_foreign;
        self
    }

    /// Whether elements of zeros at the end of a file that is taken over are cut, with a copy. Default: they are only reported.
    pub fn trim_zero_tail(mut self, trim: bool) -> Self {
        self.settings.trim_zero_tail = trim;
        self
    }

    /// Whether a file that does not exist is made. Default yes.
    pub fn create(mut self, create: bool) -> Self {
        self.settings.create = create;
        self
    }

    /// Is told how far long work is, in bytes done and bytes in all: taking over a file, compaction.
    pub fn progress(mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.settings.progress = Some(Arc::new(progress));
        self
    }

    /// The file system. Default [`OsFs`](crate::fs::OsFs).
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.settings.fs = fs;
        self
    }

    /// Size that segments of the log grow to.
    #[doc(hidden)]
    pub fn log_segment_bytes(mut self, bytes: u64) -> Self {
        self.settings.log_segment_bytes = bytes;
        self
    }

    /// Opens or creates the file, as [`AppendOnlyFile::open`] does.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::open`]; `NotFound` if there is none and it is not to be made.
    pub fn open(self, path: impl AsRef<Path>) -> Result<AppendOnlyFile<T, C>> {
        let codec = Arc::clone(&self.codec);
        AppendOnlyFile::with(self.again(path.as_ref())?, codec)
    }

    /// A reader of the file, also while its owner writes, and after his death. Takes no lock, writes nothing; a crash that was not healed is seen
    /// through. A file without a store of ours is read as it is, if its elements have a fixed size.
    ///
    /// What it reads is copied: [`Snapshot::get_cow`](super::Snapshot::get_cow), [`Reader::with`]. If the owner takes away meanwhile what is read, the answer is `Stale`.
    ///
    /// # Cost
    /// Opening reads what the log has since the last checkpoint, and keeps the bytes that it carries in memory. Each read looks at the log again.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` for another element size, codec or version; `Damaged`, `Stale`, `NotOurs`, `NewerFormat`, `Io`.
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Reader<T, C>> {
        let codec = Arc::clone(&self.codec);
        let again = self.again(path.as_ref())?;
        let source = if let Some(follow) = Follow::open(&again.path, &again.settings)? {
            super::open::expect(follow.meta(), &again.path, std::slice::from_ref(&again.spec))?;
            follow.look()?;
            Source::Foreign(follow)
        } else {
            let place = resolve(&again.settings, &again.path)?;
            Source::Plain(Arc::new(plain(&place, again.spec.fixed, &again.settings)?))
        };
        Ok(Reader::of(source, 0, codec))
    }

    /// Verifies every block without changing a byte, also beside a living owner, and says what an open would do. Nothing is
    /// asked of element size, codec and version. A path may also be a group's.
    ///
    /// # Errors
    /// `NotFound` if there is no store; `Damaged` if log or META do not verify; `Stale`, `Io`.
    pub fn check(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64, u64),
    ) -> Result<CheckReport> {
        super::check::check(path.as_ref(), &self.settings, progress)
    }

    pub(super) fn again(self, path: &Path) -> Result<Again> {
        if self.fixed_zero {
            let what = "elements of fixed size have at least one byte";
            return Err(Error::new(ErrorKind::InvalidInput, "open", path, what));
        }
        let home = home_of(&self.settings, path)?;
        let spec = MemberSpec { path: path.to_path_buf(), ..self.spec };
        Ok(Again { home, path: path.to_path_buf(), spec, settings: self.settings })
    }
}

impl<T, C> Clone for OpenOptions<T, C> {
    fn clone(&self) -> Self {
        Self {
            spec: self.spec.clone(),
            fixed_zero: self.fixed_zero,
            settings: self.settings.clone(),
            codec: Arc::clone(&self.codec),
            element: PhantomData,
        }
    }
}

impl<T, C> fmt::Debug for OpenOptions<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("fixed", &self.spec.fixed)
            .field("codec", &self.spec.codec)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
