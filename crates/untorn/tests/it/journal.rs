//! The journal as a program uses it, and how other journals failed: numbers are of the list of reproduced failures.
//! On the simulated disk, but where threads or the file system matter.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use untorn::codec::{Json, Raw};
use untorn::fs::Fs as _;
use untorn::journal::{self, Checkpoint, Journal, JournalOptions, Machine, RecoveryReport};
use untorn::log::{Log, LogOptions};
use untorn::sim::{CallKind, Effect, Fault, FaultKind, Item, SimFs};
use untorn::{Durability, Error, ErrorKind, OnDamage, Outcome};

const DIR: &str = "/app";

/// Counters by name. An event is a name and what is added; adding 13 makes the machine panic.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counters(BTreeMap<String, u64>);

type Event = (String, u64);

impl Machine for Counters {
    type Event = Event;
    type View = BTreeMap<String, u64>;
    type EventCodec = Json;
    type ViewCodec = Json;
    const NAME: &'static str = "counters";
    const VERSION: u32 = 2;

    fn apply(&mut self, _seq: u64, (name, by): &Event) {
        assert_ne!(*by, 13, "this machine does not like 13");
        *self.0.entry(name.clone()).or_default() += by;
    }

    fn capture(&self) -> Self::View {
        self.0.clone()
    }

    fn restore(view: Self::View) -> Result<Self, String> {
        if view.contains_key("bad") { Err("a bad counter".to_owned()) } else { Ok(Self(view)) }
    }

    /// Version 1 had no amounts: a name was one more.
    fn upgrade_event(version: u32, bytes: &[u8]) -> Result<Event, String> {
        assert_eq!(version, 1);
        Ok((String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())?, 1))
    }

    fn digest(&self) -> Option<u64> {
        Some(self.0.values().sum())
    }
}

/// The same files, seen by another program.
macro_rules! machine {
    ($name:ident, $called:literal, $version:literal, $codec:ident) => {
        #[derive(Debug, Default)]
        struct $name;
        impl Machine for $name {
            type Event = Vec<u8>;
            type View = Vec<u8>;
            type EventCodec = $codec;
            type ViewCodec = $codec;
            const NAME: &'static str = $called;
            const VERSION: u32 = $version;
            fn apply(&mut self, _seq: u64, _event: &Vec<u8>) {}
            fn capture(&self) -> Vec<u8> {
                Vec::new()
            }
            fn restore(_view: Vec<u8>) -> Result<Self, String> {
                Ok(Self)
            }
        }
    };
}
machine!(Stranger, "stranger", 1, Json);
machine!(OtherCodec, "counters", 2, Raw);
machine!(Older, "counters", 1, Json);
machine!(LongName, "a name of more than thirty-two bytes", 1, Raw);
machine!(Unversioned, "unversioned", 0, Raw);

fn options(sim: &SimFs) -> JournalOptions {
    JournalOptions::new().log(LogOptions::new().segment_bytes(1024)).fs(Arc::new(sim.clone()))
}

fn open(sim: &SimFs) -> Result<(Journal<Counters>, RecoveryReport), Error> {
    Journal::open(DIR, Counters::default(), options(sim))
}

fn add(journal: &Journal<Counters>, name: &str, by: u64) -> Result<u64, Error> {
    journal.commit((name.to_owned(), by))
}

/// Events 1..=n, each adding 1 to `a`.
fn with_events(sim: &SimFs, n: u64) -> Journal<Counters> {
    let (journal, _) = open(sim).unwrap();
    for seq in 1..=n {
        assert_eq!(add(&journal, "a", 1).unwrap(), seq);
    }
    journal
}

fn value(journal: &Journal<Counters>) -> u64 {
    journal.peek(|counters, _| counters.0.get("a").copied().unwrap_or(0))
}

fn snap(seq: u64) -> String {
    format!("{DIR}/snap/{seq:020}.snap")
}

fn snaps(sim: &SimFs) -> Vec<String> {
    let names = sim.dump().into_keys().map(|path| path.display().to_string());
    names.filter(|path| path.starts_with("/app/snap/")).collect()
}

fn patch(sim: &SimFs, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = sim.read(path).unwrap();
    change(&mut bytes);
    sim.put(path, &bytes).unwrap();
}

/// Names and bytes of all files but the locks, which say who looked last.
fn contents(sim: &SimFs) -> Vec<(String, Vec<u8>)> {
    let files = sim.dump().into_iter().filter_map(|(path, item)| match item {
        Item::File(bytes) if !path.ends_with("LOCK") => Some((path.display().to_string(), bytes)),
        _ => None,
    });
    files.collect()
}

#[track_caller]
fn refuses(sim: &SimFs, kind: ErrorKind, words: &str) {
    let before = contents(sim);
    let error = open(sim).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(contents(sim), before, "a refused open changed something");
}

#[test]
fn what_was_acknowledged_comes_back() {
    let sim = SimFs::new(1);
    let journal = with_events(&sim, 3);
    let batch = vec![("a".to_owned(), 10), ("b".to_owned(), 20)];
    let ticket = journal.submit_batch(batch).unwrap();
    assert_eq!(journal.wait(&ticket).unwrap(), 5);
    assert_eq!(journal.submit_batch(Vec::new()).unwrap_err().kind(), ErrorKind::InvalidInput);
    let sim = sim.kill();
    let (journal, report) = open(&sim).unwrap();
    assert_eq!((report.replayed, report.log.last_seq), (5, 5));
    assert!(report.snapshot.is_none() && report.skipped.is_empty());
    assert_eq!(
        journal.read(|c| c.0.clone()).unwrap(),
        [("a".to_owned(), 13), ("b".to_owned(), 20)].into()
    );
    journal.close().unwrap();
    assert_eq!(open(&sim).unwrap().1.replayed, 5);
}

