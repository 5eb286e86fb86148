//! Exit codes, and how a failure is told: a sentence on stderr, or with `--json` one object.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::{Error, ErrorKind, Outcome};

/// The codes that every command may end with; documented and stable.
pub(crate) mod code {
    pub(crate) const OK: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NOT_FOUND: u8 = 3;
    pub(crate) const DAMAGE: u8 = 4;
    pub(crate) const LOSSY: u8 = 5;
    pub(crate) const NOT_OURS: u8 = 10;
    pub(crate) const LOCKED: u8 = 11;
    pub(crate) const PRECONDITION: u8 = 12;
    pub(crate) const IO: u8 = 74;
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing is said: who read our output went away, or the command has said it all.
    Quiet(u8),
    /// The person is told.
    Told(Box<Told>),
}

/// What the person, or the program that reads `--json`, is told.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    kind: String,
    path: Option<PathBuf>,
    offset: Option<u64>,
    outcome: &'static str,
    message: String,
    exit: u8,
}

impl Failure {
    /// A failure that the command found itself; the disk is unchanged.
    pub(crate) fn new(kind: ErrorKind, path: &Path, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Told {
            kind: format!("{kind:?}"),
            path: Some(path.to_path_buf()),
            offset: None,
            outcome: name_of(Outcome::Unchanged),
            message: format!("{}: {}", path.display(), message.into()),
            exit: exit_of(kind),
        }))
    }

    /// A failure that is about no file.
    pub(crate) fn plain(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Told {
            kind: format!("{kind:?}"),
            path: None,
            offset: None,
            outcome: name_of(Outcome::Unchanged),
            message: message.into(),
            exit: exit_of(kind),
        }))
    }

    /// An error of the system on `path`; an error of the library inside it comes out again.
    pub(crate) fn io(doing: &str, path: &Path, error: io::Error) -> Self {
        let error = match error.downcast::<Error>() {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            _ => ErrorKind::Io,
        };
        Self::new(kind, path, format!("cannot {doing}: {error}"))
    }

    /// An error of the library in words of the command's own, and with the exit code that it documents.
    pub(crate) fn told(error: &Error, message: String, exit: u8) -> Self {
        Self::Told(Box::new(Told {
            kind: format!("{:?}", error.kind()),
            path: error.path().map(Path::to_path_buf),
            offset: error.offset(),
            outcome: name_of(error.outcome()),
            message,
            exit,
        }))
    }

    /// The same with words before it, such as what was done before it failed.
    #[must_use]
    pub(crate) fn after(self, words: &str) -> Self {
        match self {
            Self::Told(mut told) => {
                told.message = format!("{words}: {}", told.message);
                Self::Told(told)
            }
            Self::Quiet(code) => Self::Quiet(code),
        }
    }

    /// Whether what was read was overtaken meanwhile.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Told(told) if told.kind == "Stale")
    }

    /// The code that it ends with.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Quiet(code) => *code,
            Self::Told(told) => told.exit,
        }
    }

    /// Tells it, and returns the exit code.
    pub(crate) fn tell(&self, json: bool) -> u8 {
        match self {
            Self::Quiet(code) => *code,
            Self::Told(told) => {
                if json {
                    // An object of strings and numbers always encodes.
                    let text = serde_json::to_string(told).unwrap_or_default();
                    say(format_args!("{text}"));
                } else {
                    say(format_args!("untorn: {}", told.message));
                }
                told.exit
            }
        }
    }
}

/// A line on stderr. If stderr is closed there is nobody to tell.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    let _said = writeln!(io::stderr().lock(), "{text}").is_ok();
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Told(Box::new(Told {
            kind: format!("{:?}", error.kind()),
            path: error.path().map(Path::to_path_buf),
            offset: error.offset(),
            outcome: name_of(error.outcome()),
            message: Advised(&error).to_string(),
            exit: exit_of(error.kind()),
        }))
    }
}

/// An error of the library, and what a person can type about it.
struct Advised<'a>(&'a Error);

impl fmt::Display for Advised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let denied = std::error::Error::source(self.0)
            .and_then(|cause| cause.downcast_ref::<io::Error>())
            .is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied);
        match self.0.kind() {
            // A snapshot is whole or worth nothing: there is nothing to recover.
            ErrorKind::Damaged if self.0.operation().contains("snapshot") => Ok(()),
            ErrorKind::Damaged if !self.0.to_string().contains("untorn recover") => {
                f.write_str("; `untorn recover` says what can be done")
            }
            ErrorKind::Locked => f.write_str("; `untorn who` says who"),
            ErrorKind::NewerFormat => f.write_str("; use the newer `untorn` that wrote it"),
            ErrorKind::Io if denied => {
                f.write_str("; check who owns the file and its directory, and their modes")
            }
            _ => Ok(()),
        }
    }
}

const fn name_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unchanged => "unchanged",
        Outcome::Applied => "applied",
        Outcome::Unknown => "unknown",
    }
}

/// The exit code of each kind of error.
pub(crate) const fn exit_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidInput => code::USAGE,
        ErrorKind::NotFound => code::NOT_FOUND,
        ErrorKind::Damaged => code::DAMAGE,
        ErrorKind::NotOurs | ErrorKind::NewerFormat | ErrorKind::ArtifactInvalid => code::NOT_OURS,
        ErrorKind::Locked => code::LOCKED,
        ErrorKind::AlreadyExists
        | ErrorKind::Precondition
        | ErrorKind::OutOfRange
        | ErrorKind::Pruned
        | ErrorKind::CursorRegressed
        | ErrorKind::CursorExpired
        | ErrorKind::LineageMismatch => code::PRECONDITION,
        ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::ReadOnly | ErrorKind::Poisoned => code::IO,
        _ => code::FAILED,
    }
}
