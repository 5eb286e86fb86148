//! Full rate over many segments, the oldest dropped all the while: how long the longest commit takes, and how much disk.

use std::time::Instant;

use untorn::log::{Log, LogOptions};

use crate::Result;
use crate::args::Args;
use crate::measure::{Lap, alone, median, quantile};
use crate::raw::{Raw, frame_len, pattern};
use crate::report::{Pair, Report, Target};
use crate::scratch::{Scratch, bytes};

const SIZE: usize = 16 << 10;
const SEGMENT: u64 = 16 << 20;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let record = pattern(SIZE);
    let dir = scratch.path("untorn");
    let (log, _) = Log::open(&dir, LogOptions::new().segment_bytes(SEGMENT))?;
    let mut raw = Raw::new(scratch.path("raw"), frame_len(1, SIZE))?;
    let keep = SEGMENT / SIZE as u64;
    let (mut commits, mut raws, mut dropping) = (Lap::default(), Lap::default(), Vec::new());
    let mut disk = 0;
    let started = Instant::now();
    while started.elapsed() < args.time(20_000) {
        raws.add(alone(args.time(30), 1, || raw.commit())?);
        commits.add(alone(args.time(120), 1, || Ok(log.append_synced(&record)?))?);
        disk = disk.max(bytes(&dir)?);
        let before = Instant::now();
        log.truncate_front(log.durable_seq().saturating_sub(keep).max(1))?;
        dropping.push(before.elapsed().as_secs_f64() * 1e3);
    }
    let row = |report: &mut Report, what: &str, unit: &str, value, beside, target| {
        let mut pair = Pair::default();
        pair.push(value, beside);
        report.row("rolls", what, unit, &pair, target);
    };
    let (typical, raw_typical) = (median(&commits.latencies), median(&raws.latencies));
    let slow = |lap: &Lap, typical: f64| {
        let slow = lap.latencies.iter().filter(|&&l| l > 3.0 * typical).count();
        slow as f64 / lap.latencies.len() as f64
    };
    let segments = commits.ops * SIZE as u64 / SEGMENT;
    let rate = (commits.rate(), raws.rate());
    row(
        report,
        &format!("16 KiB over {segments} segments / raw"),
        "commits/s",
        rate.0,
        rate.1,
        Target::None,
    );
    let raw_max = quantile(&raws.latencies, 1.0);
    row(report, "raw: longest / median", "us", raw_max * 1e6, raw_typical * 1e6, Target::None);
    let max = quantile(&commits.latencies, 1.0);
    row(report, "longest commit / median", "us", max * 1e6, typical * 1e6, Target::None);
    row(report, "longest commit / longest raw", "us", max * 1e6, raw_max * 1e6, Target::None);
    let p999 = (quantile(&commits.latencies, 0.999), quantile(&raws.latencies, 0.999));
    row(report, "p99.9 commit / median", "us", p999.0 * 1e6, typical * 1e6, Target::AtMost(3.0));
    row(report, "p99.9 commit / p99.9 raw", "us", p999.0 * 1e6, p999.1 * 1e6, Target::None);
    let slow = (slow(&commits, typical), slow(&raws, raw_typical));
    row(
        report,
        "% over 3 x median (beside: raw's) / all",
        "%",
        slow.0 * 100.0,
        100.0,
        Target::AtMost(0.001),
    );
    row(report, "raw: % over 3 x median / all", "%", slow.1 * 100.0, 100.0, Target::None);
    // What is kept may begin in the middle of a segment; one is written, one prepared.
    let bound = (keep * SIZE as u64 + 4 * SEGMENT) as f64 / 1e6;
    row(
        report,
        "most disk / kept + 4 segments",
        "MB",
        disk as f64 / 1e6,
        bound,
        Target::AtMost(1.0),
    );
    row(
        report,
        "truncate_front / median commit",
        "ms",
        quantile(&dropping, 0.9),
        typical * 1e3,
        Target::None,
    );
    Ok(())
}
