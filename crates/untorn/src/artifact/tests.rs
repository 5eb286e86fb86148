//! Artifacts from the inside: what is refused, what is left behind, what is on disk.
#![expect(clippy::disallowed_methods, reason = "the tests change files behind everybody's back")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use super::{About, Export, Import, MANIFEST, Manifest, read_manifest_with, verify, verify_with};
use crate::fs::{Fs, OsFs};
use crate::sim::{Fault, FaultKind, SimFs};
use crate::{Error, ErrorKind, Outcome, Result};

const OURS: (&str, &str) = ("untorn-test", "1");

fn about() -> About {
    About { backend: OURS.0, backend_version: OURS.1, cursor: vec![0x2a, 0xff], ..About::default() }
}

fn fill(export: &mut Export) -> Result<()> {
    for (path, bytes) in [("data/a", &b"abc"[..]), ("data/log/1.seg", &vec![7; 300_000])] {
        let mut file = export.file(path)?;
        file.write_all(bytes).map_err(|e| Error::stream("write", e))?;
        file.finish()?;
    }
    Ok(())
}

fn export(fs: &dyn Fs, dest: &Path) -> Result<Manifest> {
    let mut export = Export::begin(fs, dest)?;
    fill(&mut export)?;
    export.finish(about())
}

fn import(fs: &dyn Fs, from: &Path, dest: &Path) -> Result<()> {
    Import::open(fs, from, OURS)?.stage(fs, dest, |_| {})?.publish()
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A simulated disk with a sound artifact.
fn disk() -> SimFs {
    let sim = SimFs::new(3);
    sim.make_dirs("/data").unwrap();
    export(&sim, Path::new("/data/x")).unwrap();
    sim
}

fn verified(sim: &SimFs) -> Result<Manifest> {
    verify_with("/data/x", Arc::new(sim.clone()), |_| {})
}

#[test]
fn what_is_exported_verifies_and_is_imported() {
    let home = tempfile::tempdir().unwrap();
    let (dest, store) = (home.path().join("out/"), home.path().join("store"));
    fs::create_dir(&dest).unwrap(); // an empty directory may be there
    let fs = OsFs::new();
    let made = export(&fs, &dest).unwrap();
    assert_eq!(verify(&dest).unwrap(), made);
    assert_eq!((&*made.cursor_hex, made.total_bytes()), ("2aff", 300_003));
    assert_eq!(names(&dest), [MANIFEST, "data"]);
    let bits = |path: &str| fs::metadata(dest.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((bits(""), bits("data/log"), bits("data/a")), (0o700, 0o700, 0o600));
    import(&fs, &dest, &store).unwrap();
    assert_eq!(names(&store), ["a", "log"]);
    assert_eq!(fs::read(store.join("log/1.seg")).unwrap(), vec![7; 300_000]);
    assert_eq!(names(home.path()), ["out", "store"]);
    // Neither is written over.
    for again in [export(&fs, &dest).map(drop), import(&fs, &dest, &store)] {
        let error = again.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::AlreadyExists, Outcome::Unchanged));
    }
    assert_eq!(names(home.path()), ["out", "store"]);
    assert_eq!(verify(&dest).unwrap(), made);
}

#[test]
fn nothing_is_published_over_what_came_meanwhile() {
    let home = tempfile::tempdir().unwrap();
    let fs = OsFs::new();
    let obstacles: [fn(&Path); 3] = [
        |dest| fs::write(dest, "a file").unwrap(),
        |dest| symlink("nowhere", dest).unwrap(),
        |dest| fs::create_dir_all(dest.join("something")).unwrap(),
    ];
    for (n, obstacle) in obstacles.iter().enumerate() {
        let dest = home.path().join(n.to_string());
        let mut export = Export::begin(&fs, &dest).unwrap();
        fill(&mut export).unwrap();
        obstacle(&dest);
        let error = export.finish(about()).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::AlreadyExists, Outcome::Unchanged));
    }
    assert_eq!(names(home.path()), ["0", "1", "2"]);
    assert_eq!(fs::read(home.path().join("0")).unwrap(), b"a file");
}

#[test]
fn an_unfinished_file_is_not_published() {
    let home = tempfile::tempdir().unwrap();
    let mut export = Export::begin(&OsFs::new(), &home.path().join("x")).unwrap();
    drop(export.file("data/a").unwrap());
    let error = export.finish(about()).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Incomplete, Outcome::Unchanged));
    assert_eq!(names(home.path()), [""; 0]);
}

