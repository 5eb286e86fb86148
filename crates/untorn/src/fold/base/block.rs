//! A block of a base: entries in ascending order of their keys, each key without what it shares with the one before. No I/O.
//!
//! ```text
//! block    restarts u32   offset of each restart behind the first u32*   entry*   crc u32
//! entry    shared varint   rest with_len   flags u8   version with_len   nothing | value with_len | offset varint, len varint, crc u32
//! ```
//! Every fourth entry shares nothing: a restart, where a search can begin.

use super::super::KEY_MAX;
use super::super::held::{Held, Spot, Value};
use crate::codec::bytes::{Reader, common, put_varint, put_with_len};
use crate::codec::checksum::crc32;

const GONE: u8 = 1;
const AGED: u8 = 2;
const GONE_AGED: u8 = GONE | AGED;
const APART: u8 = 4;

const RESTART: usize = 4;
/// The checksum.
const TAIL: usize = 4;

/// A block without entries, which nobody verifies.
pub(super) const EMPTY: &[u8] = &[0; 4 + TAIL];

/// The checksum of a block at this offset: a block that was moved does not verify.
fn crc_at(bytes: &[u8], offset: u64) -> u32 {
    crc32(bytes, crc32(&offset.to_le_bytes(), 0))
}

/// A block in the making.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    /// The block as a whole.
    whole: Vec<u8>,
    restarts: Vec<u32>,
    count: usize,
    last: Vec<u8>,
}

impl Builder {
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The last key that was added, also of the block before.
    pub(super) fn last_key(&self) -> &[u8] {
        &self.last
    }

    /// Adds an entry; a value that lies apart is already in the file.
    pub(super) fn push(&mut self, held: &Held<'_>) {
        let shared = if self.count.is_multiple_of(RESTART) {
            self.restarts.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
            0
        } else {
            common(&self.last, held.key)
        };
        self.count = self.count.saturating_add(1);
        let out = &mut self.bytes;
        put_varint(shared as u64, out);
        put_with_len(held.key.get(shared..).unwrap_or_default(), out);
        out.push(match held.value {
            Value::Gone { aged: true } => GONE_AGED,
            Value::Gone { aged: false } => GONE,
            Value::Here(_) => 0,
            Value::InBase(_) | Value::InLog(_) => APART,
        });
        put_with_len(held.version, out);
        match held.value {
            Value::Gone { .. } => {}
            Value::Here(value) => put_with_len(value, out),
            Value::InBase(spot) | Value::InLog(spot) => {
                put_varint(spot.offset, out);
                put_varint(u64::from(spot.len), out);
                out.extend_from_slice(&spot.crc.to_le_bytes());
            }
        }
        self.last.clear();
        self.last.extend_from_slice(held.key);
    }

    /// Ends the block, which will lie at `offset`. The builder is then ready for the next one.
    pub(super) fn finish(&mut self, offset: u64) -> &[u8] {
        let out = &mut self.whole;
        out.clear();
        let count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        // Who looks for a key reads these first; the entries begin in the same line of the cache.
        for restart in self.restarts.iter().skip(1) {
            out.extend_from_slice(&restart.to_le_bytes());
        }
        out.extend_from_slice(&self.bytes);
        let crc = crc_at(out, offset);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.restarts.clear();
        self.count = 0;
    }
}

/// Whether these are the bytes of a block at this offset.
pub(super) fn verifies(bytes: &[u8], offset: u64) -> bool {
    let Some((body, crc)) = bytes.split_last_chunk() else { return false };
    crc_at(body, offset) == u32::from_le_bytes(*crc)
}

