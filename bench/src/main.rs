//! Measures untorn's log beside the raw limit of the disk and beside other logs: see README.md.

mod alloc;
mod args;
mod awake;
mod cases;
mod contestants;
mod measure;
mod raw;
mod report;
mod scratch;

use std::process::ExitCode;
use std::time::Instant;

use args::Args;
use awake::Awake;
use report::Report;
use scratch::Scratch;

/// Whatever goes wrong ends the run.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

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
    let Some(args) = Args::parse(std::env::args().skip(1))? else { return Ok(()) };
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
