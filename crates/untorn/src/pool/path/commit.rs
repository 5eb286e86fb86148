//! Makes what is staged durable: bytes, then names, then one record of the manifest, then what it let go of is taken away.
//!
//! ```text
//! under one look: what is staged, and what no sync covers    SYNC segments, own files    SYNC their directories
//! append the record    SYNC the manifest    ok    unlink what nothing lists
//! a crash before the record's sync shows the old state, or the new one if the record is whole; then all it lists is synced
//! ```
//!
//! # Invariants
//! - C1 A record is appended after everything that it lists was synced, bytes and names.
//! - C2 What a commit that is under way adds is not forgotten meanwhile, whatever becomes of its staging.
//! - C3 After an error with `Unchanged` all that was staged is staged still.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::core::open_dir;
use super::core::{Core, Names, Owner, State, prefix_name};
use super::record::Writer as Record;
use crate::commit::sync_dir;
use crate::fs::{Dir, SyncSite};
use crate::log::State as Manifest;
use crate::pool::segment::Segment;
use crate::pool::sets::{CheckpointId, Set, SetInfo};
use crate::{Error, ErrorKind, Outcome, Result, commit};

/// The longest name of a set.
const NAME_MAX: usize = 255;
/// The most that a checkpoint says of its set.
const META_MAX: usize = 1 << 20;

/// A commit on its way.
#[derive(Debug, Default)]
struct Plan {
    record: Vec<u8>,
    /// Objects that were not listed before (C2).
    adds: Vec<Uuid>,
    /// What the loose set is to have or not any more.
    loose: Vec<(Uuid, bool)>,
    /// What was staged for the loose set, and is only in a named one now.
    named: Vec<Uuid>,
    segments: Vec<Arc<Segment>>,
    own: Vec<Arc<Segment>>,
    names: Names,
}

/// Directories that names were given in, open.
#[derive(Debug, Default)]
struct Dirs {
    segments: Option<Arc<dyn Dir>>,
    objects: Option<Arc<dyn Dir>>,
    prefixes: BTreeMap<u8, Arc<dyn Dir>>,
}

impl Core {
    /// Commits everything that is staged for the loose set.
    pub(in crate::pool) fn commit(&self) -> Result<()> {
        self.run("sync", |state, plan| {
            let mut record = Record::new();
            for key in &state.staged {
                let Some(entry) = state.table.objects.get(key) else { continue };
                match entry.want {
                    Some(true) if entry.is_listed() => record.loose(*key),
                    Some(true) => {
                        record.object(*key, &entry.object, true);
                        plan.adds.push(*key);
                    }
                    Some(false) => record.unloose(*key),
                    None => continue,
                }
                plan.loose.extend(entry.want.map(|want| (*key, want)));
            }
            if !record.is_empty() {
                plan.record = record.bytes();
            }
            Ok(())
        })
    }

