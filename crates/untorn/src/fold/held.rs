//! What a fold has of a key, in memory: key, version, and the value or where it lies.

use std::sync::Arc;

use crate::codec::bytes::{Reader, put_varint};

const GONE: u8 = 1;
const APART: u8 = 2;
/// Length of the key, flags, length of the version.
const HEAD: usize = 4;

/// Where a value lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The segment of the log; of no meaning in a base.
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) crc: u32,
}

/// The value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// It was deleted. A tombstone that the base has had for one compaction goes with the next.
    Gone {
        aged: bool,
    },
    Here(&'a [u8]),
    InLog(Spot),
    InBase(Spot),
}

impl Value<'_> {
    pub(super) const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

/// What is held of a key, borrowed from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held<'a> {
    pub(super) key: &'a [u8],
    pub(super) version: &'a [u8],
    pub(super) value: Value<'a>,
}

/// The same in one allocation, shared by all trees that have it.
#[derive(Clone, Debug)]
pub(super) struct Slot(Arc<[u8]>);

impl Slot {
    /// `scratch` is used for the bytes, and is left with them.
    pub(super) fn new(held: &Held<'_>, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        let key_len = u16::try_from(held.key.len()).unwrap_or(u16::MAX);
        let version_len = u8::try_from(held.version.len()).unwrap_or(u8::MAX);
        let flags = match held.value {
            Value::Gone { .. } => GONE,
            Value::Here(_) => 0,
            Value::InLog(_) | Value::InBase(_) => APART,
        };
        scratch.extend_from_slice(&key_len.to_le_bytes());
        scratch.extend_from_slice(&[flags, version_len]);
        scratch.extend_from_slice(held.key);
        scratch.extend_from_slice(held.version);
        match held.value {
            Value::Gone { .. } => {}
            Value::Here(bytes) => scratch.extend_from_slice(bytes),
            Value::InLog(spot) | Value::InBase(spot) => {
                put_varint(spot.segment, scratch);
                put_varint(spot.offset, scratch);
                put_varint(u64::from(spot.len), scratch);
                scratch.extend_from_slice(&spot.crc.to_le_bytes());
            }
        }
        Self(Arc::from(&scratch[..]))
    }

    pub(super) fn key(&self) -> &[u8] {
        let (head, rest) = self.0.split_first_chunk::<HEAD>().unwrap_or((&[0; HEAD], &[]));
        let &[low, high, ..] = head;
        rest.get(..usize::from(u16::from_le_bytes([low, high]))).unwrap_or_default()
    }

    pub(super) fn held(&self) -> Held<'_> {
        let mut input = Reader::new(&self.0);
        let taken = Self::take(&mut input);
        taken.unwrap_or(Held { key: &[], version: &[], value: Value::Gone { aged: false } })
    }

    /// Never `None`: the bytes were written by [`new`](Self::new).
    fn take<'a>(input: &mut Reader<'a>) -> Option<Held<'a>> {
        let (key_len, flags, version_len) = (input.u16()?, input.u8()?, input.u8()?);
        let key = input.take(usize::from(key_len))?;
        let version = input.take(usize::from(version_len))?;
        let value = match flags {
            GONE => Value::Gone { aged: false },
            APART => Value::InLog(Spot {
                segment: input.varint()?,
                offset: input.varint()?,
                len: u32::try_from(input.varint()?).ok()?,
                crc: input.u32()?,
            }),
            _ => Value::Here(input.rest()),
        };
        Some(Held { key, version, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_comes_back() {
        let spot = Spot { segment: 300, offset: u64::MAX, len: u32::MAX, crc: 7 };
        let values = [
            Value::Gone { aged: false },
            Value::Here(b""),
            Value::Here(b"abc"),
            Value::InLog(spot),
        ];
        let long = vec![b'k'; 65_535];
        let mut scratch = Vec::new();
        for key in [&b""[..], b"key", &long] {
            for version in [&b""[..], b"12345678", &[9; 255]] {
                for value in values {
                    let held = Held { key, version, value };
                    let made = Slot::new(&held, &mut scratch);
                    assert_eq!((made.held(), made.key()), (held, key));
                }
            }
        }
    }
}
