//! The locks and atomics of the read side, in one place, so that a scheduler of tests can take theirs.

use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

/// The lock; what it guards is whole also after a panic of another holder.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same of a lock for reading.
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The same of a lock for writing.
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// A shared value that is replaced as a whole, or taken out.
pub(super) struct ArcCell<T>(arc_swap::ArcSwapOption<T>);

impl<T> ArcCell<T> {
    pub(super) fn new(value: Option<Arc<T>>) -> Self {
        Self(arc_swap::ArcSwapOption::new(value))
    }

    /// A look at it, without a count that other threads write to.
    #[inline]
    pub(super) fn load(&self) -> arc_swap::Guard<Option<Arc<T>>> {
        self.0.load()
    }

    pub(super) fn load_full(&self) -> Option<Arc<T>> {
        self.0.load_full()
    }

    pub(super) fn store(&self, value: Option<Arc<T>>) {
        self.0.store(value);
    }

    /// Takes it out. Who looks at it is counted when this returns.
    pub(super) fn take(&self) -> Option<Arc<T>> {
        self.0.swap(None)
    }
}
