//! A fold as an artifact, and back.
//!
//! # Invariants
//! - E1 What is exported is one state, whatever is applied meanwhile.
//! - E2 An import is opened, and has the cursor and the digest that its manifest names, before it gets its name.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::base::{Base, BaseWriter, Header};
use super::compact::{BASE, meta_of};
use super::held::{Held, Value};
use super::manifest::{BACKEND, BACKEND_VERSION, Said};
use super::open::{LOG, log_options};
use super::options::{Compaction, FoldOptions, Progress};
use super::relist::SyncScope;
use super::scan::{Bounds, ScanOptions, for_each, text};
use super::snapshot::{Digest, FoldSnapshot};
use super::view::View;
use super::{
    AppendLogSnapshot, ExportManifest, KvEntry, KvUpdate, Lineage, SnapshotStore, VersionToken,
    WatchCursor, pgss,
};
use crate::artifact::{APPEND_LOG, Export, Import, read_manifest_with};
use crate::commit;
use crate::fs::{Fs, How, ReadMode};
use crate::log::{Log, LogOptions};
use crate::{Durability, Error, ErrorKind, Result};

/// The file of an artifact that has what its base does not.
const TAIL: &str = "tail";

/// Which program is to read an artifact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// This one.
    #[default]
    Untorn,
    /// Version 0.8 of the existing crate, from its append log: `Unsupported` for what that cannot hold, such as versions of more than ten bytes.
    AppendLogV2,
}

/// How a fold is exported.
#[derive(Clone, Default)]
#[must_use]
#[non_exhaustive]
pub struct ExportOptions {
    /// Only keys with one of these prefixes. Default all.
    pub scope: Option<Vec<String>>,
    /// Who is to read it. Default this program.
    pub format: ExportFormat,
    /// Puts a digest of all entries into the manifest, which an import compares. Reads every value. Default no.
    pub digest: bool,
    pub(super) progress: Option<Progress>,
}

impl ExportOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self { scope: None, format: ExportFormat::Untorn, digest: false, progress: None }
    }

    /// Sets which keys.
    pub fn scope(mut self, prefixes: Vec<String>) -> Self {
        self.scope = Some(prefixes);
        self
    }

    /// Sets who is to read it.
    pub const fn format(mut self, format: ExportFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets whether there is a digest.
    pub const fn digest(mut self, digest: bool) -> Self {
        self.digest = digest;
        self
    }

    /// Sets who is told how far the copy of the base is: bytes done, bytes in all.
    pub fn progress(mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }
}

impl std::fmt::Debug for ExportOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportOptions")
            .field("scope", &self.scope)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// How an artifact is imported.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct ImportOptions {
    /// The source that it must be of. Default any.
    pub expect_lineage: Option<Lineage>,
    /// Refuses an artifact that is larger. Default none.
    pub max_bytes: u64,
    /// How the fold is opened then, and on which file system it is made.
    pub open: FoldOptions,
}

impl ImportOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self { expect_lineage: None, max_bytes: u64::MAX, open: FoldOptions::new() }
    }

    /// Sets the source that it must be of.
    pub fn expect_lineage(mut self, lineage: Lineage) -> Self {
        self.expect_lineage = Some(lineage);
        self
    }

    /// Sets how large it may be.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how the fold is opened.
    pub fn open(mut self, options: FoldOptions) -> Self {
        self.open = options;
        self
    }
}

