//! One inode: what its file shows now, what the disk holds for certain, and what may be on either side.
//!
//! # Invariants
//! - P1 `pend` is `None` exactly if the visible content is the durable one.
//! - P2 Bytes past the length are zero in every page, so that growth shows zeros.
//! - P3 A sector with its bit in `failed` was dropped by a failed sync: it is clean, its versions stay possible, and
//!   only a new write makes a sync cover it again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::page::{self, PAGE, SECTOR, SECTORS, Slot, mix};

pub(super) type Ino = usize;
pub(super) type Name = Arc<std::ffi::OsStr>;
pub(super) type Entries = Arc<BTreeMap<Name, Ino>>;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Box<FileNode>),
    Dir(DirNode),
    Symlink(Arc<Path>),
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) node: Node,
    /// Hash of the visible content; emptied whenever the inode is borrowed for writing.
    pub(super) hash: OnceLock<u64>,
}

impl Clone for Inode {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), hash: OnceLock::new() }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) entries: Entries,
    pub(super) base: Entries,
    pub(super) mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) xattrs: Arc<BTreeMap<OsString, Vec<u8>>>,
}

#[derive(Clone, Debug)]
pub(super) struct FileNode {
    pub(super) len: u64,
    pub(super) pages: Vec<Slot>,
    pub(super) meta: Meta,
    pub(super) pend: Option<Box<Pend>>,
    /// Counts failed write-backs; an open file remembers which it has reported.
    pub(super) errors: u32,
    /// Whether the last failure has not been reported to anybody.
    pub(super) unseen: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Pend {
    pub(super) len: u64,
    pub(super) pages: Vec<Slot>,
    pub(super) meta: Meta,
    pub(super) sizes: Vec<SizeStep>,
    pub(super) metas: Vec<(u64, Meta)>,
    pub(super) history: BTreeMap<usize, History>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SizeStep {
    pub(super) seq: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    /// A growing write reaches each unit boundary on its way.
    pub(super) by_write: bool,
}

/// What one page may hold on the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) versions: Vec<Version>,
    pub(super) failed: u8,
}

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) seq: u64,
    /// The sectors that this version changed.
    pub(super) mask: u8,
    pub(super) page: Slot,
}

/// What a change needs to know about the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) seq: u64,
    pub(super) whole_pages: bool,
    pub(super) garbage: bool,
}

/// Which part of the dirty units a sync writes before it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    Nothing,
    Half,
    All,
}

impl Inode {
    pub(super) const fn new(node: Node) -> Self {
        Self { node, hash: OnceLock::new() }
    }
}

impl FileNode {
    pub(super) fn empty(mode: u32) -> Self {
        let meta = Meta { mode, uid: 1000, gid: 1000, xattrs: Arc::default() };
        Self { len: 0, pages: Vec::new(), meta, pend: None, errors: 0, unseen: false }
    }

    fn pend(&mut self) -> &mut Pend {
        let (len, pages, meta) = (self.len, &self.pages, &self.meta);
        self.pend.get_or_insert_with(|| {
            Box::new(Pend {
                len,
                pages: pages.clone(),
                meta: meta.clone(),
                sizes: Vec::new(),
                metas: Vec::new(),
                history: BTreeMap::new(),
            })
        })
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let len = buf.len().min(self.len.saturating_sub(offset) as usize);
        let mut done = 0;
        while done < len {
            let at = offset as usize + done;
            let (index, within) = (at / PAGE, at % PAGE);
            let part = (PAGE - within).min(len - done);
            let to = &mut buf[done..done + part];
            match self.pages.get(index).unwrap_or(&None) {
                Some(page) => {
                    let page = Some(Arc::clone(page));
                    to.copy_from_slice(&page::bytes(&page)[within..within + part]);
                }
                None => to.fill(0),
            }
            done += part;
        }
        len
    }

    pub(super) fn write(&mut self, how: Writing, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        if end > self.len {
            self.resize(how.seq, end, true);
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = offset as usize + done;
            let (index, within) = (at / PAGE, at % PAGE);
            let part = (PAGE - within).min(bytes.len() - done);
            self.change(how, index, within, &bytes[done..done + part]);
            done += part;
        }
    }

    /// Zeros within the length.
    pub(super) fn zero(&mut self, how: Writing, offset: u64, len: u64) {
        const ZEROS: [u8; PAGE] = [0; PAGE];
        let end = offset.saturating_add(len).min(self.len) as usize;
        let mut at = offset as usize;
        while at < end {
            let (index, within) = (at / PAGE, at % PAGE);
            let part = (PAGE - within).min(end - at);
            self.change(how, index, within, &ZEROS[..part]);
            at += part;
        }
    }

    pub(super) fn set_len(&mut self, how: Writing, len: u64) {
        if len < self.len {
            self.zero(how, len, self.len - len);
        }
        if len != self.len {
            self.resize(how.seq, len, false);
        }
    }

