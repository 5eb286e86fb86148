//! The one error of the crate: what was tried, where, why it failed, and what the disk holds now.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what the disk holds now.
///
/// Branch on [`kind`](Self::kind) and [`outcome`](Self::outcome); show the person the `Display`, one sentence with file,
/// offset and what to do. It is one word wide and converts into [`io::Error`], keeping the kind.
///
/// ```
/// use untorn::{ErrorKind, Outcome};
/// let err = untorn::replace("/no/such/directory/file", b"x").unwrap_err();
/// assert_eq!(err.kind(), ErrorKind::NotFound);
/// assert_eq!(err.outcome(), Outcome::Unchanged);
/// ```
pub struct Error(Box<Inner>);

const _: () = assert!(size_of::<Result<()>>() == size_of::<usize>());

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    path: Option<PathBuf>,
    offset: Option<u64>,
    gap: Option<Range<u64>>,
    outcome: Outcome,
    detail: Cow<'static, str>,
    cause: Option<Cause>,
}

enum Cause {
    Boxed(Box<dyn StdError + Send + Sync>),
    /// The first cause of a poisoned handle: every waiter gets the same.
    Shared(Arc<Error>),
}

/// What kind of failure it is: the part that a program branches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An error of the system that none of the others names; `source()` has it.
    #[doc(alias = "IoError")]
    Io,
    /// It does not exist.
    NotFound,
    /// It exists already.
    AlreadyExists,
    /// An argument that no state of the disk would make valid.
    InvalidInput,
    /// A position outside what there is.
    #[doc(alias = "SequenceViolation")]
    OutOfRange,
    /// Elements that were dropped.
    Pruned,
    /// Larger than a limit of the format or the options.
    TooLarge,
    /// The disk or its quota is full.
    #[doc(alias = "StorageFull")]
    NoSpace,
    /// A limit of ours is reached: memory, disk budget, quota of a store.
    OverBudget,
    /// Another owner holds it.
    Locked,
    /// It cannot be written here.
    ReadOnly,
    /// The handle was closed.
    Closed,
    /// The caller gave up.
    Cancelled,
    /// The time ran out.
    TimedOut,
    /// It cannot be done without waiting.
    WouldBlock,
    /// A sync failed on this handle: nothing it holds in memory is trusted; reopen it.
    Poisoned,
    /// Not all bytes are there yet.
    Incomplete,
    /// Bytes that were acknowledged do not verify.
    #[doc(alias = "Corrupt")]
    #[doc(alias = "CrcMismatch")]
    #[doc(alias = "Corruption")]
    Damaged,
    /// Not a file or directory of this crate.
    NotOurs,
    /// Written by a later version of this crate, or by another version of the program.
    #[doc(alias = "IncompatibleVersion")]
    NewerFormat,
    /// The file system or the format cannot do it.
    Unsupported,
    /// The state forbids it.
    Precondition,
    /// Overtaken by a newer state; reopen.
    Stale,
    /// A value does not encode or decode.
    #[doc(alias = "EncodeError")]
    #[doc(alias = "DecodeError")]
    Codec,
    /// The user or a source gave up on it.
    #[doc(alias = "MappingError")]
    Failed,
    /// An artifact's manifest or files break its rules.
    ArtifactInvalid,
    /// A cursor behind the one that the store has.
    CursorRegressed,
    /// The source does not have what follows the cursor any more.
    CursorExpired,
    /// The source, or the artifact, is another one than the store has been of.
    LineageMismatch,
}

/// What the disk holds after a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "callers must handle all three")]
pub enum Outcome {
    /// What it held before.
    Unchanged,
    /// What the call was to write, though the call failed.
    Applied,
    /// One of the two; reopen and look.
    Unknown,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file or directory it is about.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The byte offset in that file.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The first missing range of bytes, of an error of kind `Incomplete`.
    pub fn gap(&self) -> Option<Range<u64>> {
        self.0.gap.clone()
    }

