//! The bytes of META, of segments and of frames: FORMAT.md#the-log. Pure: bytes in, values out.
//!
//! # Invariants
//! - L1 Zero is never a header: magic and checksum see to it.
//! - L2 A checksum starts from a seed of salt and offset: bytes of another incarnation, or at another place, do not verify.
//! - L3 A frame's header checksum covers the one before it and its body's checksum: it is the chain value.
//! - L4 A valid checksum with an unknown version, kind or flag is `Newer`, never damage.

use crate::codec::bytes::{Reader, pad8};
use crate::codec::checksum::crc32;

pub(super) const META: &str = "META";
pub(super) const META_LEN: usize = 136;
pub(super) const SEGMENT_HEADER: usize = 64;
pub(super) const FRAME_HEADER: usize = 48;
/// No segment is made smaller, and each is whole before it gets its name.
pub(super) const SEGMENT_MIN: u64 = 1024;
/// No segment is larger, so that offsets in it fit 32 bits.
pub(super) const SEGMENT_MAX: u64 = (1 << 32) - (1 << 20);
const META_MAGIC: &[u8; 8] = b"UNTORNLM";
const SEGMENT_MAGIC: &[u8; 8] = b"UNTORNL1";
const FRAME_MAGIC: &[u8; 4] = b"UFR1";
const VERSION: u16 = 1;
const FLAG_RECORD_CRC: u16 = 1;

const _: () = assert!(SEGMENT_HEADER.is_multiple_of(8) && FRAME_HEADER.is_multiple_of(8));

/// What bytes turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed<T> {
    Valid(T),
    Invalid,
    /// Whole, and of a later version than this one knows (L4).
    Newer,
}

/// How a log's end is recorded in META.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is being written: the walk finds the end.
    Open,
    /// It was closed, and ends here.
    Clean,
    /// It is cut here: redo until done.
    Cut,
}

/// The small file that says where a log begins, and where it ends if that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) store_id: [u8; 16],
    pub(super) owner: [u8; 4],
    pub(super) ended: Ended,
    pub(super) front_segment: u64,
    pub(super) front_seq: u64,
    /// With `Clean` and `Cut`: the last sequence number, and where its frame ends.
    pub(super) last_seq: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// With `Cut`: the new header of the frame that was cut inside; else zero.
    pub(super) frame_header: [u8; FRAME_HEADER],
}

impl Meta {
    pub(super) fn encode(&self) -> [u8; META_LEN] {
        let state: u32 = match self.ended {
            Ended::Open => 0,
            Ended::Clean => 1,
            Ended::Cut => 2,
        };
        let mut out = Writer::<META_LEN>::new();
        out.put(META_MAGIC);
        out.put(&VERSION.to_le_bytes());
        out.put(&0_u16.to_le_bytes());
        out.put(&136_u32.to_le_bytes());
        out.put(&self.store_id);
        out.put(&self.owner);
        out.put(&state.to_le_bytes());
        out.put(&self.front_segment.to_le_bytes());
        out.put(&self.front_seq.to_le_bytes());
        out.put(&self.last_seq.to_le_bytes());
        out.put(&self.segment.to_le_bytes());
        out.put(&self.offset.to_le_bytes());
        out.put(&self.frame_header);
        out.put(&0_u32.to_le_bytes());
        out.seal(0)
    }

    pub(super) fn decode(bytes: &[u8]) -> Parsed<Self> {
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else { return Parsed::Invalid };
        if !body.starts_with(META_MAGIC) {
            return Parsed::Invalid;
        }
        // A later version may be longer; what it shares is magic, version and a checksum at its end.
        if crc32(body, 0) != u32::from_le_bytes(*crc) {
            return Parsed::Invalid;
        }
        Self::fields(body).unwrap_or(Parsed::Newer)
    }

    /// `None` or `Newer` if it is whole but not of this version.
    fn fields(body: &[u8]) -> Option<Parsed<Self>> {
        let mut input = Reader::new(body);
        input.take(META_MAGIC.len())?;
        if (input.u16()?, input.u16()?, input.u32()?) != (VERSION, 0, 136) {
            return None;
        }
        let store_id = input.array()?;
        let owner = input.array()?;
        let ended = match input.u32()? {
            0 => Ended::Open,
            1 => Ended::Clean,
            2 => Ended::Cut,
            _ => return None,
        };
        Some(Parsed::Valid(Self {
            store_id,
            owner,
            ended,
            front_segment: input.u64()?,
            front_seq: input.u64()?,
            last_seq: input.u64()?,
            segment: input.u64()?,
            offset: input.u64()?,
            frame_header: input.array()?,
        }))
    }

