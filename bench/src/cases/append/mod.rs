//! The append-only file, beside the system calls that do the same work and beside others that do it.

pub mod beside;
pub mod copying;
pub mod cutting;
pub mod opening;
pub mod reading;
mod table;
pub mod touching;
pub mod writing;
