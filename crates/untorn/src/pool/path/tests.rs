//! A path on the simulated disk: what it keeps, refuses, survives. The crashes of all sequences are in `explored`.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::core::Core;
use super::{DirPath, DirPathOptions, verify_path};
use crate::fs::{Fs, SyncSite};
use crate::pool::batch::{Batch, Meta};
use crate::pool::segment::{Segment, own_name};
use crate::pool::sets::SetPath as _;
use crate::sim::{CallKind, Capability, Effect, Fault, FaultKind, Meter, SimFs};
use crate::{ErrorKind, Outcome};

pub(super) const PATH: &str = "/data/pool";
/// Longer ones have files of their own.
pub(super) const LONG: usize = 600;

pub(super) fn options(fs: Arc<dyn Fs>) -> DirPathOptions {
    DirPathOptions::new().fs(fs).segment_max(500).segment_bytes(4096)
}

fn disk() -> SimFs {
    let fs = SimFs::new(1);
    fs.make_dirs("/data").unwrap();
    fs
}

fn open(fs: &SimFs) -> DirPath {
    let path = DirPath::with(PATH, options(Arc::new(fs.clone())));
    path.open().unwrap();
    path
}

/// As a version 7 key of one day.
pub(super) fn key(n: u64) -> Uuid {
    Uuid::from_u128(0x0198_c1a4_0b7e_7c3f_9d0e << 48 | u128::from(n))
}

pub(super) fn body(n: u64, len: usize) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let filler = std::iter::repeat_with(move || {
        state = state.rotate_left(23).wrapping_mul(5).wrapping_add(1);
        state.to_le_bytes()[3]
    });
    filler.take(len).collect()
}

pub(super) fn batch(of: &[(u64, usize)]) -> Batch {
    let mut batch = Batch::new();
    for (n, len) in of {
        batch.push_stored(key(*n), Meta::new(2, 3, *n), &body(*n, *len));
    }
    batch
}

fn write(core: &Core, of: &[(u64, usize)]) {
    core.write(&mut batch(of), false).unwrap();
}

pub(super) fn reads(core: &Core, n: u64, len: usize) -> bool {
    let mut buf = Vec::new();
    match core.get(key(n), &mut buf) {
        Ok(object) => object.bytes == body(n, len) && object.meta == Meta::new(2, 3, n),
        Err(_) => false,
    }
}

fn keys(of: &[u64]) -> Vec<Uuid> {
    of.iter().map(|n| key(*n)).collect()
}

fn sorted(mut keys: Vec<Uuid>) -> Vec<Uuid> {
    keys.sort_unstable();
    keys
}

#[test]
fn what_is_committed_is_there_again_and_what_is_staged_is_not() {
    let fs = disk();
    let path = open(&fs);
    assert!(path.open_report().unwrap().created);
    let core = path.core().unwrap();
    write(&core, &[(1, 10), (2, 0), (3, LONG), (4, 499)]);
    assert!(path.durable_keys().is_empty() && core.keys().len() == 4);
    core.commit().unwrap();
    write(&core, &[(5, 10), (6, LONG)]);
    core.delete(key(1)).unwrap();
    assert!(!core.contains(key(1)) && core.contains(key(5)));
    assert_eq!(sorted(path.durable_keys()), keys(&[1, 2, 3, 4]));
    drop((core, path));
    let path = open(&fs);
    let core = path.core().unwrap();
    assert_eq!(sorted(core.keys()), keys(&[1, 2, 3, 4]));
    for (n, len) in [(1, 10), (2, 0), (3, LONG), (4, 499)] {
        assert!(reads(&core, n, len), "{n}");
    }
    let info = path.objects().into_iter().find(|(of, _)| *of == key(3)).unwrap().1;
    assert_eq!((info.stored_len, info.durable), (LONG as u64, true));
    assert_eq!(info.created.unwrap().as_millis(), 0x0198_c1a4_0b7e);
    assert_eq!(info.crc, crate::codec::checksum::crc32(&body(3, LONG), 0));
    // The leftover of an own file is in nobody's way.
    write(&core, &[(6, LONG)]);
    core.commit().unwrap();
    assert!(reads(&core, 6, LONG));
}

