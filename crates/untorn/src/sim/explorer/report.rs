//! What an exploration tells: figures if all went well, else one violation, made as plain as it can be.

use std::fmt;

/// The figures of an exploration that found no violation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Different disks after one crash, over all sequences and models.
    pub distinct_states: u64,
    /// Moments at which a crash was tried: boundaries between calls, and places within writes.
    pub crash_points: u64,
    /// Times the check was run.
    pub checks: u64,
    /// Checks that ran after a crash within a check.
    pub nested_states: u64,
    /// Runs with a fault.
    pub faults: u64,
    /// Sequences of operations, over all start states and models.
    pub sequences: u64,
    /// The seed.
    pub seed: u64,
    /// Whether the budget sufficed for all of it.
    pub complete: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} distinct states, {} crash points, {} checks, {} nested, {} faults, {} sequences, seed {}",
            self.distinct_states,
            self.crash_points,
            self.checks,
            self.nested_states,
            self.faults,
            self.sequences,
            self.seed
        )?;
        if self.complete { Ok(()) } else { f.write_str(", cut short by the budget") }
    }
}

/// How far an exploration is: see [`Explorer::on_progress`](super::Explorer::on_progress).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done: "crashes" or "faults".
    pub phase: &'static str,
    /// The figures so far.
    pub report: Report,
    /// Sequences there are in all, for all models and start states.
    pub sequences_total: u64,
}

/// A check that failed: what, after which calls and which crash, and how to see it again.
#[derive(Clone)]
#[non_exhaustive]
pub struct Violation {
    /// What the check said.
    pub message: String,
    /// The calls of each life, with the crash marked.
    pub trace: String,
    /// The value of `UNTORN_REPLAY` that runs this case alone.
    pub replay: String,
    /// The figures up to here.
    pub report: Box<Report>,
    pub(super) name: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "violation in {}: {}", self.name, self.message)?;
        f.write_str(&self.trace)?;
        writeln!(f, "after {}", self.report)?;
        write!(f, "replay: UNTORN_REPLAY='{}' cargo test {}", self.replay, self.name)
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Violation {}
