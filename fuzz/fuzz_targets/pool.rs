//! The files of a path changed at will, then any calls: a typed error or the bytes that were persisted, and never a panic; and calls on a sound path with
//! kills and power cuts in between, against a model of what was acknowledged.
#![no_main]

mod kit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use kit::{changed, forge};
use libfuzzer_sys::fuzz_target;
use untorn::codec::Raw;
use untorn::fs::Fs;
use untorn::pool::{
    BackingStore, DirOptions, DirPath, DirPathOptions, DirStore, Fb, MemoryBudget, Pool,
    TrackedPath, verify_path,
};
use untorn::sim::{Item, SimFs};
use untorn::{ErrorKind, OnDamage, Result};
use uuid::Uuid;

const STATE: &str = "/d/state";
const LONG: usize = 700;

type Bytes = Vec<u8>;

struct Open {
    pool: Arc<Pool<Bytes>>,
    path: TrackedPath<DirPath>,
    store: Arc<BackingStore<DirStore>>,
}

fn value(n: u64) -> Bytes {
    let len = if n % 5 == 3 { LONG } else { (n * 37 % 130) as usize };
    let mut bytes: Bytes = (0..len as u64).map(|at| ((n * 31 + at * 7 + 1) % 256) as u8).collect();
    bytes.extend(n.to_le_bytes());
    bytes
}

/// Every value says which it is.
fn is_one(bytes: &[u8]) -> bool {
    bytes.last_chunk().is_some_and(|n| value(u64::from_le_bytes(*n) % 100_000) == bytes)
}

fn open(sim: &SimFs, on_damage: OnDamage) -> Result<Open> {
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let options = DirOptions::new().fs(Arc::clone(&fs)).segment_max(500).segment_bytes(4096);
    let backing = DirStore::with("/d/scratch", &options)?;
    let store = Arc::new(BackingStore::open_on(backing, Arc::clone(&fs)));
    let options = DirPathOptions::new().fs(fs).segment_max(500).segment_bytes(4096);
    let options = options.max_object(1 << 20).on_damage(on_damage);
    let path = store.blocking_track_path(DirPath::with(STATE, options))?;
    let options = Pool::options().budget(MemoryBudget::bytes(4 * LONG)).weigh(Vec::len);
    let pool = Arc::new(options.build(&store, Raw)?);
    Ok(Open { pool, path, store })
}

/// A path with two segments, long objects and a set, and its files.
static WHOLE: LazyLock<(SimFs, Vec<PathBuf>)> = LazyLock::new(|| {
    let sim = SimFs::new(1);
    sim.make_dirs("/d").expect("the disk is empty");
    let of = open(&sim, OnDamage::Refuse).expect("it is new");
    let handles: Vec<_> =
        (0..40).map(|n| of.pool.blocking_insert(value(n)).expect("room")).collect();
    let all: Vec<&Fb<Bytes>> = handles.iter().collect();
    Fb::blocking_checkpoint(&all[..20], &of.path, "set", b"meta").expect("there is room");
    Fb::blocking_persist_many(&all[20..], &of.path).expect("there is room");
    of.store.blocking_sync(&of.path).expect("there is room");
    for fb in &all[20..30] {
        of.store.blocking_delete_persisted(&of.path, fb.key()).expect("it is open");
    }
    of.store.blocking_sync(&of.path).expect("there is room");
    drop(handles);
    drop(of);
    let file = |(path, item): (PathBuf, Item)| matches!(item, Item::File(_)).then_some(path);
    let files = sim.dump().into_iter().filter_map(file).filter(|path| !path.ends_with("LOCK"));
    let files = files.filter(|path| path.starts_with(STATE)).collect();
    (sim.kill(), files)
});

