//! `inspect`: what a path is, found from its bytes and its name.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::artifact::{self, Manifest};
use untorn::log::{Log, LogOptions, LogReader};
use untorn::{ErrorKind, OnDamage};

use super::store::{Held, Torn, is_artifact};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, count, size};

const TEMP_END: &str = ".untorn-tmp";
const STAGED_END: &str = ".d";

#[derive(Serialize)]
struct Segment {
    number: u64,
    path: PathBuf,
    first_seq: u64,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(tag = "what", rename_all = "lowercase")]
enum Found {
    Log {
        path: PathBuf,
        owner: String,
        store_id: String,
        first_seq: u64,
        last_seq: u64,
        durable_seq: u64,
        records: u64,
        closed: bool,
        torn: Option<Torn>,
        damage: Option<String>,
        holder: Option<Held>,
        segments: Vec<Segment>,
        quarantine: u64,
    },
    /// The base of a fold.
    Base {
        path: PathBuf,
        bytes: u64,
        fold: PathBuf,
    },
    /// A segment of objects, or the file of one.
    Objects {
        path: PathBuf,
        bytes: u64,
    },
    /// A file of a log.
    Part {
        path: PathBuf,
        part: &'static str,
        log: PathBuf,
    },
    Snapshot(super::snap::Shown),
    /// What a writer that died, or lives still, has begun.
    Temporary {
        path: PathBuf,
        target: String,
        bytes: u64,
    },
    Quarantine {
        path: PathBuf,
        entries: Vec<Entry>,
    },
    /// A store that was exported.
    Artifact {
        path: PathBuf,
        bytes: u64,
        manifest: Manifest,
    },
    /// What an exporter or importer that died, or lives still, has begun.
    Staged {
        path: PathBuf,
        target: String,
    },
    File {
        path: PathBuf,
        bytes: u64,
        mode: String,
        blake3: String,
    },
    Directory {
        path: PathBuf,
        entries: u64,
        temporaries: u64,
    },
    Other {
        path: PathBuf,
    },
}

#[derive(Serialize)]
struct Entry {
    name: String,
    bytes: u64,
    note: String,
}

pub(crate) fn inspect(path: &Path, out: &mut Out) -> Result<u8> {
    if let Some(store) = super::aof::find(path)? {
        return super::aof::inspect(&store, out);
    }
    let stat = fs::metadata(path).map_err(|e| Failure::io("look at", path, e))?;
    if let Some(target) = super::part::target(path) {
        return super::chunk::status(&target, out);
    }
    if stat.is_dir() && super::journal::is_journal(path) {
        return super::journal::stats(path, out);
    }
    if stat.is_dir() && super::fold::is_fold(path) {
        return super::fold::inspect(path, out);
    }
    if stat.is_dir() && super::pool::is_path(path) {
        return super::pool::inspect(path, out);
    }
    if stat.is_dir() && super::pool::is_scratch(path) {
        return super::pool::Spilled::of(path).tell(out);
    }
    let found = if stat.is_dir() { directory(path)? } else { file(path, &stat)? };
    if out.json() {
        out.value(&found)?;
    } else {
        print(&found, out)?;
    }
    match &found {
        Found::Log { damage: Some(damage), .. } => {
            out.note(format_args!("untorn: {damage}; `untorn recover` says what can be done"));
            Ok(code::DAMAGE)
        }
        _ => Ok(code::OK),
    }
}

