//! `recover`: heals what a crash left; of damage it says what can be done, and does it only when told.

use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::log::{Healed, Log, LogOptions, SalvageReport};
use untorn::{Error, ErrorKind, OnDamage};

use super::staging::made_whole;
use super::store::{Torn, must_be_a_log};
use super::{fold, journal, pool};
use crate::args::Recover;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, count};

/// What was done, or with `done` false what would be.
#[derive(Serialize)]
pub(super) struct Report {
    action: &'static str,
    pub(super) done: bool,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) lost: Option<(u64, u64)>,
    pub(super) quarantine: Vec<PathBuf>,
    pub(super) message: String,
}

impl Report {
    /// Done, and nothing else is known yet.
    pub(super) fn new(action: &'static str) -> Self {
        Self {
            action,
            done: true,
            first_seq: 0,
            last_seq: 0,
            lost: None,
            quarantine: Vec::new(),
            message: String::new(),
        }
    }
}

pub(crate) fn recover(args: &Recover, out: &mut Out) -> Result<u8> {
    let path = &*args.path;
    if let Some(store) = super::aof::find_within(path)? {
        return super::aof::recover(&store, args, out);
    }
    must_be_a_log(path)?;
    if args.adopt {
        let what = "--adopt is of append-only files";
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    if journal::is_journal(path) {
        return journal::recover(args, out);
    }
    if fold::is_fold(path) {
        return fold::recover(args, out);
    }
    if pool::is_path(path) {
        return pool::recover(args, out);
    }
    journal::refuse_its_log(path)?;
    fold::refuse_its_log(path)?;
    pool::refuse_its_log(path)?;
    if args.accept_loss.is_some() {
        let what = "--accept-loss is of journals; a log says without it what --truncate would keep";
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    if let Some(to) = &args.salvage {
        return salvage(path, new_place(to.as_deref())?, args.yes, out);
    }
    let reader = match Log::open_read_only(path, LogOptions::new()) {
        Ok(reader) => reader,
        Err(e) if e.kind() == ErrorKind::Damaged => return damaged(args, e, out),
        Err(e) => return Err(e.into()),
    };
    let found = reader.report();
    if found.closed && found.torn.is_none() {
        let message = "it was closed in order and is sound; there is nothing to do".to_owned();
        return say(
            out,
            &Report {
                action: "none",
                done: true,
                first_seq: found.first_seq,
                last_seq: found.last_seq,
                lost: None,
                quarantine: Vec::new(),
                message,
            },
        );
    }
    if args.dry_run {
        let torn = Torn::of(&found).map(|torn| torn.sentence());
        let torn =
            torn.unwrap_or_else(|| "its owner died or was stopped; nothing is torn".to_owned());
        let (first_seq, last_seq) = (found.first_seq, found.last_seq);
        let message = format!("would heal: {torn}");
        return say(
            out,
            &Report { done: false, first_seq, last_seq, message, ..Report::new("heal") },
        );
    }
    open(path, reader.owner(), OnDamage::Refuse, "heal", out)
}

/// Opens it for writing, which heals, and closes it.
fn open(
    path: &Path,
    owner: [u8; 4],
    on_damage: OnDamage,
    action: &'static str,
    out: &mut Out,
) -> Result<u8> {
    let (log, report) = Log::open(path, LogOptions::new().owner(owner).on_damage(on_damage))?;
    log.close()?;
    let healed = report.healed.as_ref();
    let lost = healed.and_then(|healed| healed.lost);
    let message = match (healed, lost) {
        (Some(_), Some((from, to))) => format!("cut; records {from} to {to} are lost"),
        (Some(Healed { bytes, suspect, .. }), None) => {
            let looks = if *suspect { ", which does not look like a plain torn write" } else { "" };
            format!(
                "healed a torn tail of {bytes} bytes{looks}; nothing that was acknowledged is lost"
            )
        }
        (None, _) => {
            "its owner died or was stopped; the tail is vouched for now, nothing is lost".to_owned()
        }
    };
    let quarantine = healed.map(|healed| healed.quarantine.clone()).unwrap_or_default();
    let (first_seq, last_seq) = (report.first_seq, report.last_seq);
    say(out, &Report { action, done: true, first_seq, last_seq, lost, quarantine, message })?;
    Ok(if lost.is_some() { code::LOSSY } else { code::OK })
}

fn damaged(args: &Recover, error: Error, out: &mut Out) -> Result<u8> {
    let path = &*args.path;
    let options = LogOptions::new().on_damage(OnDamage::Truncate);
    let before = match Log::open_read_only(path, options) {
        Ok(before) => before,
        // Not even its beginning can be told: META is lost.
        Err(e) => {
            let what = "only `--salvage OUT` can help here; nothing was changed";
            return Err(Failure::from(e).after(what));
        }
    };
    if args.truncate && args.yes {
        return open(path, before.owner(), OnDamage::Truncate, "truncate", out);
    }
    let (first_seq, last_seq) = (before.first_seq(), before.last_seq());
    if !args.truncate {
        let what = format!(
            "nothing was changed; `--truncate` would keep records {first_seq} to {last_seq}, `--salvage OUT` would write all \
             that is provably good into a new log"
        );
        return Err(Failure::from(error).after(&what));
    }
    let message = format!(
        "{error}; --truncate would keep records {first_seq} to {last_seq} and cut the rest, with a copy in {}; \
         nothing was changed: say --yes to do it",
        path.join("quarantine").display()
    );
    let (lost, quarantine) = (None, Vec::new());
    say(
        out,
        &Report { action: "truncate", done: false, first_seq, last_seq, lost, quarantine, message },
    )?;
    Ok(code::DAMAGE)
}

pub(super) fn say(out: &mut Out, report: &Report) -> Result<u8> {
    if out.json() {
        out.value(report)?;
    } else {
        out.line(format_args!("{}", report.message))?;
        for copy in &report.quarantine {
            out.line(format_args!("a copy is in {}", copy.display()))?;
        }
    }
    Ok(code::OK)
}

/// Where a salvage writes to.
pub(super) fn new_place(to: Option<&Path>) -> Result<&Path> {
    to.ok_or_else(|| {
        let what = "--salvage needs the name of a new store to write to; only a fold is salvaged in its place";
        Failure::plain(ErrorKind::InvalidInput, what)
    })
}

#[derive(Serialize)]
struct Salvaged {
    action: &'static str,
    done: bool,
    records: u64,
    /// Old numbers, first and last, and the new number of the first.
    runs: Vec<(u64, u64, u64)>,
    holes: Vec<Hole>,
}

#[derive(Serialize)]
struct Hole {
    path: PathBuf,
    offset: u64,
    bytes: u64,
    seqs: Option<(u64, u64)>,
}

/// Old numbers in runs without a gap, and where each run begins in the new log.
#[derive(Default)]
struct Runs(Vec<(u64, u64, u64)>);

impl Runs {
    fn add(&mut self, old: u64, new: u64) {
        match self.0.last_mut() {
            Some((_, last, _)) if last.saturating_add(1) == old => *last = old,
            _ => self.0.push((old, old, new)),
        }
    }
}

fn salvage(path: &Path, to: &Path, yes: bool, out: &mut Out) -> Result<u8> {
    if to.symlink_metadata().is_ok() {
        let what = "it exists; the salvaged log needs a directory of its own";
        return Err(Failure::new(ErrorKind::AlreadyExists, to, what));
    }
    let mut runs = Runs::default();
    let report = if yes {
        write_new(path, to, &mut runs)?
    } else {
        let mut new = 0_u64;
        Log::salvage(path, &LogOptions::new(), |record| {
            new += 1;
            runs.add(record.seq, new);
            Ok(())
        })?
    };
    let holes: Vec<Hole> = report
        .holes
        .iter()
        .map(|h| Hole { path: h.path.clone(), offset: h.offset, bytes: h.bytes, seqs: h.seqs })
        .collect();
    let lossy = !holes.is_empty();
    let salvaged =
        Salvaged { action: "salvage", done: yes, records: report.records, runs: runs.0, holes };
    if out.json() {
        out.value(&salvaged)?;
    } else {
        print(&salvaged, to, out)?;
    }
    Ok(if lossy && yes { code::LOSSY } else { code::OK })
}

fn print(salvaged: &Salvaged, to: &Path, out: &mut Out) -> Result<()> {
    let did = if salvaged.done { "wrote" } else { "would write" };
    out.line(format_args!("{did} {} records into {}", count(salvaged.records), to.display()))?;
    for (first, last, new) in &salvaged.runs {
        let new_last = new + (last - first);
        out.line(format_args!("  {first} to {last} are {new} to {new_last} there"))?;
    }
    for Hole { path, offset, bytes, seqs } in &salvaged.holes {
        let which = match seqs {
            Some((first, last)) => format!("records {first} to {last} are lost"),
            None => "what followed, if anything, is lost".to_owned(),
        };
        let path = path.display();
        out.line(format_args!(
            "  not readable: {path} at offset {offset}, {bytes} bytes; {which}"
        ))?;
    }
    if !salvaged.done {
        out.note(format_args!("nothing was changed; say --yes to do it"));
    }
    Ok(())
}

fn write_new(path: &Path, to: &Path, runs: &mut Runs) -> Result<SalvageReport> {
    let options = Log::open_read_only(path, LogOptions::new().on_damage(OnDamage::Truncate))
        .map_or_else(|_| LogOptions::new(), |old| LogOptions::new().owner(old.owner()));
    made_whole(to, "salvage", |staged| {
        let (log, _report) = Log::open(staged, options.clone())?;
        let report = Log::salvage(path, &options, |record| {
            let ticket = log.append(record.bytes)?;
            runs.add(record.seq, ticket.seq);
            Ok(())
        })?;
        log.close()?;
        Ok(report)
    })
}
