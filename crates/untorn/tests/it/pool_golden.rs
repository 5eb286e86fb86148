//! A path of format version 1, as it was written once: it opens for ever, and has what stands here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::fs::{Fs, OsFs};
use untorn::pool::{BackingStore, DirPath, DirPathOptions, DirStore, Fb, verify_path};
use untorn::sim::{Item, SimFs};

use crate::pool_disk::{Bytes, Open, STATE, body, disk, pool};

/// Objects by their numbers, with their lengths; the last one has a file of its own.
const LEFT: [(u64, usize); 6] = [(0, 0), (1, 37), (6, 700), (7, 64), (8, 333), (9, 1200)];
const IN_A: [u64; 3] = [6, 0, 9];
const IN_B: [u64; 2] = [1, 6];
const LOG: &str = "manifest/0000000000000001.seg";
const LOG_LEN: u64 = 256 << 10;
/// The files, below the path.
const FILES: [&str; 5] =
    ["manifest/META", LOG, "seg/0000000000000002.seg", "seg/0000000000000003.seg", "obj"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/pool")
}

/// How the files were made; the simulated disk makes the same ones each time.
fn write() -> SimFs {
    let sim = disk();
    let open = Open::on(&sim, 1 << 20);
    let mut handles: BTreeMap<u64, Fb<Bytes>> = BTreeMap::new();
    let lens = LEFT
        .into_iter()
        .chain([(2, 900), (3, 900), (4, 900), (5, 400)])
        .collect::<BTreeMap<_, _>>();
    for n in 0..7 {
        handles.insert(n, open.insert(n, lens[&n]));
    }
    for fb in handles.values() {
        fb.blocking_persist(&open.path).unwrap();
    }
    open.sync().unwrap();
    // What most of a segment had is deleted, and the rest moves to another one.
    for n in 2..6 {
        let fb = handles.remove(&n).unwrap();
        open.store.blocking_delete_persisted(&open.path, fb.key()).unwrap();
    }
    open.sync().unwrap();
    assert!(open.store.compact().unwrap().moved_bytes > 0);
    let keys: BTreeMap<u64, uuid::Uuid> = handles.iter().map(|(n, fb)| (*n, fb.key())).collect();
    drop((handles, open));
    let open = Open::on(&sim, 1 << 20);
    let mut handles: BTreeMap<u64, Fb<Bytes>> = keys
        .into_iter()
        .map(|(n, key)| (n, open.pool.blocking_register(&open.path, key).unwrap().unwrap()))
        .collect();
    for n in 7..10 {
        handles.insert(n, open.insert(n, lens[&n]));
    }
    let of = |numbers: &[u64]| numbers.iter().map(|n| &handles[n]).collect::<Vec<_>>();
    Fb::blocking_checkpoint(&of(&IN_B), &open.path, "b", b"").unwrap();
    Fb::blocking_checkpoint(&of(&[7, 0]), &open.path, "a", b"first").unwrap();
    Fb::blocking_checkpoint(&of(&IN_A), &open.path, "a", b"second").unwrap();
    for n in [7, 8] {
        handles[&n].blocking_persist(&open.path).unwrap();
    }
    open.sync().unwrap();
    drop(handles);
    drop(open);
    sim
}

fn image(sim: &SimFs) -> BTreeMap<PathBuf, Vec<u8>> {
    let file = |(path, item): (PathBuf, Item)| match item {
        Item::File(bytes) if path.starts_with(STATE) && !path.ends_with("LOCK") => {
            Some((path.strip_prefix(STATE).unwrap().to_path_buf(), bytes))
        }
        _ => None,
    };
    sim.dump().into_iter().filter_map(file).collect()
}

