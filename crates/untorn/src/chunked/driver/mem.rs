//! Bytes in memory.

use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Driver, reserve, sealed};
use crate::chunked::View;
use crate::{Error, ErrorKind, Result};

/// The name of memory in messages.
pub(in crate::chunked) const NAME: &str = "memory";

/// Bytes in memory; what was not written is zero, and takes memory too.
#[derive(Default)]
pub struct MemDriver {
    bytes: RwLock<Vec<u8>>,
}

impl MemDriver {
    pub(in crate::chunked) const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: RwLock::new(bytes) }
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Vec<u8>> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Vec<u8>> {
        self.bytes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for MemDriver {}

impl sealed::Backing for MemDriver {
    fn path(&self) -> Option<&Path> {
        None
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut bytes = self.write_lock();
        let have = bytes.len();
        let fail = || no_memory("write").at(offset);
        let at = usize::try_from(offset).map_err(|_| fail())?;
        let end = at.checked_add(data.len()).ok_or_else(fail)?;
        bytes.try_reserve(end.saturating_sub(have)).map_err(|_| fail())?;
        if have < end {
            bytes.resize(end, 0);
        }
        if let Some(place) = bytes.get_mut(at..end) {
            place.copy_from_slice(data);
        }
        Ok(())
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let bytes = self.read_lock();
        let from = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let count = from.len().min(buf.len());
        let (Some(from), Some(to)) = (from.get(..count), buf.get_mut(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        Ok(count)
    }

    fn trim(&self, len: u64) -> Result<()> {
        self.write_lock().truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        Ok(())
    }

    fn sync_name(&self) -> Result<()> {
        Ok(())
    }

    fn reopen(&self) -> Result<u64> {
        Ok(self.read_lock().len() as u64)
    }

    fn view(&self, len: u64) -> Result<View> {
        let mut copy = Vec::new();
        reserve(&mut copy, len).ok_or_else(|| no_memory("view"))?;
        copy.extend_from_slice(&self.read_lock());
        Ok(View::owned(copy))
    }
}

impl std::fmt::Debug for MemDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemDriver").field("len", &self.read_lock().len()).finish()
    }
}

#[cold]
fn no_memory(operation: &'static str) -> Error {
    Error::new(ErrorKind::OverBudget, operation, Path::new(NAME), "there is not enough memory")
}
