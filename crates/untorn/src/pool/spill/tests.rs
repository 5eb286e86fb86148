use super::*;
use crate::pool::Meta;
use crate::pool::batch::framed_len;
use crate::sim::{CallKind, Effect, Fault, FaultKind, SimFs};

#[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
fn key(n: usize) -> Uuid {
    Uuid::from_u128(n as u128 + 1)
}

#[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
fn body(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + n) % 251).unwrap()).collect()
}

fn limits() -> Limits {
    Limits { disk: u64::MAX, object: 1 << 20, segment_max: 4096, segment_bytes: 16 << 10 }
}

fn open(fs: &SimFs, limits: Limits) -> Spill {
    Spill::open(fs, Path::new("/root"), limits).unwrap().0
}

fn batch(objects: impl IntoIterator<Item = (usize, usize)>) -> Batch {
    let mut batch = Batch::new();
    for (n, len) in objects {
        batch.push_stored(key(n), Meta::new(1, 2, 3), &body(n, len));
    }
    batch
}

fn has(spill: &Spill, n: usize, len: usize) {
    let mut buf = Vec::new();
    assert_eq!(spill.get(key(n), &mut buf).unwrap().bytes, body(n, len), "{n}");
    assert_eq!(spill.look(key(n)).unwrap().stored_len, len as u64);
}

fn lacks(spill: &Spill, n: usize) {
    let error = spill.get(key(n), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(spill.look(key(n)).is_none());
}

/// What the files take, by the disk.
fn on_disk(spill: &Spill) -> u64 {
    let dir = &spill.home.dir;
    let files = dir.list().unwrap().into_iter().filter(|name| name != "LOCK");
    files.map(|name| dir.stat(&name).unwrap().len).sum()
}

/// The sums are what a recount says, and what is on the disk.
fn adds_up(spill: &Spill) {
    assert!(spill.with(|table| table.recount()));
    assert_eq!(spill.usage().disk_bytes, on_disk(spill));
}

fn names(fs: &SimFs) -> Vec<String> {
    let mut names: Vec<String> =
        fs.dump().into_keys().map(|path| path.to_str().unwrap().to_owned()).collect();
    names.retain(|name| name.starts_with("/root/spill/"));
    names
}

#[test]
fn a_batch_is_one_write_and_a_load_one_read() {
    let fs = SimFs::new(1);
    let meter = crate::sim::Meter::new(Arc::new(fs));
    let (spill, _) = Spill::open(&meter, Path::new("/root"), limits()).unwrap();
    spill.put(&mut batch([(0, 10)])).unwrap();
    let before = meter.counts();
    spill.put(&mut batch((1..9).map(|n| (n, 100)))).unwrap();
    let after = meter.counts();
    assert_eq!(after.of(CallKind::Write) - before.of(CallKind::Write), 1);
    let mut buf = Vec::new();
    for n in 1..9 {
        assert_eq!(spill.get(key(n), &mut buf).unwrap().bytes, body(n, 100));
    }
    assert_eq!(meter.counts().of(CallKind::Read) - after.of(CallKind::Read), 8);
    assert_eq!(meter.counts().total_syncs(), 0);
}

#[test]
fn what_is_put_comes_back_and_what_is_deleted_gives_its_space_back() {
    let fs = SimFs::new(1);
    let spill = open(&fs, limits());
    let sizes = [0, 1, 4096, 4097, 100_000, 64, 4000, 4000, 4000, 4000, 4000, 17];
    for (n, len) in sizes.iter().enumerate() {
        spill.put(&mut batch([(n, *len)])).unwrap();
        adds_up(&spill);
    }
    for (n, len) in sizes.iter().enumerate() {
        has(&spill, n, *len);
    }
    let all: u64 = sizes.iter().map(|len| framed_len(*len) as u64).sum();
    assert_eq!((spill.usage().objects, spill.usage().live_bytes), (12, all));
    for n in 0..sizes.len() {
        spill.delete(key(n)).unwrap();
        lacks(&spill, n);
        adds_up(&spill);
    }
    assert_eq!(on_disk(&spill), 0);
    drop(spill);
    assert_eq!(names(&fs), Vec::<String>::new());
}

#[test]
fn a_compaction_moves_what_is_alive_and_frees_the_rest() {
    let fs = SimFs::new(1);
    let spill = open(&fs, limits());
    for n in 0..80 {
        spill.put(&mut batch([(n, 1000)])).unwrap();
    }
    for n in (0..80).filter(|n| n % 4 != 0) {
        spill.delete(key(n)).unwrap();
    }
    let before = on_disk(&spill);
    let done = spill.compact().unwrap();
    assert!(done.segments >= 4 && done.moved_bytes > 0, "{done:?}");
    assert_eq!(done.freed_bytes, before - on_disk(&spill));
    assert!(on_disk(&spill) < before / 2);
    for n in (0..80).filter(|n| n % 4 == 0) {
        has(&spill, n, 1000);
    }
    adds_up(&spill);
    assert_eq!(spill.compact().unwrap().segments, 0);
}

#[test]
fn garbage_is_bounded_without_a_call() {
    let fs = SimFs::new(1);
    let spill = open(&fs, limits());
    // Of each batch one stays.
    for n in 0..300 {
        spill.put(&mut batch((0..4).map(|part| (n * 4 + part, 1000)))).unwrap();
        for part in 1..4 {
            spill.delete(key(n * 4 + part)).unwrap();
        }
    }
    let usage = spill.usage();
    assert!(usage.disk_bytes <= 2 * usage.live_bytes + (96 << 10), "{usage:?}");
    (0..300).for_each(|n| has(&spill, n * 4, 1000));
    adds_up(&spill);
}

#[test]
fn what_is_damaged_is_not_moved_and_its_segment_stays() {
    let fs = SimFs::new(1);
    let spill = open(&fs, limits());
    spill.put(&mut batch((0..16).map(|n| (n, 1000)))).unwrap();
    for n in 4..16 {
        spill.delete(key(n)).unwrap();
    }
    let at = spill.home.dir.path().join("0000000000000001.seg");
    fs.flip_bit(&at, (64 + 64 + 5) * 8).unwrap();
    spill.compact().unwrap();
    (1..4).for_each(|n| has(&spill, n, 1000));
    let error = spill.get(key(0), &mut Vec::new()).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(64)));
    adds_up(&spill);
    spill.delete(key(0)).unwrap();
    assert!(spill.home.dir.stat("0000000000000001.seg".as_ref()).is_err());
    adds_up(&spill);
}

