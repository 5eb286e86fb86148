//! Values of one type, counted from 1 on.

use std::fs::File;
use std::path::Path;

use super::builder::OpenOptions;
use super::file::AppendOnlyFile;
use super::stats::{Commit, PruneReport};
use super::{ProtocolVersion, SizeInfo};
use crate::codec::{Codec, Raw};
use crate::{ErrorKind, Result};

/// Values of one type in an [`AppendOnlyFile`]. Positions are counted from 1 on in what is read and pruned, as the counts are that appending
/// returns.
///
/// ```
/// use untorn::append::{DataFile, ProtocolVersion, SizeInfo};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("names");
/// let mut names = DataFile::<Vec<u8>>::open(&path, SizeInfo::Variable, ProtocolVersion(1))?;
/// assert_eq!(names.append(&b"anna".to_vec())?, 1);
/// names.flush()?;
/// assert_eq!(names.read(1)?, Some(b"anna".to_vec()));
/// assert_eq!((names.read(0)?, names.read(2)?), (None, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DataFile<T, C = Raw> {
    file: AppendOnlyFile<T, C>,
}

impl<T, C: Codec<T>> DataFile<T, C> {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::open`].
    pub fn open(
        path: impl AsRef<Path>,
        size_info: SizeInfo,
        version: ProtocolVersion,
    ) -> Result<Self>
    where
        C: Default,
    {
        Ok(Self { file: AppendOnlyFile::open(path, size_info, version)? })
    }

    /// Options with which the file can be opened; see [`with`](Self::with).
    pub fn options() -> OpenOptions<T> {
        OpenOptions::new()
    }

    /// The values of a file that was opened with options.
    pub const fn with(file: AppendOnlyFile<T, C>) -> Self {
        Self { file }
    }

    /// Appends a value; returns how many there are with what is pending, which is the position of this one.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::append_elmt`].
    pub fn append(&mut self, value: &T) -> Result<u64> {
        self.file.append_elmt(value).map(|position| position.saturating_add(1))
    }

    /// Appends values, all or none; returns how many there are with what is pending.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::append_elmts`].
    pub fn extend_from_slice(&mut self, values: &[T]) -> Result<u64> {
        self.file.append_elmts(values).map(|positions| positions.end)
    }

    /// The value at a position from 1 on, committed or pending; `None` for 0, and where there is none.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::read_as_elmt`], but `OutOfRange` and `Pruned`.
    pub fn read(&self, position: u64) -> Result<Option<T>> {
        let Some(position) = position.checked_sub(1) else { return Ok(None) };
        match self.file.read_as_elmt(position) {
            Err(e) if matches!(e.kind(), ErrorKind::OutOfRange | ErrorKind::Pruned) => Ok(None),
            read => read.map(Some),
        }
    }

    /// As [`AppendOnlyFile::flush`].
    ///
    /// # Errors
    /// As [`AppendOnlyFile::flush`].
    pub fn flush(&mut self) -> Result<Commit> {
        self.file.flush()
    }

    /// As [`AppendOnlyFile::discard`].
    pub fn discard(&mut self) {
        self.file.discard();
    }

    /// Keeps the first `count` values. Pending until the next flush.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::rewind`].
    pub fn rewind(&mut self, count: u64) -> Result<()> {
        self.file.rewind(count)
    }

    /// Committed values.
    pub fn size(&self) -> u64 {
        self.file.len()
    }

    /// Values with what is pending.
    ///
    /// # Errors
    /// `Closed`.
    pub fn size_unsync(&self) -> Result<u64> {
        self.file.size_unsync_in_elmts()
    }

    /// The data file.
    ///
    /// # Errors
    /// `Closed`.
    pub fn path(&self) -> Result<&Path> {
        self.file.path()
    }

    /// As [`AppendOnlyFile::as_temp_file`].
    ///
    /// # Errors
    /// As [`AppendOnlyFile::as_temp_file`].
    pub fn as_temp_file(&self) -> Result<File> {
        self.file.as_temp_file()
    }

    /// As [`AppendOnlyFile::write_tmp_pruned`], with positions from 1 on.
    ///
    /// # Errors
    /// As [`AppendOnlyFile::write_tmp_pruned`]; `InvalidInput` for position 0.
    pub fn write_tmp_pruned(&mut self, dead: &[u64]) -> Result<PruneReport> {
        if dead.first() == Some(&0) {
            let what = "positions are counted from 1 on";
            let path = self.file.path()?;
            return Err(crate::Error::new(ErrorKind::InvalidInput, "prune", path, what));
        }
        let dead: Vec<u64> = dead.iter().map(|position| position.saturating_sub(1)).collect();
        self.file.write_tmp_pruned(&dead)
    }

    /// As [`AppendOnlyFile::replace_with_tmp`].
    ///
    /// # Errors
    /// As [`AppendOnlyFile::replace_with_tmp`].
    pub fn replace_with_tmp(&mut self) -> Result<()> {
        self.file.replace_with_tmp()
    }

    /// As [`AppendOnlyFile::release`].
    pub fn release(&mut self) {
        self.file.release();
    }

    /// As [`AppendOnlyFile::init`].
    ///
    /// # Errors
    /// As [`AppendOnlyFile::init`].
    pub fn init(&mut self) -> Result<()> {
        self.file.init()
    }

    /// As [`AppendOnlyFile::close`].
    ///
    /// # Errors
    /// As [`AppendOnlyFile::close`].
    pub fn close(self) -> Result<()> {
        self.file.close()
    }

    /// The file beneath, whose positions are counted from 0 on.
    pub const fn file(&mut self) -> &mut AppendOnlyFile<T, C> {
        &mut self.file
    }
}
