//! The failure list of the design, on the real store: one test or more for each, by its number.
//!
//! Of these `pool_memory` has, on a backend of its own: 8 overlapping writes do not defeat eviction; 11 a codec that panics; 13 many who load one object share one
//! read; 20 guards that hold the whole budget; 21 handles that go while a job runs; 23 values that use the pool as they are dropped, guards
//! that are forgotten. `pool_async` has 9 and 17 calls on the only blocking thread, and awaited ones; 22 a runtime that is gone.

use std::path::Path;
use std::sync::Arc;

use untorn::codec::{Codec, FixedLe, Json, Raw};
use untorn::fs::{Fs, SyncSite};
use untorn::pool::{BackingStore, DirPath, DirPathOptions, DirStore, Fb, MemoryBudget, Pool};
use untorn::sim::{CallKind, Capability, Effect, Fault, FaultKind, Item, Meter, SimFs};
use untorn::{ErrorKind, Outcome};

use crate::alloc;
use crate::pool_disk::{
    Bytes, LONG, Open, ROOT, SMALL, STATE, body, dir_options, disk, files, path_options, pool,
    spilled, store, track,
};

fn used(sim: &SimFs) -> u64 {
    let len = |item: &Item| if let Item::File(bytes) = item { bytes.len() as u64 } else { 0 };
    sim.dump().values().map(len).sum()
}

/// 1, 19: the value stays, in memory and charged; everybody is told; nothing half written is left; with space all goes on.
#[test]
fn no_01_full_disk_while_evicting() {
    for len in [SMALL, LONG] {
        let sim = disk();
        let open = Open::on(&sim, 4 * len);
        let mut handles: Vec<_> = (0..4).map(|n| open.insert(n, len)).collect();
        // A little fits, so that writes stop half way.
        sim.set_capacity(Some(used(&sim) + 64 + 100));
        let before = open.store.stats().usage;
        for n in 4..7 {
            let refused = open.pool.blocking_insert(body(n, len)).unwrap_err();
            assert_eq!((refused.kind(), refused.into_value()), (ErrorKind::NoSpace, body(n, len)));
            assert_eq!(
                (open.pool.resident(), open.pool.budget().used()),
                (4 * len as u64, 4 * len as u64)
            );
            assert_eq!(open.store.stats().usage.objects, before.objects);
            assert!(files(&sim, ROOT, ".obj").is_empty());
        }
        let told = open.store.blocking_finished().unwrap_err();
        assert_eq!(told.kind(), ErrorKind::NoSpace);
        assert!(told.to_string().contains("3 jobs failed"), "{told}");
        assert_eq!(handles[0].blocking_persist(&open.path).unwrap_err().kind(), ErrorKind::NoSpace);
        sim.set_capacity(None);
        handles.extend((4..12).map(|n| open.insert(n, len)));
        handles[0].blocking_persist(&open.path).unwrap();
        open.sync().unwrap();
        for (n, fb) in (0..).zip(&handles) {
            assert_eq!(*fb.blocking_load().unwrap(), body(n, len));
        }
        open.store.blocking_finished().unwrap();
        assert!(open.pool.budget().peak() <= 4 * len as u64);
    }
}

/// 2: too many open files when a value is loaded to be changed: an error, and the only copy stays.
#[test]
fn no_02_too_many_open_files_keeps_the_only_copy() {
    let sim = disk();
    let open = Open::on(&sim, 2 * LONG);
    let mut fb = open.insert(1, LONG);
    open.pool.spill_all().unwrap();
    let key = fb.key();
    for kind in [FaultKind::TooManyFiles, FaultKind::FileTable, FaultKind::Io] {
        sim.inject(
            Fault::new(kind)
                .on(if kind == FaultKind::Io { CallKind::Read } else { CallKind::Open })
                .lasting(),
        );
        for _ in 0..3 {
            assert_eq!(fb.blocking_load_mut().unwrap_err().kind(), ErrorKind::Io);
            assert_eq!(fb.blocking_load().unwrap_err().kind(), ErrorKind::Io);
        }
        assert_eq!((fb.key(), open.pool.budget().used()), (key, 0));
        sim.clear_faults();
        assert_eq!(*fb.blocking_load().unwrap(), body(1, LONG));
        open.pool.spill_all().unwrap();
    }
    fb.blocking_load_mut().unwrap().push(7);
    assert_eq!(fb.blocking_load().unwrap().len(), LONG + 1);
}

