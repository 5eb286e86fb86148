//! Tells a part, the directory `NAME.part` in which a file fills, from other directories.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".part";
const SIGNATURE: &[u8] = b"untorn-part ";
const MAGIC: &[u8] = b"UNTPART\0";
/// Where `meta` has the length of the name, u16; the name follows.
const NAME: usize = 48;
/// Longer than any `meta` that is valid.
const META_MAX: u64 = 16 << 10;

/// The file that fills in the part at `path`; `None` if that is no part.
pub(super) fn target(path: &Path) -> Option<PathBuf> {
    if !fs::symlink_metadata(path).is_ok_and(|stat| stat.is_dir()) {
        return None;
    }
    let meta = head(&path.join("meta")).filter(|meta| meta.starts_with(MAGIC));
    let signed = || head(&path.join("LOCK")).is_some_and(|text| text.starts_with(SIGNATURE));
    if meta.is_none() && !signed() {
        return None;
    }
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX);
    // The part of a very long name has another one: `meta` has all of it.
    let name = meta.as_deref().and_then(name_in).or_else(|| name.map(OsString::from))?;
    Some(path.with_file_name(name))
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(META_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn name_in(meta: &[u8]) -> Option<OsString> {
    let (len, rest) = meta.get(NAME..)?.split_first_chunk::<2>()?;
    let name = rest.get(..usize::from(u16::from_le_bytes(*len)))?;
    let sound = !name.is_empty() && !name.contains(&b'/') && !name.contains(&0);
    sound.then(|| OsString::from_vec(name.to_vec()))
}
