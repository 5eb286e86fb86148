//! `fetch` against a server of ours: whole, killed, interrupted, lied to, in a hurry and beside another one.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use untorn::chunked::{
    AtomicChunked, ChunkedOptions, FileResource, Identity, PartView, ResourceExt as _,
};

use crate::range_server::{Behaviour, Fault, RangeServer};
use crate::{check, complaint, run_in, untorn};

const MIB: usize = 1 << 20;
/// No test waits longer for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// No two places look the same.
pub(crate) fn content(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A server with `len` bytes, changed a little.
fn serve(len: usize, change: impl FnOnce(&mut Behaviour)) -> RangeServer {
    let mut behaviour = Behaviour::of(content(len));
    change(&mut behaviour);
    RangeServer::start(behaviour)
}

/// So slow that a test can do something meanwhile.
fn slowly(behaviour: &mut Behaviour) {
    behaviour.slow = Some((16 << 10, Duration::from_millis(5)));
}

fn fetch(dir: &Path, server: &RangeServer, args: &[&str]) -> Output {
    run_in(dir, &[&["fetch", &server.url("/file"), "f"], args].concat(), b"")
}

/// Runs it; what it says on stderr.
#[track_caller]
fn fetched(dir: &Path, server: &RangeServer, args: &[&str], exit: i32) -> String {
    let output = fetch(dir, server, args);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {told}");
    told
}

/// Runs it with `--json`; what it prints.
#[track_caller]
fn fetched_json(dir: &Path, server: &RangeServer, args: &[&str]) -> Value {
    let output = fetch(dir, server, &[args, &["--json"]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), told.as_str()), (Some(0), ""), "{args:?}");
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["schema"], "untorn.fetch.v1");
    done
}

