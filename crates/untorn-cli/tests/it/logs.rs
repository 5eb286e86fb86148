//! The log's commands, and what is said of damaged, held and foreign logs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Mounted, check, check_fed, complaint, run_in, untorn};

fn numbers(upto: u64) -> String {
    (1..=upto).fold(String::new(), |text, n| text + &n.to_string() + "\n")
}

fn padded(n: u64, width: usize) -> String {
    format!("{n:0width$}\n")
}

/// Flips a bit in the record "3" of a log of `numbers`.
fn damage(dir: &Path) {
    let path = dir.join("log/0000000000000001.seg");
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|w| w == b"\x01\0\0\x003").unwrap() as u64 + 4;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"4", at).unwrap();
}

/// An owner that lives until its stdin is closed.
fn start_append(dir: &Path, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut all = vec!["log", "append", "log"];
    all.extend(args);
    let mut child =
        untorn(&all).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn read_line(from: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn lines_become_records_with_numbers_and_come_out_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(
        check_fed(dir, &["log", "append", "log"], numbers(1000).as_bytes(), 0),
        numbers(1000)
    );
    assert_eq!(check(dir, &["log", "cat", "log"], 0), numbers(1000));
    assert_eq!(
        check(dir, &["log", "cat", "log", "--from", "5", "--to", "6", "--seq"], 0),
        "5\t5\n6\t6\n"
    );
    assert_eq!(check(dir, &["log", "tail", "log", "-n", "2"], 0), "999\n1000\n");
    // The last line needs no newline; a batch gets its numbers at the end.
    assert_eq!(check_fed(dir, &["log", "append", "log", "--batch"], b"a\n\xff", 0), "1001\n1002\n");
    assert_eq!(
        check_fed(dir, &["log", "append", "log", "--buffered", "--json"], b"c\n", 0),
        "{\"seq\":1003}\n"
    );
    let tail = check(dir, &["log", "tail", "log", "-n", "3", "--json"], 0);
    let expected = "{\"seq\":1001,\"utf8\":\"a\"}\n{\"seq\":1002,\"hex\":\"ff\"}\n{\"seq\":1003,\"utf8\":\"c\"}\n";
    assert_eq!(tail, expected);
    assert!(check(dir, &["verify", "log"], 0).contains("sound"));
    assert!(check(dir, &["log", "inspect", "log"], 0).contains("records 1001..=1002"));
    assert!(check(dir, &["inspect", "log"], 0).contains("closed in order"));
    assert!(check(dir, &["inspect", "log/META"], 0).contains("untorn inspect log"));
    assert!(check(dir, &["recover", "log"], 0).contains("nothing to do"));
    check(dir, &["log", "cat", "log", "--from", "0", "--json"], 12);
}

#[test]
fn truncation_at_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let long: String = (1..=3000).map(|n| padded(n, 500)).collect();
    check_fed(dir, &["log", "append", "log"], long.as_bytes(), 0);
    assert_eq!(
        check(dir, &["log", "truncate", "log", "--back", "2500"], 0),
        "records 1 to 2500 are kept\n"
    );
    check(dir, &["log", "truncate", "log", "--front", "2400"], 0);
    let first = check(dir, &["log", "cat", "log", "--json"], 0);
    let first: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert!(first["seq"].as_u64().unwrap() > 1, "whole segments go");
    check(dir, &["log", "cat", "log", "--from", "1"], 12);
    check(dir, &["log", "truncate", "log", "--back", "1", "--json"], 12);
    assert_eq!(check_fed(dir, &["log", "append", "log"], b"again\n", 0), "2501\n");
}

