//! What a record of a path's manifest says: items, one after another. Pure: bytes in, values out.
//!
//! # Invariants
//! - R1 One record is one commit. The full form of a state is the record that makes it out of nothing.
//! - R2 A record that does not parse to its last byte is none; no memory is taken for a count.

use uuid::Uuid;

use super::table::{Listed, Place};
use crate::codec::bytes::{Reader, put_varint, put_with_len};
use crate::pool::batch::Meta;
use crate::pool::frame::{compression_code, compression_of};

const VERSION: u8 = 1;
const OBJECT: u8 = 1;
const LOOSE_OBJECT: u8 = 2;
const LOOSE: u8 = 3;
const UNLOOSE: u8 = 4;
const REPLACE: u8 = 5;
const DROP: u8 = 6;
const MOVED: u8 = 7;
const LAST_ID: u8 = 8;
/// Frames begin at multiples of it.
const ALIGN: u64 = 64;
const KEY: usize = 16;

/// One thing that a commit does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// An object that the path did not have; with `loose` the loose set lists it, else a set of the same record does.
    Object { key: Uuid, object: Listed, loose: bool },
    /// The loose set lists it, too.
    Loose(Uuid),
    /// The loose set does not list it any more.
    Unloose(Uuid),
    /// A named set, made of the one before.
    Replace(Replace<'a>),
    /// There is no such set any more.
    Drop(&'a str),
    /// An object is elsewhere.
    Moved { key: Uuid, place: Place },
    /// The number of the last checkpoint, where no set tells it.
    LastId(u64),
}

/// How a named set comes out of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replace<'a> {
    pub(super) name: &'a str,
    pub(super) id: u64,
    pub(super) meta: &'a [u8],
    pub(super) count: u64,
    /// CRC-32 of the keys in their order.
    pub(super) digest: u32,
    pub(super) steps: Vec<Step<'a>>,
}

/// The keys of a set in their order, piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Keys of the set before, from the one with this index on.
    Copy { from: u64, len: u64 },
    /// New ones, each as its bytes.
    New(&'a [u8]),
}

/// Writes a record.
#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { out: vec![VERSION] }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.out.len() <= 1
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn object(&mut self, key: Uuid, object: &Listed, loose: bool) {
        self.key(if loose { LOOSE_OBJECT } else { OBJECT }, key);
        self.place(object.place);
        let (out, meta) = (&mut self.out, &object.meta);
        out.extend_from_slice(&meta.codec.to_le_bytes());
        out.push(compression_code(meta.compression));
        out.extend_from_slice(&meta.tag.to_le_bytes());
        put_varint(meta.raw_len, out);
        put_varint(object.stored, out);
        put_varint(meta.weight, out);
        out.extend_from_slice(&object.crc.to_le_bytes());
    }

    pub(super) fn loose(&mut self, key: Uuid) {
        self.key(LOOSE, key);
    }

    pub(super) fn unloose(&mut self, key: Uuid) {
        self.key(UNLOOSE, key);
    }

    pub(super) fn replace(&mut self, replace: &Replace<'_>) {
        let out = &mut self.out;
        out.push(REPLACE);
        put_with_len(replace.name.as_bytes(), out);
        put_varint(replace.id, out);
        put_with_len(replace.meta, out);
        put_varint(replace.count, out);
        out.extend_from_slice(&replace.digest.to_le_bytes());
        put_varint(replace.steps.len() as u64, out);
        for step in &replace.steps {
            // The lowest bit says which.
            match step {
                Step::Copy { from, len } => {
                    put_varint(len.saturating_mul(2), out);
                    put_varint(*from, out);
                }
                Step::New(keys) => {
                    let len = (keys.len() / KEY) as u64;
                    put_varint(len.saturating_mul(2) | 1, out);
                    out.extend_from_slice(keys);
                }
            }
        }
    }

    pub(super) fn drop_set(&mut self, name: &str) {
        self.out.push(DROP);
        put_with_len(name.as_bytes(), &mut self.out);
    }

    pub(super) fn moved(&mut self, key: Uuid, place: Place) {
        self.key(MOVED, key);
        self.place(place);
    }

    pub(super) fn last_id(&mut self, id: u64) {
        self.out.push(LAST_ID);
        put_varint(id, &mut self.out);
    }

    fn key(&mut self, tag: u8, key: Uuid) {
        self.out.push(tag);
        self.out.extend_from_slice(key.as_bytes());
    }

    fn place(&mut self, place: Place) {
        match place {
            Place::Own => put_varint(0, &mut self.out),
            Place::Segment { number, at } => {
                put_varint(number, &mut self.out);
                put_varint(at / ALIGN, &mut self.out);
            }
        }
    }
}

/// What a record turns out to be.
#[derive(Debug)]
pub(super) enum Opened<'a> {
    Items(Items<'a>),
    /// Of a later version.
    Newer,
}

/// The items of a record; `None` where it is not one.
pub(super) fn open(bytes: &[u8]) -> Option<Opened<'_>> {
    let mut input = Reader::new(bytes);
    Some(match input.u8()? {
        VERSION => Opened::Items(Items { input }),
        later if later > VERSION => Opened::Newer,
        _ => return None,
    })
}

#[derive(Debug)]
pub(super) struct Items<'a> {
    input: Reader<'a>,
}

