//! Opening a large log at a known place near its end, with 1000 records behind it: the time, and the bytes that are read.

use std::time::Instant;

use untorn::Durability;
use untorn::log::{Log, LogOptions};

use crate::Result;
use crate::args::Args;
use crate::raw::{bytes_read, pattern, zeroing};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const LEN: u64 = 256 << 20;
const BATCH: usize = 64;
const SIZE: usize = 1024;
const BEHIND: u64 = 1000;
const SEGMENT: u64 = 16 << 20;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let dir = scratch.path("untorn");
    let record = pattern(SIZE);
    let options = || LogOptions::new().segment_bytes(SEGMENT);
    let (log, _) = Log::open(&dir, options().durability(Durability::Buffered))?;
    for _ in 0..args.number(LEN) / (BATCH * SIZE) as u64 {
        log.append_batch((0..BATCH).map(|_| record.as_slice()))?.wait()?;
    }
    log.sync()?;
    let (mut time, mut plain, mut read) = (Pair::default(), Pair::default(), Pair::default());
    let mut start = log.append_batch([record.as_slice()])?;
    start.wait()?;
    for _ in 1..BEHIND {
        log.append_batch([record.as_slice()])?.wait()?;
    }
    log.sync()?;
    let mut pos = start.pos().ok_or("an acknowledged record has no position")?;
    drop(start);
    drop(log);
    for _ in 0..args.rounds {
        // Not closed in order: the tail is verified, and rewritten if nothing vouches for it.
        let zeros = zeroing(scratch.path("zeros"), 2 * SEGMENT)?.as_secs_f64() * 1e3;
        let before = bytes_read();
        let started = Instant::now();
        let (log, opened) = Log::open(&dir, options().start(Some(pos)))?;
        let took = started.elapsed().as_secs_f64() * 1e3;
        if opened.started_at.is_none() {
            return Err("the log was read from its front".into());
        }
        if let (Some(before), Some(after)) = (before, bytes_read()) {
            read.push((after - before) as f64 / f64::from(1 << 20), 4.0);
        }
        plain.push(took, zeros);
        time.push(took, 15.0 + zeros);
        start = log.append(&record)?;
        start.wait()?;
        for _ in 1..BEHIND {
            log.append(&record)?;
        }
        log.sync()?;
        pos = start.pos().ok_or("an acknowledged record has no position")?;
        drop(start);
    }
    let what = "256 MiB, 1000 behind start / 15 ms + zeroing 2";
    report.row("open", what, "ms", &time, Target::AtMost(1.0));
    report.row("open", "the same / zeroing two segments", "ms", &plain, Target::None);
    report.row("open", "MiB read / 4 MiB", "MiB", &read, Target::AtMost(1.0));
    Ok(())
}
