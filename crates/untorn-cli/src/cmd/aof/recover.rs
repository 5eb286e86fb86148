//! `recover` of an append-only file or group: says from a check what is to do, then opens it, which does it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::append::{OnForeign, RecoveryReport};
use untorn::{ErrorKind, OnDamage};

use super::super::recover::new_place;
use super::damage::{Checked, Damage, check_all};
use super::found::Store;
use super::reading::look;
use super::staged::Staged;
use super::writer::{self, How, Kind, open_group, open_store};
use super::{elements, healed, thousands};
use crate::args::Recover;
use crate::exit::{Failure, Result, code};
use crate::out::Out;

#[derive(Serialize)]
struct Recovered {
    action: &'static str,
    done: bool,
    found: Option<Checked>,
    redone: u64,
    cut_bytes: u64,
    lost: u64,
    quarantine: Vec<PathBuf>,
    message: String,
}

/// Damaged blocks that are named in one sentence.
const TOLD: usize = 5;

impl Recovered {
    const fn new(action: &'static str, found: Option<Checked>) -> Self {
        Self {
            action,
            done: true,
            found,
            redone: 0,
            cut_bytes: 0,
            lost: 0,
            quarantine: Vec::new(),
            message: String::new(),
        }
    }

    fn say(&self, out: &mut Out) -> Result<()> {
        if out.json() {
            return out.value(self);
        }
        out.line(format_args!("{}", self.message))?;
        for copy in &self.quarantine {
            out.line(format_args!("a copy is in {}", copy.display()))?;
        }
        Ok(())
    }
}

