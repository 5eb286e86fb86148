//! The chunked file, beside the system calls that do the same work and beside others that do it.

pub mod calls;
pub mod fill;
pub mod many;
pub mod open;
pub mod read;
pub mod small;
mod timing;
pub mod waiters;
pub mod wake;

pub use timing::settled;
