//! untorn's chunked file, with its defaults.

use std::path::Path;

use untorn::chunked::{AtomicChunked, ChunkedOptions, FileResource, Identity, ResourceExt};

use super::{Filler, Job};
use crate::Result;

/// Whether a later owner could go on.
#[derive(Clone, Copy, Debug)]
pub enum Untorn {
    /// Nothing is known of the file: no checksums, no map, two syncs; space is reserved step by step.
    WithoutMap,
    /// Its length alone is known: all its space is reserved at once.
    WithLen,
    /// Its length and its `ETag` are known: checksums, and a map of what is durable, every 64 MiB.
    WithMap,
}

impl Filler for Untorn {
    fn name(&self) -> &'static str {
        match self {
            Self::WithoutMap => "untorn without map",
            Self::WithLen => "untorn without map, length known",
            Self::WithMap => "untorn with map",
        }
    }

    fn fill(&self, path: &Path, job: &Job) -> Result<()> {
        let identity = match self {
            Self::WithoutMap => Identity::new(),
            Self::WithLen => Identity::new().len(job.len),
            Self::WithMap => identity(job.len),
        };
        let file = open(path, ChunkedOptions::new().identity(identity))?;
        job.each(|offset, piece| Ok(file.write_at(offset, piece)?))?;
        Ok(file.commit(None)?)
    }
}

/// One by which a later owner knows the file again.
pub fn identity(len: u64) -> Identity {
    Identity::new().len(len).etag("\"5f3-a1\"")
}

/// Claims the part of the file.
pub fn open(path: &Path, options: ChunkedOptions) -> Result<AtomicChunked<FileResource>> {
    Ok(AtomicChunked::open_with(path.to_path_buf(), options, |path, _| FileResource::open(path))?)
}