#[test]
fn a_checkpoint_bounds_what_is_replayed_and_kept() {
    let sim = SimFs::new(2);
    let journal = with_events(&sim, 40);
    let info = journal.checkpoint().unwrap();
    assert_eq!(
        (info.seq, info.machine.as_deref(), info.machine_version),
        (40, Some("counters"), 2)
    );
    assert_eq!(journal.checkpoint().unwrap(), info, "nothing new: the same snapshot");
    for n in 41..=60 {
        assert_eq!(add(&journal, "a", 1).unwrap(), n);
    }
    assert_eq!(journal.checkpoint().unwrap().seq, 60);
    add(&journal, "a", 1).unwrap();
    assert_eq!(journal.snapshots().unwrap().iter().map(|i| i.seq).collect::<Vec<_>>(), [40, 60]);
    journal.close().unwrap();
    let (journal, report) = open(&sim).unwrap();
    assert_eq!(report.snapshot.unwrap().seq, 60);
    assert_eq!((report.replayed, value(&journal)), (1, 61));
    assert!(report.log.first_seq > 1 && report.log.first_seq <= 40, "{}", report.log.first_seq);
}

/// (7) A snapshot ahead of a log that was never synced: the store does not open after a power cut. Here the log is synced
/// before the snapshot has a name, and a snapshot that is ahead all the same is refused, not believed.
#[test]
fn no_snapshot_is_ahead_of_the_log() {
    let sim = SimFs::new(3);
    let buffered = LogOptions::new().segment_bytes(1024).durability(Durability::Buffered);
    let options = JournalOptions::new().log(buffered).fs(Arc::new(sim.clone()));
    let (journal, _) = Journal::open(DIR, Counters::default(), options).unwrap();
    for _ in 0..5 {
        add(&journal, "a", 1).unwrap();
    }
    assert_eq!(journal.seqs().durable, 0, "nothing was synced");
    journal.checkpoint().unwrap();
    for pick in sim.power_states() {
        let sim = sim.power_cut(&pick);
        let (journal, report) = open(&sim).unwrap();
        assert_eq!((value(&journal), report.snapshot.map(|s| s.seq)), (5, Some(5)), "{pick}");
    }
    // Somebody puts an older log beneath.
    let sim = sim.kill();
    let journal = open(&sim).unwrap().0;
    journal.checkpoint().unwrap();
    journal.close().unwrap();
    let later = sim.read(snap(5)).unwrap();
    let other = SimFs::new(4);
    let id = |sim: &SimFs| sim.read("/app/log/META").unwrap()[16..32].to_vec();
    let journal = with_events(&other, 2);
    journal.close().unwrap();
    other.put(snap(5), &later).unwrap();
    assert_ne!(id(&sim), id(&other));
    refuses(&other, ErrorKind::Precondition, "another journal");
}

