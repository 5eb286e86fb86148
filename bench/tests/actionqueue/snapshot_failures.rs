//! How the old crate loses snapshots, and what happens here instead.

use std::path::{Path, PathBuf};

use actionqueue_storage::snapshot::model::Snapshot;
use actionqueue_storage::snapshot::writer::SnapshotFsWriter as OldWriter;
use actionqueue_storage::snapshot::writer::SnapshotWriter as _;
use untorn::ErrorKind;
use untorn::snapshot::{
    SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotOptions, SnapshotWriter,
};

use crate::files::state;
use crate::snapshots::{load, load_old, write, write_old};

fn with_a_good_one(dir: &Path) -> PathBuf {
    let path = dir.join("state.snap");
    write_old(path.clone(), &state(3));
    path
}

#[test]
fn close_without_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = with_a_good_one(dir.path());

    let writer = SnapshotFsWriter::<Snapshot>::new(path.clone()).unwrap();
    assert_eq!(writer.close().unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(load(path.clone()).unwrap(), Some(state(3)));

    let writer = OldWriter::new(path.clone()).unwrap();
    writer.close().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    assert_eq!(load_old(path.clone()), None, "its good snapshot is gone, without an error");

    // What it left is not taken for a store that is new, unless it is asked for.
    assert_eq!(load(path.clone()).unwrap_err().kind(), ErrorKind::Damaged);
    let options = SnapshotOptions::new().empty_is_none(true);
    assert_eq!(SnapshotFsLoader::<Snapshot>::with(&path, options).load().unwrap(), None);
}

#[test]
fn close_after_a_write_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let path = with_a_good_one(dir.path());
    let mut bad = state(2);
    bad.metadata.task_count = 99;
    let refuse: fn(&Snapshot) -> Result<(), String> = |s| {
        if s.metadata.task_count == s.tasks.len() as u64 { Ok(()) } else { Err("count".into()) }
    };

    let options = SnapshotOptions::new().validate(refuse);
    let mut writer = SnapshotFsWriter::with(&path, options).unwrap();
    assert_eq!(writer.write(&bad).unwrap_err().kind(), ErrorKind::Failed);
    assert_eq!(writer.close().unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(load(path.clone()).unwrap(), Some(state(3)));

    let mut writer = OldWriter::new(path.clone()).unwrap();
    writer.write(&bad).unwrap_err();
    writer.close().unwrap();
    assert_eq!(load_old(path), None, "its good snapshot is gone");
}

#[test]
fn two_writers_of_one_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = with_a_good_one(dir.path());

    let mut first = SnapshotFsWriter::new(path.clone()).unwrap();
    first.write(&state(5)).unwrap();
    let mut second = SnapshotFsWriter::new(path.clone()).unwrap();
    first.close().unwrap();
    assert_eq!(load(path.clone()).unwrap(), Some(state(5)));
    second.write(&state(6)).unwrap();
    second.close().unwrap();
    assert_eq!(load(path.clone()).unwrap(), Some(state(6)));

    let mut first = OldWriter::new(path.clone()).unwrap();
    first.write(&state(5)).unwrap();
    let mut second = OldWriter::new(path.clone()).unwrap();
    first.close().unwrap();
    assert_eq!(load_old(path.clone()), None, "it publishes what the second one emptied");
    second.write(&state(6)).unwrap();
    second.close().unwrap_err();
}

#[test]
fn a_writer_that_gives_up_beside_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = with_a_good_one(dir.path());

    let mut first = SnapshotFsWriter::new(path.clone()).unwrap();
    first.write(&state(5)).unwrap();
    drop(SnapshotFsWriter::<Snapshot>::new(path.clone()).unwrap());
    first.close().unwrap();
    assert_eq!(load(path.clone()).unwrap(), Some(state(5)));

    let mut first = OldWriter::new(path.clone()).unwrap();
    first.write(&state(6)).unwrap();
    drop(OldWriter::new(path.clone()).unwrap());
    first.close().unwrap_err();
    assert_eq!(load_old(path), Some(state(5)), "the second one unlinked the first one's bytes");
}

#[test]
fn a_shorter_second_write() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));

    let mut writer = SnapshotFsWriter::new(ours.clone()).unwrap();
    writer.write(&state(9)).unwrap();
    writer.write(&state(1)).unwrap();
    writer.close().unwrap();
    assert_eq!(load_old(ours.clone()), Some(state(1)));
    let whole = std::fs::metadata(&ours).unwrap().len();

    let mut writer = OldWriter::new(theirs.clone()).unwrap();
    writer.write(&state(9)).unwrap();
    writer.write(&state(1)).unwrap();
    writer.close().unwrap();
    assert!(std::fs::metadata(&theirs).unwrap().len() > whole, "the tail of the first is there");
    assert_eq!(load_old(theirs.clone()), Some(state(1)), "and nobody minds");
    assert_eq!(load(theirs).unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn bytes_after_the_frame() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.snap");
    write(path.clone(), &state(2));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"something else");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(load_old(path.clone()), Some(state(2)), "they are ignored");
    assert_eq!(load(path).unwrap_err().kind(), ErrorKind::Damaged);
}

/// The only test that changes the directory: all others have absolute paths.
#[test]
fn a_bare_file_name() {
    let dir = tempfile::tempdir().unwrap();
    std::env::set_current_dir(dir.path()).unwrap();
    let (theirs, ours) = (PathBuf::from("theirs.snap"), PathBuf::from("ours.snap"));

    write(ours.clone(), &state(1));
    assert_eq!(load(ours).unwrap(), Some(state(1)));

    let mut writer = OldWriter::new(theirs.clone()).unwrap();
    writer.write(&state(1)).unwrap();
    writer.close().unwrap_err();
    assert_eq!(load_old(theirs), Some(state(1)), "it fails after the rename worked");
    std::env::set_current_dir("/").unwrap();
}
