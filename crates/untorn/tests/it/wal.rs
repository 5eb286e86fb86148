//! The write-ahead log of typed events: how others failed at it, and the old single-file form.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use untorn::codec::{Json, Raw};
use untorn::fs::SyncSite;
use untorn::journal::wal::{
    OldTail, OldWalOptions, OldWalReader, RepairPolicy, WalEvent, WalFsReader, WalFsWriter,
    WalOptions, WalReader, WalWriter, convert_old_wal,
};
use untorn::log::{LogOptions, Upto};
use untorn::sim::{CallKind, DiskModel, Fault, FaultKind, Item, Meter, SimFs};
use untorn::{ErrorKind, Outcome};

const DIR: &str = "/wal";
const SEGMENT: &str = "/wal/0000000000000001.seg";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Happened {
    Created { name: String },
    Removed(u32),
}

fn happened(n: u64) -> Happened {
    if n.is_multiple_of(3) {
        Happened::Removed(u32::try_from(n).unwrap())
    } else {
        Happened::Created { name: format!("number {n} {}", "x".repeat(100)) }
    }
}

fn options(sim: &SimFs) -> WalOptions {
    WalOptions::new().fs(Arc::new(sim.clone()))
}

fn writer(sim: &SimFs) -> untorn::Result<WalFsWriter<Happened>> {
    WalFsWriter::with(DIR, options(sim))
}

fn reader(sim: &SimFs) -> untorn::Result<WalFsReader<Happened>> {
    WalFsReader::with(DIR, options(sim))
}

/// A log of so many events, flushed one by one; its writer was killed.
fn killed(count: u64) -> SimFs {
    let sim = SimFs::new(1);
    let mut wal = writer(&sim).unwrap();
    for n in 1..=count {
        wal.append(&WalEvent::new(n, happened(n))).unwrap();
        wal.flush().unwrap();
    }
    sim.kill()
}

fn sequences(reader: &mut WalFsReader<Happened>) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(event) = reader.read_next().unwrap() {
        assert_eq!(*event.event(), happened(event.sequence()));
        found.push(event.sequence());
    }
    assert!(reader.is_end());
    found
}

fn patch(sim: &SimFs, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = sim.read(path).unwrap();
    change(&mut bytes);
    sim.put(path, &bytes).unwrap();
}

/// Names and bytes, but for the lock file.
fn contents(sim: &SimFs) -> Vec<(String, Vec<u8>)> {
    let files = sim.dump().into_iter().filter_map(|(path, item)| match item {
        Item::File(bytes) if !path.ends_with("LOCK") => Some((path.display().to_string(), bytes)),
        _ => None,
    });
    files.collect()
}

/// Where the data frames of the first segment begin.
fn frames(sim: &SimFs) -> Vec<usize> {
    let bytes = sim.read(SEGMENT).unwrap();
    let starts = (64..bytes.len() - 8).step_by(8);
    starts.filter(|&at| bytes[at..at + 5] == *b"UFR1\x01").collect()
}

#[test]
fn events_come_back_in_order_with_their_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("wal");
    let mut wal = WalFsWriter::<Happened>::new(&dir).unwrap();
    assert_eq!(wal.current_sequence(), 0);
    for n in 1..=5 {
        wal.append(&WalEvent::new(n, happened(n))).unwrap();
    }
    let ticket = wal.submit(&happened(6)).unwrap();
    assert_eq!((ticket.wait().unwrap(), wal.current_sequence()), (6, 6));
    wal.flush().unwrap();
    assert_eq!(wal.log().durable_seq(), 6);

    let mut reader = WalFsReader::<Happened>::new(&dir).unwrap();
    assert_eq!(sequences(&mut reader), [1, 2, 3, 4, 5, 6]);
    assert_eq!(reader.current_sequence(), 6);
    assert!(reader.read_next().unwrap().is_none());
    wal.append(&WalEvent::new(7, happened(7))).unwrap();
    wal.flush().unwrap();
    assert!(reader.read_next().unwrap().is_none() && reader.is_end(), "the end stays the end");
    reader.reset_eof();
    assert!(!reader.is_end());
    assert_eq!(sequences(&mut reader), [7]);
    wal.append(&WalEvent::new(8, happened(8))).unwrap();
    wal.flush().unwrap();
    let event = reader.follow(Duration::from_secs(60)).unwrap().unwrap();
    assert_eq!(event.into_event(), happened(8));
    assert!(reader.follow(Duration::ZERO).unwrap().is_none());
    wal.close().unwrap();
    let wal = WalFsWriter::<Happened>::new_with_repair(&dir, RepairPolicy::TruncatePartial);
    assert_eq!(wal.unwrap().current_sequence(), 8);
}

