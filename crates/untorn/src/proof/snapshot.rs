//! Snapshots under the explorer: both layouts on one path.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::shape::{Entry, candidates, issue};
use super::{Part, Task};
use crate::codec::Raw;
use crate::fs::Fs;
use crate::sim::{After, Explorer, Fail, FaultKind, Report, Run, Violation};
use crate::snapshot::{
    Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader as _, SnapshotOptions,
    SnapshotWriter as _,
};
use crate::{ErrorKind, Outcome};

const PATH: &str = "/data/state";

/// A content: its number and its length.
type Content = (u64, usize);

/// What the path leads to.
#[derive(Clone, Copy, Default, PartialEq)]
struct Saved(Option<Content>);

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((id, len)) => write!(f, "{id}({len})"),
            None => f.write_str("none"),
        }
    }
}

type Ledger = Entry<Saved>;

fn bytes((id, len): Content) -> Vec<u8> {
    (0..len).map(|n| id.wrapping_mul(31).wrapping_add(n as u64).to_le_bytes()[0]).collect()
}

type Options = SnapshotOptions<Vec<u8>, Raw>;

fn options(fs: Arc<dyn Fs>, layout: Layout) -> Options {
    SnapshotOptions::with_codec(Raw).layout(layout).fs(fs)
}

fn load(fs: Arc<dyn Fs>) -> crate::Result<Option<Vec<u8>>> {
    SnapshotFsLoader::with(PATH, options(fs, Layout::Frame)).load()
}

struct World {
    saved: Saved,
    all_synced: bool,
}

impl World {
    fn new(run: &Run<Ledger>) -> Self {
        let world = Self { saved: Saved::default(), all_synced: true };
        let entry = issue(run, "empty", &world.saved);
        run.ack(entry);
        world
    }

    /// Writes these lengths into one writer, one after the other, and closes it.
    fn save(
        &mut self,
        run: &Run<Ledger>,
        step: &'static str,
        lens: &[usize],
        options: Options,
    ) -> Result<(), Fail> {
        let layout = options.layout;
        let contents: Vec<Content> = lens.iter().map(|len| (run.next(), *len)).collect();
        let before = std::mem::replace(&mut self.saved, Saved(contents.last().copied()));
        let entry = issue(run, step, &self.saved);
        let saved = SnapshotFsWriter::with(PATH, options).and_then(|mut writer| {
            contents.iter().try_for_each(|content| writer.write(&bytes(*content)))?;
            writer.close()
        });
        match saved {
            Ok(()) => {
                self.all_synced = true;
                run.ack(entry);
                Ok(())
            }
            Err(error) => {
                if error.outcome() == Outcome::Unchanged {
                    self.saved = before;
                    let entry = issue(run, "unchanged", &self.saved);
                    if self.all_synced {
                        run.ack(entry);
                    }
                } else {
                    // One of the two: the disk that programs see tells which, and nothing is promised of it yet.
                    let visible = run.sim().read(PATH).unwrap_or_default();
                    let around = if layout == Layout::Frame { (12, 0) } else { (144, 32) };
                    let payload = visible.get(around.0..visible.len().saturating_sub(around.1));
                    if payload != self.saved.0.map(bytes).as_deref() {
                        self.saved = before;
                    }
                    self.all_synced = false;
                    issue(run, "looked", &self.saved);
                }
                Err(error.into())
            }
        }
    }

    /// Writes and does not close; the file must stay what it is.
    fn abandon(&self, run: &Run<Ledger>, flush: bool) -> Result<(), Fail> {
        let mut writer = SnapshotFsWriter::with(PATH, options(run.fs(), Layout::Frame))?;
        writer.write(&bytes((run.next(), 900)))?;
        if flush {
            writer.flush()?;
        }
        drop(writer);
        self.reload(run)
    }

    fn close_without_write(&self, run: &Run<Ledger>) -> Result<(), Fail> {
        let writer = SnapshotFsWriter::with(PATH, options(run.fs(), Layout::Blocks))?;
        match writer.close() {
            Err(e) if (e.kind(), e.outcome()) == (ErrorKind::Incomplete, Outcome::Unchanged) => {
                self.reload(run)
            }
            other => Err(Fail::new(format!("closed without a write: {other:?}"))),
        }
    }

    fn reload(&self, run: &Run<Ledger>) -> Result<(), Fail> {
        if load(run.fs())? == self.saved.0.map(bytes) {
            return Ok(());
        }
        Err(Fail::new(format!("saved {}, loaded something else", self.saved)))
    }
}

fn check(after: &After<Ledger>) -> Result<(), Fail> {
    let found = load(after.fs())?;
    let (states, or_nothing) = candidates(after);
    let was = |saved: &Arc<Saved>| saved.0.map(bytes) == found;
    let nothing = or_nothing && found.is_none();
    if !nothing && !states.iter().any(was) {
        let promised = states.first().map_or_else(String::new, ToString::to_string);
        let len = found.map(|bytes| bytes.len());
        return Err(Fail::new(format!("promised {promised}, found length {len:?}")));
    }
    let content = (after.next(), 64);
    let entry = Entry::State(after.next(), "used on", Arc::new(Saved(Some(content))));
    after.issue(entry.clone());
    let mut writer = SnapshotFsWriter::with(PATH, options(after.fs(), Layout::Blocks))?;
    writer.write(&bytes(content))?;
    writer.close()?;
    after.ack(entry);
    if load(after.fs())? != Some(bytes(content)) {
        return Err("what was saved after the crash is not loaded".into());
    }
    // The writer took what the dead ones left.
    let known = [Path::new("/data"), Path::new(PATH)];
    let ours = |path: &Path| path.starts_with("/data") && !known.contains(&path);
    match after.sim().dump().into_keys().find(|path| ours(path)) {
        Some(path) => Err(Fail::new(format!("left over: {}", path.display()))),
        None => Ok(()),
    }
}

fn explorer(task: Task<'_>) -> Explorer<Ledger, World> {
    let frame = |run: &Run<Ledger>| options(run.fs(), Layout::Frame);
    let blocks = |run: &Run<Ledger>| options(run.fs(), Layout::Blocks);
    task.explorer(check)
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .start("empty", |run| Ok(World::new(run)))
        .op("save", move |run, world: &mut World| world.save(run, "save", &[700], frame(run)))
        .op("save blocks, read back", move |run, world| {
            world.save(run, "save blocks", &[1500], blocks(run).verify_after_write(true))
        })
        .op("save twice in one writer", move |run, world| {
            world.save(run, "save twice", &[1800, 300], frame(run))
        })
        .op("write and drop", |run, world| world.abandon(run, false))
        .op("write, flush and drop", |run, world| world.abandon(run, true))
        .op("close without write", |run, world| world.close_without_write(run))
        .op("reload", |run, world| world.reload(run))
}

fn sequences(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    explorer(task)
        .sequences(3)
        .states_per_point(24, 4)
        .nested(1)
        .nested_budget(states / 4)
        .try_explore()
        .map_err(Box::new)
}

fn faults(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task)
        .fault_sequences(2)
        .states_per_point(16, 4)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part {
            name: "snapshot_all_sequences",
            what: "sequences of up to three operations, power cuts and kills",
            run: sequences,
        },
        Part {
            name: "snapshot_a_fault_at_every_call",
            what: "calls that fail, each in every way, then power cuts and kills",
            run: faults,
        },
    ]
}
