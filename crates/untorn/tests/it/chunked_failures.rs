//! What must not go wrong with a chunked file: the numbers are those of the list in docs/COMPARE.md.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tempfile::TempDir;
use untorn::chunked::{
    Atomic, AtomicChunked, AvailabilityObserver, CheckpointPolicy, ChunkedOptions, Claim,
    CommitOptions, Expected, FileOptions, FileResource, Holes, Identity, IfExists, OnDrop, Opened,
    PartView, ResourceExt, ResourceStatus, Resume, WaitOutcome, commit_many, sweep_parts,
};
use untorn::fs::Fs;
use untorn::sim::{CallKind, Capability, Fault, FaultKind, SimFs};
use untorn::{ErrorKind, Outcome};

use crate::alloc::held_after;

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
                let mut round = 0_u8;
                while round < 50 {
                    let file = match open(path) {
                        Ok(file) => file,
                        Err(e) if e.kind() == ErrorKind::Locked => {
                            std::thread::yield_now();
                            continue;
                        }
                        Err(e) => panic!("{e}"),
                    };
                    let byte = thread.wrapping_mul(60).wrapping_add(round) | 1;
                    file.write_at(0, &vec![byte; 4096]).unwrap();
                    file.commit(None).unwrap();
                    round = round.wrapping_add(1);
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
    assert_eq!((commits.load(SeqCst), wrong.load(SeqCst)), (200, 0));
    assert_eq!(names(dir.path()), ["a"]);
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

fn simulated(sim: &SimFs, options: ChunkedOptions) -> untorn::Result<File> {
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let options = options.fs(Arc::clone(&fs)).checkpoint(CheckpointPolicy::Manual);
    AtomicChunked::open_with("/data/a".into(), options, move |path, _| {
        FileResource::open_with(path, FileOptions::new().fs(Arc::clone(&fs)))
    })
}

fn sim() -> SimFs {
    let sim = SimFs::new(5);
    sim.make_dirs("/data").unwrap();
    sim
}

#[test]
fn n5_n24_a_full_disk_is_an_error_that_names_its_cause_and_passes() {
    let sim = sim();
    sim.set_capacity(Some(1 << 20));
    let error = simulated(&sim, tagged(4 << 20)).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    assert_eq!(cause.and_then(std::io::Error::raw_os_error), Some(28), "{error}");
    let left = sim.dump().into_keys().filter(|path| path.parent() == Some(Path::new("/data")));
    assert_eq!(left.count(), 0, "what this open made is gone");

    // Of unknown length it shows at the write.
    let unknown = || tagged(0).identity(Identity::new().etag("\"1\""));
    let file = simulated(&sim, unknown()).unwrap();
    let mut at = 0;
    let error = loop {
        match file.write_at(at, &vec![7; 65_536]) {
            Ok(()) => at += 65_536,
            Err(error) => break error,
        }
    };
    assert!((65_536..1 << 20).contains(&at), "{at}");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    assert_eq!((file.ranges(), file.status()), (one(0..at), ResourceStatus::Active));
    let error = file.checkpoint().unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    sim.set_capacity(None);
    assert_eq!(file.checkpoint().unwrap(), at);
    file.write_at(at, &vec![7; 65_536]).unwrap();
    file.commit(None).unwrap();
    assert_eq!(sim.read("/data/a").unwrap().len() as u64, at + 65_536);
}

#[test]
fn n14_n15_memory_and_work_depend_on_the_file_not_on_the_number_of_calls() {
    let dir = dir();
    let file = open_with(&dir.path().join("a"), tagged(1 << 20)).unwrap();
    file.write_at(0, &vec![1; 1 << 20]).unwrap();
    let held = held_after(|| {
        for n in 0..200_000_u64 {
            file.write_at(n * 37 % ((1 << 20) - 5), b"bytes").unwrap();
            assert!(file.contains_range(n..n + 100));
        }
    });
    assert!(held < 64 * 1024, "200,000 writes keep {held} bytes");
    let mut sparse = None;
    let held = held_after(|| {
        let file = FileResource::open(dir.path().join("sparse")).unwrap();
        for n in 0..200_u64 {
            file.write_at(n * 5_000_000_000 + 7, b"bytes").unwrap();
        }
        sparse = Some(file);
    });
    assert!(held < 4 << 20, "a file of a terabyte with a few bytes in it keeps {held} bytes");
    let used = fs::metadata(dir.path().join("sparse")).unwrap().blocks() * 512;
    assert!(used < 1 << 30, "the holes are not reserved, but {used} bytes are");
}

#[test]
fn n21_locks_that_exclude_nobody_are_found_out() {
    let sim = sim().without(Capability::Locks);
    assert_eq!(kind(simulated(&sim, tagged(100))), ErrorKind::Unsupported);
}

#[test]
fn n29_a_failed_sync_is_final_and_what_was_trusted_is_copied() {
    let sim = sim();
    let file = simulated(&sim, tagged(12_288)).unwrap();
    file.write_at(0, &[1; 4096]).unwrap();
    file.checkpoint().unwrap();
    file.write_at(4096, &[2; 8192]).unwrap();
    let data = "/data/a.part/data";
    let inode = |sim: &SimFs| {
        let dir = sim.open_dir(Path::new("/data/a.part")).unwrap();
        dir.stat("data".as_ref()).unwrap().ino
    };
    let before = inode(&sim);
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncAll).on_path(data));
    let error = file.commit(None).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Io, Outcome::Unknown), "{error}");
    assert_eq!(kind(file.commit(None)), ErrorKind::Poisoned);
    assert_eq!(kind(file.reactivate()), ErrorKind::Poisoned);
    assert!(sim.read("/data/a").is_err());
    drop(file);
    let file = simulated(&sim, tagged(12_288)).unwrap();
    assert_eq!(file.opened(), Opened::Resumed { trusted: 4096, dropped: 0 });
    assert_ne!(inode(&sim), before, "the file whose sync failed never gets the name");
    file.write_at(4096, &[3; 8192]).unwrap();
    file.commit(None).unwrap();
    assert_eq!(sim.read("/data/a").unwrap(), [vec![1; 4096], vec![3; 8192]].concat());
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

