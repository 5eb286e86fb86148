//! Copies of what is about to be cut or overwritten for good (C6), with a note that says why; bounded.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::replace::{Sites, publish};
use super::{Place, Temp, make_dir, sync_dir, unlink};
use crate::fs::{Dir, File, Fs, Rename, SyncSite};
use crate::{Durability, Error, ErrorKind, Result};

/// The directory's name inside a store.
pub(super) const DIR: &str = "quarantine";
/// Entries and bytes that are kept; the newest entry always is.
const KEEP_ENTRIES: usize = 16;
const KEEP_BYTES: u64 = 1 << 30;
/// The end of a note's name.
const NOTE: &str = ".txt";
const COPY: usize = 1 << 20;

/// What is about to be cut.
#[derive(Debug)]
pub(crate) struct Cut<'a> {
    /// The file it is in; its last component names the copy.
    pub(crate) file: &'a dyn File,
    pub(crate) bytes: Range<u64>,
    /// Why, for the note.
    pub(crate) why: String,
}

/// The quarantine of one store.
#[derive(Debug)]
pub(crate) struct Quarantine<'a> {
    pub(crate) fs: &'a dyn Fs,
    /// The store's directory.
    pub(crate) home: &'a dyn Dir,
}

impl Quarantine<'_> {
    /// Copies the bytes and writes the note; both are durable on `Ok`. Returns the copy's path.
    pub(crate) fn keep(&self, cut: &Cut<'_>) -> Result<PathBuf> {
        let dir = make_dir(self.home, OsStr::new(DIR), 0o700)?;
        let source = cut.file.path();
        let file_name = source.file_name().unwrap_or_default();
        let mut stem = OsString::from(utc(self.fs.now().as_secs()));
        stem.push("-");
        stem.push(file_name);
        stem.push(format!("-{}", cut.bytes.start));
        let note = format!(
            "from   {}\nbytes  {}..{}\nwhy    {}\n",
            source.display(),
            cut.bytes.start,
            cut.bytes.end,
            cut.why
        );
        let name = self.copy(&dir, &stem, |temp| copy(cut, temp))?;
        let mut note_name = name.clone();
        note_name.push(NOTE);
        self.copy(&dir, &note_name, |temp| {
            temp.write_at(note.as_bytes(), 0).map_err(|e| Error::system("write", temp.path(), e))
        })?;
        sync_dir(&*dir, SyncSite::QuarantineDir)?;
        prune(&*dir, &name)?;
        Ok(dir.path().join(name))
    }

    /// A new synced file by a free name that begins with `stem`. The caller syncs the directory.
    fn copy(
        &self,
        dir: &Arc<dyn Dir>,
        stem: &OsStr,
        fill: impl Fn(&dyn File) -> Result<()>,
    ) -> Result<OsString> {
        const TRIES: u32 = 1000;
        let sites = Sites { file: SyncSite::QuarantineFile, dir: SyncSite::QuarantineDir };
        for n in 0..TRIES {
            let mut name = stem.to_os_string();
            if n > 0 {
                name.push(format!(".{n}"));
            }
            if dir.stat(&name).is_ok() {
                continue;
            }
            let temp = Temp::create(self.fs, dir, &name, 0o600)?;
            fill(&**temp.file())?;
            temp.sync(sites.file)?;
            let to = Place { dir: Arc::clone(dir), name: name.clone() };
            match publish(temp, &to, Rename::NoReplace, Durability::Buffered, sites) {
                Ok(_) => return Ok(name),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        let what = "its quarantine has a thousand entries of this second; empty it";
        Err(Error::new(ErrorKind::AlreadyExists, "quarantine", dir.path(), what))
    }
}

fn copy(cut: &Cut<'_>, to: &dyn File) -> Result<()> {
    let mut buffer = vec![0; COPY];
    let mut at = cut.bytes.start;
    while at < cut.bytes.end {
        let want = usize::try_from(cut.bytes.end.saturating_sub(at)).unwrap_or(COPY).min(COPY);
        let Some(chunk) = buffer.get_mut(..want) else { break };
        let got = cut.file.read_at(chunk, at);
        let got = got.map_err(|e| Error::system("read", cut.file.path(), e).at(at))?;
        let Some(chunk) = buffer.get(..got).filter(|chunk| !chunk.is_empty()) else { break };
        let offset = at.saturating_sub(cut.bytes.start);
        to.write_at(chunk, offset).map_err(|e| Error::system("write", to.path(), e).at(offset))?;
        at = at.saturating_add(got as u64);
    }
    Ok(())
}

/// Removes the oldest entries beyond the bounds. Names begin with their time, so that they sort by age.
fn prune(dir: &dyn Dir, newest: &OsStr) -> Result<()> {
    let fail = |e| Error::system("prune", dir.path(), e);
    let names = dir.list().map_err(fail)?;
    let is_note = |name: &OsStr| name.as_encoded_bytes().ends_with(NOTE.as_bytes());
    let mut kept = 1_usize;
    let mut bytes = dir.stat(newest).map_err(fail)?.len;
    for name in names.iter().rev().filter(|name| !is_note(name) && *name != newest) {
        let Ok(stat) = dir.stat(name) else { continue };
        kept = kept.saturating_add(1);
        bytes = bytes.saturating_add(stat.len);
        if kept > KEEP_ENTRIES || bytes > KEEP_BYTES {
            let mut note = name.clone();
            note.push(NOTE);
            unlink(dir, name)?;
            unlink(dir, &note)?;
        }
    }
    Ok(())
}

/// `20260131T235959Z` of seconds since the Unix epoch.
fn utc(epoch_seconds: u64) -> String {
    let (days, second) = (epoch_seconds / 86_400, epoch_seconds % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of a day number since 1970-01-01, counted in eras of 400 years that begin in March.
#[expect(clippy::arithmetic_side_effects, reason = "a u64 of seconds is under 2^48 days")]
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_of_known_moments() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_735_689_599, "20241231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
