//! The bytes of the Blocks layout: a header, blocks of up to 1 MiB, a trailer, nothing after it. See docs/FORMAT.md.
//!
//! The journal writes and reads its snapshots through what is `pub(crate)` here.
//!
//! # Invariants
//! - B1 A block counts only in its place, in its file: its checksum is seeded with the file's salt and covers its index.
//! - B2 The trailer is the end of the file and vouches for the number and the checksums of all blocks: none is missing, none is
//!   left over.
//! - B3 No memory is taken by what a length says: a block has at most 1 MiB, and all of them no more than the file.
//! - B4 A header with a right checksum and an unknown version or flag is of a later version, never damage.

use std::io;

use crate::codec::bytes::Reader;
use crate::codec::checksum::crc32;
use crate::fs::File;
use crate::log::LogPos;
use crate::{Error, ErrorKind, Result};

use super::bytes::{LOAD, damaged, read_exact, reserve, size_of};

const MAGIC: &[u8; 8] = b"UNTORNS1";
pub(super) const VERSION: u16 = 1;
const HEADER: usize = 128;
/// Before each block's bytes.
const PREFIX: usize = 16;
const TRAILER: usize = 32;
/// The most that a block holds.
const BLOCK: usize = 1 << 20;
/// Stands where a block has its length.
const END: u32 = 0xffff_ffff;
/// The longest header of a later version that is looked at.
const LATER_HEADER_MAX: u32 = 64 << 10;

const HAS_DIGEST: u16 = 1;
const LZ4: u16 = 2;
const ZSTD: u16 = 4;

const CODEC_MAX: usize = 16;
const MACHINE_MAX: usize = 32;

/// What the header says. Zero stands for nothing in all of it but the salt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The store that it belongs to.
    pub(crate) store_id: [u8; 16],
    /// The number of the last event that it covers.
    pub(crate) seq: u64,
    /// The frame of the log that it covers last. Of a [`LogPos`] `at` is not kept and reads as 0.
    pub(crate) pos: Option<LogPos>,
    pub(crate) machine_version: u32,
    pub(crate) digest: Option<u64>,
    /// Up to 16 bytes of ASCII.
    pub(crate) codec: String,
    /// Up to 32 bytes of UTF-8.
    pub(crate) machine: String,
    /// Random and not 0: seeds the checksums of the blocks.
    pub(crate) salt: u32,
}

impl Header {
    /// The header's bytes. `None` if a name is too long or has a zero byte in it.
    pub(crate) fn encode(&self) -> Option<[u8; HEADER]> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let flags = if self.digest.is_some() { HAS_DIGEST } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&u32::try_from(HEADER).ok()?.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.seq.to_le_bytes());
        let pos = self.pos.unwrap_or(LogPos { segment: 0, frame: 0, at: 0, frame_crc: 0 });
        out.extend_from_slice(&pos.segment.to_le_bytes());
        out.extend_from_slice(&pos.frame.to_le_bytes());
        out.extend_from_slice(&pos.frame_crc.to_le_bytes());
        out.extend_from_slice(&self.machine_version.to_le_bytes());
        out.extend_from_slice(&self.digest.unwrap_or(0).to_le_bytes());
        pad(&mut out, &self.codec, CODEC_MAX)?;
        pad(&mut out, &self.machine, MACHINE_MAX)?;
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&crc32(&out, 0).to_le_bytes());
        out.try_into().ok()
    }

    fn decode(bytes: &[u8]) -> Parsed {
        let Some(fields) = Fields::of(bytes) else { return Parsed::Damaged };
        if fields.version != VERSION || fields.len as usize != HEADER {
            return Parsed::Later(fields);
        }
        if crc32(bytes.get(..HEADER - 4).unwrap_or_default(), 0) != fields.crc {
            return Parsed::Damaged;
        }
        match fields.flags {
            flags if flags & !(HAS_DIGEST | LZ4 | ZSTD) != 0 => Parsed::Flags(flags),
            flags if flags & (LZ4 | ZSTD) != 0 => Parsed::Compressed(flags),
            _ => fields.header().map_or(Parsed::Damaged, Parsed::Header),
        }
    }
}

