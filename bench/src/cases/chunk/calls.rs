//! What it costs to ask: whether a range is there, and to wait for one that is.

use std::hint::black_box;
use std::ops::Range;

use kithara_platform::CancelToken;
use untorn::chunked::{ChunkedOptions, ResourceExt};

use crate::args::Args;
use crate::contestants::fill::{identity, open_kithara, open_untorn};
use crate::measure::{Turn, alone, interleave};
use crate::raw::pattern;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;
use crate::{Result, alloc};

const LEN: u64 = 64 << 20;
const PIECE: u64 = 64 << 10;
const TURNS: usize = 4;
/// Calls between two looks at the clock.
const BATCH: u64 = 1000;

/// A call, given a range that is there.
type Call<'a> = &'a dyn Fn(Range<u64>) -> Result<bool>;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let options = || ChunkedOptions::new().identity(identity(LEN));
    let (active, committed) = (scratch.path("active"), scratch.path("committed"));
    let (active, committed) =
        (open_untorn(&active, options())?, open_untorn(&committed, options())?);
    let open = |name| open_kithara(&scratch.path(name), Some(LEN), CancelToken::never());
    let (old_active, old_committed) = (open("kithara-active")?, open("kithara-committed")?);
    let piece = pattern(PIECE as usize);
    for offset in (0..LEN).step_by(PIECE as usize) {
        committed.write_at(offset, &piece)?;
        old_committed.write_at(offset, &piece)?;
        // The last byte is missing.
        let there = if offset + PIECE == LEN { &piece[1..] } else { &piece };
        active.write_at(offset, there)?;
        old_active.write_at(offset, there)?;
    }
    committed.commit(None)?;
    old_committed.commit(Some(LEN))?;
    let calls: [Call<'_>; 8] = [
        &|range| Ok(committed.contains_range(range)),
        &|range| Ok(active.contains_range(range)),
        &|range| Ok(committed.wait_range(range).is_ok()),
        &|range| Ok(active.wait_range(range).is_ok()),
        &|range| Ok(old_committed.contains_range(range)),
        &|range| Ok(old_active.contains_range(range)),
        &|range| Ok(old_committed.wait_range(range).is_ok()),
        &|range| Ok(old_active.wait_range(range).is_ok()),
    ];
    let mut limits = [(); 4].map(|()| Pair::default());
    let mut rivals = [(); 4].map(|()| Pair::default());
    let mut allocations = Pair::default();
    for _ in 0..args.rounds {
        let mut turns: Vec<Turn<'_>> = calls.iter().map(|call| turn(*call)).collect();
        let laps = interleave(TURNS, args.time(20), &mut turns)?;
        let ns = |which: usize| 1e9 / laps[which].rate();
        for (which, limit) in [8.0, 15.0, 1.0, 1.0].into_iter().enumerate() {
            limits[which].push(ns(which), limit);
            rivals[which].push(ns(which), ns(which + 4));
        }
        let before = alloc::count();
        calls[..4].iter().try_for_each(|call| batch(*call))?;
        allocations.push((alloc::count() - before) as f64, (4 * BATCH) as f64);
    }
    let mut row = |what: &str, pair: &Pair, target| {
        report.row("chunk-calls", what, "ns", pair, target);
    };
    row("contains_range, committed / 8 ns", &limits[0], Target::AtMost(1.0));
    row("contains_range, active / 15 ns", &limits[1], Target::AtMost(1.0));
    row("wait_range that is ready, committed / 1 ns", &limits[2], Target::None);
    row("wait_range that is ready, active / 1 ns", &limits[3], Target::None);
    let names = ["contains_range, committed", "contains_range, active"];
    let waits = ["wait_range, committed", "wait_range, active"];
    for (name, pair) in names.iter().chain(&waits).zip(&rivals) {
        row(&format!("{name} / kithara"), pair, Target::None);
    }
    let what = "allocations / calls";
    report.row("chunk-calls", what, "", &allocations, Target::AtMost(0.0));
    Ok(())
}

fn turn(call: Call<'_>) -> Turn<'_> {
    Box::new(move |time| alone(time, BATCH, || batch(call)))
}

fn batch(call: Call<'_>) -> Result<()> {
    let pieces = LEN / PIECE - 1;
    for n in 0..BATCH {
        let offset = n % pieces * PIECE;
        if !call(black_box(offset..offset + PIECE))? {
            return Err("a range that is there is not".into());
        }
    }
    Ok(())
}
