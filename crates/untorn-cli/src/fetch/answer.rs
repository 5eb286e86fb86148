//! What an answer is worth: the first one says what the file is, every later one is held against it.

use std::ops::Range;

use untorn::{Error, ErrorKind, Result};

use super::content_range::ContentRange;
use super::refused::Refused;
use super::validators::{Head, Version};

/// What the first answer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) version: Version,
    /// Always known if there are ranges.
    pub(super) len: Option<u64>,
    pub(super) ranges: bool,
}

/// Which bytes of the file a body has; the end is not known if the server did not say it.
pub(super) type Bytes = (u64, Option<u64>);

impl Known {
    /// Reads the first answer, to `bytes=0-`, and says which bytes are in its body.
    ///
    /// # Errors
    /// Why it has no use.
    pub(super) fn of(head: &Head) -> Result<(Self, Bytes)> {
        let known = |len, ranges| Self { version: head.version.clone(), len, ranges };
        match (head.status, &head.range) {
            (200, _) => {
                plain(head)?;
                Ok((known(head.len, false), (0, head.len)))
            }
            (206, Some(Ok(ContentRange::Part { range, total: Some(total) })))
                if range.start == 0 =>
            {
                plain(head)?;
                as_long_as(head, range)?;
                Ok((known(Some(*total), true), (0, Some(range.end))))
            }
            (206, _) => {
                plain(head)?;
                Err(odd("the server sends a part and does not say which, or another one"))
            }
            (416, Some(Ok(ContentRange::Unsatisfied { total: 0 }))) => {
                Ok((known(Some(0), true), (0, Some(0))))
            }
            (416, _) => Err(changed("it has no first byte, and is not empty")),
            _ => Err(Refused::of(head).error()),
        }
    }

    /// Checks a later answer to a question for a part. `conditional`: it had an `If-Range`.
    pub(super) fn check_part(
        &self,
        head: &Head,
        asked: &Range<u64>,
        conditional: bool,
    ) -> Result<Bytes> {
        match (head.status, &head.range) {
            (206, Some(Ok(ContentRange::Part { range, total }))) => {
                self.same_version(head)?;
                plain(head)?;
                self.same_len(*total)?;
                if range != asked {
                    let (first, last) = (range.start, range.end - 1);
                    let words =
                        format!("the server sends bytes {first}-{last}, which were not asked for");
                    return Err(odd(&words));
                }
                as_long_as(head, range)?;
                Ok((range.start, Some(range.end)))
            }
            (206, _) => {
                self.same_version(head)?;
                plain(head)?;
                Err(odd("the server sends a part and does not say which"))
            }
            (200, _) => {
                self.same_version(head)?;
                plain(head)?;
                self.same_len(head.len)?;
                if conditional {
                    return Err(changed("the server sends it all, as if it were another one"));
                }
                Err(odd("the server sent parts before, and now it does not"))
            }
            (416, _) => Err(changed("it is shorter now")),
            _ => Err(Refused::of(head).error()),
        }
    }

    /// Checks a later answer of a server without ranges.
    pub(super) fn check_whole(&self, head: &Head) -> Result<Bytes> {
        if head.status != 200 {
            return Err(Refused::of(head).error());
        }
        self.same_version(head)?;
        plain(head)?;
        self.same_len(head.len)?;
        Ok((0, head.len))
    }

    fn same_version(&self, head: &Head) -> Result<()> {
        match self.version.difference(&head.version) {
            None => Ok(()),
            Some((name, was, is)) => Err(changed(&format!("its {name} was {was} and is {is}"))),
        }
    }

    fn same_len(&self, len: Option<u64>) -> Result<()> {
        match self.len.zip(len) {
            Some((was, is)) if was != is => {
                Err(changed(&format!("it had {was} bytes and has {is}")))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the answer to the first request leaves open what a request without a range says: how long the file is.
pub(super) fn asks_for_whole(head: &Head) -> bool {
    match (head.status, &head.range) {
        (206, Some(Ok(ContentRange::Part { total, .. }))) => total.is_none(),
        (416, range) => !matches!(range, Some(Ok(_))),
        _ => false,
    }
}

/// The body must be the bytes of the file, as they are.
fn plain(head: &Head) -> Result<()> {
    if let Some(encoding) = &head.encoding {
        let encoding = encoding.escape_default();
        return Err(odd(&format!("the server sends it encoded ({encoding}), unasked")));
    }
    if head.multipart {
        return Err(odd("the server sends many parts in one, unasked"));
    }
    Ok(())
}

fn as_long_as(head: &Head, range: &Range<u64>) -> Result<()> {
    let said = range.end - range.start;
    match head.len {
        Some(len) if len != said => {
            Err(odd(&format!("the server sends {len} bytes and calls them {said}")))
        }
        _ => Ok(()),
    }
}

/// An answer that another try may better.
fn odd(words: &str) -> Error {
    Error::of_caller(ErrorKind::Io, "fetch", words.to_owned())
}

pub(super) fn changed(words: &str) -> Error {
    let words = format!("remote changed: {words}");
    Error::of_caller(ErrorKind::Precondition, "fetch", words)
}
