//! How a snapshot is written and read.

use std::fmt;
use std::sync::Arc;

use crate::codec::{Codec, Json};
use crate::commit::Owner;
use crate::fs::{Fs, OsFs};

use super::frame::PAYLOAD_MAX;

/// How the payload lies in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// Twelve bytes, then the payload, 4 GiB less one byte at most. The files of `actionqueue-storage` are the same, byte for byte.
    #[default]
    Frame,
    /// Blocks of up to 1 MiB, each with a checksum, of any size in all; says the codec and has room for a number.
    Blocks,
}

impl Layout {
    /// Its name in lower case, as the command line prints and takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Blocks => "blocks",
        }
    }
}

/// Says of a value why it must not be used, if so.
pub type Validate<S> = fn(&S) -> Result<(), String>;

/// Options of [`SnapshotFsWriter::with`](super::SnapshotFsWriter::with) and
/// [`SnapshotFsLoader::with`](super::SnapshotFsLoader::with): the same for both, so that what one writes the other takes.
///
/// # Example
/// ```
/// # #[cfg(feature = "json")] {
/// use untorn::snapshot::{Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotOptions, SnapshotWriter};
///
/// fn not_empty(words: &Vec<String>) -> Result<(), String> {
///     if words.is_empty() { Err("no words".to_owned()) } else { Ok(()) }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("words.snap");
/// let options = SnapshotOptions::new().layout(Layout::Blocks).validate(not_empty);
/// let mut writer = SnapshotFsWriter::with(&path, options.clone())?;
/// assert!(writer.write(&Vec::new()).is_err());
/// writer.write(&vec!["one".to_owned()])?;
/// writer.close()?;
/// assert_eq!(SnapshotFsLoader::with(&path, options).load()?, Some(vec!["one".to_owned()]));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[non_exhaustive]
pub struct SnapshotOptions<S, C = Json> {
    /// The layout that is written; a loader finds it from the file. Default [`Layout::Frame`].
    pub layout: Layout,
    /// The version in a frame's header; a loader takes no other. `Blocks` has none. Default 4.
    pub version: u32,
    /// What makes bytes of values. Default [`Json`].
    pub codec: C,
    /// The largest payload in bytes, in writing and in reading. Default [`MAX_PAYLOAD`](Self::MAX_PAYLOAD).
    pub max_payload: u64,
    /// Asked of each value before it is written and after it was read. Default: all are good.
    pub validate: Option<Validate<S>>,
    /// The number in the header of `Blocks`, such as that of the last event that it covers. Default 0, none.
    pub seq: u64,
    /// See [`if_newer_than`](Self::if_newer_than).
    pub if_newer_than: Option<u64>,
    /// Permission bits of the file. Default: those of the file it replaces, else 0666 less the umask.
    pub mode: Option<u32>,
    /// What to do with owner and attributes of the old file. Default `KeepOrIgnore`.
    pub owner: Owner,
    /// Whether the file is read back and verified before it takes its name. Default false.
    pub verify_after_write: bool,
    /// Whether an empty file is no snapshot, instead of a damaged one. Default false.
    pub empty_is_none: bool,
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
}

impl<S> SnapshotOptions<S> {
    /// The defaults.
    pub fn new() -> Self {
        Self::with_codec(Json)
    }
}

impl<S, C> SnapshotOptions<S, C> {
    /// The default of `max_payload`: 4,294,967,295 bytes, the most that the Frame layout holds.
    pub const MAX_PAYLOAD: u64 = PAYLOAD_MAX;

    /// The defaults, with a codec.
    pub fn with_codec(codec: C) -> Self {
        Self {
            layout: Layout::default(),
            version: 4,
            codec,
            max_payload: Self::MAX_PAYLOAD,
            validate: None,
            seq: 0,
            if_newer_than: None,
            mode: None,
            owner: Owner::default(),
            verify_after_write: false,
            empty_is_none: false,
            fs: Arc::new(OsFs::new()),
        }
    }

    /// Sets what makes bytes of values.
    pub fn codec<D: Codec<S>>(self, codec: D) -> SnapshotOptions<S, D> {
        let Self { layout, version, max_payload, validate, seq, if_newer_than, .. } = self;
        let Self { mode, owner, verify_after_write, empty_is_none, fs, .. } = self;
        SnapshotOptions {
            layout,
            version,
            codec,
            max_payload,
            validate,
            seq,
            if_newer_than,
            mode,
            owner,
            verify_after_write,
            empty_is_none,
            fs,
        }
    }

    /// Sets the layout that is written.
    pub const fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets the version of a frame.
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Sets the largest payload, in bytes.
    pub const fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = bytes;
        self
    }

    /// Sets what is asked of each value: before it is written, so that none is published that would be refused, and after it
    /// was read.
    pub const fn validate(mut self, validate: Validate<S>) -> Self {
        self.validate = Some(validate);
        self
    }

    /// Sets the number of the snapshot; `Layout::Blocks` only.
    pub const fn seq(mut self, seq: u64) -> Self {
        self.seq = seq;
        self
    }

    /// Sets the number of the snapshot, as [`seq`](Self::seq) does, and replaces only an older one: if a snapshot with this number
    /// or a greater one stands there, [`close`](super::SnapshotWriter::close) fails with `Stale` and nothing is changed. `Layout::Blocks` only.
    ///
    /// What has no number is older: no file, a frame, any other file. A header of `Blocks` that does not verify is an error, since what it covered
    /// cannot be told.
    ///
    /// It is looked at just before the rename, without a lock: of two writers that close in the same moment, both of which are newer
    /// than what stands there, the last one wins.
    pub const fn if_newer_than(mut self, seq: u64) -> Self {
        self.if_newer_than = Some(seq);
        self
    }

    /// Sets the permission bits of the file.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets what to do with owner and attributes of the old file.
    pub const fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Sets whether the file is read back, through a handle of its own, and verified before it takes its name.
    ///
    /// This finds what went wrong on the way to the system's cache. What a disk does to the bytes later, nobody sees here.
    pub const fn verify_after_write(mut self, verify: bool) -> Self {
        self.verify_after_write = verify;
        self
    }

    /// Sets whether an empty file is no snapshot: for files that `actionqueue-storage` left, which writes such. It hides a lost
    /// state.
    pub const fn empty_is_none(mut self, none: bool) -> Self {
        self.empty_is_none = none;
        self
    }

    /// Sets the file system.
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }

    /// The number that goes into the header.
    pub(super) fn number(&self) -> u64 {
        self.if_newer_than.unwrap_or(self.seq)
    }
}

impl<S> Default for SnapshotOptions<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, C: Clone> Clone for SnapshotOptions<S, C> {
    fn clone(&self) -> Self {
        Self {
            layout: self.layout,
            version: self.version,
            codec: self.codec.clone(),
            max_payload: self.max_payload,
            validate: self.validate,
            seq: self.seq,
            if_newer_than: self.if_newer_than,
            mode: self.mode,
            owner: self.owner,
            verify_after_write: self.verify_after_write,
            empty_is_none: self.empty_is_none,
            fs: Arc::clone(&self.fs),
        }
    }
}

impl<S, C> fmt::Debug for SnapshotOptions<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotOptions")
            .field("layout", &self.layout)
            .field("version", &self.version)
            .field("max_payload", &self.max_payload)
            .field("seq", &self.seq)
            .field("if_newer_than", &self.if_newer_than)
            .finish_non_exhaustive()
    }
}