fn start(dir: &Path, server: &RangeServer, args: &[&str]) -> Child {
    untorn(&[&["fetch", &server.url("/file"), "f"], args].concat())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn trusted(dir: &Path) -> u64 {
    let ranges = PartView::open(dir.join("f")).map(|view| view.ranges()).unwrap_or_default();
    ranges.iter().map(|range| range.end - range.start).sum()
}

#[track_caller]
fn until(what: &str, there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Begins a fetch and sends it a signal when so much is durable.
fn stopped_at(
    dir: &Path,
    server: &RangeServer,
    bytes: u64,
    signal: Signal,
    args: &[&str],
) -> Output {
    let child = start(dir, server, &[args, &["--checkpoint", "256K"]].concat());
    until("the bytes", || trusted(dir) >= bytes);
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn is_whole(dir: &Path, content: &[u8]) {
    assert!(fs::read(dir.join("f")).unwrap() == content, "other bytes");
    assert_eq!(names(dir), ["f"], "nothing else is left");
}

#[test]
fn the_whole_file_with_one_connection_and_with_four() {
    let server = serve(20 * MIB + 7, |_| ());
    for jobs in ["-j1", "-j4"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let told = fetched(dir, &server, &[jobs], 0);
        is_whole(dir, &content(20 * MIB + 7));
        assert!(told.starts_with("fetched 20.00 MiB in "), "{told}");
        assert!(told.ends_with("; committed f (20.00 MiB, 2 syncs)\n"), "{told}");
        let done = fetched_json(dir, &server, &[jobs]);
        assert_eq!((&done["len"], &done["replaced"]), (&(20 * MIB + 7).into(), &true.into()));
        assert_eq!((&done["resumed"], &done["etag"]), (&0.into(), &"\"v1\"".into()));
    }
}

/// Every byte that was durable stays; what came since is at most the window and what was on its way.
#[test]
fn killed_in_the_middle_it_goes_on() {
    const LEN: usize = 6 * MIB;
    for jobs in ["-j1", "-j3"] {
        let server = serve(LEN, slowly);
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let killed = stopped_at(dir, &server, 3 << 20, Signal::KILL, &[jobs]);
        assert_eq!(killed.status.code(), None);
        let kept = trusted(dir);
        assert!(kept >= 3 << 20 && !dir.join("f").exists());
        server.change(|behaviour| behaviour.slow = None);
        let done = fetched_json(dir, &server, &[jobs]);
        is_whole(dir, &content(LEN));
        let number = |name: &str| done[name].as_u64().unwrap();
        assert_eq!(number("resumed"), kept);
        assert_eq!(number("resumed") + number("fetched"), LEN as u64);
    }
}

#[test]
fn little_is_sent_twice() {
    const LEN: usize = 4 * MIB;
    let server = serve(LEN, slowly);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for kill in 1..=3_u64 {
        stopped_at(dir, &server, kill << 20, Signal::KILL, &["-j1"]);
    }
    fetched(dir, &server, &[], 0);
    is_whole(dir, &content(LEN));
    // For each kill the window, what is read at once, and the head of a first answer that was not used.
    let twice = server.sent() - LEN as u64;
    assert!(twice <= 4 * (256 << 10) * 4, "{twice} bytes came twice");
}

#[test]
fn an_interrupted_one_is_suspended() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = serve(4 * MIB, slowly);
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let output = stopped_at(dir, &server, 1 << 20, signal, &[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let expected = " MiB kept in f.part; run the same command to continue\n";
        assert!(told.starts_with("suspended: ") && told.ends_with(expected), "{told}");
        assert_eq!(names(dir), ["f.part"]);
        server.change(|behaviour| behaviour.slow = None);
        let told = fetched(dir, &server, &[], 0);
        assert!(
            told.contains(" (etag \"v1\"); fetched ") && told.starts_with("resumed "),
            "{told}"
        );
        is_whole(dir, &content(4 * MIB));
    }
}

#[test]
fn another_version_is_not_mixed_in() {
    let server = serve(3 * MIB, slowly);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    stopped_at(dir, &server, 1 << 20, Signal::INT, &[]);
    let kept = trusted(dir);
    let mut new = content(3 * MIB);
    new.reverse();
    server.change(|behaviour| {
        behaviour.slow = None;
        behaviour.content = new.clone().into();
        behaviour.etag = Some("\"v2\"".to_owned());
    });
    let told = fetched(dir, &server, &[], 12);
    assert!(told.contains("remote changed: its etag was \"v1\" and is \"v2\""), "{told}");
    assert!(told.contains("--restart"), "{told}");
    assert_eq!((trusted(dir), names(dir)), (kept, vec!["f.part".to_owned()]));
    let told = fetched(dir, &server, &["--restart"], 0);
    assert!(!told.contains("resumed"), "{told}");
    is_whole(dir, &new);
}

/// What was durable before it changed under our hands stays.
#[test]
fn a_file_that_changes_meanwhile() {
    let server = serve(24 * MIB, |behaviour| {
        behaviour.change = Some((2, content(9 * MIB), Some("\"v2\"".to_owned())));
    });
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let told = fetched(dir, &server, &["-j2"], 12);
    assert!(told.contains("remote changed: ") && told.contains("--restart"), "{told}");
    assert!(trusted(dir) > 0);
    fetched(dir, &server, &[], 12);
    fetched(dir, &server, &["--restart"], 0);
    is_whole(dir, &content(9 * MIB));
}

/// A first answer that is wrong is asked for again, a piece that is wrong as well.
#[test]
fn servers_that_err_once() {
    let gzip = || Fault::Header("Content-Encoding", "gzip".to_owned());
    let busy = Fault::Status(503, Some(("Retry-After", "0".to_owned())));
    let faults = [
        (Fault::End(5), true),
        (Fault::Start(5), true),
        (Fault::Words("bytes 7-3/x".to_owned()), true),
        (Fault::Fewer(1000), true),
        (Fault::Cut(500_000), true),
        (gzip(), true),
        (busy, true),
        (Fault::Raw(b"no http\r\n\r\n".to_vec()), true),
        (gzip(), false),
        (Fault::Cut(500_000), false),
    ];
    std::thread::scope(|scope| {
        for (fault, ranges) in faults {
            scope.spawn(move || {
                let server = serve(MIB, |behaviour| {
                    behaviour.fault = Some((fault.clone(), 1));
                    behaviour.ranges = ranges;
                });
                let dir = tempfile::tempdir().unwrap();
                fetched(dir.path(), &server, &["-j2"], 0);
                is_whole(dir.path(), &content(MIB));
                assert!(server.asked().len() >= 2, "{fault:?} was met");
            });
        }
    });
}

#[test]
fn servers_that_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = serve(MIB, |behaviour| {
        behaviour.authorization = Some("Basic YW5uOmdlaGVpbQ==".to_owned());
    });
    let told = fetched(dir, &server, &[], 1);
    assert!(told.contains("401") && told.contains("--header"), "{told}");
    complaint(dir, &["fetch", &server.url("/missing"), "f"], 1);
    let url = server.url("/missing").replace("//", "//ann:geheim@");
    let told = complaint(dir, &["fetch", &url, "f"], 3);
    assert!(told.contains("404") && !told.contains("geheim"), "{told}");
    assert_eq!(names(dir), [""; 0]);
    server.change(|behaviour| behaviour.redirect = Some(server.url("/file")));
    let url = server.url("/old").replace("//", "//ann:geheim@");
    check(dir, &["fetch", &url, "f"], 0);
    is_whole(dir, &content(MIB));
}

#[test]
fn it_keeps_asking_for_a_while_and_says_what_to_do() {
    let server = serve(MIB, |behaviour| behaviour.fault = Some((Fault::Status(500, None), 99)));
    let dir = tempfile::tempdir().unwrap();
    let told = fetched(dir.path(), &server, &[], 74);
    assert!(told.contains("trying again\n") && told.contains("run the same command"), "{told}");
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn an_empty_file() {
    let server = serve(0, |_| ());
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(fetched_json(dir.path(), &server, &[])["len"], 0);
    is_whole(dir.path(), b"");
}

/// Bytes of which an earlier run was told another digest may be the right ones: a person decides.
#[test]
fn another_sum_than_that_of_the_kept_bytes() {
    let server = serve(2 * MIB, slowly);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let wrong = format!("blake3:{}", "0f".repeat(32));
    let right = format!("blake3:{}", blake3::hash(&content(2 * MIB)).to_hex());
    stopped_at(dir, &server, 1 << 20, Signal::INT, &["--sum", &wrong]);
    server.change(|behaviour| behaviour.slow = None);
    let told = fetched(dir, &server, &["--sum", &right], 12);
    assert!(told.contains("another --sum") && !told.contains("remote changed"), "{told}");
    assert!(trusted(dir) > 0);
    fetched(dir, &server, &["--sum", &right, "--restart"], 0);
    is_whole(dir, &content(2 * MIB));
}

#[test]
fn a_digest_is_checked_before_anything_is_published() {
    let server = serve(MIB, |_| ());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let right = format!("blake3:{}", blake3::hash(&content(MIB)).to_hex());
    // As `sha256sum` prints it of the same bytes.
    let sha = "993a8f82a4e111cca843c38c9d823c2b69fb88c8ba376b6182314cf92e223ee5";
    let wrong = format!("sha256:{}", "0f".repeat(32));
    fs::write(dir.join("f"), "old").unwrap();
    let told = fetched(dir, &server, &["--sum", &wrong], 4);
    assert!(told.contains("its digest is sha256:") && told.contains("--sum"), "{told}");
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"old");
    assert_eq!(trusted(dir), 3, "of the old file");
    let told = fetched(dir, &server, &["--sum", &format!("sha256:{sha}")], 0);
    assert!(told.contains("; sha256 ok; committed f ("), "{told}");
    is_whole(dir, &content(MIB));
    assert_eq!(fetched_json(dir, &server, &["--sum", &right])["digest"], right);
    let told = fetched(dir, &server, &["--sum", &right], 0);
    assert!(told.contains("; blake3 ok; "), "{told}");
}

/// Bytes that are wrong and durable must not be met again in the next run.
#[test]
fn a_wrong_digest_is_not_kept() {
    let server = serve(2 * MIB, slowly);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let wrong = format!("blake3:{}", "0f".repeat(32));
    stopped_at(dir, &server, 1 << 20, Signal::INT, &["--sum", &wrong]);
    server.change(|behaviour| behaviour.slow = None);
    // The sum of the first run counts, unless another one is given.
    fetched(dir, &server, &[], 4);
    assert_eq!(trusted(dir), 0);
    let done = fetched_json(dir, &server, &[]);
    assert_eq!((&done["resumed"], &done["fetched"]), (&0.into(), &(2 * MIB).into()));
    is_whole(dir, &content(2 * MIB));
}

#[test]
fn what_it_was_told_to_leave_or_to_refuse() {
    let server = serve(MIB, |_| ());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fetched(dir, &server, &["--max-size", "1000K"], 1);
    server.change(|behaviour| {
        behaviour.ranges = false;
        behaviour.chunked = true;
    });
    fetched(dir, &server, &["--max-size", "1000K"], 1);
    assert!(!dir.join("f").exists());
    server.change(|behaviour| *behaviour = Behaviour::of(content(MIB)));
    fs::write(dir.join("f"), "old").unwrap();
    let asked = server.asked().len();
    fetched(dir, &server, &["--no-clobber"], 12);
    assert_eq!((fs::read(dir.join("f")).unwrap(), server.asked().len()), (b"old".to_vec(), asked));
    fetched(dir, &server, &["--max-size", "1M", "--mode", "640", "--remote-time"], 0);
    is_whole(dir, &content(MIB));
    let stat = fs::metadata(dir.join("f")).unwrap();
    assert_eq!(stat.permissions().mode() & 0o777, 0o640);
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(stat.modified().unwrap(), date);
    fs::create_dir(dir.join("d")).unwrap();
    let told = complaint(dir, &["fetch", &server.url("/file"), "d"], 12);
    assert!(told.contains("directory"), "{told}");
    complaint(dir, &["fetch", &server.url("/file"), "no/f"], 3);
}

#[test]
fn to_stdout_in_order() {
    let server = serve(3 * MIB, |behaviour| behaviour.fault = Some((Fault::Cut(MIB), 2)));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let url = server.url("/file");
    let sum = format!("blake3:{}", blake3::hash(&content(3 * MIB)).to_hex());
    let output = run_in(dir, &["fetch", &url, "-", "--sum", &sum], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == content(3 * MIB));
    let wrong = format!("sha256:{}", "0f".repeat(32));
    let told = complaint(dir, &["fetch", &url, "-", "--sum", &wrong], 4);
    assert!(told.contains("do not use"), "{told}");
    server.change(|behaviour| {
        behaviour.ranges = false;
        behaviour.chunked = true;
    });
    let output = run_in(dir, &["fetch", &url, "-"], b"");
    assert!(output.stdout == content(3 * MIB));
    complaint(dir, &["fetch", &url, "-", "--max-size", "1M"], 1);
    assert_eq!(names(dir), [""; 0]);
}

/// Claims `f` as another fetch does that gets version `v1` from the server, and has half of it.
fn claimed(dir: &Path) -> AtomicChunked<FileResource> {
    let identity = Identity::new().len(MIB as u64).etag("\"v1\"");
    let options = ChunkedOptions::new().identity(identity);
    let part = AtomicChunked::open_with(dir.join("f"), options, |path, _| FileResource::open(path));
    let part = part.unwrap();
    part.write_at(0, &content(MIB)[..MIB / 2]).unwrap();
    part.checkpoint().unwrap();
    part
}

/// Begins a fetch with `--wait`, and returns when it waits.
fn waiting(dir: &Path, server: &RangeServer, args: &[&str]) -> (Child, BufReader<ChildStderr>) {
    let mut child = start(dir, server, &[&["--wait"], args].concat());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with(&format!("waiting: process {}", std::process::id())), "{line}");
    (child, stderr)
}

#[track_caller]
fn ended(mut child: Child, mut stderr: BufReader<ChildStderr>, exit: i32) -> String {
    let mut told = String::new();
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(exit), "{told}");
    told
}

