//! The single-file snapshot of an older program, PGSS version 2: read, and written for those that read nothing else.
//!
//! The bytes are in docs/FORMAT.md, "PGSS". A file that is read is never changed.

#[cfg(feature = "blake3")]
mod artifact;
mod convert;
mod record;
mod scan;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
mod verdict;
mod window;

use std::collections::{BTreeMap, btree_map};
use std::io;
use std::iter::FusedIterator;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "blake3")]
pub use self::artifact::{read_artifact, write_artifact};
pub use self::convert::{convert, write};
use self::scan::Scan;
use self::window::Window;
use super::{EntryRef, KvEntry, VersionToken, WatchCursor};
use crate::commit::{AtomicFile, Place, ReplaceOptions, Symlink};
use crate::fs::{Fs, How, OsFs};
use crate::{Error, ErrorKind, OnDamage, Result};

/// A value and its version.
#[derive(Clone, Debug)]
struct Live {
    value: Box<[u8]>,
    version: VersionToken,
}

/// What a PGSS file holds.
#[derive(Clone, Debug)]
pub struct Image {
    cursor: WatchCursor,
    live: BTreeMap<String, Live>,
    report: ReadReport,
}

/// What was found in reading a PGSS file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadReport {
    /// Good records, cursors included.
    pub records: u64,
    /// Bytes at the end that were being written when the writer died, and were left out.
    pub torn_bytes: u64,
    /// Puts and deletes behind the cursor; they are in the entries.
    pub ops_after_cursor: u64,
    /// What was left out though it was written, as offsets in the file; always empty with [`OnDamage::Refuse`]. Then the cursor is
    /// the last one before the first of them, so that following the source from there brings what was lost.
    pub holes: Vec<Range<u64>>,
}

/// The entries of an [`Image`], in ascending order of the bytes of their keys.
#[derive(Debug)]
pub struct Entries(btree_map::IntoIter<String, Live>);

impl Image {
    /// How far it has the stream.
    pub const fn cursor(&self) -> &WatchCursor {
        &self.cursor
    }

    /// What was found in reading it.
    pub const fn report(&self) -> &ReadReport {
        &self.report
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Its entries, in ascending order of the bytes of their keys.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = EntryRef<'_>> {
        self.live.iter().map(|(key, live)| EntryRef {
            key,
            value: &live.value,
            version: live.version.as_bytes(),
        })
    }

    /// Its entries in the same order, each with its memory.
    pub fn into_entries(self) -> Entries {
        Entries(self.live.into_iter())
    }
}

impl Iterator for Entries {
    type Item = KvEntry;

