//! The chunked file under the explorer: a target, its part, and what is trusted of it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::shape::{Entry, Promises, candidates};
use super::{Part, Task};
use crate::chunked::{
    AtomicChunked, CheckpointPolicy, ChunkedOptions, CommitOptions, FileOptions, FileResource,
    Identity, PartView, ResourceExt as _,
};
use crate::fs::Fs;
use crate::sim::{After, Explorer, Fail, FaultKind, Report, Run, Violation};
use crate::{Durability, ErrorKind, Outcome};

const PATH: &str = "/data/file";
/// The file in three pieces: two chunks, and a part of one.
const CUTS: [u64; 4] = [0, 4096, 8192, 9000];
const CHUNK: u64 = 4096;

/// What is written in each piece: which version of it.
type Pieces = [Option<u64>; 3];

/// What the disk holds.
#[derive(Clone, Default, PartialEq)]
struct Disk {
    /// The target's generation and pieces.
    target: Option<(u64, Pieces)>,
    /// The generation that fills, and what is trusted of it.
    part: Option<(u64, Pieces)>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target {:?} part {:?}", self.target, self.part)
    }
}

type Ledger = Entry<Disk>;
type File = AtomicChunked<FileResource>;

fn bytes(generation: u64, piece: usize, version: u64) -> Vec<u8> {
    let seed = generation.wrapping_mul(1009).wrapping_add(version.wrapping_mul(31)) ^ piece as u64;
    (CUTS[piece]..CUTS[piece + 1])
        .map(|at| (at / 7).wrapping_add(seed.wrapping_mul(0x9e37_79b9)).to_le_bytes()[0])
        .collect()
}

fn whole((generation, pieces): (u64, Pieces)) -> Option<Vec<u8>> {
    let part = |piece: usize| Some(bytes(generation, piece, pieces[piece]?));
    Some([part(0)?, part(1)?, part(2)?].concat())
}

fn identity(generation: u64) -> Identity {
    Identity::new().len(CUTS[3]).etag(format!("\"{generation}\""))
}

fn options(fs: Arc<dyn Fs>, generation: u64) -> ChunkedOptions {
    let mut options = ChunkedOptions::new()
        .identity(identity(generation))
        .checkpoint(CheckpointPolicy::Manual)
        .chunk_size(CHUNK)
        .fs(fs);
    options.map_segment_bytes = 2048;
    options
}

fn open(options: ChunkedOptions) -> crate::Result<File> {
    open_at(PATH, options)
}

fn open_at(path: &str, options: ChunkedOptions) -> crate::Result<File> {
    let fs = Arc::clone(&options.fs);
    AtomicChunked::open_with(PathBuf::from(path), options, move |path, _| {
        FileResource::open_with(path, FileOptions::new().fs(Arc::clone(&fs)))
    })
}

/// Which pieces are there: of a file that was just opened, those that were gone on with.
fn kept(file: &File) -> [bool; 3] {
    [0, 1, 2].map(|piece| file.contains_range(CUTS[piece]..CUTS[piece + 1]))
}

struct World {
    generation: u64,
    durability: Durability,
    file: Option<File>,
    /// What the handle has available.
    live: Pieces,
    disk: Disk,
    /// Or this, after a failure of which nobody knows what it did.
    or: Option<Disk>,
    promises: Promises,
}

impl World {
    fn new(run: &Run<Ledger>, durability: Durability) -> Self {
        let mut promises = Promises::default();
        let disk = Disk::default();
        let entry = promises.issue(run, "empty", &disk);
        promises.ack(run, entry);
        let (file, live) = (None, [None; 3]);
        Self { generation: 1, durability, file, live, disk, or: None, promises }
    }

    fn options(&self, run: &Run<Ledger>) -> ChunkedOptions {
        options(run.fs(), self.generation).durability(self.durability)
    }

