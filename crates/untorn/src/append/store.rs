//! A store: one member or several, with one lock, one log and one commit for all.
//!
//! # Invariants
//! - S1 What is committed is what the log says. A data file's bytes up to the end that the last commit names are its
//!   elements; what lies behind is nobody's.
//! - S2 While the log's last record is not a close, what lies behind the end of a file is ours, written ahead, and so are files of
//!   generations that nobody went over to.
//! - S3 What fails before the record leaves everything as it was; what fails after it is done by the next open. Then this handle
//!   is poisoned.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::column::Column;
use super::compact::Prepared;
use super::pending::Held;
use super::publish::{Published, Shared, View};
use super::record::{Full, MemberState};
use super::settings::{MemberSpec, Settings};
use super::stats::RecoveryReport;
use crate::commit::{Claim, Place, Poison};
use crate::fs::Dir;
use crate::log::State;
use crate::{Error, ErrorKind, Result};

/// Bytes of an end in the file of ends.
pub(super) const END: u64 = 8;

/// See the module.
#[expect(
    unnameable_types,
    reason = "it stands behind the handles, which nobody can make otherwise"
)]
pub struct Store {
    pub(super) settings: Settings,
    /// What messages call it: the data file, or what the group is called.
    pub(super) path: PathBuf,
    pub(super) home: Arc<dyn Dir>,
    pub(super) claim: Arc<Claim>,
    pub(super) id: [u8; 16],
    pub(super) log: State,
    pub(super) members: Vec<Member>,
    /// The last commit, and the note in it.
    pub(super) seq: u64,
    pub(super) note: Vec<u8>,
    pub(super) next_note: Option<Vec<u8>>,
    /// The log says that the store is in use (S2).
    pub(super) in_use: bool,
    /// There are records that no sync covers.
    pub(super) unsynced: bool,
    /// Bytes of records since the last checkpoint.
    pub(super) since: u64,
    pub(super) poison: Poison,
    pub(super) shared: Arc<Shared>,
    pub(super) report: RecoveryReport,
}

/// One file of elements.
pub(super) struct Member {
    pub(super) spec: MemberSpec,
    pub(super) place: Place,
    pub(super) generation: u64,
    pub(super) first: u64,
    pub(super) first_byte: u64,
    pub(super) data: Column,
    /// Where the elements end, if they differ in size.
    pub(super) ends: Option<Column>,
    /// What its readers are shown.
    pub(super) view: View,
    pub(super) pending: Held,
    /// The space before the first element is still to be given back.
    pub(super) head_to_punch: bool,
    /// A successor that was written and is not gone over to.
    pub(super) prepared: Option<Prepared>,
}

impl Member {
    /// Committed elements, with those that were dropped at the head.
    pub(super) const fn len(&self) -> u64 {
        match &self.ends {
            Some(ends) => ends.tail.end / END,
            None => match self.data.tail.end.checked_div(self.spec.fixed as u64) {
                Some(len) => len,
                None => 0,
            },
        }
    }

    /// The first byte of an element, from what is committed; of `len()`, the end.
    pub(super) fn start_of(&self, element: u64) -> Result<u64> {
        let Some(ends) = &self.ends else {
            return Ok(element.saturating_mul(u64::from(self.spec.fixed)));
        };
        if element == self.len() {
            return Ok(self.data.tail.end);
        }
        if element == self.first {
            return Ok(self.first_byte);
        }
        let at = element.saturating_sub(1).saturating_mul(END);
        let mut bytes = Vec::new();
        ends.range.copy(at..at.saturating_add(END), &mut bytes)?;
        let start = bytes.try_into().map_or(0, u64::from_le_bytes);
        if start > self.data.tail.end {
            let path = ends.files.file.path();
            let what = format!("element {element} is said to begin behind the end of the data");
            return Err(Error::new(ErrorKind::Damaged, "read", path, what));
        }
        Ok(start)
    }

    pub(super) const fn state(&self) -> MemberState {
        MemberState {
            generation: self.generation,
            first: self.first,
            first_byte: self.first_byte,
            data: self.data.end(),
            ends: match &self.ends {
                Some(ends) => Some(ends.end()),
                None => None,
            },
        }
    }

    /// What its readers are shown from now on.
    pub(super) fn show(&mut self) -> View {
        self.view = self.shown();
        self.view.clone()
    }

    pub(super) fn shown(&self) -> View {
        View {
            data: Arc::clone(&self.data.range),
            ends: self.ends.as_ref().map(|ends| Arc::clone(&ends.range)),
            fixed: self.spec.fixed,
            first: self.first,
            len: self.len(),
            data_end: self.data.tail.end,
        }
    }

    /// Its columns: the data, then the ends if there are any.
    pub(super) fn columns_mut(&mut self) -> impl Iterator<Item = &mut Column> {
        std::iter::once(&mut self.data).chain(&mut self.ends)
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        std::iter::once(&self.data).chain(&self.ends)
    }

    /// Takes back a rewind and forgets what was appended.
    pub(super) fn discard(&mut self) {
        let len = self.len();
        self.pending.clear(len);
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_none(self.len())
    }
}

impl Store {
    pub(super) fn full(&self, closed: bool) -> Full {
        let members = self.members.iter().map(Member::state).collect();
        Full { closed, seq: self.seq, note: self.note.clone(), members }
    }

    /// What readers are shown from now on.
    pub(super) fn published(&mut self) -> Published {
        let members = self.members.iter_mut().map(Member::show).collect();
        Published { seq: self.seq, members, hold: Some(Arc::clone(&self.claim)) }
    }

    /// What is pending forbids it.
    pub(super) fn nothing_pending(&self, operation: &'static str) -> Result<()> {
        match self.members.iter().find(|member| member.has_pending()) {
            None => Ok(()),
            Some(member) => {
                let what = "something is pending; flush or discard it first";
                let path = member.place.path();
                Err(Error::new(ErrorKind::Precondition, operation, &path, what))
            }
        }
    }

    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        self.poison.check(operation, &self.path)
    }

    #[inline]
    pub(super) fn check_open(&self) -> Result<()> {
        if self.poison.is_set() { self.check("append to") } else { Ok(()) }
    }

    /// The handle is of no use any more (S3).
    pub(super) fn poison_by(&self, error: Error) -> Error {
        let first = Arc::new(error);
        self.poison.set(Arc::clone(&first));
        Error::share(&first)
    }

    pub(super) fn member(&self, nth: usize) -> Result<&Member> {
        self.members.get(nth).ok_or_else(|| no_member(&self.path))
    }

    /// The data of a member, or its ends.
    pub(super) fn column(&self, nth: usize, ends: bool) -> Result<&Column> {
        let member = self.member(nth)?;
        let column = if ends { member.ends.as_ref() } else { Some(&member.data) };
        column.ok_or_else(|| no_member(&self.path))
    }

    /// As [`column`](Self::column).
    pub(super) fn column_mut(&mut self, nth: usize, ends: bool) -> Result<&mut Column> {
        let member = self.members.get_mut(nth);
        let column = member
            .and_then(|member| if ends { member.ends.as_mut() } else { Some(&mut member.data) });
        column.ok_or_else(|| no_member(&self.path))
    }

    pub(super) fn member_mut(&mut self, nth: usize) -> Result<&mut Member> {
        self.members.get_mut(nth).ok_or_else(|| no_member(&self.path))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .field("seq", &self.seq)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

fn no_member(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, "use", path, "the group has no such member")
}
