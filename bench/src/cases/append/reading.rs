//! Reading what is in memory: R1 to R4. All read the same pages, but commitlog, which has a file of its own.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;

use super::table::{Rows, Table};
use crate::Result;
use crate::args::Args;
use crate::contestants::append::untorn;
use crate::contestants::append::{
    Appender, Commitlog, Elements, grin, read_commitlog, taste, write_plain,
};
use crate::measure::{Turn, alone, interleave, together};
use crate::report::{Report, Target};
use crate::scratch::Scratch;

const SIZE: usize = 40;
/// 160 MB.
const COUNT: u64 = 4_000_000;
/// Fewer, for those that write slowly.
const FEW: u64 = 1_000_000;
/// Reads between two looks at the clock.
const BATCH: u64 = 1024;
const TURNS: usize = 4;

/// The number of a read becomes any position.
fn position(n: u64, count: u64) -> u64 {
    // No stride is left for a processor to find.
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((n >> 32) * count) >> 32
}

/// Reads elements, each by its position. What it returns is something of the element.
fn one_by_one<'a>(
    threads: usize,
    count: u64,
    random: bool,
    read: impl Fn(u64) -> Option<u64> + Sync + 'a,
) -> Turn<'a> {
    in_batches(threads, move |first| {
        if random {
            return (first..first + BATCH)
                .try_fold(0_u64, |sum, n| Some(sum.wrapping_add(read(position(n, count))?)));
        }
        // One division for all of them: one for each would take longer than the read.
        let from = first % (count - BATCH);
        (from..from + BATCH).try_fold(0_u64, |sum, n| Some(sum.wrapping_add(read(n)?)))
    })
}

/// Reads elements, batch by batch.
fn in_batches<'a>(threads: usize, read: impl Fn(u64) -> Option<u64> + Sync + 'a) -> Turn<'a> {
    Box::new(move |time| {
        let next = AtomicU64::new(0);
        let batch = || {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            black_box(read(first)).ok_or("a read failed")?;
            Ok(())
        };
        if threads == 1 {
            return alone(time, BATCH, batch);
        }
        let mut lap = together(threads, time, &batch)?;
        lap.ops *= BATCH;
        Ok(lap)
    })
}

/// Readers beside each other; nanoseconds for an element.
#[derive(Default)]
struct Field<'a> {
    names: Vec<&'static str>,
    turns: Vec<Turn<'a>>,
}

impl<'a> Field<'a> {
    fn add(&mut self, name: &'static str, turn: Turn<'a>) {
        self.names.push(name);
        self.turns.push(turn);
    }

    fn run(mut self, args: &Args) -> Result<Table> {
        let mut table = Table::default();
        // Every page is in memory, and in the maps.
        interleave(1, args.time(200), &mut self.turns)?;
        for _ in 0..args.rounds {
            let laps = interleave(TURNS, args.time(40), &mut self.turns)?;
            for (name, lap) in self.names.iter().zip(&laps) {
                table.push(name, 1e9 / lap.rate());
            }
        }
        Ok(table)
    }
}

fn element(map: &[u8], n: u64, size: usize) -> Option<&[u8]> {
    let from = n as usize * size;
    map.get(from..from + size)
}

