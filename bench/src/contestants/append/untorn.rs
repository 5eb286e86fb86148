//! Ours.

use std::ops::Range;
use std::path::Path;

use untorn::append::{AppendGroup, AppendOnlyFile, FileSpec, OpenOptions, Plain};

use super::grin::Words;
use super::{Appender, Elements};
use crate::Result;

pub type File = AppendOnlyFile<Vec<u8>>;

/// Of fixed size, if a length is given.
pub fn open(path: &Path, len: Option<usize>) -> Result<File> {
    let options = OpenOptions::<Vec<u8>>::new();
    let options = match len {
        Some(len) => options.fixed(u32::try_from(len)?),
        None => options.variable(),
    };
    Ok(options.open(path)?)
}

/// A file of so many elements.
pub fn filled(path: &Path, elements: &Elements, count: u64) -> Result<File> {
    let mut file = open(path, elements.same_len())?;
    let all: Vec<u64> = (0..count).collect();
    for some in all.chunks(100_000) {
        file.append_batch(some.iter().map(|&n| elements.get(n)))?;
        file.flush()?;
    }
    Ok(file)
}

// SAFETY: five numbers, whatever their bits are.
unsafe impl Plain for Words {}

pub struct Untorn {
    pub file: File,
    elements: Elements,
    pub flushes: u64,
    pub syncs: u64,
}

impl Untorn {
    pub fn open(path: &Path, elements: &Elements) -> Result<Self> {
        let file = open(path, elements.same_len())?;
        Ok(Self { file, elements: elements.clone(), flushes: 0, syncs: 0 })
    }
}

impl Appender for Untorn {
    fn name(&self) -> &'static str {
        "untorn"
    }

    fn append(&mut self, range: Range<u64>) -> Result<()> {
        for n in range {
            self.file.append(self.elements.get(n))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let commit = self.file.flush()?;
        self.flushes += 1;
        self.syncs += u64::from(commit.syncs);
        Ok(())
    }
}

/// Files that are committed together.
pub struct Group {
    group: AppendGroup,
    elements: Elements,
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Group {
    pub fn open(home: &Path, elements: &Elements) -> Result<Self> {
        let mut options = AppendGroup::options(home);
        for name in NAMES {
            options = options.file(name, home.with_extension(name), FileSpec::fixed(40));
        }
        Ok(Self { group: options.open()?, elements: elements.clone() })
    }
}

impl Appender for Group {
    fn name(&self) -> &'static str {
        "untorn, a group"
    }

    fn append(&mut self, range: Range<u64>) -> Result<()> {
        for name in NAMES {
            let mut file = self.group.file::<Vec<u8>>(name)?;
            for n in range.clone() {
                file.append(self.elements.get(n))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.group.flush()?;
        Ok(())
    }
}
