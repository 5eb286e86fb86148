//! Postcard: a compact binary form without field names.

use super::{Codec, in_pieces};
use crate::{Error, Result};
use ::postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;

/// The postcard wire format, for every type that serde knows: smaller and faster than JSON, but without names, so that a
/// type whose fields change needs a version of its own.
///
/// # Limits
/// Sequences and maps must know their length. Types that describe themselves, such as `serde_json::Value`, do not decode.
/// A sequence whose elements take no bytes at all, such as `Vec<()>`, takes as long to decode as its length field says,
/// and a type that contains itself is followed as deep as the bytes go: do not decode these from bytes that an adversary
/// can write.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no fields and gets none")]
pub struct Postcard;

const NAME: &str = "postcard";

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    const NAME: &'static str = NAME;

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        let before = out.len();
        ::postcard::serialize_with_flavor(value, Append(out)).map_err(|cause| {
            out.truncate(before);
            Error::codec("encode", NAME, cause)
        })
    }

    fn encode_to(&self, value: &T, out: &mut dyn io::Write) -> Result<()> {
        in_pieces(out, |out| {
            let mut failed = None;
            ::postcard::serialize_with_flavor(value, Stream { out, failed: &mut failed }).map_err(
                |cause| match failed {
                    Some(cause) => Error::stream("encode", cause),
                    None => Error::codec("encode", NAME, cause),
                },
            )
        })
    }

    fn decode(&self, bytes: &[u8]) -> Result<T> {
        let refused = |cause| Error::codec("decode", NAME, cause);
        let (value, rest) = ::postcard::take_from_bytes(bytes).map_err(refused)?;
        if rest.is_empty() {
            return Ok(value);
        }
        Err(Error::codec("decode", NAME, format!("{} bytes are left over", rest.len())))
    }
}

/// Appends to a vector that stays the caller's, which postcard's own flavors do not.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> ::postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> ::postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> ::postcard::Result<()> {
        Ok(())
    }
}

/// Writes to a stream and keeps its error, which postcard's own flavor replaces by one without a cause.
struct Stream<'a, W> {
    out: W,
    failed: &'a mut Option<io::Error>,
}

impl<W: io::Write> Flavor for Stream<'_, W> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> ::postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> ::postcard::Result<()> {
        self.out.write_all(bytes).map_err(|cause| {
            *self.failed = Some(cause);
            ::postcard::Error::SerializeBufferFull
        })
    }

    fn finalize(self) -> ::postcard::Result<()> {
        Ok(())
    }
}
