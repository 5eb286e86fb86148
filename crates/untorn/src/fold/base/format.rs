//! The bytes around the blocks of a base. No I/O. docs/FORMAT.md has the tables.

use super::super::{Lineage, VersionToken, WatchCursor};
use crate::codec::bytes::{Reader, common, head_of, put_varint, put_with_len};
use crate::codec::checksum::crc32;

pub(super) const HEADER: usize = 64;
pub(super) const FOOTER: usize = 64;
const MAGIC: &[u8; 8] = b"UNTORNFB";
const END_MAGIC: &[u8; 8] = b"UNTORNFE";
const VERSION: u16 = 1;

/// The header of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Header {
    /// The log's.
    pub(in super::super) store_id: [u8; 16],
    /// The first record of the log that is not in the base.
    pub(in super::super) floor: u64,
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    NotOurs,
    Newer(u16),
    Damaged,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(&64_u32.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.floor.to_le_bytes());
        with_crc(out, HEADER, &[])
    }

    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self, NoHeader> {
        if !bytes.starts_with(MAGIC) {
            return Err(NoHeader::NotOurs);
        }
        let fields = || {
            let mut input = Reader::new(checked(bytes)?);
            input.take(MAGIC.len())?;
            let version = (input.u16()?, input.u16()?, input.u32()?);
            Some((version, Self { store_id: input.array()?, floor: input.u64()? }))
        };
        match fields() {
            Some(((VERSION, 0, 64), header)) => Ok(header),
            Some(((version, ..), _)) => Err(NoHeader::Newer(version)),
            None => Err(NoHeader::Damaged),
        }
    }
}

/// What a base says of itself as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Meta {
    pub(in super::super) cursor: WatchCursor,
    pub(in super::super) lineage: Option<Lineage>,
    /// The newest version that it knew of.
    pub(in super::super) mark: VersionToken,
    pub(in super::super) wall_ms: u64,
    pub(in super::super) entries: u64,
    pub(in super::super) tombstones: u64,
    /// Bytes of keys, versions and values.
    pub(in super::super) bytes: u64,
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_with_len(&self.cursor.to_bytes(), &mut out);
        out.push(u8::from(self.lineage.is_some()));
        if let Some(lineage) = &self.lineage {
            put_with_len(lineage.kind.as_bytes(), &mut out);
            put_with_len(&lineage.id, &mut out);
        }
        put_with_len(self.mark.as_bytes(), &mut out);
        for number in [self.wall_ms, self.entries, self.tombstones, self.bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32(&out, 0);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(checked(bytes)?);
        let cursor = WatchCursor::from_bytes(input.with_len()?)?;
        let lineage = match input.u8()? {
            0 => None,
            1 => {
                let kind = String::from_utf8(input.with_len()?.to_vec()).ok()?;
                Some(Lineage { kind, id: input.with_len()?.to_vec() })
            }
            _ => return None,
        };
        let mark = VersionToken::from_raw(input.with_len()?).ok()?;
        let [wall_ms, entries, tombstones, bytes] =
            [input.u64()?, input.u64()?, input.u64()?, input.u64()?];
        let meta = Self { cursor, lineage, mark, wall_ms, entries, tombstones, bytes };
        input.rest().is_empty().then_some(meta)
    }
}

/// Where the blocks lie, and where their keys begin: for each block a key that is above all of the block before, and not above
/// its own first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    places: Vec<(u64, u32)>,
    /// Where each block's key ends in `keys`.
    ends: Vec<u32>,
    keys: Vec<u8>,
    /// All keys begin with the first `skip` bytes of the first one; these are the next eight of each. Made when it is read.
    skip: usize,
    heads: Vec<u64>,
}

impl Index {
    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }

    /// Adds a block; false if there is no room for it.
    pub(super) fn push(&mut self, offset: u64, len: u32, key: &[u8]) -> bool {
        let Ok(end) = u32::try_from(self.keys.len().saturating_add(key.len())) else {
            return false;
        };
        self.places.push((offset, len));
        self.keys.extend_from_slice(key);
        self.ends.push(end);
        true
    }

    pub(super) fn place(&self, nth: usize) -> Option<(u64, u32)> {
        self.places.get(nth).copied()
    }

    pub(super) fn key(&self, nth: usize) -> Option<&[u8]> {
        let start = match nth.checked_sub(1) {
            None => 0,
            Some(before) => usize::try_from(*self.ends.get(before)?).ok()?,
        };
        self.keys.get(start..usize::try_from(*self.ends.get(nth)?).ok()?)
    }

    /// The block that has the key, if any has; `None` if it is below all.
    pub(super) fn block_of(&self, key: &[u8]) -> Option<usize> {
        let (mut low, mut high) = self.around(key)?;
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle)? <= key { low = middle.saturating_add(1) } else { high = middle }
        }
        low.checked_sub(1)
    }

    /// Blocks among which the first one above the key is, or behind them: most of a search looks at the heads alone. `None` if the
    /// key is below all.
    fn around(&self, key: &[u8]) -> Option<(usize, usize)> {
        let shared = self.key(0)?.get(..self.skip)?;
        match key.get(..self.skip).unwrap_or(key).cmp(shared) {
            std::cmp::Ordering::Less => return None,
            std::cmp::Ordering::Greater => return Some((self.len(), self.len())),
            std::cmp::Ordering::Equal => {}
        }
        let head = head_of(key, self.skip);
        let low = self.heads.partition_point(|h| *h < head);
        let same = self.heads.get(low..)?.partition_point(|h| *h == head);
        Some((low, low.saturating_add(same)))
    }

    fn take_heads(&mut self) {
        let last = self.len().checked_sub(1).and_then(|last| self.key(last));
        self.skip = common(self.key(0).unwrap_or_default(), last.unwrap_or_default());
        let head = |nth| head_of(self.key(nth).unwrap_or_default(), self.skip);
        self.heads = (0..self.len()).map(head).collect();
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(self.len() as u64, &mut out);
        for (nth, (offset, len)) in self.places.iter().enumerate() {
            put_varint(*offset, &mut out);
            put_varint(u64::from(*len), &mut out);
            put_with_len(self.key(nth).unwrap_or_default(), &mut out);
        }
        let crc = crc32(&out, 0);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `end` is where the blocks end: none lies behind it.
    pub(super) fn decode(bytes: &[u8], end: u64) -> Option<Self> {
        let mut input = Reader::new(checked(bytes)?);
        let count = usize::try_from(input.varint()?).ok()?;
        let mut index = Self::default();
        let mut below = HEADER as u64;
        for _ in 0..count {
            let (offset, len) = (input.varint()?, u32::try_from(input.varint()?).ok()?);
            let next = offset.checked_add(u64::from(len))?;
            let key = input.with_len()?;
            let last = index.len().checked_sub(1).and_then(|last| index.key(last));
            let ascends = last.is_none_or(|last| last < key);
            (offset >= below && next <= end && ascends).then_some(())?;
            below = next;
            index.push(offset, len, key).then_some(())?;
        }
        index.take_heads();
        input.rest().is_empty().then_some(index)
    }
}

