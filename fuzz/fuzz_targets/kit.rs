//! What targets do to the files of a store.

use std::sync::Arc;

use untorn::log::{Log, LogOptions};
use untorn::sim::SimFs;

/// A file is cut by an empty change, else overwritten or grown.
pub fn changed(mut bytes: Vec<u8>, at: usize, change: &[u8]) -> Vec<u8> {
    let at = at.min(bytes.len());
    if change.is_empty() {
        bytes.truncate(at);
    } else {
        let end = (at + change.len()).min(bytes.len());
        bytes.splice(at..end, change.iter().copied());
    }
    bytes
}

/// Adds records to a log that have valid checksums; what is left of the input.
pub fn forge<'a>(sim: &SimFs, path: &str, owner: [u8; 4], input: &'a [u8]) -> &'a [u8] {
    let [count, rest @ ..] = input else { return input };
    let options = LogOptions::new().owner(owner).segment_bytes(4096).fs(Arc::new(sim.clone()));
    let (log, _) = Log::open(path, options).expect("nothing was changed yet");
    let mut rest = rest;
    for _ in 0..count % 4 {
        let [len, after @ ..] = rest else { break };
        let (record, after) = after.split_at(usize::from(*len).min(after.len()));
        log.append_synced(record).expect("there is room");
        rest = after;
    }
    rest
}
