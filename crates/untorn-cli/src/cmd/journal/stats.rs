//! `journal stats`, and `inspect` of a journal: from headers, and the log above the newest snapshot.

use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::log::{Log, LogReader};
use untorn::snapshot::SnapshotInfo;
use untorn::{ErrorKind, OnDamage};

use super::super::store::{Held, Torn};
use super::{from_snapshot, identify, loader};
use crate::exit::{Result, code};
use crate::out::{Out, count, size};

#[derive(Serialize)]
struct Stats {
    what: &'static str,
    path: PathBuf,
    machine: String,
    event_codec: String,
    store_id: String,
    first_seq: u64,
    last_seq: u64,
    closed: bool,
    torn: Option<Torn>,
    snapshots: Vec<Snapshot>,
    log_bytes: u64,
    segments: usize,
    quarantine: u64,
    holder: Option<Held>,
    damage: Vec<String>,
}

#[derive(Serialize)]
struct Snapshot {
    path: PathBuf,
    seq: u64,
    machine_version: u32,
    bytes: u64,
}

pub(in crate::cmd) fn stats(dir: &Path, out: &mut Out) -> Result<u8> {
    let info = identify(dir)?;
    let mut damage = Vec::new();
    let mut infos: Vec<SnapshotInfo> = Vec::new();
    for path in &info.snapshots {
        match loader(path).info() {
            Ok(found) => infos.extend(found), // none: retired meanwhile
            Err(e) if e.kind() == ErrorKind::Damaged => damage.push(e.to_string()),
            Err(e) => return Err(e.into()),
        }
    }
    let reader = open(&info.log, infos.last(), &mut damage)?;
    let report = reader.report();
    let segments: Vec<u64> = lengths(&info.log)?;
    let stats = Stats {
        what: "journal",
        path: dir.to_path_buf(),
        machine: info.machine,
        event_codec: info.event_codec,
        store_id: info.store_id.to_string(),
        first_seq: report.first_seq,
        last_seq: report.last_seq,
        closed: report.closed,
        torn: if report.lost.is_some() { None } else { Torn::of(&report) },
        snapshots: infos
            .into_iter()
            .map(|info| Snapshot {
                path: info.path,
                seq: info.seq,
                machine_version: info.machine_version,
                bytes: info.stored_bytes,
            })
            .collect(),
        log_bytes: segments.iter().sum(),
        segments: segments.len(),
        quarantine: copies(&dir.join("quarantine")) + copies(&info.log.join("quarantine")),
        holder: untorn::holder(dir)?.as_ref().map(Held::of),
        damage,
    };
    if out.json() {
        out.value(&stats)?;
    } else {
        stats.print(out)?;
    }
    if stats.damage.is_empty() {
        return Ok(code::OK);
    }
    for damage in &stats.damage {
        out.note(format_args!("untorn: {damage}"));
    }
    out.note(format_args!("`untorn journal verify` says what it costs"));
    Ok(code::DAMAGE)
}

/// The log above the snapshot; if it is damaged there, up to the damage.
fn open(log: &Path, newest: Option<&SnapshotInfo>, damage: &mut Vec<String>) -> Result<LogReader> {
    let options = newest.map_or_else(untorn::log::LogOptions::new, from_snapshot);
    match Log::open_read_only(log, options.clone()) {
        Err(e) if e.kind() == ErrorKind::Damaged => {
            damage.push(e.to_string());
            Ok(Log::open_read_only(log, options.on_damage(OnDamage::Truncate))?)
        }
        opened => Ok(opened?),
    }
}

/// The sizes of the log's segments; those that are prepared count, for they take up space.
fn lengths(log: &Path) -> Result<Vec<u64>> {
    let fail = |e| crate::exit::Failure::io("list", log, e);
    let mut lengths = Vec::new();
    for entry in std::fs::read_dir(log).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.path().extension().is_some_and(|end| end == "seg") {
            // One that goes meanwhile has no size.
            lengths.extend(entry.metadata().map(|stat| stat.len()));
        }
    }
    Ok(lengths)
}

/// Each copy has a note beside it.
fn copies(quarantine: &Path) -> u64 {
    std::fs::read_dir(quarantine).map_or(0, |names| {
        let is_note = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".txt");
        names.filter_map(Result::ok).filter(|entry| is_note(&entry.file_name())).count() as u64
    })
}

impl Stats {
    fn print(&self, out: &mut Out) -> Result<()> {
        let (path, machine) = (self.path.display(), self.machine.escape_default());
        out.line(format_args!("{path}: a journal of {machine}, store {}", self.store_id))?;
        let codec = self.event_codec.escape_default();
        if self.last_seq < self.first_seq {
            out.line(format_args!(
                "events      none in the log; the next one is {}",
                self.first_seq
            ))?;
        } else {
            let (first, last) = (self.first_seq, self.last_seq);
            out.line(format_args!("events      {first} to {last} in the log, in {codec}"))?;
        }
        for snapshot in &self.snapshots {
            let Snapshot { seq, machine_version, bytes, .. } = snapshot;
            let bytes = size(*bytes);
            out.line(format_args!(
                "snapshot    of event {seq}, version {machine_version}, {bytes}"
            ))?;
        }
        let (bytes, segments) = (size(self.log_bytes), count(self.segments as u64));
        out.line(format_args!("log         {bytes} in {segments} segments"))?;
        let state = match (&self.torn, self.damage.is_empty(), self.closed) {
            (_, false, _) => "damaged; the above is what can be told".to_owned(),
            (Some(torn), ..) => torn.sentence(),
            (None, _, true) => "closed in order".to_owned(),
            (None, ..) => "open, or its owner died; nothing is torn".to_owned(),
        };
        out.line(format_args!("state       {state}"))?;
        let held = self.holder.as_ref().map_or_else(|| "never held".to_owned(), Held::sentence);
        out.line(format_args!("owner       {held}"))?;
        if self.quarantine > 0 {
            out.line(format_args!("quarantine  {} copies of what was cut", self.quarantine))?;
        }
        Ok(())
    }
}
