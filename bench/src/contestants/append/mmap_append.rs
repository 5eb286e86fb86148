//! mmap-append: bytes copied into a shared map of a file that was made long enough, and `msync`. It keeps no lengths.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use super::{Appender, Elements};
use crate::Result;

/// More than any case appends; a file with holes.
const LEN: u64 = 4 << 30;

pub struct MmapAppend {
    map: mmap_append::MmapAppend,
    elements: Elements,
    /// It keeps the number of the descriptor, not the file.
    _file: File,
}

impl MmapAppend {
    pub fn open(path: &Path, elements: &Elements) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(LEN)?;
        // SAFETY: nobody else has the file.
        let map = unsafe { mmap_append::MmapAppend::new(&file, true)? };
        Ok(Self { map, elements: elements.clone(), _file: file })
    }
}

impl Appender for MmapAppend {
    fn name(&self) -> &'static str {
        "mmap-append"
    }

    fn append(&mut self, range: Range<u64>) -> Result<()> {
        for n in range {
            let element = self.elements.get(n);
            self.map.append(element.len(), |place| {
                place.copy_from_slice(element);
                Ok(element.len())
            })?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.map.flush()?)
    }
}
