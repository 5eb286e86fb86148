//! Bytes and values, without any I/O: codecs for the values of a program, and what the formats on disk are made of.
//!
//! A [`Codec`] turns values into bytes and back. [`Json`], [`Postcard`] and [`FixedLe`] take every type that serde knows,
//! [`Raw`] bytes as they are. A store writes the codec's name next to the bytes and checks it before it decodes.

pub(crate) mod bytes;
pub(crate) mod checksum;
#[cfg(feature = "serde")]
mod fixed_le;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "postcard")]
mod postcard;
mod raw;

#[cfg(feature = "serde")]
pub use fixed_le::{FixedLe, FixedLeLenient};
#[cfg(feature = "postcard")]
pub use postcard::Postcard;
pub use raw::Raw;

use crate::{Error, Result};
use std::io;

/// Turns values of one type into bytes and back.
///
/// The store that holds the bytes keeps their length and a checksum, so a codec need not: it may rely on being given all
/// the bytes that it made. It must still not trust them. Whatever bytes it is given, `decode` answers with a value or an
/// error; it does not panic, and takes no more memory than some multiple of the bytes.
///
/// # Example
/// A codec of one's own, for a type whose bytes are fixed:
/// ```
/// use untorn::codec::Codec;
/// use untorn::Result;
///
/// struct Point { x: u32, y: u32 }
/// struct PointLe;
///
/// impl Codec<Point> for PointLe {
///     const NAME: &'static str = "point-le";
///
///     fn encode(&self, point: &Point, out: &mut Vec<u8>) -> Result<()> {
///         out.extend(point.x.to_le_bytes());
///         out.extend(point.y.to_le_bytes());
///         Ok(())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<Point> {
///         let refused = || untorn::codec::refused(Self::NAME, "a point has 8 bytes");
///         let bytes: [u8; 8] = bytes.try_into().map_err(|_| refused())?;
///         let [x @ .., _, _, _, _] = bytes;
///         let [_, _, _, _, y @ ..] = bytes;
///         Ok(Point { x: u32::from_le_bytes(x), y: u32::from_le_bytes(y) })
///     }
/// }
///
/// let mut bytes = Vec::new();
/// PointLe.encode(&Point { x: 1, y: 2 }, &mut bytes)?;
/// assert_eq!(PointLe.decode(&bytes)?.y, 2);
/// assert!(PointLe.decode(b"short").is_err());
/// # Ok::<(), untorn::Error>(())
/// ```
pub trait Codec<T> {
    /// What the stores write down as the codec's name: 1 to 16 bytes of ASCII, never changed, and changed with the bytes.
    const NAME: &'static str;

    /// Appends the bytes of `value` to `out`. After an error `out` is as it was.
    ///
    /// # Errors
    /// [`Codec`](crate::ErrorKind::Codec) if the value has no form in these bytes.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()>;

    /// Writes the bytes of `value` to `out`, the same as [`encode`](Self::encode) makes, for values that are better not
    /// held in memory twice. It may write in small pieces, and part of them before an error.
    ///
    /// # Errors
    /// [`Codec`](crate::ErrorKind::Codec) if the value has no form in these bytes; the writer's error otherwise.
    fn encode_to(&self, value: &T, out: &mut dyn io::Write) -> Result<()> {
        let mut bytes = Vec::new();
        self.encode(value, &mut bytes)?;
        out.write_all(&bytes).map_err(|cause| Error::stream("encode", cause))
    }

    /// The value that `bytes`, all of them, stand for.
    ///
    /// # Errors
    /// [`Codec`](crate::ErrorKind::Codec) if they stand for none, or if some are left over.
    fn decode(&self, bytes: &[u8]) -> Result<T>;
}

/// Lets `write` write in small pieces and hands them on in larger ones: a call of a `dyn` writer for each letter costs more than
/// the letter. After an error any part may have been handed on.
#[cfg(feature = "serde")]
fn in_pieces<'a>(
    out: &'a mut dyn io::Write,
    write: impl FnOnce(&mut io::BufWriter<&'a mut dyn io::Write>) -> Result<()>,
) -> Result<()> {
    const PIECE: usize = 16 * 1024;
    let mut pieces = io::BufWriter::with_capacity(PIECE, out);
    write(&mut pieces)?;
    let handed_on = pieces.into_inner().map(drop);
    handed_on.map_err(|e| Error::stream("encode", e.into_error()))
}

/// JSON in UTF-8 without spaces, for every type that serde knows.
///
/// A codec with the feature `json`, which is on by default.
///
/// # Limits
/// Arrays and objects nest 127 deep at most, in writing and in reading. JSON has no infinities and no NaN: they are
/// written as `null`, which no `f32` or `f64` is read from; use `Postcard` for such values.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no fields and gets none")]
pub struct Json;

/// The error of a codec of one's own that cannot encode or decode a value.
///
/// The reason is for a person to read. It should not repeat what is in the bytes, which may be secret.
pub fn refused(
    codec: &'static str,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::codec("encode or decode", codec, reason)
}
