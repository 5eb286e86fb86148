//! What the records of a log make of a base: the same as the commits did (A3).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::apply::{advance, inline_max};
use super::base::Base;
use super::held::{Held, Slot, Spot, Value};
use super::options::FoldOptions;
use super::record::{self, Action, Nonsense, Op, Record, raise};
use super::tree::Tree;
use super::view::{Segment, State, View};
use super::{VersionToken, WatchCursor};
use crate::fs::{Dir, ReadMode};
use crate::log::{Rec, bytes_of, segment_file};
use crate::{Error, ErrorKind, Result};

/// A view in the making.
#[derive(Debug)]
pub(super) struct Replay {
    base: Option<Arc<Base>>,
    floor: u64,
    inline_max: usize,
    live: Tree,
    state: State,
    /// Operations whose commit has not come yet, and their newest version.
    pending: Vec<Slot>,
    newest: VersionToken,
    /// Segments that values lie in.
    used: BTreeSet<u64>,
    pending_bytes: u64,
    scratch: Vec<u8>,
    pub(super) commits: u64,
    pub(super) updates: u64,
    /// How often positions began anew.
    pub(super) restarts: u64,
    pub(super) tail: u64,
    /// A reset made the base void.
    pub(super) void: bool,
}

impl Replay {
    pub(super) fn new(base: Option<Arc<Base>>, options: &FoldOptions) -> Self {
        let mut state = State::default();
        let mut floor = 1;
        if let Some(base) = &base {
            let meta = &base.meta;
            floor = base.header.floor;
            state = State {
                cursor: meta.cursor.clone(),
                lineage: meta.lineage.clone().map(Arc::new),
                mark: meta.mark.clone(),
                wall_ms: meta.wall_ms,
                seq: floor.saturating_sub(1),
            };
        }
        Self {
            base,
            floor,
            inline_max: inline_max(options),
            live: Tree::default(),
            state,
            pending: Vec::new(),
            newest: VersionToken::unknown(),
            used: BTreeSet::new(),
            pending_bytes: 0,
            scratch: Vec::new(),
            commits: 0,
            updates: 0,
            restarts: 0,
            tail: 0,
            void: false,
        }
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// Goes on as if it had come to this cursor.
    pub(super) fn pretend(&mut self, cursor: WatchCursor) {
        self.state.cursor = cursor;
    }

    /// Takes the next record of the log.
    pub(super) fn take(&mut self, rec: &Rec<'_>, log: &Path) -> Result<()> {
        if rec.seq < self.floor {
            return Ok(());
        }
        let start = bytes_of(rec.pos, false);
        let segment = rec.pos.segment;
        let read = record::read(rec.bytes, |op| self.take_op(&op, segment, start));
        self.pending_bytes = self.pending_bytes.saturating_add(rec.bytes.len() as u64);
        match read.map_err(|nonsense| no_sense(nonsense, rec, log))? {
            Record::Ops => {}
            Record::Commit(commit) => {
                for slot in self.pending.drain(..) {
                    self.live.insert(slot);
                    self.updates = self.updates.saturating_add(1);
                }
                advance(&mut self.state, &commit, rec.seq, &self.newest);
                self.newest = VersionToken::unknown();
                self.commits = self.commits.saturating_add(1);
                self.restarts = self.restarts.saturating_add(u64::from(commit.restart));
                self.tail = self.tail.saturating_add(std::mem::take(&mut self.pending_bytes));
            }
            Record::Reset { wall_ms, .. } => {
                self.live = Tree::default();
                self.restarts = self.restarts.saturating_add(1);
                self.state = State { wall_ms, seq: rec.seq, ..State::default() };
                self.void = true;
                self.tail = std::mem::take(&mut self.pending_bytes);
            }
        }
        Ok(())
    }

    fn take_op(&mut self, op: &Op<'_>, segment: u64, start: u64) {
        raise(&mut self.newest, op.version);
        let value = match op.action {
            Action::Delete | Action::Purge => Value::Gone { aged: false },
            Action::Put(bytes) if bytes.len() <= self.inline_max => Value::Here(bytes),
            Action::Put(bytes) => {
                self.used.insert(segment);
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let offset = start.saturating_add(op.at as u64);
                Value::InLog(Spot { segment, offset, len, crc: op.crc })
            }
        };
        let held = Held { key: op.key, version: op.version, value };
        self.pending.push(Slot::new(&held, &mut self.scratch));
    }

    /// The view, with the segments open that it has values in.
    pub(super) fn finish(self, log_dir: &dyn Dir, mode: ReadMode) -> Result<View> {
        let open = |number: u64| {
            let segment = Segment::open(number, segment_file(log_dir, number)?, mode)?;
            Ok(Arc::new(segment))
        };
        let segments = self.used.into_iter().map(open).collect::<Result<_>>()?;
        let base = self.base.filter(|_| !self.void);
        let (live, state) = (self.live, self.state);
        Ok(View { base, frozen: None, live, segments: Arc::new(segments), state })
    }
}

fn no_sense(nonsense: Nonsense, rec: &Rec<'_>, log: &Path) -> Error {
    let (kind, what) = match nonsense {
        Nonsense::Unknown => (
            ErrorKind::NewerFormat,
            "is of a kind that this version does not know; update the program",
        ),
        Nonsense::Broken => (ErrorKind::Damaged, "verifies and makes no sense"),
    };
    Error::new(kind, "read", log, format!("record {} {what}", rec.seq)).at(rec.pos.frame)
}