    /// The state before the step may be found, or the one after it, until it is acknowledged.
    fn step(
        &mut self,
        run: &Run<Ledger>,
        step: &'static str,
        next: Disk,
        act: impl FnOnce(&mut Self) -> crate::Result<()>,
    ) -> Result<(), Fail> {
        let before = std::mem::replace(&mut self.disk, next);
        let kept = self.promises.all_kept();
        let entry = self.promises.issue(run, step, &self.disk);
        match act(self) {
            Ok(()) if self.durability == Durability::Synced => {
                self.promises.ack(run, entry);
                Ok(())
            }
            Ok(()) => {
                run.ack_buffered(entry);
                Ok(())
            }
            Err(error) => {
                if error.outcome() == Outcome::Unchanged {
                    self.disk = before;
                    let entry = self.promises.issue(run, "unchanged", &self.disk);
                    if kept {
                        self.promises.ack(run, entry);
                    }
                } else {
                    self.look(run, before)?;
                }
                Err(error.into())
            }
        }
    }

    /// After a failure of which nobody knows what it did: what programs see now, promised or not, is gone on with.
    fn look(&mut self, run: &Run<Ledger>, before: Disk) -> Result<(), Fail> {
        self.file = None;
        self.live = [None; 3];
        let both = [self.disk.clone(), before];
        let target = run.sim().read(PATH).ok();
        let sees = |disk: &&Disk| disk.target.and_then(whole) == target;
        let Some(disk) = both.iter().find(sees) else {
            return Err("the target is neither the old file nor the new one".into());
        };
        let disk = disk.clone();
        self.or = both.into_iter().find(|other| *other != disk && other.target == disk.target);
        self.disk = disk;
        self.promises.issue(run, "looked", &self.disk);
        Ok(())
    }

    /// Which of the two states it is, by what is trusted.
    fn decide(&mut self, file: &File) {
        let found = kept(file);
        let pieces = |disk: &Disk| {
            let part = disk.part.filter(|(generation, _)| *generation == self.generation);
            part.map_or([None; 3], |(_, pieces)| pieces)
        };
        let fits = |disk: &Disk| pieces(disk).map(|piece| piece.is_some()) == found;
        if let Some(or) = self.or.take()
            && fits(&or)
            && !fits(&self.disk)
        {
            self.disk = or;
        }
    }

    fn file(&mut self, run: &Run<Ledger>) -> Result<&File, Fail> {
        if self.file.is_none() {
            self.reopen(run)?;
        }
        self.file.as_ref().ok_or_else(|| "it was just opened".into())
    }

    fn reopen(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.file = None;
        self.live = [None; 3];
        let mut next = self.disk.clone();
        let same = next.part.is_some_and(|(generation, _)| generation == self.generation);
        if !same {
            next.part = None;
        }
        let sure = self.promises.all_kept();
        let opts = self.options(run);
        let opened = |world: &mut Self| {
            world.file = Some(open(opts)?);
            Ok(())
        };
        if next == self.disk {
            opened(self)?;
        } else {
            self.step(run, "open", next, opened)?;
        }
        let Some(file) = self.file.take() else { return Err("it was just opened".into()) };
        self.decide(&file);
        let file = &*self.file.insert(file);
        let known = self.disk.part.map_or([None; 3], |(_, pieces)| pieces);
        let found = kept(file);
        if sure && found != known.map(|piece| piece.is_some()) {
            return Err(Fail::new(format!("known {known:?}, opened {found:?}")));
        }
        // What is not promised may be there or not.
        self.live = [0, 1, 2].map(|piece| known[piece].filter(|_| found[piece]));
        if let Some((_, pieces)) = &mut self.disk.part {
            *pieces = self.live;
        }
        self.read_back()
    }

    fn read_back(&self) -> Result<(), Fail> {
        let Some(file) = &self.file else { return Ok(()) };
        for (piece, version) in self.live.iter().enumerate() {
            let Some(version) = version else { continue };
            let expected = bytes(self.generation, piece, *version);
            let mut found = vec![0; expected.len()];
            file.read_at(CUTS[piece], &mut found)?;
            if found != expected {
                return Err(Fail::new(format!("piece {piece} has other bytes")));
            }
        }
        Ok(())
    }

