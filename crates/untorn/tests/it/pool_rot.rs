//! Rot and cuts in every file of a path: an open refuses, or the loads of what is concerned do, with a typed error; the rest stays readable,
//! `verify_path` tells it, and nothing is changed by it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::fs::Fs;
use untorn::pool::{Fb, verify_path};
use untorn::sim::{Item, SimFs};
use untorn::{ErrorKind, Result};
use uuid::Uuid;

use crate::pool_disk::{Bytes, LONG, Open, ROOT, SMALL, STATE, disk, path_options, pool, store};

const MANIFEST: &str = "/d/state/manifest";

type Files = BTreeMap<PathBuf, Item>;

/// Two segments, a file of its own, a set, and a loose object; what each key is to load.
fn whole() -> (Files, BTreeMap<Uuid, Bytes>) {
    let sim = disk();
    let open = Open::on(&sim, 20 * LONG);
    let handles: Vec<_> = (0..9)
        .map(|n| {
            open.insert(n, if n == 8 { LONG } else { SMALL + 60 * usize::try_from(n).unwrap() })
        })
        .collect();
    let all: Vec<&Fb<Bytes>> = handles.iter().collect();
    Fb::blocking_checkpoint(&all[..7], &open.path, "set", b"meta").unwrap();
    for fb in &all[6..] {
        fb.blocking_persist(&open.path).unwrap();
    }
    open.sync().unwrap();
    let bytes =
        handles.iter().map(|fb| (fb.key(), (*fb.blocking_load().unwrap()).clone())).collect();
    drop(handles);
    drop(open);
    (image(&sim), bytes)
}

fn image(sim: &SimFs) -> Files {
    let ours = |path: &Path| path.starts_with(STATE) && !path.ends_with("LOCK");
    sim.dump().into_iter().filter(|(path, _)| ours(path)).collect()
}

fn copy(files: &Files) -> SimFs {
    let sim = disk();
    for (path, item) in files {
        match item {
            Item::File(bytes) => sim.put(path, bytes).unwrap(),
            _ => sim.make_dirs(path).unwrap(),
        }
    }
    sim
}

fn typed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Damaged | ErrorKind::NewerFormat | ErrorKind::NotOurs | ErrorKind::TooLarge
    )
}

/// Loads all; the keys that it could not, or the error of the open.
fn look(
    sim: &SimFs,
    expected: &BTreeMap<Uuid, Bytes>,
    read_only: bool,
    what: &str,
) -> Result<Vec<Uuid>> {
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let store = store(&fs, Path::new(ROOT))?;
    let path = if read_only {
        untorn::pool::DirPath::read_only_with(STATE, path_options(&fs))
    } else {
        untorn::pool::DirPath::with(STATE, path_options(&fs))
    };
    let path = store.blocking_track_path(path)?;
    let pool = pool(&store, 20 * LONG);
    let mut lost = Vec::new();
    for (key, bytes) in expected {
        let loaded = match pool.blocking_register(&path, *key) {
            Ok(Some(fb)) => fb.blocking_load().map(|guard| (*guard).clone()),
            Ok(None) => {
                lost.push(*key);
                continue;
            }
            Err(error) => Err(error),
        };
        match loaded {
            Ok(found) => assert!(found == *bytes, "{what}: wrong bytes of {key}"),
            Err(error) => {
                assert!(typed(error.kind()), "{what}: {error:?}");
                lost.push(*key);
            }
        }
    }
    Ok(lost)
}

