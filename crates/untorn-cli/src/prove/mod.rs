//! `prove`: kills, the explorer and the throughput of each store; then a table, JSON, a page, and evidence if anything failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;
use untorn::ErrorKind;
use untorn::fs::SyncSite;
use untorn::proof::{self, Outcome, Plan, Store, notices};
use untorn::sim::Report;

use crate::args::{Prove, ProveChild};
use crate::cmd::Scratch;
use crate::exit::{Failure, Result, code};
use crate::input;
use crate::out::{Out, count, whole};

mod append_model;
mod child;
mod child_append;
mod child_chunked;
mod child_fold;
mod child_journal;
mod child_pool;
mod chunked_account;
mod content;
mod fold_model;
mod kept;
mod kill;
mod kill_append;
mod kill_chunked;
mod kill_file;
mod kill_fold;
mod kill_journal;
mod kill_log;
mod kill_pool;
mod kill_snapshot;
mod live;
mod memory;
mod pool_model;
mod report;
mod speed;

use kill::{Findings, Limits};
use live::Live;
use speed::Speed;

/// What a run does of each thing, by default and with `--quick`.
struct Effort {
    kills: u64,
    states: u64,
    /// All kills of all stores.
    kill_time: Duration,
    /// One turn of a throughput measurement; there are 14 for each store.
    turn: Duration,
}

const USUAL: Effort = Effort {
    kills: 200,
    states: 50_000,
    kill_time: Duration::from_secs(30),
    turn: Duration::from_millis(150),
};
const QUICK: Effort = Effort {
    kills: 30,
    states: 5_000,
    kill_time: Duration::from_secs(4),
    turn: Duration::from_millis(50),
};

/// States for a run that must fail, quick or not.
const CONTROL_STATES: u64 = 100_000;

/// Everything that is known of one store at the end.
#[derive(Debug)]
struct Proven {
    store: Store,
    kills: Findings,
    explored: Outcome,
    /// What the explorer found, in words.
    violation: Option<String>,
    speed: Speed,
    evidence: Option<PathBuf>,
}

impl Proven {
    fn failed(&self) -> bool {
        self.kills.failed() || self.violation.is_some()
    }

    fn violations(&self) -> u64 {
        self.kills.violations + u64::from(self.violation.is_some())
    }
}

/// A whole run.
#[derive(Debug)]
struct Run {
    seed: u64,
    dir: PathBuf,
    dir_fs: String,
    tmpfs: bool,
    without_sync: Option<SyncSite>,
    /// What to type to have the same again.
    command: String,
    elapsed: Duration,
    stores: Vec<Proven>,
}

impl Run {
    fn ok(&self) -> bool {
        !self.stores.iter().any(Proven::failed)
    }
}

pub(crate) fn child(args: &ProveChild) -> Result<u8> {
    child::run(args)
}

fn interrupted() -> Failure {
    Failure::plain(ErrorKind::Cancelled, "interrupted; nothing failed until then")
}