    /// Whether the file claims to be META at all.
    pub(super) fn has_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(META_MAGIC)
    }
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) store_id: [u8; 16],
    pub(super) owner: [u8; 4],
    pub(super) number: u64,
    pub(super) first_seq: u64,
    pub(super) salt: u32,
    /// The chain value so far.
    pub(super) prev: u32,
    pub(super) record_crc: bool,
    /// Its own checksum: the chain value for the first frame.
    pub(super) crc: u32,
}

impl SegmentHeader {
    /// The header's bytes; `crc` is computed, whatever the field holds.
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let flags = if self.record_crc { FLAG_RECORD_CRC } else { 0 };
        let mut out = Writer::<SEGMENT_HEADER>::new();
        out.put(SEGMENT_MAGIC);
        out.put(&VERSION.to_le_bytes());
        out.put(&flags.to_le_bytes());
        out.put(&64_u32.to_le_bytes());
        out.put(&self.store_id);
        out.put(&self.number.to_le_bytes());
        out.put(&self.first_seq.to_le_bytes());
        out.put(&self.salt.to_le_bytes());
        out.put(&self.prev.to_le_bytes());
        out.put(&self.owner);
        out.seal(0)
    }

    pub(super) fn decode(bytes: &[u8]) -> Parsed<Self> {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER>() else { return Parsed::Invalid };
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else { return Parsed::Invalid };
        let crc = u32::from_le_bytes(*crc);
        if !body.starts_with(SEGMENT_MAGIC) || crc32(body, 0) != crc {
            return Parsed::Invalid;
        }
        Self::fields(body, crc).unwrap_or(Parsed::Newer)
    }

    fn fields(body: &[u8], crc: u32) -> Option<Parsed<Self>> {
        let mut input = Reader::new(body);
        input.take(SEGMENT_MAGIC.len())?;
        let (version, flags, len) = (input.u16()?, input.u16()?, input.u32()?);
        if version != VERSION || flags & !FLAG_RECORD_CRC != 0 || len != 64 {
            return None;
        }
        let header = Self {
            store_id: input.array()?,
            number: input.u64()?,
            first_seq: input.u64()?,
            salt: input.u32()?,
            prev: input.u32()?,
            owner: input.array()?,
            record_crc: flags & FLAG_RECORD_CRC != 0,
            crc,
        };
        Some(Parsed::Valid(header))
    }
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// Records; the checksum of the body.
    Data { body_crc: u32 },
    /// Nothing but `durable_seq`.
    Mark,
    /// The end of a full segment; the salt of the next one.
    Seal { next_salt: u32 },
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: FrameKind,
    pub(super) body_len: u32,
    pub(super) record_count: u32,
    pub(super) first_seq: u64,
    pub(super) durable_seq: u64,
    pub(super) prev: u32,
    pub(super) salt: u32,
    /// Its own checksum: the chain value for what follows (L3).
    pub(super) crc: u32,
}

impl FrameHeader {
    /// The header's bytes at `offset`; `crc` is computed, whatever the field holds.
    pub(super) fn encode(&self, offset: u64) -> [u8; FRAME_HEADER] {
        let (kind, extra) = match self.kind {
            FrameKind::Data { body_crc } => (1_u8, body_crc),
            FrameKind::Mark => (2, 0),
            FrameKind::Seal { next_salt } => (3, next_salt),
        };
        let mut out = Writer::<FRAME_HEADER>::new();
        out.put(FRAME_MAGIC);
        out.put(&[kind, 0]);
        out.put(&48_u16.to_le_bytes());
        out.put(&self.body_len.to_le_bytes());
        out.put(&self.record_count.to_le_bytes());
        out.put(&self.first_seq.to_le_bytes());
        out.put(&self.durable_seq.to_le_bytes());
        out.put(&self.prev.to_le_bytes());
        out.put(&extra.to_le_bytes());
        out.put(&self.salt.to_le_bytes());
        out.seal(seed(self.salt, offset))
    }

    /// Reads a header at `offset` of a segment with `salt`.
    pub(super) fn decode(bytes: &[u8], salt: u32, offset: u64) -> Parsed<Self> {
        let Some(bytes) = bytes.first_chunk::<FRAME_HEADER>() else { return Parsed::Invalid };
        if !bytes.starts_with(FRAME_MAGIC) {
            return Parsed::Invalid;
        }
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else { return Parsed::Invalid };
        let crc = u32::from_le_bytes(*crc);
        if crc32(body, seed(salt, offset)) != crc {
            return Parsed::Invalid;
        }
        Self::fields(body, salt, crc).unwrap_or(Parsed::Newer)
    }

