//! Reads a store of another process, beside its living owner or after his death: no lock, no write, no waiting.
//!
//! # Invariants
//! - L1 What a state shows is what the log says up to a record. Bytes that records since the last checkpoint carry are taken
//!   from them, so that it does not matter whether their writer came to write them in place.
//! - L2 Other bytes change only after a record that says so (K1 of `column.rs`). So they are read first, then the log is looked at again: if nothing
//!   since the state's record took them away, they are those of the state. Else the answer is `Stale`.
//!   Buffered bytes that no later record vouches for are compared with their sums before they are shown.
//! - L3 Files of another generation are not changed any more: a state goes on with those that it opened.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Range as Bytes;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::begin::{file_name, kind_name, resolve};
use super::blocks::{HEADER, Seed, block_of, start_of, sum_at};
use super::column::Files;
use super::damage::first_bad;
use super::meta::{ENDS, ENDS_SUMS, Meta, SUMS};
use super::open::{LOG, home_of, load_meta, log_options};
use super::options::{ProtocolVersion, Verify};
use super::overlay::{Guard, Overlay, Pieces};
use super::publish::{Published, View};
use super::range::{Range, Through};
use super::record::{Change, End, Entry, Full, MemberState};
use super::replay::apply;
use super::settings::Settings;
use crate::commit::Place;
use crate::fs::{Dir, File, How, ReadMode};
use crate::log::{Log, LogReader, Piece, Upto, piece_of};
use crate::{Error, ErrorKind, Result};

/// How often a look is taken again if the owner changes things meanwhile.
const LOOKS: u32 = 16;

/// What a store is, from its META.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Its files.
    pub members: Vec<MemberIdentity>,
    /// Whether they are a group, opened by [`AppendGroup`](super::AppendGroup).
    pub is_group: bool,
}

/// One file of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberIdentity {
    /// Its name in a group; empty for a file alone.
    pub name: String,
    /// The data file.
    pub path: PathBuf,
    /// Bytes of each element; 0 if they differ.
    pub fixed: u32,
    /// How elements are encoded.
    pub codec: String,
    /// The version of that encoding.
    pub version: ProtocolVersion,
}

/// What the store of the file or group at `path` is, or of the home `NAME.untorn` itself; `None` if there is none.
///
/// # Errors
/// `Precondition` for a file of a group: names the group; `Damaged`, `NewerFormat`, `Io`.
pub fn identify(path: impl AsRef<Path>) -> Result<Option<Identity>> {
    identify_with(path.as_ref(), &Settings::default())
}