/// What a path has, in whatever way it is opened.
fn check(fs: &Arc<dyn Fs>, dir: &Path, path: DirPath) {
    let backing = DirStore::with(dir.join("scratch"), &crate::pool_disk::dir_options(fs)).unwrap();
    let store = Arc::new(BackingStore::open_on(backing, Arc::clone(fs)));
    let path = store.blocking_track_path(path).unwrap();
    let report = path.path().open_report().unwrap();
    assert_eq!((report.objects, report.sets, report.healed), (LEFT.len() as u64, 2, None));
    assert!(report.foreign.is_empty() && report.missing.is_empty() && !report.created);
    let pool = pool(&store, 1 << 20);
    let mut found: Vec<Bytes> = path
        .all_keys()
        .into_iter()
        .map(|key| {
            let fb = pool.blocking_register(&path, key).unwrap().unwrap();
            let guard = fb.blocking_load().unwrap();
            // What weighs nothing has no weight of its own on the disk.
            assert!(guard.is_empty() || fb.weight() == guard.len() as u64);
            (*guard).clone()
        })
        .collect();
    let mut expected: Vec<Bytes> = LEFT.iter().map(|(n, len)| body(*n, *len)).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let len = |n: &u64| LEFT.iter().find(|(of, _)| of == n).unwrap().1;
    for (name, numbers, meta, id) in [("a", &IN_A[..], &b"second"[..], 3), ("b", &IN_B[..], b"", 1)]
    {
        let set = path.read_set(name).unwrap().unwrap();
        assert_eq!((set.meta.as_slice(), set.id.0), (meta, id), "{name}");
        let handles = pool.blocking_register_set(&path, name).unwrap();
        let found: Vec<Bytes> =
            handles.iter().map(|fb| (*fb.blocking_load().unwrap()).clone()).collect();
        let expected: Vec<Bytes> = numbers.iter().map(|n| body(*n, len(n))).collect();
        assert_eq!(found, expected, "{name}");
    }
    let loose = path.iter().filter(|(_, info)| info.loose && info.durable).count();
    // The one that is only in a set is not loose.
    assert_eq!(loose, LEFT.len() - 1);
}

/// The files of a directory, below it.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn the_first_version_opens() {
    if std::env::var_os("UNTORN_WRITE_GOLDEN").is_some() {
        for (path, bytes) in image(&write()) {
            let to = golden().join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let of_log = to.starts_with(golden().join("manifest"));
            std::fs::write(to, if of_log { &bytes[..used] } else { &bytes[..] }).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let mut total = 0;
    let names = below(&golden());
    for from in &names {
        let to = path.join(from.strip_prefix(golden()).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        total += std::fs::copy(from, &to).unwrap();
        if from.ends_with(LOG) {
            // The zeros ahead of the log's use are not kept.
            std::fs::File::options().write(true).open(to).unwrap().set_len(LOG_LEN).unwrap();
        }
    }
    for known in FILES {
        assert!(path.join(known).exists(), "{known}: {names:?}");
    }
    assert!(total < 64 << 10, "{total}");
    let fs: Arc<dyn Fs> = Arc::new(OsFs::new());
    let options = || DirPathOptions::new().fs(Arc::clone(&fs));
    let report = verify_path(&path, Arc::clone(&fs), |_, _| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.objects, report.sets, report.own_files, report.segments), (6, 2, 1, 2));
    check(&fs, dir.path(), DirPath::read_only_with(&path, options()));
    check(&fs, dir.path(), DirPath::with(&path, options()));
    // And again: the first open may have changed what is no part of the format.
    check(&fs, dir.path(), DirPath::with(&path, options()));
    assert!(verify_path(&path, fs, |_, _| ()).unwrap().is_sound());
}

/// What is written today has the same objects and sets, wherever its bytes are.
#[test]
fn what_is_written_today_has_the_same() {
    let sim = write().kill();
    let fs: Arc<dyn Fs> = Arc::new(sim);
    check(&fs, Path::new("/d"), DirPath::with(STATE, DirPathOptions::new().fs(Arc::clone(&fs))));
}
