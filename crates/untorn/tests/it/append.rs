//! The append-only file as its users have it.
#![expect(
    clippy::cast_possible_truncation,
    reason = "small numbers, and bytes that are made of them"
)]

use std::path::Path;

use untorn::append::{
    AppendGroup, AppendOnlyFile, FileSpec, OpenOptions, ProtocolVersion, SizeInfo, TailEvent,
};
use untorn::{ErrorKind, Outcome};

type File = AppendOnlyFile<Vec<u8>>;

/// Both kinds of files.
pub(crate) const SIZES: [u32; 2] = [4, 0];

fn open(path: &Path, fixed: u32) -> untorn::Result<File> {
    let info = if fixed == 0 { SizeInfo::Variable } else { SizeInfo::FixedSize(fixed) };
    AppendOnlyFile::open(path, info, ProtocolVersion(1))
}

fn element(n: u64) -> Vec<u8> {
    format!("{:04}", n % 10_000).into_bytes()
}

fn all(file: &File) -> Vec<Vec<u8>> {
    let read = |n| file.read(n).unwrap().to_vec();
    (file.first()..file.size_unsync_in_elmts().unwrap()).map(read).collect()
}

fn numbers(of: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    of.into_iter().map(element).collect()
}

#[test]
fn what_was_flushed_is_there_after_a_close_and_after_a_drop() {
    for fixed in SIZES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for round in 0..4 {
            let mut file = open(&path, fixed).unwrap();
            assert_eq!(all(&file), numbers(0..round * 10), "{fixed}");
            assert_eq!(file.recovery().unwrap().created, round == 0);
            assert_eq!(file.recovery().unwrap().clean, round % 2 == 1);
            for n in round * 10..round * 10 + 10 {
                assert_eq!(file.append(&element(n)).unwrap(), n);
            }
            let commit = file.flush().unwrap();
            assert_eq!((commit.len, commit.bytes, commit.syncs), (round * 10 + 10, 40, 1));
            if round % 2 == 0 {
                file.append(b"lost").unwrap();
                file.close().unwrap();
            }
        }
        let data = std::fs::read(&path).unwrap();
        assert_eq!(data, numbers(0..40).concat());
    }
}

#[test]
fn rewinds_and_appends_before_one_flush_are_one_commit() {
    for fixed in SIZES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = open(&path, fixed).unwrap();
        file.append_batch(numbers(0..10)).unwrap();
        file.flush().unwrap();
        let before = file.snapshot().unwrap();
        file.append_batch(numbers(10..15)).unwrap();
        file.rewind(8).unwrap();
        file.append(b"0100").unwrap();
        assert_eq!(all(&file), numbers((0..8).chain([100])));
        file.flush().unwrap();
        assert_eq!(all(&file), numbers((0..8).chain([100])));
        let shown: Vec<_> = before.iter(..).map(|e| e.unwrap().to_vec()).collect();
        assert_eq!(shown, numbers(0..10));
        drop((before, file));
        let file = open(&path, fixed).unwrap();
        assert_eq!(all(&file), numbers((0..8).chain([100])));
    }
}

#[test]
fn large_commits_are_direct_and_compaction_shifts() {
    for fixed in SIZES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = open(&path, fixed).unwrap();
        file.append_batch(numbers(0..9000)).unwrap();
        file.append_batch(numbers(0..9000)).unwrap();
        let commit = file.flush().unwrap();
        assert_eq!(commit.syncs, 2);
        file.rewind(9000).unwrap();
        assert_eq!(file.flush().unwrap().syncs, 1);
        let before = file.snapshot().unwrap();
        let report = file.compact((0..9000).filter(|n| n % 2 == 1)).unwrap();
        assert_eq!((report.dropped, report.kept, report.freed), (4500, 4500, 18_000));
        assert_eq!(all(&file), numbers((0..9000).filter(|n| n % 2 == 0)));
        assert_eq!(before.get(8999).unwrap(), element(8999));
        file.drop_head(4400).unwrap();
        assert_eq!(file.read(4399).unwrap_err().kind(), ErrorKind::Pruned);
        let end = numbers((0..9000).filter(|n| n % 2 == 0).skip(4400));
        assert_eq!(all(&file), end);
        drop((before, file));
        let file = open(&path, fixed).unwrap();
        assert_eq!(all(&file), end);
        assert_eq!(file.first(), 4400);
        file.close().unwrap();
        let file = open(&path, fixed).unwrap();
        assert!(file.recovery().unwrap().clean);
        assert_eq!(all(&file), end);
    }
}