    fn write(&mut self, run: &Run<Ledger>, piece: usize) -> Result<(), Fail> {
        self.file(run)?;
        let version = run.next();
        let new = bytes(self.generation, piece, version);
        let write = |world: &mut Self| match &world.file {
            Some(file) => file.write_at(CUTS[piece], &new),
            None => Ok(()),
        };
        let mut next = self.disk.clone();
        // What an unsynced life recorded is not trusted, and so not taken back: it counts as long as its checksum holds.
        let range = CUTS[piece]..CUTS[piece + 1];
        let covers = |trusted: &Range<u64>| trusted.start < range.end && range.start < trusted.end;
        let trusted =
            self.file.as_ref().is_some_and(|file| file.trusted_ranges().iter().any(covers));
        let lost = match &mut next.part {
            Some((_, pieces)) if trusted => pieces[piece].take().is_some(),
            _ => false,
        };
        let written = if lost {
            self.live[piece] = None;
            let written = self.step(run, "overwrite", next, write);
            if written.is_err() && self.file.is_some() {
                // Taken back or not, and any of the bytes written.
                self.file = None;
                self.live = [None; 3];
            }
            written
        } else {
            write(self).map_err(Fail::from)
        };
        if written.is_ok() {
            self.live[piece] = Some(version);
        } else if !lost {
            // Bytes that were available may be others now.
            self.file = None;
            self.live = [None; 3];
        }
        written
    }

    fn checkpoint(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.file(run)?;
        let next = Disk { part: Some((self.generation, self.live)), ..self.disk.clone() };
        if self.live == [None; 3] {
            let Some(file) = &self.file else { return Ok(()) };
            return Ok(file.checkpoint().map(drop)?);
        }
        self.step(run, "checkpoint", next, |world| match &world.file {
            Some(file) => file.checkpoint().map(drop),
            None => Ok(()),
        })
    }

    fn commit(&mut self, run: &Run<Ledger>, options: &CommitOptions) -> Result<(), Fail> {
        self.file(run)?;
        let full = self.live.iter().all(Option::is_some);
        if !full {
            let Some(file) = &self.file else { return Ok(()) };
            return match file.commit_with(options.clone()) {
                Err(e)
                    if (e.kind(), e.outcome()) == (ErrorKind::Incomplete, Outcome::Unchanged) =>
                {
                    Ok(())
                }
                Err(e) => Err(e.into()),
                Ok(_) => Err("published a file with gaps".into()),
            };
        }
        let next = Disk { target: Some((self.generation, self.live)), part: None };
        self.step(run, "commit", next, |world| match &world.file {
            Some(file) => file.commit_with(options.clone()).map(drop),
            None => Ok(()),
        })?;
        self.file = None;
        self.live = [None; 3];
        Ok(())
    }

    fn abandon(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.file(run)?;
        let next = Disk { part: None, ..self.disk.clone() };
        self.live = [None; 3];
        self.step(run, "abandon", next, |world| match world.file.take() {
            Some(file) => file.abandon(),
            None => Ok(()),
        })
    }

    fn suspend(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.file(run)?;
        if self.live == [None; 3] {
            self.file = None;
            return Ok(());
        }
        let next = Disk { part: Some((self.generation, self.live)), ..self.disk.clone() };
        self.step(run, "suspend", next, |world| match world.file.take() {
            Some(file) => file.suspend(),
            None => Ok(()),
        })?;
        self.live = [None; 3];
        Ok(())
    }

    /// The remote file changed: what is there of the old one is worth nothing.
    fn changed(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        self.generation = run.next() + 1;
        self.reopen(run)
    }

