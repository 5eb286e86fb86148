//! `journal cat`, `tail`, `stats` and `import`; which snapshot a journal's log can be read from.

use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use untorn::codec::Raw;
use untorn::fs::OsFs;
use untorn::journal::{self, JournalInfo};
use untorn::log::{Log, LogOptions, LogReader};
use untorn::snapshot::{SnapshotFsLoader, SnapshotInfo, SnapshotOptions};
use untorn::{ErrorKind, artifact};

use super::cat::{self, Form, Source};
use crate::args::JournalCommand;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, size};

mod recover;
mod stats;
mod verify;

pub(super) use recover::{recover, refuse_its_log};
pub(super) use stats::stats;
pub(super) use verify::verify;

pub(crate) fn run(command: JournalCommand, out: &mut Out) -> Result<u8> {
    match command {
        JournalCommand::Cat { dir, range } => {
            let info = identify(&dir)?;
            cat::cat(&source(&dir, &info), &range, out)
        }
        JournalCommand::Tail { dir, last } => {
            let info = identify(&dir)?;
            cat::tail(&source(&dir, &info), &last, out)
        }
        JournalCommand::Verify { dir } => {
            identify(&dir)?;
            verify(&dir, out)
        }
        JournalCommand::Stats { dir } => stats(&dir, out),
        JournalCommand::Import { artifact, dir } => import(&artifact, &dir, out),
    }
}

/// Whether a directory is a journal, or was one before it lost a part.
pub(super) fn is_journal(dir: &Path) -> bool {
    let there = |name: &str| dir.join(name).symlink_metadata().is_ok();
    there("JOURNAL") || (there("log/META") && there("snap"))
}

/// What the journal says that it is; a directory of something else is not ours.
fn identify(dir: &Path) -> Result<JournalInfo> {
    match std::fs::read_dir(dir).map(|mut names| names.next().is_none()) {
        Ok(false) if !is_journal(dir) => {
            let what = "it is no journal; `untorn inspect` says what it is";
            Err(Failure::new(ErrorKind::NotOurs, dir, what))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            Err(Failure::new(ErrorKind::NotOurs, dir, "it is a file; a journal is a directory"))
        }
        _ => Ok(journal::identify(dir)?),
    }
}

fn source<'a>(dir: &'a Path, info: &'a JournalInfo) -> Source<'a> {
    Source { log: &info.log, form: Form::Event(info.event_codec.clone()), of: Some(dir) }
}

fn loader(path: &Path) -> SnapshotFsLoader<Vec<u8>, Raw> {
    SnapshotFsLoader::with(path, SnapshotOptions::with_codec(Raw))
}

/// The log from a snapshot on, whatever is below it.
fn from_snapshot(info: &SnapshotInfo) -> LogOptions {
    LogOptions::new().owner(*b"JRNL").acknowledged(info.seq).start(info.pos)
}

/// A damaged log above the newest snapshot that verifies, with its first event; `None` if it is damaged there, too.
pub(super) fn above(dir: &Path) -> Result<Option<(LogReader, u64)>> {
    let report = journal::verify(dir)?;
    let (Some(_), Some(info)) = (&report.log, report.snapshots.last()) else { return Ok(None) };
    let reader = Log::open_read_only(dir.join("log"), from_snapshot(info))?;
    Ok(Some((reader, info.seq.saturating_add(1))))
}

fn import(path: &Path, dir: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Imported<'a> {
        path: &'a Path,
        machine: Option<&'a str>,
        last_seq: Option<u64>,
        files: usize,
        bytes: u64,
    }
    let total = artifact::read_manifest(path)?.total_bytes();
    let target =
        if out.json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let style = ProgressStyle::with_template("{bytes}/{total_bytes} [{bar:30}] {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    let fs = std::sync::Arc::new(OsFs::new());
    let manifest = journal::import_with(path, dir, fs, |bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    let cursor = u64::from_str_radix(&manifest.cursor_hex, 16).map(u64::swap_bytes);
    let imported = Imported {
        path: dir,
        machine: manifest.detail.get("machine").map(String::as_str),
        last_seq: cursor.ok(),
        files: manifest.files.len(),
        bytes: manifest.total_bytes(),
    };
    if out.json() {
        out.value(&imported)?;
        return Ok(code::OK);
    }
    let Imported { machine, last_seq, bytes, .. } = imported;
    out.line(format_args!(
        "{}: a journal of {}, up to event {}, {}",
        dir.display(),
        machine.unwrap_or("an unnamed machine").escape_default(),
        last_seq.unwrap_or(0),
        size(bytes)
    ))?;
    Ok(code::OK)
}
