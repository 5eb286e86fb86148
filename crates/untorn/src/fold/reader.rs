//! Reads a fold from any thread while it is written.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::held::Held;
use super::scan::{Bounds, Scan, ScanOptions, entry, for_each};
use super::shared::Shared;
use super::snapshot::FoldSnapshot;
use super::subscribe::Receiver;
use super::{CursorOrder, EntryRef, KvEntry, Lineage, VersionToken, WatchCursor};
use crate::Result;

/// Reads a fold as of its last commit. Cheap to clone, for any number of threads; never waits for a write, and holds no writer up.
///
/// After the fold was closed it goes on with the last state.
#[derive(Clone, Debug)]
pub struct FoldReader(Arc<Shared>);

impl FoldReader {
    pub(super) const fn of(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The entry of a key.
    ///
    /// # Errors
    /// `Damaged` if it does not verify; `Io`.
    pub fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        self.look(key, |held, value| {
            let version = VersionToken::of(held.version);
            KvEntry { key: key.to_owned(), value: value.into_owned(), version }
        })
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
        self.look(key, |held, value| look(EntryRef { key, value: &value, version: held.version }))
    }

    /// Shows `look` what is held of a key that has a value, without the lock of the view.
    fn look<R>(
        &self,
        key: &str,
        look: impl FnOnce(&Held<'_>, Cow<'_, [u8]>) -> R,
    ) -> Result<Option<R>> {
        let (found, base) = {
            let view = self.0.view();
            let found = view.take(key.as_bytes());
            let base = if found.is_none() { view.base.clone() } else { None };
            (found, base)
        };
        if let Some(found) = found {
            return Ok(found.value()?.map(|value| look(&found.slot.held(), value)));
        }
        let Some(base) = base else { return Ok(None) };
        let looked = base
            .find(key.as_bytes(), |held| Ok(base.value_of(held)?.map(|value| look(held, value))))?;
        Ok(looked.flatten())
    }

    /// The entries of several keys, all as of one commit.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<KvEntry>>> {
        self.snapshot().get_many(keys)
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &str) -> Result<bool> {
        Ok(self.0.find(key, |held| Ok(!held.value.is_gone()))?.unwrap_or(false))
    }

    /// The version of a key that has a value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn version_of(&self, key: &str) -> Result<Option<VersionToken>> {
        let version = self.0.find(key, |held| {
            Ok((!held.value.is_gone()).then(|| VersionToken::of(held.version)))
        })?;
        Ok(version.flatten())
    }

    /// All entries whose keys begin with `prefix`, in ascending order of their bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn range(&self, prefix: &str) -> Result<Vec<KvEntry>> {
        let view = self.0.view().clone();
        let mut found = Vec::new();
        for_each(&view, &Bounds::prefix(prefix), |held| {
            found.push(entry(&view, held, false)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// Shows `each` the entries whose keys begin with `prefix`, in ascending order, as of one commit; its error ends it and is returned.
    ///
    /// # Errors
    /// As [`get`](Self::get), and those of `each`.
    pub fn for_each_in_range(
        &self,
        prefix: &str,
        each: impl FnMut(KvEntry) -> Result<()>,
    ) -> Result<()> {
        self.snapshot().for_each_in_range(prefix, each)
    }

    /// Goes through entries in order, as of one commit.
    pub fn scan(&self, options: &ScanOptions) -> Scan {
        self.snapshot().scan(options)
    }

    /// How many keys begin with `prefix`. Reads all of them, but no values.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn count(&self, prefix: &str) -> Result<u64> {
        self.snapshot().count(prefix)
    }

    /// The cursor of the last commit.
    pub fn cursor(&self) -> WatchCursor {
        self.0.view().state.cursor.clone()
    }

    /// The cursor of the last commit that survives power loss.
    pub fn durable_cursor(&self) -> WatchCursor {
        self.0.durable_cursor()
    }

    /// The source that the fold is of.
    pub fn lineage(&self) -> Option<Lineage> {
        self.0.view().state.lineage.as_deref().cloned()
    }

    /// The state as of the last commit.
    pub fn snapshot(&self) -> FoldSnapshot {
        FoldSnapshot::of(self.0.view().clone())
    }

    /// Waits until the fold is at `cursor` or behind it (where positions have no order: at it), for so long at most. False if it
    /// is not by then, or the fold was closed.
    ///
    /// # Errors
    /// None so far.
    pub fn wait_for(&self, cursor: &WatchCursor, timeout: Duration) -> Result<bool> {
        let order = self.0.options.cursor_order;
        self.0.wait_until(timeout, || {
            let now = self.cursor();
            Ok(match order {
                CursorOrder::Bytes => now.reaches(cursor, order),
                CursorOrder::Opaque => now.same_position(cursor),
            })
        })
    }

    /// Every change of a key with this prefix from here on. Up to `depth` of them wait to be taken.
    pub fn subscribe(&self, prefix: &str, depth: usize) -> Receiver {
        self.0.hub.subscribe(prefix, depth)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::AppendLogSnapshot;
    use super::*;

    #[test]
    fn nobody_waits_for_a_fold_that_was_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (_, fold) = AppendLogSnapshot::open(&dir.path().join("fold"), u64::MAX).unwrap();
        let reader = fold.reader();
        let (tell, told) = channel();
        let waiter = std::thread::Builder::new().spawn(move || {
            let come = reader.wait_for(&WatchCursor::from_u64(9), Duration::from_secs(3600));
            tell.send(come.unwrap()).unwrap();
        });
        fold.close().unwrap();
        assert!(!told.recv_timeout(Duration::from_secs(60)).expect("it waits on"));
        waiter.unwrap().join().unwrap();
    }
}
