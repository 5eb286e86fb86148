//! Timed laps of work, by one thread or many, and what is made of them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// What was done in some time.
#[derive(Debug, Default)]
pub struct Lap {
    pub ops: u64,
    pub time: Duration,
    /// Of each commit, in seconds.
    pub latencies: Vec<f64>,
}

impl Lap {
    pub fn rate(&self) -> f64 {
        self.ops as f64 / self.time.as_secs_f64()
    }

    /// Adds a later lap to this one.
    pub fn add(&mut self, lap: Self) {
        self.ops += lap.ops;
        self.time += lap.time;
        self.latencies.extend(lap.latencies);
    }
}

/// One thread, for so long. Each call of `work` does `per_call` operations.
pub fn alone<T>(time: Duration, per_call: u64, mut work: impl FnMut() -> Result<T>) -> Result<Lap> {
    let mut lap = Lap::default();
    let started = Instant::now();
    let mut before = started;
    loop {
        work()?;
        let now = Instant::now();
        lap.ops += per_call;
        lap.latencies.push((now - before).as_secs_f64());
        before = now;
        if now - started >= time {
            lap.time = now - started;
            return Ok(lap);
        }
    }
}

/// Many threads at once, for so long: from when all are ready to when the last has finished.
pub fn together(
    threads: usize,
    time: Duration,
    work: &(dyn Fn() -> Result<()> + Sync),
) -> Result<Lap> {
    let barrier = Barrier::new(threads + 1);
    let stop = AtomicBool::new(false);
    let one = || -> Result<Vec<f64>> {
        let mut latencies = Vec::with_capacity(4096);
        barrier.wait();
        while !stop.load(Ordering::Relaxed) {
            let before = Instant::now();
            work()?;
            latencies.push(before.elapsed().as_secs_f64());
        }
        Ok(latencies)
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        barrier.wait();
        let started = Instant::now();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let mut lap = Lap::default();
        for handle in handles {
            lap.latencies.extend(handle.join().map_err(|_| "a writer panicked")??);
        }
        lap.time = started.elapsed();
        lap.ops = lap.latencies.len() as u64;
        Ok(lap)
    })
}

/// Does one thing in this thread while others do another one, from when they are ready on.
pub fn beside<T>(
    threads: usize,
    others: &(dyn Fn() -> Result<()> + Sync),
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let barrier = Barrier::new(threads + 1);
    let stop = AtomicBool::new(false);
    let one = || -> Result<()> {
        barrier.wait();
        while !stop.load(Ordering::Relaxed) {
            others()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        barrier.wait();
        let done = work();
        stop.store(true, Ordering::Relaxed);
        for handle in handles {
            handle.join().map_err(|_| "one of the others panicked")??;
        }
        done
    })
}

/// Each twice, in the order a, b, b, a, so that neither finds more often than the other what the one before it left: a memory in
/// pieces, a disk that is busy. The means of what they return.
pub fn in_turn<const A: usize, const B: usize>(
    mut a: impl FnMut() -> Result<[f64; A]>,
    mut b: impl FnMut() -> Result<[f64; B]>,
) -> Result<([f64; A], [f64; B])> {
    let (a1, b1, b2, a2) = (a()?, b()?, b()?, a()?);
    let a = std::array::from_fn(|n| (a1[n] + a2[n]) / 2.0);
    let b = std::array::from_fn(|n| (b1[n] + b2[n]) / 2.0);
    Ok((a, b))
}

/// Milliseconds on the clock on the wall.
pub fn wall<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let started = Instant::now();
    let value = work()?;
    Ok((started.elapsed().as_secs_f64() * 1e3, value))
}

/// Milliseconds of processor time of this thread. Where nothing waits for the disk that is the time it takes, and no other
/// process disturbs it.
pub fn cpu<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let started = cpu_millis();
    let value = work()?;
    Ok((cpu_millis() - started, value))
}

fn cpu_millis() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

/// One contestant's turn: works for so long.
pub type Turn<'a> = Box<dyn FnMut(Duration) -> Result<Lap> + 'a>;

/// Short turns, one contestant after the other, so that all see the same disk; each one's sum.
pub fn interleave(turns: usize, time: Duration, contestants: &mut [Turn<'_>]) -> Result<Vec<Lap>> {
    let mut laps: Vec<Lap> = contestants.iter().map(|_| Lap::default()).collect();
    for _ in 0..turns {
        for (lap, work) in laps.iter_mut().zip(contestants.iter_mut()) {
            lap.add(work(time)?);
        }
    }
    Ok(laps)
}

/// The value that a share of the others do not exceed.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
