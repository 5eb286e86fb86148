//! Mark and sweep: a listing of everything that a source has, against everything that a fold has.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use super::{CursorOrder, KvUpdate, Lineage, SnapshotStore, VersionToken, WatchCursor};
use crate::{Error, ErrorKind, Result};

/// What a listing covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncScope {
    /// The prefixes that it covers; `None` for all keys.
    pub prefixes: Option<Vec<String>>,
    /// The listing is of another source than the fold has been of: versions of the old one do not count, every listed entry
    /// wins, and with [`finish_sync`](SnapshotStore::finish_sync) the fold is of this one.
    pub new_lineage: Option<Lineage>,
}

impl SyncScope {
    /// Everything, of the source that the fold is of.
    pub const fn all() -> Self {
        Self { prefixes: None, new_lineage: None }
    }

    /// The keys with these prefixes.
    pub const fn prefixes(prefixes: Vec<String>) -> Self {
        Self { prefixes: Some(prefixes), new_lineage: None }
    }

    /// The same of another source than the fold has been of.
    #[must_use]
    pub fn of_new_lineage(mut self, lineage: Lineage) -> Self {
        self.new_lineage = Some(lineage);
        self
    }

    /// Whether it covers a key.
    pub fn covers(&self, key: &str) -> bool {
        match &self.prefixes {
            None => true,
            Some(prefixes) => prefixes.iter().any(|prefix| key.starts_with(&**prefix)),
        }
    }

    /// The prefixes to look through, such that no key comes twice.
    pub(crate) fn ranges(&self) -> Vec<String> {
        let Some(prefixes) = &self.prefixes else { return vec![String::new()] };
        let mut sorted = prefixes.clone();
        sorted.sort();
        let mut ranges: Vec<String> = Vec::new();
        for prefix in sorted {
            if ranges.last().is_none_or(|last| !prefix.starts_with(&**last)) {
                ranges.push(prefix);
            }
        }
        ranges
    }
}

/// A listing under way. It is in memory alone: after a crash the listing starts over, and nothing was swept.
#[derive(Debug)]
pub struct SyncToken {
    scope: SyncScope,
    hashers: [RandomState; 2],
    seen: Mutex<Seen>,
}

/// 16 bytes for each key that was listed.
#[derive(Debug, Default)]
struct Seen {
    keys: Vec<u128>,
    sorted: bool,
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// Keys that were listed.
    pub listed: u64,
    /// Keys that the fold had, the listing did not, and that are deleted now.
    pub swept: u64,
    /// Keys that were not listed and are kept, since their version is newer than the listing.
    pub newer: u64,
}

impl SyncToken {
    /// A listing that begins.
    pub fn new(scope: SyncScope) -> Self {
        Self { scope, hashers: [RandomState::new(), RandomState::new()], seen: Mutex::default() }
    }

    /// What it covers.
    pub const fn scope(&self) -> &SyncScope {
        &self.scope
    }

    /// Marks the keys of these updates as listed.
    ///
    /// # Errors
    /// `InvalidInput` if one is not in the scope, or is no put.
    pub fn mark(&self, updates: &[KvUpdate]) -> Result<()> {
        for update in updates {
            if update.value().is_none() || !self.scope.covers(update.key()) {
                let what = format!("{:?} is no put in the scope of the listing", update.key());
                return Err(Error::of_caller(ErrorKind::InvalidInput, "list", what));
            }
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.sorted = false;
        for update in updates {
            if seen.keys.len() == seen.keys.capacity() {
                // By a part, not by as much again: a million keys are to cost 16 MB, not 32.
                let more = (seen.keys.len() / 8).max(1024);
                seen.keys.reserve_exact(more);
            }
            let hash = self.hash(update.key());
            seen.keys.push(hash);
        }
        Ok(())
    }

    /// How many keys were listed.
    pub fn listed(&self) -> u64 {
        self.sorted(|keys| keys.len() as u64)
    }

    /// Whether a key was listed.
    pub fn has(&self, key: &str) -> bool {
        let hash = self.hash(key);
        self.sorted(|keys| keys.binary_search(&hash).is_ok())
    }

    fn sorted<R>(&self, look: impl FnOnce(&[u128]) -> R) -> R {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.sorted {
            seen.keys.sort_unstable();
            seen.keys.dedup();
            seen.sorted = true;
        }
        look(&seen.keys)
    }

    /// 128 bits under keys of this process: that two keys share them is as likely as that a disk lies.
    fn hash(&self, key: &str) -> u128 {
        let [a, b] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(key)));
        (a << 64) | b
    }
}

