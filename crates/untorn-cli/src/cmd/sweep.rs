//! `sweep`: takes what dead writers left in a directory; of parts only what nobody could go on with, unless it is told more.

use std::path::PathBuf;

use serde::Serialize;

use super::pool::SweptOwners;
use crate::args::Sweep;
use crate::exit::{Result, code};
use crate::out::{Out, many, size};

#[derive(Serialize)]
struct Swept {
    removed: Vec<PathBuf>,
    busy: Vec<PathBuf>,
    /// Parts that can be gone on with.
    kept: Vec<PathBuf>,
    /// Of a scratch root of pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    scratch: Option<SweptOwners>,
}

pub(crate) fn sweep(args: &Sweep, out: &mut Out) -> Result<u8> {
    let dir = &*args.dir;
    let mut swept =
        Swept { removed: Vec::new(), busy: Vec::new(), kept: Vec::new(), scratch: None };
    if let Some(store) = super::aof::find(dir)? {
        // What else is left over in it the next owner's open takes away.
        for dir in [store.home.clone(), store.home.join("log"), store.home.join("quarantine")] {
            if dir.is_dir() {
                let report = untorn::sweep(&dir)?;
                swept.removed.extend(report.removed);
                swept.busy.extend(report.busy);
            }
        }
    } else if super::fold::is_fold(dir) || super::pool::is_path(dir) {
        let dirs =
            if super::fold::is_fold(dir) { super::fold::dirs(dir) } else { super::pool::dirs(dir) };
        for dir in dirs {
            let report = untorn::sweep(&dir)?;
            swept.removed.extend(report.removed);
            swept.busy.extend(report.busy);
        }
    } else {
        if super::pool::is_scratch(dir) {
            swept.scratch = Some(SweptOwners::sweep(dir)?);
        }
        let report = untorn::sweep(dir)?;
        swept.removed.extend(report.removed);
        swept.busy.extend(report.busy);
        let parts = untorn::chunked::sweep_parts(dir, args.older_than)?;
        swept.removed.extend(parts.removed);
        swept.busy.extend(parts.busy);
        swept.kept.extend(parts.kept);
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
    let owners = swept.scratch.as_ref().map_or(0, |scratch| scratch.owners);
    if let Some(scratch) = swept.scratch.as_ref() {
        for path in &scratch.left {
            out.note(format_args!("left {}: it is not a pool's", path.display()));
        }
        if scratch.owners + scratch.files > 0 {
            let (dead, files) = (many(owners, "dead owner"), many(scratch.files, "file"));
            out.line(format_args!("removed {dead}, {files}, {}", size(scratch.bytes)))?;
        }
    }
    if owners == 0 && swept.removed.is_empty() && swept.busy.is_empty() && swept.kept.is_empty() {
        out.note(format_args!("nothing to sweep in {}", dir.display()));
    }
    Ok(code::OK)
}
