//! Torn or damaged: the one rule, as a table. The same table stands in DURABILITY.md#torn-or-damaged.
//!
//! `D` is the largest sequence number that anything vouches for. What does not verify at or below it is damage; what does
//! not verify above it was never acknowledged, and is healed.

/// What recovery knows when it has found the end of what verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The end lies in the last segment that was begun. Of those before it, a sync covered every byte.
    pub(super) in_last_segment: bool,
    /// There is a byte after the end that is not zero.
    pub(super) bytes_after: bool,
    /// `D` is beyond the end.
    pub(super) vouched_beyond: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The log ends where it was last written.
    Sound,
    /// What follows the end was never acknowledged: keep a copy, cut it, report it.
    Torn,
    /// Acknowledged records are not readable: refuse, unless the user says otherwise.
    Damaged,
}

/// in last segment, bytes after, vouched beyond; `None` where it does not matter.
const TABLE: [([Option<bool>; 3], Verdict); 4] = [
    ([Some(false), None, None], Verdict::Damaged),
    ([Some(true), None, Some(true)], Verdict::Damaged),
    ([Some(true), Some(true), Some(false)], Verdict::Torn),
    ([Some(true), Some(false), Some(false)], Verdict::Sound),
];

pub(super) fn judge(facts: Facts) -> Verdict {
    let facts = [facts.in_last_segment, facts.bytes_after, facts.vouched_beyond];
    let row = TABLE.iter().find(|(row, _)| matches(*row, facts));
    // The test below shows that there is a row for every input.
    row.map_or(Verdict::Damaged, |(_, verdict)| *verdict)
}

fn matches(row: [Option<bool>; 3], facts: [bool; 3]) -> bool {
    row.iter().zip(facts).all(|(cell, fact)| cell.is_none_or(|cell| cell == fact))
}

/// Whether what is cut looks like what a crash leaves of a write: zero from some byte to its end, or with a sector of zeros.
///
/// `bytes` begins at `offset` and ends with the last byte that is not zero; `write_end` is where the write that
/// stands there would have ended, if its header still tells.
pub(super) fn looks_torn(bytes: &[u8], offset: u64, write_end: u64) -> bool {
    const SECTOR: u64 = 512;
    let end = offset.saturating_add(bytes.len() as u64);
    if end < write_end {
        return true;
    }
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        let to_boundary = SECTOR.saturating_sub(at % SECTOR);
        let len = usize::try_from(to_boundary).unwrap_or(rest.len()).min(rest.len());
        let (sector, after) = rest.split_at(len);
        if sector.iter().all(|&b| b == 0) {
            return true;
        }
        at = at.saturating_add(to_boundary);
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_has_exactly_one_row() {
        for bits in 0..8_u8 {
            let facts = [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0];
            let rows = TABLE.iter().filter(|(row, _)| matches(*row, facts)).count();
            assert_eq!(rows, 1, "{facts:?}");
        }
    }

    #[test]
    fn torn_tails_are_known_by_their_zeros() {
        let whole = vec![1; 2000];
        assert!(!looks_torn(&whole, 100, 2100));
        assert!(looks_torn(&whole[..1999], 100, 2100), "a byte prefix");
        let mut holed = whole;
        holed[512 - 100..1024 - 100].fill(0);
        assert!(looks_torn(&holed, 100, 2100), "a lost sector");
        holed[600] = 1;
        assert!(!looks_torn(&holed, 100, 2100));
    }
}
