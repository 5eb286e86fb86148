//! State machines to measure journals with. Their events are bytes: 127 of them make a record of 128.

use std::collections::BTreeMap;
use std::sync::Arc;

use untorn::codec::{Postcard, Raw};
use untorn::journal::Machine;

/// Keys are spread over so many maps.
const SHARDS: u64 = 4096;

/// A map that is cheap to capture: only what is changed afterwards is copied.
pub struct Shards(Vec<Arc<BTreeMap<u64, u64>>>);

impl Shards {
    /// Keys from 0 on.
    pub fn with(keys: u64) -> Self {
        let shard = |n| Arc::new((n..keys).step_by(SHARDS as usize).map(|key| (key, 0)).collect());
        Self((0..SHARDS).map(shard).collect())
    }

    pub fn get(&self, key: u64) -> Option<u64> {
        self.0[(key % SHARDS) as usize].get(&key).copied()
    }
}

/// An event of `len` bytes that adds 1 to a key.
pub fn event(key: u64, len: usize) -> Vec<u8> {
    let mut bytes = crate::raw::pattern(len);
    bytes[..8].copy_from_slice(&key.to_le_bytes());
    bytes
}

fn key(event: &[u8]) -> u64 {
    event.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A permutation of the numbers, so that keys are not met in their order.
pub fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

/// Puts them into an order without order, the same one each time.
pub fn permuted(items: &mut [u64]) {
    for last in (1..items.len()).rev() {
        items.swap(last, scattered(last as u64) as usize % (last + 1));
    }
}

impl Machine for Shards {
    type Event = Vec<u8>;
    type View = Vec<Arc<BTreeMap<u64, u64>>>;
    type EventCodec = Raw;
    type ViewCodec = Postcard;
    const NAME: &'static str = "shards";
    const VERSION: u32 = 1;

    fn apply(&mut self, _seq: u64, event: &Vec<u8>) {
        let key = key(event);
        let shard = Arc::make_mut(&mut self.0[(key % SHARDS) as usize]);
        *shard.entry(key).or_insert(0) += 1;
    }

    fn capture(&self) -> Self::View {
        self.0.clone()
    }

    fn restore(view: Self::View) -> Result<Self, String> {
        if view.len() as u64 == SHARDS { Ok(Self(view)) } else { Err("wrong shards".to_owned()) }
    }
}

/// Many bytes that do not change, and the number of events.
pub struct Blob(pub Vec<u8>);

impl Machine for Blob {
    type Event = Vec<u8>;
    type View = Vec<u8>;
    type EventCodec = Raw;
    type ViewCodec = Raw;
    const NAME: &'static str = "blob";
    const VERSION: u32 = 1;

    fn apply(&mut self, seq: u64, _event: &Vec<u8>) {
        self.0[..8].copy_from_slice(&seq.to_le_bytes());
    }

    fn capture(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn restore(view: Vec<u8>) -> Result<Self, String> {
        Ok(Self(view))
    }
}
