//! Measures untorn beside the raw limit of the disk and beside others: see README.md.

mod alloc;
mod args;
mod awake;
mod cases;
mod contestants;
mod machines;
mod measure;
mod raw;
mod report;
mod scratch;
mod state;

use std::process::ExitCode;
use std::time::Instant;

use args::Args;
use awake::Awake;
use report::Report;
use scratch::Scratch;

/// Whatever goes wrong ends the run.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("untorn-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if let Some(dir) = std::env::args_os().skip_while(|arg| arg != cases::ONE_RECORD).nth(1) {
        return cases::one_record(dir.as_ref());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &*arguments
        && first == cases::FOLD
    {
        return cases::child(rest);
    }
    if let [first, rest @ ..] = &*arguments
        && first == cases::POOL
    {
        return cases::pool_child(rest);
    }
    let Some(args) = Args::parse(arguments)? else { return Ok(()) };
    let _awake = args.awake.then(Awake::start).transpose()?;
    let mut report = Report::new(args.json, args.rounds, args.quick);
    report.begin();
    let started = Instant::now();
    for case in &args.cases {
        let scratch = Scratch::new(&args.dir)?;
        cases::run(case, &args, &scratch, &mut report)?;
    }
    report.end(started.elapsed());
    Ok(())
}