/// (8) One generation of snapshots: a bad one is a lost store. Here the one before it and the log give the same state.
#[test]
fn a_damaged_snapshot_falls_back_and_says_so() {
    let sim = SimFs::new(5);
    let journal = with_events(&sim, 30);
    journal.checkpoint().unwrap();
    for _ in 0..30 {
        add(&journal, "a", 1).unwrap();
    }
    journal.checkpoint().unwrap();
    add(&journal, "a", 1).unwrap();
    drop(journal);
    let whole = sim.read(snap(60)).unwrap();
    for bit in (0..whole.len() * 8).step_by(7) {
        let sim = sim.kill();
        patch(&sim, &snap(60), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let found = open(&sim);
        // A flip in the version or the flags of the header may look like a later one; its checksum tells.
        let (journal, report) = found.unwrap_or_else(|e| panic!("bit {bit}: {e}"));
        assert_eq!((value(&journal), report.replayed), (61, 31), "bit {bit}");
        assert_eq!(report.snapshot.unwrap().seq, 30);
        let (path, error) = &report.skipped[0];
        assert_eq!((path.as_path(), error.kind()), (Path::new(&snap(60)), ErrorKind::Damaged));
        if bit == 700 {
            // The next checkpoint moves it out of the way, with a copy.
            journal.checkpoint().unwrap();
            assert_eq!(snaps(&sim), [snap(30), snap(61)]);
            let copies =
                contents(&sim).into_iter().filter(|(path, _)| path.contains("/quarantine/"));
            assert!(copies.into_iter().any(|(_, bytes)| bytes.len() == whole.len()));
            assert!(open(&sim.kill()).unwrap().1.skipped.is_empty());
        }
    }
    // Without any snapshot the log does not reach back to the first event.
    patch(&sim, &snap(60), |bytes| bytes.truncate(40));
    patch(&sim, &snap(30), Vec::clear);
    refuses(&sim.kill(), ErrorKind::Damaged, "no snapshot can be used");
}

/// A damaged snapshot of the very event that the state is at: the new one takes its name, and stays.
#[test]
fn a_new_snapshot_takes_the_place_of_a_damaged_one() {
    for keep in [1, 2] {
        let sim = SimFs::new(30);
        let journal = with_events(&sim, 30);
        journal.checkpoint().unwrap();
        for _ in 0..30 {
            add(&journal, "a", 1).unwrap();
        }
        journal.checkpoint().unwrap();
        journal.close().unwrap();
        patch(&sim, &snap(60), |bytes| bytes[140] ^= 1);
        let damaged = sim.read(snap(60)).unwrap();
        let keeping = options(&sim).keep_snapshots(keep);
        let (journal, report) = Journal::open(DIR, Counters::default(), keeping).unwrap();
        assert_eq!((value(&journal), report.skipped.len()), (60, 1));
        assert_eq!(journal.checkpoint().unwrap().seq, 60);
        let expected = [snap(30), snap(60)];
        assert_eq!(snaps(&sim), expected[2 - keep..]);
        assert!(
            contents(&sim)
                .iter()
                .any(|(path, bytes)| { path.contains("/quarantine/") && *bytes == damaged })
        );
        add(&journal, "a", 1).unwrap();
        let (journal, report) = open(&sim.kill()).unwrap();
        assert_eq!((value(&journal), report.replayed, report.skipped.len()), (61, 1, 0));
    }
}

/// (14) A gap after the snapshot: the durable tail was ignored. (10) What lies below the snapshot is not needed.
#[test]
fn a_hole_counts_where_no_snapshot_covers_it() {
    let sim = SimFs::new(6);
    let journal = with_events(&sim, 60);
    journal.checkpoint().unwrap();
    for _ in 0..30 {
        add(&journal, "a", 1).unwrap();
    }
    journal.close().unwrap();
    let segments: Vec<String> = contents(&sim)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.strip_suffix(".seg").is_some())
        .collect();
    let harm = |n: usize| {
        let sim = sim.kill();
        patch(&sim, &segments[n], |bytes| bytes[200] ^= 1);
        sim
    };
    let early = harm(0);
    let (journal, report) = open(&early).unwrap();
    assert_eq!((value(&journal), report.replayed), (90, 30), "the snapshot covers the hole");
    let found = journal::verify_with(DIR, Arc::new(harm(0))).unwrap();
    assert!(found.log_damage.is_some() && found.opens() && !found.is_sound());
    let late = harm(segments.len() - 2);
    refuses(&late, ErrorKind::Damaged, ".seg at offset");
    let found = journal::verify_with(DIR, Arc::new(late.clone())).unwrap();
    assert!(!found.opens(), "{found:?}");
    // A view that ends before the damage says what it does not show.
    let options = LogOptions::new().on_damage(OnDamage::Truncate).fs(Arc::new(late));
    let view = Log::open_read_only(format!("{DIR}/log"), options).unwrap();
    assert_eq!(view.report().lost, Some((view.last_seq() + 1, 90)));
}

/// Any byte may rot, any file may be cut: the journal opens with the exact state, or refuses with a typed error and
/// changes nothing.
#[test]
fn a_flipped_bit_or_a_cut_file_never_gives_another_state() {
    let sim = SimFs::new(28);
    let journal = with_events(&sim, 10);
    journal.checkpoint().unwrap();
    for _ in 0..15 {
        add(&journal, "a", 1).unwrap();
    }
    journal.checkpoint().unwrap();
    add(&journal, "a", 1).unwrap();
    journal.close().unwrap();
    let mut outcomes = BTreeMap::new();
    let mut check = |path: &str, what: String, change: &dyn Fn(&mut Vec<u8>)| {
        let sim = sim.kill();
        patch(&sim, path, change);
        let before = contents(&sim);
        let outcome = match open(&sim) {
            Ok((journal, report)) => {
                assert_eq!((value(&journal), journal.seqs().applied), (26, 26), "{path} {what}");
                if report.skipped.is_empty() { "not needed".to_owned() } else { "older".to_owned() }
            }
            Err(error) => {
                assert_eq!(contents(&sim), before, "{path} {what}");
                format!("{:?}", error.kind())
            }
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    };
    for (path, bytes) in contents(&sim) {
        let step = if path.strip_suffix(".seg").is_some() { 5 } else { 1 };
        for bit in (0..bytes.len() * 8).step_by(step) {
            check(&path, format!("bit {bit}"), &|bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        }
        for len in (0..bytes.len()).step_by(step) {
            check(&path, format!("cut at {len}"), &|bytes| bytes.truncate(len));
        }
    }
    let kinds: Vec<&str> = outcomes.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["Damaged", "not needed", "older"], "{outcomes:?}");
}

/// (19) One log for ever; or the log is cut before the checkpoint. Here a journal that makes checkpoints stays small.
#[test]
fn a_journal_that_makes_checkpoints_stays_small() {
    let sim = SimFs::new(7);
    let journal = with_events(&sim, 1);
    for _ in 0..300 {
        add(&journal, "a", 1).unwrap();
        journal.checkpoint().unwrap();
        let files = contents(&sim);
        let of = |end: &str| files.iter().filter(|(path, _)| path.ends_with(end)).count();
        assert!(of(".seg") <= 4 && of(".snap") <= 2, "{} {}", of(".seg"), of(".snap"));
    }
    let sim = sim.kill();
    assert_eq!(value(&open(&sim).unwrap().0), 301);
}

/// (22) Others decode the log three times at open. Here each event above the snapshot is decoded once, and none below.
#[test]
fn each_event_is_decoded_once() {
    static DECODED: AtomicU64 = AtomicU64::new(0);
    #[derive(Default)]
    struct Counting;
    impl untorn::codec::Codec<Vec<u8>> for Counting {
        const NAME: &'static str = "counting";
        fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), Error> {
            out.extend_from_slice(value);
            Ok(())
        }
        fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
            DECODED.fetch_add(1, Ordering::Relaxed);
            Ok(bytes.to_vec())
        }
    }
    struct Count(u64);
    impl Machine for Count {
        type Event = Vec<u8>;
        type View = Vec<u8>;
        type EventCodec = Counting;
        type ViewCodec = Raw;
        const NAME: &'static str = "count";
        const VERSION: u32 = 1;
        fn apply(&mut self, seq: u64, _event: &Vec<u8>) {
            assert_eq!(seq, self.0 + 1);
            self.0 = seq;
        }
        fn capture(&self) -> Vec<u8> {
            self.0.to_le_bytes().to_vec()
        }
        fn restore(view: Vec<u8>) -> Result<Self, String> {
            Ok(Self(u64::from_le_bytes(view.try_into().map_err(|_| "not 8 bytes")?)))
        }
    }
    let sim = SimFs::new(8);
    let (journal, _) = Journal::open(DIR, Count(0), options(&sim)).unwrap();
    for n in 0..50 {
        journal.commit(vec![n]).unwrap();
        if n == 29 {
            journal.checkpoint().unwrap();
        }
    }
    let sim = sim.kill();
    let (_journal, report) = Journal::open(DIR, Count(0), options(&sim)).unwrap();
    assert_eq!((DECODED.load(Ordering::Relaxed), report.replayed), (20, 20));
    assert!(report.replayed_bytes >= 20 && report.log.records_scanned <= 25, "{report:?}");
}

