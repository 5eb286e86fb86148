//! How the old crate fails, and what happens here instead. The numbers are those of the list in the design of the store.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use kithara_storage::{OpenMode, ResourceRead as _, ResourceStatus as OldStatus};
use untorn::chunked::{Atomic, AvailabilityObserver, FileResource, ResourceExt as _};
use untorn::chunked::{ResourceStatus, WaitOutcome};
use untorn::{ErrorKind, Outcome};

use crate::files::{open, open_old, plain_old, two};

#[derive(Default)]
struct Commits(AtomicU32);

impl AvailabilityObserver for Commits {
    fn on_commit(&self, _len: u64) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// 1.
#[test]
fn a_rename_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = two(&dir);

    let old = open_old(&theirs).unwrap();
    old.write_at(0, b"whole").unwrap();
    fs::create_dir(&theirs).unwrap();
    old.commit(Some(5)).unwrap_err();
    assert_eq!(old.status(), OldStatus::Committed { final_len: Some(5) }, "it says that it is");
    old.commit(Some(5)).unwrap();
    assert!(theirs.is_dir(), "Ok, and there is no file");

    let file = open(&ours).unwrap();
    let commits = Arc::new(Commits::default());
    file.observe(Arc::clone(&commits) as _);
    file.write_at(0, b"whole").unwrap();
    fs::create_dir(&ours).unwrap();
    for _ in 0..2 {
        assert_eq!(file.commit(None).unwrap_err().outcome(), Outcome::Unchanged);
        assert_eq!((file.status(), commits.0.load(SeqCst)), (ResourceStatus::Active, 0));
    }
    fs::remove_dir(&ours).unwrap();
    file.commit(None).unwrap();
    assert_eq!((fs::read(&ours).unwrap(), commits.0.load(SeqCst)), (b"whole".to_vec(), 1));
}

/// 6.
#[test]
fn a_commit_over_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = two(&dir);

    let old = open_old(&theirs).unwrap();
    old.write_at(0, &[1; 10]).unwrap();
    old.write_at(20, &[1; 10]).unwrap();
    old.commit(Some(40)).unwrap();
    let expected = [vec![1; 10], vec![0; 10], vec![1; 10], vec![0; 10]].concat();
    assert_eq!(fs::read(&theirs).unwrap(), expected, "zeros that nobody wrote are published");

    let file = open(&ours).unwrap();
    file.write_at(0, &[1; 10]).unwrap();
    file.write_at(20, &[1; 10]).unwrap();
    let error = file.commit(Some(40)).unwrap_err();
    assert_eq!((error.kind(), error.gap()), (ErrorKind::Incomplete, Some(10..20)));
    file.write_at(10, &[1; 10]).unwrap();
    assert_eq!(file.commit(Some(40)).unwrap_err().gap(), Some(30..40));
    assert!(!ours.exists());
    file.commit(None).unwrap();
    assert_eq!(fs::read(&ours).unwrap(), [1; 30]);
}

/// 7.
#[test]
fn a_commit_without_a_length() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = two(&dir);

    let old = open_old(&theirs).unwrap();
    old.write_at(0, b"eleven char").unwrap();
    old.commit(None).unwrap();
    assert_eq!(fs::metadata(&theirs).unwrap().len(), 65_536, "what it reserved is published");

    let file = open(&ours).unwrap();
    file.write_at(0, b"eleven char").unwrap();
    file.commit(None).unwrap();
    assert_eq!(fs::read(&ours).unwrap(), b"eleven char");
}

/// 8.
#[test]
fn a_read_of_what_was_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = two(&dir);
    let mut buf = [9; 50];

    let old = open_old(&theirs).unwrap();
    old.write_at(0, &[1; 100]).unwrap();
    assert!(!old.contains_range(100..130));
    assert_eq!(old.read_at(80, &mut buf).unwrap(), 50);
    assert_eq!(buf, [[1; 20].as_slice(), [0; 30].as_slice()].concat()[..], "Ok, and zeros");

    let mut buf = [9; 50];
    let file = open(&ours).unwrap();
    file.write_at(0, &[1; 100]).unwrap();
    let error = file.read_at(80, &mut buf).unwrap_err();
    assert_eq!((error.kind(), error.gap(), buf), (ErrorKind::Incomplete, Some(100..130), [9; 50]));
}

/// 9.
#[test]
fn a_file_of_somebody_else_at_the_temporary_name() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = two(&dir);

    let target = dir.path().join("theirs.tmp");
    fs::write(&target, b"a file in its own right").unwrap();
    drop(open_old(&theirs).unwrap());
    assert!(!target.exists(), "it is emptied, and then unlinked");

    let target = dir.path().join("ours.part");
    fs::write(&target, b"a file in its own right").unwrap();
    assert_eq!(open(&ours).unwrap_err().kind(), ErrorKind::NotOurs);
    assert_eq!(fs::read(&target).unwrap(), b"a file in its own right");
}

/// 10.
#[test]
fn a_symlink_at_the_temporary_name() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = two(&dir);
    let victim = dir.path().join("victim");

    fs::write(&victim, b"precious").unwrap();
    symlink(&victim, dir.path().join("theirs.tmp")).unwrap();
    let old = open_old(&theirs).unwrap();
    old.write_at(0, b"whole").unwrap();
    old.commit(Some(5)).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"whole", "what was precious is overwritten");
    assert!(theirs.is_symlink(), "and the target is a link to it");

    fs::write(&victim, b"precious").unwrap();
    symlink(&victim, dir.path().join("ours.part")).unwrap();
    assert_eq!(open(&ours).unwrap_err().kind(), ErrorKind::NotOurs);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

/// 11.
#[test]
fn a_committed_file_that_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = two(&dir);

    fs::write(&theirs, b"").unwrap();
    let old = plain_old(&theirs, OpenMode::Auto).unwrap();
    assert_eq!(old.status(), OldStatus::Active);
    assert_eq!(fs::metadata(&theirs).unwrap().len(), 65_536, "looking at it has changed it");

    open(&ours).unwrap().commit(None).unwrap();
    let file = FileResource::open(&ours).unwrap();
    assert_eq!(file.status(), ResourceStatus::Committed { final_len: Some(0) });
    assert_eq!(file.wait_range(0..1).unwrap(), WaitOutcome::Eof);
    assert_eq!(fs::metadata(&ours).unwrap().len(), 0);
}

/// 16.
#[test]
fn the_mode_of_a_file_that_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = two(&dir);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for path in [&theirs, &ours] {
        fs::write(path, b"old").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    let old = kithara_storage::Atomic::new(plain_old(&theirs, OpenMode::ReadWrite).unwrap());
    old.write_all(b"new").unwrap();
    assert_eq!(fs::read(&theirs).unwrap(), b"new");
    assert_eq!(mode(&theirs), 0o600, "others can read it no more");

    let whole = Atomic::open(ours.clone(), |path| FileResource::open(path)).unwrap();
    whole.write_all(b"new").unwrap();
    assert_eq!(fs::read(&ours).unwrap(), b"new");
    assert_eq!(mode(&ours), 0o644);
}
