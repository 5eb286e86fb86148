//! `convert`, and what the other commands say of artifacts.

use std::fs;
use std::path::Path;

use crate::{check, complaint, temporaries};

/// A frame of the old form; `payload` begins with the sequence.
fn frame(version: u32, payload: &[u8], crc: u32) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&version.to_le_bytes(), &length.to_le_bytes(), &crc.to_le_bytes(), payload].concat()
}

/// "\x01one", "\x02two", "\x03three", "\x05five".
fn frames() -> [Vec<u8>; 4] {
    [
        frame(5, b"\x01one", ONE),
        frame(5, b"\x02two", TWO),
        frame(5, b"\x03three", THREE),
        frame(5, b"\x05five", FIVE),
    ]
}

const ONE: u32 = 0x1cd5_e79a;
const TWO: u32 = 0x65c6_44e3;
const THREE: u32 = 0xb7b1_fce5;
const FIVE: u32 = 0x1334_6bba;

const PAIR: [&str; 5] = ["convert", "--from", "actionqueue-wal", "--to", "log"];

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    PAIR.into_iter().chain(more.iter().copied()).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_old_log_becomes_a_log() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fs::write(dir.join("old"), frames()[..3].concat()).unwrap();
    let told = check(dir, &args(&["old", "new", "--json"]), 0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["records"], &told["bytes"]), (&3.into(), &11.into()));
    assert_eq!(told["runs"].to_string(), "[[1,3,1]]");
    assert!(told["torn"].is_null());
    assert_eq!(check(dir, &["log", "cat", "new", "--seq"], 0), "1\tone\n2\ttwo\n3\tthree\n");
    check(dir, &["verify", "new"], 0);
    assert_eq!(names(dir), ["new", "old"]);
    // The log goes on where the old one ended.
    assert_eq!(crate::check_fed(dir, &["log", "append", "new"], b"four", 0), "4\n");
}

#[test]
fn a_torn_end_is_left_out_and_said() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let mut bytes = frames()[..3].concat();
    bytes.pop();
    fs::write(dir.join("old"), &bytes).unwrap();
    let said = complaint(dir, &args(&["old", "new"]), 0);
    assert!(said.contains("torn record at offset 32, 17 bytes"), "{said}");
    assert_eq!(check(dir, &["log", "cat", "new"], 0), "one\ntwo\n");
}

#[test]
fn what_cannot_be_converted_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let [one, two, three, five] = frames();
    let mut flipped = [&one[..], &two, &three].concat();
    flipped[20] ^= 1;
    for (bytes, exit, words) in [
        (flipped, 4, "offset 16"),
        ([&one[..], &three].concat(), 4, "sequence 2"),
        (two.clone(), 4, "sequence 1"),
        ([&one[..], &frame(6, b"\x02two", TWO)].concat(), 10, "version 6"),
        (b"no log, but some text that is long enough".to_vec(), 10, "version 5"),
    ] {
        fs::write(dir.join("old"), &bytes).unwrap();
        let said = complaint(dir, &args(&["old", "new"]), exit);
        assert!(said.contains(words), "{said}");
        assert_eq!(names(dir), ["old"]);
        assert_eq!(fs::read(dir.join("old")).unwrap(), bytes);
    }
    fs::write(dir.join("old"), [one, three, five].concat()).unwrap();
    let shown = check(dir, &args(&["old", "new", "--allow-gaps"]), 0);
    assert!(shown.contains("3 to 3 are 2 to 2") && shown.contains("5 to 5 are 3 to 3"), "{shown}");
    assert_eq!(check(dir, &["log", "cat", "new"], 0), "one\nthree\nfive\n");
}

#[test]
fn a_destination_that_exists_and_a_pair_that_does_not_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fs::write(dir.join("old"), frames()[0].clone()).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    for dest in ["empty", "old", "empty/"] {
        check(dir, &args(&["old", dest, "--json"]), 12);
    }
    check(dir, &args(&["missing", "new", "--json"]), 3);
    check(dir, &args(&["old", "no/new", "--json"]), 3);
    let said = complaint(dir, &["convert", "--from", "x", "--to", "log", "old", "new"], 2);
    assert!(said.contains("--from actionqueue-wal --to log"), "{said}");
    assert_eq!(names(dir), ["empty", "old"]);
    // The help lists every pair that the refusal does.
    let help = check(dir, &["convert", "--help"], 0);
    for pair in said.split("--from ").skip(1) {
        let mut words = pair.split([' ', ',', '\n']);
        let (from, to) = (words.next().unwrap(), words.nth(1).unwrap());
        let listed = help.lines().any(|line| {
            let mut words = line.split_whitespace();
            (words.next(), words.next()) == (Some(from), Some(to))
        });
        assert!(listed, "{from} {to}: {help}");
    }
}

/// An artifact of one file, as a store exports it.
fn artifact(dir: &Path) {
    fs::create_dir_all(dir.join("data")).unwrap();
    fs::write(dir.join("data/x"), "abc").unwrap();
    let digest = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    let manifest = format!(
        r#"{{"schema_version": 3, "backend": "untorn-journal", "backend_version": "1", "cursor_hex": "2a",
            "created_at_unix": 1767225600, "files": [{{"path": "data/x", "size": 3, "blake3": "{digest}"}}],
            "detail": {{"records": "12"}}}}"#
    );
    fs::write(dir.join("MANIFEST.json"), manifest).unwrap();
}

#[test]
fn an_artifact_is_told_and_verified() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    artifact(&dir.join("a"));
    let shown = check(dir, &["inspect", "a"], 0);
    assert!(
        shown.contains("an artifact of untorn-journal") && shown.contains("records     12"),
        "{shown}"
    );
    let told: serde_json::Value =
        serde_json::from_str(&check(dir, &["inspect", "a", "--json"], 0)).unwrap();
    assert_eq!((&told["what"], &told["bytes"]), (&"artifact".into(), &3.into()));
    assert_eq!(told["manifest"]["files"][0]["path"], "data/x");
    let shown = check(dir, &["verify", "a"], 0);
    assert!(shown.contains("sound; an artifact of untorn-journal, 1 files of 3 B"), "{shown}");
    fs::write(dir.join("a/data/x"), "abd").unwrap();
    check(dir, &["verify", "a", "--json"], 4);
    fs::write(dir.join("a/data/x"), "abc").unwrap();
    fs::write(dir.join("a/data/y"), "").unwrap();
    check(dir, &["verify", "a", "--json"], 10);
    fs::remove_file(dir.join("a/data/y")).unwrap();
    check(dir, &["verify", "a"], 0);
    let manifest = fs::read_to_string(dir.join("a/MANIFEST.json")).unwrap();
    let newer = manifest.replace("\"schema_version\": 3", "\"schema_version\": 9");
    fs::write(dir.join("a/MANIFEST.json"), newer).unwrap();
    check(dir, &["inspect", "a", "--json"], 10);
    check(dir, &["verify", "a", "--json"], 10);
}

#[test]
fn a_staged_directory_is_told_and_swept() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let name = ".out.0123456789abcdef.untorn-tmp.d";
    fs::create_dir_all(dir.join(name).join("data/log")).unwrap();
    fs::write(dir.join(name).join("data/log/x"), "y").unwrap();
    assert!(check(dir, &["inspect", name], 0).contains("begun to become out"));
    assert!(check(dir, &["inspect", "."], 0).contains("1 are temporaries"));
    assert!(check(dir, &["sweep", "."], 0).contains(name));
    assert_eq!((names(dir).len(), temporaries(dir).len()), (0, 0));
}
