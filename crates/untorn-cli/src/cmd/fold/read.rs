//! `fold get`, `range` and `cursor`.

use std::path::Path;

use serde::Serialize;
use untorn::fold::{ScanOptions, SnapshotStore as _, VersionToken};

use super::args::{FoldGet, FoldRange};
use super::{At, lines, look, missing};
use crate::exit::{Result, code};
use crate::out::{Out, hex};

pub(super) fn get(args: &FoldGet, out: &mut Out) -> Result<u8> {
    let fold = look(&args.dir)?;
    let Some(entry) = fold.get(&args.key)? else {
        let what = format!("it has no key {:?}", args.key);
        return Err(missing(&args.dir, &what));
    };
    if out.json() {
        lines::put(entry, out)?;
        return Ok(code::OK);
    }
    if args.version {
        out.bytes(format!("{}\t", entry.version).as_bytes())?;
    }
    out.bytes(&entry.value)?;
    if !args.raw {
        out.bytes(b"\n")?;
    }
    Ok(code::OK)
}

#[derive(Serialize)]
struct Named<'a> {
    key: &'a str,
    rev: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev_hex: Option<String>,
}

impl<'a> Named<'a> {
    fn of(key: &'a str, version: &VersionToken) -> Self {
        let rev = version.as_u64();
        let known = rev.is_none() && !version.is_unknown();
        Self { key, rev, rev_hex: known.then(|| hex(version.as_bytes())) }
    }
}

pub(super) fn range(args: &FoldRange, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Count {
        count: u64,
    }
    let snapshot = look(&args.dir)?.snapshot();
    if args.count {
        let count = snapshot.count(&args.prefix)?;
        if out.json() {
            out.value(&Count { count })?;
        } else {
            out.line(format_args!("{count}"))?;
        }
        return Ok(code::OK);
    }
    let mut options = ScanOptions::prefix(args.prefix.clone())
        .limit(args.limit.unwrap_or(usize::MAX))
        .reverse(args.reverse)
        .keys_only(args.keys);
    options.after.clone_from(&args.after);
    let lines = args.ndjson || out.json();
    for entry in snapshot.scan(&options) {
        let entry = entry?;
        match (lines, args.keys) {
            (true, true) => out.value(&Named::of(&entry.key, &entry.version))?,
            (true, false) => lines::put(entry, out)?,
            (false, true) => out.line(format_args!("{}", entry.key))?,
            (false, false) => {
                out.bytes(entry.key.as_bytes())?;
                out.bytes(b"\t")?;
                out.bytes(&entry.value)?;
                out.bytes(b"\n")?;
            }
        }
    }
    Ok(code::OK)
}

pub(super) fn cursor(dir: &Path, out: &mut Out) -> Result<u8> {
    let cursor = look(dir)?.cursor();
    if out.json() {
        out.value(&At::of(&cursor))?;
    } else {
        out.line(format_args!("{cursor}"))?;
    }
    Ok(code::OK)
}
