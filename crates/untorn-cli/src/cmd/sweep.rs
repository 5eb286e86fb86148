//! `sweep`: takes what dead writers left in a directory; of parts only what nobody could go on with, unless it is told more.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use untorn::ErrorKind;
use untorn::chunked::{AtomicChunked, ChunkedOptions, FileResource, OnDrop, Opened, Resume};

use super::part;
use crate::args::Sweep;
use crate::exit::{Failure, Result, code};
use crate::out::Out;

#[derive(Serialize)]
struct Swept {
    removed: Vec<PathBuf>,
    busy: Vec<PathBuf>,
    /// Parts that can be gone on with.
    kept: Vec<PathBuf>,
}

pub(crate) fn sweep(args: &Sweep, out: &mut Out) -> Result<u8> {
    let dir = &*args.dir;
    let report = untorn::sweep(dir)?;
    let mut swept = Swept { removed: report.removed, busy: report.busy, kept: Vec::new() };
    for path in parts(dir)? {
        let Some(target) = part::target(&path) else { continue };
        let stale = args.older_than.is_some_and(|age| unchanged_for(&path) >= age);
        match take(&path, target, stale) {
            Ok(true) => swept.removed.push(path),
            Ok(false) => swept.kept.push(path),
            Err(e) if e.kind() == ErrorKind::Locked => swept.busy.push(path),
            Err(e) => return Err(e.into()),
        }
    }
    if out.json() {
        out.value(&swept)?;
        return Ok(code::OK);
    }
    for path in &swept.removed {
        out.line(format_args!("removed {}", path.display()))?;
    }
    for path in &swept.busy {
        out.note(format_args!("left {}: its writer lives", path.display()));
    }
    for path in &swept.kept {
        out.note(format_args!(
            "left {}: a fetch can go on with it; --older-than removes it",
            path.display()
        ));
    }
    if swept.removed.is_empty() && swept.busy.is_empty() && swept.kept.is_empty() {
        out.note(format_args!("nothing to sweep in {}", dir.display()));
    }
    Ok(code::OK)
}

fn parts(dir: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e| Failure::io("list", dir, e);
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        parts.push(entry.map_err(fail)?.path());
    }
    parts.sort();
    Ok(parts)
}

/// Removes a part that nobody owns and nobody could go on with, or any that nobody owns. Returns whether it did.
fn take(path: &Path, target: PathBuf, stale: bool) -> untorn::Result<bool> {
    if part::is_resumable(path) && !stale {
        return Ok(false);
    }
    // Under the claim it may turn out that somebody can go on with it after all.
    let resume = if stale { Resume::Never } else { Resume::Always };
    let options = ChunkedOptions::new().resume(resume).on_drop(OnDrop::Keep).create_dirs(false);
    let open = |path: &Path, _| FileResource::open(path);
    let part = AtomicChunked::open_with(target, options, open)?;
    if matches!(part.opened(), Opened::Resumed { .. }) {
        return Ok(false);
    }
    part.abandon()?;
    Ok(true)
}

/// How long nothing changed in it.
fn unchanged_for(path: &Path) -> Duration {
    let names = ["LOCK", "meta", "data"].map(|name| path.join(name));
    let map = fs::read_dir(path.join("map")).into_iter().flatten().flatten();
    let times = names.into_iter().chain(map.map(|entry| entry.path()));
    let times = times.filter_map(|path| fs::metadata(path).ok()?.modified().ok());
    let newest = times.max().unwrap_or_else(SystemTime::now);
    SystemTime::now().duration_since(newest).unwrap_or_default()
}
