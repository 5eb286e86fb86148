//! The bytes of a pool's files: FORMAT.md#a-persisted-path-of-a-pool. Pure: bytes in, values out.
//!
//! # Invariants
//! - F1 Zero is never a header, and no salt is zero: magics and checksums see to it.
//! - F2 The file's salt seeds both checksums of every frame: bytes of another file, or of another life of it, do not verify.
//! - F3 A valid checksum with an unknown version, kind or compression is `Newer`, never damage.
//! - F4 Frames and payloads begin at multiples of 64, in the file and in a batch.

use std::ops::Range;

use uuid::Uuid;

use super::batch::{Batch, FRAME_HEADER, Meta, Part};
use super::compress::Compression;
use crate::codec::bytes::Reader;
use crate::codec::checksum::{crc32, crc32_join};

/// Bytes before the first frame of a file.
pub(super) const FILE_HEADER: usize = 64;
const FILE_MAGIC: &[u8; 8] = b"UNTPOOL\0";
const FILE_VERSION: u16 = 1;
const FRAME_MAGIC: &[u8; 4] = b"UOBJ";
const FRAME_VERSION: u8 = 1;
/// Where the salt is in a file's header; what precedes it says whose file it is.
pub(super) const SALT_AT: usize = 40;
/// Where the checksum of a header is, of a file's and of a frame's.
const CRC_AT: usize = 60;

/// What bytes turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed<T> {
    Valid(T),
    Invalid,
    /// Whole, and of a later version than this one knows (F3).
    Newer,
}

/// What a file of a pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Many objects.
    Segment,
    /// One object.
    Own,
}

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: FileKind,
    /// Zero in an own file, which may be linked from one tier to another.
    pub(super) store_id: [u8; 16],
    /// Zero in an own file.
    pub(super) number: u64,
    /// Never zero.
    pub(super) salt: u32,
}

impl FileHeader {
    pub(super) const fn segment(store_id: [u8; 16], number: u64, salt: u32) -> Self {
        let salt = if salt == 0 { 1 } else { salt };
        Self { kind: FileKind::Segment, store_id, number, salt }
    }

    /// Of the file that has this object alone: the same in every tier.
    pub(super) fn own(key: Uuid) -> Self {
        let salt = crc32(key.as_bytes(), 0).max(1);
        Self { kind: FileKind::Own, store_id: [0; 16], number: 0, salt }
    }

    pub(super) fn encode(&self) -> [u8; FILE_HEADER] {
        let kind = match self.kind {
            FileKind::Segment => 1,
            FileKind::Own => 2,
        };
        let mut out = [0; FILE_HEADER];
        put(&mut out, 0, FILE_MAGIC);
        put(&mut out, 8, &FILE_VERSION.to_le_bytes());
        put(&mut out, 10, &[kind]);
        put(&mut out, 16, &self.store_id);
        put(&mut out, 32, &self.number.to_le_bytes());
        put(&mut out, SALT_AT, &self.salt.to_le_bytes());
        close(&mut out, 0);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Parsed<Self> {
        let whole = closed(bytes, 0).filter(|body| body.starts_with(FILE_MAGIC));
        let Some(body) = whole else { return Parsed::Invalid };
        Self::fields(body).map_or(Parsed::Newer, Parsed::Valid)
    }

    /// `None` if it is whole and not of this version.
    fn fields(body: &[u8]) -> Option<Self> {
        let mut input = Reader::new(body);
        input.take(FILE_MAGIC.len())?;
        if input.u16()? != FILE_VERSION {
            return None;
        }
        let kind = match input.u8()? {
            1 => FileKind::Segment,
            2 => FileKind::Own,
            _ => return None,
        };
        input.take(5)?;
        let (store_id, number, salt) = (input.array()?, input.u64()?, input.u32()?);
        Some(Self { kind, store_id, number, salt })
    }

    /// Whether a file claims to be one of a pool at all.
    pub(super) fn has_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(FILE_MAGIC)
    }
}

/// What stands before an object's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) key: Uuid,
    /// A level of compression is not kept: it is zero when read.
    pub(super) meta: Meta,
    pub(super) stored_len: u64,
    /// Of the payload, seeded with the file's salt.
    pub(super) seeded: u32,
}

