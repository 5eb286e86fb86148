//! Ours.

use std::path::Path;
use std::sync::Arc;

use untorn::codec::Raw;
use untorn::pool::{BackingStore, DirPath, DirStore, Fb, MemoryBudget, Pool as Objects, TrackedPath};

use super::{Budget, Pool, Runtime, ends};
use crate::Result;

pub struct Untorn {
    handles: Vec<Fb<Vec<u8>>>,
    pool: Arc<Objects<Vec<u8>>>,
    store: Arc<BackingStore<DirStore>>,
    path: Arc<TrackedPath<DirPath>>,
}

impl Pool for Untorn {
    fn open(dir: &Path, budget: Budget, runtime: &Runtime) -> Result<Self> {
        let backing = DirStore::new(dir.join("scratch"))?;
        let store = Arc::new(BackingStore::new(backing, runtime.handle().clone()));
        let budget = MemoryBudget::bytes(budget.bytes());
        let options = Objects::options().budget(budget).weigh(Vec::len);
        let pool = Arc::new(options.build(&store, Raw)?);
        let path = Arc::new(store.blocking_track_path(DirPath::new(dir.join("state")))?);
        Ok(Self { handles: Vec::new(), pool, store, path })
    }

    fn insert(&mut self, object: Vec<u8>) -> Result<()> {
        let fb = self.pool.blocking_insert(object).map_err(untorn::Error::from)?;
        self.handles.push(fb);
        Ok(())
    }

    fn drained(&mut self, _: &Runtime) -> Result<()> {
        Ok(self.store.blocking_finished()?)
    }

    fn load(&self, number: usize) -> Result<u64> {
        Ok(ends(&self.handles[number].blocking_load()?))
    }

    async fn load_awaited(&self, number: usize) -> Result<u64> {
        Ok(ends(&*self.handles[number].load().await?))
    }

    fn persist(&mut self, _: &Runtime) -> Result<()> {
        let handles: Vec<_> = self.handles.iter().collect();
        Fb::blocking_persist_many(&handles, &self.path)?;
        Ok(self.store.blocking_sync(&self.path)?)
    }

    fn change(&mut self, every: usize) -> Result<()> {
        for fb in self.handles.iter_mut().step_by(every) {
            let mut guard = fb.blocking_load_mut()?;
            guard[0] = guard[0].wrapping_add(1);
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
            self.handles.extend(self.pool.blocking_register(&self.path, key)?);
        }
        Ok(self.handles.len())
    }

    fn peak(&self) -> Option<(u64, u64)> {
        Some((self.pool.budget().peak(), self.pool.budget().limit()))
    }

    fn misses(&self) -> Option<u64> {
        Some(self.pool.stats().loads)
    }
}
