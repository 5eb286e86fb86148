//! Directories that are published whole under the explorer: an artifact, and a store that is imported from it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::shape::{Entry, candidates, issue};
use super::{Part, Task};
use crate::artifact::{About, Export, Import, verify_with};
use crate::fs::How;
use crate::sim::{
    After, DiskModel, Explorer, Fail, FaultKind, Item, Report, Run, SimFs, Violation,
};
use crate::{ErrorKind, Outcome};

/// The artifact, and the store that is imported from it.
const ARTIFACT: &str = "/data/x";
const STORE: &str = "/data/y";
const NAMES: [&str; 2] = [ARTIFACT, STORE];
/// A file that is written, and one in a directory below that is copied from [`SOURCE`].
const FILES: [(&str, usize); 2] = [("a", 700), ("sub/b", 30)];
const SOURCE: &str = "/source";
const BACKEND: &str = "untorn-proof";

/// Which content each directory has.
#[derive(Clone, Default, PartialEq)]
struct Trees(BTreeMap<&'static str, u64>);

impl fmt::Display for Trees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, id) in &self.0 {
            write!(f, "{name}={id} ")?;
        }
        Ok(())
    }
}

type Ledger = Entry<Trees>;

/// The content of a file in the directory `id`.
fn content(id: u64, (path, len): (&str, usize)) -> Vec<u8> {
    let id = if path == FILES[1].0 { 0 } else { id };
    (0..len).map(|n| id.wrapping_mul(37).wrapping_add(n as u64).to_le_bytes()[0]).collect()
}

fn export(run_fs: &Arc<dyn crate::fs::Fs>, id: u64) -> crate::Result<()> {
    let mut export = Export::begin(&**run_fs, Path::new(ARTIFACT))?;
    let mut file = export.file(&format!("data/{}", FILES[0].0))?;
    let written = file.write_all(&content(id, FILES[0]));
    written.map_err(|e| crate::Error::stream("export", e))?;
    file.finish()?;
    let fail = |e| crate::Error::system("open", Path::new(SOURCE), e);
    let root = run_fs.open_dir(Path::new("/")).map_err(fail)?;
    let source = root.open(SOURCE[1..].as_ref(), How::Read).map_err(fail)?;
    export.copy(&*source, FILES[1].1 as u64, &format!("data/{}", FILES[1].0))?;
    let detail = BTreeMap::from([("id".to_owned(), id.to_string())]);
    let about = About { backend: BACKEND, backend_version: "1", detail, ..About::default() };
    export.finish(about).map(drop)
}

struct World {
    trees: Trees,
    all_synced: bool,
}

impl World {
    fn new(run: &Run<Ledger>) -> Self {
        let world = Self { trees: Trees::default(), all_synced: true };
        let entry = issue(run, "empty", &world.trees);
        run.ack(entry);
        world
    }

    /// Publishes `name`; if it is there already, that must be refused and change nothing.
    fn publish(
        &mut self,
        run: &Run<Ledger>,
        (step, name, id): (&'static str, &'static str, u64),
        act: impl FnOnce(&Arc<dyn crate::fs::Fs>) -> crate::Result<()>,
    ) -> Result<(), Fail> {
        let before = self.trees.clone();
        if before.0.contains_key(name) {
            return match act(&run.fs()) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
                Err(e) => Err(e.into()),
                Ok(()) => Err("published over something that was there".into()),
            };
        }
        self.trees.0.insert(name, id);
        let entry = issue(run, step, &self.trees);
        match act(&run.fs()) {
            Ok(()) => {
                self.all_synced = true;
                run.ack(entry);
                Ok(())
            }
            Err(error) => {
                let there = tree(&run.sim(), name).is_some();
                if error.outcome() == Outcome::Unchanged && there {
                    return Err(Fail::new(format!("{name} is there in spite of: {error}")));
                }
                if !there {
                    self.trees = before;
                }
                self.all_synced &= error.outcome() == Outcome::Unchanged;
                let entry = issue(run, "looked", &self.trees);
                if self.all_synced {
                    run.ack(entry);
                }
                Err(error.into())
            }
        }
    }

    fn export(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let id = run.next();
        self.publish(run, ("export", ARTIFACT, id), |fs| export(fs, id))
    }

    fn import(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let Some(&id) = self.trees.0.get(ARTIFACT) else { return Ok(()) };
        self.publish(run, ("import", STORE, id), |fs| {
            let import = Import::open(&**fs, Path::new(ARTIFACT), (BACKEND, "1"))?;
            assert_eq!(import.manifest().detail.get("id"), Some(&id.to_string()));
            import.stage(&**fs, Path::new(STORE), |_| {})?.publish()
        })
    }
}

