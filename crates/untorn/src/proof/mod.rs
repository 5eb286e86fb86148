//! The proof of our own stores: what the explorer runs, and what must hold after every crash.
//!
//! The tests run these, and so does `untorn prove` on a user's machine. A sync can be left out: then the same exploration
//! must find a violation, or it proves nothing.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "test machinery: an index or a sum that is wrong must stop the test"
)]

use crate::fs::SyncSite;
use crate::sim::{After, DiskModel, Explorer, Fail, Report, Unwritten, Violation};

mod append;
#[cfg(feature = "blake3")]
mod artifact;
mod chunked;
mod file;
mod fold;
mod journal;
mod log;
mod pool;
mod resource;
mod shape;
mod snapshot;

/// A store that is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Store {
    /// The log.
    Log,
    /// A file that is replaced or created, or a directory that is published whole.
    File,
    /// A snapshot.
    Snapshot,
    /// Events, and snapshots of the state that they make.
    Journal,
    /// A file that fills in pieces, and its part.
    Chunked,
    /// Elements appended, rewound and pruned, in one file or several.
    Append,
    /// A copy of a key-value stream, with its cursor.
    Fold,
    /// Objects of a pool, persisted as sets.
    Pool,
}

impl Store {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Log,
        Self::File,
        Self::Snapshot,
        Self::Journal,
        Self::Chunked,
        Self::Append,
        Self::Fold,
        Self::Pool,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::File => "file",
            Self::Snapshot => "snapshot",
            Self::Journal => "journal",
            Self::Chunked => "chunked",
            Self::Append => "append",
            Self::Fold => "fold",
            Self::Pool => "pool",
        }
    }

    /// The store of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|store| store.name() == name)
    }
}

/// What to explore.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Plan {
    /// Everything left to chance follows from it.
    pub seed: u64,
    /// How many crash states to check in all.
    pub states: u64,
    /// A sync to leave out: then there must be a violation.
    pub without_sync: Option<SyncSite>,
    /// Which line of the crash matrix to explore, counted from 0; all if not set.
    pub line: Option<usize>,
}

impl Plan {
    /// Seed 1, 100,000 states, nothing left out.
    pub const fn new() -> Self {
        Self { seed: 1, states: 100_000, without_sync: None, line: None }
    }

    /// Sets the seed.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many crash states to check.
    pub const fn states(mut self, states: u64) -> Self {
        self.states = states;
        self
    }

    /// Leaves a sync out.
    pub const fn without_sync(mut self, site: SyncSite) -> Self {
        self.without_sync = Some(site);
        self
    }

    /// Explores one line of the crash matrix alone.
    pub const fn line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

/// What was explored without a violation.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// Distinct states of the disk after a crash.
    pub crash_states: u64,
    /// States after a crash within the recovery from another.
    pub nested_states: u64,
    /// Runs in which a call failed.
    pub faults: u64,
    /// Moments at which a crash was tried.
    pub crash_points: u64,
    /// Sequences of operations.
    pub sequences: u64,
    /// The lines of the crash matrix.
    pub rows: Vec<Row>,
}

/// One exploration: a line of the crash matrix.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// What was explored.
    pub what: String,
    /// How many distinct states.
    pub states: u64,
    /// How many of them in a nested crash, or how many faults.
    pub nested_states: u64,
    /// Runs with a fault.
    pub faults: u64,
}

/// Explores one store; `progress` gets the number of states checked so far.
///
/// # Errors
/// The first violation: which check failed, after which calls, and how to replay it.
pub fn explore(
    store: Store,
    plan: &Plan,
    progress: impl Fn(u64) + 'static,
) -> Result<Outcome, Box<Violation>> {
    let progress = std::rc::Rc::new(progress);
    let mut outcome = Outcome::default();
    let parts = match store {
        Store::Log => log::parts(),
        Store::File => file::parts(),
        Store::Snapshot => snapshot::parts(),
        Store::Journal => journal::parts(),
        Store::Chunked => chunked::parts(),
        Store::Append => append::parts(),
        Store::Fold => fold::parts(),
        Store::Pool => pool::parts(),
    };
    let mut left = plan.states;
    let chosen = |n: &usize| plan.line.is_none_or(|line| line == *n);
    let parts: Vec<Part> =
        parts.into_iter().enumerate().filter(|(n, _)| chosen(n)).map(|(_, part)| part).collect();
    for (part, to_come) in parts.iter().zip((1..=parts.len() as u64).rev()) {
        // What one part leaves of its share goes to the next ones.
        let share = left / to_come;
        let (before, progress) = (plan.states - left, std::rc::Rc::clone(&progress));
        let progress = Box::new(move |states| progress(before + states));
        let task = Task { name: part.name, plan, states: share.max(1), progress };
        let report = (part.run)(task)?;
        left = left.saturating_sub(report.checks);
        outcome.add(part.what, &report);
    }
    Ok(outcome)
}