/// Name and zeros, `len` bytes in all.
fn pad(out: &mut Vec<u8>, name: &str, len: usize) -> Option<()> {
    let zeros = len.checked_sub(name.len())?;
    if name.contains('\0') {
        return None;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend(std::iter::repeat_n(0, zeros));
    Some(())
}

/// A padded name. `None` if it is no UTF-8 or something follows the zeros.
fn unpad(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let (name, zeros) = bytes.split_at_checked(end)?;
    let zero = zeros.iter().all(|&b| b == 0);
    String::from_utf8(name.to_vec()).ok().filter(|_| zero)
}

enum Parsed {
    Header(Header),
    /// Another version or length of the header: its checksum stands elsewhere.
    Later(Fields),
    Flags(u16),
    Compressed(u16),
    Damaged,
}

/// The fields as they stand there.
struct Fields {
    version: u16,
    flags: u16,
    len: u32,
    store_id: [u8; 16],
    seq: u64,
    pos: LogPos,
    machine_version: u32,
    digest: u64,
    codec: [u8; CODEC_MAX],
    machine: [u8; MACHINE_MAX],
    salt: u32,
    crc: u32,
}

impl Fields {
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.take(MAGIC.len()).filter(|magic| magic == MAGIC)?;
        Some(Self {
            version: reader.u16()?,
            flags: reader.u16()?,
            len: reader.u32()?,
            store_id: reader.array()?,
            seq: reader.u64()?,
            pos: LogPos {
                segment: reader.u64()?,
                frame: reader.u64()?,
                at: 0,
                frame_crc: reader.u32()?,
            },
            machine_version: reader.u32()?,
            digest: reader.u64()?,
            codec: reader.array()?,
            machine: reader.array()?,
            salt: reader.u32()?,
            crc: reader.u32()?,
        })
    }

    fn header(self) -> Option<Header> {
        let zero = LogPos { segment: 0, frame: 0, at: 0, frame_crc: 0 };
        Some(Header {
            store_id: self.store_id,
            seq: self.seq,
            pos: (self.pos != zero).then_some(self.pos),
            machine_version: self.machine_version,
            digest: (self.flags & HAS_DIGEST != 0).then_some(self.digest),
            codec: unpad(&self.codec)?,
            machine: unpad(&self.machine)?,
            salt: self.salt,
        })
    }
}

/// What the trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) blocks: u32,
    /// Bytes of the payload.
    pub(crate) raw: u64,
    /// The same as they are stored, without the prefixes.
    pub(crate) stored: u64,
    /// The checksum of all blocks' checksums, in order, from the salt.
    pub(crate) crc: u32,
}

impl Totals {
    const fn none(salt: u32) -> Self {
        Self { blocks: 0, raw: 0, stored: 0, crc: salt }
    }

    fn add(&mut self, raw: u64, stored: u64, crc: u32) {
        self.blocks = self.blocks.saturating_add(1);
        self.raw = self.raw.saturating_add(raw);
        self.stored = self.stored.saturating_add(stored);
        self.crc = crc32(&crc.to_le_bytes(), self.crc);
    }

    /// The size of the whole file.
    pub(crate) fn file_bytes(&self) -> u64 {
        let prefixes = u64::from(self.blocks).saturating_mul(PREFIX as u64);
        let around = (HEADER as u64).saturating_add(TRAILER as u64);
        around.saturating_add(prefixes).saturating_add(self.stored)
    }

    fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER);
        out.extend_from_slice(&END.to_le_bytes());
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&self.raw.to_le_bytes());
        out.extend_from_slice(&self.stored.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&crc32(&out, 0).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.u32().filter(|end| *end == END)?;
        let (blocks, raw, stored) = (reader.u32()?, reader.u64()?, reader.u64()?);
        let totals = Self { blocks, raw, stored, crc: reader.u32()? };
        let right = crc32(bytes.get(..TRAILER - 4)?, 0) == reader.u32()?;
        right.then_some(totals)
    }
}

/// Writes a payload as blocks. Nothing of it counts before [`finish`](Self::finish).
///
/// `&mut W` is a writer too: hand in a reference to keep what is written to.
#[derive(Debug)]
pub(crate) struct BlocksWriter<W> {
    out: W,
    salt: u32,
    block: Vec<u8>,
    totals: Totals,
}

