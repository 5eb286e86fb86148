//! `recover` of a path: heals what a crash left of its manifest, and cuts damage to it if told to. Objects are as they are.

use std::path::PathBuf;

use serde::Serialize;
use untorn::log::{Healed, Log, LogOptions};
use untorn::pool::{DirPath, DirPathOptions, OpenReport, PathReport};
use untorn::{ErrorKind, OnDamage};

use super::super::store::Torn;
use super::verify::{check, help, of_manifest, told};
use crate::args::Recover;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, many};

/// What was done, or with `done` false what would be.
#[derive(Serialize)]
struct Report {
    action: &'static str,
    done: bool,
    objects: u64,
    sets: u64,
    quarantine: Vec<PathBuf>,
    message: String,
}

fn say(out: &mut Out, report: &Report) -> Result<()> {
    if out.json() {
        return out.value(report);
    }
    out.line(format_args!("{}", report.message))?;
    for copy in &report.quarantine {
        out.line(format_args!("a copy is in {}", copy.display()))?;
    }
    Ok(())
}

pub(in crate::cmd) fn recover(args: &Recover, out: &mut Out) -> Result<u8> {
    let path = &*args.path;
    let refused = if args.salvage.is_some() {
        Some(
            "the manifest of a pool is not salvaged: commits behind a hole do not go with those before it; there is --truncate",
        )
    } else {
        args.accept_loss.map(|_| "--accept-loss is of journals")
    };
    if let Some(what) = refused {
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    let report = check(path, out)?;
    let Some(words) = told(&report) else { return heal(args, &report, out) };
    if !of_manifest(&report) || !args.truncate {
        let what = format!("{words}; nothing was changed; {}", help(path, &report));
        return Err(Failure::new(ErrorKind::Damaged, path, what));
    }
    let (objects, sets) = (report.objects, report.sets);
    if !args.yes {
        let message = format!(
            "damaged: {words}\n--truncate would keep {} in {}, as of the last commit before the damage; nothing was changed: \
             say --yes to do it",
            many(objects, "object"),
            many(sets, "set")
        );
        let quarantine = Vec::new();
        say(out, &Report { action: "truncate", done: false, objects, sets, quarantine, message })?;
        return Ok(code::DAMAGE);
    }
    let opened = own(args, OnDamage::Truncate)?;
    let message = format!(
        "kept {} in {}, as of the last commit before the damage; what was committed later is to be persisted again",
        many(opened.objects, "object"),
        many(opened.sets, "set")
    );
    say(out, &done("truncate", opened, message))?;
    Ok(code::LOSSY)
}

fn done(action: &'static str, opened: OpenReport, message: String) -> Report {
    let OpenReport { objects, sets, healed, .. } = opened;
    let quarantine = healed.map(|healed| healed.quarantine).unwrap_or_default();
    Report { action, done: true, objects, sets, quarantine, message }
}

/// Opens it for writing, which does it, and lets go of it.
fn own(args: &Recover, on_damage: OnDamage) -> Result<OpenReport> {
    let path = DirPath::with(&args.path, DirPathOptions::new().on_damage(on_damage));
    Ok(path.track()?)
}

/// What every owner's open does.
fn heal(args: &Recover, report: &PathReport, out: &mut Out) -> Result<u8> {
    let manifest = args.path.join("manifest");
    let log = Log::open_read_only(&manifest, LogOptions::new())?.report();
    let torn = Torn::of(&log).map(|torn| torn.sentence());
    let mut told = Report {
        action: "none",
        done: true,
        objects: report.objects,
        sets: report.sets,
        quarantine: Vec::new(),
        message: "it is sound; there is nothing to do".to_owned(),
    };
    // What was committed was synced before; whether its owner closed it in order makes no difference.
    let Some(torn) = torn else {
        say(out, &told)?;
        return Ok(code::OK);
    };
    if args.dry_run {
        told.action = "heal";
        told.done = false;
        told.message = format!("would heal: {torn}");
        say(out, &told)?;
        return Ok(code::OK);
    }
    let opened = own(args, OnDamage::Refuse)?;
    let message = match &opened.healed {
        Some(Healed { bytes, suspect, .. }) => {
            let looks = if *suspect { ", which does not look like a plain torn write" } else { "" };
            format!(
                "healed a torn tail of {bytes} bytes{looks}; nothing that was acknowledged is lost"
            )
        }
        None => "its owner healed it meanwhile".to_owned(),
    };
    say(out, &done("heal", opened, message))?;
    Ok(code::OK)
}
