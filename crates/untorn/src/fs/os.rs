//! The operating system behind the seam.

/// The operating system's file systems.
#[derive(Clone, Debug, Default)]
pub struct OsFs;
