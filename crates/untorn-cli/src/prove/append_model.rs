//! What a group of append-only files should hold: the writer's steps follow from the seed and from what there is, so that who knows where
//! he stopped knows every byte.

use untorn::append::{AppendGroup, FileSpec, GroupSnapshot};
use untorn::{Durability, Error, ErrorKind};

use super::content::Rng;
use std::path::Path;

/// The files: bytes of their elements, 0 if those differ.
const FILES: [(&str, u32); 3] = [("hash", 40), ("body", 0), ("mark", 8)];
/// So small that checkpoints and full segments are often met.
const CHECKPOINT: u64 = 512 << 10;
/// A file is cut down when it has more elements.
const MANY: u64 = 3000;

pub(super) fn open(dir: &Path) -> Result<AppendGroup, Error> {
    let mut options = AppendGroup::options(dir.join("append").join("group"));
    for (name, fixed) in FILES {
        let spec = if fixed == 0 { FileSpec::variable() } else { FileSpec::fixed(fixed) };
        options = options.file(name, dir.join("append").join(name), spec);
    }
    options.inline_limit(16 << 10).checkpoint_bytes(CHECKPOINT).open()
}

/// The group as somebody sees it who does not own it.
pub(super) fn look(dir: &Path) -> Result<GroupSnapshot, Error> {
    AppendGroup::options(dir.join("append").join("group")).open_read_only()?.snapshot()
}