fn abandon(run: &Run<Ledger>) -> Result<(), Fail> {
    let fs = run.fs();
    let mut export = Export::begin(&*fs, Path::new("/data/never"))?;
    let mut file = export.file("data/sub/a")?;
    file.write_all(&[7; 900])?;
    file.finish()?;
    drop(export);
    Ok(())
}

fn verify(run: &Run<Ledger>) -> Result<(), Fail> {
    match verify_with(ARTIFACT, run.fs(), |_| {}) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// All files below a directory, by their path in it, if it is there.
fn tree(sim: &SimFs, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let dump = sim.dump();
    dump.get(Path::new(name))?;
    let below = |path: &Path| Some(path.strip_prefix(name).ok()?.to_str()?.to_owned());
    let files = dump.iter().filter_map(|(path, item)| match item {
        Item::File(bytes) => Some((below(path)?, bytes.clone())),
        _ => None,
    });
    Some(files.collect())
}

/// Whether the directory holds all of `id`, and nothing else.
fn holds(found: &BTreeMap<String, Vec<u8>>, name: &str, id: u64) -> bool {
    let prefix = if name == ARTIFACT { "data/" } else { "" };
    let others = usize::from(name == ARTIFACT); // the manifest
    found.len() == FILES.len() + others
        && FILES.into_iter().all(|file| {
            found
                .get(&format!("{prefix}{}", file.0))
                .is_some_and(|bytes| *bytes == content(id, file))
        })
}

fn check(after: &After<Ledger>) -> Result<(), Fail> {
    crate::sweep_with("/data", after.fs())?;
    let (states, or_nothing) = candidates(after);
    let sim = after.sim();
    let mut now = Trees::default();
    for name in NAMES {
        let found = tree(&sim, name);
        let state = states.iter().find(|trees| match (trees.0.get(name), &found) {
            (Some(id), Some(found)) => holds(found, name, *id),
            (None, None) => true,
            _ => false,
        });
        if let Some(id) = state.and_then(|trees| trees.0.get(name)) {
            now.0.insert(name, *id);
        }
        if state.is_none() && !(or_nothing && found.is_none()) {
            let promised = states.first().map_or_else(String::new, ToString::to_string);
            let found = found.map(|tree| tree.into_keys().collect::<Vec<_>>());
            return Err(Fail::new(format!("promised {promised}, found {found:?} in {name}")));
        }
    }
    if now.0.contains_key(ARTIFACT) {
        verify_with(ARTIFACT, after.fs(), |_| {})?;
    }
    for (path, _) in sim.dump() {
        let below = path.strip_prefix("/data").is_ok_and(|rest| rest != Path::new(""));
        if below && !NAMES.iter().any(|name| path.starts_with(name)) {
            return Err(Fail::new(format!("left over: {}", path.display())));
        }
    }
    if !now.0.contains_key(ARTIFACT) {
        let id = after.next();
        now.0.insert(ARTIFACT, id);
        let entry = Entry::State(after.next(), "used on", Arc::new(now));
        after.issue(entry.clone());
        export(&after.fs(), id)?;
        after.ack(entry);
    }
    Ok(())
}

fn explorer(task: Task<'_>) -> Explorer<Ledger, World> {
    task.explorer(check)
        .prepare(|sim| {
            drop(sim.make_dirs("/data"));
            drop(sim.put(SOURCE, &content(0, FILES[1])));
        })
        .start("empty", |run| Ok(World::new(run)))
        .op("export", |run, world: &mut World| world.export(run))
        .op("import", |run, world| world.import(run))
        .op("abandon", |run, _| abandon(run))
        .op("verify", |run, _| verify(run))
        .op("sweep", |run, _| Ok(crate::sweep_with("/data", run.fs()).map(drop)?))
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
    // Both orders of names; that units of two sizes tear is seen without faults.
    let models = DiskModel::standard().into_iter().filter(|model| model.unit == 512);
    explorer(task)
        .models(models)
        .fault_sequences(2)
        .states_per_point(8, 2)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> [Part; 2] {
    [
        Part {
            name: "file_directories_published_whole",
            what: "directories that are published whole: power cuts and kills",
            run: sequences,
        },
        Part {
            name: "file_directories_a_fault_at_every_call",
            what: "the same with calls that fail, each in every way",
            run: faults,
        },
    ]
}
