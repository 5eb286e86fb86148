//! The command as its users run it: by its binary, with its exit codes, its stdout and its stderr.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[cfg(test)]
mod aof;
#[cfg(test)]
mod chunk;
#[cfg(test)]
mod convert;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod files;
#[cfg(test)]
mod fold;
#[cfg(test)]
mod journals;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod prove;
#[cfg(test)]
#[expect(dead_code, reason = "the unit tests of the source use the rest of it")]
mod range_server;
#[cfg(test)]
mod snap;

#[cfg(test)]
fn untorn(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_untorn"));
    command.args(args).env("NO_COLOR", "1");
    command
}

/// Runs it with `stdin`.
#[cfg(test)]
fn run_in(dir: &Path, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = untorn(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // It may end before it reads.
            let _fed = pipe.write_all(stdin).is_ok();
        });
        child.wait_with_output().unwrap()
    })
}

/// Runs it; its exit code must be `exit`. Returns stdout.
#[cfg(test)]
#[track_caller]
fn check_fed(dir: &Path, args: &[&str], stdin: &[u8], exit: i32) -> String {
    let output = run_in(dir, args, stdin);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {stderr}");
    if exit == 0 {
        assert!(!stderr.contains("panicked"), "{stderr}");
    } else if args.contains(&"--json") && !stderr.is_empty() {
        let error: serde_json::Value = serde_json::from_str(&stderr).expect("one object on stderr");
        assert_eq!(error["exit"], exit, "{error}");
        assert!(error["kind"].is_string() && error["message"].is_string(), "{error}");
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(test)]
#[track_caller]
fn check(dir: &Path, args: &[&str], exit: i32) -> String {
    check_fed(dir, args, b"", exit)
}

/// What it says on stderr when it fails.
#[cfg(test)]
#[track_caller]
fn complaint(dir: &Path, args: &[&str], exit: i32) -> String {
    let output = run_in(dir, args, b"");
    assert_eq!(output.status.code(), Some(exit), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Names that untorn gives to what is unfinished.
#[cfg(test)]
fn temporaries(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".untorn-tmp")).collect()
}

/// A small file system of its own at `dir`, until it is dropped; `None` where that is not allowed.
struct Mounted<'a>(&'a Path);

#[cfg(test)]
impl<'a> Mounted<'a> {
    fn tmpfs(dir: &'a Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: only root may mount a tmpfs here");
        }
        mounted.then_some(Self(dir))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

const COMMANDS: [&[&str]; 75] = [
    &[],
    &["put"],
    &["get"],
    &["inspect"],
    &["verify"],
    &["recover"],
    &["convert"],
    &["fetch"],
    &["chunk"],
    &["chunk", "status"],
    &["chunk", "map"],
    &["chunk", "wait"],
    &["chunk", "cat"],
    &["chunk", "verify"],
    &["chunk", "repair"],
    &["chunk", "abandon"],
    &["aof"],
    &["aof", "create"],
    &["aof", "append"],
    &["aof", "rewind"],
    &["aof", "drop-head"],
    &["aof", "compact"],
    &["aof", "note"],
    &["aof", "stats"],
    &["aof", "show"],
    &["aof", "cat"],
    &["aof", "tail"],
    &["aof", "verify"],
    &["aof", "export-sizes"],
    &["fold"],
    &["fold", "stats"],
    &["fold", "get"],
    &["fold", "range"],
    &["fold", "cursor"],
    &["fold", "apply"],
    &["fold", "follow"],
    &["fold", "watch"],
    &["fold", "export"],
    &["fold", "import"],
    &["fold", "compact"],
    &["fold", "digest"],
    &["fold", "diff"],
    &["fold", "verify"],
    &["pool"],
    &["pool", "ls"],
    &["pool", "stats"],
    &["pool", "sets"],
    &["pool", "verify"],
    &["pool", "gc"],
    &["pool", "get"],
    &["pool", "export"],
    &["sweep"],
    &["who"],
    &["probe"],
    &["log"],
    &["log", "append"],
    &["log", "cat"],
    &["log", "tail"],
    &["log", "inspect"],
    &["log", "truncate"],
    &["snap"],
    &["snap", "show"],
    &["snap", "verify"],
    &["snap", "put"],
    &["snap", "get"],
    &["journal"],
    &["journal", "cat"],
    &["journal", "tail"],
    &["journal", "verify"],
    &["journal", "stats"],
    &["journal", "import"],
    &["bench", "disk"],
    &["completions"],
    &["man"],
    &["prove"],
];

#[test]
fn every_command_has_help_with_an_example_or_its_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let mut args = command.to_vec();
        args.push("--help");
        let help = check(dir.path(), &args, 0);
        assert!(help.contains("Usage:"), "{command:?}");
        assert!(help.contains("Exit codes") || help.contains("Example"), "{command:?}: {help}");
        assert!(!help.contains("without-sync"), "{help}");
        assert!(help.is_ascii(), "{command:?}");
    }
}

