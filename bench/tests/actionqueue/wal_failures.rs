//! How the old crate loses records, and what happens here instead.

use std::path::Path;

use actionqueue_storage::wal::event::{WalEvent, WalEventType};
use actionqueue_storage::wal::fs_writer::WalFsWriter as OldWriter;
use actionqueue_storage::wal::repair::RepairPolicy;
use actionqueue_storage::wal::writer::WalWriter as _;
use untorn::codec::Postcard;
use untorn::journal::wal::{
    OldTail, OldWalOptions, WalEvent as Event, WalFsWriter, WalOptions, WalWriter as _,
    convert_old_wal,
};
use untorn::{ErrorKind, Result};

use crate::files::{append, change, event, log};

/// How many records the old crate keeps when it is opened to repair.
fn repaired(path: &Path) -> u64 {
    OldWriter::new_with_repair(path.to_path_buf(), RepairPolicy::TruncatePartial)
        .unwrap()
        .current_sequence()
}

fn convert(path: &Path) -> Result<untorn::journal::wal::ConvertReport> {
    let new = path.with_extension("new");
    let converted = convert_old_wal(path, &new, &OldWalOptions::new());
    assert_eq!(converted.is_ok(), new.exists());
    converted
}

/// Damage is refused, and nothing is changed; the old crate cuts what follows and says Ok.
fn refused_and_cut(path: &Path, kind: ErrorKind, offset: Option<u64>, kept: u64) {
    let before = std::fs::read(path).unwrap();
    let error = convert(path).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    if offset.is_some() {
        assert_eq!(error.offset(), offset);
    }
    assert_eq!(std::fs::read(path).unwrap(), before);
    assert_eq!(repaired(path), kept);
    assert!(std::fs::metadata(path).unwrap().len() < before.len() as u64);
}

#[test]
fn a_flipped_bit_in_record_11_of_1000() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.wal");
    let starts = log(&path, 1000);
    change(&path, starts[10] + 20, |bytes| bytes[0] ^= 1);
    refused_and_cut(&path, ErrorKind::Damaged, Some(starts[10]), 10);
}

#[test]
fn a_bad_length_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.wal");
    let starts = log(&path, 100);
    change(&path, starts[50] + 4, |bytes| bytes[2] = 0xff);
    refused_and_cut(&path, ErrorKind::Damaged, Some(starts[50]), 50);
}

#[test]
fn a_record_of_a_newer_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.wal");
    let starts = log(&path, 10);
    change(&path, starts[9], |bytes| bytes[0] = 6);
    refused_and_cut(&path, ErrorKind::NewerFormat, None, 9);
}

/// A crash may leave the end of the file allocated and never written.
#[test]
fn a_tail_of_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.wal");
    let starts = log(&path, 10);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.resize(bytes.len() + 4096, 0);
    std::fs::write(&path, bytes).unwrap();
    let report = convert(&path).unwrap();
    assert_eq!(report.records, 10);
    assert_eq!(report.tail, OldTail::Torn { offset: starts[10], bytes: 4096 });
    for _ in 0..2 {
        assert!(OldWriter::new(path.clone()).is_err(), "it refuses for ever");
    }
}

#[test]
fn two_writers_of_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.wal");
    let mut first = OldWriter::new(path.clone()).unwrap();
    let mut second = OldWriter::new(path.clone()).unwrap();
    append(&mut first, 1, 6);
    let pause = |n| WalEvent::new(n, WalEventType::EnginePaused { timestamp: n });
    for n in 1..=4 {
        second.append(&pause(n)).unwrap();
        second.flush().unwrap();
    }
    drop((first, second));
    // Ten were acknowledged: the second one's stand over the first one's.
    assert!(OldWriter::new(path.clone()).is_err());
    assert_eq!(repaired(&path), 4);

    let dir = dir.path().join("events");
    let open = || {
        WalFsWriter::<WalEventType, Postcard>::with(&dir, WalOptions::with_codec(Postcard))
            .map(drop)
    };
    let options = WalOptions::with_codec(Postcard);
    let mut first = WalFsWriter::<WalEventType, Postcard>::with(&dir, options).unwrap();
    first.append(&Event::new(1, event(1))).unwrap();
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Locked);
    first.flush().unwrap();
    first.close().unwrap();
    open().unwrap();
}
