//! Damage of a fold, number 2 and 3 of the list of failures: what is said of it, what each policy keeps, and what it costs.
#![expect(
    clippy::cast_possible_truncation,
    reason = "small numbers, and bytes that are made of them"
)]

use std::path::Path;

use untorn::fold::{
    AppendLogSnapshot, Lineage, SnapshotStore, SyncScope, VersionToken, WatchCursor,
};
use untorn::sim::{Item, SimFs};
use untorn::{ErrorKind, OnDamage, Outcome};

use super::fold_kit::{
    All, BASE, PATH, SEGMENT, all, at, delete, disk, frames, image, kind, open, options, put, value,
};

const LOG: &str = "/d/f/log";
/// The length of what stands before the record in a frame.
const FRAME_HEADER: usize = 48;

fn with(sim: &SimFs, on_damage: OnDamage) -> untorn::Result<(WatchCursor, AppendLogSnapshot)> {
    options(sim).on_damage(on_damage).open(PATH)
}

/// The same disk with only those files and directories.
fn only(sim: &SimFs, keep: impl Fn(&Path) -> bool) -> SimFs {
    let other = disk();
    for (path, item) in sim.dump() {
        match item {
            Item::Dir if keep(&path) => other.make_dirs(&path).unwrap(),
            Item::File(bytes) if keep(&path) => other.put(&path, &bytes).unwrap(),
            _ => {}
        }
    }
    other
}

/// What is refused is told with its place, and nothing on disk is another.
#[track_caller]
fn refused(sim: &SimFs, on_damage: OnDamage, path: &str) -> untorn::Error {
    let before = image(sim);
    let error = with(sim, on_damage).unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Damaged, Outcome::Unchanged),
        "{error}"
    );
    assert_eq!(error.path(), Some(Path::new(path)), "{error}");
    assert_eq!(image(sim), before, "{error}");
    assert_eq!(kind(options(sim).read_only(true).open(PATH)), ErrorKind::Damaged);
    error
}

/// 2: a flipped bit anywhere in the head of a frame, its length first of all.
#[test]
fn n02_a_flipped_bit_in_a_length() {
    for close in [true, false] {
        let sim = disk();
        let (fold, starts) = frames(&sim, 12, |n| vec![n as u8; 40]);
        if close {
            fold.close().unwrap();
        } else {
            drop(fold);
        }
        let sim = sim.kill();
        for bit in 0..FRAME_HEADER as u64 * 8 {
            let other = only(&sim, |_| true);
            other.flip_bit(SEGMENT, starts[3] as u64 * 8 + bit).unwrap();
            let error = refused(&other, OnDamage::Refuse, SEGMENT);
            assert_eq!(error.offset(), Some(starts[3] as u64), "{error}");
            let text = error.to_string();
            let good = format!("last good cursor {}, 8 intact commits behind", at(3));
            assert!(text.contains(&good), "{text}");
        }
    }
}

/// A fold of twelve commits: each puts a key of its own, and one that all have; the tenth deletes the fifth key.
fn twelve(sim: &SimFs) -> Vec<All> {
    let mut fold = open(sim);
    let mut states = vec![all(&fold)];
    for n in 1..=12_u64 {
        fold.apply(&commit(n), &at(n)).unwrap();
        states.push(all(&fold));
    }
    fold.close().unwrap();
    states
}

fn commit(n: u64) -> Vec<untorn::fold::KvUpdate> {
    let mut updates = vec![put(&format!("k{n:02}"), vec![n as u8; 100], n)];
    updates.push(put("hot", vec![n as u8; n as usize], n));
    if n == 10 {
        updates.push(delete("k05", n));
    }
    updates
}