#[test]
fn damage_is_told_and_nothing_is_done_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    check_fed(dir, &["log", "append", "--batch", "log"], numbers(5).as_bytes(), 0);
    check_fed(dir, &["log", "append", "--batch", "log"], numbers(5).as_bytes(), 0);
    damage(dir);
    let before = fs::read(dir.join("log/0000000000000001.seg")).unwrap();
    for args in [
        &["verify", "log"][..],
        &["inspect", "log"],
        &["log", "cat", "log"],
        &["log", "tail", "log"],
        &["log", "append", "log"],
        &["log", "inspect", "log"],
        &["log", "truncate", "log", "--back", "1"],
        &["recover", "log"],
        &["recover", "log", "--truncate"],
    ] {
        check(dir, args, 4);
        let mut args = args.to_vec();
        args.push("--json");
        check(dir, &args, 4);
    }
    let told = complaint(dir, &["verify", "log"], 4);
    for word in ["0000000000000001.seg", "offset 64", "untorn recover"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(
        check(dir, &["recover", "log", "--salvage", "new"], 0).contains("would write 5 records")
    );
    assert!(!dir.join("new").exists());
    assert_eq!(
        fs::read(dir.join("log/0000000000000001.seg")).unwrap(),
        before,
        "nothing was changed"
    );
}

#[test]
fn salvage_writes_what_is_good_into_a_new_log() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    check_fed(dir, &["log", "append", "log", "--batch"], numbers(5).as_bytes(), 0);
    check_fed(dir, &["log", "append", "log", "--batch"], b"six\nseven\n", 0);
    damage(dir);
    let told = check(dir, &["recover", "log", "--salvage", "new", "--yes"], 5);
    assert!(told.contains("6 to 7 are 1 to 2"), "{told}");
    assert_eq!(check(dir, &["log", "cat", "new"], 0), "six\nseven\n");
    check(dir, &["recover", "log", "--salvage", "new", "--yes", "--json"], 12);
    check(dir, &["verify", "log"], 4);
    let names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "no left-overs: {names:?}");
}

#[test]
fn truncate_keeps_what_precedes_the_damage_and_a_copy_of_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    check_fed(dir, &["log", "append", "log", "--batch"], b"a\nb\n", 0);
    check_fed(dir, &["log", "append", "log", "--batch"], numbers(5).as_bytes(), 0);
    damage(dir);
    let told = check(dir, &["recover", "log", "--truncate", "--yes"], 5);
    assert!(told.contains("records 3 to 7 are lost") && told.contains("quarantine"), "{told}");
    assert_eq!(check(dir, &["log", "cat", "log"], 0), "a\nb\n");
    check(dir, &["verify", "log"], 0);
    assert!(check(dir, &["inspect", "log"], 0).contains("quarantine  1"));
    assert!(check(dir, &["inspect", "log/quarantine"], 0).contains("why"));
}

#[test]
fn a_killed_append_loses_nothing_that_has_a_number() {
    for round in 0..5_usize {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (mut child, mut stdout) = start_append(dir, &[]);
        let mut stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            // Ends when the killed reader is gone.
            for n in 1_u64.. {
                if writeln!(stdin, "{n}").is_err() {
                    break;
                }
            }
        });
        let mut acknowledged = 0;
        for _ in 0..=round * 5000 {
            acknowledged = read_line(&mut stdout).parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        feeder.join().unwrap();
        // Numbers that were printed before the kill and not read yet count too; the last may be cut off.
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        if let Some((whole, _)) = rest.rsplit_once('\n') {
            acknowledged = whole.lines().last().unwrap().parse().unwrap();
        }
        let there = check(dir, &["log", "cat", "log"], 0);
        let count = there.lines().count() as u64;
        assert!(count >= acknowledged, "{acknowledged} acknowledged, {count} there");
        assert_eq!(there, numbers(count), "in order, and none torn");
        check(dir, &["verify", "log"], 0);
        let would = check(dir, &["recover", "log", "--dry-run"], 0);
        assert!(would.starts_with("would heal: "), "{would}");
        check(dir, &["recover", "log", "--adopt", "--json"], 12);
        check(dir, &["recover", "log"], 0);
        assert!(check(dir, &["recover", "log", "--dry-run"], 0).contains("nothing to do"));
        assert_eq!(
            check_fed(dir, &["log", "append", "log"], b"x\n", 0),
            format!("{}\n", count + 1)
        );
    }
}