#[test]
fn decisions_see_each_other_and_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app");
    let (journal, _) = Journal::open(&path, Counters::default(), JournalOptions::new()).unwrap();
    journal.commit(("a".to_owned(), 100)).unwrap();
    // Eight threads take one at a time from the same hundred; nobody takes what is not there.
    let taken: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut taken = 0;
                    while journal
                        .update(|c| {
                            let left = c.0["a"] - c.0.get("taken").copied().unwrap_or(0);
                            if left == 0 { Err(()) } else { Ok((("taken".to_owned(), 1), left)) }
                        })
                        .unwrap()
                        .is_ok()
                    {
                        taken += 1;
                        let seen = journal.read(|c| c.0["taken"]).unwrap();
                        assert!((taken..=100).contains(&seen));
                    }
                    taken
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, 100);
    let stats = journal.stats();
    assert_eq!((stats.seqs.applied, stats.seqs.durable), (101, 101));
    assert!(stats.log.syncs < 101 && stats.bytes_since_checkpoint > 0 && !stats.poisoned);
    journal.close().unwrap();
}

#[test]
fn a_panic_in_a_decision_changes_nothing() {
    let sim = SimFs::new(9);
    let journal = with_events(&sim, 1);
    let panicked =
        catch_unwind(AssertUnwindSafe(|| journal.update::<(), ()>(|_| panic!("undecided"))));
    assert!(panicked.is_err());
    assert_eq!(add(&journal, "a", 1).unwrap(), 2);
    let refused = journal.update::<(), _>(|c| Err(c.0["a"])).unwrap();
    assert_eq!(refused, Err(2));
    assert_eq!(journal.submit_with::<u64>(|c| Err(c.0["a"])).unwrap().unwrap_err(), 2);
    assert_eq!(journal.seqs().applied, 2);
}

#[test]
fn a_panic_in_apply_poisons() {
    let sim = SimFs::new(10);
    let journal = with_events(&sim, 1);
    let panicked = catch_unwind(AssertUnwindSafe(|| add(&journal, "a", 13)));
    assert!(panicked.is_err());
    for error in [
        add(&journal, "a", 1).unwrap_err(),
        journal.read(|_| ()).unwrap_err(),
        journal.checkpoint().unwrap_err(),
        journal.sync().unwrap_err(),
        journal.clone().close().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert!(error.to_string().contains("panicked"), "{error}");
    }
    assert_eq!(value(&journal), 1, "peek goes on");
    assert!(journal.stats().poisoned);
    assert_eq!(journal.tail(1).unwrap().next(Duration::ZERO).unwrap().unwrap().0, 1);
}

