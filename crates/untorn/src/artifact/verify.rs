//! Verifying an artifact: its shape against the manifest (A1), then every byte of every file.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{ArtifactFile, Manifest, open_dir};
use super::{DATA, MANIFEST, rules};
use crate::fs::{Dir, File, Fs, How, Kind, OsFs};
use crate::{Error, ErrorKind, Result};

/// Bytes read at once.
const READ: usize = 1 << 20;

/// Verifies the artifact at `path`: every file has its size and its BLAKE3, and there is nothing else in it.
///
/// # Durability
/// Nothing is changed.
///
/// # Cost
/// Reads every byte once, 1 MiB at a time. No sync.
///
/// # Errors
/// `Damaged` if a file is missing, has another length or other bytes; `ArtifactInvalid` if there is something that the
/// manifest does not name, or a symbolic link; those of [`read_manifest`](super::read_manifest).
///
/// # Example
/// See the [module](super).
pub fn verify(path: impl AsRef<Path>) -> Result<Manifest> {
    verify_with(path, Arc::new(OsFs::new()), |_| {})
}

/// As [`verify`], on a file system; `progress` gets the number of bytes that were verified so far.
///
/// # Errors
/// As [`verify`].
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn verify_with(
    path: impl AsRef<Path>,
    fs: Arc<dyn Fs>,
    mut progress: impl FnMut(u64),
) -> Result<Manifest> {
    let dir = open_dir(&*fs, path.as_ref())?;
    let manifest = Manifest::load(&*dir)?;
    check_shape(&dir, &manifest)?;
    let mut before = 0_u64;
    for declared in &manifest.files {
        read_file(&dir, declared, |bytes| {
            before = before.saturating_add(bytes.len() as u64);
            progress(before);
            Ok(())
        })?;
    }
    Ok(manifest)
}

/// Everything that is there is declared, and of the right kind. What is missing shows when it is opened.
pub(super) fn check_shape(dir: &Arc<dyn Dir>, manifest: &Manifest) -> Result<()> {
    let files = manifest.files.iter().map(|file| file.path.as_str()).collect::<BTreeSet<_>>();
    let above = |path: &str| -> Vec<String> {
        path.match_indices('/').filter_map(|(at, _)| Some(path.get(..at)?.to_owned())).collect()
    };
    let mut dirs: BTreeSet<String> = files.iter().flat_map(|path| above(path)).collect();
    dirs.insert(DATA.to_owned());
    let mut todo = vec![(String::new(), Arc::clone(dir))];
    while let Some((prefix, dir)) = todo.pop() {
        let fail = |e| Error::system("list", dir.path(), e);
        for name in dir.list().map_err(fail)? {
            let at = dir.path().join(&name);
            let invalid = |what| Err(Error::new(ErrorKind::ArtifactInvalid, "verify", &at, what));
            let Some(text) = name.to_str() else {
                return invalid("no name in an artifact is like this");
            };
            let path = if prefix.is_empty() { text.to_owned() } else { format!("{prefix}/{text}") };
            match dir.stat(&name).map_err(|e| Error::system("look at", &at, e))?.kind {
                Kind::File if path == MANIFEST || files.contains(path.as_str()) => {}
                Kind::Dir if dirs.contains(&path) => {
                    let below = dir.open_dir(&name);
                    todo.push((path, below.map_err(|e| Error::system("open", &at, e))?));
                }
                Kind::File | Kind::Dir => return invalid("the manifest does not name it"),
                _ => return invalid("an artifact has regular files and directories only"),
            }
        }
    }
    Ok(())
}

/// Reads a declared file, hands its bytes on, and compares size and digest; the file, open.
pub(super) fn read_file(
    root: &Arc<dyn Dir>,
    declared: &ArtifactFile,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Arc<dyn File>> {
    let path = root.path().join(&declared.path);
    let file = open_below(root, &declared.path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::Damaged,
            "verify",
            &path,
            "the manifest names it, and it is missing",
        ),
        _ => Error::system("open", &path, e),
    })?;
    let damaged = |what| Err(Error::new(ErrorKind::Damaged, "verify", &path, what));
    let len = file.stat().map_err(|e| Error::system("look at", &path, e))?.len;
    if len != declared.size {
        return damaged(format!("it has {len} bytes, and {} are declared", declared.size));
    }
    let mut hasher = blake3::Hasher::new();
    let read = read_all(&*file, declared.size, |bytes| {
        hasher.update(bytes);
        each(bytes)
    })?;
    if read != declared.size {
        return damaged(format!("it ends after {read} bytes, and {} are declared", declared.size));
    }
    if rules::hex(hasher.finalize().as_bytes()) != declared.blake3 {
        return damaged("its bytes have another BLAKE3 than the manifest says".to_owned());
    }
    Ok(file)
}

/// Reads `len` bytes from the start on, fewer if the file ends; returns how many they were.
pub(super) fn read_all(
    file: &dyn File,
    len: u64,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let room = usize::try_from(len).unwrap_or(READ).min(READ);
    let mut buffer = vec![0; room];
    let mut at = 0_u64;
    while at < len {
        let want = usize::try_from(len.saturating_sub(at)).unwrap_or(room).min(room);
        let Some(part) = buffer.get_mut(..want) else { break };
        let got = file.read_at(part, at);
        let got = got.map_err(|e| Error::system("read", file.path(), e).at(at))?;
        let Some(part) = buffer.get(..got).filter(|part| !part.is_empty()) else { break };
        each(part)?;
        at = at.saturating_add(got as u64);
    }
    Ok(at)
}

/// Opens `path`, which passed the rules, below `root` (A2).
fn open_below(root: &Arc<dyn Dir>, path: &str) -> std::io::Result<Arc<dyn File>> {
    let path = PathBuf::from(path);
    let mut dir = Arc::clone(root);
    for part in path.parent().unwrap_or(Path::new("")) {
        dir = dir.open_dir(part)?;
    }
    dir.open(path.file_name().unwrap_or(OsStr::new("")), How::Read)
}
