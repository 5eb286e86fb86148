//! What must not go wrong with a chunked file: the numbers are those of the list in docs/COMPARE.md.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use untorn::chunked::{
    Atomic, AtomicChunked, AvailabilityObserver, ChunkedOptions, Claim, CommitOptions, Expected,
    FileResource, Holes, Identity, IfExists, OnDrop, Opened, PartView, ResourceExt, ResourceStatus,
    Resume, WaitOutcome, commit_many,
};
use untorn::{ErrorKind, Outcome};

type File = AtomicChunked<FileResource>;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> untorn::Result<File> {
    AtomicChunked::open(path.to_path_buf(), |path| FileResource::open(path))
}

fn open_with(path: &Path, options: ChunkedOptions) -> untorn::Result<File> {
    AtomicChunked::open_with(path.to_path_buf(), options, |path, _| FileResource::open(path))
}

fn tagged(len: u64) -> ChunkedOptions {
    ChunkedOptions::new().identity(Identity::new().len(len).etag("\"v1\"")).chunk_size(4096)
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn kind<T: std::fmt::Debug>(result: untorn::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn one(range: std::ops::Range<u64>) -> Vec<std::ops::Range<u64>> {
    std::iter::once(range).collect()
}

#[derive(Default)]
struct Watcher {
    commits: AtomicU32,
    writes: Mutex<Vec<std::ops::Range<u64>>>,
}

impl AvailabilityObserver for Watcher {
    fn on_write(&self, range: std::ops::Range<u64>) {
        self.writes.lock().unwrap().push(range);
    }

    fn on_commit(&self, _len: u64) {
        self.commits.fetch_add(1, SeqCst);
    }
}

#[test]
fn n1_a_commit_that_cannot_rename_is_an_error_and_can_be_retried() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open(&path).unwrap();
    let watcher = Arc::new(Watcher::default());
    file.observe(Arc::clone(&watcher) as _);
    file.write_at(0, b"whole").unwrap();
    fs::create_dir(&path).unwrap();
    let error = file.commit(None).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unchanged, "{error}");
    assert_eq!((file.status(), watcher.commits.load(SeqCst)), (ResourceStatus::Active, 0));
    file.write_at(5, b"!").unwrap();
    fs::remove_dir(&path).unwrap();
    file.commit(None).unwrap();
    assert_eq!((fs::read(&path).unwrap(), watcher.commits.load(SeqCst)), (b"whole!".to_vec(), 1));
    file.commit(None).unwrap();
    assert_eq!(watcher.commits.load(SeqCst), 1);
    assert_eq!(*watcher.writes.lock().unwrap(), [0..5, 5..6]);
    assert_eq!(names(dir.path()), ["a"]);
}

#[test]
fn n2_n3_who_claims_while_another_commits_never_touches_what_was_committed() {
    let dir = dir();
    let path = dir.path().join("a");
    let (commits, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (path, commits, wrong) = (&path, &commits, &wrong);
            scope.spawn(move || {
                for round in 0..150_u8 {
                    let file = match open(path) {
                        Ok(file) => file,
                        Err(e) if e.kind() == ErrorKind::Locked => continue,
                        Err(e) => panic!("{e}"),
                    };
                    let byte = thread.wrapping_mul(60).wrapping_add(round % 60) | 1;
                    file.write_at(0, &vec![byte; 4096]).unwrap();
                    file.commit(None).unwrap();
                    commits.fetch_add(1, SeqCst);
                    let found = fs::read(path).unwrap();
                    let one = found.first().copied().unwrap_or(0);
                    if found.len() != 4096 || one == 0 || found.iter().any(|byte| *byte != one) {
                        wrong.fetch_add(1, SeqCst);
                    }
                }
            });
        }
    });
    assert!(commits.load(SeqCst) > 100);
    assert_eq!((wrong.load(SeqCst), names(dir.path())), (0, vec!["a".to_owned()]));
}

