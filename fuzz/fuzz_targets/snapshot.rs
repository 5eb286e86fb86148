//! Any bytes as a snapshot, and whole ones changed at will: a typed error or a value, never a panic. What is loaded is saved and
//! loaded again.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use untorn::codec::Raw;
use untorn::sim::SimFs;
use untorn::snapshot::{
    Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotOptions, SnapshotWriter,
};

const PATH: &str = "/state";

fn options(sim: &SimFs) -> SnapshotOptions<Vec<u8>, Raw> {
    SnapshotOptions::with_codec(Raw).version(4).fs(Arc::new(sim.clone()))
}

fn save(sim: &SimFs, layout: Layout, payload: &Vec<u8>) {
    let mut writer =
        SnapshotFsWriter::with(PATH, options(sim).layout(layout)).expect("an empty disk takes it");
    writer.write(payload).expect("there is room");
    writer.close().expect("there is room");
}

/// Loads in every way. Returns the payload, if all ways agree that there is one.
fn load(sim: &SimFs) -> Option<Vec<u8>> {
    let mut loader = SnapshotFsLoader::with(PATH, options(sim));
    let loaded = loader.load();
    let bytes = loader.load_bytes().ok().flatten();
    let verified = loader.verify();
    assert_eq!(verified.is_ok(), bytes.is_some(), "one way to verify");
    if verified.is_ok() {
        assert_eq!(
            loader.info().expect("what verifies has good headers"),
            verified.expect("it does")
        );
    }
    let loaded = loaded.ok().flatten()?;
    assert_eq!(bytes.expect("what decodes verifies").as_bytes(), loaded);
    Some(loaded)
}

// The first byte says what to begin with: nothing, or a whole snapshot of one of the layouts. The rest are bytes; or changes of
// three bytes each: an offset and what is put there.
fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let sim = SimFs::new(1);
    let layout = match kind % 4 {
        0 => {
            sim.put(PATH, rest).expect("the path is there");
            None
        }
        1 => {
            // A header that is right as far as bytes alone can be, so that the blocks are reached.
            sim.put(PATH, &[&4_u32.to_le_bytes(), rest].concat()).expect("the path is there");
            None
        }
        2 => Some(Layout::Frame),
        _ => Some(Layout::Blocks),
    };
    let mut original = None;
    if let Some(layout) = layout {
        let payload = b"a payload of some bytes".to_vec();
        save(&sim, layout, &payload);
        let mut bytes = sim.read(PATH).expect("it was saved");
        let whole = bytes.clone();
        for change in rest.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
            match bytes.get_mut(at) {
                Some(byte) => *byte = change[2],
                None if change[2] & 1 == 0 => bytes.truncate(at % (bytes.len() + 1)),
                None => bytes.push(change[2]),
            }
        }
        sim.put(PATH, &bytes).expect("the path is there");
        // CRC-32 finds every change of up to three bits; what it does not find here must still be a whole snapshot.
        original = (bytes == whole).then_some(payload);
    }
    let Some(loaded) = load(&sim) else {
        assert!(original.is_none(), "unchanged and not loaded");
        return;
    };
    if let Some(original) = original {
        assert_eq!(loaded, original);
    }
    for layout in [Layout::Frame, Layout::Blocks] {
        save(&sim, layout, &loaded);
        assert_eq!(load(&sim).as_ref(), Some(&loaded));
    }
});
