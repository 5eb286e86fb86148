//! One thread fills a window of tickets and waits for the newest: beside `pwrite` and `fdatasync` of the same bytes.

use crate::Result;
use crate::args::Args;
use crate::contestants::{Untorn, rivals};
use crate::measure::{Turn, alone, interleave, together};
use crate::raw::{Raw, frame_len, pattern, zeroing};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const SIZE: usize = 128;
const TURNS: usize = 6;
/// Bytes that are zeroed to learn what that costs.
const ZEROED: u64 = 8 << 20;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let record = pattern(SIZE);
    let rivals = rivals(scratch)?;
    for (window, target) in [(64_usize, 0.95), (1024, 0.85)] {
        let log = Untorn::open(&scratch.path("untorn"))?.0;
        let mut raw = Raw::new(scratch.path("raw"), frame_len(window, SIZE))?;
        let (mut beside_raw, mut beside_rival) = (Pair::default(), Pair::default());
        let mut with_zeroing = Pair::default();
        for _ in 0..args.rounds {
            let per_call = window as u64;
            let mut fill = || {
                let mut newest = log.append(&record)?;
                for _ in 1..window {
                    newest = log.append(&record)?;
                }
                newest.wait()?;
                Ok(())
            };
            let mut turns: Vec<Turn<'_>> = vec![
                Box::new(|time| alone(time, per_call, || raw.commit())),
                Box::new(|time| alone(time, per_call, &mut fill)),
            ];
            let laps = interleave(TURNS, args.time(80), &mut turns)?;
            let (raw, untorn) = (laps[0].rate(), laps[1].rate());
            beside_raw.push(untorn, raw);
            // What the raw limit would be if it too had to zero every byte once before it is used.
            let zeroed = zeroing(scratch.path("zeros"), ZEROED)?.as_secs_f64() / ZEROED as f64;
            let per_record = frame_len(window, SIZE) as f64 / window as f64;
            with_zeroing.push(untorn, 1.0 / (1.0 / raw + per_record * zeroed));
            if window == 1024 {
                let mut best: f64 = 0.0;
                for rival in &rivals {
                    let lap = together(64, args.time(250), &|| rival.commit(&record))?;
                    best = best.max(lap.rate());
                }
                beside_rival.push(untorn, best);
            }
        }
        let what = format!("window {window} / raw batches");
        report.row("window", &what, "records/s", &beside_raw, Target::AtLeast(target));
        let what = format!("window {window} / raw batches and their zeroing");
        report.row("window", &what, "records/s", &with_zeroing, Target::None);
        if window == 1024 {
            let what = "window 1024 / best rival with 64 threads";
            report.row("window", what, "records/s", &beside_rival, Target::AtLeast(5.0));
        }
    }
    Ok(())
}
