//! The state of a handle after a failed sync: nothing it knows is trusted any more, and every call says so.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::{Error, Result};

/// Set once, by the first failure; never cleared but by opening anew.
#[derive(Debug, Default)]
pub(crate) struct Poison(OnceLock<Arc<Error>>);

impl Poison {
    /// Poisons the handle. The first cause stays.
    pub(crate) fn set(&self, cause: Arc<Error>) {
        let _first_stays = self.0.set(cause);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    pub(crate) fn check(&self, operation: &'static str, path: &Path) -> Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(first) => Err(Error::poisoned(operation, path, Arc::clone(first))),
        }
    }
}
