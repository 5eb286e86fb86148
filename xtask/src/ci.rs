//! The jobs of CI. One that cannot run here says so; that is never a pass.

use crate::{root, tidy};

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

enum Outcome {
    Passed,
    Failed,
    /// Why it could not run.
    Skipped(String),
}

use Outcome::{Failed, Passed, Skipped};

type Job = fn() -> Outcome;

const JOBS: [(&str, Job); 14] = [
    ("fmt", fmt),
    ("tidy", tidy_all),
    ("clippy", clippy),
    ("features", features),
    ("docs", docs),
    ("test", all_tests),
    ("shuttle", shuttle),
    ("deps", deps),
    ("deny", deny),
    ("bench", bench),
    ("fuzz", fuzz),
    ("targets", targets),
    ("msrv", msrv),
    ("miri", miri),
];

pub(crate) fn names() -> Vec<&'static str> {
    JOBS.iter().map(|(name, _)| *name).collect()
}

pub(crate) fn known(jobs: &[&str]) -> bool {
    !jobs.is_empty() && jobs.iter().all(|job| names().contains(job))
}

/// Runs the jobs, all of them even if one fails, and prints how each ended.
pub(crate) fn run(jobs: &[&str]) -> bool {
    let mut ended = Vec::new();
    for (name, job) in JOBS.iter().filter(|(name, _)| jobs.contains(name)) {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = job();
        if let Skipped(why) = &outcome {
            println!("*skipped*: {why}");
        }
        ended.push((*name, outcome, start.elapsed()));
    }
    println!("\n{}", table(&ended));
    let failed = ended.iter().filter(|(_, outcome, _)| matches!(outcome, Failed)).count();
    let skipped = ended.iter().filter(|(_, outcome, _)| matches!(outcome, Skipped(_))).count();
    let word = if failed == 0 { "passed" } else { "FAILED" };
    println!("ci {word}: {} jobs, {failed} failed, {skipped} skipped", ended.len());
    failed == 0
}

/// The tests alone, with a summary of their own.
pub(crate) fn test() -> bool {
    let start = Instant::now();
    let passed = matches!(all_tests(), Passed);
    let word = if passed { "passed" } else { "FAILED" };
    println!("\ntests {word} after {:.1} s", start.elapsed().as_secs_f64());
    passed
}

