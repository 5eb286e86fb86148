//! `fold export` and `import`.

use std::path::Path;

use serde::Serialize;
use untorn::artifact;
use untorn::fold::{
    AppendLogSnapshot, Compaction, ExportManifest, ExportOptions, FoldOptions, ImportOptions,
};

use super::{At, look, many};
use crate::exit::{Result, code};
use crate::out::{Out, count, hex, size};

#[derive(Serialize)]
struct Told<'a> {
    path: &'a Path,
    entries: u64,
    files: usize,
    bytes: u64,
    scope: Option<Vec<String>>,
    digest: Option<String>,
    #[serde(flatten)]
    at: At,
}

fn say(path: &Path, manifest: ExportManifest, what: &str, out: &mut Out) -> Result<()> {
    let bytes = manifest.files.iter().map(|file| file.size).sum();
    let (entries, files) = (manifest.entries, manifest.files.len());
    if out.json() {
        let digest = manifest.digest.map(|digest| hex(&digest));
        let (at, scope) = (At::of(&manifest.cursor), manifest.scope);
        return out.value(&Told { path, entries, files, bytes, scope, digest, at });
    }
    let (cursor, path) = (&manifest.cursor, path.display());
    let keys = if entries == 1 { "entry" } else { "entries" };
    let files = many(files as u64, "file");
    out.line(format_args!(
        "{path}: {what} of {} {keys} up to cursor {cursor}, {files} of {}",
        count(entries),
        size(bytes)
    ))
}

pub(super) fn export(args: &super::args::FoldExport, out: &mut Out) -> Result<u8> {
    let fold = look(&args.dir)?;
    let bar = out.bar();
    let mut options = ExportOptions::new().digest(args.digest);
    if !args.scope.is_empty() {
        options = options.scope(args.scope.clone());
    }
    let shown = bar.clone();
    options = options.progress(move |done, of| {
        shown.set_length(of);
        shown.set_position(done);
    });
    let manifest = fold.export(&args.dest, &options);
    bar.finish_and_clear();
    say(&args.dest, manifest?, "an artifact", out)?;
    Ok(code::OK)
}

pub(super) fn import(path: &Path, dir: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Imported<'a> {
        path: &'a Path,
        entries: u64,
        bytes: u64,
        #[serde(flatten)]
        at: At,
    }
    refuse_older(path, dir)?;
    let bar = out.bar();
    let shown = bar.clone();
    let open = FoldOptions::new().compaction(Compaction::Manual).progress(move |done, of| {
        shown.set_length(of);
        shown.set_position(done);
    });
    let imported = AppendLogSnapshot::import_with(path, dir, &ImportOptions::new().open(open));
    bar.finish_and_clear();
    let (cursor, fold) = imported?;
    let bytes = fold.stats().base_bytes + fold.stats().tail_bytes;
    let entries = fold.reader().count("")?;
    fold.close()?;
    if out.json() {
        out.value(&Imported { path: dir, entries, bytes, at: At::of(&cursor) })?;
        return Ok(code::OK);
    }
    let (dir, entries, bytes) = (dir.display(), many(entries, "key"), size(bytes));
    out.line(format_args!("{dir}: a fold of {entries} up to cursor {cursor}, {bytes}"))?;
    Ok(code::OK)
}

/// An artifact of the older program is converted, not imported.
fn refuse_older(path: &Path, dir: &Path) -> Result<()> {
    let manifest = artifact::read_manifest(path)?;
    if manifest.backend != "append-log" {
        return Ok(());
    }
    let what = format!(
        "it is an artifact of the older program: `untorn convert --from slipstream-artifact {} --to fold {}`",
        path.display(),
        dir.display()
    );
    Err(crate::exit::Failure::new(untorn::ErrorKind::ArtifactInvalid, path, what))
}
