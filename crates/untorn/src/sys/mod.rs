//! System calls and memory maps: the only folder with `unsafe`.
//!
//! [`Kernel`] has one method per system call that the seam needs. Interrupted calls, short counts and busy answers end
//! here: above it a read is full or at the end of the file, a write is whole or an error. Every call first passes the
//! kernel's [`Gate`], through which tests let calls fail and fall short.

mod ahead;
mod files;
mod gate;
mod host;
mod kernel;
mod mapping;
mod names;
mod plain;
mod xattr;

pub(crate) use ahead::{Ahead, page_size};
#[cfg(test)]
pub(crate) use gate::{Call, Gate};
pub(crate) use host::{host_name, lock_is_held};
pub(crate) use kernel::{Kernel, monotonic, now, to};
pub(crate) use mapping::Mapping;
pub use plain::Plain;
pub(crate) use plain::view;
