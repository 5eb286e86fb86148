//! What must be true of a chunked file and its part after their owner was killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use untorn::ErrorKind;
use untorn::chunked::{Opened, PartView, ResourceExt as _};

use super::child_chunked::{self as child, File};
use super::chunked_account::{Account, Filling, UNITS, Unit, compare, unit_range, which};
use super::content::{Key, PIECES_LEN, Rng, piece_range};
use super::kill::{Ack, Findings, Victim, names};
use crate::exit::{Failure, Result};

pub(super) struct ChunkedVictim {
    dir: PathBuf,
    path: PathBuf,
    seed: u64,
    rng: Rng,
    account: Account,
}

impl ChunkedVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Result<Self> {
        let dir = work.join("chunked");
        fs::create_dir(&dir).map_err(|e| Failure::io("make", &dir, e))?;
        let (path, rng) = (child::path(work), Rng::new(seed.wrapping_add(3)));
        Ok(Self { dir, path, seed, rng, account: Account::default() })
    }

    /// The file under its name is the old one or the new one, whole.
    fn check_target(&mut self, found: &mut Findings) -> Result<()> {
        let new = self.account.committing.take();
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if self.account.target.is_some() {
                    found.lose("the file that was committed is gone");
                }
                return Ok(());
            }
            Err(e) => return Err(Failure::io("read", &self.path, e)),
        };
        let whole = bytes.len() as u64 == PIECES_LEN;
        let is = |content| whole.then(|| compare(self.seed, content, &bytes).ok()).flatten();
        let old = self.account.target.as_ref().and_then(is);
        let new = new.as_ref().and_then(is);
        // Committed: nothing of its part is gone on with.
        if new.is_some()
            && let Some(part) = &mut self.account.part
        {
            part.must.clear();
            if old.is_none() {
                part.may.clear();
            }
        }
        match new.or(old) {
            Some(content) => self.account.target = Some(content),
            None => found.tear(&format!(
                "the {} bytes under its name are neither the old file nor the new one",
                bytes.len()
            )),
        }
        Ok(())
    }

    /// What the kill left, before anybody heals it, as any process sees it. The generation that is trusted in part.
    fn look(&self, found: &mut Findings) -> Option<u64> {
        let mut view = match PartView::open(&self.path) {
            Ok(view) => view,
            Err(e) => {
                found.violate(&format!("a kill left what cannot be looked at: {e}"));
                return None;
            }
        };
        match view.verify() {
            Ok(report) if report.damaged.is_empty() => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Ok(report) => found.tear(&format!("trusted bytes do not verify: {report:?}")),
            Err(e) => found.violate(&format!("a kill left what does not verify: {e}")),
        }
        child::generation(&view)
    }

    /// Compares what the open trusts with what was acknowledged; what it is.
    fn compare(
        &self,
        file: &File,
        part: &Filling,
        found: &mut Findings,
    ) -> Result<BTreeMap<Unit, Key>> {
        let trusted = file.trusted_ranges();
        let mut there = BTreeMap::new();
        for unit in 0..UNITS {
            let range = unit_range(unit);
            let whole = trusted.iter().any(|t| t.start <= range.start && range.end <= t.end);
            if !whole {
                if trusted.iter().any(|t| t.start < range.end && range.start < t.end) {
                    found
                        .violate(&format!("{range:?} was written at once, and is trusted in part"));
                }
                if let Some(key) = part.must.get(&unit) {
                    found.lose(&format!("{range:?}, {key:?}, was acknowledged and is not trusted"));
                }
                continue;
            }
            let len = usize::try_from(range.end - range.start).unwrap_or(0);
            let mut bytes = vec![0; len];
            file.read_at(range.start, &mut bytes)?;
            let may = part.may.get(&unit).map_or(&[][..], Vec::as_slice);
            let from = range.start - piece_range(unit / 2).start;
            match which(self.seed, may, &bytes, from) {
                Some(key) => {
                    there.insert(unit, key);
                }
                None => found.tear(&format!("{range:?} is trusted and is none of {may:?}")),
            }
        }
        Ok(there)
    }

    /// Becomes the owner; what it finds is what the next life has to find.
    fn take_over(&mut self, round: u32, found: &mut Findings) -> Result<()> {
        let trusted = self.look(found);
        let part = self.account.part.take().unwrap_or_default();
        if let Some(generation) = trusted.filter(|trusted| *trusted != part.generation) {
            let (is, was) = (generation, part.generation);
            found.violate(&format!("the part is of the generation {is}, and {was} was filled"));
        }
        let generation = trusted.unwrap_or(part.generation);
        let Some(file) = self.open(generation, found)? else { return Ok(()) };
        match file.opened() {
            Opened::Fresh => {}
            Opened::Resumed { dropped: 0, .. } if trusted.is_some() => {}
            other => found.violate(&format!("a kill left what is {other:?} to the next owner")),
        }
        let there = self.compare(&file, &part, found)?;
        // The next owner finds it dropped without a word, suspended, given up, or of another generation.
        let kept = match self.rng.below(8) {
            0 => {
                file.abandon()?;
                self.gone(found)?;
                false
            }
            1 => {
                drop(file);
                let other = child::new_generation(round, u32::MAX);
                let Some(file) = self.open(other, found)? else { return Ok(()) };
                if !file.trusted_ranges().is_empty() || !file.ranges().is_empty() {
                    found.violate("bytes of one generation are trusted in another");
                }
                drop(file);
                self.gone_for(other, found)?;
                false
            }
            2 => {
                file.suspend()?;
                true
            }
            _ => true,
        };
        let left = kept && !there.is_empty();
        self.account.part = left.then(|| Filling::of(generation, there));
        Ok(())
    }

    fn open(&self, generation: u64, found: &mut Findings) -> Result<Option<File>> {
        match child::open(&self.path, generation) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NoSpace => Err(e.into()),
            Err(e) => {
                found.violate(&format!("the file does not open: {e}"));
                Ok(None)
            }
        }
    }

    fn gone(&self, found: &mut Findings) -> Result<()> {
        for name in names(&self.dir)?.iter().filter(|name| *name != "file") {
            found.violate(&format!("{name} is left of what was given up"));
        }
        Ok(())
    }

    /// What began and has nothing trusted leaves nothing that a third one could take for bytes.
    fn gone_for(&self, generation: u64, found: &mut Findings) -> Result<()> {
        let view = PartView::open(&self.path)?;
        if child::generation(&view).is_some() {
            found.violate(&format!("something is trusted of {generation}, which was only opened"));
        }
        Ok(())
    }
}

