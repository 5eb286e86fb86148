//! Writes of 64 KiB while others wait for bytes elsewhere in the file.

use std::thread::{Builder, Scope};
use std::time::Duration;

use kithara_platform::CancelToken;
use untorn::chunked::{ChunkedOptions, ResourceExt};

use crate::Result;
use crate::args::Args;
use crate::contestants::fill::{open_kithara, open_untorn};
use crate::measure::{Turn, alone, interleave};
use crate::raw::pattern;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const PIECE: u64 = 64 << 10;
/// What is written, again and again: it stays in memory.
const WRITTEN: u64 = 16 << 20;
/// What is waited for begins here.
const AWAITED: u64 = 1 << 30;
const TURNS: usize = 8;
const BATCH: u64 = 16;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let counts = [0, 64, args.number(1000)];
    let ours = counts
        .map(|_| open_untorn(&scratch.path("untorn"), ChunkedOptions::new()))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let cancel = CancelToken::root();
    let theirs = counts[..2]
        .iter()
        .map(|_| open_kithara(&scratch.path("kithara"), Some(WRITTEN), cancel.clone()))
        .collect::<Result<Vec<_>>>()?;
    let piece = pattern(PIECE as usize);
    std::thread::scope(|scope| {
        let all = ours.iter().zip(&counts).try_for_each(|(file, &count)| {
            waiters(scope, count, move |range| drop(file.wait_range(range)))
        });
        let all = all.and_then(|()| {
            theirs.iter().zip(&counts).try_for_each(|(file, &count)| {
                waiters(scope, count, move |range| drop(file.wait_range(range)))
            })
        });
        // All of them sleep.
        while all.is_ok()
            && ours.iter().map(|file| file.stats().waiters as u64).sum::<u64>()
                < counts.iter().sum()
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(200));
        let measured = all.and_then(|()| measure(args, &piece, &ours, &theirs));
        // Else they would wait for ever.
        ours.iter().for_each(|file| file.cancel());
        cancel.cancel();
        show(&measured?, counts[2], report);
        Ok(())
    })
}

type Ours = untorn::chunked::AtomicChunked<untorn::chunked::FileResource>;
type Theirs = kithara_storage::AtomicChunked<kithara_storage::MmapDriver>;

/// Microseconds of a write, by file and round.
fn measure(args: &Args, piece: &[u8], ours: &[Ours], theirs: &[Theirs]) -> Result<Vec<Vec<f64>>> {
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for file in ours {
            turns.push(turn(|offset| Ok(file.write_at(offset, piece)?)));
        }
        for file in theirs {
            turns.push(turn(|offset| Ok(file.write_at(offset, piece)?)));
        }
        let laps = interleave(TURNS, args.time(40), &mut turns)?;
        rounds.push(laps.iter().map(|lap| 1e6 / lap.rate()).collect());
    }
    Ok(rounds)
}

fn turn<'a>(write: impl Fn(u64) -> Result<()> + 'a) -> Turn<'a> {
    let mut offset = 0;
    Box::new(move |time| {
        alone(time, BATCH, || {
            for _ in 0..BATCH {
                write(offset)?;
                offset = (offset + PIECE) % WRITTEN;
            }
            Ok(())
        })
    })
}

fn waiters<'scope>(
    scope: &'scope Scope<'scope, '_>,
    count: u64,
    wait: impl Fn(std::ops::Range<u64>) + Clone + Send + 'scope,
) -> Result<()> {
    for n in 0..count {
        let wait = wait.clone();
        let at = AWAITED + n * PIECE;
        Builder::new().stack_size(64 << 10).spawn_scoped(scope, move || wait(at..at + PIECE))?;
    }
    Ok(())
}

fn show(rounds: &[Vec<f64>], most: u64, report: &mut Report) {
    let mut row = |what: &str, value: usize, beside: usize, target| {
        let mut pair = Pair::default();
        for round in rounds {
            pair.push(round[value], round[beside]);
        }
        report.row("chunk-waiters", what, "us", &pair, target);
    };
    row("write beside 64 waiters / 0", 1, 0, Target::AtMost(1.1));
    row(&format!("write beside {most} waiters / 0"), 2, 0, Target::AtMost(1.2));
    row("kithara: write beside 64 waiters / 0", 4, 3, Target::None);
    row("write beside 64 waiters / kithara's", 1, 4, Target::None);
}