pub(crate) fn run(args: &Prove, out: &mut Out) -> Result<u8> {
    let without_sync = match args.without_sync.as_deref() {
        None => None,
        Some("list") => {
            for site in SyncSite::ALL {
                out.line(format_args!("{}", site.name()))?;
            }
            return Ok(code::OK);
        }
        Some(name) => Some(SyncSite::from_name(name).ok_or_else(|| {
            let what =
                format!("there is no sync by the name {name}; `--without-sync list` prints them");
            Failure::plain(ErrorKind::InvalidInput, what)
        })?),
    };
    fs::create_dir_all(&args.dir).map_err(|e| Failure::io("make", &args.dir, e))?;
    let probe = untorn::probe(&args.dir)?;
    input::watch_signals(|| ())?;
    let mut scratch = Scratch::new(&args.dir, "untorn-prove")?;
    let seed = args.seed.unwrap_or_else(some_seed);
    let started = Instant::now();
    let mut run = Run {
        seed,
        dir: scratch.path().to_path_buf(),
        dir_fs: probe.file_system,
        tmpfs: probe.tmpfs == Some(true),
        without_sync,
        command: command(args, seed),
        elapsed: Duration::ZERO,
        stores: Vec::new(),
    };
    out.note(format_args!("untorn prove: seed {seed}, in {} on {}", run.dir.display(), run.dir_fs));
    if run.tmpfs {
        out.note(format_args!(
            "note: this directory is in memory; its throughput says nothing about a disk"
        ));
    }
    run.stores = prove_all(args, &run, out)?;
    run.elapsed = started.elapsed();
    for proven in &mut run.stores {
        keep_evidence(proven, &run.command, &run.dir)?;
    }
    if !run.ok() {
        scratch.keep();
    }
    if let Some(path) = &args.report {
        untorn::replace(path, report::page(&run).as_bytes())?;
    }
    if out.json() {
        out.value(&Json::of(&run))?;
    } else {
        print(&run, args, out)?;
    }
    Ok(if run.ok() { code::OK } else { code::DAMAGE })
}

/// Different every time; printed, so that a run can be repeated.
fn some_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.as_nanos());
    // Short enough to be typed.
    u64::try_from(nanos % 1_000_000_007).unwrap_or(0)
}

fn command(args: &Prove, seed: u64) -> String {
    let mut words = vec!["untorn prove".to_owned()];
    if args.dir != Path::new(".") {
        words.push(args.dir.display().to_string());
    }
    words.extend(args.stores.iter().map(|name| format!("--store {name}")));
    for (name, value) in [
        ("kills", args.kills),
        ("states", args.states),
        ("seconds", args.seconds),
        ("seed", Some(seed)),
    ] {
        words.extend(value.map(|value| format!("--{name} {value}")));
    }
    if args.quick {
        words.push("--quick".to_owned());
    }
    words.extend(args.without_sync.as_ref().map(|site| format!("--without-sync {site}")));
    words.join(" ")
}

fn prove_all(args: &Prove, run: &Run, out: &Out) -> Result<Vec<Proven>> {
    let wanted = |store: &Store| {
        args.stores.is_empty() || args.stores.iter().any(|name| name == store.name())
    };
    let mut stores: Vec<Store> = Store::ALL.into_iter().filter(wanted).collect();
    let effort = if args.quick { QUICK } else { USUAL };
    let live = Live::new(out.json());
    let mut plan = Plan::new().seed(run.seed).states(args.states.unwrap_or(effort.states));
    if let Some(site) = run.without_sync {
        // Where it must be noticed; if that store is not wanted, everything of the one that is.
        let (owner, row) = notices(site);
        if stores.contains(&owner) {
            stores.retain(|store| *store == owner);
            plan = plan.line(row);
        }
        // It ends at the first violation; only a sync that nobody misses takes long.
        plan = plan.states(args.states.unwrap_or(CONTROL_STATES)).without_sync(site);
    }
    // The explorer needs the processor, the kills the disk: they go on side by side.
    let explorers: Vec<Exploring> = stores
        .iter()
        .map(|&store| Exploring::start(store, plan.clone(), &live))
        .collect::<Result<_>>()?;
    let mut killed = Vec::new();
    for &store in &stores {
        // A kill can never find a missing sync: the kernel's cache outlives the child.
        killed.push(if run.without_sync.is_some() {
            Findings::default()
        } else {
            let limits = Limits {
                kills: args.kills.unwrap_or(effort.kills),
                until: deadline(args, &effort, stores.len()),
            };
            kill_store(store, run, limits, &live)?
        });
    }
    let explored = finish(explorers, run.without_sync.is_some())?;
    let mut proven = Vec::new();
    for ((&store, kills), (explored, violation)) in stores.iter().zip(killed).zip(explored) {
        let speed = if run.without_sync.is_some() {
            Speed::default()
        } else {
            let bar = live.spinner(store.name(), "throughput");
            let speed = match store {
                Store::Log => speed::log(&run.dir, effort.turn)?,
                Store::File => speed::file(&run.dir, effort.turn)?,
                Store::Snapshot => speed::snapshot(&run.dir, effort.turn)?,
                Store::Journal => speed::journal(&run.dir, effort.turn)?,
                Store::Chunked => speed::chunked(&run.dir, effort.turn)?,
                Store::Append => speed::append(&run.dir, effort.turn)?,
                Store::Fold => speed::fold(&run.dir, effort.turn)?,
                Store::Pool => speed::pool(&run.dir, effort.turn)?,
                _ => return Err(unknown(store)),
            };
            bar.finish_and_clear();
            speed
        };
        proven.push(Proven { store, kills, explored, violation, speed, evidence: None });
    }
    live.clear();
    Ok(proven)
}

