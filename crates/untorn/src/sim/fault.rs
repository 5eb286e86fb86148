//! Faults: which call fails, how, and what it has done by then.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One kind of call of the seam.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum CallKind { $($(#[$doc])* $name,)* }

        impl CallKind {
            /// Every kind, in the order of the enum.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, as traces print it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

calls! {
    /// `Fs::open_dir` and `Dir::open_dir`.
    OpenDir = "open_dir",
    /// `Fs::canonicalize`.
    Canonicalize = "canonicalize",
    /// `Fs::entropy`.
    Entropy = "entropy",
    /// `Dir::open` of a file that must exist.
    Open = "open",
    /// `Dir::open` that may create.
    Create = "create",
    /// `Dir::make_dir`.
    MakeDir = "make_dir",
    /// `Dir::stat`.
    Stat = "stat",
    /// `Dir::read_link`.
    ReadLink = "read_link",
    /// `Dir::list`.
    List = "list",
    /// `Dir::rename`, replacing.
    Rename = "rename",
    /// `Dir::rename` without replacing.
    RenameNoReplace = "rename_no_replace",
    /// `Dir::link`.
    Link = "link",
    /// `Dir::unlink`.
    Unlink = "unlink",
    /// `Dir::remove_dir`.
    RemoveDir = "remove_dir",
    /// `Dir::sync`.
    SyncDir = "sync_dir",
    /// `File::read_at`.
    Read = "read",
    /// `File::write_at`.
    Write = "write",
    /// `File::set_len`.
    SetLen = "set_len",
    /// `File::stat`.
    FileStat = "file_stat",
    /// `File::sync` with `SyncWhat::Data`.
    SyncData = "sync_data",
    /// `File::sync` with `SyncWhat::All`.
    SyncAll = "sync_all",
    /// `File::allocate`.
    Allocate = "allocate",
    /// `File::punch`.
    Punch = "punch",
    /// `File::reflink_from`.
    Reflink = "reflink",
    /// `File::map`.
    Map = "map",
    /// `File::try_lock`.
    Lock = "lock",
    /// `File::set_mode`.
    SetMode = "set_mode",
    /// `File::set_owner`.
    SetOwner = "set_owner",
    /// `File::xattrs`.
    Xattrs = "xattrs",
    /// `File::set_xattr`.
    SetXattr = "set_xattr",
}

impl CallKind {
    /// Whether the call changes anything (a sync changes what is durable).
    pub const fn changes(self) -> bool {
        !matches!(
            self,
            Self::OpenDir
                | Self::Canonicalize
                | Self::Entropy
                | Self::Open
                | Self::Stat
                | Self::ReadLink
                | Self::List
                | Self::Read
                | Self::FileStat
                | Self::Map
                | Self::Lock
                | Self::Xattrs
        )
    }

    /// Whether it is a sync, of a file or a directory.
    pub const fn is_sync(self) -> bool {
        matches!(self, Self::SyncDir | Self::SyncData | Self::SyncAll)
    }

    const fn takes_space(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::MakeDir
                | Self::Rename
                | Self::RenameNoReplace
                | Self::Link
                | Self::Write
                | Self::SetLen
                | Self::SyncData
                | Self::SyncAll
                | Self::SyncDir
                | Self::Allocate
                | Self::Punch
                | Self::Reflink
                | Self::SetXattr
        )
    }

    /// Whether it can stop half way, so that `Effect::Prefix` differs from the other two.
    const fn divisible(self) -> bool {
        matches!(
            self,
            Self::Write
                | Self::SyncData
                | Self::SyncAll
                | Self::Allocate
                | Self::Punch
                | Self::Reflink
                | Self::Rename
        )
    }
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $errno:expr;)*) => {
        /// How a call fails.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FaultKind { $($(#[$doc])* $name,)* }

        impl FaultKind {
            const EVERY: &[Self] = &[$(Self::$name),*];

            /// Its name, as reports print it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(super) const fn errno(self) -> Option<Errno> {
                match self { $(Self::$name => $errno,)* }
            }
        }
    };
}

kinds! {
    /// EIO: the device fails.
    Io = "eio", Some(Errno::IO);
    /// ENOSPC: the disk is full.
    NoSpace = "enospc", Some(Errno::NOSPC);
    /// EDQUOT: the quota is used up.
    Quota = "edquot", Some(Errno::DQUOT);
    /// EMFILE: the process has too many open files.
    TooManyFiles = "emfile", Some(Errno::MFILE);
    /// ENFILE: the system has too many open files.
    FileTable = "enfile", Some(Errno::NFILE);
    /// ENOMEM: no memory.
    NoMemory = "enomem", Some(Errno::NOMEM);
    /// EACCES: no permission.
    Access = "eacces", Some(Errno::ACCESS);
    /// EROFS: the file system went read-only.
    ReadOnly = "erofs", Some(Errno::ROFS);
    /// ESTALE: the handle of a network file system is void.
    Stale = "estale", Some(Errno::STALE);
    /// EOPNOTSUPP: the file system cannot do this.
    NotSupported = "eopnotsupp", Some(Errno::OPNOTSUPP);
    /// EINVAL: the file system does not know the flag.
    Invalid = "einval", Some(Errno::INVAL);
    /// ENOSYS: the system does not know the call.
    NoSystemCall = "enosys", Some(Errno::NOSYS);
    /// EXDEV: on another file system.
    CrossDevice = "exdev", Some(Errno::XDEV);
    /// ENOLCK: no locks here.
    NoLocks = "enolck", Some(Errno::NOLCK);
    /// One bit of what is read is wrong, once; the call returns Ok.
    BitFlip = "bit-flip", None;
    /// A write or a sync returns Ok and has done nothing.
    Dropped = "dropped", None;
    /// A write returns Ok and went 4096 bytes further on.
    Misdirected = "misdirected", None;
}

