//! How other logs failed, and what this one does instead. Each test tells its story; the numbers are of the list of
//! failures that were reproduced in existing crates. On the simulated disk.

use std::path::Path;
use std::sync::Arc;

use untorn::fs::Fs;
use untorn::log::{Log, LogOptions, LogPos, LogReport, Upto};
use untorn::sim::{CallKind, Fault, FaultKind, Item, SimFs};
use untorn::{Durability, Error, ErrorKind, OnDamage, Outcome};

const DIR: &str = "/log";

fn options(sim: &SimFs) -> LogOptions {
    LogOptions::new().segment_bytes(1024).fs(Arc::new(sim.clone()))
}

fn buffered(sim: &SimFs) -> LogOptions {
    options(sim).durability(Durability::Buffered)
}

fn open(sim: &SimFs) -> Result<(Log, LogReport), Error> {
    Log::open(DIR, options(sim))
}

fn records(log: &Log) -> Vec<Vec<u8>> {
    let mut scan = log.read(log.first_seq(), Upto::Durable).unwrap();
    let mut all = Vec::new();
    while let Some(record) = scan.next().unwrap() {
        all.push(record.bytes.to_vec());
    }
    all
}

fn record(n: usize) -> Vec<u8> {
    format!("this is record number {n}").into_bytes()
}

/// Changes bytes of a file behind everybody's back.
fn patch(sim: &SimFs, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = sim.read(path).unwrap();
    change(&mut bytes);
    sim.put(path, &bytes).unwrap();
}

fn segment(number: u64) -> String {
    format!("{DIR}/{number:016x}.seg")
}

/// Names and bytes of a log's directory, but for the lock file, which says who looked last.
fn contents(sim: &SimFs) -> Vec<(String, Vec<u8>)> {
    let files = sim.dump().into_iter().filter_map(|(path, item)| match item {
        Item::File(bytes) if !path.ends_with("LOCK") => Some((path.display().to_string(), bytes)),
        _ => None,
    });
    files.collect()
}

/// How the owner of a log left it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    /// Closed in order: every byte is vouched for.
    Closed,
    /// Killed right after the last acknowledgement.
    Killed,
}

fn twelve_records(left: Left) -> SimFs {
    let sim = SimFs::new(7);
    let (log, _) = open(&sim).unwrap();
    for n in 1..=12 {
        log.append_synced(&[record(n), vec![b'.'; 130]].concat()).unwrap();
    }
    match left {
        Left::Closed => {
            log.close().unwrap();
            sim.kill()
        }
        Left::Killed => sim.kill(), // before the drop, which would vouch for the last record
    }
}

/// Opens a log into which something was done, and says what must hold: a typed error and nothing changed, or records
/// that are a prefix of what was written, with a report and a copy of what is missing.
#[track_caller]
fn check_harmed(sim: &SimFs, left: Left, what: &str) -> bool {
    let before = contents(sim);
    match open(sim) {
        Err(e) => {
            let known = [ErrorKind::Damaged, ErrorKind::NotOurs, ErrorKind::NewerFormat];
            assert!(known.contains(&e.kind()), "{what}: {e}");
            assert_eq!(contents(sim), before, "{what}: a refusal changes nothing");
            false
        }
        Ok((log, report)) => {
            let found = records(&log);
            assert!(found.len() <= 12, "{what}");
            for (n, bytes) in found.iter().enumerate() {
                assert!(bytes.starts_with(&record(n + 1)), "{what}: record {} changed", n + 1);
                assert!(bytes[record(n + 1).len()..].iter().all(|&b| b == b'.'), "{what}");
            }
            if found.len() < 12 {
                assert_eq!(left, Left::Killed, "{what}: nothing is lost after a close");
                assert_eq!(found.len(), 11, "{what}: only the last record is not vouched for");
                let healed = report.healed.unwrap_or_else(|| panic!("{what}: lost in silence"));
                assert!(!healed.quarantine.is_empty(), "{what}: lost without a copy");
            }
            true
        }
    }
}

