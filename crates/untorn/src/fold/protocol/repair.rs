//! What is done about a fold that cannot be resumed, and what a repair may take away.

use super::{Truth, gap_free};
use crate::fold::{CursorOrder, WatchCursor};
use crate::{ErrorKind, Outcome};

/// What the user wants done about an expired cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asked {
    /// Nothing.
    Fail,
    /// A listing, unless it is known not to be the truth.
    Relist,
    /// A listing, only where it is known to be the truth.
    RelistIfTruth,
    /// An artifact.
    Restore,
    /// A listing where it is known to be the truth, else an artifact.
    Auto,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are two ways to repair, and none")]
pub enum Repair {
    /// List everything, sweep the rest.
    Relist,
    /// Take an artifact that is ahead.
    Restore,
    /// Nothing: it fails.
    Refuse,
}

/// Which repair is taken.
pub const fn repair(asked: Asked, truth: Truth) -> Repair {
    match (asked, truth) {
        (Asked::Fail, _)
        | (Asked::Relist, Truth::No)
        | (Asked::RelistIfTruth, Truth::No | Truth::Unknown) => Repair::Refuse,
        (Asked::Relist, _) | (Asked::RelistIfTruth | Asked::Auto, Truth::Yes) => Repair::Relist,
        (Asked::Restore | Asked::Auto, _) => Repair::Restore,
    }
}

/// What a fold without a cursor begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it begins, or is repaired first")]
pub enum FirstStep {
    /// The source sends what it has.
    Open,
    /// The fold has entries that nobody vouches for: it is repaired first, as if its cursor had expired.
    Repair,
    /// What the source has is not all: an artifact first, then the source.
    Restore,
}

/// What a fold without a cursor begins with; `armed` says whether there is an artifact to restore.
pub const fn first_step(has_entries: bool, truth: Truth, armed: bool) -> FirstStep {
    match (has_entries, truth) {
        (true, _) => FirstStep::Repair,
        (false, Truth::No) if armed => FirstStep::Restore,
        (false, _) => FirstStep::Open,
    }
}

/// Whether an empty listing is listed a second time before it is believed: where the fold has entries, or the source has had messages.
pub const fn must_confirm_empty(
    listed: u64,
    has_entries: bool,
    has_history: bool,
    confirmed: bool,
) -> bool {
    listed == 0 && (has_entries || has_history) && !confirmed
}

/// What becomes of a key that a fold has, when a listing ends.
///
/// `newer` says whether its version is known to be newer than the listing; where the lineage is a new one, versions say nothing.
#[expect(clippy::fn_params_excessive_bools, reason = "a rule over four facts")]
pub const fn listing(listed: bool, in_scope: bool, newer: bool, new_lineage: bool) -> Fate {
    if listed || !in_scope || (newer && !new_lineage) { Fate::Keep } else { Fate::Delete }
}

/// Whether a sweep of `swept` keys out of `held` stays within a fraction of them; `None` allows all.
pub fn sweep_allowed(held: u64, swept: u64, fraction: Option<f64>) -> bool {
    let Some(fraction) = fraction else { return true };
    swept == 0 || as_f64(swept) <= as_f64(held) * fraction
}

/// Exact up to 53 bits, which is more keys than there are.
fn as_f64(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high).mul_add(4_294_967_296.0, f64::from(low))
}

/// What a restore is decided by.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "who restores fills it in")]
pub struct Held<'a> {
    /// The fold's cursor.
    pub local: &'a WatchCursor,
    /// The artifact's cursor.
    pub artifact: &'a WatchCursor,
    /// The oldest position that the source still has; `None` if it does not say.
    pub floor: Option<&'a WatchCursor>,
    /// How positions relate.
    pub order: CursorOrder,
    /// Whether the artifact is of the source.
    pub same_lineage: bool,
    /// Whether it has all prefixes that the fold has.
    pub covers: bool,
}

/// Why an artifact is not restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreRefusal {
    /// It is of another source.
    OtherLineage,
    /// It does not have all prefixes that the fold has.
    Scope,
    /// It is not ahead of the fold.
    NotAhead,
    /// What follows it is gone at the source, or may be.
    Expired,
}

/// Whether an artifact may be restored: it is strictly ahead of the fold, what follows it is there, it is of the source, and it has
/// all that the fold has.
///
/// # Errors
/// Why not.
pub fn may_restore(held: Held<'_>) -> Result<(), RestoreRefusal> {
    let Held { local, artifact, floor, order, .. } = held;
    if !held.same_lineage {
        return Err(RestoreRefusal::OtherLineage);
    }
    if !held.covers {
        return Err(RestoreRefusal::Scope);
    }
    if artifact.is_none() || artifact.same_position(local) || !artifact.reaches(local, order) {
        return Err(RestoreRefusal::NotAhead);
    }
    match floor.and_then(|floor| gap_free(artifact, floor, order)) {
        Some(true) => Ok(()),
        _ => Err(RestoreRefusal::Expired),
    }
}

