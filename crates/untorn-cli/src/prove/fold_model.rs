//! What a fold should hold: its batches follow from the seed and from their cursor alone, so that who knows the cursor knows every entry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use untorn::fold::{AppendLogSnapshot, FoldOptions, FoldSnapshot, KvUpdate, ScanOptions};
use untorn::fold::{SnapshotStore as _, SyncScope, VersionToken, WatchCursor};
use untorn::{Error, ErrorKind};

use super::child::SEGMENT;
use super::content::Rng;

/// So small that a compaction is nearly always under way.
const COMPACT: u64 = 128 << 10;
/// Keys that there may be.
const KEYS: u64 = 3000;
/// Each so manieth step is a listing.
const LISTING: u64 = 61;
/// A listing is applied in parts of so many.
pub(super) const PART: usize = 7;

/// What both owners open the fold with.
pub(super) fn open(work: &Path) -> Result<(WatchCursor, AppendLogSnapshot), Error> {
    options().open(work.join("fold"))
}

fn options() -> FoldOptions {
    FoldOptions::new().compact_threshold(COMPACT).log_segment_bytes(SEGMENT)
}

/// The fold as somebody sees it who does not own it.
pub(super) fn look(work: &Path) -> Result<AppendLogSnapshot, Error> {
    Ok(options().create(false).read_only(true).open(work.join("fold"))?.1)
}

/// One step from a cursor to the next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Batch(Vec<KvUpdate>),
    /// Everything with this prefix; what is not listed goes away with the last commit.
    Listing {
        prefix: String,
        listed: Vec<KvUpdate>,
    },
}

fn key(rng: &mut Rng) -> String {
    let n = rng.below(KEYS);
    format!("k{}/{n:04}", n % 10)
}

