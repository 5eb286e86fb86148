//! `convert`: files of other programs turned into stores.

use std::path::Path;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::journal::wal::{ConvertReport, OldTail, OldWalOptions, convert_old_wal};

use super::{aof, fold, pool, snap};
use crate::args::Convert;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, count, size};

/// A source and what can be made of it. The help of the command lists them.
struct Pair {
    from: &'static str,
    to: &'static str,
    run: fn(&Convert, &mut Out) -> Result<u8>,
}

const PAIRS: &[Pair] = &[
    Pair { from: "actionqueue-wal", to: "log", run: wal_to_log },
    Pair { from: "actionqueue-snapshot", to: "snapshot", run: snapshot_to_snapshot },
    Pair { from: "grin", to: "append", run: grin_to_append },
    Pair { from: "append", to: "grin", run: append_to_grin },
    Pair { from: "pgss", to: "fold", run: |args, out| plain(fold::pgss_to_fold, args, out) },
    Pair {
        from: "slipstream-artifact",
        to: "fold",
        run: |args, out| plain(fold::artifact_to_fold, args, out),
    },
    Pair { from: "fold", to: "pgss", run: |args, out| plain(fold::fold_to_pgss, args, out) },
    Pair {
        from: "fold",
        to: "slipstream-artifact",
        run: |args, out| plain(fold::fold_to_artifact, args, out),
    },
    Pair {
        from: "pgss",
        to: "slipstream-artifact",
        run: |args, out| plain(fold::pgss_to_artifact, args, out),
    },
    Pair {
        from: "slipstream-artifact",
        to: "pgss",
        run: |args, out| plain(fold::artifact_to_pgss, args, out),
    },
    Pair {
        from: FILE_BACKED,
        to: "pool",
        run: |args, out| plain(pool::from_file_backed, args, out),
    },
    Pair { from: "pool", to: FILE_BACKED, run: |args, out| plain(pool::to_file_backed, args, out) },
];

const FILE_BACKED: &str = "file-backed";

pub(crate) fn convert(args: &Convert, out: &mut Out) -> Result<u8> {
    let Some(pair) = PAIRS.iter().find(|pair| (pair.from, pair.to) == (&*args.from, &*args.to))
    else {
        let known: Vec<_> =
            PAIRS.iter().map(|pair| format!("--from {} --to {}", pair.from, pair.to)).collect();
        let what =
            format!("{} is not converted to {}; there is {}", args.from, args.to, known.join(", "));
        return Err(Failure::plain(ErrorKind::InvalidInput, what));
    };
    refuse_option(args.codec.is_some() && pair.from != FILE_BACKED, "--codec", args)?;
    refuse_option(args.accept_suspect && pair.from != FILE_BACKED, "--accept-suspect", args)?;
    refuse_option(args.set.is_some() && pair.to != FILE_BACKED, "--set", args)?;
    must_not_exist(&args.dest)?;
    (pair.run)(args, out)
}

/// Stricter than the library, which takes an empty directory: what is there may be somebody's.
fn must_not_exist(dest: &Path) -> Result<()> {
    if dest.symlink_metadata().is_err() {
        return Ok(());
    }
    let what = "it exists; a converted store needs a name of its own";
    Err(Failure::new(ErrorKind::AlreadyExists, dest, what))
}

#[derive(Serialize)]
struct Converted {
    records: u64,
    bytes: u64,
    /// Old numbers, first and last, and the new number of the first.
    runs: Vec<(u64, u64, u64)>,
    torn: Option<Torn>,
}

#[derive(Serialize)]
struct Torn {
    offset: u64,
    bytes: u64,
}

impl Converted {
    fn of(report: &ConvertReport) -> Self {
        let torn = match report.tail {
            OldTail::Torn { offset, bytes } => Some(Torn { offset, bytes }),
            _ => None,
        };
        let runs = report.runs.iter().map(|run| (run.old_first, run.old_last, run.new_first));
        Self { records: report.records, bytes: report.bytes, runs: runs.collect(), torn }
    }
}

/// An option that says nothing about this pair is a mistake of who gave it.
fn refuse_option(given: bool, name: &str, args: &Convert) -> Result<()> {
    if !given {
        return Ok(());
    }
    let what = format!("{name} says nothing about --from {} --to {}", args.from, args.to);
    Err(Failure::plain(ErrorKind::InvalidInput, what))
}

fn grin_to_append(args: &Convert, out: &mut Out) -> Result<u8> {
    refuse_option(args.allow_gaps, "--allow-gaps", args)?;
    refuse_option(args.layout.is_some(), "--layout", args)?;
    aof::grin_to_append(args, out)
}

fn append_to_grin(args: &Convert, out: &mut Out) -> Result<u8> {
    refuse_option(args.allow_gaps, "--allow-gaps", args)?;
    refuse_option(args.layout.is_some(), "--layout", args)?;
    aof::append_to_grin(args, out)
}

/// A pair for which there is nothing to choose but what is its own.
fn plain(run: fn(&Convert, &mut Out) -> Result<u8>, args: &Convert, out: &mut Out) -> Result<u8> {
    refuse_option(args.allow_gaps, "--allow-gaps", args)?;
    refuse_option(args.layout.is_some(), "--layout", args)?;
    refuse_sizes(args)?;
    run(args, out)
}

/// `--fixed`, `--size-file` and `--data-size` are of elements.
fn refuse_sizes(args: &Convert) -> Result<()> {
    refuse_option(args.fixed.is_some(), "--fixed", args)?;
    refuse_option(args.size_file.is_some(), "--size-file", args)?;
    refuse_option(args.data_size.is_some(), "--data-size", args)
}

/// The old form is a frame of version 4 with JSON in it, as the library writes them.
fn snapshot_to_snapshot(args: &Convert, out: &mut Out) -> Result<u8> {
    refuse_option(args.allow_gaps, "--allow-gaps", args)?;
    refuse_sizes(args)?;
    snap::copy(&args.source, &args.dest, args.layout.as_deref() == Some("blocks"), out)
}

fn wal_to_log(args: &Convert, out: &mut Out) -> Result<u8> {
    refuse_option(args.layout.is_some(), "--layout", args)?;
    refuse_sizes(args)?;
    let options = OldWalOptions::new().allow_gaps(args.allow_gaps);
    let report = convert_old_wal(&args.source, &args.dest, &options)?;
    let converted = Converted::of(&report);
    if out.json() {
        out.value(&converted)?;
        return Ok(code::OK);
    }
    let (records, bytes) = (count(converted.records), size(converted.bytes));
    out.line(format_args!("{}: {records} records in {bytes}", args.dest.display()))?;
    for (first, last, new) in &converted.runs {
        if first != new {
            let new_last = new + (last - first);
            out.line(format_args!("  {first} to {last} are {new} to {new_last} there"))?;
        }
    }
    if let Some(Torn { offset, bytes }) = &converted.torn {
        out.note(format_args!(
            "note: {} ends with a torn record at offset {offset}, {bytes} bytes that were never acknowledged; it was left out",
            args.source.display()
        ));
    }
    Ok(code::OK)
}
