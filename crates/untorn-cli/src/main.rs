//! The command `untorn`: reads the command line, runs one command, ends with its exit code.

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::exit::{Failure, code};
use crate::out::Out;
use untorn::ErrorKind;

mod args;
mod cmd;
mod exit;
mod fetch;
mod input;
mod out;
mod prove;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(usage(&error)),
    };
    let mut out = Out::new(cli.json);
    let done = cmd::run(cli.command, &mut out).and_then(|exit| out.flush().map(|()| exit));
    ExitCode::from(match done {
        Ok(exit) => exit,
        Err(failure) => {
            // What was printed so far is data all the same; of two failures the first one is told.
            let _flushed = out.flush().is_ok();
            failure.tell(cli.json)
        }
    })
}

/// A wrong command line, or `--help` and `--version`, which clap gives as errors.
fn usage(error: &clap::Error) -> u8 {
    let json = std::env::args_os().any(|arg| arg == "--json");
    if !error.use_stderr() {
        // Help to a closed pipe is nobody's loss.
        let _printed = error.print().is_ok();
        return code::OK;
    }
    if json {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim();
        return Failure::plain(ErrorKind::InvalidInput, text).tell(true);
    }
    let _printed = error.print().is_ok();
    code::USAGE
}