#[test]
fn buffered_commits_are_synced_later() {
    for fixed in SIZES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = open(&path, fixed).unwrap();
        file.append_batch(numbers(0..20_000).into_iter().map(|mut e| {
            e.truncate(4);
            e
        }))
        .unwrap();
        assert_eq!(file.write().unwrap().syncs, 0);
        assert_eq!((file.len(), file.durable_len()), (20_000, 0));
        assert_eq!(file.sync().unwrap().syncs, 2);
        assert_eq!(file.durable_len(), 20_000);
        file.append(b"tail").unwrap();
        file.write().unwrap();
        drop(file);
        let file = open(&path, fixed).unwrap();
        assert_eq!(file.len(), 20_001);
        assert_eq!(file.read(20_000).unwrap(), b"tail");
    }
}

#[test]
fn a_group_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let open = || {
        AppendGroup::options(at("g"))
            .file("a", at("a"), FileSpec::fixed(4))
            .file("b", at("b"), FileSpec::variable())
            .file("c", at("c"), FileSpec::fixed(4))
            .open()
    };
    let mut group = open().unwrap();
    for n in 0..10 {
        group.file::<Vec<u8>>("a").unwrap().append(&element(n)).unwrap();
        group.file::<Vec<u8>>("b").unwrap().append(&vec![7; n as usize]).unwrap();
        group.file::<Vec<u8>>("c").unwrap().append(&element(n)).unwrap();
        group.annotate(&[n as u8]).unwrap();
        assert_eq!(group.flush().unwrap().syncs, 1);
    }
    let old = group.snapshot();
    group.file::<Vec<u8>>("a").unwrap().rewind(5).unwrap();
    group.file::<Vec<u8>>("b").unwrap().rewind(5).unwrap();
    group.flush().unwrap();
    assert_eq!(old.file::<Vec<u8>>("b").unwrap().get(9).unwrap(), [7; 9]);
    drop((old, group));
    let mut group = open().unwrap();
    assert_eq!(group.note(), [9]);
    assert_eq!(group.file::<Vec<u8>>("a").unwrap().len(), 5);
    assert_eq!(group.file::<Vec<u8>>("b").unwrap().read(4).unwrap(), [7; 4]);
    assert_eq!(group.file::<Vec<u8>>("c").unwrap().len(), 10);
    drop(group);
    let alone = OpenOptions::<Vec<u8>>::new().fixed(4).open(at("a")).unwrap_err();
    assert_eq!((alone.kind(), alone.outcome()), (ErrorKind::Precondition, Outcome::Unchanged));
}

/// A reader that knows only the log, beside the writer.
#[test]
fn a_reader_in_another_process_sees_commits_or_says_stale() {
    for fixed in SIZES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = open(&path, fixed).unwrap();
        let options = OpenOptions::<Vec<u8>>::new().version(ProtocolVersion(1));
        let options = if fixed == 0 { options.variable() } else { options.fixed(fixed) };
        let reader = options.open_read_only(&path).unwrap();
        let mut tail = reader.subscribe(0);
        let now = std::time::Duration::ZERO;
        file.append_batch(numbers(0..10)).unwrap();
        file.flush().unwrap();
        assert_eq!(tail.next(now).unwrap(), Some(TailEvent::Elements(0..10)));
        assert_eq!(tail.next(now).unwrap(), None);
        let first = reader.snapshot().unwrap();
        file.rewind(4).unwrap();
        file.append_batch(numbers(50..60)).unwrap();
        file.flush().unwrap();
        assert_eq!(tail.next(now).unwrap(), Some(TailEvent::Rewound { to: 4 }));
        assert_eq!(tail.next(now).unwrap(), Some(TailEvent::Elements(4..14)));
        // What the log had carried is in memory; what is below the cut is still there.
        assert_eq!(*first.get_cow(3).unwrap(), element(3));
        let second = reader.snapshot().unwrap();
        let shown: Vec<_> = (0..14).map(|at| second.get_cow(at).unwrap().into_owned()).collect();
        assert_eq!(shown, numbers((0..4).chain(50..60)));
        // Direct bytes are read from the file: rewound, they are not there any more.
        file.append_batch((0..20_000).map(element)).unwrap();
        file.flush().unwrap();
        let third = reader.snapshot().unwrap();
        assert_eq!(*third.get_cow(20_013).unwrap(), *element(19_999));
        let held = reader.snapshot().unwrap();
        file.rewind(14).unwrap();
        file.append_batch((0..20_000).map(|n| element(n + 1))).unwrap();
        file.flush().unwrap();
        assert_eq!(held.get_cow(15_000).unwrap_err().kind(), ErrorKind::Stale);
        // After a compaction the old files are there as long as they are held.
        let before = reader.snapshot().unwrap();
        file.compact([0, 1]).unwrap();
        assert_eq!(*before.get_cow(2).unwrap(), element(2));
        assert_eq!(tail.next(now).unwrap(), Some(TailEvent::Rewound { to: 0 }));
        let after = reader.snapshot().unwrap();
        assert_eq!(*after.get_cow(0).unwrap(), element(2));
        file.drop_head(15_000).unwrap();
        let kind = |at| after.get_cow(at).map(|_| ()).map_err(|e| e.kind());
        assert!([Ok(()), Err(ErrorKind::Stale)].contains(&kind(0)), "{:?}", kind(0));
        assert_eq!(reader.snapshot().unwrap().first(), 15_000);
        drop(file);
        // Its owner is gone, and left no close.
        assert_eq!(reader.snapshot().unwrap().len(), 20_012);
        let again = options_read(&path, fixed);
        assert_eq!(*again.get_cow(20_011).unwrap(), element(20_000));
    }
}

