//! The position in a source's stream up to which a fold has it.

use std::fmt;

use super::version::{VersionToken, show};
use crate::Result;
use crate::codec::bytes::Reader;

/// Positions up to this length have the short forms.
const SHORT: usize = 10;
/// A short form with a memo and no time.
const MEMO: usize = 12;
/// A short form with a memo and a time.
const TIMED: usize = MEMO + 8;
const SEEN_EVICTING: u8 = 1;
const WRITTEN_AT: u8 = 2;

/// How far a fold has a stream: a position that only the source can read, and a memo of what was known of the source there.
///
/// The memo says whether the source was ever seen to evict values, which stays so, and when the message at the position was
/// written, by the server's clock: with the position that is the anchor by which a source is known again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WatchCursor {
    position: VersionToken,
    seen_evicting: bool,
    /// Milliseconds since the Unix epoch; 0 if not known.
    written_ms: u64,
}

/// How the positions of a source relate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they have an order or they have none")]
pub enum CursorOrder {
    /// Positions of the same length compare as bytes: numbers, versionstamps, log positions, all big endian.
    #[default]
    Bytes,
    /// Only equality can be told.
    Opaque,
}

impl CursorOrder {
    /// Whether a version is newer than another; `None` if that cannot be told.
    pub fn newer(self, version: &[u8], than: &[u8]) -> Option<bool> {
        let comparable = self == Self::Bytes && version.len() == than.len() && !than.is_empty();
        comparable.then(|| version > than)
    }
}

impl WatchCursor {
    /// The beginning of the stream.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether it is the beginning of the stream.
    pub fn is_none(&self) -> bool {
        self.position.is_unknown()
    }

    /// The position of this version.
    pub const fn from_version(position: VersionToken) -> Self {
        Self { position, seen_evicting: false, written_ms: 0 }
    }

    /// A numbered position: 8 bytes, big endian.
    pub fn from_u64(position: u64) -> Self {
        Self::from_version(VersionToken::from_u64(position))
    }

    /// A position of any source; no bytes are [`none`](Self::none).
    ///
    /// # Errors
    /// `TooLarge` above 255 bytes.
    pub fn from_raw(position: &[u8]) -> Result<Self> {
        VersionToken::from_raw(position).map(Self::from_version)
    }

    /// The position as a number, if it is one.
    pub fn as_u64(&self) -> Option<u64> {
        self.position.as_u64()
    }

    /// The position.
    pub fn position(&self) -> &[u8] {
        self.position.as_bytes()
    }

    /// Whether the source was ever seen to evict values.
    pub const fn seen_evicting(&self) -> bool {
        self.seen_evicting
    }

    /// When the message at this position was written, in milliseconds since the Unix epoch by the server's clock.
    pub fn written_ms(&self) -> Option<u64> {
        (self.written_ms != 0).then_some(self.written_ms)
    }

    /// Remembers that the source was seen to evict values, if it was; what is remembered stays.
    #[must_use]
    pub const fn remember_evicting(mut self, seen: bool) -> Self {
        self.seen_evicting |= seen;
        self
    }

    /// Remembers when the message at this position was written; `None` or 0 if that is not known.
    #[must_use]
    pub fn written_at(mut self, ms: Option<u64>) -> Self {
        self.written_ms = ms.unwrap_or(0);
        self
    }

    /// Whether it is at the same position.
    pub fn same_position(&self, other: &Self) -> bool {
        self.position == other.position
    }

    /// Whether this position is at `other` or behind it, so that going from `other` to this one loses nothing.
    pub fn reaches(&self, other: &Self, order: CursorOrder) -> bool {
        other.is_none()
            || self.same_position(other)
            || order.newer(self.position(), other.position()) == Some(true)
    }