#[test]
fn a_wrong_argument_is_usage() {
    let dir = tempfile::tempdir().unwrap();
    check(dir.path(), &["put"], 2);
    check(dir.path(), &["no-such-command"], 2);
    check(dir.path(), &["put", "x", "--mode", "999", "--json"], 2);
    check(dir.path(), &["put", "x", "--if-match", "abc"], 2);
    check(dir.path(), &["log", "truncate", "x"], 2);
    check(dir.path(), &["log", "truncate", "x", "--front", "1", "--back", "2"], 2);
    check(dir.path(), &["recover", "x", "--truncate", "--accept-loss", "9..1", "--json"], 2);
    check(dir.path(), &["recover", "x", "--accept-loss", "1..9"], 2);
    check(dir.path(), &["journal", "checkpoint", "x"], 2);
    check(dir.path(), &["journal", "tail", "x", "--from", "1", "-n", "2"], 2);
    check(dir.path(), &["fetch", "ftp://h/f", "f", "--json"], 2);
    check(dir.path(), &["fetch", "http://h/f", "f", "--sum", "sha256:00"], 2);
    check(dir.path(), &["fetch", "http://h/f", "-", "--restart", "--json"], 2);
    check(dir.path(), &["chunk", "wait", "x", "--range", "5..5"], 2);
    check(dir.path(), &["sweep", "x", "--older-than", "30"], 2);
    for wrong in [
        &["create", "x"][..],
        &["create", "x", "--fixed", "0"],
        &["create", "x", "--fixed", "4", "--variable"],
        &["create", "x", "--fixed", "4", "--size-file", "s"],
        &["append", "x", "--variable", "--batch", "0"],
        &["append", "x", "--variable", "--hex", "--raw"],
        &["rewind", "x"],
        &["rewind", "x", "-1"],
        &["drop-head", "x", "a"],
        &["compact", "x"],
        &["cat", "x", "5..4"],
        &["cat", "x", "--raw", "--pos"],
        &["tail", "x", "--from", "1", "-n", "2"],
        &["export-sizes", "x"],
    ] {
        check(dir.path(), &[&["aof"], wrong].concat(), 2);
    }
    for wrong in [
        &["stats"][..],
        &["get", "x"],
        &["get", "x", "k", "--version", "--raw"],
        &["range", "x", "--count", "--keys"],
        &["range", "x", "--limit", "-1"],
        &["follow", "x"],
        &["follow", "x", "--from", "-", "--repair", "perhaps"],
        &["watch", "x", "--interval", "0"],
        &["export", "x"],
        &["import", "x"],
        &["diff", "x"],
        &["publish", "x"],
    ] {
        check(dir.path(), &[&["fold"], wrong].concat(), 2);
    }
    for wrong in [
        &["ls"][..],
        &["stats", "x", "y"],
        &["sets"],
        &["verify"],
        &["gc", "x", "--no"],
        &["get", "x"],
        &["export", "x"],
        &["put", "x"],
    ] {
        check(dir.path(), &[&["pool"], wrong].concat(), 2);
    }
    let from = ["convert", "--from", "file-backed", "x", "--to", "pool", "y"];
    check(dir.path(), &from, 2);
    check(dir.path(), &[&from[..], &["--codec", "no-such-codec"]].concat(), 2);
    check(dir.path(), &[&from[..], &["--codec", "raw", "--set", "s", "--json"]].concat(), 2);
    let to = ["convert", "--from", "pool", "x", "--to", "file-backed", "y"];
    check(dir.path(), &[&to[..], &["--codec", "raw"]].concat(), 2);
    check(dir.path(), &[&to[..], &["--accept-suspect", "--json"]].concat(), 2);
    check(dir.path(), &["recover", "x", "--adopt", "--truncate"], 2);
    check(dir.path(), &["convert", "--from", "grin", "x", "--to", "log", "y", "--json"], 2);
    check(dir.path(), &["prove", "--without-sync", "no-such-site", "--json"], 2);
    check(dir.path(), &["prove", "--store", "no-such-store", "--json"], 2);
}

