//! The simulated disk keeps the crash model, fact by fact.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use untorn::fs::{Dir, File, Fs, How, Lock, Rename, SyncSite, SyncWhat};
use untorn::sim::{
    CallKind, Capability, DiskModel, Effect, FailedSync, Fault, FaultKind, Item, Names, Pick,
    SimFs, Syncs, Unwritten,
};

const SITE: SyncSite = SyncSite::Caller;

fn n(name: &str) -> &OsStr {
    OsStr::new(name)
}

fn root(fs: &SimFs) -> Arc<dyn Dir> {
    fs.open_dir(Path::new("/")).unwrap()
}

fn create(dir: &Arc<dyn Dir>, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = dir.open(n(name), How::CreateNew(0o644)).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn model(unit: u32, names: Names) -> DiskModel {
    let mut model = DiskModel::default();
    model.unit = unit;
    model.names = names;
    model
}

/// All trees that a power cut may leave, as `name=bytes` lines; long runs of one byte are shortened.
fn trees(fs: &SimFs) -> BTreeSet<String> {
    let states = fs.power_states();
    assert!(states.is_complete(), "too many states for a test by hand");
    states.map(|pick| show(&fs.power_cut(&pick))).collect()
}

fn show(fs: &SimFs) -> String {
    let line = |(path, item): (std::path::PathBuf, Item)| {
        let name = path.strip_prefix("/").unwrap().display().to_string();
        match item {
            Item::File(bytes) => format!("{name}={}", runs(&bytes)),
            Item::Dir => format!("{name}/"),
            Item::Symlink(to) => format!("{name}->{}", to.display()),
            _ => unreachable!(),
        }
    };
    fs.dump().into_iter().map(line).collect::<Vec<_>>().join(" ")
}

fn runs(bytes: &[u8]) -> String {
    let runs = bytes.chunk_by(|a, b| a == b).map(|run| {
        let c = if run[0] == 0 { '0' } else { char::from(run[0]) };
        if run.len() == 1 { c.to_string() } else { format!("{c}x{}", run.len()) }
    });
    runs.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(found: &BTreeSet<String>, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|s| (*s).to_string()).collect();
    assert_eq!(*found, wanted);
}

#[test]
fn a_synced_file_without_a_synced_name_may_be_gone() {
    for names in [Names::Ordered, Names::Subset] {
        let fs = SimFs::with_model(1, model(512, names));
        let file = create(&root(&fs), "a", b"xyz");
        file.sync(SyncWhat::All, SITE).unwrap();
        check(&trees(&fs), &["", "a=x y z"]);
    }
}

#[test]
fn file_sync_keeps_name_where_the_model_says_so() {
    let mut model = DiskModel::default();
    model.file_sync_keeps_name = true;
    let fs = SimFs::with_model(1, model);
    let file = create(&root(&fs), "a", b"xyz");
    file.sync(SyncWhat::Data, SITE).unwrap();
    check(&trees(&fs), &["a=x y z"]);
}

#[test]
fn a_synced_name_without_synced_bytes_is_empty_zeros_or_part() {
    let fs = SimFs::new(1);
    let dir = root(&fs);
    let _file = create(&dir, "a", &[b'x'; 600]);
    dir.sync(SITE).unwrap();
    check(
        &trees(&fs),
        &["a=", "a=0x512", "a=xx512", "a=0x600", "a=xx512 0x88", "a=0x512 xx88", "a=xx600"],
    );
}

#[test]
fn eight_bytes_across_a_sector_boundary_tear_and_within_a_sector_do_not() {
    for (unit, offset, torn) in [(512, 508_u16, true), (512, 504, false), (4096, 508, false)] {
        let fs = SimFs::with_model(1, model(unit, Names::Ordered));
        fs.put("/a", &[b'o'; 1024]).unwrap();
        let file = root(&fs).open(n("a"), How::Write).unwrap();
        file.write_at(b"nnnnnnnn", u64::from(offset)).unwrap();
        let half = |path: &SimFs| {
            let bytes = path.read("/a").unwrap();
            bytes.contains(&b'n') && bytes[usize::from(offset)..][..8] != *b"nnnnnnnn"
        };
        let found = fs.power_states().any(|pick| half(&fs.power_cut(&pick)));
        assert_eq!(found, torn, "unit {unit}, offset {offset}");
    }
}

#[test]
fn a_unit_may_hold_any_of_its_versions_not_only_first_and_last() {
    let fs = SimFs::new(1);
    fs.put("/a", b"old").unwrap();
    let file = root(&fs).open(n("a"), How::Write).unwrap();
    file.write_at(b"mid", 0).unwrap();
    file.write_at(b"new", 0).unwrap();
    check(&trees(&fs), &["a=o l d", "a=m i d", "a=n e w"]);
}

#[test]
fn rename_without_file_sync_may_give_an_empty_file() {
    let fs = SimFs::new(1);
    fs.put("/b", b"old").unwrap();
    let dir = root(&fs);
    let _file = create(&dir, "a", b"new");
    dir.rename(n("a"), &*dir, n("b"), Rename::Replace).unwrap();
    let found = trees(&fs);
    check(
        &found,
        &["b=o l d", "a= b=o l d", "a=0x3 b=o l d", "a=n e w b=o l d", "b=", "b=0x3", "b=n e w"],
    );
}

#[test]
fn rename_across_directories_is_old_new_or_both_never_neither() {
    for (names, both) in [(Names::Subset, true), (Names::Ordered, false)] {
        let fs = SimFs::with_model(1, model(512, names));
        fs.put("/a", b"x").unwrap();
        fs.make_dirs("/d").unwrap();
        let dir = root(&fs);
        let other = dir.open_dir(n("d")).unwrap();
        dir.rename(n("a"), &*other, n("a"), Rename::Replace).unwrap();
        let mut wanted = vec!["a=x d/", "d/ d/a=x"];
        wanted.extend(both.then_some("a=x d/ d/a=x"));
        check(&trees(&fs), &wanted);
        // Syncing the old directory alone must not lose the file.
        let fs = SimFs::with_model(1, model(512, names));
        fs.put("/a", b"x").unwrap();
        fs.make_dirs("/d").unwrap();
        let dir = root(&fs);
        let other = dir.open_dir(n("d")).unwrap();
        dir.rename(n("a"), &*other, n("a"), Rename::Replace).unwrap();
        dir.sync(SITE).unwrap();
        check(&trees(&fs), &["d/ d/a=x"]);
    }
}

#[test]
fn an_unsynced_unlink_may_come_back_and_a_reused_name_has_three_states() {
    let fs = SimFs::new(1);
    fs.put("/a", b"o").unwrap();
    let dir = root(&fs);
    dir.unlink(n("a")).unwrap();
    check(&trees(&fs), &["", "a=o"]);

    let fs = SimFs::new(1);
    fs.put("/a", b"o").unwrap();
    let dir = root(&fs);
    dir.unlink(n("a")).unwrap();
    let file = create(&dir, "a", b"n");
    file.sync(SyncWhat::Data, SITE).unwrap();
    check(&trees(&fs), &["", "a=o", "a=n"]);
}

#[test]
fn names_are_a_prefix_when_ordered_and_any_subset_otherwise() {
    for (names, wanted) in
        [(Names::Ordered, vec!["", "a=", "a= b="]), (Names::Subset, vec!["", "a=", "b=", "a= b="])]
    {
        let fs = SimFs::with_model(1, model(512, names));
        let dir = root(&fs);
        drop((create(&dir, "a", b""), create(&dir, "b", b"")));
        check(&trees(&fs), &wanted);
    }
}

#[test]
fn a_directory_replaces_only_an_empty_one_and_keeps_what_is_in_it() {
    for model in DiskModel::standard() {
        let fs = SimFs::with_model(1, model);
        fs.put("/full/x", b"x").unwrap();
        fs.put("/file", b"y").unwrap();
        fs.make_dirs("/empty").unwrap();
        let dir = root(&fs);
        dir.make_dir(n("d"), 0o700).unwrap();
        let sub = dir.open_dir(n("d")).unwrap();
        create(&sub, "a", b"a").sync(SyncWhat::All, SITE).unwrap();
        sub.sync(SITE).unwrap();
        let errno = |result: std::io::Result<()>| result.err().and_then(|e| e.raw_os_error());
        let to = |name, mode| errno(dir.rename(n("d"), &*dir, n(name), mode));
        assert_eq!(to("full", Rename::Replace), Some(39)); // ENOTEMPTY
        assert_eq!(to("file", Rename::Replace), Some(20)); // ENOTDIR
        assert_eq!(to("empty", Rename::NoReplace), Some(17)); // EEXIST
        assert_eq!(errno(dir.rename(n("file"), &*dir, n("empty"), Rename::Replace)), Some(21));
        dir.rename(n("d"), &*dir, n("empty"), Rename::Replace).unwrap();
        assert_eq!(fs.read("/empty/a").unwrap(), b"a");
        assert_eq!(errno(dir.remove_dir(n("empty"))), Some(39));
        // The old empty one, or the new one whole; the handle goes on with it.
        drop(create(&sub, "b", b""));
        dir.unlink(n("file")).unwrap();
        for pick in fs.power_states() {
            let after = fs.power_cut(&pick);
            let there = after.read("/empty/a").ok();
            assert!(matches!(there.as_deref(), None | Some(b"a")), "{pick}");
            assert!(after.dump().contains_key(Path::new("/empty")), "{pick}");
        }
    }
}

#[test]
fn a_directory_needs_a_sync_of_its_parent_and_its_names_one_of_its_own() {
    let fs = SimFs::with_model(1, model(512, Names::Subset));
    let dir = root(&fs);
    dir.make_dir(n("d"), 0o700).unwrap();
    let sub = dir.open_dir(n("d")).unwrap();
    create(&sub, "a", b"").sync(SyncWhat::All, SITE).unwrap();
    sub.sync(SITE).unwrap();
    check(&trees(&fs), &["", "d/ d/a="]);
}

#[test]
fn cut_then_grow_holds_old_bytes_zeros_or_new() {
    let fs = SimFs::new(1);
    fs.put("/a", b"old").unwrap();
    let file = root(&fs).open(n("a"), How::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_at(b"new", 0).unwrap();
    check(&trees(&fs), &["a=", "a=o l d", "a=0x3", "a=n e w"]);
}

#[test]
fn garbage_fills_the_gap_where_the_model_says_so() {
    let mut model = DiskModel::default();
    model.unwritten = Unwritten::Garbage;
    let fs = SimFs::with_model(1, model);
    fs.put("/a", b"o").unwrap();
    let file = root(&fs).open(n("a"), How::Write).unwrap();
    file.write_at(b"nnnn", 1).unwrap();
    let gap: Vec<Vec<u8>> =
        fs.power_states().map(|pick| fs.power_cut(&pick).read("/a").unwrap()).collect();
    assert!(gap.iter().any(|b| b.len() == 5 && b[1..] != [0; 4] && b[1..] != *b"nnnn"), "{gap:?}");
    assert!(gap.iter().all(|b| b[0] == b'o'), "{gap:?}");
}

#[test]
fn fdatasync_keeps_the_size_that_grew_but_not_the_mode() {
    let fs = SimFs::new(1);
    fs.put("/a", b"").unwrap();
    let file = root(&fs).open(n("a"), How::Write).unwrap();
    file.write_at(b"x", 0).unwrap();
    file.set_mode(0o600).unwrap();
    let modes = |fs: &SimFs| {
        let mode = |pick: Pick| {
            let cut = fs.power_cut(&pick);
            assert_eq!(cut.read("/a").unwrap(), b"x");
            root(&cut).stat(n("a")).unwrap().mode
        };
        fs.power_states().map(mode).collect::<BTreeSet<_>>()
    };
    file.sync(SyncWhat::Data, SITE).unwrap();
    assert_eq!(modes(&fs), BTreeSet::from([0o600, 0o644]));
}

/// fsync fails; the retry says Ok; the disk keeps OLD (measured on ext4, xfs and btrfs).
#[test]
fn a_sync_retried_after_a_failure_says_ok_and_the_disk_keeps_old() {
    let fs = SimFs::new(1);
    fs.put("/a", b"old").unwrap();
    let dir = root(&fs);
    let (file, other) =
        (dir.open(n("a"), How::Write).unwrap(), dir.open(n("a"), How::Read).unwrap());
    file.write_at(b"new", 0).unwrap();
    fs.inject(Fault::new(FaultKind::Io).on(CallKind::SyncAll));
    assert_eq!(file.sync(SyncWhat::All, SITE).unwrap_err().raw_os_error(), Some(5));
    file.sync(SyncWhat::All, SITE).unwrap();
    let later = dir.open(n("a"), How::Read).unwrap();
    assert!(other.sync(SyncWhat::All, SITE).is_err(), "open before: told once");
    other.sync(SyncWhat::All, SITE).unwrap();
    later.sync(SyncWhat::All, SITE).unwrap();
    assert_eq!(fs.read("/a").unwrap(), b"new", "the cache");
    check(&trees(&fs), &["a=o l d", "a=n e w"]);
    let fs = fs.kill();
    fs.evict("/a").unwrap();
    assert_eq!(fs.read("/a").unwrap(), b"old", "the disk");
    // Only a new write makes it durable.
    let file = root(&fs).open(n("a"), How::Write).unwrap();
    file.write_at(b"new", 0).unwrap();
    file.sync(SyncWhat::All, SITE).unwrap();
    check(&trees(&fs), &["a=n e w"]);
}

#[test]
fn a_failed_sync_reverts_or_kills_where_the_model_says_so() {
    for failed_sync in [FailedSync::RevertOld, FailedSync::FsDead] {
        let mut model = DiskModel::default();
        model.failed_sync = failed_sync;
        let fs = SimFs::with_model(1, model);
        fs.put("/a", b"old").unwrap();
        let file = root(&fs).open(n("a"), How::Write).unwrap();
        file.write_at(b"new", 0).unwrap();
        fs.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData));
        assert!(file.sync(SyncWhat::Data, SITE).is_err());
        let errno = |result: std::io::Result<()>| result.unwrap_err().raw_os_error();
        if failed_sync == FailedSync::RevertOld {
            assert_eq!(fs.read("/a").unwrap(), b"old");
        } else {
            assert_eq!(errno(file.write_at(b"x", 0)), Some(30));
            assert_eq!(errno(file.sync(SyncWhat::Data, SITE)), Some(5));
        }
    }
}