#[test]
fn seeking_goes_to_an_event_to_the_end_or_is_refused() {
    let sim = killed(9);
    let wal = writer(&sim).unwrap();
    let mut reader = reader(&sim).unwrap();
    reader.seek_to_sequence(4).unwrap();
    assert_eq!((reader.current_sequence(), reader.is_end()), (3, false));
    assert_eq!(sequences(&mut reader), [4, 5, 6, 7, 8, 9]);
    reader.seek_to_sequence(2).unwrap();
    assert!(!reader.is_end());
    assert_eq!(reader.read_next().unwrap().unwrap().sequence(), 2);
    for above in [10, 1000, u64::MAX] {
        reader.seek_to_sequence(above).unwrap();
        assert_eq!((reader.is_end(), reader.current_sequence()), (true, 9), "{above}");
        assert!(reader.read_next().unwrap().is_none());
    }
    wal.submit(&happened(10)).unwrap().wait().unwrap();
    reader.seek_to_sequence(10).unwrap();
    assert_eq!(sequences(&mut reader), [10]);
    assert_eq!(reader.seek_to_sequence(0).unwrap_err().kind(), ErrorKind::OutOfRange);
}

#[test]
fn only_the_next_sequence_is_appended() {
    let sim = SimFs::new(1);
    let mut wal = writer(&sim).unwrap();
    wal.append(&WalEvent::new(1, happened(1))).unwrap();
    for wrong in [0, 1, 3, u64::MAX] {
        let error = wal.append(&WalEvent::new(wrong, happened(1))).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::OutOfRange, Outcome::Unchanged));
        let told = error.to_string();
        assert!(told.contains("sequence 2") && told.contains(&format!(" {wrong}")), "{told}");
    }
    assert_eq!(wal.current_sequence(), 1);
}

#[test]
fn an_event_that_does_not_decode_is_named_and_can_be_passed() {
    let sim = SimFs::new(1);
    let raw = WalOptions::with_codec(Raw).fs(Arc::new(sim.clone()));
    let mut wal = WalFsWriter::<Vec<u8>, Raw>::with(DIR, raw).unwrap();
    for (n, bytes) in [(1, &b"{\"Removed\":1}"[..]), (2, b"?"), (3, b"{\"Removed\":3}")] {
        wal.append(&WalEvent::new(n, bytes.to_vec())).unwrap();
    }
    wal.flush().unwrap();
    let mut reader = reader(&sim).unwrap();
    assert!(reader.read_next().unwrap().is_some());
    for _ in 0..2 {
        let error = reader.read_next().unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Codec, Some(Path::new(DIR))));
        assert!(error.to_string().contains("event 2"), "{error}");
    }
    reader.seek_to_sequence(3).unwrap();
    assert_eq!(sequences(&mut reader), [3]);
}

