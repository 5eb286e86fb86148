//! `aof`, and what the commands for any store say of append-only files: sound, torn, damaged, held, converted.

use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use untorn::append::{AppendGroup, FileSpec, OpenOptions};

use crate::{check, check_fed, complaint, run_in, untorn};

fn numbers(range: std::ops::Range<u64>) -> String {
    range.fold(String::new(), |text, n| text + &n.to_string() + "\n")
}

/// A file of the numbers 0 to `upto`, as lines of variable size.
fn variable(dir: &Path, upto: u64) {
    check_fed(dir, &["aof", "append", "v", "--variable"], numbers(0..upto).as_bytes(), 0);
}

/// Elements of 8 bytes, which are their positions.
fn fixed(dir: &Path, upto: u64) {
    let bytes: Vec<u8> = (0..upto).flat_map(u64::to_be_bytes).collect();
    check_fed(dir, &["aof", "append", "f", "--fixed", "8", "--raw"], &bytes, 0);
}

fn value(dir: &Path, args: &[&str], exit: i32) -> Value {
    let shown = check(dir, &[args, &["--json"]].concat(), exit);
    serde_json::from_str(&shown).unwrap_or_else(|e| panic!("{e}: {shown}"))
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Every file below a directory, with its bytes. Who opened it last is no part of it, nor what the log's META says of its end.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(tree(&path));
        } else if !path.ends_with("LOCK") && !path.ends_with("log/META") {
            all.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    all.sort();
    all
}

/// Compares without printing the bytes.
#[track_caller]
fn same(found: &[(PathBuf, Vec<u8>)], expected: &[(PathBuf, Vec<u8>)], what: &str) {
    let other = found.iter().zip(expected).find(|(a, b)| a != b).map(|(a, _)| &a.0);
    assert!(found.len() == expected.len() && other.is_none(), "{what}: {other:?}");
}

/// An owner that lives until its stdin is closed. What it printed last was committed.
fn start_append(dir: &Path, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = untorn(&[&["aof", "append", "v", "--variable"], args].concat())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn read_line(from: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn lines_become_elements_and_come_out_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let append = ["aof", "append", "v", "--variable"];
    let said = check_fed(dir, &append, numbers(0..1000).as_bytes(), 0);
    assert_eq!(said, "appended 1 000 elements at 0, commit 1, 1 sync\n");
    // It is known by now what it is. An empty line is an element, the last line needs no newline.
    let said = check_fed(dir, &["aof", "append", "v"], b"\nlast", 0);
    assert_eq!(said, "appended 2 elements at 1 000, commit 2, 1 sync\n");
    assert_eq!(check(dir, &["aof", "cat", "v", "..1000"], 0), numbers(0..1000));
    assert_eq!(check(dir, &["aof", "cat", "v", "17..19", "--hex"], 0), "3137\n3138\n");
    assert_eq!(
        check(dir, &["aof", "cat", "v", "999..", "--pos"], 0),
        "999\t999\n1000\t\n1001\tlast\n"
    );
    assert_eq!(check(dir, &["aof", "cat", "v", "5", "--raw"], 0), "5");
    assert_eq!(check(dir, &["aof", "tail", "v", "-n", "1"], 0), "last\n");
    assert_eq!(check(dir, &["aof", "tail", "v", "--from-end", "2"], 0), "\nlast\n");
    assert_eq!(check(dir, &["aof", "tail", "v", "--from", "1001"], 0), "last\n");
    let show = check(dir, &["aof", "show", "v"], 0);
    assert_eq!(
        show,
        "v  variable  1 002 elements  2 894 B  first 0  commit 2  clean  codec raw  version 0\n"
    );
    // Nothing at all is no commit.
    assert_eq!(check(dir, &["aof", "append", "v"], 0), "");
    assert_eq!(check(dir, &["aof", "show", "v"], 0), show);
    // The data file has the elements and nothing else.
    let data = fs::read_to_string(dir.join("v")).unwrap();
    assert_eq!(data, numbers(0..1000).replace('\n', "") + "last");
}

#[test]
fn elements_of_fixed_size_come_as_lines_hex_or_raw() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let said = check(dir, &["aof", "create", "f", "--fixed", "4", "--version", "7"], 0);
    assert_eq!(said, "f: made, fixed 4 B, 0 elements\n");
    check_fed(dir, &["aof", "append", "f"], b"abcd\nefgh\n", 0);
    check_fed(dir, &["aof", "append", "f", "--hex"], b"00ffFF0a\n", 0);
    check_fed(dir, &["aof", "append", "f", "--raw"], b"ijklmnop", 0);
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"abcdefgh\x00\xff\xff\x0aijklmnop");
    assert!(check(dir, &["aof", "show", "f"], 0).contains("fixed 4 B  5 elements"));
    assert!(check(dir, &["aof", "show", "f"], 0).contains("version 7"));
    let before = tree(dir);
    for (args, stdin, words) in [
        (&["aof", "append", "f"][..], &b"abcd\nabc\n"[..], "line 2"),
        (&["aof", "append", "f", "--hex"], b"00ffFF0a\nxx\n", "line 2"),
        (&["aof", "append", "f", "--hex"], b"00ff\n", "line 1"),
        (&["aof", "append", "f", "--raw"], b"abcdefg", "3 bytes of an element of 4"),
    ] {
        let output = run_in(dir, args, stdin);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words) && said.contains("nothing was appended"), "{said}");
    }
    assert_eq!(check(dir, &["aof", "cat", "f"], 0).lines().count(), 6, "a newline is among them");
    assert_eq!(before.len(), tree(dir).len());
    assert_eq!(fs::read(dir.join("f")).unwrap().len(), 20);
    let json = check(dir, &["aof", "cat", "f", "1..3", "--json"], 0);
    assert_eq!(json, "{\"position\":1,\"utf8\":\"efgh\"}\n{\"position\":2,\"hex\":\"00ffff0a\"}\n");
}

