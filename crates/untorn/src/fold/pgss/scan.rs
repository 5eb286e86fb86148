//! Reading a PGSS file record by record.
//!
//! # Invariants
//! - P1 No memory is taken for a record before its checksum was computed: lengths alone take none.
//! - P2 What is looked at in vain, and for later records, is 32 times the file's length at most, or 1 MiB.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::WatchCursor;
use super::record::{
    CURSOR, CURSOR_MAX, DELETE, HEADER, MAGIC, Op, PUT, SUM, VALUE_MAX, VER_MAX, VERSION, decode,
};
use super::verdict::{Facts, Flaw, SHORTEST};
use super::window::{READ, Window};
use super::{Live, ReadReport};
use crate::{Error, ErrorKind, OnDamage, Result};

/// What a look at a record counts for beside its bytes.
const LOOK: u64 = 8;

/// Where the next good record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    At(u64),
    /// There is none.
    None,
    /// Looking for it took too long.
    Unknown,
}

/// Updates that are sorted before they are taken into the entries, and the bytes of their keys and values, at most: in order
/// they find their places several times as fast.
const PENDING: usize = 64 << 10;
const PENDING_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Scan {
    window: Window,
    on_damage: OnDamage,
    /// What is left to be checksummed in looking for later records (P2).
    budget: u64,
    pending: Vec<(String, Option<Live>)>,
    pending_bytes: usize,
    pub(super) live: BTreeMap<String, Live>,
    pub(super) cursor: WatchCursor,
    pub(super) report: ReadReport,
}

impl Scan {
    pub(super) fn new(window: Window, on_damage: OnDamage) -> Self {
        let budget = window.len.saturating_mul(32).max(READ as u64);
        let (live, cursor) = (BTreeMap::new(), WatchCursor::none());
        let (pending, pending_bytes) = (Vec::new(), 0);
        let report = ReadReport::default();
        Self { window, on_damage, budget, pending, pending_bytes, live, cursor, report }
    }

    /// Reads all of it.
    pub(super) fn run(&mut self) -> Result<()> {
        if !self.header()? {
            return Ok(());
        }
        let mut at = HEADER as u64;
        while at < self.window.len {
            at = match self.look(at)? {
                Ok((op, len)) => {
                    self.take(op);
                    at.saturating_add(len)
                }
                Err(flaw) => match self.judge(at, flaw)? {
                    Some(next) => next,
                    None => break,
                },
            };
        }
        self.settle();
        Ok(())
    }

    /// Whether there is a whole header; a file that ends in it is torn.
    fn header(&mut self) -> Result<bool> {
        let len = self.window.len;
        let path = self.window.file.path().to_path_buf();
        let error = |kind, what: String| Err(Error::new(kind, "read PGSS", &path, what));
        let header = self.window.get(0, HEADER)?;
        if header.get(..MAGIC.len()) != Some(MAGIC) {
            return error(ErrorKind::NotOurs, "it does not begin like a PGSS file".to_owned());
        }
        let Some(version) = header.get(MAGIC.len()..).and_then(|bytes| bytes.try_into().ok())
        else {
            self.report.torn_bytes = len;
            return Ok(false);
        };
        match u16::from_le_bytes(version) {
            VERSION => Ok(true),
            0 => error(ErrorKind::NotOurs, "there is no version 0 of PGSS".to_owned()),
            1 => {
                let what = "version 1 is not readable by any released code";
                error(ErrorKind::Unsupported, what.to_owned())
            }
            later => {
                let what = format!("it is version {later}, and version {VERSION} is read");
                error(ErrorKind::NewerFormat, what)
            }
        }
    }

    /// How long the record at `at` is by its own fields, none of which is verified.
    fn length(&mut self, at: u64) -> Result<Result<u64, Flaw>> {
        let left = self.window.len.saturating_sub(at);
        let head = self.window.get(at, 7)?;
        let (Some(kind), two) = (head.get(SUM), head.get(5..7)) else {
            return Ok(Err(Flaw::Short));
        };
        let two = two.and_then(|two| two.try_into().ok()).map(u16::from_le_bytes);
        let versioned = match (*kind, two) {
            (CURSOR, _) => {
                return Ok(match head.get(5).map(|len| usize::from(*len)) {
                    None => Err(Flaw::Short),
                    Some(len) if len > CURSOR_MAX => Err(Flaw::Junk("a cursor is too long")),
                    Some(len) => fits(SHORTEST.saturating_add(len as u64), left),
                });
            }
            (PUT | DELETE, None) => return Ok(Err(Flaw::Short)),
            (DELETE, Some(key)) => 7_u64.saturating_add(key.into()),
            (PUT, Some(key)) => {
                let value_at = 7_u64.saturating_add(key.into());
                let end = value_at.saturating_add(4);
                let len = match fits(end, left) {
                    Ok(_) => self.window.far(at.saturating_add(value_at))?,
                    Err(flaw) => return Ok(Err(flaw)),
                };
                let Some(len) = len.map(u32::from_le_bytes) else { return Ok(Err(Flaw::Short)) };
                if len as usize > VALUE_MAX {
                    return Ok(Err(Flaw::Junk("a value is too long")));
                }
                end.saturating_add(len.into())
            }
            _ => return Ok(Err(Flaw::Junk("no record begins like this"))),
        };
        if versioned >= left {
            return Ok(Err(Flaw::Short));
        }
        Ok(match self.window.far(at.saturating_add(versioned))? {
            None => Err(Flaw::Short),
            Some([len]) if usize::from(len) > VER_MAX => Err(Flaw::Junk("a version is too long")),
            Some([len]) => fits(versioned.saturating_add(1).saturating_add(len.into()), left),
        })
    }

