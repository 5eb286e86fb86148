//! Snapshots, awaited. See [`snapshot`](crate::snapshot).

use std::path::Path;

use super::blocking;
use crate::Result;
use crate::codec::Codec;
use crate::snapshot::{
    SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader as _, SnapshotOptions, SnapshotWriter as _,
};

/// Writes one snapshot and publishes it.
///
/// # Durability
/// **On `Ok`** it is in place and survives a power cut; **on `Err`** as [`close`](crate::snapshot::SnapshotWriter::close). **If the future is dropped**
/// after it was polled, the snapshot is published whole all the same, or not at all; before, nothing is done. **If the process dies** or **if power
/// fails**, the file is the old one or the new one, whole.
///
/// # Cost
/// Two syncs and one rename, in one task on tokio's blocking pool.
///
/// # Errors
/// As [`SnapshotFsWriter::with`], [`write`](crate::snapshot::SnapshotWriter::write) and [`close`](crate::snapshot::SnapshotWriter::close); `Cancelled`
/// with `Unknown` if the runtime shuts down.
///
/// # Example
/// ```
/// # #[cfg(feature = "json")]
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use untorn::aio::snapshot::{load, save};
/// use untorn::snapshot::SnapshotOptions;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("state.snap");
/// save(&path, vec![1, 2, 3], SnapshotOptions::new()).await?;
/// let state: Option<Vec<i32>> = load(&path, SnapshotOptions::new()).await?;
/// assert_eq!(state, Some(vec![1, 2, 3]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn save<S, C>(
    path: impl AsRef<Path>,
    snapshot: S,
    options: SnapshotOptions<S, C>,
) -> Result<()>
where
    S: Send + 'static,
    C: Codec<S> + Send + 'static,
{
    let path = path.as_ref().to_path_buf();
    let given = path.clone();
    blocking(&given, move || {
        let mut writer = SnapshotFsWriter::with(path, options)?;
        writer.write(&snapshot)?;
        writer.close()
    })
    .await
}

/// Reads the snapshot that stands there, or `None` if there is none.
///
/// # Durability
/// Nothing is changed.
///
/// # Cost
/// As [`load`](crate::snapshot::SnapshotLoader::load), in one task on tokio's blocking pool.
///
/// # Errors
/// As [`load`](crate::snapshot::SnapshotLoader::load); `Cancelled` if the runtime shuts down.
///
/// # Example
/// See [`save`].
pub async fn load<S, C>(path: impl AsRef<Path>, options: SnapshotOptions<S, C>) -> Result<Option<S>>
where
    S: Send + 'static,
    C: Codec<S> + Send + 'static,
{
    let path = path.as_ref().to_path_buf();
    let given = path.clone();
    blocking(&given, move || SnapshotFsLoader::with(path, options).load()).await
}
