//! An ordered map that is copied in no time: a B+tree whose nodes are shared until one side changes them.
//!
//! # Invariants
//! - T1 Keys ascend in a node, and from node to node. An inner node has for each child a key that is above all keys of the
//!   child before, and not above its own.
//! - T2 All keys of a node begin with the first `skip` bytes of its first one; `heads` are the next eight of each.
//! - T3 A node that a copy of the tree has, too, is copied before it is changed.
//! - T4 The filter knows every key of the tree.

use std::cmp::Ordering;
use std::sync::Arc;

use super::filter::Filter;
use super::held::Slot;
use crate::codec::bytes::{common, head_of};

/// Slots of a node at most.
const FULL: usize = 128;

#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    root: Arc<Node>,
    len: usize,
    filter: Filter,
}

#[derive(Clone, Debug, Default)]
struct Node {
    skip: usize,
    /// Most of a search looks at these alone.
    heads: Vec<u64>,
    slots: Vec<Slot>,
    /// As many as slots; none in a leaf.
    children: Vec<Arc<Self>>,
}

impl Node {
    const fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    fn key(&self, at: usize) -> &[u8] {
        self.slots.get(at).map(Slot::key).unwrap_or_default()
    }

    /// Where the key is, or would be.
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let len = self.slots.len();
        let shared = self.key(0).get(..self.skip).unwrap_or_default();
        let start = key.get(..self.skip).unwrap_or(key);
        match start.cmp(shared) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(len),
            Ordering::Equal => {}
        }
        let head = head_of(key, self.skip);
        let from = self.heads.partition_point(|h| *h < head);
        let same = self.heads.get(from..).unwrap_or_default();
        let same = same.iter().take_while(|h| **h == head).count();
        let to = from.saturating_add(same);
        let slots = self.slots.get(from..to).unwrap_or_default();
        match slots.binary_search_by(|slot| slot.key().cmp(key)) {
            Ok(at) => Ok(from.saturating_add(at)),
            Err(at) => Err(from.saturating_add(at)),
        }
    }

    /// The child that has the key, or would have it.
    fn child_of(&self, key: &[u8]) -> usize {
        match self.find(key) {
            Ok(at) => at,
            Err(at) => at.saturating_sub(1),
        }
    }

    /// Puts a slot, and for an inner node its child, before the one at `at`.
    fn put(&mut self, at: usize, slot: Slot, child: Option<Arc<Self>>) {
        let shared = common(self.key(0), slot.key()).min(self.skip);
        if shared < self.skip {
            self.skip = shared;
            self.take_heads();
        }
        self.heads.insert(at, head_of(slot.key(), self.skip));
        self.slots.insert(at, slot);
        if let Some(child) = child {
            self.children.insert(at, child);
        }
    }

    /// The first child gets a key below all that it had (T1).
    fn lower_first(&mut self, slot: Slot) {
        self.skip = common(self.key(0), slot.key()).min(self.skip);
        if let Some(first) = self.slots.first_mut() {
            *first = slot;
        }
        self.take_heads();
    }

    fn take_heads(&mut self) {
        let skip = self.skip;
        self.heads.clear();
        self.heads.extend(self.slots.iter().map(|slot| head_of(slot.key(), skip)));
    }

    /// T2 as tight as it goes: in ascending order the first and the last key share what all share.
    fn tighten(&mut self) {
        self.skip = common(self.key(0), self.key(self.slots.len().saturating_sub(1)));
        self.take_heads();
    }

    /// Keeps the first slots and returns the others as a node of their own.
    fn split_off(&mut self, at: usize) -> Self {
        let mut right = Self {
            heads: Vec::with_capacity(FULL),
            slots: Vec::with_capacity(FULL),
            ..Self::default()
        };
        right.slots.extend(self.slots.drain(at..));
        if !self.is_leaf() {
            right.children.reserve_exact(FULL);
            right.children.extend(self.children.drain(at..));
        }
        self.tighten();
        right.tighten();
        right
    }

    /// Puts a slot below this node. Returns what it replaced, and the node that must stand behind this one.
    fn insert(&mut self, slot: Slot, fresh: &mut bool) -> Option<Self> {
        if self.is_leaf() {
            match self.find(slot.key()) {
                Ok(at) => {
                    if let Some(old) = self.slots.get_mut(at) {
                        *old = slot;
                    }
                    return None;
                }
                Err(at) => {
                    *fresh = true;
                    self.put(at, slot, None);
                    return self.split_if_full(at);
                }
            }
        }
        let at = self.child_of(slot.key());
        if at == 0 && slot.key() < self.key(0) {
            self.lower_first(slot.clone());
        }
        let child = self.children.get_mut(at)?;
        let behind = Arc::make_mut(child).insert(slot, fresh)?;
        let first = behind.slots.first()?.clone();
        let at = at.saturating_add(1);
        self.put(at, first, Some(Arc::new(behind)));
        self.split_if_full(at)
    }

    /// In the middle; but where keys come in ascending order, such that nodes stay full.
    fn split_if_full(&mut self, put_at: usize) -> Option<Self> {
        let len = self.slots.len();
        if len < FULL {
            return None;
        }
        let last = put_at.saturating_add(1) == len;
        let at = if last { len.saturating_sub(FULL / 8) } else { len / 2 };
        Some(self.split_off(at))
    }
}

