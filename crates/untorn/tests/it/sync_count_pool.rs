//! How many syncs and renames each public call of a pool makes; as in `sync_count`, the same numbers stand elsewhere.

use std::path::Path;
use std::sync::Arc;

use untorn::fs::{Fs, SyncSite};
use untorn::pool::{DirPath, Fb, TrackedPath, verify_path};
use untorn::sim::Meter;

use SyncSite::{
    LogBeginFile, LogFrame, LogPrepareDir, LogPrepareFile, MakeDirParent, PoolDir, PoolObject,
    PoolObjectDir, PoolSegment, PoolSegmentDir,
};

use super::pool_disk::{Bytes, LONG, SMALL, Store, body, path_options, pool, store};
use super::sync_count::{CUT, META, NOTHING, check, disk, killed};

const STATE: &str = "/data/state";

struct All {
    store: Store,
    pool: Arc<untorn::pool::Pool<Bytes>>,
    fs: Arc<dyn Fs>,
}

fn all(meter: &Meter) -> All {
    let fs: Arc<dyn Fs> = Arc::new(meter.clone());
    let store = check(meter, NOTHING, 0, || store(&fs, Path::new("/data/scratch")).unwrap());
    All { pool: pool(&store, 4 * LONG), store, fs }
}

impl All {
    fn track(&self) -> TrackedPath<DirPath> {
        self.store.blocking_track_path(DirPath::with(STATE, path_options(&self.fs))).unwrap()
    }

    fn insert(&self, n: u64, len: usize) -> Fb<Bytes> {
        self.pool.blocking_insert(body(n, len)).unwrap()
    }
}

/// A log that is made, with the directories that lead to it: `/`, `/data` and the path's own.
fn new_log() -> impl Iterator<Item = (SyncSite, u64)> {
    let made = [(LogPrepareFile, 1), (LogBeginFile, 1), (LogPrepareDir, 1), (MakeDirParent, 3)];
    made.into_iter().chain(META)
}

#[test]
fn pool_open_and_close() {
    let (sim, meter) = disk();
    let of = all(&meter);
    let path = check(&meter, new_log(), 2, || of.track());
    check(&meter, NOTHING, 0, || of.store.blocking_sync(&path).unwrap());
    check(&meter, NOTHING, 0, || drop(path));
    let path = check(&meter, CUT, 2, || of.track());
    of.insert(0, SMALL).blocking_persist(&path).unwrap();
    of.store.blocking_sync(&path).unwrap();
    // That it was closed is noted nowhere.
    check(&meter, NOTHING, 0, || drop(path));
    let path = check(&meter, CUT, 2, || of.track());
    of.insert(1, SMALL).blocking_persist(&path).unwrap();
    let begun = [(PoolSegment, 1), (PoolSegmentDir, 1), (LogFrame, 1)];
    check(&meter, begun, 0, || of.store.blocking_sync(&path).unwrap());
    let (_sim, meter) = killed(&sim);
    drop((path, of));
    let of = all(&meter);
    // As a log that was not closed.
    let path = check(&meter, CUT, 2, || of.track());
    check(&meter, NOTHING, 0, || {
        for key in path.all_keys() {
            let fb = of.pool.blocking_register(&path, key).unwrap().unwrap();
            assert_eq!(fb.blocking_load().unwrap().len(), SMALL);
        }
    });
    let read_only = || DirPath::read_only_with(STATE, path_options(&of.fs));
    check(&meter, NOTHING, 0, || of.store.blocking_track_path(read_only()).unwrap());
    check(&meter, NOTHING, 0, || verify_path(STATE, Arc::clone(&of.fs), |_, _| ()).unwrap());
}

