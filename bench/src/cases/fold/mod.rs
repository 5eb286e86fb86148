//! A fold of a million keys, loaded, written over, read, copied and opened again, and batches that are synced: each store in processes
//! of its own, one after the other, in every round in another order.

mod child;
mod load;
pub mod pgss;

use std::path::Path;
use std::process::{Command, Stdio};

pub use self::child::{FOLD, Peak, anonymous, child};
pub use self::load::mixed;
use self::child::{Figures, STORES};
use crate::Result;
use crate::args::Args;
use crate::measure::median;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const OURS: &str = "untorn";
const RAW: &str = "raw";
/// What the targets are for.
const FULL: u64 = 1_000_000;

/// A figure, its unit, and what it should be.
struct Figure {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    /// Of the best other one.
    best: Option<f64>,
    /// Of the raw limit.
    raw: Option<f64>,
    /// In its unit, with a million keys.
    bound: Option<f64>,
}

const fn figure(name: &'static str, what: &'static str, unit: &'static str) -> Figure {
    Figure { name, what, unit, best: None, raw: None, bound: None }
}

const LOAD: [Figure; 17] = [
    Figure { best: Some(0.8), raw: Some(5.0), ..figure("apply", "apply", "s") },
    figure("batch p50", "p50 of a batch", "us"),
    Figure { bound: Some(150.0), ..figure("batch p99", "p99 of a batch", "us") },
    Figure { bound: Some(20.0), ..figure("longest", "longest apply", "ms") },
    Figure { best: Some(1.2), ..figure("overwrite", "overwrite a quarter", "s") },
    Figure { bound: Some(900.0), ..figure("get", "get", "ns") },
    Figure { bound: Some(700.0), ..figure("peek", "get where it lies", "ns") },
    Figure { bound: Some(80.0), ..figure("range", "range of 1000", "us") },
    Figure { bound: Some(100.0), ..figure("scan", "full scan", "ms") },
    Figure { bound: Some(60.0), ..figure("memory", "memory after", "MB") },
    Figure { bound: Some(130.0), ..figure("peak", "most memory", "MB") },
    Figure { bound: Some(300.0), ..figure("export", "export", "ms") },
    Figure { bound: Some(250.0), ..figure("import", "import", "ms") },
    figure("close", "close", "ms"),
    figure("reopen", "reopen", "ms"),
    Figure { bound: Some(60.0), ..figure("reopen memory", "memory of the reopened", "MB") },
    Figure { bound: Some(10.0), ..figure("settled", "reopen when settled", "ms") },
];

const SYNCED: [Figure; 2] = [
    Figure { raw: Some(1.1), ..figure("synced", "500 batches", "s") },
    figure("synced p50", "p50 of a batch", "us"),
];

pub fn load(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let rounds = rounds(args, |store| {
        let dir = scratch.path("fold");
        let mut figures = Figures::new();
        for part in ["load", "reopen", "settle", "settled"] {
            // There is something to open anew only where something was settled.
            if part != "settled" || figures.get("settled") == Some(&1.0) {
                figures.append(&mut run(store, part, &dir, args.keys)?);
            }
        }
        if !figures.contains_key("settled memory") {
            figures.remove("settled");
        }
        std::fs::remove_dir_all(&dir)?;
        Ok(figures)
    })?;
    let full = args.keys >= FULL;
    for figure in &LOAD {
        show("fold-load", figure, &rounds, full, report);
    }
    let live = load::live(args.keys) as f64 / 1e6;
    for (n, &store) in STORES.iter().enumerate() {
        let mut pair = Pair::default();
        let disk = rounds.iter().filter_map(|round| round[n].get("disk"));
        disk.for_each(|disk| pair.push(*disk, live));
        let target = if full && store == OURS { Target::AtMost(1.75) } else { Target::None };
        if store != RAW {
            report.row("fold-load", &format!("disk of {store} / live"), "MB", &pair, target);
        }
    }
    Ok(())
}

pub fn synced(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let rounds = rounds(args, |store| {
        let dir = scratch.path("fold");
        let figures = run(store, "synced", &dir, args.keys)?;
        std::fs::remove_dir_all(&dir).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        Ok(figures)
    })?;
    for figure in &SYNCED {
        show("fold-synced", figure, &rounds, true, report);
    }
    Ok(())
}

/// The figures of each round, by the number of the store.
type Rounds = Vec<Vec<Figures>>;

fn rounds(args: &Args, mut one: impl FnMut(&str) -> Result<Figures>) -> Result<Rounds> {
    let mut rounds = Vec::new();
    for round in 0..args.rounds {
        let mut figures = vec![Figures::new(); STORES.len()];
        for n in 0..STORES.len() {
            let n = (n + round) % STORES.len();
            rustix::fs::sync();
            figures[n] = one(STORES[n]).map_err(|e| format!("{}: {e}", STORES[n]))?;
        }
        rounds.push(figures);
    }
    Ok(rounds)
}

/// Does a part of the load in a new process.
fn run(store: &str, part: &str, dir: &Path, keys: u64) -> Result<Figures> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args([FOLD, store, part]).arg(dir).arg(keys.to_string()).stderr(Stdio::inherit());
    let output = child.output()?;
    if !output.status.success() {
        return Err(format!("the part {part} failed").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The rows of a figure: ours beside the best other one, the raw limit and its bound, where there is a target; and beside each.
/// Without ours, each stands by itself.
fn show(case: &str, figure: &Figure, rounds: &Rounds, full: bool, report: &mut Report) {
    let Figure { name, what, unit, .. } = *figure;
    let all = |n: usize| -> Vec<f64> {
        rounds.iter().filter_map(|round| round[n].get(name).copied()).collect()
    };
    let pair = |values: &[f64], beside: &[f64]| {
        let mut pair = Pair::default();
        values.iter().zip(beside).for_each(|(value, beside)| pair.push(*value, *beside));
        pair
    };
    let place = |name: &str| STORES.iter().position(|store| *store == name);
    let ours = place(OURS).map(all).filter(|values| !values.is_empty());
    let mut others: Vec<(&str, Vec<f64>)> = Vec::new();
    for (n, &store) in STORES.iter().enumerate() {
        let values = all(n);
        if store != OURS && !values.is_empty() {
            others.push((store, values));
        }
    }
    let ones = vec![1.0; rounds.len()];
    let Some(ours) = ours else {
        for (store, values) in &others {
            let what = format!("{what} of {store} / 1 {unit}");
            report.row(case, &what, unit, &pair(values, &ones), Target::None);
        }
        return;
    };
    let at_most = |limit: f64| if full { Target::AtMost(limit) } else { Target::None };
    let rivals = others.iter().filter(|(store, _)| *store != RAW);
    let best = rivals.min_by(|(_, a), (_, b)| median(a).total_cmp(&median(b)));
    if let (Some(limit), Some((store, values))) = (figure.best, best) {
        let what = format!("{what} / the best, {store}");
        report.row(case, &what, unit, &pair(&ours, values), at_most(limit));
    }
    if let Some(bound) = figure.bound {
        let bounds = vec![bound; rounds.len()];
        let what = format!("{what} / {bound} {unit}");
        report.row(case, &what, unit, &pair(&ours, &bounds), at_most(1.0));
    }
    for (store, values) in &others {
        let target = figure.raw.filter(|_| *store == RAW).map_or(Target::None, at_most);
        report.row(case, &format!("{what} / {store}"), unit, &pair(&ours, values), target);
    }
    if others.is_empty() && figure.bound.is_none() {
        let what = format!("{what} / 1 {unit}");
        report.row(case, &what, unit, &pair(&ours, &ones), Target::None);
    }
}