// Of the first byte the last bit says that it is a sound path with crashes; else one says whether records are added to the manifest, three how many changes
// there are. A change is: file, offset (two bytes), length; then so many bytes that are written there. What is left are calls of two bytes each.
fuzz_target!(|data: &[u8]| {
    let [flags, rest @ ..] = data else { return };
    if flags & 128 != 0 {
        return crashes(rest);
    }
    let (whole, files) = &*WHOLE;
    let sim = whole.kill();
    let mut rest =
        if flags & 64 != 0 { forge(&sim, "/d/state/manifest", *b"POOL", rest) } else { rest };
    for _ in 0..flags & 7 {
        let [file, low, high, len, after @ ..] = rest else { break };
        let path = &files[usize::from(*file) % files.len()];
        let (change, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        if let Ok(bytes) = sim.read(path) {
            let at = usize::from(u16::from_le_bytes([*low, *high]));
            sim.put(path, &changed(bytes, at, change)).expect("the path is there");
        }
    }
    let before = sim.image_hash();
    typed(verify_path(STATE, Arc::new(sim.clone()), |_, _| ()));
    assert_eq!(sim.image_hash(), before, "a look changes nothing");
    for on_damage in [OnDamage::Refuse, OnDamage::Truncate] {
        let Some(of) = typed(open(&sim, on_damage)) else { continue };
        read_all(&of);
        let mut handles: Vec<Fb<Bytes>> = Vec::new();
        for call in rest.chunks_exact(2) {
            let n = u64::from(call[1]);
            match call[0] % 8 {
                0 => handles.extend(of.pool.blocking_insert(value(n)).ok()),
                1 => handles.iter().for_each(|fb| {
                    typed(fb.blocking_persist(&of.path));
                }),
                2 => drop(typed(of.store.blocking_sync(&of.path))),
                3 => drop(typed(Fb::blocking_checkpoint(
                    &handles.iter().collect::<Vec<_>>(),
                    &of.path,
                    "a",
                    b"",
                ))),
                4 => drop(typed(of.path.drop_set("set"))),
                5 => drop(typed(of.store.compact())),
                6 => drop(typed(of.path.path().gc(n % 2 == 0))),
                _ => {
                    let keys = of.path.all_keys();
                    if let Some(key) = keys.get(n as usize % keys.len().max(1)) {
                        typed(of.store.blocking_delete_persisted(&of.path, *key));
                    }
                }
            }
        }
        handles.iter().for_each(|fb| assert!(is_one(&fb.blocking_load().expect("it is ours"))));
        read_all(&of);
    }
});

/// Nothing fails on this disk: an error of it is one that we made.
fn typed<T>(result: Result<T>) -> Option<T> {
    result.map_err(|error| assert_ne!(error.kind(), ErrorKind::Io, "{error:?}")).ok()
}

fn read_all(of: &Open) {
    for key in of.path.all_keys() {
        if let Some(Some(fb)) = typed(of.pool.blocking_register(&of.path, key)) {
            if let Some(found) = typed(fb.blocking_load()) {
                assert!(is_one(&found), "{key} has other bytes");
            }
        }
    }
}

/// What is committed, and what it may be where nobody was told.
#[derive(Clone, Default, PartialEq)]
struct Model {
    loose: BTreeMap<Uuid, u64>,
    set: Vec<(Uuid, u64)>,
}

fn shows(of: &Open, model: &Model) -> bool {
    let set = of.path.read_set("a").expect("no sync fails").map_or_else(Vec::new, |set| set.keys);
    let loose: Vec<Uuid> = {
        let mut keys: Vec<_> =
            of.path.iter().filter(|(_, info)| info.loose).map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    };
    set == model.set.iter().map(|(key, _)| *key).collect::<Vec<_>>()
        && loose == model.loose.keys().copied().collect::<Vec<_>>()
}

fn crashes(data: &[u8]) {
    let mut sim = SimFs::new(1);
    sim.make_dirs("/d").expect("the disk is empty");
    let mut model = Model::default();
    let mut n = 0;
    let mut rest = data.chunks_exact(2);
    for _ in 0..4 {
        let of = open(&sim, OnDamage::Refuse).expect("it is sound");
        assert!(shows(&of, &model), "another state");
        let mut handles: Vec<(u64, Fb<Bytes>)> = Vec::new();
        for (key, n) in model.loose.clone().into_iter().chain(model.set.clone()) {
            let fb = of
                .pool
                .blocking_register(&of.path, key)
                .expect("it is sound")
                .expect("it is there");
            assert_eq!(*fb.blocking_load().expect("it is sound"), value(n));
            handles.push((n, fb));
        }
        let mut staged = model.loose.clone();
        let mut crash = None;
        for call in rest.by_ref() {
            let at = usize::from(call[1]);
            let one = handles.get(at % handles.len().max(1));
            match call[0] % 10 {
                0 | 1 => {
                    n += 1;
                    handles.push((n, of.pool.blocking_insert(value(n)).expect("there is room")));
                }
                2 => {
                    if let Some((n, fb)) = one.filter(|(_, fb)| !of.path.contains_key(fb.key())) {
                        fb.blocking_persist(&of.path).expect("there is room");
                        staged.insert(fb.key(), *n);
                    }
                }
                3 => {
                    if let Some((_, fb)) = one {
                        of.store.blocking_delete_persisted(&of.path, fb.key()).expect("it is open");
                        staged.remove(&fb.key());
                    }
                }
                4 => {
                    of.store.blocking_sync(&of.path).expect("there is room");
                    model.loose.clone_from(&staged);
                }
                5 => {
                    let mut named: Vec<&(u64, Fb<Bytes>)> = Vec::new();
                    for one in handles.iter().skip(at % 7).take(3) {
                        if named.iter().all(|known| known.1.key() != one.1.key()) {
                            named.push(one);
                        }
                    }
                    let of_set: Vec<&Fb<Bytes>> = named.iter().map(|one| &one.1).collect();
                    Fb::blocking_checkpoint(&of_set, &of.path, "a", b"").expect("there is room");
                    model.set = named.iter().map(|one| (one.1.key(), one.0)).collect();
                    for (key, _) in &model.set {
                        // What was staged to come is in the set alone; what was staged to go may stay staged.
                        if !model.loose.contains_key(key) {
                            staged.remove(key);
                        } else if !staged.contains_key(key) {
                            of.store.blocking_delete_persisted(&of.path, *key).expect("it is open");
                        }
                    }
                }
                6 => of.pool.spill_all().expect("there is room"),
                7 => drop(of.store.compact().expect("it is sound")),
                8 => {
                    if !handles.is_empty() {
                        drop(handles.swap_remove(at % handles.len()));
                    }
                }
                _ => {
                    crash = Some(at);
                    break;
                }
            }
        }
        for (n, fb) in &handles {
            assert_eq!(*fb.blocking_load().expect("it is sound"), value(*n));
        }
        let next = match crash {
            Some(at) if at % 2 == 1 => {
                let pick = sim.power_states_within(16, 16).nth(at / 2 % 16);
                pick.map_or_else(|| sim.kill(), |pick| sim.power_cut(&pick))
            }
            _ => sim.kill(),
        };
        drop((handles, of));
        sim = next;
    }
}