impl FaultKind {
    /// The kinds that are errors: the fourteen that every call which they fit must survive.
    pub const ERRORS: &[Self] = &[
        Self::Io,
        Self::NoSpace,
        Self::Quota,
        Self::TooManyFiles,
        Self::FileTable,
        Self::NoMemory,
        Self::Access,
        Self::ReadOnly,
        Self::Stale,
        Self::NotSupported,
        Self::Invalid,
        Self::NoSystemCall,
        Self::CrossDevice,
        Self::NoLocks,
    ];

    /// The kind with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EVERY.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether `call` can fail like this.
    pub const fn fits(self, call: CallKind) -> bool {
        use CallKind as C;
        match self {
            Self::Io => true,
            Self::NoSpace | Self::Quota => call.takes_space(),
            Self::TooManyFiles | Self::FileTable => {
                matches!(call, C::OpenDir | C::Open | C::Create)
            }
            Self::NoMemory => matches!(
                call,
                C::OpenDir
                    | C::Open
                    | C::Create
                    | C::MakeDir
                    | C::List
                    | C::Rename
                    | C::RenameNoReplace
                    | C::Link
                    | C::Map
            ),
            Self::Access => matches!(
                call,
                C::OpenDir
                    | C::Canonicalize
                    | C::Open
                    | C::Create
                    | C::MakeDir
                    | C::Rename
                    | C::RenameNoReplace
                    | C::Link
                    | C::Unlink
                    | C::RemoveDir
                    | C::SetMode
                    | C::SetOwner
                    | C::SetXattr
            ),
            Self::ReadOnly => call.changes(),
            Self::Stale => !matches!(call, C::Entropy),
            Self::NotSupported => matches!(
                call,
                C::RenameNoReplace
                    | C::Link
                    | C::Allocate
                    | C::Punch
                    | C::Reflink
                    | C::Lock
                    | C::Xattrs
                    | C::SetXattr
            ),
            Self::Invalid => {
                matches!(call, C::RenameNoReplace | C::SyncDir | C::Reflink | C::Allocate)
            }
            Self::NoSystemCall => matches!(call, C::RenameNoReplace | C::Allocate | C::Punch),
            Self::CrossDevice => {
                matches!(call, C::Rename | C::RenameNoReplace | C::Link | C::Reflink)
            }
            Self::NoLocks => matches!(call, C::Lock),
            Self::BitFlip => matches!(call, C::Read | C::Map),
            Self::Dropped => call.is_sync() || matches!(call, C::Write),
            Self::Misdirected => matches!(call, C::Write),
        }
    }

    /// The effects worth telling apart for a failing `call`.
    pub fn effects(self, call: CallKind) -> &'static [Effect] {
        if self.errno().is_none() || !call.changes() {
            return &[Effect::None];
        }
        match self {
            // Refused before anything is done.
            Self::Io | Self::NoSpace | Self::Quota if call.divisible() => {
                &[Effect::None, Effect::Prefix, Effect::Whole]
            }
            Self::Io | Self::NoSpace | Self::Quota | Self::Stale => &[Effect::None, Effect::Whole],
            _ => &[Effect::None],
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a call that fails has done by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing. A sync: all dirty units are lost.
    None,
    /// The first half, where the call can be divided; else nothing. A sync: half of the dirty units are durable.
    Prefix,
    /// All of it, and yet it reports the error.
    Whole,
}

/// A fault to inject with [`SimFs::inject`](super::SimFs::inject).
///
/// ```
/// use untorn::sim::{CallKind, Effect, Fault, FaultKind};
/// // Every write to `data/log` fails after half of its bytes, from now on.
/// let fault = Fault::new(FaultKind::NoSpace)
///     .on_path("/data/log")
///     .on(CallKind::Write)
///     .effect(Effect::Prefix)
///     .lasting();
/// # let _ = fault;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Fault {
    pub(super) kind: FaultKind,
    pub(super) call: Option<u64>,
    pub(super) on: Option<CallKind>,
    pub(super) path: Option<PathBuf>,
    pub(super) effect: Effect,
    pub(super) lasting: bool,
    pub(super) spent: bool,
}

impl Fault {
    /// The next call that `kind` fits fails with it, once, without effect.
    pub const fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            call: None,
            on: None,
            path: None,
            effect: Effect::None,
            lasting: false,
            spent: false,
        }
    }

    /// Not before the call with this number (the first call of a life is 1; see [`SimFs::calls`](super::SimFs::calls)).
    pub const fn at_call(mut self, number: u64) -> Self {
        self.call = Some(number);
        self
    }

    /// Only calls of this kind.
    pub const fn on(mut self, call: CallKind) -> Self {
        self.on = Some(call);
        self
    }

    /// Only calls on this path: the file, or the directory and the name in it.
    pub fn on_path(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// What the failing call has done.
    pub const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// For ever, not once.
    pub const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// Whether it strikes this call.
    pub(super) fn strikes(&self, number: u64, call: CallKind, path: &Path) -> bool {
        !self.spent
            && self.kind.fits(call)
            && self.call.is_none_or(|first| number >= first)
            && self.on.is_none_or(|on| on == call)
            && self.path.as_deref().is_none_or(|on| on == path)
    }
}

/// How a call is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twist {
    Go,
    Fail(Errno, Effect),
    Flip,
    Drop,
    Misdirect,
}

pub(super) fn error(errno: Errno) -> io::Error {
    errno.into()
}
