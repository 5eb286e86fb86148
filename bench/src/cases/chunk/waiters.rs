//! Writes of 64 KiB while others wait for bytes elsewhere in the file.
//!
//! It is one file all the time, and those who wait come and go: how its pages lie in memory decides more than they do.

use std::ops::Range;
use std::thread::{Builder, Scope, sleep};
use std::time::Duration;

use kithara_platform::CancelToken;
use kithara_storage::MmapDriver;
use untorn::chunked::{AtomicChunked, Cancel, ChunkedOptions, FileResource, ResourceExt};

use crate::Result;
use crate::args::Args;
use crate::contestants::fill::{open_kithara, open_untorn};
use crate::measure::alone;
use crate::raw::pattern;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const PIECE: u64 = 64 << 10;
/// What is written, again and again: it stays in memory.
const WRITTEN: u64 = 16 << 20;
/// What is waited for begins here.
const AWAITED: u64 = 1 << 30;
const BATCH: u64 = 16;
const FEW: u64 = 64;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let many = args.number(1000).max(2 * FEW);
    let file = open_untorn(&scratch.path("untorn"), ChunkedOptions::new())?;
    let old = open_kithara(&scratch.path("kithara"), Some(WRITTEN), CancelToken::never())?;
    let (mut few, mut more) = (Pair::default(), Pair::default());
    let (mut theirs, mut beside) = (Pair::default(), Pair::default());
    for _ in 0..args.rounds {
        let [none, some, all] = there_and_back(args, &file, many)?;
        few.push(some, none);
        more.push(all, none);
        let [none, old_some, _] = there_and_back(args, &old, FEW)?;
        theirs.push(old_some, none);
        beside.push(some, old_some);
    }
    let mut row = |what: &str, pair: &Pair, target| {
        report.row("chunk-waiters", what, "us", pair, target);
    };
    row("write beside 64 waiters / 0", &few, Target::AtMost(1.1));
    row(&format!("write beside {many} waiters / 0"), &more, Target::AtMost(1.2));
    row("kithara: write beside 64 waiters / 0", &theirs, Target::None);
    row("write beside 64 waiters / kithara's", &beside, Target::None);
    Ok(())
}

/// What can be written to and waited for.
trait Filling: Sync {
    fn write(&self, offset: u64, piece: &[u8]) -> Result<()>;
    fn wait(&self, range: Range<u64>, stop: &Stop);
    /// How many wait, where it tells.
    fn waiting(&self) -> Option<u64>;
}

/// Ends the waits of either.
#[derive(Clone)]
struct Stop(Cancel, CancelToken);

impl Filling for AtomicChunked<FileResource> {
    fn write(&self, offset: u64, piece: &[u8]) -> Result<()> {
        Ok(self.write_at(offset, piece)?)
    }

    fn wait(&self, range: Range<u64>, stop: &Stop) {
        drop(self.wait_range_cancel(range, &stop.0));
    }

    fn waiting(&self) -> Option<u64> {
        Some(self.stats().waiters as u64)
    }
}

impl Filling for kithara_storage::AtomicChunked<MmapDriver> {
    fn write(&self, offset: u64, piece: &[u8]) -> Result<()> {
        Ok(self.write_at(offset, piece)?)
    }

    fn wait(&self, range: Range<u64>, stop: &Stop) {
        drop(self.wait_range_with_cancel(range, &stop.1));
    }

    fn waiting(&self) -> Option<u64> {
        None
    }
}

/// Microseconds of a write beside nobody, a few and all: each on the way there and on the way back.
fn there_and_back(args: &Args, file: &dyn Filling, all: u64) -> Result<[f64; 3]> {
    std::thread::scope(|scope| {
        let stops = [(); 2].map(|()| Stop(Cancel::new(), CancelToken::root()));
        let end = |which: usize| {
            stops[which].0.cancel();
            stops[which].1.cancel();
        };
        let measure = || -> Result<[f64; 3]> {
            let mut times = [micros(args, file)?, 0.0, 0.0];
            begin(scope, file, 0..FEW, &stops[0])?;
            times[1] = micros(args, file)?;
            begin(scope, file, FEW..all, &stops[1])?;
            times[2] = (micros(args, file)? + micros(args, file)?) / 2.0;
            end(1);
            settled(file, FEW);
            times[1] = (times[1] + micros(args, file)?) / 2.0;
            end(0);
            settled(file, 0);
            times[0] = (times[0] + micros(args, file)?) / 2.0;
            Ok(times)
        };
        let measured = measure();
        // Else somebody would wait for ever.
        (0..2).for_each(end);
        measured
    })
}

/// Has a thread wait for each piece of a range.
fn begin<'scope>(
    scope: &'scope Scope<'scope, '_>,
    file: &'scope dyn Filling,
    range: Range<u64>,
    stop: &Stop,
) -> Result<()> {
    let all = range.end;
    for n in range {
        let stop = stop.clone();
        let at = AWAITED + n * PIECE;
        let wait = move || file.wait(at..at + PIECE, &stop);
        Builder::new().stack_size(64 << 10).spawn_scoped(scope, wait)?;
    }
    settled(file, all);
    Ok(())
}

/// Until so many wait, and sleep.
fn settled(file: &dyn Filling, count: u64) {
    while file.waiting().is_some_and(|waiting| waiting != count) {
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_millis(100));
}

fn micros(args: &Args, file: &dyn Filling) -> Result<f64> {
    let piece = pattern(PIECE as usize);
    let mut offset = 0;
    let lap = alone(args.time(200), BATCH, || {
        for _ in 0..BATCH {
            file.write(offset, &piece)?;
            offset = (offset + PIECE) % WRITTEN;
        }
        Ok(())
    })?;
    Ok(1e6 / lap.rate())
}
