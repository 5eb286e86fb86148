//! The project's own commands: what CI runs, a developer runs with the same words.

mod ci;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test                  all tests, documentation examples included
cargo xtask ci [JOB...]           these jobs of CI, or all of them
cargo xtask ci --except JOB...    all but these
cargo xtask tidy                  the conventions that no compiler checks
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let passed = match args.as_slice() {
        ["test"] => ci::test(),
        ["tidy"] => ci::run(&["tidy"]),
        ["ci"] => ci::run(&ci::names()),
        ["ci", "--except", but @ ..] if ci::known(but) => {
            let rest: Vec<&str> =
                ci::names().into_iter().filter(|job| !but.contains(job)).collect();
            ci::run(&rest)
        }
        ["ci", jobs @ ..] if ci::known(jobs) => ci::run(jobs),
        _ => {
            eprint!("{USAGE}\njobs: {}\n", ci::names().join(" "));
            return ExitCode::from(2);
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
