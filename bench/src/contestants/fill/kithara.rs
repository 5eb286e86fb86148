//! kithara-storage: the same decorator, in its way that syncs the data before the rename. It syncs no directory.

use std::path::Path;

use kithara_platform::CancelToken;
use kithara_storage::{AtomicChunked, MmapDriver, MmapOptions, OpenIntent, OpenMode, Resource};

use super::{Filler, Job};
use crate::Result;

/// How large it makes its file at first.
#[derive(Clone, Copy, Debug)]
pub enum Kithara {
    /// 64 KiB, and twice as much each time.
    AsIs,
    /// All of it.
    Sized,
}

impl Filler for Kithara {
    fn name(&self) -> &'static str {
        match self {
            Self::AsIs => "kithara",
            Self::Sized => "kithara pre-sized",
        }
    }

    fn fill(&self, path: &Path, job: &Job) -> Result<()> {
        let sized = matches!(self, Self::Sized).then_some(job.len);
        let file = open(path, sized, CancelToken::never())?;
        job.each(|offset, piece| Ok(file.write_at(offset, piece)?))?;
        Ok(file.commit(Some(job.len))?)
    }
}

/// Claims its temporary file.
pub fn open(
    path: &Path,
    len: Option<u64>,
    cancel: CancelToken,
) -> Result<AtomicChunked<MmapDriver>> {
    Ok(AtomicChunked::open(path.to_path_buf(), move |path, intent| {
        let mode = match intent {
            OpenIntent::Fresh => OpenMode::ReadWrite,
            OpenIntent::Reopen => OpenMode::ReadOnly,
        };
        let options = MmapOptions::for_path(path.to_path_buf()).mode(mode);
        Resource::open(cancel.clone(), options.maybe_initial_len(len).build())
    })?)
}
