//! The old crate's log: read here, and converted.

use actionqueue_storage::wal::event::WalEventType;
use actionqueue_storage::wal::fs_writer::WalFsWriter;
use untorn::codec::Postcard;
use untorn::journal::wal::{
    OldTail, OldWalOptions, OldWalReader, WalFsReader, WalOptions, WalReader as _, convert_old_wal,
};

use crate::files::{append, event, log};

#[test]
fn its_records_are_read_with_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.wal");
    let starts = log(&path, 100);
    let mut old = OldWalReader::open(&path, 5).unwrap();
    let mut count = 0;
    while let Some(record) = old.next().unwrap() {
        count += 1;
        assert_eq!(record.sequence, count);
        assert_eq!(record.offset, starts[usize::try_from(count - 1).unwrap()]);
        assert_eq!(record.event, postcard::to_stdvec(&event(count)).unwrap());
        let decoded: WalEventType = postcard::from_bytes(record.event).unwrap();
        assert_eq!(decoded, event(count));
    }
    assert_eq!(count, 100);
    assert_eq!(*old.outcome(), OldTail::Clean);
}

#[test]
fn it_converts_and_the_events_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (path, new) = (dir.path().join("old.wal"), dir.path().join("events"));
    log(&path, 500);
    let before = std::fs::read(&path).unwrap();
    let report = convert_old_wal(&path, &new, &OldWalOptions::new()).unwrap();
    assert_eq!((report.records, &report.tail), (500, &OldTail::Clean));
    let options = WalOptions::with_codec(Postcard);
    let mut reader = WalFsReader::<WalEventType, Postcard>::with(&new, options).unwrap();
    for n in 1..=500 {
        let found = reader.read_next().unwrap().unwrap();
        assert_eq!((found.sequence(), found.event()), (n, &event(n)));
    }
    assert!(reader.read_next().unwrap().is_none());
    assert_eq!(std::fs::read(&path).unwrap(), before, "the old log is not changed");
}

#[test]
fn gaps_convert_when_they_are_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, new) = (dir.path().join("old.wal"), dir.path().join("events"));
    let mut writer = WalFsWriter::new(path.clone()).unwrap();
    append(&mut writer, 1, 10);
    append(&mut writer, 21, 30); // it takes any larger sequence
    drop(writer);
    convert_old_wal(&path, &new, &OldWalOptions::new()).unwrap_err();
    assert!(!new.exists());
    let report = convert_old_wal(&path, &new, &OldWalOptions::new().allow_gaps(true)).unwrap();
    let runs: Vec<_> = report.runs.iter().map(|r| (r.old_first, r.old_last, r.new_first)).collect();
    assert_eq!(runs, [(1, 10, 1), (21, 30, 11)]);
}

/// Killed at every byte of its last record.
#[test]
fn a_cut_last_record_is_torn_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.wal");
    let starts = log(&path, 5);
    let bytes = std::fs::read(&path).unwrap();
    for end in starts[4] + 1..starts[5] {
        std::fs::write(&path, &bytes[..usize::try_from(end).unwrap()]).unwrap();
        let mut old = OldWalReader::open(&path, 5).unwrap();
        while old.next().unwrap().is_some() {}
        assert_eq!(old.current_sequence(), 4);
        let torn = OldTail::Torn { offset: starts[4], bytes: end - starts[4] };
        assert_eq!(*old.outcome(), torn);
    }
}
