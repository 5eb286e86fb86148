//! Logs that commit one record at a time, durably, from any thread.

mod actionqueue;
pub mod append;
pub mod fill;
pub mod fold;
mod okaywal;
pub mod pool;
mod raft_engine;
mod untorn;

use crate::Result;
use crate::scratch::{Scratch, settle};

pub use self::actionqueue::Actionqueue;
pub use self::okaywal::Okaywal;
pub use self::raft_engine::RaftEngine;
pub use self::untorn::Untorn;

pub trait Contestant: Sync {
    fn name(&self) -> &'static str;

    /// Appends a record and returns when it survives power loss.
    fn commit(&self, record: &[u8]) -> Result<()>;
}

/// The durable rivals, opened and settled.
pub fn rivals(scratch: &Scratch) -> Result<Vec<Box<dyn Contestant>>> {
    let (okaywal, raft) = (scratch.path("okaywal"), scratch.path("raft-engine"));
    let rivals: Vec<Box<dyn Contestant>> = vec![
        Box::new(Okaywal::open(&okaywal)?),
        Box::new(RaftEngine::open(&raft)?),
        Box::new(Actionqueue::open(scratch.path("actionqueue"))?),
    ];
    settle(&okaywal)?;
    settle(&raft)?;
    Ok(rivals)
}
