//! `fold`: local copies of key-value streams, and what the commands for any store say of them.

use std::path::Path;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::fold::{AppendLogSnapshot, FoldOptions, WatchCursor};

use crate::args::Recover;
use crate::exit::{Failure, Result};
use crate::out::{Out, hex, many};

mod apply;
mod args;
mod artifact;
mod compare;
mod convert;
mod follow;
mod found;
mod lines;
mod read;
mod recover;
mod stats;
mod verify;
mod watch;

pub(crate) use args::FoldCommand;
pub(super) use convert::{
    artifact_to_fold, artifact_to_pgss, fold_to_artifact, fold_to_pgss, pgss_to_artifact,
    pgss_to_fold,
};
pub(super) use found::{dirs, is_fold, refuse_its_log};
pub(super) use recover::recover;
pub(super) use stats::inspect;
pub(super) use verify::verify;

pub(crate) fn run(command: FoldCommand, out: &mut Out) -> Result<u8> {
    match command {
        FoldCommand::Stats(args) => stats::stats(&args.dir, out),
        FoldCommand::Get(args) => read::get(&args, out),
        FoldCommand::Range(args) => read::range(&args, out),
        FoldCommand::Cursor(args) => read::cursor(&args.dir, out),
        FoldCommand::Apply(args) => apply::apply(&args.dir, out),
        FoldCommand::Follow(args) => follow::follow(&args, out),
        FoldCommand::Watch(args) => watch::watch(&args, out),
        FoldCommand::Export(args) => artifact::export(&args, out),
        FoldCommand::Import { artifact, dir } => artifact::import(&artifact, &dir, out),
        FoldCommand::Compact(args) => apply::compact(&args.dir, out),
        FoldCommand::Digest(args) => compare::digest(&args.dir, out),
        FoldCommand::Diff(args) => compare::diff(&args, out),
        FoldCommand::Verify(args) => {
            found::must_be_one(&args.dir)?;
            verify(&args.dir, out)
        }
        FoldCommand::Salvage { dir, yes } => {
            found::must_be_one(&dir)?;
            let (salvage, accept_loss) = (Some(None), None);
            let what = Recover {
                path: dir,
                truncate: false,
                salvage,
                adopt: false,
                yes,
                dry_run: false,
                accept_loss,
            };
            recover(&what, out)
        }
    }
}

/// The fold as it is now, without a lock.
fn look(dir: &Path) -> Result<AppendLogSnapshot> {
    found::must_be_one(dir)?;
    Ok(FoldOptions::new().create(false).read_only(true).open(dir)?.1)
}

/// Becomes the owner, of a fold that is there or is made.
fn own(dir: &Path, options: FoldOptions) -> Result<AppendLogSnapshot> {
    let (_, fold) = options.open(dir)?;
    Ok(fold)
}

/// How far a fold is, as `--json` has it.
#[derive(Serialize)]
struct At {
    /// As manifests have it.
    cursor_hex: String,
    rev: Option<u64>,
    rev_hex: Option<String>,
}

impl At {
    fn of(cursor: &WatchCursor) -> Self {
        let rev = cursor.as_u64();
        let rev_hex = (rev.is_none() && !cursor.is_none()).then(|| hex(cursor.position()));
        Self { cursor_hex: hex(&cursor.to_bytes()), rev, rev_hex }
    }
}

fn missing(dir: &Path, what: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, dir, what)
}
