//! A record of the log: the version of the event as a varint, then the codec's bytes. See docs/FORMAT.md#journal.

use std::cmp::Ordering;
use std::path::Path;

use super::Machine;
use crate::codec::Codec as _;
use crate::{Error, ErrorKind, Result};

/// Appends the record of an event to `out`; after an error `out` is as it was.
pub(super) fn encode<M: Machine>(event: &M::Event, out: &mut Vec<u8>) -> Result<()> {
    let before = out.len();
    put_varint(M::VERSION, out);
    let encoded = M::EventCodec::default().encode(event, out);
    if encoded.is_err() {
        out.truncate(before);
    }
    encoded
}

/// The event of a record.
pub(super) fn decode<M: Machine>(record: &[u8], seq: u64, path: &Path) -> Result<M::Event> {
    let fail = |kind, what: String| Error::new(kind, "read", path, format!("event {seq}: {what}"));
    let Some((version, bytes)) = take_varint(record) else {
        return Err(fail(ErrorKind::NotOurs, "it has no version; no journal wrote it".to_owned()));
    };
    match version.cmp(&M::VERSION) {
        Ordering::Equal => M::EventCodec::default()
            .decode(bytes)
            .map_err(|e| e.with_path(path).because(format!("event {seq} does not decode"))),
        Ordering::Greater => {
            let known = M::VERSION;
            let what = format!(
                "it has version {version}, this program knows up to {known}; update the program"
            );
            Err(fail(ErrorKind::NewerFormat, what))
        }
        Ordering::Less => {
            M::upgrade_event(version, bytes).map_err(|why| fail(ErrorKind::Failed, why))
        }
    }
}

/// The version of a journal's record, and the bytes that its codec wrote: for tools that do not know the machine. `None` if
/// no journal wrote it.
///
/// ```
/// assert_eq!(untorn::journal::split_record(b"\x01{}"), Some((1, &b"{}"[..])));
/// ```
pub fn split_record(record: &[u8]) -> Option<(u32, &[u8])> {
    take_varint(record)
}

/// Seven bits a byte, low ones first, the high bit on all but the last.
pub(super) fn put_varint(mut value: u32, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// A varint in its shortest form, and what follows it.
pub(super) fn take_varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u32;
    for (n, &byte) in (0_u32..5).zip(bytes) {
        let bits = u32::from(byte & 0x7f);
        let shifted = bits.checked_shl(n.saturating_mul(7))?;
        if shifted >> n.saturating_mul(7) != bits || (byte == 0 && n > 0) {
            return None;
        }
        value |= shifted;
        if byte < 0x80 {
            let len = usize::try_from(n).ok()?.saturating_add(1);
            return Some((value, bytes.get(len..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_have_one_form() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 21, 1 << 28, u32::MAX] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            bytes.push(9);
            assert_eq!(take_varint(&bytes), Some((value, &[9][..])), "{value}");
            for cut in 0..bytes.len() - 1 {
                assert_eq!(take_varint(&bytes[..cut]), None);
            }
        }
        assert_eq!(take_varint(&[0x80, 0]), None, "a longer form of zero");
        assert_eq!(take_varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None, "above u32");
        assert_eq!(take_varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 1]), None);
    }
}
