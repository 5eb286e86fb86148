//! The base: all entries as of one commit, sorted, in one file that is never changed once it has its name.
//!
//! # Invariants
//! - B1 A file has the name `base` only whole: its footer says its length, and header, footer, meta and index verify.
//! - B2 A block verifies before anything in it is used, at the first touch; a value that lies apart each time.
//! - B3 Keys ascend through the whole file.

mod block;
mod format;
mod iter;
mod write;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::held::{Held, Spot, Value};
use crate::codec::checksum::crc32;
use crate::fs::{File, Map, ReadMode};
use crate::{Error, ErrorKind, Result};
use format::{FOOTER, Footer, HEADER, Index, NoHeader};

pub(super) use format::{Header, Meta};
pub(super) use iter::BaseIter;
pub(super) use write::BaseWriter;

/// An open base.
#[derive(Debug)]
pub(super) struct Base {
    file: Arc<dyn File>,
    map: Option<Map>,
    len: u64,
    pub(super) header: Header,
    pub(super) meta: Meta,
    index: Index,
    /// A bit for each block that was verified.
    verified: Vec<AtomicU64>,
    /// Blocks that are taken for empty: a salvage leaves them out.
    skipped: BTreeSet<usize>,
}

impl Base {
    /// Opens a base: header, footer, meta and index are checked.
    ///
    /// `NotOurs`, `NewerFormat`, `Damaged` with offset.
    pub(super) fn open(file: Arc<dyn File>, mode: ReadMode) -> Result<Self> {
        let path = file.path().to_path_buf();
        let damaged = |offset: u64, what: &'static str| {
            Error::new(ErrorKind::Damaged, "open base", &path, what).at(offset)
        };
        let fail = |e| Error::system("open base", &path, e);
        let len = file.stat().map_err(fail)?.len;
        let mut header = [0; HEADER];
        let got = file.read_at(&mut header, 0).map_err(fail)?;
        let header = match Header::decode(&header) {
            Ok(header) if got == HEADER => header,
            Err(NoHeader::Newer(version)) => {
                let what = format!("its format is version {version}, and this one knows 1");
                return Err(Error::new(ErrorKind::NewerFormat, "open base", &path, what));
            }
            Err(NoHeader::NotOurs) if got == HEADER => {
                let what = "it does not begin as the base of a fold does";
                return Err(Error::new(ErrorKind::NotOurs, "open base", &path, what).at(0));
            }
            _ => return Err(damaged(0, "its header does not verify")),
        };
        let foot_at = len.saturating_sub(FOOTER as u64).max(HEADER as u64);
        let mut footer = [0; FOOTER];
        file.read_at(&mut footer, foot_at).map_err(fail)?;
        let footer =
            Footer::decode(&footer).ok_or_else(|| damaged(foot_at, "its end does not verify"))?;
        let of_this = footer.store_id == header.store_id && footer.file_len == len;
        let part = |(offset, part): (u64, u32)| {
            let end = offset.saturating_add(u64::from(part));
            if !of_this || offset < HEADER as u64 || end > foot_at {
                return Err(damaged(foot_at, "its end is that of another file"));
            }
            let mut bytes = vec![0; usize::try_from(part).unwrap_or(0)];
            file.read_at(&mut bytes, offset).map_err(fail)?;
            Ok(bytes)
        };
        let meta = Meta::decode(&part(footer.meta)?);
        let meta =
            meta.ok_or_else(|| damaged(footer.meta.0, "what it says of itself does not verify"))?;
        let index = Index::decode(&part(footer.index)?, footer.meta.0);
        let index = index.ok_or_else(|| damaged(footer.index.0, "its index does not verify"))?;
        let map = match (mode, usize::try_from(len)) {
            (ReadMode::Pread, _) | (_, Err(_)) => None,
            (_, Ok(len)) => Some(file.map(len).map_err(fail)?),
        };
        let verified = (0..index.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { file, map, len, header, meta, index, verified, skipped: BTreeSet::new() })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Bytes of the file.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Takes blocks for empty.
    pub(super) fn skip(&mut self, blocks: BTreeSet<usize>) {
        self.skipped = blocks;
    }

    pub(super) const fn blocks(&self) -> usize {
        self.index.len()
    }

