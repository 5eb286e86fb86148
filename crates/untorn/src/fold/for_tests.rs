//! A fold in memory, for tests of what is above stores. Clones are the same fold.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{
    CursorOrder, KvEntry, KvUpdate, Lineage, LoadOptions, SnapshotStore, SweepReport, SyncScope,
    SyncToken, VersionToken, WatchCursor,
};
use crate::{Error, ErrorKind, Result};

#[derive(Clone, Debug, Default)]
pub(crate) struct MemFold(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// Tombstones have no value.
    held: BTreeMap<String, (Option<Vec<u8>>, VersionToken)>,
    pub(crate) cursor: WatchCursor,
    pub(crate) lineage: Option<Lineage>,
    pub(crate) order: CursorOrder,
    /// What the next calls of `apply` answer, before all else.
    pub(crate) faults: VecDeque<Fault>,
    /// How many updates each `apply` had.
    pub(crate) applied: Vec<usize>,
    pub(crate) sweeps: Vec<SweepReport>,
    /// While it is closed, `apply` waits.
    pub(crate) gate: Arc<Gate>,
}

/// Open at first.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn close(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
    }
}

#[derive(Debug)]
pub(crate) enum Fault {
    Fail(Error),
    Panic,
}

impl MemFold {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A fold that a program left behind.
    pub(crate) fn of(keys: &[(&str, u64)], cursor: u64) -> Self {
        let fold = Self::new();
        for (key, version) in keys {
            let entry = (Some(b"old".to_vec()), VersionToken::from_u64(*version));
            fold.look().held.insert((*key).to_owned(), entry);
        }
        if cursor > 0 {
            fold.look().cursor = WatchCursor::from_u64(cursor);
        }
        fold
    }

    pub(crate) fn look(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many have it.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// `key=value` of all entries.
    pub(crate) fn text(&self) -> String {
        let entries = self.range("").unwrap();
        let show = |e: &KvEntry| format!("{}={}", e.key, String::from_utf8_lossy(&e.value));
        entries.iter().map(show).collect::<Vec<_>>().join(" ")
    }
}

impl SnapshotStore for MemFold {
    fn load(_: &Path) -> Result<(WatchCursor, Self)> {
        Ok((WatchCursor::none(), Self::new()))
    }

    fn load_with(path: &Path, _: &LoadOptions) -> Result<(WatchCursor, Self)> {
        Self::load(path)
    }

    fn apply(&mut self, updates: &[KvUpdate], cursor: &WatchCursor) -> Result<()> {
        let gate = Arc::clone(&self.look().gate);
        gate.pass();
        let fault = self.look().faults.pop_front();
        match fault {
            Some(Fault::Fail(error)) => return Err(error),
            Some(Fault::Panic) => panic!("apply panics"),
            None => {}
        }
        let mut inner = self.look();
        let order = inner.order;
        if order == CursorOrder::Bytes && !cursor.reaches(&inner.cursor, order) {
            let what = format!("{cursor} is behind {}", inner.cursor);
            return Err(Error::of_caller(ErrorKind::CursorRegressed, "apply", what));
        }
        for update in updates {
            let version = update.version().clone();
            let held = inner.held.get(update.key());
            let stale = held.is_some_and(|(_, held)| {
                order.newer(version.as_bytes(), held.as_bytes()) == Some(false)
            });
            if !stale {
                let value = update.value().map(<[u8]>::to_vec);
                inner.held.insert(update.key().to_owned(), (value, version));
            }
        }
        inner.cursor = cursor.clone();
        inner.applied.push(updates.len());
        Ok(())
    }

    fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        let inner = self.look();
        let found = inner.held.get(key).and_then(|(value, version)| {
            let (key, version) = (key.to_owned(), version.clone());
            value.clone().map(|value| KvEntry { key, value, version })
        });
        Ok(found)
    }

    fn for_each_in_range(
        &self,
        prefix: &str,
        mut each: impl FnMut(KvEntry) -> Result<()>,
    ) -> Result<()> {
        let keys: Vec<String> = self.look().held.keys().cloned().collect();
        for key in keys.iter().filter(|key| key.starts_with(prefix)) {
            if let Some(entry) = self.get(key)? {
                each(entry)?;
            }
        }
        Ok(())
    }

    fn cursor(&self) -> WatchCursor {
        self.look().cursor.clone()
    }

    #[cfg(feature = "blake3")]
    fn export_to(&mut self, _: &Path) -> Result<super::ExportManifest> {
        Err(Error::of_caller(ErrorKind::Unsupported, "export", "it is in memory"))
    }

    fn cursor_order(&self) -> CursorOrder {
        self.look().order
    }

    fn lineage(&self) -> Option<Lineage> {
        self.look().lineage.clone()
    }

    fn set_lineage(&mut self, lineage: Lineage) -> Result<()> {
        self.look().lineage = Some(lineage);
        Ok(())
    }

    fn begin_sync(&mut self, scope: SyncScope) -> Result<SyncToken> {
        Ok(SyncToken::new(scope))
    }

    fn sync_apply(&mut self, token: &SyncToken, updates: &[KvUpdate]) -> Result<()> {
        token.mark(updates)?;
        if token.scope().new_lineage.is_some() {
            for update in updates {
                let entry = (update.value().map(<[u8]>::to_vec), update.version().clone());
                self.look().held.insert(update.key().to_owned(), entry);
            }
            return Ok(());
        }
        let cursor = self.cursor();
        self.apply(updates, &cursor)
    }

    fn finish_sync(&mut self, token: SyncToken, cursor: &WatchCursor) -> Result<SweepReport> {
        let order = self.cursor_order();
        let (deletes, report) = super::relist::sweep(self, &token, cursor, order)?;
        if let Some(lineage) = &token.scope().new_lineage {
            let mut inner = self.look();
            inner.lineage = Some(lineage.clone());
            // Tombstones go, too: their versions would be newer than what the new one counts.
            let scope = token.scope();
            inner.held.retain(|key, _| token.has(key) || !scope.covers(key));
            inner.cursor = cursor.clone();
        } else {
            self.apply(&deletes, cursor)?;
        }
        self.look().sweeps.push(report.clone());
        Ok(report)
    }
}
