//! What a chunked file and its part may hold after its writer was killed, by what the writer said.
//!
//! The unit is half a piece: that much is written at once at least. Of each unit it is known which content it *must* have, and
//! which it *may* have: what was being written at the kill, or was never part of a checkpoint that was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::content::{self, Key, PIECES, piece_range};
use super::kill::Ack;

/// Half a piece: twice its number, and one more for the second half.
pub(super) type Unit = u32;
pub(super) const UNITS: Unit = PIECES * 2;
/// Those of a checksummed chunk, which is trusted or not as a whole: those of two pieces.
const CHUNK: u32 = 4;

pub(super) fn unit_range(unit: Unit) -> Range<u64> {
    let (whole, half) = (piece_range(unit / 2), content::half(unit / 2));
    if unit.is_multiple_of(2) { half } else { half.end..whole.end }
}

/// For each unit what it may hold.
pub(super) type Content = Vec<Vec<Key>>;

/// A part: what is filled in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Filling {
    pub(super) generation: u64,
    /// Trusted, with this content.
    pub(super) must: BTreeMap<Unit, Key>,
    /// All contents that a unit can have, if it is trusted at all.
    pub(super) may: BTreeMap<Unit, Vec<Key>>,
    /// What was written as a whole last.
    written: BTreeMap<Unit, Key>,
    /// Pieces that are being written.
    flying: BTreeSet<u32>,
    /// By thread: what its checkpoint, if there is one on its way, makes trusted.
    pending: BTreeMap<u32, BTreeMap<Unit, Key>>,
}

impl Filling {
    fn new(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }

    /// What is known of one whose trusted units hold exactly this.
    pub(super) fn of(generation: u64, must: BTreeMap<Unit, Key>) -> Self {
        let may = must.iter().map(|(unit, key)| (*unit, vec![*key])).collect();
        Self { may, written: must.clone(), must, ..Self::new(generation) }
    }

    /// It was opened again: what is trusted is there, nothing else is known.
    fn opened_again(&mut self) {
        self.written.clone_from(&self.must);
        self.flying.clear();
        self.pending.clear();
    }

    fn writes(&mut self, key: Key) {
        self.flying.insert(key.part);
        // The whole chunk is taken back before it is written to, and trusted again by the next checkpoint.
        let chunk = key.part * 2 / CHUNK * CHUNK;
        for unit in chunk..chunk + CHUNK {
            self.must.remove(&unit);
            for pending in self.pending.values_mut() {
                pending.remove(&unit);
            }
        }
        for unit in units(key.part) {
            self.written.remove(&unit);
            self.may.entry(unit).or_default().push(key);
        }
    }

    fn wrote(&mut self, key: Key) {
        self.flying.remove(&key.part);
        self.written.extend(units(key.part).map(|unit| (unit, key)));
    }

    fn begins_checkpoint(&mut self, writer: u32) {
        // A chunk that somebody writes to is taken by no checkpoint.
        let busy: BTreeSet<u32> = self.flying.iter().map(|piece| piece * 2 / CHUNK).collect();
        let quiet = |unit: &Unit| !busy.contains(&(unit / CHUNK));
        let taken = self.written.iter().filter(|(unit, _)| quiet(unit));
        self.pending.insert(writer, taken.map(|(unit, key)| (*unit, *key)).collect());
    }

    fn ends_checkpoint(&mut self, writer: u32) {
        for (unit, key) in self.pending.remove(&writer).unwrap_or_default() {
            self.must.insert(unit, key);
            self.may.insert(unit, vec![key]);
        }
    }

    /// All of it, as it would be committed now.
    fn content(&self) -> Content {
        let of = |unit| match self.written.get(&unit) {
            Some(key) => vec![*key],
            None => self.may.get(&unit).cloned().unwrap_or_default(),
        };
        (0..UNITS).map(of).collect()
    }
}

fn units(piece: u32) -> Range<Unit> {
    piece * 2..piece * 2 + 2
}

/// The account.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// The file under its name.
    pub(super) target: Option<Content>,
    pub(super) part: Option<Filling>,
    /// What was being committed.
    pub(super) committing: Option<Content>,
}

impl Account {
    /// Takes what the child of this round said next.
    pub(super) fn take(&mut self, round: u32, ack: &Ack) {
        let &Ack { kind, writer, counter: generation, seq } = ack;
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        let key = Key { round, writer, counter: generation, part: low(seq), parts: low(seq >> 32) };
        match (kind, &mut self.part) {
            // Another generation: nothing of this one must stay.
            (b'o', Some(part)) if part.generation != generation => part.must.clear(),
            (b'n', Some(part)) if part.generation == generation => part.opened_again(),
            (b'n', _) => self.part = Some(Filling::new(generation)),
            (b'w', Some(part)) => part.writes(key),
            (b'd', Some(part)) => part.wrote(key),
            (b'c', Some(part)) => part.begins_checkpoint(writer),
            (b'C', Some(part)) => part.ends_checkpoint(writer),
            (b'f', Some(part)) => self.committing = Some(part.content()),
            (b'F', _) => {
                self.target = self.committing.take();
                self.part = None;
            }
            (b'x', Some(part)) => part.must.clear(),
            (b'X', _) => self.part = None,
            (b'r', _) => self.part = Some(self.again(generation)),
            _ => {}
        }
    }