/// 3: a flipped bit in the midst of the file: refused; or what precedes it; or all that is good.
#[test]
fn n03_a_flipped_bit_in_the_midst() {
    let sim = disk();
    let states = twelve(&sim);
    let whole = sim.kill();
    let bytes = whole.read(SEGMENT).unwrap();
    // The value of the seventh commit.
    let spot = (0..bytes.len()).find(|at| bytes[*at..].starts_with(&[7; 90])).unwrap();
    let damaged = |on_damage| {
        let sim = only(&whole, |_| true);
        sim.flip_bit(SEGMENT, spot as u64 * 8 + 80).unwrap();
        let original = sim.read(SEGMENT).unwrap();
        let opened = with(&sim, on_damage);
        (sim, original, opened)
    };

    let (sim, _, refusal) = damaged(OnDamage::Refuse);
    assert_eq!(kind(refusal), ErrorKind::Damaged);
    let error = refused(&sim, OnDamage::Refuse, SEGMENT);
    let text = error.to_string();
    assert!(
        text.contains(&format!("last good cursor {}, 5 intact commits behind", at(6))),
        "{text}"
    );
    assert!(
        error.offset().is_some_and(|offset| offset < spot as u64 && offset > spot as u64 - 200)
    );

    let (sim, original, opened) = damaged(OnDamage::Truncate);
    let (cursor, fold) = opened.unwrap();
    assert_eq!((all(&fold), cursor), (states[6].clone(), at(6)));
    let healed = fold.recovery().healed.clone().unwrap();
    assert_eq!((healed.lost, healed.quarantine.len()), (Some((7, 12)), 1));
    has_the_damage(&sim, &healed.quarantine, &original[spot - 60..spot + 60]);
    go_on(&sim, fold, 7, &states[12]);

    let (sim, original, opened) = damaged(OnDamage::Salvage);
    let (cursor, fold) = opened.unwrap();
    assert_eq!(cursor, at(6), "what lies behind is not counted as had");
    let mut expected = states[12].clone();
    expected.0.remove("k07").unwrap();
    expected.1 = at(6);
    assert_eq!(all(&fold), expected);
    let salvaged = fold.recovery().salvaged.clone().unwrap();
    assert_eq!((salvaged.commits_behind, salvaged.lost_keys), (5, vec![]));
    let copies = fold.recovery().healed.clone().unwrap().quarantine;
    has_the_damage(&sim, &copies, &original[spot - 60..spot + 60]);
    go_on(&sim, fold, 7, &states[12]);
}

/// What was cut is in one of the copies, as it was found.
#[track_caller]
fn has_the_damage(sim: &SimFs, copies: &[std::path::PathBuf], part: &[u8]) {
    let has = |path| sim.read(path).unwrap().windows(part.len()).any(|found| found == part);
    assert!(copies.iter().any(has), "{copies:?}");
}

/// The stream is resumed behind the cursor: no key moves back, and what was deleted stays so, until all is as it was.
fn go_on(sim: &SimFs, mut fold: AppendLogSnapshot, from: u64, end: &All) {
    let hot = value(&fold, "hot");
    let gone = value(&fold, "k05").is_none();
    for n in from..=12 {
        fold.apply(&commit(n), &at(n)).unwrap();
        let now = value(&fold, "hot").unwrap().len();
        assert!(now >= hot.as_ref().unwrap().len(), "after {n}");
        fold.apply(&[put("k05", "undead", 5)], &at(n)).unwrap();
        assert!(!gone || value(&fold, "k05").is_none(), "after {n}");
    }
    assert_eq!(all(&fold), *end);
    fold.compact_all().unwrap();
    drop(fold);
    let (_, fold) = with(sim, OnDamage::Refuse).unwrap();
    assert_eq!(all(&fold), *end);
}

/// 3: a salvage that dies anywhere is made again, to the same end.
#[test]
fn n03_a_salvage_may_die_anywhere() {
    use untorn::sim::{Fault, FaultKind};
    let sim = disk();
    twelve(&sim);
    let whole = sim.kill();
    let bytes = whole.read(SEGMENT).unwrap();
    let spot = (0..bytes.len()).find(|at| bytes[*at..].starts_with(&[7; 90])).unwrap();
    let damaged = || {
        let sim = only(&whole, |_| true);
        sim.flip_bit(SEGMENT, spot as u64 * 8).unwrap();
        sim
    };
    let sim = damaged();
    let before = sim.calls();
    let expected = all(&with(&sim, OnDamage::Salvage).unwrap().1);
    assert_eq!((expected.0.len(), &expected.1), (11, &at(6)));
    for call in before + 1..=sim.calls() {
        let sim = damaged();
        sim.inject(Fault::new(FaultKind::Io).at_call(call).lasting());
        drop(with(&sim, OnDamage::Salvage));
        let sim = sim.kill();
        let fold = with(&sim, OnDamage::Salvage).unwrap().1;
        assert_eq!(all(&fold), expected, "call {call}");
    }
}

