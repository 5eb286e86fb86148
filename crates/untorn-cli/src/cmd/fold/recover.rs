//! `recover` of a fold: heals what a crash left, and of damage does what it is told.

use std::path::Path;

use serde::Serialize;
use untorn::fold::{Compaction, FoldOptions, FoldReport, SnapshotStore as _};
use untorn::log::Healed;
use untorn::{ErrorKind, OnDamage};

use super::super::store::Torn;
use super::verify::{check, help, keys_in_words, of_base, told};
use super::{At, many, own};
use crate::args::Recover;
use crate::exit::{Failure, Result, code};
use crate::out::Out;

/// What was done, or with `done` false what would be.
#[derive(Serialize)]
struct Report {
    action: &'static str,
    done: bool,
    #[serde(flatten)]
    at: At,
    /// Commits from behind the damage that were kept.
    behind: u64,
    lost_keys: Vec<(Option<String>, Option<String>)>,
    quarantine: Vec<std::path::PathBuf>,
    message: String,
}

fn say(out: &mut Out, report: &Report) -> Result<()> {
    if out.json() {
        return out.value(report);
    }
    out.line(format_args!("{}", report.message))?;
    for keys in &report.lost_keys {
        out.line(format_args!("{}", keys_in_words(keys)))?;
    }
    for copy in &report.quarantine {
        out.line(format_args!("a copy is in {}", copy.display()))?;
    }
    Ok(())
}

pub(in crate::cmd) fn recover(args: &Recover, out: &mut Out) -> Result<u8> {
    let path = &*args.path;
    if args.adopt || args.accept_loss.is_some() {
        let what = if args.adopt {
            "--adopt is of append-only files"
        } else {
            "--accept-loss is of journals; a fold says without it what would be lost"
        };
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    if matches!(args.salvage, Some(Some(_))) {
        let what = "a fold is salvaged in its place, with a copy in its quarantine: --salvage without a name";
        return Err(Failure::new(ErrorKind::InvalidInput, path, what));
    }
    let report = check(path, out)?;
    if report.is_sound() {
        return heal(args, &report, out);
    }
    let asked = match (args.truncate, &args.salvage) {
        (true, _) => Some(("truncate", OnDamage::Truncate)),
        (_, Some(_)) => Some(("salvage", OnDamage::Salvage)),
        _ => None,
    };
    let words = told(&report).unwrap_or_default();
    let Some((action, on_damage)) = asked else {
        let what = format!("{words}; nothing was changed; {}", help(path, &report));
        return Err(Failure::new(ErrorKind::Damaged, path, what));
    };
    let of_base = of_base(&report);
    if of_base && on_damage == OnDamage::Truncate {
        let what = format!("{words}; --truncate cannot help here; {}", help(path, &report));
        return Err(Failure::new(ErrorKind::Damaged, path, what));
    }
    if args.yes {
        return repair(path, action, on_damage, out);
    }
    would(action, on_damage, of_base, &report, out)
}

fn would(
    action: &'static str,
    on_damage: OnDamage,
    of_base: bool,
    report: &FoldReport,
    out: &mut Out,
) -> Result<u8> {
    let salvage = on_damage == OnDamage::Salvage;
    let lost_keys: Vec<_> = report.damage.iter().filter_map(|damage| damage.keys.clone()).collect();
    let kept = match (salvage, of_base) {
        (true, true) => "would keep all but the keys below, and set the cursor to none".to_owned(),
        (true, false) => format!(
            "would keep {} behind the damage, with the cursor {}",
            many(report.behind, "commit"),
            report.cursor
        ),
        (false, _) => format!(
            "would keep up to cursor {} and lose {} behind",
            report.cursor,
            many(report.behind, "intact commit")
        ),
    };
    let words = told(report).unwrap_or_default();
    let message =
        format!("damaged: {words}\n--{action} {kept}; nothing was changed: say --yes to do it");
    let (at, behind) = (At::of(&report.cursor), if salvage { report.behind } else { 0 });
    let quarantine = Vec::new();
    say(out, &Report { action, done: false, at, behind, lost_keys, quarantine, message })?;
    Ok(code::DAMAGE)
}

/// Opens it for writing, which does it, and closes it.
fn repair(path: &Path, action: &'static str, on_damage: OnDamage, out: &mut Out) -> Result<u8> {
    let fold = own(path, options().on_damage(on_damage))?;
    let recovery = fold.recovery().clone();
    let cursor = fold.cursor();
    fold.close()?;
    let mut quarantine = recovery.healed.map(|healed| healed.quarantine).unwrap_or_default();
    let salvaged = recovery.salvaged.unwrap_or_default();
    quarantine.extend(salvaged.quarantine);
    let behind = salvaged.commits_behind;
    let kept = if behind > 0 {
        format!(", and {} from behind the damage", many(behind, "record"))
    } else {
        String::new()
    };
    let message = if cursor.is_none() {
        "kept all that is provably good; the cursor is none: have the source listed again (untorn fold follow \
         --repair relist), or import an artifact"
            .to_owned()
    } else {
        format!("kept up to cursor {cursor}{kept}; what came behind that is to be delivered again")
    };
    let at = At::of(&cursor);
    let lost_keys = salvaged.lost_keys;
    say(out, &Report { action, done: true, at, behind, lost_keys, quarantine, message })?;
    Ok(code::LOSSY)
}

fn options() -> FoldOptions {
    FoldOptions::new().create(false).compaction(Compaction::Manual)
}

/// What every owner's open does.
fn heal(args: &Recover, report: &FoldReport, out: &mut Out) -> Result<u8> {
    let log = report.log.as_ref();
    let torn = log.and_then(Torn::of).map(|torn| torn.sentence());
    let mut done = Report {
        action: "none",
        done: true,
        at: At::of(&report.cursor),
        behind: 0,
        lost_keys: Vec::new(),
        quarantine: Vec::new(),
        message: "it was closed in order and is sound; there is nothing to do".to_owned(),
    };
    if log.is_some_and(|log| log.closed) && torn.is_none() {
        say(out, &done)?;
        return Ok(code::OK);
    }
    done.action = "heal";
    if args.dry_run {
        done.done = false;
        let torn =
            torn.unwrap_or_else(|| "its owner died or was stopped; nothing is torn".to_owned());
        done.message = format!("would heal: {torn}");
        say(out, &done)?;
        return Ok(code::OK);
    }
    let fold = own(&args.path, options())?;
    let healed = fold.recovery().healed.clone();
    fold.close()?;
    done.message = match &healed {
        Some(Healed { bytes, suspect, .. }) => {
            let looks = if *suspect { ", which does not look like a plain torn write" } else { "" };
            format!(
                "healed a torn tail of {bytes} bytes{looks}; nothing that was acknowledged is lost"
            )
        }
        None => {
            "its owner died or was stopped; the tail is vouched for now, nothing is lost".to_owned()
        }
    };
    done.quarantine = healed.map(|healed| healed.quarantine).unwrap_or_default();
    say(out, &done)?;
    Ok(code::OK)
}
