//! A file of objects: a segment has many, an own file one. Frames are appended whole and read one by one.
//!
//! # Invariants
//! - S1 What a read hands out was verified: header, key, length, checksum.
//! - S2 No memory is taken for a length before the file's size was held against it.
//! - S3 Bytes that were written are never changed: a segment only grows. Its owner says where.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use uuid::Uuid;

use super::batch::{FRAME_HEADER, Object, framed_len};
use super::frame::{FILE_HEADER, FileHeader, FileKind, FrameHeader, Parsed};
use crate::codec::checksum::crc32;
use crate::fs::{Dir, File, How};
use crate::{Error, ErrorKind, Result};

/// The longest object, if the options do not say.
pub(super) const MAX_OBJECT: u64 = 1 << 30;
/// The end of a segment's name.
const SEGMENT_END: &str = ".seg";
/// The end of an own file's name.
const OWN_END: &str = ".obj";
/// What is written with one call. The page cache takes larger ones in larger pieces of memory, which it has to find first: up to
/// ten times as slow, measured on ext4.
const WRITE: usize = 64 << 10;
/// Bytes that a scan reads at once.
const PIECE: usize = 1 << 20;

/// The file of segment `number`.
pub(super) fn segment_name(number: u64) -> OsString {
    format!("{number:016x}{SEGMENT_END}").into()
}

