//! Goes through a base in both directions.

use std::borrow::Cow;

use super::super::held::Held;
use super::Base;
use super::block::Page;
use crate::Result;

/// Entries in order, lent one at a time.
#[derive(Debug)]
pub(in super::super) struct BaseIter<'a> {
    base: &'a Base,
    reverse: bool,
    block: usize,
    bytes: Cow<'a, [u8]>,
    page: Page,
    /// The entry that is at hand; `None` before the beginning and after the end.
    at: Option<usize>,
}

impl<'a> BaseIter<'a> {
    /// At the first key that is not below `from`; with `reverse` at the last that is below it, or the last of all.
    pub(in super::super) fn new(
        base: &'a Base,
        from: Option<&[u8]>,
        reverse: bool,
    ) -> Result<Self> {
        let (bytes, page) = (Cow::default(), Page::default());
        let mut iter = Self { base, reverse, block: 0, bytes, page, at: None };
        let Some(last) = base.blocks().checked_sub(1) else { return Ok(iter) };
        let block = match from {
            Some(key) => base.index.block_of(key),
            None if reverse => Some(last),
            None => Some(0),
        };
        if block.is_none() && reverse {
            return Ok(iter);
        }
        iter.load(block.unwrap_or(0))?;
        let before = match from {
            Some(key) => iter.position(key),
            None if reverse => iter.page.len(),
            None => 0,
        };
        if reverse {
            iter.at = Some(before);
            iter.advance()?;
        } else {
            iter.at = Some(before);
            iter.go_on()?;
        }
        Ok(iter)
    }

    /// How many keys of the page are below `key`.
    fn position(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.page.len());
        while low < high {
            let middle = low.midpoint(high);
            let below = self.page.key(middle).is_some_and(|at| at < key);
            if below { low = middle.saturating_add(1) } else { high = middle }
        }
        low
    }

    fn load(&mut self, nth: usize) -> Result<()> {
        self.block = nth;
        self.bytes = self.base.block(nth)?;
        self.page.take(&self.bytes).ok_or_else(|| self.base.makes_no_sense(nth))
    }

    /// The entry at hand.
    pub(in super::super) fn held(&self) -> Option<Held<'_>> {
        self.page.get(&self.bytes, self.at?)
    }

    /// Its key.
    pub(in super::super) fn key(&self) -> Option<&[u8]> {
        self.page.key(self.at?)
    }

    /// Goes to the next entry.
    pub(in super::super) fn advance(&mut self) -> Result<()> {
        let Some(at) = self.at else { return Ok(()) };
        if !self.reverse {
            self.at = Some(at.saturating_add(1));
            return self.go_on();
        }
        if let Some(before) = at.checked_sub(1) {
            self.at = Some(before);
            return Ok(());
        }
        self.at = None;
        while let Some(block) = self.block.checked_sub(1) {
            self.load(block)?;
            if let Some(last) = self.page.len().checked_sub(1) {
                self.at = Some(last);
                return Ok(());
            }
        }
        Ok(())
    }

    /// To the next block, where this one is through.
    fn go_on(&mut self) -> Result<()> {
        while self.at.is_some_and(|at| at >= self.page.len()) {
            let next = self.block.saturating_add(1);
            if next >= self.base.blocks() {
                self.at = None;
                break;
            }
            self.load(next)?;
            self.at = Some(0);
        }
        Ok(())
    }
}