#[test]
fn n4_a_write_that_races_with_a_commit_is_in_it_or_closed() {
    let dir = dir();
    let path = dir.path().join("a");
    for _ in 0..100 {
        let file = open(&path).unwrap();
        file.write_at(0, &[1; 64]).unwrap();
        let late = std::thread::scope(|scope| {
            let late = scope.spawn(|| file.write_at(64, &[2; 64]));
            file.commit(None).unwrap();
            late.join().unwrap()
        });
        let found = fs::read(&path).unwrap();
        match late {
            Ok(()) => assert_eq!(found, [[1; 64], [2; 64]].concat()),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Closed);
                assert_eq!(found, [1; 64]);
            }
        }
        assert_eq!(names(dir.path()), ["a"]);
    }
}

#[test]
fn n6_gaps_are_never_published_as_zeros() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open(&path).unwrap();
    file.write_at(0, &[1; 10]).unwrap();
    file.write_at(20, &[1; 10]).unwrap();
    for len in [None, Some(30)] {
        let error = file.commit(len).unwrap_err();
        let facts = (error.kind(), error.gap(), error.outcome());
        assert_eq!(facts, (ErrorKind::Incomplete, Some(10..20), Outcome::Unchanged));
    }
    assert_eq!(file.commit(Some(40)).unwrap_err().gap(), Some(10..20));
    assert!(!path.exists());
    let report = file.commit_with(CommitOptions::new().final_len(32).holes(Holes::Zero)).unwrap();
    assert_eq!((report.len, report.replaced, report.syncs), (32, false, 2));
    let expected = [vec![1; 10], vec![0; 10], vec![1; 10], vec![0; 2]].concat();
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn n7_the_length_is_what_was_written_not_what_was_reserved() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open(&path).unwrap();
    file.write_at(0, b"eleven char").unwrap();
    file.commit(None).unwrap();
    assert_eq!((fs::read(&path).unwrap().len(), file.len()), (11, Some(11)));
}

#[test]
fn n8_what_was_never_written_is_not_read() {
    let dir = dir();
    let file = open(&dir.path().join("a")).unwrap();
    file.write_at(0, &[1; 100]).unwrap();
    let mut buf = [9; 50];
    let error = file.read_at(80, &mut buf).unwrap_err();
    assert_eq!((error.kind(), error.gap(), buf), (ErrorKind::Incomplete, Some(100..130), [9; 50]));
    assert_eq!(file.read_available(80, &mut buf).unwrap(), 20);
    assert_eq!(kind(file.read_into(&mut Vec::new())), ErrorKind::Incomplete);
}

#[test]
fn n9_n10_what_stands_in_the_way_is_not_ours_and_not_touched() {
    let dir = dir();
    let path = dir.path().join("a");
    let tmp = dir.path().join("a.tmp");
    fs::write(&tmp, b"of another program").unwrap();
    let part = part_of(&path);
    let victim = dir.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("data"), b"precious").unwrap();

    fs::write(&part, b"a file").unwrap();
    assert_eq!(kind(open(&path)), ErrorKind::NotOurs);
    assert_eq!(fs::read(&part).unwrap(), b"a file");
    fs::remove_file(&part).unwrap();

    symlink(&victim, &part).unwrap();
    assert_eq!(kind(open(&path)), ErrorKind::NotOurs);
    fs::remove_file(&part).unwrap();

    fs::create_dir(&part).unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(part.join("notes.txt"), b"mine").unwrap();
    assert_eq!(kind(open(&path)), ErrorKind::NotOurs);
    fs::rename(part.join("notes.txt"), part.join("data")).unwrap();
    assert_eq!(kind(open(&path)), ErrorKind::NotOurs, "a directory of someone with such a name");
    assert_eq!(names(&part), ["data"]);
    fs::remove_dir_all(&part).unwrap();

    // A link planted inside, where nobody but the owner may write, is refused too.
    drop(open_with(&path, tagged(10).on_drop(OnDrop::Keep)).unwrap());
    fs::remove_file(part.join("data")).unwrap();
    symlink(victim.join("data"), part.join("data")).unwrap();
    open_with(&path, tagged(10)).unwrap_err();
    assert_eq!(fs::read(victim.join("data")).unwrap(), b"precious");
    fs::remove_dir_all(&part).unwrap();

    let file = open(&path).unwrap();
    file.write_at(0, b"x").unwrap();
    file.commit(None).unwrap();
    assert_eq!(fs::read(&tmp).unwrap(), b"of another program");
}

