//! Verifies a store without changing a byte.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::blocks::{BLOCK, block_of, start_of};
use super::column::Files;
use super::damage::each_bad;
use super::follow::Follow;
use super::record::{End, MemberState};
use super::settings::Settings;
use super::store::END;
use crate::{Error, ErrorKind, Result};

/// Damaged blocks that are listed; of more there is only the number.
const LISTED: usize = 1000;

/// What a store is worth, and what an open would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The first element that is kept; of a group, those of the files added up, as all numbers here.
    pub first: u64,
    /// Elements, with those that were dropped at the head.
    pub len: u64,
    /// Bytes of data.
    pub data_bytes: u64,
    /// The last commit.
    pub seq: u64,
    /// It was closed in order; an open writes nothing.
    pub clean: bool,
    /// Bytes behind the end of the data, which an open would copy and cut, or refuse if the store was closed.
    pub surplus: u64,
    /// Blocks that do not verify, the first thousand.
    pub damage: Vec<BlockDamage>,
    /// How many there are.
    pub damaged_blocks: u64,
}

/// A block that does not verify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockDamage {
    /// The file it is in.
    pub path: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// Elements that have bytes in it, or whose end it says.
    pub elements: Range<u64>,
}

pub(super) fn check(
    path: &Path,
    settings: &Settings,
    mut progress: impl FnMut(u64, u64),
) -> Result<CheckReport> {
    let Some(follow) = Follow::open(path, settings)? else {
        let what = "it has no store of ours beside it";
        return Err(Error::new(ErrorKind::NotFound, "verify", path, what));
    };
    let mut tries = 0_u32;
    loop {
        let mut report = CheckReport::default();
        let before = follow.standing();
        for (nth, member) in before.members.iter().enumerate() {
            let size = follow.meta().members.get(nth).map_or(0, |member| member.fixed);
            check_member(&follow, nth, member, size, &mut report, &mut progress)?;
        }
        (report.seq, report.clean) = (before.seq, before.closed);
        // What changed under our eyes looks like damage.
        let moved = follow.changed(&before)?;
        tries = tries.saturating_add(1);
        if report.damaged_blocks == 0 || !moved {
            return Ok(report);
        }
        if tries >= 16 {
            let what = "its owner changes it faster than it can be verified; try again";
            return Err(Error::new(ErrorKind::Stale, "verify", path, what));
        }
    }
}

fn check_member(
    follow: &Follow,
    nth: usize,
    member: &MemberState,
    size: u32,
    report: &mut CheckReport,
    progress: &mut impl FnMut(u64, u64),
) -> Result<()> {
    let columns = follow.columns(nth)?;
    let len = match member.ends {
        Some(ends) => ends.end / END,
        None => member.data.end.checked_div(u64::from(size)).unwrap_or(0),
    };
    report.first = report.first.saturating_add(member.first);
    report.len = report.len.saturating_add(len);
    report.data_bytes = report.data_bytes.saturating_add(member.data.end);
    let there = follow.data(nth)?.stat().map_err(|e| Error::system("look at", follow.path(), e))?;
    report.surplus = report.surplus.saturating_add(there.len.saturating_sub(member.data.end));
    let ends_files = columns.get(1).map(|(files, _)| files);
    let kept = member.first.saturating_sub(1).saturating_mul(END);
    let ends_of = [(member.first_byte, Some(member.data)), (kept, member.ends)];
    for (column, ((files, seed), (from, end))) in columns.iter().zip(ends_of).enumerate() {
        let Some(end) = end else { continue };
        let mut bad = |at: u64, to: u64| {
            let blocks = to.saturating_sub(at).div_ceil(BLOCK).max(1);
            report.damaged_blocks = report.damaged_blocks.saturating_add(blocks);
            let room = LISTED.saturating_sub(report.damage.len()) as u64;
            for nth in 0..blocks.min(room) {
                let at = at.saturating_add(start_of(nth));
                let to = at.saturating_add(BLOCK).min(to);
                let elements = match (column, ends_files) {
                    (0, Some(ends)) => elements_of(ends, member, len, at..to),
                    (0, None) => {
                        let size = u64::from(size).max(1);
                        at.checked_div(size).unwrap_or(0)..to.div_ceil(size).min(len)
                    }
                    _ => at / END..(to / END).saturating_add(1).min(len),
                };
                report.damage.push(BlockDamage {
                    path: files.file.path().to_path_buf(),
                    offset: files.base.saturating_add(at),
                    bytes: to.saturating_sub(at),
                    elements,
                });
            }
        };
        check_column(files, *seed, from, end, &mut bad, progress)?;
    }
    Ok(())
}

fn check_column(
    files: &Files,
    seed: super::blocks::Seed,
    from: u64,
    end: End,
    bad: &mut impl FnMut(u64, u64),
    progress: &mut impl FnMut(u64, u64),
) -> Result<()> {
    const STEP: u64 = 1024 * BLOCK;
    let last = start_of(block_of(end.end));
    let have = files.len()?;
    let mut at = start_of(block_of(from));
    while at < last {
        progress(at, end.end);
        let to = at.saturating_add(STEP).min(last);
        let there = to.min(start_of(block_of(have))).max(at);
        each_bad(files, seed, at..there, |found| {
            bad(found, found.saturating_add(BLOCK));
            true
        })?;
        at = to;
        if there < to {
            // Of a file that is cut all the rest at once: a log that was tampered with may say that it is longer than any file.
            bad(there, last);
            at = last;
        }
    }
    let tail = files.tail_at(seed, end.end);
    let fits = match tail {
        Ok(tail) => tail.crc == end.crc,
        Err(error) if error.kind() == ErrorKind::Damaged => false,
        Err(error) => return Err(error),
    };
    if !fits {
        bad(last, end.end);
    }
    progress(end.end, end.end);
    Ok(())
}

/// The elements that have bytes among these, by the ends as they stand.
fn elements_of(ends: &Files, member: &MemberState, len: u64, bytes: Range<u64>) -> Range<u64> {
    let end_of = |element: u64| {
        let at = element.saturating_mul(END);
        let read = ends.read(at..at.saturating_add(END)).ok();
        read.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    };
    // The first element that ends behind a byte.
    let after = |byte: u64| {
        let (mut low, mut high) = (member.first, len);
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low) / 2);
            if end_of(middle) > byte { high = middle } else { low = middle.saturating_add(1) }
        }
        low
    };
    after(bytes.start)..after(bytes.end.saturating_sub(1)).saturating_add(1).min(len)
}
