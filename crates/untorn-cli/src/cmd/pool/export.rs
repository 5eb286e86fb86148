//! `pool export`: each object a file that has its key for a name.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::pool::SetPath as _;

use super::super::staging::made_whole;
use super::args::PoolExport;
use super::{bytes_of, keys, look};
use crate::exit::{Failure, Result, code};
use crate::out::{Out, many, size};

pub(super) fn export(args: &PoolExport, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Exported<'a> {
        path: &'a Path,
        objects: u64,
        bytes: u64,
    }
    let path = look(&args.path)?;
    let keys = keys(&path, args.set.as_deref())?;
    let dest = &*args.dest;
    if dest.symlink_metadata().is_ok() {
        let what = "it exists; what is exported needs a directory of its own";
        return Err(Failure::new(ErrorKind::AlreadyExists, dest, what));
    }
    let infos: HashMap<_, _> = path.objects().into_iter().collect();
    let bar = out.bar();
    bar.set_length(keys.iter().filter_map(|key| infos.get(key)).map(|i| i.meta.raw_len).sum());
    let mut bytes = 0_u64;
    let written = made_whole(dest, "export", |staged| {
        fs::create_dir(staged).map_err(|e| Failure::io("make", staged, e))?;
        for key in &keys {
            let content = bytes_of(&path, *key)?;
            let file = staged.join(key.simple().to_string());
            write(&file, &content).map_err(|e| Failure::io("write", &file, e))?;
            bytes += content.len() as u64;
            bar.set_position(bytes);
        }
        let synced = File::open(staged).and_then(|dir| dir.sync_all());
        synced.map_err(|e| Failure::io("sync", staged, e))
    });
    bar.finish_and_clear();
    written?;
    let objects = keys.len() as u64;
    if out.json() {
        out.value(&Exported { path: dest, objects, bytes })?;
    } else {
        let (objects, bytes) = (many(objects, "object"), size(bytes));
        out.line(format_args!("{}: {objects}, {bytes}", dest.display()))?;
    }
    Ok(code::OK)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
