//! A store that is lent to a task for each call that waits for the disk.

use std::path::{Path, PathBuf};

use super::blocking;
use crate::{Error, ErrorKind, Outcome, Result};

#[derive(Debug)]
pub(super) struct Lent<S> {
    /// With a call that is on its way, or gone with one whose future was dropped.
    store: Option<S>,
    path: PathBuf,
}

impl<S: Send + 'static> Lent<S> {
    /// Opens a store on the blocking pool.
    pub(super) async fn open(
        path: &Path,
        open: impl FnOnce(PathBuf) -> Result<S> + Send + 'static,
    ) -> Result<Self> {
        let (path, given) = (path.to_path_buf(), path.to_path_buf());
        let store = blocking(&path, move || open(given)).await?;
        Ok(Self { store: Some(store), path })
    }

    pub(super) fn get(&self) -> Result<&S> {
        self.store.as_ref().ok_or_else(|| cancelled(&self.path))
    }

    pub(super) fn get_mut(&mut self) -> Result<&mut S> {
        self.store.as_mut().ok_or_else(|| cancelled(&self.path))
    }

    /// Lends the store to a task, which gives it back when it is done.
    pub(super) async fn call<R: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut S) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let Some(mut store) = self.store.take() else { return Err(cancelled(&self.path)) };
        let task = move || {
            let done = call(&mut store);
            Ok((store, done))
        };
        let (store, done) = blocking(&self.path, task).await?;
        self.store = Some(store);
        done
    }

    /// Gives the store away for its last call.
    pub(super) async fn end<R: Send + 'static>(
        mut self,
        call: impl FnOnce(S) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let Some(store) = self.store.take() else { return Err(cancelled(&self.path)) };
        blocking(&self.path, move || call(store)).await
    }
}

#[cold]
fn cancelled(path: &Path) -> Error {
    let what =
        "the future of an earlier call was dropped; what it began is done or not, open it again";
    Error::new(ErrorKind::Cancelled, "use", path, what).with_outcome(Outcome::Unknown)
}