/// The end of a base: it has one once it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) meta: (u64, u32),
    pub(super) index: (u64, u32),
    pub(super) file_len: u64,
    pub(super) store_id: [u8; 16],
}

impl Footer {
    pub(super) fn encode(&self) -> [u8; FOOTER] {
        let mut out = Vec::with_capacity(FOOTER);
        for (offset, len) in [self.meta, self.index] {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&len.to_le_bytes());
        }
        out.extend_from_slice(&self.file_len.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        with_crc(out, FOOTER, END_MAGIC)
    }

    pub(super) fn decode(bytes: &[u8; FOOTER]) -> Option<Self> {
        let body = bytes.strip_suffix(END_MAGIC)?;
        let mut input = Reader::new(checked(body)?);
        let mut place = || Some((input.u64()?, input.u32()?));
        let (meta, index) = (place()?, place()?);
        Some(Self { meta, index, file_len: input.u64()?, store_id: input.array()? })
    }
}

/// The fields, zeros, their checksum and `end`: `N` bytes in all.
fn with_crc<const N: usize>(mut fields: Vec<u8>, len: usize, end: &[u8]) -> [u8; N] {
    fields.resize(len.saturating_sub(4).saturating_sub(end.len()), 0);
    let crc = crc32(&fields, 0);
    fields.extend_from_slice(&crc.to_le_bytes());
    fields.extend_from_slice(end);
    fields.try_into().unwrap_or([0; N])
}

/// What stands before the checksum at the end, if that is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk()?;
    (crc32(body, 0) == u32::from_le_bytes(*crc)).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flipped<const N: usize>(bytes: &[u8; N]) -> impl Iterator<Item = [u8; N]> {
        (0..N).flat_map(|at| (0..8).map(move |bit| (at, bit))).map(|(at, bit)| {
            let mut other = *bytes;
            other[at] ^= 1 << bit;
            other
        })
    }

    #[test]
    fn head_and_foot_come_back_and_no_flipped_bit_does() {
        let header = Header { store_id: [7; 16], floor: 99 };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        for other in flipped(&header.encode()) {
            assert!(Header::decode(&other).is_err());
        }
        let footer = Footer { meta: (64, 9), index: (73, 8), file_len: 145, store_id: [7; 16] };
        assert_eq!(Footer::decode(&footer.encode()), Some(footer));
        for other in flipped(&footer.encode()) {
            assert_eq!(Footer::decode(&other), None);
        }
        assert_eq!(Header::decode(&[0; 64]), Err(NoHeader::NotOurs));
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = Header { store_id: [7; 16], floor: 99 }.encode();
        bytes[8] = 2;
        let crc = crc32(&bytes[..60], 0);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(NoHeader::Newer(2)));
    }

    #[test]
    fn what_a_base_says_comes_back() {
        let metas = [
            Meta::default(),
            Meta {
                cursor: WatchCursor::from_u64(5),
                lineage: Some(Lineage { kind: "nats".into(), id: b"KV".to_vec() }),
                mark: VersionToken::from_u64(6),
                wall_ms: 1,
                entries: 2,
                tombstones: 3,
                bytes: 4,
            },
        ];
        for meta in metas {
            let bytes = meta.encode();
            assert_eq!(Meta::decode(&bytes), Some(meta));
            for cut in 0..bytes.len() {
                assert_eq!(Meta::decode(&bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn the_index_finds_the_block() {
        let mut index = Index::default();
        for (nth, key) in [b"b", b"d", b"f"].iter().enumerate() {
            assert!(index.push(64 + nth as u64 * 10, 10, *key));
        }
        index.take_heads();
        let found: Vec<_> =
            [&b"a"[..], b"b", b"c", b"d", b"e", b"f", b"z"].map(|key| index.block_of(key)).to_vec();
        assert_eq!(found, [None, Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(Index::decode(&index.encode(), 94), Some(index.clone()));
        assert_eq!(Index::decode(&index.encode(), 93), None, "a block behind the end");
        let mut bad = index.clone();
        assert!(bad.push(80, 10, b"g"));
        assert_eq!(Index::decode(&bad.encode(), 1000), None, "blocks that lie in each other");
        assert!(index.push(94, 1, b"a"));
        assert_eq!(Index::decode(&index.encode(), 1000), None, "keys that do not ascend");
    }
}
