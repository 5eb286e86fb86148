//! `pool export`: each object a file that has its key for a name.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use indicatif::ProgressBar;
use serde::Serialize;
use untorn::ErrorKind;
use untorn::pool::{DirPath, SetPath as _};
use uuid::Uuid;

use super::super::staging::made_whole;
use super::args::PoolExport;
use super::{bytes_of, keys, overtaken, steadily};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, many, size};

pub(super) fn export(args: &PoolExport, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Exported<'a> {
        path: &'a Path,
        objects: u64,
        bytes: u64,
    }
    let dest = &*args.dest;
    if dest.symlink_metadata().is_ok() {
        let what = "it exists; what is exported needs a directory of its own";
        return Err(Failure::new(ErrorKind::AlreadyExists, dest, what));
    }
    let bar = out.bar();
    let written = steadily(&args.path, |path| {
        let keys = keys(path, args.set.as_deref())?;
        let infos: HashMap<_, _> = path.objects().into_iter().collect();
        bar.set_length(keys.iter().filter_map(|key| infos.get(key)).map(|i| i.meta.raw_len).sum());
        made_whole(dest, "export", |staged| {
            let bytes = write_all(path, &keys, staged, &bar)?;
            Ok((keys.len() as u64, bytes))
        })
    });
    bar.finish_and_clear();
    let (objects, bytes) = written?;
    if out.json() {
        out.value(&Exported { path: dest, objects, bytes })?;
    } else {
        let (objects, bytes) = (many(objects, "object"), size(bytes));
        out.line(format_args!("{}: {objects}, {bytes}", dest.display()))?;
    }
    Ok(code::OK)
}

/// Writes all objects, and syncs them then: what is read quickly is seldom deleted before.
fn write_all(path: &DirPath, keys: &[Uuid], staged: &Path, bar: &ProgressBar) -> Result<u64> {
    fs::create_dir(staged).map_err(|e| Failure::io("make", staged, e))?;
    let mut bytes = 0_u64;
    for key in keys {
        let content = match bytes_of(path, *key) {
            Err(failure) if failure.exit() == code::NOT_FOUND => {
                return Err(overtaken(path.path()));
            }
            content => content?,
        };
        let file = staged.join(key.simple().to_string());
        let written = File::create_new(&file).and_then(|mut to| to.write_all(&content));
        written.map_err(|e| Failure::io("write", &file, e))?;
        bytes += content.len() as u64;
        bar.set_position(bytes);
    }
    for name in keys.iter().map(|key| key.simple().to_string()).chain([".".to_owned()]) {
        let path = staged.join(name);
        let synced = File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|e| Failure::io("sync", &path, e))?;
    }
    Ok(bytes)
}
