//! The whole disk as one value that is cheap to clone: inodes by number, and the pending changes of names.
//!
//! # Invariants
//! - S1 Every name leads to an inode that is there, in the visible tree and in the durable one with all its pending
//!   changes.
//! - S2 `names` is in the order of issue.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::sync::Arc;

use rustix::io::Errno;

use super::inode::{DirNode, Entries, FileNode, Ino, Inode, Name, Node};
use super::model::Names;
use super::names::{self, Change, NameOp};
use super::page::{hash_bytes, mix};

pub(super) const ROOT: Ino = 1;

#[derive(Clone, Debug)]
pub(super) struct State {
    inodes: Vec<Option<Arc<Inode>>>,
    pub(super) names: Arc<Vec<NameOp>>,
}

type Outcome<T> = Result<T, Errno>;

impl State {
    pub(super) fn new() -> Self {
        let root = DirNode { mode: 0o755, ..DirNode::default() };
        let inodes = vec![None, Some(Arc::new(Inode::new(Node::Dir(root))))];
        Self { inodes, names: Arc::default() }
    }

    pub(super) fn inode(&self, ino: Ino) -> Option<&Arc<Inode>> {
        self.inodes.get(ino).and_then(Option::as_ref)
    }

    pub(super) fn inode_mut(&mut self, ino: Ino) -> Option<&mut Inode> {
        let inode = Arc::make_mut(self.inodes.get_mut(ino)?.as_mut()?);
        inode.hash = std::sync::OnceLock::new();
        Some(inode)
    }

    pub(super) fn put(&mut self, ino: Ino, inode: Option<Arc<Inode>>) {
        if let Some(slot) = self.inodes.get_mut(ino) {
            *slot = inode;
        }
    }

    pub(super) fn add(&mut self, node: Node) -> Ino {
        self.inodes.push(Some(Arc::new(Inode::new(node))));
        self.inodes.len() - 1
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = (Ino, &Arc<Inode>)> {
        self.inodes.iter().enumerate().filter_map(|(ino, slot)| Some((ino, slot.as_ref()?)))
    }

    pub(super) fn file(&self, ino: Ino) -> Outcome<&FileNode> {
        match self.inode(ino).map(|inode| &inode.node) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(Errno::IO),
        }
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> Outcome<&mut FileNode> {
        match self.inode_mut(ino).map(|inode| &mut inode.node) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(Errno::IO),
        }
    }

    pub(super) fn dir(&self, ino: Ino) -> Outcome<&DirNode> {
        match self.inode(ino).map(|inode| &inode.node) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(Errno::NOENT),
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> Outcome<&mut DirNode> {
        match self.inode_mut(ino).map(|inode| &mut inode.node) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(Errno::NOENT),
        }
    }

    pub(super) fn lookup(&self, dir: Ino, name: &OsStr) -> Outcome<Ino> {
        self.dir(dir)?.entries.get(name).copied().ok_or(Errno::NOENT)
    }

    /// 1 if the directory is still in the tree, 0 if it was removed.
    pub(super) fn links_to_dir(&self, ino: Ino) -> u64 {
        if ino == ROOT { 1 } else { self.links(ino) }
    }

    /// Number of names that lead to `ino`.
    pub(super) fn links(&self, ino: Ino) -> u64 {
        let mut count = 0;
        for (_, inode) in self.numbers() {
            if let Node::Dir(dir) = &inode.node {
                count += dir.entries.values().filter(|other| **other == ino).count() as u64;
            }
        }
        count
    }

    fn log(&mut self, seq: u64, change: Change) {
        Arc::make_mut(&mut self.names).push(NameOp { seq, change, stuck: false });
    }

    fn show(&mut self, dir: Ino, name: Name, ino: Option<Ino>) -> Outcome<()> {
        let entries = Arc::make_mut(&mut self.dir_mut(dir)?.entries);
        match ino {
            Some(ino) => entries.insert(name, ino),
            None => entries.remove(&name),
        };
        Ok(())
    }

