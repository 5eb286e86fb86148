//! What a path has, by its manifest: objects, the loose set, named sets. What is staged is marked in the same entries.
//!
//! # Invariants
//! - T1 What a commit does to the table is what its record says, by the same code that an open replays it with.
//! - T2 An object is listed while the loose set or a named one has it. After a record, what nothing lists is not in the path.
//! - T3 A record that does not fit the table is an error, and the table is void then.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::record::{self, Item, Opened, Replace, Step, Writer};
use crate::codec::checksum::crc32;
use crate::pool::batch::{Meta, framed_len};

const KEY: usize = 16;

/// Where an object's frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file of its own.
    Own,
    /// In a segment, from this offset on.
    Segment { number: u64, at: u64 },
}

/// What the manifest says of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) place: Place,
    pub(super) meta: Meta,
    /// Length as it is stored.
    pub(super) stored: u64,
    /// Of the stored bytes, without a seed.
    pub(super) crc: u32,
}

impl Listed {
    /// Bytes of its frame.
    pub(super) fn framed(&self) -> u64 {
        usize::try_from(self.stored).map_or(u64::MAX, |len| framed_len(len) as u64)
    }
}

/// An object, and who wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) object: Listed,
    /// Whether the loose set lists it, as committed.
    pub(super) loose: bool,
    /// How many named sets list it.
    pub(super) sets: u32,
    /// Whether the loose set is to list it after the next commit, if that is a change.
    pub(super) want: Option<bool>,
    /// A commit that is under way adds it.
    pub(super) committing: bool,
    /// Registrations.
    pub(super) holds: u32,
}

impl Entry {
    pub(super) const fn new(object: Listed) -> Self {
        Self { object, loose: false, sets: 0, want: None, committing: false, holds: 0 }
    }

    /// Whether the manifest lists it.
    pub(super) const fn is_listed(&self) -> bool {
        self.loose || self.sets > 0
    }

    /// Whether the path has it, with what is staged.
    pub(super) fn is_there(&self) -> bool {
        self.sets > 0 || self.want.unwrap_or(self.loose)
    }

    /// Whether nothing wants it any more.
    pub(super) fn is_free(&self) -> bool {
        !self.is_listed() && self.want != Some(true) && !self.committing && self.holds == 0
    }
}

/// A named set.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) keys: Vec<Uuid>,
    pub(super) meta: Vec<u8>,
    pub(super) id: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) objects: HashMap<Uuid, Entry>,
    pub(super) sets: BTreeMap<String, Named>,
    /// The number of the last checkpoint.
    pub(super) last_id: u64,
}

/// Why a record does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It makes no sense here.
    Bad(&'static str),
    Newer,
}

impl Table {
    /// Does what a record says; returns what nothing lists any more, which stays in the table (T2).
    pub(super) fn apply(&mut self, bytes: &[u8]) -> Result<Vec<Uuid>, Misfit> {
        let mut items = match record::open(bytes) {
            Some(Opened::Items(items)) => items,
            Some(Opened::Newer) => return Err(Misfit::Newer),
            None => return Err(Misfit::Bad("it is no record of a path")),
        };
        let mut touched = Vec::new();
        while let Some(item) = items.next().map_err(|()| Misfit::Bad("it does not parse"))? {
            self.take(item, &mut touched).map_err(Misfit::Bad)?;
        }
        touched.retain(|key| self.objects.get(key).is_some_and(|entry| !entry.is_listed()));
        Ok(touched)
    }

    /// As an open does it, of a table in which nothing is staged.
    pub(super) fn replay(&mut self, bytes: &[u8], full: bool) -> Result<(), Misfit> {
        if full {
            *self = Self::default();
        }
        for key in self.apply(bytes)? {
            self.objects.remove(&key);
        }
        Ok(())
    }

