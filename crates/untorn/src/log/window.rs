//! A sliding buffer over a file: one large read where many small ones are asked for.

use std::sync::Arc;

use crate::fs::File;
use crate::{Error, Result};

/// Bytes read at once, by who reads on and on. The first read is small: often a header is all that is wanted.
const READ: usize = 1 << 20;
/// Zeros are compared in pieces of this size, which is far faster than byte by byte.
const PIECE: usize = 4096;
static ZEROS: [u8; PIECE] = [0; PIECE];

#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn File>,
    /// Offset in the file of `bytes[0]`.
    start: u64,
    bytes: Vec<u8>,
    /// So many of `bytes` are the file's; what follows is room for the next read, zeroed only once.
    have: usize,
    /// How much the next read asks for.
    ahead: usize,
    /// All of the file is in `bytes`, and nothing is read again.
    whole: bool,
}

impl Window {
    pub(super) const fn new(file: Arc<dyn File>) -> Self {
        Self { file, start: 0, bytes: Vec::new(), have: 0, ahead: PIECE, whole: false }
    }

    /// Reads the file once and for all, so that what is verified is what is used.
    pub(super) fn whole(file: Arc<dyn File>, len: u64) -> Result<Self> {
        let mut window = Self::new(file);
        while (window.have as u64) < len {
            let have = window.have;
            // Grows as the bytes come, whatever length the system claims.
            let left = len.saturating_sub(have as u64);
            let step = usize::try_from(left).unwrap_or(READ).min(READ);
            window.fill(0, have.saturating_add(step))?;
            if window.have == have {
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
        let to = from.saturating_add(len).min(self.have);
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    /// The bytes, if they are all here.
    pub(super) fn held(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(..self.have)?.get(from..from.checked_add(len)?)
    }

    /// Reads on: what is held from `offset` stays, the rest makes room.
    fn fill(&mut self, offset: u64, len: usize) -> Result<()> {
        let keep = offset
            .checked_sub(self.start)
            .and_then(|n| usize::try_from(n).ok())
            .filter(|&n| n <= self.have);
        match keep {
            Some(n) => {
                self.bytes.copy_within(n..self.have, 0);
                self.have = self.have.saturating_sub(n);
            }
            None => self.have = 0,
        }
        self.start = offset;
        let want = len.max(self.ahead);
        self.ahead = self.ahead.saturating_mul(16).min(READ);
        if self.bytes.len() < want {
            self.bytes.resize(want, 0);
        }
        let at = offset.saturating_add(self.have as u64);
        let got = match self.bytes.get_mut(self.have..want) {
            Some(space) => self.file.read_at(space, at),
            None => Ok(0),
        };
        let got = got.map_err(|e| Error::system("read", self.file.path(), e).at(at))?;
        self.have = self.have.saturating_add(got);
        Ok(())
    }

    /// The offset of the first byte from `offset` on that is not zero; `None` if there is none before the file's end.
    pub(super) fn first_nonzero(&mut self, offset: u64) -> Result<Option<u64>> {
        let mut at = offset;
        loop {
            let bytes = self.get(at, PIECE)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(n) = first_not_zero(bytes) {
                return Ok(Some(at.saturating_add(n as u64)));
            }
            at = at.saturating_add(bytes.len() as u64);
        }
    }

    /// One past the last byte from `offset` on that is not zero; `offset` if all are.
    pub(super) fn end_of_nonzero(&mut self, offset: u64) -> Result<u64> {
        let (mut at, mut end) = (offset, offset);
        loop {
            let bytes = self.get(at, PIECE)?;
            if bytes.is_empty() {
                return Ok(end);
            }
            if let Some(n) = last_not_zero(bytes) {
                end = at.saturating_add(n as u64).saturating_add(1);
            }
            at = at.saturating_add(bytes.len() as u64);
        }
    }
}

fn first_not_zero(bytes: &[u8]) -> Option<usize> {
    let skip = bytes.chunks(PIECE).take_while(|piece| is_zero(piece)).map(<[u8]>::len).sum();
    let n = bytes.get(skip..)?.iter().position(|&b| b != 0)?;
    Some(n.saturating_add(skip))
}

fn last_not_zero(bytes: &[u8]) -> Option<usize> {
    let zeros = bytes.rchunks(PIECE).take_while(|piece| is_zero(piece)).map(<[u8]>::len).sum();
    bytes.get(..bytes.len().saturating_sub(zeros))?.iter().rposition(|&b| b != 0)
}

/// Of `PIECE` bytes at most.
fn is_zero(piece: &[u8]) -> bool {
    ZEROS.get(..piece.len()) == Some(piece)
}

#[cfg(test)]
mod tests {
    use super::{PIECE, first_not_zero, last_not_zero};

    #[test]
    fn what_is_not_zero_is_found_wherever_it_stands() {
        for len in [0, 1, 7, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            let mut bytes = vec![0; len];
            assert_eq!((first_not_zero(&bytes), last_not_zero(&bytes)), (None, None));
            for at in [0, 1, 6, PIECE - 1, PIECE, 2 * PIECE, 3 * PIECE + 4] {
                if at < len {
                    bytes[at] = 1;
                    assert_eq!(
                        (first_not_zero(&bytes), last_not_zero(&bytes)),
                        (Some(at), Some(at))
                    );
                    bytes[len - 1] = 2;
                    bytes[0] = 3;
                    assert_eq!(first_not_zero(&bytes), Some(0));
                    assert_eq!(last_not_zero(&bytes), Some(len - 1));
                    bytes.fill(0);
                }
            }
        }
    }
}
