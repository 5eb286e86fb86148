//! How long it takes until a thread that waits for bytes runs again: half of a round trip between two threads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Thread, current, park};
use std::time::Instant;

use kithara_platform::CancelToken;
use untorn::chunked::{ChunkedOptions, MemResource, ResourceExt};

use crate::Result;
use crate::args::Args;
use crate::contestants::fill::{open_kithara, open_untorn};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

/// Bytes of which a turn writes the next ones.
const PIECE: u64 = 64;

/// One side of the game: tells the other one that the n-th turn is done, or waits until the other one has told.
trait Side: Sync {
    fn tell(&self, n: u64) -> Result<()>;
    fn wait(&self, n: u64) -> Result<()>;
}

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let trips = args.number(20_000);
    let len = trips * PIECE;
    let mut pairs = [(); 5].map(|()| Pair::default());
    for round in 0..args.rounds {
        let mut times = [0.0; 5];
        for turn in 0..times.len() {
            let which = (turn + round) % times.len();
            times[which] = match which {
                0 => parked(trips, None)?,
                1 => {
                    let file = || File::create_new(scratch.path("raw"));
                    parked(trips, Some([file()?, file()?]))?
                }
                2 => {
                    let memory = || -> Result<_> {
                        let memory = MemResource::new();
                        // All of it is taken before.
                        memory.write_at(len, &[0])?;
                        Ok(Bytes(memory))
                    };
                    play(trips, &memory()?, &memory()?)?
                }
                3 => {
                    let open = || open_untorn(&scratch.path("untorn"), ChunkedOptions::new());
                    play(trips, &Bytes(open()?), &Bytes(open()?))?
                }
                _ => {
                    let open =
                        || open_kithara(&scratch.path("kithara"), Some(len), CancelToken::never());
                    play(trips, &Theirs(open()?), &Theirs(open()?))?
                }
            };
        }
        let [park, park_and_write, memory, file, theirs] = times;
        pairs[0].push(memory, park);
        pairs[1].push(file, park_and_write);
        pairs[2].push(file, park);
        pairs[3].push(theirs, park);
        pairs[4].push(file, theirs);
    }
    let mut row =
        |what: &str, pair: &Pair, target| report.row("chunk-wake", what, "us", pair, target);
    row("memory / park and unpark", &pairs[0], Target::AtMost(1.25));
    row("file / pwrite, park and unpark", &pairs[1], Target::AtMost(1.25));
    row("file / park and unpark", &pairs[2], Target::None);
    row("kithara / park and unpark", &pairs[3], Target::None);
    row("file / kithara", &pairs[4], Target::None);
    Ok(())
}

/// Microseconds from one side to the other.
fn play(trips: u64, here: &dyn Side, there: &dyn Side) -> Result<f64> {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<()> {
            (0..trips).try_for_each(|n| here.wait(n).and_then(|()| there.tell(n)))
        });
        let started = Instant::now();
        (0..trips).try_for_each(|n| here.tell(n).and_then(|()| there.wait(n)))?;
        let took = started.elapsed();
        other.join().map_err(|_| "the other side panicked")??;
        Ok(took.as_secs_f64() * 1e6 / (2 * trips) as f64)
    })
}

struct Bytes<R>(R);

impl<R: ResourceExt> Side for Bytes<R> {
    fn tell(&self, n: u64) -> Result<()> {
        Ok(self.0.write_at(n * PIECE, &[7; PIECE as usize])?)
    }

    fn wait(&self, n: u64) -> Result<()> {
        self.0.wait_range(n * PIECE..(n + 1) * PIECE)?;
        Ok(())
    }
}

struct Theirs(kithara_storage::AtomicChunked<kithara_storage::MmapDriver>);

impl Side for Theirs {
    fn tell(&self, n: u64) -> Result<()> {
        Ok(self.0.write_at(n * PIECE, &[7; PIECE as usize])?)
    }

    fn wait(&self, n: u64) -> Result<()> {
        self.0.wait_range(n * PIECE..(n + 1) * PIECE)?;
        Ok(())
    }
}

/// The same game with a counter on each side and nothing else, and with a write before each turn is told.
fn parked(trips: u64, files: Option<[File; 2]>) -> Result<f64> {
    let (here, there) = (AtomicU64::new(0), AtomicU64::new(0));
    let write = |side: usize, n: u64| match &files {
        Some(files) => files[side].write_all_at(&[7; PIECE as usize], n * PIECE),
        None => Ok(()),
    };
    let tell = |side: &AtomicU64, n: u64, other: &Thread| {
        side.store(n + 1, Ordering::Release);
        other.unpark();
    };
    let wait = |side: &AtomicU64, n: u64| {
        while side.load(Ordering::Acquire) <= n {
            park();
        }
    };
    let first = current();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<()> {
            for n in 0..trips {
                wait(&here, n);
                write(1, n)?;
                tell(&there, n, &first);
            }
            Ok(())
        });
        let second = other.thread().clone();
        let started = Instant::now();
        for n in 0..trips {
            write(0, n)?;
            tell(&here, n, &second);
            wait(&there, n);
        }
        let took = started.elapsed();
        other.join().map_err(|_| "the other side panicked")??;
        Ok(took.as_secs_f64() * 1e6 / (2 * trips) as f64)
    })
}