    fn entry(&mut self, key: Uuid) -> Result<&mut Entry, &'static str> {
        self.objects.get_mut(&key).ok_or("it speaks of an object that is not there")
    }

    fn take(&mut self, item: Item<'_>, touched: &mut Vec<Uuid>) -> Result<(), &'static str> {
        match item {
            Item::Object { key, object, loose } => {
                let entry = self.objects.entry(key).or_insert(Entry::new(object));
                if entry.is_listed() {
                    return Err("it adds an object that is there");
                }
                entry.object = object;
                entry.loose = loose;
                touched.push(key);
            }
            Item::Loose(key) => self.entry(key)?.loose = true,
            Item::Unloose(key) => {
                self.entry(key)?.loose = false;
                touched.push(key);
            }
            Item::Replace(replace) => self.replace(&replace, touched)?,
            Item::Drop(name) => {
                let set = self.sets.remove(name).ok_or("it drops a set that is not there")?;
                self.unlist(set.keys, touched)?;
            }
            Item::Moved { key, place } => self.entry(key)?.object.place = place,
            Item::LastId(id) => self.last_id = self.last_id.max(id),
        }
        Ok(())
    }

    fn unlist(&mut self, keys: Vec<Uuid>, touched: &mut Vec<Uuid>) -> Result<(), &'static str> {
        for key in keys {
            let entry = self.entry(key)?;
            entry.sets = entry.sets.saturating_sub(1);
            touched.push(key);
        }
        Ok(())
    }

    fn replace(
        &mut self,
        replace: &Replace<'_>,
        touched: &mut Vec<Uuid>,
    ) -> Result<(), &'static str> {
        let old = self.sets.remove(replace.name).unwrap_or_default();
        let mut kept = vec![false; old.keys.len()];
        let mut keys: Vec<Uuid> = Vec::new();
        for step in &replace.steps {
            match *step {
                Step::Copy { from, len } => {
                    let range = usize::try_from(from).ok().zip(usize::try_from(len).ok());
                    let range = range.and_then(|(from, len)| Some(from..from.checked_add(len)?));
                    let range = range.ok_or("it takes keys that are not in the set before")?;
                    let (Some(copied), Some(marks)) =
                        (old.keys.get(range.clone()), kept.get_mut(range))
                    else {
                        return Err("it takes keys that are not in the set before");
                    };
                    if marks.contains(&true) {
                        return Err("it takes a key of the set before twice");
                    }
                    marks.fill(true);
                    keys.extend_from_slice(copied);
                }
                Step::New(bytes) => {
                    let (new, _) = bytes.as_chunks::<KEY>();
                    for key in new.iter().map(|key| Uuid::from_bytes(*key)) {
                        let entry = self.entry(key)?;
                        entry.sets = entry.sets.saturating_add(1);
                        keys.push(key);
                    }
                }
            }
        }
        if keys.len() as u64 != replace.count || digest(&keys) != replace.digest {
            return Err("its set does not come out as it says");
        }
        let gone = old.keys.into_iter().zip(kept).filter(|(_, kept)| !kept).map(|(key, _)| key);
        self.unlist(gone.collect(), touched)?;
        self.last_id = self.last_id.max(replace.id);
        let set = Named { keys, meta: replace.meta.to_vec(), id: replace.id };
        self.sets.insert(replace.name.to_owned(), set);
        Ok(())
    }

    /// The record that makes the table out of nothing. Without what is staged.
    pub(super) fn full(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.last_id(self.last_id);
        let mut listed: Vec<_> =
            self.objects.iter().filter(|(_, entry)| entry.is_listed()).collect();
        // The same state is the same bytes.
        listed.sort_unstable_by_key(|(key, _)| **key);
        for (key, entry) in listed {
            out.object(*key, &entry.object, entry.loose);
        }
        for (name, set) in &self.sets {
            let bytes = flat(&set.keys);
            let steps = vec![Step::New(&bytes)];
            out.replace(&Replace { steps, ..header(name, set.id, &set.meta, &set.keys) });
        }
        out.bytes()
    }

    /// Writes the difference that makes `keys` the set `name`; false if a key comes twice.
    pub(super) fn put_set(
        &self,
        out: &mut Writer,
        (name, id): (&str, u64),
        keys: &[Uuid],
        meta: &[u8],
    ) -> bool {
        let old = self.sets.get(name).map(|set| &*set.keys).unwrap_or_default();
        let places: HashMap<Uuid, u64> = old.iter().copied().zip(0..).collect();
        let mut seen = HashSet::with_capacity(keys.len());
        if !keys.iter().all(|key| seen.insert(*key)) {
            return false;
        }
        let bytes = flat(keys);
        // Each is a stretch of `keys`, which is new or begins at an index of the old ones.
        let mut steps: Vec<(Option<u64>, usize, usize)> = Vec::new();
        for (nth, key) in keys.iter().enumerate() {
            let from = places.get(key).copied();
            match (steps.last_mut(), from) {
                (Some((None, _, len)), None) => *len = len.saturating_add(1),
                (Some((Some(start), _, len)), Some(from))
                    if start.saturating_add(*len as u64) == from =>
                {
                    *len = len.saturating_add(1);
                }
                _ => steps.push((from, nth, 1)),
            }
        }
        let step = |(from, nth, len): (Option<u64>, usize, usize)| {
            if let Some(from) = from {
                return Step::Copy { from, len: len as u64 };
            }
            let start = nth.saturating_mul(KEY);
            let end = start.saturating_add(len.saturating_mul(KEY));
            Step::New(bytes.get(start..end).unwrap_or_default())
        };
        let steps = steps.into_iter().map(step).collect();
        out.replace(&Replace { steps, ..header(name, id, meta, keys) });
        true
    }
}

fn header<'a>(name: &'a str, id: u64, meta: &'a [u8], keys: &[Uuid]) -> Replace<'a> {
    let (count, digest) = (keys.len() as u64, digest(keys));
    Replace { name, id, meta, count, digest, steps: Vec::new() }
}

