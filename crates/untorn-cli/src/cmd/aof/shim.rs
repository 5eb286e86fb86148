//! Stands in for what `untorn::append` is to have of its own: `identify`, `open_read_only`, `check` and following from another process.
//! Nothing else here knows that; to replace it, change `identify`, `look`, `is_clean`, `Following` and `check`.
//!
//! It reads a copy, which the writer opens and heals, so that the store itself is not changed and its owner not disturbed.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use untorn::append::{OnForeign, ProtocolVersion, RecoveryReport, TailEvent};
use untorn::{Error, ErrorKind, OnDamage};

use super::found::{Store, home_of};
use super::writer::{self, How, View};
use crate::exit::{Failure, Result};

#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) members: Vec<MemberIdentity>,
    pub(super) is_group: bool,
}

#[derive(Clone, Debug)]
pub(super) struct MemberIdentity {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) fixed: u32,
    pub(super) codec: String,
    pub(super) version: ProtocolVersion,
}

#[derive(Clone, Debug)]
pub(super) struct CheckReport {
    pub(super) first: u64,
    pub(super) len: u64,
    pub(super) data_bytes: u64,
    pub(super) seq: u64,
    pub(super) clean: bool,
    pub(super) redo: u64,
    pub(super) surplus: u64,
    pub(super) damage: Vec<BlockDamage>,
}

#[derive(Clone, Debug)]
pub(super) struct BlockDamage {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) elements: Range<u64>,
}

/// What META says; `None` if there is no store.
pub(super) fn identify(path: &Path) -> Result<Option<Identity>> {
    let Some(meta) = home_of(path).map(|home| home.join("META")) else { return Ok(None) };
    let bytes = match fs::read(&meta) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Failure::io("read", &meta, e)),
    };
    let newer = bytes.get(8..10) != Some(&[1, 0]);
    if bytes.starts_with(b"UNTAPND\0") && newer {
        return Err(Failure::new(ErrorKind::NewerFormat, &meta, "it is of a newer version"));
    }
    let fields = bytes.get(..bytes.len().saturating_sub(4)).unwrap_or_default();
    let members = fields.starts_with(b"UNTAPND\0").then(|| members(fields)).flatten();
    let Some(mut members) = members else {
        return Err(Failure::new(ErrorKind::Damaged, &meta, "it does not verify"));
    };
    let parent = path.parent().unwrap_or(Path::new(""));
    let is_group = members.len() != 1 || members.iter().any(|member| !member.name.is_empty());
    for member in &mut members {
        let beside = parent.join(&member.path);
        if !is_group {
            member.path = path.to_path_buf();
        } else if beside.exists() || !member.path.exists() {
            member.path = beside;
        }
    }
    Ok(Some(Identity { members, is_group }))
}

fn members(fields: &[u8]) -> Option<Vec<MemberIdentity>> {
    let (count, mut rest) = fields.get(10..)?.split_first_chunk::<2>()?;
    rest = rest.get(16..)?;
    let mut members = Vec::new();
    for _ in 0..u16::from_le_bytes(*count) {
        let mut text = || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (text, after) = after.split_at_checked(u16::from_le_bytes(*len).into())?;
            rest = after;
            String::from_utf8(text.to_vec()).ok()
        };
        let (name, path) = (text()?, text()?);
        let (fixed, after) = rest.split_first_chunk()?;
        let (version, after) = after.split_first_chunk()?;
        let (codec, after) = after.split_first_chunk::<16>()?;
        rest = after;
        let codec = String::from_utf8_lossy(codec).trim_end_matches('\0').to_owned();
        let (fixed, version) = (u32::from_le_bytes(*fixed), u32::from_le_bytes(*version));
        let version = ProtocolVersion(version);
        members.push(MemberIdentity { name, path: path.into(), fixed, codec, version });
    }
    Some(members)
}

/// What is committed now, of one file.
pub(super) fn look(store: &Store, nth: usize) -> Result<Box<dyn View>> {
    Ok(opened(store, nth, OnDamage::Refuse)?.0)
}

/// As `look`, also if the end is damaged: elements that are not keep their positions.
pub(super) fn look_at_damaged(store: &Store, nth: usize) -> Result<Box<dyn View>> {
    match opened(store, nth, OnDamage::Refuse) {
        Err(failure) if failure.exit() == crate::exit::code::DAMAGE => {
            Ok(opened(store, nth, OnDamage::Salvage)?.0)
        }
        opened => Ok(opened?.0),
    }
}

/// Whether it was closed in order, so that an open has nothing to do.
pub(super) fn is_clean(store: &Store) -> Result<bool> {
    Ok(opened(store, 0, OnDamage::Refuse)?.1.clean)
}

/// Tells what becomes durable in a file.
pub(super) struct Following<'a> {
    store: &'a Store,
    nth: usize,
    next: u64,
}

