//! What must be true of replaced and created files after their writer was killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::child::{WRITERS, name};
use super::content::{self, Key};
use super::kill::{Ack, Findings, Victim, names};
use crate::exit::{Failure, Result};

pub(super) struct FileVictim {
    dir: PathBuf,
    seed: u64,
    /// What each writer's file held when it was last looked at.
    kept: BTreeMap<u32, Key>,
}

impl FileVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Result<Self> {
        let dir = work.join("file");
        fs::create_dir(&dir).map_err(|e| Failure::io("make", &dir, e))?;
        Ok(Self { dir, seed, kept: BTreeMap::new() })
    }

    fn check_one(
        &mut self,
        writer: u32,
        round: u32,
        acks: &[Ack],
        found: &mut Findings,
    ) -> Result<()> {
        let path = self.dir.join(name(writer));
        let acked = acks.iter().filter(|ack| ack.writer == writer).map(|ack| ack.counter).max();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if acked.is_some() || self.kept.contains_key(&writer) {
                    found.lose(&format!("{} is gone", path.display()));
                }
                return Ok(());
            }
            Err(e) => return Err(Failure::io("read", &path, e)),
        };
        let key = match content::verify(self.seed, &bytes, content::file) {
            Ok(key) if key.writer == writer => key,
            Ok(key) => {
                found
                    .violate(&format!("{} holds what is of another file: {key:?}", path.display()));
                return Ok(());
            }
            Err(why) => {
                found.tear(&format!("{}: {why}", path.display()));
                return Ok(());
            }
        };
        // The last acknowledged content, or the one that was being written at the kill.
        let next = acked.map_or(0, |counter| counter + 1);
        let of_this_round =
            key.round == round && (Some(key.counter) == acked || key.counter == next);
        let untouched = acked.is_none() && self.kept.get(&writer) == Some(&key);
        if !of_this_round && !untouched {
            let kept = self.kept.get(&writer);
            found.lose(&format!(
                "{} holds {key:?}; acknowledged in round {round} was {acked:?}, before it {kept:?}",
                path.display()
            ));
        }
        self.kept.insert(writer, key);
        Ok(())
    }

    /// Files that are created once are whole under their name.
    fn check_new(&self, found: &mut Findings) -> Result<()> {
        for name in names(&self.dir)?.iter().filter(|name| name.starts_with("new-")) {
            let path = self.dir.join(name);
            let fail = |e| Failure::io("look at", &path, e);
            let bytes = fs::read(&path).map_err(fail)?;
            match content::verify(self.seed, &bytes, content::file) {
                Ok(key) if super::child::new_name(key) == *name => {}
                Ok(key) => found.violate(&format!("{name} holds {key:?}")),
                Err(why) => found.tear(&format!("{name}: {why}")),
            }
            fs::remove_file(&path).map_err(fail)?;
        }
        Ok(())
    }
}

impl Victim for FileVictim {
    fn name(&self) -> &'static str {
        "file"
    }

    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()> {
        for writer in 0..WRITERS {
            self.check_one(writer, round, acks, found)?;
        }
        self.check_new(found)?;
        let swept = untorn::sweep(&self.dir)?;
        if !swept.busy.is_empty() {
            found.violate(&format!(
                "a dead writer's temporaries count as a living one's: {:?}",
                swept.busy
            ));
        }
        for name in names(&self.dir)?.iter().filter(|name| !name.starts_with("file-")) {
            found.violate(&format!("{name} is left after a sweep"));
        }
        Ok(())
    }

    fn intrude(&mut self, found: &mut Findings) -> Result<()> {
        // Between its creation and its lock a temporary is anybody's: its maker then takes another. What has bytes is locked.
        let begun: Vec<PathBuf> = names(&self.dir)?
            .iter()
            .map(|name| self.dir.join(name))
            .filter(|path| fs::metadata(path).is_ok_and(|stat| stat.len() > 0))
            .collect();
        let swept = untorn::sweep(&self.dir)?;
        for path in swept.removed.iter().filter(|path| begun.contains(path)) {
            found.violate(&format!("a sweep took {} of a stopped writer", path.display()));
        }
        found.refused += swept.busy.len() as u64;
        Ok(())
    }
}
