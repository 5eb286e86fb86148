//! Artifacts of the older program: a manifest of schema 1 or 2 with one PGSS file.

use std::path::Path;
use std::sync::Arc;

use super::super::{ExportManifest, KvEntry, WatchCursor};
use super::scan::Scan;
use super::window::Window;
use super::{Image, record, write_to};
use crate::artifact::{APPEND_LOG, APPEND_LOG_FILE, About, Export, Import};
use crate::fs::Fs;
use crate::{Error, ErrorKind, OnDamage, Result};

/// The version of the form of their file.
const FORMAT: &str = "2";

/// Reads an artifact that the older program exported from its append log: what it says of itself, and what it holds.
///
/// # Durability
/// Nothing is changed.
///
/// # Cost
/// Reads the file twice, to compare its digest and to take its entries; memory as [`read`](super::read).
///
/// # Errors
/// `ArtifactInvalid` if the manifest breaks a rule, if it is of another backend, or if the file is not what the manifest says; `Damaged`
/// if the file is missing or has another digest; `NotOurs` if there is no manifest; `NewerFormat`; `NotFound`; `Io`.
///
/// # Example
/// See [`write_artifact`].
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn read_artifact(path: impl AsRef<Path>, fs: Arc<dyn Fs>) -> Result<(ExportManifest, Image)> {
    let path = path.as_ref();
    let import = Import::open(&*fs, path, (APPEND_LOG, FORMAT))?;
    let image = image(&import)?;
    let manifest = ExportManifest::of(import.manifest().clone(), path)?;
    if *image.cursor() != manifest.cursor {
        let (has, said) = (image.cursor(), &manifest.cursor);
        let what = format!("its file is at cursor {has}, and the manifest says {said}");
        return Err(Error::new(ErrorKind::ArtifactInvalid, "import", path, what));
    }
    Ok((manifest, image))
}

/// The image in an artifact, which is whole or is refused.
fn image(import: &Import) -> Result<Image> {
    let file = import.file(APPEND_LOG_FILE)?;
    let path = file.path().to_path_buf();
    let invalid = |e: Error| e.with_kind(ErrorKind::ArtifactInvalid);
    let mut scan = Scan::new(Window::new(file)?, OnDamage::Refuse);
    scan.run().map_err(|e| match e.kind() {
        ErrorKind::Damaged | ErrorKind::NotOurs | ErrorKind::Unsupported => invalid(e),
        _ => e,
    })?;
    let Scan { cursor, live, report, .. } = scan;
    if report.torn_bytes > 0 {
        let what = format!("its last {} bytes are torn", report.torn_bytes);
        return Err(Error::new(ErrorKind::ArtifactInvalid, "import", &path, what));
    }
    Ok(Image { cursor, live, report })
}

/// Writes an artifact that the older program imports to `dest`, which must not exist or be an empty directory: schema 2 with this
/// scope, a list of prefixes, or schema 1 without one. The keys of the entries ascend.
///
/// # Durability
/// **On `Ok`** the artifact is complete and durable. **On `Err`**, **if the process dies** or **if power fails** nothing is at `dest`,
/// unless the error's outcome is `Unknown`.
///
/// # Cost
/// One sync for the file, the manifest, each of two directories and the parent of `dest`.
///
/// # Errors
/// Those of [`write_entries`](super::write_entries).
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use untorn::fold::{KvEntry, VersionToken, WatchCursor, pgss};
/// # let dir = tempfile::tempdir()?;
/// # let dest = dir.path().join("artifact");
/// let entry = KvEntry { key: "a".into(), value: "hi".into(), version: VersionToken::from_u64(7) };
/// let fs = || Arc::new(untorn::fs::OsFs::new());
/// let cursor = WatchCursor::from_u64(7);
/// let made = pgss::write_artifact([Ok(entry)], &cursor, Some(vec![String::new()]), &dest, fs())?;
/// assert_eq!((made.schema_version, &*made.backend), (2, "append-log"));
/// let (manifest, image) = pgss::read_artifact(&dest, fs())?;
/// assert_eq!((manifest.cursor, image.len()), (cursor, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn write_artifact(
    entries: impl IntoIterator<Item = Result<KvEntry>>,
    cursor: &WatchCursor,
    scope: Option<Vec<String>>,
    dest: impl AsRef<Path>,
    fs: Arc<dyn Fs>,
) -> Result<ExportManifest> {
    let dest = dest.as_ref();
    let mut export = Export::begin(&*fs, dest)?;
    let mut file = export.file(APPEND_LOG_FILE)?;
    write_to(entries, cursor, &mut file)?;
    file.finish()?;
    let cursor = record::cursor_bytes(cursor).unwrap_or_default();
    let (backend, backend_version) = (APPEND_LOG, FORMAT);
    let about = About { backend, backend_version, cursor, scope, ..About::default() };
    ExportManifest::of(export.finish_older(about)?, dest)
}