    fn fields(body: &[u8], salt: u32, crc: u32) -> Option<Parsed<Self>> {
        let mut input = Reader::new(body);
        input.take(FRAME_MAGIC.len())?;
        let (kind, flags, len) = (input.u8()?, input.u8()?, input.u16()?);
        if flags != 0 || len != 48 {
            return None;
        }
        let (body_len, record_count) = (input.u32()?, input.u32()?);
        let (first_seq, durable_seq) = (input.u64()?, input.u64()?);
        let (prev, extra, own_salt) = (input.u32()?, input.u32()?, input.u32()?);
        let kind = match kind {
            1 => FrameKind::Data { body_crc: extra },
            2 => FrameKind::Mark,
            3 => FrameKind::Seal { next_salt: extra },
            _ => return None,
        };
        let header = Self { kind, body_len, record_count, first_seq, durable_seq, prev, salt, crc };
        let bodiless = !matches!(kind, FrameKind::Data { .. });
        if own_salt != salt || (bodiless && (body_len, record_count) != (0, 0)) {
            return Some(Parsed::Invalid);
        }
        Some(Parsed::Valid(header))
    }

    /// Bytes that the frame takes with its padding.
    pub(super) const fn frame_len(&self) -> u64 {
        (FRAME_HEADER as u64).saturating_add(pad8(self.body_len as u64))
    }

    /// The sequence number after the frame's last record.
    pub(super) const fn next_seq(&self) -> u64 {
        self.first_seq.saturating_add(self.record_count as u64)
    }
}

/// Where checksums of a frame start (L2).
pub(super) fn seed(salt: u32, offset: u64) -> u32 {
    let mut bytes = [0; 12];
    let (low, high) = bytes.split_at_mut(4);
    low.copy_from_slice(&salt.to_le_bytes());
    high.copy_from_slice(&offset.to_le_bytes());
    crc32(&bytes, 0)
}

/// How records lie in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordLayout {
    pub(super) record_crc: bool,
    pub(super) salt: u32,
}

impl RecordLayout {
    /// Bytes before a record's own.
    pub(super) const fn prefix(self) -> usize {
        if self.record_crc { 8 } else { 4 }
    }

    /// Appends a record to a body. `offset` is where its prefix will lie in the segment; `record` is under 4 GiB.
    pub(super) fn encode(self, record: &[u8], offset: u64, out: &mut Vec<u8>) {
        let len = u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&len);
        if self.record_crc {
            let crc = crc32(record, crc32(&len, seed(self.salt, offset)));
            out.extend_from_slice(&crc.to_le_bytes());
        }
        out.extend_from_slice(record);
    }

    /// The record at the start of `bytes`, which lies at `offset`; with record checksums, verified.
    pub(super) fn decode(self, bytes: &[u8], offset: u64, verify: bool) -> Option<&[u8]> {
        let mut input = Reader::new(bytes);
        let len = input.u32()?;
        let crc = if self.record_crc { Some(input.u32()?) } else { None };
        let record = input.take(usize::try_from(len).ok()?)?;
        match crc {
            Some(crc) if verify => {
                let expected = crc32(record, crc32(&len.to_le_bytes(), seed(self.salt, offset)));
                (expected == crc).then_some(record)
            }
            _ => Some(record),
        }
    }

    /// Whether exactly `count` records fill the body.
    pub(super) fn adds_up(self, body: &[u8], count: u32) -> bool {
        let mut rest = body;
        for _ in 0..count {
            let Some(record) = self.decode(rest, 0, false) else { return false };
            let len = record.len().saturating_add(self.prefix());
            let Some(after) = rest.get(len..) else { return false };
            rest = after;
        }
        rest.is_empty()
    }
}

/// `0000000000000001.seg`
pub(super) fn segment_name(number: u64) -> String {
    format!("{number:016x}.seg")
}

/// The number in a segment's name.
pub(super) fn segment_number(name: &std::ffi::OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(".seg")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (number > 0 && segment_name(number).strip_suffix(".seg") == Some(digits)).then_some(number)
}