#[test]
fn n11_an_empty_file_stays_an_empty_committed_file() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open(&path).unwrap();
    file.commit(None).unwrap();
    assert_eq!((file.len(), file.is_empty()), (Some(0), true));
    drop(file);
    let again = FileResource::open(&path).unwrap();
    assert_eq!(again.status(), ResourceStatus::Committed { final_len: Some(0) });
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn n12_what_was_suspended_is_gone_on_with() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open_with(&path, tagged(10_000)).unwrap();
    assert_eq!(file.opened(), Opened::Fresh);
    file.write_at(4096, &[2; 4096]).unwrap();
    file.suspend().unwrap();
    let file = open_with(&path, tagged(10_000)).unwrap();
    assert_eq!(file.opened(), Opened::Resumed { trusted: 4096, dropped: 0 });
    assert_eq!((file.ranges(), file.next_gap(0, 9000)), (one(4096..8192), Some(0..4096)));
    file.write_at(0, &[1; 4096]).unwrap();
    file.write_at(8192, &[3; 1808]).unwrap();
    let report = file.commit_with(CommitOptions::new()).unwrap();
    assert_eq!(report.syncs, 3);
    let expected = [vec![1; 4096], vec![2; 4096], vec![3; 1808]].concat();
    assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (expected, vec!["a".to_owned()]));
}

#[test]
fn n12_what_was_abandoned_or_dropped_without_a_checkpoint_is_gone() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open_with(&path, tagged(100)).unwrap();
    file.write_at(0, &[1; 50]).unwrap();
    file.checkpoint().unwrap();
    file.abandon().unwrap();
    assert_eq!(names(dir.path()), [""; 0]);
    let file = open_with(&path, tagged(100)).unwrap();
    file.write_at(0, &[1; 50]).unwrap();
    drop(file);
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn n13_a_reactivated_file_has_its_bytes_and_a_claim() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open(&path).unwrap();
    file.write_at(0, b"first life").unwrap();
    file.commit(None).unwrap();
    let view = file.view().unwrap();
    file.reactivate().unwrap();
    assert_eq!((file.ranges(), file.status()), (one(0..10), ResourceStatus::Active));
    assert_eq!(kind(open(&path)), ErrorKind::Locked);
    assert_eq!(file.wait_range(0..10).unwrap(), WaitOutcome::Ready);
    let mut buf = [0; 10];
    file.read_at(0, &mut buf).unwrap();
    assert_eq!(&buf, b"first life");
    file.write_at(0, b"later").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first life", "the target stays until the next commit");
    file.commit(None).unwrap();
    assert_eq!((fs::read(&path).unwrap(), &view[..]), (b"later life".to_vec(), &b"first life"[..]));
    file.reactivate_empty().unwrap();
    assert_eq!((file.ranges(), file.contains_range(0..1)), (vec![], false));
    drop(file);
    assert_eq!(
        (fs::read(&path).unwrap(), names(dir.path())),
        (b"later life".to_vec(), vec!["a".into()])
    );
}

