//! The fold's commands, and what the other commands say of folds: sound, torn, damaged, held, converted.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Mounted, check, check_fed, complaint, run_in, temporaries, untorn};

const ROUTES: &[u8] = include_bytes!("../data/routes.ndjson");

/// What the sample has at its end.
const RANGE: &str = "route/api\t10.0.1.1:8080\nroute/docs\t10.0.0.3:8080\nroute/shop\t10.0.0.4:8080\n\
                     route/static\t10.0.2.1:80\nroute/wiki\t10.0.0.5:8080\n";

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap()
}

/// Puts of some keys, again and again; each has its number in its value.
fn puts(numbers: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let mut lines = Vec::new();
    for n in numbers {
        let pad = "y".repeat(60);
        let key = n % 500;
        writeln!(
            lines,
            "{{\"op\":\"put\",\"key\":\"svc-{key:03}\",\"value\":\"value-{n}-{pad}\",\"rev\":{n}}}"
        )
        .unwrap();
    }
    lines
}

/// A base up to 1000 and two commits of 1000 above it.
fn three_parts(dir: &Path) {
    check_fed(dir, &["fold", "apply", "edge"], &puts(1..=1000), 0);
    check(dir, &["fold", "compact", "edge"], 0);
    check_fed(dir, &["fold", "apply", "edge"], &puts(1001..=2000), 0);
    check_fed(dir, &["fold", "apply", "edge"], &puts(2001..=3000), 0);
}

/// Flips a bit in the file that has these bytes.
fn flip(dir: &Path, bytes: &str) -> PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    for path in names.filter(|path| path.is_file()) {
        let mut content = fs::read(&path).unwrap();
        let at = content.windows(bytes.len()).position(|window| window == bytes.as_bytes());
        if let Some(at) = at {
            content[at] ^= 1;
            fs::write(&path, content).unwrap();
            return path;
        }
    }
    panic!("{bytes} is in no file of {}", dir.display());
}

#[test]
fn the_sample_is_applied_read_and_applied_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let apply = ["fold", "apply", "edge"];
    assert_eq!(check_fed(dir, &apply, ROUTES, 0), "19 updates applied, cursor 24\n");
    let again = check_fed(dir, &["fold", "apply", "edge", "--json"], ROUTES, 0);
    assert_eq!((&json(&again)["stale"], &json(&again)["rev"]), (&19.into(), &24.into()));
    assert_eq!(check(dir, &["fold", "range", "edge", "route/"], 0), RANGE);
    assert_eq!(check(dir, &["fold", "range", "edge", "--count"], 0), "10\n");
    let last = ["fold", "range", "edge", "--keys", "--reverse", "--limit", "2"];
    assert_eq!(check(dir, &last, 0), "route/wiki\nroute/static\n");
    let behind = ["fold", "range", "edge", "--keys", "--after", "route/docs", "--limit", "1"];
    assert_eq!(check(dir, &behind, 0), "route/shop\n");
    assert_eq!(check(dir, &["fold", "range", "edge", "nothing/"], 0), "");
    assert_eq!(check(dir, &["fold", "get", "edge", "route/api"], 0), "10.0.1.1:8080\n");
    assert_eq!(
        check(dir, &["fold", "get", "edge", "route/api", "--version"], 0),
        "11\t10.0.1.1:8080\n"
    );
    let raw = run_in(dir, &["fold", "get", "edge", "cert/shop", "--raw"], b"");
    assert_eq!(raw.stdout.get(raw.stdout.len() - 3..), Some(&[0, 0xff, 2][..]));
    let line = json(&check(dir, &["fold", "get", "edge", "cert/api", "--json"], 0));
    assert_eq!((&line["value_b64"], &line["rev"]), (&"MIIBCgKCAQEA/wA=".into(), &5.into()));
    // A deleted key is missing, and so is one that never was.
    for key in ["route/blog", "nope"] {
        assert!(complaint(dir, &["fold", "get", "edge", key], 3).contains("has no key"));
    }
    assert_eq!(check(dir, &["fold", "cursor", "edge"], 0), "24\n");
    let cursor = json(&check(dir, &["fold", "cursor", "edge", "--json"], 0));
    assert_eq!(cursor["cursor_hex"], "0000000000000018");
    let stats = json(&check(dir, &["fold", "stats", "edge", "--json"], 0));
    assert_eq!((&stats["keys"], &stats["durable"]["rev"]), (&10.into(), &24.into()));
    assert!(check(dir, &["inspect", "edge"], 0).starts_with("edge: a fold\nkeys 10 "));
    for command in [&["verify", "edge"][..], &["fold", "verify", "edge"]] {
        assert!(check(dir, command, 0).starts_with("edge: sound; cursor 24"));
    }
    assert!(check(dir, &["who", "edge"], 0).contains("nobody"));
    check(dir, &["sweep", "edge"], 0);
    assert!(check(dir, &["recover", "edge"], 0).contains("nothing to do"));
}