/// Fills an array from front to back; its last four bytes are the checksum of the rest.
struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], at: 0 }
    }

    fn put(&mut self, field: &[u8]) {
        let end = self.at.saturating_add(field.len());
        if let Some(slot) = self.bytes.get_mut(self.at..end) {
            slot.copy_from_slice(field);
        }
        self.at = end;
    }

    fn seal(mut self, seed: u32) -> [u8; N] {
        debug_assert_eq!(self.at.saturating_add(4), N, "fields do not add up to the header");
        if let Some((body, crc)) = self.bytes.split_last_chunk_mut::<4>() {
            *crc = crc32(body, seed).to_le_bytes();
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// The worked example of docs/FORMAT.md, byte for byte.
    #[test]
    fn golden_segment() {
        let golden = hex(
            "554e544f 524e4c31 01000000 40000000 00010203 04050607 08090a0b 0c0d0e0f 01000000 00000000
             01000000 00000000 d4c3b2a1 00000000 4a524e4c 97922423
             55465231 01003000 10000000 02000000 01000000 00000000 00000000 00000000 97922423 1f5222fc
             d4c3b2a1 19335f18 05000000 68656c6c 6f030000 00796f75
             55465231 02003000 00000000 00000000 03000000 00000000 02000000 00000000 19335f18 00000000
             d4c3b2a1 bddf37ce",
        );
        let salt = 0xa1b2_c3d4;
        let Parsed::Valid(segment) = SegmentHeader::decode(&golden) else { panic!("segment") };
        assert_eq!((segment.number, segment.first_seq, segment.salt), (1, 1, salt));
        assert_eq!(segment.encode(), golden[..64]);

        let layout = RecordLayout { record_crc: false, salt };
        let mut body = Vec::new();
        layout.encode(b"hello", 0, &mut body);
        layout.encode(b"you", 0, &mut body);
        let body_crc = crc32(&body, seed(salt, 64));
        let data = FrameHeader {
            kind: FrameKind::Data { body_crc },
            body_len: 16,
            record_count: 2,
            first_seq: 1,
            durable_seq: 0,
            prev: segment.crc,
            salt,
            crc: 0,
        };
        assert_eq!(data.encode(64), golden[64..112]);
        assert_eq!(body, golden[112..128]);
        let Parsed::Valid(data) = FrameHeader::decode(&golden[64..], salt, 64) else { panic!() };
        let mark = FrameHeader {
            kind: FrameKind::Mark,
            body_len: 0,
            record_count: 0,
            first_seq: 3,
            durable_seq: 2,
            prev: data.crc,
            salt,
            crc: 0,
        };
        assert_eq!(mark.encode(128), golden[128..176]);
        assert_eq!(FrameHeader::decode(&golden[64..], salt, 72), Parsed::Invalid, "other offset");
        assert_eq!(FrameHeader::decode(&golden[64..], 7, 64), Parsed::Invalid, "other salt");
    }

    #[test]
    fn zero_is_never_a_header() {
        let zeros = [0; META_LEN];
        assert_eq!(Meta::decode(&zeros), Parsed::Invalid);
        assert_eq!(SegmentHeader::decode(&zeros), Parsed::Invalid);
        for salt in [0, 1, u32::MAX] {
            assert_eq!(FrameHeader::decode(&zeros, salt, 0), Parsed::Invalid);
        }
    }

    #[test]
    fn every_bit_and_every_cut_of_a_header_is_noticed() {
        let meta = Meta {
            store_id: [7; 16],
            owner: *b"USER",
            ended: Ended::Cut,
            front_segment: 1,
            front_seq: 1,
            last_seq: 9,
            segment: 1,
            offset: 128,
            frame_header: [3; FRAME_HEADER],
        };
        let bytes = meta.encode();
        assert_eq!(Meta::decode(&bytes), Parsed::Valid(meta));
        for cut in 0..bytes.len() {
            assert_eq!(Meta::decode(&bytes[..cut]), Parsed::Invalid, "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Meta::decode(&flipped), Parsed::Invalid, "bit {bit}");
        }
    }

    /// A record of a newer version was cut as torn by an older program: it must be told apart from damage.
    #[test]
    fn a_newer_version_is_not_damage() {
        let mut bytes = [0; META_LEN];
        bytes[..8].copy_from_slice(META_MAGIC);
        bytes[8] = 2;
        let crc = crc32(&bytes[..META_LEN - 4], 0);
        bytes[META_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Meta::decode(&bytes), Parsed::Newer);

        let mut frame = [0; FRAME_HEADER];
        frame[..4].copy_from_slice(FRAME_MAGIC);
        frame[4] = 9;
        frame[6] = 48;
        let crc = crc32(&frame[..44], seed(5, 64));
        frame[44..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FrameHeader::decode(&frame, 5, 64), Parsed::Newer);
    }

    #[test]
    fn segment_names() {
        use std::ffi::OsStr;
        assert_eq!(segment_name(255), "00000000000000ff.seg");
        assert_eq!(segment_number(OsStr::new("00000000000000ff.seg")), Some(255));
        for bad in
            ["0000000000000000.seg", "ff.seg", "00000000000000FF.seg", "x", "+0000000000000ff.seg"]
        {
            assert_eq!(segment_number(OsStr::new(bad)), None, "{bad}");
        }
    }
}
