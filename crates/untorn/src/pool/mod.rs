//! More objects than memory holds: spilled, loaded again, persisted as sets that change as one.

mod backend;
mod batch;
mod compress;
mod frame;
mod path;
mod segment;
mod sets;

pub use backend::{BackingStoreT, BlobStore, Compacted, Known, Strategy, Usage};
pub use batch::{Batch, Meta, Object, codec_id};
pub use compress::Compression;
pub use path::{
    DirPath, DirPathOptions, GcReport, OpenReport, PathDamage, PathReport, verify_path,
};
pub use sets::{CheckpointId, ObjectInfo, Set, SetInfo, SetPath};