impl ImportOptions {
    /// Whether an artifact may be imported, by its manifest.
    fn check(&self, manifest: &ExportManifest, path: &Path) -> Result<()> {
        let total = manifest.files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        if total > self.max_bytes {
            let what = format!("it has {total} bytes, and {} are allowed", self.max_bytes);
            return Err(Error::new(ErrorKind::ArtifactInvalid, "import", path, what));
        }
        if self.expect_lineage.is_some() && self.expect_lineage != manifest.lineage {
            let what = "it is of another source";
            return Err(Error::new(ErrorKind::LineageMismatch, "import", path, what));
        }
        Ok(())
    }
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl FoldSnapshot {
    /// Writes this state as an artifact to `dest`, which does not exist or is an empty directory. The fold goes on meanwhile.
    ///
    /// # Durability
    /// **On `Ok`** the artifact is whole and survives power loss. **On `Err`**, **if the process dies** or **if power fails** there
    /// is nothing at `dest`.
    ///
    /// # Cost
    /// Copies the base, and writes what was applied since into a file of its own; with a scope all is written anew. One sync for each file, and three for
    /// directories.
    ///
    /// # Errors
    /// `AlreadyExists` if `dest` is anything but missing or an empty directory; `Damaged`; `NoSpace`; `Io`.
    pub fn export(
        &self,
        dest: &Path,
        options: &ExportOptions,
        fs: &Arc<dyn Fs>,
    ) -> Result<ExportManifest> {
        let view = self.view();
        if options.format == ExportFormat::AppendLogV2 {
            return self.export_older(dest, options, fs);
        }
        let scope = options.scope.clone().map_or_else(SyncScope::all, SyncScope::prefixes);
        let mut export = Export::begin(&**fs, dest)?;
        let whole = view.base.as_ref().filter(|_| options.scope.is_none());
        if let Some(base) = whole {
            copy(&mut export, base, options)?;
            if view.state.seq >= base.header.floor {
                let header = Header { floor: view.state.seq.saturating_add(1), ..base.header };
                let tail = View { base: None, ..view.clone() };
                put(&mut export, TAIL, &header, &tail, &scope)?;
            }
        } else {
            let mut store_id = [0; 16];
            fs.entropy(&mut store_id).map_err(|e| Error::system("export", dest, e))?;
            let store_id = *uuid::Builder::from_random_bytes(store_id).as_uuid().as_bytes();
            put(&mut export, BASE, &Header { store_id, floor: 1 }, view, &scope)?;
        }
        let (mut entries, mut digest) = (0_u64, Digest::default());
        for prefix in scope.ranges() {
            for_each(view, &Bounds::prefix(&prefix), |held| {
                entries = entries.saturating_add(1);
                if options.digest {
                    let value = view.value(held)?.unwrap_or_default();
                    digest.add(held.key, held.version, &value);
                }
                Ok(true)
            })?;
        }
        let said = Said {
            cursor: &view.state.cursor,
            lineage: view.state.lineage.as_deref(),
            entries,
            digest: options.digest.then(|| digest.finish()),
            scope: options.scope.clone(),
        };
        ExportManifest::of(export.finish(said.about())?, dest)
    }
}

impl FoldSnapshot {
    /// One PGSS file, of the prefixes in order, each key once.
    fn export_older(
        &self,
        dest: &Path,
        options: &ExportOptions,
        fs: &Arc<dyn Fs>,
    ) -> Result<ExportManifest> {
        let scope = options.scope.clone().map_or_else(SyncScope::all, SyncScope::prefixes);
        let entries =
            scope.ranges().into_iter().flat_map(|prefix| self.scan(&ScanOptions::prefix(prefix)));
        let (cursor, of) = (self.cursor(), options.scope.clone());
        pgss::write_artifact(entries, &cursor, of, dest, Arc::clone(fs))
    }
}

/// Copies a base, and tells how far it is.
fn copy(export: &mut Export, base: &Base, options: &ExportOptions) -> Result<()> {
    const PIECE: u64 = 4 << 20;
    let mut out = export.file(&format!("data/{BASE}"))?;
    let mut at = 0;
    while at < base.len() {
        let len = PIECE.min(base.len().saturating_sub(at));
        let bytes = base.bytes(at, u32::try_from(len).unwrap_or(u32::MAX))?;
        out.write_all(&bytes).map_err(|e| Error::stream("export", e))?;
        at = at.saturating_add(len);
        if let Some(progress) = &options.progress {
            progress(at, base.len());
        }
    }
    out.finish()
}

/// Writes what a view has as a file of the artifact, tombstones included: an update that comes late is older for the copy, too.
fn put(
    export: &mut Export,
    name: &str,
    header: &Header,
    view: &View,
    scope: &SyncScope,
) -> Result<()> {
    let path = format!("data/{name}");
    let mut out = BaseWriter::new(export.file(&path)?, PathBuf::from(&path), header)?;
    let mut walk = view.walk(None, false)?;
    while let Some(held) = walk.next()? {
        if scope.covers(text(held.key)?) {
            let value = view.value(&held)?;
            let value = value.as_deref().map_or(held.value, Value::Here);
            out.push(&Held { value, ..held })?;
        }
    }
    let (file, _) = out.finish(meta_of(&view.state))?;
    file.finish()
}

impl AppendLogSnapshot {
    /// Writes the state as an artifact to `dest`, as [`FoldSnapshot::export`] does.
    ///
    /// # Errors
    /// As [`FoldSnapshot::export`].
    pub fn export(&self, dest: &Path, options: &ExportOptions) -> Result<ExportManifest> {
        self.snapshot().export(dest, options, &self.shared().options.fs)
    }

