//! Fillers beside each other: one after the other, in another order each round.

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;

use rustix::fs::syncfs;

use crate::Result;
use crate::contestants::fill::{Filler, Job};
use crate::measure::wall;
use crate::report::Pair;
use crate::scratch::Scratch;

/// Milliseconds of each filler, by round.
#[derive(Default)]
pub struct Times(Vec<Vec<f64>>);

impl Times {
    /// Adds rounds.
    pub fn append(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// The one filler beside the other.
    pub fn pair(&self, value: usize, beside: usize) -> Pair {
        let mut pair = Pair::default();
        for round in &self.0 {
            pair.push(round[value], round[beside]);
        }
        pair
    }

    /// As [`pair`](Self::pair), beside a filler of another job, times `factor`.
    pub fn beside(&self, value: usize, other: &Self, beside: usize, factor: f64) -> Pair {
        let mut pair = Pair::default();
        for (round, other) in self.0.iter().zip(&other.0) {
            pair.push(round[value], other[beside] * factor);
        }
        pair
    }
}

/// Every filler does the job once a round. Who begins changes with each round.
pub fn times(
    fillers: &[&dyn Filler],
    job: &Job,
    rounds: Range<usize>,
    scratch: &Scratch,
) -> Result<Times> {
    let mut all = Vec::new();
    for round in rounds {
        let mut times = vec![0.0; fillers.len()];
        for turn in 0..fillers.len() {
            // Every other time backwards, so that nobody always comes after the same one.
            let turn = if round % 2 == 0 { turn } else { fillers.len() - 1 - turn };
            let which = (turn + round) % fillers.len();
            times[which] = once(fillers[which], job, scratch)?;
        }
        all.push(times);
    }
    Ok(Times(all))
}

fn once(filler: &dyn Filler, job: &Job, scratch: &Scratch) -> Result<f64> {
    let dir = scratch.path("fill");
    fs::create_dir(&dir)?;
    settled(&dir)?;
    let path = dir.join("file");
    let (took, ()) = wall(|| filler.fill(&path, job))?;
    // What cacache makes is a directory.
    if path.is_file() && fs::metadata(&path)?.len() != job.len {
        return Err(format!("{} made a file of another length", filler.name()).into());
    }
    fs::remove_dir_all(&dir)?;
    Ok(took)
}

/// Waits until the disk has all that was left to it, so that nobody pays for the one before him.
pub fn settled(dir: &Path) -> Result<()> {
    Ok(syncfs(File::open(dir)?)?)
}