/// When the kills of the store that begins now must be over; a number that was asked for is not cut short by a default.
fn deadline(args: &Prove, effort: &Effort, stores: usize) -> Option<Instant> {
    let time = match (args.seconds, args.kills) {
        (Some(seconds), _) => Duration::from_secs(seconds),
        (None, Some(_)) => return None,
        (None, None) => effort.kill_time,
    };
    // Stores come one after the other.
    Some(Instant::now() + time / u32::try_from(stores).unwrap_or(1).max(1))
}

/// The library got a store that this command does not know yet: not proven is never shown as proven.
fn unknown(store: Store) -> Failure {
    let what = format!(
        "this command cannot kill the store {} yet; name others with --store",
        store.name()
    );
    Failure::plain(ErrorKind::Unsupported, what)
}

fn kill_store(store: Store, run: &Run, limits: Limits, live: &Live) -> Result<Findings> {
    let bar = live.bar(store.name(), "kills", limits.kills);
    let progress = |found: &Findings| {
        bar.set_position(found.kills);
        bar.set_message(format!("{} acknowledged", count(found.acknowledged)));
    };
    let found = match store {
        Store::Log => {
            let mut victim = kill_log::LogVictim::new(&run.dir, run.seed);
            kill::run(&mut victim, &run.dir, run.seed, limits, progress)
        }
        Store::File => {
            let mut victim = kill_file::FileVictim::new(&run.dir, run.seed)?;
            kill::run(&mut victim, &run.dir, run.seed, limits, progress)
        }
        Store::Snapshot => {
            let mut victim = kill_snapshot::SnapshotVictim::new(&run.dir, run.seed)?;
            kill::run(&mut victim, &run.dir, run.seed, limits, progress)
        }
        Store::Chunked => {
            let mut victim = kill_chunked::ChunkedVictim::new(&run.dir, run.seed)?;
            kill::run(&mut victim, &run.dir, run.seed, limits, progress)
        }
        Store::Append => {
            let mut victim = kill_append::AppendVictim::new(&run.dir, run.seed)?;
            kill::run(&mut victim, &run.dir, run.seed, limits, progress)
        }
        Store::Fold => {
            let mut victim = kill_fold::FoldVictim::new(&run.dir, run.seed);
            kill::run(&mut victim, &run.dir, run.seed, limits, progress)
        }
        Store::Pool => {
            let mut victim = kill_pool::PoolVictim::new(&run.dir, run.seed);
            kill::run(&mut victim, &run.dir, run.seed, limits, progress)
        }
        Store::Journal => {
            let mut victim = kill_journal::JournalVictim::new(&run.dir, run.seed);
            kill::run(&mut victim, &run.dir, run.seed, limits, progress)
        }
        _ => return Err(unknown(store)),
    }?;
    bar.finish();
    Ok(found)
}

type Explored = (Outcome, Option<String>);

/// An exploration on a thread of its own: it cannot be interrupted, but the process can end without it.
struct Exploring {
    done: Receiver<Explored>,
    thread: Option<JoinHandle<()>>,
}