    /// Shows `look` what is held of a key.
    pub(super) fn find<R>(
        &self,
        key: &[u8],
        look: impl FnOnce(&Held<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(nth) = self.index.block_of(key) else { return Ok(None) };
        let bytes = self.block(nth)?;
        match block::find(&bytes, key) {
            Ok(found) => found.map(|held| look(&held)).transpose(),
            Err(block::Senseless) => Err(self.makes_no_sense(nth)),
        }
    }

    /// The bytes of a block, which verify (B2).
    fn block(&self, nth: usize) -> Result<Cow<'_, [u8]>> {
        if self.skipped.contains(&nth) {
            return Ok(Cow::Borrowed(block::EMPTY));
        }
        let (offset, len) = self.index.place(nth).unwrap_or_default();
        let bytes = self.bytes(offset, len)?;
        let bit = 1_u64 << (nth % 64);
        let word = self.verified.get(nth / 64);
        if word.is_some_and(|word| word.load(Relaxed) & bit != 0) && self.map.is_some() {
            return Ok(bytes);
        }
        if !block::verifies(&bytes, offset) {
            return Err(self.damaged(offset, "a block does not verify"));
        }
        if let Some(word) = word {
            word.fetch_or(bit, Relaxed);
        }
        Ok(bytes)
    }

    /// The value of an entry of this base; `None` if it was deleted.
    pub(super) fn value_of<'a>(&'a self, held: &Held<'a>) -> Result<Option<Cow<'a, [u8]>>> {
        match held.value {
            Value::Gone { .. } => Ok(None),
            Value::Here(bytes) => Ok(Some(Cow::Borrowed(bytes))),
            Value::InBase(spot) | Value::InLog(spot) => self.value(&spot).map(Some),
        }
    }

    /// A value that lies apart (B2).
    pub(super) fn value(&self, spot: &Spot) -> Result<Cow<'_, [u8]>> {
        let end = spot.offset.saturating_add(u64::from(spot.len));
        if end > self.len {
            return Err(self.damaged(spot.offset, "a value lies behind the end"));
        }
        let bytes = self.bytes(spot.offset, spot.len)?;
        if crc32(&bytes, 0) == spot.crc {
            return Ok(bytes);
        }
        Err(self.damaged(spot.offset, "a value does not verify"))
    }

    /// Bytes within the file, as they are.
    pub(super) fn bytes(&self, offset: u64, len: u32) -> Result<Cow<'_, [u8]>> {
        let [Ok(start), Ok(len)] = [usize::try_from(offset), usize::try_from(len)] else {
            return Err(self.damaged(offset, "it is too long for this machine"));
        };
        if let Some(map) = &self.map {
            let bytes = map.get(start..start.saturating_add(len));
            return bytes
                .map(Cow::Borrowed)
                .ok_or_else(|| self.damaged(offset, "it is shorter than it says"));
        }
        let mut bytes = vec![0; len];
        let got = self.file.read_at(&mut bytes, offset);
        let got = got.map_err(|e| Error::system("read", self.path(), e).at(offset))?;
        if got < len {
            return Err(self.damaged(offset, "it is shorter than it says"));
        }
        Ok(Cow::Owned(bytes))
    }

    fn makes_no_sense(&self, nth: usize) -> Error {
        let (offset, _) = self.index.place(nth).unwrap_or_default();
        self.damaged(offset, "a block verifies and makes no sense")
    }

    fn damaged(&self, offset: u64, what: &'static str) -> Error {
        Error::new(ErrorKind::Damaged, "read base", self.path(), what).at(offset)
    }

    /// The range of keys that a block has: from the first on, below the second.
    pub(super) fn keys_of(&self, nth: usize) -> (Option<&[u8]>, Option<&[u8]>) {
        (self.index.key(nth), self.index.key(nth.saturating_add(1)))
    }

    /// Verifies every block and every value, and that keys ascend (B3). `each` gets the damage that is found, block by block, and
    /// decides whether it goes on; `progress` the bytes that were looked at.
    pub(super) fn check(
        &self,
        mut each: impl FnMut(usize, Error) -> Result<()>,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let mut page = block::Page::default();
        let mut last: Option<Vec<u8>> = None;
        for nth in 0..self.blocks() {
            if let Err(error) = self.check_block(nth, &mut page, &mut last) {
                each(nth, error)?;
            }
            let (offset, len) = self.index.place(nth).unwrap_or_default();
            progress(offset.saturating_add(u64::from(len)));
        }
        Ok(())
    }

    fn check_block(
        &self,
        nth: usize,
        page: &mut block::Page,
        last: &mut Option<Vec<u8>>,
    ) -> Result<()> {
        let (offset, len) = self.index.place(nth).unwrap_or_default();
        let bytes = self.bytes(offset, len)?;
        if !block::verifies(&bytes, offset) {
            return Err(self.damaged(offset, "a block does not verify"));
        }
        page.take(&bytes).ok_or_else(|| self.makes_no_sense(nth))?;
        for at in 0..page.len() {
            let held = page.get(&bytes, at).ok_or_else(|| self.makes_no_sense(nth))?;
            if last.as_ref().is_some_and(|last| last.as_slice() >= held.key) {
                return Err(self.damaged(offset, "its keys do not ascend"));
            }
            if let Value::InBase(spot) = held.value {
                self.value(&spot)?;
            }
            *last = Some(held.key.to_vec());
        }
        Ok(())
    }
}

