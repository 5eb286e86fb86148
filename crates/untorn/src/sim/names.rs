//! Pending changes of names: which of them depend on which, and which a sync makes durable.
//!
//! A change depends on the change before it of each name that it touches. In `Names::Ordered` it depends on all before
//! it. The sets that a power cut may keep are those that hold, with each change, all it depends on.

use std::sync::Arc;

use super::inode::{Ino, Name};
use super::model::Names;

#[derive(Clone, Debug)]
pub(super) struct NameOp {
    pub(super) seq: u64,
    pub(super) change: Change,
    /// Covered by a directory sync that failed and is final.
    pub(super) stuck: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Set {
        dir: Ino,
        name: Name,
        ino: Ino,
    },
    /// `after_link`: the second half of a rename across directories, which never happens without the first, the
    /// change just before it.
    Clear {
        dir: Ino,
        name: Name,
        after_link: bool,
    },
    Rename {
        from_dir: Ino,
        from: Name,
        to_dir: Ino,
        to: Name,
        ino: Ino,
    },
}

impl Change {
    fn touches(&self) -> [Option<(Ino, &Name)>; 2] {
        match self {
            Self::Set { dir, name, .. } | Self::Clear { dir, name, .. } => {
                [Some((*dir, name)), None]
            }
            Self::Rename { from_dir, from, to_dir, to, .. } => {
                [Some((*from_dir, from)), Some((*to_dir, to))]
            }
        }
    }

    pub(super) fn in_dir(&self, wanted: Ino) -> bool {
        self.touches().into_iter().flatten().any(|(dir, _)| dir == wanted)
    }

    pub(super) const fn leads_to(&self) -> Option<Ino> {
        match self {
            Self::Set { ino, .. } | Self::Rename { ino, .. } => Some(*ino),
            Self::Clear { .. } => None,
        }
    }

    fn shares_name(&self, other: &Self) -> bool {
        self.touches().into_iter().flatten().any(|one| {
            other.touches().into_iter().flatten().any(|two| one.0 == two.0 && one.1 == two.1)
        })
    }
}

/// For each change the indices of those it depends on directly.
pub(super) fn dependencies(ops: &[NameOp], names: Names) -> Vec<Vec<usize>> {
    (0..ops.len())
        .map(|index| {
            if names == Names::Ordered {
                return index.checked_sub(1).into_iter().collect();
            }
            let mut found = Vec::new();
            if matches!(ops[index].change, Change::Clear { after_link: true, .. }) && index > 0 {
                found.push(index - 1);
            }
            for earlier in (0..index).rev() {
                if ops[earlier].change.shares_name(&ops[index].change) {
                    found.push(earlier);
                }
            }
            found
        })
        .collect()
}

/// All of `wanted` and what they depend on.
pub(super) fn closure(needs: &[Vec<usize>], mut wanted: Vec<bool>) -> Vec<bool> {
    for index in (0..wanted.len()).rev() {
        if wanted[index] {
            for need in &needs[index] {
                wanted[*need] = true;
            }
        }
    }
    wanted
}

/// The largest permitted set within `wanted`.
pub(super) fn permitted(needs: &[Vec<usize>], mut wanted: Vec<bool>) -> Vec<bool> {
    for index in 0..wanted.len() {
        wanted[index] = wanted[index] && needs[index].iter().all(|need| wanted[*need]);
    }
    wanted
}

/// All permitted sets, or `None` if there are more than `limit`.
pub(super) fn every(needs: &[Vec<usize>], limit: usize) -> Option<Vec<Vec<bool>>> {
    let mut sets: Vec<Vec<bool>> = vec![Vec::new()];
    for need in needs {
        let mut next = Vec::with_capacity(sets.len() * 2);
        for set in sets {
            if need.iter().all(|index| set[*index]) {
                let mut with = set.clone();
                with.push(true);
                next.push(with);
            }
            let mut without = set;
            without.push(false);
            next.push(without);
        }
        if next.len() > limit {
            return None;
        }
        sets = next;
    }
    Some(sets)
}

pub(super) fn name(name: &std::ffi::OsStr) -> Name {
    Arc::from(name)
}
