//! `snap show`, `verify`, `put` and `get`: one snapshot in a file.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::codec::Codec;
use untorn::snapshot::{
    FrameBytes, Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotInfo, SnapshotOptions,
    SnapshotWriter as _,
};
use untorn::{ErrorKind, Result as LibraryResult};

use super::json;
use crate::args::{SnapGet, SnapPut};
use crate::exit::{Failure, Result, code};
use crate::input::{self, Input};
use crate::out::{Out, size};

/// JSON text that was checked and made compact before; the bytes are what the codec `Json` makes of the same value.
#[derive(Clone, Copy, Debug)]
struct JsonText;

impl Codec<Vec<u8>> for JsonText {
    const NAME: &'static str = "json";

    fn encode(&self, text: &Vec<u8>, out: &mut Vec<u8>) -> LibraryResult<()> {
        out.extend_from_slice(text);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> LibraryResult<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}

fn loader(path: &Path, version: u32) -> SnapshotFsLoader<Vec<u8>, JsonText> {
    SnapshotFsLoader::with(path, SnapshotOptions::with_codec(JsonText).version(version))
}

/// What `show`, `inspect` and `verify` tell of a snapshot.
#[derive(Serialize)]
pub(super) struct Shown {
    path: PathBuf,
    layout: &'static str,
    version: u32,
    payload_bytes: u64,
    stored_bytes: u64,
    codec: Option<String>,
    seq: u64,
    machine: Option<String>,
    machine_version: u32,
    digest: Option<String>,
    store_id: Option<String>,
    log_segment: Option<u64>,
    log_frame: Option<u64>,
}

impl Shown {
    fn of(info: SnapshotInfo) -> Self {
        Self {
            layout: info.layout.name(),
            version: info.version,
            payload_bytes: info.payload_bytes,
            stored_bytes: info.stored_bytes,
            codec: info.codec,
            seq: info.seq,
            machine: info.machine,
            machine_version: info.machine_version,
            digest: info.digest.map(|digest| format!("{digest:016x}")),
            store_id: info.store_id.map(|id| id.to_string()),
            log_segment: info.pos.map(|pos| pos.segment),
            log_frame: info.pos.map(|pos| pos.frame),
            path: info.path,
        }
    }

    pub(super) fn print(&self, out: &mut Out) -> Result<()> {
        let (path, layout, version) = (self.path.display(), self.layout, self.version);
        out.line(format_args!("{path}: a snapshot, layout {layout}, version {version}"))?;
        let (payload, stored) = (size(self.payload_bytes), size(self.stored_bytes));
        out.line(format_args!("payload  {payload}, {stored} in the file"))?;
        if let Some(codec) = &self.codec {
            out.line(format_args!("codec    {}", codec.escape_default()))?;
        }
        if self.seq > 0 {
            out.line(format_args!("number   {}", self.seq))?;
        }
        if let Some(machine) = &self.machine {
            let (machine, version) = (machine.escape_default(), self.machine_version);
            out.line(format_args!("machine  {machine}, version {version}"))?;
        }
        if let Some(digest) = &self.digest {
            out.line(format_args!("digest   {digest}"))?;
        }
        if let Some(id) = &self.store_id {
            out.line(format_args!("store    {id}"))?;
        }
        if let (Some(segment), Some(frame)) = (self.log_segment, self.log_frame) {
            out.line(format_args!("log      up to the frame at {frame} of segment {segment}"))?;
        }
        Ok(())
    }
}

/// The same as an object of its own.
#[derive(Serialize)]
struct Told<'a> {
    what: &'static str,
    #[serde(flatten)]
    shown: &'a Shown,
}

impl<'a> Told<'a> {
    const fn of(shown: &'a Shown) -> Self {
        Self { what: "snapshot", shown }
    }
}

fn missing(path: &Path) -> Failure {
    Failure::new(ErrorKind::NotFound, path, "there is no such snapshot")
}

pub(crate) fn show(path: &Path, version: u32, out: &mut Out) -> Result<u8> {
    let shown = loader(path, version).info()?.map(Shown::of).ok_or_else(|| missing(path))?;
    if out.json() {
        out.value(&Told::of(&shown))?;
    } else {
        shown.print(out)?;
    }
    Ok(code::OK)
}

pub(crate) fn verify(path: &Path, version: u32, out: &mut Out) -> Result<u8> {
    let shown = loader(path, version).verify()?.map(Shown::of).ok_or_else(|| missing(path))?;
    if out.json() {
        out.value(&Told::of(&shown))?;
    } else {
        let bytes = size(shown.payload_bytes);
        out.line(format_args!("{}: sound; a snapshot of {bytes}", shown.path.display()))?;
    }
    Ok(code::OK)
}