pub(in crate::cmd) fn recover(store: &Store, args: &Recover, out: &mut Out) -> Result<u8> {
    let path = &*args.path;
    if args.accept_loss.is_some() {
        let what = "--accept-loss is of journals; without it --truncate says what it would lose";
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    if let Some(to) = &args.salvage {
        return salvage(store, new_place(to.as_deref())?, args.yes, out);
    }
    let do_it = args.yes && !args.dry_run;
    if args.adopt {
        return adopt(store, do_it, out);
    }
    let checked = check_all(store, out)?;
    if let Some(what) = checked.foreign() {
        let what = format!(
            "{what}; nothing was changed: `--adopt --yes` takes them as elements, or cut it to {} bytes",
            thousands(checked.bytes)
        );
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    if let Some(missing) = checked.missing(store) {
        let what = format!(
            "a foreign program cut {missing} bytes off it; nothing was changed: restore it from a copy, or `--adopt --yes` goes on with \
             the whole elements that are left, if their size is fixed"
        );
        return Err(Failure::new(ErrorKind::Damaged, path, what));
    }
    if checked.damaged_blocks > 0 {
        return damaged(store, checked, args.truncate, do_it, out);
    }
    let to_do = checked.to_heal();
    let mut found = Recovered::new("none", Some(checked));
    let Some(to_do) = to_do else {
        found.message += "it was closed in order and is sound; there is nothing to do";
        found.say(out)?;
        return Ok(code::OK);
    };
    found.action = "heal";
    if args.dry_run {
        found.done = false;
        found.message = format!("would heal: {to_do}; no element that was acknowledged is lost");
        found.say(out)?;
        return Ok(code::OK);
    }
    open(store, found, &How::default(), out)
}

/// What is wrong, and how each file would look behind a cut.
fn damaged(
    store: &Store,
    checked: Checked,
    truncate: bool,
    do_it: bool,
    out: &mut Out,
) -> Result<u8> {
    // The file that was asked for is named by the message.
    let told = |damage: &Damage| {
        if damage.is_in(&store.asked) { damage.place() } else { damage.sentence() }
    };
    let mut wrong: Vec<_> = checked.damage.iter().take(TOLD).map(told).collect();
    let more = checked.damaged_blocks.saturating_sub(wrong.len() as u64);
    if more > 0 {
        wrong.push(format!("and {} blocks more", thousands(more)));
    }
    let wrong = wrong.join("; ");
    let first = checked.damage.iter().map(Damage::first).min().unwrap_or(0);
    // Of a group the numbers are those of all files; what each would keep only the cut itself says.
    let cut = if store.identity.is_group {
        "--truncate would keep of each file the elements before its damage".to_owned()
    } else {
        let lost = elements(checked.len.saturating_sub(first));
        format!("--truncate would keep the elements before {} and lose {lost}", thousands(first))
    };
    let mut found = Recovered::new("truncate", Some(checked));
    if truncate && do_it {
        return open(store, found, &How { on_damage: OnDamage::Truncate, ..How::default() }, out);
    }
    if !truncate {
        let what = format!(
            "{wrong}; nothing was changed; {cut}; --salvage OUT would write all that are good into a new file"
        );
        return Err(Failure::new(ErrorKind::Damaged, &store.asked, what));
    }
    found.done = false;
    found.message = format!(
        "{}: {wrong}; {cut}, with a copy in quarantine; nothing was changed: say --yes to do it",
        store.asked.display()
    );
    found.say(out)?;
    Ok(code::DAMAGE)
}

/// Opens it for writing, which does what is to do, and closes it.
fn open(store: &Store, mut found: Recovered, how: &How, out: &mut Out) -> Result<u8> {
    let report = opened(store, how)?;
    found.redone = report.redone;
    found.cut_bytes = report.cut_bytes;
    found.lost = report.lost;
    found.message = healed(&report)
        .unwrap_or_else(|| "its owner died or was stopped; there was nothing to heal".to_owned());
    if report.lost == 0 {
        found.message += "; nothing that was acknowledged is lost";
    }
    found.quarantine = report.quarantine;
    found.say(out)?;
    Ok(if found.lost > 0 { code::LOSSY } else { code::OK })
}

fn opened(store: &Store, how: &How) -> Result<RecoveryReport> {
    if store.identity.is_group {
        let group = open_group(&store.path, &store.identity.members, how)?;
        let report = group.recovery().clone();
        group.close()?;
        return Ok(report);
    }
    let file = open_store(store, how)?;
    let report = file.recovery()?;
    file.close()?;
    Ok(report)
}

/// Takes a data file as a foreign program left it.
fn adopt(store: &Store, do_it: bool, out: &mut Out) -> Result<u8> {
    let message = "would take the data file as it is now, in place of what was committed; nothing was changed: say --yes to do it";
    let mut found = Recovered::new("adopt", None);
    found.done = do_it;
    found.message += message;
    if !do_it {
        found.say(out)?;
        return Ok(code::OK);
    }
    let how = How { on_foreign: OnForeign::Adopt, ..How::default() };
    open(store, found, &how, out)
}

/// Elements in a row without a hole.
#[derive(Serialize)]
struct Run {
    first: u64,
    last: u64,
    /// Where the first is in the new file.
    new_first: u64,
}

#[derive(Serialize)]
struct Salvaged {
    action: &'static str,
    done: bool,
    elements: u64,
    lost: u64,
    runs: Vec<Run>,
}

fn salvage(store: &Store, to: &Path, yes: bool, out: &mut Out) -> Result<u8> {
    if to.symlink_metadata().is_ok() || super::found::find(to)?.is_some() {
        let what = "it exists; what is salvaged needs a file of its own";
        return Err(Failure::new(ErrorKind::AlreadyExists, to, what));
    }
    let nth = store.one()?;
    let kind = Kind::of(store.member()?);
    let staged = if yes { Some(Staged::new(to, "salvage")?) } else { None };
    let name = OsStr::new("data");
    let mut new = match &staged {
        Some(staged) => {
            let how = How { create: true, ..How::default() };
            Some(writer::open(&staged.dir().join(name), &kind, &how)?)
        }
        None => None,
    };
    let view = look(store, nth)?;
    let mut done =
        Salvaged { action: "salvage", done: yes, elements: 0, lost: 0, runs: Vec::new() };
    let (mut bytes, mut pending) = (Vec::new(), 0_usize);
    for position in view.first()..view.len() {
        bytes.clear();
        match view.copy_to(position, &mut bytes) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::Damaged => {
                done.lost += 1;
                continue;
            }
            Err(e) => return Err(e.into()),
        }
        match done.runs.last_mut() {
            Some(run) if run.last + 1 == position => run.last = position,
            _ => done.runs.push(Run { first: position, last: position, new_first: done.elements }),
        }
        done.elements += 1;
        if let Some(new) = &mut new {
            new.append(&bytes)?;
            pending += bytes.len();
            if pending >= 64 << 20 {
                new.flush()?;
                pending = 0;
            }
        }
    }
    if let Some(mut new) = new {
        new.flush()?;
        new.close()?;
    }
    if let Some(staged) = staged {
        staged.publish_file(name)?;
    }
    if out.json() {
        out.value(&done)?;
    } else {
        print(&done, to, out)?;
    }
    Ok(if done.lost > 0 && yes { code::LOSSY } else { code::OK })
}

fn print(done: &Salvaged, to: &Path, out: &mut Out) -> Result<()> {
    let did = if done.done { "wrote" } else { "would write" };
    out.line(format_args!("{did} {} into {}", elements(done.elements), to.display()))?;
    for Run { first, last, new_first } in &done.runs {
        let [first, last, from, to] =
            [*first, *last, *new_first, new_first + (last - first)].map(thousands);
        out.line(format_args!("  {first} to {last} are {from} to {to} there"))?;
    }
    if done.lost > 0 {
        out.line(format_args!("  not readable: {}", elements(done.lost)))?;
    }
    if !done.done {
        out.note(format_args!("nothing was changed; say --yes to do it"));
    }
    Ok(())
}