#[cfg(feature = "sim")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::VersionToken;
    use crate::sim::SimFs;

    fn disk() -> SimFs {
        let sim = SimFs::new(1);
        sim.make_dirs("/data").unwrap();
        sim
    }

    fn entries() -> impl Iterator<Item = Result<KvEntry>> {
        let version = VersionToken::from_u64(5);
        let entry = move |key: &str| {
            Ok(KvEntry { key: key.to_owned(), value: vec![1], version: version.clone() })
        };
        ["a", "b"].into_iter().map(entry)
    }

    fn write(sim: &SimFs, cursor: &WatchCursor, scope: Option<&str>) -> Result<ExportManifest> {
        let scope = scope.map(|prefix| vec![prefix.to_owned()]);
        write_artifact(entries(), cursor, scope, "/data/x", Arc::new(sim.clone()))
    }

    fn read(sim: &SimFs) -> Result<(ExportManifest, Image)> {
        read_artifact("/data/x", Arc::new(sim.clone()))
    }

    #[test]
    fn what_is_written_is_read() {
        let at = WatchCursor::from_u64(5);
        let memo = at.clone().remember_evicting(true).written_at(Some(9));
        for (cursor, scope) in [
            (at, None),
            (memo, Some("a")),
            (WatchCursor::none(), Some("")),
            (WatchCursor::none(), None),
        ] {
            let sim = disk();
            let made = write(&sim, &cursor, scope).unwrap();
            let (manifest, image) = read(&sim).unwrap();
            assert_eq!((&manifest, &manifest.cursor), (&made, &cursor));
            assert_eq!(manifest.schema_version, if scope.is_some() { 2 } else { 1 });
            assert_eq!((manifest.lineage, manifest.entries, manifest.digest), (None, 0, None));
            assert!(image.into_entries().eq(entries().map(Result::unwrap)));
        }
    }

    #[test]
    fn what_the_older_program_cannot_read_is_not_written() {
        let sim = disk();
        let long = WatchCursor::from_raw(&[1; 11]).unwrap();
        assert_eq!(write(&sim, &long, None).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(sim.dump().len(), 1, "nothing is left");
    }

    /// A payload whose digest is right and whose content is not.
    #[test]
    fn a_manifest_that_does_not_fit_its_file_is_refused() {
        let publish = |bytes: &[u8], cursor: Vec<u8>, (backend, version)| {
            let sim = disk();
            let mut export = Export::begin(&sim, Path::new("/data/x")).unwrap();
            let mut file = export.file(APPEND_LOG_FILE).unwrap();
            std::io::Write::write_all(&mut file, bytes).unwrap();
            file.finish().unwrap();
            let about = About { backend, backend_version: version, cursor, ..About::default() };
            export.finish_older(about).unwrap();
            read(&sim).map(drop).map_err(|e| e.kind())
        };
        let mut good = Vec::new();
        write_to(entries(), &WatchCursor::from_u64(5), &mut good).unwrap();
        let five = vec![0, 0, 0, 0, 0, 0, 0, 5];
        let invalid = Err(ErrorKind::ArtifactInvalid);
        let ours = (APPEND_LOG, FORMAT);
        assert_eq!(publish(&good, five.clone(), ours), Ok(()));
        assert_eq!(publish(&good, vec![0, 0, 0, 0, 0, 0, 0, 6], ours), invalid);
        assert_eq!(publish(&good, vec![0; 11], ours), invalid, "no cursor");
        let long = WatchCursor::from_raw(&[1; 11]).unwrap().to_bytes();
        assert_eq!(publish(&good, long, ours), invalid, "of a later schema");
        assert_eq!(publish(&good[..good.len() - 1], five.clone(), ours), invalid, "torn");
        assert_eq!(publish(b"no such file", five.clone(), ours), invalid);
        let mut flipped = good.clone();
        flipped[20] ^= 1;
        assert_eq!(publish(&flipped, five.clone(), ours), invalid);
        assert_eq!(publish(&good, five.clone(), ("fjall", "3")), invalid);
        let newer = Err(ErrorKind::NewerFormat);
        assert_eq!(publish(&good, five, (APPEND_LOG, "3")), newer);
    }

    #[test]
    fn artifacts_of_other_stores_are_no_folds() {
        let of = |backend: &'static str| {
            let sim = disk();
            let about = About { backend, backend_version: "1", ..About::default() };
            let export = Export::begin(&sim, Path::new("/data/x")).unwrap();
            let manifest = export.finish(about).unwrap();
            ExportManifest::of(manifest, Path::new("/data/x")).map(drop).map_err(|e| e.kind())
        };
        assert_eq!(of("untorn-fold"), Ok(()));
        assert_eq!(of("untorn-journal"), Err(ErrorKind::ArtifactInvalid));
        assert_eq!(of("append-log"), Err(ErrorKind::ArtifactInvalid));
    }
}