    /// Commits and begins anew with the committed bytes.
    fn reactivate(&mut self, run: &Run<Ledger>) -> Result<(), Fail> {
        let Some((generation, pieces)) = self.disk.target else { return Ok(()) };
        if self.file.is_some() || generation != self.generation {
            return Ok(());
        }
        // A handle that has just committed is what is reactivated; this one commits the same bytes again.
        for piece in 0..3 {
            self.file(run)?;
            let Some(version) = pieces[piece] else { continue };
            let Some(file) = &self.file else { return Ok(()) };
            if self.live[piece].is_none() {
                file.write_at(CUTS[piece], &bytes(generation, piece, version))?;
                self.live[piece] = Some(version);
            }
        }
        let next = Disk { target: Some((generation, self.live)), part: None };
        let live = self.live;
        self.step(run, "commit again", next, |world| match &world.file {
            Some(file) => file.commit(None),
            None => Ok(()),
        })?;
        let Some(file) = &self.file else { return Ok(()) };
        file.reactivate()?;
        self.live = live;
        self.read_back()
    }
}

/// All that was recorded is there.
fn check(after: &After<Ledger>) -> Result<(), Fail> {
    check_found(after, false)
}

/// What was recorded and never synced may be gone, but what is there has its bytes.
fn check_buffered(after: &After<Ledger>) -> Result<(), Fail> {
    check_found(after, true)
}

/// Opens what is there, compares it with what may be, and goes on with it to the end.
fn check_found(after: &After<Ledger>, less: bool) -> Result<(), Fail> {
    let (mut states, or_nothing) = candidates(after);
    if or_nothing {
        states.push(Arc::default());
    }
    let seen = PartView::open_with(PATH, &options(after.fs(), 0))?;
    let generation = seen
        .identity()
        .and_then(|known| known.etag.as_deref()?.trim_matches('"').parse::<u64>().ok());
    drop(seen);
    let target = after.sim().read(PATH).ok();
    let generation = generation
        .or_else(|| states.iter().rev().find_map(|s| s.part.or(s.target)).map(|(g, _)| g))
        .unwrap_or(1);
    let file = open(options(after.fs(), generation))?;
    let found = kept(&file);
    let fits = |disk: &Disk| {
        let pieces = disk.part.filter(|(g, _)| *g == generation).map_or([None; 3], |(_, p)| p);
        let same = |piece: usize| match (pieces[piece], found[piece]) {
            (None, there) => !there,
            (Some(version), true) => {
                let expected = bytes(generation, piece, version);
                let mut read = vec![0; expected.len()];
                file.read_at(CUTS[piece], &mut read).is_ok() && read == expected
            }
            (Some(_), false) => less,
        };
        disk.target.and_then(whole) == target && (0..3).all(same)
    };
    let Some(state) = states.iter().find(|disk| fits(disk)) else {
        let promised = states.first().map_or_else(String::new, ToString::to_string);
        let len = target.map(|bytes| bytes.len());
        return Err(Fail::new(format!(
            "promised {promised}; found a target of length {len:?}, generation {generation} trusted {found:?}"
        )));
    };
    // On from here: the rest is written, and the file committed.
    let mut pieces = state.part.filter(|(g, _)| *g == generation).map_or([None; 3], |(_, p)| p);
    for piece in 0..3 {
        pieces[piece] = pieces[piece].filter(|_| found[piece]);
        if pieces[piece].is_none() {
            let version = after.next();
            file.write_at(CUTS[piece], &bytes(generation, piece, version))?;
            pieces[piece] = Some(version);
        }
    }
    let disk = Disk { target: Some((generation, pieces)), part: None };
    let kept = Entry::State(after.next(), "found", Arc::new((**state).clone()));
    after.issue(kept);
    let entry = Entry::State(after.next(), "used on", Arc::new(disk.clone()));
    after.issue(entry.clone());
    file.commit(None)?;
    after.ack(entry);
    if after.sim().read(PATH).ok() != whole((generation, pieces)) {
        return Err("what was committed after the crash is not there".into());
    }
    drop(file);
    let names: Vec<PathBuf> = after.sim().dump().into_keys().collect();
    match names.iter().find(|path| path.starts_with("/data") && !is_known(path)) {
        Some(path) => Err(Fail::new(format!("left over: {}", path.display()))),
        None => Ok(()),
    }
}