impl FrameHeader {
    pub(super) fn encode(&self, salt: u32) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        put(&mut out, 0, FRAME_MAGIC);
        put(&mut out, 4, &[FRAME_VERSION, compression_code(self.meta.compression)]);
        put(&mut out, 6, &self.meta.codec.to_le_bytes());
        put(&mut out, 8, &self.meta.tag.to_le_bytes());
        put(&mut out, 16, self.key.as_bytes());
        put(&mut out, 32, &self.meta.raw_len.to_le_bytes());
        put(&mut out, 40, &self.stored_len.to_le_bytes());
        put(&mut out, 48, &self.meta.weight.to_le_bytes());
        put(&mut out, 56, &self.seeded.to_le_bytes());
        close(&mut out, salt);
        out
    }

    pub(super) fn decode(bytes: &[u8], salt: u32) -> Parsed<Self> {
        let whole = closed(bytes, salt).filter(|body| body.starts_with(FRAME_MAGIC));
        let Some(body) = whole else { return Parsed::Invalid };
        Self::fields(body).map_or(Parsed::Newer, Parsed::Valid)
    }

    fn fields(body: &[u8]) -> Option<Self> {
        let mut input = Reader::new(body);
        input.take(FRAME_MAGIC.len())?;
        if input.u8()? != FRAME_VERSION {
            return None;
        }
        let compression = compression_of(input.u8()?)?;
        let (codec, tag) = (input.u16()?, input.u64()?);
        let key = Uuid::from_bytes(input.array()?);
        let (raw_len, stored_len, weight) = (input.u64()?, input.u64()?, input.u64()?);
        let meta = Meta { codec, compression, tag, raw_len, weight };
        Some(Self { key, meta, stored_len, seeded: input.u32()? })
    }

    /// The checksum of the payload without a seed, by which it is known in whatever file it is.
    pub(super) fn crc(&self, salt: u32) -> u32 {
        // Checksums are linear: what the seed adds is taken off again.
        self.seeded ^ crc32_join(salt, 0, self.stored_len)
    }
}

/// A compression as one byte, without its level.
pub(super) const fn compression_code(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Lz4 => 1,
        Compression::Zstd(_) => 2,
    }
}

pub(super) const fn compression_of(code: u8) -> Option<Compression> {
    match code {
        0 => Some(Compression::None),
        1 => Some(Compression::Lz4),
        2 => Some(Compression::Zstd(0)),
        _ => None,
    }
}

/// As a frame gives it back.
pub(super) fn as_read(meta: Meta) -> Meta {
    let compression = compression_of(compression_code(meta.compression));
    Meta { compression: compression.unwrap_or_default(), ..meta }
}

impl Batch {
    /// Fills in the header of an object for a file with this salt, again if it had one. The checksum of its stored bytes, without a seed.
    pub(super) fn seal(&mut self, nth: usize, salt: u32) -> u32 {
        let Some(part) = self.parts.get(nth).copied() else { return 0 };
        let crc = crc32(self.bytes.get(part.payload()).unwrap_or_default(), 0);
        let (stored_len, key, meta) = (part.stored_len as u64, part.key, part.meta);
        let seeded = crc32_join(salt, crc, stored_len);
        let header = FrameHeader { key, meta, stored_len, seeded };
        put(&mut self.bytes, part.frame, &header.encode(salt));
        crc
    }

    /// The frames of some objects that follow each other, with their padding: what is written at once.
    pub(super) fn frames(&self, parts: Range<usize>) -> &[u8] {
        let Some([first, ..]) = self.parts.get(parts.clone()) else { return &[] };
        let last = self.parts.get(parts.end.saturating_sub(1)).unwrap_or(first);
        let end = last.frame.saturating_add(last.framed_len());
        self.bytes.get(first.frame..end).unwrap_or_default()
    }