#[test]
fn a_commit_of_nothing_costs_nothing_and_others_what_they_need() {
    let fs = disk();
    let meter = Meter::new(Arc::new(fs));
    let path = DirPath::with(PATH, options(Arc::new(meter.clone())));
    let core = path.open().unwrap();
    let syncs = |of: &dyn Fn()| {
        meter.reset();
        of();
        let counts = meter.counts();
        let at = |site| counts.syncs_at(site);
        let pool = [
            at(SyncSite::PoolSegment),
            at(SyncSite::PoolSegmentDir),
            at(SyncSite::PoolObject),
            at(SyncSite::PoolObjectDir),
            at(SyncSite::PoolDir),
            at(SyncSite::LogFrame),
        ];
        assert_eq!(pool.iter().sum::<u64>(), counts.total_syncs());
        pool
    };
    assert_eq!(syncs(&|| core.commit().unwrap()), [0; 6]);
    assert_eq!(syncs(&|| write(&core, &[(1, 10), (2, LONG)])), [0; 6]);
    assert_eq!(syncs(&|| core.commit().unwrap()), [1, 1, 1, 1, 2, 1]);
    write(&core, &[(3, 10), (4, 20)]);
    assert_eq!(syncs(&|| core.commit().unwrap()), [1, 0, 0, 0, 0, 1]);
    write(&core, &[(5, LONG)]);
    assert_eq!(syncs(&|| core.commit().unwrap()), [0, 0, 1, 1, 0, 1]);
    core.delete(key(2)).unwrap();
    assert_eq!(syncs(&|| core.commit().unwrap()), [0, 0, 0, 0, 0, 1]);
    let all = keys(&[1, 3, 4]);
    let point = || assert_eq!(path.checkpoint("a", &all, b"").unwrap().0, 1);
    assert_eq!(syncs(&point), [0, 0, 0, 0, 0, 1]);
    assert_eq!(syncs(&|| path.drop_set("b").unwrap()), [0; 6]);
    assert_eq!(syncs(&|| path.drop_set("a").unwrap()), [0, 0, 0, 0, 0, 1]);
    drop(core);
}

#[test]
fn a_checkpoint_takes_what_it_names_and_leaves_the_rest_staged() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &[(1, 10), (2, LONG), (3, 10)]);
    let id = path.checkpoint("a", &keys(&[2, 1]), b"about").unwrap();
    let set = path.read_set("a").unwrap().unwrap();
    assert_eq!((set.keys, set.meta, set.id), (keys(&[2, 1]), b"about".to_vec(), id));
    assert_eq!(sorted(path.durable_keys()), keys(&[1, 2]));
    core.commit().unwrap();
    path.drop_set("a").unwrap();
    // They were in no loose set: it took them over.
    assert_eq!(sorted(core.keys()), keys(&[3]));
    assert!(!reads(&core, 1, 10));
    write(&core, &[(4, 10)]);
    core.commit().unwrap();
    assert!(path.checkpoint("b", &keys(&[4]), b"").unwrap() > id);
    core.delete(key(4)).unwrap();
    core.commit().unwrap();
    assert!(reads(&core, 4, 10) && core.contains(key(4)));
    for (name, keys, meta, kind) in [
        ("", keys(&[4]), 0, ErrorKind::InvalidInput),
        ("a", keys(&[4, 4]), 0, ErrorKind::InvalidInput),
        ("a", keys(&[4, 9]), 0, ErrorKind::NotFound),
        ("a", keys(&[4]), (1 << 20) + 1, ErrorKind::InvalidInput),
        (&"a".repeat(256), keys(&[4]), 0, ErrorKind::InvalidInput),
    ] {
        let error = path.checkpoint(name, &keys, &vec![0; meta]).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (kind, Outcome::Unchanged));
    }
    let infos = path.sets();
    assert_eq!((infos.len(), infos[0].name.as_str(), infos[0].objects), (1, "b", 1));
}

