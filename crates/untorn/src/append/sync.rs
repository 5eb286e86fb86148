//! The locks and atomics of the read side, in one place, so that a scheduler of tests can take theirs: with `--cfg shuttle` the tests
//! are built with those of `shuttle`. Counts stay those of `std`; nothing waits for them.

use std::sync::Arc;

#[cfg(all(test, shuttle))]
use shuttle::sync as own;
#[cfg(not(all(test, shuttle)))]
use std::sync as own;

pub(super) use own::atomic::{AtomicU64, Ordering};
pub(super) use own::{
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

#[cfg(all(test, shuttle))]
pub(super) use scheduled::ArcCell;
#[cfg(not(all(test, shuttle)))]
pub(super) use swapped::ArcCell;

#[cfg(not(all(test, shuttle)))]
mod swapped {
    use super::Arc;

    /// A shared value that is replaced as a whole, or taken out.
    pub(in super::super) struct ArcCell<T>(arc_swap::ArcSwapOption<T>);

    impl<T> ArcCell<T> {
        pub(in super::super) fn new(value: Option<Arc<T>>) -> Self {
            Self(arc_swap::ArcSwapOption::new(value))
        }

        /// A look at it, without a count that other threads write to.
        #[inline]
        pub(in super::super) fn load(&self) -> arc_swap::Guard<Option<Arc<T>>> {
            self.0.load()
        }

        pub(in super::super) fn load_full(&self) -> Option<Arc<T>> {
            self.0.load_full()
        }

        pub(in super::super) fn store(&self, value: Option<Arc<T>>) {
            self.0.store(value);
        }

        /// Takes it out. Who looks at it is counted when this returns.
        pub(in super::super) fn take(&self) -> Option<Arc<T>> {
            self.0.swap(None)
        }
    }
}

/// The same to the scheduler: each look, and each change, is one step. That `arc_swap` counts those who look is not tried here.
#[cfg(all(test, shuttle))]
mod scheduled {
    use super::{Arc, Mutex, lock};

    pub(in super::super) struct ArcCell<T>(Mutex<Option<Arc<T>>>);

    impl<T> ArcCell<T> {
        pub(in super::super) fn new(value: Option<Arc<T>>) -> Self {
            Self(Mutex::new(value))
        }

        pub(in super::super) fn load(&self) -> Option<Arc<T>> {
            self.load_full()
        }

        pub(in super::super) fn load_full(&self) -> Option<Arc<T>> {
            lock(&self.0).clone()
        }

        pub(in super::super) fn store(&self, value: Option<Arc<T>>) {
            let old = std::mem::replace(&mut *lock(&self.0), value);
            drop(old);
        }

        pub(in super::super) fn take(&self) -> Option<Arc<T>> {
            lock(&self.0).take()
        }
    }
}