    fn next(&mut self) -> Option<KvEntry> {
        let (key, Live { value, version }) = self.0.next()?;
        Some(KvEntry { key, value: value.into(), version })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Entries {}
impl FusedIterator for Entries {}

/// Reads the PGSS file at `path`. Its writer must not be running.
///
/// A torn tail is left out and reported. The last put or delete of a key counts, and the last cursor.
///
/// # Durability
/// Nothing is changed.
///
/// # Cost
/// Reads the file once, 1 MiB at a time; a record above that twice. Memory for the entries, and for the largest record.
///
/// # Errors
/// `Damaged` with the offset, if what was written does not verify; `NotOurs` if it does not begin like such a file; `Unsupported` for
/// version 1; `NewerFormat`; `NotFound`; `Precondition` if it is no regular file; `Io`.
///
/// # Example
/// ```
/// use untorn::fold::{WatchCursor, pgss};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("edge.snap");
/// # let entry = untorn::fold::KvEntry { key: "a".into(), value: "hi".into(), version: Default::default() };
/// # pgss::write_entries([Ok(entry)], &WatchCursor::from_u64(7), &path, std::sync::Arc::new(untorn::fs::OsFs::new()))?;
/// let image = pgss::read(&path)?;
/// assert_eq!(image.cursor().as_u64(), Some(7));
/// for entry in image.entries() {
///     println!("{} has {} bytes", entry.key, entry.value.len());
/// }
/// assert_eq!(image.report().torn_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> Result<Image> {
    read_with(path, Arc::new(OsFs::new()), OnDamage::Refuse)
}

/// As [`read`], on a file system, and with a choice of what to do with damage: with `Truncate` what precedes it is read, with
/// `Salvage` every record that verifies. No copy is made, since the file stays as it is. A value that holds such a file itself may
/// be taken for records where `Salvage` looks for the next good one.
///
/// # Errors
/// As [`read`].
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn read_with(path: impl AsRef<Path>, fs: Arc<dyn Fs>, on_damage: OnDamage) -> Result<Image> {
    let path = path.as_ref();
    let (place, _) = Place::resolve(&*fs, "open", path, Symlink::Follow)?;
    let file = place.dir.open(&place.name, How::Read);
    let file = file.map_err(|e| Error::system("open", path, e))?;
    let mut scan = Scan::new(Window::new(file)?, on_damage);
    scan.run()?;
    let Scan { cursor, live, report, .. } = scan;
    Ok(Image { cursor, live, report })
}

/// Writes a PGSS file to `path`, where there must be nothing, from entries in ascending order of their keys; how many there were.
///
/// Versions and cursor are written as they are; what the source said of evicting is kept in the cursor, and the time beside it.
///
/// # Durability
/// **On `Ok`** the file is complete and durable. **On `Err`**, **if the process dies** or **if power fails** nothing is at `path`,
/// unless the error's outcome says otherwise.
///
/// # Cost
/// Two syncs (file, directory) and one rename.
///
/// # Errors
/// `Unsupported` if a version or the cursor's position has more than 10 bytes, a key more than 65,535 or a value more than 64 MiB;
/// `AlreadyExists`; `InvalidInput` if the keys do not ascend; the errors of `entries`; `NoSpace`; `Io`.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use untorn::fold::{KvEntry, VersionToken, WatchCursor, pgss};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("edge.snap");
/// let entry = KvEntry { key: "a".into(), value: "hi".into(), version: VersionToken::from_u64(7) };
/// let fs = Arc::new(untorn::fs::OsFs::new());
/// pgss::write_entries([Ok(entry)], &WatchCursor::from_u64(7), &path, fs)?;
/// assert_eq!(pgss::read(&path)?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_entries(
    entries: impl IntoIterator<Item = Result<KvEntry>>,
    cursor: &WatchCursor,
    path: impl AsRef<Path>,
    fs: Arc<dyn Fs>,
) -> Result<u64> {
    let path = path.as_ref();
    let mut file = AtomicFile::create_new(path, &ReplaceOptions::new().fs(fs))?;
    let count = write_to(entries, cursor, &mut file)?;
    file.commit()?;
    Ok(count)
}

/// Writes the bytes of a PGSS file to `out`; how many entries there were. Many small writes: `out` should have a buffer.
///
/// # Errors
/// Those of [`write_entries`] that are about what is written, and those of `out`.
pub fn write_to(
    entries: impl IntoIterator<Item = Result<KvEntry>>,
    cursor: &WatchCursor,
    out: &mut impl io::Write,
) -> Result<u64> {
    let refuse = |kind, what: String| Err(Error::of_caller(kind, "write PGSS", what));
    let Some(cursor_bytes) = record::cursor_bytes(cursor) else {
        let len = cursor.position().len();
        let what = format!("its positions have 10 bytes at most, and the cursor's has {len}");
        return refuse(ErrorKind::Unsupported, what);
    };
    let mut records = record::Records::begin(out)?;
    let (mut count, mut last) = (0_u64, None::<String>);
    for entry in entries {
        let entry = entry?;
        if last.as_ref().is_some_and(|last| *last >= entry.key) {
            let what = format!("keys ascend, and {} does not", entry.key.escape_debug());
            return refuse(ErrorKind::InvalidInput, what);
        }
        records.put(&entry)?;
        count = count.saturating_add(1);
        last = Some(entry.key);
    }
    if !cursor_bytes.is_empty() {
        records.cursor(&cursor_bytes)?;
    }
    Ok(count)
}
