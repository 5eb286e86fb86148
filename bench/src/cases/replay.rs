//! Reading a million records of 128 bytes: beside a streaming read with a checksum of the same files, all in memory.

use std::path::{Path, PathBuf};

use untorn::Durability;
use untorn::log::{Log, LogOptions, Scan, Upto};

use crate::args::Args;
use crate::measure::cpu;
use crate::raw::{checksum, pattern};
use crate::report::{Pair, Report, Target};
use crate::scratch::{Scratch, files};
use crate::{Result, alloc};

const SIZE: usize = 128;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let records = args.number(1_000_000);
    for in_frame in [64_u64, 1] {
        let dir = scratch.path("untorn");
        build(&dir, records, in_frame)?;
        let segments = segments(&dir)?;
        let mut rounds = Rounds::default();
        for _ in 0..args.rounds {
            rounds.run(&dir, &segments, records)?;
        }
        // The sheet's figure is of records written in groups; frames of one record are the worst case.
        let target = |limit| if in_frame > 1 { Target::AtMost(limit) } else { Target::None };
        let name = |what: &str| format!("frames of {in_frame}: {what} / read + crc32");
        let ms = "ms of CPU";
        report.row("replay", &name("Log::open"), ms, &rounds.open, Target::None);
        report.row("replay", &name("scan"), ms, &rounds.scan, target(1.5));
        report.row("replay", &name("LogReader open"), ms, &rounds.look, Target::None);
        report.row("replay", &name("LogReader scan"), ms, &rounds.reader, target(1.5));
        report.row("replay", &name("open + scan"), ms, &rounds.both, target(2.0));
        let what = format!("frames of {in_frame}: allocations / records");
        report.row("replay", &what, "", &rounds.allocations, Target::AtMost(0.001));
    }
    Ok(())
}

fn build(dir: &Path, records: u64, in_frame: u64) -> Result<()> {
    let record = pattern(SIZE);
    let (log, _) = Log::open(dir, LogOptions::new().durability(Durability::Buffered))?;
    for _ in 0..records / in_frame {
        let batch = (0..in_frame).map(|_| record.as_slice());
        log.append_batch(batch)?.wait()?;
    }
    log.close()?;
    Ok(())
}

pub fn segments(dir: &Path) -> Result<Vec<PathBuf>> {
    let segment = |path: &PathBuf| path.extension().is_some_and(|e| e == "seg");
    Ok(files(dir)?.into_iter().filter(segment).collect())
}

/// What is measured, in milliseconds, each beside the raw limit of its round.
#[derive(Default)]
struct Rounds {
    open: Pair,
    scan: Pair,
    look: Pair,
    reader: Pair,
    both: Pair,
    allocations: Pair,
}

impl Rounds {
    fn run(&mut self, dir: &Path, segments: &[PathBuf], records: u64) -> Result<()> {
        let (raw, _) = cpu(|| checksum(segments))?;
        let (open, (log, _)) = cpu(|| Ok(Log::open(dir, LogOptions::new())?))?;
        let before = alloc::count();
        let (scan, read) = cpu(|| count(&mut log.read(log.first_seq(), Upto::Durable)?))?;
        let allocations = alloc::count() - before;
        log.close()?;
        let (look, reader) = cpu(|| Ok(Log::open_read_only(dir, LogOptions::new())?))?;
        let (scan_reader, read_too) =
            cpu(|| count(&mut reader.read(reader.first_seq(), Upto::Written)?))?;
        if read != read_too || read.abs_diff(records) >= 64 {
            return Err(format!("{read} and {read_too} of {records} records were read").into());
        }
        self.open.push(open, raw);
        self.scan.push(scan, raw);
        self.look.push(look, raw);
        self.reader.push(scan_reader, raw);
        self.both.push(open + scan, raw);
        self.allocations.push(allocations as f64, read as f64);
        Ok(())
    }
}

fn count(scan: &mut Scan) -> Result<u64> {
    let (mut records, mut bytes) = (0, 0);
    while let Some(record) = scan.next()? {
        records += 1;
        bytes += record.bytes.len();
    }
    std::hint::black_box(bytes);
    Ok(records)
}
