//! The bytes of the records in a store's log, and nothing else. docs/FORMAT.md has the tables.
//!
//! A change says of some columns what is kept and what is added; the full form says where all of them end. The log has the
//! checksums; here it is only checked that the fields agree with each other.

use super::blocks::block_of;
use crate::codec::bytes::Reader;

/// All direct bytes of this record and of those before it were synced before it was written.
const VOUCHES: u8 = 1;
/// The store was closed in order: nothing was written to its files after this.
const CLOSED: u8 = 2;
const EXTEND: u8 = 1;
const HEAD: u8 = 2;
const SWITCH: u8 = 3;
const HAS_ENDS: u8 = 1;

/// Where a column ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    pub(super) end: u64,
    /// The sum of its last block so far.
    pub(super) crc: u32,
}

/// What a member is, as of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberState {
    /// Which files are its: each compaction makes new ones.
    pub(super) generation: u64,
    /// Its first element, and that element's first byte.
    pub(super) first: u64,
    pub(super) first_byte: u64,
    pub(super) data: End,
    pub(super) ends: Option<End>,
}

/// What one column of a member is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extend<'a> {
    pub(super) member: u16,
    /// Of the ends, not the data.
    pub(super) ends: bool,
    /// Bytes that are kept; fewer than there are is a rewind.
    pub(super) keep: u64,
    /// Bytes that are added behind them.
    pub(super) add: u64,
    /// The first of these bytes; the others were synced in place.
    pub(super) inline: &'a [u8],
    /// Sums of the blocks that the added bytes fill, little-endian.
    pub(super) sums: &'a [u8],
    /// The sum of the last block so far.
    pub(super) crc: u32,
}

impl Extend<'_> {
    /// Where the column ends with it.
    pub(super) const fn end(&self) -> u64 {
        self.keep.saturating_add(self.add)
    }

    /// Where its inline bytes end.
    pub(super) const fn inline_end(&self) -> u64 {
        self.keep.saturating_add(self.inline.len() as u64)
    }

    pub(super) fn sums(&self) -> impl Iterator<Item = u32> {
        self.sums.chunks_exact(4).map(|sum| sum.try_into().map_or(0, u32::from_le_bytes))
    }
}

/// One thing that a commit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Extend(Extend<'a>),
    /// The member begins at a later element.
    Head {
        member: u16,
        first: u64,
        first_byte: u64,
    },
    /// The member goes on in other files.
    Switch {
        member: u16,
        state: MemberState,
    },
}

/// A commit. One without entries says that the store is in use, or that everything so far is synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) vouches: bool,
    pub(super) seq: u64,
    pub(super) note: &'a [u8],
    pub(super) entries: Vec<Entry<'a>>,
}

impl<'a> Change<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let inline = |entry: &Entry<'_>| match entry {
            Entry::Extend(extend) => {
                extend.inline.len().saturating_add(extend.sums.len()).saturating_add(64)
            }
            _ => 64,
        };
        let size = self.entries.iter().map(inline).fold(64, usize::saturating_add);
        let mut out = Vec::with_capacity(size.saturating_add(self.note.len()));
        put_head(&mut out, if self.vouches { VOUCHES } else { 0 }, self.seq, self.note);
        put_count(&mut out, self.entries.len());
        for entry in &self.entries {
            match entry {
                Entry::Extend(extend) => {
                    out.push(EXTEND);
                    out.extend(extend.member.to_le_bytes());
                    out.push(u8::from(extend.ends));
                    out.extend(extend.keep.to_le_bytes());
                    out.extend(extend.add.to_le_bytes());
                    out.extend(extend.crc.to_le_bytes());
                    out.extend((extend.inline.len() as u64).to_le_bytes());
                    out.extend(extend.sums);
                    out.extend(extend.inline);
                }
                Entry::Head { member, first, first_byte } => {
                    out.push(HEAD);
                    out.extend(member.to_le_bytes());
                    out.extend(first.to_le_bytes());
                    out.extend(first_byte.to_le_bytes());
                }
                Entry::Switch { member, state } => {
                    out.push(SWITCH);
                    out.extend(member.to_le_bytes());
                    put_state(&mut out, state);
                }
            }
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote; borrows from it. What is returned agrees with itself.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Reader::new(bytes);
        let (flags, seq, note) = head(&mut rest)?;
        let count = rest.u16()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(entry(&mut rest)?);
        }
        let whole = rest.take(1).is_none() && flags & !VOUCHES == 0;
        whole.then_some(Self { vouches: flags & VOUCHES != 0, seq, note, entries })
    }
}

/// Where everything stands: what a checkpoint and a close write down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) closed: bool,
    pub(super) seq: u64,
    pub(super) note: Vec<u8>,
    pub(super) members: Vec<MemberState>,
}

impl Full {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_head(&mut out, if self.closed { CLOSED } else { 0 }, self.seq, &self.note);
        put_count(&mut out, self.members.len());
        for state in &self.members {
            put_state(&mut out, state);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader::new(bytes);
        let (flags, seq, note) = head(&mut rest)?;
        let count = rest.u16()?;
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(member_state(&mut rest)?);
        }
        let whole = rest.take(1).is_none() && flags & !CLOSED == 0;
        whole.then_some(Self { closed: flags & CLOSED != 0, seq, note: note.to_vec(), members })
    }
}

