//! A journal at full rate over many segments, with checkpoints in the background: the slow commits, and the disk it takes.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use untorn::journal::{Checkpoint, Journal, JournalOptions};

use crate::Result;
use crate::args::Args;
use crate::machines::{Shards, event, scattered};
use crate::measure::{Lap, alone, median, quantile};
use crate::raw::{Raw, frame_len};
use crate::report::{Pair, Report, Target};
use crate::scratch::{Scratch, bytes};

const KEYS: u64 = 1_000_000;
const SIZE: usize = 16 << 10;
const TRIGGER: u64 = 32 << 20;

/// A stretch of commits, with a few raw ones before it.
struct Slice {
    raw: Lap,
    commits: Lap,
}

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let keys = args.number(KEYS);
    let options = JournalOptions::new()
        .checkpoint(Checkpoint::Auto { min_bytes: TRIGGER, ratio: 1.0 })
        .background_checkpoint(true);
    let dir = scratch.path("journal");
    let (journal, _) = Journal::open(&dir, Shards::with(keys), options)?;
    let mut raw = Raw::new(scratch.path("raw"), frame_len(1, SIZE))?;
    let mut number = 0;
    let mut commit = || {
        number += 1;
        let event = event(scattered(number) % keys, SIZE - 1);
        Ok(journal.update(|_| Ok::<_, Infallible>((event, ())))?)
    };
    let (mut slices, mut disk, mut snapshot) = (Vec::new(), 0, 0);
    let (mut checkpoints, mut newest) = (0_u32, 0);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(args.seconds) {
        let raw = alone(args.time(30), 1, || raw.commit())?;
        let commits = alone(args.time(120), 1, &mut commit)?;
        slices.push(Slice { raw, commits });
        disk = disk.max(bytes(&dir.join("log"))? + bytes(&dir.join("snap"))?);
        let stats = journal.stats();
        if let Some(error) = stats.checkpoint_error {
            return Err(format!("a checkpoint failed: {error}").into());
        }
        if let Some(info) = stats.snapshot {
            checkpoints += u32::from(info.seq != newest);
            newest = info.seq;
            snapshot = snapshot.max(info.stored_bytes);
        }
    }
    show(&slices, checkpoints, report);
    let bound = 2 * snapshot + 3 * TRIGGER.max(snapshot);
    let mut pair = Pair::default();
    pair.push(disk as f64 / 1e6, bound as f64 / 1e6);
    let what = "most disk / 2 x snapshot + 3 x trigger";
    report.row("endure", what, "MB", &pair, Target::AtMost(1.0));
    Ok(())
}

fn show(slices: &[Slice], checkpoints: u32, report: &mut Report) {
    let all = |of: fn(&Slice) -> &Lap| -> Vec<f64> {
        slices.iter().flat_map(|slice| of(slice).latencies.iter().copied()).collect()
    };
    let (commits, raws) = (all(|slice| &slice.commits), all(|slice| &slice.raw));
    let (typical, raw_typical) = (median(&commits), median(&raws));
    let quiet = |slice: &Slice| quantile(&slice.raw.latencies, 1.0) <= 3.0 * raw_typical;
    // No stall just before these commits, and none just after them.
    let calm: Vec<f64> = slices
        .windows(2)
        .filter(|pair| pair.iter().all(quiet))
        .flat_map(|pair| pair[0].commits.latencies.clone())
        .collect();
    let mut row = |what: &str, unit: &str, value: f64, beside: f64, target| {
        let mut pair = Pair::default();
        pair.push(value, beside);
        report.row("endure", what, unit, &pair, target);
    };
    let rate = |latencies: &[f64]| latencies.len() as f64 / latencies.iter().sum::<f64>();
    let segments = commits.len() * SIZE / (16 << 20);
    let what = format!("16 KiB, {segments} segments, {checkpoints} checkpoints / raw");
    row(&what, "commits/s", rate(&commits), rate(&raws), Target::None);
    let us = |latencies: &[f64], share| quantile(latencies, share) * 1e6;
    let (typical, raw_typical) = (typical * 1e6, raw_typical * 1e6);
    row("raw: longest / median", "us", us(&raws, 1.0), raw_typical, Target::None);
    row("longest commit / median", "us", us(&commits, 1.0), typical, Target::None);
    let what = "longest where raw has no stall / median";
    row(what, "us", us(&calm, 1.0), typical, Target::AtMost(3.0));
    let what = "p99.9 where raw has no stall / median";
    row(what, "us", us(&calm, 0.999), typical, Target::None);
    let share = (calm.len() * 100) as f64 / commits.len() as f64;
    row("% of commits where raw has no stall / all", "%", share, 100.0, Target::None);
    row("p99.9 commit / median", "us", us(&commits, 0.999), typical, Target::None);
    row("p99.9 commit / p99.9 raw", "us", us(&commits, 0.999), us(&raws, 0.999), Target::None);
}