/// 3: what a killed owner left is swept, and what it persisted is registered.
#[test]
fn no_03_killed_and_registered_again() {
    let sim = disk();
    let open = Open::on(&sim, 2 * LONG);
    let handles: Vec<_> =
        (0..8).map(|n| open.insert(n, if n % 2 == 0 { SMALL } else { LONG })).collect();
    for fb in &handles {
        fb.blocking_write_now().unwrap();
    }
    let (kept, lost): (Vec<_>, Vec<_>) = (0..).zip(&handles).partition(|(n, _)| n % 3 == 0);
    for (_, fb) in &kept {
        fb.blocking_persist(&open.path).unwrap();
    }
    open.sync().unwrap();
    let keys: Vec<_> = kept.iter().map(|(n, fb)| (*n, fb.key())).collect();
    let gone: Vec<_> = lost.iter().map(|(_, fb)| fb.key()).collect();
    let after = sim.kill();
    assert!(spilled(&after).len() > 4);
    drop((handles, open));
    let open = Open::on(&after, 2 * LONG);
    let report = open.store.backing().spill_report();
    assert_eq!((report.swept, report.alive, report.left.len()), (1, 0, 0));
    // Its own directory, and the lock in it.
    assert_eq!(spilled(&after).len(), 2);
    for (n, key) in keys {
        let fb = open.pool.blocking_register(&open.path, key).unwrap().unwrap();
        assert_eq!(*fb.blocking_load().unwrap(), body(n, if n % 2 == 0 { SMALL } else { LONG }));
    }
    for key in gone {
        assert!(open.pool.blocking_register(&open.path, key).unwrap().is_none());
    }
    drop(open);
    assert!(spilled(&after).is_empty());
}

/// Two objects of a path that was closed, one in a segment, the other in a file of its own; and where these are.
fn persisted() -> (SimFs, [(uuid::Uuid, usize); 2], [std::path::PathBuf; 2]) {
    let sim = disk();
    let open = Open::on(&sim, 2 * LONG);
    let handles = [open.insert(0, SMALL), open.insert(1, LONG)];
    for fb in &handles {
        fb.blocking_persist(&open.path).unwrap();
    }
    open.sync().unwrap();
    let keys = [(handles[0].key(), SMALL), (handles[1].key(), LONG)];
    drop(handles);
    drop(open);
    let path = |end: &str| {
        files(&sim, STATE, end).into_iter().find(|path| !path.starts_with("/d/state/manifest"))
    };
    let paths = [path(".seg").unwrap(), path(".obj").unwrap()];
    (sim, keys, paths)
}

/// 4: a file that is all zeros, as long as it was, is damage, and not a value.
#[test]
fn no_04_a_file_of_zeros_is_no_value() {
    let (sim, keys, paths) = persisted();
    for (path, from) in [
        (&paths[0], 0),
        (&paths[1], 0),
        (&paths[0], 64),
        (&paths[1], 64),
        (&paths[0], 128),
        (&paths[1], 128),
    ] {
        let whole = sim.read(path).unwrap();
        let mut zeros = whole.clone();
        zeros[from..].fill(0);
        sim.put(path, &zeros).unwrap();
        let open = Open::on(&sim, 2 * LONG);
        for (n, (key, len)) in (0..).zip(keys) {
            let fb = open.pool.blocking_register(&open.path, key).unwrap().unwrap();
            if *path == paths[n] {
                for _ in 0..2 {
                    let error = fb.blocking_load().unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{path:?} {from}: {error}");
                    assert_eq!(error.path(), Some(&**path));
                    assert!(error.offset().is_some(), "{error}");
                }
                assert_eq!(open.pool.budget().used(), 0);
            } else {
                assert_eq!(*fb.blocking_load().unwrap(), body(n as u64, len));
            }
        }
        drop(open);
        assert_eq!(sim.read(path).unwrap(), zeros, "damage is left as it is");
        sim.put(path, &whole).unwrap();
    }
}

