//! The bytes of a PGSS file. No I/O.
//!
//! ```text
//! header 6 B : "PGSS" | version u16 LE = 2          record : crc u32 LE | type u8 | payload      crc = CRC-32 of type and payload
//! 1 put      key_len u16 LE | key | value_len u32 LE | value | ver_len u8 | ver
//! 2 delete   key_len u16 LE | key | ver_len u8 | ver
//! 3 cursor   cur_len u8 | cursor
//! ```

use std::io::{self, Write};

use super::super::{KEY_MAX, KvEntry, VersionToken, WatchCursor};
use crate::codec::bytes::Reader;
use crate::codec::checksum::crc32;
use crate::{Error, ErrorKind, Result};

pub(super) const MAGIC: &[u8; 4] = b"PGSS";
pub(super) const VERSION: u16 = 2;
/// Magic and version.
pub(super) const HEADER: usize = 6;
pub(super) const PUT: u8 = 1;
pub(super) const DELETE: u8 = 2;
pub(super) const CURSOR: u8 = 3;
/// The checksum, which does not cover itself.
pub(super) const SUM: usize = 4;
pub(super) const VALUE_MAX: usize = 64 << 20;
pub(super) const VER_MAX: usize = 10;
pub(super) const CURSOR_MAX: usize = 20;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Put(String, Box<[u8]>, VersionToken),
    Delete(String),
    Cursor(WatchCursor),
}

/// What a whole record says whose lengths and checksum were found right; else why it says nothing.
pub(super) fn decode(record: &[u8]) -> Result<Op, &'static str> {
    const CUT: &str = "a record is shorter than its fields";
    let mut input = Reader::new(record.get(SUM..).unwrap_or_default());
    let kind = input.u8().ok_or(CUT)?;
    if kind == CURSOR {
        let len = input.u8().ok_or(CUT)?;
        let cursor = WatchCursor::from_bytes(input.take(len.into()).ok_or(CUT)?);
        return cursor.map(Op::Cursor).ok_or("a cursor has bytes that no cursor has");
    }
    let len = input.u16().ok_or(CUT)?;
    let key = str::from_utf8(input.take(len.into()).ok_or(CUT)?);
    let key = key.map_err(|_| "a key is not UTF-8")?;
    if kind == DELETE {
        return Ok(Op::Delete(key.to_owned()));
    }
    let len = usize::try_from(input.u32().ok_or(CUT)?).unwrap_or(usize::MAX);
    let value = input.take(len).ok_or(CUT)?;
    let len = input.u8().ok_or(CUT)?;
    let version = VersionToken::of(input.take(len.into()).ok_or(CUT)?);
    Ok(Op::Put(key.to_owned(), value.into(), version))
}

/// The cursor as this format has it: a time stands only beside the flag of a source that evicts. `None` if it does not fit.
pub(super) fn cursor_bytes(cursor: &WatchCursor) -> Option<Vec<u8>> {
    let timed = cursor.written_ms().filter(|_| cursor.seen_evicting());
    let bytes = cursor.clone().written_at(timed).to_bytes();
    (bytes.len() <= CURSOR_MAX).then_some(bytes)
}

/// Records up to this length are put together before they are written.
const TOGETHER: usize = 8 << 10;

/// Writes records.
#[derive(Debug)]
pub(super) struct Records<'a, W> {
    out: &'a mut W,
    record: Vec<u8>,
}

impl<'a, W: Write> Records<'a, W> {
    /// Writes the header first.
    pub(super) fn begin(out: &'a mut W) -> Result<Self> {
        let [low, high] = VERSION.to_le_bytes();
        let written = out.write_all(MAGIC).and_then(|()| out.write_all(&[low, high]));
        written.map_err(fail)?;
        Ok(Self { out, record: Vec::new() })
    }

    /// Writes the record of an entry.
    pub(super) fn put(&mut self, entry: &KvEntry) -> Result<()> {
        let refuse =
            |what: String| Err(Error::of_caller(ErrorKind::Unsupported, "write PGSS", what));
        let KvEntry { key, value, version } = entry;
        let key_len = u16::try_from(key.len()).ok().filter(|_| key.len() <= KEY_MAX);
        let Some(key_len) = key_len else {
            return refuse(format!("its keys have 65535 bytes at most, and one has {}", key.len()));
        };
        let value_len = u32::try_from(value.len()).ok().filter(|_| value.len() <= VALUE_MAX);
        let Some(value_len) = value_len else {
            return refuse(format!("its values have 64 MiB at most, and one has {}", value.len()));
        };
        let version = version.as_bytes();
        let ver_len = u8::try_from(version.len()).ok().filter(|_| version.len() <= VER_MAX);
        let Some(ver_len) = ver_len else {
            let len = version.len();
            return refuse(format!("its versions have 10 bytes at most, and one has {len}"));
        };
        let (key_len, value_len) = (key_len.to_le_bytes(), value_len.to_le_bytes());
        self.write(&[&[PUT], &key_len, key.as_bytes(), &value_len, value, &[ver_len], version])
    }

    /// Writes the record of a cursor, whose bytes are [`cursor_bytes`].
    pub(super) fn cursor(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(&[&[CURSOR, u8::try_from(bytes.len()).unwrap_or(u8::MAX)], bytes])
    }

    /// Writes a record of these parts behind their checksum.
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        let len = parts.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        if len <= TOGETHER {
            self.record.clear();
            self.record.extend_from_slice(&[0; SUM]);
            for part in parts {
                self.record.extend_from_slice(part);
            }
            if let Some((sum, body)) = self.record.split_first_chunk_mut::<SUM>() {
                *sum = crc32(body, 0).to_le_bytes();
            }
            return self.out.write_all(&self.record).map_err(fail);
        }
        let crc = parts.iter().fold(0, |crc, part| crc32(part, crc));
        self.out.write_all(&crc.to_le_bytes()).map_err(fail)?;
        parts.iter().try_for_each(|part| self.out.write_all(part)).map_err(fail)
    }
}

fn fail(cause: io::Error) -> Error {
    Error::stream("write PGSS", cause)
}
