//! Pieces of 4 KiB in an order without order: 64 MiB, and twice as much.

use super::timing::{Times, times};
use crate::Result;
use crate::args::Args;
use crate::contestants::fill::{Filler, Job, Kithara, Raw, Untorn};
use crate::report::{Report, Target};
use crate::scratch::Scratch;

const LEN: u64 = 64 << 20;
const PIECE: usize = 4 << 10;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let fillers: [&dyn Filler; 5] =
        [&Raw::Reserved, &Untorn::WithoutMap, &Untorn::WithLen, &Untorn::WithMap, &Kithara::Sized];
    let len = args.number(LEN) / PIECE as u64 * PIECE as u64;
    // Both sizes in each round, so that they meet the same disk.
    let jobs = [len, 2 * len].map(|len| Job::at_random(len, PIECE));
    let measure = |job, round| times(&fillers, job, round..round + 1, scratch);
    let (mut once, mut twice) = (Times::default(), Times::default());
    for round in 0..args.rounds {
        once.append(measure(&jobs[0], round)?);
        twice.append(measure(&jobs[1], round)?);
    }
    for (times, len) in [(&once, len), (&twice, 2 * len)] {
        let mut row = |value: usize, target| {
            let (name, mib) = (fillers[value].name(), len >> 20);
            let what = format!("{mib} MiB: {name} / {}", fillers[0].name());
            report.row("chunk-4k", &what, "ms", &times.pair(value, 0), target);
        };
        row(1, Target::AtMost(1.15));
        row(2, Target::AtMost(1.15));
        row(3, Target::AtMost(1.20));
        row(4, Target::None);
    }
    for (which, filler) in fillers.iter().enumerate() {
        let what = format!("{}: twice the data / 2.1 x", filler.name());
        let target =
            if filler.name().starts_with("untorn") { Target::AtMost(1.0) } else { Target::None };
        report.row("chunk-4k", &what, "ms", &twice.beside(which, &once, which, 2.1), target);
    }
    Ok(())
}
