//! Why a server did not give what was asked for, in words, and the kind of error that says what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use untorn::{Error, ErrorKind};

use super::validators::Head;

/// A server that wants more patience than this is not waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// An answer without the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    /// How long the server asked to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl Refused {
    pub(crate) fn of(head: &Head) -> Self {
        Self { status: head.status, retry_after: head.retry_after }
    }

    /// As an error: `Io` and `WouldBlock` are tried again.
    pub(crate) fn error(self) -> Error {
        let kind = match self.status {
            404 | 410 => ErrorKind::NotFound,
            429 | 503 if self.retry_after.is_some_and(|wait| wait > PATIENCE) => ErrorKind::Failed,
            429 | 503 => ErrorKind::WouldBlock,
            408 | 500 | 502 | 504 => ErrorKind::Io,
            _ => ErrorKind::Failed,
        };
        Error::of_caller(kind, "fetch", self)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.status {
            401 => {
                "it wants to know who asks: give user and password in the URL, or --header 'Authorization: ..'"
            }
            403 => "it forbids it; the URL may have expired",
            404 => "there is no such file",
            407 => "the proxy wants to know who asks",
            408 => "the request took too long for it",
            410 => "the file is gone",
            429 => "too many requests",
            500..=599 => "the server has a problem of its own",
            _ => "that is no file",
        };
        write!(f, "the server answers {}: {words}", self.status)?;
        match self.retry_after {
            Some(wait) => write!(f, "; it says to come again in {} s", wait.as_secs()),
            None => Ok(()),
        }
    }
}

impl StdError for Refused {}

/// How long the server that refused asked to wait, of an error of a fetch.
pub(crate) fn retry_after(error: &Error) -> Option<Duration> {
    refused(error).and_then(|refused| refused.retry_after)
}

/// What the server refused with, of an error of a fetch.
pub(crate) fn refused(error: &Error) -> Option<&Refused> {
    error.source().and_then(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_waits() {
        let after = |seconds| Some(Duration::from_secs(seconds));
        for (status, wait, kind) in [
            (404, None, ErrorKind::NotFound),
            (410, None, ErrorKind::NotFound),
            (401, None, ErrorKind::Failed),
            (403, None, ErrorKind::Failed),
            (204, None, ErrorKind::Failed),
            (429, None, ErrorKind::WouldBlock),
            (503, after(7), ErrorKind::WouldBlock),
            (503, after(7200), ErrorKind::Failed),
            (500, None, ErrorKind::Io),
            (502, None, ErrorKind::Io),
            (505, None, ErrorKind::Failed),
        ] {
            let error = Refused { status, retry_after: wait }.error();
            assert_eq!(error.kind(), kind, "{status}");
            assert_eq!(retry_after(&error), wait);
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
        let other = Error::of_caller(ErrorKind::WouldBlock, "fetch", "full");
        assert_eq!(retry_after(&other), None);
    }
}
