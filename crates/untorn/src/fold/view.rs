//! A state of a fold: what was written since the base, over the base. A copy of it stays as it is.
//!
//! # Invariants
//! - V1 A view has the data of exactly the commits up to its cursor.
//! - V2 What a view refers to is open: the file of its base, the segments that its values lie in. None of them is ever changed there.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::base::Base;
use super::held::{Held, Slot, Spot, Value};
use super::tree::Tree;
use super::walk::Walk;
use super::{Lineage, VersionToken, WatchCursor};
use crate::codec::checksum::crc32;
use crate::fs::{File, Map, ReadMode};
use crate::{Error, ErrorKind, Result};

/// A segment of the log that values lie in.
#[derive(Debug)]
pub(super) struct Segment {
    number: u64,
    file: Arc<dyn File>,
    map: Option<Map>,
}

impl Segment {
    pub(super) fn open(number: u64, file: Arc<dyn File>, mode: ReadMode) -> Result<Self> {
        let fail = |e| Error::system("read", file.path(), e);
        let mut map = None;
        if mode != ReadMode::Pread {
            // Its length does not change: it was filled with zeros before it got its name.
            let len = usize::try_from(file.stat().map_err(fail)?.len).unwrap_or(0);
            map = Some(file.map(len).map_err(fail)?).filter(Map::is_live);
        }
        Ok(Self { number, file, map })
    }

    fn read(&self, spot: &Spot) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(spot.len).unwrap_or(0)];
        let start = usize::try_from(spot.offset).unwrap_or(usize::MAX);
        let mapped = self.map.as_ref().is_some_and(|map| map.copy_to(start, &mut bytes));
        if !mapped {
            let got = self.file.read_at(&mut bytes, spot.offset);
            got.map_err(|e| Error::system("read", self.path(), e).at(spot.offset))?;
        }
        if bytes.len() <= super::record::SMALL_VALUE || crc32(&bytes, 0) == spot.crc {
            return Ok(bytes);
        }
        let what = "a value does not verify";
        Err(Error::new(ErrorKind::Damaged, "read", self.path(), what).at(spot.offset))
    }

    fn path(&self) -> &Path {
        self.file.path()
    }
}

/// How far the fold is.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) cursor: WatchCursor,
    pub(super) lineage: Option<Arc<Lineage>>,
    /// The newest version that was seen: what is above it is new without a look.
    pub(super) mark: VersionToken,
    pub(super) wall_ms: u64,
    /// The last record of the log that is in it.
    pub(super) seq: u64,
}

/// What was written up to some commit.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    tree: Tree,
    pub(super) state: State,
    /// The last segment that it has values in.
    segment: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) base: Option<Arc<Base>>,
    /// What a compaction is merging into the base.
    pub(super) frozen: Option<Layer>,
    pub(super) live: Tree,
    pub(super) segments: Arc<Vec<Arc<Segment>>>,
    pub(super) state: State,
}

/// What was found in memory.
pub(super) struct Found {
    pub(super) slot: Slot,
    /// Where its value lies, if it lies in the log.
    pub(super) segment: Option<Arc<Segment>>,
}

impl Found {
    /// The value; `None` if it was deleted.
    pub(super) fn value(&self) -> Result<Option<Cow<'_, [u8]>>> {
        match (self.slot.held().value, &self.segment) {
            (Value::Here(bytes), _) => Ok(Some(Cow::Borrowed(bytes))),
            (Value::InLog(spot), Some(segment)) => Ok(Some(Cow::Owned(segment.read(&spot)?))),
            (Value::Gone { .. } | Value::InLog(_) | Value::InBase(_), _) => Ok(None),
        }
    }
}

impl View {
    /// What was written of a key since the base.
    pub(super) fn overlay(&self, key: &[u8]) -> Option<&Slot> {
        self.live.get(key).or_else(|| self.frozen.as_ref()?.tree.get(key))
    }

    /// The same, to be looked at without the view.
    pub(super) fn take(&self, key: &[u8]) -> Option<Found> {
        let slot = self.overlay(key)?.clone();
        let segment = match slot.held().value {
            Value::InLog(at) => self.segment(at.segment),
            _ => None,
        };
        Some(Found { slot, segment })
    }

    fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        self.segments.iter().rev().find(|segment| segment.number == number).cloned()
    }

    /// Whether it has this segment open.
    pub(super) fn has_segment(&self, number: u64) -> bool {
        self.segments.last().is_some_and(|segment| segment.number == number)
            || self.segments.iter().any(|segment| segment.number == number)
    }

    /// Shows `look` what is held of a key, deleted or not.
    pub(super) fn find<R>(
        &self,
        key: &[u8],
        look: impl FnOnce(&Held<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        if let Some(slot) = self.overlay(key) {
            return look(&slot.held()).map(Some);
        }
        match &self.base {
            Some(base) => base.find(key, look),
            None => Ok(None),
        }
    }

    /// The value of an entry of this view; `None` if it was deleted.
    pub(super) fn value<'a>(&'a self, held: &Held<'a>) -> Result<Option<Cow<'a, [u8]>>> {
        match (held.value, &self.base) {
            (Value::Gone { .. }, _) => Ok(None),
            (Value::Here(bytes), _) => Ok(Some(Cow::Borrowed(bytes))),
            (Value::InBase(spot), Some(base)) => base.value(&spot).map(Some),
            (Value::InLog(spot), _) => match self.segment(spot.segment) {
                Some(segment) => segment.read(&spot).map(|bytes| Some(Cow::Owned(bytes))),
                None => Err(lost()),
            },
            (Value::InBase(_), None) => Err(lost()),
        }
    }

    /// Goes through everything that is held, deleted or not, from the first key that is not below `from`, or in reverse from the
    /// last that is below it.
    pub(super) fn walk(&self, from: Option<&[u8]>, reverse: bool) -> Result<Walk<'_>> {
        let base = self.base.as_deref();
        let frozen = self.frozen.as_ref().map(|layer| &layer.tree);
        Walk::new([Some(&self.live), frozen], base, from, reverse)
    }

    /// How many keys were written since the base, at most.
    pub(super) fn overlay_len(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |layer| layer.tree.len());
        self.live.len().saturating_add(frozen)
    }
}

/// V2 is broken: a fault of this crate.
fn lost() -> Error {
    Error::of_caller(ErrorKind::Failed, "read", "a value's file is not open")
}

impl View {
    /// What is live becomes frozen: what is written from now on goes above it.
    pub(super) fn freeze(&mut self) {
        let segment = self.segments.last().map_or(0, |segment| segment.number);
        let tree = std::mem::take(&mut self.live);
        self.frozen = Some(Layer { tree, state: self.state.clone(), segment });
    }

    /// What was frozen over the base; `None` if nothing is.
    pub(super) fn below(&self) -> Option<Self> {
        let state = self.frozen.as_ref()?.state.clone();
        Some(Self { live: Tree::default(), state, ..self.clone() })
    }

    /// A new base has what was frozen. Segments that only that had values in are closed, unless a copy of the view has them.
    pub(super) fn thaw(&mut self, base: Arc<Base>) {
        self.base = Some(base);
        if let Some(frozen) = self.frozen.take() {
            let kept = self.segments.iter().filter(|segment| segment.number >= frozen.segment);
            self.segments = Arc::new(kept.cloned().collect());
        }
    }
}
