//! More objects than memory holds: spilled, loaded again, persisted as sets that change as one.

mod backend;
mod batch;
mod compress;
#[cfg(feature = "sim")]
pub mod conformance;
mod dir;
mod file_backed;
mod frame;
mod mem;
mod path;
mod segment;
mod sets;
mod spill;

pub use backend::{BackingStoreT, BlobStore, Compacted, Known, Strategy, Usage};
pub use batch::{Batch, Meta, Object, codec_id};
pub use compress::Compression;
pub use dir::{DirOptions, DirStore};
pub use file_backed::{
    ExportReport, FileBackedOptions, ImportReport, Suspicion, Verify, export_file_backed,
    import_file_backed,
};
pub use mem::{MemPath, MemStore};
pub use path::{DirPath, DirPathOptions, OpenReport};
pub use sets::{CheckpointId, ObjectInfo, Set, SetInfo, SetPath};
pub use spill::SpillReport;