/// What of a listing a store must take: what is newer than what it has, tombstones included as far as `get` can tell.
pub(super) fn newer_than_held<S: SnapshotStore>(
    store: &S,
    updates: &[KvUpdate],
    order: CursorOrder,
) -> Result<Vec<KvUpdate>> {
    let mut wanted = Vec::new();
    for update in updates {
        let held = store.get(update.key())?;
        let takes = held.is_none_or(|held| {
            let newer = order.newer(update.version().as_bytes(), held.version.as_bytes());
            newer.unwrap_or_else(|| Some(&*held.value) != update.value())
        });
        if takes {
            wanted.push(update.clone());
        }
    }
    Ok(wanted)
}

/// A sweep under way: what the scope has is shown to it, key by key.
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    token: &'a SyncToken,
    order: CursorOrder,
    listed_at: &'a WatchCursor,
    /// What brings the store to what was listed.
    pub(super) deletes: Vec<KvUpdate>,
    pub(super) report: SweepReport,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(
        token: &'a SyncToken,
        order: CursorOrder,
        listed_at: &'a WatchCursor,
    ) -> Self {
        let report = SweepReport { listed: token.listed(), ..SweepReport::default() };
        Self { token, order, listed_at, deletes: Vec::new(), report }
    }

    /// Deletes the key, unless it was listed, or written after the listing; versions of an older lineage say nothing.
    pub(super) fn see(&mut self, key: &str, version: &[u8]) {
        if self.token.has(key) {
            return;
        }
        let same_lineage = self.token.scope.new_lineage.is_none();
        let listed_at = self.listed_at.position();
        if same_lineage && self.order.newer(version, listed_at) == Some(true) {
            self.report.newer = self.report.newer.saturating_add(1);
            return;
        }
        self.report.swept = self.report.swept.saturating_add(1);
        self.deletes.push(KvUpdate::delete(key, VersionToken::of(listed_at)));
    }
}

/// The deletions that bring any store to what was listed, as of `cursor`.
pub(super) fn sweep<S: SnapshotStore>(
    store: &S,
    token: &SyncToken,
    cursor: &WatchCursor,
    order: CursorOrder,
) -> Result<(Vec<KvUpdate>, SweepReport)> {
    let mut sweep = Sweep::new(token, order, cursor);
    for prefix in token.scope.ranges() {
        store.for_each_in_range(&prefix, |entry| {
            sweep.see(&entry.key, entry.version.as_bytes());
            Ok(())
        })?;
    }
    Ok((sweep.deletes, sweep.report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_listed_is_known_and_nothing_else() {
        let token = SyncToken::new(SyncScope::prefixes(vec!["a".into()]));
        let put = |key: &str| KvUpdate::put(key, "", VersionToken::unknown());
        token.mark(&[put("a1"), put("a2"), put("a1")]).unwrap();
        assert!(token.has("a1") && token.has("a2") && !token.has("a3"));
        token.mark(&[put("a3")]).unwrap();
        assert!(token.has("a3"));
        assert_eq!(token.listed(), 3);
        for bad in [put("b"), KvUpdate::delete("a1", VersionToken::unknown())] {
            assert_eq!(token.mark(&[bad]).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn ranges_cover_each_key_once() {
        let ranges = |list: &[&str]| {
            SyncScope::prefixes(list.iter().map(|p| (*p).to_owned()).collect()).ranges()
        };
        assert_eq!(ranges(&["b", "a", "ab", "b"]), ["a", "b"]);
        assert_eq!(ranges(&["ab", "a.", "a"]), ["a"]);
        assert_eq!(ranges(&["x", ""]), [""]);
        assert_eq!(SyncScope::all().ranges(), [""]);
    }
}
