//! `aof rewind`, `drop-head`, `compact` and `export-sizes`.

use std::path::Path;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::append::PruneReport;

use super::args::{AofAt, AofCompact, listed};
use super::found::must_find;
use super::writer::{How, Writer, open_store};
use super::{elements, tell, thousands};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, size};

/// The writer of a file that is there; what its open healed is said.
fn open(path: &Path, out: &Out) -> Result<Box<dyn Writer>> {
    let file = open_store(&must_find(path)?, &How::default())?;
    tell(path, &file.recovery()?, out);
    Ok(file)
}

pub(super) fn rewind(args: &AofAt, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Rewound {
        len: u64,
        removed: u64,
        commit: u64,
    }
    let mut file = open(&args.file, out)?;
    let before = file.len();
    file.rewind(args.pos)?;
    let commit = file.flush()?.seq;
    let (len, removed) = (file.len(), before - file.len());
    file.close()?;
    if out.json() {
        out.value(&Rewound { len, removed, commit })?;
    } else {
        let (len, removed, commit) = (elements(len), elements(removed), thousands(commit));
        out.line(format_args!("took {removed} back, {len} are left, commit {commit}"))?;
    }
    Ok(code::OK)
}

/// What pruning did, or would do.
#[derive(Serialize)]
struct Pruned {
    done: bool,
    dropped: u64,
    kept: u64,
    first: u64,
    freed: u64,
    written: u64,
    later: bool,
}

impl Pruned {
    fn of(report: &PruneReport, done: bool, first: u64) -> Self {
        let PruneReport { dropped, kept, freed, written, later, .. } = *report;
        Self { done, dropped, kept, first, freed, written, later }
    }
}

pub(super) fn drop_head(args: &AofAt, out: &mut Out) -> Result<u8> {
    let mut file = open(&args.file, out)?;
    let report = file.drop_head(args.pos)?;
    let first = file.first();
    file.close()?;
    if out.json() {
        out.value(&Pruned::of(&report, true, first))?;
        return Ok(code::OK);
    }
    let space = match (report.freed, report.later) {
        (_, true) => "their space was not given back: this file system has no holes".to_owned(),
        (0, _) => "they are less than a block, which stays".to_owned(),
        (freed, _) => format!("gave back {}", size(freed)),
    };
    let dropped = elements(report.dropped);
    out.line(format_args!("dropped {dropped}, the first is {}, {space}", thousands(first)))?;
    Ok(code::OK)
}

pub(super) fn compact(args: &AofCompact, out: &mut Out) -> Result<u8> {
    let dead = positions(&args.from)?;
    let mut file = open(&args.file, out)?;
    let report = match dead.is_empty() {
        // Nothing to drop is nothing to do, not a copy of everything.
        true => PruneReport::default(),
        false if args.dry_run => file.would_compact(&dead)?,
        false => file.compact(&dead)?,
    };
    let first = file.first();
    file.close()?;
    let done = !args.dry_run;
    if out.json() {
        out.value(&Pruned::of(&report, done, first))?;
        return Ok(code::OK);
    }
    if dead.is_empty() {
        out.line(format_args!("the list is empty; there is nothing to drop"))?;
        return Ok(code::OK);
    }
    let [drop, give, write] =
        if done { ["dropped", "gave back", "wrote"] } else { ["would drop", "give back", "write"] };
    let (dropped, all) = (thousands(report.dropped), elements(report.dropped + report.kept));
    let (freed, written) = (size(report.freed), size(report.written));
    out.line(format_args!(
        "{drop} {dropped} of {all}, {give} {freed}, {write} {written}, positions shift"
    ))?;
    Ok(code::OK)
}

/// The positions in a list; they rise.
fn positions(from: &Path) -> Result<Vec<u64>> {
    let text = if from == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(from)
    };
    let text = text.map_err(|e| Failure::io("read", from, e))?;
    let wrong = |nth: usize, what: &str| {
        let what = format!("line {}: {what}", thousands(nth as u64 + 1));
        Err(Failure::new(ErrorKind::InvalidInput, from, what))
    };
    let mut all: Vec<u64> = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let Some(range) = listed(line.trim()) else {
            if line.trim().is_empty() {
                continue;
            }
            return wrong(nth, "not a position or a range A..B");
        };
        if all.last().is_some_and(|last| *last >= range.start) {
            return wrong(nth, "the positions do not rise");
        }
        if all.len() as u64 + (range.end - range.start) > MOST {
            return wrong(nth, "the list has more positions than can be dropped at once");
        }
        all.extend(range);
    }
    Ok(all)
}

/// Positions of one call; they are held in memory.
const MOST: u64 = 1 << 28;

pub(super) fn export_sizes(path: &Path, to: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Exported<'a> {
        path: &'a Path,
        elements: u64,
    }
    let file = open(path, out)?;
    file.export_sizes(to)?;
    let count = file.len();
    file.close()?;
    if out.json() {
        out.value(&Exported { path: to, elements: count })?;
    } else {
        out.line(format_args!("{}: the sizes of {}", to.display(), elements(count)))?;
    }
    Ok(code::OK)
}