/// (9) One flipped bit in record 11 of 1000 cut 990 records from another log, which then said Ok.
#[test]
fn every_single_bit_flip_is_refused_or_harmless() {
    for left in [Left::Closed, Left::Killed] {
        let sim = twelve_records(left);
        let (mut refused, mut harmless) = (0, 0);
        for (path, bytes) in contents(&sim) {
            for bit in 0..bytes.len() as u64 * 8 {
                let fork = sim.kill();
                fork.flip_bit(&path, bit).unwrap();
                let opened = check_harmed(&fork, left, &format!("{left:?}, {path}, bit {bit}"));
                *if opened { &mut harmless } else { &mut refused } += 1;
            }
        }
        // Both happen: bits of acknowledged records, and bits of what lies behind the end.
        assert!(refused > 10_000 && harmless > 1000, "{refused} refused, {harmless} harmless");
    }
}

/// (21) A missing index made another log panic; a short file is a typed error here, wherever it ends.
#[test]
fn every_truncation_point_is_refused_or_harmless() {
    for left in [Left::Closed, Left::Killed] {
        let sim = twelve_records(left);
        for (path, bytes) in contents(&sim) {
            for len in 0..bytes.len() {
                let fork = sim.kill();
                patch(&fork, &path, |bytes| bytes.truncate(len));
                check_harmed(&fork, left, &format!("{left:?}, {path} cut to {len}"));
            }
        }
    }
}

/// (21) Any bytes may stand in a file: no panic, no wrong record.
#[test]
fn random_bytes_are_a_typed_error() {
    let sim = twelve_records(Left::Closed);
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new(99));
    for round in 0..300 {
        for (path, bytes) in contents(&sim) {
            let mut noise = vec![0; bytes.len() * (round % 3) + round];
            fs.entropy(&mut noise).unwrap();
            let keep = bytes.len().min(round % 80);
            noise.splice(..keep.min(noise.len()), bytes[..keep].iter().copied());
            let fork = sim.kill();
            fork.put(&path, &noise).unwrap();
            check_harmed(&fork, Left::Closed, &format!("{path}, round {round}"));
        }
    }
}

/// What recovery must say of a row of the worked table in docs/DURABILITY.md.
#[derive(Debug)]
enum Says {
    /// It ends after this record, without a word.
    Ends(u64),
    /// It ends after this record, and what followed was cut.
    Healed(u64),
    HealedSuspect(u64),
    /// Refused: these records are lost.
    Damaged(u64, u64),
}

/// A log on disk: F1 holds records 1..=3 and is synced; then whatever `more` does.
fn table_log(more: impl FnOnce(&Log) -> Vec<LogPos>) -> (SimFs, Vec<LogPos>) {
    let sim = SimFs::new(3);
    let (log, _) = Log::open(DIR, buffered(&sim).segment_bytes(8192)).unwrap();
    log.append_batch([&b"one"[..], b"two", b"three"]).unwrap().wait().unwrap();
    log.sync().unwrap();
    let frames = more(&log);
    let sim = sim.kill();
    (sim, frames)
}

fn frame(log: &Log, records: &[&[u8]]) -> LogPos {
    let ticket = log.append_batch(records.iter().copied()).unwrap();
    ticket.wait().unwrap();
    ticket.pos().unwrap()
}

