//! What must be true of a group of append-only files after their owner was killed.

use std::path::{Path, PathBuf};

use super::append_model::{Model, look, note_of, open, read_some};
use super::content::Rng;
use super::kill::{Ack, Findings, Victim};
use crate::exit::{Failure, Result};

pub(super) struct AppendVictim {
    work: PathBuf,
    seed: u64,
    rng: Rng,
    /// What the last look found: an open acknowledged it, so that it must stay.
    kept: Model,
    note: Option<(u32, u64)>,
}

impl AppendVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Result<Self> {
        let dir = work.join("append");
        std::fs::create_dir(&dir).map_err(|e| Failure::io("make", &dir, e))?;
        let rng = Rng::new(seed.wrapping_add(5));
        Ok(Self { work: work.to_path_buf(), seed, rng, kept: Model::default(), note: None })
    }

    /// What must be there after this commit of this round.
    fn expected(&self, round: u32, last: Option<u64>) -> Model {
        let mut model = self.kept.clone();
        for counter in 0..last.map_or(0, |last| last + 1) {
            let step = model.step(self.seed, round, counter);
            model.apply(&step);
        }
        model
    }

    /// The last commit by the note that is there, compared with what was acknowledged.
    fn last(&self, round: u32, note: &[u8], acks: &[Ack], found: &mut Findings) -> Option<u64> {
        let acked = acks.iter().map(|ack| ack.counter).max();
        let note = note_of(note);
        let last = match note {
            Some((there, counter)) if there == round => Some(counter),
            _ => None,
        };
        if last.is_none() && note != self.note {
            found.lose(&format!("before round {round} was {:?}, and is {note:?}", self.note));
        }
        if acked > last {
            found.lose(&format!("commit {acked:?} of round {round} is not there, but {last:?}"));
        }
        // One may be on its way.
        let more = last.map_or(0, |last| last + 1)
            - acked.map_or(0, |acked| acked + 1).min(last.map_or(0, |last| last + 1));
        if more > 1 {
            found.violate(&format!("{more} commits were made that nobody was told of"));
        }
        last
    }
}

impl Victim for AppendVictim {
    fn name(&self) -> &'static str {
        "append"
    }

    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()> {
        // What the kill left, seen through without healing it.
        let seen = found.seen(look(&self.work), self.note.is_none());
        let Some(group) = found.reopened(open(&self.work))? else { return Ok(()) };
        let last = self.last(round, group.note(), acks, found);
        let expected = self.expected(round, last);
        if let Some(flaw) = expected.compare(&group.snapshot())? {
            found.tear(&format!("after commit {last:?} of round {round}: {flaw}"));
        }
        if let Some(flaw) = seen.map(|seen| expected.compare(&seen)).transpose()?.flatten() {
            found.tear(&format!(
                "a reader without a lock, commit {last:?} of round {round}: {flaw}"
            ));
        }
        (self.kept, self.note) = (expected, note_of(group.note()));
        if self.rng.below(2) == 0 {
            group.close()?;
        }
        Ok(())
    }

    fn intrude(&mut self, found: &mut Findings) -> Result<()> {
        found.refuse(open(&self.work));
        // Who only reads sees elements.
        let seen = look(&self.work).and_then(|seen| read_some(&seen, &mut self.rng));
        found.beside(seen);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::append_model::perform;
    use super::*;

    /// A group with some commits of the round 0, and what was acknowledged of them.
    fn group(work: &Path) -> (AppendVictim, Vec<Ack>) {
        let victim = AppendVictim::new(work, 7).unwrap();
        let mut group = open(work).unwrap();
        let mut model = Model::default();
        let mut acks = Vec::new();
        for counter in 0..40 {
            let step = model.step(7, 0, counter);
            let seq = perform(&mut group, &step, 0, counter).unwrap();
            model.apply(&step);
            acks.push(Ack { kind: b'a', writer: 0, counter, seq });
        }
        (victim, acks)
    }

    fn check(victim: &mut AppendVictim, round: u32, acks: &[Ack]) -> Findings {
        let mut found = Findings::default();
        victim.check(round, acks, &mut found).unwrap();
        found
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = group(dir.path());
        assert!(!check(&mut victim, 0, &acks).failed());
        assert!(!check(&mut victim, 1, &[]).failed());
    }

    #[test]
    fn what_is_missing_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, mut acks) = group(dir.path());
        acks.push(Ack { kind: b'a', writer: 0, counter: 40, seq: 41 });
        assert_eq!(check(&mut victim, 0, &acks).lost, 1);
    }

    #[test]
    fn what_was_never_acknowledged_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, mut acks) = group(dir.path());
        acks.truncate(30);
        assert_eq!(check(&mut victim, 0, &acks).violations, 1);
    }

    #[test]
    fn another_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = group(dir.path());
        assert!(!check(&mut victim, 0, &acks).failed());
        let hash = dir.path().join("append").join("hash");
        let mut bytes = std::fs::read(&hash).unwrap();
        bytes[3] ^= 1;
        std::fs::write(&hash, bytes).unwrap();
        let found = check(&mut victim, 1, &[]);
        assert!(found.failed(), "{:?}", found.texts);
    }
}