#[test]
fn it_goes_around_by_artifact_and_by_the_older_forms() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    check_fed(dir, &["fold", "apply", "edge"], ROUTES, 0);
    let digest = check(dir, &["fold", "digest", "edge"], 0);
    assert!(digest.ends_with("  cursor 24\n") && digest.len() == 64 + 12, "{digest}");
    let told = check(dir, &["fold", "export", "edge", "art", "--digest"], 0);
    assert!(told.starts_with("art: an artifact of 10 entries up to cursor 24, 1 file"), "{told}");
    check(dir, &["fold", "export", "edge", "art"], 12);
    check(dir, &["verify", "art"], 0);
    check(dir, &["fold", "import", "art", "edge2"], 0);
    check(dir, &["fold", "import", "art", "edge2"], 12);
    for (from, source, to, dest) in [
        ("fold", "edge", "pgss", "edge.snap"),
        ("pgss", "edge.snap", "fold", "edge3"),
        ("fold", "edge", "slipstream-artifact", "old"),
        ("slipstream-artifact", "old", "fold", "edge4"),
        ("slipstream-artifact", "old", "pgss", "old.snap"),
        ("pgss", "edge.snap", "slipstream-artifact", "old2"),
    ] {
        let args = ["convert", "--from", from, source, "--to", to, dest];
        assert_eq!(check(dir, &args, 0), format!("{dest}: 10 keys up to cursor 24\n"));
        check(dir, &args, 12);
        let help = check(dir, &["convert", "--help"], 0);
        assert!(help.contains(&format!("{from}  {to}")), "{from} {to}");
    }
    check(dir, &["convert", "--from", "pgss", "edge.snap", "--to", "fold", "x", "--fixed", "4"], 2);
    assert_eq!(fs::read(dir.join("edge.snap")).unwrap(), fs::read(dir.join("old.snap")).unwrap());
    for fold in ["edge2", "edge3", "edge4"] {
        assert_eq!(check(dir, &["fold", "digest", fold], 0), digest);
        assert_eq!(check(dir, &["fold", "diff", "edge", fold, "--exit-code"], 0), "");
    }
    // What is of the older program is named, with the command that takes it.
    assert!(complaint(dir, &["fold", "import", "old", "x"], 10).contains("untorn convert"));
    assert!(complaint(dir, &["fold", "stats", "edge.snap"], 10).contains("untorn convert"));
    // A part of the keys.
    check(dir, &["fold", "export", "edge", "routes", "--scope", "route/"], 0);
    check(dir, &["fold", "import", "routes", "edge5"], 0);
    assert_eq!(check(dir, &["fold", "range", "edge5"], 0), RANGE);
    // A flipped byte of an artifact.
    flip(&dir.join("art").join("data"), "10.0.1.1");
    check(dir, &["fold", "import", "art", "x"], 4);
    // A damaged file of the older program, and a torn one.
    flip(dir, "10.0.1.1:8080");
    let torn = fs::read(dir.join("old.snap")).unwrap();
    fs::write(dir.join("torn.snap"), torn.get(..torn.len() - 3).unwrap()).unwrap();
    assert!(temporaries(dir).is_empty());
    assert!(!dir.join("x").exists());
}

