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
use super::options::ProtocolVersion;
use super::reader::{Reader, Source};
use super::settings::{MemberSpec, Settings, settings_setters};
use crate::codec::{Codec, Raw};
use crate::{Error, ErrorKind, Result};

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

    settings_setters!();

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
