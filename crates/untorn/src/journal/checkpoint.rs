//! Writes the state down, and lets go of the log that it covers.
//!
//! ```text
//! capture   SYNC LOG   write   SYNC FILE   read back   rename   SYNC snap   retire old ones   SYNC snap   cut the log's front
//! ```
//! # Invariants
//! - J4 The log is durable up to the event that a snapshot covers before the snapshot has its name: no snapshot is ahead.
//! - J5 The front never passes the oldest snapshot that is kept: any of those that count, and the log, give the exact state.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use super::shelf::{self, Shelf};
use super::{Checkpoint, Inner, Journal, Last, Machine};
use crate::codec::Codec as _;
use crate::commit::{AtomicFile, Quarantine, Sites};
use crate::fs::SyncSite;
use crate::log::LogPos;
use crate::snapshot::SnapshotInfo;
use crate::snapshot::blocks::{self, BlocksWriter, Header};
use crate::{Error, ErrorKind, Result};

/// How much log there is since the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Growth {
    pub(super) bytes: AtomicU64,
    /// Size of the last snapshot.
    pub(super) snapshot: AtomicU64,
}

/// The state as it is to be written.
struct Captured<V> {
    seq: u64,
    last: Last,
    view: V,
    digest: Option<u64>,
    /// Bytes of log up to here.
    bytes: u64,
}

impl<M: Machine> Journal<M> {
    /// Writes the state to a snapshot and drops what it makes superfluous: older snapshots, and the log below the ones that
    /// are kept. If the newest snapshot covers the state already, that one is returned. Concurrent calls share a run.
    ///
    /// Updates go on meanwhile; they wait only for [`Machine::capture`].
    ///
    /// # Durability
    /// **On `Ok`** the snapshot survives power loss. **On `Err`** no event is lost, and the old snapshots are there; the new one
    /// may be, too. **If the process dies** or **if power fails** meanwhile, the journal opens with the same state as without the checkpoint.
    ///
    /// # Cost
    /// Syncs: one of the log if something is pending, one of the file, one of the directory; one more if old snapshots go; two more if
    /// segments of the log can go. Encodes and writes the state, and reads it back. Blocks.
    ///
    /// # Errors
    /// `Codec`; `NoSpace`: the journal goes on without; `Poisoned`; `Closed`; `Io`.
    ///
    /// # Panics
    /// If [`Machine::capture`] does.
    pub fn checkpoint(&self) -> Result<SnapshotInfo> {
        self.0.checkpoint()
    }

    /// Whether the log has grown so far that a checkpoint should be made: see [`Checkpoint`].
    pub fn checkpoint_due(&self) -> bool {
        self.0.due()
    }

    /// The snapshots on disk that verify, the oldest first.
    ///
    /// # Cost
    /// Reads all of them.
    ///
    /// # Errors
    /// `Io`; `NewerFormat`.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        shelf::infos(&*self.0.snap_dir)
    }
}

impl Growth {
    pub(super) fn set(&self, bytes: u64, snapshot: u64) {
        self.bytes.store(bytes, Release);
        self.snapshot.store(snapshot, Release);
    }
}

impl<M> Inner<M> {
    pub(super) fn due(&self) -> bool {
        let Checkpoint::Auto { min_bytes, ratio } = self.options.checkpoint else { return false };
        let grown = self.growth.bytes.load(Acquire);
        #[expect(clippy::cast_precision_loss, reason = "a threshold of sizes needs no exact bytes")]
        let enough = |bytes: u64, of: u64| bytes as f64 > ratio * of as f64;
        grown > min_bytes && enough(grown, self.growth.snapshot.load(Acquire))
    }

    /// Counts what was logged, and wakes the thread that makes checkpoints, if there is one.
    pub(super) fn grew(&self, bytes: usize) {
        self.growth.bytes.fetch_add(bytes as u64, AcqRel);
        if self.options.background_checkpoint && self.due() {
            self.background.wake();
        }
    }
}

impl<M: Machine> Inner<M> {
    pub(super) fn checkpoint(&self) -> Result<SnapshotInfo> {
        self.checkpoint_on(&mut self.shelf())
    }

