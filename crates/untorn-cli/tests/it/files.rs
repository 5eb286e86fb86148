//! `put`, `get` and what looks at files.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Mounted, check, check_fed, complaint, temporaries, untorn};

#[test]
fn put_replaces_and_get_prints() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let big = vec![b'x'; 3 << 20];
    check_fed(dir, &["put", "a"], b"one", 0);
    assert_eq!(check(dir, &["get", "a"], 0), "one");
    check_fed(dir, &["put", "a", "--mode", "600"], &big, 0);
    assert_eq!(check(dir, &["get", "a"], 0).len(), big.len());
    assert_eq!(fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
    let told = check_fed(dir, &["put", "a", "--json"], b"two", 0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["bytes"], 3);
    assert_eq!(temporaries(dir), [""; 0]);
}

#[test]
fn put_if_absent_the_second_time_is_a_precondition() {
    let dir = tempfile::tempdir().unwrap();
    check_fed(dir.path(), &["put", "--if-absent", "id"], b"first", 0);
    check_fed(dir.path(), &["put", "--if-absent", "id", "--json"], b"second", 12);
    assert_eq!(check(dir.path(), &["get", "id"], 0), "first");
}

#[test]
fn put_if_match_replaces_only_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let of = |told: String| -> String {
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        told["blake3"].as_str().unwrap().to_owned()
    };
    let first = of(check_fed(dir, &["put", "a", "--json"], b"first", 0));
    assert_eq!(first, of(check(dir, &["inspect", "a", "--json"], 0)));
    check_fed(dir, &["put", "a", "--if-match", &first], b"second", 0);
    check_fed(dir, &["put", "a", "--if-match", &first, "--json"], b"third", 12);
    check_fed(dir, &["put", "nothing", "--if-match", &first], b"third", 12);
    assert_eq!(check(dir, &["get", "a"], 0), "second");
}

#[test]
fn a_symlink_is_followed_unless_told_not_to() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::os::unix::fs::symlink("target", dir.join("link")).unwrap();
    check_fed(dir, &["put", "link"], b"x", 0);
    assert_eq!(fs::read(dir.join("target")).unwrap(), b"x");
    check_fed(dir, &["put", "--no-follow", "link"], b"y", 12);
    assert_eq!(fs::read(dir.join("target")).unwrap(), b"x");
}

#[test]
fn an_interrupted_put_publishes_nothing() {
    for signal in [Signal::INT, Signal::TERM] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        check_fed(dir, &["put", "a"], b"old", 0);
        let mut child = untorn(&["put", "a"])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // More than the pipe holds: when this returns, it has begun to read, and listens for signals since before that.
        stdin.write_all(&vec![b'n'; 1 << 20]).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{:?}", output.status);
        assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
        drop(stdin);
        assert_eq!(fs::read(dir.join("a")).unwrap(), b"old");
        assert_eq!(temporaries(dir), [""; 0]);
    }
}

#[test]
fn what_a_killed_put_left_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join(".a.untorn-tmp"), "not ours by its name").unwrap();
    let mut child = untorn(&["put", "a"]).current_dir(dir).stdin(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while temporaries(dir).len() < 2 && started.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
    let busy = complaint(dir, &["sweep", "."], 0);
    assert!(busy.contains("its writer lives"), "{busy}");
    child.kill().unwrap();
    child.wait().unwrap();
    let found = temporaries(dir).into_iter().find(|name| name != ".a.untorn-tmp").unwrap();
    assert!(check(dir, &["inspect", &found], 0).contains("begun to become a"));
    let swept = check(dir, &["sweep", "."], 0);
    assert!(swept.contains(&found), "{swept}");
    assert_eq!(temporaries(dir), [".a.untorn-tmp"]);
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::tmpfs(dir.path(), "size=1m") else { return };
    check_fed(dir.path(), &["put", "a"], b"old", 0);
    check_fed(dir.path(), &["put", "a", "--json"], &vec![b'n'; 4 << 20], 74);
    assert_eq!(check(dir.path(), &["get", "a"], 0), "old");
    assert_eq!(temporaries(dir.path()), [""; 0]);
}

#[test]
fn a_read_only_directory_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::tmpfs(dir.path(), "ro") else { return };
    check_fed(dir.path(), &["put", "a", "--json"], b"x", 74);
    check_fed(dir.path(), &["log", "append", "l", "--json"], b"x", 74);
    check(dir.path(), &["probe", ".", "--json"], 74);
    check(dir.path(), &["prove", "--quick", "--json"], 74);
}

#[test]
fn inspect_and_verify_tell_what_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("plain"), "x").unwrap();
    assert!(check(dir, &["inspect", "plain"], 0).contains("a plain file"));
    assert!(check(dir, &["inspect", "."], 0).contains("not a store"));
    check(dir, &["verify", "plain", "--json"], 10);
    check(dir, &["verify", ".", "--json"], 10);
    check(dir, &["who", "plain", "--json"], 10);
    check(dir, &["recover", ".", "--json"], 10);
    check(dir, &["get", "."], 12);
    let probe = check(dir, &["probe", "--json"], 0);
    let probe: serde_json::Value = serde_json::from_str(&probe).unwrap();
    assert_eq!(probe["locks"], true);
}