#[test]
fn the_limit_holds_and_garbage_is_compacted_before_it_is_told() {
    let fs = SimFs::new(1);
    let disk = 256 << 10;
    let spill = open(&fs, Limits { disk, segment_bytes: 1 << 30, ..limits() });
    let mut n = 0;
    let refused = loop {
        match spill.put(&mut batch([(n, 1000)])) {
            Ok(()) => n += 1,
            Err(error) => break error,
        }
        assert!(on_disk(&spill) <= disk);
    };
    assert_eq!(
        (refused.kind(), refused.outcome()),
        (ErrorKind::OverBudget, crate::Outcome::Unchanged)
    );
    assert!(n > 200, "{n}");
    lacks(&spill, n);
    adds_up(&spill);
    // Three of four go, from all segments; then there is room for as many.
    for gone in (0..n).filter(|n| n % 4 != 0) {
        spill.delete(key(gone)).unwrap();
    }
    for new in n..n + n / 2 {
        spill.put(&mut batch([(new, 1000)])).unwrap();
        assert!(on_disk(&spill) <= disk);
    }
    (0..n).filter(|n| n % 4 == 0).for_each(|n| has(&spill, n, 1000));
    adds_up(&spill);
    let long = spill.put(&mut batch([(9999, (1 << 20) + 1)])).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::TooLarge);
}

