//! Readers beside a writer: C1 and C2. grin_store has one handle for both, so it stands behind a lock, as its users have it.

use std::hint::black_box;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::table::{Rows, Table};
use crate::Result;
use crate::args::Args;
use crate::contestants::append::untorn::Untorn;
use crate::contestants::append::{Appender, Elements, Grin, taste};
use crate::machines::scattered;
use crate::measure::quantile;
use crate::report::{Report, Target};
use crate::scratch::Scratch;

const SIZE: usize = 40;
/// Elements that are there before, and are read.
const COUNT: u64 = 1_000_000;
/// Reads at a time, with one look at what is there.
const READS: u64 = 64;
const WRITES: u64 = 1000;

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// Per second, of all readers.
    reads: f64,
    writes: f64,
    /// Milliseconds that 64 reads took, of all readers.
    waits: Vec<f64>,
}

/// Readers in threads of their own, and a writer in this one, for so long. `write` returns how many elements it wrote.
fn side_by_side(
    readers: usize,
    time: Duration,
    read: &(dyn Fn(u64) -> Option<u64> + Sync),
    write: &mut dyn FnMut() -> Result<u64>,
) -> Result<Outcome> {
    let stop = AtomicBool::new(false);
    let one = |number: u64| -> Option<Vec<f64>> {
        let mut waits = Vec::with_capacity(1 << 20);
        let mut first = number << 40;
        while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            black_box(read(first)?);
            waits.push(started.elapsed().as_secs_f64() * 1e3);
            first += READS;
        }
        Some(waits)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..readers as u64).map(|number| scope.spawn(move || one(number))).collect();
        let started = Instant::now();
        let mut written = 0;
        let mut result = Ok(());
        while started.elapsed() < time && result.is_ok() {
            result = write().map(|more| written += more);
        }
        stop.store(true, Ordering::Relaxed);
        let took = started.elapsed().as_secs_f64();
        let mut outcome = Outcome { writes: written as f64 / took, ..Outcome::default() };
        for thread in threads {
            let waits = thread.join().map_err(|_| "a reader panicked")?;
            outcome.waits.extend(waits.ok_or("a read failed")?);
        }
        outcome.reads = outcome.waits.len() as f64 * READS as f64 / took;
        result.map(|()| outcome)
    })
}

/// 64 elements of those that were there before.
fn some<'a>(first: u64, mut get: impl FnMut(u64) -> Option<&'a [u8]>) -> Option<u64> {
    (first..first + READS)
        .try_fold(0_u64, |sum, n| Some(sum.wrapping_add(taste(get(scattered(n) % COUNT)?)?)))
}

fn fill(one: &mut dyn Appender) -> Result<()> {
    one.append(0..COUNT)?;
    one.flush()
}

/// A writer's turn: appends and flushes, and takes a few elements back when the time has come.
fn turn(now_and_then: Option<&mut Instant>) -> bool {
    now_and_then.is_some_and(|last| {
        let due = last.elapsed() >= Duration::from_millis(10);
        if due {
            *last = Instant::now();
        }
        due
    })
}

fn of_grin(
    grin: &RwLock<Grin>,
    readers: usize,
    time: Duration,
    rewinding: bool,
) -> Result<Outcome> {
    let read = |first| {
        let grin = grin.read().ok()?;
        some(first, |n| grin.file.read(n).ok())
    };
    let mut last = Instant::now();
    let mut len = grin.read().map_err(|_| "poisoned")?.file.size()? / SIZE as u64;
    side_by_side(readers, time, &read, &mut || {
        let mut grin = grin.write().map_err(|_| "poisoned")?;
        if turn(rewinding.then_some(&mut last)) {
            len -= 10;
            grin.file.rewind(len);
        }
        grin.append(len..len + WRITES)?;
        grin.flush()?;
        len += WRITES;
        Ok(WRITES)
    })
}

fn of_untorn(
    ours: &mut Untorn,
    readers: usize,
    time: Duration,
    rewinding: bool,
) -> Result<Outcome> {
    let reader = ours.file.reader()?;
    let read = |first| {
        let snapshot = reader.snapshot().ok()?;
        some(first, |n| snapshot.get(n).ok())
    };
    let mut last = Instant::now();
    side_by_side(readers, time, &read, &mut || {
        let mut len = ours.file.len();
        if turn(rewinding.then_some(&mut last)) {
            len -= 10;
            ours.file.rewind(len)?;
        }
        ours.append(len..len + WRITES)?;
        ours.flush()?;
        Ok(WRITES)
    })
}