    /// Makes `keys` the set `name`, in place of what it was.
    pub(super) fn checkpoint(
        &self,
        name: &str,
        keys: &[Uuid],
        meta: &[u8],
    ) -> Result<CheckpointId> {
        let refuse = |what: &'static str| {
            Error::new(ErrorKind::InvalidInput, "checkpoint", &self.path, what)
        };
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(refuse("the name of a set has 1 to 255 bytes"));
        }
        if meta.len() > META_MAX {
            return Err(refuse("a checkpoint says at most 1 MiB of its set"));
        }
        let mut id = 0;
        self.run("checkpoint", |state, plan| {
            id = state.table.last_id.saturating_add(1);
            let mut record = Record::new();
            for key in keys {
                let entry = state.table.objects.get(key);
                let known = |entry: &&super::table::Entry| entry.is_listed() || entry.is_there();
                let Some(entry) = entry.filter(known) else {
                    return Err(self.unknown("checkpoint", *key));
                };
                if !entry.is_listed() {
                    record.object(*key, &entry.object, false);
                    plan.adds.push(*key);
                }
                if entry.want == Some(true) {
                    plan.named.push(*key);
                }
            }
            if !state.table.put_set(&mut record, (name, id), keys, meta) {
                return Err(refuse("a key comes twice"));
            }
            plan.record = record.bytes();
            Ok(())
        })?;
        Ok(CheckpointId(id))
    }

    /// Drops a set; that there is none is no error.
    pub(super) fn drop_set(&self, name: &str) -> Result<()> {
        self.run("drop set", |state, plan| {
            if state.table.sets.contains_key(name) {
                let mut record = Record::new();
                record.drop_set(name);
                plan.record = record.bytes();
            }
            Ok(())
        })
    }

    pub(super) fn read_set(&self, name: &str) -> Result<Option<Set>> {
        self.poison.check("read set", &self.path)?;
        let state = self.state();
        Ok(state.table.sets.get(name).map(|set| Set {
            keys: set.keys.clone(),
            meta: set.meta.clone(),
            id: CheckpointId(set.id),
        }))
    }

    pub(super) fn sets(&self) -> Vec<SetInfo> {
        let state = self.state();
        let info = |(name, set): (&String, &super::table::Named)| SetInfo {
            name: name.clone(),
            objects: set.keys.len() as u64,
            meta_len: set.meta.len() as u64,
            id: CheckpointId(set.id),
        };
        state.table.sets.iter().map(info).collect()
    }

    /// Runs one commit: `plan` says what it is, under the lock of the state.
    fn run(
        &self,
        operation: &'static str,
        plan: impl FnMut(&State, &mut Plan) -> Result<()>,
    ) -> Result<()> {
        let mut owner = self.owner();
        self.check(operation)?;
        let Some(owner) = owner.as_mut() else {
            let what = "the path was dropped";
            return Err(Error::new(ErrorKind::Closed, operation, &self.path, what));
        };
        let (plan, dirs) = self.make_plan(plan)?;
        if plan.record.is_empty() {
            return Ok(());
        }
        let done = self.sync_plan(&plan, &dirs).and_then(|()| self.put(owner, &plan.record));
        if let Err(error) = done {
            self.take_back(&plan);
            return Err(error.during(operation));
        }
        self.settle(plan)?;
        self.tidy(owner);
        Ok(())
    }

    /// Decides under one look what the commit does, and takes over what has to be synced for it (C1).
    fn make_plan(
        &self,
        mut fill: impl FnMut(&State, &mut Plan) -> Result<()>,
    ) -> Result<(Plan, Dirs)> {
        let mut dirs = Dirs::default();
        loop {
            let missing = {
                let mut state = self.state();
                let missing = dirs.missing(&state.names);
                if missing.is_none() {
                    let mut plan = Plan::default();
                    fill(&state, &mut plan)?;
                    if !plan.record.is_empty() {
                        state.hand_over(&mut plan);
                    }
                    return Ok((plan, dirs));
                }
                missing
            };
            // Opening may fail, and then nothing has changed.
            match missing {
                Some(Missing::Segments) => dirs.segments = Some(self.segment_dir()?),
                Some(Missing::Objects) => dirs.objects = Some(self.object_dir()?),
                Some(Missing::Prefix(prefix)) => {
                    let dir = open_dir(&*self.object_dir()?, &prefix_name(prefix))?;
                    dirs.prefixes.insert(prefix, dir);
                }
                None => {}
            }
        }
    }

    fn sync_plan(&self, plan: &Plan, dirs: &Dirs) -> Result<()> {
        let fatal = |done: Result<()>| done.map_err(|e| self.poisoned(e));
        for segment in &plan.segments {
            fatal(commit::sync_data(&*segment.file, SyncSite::PoolSegment))?;
        }
        self.sync_own(plan.own.iter().map(Arc::clone))?;
        if let (true, Some(dir)) = (plan.names.segments, &dirs.segments) {
            fatal(sync_dir(&**dir, SyncSite::PoolSegmentDir))?;
        }
        for (_, dir) in dirs.prefixes.iter().filter(|(at, _)| plan.names.prefixes.contains(at)) {
            fatal(sync_dir(&**dir, SyncSite::PoolObjectDir))?;
        }
        if let (true, Some(dir)) = (plan.names.objects, &dirs.objects) {
            fatal(sync_dir(&**dir, SyncSite::PoolDir))?;
        }
        if plan.names.path {
            fatal(sync_dir(&*self.dir, SyncSite::PoolDir))?;
        }
        Ok(())
    }

    /// Appends the record and waits for it.
    pub(super) fn put(&self, owner: &Owner, record: &[u8]) -> Result<()> {
        let done = owner.manifest.change(record).and_then(|ticket| ticket.wait());
        match done {
            Ok(_) => Ok(()),
            Err(e) if e.outcome() == Outcome::Unchanged => Err(e),
            Err(e) => Err(self.poisoned(e)),
        }
    }

    /// It did not happen, or nobody knows (C3).
    fn take_back(&self, plan: &Plan) {
        let mut state = self.state();
        state.committing(plan, false);
        for key in plan.loose.iter().map(|(key, _)| key).chain(&plan.adds) {
            state.settle(*key);
        }
        drop(state);
        self.clear_away();
    }

    /// The record is durable: the table follows.
    fn settle(&self, plan: Plan) -> Result<()> {
        let mut state = self.state();
        let unlisted = state.table.apply(&plan.record).map_err(|misfit| {
            // It was made of this very table.
            let what = format!("a record of our own does not fit: {misfit:?}");
            self.poisoned(Error::new(ErrorKind::Failed, "commit", &self.path, what))
        })?;
        state.committing(&plan, false);
        for key in plan.named {
            if let Some(entry) = state.table.objects.get_mut(&key) {
                entry.want = entry.want.filter(|want| !want);
            }
            state.settle(key);
        }
        let loose = plan.loose.into_iter().map(|(key, _)| key);
        for key in plan.adds.into_iter().chain(loose).chain(unlisted) {
            state.settle(key);
        }
        drop(state);
        self.clear_away();
        Ok(())
    }

    /// What can be done after a commit, and need not be: its failure is nobody's.
    fn tidy(&self, owner: &Owner) {
        if owner.manifest.due() {
            let full = self.state().table.full();
            let done = owner.manifest.full(&full);
            self.note(&owner.manifest, done);
        }
        if self.is_wasteful() {
            drop(self.compact_some(owner, Some(1)));
        }
    }

    /// A failure that the manifest does not survive is ours, too.
    pub(super) fn note(&self, manifest: &Manifest, done: Result<()>) {
        if let (Err(_), Err(dead)) = (done, manifest.log().check("sync")) {
            self.poison.set(Arc::new(dead));
        }
    }
}

