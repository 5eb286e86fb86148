//! Records that only have to survive the process: append and wait, beside commitlog's append. commitlog is NOT DURABLE:
//! it never syncs by itself, and checks nothing when it opens.

use std::time::Duration;

use commitlog::CommitLog;
use untorn::Durability;
use untorn::log::{Log, LogOptions};

use crate::Result;
use crate::args::Args;
use crate::measure::{Lap, Turn, alone, interleave};
use crate::raw::{Raw, frame_len, pattern};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const SIZE: usize = 128;
const TURNS: usize = 6;
/// Records between two looks at the clock.
const CHUNK: u64 = 500;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let record = pattern(SIZE);
    let options = || LogOptions::new().durability(Durability::Buffered);
    let (log, _) = Log::open(scratch.path("untorn"), options())?;
    let (windowed, _) = Log::open(scratch.path("untorn"), options())?;
    let mut raw = Raw::new(scratch.path("raw"), frame_len(1, SIZE))?;
    let mut each = Pair::default();
    let mut each_raw = Pair::default();
    let mut in_windows = Pair::default();
    for _ in 0..args.rounds {
        // It has no way to forget its oldest records.
        let mut rival = CommitLog::new(commitlog::LogOptions::new(scratch.path("commitlog")))?;
        let mut turns: Vec<Turn<'_>> = vec![
            Box::new(|time| chunks(time, || raw.write())),
            Box::new(|time| chunks(time, || Ok(rival.append_msg(&record)?))),
            Box::new(|time| chunks(time, || Ok(log.append_synced(&record)?))),
            Box::new(|time| {
                alone(time, CHUNK, || {
                    for _ in 1..CHUNK {
                        drop(windowed.append(&record)?);
                    }
                    Ok(windowed.append_synced(&record)?)
                })
            }),
        ];
        let laps = interleave(TURNS, args.time(50), &mut turns)?;
        drop(turns);
        let rates: Vec<f64> = laps.iter().map(|lap| lap.rate()).collect();
        each.push(rates[2], rates[1]);
        each_raw.push(rates[2], rates[0]);
        in_windows.push(rates[3], rates[1]);
        for log in [&log, &windowed] {
            log.truncate_front(log.written_seq())?;
        }
    }
    let unit = "records/s";
    let what = "each waited for / commitlog (not durable)";
    report.row("buffered", what, unit, &each, Target::AtLeast(1.0));
    report.row("buffered", "each waited for / raw pwrite", unit, &each_raw, Target::None);
    let what = "every 500th waited for / commitlog (not durable)";
    report.row("buffered", what, unit, &in_windows, Target::AtLeast(1.0));
    Ok(())
}

fn chunks<T>(time: Duration, mut work: impl FnMut() -> Result<T>) -> Result<Lap> {
    alone(time, CHUNK, || (0..CHUNK).try_for_each(|_| work().map(drop)))
}
