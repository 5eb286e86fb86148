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