#[test]
fn what_is_not_there_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["get", "x"][..],
        &["put", "no/x"],
        &["inspect", "x"],
        &["verify", "x"],
        &["recover", "x"],
        &["recover", "x", "--salvage", "y"],
        &["chunk", "status", "x"],
        &["chunk", "map", "x"],
        &["chunk", "wait", "x"],
        &["chunk", "cat", "x"],
        &["chunk", "verify", "x"],
        &["chunk", "repair", "x"],
        &["chunk", "abandon", "x", "--yes"],
        &["sweep", "x"],
        &["who", "x"],
        &["probe", "x"],
        &["log", "cat", "x"],
        &["log", "tail", "x"],
        &["log", "inspect", "x"],
        &["log", "truncate", "x", "--back", "1"],
        &["snap", "show", "x"],
        &["snap", "verify", "x"],
        &["snap", "get", "x"],
        &["snap", "put", "no/x"],
        &["journal", "cat", "x"],
        &["journal", "tail", "x"],
        &["journal", "verify", "x"],
        &["journal", "stats", "x"],
        &["journal", "import", "x", "y"],
        &["aof", "create", "no/x", "--fixed", "4"],
        &["aof", "append", "x"],
        &["aof", "rewind", "x", "1"],
        &["aof", "drop-head", "x", "1"],
        &["aof", "compact", "x", "--from", "-"],
        &["aof", "note", "x"],
        &["aof", "stats", "x"],
        &["aof", "show", "x"],
        &["aof", "cat", "x"],
        &["aof", "tail", "x"],
        &["aof", "tail", "-f", "x"],
        &["aof", "verify", "x"],
        &["aof", "export-sizes", "x", "y"],
        &["fold", "stats", "x"],
        &["fold", "get", "x", "k"],
        &["fold", "range", "x"],
        &["fold", "cursor", "x"],
        &["fold", "follow", "x", "--from", "y"],
        &["fold", "watch", "x"],
        &["fold", "export", "x", "y"],
        &["fold", "import", "x", "y"],
        &["fold", "compact", "x"],
        &["fold", "digest", "x"],
        &["fold", "diff", "x", "y"],
        &["fold", "verify", "x"],
        &["pool", "ls", "x"],
        &["pool", "ls", "x", "--set", "s"],
        &["pool", "stats", "x"],
        &["pool", "sets", "x"],
        &["pool", "verify", "x"],
        &["pool", "gc", "x"],
        &["pool", "gc", "x", "--yes"],
        &["pool", "get", "x", "00"],
        &["pool", "export", "x", "y"],
        &["convert", "--from", "file-backed", "x", "--to", "pool", "y", "--codec", "raw"],
        &["convert", "--from", "pool", "x", "--to", "file-backed", "y"],
        &["convert", "--from", "pgss", "x", "--to", "fold", "y"],
        &["convert", "--from", "slipstream-artifact", "x", "--to", "fold", "y"],
        &["convert", "--from", "fold", "x", "--to", "pgss", "y"],
        &["convert", "--from", "grin", "x", "--to", "append", "y", "--fixed", "4"],
        &["convert", "--from", "append", "x", "--to", "grin", "y"],
        &["bench", "disk", "x"],
    ] {
        let mut args = args.to_vec();
        args.push("--json");
        check(dir.path(), &args, 3);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "reading makes nothing");
}

#[test]
fn completions_and_pages_are_made() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(check(dir.path(), &["completions", shell], 0).contains("untorn"));
    }
    assert!(check(dir.path(), &["man"], 0).contains(".TH untorn"));
    std::fs::create_dir(dir.path().join("man1")).unwrap();
    check(dir.path(), &["man", "man1"], 0);
    assert!(dir.path().join("man1/untorn-log-append.1").exists());
}