/// (9) actionqueue-storage, opened leniently: one flipped bit in record 11 of 1000 cut 990 records and said Ok. Damage is
/// refused by both policies, and nothing is changed.
#[test]
fn a_flipped_bit_cuts_990_records() {
    let sim = killed(1000);
    let at = frames(&sim)[10] as u64 + 60;
    sim.flip_bit(SEGMENT, at * 8).unwrap();
    let before = contents(&sim);
    let refused = [
        writer(&sim).map(drop).unwrap_err(),
        reader(&sim).map(drop).unwrap_err(),
        writer(&sim).map(drop).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert_eq!(error.path(), Some(Path::new(SEGMENT)));
    }
    assert_eq!(contents(&sim), before);
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &before {
        std::fs::write(dir.path().join(Path::new(path).file_name().unwrap()), bytes).unwrap();
    }
    for policy in [RepairPolicy::Strict, RepairPolicy::TruncatePartial] {
        let error = WalFsWriter::<Happened>::new_with_repair(dir.path(), policy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }
}

/// (10) actionqueue-storage: a bad length in the middle of the log was taken for a torn tail, and what followed was cut.
#[test]
fn a_bad_length_mid_log_is_a_torn_tail() {
    let sim = killed(20);
    let at = frames(&sim)[9] + 8;
    patch(&sim, SEGMENT, |bytes| bytes[at..at + 4].copy_from_slice(&[0xff; 4]));
    assert_eq!(writer(&sim).unwrap_err().kind(), ErrorKind::Damaged);
}

/// (11) actionqueue-storage 0.1 and 0.3: a tail that the crash left zero-filled, or out of order, was refused for ever. It
/// is healed and reported.
#[test]
fn a_zero_filled_tail_is_refused_for_ever() {
    for tail in [0, 1] {
        let sim = killed(7);
        let last = *frames(&sim).last().unwrap();
        patch(&sim, SEGMENT, |bytes| match tail {
            0 => bytes[last..].fill(0),
            _ => bytes[last..last + 48].fill(0), // its header was lost, its body came
        });
        let wal = writer(&sim).unwrap();
        assert_eq!(wal.current_sequence(), 6);
        assert_eq!(wal.report().healed.is_some(), tail == 1);
        drop(wal);
        assert_eq!(sequences(&mut reader(&sim).unwrap()), [1, 2, 3, 4, 5, 6]);
    }
}

/// (12) actionqueue-storage: a record of a newer version was cut. It is `NewerFormat`, and nothing is changed.
#[test]
fn a_record_of_a_newer_version_is_cut() {
    let sim = killed(3);
    patch(&sim, "/wal/META", |bytes| {
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..132]);
        bytes[132..].copy_from_slice(&crc.to_le_bytes());
    });
    let before = contents(&sim);
    assert_eq!(writer(&sim).unwrap_err().kind(), ErrorKind::NewerFormat);
    assert_eq!(reader(&sim).unwrap_err().kind(), ErrorKind::NewerFormat);
    assert_eq!(contents(&sim), before);
}

/// (13) actionqueue-storage: two writers on one log, and of their records two survived. The second one is `Locked`.
#[test]
fn two_writers_lose_each_others_records() {
    let sim = SimFs::new(1);
    let mut first = writer(&sim).unwrap();
    assert_eq!(writer(&sim).unwrap_err().kind(), ErrorKind::Locked);
    first.append(&WalEvent::new(1, happened(1))).unwrap();
    first.close().unwrap();
    assert_eq!(writer(&sim).unwrap().current_sequence(), 1);
}

/// (14) actionqueue-storage: where the log began after the snapshot's sequence plus one, the durable tail was ignored. What
/// is known to be acknowledged and is not there is damage.
#[test]
fn a_gap_after_the_snapshot_hides_the_tail() {
    let sim = killed(5);
    let log = LogOptions::new().fs(Arc::new(sim.clone())).acknowledged(9);
    let opened = WalFsWriter::<Happened>::with(DIR, WalOptions::new().log(log));
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(writer(&sim).unwrap().current_sequence(), 5);
}

