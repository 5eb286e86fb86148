//! Looks at a store without its lock and without changing a byte, whatever codec its elements have.

use std::path::Path;
use std::time::Duration;

use untorn::append::{
    AppendGroup, BlockDamage, CheckReport, Identity, OpenOptions, ProtocolVersion, Reader,
    Snapshot, TailEvent,
};
use untorn::codec::{Codec, Raw};
use untorn::{ErrorKind, Result as LibraryResult};

use super::found::Store;
use super::writer::{AsJson, AsPostcard, Kind};
use crate::exit::{Failure, Result};

/// Data up to which `show` verifies a store to say whether it was closed in order.
const SMALL: u64 = 64 << 20;

/// What META says, with the paths of a group's files as they lead there now, and whether that is from beside the home; `None` if
/// there is no store.
pub(super) fn identify(path: &Path) -> Result<Option<(Identity, bool)>> {
    let Some(mut identity) = untorn::append::identify(path)? else { return Ok(None) };
    let mut from_beside = false;
    for member in &mut identity.members {
        let beside = parent_of(path).join(&member.path);
        if !identity.is_group {
            member.path = path.to_path_buf();
        } else if beside != member.path && (beside.exists() || !member.path.exists()) {
            from_beside |= member.path.is_relative();
            member.path = beside;
        }
    }
    Ok(Some((identity, from_beside)))
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Runs `run` with the store's path, where the names of its files lead to them: the library takes those of a group as they were given
/// to its maker, from the working directory.
fn there<R>(store: &Store, run: impl FnOnce(&Path) -> LibraryResult<R>) -> Result<R> {
    let (dir, name) = (parent_of(&store.path), store.path.file_name());
    let Some(name) = name.filter(|_| store.from_beside && !dir.as_os_str().is_empty()) else {
        return Ok(run(&store.path)?);
    };
    let fail = |e| Failure::io("enter", dir, e);
    let back = std::env::current_dir().map_err(fail)?;
    std::env::set_current_dir(dir).map_err(fail)?;
    let done = run(Path::new(name));
    std::env::set_current_dir(back).map_err(fail)?;
    Ok(done?)
}

/// What is committed now, of one file. A group's reader asks for no codec, and reads a file alone as well.
pub(super) fn look(store: &Store, nth: usize) -> Result<Snapshot<Vec<u8>>> {
    let name = store.identity.members.get(nth).map(|member| &*member.name).unwrap_or_default();
    there(store, |path| AppendGroup::options(path).open_read_only()?.snapshot()?.file(name))
}

/// Whether a store that nobody holds was closed in order; nothing is said of a large one, for it takes reading all of it.
pub(super) fn is_clean(store: &Store, bytes: u64) -> Result<Option<bool>> {
    Ok(if bytes > SMALL { None } else { Some(check(store, |_, _| ())?.clean) })
}

/// Verifies the whole store.
pub(super) fn check(store: &Store, progress: impl FnMut(u64, u64)) -> Result<CheckReport> {
    let options = OpenOptions::<Vec<u8>>::new();
    let mut report = there(store, |path| options.check(path, progress))?;
    if store.from_beside {
        for block in &mut report.damage {
            block.path = parent_of(&store.path).join(&block.path);
        }
    }
    Ok(report)
}

/// Whether the block is one of a file's data; else of what belongs to it.
pub(super) fn is_of(damage: &BlockDamage, path: &Path) -> bool {
    damage.path == path || damage.path.canonicalize().ok() == path.canonicalize().ok()
}

/// Tells what becomes durable in a file.
pub(super) struct Following<'a> {
    next: Box<dyn FnMut(Duration) -> LibraryResult<Option<TailEvent>> + 'a>,
}

impl<'a> Following<'a> {
    /// Of elements before `from` it is taken that they are known.
    pub(super) fn new(store: &'a Store, nth: usize, from: u64) -> Result<Self> {
        let member = store.identity.members.get(nth);
        let kind = member.filter(|_| !store.identity.is_group).map(Kind::of);
        let next = match &kind {
            Some(kind) => match &*kind.codec {
                "raw" => tail(store, kind, Raw, from)?,
                "json" => tail(store, kind, AsJson, from)?,
                "postcard" => tail(store, kind, AsPostcard, from)?,
                _ => polled(store, nth, from)?,
            },
            None => polled(store, nth, from)?,
        };
        Ok(Self { next })
    }

    pub(super) fn next(&mut self, timeout: Duration) -> Result<Option<TailEvent>> {
        match (self.next)(timeout) {
            // The owner was faster; the next look sees what he did.
            Err(e) if e.kind() == ErrorKind::Stale => Ok(None),
            event => Ok(event?),
        }
    }
}

type Next<'a> = Box<dyn FnMut(Duration) -> LibraryResult<Option<TailEvent>> + 'a>;

fn tail<C>(store: &Store, kind: &Kind, codec: C, from: u64) -> Result<Next<'static>>
where
    C: Codec<Vec<u8>> + 'static,
{
    let options = OpenOptions::new().version(ProtocolVersion(kind.version));
    let options = if kind.fixed == 0 { options.variable() } else { options.fixed(kind.fixed) };
    let reader: Reader<Vec<u8>, C> = options.codec(codec).open_read_only(&store.path)?;
    let mut tail = reader.subscribe(from);
    Ok(Box::new(move |timeout| tail.next(timeout)))
}

/// A group's reader has no tail: what is rewound and appended again between two looks is not told.
fn polled(store: &Store, nth: usize, from: u64) -> Result<Next<'_>> {
    let missing = || Failure::new(ErrorKind::NotFound, &store.asked, "META names no such file");
    let name = store.identity.members.get(nth).map(|member| &*member.name).ok_or_else(missing)?;
    let reader = there(store, |path| AppendGroup::options(path).open_read_only())?;
    let mut next = from;
    Ok(Box::new(move |timeout| {
        std::thread::sleep(timeout);
        let view = reader.snapshot()?.file::<Vec<u8>>(name)?;
        if view.len() < next {
            next = view.len();
            return Ok(Some(TailEvent::Rewound { to: next }));
        }
        let new = next.max(view.first())..view.len();
        next = view.len();
        Ok((!new.is_empty()).then_some(TailEvent::Elements(new)))
    }))
}
