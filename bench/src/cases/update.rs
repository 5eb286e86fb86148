//! `Journal::update` of a map with a million keys by 16 threads, beside the bare log's blocking commits by as many; and how
//! fast one thread reads meanwhile.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};

use untorn::journal::{Checkpoint, Journal, JournalOptions};

use crate::Result;
use crate::args::Args;
use crate::contestants::{Actionqueue, Contestant, Untorn};
use crate::machines::{Shards, event, scattered};
use crate::measure::{Turn, alone, beside, interleave, together};
use crate::raw::pattern;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const KEYS: u64 = 1_000_000;
const THREADS: usize = 16;
const SIZE: usize = 128;
const TURNS: usize = 8;
/// Looks between two looks at the clock.
const CHUNK: u64 = 100;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let keys = args.number(KEYS);
    let options = JournalOptions::new().checkpoint(Checkpoint::Manual);
    let (journal, _) = Journal::open(scratch.path("journal"), Shards::with(keys), options)?;
    let log = Untorn::open(&scratch.path("untorn"))?;
    let rival = Actionqueue::open(scratch.path("actionqueue"))?;
    let record = pattern(SIZE);
    let next = AtomicU64::new(0);
    let key = || scattered(next.fetch_add(1, Ordering::Relaxed)) % keys;
    let update = || {
        let key = key();
        let decided = journal.update(|shards| {
            let value = shards.get(key).unwrap_or(0);
            Ok::<_, Infallible>((event(key, SIZE - 1), value))
        })?;
        match decided {
            Ok(_value) => Ok(()),
            Err(never) => match never {},
        }
    };
    let read = || Ok(journal.read(|shards| shards.get(key()))?);
    let peek = || Ok(journal.peek(|shards, _| shards.get(key())));
    let (mut updates, mut beside_rival) = (Pair::default(), Pair::default());
    let (mut reads, mut peeks) = (Pair::default(), Pair::default());
    let mut shared = Pair::default();
    let time = args.time(100);
    for _ in 0..args.rounds {
        let before = (journal.stats().log, log.0.stats());
        let mut turns: Vec<Turn<'_>> = vec![
            Box::new(|time| together(THREADS, time, &|| log.commit(&record))),
            Box::new(|time| together(THREADS, time, &update)),
            Box::new(|time| together(THREADS, time, &|| rival.commit(&record))),
        ];
        let laps = interleave(TURNS, time, &mut turns)?;
        drop(turns);
        updates.push(laps[1].rate(), laps[0].rate());
        beside_rival.push(laps[1].rate(), laps[2].rate());
        let after = (journal.stats().log, log.0.stats());
        let per_sync = |before: untorn::log::LogStats, after: untorn::log::LogStats| {
            (after.appends - before.appends) as f64 / (after.syncs - before.syncs) as f64
        };
        shared.push(per_sync(before.0, after.0), per_sync(before.1, after.1));
        let many = |look: &dyn Fn() -> Result<Option<u64>>| {
            alone(time, CHUNK, || (0..CHUNK).try_for_each(|_| look().map(drop)))
        };
        let few = |look: &dyn Fn() -> Result<Option<u64>>| alone(time, 1, look);
        let idle = many(&read)?.rate();
        reads.push(beside(THREADS, &update, || few(&read))?.rate(), idle);
        let idle = many(&peek)?.rate();
        peeks.push(beside(THREADS, &update, || many(&peek))?.rate(), idle);
    }
    let what = "16 threads: updates / the bare log's commits";
    report.row("update", what, "updates/s", &updates, Target::AtLeast(0.85));
    let what = "16 threads: updates / actionqueue";
    report.row("update", what, "updates/s", &beside_rival, Target::None);
    let what = "16 threads: per sync / the bare log's";
    report.row("update", what, "records", &shared, Target::None);
    let what = "read beside 16 updating threads / idle";
    report.row("update", what, "reads/s", &reads, Target::AtLeast(0.8));
    let what = "peek beside 16 updating threads / idle";
    report.row("update", what, "peeks/s", &peeks, Target::None);
    Ok(())
}
