//! The log on the operating system's file system: what it is for, and what it refuses.

use std::path::Path;

use untorn::log::{Log, LogOptions, LogReport, Upto};
use untorn::{Durability, ErrorKind, OnDamage};

fn small() -> LogOptions {
    LogOptions::new().segment_bytes(1024)
}

fn open(dir: &Path, options: LogOptions) -> (Log, LogReport) {
    Log::open(dir, options).unwrap()
}

/// All records from the first one on.
fn records(log: &Log) -> Vec<Vec<u8>> {
    let mut scan = log.read(log.first_seq(), Upto::Durable).unwrap();
    let mut all = Vec::new();
    while let Some(record) = scan.next().unwrap() {
        assert_eq!(record.seq, log.first_seq() + all.len() as u64, "numbers have no gap");
        all.push(record.bytes.to_vec());
    }
    all
}

/// Where a record stands in a vector that begins with number 1.
fn index(seq: u64) -> usize {
    usize::try_from(seq).unwrap() - 1
}

fn numbered(n: usize, len: usize) -> Vec<u8> {
    let mut record = format!("record {n} ").into_bytes();
    record.resize(len.max(record.len()), b'.');
    record
}

/// Appends records of growing size, so that segments roll in every position, and reads them back after each kind of end.
#[track_caller]
fn check_round_trip(options: &LogOptions, end: impl Fn(Log)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut expected = Vec::new();
    for round in 0..4 {
        let (log, report) = open(&path, options.clone());
        assert_eq!(report.last_seq, expected.len() as u64, "round {round}");
        assert_eq!(records(&log), expected, "round {round}");
        for n in 0..60 {
            let record = numbered(expected.len(), n * 7 % 400);
            assert_eq!(log.append_synced(&record).unwrap(), expected.len() as u64 + 1);
            expected.push(record);
        }
        log.sync().unwrap();
        assert_eq!(records(&log), expected);
        end(log);
    }
}

#[test]
fn round_trips() {
    for record_crc in [false, true] {
        for durability in [Durability::Synced, Durability::Buffered] {
            for segment in [1024, 4096, 1 << 20] {
                let options =
                    small().segment_bytes(segment).record_crc(record_crc).durability(durability);
                check_round_trip(&options, drop);
                check_round_trip(&options, |log| log.close().unwrap());
            }
        }
    }
}

#[test]
fn larger_than_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    let sizes = [10, 900, 5000, 10, 100_000, 0, 3];
    for (n, &size) in sizes.iter().enumerate() {
        log.append_synced(&numbered(n, size)).unwrap();
    }
    let batch: Vec<Vec<u8>> = (0..50).map(|n| numbered(n, 300)).collect();
    let ticket = log.append_batch(batch.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(log.wait(&ticket).unwrap(), 57);
    let all = records(&log);
    assert_eq!((all.len(), &all[7..]), (57, &batch[..]));
    drop((log, ticket));
    let (log, report) = open(dir.path(), small());
    assert_eq!((report.last_seq, report.healed), (57, None));
    assert_eq!(records(&log), all);
}

#[test]
fn truncate_back_anywhere() {
    for last in 0..=40 {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path(), small());
        let mut expected: Vec<Vec<u8>> = (0..40).map(|n| numbered(n, 70)).collect();
        for chunk in expected.chunks(3) {
            let ticket = log.append_batch(chunk.iter().map(Vec::as_slice)).unwrap();
            ticket.wait().unwrap();
        }
        log.truncate_back(last as u64).unwrap();
        expected.truncate(last);
        assert_eq!(records(&log), expected, "last {last}");
        expected.push(b"after".to_vec());
        assert_eq!(log.append_synced(b"after").unwrap(), last as u64 + 1);
        assert_eq!(records(&log), expected, "last {last}");
        drop(log);
        let (log, report) = open(dir.path(), small());
        assert_eq!((records(&log), report.healed), (expected, None), "last {last}");
    }
}