    /// What was tried, as a verb: "replace", "sync", "open log".
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What the disk holds now.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// An error of what a caller hands in, such as a source of bytes: `kind` decides what is done about it.
    ///
    /// ```
    /// use untorn::{Error, ErrorKind};
    /// let error = Error::of_caller(ErrorKind::TimedOut, "fetch", "the server does not answer");
    /// assert_eq!(error.to_string(), "fetch: the server does not answer");
    /// ```
    #[cold]
    pub fn of_caller(
        kind: ErrorKind,
        operation: &'static str,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let cause = Some(Cause::Boxed(cause.into()));
        let (path, offset, gap, outcome) = (None, None, None, Outcome::Unchanged);
        let detail = Cow::Borrowed("");
        Self(Box::new(Inner { kind, operation, path, offset, gap, outcome, detail, cause }))
    }

    /// An error of ours, without a system error behind it.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(
        kind: ErrorKind,
        operation: &'static str,
        path: &Path,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            path: Some(path.to_path_buf()),
            offset: None,
            gap: None,
            outcome: Outcome::Unchanged,
            detail: detail.into(),
            cause: None,
        }))
    }

    /// An error of the system during `operation` on `path`; one of ours inside it comes out again.
    #[cold]
    #[inline(never)]
    pub(crate) fn system(operation: &'static str, path: &Path, cause: io::Error) -> Self {
        let cause = match cause.downcast::<Self>() {
            Ok(error) => return error,
            Err(cause) => cause,
        };
        let kind = kind_of(&cause);
        let mut error = Self::new(kind, operation, path, advice(kind));
        error.0.cause = Some(Cause::Boxed(Box::new(cause)));
        error
    }

    /// A value that does not encode or decode.
    #[cold]
    #[inline(never)]
    pub(crate) fn codec(
        operation: &'static str,
        codec: &'static str,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let detail = Cow::Owned(format!("the {codec} codec refuses the value"));
        Self(Box::new(Inner {
            kind: ErrorKind::Codec,
            operation,
            path: None,
            offset: None,
            gap: None,
            outcome: Outcome::Unchanged,
            detail,
            cause: Some(Cause::Boxed(cause.into())),
        }))
    }

    /// A writer that was handed in failed. An error of ours inside it comes out again, with its path and outcome.
    #[cold]
    #[inline(never)]
    pub(crate) fn stream(operation: &'static str, cause: io::Error) -> Self {
        let cause = match cause.downcast::<Self>() {
            Ok(error) => return error,
            Err(cause) => cause,
        };
        let kind = kind_of(&cause);
        let detail = Cow::Borrowed(advice(kind));
        let cause = Some(Cause::Boxed(Box::new(cause)));
        let (path, offset, gap, outcome) = (None, None, None, Outcome::Unchanged);
        Self(Box::new(Inner { kind, operation, path, offset, gap, outcome, detail, cause }))
    }

    /// The answer of a handle on which a sync failed; `first` is the failure.
    #[cold]
    #[inline(never)]
    pub(crate) fn poisoned(operation: &'static str, path: &Path, first: Arc<Self>) -> Self {
        let mut error = Self::new(
            ErrorKind::Poisoned,
            operation,
            path,
            "an earlier write or sync failed and what it covered may be lost; reopen to recover",
        );
        error.0.outcome = Outcome::Unknown;
        error.0.cause = Some(Cause::Shared(first));
        error
    }

    #[must_use]
    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    #[must_use]
    pub(crate) fn with_gap(mut self, gap: Range<u64>) -> Self {
        self.0.gap = Some(gap);
        self
    }

    /// Names what the caller asked for, where a lower layer named its own part of it.
    #[must_use]
    pub(crate) fn during(mut self, operation: &'static str) -> Self {
        self.0.operation = operation;
        self
    }

    #[must_use]
    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = outcome;
        self
    }

    #[must_use]
    pub(crate) fn with_path(mut self, path: &Path) -> Self {
        self.0.path = Some(path.to_path_buf());
        self
    }

    /// Replaces the general advice by words that fit the case.
    #[must_use]
    pub(crate) fn because(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// What is wrong, without where.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    #[must_use]
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// A copy for another waiter of the same failure; the first one becomes the source.
    #[cold]
    pub(crate) fn share(first: &Arc<Self>) -> Self {
        let inner = &first.0;
        Self(Box::new(Inner {
            kind: inner.kind,
            operation: inner.operation,
            path: inner.path.clone(),
            offset: inner.offset,
            gap: inner.gap.clone(),
            outcome: inner.outcome,
            detail: inner.detail.clone(),
            cause: Some(Cause::Shared(Arc::clone(first))),
        }))
    }
}

