//! Following a source into a fold: the supervisor that keeps a local copy of a remote key-value stream.
//!
//! A [`Follower`] takes a store and a [`Source`]. It asks the source who it is and compares that with the fold, at every connection; takes
//! what the source sends, in batches, each one commit with its cursor; repairs a fold that was away for too long by a listing, where
//! a listing is the truth; and comes again after every failure that may pass. Another source under the old name, or an older state of the same
//! one, is never followed by mistake.
//!
//! The store and the user's code run on tokio's blocking pool; one thread there is enough, as is a runtime of one thread. The source is
//! polled while a commit is under way. The store comes back at the end, also after an error or a panic.
//!
//! ```
//! # use std::collections::BTreeMap;
//! # use std::path::Path;
//! # use untorn::fold::{KvEntry, KvUpdate, LoadOptions, SnapshotStore, WatchCursor};
//! # #[derive(Default)]
//! # struct Fold(BTreeMap<String, KvEntry>, WatchCursor);
//! # impl SnapshotStore for Fold {
//! #     fn load(_: &Path) -> untorn::Result<(WatchCursor, Self)> { Ok(Default::default()) }
//! #     fn load_with(path: &Path, _: &LoadOptions) -> untorn::Result<(WatchCursor, Self)> { Self::load(path) }
//! #     fn apply(&mut self, updates: &[KvUpdate], cursor: &WatchCursor) -> untorn::Result<()> {
//! #         for update in updates {
//! #             match update {
//! #                 KvUpdate::Put(entry) => drop(self.0.insert(entry.key.clone(), entry.clone())),
//! #                 _ => drop(self.0.remove(update.key())),
//! #             }
//! #         }
//! #         self.1 = cursor.clone();
//! #         Ok(())
//! #     }
//! #     fn get(&self, key: &str) -> untorn::Result<Option<KvEntry>> { Ok(self.0.get(key).cloned()) }
//! #     fn for_each_in_range(&self, prefix: &str, mut each: impl FnMut(KvEntry) -> untorn::Result<()>) -> untorn::Result<()> {
//! #         self.0.values().filter(|e| e.key.starts_with(prefix)).try_for_each(|e| each(e.clone()))
//! #     }
//! #     fn cursor(&self) -> WatchCursor { self.1.clone() }
//! #     #[cfg(feature = "blake3")]
//! #     fn export_to(&mut self, _: &Path) -> untorn::Result<untorn::fold::ExportManifest> { unimplemented!() }
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! use std::time::Duration;
//! use untorn::aio::fold::{Follower, MemoryStream};
//! let stream = MemoryStream::new("settings");
//! stream.put("color", "blue");
//!
//! let handle = Follower::builder(Fold::default(), stream.source()).spawn();
//! handle.ready().await?; // it has all that there was
//! stream.put("color", "red");
//! handle.wait_for(&stream.head(), Duration::from_secs(10)).await?;
//!
//! let end = handle.stop().await;
//! end.result?;
//! let color = end.store.get("color")?.expect("it was put");
//! assert_eq!(color.value, b"red");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backoff;
pub mod conformance;
mod control;
mod driver;
mod flow;
mod handle;
mod memory;
#[cfg(feature = "json")]
mod ndjson;
mod options;
mod relist;
mod source;
mod state;
mod stream;
mod work;

pub use handle::{FollowEnd, FollowHandle};
pub use memory::{MemoryFault, MemorySource, MemoryStream};
#[cfg(feature = "json")]
pub use ndjson::NdjsonSource;
pub use options::{ExpiryRepair, FollowBuilder, Follower, LineageChange, Validation};
pub use source::{
    Aging, Anchor, AnchorState, BoxFuture, Listed, Listing, Scope, Source, SourceEvent, SourceInfo,
    Start,
};
pub use state::{FollowState, Phase};

#[cfg(test)]
mod tests;
