//! Exporting: files into a staged directory, the manifest last, published whole.
//!
//! ```text
//! stage   each file: write SYNC FILE   SYNC its directories   manifest SYNC FILE   SYNC DIRECTORY   rename   SYNC PARENT
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::manifest::{ArtifactFile, Manifest, SCHEMA, SCOPED, UNSCOPED, bytes_max};
use super::stage::{Filling, Stage};
use super::verify::read_all;
use super::{MANIFEST, rules};
use crate::fs::{File, Fs};
use crate::{Error, ErrorKind, Result};

/// What a store says of its artifact.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// `untorn-journal` and the like.
    pub(crate) backend: &'static str,
    /// Version of the form of the files.
    pub(crate) backend_version: &'static str,
    /// How far the store had come.
    pub(crate) cursor: Vec<u8>,
    /// Which part of the store it is.
    pub(crate) scope: Option<Vec<String>>,
    /// What else there is to say.
    pub(crate) detail: BTreeMap<String, String>,
}

/// An artifact in the making. Dropped before [`finish`](Self::finish), it leaves nothing at its destination.
#[derive(Debug)]
pub(crate) struct Export {
    stage: Stage,
    created_at_unix: u64,
    files: Vec<ArtifactFile>,
}

/// A file of an export. It is in the artifact once it is [finished](Self::finish); an export with one that is not fails.
#[derive(Debug)]
pub(crate) struct ExportFile<'a> {
    filling: Filling<'a>,
    files: &'a mut Vec<ArtifactFile>,
    path: String,
}

impl Export {
    /// Begins an artifact at `dest`, which must not exist or be an empty directory, in a directory that exists.
    ///
    /// `AlreadyExists` if there is something else.
    pub(crate) fn begin(fs: &dyn Fs, dest: &Path) -> Result<Self> {
        let stage = Stage::begin(fs, "export", dest)?;
        Ok(Self { stage, created_at_unix: fs.now().as_secs(), files: Vec::new() })
    }

    /// A new file. `path` begins with `data/`.
    pub(crate) fn file(&mut self, path: &str) -> Result<ExportFile<'_>> {
        let at = self.stage.path().join(path);
        rules::path(path).map_err(|e| Error::new(ErrorKind::InvalidInput, "export", &at, e))?;
        let filling = self.stage.create(Path::new(path))?;
        Ok(ExportFile { filling, files: &mut self.files, path: path.to_owned() })
    }

    /// The first `len` bytes of `source` as a file of the artifact.
    pub(crate) fn copy(&mut self, source: &dyn File, len: u64, path: &str) -> Result<()> {
        let mut file = self.file(path)?;
        file.copy_from(source, len)?;
        file.finish()
    }

    /// Writes the manifest and publishes the artifact.
    ///
    /// On `Ok` it is complete and durable. On an error there is nothing at the destination, unless the outcome is
    /// `Unknown`: a rename or the last sync failed, and the artifact is there whole or not at all.
    pub(crate) fn finish(self, about: About) -> Result<Manifest> {
        self.finish_as(SCHEMA, about)
    }

    /// As [`finish`](Self::finish), for an older program: schema 2, or 1 where there is no scope.
    pub(crate) fn finish_older(self, about: About) -> Result<Manifest> {
        let schema = if about.scope.is_some() { SCOPED } else { UNSCOPED };
        self.finish_as(schema, about)
    }

    fn finish_as(mut self, schema_version: u32, about: About) -> Result<Manifest> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Manifest {
            schema_version,
            backend: about.backend.to_owned(),
            backend_version: about.backend_version.to_owned(),
            cursor_hex: rules::hex(&about.cursor),
            created_at_unix: self.created_at_unix,
            files: self.files,
            scope: about.scope,
            detail: about.detail,
        };
        let invalid =
            |what| Error::new(ErrorKind::ArtifactInvalid, "export", &self.stage.path(), what);
        rules::check(&manifest).map_err(invalid)?;
        let bytes = manifest.to_json()?;
        if bytes.len() as u64 > bytes_max(schema_version) {
            let what = format!("its manifest would have {} bytes", bytes.len());
            return Err(invalid(what));
        }
        if !self.stage.is_broken() {
            let mut file = self.stage.create(Path::new(MANIFEST))?;
            file.put(&bytes)?;
            file.finish()?;
        }
        self.stage.publish()?;
        Ok(manifest)
    }
}

impl ExportFile<'_> {
    /// Adds the first `len` bytes of `source`.
    pub(crate) fn copy_from(&mut self, source: &dyn File, len: u64) -> Result<()> {
        let read = read_all(source, len, |bytes| self.filling.put(bytes))?;
        if read != len {
            let what = format!("it ends here, and {len} bytes are to be exported");
            return Err(Error::new(ErrorKind::Damaged, "export", source.path(), what).at(read));
        }
        Ok(())
    }

    /// Ends the file: it is synced, and will be in the manifest.
    pub(crate) fn finish(self) -> Result<()> {
        let (size, blake3) = self.filling.finish()?;
        self.files.push(ArtifactFile { path: self.path, size, blake3 });
        Ok(())
    }
}

impl io::Write for ExportFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.filling.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.filling.flush()
    }
}