#[test]
fn what_is_registered_stays_readable_and_keeps_the_directory() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &[(1, 10), (2, LONG), (3, LONG)]);
    core.commit().unwrap();
    for n in [1, 2] {
        core.hold(key(n)).unwrap();
        core.delete(key(n)).unwrap();
    }
    assert_eq!(core.hold(key(1)).unwrap_err().kind(), ErrorKind::NotFound);
    core.commit().unwrap();
    assert!(reads(&core, 1, 10) && reads(&core, 2, LONG) && !core.contains(key(1)));
    drop(path);
    assert_eq!(core.commit().unwrap_err().kind(), ErrorKind::Closed);
    assert!(reads(&core, 1, 10) && reads(&core, 2, LONG));
    let second = DirPath::with(PATH, options(Arc::new(fs.clone())));
    assert_eq!(second.open().unwrap_err().kind(), ErrorKind::Locked);
    core.release(key(1));
    let own = || fs.dump().into_keys().filter(|p| p.to_string_lossy().ends_with(".obj")).count();
    assert_eq!(own(), 2);
    core.release(key(2));
    assert_eq!(own(), 1);
    second.open().unwrap();
    assert_eq!(second.durable_keys(), keys(&[3]));
}

#[test]
fn two_owners_exclude_each_other_and_a_poisoned_path_opens_anew() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &[(1, 10)]);
    core.commit().unwrap();
    core.hold(key(1)).unwrap();
    let second = DirPath::with(PATH, options(Arc::new(fs.clone())));
    assert_eq!(second.open().unwrap_err().kind(), ErrorKind::Locked);
    write(&core, &[(2, 10), (3, LONG)]);
    fs.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData));
    let error = core.commit().unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Io, Outcome::Unknown));
    for error in [
        core.commit().unwrap_err(),
        core.write(&mut batch(&[(4, 1)]), false).unwrap_err(),
        core.delete(key(1)).unwrap_err(),
        path.checkpoint("a", &[], b"").unwrap_err(),
        path.read_set("a").unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Poisoned, Outcome::Unknown));
    }
    assert!(reads(&core, 1, 10));
    let again = path.open().unwrap();
    assert_eq!(sorted(again.keys()), keys(&[1]));
    // What was registered before is read through what it was registered in.
    assert!(reads(&core, 1, 10));
    write(&again, &[(2, 10)]);
    again.commit().unwrap();
    assert!(reads(&again, 2, 10));
}

#[test]
fn every_write_that_finds_no_space_leaves_all_as_it_was() {
    let mut failed = 0;
    for at in 1..200 {
        for (kind, effect) in
            [(FaultKind::NoSpace, Effect::None), (FaultKind::NoSpace, Effect::Prefix)]
        {
            let fs = disk();
            let path = open(&fs);
            let core = path.core().unwrap();
            write(&core, &[(1, 400), (2, LONG)]);
            core.commit().unwrap();
            fs.inject(Fault::new(kind).effect(effect).at_call(fs.calls() + at).on(CallKind::Write));
            let many: Vec<_> = (10..40).map(|n| (n, if n % 4 == 0 { LONG } else { 300 })).collect();
            let wrote = core.write(&mut batch(&many), false);
            if let Err(error) = &wrote {
                failed += 1;
                assert_eq!(error.kind(), ErrorKind::NoSpace);
                assert_eq!(error.outcome(), Outcome::Unchanged);
                assert_eq!(sorted(core.keys()), keys(&[1, 2]));
                assert!(!reads(&core, 10, 300));
                write(&core, &many);
            }
            if let Err(error) = core.commit() {
                failed += 1;
                assert_eq!(error.kind(), ErrorKind::NoSpace);
                assert_eq!(error.outcome(), Outcome::Unchanged);
                assert_eq!(sorted(path.durable_keys()), keys(&[1, 2]));
                core.commit().unwrap();
            }
            let all = |core: &Core| {
                assert_eq!(core.keys().len(), 32);
                assert!(many.iter().all(|(n, len)| reads(core, *n, *len)) && reads(core, 1, 400));
            };
            all(&core);
            recount(&core);
            drop((core, path));
            fs.clear_faults();
            all(&open(&fs).core().unwrap());
        }
    }
    assert!(failed > 20, "{failed}");
}

