//! State on disk that survives `kill -9`, a full disk, a failing disk and a power cut.
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]
#![deny(clippy::indexing_slicing)]
#![warn(clippy::arithmetic_side_effects, clippy::exhaustive_enums, clippy::exhaustive_structs)]

#[cfg(windows)]
compile_error!("untorn does not support Windows yet");

mod error;
pub mod fs;
#[cfg(feature = "sim")]
pub mod sim;
mod sys;

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