/// The exploration that must find a violation if this sync is left out: the store, and the line of its crash matrix.
pub const fn notices(site: SyncSite) -> (Store, usize) {
    match site {
        SyncSite::ReplaceFile
        | SyncSite::ReplaceDir
        | SyncSite::PublishFile
        | SyncSite::PublishDir => (Store::File, 0),
        SyncSite::ArtifactFile | SyncSite::ArtifactDir | SyncSite::ArtifactParent => {
            (Store::File, 4)
        }
        SyncSite::ResourceFile | SyncSite::ResourceDir => (Store::File, 3),
        SyncSite::QuarantineFile | SyncSite::QuarantineDir => (Store::Log, 2),
        SyncSite::JournalFile
        | SyncSite::SnapshotFile
        | SyncSite::SnapshotDir
        | SyncSite::SnapshotRetire => (Store::Journal, 0),
        SyncSite::ChunkData
        | SyncSite::ChunkMetaFile
        | SyncSite::ChunkMetaDir
        | SyncSite::ChunkForget
        | SyncSite::ChunkCommit
        | SyncSite::ChunkCommitDir => (Store::Chunked, 0),
        SyncSite::ChunkPart => (Store::Chunked, 1),
        SyncSite::AppendMetaFile
        | SyncSite::AppendMetaDir
        | SyncSite::AppendBeginDir
        | SyncSite::AppendName
        | SyncSite::AppendAhead => (Store::Append, 0),
        SyncSite::AppendNext | SyncSite::AppendNextDir => (Store::Append, 4),
        SyncSite::AppendData | SyncSite::AppendEnds | SyncSite::AppendSums => (Store::Append, 1),
        SyncSite::PoolSegment
        | SyncSite::PoolSegmentDir
        | SyncSite::PoolObject
        | SyncSite::PoolObjectDir
        | SyncSite::PoolDir => (Store::Pool, 0),
        SyncSite::FoldBase | SyncSite::FoldBaseDir => (Store::Fold, 0),
        SyncSite::ChunkCopyFile | SyncSite::ChunkCopyDir => (Store::Chunked, 3),
        _ => (Store::Log, 0),
    }
}

/// One exploration of a store.
struct Part {
    /// The test that explores it, by which a violation is replayed.
    name: &'static str,
    what: &'static str,
    run: fn(Task<'_>) -> Result<Report, Box<Violation>>,
}

/// What an exploration is given.
struct Task<'a> {
    name: &'static str,
    plan: &'a Plan,
    states: u64,
    progress: Box<dyn Fn(u64)>,
}

impl Task<'_> {
    /// An explorer as all parts have it.
    fn explorer<S: Clone + 'static, W>(
        self,
        check: fn(&After<shape::Entry<S>>) -> Result<(), Fail>,
    ) -> Explorer<shape::Entry<S>, W>
    where
        shape::Entry<S>: std::fmt::Debug,
    {
        let progress = self.progress;
        let explorer = Explorer::new(self.name)
            .seed(self.plan.seed)
            .models(models())
            .max_states(self.states)
            .check(check)
            .on_progress(move |p| progress(p.report.checks));
        match self.plan.without_sync {
            Some(site) => explorer.without_sync(site),
            None => explorer,
        }
    }
}

/// All sequences of so many operations, with crashes within the recovery from others.
fn nested<S: Clone + 'static, W>(
    explorer: Explorer<shape::Entry<S>, W>,
    len: usize,
    states: u64,
) -> Result<Report, Box<Violation>>
where
    shape::Entry<S>: std::fmt::Debug,
{
    explorer
        .sequences(len)
        .states_per_point(16, 4)
        .nested(1)
        .nested_budget(states / 4)
        .try_explore()
        .map_err(Box::new)
}

impl Outcome {
    fn add(&mut self, what: &str, report: &Report) {
        self.crash_states += report.distinct_states;
        self.nested_states += report.nested_states;
        self.faults += report.faults;
        self.crash_points += report.crash_points;
        self.sequences += report.sequences;
        self.rows.push(Row {
            what: what.to_owned(),
            states: report.distinct_states,
            nested_states: report.nested_states,
            faults: report.faults,
        });
    }
}

/// The standard models, and one that leaves garbage where bytes were not written.
fn models() -> Vec<DiskModel> {
    let mut models = DiskModel::standard();
    let garbage = DiskModel { unwritten: Unwritten::Garbage, ..DiskModel::default() };
    models.push(garbage);
    models
}