/// The value that this step gives a key; the longest ones lie apart in the base.
fn value(seed: u64, step: u64, key: &str) -> Vec<u8> {
    let mut rng = Rng::new(seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for byte in key.bytes() {
        rng = Rng::new(rng.next() ^ u64::from(byte));
    }
    let len = match rng.below(64) {
        0 => 8 << 10,
        1..6 => rng.below(2000),
        6 => 0,
        _ => rng.below(120),
    };
    let len = usize::try_from(len).unwrap_or(0);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The step that ends at this cursor, from 1 on.
pub(super) fn step(seed: u64, at: u64) -> Step {
    let mut rng = Rng::new(seed.wrapping_add(at.wrapping_mul(0xd134_2543_de82_ef95)));
    let version = VersionToken::from_u64(at);
    let put = |key: String| {
        let value = value(seed, at, &key);
        KvUpdate::put(key, value, version.clone())
    };
    if at.is_multiple_of(LISTING) {
        let prefix = format!("k{}/", rng.below(10));
        let keys: BTreeSet<String> = (0..40)
            .map(|_| key(&mut rng))
            .map(|key| format!("{prefix}{}", key.split('/').next_back().unwrap_or_default()))
            .collect();
        return Step::Listing { prefix, listed: keys.into_iter().map(put).collect() };
    }
    let count = match rng.below(24) {
        0 => 0,
        1 => 400,
        _ => 1 + rng.below(30),
    };
    let update = |_| {
        let key = key(&mut rng);
        match rng.below(8) {
            0 => KvUpdate::delete(key, version.clone()),
            1 if rng.below(8) == 0 => KvUpdate::Purge { key, version: version.clone() },
            _ => put(key),
        }
    };
    Step::Batch((0..count).map(update).collect())
}

/// Takes the fold one step further.
pub(super) fn perform(fold: &mut AppendLogSnapshot, step: &Step, at: u64) -> Result<(), Error> {
    let cursor = WatchCursor::from_u64(at);
    match step {
        Step::Batch(updates) => fold.apply(updates, &cursor),
        Step::Listing { prefix, listed } => {
            let token = fold.begin_sync(SyncScope::prefixes(vec![prefix.clone()]))?;
            for part in listed.chunks(PART) {
                fold.sync_apply(&token, part)?;
            }
            fold.finish_sync(token, &cursor).map(drop)
        }
    }
}

/// Which step gave each key its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) cursor: u64,
    entries: BTreeMap<String, u64>,
}

impl Model {
    /// Goes on to this cursor.
    pub(super) fn advance(&mut self, seed: u64, to: u64) {
        while self.cursor < to {
            self.cursor += 1;
            let updates = match step(seed, self.cursor) {
                Step::Batch(updates) => updates,
                Step::Listing { prefix, listed } => {
                    self.entries.retain(|key, _| !key.starts_with(&prefix));
                    listed
                }
            };
            for update in updates {
                match update.value() {
                    Some(_) => drop(self.entries.insert(update.key().to_owned(), self.cursor)),
                    None => drop(self.entries.remove(update.key())),
                }
            }
        }
    }

    /// What is wrong with a state that should be this one; entries of a listing that was not finished may be there already.
    pub(super) fn compare(&self, seed: u64, state: &FoldSnapshot) -> Result<Option<String>, Error> {
        let begun = match step(seed, self.cursor + 1) {
            Step::Listing { listed, .. } => {
                listed.iter().map(|update| update.key().to_owned()).collect()
            }
            Step::Batch(_) => BTreeSet::new(),
        };
        let mut missing = self.entries.clone();
        for entry in state.scan(&ScanOptions::new()) {
            let entry = entry?;
            let expected = missing.remove(&entry.key);
            let found = entry.version.as_u64();
            let ahead = found == Some(self.cursor + 1) && begun.contains(&entry.key);
            if found != expected && !ahead {
                let key = entry.key;
                return Ok(Some(format!("{key} is of step {found:?}, not of {expected:?}")));
            }
            if let Some(flaw) = flaw(seed, &entry.key, found, &entry.value) {
                return Ok(Some(flaw));
            }
        }
        Ok(missing.first_key_value().map(|(key, at)| format!("{key} of step {at} is missing")))
    }
}

fn flaw(seed: u64, key: &str, at: Option<u64>, found: &[u8]) -> Option<String> {
    let whole = at.is_some_and(|at| value(seed, at, key) == found);
    (!whole)
        .then(|| format!("{key} of step {at:?} has {} bytes that are not its value", found.len()))
}

/// Reads some of a state, in three ways, and says what is wrong with it.
pub(super) fn read_some(
    seed: u64,
    state: &FoldSnapshot,
    rng: &mut Rng,
) -> Result<Option<String>, Error> {
    for _ in 0..20 {
        let key = key(rng);
        if let Some(entry) = state.get(&key)?
            && let Some(flaw) = flaw(seed, &key, entry.version.as_u64(), &entry.value)
        {
            return Ok(Some(flaw));
        }
    }
    let from = key(rng);
    let mut options = ScanOptions::prefix(from.get(..2).unwrap_or_default()).limit(100);
    options.reverse = rng.below(2) == 0;
    let mut last: Option<String> = None;
    for entry in state.scan(&options) {
        let entry = entry?;
        let rises = last.as_ref().is_none_or(|last| (*last < entry.key) != options.reverse);
        if !rises {
            return Ok(Some(format!("{} comes after {last:?}", entry.key)));
        }
        if let Some(flaw) = flaw(seed, &entry.key, entry.version.as_u64(), &entry.value) {
            return Ok(Some(flaw));
        }
        last = Some(entry.key);
    }
    Ok(None)
}

/// The cursor as the number of a step.
pub(super) fn number(cursor: &WatchCursor) -> Result<u64, Error> {
    let none = cursor.is_none().then_some(0);
    none.or_else(|| cursor.as_u64()).ok_or_else(|| {
        Error::of_caller(ErrorKind::Damaged, "look at cursor", format!("{cursor} is no step"))
    })
}
