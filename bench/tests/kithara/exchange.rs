//! What one commits, the other reads; and neither tears what the other is at under the same name.

use std::fs;

use kithara_storage::{OpenMode, ResourceRead as _, ResourceStatus as OldStatus};
use untorn::chunked::{FileResource, ResourceExt as _, ResourceStatus, WaitOutcome};

use crate::files::{bytes, open, open_old, plain_old};

const LEN: usize = 300_000;
const PIECE: usize = 4096;

#[test]
fn committed_there_read_here() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let content = bytes(1, LEN);
    let old = open_old(&path).unwrap();
    for (n, piece) in content.chunks(PIECE).enumerate().rev() {
        old.write_at((n * PIECE) as u64, piece).unwrap();
    }
    old.commit(Some(LEN as u64)).unwrap();
    drop(old);

    let file = FileResource::open(&path).unwrap();
    assert_eq!(file.status(), ResourceStatus::Committed { final_len: Some(LEN as u64) });
    let mut read = Vec::new();
    assert_eq!(file.read_into(&mut read).unwrap(), LEN);
    assert_eq!(read, content);
    assert_eq!(&file.view().unwrap()[..], &content[..]);
    assert_eq!(file.wait_range(0..LEN as u64).unwrap(), WaitOutcome::Ready);

    // And it can be replaced here.
    let newer = open(&path).unwrap();
    newer.write_at(0, b"newer").unwrap();
    newer.commit(None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"newer");
    assert_eq!(read, content, "a reader of the old file keeps it");
    assert_eq!(file.len(), Some(LEN as u64));
}

#[test]
fn committed_here_read_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let content = bytes(2, LEN);
    let file = open(&path).unwrap();
    for (n, piece) in content.chunks(PIECE).enumerate().rev() {
        file.write_at((n * PIECE) as u64, piece).unwrap();
    }
    file.commit(None).unwrap();
    drop(file);

    let old = plain_old(&path, OpenMode::ReadOnly).unwrap();
    assert_eq!(old.status(), OldStatus::Committed { final_len: Some(LEN as u64) });
    let mut read = Vec::new();
    assert_eq!(old.read_into(&mut read).unwrap(), LEN);
    assert_eq!(read, content);
    assert!(old.contains_range(0..LEN as u64));
}

#[test]
fn both_fill_one_name_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let (theirs, ours) = (bytes(3, LEN), bytes(4, LEN / 2));
    let old = open_old(&path).unwrap();
    let file = open(&path).unwrap();
    for (n, (their, our)) in theirs.chunks(PIECE).zip(ours.chunks(PIECE / 2)).enumerate() {
        old.write_at((n * PIECE) as u64, their).unwrap();
        file.write_at((n * PIECE / 2) as u64, our).unwrap();
    }
    assert!(dir.path().join("a.tmp").is_file());
    file.commit(None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), ours);
    assert!(dir.path().join("a.tmp").is_file(), "theirs is still under way");

    old.commit(Some(LEN as u64)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), theirs, "the later one takes its place, whole");
    let mut read = Vec::new();
    file.read_into(&mut read).unwrap();
    assert_eq!(read, ours, "a reader of the earlier one keeps it");

    // The other way round.
    let (old, file) = (open_old(&path).unwrap(), open(&path).unwrap());
    old.write_at(0, &theirs).unwrap();
    file.write_at(0, &ours).unwrap();
    old.commit(Some(LEN as u64)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), theirs);
    file.commit(None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), ours);
    let mut read = vec![0; LEN];
    assert_eq!(old.read_at(0, &mut read).unwrap(), LEN);
    assert_eq!(read, theirs);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["a"], "neither leaves anything");
}