    /// Changes the length only; `zero` comes before a cut.
    fn resize(&mut self, seq: u64, to: u64, by_write: bool) {
        let from = self.len;
        self.pend().sizes.push(SizeStep { seq, from, to, by_write });
        self.len = to;
        self.pages.resize((to as usize).div_ceil(PAGE), None);
    }

    fn change(&mut self, how: Writing, index: usize, within: usize, bytes: &[u8]) {
        self.pend();
        let (Some(slot), Some(pend)) = (self.pages.get_mut(index), self.pend.as_mut()) else {
            return;
        };
        let old = slot.clone();
        if slot.is_some() || !page::all_zero(bytes) {
            page::edit(slot)[within..within + bytes.len()].copy_from_slice(bytes);
        }
        let failed = pend.history.get(&index).map_or(0, |history| history.failed);
        let mut mask = 0_u8;
        for sector in within / SECTOR..=(within + bytes.len() - 1) / SECTOR {
            let gap = how.garbage && (index * PAGE + (sector + 1) * SECTOR) as u64 > pend.len;
            if gap
                || failed & (1 << sector) != 0
                || page::sector(&old, sector) != page::sector(slot, sector)
            {
                mask |= 1 << sector;
            }
        }
        if mask != 0 {
            if how.whole_pages {
                mask = 0xff;
            }
            let history = pend.history.entry(index).or_default();
            history.failed &= !mask;
            history.versions.push(Version { seq: how.seq, mask, page: slot.clone() });
        }
    }

    /// Takes over the visible bytes of another file.
    pub(super) fn clone_from_file(&mut self, how: Writing, source: &Self, upto: u64) {
        let mut at = 0;
        while at < upto {
            let part = (upto - at).min(PAGE as u64);
            let slot = source.pages.get(at as usize / PAGE).cloned().unwrap_or(None);
            self.write(how, at, &page::bytes(&slot)[..part as usize]);
            at += part;
        }
    }

    pub(super) fn set_meta(&mut self, seq: u64, change: impl FnOnce(&mut Meta)) {
        self.pend();
        change(&mut self.meta);
        let meta = self.meta.clone();
        self.pend().metas.push((seq, meta));
    }

    /// The dirty sectors, which a sync would write.
    fn dirty(history: &History) -> u8 {
        history.versions.iter().fold(0, |all, version| all | version.mask) & !history.failed
    }

    /// A sync that succeeds.
    pub(super) fn sync(&mut self, all: bool) {
        let len = self.len;
        let Some(pend) = self.pend.as_mut() else { return };
        if all {
            pend.metas.clear();
            pend.meta = self.meta.clone();
        }
        // fdatasync vouches for a larger size, not for a smaller one.
        let shrunk = !all && pend.len > len;
        if shrunk {
            pend.sizes.retain(|step| step.to >= len);
            if pend.sizes.last().is_none_or(|step| step.to != len) {
                let seq = pend.sizes.last().map_or(0, |step| step.seq);
                pend.sizes.push(SizeStep { seq, from: pend.len, to: len, by_write: false });
            }
        } else {
            pend.sizes.clear();
            pend.len = len;
        }
        let covered = |index: usize| !shrunk || ((index * PAGE) as u64) < len;
        let mut history = std::mem::take(&mut pend.history);
        history.retain(|index, history| {
            if !covered(*index) {
                return true;
            }
            let dirty = Self::dirty(history);
            let now = self.pages.get(*index).unwrap_or(&None);
            settle(&mut pend.pages, *index, dirty, now);
            forget(history, dirty);
            !history.versions.is_empty()
        });
        pend.history = history;
        if !shrunk {
            pend.pages.resize(self.pages.len(), None);
        }
        self.tidy();
    }

    /// A sync that fails after `reached`; the error counts for every file that is open.
    pub(super) fn sync_failed(&mut self, all: bool, reached: Reached, revert: bool) {
        self.errors = self.errors.wrapping_add(1);
        if reached == Reached::All {
            self.sync(all);
            return;
        }
        let len = self.len;
        let Some(pend) = self.pend.as_mut() else { return };
        let total: u32 =
            pend.history.values().map(|history| Self::dirty(history).count_ones()).sum();
        let mut good = if reached == Reached::Half { total / 2 } else { 0 };
        if reached == Reached::Half && len >= pend.len {
            pend.sizes.clear();
            pend.len = len;
            pend.pages.resize(self.pages.len(), None);
        }
        for (index, history) in &mut pend.history {
            let mut written = 0_u8;
            let dirty = Self::dirty(history);
            for sector in (0..SECTORS).filter(|sector| dirty & (1 << sector) != 0) {
                if good > 0 {
                    good -= 1;
                    written |= 1 << sector;
                }
            }
            // A page is one unit where every version covers all of it.
            if dirty == 0xff && history.versions.iter().all(|version| version.mask == 0xff) {
                written = if written == 0xff { 0xff } else { 0 };
            }
            let now = self.pages.get(*index).cloned().unwrap_or(None);
            settle(&mut pend.pages, *index, written, &now);
            forget(history, written);
            history.failed |= dirty & !written;
            if revert {
                let old = pend.pages.get(*index).cloned().unwrap_or(None);
                let lost = dirty & !written;
                settle(&mut self.pages, *index, lost, &old);
                forget(history, lost);
            }
        }
        pend.history.retain(|_, history| !history.versions.is_empty());
        self.trim();
        self.tidy();
    }