/// An element, by its number; the number stands at its beginning.
pub(super) fn element(id: u64, fixed: u32) -> Vec<u8> {
    let mut rng = Rng::new(id);
    let len = if fixed == 0 { 8 + rng.below(900) } else { u64::from(fixed) };
    let len = usize::try_from(len).unwrap_or(8);
    let mut bytes = id.to_le_bytes().to_vec();
    while bytes.len() < len {
        bytes.extend(rng.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Whether bytes are an element, whichever.
pub(super) fn is_element(bytes: &[u8], fixed: u32) -> bool {
    let id = bytes.first_chunk().map(|id| u64::from_le_bytes(*id));
    id.is_some_and(|id| element(id, fixed) == bytes)
}

/// One commit.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// What each file keeps, and what it gets.
    Change {
        keep: [u64; 3],
        add: [Vec<u64>; 3],
        durability: Durability,
    },
    Compact {
        dead: [Vec<u64>; 3],
    },
    DropHead {
        file: usize,
        first: u64,
    },
}

/// A file's first element, and the numbers of all, with those that were dropped.
type List = (u64, Vec<u64>);

/// What there is after a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) files: [List; 3],
}

impl Model {
    /// The step of this number in this round.
    pub(super) fn step(&self, seed: u64, round: u32, counter: u64) -> Step {
        let mix = seed ^ (u64::from(round) << 40) ^ counter.wrapping_mul(0x9e37_79b9);
        let mut rng = Rng::new(mix);
        let lens = [0, 1, 2].map(|file| self.len(file));
        let firsts = [0, 1, 2].map(|file| self.files.get(file).map_or(0, |list| list.0));
        let choice = rng.below(32);
        if choice == 0 && (0..3).any(|file| lens[file] - firsts[file] > MANY / 2) {
            let dead = [0, 1, 2].map(|file| {
                let every = 2 + rng.below(3);
                (firsts[file]..lens[file]).filter(|at| at % every == 0).collect()
            });
            return Step::Compact { dead };
        }
        if choice < 3 {
            let file = usize::try_from(rng.below(3)).unwrap_or(0);
            if lens[file] - firsts[file] > MANY / 3 {
                let first = firsts[file] + (lens[file] - firsts[file]) / 2;
                return Step::DropHead { file, first };
            }
        }
        let durability = if choice < 12 { Durability::Buffered } else { Durability::Synced };
        let mut keep = lens;
        if choice.is_multiple_of(3) {
            for (keep, first) in keep.iter_mut().zip(firsts) {
                *keep = keep.saturating_sub(rng.below(40)).max(first);
            }
        }
        // Now and then more than rides in a record.
        let most = if choice % 8 == 7 { 500 } else { 12 };
        let add = [0, 1, 2].map(|_| {
            let count = rng.below(most);
            (0..count).map(|_| rng.next()).collect()
        });
        Step::Change { keep, add, durability }
    }

    fn len(&self, file: usize) -> u64 {
        self.files.get(file).map_or(0, |(_, ids)| ids.len() as u64)
    }

    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Change { keep, add, .. } => {
                for ((list, keep), add) in self.files.iter_mut().zip(keep).zip(add) {
                    list.1.truncate(usize::try_from(*keep).unwrap_or(usize::MAX));
                    list.1.extend(add);
                }
            }
            Step::Compact { dead } => {
                for (list, dead) in self.files.iter_mut().zip(dead) {
                    let first = list.0;
                    let mut dead = dead.iter().peekable();
                    let mut at = 0;
                    list.1.retain(|_| {
                        let keep = at >= first && dead.next_if(|d| **d == at).is_none();
                        at += 1;
                        keep
                    });
                    list.0 = 0;
                }
            }
            Step::DropHead { file, first } => {
                if let Some(list) = self.files.get_mut(*file) {
                    list.0 = *first;
                }
            }
        }
    }

    /// What a state shows that it should not, or lacks.
    pub(super) fn compare(&self, state: &GroupSnapshot) -> Result<Option<String>, Error> {
        for ((name, fixed), (first, ids)) in FILES.into_iter().zip(&self.files) {
            let file = state.file::<Vec<u8>>(name)?;
            if (file.first(), file.len()) != (*first, ids.len() as u64) {
                let (is_first, is_len) = (file.first(), file.len());
                return Ok(Some(format!(
                    "{name} has the elements {is_first}..{is_len}, not {first}..{}",
                    ids.len()
                )));
            }
            for (at, id) in (0_u64..).zip(ids).filter(|(at, _)| at >= first) {
                match file.get_cow(at) {
                    Ok(bytes) if *bytes == element(*id, fixed) => {}
                    Ok(_) => return Ok(Some(format!("{name} has other bytes at {at}"))),
                    Err(e) if e.kind() == ErrorKind::Damaged => {
                        return Ok(Some(format!("{name} at {at}: {e}")));
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(None)
    }
}

/// Makes the step one commit, with its number in the note.
pub(super) fn perform(
    group: &mut AppendGroup,
    step: &Step,
    round: u32,
    counter: u64,
) -> Result<u64, Error> {
    group.annotate(&[&round.to_le_bytes()[..], &counter.to_le_bytes()].concat())?;
    match step {
        Step::Change { keep, add, durability } => {
            for (((name, fixed), keep), add) in FILES.into_iter().zip(keep).zip(add) {
                let mut file = group.file::<Vec<u8>>(name)?;
                file.rewind(*keep)?;
                for id in add {
                    file.append(&element(*id, fixed))?;
                }
            }
            let commit = match durability {
                Durability::Synced => group.flush()?,
                Durability::Buffered => group.write()?,
            };
            Ok(commit.seq)
        }
        Step::Compact { dead } => {
            let names = FILES.map(|(name, _)| name);
            let dead: Vec<(&str, &[u64])> =
                names.into_iter().zip(dead).map(|(name, dead)| (name, &dead[..])).collect();
            group.compact(&dead)?;
            Ok(group.snapshot().seq())
        }
        Step::DropHead { file, first } => {
            let name = FILES.get(*file).map_or("", |(name, _)| name);
            group.file::<Vec<u8>>(name)?.drop_head(*first)?;
            Ok(group.snapshot().seq())
        }
    }
}

/// The round and the number of the commit that a note is of.
pub(super) fn note_of(note: &[u8]) -> Option<(u32, u64)> {
    let (round, counter) = note.split_first_chunk()?;
    Some((u32::from_le_bytes(*round), u64::from_le_bytes(counter.try_into().ok()?)))
}

/// Reads elements here and there, which must be elements, whichever: what a reader does beside the writer.
pub(super) fn read_some(state: &GroupSnapshot, rng: &mut Rng) -> Result<Option<String>, Error> {
    for (name, fixed) in FILES {
        let file = state.file::<Vec<u8>>(name)?;
        for _ in 0..8 {
            if file.is_empty() {
                break;
            }
            let at = file.first() + rng.below(file.len() - file.first());
            if !is_element(&file.get_cow(at)?, fixed) {
                return Ok(Some(format!("{name} shows no element at {at}")));
            }
        }
    }
    Ok(None)
}