/// R1: one behind the other; R2: at random, by one thread and by two. commitlog has a million of the four.
pub fn fixed(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let (elements, count) = (Elements::fixed(SIZE), args.number(COUNT));
    let path = scratch.path("fixed");
    let ours = untorn::filled(&path, &elements, count)?;
    let snapshot = ours.reader()?.snapshot()?;
    let theirs = grin::open(&path, Some(SIZE))?;
    let file = File::open(&path)?;
    // SAFETY: nobody writes to the file.
    let map = unsafe { Mmap::map(&file)? };
    let few = args.number(FEW);
    let mut log = Commitlog::open(&scratch.path("commitlog"), &elements)?;
    log.append(0..few)?;
    log.flush()?;

    // It looks at the checksum of every block that nobody has touched, so it is asked for once.
    let all = snapshot.as_chunks::<SIZE>()?;
    let mut field = Field::default();
    field.add("untorn", one_by_one(1, count, false, |n| snapshot.get(n).ok().and_then(taste)));
    field.add(
        "untorn, iter",
        in_batches(1, |n| {
            let from = n % (count - BATCH);
            snapshot
                .iter(from..from + BATCH)
                .try_fold(0_u64, |sum, element| Some(sum.wrapping_add(taste(element.ok()?)?)))
        }),
    );
    field.add(
        "untorn, as_chunks",
        in_batches(1, |n| {
            let from = (n % (count - BATCH)) as usize;
            let chunks = all.get(from..from + BATCH as usize)?;
            chunks.iter().try_fold(0_u64, |sum, chunk| Some(sum.wrapping_add(taste(chunk)?)))
        }),
    );
    field.add("raw map", one_by_one(1, count, false, |n| element(&map, n, SIZE).and_then(taste)));
    field.add(
        "raw map, chunks",
        in_batches(1, |n| {
            let from = (n % (count - BATCH)) as usize * SIZE;
            let chunks = map.get(from..from + BATCH as usize * SIZE)?.chunks_exact(SIZE);
            chunks.map(taste).try_fold(0_u64, |sum, word| Some(sum.wrapping_add(word?)))
        }),
    );
    field.add("grin", one_by_one(1, count, false, |n| theirs.read(n).ok().and_then(taste)));
    let table = field.run(args)?;
    let (case, unit) = ("append-read", "ns");
    let mut rows = Rows { case, what: "in order", unit, table: &table, report };
    rows.limit("untorn", 2.0, "2 ns", Target::AtMost(1.0));
    rows.row("untorn", "raw map", Target::None);
    rows.row("untorn, iter", "raw map, chunks", Target::AtMost(1.1));
    rows.row("untorn, as_chunks", "raw map, chunks", Target::AtMost(1.1));
    rows.row("grin", "untorn", Target::None);
    rows.row("grin", "raw map", Target::None);

    for (threads, what) in [(1, "at random"), (2, "at random, 2 threads")] {
        let mut field = Field::default();
        field.add(
            "untorn",
            one_by_one(threads, count, true, |n| snapshot.get(n).ok().and_then(taste)),
        );
        let read = |n| element(&map, n, SIZE).and_then(taste);
        field.add("raw map", one_by_one(threads, count, true, read));
        let read = |n| theirs.read(n).ok().and_then(taste);
        field.add("grin", one_by_one(threads, count, true, read));
        let read = |n| {
            let mut buffer = [0; SIZE];
            file.read_exact_at(&mut buffer, n * SIZE as u64).ok()?;
            taste(&buffer)
        };
        field.add("pread", one_by_one(threads, count, true, read));
        let read = |n| read_commitlog(&log.log, n);
        field.add("commitlog", one_by_one(threads, few, true, read));
        let table = field.run(args)?;
        let mut rows = Rows { case, what, unit, table: &table, report };
        rows.row("grin", "untorn", Target::AtLeast(2.0));
        rows.row("untorn", "raw map", Target::AtMost(1.15));
        rows.row("pread", "untorn", Target::None);
        rows.row("commitlog", "untorn", Target::None);
        for rival in ["grin", "pread", "commitlog"] {
            rows.row(rival, "raw map", Target::None);
        }
    }
    Ok(())
}

/// R3: an element as five numbers, at random.
pub fn typed(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let (elements, count) = (Elements::fixed(SIZE), args.number(COUNT));
    let path = scratch.path("typed");
    let ours = untorn::filled(&path, &elements, count)?;
    let snapshot = ours.reader()?.snapshot()?;
    let theirs = grin::open_data(&path)?;
    // SAFETY: nobody writes to the file.
    let map = unsafe { Mmap::map(&File::open(&path)?)? };
    let sum = |words: &grin::Words| Some(words.0.iter().fold(0, |sum, word| sum ^ word));
    let mut field = Field::default();
    field.add(
        "untorn, view",
        one_by_one(1, count, true, |n| snapshot.view::<grin::Words>(n).ok().and_then(sum)),
    );
    // It counts from 1.
    field.add("grin", one_by_one(1, count, true, |n| theirs.read(n + 1).as_ref().and_then(sum)));
    let read = |n| {
        let words = element(&map, n, SIZE)?.as_chunks().0;
        Some(words.iter().fold(0, |sum, word| sum ^ u64::from_ne_bytes(*word)))
    };
    field.add("raw map", one_by_one(1, count, true, read));
    let table = field.run(args)?;
    let mut rows = Rows { case: "append-typed", what: "", unit: "ns", table: &table, report };
    rows.row("grin", "untorn, view", Target::AtLeast(5.0));
    rows.row("untorn, view", "raw map", Target::None);
    rows.row("grin", "raw map", Target::None);
    Ok(())
}

/// R4: elements of 32 to 1,024 bytes, at random. Half a million of them, 264 MB.
pub fn variable(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let (elements, count) = (Elements::between(32, 1024), args.number(500_000));
    let path = scratch.path("varied");
    let ends = write_plain(&path, &elements, count)?;
    let theirs = grin::open(&path, None)?;
    let ours = untorn::filled(&scratch.path("ours"), &elements, count)?;
    let snapshot = ours.reader()?.snapshot()?;
    // SAFETY: nobody writes to the file.
    let map = unsafe { Mmap::map(&File::open(&path)?)? };
    for (threads, what) in [(1, ""), (2, "2 threads")] {
        let mut field = Field::default();
        field.add(
            "untorn",
            one_by_one(threads, count, true, |n| snapshot.get(n).ok().and_then(taste)),
        );
        let read = |n: u64| {
            let n = n as usize;
            map.get(*ends.get(n)? as usize..*ends.get(n + 1)? as usize).and_then(taste)
        };
        field.add("raw map and ends", one_by_one(threads, count, true, read));
        let read = |n| theirs.read(n).ok().and_then(taste);
        field.add("grin", one_by_one(threads, count, true, read));
        let table = field.run(args)?;
        let (case, unit) = ("append-lookup", "ns");
        let mut rows = Rows { case, what, unit, table: &table, report };
        rows.row("grin", "untorn", Target::AtLeast(1.5));
        rows.row("untorn", "raw map and ends", Target::AtMost(1.2));
        rows.row("grin", "raw map and ends", Target::None);
    }
    Ok(())
}