pub(super) fn identify_with(path: &Path, settings: &Settings) -> Result<Option<Identity>> {
    let Some((home, _)) = find_home(settings, path)? else { return Ok(None) };
    let Some(meta) = load_meta(&*home)? else { return Ok(None) };
    let is_group = meta.members.iter().any(|member| !member.name.is_empty());
    let is_home = path.extension().is_some_and(|end| end == "untorn");
    let data = if is_home { path.with_extension("") } else { path.to_path_buf() };
    let beside = home.path().parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let members = meta.members.into_iter().map(|member| MemberIdentity {
        path: if is_group { beside.join(path_of(&member.path)) } else { data.clone() },
        name: member.name,
        fixed: member.fixed,
        codec: member.codec,
        version: ProtocolVersion(member.version),
    });
    Ok(Some(Identity { members: members.collect(), is_group }))
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// A home, and the place of a file alone.
type Home = (Arc<dyn Dir>, Option<Place>);

/// The home of a file or group, or the directory itself if it is one.
fn find_home(settings: &Settings, path: &Path) -> Result<Option<Home>> {
    let is_home = path.extension().is_some_and(|end| end == "untorn");
    let (home, data) = if is_home {
        let place = Place::of(&*settings.fs, "open", path)?;
        let data = path.with_extension("");
        let data = resolve(settings, &data).ok();
        (place, data)
    } else {
        (home_of(settings, path)?, Some(resolve(settings, path)?))
    };
    match home.dir.open_dir(&home.name) {
        Ok(dir) => {
            super::open::refuse_member(&*dir, path)?;
            Ok(Some((dir, data)))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::system("open", &home.path(), e)),
    }
}

/// A column of a generation: what took bytes of it away, and what stands over its files.
#[derive(Debug, Default)]
struct Known {
    /// Rewinds that no later one goes below: the record's number in the log, and bytes kept.
    cuts: Vec<(u64, u64)>,
    /// Blocks before this byte may have become a hole.
    head: u64,
    data: Pieces,
    sums: Pieces,
}

impl Known {
    fn cut(&mut self, record: u64, keep: u64) {
        while self.cuts.pop_if(|(_, kept)| *kept >= keep).is_some() {}
        self.cuts.push((record, keep));
    }
}

/// A column: the member, whether it is its ends, and the generation.
type Key = (usize, bool, u64);

/// What was seen so far.
struct Seen {
    log: LogReader,
    /// The last record that is in `now`.
    record: u64,
    now: Full,
    /// As of the last record that vouches for all before it.
    vouched: Full,
    known: BTreeMap<Key, Known>,
    /// Bytes that nothing carries and nothing vouches for, and that were not looked at yet.
    loose: Vec<(Key, Bytes<u64>)>,
    /// The open files of each member, and of which generation they are.
    files: Vec<Option<(u64, Vec<Files>)>>,
    /// Commits that rewound: number and elements kept, by member.
    rewinds: Vec<Vec<(u64, u64)>>,
    last: Option<(u64, Arc<Published>)>,
}

/// See the module.
pub(super) struct Follow {
    path: PathBuf,
    home: Arc<dyn Dir>,
    meta: Meta,
    places: Vec<Place>,
    fixed: Vec<u32>,
    settings: Settings,
    seen: Mutex<Seen>,
    me: Weak<Self>,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Follow {
    /// Looks at the store of `path` for the first time; `None` if there is none.
    pub(super) fn open(path: &Path, settings: &Settings) -> Result<Option<Arc<Self>>> {
        let Some((home, data)) = find_home(settings, path)? else { return Ok(None) };
        let Some(meta) = load_meta(&*home)? else { return Ok(None) };
        let alone = meta.members.iter().all(|member| member.name.is_empty());
        let beside = home.path().parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let mut places = Vec::new();
        for member in &meta.members {
            places.push(match (&data, alone) {
                (Some(data), true) => data.clone(),
                _ => resolve(settings, &beside.join(path_of(&member.path)))?,
            });
        }
        let seen = Seen::load(&*home, settings, &meta)?;
        let fixed = meta.members.iter().map(|member| member.fixed).collect();
        let (settings, path) = (settings.clone(), path.to_path_buf());
        Ok(Some(Arc::new_cyclic(|me| Self {
            path,
            home,
            meta,
            places,
            fixed,
            settings,
            seen: Mutex::new(seen),
            me: me.clone(),
        })))
    }

    pub(super) const fn meta(&self) -> &Meta {
        &self.meta
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as the log is now.
    pub(super) fn look(&self) -> Result<Arc<Published>> {
        let mut looks = 0_u32;
        loop {
            let error = match self.try_look() {
                Ok(state) => return Ok(state),
                Err(error) => error,
            };
            looks = looks.saturating_add(1);
            let again = matches!(error.kind(), ErrorKind::Stale | ErrorKind::NotFound);
            if !again || looks >= LOOKS {
                return Err(error);
            }
        }
    }

    fn try_look(&self) -> Result<Arc<Published>> {
        let mut seen = self.seen();
        seen.refresh(&*self.home, &self.settings, &self.meta, &self.fixed)?;
        if let Some((record, state)) = &seen.last
            && *record == seen.record
        {
            return Ok(Arc::clone(state));
        }
        let state = match self.show(&mut seen, false) {
            // A commit that nothing vouches for yet, and whose bytes a crash has taken.
            Err(error) if error.kind() == ErrorKind::Damaged && seen.vouched != seen.now => {
                let moved = seen.refresh(&*self.home, &self.settings, &self.meta, &self.fixed)?;
                if moved {
                    return Err(stale(&self.path));
                }
                self.show(&mut seen, true)?
            }
            state => state?,
        };
        seen.last = Some((seen.record, Arc::clone(&state)));
        Ok(state)
    }

    fn show(&self, seen: &mut Seen, vouched: bool) -> Result<Arc<Published>> {
        let full = if vouched { seen.vouched.clone() } else { seen.now.clone() };
        if !vouched {
            self.prove_loose(seen, &full)?;
        }
        let mut members = Vec::new();
        for (nth, state) in full.members.iter().enumerate() {
            let files = self.files(seen, nth, state)?;
            let ends = match (files.get(1), state.ends) {
                (Some(files), Some(end)) => {
                    Some(self.range(seen, (nth, true), state, files, end)?)
                }
                _ => None,
            };
            let Some(data) = files.first() else { return Err(stale(&self.path)) };
            let data = self.range(seen, (nth, false), state, data, state.data)?;
            let fixed = self.fixed.get(nth).copied().unwrap_or(0);
            let len = match state.ends {
                Some(ends) => ends.end / super::store::END,
                None => state.data.end.checked_div(u64::from(fixed)).unwrap_or(0),
            };
            let (first, data_end) = (state.first, state.data.end);
            members.push(View { data, ends, fixed, first, len, data_end });
        }
        Ok(Arc::new(Published { seq: full.seq, members: members.into(), hold: None }))
    }

    /// Compares buffered bytes with their sums: a power cut may have taken some of them, and left their record.
    fn prove_loose(&self, seen: &mut Seen, full: &Full) -> Result<()> {
        for (key, bytes) in seen.loose.clone() {
            let (nth, ends, generation) = key;
            let Some(state) = full.members.get(nth).filter(|s| s.generation == generation) else {
                continue;
            };
            let files = self.files(seen, nth, state)?;
            let Some(files) = files.get(usize::from(ends)) else { continue };
            let over = self.over(seen, key, files, false);
            // To the end of the block that they end in, if a later commit has filled it.
            let end = if ends { state.ends.unwrap_or_default() } else { state.data }.end;
            let to = start_of(block_of(bytes.end).saturating_add(1)).min(end);
            if let Some(bad) = first_bad(&over, self.seed(nth, ends), bytes.start, to)? {
                let what = "a commit that was not synced is not whole";
                return Err(Error::new(ErrorKind::Damaged, "read", files.file.path(), what).at(bad));
            }
        }
        seen.loose.clear();
        Ok(())
    }

    /// The files of a member's generation, opened once.
    fn files(&self, seen: &mut Seen, nth: usize, state: &MemberState) -> Result<Vec<Files>> {
        let Some(slot) = seen.files.get_mut(nth) else { return Err(stale(&self.path)) };
        if let Some((generation, files)) = slot
            && *generation == state.generation
        {
            return Ok(files.clone());
        }
        let open = |kind: u8| {
            let name = file_name(kind_name(kind), nth, state.generation);
            let path = self.home.path().join(&name);
            self.home.open(&name, How::Read).map_err(|e| Error::system("open", &path, e))
        };
        // A compacted file that has not got its name yet is in the home.
        let early = self.home.open(&file_name("data", nth, state.generation), How::Read);
        let file = match (early, self.places.get(nth)) {
            (Ok(file), _) => file,
            (Err(_), Some(place)) => place
                .dir
                .open(&place.name, How::Read)
                .map_err(|e| Error::system("open", &place.path(), e))?,
            (Err(e), None) => return Err(Error::system("open", &self.path, e)),
        };
        let mut files = vec![Files { file, sums: open(SUMS)?, base: 0 }];
        if state.ends.is_some() {
            files.push(Files { file: open(ENDS)?, sums: open(ENDS_SUMS)?, base: HEADER });
        }
        *slot = Some((state.generation, files.clone()));
        Ok(files)
    }

    fn seed(&self, nth: usize, ends: bool) -> Seed {
        let column = u32::try_from(nth).unwrap_or(u32::MAX).saturating_mul(2);
        Seed::new(self.meta.store_id, column.saturating_add(u32::from(ends)))
    }

    /// A column as of the last record: its files, with what the log carries over them.
    fn range(
        &self,
        seen: &Seen,
        (nth, ends): (usize, bool),
        state: &MemberState,
        files: &Files,
        end: End,
    ) -> Result<Arc<Range>> {
        let key = (nth, ends, state.generation);
        let over = self.over(seen, key, files, true);
        let sums = self.seed(nth, ends);
        let looked = self.over(seen, key, files, false);
        if looked.tail_at(sums, end.end)?.crc != end.crc {
            let last = start_of(block_of(end.end));
            let what =
                format!("the bytes from {last} to {} are not those that were committed", end.end);
            return Err(Error::new(ErrorKind::Damaged, "read", files.file.path(), what).at(last));
        }
        let range = Range::new(
            Through {
                file: over.file,
                sums: over.sums,
                base: files.base,
                seed: sums,
                mode: ReadMode::Pread,
                verify: self.settings.verify,
                reserve: 0,
            },
            end.end,
        )?;
        range.trust(start_of(block_of(end.end))..end.end);
        Ok(Arc::new(range))
    }

    /// The files with what the log carries over them; guarded, they answer only what the state of now shows (L2).
    fn over(&self, seen: &Seen, key: Key, files: &Files, guarded: bool) -> Files {
        let known = seen.known.get(&key);
        let pieces = |pieces: fn(&Known) -> &Pieces| known.map(pieces).cloned().unwrap_or_default();
        let guard = |sums: bool| {
            let (me, record, base) = (self.me.clone(), seen.record, files.base);
            let guard: Guard = Arc::new(move |bytes: Bytes<u64>| match me.upgrade() {
                Some(me) => me.still(key, record, sums, base, bytes),
                None => Ok(()),
            });
            guarded.then_some(guard)
        };
        let (data, sums) = (pieces(|known| &known.data), pieces(|known| &known.sums));
        let file = Arc::clone(&files.file);
        let file = Arc::new(Overlay { file, pieces: data, guard: guard(false) });
        let sums = Overlay { file: Arc::clone(&files.sums), pieces: sums, guard: guard(true) };
        Files { file, sums: Arc::new(sums), base: files.base }
    }

    /// Whether bytes that were just read are those of the state as of `record` (L2).
    fn still(&self, key: Key, record: u64, sums: bool, base: u64, bytes: Bytes<u64>) -> Result<()> {
        let mut seen = self.seen();
        seen.refresh(&*self.home, &self.settings, &self.meta, &self.fixed)?;
        let Some(known) = seen.known.get(&key) else { return Ok(()) };
        // They keep more and more: the first one after the record is the lowest.
        let after = known.cuts.partition_point(|(at, _)| *at <= record);
        let cut = known.cuts.get(after).map(|(_, keep)| *keep);
        let taken = match (cut, sums) {
            (None, _) => false,
            (Some(keep), false) => base.saturating_add(keep) < bytes.end,
            (Some(keep), true) => sum_at(block_of(keep)) < bytes.end,
        };
        let hole = !sums && bytes.start < base.saturating_add(start_of(block_of(known.head)));
        if taken || hole { Err(stale(&self.path)) } else { Ok(()) }
    }

    /// As [`Shared::rewinds_since`](super::publish::Shared::rewinds_since).
    pub(super) fn rewinds_since(&self, seq: u64, member: usize) -> Option<u64> {
        let seen = self.seen();
        let rewinds = seen.rewinds.get(member)?;
        rewinds.get(rewinds.partition_point(|(at, _)| *at <= seq)).map(|(_, keep)| *keep)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where everything stands, as of the last look.
    pub(super) fn standing(&self) -> Full {
        self.seen().now.clone()
    }

    /// Looks again; whether everything stands elsewhere than before.
    pub(super) fn changed(&self, before: &Full) -> Result<bool> {
        let mut seen = self.seen();
        seen.refresh(&*self.home, &self.settings, &self.meta, &self.fixed)?;
        Ok(seen.now != *before)
    }

    /// The files of a member as the log says they are, and their seeds: data, then ends.
    pub(super) fn columns(&self, nth: usize) -> Result<Vec<(Files, Seed)>> {
        let mut seen = self.seen();
        let Some(state) = seen.now.members.get(nth).copied() else {
            return Err(stale(&self.path));
        };
        let files = self.files(&mut seen, nth, &state)?;
        let over = |(n, files): (usize, &Files)| {
            let ends = n == 1;
            let over = self.over(&seen, (nth, ends, state.generation), files, false);
            (over, self.seed(nth, ends))
        };
        Ok(files.iter().enumerate().map(over).collect())
    }

    /// The data file itself.
    pub(super) fn data(&self, nth: usize) -> Result<Arc<dyn File>> {
        let mut seen = self.seen();
        let Some(state) = seen.now.members.get(nth).copied() else {
            return Err(stale(&self.path));
        };
        let files = self.files(&mut seen, nth, &state)?;
        files.first().map(|files| Arc::clone(&files.file)).ok_or_else(|| stale(&self.path))
    }
}

#[cold]
fn stale(path: &Path) -> Error {
    let what = "its owner took away what was read, or changes it faster than it can be looked at; look again";
    Error::new(ErrorKind::Stale, "read", path, what)
}

impl Seen {
    fn load(home: &dyn Dir, settings: &Settings, meta: &Meta) -> Result<Self> {
        let log = Log::open_read_only(home.path().join(LOG), log_options(settings))?;
        let fixed: Vec<u32> = meta.members.iter().map(|member| member.fixed).collect();
        let members = fixed.len();
        let mut seen = Self {
            record: log.first_seq().saturating_sub(1),
            log,
            now: Full::default(),
            vouched: Full::default(),
            known: BTreeMap::new(),
            loose: Vec::new(),
            files: vec![None; members],
            rewinds: vec![Vec::new(); members],
            last: None,
        };
        seen.take_new(&fixed)?;
        if seen.now.members.len() != members {
            let what = "its owner is just making it; look again";
            return Err(Error::new(ErrorKind::NotFound, "read", home.path(), what));
        }
        Ok(seen)
    }

    /// Looks at the log again; whether there is anything new.
    fn refresh(
        &mut self,
        home: &dyn Dir,
        settings: &Settings,
        meta: &Meta,
        fixed: &[u32],
    ) -> Result<bool> {
        match self.log.refresh() {
            Ok(false) => return Ok(false),
            Ok(true) if self.log.first_seq() <= self.record.saturating_add(1) => {
                self.take_new(fixed)?;
                return Ok(true);
            }
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::Stale => {}
            Err(error) => return Err(error),
        }
        // Records were dropped that were not seen: anything may have been taken away by them.
        let before = std::mem::replace(self, Self::load(home, settings, meta)?);
        for (key, known) in before.known {
            let record = self.record;
            let now = self.known.entry(key).or_default();
            now.head = now.head.max(known.head);
            now.cuts = vec![(record, 0)];
        }
        for (nth, rewinds) in self.rewinds.iter_mut().enumerate() {
            let same = before.now.members.get(nth) == self.now.members.get(nth);
            if !same {
                *rewinds = vec![(self.now.seq, 0)];
            }
        }
        Ok(true)
    }

    /// Takes the records that were not taken yet.
    fn take_new(&mut self, fixed: &[u32]) -> Result<()> {
        let from = self.record.saturating_add(1).max(self.log.first_seq());
        let mut scan = self.log.read(from, Upto::Written)?;
        while let Some(record) = scan.next()? {
            let taken = match piece_of(record.bytes) {
                Some(Piece::Full(bytes)) => {
                    Full::decode(bytes).map(|full| self.full(record.seq, full))
                }
                // Records before the first full form that is kept belong to one that is not.
                Some(Piece::Change(_)) if self.now.members.is_empty() => Some(()),
                Some(Piece::Change(bytes)) => {
                    Change::decode(bytes).and_then(|change| self.change(record.seq, &change, fixed))
                }
                None => None,
            };
            if taken.is_none() {
                let what = "a record does not go with those before it; the log is not this store's, or it was changed";
                return Err(Error::new(ErrorKind::Damaged, "read", self.log.path(), what));
            }
            self.record = record.seq;
        }
        Ok(())
    }

    /// A full form: everything is in the files. It may be less than there was, after a crash.
    fn full(&mut self, record: u64, full: Full) {
        let before = std::mem::replace(&mut self.now, full);
        let now = self.now.clone();
        for (nth, (old, new)) in before.members.iter().zip(&now.members).enumerate() {
            for (ends, end) in [(false, Some(new.data)), (true, new.ends)] {
                let Some(end) = end else { continue };
                let known = self.known.entry((nth, ends, new.generation)).or_default();
                (known.data, known.sums) = (Pieces::default(), Pieces::default());
                let was = if ends { old.ends } else { Some(old.data) };
                if old.generation == new.generation && was.is_some_and(|was| was.end > end.end) {
                    known.cut(record, end.end);
                }
            }
            if old.generation != new.generation {
                self.rewound(nth, now.seq, 0);
            }
        }
        self.vouched = now;
        self.loose.clear();
    }

    fn change(&mut self, record: u64, change: &Change<'_>, fixed: &[u32]) -> Option<()> {
        for entry in &change.entries {
            match *entry {
                Entry::Extend(extend) => {
                    let nth = usize::from(extend.member);
                    let member = *self.now.members.get(nth)?;
                    let old = if extend.ends { member.ends? } else { member.data };
                    let known =
                        self.known.entry((nth, extend.ends, member.generation)).or_default();
                    if extend.keep < old.end {
                        known.cut(record, extend.keep);
                    }
                    if extend.inline_end() < extend.end() {
                        let key = (nth, extend.ends, member.generation);
                        self.loose.push((key, extend.keep..extend.end()));
                    }
                    let base = if extend.ends { HEADER } else { 0 };
                    known.data.put(base.saturating_add(extend.keep), extend.inline);
                    known.sums.put(sum_at(block_of(extend.keep)), extend.sums);
                    if extend.keep < old.end && (extend.ends || member.ends.is_none()) {
                        let size = if extend.ends {
                            super::store::END
                        } else {
                            u64::from(*fixed.get(nth)?)
                        };
                        self.rewound(nth, change.seq, extend.keep.checked_div(size)?);
                    }
                }
                Entry::Head { member, first_byte, first } => {
                    let nth = usize::from(member);
                    let generation = self.now.members.get(nth)?.generation;
                    let kept = first.saturating_sub(1).saturating_mul(super::store::END);
                    for (ends, head) in [(false, first_byte), (true, kept)] {
                        let known = self.known.entry((nth, ends, generation)).or_default();
                        known.head = known.head.max(head);
                    }
                }
                Entry::Switch { member, .. } => self.rewound(usize::from(member), change.seq, 0),
            }
        }
        apply(&mut self.now, change, fixed)?;
        if change.vouches {
            self.vouched = self.now.clone();
            self.loose.clear();
        }
        Some(())
    }

    fn rewound(&mut self, nth: usize, seq: u64, keep: u64) {
        if let Some(rewinds) = self.rewinds.get_mut(nth) {
            while rewinds.pop_if(|(_, kept)| *kept >= keep).is_some() {}
            rewinds.push((seq, keep));
        }
    }
}

/// A file that no store was made for: as it is, its bytes unchecked.
pub(super) fn plain(place: &Place, fixed: u32, settings: &Settings) -> Result<Published> {
    let path = place.path();
    let fail = |e| Error::system("open", &path, e);
    let file = place.dir.open(&place.name, How::Read).map_err(fail)?;
    if fixed == 0 {
        let what = "it has no store of ours, and nothing says where its elements end; open it for writing once, with the file of their sizes";
        return Err(Error::new(ErrorKind::Precondition, "open", &path, what));
    }
    let len = file.stat().map_err(fail)?.len;
    let elements = len.checked_div(u64::from(fixed)).unwrap_or(0);
    let data_end = elements.saturating_mul(u64::from(fixed));
    let sums = Arc::clone(&file);
    let seed = Seed::new([0; 16], 0);
    let (mode, verify, reserve) = (ReadMode::Pread, Verify::Never, settings.reserve);
    let through = Through { file, sums, base: 0, seed, mode, verify, reserve };
    let data = Arc::new(Range::new(through, data_end)?);
    let view = View { data, ends: None, fixed, first: 0, len: elements, data_end };
    Ok(Published { seq: 0, members: vec![view].into(), hold: None })
}
