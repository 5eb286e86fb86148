//! Artifacts: what either exports the other takes.

use slipstream::{AppendLogSnapshot, FjallConfig, FjallSnapshot, SnapshotStore};
use untorn::fold::{WatchCursor, pgss};
use untorn::{ErrorKind, artifact};

use crate::files::{cursors, entries, fill, filled, fs, open, ours, theirs};

#[test]
fn what_they_export_we_verify_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut store) = open(&dir.path().join("edge.snap"));
    fill(&mut store);
    let dest = dir.path().join("artifact");
    let said = store.export_to(&dest).unwrap();
    assert_eq!((said.schema_version, said.scope), (1, None));
    let manifest = artifact::verify(&dest).unwrap();
    assert_eq!((manifest.schema_version, &*manifest.backend), (1, "append-log"));
    assert_eq!((&*manifest.cursor_hex, &manifest.scope), ("000000000000000b", &None));
    let (manifest, image) = pgss::read_artifact(&dest, fs()).unwrap();
    assert_eq!(manifest.cursor, WatchCursor::from_u64(11));
    assert_eq!(manifest.created_at_unix, said.created_at_unix);
    assert_eq!(manifest.files[0].blake3, said.files[0].blake3);
    assert_eq!(ours(&image), filled());
}

/// Their other backend: its files verify, and are not taken for what they are not.
#[test]
fn an_artifact_of_their_tree_verifies_and_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = FjallConfig { cache_size_bytes: 1 << 20, ..FjallConfig::default() };
    let (_, mut store) = FjallSnapshot::open(&dir.path().join("tree"), config).unwrap();
    fill(&mut store);
    let dest = dir.path().join("artifact");
    store.export_to(&dest).unwrap();
    let manifest = artifact::verify(&dest).unwrap();
    assert_eq!((&*manifest.backend, manifest.files.len() > 1), ("fjall", true));
    let error = pgss::read_artifact(&dest, fs()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ArtifactInvalid);
    assert!(error.to_string().contains("fjall"), "{error}");
}

#[test]
fn what_we_export_they_import() {
    for cursor in cursors() {
        for scope in [None, Some(vec![String::new()]), Some(vec!["a.".to_owned(), "b".to_owned()])]
        {
            let dir = tempfile::tempdir().unwrap();
            let dest = dir.path().join("artifact");
            let made =
                pgss::write_artifact(entries(&filled()), &cursor, scope.clone(), &dest, fs());
            assert_eq!(made.unwrap().schema_version, if scope.is_some() { 2 } else { 1 });
            let path = dir.path().join("edge.snap");
            let (at, mut store) = AppendLogSnapshot::import(&dest, &path, u64::MAX).unwrap();
            assert_eq!((at.to_bytes(), theirs(&store)), (cursor.to_bytes(), filled()));
            // And back.
            let again = dir.path().join("again");
            store.export_to(&again).unwrap();
            let (manifest, image) = pgss::read_artifact(&again, fs()).unwrap();
            assert_eq!((manifest.cursor, ours(&image)), (cursor.clone(), filled()));
        }
    }
}

#[test]
fn an_empty_fold_goes_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut store) = open(&dir.path().join("edge.snap"));
    let (theirs_at, ours_at) = (dir.path().join("theirs"), dir.path().join("ours"));
    store.export_to(&theirs_at).unwrap();
    let (manifest, image) = pgss::read_artifact(&theirs_at, fs()).unwrap();
    assert!(manifest.cursor.is_none() && image.is_empty());
    pgss::write_artifact([], &WatchCursor::none(), None, &ours_at, fs()).unwrap();
    let path = dir.path().join("imported");
    let (cursor, store) = AppendLogSnapshot::import(&ours_at, &path, u64::MAX).unwrap();
    assert!(cursor.is_none() && theirs(&store).is_empty());
}