/// The kind that an error of the system has here.
fn kind_of(cause: &io::Error) -> ErrorKind {
    match cause.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        io::ErrorKind::FileTooLarge => ErrorKind::TooLarge,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
        _ => ErrorKind::Io,
    }
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NoSpace => "free some space, then try again",
        ErrorKind::ReadOnly => "the file system is mounted read-only",
        ErrorKind::Unsupported => "this file system cannot do it; use a local one",
        _ => "",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let (Some(Cause::Shared(first)), false) =
            (&inner.cause, inner.kind == ErrorKind::Poisoned)
        {
            // A copy for another waiter reads as the first one.
            return fmt::Display::fmt(first, f);
        }
        f.write_str(inner.operation)?;
        if let Some(path) = &inner.path {
            write!(f, " {}", path.display())?;
        }
        if let Some(offset) = inner.offset {
            write!(f, " at offset {offset}")?;
        }
        match &inner.cause {
            Some(Cause::Boxed(cause)) => write!(f, ": {cause}")?,
            Some(Cause::Shared(first)) if inner.kind == ErrorKind::Poisoned => {
                write!(f, ": {} ({first})", inner.detail)?;
                return Ok(());
            }
            Some(Cause::Shared(_)) | None => {}
        }
        if inner.detail.is_empty() { Ok(()) } else { write!(f, ": {}", inner.detail) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("outcome", &self.0.outcome)
            .field("message", &format_args!("{self}"))
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.cause {
            Some(Cause::Boxed(cause)) => Some(&**cause),
            Some(Cause::Shared(first)) => Some(&**first),
            None => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::InvalidInput
            | ErrorKind::OutOfRange
            | ErrorKind::Pruned
            | ErrorKind::CursorRegressed => io::ErrorKind::InvalidInput,
            ErrorKind::TooLarge => io::ErrorKind::FileTooLarge,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            ErrorKind::Locked | ErrorKind::WouldBlock => io::ErrorKind::WouldBlock,
            ErrorKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::Incomplete => io::ErrorKind::UnexpectedEof,
            ErrorKind::Damaged
            | ErrorKind::NotOurs
            | ErrorKind::NewerFormat
            | ErrorKind::Codec
            | ErrorKind::ArtifactInvalid => io::ErrorKind::InvalidData,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::Io => match &error.0.cause {
                Some(Cause::Boxed(cause)) => {
                    cause.downcast_ref::<Self>().map_or(io::ErrorKind::Other, Self::kind)
                }
                _ => io::ErrorKind::Other,
            },
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_errno_path_and_offset() {
        let cause = io::Error::from_raw_os_error(28);
        let error = Error::system("write", Path::new("a/b"), cause).at(7);
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!((error.path(), error.offset()), (Some(Path::new("a/b")), Some(7)));
        let source = error.source().and_then(|s| s.downcast_ref::<io::Error>()).unwrap();
        assert_eq!(source.raw_os_error(), Some(28));
        assert!(error.to_string().contains("a/b at offset 7"), "{error}");
        assert!(error.to_string().contains("free some space"), "{error}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_poisoned_error_names_the_first_cause() {
        let first = Error::system("sync", Path::new("x"), io::Error::from_raw_os_error(5));
        let error = Error::poisoned("append", Path::new("x"), Arc::new(first));
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Poisoned, Outcome::Unknown));
        let first = error.source().and_then(|s| s.downcast_ref::<Error>()).unwrap();
        assert_eq!((first.kind(), first.operation()), (ErrorKind::Io, "sync"));
        assert!(error.to_string().ends_with("(os error 5))"), "{error}");
    }

    #[test]
    fn a_copy_for_another_waiter_reads_as_the_first() {
        let first = Error::system("sync", Path::new("x"), io::Error::from_raw_os_error(5));
        let text = first.to_string();
        assert_eq!(Error::share(&Arc::new(first)).to_string(), text);
    }
}
