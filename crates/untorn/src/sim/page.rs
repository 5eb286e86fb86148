//! Pages of 4 KiB, shared by reference count, and the hash that tells images apart.
//!
//! A page that is all zeros is `None`, so that holes and prepared space cost nothing. Versions of a unit of 512 bytes
//! are kept as whole pages with a mask of the sectors that changed: the unit matters only when states are enumerated.

use std::sync::{Arc, OnceLock};

pub(super) const PAGE: usize = 4096;
pub(super) const SECTOR: usize = 512;
pub(super) const SECTORS: usize = PAGE / SECTOR;

static ZEROS: [u8; PAGE] = [0; PAGE];

/// One page of a file; `None` reads as zeros.
pub(super) type Slot = Option<Arc<Page>>;

#[derive(Debug)]
pub(super) struct Page {
    bytes: [u8; PAGE],
    hash: OnceLock<u64>,
}

impl Clone for Page {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes, hash: OnceLock::new() }
    }
}

pub(super) fn bytes(slot: &Slot) -> &[u8; PAGE] {
    slot.as_ref().map_or(&ZEROS, |page| &page.bytes)
}

pub(super) fn sector(slot: &Slot, index: usize) -> &[u8] {
    &bytes(slot)[index * SECTOR..(index + 1) * SECTOR]
}

/// The page for writing; shared ones are copied first.
pub(super) fn edit(slot: &mut Slot) -> &mut [u8; PAGE] {
    let page =
        slot.get_or_insert_with(|| Arc::new(Page { bytes: [0; PAGE], hash: OnceLock::new() }));
    let page = Arc::make_mut(page);
    page.hash = OnceLock::new();
    &mut page.bytes
}

pub(super) fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

/// Zero for a page of zeros, however it is kept.
pub(super) fn hash(slot: &Slot) -> u64 {
    let Some(page) = slot else { return 0 };
    *page.hash.get_or_init(|| {
        if all_zero(&page.bytes) { 0 } else { hash_bytes(0x5bd1_e995, &page.bytes) }
    })
}

const K: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes `word` into `state`.
pub(super) const fn mix(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_add(K).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (product ^ (product >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(27)
}

pub(super) fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut lanes = [seed ^ K, seed.wrapping_add(K), !seed, seed.rotate_left(17)];
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(8)) {
            let mut le = [0; 8];
            le.copy_from_slice(word);
            let product = (*lane ^ u64::from_le_bytes(le)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            *lane = product ^ (product >> 29);
        }
    }
    let mut hash = bytes.len() as u64;
    for lane in lanes {
        hash = mix(hash, lane);
    }
    for rest in blocks.remainder().chunks(8) {
        let mut le = [0; 8];
        le[..rest.len()].copy_from_slice(rest);
        hash = mix(hash, u64::from_le_bytes(le));
    }
    hash
}
