//! A column: bytes that grow at the end, and the sums of their blocks, in two files.
//!
//! # Invariants
//! - K1 A byte below the committed end changes only when the record that takes it away is durable. What lies beyond the end
//!   is nobody's, and may be written before its record.
//! - K2 The files may lack, or have differently, what records since the last checkpoint say: those carry it, or it was synced
//!   before them.
//! - K3 After a cut the whole file is synced, not its bytes alone: those of a file that was cut and grew again need not bring its
//!   length along.

use std::ops::Range as Bytes;
use std::sync::Arc;

use super::blocks::{BLOCK, HEADER, SUM, Seed, Tail, block_of, start_of, sum_at};
use super::range::{Range, Through};
use super::record::End;
use super::settings::Settings;
use crate::commit::{sync_data, sync_file};
use crate::fs::{File, ReadMode, SyncSite};
use crate::{Error, ErrorKind, Result};

/// The two files of a column.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) file: Arc<dyn File>,
    pub(super) sums: Arc<dyn File>,
    /// Where the column's bytes begin in their file.
    pub(super) base: u64,
}

impl Files {
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        write(&*self.file, self.base.saturating_add(at), bytes)
    }

    /// Writes the part of `bytes`, which belong at `at`, that lies beyond `end` (K1).
    pub(super) fn write_beyond(&self, end: u64, at: u64, bytes: &[u8]) -> Result<()> {
        let (_, beyond) = split(end, at, bytes);
        self.write(at.max(end), beyond)
    }

    /// Writes the part that lies below `end`, whose record is durable (K1).
    pub(super) fn write_below(&self, end: u64, at: u64, bytes: &[u8]) -> Result<()> {
        let (below, _) = split(end, at, bytes);
        self.write(at, below)
    }

    /// Writes the sums of full blocks from `block` on, beyond those that a column of `end` bytes has.
    pub(super) fn write_sums_beyond(&self, end: u64, block: u64, sums: &[u8]) -> Result<()> {
        let have = block_of(end).saturating_mul(SUM);
        let (_, beyond) = split(have, block.saturating_mul(SUM), sums);
        let at = block.saturating_mul(SUM).max(have);
        write(&*self.sums, HEADER.saturating_add(at), beyond)
    }

    /// Writes those that such a column has already.
    pub(super) fn write_sums_below(&self, end: u64, block: u64, sums: &[u8]) -> Result<()> {
        let have = block_of(end).saturating_mul(SUM);
        let (below, _) = split(have, block.saturating_mul(SUM), sums);
        write(&*self.sums, sum_at(block), below)
    }

    /// Cuts the file behind the column's `end`.
    pub(super) fn cut(&self, end: u64) -> Result<()> {
        let len = self.base.saturating_add(end);
        self.file.set_len(len).map_err(|e| Error::system("cut", self.file.path(), e).at(len))
    }

    /// Bytes of the file behind its header.
    pub(super) fn len(&self) -> Result<u64> {
        let stat = self.file.stat();
        let stat = stat.map_err(|e| Error::system("look at", self.file.path(), e))?;
        Ok(stat.len.saturating_sub(self.base))
    }

    /// Reads all of `bytes`, or says how far they go.
    pub(super) fn read(&self, bytes: Bytes<u64>) -> Result<Vec<u8>> {
        let len = bytes.end.saturating_sub(bytes.start);
        let mut buffer = vec![0; usize::try_from(len).unwrap_or(0)];
        let at = self.base.saturating_add(bytes.start);
        let got = self.file.read_at(&mut buffer, at);
        let got = got.map_err(|e| Error::system("read", self.file.path(), e).at(at))?;
        if got < buffer.len() {
            let missing = buffer.len().saturating_sub(got);
            let what = format!("it ends {missing} bytes before what was committed");
            let error = Error::new(ErrorKind::Damaged, "read", self.file.path(), what);
            return Err(error.at(at.saturating_add(got as u64)));
        }
        Ok(buffer)
    }

    /// The tail of the column if it ended at `end`, from its file's bytes, whoever vouches for them.
    pub(super) fn tail_at(&self, seed: Seed, end: u64) -> Result<Tail> {
        let block = block_of(end);
        let bytes = self.read(start_of(block)..end)?;
        Ok(Tail { seed, end, crc: seed.sum(block, &bytes) })
    }

    /// The bytes `from..to` in pieces of whole blocks, each with the number of its first byte.
    pub(super) fn each(
        &self,
        bytes: Bytes<u64>,
        mut each: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        const PIECE: u64 = 64 * BLOCK;
        let mut at = bytes.start;
        while at < bytes.end {
            let next = start_of(block_of(at)).saturating_add(PIECE).min(bytes.end);
            each(at, &self.read(at..next)?)?;
            at = next;
        }
        Ok(())
    }
}