#[cfg(feature = "sim")]
#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::fold::VersionToken;
    use crate::fs::{Fs as _, How};
    use crate::sim::SimFs;

    fn key(n: u32) -> Vec<u8> {
        format!("svc-{:03}/{:07}", n / 100, n % 100).into_bytes()
    }

    /// Every third value lies apart, every seventh key is deleted.
    fn value(n: u32) -> Option<Vec<u8>> {
        let len = if n.is_multiple_of(3) { 2000 } else { usize::try_from(n % 90).unwrap_or(0) };
        (!n.is_multiple_of(7)).then(|| vec![n.to_le_bytes()[0]; len])
    }

    fn write(count: u32) -> (Vec<u8>, Meta) {
        let header = Header { store_id: [3; 16], floor: 9 };
        let mut out = BaseWriter::new(Vec::new(), "base".into(), &header).unwrap();
        for (n, even) in (0..count).zip((0..).step_by(2)) {
            let (key, value) = (key(even), value(n));
            let value = value.as_deref().map_or(Value::Gone { aged: true }, Value::Here);
            out.push(&Held { key: &key, version: &n.to_be_bytes(), value }).unwrap();
        }
        out.finish(Meta { mark: VersionToken::from_u64(4), ..Meta::default() }).unwrap()
    }

    fn open(bytes: &[u8], mode: ReadMode) -> Result<Base> {
        let fs = SimFs::new(1);
        let dir = fs.open_dir(Path::new("/")).unwrap();
        let file = dir.open(OsStr::new("base"), How::CreateNew(0o600)).unwrap();
        file.write_at(bytes, 0).unwrap();
        Base::open(file, mode)
    }

    #[test]
    fn what_was_written_is_found_and_gone_through() {
        for count in [0, 1, 40, 3000] {
            let (bytes, meta) = write(count);
            for mode in [ReadMode::Map, ReadMode::Pread] {
                let base = open(&bytes, mode).unwrap();
                assert_eq!((&base.meta, base.len()), (&meta, bytes.len() as u64));
                for n in 0..count {
                    let found = base.find(&key(n * 2), |held| {
                        assert_eq!(held.version, n.to_be_bytes());
                        base.value_of(held).map(|value| value.map(Cow::into_owned))
                    });
                    assert_eq!(found.unwrap(), Some(value(n)), "{n}");
                    let between = base.find(&key(n * 2 + 1), |_| Ok(())).unwrap();
                    assert_eq!(between, None);
                }
                let all: Vec<Vec<u8>> = (0..count).map(|n| key(n * 2)).collect();
                for start in [0, 1, 999, 2 * count] {
                    let from = key(start);
                    let mut above = Vec::new();
                    let mut iter = BaseIter::new(&base, Some(&from), false).unwrap();
                    while let Some(key) = iter.key() {
                        above.push(key.to_vec());
                        iter.advance().unwrap();
                    }
                    let mut below = Vec::new();
                    let mut iter = BaseIter::new(&base, Some(&from), true).unwrap();
                    while let Some(held) = iter.held() {
                        below.push(held.key.to_vec());
                        iter.advance().unwrap();
                    }
                    below.reverse();
                    assert_eq!([below, above].concat(), all, "{start}");
                }
                base.check(|_, error| Err(error), |_| {}).unwrap();
            }
        }
    }

    #[test]
    fn no_flipped_bit_is_taken_for_data() {
        let (bytes, _) = write(40);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            let Ok(base) = open(&other, ReadMode::Map) else { continue };
            let mut damage = 0;
            base.check(
                |_, _| {
                    damage += 1;
                    Ok(())
                },
                |_| {},
            )
            .unwrap();
            assert!(damage > 0, "byte {at} of {}", bytes.len());
            for n in 0..40 {
                let found = base.find(&key(n * 2), |held| {
                    base.value_of(held).map(|value| value.map(Cow::into_owned))
                });
                if let Ok(found) = found {
                    assert_eq!(found, Some(value(n)), "byte {at}");
                }
            }
        }
        for cut in 0..bytes.len() {
            assert!(open(&bytes[..cut], ReadMode::Map).is_err(), "{cut}");
        }
    }
}