impl Victim for ChunkedVictim {
    fn name(&self) -> &'static str {
        "chunked"
    }

    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()> {
        for ack in acks {
            self.account.take(round, ack);
        }
        found.in_checkpoint += u64::from(self.account.in_checkpoint());
        self.check_target(found)?;
        self.take_over(round, found)?;
        for name in names(&self.dir)? {
            if !["file", "file.part"].contains(&name.as_str()) {
                found.violate(&format!("{name} is left"));
            }
        }
        Ok(())
    }

    fn intrude(&mut self, found: &mut Findings) -> Result<()> {
        match child::open(&self.path, child::new_generation(0, u32::MAX)) {
            Err(e) if e.kind() == ErrorKind::Locked => found.refused += 1,
            Err(e) => found.violate(&format!("a second owner got another error than Locked: {e}")),
            Ok(_) => found.violate("a second owner got the file while the first was stopped"),
        }
        // Who only reads is no intruder, and what he sees is whole.
        let _generation = self.look(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::content;

    fn told(kind: u8, seq: u64) -> Ack {
        Ack { kind, writer: 0, counter: 5, seq }
    }

    /// A part with two pieces that were acknowledged, and what its writer said.
    fn part(work: &Path) -> (ChunkedVictim, Vec<Ack>) {
        let victim = ChunkedVictim::new(work, 7).unwrap();
        let file = child::open(&victim.path, 5).unwrap();
        let mut acks = vec![told(b'n', 0)];
        for piece in 0..2_u32 {
            let key = Key { round: 0, writer: 0, counter: 5, part: piece, parts: 0 };
            file.write_at(piece_range(piece).start, &content::piece(7, key)).unwrap();
            acks.extend([told(b'w', piece.into()), told(b'd', piece.into())]);
        }
        acks.extend([told(b'c', 0), told(b'C', 0)]);
        file.checkpoint().unwrap();
        (victim, acks)
    }

    fn check(victim: &mut ChunkedVictim, round: u32, acks: &[Ack]) -> Findings {
        let mut found = Findings::default();
        victim.check(round, acks, &mut found).unwrap();
        found
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = part(dir.path());
        for round in 0..20 {
            let found = check(&mut victim, round, if round == 0 { &acks } else { &[] });
            assert!(!found.failed(), "{:?}", found.texts);
        }
    }

    #[test]
    fn what_is_missing_or_other_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, mut acks) = part(dir.path());
        // A piece that was acknowledged and never written.
        acks.splice(1..1, [told(b'w', 9), told(b'd', 9)]);
        assert_eq!(check(&mut victim, 0, &acks).lost, 2);
        // Bytes that were flipped.
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = part(dir.path());
        let data = dir.path().join("chunked/file.part/data");
        let mut bytes = fs::read(&data).unwrap();
        bytes[40_000] ^= 1;
        fs::write(&data, bytes).unwrap();
        assert!(check(&mut victim, 0, &acks).torn >= 2);
        // The whole part.
        let dir = tempfile::tempdir().unwrap();
        let (mut victim, acks) = part(dir.path());
        fs::remove_dir_all(dir.path().join("chunked/file.part")).unwrap();
        assert_eq!(check(&mut victim, 0, &acks).lost, 4);
    }

    #[test]
    fn a_commit_is_there_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut victim = ChunkedVictim::new(dir.path(), 7).unwrap();
        let file = child::open(&victim.path, 5).unwrap();
        let mut acks = vec![told(b'n', 0)];
        for piece in 0..UNITS / 2 {
            let key = Key { round: 0, writer: 0, counter: 5, part: piece, parts: 0 };
            file.write_at(piece_range(piece).start, &content::piece(7, key)).unwrap();
            acks.extend([told(b'w', piece.into()), told(b'd', piece.into())]);
        }
        file.commit(None).unwrap();
        acks.extend([told(b'f', 0), told(b'F', 0)]);
        let found = check(&mut victim, 0, &acks);
        assert!(!found.failed(), "{:?}", found.texts);
        assert!(!check(&mut victim, 1, &[]).failed());
        let mut bytes = fs::read(&victim.path).unwrap();
        bytes[1_000_000] ^= 1;
        fs::write(&victim.path, bytes).unwrap();
        assert_eq!(check(&mut victim, 2, &[]).torn, 1);
        fs::remove_file(&victim.path).unwrap();
        assert_eq!(check(&mut victim, 3, &[]).lost, 1);
    }
}
