//! A fold that another process owns, read beside it: no lock, no write.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::open::{Home, LOG, log_options};
use super::options::FoldOptions;
use super::replay::Replay;
use super::shared::{Parts, Shared};
use super::stats::Recovery;
use super::view::View;
use super::{AppendLogSnapshot, WatchCursor};
use crate::commit::settle_read_mode;
use crate::fs::Dir;
use crate::log::{Log, Upto};
use crate::{Error, ErrorKind, Result};

/// How often a look is taken again if the owner compacts meanwhile.
const LOOKS: u32 = 16;

/// Looks again and again.
#[derive(Debug)]
pub(super) struct Follow {
    dir: Arc<dyn Dir>,
    options: FoldOptions,
}

/// What a look saw.
struct Seen {
    view: View,
    log_dir: Arc<dyn Dir>,
    store_id: [u8; 16],
    /// The cursor of the last commit that something in the log vouches for.
    durable: WatchCursor,
    report: Recovery,
}

pub(super) fn open(path: &Path, options: FoldOptions) -> Result<(WatchCursor, AppendLogSnapshot)> {
    let fs = Arc::clone(&options.fs);
    let started = fs.monotonic();
    let dir = fs.open_dir(path).map_err(|e| Error::system("open fold", path, e))?;
    let follow = Follow { dir: Arc::clone(&dir), options: options.clone() };
    let mut seen = follow.see()?;
    seen.report.elapsed = fs.monotonic().saturating_sub(started);
    let cursor = seen.view.state.cursor.clone();
    let shared = Shared::new(Parts {
        path: path.to_path_buf(),
        read_mode: settle_read_mode(options.read_mode, &*dir)?,
        options,
        dir,
        log_dir: seen.log_dir,
        log: None,
        store_id: seen.store_id,
        tail: seen.report.tail_bytes,
        view: seen.view,
        base_is_void: false,
    });
    shared.forget_unsynced(seen.durable);
    Ok((cursor, AppendLogSnapshot::following(Arc::new(shared), seen.report, follow)))
}

impl Follow {
    /// Takes what the owner committed since.
    pub(super) fn look(&self, shared: &Shared) -> Result<()> {
        let seen = self.see()?;
        *shared.view_mut() = seen.view;
        shared.tail.store(seen.report.tail_bytes, Relaxed);
        shared.forget_unsynced(seen.durable);
        shared.wake();
        Ok(())
    }

    /// One consistent look: if the owner compacted meanwhile, another one.
    fn see(&self) -> Result<Seen> {
        let mut looks: u32 = 0;
        loop {
            let error = match self.try_see() {
                Ok(seen) => return Ok(seen),
                Err(error) => error,
            };
            looks = looks.saturating_add(1);
            // A base that was replaced, or segments that were given up, look like damage.
            let moved = matches!(
                error.kind(),
                ErrorKind::Damaged | ErrorKind::Stale | ErrorKind::NotFound | ErrorKind::OutOfRange
            );
            if !moved || looks >= LOOKS || self.is_still(looks) {
                return Err(error);
            }
        }
    }

    /// Whether the same look twice sees the same: then it is no race.
    fn is_still(&self, looks: u32) -> bool {
        looks > 2 && crate::commit::holder_in(&*self.dir).is_ok_and(|holder| holder.is_none())
    }

    fn try_see(&self) -> Result<Seen> {
        let home = Home::look(Arc::clone(&self.dir), false)?;
        let base = home.base(&self.options)?;
        home.check(base.as_deref())?;
        let Some(log) = home.log else {
            let what = "there is no fold in this directory";
            return Err(Error::new(ErrorKind::NotFound, "open fold", self.dir.path(), what));
        };
        let mut report = Recovery::default();
        if let Some(base) = &base {
            report.base_entries = base.meta.entries;
            report.base_bytes = base.len();
        }
        let floor = base.as_ref().map_or(1, |base| base.header.floor);
        let log_path = self.dir.path().join(LOG);
        let reader =
            Log::open_read_only(&log_path, log_options(&self.options, floor.saturating_sub(1)))?;
        let mut replay = Replay::new(base, &self.options);
        let (vouched, mut durable) = (reader.durable_seq(), replay.state().cursor.clone());
        if reader.last_seq() >= floor {
            let mut scan = reader.read(floor, Upto::Written)?;
            while let Some(rec) = scan.next()? {
                replay.take(&rec, &log_path)?;
                if rec.seq <= vouched && replay.state().seq == rec.seq {
                    durable = replay.state().cursor.clone();
                }
            }
        }
        report.commits = replay.commits;
        report.updates = replay.updates;
        report.tail_bytes = replay.tail;
        let log_dir = self.dir.open_dir(OsStr::new(LOG));
        let log_dir = log_dir.map_err(|e| Error::system("open", &log_path, e))?;
        let view =
            replay.finish(&*log_dir, settle_read_mode(self.options.read_mode, &*self.dir)?)?;
        Ok(Seen { view, log_dir, store_id: log.store_id, durable, report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{KvUpdate, SnapshotStore as _, SyncPolicy, VersionToken};

    /// A reader beside the owner must not call durable what he has not synced.
    #[test]
    fn what_the_owner_did_not_sync_is_not_called_durable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fold");
        let options = FoldOptions::new().sync_policy(SyncPolicy::Manual);
        let (_, mut owner) = options.open(&path).unwrap();
        let mut apply = |n: u64| {
            let update = KvUpdate::put("k", "v", VersionToken::from_u64(n));
            owner.apply(&[update], &WatchCursor::from_u64(n)).unwrap();
            if n == 1 {
                owner.sync().unwrap();
            }
        };
        apply(1);
        let (_, mut reader) = FoldOptions::new().read_only(true).open(&path).unwrap();
        let before = reader.stats().tail_bytes;
        (2..10).for_each(&mut apply);
        assert_eq!(reader.refresh().unwrap().as_u64(), Some(9));
        assert!(reader.durable_cursor().as_u64() < Some(9), "{}", reader.durable_cursor());
        assert!(reader.stats().tail_bytes > before, "a look again counts again");
        owner.close().unwrap();
        reader.refresh().unwrap();
        assert_eq!(reader.durable_cursor().as_u64(), Some(9));
    }
}
