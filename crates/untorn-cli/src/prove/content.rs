//! Content that says what it is: derived from seed, round, writer and counter, so that whoever finds it can tell whether it is whole.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Splitmix: small, seeded, good enough to choose moments and bytes.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`; 0 for 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}

/// What a piece of content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    /// The child process that wrote it.
    pub(super) round: u32,
    /// Its thread.
    pub(super) writer: u32,
    /// The thread's count, from 0 on without a gap.
    pub(super) counter: u64,
    /// Which part of a batch it is, and of how many; 0 of 1 for a single one.
    pub(super) part: u32,
    pub(super) parts: u32,
}

impl Key {
    /// Whether the record after this one shows that a batch is not whole.
    pub(super) const fn breaks_batch(&self, next: &Self) -> bool {
        let goes_on = self.part + 1 < self.parts;
        let continues = next.part == self.part + 1
            && next.parts == self.parts
            && next.writer == self.writer
            && next.round == self.round;
        (goes_on || next.part > 0) && !continues
    }
}

const MAGIC: &[u8; 8] = b"untproof";
const HEAD: usize = 48;

/// What stands in a record.
pub(super) fn record(seed: u64, key: Key) -> Vec<u8> {
    let mut rng = stream(seed, key);
    let len = match rng.below(512) {
        0 => 300 << 10, // larger than a segment: it gets one of its own
        1..8 => rng.below(20 << 10),
        _ => rng.below(400),
    };
    fill(seed, key, rng, len)
}

/// What stands in a file.
pub(super) fn file(seed: u64, key: Key) -> Vec<u8> {
    let mut rng = stream(seed, key);
    let len = match rng.below(32) {
        0 => 1 << 20,
        1..8 => rng.below(64 << 10),
        _ => rng.below(4 << 10),
    };
    fill(seed, key, rng, len)
}

/// Bytes of a piece of the chunked file; the last one is shorter.
const PIECE: u64 = 32 << 10;
/// Pieces of the chunked file.
pub(super) const PIECES: u32 = 80;
/// Bytes of the chunked file.
pub(super) const PIECES_LEN: u64 = PIECE * 79 + 20_001;

/// Where a piece of the chunked file stands.
pub(super) fn piece_range(piece: u32) -> Range<u64> {
    let start = u64::from(piece) * PIECE;
    start..(start + PIECE).min(PIECES_LEN.max(start))
}

/// The first half of a piece of the chunked file; the second one begins where it ends.
pub(super) fn half(piece: u32) -> Range<u64> {
    let Range { start, end } = piece_range(piece);
    start..(start + PIECE / 2).min(end)
}

/// What stands in a piece of the chunked file: `counter` is its generation, `part` which piece it is, and `parts` the number of
/// the write among those of its child.
pub(super) fn piece(seed: u64, key: Key) -> Vec<u8> {
    let mut rng = stream(seed, key);
    for part in [key.part, key.parts] {
        rng = Rng::new(rng.next() ^ u64::from(part));
    }
    let range = piece_range(key.part);
    fill(seed, key, rng, (range.end - range.start).saturating_sub(HEAD as u64))
}

fn stream(seed: u64, key: Key) -> Rng {
    let mut rng = Rng::new(seed);
    for part in [u64::from(key.round), u64::from(key.writer), key.counter] {
        rng = Rng::new(rng.next() ^ part);
    }
    rng
}

fn fill(seed: u64, key: Key, mut rng: Rng, len: u64) -> Vec<u8> {
    let len = usize::try_from(len).unwrap_or(0);
    let mut bytes = Vec::with_capacity(HEAD + len + 8);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&seed.to_le_bytes());
    bytes.extend_from_slice(&key.counter.to_le_bytes());
    for part in [key.round, key.writer, key.part, key.parts] {
        bytes.extend_from_slice(&part.to_le_bytes());
    }
    bytes.extend_from_slice(&(len as u64).to_le_bytes());
    while bytes.len() < HEAD + len {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(HEAD + len);
    bytes
}

/// What `bytes` are, if they are whole: made again from what their head says, and compared.
pub(super) fn verify(
    seed: u64,
    bytes: &[u8],
    make: fn(u64, Key) -> Vec<u8>,
) -> Result<Key, String> {
    let key = head(bytes)
        .ok_or_else(|| format!("{} bytes that begin with nothing of ours", bytes.len()))?;
    let whole = make(seed, key);
    if whole == bytes {
        return Ok(key);
    }
    let same = whole.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    let (found, expected) = (bytes.len(), whole.len());
    Err(format!("{key:?}: {found} bytes instead of {expected}, wrong from byte {same} on"))
}

fn head(bytes: &[u8]) -> Option<Key> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    Some(Key {
        counter: u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?),
        round: u32_at(24)?,
        writer: u32_at(28)?,
        part: u32_at(32)?,
        parts: u32_at(36)?,
    })
}
