//! Which entries to go through, and an iterator over them that owns what it reads.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use super::held::{Held, Value};
use super::view::View;
use super::{KvEntry, VersionToken};
use crate::{Error, ErrorKind, Result};

/// Entries and bytes that are read ahead at once.
const AHEAD: usize = 256;
const AHEAD_BYTES: usize = 1 << 20;

/// Which entries, in which order.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct ScanOptions {
    /// Where the keys begin. Default unbounded.
    pub from: Bound<String>,
    /// Where they end. Default unbounded.
    pub to: Bound<String>,
    /// What they begin with. Default nothing.
    pub prefix: String,
    /// How many at most. Default all.
    pub limit: usize,
    /// In descending order. Default no.
    pub reverse: bool,
    /// With empty values, which need not be read. Default no.
    pub keys_only: bool,
    /// Only those that come after this key in the order of the scan: the last one of the page before. Default none.
    pub after: Option<String>,
}

impl ScanOptions {
    /// All entries.
    pub const fn new() -> Self {
        Self {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            prefix: String::new(),
            limit: usize::MAX,
            reverse: false,
            keys_only: false,
            after: None,
        }
    }

    /// Those whose keys begin with `prefix`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::new() }
    }

    /// Sets where the keys begin.
    pub fn from(mut self, from: Bound<String>) -> Self {
        self.from = from;
        self
    }

    /// Sets where they end.
    pub fn to(mut self, to: Bound<String>) -> Self {
        self.to = to;
        self
    }

    /// Sets how many at most.
    pub const fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the order.
    pub const fn reverse(mut self, reverse: bool) -> Self {
        self.reverse = reverse;
        self
    }

    /// Sets whether values are left out.
    pub const fn keys_only(mut self, keys_only: bool) -> Self {
        self.keys_only = keys_only;
        self
    }

    /// Sets the key to go on behind.
    pub fn after(mut self, after: impl Into<String>) -> Self {
        self.after = Some(after.into());
        self
    }

    /// The same as bytes: from the first on, below the second.
    fn bounds(&self) -> Bounds {
        let behind = |key: &String| [key.as_bytes(), &[0]].concat();
        let mut low = self.prefix.clone().into_bytes();
        low = match &self.from {
            Bound::Unbounded => low,
            Bound::Included(key) => low.max(key.clone().into_bytes()),
            Bound::Excluded(key) => low.max(behind(key)),
        };
        let mut high = prefix_end(self.prefix.as_bytes());
        let mut below = |key: Vec<u8>| match &high {
            Some(high) if *high <= key => {}
            _ => high = Some(key),
        };
        match &self.to {
            Bound::Unbounded => {}
            Bound::Included(key) => below(behind(key)),
            Bound::Excluded(key) => below(key.clone().into_bytes()),
        }
        match &self.after {
            Some(key) if self.reverse => below(key.clone().into_bytes()),
            Some(key) => low = low.max(behind(key)),
            None => {}
        }
        Bounds { low, high }
    }
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Keys from `low` on, below `high`.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    low: Vec<u8>,
    high: Option<Vec<u8>>,
}

impl Bounds {
    pub(super) fn prefix(prefix: &str) -> Self {
        Self { low: prefix.as_bytes().to_vec(), high: prefix_end(prefix.as_bytes()) }
    }

    fn above(&self, key: &[u8]) -> bool {
        self.high.as_ref().is_some_and(|high| key >= high.as_slice())
    }
}

/// The first bytes that are above all that begin with `prefix`. No text has the byte 255.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    let last = end.last_mut()?;
    *last = last.saturating_add(1);
    Some(end)
}

/// Shows `each` what is held within bounds, without what was deleted, in ascending order, until it says to stop.
pub(super) fn for_each(
    view: &View,
    bounds: &Bounds,
    mut each: impl FnMut(&Held<'_>) -> Result<bool>,
) -> Result<()> {
    let mut walk = view.walk(Some(&bounds.low), false)?;
    while let Some(held) = walk.next()? {
        if bounds.above(held.key) || (!held.value.is_gone() && !each(&held)?) {
            break;
        }
    }
    Ok(())
}

/// An owned entry; the value is empty if it is not wanted.
pub(super) fn entry(view: &View, held: &Held<'_>, keys_only: bool) -> Result<KvEntry> {
    let value = match held.value {
        _ if keys_only => Vec::new(),
        Value::Here(bytes) => bytes.to_vec(),
        _ => view.value(held)?.unwrap_or_default().into_owned(),
    };
    Ok(KvEntry { key: text(held.key)?.to_owned(), value, version: VersionToken::of(held.version) })
}

/// A key of the fold.
pub(super) fn text(key: &[u8]) -> Result<&str> {
    std::str::from_utf8(key)
        .map_err(|_| Error::of_caller(ErrorKind::Damaged, "read", "a key is no UTF-8"))
}

/// Entries of a frozen state, in order. An error ends it.
#[derive(Debug)]
pub struct Scan {
    view: Arc<View>,
    bounds: Bounds,
    left: usize,
    reverse: bool,
    keys_only: bool,
    ahead: VecDeque<KvEntry>,
    done: bool,
}

impl Scan {
    pub(super) fn new(view: Arc<View>, options: &ScanOptions) -> Self {
        Self {
            view,
            bounds: options.bounds(),
            left: options.limit,
            reverse: options.reverse,
            keys_only: options.keys_only,
            ahead: VecDeque::new(),
            done: false,
        }
    }

    fn read_ahead(&mut self) -> Result<()> {
        let Self { view, bounds, ahead, .. } = self;
        let from = if self.reverse { bounds.high.as_deref() } else { Some(&bounds.low[..]) };
        let mut walk = view.walk(from, self.reverse)?;
        let wanted = self.left.min(AHEAD);
        let mut bytes = 0_usize;
        loop {
            if ahead.len() >= wanted || bytes >= AHEAD_BYTES {
                break;
            }
            let Some(held) = walk.next()? else {
                self.done = true;
                break;
            };
            let outside = if self.reverse {
                held.key < bounds.low.as_slice()
            } else {
                bounds.above(held.key)
            };
            if outside {
                self.done = true;
                break;
            }
            if !held.value.is_gone() {
                let entry = entry(view, &held, self.keys_only)?;
                bytes = bytes.saturating_add(entry.key.len()).saturating_add(entry.value.len());
                ahead.push_back(entry);
            }
        }
        if let Some(last) = ahead.back() {
            let mut next = last.key.clone().into_bytes();
            if self.reverse {
                bounds.high = Some(next);
            } else {
                next.push(0);
                bounds.low = next;
            }
        }
        self.left = self.left.saturating_sub(ahead.len());
        self.done |= self.left == 0;
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<KvEntry>;

    fn next(&mut self) -> Option<Result<KvEntry>> {
        if self.ahead.is_empty()
            && !self.done
            && let Err(error) = self.read_ahead()
        {
            self.done = true;
            self.ahead.clear();
            return Some(Err(error));
        }
        self.ahead.pop_front().map(Ok)
    }
}