/// A block that verifies, taken apart.
#[derive(Clone, Copy, Debug)]
struct Parts<'a> {
    entries: &'a [u8],
    /// How many restarts there are, and where those behind the first begin.
    count: usize,
    restarts: &'a [[u8; 4]],
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (rest, _) = bytes.split_last_chunk::<TAIL>()?;
        let (count, rest) = rest.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (restarts, entries) = rest.split_at_checked(count.saturating_sub(1).checked_mul(4)?)?;
        let (restarts, _) = restarts.as_chunks();
        Some(Self { entries, count, restarts })
    }

    fn restart(&self, nth: usize) -> Option<usize> {
        match nth.checked_sub(1) {
            None => Some(0),
            Some(behind) => usize::try_from(u32::from_le_bytes(*self.restarts.get(behind)?)).ok(),
        }
    }

    /// The key of a restart, which is there in full.
    fn key_of(&self, nth: usize) -> Option<&'a [u8]> {
        let mut input = Reader::new(self.entries.get(self.restart(nth)?..)?);
        (input.varint()? == 0).then_some(())?;
        input.with_len()
    }
}

/// An entry without its key.
#[derive(Clone, Copy, Debug)]
struct Rest<'a> {
    version: &'a [u8],
    value: Value<'a>,
}

/// What follows the key of an entry.
fn take_rest<'a>(input: &mut Reader<'a>) -> Option<Rest<'a>> {
    let flags = input.u8()?;
    let version = input.with_len()?;
    let value = match flags {
        0 => Value::Here(input.with_len()?),
        GONE => Value::Gone { aged: false },
        GONE_AGED => Value::Gone { aged: true },
        APART => {
            let (offset, len) = (input.varint()?, u32::try_from(input.varint()?).ok()?);
            Value::InBase(Spot { segment: 0, offset, len, crc: input.u32()? })
        }
        _ => return None,
    };
    Some(Rest { version, value })
}

/// A block that verifies and makes no sense, as far as it was looked at.
#[derive(Debug)]
pub(super) struct Senseless;

/// The entry of the key, if there is one.
pub(super) fn find<'a>(bytes: &'a [u8], key: &'a [u8]) -> Result<Option<Held<'a>>, Senseless> {
    let mut found = None;
    search(bytes, key, &mut found).ok_or(Senseless)?;
    Ok(found)
}

fn search<'a>(bytes: &'a [u8], key: &'a [u8], found: &mut Option<Held<'a>>) -> Option<()> {
    let parts = Parts::of(bytes)?;
    // The last restart whose key is not above the one that is looked for.
    let (mut low, mut high) = (0, parts.count);
    while low < high {
        let middle = low.midpoint(high);
        if parts.key_of(middle)? <= key { low = middle.saturating_add(1) } else { high = middle }
    }
    let Some(start) = low.checked_sub(1) else { return Some(()) };
    let from = parts.restart(start)?;
    let to = parts.restart(low).unwrap_or(parts.entries.len());
    let mut input = Reader::new(parts.entries.get(from..to)?);
    let mut at = Vec::with_capacity(key.len().saturating_add(16));
    while !input.rest().is_empty() {
        let shared = usize::try_from(input.varint()?).ok().filter(|shared| *shared <= at.len())?;
        at.truncate(shared);
        at.extend_from_slice(input.with_len()?);
        let rest = take_rest(&mut input)?;
        match at.as_slice().cmp(key) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => {
                *found = Some(Held { key, version: rest.version, value: rest.value });
                break;
            }
            std::cmp::Ordering::Greater => break,
        }
    }
    Some(())
}

/// All entries of a block, to go through in both directions. It is used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Page {
    keys: Vec<u8>,
    /// For each entry: where its key begins in `keys` and ends, and where the entry's own bytes do behind its key.
    entries: Vec<(usize, usize, usize)>,
    /// Where the entries begin in the block.
    start: usize,
}

impl Page {
    /// Takes a block that verifies; `None` if it makes no sense.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<()> {
        self.keys.clear();
        self.entries.clear();
        let entries = Parts::of(bytes)?.entries;
        let start = bytes.len().saturating_sub(TAIL).saturating_sub(entries.len());
        self.start = start;
        let mut input = Reader::new(entries);
        let mut last = 0_usize;
        while !input.rest().is_empty() {
            let shared = usize::try_from(input.varint()?).ok()?;
            let start = self.keys.len();
            let from = last..last.checked_add(shared)?;
            (from.end <= start).then_some(())?;
            self.keys.extend_from_within(from);
            self.keys.extend_from_slice(input.with_len()?);
            let after_key = entries.len().saturating_sub(input.rest().len());
            (self.keys.len().saturating_sub(start) <= KEY_MAX).then_some(())?;
            self.entries.push((start, self.keys.len(), after_key));
            take_rest(&mut input)?;
            last = start;
        }
        Some(())
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn key(&self, nth: usize) -> Option<&[u8]> {
        let &(start, end, _) = self.entries.get(nth)?;
        self.keys.get(start..end)
    }