/// 5: a length that is a lie takes no memory: neither one of a frame, nor one in what a codec decodes.
#[test]
fn no_05_lengths_that_are_lies_take_no_memory() {
    let (sim, keys, paths) = persisted();
    for path in &paths {
        for at in [64 + 32, 64 + 40, 64 + 48] {
            let mut bytes = sim.read(path).unwrap();
            bytes[at..at + 8].copy_from_slice(&(17_u64 << 40).to_le_bytes());
            // Also with a checksum that a liar has put right.
            for right in [false, true] {
                if right {
                    let salt = u32::from_le_bytes(bytes[40..44].try_into().unwrap());
                    let mut crc = crc32fast::Hasher::new_with_initial(salt);
                    crc.update(&bytes[64..124]);
                    bytes[124..128].copy_from_slice(&crc.finalize().to_le_bytes());
                }
                sim.put(path, &bytes).unwrap();
                let open = Open::on(&sim, 2 * LONG);
                for (key, _) in keys {
                    let fb = open.pool.blocking_register(&open.path, key).unwrap().unwrap();
                    let mut kind = None;
                    let load = || kind = fb.blocking_load().err().map(|e| e.kind());
                    let largest = alloc::largest_during(load);
                    assert!(largest < 64 << 10, "{largest}");
                    assert!(
                        matches!(kind, None | Some(ErrorKind::Damaged | ErrorKind::TooLarge)),
                        "{kind:?}"
                    );
                }
            }
        }
    }
    let mut bomb = (u64::MAX / 8).to_le_bytes().to_vec();
    bomb.extend([1; 16]);
    let mut errors = Vec::new();
    let largest = alloc::largest_during(|| {
        let numbers: untorn::Result<Vec<u64>> = FixedLe.decode(&bomb);
        let text: untorn::Result<String> = FixedLe.decode(&bomb);
        errors = vec![numbers.unwrap_err().kind(), text.unwrap_err().kind()];
    });
    assert_eq!(errors, [ErrorKind::Codec; 2]);
    assert!(largest < 4096, "{largest}");
}

/// 6: a directory with something else in it is refused, and what strangers put into ours stays and is told.
#[test]
fn no_06_foreign_files_are_never_deleted() {
    let sim = disk();
    let foreign = ["/d/state/notes.txt", "/d/state/00/0123"];
    for path in foreign {
        sim.put(path, b"mine").unwrap();
    }
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let store = store(&fs, Path::new(ROOT)).unwrap();
    let before = sim.dump();
    assert_eq!(track(&store, &fs).unwrap_err().kind(), ErrorKind::NotOurs);
    assert_eq!(sim.dump(), before);
    drop(store);
    let (sim, ..) = persisted();
    let planted = [
        "/d/state/notes.txt",
        "/d/state/seg/readme",
        "/d/state/seg/00000000000000ff.seg",
        "/d/state/obj/readme",
        "/d/state/obj/00/0123456789abcdef0123456789abcdef.obj",
        "/d/state/obj/zz/file",
        "/d/scratch/notes.txt",
        "/d/scratch/spill/notes.txt",
        "/d/scratch/spill/0123456789abcdef0123456789abcdef/0000000000000001.seg",
        "/d/scratch/spill/0123456789abcdef0123456789abcdef/LOCK",
    ];
    for path in planted {
        sim.put(
            path,
            b"somebody else's, and long enough to be no beginning of a header of ours: 64",
        )
        .unwrap();
    }
    let open = Open::on(&sim, 2 * LONG);
    let report = open.path.path().open_report().unwrap();
    for path in &planted[..3] {
        assert!(report.foreign.iter().any(|found| found == Path::new(path)), "{path}: {report:?}");
    }
    assert!(open.store.backing().spill_report().left.len() >= 2);
    let (small, long) = (open.insert(7, SMALL), open.insert(8, LONG));
    for fb in [&small, &long] {
        fb.blocking_persist(&open.path).unwrap();
    }
    open.sync().unwrap();
    for key in open.path.all_keys() {
        open.store.blocking_delete_persisted(&open.path, key).unwrap();
    }
    open.sync().unwrap();
    drop((small, long));
    open.store.compact().unwrap();
    let gc = open.path.path().gc(true).unwrap();
    assert!(gc.foreign.len() >= 3, "{gc:?}");
    drop(open);
    drop(Open::on(&sim, 2 * LONG));
    for path in planted {
        assert!(sim.read(path).is_ok(), "{path} is gone");
    }
}

