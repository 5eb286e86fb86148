//! The raw limit: one `pwrite` of a batch's bytes, and one `fdatasync`. It keeps nothing that could be found again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Fold, Op};
use crate::Result;

/// Where it is synced, the file is this long and full of zeros before, and is written again from the front.
const LEN: u64 = 16 << 20;

#[derive(Debug)]
pub struct Raw {
    file: File,
    at: u64,
    end: u64,
    synced: bool,
}

impl Fold for Raw {
    type Batch = Vec<u8>;

    fn open(dir: &Path, synced: bool) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join("raw");
        let file = File::options().write(true).create(true).truncate(true).open(path)?;
        if synced {
            file.write_all_at(&vec![0; LEN as usize], 0)?;
            file.sync_all()?;
        }
        Ok(Self { file, at: 0, end: if synced { LEN } else { u64::MAX }, synced })
    }

    fn batch(ops: Vec<Op>, cursor: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for op in ops {
            bytes.extend_from_slice(op.key.as_bytes());
            bytes.extend_from_slice(&op.version.to_be_bytes());
            bytes.extend_from_slice(&op.value);
        }
        bytes.extend_from_slice(&cursor.to_be_bytes());
        bytes
    }

    fn apply(&mut self, batch: &Vec<u8>) -> Result<()> {
        if self.at + batch.len() as u64 > self.end {
            self.at = 0;
        }
        self.file.write_all_at(batch, self.at)?;
        self.at += batch.len() as u64;
        if self.synced {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn reads() -> bool {
        false
    }
}
