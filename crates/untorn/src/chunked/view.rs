//! Committed bytes as a slice.

use std::ops::Deref;
use std::sync::Arc;

use crate::Result;
use crate::fs::{File, Map};
use crate::{Error, ErrorKind};

/// How committed bytes are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadMode {
    /// Through a map.
    #[default]
    Auto,
    /// Through a map.
    Map,
    /// By reading.
    Pread,
}

/// Committed bytes.
#[derive(Clone, Debug)]
pub struct View(Arc<Map>);

impl From<Vec<u8>> for View {
    fn from(_bytes: Vec<u8>) -> Self {
        unimplemented!()
    }
}

impl View {
    pub(super) fn of(file: &dyn File, len: u64, _mode: ReadMode) -> Result<Self> {
        let len = usize::try_from(len).map_err(|_| {
            Error::new(ErrorKind::TooLarge, "map", file.path(), "it does not fit into memory")
        })?;
        let map = file.map(len).map_err(|e| Error::system("map", file.path(), e))?;
        Ok(Self(Arc::new(map)))
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