#[test]
fn batches_are_commits() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let args = ["aof", "append", "v", "--variable", "--batch", "3", "--note", "block 7", "--json"];
    let said = check_fed(dir, &args, numbers(0..7).as_bytes(), 0);
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |nth: usize| (said[nth]["first"].as_u64(), said[nth]["elements"].as_u64());
    assert_eq!(
        (told(0), told(1), told(2)),
        ((Some(0), Some(3)), (Some(3), Some(3)), (Some(6), Some(1)))
    );
    assert_eq!(said[2]["commit"], 3);
    assert_eq!(check(dir, &["aof", "note", "v"], 0), "block 7\n");
    assert_eq!(value(dir, &["aof", "note", "v"], 0)["note"]["utf8"], "block 7");
    // A wrong element takes its own commit back, and no other.
    check(dir, &["aof", "create", "f", "--fixed", "1"], 0);
    let output = run_in(dir, &["aof", "append", "f", "--batch", "2"], b"a\nb\nc\ndd\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("2 elements were appended in 1 commit, the rest was not"), "{said}");
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"ab");
}

#[test]
fn elements_are_taken_back_and_dropped() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fixed(dir, 10_000);
    let said = check(dir, &["aof", "rewind", "f", "9000"], 0);
    assert_eq!(said, "took 1 000 elements back, 9 000 elements are left, commit 2\n");
    check(dir, &["aof", "rewind", "f", "9001", "--json"], 12);
    let told = value(dir, &["aof", "rewind", "f", "8999"], 0);
    assert_eq!((&told["len"], &told["removed"]), (&8999.into(), &1.into()));
    let said = check(dir, &["aof", "drop-head", "f", "5000"], 0);
    assert!(said.starts_with("dropped 5 000 elements, the first is 5 000, "), "{said}");
    check(dir, &["aof", "cat", "f", "4999", "--json"], 12);
    check(dir, &["aof", "rewind", "f", "4000", "--json"], 12);
    check(dir, &["aof", "drop-head", "f", "4000", "--json"], 12);
    check(dir, &["aof", "drop-head", "f", "9000", "--json"], 12);
    assert_eq!(check(dir, &["aof", "cat", "f", "5000", "--hex"], 0), "0000000000001388\n");
    assert_eq!(value(dir, &["aof", "drop-head", "f", "5001"], 0)["first"], 5001);

    let list = "5001\n5003..5005\n\n8998\n";
    fs::write(dir.join("dead"), list).unwrap();
    let before = tree(dir);
    let would = check(dir, &["aof", "compact", "f", "--from", "dead", "--dry-run"], 0);
    assert_eq!(
        would,
        "would drop 4 of 3 998 elements, give back 32 B, write 31.2 KiB, positions shift\n"
    );
    same(&tree(dir), &before, "a dry run changes nothing");
    let told = value(dir, &["aof", "compact", "f", "--from", "dead", "--dry-run"], 0);
    assert_eq!(
        (&told["done"], &told["dropped"], &told["kept"]),
        (&false.into(), &4.into(), &3994.into())
    );
    let said = check_fed(dir, &["aof", "compact", "f", "--from", "-"], list.as_bytes(), 0);
    assert!(
        said.starts_with("dropped 4 of 3 998 elements, gave back 32 B, wrote 31.2 KiB"),
        "{said}"
    );
    // 5002 is the first, 5005 the next.
    let shown = check(dir, &["aof", "cat", "f", "..2", "--hex"], 0);
    assert_eq!(shown, "000000000000138a\n000000000000138d\n");
    assert_eq!(value(dir, &["aof", "show", "f"], 0)["files"][0]["len"], 3994);
    for wrong in ["x\n", "1\n1\n", "3\n1..2\n", "5..1\n"] {
        check_fed(dir, &["aof", "compact", "f", "--from", "-", "--json"], wrong.as_bytes(), 2);
    }
    check_fed(dir, &["aof", "compact", "f", "--from", "-", "--json"], b"3994\n", 12);
    check(dir, &["aof", "compact", "f", "--from", "no-list", "--json"], 3);
    assert!(check(dir, &["aof", "compact", "f", "--from", "-"], 0).contains("nothing to drop"));
    assert_eq!(value(dir, &["aof", "show", "f"], 0)["files"][0]["len"], 3994);
    check(dir, &["verify", "f"], 0);
}