/// What is counted as it goes is what a count from scratch finds.
pub(super) fn recount(core: &Core) {
    let state = core.state();
    for (number, seg) in &state.segments {
        let of = state.table.objects.values().map(|entry| entry.object);
        let here = of.filter(|object| {
            matches!(object.place, super::table::Place::Segment { number: n, .. } if n == *number)
        });
        assert_eq!(here.map(|object| object.framed()).sum::<u64>(), seg.live);
    }
    let holds: u64 = state.table.objects.values().map(|entry| u64::from(entry.holds)).sum();
    assert_eq!(holds, state.holds);
    for (key, entry) in &state.table.objects {
        assert_eq!(state.staged.contains(key), entry.want.is_some());
        assert!(!entry.is_free() && !entry.committing);
    }
}

#[test]
fn a_full_disk_is_an_error_and_nothing_more() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &[(1, 400), (2, LONG)]);
    core.commit().unwrap();
    let used: u64 =
        fs.dump().keys().map(|path| fs.read(path).unwrap_or_default().len() as u64).sum();
    fs.set_capacity(Some(used + 5000));
    let mut last = None;
    for n in 10..40 {
        let done = core.write(&mut batch(&[(n, 450), (n + 100, LONG)]), false);
        last = done.and_then(|()| core.commit()).err();
        if last.is_some() {
            break;
        }
    }
    assert_eq!(last.unwrap().kind(), ErrorKind::NoSpace);
    assert!(reads(&core, 1, 400) && reads(&core, 2, LONG));
    fs.set_capacity(None);
    write(&core, &[(200, 450), (201, LONG)]);
    core.commit().unwrap();
    recount(&core);
    assert!(reads(&core, 200, 450) && reads(&core, 201, LONG));
}

#[test]
fn foreign_directories_are_refused_and_foreign_files_stay() {
    let fs = disk();
    fs.put("/data/pool/notes.txt", b"mine").unwrap();
    let before = fs.image_hash();
    let error = DirPath::with(PATH, options(Arc::new(fs.clone()))).open().unwrap_err();
    assert_eq!((error.kind(), fs.image_hash()), (ErrorKind::NotOurs, before));

    let fs = disk();
    let path = open(&fs);
    write(&path.core().unwrap(), &[(1, 10), (2, LONG)]);
    path.core().unwrap().commit().unwrap();
    drop(path);
    let foreign = [
        "/data/pool/notes.txt",
        "/data/pool/seg/notes.txt",
        "/data/pool/seg/00000000000000aa.seg",
        "/data/pool/seg/1.seg",
        "/data/pool/obj/notes",
        "/data/pool/obj/c1/00000000000000000000000000000000.obj",
    ];
    for name in foreign {
        fs.put(name, &[b'x'; 100]).unwrap();
    }
    let path = open(&fs);
    let mut found = path.open_report().unwrap().foreign;
    found.sort();
    assert_eq!(found.len(), 4, "{found:?}");
    write(&path.core().unwrap(), &[(3, 10), (4, LONG)]);
    path.core().unwrap().commit().unwrap();
    drop(path);
    for name in foreign {
        assert_eq!(fs.read(name).unwrap(), [b'x'; 100], "{name}");
    }
    assert_eq!(open(&fs).durable_keys().len(), 4);
}

