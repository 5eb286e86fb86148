//! A log's files changed at will: opening answers with a typed error or a log whose records can be read, and never panics.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use untorn::OnDamage;
use untorn::log::{Log, LogOptions, Upto};
use untorn::sim::SimFs;

const FILES: [&str; 4] = [
    "/log/META",
    "/log/0000000000000001.seg",
    "/log/0000000000000002.seg",
    "/log/0000000000000003.seg",
];

fn options(sim: &SimFs) -> LogOptions {
    LogOptions::new().segment_bytes(1024).fs(Arc::new(sim.clone()))
}

/// A log of three segments, whole.
static WHOLE: LazyLock<SimFs> = LazyLock::new(|| {
    let sim = SimFs::new(1);
    let (log, _) = Log::open("/log", options(&sim)).expect("an empty disk takes a log");
    for n in 0..12_u8 {
        log.append_synced(&[n; 160]).expect("there is room");
    }
    sim.kill()
});

// The input is a list of changes: file, offset (two bytes), length; then so many bytes that are written there.
fuzz_target!(|data: &[u8]| {
    let sim = WHOLE.kill();
    let mut rest = data;
    while let [file, low, high, len, after @ ..] = rest {
        let path = FILES[usize::from(*file) % FILES.len()];
        let (change, after) = after.split_at(usize::from(*len).min(after.len()));
        let mut bytes = sim.read(path).unwrap_or_default();
        let at = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        // A file is cut by an empty change, else overwritten or grown.
        if change.is_empty() {
            bytes.truncate(at);
        } else {
            let end = (at + change.len()).min(bytes.len());
            bytes.splice(at..end, change.iter().copied());
        }
        sim.put(path, &bytes).expect("the path is there");
        rest = after;
    }
    if let Ok(reader) = Log::open_read_only("/log", options(&sim)) {
        if let Ok(mut scan) = reader.read(reader.first_seq(), Upto::Written) {
            while let Ok(Some(_)) = scan.next() {}
        }
    }
    drop(Log::salvage("/log", &options(&sim), |_| Ok(())));
    for on_damage in [OnDamage::Refuse, OnDamage::Truncate] {
        if let Ok((log, _)) = Log::open("/log", options(&sim).on_damage(on_damage)) {
            drop(log.append_synced(b"on"));
        }
    }
});