#[test]
fn a_difference_is_told_and_makes_one_the_other() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    for fold in ["a", "b"] {
        check_fed(dir, &["fold", "apply", fold], ROUTES, 0);
    }
    let more = b"{\"op\":\"put\",\"key\":\"route/new\",\"value\":\"x\",\"rev\":30}\n\
        {\"op\":\"delete\",\"key\":\"route/docs\",\"rev\":31}\n\
        {\"op\":\"put\",\"key\":\"limit/api\",\"value\":\"3\",\"rev\":32}\n";
    check_fed(dir, &["fold", "apply", "b"], more, 0);
    let diff = check(dir, &["fold", "diff", "a", "b", "--exit-code"], 12);
    assert_eq!(diff, "~ limit/api  15 -> 32\n- route/docs  3\n+ route/new  30\n");
    let lines = check(dir, &["fold", "diff", "a", "b", "--ndjson"], 0);
    assert_eq!(lines.lines().count(), 4);
    check_fed(dir, &["fold", "apply", "a"], lines.as_bytes(), 0);
    assert_eq!(check(dir, &["fold", "digest", "a"], 0), check(dir, &["fold", "digest", "b"], 0),);
}

#[test]
fn what_cannot_be_used_is_named_and_the_rest_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let good = "{\"op\":\"put\",\"key\":\"a\",\"value\":\"1\",\"rev\":7}\n";
    let told = run_in(dir, &["fold", "apply", "x"], format!("{good}{{\"op\":1}}\n").as_bytes());
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.contains("applied up to cursor 7") && told.contains("line 2 at byte 43"),
        "{told}"
    );
    let torn = run_in(dir, &["fold", "apply", "x"], b"{\"op\":\"put\",\"key\":\"b\",\"va");
    assert_eq!(torn.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&torn.stderr).contains("line 1 at byte 0 is torn"));
    assert_eq!(check(dir, &["fold", "range", "x"], 0), "a\t1\n");
    // An empty value is a value; a position of any bytes is a position.
    let odd =
        b"{\"op\":\"put\",\"key\":\"e\",\"value\":\"\",\"rev_hex\":\"00000000000000070001\"}\n";
    check_fed(dir, &["fold", "apply", "y"], odd, 0);
    assert_eq!(check(dir, &["fold", "get", "y", "e"], 0), "\n");
    assert_eq!(check(dir, &["fold", "cursor", "y"], 0), "0x00000000000000070001\n");
}

#[test]
fn what_is_no_fold_is_said() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::create_dir(dir.join("other")).unwrap();
    fs::write(dir.join("other").join("file"), "x").unwrap();
    fs::write(dir.join("file"), "x").unwrap();
    check_fed(dir, &["log", "append", "events"], b"x\n", 0);
    for (name, exit) in [("no", 3), ("empty", 3), ("other", 10), ("file", 10), ("events", 10)] {
        for command in [
            &["stats", name][..],
            &["get", name, "k"],
            &["range", name],
            &["cursor", name],
            &["watch", name],
            &["export", name, "dest"],
            &["compact", name],
            &["digest", name],
            &["diff", name, name],
            &["verify", name],
        ] {
            check(dir, &[&["fold"], command, &["--json"]].concat(), exit);
        }
    }
    for name in ["other", "file", "events"] {
        check_fed(dir, &["fold", "apply", name, "--json"], ROUTES, 10);
        check(dir, &["fold", "follow", name, "--from", "-"], 10);
    }
    check(dir, &["fold", "follow", "new", "--from", "missing"], 3);
    check(dir, &["fold", "import", "no", "x"], 3);
    check(dir, &["fold", "import", "events", "x"], 10);
    assert!(!dir.join("x").exists() && !dir.join("new").exists() && !dir.join("dest").exists());
}

