//! A record of the log: the version of the event as a varint, then the codec's bytes. See docs/FORMAT.md#journal.

use std::cmp::Ordering;
use std::path::Path;

use super::Machine;
use crate::codec::Codec as _;
use crate::codec::bytes::{Reader, put_varint};
use crate::{Error, ErrorKind, Result};

/// Appends the record of an event to `out`; after an error `out` is as it was.
pub(super) fn encode<M: Machine>(event: &M::Event, out: &mut Vec<u8>) -> Result<()> {
    let before = out.len();
    put_varint(u64::from(M::VERSION), out);
    let encoded = M::EventCodec::default().encode(event, out);
    if encoded.is_err() {
        out.truncate(before);
    }
    encoded
}

/// The event of a record.
pub(super) fn decode<M: Machine>(record: &[u8], seq: u64, path: &Path) -> Result<M::Event> {
    let fail = |kind, what: String| Error::new(kind, "read", path, format!("event {seq}: {what}"));
    let Some((version, bytes)) = take_version(record) else {
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
    take_version(record)
}

/// The version in front, and what follows it.
fn take_version(record: &[u8]) -> Option<(u32, &[u8])> {
    let mut input = Reader::new(record);
    let version = u32::try_from(input.varint()?).ok()?;
    Some((version, input.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_below_four_billion() {
        assert_eq!(take_version(&[0xac, 2, 9]), Some((300, &[9][..])));
        assert_eq!(take_version(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(take_version(&[0x80]), None);
    }
}
