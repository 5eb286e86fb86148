//! Artifacts of folds, numbers 12 and 27 of the list of failures: what is exported is one state; what is hostile is refused, and
//! nothing is left where it should have been. That uploads and pointers keep their order, 26, is with the remote artifacts.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::fold::{
    AppendLogSnapshot, CursorOrder, ExportOptions, FoldOptions, ImportOptions, KvUpdate, Lineage,
    SnapshotStore, SyncScope, VersionToken, WatchCursor,
};
use untorn::fs::OsFs;
use untorn::sim::{Fault, FaultKind};
use untorn::{ErrorKind, Outcome};

use super::fold_kit::{All, PATH, all, at, delete, disk, kind, open, options, put, temporaries};

fn lineage(id: &str) -> Lineage {
    Lineage { kind: "test".into(), id: id.as_bytes().to_vec() }
}

/// A fold with a base of several blocks and something above it.
fn fill(fold: &mut AppendLogSnapshot) {
    fold.set_lineage(lineage("source")).unwrap();
    let updates: Vec<_> = (1..=200_u64).map(|n| put(&format!("k{n:03}"), [7; 80], n)).collect();
    fold.apply(&updates, &at(200)).unwrap();
    fold.compact_all().unwrap();
    fold.apply(&[put("k001", [8; 2000], 201), delete("k002", 202)], &at(210)).unwrap();
}

/// An artifact on the real file system, and what it has.
struct Whole {
    home: tempfile::TempDir,
    state: All,
}

impl Whole {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut fold = AppendLogSnapshot::open(&home.path().join("f"), u64::MAX).unwrap().1;
        fill(&mut fold);
        fold.export(&home.path().join("x"), &ExportOptions::new().digest(true)).unwrap();
        Self { state: all(&fold), home }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A copy of the artifact, to be changed.
    fn copy(&self) -> PathBuf {
        let to = self.at("y");
        drop(std::fs::remove_dir_all(&to));
        std::fs::create_dir_all(to.join("data")).unwrap();
        for name in ["MANIFEST.json", "data/base", "data/tail"] {
            std::fs::copy(self.at("x").join(name), to.join(name)).unwrap();
        }
        to
    }

