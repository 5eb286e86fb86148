//! The bytes of a committed resource, in one piece.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::fs::Map;

/// All bytes of a committed resource. Clones share them.
///
/// A map of the file, which stays whole as long as the view lives, also if the name is removed or given to another file;
/// or a copy in memory, where maps are not to be used. That no foreign program shortens or overwrites the mapped file is
/// the user's duty; [`ReadMode::Pread`](super::ReadMode::Pread) needs none.
#[derive(Clone)]
pub struct View(pub(super) Arc<Bytes>);

/// What a view shows.
pub(super) enum Bytes {
    Map(Map),
    Owned(Vec<u8>),
}

impl View {
    pub(super) fn map(map: Map) -> Self {
        Self(Arc::new(Bytes::Map(map)))
    }

    pub(super) fn owned(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Bytes::Owned(bytes)))
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Bytes::Map(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("len", &self.len()).finish()
    }
}
