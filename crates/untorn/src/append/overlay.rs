//! A file as a log says that it is: with bytes over it that may not have been written yet. Read-only.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::fs::sealed::Sealed;
use crate::fs::{Ahead, File, Lock, Map, Stat, SyncSite, SyncWhat};

/// Bytes that stand over a file's own, in order and apart from each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces(Vec<(u64, Arc<[u8]>)>);

impl Pieces {
    /// Puts bytes behind all others; what was there from `at` on is gone.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.cut(at);
        if !bytes.is_empty() {
            self.0.push((at, bytes.into()));
        }
    }

    /// Forgets what there is from `at` on.
    pub(super) fn cut(&mut self, at: u64) {
        while let Some((start, bytes)) = self.0.pop_if(|(start, bytes)| end(*start, bytes) > at) {
            let keep = usize::try_from(at.saturating_sub(start)).unwrap_or(0);
            if let Some(kept) = bytes.get(..keep).filter(|kept| !kept.is_empty()) {
                self.0.push((start, kept.into()));
                break;
            }
        }
    }

    /// The piece that a byte is in, or the next one, and where that begins.
    fn at(&self, at: u64) -> Option<(u64, &[u8])> {
        let nth = self.0.partition_point(|(start, bytes)| end(*start, bytes) <= at);
        self.0.get(nth).map(|(start, bytes)| (*start, &**bytes))
    }
}

fn end(start: u64, bytes: &[u8]) -> u64 {
    start.saturating_add(bytes.len() as u64)
}

/// Says after bytes of the file were read whether they are those that were meant.
pub(super) type Guard = Arc<dyn Fn(Range<u64>) -> crate::Result<()> + Send + Sync>;

/// See the module.
pub(super) struct Overlay {
    pub(super) file: Arc<dyn File>,
    pub(super) pieces: Pieces,
    pub(super) guard: Option<Guard>,
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Overlay {
    /// Reads what the file itself has.
    fn beneath(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let got = self.file.read_at(buf, at)?;
        if let Some(guard) = &self.guard {
            guard(at..at.saturating_add(buf.len() as u64))?;
        }
        Ok(got)
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Sealed for Overlay {}

impl File for Overlay {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut at, mut done) = (offset, 0_usize);
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let next = self.pieces.at(at);
            let got = match next {
                Some((start, bytes)) if start <= at => {
                    let skip = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
                    let bytes = bytes.get(skip..).unwrap_or_default();
                    let len = bytes.len().min(rest.len());
                    if let (Some(to), Some(from)) = (rest.get_mut(..len), bytes.get(..len)) {
                        to.copy_from_slice(from);
                    }
                    len
                }
                _ => {
                    let room = next.map_or(u64::MAX, |(start, _)| start.saturating_sub(at));
                    let room = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
                    let here = rest.get_mut(..room).unwrap_or_default();
                    let got = self.beneath(here, at)?;
                    // The file may end before a piece begins: the bytes between were never written.
                    if let (true, Some(missing)) = (next.is_some(), here.get_mut(got..)) {
                        missing.fill(0);
                    }
                    if next.is_some() { room } else { got }
                }
            };
            if got == 0 {
                break;
            }
            (at, done) = (at.saturating_add(got as u64), done.saturating_add(got));
        }
        Ok(done)
    }

    fn read_nowait(&self, _buf: &mut [u8], _offset: u64) -> io::Result<Option<usize>> {
        Ok(None)
    }

    fn stat(&self) -> io::Result<Stat> {
        let mut stat = self.file.stat()?;
        if let Some((start, bytes)) = self.pieces.0.last() {
            stat.len = stat.len.max(end(*start, bytes));
        }
        Ok(stat)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        read_only()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self, _what: SyncWhat, _site: SyncSite) -> io::Result<()> {
        read_only()
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn punch(&self, _offset: u64, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn reflink_from(&self, _source: &dyn File) -> io::Result<()> {
        read_only()
    }

    fn map(&self, _len: usize) -> io::Result<Map> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map_ahead(&self, _len: usize) -> io::Result<Ahead> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn to_std(&self) -> io::Result<std::fs::File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, _lock: Lock) -> io::Result<bool> {
        Ok(false)
    }

    fn set_mode(&self, _mode: u32) -> io::Result<()> {
        read_only()
    }

    fn set_owner(&self, _uid: u32, _gid: u32) -> io::Result<()> {
        read_only()
    }

    fn xattrs(&self) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        self.file.xattrs()
    }

    fn set_xattr(&self, _name: &OsStr, _value: &[u8]) -> io::Result<()> {
        read_only()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_where_new_ones_begin() {
        let mut pieces = Pieces::default();
        pieces.put(10, b"abcd");
        pieces.put(14, b"efgh");
        pieces.put(20, b"xyz");
        pieces.put(12, b"CD");
        let all: Vec<(u64, Vec<u8>)> = pieces.0.iter().map(|(at, b)| (*at, b.to_vec())).collect();
        assert_eq!(all, [(10, b"ab".to_vec()), (12, b"CD".to_vec())]);
        pieces.cut(10);
        assert!(pieces.0.is_empty());
    }

    #[test]
    fn a_file_is_read_with_what_stands_over_it() {
        use crate::fs::{Fs as _, How, OsFs};
        let dir = tempfile::tempdir().unwrap();
        let dir = OsFs::new().open_dir(dir.path()).unwrap();
        let file = dir.open("f".as_ref(), How::Create(0o600)).unwrap();
        file.write_at(b"0123456789", 0).unwrap();
        let mut pieces = Pieces::default();
        pieces.put(2, b"ab");
        pieces.put(8, b"cdef");
        pieces.put(14, b"gh");
        let over = Overlay { file, pieces, guard: None };
        let mut buf = [b'?'; 20];
        assert_eq!(over.read_at(&mut buf, 1).unwrap(), 15);
        assert_eq!(&buf[..15], b"1ab4567cdef\0\0gh");
        assert_eq!(over.stat().unwrap().len, 16);
        assert_eq!(over.read_at(&mut buf[..3], 9).unwrap(), 3);
        assert_eq!(&buf[..3], b"def");
    }
}
