//! A long list of elements, appended at the end and read by position without a copy, while it grows.

mod blocks;
mod options;
mod sizes;

pub use options::{OnForeign, ProtocolVersion, SizeEntry, Verify};