    /// The caller holds the shelf, so that nothing is retired before he lets it go.
    pub(super) fn checkpoint_on(&self, on: &mut Shelf) -> Result<SnapshotInfo> {
        self.check("checkpoint")?;
        let captured = self.capture();
        if let Some(latest) = self.latest().as_ref().filter(|info| info.seq == captured.seq) {
            return Ok(latest.clone());
        }
        if self.log.durable_seq() < captured.seq {
            self.log.sync().map_err(|error| self.poison_by(error))?; // J4
        }
        // Durable is not yet placed: whoever synced may not have told the ticket so far.
        let pos = match &captured.last {
            Last::Ticket(ticket) => {
                self.log.wait(ticket).map_err(|error| self.poison_by(error))?;
                ticket.pos()
            }
            Last::Pos(pos) => *pos,
        };
        let bytes = captured.bytes;
        on.copy_bad(&self.quarantine())?;
        let info = self.write(on, captured, pos)?;
        self.growth.bytes.fetch_sub(bytes, AcqRel);
        self.growth.snapshot.store(info.stored_bytes, Release);
        self.tidy(on)?;
        Ok(info)
    }

    fn capture(&self) -> Captured<M::View> {
        let state = self.state();
        Captured {
            seq: state.applied,
            last: state.last.clone(),
            view: state.machine.capture(),
            digest: state.machine.digest(),
            bytes: self.growth.bytes.load(Acquire),
        }
    }

    fn write(
        &self,
        on: &mut Shelf,
        captured: Captured<M::View>,
        pos: Option<LogPos>,
    ) -> Result<SnapshotInfo> {
        let name = shelf::name(captured.seq);
        let path = on.dir.path().join(&name);
        let mut salt = [0; 4];
        self.fs.entropy(&mut salt).map_err(|e| Error::system("write snapshot", &path, e))?;
        let header = Header {
            store_id: self.log.store_id(),
            seq: captured.seq,
            pos: pos.map(|pos| LogPos { at: 0, ..pos }),
            machine_version: M::VERSION,
            digest: captured.digest,
            codec: <M::ViewCodec as crate::codec::Codec<M::View>>::NAME.to_owned(),
            machine: M::NAME.to_owned(),
            salt: u32::from_le_bytes(salt).max(1),
        };
        let sites = Sites { file: SyncSite::SnapshotFile, dir: SyncSite::SnapshotDir };
        let mut file = AtomicFile::in_dir(&*self.fs, &on.dir, &name, 0o600, sites)?;
        let blocks = BlocksWriter::new(&mut file, &header);
        let mut blocks = blocks.map_err(|e| Error::stream("write snapshot", e))?;
        M::ViewCodec::default()
            .encode_to(&captured.view, &mut blocks)
            .map_err(|e| if e.path().is_none() { e.with_path(&path) } else { e })?;
        drop(captured.view);
        let totals = blocks.finish();
        let totals = totals.map_err(|e| Error::stream("write snapshot", e))?;
        file.commit_checked(|written| {
            if blocks::verify(written)? != (header.clone(), totals) {
                let what = "it reads back as something else than was written; nothing was changed";
                return Err(Error::new(ErrorKind::Damaged, "write snapshot", &path, what));
            }
            Ok(())
        })?;
        let info = SnapshotInfo::of_blocks(&path, &header, totals);
        on.put(captured.seq);
        *self.latest() = Some(info.clone());
        Ok(info)
    }

    fn quarantine(&self) -> Quarantine<'_> {
        Quarantine { fs: &*self.fs, home: &*self.dir }
    }

    fn tidy(&self, on: &mut Shelf) -> Result<()> {
        if let Some(oldest) = on.tidy(self.options.keep_snapshots, &self.quarantine())? {
            // Not above the event that it ends with: the snapshot names the frame of that one. J5
            self.log.truncate_front(oldest).map_err(|error| match error.kind() {
                ErrorKind::Poisoned => self.poison_by(error),
                _ => error,
            })?;
        }
        Ok(())
    }
}