/// (15) actionqueue-storage: the directory of a new log was never synced, so that a power cut took all of it. After the
/// first flush every state of the disk has the event.
#[test]
fn a_new_log_is_lost_with_its_directory() {
    for model in DiskModel::standard() {
        let sim = SimFs::with_model(1, model);
        let mut wal = WalFsWriter::<Happened>::with("/a/b/wal", options(&sim)).unwrap();
        wal.append(&WalEvent::new(1, happened(1))).unwrap();
        wal.flush().unwrap();
        let states: Vec<_> = sim.power_states().collect();
        assert!(!states.is_empty());
        for pick in states {
            let after = sim.power_cut(&pick);
            let wal = WalFsWriter::<Happened>::with("/a/b/wal", options(&after)).unwrap();
            assert_eq!(wal.current_sequence(), 1, "{model}: {pick}");
        }
    }
}

/// (16) actionqueue-storage: fsync failed, the retry said Ok, and the record was not there after the crash. The writer is
/// poisoned, and only a new one goes on.
#[test]
fn a_failed_sync_is_retried() {
    let sim = SimFs::new(1);
    let mut wal = writer(&sim).unwrap();
    wal.append(&WalEvent::new(1, happened(1))).unwrap();
    wal.flush().unwrap();
    wal.append(&WalEvent::new(2, happened(2))).unwrap();
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData));
    for _ in 0..2 {
        let error = wal.flush().unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Poisoned, Outcome::Unknown));
    }
    let error = wal.append(&WalEvent::new(3, happened(3))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    drop(wal);
    let mut wal = writer(&sim).unwrap();
    let next = wal.current_sequence() + 1;
    wal.append(&WalEvent::new(next, happened(next))).unwrap();
    wal.flush().unwrap();
    let pick = sim.power_states().next().unwrap();
    let after = sim.power_cut(&pick);
    assert_eq!(writer(&after).unwrap().current_sequence(), next);
}

#[test]
fn a_flush_is_one_sync_and_a_second_one_none() {
    let sim = SimFs::new(1);
    let meter = Meter::new(Arc::new(sim));
    let options = WalOptions::new().fs(Arc::new(meter.clone()));
    let mut wal = WalFsWriter::<Happened>::with(DIR, options).unwrap();
    for (appended, syncs) in [(3, 1), (0, 0), (1, 1)] {
        meter.reset();
        for _ in 0..appended {
            let next = wal.current_sequence() + 1;
            wal.append(&WalEvent::new(next, happened(next))).unwrap();
        }
        assert_eq!(meter.counts().total_syncs(), 0);
        wal.flush().unwrap();
        assert_eq!(meter.counts().total_syncs(), syncs);
    }
}

#[test]
fn a_reader_of_what_is_vouched_for_ends_there() {
    let sim = killed(4);
    let upto = |upto| {
        let options = options(&sim).upto(upto);
        sequences(&mut WalFsReader::with(DIR, options).unwrap())
    };
    assert_eq!(upto(Upto::Written), [1, 2, 3, 4]);
    assert_eq!(upto(Upto::Durable), [1, 2, 3]);
}

// The old single-file form.

const OLD: &str = "/old.wal";

/// One frame: version, length, crc, and the payload: sequence as a varint, event.
fn frame(version: u32, sequence: u64, event: &[u8]) -> Vec<u8> {
    let (mut payload, mut rest) = (Vec::new(), sequence);
    while rest >= 0x80 {
        payload.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    payload.push(rest.to_le_bytes()[0]);
    payload.extend(event);
    let length = u32::try_from(payload.len()).unwrap();
    let crc = crc32fast::hash(&payload);
    [&version.to_le_bytes(), &length.to_le_bytes(), &crc.to_le_bytes(), &payload[..]].concat()
}

fn event(n: u64) -> Vec<u8> {
    (0..40 + n * 31).map(|at| (at * 7 + n).to_le_bytes()[0] | 1).collect()
}

/// Frames of the events 1 to `count`, and where each begins.
fn old(count: u64) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for n in 1..=count {
        starts.push(bytes.len());
        bytes.extend(frame(5, n, &event(n)));
    }
    (bytes, starts)
}

