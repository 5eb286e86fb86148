//! The raw limit: the same bytes, one after the other, into files of 64 MiB, with a checksum; read back by offset and checked.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Budget, Pool, Runtime, ends};
use crate::Result;

const FILE: u64 = 64 << 20;

pub struct Raw {
    dir: PathBuf,
    files: Vec<File>,
    end: u64,
    /// File, offset, length and checksum.
    objects: Vec<(usize, u64, usize, u32)>,
}

impl Raw {
    fn write(&mut self, object: &[u8]) -> Result<(usize, u64, usize, u32)> {
        if self.files.is_empty() || self.end + object.len() as u64 > FILE {
            let path = self.dir.join(self.files.len().to_string());
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
            self.files.push(options);
            self.end = 0;
        }
        let file = self.files.len() - 1;
        self.files[file].write_all_at(object, self.end)?;
        let place = (file, self.end, object.len(), crc32fast::hash(object));
        self.end += object.len() as u64;
        Ok(place)
    }

    fn read(&self, number: usize) -> Result<Vec<u8>> {
        let (file, at, len, crc) = self.objects[number];
        let mut bytes = vec![0; len];
        self.files[file].read_exact_at(&mut bytes, at)?;
        if crc32fast::hash(&bytes) != crc {
            return Err("the bytes do not fit their checksum".into());
        }
        Ok(bytes)
    }
}

impl Pool for Raw {
    fn open(dir: &Path, _: Budget, _: &Runtime) -> Result<Self> {
        let dir = dir.join("raw");
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, files: Vec::new(), end: 0, objects: Vec::new() })
    }

    fn insert(&mut self, object: Vec<u8>) -> Result<()> {
        let place = self.write(&object)?;
        self.objects.push(place);
        Ok(())
    }

    fn drained(&mut self, _: &Runtime) -> Result<()> {
        Ok(())
    }

    fn load(&self, number: usize) -> Result<u64> {
        Ok(ends(&self.read(number)?))
    }

    async fn load_awaited(&self, number: usize) -> Result<u64> {
        self.load(number)
    }

    fn awaits() -> bool {
        false
    }

    /// All of it once more, and a sync of each file.
    fn persist(&mut self, _: &Runtime) -> Result<()> {
        let objects: Vec<usize> = (0..self.objects.len()).collect();
        let first = self.files.len();
        self.end = FILE;
        for number in objects {
            let bytes = self.read(number)?;
            self.write(&bytes)?;
        }
        self.files[first..].iter().try_for_each(File::sync_data)?;
        Ok(())
    }

    fn change(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        self.objects.clear();
        Ok(())
    }

    fn track(dir: &Path, budget: Budget, runtime: &Runtime) -> Result<Self> {
        Self::open(dir, budget, runtime)
    }

    fn register(&mut self) -> Result<usize> {
        Ok(0)
    }
}
