//! Rot and cuts in every file of a small append-only store: the same elements, fewer commits where nothing vouched for them, or a
//! typed error; never another element.
#![expect(
    clippy::cast_possible_truncation,
    reason = "small numbers, and bytes that are made of them"
)]

use std::path::PathBuf;
use std::sync::Arc;

use untorn::append::OpenOptions;
use untorn::sim::{Item, SimFs};
use untorn::{ErrorKind, OnDamage};

fn options(sim: &SimFs, fixed: u32) -> OpenOptions<Vec<u8>> {
    let options = OpenOptions::new().log_segment_bytes(2048).fs(Arc::new(sim.clone()));
    if fixed == 0 { options.variable() } else { options.fixed(fixed) }
}

fn element(n: u64, fixed: u32) -> Vec<u8> {
    let len = if fixed == 0 { n * 37 % 90 } else { u64::from(fixed) };
    (0..len).map(|at| (n * 31 + at * 7 + 1) as u8).collect()
}

/// Three commits, the second of which rewinds; the lengths of the states that there were.
fn store(fixed: u32, close: bool) -> (SimFs, Vec<Vec<u64>>) {
    let sim = SimFs::new(1);
    sim.make_dirs("/d").unwrap();
    let mut file = options(&sim, fixed).open("/d/a").unwrap();
    let mut states = vec![Vec::new()];
    for (keep, add) in [(0, 0..20_u64), (12, 100..110), (22, 200..210)] {
        let mut next: Vec<u64> = states.last().unwrap().clone();
        next.truncate(keep);
        file.rewind(keep as u64).unwrap();
        for n in add {
            file.append(&element(n, fixed)).unwrap();
            next.push(n);
        }
        file.flush().unwrap();
        states.push(next);
    }
    if close {
        file.close().unwrap();
    } else {
        drop(file);
    }
    (sim.kill(), states)
}

/// What is read is one of the states, or an error; says whether it was an error.
fn look(sim: &SimFs, fixed: u32, states: &[Vec<u64>], what: &str) -> bool {
    let opened = options(sim, fixed).open("/d/a");
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            let known = [
                ErrorKind::Damaged,
                ErrorKind::NewerFormat,
                ErrorKind::NotOurs,
                ErrorKind::Precondition,
                ErrorKind::NotFound,
            ];
            assert!(known.contains(&error.kind()), "{what}: {error:?}");
            return true;
        }
    };
    let mut damaged = false;
    let mut bytes = Vec::new();
    let fits = |state: &&Vec<u64>| state.len() as u64 == file.len();
    let state = states.iter().find(fits);
    let Some(state) = state else { panic!("{what}: {} elements", file.len()) };
    for (at, n) in (0..).zip(state) {
        bytes.clear();
        match file.copy_to(at, &mut bytes) {
            Ok(()) => assert_eq!(bytes, element(*n, fixed), "{what}: element {at}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
                damaged = true;
            }
        }
    }
    damaged
}

fn files(sim: &SimFs) -> Vec<(PathBuf, usize)> {
    let file = |(path, item): (PathBuf, Item)| {
        matches!(item, Item::File { .. }).then(|| {
            let len = sim.read(&path).unwrap().len();
            (path, len)
        })
    };
    sim.dump().into_iter().filter_map(file).collect()
}

#[test]
fn every_flipped_bit_and_every_cut() {
    for (fixed, close) in [(16, true), (0, true), (16, false), (0, false)] {
        let (whole, states) = store(fixed, close);
        // After a close only the last state is one.
        let states = if close { &states[3..] } else { &states[..] };
        let (mut looks, mut errors) = (0, 0);
        for (path, len) in files(&whole) {
            // The names in a lock are for people.
            if path.ends_with("LOCK") {
                continue;
            }
            for bit in (0..len as u64 * 8).step_by(if len > 1024 { 13 } else { 3 }) {
                let sim = whole.kill();
                sim.flip_bit(&path, bit).unwrap();
                looks += 1;
                errors += u32::from(look(&sim, fixed, states, &format!("{path:?} bit {bit}")));
            }
            for cut in (0..len).step_by(7) {
                let sim = whole.kill();
                let bytes = sim.read(&path).unwrap();
                sim.put(&path, &bytes[..cut]).unwrap();
                looks += 1;
                errors += u32::from(look(&sim, fixed, states, &format!("{path:?} cut at {cut}")));
            }
        }
        assert!(looks > 1000 && errors > looks / 10, "{errors} errors in {looks} looks");
    }
}

/// What the options give up is told, and what is left can be gone on with.
#[test]
fn what_is_left_can_be_gone_on_with() {
    for fixed in [16, 0] {
        let (whole, _) = store(fixed, true);
        let len = whole.read("/d/a").unwrap().len() as u64;
        for on_damage in [OnDamage::Truncate, OnDamage::Salvage] {
            for bit in (0..len * 8).step_by(41) {
                let sim = whole.kill();
                sim.flip_bit("/d/a", bit).unwrap();
                let mut file = options(&sim, fixed).on_damage(on_damage).open("/d/a").unwrap();
                // All of it is in one block, which is not full: nothing of it is provably good, but an element without bytes.
                let kept = u64::from(fixed == 0);
                assert_eq!((file.len(), file.recovery().unwrap().lost), (kept, 32 - kept));
                assert_eq!(
                    sim.read(&file.recovery().unwrap().quarantine[0]).unwrap().len() as u64,
                    len
                );
                file.append(&element(7, fixed)).unwrap();
                file.flush().unwrap();
                drop(file);
                let sim = sim.kill();
                let file = options(&sim, fixed).open("/d/a").unwrap();
                let mut bytes = Vec::new();
                file.copy_to(kept, &mut bytes).unwrap();
                assert_eq!(bytes, element(7, fixed));
            }
        }
    }
}

/// Each block that is missing counts, but not all are listed, nor gone through: a log that was tampered with kept a check going for ever.
#[test]
fn a_file_that_is_cut_to_nothing() {
    let (sim, blocks) = (SimFs::new(1), 1100_u64);
    sim.make_dirs("/d").unwrap();
    let mut file = options(&sim, 16_384).open("/d/a").unwrap();
    file.append_batch(vec![[7; 16_384]; blocks as usize]).unwrap();
    file.flush().unwrap();
    file.close().unwrap();
    sim.put("/d/a", &[]).unwrap();
    let report = options(&sim, 16_384).check("/d/a", |_, _| {}).unwrap();
    assert_eq!((report.damaged_blocks, report.damage.len()), (blocks, 1000));
    let last = report.damage.last().unwrap();
    assert_eq!((last.offset, last.bytes), (999 * 16_384, 16_384));
    assert_eq!(last.elements, 999..1000);
}
