//! `snap`, and what the other commands say of snapshots.

use std::fs;

use crate::{check, check_fed, complaint, temporaries};

/// What the library writes for `{"a":1}`: docs/FORMAT.md.
const FRAME: &[u8] = b"\x04\0\0\0\x07\0\0\0\xaf\xac\x1b\x56{\"a\":1}";

#[test]
fn put_writes_what_the_library_does_and_get_prints_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // A bare file name, in the directory where the command runs.
    check_fed(dir, &["snap", "put", "s"], b" { \"a\" : 1 }\n", 0);
    assert_eq!(fs::read(dir.join("s")).unwrap(), FRAME);
    assert_eq!(check(dir, &["snap", "get", "s"], 0), "{\"a\":1}\n");
    assert_eq!(check(dir, &["snap", "get", "s", "--raw"], 0), "{\"a\":1}");
    let told = check_fed(dir, &["snap", "put", "s", "--json"], b"[\"z\", {\"y\":1, \"x\":2}]", 0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["layout"], &told["payload_bytes"]), (&"frame".into(), &19.into()));
    assert_eq!(check(dir, &["snap", "get", "s"], 0), "[\"z\",{\"y\":1,\"x\":2}]\n");

    let big = format!("[{}0]", "1234567890, ".repeat(300_000));
    check_fed(dir, &["snap", "put", "b", "--layout", "blocks"], big.as_bytes(), 0);
    let stored = fs::read(dir.join("b")).unwrap();
    assert!(stored.starts_with(b"UNTORNS1"));
    assert_eq!(check(dir, &["snap", "get", "b"], 0), format!("{}\n", big.replace(' ', "")));
    assert_eq!(temporaries(dir), [""; 0]);
}

#[test]
fn what_is_no_json_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    check_fed(dir, &["snap", "put", "s"], b"{\"a\":1}", 0);
    for text in ["", "{", "1 2", "{'a':1}"] {
        check_fed(dir, &["snap", "put", "s", "--json"], text.as_bytes(), 2);
    }
    assert_eq!(fs::read(dir.join("s")).unwrap(), FRAME);
    assert_eq!(temporaries(dir), [""; 0]);
    check_fed(dir, &["snap", "put", ".", "--json"], b"1", 2);
    fs::create_dir(dir.join("d")).unwrap();
    check_fed(dir, &["snap", "put", "d", "--json"], b"1", 12);
    check(dir, &["snap", "get", "d", "--json"], 12);
    check(dir, &["snap", "put", "s", "--layout", "no-such"], 2);
}

#[test]
fn show_and_inspect_tell_what_the_headers_say() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    check_fed(dir, &["snap", "put", "f"], b"{\"a\":1}", 0);
    check_fed(dir, &["snap", "put", "b", "--layout", "blocks"], b"{\"a\":1}", 0);
    let value = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&check(dir, args, 0)).unwrap()
    };
    for command in [&["snap", "show"][..], &["snap", "verify"], &["inspect"], &["verify"]] {
        let of = |name| value(&[command, &[name, "--json"]].concat());
        let (frame, blocks) = (of("f"), of("b"));
        assert_eq!((&frame["what"], &frame["layout"]), (&"snapshot".into(), &"frame".into()));
        assert_eq!((&frame["version"], &frame["stored_bytes"]), (&4.into(), &19.into()));
        assert!(frame["codec"].is_null());
        assert_eq!((&blocks["layout"], &blocks["codec"]), (&"blocks".into(), &"json".into()));
        assert_eq!((&blocks["payload_bytes"], &blocks["stored_bytes"]), (&7.into(), &183.into()));
    }
    assert!(check(dir, &["snap", "show", "b"], 0).contains("codec    json"));
    assert!(check(dir, &["inspect", "b"], 0).contains("a snapshot, layout blocks"));
    assert!(check(dir, &["snap", "verify", "f"], 0).contains("sound"));
    assert!(check(dir, &["verify", "f"], 0).contains("sound"));
}

#[test]
fn damage_is_exit_4_and_another_version_exit_10() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for layout in ["frame", "blocks"] {
        check_fed(dir, &["snap", "put", "s", "--layout", layout], b"{\"a\":1}", 0);
        let whole = fs::read(dir.join("s")).unwrap();
        let payload = if layout == "frame" { 12 } else { 144 };
        let mut bad = whole.clone();
        bad[payload] ^= 1;
        fs::write(dir.join("s"), &bad).unwrap();
        for command in [&["snap", "verify", "s"][..], &["snap", "get", "s"], &["verify", "s"]] {
            check(dir, &[command, &["--json"]].concat(), 4);
            let told = complaint(dir, command, 4);
            assert!(told.contains("offset") && !told.contains("untorn recover"), "{told}");
        }
        // The headers are good.
        check(dir, &["snap", "show", "s"], 0);
        fs::write(dir.join("s"), &whole[..whole.len() - 1]).unwrap();
        check(dir, &["snap", "show", "s", "--json"], 4);
        check(dir, &["verify", "s", "--json"], 4);
    }
    fs::write(dir.join("s"), "").unwrap();
    check(dir, &["snap", "get", "s", "--json"], 4);
    fs::write(dir.join("s"), "a plain file, and not a short one").unwrap();
    check(dir, &["snap", "show", "s", "--json"], 10);
    assert!(check(dir, &["inspect", "s"], 0).contains("a plain file"));
    check(dir, &["verify", "s", "--json"], 10);

    check_fed(dir, &["snap", "put", "s", "--frame-version", "9"], b"1", 0);
    check(dir, &["snap", "get", "s", "--json"], 10);
    assert_eq!(check(dir, &["snap", "get", "s", "--frame-version", "9"], 0), "1\n");
}

#[test]
fn other_codecs_are_printed_only_raw() {
    use untorn::codec::Raw;
    use untorn::snapshot::{Layout, SnapshotFsWriter, SnapshotOptions, SnapshotWriter as _};
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for layout in [Layout::Frame, Layout::Blocks] {
        let options = SnapshotOptions::with_codec(Raw).layout(layout);
        let mut writer = SnapshotFsWriter::with(dir.join("s"), options).unwrap();
        writer.write(&b"\x01not json".to_vec()).unwrap();
        writer.close().unwrap();
        check(dir, &["snap", "get", "s", "--json"], 12);
        assert!(complaint(dir, &["snap", "get", "s"], 12).contains("--raw"));
        assert_eq!(check(dir, &["snap", "get", "s", "--raw"], 0), "\x01not json");
    }
}
