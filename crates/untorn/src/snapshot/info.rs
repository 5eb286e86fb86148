//! What can be told of a snapshot without decoding it.

use std::fmt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::log::LogPos;

use super::Layout;
use super::blocks::{self, Totals};
use super::frame;

/// What the headers of a snapshot say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The file, at the end of the symlinks if there were any.
    pub path: PathBuf,
    /// The layout that it has.
    pub layout: Layout,
    /// The version in the header: of a frame what its program wrote, of `Blocks` that of the layout.
    pub version: u32,
    /// The number of the last event that it covers; 0 if it has none.
    pub seq: u64,
    /// Bytes of the payload.
    pub payload_bytes: u64,
    /// Bytes of the file.
    pub stored_bytes: u64,
    /// The codec's name. A frame does not say it.
    pub codec: Option<String>,
    /// The name of the state machine that it is a state of.
    pub machine: Option<String>,
    /// The version of that machine's state; 0 if there is none.
    pub machine_version: u32,
    /// What the machine computed of its state.
    pub digest: Option<u64>,
    /// The store that it belongs to.
    pub store_id: Option<Uuid>,
    /// The frame of the log that it covers last; `at` is always 0.
    pub pos: Option<LogPos>,
}

impl SnapshotInfo {
    pub(super) fn of_frame(path: &Path, header: frame::Header, size: u64) -> Self {
        Self {
            path: path.to_path_buf(),
            layout: Layout::Frame,
            version: header.version,
            seq: 0,
            payload_bytes: u64::from(header.len),
            stored_bytes: size,
            codec: None,
            machine: None,
            machine_version: 0,
            digest: None,
            store_id: None,
            pos: None,
        }
    }

    /// What is known of a file in the Blocks layout.
    pub(crate) fn of_blocks(path: &Path, header: &blocks::Header, totals: Totals) -> Self {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let store_id = Uuid::from_bytes(header.store_id);
        Self {
            path: path.to_path_buf(),
            layout: Layout::Blocks,
            version: u32::from(blocks::VERSION),
            seq: header.seq,
            payload_bytes: totals.raw,
            stored_bytes: totals.file_bytes(),
            codec: named(&header.codec),
            machine: named(&header.machine),
            machine_version: header.machine_version,
            digest: header.digest,
            store_id: (!store_id.is_nil()).then_some(store_id),
            pos: header.pos,
        }
    }
}

/// The payload of a snapshot, verified and not decoded: for tools that do not know its type.
///
/// See [`SnapshotFsLoader::load_bytes`](super::SnapshotFsLoader::load_bytes).
#[derive(Clone, PartialEq, Eq)]
pub struct FrameBytes {
    pub(super) info: SnapshotInfo,
    pub(super) bytes: Vec<u8>,
}

impl FrameBytes {
    /// What the headers say.
    pub const fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload, taken out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Debug for FrameBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameBytes").field("info", &self.info).finish_non_exhaustive()
    }
}