/// Whether a file begins as a snapshot does: one in the Blocks layout, or a frame of the usual version.
pub(super) fn looks_like_one(path: &Path) -> bool {
    let mut head = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && (&head == b"UNTORNS1" || head.starts_with(&VERSION.to_le_bytes()))
}

/// The version of a frame if nothing else is said.
pub(crate) const VERSION: u32 = 4;

/// What there is to tell, if it is a snapshot. A file that only begins like a frame is none.
pub(super) fn told(path: &Path) -> Result<Option<Shown>> {
    if !looks_like_one(path) {
        return Ok(None);
    }
    match loader(path, VERSION).info() {
        Ok(info) => Ok(info.map(Shown::of)),
        Err(_) if !is_blocks(path) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn is_blocks(path: &Path) -> bool {
    let mut head = [0; 8];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && &head == b"UNTORNS1"
}

#[derive(Serialize)]
struct Done<'a> {
    path: &'a Path,
    layout: &'static str,
    payload_bytes: usize,
}

pub(crate) fn put(args: &SnapPut, out: &mut Out) -> Result<u8> {
    let path = &*args.file;
    let layout = if args.layout == "blocks" { Layout::Blocks } else { Layout::Frame };
    let mut options =
        SnapshotOptions::with_codec(JsonText).layout(layout).version(args.frame_version);
    options.mode = args.mode;
    let mut writer = SnapshotFsWriter::with(path, options)?;
    let text = stdin(path)?;
    let payload = json::compact(&text).map_err(|why| {
        let what = format!("stdin is no JSON, so nothing was changed: {why}");
        Failure::new(ErrorKind::InvalidInput, path, what)
    })?;
    drop(text);
    writer.write(&payload)?;
    writer.close()?;
    if out.json() {
        out.value(&Done { path, layout: layout.name(), payload_bytes: payload.len() })?;
    }
    Ok(code::OK)
}

/// A new snapshot with the value of an old one.
pub(super) fn copy(source: &Path, dest: &Path, blocks: bool, out: &mut Out) -> Result<u8> {
    let found = loader(source, VERSION).load_bytes()?.ok_or_else(|| missing(source))?;
    if !json::is_json(found.as_bytes()) {
        let what = "its checksum holds, but its payload is no JSON";
        return Err(Failure::new(ErrorKind::NotOurs, source, what));
    }
    let layout = if blocks { Layout::Blocks } else { Layout::Frame };
    let options = SnapshotOptions::with_codec(JsonText).layout(layout);
    let mut writer = SnapshotFsWriter::with(dest, options)?;
    writer.write(&found.as_bytes().to_vec())?;
    writer.close()?;
    let payload_bytes = found.as_bytes().len();
    if out.json() {
        out.value(&Done { path: dest, layout: layout.name(), payload_bytes })?;
    } else {
        let bytes = size(payload_bytes as u64);
        out.line(format_args!(
            "{}: a snapshot of {bytes}, layout {}",
            dest.display(),
            layout.name()
        ))?;
    }
    Ok(code::OK)
}

/// All of stdin, unless a signal comes before its end.
fn stdin(path: &Path) -> Result<Vec<u8>> {
    let input = input::open()?;
    let mut text = Vec::new();
    loop {
        match input.recv() {
            Ok(Input::Bytes(piece)) if !input::stopped() => text.extend_from_slice(&piece),
            Ok(Input::End) if !input::stopped() => return Ok(text),
            Ok(Input::Failed(e)) => return Err(Failure::io("read", Path::new("stdin"), e)),
            _ => {
                let what = "interrupted; it is as it was";
                return Err(Failure::new(ErrorKind::Cancelled, path, what));
            }
        }
    }
}

pub(crate) fn get(args: &SnapGet, out: &mut Out) -> Result<u8> {
    let path = &*args.file;
    let found = loader(path, args.frame_version).load_bytes()?;
    let found: FrameBytes = found.ok_or_else(|| missing(path))?;
    if args.raw {
        out.bytes(found.as_bytes())?;
        return Ok(code::OK);
    }
    let refused = |what: String| Failure::new(ErrorKind::Precondition, path, what);
    if let Some(codec) = found.info().codec.as_deref().filter(|codec| *codec != JsonText::NAME) {
        let codec = codec.escape_default();
        return Err(refused(format!("the codec {codec} wrote it; --raw prints its bytes")));
    }
    // A frame does not say what wrote it.
    if !json::is_json(found.as_bytes()) {
        return Err(refused("its payload is no JSON; --raw prints its bytes".to_owned()));
    }
    out.bytes(found.as_bytes())?;
    out.bytes(b"\n")?;
    Ok(code::OK)
}
