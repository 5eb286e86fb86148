//! What must be true of snapshots after their writer was killed.

use std::fs;
use std::path::{Path, PathBuf};

use untorn::codec::Raw;
use untorn::snapshot::{
    SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader as _, SnapshotOptions, SnapshotWriter as _,
};

use super::child::{WRITERS, snapshot_name, snapshot_options};
use super::kept::Kept;
use super::kill::{Ack, Findings, Victim, names};
use crate::exit::{Failure, Result};

pub(super) struct SnapshotVictim {
    dir: PathBuf,
    kept: Kept,
}

impl SnapshotVictim {
    pub(super) fn new(work: &Path, seed: u64) -> Result<Self> {
        let dir = work.join("snapshot");
        fs::create_dir(&dir).map_err(|e| Failure::io("make", &dir, e))?;
        Ok(Self { dir, kept: Kept::new(seed) })
    }

    fn check_one(&mut self, writer: u32, round: u32, acks: &[Ack], found: &mut Findings) {
        let path = self.dir.join(snapshot_name(writer));
        let options: SnapshotOptions<Vec<u8>, Raw> = SnapshotOptions::with_codec(Raw);
        match SnapshotFsLoader::with(&path, options).load() {
            Ok(bytes) => self.kept.check(&path, bytes.as_deref(), (writer, round), acks, found),
            Err(e) => found.tear(&e.to_string()),
        }
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