    pub(super) fn set_name(&mut self, seq: u64, dir: Ino, name: &OsStr, ino: Ino) -> Outcome<()> {
        let name = names::name(name);
        self.show(dir, Arc::clone(&name), Some(ino))?;
        self.log(seq, Change::Set { dir, name, ino });
        Ok(())
    }

    pub(super) fn clear_name(&mut self, seq: u64, dir: Ino, name: &OsStr) -> Outcome<()> {
        let name = names::name(name);
        self.show(dir, Arc::clone(&name), None)?;
        self.log(seq, Change::Clear { dir, name, after_link: false });
        Ok(())
    }

    /// A rename that may replace; `link_only` stops half way, where it is two operations.
    pub(super) fn rename(
        &mut self,
        seq: u64,
        (from_dir, from): (Ino, &OsStr),
        (to_dir, to): (Ino, &OsStr),
        kind: Names,
        link_only: bool,
    ) -> Outcome<()> {
        let ino = self.lookup(from_dir, from)?;
        let is_dir = self.dir(ino).is_ok();
        let (from, to) = (names::name(from), names::name(to));
        let two = kind == Names::Subset && from_dir != to_dir && !is_dir;
        if link_only && !two {
            return Ok(());
        }
        self.show(to_dir, Arc::clone(&to), Some(ino))?;
        if two {
            self.log(seq, Change::Set { dir: to_dir, name: to, ino });
            if link_only {
                return Ok(());
            }
            self.show(from_dir, Arc::clone(&from), None)?;
            self.log(seq, Change::Clear { dir: from_dir, name: from, after_link: true });
        } else {
            self.show(from_dir, Arc::clone(&from), None)?;
            self.log(seq, Change::Rename { from_dir, from, to_dir, to, ino });
        }
        Ok(())
    }

    /// Makes the changes durable for which `wanted` holds, and all they depend on.
    pub(super) fn sync_names(&mut self, kind: Names, wanted: impl Fn(&Change) -> bool) {
        if self.names.is_empty() {
            return;
        }
        let ops = Arc::clone(&self.names);
        let wanted = ops.iter().map(|op| !op.stuck && wanted(&op.change)).collect();
        let chosen = names::closure(&names::dependencies(&ops, kind), wanted);
        if !chosen.contains(&true) {
            return;
        }
        let mut bases = HashMap::new();
        self.apply(&ops, &chosen, &mut bases);
        for (ino, base) in bases {
            if let Ok(dir) = self.dir_mut(ino) {
                dir.base = base;
            }
        }
        let mut left = Vec::new();
        for (index, op) in ops.iter().enumerate().filter(|(index, _)| !chosen[*index]) {
            let mut op = op.clone();
            if let Change::Clear { after_link, .. } = &mut op.change
                && index > 0
                && chosen[index - 1]
            {
                *after_link = false;
            }
            left.push(op);
        }
        self.names = Arc::new(left);
    }

    pub(super) fn stick_names(&mut self, dir: Ino) {
        for op in Arc::make_mut(&mut self.names).iter_mut().filter(|op| op.change.in_dir(dir)) {
            op.stuck = true;
        }
    }