    fn manifest(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.at("x/MANIFEST.json")).unwrap()).unwrap()
    }

    /// The changed copy is refused, and nothing is left of the attempt.
    #[track_caller]
    fn refused(&self, artifact: &Path, what: &str) {
        self.refused_as(ErrorKind::ArtifactInvalid, artifact, what);
    }

    #[track_caller]
    fn refused_as(&self, kind: ErrorKind, artifact: &Path, what: &str) {
        let dest = self.at("new");
        let error = AppendLogSnapshot::import(artifact, &dest, u64::MAX).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert_eq!(error.outcome(), Outcome::Unchanged, "{what}: {error}");
        assert!(std::fs::symlink_metadata(&dest).is_err(), "{what}");
        let left = std::fs::read_dir(self.home.path()).unwrap();
        let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<_> = left.filter(|name| !["f", "x", "y", "z"].contains(&&**name)).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }

    #[track_caller]
    fn refused_manifest(&self, what: &str, change: impl Fn(&mut serde_json::Value)) {
        self.refused_manifest_as(ErrorKind::ArtifactInvalid, what, change);
    }

    #[track_caller]
    fn refused_manifest_as(
        &self,
        kind: ErrorKind,
        what: &str,
        change: impl Fn(&mut serde_json::Value),
    ) {
        let to = self.copy();
        let mut manifest = self.manifest();
        change(&mut manifest);
        std::fs::write(to.join("MANIFEST.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
        self.refused_as(kind, &to, what);
    }
}

/// Puts the length and the digest of a file right in its manifest.
fn declare(artifact: &Path, name: &str) {
    let path = artifact.join("MANIFEST.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let bytes = std::fs::read(artifact.join(name)).unwrap();
    for file in manifest["files"].as_array_mut().unwrap() {
        if file["path"] == name {
            file["size"] = bytes.len().into();
            file["blake3"] = blake3::hash(&bytes).to_hex().as_str().into();
        }
    }
    std::fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// 12: what is exported is the state as of the snapshot, whatever comes meanwhile, and is never written again.
#[test]
fn n12_an_export_is_one_state_while_it_is_written() {
    let sim = disk();
    let mut fold = open(&sim);
    fill(&mut fold);
    let (state, seen) = (all(&fold), fold.snapshot());
    let fs: Arc<dyn untorn::fs::Fs> = Arc::new(sim.clone());
    std::thread::scope(|scope| {
        let export = scope.spawn(|| {
            seen.export("/d/x".as_ref(), &ExportOptions::new().digest(true), &fs).unwrap()
        });
        for n in 300..340_u64 {
            fold.apply(&[put(&format!("k{:03}", n % 200), "later", n)], &at(n)).unwrap();
            if n.is_multiple_of(10) {
                fold.compact_all().unwrap();
            }
        }
        let manifest = export.join().unwrap();
        assert_eq!((manifest.cursor, manifest.entries), (at(210), 199));
    });
    let import = ImportOptions::new().open(options(&sim));
    let (cursor, copy) =
        AppendLogSnapshot::import_with("/d/x".as_ref(), "/d/copy".as_ref(), &import).unwrap();
    assert_eq!((all(&copy), cursor, copy.lineage()), (state, at(210), Some(lineage("source"))));
    let before = sim.read("/d/x/MANIFEST.json").unwrap();
    assert_eq!(kind(fold.export_to("/d/x".as_ref())), ErrorKind::AlreadyExists);
    assert_eq!(kind(fold.export_to("/d/copy".as_ref())), ErrorKind::AlreadyExists);
    assert_eq!(sim.read("/d/x/MANIFEST.json").unwrap(), before);
}

/// 12: where a call fails, there is nothing at the destination, and what was staged can be swept.
#[test]
fn n12_a_broken_export_or_import_leaves_nothing() {
    for import in [false, true] {
        let mut failed = 0;
        for call in 1.. {
            let sim = disk();
            let mut fold = open(&sim);
            fill(&mut fold);
            fold.export_to("/d/x".as_ref()).unwrap();
            let first = sim.calls();
            sim.inject(Fault::new(FaultKind::Io).at_call(first + call));
            let dest = Path::new("/d/y");
            let result = if import {
                let options = ImportOptions::new().open(options(&sim));
                AppendLogSnapshot::import_with("/d/x".as_ref(), dest, &options).map(drop)
            } else {
                fold.export_to(dest).map(drop)
            };
            if sim.calls() < first + call {
                break;
            }
            sim.clear_faults();
            if result.as_ref().is_err_and(|error| error.outcome() == Outcome::Unchanged) {
                failed += 1;
                let there = sim.dump().contains_key(dest);
                // An import that was published may still fail to be opened.
                let opened =
                    import && options(&sim).open(dest).is_ok_and(|(cursor, _)| cursor == at(210));
                assert!(!there || opened, "call {call}: {result:?}");
            }
            drop(fold);
            let sim = sim.kill();
            untorn::sweep_with("/d", Arc::new(sim.clone())).unwrap();
            let left: Vec<_> =
                temporaries(&sim).into_iter().filter(|path| path.starts_with("/d/.")).collect();
            assert!(left.is_empty(), "call {call}: {left:?}");
            assert_eq!(options(&sim).open(PATH).unwrap().0, at(210));
        }
        assert!(failed > 20, "{failed}");
    }
}

/// 12: what is above the base of an artifact has its own cursor: it may be of a source whose positions began anew, or have no order.
#[test]
fn n12_the_tail_has_the_cursor_wherever_it_went() {
    for order in [CursorOrder::Bytes, CursorOrder::Opaque] {
        let sim = disk();
        let options = || options(&sim).cursor_order(order);
        let mut fold = options().open(PATH).unwrap().1;
        fill(&mut fold);
        if order == CursorOrder::Bytes {
            let scope = SyncScope::all().of_new_lineage(lineage("another"));
            let token = fold.begin_sync(scope).unwrap();
            fold.sync_apply(&token, &[put("k001", "of the new one", 3)]).unwrap();
            fold.finish_sync(token, &at(5)).unwrap();
        } else {
            let version = VersionToken::from_raw(&[1; 3]).unwrap();
            let update = KvUpdate::put("k001", "of no order", version);
            fold.apply(&[update], &WatchCursor::from_raw(&[2; 3]).unwrap()).unwrap();
        }
        let manifest = fold.export(Path::new("/d/x"), &ExportOptions::new().digest(true)).unwrap();
        assert!(manifest.files.iter().any(|file| file.path == "data/tail"));
        let import = ImportOptions::new().open(options());
        let (cursor, mut copy) =
            AppendLogSnapshot::import_with("/d/x".as_ref(), "/d/y".as_ref(), &import).unwrap();
        assert_eq!((all(&copy), cursor), (all(&fold), fold.cursor()));
        assert_eq!(copy.lineage(), fold.lineage());
        // And it is gone on with there, as it is here.
        for fold in [&mut fold, &mut copy] {
            let next = if order == CursorOrder::Bytes { at(6) } else { at(1) };
            fold.apply(&[put("k001", "next", 6)], &next).unwrap();
            assert_eq!(fold.get("k001").unwrap().unwrap().value, b"next");
        }
    }
}

/// 27: names that lead out, and sizes of any kind.
#[test]
fn n27_hostile_manifests() {
    let whole = Whole::new();
    let (_, fold) = AppendLogSnapshot::import(&whole.at("x"), &whole.at("z"), u64::MAX).unwrap();
    assert_eq!(all(&fold), whole.state, "as it is, it is sound");
    for path in [
        "data/../../escape",
        "../escape",
        "/etc/passwd",
        "data//base",
        "data/./base",
        "data",
        "data/",
        "base",
        "data\\base",
        "data/base\0",
        "",
        "data/base/..",
        "MANIFEST.json",
        "data/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/base",
    ] {
        whole.refused_manifest(path, |manifest| manifest["files"][0]["path"] = path.into());
        whole.refused_manifest(path, |manifest| {
            let mut more = manifest["files"][0].clone();
            more["path"] = path.into();
            manifest["files"].as_array_mut().unwrap().push(more);
        });
    }
    for size in [0, 1, 1_u64 << 60] {
        whole.refused_manifest_as(ErrorKind::Damaged, "size", |manifest| {
            manifest["files"][0]["size"] = size.into();
        });
    }
    whole.refused_manifest("more than there can be", |manifest| {
        manifest["files"][0]["size"] = 1.into();
        manifest["files"][1]["size"] = u64::MAX.into();
    });
    for other in ["data/base", "data/BASE"] {
        whole.refused_manifest(other, |manifest| {
            let mut again = manifest["files"][0].clone();
            again["path"] = other.into();
            manifest["files"].as_array_mut().unwrap().push(again);
        });
    }
    whole.refused_manifest_as(ErrorKind::Damaged, "digest", |manifest| {
        manifest["files"][0]["blake3"] = "0".repeat(64).into();
    });
    whole.refused_manifest("no digest", |manifest| manifest["files"][0]["blake3"] = "".into());
    whole.refused_manifest("no files", |manifest| manifest["files"] = serde_json::json!([]));
    whole.refused_manifest("entries", |manifest| manifest["detail"]["entries"] = "many".into());
    whole.refused_manifest("backend", |manifest| manifest["backend"] = "untorn-log".into());
    let path = whole.copy();
    for text in ["", "{", "[]", "null", &"[".repeat(1 << 16), "{\"schema_version\":3}"] {
        std::fs::write(path.join("MANIFEST.json"), text).unwrap();
        whole.refused(&path, &text[..text.len().min(30)]);
    }
}

/// 27: a manifest that says of sound files what they are not.
#[test]
fn n27_a_manifest_of_another_state() {
    let whole = Whole::new();
    for cursor in ["00000000000000d1", "00000000000000d3", "00000000000003e8", "", "01", "zz", "0"]
    {
        whole.refused_manifest(cursor, |manifest| manifest["cursor_hex"] = cursor.into());
    }
    whole.refused_manifest("another digest", |manifest| {
        manifest["detail"]["digest_hex"] = "0".repeat(64).into();
    });
    whole.refused_manifest("another source", |manifest| {
        manifest["detail"]["lineage_id_hex"] = "00".into();
    });
    whole.refused_manifest("no source", |manifest| {
        let detail = manifest["detail"].as_object_mut().unwrap();
        detail.remove("lineage_kind");
        detail.remove("lineage_id_hex");
    });
    whole.refused_manifest("without its tail", |manifest| {
        manifest["files"].as_array_mut().unwrap().retain(|file| file["path"] != "data/tail");
    });
}

/// 27: directories that are not what their manifest says, and files that are and are nothing.
#[test]
fn n27_hostile_directories() {
    let whole = Whole::new();
    let path = whole.copy();
    std::fs::write(path.join("data/more"), "not declared").unwrap();
    whole.refused(&path, "a file that is not declared");
    let path = whole.copy();
    std::fs::write(path.join("more"), "beside the manifest").unwrap();
    whole.refused(&path, "a file beside the manifest");
    // Files that do not agree with it are damage: it was sound once.
    let path = whole.copy();
    std::fs::remove_file(path.join("data/tail")).unwrap();
    whole.refused_as(ErrorKind::Damaged, &path, "the tail is missing");
    let path = whole.copy();
    std::fs::remove_file(path.join("data/base")).unwrap();
    symlink(whole.at("x/data/base"), path.join("data/base")).unwrap();
    whole.refused(&path, "a link to the same bytes");
    let path = whole.copy();
    std::fs::rename(path.join("data"), path.join("elsewhere")).unwrap();
    symlink("elsewhere", path.join("data")).unwrap();
    whole.refused(&path, "a link to the directory");
    let path = whole.copy();
    let mut bytes = std::fs::read(path.join("data/base")).unwrap();
    bytes[700] ^= 1;
    std::fs::write(path.join("data/base"), &bytes).unwrap();
    whole.refused_as(ErrorKind::Damaged, &path, "a changed byte");

    // What follows has the digests that the manifest says.
    for name in ["data/base", "data/tail"] {
        let whole_bytes = std::fs::read(whole.at("x").join(name)).unwrap();
        for bytes in [
            Vec::new(),
            vec![0; 4096],
            vec![0xa5; 64],
            whole_bytes[..whole_bytes.len() - 1].to_vec(),
        ] {
            let path = whole.copy();
            std::fs::write(path.join(name), &bytes).unwrap();
            declare(&path, name);
            whole.refused(&path, &format!("{name} of {} bytes of nothing", bytes.len()));
        }
        for spot in (0..whole_bytes.len()).step_by(97) {
            let path = whole.copy();
            let mut bytes = whole_bytes.clone();
            bytes[spot] ^= 0x10;
            std::fs::write(path.join(name), &bytes).unwrap();
            declare(&path, name);
            // The manifest has a digest of the entries, too, so that there is no byte that may be another.
            let dest = whole.at("new");
            match AppendLogSnapshot::import(&path, &dest, u64::MAX) {
                Ok((_, fold)) => {
                    assert_eq!(all(&fold), whole.state, "{name} at {spot}");
                    fold.close().unwrap();
                    std::fs::remove_dir_all(&dest).unwrap();
                }
                Err(error) => {
                    let known = [ErrorKind::ArtifactInvalid, ErrorKind::NewerFormat];
                    assert!(known.contains(&error.kind()), "{name} at {spot}: {error}");
                    assert!(!dest.exists(), "{name} at {spot}");
                }
            }
        }
    }
    // A tail and a base of two folds.
    let other = Whole::new();
    for name in ["data/base", "data/tail"] {
        let path = whole.copy();
        std::fs::copy(other.at("x").join(name), path.join(name)).unwrap();
        declare(&path, name);
        whole.refused(&path, name);
    }
}

/// What was not asked for is refused before anything is copied.
#[test]
fn n27_an_artifact_that_is_too_large_or_of_another_source() {
    let whole = Whole::new();
    let dest = whole.at("new");
    let import = |options: &ImportOptions| {
        AppendLogSnapshot::import_with(&whole.at("x"), &dest, options).map(drop)
    };
    let options = || ImportOptions::new().open(FoldOptions::new().fs(Arc::new(OsFs::new())));
    assert_eq!(kind(import(&options().max_bytes(1000))), ErrorKind::ArtifactInvalid);
    assert_eq!(kind(import(&options().expect_lineage(lineage("x")))), ErrorKind::LineageMismatch);
    assert!(!dest.exists());
    std::fs::create_dir_all(dest.join("something")).unwrap();
    assert_eq!(kind(import(&options())), ErrorKind::AlreadyExists);
    std::fs::remove_dir_all(&dest).unwrap();
    import(&options().expect_lineage(lineage("source"))).unwrap();
}