#[test]
fn a_damaged_log_is_told_cut_or_salvaged() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    three_parts(dir);
    let path = flip(&dir.join("edge").join("log"), "value-1500-");
    let before = tree(&dir.join("edge"));
    let told = run_in(dir, &["verify", "edge"], b"");
    assert_eq!(told.status.code(), Some(4));
    let (line, help) =
        (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    let name = path.file_name().unwrap().to_string_lossy();
    assert!(line.starts_with(&format!("damaged: edge/log/{name} at ")), "{line}");
    assert!(line.ends_with("; last good cursor 1000, 1 intact commit behind it\n"), "{line}");
    assert!(help.contains("help: untorn recover edge --truncate --yes"), "{help}");
    let told = json(&check(dir, &["fold", "verify", "edge", "--json"], 4));
    assert_eq!((&told["sound"], &told["behind"]), (&false.into(), &1.into()));
    assert_eq!(told["damage"].as_array().unwrap().len(), 1, "{told}");
    for command in [
        &["inspect", "edge"][..],
        &["fold", "stats", "edge"],
        &["fold", "get", "edge", "svc-001"],
        &["fold", "apply", "edge"],
        &["recover", "edge"],
        &["recover", "edge", "--truncate"],
        &["recover", "edge", "--salvage", "--dry-run"],
    ] {
        check(dir, command, 4);
    }
    assert_eq!(tree(&dir.join("edge")), before, "nothing was changed");
    let told = complaint(dir, &["fold", "apply", "edge"], 4);
    assert!(told.contains("last good cursor 1000, 1 intact commits behind it"), "{told}");
    check(dir, &["recover", "edge/log", "--truncate", "--yes"], 12);
    check(dir, &["recover", "edge", "--salvage", "new", "--yes"], 2);
    check(dir, &["recover", "edge", "--adopt"], 12);
    copy(&dir.join("edge"), &dir.join("other"));
    // What precedes it, at its cursor.
    let told = check(dir, &["recover", "edge", "--truncate", "--yes"], 5);
    assert!(told.contains("kept up to cursor 1000") && told.contains("edge/log/quarantine"));
    assert!(check(dir, &["fold", "get", "edge", "svc-001"], 0).starts_with("value-501-"));
    // What is behind it as well, at the same cursor, and the rest comes again.
    check(dir, &["fold", "salvage", "other"], 4);
    check(dir, &["fold", "salvage", "other", "--yes"], 5);
    assert!(check(dir, &["fold", "get", "other", "svc-001"], 0).starts_with("value-2501-"));
    for fold in ["edge", "other"] {
        assert_eq!(check(dir, &["fold", "cursor", fold], 0), "1000\n");
        check(dir, &["verify", fold], 0);
        check_fed(dir, &["fold", "apply", fold], &puts(1001..=3000), 0);
        assert_eq!(check(dir, &["fold", "cursor", fold], 0), "3000\n");
    }
    check(dir, &["fold", "diff", "edge", "other", "--exit-code"], 0);
}

