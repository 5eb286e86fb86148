//! What must be true of a journal after its owner was killed.

use std::fs;
use std::path::{Path, PathBuf};

use untorn::journal::{self, Journal, RecoveryReport};
use untorn::{Error, ErrorKind};

use super::child::WRITERS;
use super::child_journal::{IN_FLIGHT, options};
use super::content::{self, Key, Rng};
use super::kill::{Ack, Findings, Victim};
use super::memory::{Memory, Sum};
use crate::exit::{Failure, Result};

pub(super) struct JournalVictim {
    dir: PathBuf,
    seed: u64,
    rng: Rng,
    /// What the last look found: an open acknowledged it, so that it must stay.
    kept: Sum,
}

impl JournalVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Self {
        let rng = Rng::new(seed.wrapping_add(2));
        Self { dir: work.join("journal"), seed, rng, kept: Sum::default() }
    }

    /// The temporaries in the journal's directories.
    fn temporaries(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for dir in [self.dir.clone(), self.dir.join("snap"), self.dir.join("log")] {
            let names = match fs::read_dir(&dir) {
                Ok(names) => names,
                // Killed before it was made.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Failure::io("list", &dir, e)),
            };
            for entry in names {
                let path = entry.map_err(|e| Failure::io("list", &dir, e))?.path();
                if path.to_string_lossy().ends_with(".untorn-tmp") {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// What the kill left, before anybody heals it: nothing in it may look like damage.
    fn verify(&self, found: &mut Findings) {
        match journal::verify(&self.dir) {
            Ok(report) if report.is_sound() && report.opens() => {}
            Ok(report) => found.violate(&format!("a kill left what looks damaged: {report:?}")),
            Err(e) if e.kind() == ErrorKind::NotFound && self.kept == Sum::default() => {}
            Err(e) => found.violate(&format!("a kill left what does not verify: {e}")),
        }
    }

    /// Compares the recovered state with what was acknowledged in this round, and with what was there before it.
    fn compare(&self, round: u32, memory: &Memory, acks: &[Ack], found: &mut Findings) {
        for flaw in &memory.flaws {
            found.tear(flaw);
        }
        for writer in 0..WRITERS {
            let there = memory.of(round, writer);
            let mut acked = 0;
            for ack in acks.iter().filter(|ack| ack.writer == writer) {
                acked = acked.max(ack.counter + 1);
                let at = usize::try_from(ack.counter).ok().and_then(|at| there.get(at));
                if at != Some(&ack.seq) {
                    found.lose(&format!("{ack:?} of round {round} is not there, but {at:?}"));
                }
            }
            let more = (there.len() as u64).saturating_sub(acked);
            if more > IN_FLIGHT {
                found.violate(&format!("{more} events of the writer {writer} were never logged"));
            }
        }
        let before = if memory.round == round { memory.before } else { memory.sum };
        if before != self.kept {
            let kept = self.kept;
            found.lose(&format!("before round {round} was {kept:?}, and is {before:?} now"));
        }
        if memory.round > round {
            found.violate(&format!("there are events of round {}, before it", memory.round));
        }
        if let Some(key) = memory.newest.filter(|key| key.part + 1 < key.parts) {
            found.tear(&format!("the newest event, {key:?}, lacks the rest of its batch"));
        }
        self.last_events(memory, found);
    }

    /// The bytes that the state holds are those of the events that it says it has.
    fn last_events(&self, memory: &Memory, found: &mut Findings) {
        for (at, writer) in (0..).zip(&memory.writers) {
            let Some(count) = writer.seqs.len().checked_sub(1) else { continue };
            let is = |key: &Key| {
                (key.round, key.writer, key.counter) == (memory.round, at, count as u64)
            };
            match content::verify(self.seed, &writer.last, content::record) {
                Ok(key) if is(&key) => {}
                Ok(key) => found.violate(&format!("the last event of writer {at} is {key:?}")),
                Err(why) => found.tear(&format!("the last event of writer {at}: {why}")),
            }
        }
    }

    fn recovered(report: &RecoveryReport, memory: &Memory, found: &mut Findings) {
        if let Some(healed) = report.log.healed.as_ref().filter(|healed| healed.suspect) {
            found.violate(&format!("a kill left what does not look like a torn write: {healed:?}"));
        }
        for (path, error) in &report.skipped {
            found.tear(&format!("{} does not verify: {error}", path.display()));
        }
        if memory.sum.events != report.log.last_seq {
            let (events, last) = (memory.sum.events, report.log.last_seq);
            found.violate(&format!("the state has {events} events, the log ends at {last}"));
        }
    }
}

impl Victim for JournalVictim {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()> {
        let begun = self.temporaries()?;
        found.in_checkpoint +=
            u64::from(begun.iter().any(|path| path.to_string_lossy().contains(".snap.")));
        self.verify(found);
        let opened = Journal::open(&self.dir, Memory::new(self.seed), options());
        let (journal, report) = match opened {
            Ok(opened) => opened,
            Err(e) if e.kind() == ErrorKind::NoSpace => return Err(e.into()),
            Err(e) => {
                found.violate(&format!("the journal does not open: {e}"));
                return Ok(());
            }
        };
        self.kept = journal.read(|memory| {
            Self::recovered(&report, memory, found);
            self.compare(round, memory, acks, found);
            memory.sum
        })?;
        for path in self.temporaries()? {
            found.violate(&format!("{} was left after the open", path.display()));
        }
        // The next owner finds it with a snapshot of everything, closed in order, or dropped without a word.
        if self.rng.below(8) == 0 {
            journal.checkpoint()?;
        }
        if self.rng.below(2) == 0 {
            journal.close()?;
        }
        Ok(())
    }

    fn intrude(&mut self, found: &mut Findings) -> Result<()> {
        let memory = || Memory::new(self.seed);
        let refused = |opened: std::result::Result<(), Error>| opened.err().map(|e| e.kind());
        let owner = Journal::open(&self.dir, memory(), options()).map(drop);
        match refused(owner) {
            Some(ErrorKind::Locked) => found.refused += 1,
            other => found.violate(&format!("a second owner got {other:?}, not Locked")),
        }
        // Who only reads is no intruder, and sees a state without a flaw.
        match Journal::open_read_only(&self.dir, memory(), options()) {
            Ok(reader) => reader.state().flaws.iter().for_each(|flaw| found.tear(flaw)),
            Err(e) => found.violate(&format!("a reader beside the stopped owner: {e}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal with three events of the round 0, and what was acknowledged of them.
    fn journal(dir: &Path) -> (JournalVictim, Vec<Ack>) {
        let victim = JournalVictim::new(dir, 7);
        let (journal, _) = Journal::open(&victim.dir, Memory::new(7), options()).unwrap();
        let mut acks = Vec::new();
        for (writer, counter) in [(0, 0), (1, 0), (0, 1)] {
            let key = Key { round: 0, writer, counter, part: 0, parts: 1 };
            let seq = journal.commit(content::record(7, key)).unwrap();
            acks.push(Ack { kind: b'a', writer, counter, seq });
        }
        (victim, acks)
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = journal(dir.path());
        let mut found = Findings::default();
        victim.check(0, &acks, &mut found).unwrap();
        victim.check(1, &[], &mut found).unwrap();
        assert!(!found.failed(), "{:?}", found.texts);
    }

    #[test]
    fn what_is_missing_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, mut acks) = journal(dir.path());
        let look = |victim: &mut JournalVictim, round, acks: &[Ack]| {
            let mut found = Findings::default();
            victim.check(round, acks, &mut found).unwrap();
            found
        };
        let afresh = |acks: &[Ack]| look(&mut JournalVictim::new(dir.path(), 7), 0, acks);
        // One event more than there is; one with another number.
        acks.push(Ack { kind: b'a', writer: 2, counter: 0, seq: 4 });
        assert_eq!(afresh(&acks).lost, 1);
        acks.pop();
        acks[0].seq = 2;
        assert_eq!(afresh(&acks).lost, 1);
        acks[0].seq = 1;
        assert!(!look(&mut victim, 0, &acks).failed());
        // What was there in the round before is gone.
        fs::remove_dir_all(&victim.dir).unwrap();
        let found = look(&mut victim, 1, &[]);
        assert_eq!((found.lost, found.violations), (1, 1), "{:?}", found.texts);
    }
}
