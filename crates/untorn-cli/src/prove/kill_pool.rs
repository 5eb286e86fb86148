//! What must be true of a pool and its path after their owner was killed.

use std::path::{Path, PathBuf};

use untorn::pool::DirStore;

use super::kill::{Ack, Findings, Victim, names};
use super::pool_model::{Difference, Model, Open, look, open, read, scratch, state};
use crate::exit::Result;

pub(super) struct PoolVictim {
    work: PathBuf,
    seed: u64,
    /// What the last look found: an open acknowledged it, so that it must stay.
    kept: Model,
}

impl PoolVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Self {
        Self { work: work.to_path_buf(), seed, kept: Model::default() }
    }

    /// What must be there after the last commit that was acknowledged, and after the one that may have been on its way.
    fn expected(&self, round: u32, acks: &[Ack]) -> (Model, Model) {
        let acked = acks.iter().map(|ack| ack.counter + 1).max().unwrap_or(0);
        let mut model = self.kept.clone();
        for counter in 0..acked {
            let step = model.step(self.seed, round, counter);
            model.apply(&step, (round, counter));
        }
        let mut next = model.clone();
        let step = next.step(self.seed, round, acked);
        next.apply(&step, (round, acked));
        (model, next)
    }

    /// What nothing lists goes, and then there is nothing on the disk that the manifest does not know.
    fn swept(&self, open: &Open, found: &mut Findings) -> Result<()> {
        let path = open.path.path();
        let report = path.gc(true)?;
        let opened = path.open_report().unwrap_or_default();
        let left = report.files.len() + opened.removed.len();
        found.in_checkpoint += u64::from(left > 0);
        if !report.foreign.is_empty() || !opened.foreign.is_empty() {
            found.violate(&format!(
                "files of ours are taken for another's: {:?} {:?}",
                report.foreign, opened.foreign
            ));
        }
        let held = path.stats()?;
        let state = state(&self.work);
        let mut own = 0;
        if state.join("obj").is_dir() {
            for dir in names(&state.join("obj"))? {
                own += names(&state.join("obj").join(dir))?.len() as u64;
            }
        }
        let seg = state.join("seg");
        let segments = if seg.is_dir() { names(&seg)?.len() as u64 } else { 0 };
        if (own, segments) != (held.own_files, held.segments) {
            found.violate(&format!("{own} own files and {segments} segments are left of {held:?}"));
        }
        let spills = names(&scratch(&self.work).join("spill"))?;
        if spills.len() != 1 {
            found.violate(&format!("beside ours there is scratch of the dead: {spills:?}"));
        }
        Ok(())
    }
}

impl Victim for PoolVictim {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()> {
        let nothing_yet = self.kept.is_empty() && acks.is_empty();
        let seen = found.seen(look(&self.work), nothing_yet);
        let seen = seen.map(|path| read(self.seed, &path)).transpose()?;
        let Some(open) = found.reopened(open(&self.work))? else { return Ok(()) };
        if let Some(healed) = open.path.path().open_report().and_then(|report| report.healed)
            && healed.suspect
        {
            found.violate(&format!("a kill left what does not look like a torn write: {healed:?}"));
        }
        let there = match read(self.seed, open.path.path())? {
            Ok((there, _)) => there,
            Err(flaw) => {
                found.tear(&format!("after round {round}: {flaw}"));
                return Ok(());
            }
        };
        let (acked, next) = self.expected(round, acks);
        if there != next
            && let Some(difference) = there.differs(&acked)
        {
            match difference {
                Difference::Lost(text) => found.lose(&format!("after round {round}: {text}")),
                Difference::Torn(text) => found.tear(&format!("after round {round}: {text}")),
                Difference::More(text) => found.violate(&format!("after round {round}: {text}")),
            }
        }
        match seen {
            Some(Err(flaw)) => found.tear(&format!("a reader without a lock: {flaw}")),
            Some(Ok((seen, _))) if seen != there => {
                found.violate("a reader without a lock saw another state than the owner");
            }
            _ => {}
        }
        self.swept(&open, found)?;
        self.kept = there;
        Ok(())
    }

    fn intrude(&mut self, found: &mut Findings) -> Result<()> {
        found.refuse(open(&self.work));
        // Any number of owners have scratch in one root, and leave each other's alone.
        let beside = DirStore::new(scratch(&self.work))?;
        let report = beside.spill_report();
        if (report.alive, report.swept) != (1, 0) {
            found.violate(&format!("beside the stopped owner a sweep found {report:?}"));
        }
        let seen = look(&self.work).and_then(|path| read(self.seed, &path));
        found.beside(seen.map(std::result::Result::err));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool_model::{Names, perform};
    use super::*;

    /// A path with some commits of the round 0, and what was acknowledged of them.
    fn path(work: &Path) -> (PoolVictim, Vec<Ack>) {
        let open = open(work).unwrap();
        let (mut model, mut names, mut acks) = (Model::default(), Names::new(), Vec::new());
        for counter in 0..60 {
            let step = model.step(7, 0, counter);
            perform(&open, &step, &mut names, 7, (0, counter)).unwrap();
            model.apply(&step, (0, counter));
            acks.push(Ack { kind: b'a', writer: 0, counter, seq: 0 });
        }
        (PoolVictim::new(work, 7), acks)
    }

    fn check(victim: &mut PoolVictim, round: u32, acks: &[Ack]) -> Findings {
        let mut found = Findings::default();
        victim.check(round, acks, &mut found).unwrap();
        found
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = path(dir.path());
        let found = check(&mut victim, 0, &acks);
        assert!(!found.failed(), "{:?}", found.texts);
        let found = check(&mut victim, 1, &[]);
        assert!(!found.failed(), "{:?}", found.texts);
    }

    #[test]
    fn what_is_missing_or_too_much_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, mut acks) = path(dir.path());
        let all = acks.clone();
        acks.truncate(40);
        assert!(check(&mut victim, 0, &acks).failed());
        let mut victim = PoolVictim::new(dir.path(), 7);
        acks.clone_from(&all);
        for counter in [60, 61] {
            acks.push(Ack { kind: b'a', writer: 0, counter, seq: 0 });
        }
        assert!(check(&mut victim, 0, &acks).failed());
    }

    #[test]
    fn another_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = path(dir.path());
        assert!(!check(&mut victim, 0, &acks).failed());
        let seg = state(dir.path()).join("seg");
        for name in names(&seg).unwrap() {
            let mut bytes = std::fs::read(seg.join(&name)).unwrap();
            for at in (64 + 64 + 50..bytes.len()).step_by(500) {
                bytes[at] ^= 1;
            }
            std::fs::write(seg.join(&name), bytes).unwrap();
        }
        let found = check(&mut victim, 1, &[]);
        assert!(found.torn > 0, "{:?}", found.texts);
    }
}