    /// Makes a fold at `dest` of an artifact, and opens it. As [`import_with`](Self::import_with).
    ///
    /// # Errors
    /// As [`import_with`](Self::import_with).
    pub fn import(
        artifact_dir: &Path,
        dest: &Path,
        compact_threshold: u64,
    ) -> Result<(WatchCursor, Self)> {
        let open = FoldOptions::new().compact_threshold(compact_threshold);
        Self::import_with(artifact_dir, dest, &ImportOptions::new().open(open))
    }

    /// Makes a fold at `dest`, which does not exist or is an empty directory, of an artifact, and opens it. Artifacts of the existing crate's append log
    /// are taken too.
    ///
    /// Every file is compared with the manifest while it is copied; the copy is opened, and has the cursor and the digest of the manifest,
    /// before it gets its name.
    ///
    /// # Durability
    /// **On `Ok`** the fold is whole and survives power loss. **On `Err`**, **if the process dies** or **if power fails** before there is
    /// nothing at `dest`.
    ///
    /// # Errors
    /// `ArtifactInvalid` if it is none, or of another store, or larger than it may be; `LineageMismatch`; `Damaged` if a file does not agree with the manifest;
    /// `NewerFormat`; `AlreadyExists`; `NoSpace`; `Io`.
    pub fn import_with(
        artifact_dir: &Path,
        dest: &Path,
        options: &ImportOptions,
    ) -> Result<(WatchCursor, Self)> {
        let fs = Arc::clone(&options.open.fs);
        if read_manifest_with(artifact_dir, Arc::clone(&fs))?.backend == APPEND_LOG {
            let (manifest, image) = pgss::read_artifact(artifact_dir, Arc::clone(&fs))?;
            options.check(&manifest, artifact_dir)?;
            pgss::convert(image, dest, fs)?;
            return options.open.clone().open(dest);
        }
        let import = Import::open(&*fs, artifact_dir, (BACKEND, BACKEND_VERSION))?;
        let manifest = ExportManifest::of(import.manifest().clone(), artifact_dir)?;
        let refuse = |kind, what: String| Err(Error::new(kind, "import", artifact_dir, what));
        options.check(&manifest, artifact_dir)?;
        let total = import.manifest().total_bytes();
        let known = |path: &str| path == format!("data/{BASE}") || path == format!("data/{TAIL}");
        if !manifest.files.iter().all(|file| known(&file.path)) {
            return refuse(ErrorKind::ArtifactInvalid, "it has files that no fold has".to_owned());
        }
        let stage = import.stage(&*fs, dest, |done| options.open.tell(done, total))?;
        settle(&stage.path(), &options.open, &manifest).map_err(|e| match e.kind() {
            // Its files are those that the manifest names, so that they never were a fold.
            ErrorKind::Damaged | ErrorKind::NotOurs | ErrorKind::NotFound => {
                Error::new(ErrorKind::ArtifactInvalid, "import", artifact_dir, e.to_string())
            }
            _ => e,
        })?;
        stage.publish()?;
        options.open.clone().open(dest)
    }
}

/// Makes the copied files a fold, and looks whether it is what the manifest says (E2).
fn settle(path: &Path, options: &FoldOptions, manifest: &ExportManifest) -> Result<()> {
    let dir = options.fs.open_dir(path).map_err(|e| Error::system("import", path, e))?;
    let open = |name: &str| match dir.open(OsStr::new(name), How::Read) {
        Ok(file) => Base::open(file, ReadMode::Pread).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::system("import", &path.join(name), e)),
    };
    let invalid = |what| Err(Error::new(ErrorKind::ArtifactInvalid, "import", path, what));
    let Some(base) = open(BASE)? else { return invalid("it has no base") };
    let header = base.header;
    let born =
        LogOptions { born: Some((header.store_id, header.floor)), ..log_options(options, 0) };
    Log::open(path.join(LOG), born)?.0.close()?;
    drop(base);
    let plain = FoldOptions::new()
        .fs(Arc::clone(&options.fs))
        .create(false)
        .durability(Durability::Synced)
        .max_value(super::open::VALUE_MAX)
        .compaction(Compaction::Manual);
    let (_, mut fold) = plain.open(path)?;
    if let Some(tail) = open(TAIL)? {
        if tail.header.store_id != header.store_id || tail.header.floor <= header.floor {
            return invalid("its tail is not that of its base");
        }
        let meta = tail.meta.clone();
        fold.take_tail(&updates_of(tail)?, &meta)?;
        commit::unlink(&*dir, OsStr::new(TAIL))?;
    }
    let snapshot = fold.snapshot();
    if snapshot.cursor() != manifest.cursor || fold.lineage() != manifest.lineage {
        return invalid("its files are of another cursor or source than its manifest");
    }
    if manifest.digest.is_some() && manifest.digest != Some(snapshot.digest()?) {
        return invalid("its entries do not have the digest of its manifest");
    }
    fold.close()
}