#[test]
fn pool_commits() {
    let (_sim, meter) = disk();
    let of = all(&meter);
    let path = of.track();
    let handles: Vec<_> = (0..4).map(|n| of.insert(n, SMALL)).collect();
    check(&meter, NOTHING, 0, || handles[0].blocking_persist(&path).unwrap());
    // The first one has its segment's name to see to, and that of the directory.
    let first = [(PoolSegment, 1), (PoolSegmentDir, 1), (PoolDir, 1), (LogFrame, 1)];
    check(&meter, first, 0, || of.store.blocking_sync(&path).unwrap());
    check(&meter, NOTHING, 0, || of.store.blocking_sync(&path).unwrap());
    let small = [(PoolSegment, 1), (LogFrame, 1)];
    Fb::blocking_persist_many(&[&handles[1], &handles[2]], &path).unwrap();
    check(&meter, small, 0, || of.store.blocking_sync(&path).unwrap());
    // What is there already, and what is no more wanted, is a record and nothing else.
    check(&meter, NOTHING, 0, || handles[1].blocking_persist(&path).unwrap());
    check(&meter, NOTHING, 0, || of.store.blocking_sync(&path).unwrap());
    let key = handles[1].key();
    check(&meter, NOTHING, 0, || of.store.blocking_delete_persisted(&path, key).unwrap());
    check(&meter, [(LogFrame, 1)], 0, || of.store.blocking_sync(&path).unwrap());
    check(&meter, NOTHING, 0, || of.store.blocking_delete_persisted(&path, key).unwrap());
    check(&meter, NOTHING, 0, || of.store.blocking_sync(&path).unwrap());
    let two = [&handles[0], &handles[3]];
    check(&meter, small, 0, || Fb::blocking_checkpoint(&two, &path, "a", b"").unwrap());
    check(&meter, [(LogFrame, 1)], 0, || Fb::blocking_checkpoint(&two, &path, "b", b"").unwrap());
    check(&meter, [(LogFrame, 1)], 0, || path.drop_set("a").unwrap());
    check(&meter, NOTHING, 0, || path.drop_set("a").unwrap());
    check(&meter, NOTHING, 0, || drop(path.read_set("b").unwrap()));
}

#[test]
fn pool_commits_of_long_objects() {
    let (_sim, meter) = disk();
    let of = all(&meter);
    let path = of.track();
    let fb = of.insert(0, LONG);
    check(&meter, NOTHING, 0, || fb.blocking_persist(&path).unwrap());
    // Its bytes, its name, that of its directory in `obj`, and `obj` in the path.
    let first = [(PoolObject, 1), (PoolObjectDir, 1), (PoolDir, 2), (LogFrame, 1)];
    check(&meter, first, 0, || of.store.blocking_sync(&path).unwrap());
    let three: Vec<_> = (1..4).map(|n| of.insert(n, LONG)).collect();
    of.pool.spill_all().unwrap();
    Fb::blocking_persist_many(&three.iter().collect::<Vec<_>>(), &path).unwrap();
    let more = [(PoolObject, 3), (PoolObjectDir, 1), (LogFrame, 1)];
    check(&meter, more, 0, || of.store.blocking_sync(&path).unwrap());
    check(&meter, NOTHING, 0, || drop(three));
}

#[test]
fn pool_spills_and_compactions() {
    let (_sim, meter) = disk();
    let of = all(&meter);
    let path = of.track();
    check(&meter, NOTHING, 0, || {
        let handles: Vec<_> = (0..40).map(|n| of.insert(n, 700)).collect();
        for fb in &handles {
            assert_eq!(fb.blocking_load().unwrap().len(), 700);
        }
        of.pool.spill_all().unwrap();
        handles.into_iter().step_by(2).for_each(drop);
        of.store.compact().unwrap();
    });
    let handles: Vec<_> = (0..4).map(|n| of.insert(n, 700)).collect();
    Fb::blocking_persist_many(&handles.iter().collect::<Vec<_>>(), &path).unwrap();
    of.store.blocking_sync(&path).unwrap();
    for fb in handles {
        if fb.blocking_load().unwrap()[..] != body(0, 700) {
            of.store.blocking_delete_persisted(&path, fb.key()).unwrap();
        }
    }
    of.store.blocking_sync(&path).unwrap();
    // A segment is begun, what is wanted is written to it, and a record says where it is now.
    let moved = [(PoolSegment, 1), (PoolSegmentDir, 1), (LogFrame, 1)];
    check(&meter, moved, 0, || assert_eq!(of.store.compact().unwrap().segments, 1));
    check(&meter, NOTHING, 0, || of.store.compact().map(drop).unwrap());
    check(&meter, NOTHING, 0, || drop(path.path().gc(true).unwrap()));
}
