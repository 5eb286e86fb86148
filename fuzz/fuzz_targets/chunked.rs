//! A suspended part's files changed at will, then any calls: a typed error or bytes that were written, and never a panic.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use untorn::chunked::{
    AtomicChunked, ChunkedOptions, FileOptions, FileResource, Identity, PartView, ResourceExt,
};
use untorn::sim::SimFs;
use untorn::{OnDamage, Result};

const PATH: &str = "/file";
const LEN: u64 = 9000;
const FILES: [&str; 5] = [
    "/file.part/LOCK",
    "/file.part/meta",
    "/file.part/map/META",
    "/file.part/map/0000000000000001.seg",
    "/file.part/data",
];

fn open(sim: &SimFs, on_damage: OnDamage) -> Result<AtomicChunked<FileResource>> {
    let options = ChunkedOptions::new()
        .identity(Identity::new().len(LEN).etag("\"1\""))
        .chunk_size(4096)
        .on_damage(on_damage)
        .verify_on_resume(true)
        .fs(Arc::new(sim.clone()));
    let files = FileOptions::new().fs(Arc::new(sim.clone()));
    let factory = move |path: &Path, _| FileResource::open_with(path, files.clone());
    AtomicChunked::open_with(PathBuf::from(PATH), options, factory)
}

/// A part with a chunk, and a piece of another one.
static WHOLE: LazyLock<SimFs> = LazyLock::new(|| {
    let sim = SimFs::new(1);
    let file = open(&sim, OnDamage::Refuse).expect("an empty disk takes a part");
    file.write_at(0, &[1; 4096]).expect("there is room");
    file.checkpoint().expect("there is room");
    file.write_at(6000, &[1; 500]).expect("there is room");
    file.suspend().expect("there is room");
    sim.kill()
});

// The first byte says how many changes there are, and whether the checksum of `meta` is put right. A change is: file, offset (two
// bytes), length; then so many bytes that are written there. What is left are calls of two bytes each: which one, and where.
fuzz_target!(|data: &[u8]| {
    let [flags, rest @ ..] = data else { return };
    let sim = WHOLE.kill();
    let mut rest = rest;
    for _ in 0..flags % 8 {
        let [file, low, high, len, after @ ..] = rest else { break };
        let path = FILES[usize::from(*file) % FILES.len()];
        let (change, after) = after.split_at(usize::from(*len).min(after.len()));
        let mut bytes = sim.read(path).unwrap_or_default();
        let at = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        if change.is_empty() {
            bytes.truncate(at);
        } else {
            let end = (at + change.len()).min(bytes.len());
            bytes.splice(at..end, change.iter().copied());
        }
        if path.ends_with("/meta") && flags & 8 != 0 && bytes.len() > 4 {
            let body = bytes.len() - 4;
            let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
            bytes[body..].copy_from_slice(&crc);
        }
        sim.put(path, &bytes).expect("the path is there");
        rest = after;
    }
    if let Ok(mut view) =
        PartView::open_with(PATH, &ChunkedOptions::new().fs(Arc::new(sim.clone())))
    {
        drop((view.verify(), view.ranges(), view.read_at(0, &mut [0; 100])));
    }
    for on_damage in [OnDamage::Refuse, OnDamage::Truncate] {
        if let Ok(file) = open(&sim, on_damage) {
            // A checksum finds every change of a few bits; a forged one says what it likes of bytes that are there.
            for calls in rest.chunks_exact(2) {
                call(&file, calls[0], u64::from(calls[1]) * 40);
            }
        }
    }
});

fn call(file: &AtomicChunked<FileResource>, which: u8, at: u64) {
    match which % 10 {
        0..3 => drop(file.write_at(at, &[1; 700])),
        3 => drop(file.checkpoint()),
        4 => drop(file.commit(None)),
        5 => drop(file.reactivate()),
        6 => drop(file.write_all(&vec![1; usize::try_from(at).unwrap_or(0)])),
        7 => file.fail("given up".to_owned()),
        8 => drop(file.next_gap(at, LEN)),
        _ => {
            let mut buf = [0; 300];
            let there = file.contains_range(at..at + 300);
            let read = file.read_at(at, &mut buf);
            assert!(!there || read.is_ok() || !matches!(file.len(), Some(len) if len > at));
        }
    }
}
