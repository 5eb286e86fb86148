//! Any bytes as an old single-file log: reading ends with records in order and a verdict, or a typed error; what it gives
//! converts, and never panics.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use untorn::journal::wal::{OldTail, OldWalOptions, OldWalReader, convert_old_wal};
use untorn::sim::SimFs;

// The first byte says whether gaps are allowed, and whether checksums are put right, so that more than headers is reached.
fuzz_target!(|data: &[u8]| {
    let [flags, bytes @ ..] = data else { return };
    let mut bytes = bytes.to_vec();
    if flags & 2 != 0 {
        put_right(&mut bytes);
    }
    let sim = SimFs::new(1);
    sim.put("/old", &bytes).expect("an empty disk takes a file");
    let options = OldWalOptions::new().allow_gaps(flags & 1 != 0).fs(Arc::new(sim));
    let mut reader = OldWalReader::with("/old", &options).expect("it is a file");
    let (mut records, mut last) = (0_u64, 0);
    let ended = loop {
        match reader.next() {
            Ok(Some(record)) => {
                assert!(record.sequence > last);
                assert!(record.offset as usize + 12 + record.event.len() < bytes.len());
                (records, last) = (records + 1, record.sequence);
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    match reader.outcome() {
        OldTail::Torn { offset, bytes: rest } => {
            assert!(ended && (offset + rest) as usize == bytes.len());
        }
        OldTail::Clean => assert!(ended),
        _ => assert!(!ended),
    }
    match convert_old_wal("/old", "/new", &options) {
        Ok(report) => assert!(ended && report.records == records),
        Err(_) => assert!(!ended),
    }
});

/// Writes the checksum of each frame that its length allows.
fn put_right(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(length) = bytes.get(at + 4..at + 8) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let body = at + 12;
        let Some(payload) = bytes.get(body..body.saturating_add(length)) else { return };
        let crc = crc32fast::hash(payload).to_le_bytes();
        bytes[at + 8..body].copy_from_slice(&crc);
        at = body + length;
    }
}
