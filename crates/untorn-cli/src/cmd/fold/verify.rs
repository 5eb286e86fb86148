//! `fold verify`, and how damage is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::fold::{self, FoldDamage, FoldReport};
use untorn::fs::OsFs;

use super::super::store::Torn;
use super::{At, many};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, size};

#[derive(Serialize)]
struct Verified<'a> {
    what: &'static str,
    path: &'a Path,
    sound: bool,
    /// Of the last commit before any damage.
    #[serde(flatten)]
    at: At,
    base: Option<Base>,
    /// In the log, above the base.
    commits: u64,
    tail: u64,
    torn: Option<Torn>,
    /// Intact commits behind the first damage in the log.
    behind: u64,
    damage: Vec<Damage>,
}

#[derive(Serialize)]
struct Base {
    bytes: u64,
    blocks: u64,
    entries: u64,
}

#[derive(Serialize)]
struct Damage {
    path: PathBuf,
    offset: Option<u64>,
    message: String,
    /// The first key that cannot be read, and the one after the last.
    keys: Option<(Option<String>, Option<String>)>,
}

impl Damage {
    fn of(damage: &FoldDamage) -> Self {
        let FoldDamage { path, offset, what, keys, .. } = damage.clone();
        Self { path, offset, message: what, keys }
    }

    fn sentence(&self) -> String {
        let at = self.offset.map_or_else(String::new, |offset| format!(" at {offset}"));
        format!("{}{at}: {}", self.path.display(), self.message)
    }
}

/// Keys that a damaged base cannot give, in words.
pub(super) fn keys_in_words((from, to): &(Option<String>, Option<String>)) -> String {
    match (from, to) {
        (None, None) => "no key of it can be read".to_owned(),
        (Some(from), None) => format!("keys from {from:?} on cannot be read"),
        (None, Some(to)) => format!("keys before {to:?} cannot be read"),
        (Some(from), Some(to)) => format!("keys from {from:?} to before {to:?} cannot be read"),
    }
}

/// Reads all of a fold; a bar on a terminal tells how far it is.
pub(super) fn check(dir: &Path, out: &Out) -> Result<FoldReport> {
    let bar = out.bar();
    let report = fold::verify(dir, Arc::new(OsFs::new()), |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(report?)
}

/// Where the damage is, what precedes it and what lies behind.
pub(super) fn told(report: &FoldReport) -> Option<String> {
    let first = report.damage.first()?;
    let mut text = Damage::of(first).sentence();
    if let Some(keys) = &first.keys {
        text = format!("{text}; {}", keys_in_words(keys));
    }
    let of_log = report.damage.iter().any(|damage| damage.keys.is_none());
    if of_log {
        let cursor = &report.cursor;
        let behind = many(report.behind, "intact commit");
        text = format!("{text}; last good cursor {cursor}, {behind} behind it");
    }
    Some(text)
}

pub(in crate::cmd) fn verify(dir: &Path, out: &mut Out) -> Result<u8> {
    let report = check(dir, out)?;
    let torn = report.log.as_ref().and_then(Torn::of);
    let Some(words) = told(&report) else {
        return sound(dir, &report, torn, out);
    };
    let damage: Vec<Damage> = report.damage.iter().map(Damage::of).collect();
    if out.json() {
        out.value(&verified(dir, &report, None, damage))?;
    } else {
        out.line(format_args!("damaged: {words}"))?;
        for (damage, more) in report.damage.iter().zip(&damage).skip(1) {
            let keys = damage.keys.as_ref().map(keys_in_words);
            let keys = keys.map_or_else(String::new, |keys| format!("; {keys}"));
            out.line(format_args!("damaged: {}{keys}", more.sentence()))?;
        }
        out.note(format_args!("help: {}", help(dir, &report)));
    }
    if out.json() {
        return Err(Failure::new(ErrorKind::Damaged, dir, words));
    }
    Err(Failure::Quiet(code::DAMAGE))
}

/// What can be typed about it.
pub(super) fn help(dir: &Path, report: &FoldReport) -> String {
    let shown = dir.display();
    if of_base(report) {
        let quarantine = dir.join("quarantine");
        return format!(
            "untorn recover {shown} --salvage --yes   keeps all that is provably good; the original is copied to {}",
            quarantine.display()
        );
    }
    let quarantine = dir.join("log").join("quarantine");
    format!(
        "untorn recover {shown} --truncate --yes   keeps up to {}, --salvage also what is intact behind it; the original is copied to {}",
        report.cursor,
        quarantine.display()
    )
}

/// Whether more is damaged than the log behind some commit, which can be cut.
pub(super) fn of_base(report: &FoldReport) -> bool {
    report.damage.iter().any(|damage| damage.keys.is_some() || damage.offset.is_none())
}

fn verified<'a>(
    path: &'a Path,
    report: &FoldReport,
    torn: Option<Torn>,
    damage: Vec<Damage>,
) -> Verified<'a> {
    let base = report.base.as_ref().map(|base| Base {
        bytes: base.bytes,
        blocks: base.blocks,
        entries: base.entries,
    });
    Verified {
        what: "fold",
        path,
        sound: damage.is_empty(),
        at: At::of(&report.cursor),
        base,
        commits: report.commits,
        tail: report.tail_bytes,
        torn,
        behind: report.behind,
        damage,
    }
}

fn sound(dir: &Path, report: &FoldReport, torn: Option<Torn>, out: &mut Out) -> Result<u8> {
    if out.json() {
        out.value(&verified(dir, report, torn, Vec::new()))?;
        return Ok(code::OK);
    }
    let base = report
        .base
        .as_ref()
        .map_or_else(|| "no base".to_owned(), |base| format!("a base of {}", size(base.bytes)));
    out.line(format_args!(
        "{}: sound; cursor {}, {base} and {} in {}",
        dir.display(),
        report.cursor,
        many(report.commits, "commit"),
        size(report.tail_bytes)
    ))?;
    if let Some(torn) = torn {
        out.note(format_args!("note: {}", torn.sentence()));
    }
    Ok(code::OK)
}
