//! Goes through the layers of a view as if they were one: where several have a key, the upper one counts.

use std::cmp::Ordering;

use super::base::{Base, BaseIter};
use super::held::{Held, Slot};
use super::tree::{Iter, Tree};
use crate::Result;

/// Entries of all layers in order, lent one at a time.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    trees: [Option<Side<'a>>; 2],
    base: Option<BaseIter<'a>>,
    reverse: bool,
    /// Which layers are at the key that was handed out.
    picked: [bool; 3],
}

#[derive(Debug)]
struct Side<'a> {
    iter: Iter<'a>,
    at: Option<&'a Slot>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        trees: [Option<&'a Tree>; 2],
        base: Option<&'a Base>,
        from: Option<&[u8]>,
        reverse: bool,
    ) -> Result<Self> {
        let side = |tree: &'a Tree| {
            let mut iter = tree.iter(from, reverse);
            let at = iter.next();
            Side { iter, at }
        };
        let base = base.map(|base| BaseIter::new(base, from, reverse)).transpose()?;
        Ok(Self { trees: trees.map(|tree| tree.map(side)), base, reverse, picked: [false; 3] })
    }

    /// The next entry.
    pub(super) fn next(&mut self) -> Result<Option<Held<'_>>> {
        let [first, second, third] = self.picked;
        for (side, picked) in self.trees.iter_mut().zip([first, second]) {
            if let (Some(side), true) = (side, picked) {
                side.at = side.iter.next();
            }
        }
        if let (Some(base), true) = (&mut self.base, third) {
            base.advance()?;
        }
        let [upper, lower] = self.trees.each_ref();
        let in_tree = |side: &'_ Option<Side<'a>>| Some(side.as_ref()?.at?.key());
        let keys = [in_tree(upper), in_tree(lower), self.base.as_ref().and_then(BaseIter::key)];
        let before = if self.reverse { Ordering::Greater } else { Ordering::Less };
        let mut best: Option<&[u8]> = None;
        for key in keys.into_iter().flatten() {
            if best.is_none_or(|best| key.cmp(best) == before) {
                best = Some(key);
            }
        }
        let picked = keys.map(|key| key.is_some() && key == best);
        self.picked = picked;
        let [first, second, third] = picked;
        for (side, picked) in self.trees.iter().zip([first, second]) {
            if let (Some(side), true) = (side, picked) {
                return Ok(side.at.map(Slot::held));
            }
        }
        Ok(self.base.as_ref().filter(|_| third).and_then(BaseIter::held))
    }
}