impl Exploring {
    fn start(store: Store, plan: Plan, live: &Live) -> Result<Self> {
        let (send, done) = channel();
        let bar = live.bar(store.name(), "crash states", plan.states);
        let explore = move || {
            let shown = bar.clone();
            let explored =
                match proof::explore(store, &plan, move |states| shown.set_position(states)) {
                    Ok(outcome) => (outcome, None),
                    Err(violation) => (until(&violation.report), Some(violation.to_string())),
                };
            bar.finish();
            // If nobody waits any more, the run was interrupted.
            let _told = send.send(explored).is_ok();
        };
        let thread =
            thread::Builder::new().name(format!("explore-{}", store.name())).spawn(explore);
        let thread = thread
            .map_err(|e| Failure::plain(ErrorKind::Io, format!("cannot start a thread: {e}")))?;
        Ok(Self { done, thread: Some(thread) })
    }

    /// What it found, if it is over.
    fn look(&mut self) -> Option<Explored> {
        match self.done.try_recv() {
            Ok(explored) => Some(explored),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                // It panicked: recovery must not, whatever the disk holds.
                let panicked = self.thread.take().and_then(|thread| thread.join().err());
                let words = panicked.as_ref().and_then(|p| {
                    let text = p.downcast_ref::<String>().map(String::as_str);
                    text.or_else(|| p.downcast_ref::<&str>().copied())
                });
                let words = words.unwrap_or("without words");
                Some((Outcome::default(), Some(format!("a panic during the exploration: {words}"))))
            }
        }
    }
}

/// Waits for all explorations; of a negative control the first violation is enough.
fn finish(mut explorers: Vec<Exploring>, control: bool) -> Result<Vec<Explored>> {
    const LOOK: Duration = Duration::from_millis(20);
    let mut found: Vec<Option<Explored>> = explorers.iter().map(|_| None).collect();
    loop {
        for (found, explorer) in found.iter_mut().zip(&mut explorers) {
            if found.is_none() {
                *found = explorer.look();
            }
        }
        let caught = control && found.iter().flatten().any(|(_, violation)| violation.is_some());
        if caught || found.iter().all(Option::is_some) {
            return Ok(found.into_iter().map(Option::unwrap_or_default).collect());
        }
        if input::stopped() {
            return Err(interrupted());
        }
        thread::sleep(LOOK);
    }
}

/// What the part that failed had explored until then.
fn until(report: &Report) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.crash_states = report.distinct_states;
    outcome.nested_states = report.nested_states;
    outcome.faults = report.faults;
    outcome.crash_points = report.crash_points;
    outcome.sequences = report.sequences;
    outcome
}

/// Writes down what failed and how to see it again.
fn keep_evidence(proven: &mut Proven, command: &str, dir: &Path) -> Result<()> {
    if !proven.failed() {
        return Ok(());
    }
    let name = proven.store.name();
    let Findings { acknowledged, kills, lost, torn, violations, texts, .. } = &proven.kills;
    let mut text = format!(
        "untorn prove found a failure of the store {name}.\n\nTo see it again:\n    {command}\n\n\
         kills: {kills}, acknowledged {acknowledged}, lost {lost}, torn {torn}, other violations {violations}\n"
    );
    for line in texts {
        text.push_str("    ");
        text.push_str(line);
        text.push('\n');
    }
    if *kills > 0 {
        text.push_str("What the last kill left is in ");
        text.push_str(&dir.join(name).display().to_string());
        text.push('\n');
    }
    if let Some(violation) = &proven.violation {
        text.push_str("\nthe explorer on the simulated disk:\n");
        text.push_str(violation);
        text.push('\n');
    }
    let path = dir.join(format!("evidence-{name}.txt"));
    untorn::replace(&path, text.as_bytes())?;
    proven.evidence = Some(path);
    Ok(())
}

