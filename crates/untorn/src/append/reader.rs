//! A handle for those who read while the writer goes on.

use std::fmt::{Debug, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

use super::follow::Follow;
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
    /// From the log of a writer in another process, or of one that is gone.
    Foreign(Arc<Follow>),
    /// A file that has no store.
    Plain(Arc<Published>),
}

impl Source {
    pub(super) fn visible(&self) -> Result<Arc<Published>> {
        match self {
            Self::Local(shared) => Ok(shared.visible()),
            Self::Foreign(follow) => follow.look(),
            Self::Plain(state) => Ok(Arc::clone(state)),
        }
    }

    pub(super) fn durable(&self) -> Result<Arc<Published>> {
        match self {
            Self::Local(shared) => Ok(shared.durable()),
            other => other.visible(),
        }
    }

    /// Hands the last state to `f`; the state is not kept.
    pub(super) fn with<R>(&self, f: impl FnOnce(&Published) -> R) -> Result<R> {
        match self {
            Self::Local(shared) => Ok(shared.with(f)),
            other => Ok(f(&*other.visible()?)),
        }
    }

    /// The smallest number of elements that a rewind kept after the commit `seq`.
    pub(super) fn rewinds_since(&self, seq: u64, member: usize) -> Option<u64> {
        match self {
            Self::Local(shared) => shared.rewinds_since(seq, member),
            Self::Foreign(follow) => follow.rewinds_since(seq, member),
            Self::Plain(_) => None,
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
    /// None of a reader in the writer's process. In another one: `Stale` if the owner changes the store all the time; `NotFound`, `Damaged`, `Io`.
    pub fn snapshot(&self) -> Result<Snapshot<T, C>> {
        self.snapshot_of(self.source.visible()?)
    }

    /// The last state that a power cut leaves. In another process than the writer's it is that of [`snapshot`](Self::snapshot): what is
    /// synced there is not known here.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    pub fn durable_snapshot(&self) -> Result<Snapshot<T, C>> {
        self.snapshot_of(self.source.durable()?)
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
        let len = |state: Arc<Published>| state.members.get(self.member).map(|view| view.len);
        self.source.durable().ok().and_then(len).unwrap_or(0)
    }

    /// Follows the durable elements from the position `from` on, also through rewinds. Of elements below `from` it is taken that
    /// they are known.
    pub fn subscribe(&self, from: u64) -> Tail<T, C> {
        Tail::new(self.clone(), self.source.clone(), self.member, from)
    }

    fn view<R>(&self, f: impl FnOnce(&View) -> R) -> Result<R> {
        self.source
            .with(|state| state.members.get(self.member).map(f))?
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

#[cfg(test)]
mod tests {
    use super::super::for_tests::{noise, worlds};
    use super::*;

    #[test]
    fn a_reader_sees_each_state_and_a_snapshot_its_own() {
        for world in worlds() {
            let bytes = noise(1, 40 * 3000);
            let (_column, mut view) = world.fixed(40, &bytes);
            let hold = world.claim();
            view.len = 1000;
            let shared = Shared::new(world.state(1, &view, &hold));
            let reader =
                Reader::<Vec<u8>>::of(Source::Local(Arc::clone(&shared)), 0, Arc::new(Raw));
            let before = reader.snapshot().unwrap();
            view.len = 3000;
            shared.publish(world.state(2, &view, &hold), false);
            let after = reader.clone().snapshot().unwrap();
            assert_eq!((before.len(), after.len()), (1000, 3000));
            assert_eq!(
                (reader.len(), reader.durable_len(), reader.is_empty()),
                (3000, 1000, false)
            );
            assert_eq!(reader.durable_snapshot().unwrap().seq(), 1);
            assert_eq!(before.get_cow(2000).unwrap_err().kind(), ErrorKind::OutOfRange);
            assert_eq!(reader.with(2000, <[u8]>::to_vec).unwrap(), bytes[80_000..80_040]);
            let mut copy = Vec::new();
            reader.copy_to(2999, &mut copy).unwrap();
            assert_eq!(copy, bytes[119_960..]);
            assert_eq!(reader.copy_to(3000, &mut copy).unwrap_err().kind(), ErrorKind::OutOfRange);
        }
    }
}