#[test]
fn a_second_one_is_refused_or_waits() {
    let server = serve(MIB, |_| ());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("f"), "old").unwrap();
    let sum = format!("blake3:{}", blake3::hash(&content(MIB)).to_hex());
    for (sum, exit) in [(sum, 0), (format!("blake3:{}", "0f".repeat(32)), 4)] {
        let part = claimed(dir);
        let told = fetched(dir, &server, &[], 11);
        let me = format!("process {}", std::process::id());
        assert!(told.contains(&me) && told.contains("--wait"), "{told}");
        fetched(dir, &server, &["--restart"], 11);
        let (child, stderr) = waiting(dir, &server, &["--sum", &sum]);
        part.write_at(MIB as u64 / 2, &content(MIB)[MIB / 2..]).unwrap();
        part.commit(None).unwrap();
        let told = ended(child, stderr, exit);
        assert!(told.contains("another process "), "{told}");
        assert_eq!(told.contains("blake3 ok"), exit == 0, "{told}");
        is_whole(dir, &content(MIB));
    }
}

/// The old file is still there then: it must not be taken for the new one.
#[test]
fn who_waits_takes_over_from_one_that_gave_up() {
    let server = serve(MIB, |_| ());
    for suspend in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join("f"), "old").unwrap();
        let part = claimed(dir);
        let (child, stderr) = waiting(dir, &server, &[]);
        if suspend { part.suspend() } else { part.abandon() }.unwrap();
        let told = ended(child, stderr, 0);
        assert_eq!(told.contains("resumed 512.00 KiB"), suspend, "{told}");
        is_whole(dir, &content(MIB));
    }
}

