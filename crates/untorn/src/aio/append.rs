//! Append-only files, awaited. See [`append`](crate::append).
//!
//! Appending, rewinding and reading are calls in memory: they stay as they are, on [`get`](AppendOnlyFile::get). What waits for the disk is awaited.

use std::path::Path;

use super::lent::Lent;
use crate::Result;
use crate::append::{Commit, OpenOptions, PruneReport};
use crate::codec::Raw;

/// A writer whose commits are awaited.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use untorn::aio::append::AppendOnlyFile;
/// use untorn::append::OpenOptions;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("events");
/// let mut events = AppendOnlyFile::open(OpenOptions::<Vec<u8>>::new(), &path).await?;
/// events.get()?.append(b"created")?;
/// events.flush().await?;
/// assert_eq!(events.get()?.read(0)?, b"created");
/// events.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # If a future is dropped
/// What it began goes on to its end, and the handle with it: later calls answer `Cancelled`, and the file can be opened again when it is
/// over. So a commit is made whole or not at all, and no call runs beside another.
#[derive(Debug)]
pub struct AppendOnlyFile<T, C = Raw>(Lent<crate::append::AppendOnlyFile<T, C>>);

impl<T: Send + 'static, C: Send + Sync + 'static> AppendOnlyFile<T, C> {
    /// Opens or creates the file. As [`OpenOptions::open`].
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub async fn open(options: OpenOptions<T, C>, path: impl AsRef<Path>) -> Result<Self> {
        Lent::open(path.as_ref(), move |path| options.open(path)).await.map(Self)
    }

    /// The file, for calls that do not wait: appending, rewinding, reading, readers and snapshots.
    ///
    /// # Errors
    /// `Cancelled` if the future of an earlier call was dropped.
    pub fn get(&mut self) -> Result<&mut crate::append::AppendOnlyFile<T, C>> {
        self.0.get_mut()
    }

    /// As [`flush`](crate::append::AppendOnlyFile::flush).
    ///
    /// # Errors
    /// As [`flush`](crate::append::AppendOnlyFile::flush); `Cancelled`.
    pub async fn flush(&mut self) -> Result<Commit> {
        self.0.call(crate::append::AppendOnlyFile::flush).await
    }

    /// As [`sync`](crate::append::AppendOnlyFile::sync).
    ///
    /// # Errors
    /// As [`sync`](crate::append::AppendOnlyFile::sync); `Cancelled`.
    pub async fn sync(&mut self) -> Result<Commit> {
        self.0.call(crate::append::AppendOnlyFile::sync).await
    }

    /// As [`init`](crate::append::AppendOnlyFile::init).
    ///
    /// # Errors
    /// As [`init`](crate::append::AppendOnlyFile::init); `Cancelled`.
    pub async fn init(&mut self) -> Result<()> {
        self.0.call(crate::append::AppendOnlyFile::init).await
    }

    /// As [`as_temp_file`](crate::append::AppendOnlyFile::as_temp_file).
    ///
    /// # Errors
    /// As [`as_temp_file`](crate::append::AppendOnlyFile::as_temp_file); `Cancelled`.
    pub async fn as_temp_file(&mut self) -> Result<std::fs::File> {
        self.0.call(|file| file.as_temp_file()).await
    }

    /// As [`write_tmp_pruned`](crate::append::AppendOnlyFile::write_tmp_pruned).
    ///
    /// # Errors
    /// As [`write_tmp_pruned`](crate::append::AppendOnlyFile::write_tmp_pruned); `Cancelled`.
    pub async fn write_tmp_pruned(&mut self, dead: Vec<u64>) -> Result<PruneReport> {
        self.0.call(move |file| file.write_tmp_pruned(&dead)).await
    }

    /// As [`replace_with_tmp`](crate::append::AppendOnlyFile::replace_with_tmp).
    ///
    /// # Errors
    /// As [`replace_with_tmp`](crate::append::AppendOnlyFile::replace_with_tmp); `Cancelled`.
    pub async fn replace_with_tmp(&mut self) -> Result<()> {
        self.0.call(crate::append::AppendOnlyFile::replace_with_tmp).await
    }

    /// As [`compact`](crate::append::AppendOnlyFile::compact).
    ///
    /// # Errors
    /// As [`compact`](crate::append::AppendOnlyFile::compact); `Cancelled`.
    pub async fn compact(&mut self, dead: Vec<u64>) -> Result<PruneReport> {
        self.0.call(move |file| file.compact(dead)).await
    }

    /// As [`drop_head`](crate::append::AppendOnlyFile::drop_head).
    ///
    /// # Errors
    /// As [`drop_head`](crate::append::AppendOnlyFile::drop_head); `Cancelled`.
    pub async fn drop_head(&mut self, first: u64) -> Result<PruneReport> {
        self.0.call(move |file| file.drop_head(first)).await
    }

    /// As [`close`](crate::append::AppendOnlyFile::close).
    ///
    /// # Errors
    /// As [`close`](crate::append::AppendOnlyFile::close); `Cancelled`.
    pub async fn close(self) -> Result<()> {
        self.0.end(crate::append::AppendOnlyFile::close).await
    }
}