#[test]
fn what_it_is_is_told() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    variable(dir, 100);
    let told = value(dir, &["aof", "show", "v"], 0);
    assert_eq!((&told["state"], &told["files"][0]["len"]), (&"clean".into(), &100.into()));
    assert!(told["files"][0]["fixed"].is_null());
    let stats = check(dir, &["aof", "stats", "v"], 0);
    for words in ["100 kept", "1 B on average", "190 B", "v.untorn", "clean", "held by nobody"] {
        assert!(stats.contains(words), "{words}: {stats}");
    }
    assert_eq!(value(dir, &["aof", "stats", "v"], 0)["files"][0]["bytes"], 190);
    assert_eq!(check(dir, &["aof", "note", "v"], 0), "");
    assert!(value(dir, &["aof", "note", "v"], 0)["note"].is_null());
    for path in ["v", "v.untorn", "./v", "v.untorn/"] {
        let shown = check(dir, &["inspect", path], 0);
        assert!(shown.contains("an append-only file") && shown.contains("100 elements"), "{shown}");
        assert!(check(dir, &["verify", path], 0).contains("sound; 100 elements in 190 B"));
        assert!(check(dir, &["who", path], 0).contains("held by nobody"));
        assert!(check(dir, &["recover", path], 0).contains("nothing to do"));
        check(dir, &["sweep", path], 0);
    }
    assert_eq!(value(dir, &["inspect", "v"], 0)["what"], "append-only file");
    assert_eq!(value(dir, &["verify", "v"], 0)["len"], 100);
    assert_eq!(value(dir, &["recover", "v"], 0)["action"], "none");
    // What is none.
    fs::write(dir.join("plain"), "abcdefgh").unwrap();
    check(dir, &["aof", "show", "plain", "--json"], 10);
    check(dir, &["aof", "cat", ".", "--json"], 10);
    check(dir, &["who", "plain", "--json"], 10);
    check(dir, &["aof", "create", "v", "--variable", "--json"], 12);
    check(dir, &["aof", "append", "v", "--fixed", "4", "--json"], 12);
    check(dir, &["aof", "append", "v", "--raw", "--json"], 2);
    assert!(check(dir, &["aof", "create", "plain", "--fixed", "4"], 0).contains("2 elements"));
    assert_eq!(check(dir, &["aof", "cat", "plain"], 0), "abcd\nefgh\n");
    // The data is gone, what belongs to it is there.
    fs::remove_file(dir.join("v")).unwrap();
    for args in
        [&["aof", "show", "v"][..], &["aof", "append", "v"], &["verify", "v"], &["recover", "v"]]
    {
        check(dir, &[args, &["--json"]].concat(), 3);
    }
    assert!(!dir.join("v").exists());
}

