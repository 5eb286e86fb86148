//! Whether a member's files are as the log says, and what is done if they are not.
//!
//! # Invariants
//! - D1 An open compares lengths and the sums of the last blocks; with `Truncate` all of them. The others are compared when they are
//!   read.
//! - D2 What is cut from a data file was copied first. The ends are ours alone, and cut without a copy where they go on behind
//!   the last commit.

use std::ops::Range;

use super::begin::{self, Site};
use super::blocks::{BLOCK, SUM, Seed, Tail, block_of, start_of, sum_at};
use super::column::Files;
use super::options::OnForeign;
use super::record::{End, MemberState};
use super::settings::MemberSpec;
use super::stats::RecoveryReport;
use super::store::END;
use crate::{Error, ErrorKind, OnDamage, Result};

/// A member as the log describes it, and the files that there are.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) site: Site<'a>,
    pub(super) spec: &'a MemberSpec,
    pub(super) data: &'a Files,
    pub(super) ends: Option<&'a Files>,
    pub(super) seeds: (Seed, Seed),
    pub(super) state: &'a mut MemberState,
}

impl Found<'_> {
    /// Says whether anything had to be changed. After a close in order what is there must be what was closed.
    pub(super) fn prove(&mut self, closed: bool, report: &mut RecoveryReport) -> Result<bool> {
        let len = self.data.len()?;
        if closed && len != self.state.data.end {
            match self.site.settings.on_foreign {
                OnForeign::Adopt => self.adopt(len, report)?,
                OnForeign::Refuse => return Err(self.foreign(len)),
            }
            return Ok(true);
        }
        let mut changed = false;
        if len > self.state.data.end {
            let why = "it lies behind the last commit: written ahead of one that never came, or by a foreign program";
            self.site.cut(self.data, self.state.data.end..len, why, report)?;
            changed = true;
        }
        if let (Some(files), Some(ends), false) = (self.ends, self.state.ends, closed)
            && files.len()? > ends.end
        {
            files.cut(ends.end)?;
        }
        let kept = self.good()?;
        if kept < self.len() {
            self.keep(kept, report)?;
            changed = true;
        }
        Ok(changed)
    }

    fn len(&self) -> u64 {
        match self.state.ends {
            Some(ends) => ends.end / END,
            None => self.state.data.end.checked_div(u64::from(self.spec.fixed)).unwrap_or(0),
        }
    }

    fn foreign(&self, len: u64) -> Error {
        let path = self.data.file.path();
        let was = self.state.data.end;
        if len < was {
            let what = format!(
                "it has {len} bytes, and was closed with {was}: a foreign program cut it; restore it, or take it as it is with OnForeign::Adopt"
            );
            return Error::new(ErrorKind::Damaged, "open", path, what).at(len);
        }
        let what = format!(
            "it has {len} bytes, and was closed with {was}: a foreign program added to it; cut it there, or take it as it is with OnForeign::Adopt"
        );
        Error::new(ErrorKind::Precondition, "open", path, what).at(was)
    }

    /// Takes the data file as it is.
    fn adopt(&mut self, len: u64, report: &mut RecoveryReport) -> Result<()> {
        let tail = |end: End, seed| Tail { seed, end: end.end, crc: end.crc };
        let mut laid = begin::Laid {
            data: self.data.clone(),
            data_tail: tail(self.state.data, self.seeds.0),
            ends: None,
        };
        if let (Some(ends), true) = (self.ends, len < self.state.data.end)
            && self.spec.size_file.is_none()
        {
            // What is left of it ends where the ends say.
            let all = self.len();
            let kept = self.last_within(ends, len, all)?;
            return self.keep(kept, report);
        }
        if let Some(ends) = self.ends {
            // Only the sizes say what was added or is gone: all of them count anew.
            laid.data_tail = Tail::empty(self.seeds.0);
            laid.ends = Some((ends.clone(), Tail::empty(self.seeds.1)));
            (self.state.first, self.state.first_byte) = (0, 0);
        } else if len < self.state.data.end {
            let fixed = u64::from(self.spec.fixed);
            let kept = len.checked_div(fixed).unwrap_or(0).max(self.state.first);
            return self.keep(kept, report);
        }
        self.site.adopt(self.spec, &mut laid, len, report)?;
        let end = |tail: Tail| End { end: tail.end, crc: tail.crc };
        self.state.data = end(laid.data_tail);
        self.state.ends = laid.ends.map(|(_, tail)| end(tail));
        Ok(())
    }

    /// How many elements are good, as far as it is looked at (D1).
    fn good(&self) -> Result<u64> {
        let (data_seed, ends_seed) = self.seeds;
        let from = self.state.first_byte;
        let data = self.good_to(self.data, self.state.data, data_seed, from)?;
        let (Some(files), Some(ends)) = (self.ends, self.state.ends) else {
            return Ok(data.checked_div(u64::from(self.spec.fixed)).unwrap_or(0));
        };
        let from = self.state.first.saturating_sub(1).saturating_mul(END);
        let good = self.good_to(files, ends, ends_seed, from)?;
        if data == self.state.data.end {
            return Ok(good / END);
        }
        self.last_within(files, data, good / END)
    }

    /// How many of the first `elements` end within so many bytes of data.
    fn last_within(&self, files: &Files, data: u64, elements: u64) -> Result<u64> {
        // The ends go up.
        let (mut low, mut high) = (self.state.first, elements);
        while low < high {
            let middle = low.saturating_add(high.saturating_sub(low).div_ceil(2));
            if self.end_of(files, middle)? <= data {
                low = middle;
            } else {
                high = middle.saturating_sub(1);
            }
        }
        Ok(low)
    }

    /// Where the first `elements` end in the data.
    fn end_of(&self, ends: &Files, elements: u64) -> Result<u64> {
        if elements == self.state.first {
            return Ok(self.state.first_byte);
        }
        let at = elements.saturating_sub(1).saturating_mul(END);
        let bytes = ends.read(at..at.saturating_add(END))?;
        Ok(bytes.try_into().map_or(0, u64::from_le_bytes))
    }

    /// How far a column is good: an error, unless the options say how to go on.
    fn good_to(&self, files: &Files, end: End, seed: Seed, from: u64) -> Result<u64> {
        let last = start_of(block_of(end.end));
        let len = files.len()?;
        let damage = |at: u64, why: String| {
            let error = Error::new(ErrorKind::Damaged, "open", files.file.path(), why);
            match self.site.settings.on_damage {
                OnDamage::Refuse => Err(error.at(files.base.saturating_add(at))),
                _ => Ok(at),
            }
        };
        let everything = self.site.settings.on_damage == OnDamage::Truncate;
        if everything && let Some(bad) = first_bad(files, seed, from, len.min(end.end))? {
            return Ok(bad);
        }
        if len < end.end {
            let missing = end.end.saturating_sub(len);
            let why = format!("it ends {missing} bytes before what was committed");
            return damage(start_of(block_of(len)), why);
        }
        if files.tail_at(seed, end.end)?.crc != end.crc {
            let why =
                format!("the bytes from {last} to {} are not those that were committed", end.end);
            return damage(last, why);
        }
        Ok(end.end)
    }

    /// Keeps so many elements. What is cut from the data is copied first (D2).
    fn keep(&mut self, kept: u64, report: &mut RecoveryReport) -> Result<()> {
        let kept = kept.max(self.state.first);
        let len = self.data.len()?;
        let end = match self.ends {
            Some(ends) => self.end_of(ends, kept)?,
            None => kept.saturating_mul(u64::from(self.spec.fixed)),
        };
        let tail = self.data.tail_at(self.seeds.0, end)?;
        report.lost = report.lost.saturating_add(self.len().saturating_sub(kept));
        if end < len {
            self.site.cut(self.data, end..len, "it is damaged, or lies behind what is", report)?;
        }
        self.state.data = End { end, crc: tail.crc };
        if let Some(ends) = self.ends {
            let end = kept.saturating_mul(END);
            let tail = ends.tail_at(self.seeds.1, end)?;
            self.state.ends = Some(End { end, crc: tail.crc });
            ends.cut(end)?;
        }
        Ok(())
    }
}

