//! Objects to a path: written from memory, or copied from the spill.

use std::sync::Arc;

use super::entry::{Claimed, Entry};
use super::fb::Fb;
use super::job::Job;
use super::pool::Pool;
use super::sets::{CheckpointId, SetPath};
use super::tracked::TrackedPath;
use crate::{Error, Result};

/// What goes to the path in one write, about.
const BATCH: u64 = 1 << 20;

impl<T: Send + Sync + 'static> Fb<T> {
    /// Stages many objects for a path's loose set, in few large writes. See [`blocking_persist`](Self::blocking_persist).
    ///
    /// # Errors
    /// As [`blocking_persist`](Self::blocking_persist); some may be staged then.
    pub fn blocking_persist_many<P: Send + Sync + 'static>(
        handles: &[&Self],
        path: &TrackedPath<P>,
    ) -> Result<()> {
        Self::stage_many(handles, path, TrackedPath::is_loose)
    }

    /// Stages those that the path does not have, by that measure.
    fn stage_many<P: Send + Sync + 'static>(
        handles: &[&Self],
        path: &TrackedPath<P>,
        has: fn(&TrackedPath<P>, uuid::Uuid) -> bool,
    ) -> Result<()> {
        // Before anything is claimed, so that an error leaves nothing claimed.
        handles.iter().try_for_each(|fb| path.check(&fb.pool().inner.core))?;
        let mut left: Vec<&Self> = handles.to_vec();
        loop {
            let mut busy: Vec<&Self> = Vec::new();
            let mut rest = left.as_slice();
            while !rest.is_empty() {
                let mut part = Part::new();
                while let Some((fb, more)) = rest.split_first() {
                    // A part is encoded by one pool.
                    if part.weight >= BATCH || !part.is_of(fb.pool()) {
                        break;
                    }
                    rest = more;
                    if !has(path, fb.key()) && !part.claim(fb) {
                        busy.push(fb);
                    }
                }
                part.write(path)?;
            }
            // One waits only while one holds nothing: else two who persist the same objects would wait for each other.
            let Some(first) = busy.first() else { return Ok(()) };
            first.let_go();
            left = busy;
        }
    }

    /// Makes a job that stages the object as it is now; `None` if the path has it. Whoever comes first does it.
    #[cfg(feature = "tokio")]
    pub(crate) fn begin_persist<P: Send + Sync + 'static>(
        &self,
        path: &Arc<TrackedPath<P>>,
    ) -> Result<Option<Arc<Job>>> {
        path.check(&self.pool().inner.core)?;
        loop {
            if path.is_loose(self.key()) {
                return Ok(None);
            }
            let mut part = Part::new();
            if part.claim(self) {
                let (job, path) = (Arc::clone(&part.job), Arc::clone(path));
                // The error is the job's.
                job.enqueue(Box::new(move || drop(part.write(&path))));
                return Ok(Some(job));
            }
            self.let_go();
        }
    }

    /// Waits for what keeps the object from being claimed.
    fn let_go(&self) {
        let job = self.entry.slot().job.clone();
        match job {
            Some(job) => drop(job.wait()),
            None => self.restore(),
        }
    }

    /// Makes the objects the set `name` of a path, in place of what it was, in one commit; stages those first that the path does not have.
    ///
    /// # Durability
    /// As [`SetPath::checkpoint`].
    ///
    /// # Errors
    /// As [`SetPath::checkpoint`] and [`blocking_persist`](Self::blocking_persist).
    pub fn blocking_checkpoint<P: SetPath>(
        handles: &[&Self],
        path: &TrackedPath<P>,
        name: &str,
        meta: &[u8],
    ) -> Result<CheckpointId> {
        // What a set has already need not be loose.
        Self::stage_many(handles, path, TrackedPath::contains_key)?;
        let keys: Vec<_> = handles.iter().map(|fb| fb.key()).collect();
        path.checkpoint(name, &keys, meta)
    }
}

/// Objects that go to the path together, all held by one job.
struct Part<T: Send + Sync + 'static> {
    job: Arc<Job>,
    fresh: Vec<Claimed<T>>,
    copies: Vec<(Arc<Entry<T>>, uuid::Uuid)>,
    weight: u64,
}

impl<T: Send + Sync + 'static> Part<T> {
    fn new() -> Self {
        Self { job: Job::running(false), fresh: Vec::new(), copies: Vec::new(), weight: 0 }
    }

    /// Whether it may take values of the pool.
    fn is_of(&self, pool: &Arc<Pool<T>>) -> bool {
        self.fresh.first().is_none_or(|claim| Arc::ptr_eq(&claim.entry.pool, pool))
    }

    fn claim(&mut self, fb: &Fb<T>) -> bool {
        if let Some(claimed) = fb.entry.begin_write(&self.job) {
            self.fresh.push(claimed);
        } else if let Some(key) = fb.entry.begin_copy(&self.job) {
            self.copies.push((Arc::clone(&fb.entry), key));
        } else {
            return false;
        }
        self.weight = self.weight.saturating_add(fb.weight());
        fb.entry.mark_shared();
        true
    }

    fn write<P: Send + Sync + 'static>(mut self, path: &TrackedPath<P>) -> Result<()> {
        let mut first: Option<Arc<Error>> = None;
        if let Some(claim) = self.fresh.first() {
            let pool = Arc::clone(&claim.entry.pool);
            let results = pool.inner.write(&mut self.fresh, Some(path.any()));
            for (claim, result) in self.fresh.iter().zip(results) {
                claim.entry.end_job(result.is_ok());
                match result {
                    Ok(()) => path.note_persisted(claim.key),
                    Err(error) => drop(first.get_or_insert_with(|| Arc::new(error))),
                }
            }
        }
        if let Some((entry, _)) = self.copies.first() {
            let keys: Vec<_> = self.copies.iter().map(|(_, key)| *key).collect();
            let copied = entry.pool.inner.tier.copy(path.any(), &keys);
            for (entry, key) in &self.copies {
                entry.end_job(true);
                if copied.is_ok() {
                    path.note_persisted(*key);
                }
            }
            if let Err(error) = copied {
                first.get_or_insert_with(|| Arc::new(error));
            }
        }
        self.job.finish(first.clone());
        first.map_or(Ok(()), |error| Err(Error::share(&error)))
    }
}
