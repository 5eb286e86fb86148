//! Compression of single objects, where it pays.
//!
//! # Invariants
//! - Z1 What is compressed is at least 1/16 shorter than it was, and was [`TRIED_FROM`] bytes long or longer.
//! - Z2 `expand` takes no more memory than a small multiple of what it was given and has made, whatever the header says: LZ4
//!   cannot make more than 255 bytes of one, and Zstandard is let run in pieces.

use crate::{Error, ErrorKind, Result};

/// Below it the header of a compressed form eats what it saves.
const TRIED_FROM: usize = 512;

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
        Compression::Lz4 if !cfg!(feature = "lz4") => Err(missing("lz4")),
        Compression::Zstd(_) if !cfg!(feature = "zstd") => Err(missing("zstd")),
        _ => Ok(()),
    }
}

/// Compresses `raw` into `out`; false if that is not asked for, does not pay or does not work.
pub(super) fn shrink(compression: Compression, raw: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    if raw.len() < TRIED_FROM {
        return false;
    }
    let done = match compression {
        Compression::None => false,
        Compression::Lz4 => lz4::shrink(raw, out),
        Compression::Zstd(level) => zstd::shrink(level, raw, out),
    };
    done && out.len() <= raw.len().saturating_sub(raw.len() / 16)
}

