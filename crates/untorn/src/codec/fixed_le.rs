//! Fields of fixed width, little-endian, one after the other: what `bincode` writes with its fixed-width little-endian
//! configuration, and with it the directories of `file_backed`.
//!
//! # Invariants
//! - X1 A count is checked against the bytes that are left before anything is taken for it.
//! - X2 What is encoded can be decoded: depth and empty elements are limited in writing as in reading.

use super::{Codec, in_pieces};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Serialize, de, ser};
use std::fmt;
use std::io;

mod read;
mod write;

#[cfg(test)]
mod tests;

const NAME: &str = "fixed-le";
/// How deep values may lie in each other, options and enums counted: what contains itself could exhaust the stack.
const DEPTH_MAX: u32 = 512;
/// How many elements of a value may take no bytes, all sequences together: their count is all that there is to check.
const EMPTY_MAX: u32 = 1 << 16;

/// Fields of fixed width, little-endian, without names: the layout that `bincode` writes when it is set to fixed-width
/// integers, for every type that serde knows.
///
/// | type | bytes |
/// |---|---|
/// | integers | their width, little-endian; `usize` and `isize` 8 |
/// | `bool` | one, 0 or 1 |
/// | `f32`, `f64` | the IEEE bits |
/// | `char` | its 1 to 4 bytes of UTF-8 |
/// | strings, bytes, sequences, maps | the count as `u64`, then the elements |
/// | `Option` | one, 0 or 1, then the value |
/// | enums | the variant's index as `u32`, then its fields |
/// | structs, tuples, arrays | the fields in order |
/// | unit | none |
///
/// For types whose fields change, see [`Postcard`](super::Postcard): the same holds here. Bytes are written at once if they
/// are serialized as bytes (`serde_bytes`), else one by one.
///
/// # Limits
/// Sequences and maps must know their length. Values nest 512 deep at most, and a value has at most 65,536 elements that take
/// no bytes, such as those of a `Vec<()>`; in writing and in reading. Types that describe themselves, such as
/// `serde_json::Value`, do not decode.
///
/// # Example
/// ```
/// use untorn::codec::{Codec, FixedLe};
///
/// let mut bytes = Vec::new();
/// FixedLe.encode(&(1_u16, Some("a".to_owned())), &mut bytes)?;
/// assert_eq!(bytes, [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, b'a']);
///
/// bytes.push(0);
/// let refused: Result<(u16, Option<String>), _> = FixedLe.decode(&bytes);
/// assert!(refused.is_err());
/// let taken: (u16, Option<String>) = FixedLe::lenient().decode(&bytes)?;
/// assert_eq!(taken.1.as_deref(), Some("a"));
/// # Ok::<(), untorn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no fields and gets none")]
pub struct FixedLe;

impl FixedLe {
    /// The same, but it ignores bytes that are left over: for objects that were imported from a program which does.
    pub const fn lenient() -> FixedLeLenient {
        FixedLeLenient { _made_by: Self }
    }
}

/// [`FixedLe`] that ignores bytes which are left over; [`FixedLe::lenient`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct FixedLeLenient {
    _made_by: FixedLe,
}

impl<T: Serialize + DeserializeOwned> Codec<T> for FixedLe {
    const NAME: &'static str = NAME;

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        let before = out.len();
        write::to(value, &mut *out).map_err(|fault| {
            out.truncate(before);
            fault.during("encode")
        })
    }

    fn encode_to(&self, value: &T, out: &mut dyn io::Write) -> Result<()> {
        in_pieces(out, |out| write::to(value, out).map_err(|fault| fault.during("encode")))
    }

    fn decode(&self, bytes: &[u8]) -> Result<T> {
        let (value, left) = read::from(bytes).map_err(|fault| fault.during("decode"))?;
        if left == 0 {
            return Ok(value);
        }
        Err(Error::codec("decode", NAME, format!("{left} bytes are left over")))
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for FixedLeLenient {
    const NAME: &'static str = NAME;

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        FixedLe.encode(value, out)
    }

    fn encode_to(&self, value: &T, out: &mut dyn io::Write) -> Result<()> {
        FixedLe.encode_to(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T> {
        let (value, _) = read::from(bytes).map_err(|fault| fault.during("decode"))?;
        Ok(value)
    }
}

/// Why a value has no bytes, or bytes no value.
#[derive(Debug)]
enum Fault {
    /// In words of ours.
    Says(&'static str),
    /// In words of the type.
    Custom(String),
    /// The writer's.
    Stream(io::Error),
}

impl Fault {
    #[cold]
    fn during(self, operation: &'static str) -> Error {
        match self {
            Self::Stream(cause) => Error::stream(operation, cause),
            other => Error::codec(operation, NAME, other.to_string()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Says(what) => f.write_str(what),
            Self::Custom(what) => f.write_str(what),
            Self::Stream(cause) => fmt::Display::fmt(cause, f),
        }
    }
}

impl std::error::Error for Fault {}

impl ser::Error for Fault {
    fn custom<M: fmt::Display>(what: M) -> Self {
        Self::Custom(what.to_string())
    }
}

impl de::Error for Fault {
    fn custom<M: fmt::Display>(what: M) -> Self {
        Self::Custom(what.to_string())
    }
}

/// What is left of the two limits of a value.
#[derive(Debug)]
struct Limits {
    depth: u32,
    empty: u32,
}

impl Limits {
    const fn new() -> Self {
        Self { depth: DEPTH_MAX, empty: EMPTY_MAX }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        const DEEP: Fault = Fault::Says("values lie more than 512 deep in each other");
        self.depth = self.depth.checked_sub(1).ok_or(DEEP)?;
        Ok(())
    }

    const fn leave(&mut self) {
        self.depth = self.depth.saturating_add(1);
    }

    /// An element took no bytes.
    fn empty(&mut self) -> Result<(), Fault> {
        const MANY: Fault = Fault::Says("more than 65,536 elements take no bytes");
        self.empty = self.empty.checked_sub(1).ok_or(MANY)?;
        Ok(())
    }
}