fn options_read(path: &Path, fixed: u32) -> untorn::append::Snapshot<Vec<u8>> {
    let options = OpenOptions::<Vec<u8>>::new().version(ProtocolVersion(1));
    let options = if fixed == 0 { options.variable() } else { options.fixed(fixed) };
    options.open_read_only(path).unwrap().snapshot().unwrap()
}

/// Elements are copied while the owner rewinds, writes anew and makes checkpoints: they are right, or it is said.
#[test]
fn a_reader_beside_a_busy_writer_never_gets_other_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let options = || OpenOptions::<Vec<u8>>::new().inline_limit(2000).checkpoint_bytes(20_000);
    let mut file = options().open(&path).unwrap();
    let bytes = |at: u64, turn: u64| [at.to_le_bytes(), turn.to_le_bytes()].concat().repeat(5);
    let reader = options().open_read_only(&path).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let (mut good, mut stale) = (0_u32, 0_u32);
    std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            for turn in 0..300_u64 {
                let len = file.len();
                let keep = len.saturating_sub(turn * 7 % 90);
                file.rewind(keep).unwrap();
                for at in keep..keep + 60 {
                    file.append(&bytes(at, turn)).unwrap();
                }
                file.flush().unwrap();
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !over.load(std::sync::atomic::Ordering::Relaxed) || good == 0 {
            let Ok(seen) = reader.snapshot() else { continue };
            for at in seen.first()..seen.len() {
                match seen.get_cow(at) {
                    Ok(found) => {
                        let turn = u64::from_le_bytes(*found[8..].first_chunk().unwrap());
                        assert_eq!(*found, bytes(at, turn));
                        good += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Stale, "{error}");
                        stale += 1;
                    }
                }
            }
        }
    });
    println!("{good} elements read, {stale} times stale");
}

/// A note was lost when a store was opened and used, and nothing was committed: `prove` found it, in a kill at such a moment.
#[test]
fn a_note_stays_until_a_commit_has_another() {
    for fixed in SIZES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = open(&path, fixed).unwrap();
        file.append(b"0000").unwrap();
        file.annotate(b"block 7").unwrap();
        file.flush().unwrap();
        file.append(b"0001").unwrap();
        file.write().unwrap();
        file.sync().unwrap();
        drop(file);
        let file = open(&path, fixed).unwrap();
        assert_eq!(file.note().unwrap(), b"block 7");
        file.close().unwrap();
        let mut file = open(&path, fixed).unwrap();
        // It says that the store is in use, and commits nothing.
        file.write_tmp_pruned(&[0]).unwrap();
        drop(file);
        let mut file = open(&path, fixed).unwrap();
        assert_eq!(file.note().unwrap(), b"block 7");
        file.compact([0]).unwrap();
        drop(file);
        assert_eq!(open(&path, fixed).unwrap().note().unwrap(), b"block 7");
    }
}
