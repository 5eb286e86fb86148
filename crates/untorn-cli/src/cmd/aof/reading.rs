//! Looks at a store without its lock and without changing a byte, whatever codec its elements have.

use std::path::Path;
use std::time::Duration;

use untorn::ErrorKind;
use untorn::append::{
    AppendGroup, BlockDamage, CheckReport, OpenOptions, Snapshot, Tail, TailEvent,
};

use super::found::Store;
use crate::exit::{Failure, Result};

/// Data up to which `show` verifies a store to say whether it was closed in order.
const SMALL: u64 = 64 << 20;

/// What is committed now, of one file. A group's reader asks for no codec, and reads a file alone as well.
pub(super) fn look(store: &Store, nth: usize) -> Result<Snapshot<Vec<u8>>> {
    let name = store.identity.members.get(nth).map(|member| &*member.name).unwrap_or_default();
    Ok(AppendGroup::options(&store.path).open_read_only()?.snapshot()?.file(name)?)
}

/// Whether a store that nobody holds was closed in order; nothing is said of a large one, for it takes reading all of it.
pub(super) fn is_clean(store: &Store, bytes: u64) -> Result<Option<bool>> {
    Ok(if bytes > SMALL { None } else { Some(check(store, |_, _| ())?.clean) })
}

/// Verifies the whole store.
pub(super) fn check(store: &Store, progress: impl FnMut(u64, u64)) -> Result<CheckReport> {
    Ok(OpenOptions::<Vec<u8>>::new().check(&store.path, progress)?)
}

/// Whether the block is one of a file's data; else of what belongs to it.
pub(super) fn is_of(damage: &BlockDamage, path: &Path) -> bool {
    damage.path == path || damage.path.canonicalize().ok() == path.canonicalize().ok()
}

/// Follows what becomes durable in a file. Of elements before `from` it is taken that they are known.
pub(super) fn follow(store: &Store, nth: usize, from: u64) -> Result<Tail<Vec<u8>>> {
    let missing = || Failure::new(ErrorKind::NotFound, &store.asked, "META names no such file");
    let name = store.identity.members.get(nth).map(|member| &*member.name).ok_or_else(missing)?;
    let group = AppendGroup::options(&store.path).open_read_only()?;
    Ok(group.reader(name)?.subscribe(from))
}

/// The next event; none if the owner was faster: the next look sees what he did.
pub(super) fn next(tail: &mut Tail<Vec<u8>>, timeout: Duration) -> Result<Option<TailEvent>> {
    match tail.next(timeout) {
        Err(e) if e.kind() == ErrorKind::Stale => Ok(None),
        event => Ok(event?),
    }
}
