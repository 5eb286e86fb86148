//! What a manifest may say. No I/O: words in, a verdict out.

use std::collections::BTreeSet;

use super::manifest::{Manifest, SCHEMA, SCOPED, UNSCOPED};
use super::{DATA, MANIFEST};

const FILES_MAX: usize = 100_000;
const PATH_MAX: usize = 1024;
const DEPTH_MAX: usize = 32;
const NAME_MAX: usize = 255;
const WORD_MAX: usize = 64;
/// Whose files there are with the older schemas.
const OLDER: [&str; 3] = [APPEND_LOG, "fjall", "rocksdb"];
/// The one of them that has a single file.
pub(crate) const APPEND_LOG: &str = "append-log";
/// That file.
pub(crate) const APPEND_LOG_FILE: &str = "data/fold.snap";

/// Why the manifest breaks a rule.
pub(super) fn check(manifest: &Manifest) -> Result<(), String> {
    for (field, word) in
        [("backend", &manifest.backend), ("backend_version", &manifest.backend_version)]
    {
        let plain =
            (1..=WORD_MAX).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic());
        if !plain {
            return Err(format!("`{field}` is 1 to {WORD_MAX} visible ASCII characters"));
        }
    }
    if !is_hex(&manifest.cursor_hex) || !manifest.cursor_hex.len().is_multiple_of(2) {
        return Err("`cursor_hex` is hex in lower case, two digits a byte".to_owned());
    }
    if manifest.files.len() > FILES_MAX {
        let count = manifest.files.len();
        return Err(format!("{count} files are above the limit of {FILES_MAX}"));
    }
    if manifest.schema_version != SCHEMA {
        check_older(manifest)?;
    }
    // Where names differ only in case, some file systems have one file.
    let mut files = BTreeSet::new();
    let mut dirs = BTreeSet::new();
    let mut total = 0_u64;
    for file in &manifest.files {
        path(&file.path)?;
        let shown = file.path.escape_debug();
        if file.blake3.len() != 64 || !is_hex(&file.blake3) {
            return Err(format!("`blake3` of \"{shown}\" is 64 hex digits in lower case"));
        }
        total = total
            .checked_add(file.size)
            .ok_or_else(|| "the sizes of all files are more than there can be".to_owned())?;
        let folded = file.path.to_lowercase();
        dirs.extend(
            folded.match_indices('/').filter_map(|(at, _)| Some(folded.get(..at)?.to_owned())),
        );
        if !files.insert(folded) {
            return Err(format!("\"{shown}\" is named twice"));
        }
    }
    match files.intersection(&dirs).next() {
        Some(both) => Err(format!("\"{}\" is both a file and a directory", both.escape_debug())),
        None => Ok(()),
    }
}

/// Why a manifest of an older schema breaks a rule of its own.
fn check_older(manifest: &Manifest) -> Result<(), String> {
    let (schema, backend) = (manifest.schema_version, &*manifest.backend);
    match (schema, &manifest.scope) {
        (UNSCOPED, None) | (SCOPED, Some(_)) => {}
        (UNSCOPED, Some(_)) => return Err("a manifest of schema 1 has no `scope`".to_owned()),
        (SCOPED, None) => return Err("a manifest of schema 2 has a `scope`".to_owned()),
        _ => return Err(format!("there is no schema {schema}")),
    }
    if !OLDER.contains(&backend) {
        return Err(format!("schema {schema} is of {}, not of {backend}", OLDER.join(", ")));
    }
    if !manifest.detail.is_empty() {
        return Err(format!("a manifest of schema {schema} has no `detail`"));
    }
    let alone = matches!(&*manifest.files, [file] if file.path == APPEND_LOG_FILE);
    if backend == APPEND_LOG && !alone {
        return Err(format!("the one file of {APPEND_LOG} is {APPEND_LOG_FILE}"));
    }
    Ok(())
}

/// Why this is no path of a file in an artifact.
pub(super) fn path(path: &str) -> Result<(), String> {
    let refuse = |why: &str| {
        let shown: String = path.escape_debug().take(100).collect();
        Err(format!("the path \"{shown}\" {why}"))
    };
    if path.len() > PATH_MAX {
        return refuse("is longer than 1024 bytes");
    }
    if path.chars().any(|c| c.is_control() || matches!(c, '\\' | ':')) {
        return refuse("has a character that is not the same everywhere");
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.first() != Some(&DATA) || parts.len() < 2 {
        return refuse(&format!("is not below `{DATA}/`; beside it there is only {MANIFEST}"));
    }
    if parts.len() > DEPTH_MAX {
        return refuse("is too deep");
    }
    if parts.iter().any(|part| matches!(*part, "" | "." | "..") || part.len() > NAME_MAX) {
        return refuse("has a part that is no plain name");
    }
    Ok(())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The bytes in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// The bytes of two digits each; `None` if it is something else.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let pair = |pair: &[u8]| match pair {
        &[high, low] => Some((digit(high)? << 4) | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_below_data_pass() {
        for good in ["data/a", "data/log/0000000000000001.seg", "data/.x", "data/a b", "data/..."] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        let long = format!("data/{}", "x".repeat(256));
        let deep = format!("data{}", "/x".repeat(32));
        let longer = format!("data{}", "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".repeat(30));
        for bad in [
            "",
            "/",
            "a",
            "data",
            "data/",
            "/data/a",
            "data//a",
            "data/./a",
            "data/../a",
            "./data/a",
            "Data/a",
            "data/a/..",
            "data/a\\b",
            "data/c:",
            "data/a\0",
            "data/a\n",
            "../data/a",
            "MANIFEST.json",
            &long,
            &deep,
            &longer,
        ] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }
}
