//! Objects as bytes: what is said of each, and some of them on their way to a backend in one write.

use uuid::Uuid;

use super::compress::{self, Compression};
use crate::Result;

/// The header before each object's payload; frames begin at multiples of it. docs/FORMAT.md has the table.
pub(super) const FRAME_HEADER: usize = 64;

/// What is said of an object beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// The codec of its bytes, see [`codec_id`]; 0 for bytes that came from elsewhere.
    pub codec: u16,
    /// How the bytes are compressed.
    pub compression: Compression,
    /// What the user calls its type, hashed; 0 if he does not.
    pub tag: u64,
    /// Length of the bytes before compression.
    pub raw_len: u64,
    /// What the value takes in memory, in bytes.
    pub weight: u64,
}

impl Meta {
    /// Of bytes in a codec, of a value that weighs so much; lengths and compression are filled in by [`Batch::push`].
    pub const fn new(codec: u16, tag: u64, weight: u64) -> Self {
        Self { codec, tag, weight, compression: Compression::None, raw_len: 0 }
    }
}

/// The number of a codec in the files of a pool, by its name.
pub fn codec_id(name: &str) -> u16 {
    match name {
        "json" => 1,
        "postcard" => 2,
        "raw" => 3,
        "fixed-le" => 4,
        // Of the user's own: the upper half, so that numbers given later cannot meet it.
        other => {
            let crc = crate::codec::checksum::crc32(other.as_bytes(), 0);
            let [low, high, ..] = crc.to_le_bytes();
            u16::from_le_bytes([low, high]) | 0x8000
        }
    }
}

/// An object that was read: what is said of it, and its bytes as they are stored.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Object<'b> {
    /// What is said of it.
    pub meta: Meta,
    /// Its bytes, compressed as `meta` says.
    pub bytes: &'b [u8],
}

impl<'b> Object<'b> {
    /// For a backend to hand out.
    pub const fn new(meta: Meta, bytes: &'b [u8]) -> Self {
        Self { meta, bytes }
    }
}

/// Objects that are written together. Their bytes lie as they will lie in a segment, with room for their frames' headers.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) parts: Vec<Part>,
    scratch: Vec<u8>,
}

/// Where an object lies in a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) key: Uuid,
    pub(super) meta: Meta,
    /// Where its frame begins; the payload follows its header.
    pub(super) frame: usize,
    pub(super) stored_len: usize,
}

impl Part {
    pub(super) const fn payload(&self) -> std::ops::Range<usize> {
        let start = self.frame.saturating_add(FRAME_HEADER);
        start..start.saturating_add(self.stored_len)
    }

    /// Bytes of the frame with its padding.
    pub(super) const fn framed_len(&self) -> usize {
        framed_len(self.stored_len)
    }
}

/// Bytes of a frame, with its header and padding, for a payload.
pub(super) const fn framed_len(stored_len: usize) -> usize {
    let len = stored_len.saturating_add(FRAME_HEADER);
    len.saturating_add(len.wrapping_neg() & (FRAME_HEADER - 1))
}

impl Batch {
    /// Without objects.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an object, whose bytes `encode` appends, and compresses them where that pays. After an error the batch is as before.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn push(
        &mut self,
        key: Uuid,
        meta: Meta,
        compression: Compression,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let frame = self.bytes.len();
        let start = frame.saturating_add(FRAME_HEADER);
        self.bytes.resize(start, 0);
        if let Err(e) = encode(&mut self.bytes) {
            self.bytes.truncate(frame);
            return Err(e);
        }
        let raw_len = self.bytes.len().saturating_sub(start);
        let mut meta = Meta { raw_len: raw_len as u64, compression: Compression::None, ..meta };
        let raw = self.bytes.get(start..).unwrap_or_default();
        if compress::shrink(compression, raw, &mut self.scratch) {
            self.bytes.truncate(start);
            self.bytes.extend_from_slice(&self.scratch);
            meta.compression = compression;
        }
        self.close(key, meta, frame);
        Ok(())
    }

    /// Adds an object whose bytes are compressed already, as `meta` says.
    pub fn push_stored(&mut self, key: Uuid, meta: Meta, stored: &[u8]) {
        let frame = self.bytes.len();
        self.bytes.resize(frame.saturating_add(FRAME_HEADER), 0);
        self.bytes.extend_from_slice(stored);
        self.close(key, meta, frame);
    }

    fn close(&mut self, key: Uuid, meta: Meta, frame: usize) {
        let stored_len = self.bytes.len().saturating_sub(frame).saturating_sub(FRAME_HEADER);
        self.bytes.resize(frame.saturating_add(framed_len(stored_len)), 0);
        self.parts.push(Part { key, meta, frame, stored_len });
    }

    /// The objects: key, what is said of it, its bytes as they are stored.
    pub fn objects(&self) -> impl Iterator<Item = (Uuid, Meta, &[u8])> {
        let stored = |part: &Part| self.bytes.get(part.payload()).unwrap_or_default();
        self.parts.iter().map(move |part| (part.key, part.meta, stored(part)))
    }

    /// How many objects there are.
    pub const fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of all frames.
    pub const fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Empties it; keeps the memory, but no more than `keep` bytes of it.
    pub fn clear(&mut self, keep: usize) {
        self.parts.clear();
        self.bytes.clear();
        self.bytes.shrink_to(keep);
        self.scratch.clear();
        self.scratch.shrink_to(keep);
    }
}