#[test]
fn truncate_front_by_segments_and_never_below_a_pin() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    for n in 0..100 {
        log.append_synced(&numbered(n, 100)).unwrap();
    }
    let all = records(&log);
    let pin = log.pin(20);
    let first = log.truncate_front(50).unwrap();
    assert!((2..=20).contains(&first), "{first}");
    drop(pin);
    let first = log.truncate_front(50).unwrap();
    assert!((21..=50).contains(&first), "{first}");
    assert_eq!(records(&log), all[index(first)..]);
    assert_eq!(log.read(1, Upto::Durable).unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(log.truncate_back(first - 2).unwrap_err().kind(), ErrorKind::OutOfRange);
    drop(log);
    let (log, report) = open(dir.path(), small());
    assert_eq!((report.first_seq, report.last_seq), (first, 100));
    assert_eq!(records(&log), all[index(first)..]);
}

#[test]
fn positions_lead_back_to_their_records() {
    for record_crc in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path(), small().record_crc(record_crc));
        let tickets: Vec<_> = (0..30).map(|n| log.append(&numbered(n, 40)).unwrap()).collect();
        tickets[29].wait().unwrap();
        for (n, ticket) in tickets.iter().enumerate() {
            let pos = ticket.pos().unwrap();
            assert_eq!(log.read_at(pos, 40).unwrap(), numbered(n, 40));
            assert_eq!(log.read_at(pos, 39).unwrap_err().kind(), ErrorKind::Damaged);
        }
        let pos = tickets[20].pos().unwrap();
        drop((tickets, log));
        let (log, report) = open(dir.path(), small().record_crc(record_crc).start(Some(pos)));
        assert_eq!(report.started_at, Some(pos));
        assert!(report.records_scanned < 30, "{report:?}");
        assert_eq!((report.last_seq, records(&log).len()), (30, 30));
    }
}

/// actionqueue-storage: two writers opened one log, and two of their records survived.
#[test]
fn a_second_owner_is_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    let error = Log::open(dir.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");
    log.close().unwrap();
    open(dir.path(), small());
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), b"x").unwrap();
    assert_eq!(Log::open(dir.path(), small()).unwrap_err().kind(), ErrorKind::NotOurs);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing was added");
    let (log, _) = open(&dir.path().join("sub"), small());
    assert_eq!(
        Log::open(dir.path().join("sub"), small().owner(*b"JRNL")).unwrap_err().kind(),
        ErrorKind::Locked
    );
    drop(log);
    assert_eq!(
        Log::open(dir.path().join("sub"), small().owner(*b"JRNL")).unwrap_err().kind(),
        ErrorKind::Precondition
    );
}

#[test]
fn closed_means_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    let clone = log.clone();
    log.append(b"x").unwrap();
    log.close().unwrap();
    assert_eq!(clone.append(b"y").unwrap_err().kind(), ErrorKind::Closed);
    let (log, report) = open(dir.path(), small());
    assert_eq!((report.last_seq, report.rewritten_bytes), (1, 0));
    assert_eq!(records(&log), [b"x"]);
}

/// What is cut off a damaged log is copied first; refusing changes nothing.
#[test]
fn damage_is_refused_and_only_truncated_with_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    for n in 0..40 {
        log.append_synced(&numbered(n, 100)).unwrap();
    }
    log.close().unwrap();
    let victim = dir.path().join("0000000000000002.seg");
    let mut bytes = std::fs::read(&victim).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&victim, &bytes).unwrap();
    let before = snapshot(dir.path());
    let error = Log::open(dir.path(), small()).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Damaged, Some(victim.as_path())));
    assert!(error.offset().is_some_and(|at| (64..=300).contains(&at)), "{error}");
    assert_eq!(snapshot(dir.path()), before, "nothing was changed");

    let (log, report) = open(dir.path(), small().on_damage(OnDamage::Truncate));
    let healed = report.healed.unwrap();
    let kept = records(&log).len() as u64;
    assert_eq!(healed.lost.unwrap().0, kept + 1);
    assert!(kept > 4 && kept < 20, "{kept}");
    assert_eq!(std::fs::read(&healed.quarantine[0]).unwrap(), bytes[..].trim_zeros());
    assert!(healed.quarantine.len() > 1, "later segments are kept too");
    assert_eq!(log.append_synced(b"on").unwrap(), kept + 1);
}

