//! `journal verify`, and `verify` of a journal: a line for each snapshot and for the log.

use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::Error;
use untorn::journal::{self, JournalReport};

use super::super::store::Torn;
use crate::exit::{Result, code};
use crate::out::{Out, count, size};

#[derive(Serialize)]
struct Verified {
    what: &'static str,
    path: PathBuf,
    machine: String,
    event_codec: String,
    store_id: String,
    sound: bool,
    /// Its program finds the exact state.
    opens: bool,
    snapshots: Vec<Snapshot>,
    bad_snapshots: Vec<Damage>,
    log: Option<LogPart>,
    log_damage: Option<Damage>,
    /// The snapshot that makes the damage to the log harmless.
    covered_by: Option<u64>,
}

#[derive(Serialize)]
struct Snapshot {
    path: PathBuf,
    seq: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Damage {
    path: PathBuf,
    offset: Option<u64>,
    message: String,
}

/// What was read of the log: all, or what follows the newest snapshot.
#[derive(Serialize)]
struct LogPart {
    first_seq: u64,
    last_seq: u64,
    records: u64,
    bytes: u64,
    closed: bool,
    torn: Option<Torn>,
}

impl Damage {
    fn of(path: &Path, error: &Error) -> Self {
        let path = error.path().unwrap_or(path).to_path_buf();
        Self { path, offset: error.offset(), message: error.to_string() }
    }

    fn line(&self, what: &str) -> String {
        let at = self.offset.map_or_else(String::new, |offset| format!("  offset {offset}"));
        format!("damaged  {}{at}  {what}", self.path.display())
    }
}

impl Verified {
    fn of(path: &Path, report: &JournalReport) -> Self {
        let newest = report.snapshots.last().map(|info| info.seq);
        let log = report.log.as_ref();
        Self {
            what: "journal",
            path: path.to_path_buf(),
            machine: report.machine.clone(),
            event_codec: report.event_codec.clone(),
            store_id: report.store_id.to_string(),
            sound: report.is_sound(),
            opens: report.opens(),
            snapshots: report
                .snapshots
                .iter()
                .map(|info| Snapshot {
                    path: info.path.clone(),
                    seq: info.seq,
                    bytes: info.stored_bytes,
                })
                .collect(),
            bad_snapshots: report
                .bad_snapshots
                .iter()
                .map(|(path, error)| Damage::of(path, error))
                .collect(),
            log: log.map(|log| LogPart {
                first_seq: log.first_seq,
                last_seq: log.last_seq,
                records: log.records,
                bytes: log.bytes,
                closed: log.closed,
                torn: Torn::of(log),
            }),
            log_damage: report
                .log_damage
                .as_ref()
                .map(|error| Damage::of(&path.join("log"), error)),
            covered_by: report.log_damage.as_ref().and(log).and(newest),
        }
    }

    fn print(&self, out: &mut Out) -> Result<()> {
        for Snapshot { path, seq, bytes } in &self.snapshots {
            let (path, bytes) = (path.display(), size(*bytes));
            out.line(format_args!("sound    {path}  the state after event {seq}, {bytes}"))?;
        }
        for damage in &self.bad_snapshots {
            out.line(format_args!("{}", damage.line(&reason(&damage.message))))?;
        }
        if let Some(damage) = &self.log_damage {
            let covers = match self.covered_by {
                Some(seq) => format!("; snapshot {seq} covers the hole"),
                None => "; no snapshot covers the hole".to_owned(),
            };
            out.line(format_args!("{}{covers}", damage.line(&reason(&damage.message))))?;
        }
        if let Some(log) = &self.log {
            let path = self.path.join("log");
            let (path, bytes) = (path.display(), size(log.bytes));
            let which = match (self.covered_by, log.last_seq < log.first_seq) {
                (_, true) => "no events".to_owned(),
                (None, false) => format!("events {}..={}", log.first_seq, log.last_seq),
                (Some(seq), false) => format!("what follows {seq}, up to event {}", log.last_seq),
            };
            let records = count(log.records);
            out.line(format_args!("sound    {path}  {which}; {records} read, {bytes}"))?;
        }
        let path = self.path.display();
        let verdict = match (self.sound, self.opens) {
            (true, true) => "sound; an open finds the exact state",
            (false, true) => {
                "damaged, but an open finds the exact state: nothing that counts is lost"
            }
            (_, false) => "an open refuses; `untorn recover` says what can be done",
        };
        out.line(format_args!("{path}: {verdict}"))?;
        if let Some(torn) = self.log.as_ref().and_then(|log| log.torn.as_ref()) {
            out.note(format_args!("note: {}", torn.sentence()));
        }
        Ok(())
    }
}

/// Where the damage is and what, without advice.
pub(super) fn told(error: &Error) -> String {
    let what = reason(&error.to_string());
    match (error.path(), error.offset()) {
        (Some(path), Some(offset)) => format!("{} at offset {offset}: {what}", path.display()),
        (Some(path), None) => format!("{}: {what}", path.display()),
        (None, _) => what,
    }
}

/// What is wrong, without the file and the advice, which the line and the verdict give.
fn reason(message: &str) -> String {
    let after = message.split_once(": ").map_or(message, |(_, what)| what);
    let parts = after.split("; ").filter(|part| {
        !part.starts_with("nothing was changed") && !part.starts_with("see `untorn recover`")
    });
    parts.collect::<Vec<_>>().join("; ").trim_start_matches("damaged: ").to_owned()
}

/// Looks again where an owner lives: one that drops segments as fast as they are read makes a sound log look damaged.
fn look(dir: &Path) -> Result<JournalReport> {
    const LOOKS: u32 = 4;
    for _ in 1..LOOKS {
        let report = journal::verify(dir)?;
        let lives = || untorn::holder(dir).is_ok_and(|h| h.is_some_and(|h| h.alive != Some(false)));
        if report.is_sound() || !lives() {
            return Ok(report);
        }
    }
    Ok(journal::verify(dir)?)
}

pub(in crate::cmd) fn verify(dir: &Path, out: &mut Out) -> Result<u8> {
    let verified = Verified::of(dir, &look(dir)?);
    if out.json() {
        out.value(&verified)?;
    } else {
        verified.print(out)?;
    }
    // A journal that is sound opens, unless its beginning is lost: the log starts late and there is no snapshot.
    Ok(if verified.sound && verified.opens { code::OK } else { code::DAMAGE })
}
