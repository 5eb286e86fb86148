//! A state of a fold that stays as it is.

use std::iter::Peekable;
use std::sync::Arc;

use super::scan::{Bounds, Scan, ScanOptions, entry, for_each};
use super::subscribe::Change;
use super::view::View;
use super::{EntryRef, KvEntry, Lineage, VersionToken, WatchCursor};
use crate::Result;

/// All entries as of one commit. Cheap to take and to clone; what is applied later does not change it.
///
/// It keeps the files open that it reads from, so that their space is not given back while it lives. It holds no lock.
///
/// ```
/// use untorn::fold::{AppendLogSnapshot, KvUpdate, SnapshotStore, VersionToken, WatchCursor};
/// # let dir = tempfile::tempdir()?;
/// let (_, mut fold) = AppendLogSnapshot::open(&dir.path().join("fold"), u64::MAX)?;
/// fold.apply(&[KvUpdate::put("a", "1", VersionToken::from_u64(1))], &WatchCursor::from_u64(1))?;
/// let before = fold.snapshot();
/// fold.apply(&[KvUpdate::put("a", "2", VersionToken::from_u64(2))], &WatchCursor::from_u64(2))?;
/// assert_eq!(before.get("a")?.unwrap().value, b"1");
/// let changes: Vec<_> = before.diff(&fold.snapshot()).collect::<Result<_, _>>()?;
/// assert_eq!(changes[0].new.as_ref().unwrap().value, b"2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FoldSnapshot(Arc<View>);

impl FoldSnapshot {
    pub(super) fn of(view: View) -> Self {
        Self(Arc::new(view))
    }

    #[cfg(feature = "blake3")]
    pub(super) fn view(&self) -> &View {
        &self.0
    }

    /// The cursor of its last commit.
    pub fn cursor(&self) -> WatchCursor {
        self.0.state.cursor.clone()
    }

    /// The source that it is of.
    pub fn lineage(&self) -> Option<Lineage> {
        self.0.state.lineage.as_deref().cloned()
    }

    /// The entry of a key.
    ///
    /// # Errors
    /// `Damaged` if it does not verify; `Io`.
    pub fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        let found = self.0.find(key.as_bytes(), |held| {
            if held.value.is_gone() {
                return Ok(None);
            }
            entry(&self.0, held, false).map(Some)
        })?;
        Ok(found.flatten())
    }

    /// Shows `look` the entry of a key where it lies; nothing is copied that need not be.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_with<R>(
        &self,
        key: &str,
        look: impl FnOnce(EntryRef<'_>) -> R,
    ) -> Result<Option<R>> {
        let found = self.0.find(key.as_bytes(), |held| {
            let value = self.0.value(held)?;
            Ok(value.map(|value| look(EntryRef { key, value: &value, version: held.version })))
        })?;
        Ok(found.flatten())
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &str) -> Result<bool> {
        let held = self.0.find(key.as_bytes(), |held| Ok(!held.value.is_gone()))?;
        Ok(held.unwrap_or(false))
    }

    /// The version of a key that has a value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn version_of(&self, key: &str) -> Result<Option<VersionToken>> {
        let version = self.0.find(key.as_bytes(), |held| {
            Ok((!held.value.is_gone()).then(|| VersionToken::of(held.version)))
        })?;
        Ok(version.flatten())
    }

    /// The entries of several keys, each as [`get`](Self::get) has it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<KvEntry>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// All entries whose keys begin with `prefix`, in ascending order of their bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn range(&self, prefix: &str) -> Result<Vec<KvEntry>> {
        let mut found = Vec::new();
        self.for_each_in_range(prefix, |entry| {
            found.push(entry);
            Ok(())
        })?;
        Ok(found)
    }

    /// Shows `each` the entries whose keys begin with `prefix`, in ascending order; its error ends it and is returned.
    ///
    /// # Errors
    /// As [`get`](Self::get), and those of `each`.
    pub fn for_each_in_range(
        &self,
        prefix: &str,
        mut each: impl FnMut(KvEntry) -> Result<()>,
    ) -> Result<()> {
        for_each(&self.0, &Bounds::prefix(prefix), |held| {
            each(entry(&self.0, held, false)?)?;
            Ok(true)
        })
    }

    /// Goes through entries in order.
    pub fn scan(&self, options: &ScanOptions) -> Scan {
        Scan::new(Arc::clone(&self.0), options)
    }

    /// How many keys begin with `prefix`. Reads all of them, but no values.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn count(&self, prefix: &str) -> Result<u64> {
        let mut count = 0_u64;
        for_each(&self.0, &Bounds::prefix(prefix), |_| {
            count = count.saturating_add(1);
            Ok(true)
        })?;
        Ok(count)
    }

    /// Whether there is any entry.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn has_entries(&self) -> Result<bool> {
        let mut any = false;
        for_each(&self.0, &Bounds::prefix(""), |_| {
            any = true;
            Ok(false)
        })?;
        Ok(any)
    }

    /// BLAKE3 over all entries in order: two folds with the same digest at the same cursor have the same entries.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[cfg(feature = "blake3")]
    pub fn digest(&self) -> Result<[u8; 32]> {
        let mut digest = Digest::default();
        for_each(&self.0, &Bounds::prefix(""), |held| {
            let value = self.0.value(held)?.unwrap_or_default();
            digest.add(held.key, held.version, &value);
            Ok(true)
        })?;
        Ok(digest.finish())
    }

    /// What has to change to come from this state to `to`, by key. Reads both.
    pub fn diff(&self, to: &Self) -> Diff {
        let scan = |of: &Self| of.scan(&ScanOptions::new()).peekable();
        Diff { old: scan(self), new: scan(to), cursor: to.cursor() }
    }
}

/// The digest of entries, added in order: lengths and bytes of key, version and value.
#[cfg(feature = "blake3")]
#[derive(Debug, Default)]
pub(super) struct Digest(blake3::Hasher);

#[cfg(feature = "blake3")]
impl Digest {
    pub(super) fn add(&mut self, key: &[u8], version: &[u8], value: &[u8]) {
        for part in [key, version, value] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    pub(super) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// The changes between two states, by key. An error ends it.
#[derive(Debug)]
pub struct Diff {
    old: Peekable<Scan>,
    new: Peekable<Scan>,
    cursor: WatchCursor,
}

impl Iterator for Diff {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        loop {
            let key = |side: &mut Peekable<Scan>| match side.peek() {
                Some(Ok(entry)) => Some(Some(entry.key.clone())),
                Some(Err(_)) => None,
                None => Some(None),
            };
            // What cannot be read ends it, whichever side it is on.
            let (Some(old_key), Some(new_key)) = (key(&mut self.old), key(&mut self.new)) else {
                let failed = |side: &mut Peekable<Scan>| side.next_if(Result::is_err);
                let error = failed(&mut self.old).or_else(|| failed(&mut self.new));
                return error.and_then(Result::err).map(Err);
            };
            let take_old = old_key.is_some() && (new_key.is_none() || old_key <= new_key);
            let take_new = new_key.is_some() && (old_key.is_none() || new_key <= old_key);
            let old = if take_old { self.old.next().and_then(Result::ok) } else { None };
            let new = if take_new { self.new.next().and_then(Result::ok) } else { None };
            if old == new {
                old.as_ref()?;
                continue;
            }
            let key = old.as_ref().or(new.as_ref()).map(|entry| entry.key.clone())?;
            let old = old.map(|entry| entry.version);
            return Some(Ok(Change { key, old, new, cursor: self.cursor.clone() }));
        }
    }
}
