//! A directory that objects are persisted to, as sets that change as one.
//!
//! A record of the manifest, a log, is a commit; what it lists was synced before it. docs/FORMAT.md has every byte.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::sets::{CheckpointId, ObjectInfo, Set, SetInfo, SetPath};
use crate::{Error, ErrorKind, Result};

mod commit;
mod compact;
mod core;
#[cfg(feature = "sim")]
#[cfg(test)]
mod explored;
mod open;
mod options;
mod record;
mod table;
#[cfg(feature = "sim")]
#[cfg(test)]
mod tests;
mod write;

pub(crate) use self::core::{Core, PathStats};
pub use options::{DirPathOptions, OpenReport};

/// A directory that objects are persisted to.
///
/// It is taken into use by [`sanitize_path`](super::BackingStoreT::sanitize_path), which makes it where it is missing, and is
/// owned until the value is dropped and nothing of it is registered any more.
///
/// ```
/// use untorn::pool::{DirPath, DirPathOptions};
/// let path = DirPath::with("state/tiles", DirPathOptions::new().segment_max(64 << 10));
/// assert_eq!(path.path(), std::path::Path::new("state/tiles"));
/// ```
#[derive(Debug)]
pub struct DirPath {
    path: PathBuf,
    options: DirPathOptions,
    open: Mutex<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    core: Arc<Core>,
    report: OpenReport,
}

impl DirPath {
    /// A path with the default options. Nothing is looked at yet.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self::with(path, DirPathOptions::new())
    }

    /// A path with options. Nothing is looked at yet.
    pub fn with(path: impl AsRef<Path>, options: DirPathOptions) -> Self {
        Self { path: path.as_ref().to_path_buf(), options, open: Mutex::new(None) }
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What opening it found; `None` before.
    pub fn open_report(&self) -> Option<OpenReport> {
        self.slot().as_ref().map(|opened| opened.report.clone())
    }

    fn slot(&self) -> MutexGuard<'_, Option<Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the path into use; a poisoned one anew.
    ///
    /// # Durability
    /// **On `Ok`** the directory and its manifest survive power loss. **On `Err`** `Locked`, `NotOurs`, `NewerFormat` and `Damaged` changed
    /// nothing but the text in `LOCK`.
    ///
    /// # Cost
    /// Reads the manifest, and the names in `seg`; looks at each segment. The syncs of [`Log::open`](crate::log::Log::open).
    pub(crate) fn open(&self) -> Result<Arc<Core>> {
        let mut slot = self.slot();
        if let Some(opened) = slot.as_ref().filter(|opened| !opened.core.is_poisoned()) {
            return Ok(Arc::clone(&opened.core));
        }
        if let Some(before) = slot.take() {
            before.core.close();
        }
        let (core, report) = Core::open(&self.path, &self.options)?;
        *slot = Some(Opened { core: Arc::clone(&core), report });
        Ok(core)
    }

    /// The path in use.
    pub(crate) fn core(&self) -> Result<Arc<Core>> {
        match self.slot().as_ref() {
            Some(opened) => Ok(Arc::clone(&opened.core)),
            None => {
                let what = "the path is not in use; track it first";
                Err(Error::new(ErrorKind::Precondition, "use path", &self.path, what))
            }
        }
    }
}

impl Drop for DirPath {
    fn drop(&mut self) {
        if let Some(opened) = self.slot().take() {
            opened.core.close();
        }
    }
}

impl SetPath for DirPath {
    fn checkpoint(&self, name: &str, keys: &[Uuid], meta: &[u8]) -> Result<CheckpointId> {
        self.core()?.checkpoint(name, keys, meta)
    }

    fn read_set(&self, name: &str) -> Result<Option<Set>> {
        self.core()?.read_set(name)
    }

    fn drop_set(&self, name: &str) -> Result<()> {
        self.core()?.drop_set(name)
    }

    fn sets(&self) -> Vec<SetInfo> {
        self.core().map(|core| core.sets()).unwrap_or_default()
    }

    fn objects(&self) -> Vec<(Uuid, ObjectInfo)> {
        self.core().map(|core| core.infos()).unwrap_or_default()
    }

    fn durable_keys(&self) -> Vec<Uuid> {
        self.core().map(|core| core.durable_keys()).unwrap_or_default()
    }
}
