//! A store as a directory with a manifest: exported whole, verified without changing a byte, imported whole.
//!
//! All stores use one format. `MANIFEST.json` says which store it is of, and for each file its size and BLAKE3; the files
//! lie below `data/`. An artifact has its name only when it is complete and durable, and is never written again. What a
//! manifest says is not trusted: every file is read and compared before it is used.
//!
//! ```
//! use untorn::ErrorKind;
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! # std::fs::create_dir(dir.join("data"))?;
//! # std::fs::write(dir.join("data/x"), "abc")?;
//! # let digest = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
//! # std::fs::write(dir.join("MANIFEST.json"), format!(r#"{{"schema_version":3,"backend":"untorn-journal",
//! #     "backend_version":"1","cursor_hex":"2a","created_at_unix":1767225600,
//! #     "files":[{{"path":"data/x","size":3,"blake3":"{digest}"}}]}}"#))?;
//! let manifest = untorn::artifact::verify(dir)?;
//! assert_eq!((&*manifest.backend, manifest.files.len()), ("untorn-journal", 1));
//! std::fs::write(dir.join("data/x"), "abd")?;
//! assert_eq!(untorn::artifact::verify(dir).unwrap_err().kind(), ErrorKind::Damaged);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # On disk
//! docs/FORMAT.md, "Artifacts".
//!
//! # Invariants
//! - A1 Nothing but what the manifest declares is in an artifact: no other file, no symbolic link.
//! - A2 A path of the manifest is opened component by component, through held directories, and never leaves `data/`.
//! - A3 What is imported is what was compared: the copy is digested as it is written.
//!
//! # Limits
//! 100,000 files; a manifest of 16 MiB, of schema 1 and 2 of 1 MiB; paths of 1024 bytes, 32 deep. A digest is no signature: whoever can write the
//! files can write the manifest.

mod export;
mod import;
mod manifest;
mod rules;
mod stage;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
mod verify;

pub(crate) use export::{About, Export};
pub(crate) use import::Import;
pub use manifest::{ArtifactFile, Manifest, read_manifest, read_manifest_with};
pub(crate) use rules::{APPEND_LOG, APPEND_LOG_FILE, from_hex, hex};
pub use verify::{verify, verify_with};

/// The manifest's name in an artifact.
pub const MANIFEST: &str = "MANIFEST.json";
/// The directory that all files of an artifact are in.
const DATA: &str = "data";
