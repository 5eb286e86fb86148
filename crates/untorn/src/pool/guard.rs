//! Guards: a value that stays in memory as long as somebody looks at it, or changes it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::entry::Entry;
use super::fb::Fb;

/// A look at a value. It stays in memory, charged to the budget, as long as the guard lives; others may read and persist it meanwhile.
pub struct ReadGuard<'a, T: Send + Sync + 'static> {
    // Dropped in this order: an entry without pins has the only reference.
    value: Arc<T>,
    _pin: Pin<'a, T>,
}

struct Pin<'a, T: Send + Sync + 'static>(&'a Arc<Entry<T>>);

impl<T: Send + Sync + 'static> Drop for Pin<'_, T> {
    fn drop(&mut self) {
        self.0.unpin();
    }
}

impl<'a, T: Send + Sync + 'static> ReadGuard<'a, T> {
    /// Of a value that is pinned.
    pub(crate) const fn of(entry: &'a Arc<Entry<T>>, value: Arc<T>) -> Self {
        Self { value, _pin: Pin(entry) }
    }
}

impl<T: Send + Sync + 'static> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// As a [`ReadGuard`], and borrows nothing. The handle may go before it.
pub struct OwnedReadGuard<T: Send + Sync + 'static> {
    value: Arc<T>,
    _pin: OwnedPin<T>,
}

struct OwnedPin<T: Send + Sync + 'static>(Arc<Entry<T>>);

impl<T: Send + Sync + 'static> Drop for OwnedPin<T> {
    fn drop(&mut self) {
        self.0.unpin();
    }
}

impl<T: Send + Sync + 'static> OwnedReadGuard<T> {
    pub(crate) const fn of(entry: Arc<Entry<T>>, value: Arc<T>) -> Self {
        Self { value, _pin: OwnedPin(entry) }
    }
}

impl<T: Send + Sync + 'static> Deref for OwnedReadGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Changes a value. The handle has a new key already: what was persisted under the old one stays as it was.
///
/// When it is dropped the value is weighed again. A guard that is forgotten loses nothing: the handle has the value, as far as it was changed.
pub struct WriteGuard<'a, T: Send + Sync + 'static> {
    fb: &'a mut Fb<T>,
}

impl<'a, T: Send + Sync + 'static> WriteGuard<'a, T> {
    /// Of a handle that the value was lent to, and has the only reference to it.
    pub(crate) const fn of(fb: &'a mut Fb<T>) -> Self {
        Self { fb }
    }
}

impl<T: Send + Sync + 'static> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[expect(clippy::expect_used, reason = "the handle is borrowed as long as the guard lives")]
    fn deref(&self) -> &T {
        self.fb.lent.as_deref().expect("the value was lent to the handle")
    }
}

impl<T: Send + Sync + 'static> DerefMut for WriteGuard<'_, T> {
    #[expect(clippy::expect_used, reason = "checked when the guard was made; nothing else sees it")]
    fn deref_mut(&mut self) -> &mut T {
        let value = self.fb.lent.as_mut().and_then(Arc::get_mut);
        value.expect("the handle has the only reference")
    }
}

impl<T: Send + Sync + 'static> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        self.fb.give_back();
    }
}

impl<T: Send + Sync + 'static> std::fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadGuard").finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> std::fmt::Debug for OwnedReadGuard<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnedReadGuard").finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> std::fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteGuard").finish_non_exhaustive()
    }
}