impl<W: io::Write> BlocksWriter<W> {
    /// Writes the header.
    pub(crate) fn new(mut out: W, header: &Header) -> io::Result<Self> {
        let Some(bytes) = header.encode() else {
            let what =
                "the name of the codec has more than 16 bytes, or that of the machine more than 32";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        out.write_all(&bytes)?;
        let salt = header.salt;
        Ok(Self { out, salt, block: Vec::new(), totals: Totals::none(salt) })
    }

    /// Writes the last block and the trailer. The caller flushes, syncs and publishes.
    pub(crate) fn finish(mut self) -> io::Result<Totals> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        self.out.write_all(&self.totals.encode())?;
        Ok(self.totals)
    }

    fn write_block(&mut self) -> io::Result<()> {
        let (Ok(len), index) = (u32::try_from(self.block.len()), self.totals.blocks) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        if index == END {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let crc = block_crc(len, len, index, &self.block, self.salt);
        let prefix = [len, len, index, crc].map(u32::to_le_bytes);
        self.out.write_all(prefix.as_flattened())?;
        self.out.write_all(&self.block)?;
        self.totals.add(u64::from(len), u64::from(len), crc);
        self.block.clear();
        Ok(())
    }
}

fn block_crc(raw: u32, stored: u32, index: u32, bytes: &[u8], salt: u32) -> u32 {
    let prefix = [raw, stored, index].map(u32::to_le_bytes);
    crc32(bytes, crc32(prefix.as_flattened(), salt))
}

impl<W: io::Write> io::Write for BlocksWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let room = BLOCK.saturating_sub(self.block.len());
            let Some((now, later)) = bytes.split_at_checked(room) else {
                self.block.extend_from_slice(bytes);
                return Ok(());
            };
            self.block.extend_from_slice(now);
            self.write_block()?;
            bytes = later;
        }
    }

    /// Nothing: a block is written when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the file begins as one of this layout does.
pub(super) fn is_blocks(file: &dyn File) -> Result<bool> {
    let mut magic = [0; MAGIC.len()];
    let read = file.read_at(&mut magic, 0).map_err(|e| Error::system(LOAD, file.path(), e))?;
    Ok(read == magic.len() && magic == *MAGIC)
}

/// Whether the header has room for a codec's name.
pub(super) fn can_name(codec: &str) -> bool {
    (1..=CODEC_MAX).contains(&codec.len()) && codec.bytes().all(|b| b.is_ascii_graphic())
}

/// Reads the header alone.
///
/// `Damaged` if it does not verify; `NewerFormat` for what a later version wrote; `Unsupported` if the blocks are compressed.
pub(crate) fn read_header(file: &dyn File) -> Result<Header> {
    let mut bytes = [0; HEADER];
    if size_of(file)? < HEADER as u64 {
        return Err(damaged(file, 0, "it is shorter than its header"));
    }
    read_exact(file, &mut bytes, 0)?;
    let newer = |what: String| Error::new(ErrorKind::NewerFormat, LOAD, file.path(), what).at(8);
    match Header::decode(&bytes) {
        Parsed::Header(header) => Ok(header),
        Parsed::Later(fields) => {
            // Where a later version has its checksum is told by the length; what does not verify there is damage.
            let len = fields.len;
            if later_verifies(file, len)? {
                let version = fields.version;
                let what = format!("it has version {version} of the layout, expected is {VERSION}");
                return Err(newer(what));
            }
            Err(damaged(file, 8, "its header does not verify"))
        }
        Parsed::Flags(flags) => Err(newer(format!("it has flags {flags:#x}, which are unknown"))),
        Parsed::Compressed(flags) => {
            let how = if flags & LZ4 != 0 { "lz4" } else { "zstd" };
            let what =
                format!("its blocks are compressed with {how}, which this version cannot read");
            Err(Error::new(ErrorKind::Unsupported, LOAD, file.path(), what).at(10))
        }
        Parsed::Damaged => Err(damaged(file, 0, "its header does not verify")),
    }
}

fn later_verifies(file: &dyn File, len: u32) -> Result<bool> {
    let size = size_of(file)?;
    if !(16..=LATER_HEADER_MAX).contains(&len) || u64::from(len) > size {
        return Ok(false);
    }
    let mut bytes = vec![0; len as usize];
    read_exact(file, &mut bytes, 0)?;
    let crc = bytes.split_off(bytes.len().saturating_sub(4));
    Ok(crc == crc32(&bytes, 0).to_le_bytes())
}