/// 7: a spill copy that somebody takes away: the persisted one is read; without one it is damage; to let go of it is no error.
#[test]
fn no_07_a_spill_copy_taken_away_from_outside() {
    let sim = disk();
    let open = Open::on(&sim, 2 * LONG);
    let (kept, lost) = (open.insert(1, LONG), open.insert(2, LONG));
    open.pool.spill_all().unwrap();
    kept.blocking_persist(&open.path).unwrap();
    open.sync().unwrap();
    let key = kept.key();
    let twin = open.pool.blocking_register(&open.path, key).unwrap().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    for path in files(&sim, ROOT, ".obj") {
        let dir = fs.open_dir(path.parent().unwrap()).unwrap();
        dir.unlink(path.file_name().unwrap()).unwrap();
    }
    for fb in [&kept, &twin] {
        assert_eq!(*fb.blocking_load().unwrap(), body(1, LONG));
    }
    let error = lost.blocking_load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    drop((kept, twin, lost));
    open.store.blocking_finished().unwrap();
    assert_eq!((open.pool.size(), open.store.stats().usage.objects), (0, 0));
    let again = open.pool.blocking_register(&open.path, key).unwrap().unwrap();
    assert_eq!(*again.blocking_load().unwrap(), body(1, LONG));
}

/// 7, without the twin: a persisted copy is known without having been registered.
#[test]
fn no_07_the_persisted_copy_is_found_without_a_registration() {
    let sim = disk();
    let open = Open::on(&sim, 2 * LONG);
    let fb = open.insert(1, LONG);
    open.pool.spill_all().unwrap();
    fb.blocking_persist(&open.path).unwrap();
    open.sync().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    for path in files(&sim, ROOT, ".obj") {
        let dir = fs.open_dir(path.parent().unwrap()).unwrap();
        dir.unlink(path.file_name().unwrap()).unwrap();
    }
    assert_eq!(*fb.blocking_load().unwrap(), body(1, LONG));
}

/// 8: on the real store, at rest what is in memory is no more than the budget, whatever ran beside.
#[test]
fn no_08_writes_and_persists_do_not_defeat_eviction() {
    let sim = disk();
    let open = Open::on(&sim, 10 * SMALL);
    let handles: Vec<_> = (0..200)
        .map(|n| {
            let fb = open.insert(n, SMALL);
            match n % 3 {
                0 => fb.blocking_write_now().unwrap(),
                1 => fb.blocking_persist(&open.path).unwrap(),
                _ => {}
            }
            fb
        })
        .collect();
    assert!(open.pool.resident() <= 10 * SMALL as u64);
    assert!(open.pool.budget().peak() <= 10 * SMALL as u64);
    for (n, fb) in (0..).zip(&handles) {
        assert_eq!(*fb.blocking_load().unwrap(), body(n, SMALL));
    }
}

/// 10: a batch is one write, a load is one read, whatever the codec does.
#[test]
fn no_10_one_write_and_one_read() {
    let sim = disk();
    let meter = Meter::new(Arc::new(sim));
    let fs: Arc<dyn Fs> = Arc::new(meter.clone());
    let options = dir_options(&fs).segment_max(256 << 10).segment_bytes(64 << 20);
    let store =
        Arc::new(BackingStore::open_on(DirStore::with(ROOT, &options).unwrap(), Arc::clone(&fs)));
    let budget = MemoryBudget::bytes(64 << 20);
    let numbers: Arc<Pool<Vec<f32>>> =
        Arc::new(Pool::options().budget(budget).build(&store, FixedLe).unwrap());
    let floats =
        |n: u16| -> Vec<f32> { (0..4096_u16).map(|at| f32::from(at) + f32::from(n)).collect() };
    let first = numbers.blocking_insert(floats(0)).unwrap();
    numbers.spill_all().unwrap();
    meter.reset();
    let fb = numbers.blocking_insert(floats(1)).unwrap();
    fb.blocking_write_now().unwrap();
    assert_eq!(meter.counts().of(CallKind::Write), 1);
    numbers.spill_all().unwrap();
    meter.reset();
    assert_eq!(*fb.blocking_load().unwrap(), floats(1));
    assert_eq!((meter.counts().of(CallKind::Read), meter.counts().total()), (1, 1));
    // Many that go at once are one write, in pieces of 64 KiB.
    let pieces = (40 * 16_512_u64).div_ceil(64 << 10);
    let many: Vec<_> = (0..40).map(|n| numbers.blocking_insert(floats(n)).unwrap()).collect();
    meter.reset();
    numbers.spill_all().unwrap();
    assert_eq!(meter.counts().of(CallKind::Write), pieces);
    // And to persist them all is one write, too, without a read; to register them none of either.
    let tracked = store
        .blocking_track_path(DirPath::with(STATE, DirPathOptions::new().fs(Arc::clone(&fs))))
        .unwrap();
    let fresh: Vec<_> = (0..40).map(|n| numbers.blocking_insert(floats(n)).unwrap()).collect();
    first.blocking_persist(&tracked).unwrap();
    meter.reset();
    Fb::blocking_persist_many(&fresh.iter().collect::<Vec<_>>(), &tracked).unwrap();
    assert_eq!(
        (meter.counts().of(CallKind::Write), meter.counts().of(CallKind::Read)),
        (pieces, 0)
    );
    meter.reset();
    for fb in &fresh {
        numbers.blocking_register(&tracked, fb.key()).unwrap().unwrap();
    }
    assert_eq!(meter.counts().total(), 0);
    drop(many);
}

