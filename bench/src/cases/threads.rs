//! Many threads that each wait for their own record of 128 bytes: the sync is shared.

use std::collections::BTreeMap;

use crate::Result;
use crate::args::Args;
use crate::contestants::{Contestant, Untorn, rivals};
use crate::measure::{alone, median, quantile, together};
use crate::raw::{Raw, frame_len, pattern};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const SIZE: usize = 128;
const THREADS: [usize; 4] = [1, 4, 16, 64];
const TURNS: usize = 2;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let record = pattern(SIZE);
    let mut raw = Raw::new(scratch.path("raw"), frame_len(1, SIZE))?;
    let untorn = Untorn::open(&scratch.path("untorn"))?;
    let log = untorn.0.clone();
    let mut contestants: Vec<Box<dyn Contestant>> = vec![Box::new(untorn)];
    contestants.extend(rivals(scratch)?);
    let mut pairs: BTreeMap<(usize, &str), Pair> = BTreeMap::new();
    for _ in 0..args.rounds {
        let sync = median(&alone(args.time(200), 1, || raw.commit())?.latencies);
        let mut one_writer = f64::NAN;
        for threads in THREADS {
            let mut rates = vec![(0.0, 0.0); contestants.len()];
            let mut latencies = Vec::new();
            let before = log.stats();
            for _ in 0..TURNS {
                for (contestant, (ops, time)) in contestants.iter().zip(&mut rates) {
                    let lap = together(threads, args.time(200), &|| contestant.commit(&record))?;
                    *ops += lap.ops as f64;
                    *time += lap.time.as_secs_f64();
                    if contestant.name() == "untorn" {
                        latencies.extend(lap.latencies);
                    }
                }
            }
            let rates: Vec<f64> = rates.iter().map(|(ops, time)| ops / time).collect();
            let best = rates[1..].iter().copied().fold(0.0, f64::max);
            if threads == 1 {
                one_writer = rates[0];
            }
            let after = log.stats();
            let records = (after.appends - before.appends) as f64;
            let per_sync = records / (after.syncs - before.syncs) as f64;
            let mut push = |what, value, beside| {
                pairs.entry((threads, what)).or_default().push(value, beside);
            };
            push("records/s / best rival", rates[0], best);
            push("records/s / one writer", rates[0], one_writer);
            for (rival, rate) in contestants.iter().zip(&rates).skip(1) {
                push(rival.name(), rates[0], *rate);
            }
            push("records per sync / threads", per_sync, threads as f64);
            push("p99 / two raw syncs", quantile(&latencies, 0.99) * 1e6, 2e6 * sync);
        }
    }
    for ((threads, what), pair) in &pairs {
        let (what, unit, target) = match *what {
            "records/s / best rival" if *threads > 1 => (*what, "records/s", Target::AtLeast(1.15)),
            "records/s / one writer" if *threads == 64 => {
                (*what, "records/s", Target::AtLeast(8.0))
            }
            "records/s / one writer" if *threads == 1 => continue,
            "p99 / two raw syncs" if *threads <= 16 => (*what, "us", Target::AtMost(3.0)),
            "p99 / two raw syncs" => (*what, "us", Target::None),
            "records per sync / threads" => (*what, "", Target::None),
            "okaywal" => ("records/s / okaywal", "records/s", Target::None),
            "raft-engine" => ("records/s / raft-engine", "records/s", Target::None),
            "actionqueue" => ("records/s / actionqueue", "records/s", Target::None),
            what => (what, "records/s", Target::None),
        };
        report.row("threads", &format!("{threads} threads: {what}"), unit, pair, target);
    }
    Ok(())
}