fn table(ended: &[(&str, Outcome, Duration)]) -> String {
    let mut table = String::from("job        result         seconds\n");
    for (name, outcome, elapsed) in ended {
        let (word, why) = match outcome {
            Passed => ("ok", ""),
            Failed => ("FAILED", ""),
            Skipped(why) => ("*skipped*", why.as_str()),
        };
        let seconds = elapsed.as_secs_f64();
        let line = format!("{name:<10} {word:<12} {seconds:>9.1}  {why}");
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The cargo of another toolchain: only rustup's proxy understands the plus.
fn cargo_of(toolchain: &str) -> Command {
    let mut command = Command::new("cargo");
    command.arg(format!("+{toolchain}")).current_dir(root()).env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Shows the command, runs it, and passes if it does.
fn passes(command: &mut Command) -> Outcome {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    println!("$ cargo {}", words.join(" "));
    match command.status() {
        Ok(status) if status.success() => Passed,
        Ok(_) => Failed,
        Err(error) => {
            println!("cargo does not start: {error}");
            Failed
        }
    }
}

/// Whether the command is there and answers.
fn answers(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The lines a command prints, or none if it cannot run.
fn lines_of(command: &mut Command) -> Vec<String> {
    let Ok(output) = command.stderr(Stdio::inherit()).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn all_pass(commands: impl IntoIterator<Item = Command>) -> Outcome {
    let failed = commands.into_iter().filter_map(|mut command| match passes(&mut command) {
        Passed => None,
        _ => Some(()),
    });
    if failed.count() == 0 { Passed } else { Failed }
}

fn fmt() -> Outcome {
    passes(cargo().args(["fmt", "--all", "--check"]))
}

fn tidy_all() -> Outcome {
    match tidy::check(&root()) {
        Err(error) => {
            println!("the tree cannot be read: {error}");
            Failed
        }
        Ok(findings) => {
            for finding in &findings {
                println!("{finding}");
            }
            if findings.is_empty() { Passed } else { Failed }
        }
    }
}

fn clippy() -> Outcome {
    let args = "clippy --workspace --all-targets --all-features -- -D warnings";
    passes(cargo().args(args.split(' ')))
}

/// No feature, each alone, all but none of the workspace's others: warnings are errors in each.
fn features() -> Outcome {
    let manifest = root().join("crates/untorn/Cargo.toml");
    let Ok(manifest) = std::fs::read_to_string(manifest) else { return Failed };
    let mut sets = vec![vec!["--no-default-features"]];
    let names = features_of(&manifest);
    if names.is_empty() {
        println!("the library's features were not found");
        return Failed;
    }
    sets.extend(names.into_iter().map(|name| vec!["--no-default-features", "--features", name]));
    sets.push(vec!["--all-features"]);
    all_pass(sets.into_iter().map(|set| {
        let mut command = cargo();
        command.args(["clippy", "--package", "untorn"]).args(set).args(["--", "-D", "warnings"]);
        command
    }))
}

/// The names in the table `[features]`, but the default.
fn features_of(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[features]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with('#') && *name != "default")
        .collect()
}

fn docs() -> Outcome {
    let mut command = cargo();
    command.args(["doc", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings");
    passes(&mut command)
}

fn all_tests() -> Outcome {
    passes(cargo().args(["test", "--workspace", "--all-features"]))
}

/// The read side of `append`, and the entries of `pool`, under a scheduler that chooses which thread goes on. The flag is one of all crates, so that they are built
/// apart: the builds of the other jobs stay.
fn shuttle() -> Outcome {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let flags = format!("{flags} --cfg shuttle -D warnings");
    let scheduled = |args: &str| {
        let mut command = cargo();
        command.args(args.split(' ')).env("RUSTFLAGS", flags.trim_start());
        command.env("CARGO_TARGET_DIR", target.join("shuttle"));
        // It would win over the other.
        command.env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    };
    let tree = "tree --package untorn --all-features --edges normal,dev";
    if answers(cargo().args(tree.split(' '))) && !answers(&mut scheduled(tree)) {
        return Skipped("the crate shuttle cannot be fetched".into());
    }
    let tests = "test --package untorn --all-features --lib -- shuttle_tests::";
    // Without the flag there are none, and none would pass.
    let found = lines_of(scheduled(tests).arg("--list"));
    if !found.iter().any(|line| line.contains("::shuttle_tests::")) {
        println!("no test was built with the scheduler");
        return Failed;
    }
    passes(&mut scheduled(tests))
}

/// Without its default features the library depends on the crates in `xtask/deps.txt` and no others: no C code.
fn deps() -> Outcome {
    let Ok(kept) = std::fs::read_to_string(root().join("xtask/deps.txt")) else {
        println!("xtask/deps.txt is missing");
        return Failed;
    };
    let kept: Vec<&str> =
        kept.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let args = "tree --package untorn --no-default-features --edges normal,build \
                --target x86_64-unknown-linux-gnu --prefix none --format {p}";
    let tree = lines_of(cargo().args(args.split_whitespace()));
    let mut found: Vec<&str> = tree
        .iter()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    found.sort_unstable();
    found.dedup();
    if found == kept {
        println!("{}", found.join(" "));
        return Passed;
    }
    println!("kept in xtask/deps.txt: {}\nfound: {}", kept.join(" "), found.join(" "));
    Failed
}

fn deny() -> Outcome {
    if !answers(cargo().args(["deny", "--version"])) {
        return Skipped("cargo-deny is not installed".into());
    }
    passes(cargo().args(["deny", "--all-features", "check"]))
}

/// Its tests read files of another crate, and let that one read ours.
fn bench() -> Outcome {
    match own_workspace("bench") {
        Passed => passes(cargo().args(["test", "--manifest-path", "bench/Cargo.toml"])),
        outcome => outcome,
    }
}

fn fuzz() -> Outcome {
    own_workspace("fuzz")
}

/// Workspaces of their own are compiled, and not more: their dependencies are none of the library's.
fn own_workspace(folder: &str) -> Outcome {
    let manifest = format!("{folder}/Cargo.toml");
    if !root().join(&manifest).is_file() {
        return Skipped(format!("there is no {manifest}"));
    }
    passes(cargo().args(["check", "--all-targets", "--manifest-path", &manifest]))
}

/// Systems that are only compiled for: macOS, and one whose pointers have 32 bits.
fn targets() -> Outcome {
    let mut rustup = Command::new("rustup");
    let installed = lines_of(rustup.args(["target", "list", "--installed"]));
    let wanted = ["aarch64-apple-darwin", "i686-unknown-linux-gnu"];
    let (here, missing): (Vec<&str>, Vec<&str>) =
        wanted.into_iter().partition(|target| installed.iter().any(|line| line == target));
    let checked = all_pass(here.into_iter().map(|target| {
        let mut command = cargo();
        command.args(["check", "--package", "untorn", "--all-features", "--target", target]);
        command
    }));
    match checked {
        Passed if !missing.is_empty() => Skipped(format!("not installed: {}", missing.join(", "))),
        outcome => outcome,
    }
}

fn has_toolchain(prefix: &str) -> bool {
    lines_of(Command::new("rustup").args(["toolchain", "list"]))
        .iter()
        .any(|line| line.starts_with(prefix))
}

/// The oldest compiler that `rust-version` promises.
fn msrv() -> Outcome {
    let Ok(manifest) = std::fs::read_to_string(root().join("Cargo.toml")) else { return Failed };
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let Some(version) = version.map(|version| version.trim_matches('"')) else { return Failed };
    if !has_toolchain(version) {
        return Skipped(format!("toolchain {version} is not installed"));
    }
    passes(cargo_of(version).args(["check", "--workspace", "--all-features"]))
}

/// What Miri can run: no system call of our own, only bytes and values.
fn miri() -> Outcome {
    if !has_toolchain("nightly") || !answers(cargo_of("nightly").args(["miri", "setup"])) {
        return Skipped("there is no nightly toolchain with miri and rust-src".into());
    }
    let args = "miri test --package untorn --all-features --lib -- codec:: error:: fs::name::";
    passes(cargo_of("nightly").args(args.split(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn features_are_found_without_comments_and_default() {
        let manifest = "[package]\nname = \"x\"\n\n[features]\ndefault = [\"a\"]\n# b = 1\na = []\n\
                        c = [\"dep:c\"]\n\n[dependencies]\nd = \"1\"\n";
        assert_eq!(features_of(manifest), ["a", "c"]);
        assert!(features_of("[dependencies]\n").is_empty());
    }

    #[test]
    fn only_jobs_that_exist_are_known() {
        assert!(known(&["fmt", "test"]));
        assert!(!known(&["fmt", "tests"]));
        assert!(!known(&[]));
    }

    #[test]
    fn the_table_says_what_was_skipped_and_why() {
        let why = "no such tool".to_owned();
        let ended = [
            ("a", Passed, Duration::from_millis(1500)),
            ("b", Failed, Duration::ZERO),
            ("c", Skipped(why), Duration::ZERO),
        ];
        let table = table(&ended);
        assert!(table.contains("a          ok                 1.5\n"), "{table}");
        assert!(table.contains("b          FAILED"), "{table}");
        assert!(table.contains("*skipped*          0.0  no such tool"), "{table}");
    }

    #[test]
    fn a_command_that_fails_or_is_missing_does_not_pass() {
        assert!(matches!(passes(cargo().arg("no-such-command-of-cargo")), Failed));
        assert!(matches!(passes(&mut Command::new(Path::new("/no/such/program"))), Failed));
        assert!(!answers(&mut Command::new(Path::new("/no/such/program"))));
        assert!(lines_of(&mut Command::new(Path::new("/no/such/program"))).is_empty());
    }
}
