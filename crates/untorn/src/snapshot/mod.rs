//! Snapshots: one value in a file, replaced atomically.
//!
//! [`SnapshotFsWriter`] puts a value into a temporary beside the file and gives it the name when it is closed;
//! [`SnapshotFsLoader`] reads it back, or says why it cannot. For the bytes see docs/FORMAT.md#snapshots.
//!
//! ```
//! # #[cfg(feature = "json")] {
//! use untorn::snapshot::{SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotWriter};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("state.snap");
//! assert_eq!(SnapshotFsLoader::<Vec<u32>>::new(path.clone()).load()?, None);
//!
//! let mut writer = SnapshotFsWriter::new(path.clone())?;
//! writer.write(&vec![1, 2, 3])?;
//! writer.close()?; // from here on it survives a power cut
//!
//! let mut loader = SnapshotFsLoader::new(path);
//! assert_eq!(loader.load()?, Some(vec![1, 2, 3]));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Concurrency
//! Any number of writers may have the same path, in any number of processes: the last `close` wins, whole. Loaders take no
//! lock; they open the file once and read that one, whatever is renamed over it meanwhile.
//!
//! # Limits
//! The value and, when it is loaded, its bytes are in memory at the same time. In writing the bytes go to the file as the codec
//! hands them on, collected to 128 KiB, and to blocks of 1 MiB in the Blocks layout.
//!
//! # Invariants
//! - S1 The name leads to a whole snapshot, or to what it led to before.
//! - S2 What a loader with the same options would refuse is not published: one limit and one validation for both sides.
//! - S3 Nothing is decoded before its checksum holds.
//! - S4 Absent is `None`; everything else that is not a snapshot is an error.

pub(crate) mod blocks;
mod bytes;
mod frame;
mod info;
mod loader;
mod options;
mod writer;

pub use info::{FrameBytes, SnapshotInfo};
pub use loader::{SnapshotFsLoader, SnapshotLoader};
pub use options::{Layout, SnapshotOptions, Validate};
pub use writer::{SnapshotFsWriter, SnapshotWriter};

/// What a [`SnapshotWriter`] fails with: the one error of the crate.
pub type SnapshotWriterError = crate::Error;
/// What [`SnapshotFsWriter::new`] fails with: the one error of the crate.
pub type SnapshotFsWriterInitError = crate::Error;
/// What a [`SnapshotLoader`] fails with: the one error of the crate.
pub type SnapshotLoaderError = crate::Error;
