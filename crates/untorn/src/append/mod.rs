//! A long list of elements, appended at the end and read by position without a copy, while it grows.

#[cfg_attr(not(test), expect(dead_code, reason = "the writer comes next"))]
mod blocks;
mod element;
#[cfg(test)]
mod for_tests;
mod iter;
mod options;
#[cfg_attr(not(test), expect(dead_code, reason = "the writer comes next"))]
mod publish;
#[cfg_attr(not(test), expect(dead_code, reason = "the writer comes next"))]
mod range;
#[cfg_attr(not(test), expect(dead_code, reason = "the writer comes next"))]
mod reader;
mod snapshot;
mod sync;
mod tail;

pub use crate::fs::Plain;
pub use iter::Elements;
pub use options::{OnForeign, ProtocolVersion, SizeEntry, Verify};
pub use reader::Reader;
pub use snapshot::Snapshot;
pub use tail::{Tail, TailEvent};