/// The bytes that `stored` was made of, `raw_len` of them, in `out`. An error means that the two do not belong together.
pub(super) fn expand(
    compression: Compression,
    stored: &[u8],
    raw_len: u64,
    out: &mut Vec<u8>,
) -> Result<()> {
    check(compression)?;
    out.clear();
    let Ok(raw_len) = usize::try_from(raw_len) else {
        return Err(damaged("longer than the memory of this machine".to_owned()));
    };
    match compression {
        Compression::None if stored.len() == raw_len => {
            out.extend_from_slice(stored);
            Ok(())
        }
        Compression::None => {
            Err(damaged(format!("{} bytes, where {raw_len} are said to be", stored.len())))
        }
        Compression::Lz4 => lz4::expand(stored, raw_len, out),
        Compression::Zstd(_) => zstd::expand(stored, raw_len, out),
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use super::{Result, damaged};
    use lz4_flex::block;

    /// What the format's offsets are made for.
    const INPUT_MAX: usize = 0x7e00_0000;
    /// Bytes that one byte can stand for; each block begins with one more.
    const GROWTH_MAX: usize = 255;

    pub(super) fn shrink(raw: &[u8], out: &mut Vec<u8>) -> bool {
        if raw.len() > INPUT_MAX {
            return false;
        }
        out.resize(block::get_maximum_output_size(raw.len()), 0);
        let len = block::compress_into(raw, out);
        out.truncate(*len.as_ref().unwrap_or(&0));
        len.is_ok()
    }

    pub(super) fn expand(stored: &[u8], raw_len: usize, out: &mut Vec<u8>) -> Result<()> {
        if raw_len > stored.len().saturating_mul(GROWTH_MAX) {
            return Err(damaged(format!("{} bytes cannot stand for {raw_len}", stored.len())));
        }
        out.resize(raw_len, 0);
        match block::decompress_into(stored, out) {
            Ok(len) if len == raw_len => Ok(()),
            Ok(len) => Err(damaged(format!("it is {len} bytes long, not {raw_len}"))),
            Err(cause) => Err(damaged(cause.to_string())),
        }
    }
}

#[cfg(not(feature = "lz4"))]
mod lz4 {
    use super::{Result, missing};

    pub(super) const fn shrink(_: &[u8], _: &mut Vec<u8>) -> bool {
        false
    }

    pub(super) fn expand(_: &[u8], _: usize, _: &mut Vec<u8>) -> Result<()> {
        Err(missing("lz4"))
    }
}

#[cfg(feature = "zstd")]
mod zstd {
    use super::{Result, damaged};
    use std::io::Read;

    /// So much is taken before it is known that there is anything to fill it with.
    const PIECE: usize = 1 << 20;
    /// The smallest and the largest window, as powers of two, that a frame may ask for.
    const WINDOW_LOG: std::ops::RangeInclusive<u32> = 10..=31;

    pub(super) fn shrink(level: i32, raw: &[u8], out: &mut Vec<u8>) -> bool {
        // Room for what would pay: it fails where that does not suffice.
        out.reserve(raw.len());
        let compressor = ::zstd::bulk::Compressor::new(level);
        compressor.is_ok_and(|mut compressor| compressor.compress_to_buffer(raw, out).is_ok())
    }

    pub(super) fn expand(stored: &[u8], raw_len: usize, out: &mut Vec<u8>) -> Result<()> {
        let fail = |cause: std::io::Error| damaged(cause.to_string());
        let mut decoder = ::zstd::stream::read::Decoder::with_buffer(stored).map_err(fail)?;
        // No frame of ours asks for a window above its own length.
        let log = raw_len.checked_next_power_of_two().map_or(u32::MAX, usize::trailing_zeros);
        let log = log.clamp(*WINDOW_LOG.start(), *WINDOW_LOG.end());
        decoder.window_log_max(log).map_err(fail)?;
        let mut decoder = decoder.single_frame();
        while out.len() < raw_len {
            let from = out.len();
            out.resize(raw_len.min(from.saturating_add(PIECE)), 0);
            let room = out.get_mut(from..).unwrap_or_default();
            decoder.read_exact(room).map_err(fail)?;
        }
        let more = decoder.read(&mut [0]).map_err(fail)?;
        let unread = decoder.finish();
        if more > 0 || !unread.is_empty() {
            return Err(damaged(format!("it does not end after {raw_len} bytes")));
        }
        Ok(())
    }
}

#[cfg(not(feature = "zstd"))]
mod zstd {
    use super::{Result, missing};

    pub(super) const fn shrink(_: i32, _: &[u8], _: &mut Vec<u8>) -> bool {
        false
    }

    pub(super) fn expand(_: &[u8], _: usize, _: &mut Vec<u8>) -> Result<()> {
        Err(missing("zstd"))
    }
}

#[cold]
fn damaged(what: String) -> Error {
    Error::of_caller(ErrorKind::Damaged, "decompress", what)
}

#[cold]
fn missing(feature: &str) -> Error {
    let what = format!("this build cannot do it: build it with the feature `{feature}`");
    Error::of_caller(ErrorKind::Unsupported, "compress or decompress", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd(3)];

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|n| b"untorn objects "[n % 15] ^ u8::from(n % 97 == 0)).collect()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_le_bytes()[3]
        };
        (0..len).map(|_| next()).collect()
    }

    fn built() -> impl Iterator<Item = Compression> {
        BUILT.into_iter().filter(|c| check(*c).is_ok() && *c != Compression::None)
    }

    #[test]
    fn what_pays_is_kept_and_comes_back() {
        for compression in built() {
            let (mut stored, mut back) = (Vec::new(), Vec::new());
            for len in [512, 513, 4096, 100_000, 3 << 20] {
                let raw = text(len);
                assert!(shrink(compression, &raw, &mut stored), "{compression:?} {len}");
                assert!(stored.len() <= len - len / 16);
                expand(compression, &stored, len as u64, &mut back).unwrap();
                assert!(back == raw, "{compression:?} {len}");
            }
        }
    }

    #[test]
    fn what_does_not_pay_is_left_alone() {
        let mut out = Vec::new();
        for compression in built() {
            assert!(!shrink(compression, &text(511), &mut out));
            assert!(!shrink(compression, &noise(4096), &mut out));
            assert!(!shrink(compression, &noise(1 << 20), &mut out));
        }
        assert!(!shrink(Compression::None, &text(4096), &mut out));
        assert!(expand(Compression::None, b"as it is", 8, &mut out).is_ok());
        assert_eq!(out, b"as it is");
        assert_eq!(
            expand(Compression::None, b"x", 8, &mut out).unwrap_err().kind(),
            ErrorKind::Damaged
        );
    }

    #[test]
    fn a_build_without_it_says_which_feature() {
        for compression in BUILT {
            if let Err(error) = check(compression) {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains("feature"), "{error}");
                assert!(!shrink(compression, &text(4096), &mut Vec::new()));
                assert!(expand(compression, &text(64), 4096, &mut Vec::new()).is_err());
            }
        }
    }

    /// The checksum stands before it; without it a flip is an error or other bytes, never more memory and no panic.
    #[test]
    fn every_flip_and_cut_ends_within_bounds() {
        for compression in built() {
            let raw = text(600);
            let mut stored = Vec::new();
            assert!(shrink(compression, &raw, &mut stored));
            for bit in 0..stored.len() * 8 {
                let mut bad = stored.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let mut out = Vec::new();
                if expand(compression, &bad, 600, &mut out).is_ok() {
                    assert_eq!(out.len(), 600);
                }
                assert!(out.capacity() <= 2 << 20);
            }
            for len in 0..stored.len() {
                let mut out = Vec::new();
                assert!(expand(compression, &stored[..len], 600, &mut out).is_err(), "{len}");
            }
            stored.push(0);
            assert!(expand(compression, &stored, 600, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn a_length_that_lies_costs_no_memory() {
        for compression in built() {
            let raw = text(600);
            let mut stored = Vec::new();
            assert!(shrink(compression, &raw, &mut stored));
            for said in [0, 1, 599, 601, 1 << 20, 1 << 40, u64::MAX] {
                let mut out = Vec::new();
                let error = expand(compression, &stored, said, &mut out).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Damaged, "{compression:?} {said}");
                assert!(out.capacity() <= 2 << 20, "{compression:?} {said} {}", out.capacity());
            }
        }
    }
}