/// 11: whatever fails is an error of the call, and the object stays.
#[test]
fn no_11_errors_and_no_panics() {
    let sim = disk();
    let open = Open::on(&sim, 4 * LONG);
    let handles = [open.insert(0, SMALL), open.insert(1, LONG)];
    for call in [CallKind::Create, CallKind::Write] {
        sim.inject(Fault::new(FaultKind::Io).on(call).effect(Effect::Whole).lasting());
        for fb in &handles {
            assert_eq!(fb.blocking_write_now().unwrap_err().kind(), ErrorKind::Io);
            assert_eq!(fb.blocking_persist(&open.path).unwrap_err().kind(), ErrorKind::Io);
        }
        assert_eq!(open.pool.spill_all().unwrap_err().kind(), ErrorKind::Io);
        sim.clear_faults();
    }
    assert_eq!(open.pool.resident(), (SMALL + LONG) as u64);
    for (n, fb) in (0..).zip(&handles) {
        fb.blocking_persist(&open.path).unwrap();
        open.pool.spill_all().unwrap();
        assert_eq!(*fb.blocking_load().unwrap(), body(n, if n == 0 { SMALL } else { LONG }));
    }
}

/// 12, 20: pools of two types share one bound; who fills it with guards is told and gets the value back.
#[test]
fn no_12_one_bound_for_pools_of_different_types() {
    let sim = disk();
    let open = Open::on(&sim, LONG);
    let budget = MemoryBudget::bytes(3 * LONG);
    let options = || std::time::Duration::from_millis(20);
    let bytes: Arc<Pool<Bytes>> = Arc::new(
        Pool::options()
            .budget(budget.clone())
            .weigh(Vec::len)
            .pin_wait(options())
            .build(&open.store, Raw)
            .unwrap(),
    );
    let texts: Arc<Pool<String>> = Arc::new(
        Pool::options()
            .budget(budget.clone())
            .weigh(String::len)
            .pin_wait(options())
            .build(&open.store, Json)
            .unwrap(),
    );
    let mut kept = (Vec::new(), Vec::new());
    for n in 0..20 {
        kept.0.push(bytes.blocking_insert(body(n, LONG)).unwrap());
        kept.1.push(texts.blocking_insert("x".repeat(LONG)).unwrap());
        assert!(budget.used() <= 3 * LONG as u64);
    }
    assert_eq!(budget.used(), bytes.resident() + texts.resident());
    let guards: Vec<_> = kept.0[..3].iter().map(|fb| fb.blocking_load().unwrap()).collect();
    let refused = texts.blocking_insert("y".repeat(LONG)).unwrap_err();
    assert_eq!((refused.kind(), refused.into_value().len()), (ErrorKind::OverBudget, LONG));
    assert_eq!(kept.1[0].blocking_load().unwrap_err().kind(), ErrorKind::OverBudget);
    drop(guards);
    assert_eq!(kept.1[0].blocking_load().unwrap().len(), LONG);
    assert!(budget.peak() <= 3 * LONG as u64);
}

/// 14: after a sync that returned, what was persisted is there after any power cut; before it, none of it is shown.
#[test]
fn no_14_what_is_synced_survives_power_loss() {
    for synced in [false, true] {
        let sim = disk();
        let open = Open::on(&sim, 2 * LONG);
        let handles = [open.insert(0, SMALL), open.insert(1, LONG)];
        for fb in &handles {
            fb.blocking_persist(&open.path).unwrap();
        }
        if synced {
            open.sync().unwrap();
        }
        let mut cuts = 0;
        for pick in sim.power_states_within(64, 64) {
            let open = Open::on(&sim.power_cut(&pick), LONG);
            let expected = if synced { vec![body(0, SMALL), body(1, LONG)] } else { Vec::new() };
            assert_eq!(open.all(), expected);
            cuts += 1;
        }
        assert!(cuts > 4, "{cuts}");
    }
}