#[test]
fn a_lost_manifest_is_damage_and_changes_nothing() {
    let fs = disk();
    let path = open(&fs);
    write(&path.core().unwrap(), &[(1, 10)]);
    path.core().unwrap().commit().unwrap();
    drop(path);
    let dir = fs.open_dir(Path::new("/data/pool/manifest")).unwrap();
    for name in dir.list().unwrap() {
        if dir.unlink(&name).is_err() {
            dir.remove_dir(&name).unwrap();
        }
    }
    let before = fs.image_hash();
    let error = DirPath::with(PATH, options(Arc::new(fs.clone()))).open().unwrap_err();
    assert_eq!((error.kind(), fs.image_hash()), (ErrorKind::Damaged, before));
}

#[test]
fn damage_is_an_error_of_the_load_with_its_offset() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &[(1, 100), (2, 100), (3, LONG)]);
    core.commit().unwrap();
    let mut buf = Vec::new();
    fs.flip_bit("/data/pool/seg/0000000000000001.seg", (64 + 192 + 64 + 5) * 8).unwrap();
    let error = core.get(key(2), &mut buf).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(64 + 192)));
    assert!(error.path().unwrap().ends_with("seg/0000000000000001.seg"));
    assert!(reads(&core, 1, 100));
    let own = format!("/data/pool/obj/c1/{}", own_name(key(3)).to_string_lossy());
    let zeros = vec![0; fs.read(&own).unwrap().len()];
    fs.put(&own, &zeros).unwrap();
    assert!(matches!(
        core.get(key(3), &mut buf).unwrap_err().kind(),
        ErrorKind::Damaged | ErrorKind::NotOurs
    ));
    fs.open_dir(Path::new("/data/pool/obj/c1")).unwrap().unlink(&own_name(key(3))).unwrap();
    let error = core.get(key(3), &mut buf).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.path().unwrap().ends_with(own_name(key(3))));
}

/// A spill file with one object, as another tier has it.
fn spilled(fs: &SimFs, n: u64) -> (Arc<dyn crate::fs::Dir>, Arc<Segment>) {
    fs.make_dirs("/spill").unwrap();
    let dir = fs.open_dir(Path::new("/spill")).unwrap();
    let header = crate::pool::frame::FileHeader::own(key(n));
    let mut batch = batch(&[(n, LONG)]);
    batch.seal(0, header.salt);
    let file = Segment::create(&*dir, &own_name(key(n)), header).unwrap();
    file.append(batch.frames(0..1), 64).unwrap();
    (dir, Arc::new(file))
}

#[test]
fn own_files_are_linked_or_shared_or_copied() {
    let without = [
        (vec![], 2),
        (vec![Capability::Link], 1),
        (vec![Capability::Link, Capability::Reflink], 1),
    ];
    for (missing, links) in without {
        let fs = missing.into_iter().fold(disk(), SimFs::without);
        let path = open(&fs);
        let core = path.core().unwrap();
        let (dir, file) = spilled(&fs, 7);
        let name = own_name(key(7));
        let link = || core.link_own(key(7), (&*dir, &name), &file, false);
        link().unwrap();
        link().unwrap();
        assert_eq!(file.file.stat().unwrap().nlink, links);
        core.commit().unwrap();
        assert!(reads(&core, 7, LONG));
        for pick in fs.power_states() {
            let cut = fs.power_cut(&pick);
            assert!(reads(&open(&cut).core().unwrap(), 7, LONG));
        }
    }
}

#[test]
fn an_inode_whose_sync_failed_is_copied_and_checked() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    let (dir, file) = spilled(&fs, 7);
    let name = own_name(key(7));
    core.link_own(key(7), (&*dir, &name), &file, false).unwrap();
    fs.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData));
    assert_eq!(core.commit().unwrap_err().outcome(), Outcome::Unknown);
    let core = path.open().unwrap();
    core.link_own(key(7), (&*dir, &name), &file, false).unwrap();
    let stat = |path: &str| fs.open_dir(Path::new(path)).unwrap().stat(&name).unwrap();
    assert!(!stat("/spill").same_inode(&stat("/data/pool/obj/c1")));
    core.commit().unwrap();
    assert!(reads(&core, 7, LONG));
    // The bytes are compared before they are believed.
    let (dir, file) = spilled(&fs, 8);
    file.taint();
    let name = own_name(key(8));
    fs.flip_bit(Path::new("/spill").join(&name), 200 * 8).unwrap();
    let error = core.link_own(key(8), (&*dir, &name), &file, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(!core.contains(key(8)));
}

