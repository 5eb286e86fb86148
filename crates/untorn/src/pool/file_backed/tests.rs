use super::*;
use crate::pool::{
    BackingStoreT, Batch, BlobStore, Compression, DirOptions, DirPathOptions, DirStore, Meta,
    SetPath,
};
use crate::sim::{Effect, Fault, FaultKind, Item, SimFs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn key(n: u32) -> Uuid {
    // Spread over the directories.
    Uuid::from_u128((u128::from(n.wrapping_mul(0x9e37_79b9)) << 96) | u128::from(n))
}

#[expect(clippy::arithmetic_side_effects, reason = "sums of a test")]
fn body(n: u32) -> Vec<u8> {
    let len = if n.is_multiple_of(10) { 300_000 } else { 100 + n as usize };
    (0..len).map(|at| u8::try_from((at + n as usize) % 250).unwrap() + 1).collect()
}

fn place(key: Uuid) -> String {
    format!("/old/{}/{}", prefix_name(prefix(key)), key.simple())
}

fn old(objects: u32) -> SimFs {
    let fs = SimFs::new(1);
    for number in 0..=u8::MAX {
        fs.make_dirs(format!("/old/{}", prefix_name(number))).unwrap();
    }
    for n in 0..objects {
        fs.put(place(key(n)), &body(n)).unwrap();
    }
    fs
}

fn options<'a>(fs: &SimFs) -> FileBackedOptions<'a> {
    FileBackedOptions::new().fs(Arc::new(fs.clone()))
}

fn path(fs: &SimFs) -> DirPath {
    DirPath::with("/new", DirPathOptions::new().fs(Arc::new(fs.clone())))
}

fn below(fs: &SimFs, dir: &str) -> BTreeMap<PathBuf, Item> {
    let all = fs.dump().into_iter();
    let strip =
        |(path, item): (PathBuf, Item)| Some((path.strip_prefix(dir).ok()?.to_path_buf(), item));
    all.filter_map(strip).collect()
}

#[test]
fn what_is_imported_is_what_was_there_and_the_source_is_untouched() {
    let fs = old(60);
    let before = below(&fs, "/old");
    let to = path(&fs);
    let mut told = Vec::new();
    let mut progress = |objects| told.push(objects);
    let report =
        import_file_backed("/old", &to, 4, options(&fs).tag(9).progress(&mut progress)).unwrap();
    assert_eq!((report.imported, report.known, report.others), (60, 0, 0));
    assert!(report.suspect.is_empty() && told.last() == Some(&60) && told.len() > 1);
    assert_eq!(below(&fs, "/old"), before);
    drop(to);
    let (fs, to) = (fs.kill(), path(&fs));
    drop(to);
    let to = path(&fs);
    let store = DirStore::with("/scratch", &DirOptions::new().fs(Arc::new(fs.clone()))).unwrap();
    assert_eq!(store.sanitize_path(&to).unwrap().len(), 60);
    let mut buf = Vec::new();
    for n in 0..60 {
        store.register(&to, key(n)).unwrap();
        let object = store.get(key(n), &mut buf).unwrap();
        let len = body(n).len() as u64;
        assert_eq!(object.bytes, body(n));
        assert_eq!(object.meta, Meta { raw_len: len, ..Meta::new(4, 9, len) });
    }
    let again = import_file_backed("/old", &to, 4, options(&fs)).unwrap();
    assert_eq!((again.imported, again.known), (0, 60));
}

#[test]
fn what_is_suspect_is_told_and_taken_only_if_asked_for() {
    let fs = old(5);
    fs.put(place(key(100)), b"").unwrap();
    fs.put(place(key(101)), &[0; 5000]).unwrap();
    let verify = |of: Uuid, bytes: &[u8]| of != key(3) || bytes.is_empty();
    let to = path(&fs);
    let report = import_file_backed("/old", &to, 4, options(&fs).verify(&verify)).unwrap();
    let mut suspect = report.suspect.clone();
    suspect.sort_unstable_by_key(|(key, _)| *key);
    let mut wanted = vec![
        (key(100), Suspicion::Empty),
        (key(101), Suspicion::Zeros),
        (key(3), Suspicion::Refused),
    ];
    wanted.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!((report.imported, suspect), (4, wanted));
    let all = options(&fs).accept_suspect(true).verify(&verify);
    let report = import_file_backed("/old", &to, 4, all).unwrap();
    assert_eq!((report.imported, report.known, report.suspect.len()), (2, 4, 3));
    assert!(!to.durable_keys().contains(&key(3)));
}

#[test]
fn other_names_are_left_and_told() {
    let fs = old(3);
    let mut wrong = key(1).simple().to_string();
    wrong.replace_range(0..2, "ff");
    for name in [
        "/old/readme".to_owned(),
        "/old/0/file".to_owned(),
        "/old/FF/file".to_owned(),
        "/old/00/notes".to_owned(),
        format!("/old/00/{wrong}"),
        format!("/old/ff/{}", wrong.to_uppercase()),
        format!("/old/ff/{}", key(1).hyphenated()),
    ] {
        fs.make_dirs(Path::new(&name).parent().unwrap()).unwrap();
        fs.put(name, b"mine").unwrap();
    }
    fs.symlink("/old/00", "/old/zz").unwrap();
    fs.symlink("/old/readme", format!("/old/ff/{wrong}")).unwrap();
    let before = below(&fs, "/old");
    let report = import_file_backed("/old", &path(&fs), 4, options(&fs)).unwrap();
    assert_eq!((report.imported, report.others, report.left.len()), (3, 9, 9), "{report:?}");
    assert_eq!(below(&fs, "/old"), before);
}

#[test]
fn an_import_that_fails_imports_nothing() {
    let fs = old(20);
    let long = options(&fs).max_object(1000);
    let to = path(&fs);
    let error = import_file_backed("/old", &to, 4, long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!((to.durable_keys(), to.objects().len()), (vec![], 0));
    drop(to);
    for nth in (1..).step_by(3) {
        let fs = old(20);
        let to = path(&fs);
        to.open().unwrap();
        let first = fs.calls() + nth;
        let fault = Fault::new(FaultKind::Io).at_call(first).effect(Effect::Prefix);
        fs.inject(fault);
        let done = import_file_backed("/old", &to, 4, options(&fs));
        let all = fs.calls() < first;
        fs.clear_faults();
        match &done {
            Ok(report) => assert_eq!(report.imported, 20),
            Err(e) if e.outcome() == crate::Outcome::Unchanged => {
                assert_eq!((to.durable_keys(), to.objects().len()), (vec![], 0), "{nth} {e}");
                let report = import_file_backed("/old", &to, 4, options(&fs)).unwrap();
                assert_eq!(report.imported, 20);
            }
            Err(_) => {}
        }
        drop(to);
        let len = || {
            let to = path(&fs);
            to.open().unwrap();
            to.durable_keys().len()
        };
        let len = len();
        assert!(len == 20 || (done.is_err() && len == 0), "{nth}: {len}");
        if all {
            break;
        }
    }
}

#[test]
fn what_is_exported_is_what_was_imported_and_survives_power_loss() {
    let fs = old(12);
    let to = path(&fs);
    import_file_backed("/old", &to, 4, options(&fs)).unwrap();
    to.checkpoint("some", &[key(3), key(10)], b"").unwrap();
    let report = export_file_backed(&to, None, "/out", options(&fs)).unwrap();
    assert_eq!(report.objects, 12);
    assert_eq!(below(&fs, "/out"), below(&fs, "/old"));
    let some = export_file_backed(&to, Some("some"), "/some", options(&fs)).unwrap();
    assert_eq!((some.objects, some.bytes), (2, 300_103));
    let kind = |done: Result<ExportReport>| done.unwrap_err().kind();
    let none = export_file_backed(&to, Some("none"), "/none", options(&fs));
    assert_eq!(kind(none), ErrorKind::NotFound);
    assert_eq!(kind(export_file_backed(&to, None, "/out", options(&fs))), ErrorKind::AlreadyExists);
    let wanted = below(&fs, "/old");
    for state in fs.power_states_within(16, 16) {
        assert_eq!(below(&fs.power_cut(&state), "/out"), wanted);
    }
}

#[test]
fn compressed_objects_are_exported_as_they_were_before() {
    let fs = SimFs::new(1);
    let store = DirStore::with("/scratch", &DirOptions::new().fs(Arc::new(fs.clone()))).unwrap();
    let to = path(&fs);
    store.sanitize_path(&to).unwrap();
    let raw = b"one two three ".repeat(500);
    let mut batch = Batch::new();
    for (n, compression) in (0..).zip([Compression::None, Compression::Lz4, Compression::Zstd(3)]) {
        let encode = |out: &mut Vec<u8>| {
            out.extend_from_slice(&raw);
            Ok(())
        };
        batch.push(key(n), Meta::new(1, 0, 0), compression, encode).unwrap();
    }
    store.put_persisted(&to, &mut batch).unwrap();
    store.sync_persisted(&to).unwrap();
    export_file_backed(&to, None, "/out", options(&fs)).unwrap();
    for n in 0..3 {
        let name = format!("/out/{}/{}", prefix_name(prefix(key(n))), key(n).simple());
        assert_eq!(fs.read(name).unwrap(), raw);
    }
}

#[test]
fn a_damaged_object_ends_the_export_and_leaves_nothing() {
    let fs = old(3);
    let to = path(&fs);
    import_file_backed("/old", &to, 4, options(&fs)).unwrap();
    let segment = below(&fs, "/new/seg").into_keys().find(|name| name.extension().is_some());
    fs.flip_bit(Path::new("/new/seg").join(segment.unwrap()), (64 + 64 + 9) * 8).unwrap();
    let error = export_file_backed(&to, None, "/out", options(&fs)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.offset().is_some());
    assert!(!fs.dump().keys().any(|name| name.to_str().unwrap().contains("out")));
}
