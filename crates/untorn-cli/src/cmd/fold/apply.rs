//! `fold apply` and `compact`: what an owner does.

use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::Receiver;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::fold::ndjson::{NdjsonOptions, NdjsonReport, apply_reader};
use untorn::fold::{Compaction, FoldOptions, Recovery, SnapshotStore as _, WatchCursor};

use super::{At, found, many, own};
use crate::exit::{Failure, Result, code};
use crate::input::{self, Input};
use crate::out::{Out, size};

/// stdin, which ends where a signal comes.
struct Pieces {
    input: Receiver<Input>,
    piece: Vec<u8>,
    read: usize,
    over: bool,
}

impl Read for Pieces {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.read >= self.piece.len() && !self.over {
            self.read = 0;
            self.piece = Vec::new();
            match self.input.recv() {
                _ if input::stopped() => self.over = true,
                Ok(Input::Bytes(piece)) => self.piece = piece,
                Ok(Input::Failed(e)) => return Err(e),
                Ok(Input::End | Input::Stop) | Err(_) => self.over = true,
            }
        }
        let rest = self.piece.get(self.read..).unwrap_or_default();
        let count = rest.len().min(to.len());
        if let (Some(to), Some(rest)) = (to.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(rest);
        }
        self.read += count;
        Ok(count)
    }
}

/// Says what an open healed.
pub(super) fn tell(dir: &Path, recovery: &Recovery, out: &Out) {
    if let Some(healed) = &recovery.healed {
        let bytes = size(healed.bytes);
        out.note(format_args!(
            "note: {}: healed a torn tail of {bytes}, which was never acknowledged",
            dir.display()
        ));
    }
}

pub(super) fn apply(dir: &Path, out: &mut Out) -> Result<u8> {
    let mut fold = own(dir, FoldOptions::new())?;
    tell(dir, fold.recovery(), out);
    let pieces = Pieces { input: input::open()?, piece: Vec::new(), read: 0, over: false };
    let applied = apply_reader(&mut fold, BufReader::new(pieces), &NdjsonOptions::new());
    let (stats, cursor) = (fold.stats(), fold.cursor());
    if let Some(error) = &stats.compaction_error {
        out.note(format_args!("note: {}: its base was not renewed: {error}", dir.display()));
    }
    let report = match applied {
        Ok(report) => report,
        Err(error) => {
            // The first failure is told, also if the close finds another one.
            drop(fold.close());
            let so_far = format!("{}: applied up to cursor {cursor}", dir.display());
            return Err(Failure::from(error).after(&so_far));
        }
    };
    fold.close()?;
    say(&report, stats.stale_ops, &cursor, out)?;
    if input::stopped() {
        let what = format!("interrupted; what was read is applied, up to cursor {cursor}");
        return Err(Failure::plain(ErrorKind::Cancelled, what));
    }
    match report.torn {
        None => Ok(code::OK),
        Some(torn) => {
            let what = format!(
                "line {} at byte {} is torn, and was not applied; all before it is",
                torn.line, torn.offset
            );
            Err(Failure::plain(ErrorKind::Codec, what))
        }
    }
}

fn say(report: &NdjsonReport, stale: u64, cursor: &WatchCursor, out: &mut Out) -> Result<()> {
    #[derive(Serialize)]
    struct Applied {
        lines: u64,
        puts: u64,
        deletes: u64,
        /// Updates that the fold had, or had something newer instead of.
        stale: u64,
        #[serde(flatten)]
        at: At,
    }
    let NdjsonReport { lines, puts, deletes, .. } = *report;
    if out.json() {
        return out.value(&Applied { lines, puts, deletes, stale, at: At::of(cursor) });
    }
    let had =
        if stale > 0 { format!(", {} had before", many(stale, "other")) } else { String::new() };
    let updates = many((puts + deletes).saturating_sub(stale), "update");
    out.line(format_args!("{updates} applied{had}, cursor {cursor}"))
}

pub(super) fn compact(dir: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Compacted {
        base_before: u64,
        tail_before: u64,
        base: u64,
    }
    found::must_be_one(dir)?;
    let mut fold = own(dir, FoldOptions::new().create(false).compaction(Compaction::Manual))?;
    tell(dir, fold.recovery(), out);
    let before = fold.stats();
    fold.compact_all()?;
    let base = fold.stats().base_bytes;
    fold.close()?;
    let (base_before, tail_before) = (before.base_bytes, before.tail_bytes);
    if out.json() {
        out.value(&Compacted { base_before, tail_before, base })?;
        return Ok(code::OK);
    }
    out.line(format_args!(
        "base {}, of a base of {} and a tail of {}",
        size(base),
        size(base_before),
        size(tail_before)
    ))?;
    Ok(code::OK)
}
