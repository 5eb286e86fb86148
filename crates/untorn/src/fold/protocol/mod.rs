//! The rules by which a fold follows a source: small functions without I/O, that the driver and every adapter decide by.
//!
//! P1. A resume loses nothing: what follows the cursor is still there, or it is refused.
//! P2. A position never wraps: nothing follows the last one.
//! P3. Another source, or an older state of the same one, is never followed as if it were the one that the fold is of.
//! P4. A listing deletes only where it is the truth: what merely aged out at the source is not deleted here.

mod repair;
mod resume;

pub use repair::{
    Asked, Fate, FirstStep, Held, Repair, RestoreRefusal, artifact_covers, first_step, listing,
    may_restore, may_retry_apply, must_confirm_empty, repair, restore_key, source_gave_up,
    sweep_allowed,
};
pub use resume::{Continuity, Verdict, continuity, resume};

use super::{CursorOrder, Lineage, VersionToken, WatchCursor};

/// The message at a cursor, by which a source is known again: its position, and when the server wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a message is known by these two")]
pub struct Anchor {
    /// Where it is in the stream.
    pub position: VersionToken,
    /// When it was written, in milliseconds since the Unix epoch by the server's clock.
    pub written_ms: u64,
}

impl Anchor {
    /// The anchor that a cursor has, if it remembers when the message at its position was written.
    pub fn of(cursor: &WatchCursor) -> Option<Self> {
        let written_ms = cursor.written_ms().filter(|_| !cursor.is_none())?;
        Some(Self { position: VersionToken::of(cursor.position()), written_ms })
    }
}

/// What a source has at the position of an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is the same, it is another, or it is gone")]
pub enum AnchorState {
    /// The same message.
    Same,
    /// Nothing any more, which says nothing.
    Gone,
    /// Another message: the stream is not the one that was followed.
    Different,
}

/// How a source lets values go, where age is the only reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an age is told by these two")]
pub struct Aging {
    /// How old a message becomes, in milliseconds.
    pub max_age_ms: u64,
    /// The server's clock, in milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// What a source says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceInfo {
    /// Who it is.
    pub lineage: Lineage,
    /// The oldest position that it still has; [`none`](WatchCursor::none) if it never let one go. `None` if it does not say.
    pub floor: Option<WatchCursor>,
    /// The newest position that it has; [`none`](WatchCursor::none) if it is empty. `None` if it does not say.
    pub head: Option<WatchCursor>,
    /// Whether it lets current values go, by age or for space. `None` if it does not say.
    pub evicts_current_values: Option<bool>,
    /// How its positions relate.
    pub order: CursorOrder,
    /// Where age is the only reason why messages go: how old they become.
    pub aging: Option<Aging>,
}

impl SourceInfo {
    /// A source of which no more is known than who it is.
    pub const fn new(lineage: Lineage) -> Self {
        let order = CursorOrder::Bytes;
        Self { lineage, floor: None, head: None, evicts_current_values: None, order, aging: None }
    }

    /// Sets the oldest and the newest position.
    #[must_use]
    pub fn window(mut self, floor: WatchCursor, head: WatchCursor) -> Self {
        (self.floor, self.head) = (Some(floor), Some(head));
        self
    }

    /// Sets whether it lets current values go.
    #[must_use]
    pub const fn evicts(mut self, evicts: bool) -> Self {
        self.evicts_current_values = Some(evicts);
        self
    }

    /// Sets how its positions relate.
    #[must_use]
    pub const fn order(mut self, order: CursorOrder) -> Self {
        self.order = order;
        self
    }

    /// Sets how old messages become.
    #[must_use]
    pub const fn aging(mut self, aging: Aging) -> Self {
        self.aging = Some(aging);
        self
    }
}

/// The position behind this one, as numbers of its length count; `None` behind the last, and behind no position.
///
/// No position lies between the two, whatever the source counts.
pub fn next_position(position: &[u8]) -> Option<VersionToken> {
    let mut next = position.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(VersionToken::of(&next));
        }
    }
    None
}

/// Whether a resume after `cursor` misses nothing, if `floor` is the oldest position that is left; `None` if that cannot be told.
///
/// That is: the floor is not behind the position after the cursor. No cursor counts as the position zero.
pub fn gap_free(cursor: &WatchCursor, floor: &WatchCursor, order: CursorOrder) -> Option<bool> {
    if floor.is_none() || cursor.same_position(floor) {
        let last = !cursor.is_none() && next_position(cursor.position()).is_none();
        return Some(!(last && order == CursorOrder::Bytes));
    }
    if order == CursorOrder::Opaque {
        return None;
    }
    let zero = vec![0; floor.position().len()];
    let position = if cursor.is_none() { &zero[..] } else { cursor.position() };
    if position.len() != floor.position().len() {
        return None;
    }
    Some(next_position(position).is_some_and(|next| floor.position() <= next.as_bytes()))
}