/// What of `bytes`, which belong at `at`, lies below `end`, and what beyond.
fn split(end: u64, at: u64, bytes: &[u8]) -> (&[u8], &[u8]) {
    let below = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
    bytes.split_at_checked(below).unwrap_or((bytes, &[]))
}

fn write(file: &dyn File, at: u64, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    file.write_at(bytes, at).map_err(|e| Error::system("write", file.path(), e).at(at))
}

/// A column that is open for writing.
pub(super) struct Column {
    pub(super) files: Files,
    /// Where it ends, as committed.
    pub(super) tail: Tail,
    pub(super) range: Arc<Range>,
    /// It has bytes that no sync covers and no record carries.
    pub(super) loose: bool,
    /// It was cut, and no sync covers that yet: one of the bytes alone need not (K3).
    pub(super) cut: bool,
}

impl Column {
    /// Of files that end as the tail says: its sum of the last block was compared, or computed.
    pub(super) fn open(
        files: Files,
        tail: Tail,
        mode: ReadMode,
        settings: &Settings,
        cut: bool,
    ) -> Result<Self> {
        let through = Through {
            file: Arc::clone(&files.file),
            sums: Arc::clone(&files.sums),
            base: files.base,
            seed: tail.seed,
            mode,
            verify: settings.verify,
            reserve: settings.reserve,
        };
        let range = Range::new(through, tail.end)?;
        range.trust(start_of(block_of(tail.end))..tail.end);
        Ok(Self { files, tail, range: Arc::new(range), loose: false, cut })
    }

    pub(super) const fn end(&self) -> End {
        End { end: self.tail.end, crc: self.tail.crc }
    }

    /// Makes its bytes durable. An error is final.
    pub(super) fn make_durable(&mut self, site: SyncSite) -> Result<()> {
        let sync = if self.cut { sync_file } else { sync_data };
        sync(&*self.files.file, site)?;
        (self.loose, self.cut) = (false, false);
        Ok(())
    }

    /// Its tail if it ended at `keep`, from bytes that verify.
    pub(super) fn tail_at(&self, keep: u64) -> Result<Tail> {
        if keep == self.tail.end {
            return Ok(self.tail);
        }
        let (seed, block) = (self.tail.seed, block_of(keep));
        let mut bytes = Vec::new();
        self.range.copy(start_of(block)..keep, &mut bytes)?;
        Ok(Tail { seed, end: keep, crc: seed.sum(block, &bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn bytes_are_split_where_the_column_ends() {
        assert_eq!(split(10, 10, b"abc"), (&b""[..], &b"abc"[..]));
        assert_eq!(split(11, 10, b"abc"), (&b"a"[..], &b"bc"[..]));
        assert_eq!(split(13, 10, b"abc"), (&b"abc"[..], &b""[..]));
        assert_eq!(split(99, 10, b"abc"), (&b"abc"[..], &b""[..]));
        assert_eq!(split(0, 10, b"abc"), (&b""[..], &b"abc"[..]));
    }
}
