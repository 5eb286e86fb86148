//! The intent: the one way in which bytes of a log are taken back. Healing, withdrawal and `truncate_back` go through it.
//!
//! ```text
//! 1  META says Cut, where, and the new header of a frame that is cut inside    replaced, synced: the commit point
//! 2  that header; the tail that nothing vouches for; zeros to the segment's end; later segments unlinked    synced
//! 3  META says Open                                                             replaced, synced
//! ```
//! An open that finds Cut does 2 and 3 again until they are done; nothing is appended in between. The tail is not
//! in META: a redo may find the log's end earlier than the cut, of what was never acknowledged.

use std::ffi::OsStr;
use std::sync::Arc;

use super::format::{Ended, FRAME_HEADER, META, META_LEN, Meta, Parsed, segment_name};
use super::recover::{list, open_segment};
use crate::codec::bytes::Reader;
use crate::commit::{self, Sites};
use crate::fs::{Dir, Fs, How, SyncSite};
use crate::{Durability, Error, ErrorKind, Outcome, Result};

const ZEROS: usize = 256 * 1024;

/// The directory of a log, and its META as it is on disk.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: Arc<dyn Dir>,
    pub(super) meta: Meta,
}

/// A log's end to be, in a segment of it.
#[derive(Debug)]
pub(super) struct CutAt {
    pub(super) segment: u64,
    /// From here on the segment becomes zero.
    pub(super) offset: u64,
    pub(super) last_seq: u64,
    /// The header of the frame that ends at `offset` (with its padding), if it is cut inside.
    pub(super) frame_header: Option<[u8; FRAME_HEADER]>,
}

impl Home {
    /// Replaces META. After an error the disk holds the old one or the new one.
    pub(super) fn store(&mut self, meta: Meta) -> Result<()> {
        let sites = Sites { file: SyncSite::LogMetaFile, dir: SyncSite::LogMetaDir };
        let bytes = meta.encode();
        let synced = Durability::Synced;
        commit::replace_in(&*self.fs, &self.dir, OsStr::new(META), &bytes, synced, sites).map_err(
            |e| match e.outcome() {
                Outcome::Unchanged => e,
                // In place is not enough: what META says must be durable.
                _ => e.with_outcome(Outcome::Unknown),
            },
        )?;
        self.meta = meta;
        Ok(())
    }

    /// Cuts the log; `tail` is written again below the cut, at its offset.
    pub(super) fn cut(&mut self, at: &CutAt, tail: (u64, &[u8])) -> Result<()> {
        self.store(Meta {
            ended: Ended::Cut,
            last_seq: at.last_seq,
            segment: at.segment,
            offset: at.offset,
            frame_header: at.frame_header.unwrap_or([0; FRAME_HEADER]),
            ..self.meta
        })?;
        // From the commit point on, only finishing it tells what the disk holds.
        self.redo(tail).map_err(|e| e.with_outcome(Outcome::Unknown))
    }

    /// Steps 2 and 3, from what META says.
    pub(super) fn redo(&mut self, tail: (u64, &[u8])) -> Result<()> {
        let meta = self.meta;
        let file = open_segment(&*self.dir, meta.segment, How::Write)?;
        let fail = |e| Error::system("cut", file.path(), e).at(meta.offset);
        if let Some((at, body_end)) = shortened(&meta) {
            file.write_at(&meta.frame_header, at).map_err(fail)?;
            let padding = meta.offset.saturating_sub(body_end);
            file.write_at(zeros(padding), body_end).map_err(fail)?;
        }
        let (at, bytes) = tail;
        if !bytes.is_empty() {
            file.write_at(bytes, at).map_err(fail)?;
        }
        let end = file.stat().map_err(fail)?.len;
        let mut at = meta.offset;
        while at < end {
            let chunk = zeros(end.saturating_sub(at));
            file.write_at(chunk, at).map_err(fail)?;
            at = at.saturating_add(chunk.len() as u64);
        }
        for number in list(&*self.dir)?.into_iter().filter(|&n| n > meta.segment) {
            commit::unlink(&*self.dir, OsStr::new(&segment_name(number)))?;
        }
        commit::sync_data(&*file, SyncSite::LogCutFile)?;
        commit::sync_dir(&*self.dir, SyncSite::LogCutDir)?;
        self.store(Meta { ended: Ended::Open, frame_header: [0; FRAME_HEADER], ..meta })
    }
}

/// Where the shortened frame's header goes, and where its body ends.
fn shortened(meta: &Meta) -> Option<(u64, u64)> {
    let mut header = Reader::new(&meta.frame_header);
    header.take(8)?;
    let body = header.u32()?;
    if meta.frame_header.iter().all(|&b| b == 0) {
        return None;
    }
    let frame = (FRAME_HEADER as u64).saturating_add(crate::codec::bytes::pad8(u64::from(body)));
    let at = meta.offset.checked_sub(frame)?;
    Some((at, at.saturating_add(FRAME_HEADER as u64).saturating_add(u64::from(body))))
}

fn zeros(len: u64) -> &'static [u8] {
    static ZERO: [u8; ZEROS] = [0; ZEROS];
    let len = usize::try_from(len).unwrap_or(ZEROS).min(ZEROS);
    ZERO.get(..len).unwrap_or_default()
}

/// Reads META; `None` if there is none.
pub(super) fn load(dir: &dyn Dir) -> Result<Option<Meta>> {
    let path = dir.path().join(META);
    let file = match dir.open(OsStr::new(META), How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::system("open log", &path, e)),
    };
    // A later version may be longer; longer than this is nobody's META.
    let mut bytes = [0; META_LEN * 8];
    let len = file.read_at(&mut bytes, 0).map_err(|e| Error::system("read", &path, e))?;
    let bytes = bytes.get(..len).unwrap_or_default();
    match Meta::decode(bytes) {
        Parsed::Valid(meta) => Ok(Some(meta)),
        Parsed::Newer => Err(super::recover::newer(&path, 0)),
        Parsed::Invalid if Meta::has_magic(bytes) || len == 0 || !list(dir)?.is_empty() => {
            let what = "META does not verify; it is replaced as a whole, so no crash leaves it like this; \
                        nothing was changed; see `untorn recover`";
            Err(Error::new(ErrorKind::Damaged, "open log", &path, what).at(0))
        }
        Parsed::Invalid => Err(not_ours(dir)),
    }
}

/// Why a log's directory does not open: a file by that name is not ours.
pub(super) fn no_directory(path: &std::path::Path, cause: std::io::Error) -> Error {
    if cause.kind() == std::io::ErrorKind::NotADirectory {
        let what = "it is a file; a log is a directory";
        return Error::new(ErrorKind::NotOurs, "open log", path, what);
    }
    Error::system("open log", path, cause)
}

pub(super) fn not_ours(dir: &dyn Dir) -> Error {
    let what = "it is neither a log nor empty; give the log a directory of its own";
    Error::new(ErrorKind::NotOurs, "open log", dir.path(), what)
}