    /// The bytes of position and memo: docs/FORMAT.md, "Cursors". Numbered positions without a memo are 8 bytes, big endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let position = self.position();
        let len = u8::try_from(position.len()).unwrap_or(u8::MAX);
        let mut flags = if self.seen_evicting { SEEN_EVICTING } else { 0 };
        if position.len() > SHORT {
            if self.written_ms != 0 {
                flags |= WRITTEN_AT;
            }
            let mut out = vec![len, flags];
            out.extend_from_slice(&self.written_ms.to_le_bytes());
            out.extend_from_slice(position);
            return out;
        }
        let mut out = position.to_vec();
        if flags == 0 && self.written_ms == 0 {
            return out;
        }
        out.resize(SHORT, 0);
        out.push(len);
        if self.written_ms == 0 {
            out.push(flags);
            return out;
        }
        out.push(flags | WRITTEN_AT);
        out.extend_from_slice(&self.written_ms.to_le_bytes());
        out
    }

    /// The cursor of these bytes; `None` if they are those of no cursor.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let known = |flags: u8| flags & !(SEEN_EVICTING | WRITTEN_AT) == 0;
        let mut input = Reader::new(bytes);
        let (position, flags, written_ms) = match bytes.len() {
            0..=SHORT => (bytes, 0, 0),
            MEMO | TIMED => {
                let padded = input.take(SHORT)?;
                let (len, flags) = (input.u8()?, input.u8()?);
                let position = padded.get(..usize::from(len))?;
                let timed = flags & WRITTEN_AT != 0;
                if !known(flags) || timed != (bytes.len() > MEMO) {
                    return None;
                }
                let written_ms = if timed { Some(input.u64()?).filter(|ms| *ms != 0)? } else { 0 };
                (position, flags, written_ms)
            }
            _ => {
                let (len, flags, written_ms) = (input.u8()?, input.u8()?, input.u64()?);
                let timed = flags & WRITTEN_AT != 0;
                if !known(flags) || usize::from(len) <= SHORT || timed != (written_ms != 0) {
                    return None;
                }
                let position = input.take(usize::from(len))?;
                if input.u8().is_some() {
                    return None;
                }
                (position, flags, written_ms)
            }
        };
        let position = VersionToken::of(position);
        Some(Self { position, seen_evicting: flags & SEEN_EVICTING != 0, written_ms })
    }
}

/// The position: a number, or the bytes in hex; `none` at the beginning.
impl fmt::Display for WatchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.position(), "none", f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cursor_comes_back() {
        for len in 0..=255_u8 {
            let position: Vec<u8> = (1..=len).collect();
            for seen in [false, true] {
                for ms in [0, 1, u64::MAX] {
                    let cursor = WatchCursor::from_raw(&position).unwrap();
                    let cursor = cursor.remember_evicting(seen).written_at(Some(ms));
                    let bytes = cursor.to_bytes();
                    assert_eq!(WatchCursor::from_bytes(&bytes), Some(cursor), "{len} {seen} {ms}");
                    assert_eq!(WatchCursor::from_bytes(&[&bytes[..], &[0; 300]].concat()), None);
                }
            }
        }
    }

    #[test]
    fn the_forms_are_those_of_the_documents() {
        let at = WatchCursor::from_u64(7);
        assert_eq!(at.to_bytes(), [0, 0, 0, 0, 0, 0, 0, 7]);
        assert!(WatchCursor::none().to_bytes().is_empty());
        let memo = at.clone().remember_evicting(true);
        assert_eq!(memo.to_bytes(), [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 8, 1]);
        let timed = memo.written_at(Some(258));
        let bytes = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 8, 3, 2, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(timed.to_bytes(), bytes);
        // A time may stand without the other flag, and what pads is not looked at.
        let other = [0, 0, 0, 0, 0, 0, 0, 7, 9, 9, 8, 2, 2, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(WatchCursor::from_bytes(&other), Some(at.written_at(Some(258))));
        assert_eq!(WatchCursor::from_raw(&[1; 11]).unwrap().to_bytes().len(), 21);
        assert_eq!(WatchCursor::from_raw(&[1; 255]).unwrap().to_bytes().len(), 265);
    }

    #[test]
    fn other_bytes_are_no_cursor() {
        let short = |len: u8, flags: u8| [&[0; 10][..], &[len, flags]].concat();
        let timed = |flags: u8, ms: u64| [&short(8, flags)[..], &ms.to_le_bytes()].concat();
        let long = |len: u8, flags: u8, ms: u64, rest: usize| {
            [&[len, flags][..], &ms.to_le_bytes(), &vec![1; rest]].concat()
        };
        let bad = [
            vec![0; 11],
            short(11, 1),
            short(8, 4),
            short(8, 2),
            timed(1, 5),
            timed(2, 0),
            long(10, 0, 0, 11),
            long(11, 0, 0, 12),
            long(11, 4, 0, 11),
            long(11, 2, 0, 11),
            long(11, 0, 9, 11),
            vec![0; 13],
            vec![0; 266],
        ];
        for bytes in bad {
            assert_eq!(WatchCursor::from_bytes(&bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn only_positions_of_one_length_compare() {
        let at = WatchCursor::from_u64;
        let wide = WatchCursor::from_raw(&[9; 10]).unwrap();
        for order in [CursorOrder::Bytes, CursorOrder::Opaque] {
            assert!(at(5).reaches(&at(5), order) && at(5).reaches(&WatchCursor::none(), order));
            assert!(!at(4).reaches(&at(5), order) && !WatchCursor::none().reaches(&at(1), order));
            assert!(!wide.reaches(&at(1), order) && !at(1).reaches(&wide, order));
            assert_eq!(at(256).reaches(&at(255), order), order == CursorOrder::Bytes);
        }
    }
}
