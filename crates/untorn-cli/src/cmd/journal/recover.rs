//! `recover` of a journal: heals the tail of its log, never cuts at or below what a snapshot covers, and loses only what was named.

use std::path::Path;

use untorn::journal::{self, JournalReport};
use untorn::log::{Log, LogOptions, LogReport};
use untorn::{Error, ErrorKind, OnDamage};

use super::super::recover::{Report, say};
use super::verify::told;
use super::{from_snapshot, is_journal, loader};
use crate::args::Recover;
use crate::exit::{Failure, Result, code};
use crate::out::Out;

pub(in crate::cmd) fn recover(args: &Recover, out: &mut Out) -> Result<u8> {
    let path = &*args.path;
    if args.salvage.is_some() {
        let what = "a journal is not salvaged: its state is made of every event in its order, and behind a hole none can be \
                    applied; --truncate keeps what precedes the damage";
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    if args.adopt {
        let what = "--adopt is of append-only files";
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    let found = journal::verify(path)?;
    let base = found.snapshots.last();
    let options = base.map_or_else(|| LogOptions::new().owner(*b"JRNL"), from_snapshot);
    let options = options.acknowledged(acknowledged(&found));
    let log = path.join("log");
    match (&found.log, &found.log_damage) {
        (Some(_), _) if !found.opens() => Err(no_beginning(path, &found)),
        (Some(_), _) => heal(args, &log, options, &found, out),
        (None, Some(damage)) => damaged(args, &log, options, damage, out),
        (None, None) => {
            let what = "nothing can be told of its log";
            Err(Failure::new(ErrorKind::Damaged, path, what))
        }
    }
}

/// The log of a journal is recovered with the journal: alone, it might be cut below what a snapshot covers.
pub(in crate::cmd) fn refuse_its_log(path: &Path) -> Result<()> {
    let Ok(whole) = path.canonicalize() else { return Ok(()) };
    let is_log = whole.file_name().is_some_and(|name| name == "log");
    match whole.parent().filter(|parent| is_log && is_journal(parent)) {
        Some(parent) => {
            let what = format!("it is the log of a journal: `untorn recover {}`", parent.display());
            Err(Failure::new(ErrorKind::Precondition, path, what))
        }
        None => Ok(()),
    }
}

/// The last event that a snapshot of this journal covers, also of one that does not fit the log: its program relies on that.
fn acknowledged(found: &JournalReport) -> u64 {
    let whole = found.bad_snapshots.iter().filter_map(|(path, _)| loader(path).verify().ok()?);
    let ours = whole.filter(|info| info.store_id == Some(found.store_id)).map(|info| info.seq);
    ours.chain(found.snapshots.last().map(|info| info.seq)).max().unwrap_or(0)
}

/// Events without a state to begin with.
fn no_beginning(path: &Path, found: &JournalReport) -> Failure {
    let first = found.log.as_ref().map_or(0, |log| log.first_seq);
    let mut what = format!(
        "no snapshot verifies, and the log begins with event {first}: no cut brings the state back; take it from an exported \
         artifact (`untorn journal import`); nothing was changed"
    );
    for (_, error) in &found.bad_snapshots {
        what.push_str("; ");
        what.push_str(&told(error));
    }
    Failure::new(ErrorKind::Damaged, path, what)
}

/// What is damaged and costs nothing.
fn harmless(found: &JournalReport) -> String {
    let log = match (&found.log_damage, found.snapshots.last()) {
        (Some(_), Some(info)) => {
            format!("; snapshot {} covers the damage to the log, which checkpoints drop", info.seq)
        }
        _ => String::new(),
    };
    let snapshots = match found.bad_snapshots.len() {
        0 => String::new(),
        count => format!(
            "; {count} snapshots do not verify and are not needed: the next checkpoint moves them to the quarantine"
        ),
    };
    log + &snapshots
}

/// Opens the log for writing as the journal does, and closes it.
fn open(log: &Path, options: LogOptions) -> Result<LogReport> {
    let (log, report) = Log::open(log, options)?;
    log.close()?;
    Ok(report)
}

fn heal(
    args: &Recover,
    log: &Path,
    options: LogOptions,
    found: &JournalReport,
    out: &mut Out,
) -> Result<u8> {
    let harmless = harmless(found);
    let settled = found.log.as_ref().filter(|log| log.closed && log.torn.is_none());
    let mut said = Report::new(if settled.is_some() { "none" } else { "heal" });
    if let Some(report) = settled {
        (said.first_seq, said.last_seq) = (report.first_seq, report.last_seq);
        said.message = format!("it was closed in order; there is nothing to do{harmless}");
    } else if args.dry_run {
        said.done = false;
        if let Some(report) = &found.log {
            (said.first_seq, said.last_seq) = (report.first_seq, report.last_seq);
        }
        said.message = format!("would heal what its owner left at the end of the log{harmless}");
    } else {
        let report = open(log, options)?;
        (said.first_seq, said.last_seq) = (report.first_seq, report.last_seq);
        said.message = match report.healed {
            Some(healed) => {
                let bytes = healed.bytes;
                said.quarantine = healed.quarantine;
                format!(
                    "healed a torn tail of {bytes} bytes; nothing that was acknowledged is lost{harmless}"
                )
            }
            None => format!(
                "its owner died or was stopped; the tail is vouched for now, nothing is lost{harmless}"
            ),
        };
    }
    say(out, &said)
}

/// Damage that no snapshot covers.
fn damaged(
    args: &Recover,
    log: &Path,
    options: LogOptions,
    damage: &Error,
    out: &mut Out,
) -> Result<u8> {
    let path = &*args.path;
    let damage = told(damage);
    let options = options.on_damage(OnDamage::Truncate);
    let view = Log::open_read_only(log, options.clone()).map_err(|e| {
        let what = "nothing can be cut, for not even the log's beginning can be told; take the journal from an exported artifact";
        Failure::from(e).after(what)
    })?;
    let last = view.last_seq();
    let base = options.acknowledged;
    if last < base || (base == 0 && view.first_seq() > 1) {
        let what = format!(
            "a cut would lose the event that snapshot {base} ends with, so that nothing can be cut; take the journal from an exported artifact; \
             nothing was changed; {damage}"
        );
        return Err(Failure::new(ErrorKind::Damaged, path, what));
    }
    let (from, to) = lost(log, &options, last.saturating_add(1), view.report().lost)?;
    let way =
        format!("`untorn recover {} --truncate --yes --accept-loss {from}..{to}`", path.display());
    let mut said = Report::new("truncate");
    (said.first_seq, said.last_seq, said.lost) = (view.first_seq(), last, Some((from, to)));
    match args.accept_loss {
        _ if !args.truncate || (args.yes && args.accept_loss.is_none()) => {
            let what = format!(
                "{damage}; events {from}..{to} would be lost with {way}; nothing was changed"
            );
            Err(Failure::new(ErrorKind::Damaged, path, what))
        }
        Some(accepted) if accepted != (from, to) => {
            let what = format!(
                "events {from}..{to} would be lost, not {}..{}; nothing was changed",
                accepted.0, accepted.1
            );
            Err(Failure::new(ErrorKind::Precondition, path, what))
        }
        _ if !args.yes => {
            let copies = log.join("quarantine");
            said.done = false;
            said.message = format!(
                "{damage}; --truncate would keep the events up to {last} and cut {from}..{to}, with a copy in {}; nothing was \
                 changed: {way} does it",
                copies.display()
            );
            say(out, &said)?;
            Ok(code::DAMAGE)
        }
        _ => {
            let report = open(log, options)?;
            said.last_seq = report.last_seq;
            said.quarantine = report.healed.map(|healed| healed.quarantine).unwrap_or_default();
            said.message = format!("cut; events {from} to {to} are lost");
            say(out, &said)?;
            Ok(code::LOSSY)
        }
    }
}

/// The events that a cut before `from` loses: up to the last that is vouched for, or that can still be read behind the damage.
fn lost(
    log: &Path,
    options: &LogOptions,
    from: u64,
    vouched: Option<(u64, u64)>,
) -> Result<(u64, u64)> {
    let mut to = vouched.map_or(from, |(_, to)| to.max(from));
    Log::salvage(log, options, |record| {
        to = to.max(record.seq);
        Ok(())
    })?;
    Ok((from, to))
}
