//! Snapshots: each crate reads the other's, and writes the same bytes.

use std::path::PathBuf;

use actionqueue_storage::snapshot::loader as old;
use actionqueue_storage::snapshot::loader::SnapshotLoader as _;
use actionqueue_storage::snapshot::model::Snapshot;
use actionqueue_storage::snapshot::writer as old_writer;
use actionqueue_storage::snapshot::writer::SnapshotWriter as _;
use untorn::snapshot::{
    Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotWriter,
};
use untorn::{ErrorKind, Result};

use crate::files::state;

pub fn write_old(path: PathBuf, value: &Snapshot) {
    let mut writer = old_writer::SnapshotFsWriter::new(path).unwrap();
    writer.write(value).unwrap();
    writer.close().unwrap();
}

pub fn load_old(path: PathBuf) -> Option<Snapshot> {
    old::SnapshotFsLoader::new(path).load().unwrap()
}

pub fn write(path: PathBuf, value: &Snapshot) {
    let mut writer = SnapshotFsWriter::new(path).unwrap();
    writer.write(value).unwrap();
    writer.close().unwrap();
}

pub fn load(path: PathBuf) -> Result<Option<Snapshot>> {
    SnapshotFsLoader::new(path).load()
}

#[test]
fn each_reads_the_other_and_the_bytes_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for tasks in [0, 1, 7, 5000] {
        let value = state(tasks);
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        write_old(theirs.clone(), &value);
        write(ours.clone(), &value);
        assert_eq!(std::fs::read(&theirs).unwrap(), std::fs::read(&ours).unwrap());
        assert_eq!(load(theirs).unwrap().as_ref(), Some(&value));
        assert_eq!(load_old(ours), Some(value));
    }
}

#[test]
fn each_replaces_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.snap");
    write_old(path.clone(), &state(3));
    write(path.clone(), &state(2));
    assert_eq!(load_old(path.clone()), Some(state(2)));
    write_old(path.clone(), &state(1));
    assert_eq!(load(path.clone()).unwrap(), Some(state(1)));
    let names = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1, "a temporary is left over");
}

#[test]
fn what_is_told_of_its_file_without_decoding_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.snap");
    write_old(path.clone(), &state(3));
    let info = SnapshotFsLoader::<Snapshot>::new(path.clone()).verify().unwrap().unwrap();
    assert_eq!((info.layout, info.version), (Layout::Frame, 4));
    assert_eq!(info.stored_bytes, std::fs::metadata(&path).unwrap().len());
    let mut other = SnapshotFsLoader::<Snapshot>::with_version(path, 3);
    assert_eq!(other.load().unwrap_err().kind(), ErrorKind::NewerFormat);
}