    pub(super) fn part(&self, nth: usize) -> Option<&Part> {
        self.parts.get(nth)
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = out.get_mut(at..at.saturating_add(bytes.len())) {
        to.copy_from_slice(bytes);
    }
}

fn close(header: &mut [u8; 64], seed: u32) {
    let crc = crc32(header.get(..CRC_AT).unwrap_or_default(), seed);
    put(header, CRC_AT, &crc.to_le_bytes());
}

/// What a header's checksum covers, if it fits.
fn closed(bytes: &[u8], seed: u32) -> Option<&[u8]> {
    let (body, rest) = bytes.split_at_checked(CRC_AT)?;
    let crc = Reader::new(rest).u32()?;
    (crc32(body, seed) == crc).then_some(body)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
mod tests {
    use super::*;
    use crate::pool::batch::framed_len;

    fn key(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn frame(salt: u32) -> Vec<u8> {
        let mut batch = Batch::new();
        let meta = Meta { raw_len: 9, compression: Compression::Zstd(3), ..Meta::new(2, 77, 5) };
        batch.push_stored(key(1), meta, b"payload");
        batch.seal(0, salt);
        batch.frames(0..1).to_vec()
    }

    /// As a reader: header, then payload.
    fn reads(bytes: &[u8], salt: u32) -> bool {
        let Parsed::Valid(header) = FrameHeader::decode(bytes, salt) else { return false };
        let len = usize::try_from(header.stored_len).unwrap();
        let payload = bytes.get(FRAME_HEADER..FRAME_HEADER + len);
        header.key == key(1) && payload.is_some_and(|p| crc32(p, salt) == header.seeded)
    }

    #[test]
    fn a_frame_comes_back() {
        let bytes = frame(99);
        assert_eq!(bytes.len(), 128);
        let Parsed::Valid(header) = FrameHeader::decode(&bytes, 99) else {
            panic!("it does not parse");
        };
        assert_eq!((header.key, header.stored_len), (key(1), 7));
        let meta = Meta { raw_len: 9, compression: Compression::Zstd(0), ..Meta::new(2, 77, 5) };
        assert_eq!(header.meta, meta);
        assert_eq!((header.seeded, header.crc(99)), (crc32(b"payload", 99), crc32(b"payload", 0)));
        assert!(reads(&bytes, 99) && !reads(&bytes, 98) && !reads(&bytes, 0));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_frame_reads() {
        let bytes = frame(99);
        for bit in 0..(FRAME_HEADER + 7) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!reads(&bad, 99), "bit {bit}");
        }
        for cut in 0..FRAME_HEADER + 7 {
            assert!(!reads(&bytes[..cut], 99), "cut at {cut}");
            let mut zeroed = bytes[..cut].to_vec();
            zeroed.resize(bytes.len(), 0);
            assert!(!reads(&zeroed, 99), "zeros from {cut} on");
        }
    }

    #[test]
    fn no_flipped_bit_and_no_cut_of_a_file_header_reads() {
        let header = FileHeader::segment([7; 16], 5, 99);
        let bytes = header.encode();
        assert_eq!(FileHeader::decode(&bytes), Parsed::Valid(header));
        for bit in 0..FILE_HEADER * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&bad), Parsed::Invalid, "bit {bit}");
        }
        for cut in 0..FILE_HEADER {
            assert_eq!(FileHeader::decode(&bytes[..cut]), Parsed::Invalid, "cut at {cut}");
        }
        assert_eq!(FileHeader::decode(&[0; FILE_HEADER]), Parsed::Invalid);
    }

    #[test]
    fn what_is_whole_and_unknown_is_newer() {
        let mut bytes = FileHeader::own(key(3)).encode();
        bytes[8] = 2;
        close(&mut bytes, 0);
        assert_eq!(FileHeader::decode(&bytes), Parsed::Newer);
        for (at, value) in [(4, 2), (5, 3)] {
            let mut header: [u8; 64] = frame(9)[..64].try_into().unwrap();
            header[at] = value;
            close(&mut header, 9);
            assert_eq!(FrameHeader::decode(&header, 9), Parsed::Newer);
        }
    }

    #[test]
    fn salts_are_never_zero() {
        assert_eq!(FileHeader::segment([0; 16], 1, 0).salt, 1);
        for n in 0..100 {
            assert_ne!(FileHeader::own(key(n)).salt, 0);
        }
    }

    #[test]
    fn a_batch_is_sealed_in_place_and_again() {
        let mut batch = Batch::new();
        for n in 0..5_usize {
            let bytes = vec![7; n * 40];
            batch.push_stored(key(n as u128), Meta::default(), &bytes);
        }
        for salt in [1, 2] {
            for n in 0..5 {
                assert_eq!(batch.seal(n, salt), crc32(&vec![7; n * 40], 0));
            }
            let mut at = 0;
            for n in 0..5_usize {
                let bytes = &batch.frames(0..5)[at..];
                let Parsed::Valid(header) = FrameHeader::decode(bytes, salt) else {
                    panic!("object {n} does not parse");
                };
                assert_eq!((header.key, header.stored_len), (key(n as u128), n as u64 * 40));
                assert_eq!(crc32(&bytes[64..64 + n * 40], salt), header.seeded);
                at += framed_len(n * 40);
            }
            assert_eq!(at, batch.frames(0..5).len());
        }
        assert_eq!(batch.frames(1..3).len(), framed_len(40) + framed_len(80));
        assert!(batch.frames(5..6).is_empty() && batch.frames(2..2).is_empty());
    }

    /// The worked example of FORMAT.md.
    #[test]
    fn golden_segment() {
        let id: [u8; 16] = std::array::from_fn(|n| u8::try_from(n).unwrap());
        let mut bytes = FileHeader::segment(id, 1, 0xa1b2_c3d4).encode().to_vec();
        let mut batch = Batch::new();
        let key = Uuid::parse_str("0198c1a4-0b7e-7c3f-9d0e-5a6b7c8d9e0f").unwrap();
        batch.push_stored(key, Meta { raw_len: 5, ..Meta::new(3, 7, 24) }, b"hello");
        batch.seal(0, 0xa1b2_c3d4);
        bytes.extend_from_slice(batch.frames(0..1));
        let (lines, _) = bytes.as_chunks();
        let hex: Vec<String> =
            lines.iter().map(|line| format!("{:032x}", u128::from_be_bytes(*line))).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: [&str; 12] = [
        "554e54504f4f4c000100010000000000",
        "000102030405060708090a0b0c0d0e0f",
        "0100000000000000d4c3b2a100000000",
        "00000000000000000000000048098e28",
        "554f424a010003000700000000000000",
        "0198c1a40b7e7c3f9d0e5a6b7c8d9e0f",
        "05000000000000000500000000000000",
        "180000000000000021995b5f8012b5f4",
        "68656c6c6f0000000000000000000000",
        "00000000000000000000000000000000",
        "00000000000000000000000000000000",
        "00000000000000000000000000000000",
    ];
}
