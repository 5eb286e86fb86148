//! A directory that objects are persisted to, as sets that change as one.
//!
//! A record of the manifest, a log, is a commit; what it lists was synced before it. docs/FORMAT.md has every byte.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::sets::{CheckpointId, ObjectInfo, Set, SetInfo, SetPath};
use crate::{Error, ErrorKind, Result};

mod check;
mod commit;
mod compact;
mod core;
mod follow;
mod open;
mod options;
mod read;
mod record;
mod table;
#[cfg(feature = "sim")]
#[cfg(test)]
mod tests;
mod write;

pub(in crate::pool) use self::core::Core;
pub use self::core::PathStats;
pub use check::{GcReport, PathDamage, PathReport, verify_path};
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
    read_only: bool,
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
        Self {
            path: path.as_ref().to_path_buf(),
            options,
            read_only: false,
            open: Mutex::new(None),
        }
    }

    /// A path beside its owner, for reading alone: no lock is taken, and nothing is changed. It shows a state of the manifest; see [`refresh`](Self::refresh).
    pub fn read_only(path: impl AsRef<Path>) -> Self {
        Self::read_only_with(path, DirPathOptions::new())
    }

    /// As [`read_only`](Self::read_only), with options.
    pub fn read_only_with(path: impl AsRef<Path>, options: DirPathOptions) -> Self {
        let path = path.as_ref().to_path_buf();
        Self { path, options, read_only: true, open: Mutex::new(None) }
    }

    /// Of a path that is read only: looks at the manifest anew. Objects that were moved are found without it.
    ///
    /// # Cost
    /// Reads the manifest.
    ///
    /// # Errors
    /// `Precondition` of a path that is not in use, or is owned; `NotFound`, `Damaged`, `Stale`; `Io`. Then it shows what it did.
    pub fn refresh(&self) -> Result<()> {
        if !self.read_only {
            let what = "the owner of a path needs no look at it";
            return Err(Error::new(ErrorKind::Precondition, "refresh", &self.path, what));
        }
        self.core()?.refresh()
    }

    /// Finds files of this path that nothing lists any more, which crashes left in `obj`; with `remove` takes them away. Files of others
    /// stay in any case. A path that is read only is only looked at; what its owner has staged is among what is found.
    ///
    /// # Durability
    /// None is needed: what comes back after a power cut is found again.
    ///
    /// # Cost
    /// Lists all directories of the path, and looks into each file that is not listed; no sync.
    ///
    /// # Errors
    /// `Precondition` if the path is not in use; `ReadOnly` with `remove`; `Closed`, `Poisoned`, `Io`; what was removed by then stays
    /// removed.
    pub fn gc(&self, remove: bool) -> Result<GcReport> {
        self.core()?.gc(remove)
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
    pub(in crate::pool) fn open(&self) -> Result<Arc<Core>> {
        let mut slot = self.slot();
        if let Some(opened) = slot.as_ref().filter(|opened| !opened.core.is_poisoned()) {
            return Ok(Arc::clone(&opened.core));
        }
        if let Some(before) = slot.take() {
            before.core.close();
        }
        let (core, report) = if self.read_only {
            Core::read_only(&self.path, &self.options)?
        } else {
            Core::open(&self.path, &self.options)?
        };
        *slot = Some(Opened { core: Arc::clone(&core), report });
        Ok(core)
    }

    /// The path in use.
    pub(in crate::pool) fn core(&self) -> Result<Arc<Core>> {
        if let Some(opened) = self.slot().as_ref() {
            return Ok(Arc::clone(&opened.core));
        }
        let what = "the path is not in use; track it first";
        Err(Error::new(ErrorKind::Precondition, "use path", &self.path, what))
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
