//! The bytes of the Frame layout: 12 bytes of header, then the payload, then nothing. See docs/FORMAT.md.
//!
//! # Invariants
//! - F1 The payload ends where the file ends. Version and length are in no checksum; the file's size is what they are held against.
//! - F2 No memory is taken by what a length says: it is compared with the file's size first.

use std::io;

use crate::Result;
use crate::codec::bytes::Reader;
use crate::codec::checksum::crc32;
use crate::fs::File;

use super::bytes::{damaged, read_exact, reserve};

pub(super) const HEADER: usize = 12;
/// The largest payload: its length is a u32.
pub(super) const PAYLOAD_MAX: u64 = u32::MAX as u64;
/// Bytes that are written and read at once.
const PIECE: usize = 1 << 20;

/// What stands before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) len: u32,
    pub(super) crc: u32,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields = [self.version, self.len, self.crc].map(u32::to_le_bytes);
        for (to, from) in bytes.iter_mut().zip(fields.iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self { version: reader.u32()?, len: reader.u32()?, crc: reader.u32()? })
    }
}

/// Writes a frame: room for the header, then the payload as it comes. The header comes back at the end, to be put into its
/// place by who can.
#[derive(Debug)]
pub(super) struct FrameWriter<W> {
    out: W,
    len: u64,
    crc: u32,
}

impl<W: io::Write> FrameWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&[0; HEADER])?;
        Ok(Self { out, len: 0, crc: 0 })
    }

    /// The header; the caller has seen to it that the payload is no longer than [`PAYLOAD_MAX`].
    pub(super) fn finish(self, version: u32) -> io::Result<Header> {
        let len = u32::try_from(self.len).map_err(io::Error::other)?;
        Ok(Header { version, len, crc: self.crc })
    }
}

impl<W: io::Write> io::Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = crc32(bytes, self.crc);
        self.len = self.len.saturating_add(bytes.len() as u64);
        self.out.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the header and holds its length against the size of the file.
pub(super) fn read_header(file: &dyn File, size: u64, version: u32) -> Result<Header> {
    let mut bytes = [0; HEADER];
    if size < HEADER as u64 {
        let what = format!("{size} bytes are no snapshot: its header alone has {HEADER}");
        return Err(damaged(file, 0, what));
    }
    read_exact(file, &mut bytes, 0)?;
    let Some(header) = Header::decode(&bytes) else {
        return Err(damaged(file, 0, "its header is cut"));
    };
    if header.version != version {
        let what = format!(
            "it has version {}, expected is {version}; it was written by another version of the program, or is no snapshot",
            header.version
        );
        let newer = crate::ErrorKind::NewerFormat;
        return Err(crate::Error::new(newer, "load snapshot", file.path(), what).at(0));
    }
    let len = size.saturating_sub(HEADER as u64);
    if u64::from(header.len) != len {
        let what = format!("its header speaks of {} bytes and {len} follow", header.len);
        return Err(damaged(file, 4, what));
    }
    Ok(header)
}

/// The payload, verified.
pub(super) fn load(file: &dyn File, header: Header) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    reserve(file, &mut payload, u64::from(header.len))?;
    let mut crc = 0;
    pieces(header, |len, at| {
        let start = payload.len();
        payload.resize(start.saturating_add(len), 0);
        let piece = payload.get_mut(start..).unwrap_or_default();
        read_exact(file, piece, at)?;
        crc = crc32(piece, crc);
        Ok(())
    })?;
    agree(file, header, crc).map(|()| payload)
}

/// Verifies the payload without keeping it.
pub(super) fn verify(file: &dyn File, header: Header) -> Result<()> {
    let mut piece = Vec::new();
    let mut crc = 0;
    pieces(header, |len, at| {
        piece.resize(len, 0);
        read_exact(file, &mut piece, at)?;
        crc = crc32(&piece, crc);
        Ok(())
    })?;
    agree(file, header, crc)
}

/// Length and offset of each piece of the payload in turn.
fn pieces(header: Header, mut each: impl FnMut(usize, u64) -> Result<()>) -> Result<()> {
    let (mut at, mut rest) = (HEADER as u64, u64::from(header.len));
    while rest > 0 {
        let len = usize::try_from(rest).map_or(PIECE, |rest| rest.min(PIECE));
        each(len, at)?;
        at = at.saturating_add(len as u64);
        rest = rest.saturating_sub(len as u64);
    }
    Ok(())
}

fn agree(file: &dyn File, header: Header, crc: u32) -> Result<()> {
    if crc == header.crc {
        return Ok(());
    }
    let what = format!(
        "the checksum of its payload is {crc:08x}, and {:08x} is in the header",
        header.crc
    );
    Err(damaged(file, HEADER as u64, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// The example of docs/FORMAT.md.
    #[test]
    fn golden_frame() {
        let mut bytes = Vec::new();
        let mut writer = FrameWriter::new(&mut bytes).unwrap();
        writer.write_all(b"{\"a\":").unwrap();
        writer.write_all(b"1}").unwrap();
        let header = writer.finish(4).unwrap();
        assert_eq!(bytes.len(), HEADER + 7);
        assert_eq!(bytes[..HEADER], [0; HEADER]);
        bytes[..HEADER].copy_from_slice(&header.encode());
        let golden = [
            0x04, 0, 0, 0, 0x07, 0, 0, 0, 0xaf, 0xac, 0x1b, 0x56, 0x7b, 0x22, 0x61, 0x22, 0x3a,
            0x31, 0x7d,
        ];
        assert_eq!(bytes, golden);
        assert_eq!(Header::decode(&golden), Some(header));
        assert_eq!(Header::decode(&golden[..11]), None);
    }

    #[test]
    fn pieces_of_any_size_make_the_same_frame() {
        let payload: Vec<u8> = (0..(PIECE as u64 * 2 + 77)).map(|n| n.to_le_bytes()[0]).collect();
        let mut frames = Vec::new();
        for piece in [1000, PIECE - 1, PIECE, PIECE + 1, payload.len()] {
            let mut bytes = Vec::new();
            let mut writer = FrameWriter::new(&mut bytes).unwrap();
            payload.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
            let header = writer.finish(1).unwrap();
            assert_eq!(header.crc, crc32(&payload, 0));
            assert_eq!(bytes[HEADER..], payload);
            frames.push(header);
        }
        frames.dedup();
        assert_eq!(frames.len(), 1);
    }
}