    /// The part of a committed file that was made active again: everything is there, nothing is trusted.
    fn again(&self, generation: u64) -> Filling {
        let mut part = Filling::new(generation);
        for (unit, keys) in (0..).zip(self.target.iter().flatten()) {
            if let &[key] = keys.as_slice() {
                part.written.insert(unit, key);
            }
            part.may.insert(unit, keys.clone());
        }
        part
    }

    /// Whether somebody was in the middle of a checkpoint.
    pub(super) fn in_checkpoint(&self) -> bool {
        self.part.as_ref().is_some_and(|part| !part.pending.is_empty())
    }
}

/// Which of the contents that it may have `bytes`, which begin at `from` of their piece, are.
pub(super) fn which(seed: u64, may: &[Key], bytes: &[u8], from: u64) -> Option<Key> {
    let from = usize::try_from(from).ok()?;
    may.iter().copied().find(|key| {
        let whole = content::piece(seed, *key);
        whole.get(from..).is_some_and(|rest| rest.starts_with(bytes))
    })
}

/// The content of a whole file, if it is one that it may have.
pub(super) fn compare(seed: u64, content: &Content, bytes: &[u8]) -> Result<Content, Unit> {
    let mut found = Vec::new();
    for (unit, may) in (0..).zip(content) {
        let range = unit_range(unit);
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = bytes.get(index(range.start)..index(range.end));
        let from = range.start - piece_range(unit / 2).start;
        let key = bytes.and_then(|bytes| which(seed, may, bytes, from));
        found.push(vec![key.ok_or(unit)?]);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(lines: &[(u8, u32, u32)]) -> Account {
        let mut account = Account::default();
        let mut all = vec![Ack { kind: b'n', writer: 0, counter: 1, seq: 0 }];
        for (number, &(kind, writer, piece)) in (0_u64..).zip(lines) {
            let write = if kind == b'd' { number - 1 } else { number };
            all.push(Ack { kind, writer, counter: 1, seq: write << 32 | u64::from(piece) });
        }
        for ack in &all {
            account.take(0, ack);
        }
        account
    }

    fn must(lines: &[(u8, u32, u32)]) -> Vec<Unit> {
        account(lines).part.unwrap().must.into_keys().collect()
    }

    #[test]
    fn only_an_acknowledged_checkpoint_makes_bytes_that_must_be_there() {
        let written = [(b'w', 0, 0), (b'd', 0, 0)];
        let and = |more: &[(u8, u32, u32)]| must(&[&written, more].concat());
        assert!(and(&[(b'c', 1, 0)]).is_empty());
        assert_eq!(and(&[(b'c', 1, 0), (b'C', 1, 0)]), [0, 1]);
        // A write of the other piece of the chunk, begun before or meanwhile, leaves it open.
        assert!(and(&[(b'w', 1, 1), (b'c', 0, 0), (b'C', 0, 0)]).is_empty());
        assert!(and(&[(b'c', 0, 0), (b'w', 1, 1), (b'C', 0, 0)]).is_empty());
        assert!(and(&[(b'c', 0, 0), (b'C', 0, 0), (b'w', 1, 1)]).is_empty());
        assert_eq!(and(&[(b'c', 0, 0), (b'C', 0, 0), (b'w', 1, 2)]), [0, 1]);
        assert!(and(&[(b'c', 0, 0), (b'C', 0, 0), (b'x', 0, 0)]).is_empty());
    }

    #[test]
    fn what_is_written_over_may_be_either() {
        let lines = [(b'w', 0, 0), (b'd', 0, 0), (b'w', 0, 0)];
        let part = account(&lines).part.unwrap();
        assert_eq!(part.may[&0].iter().map(|key| key.parts).collect::<Vec<_>>(), [0, 2]);
        let trusted = [(b'w', 0, 0), (b'd', 0, 0), (b'c', 0, 0), (b'C', 0, 0)];
        assert_eq!(account(&trusted).part.unwrap().may[&1].len(), 1);
    }

    #[test]
    fn a_file_is_told_by_its_bytes() {
        let key = |part, parts| Key { round: 1, writer: 0, counter: 1, part, parts };
        let content: Content =
            (0..UNITS).map(|unit| vec![key(unit / 2, 0), key(unit / 2, 1)]).collect();
        let mut bytes: Vec<u8> =
            (0..PIECES).flat_map(|piece| content::piece(7, key(piece, 1))).collect();
        assert_eq!(bytes.len() as u64, content::PIECES_LEN);
        let found = compare(7, &content, &bytes).unwrap();
        assert!(found.iter().all(|keys| keys.len() == 1 && keys[0].parts == 1));
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(compare(7, &content, &bytes), Err(UNITS - 1));
        bytes.pop();
        assert_eq!(compare(7, &content, &bytes), Err(UNITS - 1));
    }
}