#[test]
fn a_failed_writeback_is_told_to_the_next_one_who_opens() {
    let fs = SimFs::new(1);
    fs.put("/a", b"old").unwrap();
    let dir = root(&fs);
    dir.open(n("a"), How::Write).unwrap().write_at(b"new", 0).unwrap();
    fs.fail_writeback("/a").unwrap();
    let file = dir.open(n("a"), How::Write).unwrap();
    assert!(file.sync(SyncWhat::All, SITE).is_err());
    file.sync(SyncWhat::All, SITE).unwrap();
    dir.open(n("a"), How::Write).unwrap().sync(SyncWhat::All, SITE).unwrap();
}

#[test]
fn a_lying_disk_syncs_nothing() {
    let mut model = DiskModel::default();
    model.syncs = Syncs::Lost;
    let fs = SimFs::with_model(1, model);
    let dir = root(&fs);
    create(&dir, "a", b"x").sync(SyncWhat::All, SITE).unwrap();
    dir.sync(SITE).unwrap();
    assert!(trees(&fs).contains(""));
}

#[test]
fn old_handles_fail_and_change_nothing() {
    let fs = SimFs::new(1);
    let dir = root(&fs);
    let file = create(&dir, "a", b"x");
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    let after = fs.kill();
    assert!(file.write_at(b"y", 0).is_err() && dir.unlink(n("a")).is_err());
    assert!(file.sync(SyncWhat::All, SITE).is_err() && fs.open_dir(Path::new("/")).is_err());
    assert_eq!(after.read("/a").unwrap(), b"x");
    let file = root(&after).open(n("a"), How::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap(), "the lock died with its owner");
    // What was pending before the kill can still be lost.
    assert!(trees(&after).contains(""));
}

