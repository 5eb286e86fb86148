//! State on disk that survives `kill -9`, a full disk, a failing disk and a power cut.
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]
#![deny(clippy::indexing_slicing)]
#![warn(clippy::arithmetic_side_effects, clippy::exhaustive_enums, clippy::exhaustive_structs)]

#[cfg(windows)]
compile_error!("untorn does not support Windows yet");

#[cfg(feature = "tokio")]
pub mod aio;
pub mod append;
#[cfg(feature = "blake3")]
pub mod artifact;
pub mod chunked;
pub mod codec;
mod commit;
mod error;
pub mod fold;
pub mod fs;
pub mod journal;
pub mod log;
pub mod pool;
#[cfg(feature = "sim")]
pub mod proof;
#[cfg(feature = "sim")]
pub mod sim;
pub mod snapshot;
mod sync;
mod sys;

pub use commit::{
    AtomicFile, Holder, Owner, Probe, ReplaceOptions, SweepReport, Symlink, create_new,
    create_new_with, holder, probe, probe_with, replace, replace_with, sweep, sweep_with,
};
pub use error::{Error, ErrorKind, Outcome, Result};

/// How long an acknowledged write lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the two crashes: of the process, of the power")]
pub enum Durability {
    /// Survives the death of the process.
    Buffered,
    /// Survives power loss.
    #[default]
    Synced,
}

/// What an open does if acknowledged bytes do not verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnDamage {
    /// It fails with file and offset, and changes nothing.
    #[default]
    Refuse,
    /// It keeps a copy in the store's quarantine, and goes on with what precedes the damage.
    Truncate,
    /// It keeps a copy in the store's quarantine, and goes on with everything that is provably good.
    Salvage,
}

/// The examples of the README are tests.
#[cfg(all(doctest, feature = "sim", feature = "json"))]
#[doc = include_str!("../../../README.md")]
struct ReadmeDoctests;