/// Reads the trailer, which says how large the payload is. It has not been compared with the blocks.
pub(super) fn read_trailer(file: &dyn File) -> Result<Totals> {
    let size = size_of(file)?;
    let at = size.saturating_sub(TRAILER as u64);
    let mut bytes = [0; TRAILER];
    let totals = if at < HEADER as u64 {
        None
    } else {
        read_exact(file, &mut bytes, at)?;
        Totals::decode(&bytes)
    };
    let Some(totals) = totals else {
        return Err(damaged(
            file,
            at,
            "it does not end with a trailer: it was cut, or something follows it",
        ));
    };
    // Held against the size at once, so that nobody trusts a length that cannot be true.
    if totals.file_bytes() != size || totals.raw != totals.stored {
        return Err(damaged(
            file,
            at,
            "its trailer speaks of another number of bytes than there are",
        ));
    }
    Ok(totals)
}

/// The header and the whole payload, verified. Takes no more memory than the file has bytes.
///
/// `Damaged` with the offset of the first block that does not verify; else as [`read_header`].
pub(crate) fn load(file: &dyn File) -> Result<(Header, Totals, Vec<u8>)> {
    let header = read_header(file)?;
    let totals = read_trailer(file)?;
    let mut payload = Vec::new();
    reserve(file, &mut payload, totals.raw)?;
    walk(file, &header, totals, |len, read| {
        let start = payload.len();
        payload.resize(start.saturating_add(len), 0);
        read(payload.get_mut(start..).unwrap_or_default())
    })?;
    Ok((header, totals, payload))
}

/// Verifies every byte, with memory for one block.
pub(crate) fn verify(file: &dyn File) -> Result<(Header, Totals)> {
    let header = read_header(file)?;
    let totals = read_trailer(file)?;
    let mut block = Vec::new();
    walk(file, &header, totals, |len, read| {
        block.resize(len, 0);
        read(&mut block)
    })?;
    Ok((header, totals))
}

/// Reads one block into the room that it was given, and verifies it there.
type ReadBlock<'a> = dyn FnMut(&mut [u8]) -> Result<()> + 'a;

