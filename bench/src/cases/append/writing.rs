//! Appending and flushing: A1 to A6.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::table::{Rows, Table};
use crate::Result;
use crate::alloc;
use crate::args::Args;
use crate::cases::chunk::settled;
use crate::contestants::append::untorn::{Group, Untorn};
use crate::contestants::append::{
    Appender, Commitlog, Elements, Grin, Indexedlog, MmapAppend, Raw, Several,
};
use crate::measure::{Turn, alone, interleave};
use crate::report::{Report, Target};
use crate::scratch::Scratch;

const FIXED: usize = 40;
/// Zeroed space for the raw limit.
const ZEROED: u64 = 128 << 20;

/// The contestants of a round, with files of their own in a directory.
type Open<'a> = &'a dyn Fn(&Path) -> Result<Vec<Box<dyn Appender>>>;

/// How much is appended before a flush, and for how long.
struct Way {
    per_flush: u64,
    turns: usize,
    millis: u64,
}

/// Elements per second. The raw limit keeps its file from round to round; who begins changes with each round.
fn rates(
    open: Open<'_>,
    raw: &mut Raw,
    way: &Way,
    args: &Args,
    scratch: &Scratch,
) -> Result<Table> {
    let mut table = Table::default();
    let per_flush = way.per_flush;
    for round in 0..args.rounds {
        let dir = scratch.path("append");
        fs::create_dir(&dir)?;
        let mut opened = open(&dir)?;
        let mut all: Vec<&mut dyn Appender> = vec![raw];
        all.extend(opened.iter_mut().map(|one| &mut **one as &mut dyn Appender));
        let start = round % all.len();
        all.rotate_left(start);
        settled(&dir)?;
        let names: Vec<_> = all.iter().map(|one| one.name()).collect();
        let turn = |one| -> Turn<'_> {
            let one: &mut dyn Appender = one;
            let mut next = 0;
            Box::new(move |time| {
                alone(time, per_flush, || {
                    one.append(next..next + per_flush)?;
                    next += per_flush;
                    one.flush()
                })
            })
        };
        let mut turns: Vec<Turn<'_>> = all.into_iter().map(turn).collect();
        let laps = interleave(way.turns, args.time(way.millis), &mut turns)?;
        for (name, lap) in names.into_iter().zip(&laps) {
            table.push(name, lap.rate());
        }
        drop(turns);
        drop(opened);
        fs::remove_dir_all(&dir)?;
    }
    Ok(table)
}

fn everybody(dir: &Path, elements: &Elements) -> Result<Vec<Box<dyn Appender>>> {
    Ok(vec![
        Box::new(Untorn::open(&dir.join("untorn"), elements)?),
        Box::new(Grin::open(&dir.join("grin"), elements)?),
        Box::new(Raw::growing(&dir.join("growing"), elements)?),
        Box::new(MmapAppend::open(&dir.join("map"), elements)?),
        Box::new(Indexedlog::open(&dir.join("indexedlog"), elements)?),
        Box::new(Commitlog::open(&dir.join("commitlog"), elements)?),
    ])
}

/// What is asked of us beside the others.
struct Wanted {
    grin: f64,
    raw: Target,
}

fn run(
    case: &str,
    what: &str,
    elements: &Elements,
    way: &Way,
    wanted: &Wanted,
    (args, scratch, report): (&Args, &Scratch, &mut Report),
) -> Result<()> {
    let mut raw = Raw::zeroed(&scratch.path("zeroed"), elements, ZEROED)?;
    let table = rates(&|dir| everybody(dir, elements), &mut raw, way, args, scratch)?;
    let mut rows = Rows { case, what, unit: "elements/s", table: &table, report };
    rows.row("untorn", "grin", Target::AtLeast(wanted.grin));
    rows.row("untorn", "raw, zeroed", wanted.raw);
    rows.row("untorn", "raw, growing", Target::None);
    for rival in ["mmap-append", "indexedlog", "commitlog (not synced)"] {
        rows.row("untorn", rival, Target::None);
    }
    for rival in ["raw, growing", "grin", "mmap-append", "indexedlog", "commitlog (not synced)"] {
        rows.row(rival, "raw, zeroed", Target::None);
    }
    Ok(())
}

/// A1, A2: elements of 40 bytes, a flush after each 1,000 and each 100,000. Not so many as 4 million, but as many as fit into the
/// time.
pub fn fixed(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let elements = Elements::fixed(FIXED);
    let way = Way { per_flush: 1000, turns: 4, millis: 60 };
    let wanted = Wanted { grin: 1.3, raw: Target::AtLeast(0.9) };
    run("append-fixed", "each 1000", &elements, &way, &wanted, (args, scratch, report))?;
    let way = Way { per_flush: 100_000, turns: 4, millis: 120 };
    let wanted = Wanted { grin: 0.9, raw: Target::AtLeast(0.85) };
    run("append-fixed", "each 100000", &elements, &way, &wanted, (args, scratch, report))
}