/// 3: where positions began anew behind the damage, the cursor before it says nothing of them.
#[test]
fn n03_a_new_source_behind_the_damage_leaves_no_cursor() {
    let sim = disk();
    let mut fold = open(&sim);
    let lineage = |id: &str| Lineage { kind: "test".into(), id: id.as_bytes().to_vec() };
    fold.set_lineage(lineage("old")).unwrap();
    fold.apply(&[put("a", "old", 900), put("b", "old", 901)], &at(1000)).unwrap();
    let token = fold.begin_sync(SyncScope::all().of_new_lineage(lineage("new"))).unwrap();
    fold.sync_apply(&token, &[put("c", vec![0x5a; 200], 3)]).unwrap();
    fold.sync_apply(&token, &[put("d", "listed", 4)]).unwrap();
    fold.finish_sync(token, &at(5)).unwrap();
    fold.close().unwrap();
    let bytes = sim.read(SEGMENT).unwrap();
    let spot = bytes.windows(90).position(|part| part == [0x5a; 90]).unwrap();
    sim.flip_bit(SEGMENT, spot as u64 * 8).unwrap();
    let (cursor, fold) = with(&sim, OnDamage::Salvage).unwrap();
    assert_eq!((value(&fold, "d"), value(&fold, "a")), (Some(b"listed".to_vec()), None));
    // At 1000 of the new source, `c` would never come again.
    assert_eq!((cursor, fold.lineage()), (WatchCursor::none(), Some(lineage("new"))));
}

/// 3: junk behind the last record is a torn tail, and is cut, with a copy.
#[test]
fn n03_junk_behind_the_last_record() {
    let end = frames(&disk(), 6, |n| vec![n as u8; 40]).1[5];
    for junk in [vec![0xa5; 16], vec![1; 3000], [vec![0; 600], vec![7; 16]].concat()] {
        let sim = disk();
        let before = all(&frames(&sim, 5, |n| vec![n as u8; 40]).0);
        let sim = sim.kill();
        let mut bytes = sim.read(SEGMENT).unwrap();
        bytes.resize(bytes.len().max(end + junk.len()), 0);
        bytes[end..end + junk.len()].copy_from_slice(&junk);
        sim.put(SEGMENT, &bytes).unwrap();
        // Who only looks sees the same, and heals nothing.
        let image_before = image(&sim);
        let (cursor, other) = options(&sim).read_only(true).open(PATH).unwrap();
        assert_eq!((all(&other), cursor), (before.clone(), at(5)));
        assert_eq!(image(&sim), image_before);
        let mut fold = open(&sim);
        let healed = fold.recovery().healed.clone().unwrap();
        assert_eq!((healed.offset, healed.lost, healed.quarantine.len()), (end as u64, None, 1));
        assert_eq!(all(&fold), before);
        fold.apply(&[put("more", "more", 6)], &at(6)).unwrap();
        let after = all(&fold);
        drop(fold);
        let fold = open(&sim.kill());
        assert_eq!((all(&fold), fold.recovery().healed.is_some()), (after, false));
    }
}

const KEYS: u64 = 400;

/// A fold with a base of several blocks, with some values apart, and a tail of two commits; the log has no more than that.
fn based(sim: &SimFs) -> All {
    let mut fold = options(sim).log_segment_bytes(8192).open(PATH).unwrap().1;
    let size = |n: u64| if n % 50 == 9 { 1500 } else { 60 };
    let updates: Vec<_> =
        (1..=KEYS).map(|n| put(&format!("k{n:03}"), vec![n as u8; size(n)], n)).collect();
    for part in updates.chunks(20) {
        fold.apply(part, &WatchCursor::from_version(part[19].version().clone())).unwrap();
    }
    fold.compact_all().unwrap();
    assert_eq!(
        sim.read(SEGMENT).unwrap_err().kind(),
        std::io::ErrorKind::NotFound,
        "it is given up"
    );
    fold.apply(&[put("k001", "tail", 501)], &at(501)).unwrap();
    fold.apply(&[put("z", "tail", 502), delete("k002", 502)], &at(502)).unwrap();
    let state = all(&fold);
    fold.close().unwrap();
    state
}