#[test]
fn a_damaged_byte_is_named_and_the_rest_is_read() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fixed(dir, 10_000);
    let before = fs::read(dir.join("f")).unwrap();
    flip(&dir.join("f"), 20_000);
    let output = run_in(dir, &["verify", "f"], b"");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "f: DAMAGED block 1 (offset 16 384..32 768), elements 2 048..4 096; all else good\n"
    );
    check(dir, &["aof", "verify", "f", "--json"], 4);
    let told = value(dir, &["verify", "f"], 4);
    let damage = &told["damage"];
    assert_eq!((&damage[0]["offset"], &damage[0]["bytes"]), (&16_384.into(), &16_384.into()));
    assert_eq!(damage[0]["elements"].to_string(), "[2048,4096]");
    assert_eq!(check(dir, &["aof", "cat", "f", "2047", "--hex"], 0), "00000000000007ff\n");
    assert_eq!(check(dir, &["aof", "cat", "f", "4096", "--hex"], 0), "0000000000001000\n");
    let said = complaint(dir, &["aof", "cat", "f", "3000", "--hex"], 4);
    assert!(said.contains("2048..=4095"), "{said}");
    check(dir, &["aof", "cat", "f", "--json", "--hex"], 4);

    // What can be done is said, and not done.
    let said = complaint(dir, &["recover", "f"], 4);
    for words in ["nothing was changed", "before 2 048", "lose 7 952 elements", "--salvage"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let told = value(dir, &["recover", "f", "--truncate"], 4);
    assert_eq!((&told["action"], &told["done"]), (&"truncate".into(), &false.into()));
    let would = check(dir, &["recover", "f", "--salvage", "new"], 0);
    assert!(would.contains("would write 7 952 elements") && !dir.join("new").exists(), "{would}");
    let done = check(dir, &["recover", "f", "--salvage", "new", "--yes"], 5);
    assert!(done.contains("4 096 to 9 999 are 2 048 to 7 951 there"), "{done}");
    assert!(done.contains("not readable: 2 048 elements"), "{done}");
    check(dir, &["verify", "new"], 0);
    let new = fs::read(dir.join("new")).unwrap();
    assert_eq!(new, [&before[..16_384], &before[32_768..]].concat());
    check(dir, &["recover", "f", "--salvage", "new", "--yes", "--json"], 12);
    let told = value(dir, &["recover", "f", "--salvage", "other"], 0);
    assert_eq!((&told["elements"], &told["lost"]), (&7952.into(), &2048.into()));

    let done = check(dir, &["recover", "f", "--truncate", "--yes"], 5);
    assert!(done.contains("gave up 7 952 elements") && done.contains("quarantine"), "{done}");
    assert_eq!(fs::read(dir.join("f")).unwrap(), before[..16_384]);
    check(dir, &["verify", "f"], 0);
    check_fed(dir, &["aof", "append", "f"], b"12345678", 0);
    let names = fs::read_dir(dir).unwrap().count();
    assert_eq!(names, 4, "two files and their homes, nothing left over");
}

#[test]
fn damage_of_variable_elements_is_named() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    variable(dir, 20_000);
    // 0..10 have a byte, 10..100 two, 100..1000 three, 1000..10 000 four: 4 774 ends at 2 890 + 4 * 3 774.
    flip(&dir.join("v"), 17_000);
    let said = check(dir, &["verify", "v"], 4);
    assert_eq!(
        said,
        "v: DAMAGED block 1 (offset 16 384..32 768), elements 4 373..8 470; all else good\n"
    );
    assert_eq!(check(dir, &["aof", "cat", "v", "4372"], 0), "4372\n");
    assert_eq!(check(dir, &["aof", "cat", "v", "8470"], 0), "8470\n");
    check(dir, &["aof", "cat", "v", "8469", "--json"], 4);
}

