//! `pool ls`, `sets` and `get`.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use untorn::ErrorKind;
use untorn::pool::{Compression, DirPath, ObjectInfo, SetPath as _};
use uuid::Uuid;

use super::args::{PoolGet, PoolLs};
use super::{bytes_of, codec_name, keys, look};
use crate::exit::{Failure, Result, code};
use crate::out::Out;

/// An object, as `--json` has it.
#[derive(Serialize)]
struct Row<'a> {
    key: String,
    /// Bytes as the codec made them.
    size: u64,
    stored: u64,
    sets: &'a [String],
    /// Whether it is in the loose set, too.
    loose: bool,
    codec: Option<&'static str>,
    codec_id: u16,
    compression: &'static str,
    tag: u64,
    weight: u64,
    /// Milliseconds since 1970, if the key says so.
    created_ms: Option<u64>,
}

impl<'a> Row<'a> {
    fn of(key: Uuid, info: &ObjectInfo, sets: &'a [String]) -> Self {
        let meta = info.meta;
        let created = info.created.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Self {
            key: key.simple().to_string(),
            size: meta.raw_len,
            stored: info.stored_len,
            sets,
            loose: info.loose,
            codec: codec_name(meta.codec),
            codec_id: meta.codec,
            compression: match meta.compression {
                Compression::None => "none",
                Compression::Lz4 => "lz4",
                Compression::Zstd(_) => "zstd",
                _ => "other",
            },
            tag: meta.tag,
            weight: meta.weight,
            created_ms: created,
        }
    }

    fn sets(&self) -> String {
        let loose = self.loose.then_some("-".to_owned());
        let named = self.sets.iter().map(|name| name.escape_debug().to_string());
        named.chain(loose).collect::<Vec<_>>().join(",")
    }
}

pub(super) fn ls(args: &PoolLs, out: &mut Out) -> Result<u8> {
    let path = look(&args.path)?;
    let keys = keys(&path, args.set.as_deref())?;
    let infos: HashMap<Uuid, ObjectInfo> = path.objects().into_iter().collect();
    let mut sets: HashMap<Uuid, Vec<String>> = HashMap::new();
    for info in path.sets() {
        for key in path.read_set(&info.name)?.unwrap_or_default().keys {
            sets.entry(key).or_default().push(info.name.clone());
        }
    }
    let none = Vec::new();
    let rows = keys
        .iter()
        .filter_map(|key| Some(Row::of(*key, infos.get(key)?, sets.get(key).unwrap_or(&none))));
    if out.json() {
        for row in rows {
            out.value(&row)?;
        }
        return Ok(code::OK);
    }
    let rows: Vec<Row<'_>> = rows.collect();
    let widest = rows.iter().map(|row| row.size.to_string().len()).max().unwrap_or(0).max(4);
    out.line(format_args!("{:32}  {:>widest$}  SET", "KEY", "SIZE"))?;
    for row in rows {
        out.line(format_args!("{}  {:>widest$}  {}", row.key, row.size, row.sets()))?;
    }
    Ok(code::OK)
}

pub(super) fn sets(path: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Named<'a> {
        set: &'a str,
        objects: u64,
        meta_bytes: u64,
        checkpoint: u64,
    }
    let sets = look(path)?.sets();
    if out.json() {
        for info in &sets {
            let (set, checkpoint) = (&*info.name, info.id.0);
            let (objects, meta_bytes) = (info.objects, info.meta_len);
            out.value(&Named { set, objects, meta_bytes, checkpoint })?;
        }
        return Ok(code::OK);
    }
    out.line(format_args!("{:>10}  {:>8}  {:>10}  SET", "OBJECTS", "META", "CHECKPOINT"))?;
    for info in &sets {
        let name = info.name.escape_debug();
        let (objects, meta, id) = (info.objects, info.meta_len, info.id.0);
        out.line(format_args!("{objects:>10}  {meta:>8}  {id:>10}  {name}"))?;
    }
    Ok(code::OK)
}

/// The object whose key begins so; it must be the only one.
fn find(path: &DirPath, short: &str) -> Result<Uuid> {
    let digits: String = short.chars().filter(|c| *c != '-').collect::<String>().to_lowercase();
    let hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex || digits.len() > 32 {
        let what = format!("{short:?} is no key: 32 hex digits, or the first of them");
        return Err(Failure::new(ErrorKind::InvalidInput, path.path(), what));
    }
    let mut keys = path.durable_keys();
    keys.retain(|key| key.simple().to_string().starts_with(&digits));
    keys.sort_unstable();
    match *keys {
        [] => {
            let what = format!("there is no object {short}");
            Err(Failure::new(ErrorKind::NotFound, path.path(), what))
        }
        [key] => Ok(key),
        [first, second, ..] => {
            let what = format!(
                "{short} is the beginning of {} keys, such as {} and {}",
                keys.len(),
                first.simple(),
                second.simple()
            );
            Err(Failure::new(ErrorKind::InvalidInput, path.path(), what))
        }
    }
}

pub(super) fn get(args: &PoolGet, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Got {
        key: String,
        bytes_b64: String,
    }
    let path = look(&args.path)?;
    let key = find(&path, &args.key)?;
    let bytes = bytes_of(&path, key)?;
    if out.json() {
        let (key, bytes_b64) = (key.simple().to_string(), STANDARD.encode(bytes));
        out.value(&Got { key, bytes_b64 })?;
    } else {
        out.bytes(&bytes)?;
    }
    Ok(code::OK)
}
