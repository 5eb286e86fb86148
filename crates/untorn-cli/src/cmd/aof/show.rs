//! `aof show`, `stats`, `note`, and `inspect` of such a file.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::ErrorKind;

use super::elements::Text;
use super::found::{Store, must_find};
use super::reading::{is_clean, look};
use super::writer::{How, Kind, open_group, open_store};
use super::{tell, thousands};
use crate::cmd::store::Held;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, size};

/// What is known of one file.
#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    path: PathBuf,
    /// Bytes of each element; none if they differ.
    fixed: Option<u32>,
    codec: String,
    version: u32,
    first: u64,
    len: u64,
    bytes: u64,
    /// What the file takes on the disk.
    on_disk: u64,
    commit: u64,
}

#[derive(Serialize)]
struct All {
    what: &'static str,
    path: PathBuf,
    home: PathBuf,
    state: &'static str,
    holder: Option<Held>,
    files: Vec<Shown>,
    /// Bytes of the home, and of the log in it.
    home_bytes: u64,
    log_bytes: u64,
    /// Files that were set aside.
    quarantine: u64,
}

impl All {
    fn of(store: &Store) -> Result<Self> {
        let mut files = Vec::new();
        for (nth, member) in store.members() {
            let view = look(store, nth)?;
            let stat = fs::metadata(&member.path);
            let stat = stat.map_err(|e| Failure::io("look at", &member.path, e))?;
            let Kind { fixed, codec, version } = Kind::of(member);
            files.push(Shown {
                name: store.identity.is_group.then(|| member.name.clone()),
                path: member.path.clone(),
                fixed: (fixed > 0).then_some(fixed),
                codec,
                version,
                first: view.first(),
                len: view.len(),
                bytes: stat.len(),
                on_disk: stat.blocks() * 512,
                commit: view.seq(),
            });
        }
        let holder = untorn::holder(&store.home)?;
        let held = holder.as_ref().is_some_and(|holder| holder.alive == Some(true));
        let log = store.home.join("log");
        let bytes = files.iter().map(|file| file.bytes).sum();
        let clean = if held { None } else { is_clean(store, bytes)? };
        let state = match clean {
            Some(true) => "clean",
            Some(false) => "not closed",
            None if held => "open",
            None => "free",
        };
        let quarantine = fs::read_dir(store.home.join("quarantine"));
        let is_group = store.identity.is_group;
        Ok(Self {
            what: if is_group { "append-only group" } else { "append-only file" },
            path: store.path.clone(),
            home: store.home.clone(),
            state,
            holder: holder.as_ref().map(Held::of),
            files,
            home_bytes: tree(&store.home),
            log_bytes: tree(&log),
            quarantine: quarantine.map_or(0, |names| names.count() as u64),
        })
    }
}

/// Bytes of all files in a directory and below, as far as they can be looked at.
fn tree(dir: &Path) -> u64 {
    let Ok(names) = fs::read_dir(dir) else { return 0 };
    names
        .filter_map(std::result::Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(stat) if stat.is_dir() => tree(&entry.path()),
            Ok(stat) => stat.len(),
            Err(_) => 0,
        })
        .sum()
}

impl Shown {
    fn line(&self, state: Option<&str>) -> String {
        let Self { path, fixed, codec, version, first, len, bytes, commit, .. } = self;
        let kind = Kind { fixed: fixed.unwrap_or(0), codec: codec.clone(), version: *version };
        let state = state
            .map_or_else(String::new, |state| format!("  commit {}  {state}", thousands(*commit)));
        format!(
            "{}  {}  {}  {} B  first {}{state}  codec {}  version {version}",
            path.display(),
            kind.sizes(),
            super::elements(*len),
            thousands(*bytes),
            thousands(*first),
            codec.escape_debug()
        )
    }
}

pub(super) fn show(path: &Path, out: &mut Out) -> Result<u8> {
    let store = must_find(path)?;
    let all = All::of(&store)?;
    if out.json() {
        out.value(&all)?;
        return Ok(code::OK);
    }
    lines(&store, &all, out)?;
    Ok(code::OK)
}

