//! Makes a store: what it is, its files, and what was in the data files already.
//!
//! # Invariants
//! - N1 A store is there when its log has a full form. Until then an open begins anew, and takes nothing that it finds beside
//!   the data files for true.
//! - N2 META and the names of the files are durable before that form; the files themselves are synced with it, as by every checkpoint.

use std::ffi::{OsStr, OsString};
use std::ops::Range as Bytes;
use std::sync::Arc;

use super::blocks::{Seed, Tail};
use super::column::Files;
use super::meta::{ENDS, ENDS_SUMS, FileHeader, SUMS};
use super::settings::{MemberSpec, Settings};
use super::sizes::Taking;
use super::stats::RecoveryReport;
use super::store::END;
use crate::commit::{Cut, Place, Quarantine, Symlink};
use crate::fs::{Dir, File, How};
use crate::{Error, ErrorKind, Result};

/// Where a store is made or opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) settings: &'a Settings,
    pub(super) home: &'a Arc<dyn Dir>,
    pub(super) store_id: [u8; 16],
}

/// A member's files and where they end.
#[derive(Debug)]
pub(super) struct Laid {
    pub(super) data: Files,
    pub(super) data_tail: Tail,
    pub(super) ends: Option<(Files, Tail)>,
}

/// The name of one of a member's files in the home.
pub(super) fn file_name(kind: &str, member: usize, generation: u64) -> OsString {
    OsString::from(format!("{kind}.{member}.{generation}"))
}