#[test]
fn a_held_file_is_locked_for_writers_and_not_for_readers() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let (mut owner, mut committed) = start_append(dir, &["--batch", "1"]);
    let mut stdin = owner.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    assert!(read_line(&mut committed).starts_with("appended 1 element at 0"));
    let said = complaint(dir, &["aof", "append", "v"], 11);
    assert!(said.contains(&format!("process {}", owner.id())), "{said}");
    fs::write(dir.join("dead"), "0").unwrap();
    for args in [
        &["aof", "rewind", "v", "0"][..],
        &["aof", "drop-head", "v", "0"],
        &["aof", "compact", "v", "--from", "dead"],
        &["aof", "note", "v"],
        &["aof", "export-sizes", "v", "sizes"],
        &["recover", "v"],
        &["convert", "--from", "append", "v", "--to", "grin", "new", "--size-file", "sizes"],
    ] {
        check(dir, &[args, &["--json"]].concat(), 11);
    }
    assert!(check(dir, &["who", "v"], 0).contains("held by process"));
    assert_eq!(check(dir, &["aof", "cat", "v"], 0), "one\n");
    assert_eq!(value(dir, &["aof", "show", "v"], 0)["state"], "open");
    check(dir, &["verify", "v"], 0);
    // SIGTERM: what was committed stays, the file is closed in order.
    stdin.write_all(b"two\nthr").unwrap();
    assert!(read_line(&mut committed).starts_with("appended 1 element at 1"));
    kill_process(Pid::from_child(&owner), Signal::TERM).unwrap();
    assert_eq!(owner.wait().unwrap().code(), Some(1));
    assert_eq!(check(dir, &["aof", "cat", "v"], 0), "one\ntwo\n");
    assert_eq!(value(dir, &["aof", "show", "v"], 0)["state"], "clean");
    drop(stdin);
}

#[test]
fn a_killed_append_loses_nothing_that_was_told() {
    for round in 0..4_u64 {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        let (mut child, mut stdout) = start_append(dir, &["--batch", "7", "--json"]);
        let mut stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            // Ends when the killed reader is gone.
            for n in 0_u64.. {
                if writeln!(stdin, "{n}").is_err() {
                    break;
                }
            }
        });
        for _ in 0..=round * 40 {
            read_line(&mut stdout);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        feeder.join().unwrap();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        let told = rest.lines().filter(|line| line.ends_with('}')).count() as u64;
        let told = 7 * (round * 40 + 1 + told);
        assert_eq!(value(dir, &["aof", "show", "v"], 0)["state"], "not closed");
        let found = check(dir, &["aof", "cat", "v"], 0);
        let len = found.lines().count() as u64;
        assert!(len >= told && len.is_multiple_of(7), "{told} told, {len} there");
        assert_eq!(found, numbers(0..len), "in order, and none torn");
        // Looking changed nothing; what would be done is said before it is.
        let would = value(dir, &["recover", "v", "--dry-run"], 0);
        assert_eq!((&would["action"], &would["done"]), (&"heal".into(), &false.into()), "{would}");
        assert_eq!(value(dir, &["aof", "show", "v"], 0)["state"], "not closed");
        if round % 2 == 0 {
            let said = check(dir, &["recover", "v"], 0);
            assert!(said.contains("again from the log"), "{said}");
            assert!(said.contains("nothing that was acknowledged is lost"), "{said}");
            assert!(check(dir, &["recover", "v"], 0).contains("nothing to do"));
        }
        let output = run_in(dir, &["aof", "append", "v"], b"more\n");
        assert_eq!(output.status.code(), Some(0));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("again from the log"), round % 2 == 1, "{said}");
        assert_eq!(check(dir, &["aof", "cat", "v"], 0), numbers(0..len) + "more\n");
        assert_eq!(value(dir, &["aof", "show", "v"], 0)["state"], "clean");
    }
}

#[test]
fn a_torn_tail_is_healed_and_reported() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fixed(dir, 100);
    // A writer that dies behind a commit, as its process does; something lies behind the end.
    let mut file = OpenOptions::<Vec<u8>>::new().fixed(8).open(dir.join("f")).unwrap();
    file.append(b"12345678").unwrap();
    file.flush().unwrap();
    drop(file);
    let data = fs::OpenOptions::new().write(true).open(dir.join("f")).unwrap();
    data.write_all_at(b"torn!", 101 * 8).unwrap();
    drop(data);
    let said = complaint(dir, &["verify", "f"], 0);
    assert!(said.contains("5 bytes behind the end"), "{said}");
    let would = check(dir, &["recover", "f", "--dry-run"], 0);
    assert!(
        would.starts_with("would heal: ") && would.contains("5 bytes behind the end"),
        "{would}"
    );
    assert_eq!(fs::metadata(dir.join("f")).unwrap().len(), 101 * 8 + 5);
    let said = check(dir, &["recover", "f"], 0);
    assert!(said.contains("cut 5 bytes behind the end") && said.contains("a copy is in"), "{said}");
    assert_eq!(fs::metadata(dir.join("f")).unwrap().len(), 101 * 8);
    assert_eq!(value(dir, &["aof", "stats", "f"], 0)["files"][0]["len"], 101);
    check(dir, &["recover", "f", "--dry-run", "--yes"], 2);
}