/// The sequences that are read of these bytes, and how it ends.
fn read(bytes: &[u8], allow_gaps: bool) -> (Vec<u64>, Result<OldTail, ErrorKind>) {
    let sim = SimFs::new(1);
    sim.put(OLD, bytes).unwrap();
    let options = OldWalOptions::new().allow_gaps(allow_gaps).fs(Arc::new(sim.clone()));
    let mut reader = OldWalReader::with(OLD, &options).unwrap();
    let mut found = Vec::new();
    let end = loop {
        match reader.next() {
            Ok(Some(record)) => {
                assert_eq!(record.event, event(record.sequence));
                found.push(record.sequence);
            }
            Ok(None) => break Ok(reader.outcome().clone()),
            Err(error) => break Err(error.kind()),
        }
    };
    // It stays so, and nothing was changed.
    assert_eq!(
        reader.next().map(|next| next.is_none()).map_err(|e| e.kind()),
        end.clone().map(|_| true)
    );
    assert_eq!(matches!(reader.outcome(), OldTail::Damaged { .. }), end == Err(ErrorKind::Damaged));
    assert_eq!(sim.read(OLD).unwrap(), bytes);
    (found, end)
}

#[track_caller]
fn check_old(bytes: &[u8], count: u64, end: Result<OldTail, ErrorKind>) {
    assert_eq!(read(bytes, false), ((1..=count).collect(), end));
}

#[test]
fn an_old_log_that_is_whole_ends_clean() {
    check_old(b"", 0, Ok(OldTail::Clean));
    check_old(&old(1).0, 1, Ok(OldTail::Clean));
    check_old(&old(200).0, 200, Ok(OldTail::Clean)); // sequences of one and of two bytes
}

#[test]
fn an_old_log_cut_at_any_byte_is_torn_there() {
    let (bytes, starts) = old(4);
    for len in starts[3] + 1..bytes.len() {
        let tail = OldTail::Torn { offset: starts[3] as u64, bytes: (len - starts[3]) as u64 };
        check_old(&bytes[..len], 3, Ok(tail));
    }
    check_old(&bytes[..starts[3]], 3, Ok(OldTail::Clean));
}

/// (11) for the old form: a zero-filled tail, or a sector that did not come, was refused for ever.
#[test]
fn an_old_log_with_a_zero_tail_or_a_missing_sector_is_torn() {
    let (bytes, starts) = old(4);
    let torn = |bytes: usize| Ok(OldTail::Torn { offset: starts[3] as u64, bytes: bytes as u64 });
    for zeros in [1, 11, 12, 4096] {
        let tail = [&bytes[..starts[3]], &vec![0; zeros]].concat();
        check_old(&tail, 3, torn(zeros));
    }
    let long = [&bytes[..starts[3]], &frame(5, 4, &[7; 1500])].concat();
    for sector in starts[3] / 512..long.len() / 512 {
        let mut holed = long.clone();
        holed[(sector * 512).max(starts[3])..(sector + 1) * 512].fill(0);
        check_old(&holed, 3, torn(long.len() - starts[3]));
    }
}

