//! Rot and cuts in every file of a small fold: what is served is a state that was committed, or it is a typed error; never another
//! value. A salvage keeps what lies intact.
#![expect(
    clippy::cast_possible_truncation,
    reason = "small numbers, and bytes that are made of them"
)]

use std::path::{Path, PathBuf};

use untorn::fold::{AppendLogSnapshot, FoldOptions, SnapshotStore, WatchCursor};
use untorn::sim::SimFs;
use untorn::{ErrorKind, OnDamage, Result};

use super::fold_kit::{All, BASE, PATH, all, at, delete, disk, image, kind, options, put};

fn small(sim: &SimFs) -> FoldOptions {
    options(sim).log_segment_bytes(4096)
}

/// A base with a deleted key and a value apart, and three commits above it; the states that there were, the first one empty.
fn store(close: bool) -> (SimFs, Vec<All>) {
    let sim = disk();
    let mut fold = small(&sim).open(PATH).unwrap().1;
    let mut states = vec![all(&fold)];
    let mut apply = |fold: &mut AppendLogSnapshot, updates: &[_], cursor| {
        fold.apply(updates, &at(cursor)).unwrap();
        states.push(all(fold));
    };
    let keys = (1..30_u64).map(|n| put(&format!("k{n:02}"), vec![n as u8; n as usize * 3], n));
    let mut updates: Vec<_> = keys.collect();
    updates.push(delete("k03", 30));
    updates.push(put("apart", [0xaa; 1200], 31));
    apply(&mut fold, &updates, 31);
    fold.compact_all().unwrap();
    apply(&mut fold, &[put("k01", [0x11; 70], 32), put("t1", "short", 33)], 33);
    apply(&mut fold, &[put("t2", [0x22; 300], 34), delete("k02", 35)], 35);
    apply(&mut fold, &[put("k01", "again", 36)], 40);
    if close {
        fold.close().unwrap();
    } else {
        drop(fold);
    }
    (sim.kill(), states)
}

/// The files but the text in the lock, which is for people.
fn files(sim: &SimFs) -> Vec<(PathBuf, usize)> {
    image(sim).into_iter().map(|(path, bytes)| (path, bytes.len())).collect()
}

fn copy(whole: &SimFs) -> SimFs {
    let sim = disk();
    for dir in ["/d/f", "/d/f/log"] {
        sim.make_dirs(dir).unwrap();
    }
    for (path, bytes) in image(whole) {
        sim.put(path, &bytes).unwrap();
    }
    sim
}

