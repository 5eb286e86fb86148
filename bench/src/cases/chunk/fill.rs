//! 256 MiB in pieces of 64 KiB, and a commit: in order, and in an order without order.

use super::timing::times;
use crate::Result;
use crate::args::Args;
use crate::contestants::fill::{AtomicWriteFile, Cacache, Filler, Job, Kithara, Raw, Untorn};
use crate::report::{Report, Target};
use crate::scratch::Scratch;

const LEN: u64 = 256 << 20;
const PIECE: usize = 64 << 10;

fn length(args: &Args) -> u64 {
    args.number(LEN) / PIECE as u64 * PIECE as u64
}

pub fn in_order(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let fillers: [&dyn Filler; 10] = [
        &Raw::Reserved,
        &Untorn::WithoutMap,
        &Untorn::WithLen,
        &Untorn::WithMap,
        &Raw::Plain,
        &Raw::Checked,
        &Kithara::AsIs,
        &Kithara::Sized,
        &Cacache,
        &AtomicWriteFile,
    ];
    let times = times(&fillers, &Job::in_order(length(args), PIECE), 0..args.rounds, scratch)?;
    let mut row = |value: usize, beside: usize, target| {
        let what = format!("{} / {}", fillers[value].name(), fillers[beside].name());
        report.row("chunk-order", &what, "ms", &times.pair(value, beside), target);
    };
    row(1, 0, Target::AtMost(1.05));
    row(2, 0, Target::AtMost(1.05));
    row(3, 0, Target::AtMost(1.15));
    row(3, 5, Target::None);
    row(4, 0, Target::None);
    for rival in 6..fillers.len() {
        row(1, rival, Target::AtMost(1.0));
    }
    row(3, 7, Target::None);
    Ok(())
}

pub fn at_random(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let fillers: [&dyn Filler; 7] = [
        &Raw::Reserved,
        &Untorn::WithoutMap,
        &Untorn::WithLen,
        &Untorn::WithMap,
        &Raw::Plain,
        &Kithara::AsIs,
        &Kithara::Sized,
    ];
    let times = times(&fillers, &Job::at_random(length(args), PIECE), 0..args.rounds, scratch)?;
    let mut row = |value: usize, beside: usize, target| {
        let what = format!("{} / {}", fillers[value].name(), fillers[beside].name());
        report.row("chunk-random", &what, "ms", &times.pair(value, beside), target);
    };
    row(1, 0, Target::AtMost(1.10));
    row(2, 0, Target::AtMost(1.10));
    row(3, 0, Target::AtMost(1.15));
    row(4, 0, Target::None);
    row(5, 1, Target::AtLeast(2.5));
    row(6, 1, Target::AtLeast(2.5));
    row(6, 2, Target::AtLeast(2.5));
    Ok(())
}