#[test]
fn locks_belong_to_open_files() {
    let fs = SimFs::new(1);
    let dir = root(&fs);
    let first = create(&dir, "a", b"");
    let open = || dir.open(n("a"), How::Write).unwrap();
    let (second, third) = (open(), open());
    assert!(first.try_lock(Lock::Shared).unwrap() && second.try_lock(Lock::Shared).unwrap());
    assert!(!third.try_lock(Lock::Exclusive).unwrap());
    drop(first);
    assert!(!third.try_lock(Lock::Exclusive).unwrap());
    drop(second);
    assert!(third.try_lock(Lock::Exclusive).unwrap());
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let fs = SimFs::new(1);
    let dir = root(&fs);
    let file = create(&dir, "a", b"x");
    dir.unlink(n("a")).unwrap();
    for i in 0..200 {
        drop(create(&dir, &format!("f{i}"), b""));
        dir.unlink(n(&format!("f{i}"))).unwrap();
        dir.sync(SITE).unwrap();
    }
    let mut byte = [0];
    assert_eq!(file.read_at(&mut byte, 0).unwrap(), 1);
    assert_eq!((byte, file.stat().unwrap().nlink), (*b"x", 0));
}

#[test]
fn what_a_file_system_cannot_do_it_refuses() {
    let fs = SimFs::new(1)
        .without(Capability::RenameNoReplace)
        .without(Capability::Locks)
        .without(Capability::DirSync)
        .without(Capability::Link)
        .without(Capability::Punch);
    let dir = root(&fs);
    let file = create(&dir, "a", b"x");
    let errno = |result: std::io::Result<()>| result.unwrap_err().raw_os_error();
    assert_eq!(errno(dir.rename(n("a"), &*dir, n("b"), Rename::NoReplace)), Some(22));
    assert_eq!(errno(file.try_lock(Lock::Shared).map(drop)), Some(37));
    assert_eq!(errno(dir.sync(SITE)), Some(22));
    assert_eq!(errno(dir.link(n("a"), &*dir, n("b"))), Some(95));
    assert_eq!(errno(file.punch(0, 1)), Some(95));
}

