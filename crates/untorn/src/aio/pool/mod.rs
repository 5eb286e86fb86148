//! The object pool, awaited: the same jobs on tokio's blocking pool.
//!
//! But for [`save`] there is nothing here: the async calls are those of [`BackingStore`], [`Pool`](crate::pool::Pool) and [`Fb`](crate::pool::Fb).
//! None blocks an executor, and none needs more than one blocking thread: whoever blocks on work that is only queued does it himself.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use std::sync::Arc;
//! use untorn::codec::Raw;
//! use untorn::pool::{BackingStore, MemoryBudget, Pool};
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let store = BackingStore::new(untorn::pool::DirStore::new(dir)?, tokio::runtime::Handle::current());
//! let store = Arc::new(store);
//! let pool: Pool<Vec<u8>> = Pool::options().budget(MemoryBudget::bytes(1 << 20)).build(&store, Raw)?;
//! let pool = Arc::new(pool);
//! let mut tiles = Vec::new();
//! for n in 0..100_u8 {
//!     tiles.push(pool.insert(vec![n; 64 << 10]).await?); // ten times what memory may hold
//! }
//! assert_eq!(tiles[0].load().await?[0], 0);
//! assert!(pool.budget().peak() <= 1 << 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fb;
mod insert;
mod save;
mod store;

pub use save::save;

use std::sync::Arc;
use std::task::Poll;

use crate::Result;
use crate::pool::{BackingStore, Job, Runner};

/// Waits until a job is done.
async fn done(job: &Job) -> Result<()> {
    std::future::poll_fn(|context| match job.poll(context.waker()) {
        Poll::Pending if job.is_abandoned() => {
            // Its runtime is gone; somebody has to.
            job.run();
            job.poll(context.waker())
        }
        poll => poll,
    })
    .await
}

/// Has a job done: by the store's runtime, or else by the one that the caller runs on.
fn submit(runner: &Arc<Runner>, job: Arc<Job>) {
    if runner.has_threads() {
        runner.submit(job);
    } else {
        drop(tokio::task::spawn_blocking(move || job.run()));
    }
}