/// A disk that is full before an event is admitted changes nothing; one that takes an admitted event back leaves the state
/// ahead of the log, and nothing may be built on it.
#[test]
fn a_full_disk_is_told_apart_from_a_withdrawal() {
    let sim = SimFs::new(11);
    let journal = with_events(&sim, 1);
    sim.set_capacity(Some(4096));
    let mut last = 1;
    let error = loop {
        match add(&journal, &"x".repeat(300), 1) {
            Ok(seq) => last = seq,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    assert_eq!(journal.seqs().applied, last);
    sim.set_capacity(None);
    assert_eq!(add(&journal, "a", 1).unwrap(), last + 1, "a retry works");

    let taken_back = journal.submit(("a".to_owned(), 100)).unwrap();
    sim.inject(Fault::new(FaultKind::NoSpace).on(CallKind::Write).effect(Effect::Prefix));
    let error = journal.wait(&taken_back).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    for error in [add(&journal, "a", 1).unwrap_err(), journal.read(|_| ()).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
    }
    drop((journal, taken_back));
    let (journal, report) = open(&sim).unwrap();
    assert_eq!((report.log.last_seq, value(&journal)), (last + 1, 2));
}

/// A ticket that is waited for past the journal: the next event learns that the one before it is gone.
#[test]
fn a_ticket_that_failed_unseen_is_noticed_by_the_next_event() {
    let sim = SimFs::new(26);
    let journal = with_events(&sim, 1);
    let ticket = journal.submit(("a".to_owned(), 100)).unwrap();
    sim.inject(Fault::new(FaultKind::NoSpace).on(CallKind::Write).effect(Effect::Prefix));
    assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::NoSpace);
    for _ in 0..2 {
        let error = add(&journal, "a", 1).unwrap_err();
        assert_eq!((error.kind(), journal.seqs().applied), (ErrorKind::Poisoned, 2), "{error}");
        assert!(error.to_string().contains("took back"), "{error}");
    }
    drop((journal, ticket));
    assert_eq!(value(&open(&sim).unwrap().0), 1);
}

/// Two copies of a journal went on apart: a snapshot of the one does not stand on the log of the other.
#[test]
fn a_snapshot_of_another_history_is_skipped() {
    let base = SimFs::new(27);
    with_events(&base, 10).close().unwrap();
    let (sim, other) = (base.kill(), base.kill());
    let journal = open(&sim).unwrap().0;
    for _ in 0..10 {
        add(&journal, "a", 1).unwrap();
    }
    journal.checkpoint().unwrap();
    drop(journal);
    let journal = open(&other).unwrap().0;
    for _ in 0..20 {
        add(&journal, "a", 1000).unwrap();
    }
    drop(journal);
    other.put(snap(20), &sim.read(snap(20)).unwrap()).unwrap();
    let (journal, report) = open(&other).unwrap();
    assert_eq!((value(&journal), report.skipped.len()), (20_010, 1));
    assert!(report.skipped[0].1.to_string().contains("does not have the event"));
}

/// Nobody waits for the event that is taken back: whoever comes next learns of it, and no event follows a gap.
#[test]
fn nothing_follows_an_event_that_was_taken_back() {
    let sim = SimFs::new(12);
    let journal = with_events(&sim, 1);
    drop(journal.submit(("a".to_owned(), 100)).unwrap());
    sim.inject(Fault::new(FaultKind::NoSpace).on(CallKind::Write).effect(Effect::Prefix));
    let error = journal.read(|c| c.0["a"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "101 was seen and is not durable: {error}");
    let error = add(&journal, "a", 1).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Poisoned, Outcome::Unknown), "{error}");
    drop(journal);
    let (journal, _) = open(&sim).unwrap();
    assert_eq!((journal.seqs().applied, value(&journal)), (1, 1));
}

#[test]
fn a_failed_sync_poisons_and_a_reopen_tells() {
    let sim = SimFs::new(13);
    let journal = with_events(&sim, 2);
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData));
    let error = add(&journal, "a", 1).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Poisoned, Outcome::Unknown));
    assert_eq!(journal.read(|_| ()).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(journal.peek(|_, seqs| (seqs.applied, seqs.durable)), (3, 2));
    drop(journal);
    let (journal, _) = open(&sim).unwrap();
    let shown = value(&journal);
    assert!((2..=3).contains(&shown));
    for pick in sim.power_states() {
        let (journal, _) = open(&sim.power_cut(&pick)).unwrap();
        assert_eq!(value(&journal), shown, "{pick}");
    }
}

/// A checkpoint that fails leaves the journal and its snapshots as they were.
#[test]
fn a_failed_checkpoint_costs_nothing() {
    let sim = SimFs::new(14);
    let journal = with_events(&sim, 5);
    journal.checkpoint().unwrap();
    add(&journal, "a", 1).unwrap();
    for (kind, call) in [
        (FaultKind::NoSpace, CallKind::Write),
        (FaultKind::Io, CallKind::SyncAll),
        (FaultKind::Io, CallKind::Rename),
    ] {
        sim.inject(Fault::new(kind).on(call));
        let error = journal.checkpoint().unwrap_err();
        assert_ne!(error.kind(), ErrorKind::Poisoned, "{error}");
        assert_eq!(snaps(&sim), [snap(5)], "{kind:?}");
        add(&journal, "a", 1).unwrap();
    }
    assert_eq!(journal.checkpoint().unwrap().seq, 9);
    assert_eq!(value(&open(&sim.kill()).unwrap().0), 9);
}