/// 15: two owners of one path exclude each other; sets of their own do not touch each other's objects.
#[test]
fn no_15_two_owners_and_two_sets() {
    let sim = disk();
    let open = Open::on(&sim, 2 * LONG);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let other = store(&fs, Path::new("/d/other")).unwrap();
    assert_eq!(track(&other, &fs).unwrap_err().kind(), ErrorKind::Locked);
    let handles: Vec<_> = (0..4).map(|n| open.insert(n, LONG)).collect();
    Fb::blocking_checkpoint(&[&handles[0], &handles[1]], &open.path, "a", b"").unwrap();
    Fb::blocking_checkpoint(&[&handles[1], &handles[2]], &open.path, "b", b"").unwrap();
    handles[3].blocking_persist(&open.path).unwrap();
    open.sync().unwrap();
    // Whoever saves the other set anew, or drops it, leaves this one whole.
    Fb::blocking_checkpoint(&[&handles[2]], &open.path, "b", b"").unwrap();
    open.path.drop_set("b").unwrap();
    drop((handles, open));
    let open = Open::on(&sim, 2 * LONG);
    let set = open.pool.blocking_register_set(&open.path, "a").unwrap();
    assert_eq!(set.len(), 2);
    for (n, fb) in (0..).zip(set) {
        assert_eq!(*fb.blocking_load().unwrap(), body(n, LONG));
    }
    assert_eq!(open.all().len(), 3);
    // The loose set and the named ones were not persisted by a checkpoint's leave.
    assert!(open.path.read_set("b").unwrap().is_none());
}

/// 16: scratch and path on two file systems, or on one that cannot link: copied, and checked.
#[test]
fn no_16_no_links_between_scratch_and_path() {
    for kind in [FaultKind::CrossDevice, FaultKind::NotSupported, FaultKind::Io] {
        let sim = if kind == FaultKind::NotSupported {
            disk().without(Capability::Link).without(Capability::Reflink)
        } else {
            disk()
        };
        let open = Open::on(&sim, 2 * LONG);
        let fb = open.insert(1, LONG);
        open.pool.spill_all().unwrap();
        for call in [CallKind::Link, CallKind::Reflink] {
            sim.inject(Fault::new(kind).on(call).lasting());
        }
        fb.blocking_persist(&open.path).unwrap();
        open.sync().unwrap();
        sim.clear_faults();
        assert_eq!(*fb.blocking_load().unwrap(), body(1, LONG));
        let after = sim.kill();
        drop((fb, open));
        assert_eq!(Open::on(&after, LONG).all(), [body(1, LONG)], "{kind}");
    }
    // What is damaged in the scratch is not copied.
    let sim = disk().without(Capability::Link).without(Capability::Reflink);
    let open = Open::on(&sim, 2 * LONG);
    let fb = open.insert(1, LONG);
    open.pool.spill_all().unwrap();
    sim.flip_bit(&files(&sim, ROOT, ".obj")[0], 8 * 700).unwrap();
    assert_eq!(fb.blocking_persist(&open.path).unwrap_err().kind(), ErrorKind::Damaged);
    open.sync().unwrap();
    assert!(open.path.all_keys().is_empty() && open.path.durable_keys().is_empty());
}

/// 17: what failed where nobody was there to hear of it is told once by `finished`, and the store stays of use.
#[test]
fn no_17_finished_tells_errors_once() {
    let sim = disk();
    let open = Open::on(&sim, 2 * LONG);
    let handles: Vec<_> = (0..2).map(|n| open.insert(n, LONG)).collect();
    sim.inject(Fault::new(FaultKind::Quota).on(CallKind::Create).lasting());
    assert!(open.pool.spill_all().is_err());
    sim.clear_faults();
    let told = open.store.blocking_finished().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoSpace, "{told}");
    assert!(handles.iter().any(|fb| told.to_string().contains(&fb.key().to_string())), "{told}");
    open.store.blocking_finished().unwrap();
    open.pool.spill_all().unwrap();
    assert_eq!(*handles[1].blocking_load().unwrap(), body(1, LONG));
}