#[test]
fn what_a_foreign_program_added_is_taken_only_when_told() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fixed(dir, 10);
    let mut data = fs::OpenOptions::new().append(true).open(dir.join("f")).unwrap();
    data.write_all(b"foreign!").unwrap();
    drop(data);
    check(dir, &["aof", "append", "f", "--json"], 12);
    let said = complaint(dir, &["recover", "f"], 12);
    assert!(said.contains("--adopt --yes"), "{said}");
    assert_eq!(value(dir, &["recover", "f", "--adopt"], 0)["done"], false);
    let said = check(dir, &["recover", "f", "--adopt", "--yes"], 0);
    assert!(said.contains("took over 1 element"), "{said}");
    assert_eq!(check(dir, &["aof", "cat", "f", "10"], 0), "foreign!\n");
    // And what it cut off is missed.
    fs::OpenOptions::new().write(true).open(dir.join("f")).unwrap().set_len(44).unwrap();
    check(dir, &["verify", "f"], 4);
    let said = complaint(dir, &["recover", "f"], 4);
    assert!(said.contains("cut 44 bytes off it") && said.contains("--adopt --yes"), "{said}");
    let said = check(dir, &["recover", "f", "--adopt", "--yes"], 5);
    assert!(said.contains("gave up 6 elements"), "{said}");
    assert_eq!(value(dir, &["verify", "f"], 0)["len"], 5);
    check(dir, &["recover", ".", "--adopt", "--json"], 12);
}