/// Whether an artifact with these prefixes has all keys with ours; `None` is all keys.
pub fn artifact_covers(artifact: Option<&[String]>, ours: Option<&[String]>) -> bool {
    let Some(theirs) = artifact else { return true };
    let has = |prefix: &str| theirs.iter().any(|their| prefix.starts_with(&**their));
    ours.map_or_else(|| has(""), |ours| ours.iter().all(|prefix| has(prefix)))
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it stays, it is replaced, or it goes")]
pub enum Fate {
    /// What the fold has stays.
    Keep,
    /// What the artifact has takes its place.
    Take,
    /// It is deleted.
    Delete,
}

/// What becomes of a key in a restore, by the version that the fold has and the one that the artifact has.
///
/// The newer one wins. What the artifact does not have was deleted before it was made, unless the source still lists it.
pub fn restore_key(
    local: Option<&[u8]>,
    artifact: Option<&[u8]>,
    listed_live: bool,
    order: CursorOrder,
) -> Fate {
    match (local, artifact) {
        (None, None) => Fate::Keep,
        (None, Some(_)) => Fate::Take,
        (Some(_), None) if listed_live => Fate::Keep,
        (Some(_), None) => Fate::Delete,
        (Some(local), Some(artifact)) if local == artifact => Fate::Keep,
        (Some(local), Some(artifact)) => match order.newer(local, artifact) {
            Some(true) => Fate::Keep,
            // Versions that do not compare: the artifact is ahead as a whole.
            Some(false) | None => Fate::Take,
        },
    }
}

/// Whether a batch that failed may be given to the store again: nothing happened, and waiting may help.
pub const fn may_retry_apply(kind: ErrorKind, outcome: Outcome) -> bool {
    let may_pass = matches!(
        kind,
        ErrorKind::Io
            | ErrorKind::NoSpace
            | ErrorKind::OverBudget
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
    );
    may_pass && matches!(outcome, Outcome::Unchanged)
}

/// Whether an error of a source ends the run: asking again gives the same answer.
pub const fn source_gave_up(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Failed
            | ErrorKind::InvalidInput
            | ErrorKind::Unsupported
            | ErrorKind::Codec
            | ErrorKind::TooLarge
            | ErrorKind::Damaged
            | ErrorKind::NotOurs
            | ErrorKind::NewerFormat
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTHS: [Truth; 3] = [Truth::Yes, Truth::No, Truth::Unknown];

    fn at(position: u8) -> WatchCursor {
        if position == 0 {
            return WatchCursor::none();
        }
        WatchCursor::from_raw(&[position]).unwrap()
    }

    #[test]
    fn which_repair_is_a_table() {
        use Repair::{Refuse, Relist, Restore};
        let table = [
            (Asked::Fail, [Refuse, Refuse, Refuse]),
            (Asked::Relist, [Relist, Refuse, Relist]),
            (Asked::RelistIfTruth, [Relist, Refuse, Refuse]),
            (Asked::Restore, [Restore, Restore, Restore]),
            (Asked::Auto, [Relist, Restore, Restore]),
        ];
        for (asked, expected) in table {
            assert_eq!(TRUTHS.map(|truth| repair(asked, truth)), expected, "{asked:?}");
        }
    }

    #[test]
    fn what_a_fold_without_a_cursor_begins_with_is_a_table() {
        for truth in TRUTHS {
            for armed in [false, true] {
                assert_eq!(first_step(true, truth, armed), FirstStep::Repair);
                let restore = armed && truth == Truth::No;
                let expected = if restore { FirstStep::Restore } else { FirstStep::Open };
                assert_eq!(first_step(false, truth, armed), expected);
            }
        }
    }

    #[test]
    fn a_listing_deletes_what_is_old_in_scope_and_unlisted() {
        for bits in 0..16_u8 {
            let [listed, in_scope, newer, new] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let deletes = in_scope && !listed && (new || !newer);
            let expected = if deletes { Fate::Delete } else { Fate::Keep };
            assert_eq!(listing(listed, in_scope, newer, new), expected);
        }
        for bits in 0..8_u8 {
            let [entries, history, confirmed] = [1, 2, 4].map(|bit| bits & bit != 0);
            for listed in 0..3 {
                let expected = listed == 0 && (entries || history) && !confirmed;
                assert_eq!(must_confirm_empty(listed, entries, history, confirmed), expected);
            }
        }
    }

    #[test]
    fn a_sweep_stays_within_its_fraction() {
        for held in 0..20_u64 {
            for swept in 0..=held {
                assert!(sweep_allowed(held, swept, None));
                assert!(sweep_allowed(held, swept, Some(1.0)));
                assert_eq!(sweep_allowed(held, swept, Some(0.0)), swept == 0);
                assert_eq!(sweep_allowed(held, swept, Some(0.25)), swept * 4 <= held);
                assert_eq!(sweep_allowed(held << 33, swept << 33, Some(0.25)), swept * 4 <= held);
            }
        }
        assert!(!sweep_allowed(10, 5, Some(f64::NAN)));
    }

    #[test]
    fn a_restore_is_ahead_in_the_window_of_the_same_and_whole() {
        for local in 0..5 {
            for artifact in 0..5 {
                for floor in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                    for (same_lineage, covers) in
                        [(true, true), (true, false), (false, true), (false, false)]
                    {
                        let (ours, theirs, left) = (at(local), at(artifact), floor.map(at));
                        let got = may_restore(Held {
                            local: &ours,
                            artifact: &theirs,
                            floor: left.as_ref(),
                            order: CursorOrder::Bytes,
                            same_lineage,
                            covers,
                        });
                        let window = floor.is_some_and(|floor| floor <= artifact + 1);
                        let expected = match () {
                            () if !same_lineage => Err(RestoreRefusal::OtherLineage),
                            () if !covers => Err(RestoreRefusal::Scope),
                            () if artifact <= local => Err(RestoreRefusal::NotAhead),
                            () if !window => Err(RestoreRefusal::Expired),
                            () => Ok(()),
                        };
                        assert_eq!(got, expected, "{local} {artifact} {floor:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_key_in_a_restore_in_every_small_state() {
        let versions = [None, Some(1_u8), Some(2), Some(3)];
        for local in versions {
            for artifact in versions {
                for live in [false, true] {
                    let bytes = |version: Option<u8>| version.map(|v| vec![v]);
                    let (ours, theirs) = (bytes(local), bytes(artifact));
                    let fate = |order| restore_key(ours.as_deref(), theirs.as_deref(), live, order);
                    let expected = match (local, artifact) {
                        (None, None) => Fate::Keep,
                        (Some(_), None) if !live => Fate::Delete,
                        (local, artifact) if local >= artifact => Fate::Keep,
                        _ => Fate::Take,
                    };
                    assert_eq!(fate(CursorOrder::Bytes), expected, "{local:?} {artifact:?} {live}");
                    if local.is_some() && artifact.is_some() {
                        let same = if local == artifact { Fate::Keep } else { Fate::Take };
                        assert_eq!(fate(CursorOrder::Opaque), same);
                    }
                }
            }
        }
    }

    #[test]
    fn an_artifact_covers_what_its_prefixes_cover() {
        let lists: [Option<Vec<String>>; 6] = [
            None,
            Some(vec![]),
            Some(vec![String::new()]),
            Some(vec!["a".into()]),
            Some(vec!["ab".into()]),
            Some(vec!["a".into(), "b".into()]),
        ];
        let keys = ["", "a", "ab", "abc", "b", "c"];
        let has = |list: &Option<Vec<String>>, key: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|prefix| key.starts_with(&**prefix)))
        };
        for theirs in &lists {
            for ours in &lists {
                let expected = keys.iter().all(|key| !has(ours, key) || has(theirs, key));
                let got = artifact_covers(theirs.as_deref(), ours.as_deref());
                assert_eq!(got, expected, "{theirs:?} {ours:?}");
            }
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        use ErrorKind as K;
        for outcome in [Outcome::Unchanged, Outcome::Applied, Outcome::Unknown] {
            for kind in [K::Io, K::NoSpace, K::OverBudget, K::TimedOut, K::WouldBlock] {
                assert_eq!(may_retry_apply(kind, outcome), outcome == Outcome::Unchanged);
            }
            for kind in [K::Poisoned, K::Damaged, K::CursorRegressed, K::TooLarge, K::ReadOnly] {
                assert!(!may_retry_apply(kind, outcome));
            }
        }
        for kind in [K::Io, K::TimedOut, K::NotFound, K::Closed, K::Cancelled, K::WouldBlock] {
            assert!(!source_gave_up(kind));
        }
        for kind in [K::Failed, K::InvalidInput, K::Unsupported, K::Codec, K::TooLarge] {
            assert!(source_gave_up(kind));
        }
    }
}
