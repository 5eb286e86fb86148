//! `aof verify`, and how damage is told.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use untorn::ErrorKind;
use untorn::append::{BlockDamage, CheckReport};

use super::found::Store;
use super::reading::{check, is_of};
use super::show::refuse_missing;
use super::{elements, thousands};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, size};

const BLOCK: u64 = 16 << 10;

/// A store as it was checked; of a group numbers are those of its files added up.
#[derive(Serialize)]
pub(super) struct Checked {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    pub(super) len: u64,
    pub(super) bytes: u64,
    pub(super) commit: u64,
    /// It was closed in order.
    pub(super) clean: bool,
    /// Bytes behind the end: an open cuts them, or refuses them if it was closed in order.
    pub(super) surplus: u64,
    /// The first thousand blocks.
    pub(super) damage: Vec<Damage>,
    pub(super) damaged_blocks: u64,
}

#[derive(Serialize)]
pub(super) struct Damage {
    path: PathBuf,
    /// Whether it is a file of elements; else what belongs to one.
    data: bool,
    offset: u64,
    bytes: u64,
    /// The first element in it, and the one after the last.
    elements: (u64, u64),
}

impl Checked {
    fn of(store: &Store, report: CheckReport) -> Self {
        let CheckReport { first, len, data_bytes, seq, clean, surplus, damaged_blocks, .. } =
            report;
        let damage = report.damage.into_iter().map(|block| {
            let mut files = store.identity.members.iter();
            let data = files.find(|member| is_of(&block, &member.path));
            let path = data.map_or_else(|| block.path.clone(), |member| member.path.clone());
            let BlockDamage { offset, bytes, elements, .. } = block;
            let elements = (elements.start, elements.end);
            Damage { path, data: data.is_some(), offset, bytes, elements }
        });
        let path = store.path.clone();
        let (bytes, commit, damage) = (data_bytes, seq, damage.collect());
        Self { path, first, len, bytes, commit, clean, surplus, damage, damaged_blocks }
    }

    /// Bytes that a foreign program added to what was closed in order.
    pub(super) fn foreign(&self) -> Option<String> {
        let added = || format!("a foreign program added {} bytes to it", thousands(self.surplus));
        (self.clean && self.surplus > 0).then(added)
    }

    /// Bytes that a foreign program cut off what was closed in order, thousands apart.
    pub(super) fn missing(&self, store: &Store) -> Option<String> {
        let len = |path: &Path| path.metadata().map_or(0, |stat| stat.len());
        let there: u64 = store.identity.members.iter().map(|member| len(&member.path)).sum();
        let missing = self.bytes.saturating_sub(there);
        (self.clean && missing > 0).then(|| thousands(missing))
    }

    /// What an open would do, if anything.
    pub(super) fn to_heal(&self) -> Option<String> {
        if self.clean {
            return None;
        }
        let cut = format!("{} bytes behind the end, of no commit", thousands(self.surplus));
        let cut = if self.surplus > 0 { format!(", and there are {cut}") } else { String::new() };
        Some(format!("it was not closed in order{cut}"))
    }
}

impl Damage {
    /// The first element that it hits.
    pub(super) const fn first(&self) -> u64 {
        self.elements.0
    }

    /// With the file that it is in.
    pub(super) fn sentence(&self) -> String {
        format!("{}: {}", self.path.display(), self.place())
    }

    /// Whether it is in this file.
    pub(super) fn is_in(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Where in its file it is.
    pub(super) fn place(&self) -> String {
        let (start, end) = (self.offset, self.offset.saturating_add(self.bytes));
        let (first, after) = self.elements;
        // Where elements end lies behind a header of its file.
        let block =
            if self.data { format!("block {} ", thousands(start / BLOCK)) } else { String::new() };
        format!(
            "DAMAGED {block}(offset {}..{}), elements {}..{}",
            thousands(start),
            thousands(end),
            thousands(first),
            thousands(after)
        )
    }
}

/// Reads every byte of a store; a bar on a terminal tells how far it is.
pub(super) fn check_all(store: &Store, out: &Out) -> Result<Checked> {
    refuse_missing(store)?;
    let target =
        if out.json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template("{bytes}/{total_bytes} [{bar:30}] {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    let report = check(store, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(Checked::of(store, report?))
}

pub(in crate::cmd) fn verify(store: &Store, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Verified {
        what: &'static str,
        #[serde(flatten)]
        checked: Checked,
    }
    let mut checked = check_all(store, out)?;
    if let Some(named) = store.named() {
        // Who names one file of a group asks for that; what belongs to it is told of as well.
        checked.damage.retain(|damage| !damage.data || damage.path == named.path);
        checked.damaged_blocks = checked.damage.len() as u64;
    }
    let count = checked.damaged_blocks;
    if out.json() {
        let what = if store.identity.is_group { "append-only group" } else { "append-only file" };
        out.value(&Verified { what, checked })?;
    } else {
        tell(&checked, out)?;
    }
    if count == 0 {
        return Ok(code::OK);
    }
    let plural = if count == 1 { "block does" } else { "blocks do" };
    let what =
        format!("{} {plural} not verify; `untorn recover` says what can be done", thousands(count));
    Err(Failure::new(ErrorKind::Damaged, &store.asked, what))
}

fn tell(checked: &Checked, out: &mut Out) -> Result<()> {
    let path = checked.path.display();
    for (nth, damage) in checked.damage.iter().enumerate() {
        let told = nth as u64 + 1;
        let rest = match checked.damaged_blocks.saturating_sub(told) {
            0 => "; all else good".to_owned(),
            more if nth + 1 == checked.damage.len() => format!("; and {} more", thousands(more)),
            _ => String::new(),
        };
        out.line(format_args!("{}{rest}", damage.sentence()))?;
    }
    if checked.damage.is_empty() {
        let kept = elements(checked.len.saturating_sub(checked.first));
        out.line(format_args!("{path}: sound; {kept} in {}", size(checked.bytes)))?;
    }
    if let Some(what) = checked.foreign() {
        out.note(format_args!("note: {path}: {what}; `untorn recover` says what can be done"));
    }
    if let Some(what) = checked.to_heal() {
        out.note(format_args!(
            "note: {path}: {what}; its owner, if it lives, or the next one sees to it"
        ));
    }
    Ok(())
}
