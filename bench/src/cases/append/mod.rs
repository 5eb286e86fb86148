//! The append-only file, beside the system calls that do the same work and beside others that do it.
//!
//! What is ours has `cfg(feature = "append")` before it until the store is there; without it the rivals are measured among
//! themselves.

pub mod beside;
pub mod copying;
pub mod cutting;
pub mod opening;
pub mod reading;
mod table;
pub mod touching;
pub mod writing;
