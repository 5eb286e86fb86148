//! Segments ahead of use: zero-filled in small synced parts under a temporary name, then named. So a segment's name
//! leads to synced zeros until its header is written, whatever a crash leaves (R1).

use std::ffi::OsStr;
use std::sync::Arc;

use super::format::segment_name;
use super::queue::Ready;
use super::recover::open_segment;
use crate::commit::{self, Temp};
use crate::fs::{Dir, Fs, How, Rename, SyncSite};
use crate::{Durability, Error, Result};

/// Bytes written and synced at once, between two commits of the log that are synced themselves.
const PART: u32 = 256 * 1024;
/// The same where commits are not synced: there a sync costs more than all that it covers.
const LARGE_PART: u32 = 4 * 1024 * 1024;
/// The first segment's length; the next ones double.
const FIRST: u64 = 256 * 1024;

/// A segment that is being zero-filled.
#[derive(Debug)]
pub(super) struct Preparing {
    temp: Temp,
    number: u64,
    len: u64,
    filled: u64,
}

/// The usual length of a segment.
pub(super) fn usual_len(number: u64, segment_bytes: u64) -> u64 {
    let doublings = u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX).min(32);
    FIRST.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(segment_bytes) & !7
}

impl Preparing {
    pub(super) fn start(fs: &dyn Fs, dir: &Arc<dyn Dir>, number: u64, len: u64) -> Result<Self> {
        let name = segment_name(number);
        let temp = Temp::create(fs, dir, OsStr::new(&name), 0o600)?;
        Ok(Self { temp, number, len, filled: 0 })
    }

    pub(super) const fn serves(&self, number: u64, len: u64) -> bool {
        self.number == number && self.len >= len
    }

    /// Whether it comes next after the segment that is being written.
    pub(super) fn follows(&self, current: u64) -> bool {
        self.number == current.saturating_add(1)
    }

    pub(super) const fn is_filled(&self) -> bool {
        self.filled >= self.len
    }

    /// Writes and syncs one part. After an error the file is not used: drop it.
    pub(super) fn part(&mut self, durability: Durability) -> Result<()> {
        static ZEROS: [u8; PART as usize] = [0; PART as usize];
        let part = match durability {
            Durability::Synced => PART,
            Durability::Buffered => LARGE_PART,
        };
        let file = self.temp.file();
        let end = self.filled.saturating_add(u64::from(part)).min(self.len);
        let len = end.saturating_sub(self.filled);
        let mut at = self.filled;
        while at < end {
            let piece = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..piece).unwrap_or(&ZEROS);
            file.write_at(zeros, at)
                .map_err(|e| Error::system("prepare space in", file.path(), e).at(at))?;
            at = at.saturating_add(zeros.len() as u64);
        }
        commit::sync_data(&**file, SyncSite::LogPrepareFile)
            .map_err(|e| e.with_outcome(crate::Outcome::Unchanged))?;
        self.filled = self.filled.saturating_add(len);
        Ok(())
    }

    /// Bytes at the start of a filled segment, synced with it: the header of a log's first one.
    pub(super) fn head(&self, bytes: &[u8]) -> Result<()> {
        let file = self.temp.file();
        file.write_at(bytes, 0).map_err(|e| Error::system("begin", file.path(), e))?;
        commit::sync_data(&**file, SyncSite::LogBeginFile)
    }

    /// Names a filled segment, durably. A name that an earlier attempt left is taken over: it leads to zeros.
    pub(super) fn publish(self, dir: &Arc<dyn Dir>) -> Result<Ready> {
        debug_assert!(self.is_filled(), "a segment is named when all of it is synced");
        let name = segment_name(self.number);
        // Whether it got the name or not: it is not used, and the name leads to zeros. The log is what it was.
        let unchanged = |e: Error| e.with_outcome(crate::Outcome::Unchanged);
        self.temp.give_name(OsStr::new(&name), Rename::Replace).map_err(unchanged)?;
        if let Err(e) = commit::sync_dir(&**dir, SyncSite::LogPrepareDir) {
            drop(commit::unlink(&**dir, OsStr::new(&name)));
            return Err(unchanged(e));
        }
        // Opened anew, so that errors tell the segment's name.
        let file = open_segment(&**dir, self.number, How::Write)?;
        Ok(Ready { number: self.number, len: self.len, file })
    }
}
