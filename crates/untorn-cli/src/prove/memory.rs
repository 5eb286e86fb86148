//! The state that the journal keeps in the kill loop: it remembers every event, so that whoever recovers it can tell what is missing.
//!
//! The events of the newest round are remembered one by one, older ones by their number and a hash over all of them: the
//! state stays small however often it is killed.

use serde::{Deserialize, Serialize};
use untorn::codec::{Codec, Raw, refused};
use untorn::journal::Machine;

use super::child::WRITERS;
use super::content::{self, Key, Rng};

/// Flaws in words, at most: the first one tells.
const FLAWS_MAX: usize = 8;

/// How many events there were, and a hash over all of them in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) events: u64,
    pub(super) hash: u64,
}

/// What a writer did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Writer {
    /// The numbers of its events of this round, by their counters.
    pub(super) seqs: Vec<u64>,
    /// Its last event: gives the state a size that changes.
    #[serde(skip)]
    pub(super) last: Vec<u8>,
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    seed: u64,
    pub(super) sum: Sum,
    /// The round of the newest event.
    pub(super) round: u32,
    /// What was there before the first event of that round.
    pub(super) before: Sum,
    pub(super) writers: Vec<Writer>,
    /// The newest event.
    pub(super) newest: Option<Key>,
    /// What must not be: an event that is torn, doubled or out of its order.
    pub(super) flaws: Vec<String>,
}

impl Memory {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            sum: Sum::default(),
            round: 0,
            before: Sum::default(),
            writers: vec![Writer::default(); WRITERS as usize],
            newest: None,
            flaws: Vec::new(),
        }
    }

    /// The events of a writer in a round, as far as they are remembered one by one.
    pub(super) fn of(&self, round: u32, writer: u32) -> &[u64] {
        let writer = self.writers.get(writer as usize).filter(|_| self.round == round);
        writer.map_or(&[], |writer| &writer.seqs)
    }

    fn flaw(&mut self, seq: u64, why: &str) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(format!("event {seq}: {why}"));
        }
    }

    fn take(&mut self, seq: u64, key: Key, bytes: &[u8]) {
        if key.round > self.round {
            (self.round, self.before) = (key.round, self.sum);
            self.writers.fill(Writer::default());
        } else if key.round < self.round {
            self.flaw(seq, &format!("{key:?} comes after the round {}", self.round));
            return;
        }
        if seq != self.sum.events + 1 {
            self.flaw(seq, &format!("it follows {} events", self.sum.events));
        }
        if self.newest.is_some_and(|newest| newest.breaks_batch(&key)) {
            self.flaw(seq, &format!("{key:?} follows {:?}: a batch is not whole", self.newest));
        }
        let Some(writer) = self.writers.get_mut(key.writer as usize) else {
            return self.flaw(seq, &format!("{key:?} is of nobody"));
        };
        let expected = writer.seqs.len() as u64;
        writer.seqs.push(seq);
        writer.last.clear();
        writer.last.extend_from_slice(bytes);
        if key.counter != expected {
            self.flaw(seq, &format!("{key:?} is the event {expected} of its writer"));
        }
    }
}

impl Machine for Memory {
    type Event = Vec<u8>;
    type View = Self;
    type EventCodec = Raw;
    type ViewCodec = MemoryCodec;
    const NAME: &'static str = "untorn-prove";
    const VERSION: u32 = 1;

    fn apply(&mut self, seq: u64, event: &Vec<u8>) {
        match content::verify(self.seed, event, content::record) {
            Ok(key) => {
                self.take(seq, key, event);
                self.newest = Some(key);
                self.sum.hash = [seq, u64::from(key.round), u64::from(key.writer), key.counter]
                    .into_iter()
                    .fold(self.sum.hash, |hash, part| Rng::new(hash ^ part).next());
            }
            Err(why) => self.flaw(seq, &why),
        }
        self.sum.events += 1;
    }

    fn capture(&self) -> Self {
        self.clone()
    }

    fn restore(view: Self) -> Result<Self, String> {
        if view.writers.len() == WRITERS as usize {
            return Ok(view);
        }
        Err(format!("a state of {} writers", view.writers.len()))
    }

    fn digest(&self) -> Option<u64> {
        Some(self.sum.hash)
    }
}

/// A line of JSON with everything but the writers' last events; then these, each after its length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MemoryCodec;

impl Codec<Memory> for MemoryCodec {
    const NAME: &'static str = "prove-memory";

    fn encode(&self, memory: &Memory, out: &mut Vec<u8>) -> untorn::Result<()> {
        let line = serde_json::to_string(memory);
        let line = line.map_err(|_| refused(self_name(), "it has no form in JSON"))?;
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        for writer in &memory.writers {
            out.extend_from_slice(&(writer.last.len() as u64).to_le_bytes());
            out.extend_from_slice(&writer.last);
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> untorn::Result<Memory> {
        decode(bytes).ok_or_else(|| refused(self_name(), "it is no state of the kill loop"))
    }
}

const fn self_name() -> &'static str {
    <MemoryCodec as Codec<Memory>>::NAME
}

fn decode(bytes: &[u8]) -> Option<Memory> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, mut rest) = bytes.split_at(end);
    rest = rest.get(1..)?;
    let mut memory: Memory = serde_json::from_slice(line).ok()?;
    for writer in &mut memory.writers {
        let (len, after) = rest.split_first_chunk::<8>()?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        let (last, after) = after.split_at_checked(len)?;
        writer.last = last.to_vec();
        rest = after;
    }
    rest.is_empty().then_some(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(writer: u32, counter: u64) -> Vec<u8> {
        content::record(7, Key { round: 0, writer, counter, part: 0, parts: 1 })
    }

    fn after(events: &[Vec<u8>]) -> Memory {
        let mut memory = Memory::new(7);
        for (seq, event) in (1..).zip(events) {
            memory.apply(seq, event);
        }
        memory
    }

    #[test]
    fn a_state_survives_its_own_bytes() {
        let memory = after(&[event(0, 0), event(3, 0), event(0, 1)]);
        let mut bytes = Vec::new();
        MemoryCodec.encode(&memory, &mut bytes).unwrap();
        assert_eq!(MemoryCodec.decode(&bytes).unwrap(), memory);
        assert!(MemoryCodec.decode(&bytes[..bytes.len() - 1]).is_err());
        assert_eq!(memory.flaws, [""; 0]);
        assert_eq!(memory.of(0, 0), [1, 3]);
    }

    #[test]
    fn lost_doubled_swapped_and_torn_events_are_flaws() {
        let mut torn = event(0, 1);
        *torn.last_mut().unwrap() ^= 1;
        for events in [
            [event(0, 0), event(0, 2)],
            [event(0, 0), event(0, 0)],
            [event(0, 1), event(0, 0)],
            [event(0, 0), torn],
        ] {
            assert!(!after(&events).flaws.is_empty());
        }
        let mut memory = after(&[event(0, 0)]);
        memory.apply(1, &event(1, 0));
        assert!(!memory.flaws.is_empty(), "a number that was there");
        let first = Key { round: 0, writer: 0, counter: 0, part: 0, parts: 2 };
        assert!(!after(&[content::record(7, first), event(1, 0)]).flaws.is_empty(), "half a batch");
    }
}