/// The number in the name of a segment; only what [`segment_name`] writes.
pub(super) fn segment_number(name: &OsStr) -> Option<u64> {
    let number = u64::from_str_radix(name.to_str()?.strip_suffix(SEGMENT_END)?, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

/// The own file of an object.
pub(super) fn own_name(key: Uuid) -> OsString {
    format!("{}{OWN_END}", key.simple()).into()
}

/// The key in the name of an own file; only what [`own_name`] writes.
pub(super) fn own_key(name: &OsStr) -> Option<Uuid> {
    let key = Uuid::try_parse(name.to_str()?.strip_suffix(OWN_END)?).ok()?;
    (own_name(key) == name).then_some(key)
}

/// A segment, or an own file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: FileHeader,
    pub(super) file: Arc<dyn File>,
    /// The file has at least so many bytes.
    len: AtomicU64,
    tainted: AtomicBool,
}

impl Segment {
    /// Makes the file, which must not exist, with its header. Nothing is synced. After an error there may be a file without one.
    pub(super) fn create(dir: &dyn Dir, name: &OsStr, header: FileHeader) -> Result<Self> {
        let file = dir.open(name, How::CreateNew(0o600));
        let file = file.map_err(|e| Error::system("create", &dir.path().join(name), e))?;
        let written = file.write_at(&header.encode(), 0);
        written.map_err(|e| Error::system("write", file.path(), e).at(0))?;
        Ok(Self::of(header, file))
    }

    fn of(header: FileHeader, file: Arc<dyn File>) -> Self {
        let len = AtomicU64::new(FILE_HEADER as u64);
        Self { header, file, len, tainted: AtomicBool::new(false) }
    }

    /// A sync of the inode failed: a later one that succeeds proves nothing.
    pub(super) fn taint(&self) {
        self.tainted.store(true, Relaxed);
    }

    pub(super) fn is_tainted(&self) -> bool {
        self.tainted.load(Relaxed)
    }

    /// Takes a file that is there; `NotOurs` without the magic, `Damaged` if the header does not verify.
    pub(super) fn open(file: Arc<dyn File>) -> Result<Self> {
        let mut bytes = [0; FILE_HEADER];
        let got = file.read_at(&mut bytes, 0);
        let got = got.map_err(|e| Error::system("read", file.path(), e).at(0))?;
        let bytes = bytes.get(..got).unwrap_or_default();
        let refuse = |kind, what: &'static str| Error::new(kind, "open", file.path(), what).at(0);
        match FileHeader::decode(bytes) {
            Parsed::Valid(header) => Ok(Self::of(header, file)),
            Parsed::Newer => {
                let what = "it was written by a later version; update this program";
                Err(refuse(ErrorKind::NewerFormat, what))
            }
            Parsed::Invalid if FileHeader::has_magic(bytes) => {
                Err(refuse(ErrorKind::Damaged, "the header of the file does not verify"))
            }
            Parsed::Invalid => {
                Err(refuse(ErrorKind::NotOurs, "it does not begin as a file of a pool does"))
            }
        }
    }

    /// As [`open`](Self::open), and it must be this segment of this store.
    pub(super) fn open_segment(
        dir: &dyn Dir,
        number: u64,
        store_id: [u8; 16],
        how: How,
    ) -> Result<Self> {
        let this = Self::open(opened(dir, &segment_name(number), how)?)?;
        let header = FileHeader::segment(store_id, number, this.header.salt);
        this.expect(header, "it is a segment of another path, or has another one's name")
    }

    /// As [`open`](Self::open), and it must be the own file of this object.
    pub(super) fn open_own(dir: &dyn Dir, key: Uuid) -> Result<Self> {
        let this = Self::open(opened(dir, &own_name(key), How::Read)?)?;
        this.expect(FileHeader::own(key), "it is the file of another object")
    }

    fn expect(self, header: FileHeader, what: &'static str) -> Result<Self> {
        if self.header == header {
            return Ok(self);
        }
        Err(Error::new(ErrorKind::Damaged, "open", self.file.path(), what).at(0))
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes sealed frames. After an error any part of them may be there, and nothing may be written behind `at` any more.
    pub(super) fn append(&self, sealed: &[u8], at: u64) -> Result<()> {
        let mut offset = at;
        for piece in sealed.chunks(WRITE) {
            let written = self.file.write_at(piece, offset);
            written.map_err(|e| Error::system("write", self.path(), e).at(offset))?;
            offset = offset.saturating_add(piece.len() as u64);
        }
        self.len.fetch_max(at.saturating_add(sealed.len() as u64), Relaxed);
        Ok(())
    }

    /// The file's size, as far as it matters for `end`.
    fn has(&self, end: u64) -> Result<bool> {
        if end <= self.len.load(Relaxed) {
            return Ok(true);
        }
        let stat = self.file.stat().map_err(|e| Error::system("look at", self.path(), e))?;
        self.len.fetch_max(stat.len, Relaxed);
        Ok(end <= stat.len)
    }

    /// Reads an object with one call, and verifies it. `buf` is working memory: bytes in it that are not the object's stay.
    pub(super) fn read<'b>(
        &self,
        at: u64,
        stored_len: u64,
        key: Uuid,
        buf: &'b mut Vec<u8>,
    ) -> Result<Object<'b>> {
        let full = |file: &dyn File, buf: &mut [u8], at| file.read_at(buf, at).map(Some);
        match self.read_with(at, stored_len, key, buf, full)? {
            Some(object) => Ok(object),
            // A full read answers.
            None => Err(self.damaged(at, key, "it was not read")),
        }
    }

    /// As [`read`](Self::read), by a call that may say that it would wait, with `None`, or may read less.
    pub(super) fn read_with<'b>(
        &self,
        at: u64,
        stored_len: u64,
        key: Uuid,
        buf: &'b mut Vec<u8>,
        read: impl FnOnce(&dyn File, &mut [u8], u64) -> io::Result<Option<usize>>,
    ) -> Result<Option<Object<'b>>> {
        let len = stored_len.saturating_add(FRAME_HEADER as u64);
        if !self.has(at.saturating_add(len))? {
            return Err(self.damaged(at, key, "the file ends before it does"));
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let more = len.saturating_sub(buf.len());
        if buf.try_reserve(more).is_err() {
            let what = format!("no memory for the {stored_len} bytes of object {key}");
            return Err(Error::new(ErrorKind::TooLarge, "read", self.path(), what).at(at));
        }
        // What is there already need not be zeroed.
        buf.resize(buf.len().max(len), 0);
        let frame = buf.get_mut(..len).unwrap_or_default();
        let got = read(&*self.file, frame, at);
        match got.map_err(|e| Error::system("read", self.path(), e).at(at))? {
            None => Ok(None),
            Some(got) => {
                let frame = buf.get(..len.min(got)).unwrap_or_default();
                self.parse(at, stored_len, key, frame).map(Some)
            }
        }
    }

    /// Verifies a frame that was read.
    fn parse<'b>(
        &self,
        at: u64,
        stored_len: u64,
        key: Uuid,
        frame: &'b [u8],
    ) -> Result<Object<'b>> {
        let bad = |what| Err(self.damaged(at, key, what));
        let Some((header, payload)) = frame.split_at_checked(FRAME_HEADER) else {
            return bad("the file ends before it does");
        };
        let header = match FrameHeader::decode(header, self.header.salt) {
            Parsed::Valid(header) => header,
            Parsed::Newer => return Err(self.newer(at)),
            Parsed::Invalid => return bad("its header does not verify"),
        };
        if header.key != key {
            return bad("another object is in its place");
        }
        if header.stored_len != stored_len || payload.len() as u64 != stored_len {
            return bad("its length is another one");
        }
        if crc32(payload, self.header.salt) != header.seeded {
            return bad("its bytes do not verify");
        }
        Ok(Object::new(header.meta, payload))
    }

    #[cold]
    fn damaged(&self, at: u64, key: Uuid, what: &str) -> Error {
        let what = format!("object {key} is damaged: {what}");
        Error::new(ErrorKind::Damaged, "read", self.path(), what).at(at)
    }

    #[cold]
    fn newer(&self, at: u64) -> Error {
        let what = "an object was written by a later version; update this program";
        Error::new(ErrorKind::NewerFormat, "read", self.path(), what).at(at)
    }

    /// Finds every header that verifies, wherever it is, and says whether its object does. Believes no length: after an object that
    /// does not verify it goes on behind its header. `progress` gets the bytes that were gone over.
    pub(super) fn scan(
        &self,
        max_object: u64,
        progress: &mut dyn FnMut(u64),
        each: &mut dyn FnMut(Scanned) -> Result<()>,
    ) -> Result<()> {
        let stat = self.file.stat().map_err(|e| Error::system("look at", self.path(), e))?;
        let end = match self.header.kind {
            FileKind::Segment => stat.len,
            // There is one, behind the header.
            FileKind::Own => stat.len.min((FILE_HEADER as u64).saturating_add(1)),
        };
        let mut window = Vec::new();
        let (mut from, mut at) = (0_u64, FILE_HEADER as u64);
        while at < end {
            let skip = usize::try_from(at.saturating_sub(from)).unwrap_or(usize::MAX);
            let Some(bytes) = window.get(skip..).filter(|w: &&[u8]| w.len() >= FRAME_HEADER) else {
                let len = piece(stat.len.saturating_sub(at));
                window.resize(len, 0);
                let got = self.fetch(&mut window, at)?;
                window.truncate(got);
                from = at;
                progress(at);
                if got < FRAME_HEADER {
                    break;
                }
                continue;
            };
            at = match FrameHeader::decode(bytes, self.header.salt) {
                Parsed::Newer => return Err(self.newer(at)),
                Parsed::Invalid => at.saturating_add(FRAME_HEADER as u64),
                Parsed::Valid(header) => {
                    let payload = at.saturating_add(FRAME_HEADER as u64);
                    let fits = header.stored_len <= max_object
                        && header.stored_len <= stat.len.saturating_sub(payload);
                    let crc = if fits { self.crc(payload, header.stored_len)? } else { None };
                    let sound = crc == Some(header.seeded);
                    each(Scanned { at, header, sound })?;
                    let framed = usize::try_from(header.stored_len).map_or(0, framed_len);
                    at.saturating_add(if sound { framed } else { FRAME_HEADER } as u64)
                }
            };
        }
        progress(stat.len);
        Ok(())
    }

    /// The seeded checksum of bytes of the file; `None` if it ends before.
    fn crc(&self, mut at: u64, len: u64) -> Result<Option<u32>> {
        let (end, mut crc) = (at.saturating_add(len), self.header.salt);
        let mut bytes = vec![0; piece(len)];
        while at < end {
            let want = piece(end.saturating_sub(at)).min(bytes.len());
            let part = bytes.get_mut(..want).unwrap_or_default();
            let got = self.fetch(part, at)?;
            if got < want {
                return Ok(None);
            }
            crc = crc32(part, crc);
            at = at.saturating_add(got as u64);
        }
        Ok(Some(crc))
    }

    fn fetch(&self, buf: &mut [u8], at: u64) -> Result<usize> {
        self.file.read_at(buf, at).map_err(|e| Error::system("read", self.path(), e).at(at))
    }
}

