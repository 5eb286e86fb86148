//! What both layouts need to read a file: all bytes or damage, and memory only for what is there.

use std::borrow::Cow;

use crate::fs::File;
use crate::{Error, ErrorKind, Result};

pub(super) const LOAD: &str = "load snapshot";

#[cold]
pub(super) fn damaged(file: &dyn File, at: u64, what: impl Into<Cow<'static, str>>) -> Error {
    let mut what: Cow<'static, str> = what.into();
    what.to_mut().push_str("; restore it from a copy, or write it anew");
    Error::new(ErrorKind::Damaged, LOAD, file.path(), what).at(at)
}

/// Fills `buf`; a file that ends before was cut after its size was looked at.
pub(super) fn read_exact(file: &dyn File, buf: &mut [u8], at: u64) -> Result<()> {
    let read = file.read_at(buf, at).map_err(|e| Error::system(LOAD, file.path(), e).at(at))?;
    if read == buf.len() {
        return Ok(());
    }
    Err(damaged(file, at.saturating_add(read as u64), "it was cut while it was read"))
}

/// Takes memory for `len` bytes that are in the file.
pub(super) fn reserve(file: &dyn File, bytes: &mut Vec<u8>, len: u64) -> Result<()> {
    let taken = usize::try_from(len).map_err(drop);
    taken.and_then(|len| bytes.try_reserve_exact(len).map_err(drop)).map_err(|()| {
        let what = format!("there is no memory for its {len} bytes");
        Error::new(ErrorKind::OverBudget, LOAD, file.path(), what)
    })
}

pub(super) fn size_of(file: &dyn File) -> Result<u64> {
    file.stat().map(|stat| stat.len).map_err(|e| Error::system(LOAD, file.path(), e))
}
