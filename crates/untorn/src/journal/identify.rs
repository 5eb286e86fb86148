//! Tells what a directory is a journal of, for tools that do not know the machine.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::open::{LOG, look};
use super::shelf;
use crate::fs::{Fs as _, OsFs};
use crate::{Error, ErrorKind, Result};

/// What a journal says that it is, and where its parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalInfo {
    /// What it is a journal of.
    pub machine: String,
    /// How its events are written.
    pub event_codec: String,
    /// What all its files are marked with.
    pub store_id: Uuid,
    /// The directory of its log.
    pub log: PathBuf,
    /// Its snapshots, the oldest first. Nothing of them was read.
    pub snapshots: Vec<PathBuf>,
}

/// Says what the journal at `path` is, from its smallest files. Reads no event and no snapshot, changes nothing, takes no lock; works beside a living owner.
///
/// # Errors
/// `NotFound`; `Damaged` if it cannot be told; `NewerFormat`; `Io`.
///
/// # Example
/// ```
/// # use untorn::codec::Json;
/// # use untorn::journal::{self, Journal, JournalOptions, Machine};
/// # struct Sum(u64);
/// # impl Machine for Sum {
/// #     type Event = u64;
/// #     type View = u64;
/// #     type EventCodec = Json;
/// #     type ViewCodec = Json;
/// #     const NAME: &'static str = "sum";
/// #     const VERSION: u32 = 1;
/// #     fn apply(&mut self, _seq: u64, event: &u64) { self.0 += *event; }
/// #     fn capture(&self) -> u64 { self.0 }
/// #     fn restore(view: u64) -> Result<Self, String> { Ok(Self(view)) }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("sum");
/// let (_journal, _) = Journal::open(&dir, Sum(0), JournalOptions::new())?;
/// let info = journal::identify(&dir)?;
/// assert_eq!((info.machine.as_str(), info.event_codec.as_str()), ("sum", "json"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn identify(path: impl AsRef<Path>) -> Result<JournalInfo> {
    let path = path.as_ref();
    let dir = OsFs::new().open_dir(path).map_err(|e| Error::system("look at", path, e))?;
    let Some((log, identity)) = look(&*dir)? else {
        let what = "there is no journal in it, or its owner is just making one";
        return Err(Error::new(ErrorKind::NotFound, "look at", path, what));
    };
    let mut snapshots = match dir.open_dir(shelf::DIR.as_ref()) {
        Ok(snap_dir) => shelf::list(&*snap_dir)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Error::system("open", &path.join(shelf::DIR), e)),
    };
    snapshots.reverse();
    Ok(JournalInfo {
        machine: identity.machine,
        event_codec: identity.event_codec,
        store_id: Uuid::from_bytes(log.store_id),
        log: path.join(LOG),
        snapshots: snapshots
            .into_iter()
            .map(|seq| path.join(shelf::DIR).join(shelf::name(seq)))
            .collect(),
    })
}