impl State {
    /// Gives what no sync covers to the commit, which syncs it or poisons the path.
    fn hand_over(&mut self, plan: &mut Plan) {
        self.committing(plan, true);
        plan.segments = self.unsynced_segments();
        plan.own = std::mem::take(&mut self.unsynced).into_values().collect();
        plan.names = std::mem::take(&mut self.names);
    }

    /// Marks what a commit changes, or takes the marks away: what is wanted meanwhile is held against what it will have made of it.
    fn committing(&mut self, plan: &Plan, is: bool) {
        let loose = plan.loose.iter().map(|(key, _)| key);
        for key in plan.adds.iter().chain(loose) {
            if let Some(entry) = self.table.objects.get_mut(key) {
                entry.committing = is;
            }
        }
    }

    pub(super) fn unsynced_segments(&mut self) -> Vec<Arc<Segment>> {
        let unsynced = self.segments.values_mut().filter(|seg| seg.unsynced);
        let taken = unsynced.filter_map(|seg| {
            seg.unsynced = false;
            seg.file.clone()
        });
        taken.collect()
    }
}

enum Missing {
    Segments,
    Objects,
    Prefix(u8),
}

impl Dirs {
    /// What has to be opened yet.
    fn missing(&self, names: &Names) -> Option<Missing> {
        if names.segments && self.segments.is_none() {
            return Some(Missing::Segments);
        }
        if names.objects && self.objects.is_none() {
            return Some(Missing::Objects);
        }
        let missing = names.prefixes.iter().find(|at| !self.prefixes.contains_key(at));
        missing.map(|at| Missing::Prefix(*at))
    }
}
