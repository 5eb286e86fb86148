//! The limit: elements gathered in memory, one `pwrite`, one `fdatasync`. Their lengths are not kept.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Appender, Elements, sizes_of};
use crate::Result;

/// Zeros are written and synced in parts of this size.
const PART: usize = 1 << 20;

pub struct Raw {
    file: File,
    elements: Elements,
    pending: Vec<u8>,
    at: u64,
    /// It starts again at the front when so many bytes are full, if they were filled with zeros.
    zeroed: Option<u64>,
}

impl Raw {
    /// Into a file that grows.
    pub fn growing(path: &Path, elements: &Elements) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let elements = elements.clone();
        Ok(Self { file, elements, pending: Vec::new(), at: 0, zeroed: None })
    }

    /// Into a file that was filled with zeros before.
    pub fn zeroed(path: &Path, elements: &Elements, len: u64) -> Result<Self> {
        let mut raw = Self::growing(path, elements)?;
        raw.zeroed = Some(len);
        let zeros = vec![0; PART];
        for at in (0..len).step_by(PART) {
            raw.file.write_all_at(&zeros, at)?;
            raw.file.sync_data()?;
        }
        raw.file.sync_all()?;
        Ok(raw)
    }
}

impl Appender for Raw {
    fn name(&self) -> &'static str {
        if self.zeroed.is_some() { "raw, zeroed" } else { "raw, growing" }
    }

    fn append(&mut self, range: Range<u64>) -> Result<()> {
        for n in range {
            self.pending.extend_from_slice(self.elements.get(n));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.zeroed.is_some_and(|len| self.at + self.pending.len() as u64 > len) {
            self.at = 0;
        }
        self.file.write_all_at(&self.pending, self.at)?;
        self.at += self.pending.len() as u64;
        self.pending.clear();
        Ok(self.file.sync_data()?)
    }
}

/// Writes a data file as the others have it, with the size file of grin_store beside it if the lengths differ. Where each element
/// begins, and the last one ends.
pub fn write_plain(path: &Path, elements: &Elements, count: u64) -> Result<Vec<u64>> {
    use std::io::{BufWriter, Write};
    let mut data = BufWriter::with_capacity(PART, File::create_new(path)?);
    let mut sizes = match elements.same_len() {
        Some(_) => None,
        None => Some(BufWriter::with_capacity(PART, File::create_new(sizes_of(path))?)),
    };
    let mut ends = vec![0];
    let mut end = 0_u64;
    for n in 0..count {
        let element = elements.get(n);
        data.write_all(element)?;
        if let Some(sizes) = &mut sizes {
            sizes.write_all(&end.to_be_bytes())?;
            sizes.write_all(&u16::try_from(element.len())?.to_be_bytes())?;
        }
        end += element.len() as u64;
        ends.push(end);
    }
    for mut file in [Some(data), sizes].into_iter().flatten() {
        file.flush()?;
        file.get_ref().sync_all()?;
    }
    Ok(ends)
}