    /// The durable entries of every directory that the chosen changes touch.
    pub(super) fn apply(&self, ops: &[NameOp], chosen: &[bool], bases: &mut HashMap<Ino, Entries>) {
        let mut edit = |dir: Ino, name: &Name, ino: Option<Ino>| {
            let base = || self.dir(dir).map(|dir| Arc::clone(&dir.base)).unwrap_or_default();
            let entries = Arc::make_mut(bases.entry(dir).or_insert_with(base));
            match ino {
                Some(ino) => entries.insert(Arc::clone(name), ino),
                None => entries.remove(name),
            };
        };
        for (op, _) in ops.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
            match &op.change {
                Change::Set { dir, name, ino } => edit(*dir, name, Some(*ino)),
                Change::Clear { dir, name, .. } => edit(*dir, name, None),
                Change::Rename { from_dir, from, to_dir, to, ino } => {
                    edit(*from_dir, from, None);
                    edit(*to_dir, to, Some(*ino));
                }
            }
        }
    }

    /// The tree that the disk holds with these name changes: only what can be reached, files still undecided.
    pub(super) fn durable_tree(&self, chosen: &[bool]) -> Self {
        let mut bases = HashMap::new();
        self.apply(&self.names, chosen, &mut bases);
        let mut inodes = vec![None; self.inodes.len()];
        let mut todo = vec![ROOT];
        while let Some(ino) = todo.pop() {
            let Some(inode) = self.inode(ino) else { continue };
            if inodes[ino].is_some() {
                continue;
            }
            inodes[ino] = Some(match &inode.node {
                Node::Dir(dir) => {
                    let entries = bases.get(&ino).unwrap_or(&dir.base);
                    todo.extend(entries.values());
                    if Arc::ptr_eq(entries, &dir.base) && Arc::ptr_eq(entries, &dir.entries) {
                        Arc::clone(inode)
                    } else {
                        let (entries, base) = (Arc::clone(entries), Arc::clone(entries));
                        Arc::new(Inode::new(Node::Dir(DirNode { entries, base, mode: dir.mode })))
                    }
                }
                _ => Arc::clone(inode),
            });
        }
        Self { inodes, names: Arc::default() }
    }

    /// Drops inodes that nothing leads to any more.
    pub(super) fn collect(&mut self, open: impl Fn(Ino) -> bool) {
        let mut keep = vec![false; self.inodes.len()];
        let mut todo = vec![ROOT];
        todo.extend(self.names.iter().filter_map(|op| op.change.leads_to()));
        todo.extend((0..self.inodes.len()).filter(|ino| open(*ino)));
        while let Some(ino) = todo.pop() {
            let Some(inode) = self.inode(ino) else { continue };
            if std::mem::replace(&mut keep[ino], true) {
                continue;
            }
            if let Node::Dir(dir) = &inode.node {
                todo.extend(dir.entries.values().chain(dir.base.values()));
            }
        }
        for (slot, _) in self.inodes.iter_mut().zip(keep).filter(|(_, keep)| !keep) {
            *slot = None;
        }
    }

    /// Hash of the visible tree: names, contents, modes, owners, attributes, and which names share an inode.
    pub(super) fn hash(&self) -> u64 {
        let mut seen = BTreeMap::new();
        self.hash_under(ROOT, &mut seen)
    }

    fn hash_under(&self, ino: Ino, seen: &mut BTreeMap<Ino, u64>) -> u64 {
        let Some(inode) = self.inode(ino) else { return 1 };
        if let Some(first) = seen.get(&ino) {
            return mix(3, *first);
        }
        seen.insert(ino, seen.len() as u64);
        match &inode.node {
            Node::File(file) => *inode.hash.get_or_init(|| file.content_hash()),
            Node::Symlink(to) => hash_bytes(5, to.as_os_str().as_encoded_bytes()),
            Node::Dir(dir) => {
                let mut hash = mix(7, u64::from(dir.mode));
                for (name, ino) in dir.entries.iter() {
                    hash = hash_bytes(hash, name.as_encoded_bytes());
                    hash = mix(hash, self.hash_under(*ino, seen));
                }
                hash
            }
        }
    }

    /// Hash that also tells apart what a power cut could still take away.
    pub(super) fn hash_with_pending(&self) -> u64 {
        let mut hash = self.hash();
        for (ino, inode) in self.numbers() {
            if let Node::File(file) = &inode.node
                && file.pend.is_some()
            {
                hash = mix(mix(hash, ino as u64), file.pending_hash());
            }
        }
        for op in self.names.iter() {
            hash = mix(hash, op.change.leads_to().unwrap_or(0) as u64);
        }
        hash
    }
}
