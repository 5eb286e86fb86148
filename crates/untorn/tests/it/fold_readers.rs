//! Who reads a fold while it is written, number 10 of the list of failures: other threads, and another process over compactions. Each
//! sees commits whole, in order, with the cursor that belongs to them.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use untorn::ErrorKind;
use untorn::fold::{
    AppendLogSnapshot, Change, Compaction, FoldOptions, FoldReader, FoldSnapshot, KvEntry,
    KvUpdate, SnapshotStore,
};

use super::fold_kit::{at, delete, put};

/// Keys of a batch. All but the deleted one are put by each.
const KEYS: u64 = 24;

fn value(batch: u64, key: u64) -> Vec<u8> {
    let mut value = batch.to_be_bytes().to_vec();
    value.extend_from_slice(&key.to_be_bytes());
    // Some in memory, some in the log, some apart in the base.
    value.resize([16, 40, 200, 1500][usize::try_from((batch + key) % 4).unwrap()], 7);
    value
}

/// The key that this batch deletes: the next one puts it again.
fn gone(batch: u64) -> u64 {
    batch % KEYS
}

fn updates(batch: u64) -> Vec<KvUpdate> {
    let update = |key| {
        let name = format!("k{key:02}");
        if key == gone(batch) { delete(&name, batch) } else { put(&name, value(batch, key), batch) }
    };
    (0..KEYS).map(update).collect()
}

/// The entry is one of that batch.
fn is_of(entry: &KvEntry, batch: u64) {
    let key = entry.key[1..].parse().unwrap();
    assert_eq!(entry.version.as_u64(), Some(batch), "{} of {batch}", entry.key);
    assert!(entry.value == value(batch, key), "{} of {batch}", entry.key);
    assert_ne!(key, gone(batch), "it was deleted");
}

/// All of one batch, and nothing of others; which one.
fn whole(seen: &FoldSnapshot) -> u64 {
    let batch = seen.cursor().as_u64().unwrap_or(0);
    let entries = seen.range("").unwrap();
    assert_eq!(entries.len() as u64, if batch == 0 { 0 } else { KEYS - 1 }, "of {batch}");
    for entry in &entries {
        is_of(entry, batch);
    }
    batch
}

fn differ(old: &FoldSnapshot, new: &FoldSnapshot) {
    let to = new.cursor().as_u64().unwrap_or(0);
    let mut keys = 0;
    for change in old.diff(new) {
        let Change { new, old: before, key, .. } = change.unwrap();
        match new {
            Some(entry) => is_of(&entry, to),
            None => assert_eq!(key, format!("k{:02}", gone(to))),
        }
        assert!(before.is_none_or(|before| before.as_u64().is_some_and(|before| before < to)));
        keys += 1;
    }
    // Of the one that was gone before and the one that is now, the second is no change if it is the same.
    let from = old.cursor().as_u64().unwrap_or(0);
    let same = from == 0 || gone(from) == gone(to);
    assert_eq!(keys, if from == to { 0 } else { KEYS - u64::from(same) }, "{from} to {to}");
}

fn read(reader: &FoldReader, held: &mut FoldSnapshot, round: u64) {
    let seen = reader.snapshot();
    let (before, now) = (whole(held), whole(&seen));
    assert!(now >= before, "{now} after {before}");
    differ(held, &seen);
    let before = reader.cursor().as_u64().unwrap_or(0);
    if let Some(entry) = reader.get(&format!("k{:02}", round % KEYS)).unwrap() {
        let batch = entry.version.as_u64().unwrap();
        is_of(&entry, batch);
        assert!(batch >= before, "{batch} after {before}");
    }
    let many = reader.get_many(&["k00", "k07", "k13"]).unwrap();
    let batches: Vec<_> = many.iter().flatten().map(|entry| entry.version.as_u64()).collect();
    assert!(batches.windows(2).all(|two| two[0] == two[1]), "{batches:?}");
    if round.is_multiple_of(5) {
        *held = seen;
    }
}

fn options() -> FoldOptions {
    // Some batches fill a segment, and a few are due for a compaction.
    FoldOptions::new().log_segment_bytes(32 << 10).compact_threshold(40 << 10)
}

/// 10: three threads read what one writes, while a fourth compacts.
#[test]
fn n10_commits_are_seen_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let durability = untorn::Durability::Buffered;
    let options = options().compaction(Compaction::Background).durability(durability);
    let mut fold = options.open(&path).unwrap().1;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (reader, done) = (fold.reader(), &done);
                scope.spawn(move || {
                    let mut held = reader.snapshot();
                    let mut round = 0;
                    // One more look after the last commit.
                    loop {
                        let last = done.load(Relaxed);
                        read(&reader, &mut held, round);
                        round += 1;
                        if last {
                            return whole(&reader.snapshot());
                        }
                    }
                })
            })
            .collect();
        for batch in 1..=600 {
            fold.apply(&updates(batch), &at(batch)).unwrap();
        }
        // Whatever the background did by then, there are some.
        fold.compact_all().unwrap();
        done.store(true, Relaxed);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 600);
        }
    });
    assert!(fold.stats().compactions > 0);
    fold.close().unwrap();
    let (cursor, fold) = AppendLogSnapshot::open(&path, u64::MAX).unwrap();
    assert_eq!((whole(&fold.snapshot()), cursor), (600, at(600)));
}

/// Looks at a fold that another owns until it is at the last batch; how many states it saw.
fn follow(path: &Path, last: u64) -> u64 {
    let mut fold = options().read_only(true).open(path).unwrap().1;
    let (mut held, mut states) = (fold.snapshot(), 0);
    loop {
        let before = fold.cursor();
        match fold.refresh() {
            Ok(_) => {}
            // The owner compacts faster than it can be looked at.
            Err(error) if error.kind() == ErrorKind::Stale => {
                assert_eq!(fold.cursor(), before, "what was seen stays: {error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        let seen = fold.snapshot();
        let (before, now) = (whole(&held), whole(&seen));
        assert!(now >= before, "{now} after {before}");
        differ(&held, &seen);
        states += u64::from(now > before);
        held = seen;
        if now == last {
            return states;
        }
    }
}

/// 10: another process reads over compactions. The test is that process itself, where it is told a path.
#[test]
fn n10_another_process_reads_over_compactions() {
    const TOLD: &str = "UNTORN_TEST_FOLD_READ";
    const LAST: u64 = 300;
    if let Some(path) = std::env::var_os(TOLD) {
        assert!(follow(path.as_ref(), LAST) > 0);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let mut fold = options().compaction(Compaction::Manual).open(&path).unwrap().1;
    fold.apply(&updates(1), &at(1)).unwrap();
    let name = std::thread::current().name().unwrap().to_owned();
    let other = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&*name, "--exact"])
        .env(TOLD, &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // And one in this process, by another handle.
    std::thread::scope(|scope| {
        let here = scope.spawn(|| follow(&path, LAST));
        for batch in 2..=LAST {
            fold.apply(&updates(batch), &at(batch)).unwrap();
            if batch.is_multiple_of(3) {
                fold.compact_all().unwrap();
            }
        }
        assert!(here.join().unwrap() > 0);
    });
    let output = other.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(fold.stats().compactions, 100);
}