impl Site<'_> {
    /// The sums of a member's data begin with this, and of its ends.
    pub(super) fn seeds(&self, member: usize) -> (Seed, Seed) {
        let column = u32::try_from(member).unwrap_or(u32::MAX).saturating_mul(2);
        let seed = |column| Seed::new(self.store_id, column);
        (seed(column), seed(column.saturating_add(1)))
    }

    /// A file beside the log, with its header.
    pub(super) fn make(&self, kind: u8, member: usize, generation: u64) -> Result<Arc<dyn File>> {
        let name = file_name(kind_name(kind), member, generation);
        let file = self.home.open(&name, How::Create(0o600));
        let path = self.home.path().join(&name);
        let fail = |e| Error::system("make", &path, e);
        let file = file.map_err(fail)?;
        file.set_len(0).map_err(fail)?;
        let member = u16::try_from(member).unwrap_or(u16::MAX);
        let header = FileHeader { store_id: self.store_id, kind, member, generation };
        file.write_at(&header.encode(), 0).map_err(fail)?;
        Ok(file)
    }

    /// A file beside the log that there must be.
    pub(super) fn open(&self, kind: u8, member: usize, generation: u64) -> Result<Arc<dyn File>> {
        let name = file_name(kind_name(kind), member, generation);
        let path = self.home.path().join(&name);
        let file = self.home.open(&name, How::Write).map_err(|e| {
            let missing = e.kind() == std::io::ErrorKind::NotFound;
            let error = Error::system("open", &path, e);
            if !missing {
                return error;
            }
            error.with_kind(ErrorKind::Damaged).because(
                "a file of the store is missing; it was not removed by it, restore it from a copy",
            )
        })?;
        let member = u16::try_from(member).unwrap_or(u16::MAX);
        let header = FileHeader { store_id: self.store_id, kind, member, generation };
        let mut found = [0; 64];
        let got = file.read_at(&mut found, 0).map_err(|e| Error::system("read", &path, e))?;
        if got == found.len() && found == header.encode() {
            return Ok(file);
        }
        let what = "its header is not that of this store's file; it was damaged or replaced";
        Err(Error::new(ErrorKind::Damaged, "open", &path, what).at(0))
    }

    /// Makes a member's files, and counts what its data file has already. Nothing of it is durable yet.
    pub(super) fn begin(
        &self,
        nth: usize,
        spec: &MemberSpec,
        place: &Place,
        report: &mut RecoveryReport,
    ) -> Result<Laid> {
        let path = place.path();
        let file = place.dir.open(&place.name, How::Create(0o666));
        let file = file.map_err(|e| Error::system("open", &path, e))?;
        let len = file.stat().map_err(|e| Error::system("look at", &path, e))?.len;
        let (seed, ends_seed) = self.seeds(nth);
        let data = Files { file, sums: self.make(SUMS, nth, 0)?, base: 0 };
        let ends = if spec.fixed == 0 {
            let file = self.make(ENDS, nth, 0)?;
            Some(Files { file, sums: self.make(ENDS_SUMS, nth, 0)?, base: super::blocks::HEADER })
        } else {
            None
        };
        let mut laid = Laid {
            data,
            data_tail: Tail::empty(seed),
            ends: ends.map(|files| (files, Tail::empty(ends_seed))),
        };
        if len > 0 {
            self.adopt(spec, &mut laid, len, report)?;
        }
        Ok(laid)
    }

    /// Takes what is in a data file as elements.
    pub(super) fn adopt(
        &self,
        spec: &MemberSpec,
        laid: &mut Laid,
        len: u64,
        report: &mut RecoveryReport,
    ) -> Result<()> {
        let from = laid.data_tail.end;
        let end = match u64::from(spec.fixed) {
            0 => self.adopt_sizes(spec, laid, len)?,
            fixed => {
                let whole = len.checked_rem(fixed).map_or(len, |rest| len.saturating_sub(rest));
                self.without_zeros(&laid.data, from..whole, fixed, report)?
            }
        };
        if end < len {
            self.cut(
                &laid.data,
                end..len,
                "it was no whole element when the file was taken over",
                report,
            )?;
        }
        self.count(&laid.data, &mut laid.data_tail, end)?;
        let elements = match &laid.ends {
            Some((_, tail)) => tail.end / END,
            None => end.saturating_sub(from).checked_div(u64::from(spec.fixed)).unwrap_or(0),
        };
        report.adopted = report.adopted.saturating_add(elements);
        Ok(())
    }

    /// Counts bytes of a file as the column's: their sums are computed and written.
    pub(super) fn count(&self, files: &Files, tail: &mut Tail, end: u64) -> Result<()> {
        let from = tail.end;
        files.each(from..end, |at, bytes| {
            let block = super::blocks::block_of(tail.end);
            let mut sums = Vec::new();
            tail.extend(bytes, &mut sums);
            let sums = super::blocks::sum_bytes(&sums);
            self.settings.tell(at, end);
            files.write_sums_beyond(0, block, &sums)
        })
    }

    /// How far whole elements go if those of zeros at the end do not count; where they are to be kept they are only reported.
    fn without_zeros(
        &self,
        files: &Files,
        bytes: Bytes<u64>,
        fixed: u64,
        report: &mut RecoveryReport,
    ) -> Result<u64> {
        // From the back, in steps, as long as there is nothing but zeros.
        const STEP: u64 = 1 << 16;
        let mut end = bytes.end;
        while end > bytes.start {
            let from = end.saturating_sub(STEP).max(bytes.start);
            let piece = files.read(from..end)?;
            match piece.iter().rposition(|byte| *byte != 0) {
                Some(last) => {
                    end = from.saturating_add(last as u64).saturating_add(1);
                    break;
                }
                None => end = from,
            }
        }
        let whole = end.saturating_sub(bytes.start).div_ceil(fixed).saturating_mul(fixed);
        let end = bytes.start.saturating_add(whole).min(bytes.end);
        let zeros = bytes.end.saturating_sub(end).checked_div(fixed).unwrap_or(0);
        report.zero_tail = report.zero_tail.saturating_add(zeros);
        Ok(if self.settings.trim_zero_tail { end } else { bytes.end })
    }

    /// The ends from a file of sizes; says how far the data goes by them.
    fn adopt_sizes(&self, spec: &MemberSpec, laid: &mut Laid, len: u64) -> Result<u64> {
        let path = laid.data.file.path();
        let Some((ends, ends_tail)) = &mut laid.ends else { return Ok(len) };
        let Some(sizes) = &spec.size_file else {
            let what = "it has bytes already, and nothing says where its elements end; open it with the file of their sizes, or as fixed size";
            return Err(Error::new(ErrorKind::Precondition, "open", path, what));
        };
        let place = Place::of(&*self.settings.fs, "open", sizes)?;
        let Some(file) = place.open("open")? else {
            let what = "there is no such file of sizes";
            return Err(Error::new(ErrorKind::NotFound, "open", sizes, what));
        };
        let mut taking = Taking::new(len);
        let mut at = 0_u64;
        let mut buffer = [0; 10 * 1024];
        'file: loop {
            let got = file.read_at(&mut buffer, at);
            let got = got.map_err(|e| Error::system("read", sizes, e).at(at))?;
            let mut found = Vec::new();
            for entry in buffer.get(..got).unwrap_or_default().chunks_exact(10) {
                let entry: [u8; 10] = entry.try_into().unwrap_or_default();
                if !taking.take(entry) {
                    self.put_ends(ends, ends_tail, &found)?;
                    break 'file;
                }
                found.extend_from_slice(&taking.end().to_le_bytes());
            }
            self.put_ends(ends, ends_tail, &found)?;
            at = at.saturating_add(got as u64);
            if got < buffer.len() {
                break;
            }
        }
        if taking.end() == len {
            return Ok(len);
        }
        let what = format!(
            "the sizes in {} add up to {} bytes, the data has {len}: one of the two was torn or its sizes wrapped at 65 536; cut the longer one to what agrees, or import the data by its encoding",
            sizes.display(),
            taking.end()
        );
        Err(Error::new(ErrorKind::Damaged, "open", path, what).at(taking.end()))
    }

    fn put_ends(&self, ends: &Files, tail: &mut Tail, found: &[u8]) -> Result<()> {
        ends.write(tail.end, found)?;
        self.count(ends, tail, tail.end.saturating_add(found.len() as u64))
    }

    /// Copies bytes to the quarantine and cuts the file there.
    pub(super) fn cut(
        &self,
        files: &Files,
        bytes: Bytes<u64>,
        why: &str,
        report: &mut RecoveryReport,
    ) -> Result<()> {
        let quarantine = Quarantine { fs: &*self.settings.fs, home: &**self.home };
        let start = files.base.saturating_add(bytes.start);
        let end = files.base.saturating_add(bytes.end);
        let cut = Cut { file: &*files.file, bytes: start..end, why: why.to_owned() };
        report.quarantine.push(quarantine.keep(&cut)?);
        report.cut_bytes = report.cut_bytes.saturating_add(bytes.end.saturating_sub(bytes.start));
        files.cut(bytes.start)
    }
}

pub(super) const fn kind_name(kind: u8) -> &'static str {
    match kind {
        ENDS => "ends",
        SUMS => "sums",
        _ => "esums",
    }
}

/// Where the data file of a member is, and what its home is called.
pub(super) fn resolve(settings: &Settings, path: &std::path::Path) -> Result<Place> {
    let (place, _) = Place::resolve(&*settings.fs, "open", path, Symlink::Follow)?;
    Ok(place)
}

/// The name of the directory that belongs to a file.
pub(super) fn home_name(name: &OsStr) -> OsString {
    let mut home = name.to_os_string();
    home.push(".untorn");
    home
}