    /// The cache forgets the clean pages: sectors that a failed sync dropped show what the disk holds, the old bytes.
    pub(super) fn evict(&mut self) {
        let Some(pend) = self.pend.as_mut() else { return };
        for (index, history) in &mut pend.history {
            let old = pend.pages.get(*index).cloned().unwrap_or(None);
            let failed = history.failed;
            settle(&mut self.pages, *index, failed, &old);
            forget(history, failed);
        }
        pend.history.retain(|_, history| !history.versions.is_empty());
        self.trim();
        self.tidy();
    }

    /// Restores P2 after old bytes came back.
    fn trim(&mut self) {
        let len = self.len as usize;
        self.pages.truncate(len.div_ceil(PAGE));
        trim_tail(&mut self.pages, len);
    }

    fn tidy(&mut self) {
        let clean =
            |pend: &Pend| pend.sizes.is_empty() && pend.metas.is_empty() && pend.history.is_empty();
        if self.pend.as_deref().is_some_and(clean) {
            self.pend = None;
        }
    }

    pub(super) fn flip_bit(&mut self, bit: u64) {
        let (index, within) = ((bit / 8) as usize / PAGE, (bit / 8) as usize % PAGE);
        let flip = |pages: &mut Vec<Slot>| {
            if let Some(slot) = pages.get_mut(index) {
                page::edit(slot)[within] ^= 1 << (bit % 8);
            }
        };
        if bit / 8 >= self.len {
            return;
        }
        flip(&mut self.pages);
        if let Some(pend) = self.pend.as_mut() {
            if bit / 8 < pend.len {
                flip(&mut pend.pages);
            }
            for version in pend.history.get_mut(&index).into_iter().flat_map(|h| &mut h.versions) {
                page::edit(&mut version.page)[within] ^= 1 << (bit % 8);
            }
        }
    }

    pub(super) fn content_hash(&self) -> u64 {
        let mut hash = mix(self.len, u64::from(self.meta.mode));
        hash = mix(hash, u64::from(self.meta.uid) << 32 | u64::from(self.meta.gid));
        for (name, value) in self.meta.xattrs.iter() {
            hash = page::hash_bytes(hash, name.as_encoded_bytes());
            hash = page::hash_bytes(hash, value);
        }
        for slot in &self.pages {
            hash = mix(hash, page::hash(slot));
        }
        hash
    }

    /// Hash of all that a power cut might choose from.
    pub(super) fn pending_hash(&self) -> u64 {
        let Some(pend) = self.pend.as_deref() else { return 0 };
        let mut hash = mix(pend.len, u64::from(pend.meta.mode));
        for slot in &pend.pages {
            hash = mix(hash, page::hash(slot));
        }
        for step in &pend.sizes {
            hash = mix(mix(hash, step.from), step.to << 1 | u64::from(step.by_write));
        }
        for (_, meta) in &pend.metas {
            hash = mix(hash, u64::from(meta.mode) << 32 ^ u64::from(meta.uid));
        }
        for (index, history) in &pend.history {
            hash = mix(hash, (*index as u64) << 8 | u64::from(history.failed));
            for version in &history.versions {
                hash = mix(mix(hash, u64::from(version.mask)), page::hash(&version.page));
            }
        }
        hash
    }
}

/// Copies the sectors of `mask` from `from` into page `index`.
pub(super) fn settle(pages: &mut Vec<Slot>, index: usize, mask: u8, from: &Slot) {
    if mask == 0 {
        return;
    }
    if pages.len() <= index {
        pages.resize(index + 1, None);
    }
    let Some(slot) = pages.get_mut(index) else { return };
    if mask == 0xff {
        slot.clone_from(from);
        return;
    }
    for sector in (0..SECTORS).filter(|sector| mask & (1 << sector) != 0) {
        if page::sector(slot, sector) != page::sector(from, sector) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            page::edit(slot)[range].copy_from_slice(page::sector(from, sector));
        }
    }
}

/// Zeros after `len` in its page.
pub(super) fn trim_tail(pages: &mut [Slot], len: usize) {
    if !len.is_multiple_of(PAGE)
        && let Some(slot) = pages.get_mut(len / PAGE)
        && !page::all_zero(&page::bytes(slot)[len % PAGE..])
    {
        page::edit(slot)[len % PAGE..].fill(0);
    }
}

/// Takes the sectors of `mask` out of the history.
fn forget(history: &mut History, mask: u8) {
    for version in &mut history.versions {
        version.mask &= !mask;
    }
    history.versions.retain(|version| version.mask != 0);
    history.failed &= !mask;
}
