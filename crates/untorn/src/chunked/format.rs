//! The bytes of a part's `meta` and of the records in its `map`, and nothing else. docs/FORMAT.md has the tables.

use super::{Expected, Identity};
use crate::codec::bytes::Reader;
use crate::codec::checksum::crc32;

const MAGIC: [u8; 8] = *b"UNTPART\0";
const VERSION: u16 = 1;
const FLAG_VOUCHED: u16 = 1;
const FLAG_BUFFERED: u16 = 2;
/// No `meta` is longer.
pub(super) const META_MAX: usize = 16 * 1024;
const LEN_UNKNOWN: u64 = u64::MAX;
const COVER: u8 = 2;
const RETRACT: u8 = 3;
const EXTENT: usize = 16;

/// The sizes of a chunk that there may be, as powers of two: 4 KiB to 1 GiB.
pub(super) const CHUNK_SHIFTS: std::ops::RangeInclusive<u8> = 12..=30;

/// What a part is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// The caller vouched for it: there may be nothing by which it is known again.
    pub(super) vouched: bool,
    /// What it trusts was never synced.
    pub(super) buffered: bool,
    pub(super) chunk_shift: u8,
    pub(super) part_id: [u8; 16],
    pub(super) created_ms: u64,
    /// The target's name.
    pub(super) name: Vec<u8>,
    pub(super) identity: Identity,
}

/// What the bytes of a `meta` are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Valid(Meta),
    /// Of a later version of this crate.
    Newer(u16),
    Bad(&'static str),
}

impl Meta {
    /// The bytes; `None` if they would be more than a `meta` may have.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let identity = &self.identity;
        let none = Expected { algo: String::new(), sum: Vec::new() };
        let digest = identity.digest.as_ref().unwrap_or(&none);
        let mut flags = if self.vouched { FLAG_VOUCHED } else { 0 };
        flags |= if self.buffered { FLAG_BUFFERED } else { 0 };
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(flags.to_le_bytes());
        let algo_len = u8::try_from(digest.algo.len()).ok()?;
        let sum_len = u8::try_from(digest.sum.len()).ok()?;
        out.extend([self.chunk_shift, algo_len, sum_len, 0]);
        out.extend(self.part_id);
        out.extend(identity.len.unwrap_or(LEN_UNKNOWN).to_le_bytes());
        out.extend(self.created_ms.to_le_bytes());
        let text = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        let fields = [
            self.name.clone(),
            text(&identity.etag),
            text(&identity.last_modified),
            text(&identity.source),
        ];
        for field in fields {
            out.extend(u16::try_from(field.len()).ok()?.to_le_bytes());
            out.extend(field);
        }
        out.extend(digest.algo.as_bytes());
        out.extend(&digest.sum);
        let crc = crc32(&out, 0);
        out.extend(crc.to_le_bytes());
        (out.len() <= META_MAX).then_some(out)
    }

    /// Reads what [`encode`](Self::encode) wrote. At most [`META_MAX`] bytes are looked at.
    pub(super) fn decode(bytes: &[u8]) -> Parsed {
        let mut head = Reader::new(bytes);
        match (head.array(), head.u16()) {
            (Some(MAGIC), Some(VERSION)) => {}
            (Some(MAGIC), Some(version)) if version > VERSION => return Parsed::Newer(version),
            _ => return Parsed::Bad("it does not begin as the meta of a part"),
        }
        let Some((body, crc)) = bytes.split_last_chunk() else {
            return Parsed::Bad("it is cut");
        };
        if bytes.len() > META_MAX || crc32(body, 0) != u32::from_le_bytes(*crc) {
            return Parsed::Bad("its checksum does not hold");
        }
        Self::fields(body).map_or(Parsed::Bad("its fields do not fit"), Parsed::Valid)
    }

    fn fields(body: &[u8]) -> Option<Self> {
        let text = |bytes| String::from_utf8(bytes).ok();
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut rest = Reader::new(body);
        rest.take(MAGIC.len().saturating_add(2))?;
        let flags = rest.u16()?;
        let [chunk_shift, algo_len, sum_len, _zero] = rest.array()?;
        let part_id = rest.array()?;
        let len = Some(rest.u64()?).filter(|len| *len != LEN_UNKNOWN);
        let created_ms = rest.u64()?;
        let mut field = || {
            let len = rest.u16()?;
            rest.take(usize::from(len)).map(<[u8]>::to_vec)
        };
        let (name, etag, last_modified, source) = (field()?, field()?, field()?, field()?);
        let algo = String::from_utf8(rest.take(usize::from(algo_len))?.to_vec()).ok()?;
        let sum = rest.take(usize::from(sum_len))?.to_vec();
        let digest = (!algo.is_empty()).then_some(Expected { algo, sum });
        let of_this_version = flags & !(FLAG_VOUCHED | FLAG_BUFFERED) == 0;
        let whole =
            rest.take(1).is_none() && CHUNK_SHIFTS.contains(&chunk_shift) && of_this_version;
        whole.then_some(Self {
            vouched: flags & FLAG_VOUCHED != 0,
            buffered: flags & FLAG_BUFFERED != 0,
            chunk_shift,
            part_id,
            created_ms,
            name,
            identity: Identity {
                len,
                etag: known(text(etag)?),
                last_modified: known(text(last_modified)?),
                digest,
                source: known(text(source)?),
            },
        })
    }
}

