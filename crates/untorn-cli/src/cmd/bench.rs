//! `bench disk`: how long a sync takes here, and how many waiting writers can share one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use untorn::ErrorKind;
use untorn::log::{Log, LogOptions};

use crate::exit::{Failure, Result, code};
use crate::input;
use crate::out::{Out, count, real, whole};

const BLOCK: usize = 4096;
/// Blocks of the file that is filled with zeros ahead.
const BLOCKS: u64 = 2048;
const THREADS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const RECORD: usize = 128;

/// A fresh directory that goes away again.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes `name` in `parent`, and `parent` if there is none; the name gets a suffix that is new.
    pub(crate) fn new(parent: &Path, name: &str) -> Result<Self> {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |now| now.subsec_nanos());
        let path = parent.join(format!("{name}-{}-{nanos:08x}", std::process::id()));
        fs::create_dir(&path).map_err(|e| Failure::io("make a directory in", parent, e))?;
        Ok(Self { path, keep: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It stays when this is dropped.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is seen by the person who listed the directory.
            let _removed = fs::remove_dir_all(&self.path).is_ok();
        }
    }
}

#[derive(Serialize)]
struct Latency {
    what: &'static str,
    syncs: u64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    max_us: u64,
}

#[derive(Serialize)]
struct Point {
    threads: usize,
    records_per_s: u64,
    records_per_sync: f64,
}

#[derive(Serialize)]
struct Bench {
    schema: &'static str,
    dir_fs: String,
    latencies: Vec<Latency>,
    group_commit: Vec<Point>,
}

pub(crate) fn disk(dir: &Path, seconds: u64, out: &mut Out) -> Result<u8> {
    let dir_fs = untorn::probe(dir)?.file_system;
    input::watch_signals(|| ())?;
    let scratch = Scratch::new(dir, ".untorn-bench")?;
    let total = Duration::from_secs(seconds);
    out.note(format_args!("measuring on {dir_fs} for about {seconds} s"));
    let mut bench = Bench {
        schema: "untorn.bench.disk.v1",
        dir_fs,
        latencies: Vec::new(),
        group_commit: Vec::new(),
    };
    for (what, ahead) in [("into a zero-filled file", true), ("into a growing file", false)] {
        let path = scratch.path().join("block");
        let times = latency(&path, ahead, total / 5);
        bench.latencies.push(summary(what, &times.map_err(|e| Failure::io("measure", &path, e))?));
        stop_if_told()?;
    }
    for threads in THREADS {
        bench.group_commit.push(group_commit(scratch.path(), threads, total * 6 / 70)?);
        stop_if_told()?;
    }
    drop(scratch);
    if out.json() {
        out.value(&bench)?;
    } else {
        print(&bench, out)?;
    }
    Ok(code::OK)
}

fn stop_if_told() -> Result<()> {
    if input::stopped() {
        return Err(Failure::plain(
            ErrorKind::Cancelled,
            "interrupted; what was measured is removed",
        ));
    }
    Ok(())
}

/// Microseconds of each write and sync, sorted.
fn latency(path: &Path, ahead: bool, time: Duration) -> io::Result<Vec<u64>> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    if ahead {
        zero_fill(&file, BLOCKS * BLOCK as u64)?;
    }
    let block = [0x5a; BLOCK];
    let mut times = Vec::new();
    let started = Instant::now();
    let mut at = 0_u64;
    while started.elapsed() < time && !input::stopped() {
        let one = Instant::now();
        file.write_all_at(&block, at * BLOCK as u64)?;
        file.sync_data()?;
        times.push(u64::try_from(one.elapsed().as_micros()).unwrap_or(u64::MAX));
        at = if ahead { (at + 1) % BLOCKS } else { at + 1 };
    }
    times.sort_unstable();
    Ok(times)
}

/// Writes zeros and syncs them, so that a later write changes no size and no extent.
pub(crate) fn zero_fill(file: &File, len: u64) -> io::Result<()> {
    let zeros = vec![0; 256 << 10];
    let mut at = 0_u64;
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(zeros.len()).min(zeros.len());
        file.write_all_at(zeros.get(..part).unwrap_or_default(), at)?;
        at += part as u64;
    }
    file.sync_all()
}

fn summary(what: &'static str, times: &[u64]) -> Latency {
    let at = |per_mille: usize| {
        let index = (times.len() * per_mille / 1000).min(times.len().saturating_sub(1));
        times.get(index).copied().unwrap_or(0)
    };
    let (p50_us, p90_us, p99_us, max_us) = (at(500), at(900), at(990), at(1000));
    Latency { what, syncs: times.len() as u64, p50_us, p90_us, p99_us, max_us }
}

fn group_commit(dir: &Path, threads: usize, time: Duration) -> Result<Point> {
    let path = dir.join(format!("log-{threads}"));
    let (log, _report) = Log::open(&path, LogOptions::new())?;
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let appended: Result<(), untorn::Error> = thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|_| {
                let (log, over) = (&log, &over);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        log.append_synced(&[0x5a; RECORD])?;
                    }
                    Ok(())
                })
            })
            .collect();
        while started.elapsed() < time && !input::stopped() {
            thread::sleep(Duration::from_millis(5));
        }
        over.store(true, Ordering::Relaxed);
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or(Ok(())))
    });
    appended?;
    let elapsed = started.elapsed().as_secs_f64();
    let stats = log.stats();
    log.close()?;
    fs::remove_dir_all(&path).map_err(|e| Failure::io("remove", &path, e))?;
    Ok(Point {
        threads,
        records_per_s: whole(real(stats.appends) / elapsed),
        records_per_sync: real(stats.appends) / real(stats.syncs.max(1)),
    })
}

fn print(bench: &Bench, out: &mut Out) -> Result<()> {
    out.line(format_args!("4 KiB written and synced, microseconds"))?;
    out.line(format_args!(
        "{:26}{:>8}{:>8}{:>8}{:>8}{:>9}",
        "", "p50", "p90", "p99", "max", "syncs"
    ))?;
    for Latency { what, syncs, p50_us, p90_us, p99_us, max_us } in &bench.latencies {
        let syncs = count(*syncs);
        out.line(format_args!("{what:26}{p50_us:>8}{p90_us:>8}{p99_us:>8}{max_us:>8}{syncs:>9}"))?;
    }
    out.line(format_args!("\n{RECORD} byte records, each waited for by its thread"))?;
    out.line(format_args!("{:>8}{:>14}{:>18}", "threads", "records/s", "records per sync"))?;
    for Point { threads, records_per_s, records_per_sync } in &bench.group_commit {
        let rate = count(*records_per_s);
        out.line(format_args!("{threads:>8}{rate:>14}{records_per_sync:>18.1}"))?;
    }
    Ok(())
}