/// Whether what is missing before the floor was never to be had: where messages go by age alone, none that followed the cursor's
/// can be gone while the cursor's own has at most half of the age.
///
/// A message from the future says that the clock was set back, and nothing else.
pub fn gap_is_harmless(written_ms: Option<u64>, aging: Option<Aging>) -> bool {
    let (Some(written), Some(aging)) = (written_ms, aging) else { return false };
    aging.now_ms.checked_sub(written).is_some_and(|age| age <= aging.max_age_ms / 2)
}

/// Whether what a source lists is all that is true of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "yes, no, or not known")]
pub enum Truth {
    /// What is not listed was deleted.
    Yes,
    /// What is not listed may have aged out.
    No,
    /// The source does not say.
    Unknown,
}

/// Whether a listing is the truth: iff the source was never seen to evict, and does not evict current values or has let nothing go yet.
pub fn listing_is_truth(
    seen_evicting: bool,
    evicts_current_values: Option<bool>,
    floor: Option<&WatchCursor>,
) -> Truth {
    let whole = floor.is_some_and(|floor| {
        gap_free(&WatchCursor::none(), floor, CursorOrder::Bytes) == Some(true)
    });
    match evicts_current_values {
        _ if seen_evicting => Truth::No,
        Some(false) => Truth::Yes,
        _ if whole => Truth::Yes,
        Some(true) => Truth::No,
        None => Truth::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u8) -> WatchCursor {
        WatchCursor::from_raw(&[position]).unwrap()
    }

    #[test]
    fn the_next_position_counts_and_never_wraps() {
        for n in 0..=u16::MAX {
            let next = next_position(&n.to_be_bytes());
            let expected = n.checked_add(1).map(u16::to_be_bytes);
            assert_eq!(
                next.as_ref().map(VersionToken::as_bytes),
                expected.as_ref().map(|b| &b[..])
            );
        }
        assert_eq!(next_position(&[]), None);
        assert_eq!(next_position(&u64::MAX.to_be_bytes()), None);
    }

    #[test]
    fn a_window_is_gap_free_iff_the_floor_is_at_most_the_next() {
        for floor in 0..=u8::MAX {
            for cursor in 0..=u8::MAX {
                let free = gap_free(&at(cursor), &at(floor), CursorOrder::Bytes);
                let expected = cursor.checked_add(1).is_some_and(|next| floor <= next);
                assert_eq!(free, Some(expected), "{cursor} {floor}");
                let opaque = gap_free(&at(cursor), &at(floor), CursorOrder::Opaque);
                assert_eq!(opaque, (floor == cursor).then_some(true));
            }
            let fresh = gap_free(&WatchCursor::none(), &at(floor), CursorOrder::Bytes);
            assert_eq!(fresh, Some(floor <= 1));
            let all = gap_free(&at(floor), &WatchCursor::none(), CursorOrder::Bytes);
            assert_eq!(all, Some(floor != u8::MAX));
        }
        let (none, wide) = (WatchCursor::none(), WatchCursor::from_u64(1));
        assert_eq!(gap_free(&none, &none, CursorOrder::Bytes), Some(true));
        assert_eq!(gap_free(&none, &none, CursorOrder::Opaque), Some(true));
        assert_eq!(gap_free(&at(1), &wide, CursorOrder::Bytes), None);
    }

    #[test]
    fn a_gap_is_harmless_up_to_half_of_the_age() {
        for max_age_ms in 0..8 {
            for now_ms in 0..8 {
                let aging = Some(Aging { max_age_ms, now_ms });
                for written in 0..8 {
                    let expected = written <= now_ms && (now_ms - written) * 2 <= max_age_ms;
                    assert_eq!(gap_is_harmless(Some(written), aging), expected);
                }
                assert!(!gap_is_harmless(None, aging));
            }
        }
        assert!(!gap_is_harmless(Some(1), None));
    }

    #[test]
    fn a_listing_is_the_truth_only_of_who_never_evicted() {
        for seen in [false, true] {
            for evicts in [None, Some(false), Some(true)] {
                for floor in
                    [None, Some(WatchCursor::none()), Some(at(0)), Some(at(1)), Some(at(2))]
                {
                    let whole = floor.as_ref().is_some_and(|f| f.is_none() || *f != at(2));
                    let expected = match (seen, evicts, whole) {
                        (true, ..) | (false, Some(true), false) => Truth::No,
                        (false, Some(false), _) | (false, _, true) => Truth::Yes,
                        (false, None, false) => Truth::Unknown,
                    };
                    assert_eq!(listing_is_truth(seen, evicts, floor.as_ref()), expected);
                }
            }
        }
    }

    #[test]
    fn an_anchor_is_a_position_with_a_time() {
        assert_eq!(Anchor::of(&at(1)), None);
        assert_eq!(Anchor::of(&WatchCursor::none().written_at(Some(5))), None);
        let anchor = Anchor::of(&at(1).written_at(Some(5))).unwrap();
        assert_eq!((anchor.position.as_bytes(), anchor.written_ms), (&[1][..], 5));
    }
}
