//! `pool`: objects that pools persisted and scratch that they left, and what the commands for any store say of both.

use std::path::Path;

use untorn::pool::{DirPath, SetPath as _};
use untorn::{ErrorKind, Result as LibraryResult};
use uuid::Uuid;

use crate::exit::{Failure, Result};
use crate::out::Out;

mod args;
mod convert;
mod export;
mod found;
mod gc;
mod read;
mod recover;
mod scratch;
mod stats;
mod verify;

pub(crate) use args::PoolCommand;
pub(super) use convert::{from_file_backed, to_file_backed};
pub(super) use found::{MAGIC, dirs, is_path, refuse_its_log};
pub(super) use recover::recover;
pub(super) use scratch::{Spilled, SweptOwners, is_scratch, refuse_scratch};
pub(super) use stats::inspect;
pub(super) use verify::verify;

pub(crate) fn run(command: PoolCommand, out: &mut Out) -> Result<u8> {
    match command {
        PoolCommand::Ls(args) => read::ls(&args, out),
        PoolCommand::Stats(args) => stats::stats(&args.path, out),
        PoolCommand::Sets(args) => read::sets(&args.path, out),
        PoolCommand::Verify(args) => {
            found::must_be_one(&args.path)?;
            verify(&args.path, out)
        }
        PoolCommand::Gc(args) => gc::gc(&args, out),
        PoolCommand::Get(args) => read::get(&args, out),
        PoolCommand::Export(args) => export::export(&args, out),
    }
}

/// The path as it is now, without a lock.
fn look(path: &Path) -> Result<DirPath> {
    found::must_be_one(path)?;
    let path = DirPath::read_only(path);
    path.track()?;
    Ok(path)
}

/// Does something with all of a path that only is what it is until its owner deletes of it: then once more with what it is now.
fn steadily<T>(dir: &Path, mut work: impl FnMut(&DirPath) -> Result<T>) -> Result<T> {
    const TRIES: u32 = 30;
    let mut tries = 0;
    loop {
        tries += 1;
        match work(&look(dir)?) {
            Err(failure) if failure.is_stale() && tries < TRIES => {}
            done => return done,
        }
    }
}

/// An object that was listed, and was deleted before it was read.
fn overtaken(dir: &Path) -> Failure {
    let what = "its owner deletes objects faster than they can be read; stop it, or try again";
    Failure::new(ErrorKind::Stale, dir, what)
}

/// The keys of a set, in its order, or of all objects, in theirs.
fn keys(path: &DirPath, set: Option<&str>) -> Result<Vec<Uuid>> {
    if let Some(name) = set {
        let found = path.read_set(name)?.ok_or_else(|| no_set(path.path(), name))?;
        return Ok(found.keys);
    }
    let mut keys = path.durable_keys();
    keys.sort_unstable();
    Ok(keys)
}

fn no_set(path: &Path, name: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, path, format!("there is no set {name:?}"))
}

/// The bytes of an object; what is wrong with it is told with its key.
fn bytes_of(path: &DirPath, key: Uuid) -> Result<Vec<u8>> {
    let read: LibraryResult<_> = path.read(key);
    read.map(|(_, bytes)| bytes)
        .map_err(|e| Failure::from(e).after(&format!("object {}", key.simple())))
}

const fn codec_name(id: u16) -> Option<&'static str> {
    match id {
        1 => Some("json"),
        2 => Some("postcard"),
        3 => Some("raw"),
        4 => Some("fixed-le"),
        _ => None,
    }
}