trait TrimZeros {
    fn trim_zeros(&self) -> &[u8];
}

impl TrimZeros for [u8] {
    fn trim_zeros(&self) -> &[u8] {
        let end = self.iter().rposition(|&b| b != 0).map_or(0, |n| n + 1);
        &self[..end]
    }
}

/// Names and contents, but for the lock file, which says who looked last.
fn snapshot(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() != "LOCK" && entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn salvage_hands_out_what_stands_around_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    for n in 1..=60 {
        log.append_synced(&numbered(n, 100)).unwrap();
    }
    log.close().unwrap();
    for (name, at) in [("0000000000000002.seg", 300), ("0000000000000004.seg", 3)] {
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }
    let mut seen = Vec::new();
    let report = Log::salvage(dir.path(), &small(), |record| {
        assert_eq!(record.bytes, numbered(index(record.seq) + 1, 100));
        seen.push(record.seq);
        Ok(())
    })
    .unwrap();
    assert_eq!((report.records, seen.len()), (59, 59), "{report:?}");
    assert_eq!(report.holes.len(), 2, "{report:?}");
    let (first, last) = report.holes[0].seqs.unwrap();
    assert_eq!(
        (first, (1..=60).filter(|n| !seen.contains(n)).collect::<Vec<_>>()),
        (last, vec![first])
    );
}

#[test]
fn a_reader_follows_a_living_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    log.append_synced(b"one").unwrap();
    let mut reader = Log::open_read_only(dir.path(), small()).unwrap();
    assert_eq!((reader.first_seq(), reader.last_seq()), (1, 1));
    assert!(!reader.refresh().unwrap());
    for n in 0..50 {
        log.append_synced(&numbered(n, 90)).unwrap();
        assert!(reader.refresh().unwrap());
        assert_eq!(reader.last_seq(), n as u64 + 2);
    }
    let mut scan = reader.read(1, Upto::Written).unwrap();
    let mut count = 0;
    while scan.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 51);
    log.truncate_back(10).unwrap();
    assert_eq!(reader.refresh().unwrap_err().kind(), ErrorKind::Stale);
}

/// One thread that fills a window and waits for the newest, and many that wait for their own.
#[test]
fn all_who_wait_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), LogOptions::new());
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..50 {
                    let seq = log.append_synced(&numbered(thread * 1000 + n, 64)).unwrap();
                    assert!(log.durable_seq() >= seq);
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!((stats.appends, stats.durable_seq), (800, 800));
    assert!(stats.syncs < 800, "{} syncs for 800 acknowledgements", stats.syncs);
    assert_eq!(records(&log).len(), 800);
}

/// Groups that nobody waits for stand in the queue before one that somebody does.
#[test]
fn a_waiter_behind_unwaited_groups_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small().max_group_bytes(64));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..40 {
                    log.append(&numbered(thread, 60)).unwrap();
                    let ticket = log.append(&numbered(n, 60)).unwrap();
                    ticket.wait().unwrap();
                }
            });
        }
    });
    log.sync().unwrap();
    assert_eq!(records(&log).len(), 640);
}

/// The kill loop found this one: while a thread prepared a longer segment in place of one that was not begun yet, another
/// began the old one, whose name then went to the new file. Records that were acknowledged lay in a file without a name.
#[test]
fn records_of_all_sizes_from_many_threads_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..300 {
                    let len = if n % 5 == thread { 1500 + n } else { 20 + n % 100 };
                    log.append_synced(&numbered(thread * 1000 + n, len)).unwrap();
                }
            });
        }
    });
    assert_eq!(records(&log).len(), 1200);
    drop(log);
    let (log, report) = open(dir.path(), small());
    assert_eq!((records(&log).len(), report.healed), (1200, None));
}