#[track_caller]
fn check_row(sim: &SimFs, says: &Says) {
    let opened = Log::open(DIR, options(sim).segment_bytes(8192));
    let healed = |last: u64, suspect: bool| {
        let (log, report) = opened.as_ref().unwrap();
        assert_eq!((report.last_seq, log.durable_seq()), (last, last), "{says:?}");
        let healed = report.healed.as_ref().unwrap_or_else(|| panic!("{says:?}: in silence"));
        assert_eq!(healed.suspect, suspect, "{says:?}");
        assert_eq!((healed.quarantine.len(), healed.lost), (1, None), "{says:?}");
    };
    match *says {
        Says::Ends(last) => {
            let (_, report) = opened.as_ref().unwrap();
            assert_eq!((report.last_seq, &report.healed), (last, &None), "{says:?}");
        }
        Says::Healed(last) => healed(last, false),
        Says::HealedSuspect(last) => healed(last, true),
        Says::Damaged(first, last) => {
            let error = opened.as_ref().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{says:?}");
            assert!(error.to_string().contains(&format!("{first}..={last}")), "{error}");
        }
    }
}

fn zero(sim: &SimFs, from: u64, len: usize) {
    let from = usize::try_from(from).unwrap();
    patch(sim, &segment(1), |bytes| bytes[from..from + len].fill(0));
}

fn flip(sim: &SimFs, at: u64) {
    patch(sim, &segment(1), |bytes| bytes[usize::try_from(at).unwrap()] ^= 4);
}

/// (10), (11), (26) The worked table: what is torn heals, what is damaged refuses, and a bad length is no torn tail.
#[test]
fn the_worked_table_of_torn_and_damaged() {
    let big = vec![7; 1500];
    let two: [&[u8]; 2] = [b"four", b"five"];

    let (sim, _) = table_log(|_| Vec::new());
    check_row(&sim, &Says::Ends(3));

    // F2 cut at any byte, as a kill leaves it.
    let (whole, frames) = table_log(|log| vec![frame(log, &two)]);
    check_row(&whole.kill(), &Says::Ends(5));
    for keep in 0..48 + 4 + 4 + 4 + 4 {
        let sim = whole.kill();
        zero(&sim, frames[0].frame + keep, 200);
        let says = if keep == 0 { Says::Ends(3) } else { Says::Healed(3) };
        check_row(&sim, &says);
    }

    // F2 with its second sector lost.
    let (sim, frames) = table_log(|log| vec![frame(log, &[&big, b"five"])]);
    zero(&sim, frames[0].frame.next_multiple_of(512), 512);
    check_row(&sim, &Says::Healed(3));

    // F2 torn, F3 whole: it overtook F2, and was not acknowledged either.
    let (sim, frames) = table_log(|log| vec![frame(log, &[&big, b"five"]), frame(log, &[b"six"])]);
    zero(&sim, frames[0].frame.next_multiple_of(512), 512);
    check_row(&sim, &Says::Healed(3));

    // F2 bad, F3's header says that it was acknowledged, F3's body torn.
    let acknowledged = |log: &Log, records: &[&[u8]]| {
        let pos = frame(log, records);
        log.sync().unwrap();
        pos
    };
    let (sim, frames) =
        table_log(|log| vec![acknowledged(log, &two), frame(log, &[b"six and more"])]);
    flip(&sim, frames[0].frame + 50);
    flip(&sim, frames[1].frame + 55);
    check_row(&sim, &Says::Damaged(4, 5));

    // F2's length flipped, a later header vouches for it; salvage goes on behind it.
    let (sim, frames) = table_log(|log| vec![acknowledged(log, &two), frame(log, &[b"six"])]);
    flip(&sim, frames[0].frame + 8);
    check_row(&sim, &Says::Damaged(4, 5));
    let mut salvaged = Vec::new();
    let report = Log::salvage(DIR, &options(&sim), |record| {
        salvaged.push(record.seq);
        Ok(())
    });
    let report = report.unwrap();
    assert_eq!((&salvaged[..], report.holes[0].seqs), (&[1, 2, 3, 6][..], Some((4, 5))));

    // F2 last and acknowledged, one bit flipped, killed: nothing vouches for it, and it does not look torn.
    let (sim, frames) = table_log(|log| vec![acknowledged(log, &[&big[..400], b"five"])]);
    flip(&sim, frames[0].frame + 60);
    check_row(&sim, &Says::HealedSuspect(3));

    // The same after a clean close, and F2 all zero.
    for zeroed in [false, true] {
        let sim = SimFs::new(3);
        let (log, _) = Log::open(DIR, buffered(&sim).segment_bytes(8192)).unwrap();
        log.append_batch([&b"one"[..], b"two", b"three"]).unwrap().wait().unwrap();
        log.sync().unwrap();
        let pos = frame(&log, &two);
        log.close().unwrap();
        let sim = sim.kill();
        if zeroed {
            zero(&sim, pos.frame, 200);
        } else {
            flip(&sim, pos.frame + 60);
        }
        check_row(&sim, &Says::Damaged(4, 5));
    }
}

