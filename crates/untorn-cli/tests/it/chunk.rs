//! `chunk`, and what the other commands say of parts.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;

use serde_json::Value;
use untorn::chunked::{AtomicChunked, ChunkedOptions, FileResource, Identity, ResourceExt as _};

use crate::fetch::content;
use crate::{check, complaint, run_in, untorn};

const LEN: usize = 1 << 20;
const CHUNK: u64 = 4096;

/// Claims `f` in `dir`, a file of `LEN` bytes.
fn open(dir: &Path) -> AtomicChunked<FileResource> {
    let identity = Identity::new().len(LEN as u64).etag("\"5f3-a1\"").source("http://h/f");
    let options = ChunkedOptions::new().identity(identity).chunk_size(CHUNK);
    AtomicChunked::open_with(dir.join("f"), options, |path, _| FileResource::open(path)).unwrap()
}

fn write(part: &AtomicChunked<FileResource>, range: Range<usize>) {
    part.write_at(range.start as u64, &content(LEN)[range]).unwrap();
}

/// A part with these bytes, that nobody owns.
fn suspended(dir: &Path, ranges: &[Range<usize>]) {
    let part = open(dir);
    for range in ranges {
        write(&part, range.clone());
    }
    part.suspend().unwrap();
}

fn json(dir: &Path, args: &[&str], exit: i32) -> Value {
    serde_json::from_str(&check(dir, &[args, &["--json"]].concat(), exit)).unwrap()
}

fn spawn(dir: &Path, args: &[&str]) -> Child {
    let mut command = untorn(args);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn status_is_what_the_manual_shows() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    suspended(dir, &[0..8192, 500_000..600_000]);
    let text = check(dir, &["chunk", "status", "f", "--json"], 0);
    assert_eq!(
        text,
        "{\"schema\":\"untorn.chunk.v1\",\"state\":\"active\",\"len\":1048576,\"trusted\":108192,\
         \"missing\":940384,\"holder\":null,\"etag\":\"\\\"5f3-a1\\\"\"}\n"
    );
    // Who names the part means the file.
    assert_eq!(check(dir, &["chunk", "status", "f.part", "--json"], 0), text);
    assert_eq!(check(dir, &["inspect", "f.part", "--json"], 0), text);
    let told = check(dir, &["chunk", "status", "f"], 0);
    for words in ["105.66 KiB of 1.00 MiB", "etag     \\\"5f3-a1", "http://h/f", "held by nobody"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let part = open(dir);
    let held = json(dir, &["chunk", "status", "f"], 0);
    assert_eq!(held["holder"]["pid"], std::process::id());
    assert!(check(dir, &["who", "f.part"], 0).contains("held by process"));
    check(dir, &["chunk", "repair", "f", "--json"], 11);
    check(dir, &["chunk", "abandon", "f", "--yes", "--json"], 11);
    write(&part, 0..LEN);
    part.commit(None).unwrap();
    let whole = json(dir, &["chunk", "status", "f"], 0);
    assert_eq!((&whole["state"], &whole["missing"]), (&"committed".into(), &0.into()));
}

#[test]
fn map_prints_ranges_and_draws_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    suspended(dir, &[0..LEN / 2, 900_000..900_001]);
    let output = run_in(dir, &["chunk", "map", "f"], b"");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0..524288\n900000..900001\n");
    let bar = String::from_utf8(output.stderr).unwrap();
    assert!(bar.starts_with("f [########") && bar.contains("...] 50.0 %"), "{bar}");
    let lines = check(dir, &["chunk", "map", "f", "--json"], 0);
    assert_eq!(lines, "{\"start\":0,\"end\":524288}\n{\"start\":900000,\"end\":900001}\n");
}

#[test]
fn cat_prints_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    suspended(dir, &[0..100_000, 200_000..LEN]);
    let output = run_in(dir, &["chunk", "cat", "f"], b"");
    assert_eq!(output.status.code(), Some(12));
    assert!(output.stdout == content(LEN)[..100_000]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--follow"));
    let output = run_in(dir, &["chunk", "cat", "f", "--range", "200000..2M"], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == content(LEN)[200_000..]);
    // Nobody will ever bring the rest.
    let told = complaint(dir, &["chunk", "cat", "--follow", "f"], 12);
    assert!(told.contains("nobody fills it"), "{told}");
}

/// It prints what is durable while the writer still works, and ends well only when the file is committed.
#[test]
fn cat_follows_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let part = open(dir);
    write(&part, 0..300_000);
    part.checkpoint().unwrap();
    let mut child = spawn(dir, &["chunk", "cat", "-f", "f"]);
    let mut stdout = child.stdout.take().unwrap();
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        use std::io::Read as _;
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let len = stdout.read(&mut piece).unwrap();
            all.extend_from_slice(&piece[..len]);
            if len == 0 {
                return all;
            }
            // The test may have seen enough.
            let _heard = send.send(all.len()).is_ok();
        }
    });
    while receive.recv().unwrap() < 300_000 {}
    write(&part, 600_000..LEN);
    part.checkpoint().unwrap();
    write(&part, 300_000..600_000);
    part.commit(None).unwrap();
    let printed = reader.join().unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), printed.len()), (Some(0), LEN), "{told}");
    assert!(printed == content(LEN));
}

