//! The manifest: its fields, and reading one that may be hostile.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MANIFEST, rules};
use crate::fs::{Dir, Fs, How, Kind, OsFs};
use crate::{Error, ErrorKind, Result};

/// The schema that is written.
pub(super) const SCHEMA: u32 = 3;
/// The schemas of an older program, without a scope and with one.
pub(super) const UNSCOPED: u32 = 1;
pub(super) const SCOPED: u32 = 2;
/// A manifest is no longer than this.
const BYTES_MAX: u64 = 16 << 20;
/// One of an older schema is no longer than this.
const OLDER_BYTES_MAX: u64 = 1 << 20;

/// What an artifact holds: the content of `MANIFEST.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// Version of the manifest's own form: 3, or 1 and 2 of an older program.
    pub schema_version: u32,
    /// Whose files they are: `untorn-journal` and the like; `append-log`, `fjall` or `rocksdb` with an older schema.
    pub backend: String,
    /// Version of the form of those files.
    pub backend_version: String,
    /// How far the store had come, in its own words, as hex in lower case; may be empty.
    pub cursor_hex: String,
    /// Seconds since the Unix epoch, when it was made; for people.
    pub created_at_unix: u64,
    /// Every file in it.
    pub files: Vec<ArtifactFile>,
    /// Which part of the store it is; `None` for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
    /// What else the store has to say of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
}

/// A file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ArtifactFile {
    /// Where it is, from the artifact's directory: `data/` and plain names with `/` between them.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// BLAKE3 of its bytes, 64 hex digits in lower case.
    pub blake3: String,
}

/// A manifest of schema 1 or 2, which has no other fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Older {
    schema_version: u32,
    backend: String,
    backend_version: String,
    cursor_hex: String,
    created_at_unix: u64,
    files: Vec<ArtifactFile>,
    #[serde(default)]
    scope: Option<Vec<String>>,
}

impl From<Older> for Manifest {
    fn from(older: Older) -> Self {
        Self {
            schema_version: older.schema_version,
            backend: older.backend,
            backend_version: older.backend_version,
            cursor_hex: older.cursor_hex,
            created_at_unix: older.created_at_unix,
            files: older.files,
            scope: older.scope,
            detail: BTreeMap::new(),
        }
    }
}

impl Manifest {
    /// The sum of all sizes.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }
}

/// Reads the manifest of the artifact at `path` and checks it by itself; the files are not looked at.
///
/// # Durability
/// Nothing is changed.
///
/// # Cost
/// One read of the manifest, 16 MiB at most. No sync.
///
/// # Errors
/// `NotFound`; `NotOurs` if there is no manifest; `ArtifactInvalid` if it breaks a rule; `NewerFormat`; `Io`.
///
/// # Example
/// ```
/// let dir = tempfile::tempdir()?;
/// let error = untorn::artifact::read_manifest(dir.path()).unwrap_err();
/// assert_eq!(error.kind(), untorn::ErrorKind::NotOurs);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_manifest(path: impl AsRef<Path>) -> Result<Manifest> {
    read_manifest_with(path, Arc::new(OsFs::new()))
}

/// As [`read_manifest`], on a file system.
///
/// # Errors
/// As [`read_manifest`].
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn read_manifest_with(path: impl AsRef<Path>, fs: Arc<dyn Fs>) -> Result<Manifest> {
    Manifest::load(&*open_dir(&*fs, path.as_ref())?)
}

/// Opens an artifact's directory.
pub(super) fn open_dir(fs: &dyn Fs, path: &Path) -> Result<Arc<dyn Dir>> {
    fs.open_dir(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotADirectory => {
            let what = "an artifact is a directory, and this is none";
            Error::new(ErrorKind::NotOurs, "open artifact", path, what)
        }
        _ => Error::system("open artifact", path, e),
    })
}

impl Manifest {
    pub(super) fn load(dir: &dyn Dir) -> Result<Self> {
        let path = dir.path().join(MANIFEST);
        let fail = |e| Error::system("read", &path, e);
        let invalid = |what| Error::new(ErrorKind::ArtifactInvalid, "read", &path, what);
        match dir.stat(OsStr::new(MANIFEST)) {
            Ok(stat) if stat.kind == Kind::File => {}
            Ok(_) => return Err(invalid("a manifest is a regular file".into())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("there is no {MANIFEST} in it, so it is no artifact");
                return Err(Error::new(ErrorKind::NotOurs, "open artifact", dir.path(), what));
            }
            Err(e) => return Err(fail(e)),
        }
        let file = dir.open(OsStr::new(MANIFEST), How::Read).map_err(fail)?;
        let len = file.stat().map_err(fail)?.len;
        if len > BYTES_MAX {
            let what = format!("a manifest of {len} bytes is above the limit of {BYTES_MAX}");
            return Err(invalid(what));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let got = file.read_at(&mut bytes, 0).map_err(fail)?;
        bytes.truncate(got);
        Self::parse(&bytes, &path)
    }

    /// The manifest in `bytes`, with its rules checked; `path` is for the error.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        /// The one field that every schema has.
        #[derive(Deserialize)]
        struct Schema {
            schema_version: u32,
        }
        let error = |kind, what| Err(Error::new(kind, "read", path, what));
        let schema = match serde_json::from_slice::<Schema>(bytes) {
            Ok(schema) => schema.schema_version,
            Err(e) => return error(ErrorKind::ArtifactInvalid, format!("it is no manifest: {e}")),
        };
        if schema > SCHEMA {
            let what = format!("its schema is {schema}, and this version knows {SCHEMA}");
            return error(ErrorKind::NewerFormat, what);
        }
        let limit = bytes_max(schema);
        if bytes.len() as u64 > limit {
            let what = format!("a manifest of schema {schema} has {limit} bytes at most");
            return error(ErrorKind::ArtifactInvalid, what);
        }
        let parsed = match schema {
            SCHEMA => serde_json::from_slice::<Self>(bytes),
            _ => serde_json::from_slice::<Older>(bytes).map(Self::from),
        };
        match parsed {
            Ok(manifest) => match rules::check(&manifest) {
                Ok(()) => Ok(manifest),
                Err(what) => error(ErrorKind::ArtifactInvalid, what),
            },
            Err(e) => error(ErrorKind::ArtifactInvalid, format!("it is no manifest: {e}")),
        }
    }

    /// The bytes of `MANIFEST.json`.
    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|cause| Error::codec("write manifest", "json", cause))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Bytes of a manifest of this schema, at most.
pub(super) const fn bytes_max(schema: u32) -> u64 {
    if schema < SCHEMA { OLDER_BYTES_MAX } else { BYTES_MAX }
}
