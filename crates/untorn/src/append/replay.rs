//! What the records of a log add up to; no I/O.
//!
//! # Invariants
//! - Y1 Bytes of a record count up to the first later rewind below their end; what is above was taken away, and may have been
//!   written anew without a record's bytes.
//! - Y2 A record vouches for the direct bytes of all before it. Those after the last that vouches are looked at.

use super::record::{Change, End, Entry, Full, MemberState};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Replay {
    /// Bytes of each member's elements; 0 if they differ.
    fixed: Vec<u32>,
    /// The last full form, if there is one.
    pub(super) full: Option<Full>,
    /// Records after it.
    pub(super) changes: u64,
    /// The last of them that vouches; 0 is the full form.
    pub(super) vouched: u64,
    /// Of each member the last of them that went over to other files; 0 if none did.
    pub(super) switched: Vec<u64>,
    /// Where everything stands with all of them.
    pub(super) now: Full,
    /// Of each column, data and ends in turn: rewinds that no later one goes below, as (change, bytes kept).
    rewinds: Vec<Vec<(u64, u64)>>,
}

impl Replay {
    pub(super) fn new(fixed: Vec<u32>) -> Self {
        Self { fixed, ..Self::default() }
    }

    /// Takes the full form; `None` if it is not one of this store.
    pub(super) fn take_full(&mut self, bytes: &[u8]) -> Option<()> {
        let full = Full::decode(bytes)?;
        let kinds_fit =
            full.members.iter().zip(&self.fixed).all(|(member, fixed)| {
                member.ends.is_some() == (*fixed == 0) && whole(member, *fixed)
            });
        if full.members.len() != self.fixed.len() || !kinds_fit {
            return None;
        }
        (self.changes, self.vouched) = (0, 0);
        self.switched = vec![0; self.fixed.len()];
        self.rewinds = vec![Vec::new(); self.fixed.len().saturating_mul(2)];
        self.now = full.clone();
        self.full = Some(full);
        Some(())
    }

    /// Takes a change; `None` if it does not go with what came before.
    pub(super) fn take_change(&mut self, bytes: &[u8]) -> Option<()> {
        let change = Change::decode(bytes)?;
        self.full.as_ref()?;
        self.changes = self.changes.saturating_add(1);
        if change.vouches {
            self.vouched = self.changes;
        }
        for entry in &change.entries {
            match *entry {
                Entry::Extend(extend) => {
                    let column = column(extend.member, extend.ends);
                    let rewinds = self.rewinds.get_mut(column)?;
                    let member = self.now.members.get(usize::from(extend.member))?;
                    if extend.keep < end_of(member, extend.ends)?.end {
                        while rewinds.last().is_some_and(|(_, keep)| *keep >= extend.keep) {
                            rewinds.pop();
                        }
                        rewinds.push((self.changes, extend.keep));
                    }
                }
                Entry::Switch { member, .. } => {
                    *self.switched.get_mut(usize::from(member))? = self.changes;
                }
                Entry::Head { .. } => {}
            }
        }
        apply(&mut self.now, &change, &self.fixed)
    }

    /// How far the bytes of a change count, of those up to `end` (Y1).
    pub(super) fn counts_to(&self, change: u64, member: u16, ends: bool, end: u64) -> u64 {
        let Some(rewinds) = self.rewinds.get(column(member, ends)) else { return end };
        // They keep more and more: the first one after the change is the lowest.
        let after = rewinds.partition_point(|(at, _)| *at <= change);
        rewinds.get(after).map_or(end, |(_, keep)| end.min(*keep))
    }
}

fn column(member: u16, ends: bool) -> usize {
    usize::from(member).saturating_mul(2).saturating_add(usize::from(ends))
}

fn end_of(member: &MemberState, ends: bool) -> Option<End> {
    if ends { member.ends } else { Some(member.data) }
}

