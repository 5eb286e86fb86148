//! Whether a source is still the one that a fold is of, and still has what follows.

use super::{AnchorState, SourceInfo, gap_free, gap_is_harmless};
use crate::fold::{CursorOrder, Lineage, WatchCursor};

/// What a comparison of a fold with a source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The fold has no cursor: there is nothing to compare.
    Fresh,
    /// What follows the cursor is there.
    Resume,
    /// What follows the cursor is not there any more.
    Expired,
    /// It is another source.
    OtherLineage,
    /// It is the same source in an older state, such as a restored backup: its newest position is behind the cursor, or another message
    /// stands where the cursor's stood.
    WentBack,
}

/// Compares a fold with a source: first who it is, then whether it has come as far, then what stands at the cursor, then what is left.
///
/// What cannot be told is no reason to refuse: a source that does not say where it is answers when it is opened.
pub fn resume(
    known: Option<&Lineage>,
    cursor: &WatchCursor,
    info: &SourceInfo,
    anchor: Option<AnchorState>,
) -> Verdict {
    if known.is_some_and(|known| *known != info.lineage) {
        return Verdict::OtherLineage;
    }
    if cursor.is_none() {
        return Verdict::Fresh;
    }
    let behind = info.order == CursorOrder::Bytes
        && info.head.as_ref().is_some_and(|head| !head.reaches(cursor, info.order));
    if behind || anchor == Some(AnchorState::Different) {
        return Verdict::WentBack;
    }
    let free = info.floor.as_ref().and_then(|floor| gap_free(cursor, floor, info.order));
    if free == Some(false) && !gap_is_harmless(cursor.written_ms(), info.aging) {
        return Verdict::Expired;
    }
    Verdict::Resume
}

/// How an event fits behind what was received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it follows, it was there before, or one is missing")]
pub enum Continuity {
    /// It follows.
    Next,
    /// All of it was received before.
    Repeated,
    /// It is behind, and whether it was received cannot be told: taken where it is newer, and the cursor stands still.
    Late,
    /// Something before it is missing.
    Gap,
}

/// How an event that leads to `cursor` fits behind `last`; `after` is what the source says that it follows directly, if it says.
pub fn continuity(
    after: Option<&WatchCursor>,
    last: &WatchCursor,
    cursor: &WatchCursor,
    order: CursorOrder,
) -> Continuity {
    let ahead = cursor.reaches(last, order);
    match after {
        Some(after) if after.same_position(last) => Continuity::Next,
        Some(_) if last.reaches(cursor, order) => Continuity::Repeated,
        Some(_) => Continuity::Gap,
        None if ahead || order == CursorOrder::Opaque => Continuity::Next,
        None => Continuity::Late,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u8) -> WatchCursor {
        if position == 0 {
            return WatchCursor::none();
        }
        WatchCursor::from_raw(&[position]).unwrap()
    }

    fn lineage(id: u8) -> Lineage {
        Lineage { kind: "test".into(), id: vec![id] }
    }

    #[test]
    fn the_verdict_in_every_small_state() {
        let anchors =
            [None, Some(AnchorState::Same), Some(AnchorState::Gone), Some(AnchorState::Different)];
        let mut seen = std::collections::BTreeMap::new();
        for known in [None, Some(lineage(1)), Some(lineage(2))] {
            for cursor in 0..5 {
                for floor in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                    for head in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                        for anchor in anchors {
                            let mut info = SourceInfo::new(lineage(1));
                            (info.floor, info.head) = (floor.map(at), head.map(at));
                            let verdict = resume(known.as_ref(), &at(cursor), &info, anchor);
                            let other = known.as_ref().is_some_and(|k| *k == lineage(2));
                            let back = head.is_some_and(|head| head < cursor)
                                || anchor == Some(AnchorState::Different);
                            let gap = floor.is_some_and(|floor| floor > cursor + 1);
                            let expected = match () {
                                () if other => Verdict::OtherLineage,
                                () if cursor == 0 => Verdict::Fresh,
                                () if back => Verdict::WentBack,
                                () if gap => Verdict::Expired,
                                () => Verdict::Resume,
                            };
                            assert_eq!(verdict, expected, "{cursor} {floor:?} {head:?} {anchor:?}");
                            *seen.entry(format!("{verdict:?}")).or_insert(0) += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
    }

    #[test]
    fn a_young_cursor_is_not_expired_where_only_age_evicts() {
        let info = SourceInfo::new(lineage(1)).window(at(9), at(9));
        let cursor = at(3).written_at(Some(100));
        assert_eq!(resume(None, &cursor, &info, None), Verdict::Expired);
        for (now_ms, verdict) in [(105, Verdict::Resume), (106, Verdict::Expired)] {
            let aged = info.clone().aging(super::super::Aging { max_age_ms: 10, now_ms });
            assert_eq!(resume(None, &cursor, &aged, None), verdict);
        }
    }

    #[test]
    fn positions_of_another_kind_are_another_state() {
        let info =
            SourceInfo::new(lineage(1)).window(WatchCursor::none(), WatchCursor::from_u64(9));
        assert_eq!(resume(None, &at(3), &info, None), Verdict::WentBack);
        let opaque = info.order(CursorOrder::Opaque);
        assert_eq!(resume(None, &at(3), &opaque, None), Verdict::Resume);
    }

    #[test]
    fn an_event_follows_or_is_told_apart_in_every_small_state() {
        for last in 0..4 {
            for cursor in 0..4 {
                for after in [None, Some(0), Some(1), Some(2), Some(3)] {
                    for order in [CursorOrder::Bytes, CursorOrder::Opaque] {
                        let bytes = order == CursorOrder::Bytes;
                        let got = continuity(after.map(at).as_ref(), &at(last), &at(cursor), order);
                        let known = cursor == 0 || cursor == last || (bytes && cursor < last);
                        let expected = match after {
                            Some(after) if after == last => Continuity::Next,
                            Some(_) if known => Continuity::Repeated,
                            Some(_) => Continuity::Gap,
                            None if bytes && cursor < last => Continuity::Late,
                            None => Continuity::Next,
                        };
                        assert_eq!(got, expected, "{after:?} {last} {cursor} {order:?}");
                    }
                }
            }
        }
    }
}
