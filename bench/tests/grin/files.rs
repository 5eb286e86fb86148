//! That crate's files, opened as its users open them, and elements that a formula gives.

use std::io;
use std::path::Path;

use grin_core::ser::{Error, ProtocolVersion, Readable, Reader, Writeable, Writer};
use grin_store::types::{AppendOnlyFile, DataFile, SizeEntry, SizeInfo};

/// A byte string with its length before it: an element that says where it ends.
#[derive(Debug)]
pub struct Bytes(pub Vec<u8>);

impl Writeable for Bytes {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), Error> {
        writer.write_bytes(&self.0)
    }
}

impl Readable for Bytes {
    fn read<R: Reader>(reader: &mut R) -> Result<Self, Error> {
        reader.read_bytes_len_prefix().map(Self)
    }
}

const VERSION: ProtocolVersion = ProtocolVersion(1);

pub fn open_fixed(path: &Path, size: u16) -> io::Result<AppendOnlyFile<Bytes>> {
    AppendOnlyFile::open(path, SizeInfo::FixedSize(size), VERSION)
}

fn sizes(path: &Path) -> io::Result<SizeInfo> {
    let file = AppendOnlyFile::open(path, SizeInfo::FixedSize(SizeEntry::LEN), VERSION)?;
    Ok(SizeInfo::VariableSize(Box::new(file)))
}

/// Of variable size. The size file has the same path but for its extension, `size`.
pub fn open_variable(path: &Path) -> io::Result<AppendOnlyFile<Bytes>> {
    AppendOnlyFile::open(path, sizes(&path.with_extension("size"))?, VERSION)
}

/// The same behind the face that counts from 1 and encodes.
pub fn open_data(path: &Path) -> io::Result<DataFile<Bytes>> {
    DataFile::open(path, sizes(&path.with_extension("size"))?, VERSION)
}

/// Element `n`, of so many bytes.
pub fn element(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|j| ((31 * n + 7 * j + 1) % 251) as u8).collect()
}

/// The length of element `n` in the files of variable size: the first and some others are empty, one is as long as can be.
pub fn variable_len(n: usize) -> usize {
    match n {
        20 => 65_535,
        n if n % 16 == 0 => 0,
        n => 1 + 7 * n * n % 97,
    }
}