/// (11) A torn tail that was zero-filled, or landed out of order, made other logs refuse for ever.
/// (26) acid-state: after a crash the store would not open. The explorer shows both in every crash state; here it is
/// that a second open has nothing more to say.
#[test]
fn a_healed_log_stays_healed() {
    let (sim, frames) = table_log(|log| vec![frame(log, &[b"four"])]);
    zero(&sim, frames[0].frame + 20, 100);
    let (log, report) = Log::open(DIR, options(&sim)).unwrap();
    assert!((8..=20).contains(&report.healed.unwrap().bytes));
    assert_eq!(log.append_synced(b"four again").unwrap(), 4);
    drop(log);
    let (log, report) = Log::open(DIR, options(&sim)).unwrap();
    assert_eq!((report.healed, records(&log).len()), (None, 4));
}

/// (12) A record of a newer version was cut as a torn tail by the older program.
#[test]
fn a_newer_version_is_neither_cut_nor_called_damage() {
    let newer = |path: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let sim = twelve_records(Left::Closed);
        patch(&sim, path, |bytes| change(bytes));
        let before = contents(&sim);
        let error = open(&sim).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerFormat, "{error}");
        assert_eq!(contents(&sim), before);
    };
    let crc = |bytes: &mut [u8]| {
        let (body, tail) = bytes.split_at_mut(bytes.len() - 4);
        tail.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    };
    newer(&format!("{DIR}/META"), &|bytes| {
        bytes[8] = 2;
        crc(bytes);
    });
    newer(&segment(2), &|bytes| {
        bytes[8] = 2;
        crc(&mut bytes[..64]);
    });
}

/// (14) A gap after the snapshot: another log ignored the durable records behind it.
#[test]
fn a_missing_segment_is_damage() {
    for number in 1..=3 {
        let sim = twelve_records(Left::Closed);
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let dir = fs.open_dir(Path::new(DIR)).unwrap();
        dir.unlink(format!("{number:016x}.seg").as_ref()).unwrap();
        let error = open(&sim).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert_eq!(error.path().unwrap(), Path::new(&segment(number)));
    }
    let sim = twelve_records(Left::Closed);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    fs.open_dir(Path::new(DIR)).unwrap().unlink("META".as_ref()).unwrap();
    assert_eq!(open(&sim).unwrap_err().kind(), ErrorKind::Damaged, "records without META");
}

