//! Opening a journal with a large snapshot and a large log, with 1000 events above the snapshot: beside loading the snapshot
//! alone and zeroing two segments; and how much of the log is read.

use std::path::Path;
use std::sync::Arc;

use untorn::Durability;
use untorn::codec::Raw;
use untorn::fs::OsFs;
use untorn::journal::{Checkpoint, Journal, JournalOptions, RecoveryReport};
use untorn::log::LogOptions;
use untorn::sim::{CallKind, Meter};
use untorn::snapshot::{SnapshotFsLoader, SnapshotLoader, SnapshotOptions};

use crate::Result;
use crate::args::Args;
use crate::machines::{Blob, event};
use crate::measure::wall;
use crate::raw::{pattern, zeroing};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const BATCH: u64 = 64;
const SIZE: usize = 1024;
const ABOVE: u64 = 1000;
const SEGMENT: u64 = 16 << 20;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let dir = scratch.path("journal");
    let initial = || Blob(pattern(args.mib << 20));
    build(&dir, initial(), args.log_mib)?;
    let (mut time, mut plain, mut read) = (Pair::default(), Pair::default(), Pair::default());
    for _ in 0..args.rounds {
        let zeros = zeroing(scratch.path("zeros"), 2 * SEGMENT)?.as_secs_f64() * 1e3;
        let meter = Meter::new(Arc::new(OsFs::new()));
        let (journal, opened) =
            Journal::open(&dir, initial(), options().fs(Arc::new(meter.clone())))?;
        let counts = meter.counts();
        if counts.of(CallKind::Map) > 0 {
            return Err("something was read by a map, which nobody counts".into());
        }
        let (path, size) = snapshot(&opened)?;
        let of_log = counts.bytes_read.saturating_sub(size);
        read.push(of_log as f64 / f64::from(1 << 20), 4.0);
        // Not closed in order, here and below: the tail is looked at, and rewritten if nothing vouches for it.
        journal.commit(event(0, SIZE))?;
        drop(journal);
        let (load, loaded) = wall(|| {
            let options = SnapshotOptions::<Vec<u8>, Raw>::with_codec(Raw);
            Ok(SnapshotFsLoader::with(&path, options).load()?)
        })?;
        drop(loaded.ok_or("there is no snapshot")?);
        let state = initial();
        let (took, (journal, opened)) = wall(|| Ok(Journal::open(&dir, state, options())?))?;
        if opened.replayed < ABOVE || opened.replayed > ABOVE + 4 * args.rounds as u64 {
            return Err(format!("{} events were replayed", opened.replayed).into());
        }
        time.push(took, load + 15.0 + zeros);
        plain.push(took, load);
        journal.commit(event(0, SIZE))?;
        drop(journal);
    }
    let (mib, log) = (args.mib, args.log_mib);
    let what = format!("{mib} MiB and {log} MiB / load + 15 ms + zeros");
    report.row("reopen", &what, "ms", &time, Target::AtMost(1.0));
    report.row("reopen", "the same / loading the snapshot", "ms", &plain, Target::None);
    report.row("reopen", "MiB read of the log / 4 MiB", "MiB", &read, Target::AtMost(1.0));
    Ok(())
}

fn options() -> JournalOptions {
    JournalOptions::new().checkpoint(Checkpoint::Manual)
}

fn snapshot(opened: &RecoveryReport) -> Result<(std::path::PathBuf, u64)> {
    let info = opened.snapshot.as_ref().ok_or("no snapshot was taken")?;
    Ok((info.path.clone(), info.stored_bytes))
}

/// The first snapshot keeps the whole log from being cut; the second covers it.
fn build(dir: &Path, initial: Blob, log_mib: usize) -> Result<()> {
    let log = LogOptions::new().durability(Durability::Buffered);
    let (journal, _) = Journal::open(dir, initial, options().log(log))?;
    journal.commit(event(0, SIZE))?;
    journal.checkpoint()?;
    for _ in 0..(log_mib << 20) as u64 / (BATCH * SIZE as u64) {
        let ticket = journal.submit_batch((0..BATCH).map(|n| event(n, SIZE)).collect())?;
        journal.wait(&ticket)?;
    }
    journal.checkpoint()?;
    for number in 0..ABOVE {
        journal.commit(event(number, SIZE))?;
    }
    journal.sync()?;
    Ok(())
}