fn lines(store: &Store, all: &All, out: &mut Out) -> Result<()> {
    match all.files.as_slice() {
        [file] if !store.identity.is_group => {
            out.line(format_args!("{}", file.line(Some(all.state))))
        }
        files => {
            let commit = files.first().map_or(0, |file| file.commit);
            let (path, commit) = (all.path.display(), thousands(commit));
            let count = store.identity.members.len();
            out.line(format_args!(
                "{path}: a group of {count} files  commit {commit}  {}",
                all.state
            ))?;
            files.iter().try_for_each(|file| out.line(format_args!("{}", file.line(None))))
        }
    }
}

pub(in crate::cmd) fn inspect(store: &Store, out: &mut Out) -> Result<u8> {
    let all = All::of(store)?;
    if out.json() {
        out.value(&all)?;
        return Ok(code::OK);
    }
    let what = if store.identity.is_group {
        "a group of append-only files"
    } else {
        "an append-only file"
    };
    out.line(format_args!("{}: {what}, in {}", all.path.display(), all.home.display()))?;
    lines(store, &all, out)?;
    let held = all.holder.as_ref().map_or_else(|| "never held".to_owned(), Held::sentence);
    out.line(format_args!("owner       {held}"))?;
    if all.state == "not closed" {
        out.line(format_args!("state       its owner died; the next open heals what it left"))?;
    }
    if all.quarantine > 0 {
        out.line(format_args!("quarantine  {} files that were set aside", all.quarantine))?;
    }
    Ok(code::OK)
}

pub(super) fn stats(path: &Path, out: &mut Out) -> Result<u8> {
    let store = must_find(path)?;
    let all = All::of(&store)?;
    if out.json() {
        out.value(&all)?;
        return Ok(code::OK);
    }
    for file in &all.files {
        let kept = file.len - file.first;
        out.line(format_args!("{}", file.path.display()))?;
        let sizes = match (file.fixed, kept) {
            (Some(fixed), _) => format!("{fixed} B each"),
            (None, 0) => "variable".to_owned(),
            (None, kept) if file.first == 0 => {
                format!("variable, {} B on average", thousands(file.bytes / kept))
            }
            (None, _) => "variable".to_owned(),
        };
        let (first, len) = (thousands(file.first), thousands(file.len));
        out.line(format_args!("elements    {} kept, {first} to {len}, {sizes}", thousands(kept)))?;
        out.line(format_args!("data        {}, on disk {}", size(file.bytes), size(file.on_disk)))?;
        out.line(format_args!("commit      {}", thousands(file.commit)))?;
    }
    let (home, log) = (size(all.home_bytes), size(all.log_bytes));
    out.line(format_args!("home        {}: {home}, of it log {log}", all.home.display()))?;
    out.line(format_args!("state       {}", all.state))?;
    let held = all.holder.as_ref().map_or_else(|| "never held".to_owned(), Held::sentence);
    out.line(format_args!("owner       {held}"))?;
    if all.quarantine > 0 {
        out.line(format_args!("quarantine  {} files that were set aside", all.quarantine))?;
    }
    Ok(code::OK)
}

pub(super) fn note(path: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Note<'a> {
        note: Option<Text<'a>>,
    }
    let store = must_find(path)?;
    let note = if store.identity.is_group {
        let group = open_group(&store.path, &store.identity.members, &How::default())?;
        tell(&store.path, group.recovery(), out);
        let note = group.note().to_vec();
        group.close()?;
        note
    } else {
        let file = open_store(&store, &How::default())?;
        tell(&store.path, &file.recovery()?, out);
        let note = file.note()?;
        file.close()?;
        note
    };
    if out.json() {
        out.value(&Note { note: (!note.is_empty()).then(|| Text::of(&note, false)) })?;
    } else if !note.is_empty() {
        out.bytes(&note)?;
        out.bytes(b"\n")?;
    }
    Ok(code::OK)
}

/// That something is missing is found by looking; used by commands that take no other path.
pub(super) fn refuse_missing(store: &Store) -> Result<()> {
    for (_, member) in store.members() {
        if !member.path.exists() {
            let what =
                "the data file is gone, and what belongs to it is there; restore it from a copy";
            return Err(Failure::new(ErrorKind::NotFound, &member.path, what));
        }
    }
    Ok(())
}
