//! `put` and `get`: one file, replaced whole.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::Serialize;
use untorn::{AtomicFile, ErrorKind, ReplaceOptions, Symlink};

use crate::args::{Get, Put};
use crate::exit::{Failure, Result, code};
use crate::input::{self, Input};
use crate::out::Out;

#[derive(Serialize)]
struct Done {
    path: std::path::PathBuf,
    bytes: u64,
    blake3: String,
}

pub(crate) fn put(args: &Put, out: &mut Out) -> Result<u8> {
    let path = &*args.file;
    let mut options = ReplaceOptions::new();
    if args.no_follow {
        options = options.symlink(Symlink::Refuse);
    }
    if let Some(mode) = args.mode {
        options = options.mode(mode);
    }
    if let Some(expected) = &args.if_match {
        must_match(path, expected)?;
    }
    let mut file = if args.if_absent {
        AtomicFile::create_new(path, &options)?
    } else {
        AtomicFile::with(path, &options)?
    };
    let input = input::open()?;
    let mut hash = blake3::Hasher::new();
    let mut bytes = 0_u64;
    loop {
        match input.recv() {
            Ok(Input::Bytes(piece)) if !input::stopped() => {
                hash.update(&piece);
                bytes += piece.len() as u64;
                file.write_all(&piece).map_err(|e| Failure::io("write", path, e))?;
            }
            Ok(Input::End) if !input::stopped() => break,
            Ok(Input::Failed(e)) => return Err(Failure::io("read", Path::new("stdin"), e)),
            _ => {
                file.discard()?;
                let what = "interrupted; it is as it was";
                return Err(Failure::new(ErrorKind::Cancelled, path, what));
            }
        }
    }
    if let Some(expected) = &args.if_match {
        // stdin may have taken its time; the check counts at the end.
        must_match(path, expected)?;
    }
    let path = file.path();
    file.commit()?;
    if out.json() {
        out.value(&Done { path, bytes, blake3: hash.finalize().to_hex().to_string() })?;
    }
    Ok(code::OK)
}

fn must_match(path: &Path, expected: &str) -> Result<()> {
    let found = match digest(path) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let what = "there is no such file, so it does not match; nothing was changed";
            return Err(Failure::new(ErrorKind::Precondition, path, what));
        }
        Err(e) => return Err(Failure::io("read", path, e)),
    };
    if found == expected {
        return Ok(());
    }
    let what = format!("its BLAKE3 is {found}; someone changed it; nothing was changed");
    Err(Failure::new(ErrorKind::Precondition, path, what))
}

/// BLAKE3 of a file, in hex.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = blake3::Hasher::new();
    let mut piece = vec![0; 128 << 10];
    loop {
        let len = file.read(&mut piece)?;
        match piece.get(..len) {
            Some(read) if len > 0 => hash.update(read),
            _ => return Ok(hash.finalize().to_hex().to_string()),
        };
    }
}

pub(crate) fn get(args: &Get, out: &mut Out) -> Result<u8> {
    let path = &*args.file;
    let fail = |e| Failure::io("read", path, e);
    let mut file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        let what = "it is a directory; `untorn inspect` says what kind";
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    let mut piece = vec![0; 128 << 10];
    loop {
        let len = file.read(&mut piece).map_err(fail)?;
        match piece.get(..len) {
            Some(read) if len > 0 => out.bytes(read)?,
            _ => return Ok(code::OK),
        }
    }
}
