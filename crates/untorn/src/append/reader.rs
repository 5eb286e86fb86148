//! A handle for those who read while the writer goes on.

use std::fmt::{Debug, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

use super::publish::{Published, Shared, View};
use super::{Snapshot, Tail};
use crate::codec::Raw;
use crate::{Error, ErrorKind, Result};

/// Reads an append-only file while it grows, from any number of threads.
///
/// A clone is cheap. What it reads is the last state that was flushed or written; to read several elements that belong together take
/// a [`snapshot`](Self::snapshot).
pub struct Reader<T, C = Raw> {
    source: Source,
    member: usize,
    codec: Arc<C>,
    of: PhantomData<fn() -> T>,
}

/// Where states come from.
#[derive(Clone)]
pub(super) enum Source {
    /// From the writer, in the same process.
    Local(Arc<Shared>),
}

impl Source {
    pub(super) fn visible(&self) -> Arc<Published> {
        match self {
            Self::Local(shared) => shared.visible(),
        }
    }

    pub(super) fn durable(&self) -> Arc<Published> {
        match self {
            Self::Local(shared) => shared.durable(),
        }
    }

    /// Hands the last state to `f`; the state is not kept.
    pub(super) fn with<R>(&self, f: impl FnOnce(&Published) -> R) -> R {
        match self {
            Self::Local(shared) => shared.with(f),
        }
    }
}

impl<T, C> Reader<T, C> {
    /// Of a member that the states have.
    pub(super) const fn of(source: Source, member: usize, codec: Arc<C>) -> Self {
        Self { source, member, codec, of: PhantomData }
    }

    /// The last state, kept as it is for as long as the snapshot lives.
    ///
    /// It may be lost by a power cut if the writer wrote without a sync.
    ///
    /// # Errors
    /// None yet of a reader in the writer's process.
    pub fn snapshot(&self) -> Result<Snapshot<T, C>> {
        self.snapshot_of(self.source.visible())
    }

    /// The last state that a power cut leaves.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub fn durable_snapshot(&self) -> Result<Snapshot<T, C>> {
        self.snapshot_of(self.source.durable())
    }

    fn snapshot_of(&self, state: Arc<Published>) -> Result<Snapshot<T, C>> {
        let snapshot = Snapshot::of(state, self.member, Arc::clone(&self.codec));
        snapshot.ok_or_else(|| no_member(self.member))
    }

    /// Hands the element at `pos` to `f`. Where the file is read by calls it is a copy.
    ///
    /// A rewind of what is read waits for nothing, but copies it to memory first: `f` should be short.
    ///
    /// # Errors
    /// `OutOfRange` where there is no element; `Pruned` where it was dropped; `Damaged` with file, offset and elements; the system's.
    pub fn with<R>(&self, pos: u64, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
        self.view(|view| view.with(pos, &mut Vec::new(), f))?
    }

    /// Appends the element at `pos` to `to`. After an error `to` is as it was.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn copy_to(&self, pos: u64, to: &mut Vec<u8>) -> Result<()> {
        self.view(|view| match view.get(pos) {
            Some(bytes) => {
                to.extend_from_slice(bytes);
                Ok(())
            }
            None => view.copy(view.place(pos)?, to),
        })?
    }

    /// How many elements there are, with those that were dropped.
    pub fn len(&self) -> u64 {
        self.view(|view| view.len).unwrap_or_default()
    }

    /// Whether there is no element that can be read.
    pub fn is_empty(&self) -> bool {
        self.view(|view| view.first >= view.len).unwrap_or(true)
    }

    /// How many elements a power cut leaves.
    pub fn durable_len(&self) -> u64 {
        self.source.durable().members.get(self.member).map_or(0, |view| view.len)
    }

    /// Follows the durable elements from the position `from` on, also through rewinds. Of elements below `from` it is taken that
    /// they are known.
    pub fn subscribe(&self, from: u64) -> Tail<T, C> {
        Tail::new(self.clone(), self.source.clone(), self.member, from)
    }

    fn view<R>(&self, f: impl FnOnce(&View) -> R) -> Result<R> {
        self.source
            .with(|state| state.members.get(self.member).map(f))
            .ok_or_else(|| no_member(self.member))
    }
}

#[cold]
fn no_member(member: usize) -> Error {
    Error::of_caller(ErrorKind::NotFound, "read", format!("there is no member {member}"))
}

impl<T, C> Clone for Reader<T, C> {
    fn clone(&self) -> Self {
        Self::of(self.source.clone(), self.member, Arc::clone(&self.codec))
    }
}

impl<T, C> Debug for Reader<T, C> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("len", &self.len()).finish_non_exhaustive()
    }
}
