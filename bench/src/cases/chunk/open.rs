//! Opening a part of 4 GiB of which every other 128 KiB are trusted: 16,384 extents.
//!
//! Nobody writes 2 GiB for it. The bytes are zeros, which a reserved file shows wherever nobody wrote: so the resource that
//! makes the part takes its writes and leaves the bytes alone. Map, checksums and bytes are those of a part that was
//! written, and `verify_on_resume` would find them good.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use untorn::chunked::{
    AtomicChunked, CheckpointPolicy, ChunkedOptions, FileResource, Opened, PartView, ResourceExt,
    ResourceStatus, StorageResult, WaitOutcome,
};

use crate::args::Args;
use crate::contestants::fill::{identity, open_untorn};
use crate::measure::wall;
use crate::raw::bytes_read;
use crate::report::{Pair, Report, Target};
use crate::scratch::{Scratch, bytes};
use crate::{Result, alloc};

const LEN: u64 = 4 << 30;
const CHUNK: u64 = 256 << 10;
const MIB: f64 = (1 << 20) as f64;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let len = args.number(LEN) / CHUNK * CHUNK;
    let path = scratch.path("file");
    let options =
        || ChunkedOptions::new().identity(identity(len)).checkpoint(CheckpointPolicy::Manual);
    let part = AtomicChunked::open_with(path.clone(), options(), |path, _| {
        Ok(Untouched(FileResource::open(path)?))
    })?;
    let half = vec![0; CHUNK as usize / 2];
    for offset in (0..len).step_by(CHUNK as usize) {
        part.write_at(offset, &half)?;
    }
    part.suspend()?;
    let map = part_of(&path).join("map");
    let (mut time, mut memory, mut reads) = (Pair::default(), Pair::default(), Pair::default());
    let mut view = Pair::default();
    for _ in 0..args.rounds {
        let size = bytes(&map)? as f64;
        let before = bytes_read();
        let (opened, peak) = alloc::peak(|| wall(|| open_untorn(&path, options())));
        let (took, file) = opened?;
        if let (Some(before), Some(after)) = (before, bytes_read()) {
            reads.push((after - before) as f64 / MIB, size / MIB);
        }
        let want = Opened::Resumed { trusted: len / 2, dropped: 0 };
        if file.opened() != want || file.ranges().len() as u64 != len / CHUNK {
            return Err(format!("it was opened as {:?}", file.opened()).into());
        }
        drop(file);
        time.push(took, 20.0);
        memory.push(peak as f64 / MIB, 4.0);
        let (took, looked) = wall(|| Ok(PartView::open(&path)?))?;
        drop(looked);
        view.push(took, 20.0);
    }
    let name = |what: &str| format!("{} extents: {what}", len / CHUNK);
    let mut row = |what: &str, unit: &str, pair: &Pair, target| {
        report.row("chunk-open", &name(what), unit, pair, target);
    };
    row("open / 20 ms", "ms", &time, Target::AtMost(1.0));
    row("memory at most / 4 MiB", "MiB", &memory, Target::AtMost(1.0));
    row("bytes read / bytes of the map", "MiB", &reads, Target::None);
    row("PartView::open / 20 ms", "ms", &view, Target::None);
    fs::remove_dir_all(map.parent().ok_or("a map without a part")?)?;
    Ok(())
}

/// Where the file is as long as it is not whole.
pub fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}

/// A file whose bytes stay as they are: zeros.
struct Untouched(FileResource);

impl ResourceExt for Untouched {
    fn write_at(&self, _: u64, _: &[u8]) -> StorageResult<()> {
        Ok(())
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> StorageResult<usize> {
        self.0.read_at(offset, buf)
    }
    fn read_into(&self, buf: &mut Vec<u8>) -> StorageResult<usize> {
        self.0.read_into(buf)
    }
    fn write_all(&self, data: &[u8]) -> StorageResult<()> {
        self.0.write_all(data)
    }
    fn wait_range(&self, range: Range<u64>) -> StorageResult<WaitOutcome> {
        self.0.wait_range(range)
    }
    fn contains_range(&self, range: Range<u64>) -> bool {
        self.0.contains_range(range)
    }
    fn next_gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        self.0.next_gap(from, limit)
    }
    fn commit(&self, final_len: Option<u64>) -> StorageResult<()> {
        self.0.commit(final_len)
    }
    fn fail(&self, reason: String) {
        self.0.fail(reason);
    }
    fn reactivate(&self) -> StorageResult<()> {
        self.0.reactivate()
    }
    fn len(&self) -> Option<u64> {
        self.0.len()
    }
    fn path(&self) -> Option<&Path> {
        self.0.path()
    }
    fn status(&self) -> ResourceStatus {
        self.0.status()
    }
}
