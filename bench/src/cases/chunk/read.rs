//! Random reads from memory, of a committed file and of an active one, beside a plain copy out of a map of the same file.

use std::cell::RefCell;
use std::fs::File;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kithara_platform::CancelToken;
use memmap2::Mmap;
use untorn::chunked::{ChunkedOptions, ResourceExt};

use super::open::part_of;
use crate::Result;
use crate::args::Args;
use crate::contestants::fill::{Job, identity, open_kithara, open_untorn};
use crate::machines::scattered;
use crate::measure::{Lap, Turn, alone, interleave, together};
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const LEN: u64 = 64 << 20;
const TURNS: usize = 8;
/// Reads between two looks at the clock.
const BATCH: u64 = 64;
const PAGE: u64 = 4 << 10;
/// Of an active file this much at its end is missing.
const MISSING: u64 = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::default();
}

/// Fills the buffer with the bytes from an offset on.
type Read<'a> = &'a (dyn Fn(u64, &mut [u8]) -> Result<usize> + Sync);

pub fn committed(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let job = Job::in_order(LEN, 64 << 10);
    let (ours, theirs) = (scratch.path("untorn"), scratch.path("kithara"));
    let file = open_untorn(&ours, ChunkedOptions::new().identity(identity(LEN)))?;
    job.each(|offset, piece| Ok(file.write_at(offset, piece)?))?;
    file.commit(None)?;
    let old = open_kithara(&theirs, Some(LEN), CancelToken::never())?;
    job.each(|offset, piece| Ok(old.write_at(offset, piece)?))?;
    old.commit(Some(LEN))?;
    // SAFETY: nobody writes to the file.
    let map = unsafe { Mmap::map(&File::open(&ours)?)? };
    let readers = Readers {
        map: &|offset, buf| copy(&map, offset, buf),
        ours: &|offset, buf| Ok(file.read_at(offset, buf)?),
        theirs: &|offset, buf| Ok(old.read_at(offset, buf)?),
    };
    let target = Target::AtMost(1.10);
    measure("chunk-read", &readers, LEN, target, args, report).map(drop)
}

pub fn active(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let job = Job::in_order(LEN - MISSING, 64 << 10);
    let (ours, theirs) = (scratch.path("untorn"), scratch.path("kithara"));
    let file = open_untorn(&ours, ChunkedOptions::new().identity(identity(LEN)))?;
    let old = open_kithara(&theirs, Some(LEN), CancelToken::never())?;
    job.each(|offset, piece| {
        file.write_at(offset, piece)?;
        Ok(old.write_at(offset, piece)?)
    })?;
    // The very pages that ours are copied from: how a file was written decides how it lies in memory.
    let data = part_of(&ours).join("data");
    // SAFETY: nobody writes to the file any more.
    let map = unsafe { Mmap::map(&File::open(data)?)? };
    let readers = Readers {
        map: &|offset, buf| copy(&map, offset, buf),
        ours: &|offset, buf| Ok(file.read_at(offset, buf)?),
        theirs: &|offset, buf| Ok(old.read_at(offset, buf)?),
    };
    let target = Target::AtMost(1.20);
    let len = LEN - MISSING;
    for (size, scaling) in measure("chunk-active", &readers, len, target, args, report)? {
        let what = format!("{} KiB: 2 threads / 1", size >> 10);
        report.row("chunk-active", &what, "reads/s", &scaling.ours, Target::AtLeast(1.8));
        let what = format!("{} KiB: 2 threads / 1, plain map", size >> 10);
        report.row("chunk-active", &what, "reads/s", &scaling.map, Target::None);
    }
    Ok(())
}

struct Readers<'a> {
    map: Read<'a>,
    ours: Read<'a>,
    theirs: Read<'a>,
}

#[derive(Default)]
struct Scaling {
    map: Pair,
    ours: Pair,
}

fn measure(
    case: &str,
    readers: &Readers<'_>,
    len: u64,
    target: Target,
    args: &Args,
    report: &mut Report,
) -> Result<Vec<(usize, Scaling)>> {
    let all = [readers.map, readers.ours, readers.theirs];
    let mut scalings = Vec::new();
    for size in [4 << 10, 64 << 10] {
        // Every page is in memory, and in the maps.
        for read in all {
            (0..len / PAGE).try_for_each(|page| read(page * PAGE, &mut [0; 1]).map(drop))?;
        }
        let mut scaling = Scaling::default();
        let mut pairs = [(); 2].map(|()| (Pair::default(), Pair::default()));
        for _ in 0..args.rounds {
            let mut rates = Vec::new();
            for (threads, (limit, rival)) in [1, 2].into_iter().zip(&mut pairs) {
                let turns = all.map(|read| turn(threads, read, size, len));
                let laps = interleave(TURNS, args.time(40), &mut Vec::from(turns))?;
                let ns = |lap: &Lap| 1e9 / lap.rate();
                limit.push(ns(&laps[1]), ns(&laps[0]));
                rival.push(ns(&laps[1]), ns(&laps[2]));
                rates.push([laps[0].rate(), laps[1].rate()]);
            }
            scaling.map.push(rates[1][0], rates[0][0]);
            scaling.ours.push(rates[1][1], rates[0][1]);
        }
        for (threads, (limit, rival)) in [1, 2].into_iter().zip(&pairs) {
            let name = |beside: &str| {
                let many = if threads == 1 { "thread" } else { "threads" };
                format!("{} KiB, {threads} {many} / {beside}", size >> 10)
            };
            report.row(case, &name("copy out of a map"), "ns", limit, target);
            report.row(case, &name("kithara"), "ns", rival, Target::None);
        }
        scalings.push((size, scaling));
    }
    Ok(scalings)
}

fn turn(threads: usize, read: Read<'_>, size: usize, len: u64) -> Turn<'_> {
    Box::new(move |time| many(threads, time, read, size, len))
}

fn many(threads: usize, time: Duration, read: Read<'_>, size: usize, len: u64) -> Result<Lap> {
    let next = AtomicU64::new(0);
    let pages = (len - size as u64) / PAGE + 1;
    let batch = || {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(size, 0);
            for n in first..first + BATCH {
                if read(scattered(n) % pages * PAGE, buffer)? != size {
                    return Err("a read was short".into());
                }
                black_box(&mut *buffer);
            }
            Ok(())
        })
    };
    if threads == 1 {
        return alone(time, BATCH, batch);
    }
    let mut lap = together(threads, time, &batch)?;
    lap.ops *= BATCH;
    Ok(lap)
}

fn copy(map: &[u8], offset: u64, buf: &mut [u8]) -> Result<usize> {
    let from = usize::try_from(offset)?;
    buf.copy_from_slice(&map[from..from + buf.len()]);
    Ok(buf.len())
}