#[test]
fn compaction_moves_what_is_wanted_and_readers_go_on() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    let all: Vec<_> = (0..40).map(|n| (n, 400)).collect();
    write(&core, &all);
    core.commit().unwrap();
    let segments = core.stats().segments;
    assert!(segments > 4);
    core.hold(key(5)).unwrap();
    for n in (0..40).filter(|n| n % 4 != 0) {
        core.delete(key(n)).unwrap();
    }
    core.commit().unwrap();
    let (old, at, object) = core.locate(key(0)).unwrap();
    let done = core.compact().unwrap();
    assert!(done.segments >= segments - 1 && done.moved_bytes >= 8 * 400, "{done:?}");
    assert!(core.stats().segments < segments);
    recount(&core);
    let mut buf = Vec::new();
    assert_eq!(old.read(at, object.stored, key(0), &mut buf).unwrap().bytes, body(0, 400));
    let kept = |core: &Core| (0..40).filter(|n| n % 4 == 0).all(|n| reads(core, n, 400));
    assert!(kept(&core) && reads(&core, 5, 400));
    for pick in fs.power_states_within(64, 32) {
        let path = open(&fs.power_cut(&pick));
        assert!(kept(&path.core().unwrap()) && path.durable_keys().len() == 10);
    }
}

#[test]
fn an_object_that_does_not_verify_is_not_moved() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &(0..9).map(|n| (n, 400)).collect::<Vec<_>>());
    core.commit().unwrap();
    fs.flip_bit("/data/pool/seg/0000000000000001.seg", 200 * 8).unwrap();
    for n in 2..9 {
        core.delete(key(n)).unwrap();
    }
    core.commit().unwrap();
    core.compact().unwrap();
    let mut buf = Vec::new();
    assert_eq!(core.get(key(0), &mut buf).unwrap_err().kind(), ErrorKind::Damaged);
    assert!(fs.read("/data/pool/seg/0000000000000001.seg").is_ok());
    assert!(reads(&core, 1, 400));
    recount(&core);
}

#[test]
fn the_manifest_is_rewritten_when_it_has_grown() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    for round in 0..60 {
        let of: Vec<_> = (0..40).map(|n| (round * 100 + n, 10)).collect();
        write(&core, &of);
        if let Some(before) = u64::checked_sub(round, 1) {
            (0..40).for_each(|n| core.delete(key(before * 100 + n)).unwrap());
        }
        core.commit().unwrap();
        path.checkpoint("a", &keys(&[round * 100, round * 100 + 7]), b"").unwrap();
    }
    let bytes: usize = fs
        .dump()
        .into_keys()
        .filter(|path| path.parent().is_some_and(|dir| dir.ends_with("manifest")))
        .map(|path| fs.read(path).unwrap_or_default().len())
        .sum();
    assert!(bytes < 900_000, "{bytes}");
    drop((core, path));
    let path = open(&fs);
    assert_eq!(path.durable_keys().len(), 40);
    assert_eq!(path.read_set("a").unwrap().unwrap().keys, keys(&[5900, 5907]));
    assert!(path.core().unwrap().stats().dead_bytes < 1 << 20);
}

#[test]
fn options_that_no_path_can_have_are_refused() {
    let fs = disk();
    let bad = options(Arc::new(fs)).segment_bytes(100);
    let error = DirPath::with(PATH, bad).open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = DirPath::new("x").core().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Precondition);
    assert!(Path::new(OsStr::new("x")) == DirPath::new("x").path());
}

