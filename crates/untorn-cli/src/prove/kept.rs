//! What files that are replaced again and again held when they were last looked at, and what they may hold now.

use std::collections::BTreeMap;
use std::path::Path;

use super::content::{self, Key};
use super::kill::{Ack, Findings};

/// The content of each writer's file.
pub(super) struct Kept {
    seed: u64,
    kept: BTreeMap<u32, Key>,
}

impl Kept {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, kept: BTreeMap::new() }
    }

    /// Compares what `writer`'s file holds after the kill of `round` with what was acknowledged; `None` if there is no file.
    pub(super) fn check(
        &mut self,
        path: &Path,
        bytes: Option<&[u8]>,
        (writer, round): (u32, u32),
        acks: &[Ack],
        found: &mut Findings,
    ) {
        let acked = acks.iter().filter(|ack| ack.writer == writer).map(|ack| ack.counter).max();
        let Some(bytes) = bytes else {
            if acked.is_some() || self.kept.contains_key(&writer) {
                found.lose(&format!("{} is gone", path.display()));
            }
            return;
        };
        let key = match content::verify(self.seed, bytes, content::file) {
            Ok(key) if key.writer == writer => key,
            Ok(key) => {
                found
                    .violate(&format!("{} holds what is of another file: {key:?}", path.display()));
                return;
            }
            Err(why) => {
                found.tear(&format!("{}: {why}", path.display()));
                return;
            }
        };
        // The last acknowledged content, or the one that was being written at the kill.
        let next = acked.map_or(0, |counter| counter + 1);
        let of_this_round =
            key.round == round && (Some(key.counter) == acked || key.counter == next);
        let untouched = acked.is_none() && self.kept.get(&writer) == Some(&key);
        if !of_this_round && !untouched {
            let kept = self.kept.get(&writer);
            found.lose(&format!(
                "{} holds {key:?}; acknowledged in round {round} was {acked:?}, before it {kept:?}",
                path.display()
            ));
        }
        self.kept.insert(writer, key);
    }
}