/// Every key that is served is that of this state; how many are not.
fn missing(fold: &AppendLogSnapshot, state: &All, what: &str) -> usize {
    let mut damaged = 0;
    for key in state.0.keys().map(String::as_str).chain(["k03", "k00", "none"]) {
        match fold.get(key) {
            Ok(found) => {
                let found = found.map(|e| (e.value, e.version.as_u64().unwrap()));
                assert_eq!(found.as_ref(), state.0.get(key), "{what}: {key}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
                damaged += 1;
            }
        }
    }
    match fold.range("") {
        Ok(found) => assert_eq!((found.len(), damaged), (state.0.len(), 0), "{what}"),
        Err(error) => assert!(error.kind() == ErrorKind::Damaged && damaged > 0, "{what}: {error}"),
    }
    damaged
}

/// What is served is a state that was committed, by its cursor; says whether anything was not served.
fn look(opened: Result<(WatchCursor, AppendLogSnapshot)>, states: &[All], what: &str) -> bool {
    match opened {
        Ok((cursor, fold)) => {
            let state = states.iter().find(|state| state.1 == cursor);
            let Some(state) = state else { panic!("{what}: at {cursor}") };
            missing(&fold, state, what) > 0
        }
        Err(error) => {
            let known = [ErrorKind::Damaged, ErrorKind::NewerFormat, ErrorKind::NotOurs];
            assert!(known.contains(&error.kind()), "{what}: {error:?}");
            true
        }
    }
}

/// After a salvage every key is as one of the states had it, and those that nothing touched are there; it is opened again as it is.
fn salvage(whole: &SimFs, change: &dyn Fn(&SimFs), changed: &Path, states: &[All], what: &str) {
    let sim = copy(whole);
    change(&sim);
    let (cursor, mut fold) = match small(&sim).on_damage(OnDamage::Salvage).open(PATH) {
        Ok(opened) => opened,
        Err(error) => {
            // What says to be of a later version, or of another store, is left to who knows it.
            let known = [ErrorKind::NewerFormat, ErrorKind::NotOurs];
            assert!(known.contains(&error.kind()), "{what}: {error:?}");
            return;
        }
    };
    let last = states.last().unwrap();
    assert!(cursor.is_none() || states.iter().any(|state| state.1 == cursor), "{what}: {cursor}");
    let found = all(&fold).0;
    for (key, held) in &found {
        let known = states.iter().any(|state| state.0.get(key) == Some(held));
        assert!(known, "{what}: {key} is {held:?}");
    }
    // These are in the log, the others in the base.
    let in_log = ["k01", "t1", "t2"];
    for (key, held) in &last.0 {
        let of_log = in_log.contains(&&**key);
        if of_log != (changed != Path::new(BASE)) {
            assert_eq!(found.get(key), Some(held), "{what}: {key} was not touched");
        }
    }
    let next = cursor.as_u64().unwrap_or(0).max(100) + 1;
    fold.apply(&[put("next", "next", next)], &at(next)).unwrap();
    let now = all(&fold);
    drop(fold);
    let (_, fold) = small(&sim).open(PATH).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(all(&fold), now, "{what}");
}

/// Looks at a changed copy in every way.
fn each_way(
    whole: &SimFs,
    states: &[All],
    path: &Path,
    change: &dyn Fn(&SimFs),
    what: &str,
) -> bool {
    let sim = copy(whole);
    change(&sim);
    let before = image(&sim);
    let read_only = small(&sim).read_only(true).open(PATH);
    let seen = look(read_only, states, &format!("read only, {what}"));
    assert_eq!(image(&sim), before, "{what}: who only reads changes nothing");
    let opened = small(&sim).open(PATH);
    if opened.is_err() {
        assert_eq!(image(&sim), before, "{what}: who refuses changes nothing");
    }
    let refused = look(opened, states, what);
    let sim = copy(whole);
    change(&sim);
    // What was there before the damage is a state, whatever is in the base.
    look(
        small(&sim).on_damage(OnDamage::Truncate).open(PATH),
        states,
        &format!("truncated, {what}"),
    );
    salvage(whole, change, path, states, what);
    seen || refused
}

#[test]
fn every_flipped_bit_and_every_cut() {
    for close in [true, false] {
        let (whole, states) = store(close);
        let (mut looks, mut errors) = (0, 0);
        for (path, len) in files(&whole) {
            let step = if len > 2048 { 17 } else { 3 };
            for byte in (0..len).step_by(step) {
                let bit = byte as u64 * 8 + byte as u64 % 8;
                let change = |sim: &SimFs| sim.flip_bit(&path, bit).unwrap();
                looks += 1;
                let what = format!("{} bit {bit}", path.display());
                errors += u32::from(each_way(&whole, &states, &path, &change, &what));
            }
            for cut in (0..len).step_by(step * 3) {
                let change = |sim: &SimFs| {
                    let bytes = sim.read(&path).unwrap();
                    sim.put(&path, &bytes[..cut]).unwrap();
                };
                looks += 1;
                let what = format!("{} cut at {cut}", path.display());
                errors += u32::from(each_way(&whole, &states, &path, &change, &what));
            }
        }
        assert!(looks > 800 && errors > looks / 10, "{errors} errors in {looks} looks");
    }
}

/// After a close the end is known: not even the last commit can be taken for one that was never made.
#[test]
fn after_a_close_no_commit_goes_unnoticed() {
    let (whole, states) = store(true);
    let log = |path: &Path| path.extension().is_some_and(|end| end == "seg");
    let mut refused = 0;
    for (path, len) in files(&whole).into_iter().filter(|(path, _)| log(path)) {
        for byte in (0..len).step_by(5) {
            let sim = copy(&whole);
            sim.flip_bit(&path, byte as u64 * 8 + 1).unwrap();
            match small(&sim).open(PATH) {
                Ok((cursor, _)) => assert_eq!(cursor, states[4].1, "byte {byte}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged);
                    refused += 1;
                }
            }
        }
        // One that was only prepared has no commit.
        if whole.read(&path).unwrap().iter().all(|byte| *byte == 0) {
            continue;
        }
        let sim = copy(&whole);
        sim.put(&path, &vec![0; len]).unwrap();
        assert_eq!(kind(small(&sim).open(PATH)), ErrorKind::Damaged, "zeros");
    }
    assert!(refused > 50, "{refused}");
}