#[test]
fn wait_ends_when_the_bytes_are_there_or_nobody_brings_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let part = open(dir);
    write(&part, 0..5000);
    part.checkpoint().unwrap();
    check(dir, &["chunk", "wait", "f", "--range", "0..5000"], 0);
    check(dir, &["chunk", "wait", "f", "--timeout", "0", "--json"], 1);
    check(dir, &["chunk", "wait", "f", "--range", "2M..3M", "--json"], 12);
    let mut child = spawn(dir, &["chunk", "wait", "f"]);
    write(&part, 5000..LEN);
    part.commit(None).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    check(dir, &["chunk", "wait", "f"], 0);

    // The old file is no answer to those who wait for the new one.
    let part = open(dir);
    write(&part, 0..5000);
    part.checkpoint().unwrap();
    let mut child = spawn(dir, &["chunk", "wait", "f"]);
    part.abandon().unwrap();
    let code = child.wait().unwrap().code();
    // It may have come too late to see that somebody filled it.
    assert!(code == Some(12) || code == Some(0), "{code:?}");
    suspended(dir, &[0..2048, 2048..4096]);
    check(dir, &["chunk", "wait", "f", "--json"], 12);
}

#[test]
fn verify_names_damage_and_repair_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    suspended(dir, &[0..10 * 4096, 500_000..510_000]);
    assert_eq!(json(dir, &["chunk", "verify", "f"], 0)["trusted"], 50_960);
    check(dir, &["chunk", "repair", "f"], 0);
    let data = fs::OpenOptions::new().write(true).open(dir.join("f.part/data")).unwrap();
    data.write_all_at(b"!", 5 * 4096 + 77).unwrap();
    for command in [&["chunk", "verify", "f"][..], &["verify", "f.part"]] {
        let output = run_in(dir, command, b"");
        assert_eq!(output.status.code(), Some(4));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "damaged 20480..24576\n");
        assert!(String::from_utf8_lossy(&output.stderr).contains("untorn chunk repair"));
    }
    let done = json(dir, &["chunk", "repair", "f"], 5);
    assert_eq!((&done["trusted"], &done["dropped"]), (&46_864.into(), &4096.into()));
    assert_eq!(check(dir, &["chunk", "map", "f"], 0), "0..20480\n24576..40960\n500000..510000\n");
    check(dir, &["chunk", "verify", "f"], 0);
    // What is left can be gone on with.
    let part = open(dir);
    assert_eq!(part.next_gap(0, LEN as u64), Some(20_480..24_576));
    write(&part, 20_480..24_576);
    write(&part, 40_960..LEN);
    part.commit(None).unwrap();
    assert!(fs::read(dir.join("f")).unwrap() == content(LEN));
    check(dir, &["chunk", "verify", "f", "--json"], 3);
    check(dir, &["chunk", "repair", "f", "--json"], 3);
}

#[test]
fn abandon_says_first_what_goes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("f"), "old").unwrap();
    suspended(dir, &[0..4096, 4096..8192]);
    assert_eq!(check(dir, &["chunk", "abandon", "f"], 0), "would drop 8.00 KiB of f\n");
    assert_eq!(check(dir, &["chunk", "map", "f"], 0), "0..8192\n");
    assert_eq!(json(dir, &["chunk", "abandon", "f", "--yes"], 0)["trusted"], 8192);
    assert!(!dir.join("f.part").exists());
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"old");
    check(dir, &["chunk", "abandon", "f", "--yes", "--json"], 3);
}

#[test]
fn what_is_no_part_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("f.part")).unwrap();
    fs::write(dir.join("f.part/x"), "").unwrap();
    for command in ["status", "map", "cat", "wait", "verify", "repair"] {
        check(dir, &["chunk", command, "f", "--json"], 10);
    }
    check(dir, &["chunk", "abandon", "f", "--yes", "--json"], 10);
    check(dir, &["sweep", "."], 0);
    assert!(check(dir, &["inspect", "f.part"], 0).contains("a directory of 1 names"));
    assert!(dir.join("f.part/x").exists());
}

#[test]
fn sweep_keeps_what_can_be_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    suspended(dir, &[0..4096, 4096..8192]);
    // As a process leaves it that died before the first checkpoint.
    fs::create_dir(dir.join("g.part")).unwrap();
    fs::write(dir.join("g.part/LOCK"), "untorn-part 1\n").unwrap();
    fs::write(dir.join("g.part/data"), "bytes").unwrap();
    let options = ChunkedOptions::new();
    let held = AtomicChunked::open_with(dir.join("h"), options, |path, _| FileResource::open(path));
    let held = held.unwrap();
    let swept = json(dir, &["sweep", "."], 0);
    let of = |what: &str| swept[what].clone();
    assert_eq!(of("removed"), serde_json::json!(["./g.part"]));
    assert_eq!(of("busy"), serde_json::json!(["./h.part"]));
    assert_eq!(of("kept"), serde_json::json!(["./f.part"]));
    assert!(!dir.join("g.part").exists() && dir.join("h.part").exists());
    assert_eq!(json(dir, &["sweep", ".", "--older-than", "30d"], 0)["kept"][0], "./f.part");
    assert!(check(dir, &["sweep", ".", "--older-than", "0d"], 0).contains("removed ./f.part"));
    assert!(!dir.join("f.part").exists());
    held.abandon().unwrap();
    assert!(!dir.join("h").exists() && !dir.join("g").exists());
}
