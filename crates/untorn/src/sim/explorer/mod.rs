//! The explorer: runs a workload, crashes it everywhere in every permitted way, and checks what is left.

use std::fmt;

use super::disk::SimFs;
use super::fault::FaultKind;
use super::model::DiskModel;
use crate::fs::SyncSite;

mod case;
mod engine;
mod quiet;
mod report;
mod run;

pub use report::{Progress, Report, Violation};
pub use run::{After, Crash, Fail, Run, Value};

type Named<T> = Vec<(String, T)>;
type Start<V, W> = Box<dyn Fn(&Run<V>) -> Result<W, Fail>>;
type Operation<V, W> = Box<dyn Fn(&Run<V>, &mut W) -> Result<(), Fail>>;
type Check<V> = Box<dyn Fn(&After<V>) -> Result<(), Fail>>;
type Prepare = Box<dyn Fn(&SimFs)>;
type OnProgress = Box<dyn Fn(&Progress)>;

/// Finds the crash that a program does not survive.
///
/// `V` is what the ledger holds: whatever tells one write of the program from another. `W` is what operations work on,
/// mostly an open store.
///
/// A **workload** is one closure; **sequences** are all sequences up to a length over named operations, from named
/// start states. Either is crashed at every boundary between calls and inside each write: by a kill, and by a power cut
/// into every state that the disk may hold, or a sample where they are too many. After each crash the check opens the
/// store anew and compares what it finds with [`After::acked`] and [`After::issued`].
///
/// # Example
/// A routine that saves a file as many programs do, and what it forgets:
/// ```
/// use std::io;
/// use std::path::Path;
/// use untorn::fs::{Fs, How, Rename, SyncSite::Caller, SyncWhat};
/// use untorn::sim::{Explorer, Fail};
///
/// fn save(fs: &dyn Fs, text: &str, sync_the_directory: bool) -> io::Result<()> {
///     let dir = fs.open_dir(Path::new("/"))?;
///     let temporary = dir.open("note.tmp".as_ref(), How::Create(0o644))?;
///     temporary.set_len(0)?;
///     temporary.write_at(text.as_bytes(), 0)?;
///     temporary.sync(SyncWhat::All, Caller)?;
///     dir.rename("note.tmp".as_ref(), &*dir, "note".as_ref(), Rename::Replace)?;
///     if sync_the_directory {
///         dir.sync(Caller)?;
///     }
///     Ok(())
/// }
///
/// let explore = |sync_the_directory: bool| {
///     Explorer::new("save")
///         .workload(move |run| {
///             for text in ["one", "two"] {
///                 run.issue(text);
///                 save(&*run.fs(), text, sync_the_directory)?;
///                 run.ack(text);
///             }
///             Ok(())
///         })
///         .check(|after| {
///             let found = after.sim().read("/note").unwrap_or_default();
///             let found = String::from_utf8_lossy(&found);
///             let promised = after.acked().last().copied().unwrap_or("");
///             let begun = after.issued().last().copied().unwrap_or("");
///             if found == promised || found == begun {
///                 Ok(())
///             } else {
///                 Err(Fail::new(format!("found {found:?}, promised {promised:?}")))
///             }
///         })
///         .try_explore()
/// };
///
/// let violation = explore(false).unwrap_err();
/// assert!(violation.message.contains("promised"), "{violation}");
/// let report = explore(true).unwrap();
/// assert!(report.distinct_states > 5);
/// ```
///
/// # Limits
/// A workload must be deterministic: what it does may depend on the file system, its clock and its entropy, and on
/// nothing else. A violation found in a run with threads may not replay.
pub struct Explorer<V, W = ()> {
    name: String,
    seed: u64,
    models: Vec<DiskModel>,
    starts: Named<Start<V, W>>,
    ops: Named<Operation<V, W>>,
    len: usize,
    check: Option<Check<V>>,
    nested: u32,
    nested_budget: u64,
    kinds: Vec<FaultKind>,
    fault_len: Option<usize>,
    max_states: u64,
    all_up_to: usize,
    random: usize,
    without: Vec<SyncSite>,
    prepare: Option<Prepare>,
    progress: Option<OnProgress>,
}

impl<V, W> fmt::Debug for Explorer<V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explorer")
            .field("name", &self.name)
            .field("seed", &self.seed)
            .field("operations", &self.ops.len())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<V: Value> Explorer<V, ()> {
    /// Explores one workload. An error it returns is a violation, unless a fault was injected.
    #[must_use]
    pub fn workload(self, f: impl Fn(&Run<V>) -> Result<(), Fail> + 'static) -> Self {
        self.start("workload", f)
    }
}

