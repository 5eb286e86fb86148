//! `fold stats`, and `inspect` of a fold.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;
use untorn::fold::SnapshotStore as _;

use super::super::store::Held;
use super::{At, dirs, look};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, count, hex, real, size};

#[derive(Serialize)]
struct Stats<'a> {
    what: &'static str,
    path: &'a Path,
    keys: u64,
    /// Bytes of keys, values and versions.
    live: u64,
    /// What all its files take on the disk.
    disk: u64,
    /// Bytes of the base.
    base: u64,
    /// Bytes of records that the base does not have.
    tail: u64,
    cursor: At,
    durable: At,
    lineage: Option<Source>,
    holder: Option<Held>,
}

/// The source that it is of.
#[derive(Serialize)]
struct Source {
    kind: String,
    id: Option<String>,
    id_hex: String,
}

pub(super) fn stats(dir: &Path, out: &mut Out) -> Result<u8> {
    let fold = look(dir)?;
    let stats = fold.stats();
    let (mut keys, mut live) = (0_u64, 0_u64);
    fold.for_each_in_range("", |entry| {
        let version = entry.version.as_bytes().len();
        keys += 1;
        live += (entry.key.len() + entry.value.len() + version) as u64;
        Ok(())
    })?;
    let stats = Stats {
        what: "fold",
        path: dir,
        keys,
        live,
        disk: disk(dir)?,
        base: stats.base_bytes,
        tail: stats.tail_bytes,
        cursor: At::of(&stats.cursor),
        durable: At::of(&stats.durable_cursor),
        lineage: stats.lineage.map(|lineage| Source {
            kind: lineage.kind,
            id_hex: hex(&lineage.id),
            id: String::from_utf8(lineage.id).ok(),
        }),
        holder: untorn::holder(dir)?.as_ref().map(Held::of),
    };
    if out.json() {
        out.value(&stats)?;
    } else {
        stats.print(out)?;
    }
    Ok(code::OK)
}

impl Stats<'_> {
    fn print(&self, out: &mut Out) -> Result<()> {
        let times = if self.live == 0 {
            String::new()
        } else {
            format!(" ({:.2}x)", real(self.disk) / real(self.live))
        };
        out.line(format_args!(
            "keys {}   live {}   disk {}{times}   base {}   tail {}",
            count(self.keys),
            size(self.live),
            size(self.disk),
            size(self.base),
            size(self.tail)
        ))?;
        let durable = if self.cursor.cursor_hex == self.durable.cursor_hex {
            "same".to_owned()
        } else {
            self.durable.words()
        };
        let lineage = self.lineage.as_ref().map_or_else(
            || "not known".to_owned(),
            |Source { kind, id, id_hex }| {
                let id = id.as_ref().unwrap_or(id_hex);
                format!("{} {}", kind.escape_debug(), id.escape_debug())
            },
        );
        let cursor = self.cursor.words();
        out.line(format_args!("cursor {cursor}   durable {durable}   lineage {lineage}"))?;
        let held = self.holder.as_ref().map_or_else(|| "never held".to_owned(), Held::sentence);
        out.line(format_args!("owner {held}"))
    }
}

impl At {
    fn words(&self) -> String {
        match self.rev {
            _ if self.cursor_hex.is_empty() => "none".to_owned(),
            Some(rev) => format!("{} (u64 {rev})", self.cursor_hex),
            None => self.cursor_hex.clone(),
        }
    }
}

/// What the files of a fold take on the disk.
fn disk(dir: &Path) -> Result<u64> {
    let mut bytes = 0_u64;
    for dir in dirs(dir) {
        let names = fs::read_dir(&dir).map_err(|e| Failure::io("list", &dir, e))?;
        for name in names.filter_map(std::result::Result::ok) {
            // A file that the owner removed meanwhile takes nothing.
            let stat = name.metadata().ok().filter(fs::Metadata::is_file);
            bytes += stat.map_or(0, |stat| stat.blocks() * 512);
        }
    }
    Ok(bytes)
}

/// What a fold is; of a damaged one what can be told, and what is wrong.
pub(in crate::cmd) fn inspect(dir: &Path, out: &mut Out) -> Result<u8> {
    let told = stats_of(dir, out);
    match told {
        Err(failure) if failure.exit() == code::DAMAGE => super::verify(dir, out),
        told => told,
    }
}

fn stats_of(dir: &Path, out: &mut Out) -> Result<u8> {
    // Nothing is printed before it was read, so that damage comes first.
    look(dir)?.for_each_in_range("", |_| Ok(()))?;
    if !out.json() {
        out.line(format_args!("{}: a fold", dir.display()))?;
    }
    stats(dir, out)
}
