//! One thread, one record, one sync: beside one `pwrite` of the frame's size and one `fdatasync`, and beside each rival.

use crate::Result;
use crate::args::Args;
use crate::contestants::{Contestant, Untorn, rivals};
use crate::measure::{Turn, alone, interleave};
use crate::raw::{Raw, frame_len, pattern};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const TURNS: usize = 6;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    for size in [128, 1024] {
        let record = &pattern(size);
        let mut raw = Raw::new(scratch.path("raw"), frame_len(1, size))?;
        let mut contestants: Vec<Box<dyn Contestant>> =
            vec![Box::new(Untorn::open(&scratch.path("untorn"))?)];
        contestants.extend(rivals(scratch)?);
        let mut pairs: Vec<Pair> = contestants.iter().map(|_| Pair::default()).collect();
        for _ in 0..args.rounds {
            let mut turns: Vec<Turn<'_>> = vec![Box::new(|time| alone(time, 1, || raw.commit()))];
            for contestant in &contestants {
                turns.push(Box::new(move |time| alone(time, 1, || contestant.commit(record))));
            }
            let laps = interleave(TURNS, args.time(60), &mut turns)?;
            let rates: Vec<f64> = laps.iter().map(|lap| lap.rate()).collect();
            let (raw, untorn) = (rates[0], rates[1]);
            pairs[0].push(untorn, raw);
            for (pair, rival) in pairs[1..].iter_mut().zip(&rates[2..]) {
                pair.push(untorn, *rival);
            }
        }
        let size = if size == 128 { "128 B" } else { "1 KiB" };
        for (contestant, pair) in contestants.iter().zip(&pairs) {
            let (beside, target) = match contestant.name() {
                "untorn" => ("raw", Target::AtLeast(0.95)),
                "actionqueue" => ("actionqueue", Target::AtLeast(1.4)),
                name => (name, Target::AtLeast(1.0)),
            };
            let what = format!("{size} append_synced / {beside}");
            report.row("single", &what, "commits/s", pair, target);
        }
    }
    Ok(())
}
