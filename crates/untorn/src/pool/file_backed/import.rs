//! From a directory of `file_backed` into a path.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::super::batch::{Batch, Meta};
use super::super::path::Core;
use super::{DirPath, Error, ErrorKind, FileBackedOptions, PIECE, Result, prefix_name};
use crate::fs::{Dir, How, Kind};

/// So many names that are left are listed.
const LISTED_MAX: usize = 1000;

/// Why a file may not be what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suspicion {
    /// There is nothing in it.
    Empty,
    /// There are only zeros in it.
    Zeros,
    /// `verify` says no.
    Refused,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Objects that were taken.
    pub imported: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Objects that the path had already.
    pub known: u64,
    /// Files that may not be what was stored: taken only with `accept_suspect`, and never if `verify` refused them.
    pub suspect: Vec<(Uuid, Suspicion)>,
    /// How many names are not those of objects; they were left alone.
    pub others: u64,
    /// The first thousand of these names.
    pub left: Vec<PathBuf>,
}

/// Copies all objects of a directory of `file_backed` into a path, as they are, and commits them to its loose set at the end. The
/// directory is only read; no program may change it meanwhile.
///
/// `codec` is what the bytes are in, as [`codec_id`](super::super::codec_id) numbers it: those of its `BinCodec` are in
/// [`FixedLe`](crate::codec::FixedLe). The path is taken into use if it is not yet; whatever else was staged for it is committed, too.
///
/// # Durability
/// **On `Ok`** all that was imported survives power loss. **On `Err`** with `Unchanged` nothing of it is in the path; with `Unknown`
/// a sync failed, and the next open finds all of it or nothing.
///
/// # Cost
/// Reads every file once. The syncs of one commit.
///
/// # Errors
/// `NotFound` if there is no such directory; `TooLarge` for a file above `max_object`; those of the path: `Locked`, `NotOurs`,
/// `Damaged`, `NoSpace`, `Poisoned`, `Io`.
///
/// # Example
/// ```
/// use untorn::pool::{DirPath, FileBackedOptions, SetPath, codec_id, import_file_backed};
/// # let dir = tempfile::tempdir()?;
/// let old = dir.path().join("old");
/// std::fs::create_dir_all(old.join("01"))?;
/// std::fs::write(old.join("01/0198c1a40b7e7c3f9d0e5a6b7c8d9e0f"), b"bytes")?;
///
/// let path = DirPath::new(dir.path().join("new"));
/// let report = import_file_backed(&old, &path, codec_id("fixed-le"), FileBackedOptions::new())?;
/// assert_eq!((report.imported, report.others), (1, 0));
/// assert_eq!(path.durable_keys().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import_file_backed(
    from: impl AsRef<Path>,
    to: &DirPath,
    codec: u16,
    mut options: FileBackedOptions<'_>,
) -> Result<ImportReport> {
    let from = from.as_ref();
    let dir = options.fs.open_dir(from).map_err(|e| Error::system("import", from, e))?;
    let core = to.open()?;
    let mut import = Import {
        core: &core,
        meta: Meta::new(codec, options.tag, 0),
        batch: Batch::new(),
        staged: Vec::new(),
        report: ImportReport::default(),
    };
    if let Err(error) = import.all(&*dir, &mut options) {
        import.take_back();
        return Err(error);
    }
    core.commit().inspect_err(|_| import.take_back())?;
    Ok(import.report)
}

struct Import<'i> {
    core: &'i Arc<Core>,
    meta: Meta,
    batch: Batch,
    /// What has to go again if it fails.
    staged: Vec<Uuid>,
    report: ImportReport,
}