#[test]
fn a_damaged_base_is_told_with_its_keys_and_salvaged() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    check_fed(dir, &["fold", "apply", "edge"], &puts(1..=1000), 0);
    check(dir, &["fold", "compact", "edge"], 0);
    assert!(check(dir, &["inspect", "edge/base"], 0).contains("`untorn inspect edge`"));
    flip(&dir.join("edge"), "value-900-");
    let told = json(&check(dir, &["verify", "edge", "--json"], 4));
    let keys = &told["damage"][0]["keys"];
    assert!(keys[0].as_str() <= Some("svc-400") && keys[1].as_str() > Some("svc-400"), "{keys}");
    // The rest is served.
    check(dir, &["fold", "get", "edge", "svc-001"], 0);
    check(dir, &["fold", "get", "edge", "svc-400"], 4);
    check(dir, &["fold", "range", "edge"], 4);
    check(dir, &["fold", "digest", "edge"], 4);
    check(dir, &["fold", "export", "edge", "art"], 4);
    assert!(!dir.join("art").exists());
    assert!(complaint(dir, &["recover", "edge"], 4).contains("--salvage"));
    assert!(
        complaint(dir, &["recover", "edge", "--truncate", "--yes"], 4).contains("cannot help here")
    );
    let told = check(dir, &["recover", "edge", "--salvage", "--yes"], 5);
    assert!(told.contains("the cursor is none") && told.contains("edge/quarantine"), "{told}");
    check(dir, &["verify", "edge"], 0);
    assert_eq!(check(dir, &["fold", "cursor", "edge"], 0), "none\n");
    check(dir, &["fold", "get", "edge", "svc-400"], 3);
    // The whole source again: what was lost is back.
    fs::write(dir.join("feed"), puts(1..=1000)).unwrap();
    check_fed(dir, &["fold", "apply", "edge"], &puts(1..=1000), 0);
    assert_eq!(check(dir, &["fold", "cursor", "edge"], 0), "1000\n");
}

#[test]
fn a_torn_tail_is_healed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let mut owner =
        untorn(&["fold", "apply", "edge"]).current_dir(dir).stdin(Stdio::piped()).spawn().unwrap();
    owner.stdin.as_mut().unwrap().write_all(&puts(1..=2500)).unwrap();
    wait_for(dir, "2000");
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(check(dir, &["verify", "edge"], 0).contains("cursor 2000"));
    assert!(check(dir, &["recover", "edge", "--dry-run"], 0).starts_with("would heal"));
    check(dir, &["recover", "edge"], 0);
    assert!(check(dir, &["recover", "edge"], 0).contains("nothing to do"));
    check_fed(dir, &["fold", "apply", "edge"], &puts(1..=2500), 0);
    assert_eq!(check(dir, &["fold", "range", "edge", "--count"], 0), "500\n");
    assert_eq!(check(dir, &["fold", "cursor", "edge"], 0), "2500\n");
}