/// 18: a write that found no space is no poison. A sync that failed is: of this path alone, until it is tracked again.
#[test]
fn no_18_poison_is_of_failed_syncs_alone() {
    let sim = disk();
    let open = Open::on(&sim, 8 * LONG);
    let handles: Vec<_> = (0..6).map(|n| open.insert(n, LONG)).collect();
    handles[0].blocking_persist(&open.path).unwrap();
    for call in [CallKind::Create, CallKind::Write] {
        sim.inject(Fault::new(FaultKind::NoSpace).on(call).effect(Effect::Prefix).lasting());
        let error = handles[1].blocking_persist(&open.path).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
        sim.clear_faults();
        if call == CallKind::Write {
            sim.inject(Fault::new(FaultKind::NoSpace).on(call).effect(Effect::Prefix));
            let error = open.sync().unwrap_err();
            assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
        }
    }
    handles[1].blocking_persist(&open.path).unwrap();
    open.sync().unwrap();
    handles[2].blocking_persist(&open.path).unwrap();
    handles[3].blocking_write_now().unwrap();
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData));
    let error = open.sync().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    for _ in 0..2 {
        assert_eq!(open.sync().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(
            handles[4].blocking_persist(&open.path).unwrap_err().kind(),
            ErrorKind::Poisoned
        );
    }
    open.pool.spill_all().unwrap();
    for (n, fb) in (0..).zip(&handles) {
        assert_eq!(*fb.blocking_load().unwrap(), body(n, LONG), "{n}");
    }
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let Open { pool, path, store } = open;
    drop(path);
    let path = track(&store, &fs).unwrap();
    assert_eq!(path.durable_keys().len(), 2);
    handles[4].blocking_persist(&path).unwrap();
    handles[2].blocking_persist(&path).unwrap();
    store.blocking_sync(&path).unwrap();
    drop((handles, pool));
    let mut found = Open { pool: crate::pool_disk::pool(&store, 8 * LONG), path, store }.all();
    let mut expected: Vec<_> = [0, 1, 2, 4].map(|n| body(n, LONG)).into();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// 19: a full disk is tried again; what a store had is given back when it goes, and nothing is ever mapped.
#[test]
fn no_19_no_file_is_leaked_and_none_is_mapped() {
    let sim = disk();
    let meter = Meter::new(Arc::new(sim.clone()));
    let open = Open::new(Arc::new(meter.clone()), 2 * LONG).unwrap();
    let handles: Vec<_> =
        (0..30).map(|n| open.insert(n, if n % 2 == 0 { SMALL } else { LONG })).collect();
    sim.set_capacity(Some(used(&sim) + 300));
    for n in 30..40 {
        assert!(open.pool.blocking_insert(body(n, LONG)).is_err());
    }
    sim.set_capacity(None);
    for (n, fb) in (0..).zip(&handles) {
        assert_eq!(*fb.blocking_load().unwrap(), body(n, if n % 2 == 0 { SMALL } else { LONG }));
    }
    drop(handles);
    let usage = open.store.stats().usage;
    assert_eq!((usage.objects, usage.live_bytes, open.pool.budget().used()), (0, 0, 0));
    assert!(files(&sim, ROOT, ".obj").is_empty());
    drop(open);
    assert!(spilled(&sim).is_empty());
    assert_eq!(meter.counts().of(CallKind::Map), 0);
}

/// 21: a handle that goes while its object is persisted: the persist completes.
#[test]
fn no_21_a_handle_goes_and_its_object_is_persisted() {
    let sim = disk();
    let open = Open::on(&sim, 2 * LONG);
    for (n, len) in [(0, SMALL), (1, LONG)] {
        let fb = open.insert(n, len);
        fb.blocking_persist(&open.path).unwrap();
        drop(fb);
    }
    open.pool.spill_all().unwrap();
    let fb = open.insert(2, LONG);
    open.pool.spill_all().unwrap();
    fb.blocking_persist(&open.path).unwrap();
    drop(fb);
    open.sync().unwrap();
    assert_eq!(open.store.stats().usage.objects, 0);
    assert_eq!(open.all(), [body(0, SMALL), body(1, LONG), body(2, LONG)]);
}

/// Handles of pools with different codecs are persisted in one call: each is written by its own pool.
#[test]
fn handles_of_two_pools_are_persisted_each_by_its_own() {
    let sim = disk();
    let open = Open::on(&sim, 4 * LONG);
    let budget = MemoryBudget::bytes(4 * LONG);
    let options = Pool::options().budget(budget).weigh(Vec::len).type_name("other");
    let other: Arc<Pool<Bytes>> = Arc::new(options.build(&open.store, Json).unwrap());
    let mine = [open.insert(0, SMALL), open.insert(1, SMALL)];
    let theirs = [2, 3].map(|n| other.blocking_insert(body(n, SMALL)).unwrap());
    let all = [&mine[0], &theirs[0], &mine[1], &theirs[1]];
    Fb::blocking_persist_many(&all, &open.path).unwrap();
    open.sync().unwrap();
    open.pool.spill_all().unwrap();
    other.spill_all().unwrap();
    for (n, fb) in [0, 2, 1, 3].into_iter().zip(all) {
        assert!(!fb.is_resident());
        assert_eq!(*fb.blocking_load().unwrap(), body(n, SMALL));
    }
}

/// A path of another store is refused before anything is claimed: the handles can be written, changed, spilled after it.
#[test]
fn a_path_of_another_store_claims_nothing() {
    let sim = disk();
    let open = Open::on(&sim, 4 * LONG);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let second = store(&fs, Path::new("/d/other")).unwrap();
    let foreign = pool(&second, LONG).blocking_insert(body(9, SMALL)).unwrap();
    let mut mine = open.insert(0, SMALL);
    let refused = Fb::blocking_persist_many(&[&mine, &foreign], &open.path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Precondition);
    let done = std::thread::spawn(move || {
        mine.blocking_write_now().unwrap();
        mine.blocking_load_mut().unwrap().push(1);
        drop(open.pool.spill_all());
        assert!(!mine.is_resident());
        assert_eq!(mine.blocking_load().unwrap().len(), SMALL + 1);
    });
    let began = std::time::Instant::now();
    while !done.is_finished() {
        assert!(began.elapsed().as_secs() < 20, "it waits for ever");
        std::thread::yield_now();
    }
    done.join().unwrap();
}

/// Nothing of a sync that was left out shows before a crash; so this shows that the count of `SyncSite`s is not zero by accident.
#[test]
fn spills_are_never_synced() {
    let sim = disk();
    let meter = Meter::new(Arc::new(sim));
    let open = Open::new(Arc::new(meter.clone()), 2 * LONG).unwrap();
    meter.reset();
    let handles: Vec<_> = (0..30).map(|n| open.insert(n, LONG)).collect();
    for fb in &handles {
        drop(fb.blocking_load().unwrap());
    }
    assert_eq!(meter.counts().total_syncs(), 0);
    handles[0].blocking_persist(&open.path).unwrap();
    assert_eq!(meter.counts().total_syncs(), 0);
    open.sync().unwrap();
    assert_eq!(meter.counts().syncs_at(SyncSite::PoolObject), 1);
    assert_eq!(path_options(&(Arc::new(meter) as Arc<dyn Fs>)).segment_max, 1000);
}

/// A segment whose beginning is gone is left where it is, and the others are compacted all the same.
#[test]
fn a_segment_that_cannot_be_opened_keeps_no_other_from_its_compaction() {
    let sim = disk();
    let open = Open::on(&sim, 40 * SMALL);
    let handles: Vec<_> = (0..30).map(|n| open.insert(n, SMALL)).collect();
    Fb::blocking_persist_many(&handles.iter().collect::<Vec<_>>(), &open.path).unwrap();
    open.sync().unwrap();
    let keys: Vec<_> = handles.iter().map(Fb::key).collect();
    drop((handles, open));
    let segments = files(&sim, "/d/state/seg", ".seg");
    assert!(segments.len() > 2);
    sim.flip_bit(&segments[0], 3).unwrap();
    let open = Open::on(&sim, 40 * SMALL);
    for (n, key) in keys.iter().enumerate() {
        if n % 4 > 0 {
            open.store.blocking_delete_persisted(&open.path, *key).unwrap();
        }
    }
    open.sync().unwrap();
    let done = open.store.compact().unwrap();
    assert!(done.segments > 0 && sim.read(&segments[0]).is_ok() && sim.read(&segments[1]).is_err());
    for (n, key) in keys.iter().enumerate().filter(|(n, _)| n % 4 == 0) {
        let fb = open.pool.blocking_register(&open.path, *key).unwrap().unwrap();
        match fb.blocking_load() {
            Ok(found) => assert_eq!(*found, body(n as u64, SMALL)),
            Err(error) => assert!(n < 12 && error.kind() == ErrorKind::Damaged, "{n}: {error}"),
        }
    }
}