    /// An entry; `bytes` are those of the block that was taken.
    pub(super) fn get<'a>(&'a self, bytes: &'a [u8], nth: usize) -> Option<Held<'a>> {
        let &(start, end, after_key) = self.entries.get(nth)?;
        let mut input = Reader::new(bytes.get(self.start.checked_add(after_key)?..)?);
        let rest = take_rest(&mut input)?;
        Some(Held { key: self.keys.get(start..end)?, version: rest.version, value: rest.value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(n: u32) -> (Vec<u8>, Vec<u8>) {
        (format!("key/{:05}/{}", n / 7, n % 7).into_bytes(), u64::from(n).to_be_bytes().to_vec())
    }

    fn value(n: u32, bytes: &[u8]) -> Value<'_> {
        match n % 5 {
            0 => Value::Gone { aged: false },
            1 => Value::Gone { aged: true },
            2 => Value::InBase(Spot { segment: 0, offset: u64::from(n) << 20, len: n, crc: !n }),
            3 => Value::Here(b""),
            _ => Value::Here(bytes),
        }
    }

    #[test]
    fn every_entry_is_found_and_gone_through() {
        for count in [0_u32, 1, 2, 15, 16, 17, 31, 32, 33, 100] {
            let mut builder = Builder::default();
            for n in 0..count {
                let (key, version) = held(n * 2);
                builder.push(&Held { key: &key, version: &version, value: value(n, &version) });
            }
            let bytes = builder.finish(4096).to_vec();
            assert!(verifies(&bytes, 4096) && !verifies(&bytes, 0));
            let mut page = Page::default();
            page.take(&bytes).unwrap();
            assert_eq!(page.len(), usize::try_from(count).unwrap());
            for n in 0..count {
                let (key, version) = held(n * 2);
                let expected = Held { key: &key, version: &version, value: value(n, &version) };
                assert_eq!(find(&bytes, &key).unwrap(), Some(expected));
                assert_eq!(page.get(&bytes, usize::try_from(n).unwrap()), Some(expected));
                let (between, _) = held(n * 2 + 1);
                assert_eq!(find(&bytes, &between).unwrap(), None);
            }
            for outside in [&b""[..], b"a", b"z"] {
                assert_eq!(find(&bytes, outside).unwrap(), None);
            }
        }
    }

    #[test]
    fn a_builder_begins_anew() {
        let mut builder = Builder::default();
        let push = |builder: &mut Builder| {
            builder.push(&Held { key: b"abc", version: b"", value: Value::Here(b"x") });
            builder.finish(0).to_vec()
        };
        let first = push(&mut builder);
        builder.clear();
        assert_eq!((push(&mut builder), builder.last_key()), (first, &b"abc"[..]));
    }

    #[test]
    fn forged_bytes_are_refused_and_nothing_is_taken_for_them() {
        let mut builder = Builder::default();
        for n in 0..40 {
            let (key, version) = held(n);
            builder.push(&Held { key: &key, version: &version, value: value(n, &version) });
        }
        let bytes = builder.finish(0).to_vec();
        let mut page = Page::default();
        // Also where the checksum is right: no panic, and no more memory than the block has.
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut forged = bytes.clone();
                forged[at] ^= 1 << bit;
                assert!(!verifies(&forged, 0));
                let taken = page.take(&forged).is_some();
                assert!(!taken || page.len() < forged.len());
                drop(find(&forged, b"key/00001/1"));
                assert!(page.keys.len() <= forged.len() * forged.len());
            }
        }
        for cut in 0..bytes.len() {
            let taken = page.take(&bytes[..cut]).is_some();
            assert!(!taken || page.len() < bytes.len());
            drop(find(&bytes[..cut], b"key/00001/1"));
        }
    }
}
