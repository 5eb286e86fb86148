//! A journal as an artifact: the newest snapshot and the log from there on, as of now.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::identity;
use super::open::{LOG, OWNER};
use super::shelf;
use super::{Inner, Journal, JournalReport, Machine, verify_with};
use crate::artifact::{About, Export, Import, Manifest};
use crate::fs::{Dir, File, Fs, How, OsFs};
use crate::log::LogPiece;
use crate::{Error, ErrorKind, Result};

const BACKEND: &str = "untorn-journal";
const BACKEND_VERSION: &str = "1";

impl<M: Machine> Journal<M> {
    /// Makes a checkpoint, and copies it and the log above it into a new directory `dest`, with a manifest. Updates go on meanwhile.
    ///
    /// The artifact has every event that was logged before the call, and perhaps later ones; its `cursor_hex` is the last one's
    /// number, as a little-endian u64. [`import`] makes a journal of it, on any machine.
    ///
    /// # Durability
    /// **On `Ok`** the artifact is whole and survives power loss. **On `Err`**, **if the process dies** or **if power fails**,
    /// there is nothing at `dest`; what was begun beside it goes with the next `sweep`. The journal is as after a [`checkpoint`](Self::checkpoint).
    ///
    /// # Cost
    /// That of a checkpoint; one sync for each file and the manifest, one for each of four directories and one for the parent of `dest`. Copies the last segment with its zeros.
    ///
    /// # Errors
    /// `AlreadyExists` if `dest` is anything but missing or an empty directory; else as [`checkpoint`](Self::checkpoint).
    pub fn export(&self, dest: impl AsRef<Path>) -> Result<Manifest> {
        self.0.export(dest.as_ref())
    }
}

impl<M: Machine> Inner<M> {
    fn export(&self, dest: &Path) -> Result<Manifest> {
        let mut export = Export::begin(&*self.fs, dest)?;
        let (info, snapshot, _pin) = {
            // No other checkpoint takes away what is copied: the file is open, the log pinned.
            let mut held = self.shelf();
            let info = self.checkpoint_on(&mut held)?;
            let file = shelf::open(&*self.snap_dir, info.seq)?;
            let pin = self.log.pin(info.seq);
            (info, file, pin)
        };
        let (last_seq, pieces) = self.log.pieces(info.pos)?;
        copy(&mut export, &*identity_file(&*self.dir)?, &format!("data/{}", identity::NAME))?;
        let name = shelf::name(info.seq);
        copy(&mut export, &*snapshot, &format!("data/{}/{}", shelf::DIR, name.to_string_lossy()))?;
        for piece in &pieces {
            put(&mut export, piece)?;
        }
        let detail = BTreeMap::from([
            ("machine".to_owned(), M::NAME.to_owned()),
            ("store_id".to_owned(), uuid::Uuid::from_bytes(self.log.store_id()).to_string()),
            ("snapshot_seq".to_owned(), info.seq.to_string()),
        ]);
        export.finish(About {
            backend: BACKEND,
            backend_version: BACKEND_VERSION,
            cursor: last_seq.to_le_bytes().to_vec(),
            scope: None,
            detail,
        })
    }
}

fn identity_file(dir: &dyn Dir) -> Result<Arc<dyn File>> {
    let opened = dir.open(identity::NAME.as_ref(), How::Read);
    opened.map_err(|e| Error::system("export", &dir.path().join(identity::NAME), e))
}

fn copy(export: &mut Export, file: &dyn File, path: &str) -> Result<()> {
    let stat = file.stat().map_err(|e| Error::system("look at", file.path(), e))?;
    export.copy(file, stat.len, path)
}

fn put(export: &mut Export, piece: &LogPiece) -> Result<()> {
    let fail = |e| Error::stream("export", e);
    match piece {
        LogPiece::Bytes(name, bytes) => {
            let mut out = export.file(&format!("data/{LOG}/{name}"))?;
            out.write_all(bytes).map_err(fail)?;
            out.finish()
        }
        LogPiece::File { name, file, used, len } => {
            let mut out = export.file(&format!("data/{LOG}/{name}"))?;
            out.copy_from(&**file, *used)?;
            let mut zeros = io::repeat(0).take(len.saturating_sub(*used));
            io::copy(&mut zeros, &mut out).map_err(fail)?;
            out.finish()
        }
    }
}

/// Makes a journal at `dest` of an artifact that [`Journal::export`] made. It has the same store id, events and numbers.
///
/// Every file is compared with the manifest while it is copied, and the copy verified as a journal, before it gets its name.
///
/// # Durability
/// **On `Ok`** the journal is whole and survives power loss. **On `Err`**, **if the process dies** or **if power fails** there is
/// nothing at `dest`.
///
/// # Cost
/// One sync for each file, one for each of three directories and one for the parent of `dest`.
///
/// # Errors
/// `ArtifactInvalid` if it is none, or of another store; `Damaged` if a file does not agree with the manifest; `NewerFormat`; `AlreadyExists` if `dest` is
/// anything but missing or an empty directory; `NoSpace`; `Io`.
pub fn import(artifact: impl AsRef<Path>, dest: impl AsRef<Path>) -> Result<Manifest> {
    import_with(artifact, dest, Arc::new(OsFs::new()), |_| {})
}

/// As [`import`], on a file system; `progress` gets the number of bytes copied so far.
///
/// # Errors
/// As [`import`].
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn import_with(
    artifact: impl AsRef<Path>,
    dest: impl AsRef<Path>,
    fs: Arc<dyn Fs>,
    progress: impl FnMut(u64),
) -> Result<Manifest> {
    let path = artifact.as_ref();
    let import = Import::open(&*fs, path, (BACKEND, BACKEND_VERSION))?;
    let stage = import.stage(&*fs, dest.as_ref(), progress)?;
    let found = verify_with(stage.path(), Arc::clone(&fs))?;
    agrees(&found, import.manifest(), path)?;
    stage.publish()?;
    Ok(import.manifest().clone())
}

/// Whether the copy is the sound journal that the manifest speaks of.
fn agrees(found: &JournalReport, manifest: &Manifest, path: &Path) -> Result<()> {
    let cursor = found.log.as_ref().map(|log| log.last_seq);
    let declared = u64::from_str_radix(&manifest.cursor_hex, 16).map(u64::swap_bytes).ok();
    let what = if !found.is_sound() || found.log_owner != OWNER {
        "its files are those that the manifest names, but they are no sound journal"
    } else if cursor != declared {
        "its log does not end with the event that the manifest names"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::ArtifactInvalid, "import", path, what))
}