/// (9) and (10) for the old form: what is behind a flaw and verifies was written after it, so the flaw is no torn tail.
#[test]
fn an_old_log_that_is_damaged_in_the_middle_is_refused() {
    let (bytes, starts) = old(6);
    let damage = Err(ErrorKind::Damaged);
    for at in starts[2]..starts[3] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        let (found, end) = read(&flipped, false);
        // A changed version is told apart by its checksum; it is refused as well.
        let version = at < starts[2] + 4;
        assert_eq!(found, [1, 2]);
        assert_eq!(end, if version { Err(ErrorKind::NewerFormat) } else { damage.clone() }, "{at}");
    }
    // A length that runs past the end, and frames that verify behind it.
    let mut long = bytes.clone();
    long[starts[2] + 4..starts[2] + 8].copy_from_slice(&[0xff; 4]);
    check_old(&long, 2, damage.clone());
    // A hole, and frames that verify behind it.
    let mut hole = bytes.clone();
    hole[starts[2]..starts[3]].fill(0);
    check_old(&hole, 2, damage.clone());
    // The last one, flipped: no hole in it, not cut.
    let mut last = bytes.clone();
    *last.last_mut().unwrap() ^= 1;
    check_old(&last, 5, damage.clone());
    // Zeros that something follows that is no frame.
    let rubbish = [&bytes[..], &[0; 600], b"rubbish"].concat();
    let torn = OldTail::Torn { offset: bytes.len() as u64, bytes: 607 };
    check_old(&rubbish, 6, Ok(torn));
    check_old(&[&bytes[..], b"rubbish, more than a header"].concat(), 6, damage);
}

/// (14) for the old form: a gap was passed over without a word.
#[test]
fn an_old_log_with_a_gap_is_refused_unless_gaps_are_allowed() {
    let gap = [frame(5, 1, &event(1)), frame(5, 3, &event(3)), frame(5, 7, &event(7))].concat();
    check_old(&gap, 1, Err(ErrorKind::Damaged));
    assert_eq!(read(&gap, true), (vec![1, 3, 7], Ok(OldTail::Clean)));
    let late = frame(5, 2, &event(2));
    check_old(&late, 0, Err(ErrorKind::Damaged));
    assert_eq!(read(&late, true), (vec![2], Ok(OldTail::Clean)));
    for back in [frame(5, 1, &event(1)), frame(5, 0, &event(0))] {
        let twice = [frame(5, 1, &event(1)), back].concat();
        assert_eq!(read(&twice, true), (vec![1], Err(ErrorKind::Damaged)));
    }
}

/// (12) for the old form: a record of a newer version was cut.
#[test]
fn an_old_log_of_another_version_is_named() {
    let (bytes, _) = old(2);
    check_old(&[&bytes[..], &frame(6, 3, b"new")].concat(), 2, Err(ErrorKind::NewerFormat));
    check_old(&[&bytes[..], &frame(4, 3, b"old")].concat(), 2, Err(ErrorKind::Unsupported));
    check_old(&frame(6, 1, b"new"), 0, Err(ErrorKind::NewerFormat));
    let text = "This is a text and not a log at all.\n".repeat(20);
    check_old(text.as_bytes(), 0, Err(ErrorKind::NotOurs));
}

/// Behind a torn record, bytes that look like the headers of frames that reach far, so that looking for one that verifies
/// takes for ever. It ends, and says damaged.
#[test]
fn an_old_log_that_takes_for_ever_to_judge_is_damaged() {
    let hostile = |count: u32| {
        let mut bytes = old(1).0;
        bytes.extend([5_u32.to_le_bytes(), 2000_u32.to_le_bytes(), *b"nope"].concat());
        bytes.extend([[9; 400], [0; 400], [0; 400], [0; 400], [9; 400]].concat());
        for n in 0..count {
            bytes.extend([5_u32.to_le_bytes(), ((count - n) * 16 - 12).to_le_bytes()].concat());
            bytes.extend([1, 2, 3, 4, 9, 9, 9, 9]);
        }
        bytes
    };
    assert!(matches!(read(&hostile(20), false).1, Ok(OldTail::Torn { .. })));
    let bytes = hostile(40_000);
    let largest = crate::alloc::largest_during(|| {
        assert_eq!(read(&bytes, false).1, Err(ErrorKind::Damaged));
    });
    assert!(largest < 4 << 20, "{largest}");
}