impl Import<'_> {
    fn all(&mut self, dir: &dyn Dir, options: &mut FileBackedOptions<'_>) -> Result<()> {
        for name in dir.list().map_err(|e| Error::system("import", dir.path(), e))? {
            let Some(prefix) = prefix_of(&name) else {
                self.leave(dir, &name);
                continue;
            };
            let fail = |e| Error::system("import", &dir.path().join(&name), e);
            if dir.stat(&name).map_err(fail)?.kind != Kind::Dir {
                self.leave(dir, &name);
                continue;
            }
            let below = dir.open_dir(&name).map_err(fail)?;
            for name in below.list().map_err(fail)? {
                match key_of(&name).filter(|key| super::prefix(*key) == prefix) {
                    Some(key) => self.one(&*below, &name, key, options)?,
                    None => self.leave(&*below, &name),
                }
            }
        }
        self.write(options)
    }

    /// Of a path that is poisoned nothing is staged any more, and it says so again.
    fn take_back(&self) {
        for key in &self.staged {
            drop(self.core.delete(*key));
        }
    }

    fn leave(&mut self, dir: &dyn Dir, name: &OsStr) {
        self.report.others = self.report.others.saturating_add(1);
        if self.report.left.len() < LISTED_MAX {
            self.report.left.push(dir.path().join(name));
        }
    }

    fn one(
        &mut self,
        dir: &dyn Dir,
        name: &OsStr,
        key: Uuid,
        options: &mut FileBackedOptions<'_>,
    ) -> Result<()> {
        let path = dir.path().join(name);
        let fail = |e| Error::system("import", &path, e);
        if dir.stat(name).map_err(fail)?.kind != Kind::File {
            self.leave(dir, name);
            return Ok(());
        }
        if self.core.contains(key) {
            self.report.known = self.report.known.saturating_add(1);
            return Ok(());
        }
        let file = dir.open(name, How::Read).map_err(fail)?;
        let len = file.stat().map_err(fail)?.len;
        let size = usize::try_from(len).ok().filter(|_| len <= options.max_object);
        let Some(size) = size else {
            let what = format!("it has {len} bytes; the options allow {}", options.max_object);
            return Err(Error::new(ErrorKind::TooLarge, "import", &path, what));
        };
        if self.batch.bytes_len().saturating_add(size) > PIECE {
            self.write(options)?;
        }
        let mut bytes = vec![0; size];
        if file.read_at(&mut bytes, 0).map_err(fail)? != size {
            let what = "it became shorter while it was read; stop the program that uses it";
            return Err(Error::new(ErrorKind::Stale, "import", &path, what));
        }
        let suspicion = if options.verify.is_some_and(|verify| !verify(key, &bytes)) {
            Some(Suspicion::Refused)
        } else if bytes.is_empty() {
            Some(Suspicion::Empty)
        } else if bytes.iter().all(|byte| *byte == 0) {
            Some(Suspicion::Zeros)
        } else {
            None
        };
        if let Some(suspicion) = suspicion {
            self.report.suspect.push((key, suspicion));
            if suspicion == Suspicion::Refused || !options.accept_suspect {
                return Ok(());
            }
        }
        self.batch.push_stored(key, Meta { raw_len: len, weight: len, ..self.meta }, &bytes);
        self.report.imported = self.report.imported.saturating_add(1);
        self.report.bytes = self.report.bytes.saturating_add(len);
        Ok(())
    }

    fn write(&mut self, options: &mut FileBackedOptions<'_>) -> Result<()> {
        self.staged.extend(self.batch.objects().map(|(key, ..)| key));
        self.core.write(&mut self.batch, false)?;
        self.batch.clear(PIECE);
        let suspect = self.report.suspect.len() as u64;
        options.tell(self.report.imported.saturating_add(self.report.known).max(suspect));
        Ok(())
    }
}

fn prefix_of(name: &OsStr) -> Option<u8> {
    let number = u8::from_str_radix(name.to_str()?, 16).ok()?;
    (*prefix_name(number) == *name).then_some(number)
}

fn key_of(name: &OsStr) -> Option<Uuid> {
    let key = Uuid::try_parse(name.to_str()?).ok()?;
    (*key.simple().to_string() == *name).then_some(key)
}