fn put_head(out: &mut Vec<u8>, flags: u8, seq: u64, note: &[u8]) {
    out.push(flags);
    out.extend(seq.to_le_bytes());
    let len = u16::try_from(note.len()).unwrap_or(u16::MAX);
    out.extend(len.to_le_bytes());
    out.extend(note.iter().take(usize::from(len)));
}

fn head<'a>(rest: &mut Reader<'a>) -> Option<(u8, u64, &'a [u8])> {
    let (flags, seq, len) = (rest.u8()?, rest.u64()?, rest.u16()?);
    Some((flags, seq, rest.take(usize::from(len))?))
}

/// Nobody has as many members, or entries.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

fn put_state(out: &mut Vec<u8>, state: &MemberState) {
    out.push(if state.ends.is_some() { HAS_ENDS } else { 0 });
    out.extend(state.generation.to_le_bytes());
    out.extend(state.first.to_le_bytes());
    out.extend(state.first_byte.to_le_bytes());
    for end in [Some(state.data), state.ends].into_iter().flatten() {
        out.extend(end.end.to_le_bytes());
        out.extend(end.crc.to_le_bytes());
    }
}

fn member_state(rest: &mut Reader<'_>) -> Option<MemberState> {
    let flags = rest.u8().filter(|flags| flags & !HAS_ENDS == 0)?;
    let (generation, first, first_byte) = (rest.u64()?, rest.u64()?, rest.u64()?);
    let data = End { end: rest.u64()?, crc: rest.u32()? };
    let ends = match flags {
        HAS_ENDS => Some(End { end: rest.u64()?, crc: rest.u32()? }),
        _ => None,
    };
    let elements = |ends: End| ends.end / 8 >= first && ends.end.is_multiple_of(8);
    let agree = first_byte <= data.end && ends.is_none_or(elements);
    agree.then_some(MemberState { generation, first, first_byte, data, ends })
}

fn entry<'a>(rest: &mut Reader<'a>) -> Option<Entry<'a>> {
    match rest.u8()? {
        EXTEND => {
            let member = rest.u16()?;
            let ends = match rest.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            };
            let (keep, add, crc, inline) = (rest.u64()?, rest.u64()?, rest.u32()?, rest.u64()?);
            let end = keep.checked_add(add)?;
            let filled = block_of(end).checked_sub(block_of(keep))?;
            let sums = rest.take(usize::try_from(filled).ok()?.checked_mul(4)?)?;
            let inline = rest.take(usize::try_from(inline).ok()?)?;
            let fits = inline.len() as u64 <= add;
            fits.then_some(Entry::Extend(Extend { member, ends, keep, add, inline, sums, crc }))
        }
        HEAD => {
            Some(Entry::Head { member: rest.u16()?, first: rest.u64()?, first_byte: rest.u64()? })
        }
        SWITCH => Some(Entry::Switch { member: rest.u16()?, state: member_state(rest)? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Vec<u8> {
        let sums = [1, 2, 3, 4];
        let ends = Some(End { end: 16, crc: 3 });
        let data = End { end: 90, crc: 2 };
        let state = MemberState { generation: 3, first: 2, first_byte: 20, data, ends };
        let extend = Extend {
            member: 1,
            ends: false,
            keep: 16_000,
            add: 1000,
            inline: b"abc",
            sums: &sums,
            crc: 9,
        };
        let entries = vec![
            Entry::Extend(extend),
            Entry::Head { member: 0, first: 7, first_byte: 70 },
            Entry::Switch { member: 2, state },
        ];
        let change = Change { vouches: true, seq: 77, note: b"block", entries };
        let bytes = change.encode();
        assert_eq!(Change::decode(&bytes), Some(change));
        bytes
    }

    #[test]
    fn a_change_comes_back() {
        let bytes = change();
        for cut in 0..bytes.len() {
            assert_eq!(Change::decode(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Change::decode(&[&bytes[..], &[0]].concat()), None);
        let nothing = Change { seq: 1, ..Change::default() };
        assert_eq!(Change::decode(&nothing.encode()), Some(nothing));
    }

    #[test]
    fn fields_that_do_not_agree_are_refused() {
        let extend = |keep, add, sums: &[u8], inline: &[u8]| {
            let extend = Extend { member: 0, ends: false, keep, add, inline, sums, crc: 0 };
            let change = Change { entries: vec![Entry::Extend(extend)], ..Change::default() };
            Change::decode(&change.encode()).is_some()
        };
        assert!(extend(0, 16_384, &[0; 4], b"x"));
        assert!(!extend(0, 16_384, &[], b"x"));
        assert!(!extend(0, 2, &[], b"abc"));
        assert!(!extend(u64::MAX, 1, &[], b""));
        assert!(!extend(0, u64::MAX, &[], b""));
    }

    #[test]
    fn the_full_form_comes_back() {
        let member = MemberState { first: 1, first_byte: 5, ..MemberState::default() };
        let member = MemberState { data: End { end: 9, crc: 1 }, ..member };
        let full =
            Full { closed: true, seq: 4, note: b"n".to_vec(), members: vec![member, member] };
        let bytes = full.encode();
        assert_eq!(Full::decode(&bytes), Some(full));
        for cut in 0..bytes.len() {
            assert_eq!(Full::decode(&bytes[..cut]), None, "{cut}");
        }
        let late = MemberState { first_byte: 10, ..member };
        assert_eq!(Full::decode(&Full { members: vec![late], ..Full::default() }.encode()), None);
    }
}
