//! A journal that is new: the syncs of its creation, and the disk and memory that one with a single record takes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use untorn::fs::OsFs;
use untorn::journal::{Journal, JournalOptions};
use untorn::sim::Meter;

use crate::args::Args;
use crate::machines::{Shards, event};
use crate::measure::wall;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;
use crate::{Result, alloc};

/// The argument that makes this program the process whose memory is looked at.
pub const ONE_RECORD: &str = "--one-record";
const SIZE: usize = 127;
const KIB: f64 = 1024.0;
pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let (mut syncs, mut time) = (Pair::default(), Pair::default());
    let (mut disk, mut rss, mut heap) = (Pair::default(), Pair::default(), Pair::default());
    for _ in 0..args.rounds {
        let meter = Meter::new(Arc::new(OsFs::new()));
        let options = JournalOptions::new().fs(Arc::new(meter.clone()));
        let dir = scratch.path("journal");
        let opened = Journal::open(&dir, Shards::with(1), options)?;
        // From the journal's own up to the root: all of them lead to the log, and none is known to be durable.
        let above = dir.canonicalize()?.ancestors().count();
        syncs.push(meter.counts().total_syncs() as f64, (6 + above) as f64);
        drop(opened);
        let (took, opened) = wall(|| {
            let dir = scratch.path("journal");
            Ok(Journal::open(dir, Shards::with(1), JournalOptions::new())?)
        })?;
        drop(opened);
        time.push(took, 1.0);
        let dir = scratch.path("journal");
        let child = Command::new(std::env::current_exe()?).arg(ONE_RECORD).arg(&dir).output()?;
        let printed = String::from_utf8(child.stdout)?;
        let mut numbers = printed.split_whitespace().map(str::parse::<f64>);
        let mut number = || numbers.next().ok_or("the other process says nothing");
        let (resident, allocated) = (number()??, number()??);
        rss.push(resident, 2.0 * KIB);
        heap.push(allocated, 2.0 * KIB);
        disk.push(on_disk(&dir)? as f64 / KIB, KIB);
    }
    report.row(
        "fresh",
        "syncs of a new journal / 6 + directories above it",
        "",
        &syncs,
        Target::AtMost(1.0),
    );
    report.row("fresh", "open of a new journal / 1 ms", "ms", &time, Target::None);
    report.row("fresh", "one record: disk / 1 MiB", "KiB", &disk, Target::AtMost(1.0));
    report.row("fresh", "one record: resident / 2 MiB", "KiB", &rss, Target::AtMost(1.0));
    report.row("fresh", "one record: allocated / 2 MiB", "KiB", &heap, Target::None);
    Ok(())
}

/// Opens a journal, commits one record, and prints by how many KiB that made this process larger, and how many were allocated.
pub fn one_record(dir: &Path) -> Result<()> {
    let state = Shards::with(1);
    let before = resident()?;
    let (journal, allocated) = alloc::peak(|| -> Result<_> {
        let (journal, _) = Journal::open(dir, state, JournalOptions::new())?;
        journal.commit(event(0, SIZE))?;
        Ok(journal)
    });
    let journal = journal?;
    println!("{} {}", resident()? - before, allocated as f64 / KIB);
    journal.close()?;
    Ok(())
}

/// KiB of this process that are in memory, where the system tells.
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("the system does not tell what is in memory")?.parse()?)
}

/// Bytes of all files below, as the disk has them.
fn on_disk(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let blocks = metadata.blocks() * 512;
        sum += if metadata.is_dir() { on_disk(&entry.path())? } else { blocks.max(metadata.len()) };
    }
    Ok(sum)
}
