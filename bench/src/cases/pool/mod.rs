//! Objects in a pool that has room for a part of them: inserted, loaded, persisted, registered again; each pool in processes of its own,
//! in every round in another order.

mod child;

use std::path::Path;
use std::process::{Command, Stdio};

pub use self::child::{POOL, child};
use self::child::{Figures, POOLS, Work};
use crate::Result;
use crate::args::Args;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

/// A figure, and how often it goes into that of `file_backed`, or of the raw limit, at the least: times are compared as rates.
struct Figure {
    name: &'static str,
    file_backed: Option<f64>,
    raw: Option<f64>,
}

const fn figure(name: &'static str, file_backed: Option<f64>, raw: Option<f64>) -> Figure {
    Figure { name, file_backed, raw }
}

const FIGURES: [Figure; 11] = [
    figure("insert", Some(2.0), Some(0.8)),
    figure("uniform", Some(3.0), Some(0.7)),
    figure("uniform awaited", Some(5.0), None),
    figure("zipf", Some(3.0), None),
    figure("uniform by eight", Some(3.0), None),
    figure("zipf by eight", Some(3.0), None),
    figure("persist", Some(3.0), None),
    figure("persist changed", Some(20.0), None),
    figure("drop", Some(3.0), None),
    figure("track", Some(1.0), None),
    figure("register", Some(50.0), None),
];

/// 20,000 objects of 16 KiB, room for 31 MiB.
pub fn middle(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let objects = if args.quick { 4000 } else { 20_000 };
    let work = Work { objects, len: 16 << 10, resident: objects / 10, loads: objects };
    run("pool-16k", work, args, scratch, report)
}

/// Objects of 200 bytes, room for a tenth.
pub fn small(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let objects = if args.quick { 20_000 } else { 200_000 };
    let work = Work { objects, len: 200, resident: objects / 10, loads: objects / 5 };
    run("pool-200", work, args, scratch, report)
}

/// Objects of 16 MiB, room for eight.
pub fn large(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let objects = if args.quick { 16 } else { 100 };
    let work = Work { objects, len: 16 << 20, resident: 8, loads: objects / 2 };
    run("pool-16m", work, args, scratch, report)
}

fn run(case: &str, work: Work, args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let mut rounds: Vec<Vec<Figures>> = Vec::new();
    for round in 0..args.rounds {
        let mut figures = vec![Figures::new(); POOLS.len()];
        for n in 0..POOLS.len() {
            let n = (n + round) % POOLS.len();
            let dir = scratch.path("pool");
            rustix::fs::sync();
            for part in ["work", "again"] {
                let mut one = part_of(POOLS[n], part, &dir, work)?;
                figures[n].append(&mut one);
            }
            std::fs::remove_dir_all(&dir)?;
        }
        rounds.push(figures);
    }
    let ours = POOLS.iter().position(|pool| *pool == "untorn").ok_or("we are not among them")?;
    for figure in &FIGURES {
        for (n, pool) in POOLS.iter().enumerate().filter(|(n, _)| *n != ours) {
            let mut pair = Pair::default();
            for round in &rounds {
                let both = round[n].get(figure.name).zip(round[ours].get(figure.name));
                if let Some((theirs, ours)) = both {
                    pair.push(*theirs, *ours);
                }
            }
            if pair.is_empty() {
                continue;
            }
            let least = match *pool {
                "raw" => figure.raw,
                "file_backed" => figure.file_backed,
                _ => None,
            };
            let target = least.filter(|_| !args.quick).map_or(Target::None, Target::AtLeast);
            report.row(case, &format!("{}: {pool} / untorn", figure.name), "ms", &pair, target);
        }
    }
    let budget = (work.len * work.resident) as f64 / f64::from(1 << 20);
    for (n, pool) in POOLS.iter().enumerate().filter(|(_, pool)| **pool != "raw") {
        let mut growth = Pair::default();
        let mut threads = Pair::default();
        for round in &rounds {
            if let Some((most, count)) = round[n].get("growth").zip(round[n].get("threads")) {
                growth.push(*most, 1.1 * budget + 16.0);
                threads.push(*count, 1.0);
            }
        }
        let target = if n == ours { Target::AtMost(1.0) } else { Target::None };
        report.row(case, &format!("growth of {pool} / (1.1 budget + 16 MiB)"), "MiB", &growth, target);
        report.row(case, &format!("threads of {pool}"), "", &threads, Target::None);
    }
    for (name, target) in [("budget", Target::AtMost(1.0)), ("zipf hits", Target::None)] {
        let mut pair = Pair::default();
        rounds.iter().filter_map(|round| round[ours].get(name)).for_each(|is| pair.push(*is, 1.0));
        report.row(case, &format!("{name} of untorn"), "", &pair, target);
    }
    Ok(())
}

/// Does a part in a new process.
fn part_of(pool: &str, part: &str, dir: &Path, work: Work) -> Result<Figures> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args([POOL, pool, part]).arg(dir).stderr(Stdio::inherit());
    for number in [work.objects, work.len, work.resident, work.loads] {
        child.arg(number.to_string());
    }
    let output = child.output()?;
    if !output.status.success() {
        return Err(format!("{pool}: the part {part} failed").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