#[test]
fn n16_the_mode_of_a_replaced_file_is_kept() {
    let dir = dir();
    let path = dir.path().join("a");
    fs::write(&path, b"old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let whole = Atomic::open(path.clone(), |path| FileResource::open(path)).unwrap();
    whole.write_all(b"new").unwrap();
    assert_eq!(
        (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().mode() & 0o7777),
        (b"new".to_vec(), 0o644)
    );
    let mut bytes = Vec::new();
    whole.read_into(&mut bytes).unwrap();
    assert_eq!(bytes, b"new");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let file = open(&path).unwrap();
    file.write_all(b"newer").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    file.write_all(b"newest").unwrap();
    assert_eq!(
        (fs::read(&path).unwrap(), names(dir.path())),
        (b"newest".to_vec(), vec!["a".into()])
    );
}

#[test]
fn n18_waits_are_never_ready_for_a_gap() {
    let dir = dir();
    let file = open(&dir.path().join("a")).unwrap();
    file.write_at(0, &[1; 100]).unwrap();
    let short = Duration::from_millis(1);
    assert_eq!(file.wait_range_timeout(50..150, short).unwrap(), WaitOutcome::Interrupted);
    assert_eq!(file.wait_range_timeout(50..100, short).unwrap(), WaitOutcome::Ready);
    file.commit(None).unwrap();
    assert_eq!(file.wait_range(100..101).unwrap(), WaitOutcome::Eof);
    assert_eq!(file.wait_range(50..150).unwrap(), WaitOutcome::Ready);
    let reversed = std::ops::Range { start: 5, end: 4 };
    assert_eq!(kind(file.wait_range(reversed.clone())), ErrorKind::InvalidInput);
    assert!(!file.contains_range(reversed) && file.contains_range(7..7));
}

#[test]
fn n19_n23_a_part_without_a_living_owner_is_taken_over_and_never_content() {
    let dir = dir();
    let path = dir.path().join("a");
    let part = part_of(&path);
    fs::create_dir(&part).unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(part.join("LOCK"), b"untorn-part 1\ntoken 0\npid 1\nhost x\nsince 1\n").unwrap();
    fs::write(part.join("data"), vec![7; 500]).unwrap();
    let file = open_with(&path, tagged(500)).unwrap();
    assert_eq!((file.opened(), file.ranges()), (Opened::Fresh, vec![]));
    assert!(!path.exists());
}

#[test]
fn n20_one_of_two_commits_that_may_not_replace_wins() {
    let dir = dir();
    let path = dir.path().join("a");
    let options = || ChunkedOptions::new().if_exists(IfExists::NoClobber);
    let file = open_with(&path, options()).unwrap();
    file.write_at(0, b"ours").unwrap();
    untorn::create_new(&path, b"theirs").unwrap();
    let error = file.commit(None).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::AlreadyExists, Outcome::Unchanged));
    drop(file);
    assert_eq!(kind(open_with(&path, options())), ErrorKind::AlreadyExists);
    assert_eq!(
        (fs::read(&path).unwrap(), names(dir.path())),
        (b"theirs".to_vec(), vec!["a".into()])
    );
    let claim = File::claim(path, options(), |path, _| FileResource::open(path)).unwrap();
    assert!(matches!(claim, Claim::Ready(found) if found.len() == Some(6)));
}

#[test]
fn n26_an_empty_or_cut_meta_starts_afresh() {
    let dir = dir();
    let path = dir.path().join("a");
    let meta = part_of(&path).join("meta");
    for keep in [0, 1, 20, 60] {
        let file = open_with(&path, tagged(100)).unwrap();
        file.write_at(0, &[1; 50]).unwrap();
        file.suspend().unwrap();
        let bytes = fs::read(&meta).unwrap();
        fs::write(&meta, &bytes[..keep]).unwrap();
        let file = open_with(&path, tagged(100)).unwrap();
        assert!(matches!(file.opened(), Opened::Restarted { .. }), "{keep}: {:?}", file.opened());
        assert_eq!(file.ranges(), []);
        file.abandon().unwrap();
    }
}