#[test]
fn too_long_an_object_writes_nothing() {
    let fs = disk();
    let path = DirPath::with(PATH, options(Arc::new(fs)).max_object(1000));
    let core = path.open().unwrap();
    let error = core.write(&mut batch(&[(1, 10), (2, 1001)]), false).unwrap_err();
    assert_eq!((error.kind(), core.keys().len()), (ErrorKind::TooLarge, 0));
}

#[test]
fn verify_finds_what_is_damaged_and_nothing_else() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &[(1, 100), (2, 100), (3, LONG), (4, LONG)]);
    core.commit().unwrap();
    write(&core, &[(5, 100)]);
    let verify = || verify_path(PATH, Arc::new(fs.clone()), |_, _| ()).unwrap();
    let before = fs.image_hash();
    let report = verify();
    assert!(report.is_sound());
    assert_eq!((report.objects, report.own_files, report.segments), (4, 2, 1));
    assert_eq!((report.bytes, fs.image_hash()), (200 + 2 * LONG as u64, before));
    fs.flip_bit("/data/pool/seg/0000000000000001.seg", (64 + 192 + 64 + 5) * 8).unwrap();
    let dir = fs.open_dir(Path::new("/data/pool/obj/c1")).unwrap();
    dir.unlink(&own_name(key(4))).unwrap();
    let mut damage = verify().damage;
    damage.sort_by_key(|one| one.key);
    let found: Vec<_> = damage.iter().map(|one| (one.key.unwrap(), one.offset)).collect();
    assert_eq!(found, [(key(2), Some(64 + 192)), (key(4), None)]);
    let error = verify_path("/data", Arc::new(fs.clone()), |_, _| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOurs);
    let meta = "/data/pool/manifest/META";
    fs.flip_bit(meta, 100).unwrap();
    let damage = verify().damage;
    assert_eq!((damage.len(), damage[0].key), (1, None));
}

#[test]
fn a_reader_follows_what_moves_and_misses_what_is_gone() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &(0..20).map(|n| (n, 400)).chain([(20, LONG)]).collect::<Vec<_>>());
    core.commit().unwrap();
    let reader = DirPath::read_only_with(PATH, options(Arc::new(fs.clone())));
    let seen = reader.open().unwrap();
    assert_eq!(sorted(reader.durable_keys()).len(), 21);
    for n in (0..21).filter(|n| n % 4 != 0 || *n == 20) {
        core.delete(key(n)).unwrap();
    }
    core.commit().unwrap();
    core.compact().unwrap();
    assert!((0..20).filter(|n| n % 4 == 0).all(|n| reads(&seen, n, 400)));
    let mut buf = Vec::new();
    assert_eq!(seen.get(key(20), &mut buf).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(seen.get(key(1), &mut buf).unwrap_err().kind(), ErrorKind::NotFound);
    write(&core, &[(30, 10)]);
    core.commit().unwrap();
    assert!(!seen.contains(key(30)));
    reader.refresh().unwrap();
    assert!(reads(&seen, 30, 10));
    for error in [
        seen.commit().unwrap_err(),
        seen.write(&mut batch(&[(4, 1)]), false).unwrap_err(),
        reader.checkpoint("a", &[], b"").unwrap_err(),
        reader.gc(true).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
    }
    seen.hold(key(30)).unwrap();
    core.delete(key(30)).unwrap();
    core.commit().unwrap();
    let before = fs.image_hash();
    reader.refresh().unwrap();
    seen.release(key(30));
    drop((seen, reader));
    assert_eq!(fs.image_hash(), before);
    assert_eq!(path.refresh().unwrap_err().kind(), ErrorKind::Precondition);
    let nothing = DirPath::read_only_with("/data/none", options(Arc::new(fs.clone())));
    assert_eq!(nothing.open().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn gc_removes_what_nothing_lists_and_leaves_the_rest() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &[(1, 10), (2, LONG)]);
    core.commit().unwrap();
    write(&core, &[(3, LONG), (4, 10)]);
    let fs = fs.kill();
    let path = open(&fs);
    let core = path.core().unwrap();
    write(&core, &[(5, LONG)]);
    let foreign = "/data/pool/obj/c1/00000000000000000000000000000000.obj";
    fs.put(foreign, b"mine").unwrap();
    let looked = path.gc(false).unwrap();
    assert_eq!((looked.files.len(), looked.foreign.len()), (1, 1));
    assert!(looked.files[0].ends_with(own_name(key(3))) && looked.bytes > LONG as u64);
    assert_eq!(path.gc(true).unwrap(), looked);
    assert!(path.gc(true).unwrap().files.is_empty());
    core.commit().unwrap();
    assert!(reads(&core, 1, 10) && reads(&core, 2, LONG) && reads(&core, 5, LONG));
    assert_eq!(fs.read(foreign).unwrap(), b"mine");
}

