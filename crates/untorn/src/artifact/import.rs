//! Importing: an artifact's files copied into a staged store, each compared as it is copied (A3).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DATA;
use super::manifest::{Manifest, open_dir};
use super::stage::Stage;
use super::verify::{check_shape, read_file};
use crate::fs::{Dir, File, Fs};
use crate::{Error, ErrorKind, Result};

/// An artifact that is about to be imported: its manifest and its shape were checked, its bytes were not.
#[derive(Debug)]
pub(crate) struct Import {
    dir: Arc<dyn Dir>,
    manifest: Manifest,
}

impl Import {
    /// Opens the artifact at `path`, of this backend.
    ///
    /// `ArtifactInvalid` if it is another backend's; `NewerFormat` if it is a later version of it.
    pub(crate) fn open(fs: &dyn Fs, path: &Path, known: (&str, &str)) -> Result<Self> {
        Self::open_any(fs, path, &[known])
    }

    /// As [`open`](Self::open), of one of these backends; which one, the manifest says.
    pub(crate) fn open_any(fs: &dyn Fs, path: &Path, known: &[(&str, &str)]) -> Result<Self> {
        let dir = open_dir(fs, path)?;
        let manifest = Manifest::load(&*dir)?;
        let error = |kind, what| Err(Error::new(kind, "import", path, what));
        let (backend, version) = (&*manifest.backend, &*manifest.backend_version);
        match known.iter().find(|(name, _)| *name == backend) {
            Some((_, known)) if *known == version => {}
            Some((_, known)) => {
                let what =
                    format!("it is version {version} of {backend}, and this version knows {known}");
                return error(ErrorKind::NewerFormat, what);
            }
            None => {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                let what = format!("it is of {backend}, not of {}", names.join(" or "));
                return error(ErrorKind::ArtifactInvalid, what);
            }
        }
        check_shape(&dir, &manifest)?;
        Ok(Self { dir, manifest })
    }

    /// Opens a declared file, whose bytes are compared first. It is for reading from the artifact itself, by who takes nothing from it
    /// unverified.
    pub(crate) fn file(&self, path: &str) -> Result<Arc<dyn File>> {
        let declared = self.manifest.files.iter().find(|file| file.path == path);
        let missing = || {
            let what = format!("the manifest does not name {path}");
            Error::new(ErrorKind::ArtifactInvalid, "import", self.dir.path(), what)
        };
        read_file(&self.dir, declared.ok_or_else(missing)?, |_| Ok(()))
    }

    /// What the artifact says of itself.
    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Copies every file to where it is without `data/`, into a staged directory that is to become `dest`. `progress` gets
    /// the number of bytes copied so far.
    ///
    /// The store then opens [`Stage::path`], looks whether it is what the manifest says, closes it, and publishes the stage.
    /// `dest` must not exist or be an empty directory. On an error nothing is there.
    pub(crate) fn stage(
        &self,
        fs: &dyn Fs,
        dest: &Path,
        mut progress: impl FnMut(u64),
    ) -> Result<Stage> {
        let mut stage = Stage::begin(fs, "import", dest)?;
        let mut copied = 0_u64;
        for declared in &self.manifest.files {
            let path = Path::new(&declared.path).strip_prefix(DATA).map(PathBuf::from);
            let path = path.unwrap_or_default();
            let mut file = stage.create(&path)?;
            read_file(&self.dir, declared, |bytes| {
                file.put(bytes)?;
                copied = copied.saturating_add(bytes.len() as u64);
                progress(copied);
                Ok(())
            })?;
            file.finish()?;
        }
        Ok(stage)
    }
}