#[test]
fn n27_versions_of_a_remote_file_are_never_mixed() {
    let dir = dir();
    let path = dir.path().join("a");
    let begin = || {
        let file = open_with(&path, tagged(100)).unwrap();
        file.write_at(0, &[1; 50]).unwrap();
        file.suspend().unwrap();
    };
    let other = || tagged(100).identity(Identity::new().len(100).etag("\"v2\""));
    begin();
    let error = open_with(&path, other().resume(Resume::Require)).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Precondition, Outcome::Unchanged));
    let file = open_with(&path, tagged(100)).unwrap();
    assert_eq!(file.opened(), Opened::Resumed { trusted: 50, dropped: 0 }, "nothing was changed");
    drop(file);
    for options in [
        other(),
        other().resume(Resume::Always),
        tagged(100).resume(Resume::Never),
        tagged(100).identity(Identity::new().len(100).etag("W/\"v1\"")),
        tagged(100).identity(Identity::new().len(100)),
        ChunkedOptions::new(),
    ] {
        begin();
        let file = open_with(&path, options).unwrap();
        assert!(matches!(file.opened(), Opened::Restarted { .. }), "{:?}", file.opened());
        assert_eq!(file.ranges(), []);
    }
    begin();
    let vouched = tagged(100).identity(Identity::new().len(100)).resume(Resume::Always);
    assert!(matches!(open_with(&path, vouched).unwrap().opened(), Opened::Resumed { .. }));
}

#[test]
#[cfg(feature = "blake3")]
fn n28_bytes_with_another_digest_are_forgotten() {
    let dir = dir();
    let path = dir.path().join("a");
    let good = vec![3; 9000];
    let sum = Expected::blake3(untorn::chunked::blake3(&good));
    let identity = Identity::new().len(9000).digest(sum);
    let options = || tagged(9000).identity(identity.clone());
    let file = open_with(&path, options()).unwrap();
    file.write_at(0, &good).unwrap();
    file.write_at(100, b"flaw").unwrap();
    file.checkpoint().unwrap();
    let error = file.commit(None).unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Damaged, Outcome::Unchanged),
        "{error}"
    );
    assert!(matches!(file.status(), ResourceStatus::Failed(_)) && !path.exists());
    drop(file);
    let file = open_with(&path, options()).unwrap();
    assert_eq!((file.ranges(), file.next_gap(0, 9000)), (vec![], Some(0..9000)));
    file.write_at(0, &good).unwrap();
    let report = file.commit_with(CommitOptions::new()).unwrap();
    assert_eq!((fs::read(&path).unwrap(), report.digest), (good, identity.digest));
}

#[test]
fn n30_a_target_that_cannot_be_renamed_over_is_said_so_and_stays() {
    let dir = dir();
    let path = dir.path().join("a");
    fs::write(&path, b"old").unwrap();
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    let file = open(&link).unwrap();
    file.write_at(0, b"new").unwrap();
    file.commit(None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(
        fs::symlink_metadata(&link).unwrap().is_symlink(),
        "the link stays, its target is meant"
    );
    let refused = ChunkedOptions::new().symlink(untorn::Symlink::Refuse);
    assert_eq!(kind(open_with(&link, refused)), ErrorKind::Precondition);
}

#[test]
fn n32_the_rest_of_a_finished_commit_is_taken_away_and_the_target_not_written_again() {
    let dir = dir();
    let path = dir.path().join("a");
    let part = part_of(&path);
    let file = open_with(&path, tagged(100).on_drop(OnDrop::Keep)).unwrap();
    file.write_at(0, &[1; 100]).unwrap();
    file.checkpoint().unwrap();
    drop(file);
    // As a power cut after the rename leaves it: both names, or only the target's.
    fs::hard_link(part.join("data"), &path).unwrap();
    let file = open_with(&path, tagged(100)).unwrap();
    assert_eq!((file.opened(), file.ranges()), (Opened::Fresh, vec![]));
    file.write_at(0, &[2; 100]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [1; 100]);
    file.checkpoint().unwrap();
    drop(file);
    fs::remove_file(part.join("data")).unwrap();
    let file = open_with(&path, tagged(100)).unwrap();
    assert_eq!((file.opened(), file.ranges()), (Opened::Fresh, vec![]));
}

#[test]
fn a_follower_in_another_place_sees_what_is_trusted_and_goes_over_to_the_file() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open_with(&path, tagged(10_000)).unwrap();
    let claim = File::claim(path.clone(), tagged(10_000), |path, _| FileResource::open(path));
    let Claim::Busy(mut view) = claim.unwrap() else { panic!("it is claimed") };
    file.write_at(0, &[5; 5000]).unwrap();
    let mut buf = [0; 100];
    assert_eq!(kind(view.read_at(0, &mut buf)), ErrorKind::Incomplete, "not trusted yet");
    file.checkpoint().unwrap();
    assert_eq!((view.read_at(4900, &mut buf).unwrap(), buf), (100, [5; 100]));
    assert_eq!(view.ranges(), one(0..5000));
    assert_eq!(view.holder().unwrap().unwrap().pid, std::process::id());
    assert_eq!(view.verify().unwrap().trusted, 5000);
    let mut other = PartView::open(&path).unwrap();
    let ready = std::thread::scope(|scope| {
        let waits = scope.spawn(|| other.wait_range(9000..20_000, None));
        file.write_at(5000, &[6; 5000]).unwrap();
        file.commit(None).unwrap();
        waits.join().unwrap()
    });
    assert_eq!(ready.unwrap(), WaitOutcome::Ready);
    assert_eq!((view.read_at(9950, &mut buf).unwrap(), buf[0]), (50, 6));
    assert_eq!(view.ranges(), one(0..10_000));
}

