//! What a chunked file can be told when it is opened and when it is committed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::digest::{Digest, MakeDigest};
use super::{Expected, Identity, ReadMode};
use crate::commit::{Owner, Symlink};
use crate::fs::{Fs, OsFs};
use crate::{Durability, OnDamage};

/// What becomes of the bytes that an earlier owner left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resume {
    /// They are kept if the identities are the same ([`Identity::is_same`]); else the filling starts afresh.
    #[default]
    IfSame,
    /// As `IfSame`, but that there is nothing to keep is a `Precondition` error, and nothing changes.
    Require,
    /// They are kept unless something that both identities know differs: the caller vouches for the rest.
    Always,
    /// They are never kept, and none are kept for a later owner.
    Never,
}

/// When ranges become trusted, so that they need not be transferred again after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointPolicy {
    /// Whenever so many bytes were written: the write that crosses it makes the checkpoint.
    Bytes(u64),
    /// Only by [`checkpoint`](super::AtomicChunked::checkpoint) and [`suspend`](super::AtomicChunked::suspend).
    Manual,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self::Bytes(64 << 20)
    }
}

/// What a commit does if the target exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfExists {
    /// It takes its place.
    #[default]
    Replace,
    /// It is `AlreadyExists`, at open and, without a window, at commit.
    NoClobber,
}

/// What a drop does with the bytes of a file that was not committed. No drop ever syncs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDrop {
    /// They are kept as of the last checkpoint if they can be resumed, and removed otherwise.
    #[default]
    Auto,
    /// They are kept.
    Keep,
    /// They are removed.
    Remove,
}

/// What a commit does about bytes that nobody wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holes {
    /// It is `Incomplete`, with the first gap.
    #[default]
    Refuse,
    /// They are zeros.
    Zero,
}

/// Options of [`AtomicChunked::open_with`](super::AtomicChunked::open_with). All are checked there.
#[derive(Clone)]
#[must_use]
#[non_exhaustive]
pub struct ChunkedOptions {
    /// What is known of the file. Default: nothing; then nothing can be resumed.
    pub identity: Identity,
    /// What becomes of the bytes that an earlier owner left. Default `IfSame`.
    pub resume: Resume,
    /// When ranges become trusted. Default every 64 MiB.
    pub checkpoint: CheckpointPolicy,
    /// How long what is acknowledged lasts. Default `Synced`.
    pub durability: Durability,
    /// Bytes per checksum: a power of two from 4 KiB to 1 GiB. Default: from 256 KiB on, so that there are at most 65,536.
    pub chunk_size: Option<u64>,
    /// The largest file. Default 1 TiB.
    pub max_len: u64,
    /// Whether the bytes that an earlier owner left are read and compared with their checksums. Default no.
    pub verify_on_resume: bool,
    /// What to do if the target exists. Default `Replace`.
    pub if_exists: IfExists,
    /// What to do if the target is a symbolic link: it is followed once, at open, or refused. Default `Follow`.
    pub symlink: Symlink,
    /// Permission bits of the new file. Default: those of the file it replaces, else 0666 less the umask.
    pub mode: Option<u32>,
    /// What to do with owner and attributes of a file that is replaced. Default `KeepOrIgnore`.
    pub owner: Owner,
    /// What a drop does with bytes that were not committed. Default `Auto`.
    pub on_drop: OnDrop,
    /// How [`view`](super::AtomicChunked::view) reads. Default `Auto`.
    pub read_mode: ReadMode,
    /// What to do if the list of trusted ranges is damaged. Default `Refuse`; the other two keep the ranges whose checksums
    /// hold.
    pub on_damage: OnDamage,
    /// Whether directories that lead to the target are made if they are missing. Default yes.
    pub create_dirs: bool,
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
    /// Of the log of trusted ranges.
    pub(crate) map_segment_bytes: u64,
    pub(super) hashers: Vec<(String, Arc<MakeDigest>)>,
}

