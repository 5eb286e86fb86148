//! New keys: uuid v7, from the seam's clock and entropy, so that a run replays.

use uuid::Uuid;

use crate::fs::Fs;
use crate::sync::{Mutex, lock};

/// Entropy is drawn once; what follows is counted on from it. Keys must differ, not be hard to guess.
pub(super) struct Keys {
    state: Mutex<[u64; 2]>,
}

impl Keys {
    pub(super) fn new(fs: &dyn Fs) -> Self {
        let mut seed = [0; 16];
        if fs.entropy(&mut seed).is_err() {
            // Keys carry the millisecond, too; with the process and the nanosecond they differ well enough.
            let nanos = fs.now().as_nanos() ^ (u128::from(std::process::id()) << 64);
            seed = nanos.to_le_bytes();
        }
        let [low, high] = [seed.first_chunk(), seed.last_chunk()]
            .map(|half| half.map_or(1, |half| u64::from_le_bytes(*half)));
        Self { state: Mutex::new([low, high]) }
    }

    pub(super) fn draw(&self, fs: &dyn Fs) -> Uuid {
        let mut state = lock(&self.state);
        let [low, high] = &mut *state;
        *low = low.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // Two streams whose steps are odd and differ: a pair of states comes back after 2^64 keys.
        *high = high.wrapping_add(0xd1b5_4a32_d192_ed03);
        let (a, b) = (mix(*low), mix(*high));
        drop(state);
        let mut random = [0; 10];
        let bytes = a.to_le_bytes().into_iter().chain(b.to_le_bytes());
        random.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let millis = u64::try_from(fs.now().as_millis()).unwrap_or(u64::MAX);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
