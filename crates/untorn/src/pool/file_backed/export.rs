//! From a path into a directory of `file_backed`.

use std::path::Path;

use super::super::compress;
use super::super::sets::SetPath;
use super::{DirPath, Error, ErrorKind, FileBackedOptions, Result, prefix, prefix_name};
use crate::commit::{TempDir, sync_file, sync_staged};
use crate::fs::{How, SyncSite};

/// So many objects go by between two words of progress.
const TOLD_EVERY: u64 = 1000;

/// What an export wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// Objects.
    pub objects: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// Writes the objects of a set, or with `None` all that are committed, as a directory of `file_backed`: their bytes as the codec made
/// them, decompressed. `to` must not exist or be an empty directory. It gets its name when it is whole, and has mode 0700.
///
/// The path is taken into use if it is not yet. `file_backed` reads values whose codec wrote
/// [`FixedLe`](crate::codec::FixedLe) with its `BinCodec`.
///
/// # Durability
/// **On `Ok`** the directory survives power loss. **On `Err`** with `Unchanged` there is none; with `Unknown` it is there whole or
/// not at all after the next power cut.
///
/// # Cost
/// One sync for each object, one for each of 257 directories, and one of the parent.
///
/// # Errors
/// `NotFound` if there is no such set; `AlreadyExists` if there is something at `to`; `Damaged` with file and offset if an object
/// does not verify; `Unsupported` if it is compressed in a way that this build has not; those of the path; `NoSpace`, `Io`.
pub fn export_file_backed(
    from: &DirPath,
    set: Option<&str>,
    to: impl AsRef<Path>,
    mut options: FileBackedOptions<'_>,
) -> Result<ExportReport> {
    const WHAT: &str = "export";
    let core = from.open()?;
    let mut keys = match set {
        None => from.durable_keys(),
        Some(name) => {
            let no_set = || {
                let what = format!("there is no set {name:?}");
                Error::new(ErrorKind::NotFound, WHAT, from.path(), what)
            };
            from.read_set(name)?.ok_or_else(no_set)?.keys
        }
    };
    keys.sort_unstable();
    let staged = TempDir::begin(&*options.fs, WHAT, to.as_ref())?;
    let mut report = ExportReport::default();
    let (mut buf, mut raw) = (Vec::new(), Vec::new());
    let mut keys = keys.into_iter().peekable();
    for number in 0..=u8::MAX {
        let name = prefix_name(number);
        let path = staged.dir().path().join(&name);
        let made = staged.dir().make_dir(name.as_ref(), 0o777);
        let dir = made.and_then(|()| staged.dir().open_dir(name.as_ref()));
        let dir = dir.map_err(|e| Error::system(WHAT, &path, e))?;
        while let Some(key) = keys.next_if(|key| prefix(*key) == number) {
            let object = core.get(key, &mut buf)?;
            let (meta, stored) = (object.meta, object.bytes);
            compress::expand(meta.compression, stored, meta.raw_len, &mut raw)
                .map_err(|e| e.during(WHAT).with_path(from.path()))?;
            let name = key.simple().to_string();
            let fail = |e| Error::system(WHAT, &path.join(&name), e);
            let file = dir.open(name.as_ref(), How::CreateNew(0o666)).map_err(fail)?;
            file.write_at(&raw, 0).map_err(fail)?;
            sync_file(&*file, SyncSite::ArtifactFile)?;
            report.objects = report.objects.saturating_add(1);
            report.bytes = report.bytes.saturating_add(raw.len() as u64);
            if report.objects.is_multiple_of(TOLD_EVERY) {
                options.tell(report.objects);
            }
        }
        sync_staged(&*dir)?;
    }
    staged.publish(WHAT)?;
    options.tell(report.objects);
    Ok(report)
}