/// Once in fifty runs, under load, a checkpoint fell between the sync of an event and the telling of its ticket, and took
/// the event for lost.
#[test]
fn checkpoints_are_due_by_size_and_made_in_the_background() {
    let sim = SimFs::new(15);
    let auto = Checkpoint::Auto { min_bytes: 200, ratio: 1.0 };
    let (journal, _) =
        Journal::open(DIR, Counters::default(), options(&sim).checkpoint(auto)).unwrap();
    let mut events = 0;
    while !journal.checkpoint_due() {
        add(&journal, "a", 1).unwrap();
        events += 1;
    }
    assert!((20..60).contains(&events), "{events}");
    journal.checkpoint().unwrap();
    assert!(!journal.checkpoint_due());
    journal.close().unwrap();
    let manual = options(&sim).checkpoint(Checkpoint::Manual);
    let (journal, _) = Journal::open(DIR, Counters::default(), manual).unwrap();
    for _ in 0..100 {
        add(&journal, "a", 1).unwrap();
    }
    assert!(!journal.checkpoint_due());
    journal.close().unwrap();

    let background = options(&sim).checkpoint(auto).background_checkpoint(true);
    let (journal, report) = Journal::open(DIR, Counters::default(), background).unwrap();
    let before = report.snapshot.unwrap().seq;
    assert!(journal.checkpoint_due(), "what was replayed counts");
    let mut newest = before;
    while newest == before {
        add(&journal, "a", 1).unwrap();
        newest = journal.stats().snapshot.unwrap().seq;
    }
    assert!(journal.stats().checkpoint_error.is_none());
    journal.close().unwrap();
}