/// Whoever writes more than fits into one segment has left the first one when others look for what nothing wants.
#[test]
fn what_is_being_written_is_not_taken_away() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    for round in 0..60_u64 {
        let of: Vec<(u64, usize)> = (0..20).map(|n| (round * 100 + n, 450)).collect();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    core.clear_away();
                    core.compact().unwrap();
                }
            });
            core.write(&mut batch(&of), false).unwrap();
            core.commit().unwrap();
            // Two of three go, so that there is something to move while the next ones are written.
            for (n, _) in of.iter().filter(|(n, _)| n % 3 > 0) {
                core.delete(key(*n)).unwrap();
            }
            core.commit().unwrap();
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        recount(&core);
        for (n, len) in of.iter().filter(|(n, _)| n % 3 == 0) {
            assert!(reads(&core, *n, *len), "{n}");
        }
        for (n, _) in of {
            core.delete(key(n)).unwrap();
        }
    }
}

/// What is registered as it is written is so also if somebody deletes the key in the same moment.
#[test]
fn what_is_written_is_not_forgotten_before_it_is_held() {
    let fs = disk();
    let path = open(&fs);
    let core = path.core().unwrap();
    for round in 0..60_u64 {
        let (of, long) = ([(round, 40), (round + 1000, LONG)], round % 2 == 0);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    core.delete(key(round)).unwrap();
                    core.delete(key(round + 1000)).unwrap();
                }
            });
            for _ in 0..20 {
                if long {
                    core.commit().unwrap();
                }
                core.write(&mut batch(&of), true).unwrap();
                for (n, len) in of {
                    assert!(reads(&core, n, len), "{n}");
                    core.release(key(n));
                }
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        recount(&core);
    }
}

/// What is wanted while another commit is under way is held against what that one makes of it.
#[test]
fn what_is_wanted_during_a_commit_is_not_lost() {
    // A real disk: there a commit takes its time.
    let dir = tempfile::tempdir().unwrap();
    let path = DirPath::with(dir.path().join("p"), options(Arc::new(crate::fs::OsFs::new())));
    let core = path.open().unwrap();
    write(&core, &[(1, 40), (2, 40)]);
    core.checkpoint("a", &keys(&[2]), b"").unwrap();
    core.commit().unwrap();
    core.hold(key(1)).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let loose = |n: u64| core.infos().iter().any(|(of, info)| *of == key(n) && info.loose);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    core.commit().unwrap();
                }
            });
        }
        let mut wrong = 0;
        for round in 0..60 {
            core.delete(key(1)).unwrap();
            core.stage(key(2), false).unwrap();
            for _ in 0..round {
                std::thread::yield_now();
            }
            core.stage(key(1), false).unwrap();
            core.delete(key(2)).unwrap();
            core.commit().unwrap();
            wrong += u32::from(!loose(1)) + u32::from(loose(2));
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        assert_eq!(wrong, 0);
    });
    core.release(key(1));
    recount(&core);
}