impl ChunkedOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            identity: Identity::default(),
            resume: Resume::default(),
            checkpoint: CheckpointPolicy::default(),
            durability: Durability::default(),
            chunk_size: None,
            max_len: 1 << 40,
            verify_on_resume: false,
            if_exists: IfExists::default(),
            symlink: Symlink::default(),
            mode: None,
            owner: Owner::default(),
            on_drop: OnDrop::default(),
            read_mode: ReadMode::default(),
            on_damage: OnDamage::default(),
            create_dirs: true,
            fs: Arc::new(OsFs::new()),
            map_segment_bytes: 256 << 10,
            hashers: Vec::new(),
        }
    }

    /// Makes digests of the algorithm `algo` possible, besides the built-in `blake3`.
    pub fn hasher(
        mut self,
        algo: impl Into<String>,
        make: impl Fn() -> Box<dyn Digest> + Send + Sync + 'static,
    ) -> Self {
        self.hashers.push((algo.into(), Arc::new(make)));
        self
    }

    /// Sets the permission bits of the new file.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets the bytes per checksum.
    pub const fn chunk_size(mut self, bytes: u64) -> Self {
        self.chunk_size = Some(bytes);
        self
    }

    /// Whether a later owner may go on with what this one leaves.
    pub(super) fn resumable(&self) -> bool {
        match self.resume {
            Resume::Never => false,
            Resume::Always => true,
            Resume::IfSame | Resume::Require => self.identity.is_known_again(),
        }
    }

    /// Bytes per checksum: as given, or the least power of two from 256 KiB on that makes at most 65,536 of the length.
    pub(super) fn chunk_bytes(&self) -> u64 {
        let least = || match self.identity.len {
            Some(len) => len.div_ceil(1 << 16).next_power_of_two().clamp(256 << 10, 1 << 30),
            None => 1 << 20,
        };
        self.chunk_size.unwrap_or_else(least)
    }
}

impl Default for ChunkedOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ChunkedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkedOptions")
            .field("identity", &self.identity)
            .field("resume", &self.resume)
            .field("checkpoint", &self.checkpoint)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl ChunkedOptions {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })*
        }
    };
}

setters! {
    /// Sets what is known of the file.
    identity: Identity,
    /// Sets what becomes of the bytes that an earlier owner left.
    resume: Resume,
    /// Sets when ranges become trusted.
    checkpoint: CheckpointPolicy,
    /// Sets how long what is acknowledged lasts.
    durability: Durability,
    /// Sets the largest file.
    max_len: u64,
    /// Sets whether bytes that an earlier owner left are verified.
    verify_on_resume: bool,
    /// Sets what to do if the target exists.
    if_exists: IfExists,
    /// Sets what to do if the target is a symbolic link.
    symlink: Symlink,
    /// Sets what to do with owner and attributes of a file that is replaced.
    owner: Owner,
    /// Sets what a drop does with bytes that were not committed.
    on_drop: OnDrop,
    /// Sets how a view reads.
    read_mode: ReadMode,
    /// Sets what to do about a damaged list of trusted ranges.
    on_damage: OnDamage,
    /// Sets whether missing directories are made.
    create_dirs: bool,
    /// Sets the file system.
    fs: Arc<dyn Fs>,
}

/// What a commit must hold to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct CommitOptions {
    /// The length; if not set, the expected one, else the end of the last byte that was written.
    pub final_len: Option<u64>,
    /// What to do about bytes that nobody wrote.
    pub holes: Holes,
    /// The digest that the content must have; if not set, that of the identity.
    pub expect: Option<Expected>,
}

impl CommitOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self { final_len: None, holes: Holes::Refuse, expect: None }
    }

    /// Sets the length.
    pub const fn final_len(mut self, len: u64) -> Self {
        self.final_len = Some(len);
        self
    }

    /// Sets what to do about bytes that nobody wrote.
    pub const fn holes(mut self, holes: Holes) -> Self {
        self.holes = holes;
        self
    }

    /// Sets the digest that the content must have.
    pub fn expect(mut self, digest: Expected) -> Self {
        self.expect = Some(digest);
        self
    }
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitReport {
    /// The length of the file.
    pub len: u64,
    /// Its digest, if one was expected.
    pub digest: Option<Expected>,
    /// Whether a file was there before.
    pub replaced: bool,
    /// How many syncs were made for it, those of checkpoints not counted.
    pub syncs: u32,
    /// What could not be removed of the part; the next open, or a sweep, takes it.
    pub leftovers: Vec<PathBuf>,
}