impl<V: Value, W> Explorer<V, W> {
    /// An explorer with the standard models ([`DiskModel::standard`]), without nested crashes and without faults.
    ///
    /// `name` is the name of the test, so that a violation can print the line that replays it.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seed: 1,
            models: DiskModel::standard(),
            starts: Vec::new(),
            ops: Vec::new(),
            len: 0,
            check: None,
            nested: 0,
            nested_budget: 100_000,
            kinds: Vec::new(),
            fault_len: None,
            max_states: 10_000_000,
            all_up_to: 4096,
            random: 64,
            without: Vec::new(),
            prepare: None,
            progress: None,
        }
    }

    /// Everything that is left to chance follows from this: clock, entropy, sampled states. 1 if not set.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The disks to explore with.
    #[must_use]
    pub fn models(mut self, models: impl IntoIterator<Item = DiskModel>) -> Self {
        self.models = models.into_iter().collect();
        self
    }

    /// Adds a state from which sequences start: made by `f`, which may issue and acknowledge.
    #[must_use]
    pub fn start(mut self, name: &str, f: impl Fn(&Run<V>) -> Result<W, Fail> + 'static) -> Self {
        self.starts.push((name.to_owned(), Box::new(f)));
        self
    }

    /// Adds an operation to the alphabet of sequences.
    #[must_use]
    pub fn op(
        mut self,
        name: &str,
        f: impl Fn(&Run<V>, &mut W) -> Result<(), Fail> + 'static,
    ) -> Self {
        self.ops.push((name.to_owned(), Box::new(f)));
        self
    }

    /// Explores all sequences of up to `len` operations from every start state.
    ///
    /// Shorter sequences come first, so that the first violation is one with the fewest operations. A longer one is
    /// crashed only from its last operation on; what is before was crashed as a sequence of its own.
    #[must_use]
    pub const fn sequences(mut self, len: usize) -> Self {
        self.len = len;
        self
    }

    /// What must hold after each crash: mostly, that the store opens and holds all of [`After::acked`] and nothing but
    /// [`After::issued`], and goes on working.
    #[must_use]
    pub fn check(mut self, f: impl Fn(&After<V>) -> Result<(), Fail> + 'static) -> Self {
        self.check = Some(Box::new(f));
        self
    }

    /// Crashes the check's own calls too, and so on, up to this depth. 0 if not set; 2 is plenty.
    #[must_use]
    pub const fn nested(mut self, depth: u32) -> Self {
        self.nested = depth;
        self
    }

    /// How many checks after nested crashes there may be in all.
    #[must_use]
    pub const fn nested_budget(mut self, checks: u64) -> Self {
        self.nested_budget = checks;
        self
    }

    /// Fails every call of the workload in each of these ways that fits it, once and for ever, with no, half and all of
    /// its effect, and then crashes it. [`FaultKind::ERRORS`] are all that are errors.
    #[must_use]
    pub fn faults(mut self, kinds: &[FaultKind]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// Up to which length sequences get faults; may be more than the length of those without. If not set, up to 2 of those:
    /// the operation that fails, and one on the live handle.
    #[must_use]
    pub const fn fault_sequences(mut self, len: usize) -> Self {
        self.fault_len = Some(len);
        self
    }

    /// Ends the exploration, without a violation, after this many checks.
    #[must_use]
    pub const fn max_states(mut self, checks: u64) -> Self {
        self.max_states = checks;
        self
    }

    /// Per crash point: all states if there are at most `all_up_to`, else the extremes and `random_count` random ones.
    /// 4096 and 64 if not set.
    #[must_use]
    pub const fn states_per_point(mut self, all_up_to: usize, random_count: usize) -> Self {
        self.all_up_to = all_up_to;
        self.random = random_count;
        self
    }

    /// Leaves this sync out everywhere, in the workload and in the check: a test of the test.
    #[must_use]
    pub fn without_sync(mut self, site: SyncSite) -> Self {
        self.without.push(site);
        self
    }

    /// Sets up the disk before each start: files that are there, capabilities that are not.
    #[must_use]
    pub fn prepare(mut self, f: impl Fn(&SimFs) + 'static) -> Self {
        self.prepare = Some(Box::new(f));
        self
    }

    /// Calls `f` every thousand checks or so: for a live display.
    #[must_use]
    pub fn on_progress(mut self, f: impl Fn(&Progress) + 'static) -> Self {
        self.progress = Some(Box::new(f));
        self
    }

    /// Explores, and panics with the violation if there is one.
    ///
    /// If the variable `UNTORN_REPLAY` names a case of this explorer, only that case is run.
    ///
    /// # Panics
    /// If there is a violation; if there is no check.
    #[expect(clippy::panic, reason = "a test fails by a panic")]
    pub fn explore(self) -> Report {
        match self.try_explore() {
            Ok(report) => report,
            Err(violation) => panic!("{violation}"),
        }
    }

    /// Explores. If the variable `UNTORN_REPLAY` names a case of this explorer, only that case is run.
    ///
    /// # Errors
    /// The first violation, made as plain as it can be.
    pub fn try_explore(self) -> Result<Report, Violation> {
        engine::Engine::new(&self).explore()
    }
}