#[test]
fn tail_follows_another_process() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let (mut owner, mut committed) = start_append(dir, &["--batch", "1"]);
    let mut stdin = owner.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    read_line(&mut committed);
    let mut tail = untorn(&["aof", "tail", "v", "-f", "--json"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(tail.stdout.take().unwrap());
    assert_eq!(read_line(&mut shown), r#"{"position":0,"utf8":"one"}"#);
    stdin.write_all(b"two\nthree\n").unwrap();
    assert_eq!(read_line(&mut shown), r#"{"position":1,"utf8":"two"}"#);
    assert_eq!(read_line(&mut shown), r#"{"position":2,"utf8":"three"}"#);
    drop(stdin);
    assert_eq!(owner.wait().unwrap().code(), Some(0));
    // Another owner takes some back.
    check(dir, &["aof", "rewind", "v", "1"], 0);
    assert_eq!(read_line(&mut shown), r#"{"rewound_to":1}"#);
    check_fed(dir, &["aof", "append", "v"], b"2\n", 0);
    assert_eq!(read_line(&mut shown), r#"{"position":1,"utf8":"2"}"#);
    kill_process(Pid::from_child(&tail), Signal::INT).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while tail.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it ends by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

#[test]
fn sizes_are_exported() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    check_fed(dir, &["aof", "append", "v", "--variable"], b"abc\n\nde\n", 0);
    assert_eq!(check(dir, &["aof", "export-sizes", "v", "s"], 0), "s: the sizes of 3 elements\n");
    let expected = [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
        [0, 0, 0, 0, 0, 0, 0, 3, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 3, 0, 2],
    ];
    assert_eq!(fs::read(dir.join("s")).unwrap(), expected.concat());
    assert_eq!(value(dir, &["aof", "export-sizes", "v", "s"], 0)["elements"], 3);
    // The same data and sizes, taken over in another place; the sizes are not changed.
    fs::copy(dir.join("v"), dir.join("w")).unwrap();
    let args = ["aof", "create", "w", "--variable", "--size-file", "s", "--json"];
    let told: Value = serde_json::from_str(&check(dir, &args, 0)).unwrap();
    assert_eq!(told["elements"], 3);
    assert_eq!(check(dir, &["aof", "cat", "w"], 0), "abc\n\nde\n");
    assert_eq!(fs::read(dir.join("s")).unwrap(), expected.concat());
    fixed(dir, 2);
    check(dir, &["aof", "export-sizes", "f", "x", "--json"], 2);
    fs::write(dir.join("long"), "x".repeat(65_536) + "\n").unwrap();
    let long = fs::read(dir.join("long")).unwrap();
    check_fed(dir, &["aof", "append", "v"], &long, 0);
    check(dir, &["aof", "export-sizes", "v", "s", "--json"], 1);
    assert_eq!(fs::read(dir.join("s")).unwrap(), expected.concat(), "the old one stays");
}

fn fixture(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../untorn/tests/fixtures/grin");
    fs::read(dir.join(name)).unwrap()
}

/// A directory of a PMMR, of files that `grin_store` made.
fn pmmr(dir: &Path, files: &[(&str, &str)]) {
    fs::create_dir(dir).unwrap();
    for (name, from) in files {
        fs::write(dir.join(name), fixture(from)).unwrap();
    }
    // Bitmaps, opaque to us; one is empty.
    fs::write(dir.join("pmmr_leaf.bin"), b":0\0\0\x01\0\0\0").unwrap();
    fs::write(dir.join("pmmr_prun.bin"), b"").unwrap();
    fs::write(dir.join("pmmr_leaf.bin.00ab"), b"other").unwrap();
}

#[test]
fn a_directory_of_grin_becomes_a_group_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let hash = ("pmmr_hash.bin", "fixed-32.bin");
    pmmr(&dir.join("fixed"), &[hash, ("pmmr_data.bin", "fixed-34.bin")]);
    pmmr(
        &dir.join("variable"),
        &[hash, ("pmmr_data.bin", "variable.bin"), ("pmmr_size.bin", "variable.size")],
    );
    for (from, more, elements) in [("fixed", &["--data-size", "34"][..], 40), ("variable", &[], 48)]
    {
        let before = tree(&dir.join(from));
        let to = format!("{from}.new");
        let args = [&["convert", "--from", "grin", from, "--to", "append", &to], more].concat();
        let told = value(dir, &args, 0);
        assert_eq!(told["left"].to_string(), r#"["pmmr_leaf.bin.00ab"]"#);
        assert_eq!(
            (&told["files"][1]["elements"], &told["cut_bytes"]),
            (&elements.into(), &0.into())
        );
        same(&tree(&dir.join(from)), &before, "the source is not changed");
        check(dir, &[&args, &["--json"][..]].concat(), 12);

        // It holds wherever the directory is.
        fs::create_dir_all(dir.join("moved")).unwrap();
        let moved = format!("moved/{to}");
        fs::rename(dir.join(&to), dir.join(&moved)).unwrap();
        let shown = check(dir, &["aof", "show", &moved], 0);
        assert!(shown.contains("a group of 4 files  commit 1  clean"), "{shown}");
        assert!(shown.contains("fixed 32 B  40 elements"), "{shown}");
        check(dir, &["verify", &moved], 0);
        for path in [format!("{moved}/pmmr"), format!("{moved}/pmmr.untorn")] {
            assert!(check(dir, &["inspect", &path], 0).contains("a group of append-only files"));
            check(dir, &["verify", &path], 0);
            assert!(check(dir, &["who", &path], 0).contains("held by nobody"));
            assert!(check(dir, &["recover", &path], 0).contains("nothing to do"));
        }
        assert_eq!(check(dir, &["aof", "note", &moved], 0), "");
        // A file of it is read alone, and written with the others only.
        let file = format!("{moved}/pmmr_hash.bin");
        let first = check(dir, &["aof", "cat", &file, "0", "--hex"], 0);
        // Byte `j` of the fixtures' element 0 is `7 * j + 1`.
        assert!(first.starts_with("01080f161d") && first.len() == 65, "{first}");
        assert!(check(dir, &["aof", "show", &file], 0).contains("fixed 32 B  40 elements"));
        for args in [
            &["aof", "rewind", &*file, "1"][..],
            &["aof", "append", &file],
            &["aof", "cat", &moved],
        ] {
            check(dir, &[args, &["--json"]].concat(), 12);
        }

        let back = format!("{from}.back");
        let done = check(dir, &["convert", "--from", "append", &moved, "--to", "grin", &back], 0);
        assert!(done.contains("pmmr_hash.bin  40 elements"), "{done}");
        let mut expected = tree(&dir.join(from));
        expected.retain(|(path, _)| !path.ends_with("pmmr_leaf.bin.00ab"));
        let bytes = |all: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
            all.into_iter()
                .map(|(path, bytes)| (path.file_name().unwrap().to_owned(), bytes))
                .collect()
        };
        assert_eq!(bytes(tree(&dir.join(&back))), bytes(expected), "byte for byte");
    }
    let names = fs::read_dir(dir).unwrap().count();
    assert_eq!(names, 5, "nothing is left over");
}

#[test]
fn damage_in_a_group_names_the_file() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let mut group = AppendGroup::options(dir.join("g"))
        .file("a", dir.join("a.dat"), FileSpec::fixed(4))
        .file("b", dir.join("b.dat"), FileSpec::variable())
        .open()
        .unwrap();
    for n in 0..10_000_u32 {
        group.file::<Vec<u8>>("a").unwrap().append(&n.to_be_bytes()).unwrap();
    }
    group.file::<Vec<u8>>("b").unwrap().append(b"text").unwrap();
    group.annotate(b"\xff").unwrap();
    group.flush().unwrap();
    group.close().unwrap();
    assert_eq!(value(dir, &["aof", "note", "g"], 0)["note"]["hex"], "ff");
    flip(&dir.join("a.dat"), 0);
    for path in ["g", "a.dat"] {
        let said = check(dir, &["verify", path], 4);
        assert!(
            said.contains("a.dat: DAMAGED block 0 (offset 0..16 384), elements 0..4 096"),
            "{said}"
        );
    }
    check(dir, &["verify", "b.dat"], 0);
    assert_eq!(check(dir, &["aof", "cat", "b.dat"], 0), "text\n");
    let done = check(dir, &["recover", "g", "--truncate", "--yes"], 5);
    assert!(done.contains("gave up 10 000 elements"), "{done}");
    check(dir, &["verify", "g"], 0);
}

#[test]
fn a_file_of_grin_becomes_a_file_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    for name in
        ["fixed-34.bin", "fixed-34-torn.bin", "variable.bin", "variable.size", "prefixed.bin"]
    {
        fs::write(dir.join(name), fixture(name)).unwrap();
    }
    fs::write(dir.join("wrapped.size"), fixture("wrapped.size")).unwrap();
    let grin = ["convert", "--from", "grin"];
    let to = ["--to", "append"];
    let convert = |from: &str, dest: &str, more: &[&str]| {
        [&grin[..], &[from], &to, &[dest], more]
            .concat()
            .iter()
            .map(|s| (*s).to_owned())
            .collect::<Vec<_>>()
    };
    let run = |args: &[String], exit: i32| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        check(dir, &args, exit)
    };
    let before = tree(dir);
    run(&convert("fixed-34.bin", "f", &["--fixed", "34"]), 0);
    assert!(check(dir, &["aof", "show", "f"], 0).contains("fixed 34 B  40 elements"));
    check(dir, &["convert", "--from", "append", "f", "--to", "grin", "f.back"], 0);
    assert_eq!(fs::read(dir.join("f.back")).unwrap(), fixture("fixed-34.bin"));

    let told: Value = serde_json::from_str(&run(
        &convert("fixed-34-torn.bin", "t", &["--fixed", "34", "--json"]),
        0,
    ))
    .unwrap();
    assert_eq!((&told["cut_bytes"], &told["files"][0]["elements"]), (&20.into(), &17.into()));

    run(&convert("variable.bin", "v", &["--size-file", "variable.size"]), 0);
    check(dir, &["verify", "v"], 0);
    let back = ["convert", "--from", "append", "v", "--to", "grin", "v.back"];
    check(dir, &[&back[..], &["--json"]].concat(), 2);
    check(dir, &[&back[..], &["--size-file", "s.back"]].concat(), 0);
    assert_eq!(fs::read(dir.join("v.back")).unwrap(), fixture("variable.bin"));
    assert_eq!(fs::read(dir.join("s.back")).unwrap(), fixture("variable.size"));

    // Sizes that do not go with the data are refused, and nothing is left.
    let count = fs::read_dir(dir).unwrap().count();
    run(&convert("prefixed.bin", "p", &["--size-file", "wrapped.size", "--json"]), 4);
    run(&convert("fixed-34.bin", "p", &["--json"]), 2);
    run(&convert("fixed-34.bin", "p", &["--data-size", "34", "--json"]), 2);
    run(&convert("no-such.bin", "p", &["--fixed", "34", "--json"]), 3);
    run(&convert("fixed-34.bin", "f", &["--fixed", "34", "--json"]), 12);
    run(&convert("fixed-34.bin", "no/p", &["--fixed", "34", "--json"]), 3);
    fs::create_dir(dir.join("empty")).unwrap();
    run(&convert("empty", "p", &["--json"]), 10);
    fs::remove_dir(dir.join("empty")).unwrap();
    assert_eq!(fs::read_dir(dir).unwrap().count(), count, "nothing is left over");
    let after = tree(dir);
    assert!(before.iter().all(|file| after.contains(file)), "the sources are not changed");
}
