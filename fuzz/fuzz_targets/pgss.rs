//! Any bytes as a PGSS file, and as a manifest of each schema: reading ends with entries in order or a typed error; what is salvaged
//! is no less than what precedes the damage; what was read is written and read again the same.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use untorn::fold::pgss::{self, Image};
use untorn::sim::SimFs;
use untorn::{ErrorKind, OnDamage};

// The first byte says whether checksums are put right, so that more than headers is reached, and whether it is a manifest.
fuzz_target!(|data: &[u8]| {
    let [flags, bytes @ ..] = data else { return };
    let sim = SimFs::new(1);
    if flags & 1 != 0 {
        sim.put("/x/MANIFEST.json", bytes).expect("an empty disk takes a file");
        if let Ok(manifest) = untorn::artifact::read_manifest_with("/x", Arc::new(sim)) {
            assert!((1..=3).contains(&manifest.schema_version));
            assert!(manifest.files.iter().all(|file| file.path.starts_with("data/")));
        }
        return;
    }
    let mut bytes = [&b"PGSS\x02\0"[..], bytes].concat();
    if flags & 2 != 0 {
        put_right(&mut bytes);
    }
    sim.put("/f", &bytes).expect("an empty disk takes a file");
    let read = |on_damage| pgss::read_with("/f", Arc::new(sim.clone()), on_damage);
    let kept = read(OnDamage::Truncate).expect("what precedes the damage is read");
    let salvaged = read(OnDamage::Salvage).expect("what is good is read");
    assert!(salvaged.report().records >= kept.report().records);
    assert_eq!(salvaged.cursor(), kept.cursor());
    match read(OnDamage::Refuse) {
        Ok(image) => {
            assert!(image.report().holes.is_empty() && image.report() == salvaged.report());
            again(image, &sim);
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Damaged);
            assert_eq!(error.offset(), kept.report().holes.first().map(|hole| hole.start));
            assert!(!salvaged.report().holes.is_empty());
            again(salvaged, &sim);
        }
    }
});

/// Writes what was read, and reads it.
fn again(image: Image, sim: &SimFs) {
    let keys: Vec<_> = image.entries().map(|entry| entry.key.to_owned()).collect();
    assert!(keys.is_sorted_by(|a, b| a < b));
    let (cursor, before) = (image.cursor().clone(), image.clone());
    let count =
        pgss::write_entries(image.into_entries().map(Ok), &cursor, "/g", Arc::new(sim.clone()));
    assert_eq!(count.expect("it holds what it held"), keys.len() as u64);
    let after = pgss::read_with("/g", Arc::new(sim.clone()), OnDamage::Refuse);
    let after = after.expect("what was written is whole");
    assert!(after.entries().eq(before.entries()));
    assert_eq!(after.cursor().position(), cursor.position());
}

/// Writes the checksum of each record that its lengths allow.
fn put_right(bytes: &mut [u8]) {
    let mut at = 6;
    while let Some(end) = end(bytes, at) {
        let crc = crc32fast::hash(&bytes[at + 4..end]).to_le_bytes();
        bytes[at..at + 4].copy_from_slice(&crc);
        at = end;
    }
}

/// Where the record at `at` ends, if it is whole.
fn end(bytes: &[u8], at: usize) -> Option<usize> {
    let short =
        |at: usize| Some(usize::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let end = match bytes.get(at + 4)? {
        1 => {
            let value = at + 7 + short(at + 5)?;
            let len = bytes.get(value..value + 4)?.try_into().ok().map(u32::from_le_bytes)?;
            let version = value + 4 + len as usize;
            version + 1 + usize::from(*bytes.get(version)?)
        }
        2 => {
            let version = at + 7 + short(at + 5)?;
            version + 1 + usize::from(*bytes.get(version)?)
        }
        3 => at + 6 + usize::from(*bytes.get(at + 5)?),
        _ => return None,
    };
    (end <= bytes.len()).then_some(end)
}