impl<'a> Items<'a> {
    /// The next one, `None` at the end; an error says nothing but that it does not parse.
    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>, ()> {
        if self.input.rest().is_empty() {
            return Ok(None);
        }
        self.item().map(Some).ok_or(())
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let input = &mut self.input;
        Some(match input.u8()? {
            tag @ (OBJECT | LOOSE_OBJECT) => {
                let (key, place) = (key(input)?, place(input)?);
                let (codec, compression) = (input.u16()?, compression_of(input.u8()?)?);
                let (tag_of_type, raw_len) = (input.u64()?, input.varint()?);
                let (stored, weight) = (input.varint()?, input.varint()?);
                let crc = input.u32()?;
                let meta = Meta { codec, compression, tag: tag_of_type, raw_len, weight };
                let object = Listed { place, meta, stored, crc };
                Item::Object { key, object, loose: tag == LOOSE_OBJECT }
            }
            LOOSE => Item::Loose(key(input)?),
            UNLOOSE => Item::Unloose(key(input)?),
            REPLACE => Item::Replace(replace(input)?),
            DROP => Item::Drop(std::str::from_utf8(input.with_len()?).ok()?),
            MOVED => Item::Moved { key: key(input)?, place: place(input)? },
            LAST_ID => Item::LastId(input.varint()?),
            _ => return None,
        })
    }
}

fn key(input: &mut Reader<'_>) -> Option<Uuid> {
    input.array().map(Uuid::from_bytes)
}

fn place(input: &mut Reader<'_>) -> Option<Place> {
    Some(match input.varint()? {
        0 => Place::Own,
        number => Place::Segment { number, at: input.varint()?.checked_mul(ALIGN)? },
    })
}

fn replace<'a>(input: &mut Reader<'a>) -> Option<Replace<'a>> {
    let name = std::str::from_utf8(input.with_len()?).ok()?;
    let (id, meta) = (input.varint()?, input.with_len()?);
    let (count, digest) = (input.varint()?, input.u32()?);
    let mut steps = Vec::new();
    for _ in 0..input.varint()? {
        let word = input.varint()?;
        let len = word >> 1;
        steps.push(if word & 1 == 0 {
            Step::Copy { from: input.varint()?, len }
        } else {
            Step::New(input.take(usize::try_from(len).ok()?.checked_mul(KEY)?)?)
        });
    }
    Some(Replace { name, id, meta, count, digest, steps })
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
mod tests {
    use super::*;
    use crate::pool::Compression;

    fn listed() -> Listed {
        let meta = Meta { raw_len: 300, compression: Compression::Lz4, ..Meta::new(2, 9, 7) };
        Listed { place: Place::Segment { number: 3, at: 640 }, meta, stored: 200, crc: 5 }
    }

    fn record() -> Vec<u8> {
        let key = Uuid::from_u128;
        let mut out = Writer::new();
        assert!(out.is_empty());
        out.object(key(1), &listed(), true);
        out.object(key(2), &Listed { place: Place::Own, ..listed() }, false);
        out.loose(key(3));
        out.unloose(key(4));
        let new = [key(7), key(8)].map(Uuid::into_bytes).concat();
        let steps = vec![Step::Copy { from: 300, len: 2 }, Step::New(&new)];
        out.replace(&Replace { name: "a", id: 9, meta: b"m", count: 4, digest: 1, steps });
        out.drop_set("b");
        out.moved(key(5), Place::Segment { number: 1 << 40, at: 64 });
        out.last_id(77);
        out.bytes()
    }

    fn items(bytes: &[u8]) -> Option<usize> {
        let Some(Opened::Items(mut items)) = open(bytes) else { return None };
        let mut count = 0;
        loop {
            match items.next() {
                Ok(Some(_)) => count += 1,
                Ok(None) => return Some(count),
                Err(()) => return None,
            }
        }
    }

    #[test]
    fn items_come_back() {
        let bytes = record();
        let Some(Opened::Items(mut items)) = open(&bytes) else { panic!("no record") };
        let key = Uuid::from_u128;
        let next = |items: &mut Items<'_>| format!("{:?}", items.next().unwrap().unwrap());
        let object = Item::Object { key: key(1), object: listed(), loose: true };
        assert_eq!(next(&mut items), format!("{object:?}"));
        let own = Listed { place: Place::Own, ..listed() };
        let object = Item::Object { key: key(2), object: own, loose: false };
        assert_eq!(next(&mut items), format!("{object:?}"));
        assert_eq!(items.next(), Ok(Some(Item::Loose(key(3)))));
        assert_eq!(items.next(), Ok(Some(Item::Unloose(key(4)))));
        let Ok(Some(Item::Replace(replace))) = items.next() else { panic!("no set") };
        assert_eq!((replace.name, replace.id, replace.meta), ("a", 9, &b"m"[..]));
        assert_eq!((replace.count, replace.digest, replace.steps.len()), (4, 1, 2));
        assert_eq!(replace.steps[0], Step::Copy { from: 300, len: 2 });
        assert_eq!(items.next(), Ok(Some(Item::Drop("b"))));
        let place = Place::Segment { number: 1 << 40, at: 64 };
        assert_eq!(items.next(), Ok(Some(Item::Moved { key: key(5), place })));
        assert_eq!(items.next(), Ok(Some(Item::LastId(77))));
        assert_eq!(items.next(), Ok(None));
    }

    #[test]
    fn cuts_are_fewer_items_or_none_and_nothing_panics() {
        let bytes = record();
        for cut in 0..bytes.len() {
            assert!(items(&bytes[..cut]).is_none_or(|count| count < 8), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            items(&bad);
        }
        assert!(matches!(open(&[2]), Some(Opened::Newer)));
        assert!(open(&[0]).is_none() && open(&[]).is_none());
        // A count that nothing stands behind.
        let mut huge = vec![VERSION, REPLACE, 1, b'a', 1, 0, 1, 0, 0, 0, 0];
        put_varint(u64::MAX, &mut huge);
        assert_eq!(items(&huge), None);
    }
}
