//! Changes as they are committed, handed to whoever asked for them; nobody holds the writer up.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::{KvEntry, KvUpdate, VersionToken, WatchCursor};

/// What became of a key in one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The key.
    pub key: String,
    /// The version that it had, if it had a value.
    pub old: Option<VersionToken>,
    /// What it has now; `None` if it was deleted.
    pub new: Option<KvEntry>,
    /// The cursor of the commit.
    pub cursor: WatchCursor,
}

/// What a [`Receiver`] gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A key changed.
    Changed(Change),
    /// So many changes came that the oldest were dropped: read the state again, which is at this cursor or behind it. What
    /// follows comes after that.
    Lagged {
        /// The cursor of the last commit that was dropped.
        resync_from: WatchCursor,
    },
}

/// Gets the changes of the keys with a prefix, commit by commit, in order. Dropped, it gets no more.
#[derive(Debug)]
pub struct Receiver(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    prefix: String,
    depth: usize,
    inner: Mutex<Inner>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Change>,
    lagged: Option<WatchCursor>,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// The next event; `None` if none has come so far, or none will.
    pub fn try_recv(&self) -> Option<Event> {
        self.0.lock().take()
    }

    /// The next event; `None` if the fold was closed, or none comes for so long.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Event> {
        let waited = self.0.arrived.wait_timeout_while(self.0.lock(), timeout, |i| i.is_waiting());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// Waits for the next event; `None` once the fold was closed and all were taken.
    pub fn recv(&self) -> Option<Event> {
        let waited = self.0.arrived.wait_while(self.0.lock(), |inner| inner.is_waiting());
        waited.unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Inner {
    fn is_waiting(&self) -> bool {
        self.events.is_empty() && self.lagged.is_none() && !self.closed
    }

    fn take(&mut self) -> Option<Event> {
        if let Some(resync_from) = self.lagged.take() {
            return Some(Event::Lagged { resync_from });
        }
        self.events.pop_front().map(Event::Changed)
    }
}

/// All who asked.
#[derive(Debug, Default)]
pub(super) struct Hub(Mutex<Vec<Weak<Queue>>>);

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self, prefix: &str, depth: usize) -> Receiver {
        let (inner, arrived) = (Mutex::default(), Condvar::new());
        let queue =
            Arc::new(Queue { prefix: prefix.to_owned(), depth: depth.max(1), inner, arrived });
        self.lock().push(Arc::downgrade(&queue));
        Receiver(queue)
    }

    /// Whether anybody wants to hear of this key.
    pub(super) fn wants(&self, key: &str) -> bool {
        let mut queues = self.lock();
        queues.retain(|queue| queue.strong_count() > 0);
        let wants =
            |queue: &Weak<Queue>| queue.upgrade().is_some_and(|q| key.starts_with(&q.prefix));
        queues.iter().any(wants)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn tell(&self, changes: &[Change]) {
        let queues: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        for queue in queues {
            let mut inner = queue.lock();
            for change in changes.iter().filter(|change| change.key.starts_with(&queue.prefix)) {
                inner.events.push_back(change.clone());
                if inner.events.len() > queue.depth {
                    // What is left would have a hole before it.
                    let dropped = inner.events.pop_back().map(|last| last.cursor);
                    inner.events.clear();
                    inner.lagged = dropped;
                }
            }
            drop(inner);
            queue.arrived.notify_all();
        }
    }

    /// All keys changed at once: who listens must read again.
    pub(super) fn lag(&self, cursor: &WatchCursor) {
        for queue in self.lock().iter().filter_map(Weak::upgrade) {
            let mut inner = queue.lock();
            inner.events.clear();
            inner.lagged = Some(cursor.clone());
            drop(inner);
            queue.arrived.notify_all();
        }
    }

    pub(super) fn close(&self) {
        for queue in self.lock().drain(..).filter_map(|queue| queue.upgrade()) {
            queue.lock().closed = true;
            queue.arrived.notify_all();
        }
    }
}

/// The change that an update is, where the key had the version `old`.
pub(super) fn change(update: &KvUpdate, old: Option<VersionToken>, cursor: &WatchCursor) -> Change {
    let new = match update {
        KvUpdate::Put(entry) => Some(entry.clone()),
        KvUpdate::Delete { .. } | KvUpdate::Purge { .. } => None,
    };
    Change { key: update.key().to_owned(), old, new, cursor: cursor.clone() }
}