/// Trusted bytes: within one chunk, with their checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) len: u32,
    pub(super) crc: u32,
}

impl Extent {
    pub(super) const fn end(&self) -> u64 {
        self.start.saturating_add(self.len as u64)
    }

    pub(super) const fn range(&self) -> std::ops::Range<u64> {
        self.start..self.end()
    }
}

/// A change of what is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// These are trusted too; they take the place of those that they contain.
    Cover(Vec<Extent>),
    /// These are trusted no more; each is one that was.
    Retract(Vec<Extent>),
}

fn put(out: &mut Vec<u8>, extents: &[Extent]) {
    let count = u32::try_from(extents.len()).unwrap_or(u32::MAX);
    out.extend(count.to_le_bytes());
    for extent in extents {
        out.extend(extent.start.to_le_bytes());
        out.extend(extent.len.to_le_bytes());
        out.extend(extent.crc.to_le_bytes());
    }
}

/// The count is compared with the bytes that are there before anything is taken.
fn get(rest: &mut Reader<'_>) -> Option<Vec<Extent>> {
    let count = usize::try_from(rest.u32()?).ok()?;
    let mut bytes = Reader::new(rest.take(count.checked_mul(EXTENT)?)?);
    let mut extents = Vec::with_capacity(count);
    for _ in 0..count {
        extents.push(Extent { start: bytes.u64()?, len: bytes.u32()?, crc: bytes.u32()? });
    }
    Some(extents)
}

/// The full form: of which part, and all that is trusted.
pub(super) fn encode_full(part_id: [u8; 16], extents: &[Extent]) -> Vec<u8> {
    let mut out = part_id.to_vec();
    put(&mut out, extents);
    out
}

pub(super) fn decode_full(bytes: &[u8]) -> Option<([u8; 16], Vec<Extent>)> {
    let mut rest = Reader::new(bytes);
    let full = (rest.array()?, get(&mut rest)?);
    rest.take(1).is_none().then_some(full)
}

impl Change {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, extents) = match self {
            Self::Cover(extents) => (COVER, extents),
            Self::Retract(extents) => (RETRACT, extents),
        };
        let mut out = vec![kind, 0, 0, 0];
        put(&mut out, extents);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader::new(bytes);
        let [kind, ..] = rest.array::<4>()?;
        let extents = get(&mut rest)?;
        match kind {
            _ if rest.take(1).is_some() => None,
            COVER => Some(Self::Cover(extents)),
            RETRACT => Some(Self::Retract(extents)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        let sum = Expected { algo: "blake3".to_owned(), sum: (0..32).collect() };
        let identity = Identity::new()
            .len(4_574_101_504)
            .etag("\"5f3-a1\"")
            .last_modified("Sat, 21 Nov 2026 10:00:00 GMT")
            .digest(sum)
            .source("https://h/model.gguf");
        Meta {
            vouched: false,
            buffered: true,
            chunk_shift: 18,
            part_id: [7; 16],
            created_ms: 1_795_255_200_000,
            name: b"model.gguf".to_vec(),
            identity,
        }
    }

    #[test]
    fn a_meta_reads_back_and_nothing_else_does() {
        let plain = Meta { identity: Identity::new(), vouched: true, buffered: false, ..meta() };
        for meta in [meta(), plain] {
            let bytes = meta.encode().unwrap();
            assert_eq!(Meta::decode(&bytes), Parsed::Valid(meta));
            for cut in 0..bytes.len() {
                assert!(!matches!(Meta::decode(&bytes[..cut]), Parsed::Valid(_)), "{cut}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(!matches!(Meta::decode(&bytes), Parsed::Valid(_)), "{bit}");
            }
        }
    }

    #[test]
    fn a_later_version_is_known_as_such() {
        let mut bytes = meta().encode().unwrap();
        bytes[8] = 2;
        assert_eq!(Meta::decode(&bytes), Parsed::Newer(2));
        assert!(Meta { name: vec![b'x'; META_MAX], ..meta() }.encode().is_none());
    }

    #[test]
    fn records_read_back_and_lengths_are_bounded() {
        let extents = vec![
            Extent { start: 0, len: 4096, crc: 1 },
            Extent { start: 1 << 40, len: 1 << 30, crc: u32::MAX },
        ];
        for change in [Change::Cover(extents.clone()), Change::Retract(extents.clone())] {
            let bytes = change.encode();
            assert_eq!(Change::decode(&bytes), Some(change));
            for cut in 0..bytes.len() {
                assert_eq!(Change::decode(&bytes[..cut]), None);
            }
        }
        let full = encode_full([3; 16], &extents);
        assert_eq!(decode_full(&full), Some(([3; 16], extents)));
        assert_eq!(Change::decode(&[2, 0, 0, 0, 255, 255, 255, 255]), None);
        assert_eq!(Change::decode(&[9, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    /// The bytes that docs/FORMAT.md shows.
    #[test]
    fn the_worked_example() {
        let change = Change::Cover(vec![Extent { start: 262_144, len: 4096, crc: 0xc71c_0011 }]);
        let bytes = [
            2, 0, 0, 0, 1, 0, 0, 0, // a Cover of one extent
            0, 0, 4, 0, 0, 0, 0, 0, // from 262,144
            0, 16, 0, 0, // 4096 bytes
            0x11, 0, 0x1c, 0xc7, // their checksum
        ];
        assert_eq!(change.encode(), bytes);
    }
}
