//! What a store is: the file META, and the headers of the files beside it. docs/FORMAT.md has the tables.

use crate::codec::bytes::Reader;
use crate::codec::checksum::crc32;

const MAGIC: [u8; 8] = *b"UNTAPND\0";
const VERSION: u16 = 1;
/// No META is longer.
pub(super) const META_MAX: usize = 1 << 20;
/// A store has no more members.
pub(super) const MEMBERS_MAX: usize = 1024;
/// A codec's name is padded to this.
const CODEC: usize = 16;

/// One file of elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberMeta {
    /// Its name in a group; empty for a file alone.
    pub(super) name: String,
    /// Its path, from the directory that the store's home is in; empty for a file alone, which is named as its home is.
    pub(super) path: Vec<u8>,
    /// Bytes of each element; 0 if they differ.
    pub(super) fixed: u32,
    pub(super) codec: String,
    pub(super) version: u32,
}

/// What the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) store_id: [u8; 16],
    pub(super) members: Vec<MemberMeta>,
}

/// What the bytes of a META are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Valid(Meta),
    /// Of a later version of this crate.
    Newer(u16),
    Bad(&'static str),
}

impl Meta {
    /// The bytes; `None` if a field is longer than it may be.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(u16::try_from(self.members.len()).ok()?.to_le_bytes());
        out.extend(self.store_id);
        for member in &self.members {
            for field in [member.name.as_bytes(), &member.path] {
                out.extend(u16::try_from(field.len()).ok()?.to_le_bytes());
                out.extend(field);
            }
            out.extend(member.fixed.to_le_bytes());
            out.extend(member.version.to_le_bytes());
            let mut codec = member.codec.clone().into_bytes();
            let fits = (1..=CODEC).contains(&codec.len()) && member.codec.is_ascii();
            codec.resize(CODEC, 0);
            out.extend(fits.then_some(codec)?);
        }
        out.extend(crc32(&out, 0).to_le_bytes());
        (out.len() <= META_MAX && self.members.len() <= MEMBERS_MAX).then_some(out)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8]) -> Parsed {
        let mut head = Reader::new(bytes);
        match (head.array(), head.u16()) {
            (Some(MAGIC), Some(VERSION)) => {}
            (Some(MAGIC), Some(version)) if version > VERSION => return Parsed::Newer(version),
            _ => return Parsed::Bad("it does not begin as the META of an append-only file"),
        }
        let Some((body, crc)) = bytes.split_last_chunk() else { return Parsed::Bad("it is cut") };
        if bytes.len() > META_MAX || crc32(body, 0) != u32::from_le_bytes(*crc) {
            return Parsed::Bad("its checksum does not hold");
        }
        Self::fields(body).map_or(Parsed::Bad("its fields do not fit"), Parsed::Valid)
    }

    fn fields(body: &[u8]) -> Option<Self> {
        let mut rest = Reader::new(body);
        rest.take(MAGIC.len().saturating_add(2))?;
        let count = rest.u16()?;
        let store_id = rest.array()?;
        let mut members = Vec::new();
        for _ in 0..count {
            let mut field = || {
                let len = rest.u16()?;
                rest.take(usize::from(len)).map(<[u8]>::to_vec)
            };
            let (name, path) = (String::from_utf8(field()?).ok()?, field()?);
            let (fixed, version) = (rest.u32()?, rest.u32()?);
            let codec = rest.take(CODEC)?;
            let len = codec.iter().position(|b| *b == 0).unwrap_or(CODEC);
            let codec = String::from_utf8(codec.get(..len)?.to_vec()).ok()?;
            members.push(MemberMeta { name, path, fixed, codec, version });
        }
        rest.take(1).is_none().then_some(Self { store_id, members })
    }
}

/// What a file beside the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) store_id: [u8; 16],
    /// `ends`, or the sums of a column.
    pub(super) kind: u8,
    pub(super) member: u16,
    pub(super) generation: u64,
}

/// The file of ends.
pub(super) const ENDS: u8 = 1;
/// The sums of the data.
pub(super) const SUMS: u8 = 2;
/// The sums of the ends.
pub(super) const ENDS_SUMS: u8 = 3;

impl FileHeader {
    /// The header. Its last eight bytes are zero, so that the ends after it begin with a zero: the start of the first element.
    pub(super) fn encode(&self) -> [u8; 64] {
        let mut fields = b"UNTAPCL\0".to_vec();
        fields.extend(VERSION.to_le_bytes());
        fields.extend([self.kind, 0]);
        fields.extend(self.member.to_le_bytes());
        fields.extend([0, 0]);
        fields.extend(self.store_id);
        fields.extend(self.generation.to_le_bytes());
        fields.extend(crc32(&fields, 0).to_le_bytes());
        fields.resize(64, 0);
        fields.try_into().unwrap_or([0; 64])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_meta_counts() {
        let member = |name: &str, fixed| MemberMeta {
            name: name.to_owned(),
            path: b"a.dat".to_vec(),
            fixed,
            codec: "raw".to_owned(),
            version: 3,
        };
        let meta = Meta { store_id: [9; 16], members: vec![member("", 40), member("b", 0)] };
        let bytes = meta.encode().unwrap();
        assert_eq!(Meta::decode(&bytes), Parsed::Valid(meta.clone()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(Meta::decode(&flipped), Parsed::Valid(_)), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(matches!(Meta::decode(&bytes[..cut]), Parsed::Bad(_)), "{cut}");
        }
        let long = MemberMeta { codec: "seventeen letters".to_owned(), ..member("", 0) };
        assert_eq!(Meta { members: vec![long], ..meta }.encode(), None);
    }

    #[test]
    fn a_header_ends_with_the_start_of_the_first_element() {
        let header = FileHeader { store_id: [1; 16], kind: ENDS, member: 2, generation: 3 };
        let bytes = header.encode();
        assert_eq!(bytes[56..], [0; 8]);
        assert_ne!(bytes, FileHeader { generation: 4, ..header }.encode());
    }
}
