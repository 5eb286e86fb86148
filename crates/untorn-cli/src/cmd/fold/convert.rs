//! `convert` to and from folds: files and artifacts of the older program.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use untorn::OnDamage;
use untorn::fold::pgss::{self, Image};
use untorn::fold::{KvEntry, ScanOptions, SnapshotStore as _, WatchCursor};
use untorn::fs::{Fs, OsFs};

use super::{At, look, many};
use crate::args::Convert;
use crate::exit::{Result, code};
use crate::out::{Out, size};

fn fs() -> Arc<dyn Fs> {
    Arc::new(OsFs::new())
}

/// A PGSS file; what its writer was in the middle of is left out and said.
fn read(path: &Path, out: &Out) -> Result<Image> {
    let image = pgss::read_with(path, fs(), OnDamage::Refuse)?;
    let torn = image.report().torn_bytes;
    if torn > 0 {
        out.note(format_args!(
            "note: {} ends with a torn record of {}, which was never acknowledged; it was left out",
            path.display(),
            size(torn)
        ));
    }
    Ok(image)
}

/// The entries of an image and its cursor.
type Parts = (Box<dyn Iterator<Item = untorn::Result<KvEntry>>>, WatchCursor);

fn parts(image: Image) -> Parts {
    let cursor = image.cursor().clone();
    (Box::new(image.into_entries().map(Ok)), cursor)
}

fn say(dest: &Path, entries: u64, cursor: &WatchCursor, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Converted<'a> {
        path: &'a Path,
        entries: u64,
        #[serde(flatten)]
        at: At,
    }
    if out.json() {
        out.value(&Converted { path: dest, entries, at: At::of(cursor) })?;
    } else {
        let keys = many(entries, "key");
        out.line(format_args!("{}: {keys} up to cursor {cursor}", dest.display()))?;
    }
    Ok(code::OK)
}

fn to_fold(image: Image, dest: &Path, out: &mut Out) -> Result<u8> {
    let cursor = image.cursor().clone();
    let entries = pgss::convert(image, dest, fs())?;
    say(dest, entries, &cursor, out)
}

fn to_pgss((entries, cursor): Parts, dest: &Path, out: &mut Out) -> Result<u8> {
    let count = pgss::write_entries(entries, &cursor, dest, fs())?;
    say(dest, count, &cursor, out)
}

fn to_artifact((entries, cursor): Parts, dest: &Path, out: &mut Out) -> Result<u8> {
    // All keys, in the schema that the last version of the older program writes.
    let scope = Some(vec![String::new()]);
    let mut count = 0;
    let counted = entries.inspect(|_| count += 1);
    pgss::write_artifact(counted, &cursor, scope, dest, fs())?;
    say(dest, count, &cursor, out)
}

pub(in crate::cmd) fn pgss_to_fold(args: &Convert, out: &mut Out) -> Result<u8> {
    to_fold(read(&args.source, out)?, &args.dest, out)
}

pub(in crate::cmd) fn artifact_to_fold(args: &Convert, out: &mut Out) -> Result<u8> {
    let (_, image) = pgss::read_artifact(&args.source, fs())?;
    to_fold(image, &args.dest, out)
}

pub(in crate::cmd) fn pgss_to_artifact(args: &Convert, out: &mut Out) -> Result<u8> {
    to_artifact(parts(read(&args.source, out)?), &args.dest, out)
}

pub(in crate::cmd) fn artifact_to_pgss(args: &Convert, out: &mut Out) -> Result<u8> {
    let (_, image) = pgss::read_artifact(&args.source, fs())?;
    to_pgss(parts(image), &args.dest, out)
}

fn of_fold(dir: &Path) -> Result<Parts> {
    let fold = look(dir)?;
    let entries = fold.snapshot().scan(&ScanOptions::new());
    Ok((Box::new(entries), fold.cursor()))
}

pub(in crate::cmd) fn fold_to_pgss(args: &Convert, out: &mut Out) -> Result<u8> {
    to_pgss(of_fold(&args.source)?, &args.dest, out)
}

pub(in crate::cmd) fn fold_to_artifact(args: &Convert, out: &mut Out) -> Result<u8> {
    to_artifact(of_fold(&args.source)?, &args.dest, out)
}