/// Every call of a put, a delete and a compaction fails once, in every way; then everything is there, and all works.
#[test]
fn whatever_fails_is_whole_or_not_there_and_adds_up() {
    let effects = [Effect::None, Effect::Prefix, Effect::Whole];
    let kinds = FaultKind::ERRORS.iter().chain([&FaultKind::BitFlip]);
    let all = kinds.flat_map(|kind| effects.map(|effect| (*kind, effect)));
    let mut failed = 0;
    for (kind, effect) in all {
        for nth in 1.. {
            let fs = SimFs::new(nth);
            let spill = open(&fs, limits());
            spill.put(&mut batch((0..12).map(|n| (n, 1000)))).unwrap();
            (1..9).for_each(|n| spill.delete(key(n)).unwrap());
            let first = fs.calls() + nth;
            fs.inject(Fault::new(kind).at_call(first).effect(effect));
            let new = spill.put(&mut batch([(20, 100), (21, 10_000), (22, 200), (23, 5000)]));
            let compacted = spill.compact();
            let deleted = spill.delete(key(11));
            let done = fs.calls() < first;
            fs.clear_faults();
            for n in [0, 9, 10] {
                has(&spill, n, 1000);
            }
            lacks(&spill, 11);
            for (n, len) in [(20, 100), (21, 10_000), (22, 200), (23, 5000)] {
                if new.is_ok() { has(&spill, n, len) } else { lacks(&spill, n) }
            }
            assert!(spill.with(|table| table.recount()));
            assert!(spill.usage().disk_bytes >= on_disk(&spill));
            failed += usize::from(new.is_err() || compacted.is_err() || deleted.is_err());
            spill.put(&mut batch([(20, 100), (21, 10_000), (22, 200), (23, 5000)])).unwrap();
            spill.compact().unwrap();
            has(&spill, 21, 10_000);
            drop(spill);
            assert_eq!(names(&fs), Vec::<String>::new());
            if done {
                break;
            }
        }
    }
    assert!(failed > 200, "{failed}");
}