impl Tree {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Slot> {
        if !self.filter.may_have(key) {
            return None;
        }
        let mut node = &*self.root;
        while !node.is_leaf() {
            node = node.children.get(node.child_of(key))?;
        }
        node.slots.get(node.find(key).ok()?)
    }

    /// Puts a slot in the place of the one with its key, if there is one.
    pub(super) fn insert(&mut self, slot: Slot) {
        if self.filter.is_full(self.len) {
            let larger = Filter::with_room(self.len);
            self.iter(None, false).for_each(|slot| larger.add(slot.key()));
            self.filter = larger;
        }
        self.filter.add(slot.key());
        let mut fresh = false;
        let root = Arc::make_mut(&mut self.root);
        if let Some(behind) = root.insert(slot, &mut fresh) {
            let left = std::mem::take(root);
            let mut top = Node::default();
            for (at, child) in [left, behind].into_iter().enumerate() {
                if let Some(first) = child.slots.first().cloned() {
                    top.put(at, first, Some(Arc::new(child)));
                }
            }
            top.tighten();
            *root = top;
        }
        if fresh {
            self.len = self.len.saturating_add(1);
        }
    }

    /// From the first key that is not below `from` on; with `reverse` from the last that is below it (or the last one, if there
    /// is no bound) downwards.
    pub(super) fn iter(&self, from: Option<&[u8]>, reverse: bool) -> Iter<'_> {
        let mut iter = Iter { path: Vec::new(), reverse };
        let mut node = &*self.root;
        loop {
            let len = node.slots.len();
            let at = match from {
                None if reverse => len,
                None => 0,
                Some(key) if node.is_leaf() => node.find(key).unwrap_or_else(|at| at),
                Some(key) => node.child_of(key),
            };
            if node.is_leaf() {
                iter.path.push((node, at));
                return iter;
            }
            // The path has for each inner node the child that comes after the one it is in.
            let inside = if from.is_none() && reverse { len.saturating_sub(1) } else { at };
            let next = if reverse { inside } else { inside.saturating_add(1) };
            iter.path.push((node, next));
            match node.children.get(inside) {
                Some(child) => node = child,
                None => return iter,
            }
        }
    }
}

/// Slots in order. Forward, the number beside a node is the next one to visit; in reverse, the one after it.
#[derive(Debug)]
pub(super) struct Iter<'a> {
    path: Vec<(&'a Node, usize)>,
    reverse: bool,
}