/// A3: elements of 32 to 1,024 bytes. The raw limits write the data alone.
pub fn variable(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let elements = Elements::between(32, 1024);
    let way = Way { per_flush: 1000, turns: 4, millis: 80 };
    let wanted = Wanted { grin: 1.1, raw: Target::None };
    run("append-varied", "each 1000", &elements, &way, &wanted, (args, scratch, report))?;
    // A turn is one flush of some 53 MB.
    let way = Way { per_flush: args.number(100_000), turns: 1, millis: 1 };
    let wanted = Wanted { grin: 1.0, raw: Target::None };
    run("append-varied", "each 100000", &elements, &way, &wanted, (args, scratch, report))
}

/// A5: a flush for each element.
pub fn single(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let elements = Elements::fixed(FIXED);
    let way = Way { per_flush: 1, turns: 6, millis: 50 };
    let wanted = Wanted { grin: 1.4, raw: Target::AtLeast(0.9) };
    run("append-single", "each", &elements, &way, &wanted, (args, scratch, &mut *report))?;
    {
        let mut one = Untorn::open(&scratch.path("counted"), &elements)?;
        // The first flush after an open may have a sync of its own.
        (0..1000).try_for_each(|n| one.append(n..n + 1).and_then(|()| one.flush()))?;
        let mut table = Table::default();
        table.push("syncs", one.syncs as f64);
        let mut rows = Rows { case: "append-single", what: "", unit: "", table: &table, report };
        rows.limit("syncs", one.flushes as f64, "flushes", Target::AtMost(1.005));
    }
    Ok(())
}

/// A4: five files of 40-byte elements, 1,000 in each for a commit. The raw limit writes the bytes of all five to one place.
pub fn group(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let elements = Elements::fixed(FIXED);
    let mut raw = Raw::zeroed(&scratch.path("zeroed"), &Elements::fixed(FIXED * 5), ZEROED)?;
    let open = |dir: &Path| -> Result<Vec<Box<dyn Appender>>> {
        let five = (0..5).map(|n| Grin::open(&dir.join(format!("grin-{n}")), &elements));
        Ok(vec![
            Box::new(Group::open(&dir.join("untorn"), &elements)?),
            Box::new(Several { name: "five of grin", all: five.collect::<Result<_>>()? }),
        ])
    };
    let way = Way { per_flush: 1000, turns: 4, millis: 100 };
    let table = rates(&open, &mut raw, &way, args, scratch)?;
    let unit = "elements/s a file";
    let mut rows = Rows { case: "append-group", what: "", unit, table: &table, report };
    rows.row("untorn, a group", "five of grin", Target::AtLeast(3.0));
    rows.row("untorn, a group", "raw, zeroed", Target::None);
    rows.row("five of grin", "raw, zeroed", Target::None);
    Ok(())
}

/// A6: appending to memory alone. The flush behind each 100,000 is not in the time.
pub fn memory(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    const BATCH: u64 = 100_000;
    let elements = Elements::fixed(FIXED);
    let (mut times, mut allocations) = (Table::default(), Table::default());
    for _ in 0..args.rounds {
        let mut all: Vec<Box<dyn Appender>> = vec![
            Box::new(Untorn::open(&scratch.path("untorn"), &elements)?),
            Box::new(Grin::open(&scratch.path("grin"), &elements)?),
            Box::new(Raw::growing(&scratch.path("growing"), &elements)?),
        ];
        for one in &mut all {
            // The memory is there, as it is in the life of a file.
            one.append(0..BATCH)?;
            one.flush()?;
            let (mut nanos, mut count) = (0.0, 0);
            for batch in 1..6 {
                let (before, started) = (alloc::count(), Instant::now());
                one.append(batch * BATCH..(batch + 1) * BATCH)?;
                nanos += started.elapsed().as_secs_f64() * 1e9;
                count += alloc::count() - before;
                one.flush()?;
            }
            times.push(one.name(), nanos / (5 * BATCH) as f64);
            allocations.push(one.name(), count as f64 / (5 * BATCH) as f64);
        }
    }
    let mut rows = Rows { case: "append-memory", what: "", unit: "ns", table: &times, report };
    rows.limit("untorn", 10.0, "10 ns", Target::AtMost(1.0));
    rows.row("untorn", "grin", Target::None);
    rows.row("grin", "raw, growing", Target::None);
    rows.unit = "per element";
    rows.table = &allocations;
    // A buffer that is given up after a flush grows a few times again.
    rows.limit("untorn", 0.001, "1 allocation in 1000", Target::AtMost(1.0));
    Ok(())
}
