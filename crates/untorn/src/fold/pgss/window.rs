//! A file, and a part of it that is in memory.

use std::sync::Arc;

use crate::codec::checksum::crc32;
use crate::fs::File;
use crate::{Error, Result};

/// Bytes read at once.
pub(super) const READ: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Window {
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
    start: u64,
    held: Vec<u8>,
}

impl Window {
    pub(super) fn new(file: Arc<dyn File>) -> Result<Self> {
        let len = file.stat().map_err(|e| Error::system("look at", file.path(), e))?.len;
        Ok(Self { file, len, start: 0, held: Vec::new() })
    }

    /// What is in memory from `at` on, at least `least` bytes unless the file ends before.
    pub(super) fn from(&mut self, at: u64, least: usize) -> Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let least = least.min(left);
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let skip = skip.filter(|skip| self.held.len() >= skip.saturating_add(least));
        let Some(skip) = skip else {
            let want = least.max(READ).min(left);
            if self.held.capacity() > want.max(READ) {
                // A large record is gone: so is its memory.
                self.held = Vec::new();
            }
            self.held.clear();
            self.held.resize(want, 0);
            self.start = at;
            let got = self.file.read_at(&mut self.held, at);
            let got = got.map_err(|e| Error::system("read", self.file.path(), e).at(at))?;
            self.held.truncate(got);
            return Ok(&self.held);
        };
        Ok(self.held.get(skip..).unwrap_or_default())
    }

    /// `len` bytes at `at`, fewer where the file ends.
    pub(super) fn get(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let held = self.from(at, len)?;
        Ok(held.get(..len.min(held.len())).unwrap_or_default())
    }

    /// `N` bytes that may be far from what is in memory, which stays.
    pub(super) fn far<const N: usize>(&mut self, at: u64) -> Result<Option<[u8; N]>> {
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let held = skip.and_then(|skip| self.held.get(skip..)?.first_chunk().copied());
        if held.is_some() {
            return Ok(held);
        }
        let mut bytes = [0; N];
        let got = self.file.read_at(&mut bytes, at);
        let got = got.map_err(|e| Error::system("read", self.file.path(), e).at(at))?;
        Ok((got == N).then_some(bytes))
    }

    /// The checksum of `len` bytes at `at`, 1 MiB of them in memory at a time.
    pub(super) fn crc(&mut self, at: u64, len: u64) -> Result<u32> {
        let (mut at, end) = (at, at.saturating_add(len));
        let mut crc = 0;
        while at < end {
            let want = usize::try_from(end.saturating_sub(at)).unwrap_or(READ).min(READ);
            let part = self.get(at, want)?;
            if part.is_empty() {
                break;
            }
            crc = crc32(part, crc);
            at = at.saturating_add(part.len() as u64);
        }
        Ok(crc)
    }

    /// How many bytes from `at` on are zero.
    pub(super) fn zeros(&mut self, at: u64) -> Result<u64> {
        let mut end = at;
        while end < self.len {
            let part = self.from(end, 1)?;
            let zeros = part.iter().take_while(|byte| **byte == 0).count();
            let whole = zeros == part.len();
            end = end.saturating_add(zeros as u64);
            if !whole || zeros == 0 {
                break;
            }
        }
        Ok(end.saturating_sub(at))
    }
}