/// Goes through the blocks; `room` is asked for a place for each.
fn walk(
    file: &dyn File,
    header: &Header,
    totals: Totals,
    mut room: impl FnMut(usize, &mut ReadBlock<'_>) -> Result<()>,
) -> Result<()> {
    let end = size_of(file)?.saturating_sub(TRAILER as u64);
    let mut found = Totals::none(header.salt);
    let mut at = HEADER as u64;
    while at < end {
        let bad = |what: &'static str| damaged(file, at, what);
        let mut prefix = [0; PREFIX];
        let bytes_at = at.saturating_add(PREFIX as u64);
        if bytes_at > end {
            return Err(bad("a block is cut"));
        }
        read_exact(file, &mut prefix, at)?;
        let mut reader = Reader::new(&prefix);
        let fields = (reader.u32(), reader.u32(), reader.u32(), reader.u32());
        let (Some(raw), Some(stored), Some(index), Some(crc)) = fields else {
            return Err(bad("a block is cut"));
        };
        let next = bytes_at.saturating_add(u64::from(stored));
        let len = stored as usize;
        if raw != stored || len == 0 || len > BLOCK || next > end || index != found.blocks {
            return Err(bad("the lengths or the number of a block cannot be true"));
        }
        room(len, &mut |bytes| {
            read_exact(file, bytes, bytes_at)?;
            if block_crc(raw, stored, index, bytes, header.salt) == crc {
                return Ok(());
            }
            Err(bad("a block does not verify"))
        })?;
        found.add(u64::from(raw), u64::from(stored), crc);
        at = next;
    }
    if found == totals {
        return Ok(());
    }
    Err(damaged(file, end, "its trailer does not agree with its blocks"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn header() -> Header {
        Header {
            store_id: [0; 16],
            seq: 7,
            pos: None,
            machine_version: 0,
            digest: None,
            codec: "json".to_owned(),
            machine: String::new(),
            salt: 0xa1b2_c3d4,
        }
    }

    fn file_of(header: &Header, payload: &[u8]) -> (Vec<u8>, Totals) {
        let mut bytes = Vec::new();
        let mut writer = BlocksWriter::new(&mut bytes, header).unwrap();
        writer.write_all(payload).unwrap();
        let totals = writer.finish().unwrap();
        (bytes, totals)
    }

    fn parsed(bytes: &[u8]) -> Option<Header> {
        match Header::decode(bytes) {
            Parsed::Header(header) => Some(header),
            _ => None,
        }
    }

    /// The example of docs/FORMAT.md.
    #[test]
    fn golden_blocks() {
        let (bytes, totals) = file_of(&header(), b"{\"a\":1}");
        let mut golden = b"UNTORNS1\x01\0\0\0\x80\0\0\0".to_vec();
        golden.resize(32, 0);
        golden.push(7);
        golden.resize(72, 0);
        golden.extend(b"json");
        golden.resize(120, 0);
        golden.extend([0xd4, 0xc3, 0xb2, 0xa1, 0x6f, 0x2c, 0xba, 0x44]);
        golden.extend([7, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0x4c, 0x80, 0xfb, 0xa1]);
        golden.extend(b"{\"a\":1}");
        golden.extend([0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
        golden.extend([7, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([0x82, 0xd1, 0xd7, 0x0a, 0xb5, 0x4e, 0xb1, 0x0e]);
        assert_eq!(bytes, golden);
        assert_eq!(Totals::decode(&bytes[bytes.len() - TRAILER..]), Some(totals));
        assert_eq!(totals.file_bytes(), bytes.len() as u64);
    }

    #[test]
    fn what_a_header_says_is_read_again() {
        let full = Header {
            store_id: *b"0123456789abcdef",
            pos: Some(LogPos { segment: 3, frame: 4096, at: 0, frame_crc: 9 }),
            machine_version: 2,
            digest: Some(0),
            codec: "c".repeat(CODEC_MAX),
            machine: "m".repeat(MACHINE_MAX),
            ..header()
        };
        for header in [header(), full] {
            let bytes = header.encode().unwrap();
            assert_eq!(parsed(&bytes), Some(header));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(parsed(&flipped), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        let long = Header { codec: "c".repeat(CODEC_MAX + 1), ..header() };
        let zero = Header { machine: "a\0b".to_owned(), ..header() };
        for header in [long, zero] {
            assert_eq!(header.encode(), None);
            let error = BlocksWriter::new(Vec::new(), &header).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert!(can_name("json") && can_name(&"c".repeat(CODEC_MAX)));
        assert!(!can_name("") && !can_name("two words") && !can_name(&"c".repeat(CODEC_MAX + 1)));
    }

    #[test]
    fn later_versions_and_flags_are_told_apart_from_damage() {
        let sealed = |at: usize, value: u8| {
            let mut bytes = header().encode().unwrap();
            bytes[at] = value;
            let crc = crc32(&bytes[..HEADER - 4], 0);
            bytes[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
            Header::decode(&bytes)
        };
        assert!(matches!(sealed(8, 2), Parsed::Later(_)));
        assert!(matches!(sealed(12, 64), Parsed::Later(_)));
        assert!(matches!(sealed(10, 8), Parsed::Flags(8)));
        assert!(matches!(sealed(10, 2 | 8), Parsed::Flags(10)));
        assert!(matches!(sealed(10, 2), Parsed::Compressed(LZ4)));
        assert!(matches!(sealed(11, 0x80), Parsed::Flags(0x8000)));
        assert!(matches!(sealed(76, b'x'), Parsed::Header(_)));
        assert!(matches!(sealed(80, b'x'), Parsed::Damaged), "something after the name's zeros");
    }

    #[test]
    fn pieces_of_any_size_make_the_same_blocks() {
        let payload: Vec<u8> = (0..(BLOCK as u64 * 2 + 77)).map(|n| n.to_le_bytes()[0]).collect();
        let (whole, totals) = file_of(&header(), &payload);
        assert_eq!((totals.blocks, totals.raw), (3, payload.len() as u64));
        assert_eq!(totals.file_bytes(), whole.len() as u64);
        for piece in [999, BLOCK - 1, BLOCK, BLOCK + 1] {
            let mut bytes = Vec::new();
            let mut writer = BlocksWriter::new(&mut bytes, &header()).unwrap();
            payload.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
            assert_eq!(writer.finish().unwrap(), totals);
            assert!(bytes == whole, "{piece}");
        }
        // A payload that fills its blocks exactly has no empty one at the end; none has no block at all.
        assert_eq!(file_of(&header(), &payload[..BLOCK]).1.blocks, 1);
        assert_eq!(file_of(&header(), b"").1.blocks, 0);
    }
}
