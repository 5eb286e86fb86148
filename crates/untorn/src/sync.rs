//! The locks and atomics of what threads share, in one place, so that a scheduler of tests can take theirs: with `--cfg shuttle` the tests
//! are built with those of `shuttle`. Counts stay those of `std`; nothing waits for them.

#[cfg(all(test, shuttle))]
use shuttle::sync as own;
#[cfg(not(all(test, shuttle)))]
use std::sync as own;

pub(crate) use own::atomic::{AtomicU64, Ordering};
pub(crate) use own::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

/// The lock; what it guards is whole also after a panic of another holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same of a lock for reading.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The same of a lock for writing.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, shuttle))]
pub(crate) use scheduled::ArcCell;
#[cfg(not(all(test, shuttle)))]
pub(crate) use swapped::ArcCell;

#[cfg(not(all(test, shuttle)))]
mod swapped {
    use std::sync::Arc;

    /// A shared value that is replaced as a whole, or taken out.
    pub(crate) struct ArcCell<T>(arc_swap::ArcSwapOption<T>);

    impl<T> ArcCell<T> {
        pub(crate) fn new(value: Option<Arc<T>>) -> Self {
            Self(arc_swap::ArcSwapOption::new(value))
        }

        /// A look at it, without a count that other threads write to.
        #[inline]
        pub(crate) fn load(&self) -> arc_swap::Guard<Option<Arc<T>>> {
            self.0.load()
        }

        pub(crate) fn load_full(&self) -> Option<Arc<T>> {
            self.0.load_full()
        }

        pub(crate) fn store(&self, value: Option<Arc<T>>) {
            self.0.store(value);
        }

        /// Takes it out. Who looks at it is counted when this returns.
        pub(crate) fn take(&self) -> Option<Arc<T>> {
            self.0.swap(None)
        }
    }
}

/// The same to the scheduler: each look, and each change, is one step. That `arc_swap` counts those who look is not tried here.
#[cfg(all(test, shuttle))]
mod scheduled {
    use std::sync::Arc;

    use crate::sync::{Mutex, lock};

    pub(crate) struct ArcCell<T>(Mutex<Option<Arc<T>>>);

    impl<T> ArcCell<T> {
        pub(crate) fn new(value: Option<Arc<T>>) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn load(&self) -> Option<Arc<T>> {
            self.load_full()
        }

        pub(crate) fn load_full(&self) -> Option<Arc<T>> {
            lock(&self.0).clone()
        }

        pub(crate) fn store(&self, value: Option<Arc<T>>) {
            let old = std::mem::replace(&mut *lock(&self.0), value);
            drop(old);
        }

        pub(crate) fn take(&self) -> Option<Arc<T>> {
            lock(&self.0).take()
        }
    }
}