/// (16) After a failed fsync another log tried again, was told Ok, and lost what it had acknowledged; a third one let
/// its committers hang.
#[test]
fn a_failed_sync_is_final_and_wakes_everybody() {
    let sim = SimFs::new(11);
    let (log, _) = open(&sim).unwrap();
    log.append_synced(b"before").unwrap();
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| log.append_synced(b"lost"))).collect();
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Poisoned, Outcome::Unknown));
        let errno = std::error::Error::source(&error).map(ToString::to_string);
        assert!(
            errno.is_some_and(|first| first.contains("os error 5")),
            "the first cause: {error}"
        );
    }
    assert_eq!(log.append(b"x").unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(log.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(log.stats().poisoned && log.stats().sync_errors == 1);
    assert_eq!(records(&log), [b"before"], "what is durable can be read");
    drop(log);

    // In the same boot the cache still shows what the disk does not have. The open writes it anew.
    let (log, _) = open(&sim).unwrap();
    let shown = records(&log);
    log.append_synced(b"after").unwrap();
    for pick in sim.power_states() {
        let (log, _) = open(&sim.power_cut(&pick)).unwrap();
        let found = records(&log);
        assert_eq!((&found[..shown.len()], found.len()), (&shown[..], shown.len() + 1), "{pick}");
    }
}

/// (17) fjall #308: half a batch was left by a failed write, and what was acknowledged later was lost with it.
#[test]
fn a_failed_write_leaves_no_half_batch() {
    for kind in [FaultKind::NoSpace, FaultKind::Io] {
        let sim = SimFs::new(13);
        let (log, _) = open(&sim).unwrap();
        log.append_synced(b"one").unwrap();
        let half = Fault::new(kind).on(CallKind::Write).effect(untorn::sim::Effect::Prefix);
        sim.inject(half.on_path(segment(1)));
        let batch = log.append_batch([&b"two"[..], b"three"]).unwrap();
        let error = batch.wait().unwrap_err();
        if kind == FaultKind::NoSpace {
            // Taken back: the log goes on at once.
            assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
            assert_eq!(log.append_synced(b"two again").unwrap(), 2);
        } else {
            assert_eq!(error.kind(), ErrorKind::Poisoned);
        }
        let expected = if kind == FaultKind::NoSpace { 2 } else { 1 };
        drop((log, batch));
        for pick in sim.power_states() {
            let (log, _) = open(&sim.power_cut(&pick)).unwrap();
            assert_eq!(records(&log).len(), expected, "{kind:?} {pick}");
        }
    }
}

/// (18) After a full disk another log needed a reopen and a full replay.
#[test]
fn a_full_disk_shows_at_admission_and_a_retry_works() {
    let sim = SimFs::new(17);
    let (log, _) = open(&sim).unwrap();
    sim.set_capacity(Some(4096));
    let mut written = 0;
    let error = loop {
        match log.append_synced(&[b'x'; 300]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!((2..20).contains(&written), "{written}");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    assert!(error.to_string().contains("free some space"), "{error}");
    assert!(!log.stats().poisoned);
    sim.set_capacity(None);
    assert_eq!(log.append_synced(b"room again").unwrap(), written + 1);
    assert_eq!(records(&log).len() as u64, written + 1);
}

/// (19) One log file for ever: a log that is cut at the front has a bounded number of files.
#[test]
fn a_log_that_is_cut_at_the_front_stays_small() {
    let sim = SimFs::new(19);
    let (log, _) = open(&sim).unwrap();
    for n in 0..500 {
        let seq = log.append_synced(&record(n)).unwrap();
        log.truncate_front(seq).unwrap();
        let segments = contents(&sim).iter().filter(|(path, _)| path.contains(".seg")).count();
        assert!(segments <= 3, "{segments} segments");
    }
}

/// (20) commitlog's `flush` never syncs; in other systems durable is not the default. Here an acknowledgement is a sync.
#[test]
fn an_acknowledgement_is_a_sync() {
    let meter = untorn::sim::Meter::new(Arc::new(SimFs::new(23)));
    let (log, _) = Log::open(DIR, LogOptions::new().fs(Arc::new(meter.clone()))).unwrap();
    for n in 0..50 {
        let before = meter.counts().syncs_at(untorn::fs::SyncSite::LogFrame);
        log.append_synced(&record(n)).unwrap();
        assert_eq!(meter.counts().syncs_at(untorn::fs::SyncSite::LogFrame), before + 1);
    }
}

/// (22) Another log decodes everything three times at open; this one reads once, and from a checkpoint's position only
/// what follows.
#[test]
fn open_reads_once_and_only_what_it_must() {
    let sim = SimFs::new(29);
    let (log, _) = open(&sim).unwrap();
    let tickets: Vec<_> = (0..100).map(|n| log.append(&record(n)).unwrap()).collect();
    tickets[99].wait().unwrap();
    let pos = tickets[90].pos().unwrap();
    drop((log, tickets));
    let (log, report) = open(&sim).unwrap();
    assert_eq!(report.records_scanned, 100);
    drop(log);
    let (_, report) = Log::open(DIR, options(&sim).start(Some(pos))).unwrap();
    assert!(report.started_at == Some(pos) && report.records_scanned < 40, "{report:?}");
}

/// (23) An error that was only a string: here errno, path and offset are kept.
#[test]
fn an_error_keeps_errno_path_and_offset() {
    let sim = twelve_records(Left::Closed);
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::Read).on_path(segment(2)));
    let error = open(&sim).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(Path::new(&segment(2)))));
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!((source.raw_os_error(), error.offset()), (Some(5), Some(0)));
}