fn directory(path: &Path) -> Result<Found> {
    if let Some(entries) = quarantine(path)? {
        return Ok(Found::Quarantine { path: path.to_path_buf(), entries });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(target) = name.strip_suffix(STAGED_END).and_then(target_of) {
        return Ok(Found::Staged { path: path.to_path_buf(), target: target.to_owned() });
    }
    if is_artifact(path) {
        let manifest = artifact::read_manifest(path)?;
        let bytes = manifest.total_bytes();
        return Ok(Found::Artifact { path: path.to_path_buf(), bytes, manifest });
    }
    match Log::open_read_only(path, LogOptions::new()) {
        Ok(reader) => log(path, &reader, None),
        Err(e) if e.kind() == ErrorKind::Damaged => {
            let options = LogOptions::new().on_damage(OnDamage::Truncate);
            log(path, &Log::open_read_only(path, options)?, Some(e.to_string()))
        }
        Err(e) if matches!(e.kind(), ErrorKind::NotOurs | ErrorKind::NotFound) => {
            let names = names(path)?;
            let unfinished =
                |name: &String| target_of(name.strip_suffix(STAGED_END).unwrap_or(name)).is_some();
            let temporaries = names.iter().filter(|name| unfinished(name)).count() as u64;
            let entries = names.len() as u64;
            Ok(Found::Directory { path: path.to_path_buf(), entries, temporaries })
        }
        Err(e) => Err(e.into()),
    }
}

fn log(path: &Path, reader: &LogReader, damage: Option<String>) -> Result<Found> {
    let report = reader.report();
    let segments = reader.segments()?;
    let kept = quarantine(&path.join("quarantine")).ok().flatten();
    Ok(Found::Log {
        path: path.to_path_buf(),
        owner: reader.owner().escape_ascii().to_string(),
        store_id: reader.store_id().to_string(),
        first_seq: reader.first_seq(),
        last_seq: reader.last_seq(),
        durable_seq: reader.durable_seq(),
        records: report.records,
        closed: report.closed,
        // Behind damage everything is cut off: that is no torn tail.
        torn: if damage.is_some() { None } else { Torn::of(&report) },
        damage,
        holder: untorn::holder(path)?.as_ref().map(Held::of),
        segments: segments
            .into_iter()
            .map(|s| Segment {
                number: s.number,
                path: s.path,
                first_seq: s.first_seq,
                bytes: s.len,
            })
            .collect(),
        quarantine: kept.map_or(0, |entries| entries.len() as u64),
    })
}

fn names(path: &Path) -> Result<Vec<String>> {
    let fail = |e| Failure::io("list", path, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The copies in a quarantine: each has a note beside it. `None` if it is none.
fn quarantine(path: &Path) -> Result<Option<Vec<Entry>>> {
    if path.file_name() != Some(OsStr::new("quarantine")) {
        return Ok(None);
    }
    let names = names(path)?;
    let mut entries = Vec::new();
    for name in names.iter().filter(|name| names.contains(&format!("{name}.txt"))) {
        let bytes = fs::metadata(path.join(name)).map_or(0, |stat| stat.len());
        let mut note = String::new();
        if let Ok(file) = File::open(path.join(format!("{name}.txt"))) {
            // A note is for people; what cannot be read of it is left out.
            let _read = file.take(4096).read_to_string(&mut note).is_ok();
        }
        entries.push(Entry { name: name.clone(), bytes, note });
    }
    Ok((!entries.is_empty()).then_some(entries))
}

/// What an unfinished temporary was to become: `.<target>.<16 hex digits>.untorn-tmp`.
fn target_of(name: &str) -> Option<&str> {
    let (target, random) = name.strip_suffix(TEMP_END)?.strip_prefix('.')?.rsplit_once('.')?;
    let hex = random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then_some(target)
}

fn file(path: &Path, stat: &Metadata) -> Result<Found> {
    let owned = path.to_path_buf();
    if !stat.is_file() {
        return Ok(Found::Other { path: owned });
    }
    let fail = |e| Failure::io("read", path, e);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(target) = target_of(&name) {
        let target = target.to_owned();
        return Ok(Found::Temporary { path: owned, target, bytes: stat.len() });
    }
    let mut head = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read(&mut head)).map_err(fail)?;
    let part = match head.get(..read).unwrap_or_default() {
        b"UNTORNLM" => Some("META: where it begins and ends"),
        b"UNTORNL1" => Some("a segment"),
        _ => None,
    };
    let parent = || match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    if let Some(part) = part {
        return Ok(Found::Part { path: owned, part, log: parent() });
    }
    if head.starts_with(b"UNTORNFB") {
        return Ok(Found::Base { path: owned, bytes: stat.len(), fold: parent() });
    }
    if head == *super::pool::MAGIC {
        return Ok(Found::Objects { path: owned, bytes: stat.len() });
    }
    if let Some(shown) = super::snap::told(path)? {
        return Ok(Found::Snapshot(shown));
    }
    Ok(Found::File {
        path: owned,
        bytes: stat.len(),
        mode: format!("{:04o}", stat.permissions().mode() & 0o7777),
        blake3: super::file::digest(path).map_err(fail)?,
    })
}

fn print(found: &Found, out: &mut Out) -> Result<()> {
    match found {
        Found::Log {
            path,
            owner,
            store_id,
            first_seq,
            last_seq,
            durable_seq,
            records,
            closed,
            torn,
            damage,
            holder,
            segments,
            quarantine,
        } => {
            out.line(format_args!("{}: a log of {owner}, store {store_id}", path.display()))?;
            if last_seq < first_seq {
                out.line(format_args!("records     none; the next one is {first_seq}"))?;
            } else {
                out.line(format_args!(
                    "records     {first_seq} to {last_seq}, {} read",
                    count(*records)
                ))?;
                out.line(format_args!("vouched for up to {durable_seq}"))?;
            }
            let state = match (closed, torn, damage) {
                (_, _, Some(_)) => "damaged; the above is what precedes the damage".to_owned(),
                (_, Some(torn), _) => torn.sentence(),
                (true, ..) => "closed in order".to_owned(),
                (false, ..) => "open, or its owner died; nothing is torn".to_owned(),
            };
            out.line(format_args!("state       {state}"))?;
            let held = holder.as_ref().map_or_else(|| "never held".to_owned(), Held::sentence);
            out.line(format_args!("owner       {held}"))?;
            if *quarantine > 0 {
                out.line(format_args!("quarantine  {quarantine} copies of what was cut"))?;
            }
            for segment in segments {
                let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
                let bytes = size(segment.bytes);
                out.line(format_args!(
                    "segment     {name}  from record {}  {bytes}",
                    segment.first_seq
                ))?;
            }
            Ok(())
        }
        Found::Base { path, bytes, fold } => {
            out.line(format_args!("{}: the base of a fold, {}", path.display(), size(*bytes)))?;
            out.line(format_args!("`untorn inspect {}` shows all of it", fold.display()))
        }
        Found::Objects { path, bytes } => {
            out.line(format_args!("{}: objects of a pool, {}", path.display(), size(*bytes)))?;
            out.line(format_args!(
                "`untorn pool verify` reads them, given the directory with `manifest`"
            ))
        }
        Found::Part { path, part, log } => {
            out.line(format_args!("{}: of a log, {part}", path.display()))?;
            out.line(format_args!("`untorn inspect {}` shows all of it", log.display()))
        }
        Found::Snapshot(shown) => shown.print(out),
        Found::Temporary { path, target, bytes } => {
            out.line(format_args!(
                "{}: begun to become {target}, {}",
                path.display(),
                size(*bytes)
            ))?;
            out.line(format_args!("`untorn sweep` removes it if its writer is dead"))
        }
        Found::Quarantine { path, entries } => print_quarantine(path, entries, out),
        Found::Artifact { path, bytes, manifest } => print_artifact(path, *bytes, manifest, out),
        Found::Staged { path, target } => {
            out.line(format_args!("{}: begun to become {target}", path.display()))?;
            out.line(format_args!("`untorn sweep` removes it if its maker is dead"))
        }
        Found::File { path, bytes, mode, blake3 } => {
            out.line(format_args!("{}: a plain file", path.display()))?;
            out.line(format_args!("size    {bytes}\nmode    {mode}\nblake3  {blake3}"))
        }
        Found::Directory { path, entries, temporaries } => {
            out.line(format_args!(
                "{}: a directory of {entries} names, not a store",
                path.display()
            ))?;
            if *temporaries > 0 {
                out.line(format_args!(
                    "{temporaries} are temporaries; `untorn sweep` removes those of dead writers"
                ))?;
            }
            Ok(())
        }
        Found::Other { path } => out.line(format_args!("{}: no regular file", path.display())),
    }
}

fn print_quarantine(path: &Path, entries: &[Entry], out: &mut Out) -> Result<()> {
    out.line(format_args!("{}: copies of what was cut", path.display()))?;
    for Entry { name, bytes, note } in entries {
        out.line(format_args!("{name}  {}", size(*bytes)))?;
        for line in note.lines() {
            out.line(format_args!("    {line}"))?;
        }
    }
    Ok(())
}

fn print_artifact(path: &Path, bytes: u64, manifest: &Manifest, out: &mut Out) -> Result<()> {
    let Manifest { backend, backend_version, cursor_hex, files, scope, detail, .. } = manifest;
    out.line(format_args!(
        "{}: an artifact of {backend}, version {backend_version}",
        path.display()
    ))?;
    let cursor = if cursor_hex.is_empty() { "none" } else { cursor_hex };
    out.line(format_args!("cursor      {cursor}"))?;
    out.line(format_args!("made        {} s after 1970", manifest.created_at_unix))?;
    if let Some(scope) = scope {
        out.line(format_args!("scope       {}", scope.join(" ").escape_debug()))?;
    }
    for (name, value) in detail {
        out.line(format_args!("{:11} {}", name.escape_debug().to_string(), value.escape_debug()))?;
    }
    out.line(format_args!("files       {}, {}", files.len(), size(bytes)))?;
    out.line(format_args!("`untorn verify` reads and compares them"))
}