/// 3: a block of the base that does not verify: it is told where it is read, the rest serves, and nothing is written over it.
#[test]
fn n03_a_damaged_block_of_the_base() {
    let sim = disk();
    let state = based(&sim);
    let whole = sim.kill();
    let bytes = whole.read(BASE).unwrap();
    let apart = bytes.windows(1000).position(|part| part == [109; 1000]).unwrap();
    for spot in [64 + 9000, 64 + 100, apart + 1200] {
        let flipped = || {
            let sim = only(&whole, |_| true);
            sim.flip_bit(BASE, spot as u64 * 8 + 3).unwrap();
            sim
        };
        salvaged(&flipped(), &state);
        for on_damage in [OnDamage::Refuse, OnDamage::Truncate] {
            let sim = flipped();
            let damaged = sim.read(BASE).unwrap();
            let (cursor, mut fold) = with(&sim, on_damage).unwrap();
            assert_eq!(cursor, at(502));
            let mut lost = 0;
            for (key, (value, version)) in &state.0 {
                match fold.get(key) {
                    Ok(entry) => {
                        let entry = entry.unwrap();
                        assert_eq!((&entry.value, entry.version.as_u64()), (value, Some(*version)));
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                        assert_eq!(error.path(), Some(Path::new(BASE)), "{error}");
                        assert!(error.offset().is_some());
                        lost += 1;
                    }
                }
            }
            assert!(lost == 1 || (30..80).contains(&lost), "{lost}");
            assert_eq!(kind(fold.range("")), ErrorKind::Damaged);
            assert_eq!(value(&fold, "z"), Some(b"tail".to_vec()));
            fold.apply(&[put("new", "new", 503)], &at(503)).unwrap();
            assert_eq!(kind(fold.compact_all()), ErrorKind::Damaged);
            assert!(fold.stats().compaction_error.is_some());
            assert_eq!(sim.read(BASE).unwrap(), damaged, "it is not written over");
            assert_eq!(value(&fold, "new"), Some(b"new".to_vec()));
        }
    }
}

/// The base is written without the block; what it had is listed, and the source is to be listed for it.
fn salvaged(sim: &SimFs, state: &All) {
    let damaged = sim.read(BASE).unwrap();
    let (cursor, mut fold) = with(sim, OnDamage::Salvage).unwrap();
    assert_eq!(cursor, WatchCursor::none());
    let report = fold.recovery().salvaged.clone().unwrap();
    assert_eq!((report.lost_keys.len(), report.quarantine.len()), (1, 1));
    assert_eq!(sim.read(&report.quarantine[0]).unwrap(), damaged);
    let (from, to) = report.lost_keys[0].clone();
    let in_it = |key: &str| {
        from.as_deref().is_none_or(|from| key >= from) && to.as_deref().is_none_or(|to| key < to)
    };
    let mut gone = 0;
    for (key, (expected, _)) in &state.0 {
        if let Some(found) = value(&fold, key) {
            assert_eq!(found, *expected, "{key}");
        } else {
            assert!(in_it(key), "{key} is not in what was said to be lost");
            gone += 1;
        }
    }
    assert!((30..80).contains(&gone), "{gone}");
    // The repair: a listing of all, as of the cursor that the source is at.
    let token = fold.begin_sync(SyncScope::all()).unwrap();
    let listed: Vec<_> =
        state.0.iter().map(|(key, (value, version))| put(key, value.clone(), *version)).collect();
    fold.sync_apply(&token, &listed).unwrap();
    fold.finish_sync(token, &state.1).unwrap();
    fold.compact_all().unwrap();
    drop(fold);
    assert_eq!(all(&open(sim)), *state);
}

