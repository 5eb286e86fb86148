//! Replaced and created files under the explorer.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use super::shape::{Entry, candidates, issue};
use super::{Part, Task};
use crate::sim::{After, Capability, Explorer, Fail, FaultKind, Report, Run, Violation};
use crate::{AtomicFile, Durability, ErrorKind, Outcome, ReplaceOptions};

const NAMES: [&str; 2] = ["/data/a", "/data/b"];

/// Which content each name leads to.
#[derive(Clone, Default, PartialEq)]
struct Files(BTreeMap<&'static str, (u64, usize)>);

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (id, len)) in &self.0 {
            write!(f, "{name}={id}({len}) ")?;
        }
        Ok(())
    }
}

type Ledger = Entry<Files>;

fn content((id, len): (u64, usize)) -> Vec<u8> {
    (0..len).map(|n| id.wrapping_mul(31).wrapping_add(n as u64).to_le_bytes()[0]).collect()
}

struct World {
    files: Files,
    all_synced: bool,
}

impl World {
    fn new(run: &Run<Ledger>) -> Self {
        let world = Self { files: Files::default(), all_synced: true };
        let entry = issue(run, "empty", &world.files);
        run.ack(entry);
        world
    }

    fn step(
        &mut self,
        run: &Run<Ledger>,
        (step, name, len): (&'static str, &'static str, usize),
        durability: Durability,
        act: impl FnOnce(&ReplaceOptions, &[u8]) -> crate::Result<()>,
    ) -> Result<(), Fail> {
        let before = self.files.clone();
        let new = (run.next(), len);
        self.files.0.insert(name, new);
        let entry = issue(run, step, &self.files);
        let options = ReplaceOptions::new().durability(durability).fs(run.fs());
        match act(&options, &content(new)) {
            // A directory's sync makes all its names durable; other files' bytes were synced with them or were
            // promised as buffered only.
            Ok(()) if durability == Durability::Synced => {
                self.all_synced = true;
                run.ack(entry);
                Ok(())
            }
            Ok(()) => {
                self.all_synced = false;
                run.ack_buffered(entry);
                Ok(())
            }
            Err(error) => {
                if error.outcome() == Outcome::Unchanged {
                    self.files = before;
                    let entry = issue(run, "unchanged", &self.files);
                    if self.all_synced {
                        run.ack(entry);
                    }
                } else {
                    // One of the two: the disk that programs see tells which, and nothing is promised of it yet.
                    let visible = run.sim().read(name).ok();
                    if visible.as_deref() != Some(&content(new)[..]) {
                        self.files = before;
                    }
                    self.all_synced = false;
                    issue(run, "looked", &self.files);
                }
                Err(error.into())
            }
        }
    }

    fn replace(&mut self, run: &Run<Ledger>, n: usize, len: usize) -> Result<(), Fail> {
        let name = NAMES[n];
        self.step(run, ("replace", name, len), Durability::Synced, |options, bytes| {
            crate::replace_with(name, bytes, options)
        })
    }

    fn create_new(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let name = NAMES[1];
        if !self.files.0.contains_key(name) {
            return self.step(run, ("create", name, 700), Durability::Synced, |options, bytes| {
                crate::create_new_with(name, bytes, options)
            });
        }
        let options = ReplaceOptions::new().fs(run.fs());
        match crate::create_new_with(name, b"never", &options) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e.into()),
            Ok(()) => Err("created a file that was there".into()),
        }
    }

    fn stream(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let name = NAMES[0];
        self.step(run, ("stream", name, 1800), Durability::Synced, |options, bytes| {
            let mut file = AtomicFile::with(name, options)?;
            for part in bytes.chunks(700) {
                file.write_all(part).and_then(|()| file.flush()).map_err(|e| unwrap(name, e))?;
            }
            file.commit()
        })
    }
}

/// The error of ours in an [`std::io::Error`].
fn unwrap(path: &str, error: std::io::Error) -> crate::Error {
    match error.downcast::<crate::Error>() {
        Ok(ours) => ours,
        Err(other) => crate::Error::system("write", path.as_ref(), other),
    }
}

fn discard(run: &Run<Ledger>) -> Result<(), Fail> {
    let options = ReplaceOptions::new().fs(run.fs());
    let mut file = AtomicFile::with(NAMES[0], &options)?;
    file.write_all(&[7; 900])?;
    file.flush()?;
    file.discard()?;
    Ok(())
}

