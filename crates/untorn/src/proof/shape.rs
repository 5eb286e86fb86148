//! What a ledger holds: the whole state of a store after each step, so that what is found after a crash is compared with
//! the states that were begun since the last one that was promised.

use std::fmt;
use std::sync::Arc;

use crate::sim::{After, Fail, Run};

/// A state of a store, numbered; or bytes that must not get lost.
#[derive(Clone)]
pub(super) enum Entry<S> {
    State(u64, &'static str, Arc<S>),
    /// Bytes that recovery is about to cut from a file: they must be there, or in the quarantine.
    Torn {
        path: String,
        offset: u64,
        bytes: Arc<[u8]>,
    },
}

impl<S> PartialEq for Entry<S> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::State(a, ..), Self::State(b, ..)) => a == b,
            (Self::Torn { path: a, bytes: x, .. }, Self::Torn { path: b, bytes: y, .. }) => {
                (a, x) == (b, y)
            }
            _ => false,
        }
    }
}

impl<S: fmt::Display> fmt::Debug for Entry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(id, step, state) => write!(f, "#{id} {step}: {state}"),
            Self::Torn { path, offset, bytes } => {
                write!(f, "{} torn bytes at {path}:{offset}", bytes.len())
            }
        }
    }
}

/// From here on this state may be found.
pub(super) fn issue<S: Clone>(run: &Run<Entry<S>>, step: &'static str, state: &S) -> Entry<S>
where
    Entry<S>: Clone + PartialEq + fmt::Debug + 'static,
{
    let entry = Entry::State(run.next(), step, Arc::new(state.clone()));
    run.issue(entry.clone());
    entry
}

/// The records that were found, as those that were written: all of them, or `None` if one has other bytes.
pub(super) fn recognise(found: &[(u64, Vec<u8>)], written: &[Item]) -> Option<Vec<Item>> {
    let known = |(seq, bytes): &(u64, Vec<u8>)| {
        written.iter().copied().find(|item| item.seq == *seq && item.bytes() == *bytes)
    };
    found.iter().map(known).collect()
}

/// Which state was begun last, and which one was promised last, by number.
#[derive(Default)]
pub(super) struct Promises {
    begun: u64,
    promised: u64,
}

impl Promises {
    /// From here on this state may be found.
    pub(super) fn issue<S: Clone>(
        &mut self,
        run: &Run<Entry<S>>,
        step: &'static str,
        state: &S,
    ) -> Entry<S>
    where
        Entry<S>: Clone + PartialEq + fmt::Debug + 'static,
    {
        let entry = issue(run, step, state);
        if let Entry::State(id, ..) = &entry {
            self.begun = *id;
        }
        entry
    }

    /// From here on nothing older may be found.
    pub(super) fn ack<S>(&mut self, run: &Run<Entry<S>>, entry: Entry<S>)
    where
        Entry<S>: Clone + PartialEq + fmt::Debug + 'static,
    {
        if let Entry::State(id, ..) = &entry {
            self.promised = *id;
        }
        run.ack(entry);
    }

    /// Whether the state that was begun last is promised.
    pub(super) const fn all_kept(&self) -> bool {
        self.promised == self.begun
    }
}

/// A record: its number, and what its bytes are made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) seq: u64,
    pub(super) id: u64,
    pub(super) len: usize,
}

impl Item {
    /// The bytes of a record: of this length, but never less than its id takes.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut state = self.id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let filler = std::iter::repeat_with(move || {
            state = state.rotate_left(23).wrapping_mul(5).wrapping_add(1);
            state.to_le_bytes()[3]
        });
        self.id.to_le_bytes().into_iter().chain(filler).take(self.len.max(8)).collect()
    }
}

/// The states that may be found: the last promised one, and all that were begun after it. `None` if nothing was promised:
/// then the store may be as before the first one, too.
pub(super) fn candidates<S>(after: &After<Entry<S>>) -> (Vec<Arc<S>>, bool)
where
    Entry<S>: Clone + PartialEq + fmt::Debug + 'static,
{
    let is_state = |entry: &&Entry<S>| matches!(entry, Entry::State(..));
    let promised = after.acked().iter().rev().find(is_state);
    let from = promised.and_then(|p| after.issued().iter().position(|entry| entry == p));
    let states = after.issued().iter().skip(from.unwrap_or(0)).filter_map(|entry| match entry {
        Entry::State(_, _, state) => Some(Arc::clone(state)),
        Entry::Torn { .. } => None,
    });
    (states.collect(), from.is_none())
}

/// Every torn tail that was seen is where it was, or in the quarantine beside it.
pub(super) fn torn_bytes_are_kept<S>(after: &After<Entry<S>>) -> Result<(), Fail>
where
    Entry<S>: Clone + PartialEq + fmt::Debug + 'static,
{
    let sim = after.sim();
    for entry in after.acked() {
        let Entry::Torn { path, offset, bytes } = entry else { continue };
        let start = usize::try_from(*offset).unwrap_or(usize::MAX);
        let in_place = sim
            .read(path)
            .is_ok_and(|file| file.get(start..).is_some_and(|rest| rest.starts_with(bytes)));
        if in_place {
            continue;
        }
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let quarantine = format!("{dir}/quarantine/");
        let copied = sim.dump().into_iter().any(|(name, _)| {
            name.starts_with(&quarantine) && sim.read(&name).is_ok_and(|copy| copy[..] == bytes[..])
        });
        if !copied {
            return Err(Fail::new(format!("lost without a copy: {entry:?}")));
        }
    }
    Ok(())
}