#[test]
fn a_length_field_of_an_old_log_takes_no_memory() {
    let sim = SimFs::new(1);
    let mut bytes = frame(5, 1, b"x");
    bytes[4..8].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
    sim.put(OLD, &bytes).unwrap();
    let options = OldWalOptions::new().fs(Arc::new(sim));
    let mut reader = OldWalReader::with(OLD, &options).unwrap();
    let largest = crate::alloc::largest_during(|| assert!(reader.next().unwrap().is_none()));
    assert!(largest < 64 << 10, "{largest}");
    assert_eq!(*reader.outcome(), OldTail::Torn { offset: 0, bytes: 14 });
}

#[test]
fn an_old_log_becomes_a_log_whole_or_not_at_all() {
    let sim = SimFs::new(1);
    sim.make_dirs("/new").unwrap();
    let (bytes, starts) = old(30);
    sim.put(OLD, &bytes[..bytes.len() - 1]).unwrap();
    let meter = Meter::new(Arc::new(sim.clone()));
    let options = OldWalOptions::new().fs(Arc::new(meter.clone()));
    let report = convert_old_wal(OLD, "/new/log", &options).unwrap();
    let counts = meter.counts();
    for site in [SyncSite::ArtifactDir, SyncSite::ArtifactParent] {
        assert_eq!(counts.syncs_at(site), 1);
    }
    assert_eq!((report.records, report.runs.len()), (29, 1));
    let run = report.runs[0];
    assert_eq!((run.old_first, run.old_last, run.new_first), (1, 29, 1));
    assert!(matches!(report.tail, OldTail::Torn { offset, .. } if offset == starts[29] as u64));
    // Never over something, and nothing is there if it fails.
    let again = convert_old_wal(OLD, "/new/log", &options).unwrap_err();
    assert_eq!((again.kind(), again.outcome()), (ErrorKind::AlreadyExists, Outcome::Unchanged));
    patch(&sim, OLD, |bytes| bytes[starts[3] + 20] ^= 1);
    let error = convert_old_wal(OLD, "/new/other", &options).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Damaged, Outcome::Unchanged));
    let names = sim.dump().into_keys().filter(|path| path.parent() == Some(Path::new("/new")));
    assert_eq!(names.collect::<Vec<_>>(), [Path::new("/new/log")]);
    for pick in sim.power_states() {
        let sim = sim.power_cut(&pick);
        let options = WalOptions::with_codec(Raw).fs(Arc::new(sim.clone()));
        let mut reader = WalFsReader::<Vec<u8>, Raw>::with("/new/log", options).unwrap();
        for n in 1..=29 {
            let read = reader.read_next().unwrap().unwrap();
            assert_eq!((read.sequence(), read.event()), (n, &event(n)));
        }
        assert!(reader.read_next().unwrap().is_none());
        untorn::sweep_with("/new", Arc::new(sim.clone())).unwrap();
        assert!(sim.dump().keys().all(|path| !path.display().to_string().contains("untorn-tmp")));
    }
}

#[test]
fn gaps_of_an_old_log_are_closed_and_reported() {
    let sim = SimFs::new(1);
    let gaps: Vec<u8> = [2, 3, 9].iter().flat_map(|n| frame(5, *n, &event(*n))).collect();
    sim.put(OLD, &gaps).unwrap();
    let options = OldWalOptions::new().allow_gaps(true).fs(Arc::new(sim));
    let report = convert_old_wal(OLD, "/log", &options).unwrap();
    let runs: Vec<_> =
        report.runs.iter().map(|run| (run.old_first, run.old_last, run.new_first)).collect();
    assert_eq!(runs, [(2, 3, 1), (9, 9, 3)]);
}

#[test]
fn handles_may_be_shared() {
    const fn shared<T: Send + Sync>() {}
    shared::<WalFsWriter<Happened, Json>>();
    shared::<WalFsReader<Happened, Json>>();
    shared::<OldWalReader>();
}