#[test]
fn what_a_killed_exporter_left_is_swept_and_what_a_living_one_has_is_not() {
    let sim = SimFs::new(1);
    sim.make_dirs("/data").unwrap();
    let mut killed = Export::begin(&sim, Path::new("/data/x")).unwrap();
    fill(&mut killed).unwrap();
    let busy = crate::sweep_with("/data", Arc::new(sim.clone())).unwrap();
    assert_eq!((busy.removed.len(), busy.busy.len()), (0, 2));
    let sim = sim.kill();
    assert!(sim.dump().len() > 5);
    let swept = crate::sweep_with("/data", Arc::new(sim.clone())).unwrap();
    assert_eq!((swept.removed.len(), swept.busy.len()), (2, 0));
    assert_eq!(sim.dump().len(), 1, "{:?}", sim.dump().keys());
    // The next exporter of the same name does so by itself, and leaves those of others.
    let mut killed = Export::begin(&sim, Path::new("/data/x")).unwrap();
    fill(&mut killed).unwrap();
    let mut other = Export::begin(&sim, Path::new("/data/y")).unwrap();
    fill(&mut other).unwrap();
    let sim = sim.kill();
    export(&sim, Path::new("/data/x")).unwrap();
    let left = sim.dump().into_keys().filter(|path| path.to_string_lossy().contains("untorn-tmp"));
    let left: Vec<_> = left.collect();
    assert!(left.iter().all(|path| path.to_string_lossy().contains("/.y.")), "{left:?}");
    assert!(!left.is_empty());
}

#[test]
fn a_foreign_file_by_the_name_of_a_staged_directory_stays() {
    let sim = SimFs::new(1);
    let name = "/data/.x.0123456789abcdef.untorn-tmp.d";
    sim.put(name, b"whose?").unwrap();
    let swept = crate::sweep_with("/data", Arc::new(sim.clone())).unwrap();
    assert!(swept.removed.is_empty());
    assert_eq!(sim.read(name).unwrap(), b"whose?");
}

#[test]
fn without_rename_noreplace_it_still_replaces_nothing() {
    let sim = SimFs::new(1).without(crate::sim::Capability::RenameNoReplace);
    sim.make_dirs("/data").unwrap();
    let begun = Export::begin(&sim, Path::new("/data/x")).unwrap();
    export(&sim, Path::new("/data/x")).unwrap();
    assert_eq!(begun.finish(about()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    verified(&sim).unwrap();
}

#[test]
fn a_changed_byte_and_a_changed_length_are_damage() {
    for file in ["/data/x/data/a", "/data/x/data/log/1.seg"] {
        let sim = disk();
        verified(&sim).unwrap();
        sim.flip_bit(file, 11).unwrap();
        let error = verified(&sim).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Damaged, Some(Path::new(file))));
        let error = import(&sim, Path::new("/data/x"), Path::new("/data/y")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        sim.put(file, b"ab").unwrap();
        assert_eq!(verified(&sim).unwrap_err().kind(), ErrorKind::Damaged);
        let names = sim.dump().into_keys().filter(|path| path.parent() == Some(Path::new("/data")));
        assert_eq!(names.collect::<Vec<_>>(), [Path::new("/data/x")]);
    }
}

#[test]
fn what_the_manifest_does_not_name_is_refused() {
    let changes: [fn(&SimFs); 6] = [
        |sim| sim.put("/data/x/data/b", b"").unwrap(),
        |sim| sim.put("/data/x/other", b"").unwrap(),
        |sim| sim.make_dirs("/data/x/data/empty").unwrap(),
        |sim| sim.symlink("a", "/data/x/data/link").unwrap(),
        |sim| sim.symlink("data", "/data/x/more").unwrap(),
        |sim| sim.put("/data/x/data/a\n", b"").unwrap(),
    ];
    for change in changes {
        let sim = disk();
        change(&sim);
        assert_eq!(verified(&sim).unwrap_err().kind(), ErrorKind::ArtifactInvalid);
        let error = import(&sim, Path::new("/data/x"), Path::new("/data/y")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArtifactInvalid);
    }
}

#[test]
fn a_symlink_in_place_of_a_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let dest = home.path().join("x");
    export(&OsFs::new(), &dest).unwrap();
    fs::rename(dest.join("data/a"), home.path().join("a")).unwrap();
    symlink(home.path().join("a"), dest.join("data/a")).unwrap();
    assert_eq!(verify(&dest).unwrap_err().kind(), ErrorKind::ArtifactInvalid);
    fs::remove_file(dest.join("data/a")).unwrap();
    assert_eq!(verify(&dest).unwrap_err().kind(), ErrorKind::Damaged); // now it is missing
    fs::rename(dest.join(MANIFEST), home.path().join("m")).unwrap();
    assert_eq!(verify(&dest).unwrap_err().kind(), ErrorKind::NotOurs);
    symlink(home.path().join("m"), dest.join(MANIFEST)).unwrap();
    assert_eq!(verify(&dest).unwrap_err().kind(), ErrorKind::ArtifactInvalid);
    assert_eq!(verify(home.path().join("a")).unwrap_err().kind(), ErrorKind::NotOurs);
}

