//! What the tests of pools on disks share: a store, a pool of bytes and a path, on a simulated disk or on any other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use untorn::codec::Raw;
use untorn::fs::Fs;
use untorn::pool::{
    BackingStore, DirOptions, DirPath, DirPathOptions, DirStore, Fb, MemoryBudget, Pool,
    TrackedPath,
};
use untorn::sim::{Item, SimFs};

pub(crate) const ROOT: &str = "/d/scratch";
pub(crate) const STATE: &str = "/d/state";
/// Objects above this have files of their own.
pub(crate) const SEGMENT_MAX: u64 = 1000;
pub(crate) const SMALL: usize = 300;
pub(crate) const LONG: usize = 1500;

pub(crate) type Bytes = Vec<u8>;
pub(crate) type Store = Arc<BackingStore<DirStore>>;

/// A pool that is open, with its path.
pub(crate) struct Open {
    pub(crate) pool: Arc<Pool<Bytes>>,
    pub(crate) path: TrackedPath<DirPath>,
    pub(crate) store: Store,
}

pub(crate) fn disk() -> SimFs {
    let sim = SimFs::new(1);
    sim.make_dirs("/d").unwrap();
    sim
}

/// Bytes that look random and are known by their number.
pub(crate) fn body(n: u64, len: usize) -> Bytes {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = std::iter::repeat_with(move || {
        state = state.rotate_left(23).wrapping_mul(5).wrapping_add(1);
        state.to_le_bytes()[3]
    });
    next.take(len).collect()
}

pub(crate) fn dir_options(fs: &Arc<dyn Fs>) -> DirOptions {
    DirOptions::new().fs(Arc::clone(fs)).segment_max(SEGMENT_MAX).segment_bytes(4096)
}

pub(crate) fn path_options(fs: &Arc<dyn Fs>) -> DirPathOptions {
    DirPathOptions::new().fs(Arc::clone(fs)).segment_max(SEGMENT_MAX).segment_bytes(4096)
}

pub(crate) fn store(fs: &Arc<dyn Fs>, root: &Path) -> untorn::Result<Store> {
    let backing = DirStore::with(root, &dir_options(fs))?;
    Ok(Arc::new(BackingStore::open_on(backing, Arc::clone(fs))))
}

/// A pool of so many bytes.
pub(crate) fn pool(store: &Store, budget: usize) -> Arc<Pool<Bytes>> {
    let options = Pool::options().budget(MemoryBudget::bytes(budget)).weigh(Vec::len);
    let options = options.type_name("bytes").pin_wait(Duration::from_millis(50));
    Arc::new(options.build(store, Raw).unwrap())
}

pub(crate) fn track(store: &Store, fs: &Arc<dyn Fs>) -> untorn::Result<TrackedPath<DirPath>> {
    store.blocking_track_path(DirPath::with(STATE, path_options(fs)))
}

impl Open {
    #[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
    pub(crate) fn new(fs: Arc<dyn Fs>, budget: usize) -> untorn::Result<Self> {
        let store = store(&fs, Path::new(ROOT))?;
        let path = track(&store, &fs)?;
        Ok(Self { pool: pool(&store, budget), path, store })
    }

    pub(crate) fn on(sim: &SimFs, budget: usize) -> Self {
        Self::new(Arc::new(sim.clone()), budget).unwrap()
    }

    pub(crate) fn insert(&self, n: u64, len: usize) -> Fb<Bytes> {
        self.pool.blocking_insert(body(n, len)).unwrap()
    }

    pub(crate) fn sync(&self) -> untorn::Result<()> {
        self.store.blocking_sync(&self.path)
    }

    /// A handle on each object of the path, and its bytes.
    pub(crate) fn all(&self) -> Vec<Bytes> {
        let mut keys = self.path.all_keys();
        keys.sort_unstable();
        let load = |key| {
            let fb = self.pool.blocking_register(&self.path, key).unwrap().unwrap();
            let guard = fb.blocking_load().unwrap();
            (*guard).clone()
        };
        keys.into_iter().map(load).collect()
    }
}

/// Files below a directory that end so.
pub(crate) fn files(sim: &SimFs, below: &str, end: &str) -> Vec<PathBuf> {
    let is = |(path, item): &(PathBuf, Item)| {
        matches!(item, Item::File(_))
            && path.starts_with(below)
            && path.to_string_lossy().ends_with(end)
    };
    sim.dump().into_iter().filter(is).map(|(path, _)| path).collect()
}

/// What is in `spill`, of whomever.
pub(crate) fn spilled(sim: &SimFs) -> Vec<PathBuf> {
    let below = Path::new(ROOT).join("spill");
    sim.dump().into_keys().filter(|path| path.starts_with(&below) && *path != below).collect()
}