/// Whether the columns of a member agree with each other, and its first element lies within them.
fn whole(member: &MemberState, fixed: u32) -> bool {
    let fits = match (member.ends, fixed) {
        (Some(ends), 0) => ends.end.is_multiple_of(8) && member.first <= ends.end / 8,
        (None, fixed) => {
            let fixed = u64::from(fixed);
            member.data.end.checked_rem(fixed) == Some(0)
                && member.first.checked_mul(fixed) == Some(member.first_byte)
        }
        (Some(_), _) => false,
    };
    fits && member.first_byte <= member.data.end
}

/// Brings `now` to where the change leads; `None` if it does not go with it.
pub(super) fn apply(now: &mut Full, change: &Change<'_>, fixed: &[u32]) -> Option<()> {
    for entry in &change.entries {
        match *entry {
            Entry::Extend(extend) => {
                let member = now.members.get_mut(usize::from(extend.member))?;
                let end = if extend.ends { member.ends.as_mut()? } else { &mut member.data };
                if extend.keep > end.end {
                    return None;
                }
                *end = End { end: extend.end(), crc: extend.crc };
            }
            Entry::Head { member, first, first_byte } => {
                let member = now.members.get_mut(usize::from(member))?;
                if first < member.first || first_byte > member.data.end {
                    return None;
                }
                (member.first, member.first_byte) = (first, first_byte);
            }
            Entry::Switch { member, state } => {
                *now.members.get_mut(usize::from(member))? = state;
            }
        }
    }
    let agree = now.members.iter().zip(fixed).all(|(member, fixed)| whole(member, *fixed));
    now.seq = change.seq;
    now.note = change.note.to_vec();
    now.closed = false;
    agree.then_some(())
}

#[cfg(test)]
mod tests {
    use super::super::record::Extend;
    use super::*;

    fn extend(keep: u64, add: u64) -> Vec<u8> {
        let entry = Extend { member: 0, ends: false, keep, add, inline: &[], sums: &[], crc: 0 };
        let entries = vec![Entry::Extend(entry)];
        Change { entries, ..Change::default() }.encode()
    }

    fn replay() -> Replay {
        let mut replay = Replay::new(vec![1]);
        let members = vec![MemberState::default()];
        replay.take_full(&Full { members, ..Full::default() }.encode()).unwrap();
        replay
    }

    #[test]
    fn bytes_count_to_the_lowest_later_rewind() {
        let mut replay = replay();
        for (keep, add) in [(0, 100), (60, 40), (100, 50), (20, 0), (20, 100), (90, 5)] {
            replay.take_change(&extend(keep, add)).unwrap();
        }
        assert_eq!(replay.now.members[0].data.end, 95);
        let counts = [(1, 100), (2, 100), (3, 150), (5, 120), (6, 95)]
            .map(|(change, end)| replay.counts_to(change, 0, false, end));
        assert_eq!(counts, [20, 20, 20, 90, 95]);
    }

    #[test]
    fn what_does_not_go_with_what_came_before_is_refused() {
        assert!(Replay::new(vec![1]).take_change(&extend(0, 1)).is_none());
        assert!(replay().take_change(&extend(1, 1)).is_none());
        let mut of_four = Replay::new(vec![4]);
        let members = vec![MemberState::default()];
        let full = Full { members: members.clone(), ..Full::default() }.encode();
        of_four.take_full(&full).unwrap();
        assert!(of_four.take_change(&extend(0, 6)).is_none());
        assert!(Replay::new(vec![0]).take_full(&full).is_none());
        // A first element behind the last, or one that does not begin where it must.
        for (first, first_byte) in [(u64::MAX, 0), (2, 8), (1, 0), (0, 4)] {
            let mut of_four = of_four.clone();
            of_four.take_change(&extend(0, 4)).unwrap();
            let entries = vec![Entry::Head { member: 0, first, first_byte }];
            let change = Change { entries, ..Change::default() }.encode();
            assert!(of_four.take_change(&change).is_none(), "{first} {first_byte}");
        }
        assert!(Replay::new(vec![1, 1]).take_full(&full).is_none());
    }
}