/// What the tail of an artifact has, as updates.
fn updates_of(tail: Base) -> Result<Vec<KvUpdate>> {
    let view = View { base: Some(Arc::new(tail)), ..View::default() };
    let mut updates = Vec::new();
    let mut walk = view.walk(None, false)?;
    while let Some(held) = walk.next()? {
        let (key, version) = (text(held.key)?.to_owned(), VersionToken::of(held.version));
        updates.push(match view.value(&held)? {
            Some(value) => KvUpdate::Put(KvEntry { key, value: value.into_owned(), version }),
            None => KvUpdate::Delete { key, version },
        });
    }
    Ok(updates)
}

#[cfg(feature = "sim")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimFs;

    fn fold(fs: &Arc<dyn Fs>) -> AppendLogSnapshot {
        let options = FoldOptions::new().fs(Arc::clone(fs)).compaction(Compaction::Manual);
        let (_, mut fold) = options.open("/data/fold").unwrap();
        let put = |key: &str, n: u64| KvUpdate::put(key, key, VersionToken::from_u64(n));
        let first = [put("a/1", 1), put("b/1", 2), put("a/2", 3)];
        fold.apply(&first, &WatchCursor::from_u64(3)).unwrap();
        fold.compact_all().unwrap();
        let delete = KvUpdate::delete("a/1", VersionToken::from_u64(4));
        fold.apply(&[delete, put("c", 5)], &WatchCursor::from_u64(9)).unwrap();
        fold
    }

    fn keys(fold: &AppendLogSnapshot) -> Vec<String> {
        fold.range("").unwrap().into_iter().map(|entry| entry.key).collect()
    }

    #[test]
    fn both_formats_come_back_whole_and_in_part() {
        let sim = SimFs::new(1);
        sim.make_dirs("/data").unwrap();
        let fs: Arc<dyn Fs> = Arc::new(sim);
        let fold = fold(&fs);
        let all = vec!["a/2", "b/1", "c"];
        let mut n = 0;
        for format in [ExportFormat::Untorn, ExportFormat::AppendLogV2] {
            for (scope, expected) in [
                (None, all.clone()),
                (Some(vec!["c".to_owned(), "a/".to_owned(), "a/2".to_owned()]), vec!["a/2", "c"]),
            ] {
                n += 1;
                let (artifact, dest) = (format!("/data/x{n}"), format!("/data/y{n}"));
                let options = ExportOptions { scope, format, digest: true, progress: None };
                let made = fold.export(Path::new(&artifact), &options).unwrap();
                assert_eq!(
                    made.schema_version,
                    match (format, &options.scope) {
                        (ExportFormat::Untorn, _) => 3,
                        (ExportFormat::AppendLogV2, Some(_)) => 2,
                        (ExportFormat::AppendLogV2, None) => 1,
                    }
                );
                let import = ImportOptions::new().open(FoldOptions::new().fs(Arc::clone(&fs)));
                let paths = (Path::new(&artifact), Path::new(&dest));
                let too_large = import.clone().max_bytes(10);
                let refused = AppendLogSnapshot::import_with(paths.0, paths.1, &too_large);
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::ArtifactInvalid);
                let other = Lineage { kind: "x".into(), id: vec![] };
                let other = import.clone().expect_lineage(other);
                let refused = AppendLogSnapshot::import_with(paths.0, paths.1, &other);
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::LineageMismatch);
                let (cursor, copy) =
                    AppendLogSnapshot::import_with(paths.0, paths.1, &import).unwrap();
                assert_eq!((cursor, keys(&copy)), (WatchCursor::from_u64(9), to_text(&expected)));
            }
        }
    }

    fn to_text(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }
}