#[test]
fn several_files_share_the_sync_of_their_directory_and_fail_apart() {
    let dir = dir();
    let files: Vec<File> =
        (0..4).map(|n| open(&dir.path().join(format!("f{n}"))).unwrap()).collect();
    for (n, file) in files.iter().enumerate() {
        file.write_at(if n == 2 { 10 } else { 0 }, &[7; 10]).unwrap();
    }
    let answers = commit_many(files.iter().map(|file| (file, CommitOptions::new())).collect());
    let kinds: Vec<_> = answers.iter().map(|a| a.as_ref().err().map(untorn::Error::kind)).collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::Incomplete), None]);
    let syncs: u32 = answers.iter().flatten().map(|report| report.syncs).sum();
    assert_eq!(
        (syncs, names(dir.path())),
        (4, ["f0", "f1", "f2.part", "f3"].map(str::to_owned).to_vec())
    );
    files[2].write_at(0, &[7; 10]).unwrap();
    files[2].commit(None).unwrap();
}

#[test]
fn an_overwrite_of_trusted_bytes_takes_the_trust_back_first() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open_with(&path, tagged(12_288)).unwrap();
    file.write_at(0, &[1; 12_288]).unwrap();
    assert_eq!(file.checkpoint().unwrap(), 12_288);
    file.write_at(5000, &[2; 10]).unwrap();
    assert_eq!(file.trusted_ranges(), [0..4096, 8192..12_288]);
    drop(file);
    let file = open_with(&path, tagged(12_288).verify_on_resume(true)).unwrap();
    assert_eq!(file.opened(), Opened::Resumed { trusted: 8192, dropped: 0 });
}

#[test]
fn rot_is_found_by_verify_and_dropped_where_it_is_looked_for() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open_with(&path, tagged(12_288)).unwrap();
    file.write_at(0, &[1; 12_288]).unwrap();
    file.suspend().unwrap();
    let data = part_of(&path).join("data");
    let mut bytes = fs::read(&data).unwrap();
    bytes[6000] ^= 4;
    fs::write(&data, &bytes).unwrap();
    let report = PartView::open(&path).unwrap().verify().unwrap();
    assert_eq!((report.trusted, report.damaged), (12_288, one(4096..8192)));
    let file = open_with(&path, tagged(12_288).verify_on_resume(true)).unwrap();
    assert_eq!(file.opened(), Opened::Resumed { trusted: 8192, dropped: 4096 });
    drop(file);
    // It is known from now on, also to those who do not look.
    let file = open_with(&path, tagged(12_288)).unwrap();
    assert_eq!(file.next_gap(0, 12_288), Some(4096..8192));
}