/// C1: one reader, and a writer that flushes each 1,000 elements; half a second of each in a round.
pub fn one(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let elements = Elements::fixed(SIZE);
    let mut grin = Grin::open(&scratch.path("grin"), &elements)?;
    fill(&mut grin)?;
    let grin = RwLock::new(grin);
    let mut ours = Untorn::open(&scratch.path("untorn"), &elements)?;
    fill(&mut ours)?;
    let mut tables = [(); 3].map(|()| Table::default());
    for _ in 0..args.rounds {
        let time = args.time(500);
        let outcomes = [
            ("grin + RwLock", of_grin(&grin, 1, time, false)?),
            ("untorn", of_untorn(&mut ours, 1, time, false)?),
        ];
        for (name, outcome) in outcomes {
            tables[0].push(name, outcome.reads);
            tables[1].push(name, outcome.writes);
            tables[2].push(name, quantile(&outcome.waits, 1.0));
        }
    }
    let whats = [
        ("reads", "reads/s", Target::AtLeast(5.0)),
        ("writes", "writes/s", Target::AtLeast(1.4)),
        ("longest 64 reads", "ms", Target::None),
    ];
    for ((what, unit, target), table) in whats.into_iter().zip(&tables) {
        let mut rows = Rows { case: "append-beside", what, unit, table, report };
        rows.row("untorn", "grin + RwLock", target);
    }
    Ok(())
}

/// C2: sixteen readers, and a writer that takes elements back every 10 ms; beside the same readers when nobody writes. Sixteen readers
/// wait for processors, so that how long 64 reads take says something only where there are as many.
pub fn crowd(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    const READERS: usize = 16;
    let elements = Elements::fixed(SIZE);
    let mut grin = Grin::open(&scratch.path("grin"), &elements)?;
    fill(&mut grin)?;
    let grin = RwLock::new(grin);
    let mut ours = Untorn::open(&scratch.path("untorn"), &elements)?;
    fill(&mut ours)?;
    let idle = |time| {
        move || {
            std::thread::sleep(time);
            Ok(0)
        }
    };
    let (mut reads, mut waits) = (Table::default(), Table::default());
    for _ in 0..args.rounds {
        let time = args.time(500);
        let alone = side_by_side(
            READERS,
            time,
            &|first| {
                let grin = grin.read().ok()?;
                some(first, |n| grin.file.read(n).ok())
            },
            &mut idle(time),
        )?;
        reads.push("grin alone", alone.reads);
        let beside = of_grin(&grin, READERS, time, true)?;
        reads.push("grin", beside.reads);
        waits.push("grin", quantile(&beside.waits, 0.999));
        {
            let reader = ours.file.reader()?;
            let alone = side_by_side(
                READERS,
                time,
                &|first| {
                    let snapshot = reader.snapshot().ok()?;
                    some(first, |n| snapshot.get(n).ok())
                },
                &mut idle(time),
            )?;
            reads.push("untorn alone", alone.reads);
            let beside = of_untorn(&mut ours, READERS, time, true)?;
            reads.push("untorn", beside.reads);
            waits.push("untorn", quantile(&beside.waits, 0.999));
        }
    }
    let (case, unit) = ("append-crowd", "reads/s");
    let mut rows = Rows { case, what: "", unit, table: &reads, report };
    rows.row("untorn", "untorn alone", Target::AtLeast(0.8));
    rows.row("grin", "grin alone", Target::None);
    rows.row("untorn", "grin", Target::None);
    let what = "p99.9 of 64 reads";
    let mut rows = Rows { case, what, unit: "ms", table: &waits, report };
    let idle_cores = std::thread::available_parallelism()?.get() > READERS;
    let target = if idle_cores { Target::AtMost(1.0) } else { Target::None };
    rows.limit("untorn", 1.0, "1 ms", target);
    rows.limit("grin", 1.0, "1 ms", Target::None);
    Ok(())
}