/// (24) Other engines parsed recycled blocks: a frame of an older incarnation, at its old place, is no record.
#[test]
fn a_stale_frame_is_no_record() {
    let sim = SimFs::new(31);
    let (log, _) = open(&sim).unwrap();
    for n in 1..=12 {
        log.append_synced(&[record(n), vec![b'.'; 130]].concat()).unwrap();
    }
    let stale = sim.read(segment(2)).unwrap();
    log.truncate_back(1).unwrap();
    for n in 1..=3 {
        log.append_synced(&[record(n), vec![b'!'; 130]].concat()).unwrap();
    }
    drop(log);
    // The disk brings the old segment back.
    sim.put(segment(2), &stale).unwrap();
    match open(&sim) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{error}"),
        Ok((log, _)) => assert_eq!(records(&log).len(), 4),
    }
    let (log, _) = Log::open(DIR, options(&sim).on_damage(OnDamage::Truncate)).unwrap();
    assert!(records(&log).iter().skip(1).all(|record| record.ends_with(b"!")));
}

/// The last rows of the worked table: what stands behind a seal.
#[test]
fn a_begun_segment_vouches_for_those_before_it_and_a_seal_for_its_salt() {
    let lose = |sim: &SimFs, number: u64, from: usize, to: usize| {
        patch(sim, &segment(number), |bytes| bytes[from..to].fill(0));
    };
    // Frames of twelve_records: 48 + 4 + 154 or 155 bytes, padded to 208; four fit a segment and leave room for its seal.
    let first_frame = 64 + 208;

    // A frame changed, then its seal; the next segment has lost its header, and is begun all the same.
    let sim = twelve_records(Left::Killed);
    sim.flip_bit(segment(2), 8 * 100).unwrap();
    lose(&sim, 3, 0, 64);
    assert_eq!(open(&sim).unwrap_err().kind(), ErrorKind::Damaged);

    // Header and first frame lost; the second frame has the salt that the seal names, and says what was acknowledged.
    let sim = twelve_records(Left::Killed);
    lose(&sim, 3, 0, first_frame);
    let error = open(&sim).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("9..=11"), "{error}");

    // The same with the salt of another log: bytes of an earlier use vouch for nothing.
    let other = SimFs::new(1234);
    let (log, _) = open(&other).unwrap();
    for n in 1..=12 {
        log.append_synced(&[record(n), vec![b'.'; 130]].concat()).unwrap();
    }
    let stale = other.read(segment(3)).unwrap();
    let sim = twelve_records(Left::Killed);
    sim.put(segment(3), &stale).unwrap();
    lose(&sim, 3, 0, first_frame);
    let (log, report) = open(&sim).unwrap();
    assert_eq!((report.last_seq, records(&log).len()), (8, 8));
    assert_eq!(report.healed.unwrap().quarantine.len(), 1);
}