#[test]
fn another_backend_is_not_imported() {
    let sim = disk();
    for (ours, kind) in [
        (("untorn-other", "1"), ErrorKind::ArtifactInvalid),
        (("untorn-test", "0"), ErrorKind::NewerFormat),
    ] {
        let error = Import::open(&sim, Path::new("/data/x"), ours).unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    let sim = SimFs::new(1);
    sim.make_dirs("/data").unwrap();
    sim.set_capacity(Some(200_000));
    let error = export(&sim, Path::new("/data/x")).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    assert_eq!(sim.dump().len(), 1, "{:?}", sim.dump().keys());
    sim.set_capacity(None);
    export(&sim, Path::new("/data/x")).unwrap();
}

#[test]
fn a_directory_that_cannot_be_synced_is_told_before_anything_is_published() {
    let sim = SimFs::new(1).without(crate::sim::Capability::DirSync);
    sim.make_dirs("/data").unwrap();
    let error = export(&sim, Path::new("/data/x")).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Unsupported, Outcome::Unchanged));
    assert_eq!(sim.dump().len(), 1, "{:?}", sim.dump().keys());
}

#[test]
fn a_failed_sync_of_the_parent_is_unknown() {
    let sim = SimFs::new(1);
    sim.make_dirs("/data").unwrap();
    sim.inject(Fault::new(FaultKind::Io).on_path("/data").on(crate::sim::CallKind::SyncDir));
    let error = export(&sim, Path::new("/data/x")).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    verified(&sim).unwrap(); // this time it is there
}

#[test]
fn syncs_are_counted() {
    use crate::fs::SyncSite::{ArtifactDir, ArtifactFile, ArtifactParent};
    let sim = SimFs::new(1);
    sim.make_dirs("/data").unwrap();
    let meter = crate::sim::Meter::new(Arc::new(sim));
    let syncs = |act: &dyn Fn()| {
        meter.reset();
        act();
        let counts = meter.counts();
        let sites = [ArtifactFile, ArtifactDir, ArtifactParent].map(|site| counts.syncs_at(site));
        assert_eq!(counts.total_syncs(), sites.iter().sum::<u64>());
        sites
    };
    // Two files and the manifest; `data`, `data/log` and the artifact itself.
    let export = || drop(export(&meter, Path::new("/data/x")).unwrap());
    assert_eq!(syncs(&export), [3, 3, 1]);
    let import = || import(&meter, Path::new("/data/x"), Path::new("/data/y")).unwrap();
    assert_eq!(syncs(&import), [2, 2, 1]);
    let fs = || Arc::new(meter.clone());
    let verify = || drop(verify_with("/data/x", fs(), |_| {}).unwrap());
    assert_eq!(syncs(&verify), [0, 0, 0]);
    let abandon = || fill(&mut Export::begin(&meter, Path::new("/data/z")).unwrap()).unwrap();
    assert_eq!(syncs(&abandon), [2, 0, 0]);
}

/// What a manifest with these changes is refused with.
fn refused(changes: &[(&str, serde_json::Value)]) -> ErrorKind {
    let file = serde_json::json!({"path": "data/a", "size": 3, "blake3": "0".repeat(64)});
    let mut manifest = serde_json::json!({
        "schema_version": 3, "backend": "untorn-test", "backend_version": "1", "cursor_hex": "",
        "created_at_unix": 0, "files": [file],
    });
    for (field, value) in changes {
        manifest[field] = value.clone();
    }
    parse(manifest.to_string().as_bytes())
}

fn parse(bytes: &[u8]) -> ErrorKind {
    let sim = SimFs::new(1);
    sim.put("/x/MANIFEST.json", bytes).unwrap();
    match read_manifest_with("/x", Arc::new(sim)) {
        Ok(_) => ErrorKind::Io, // stands for "not refused"
        Err(error) => error.kind(),
    }
}

