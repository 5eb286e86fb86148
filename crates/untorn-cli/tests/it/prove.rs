//! `prove`, and that it finds what is broken on purpose.

use std::fs;

use untorn::fs::SyncSite;

use crate::{check, complaint};

#[test]
fn a_quick_run_finds_nothing_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let args = [
        "prove", "--quick", "--json", "--seed", "7", "--kills", "6", "--states", "2000",
        "--report", "r.html",
    ];
    let told = check(dir, &args, 0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["schema"], &told["seed"], &told["ok"]),
        (&"untorn.prove.v1".into(), &7.into(), &true.into())
    );
    assert!(told["dir_fs"].is_string());
    let stores = told["stores"].as_array().unwrap();
    assert_eq!(stores.len(), 8);
    assert!(stores.iter().any(|store| store["store"] == "journal" && store["log_per_s"].is_u64()));
    for store in stores {
        assert_eq!(store["kills"], 6, "{store}");
        for none in ["lost", "torn", "violations"] {
            assert_eq!(store[none], 0, "{store}");
        }
        for some in ["acknowledged", "crash_states", "synced_per_s"] {
            assert!(store[some].as_u64().unwrap() > 0, "{some}: {store}");
        }
        assert!(
            store["faults"].is_u64() && store["ratio_to_raw"].as_f64().unwrap() > 0.0,
            "{store}"
        );
    }
    let page = fs::read_to_string(dir.join("r.html")).unwrap();
    assert!(page.contains("Crash matrix") && page.contains("--seed 7"));
    assert!(page.contains("fill and commit, 1 MiB"));
    assert!(page.contains("persist 16 x 4 KiB and sync"));
    assert!(!page.contains("http"), "nothing from the network");
    assert!(page.is_ascii());
    let names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["r.html"]);
}

#[test]
fn every_sync_that_is_left_out_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let sites = check(dir, &["prove", "--without-sync", "list"], 0);
    let names: Vec<&str> = SyncSite::ALL.into_iter().map(SyncSite::name).collect();
    assert_eq!(sites.lines().collect::<Vec<_>>(), names);
    for name in names {
        let told =
            check(dir, &["prove", "--without-sync", name, "--quick", "--json", "--seed", "1"], 4);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["ok"], false, "{name}");
        let stores = told["stores"].as_array().unwrap();
        let evidence = stores.iter().find_map(|store| store["evidence"].as_str()).unwrap();
        let evidence = fs::read_to_string(dir.join(evidence)).unwrap();
        assert!(evidence.contains("violation") && evidence.contains(name), "{name}: {evidence}");
    }
}

#[test]
fn a_missing_directory_sync_of_a_replace_is_found_in_the_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["prove", "--without-sync", "replace-dir", "--store", "file", "--quick"];
    let shown = check(dir.path(), &args, 4);
    assert!(shown.contains("FAILED") && shown.contains("evidence: "), "{shown}");
    let told = complaint(dir.path(), &args, 4);
    assert!(told.contains("seed "), "{told}");
}

/// Many kills of the one store: most of them hit a fill, some a checkpoint, a commit or the recovery of the one before.
#[test]
fn a_chunked_file_is_killed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["prove", "--store", "chunked", "--kills", "40", "--states", "50", "--quick"];
    let told = check(dir.path(), &[&args[..], &["--json", "--seed", "5"]].concat(), 0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let store = &told["stores"][0];
    assert_eq!((&store["store"], &store["kills"]), (&"chunked".into(), &40.into()));
    assert!(store["acknowledged"].as_u64().unwrap() > 0, "{store}");
}

/// Many kills of a pool: most of them hit a write of objects or a commit, some the recovery of the one before.
#[test]
fn a_pool_is_killed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["prove", "--store", "pool", "--kills", "40", "--states", "50", "--quick"];
    let told = check(dir.path(), &[&args[..], &["--json", "--seed", "5"]].concat(), 0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let store = &told["stores"][0];
    assert_eq!((&store["store"], &store["kills"]), (&"pool".into(), &40.into()));
    assert!(store["acknowledged"].as_u64().unwrap() > 0, "{store}");
}

#[test]
fn a_chunked_file_without_a_sync_of_its_bytes_is_found_out() {
    for site in ["chunk-data", "chunk-commit"] {
        let dir = tempfile::tempdir().unwrap();
        let args = ["prove", "--without-sync", site, "--store", "chunked", "--quick"];
        let shown = check(dir.path(), &args, 4);
        assert!(shown.contains("FAILED") && shown.contains("evidence: "), "{site}: {shown}");
    }
}