#[test]
fn a_tail_shows_what_is_durable_and_keeps_what_it_has_not_shown() {
    let sim = SimFs::new(16);
    let journal = with_events(&sim, 30);
    let mut tail = journal.tail(3).unwrap();
    let mut other = journal.tail(31).unwrap();
    journal.checkpoint().unwrap();
    add(&journal, "a", 1).unwrap();
    journal.checkpoint().unwrap();
    for seq in 3..=31 {
        assert_eq!(tail.next(Duration::ZERO).unwrap(), Some((seq, ("a".to_owned(), 1))));
    }
    let pending = journal.submit(("b".to_owned(), 7)).unwrap();
    assert_eq!(tail.next(Duration::ZERO).unwrap(), None, "not durable yet");
    journal.wait(&pending).unwrap();
    assert_eq!(tail.next(Duration::ZERO).unwrap(), Some((32, ("b".to_owned(), 7))));
    assert_eq!(tail.next_seq(), 33);
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            other.next(Duration::ZERO).unwrap();
            other.next(Duration::ZERO).unwrap();
            other.next(Duration::from_secs(3600)).unwrap() // who is not woken waits here for an hour
        });
        add(&journal, "c", 1).unwrap();
        assert_eq!(follower.join().unwrap(), Some((33, ("c".to_owned(), 1))));
    });
    drop(other);
    let forty_more = || {
        for _ in 0..40 {
            add(&journal, "a", 1).unwrap();
        }
        journal.checkpoint().unwrap();
        add(&journal, "a", 1).unwrap();
        journal.checkpoint().unwrap();
    };
    // A tail that has shown everything keeps what comes next.
    assert_eq!(tail.next(Duration::ZERO).unwrap().unwrap().0, 33);
    assert_eq!(tail.next(Duration::ZERO).unwrap(), None);
    forty_more();
    for seq in 34..=74 {
        assert_eq!(tail.next(Duration::ZERO).unwrap().unwrap().0, seq);
    }
    drop(tail);
    // Without one the log goes.
    forty_more();
    assert_eq!(journal.tail(34).unwrap_err().kind(), ErrorKind::OutOfRange);
    let mut tail = journal.tail(116).unwrap();
    journal.clone().close().unwrap();
    assert_eq!(tail.next(Duration::ZERO).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(add(&journal, "a", 1).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn readers_see_the_journal_beside_its_owner_and_as_it_was() {
    let sim = SimFs::new(17);
    let reader = |sim: &SimFs| Journal::open_read_only(DIR, Counters::default(), options(sim));
    assert_eq!(reader(&sim).unwrap_err().kind(), ErrorKind::NotFound);
    let journal = with_events(&sim, 10);
    let mut view = reader(&sim).unwrap();
    assert!(view.seq() >= 9, "what the next frame vouches for: {}", view.seq());
    journal.checkpoint().unwrap();
    for _ in 0..10 {
        add(&journal, "a", 1).unwrap();
    }
    assert!(view.refresh().unwrap());
    assert_eq!((view.seq(), view.state().0["a"]), (19, 19));
    assert!(!view.refresh().unwrap());
    assert!(!view.wait_for_more(Duration::ZERO).unwrap());
    let at = |seq| Journal::open_at(DIR, Counters::default(), seq, options(&sim));
    assert_eq!(at(5).unwrap().0["a"], 5);
    assert_eq!(at(12).unwrap().0["a"], 12);
    assert_eq!(at(99).unwrap_err().kind(), ErrorKind::OutOfRange);
    for _ in 0..60 {
        add(&journal, "a", 1).unwrap();
    }
    for _ in 0..2 {
        journal.checkpoint().unwrap();
        add(&journal, "a", 1).unwrap();
    }
    journal.close().unwrap();
    assert_eq!(at(5).unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(at(82).unwrap().0["a"], 82);
    assert_eq!(view.refresh().unwrap_err().kind(), ErrorKind::Stale);
    assert_eq!(reader(&sim).unwrap().seq(), 82);
}

#[test]
fn only_its_own_machine_opens_a_journal() {
    let sim = SimFs::new(18);
    let journal = with_events(&sim, 3);
    let second = open(&sim).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Locked, "{second}");
    journal.checkpoint().unwrap();
    add(&journal, "a", 1).unwrap();
    journal.close().unwrap();
    let before = contents(&sim);
    let kind = |error: Error| (error.kind(), error.to_string());
    let (found, words) = kind(Journal::open(DIR, Stranger, options(&sim)).unwrap_err());
    assert_eq!(found, ErrorKind::Precondition);
    assert!(words.contains("`counters`") && words.contains("`stranger`"), "{words}");
    let (found, words) = kind(Journal::open(DIR, OtherCodec, options(&sim)).unwrap_err());
    assert_eq!((found, words.contains("raw")), (ErrorKind::Precondition, true), "{words}");
    let (found, words) = kind(Journal::open(DIR, Older, options(&sim)).unwrap_err());
    assert_eq!((found, words.contains("version 2")), (ErrorKind::NewerFormat, true), "{words}");
    assert_eq!(contents(&sim), before);
    let (found, _) = kind(Journal::open("/long", LongName, options(&sim)).unwrap_err());
    assert_eq!(found, ErrorKind::InvalidInput);
    let (found, _) = kind(Journal::open("/zero", Unversioned, options(&sim)).unwrap_err());
    assert_eq!(found, ErrorKind::InvalidInput);
    let none = options(&sim).keep_snapshots(0);
    let (found, _) = kind(Journal::open(DIR, Counters::default(), none).unwrap_err());
    assert_eq!(found, ErrorKind::InvalidInput);
}

#[test]
fn older_events_and_views_are_upgraded_or_refused() {
    let sim = SimFs::new(19);
    let (journal, _) = Journal::open(DIR, Older, options(&sim)).unwrap();
    journal.commit(vec![97]).unwrap();
    journal.close().unwrap();
    // The old program wrote its bytes as JSON: `[97]`.
    let (journal, report) = open(&sim).unwrap();
    assert_eq!((report.replayed, journal.peek(|c, _| c.0["[97]"])), (1, 1));
    journal.close().unwrap();
    let (journal, _) = Journal::open(DIR, Older, options(&sim)).unwrap();
    journal.checkpoint().unwrap();
    journal.close().unwrap();
    refuses(&sim, ErrorKind::Failed, "does not read states of version 1");
}

#[test]
fn a_view_that_the_machine_refuses_is_no_damage() {
    let sim = SimFs::new(20);
    let (journal, _) = open(&sim).unwrap();
    add(&journal, "bad", 1).unwrap();
    journal.checkpoint().unwrap();
    journal.close().unwrap();
    refuses(&sim, ErrorKind::Failed, "a bad counter");
}

/// A machine whose snapshots leave something out: its own digest finds that out, and the log has the rest.
#[test]
fn a_state_that_does_not_survive_its_capture_is_found_out() {
    #[derive(Default)]
    struct Forgetful(u64, u64);
    impl Machine for Forgetful {
        type Event = u64;
        type View = u64;
        type EventCodec = Json;
        type ViewCodec = Json;
        const NAME: &'static str = "forgetful";
        const VERSION: u32 = 1;
        fn apply(&mut self, seq: u64, event: &u64) {
            *self = Self(self.0 + event, seq);
        }
        fn capture(&self) -> u64 {
            self.0
        }
        fn restore(view: u64) -> Result<Self, String> {
            Ok(Self(view, 0))
        }
        fn digest(&self) -> Option<u64> {
            Some(self.0 ^ (self.1 << 32))
        }
    }
    let sim = SimFs::new(29);
    let open = || Journal::open(DIR, Forgetful::default(), options(&sim)).unwrap();
    let (journal, _) = open();
    for event in 1..=3 {
        journal.commit(event).unwrap();
    }
    journal.checkpoint().unwrap();
    journal.close().unwrap();
    let (journal, report) = open();
    assert_eq!(journal.peek(|state, _| (state.0, state.1)), (6, 3));
    assert!(report.skipped[0].1.to_string().contains("digest"), "{:?}", report.skipped);
}

#[test]
fn what_is_lost_is_never_made_anew() {
    let sim = SimFs::new(21);
    let journal = with_events(&sim, 3);
    journal.checkpoint().unwrap();
    journal.close().unwrap();
    let without = |path: &str| {
        let sim = sim.kill();
        let path = Path::new(path);
        let dir = sim.open_dir(path.parent().unwrap()).unwrap();
        dir.unlink(path.file_name().unwrap()).unwrap();
        sim
    };
    refuses(&without("/app/JOURNAL"), ErrorKind::Damaged, "JOURNAL");
    refuses(&without("/app/log/META"), ErrorKind::Damaged, "the log is missing");
    let flipped = sim.kill();
    patch(&flipped, "/app/JOURNAL", |bytes| bytes[20] ^= 1);
    refuses(&flipped, ErrorKind::Damaged, "does not verify");
    let foreign = SimFs::new(22);
    foreign.put("/app/notes.txt", b"mine").unwrap();
    refuses(&foreign, ErrorKind::NotOurs, "neither a journal nor empty");
}

/// Cutting a damaged log below what a snapshot covers would leave a log that cannot go on where the state is.
#[test]
fn a_cut_never_goes_below_the_snapshot() {
    let sim = SimFs::new(23);
    let journal = with_events(&sim, 20);
    journal.checkpoint().unwrap();
    for _ in 0..3 {
        add(&journal, "a", 1).unwrap();
    }
    journal.close().unwrap();
    let truncating = |sim: &SimFs| {
        let log = LogOptions::new().segment_bytes(1024).on_damage(OnDamage::Truncate);
        JournalOptions::new().log(log).fs(Arc::new(sim.clone()))
    };
    let pos = journal::verify_with(DIR, Arc::new(sim.clone())).unwrap().snapshots[0].pos.unwrap();
    let segment = format!("/app/log/{:016x}.seg", pos.segment);
    let at = usize::try_from(pos.frame).unwrap();
    // The frame that the snapshot ends with is gone: the snapshot no longer stands on this log, nor may the log be cut there.
    let harmed = sim.kill();
    patch(&harmed, &segment, |bytes| bytes[at + 10] ^= 1);
    let before = contents(&harmed);
    let error = Journal::open(DIR, Counters::default(), truncating(&harmed)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert_eq!(contents(&harmed), before);
    // Of that frame the header is enough: what its events made is in the snapshot.
    let harmed = sim.kill();
    patch(&harmed, &segment, |bytes| bytes[at + 50] ^= 1);
    let (journal, report) = open(&harmed).unwrap();
    assert_eq!((value(&journal), report.replayed, report.log.healed), (23, 3, None));
    add(&journal, "a", 1).unwrap();
    assert!(journal::verify_with(DIR, Arc::new(harmed.clone())).unwrap().log_damage.is_some());
    assert_eq!(value(&open(&harmed.kill()).unwrap().0), 24);
    // Above the snapshot it may.
    let harmed = sim.kill();
    patch(&harmed, &segment, |bytes| {
        let last = bytes.iter().rposition(|&b| b != 0).unwrap();
        bytes[last] ^= 1;
    });
    assert_eq!(open(&harmed).unwrap_err().kind(), ErrorKind::Damaged);
    let (journal, report) = Journal::open(DIR, Counters::default(), truncating(&harmed)).unwrap();
    assert_eq!(report.log.healed.unwrap().lost, Some((23, 23)));
    assert_eq!((value(&journal), add(&journal, "a", 1).unwrap()), (22, 23));
}

#[test]
#[cfg(feature = "blake3")]
fn an_artifact_is_the_journal_as_it_was() {
    let sim = SimFs::new(24);
    let fs: Arc<dyn untorn::fs::Fs> = Arc::new(sim.clone());
    let journal = with_events(&sim, 50);
    let manifest = journal.export("/copy").unwrap();
    assert_eq!(
        (manifest.backend.as_str(), manifest.cursor_hex.as_str()),
        ("untorn-journal", "3200000000000000")
    );
    assert_eq!(journal.export("/copy").unwrap_err().kind(), ErrorKind::AlreadyExists);
    for _ in 0..50 {
        add(&journal, "a", 1).unwrap();
    }
    let import = |to: &str| journal::import_with("/copy", to, Arc::clone(&fs), |_| {});
    assert_eq!(import("/restored").unwrap().cursor_hex, manifest.cursor_hex);
    let (restored, report) =
        Journal::open("/restored", Counters::default(), options(&sim)).unwrap();
    assert_eq!((value(&restored), report.replayed), (50, 0));
    assert!(report.log.healed.is_none() && report.log.rewritten_bytes == 0, "closed in order");
    assert_eq!(restored.commit(("a".to_owned(), 1)).unwrap(), 51);
    assert_eq!(value(&journal), 100);
    assert_eq!(import("/restored").unwrap_err().kind(), ErrorKind::AlreadyExists);
    // Durable, and whole: also after a power cut.
    for pick in sim.power_states() {
        let cut = sim.power_cut(&pick);
        assert!(journal::verify_with("/restored", Arc::new(cut)).unwrap().is_sound(), "{pick}");
    }
    // Files that agree with their manifest, and a manifest that speaks of another event.
    let other = sim.kill();
    patch(&other, "/copy/MANIFEST.json", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("3200000000000000", "3300000000000000").into_bytes();
    });
    let error = journal::import_with("/copy", "/bad", Arc::new(other), |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ArtifactInvalid, "{error}");
    let files: Vec<String> = contents(&sim)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|p| p.starts_with("/copy/data"))
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let sim = sim.kill();
        patch(&sim, &path, |bytes| bytes[30] ^= 4);
        let error =
            journal::import_with("/copy", "/bad", Arc::new(sim.clone()), |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{path}: {error}");
        assert!(sim.open_dir(Path::new("/bad")).is_err());
    }
}

/// Events that are exported while they are logged: the artifact ends with one of them.
#[test]
#[cfg(feature = "blake3")]
fn an_export_does_not_stop_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app");
    let (journal, _) = Journal::open(&path, Counters::default(), JournalOptions::new()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..200 {
                journal.commit(("a".to_owned(), 1)).unwrap();
            }
        });
        for n in 0..5 {
            let to = dir.path().join(format!("copy{n}"));
            let manifest = journal.export(&to).unwrap();
            let back = dir.path().join(format!("back{n}"));
            journal::import(&to, &back).unwrap();
            let (copy, _) =
                Journal::open(&back, Counters::default(), JournalOptions::new()).unwrap();
            let cursor = u64::from_str_radix(&manifest.cursor_hex, 16).unwrap().swap_bytes();
            assert_eq!((copy.seqs().applied, value(&copy)), (cursor, cursor));
        }
        writer.join().unwrap();
    });
}

#[test]
fn journals_are_shared_between_threads() {
    const fn shared<T: Send + Sync>() {}
    const fn sent<T: Send>() {}
    shared::<Journal<Counters>>();
    sent::<journal::Tail<Counters>>();
    sent::<journal::JournalReader<Counters>>();
}
