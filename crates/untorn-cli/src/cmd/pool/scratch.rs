//! The scratch root of pools: whose spill is in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::fs::OsFs;
use untorn::pool::{SpillReport, sweep_spill};

use super::super::store::Held;
use super::found::below;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, many, size};

fn is_owner(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let hex = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    name.len() == 32 && hex && path.is_dir()
}

/// Whether owners spill to a directory, or did until they died.
pub(in crate::cmd) fn is_scratch(dir: &Path) -> bool {
    below(&dir.join("spill")).iter().any(|path| is_owner(path))
}

/// What an owner has in it.
#[derive(Serialize)]
struct Owner {
    id: String,
    holder: Option<Held>,
    files: u64,
    bytes: u64,
}

/// The owners of a scratch root.
#[derive(Serialize)]
pub(in crate::cmd) struct Spilled<'a> {
    what: &'static str,
    path: &'a Path,
    owners: Vec<Owner>,
}

impl<'a> Spilled<'a> {
    /// Whose spill is in it now; of who goes meanwhile nothing is said.
    pub(in crate::cmd) fn of(path: &'a Path) -> Self {
        let mut dirs = below(&path.join("spill"));
        dirs.retain(|dir| is_owner(dir));
        dirs.sort();
        let owners = dirs.iter().filter_map(|dir| {
            let id = dir.file_name()?.to_string_lossy().into_owned();
            let holder = untorn::holder(dir).ok()?.as_ref().map(Held::of);
            let lens = below(dir).into_iter().filter(|path| !path.ends_with("LOCK"));
            let lens: Vec<u64> =
                lens.filter_map(|path| fs::metadata(path).ok()).map(|stat| stat.len()).collect();
            Some(Owner { id, holder, files: lens.len() as u64, bytes: lens.iter().sum() })
        });
        Self { what: "scratch", path, owners: owners.collect() }
    }

    pub(in crate::cmd) fn tell(&self, out: &mut Out) -> Result<u8> {
        if out.json() {
            out.value(self)?;
            return Ok(code::OK);
        }
        out.line(format_args!(
            "{}: scratch of pools; what is in it is gone with its owners",
            self.path.display()
        ))?;
        for Owner { id, holder, files, bytes } in &self.owners {
            let held = holder.as_ref().map_or_else(|| "not signed".to_owned(), Held::sentence);
            let (files, bytes) = (many(*files, "file"), size(*bytes));
            out.line(format_args!("owner {id}  {files}, {bytes}  {held}"))?;
        }
        Ok(code::OK)
    }
}

/// What dead owners left, which goes away if asked to.
pub(super) fn swept(root: &Path, remove: bool) -> Result<SpillReport> {
    Ok(sweep_spill(root, Arc::new(OsFs::new()), remove)?)
}

/// Scratch is neither checked nor healed: nobody reads it after its owner.
pub(in crate::cmd) fn refuse_scratch(dir: &Path) -> Result<()> {
    if !is_scratch(dir) {
        return Ok(());
    }
    let what =
        "it is scratch of pools, gone with its owners; `untorn pool gc` says what dead ones left";
    Err(Failure::new(ErrorKind::NotOurs, dir, what))
}

/// What `sweep` took of the scratch in a directory.
#[derive(Debug, Default, Serialize)]
pub(in crate::cmd) struct SweptOwners {
    pub(in crate::cmd) owners: u64,
    pub(in crate::cmd) files: u64,
    pub(in crate::cmd) bytes: u64,
    pub(in crate::cmd) alive: u64,
    pub(in crate::cmd) left: Vec<PathBuf>,
}

impl SweptOwners {
    /// Takes away what dead owners left.
    pub(in crate::cmd) fn sweep(root: &Path) -> Result<Self> {
        Ok(Self::of(swept(root, true)?))
    }

    pub(super) fn of(report: SpillReport) -> Self {
        let SpillReport { swept: owners, files, bytes, alive, left, .. } = report;
        Self { owners, files, bytes, alive, left }
    }
}
