//! `pool stats`, and `inspect` of a path.

use std::path::Path;

use serde::Serialize;
use untorn::pool::SetPath as _;

use super::super::store::Held;
use super::look;
use crate::exit::{Result, code};
use crate::out::{Out, count, real, size, whole};

#[derive(Serialize)]
struct Stats<'a> {
    what: &'static str,
    path: &'a Path,
    objects: u64,
    sets: u64,
    /// Bytes as the codecs made them.
    raw: u64,
    /// Bytes as they are stored.
    stored: u64,
    segments: u64,
    /// Bytes of frames in them that something lists.
    live: u64,
    garbage: u64,
    /// Objects with a file of their own.
    files: u64,
    holder: Option<Held>,
}

fn stats_of(dir: &Path) -> Result<Stats<'_>> {
    let path = look(dir)?;
    let (held, objects) = (path.stats()?, path.objects());
    Ok(Stats {
        what: "pool",
        path: dir,
        objects: held.objects,
        sets: path.sets().len() as u64,
        raw: objects.iter().map(|(_, info)| info.meta.raw_len).sum(),
        stored: objects.iter().map(|(_, info)| info.stored_len).sum(),
        segments: held.segments,
        live: held.live_bytes,
        garbage: held.dead_bytes,
        files: held.own_files,
        holder: untorn::holder(dir)?.as_ref().map(Held::of),
    })
}

pub(super) fn stats(dir: &Path, out: &mut Out) -> Result<u8> {
    let stats = stats_of(dir)?;
    if out.json() {
        out.value(&stats)?;
    } else {
        stats.print(out)?;
    }
    Ok(code::OK)
}

impl Stats<'_> {
    fn print(&self, out: &mut Out) -> Result<()> {
        let of = |part: u64, all: u64| if all == 0 { 1.0 } else { real(part) / real(all) };
        out.line(format_args!(
            "objects {}   sets {}   raw {}   stored {} ({:.2})",
            count(self.objects),
            count(self.sets),
            size(self.raw),
            size(self.stored),
            of(self.stored, self.raw)
        ))?;
        let live = whole(100.0 * of(self.live, self.live.saturating_add(self.garbage)));
        out.line(format_args!(
            "segments {} ({live}% live)   files {}   garbage {}",
            count(self.segments),
            count(self.files),
            size(self.garbage)
        ))?;
        let held = self.holder.as_ref().map_or_else(|| "never held".to_owned(), Held::sentence);
        out.line(format_args!("owner {held}"))
    }
}

/// What a path is; of one with a damaged manifest what can be told, and what is wrong.
pub(in crate::cmd) fn inspect(dir: &Path, out: &mut Out) -> Result<u8> {
    match stats_of(dir) {
        Err(failure) if failure.exit() == code::DAMAGE => super::verify(dir, out),
        Err(failure) => Err(failure),
        Ok(stats) if out.json() => {
            out.value(&stats)?;
            Ok(code::OK)
        }
        Ok(stats) => {
            out.line(format_args!("{}: objects of a pool", dir.display()))?;
            stats.print(out)?;
            Ok(code::OK)
        }
    }
}