impl<'a> Following<'a> {
    /// Of elements before `next` it is taken that they are known.
    pub(super) fn new(store: &'a Store, nth: usize, next: u64) -> Self {
        Self { store, nth, next }
    }

    pub(super) fn next(&mut self, timeout: Duration) -> Result<Option<TailEvent>> {
        std::thread::sleep(timeout);
        let view = look(self.store, self.nth)?;
        if view.len() < self.next {
            self.next = view.len();
            return Ok(Some(TailEvent::Rewound { to: self.next }));
        }
        let new = self.next.max(view.first())..view.len();
        self.next = view.len();
        Ok((!new.is_empty()).then_some(TailEvent::Elements(new)))
    }
}

/// Reads every byte of a file.
pub(super) fn check(
    store: &Store,
    nth: usize,
    mut progress: impl FnMut(u64, u64),
) -> Result<CheckReport> {
    let (view, recovery) = match opened(store, nth, OnDamage::Refuse) {
        Err(failure) if failure.exit() == crate::exit::code::DAMAGE => {
            opened(store, nth, OnDamage::Salvage)?
        }
        opened => opened?,
    };
    let path = store.identity.members.get(nth).map(|member| member.path.clone());
    let bytes = path.and_then(|path| path.metadata().ok()).map_or(0, |stat| stat.len());
    let data_bytes = bytes.saturating_sub(recovery.cut_bytes);
    let mut damage: Vec<BlockDamage> = Vec::new();
    let mut from = view.first();
    while from < view.len() {
        let Err(error) = view.verify(from) else { break };
        let Some(hit) = hit_of(&error).filter(|hit| hit.elements.end > from) else {
            return Err(error.into());
        };
        from = hit.elements.end;
        if damage.last().is_none_or(|last| last.offset != hit.offset) {
            damage.push(hit);
        }
    }
    progress(data_bytes, data_bytes);
    Ok(CheckReport {
        first: view.first(),
        len: view.len(),
        data_bytes,
        seq: view.seq(),
        clean: recovery.clean,
        redo: recovery.redone,
        surplus: recovery.cut_bytes,
        damage,
    })
}

/// What the text of an error says.
fn hit_of(error: &Error) -> Option<BlockDamage> {
    let text = error.to_string();
    let (_, range) = text.split_once("the elements ")?;
    let mut numbers = range.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    let (first, last) = (numbers.next()?.parse().ok()?, numbers.next()?.parse::<u64>().ok()?);
    let elements = first..last.saturating_add(1);
    Some(BlockDamage { offset: error.offset()?, bytes: 16 << 10, elements })
}

fn opened(
    store: &Store,
    nth: usize,
    on_damage: OnDamage,
) -> Result<(Box<dyn View>, RecoveryReport)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    const TRIES: u32 = 20;
    let mut tries = 0;
    loop {
        tries += 1;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("untorn-{}-{count}", std::process::id()));
        let opened = open_copy(store, nth, &dir, on_damage);
        // The files are held open; a name that is left is worth no failure.
        let _removed = fs::remove_dir_all(&dir).is_ok();
        match opened {
            // Its owner may have changed it while it was copied.
            Err(_) if tries < TRIES && is_held(&store.home) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

fn is_held(home: &Path) -> bool {
    untorn::holder(home).ok().flatten().is_some_and(|holder| holder.alive == Some(true))
}

fn open_copy(
    store: &Store,
    nth: usize,
    dir: &Path,
    on_damage: OnDamage,
) -> Result<(Box<dyn View>, RecoveryReport)> {
    let fail = |e| Failure::io("copy", &store.asked, e);
    let name = store.path.file_name().unwrap_or_default();
    copy_tree(&store.home, &home_of(&dir.join(name)).unwrap_or_default()).map_err(fail)?;
    let mut identity = store.identity.clone();
    for (nth, member) in identity.members.iter_mut().enumerate() {
        let to = match member.path.file_name() {
            Some(_) if store.identity.is_group => dir.join(format!("{nth}")),
            _ => dir.join(name),
        };
        match fs::copy(&member.path, &to) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(fail(e)),
        }
        member.path = to;
    }
    let how = How { create: false, on_damage, on_foreign: OnForeign::Refuse, size_file: None };
    let member = identity.members.get(nth);
    let member = member.ok_or_else(|| Failure::plain(ErrorKind::NotFound, "no such file"))?;
    if !identity.is_group {
        let file = writer::open(&member.path, &writer::Kind::of(member), &how)?;
        return Ok((file.snapshot()?, file.recovery()?));
    }
    let (path, name) = (dir.join(name), member.name.clone());
    let group = writer::open_group(&path, &identity.members, &how)?;
    let view = group.snapshot().file::<Vec<u8>>(&name)?;
    Ok((Box::new(view), group.recovery().clone()))
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
