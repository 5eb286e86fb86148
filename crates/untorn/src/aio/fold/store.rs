//! The fold, awaited.

use std::path::{Path, PathBuf};

use super::super::lent::Lent;
use crate::Result;
use crate::fold::{
    FoldOptions, FoldReader, FoldSnapshot, KvUpdate, Lineage, SnapshotStore, SweepReport,
    SyncScope, SyncToken, WatchCursor,
};

/// A fold whose commits are awaited. Reading is [`reader`](Self::reader): it waits for no commit, but may wait for the disk.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use untorn::aio::fold::AppendLogSnapshot;
/// use untorn::fold::{FoldOptions, KvUpdate, VersionToken, WatchCursor};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("edge");
/// let (_, mut fold) = AppendLogSnapshot::open(FoldOptions::new(), &path).await?;
/// let update = KvUpdate::put("a", "1", VersionToken::from_u64(1));
/// fold.apply(vec![update], WatchCursor::from_u64(1)).await?;
/// assert_eq!(fold.reader()?.count("")?, 1);
/// fold.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # If a future is dropped
/// What it began goes on to its end, and the handle with it: later calls answer `Cancelled`, and the fold can be opened again when it is
/// over. So a commit is made whole or not at all, and no call runs beside another.
#[derive(Debug)]
pub struct AppendLogSnapshot(Lent<crate::fold::AppendLogSnapshot>);

impl AppendLogSnapshot {
    /// Opens or makes the fold. As [`FoldOptions::open`].
    ///
    /// # Errors
    /// As [`FoldOptions::open`].
    pub async fn open(options: FoldOptions, path: impl AsRef<Path>) -> Result<(WatchCursor, Self)> {
        let open = move |path: PathBuf| options.open(path).map(|(_, fold)| fold);
        let lent = Lent::open(path.as_ref(), open).await?;
        Ok((lent.get()?.cursor(), Self(lent)))
    }

    /// Reads the fold, from any task or thread.
    ///
    /// # Errors
    /// `Cancelled` if the future of an earlier call was dropped.
    pub fn reader(&self) -> Result<FoldReader> {
        self.0.get().map(crate::fold::AppendLogSnapshot::reader)
    }

    /// The state as of the last commit, which stays.
    ///
    /// # Errors
    /// `Cancelled` if the future of an earlier call was dropped.
    pub fn snapshot(&self) -> Result<FoldSnapshot> {
        self.0.get().map(crate::fold::AppendLogSnapshot::snapshot)
    }

    /// As [`apply`](SnapshotStore::apply).
    ///
    /// # Errors
    /// As [`apply`](SnapshotStore::apply); `Cancelled`.
    pub async fn apply(&mut self, updates: Vec<KvUpdate>, cursor: WatchCursor) -> Result<()> {
        self.0.call(move |fold| fold.apply(&updates, &cursor)).await
    }

    /// As [`sync`](crate::fold::AppendLogSnapshot::sync).
    ///
    /// # Errors
    /// As [`sync`](crate::fold::AppendLogSnapshot::sync); `Cancelled`.
    pub async fn sync(&mut self) -> Result<WatchCursor> {
        self.0.call(crate::fold::AppendLogSnapshot::sync).await
    }

    /// As [`set_lineage`](SnapshotStore::set_lineage).
    ///
    /// # Errors
    /// As [`set_lineage`](SnapshotStore::set_lineage); `Cancelled`.
    pub async fn set_lineage(&mut self, lineage: Lineage) -> Result<()> {
        self.0.call(move |fold| fold.set_lineage(lineage)).await
    }

    /// As [`begin_sync`](SnapshotStore::begin_sync).
    ///
    /// # Errors
    /// As [`begin_sync`](SnapshotStore::begin_sync); `Cancelled`.
    pub async fn begin_sync(&mut self, scope: SyncScope) -> Result<SyncToken> {
        self.0.call(move |fold| fold.begin_sync(scope)).await
    }

    /// As [`sync_apply`](SnapshotStore::sync_apply); the token comes back.
    ///
    /// # Errors
    /// As [`sync_apply`](SnapshotStore::sync_apply); `Cancelled`. Then the token is gone, and the listing starts over.
    pub async fn sync_apply(
        &mut self,
        token: SyncToken,
        updates: Vec<KvUpdate>,
    ) -> Result<SyncToken> {
        self.0.call(move |fold| fold.sync_apply(&token, &updates).map(|()| token)).await
    }

    /// As [`finish_sync`](SnapshotStore::finish_sync).
    ///
    /// # Errors
    /// As [`finish_sync`](SnapshotStore::finish_sync); `Cancelled`.
    pub async fn finish_sync(
        &mut self,
        token: SyncToken,
        cursor: WatchCursor,
    ) -> Result<SweepReport> {
        self.0.call(move |fold| fold.finish_sync(token, &cursor)).await
    }

    /// As [`compact_all`](crate::fold::AppendLogSnapshot::compact_all).
    ///
    /// # Errors
    /// As [`compact_all`](crate::fold::AppendLogSnapshot::compact_all); `Cancelled`.
    pub async fn compact_all(&mut self) -> Result<()> {
        self.0.call(crate::fold::AppendLogSnapshot::compact_all).await
    }

    /// As [`reset`](crate::fold::AppendLogSnapshot::reset).
    ///
    /// # Errors
    /// As [`reset`](crate::fold::AppendLogSnapshot::reset); `Cancelled`.
    pub async fn reset(&mut self, reason: String) -> Result<()> {
        self.0.call(move |fold| fold.reset(&reason)).await
    }

    /// As [`export`](crate::fold::AppendLogSnapshot::export).
    ///
    /// # Errors
    /// As [`export`](crate::fold::AppendLogSnapshot::export); `Cancelled`.
    #[cfg(feature = "blake3")]
    pub async fn export(
        &mut self,
        dest: PathBuf,
        options: crate::fold::ExportOptions,
    ) -> Result<crate::fold::ExportManifest> {
        self.0.call(move |fold| fold.export(&dest, &options)).await
    }

    /// As [`close`](crate::fold::AppendLogSnapshot::close).
    ///
    /// # Errors
    /// As [`close`](crate::fold::AppendLogSnapshot::close); `Cancelled`.
    pub async fn close(self) -> Result<()> {
        self.0.end(crate::fold::AppendLogSnapshot::close).await
    }
}