fn flat(keys: &[Uuid]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(keys.len().saturating_mul(KEY));
    for key in keys {
        bytes.extend_from_slice(key.as_bytes());
    }
    bytes
}

/// By which a set is known to be what a record meant.
fn digest(keys: &[Uuid]) -> u32 {
    keys.iter().fold(0, |crc, key| crc32(key.as_bytes(), crc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Uuid {
        Uuid::from_u128(u128::from(n))
    }

    fn listed() -> Listed {
        Listed { place: Place::Own, meta: Meta::default(), stored: 1, crc: 0 }
    }

    /// A table of objects in the loose set.
    fn table(count: u64) -> Table {
        let mut out = Writer::new();
        (0..count).for_each(|n| out.object(key(n), &listed(), true));
        let mut table = Table::default();
        assert_eq!(table.apply(&out.bytes()), Ok(vec![]));
        table
    }

    fn checkpoint(table: &mut Table, id: u64, of: &[u64]) -> usize {
        let keys: Vec<Uuid> = of.iter().map(|n| key(*n)).collect();
        let mut out = Writer::new();
        assert!(table.put_set(&mut out, ("set", id), &keys, b"meta"));
        let bytes = out.bytes();
        table.replay(&bytes, false).unwrap();
        assert_eq!((&table.sets["set"].keys, table.sets["set"].id), (&keys, id));
        let refs = |n: u64| table.objects.get(&key(n)).map_or(0, |entry| entry.sets);
        assert!((0..64).all(|n| refs(n) == u32::from(of.contains(&n))));
        let mut again = Table::default();
        again.replay(&table.full(), true).unwrap();
        assert_eq!(again.full(), table.full());
        bytes.len()
    }

    #[test]
    fn sets_come_back_in_their_order_by_differences() {
        let mut table = table(64);
        let all: Vec<u64> = (0..60).collect();
        let whole = checkpoint(&mut table, 1, &all);
        assert!(checkpoint(&mut table, 2, &all) < 40 && whole > 900);
        let changed: Vec<u64> = (0..60).map(|n| if n == 30 { 61 } else { n }).collect();
        assert!(checkpoint(&mut table, 3, &changed) < 60);
        let back: Vec<u64> = (0..60).rev().collect();
        checkpoint(&mut table, 4, &back);
        checkpoint(&mut table, 5, &[5, 9, 7, 63, 1, 62]);
        checkpoint(&mut table, 6, &[]);
        assert_eq!(table.objects.len(), 64);
        let mut twice = Writer::new();
        assert!(!table.put_set(&mut twice, ("set", 7), &[key(1), key(1)], b""));
    }

    #[test]
    fn what_nothing_lists_is_gone_after_the_record_and_not_before() {
        let mut table = table(2);
        let mut out = Writer::new();
        out.unloose(key(0));
        out.unloose(key(1));
        out.object(key(5), &listed(), false);
        assert!(table.put_set(&mut out, ("a", 1), &[key(0), key(5)], b""));
        assert_eq!(table.apply(&out.bytes()), Ok(vec![key(1)]));
        let mut out = Writer::new();
        out.drop_set("a");
        assert_eq!(table.apply(&out.bytes()), Ok(vec![key(0), key(5)]));
        assert_eq!(table.last_id, 1);
        let mut again = Table::default();
        again.replay(&table.full(), true).unwrap();
        assert_eq!((again.last_id, again.objects.len()), (1, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bad = |write: &dyn Fn(&mut Writer)| {
            let mut out = Writer::new();
            write(&mut out);
            let mut table = table(3);
            checkpoint(&mut table, 1, &[0, 1]);
            assert!(matches!(table.apply(&out.bytes()), Err(Misfit::Bad(_))));
        };
        let set = |steps: Vec<Step<'static>>, count| {
            move |out: &mut Writer| {
                let keys: Vec<Uuid> = (0..count).map(key).collect();
                let steps = steps.clone();
                out.replace(&Replace { steps, ..header("set", 2, b"", &keys) });
            }
        };
        bad(&|out| out.object(key(1), &listed(), false));
        bad(&|out| out.loose(key(9)));
        bad(&|out| out.unloose(key(9)));
        bad(&|out| out.moved(key(9), Place::Own));
        bad(&|out| out.drop_set("other"));
        bad(&set(vec![Step::Copy { from: 1, len: 2 }], 2));
        bad(&set(vec![Step::Copy { from: u64::MAX, len: 2 }], 2));
        bad(&set(vec![Step::Copy { from: 0, len: 1 }, Step::Copy { from: 0, len: 1 }], 2));
        bad(&set(vec![Step::New(&[9; 16])], 1));
        bad(&set(vec![Step::Copy { from: 0, len: 1 }], 2));
        bad(&set(vec![Step::Copy { from: 1, len: 1 }, Step::Copy { from: 0, len: 1 }], 2));
        assert_eq!(Table::default().apply(&[9]), Err(Misfit::Newer));
    }
}
