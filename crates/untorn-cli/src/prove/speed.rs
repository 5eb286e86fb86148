//! Throughput beside the raw limit: the same bytes by the system calls alone, in turns, so that a busy disk is unfair to both.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use untorn::codec::Raw;
use untorn::log::{Log, LogOptions};
use untorn::snapshot::{SnapshotFsWriter, SnapshotOptions, SnapshotWriter as _};

use crate::cmd::zero_fill;
use crate::exit::{Failure, Result};
use crate::input;
use crate::out::real;

/// Medians over the rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speed {
    pub(super) synced_per_s: f64,
    pub(super) raw_per_s: f64,
}

impl Speed {
    pub(super) fn ratio(&self) -> f64 {
        if self.raw_per_s > 0.0 { self.synced_per_s / self.raw_per_s } else { 0.0 }
    }
}

const ROUNDS: usize = 7;
const RECORD: usize = 128;
/// Header of a frame, prefix of a record, the record.
const FRAME: usize = 48 + 4 + RECORD + 4;
const FILE: usize = 4096;

/// One writer that waits for each record.
pub(super) fn log(work: &Path, round: Duration) -> Result<Speed> {
    let dir = work.join("speed-log");
    let (log, _report) = Log::open(&dir, LogOptions::new())?;
    let raw_path = work.join("speed-raw");
    let fail = |e| Failure::io("write", &raw_path, e);
    let raw = OpenOptions::new().write(true).create_new(true).open(&raw_path).map_err(fail)?;
    let room = 4_u64 << 20;
    zero_fill(&raw, room).map_err(fail)?;
    let frame = [0x5a; FRAME];
    let mut at = 0_u64;
    let speed = in_turns(
        round,
        || Ok(log.append_synced(&[0x5a; RECORD]).map(|_seq| ())?),
        || {
            raw.write_all_at(&frame, at).and_then(|()| raw.sync_data()).map_err(fail)?;
            at = if at + 2 * FRAME as u64 > room { 0 } else { at + FRAME as u64 };
            Ok(())
        },
    )?;
    log.close()?;
    Ok(speed)
}

/// One writer that replaces a file of 4 KiB.
pub(super) fn file(work: &Path, round: Duration) -> Result<Speed> {
    let bytes = [0x5a; FILE];
    replacing(&work.join("speed-file"), round, |path| untorn::replace(path, &bytes))
}

/// One writer that replaces a snapshot of 4 KiB.
pub(super) fn snapshot(work: &Path, round: Duration) -> Result<Speed> {
    let bytes = vec![0x5a; FILE];
    replacing(&work.join("speed-snapshot"), round, |path| {
        let mut writer = SnapshotFsWriter::with(path, SnapshotOptions::with_codec(Raw))?;
        writer.write(&bytes)?;
        writer.close()
    })
}

fn replacing(
    dir: &Path,
    round: Duration,
    replace: impl Fn(&Path) -> Result<(), untorn::Error>,
) -> Result<Speed> {
    let fail = |e| Failure::io("write in", dir, e);
    fs::create_dir(dir).map_err(fail)?;
    let (ours, raw) = (dir.join("ours"), dir.join("raw"));
    let begun = dir.join("raw.begun");
    let bytes = [0x5a; FILE];
    let replace_raw = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&begun)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&begun, &raw)?;
        File::open(dir)?.sync_all()
    };
    in_turns(round, || Ok(replace(&ours)?), || replace_raw().map_err(fail))
}

fn in_turns(
    round: Duration,
    mut ours: impl FnMut() -> Result<()>,
    mut raw: impl FnMut() -> Result<()>,
) -> Result<Speed> {
    let (mut our_rates, mut raw_rates) = (Vec::new(), Vec::new());
    for turn in 0..ROUNDS {
        // Who begins changes, so that neither always follows the other's dirty pages.
        if turn % 2 == 0 {
            our_rates.push(rate(round, &mut ours)?);
            raw_rates.push(rate(round, &mut raw)?);
        } else {
            raw_rates.push(rate(round, &mut raw)?);
            our_rates.push(rate(round, &mut ours)?);
        }
    }
    Ok(Speed { synced_per_s: median(our_rates), raw_per_s: median(raw_rates) })
}

fn rate(time: Duration, one: &mut impl FnMut() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    let mut done = 0_u64;
    while done == 0 || started.elapsed() < time {
        if input::stopped() {
            return Err(super::interrupted());
        }
        one()?;
        done += 1;
    }
    Ok(real(done) / started.elapsed().as_secs_f64())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}
