//! Compression of single objects, where it pays.

use crate::{Error, ErrorKind, Result};

/// How an object's bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// LZ4 blocks: fast. Needs the feature `lz4`.
    Lz4,
    /// Zstandard at a level: smaller. Needs the feature `zstd`.
    Zstd(i32),
}

/// Whether this build has it.
pub(super) fn check(compression: Compression) -> Result<()> {
    match compression {
        Compression::None => Ok(()),
        other => Err(missing(other)),
    }
}

/// Compresses `raw` into `out`; false if that is not asked for, does not pay or does not work.
pub(super) fn shrink(compression: Compression, raw: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    raw.is_empty() && compression != Compression::None
}

/// The bytes that were compressed, `raw_len` of them, in `out`.
pub(super) fn expand(
    compression: Compression,
    _stored: &[u8],
    _raw_len: u64,
    _out: &mut Vec<u8>,
) -> Result<()> {
    check(compression)
}

#[cold]
fn missing(compression: Compression) -> Error {
    let what = format!("this build has no {compression:?}: build it with that feature");
    Error::of_caller(ErrorKind::Unsupported, "compress", what)
}
