//! The body of one answer: bytes in order, from an offset on, as many as its head said.

use std::io::Read;

use untorn::{Error, ErrorKind, Result};

use super::agent;

/// A body that is being read.
pub(super) struct Stream {
    body: Box<dyn Read + Send>,
    at: u64,
    /// Where it ends in the file; `None` if its head did not say.
    end: Option<u64>,
}

impl Stream {
    /// The body has the bytes of the file from `at` on.
    pub(super) fn new(body: impl Read + Send + 'static, at: u64, end: Option<u64>) -> Self {
        Self { body: Box::new(body), at, end }
    }

    /// The offset of the next byte.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Whether all was read that its head said.
    pub(super) fn is_at_end(&self) -> bool {
        self.end == Some(self.at)
    }

    /// Reads what comes, at most up to `until`. Nothing: there is no more.
    pub(super) fn read<'a>(&mut self, buf: &'a mut [u8], until: Option<u64>) -> Result<&'a [u8]> {
        let until = match (until, self.end) {
            (Some(until), Some(end)) => Some(until.min(end)),
            (until, end) => until.or(end),
        };
        let left = until.map_or(u64::MAX, |until| until.saturating_sub(self.at));
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..room).unwrap_or_default();
        if buf.is_empty() {
            return Ok(&[]);
        }
        let read = self.body.read(buf).map_err(agent::broken)?;
        self.at = self.at.saturating_add(read as u64);
        match self.end {
            Some(end) if read == 0 => {
                let words = format!("the server closed {} bytes before the end", end - self.at);
                Err(Error::of_caller(ErrorKind::Io, "fetch", words))
            }
            _ => Ok(buf.get(..read).unwrap_or_default()),
        }
    }

    /// Nothing may follow. Only a body read to its very end gives its connection back.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.body.read(&mut [0]) {
            Ok(1..) => {
                let words = "the server sends more bytes than it said";
                Err(Error::of_caller(ErrorKind::Io, "fetch", words))
            }
            // All bytes are here; what is wrong with the connection is the next one's business.
            Ok(0) | Err(_) => Ok(()),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("at", &self.at)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
