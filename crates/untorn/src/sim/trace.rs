//! The record of a life: each call, and the disk as it was after it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::fault::CallKind;
use super::inode::Ino;
use super::state::State;

/// What a call was about, beyond its path.
#[derive(Clone, Debug)]
pub(super) enum Note {
    None,
    Write { ino: Ino, offset: u64, bytes: Arc<[u8]> },
    Range { offset: u64, len: u64 },
    To(Arc<Path>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Counted from 1 within the life.
    pub(super) number: u64,
    pub(super) kind: CallKind,
    pub(super) path: Arc<Path>,
    pub(super) note: Note,
    pub(super) errno: Option<i32>,
    pub(super) after: Arc<State>,
}

#[derive(Debug)]
pub(super) struct Trace {
    pub(super) start: Arc<State>,
    /// Calls of the life before the first recorded one.
    pub(super) calls_before: u64,
    pub(super) entries: Vec<Entry>,
}

impl Trace {
    /// The state after the first `count` recorded calls.
    pub(super) fn state(&self, count: usize) -> &Arc<State> {
        count
            .checked_sub(1)
            .and_then(|index| self.entries.get(index))
            .map_or(&self.start, |entry| &entry.after)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}  {} {}", self.number, self.kind, self.path.display())?;
        match &self.note {
            Note::None => {}
            Note::Write { offset, bytes, .. } => {
                write!(f, " {} bytes at {offset}", bytes.len())?;
            }
            Note::Range { offset, len } => write!(f, " {len} at {offset}")?,
            Note::To(path) => write!(f, " -> {}", path.display())?,
        }
        match self.errno {
            Some(0) => f.write_str(" = error"),
            Some(errno) => write!(f, " = {}", std::io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}
