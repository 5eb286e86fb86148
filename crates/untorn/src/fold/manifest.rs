//! What the manifest of a fold's artifact says.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Lineage, WatchCursor};
use crate::artifact::{About, ArtifactFile, Manifest, from_hex, hex};
use crate::{Error, ErrorKind, Result};

/// Whose files they are.
pub(super) const BACKEND: &str = "untorn-fold";
/// The version of their form.
pub(super) const BACKEND_VERSION: &str = "1";

/// Bytes of a cursor with the schemas of older programs, at most.
const OLDER_CURSOR: usize = 20;

/// What an artifact of a fold holds: its manifest, with the fields that folds have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportManifest {
    /// Version of the manifest's own form.
    pub schema_version: u32,
    /// Whose files they are: `untorn-fold`, or `append-log`, `fjall` or `rocksdb` of an older program.
    pub backend: String,
    /// Version of the form of those files.
    pub backend_version: String,
    /// How far the fold had the stream.
    pub cursor: WatchCursor,
    /// Seconds since the Unix epoch, when it was made; for people.
    pub created_at_unix: u64,
    /// Every file in it.
    pub files: Vec<ArtifactFile>,
    /// The prefixes that it has; `None` for all keys.
    pub scope: Option<Vec<String>>,
    /// The source that the fold was of.
    pub lineage: Option<Lineage>,
    /// How many entries it has; 0 if it does not say.
    pub entries: u64,
    /// The digest of its entries, if it says.
    pub digest: Option<[u8; 32]>,
}

impl ExportManifest {
    /// Reads the fields that folds have out of a manifest; `path` is for the error.
    pub(super) fn of(manifest: Manifest, path: &Path) -> Result<Self> {
        let invalid = |what: String| {
            let path = path.join(crate::artifact::MANIFEST);
            Error::new(ErrorKind::ArtifactInvalid, "read", &path, what)
        };
        let ours = match manifest.schema_version {
            1 | 2 => true, // Schemas that nothing but folds ever had.
            _ => manifest.backend == BACKEND,
        };
        if !ours {
            return Err(invalid(format!("it is of {}, not of {BACKEND}", manifest.backend)));
        }
        let bytes = from_hex(&manifest.cursor_hex);
        // The longer forms are of schema 3.
        let known =
            bytes.filter(|bytes| manifest.schema_version > 2 || bytes.len() <= OLDER_CURSOR);
        let cursor = known.and_then(|bytes| WatchCursor::from_bytes(&bytes));
        let cursor = cursor.ok_or_else(|| invalid("`cursor_hex` is no cursor".to_owned()))?;
        let detail = |name: &str| manifest.detail.get(name).map(String::as_str);
        let lineage = match (detail("lineage_kind"), detail("lineage_id_hex")) {
            (Some(kind), Some(id)) => {
                let id =
                    from_hex(id).ok_or_else(|| invalid("`lineage_id_hex` is no hex".to_owned()))?;
                Some(Lineage { kind: kind.to_owned(), id })
            }
            _ => None,
        };
        let entries = detail("entries").map_or(Ok(0), str::parse);
        let entries = entries.map_err(|_| invalid("`entries` is no number".to_owned()))?;
        let digest = match detail("digest_hex") {
            None => None,
            Some(hex) => {
                let bytes = from_hex(hex).and_then(|bytes| bytes.try_into().ok());
                Some(bytes.ok_or_else(|| invalid("`digest_hex` is 64 hex digits".to_owned()))?)
            }
        };
        Ok(Self {
            schema_version: manifest.schema_version,
            backend: manifest.backend,
            backend_version: manifest.backend_version,
            cursor,
            created_at_unix: manifest.created_at_unix,
            files: manifest.files,
            scope: manifest.scope,
            lineage,
            entries,
            digest,
        })
    }
}

/// What an export says of the fold.
#[derive(Clone, Debug)]
pub(super) struct Said<'a> {
    pub(super) cursor: &'a WatchCursor,
    pub(super) lineage: Option<&'a Lineage>,
    pub(super) entries: u64,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) scope: Option<Vec<String>>,
}

impl Said<'_> {
    pub(super) fn about(self) -> About {
        let mut detail = BTreeMap::new();
        let mut say = |name: &str, value: String| drop(detail.insert(name.to_owned(), value));
        say("entries", self.entries.to_string());
        if let Some(lineage) = self.lineage {
            say("lineage_kind", lineage.kind.clone());
            say("lineage_id_hex", hex(&lineage.id));
        }
        if let Some(digest) = self.digest {
            say("digest_hex", hex(&digest));
        }
        let cursor = self.cursor.to_bytes();
        let (backend, backend_version) = (BACKEND, BACKEND_VERSION);
        About { backend, backend_version, cursor, scope: self.scope, detail }
    }
}
