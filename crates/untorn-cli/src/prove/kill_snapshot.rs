//! What must be true of snapshots after their writer was killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use untorn::codec::Raw;
use untorn::snapshot::{
    SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader as _, SnapshotOptions, SnapshotWriter as _,
};

use super::child::{WRITERS, snapshot_name, snapshot_options};
use super::content::{self, Key};
use super::kill::{Ack, Findings, Victim, names};
use crate::exit::{Failure, Result};

pub(super) struct SnapshotVictim {
    dir: PathBuf,
    seed: u64,
    /// What each writer's snapshot was when it was last looked at.
    kept: BTreeMap<u32, Key>,
}

impl SnapshotVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Result<Self> {
        let dir = work.join("snapshot");
        fs::create_dir(&dir).map_err(|e| Failure::io("make", &dir, e))?;
        Ok(Self { dir, seed, kept: BTreeMap::new() })
    }

    fn check_one(&mut self, writer: u32, round: u32, acks: &[Ack], found: &mut Findings) {
        let path = self.dir.join(snapshot_name(writer));
        let acked = acks.iter().filter(|ack| ack.writer == writer).map(|ack| ack.counter).max();
        let options: SnapshotOptions<Vec<u8>, Raw> = SnapshotOptions::with_codec(Raw);
        let bytes = match SnapshotFsLoader::with(&path, options).load() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                if acked.is_some() || self.kept.contains_key(&writer) {
                    found.lose(&format!("{} is gone", path.display()));
                }
                return;
            }
            Err(e) => {
                found.tear(&e.to_string());
                return;
            }
        };
        let key = match content::verify(self.seed, &bytes, content::file) {
            Ok(key) if key.writer == writer => key,
            Ok(key) => {
                found.violate(&format!("{} is of another writer: {key:?}", path.display()));
                return;
            }
            Err(why) => {
                found.tear(&format!("{}: {why}", path.display()));
                return;
            }
        };
        // The last acknowledged one, or the one that was being closed at the kill.
        let next = acked.map_or(0, |counter| counter + 1);
        let of_this_round =
            key.round == round && (Some(key.counter) == acked || key.counter == next);
        let untouched = acked.is_none() && self.kept.get(&writer) == Some(&key);
        if !of_this_round && !untouched {
            let kept = self.kept.get(&writer);
            found.lose(&format!(
                "{} is {key:?}; acknowledged in round {round} was {acked:?}, before it {kept:?}",
                path.display()
            ));
        }
        self.kept.insert(writer, key);
    }
}

impl Victim for SnapshotVictim {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn check(&mut self, round: u32, acks: &[Ack], found: &mut Findings) -> Result<()> {
        for writer in 0..WRITERS {
            self.check_one(writer, round, acks, found);
            // The next writer of the path takes what the dead one left; dropped, it leaves nothing itself.
            let path = self.dir.join(snapshot_name(writer));
            drop(SnapshotFsWriter::with(path, snapshot_options(0))?);
        }
        for name in names(&self.dir)?.iter().filter(|name| !name.starts_with("state-")) {
            found.violate(&format!("{name} is left after the next writer"));
        }
        Ok(())
    }

    fn intrude(&mut self, found: &mut Findings) -> Result<()> {
        // A second writer of each path: it must take nothing that the stopped one has begun. What has bytes is locked.
        let begun: Vec<PathBuf> = names(&self.dir)?
            .iter()
            .filter(|name| !name.starts_with("state-"))
            .map(|name| self.dir.join(name))
            .filter(|path| fs::metadata(path).is_ok_and(|stat| stat.len() > 0))
            .collect();
        for writer in 0..WRITERS {
            let path = self.dir.join(snapshot_name(writer));
            let mut second = SnapshotFsWriter::with(path, snapshot_options(0))?;
            second.write(&b"of a second writer, never closed".to_vec())?;
        }
        for path in &begun {
            if path.exists() {
                found.refused += 1;
            } else {
                found.violate(&format!("a sweep took {} of a stopped writer", path.display()));
            }
        }
        Ok(())
    }
}