fn check(after: &After<Ledger>) -> Result<(), Fail> {
    crate::sweep_with("/data", after.fs())?;
    let (states, or_nothing) = candidates(after);
    let sim = after.sim();
    let found: BTreeMap<&str, Vec<u8>> =
        NAMES.iter().filter_map(|name| Some((*name, sim.read(name).ok()?))).collect();
    // Each name by itself: that two files change together is promised by nobody.
    let may_be = |name: &str, bytes: Option<&Vec<u8>>| {
        let was = |files: &Arc<Files>| match (files.0.get(name), bytes) {
            (Some(new), Some(bytes)) => *bytes == content(*new),
            (None, None) => true,
            _ => false,
        };
        states.iter().any(was) || (or_nothing && bytes.is_none())
    };
    if !NAMES.iter().all(|name| may_be(name, found.get(name))) {
        let lens: Vec<_> =
            found.iter().map(|(name, bytes)| format!("{name} of {}", bytes.len())).collect();
        let promised = states.first().map_or_else(String::new, ToString::to_string);
        return Err(Fail::new(format!("promised {promised}, found {lens:?}")));
    }
    for (path, _) in sim.dump() {
        if path.starts_with("/data") && path != std::path::Path::new("/data") {
            let known = NAMES.iter().any(|name| path == std::path::Path::new(name));
            if !known {
                return Err(Fail::new(format!("left over: {}", path.display())));
            }
        }
    }
    let files = Files(BTreeMap::from([(NAMES[0], (after.next(), 64))]));
    let mut now = Files(
        found
            .iter()
            .filter_map(|(name, bytes)| {
                let known = states
                    .iter()
                    .find_map(|s| s.0.get(name).filter(|new| content(**new) == *bytes));
                Some((*name, *known?))
            })
            .collect(),
    );
    now.0.extend(files.0.clone());
    let entry = Entry::State(after.next(), "used on", Arc::new(now));
    after.issue(entry.clone());
    let options = ReplaceOptions::new().fs(after.fs());
    let new = files.0.values().next().copied().unwrap_or_default();
    crate::replace_with(NAMES[0], &content(new), &options)?;
    after.ack(entry);
    Ok(())
}

fn explorer(task: Task<'_>) -> Explorer<Ledger, World> {
    task.explorer(check)
        .start("empty", |run| Ok(World::new(run)))
        .op("replace a", |run, world: &mut World| world.replace(run, 0, 100))
        .op("replace a by more", |run, world| world.replace(run, 0, 1500))
        .op("replace b", |run, world| world.replace(run, 1, 600))
        .op("create b", |run, world| world.create_new(run))
        .op("stream a", |run, world| world.stream(run))
        .op("discard a", |run, _| discard(run))
        .op("sweep", |run, _| Ok(crate::sweep_with("/data", run.fs()).map(drop)?))
}

fn sequences(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    explorer(task)
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .sequences(3)
        .states_per_point(24, 4)
        .nested(1)
        .nested_budget(states / 4)
        .try_explore()
        .map_err(Box::new)
}

fn fall_backs(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    explorer(task)
        .prepare(|sim| {
            drop(sim.make_dirs("/data"));
            drop(sim.clone().without(Capability::RenameNoReplace));
        })
        .sequences(2)
        .states_per_point(256, 16)
        .nested(1)
        .nested_budget(states / 4)
        .try_explore()
        .map_err(Box::new)
}

fn faults(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task)
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .fault_sequences(2)
        .states_per_point(32, 8)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> Vec<Part> {
    let parts = [
        Part {
            name: "file_all_sequences",
            what: "sequences of up to three operations, power cuts and kills",
            run: sequences,
        },
        Part {
            name: "file_without_rename_noreplace",
            what: "the same where a rename cannot be told not to replace",
            run: fall_backs,
        },
        Part {
            name: "file_a_fault_at_every_call",
            what: "calls that fail, each in every way, then power cuts and kills",
            run: faults,
        },
    ];
    let parts = parts.into_iter().chain(super::resource::parts());
    #[cfg(feature = "blake3")]
    let parts = parts.chain(super::artifact::parts());
    parts.collect()
}
