//! `file_backed`, with a file for each object, and with redb. Its best case: bytes as bytes.

use std::path::Path;
use std::sync::Arc;

use file_backed::backing_store::{BackingStore, Strategy, TrackedPath};
use file_backed::fbstore::{self, FBStore, PreparedPath};
use file_backed::redbstore::{self, RedbPath, RedbStore};
use file_backed::{FBPool, Fb};
use serde::{Deserialize, Serialize};

use super::{Budget, Pool, Runtime, ends};
use crate::Result;

/// So many persists at once, as its own save has them.
const TASKS: usize = 64;

#[derive(Serialize, Deserialize)]
pub struct Tile(#[serde(with = "serde_bytes")] Vec<u8>);

/// How its backends are made.
pub trait Backend: Strategy<Tile> {
    fn make(dir: &Path) -> Self;
    fn path(dir: &Path) -> Self::PersistPath;
}

impl Backend for FBStore<fbstore::BinCodec> {
    fn make(dir: &Path) -> Self {
        Self::new(fbstore::BinCodec, PreparedPath::blocking_new(dir.join("scratch"), Vec::new()))
    }

    fn path(dir: &Path) -> PreparedPath {
        PreparedPath::blocking_new(dir.join("state"), Vec::new())
    }
}

impl Backend for RedbStore<redbstore::BinCodec> {
    fn make(dir: &Path) -> Self {
        std::fs::create_dir_all(dir.join("scratch")).expect("a directory");
        Self::new(redbstore::BinCodec, RedbPath::in_dir(&dir.join("scratch")))
    }

    fn path(dir: &Path) -> RedbPath {
        std::fs::create_dir_all(dir.join("state")).expect("a directory");
        RedbPath::in_dir(&dir.join("state"))
    }
}

pub type FileBacked = Theirs<FBStore<fbstore::BinCodec>>;
pub type FileBackedRedb = Theirs<RedbStore<redbstore::BinCodec>>;

pub struct Theirs<B: Backend> {
    handles: Vec<Fb<Tile, B>>,
    pool: Arc<FBPool<Tile, B>>,
    store: Arc<BackingStore<B>>,
    path: Arc<TrackedPath<B::PersistPath>>,
}

impl<B: Backend> Pool for Theirs<B> {
    fn open(dir: &Path, budget: Budget, runtime: &Runtime) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let store = Arc::new(BackingStore::new(B::make(dir), runtime.handle().clone()));
        let pool = Arc::new(FBPool::new(Arc::clone(&store), budget.objects));
        let path = Arc::new(store.blocking_track_path(B::path(dir)));
        Ok(Self { handles: Vec::new(), pool, store, path })
    }

    fn insert(&mut self, object: Vec<u8>) -> Result<()> {
        self.handles.push(self.pool.insert(Tile(object)));
        Ok(())
    }

    fn drained(&mut self, runtime: &Runtime) -> Result<()> {
        runtime.block_on(self.store.finished());
        Ok(())
    }

    fn load(&self, number: usize) -> Result<u64> {
        Ok(ends(&self.handles[number].blocking_load().0))
    }

    async fn load_awaited(&self, number: usize) -> Result<u64> {
        Ok(ends(&self.handles[number].load().await.0))
    }

    fn persist(&mut self, runtime: &Runtime) -> Result<()> {
        runtime.block_on(async {
            for some in self.handles.chunks(TASKS) {
                let mut tasks = Vec::new();
                for fb in some {
                    if !self.path.contains_key(fb.key()) {
                        tasks.push(fb.spawn_persist(&self.path).await);
                    }
                }
                for task in tasks {
                    task.await?;
                }
            }
            Ok::<_, tokio::task::JoinError>(())
        })?;
        runtime.block_on(self.store.sync(&self.path))?;
        Ok(())
    }

    fn change(&mut self, every: usize) -> Result<()> {
        for fb in self.handles.iter_mut().step_by(every) {
            let mut guard = fb.blocking_load_mut();
            guard.0[0] = guard.0[0].wrapping_add(1);
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        self.handles.clear();
        Ok(())
    }

    fn track(dir: &Path, budget: Budget, runtime: &Runtime) -> Result<Self> {
        Self::open(dir, budget, runtime)
    }

    fn register(&mut self) -> Result<usize> {
        for key in self.path.all_keys() {
            self.handles.extend(self.pool.blocking_register(&self.path, key));
        }
        Ok(self.handles.len())
    }
}
