//! `aof`: append-only files of elements, and what the commands for any store say of them.

use std::path::Path;

use untorn::append::RecoveryReport;

use crate::exit::Result;
use crate::out::{Out, count};

mod append;
mod args;
mod cat;
mod change;
mod damage;
mod elements;
mod found;
mod grin;
mod reading;
mod recover;
mod show;
mod staged;
mod writer;

pub(crate) use args::AofCommand;
pub(super) use damage::verify;
pub(super) use found::{find, find_within};
pub(super) use grin::{append_to_grin, grin_to_append};
pub(super) use recover::recover;
pub(super) use show::inspect;

pub(crate) fn run(command: AofCommand, out: &mut Out) -> Result<u8> {
    match command {
        AofCommand::Create(args) => append::create(&args, out),
        AofCommand::Append(args) => append::append(&args, out),
        AofCommand::Rewind(args) => change::rewind(&args, out),
        AofCommand::DropHead(args) => change::drop_head(&args, out),
        AofCommand::Compact(args) => change::compact(&args, out),
        AofCommand::Note(args) => show::note(&args.file, out),
        AofCommand::Stats(args) => show::stats(&args.file, out),
        AofCommand::Show(args) => show::show(&args.file, out),
        AofCommand::Cat(args) => cat::cat(&args, out),
        AofCommand::Tail(args) => cat::tail(&args, out),
        AofCommand::Verify(args) => verify(&found::must_find(&args.file)?, out),
        AofCommand::ExportSizes { file, to } => change::export_sizes(&file, &to, out),
    }
}

/// A number with its thousands apart, in the way in which the library's errors have them.
fn thousands(value: u64) -> String {
    count(value).replace(',', " ")
}

fn elements(count: u64) -> String {
    format!("{} element{}", thousands(count), if count == 1 { "" } else { "s" })
}

fn commits(count: u64) -> String {
    format!("{} commit{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// Says what an open had to do, if that was anything.
fn tell(path: &Path, report: &RecoveryReport, out: &Out) {
    if let Some(text) = healed(report) {
        out.note(format_args!("note: {}: {text}", path.display()));
        for copy in &report.quarantine {
            out.note(format_args!("note: a copy is in {}", copy.display()));
        }
    }
}

/// What an open did, in words.
fn healed(report: &RecoveryReport) -> Option<String> {
    let mut did = Vec::new();
    if report.redone > 0 {
        did.push(format!("wrote {} again from the log", commits(report.redone)));
    }
    if report.torn_commits > 0 {
        let torn = commits(report.torn_commits);
        did.push(format!("took back {torn} of a torn tail, never acknowledged as durable"));
    }
    if report.cut_bytes > 0 {
        did.push(format!("cut {} bytes behind the end", thousands(report.cut_bytes)));
    }
    if report.adopted > 0 {
        did.push(format!("took over {} that were there", elements(report.adopted)));
    }
    if report.zero_tail > 0 {
        let zeros = elements(report.zero_tail);
        did.push(format!("the last {zeros} are nothing but zeros, which that crate invents"));
    }
    if report.lost > 0 {
        did.push(format!("gave up {}, since they are damaged", elements(report.lost)));
    }
    (!did.is_empty()).then(|| did.join("; "))
}