#[test]
fn a_full_disk_takes_what_fits() {
    let fs = SimFs::new(1);
    fs.set_capacity(Some(5));
    let file = create(&root(&fs), "a", b"abc");
    assert_eq!(file.write_at(b"defg", 3).unwrap_err().raw_os_error(), Some(28));
    assert_eq!(fs.read("/a").unwrap(), b"abcde");
    file.write_at(b"xyz", 0).unwrap();
}

#[test]
fn a_fault_has_no_half_or_all_of_its_effect() {
    for (effect, wanted) in [(Effect::None, ""), (Effect::Prefix, "ab"), (Effect::Whole, "abcd")] {
        let fs = SimFs::new(1);
        let file = create(&root(&fs), "a", b"");
        fs.inject(Fault::new(FaultKind::NoSpace).on_path("/a").effect(effect));
        assert_eq!(file.write_at(b"abcd", 0).unwrap_err().raw_os_error(), Some(28));
        assert_eq!(fs.read("/a").unwrap(), wanted.as_bytes());
        file.write_at(b"abcd", 0).unwrap();
    }
    let fs = SimFs::new(1);
    let file = create(&root(&fs), "a", b"abcd");
    fs.inject(Fault::new(FaultKind::BitFlip));
    let mut buf = [0; 4];
    file.read_at(&mut buf, 0).unwrap();
    assert_ne!(&buf, b"abcd");
    file.read_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"abcd");
    fs.flip_bit("/a", 0).unwrap();
    assert_eq!(fs.read("/a").unwrap(), b"`bcd");
    fs.fail_reads("/a");
    assert!(file.read_at(&mut buf, 0).is_err() && file.map(1).is_err());
}

