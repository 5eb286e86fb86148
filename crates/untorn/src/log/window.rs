//! A sliding buffer over a file: one large read where many small ones are asked for.

use std::sync::Arc;

use crate::fs::File;
use crate::{Error, Result};

/// Bytes read at once.
const READ: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn File>,
    /// Offset in the file of `bytes[0]`.
    start: u64,
    bytes: Vec<u8>,
    /// All of the file is in `bytes`, and nothing is read again.
    whole: bool,
}

impl Window {
    pub(super) const fn new(file: Arc<dyn File>) -> Self {
        Self { file, start: 0, bytes: Vec::new(), whole: false }
    }

    /// Reads the file once and for all, so that what is verified is what is used.
    pub(super) fn whole(file: Arc<dyn File>, len: u64) -> Result<Self> {
        let mut window = Self::new(file);
        while (window.bytes.len() as u64) < len {
            let have = window.bytes.len();
            // Grows as the bytes come, whatever length the system claims.
            window.fill(0, have.saturating_add(READ))?;
            if window.bytes.len() == have {
                break;
            }
        }
        window.whole = true;
        Ok(window)
    }

    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The bytes `offset..offset + len`, fewer where the file ends. The caller has bounded `len` by the file's length.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        if !self.whole && self.held(offset, len).is_none() {
            self.fill(offset, len)?;
        }
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let to = from.saturating_add(len).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    /// The bytes, if they are all here.
    pub(super) fn held(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }

    /// Reads on: what is held from `offset` stays, the rest makes room.
    fn fill(&mut self, offset: u64, len: usize) -> Result<()> {
        let keep = offset
            .checked_sub(self.start)
            .and_then(|n| usize::try_from(n).ok())
            .filter(|&n| n <= self.bytes.len());
        match keep {
            Some(n) => drop(self.bytes.drain(..n)),
            None => self.bytes.clear(),
        }
        self.start = offset;
        let have = self.bytes.len();
        self.bytes.resize(len.max(READ), 0);
        let at = offset.saturating_add(have as u64);
        let got = match self.bytes.get_mut(have..) {
            Some(space) => self.file.read_at(space, at),
            None => Ok(0),
        };
        match got {
            Ok(got) => {
                self.bytes.truncate(have.saturating_add(got));
                Ok(())
            }
            Err(e) => {
                self.bytes.truncate(have);
                Err(Error::system("read", self.file.path(), e).at(at))
            }
        }
    }

    /// The offset of the first byte from `offset` on that is not zero; `None` if there is none before the file's end.
    pub(super) fn first_nonzero(&mut self, offset: u64) -> Result<Option<u64>> {
        let mut at = offset;
        loop {
            let bytes = self.get(at, READ)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(n) = bytes.iter().position(|&b| b != 0) {
                return Ok(Some(at.saturating_add(n as u64)));
            }
            at = at.saturating_add(bytes.len() as u64);
        }
    }

    /// One past the last byte from `offset` on that is not zero; `offset` if all are.
    pub(super) fn end_of_nonzero(&mut self, offset: u64) -> Result<u64> {
        let (mut at, mut end) = (offset, offset);
        loop {
            let bytes = self.get(at, READ)?;
            if bytes.is_empty() {
                return Ok(end);
            }
            if let Some(n) = bytes.iter().rposition(|&b| b != 0) {
                end = at.saturating_add(n as u64).saturating_add(1);
            }
            at = at.saturating_add(bytes.len() as u64);
        }
    }
}