/// Waits until a fold that another process writes is at this cursor.
fn wait_for(dir: &Path, cursor: &str) {
    for _ in 0..500 {
        let output = run_in(dir, &["fold", "cursor", "edge"], b"");
        if String::from_utf8_lossy(&output.stdout).trim() == cursor {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the fold never came to {cursor}");
}

fn follower(dir: &Path, args: &[&str]) -> Child {
    let args = [&["fold", "follow", "edge"], args].concat();
    let mut command = untorn(&args);
    command.current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn a_follower_owns_others_watch_and_the_end_of_stdin_is_the_end() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let mut owner = follower(dir, &["--from", "-"]);
    let lines: Vec<&[u8]> = ROUTES.split_inclusive(|byte| *byte == b'\n').collect();
    let (first, rest) = lines.split_at(10);
    let mut stdin = owner.stdin.take().unwrap();
    stdin.write_all(&first.concat()).unwrap();
    wait_for(dir, "10");
    assert!(check(dir, &["who", "edge"], 0).starts_with("held by process"));
    for command in
        [&["apply", "edge"][..], &["compact", "edge"], &["follow", "edge", "--from", "-"]]
    {
        check(dir, &[&["fold"], command, &["--json"]].concat(), 11);
    }
    check(dir, &["fold", "export", "edge", "art"], 0);
    check(dir, &["verify", "edge"], 0);
    let watch = ["fold", "watch", "edge", "route/", "--all", "--interval", "10", "--timeout", "60"];
    let mut watcher = untorn(&watch).current_dir(dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = BufReader::new(watcher.stdout.take().unwrap()).lines().map(Result::unwrap);
    let all: Vec<String> = seen.by_ref().take(5).collect();
    assert_eq!(json(&all[4])["rev"], 10, "{all:?}");
    stdin.write_all(&rest.concat()).unwrap();
    let mut changes = Vec::new();
    for line in seen.by_ref() {
        let line = json(&line);
        let over = line["op"] == "progress" && line["rev"] == 24;
        changes.push(line);
        if over {
            break;
        }
    }
    assert!(changes.iter().any(|line| line["op"] == "delete" && line["key"] == "route/blog"));
    assert!(changes.iter().any(|line| line["key"] == "route/static" && line["rev"] == 19));
    assert!(!changes.iter().any(|line| line["key"] == "limit/api"), "{changes:?}");
    kill_process(Pid::from_child(&watcher), Signal::INT).unwrap();
    assert_eq!(watcher.wait().unwrap().code(), Some(0));
    drop(stdin);
    let ended = owner.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "19 updates applied, cursor 24\n");
    assert_eq!(check(dir, &["fold", "range", "edge", "route/"], 0), RANGE);
}

#[test]
fn a_growing_file_is_followed_by_prefix_and_a_signal_ends_it_in_order() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fs::write(dir.join("feed"), ROUTES).unwrap();
    let args = ["--from", "feed", "--prefix", "route/"];
    for (signal, line) in [(Signal::TERM, 40), (Signal::INT, 41)] {
        let owner = follower(dir, &args);
        wait_for(dir, &(if line == 40 { 24 } else { 40 }).to_string());
        let mut feed = fs::OpenOptions::new().append(true).open(dir.join("feed")).unwrap();
        writeln!(
            feed,
            "{{\"op\":\"put\",\"key\":\"route/z\",\"value\":\"{line}\",\"rev\":{line}}}"
        )
        .unwrap();
        wait_for(dir, &line.to_string());
        kill_process(Pid::from_child(&owner), signal).unwrap();
        let ended = owner.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stdout).ends_with(&format!("cursor {line}\n")));
    }
    assert_eq!(
        check(dir, &["fold", "range", "edge"], 0),
        format!("{RANGE}route/z\t41\n"),
        "only the prefix"
    );
    // Another source, and an older state of the same one.
    fs::write(dir.join("other"), ROUTES).unwrap();
    check(dir, &["fold", "follow", "edge", "--from", "other", "--json"], 12);
    fs::write(dir.join("feed"), ROUTES.get(..400).unwrap()).unwrap();
    check(dir, &["fold", "follow", "edge", "--from", "feed"], 12);
    assert_eq!(check(dir, &["fold", "cursor", "edge"], 0), "41\n");
}

#[test]
fn a_full_disk_keeps_what_was_applied() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let Some(_mounted) = Mounted::tmpfs(dir, "size=2m") else { return };
    check_fed(dir, &["fold", "apply", "edge"], ROUTES, 0);
    let output = run_in(dir, &["fold", "apply", "edge"], &puts(100..=60_000));
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("applied up to cursor"), "{told}");
    check(dir, &["verify", "edge"], 0);
    let cursor: u64 = check(dir, &["fold", "cursor", "edge"], 0).trim().parse().unwrap();
    assert!(told.contains(&format!("applied up to cursor {cursor}:")), "{told}: {cursor}");
    assert_eq!(check(dir, &["fold", "range", "edge", "route/"], 0), RANGE);
    // Not a byte is left.
    let mut fill = fs::File::create(dir.join("fill")).unwrap();
    while fill.write_all(&[1; 4096]).is_ok() {}
    check(dir, &["fold", "export", "edge", "art"], 74);
    assert!(!dir.join("art").exists());
}

/// All files below a directory and what is in them, but who holds it.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else if !path.ends_with("LOCK") {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
