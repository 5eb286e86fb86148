//! `aof verify`, and how damage is told.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use untorn::ErrorKind;

use super::found::Store;
use super::shim::{BlockDamage, CheckReport, check};
use super::show::refuse_missing;
use super::{commits, elements, thousands};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, size};

const BLOCK: u64 = 16 << 10;

/// One file as it was checked.
#[derive(Serialize)]
pub(super) struct Checked {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    pub(super) len: u64,
    pub(super) bytes: u64,
    pub(super) commit: u64,
    pub(super) clean: bool,
    /// Commits that an open would do again.
    pub(super) redo: u64,
    /// Bytes behind the end that an open would cut.
    pub(super) surplus: u64,
    pub(super) damage: Vec<Damage>,
}

#[derive(Serialize)]
pub(super) struct Damage {
    offset: u64,
    bytes: u64,
    /// The first element in it, and the one after the last.
    elements: (u64, u64),
}

impl Checked {
    fn of(path: &Path, report: CheckReport) -> Self {
        let CheckReport { first, len, data_bytes, seq, clean, redo, surplus, damage, .. } = report;
        let damage = damage.into_iter().map(|BlockDamage { offset, bytes, elements, .. }| Damage {
            offset,
            bytes,
            elements: (elements.start, elements.end),
        });
        Self {
            path: path.to_path_buf(),
            first,
            len,
            bytes: data_bytes,
            commit: seq,
            clean,
            redo,
            surplus,
            damage: damage.collect(),
        }
    }

    /// What an open would do, if anything.
    pub(super) fn to_heal(&self) -> Option<String> {
        let mut what = Vec::new();
        if self.redo > 0 {
            what.push(format!("{} to write again from the log", commits(self.redo)));
        }
        if self.surplus > 0 {
            let bytes = thousands(self.surplus);
            what.push(format!("{bytes} bytes behind the end to cut, of no acknowledged commit"));
        }
        if what.is_empty() && !self.clean {
            what.push("it was not closed in order".to_owned());
        }
        (!what.is_empty()).then(|| what.join(", "))
    }
}

impl Damage {
    /// The first element that it hits.
    pub(super) const fn first(&self) -> u64 {
        self.elements.0
    }

    pub(super) fn sentence(&self) -> String {
        let (start, end) = (self.offset, self.offset.saturating_add(self.bytes));
        let (first, after) = self.elements;
        format!(
            "DAMAGED block {} (offset {}..{}), elements {}..{}",
            thousands(start / BLOCK),
            thousands(start),
            thousands(end),
            thousands(first),
            thousands(after)
        )
    }
}

/// Reads every byte of what was asked for; a bar on a terminal tells how far it is.
pub(super) fn check_all(store: &Store, out: &Out) -> Result<Vec<Checked>> {
    refuse_missing(store)?;
    let target =
        if out.json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template("{bytes}/{total_bytes} [{bar:30}] {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    let mut all = Vec::new();
    for (nth, member) in store.members() {
        let report = check(store, nth, |done, of| {
            bar.set_length(of);
            bar.set_position(done);
        });
        all.push(Checked::of(&member.path, report?));
    }
    bar.finish_and_clear();
    Ok(all)
}

pub(in crate::cmd) fn verify(store: &Store, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Verified {
        what: &'static str,
        files: Vec<Checked>,
    }
    let files = check_all(store, out)?;
    let count: usize = files.iter().map(|file| file.damage.len()).sum();
    if out.json() {
        out.value(&Verified { what: "append-only file", files })?;
    } else {
        for file in &files {
            tell(file, out)?;
        }
    }
    if count == 0 {
        return Ok(code::OK);
    }
    let plural = if count == 1 { "block does" } else { "blocks do" };
    let what = format!("{count} {plural} not verify; `untorn recover` says what can be done");
    Err(Failure::new(ErrorKind::Damaged, &store.asked, what))
}

fn tell(file: &Checked, out: &mut Out) -> Result<()> {
    let path = file.path.display();
    for (nth, damage) in file.damage.iter().enumerate() {
        let last = nth + 1 == file.damage.len();
        let rest = if last { "; all else good" } else { "" };
        out.line(format_args!("{path}: {}{rest}", damage.sentence()))?;
    }
    if file.damage.is_empty() {
        let (kept, bytes) = (elements(file.len - file.first), size(file.bytes));
        out.line(format_args!("{path}: sound; {kept} in {bytes}"))?;
    }
    if let Some(what) = file.to_heal() {
        out.note(format_args!("note: {path}: {what}; the next owner does it"));
    }
    Ok(())
}
