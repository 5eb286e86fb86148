//! What must be true of a fold after its owner was killed.

use std::path::{Path, PathBuf};

use untorn::fold::SnapshotStore as _;

use super::content::Rng;
use super::fold_model::{Model, look, number, open, read_some};
use super::kill::{Ack, Findings, Victim, names};
use crate::exit::Result;

pub(super) struct FoldVictim {
    work: PathBuf,
    seed: u64,
    rng: Rng,
    /// What the last look found: an open acknowledged it, so that it must stay.
    kept: Model,
}

impl FoldVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Self {
        let rng = Rng::new(seed.wrapping_add(6));
        Self { work: work.to_path_buf(), seed, rng, kept: Model::default() }
    }

    /// The bases that are in the making, or that nobody made an end of.
    fn begun(&self) -> Result<usize> {
        let dir = self.work.join("fold");
        if !dir.is_dir() {
            return Ok(0);
        }
        Ok(names(&dir)?.iter().filter(|name| name.ends_with(".untorn-tmp")).count())
    }

    /// Compares the cursor that is there with what was acknowledged and what was tried.
    fn compare_cursor(&self, at: u64, acks: &[Ack], round: u32, found: &mut Findings) {
        let acked = acks.iter().map(|ack| ack.counter).max();
        let last = acked.unwrap_or(self.kept.cursor).max(self.kept.cursor);
        if at < last {
            found.lose(&format!("cursor {last} was acknowledged by round {round}, and it is {at}"));
        }
        // One may be on its way.
        if at > last + 1 {
            found.violate(&format!("cursor {at}, and nobody was told of more than {last}"));
        }
    }
}

impl Victim for FoldVictim {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()> {
        found.in_checkpoint += u64::from(self.begun()? > 0);
        // What the kill left, seen through without healing it.
        let seen = found.seen(look(&self.work), self.kept.cursor == 0);
        let Some((cursor, fold)) = found.reopened(open(&self.work))? else { return Ok(()) };
        if let Some(healed) = fold.recovery().healed.as_ref().filter(|healed| healed.suspect) {
            found.violate(&format!("a kill left what does not look like a torn write: {healed:?}"));
        }
        let at = number(&cursor)?;
        self.compare_cursor(at, acks, round, found);
        if found.failed() {
            return Ok(());
        }
        self.kept.advance(self.seed, at);
        if let Some(flaw) = self.kept.compare(self.seed, &fold.snapshot())? {
            found.tear(&format!("at cursor {at} after round {round}: {flaw}"));
        }
        if let Some(seen) = seen {
            let (state, expected) = (seen.snapshot(), &cursor);
            if state.cursor() != *expected {
                let there = state.cursor();
                found.violate(&format!("a reader without a lock is at {there}, the owner at {at}"));
            } else if let Some(flaw) = self.kept.compare(self.seed, &state)? {
                found.tear(&format!("a reader without a lock, at cursor {at}: {flaw}"));
            }
        }
        if self.begun()? > 0 {
            found.violate("a base that was begun was left after the open");
        }
        // The next owner finds it closed in order, or dropped without a word.
        if self.rng.below(2) == 0 {
            fold.close()?;
        }
        Ok(())
    }

    fn intrude(&mut self, found: &mut Findings) -> Result<()> {
        found.refuse(open(&self.work));
        // Who only reads sees the state of a cursor.
        let seen = look(&self.work).and_then(|seen| {
            let mut model = Model::default();
            model.advance(self.seed, number(&seen.cursor())?);
            let state = seen.snapshot();
            let flaw = model.compare(self.seed, &state)?;
            Ok(flaw.or(read_some(self.seed, &state, &mut self.rng)?))
        });
        found.beside(seen);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fold_model::{perform, step};
    use super::*;

    /// A fold with some steps, and what was acknowledged of them.
    fn fold(work: &Path, steps: u64) -> (FoldVictim, Vec<Ack>) {
        let (_, mut fold) = open(work).unwrap();
        let mut acks = Vec::new();
        for at in 1..=steps {
            perform(&mut fold, &step(7, at), at).unwrap();
            acks.push(Ack { kind: b'a', writer: 0, counter: at, seq: at });
        }
        (FoldVictim::new(work, 7), acks)
    }

    fn check(victim: &mut FoldVictim, round: u32, acks: &[Ack]) -> Findings {
        let mut found = Findings::default();
        victim.check(round, acks, &mut found).unwrap();
        found
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = fold(dir.path(), 130);
        let found = check(&mut victim, 0, &acks);
        assert!(!found.failed(), "{:?}", found.texts);
        assert!(!check(&mut victim, 1, &[]).failed());
    }

    #[test]
    fn what_is_missing_or_too_much_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, mut acks) = fold(dir.path(), 40);
        acks.push(Ack { kind: b'a', writer: 0, counter: 41, seq: 41 });
        assert_eq!(check(&mut victim, 0, &acks).lost, 1);
        acks.truncate(30);
        assert_eq!(check(&mut victim, 0, &acks).violations, 1);
    }

    /// The cursor of one commit over the entries of another.
    #[test]
    fn a_cursor_without_its_entries_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = fold(dir.path(), 40);
        let (_, mut other) = open(dir.path()).unwrap();
        let cursor = untorn::fold::WatchCursor::from_u64(41);
        other
            .apply(
                &[untorn::fold::KvUpdate::delete("k0/0000", untorn::fold::VersionToken::unknown())],
                &cursor,
            )
            .unwrap();
        other.close().unwrap();
        let found = check(&mut victim, 0, &acks);
        assert_eq!(found.torn, 2, "the owner and the reader: {:?}", found.texts);
    }
}