/// A header that a scan found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanned {
    /// Where its frame begins.
    pub(super) at: u64,
    pub(super) header: FrameHeader,
    /// Whether the payload fits it.
    pub(super) sound: bool,
}

fn piece(len: u64) -> usize {
    usize::try_from(len).unwrap_or(PIECE).min(PIECE)
}

fn opened(dir: &dyn Dir, name: &OsStr, how: How) -> Result<Arc<dyn File>> {
    dir.open(name, how).map_err(|e| Error::system("open", &dir.path().join(name), e))
}

#[cfg(feature = "sim")]
#[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Fs;
    use crate::pool::Meta;
    use crate::pool::batch::Batch;
    use crate::sim::SimFs;

    fn key(n: usize) -> Uuid {
        Uuid::from_u128(n as u128 + 1)
    }

    fn body(n: usize) -> Vec<u8> {
        (0..n * 100).map(|at| u8::try_from((at + n) % 251).unwrap()).collect()
    }

    /// A segment of five objects, and where they are.
    fn segment(fs: &SimFs) -> (Arc<dyn Dir>, Segment, Vec<u64>) {
        let dir = fs.open_dir(Path::new("/")).unwrap();
        let header = FileHeader::segment([3; 16], 9, 77);
        let segment = Segment::create(&*dir, &segment_name(9), header).unwrap();
        let mut batch = Batch::new();
        let (mut places, mut at) = (Vec::new(), 64);
        for n in 0..5 {
            batch.push_stored(key(n), Meta::new(1, 2, 3), &body(n));
            batch.seal(n, 77);
            places.push(at);
            at += framed_len(n * 100) as u64;
        }
        segment.append(batch.frames(0..5), 64).unwrap();
        (dir, segment, places)
    }

    fn scanned(segment: &Segment) -> Vec<(u64, Uuid, bool)> {
        let mut found = Vec::new();
        let each = &mut |one: Scanned| {
            assert!(!one.sound || one.header.crc(77) == crc32(&body(nth(one.header.key)), 0));
            assert_eq!(one.header.meta, Meta::new(1, 2, 3));
            found.push((one.at, one.header.key, one.sound));
            Ok(())
        };
        segment.scan(MAX_OBJECT, &mut |_| (), each).unwrap();
        found
    }

    fn nth(key: Uuid) -> usize {
        usize::try_from(key.as_u128() - 1).unwrap()
    }

    #[test]
    fn objects_come_back_and_a_scan_finds_them() {
        let fs = SimFs::new(1);
        let (dir, _, places) = segment(&fs);
        let segment = Segment::open_segment(&*dir, 9, [3; 16], How::Read).unwrap();
        let mut buf = vec![9; 130];
        for (n, at) in places.iter().enumerate() {
            let object = segment.read(*at, n as u64 * 100, key(n), &mut buf).unwrap();
            assert_eq!((object.meta, object.bytes), (Meta::new(1, 2, 3), &body(n)[..]));
        }
        let all = places.iter().enumerate().map(|(n, at)| (*at, key(n), true));
        assert_eq!(scanned(&segment), all.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_asked_for_wrongly_is_refused_with_its_offset() {
        let fs = SimFs::new(1);
        let (dir, segment, places) = segment(&fs);
        let mut buf = Vec::new();
        let at = places[2];
        for (at, len, of) in [
            (at, 200, key(3)),
            (at, 199, key(2)),
            (at, 300, key(2)),
            (at + 64, 200, key(2)),
            (at, 1 << 40, key(2)),
            (1 << 40, 200, key(2)),
            (u64::MAX, u64::MAX, key(2)),
        ] {
            let error = segment.read(at, len, of, &mut buf).unwrap_err();
            assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(at)));
            assert!(buf.capacity() < 1000);
        }
        let other = Segment::open_segment(&*dir, 9, [4; 16], How::Read).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Damaged);
        fs.put("/0000000000000001.seg", b"something else of the same kind of name").unwrap();
        let foreign = Segment::open_segment(&*dir, 1, [3; 16], How::Read).unwrap_err();
        assert_eq!(foreign.kind(), ErrorKind::NotOurs);
        let wait = |_: &dyn File, _: &mut [u8], _: u64| Ok(None);
        assert!(segment.read_with(at, 200, key(2), &mut buf, wait).unwrap().is_none());
    }

    #[test]
    fn every_flipped_bit_is_found_where_it_is() {
        let fs = SimFs::new(1);
        let (_, segment, places) = segment(&fs);
        let path = "/0000000000000009.seg";
        let mut buf = Vec::new();
        for bit in 0..(64 + 100) * 8 {
            fs.flip_bit(path, places[1] * 8 + bit).unwrap();
            let error = segment.read(places[1], 100, key(1), &mut buf).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged);
            let sound: Vec<_> = scanned(&segment).into_iter().filter(|one| one.2).collect();
            assert_eq!(sound.len(), 4, "bit {bit}");
            fs.flip_bit(path, places[1] * 8 + bit).unwrap();
        }
    }

    #[test]
    fn a_scan_of_a_cut_file_finds_what_is_whole() {
        let fs = SimFs::new(1);
        let (_, segment, places) = segment(&fs);
        let len = segment.file.stat().unwrap().len;
        for cut in (64..=len).rev() {
            segment.file.set_len(cut).unwrap();
            let ends = places.iter().enumerate().map(|(n, at)| at + 64 + n as u64 * 100);
            let whole = ends.filter(|end| *end <= cut).count();
            let found = scanned(&segment);
            assert_eq!(found.iter().filter(|one| one.2).count(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn names_are_only_what_is_written() {
        assert_eq!(segment_number(&segment_name(0xabc)), Some(0xabc));
        assert_eq!(own_key(&own_name(key(5))), Some(key(5)));
        for name in ["1.seg", "000000000000000A.seg", "+000000000000001.seg", "x", ""] {
            assert_eq!(segment_number(OsStr::new(name)), None, "{name}");
        }
        let hyphens = format!("{}.obj", key(5).hyphenated());
        let upper = format!("{}.obj", Uuid::from_u128(u128::MAX).simple()).to_uppercase();
        for name in [&hyphens, &upper, "x.obj"] {
            assert_eq!(own_key(OsStr::new(name)), None, "{name}");
        }
    }
}