#[test]
fn manifests_that_break_a_rule_are_refused() {
    use serde_json::json;
    let invalid = ErrorKind::ArtifactInvalid;
    let file = |path: &str| json!({"path": path, "size": 0, "blake3": "0".repeat(64)});
    assert_eq!(refused(&[]), ErrorKind::Io, "the plain one is no error");
    assert_eq!(refused(&[("schema_version", json!(4))]), ErrorKind::NewerFormat);
    let newer = [("schema_version", json!(4)), ("novelty", json!([1]))];
    assert_eq!(refused(&newer), ErrorKind::NewerFormat, "before its fields are looked at");
    assert_eq!(refused(&[("schema_version", json!(2))]), invalid, "not of this backend");
    assert_eq!(refused(&[("schema_version", json!(0))]), invalid);
    for (field, value) in [
        ("novelty", json!(1)),
        ("backend", json!("")),
        ("backend", json!("a b")),
        ("backend_version", json!("x".repeat(65))),
        ("cursor_hex", json!("abc")),
        ("cursor_hex", json!("AB")),
        ("files", json!([file("data/../a")])),
        ("files", json!([file("data/a"), file("data/a")])),
        ("files", json!([file("data/a"), file("data/A")])),
        ("files", json!([file("data/a"), file("data/a/b")])),
        ("files", json!([{"path": "data/a", "size": 0, "blake3": "0".repeat(63)}])),
        ("files", json!([{"path": "data/a", "size": 0, "blake3": "A".repeat(64)}])),
        ("files", json!([{"path": "data/a", "size": -1, "blake3": "0".repeat(64)}])),
        ("files", json!([{"path": "data/a", "size": 0, "blake3": "0".repeat(64), "mode": 1}])),
        (
            "files",
            json!([{"path": "data/a", "size": u64::MAX, "blake3": "0".repeat(64)},
                         {"path": "data/b", "size": 1, "blake3": "0".repeat(64)}]),
        ),
    ] {
        assert_eq!(refused(&[(field, value.clone())]), invalid, "{field}: {value}");
    }
    for bytes in [&b""[..], b"{", b"[]", b"{}", b"{\"schema_version\":3}", b"\xff", &[b'['; 5000]] {
        assert_eq!(parse(bytes), invalid, "{bytes:?}");
    }
    let many: Vec<_> = (0..100_001).map(|n| file(&format!("data/{n}"))).collect();
    assert_eq!(refused(&[("files", json!(many))]), invalid);
}

#[test]
fn a_manifest_above_the_limit_is_not_read() {
    let sim = SimFs::new(1);
    let mut bytes = br#"{"schema_version":3,"backend":"x","backend_version":"1","cursor_hex":"",
        "created_at_unix":0,"files":[]}"#
        .to_vec();
    bytes.resize(16 << 20, b' ');
    let read = |bytes: &[u8]| {
        sim.put("/x/MANIFEST.json", bytes).unwrap();
        read_manifest_with("/x", Arc::new(sim.clone())).map(drop).map_err(|e| e.kind())
    };
    assert_eq!(read(&bytes), Ok(()));
    bytes.push(b' ');
    assert_eq!(read(&bytes), Err(ErrorKind::ArtifactInvalid));
}

#[test]
fn progress_counts_bytes() {
    let sim = disk();
    let mut seen = Vec::new();
    verify_with("/data/x", Arc::new(sim), |bytes| seen.push(bytes)).unwrap();
    assert_eq!(seen, [3, 300_003]);
}

#[test]
fn detail_and_scope_come_back() {
    let sim = SimFs::new(1);
    sim.make_dirs("/data").unwrap();
    let detail = BTreeMap::from([("lineage".to_owned(), "x".to_owned())]);
    let scope = Some(vec!["users/".to_owned()]);
    let about = About { detail: detail.clone(), scope: scope.clone(), ..about() };
    Export::begin(&sim, Path::new("/data/x")).unwrap().finish(about).unwrap();
    let manifest = verified(&sim).unwrap();
    assert_eq!((manifest.detail, manifest.scope), (detail, scope));
}

/// An artifact of an older program, with these bytes as its only file.
fn older(sim: &SimFs, scope: Option<Vec<String>>, files: &[&str]) -> Result<Manifest> {
    let mut export = Export::begin(sim, Path::new("/data/x"))?;
    for path in files {
        let mut file = export.file(path)?;
        file.write_all(b"PGSS").map_err(|e| Error::stream("write", e))?;
        file.finish()?;
    }
    let cursor = vec![0, 0, 0, 0, 0, 0, 0, 7];
    let (backend, backend_version) = ("append-log", "2");
    export.finish_older(About { backend, backend_version, cursor, scope, ..About::default() })
}

