//! A column of bytes in blocks, each with a checksum of its own.
//!
//! # Invariants
//! - B1 A block's sum is seeded with the store, the column and the number of the block: zeros never fit, nor does the sum of
//!   a neighbour.
//! - B2 The sum of a block that is not full is the same sum, not yet finished: it goes on where it left off.

use crate::codec::checksum::crc32;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 16 * 1024;
/// Bytes of the header before the sums, and before the ends.
pub(super) const HEADER: u64 = 64;
/// Bytes of a sum on disk.
pub(super) const SUM: u64 = 4;

/// The block that a byte is in.
pub(super) const fn block_of(at: u64) -> u64 {
    at / BLOCK
}

/// Where a block begins.
pub(super) const fn start_of(block: u64) -> u64 {
    block.saturating_mul(BLOCK)
}

/// Where a block's sum stands in the file of sums.
pub(super) const fn sum_at(block: u64) -> u64 {
    HEADER.saturating_add(block.saturating_mul(SUM))
}

/// Sums as they stand in a file and in a record.
pub(super) fn sum_bytes(sums: &[u32]) -> Vec<u8> {
    sums.iter().flat_map(|sum| sum.to_le_bytes()).collect()
}

/// What the sums of a column begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(store_id: [u8; 16], column: u32) -> Self {
        Self(crc32(&column.to_le_bytes(), crc32(&store_id, 0)))
    }

    /// The sum of nothing in this block (B1).
    pub(super) fn of(self, block: u64) -> u32 {
        crc32(&block.to_le_bytes(), self.0)
    }

    /// The sum of a block, or of its beginning (B2).
    pub(super) fn sum(self, block: u64, bytes: &[u8]) -> u32 {
        crc32(bytes, self.of(block))
    }
}

/// The sums of a column while it grows: those of the blocks that fill, and that of the one that does not yet (B2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) seed: Seed,
    /// Bytes of the column.
    pub(super) end: u64,
    /// The sum of the last block so far, which has `end % BLOCK` bytes.
    pub(super) crc: u32,
}

impl Tail {
    /// Of a column without bytes.
    pub(super) fn empty(seed: Seed) -> Self {
        Self { seed, end: 0, crc: seed.of(0) }
    }

    /// Takes more bytes, and adds the sums of the blocks that they fill.
    pub(super) fn extend(&mut self, mut bytes: &[u8], sums: &mut Vec<u32>) {
        while !bytes.is_empty() {
            let room = BLOCK.saturating_sub(self.end % BLOCK);
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(take);
            self.crc = crc32(now, self.crc);
            self.end = self.end.saturating_add(take as u64);
            bytes = later;
            if self.end.is_multiple_of(BLOCK) {
                sums.push(self.crc);
                self.crc = self.seed.of(block_of(self.end));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_make_the_same_sums_as_the_whole() {
        let bytes: Vec<u8> = (0..50_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let seed = Seed::new([7; 16], 3);
        let mut whole = (Tail::empty(seed), Vec::new());
        whole.0.extend(&bytes, &mut whole.1);
        assert_eq!(whole.1.len(), 3);
        for (block, sum) in whole.1.iter().enumerate() {
            let bytes = &bytes[block * 16_384..(block + 1) * 16_384];
            assert_eq!(*sum, seed.sum(block as u64, bytes), "block {block}");
        }
        assert_eq!(whole.0.crc, seed.sum(3, &bytes[3 * 16_384..]));
        for cut in [0, 1, 16_383, 16_384, 16_385, 40_000, 50_000] {
            let mut tail = Tail::empty(seed);
            let mut sums = Vec::new();
            tail.extend(&bytes[..cut], &mut sums);
            tail.extend(&bytes[cut..], &mut sums);
            assert_eq!((tail, &sums), (whole.0, &whole.1), "{cut}");
        }
    }

    #[test]
    fn neither_zeros_nor_a_neighbour_fit() {
        let seed = Seed::new([7; 16], 3);
        let zeros = vec![0; 16_384];
        assert_ne!(seed.sum(0, &zeros), 0);
        assert_ne!(seed.sum(0, &zeros), seed.sum(1, &zeros));
        assert_ne!(seed.sum(0, &zeros), Seed::new([7; 16], 4).sum(0, &zeros));
        assert_ne!(seed.sum(0, &zeros), Seed::new([8; 16], 3).sum(0, &zeros));
    }
}
