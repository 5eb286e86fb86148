//! The commands, one function each.

use std::path::Path;

use clap::CommandFactory as _;

use crate::args::{BenchCommand, Cli, Command, LogCommand, SnapCommand};
use crate::exit::{Failure, Result, code};
use crate::out::Out;

mod aof;
mod append;
mod bench;
mod cat;
mod chunk;
mod convert;
mod file;
mod fold;
mod inspect;
mod journal;
mod json;
mod part;
mod pool;
mod recover;
mod segments;
mod snap;
mod staging;
mod store;
mod sweep;

pub(crate) use aof::AofCommand;
pub(crate) use bench::{Scratch, zero_fill};
pub(crate) use fold::FoldCommand;
pub(crate) use pool::PoolCommand;

/// Runs a command; returns its exit code.
pub(crate) fn run(command: Command, out: &mut Out) -> Result<u8> {
    match command {
        Command::Prove(args) => crate::prove::run(&args, out),
        Command::ProveChild(args) => crate::prove::child(&args),
        Command::Put(args) => file::put(&args, out),
        Command::Get(args) => file::get(&args, out),
        Command::Inspect(args) => inspect::inspect(&args.path, out),
        Command::Verify(args) => store::verify(&args.path, out),
        Command::Recover(args) => recover::recover(&args, out),
        Command::Convert(args) => convert::convert(&args, out),
        Command::Fetch(args) => crate::fetch::run(&args, out),
        Command::Chunk(command) => chunk::run(&command, out),
        Command::Aof(command) => aof::run(command, out),
        Command::Fold(command) => fold::run(command, out),
        Command::Pool(command) => pool::run(command, out),
        Command::Sweep(args) => sweep::sweep(&args, out),
        Command::Who(args) => store::who(&args.path, out),
        Command::Probe(args) => store::probe(&args.dir, out),
        Command::Log(LogCommand::Append(args)) => append::append(&args, out),
        Command::Log(LogCommand::Cat(args)) => {
            cat::cat(&cat::Source::log(&args.dir), &args.range, out)
        }
        Command::Log(LogCommand::Tail(args)) => {
            cat::tail(&cat::Source::log(&args.dir), &args.last, out)
        }
        Command::Journal(command) => journal::run(command, out),
        Command::Log(LogCommand::Inspect { dir }) => segments::show(&dir, out),
        Command::Log(LogCommand::Truncate(args)) => store::truncate(&args, out),
        Command::Snap(SnapCommand::Show(args)) => snap::show(&args.file, args.frame_version, out),
        Command::Snap(SnapCommand::Verify(args)) => {
            snap::verify(&args.file, args.frame_version, out)
        }
        Command::Snap(SnapCommand::Put(args)) => snap::put(&args, out),
        Command::Snap(SnapCommand::Get(args)) => snap::get(&args, out),
        Command::Bench(BenchCommand::Disk { dir, seconds }) => bench::disk(&dir, seconds, out),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "untorn", &mut text);
            out.bytes(&text)?;
            Ok(code::OK)
        }
        Command::Man { dir: None } => {
            let mut page = Vec::new();
            let made = clap_mangen::Man::new(Cli::command()).render(&mut page);
            made.map_err(|e| Failure::io("make", Path::new("the page"), e))?;
            out.bytes(&page)?;
            Ok(code::OK)
        }
        Command::Man { dir: Some(dir) } => {
            let made = clap_mangen::generate_to(Cli::command(), &dir);
            made.map_err(|e| Failure::io("write pages into", &dir, e))?;
            Ok(code::OK)
        }
    }
}
