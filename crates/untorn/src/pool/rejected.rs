//! A refused call that gives back what it was given.

use crate::{Error, ErrorKind};

/// What a call that took a value gives back where it fails: the value, and why.
pub struct Rejected<V> {
    error: Error,
    value: V,
}

impl<V> Rejected<V> {
    pub(crate) const fn new(error: Error, value: V) -> Self {
        Self { error, value }
    }

    /// Why it was refused.
    pub const fn error(&self) -> &Error {
        &self.error
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// What was given, unchanged.
    pub fn into_value(self) -> V {
        self.value
    }

    /// Both.
    pub fn into_parts(self) -> (Error, V) {
        (self.error, self.value)
    }
}

impl<V> From<Rejected<V>> for Error {
    fn from(rejected: Rejected<V>) -> Self {
        rejected.error
    }
}

impl<V> std::fmt::Debug for Rejected<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rejected").field(&self.error).finish()
    }
}

impl<V> std::fmt::Display for Rejected<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl<V> std::error::Error for Rejected<V> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
