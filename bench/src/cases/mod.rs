//! The cases, each a file.

mod buffered;
mod open;
mod replay;
mod rolls;
mod single;
mod threads;
mod window;

use crate::Result;
use crate::args::Args;
use crate::report::Report;
use crate::scratch::Scratch;

pub const NAMES: [&str; 7] = ["single", "threads", "window", "buffered", "replay", "rolls", "open"];

pub fn run(case: &str, args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    match case {
        "single" => single::run(args, scratch, report),
        "threads" => threads::run(args, scratch, report),
        "window" => window::run(args, scratch, report),
        "buffered" => buffered::run(args, scratch, report),
        "replay" => replay::run(args, scratch, report),
        "rolls" => rolls::run(args, scratch, report),
        "open" => open::run(args, scratch, report),
        _ => Err(format!("there is no case {case}").into()),
    }
}