fn is_known(path: &std::path::Path) -> bool {
    [PathBuf::from("/data"), PathBuf::from(PATH)].iter().any(|known| known == path)
}

fn explorer(task: Task<'_>) -> Explorer<Ledger, World> {
    task.explorer(check)
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .start("empty", |run| Ok(World::new(run, Durability::Synced)))
        .start("half trusted", |run| {
            let mut world = World::new(run, Durability::Synced);
            world.write(run, 0)?;
            world.write(run, 2)?;
            world.checkpoint(run)?;
            Ok(world)
        })
        .start("whole, of an earlier target", |run| {
            let mut world = World::new(run, Durability::Synced);
            (0..3).try_for_each(|piece| world.write(run, piece))?;
            world.commit(run, &CommitOptions::new())?;
            (0..3).try_for_each(|piece| world.write(run, piece))?;
            Ok(world)
        })
        .op("write 0", |run, world: &mut World| world.write(run, 0))
        .op("write 1", |run, world| world.write(run, 1))
        .op("checkpoint", |run, world| world.checkpoint(run))
        .op("commit", |run, world| world.commit(run, &CommitOptions::new()))
        .op("drop and open", |run, world| world.reopen(run))
        .op("suspend", |run, world| world.suspend(run))
        .op("abandon", |run, world| world.abandon(run))
        .op("the file changed", |run, world| world.changed(run))
        .op("reactivate", |run, world| world.reactivate(run))
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

fn buffered(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let states = task.states;
    task.explorer(check_buffered)
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .start("empty", |run| Ok(World::new(run, Durability::Buffered)))
        .start("half trusted, and synced", |run| {
            let mut world = World::new(run, Durability::Synced);
            world.write(run, 0)?;
            world.checkpoint(run)?;
            world.file = None;
            world.durability = Durability::Buffered;
            Ok(world)
        })
        .op("write 0", |run, world: &mut World| world.write(run, 0))
        .op("write 1", |run, world| world.write(run, 1))
        .op("checkpoint", |run, world| world.checkpoint(run))
        .op("drop and open", |run, world| world.reopen(run))
        .op("go on synced", |run, world| {
            world.durability = Durability::Synced;
            world.reopen(run)
        })
        .sequences(4)
        .states_per_point(24, 4)
        .nested(1)
        .nested_budget(states / 4)
        .try_explore()
        .map_err(Box::new)
}

fn faults(task: Task<'_>) -> Result<Report, Box<Violation>> {
    explorer(task)
        .fault_sequences(2)
        .states_per_point(8, 2)
        .faults(FaultKind::ERRORS)
        .try_explore()
        .map_err(Box::new)
}

/// What a failed sync of the bytes leaves is copied before it is gone on with.
fn failed_syncs(task: Task<'_>) -> Result<Report, Box<Violation>> {
    task.explorer(check)
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .start("half trusted, and more written", |run| {
            let mut world = World::new(run, Durability::Synced);
            world.write(run, 0)?;
            world.checkpoint(run)?;
            world.write(run, 1)?;
            Ok(world)
        })
        .op("checkpoint", |run, world| world.checkpoint(run))
        .op("write 2", |run, world: &mut World| world.write(run, 2))
        .fault_sequences(3)
        .states_per_point(8, 2)
        .faults(&[FaultKind::Io])
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part {
            name: "chunked_all_sequences",
            what: "sequences of up to three operations from three starts, power cuts and kills",
            run: sequences,
        },
        Part {
            name: "chunked_a_fault_at_every_call",
            what: "calls that fail, each in every way, then power cuts and kills",
            run: faults,
        },
        Part {
            name: "chunked_buffered_then_synced",
            what: "the same where nothing was synced at first",
            run: buffered,
        },
        Part {
            name: "chunked_failed_syncs",
            what: "calls that fail with an error of the disk, and what is gone on with then",
            run: failed_syncs,
        },
    ]
}