/// The object of `--json`, schema `untorn.prove.v1`.
#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    seed: u64,
    dir_fs: &'a str,
    stores: Vec<JsonStore<'a>>,
    ok: bool,
}

#[derive(Serialize)]
struct JsonStore<'a> {
    store: &'static str,
    acknowledged: u64,
    kills: u64,
    lost: u64,
    torn: u64,
    crash_states: u64,
    faults: u64,
    violations: u64,
    synced_per_s: u64,
    ratio_to_raw: f64,
    /// What a log alone does, for a store that is made of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_per_s: Option<u64>,
    /// Only if something failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a Path>,
}

impl<'a> Json<'a> {
    fn of(run: &'a Run) -> Self {
        let store = |proven: &'a Proven| JsonStore {
            store: proven.store.name(),
            acknowledged: proven.kills.acknowledged,
            kills: proven.kills.kills,
            lost: proven.kills.lost,
            torn: proven.kills.torn,
            crash_states: proven.explored.crash_states,
            faults: proven.explored.faults,
            violations: proven.violations(),
            synced_per_s: whole(proven.speed.synced),
            ratio_to_raw: (proven.speed.ratio() * 1000.0).round() / 1000.0,
            log_per_s: proven.speed.log.map(whole),
            evidence: proven.evidence.as_deref(),
        };
        let stores = run.stores.iter().map(store).collect();
        Self {
            schema: "untorn.prove.v1",
            seed: run.seed,
            dir_fs: &run.dir_fs,
            stores,
            ok: run.ok(),
        }
    }
}

fn print(run: &Run, args: &Prove, out: &mut Out) -> Result<()> {
    out.line(format_args!(
        "{:9}{:>13}{:>8}{:>6}{:>6}{:>14}{:>9}{:>12}{:>11}{:>8}",
        "store",
        "acknowledged",
        "kills",
        "lost",
        "torn",
        "crash states",
        "faults",
        "violations",
        "synced/s",
        "of raw"
    ))?;
    for proven in &run.stores {
        let Findings { acknowledged, kills, lost, torn, .. } = &proven.kills;
        let explored = &proven.explored;
        let (speed, ratio) = if proven.speed.raw > 0.0 {
            (count(whole(proven.speed.synced)), format!("{:.2}", proven.speed.ratio()))
        } else {
            ("-".to_owned(), "-".to_owned())
        };
        out.line(format_args!(
            "{:9}{:>13}{:>8}{:>6}{:>6}{:>14}{:>9}{:>12}{:>11}{:>8}",
            proven.store.name(),
            count(*acknowledged),
            count(*kills),
            lost,
            torn,
            count(explored.crash_states),
            count(explored.faults),
            proven.violations(),
            speed,
            ratio
        ))?;
    }
    for proven in &run.stores {
        if let Some(log) = proven.speed.log {
            let (name, log) = (proven.store.name(), count(whole(log)));
            out.line(format_args!("{name}: updates of 4 threads; those of a log alone: {log}/s"))?;
        }
    }
    let seconds = run.elapsed.as_secs_f64();
    if run.ok() {
        let good = out.paint(true, "ok");
        out.line(format_args!("{good}: nothing was lost or torn, in {seconds:.1} s"))?;
        if let Some(site) = run.without_sync {
            let bad = out.paint(false, "but");
            out.line(format_args!(
                "{bad} the sync {} was left out, and nobody noticed",
                site.name()
            ))?;
        }
    } else {
        let bad = out.paint(false, "FAILED");
        out.line(format_args!("{bad} after {seconds:.1} s; to see it again: {}", run.command))?;
        for path in run.stores.iter().filter_map(|proven| proven.evidence.as_ref()) {
            out.line(format_args!("evidence: {}", path.display()))?;
        }
    }
    if let Some(path) = &args.report {
        out.line(format_args!("report: {}", path.display()))?;
    }
    Ok(())
}
