//! Writes a base from front to end.

use std::io::Write;
use std::path::PathBuf;

use super::super::held::{Held, Spot, Value};
use super::block::Builder;
use super::format::{FOOTER, Footer, Header, Index, Meta};
use crate::codec::bytes::common;
use crate::codec::checksum::crc32;
use crate::{Error, ErrorKind, Result};

/// A block is closed when it is as long as this.
const BLOCK: usize = 4 << 10;
/// Longer values lie apart from the blocks.
const APART: usize = 1 << 10;

/// A base in the making. What is written to is the caller's: a temporary, or a file of an artifact.
#[derive(Debug)]
pub(in super::super) struct BaseWriter<W> {
    out: W,
    path: PathBuf,
    store_id: [u8; 16],
    offset: u64,
    block: Builder,
    /// The key from which the block that is being filled is found.
    from: Vec<u8>,
    index: Index,
    entries: u64,
    tombstones: u64,
    bytes: u64,
}

impl<W: Write> BaseWriter<W> {
    /// `path` is for errors.
    pub(in super::super) fn new(out: W, path: PathBuf, header: &Header) -> Result<Self> {
        let mut writer = Self {
            out,
            path,
            store_id: header.store_id,
            offset: 0,
            block: Builder::default(),
            from: Vec::new(),
            index: Index::default(),
            entries: 0,
            tombstones: 0,
            bytes: 0,
        };
        writer.put(&header.encode())?;
        Ok(writer)
    }

    /// Bytes that were written so far.
    pub(in super::super) const fn written(&self) -> u64 {
        self.offset
    }

    /// Adds an entry behind all others. A value is given as bytes, or it is gone.
    pub(in super::super) fn push(&mut self, held: &Held<'_>) -> Result<()> {
        let value = match held.value {
            Value::Here(bytes) if bytes.len() > APART => {
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let offset = self.offset;
                self.put(bytes)?;
                Value::InBase(Spot { segment: 0, offset, len, crc: crc32(bytes, 0) })
            }
            value => value,
        };
        if self.block.is_empty() {
            let last = self.block.last_key();
            let shared = common(last, held.key);
            self.from.clear();
            self.from.extend(held.key.iter().take(shared.saturating_add(1)));
        }
        self.block.push(&Held { value, ..*held });
        match held.value {
            Value::Gone { .. } => self.tombstones = self.tombstones.saturating_add(1),
            Value::Here(bytes) => {
                self.entries = self.entries.saturating_add(1);
                let len = held.key.len().saturating_add(held.version.len());
                self.bytes = self.bytes.saturating_add(len.saturating_add(bytes.len()) as u64);
            }
            Value::InBase(_) | Value::InLog(_) => {}
        }
        if self.block.len() >= BLOCK { self.close_block() } else { Ok(()) }
    }

    fn close_block(&mut self) -> Result<()> {
        let offset = self.offset;
        let bytes = self.block.finish(offset);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let fail = |e| Error::system("write", &self.path, e).at(offset);
        self.out.write_all(bytes).map_err(fail)?;
        self.offset = offset.saturating_add(u64::from(len));
        self.block.clear();
        if self.index.push(offset, len, &self.from) {
            return Ok(());
        }
        let what = "the index of its keys would have more than 4 GiB";
        Err(Error::new(ErrorKind::TooLarge, "write", &self.path, what))
    }

    /// Ends the base with what it says of itself; the counts are its own. Returns what was written to.
    pub(in super::super) fn finish(mut self, meta: Meta) -> Result<(W, Meta)> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        let (entries, tombstones, bytes) = (self.entries, self.tombstones, self.bytes);
        let meta = Meta { entries, tombstones, bytes, ..meta };
        let meta_at = self.part(&meta.encode())?;
        let index = std::mem::take(&mut self.index);
        let index = self.part(&index.encode())?;
        let file_len = self.offset.saturating_add(FOOTER as u64);
        let footer = Footer { meta: meta_at, index, file_len, store_id: self.store_id };
        self.put(&footer.encode())?;
        Ok((self.out, meta))
    }

    fn part(&mut self, bytes: &[u8]) -> Result<(u64, u32)> {
        let place = (self.offset, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.put(bytes)?;
        Ok(place)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let fail = |e| Error::system("write", &self.path, e).at(self.offset);
        self.out.write_all(bytes).map_err(fail)?;
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        Ok(())
    }
}
