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
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! use std::time::Duration;
//! use untorn::aio::fold::{Follower, MemoryStream};
//! use untorn::fold::{AppendLogSnapshot, SnapshotStore, DEFAULT_COMPACT_THRESHOLD};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("settings");
//! let (_, fold) = AppendLogSnapshot::open(&path, DEFAULT_COMPACT_THRESHOLD)?;
//! let reader = fold.reader(); // for who answers requests meanwhile
//! let stream = MemoryStream::new("settings");
//! stream.put("color", "blue");
//!
//! let handle = Follower::builder(fold, stream.source()).spawn();
//! handle.ready().await?; // it has all that there was
//! stream.put("color", "red");
//! handle.wait_for(&stream.head(), Duration::from_secs(10)).await?;
//!
//! assert_eq!(reader.get("color")?.unwrap().value, b"red");
//! let end = handle.stop().await;
//! end.result?;
//! end.store.close()?;
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
mod store;
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
pub use store::AppendLogSnapshot;

#[cfg(test)]
mod tests;