/// Where the first full block begins that does not fit its sum.
pub(super) fn first_bad(files: &Files, seed: Seed, from: u64, to: u64) -> Result<Option<u64>> {
    let mut first = None;
    each_bad(files, seed, from..to, |at| {
        first = Some(at);
        false
    })?;
    Ok(first)
}

/// Hands out where full blocks begin that do not fit their sums, as long as `found` says to go on.
pub(super) fn each_bad(
    files: &Files,
    seed: Seed,
    bytes: Range<u64>,
    mut found: impl FnMut(u64) -> bool,
) -> Result<()> {
    const SOME: u64 = 64;
    let (mut block, last) = (block_of(bytes.start), block_of(bytes.end));
    while block < last {
        let some = last.saturating_sub(block).min(SOME);
        let next = block.saturating_add(some);
        let sums = read_sums(files, block, some)?;
        let read = files.read(start_of(block)..start_of(next))?;
        let blocks = read.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX));
        for (nth, (this, bytes)) in (block..next).zip(blocks).enumerate() {
            let fits = sums.get(nth) == Some(&seed.sum(this, bytes));
            if !fits && !found(start_of(this)) {
                return Ok(());
            }
        }
        block = next;
    }
    Ok(())
}

/// The sums of some full blocks; fewer if there are no more.
fn read_sums(files: &Files, block: u64, count: u64) -> Result<Vec<u32>> {
    let mut bytes = vec![0; usize::try_from(count.saturating_mul(SUM)).unwrap_or(0)];
    let got = files.sums.read_at(&mut bytes, sum_at(block));
    let got = got.map_err(|e| Error::system("read", files.sums.path(), e).at(sum_at(block)))?;
    let whole = bytes.get(..got).unwrap_or_default().chunks_exact(4);
    Ok(whole.map(|sum| sum.try_into().map_or(0, u32::from_le_bytes)).collect())
}