    /// Whether the checksum of the `len` bytes at `at` is right.
    fn verifies(&mut self, at: u64, len: u64) -> Result<bool> {
        let stored = self.window.far(at)?.map(u32::from_le_bytes);
        let body = len.saturating_sub(SUM as u64);
        let crc = self.window.crc(at.saturating_add(SUM as u64), body)?;
        Ok(stored == Some(crc))
    }

    /// What stands at `at`, and how long it is.
    fn look(&mut self, at: u64) -> Result<Result<(Op, u64), Flaw>> {
        let len = match self.length(at)? {
            Ok(len) => len,
            Err(flaw) => return Ok(Err(flaw)),
        };
        if !self.verifies(at, len)? {
            self.budget = self.budget.saturating_sub(len);
            let end = at.saturating_add(len);
            let left = self.window.len.saturating_sub(end);
            let behind = if self.rest_is_zero(end)? { 0 } else { left };
            return Ok(Err(Flaw::Sum { behind }));
        }
        // P1: that much was there, and verified.
        let record = self.window.get(at, usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(decode(record).map(|op| (op, len)).map_err(Flaw::Nonsense))
    }

    fn rest_is_zero(&mut self, at: u64) -> Result<bool> {
        let zeros = self.window.zeros(at)?;
        self.budget = self.budget.saturating_sub(zeros);
        Ok(at.saturating_add(zeros) >= self.window.len)
    }

    fn take(&mut self, op: Op) {
        let report = &mut self.report;
        report.records = report.records.saturating_add(1);
        let (key, live) = match op {
            Op::Cursor(cursor) => {
                // Behind a hole there is no cursor that says what the entries are.
                if report.holes.is_empty() {
                    self.cursor = cursor;
                    report.ops_after_cursor = 0;
                }
                return;
            }
            Op::Put(key, value, version) => (key, Some(Live { value, version })),
            Op::Delete(key) => (key, None),
        };
        report.ops_after_cursor = report.ops_after_cursor.saturating_add(1);
        let value = live.as_ref().map_or(0, |live| live.value.len());
        self.pending_bytes = self.pending_bytes.saturating_add(key.len()).saturating_add(value);
        self.pending.push((key, live));
        if self.pending.len() >= PENDING || self.pending_bytes >= PENDING_BYTES {
            self.settle();
        }
    }

    /// Takes what is pending into the entries.
    fn settle(&mut self) {
        // Updates of one key stay in their order: the last one counts.
        self.pending.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, live) in self.pending.drain(..) {
            match live {
                Some(live) => drop(self.live.insert(key, live)),
                None => drop(self.live.remove(&key)),
            }
        }
        self.pending_bytes = 0;
    }

    /// Torn or damaged: the table in `verdict`. Where to go on; `None` at the end.
    fn judge(&mut self, at: u64, flaw: Flaw) -> Result<Option<u64>> {
        let rest_is_zero = self.rest_is_zero(at)?;
        let next = if rest_is_zero { Next::None } else { self.next(at.saturating_add(1))? };
        let later_record = next != Next::None;
        let len = self.window.len;
        if (Facts { flaw, rest_is_zero, later_record }).is_torn() {
            self.report.torn_bytes = len.saturating_sub(at);
            return Ok(None);
        }
        match (self.on_damage, next) {
            (OnDamage::Refuse, _) => Err(self.damaged(at, flaw, next)?),
            (OnDamage::Salvage, Next::At(next)) => {
                self.hole(at..next);
                Ok(Some(next))
            }
            _ => {
                self.hole(at..len);
                Ok(None)
            }
        }
    }

    fn hole(&mut self, hole: Range<u64>) {
        match self.report.holes.last_mut() {
            Some(last) if last.end == hole.start => last.end = hole.end,
            _ => self.report.holes.push(hole),
        }
    }

    fn damaged(&mut self, at: u64, flaw: Flaw, next: Next) -> Result<Error> {
        let behind = match next {
            Next::At(next) => {
                let mut count = 0_u64;
                let mut next = next;
                while let Ok(len) = self.length(next)? {
                    if !self.verifies(next, len)? {
                        break;
                    }
                    count = count.saturating_add(1);
                    next = next.saturating_add(len);
                }
                format!("{count} good ones follow it")
            }
            Next::None => "no good one follows it".to_owned(),
            Next::Unknown => "whether good ones follow it was not found out".to_owned(),
        };
        let what = format!("{}, and {behind}; salvage keeps all that is good", flaw.why());
        Ok(Error::new(ErrorKind::Damaged, "read PGSS", self.window.file.path(), what).at(at))
    }

    /// The first record from `from` on that verifies.
    fn next(&mut self, from: u64) -> Result<Next> {
        let mut at = from;
        loop {
            let bytes = self.window.from(at, HEADER)?;
            if (bytes.len() as u64) < SHORTEST {
                return Ok(Next::None);
            }
            let kinds = bytes.get(SUM..).unwrap_or_default();
            let kind = kinds.iter().position(|kind| matches!(*kind, PUT | DELETE | CURSOR));
            let Some(skip) = kind else {
                at = at.saturating_add(kinds.len() as u64);
                continue;
            };
            at = at.saturating_add(skip as u64);
            if let Ok(len) = self.length(at)? {
                // P2: a file that takes longer was not left by a crash.
                let Some(left) = self.budget.checked_sub(len.saturating_add(LOOK)) else {
                    return Ok(Next::Unknown);
                };
                self.budget = left;
                if self.verifies(at, len)? {
                    return Ok(Next::At(at));
                }
            }
            at = at.saturating_add(1);
        }
    }
}

const fn fits(len: u64, left: u64) -> Result<u64, Flaw> {
    if len > left { Err(Flaw::Short) } else { Ok(len) }
}