#[test]
fn a_second_process_is_refused_and_readers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mut child, mut stdout) = start_append(dir, &[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    assert_eq!(read_line(&mut stdout), "1", "a slow input is acknowledged line by line");
    let told = complaint(dir, &["log", "append", "log"], 11);
    assert!(told.contains(&format!("process {}", child.id())), "{told}");
    check(dir, &["log", "truncate", "log", "--back", "0", "--json"], 11);
    check(dir, &["recover", "log", "--json"], 11);
    check(dir, &["recover", "log", "--salvage", "new", "--json"], 11);
    assert!(check(dir, &["who", "log"], 0).contains("held by process"));
    assert_eq!(check(dir, &["log", "cat", "log", "--written"], 0), "one\n");
    check(dir, &["verify", "log"], 0);
    // SIGTERM: what was read is acknowledged, the log is closed in order.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(check(dir, &["inspect", "log"], 0).contains("closed in order"));
    assert!(check(dir, &["who", "log"], 0).contains("held by nobody"));
    drop(stdin);
}

#[test]
fn tail_follows_a_living_owner() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mut owner, mut acknowledged) = start_append(dir, &[]);
    let mut stdin = owner.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    read_line(&mut acknowledged);
    let mut tail = untorn(&["log", "tail", "log", "-f"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(tail.stdout.take().unwrap());
    // Nothing else vouches for the last record of an idle log than its owner's mark, a second later.
    assert_eq!(read_line(&mut shown), "one");
    stdin.write_all(b"two\nthree\n").unwrap();
    assert_eq!(read_line(&mut shown), "two");
    assert_eq!(read_line(&mut shown), "three");
    kill_process(Pid::from_child(&tail), Signal::INT).unwrap();
    assert_eq!(tail.wait().unwrap().code(), Some(0));
    drop(stdin);
    assert_eq!(owner.wait().unwrap().code(), Some(0));
}

#[test]
fn a_closed_stdout_ends_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    check_fed(dir, &["log", "append", "log"], numbers(200_000).as_bytes(), 0);
    let mut child = untorn(&["log", "cat", "log"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(read_line(&mut BufReader::new(child.stdout.take().unwrap())), "1");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_directory_of_someone_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("photos")).unwrap();
    fs::write(dir.join("photos/cat.jpg"), "meow").unwrap();
    check_fed(dir, &["log", "append", "photos", "--json"], b"x\n", 10);
    check(dir, &["log", "cat", "photos", "--json"], 10);
    check(dir, &["log", "truncate", "photos", "--back", "1", "--json"], 10);
    check(dir, &["recover", "photos", "--salvage", "new", "--json"], 10);
    assert_eq!(fs::read_dir(dir.join("photos")).unwrap().count(), 1);
    assert!(!dir.join("new").exists());
}

#[test]
fn a_full_disk_stops_the_append_and_keeps_what_has_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let Some(_mounted) = Mounted::tmpfs(dir, "size=3m") else { return };
    let lines: String = (1..=100_000).map(|n| padded(n, 100)).collect();
    let output = run_in(dir, &["log", "append", "log", "--json"], lines.as_bytes());
    assert_eq!(output.status.code(), Some(74));
    let told: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(told["kind"], "NoSpace", "{told}");
    let acknowledged = output.stdout.lines().count();
    let there = check(dir, &["log", "cat", "log"], 0).lines().count();
    assert!(
        acknowledged > 0 && there >= acknowledged,
        "{acknowledged} acknowledged, {there} there"
    );
    check(dir, &["verify", "log"], 0);
}

#[test]
fn lines_of_two_readers_at_once_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    check_fed(dir, &["log", "append", "log"], numbers(50_000).as_bytes(), 0);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut cat = untorn(&["log", "cat", "log"]);
            cat.current_dir(dir).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        assert_eq!(output.stdout.lines().count(), 50_000);
    }
}
