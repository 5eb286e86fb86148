//! What every fold can do, whatever engine is below it.

use std::path::Path;
use std::sync::Arc;

use super::relist::{newer_than_held, sweep};
use super::{
    CursorOrder, KvEntry, KvUpdate, Lineage, SweepReport, SyncScope, SyncToken, WatchCursor,
};
use crate::fs::{Fs, OsFs};
use crate::{Error, ErrorKind, Result};

/// How [`SnapshotStore::load_with`] opens a store.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct LoadOptions {
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
    /// Makes the store if there is none. Default yes.
    pub create: bool,
    /// Opens it beside its owner, and never writes. Default no.
    pub read_only: bool,
}

impl LoadOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self { fs: Arc::new(OsFs::new()), create: true, read_only: false }
    }

    /// Sets the file system.
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }

    /// Sets whether the store is made if there is none.
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets whether it is only read.
    pub const fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A local copy of a key-value stream with the cursor up to which it has it, in the same commit.
///
/// Every implementation passes [`conformance::run`](super::conformance::run).
pub trait SnapshotStore: Sized + Send {
    /// Opens the store at `path`, or makes it, with the default options.
    ///
    /// # Errors
    /// `Locked` if another owner lives; `Damaged`; `NotOurs`; `NewerFormat`; `NoSpace`; `Io`.
    fn load(path: &Path) -> Result<(WatchCursor, Self)>;

    /// As [`load`](Self::load), with options.
    ///
    /// # Errors
    /// As [`load`](Self::load); `Unsupported` if the store cannot do what is asked.
    fn load_with(path: &Path, options: &LoadOptions) -> Result<(WatchCursor, Self)>;

    /// Commits a batch and the cursor behind it: all of it or nothing, for the disk and for readers.
    ///
    /// An empty batch with a newer cursor is a commit of its own. Within a batch the last update of a key wins. Updates that are not
    /// newer than what is held are dropped.
    ///
    /// # Durability
    /// **On `Ok`** as the store was told. **On `Err`** with outcome `Unchanged` nothing happened, and the same call may be made again.
    ///
    /// # Errors
    /// `CursorRegressed` if the cursor is behind the store's; `TooLarge`; `NoSpace`; `Poisoned`; `ReadOnly`.
    fn apply(&mut self, updates: &[KvUpdate], cursor: &WatchCursor) -> Result<()>;

    /// The entry of a key.
    ///
    /// # Errors
    /// `Damaged` if it does not verify; `Io`.
    fn get(&self, key: &str) -> Result<Option<KvEntry>>;

    /// All entries whose keys begin with `prefix`, in ascending order of the bytes of their keys.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn range(&self, prefix: &str) -> Result<Vec<KvEntry>> {
        let mut found = Vec::new();
        self.for_each_in_range(prefix, |entry| {
            found.push(entry);
            Ok(())
        })?;
        Ok(found)
    }

    /// Shows `each` the entries whose keys begin with `prefix`, in ascending order, one at a time; its error stops and is returned.
    ///
    /// # Errors
    /// As [`get`](Self::get), and those of `each`.
    fn for_each_in_range(
        &self,
        prefix: &str,
        each: impl FnMut(KvEntry) -> Result<()>,
    ) -> Result<()>;

    /// The cursor of the last commit.
    fn cursor(&self) -> WatchCursor;

    /// Writes the state as an artifact to `dest`, which does not exist or is an empty directory.
    ///
    /// # Errors
    /// `AlreadyExists`; `NoSpace`; `Unsupported`; `Io`. Then there is nothing at `dest`.
    #[cfg(feature = "blake3")]
    fn export_to(&mut self, dest: &Path) -> Result<super::ExportManifest>;

    /// Whether there is any entry.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn has_entries(&self) -> Result<bool> {
        let mut found = false;
        let stopped = self.for_each_in_range("", |_| {
            found = true;
            Err(Error::of_caller(ErrorKind::Cancelled, "look", "one is enough"))
        });
        if found { Ok(true) } else { stopped.map(|()| false) }
    }

    /// The cursor of the last commit that survives power loss.
    fn durable_cursor(&self) -> WatchCursor {
        self.cursor()
    }

    /// How the positions of the source relate.
    fn cursor_order(&self) -> CursorOrder {
        CursorOrder::Bytes
    }

    /// The source that the fold is of, if it knows.
    fn lineage(&self) -> Option<Lineage> {
        None
    }

    /// Says which source the fold is of, in a commit of its own.
    ///
    /// # Errors
    /// `Unsupported` if the store does not keep it; else as [`apply`](Self::apply).
    fn set_lineage(&mut self, lineage: Lineage) -> Result<()> {
        let what = format!("this store does not keep which source it is of ({})", lineage.kind);
        Err(Error::of_caller(ErrorKind::Unsupported, "set lineage", what))
    }

    /// Begins to compare the store with a listing of all that the source has.
    ///
    /// # Errors
    /// `Unsupported` for a new lineage, if the store does not keep it; `ReadOnly`; `Poisoned`.
    fn begin_sync(&mut self, scope: SyncScope) -> Result<SyncToken> {
        if scope.new_lineage.is_some() {
            let what = "this store does not keep which source it is of";
            return Err(Error::of_caller(ErrorKind::Unsupported, "begin sync", what));
        }
        Ok(SyncToken::new(scope))
    }

    /// Takes a part of the listing: what is newer than what is held is put, in one commit; the cursor stands still.
    ///
    /// # Errors
    /// `InvalidInput` for an update that is no put in the scope; else as [`apply`](Self::apply).
    fn sync_apply(&mut self, token: &SyncToken, updates: &[KvUpdate]) -> Result<()> {
        token.mark(updates)?;
        let wanted = newer_than_held(self, updates, self.cursor_order())?;
        if wanted.is_empty() {
            return Ok(());
        }
        let cursor = self.cursor();
        self.apply(&wanted, &cursor)
    }

    /// Ends the listing in one commit: what the scope covers, was not listed and is not newer than the listing is deleted, and the
    /// cursor is that of the listing. A crash before leaves everything.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); then the token is gone, and the listing starts over.
    fn finish_sync(&mut self, token: SyncToken, cursor: &WatchCursor) -> Result<SweepReport> {
        let (deletes, report) = sweep(self, &token, cursor, self.cursor_order())?;
        self.apply(&deletes, cursor)?;
        Ok(report)
    }
}
