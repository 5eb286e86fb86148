//! grin_store: a sync for each file in a flush, and the file mapped anew after it.

use std::ops::Range;
use std::path::Path;

use grin_core::ser::{Error, ProtocolVersion, Readable, Reader, Writeable, Writer};
use grin_store::types::{AppendOnlyFile, DataFile, SizeEntry, SizeInfo};

use super::{Appender, Elements, sizes_of};
use crate::Result;

/// Forty bytes, as numbers.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Words(pub [u64; 5]);

impl Writeable for Words {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), Error> {
        self.0.iter().try_for_each(|word| writer.write_u64(*word))
    }
}

impl Readable for Words {
    fn read<R: Reader>(reader: &mut R) -> Result<Self, Error> {
        let mut words = [0; 5];
        for word in &mut words {
            *word = reader.read_u64()?;
        }
        Ok(Self(words))
    }
}

pub type File = AppendOnlyFile<Words>;

const VERSION: ProtocolVersion = ProtocolVersion(1);

fn sizes(path: &Path, len: Option<usize>) -> Result<SizeInfo> {
    if let Some(len) = len {
        return Ok(SizeInfo::FixedSize(u16::try_from(len)?));
    }
    let file = AppendOnlyFile::open(sizes_of(path), SizeInfo::FixedSize(SizeEntry::LEN), VERSION)?;
    Ok(SizeInfo::VariableSize(Box::new(file)))
}

/// Of fixed size, if a length is given. Otherwise its size file is beside it.
pub fn open(path: &Path, len: Option<usize>) -> Result<File> {
    Ok(AppendOnlyFile::open(path, sizes(path, len)?, VERSION)?)
}

/// The face that decodes.
pub fn open_data(path: &Path) -> Result<DataFile<Words>> {
    Ok(DataFile::open(path, sizes(path, Some(40))?, VERSION)?)
}

pub struct Grin {
    pub file: File,
    elements: Elements,
}

impl Grin {
    pub fn open(path: &Path, elements: &Elements) -> Result<Self> {
        Ok(Self { file: open(path, elements.same_len())?, elements: elements.clone() })
    }
}

impl Appender for Grin {
    fn name(&self) -> &'static str {
        "grin"
    }

    fn append(&mut self, range: Range<u64>) -> Result<()> {
        for n in range {
            let place = self.elements.place(n);
            self.file.append(&mut self.elements.bytes[place])?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }
}