impl<'a> Iter<'a> {
    /// The next place in the node at the end of the path; `None` if it is through.
    fn step(&mut self) -> Option<(&'a Node, usize)> {
        let (node, at) = self.path.last_mut()?;
        if self.reverse {
            *at = at.checked_sub(1)?;
            return Some((node, *at));
        }
        let here = *at;
        if here >= node.slots.len() {
            return None;
        }
        *at = here.saturating_add(1);
        Some((node, here))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Slot;

    fn next(&mut self) -> Option<&'a Slot> {
        while !self.path.is_empty() {
            match self.step() {
                None => drop(self.path.pop()),
                Some((node, at)) if node.is_leaf() => return node.slots.get(at),
                Some((node, at)) => {
                    let child: &'a Node = node.children.get(at)?;
                    let start = if self.reverse { child.slots.len() } else { 0 };
                    self.path.push((child, start));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::held::{Held, Value};
    use super::*;

    fn slot(key: &[u8], value: u64) -> Slot {
        let value = value.to_le_bytes();
        Slot::new(&Held { key, version: b"", value: Value::Here(&value) }, &mut Vec::new())
    }

    fn pairs<'a, I: Iterator<Item = &'a Slot>>(iter: I) -> Vec<(Vec<u8>, u64)> {
        let value = |slot: &Slot| match slot.held().value {
            Value::Here(bytes) => u64::from_le_bytes(bytes.try_into().unwrap()),
            other => panic!("{other:?}"),
        };
        iter.map(|slot| (slot.key().to_vec(), value(slot))).collect()
    }

    /// T1 and T2, everywhere. Returns the first key.
    fn sound(node: &Node) -> Vec<u8> {
        let keys: Vec<_> = node.slots.iter().map(|slot| slot.key().to_vec()).collect();
        assert!(keys.is_sorted_by(|a, b| a < b) && keys.len() < FULL);
        for (slot, head) in node.slots.iter().zip(&node.heads) {
            assert!(slot.key().starts_with(&keys[0][..node.skip]));
            assert_eq!(*head, head_of(slot.key(), node.skip));
        }
        let ends = keys.iter().skip(1).map(Some).chain([None]);
        for ((child, from), end) in node.children.iter().zip(&keys).zip(ends) {
            assert!(sound(child) >= *from);
            assert!(end.is_none_or(|end| child.slots.last().unwrap().key() < end.as_slice()));
        }
        keys.into_iter().next().unwrap_or_default()
    }

    fn check(tree: &Tree, model: &BTreeMap<Vec<u8>, u64>) {
        sound(&tree.root);
        let all: Vec<_> = model.iter().map(|(k, v)| (k.clone(), *v)).collect();
        assert_eq!(tree.len(), model.len());
        assert_eq!(pairs(tree.iter(None, false)), all);
        let mut reversed = pairs(tree.iter(None, true));
        reversed.reverse();
        assert_eq!(reversed, all);
    }

    fn random(state: &mut u64) -> u64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// Keys of several shapes: short and nested, with long common beginnings, with zeros at the end.
    fn key(shape: u64, n: u64) -> Vec<u8> {
        match shape % 4 {
            0 => n.to_string().into_bytes(),
            1 => format!("service-{:03}/{n:021}", n % 7).into_bytes(),
            2 => vec![0; usize::try_from(n % 40).unwrap()],
            _ => [&b"same-beginning-of-all-"[..], &n.to_be_bytes()].concat(),
        }
    }

    #[test]
    fn agrees_with_a_map_and_copies_do_not_change() {
        for shape in 0..5 {
            let (mut tree, mut model, mut state) = (Tree::default(), BTreeMap::new(), shape);
            let mut kept = Vec::new();
            for step in 0..20_000 {
                let n = random(&mut state) % 9000;
                let shape = if shape == 4 { n } else { shape };
                let key = key(shape, n);
                tree.insert(slot(&key, step));
                model.insert(key, step);
                if step % 4000 == 7 {
                    kept.push((tree.clone(), model.clone()));
                }
            }
            for (tree, model) in kept.iter().chain([&(tree.clone(), model.clone())]) {
                check(tree, model);
            }
            for n in (0..9200).step_by(3) {
                let key = key(if shape == 4 { n } else { shape }, n);
                let found = pairs(tree.get(&key).into_iter());
                assert_eq!(found.first().map(|(_, v)| v), model.get(&key), "{key:?}");
                let above: Vec<_> =
                    model.range(key.clone()..).take(3).map(|(k, v)| (k.clone(), *v)).collect();
                assert_eq!(pairs(tree.iter(Some(&key), false).take(3)), above);
                let below = model.range(..key.clone()).rev().take(3);
                let below: Vec<_> = below.map(|(k, v)| (k.clone(), *v)).collect();
                assert_eq!(pairs(tree.iter(Some(&key), true).take(3)), below);
            }
        }
    }

    #[test]
    fn ascending_and_descending_keys() {
        for descending in [false, true] {
            let (mut tree, mut model) = (Tree::default(), BTreeMap::new());
            for n in 0..2000_u64 {
                let n = if descending { 2000 - n } else { n };
                let key = n.to_be_bytes().to_vec();
                tree.insert(slot(&key, n));
                model.insert(key, n);
                if n % 97 == 0 {
                    check(&tree, &model);
                }
            }
            check(&tree, &model);
        }
        check(&Tree::default(), &BTreeMap::new());
    }
}
