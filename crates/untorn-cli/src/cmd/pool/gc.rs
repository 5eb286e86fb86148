//! `pool gc`: what crashes left of objects that nothing lists, and of owners that live no more.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::pool::DirPath;

use super::args::PoolGc;
use super::scratch::{SweptOwners, swept};
use super::{found, look};
use crate::exit::{Result, code};
use crate::out::{Out, many, size};

#[derive(Serialize)]
struct Collected {
    done: bool,
    /// Files of a path.
    removed: Vec<PathBuf>,
    bytes: u64,
    /// What is not ours, and stays.
    left: Vec<PathBuf>,
    /// Whether the path has an owner now, of whom some of it may be.
    held: bool,
    scratch: Option<SweptOwners>,
}

pub(super) fn gc(args: &PoolGc, out: &mut Out) -> Result<u8> {
    let dir = &*args.dir;
    let mut all = Collected {
        done: args.yes,
        removed: Vec::new(),
        bytes: 0,
        left: Vec::new(),
        held: false,
        scratch: None,
    };
    let has_spill = dir.join("spill").is_dir();
    if !has_spill || found::is_path(dir) {
        all.of_path(dir)?;
    }
    if has_spill {
        all.scratch = Some(SweptOwners::of(swept(dir, args.yes)?));
    }
    if out.json() {
        out.value(&all)?;
    } else {
        all.print(out)?;
    }
    Ok(code::OK)
}

impl Collected {
    fn of_path(&mut self, dir: &Path) -> Result<()> {
        let found = look(dir)?.gc(false)?;
        (self.removed, self.bytes, self.left) = (found.files, found.bytes, found.foreign);
        self.held = untorn::holder(dir)?.and_then(|holder| holder.alive) == Some(true);
        if !self.done {
            return Ok(());
        }
        let lens: Vec<(PathBuf, u64)> = std::mem::take(&mut self.removed)
            .into_iter()
            .filter_map(|path| fs::metadata(&path).ok().map(|stat| (path, stat.len())))
            .collect();
        let path = DirPath::new(dir);
        // The open takes segments away that nothing lists.
        let opened = path.track()?;
        let found = path.gc(true)?;
        let by_open = lens.iter().filter(|(path, _)| opened.removed.contains(path));
        self.bytes = found.bytes + by_open.map(|(_, len)| len).sum::<u64>();
        self.removed = opened.removed;
        self.removed.extend(found.files);
        self.left = found.foreign;
        Ok(())
    }

    fn print(&self, out: &mut Out) -> Result<()> {
        let did = if self.done { "removed" } else { "would remove" };
        for path in &self.removed {
            out.line(format_args!("{did} {}", path.display()))?;
        }
        let scratch = self.scratch.as_ref();
        let owners = scratch.map_or(0, |swept| swept.owners);
        let files = self.removed.len() as u64 + scratch.map_or(0, |swept| swept.files);
        let bytes = size(self.bytes + scratch.map_or(0, |swept| swept.bytes));
        let left = scratch.map(|swept| &swept.left).into_iter().flatten();
        for path in self.left.iter().chain(left) {
            out.note(format_args!("left {}: it is not a pool's", path.display()));
        }
        if let Some(alive) = scratch.map(|swept| swept.alive).filter(|alive| *alive > 0) {
            out.note(format_args!("{} of this scratch, which stays", many(alive, "living owner")));
        }
        if owners + files == 0 {
            return out.line(format_args!("there is nothing to remove"));
        }
        let dead =
            scratch.map_or_else(String::new, |_| format!("{}, ", many(owners, "dead owner")));
        let run = if self.done { "" } else { " (run with --yes)" };
        out.line(format_args!("{did} {dead}{}, {bytes}{run}", many(files, "file")))?;
        if self.held && !self.done {
            out.note(format_args!(
                "note: the path has a living owner; what he has not committed yet is among these"
            ));
        }
        Ok(())
    }
}
