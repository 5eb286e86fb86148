//! What must be true of a log after its owner was killed.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use untorn::log::{Log, Upto};

use super::child::{KEEP, log_options};
use super::content::{self, Key, Rng};
use super::kill::{Ack, Findings, Victim};
use crate::exit::{Failure, Result};

pub(super) struct LogVictim {
    dir: PathBuf,
    seed: u64,
    rng: Rng,
    /// What earlier rounds found: an open acknowledged it, so that it must stay.
    kept: BTreeMap<u64, Key>,
}

impl LogVictim {
    pub(super) fn new(work: &std::path::Path, seed: u64) -> Self {
        let rng = Rng::new(seed.wrapping_add(1));
        Self { dir: work.join("log"), seed, rng, kept: BTreeMap::new() }
    }

    /// Reads all records; each must be whole.
    fn read(&self, log: &Log, found: &mut Findings) -> Result<BTreeMap<u64, Key>> {
        let mut there = BTreeMap::new();
        let mut scan = log.read(log.first_seq(), Upto::Durable)?;
        while let Some(record) = scan.next()? {
            match content::verify(self.seed, record.bytes, content::record) {
                Ok(key) => drop(there.insert(record.seq, key)),
                Err(why) => found.tear(&format!("record {}: {why}", record.seq)),
            }
        }
        Ok(there)
    }
}

impl Victim for LogVictim {
    fn name(&self) -> &'static str {
        "log"
    }

    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()> {
        let opened = found.reopened(Log::open(&self.dir, log_options()))?;
        let Some((log, report)) = opened else { return Ok(()) };
        if let Some(healed) = report.healed.filter(|healed| healed.suspect) {
            found.violate(&format!("a kill left what does not look like a torn write: {healed:?}"));
        }
        let there = self.read(&log, found)?;
        for ack in acks.iter().filter(|ack| ack.seq >= report.first_seq) {
            let same = |key: &&Key| {
                (key.round, key.writer, key.counter) == (round, ack.writer, ack.counter)
            };
            if !there.get(&ack.seq).as_ref().is_some_and(same) {
                let instead = there.get(&ack.seq);
                found.lose(&format!("{ack:?} of round {round} is not there, but {instead:?}"));
            }
        }
        for (seq, key) in self.kept.range(report.first_seq..) {
            if there.get(seq) != Some(key) {
                found.lose(&format!(
                    "record {seq}, {key:?}, was there before, and is {:?} now",
                    there.get(seq)
                ));
            }
        }
        let dropped_to = report.first_seq;
        if dropped_to > 1 && dropped_to.saturating_add(KEEP) > report.last_seq.saturating_add(1) {
            found.lose(&format!(
                "the front is at {dropped_to}, too near to the end at {}",
                report.last_seq
            ));
        }
        in_order(&there, found);
        let is_temp = |name: &str| name.ends_with(".untorn-tmp");
        let names = std::fs::read_dir(&self.dir).map_err(|e| Failure::io("list", &self.dir, e))?;
        for name in names.filter_map(std::result::Result::ok) {
            if is_temp(&name.file_name().to_string_lossy()) {
                found.violate(&format!("{} was left after the open", name.path().display()));
            }
        }
        self.kept = there;
        // The next owner finds it closed in order, or dropped without a word.
        if self.rng.below(2) == 0 {
            log.close()?;
        }
        Ok(())
    }

    fn intrude(&mut self, found: &mut Findings) -> Result<()> {
        found.refuse(Log::open(&self.dir, log_options()));
        Ok(())
    }
}

/// Each writer's records stand in the order in which it wrote them, without a gap; a batch is there as a whole.
fn in_order(there: &BTreeMap<u64, Key>, found: &mut Findings) {
    let mut last: HashMap<(u32, u32), u64> = HashMap::new();
    let mut before: Option<(u64, Key)> = None;
    for (&seq, &key) in there {
        let counter = last.insert((key.round, key.writer), key.counter);
        if let Some(counter) = counter.filter(|counter| key.counter != counter + 1) {
            found.violate(&format!(
                "record {seq}, {key:?}, follows counter {counter} of its writer"
            ));
        }
        // What lies before the front is not known; inside, a part follows its neighbour.
        if let Some((at, previous)) = before {
            if seq != at + 1 {
                found.lose(&format!("records {} to {} are missing", at + 1, seq - 1));
            } else if previous.breaks_batch(&key) {
                found.tear(&format!(
                    "record {seq}, {key:?}, follows {previous:?}: a batch is not whole"
                ));
            }
        }
        before = Some((seq, key));
    }
    if let Some((seq, key)) = before.filter(|(_, key)| key.part + 1 < key.parts) {
        found.tear(&format!("the last record {seq}, {key:?}, lacks the rest of its batch"));
    }
}