#[test]
fn a_full_disk_takes_nothing_and_gives_back_what_it_took() {
    let fs = SimFs::new(1);
    let spill = open(&fs, limits());
    spill.put(&mut batch([(0, 1000)])).unwrap();
    let before = on_disk(&spill);
    fs.set_capacity(Some(20_000));
    for _ in 0..3 {
        let mut all = batch((1..40).map(|n| (n, 1000)).chain([(40, 5000)]));
        assert_eq!(spill.put(&mut all).unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(on_disk(&spill), before);
        (1..41).for_each(|n| lacks(&spill, n));
        adds_up(&spill);
    }
    fs.set_capacity(None);
    spill.put(&mut batch((1..40).map(|n| (n, 1000)).chain([(40, 5000)]))).unwrap();
    (0..40).for_each(|n| has(&spill, n, 1000));
    adds_up(&spill);
}

#[test]
fn dead_owners_are_swept_and_living_ones_left_alone() {
    let fs = SimFs::new(1);
    let alive = open(&fs, limits());
    alive.put(&mut batch([(0, 1000), (1, 5000)])).unwrap();
    let (_, report) = Spill::open(&fs, Path::new("/root"), limits()).unwrap();
    assert_eq!((report.swept, report.alive), (0, 1));
    has(&alive, 0, 1000);
    has(&alive, 1, 5000);
    // In the killed world nobody lives.
    let dead = fs.kill();
    let (spill, report) = Spill::open(&dead, Path::new("/root"), limits()).unwrap();
    assert_eq!((report.swept, report.files, report.alive), (1, 2, 0));
    assert!(report.left.is_empty() && report.bytes > 6000);
    assert_eq!(names(&dead).len(), 2);
    drop(spill);
    assert_eq!(names(&dead), Vec::<String>::new());
}

#[test]
fn whatever_a_power_cut_leaves_of_it_is_swept() {
    let fs = SimFs::new(1);
    let alive = open(&fs, limits());
    alive.put(&mut batch([(0, 1000), (1, 5000)])).unwrap();
    for state in fs.power_states() {
        let fs = fs.power_cut(&state);
        fs.make_dirs("/root").unwrap();
        let (spill, report) = Spill::open(&fs, Path::new("/root"), limits()).unwrap();
        // A directory without a lock file is not known to be ours.
        let without = report
            .left
            .iter()
            .filter(|left| !names(&fs).iter().any(|name| Path::new(name) == left.join("LOCK")));
        assert_eq!(without.count(), report.left.len(), "{report:?}");
        spill.put(&mut batch([(0, 10)])).unwrap();
        has(&spill, 0, 10);
    }
}

#[test]
fn what_is_not_ours_stays_and_is_told() {
    let fs = SimFs::new(1);
    let alive = open(&fs, limits());
    alive.put(&mut batch([(0, 1000), (1, 5000)])).unwrap();
    let home = alive.home.dir.path().to_str().unwrap().to_owned();
    let foreign = [
        (format!("{home}/notes.txt"), &b"mine"[..]),
        (format!("{home}/1.seg"), b""),
        (format!("{home}/0000000000000007.seg"), &[b'x'; 100]),
        (format!("{home}/{}.obj", key(9).simple()), &[b'x'; 64]),
        ("/root/spill/readme".to_owned(), b"mine"),
        (format!("/root/spill/{}/LOCK", key(1).simple()), b"another program's lock"),
        (format!("/root/spill/{}/0000000000000001.seg", key(1).simple()), b""),
        (format!("/root/spill/{}/0000000000000001.seg", key(2).simple()), &[b'x'; 100]),
        ("/root/spill/backup/LOCK".to_owned(), b"untorn pool spill\n"),
        ("/root/file".to_owned(), b"mine"),
    ];
    for (path, bytes) in &foreign {
        fs.make_dirs(Path::new(path).parent().unwrap()).unwrap();
        fs.put(path, bytes).unwrap();
    }
    let dead = fs.kill();
    // Empty, or torn off: of ours, and a header is not needed to know it.
    dead.put(format!("{home}/0000000000000008.seg"), b"").unwrap();
    dead.put(format!("{home}/{}.obj", key(8).simple()), &[0; 4096]).unwrap();
    let (_, report) = Spill::open(&dead, Path::new("/root"), limits()).unwrap();
    assert_eq!((report.swept, report.files), (0, 4), "{report:?}");
    assert_eq!(report.left.len(), 4 + 4, "{report:?}");
    for (path, bytes) in &foreign {
        assert_eq!(dead.read(path).unwrap(), *bytes, "{path}");
    }
    assert!(dead.read(format!("{home}/LOCK")).is_ok());
    // A drop takes what is ours by name, and leaves the rest where it is, with its lock.
    let spill = open(&dead, limits());
    spill.put(&mut batch([(0, 1000), (1, 5000)])).unwrap();
    let home = spill.home.dir.path().to_str().unwrap().to_owned();
    dead.put(format!("{home}/notes.txt"), b"mine").unwrap();
    drop(spill);
    assert_eq!(dead.read(format!("{home}/notes.txt")).unwrap(), b"mine");
}

#[test]
fn threads_do_not_get_in_each_others_way() {
    let fs = SimFs::new(1);
    let spill = open(&fs, limits());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let spill = &spill;
            scope.spawn(move || {
                for round in 0..60 {
                    let base = (thread * 60 + round) * 10;
                    spill.put(&mut batch((base..base + 10).map(|n| (n, 50 * (n % 10))))).unwrap();
                    // The same as others put.
                    spill
                        .put(&mut batch([(100_000 + round, 700), (200_000 + round, 5000)]))
                        .unwrap();
                    for n in (base..base + 10).filter(|n| n % 3 != 0) {
                        spill.delete(key(n)).unwrap();
                    }
                    if round % 8 == thread {
                        spill.compact().unwrap();
                    }
                    let stay = base.next_multiple_of(3);
                    has(spill, stay, 50 * (stay % 10));
                }
            });
        }
    });
    for n in (0..2400).filter(|n| n % 3 == 0) {
        has(&spill, n, 50 * (n % 10));
    }
    (0..60).for_each(|n| has(&spill, 100_000 + n, 700));
    (0..60).for_each(|n| has(&spill, 200_000 + n, 5000));
    spill.compact().unwrap();
    adds_up(&spill);
}