#[test]
fn a_sweep_takes_what_nobody_can_go_on_with() {
    let dir = dir();
    let path = |name: &str| dir.path().join(name);
    let kept = open_with(&path("kept"), tagged(100)).unwrap();
    kept.write_at(0, &[1; 50]).unwrap();
    kept.suspend().unwrap();
    drop(open_with(&path("left"), tagged(100).on_drop(OnDrop::Keep)).unwrap());
    let busy = open_with(&path("busy"), tagged(100)).unwrap();
    fs::create_dir(path("photos.part")).unwrap();
    fs::write(path("photos.part").join("1.jpg"), b"mine").unwrap();
    fs::write(path("novel.part"), b"chapter one").unwrap();
    let report = sweep_parts(dir.path(), None).unwrap();
    assert_eq!(report.removed, [path("left.part")]);
    assert_eq!(report.kept, [path("kept.part")]);
    assert_eq!(report.busy, [path("busy.part")]);
    let report = sweep_parts(dir.path(), Some(Duration::from_secs(3600))).unwrap();
    assert_eq!((report.removed.len(), report.kept.len()), (0, 1));
    let report = sweep_parts(dir.path(), Some(Duration::ZERO)).unwrap();
    assert_eq!((report.removed, report.kept.len()), (vec![path("kept.part")], 0));
    assert_eq!(names(dir.path()), ["busy.part", "novel.part", "photos.part"]);
    drop(busy);
}

/// Calls the file that it observes, as it may.
#[derive(Default)]
struct Caller {
    file: OnceLock<Weak<File>>,
    checkpoints: AtomicU32,
    failures: AtomicU32,
}

impl Caller {
    fn call(&self) {
        let file = self.file.get().and_then(Weak::upgrade).unwrap();
        drop((file.stats(), file.ranges(), file.checkpoint()));
    }
}

impl AvailabilityObserver for Caller {
    fn on_write(&self, _range: std::ops::Range<u64>) {
        self.call();
    }

    fn on_checkpoint(&self, _trusted: u64) {
        self.checkpoints.fetch_add(1, SeqCst);
        self.call();
    }

    fn on_commit(&self, _len: u64) {
        self.call();
    }

    fn on_fail(&self) {
        self.failures.fetch_add(1, SeqCst);
        self.call();
    }
}

#[test]
fn an_observer_may_call_the_file() {
    let sim = sim();
    let observed = |len| {
        let file = Arc::new(simulated(&sim, tagged(len)).unwrap());
        let caller = Arc::new(Caller::default());
        caller.file.set(Arc::downgrade(&file)).unwrap();
        file.observe(Arc::clone(&caller) as _);
        (file, caller)
    };
    let (file, caller) = observed(8192);
    file.write_at(0, &[1; 8192]).unwrap();
    assert_eq!(caller.checkpoints.load(SeqCst), 1);
    file.commit(None).unwrap();
    drop(file);
    let (file, caller) = observed(8192);
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData).on_path("/data/a.part/data"));
    file.write_at(0, &[1; 8192]).unwrap();
    file.write_at(0, &[1; 8192]).unwrap_err();
    assert_eq!((caller.checkpoints.load(SeqCst), caller.failures.load(SeqCst)), (0, 1));
}

/// (21) Where locks exclude nobody after all, the last look before the rename does.
#[test]
fn a_part_that_somebody_else_has_claimed_is_not_published() {
    let dir = dir();
    let path = dir.path().join("a");
    let part = part_of(&path);
    let begin = || {
        let file = open(&path).unwrap();
        file.write_at(0, b"ours").unwrap();
        file
    };
    let refused = |file: File| {
        let error = file.commit(None).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Precondition, Outcome::Unchanged));
        assert!(!path.exists());
        drop(file);
        fs::remove_dir_all(&part).unwrap_or_default();
    };
    // Its text is another one; it is another file; the bytes are.
    let file = begin();
    fs::write(part.join("LOCK"), b"untorn-part 1\ntoken 7\n").unwrap();
    refused(file);
    let file = begin();
    fs::copy(part.join("LOCK"), part.join("meta")).unwrap();
    fs::rename(part.join("meta"), part.join("LOCK")).unwrap();
    refused(file);
    let file = begin();
    fs::remove_file(part.join("data")).unwrap();
    fs::write(part.join("data"), b"theirs").unwrap();
    refused(file);
}

#[test]
fn what_lies_behind_the_end_of_a_cut_part_is_dropped_and_told() {
    let dir = dir();
    let path = dir.path().join("a");
    let file = open_with(&path, tagged(12_288)).unwrap();
    file.write_at(0, &[1; 12_288]).unwrap();
    file.suspend().unwrap();
    let data = fs::OpenOptions::new().write(true).open(part_of(&path).join("data")).unwrap();
    data.set_len(8292).unwrap();
    let file = open_with(&path, tagged(12_288)).unwrap();
    assert_eq!(file.opened(), Opened::Resumed { trusted: 8192, dropped: 4096 });
    assert_eq!(file.next_gap(0, 12_288), Some(8192..12_288));
}
