//! Following a source into a fold.

mod backoff;
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