#[test]
fn artifacts_of_an_older_program_are_written_and_verified() {
    for (scope, schema) in [(None, 1), (Some(vec!["a.".to_owned(), String::new()]), 2)] {
        let sim = SimFs::new(1);
        sim.make_dirs("/data").unwrap();
        let made = older(&sim, scope.clone(), &["data/fold.snap"]).unwrap();
        assert_eq!((made.schema_version, &made.scope), (schema, &scope));
        assert_eq!(verified(&sim).unwrap(), made);
        let text = String::from_utf8(sim.read("/data/x/MANIFEST.json").unwrap()).unwrap();
        assert!(!text.contains("detail") && text.contains("scope") == (schema == 2), "{text}");
        let known = [("untorn-fold", "1"), ("append-log", "2")];
        let import = Import::open_any(&sim, Path::new("/data/x"), &known).unwrap();
        assert_eq!(import.file("data/fold.snap").unwrap().stat().unwrap().len, 4);
        assert_eq!(import.file("data/other").unwrap_err().kind(), ErrorKind::ArtifactInvalid);
        let of = |known| Import::open(&sim, Path::new("/data/x"), known).unwrap_err().kind();
        assert_eq!(of(("append-log", "3")), ErrorKind::NewerFormat);
        assert_eq!(of(("fjall", "2")), ErrorKind::ArtifactInvalid);
        sim.put("/data/x/data/fold.snap", b"PGST").unwrap();
        assert_eq!(verified(&sim).unwrap_err().kind(), ErrorKind::Damaged);
        assert_eq!(import.file("data/fold.snap").unwrap_err().kind(), ErrorKind::Damaged);
    }
    for files in [&[][..], &["data/fold"], &["data/fold.snap", "data/more"]] {
        let sim = SimFs::new(1);
        sim.make_dirs("/data").unwrap();
        let error = older(&sim, None, files).unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::ArtifactInvalid, Outcome::Unchanged)
        );
        assert_eq!(sim.dump().len(), 1, "{:?}", sim.dump().keys());
    }
}

#[test]
fn manifests_of_an_older_program_that_break_a_rule_are_refused() {
    use serde_json::{Value, json};
    let file = |path: &str| json!({"path": path, "size": 3, "blake3": "0".repeat(64)});
    let schema = |schema: u32, changes: &[(&str, Value)]| {
        let mut all = vec![
            ("schema_version", json!(schema)),
            ("backend", json!("append-log")),
            ("backend_version", json!("2")),
            ("files", json!([file("data/fold.snap")])),
        ];
        if schema == 2 {
            all.push(("scope", json!(["a."])));
        }
        refused(&[&all[..], changes].concat())
    };
    let invalid = ErrorKind::ArtifactInvalid;
    let good = ErrorKind::Io; // stands for "not refused"
    for number in [1, 2] {
        assert_eq!(schema(number, &[]), good);
        for (field, value) in [
            ("novelty", json!(1)),
            ("detail", json!({})),
            ("backend", json!("untorn-fold")),
            ("backend", json!("sled")),
            ("cursor_hex", json!("0g")),
            ("cursor_hex", json!("0")),
            ("cursor_hex", json!("AB")),
            ("files", json!([])),
            ("files", json!([file("data/other")])),
            ("files", json!([file("data/fold.snap"), file("data/fold.snap2")])),
            ("files", json!([file("../fold.snap")])),
            ("scope", if number == 1 { json!([]) } else { Value::Null }),
            ("scope", json!("a")),
            ("scope", json!([1])),
            ("created_at_unix", json!(-1)),
            ("backend_version", json!(2)),
        ] {
            assert_eq!(schema(number, &[(field, value.clone())]), invalid, "{field}: {value}");
        }
        // The others have files of their own.
        for backend in ["fjall", "rocksdb"] {
            let files = json!([file("data/a"), file("data/b/c")]);
            let changes = [("backend", json!(backend)), ("files", files)];
            assert_eq!(schema(number, &changes), good);
        }
    }
    assert_eq!(schema(2, &[("scope", json!([]))]), good);
}

#[test]
fn an_older_manifest_has_a_lower_limit() {
    let file = format!(r#"{{"path":"data/fold.snap","size":0,"blake3":"{}"}}"#, "0".repeat(64));
    let mut bytes = format!(
        r#"{{"schema_version":1,"backend":"append-log","backend_version":"2","cursor_hex":"",
        "created_at_unix":0,"files":[{file}]}}"#
    )
    .into_bytes();
    bytes.resize(1 << 20, b' ');
    assert_eq!(parse(&bytes), ErrorKind::Io, "no error");
    bytes.push(b' ');
    assert_eq!(parse(&bytes), ErrorKind::ArtifactInvalid);
}