/// Looks in every way; how many objects were lost to it.
fn each(
    files: &Files,
    expected: &BTreeMap<Uuid, Bytes>,
    path: &Path,
    change: &dyn Fn(&SimFs),
    what: &str,
) -> usize {
    let sim = copy(files);
    change(&sim);
    let before = image(&sim);
    let manifest = path.starts_with(MANIFEST);
    let mut most = 0;
    for read_only in [true, false] {
        match look(&sim, expected, read_only, what) {
            Ok(lost) => {
                // Of a manifest that was cut a torn tail may be gone, and with it what it listed.
                assert!(manifest || lost.len() < expected.len(), "{what}: {} lost", lost.len());
                most = most.max(lost.len());
            }
            Err(error) => {
                assert!(manifest && typed(error.kind()), "{what}: {error:?}");
                most = expected.len();
            }
        }
        if !manifest || read_only {
            assert_eq!(
                image(&sim).iter().filter(|(at, _)| !at.starts_with(MANIFEST)).count(),
                before.iter().filter(|(at, _)| !at.starts_with(MANIFEST)).count(),
                "{what}: files"
            );
            assert_eq!(image(&sim).get(path), before.get(path), "{what}: changed");
        }
    }
    let sim = copy(files);
    change(&sim);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    match verify_path(STATE, fs, |_, _| ()) {
        Ok(report) if manifest => {
            assert!(
                most < expected.len() || !report.is_sound() || report.objects < 9,
                "{what}: sound"
            );
        }
        Ok(report) => {
            assert_eq!(report.damage.len(), most, "{what}: {report:?}");
            assert!(report.damage.iter().all(|found| found.path == path), "{what}: {report:?}");
        }
        Err(error) => assert!(manifest && typed(error.kind()), "{what}: {error:?}"),
    }
    assert_eq!(image(&sim), before, "{what}: a look changes nothing");
    most
}

#[test]
fn flipped_bits_and_cuts_of_every_file() {
    let (files, expected) = whole();
    assert!(look(&copy(&files), &expected, false, "whole").unwrap().is_empty());
    let (mut looks, mut hits, mut kinds) = (0, 0, [0; 3]);
    for (path, item) in &files {
        let Item::File(bytes) = item else { continue };
        let nth = if path.starts_with(MANIFEST) {
            0
        } else if path.extension().is_some_and(|end| end == "seg") {
            1
        } else {
            2
        };
        kinds[nth] += 1;
        // What lies behind the last record of the log is space that is not used yet.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let step = if used > 2000 { 61 } else { 23 };
        for byte in (0..used).step_by(step) {
            let bit = byte as u64 * 8 + byte as u64 % 8;
            let what = format!("{} bit {bit}", path.display());
            let change = |sim: &SimFs| sim.flip_bit(path, bit).unwrap();
            hits += usize::from(each(&files, &expected, path, &change, &what) > 0);
            looks += 1;
        }
        for cut in (0..used).step_by(step * 5) {
            let what = format!("{} cut at {cut}", path.display());
            let change = |sim: &SimFs| sim.put(path, &bytes[..cut]).unwrap();
            let lost = each(&files, &expected, path, &change, &what);
            hits += usize::from(lost > 0);
            assert!(nth == 0 || lost > 0, "{what}: nobody saw it");
            looks += 1;
        }
    }
    assert!(kinds[0] >= 2 && kinds[1] >= 1 && kinds[2] == 1, "{kinds:?}");
    assert!(looks > 150 && hits > looks / 3, "{hits} of {looks}");
}

/// Files that change places, and those of another path: nothing is taken for what it is not.
#[test]
fn files_in_each_others_places() {
    let (files, expected) = whole();
    let objects: Vec<&PathBuf> = files
        .iter()
        .filter(|(path, item)| matches!(item, Item::File(_)) && !path.starts_with(MANIFEST))
        .map(|(path, _)| path)
        .collect();
    for from in &objects {
        for to in objects.iter().filter(|to| *to != from) {
            let Some(Item::File(bytes)) = files.get(*from) else { continue };
            let what = format!("{} for {}", from.display(), to.display());
            let lost = each(&files, &expected, to, &|sim| sim.put(to, bytes).unwrap(), &what);
            assert!(lost > 0, "{what}");
        }
    }
    let other = {
        let sim = SimFs::new(99);
        sim.make_dirs("/d").unwrap();
        let open = Open::on(&sim, 20 * LONG);
        for n in 0..8 {
            open.insert(n, SMALL).blocking_persist(&open.path).unwrap();
        }
        open.sync().unwrap();
        drop(open);
        image(&sim)
    };
    for (path, item) in other.iter().filter(|(path, _)| {
        path.extension().is_some_and(|end| end == "seg") && !path.starts_with(MANIFEST)
    }) {
        let Item::File(bytes) = item else { continue };
        if files.contains_key(path) {
            let lost = each(
                &files,
                &expected,
                path,
                &|sim| sim.put(path, bytes).unwrap(),
                "of another path",
            );
            assert!(lost > 0, "{}", path.display());
        }
    }
}