/// What another process fetches under this name may be something else.
#[test]
fn who_waits_does_not_wait_for_another_file() {
    let server = serve(MIB, |behaviour| behaviour.etag = Some("\"v2\"".to_owned()));
    let dir = tempfile::tempdir().unwrap();
    let _part = claimed(dir.path());
    let told = fetched(dir.path(), &server, &["--wait"], 12);
    assert!(
        told.contains("is not this file: remote changed: its etag was \"v1\" and is \"v2\""),
        "{told}"
    );
}

/// Of a server without ranges all bytes come again; what is there is compared with them, not written.
#[test]
fn a_server_without_ranges() {
    for chunked in [false, true] {
        let server = serve(3 * MIB, |behaviour| {
            slowly(behaviour);
            behaviour.ranges = false;
            behaviour.chunked = chunked;
        });
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        stopped_at(dir, &server, 1 << 20, Signal::KILL, &[]);
        let kept = trusted(dir);
        // The same name of the version, and other bytes: of what a server says of its file this is a lie.
        let mut liar = content(3 * MIB);
        liar[300_000] ^= 1;
        server.change(|behaviour| {
            behaviour.slow = None;
            behaviour.content = liar.into();
        });
        let told = fetched(dir, &server, &[], 12);
        assert!(told.contains("remote changed: byte 300000 "), "{told}");
        assert_eq!(trusted(dir), kept);
        server.change(|behaviour| behaviour.content = content(3 * MIB).into());
        let done = fetched_json(dir, &server, &[]);
        assert_eq!((&done["compared"], &done["resumed"]), (&kept.into(), &kept.into()));
        assert_eq!(done["fetched"].as_u64().unwrap() + kept, 3 << 20);
        is_whole(dir, &content(3 * MIB));
    }
}