/// 3: a base that cannot be opened at all is refused, and a salvage has what the log has.
#[test]
fn n03_a_base_without_head_or_foot() {
    let sim = disk();
    let state = based(&sim);
    let whole = sim.kill();
    let len = whole.read(BASE).unwrap().len();
    // The store's number in the header; the footer; its magic; the index and the meta before it.
    for spot in [20, 33, len - 60, len - 1, len - 64 - 10, len - 64 - 5] {
        let damaged = || {
            let sim = only(&whole, |_| true);
            sim.flip_bit(BASE, spot as u64 * 8).unwrap();
            sim
        };
        for on_damage in [OnDamage::Refuse, OnDamage::Truncate] {
            let error = refused(&damaged(), on_damage, BASE);
            assert!(error.offset().is_some(), "{error}");
        }
        let sim = damaged();
        let original = sim.read(BASE).unwrap();
        let (cursor, fold) = with(&sim, OnDamage::Salvage).unwrap();
        let report = fold.recovery().salvaged.clone().unwrap();
        assert_eq!((cursor, report.lost_keys), (WatchCursor::none(), vec![(None, None)]));
        assert_eq!(sim.read(&report.quarantine[0]).unwrap(), original);
        // Of the log, the segment that was not full yet has some more.
        let found = all(&fold).0;
        assert!((2..100).contains(&found.len()) && found.contains_key("z"), "{}", found.len());
        assert!(found.iter().all(|(key, held)| state.0[key] == *held));
        drop(fold);
        assert_eq!(open(&sim).cursor(), WatchCursor::none());
    }
}

/// 3: one of the two is missing, or is another fold's.
#[test]
fn n03_base_and_log_belong_together() {
    let sim = disk();
    let state = based(&sim);
    let whole = sim.kill();
    let policies = [OnDamage::Refuse, OnDamage::Truncate, OnDamage::Salvage];

    let no_base = || only(&whole, |path| path != Path::new(BASE));
    for on_damage in policies {
        let error = refused(&no_base(), on_damage, PATH);
        assert!(error.to_string().contains("base is missing"), "{error}");
    }

    let other = disk();
    based(&other);
    let mixed = || {
        let sim = only(&whole, |_| true);
        let mut foreign = SimFs::new(77);
        foreign.make_dirs("/d").unwrap();
        based(&foreign);
        foreign = foreign.kill();
        sim.put(BASE, &foreign.read(BASE).unwrap()).unwrap();
        sim
    };
    for on_damage in policies {
        let sim = mixed();
        let before = image(&sim);
        let error = with(&sim, on_damage).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.to_string().contains("another fold"), "{error}");
        assert_eq!(image(&sim), before);
    }

    // Without its log the fold is what the base has.
    for empty_directory in [false, true] {
        let no_log = || {
            only(&whole, |path| {
                !path.starts_with(LOG) || (empty_directory && path == Path::new(LOG))
            })
        };
        for on_damage in [OnDamage::Refuse, OnDamage::Truncate] {
            let error = refused(&no_log(), on_damage, PATH);
            assert!(error.to_string().contains("log is missing"), "{error}");
        }
        let sim = no_log();
        let (cursor, mut fold) = with(&sim, OnDamage::Salvage).unwrap();
        assert_eq!((cursor, fold.range("").unwrap().len() as u64), (at(KEYS), KEYS));
        assert!(fold.recovery().salvaged.is_some());
        fold.apply(&[put("k001", "tail", 501)], &at(501)).unwrap();
        fold.apply(&[put("z", "tail", 502), delete("k002", 502)], &at(502)).unwrap();
        fold.compact_all().unwrap();
        assert_eq!(all(&fold), state);
        drop(fold);
        assert_eq!(all(&open(&sim.kill())), state);
    }
}

/// 3: a whole batch of several records is one commit in the report, too.
#[test]
fn n03_what_is_counted_behind_the_damage_are_commits() {
    let sim = disk();
    let mut fold = options(&sim).log_segment_bytes(64 << 20).open(PATH).unwrap().1;
    fold.apply(&[put("a", vec![0x5a; 200], 1)], &at(1)).unwrap();
    let large: Vec<_> =
        (0..3_u64).map(|n| put(&format!("l{n}"), vec![1; 5 << 20], n + 2)).collect();
    fold.apply(&large, &at(4)).unwrap();
    let version = VersionToken::from_u64(5);
    fold.apply(&[untorn::fold::KvUpdate::put("b", "b", version)], &at(5)).unwrap();
    fold.close().unwrap();
    let bytes = sim.read(SEGMENT).unwrap();
    let spot = bytes.windows(90).position(|part| part == [0x5a; 90]).unwrap();
    sim.flip_bit(SEGMENT, spot as u64 * 8).unwrap();
    let fold = with(&sim, OnDamage::Salvage).unwrap().1;
    let report = fold.recovery().salvaged.clone().unwrap();
    assert_eq!((report.commits_behind, fold.range("").unwrap().len()), (2, 4));
}