#[test]
fn symlinks_are_followed_in_paths_and_refused_as_files() {
    let fs = SimFs::new(1);
    fs.put("/real/a", b"x").unwrap();
    fs.symlink("../real", "/links/to").unwrap();
    let dir = fs.open_dir(Path::new("/links/to")).unwrap();
    assert_eq!(dir.list().unwrap(), ["a"]);
    assert_eq!(fs.canonicalize(Path::new("/links/to/a")).unwrap(), Path::new("/real/a"));
    let links = fs.open_dir(Path::new("/links")).unwrap();
    assert_eq!(links.open(n("to"), How::Read).unwrap_err().raw_os_error(), Some(40));
    assert_eq!(links.read_link(n("to")).unwrap(), Path::new("../real"));
    for name in ["", ".", "..", "a/b", "a\0"] {
        let error = dir.open(n(name), How::Read).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_pick_prints_and_parses_and_the_same_seed_gives_the_same_states() {
    let disk = || {
        let fs = SimFs::with_model(9, model(512, Names::Subset));
        let dir = root(&fs);
        for i in 0..6_u8 {
            drop(create(&dir, &format!("f{i}"), &[b'a' + i; 3000]));
        }
        fs
    };
    let (one, two) = (disk(), disk());
    let states = one.power_states();
    assert!(!states.is_complete() && states.len() > 100);
    for (pick, other) in states.zip(two.power_states()) {
        assert_eq!(pick, other);
        assert_eq!(pick.to_string().parse(), Ok(pick.clone()));
        assert_eq!(one.power_cut(&pick).image_hash(), two.power_cut(&other).image_hash());
    }
    assert!("n1u2y".parse::<Pick>().is_err() && "u".parse::<Pick>().is_err());
}