#[test]
fn without_a_validator_it_says_that_it_cannot_resume() {
    let server = serve(2 * MIB, |behaviour| {
        slowly(behaviour);
        behaviour.etag = Some("W/\"weak\"".to_owned());
        behaviour.last_modified = None;
    });
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let child = start(dir, &server, &[]);
    until("the first bytes", || server.sent() > 200_000);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.matches("note: ").count(), 1, "{told}");
    assert!(told.contains("--sum") && told.contains("interrupted: nothing is kept"), "{told}");
    assert_eq!(names(dir), [""; 0]);
    server.change(|behaviour| behaviour.slow = None);
    fetched(dir, &server, &[], 0);
    is_whole(dir, &content(2 * MIB));
}

#[test]
fn what_is_not_a_part_is_not_touched() {
    let server = serve(MIB, |_| ());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("f.part"), "somebody's").unwrap();
    fetched(dir, &server, &[], 10);
    fetched(dir, &server, &["--restart"], 10);
    assert_eq!(fs::read(dir.join("f.part")).unwrap(), b"somebody's");
}

/// What 20 deaths cost: `cargo test --release -p untorn-cli --test it -- --ignored --nocapture gibibyte`.
#[test]
#[ignore = "takes a gibibyte of memory and two of disk"]
fn a_gibibyte_killed_twenty_times() {
    const LEN: usize = 1 << 30;
    const KILLS: u64 = 20;
    let mut state = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) & u128::from(u64::MAX);
        u64::try_from(state >> 33).unwrap() % below
    };
    let mut whole = Vec::with_capacity(LEN);
    for number in 0..LEN as u64 / 8 {
        whole.extend_from_slice(&number.wrapping_mul(6_364_136_223_846_793_005).to_le_bytes());
    }
    let sum = format!("blake3:{}", blake3::hash(&whole).to_hex());
    for jobs in ["-j1", "-j4"] {
        let mut behaviour = Behaviour::of(whole.clone());
        // As a network of some gigabits. Faster than that, what comes in while a checkpoint syncs is most of what is lost.
        behaviour.slow = Some((64 << 10, Duration::from_millis(1)));
        let server = RangeServer::start(behaviour);
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        // A death costs half of it on average.
        let args = [jobs, "--checkpoint", "2M", "--sum", &sum];
        for _ in 0..KILLS {
            let upto = server.sent() + random(LEN as u64 / 16);
            let mut child = start(dir, &server, &args);
            until("the bytes", || server.sent() >= upto || dir.join("f").exists());
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(!dir.join("f").exists(), "it was too fast to be killed so often");
        let done = fetched_json(dir, &server, &args);
        assert!(fs::read(dir.join("f")).unwrap() == whole);
        assert_eq!(done["digest"], sum);
        let twice = server.sent() - LEN as u64;
        println!("{jobs}: {twice} bytes came twice, {} of 1000", twice * 1000 / LEN as u64);
        assert!(twice <= LEN as u64 / 20, "{twice} bytes came twice");
    }
}
