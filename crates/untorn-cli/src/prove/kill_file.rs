//! What must be true of replaced and created files after their writer was killed.

use std::fs;
use std::path::{Path, PathBuf};

use super::child::{WRITERS, name};
use super::content;
use super::kept::Kept;
use super::kill::{Ack, Findings, Victim, names};
use crate::exit::{Failure, Result};

pub(super) struct FileVictim {
    dir: PathBuf,
    seed: u64,
    /// What each writer's file held when it was last looked at.
    kept: Kept,
}

impl FileVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Result<Self> {
        let dir = work.join("file");
        fs::create_dir(&dir).map_err(|e| Failure::io("make", &dir, e))?;
        Ok(Self { dir, seed, kept: Kept::new(seed) })
    }

    fn check_one(
        &mut self,
        writer: u32,
        round: u32,
        acks: &[Ack],
        found: &mut Findings,
    ) -> Result<()> {
        let path = self.dir.join(name(writer));
        let bytes = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(Failure::io("read", &path, e)),
        };
        self.kept.check(&path, bytes.as_deref(), (writer, round), acks, found);
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
