//! Opens a store: claims it, brings its files to where the log is, and proves their ends.
//!
//! # Invariants
//! - O1 What records since the last checkpoint carry is written again, and never compared first.
//! - O2 What nothing vouches for, direct bytes of buffered commits, counts as far as its sums hold; it is written again, too.
//! - O3 All that is synced, and written down by a checkpoint, before the open returns. After a close in order nothing is
//!   written at all; what a power cut brought back of removed files is removed.
//! - O4 Nothing that was acknowledged is cut unless the options say so; what is cut was copied first.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::begin::{Site, file_name, home_name, resolve};
use super::blocks::{HEADER, Seed, Tail, block_of, start_of};
use super::column::{Column, Files};
use super::damage::Found;
use super::meta::{ENDS, ENDS_SUMS, META_MAX, MemberMeta, Meta, Parsed, SUMS};
use super::pending::{Held, Pending};
use super::publish::{Published, Shared, View};
use super::record::{Change, End, Entry, Extend, Full, MemberState};
use super::replay::{Replay, apply};
use super::settings::{MemberSpec, Settings};
use super::stats::RecoveryReport;
use super::store::{END, Member, Store};
use crate::commit::{self, Claim, Place, Poison, Sites};
use crate::fs::{Dir, How, ReadMode, Rename, SyncSite};
use crate::log::{LogOptions, Piece, State};
use crate::{Durability, Error, ErrorKind, OnDamage, Result};

/// What the store is, in its home.
pub(super) const META: &str = "META";
/// The log, in its home.
pub(super) const LOG: &str = "log";
/// In the home of a file that belongs to a group: where the group's home is.
pub(super) const GROUP: &str = "GROUP";

/// The home of the file or group that `path` names.
pub(super) fn home_of(settings: &Settings, path: &Path) -> Result<Place> {
    let place = resolve(settings, path)?;
    let name = home_name(&place.name);
    Ok(Place { dir: place.dir, name })
}

pub(super) fn log_options(settings: &Settings) -> LogOptions {
    // Records behind damage build on those that are lost: there is nothing to salvage in the log itself.
    let on_damage = match settings.on_damage {
        OnDamage::Salvage => OnDamage::Refuse,
        other => other,
    };
    LogOptions::new()
        .owner(*b"APND")
        .segment_bytes(settings.log_segment_bytes)
        .max_record(1 << 30)
        .durability(Durability::Buffered)
        .on_damage(on_damage)
        .fs(Arc::clone(&settings.fs))
}

impl Store {
    /// See the module. `home` is the directory `NAME.untorn`, which may not exist yet.
    pub(super) fn open(
        home: &Place,
        path: PathBuf,
        specs: &[MemberSpec],
        settings: Settings,
    ) -> Result<Self> {
        let fs = Arc::clone(&settings.fs);
        let started = fs.monotonic();
        specs.iter().try_for_each(MemberSpec::check)?;
        let places: Vec<Place> =
            specs.iter().map(|spec| resolve(&settings, &spec.path)).collect::<Result<_>>()?;
        let dir = open_home(home, &path, &places, &settings)?;
        refuse_member(&*dir, &path)?;
        let claim = Claim::take(&*fs, &*dir)?;
        commit::sweep_store(&*dir)?;
        let store_id = identify(&settings, home, &dir, &path, (specs, &places))?;
        let site = Site { settings: &settings, home: &dir, store_id };
        let mut replay = Replay::new(specs.iter().map(|spec| spec.fixed).collect());
        let log_path = dir.path().join(LOG);
        let (log, log_report) = State::open(&log_path, log_options(&settings), |piece| {
            let taken = match piece {
                Piece::Full(bytes) => replay.take_full(bytes),
                Piece::Change(bytes) => replay.take_change(bytes),
            };
            taken.ok_or_else(|| no_sense(&log_path))
        })?;
        let mut report = RecoveryReport::default();
        let opening = Opening { site, specs, places: &places };
        let (found, now) = if replay.full.is_some() {
            let healed = log_report.healed.is_some();
            opening.recover(&log, &replay, healed, &mut report)?
        } else {
            (opening.begin(&mut report)?, Full::default())
        };
        let mut members = Vec::new();
        let mode = commit::settle_read_mode(settings.read_mode, &*dir)?;
        for ((spec, place), found) in specs.iter().zip(&places).zip(found) {
            members.push(found.member(
                spec.clone(),
                place.clone(),
                mode,
                &settings,
                report.clean,
            )?);
        }
        let views = members.iter().map(|member| member.view.clone()).collect();
        let claim = Arc::new(claim);
        let (seq, note) = (now.seq, now.note);
        let first = Published { seq, members: views, hold: Some(Arc::clone(&claim)) };
        let mut store = Self {
            path,
            home: dir,
            claim,
            id: store_id,
            log,
            members,
            seq,
            note,
            next_note: None,
            in_use: !report.clean,
            unsynced: false,
            since: 0,
            poison: Poison::default(),
            shared: Shared::new(first),
            report,
            settings,
        };
        if !store.report.clean {
            store.checkpoint(false)?;
        }
        store.sweep_files()?;
        store.report.elapsed = fs.monotonic().saturating_sub(started);
        Ok(store)
    }

    /// Takes away files of other generations: a compaction's that was not gone over to, or that were left behind.
    pub(super) fn sweep_files(&self) -> Result<()> {
        let list = self.home.list();
        let names = list.map_err(|e| Error::system("sweep", self.home.path(), e))?;
        for name in names {
            let Some((member, generation)) = name.to_str().and_then(parse_name) else { continue };
            let current = self.members.get(member).is_some_and(|m| m.generation == generation);
            if !current {
                // Not synced: what comes back is swept by the next open.
                commit::unlink(&*self.home, &name)?;
            }
        }
        Ok(())
    }
}

/// The member and the generation in the name of a file of ours.
fn parse_name(name: &str) -> Option<(usize, u64)> {
    let mut parts = name.split('.');
    let (kind, member, generation) = (parts.next()?, parts.next()?, parts.next()?);
    let ours = ["data", "ends", "sums", "esums"].contains(&kind) && parts.next().is_none();
    ours.then_some((member.parse().ok()?, generation.parse().ok()?))
}

fn no_sense(log: &Path) -> Error {
    let what =
        "a record does not go with those before it; the log is not this store's, or it was changed";
    Error::new(ErrorKind::Damaged, "open", log, what)
}

/// Opens the home, or makes it if the options allow it and no data is missing.
fn open_home(
    home: &Place,
    path: &Path,
    places: &[Place],
    settings: &Settings,
) -> Result<Arc<dyn Dir>> {
    match home.dir.open_dir(&home.name) {
        Ok(dir) => return Ok(dir),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::system("open", &home.path(), e)),
    }
    let there = |place: &Place| place.dir.stat(&place.name).is_ok();
    if !settings.create && !places.iter().any(there) {
        let what = "there is no such file, and the options say not to make one";
        return Err(Error::new(ErrorKind::NotFound, "open", path, what));
    }
    commit::make_dir(&*home.dir, &home.name, 0o700)
}

/// A file of a group is opened through the group.
pub(super) fn refuse_member(home: &dyn Dir, path: &Path) -> Result<()> {
    let group = match home.open(OsStr::new(GROUP), How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::system("open", &home.path().join(GROUP), e)),
    };
    let mut name = [0; 4096];
    let len = group.read_at(&mut name, 0).unwrap_or(0);
    let name = String::from_utf8_lossy(name.get(..len).unwrap_or_default()).into_owned();
    let what = format!("it belongs to the group {name}; open that");
    Err(Error::new(ErrorKind::Precondition, "open", path, what))
}

/// Reads META, or writes it; says the store's id.
fn identify(
    settings: &Settings,
    place: &Place,
    home: &Arc<dyn Dir>,
    path: &Path,
    (specs, places): (&[MemberSpec], &[Place]),
) -> Result<[u8; 16]> {
    if let Some(meta) = load_meta(&**home)? {
        expect(&meta, path, specs)?;
        return Ok(meta.store_id);
    }
    if home.stat(OsStr::new(LOG)).is_ok() {
        let what = "there is a log and no META, which is written first and never removed; restore it from a copy";
        return Err(Error::new(ErrorKind::Damaged, "open", &home.path().join(META), what));
    }
    let mut store_id = [0; 16];
    settings.fs.entropy(&mut store_id).map_err(|e| Error::system("open", path, e))?;
    let alone = specs.len() == 1 && specs.iter().all(|spec| spec.name.is_empty());
    let mut members = Vec::new();
    for (spec, data) in specs.iter().zip(places) {
        members.push(MemberMeta {
            name: spec.name.clone(),
            path: if alone { Vec::new() } else { path_from(settings, place, data)? },
            fixed: spec.fixed,
            codec: spec.codec.to_owned(),
            version: spec.version,
        });
    }
    let Some(bytes) = (Meta { store_id, members }).encode() else {
        let what = "a group has at most 1024 members, a codec's name 1 to 16 letters of ASCII";
        return Err(Error::new(ErrorKind::InvalidInput, "open", path, what));
    };
    let sites = Sites { file: SyncSite::AppendMetaFile, dir: SyncSite::AppendMetaDir };
    commit::replace_in(&*settings.fs, home, OsStr::new(META), &bytes, Durability::Synced, sites)?;
    Ok(store_id)
}

/// The path of a member from the directory that the home is in; the whole one if it is not below that.
fn path_from(settings: &Settings, home: &Place, data: &Place) -> Result<Vec<u8>> {
    let whole = |place: &Place| {
        let dir = place.dir.path();
        settings.fs.canonicalize(dir).map_err(|e| Error::system("open", dir, e))
    };
    let (base, dir) = (whole(home)?, whole(data)?);
    let dir = dir.strip_prefix(&base).unwrap_or(&dir);
    Ok(dir.join(&data.name).into_os_string().into_encoded_bytes())
}

/// What META says, if there is one.
pub(super) fn load_meta(home: &dyn Dir) -> Result<Option<Meta>> {
    let path = home.path().join(META);
    let fail = |e| Error::system("open", &path, e);
    let file = match home.open(OsStr::new(META), How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let len = usize::try_from(file.stat().map_err(fail)?.len).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len.min(META_MAX.saturating_add(1))];
    let got = file.read_at(&mut bytes, 0).map_err(fail)?;
    match Meta::decode(bytes.get(..got).unwrap_or_default()) {
        Parsed::Valid(meta) => Ok(Some(meta)),
        Parsed::Newer(version) => {
            let what = format!("it has version {version}; update this program");
            Err(Error::new(ErrorKind::NewerFormat, "open", &path, what))
        }
        Parsed::Bad(why) => {
            let what = format!(
                "{why}; it is written whole, so no crash leaves it like this; nothing was changed"
            );
            Err(Error::new(ErrorKind::Damaged, "open", &path, what).at(0))
        }
    }
}

/// Refuses a store of something else.
pub(super) fn expect(meta: &Meta, path: &Path, specs: &[MemberSpec]) -> Result<()> {
    let refuse = |what: String| Err(Error::new(ErrorKind::Precondition, "open", path, what));
    if meta.members.len() != specs.len() {
        let (has, wants) = (meta.members.len(), specs.len());
        return refuse(format!("it has {has} members, and was opened as one of {wants}"));
    }
    for (member, spec) in meta.members.iter().zip(specs) {
        let size = |fixed: u32| match fixed {
            0 => "elements of variable size".to_owned(),
            fixed => format!("elements of {fixed} bytes"),
        };
        if member.name != spec.name {
            let (has, wants) = (&member.name, &spec.name);
            return refuse(format!("its member is `{has}`, and was opened as `{wants}`"));
        }
        if member.fixed != spec.fixed {
            let (has, wants) = (size(member.fixed), size(spec.fixed));
            return refuse(format!("it has {has}, and was opened as one of {wants}"));
        }
        if member.codec != spec.codec {
            let (has, wants) = (&member.codec, spec.codec);
            return refuse(format!("its codec is `{has}`, and it was opened with `{wants}`"));
        }
        if member.version != spec.version && !spec.accept.contains(&member.version) {
            let (has, wants) = (member.version, spec.version);
            return refuse(format!(
                "its elements have protocol version {has}, and it was opened with {wants}"
            ));
        }
    }
    Ok(())
}

/// A member as an open found or made it.
#[derive(Debug)]
struct Laid {
    data: Files,
    ends: Option<Files>,
    state: MemberState,
    seeds: (Seed, Seed),
}

impl Laid {
    fn files(&self, ends: bool) -> Option<&Files> {
        if ends { self.ends.as_ref() } else { Some(&self.data) }
    }

    fn member(
        self,
        spec: MemberSpec,
        place: Place,
        mode: ReadMode,
        settings: &Settings,
        clean: bool,
    ) -> Result<Member> {
        let state = self.state;
        let column = |files: Files, end: End, seed: Seed| {
            let tail = Tail { seed, end: end.end, crc: end.crc };
            Column::open(files, tail, mode, settings, !clean)
        };
        let data = column(self.data, state.data, self.seeds.0)?;
        // Of whole blocks before the first element nobody is shown a byte.
        data.range.trust(0..start_of(block_of(state.first_byte)));
        let ends = match (self.ends, state.ends) {
            (Some(files), Some(end)) => {
                let ends = column(files, end, self.seeds.1)?;
                // The end of the last dropped element is the start of the first one.
                let unseen = state.first.saturating_sub(1).saturating_mul(END);
                ends.range.trust(0..start_of(block_of(unseen)));
                Some(ends)
            }
            _ => None,
        };
        let view = View {
            data: Arc::clone(&data.range),
            ends: ends.as_ref().map(|ends| Arc::clone(&ends.range)),
            fixed: spec.fixed,
            first: state.first,
            len: 0,
            data_end: 0,
        };
        let mut member = Member {
            view,
            generation: state.generation,
            first: state.first,
            first_byte: state.first_byte,
            data,
            ends,
            pending: Held::Own(Pending::none(0, spec.fixed)),
            head_to_punch: state.first > 0,
            prepared: None,
            spec,
            place,
        };
        member.discard();
        member.show();
        Ok(member)
    }
}

/// An open on its way.
struct Opening<'a> {
    site: Site<'a>,
    specs: &'a [MemberSpec],
    places: &'a [Place],
}

impl Opening<'_> {
    /// Makes the store (N1, N2).
    fn begin(&self, report: &mut RecoveryReport) -> Result<Vec<Laid>> {
        report.created = true;
        let mut found = Vec::new();
        for (nth, (spec, place)) in self.specs.iter().zip(self.places).enumerate() {
            let laid = self.site.begin(nth, spec, place, report)?;
            let end = |tail: Tail| End { end: tail.end, crc: tail.crc };
            let state = MemberState {
                data: end(laid.data_tail),
                ends: laid.ends.as_ref().map(|(_, tail)| end(*tail)),
                ..MemberState::default()
            };
            let ends = laid.ends.map(|(files, _)| files);
            found.push(Laid { data: laid.data, ends, state, seeds: self.site.seeds(nth) });
            commit::sync_dir(&*place.dir, SyncSite::AppendName)?;
        }
        commit::sync_dir(&**self.site.home, SyncSite::AppendBeginDir)?;
        Ok(found)
    }

    /// Brings the files to where the log is; says where that is.
    fn recover(
        &self,
        log: &State,
        replay: &Replay,
        log_healed: bool,
        report: &mut RecoveryReport,
    ) -> Result<(Vec<Laid>, Full)> {
        let closed = replay.changes == 0 && replay.now.closed && !log_healed;
        let mut redo = Redo { replay, found: self.open_files(replay)?, report, at: 0, torn: false };
        // Commits that turn out torn are not in it, nor are their notes.
        let mut now = replay.full.clone().unwrap_or_default();
        if replay.changes > 0 {
            for (laid, state) in redo.found.iter_mut().zip(&now.members) {
                laid.state = *state;
            }
            let fixed: Vec<u32> = self.specs.iter().map(|spec| spec.fixed).collect();
            log.again(|piece| match piece {
                Piece::Full(_) => Ok(()),
                Piece::Change(bytes) => {
                    let change = Change::decode(bytes).ok_or_else(|| no_sense(log.log().path()))?;
                    redo.change(&change)?;
                    if !redo.torn {
                        apply(&mut now, &change, &fixed)
                            .ok_or_else(|| no_sense(log.log().path()))?;
                        for (laid, state) in redo.found.iter_mut().zip(&now.members) {
                            laid.state = *state;
                        }
                    }
                    Ok(())
                }
            })?;
        }
        let mut found = redo.found;
        let mut changed = !closed;
        for (nth, laid) in found.iter_mut().enumerate() {
            let Some(spec) = self.specs.get(nth) else { continue };
            let mut looked = Found {
                site: self.site,
                spec,
                data: &laid.data,
                ends: laid.ends.as_ref(),
                seeds: laid.seeds,
                state: &mut laid.state,
            };
            changed |= looked.prove(closed, report)?;
        }
        report.clean = !changed;
        Ok((found, now))
    }

    /// The files of the last generation, after what a compaction left to do was done.
    fn open_files(&self, replay: &Replay) -> Result<Vec<Laid>> {
        let mut found = Vec::new();
        for ((nth, place), state) in self.places.iter().enumerate().zip(&replay.now.members) {
            if state.generation > 0 {
                take_name(&**self.site.home, place, nth, state.generation)?;
            }
            let path = place.path();
            let file = place.dir.open(&place.name, How::Write).map_err(|e| {
                let gone = e.kind() == std::io::ErrorKind::NotFound;
                let error = Error::system("open", &path, e);
                if gone {
                    error.because("the data file is gone, its home is there; restore the file, or remove both to begin anew")
                } else {
                    error
                }
            })?;
            let sums = self.site.open(SUMS, nth, state.generation)?;
            let ends = match state.ends {
                None => None,
                Some(_) => Some(Files {
                    file: self.site.open(ENDS, nth, state.generation)?,
                    sums: self.site.open(ENDS_SUMS, nth, state.generation)?,
                    base: HEADER,
                }),
            };
            let data = Files { file, sums, base: 0 };
            found.push(Laid { data, ends, state: *state, seeds: self.site.seeds(nth) });
        }
        Ok(found)
    }
}

/// Gives a compacted data file the name that it was made for, if that was not done yet.
pub(super) fn take_name(home: &dyn Dir, place: &Place, nth: usize, generation: u64) -> Result<()> {
    let name = file_name("data", nth, generation);
    let file = match home.open(&name, How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::system("open", &home.path().join(&name), e)),
    };
    // Not synced: until it is durable, the file is in the home, and the next open comes here again.
    commit::rename_to(home, &name, &*file, place, Rename::Replace)?;
    // A crash may have left both names; a rename between two names of one file does nothing.
    commit::unlink(home, &name)
}

/// Writes again what the log carries.
struct Redo<'a> {
    replay: &'a Replay,
    found: Vec<Laid>,
    report: &'a mut RecoveryReport,
    /// The change that is looked at.
    at: u64,
    /// A buffered commit did not hold; neither do those after it.
    torn: bool,
}

impl Redo<'_> {
    fn change(&mut self, change: &Change<'_>) -> Result<()> {
        self.at = self.at.saturating_add(1);
        let extends = || {
            change.entries.iter().filter_map(|entry| match entry {
                Entry::Extend(extend) => Some(extend),
                _ => None,
            })
        };
        if !self.torn && self.at > self.replay.vouched {
            for extend in extends() {
                self.torn |= !self.holds(extend)?;
            }
        }
        if self.torn {
            self.report.torn_commits = self.report.torn_commits.saturating_add(1);
            return Ok(());
        }
        for extend in extends() {
            self.extend(extend)?;
        }
        self.report.redone =
            self.report.redone.saturating_add(u64::from(!change.entries.is_empty()));
        Ok(())
    }

    /// Whether the direct bytes of a commit that nothing vouches for are what it says (O2).
    fn holds(&self, extend: &Extend<'_>) -> Result<bool> {
        let Some((files, _)) = self.column(extend) else { return Ok(true) };
        let Some(laid) = self.found.get(usize::from(extend.member)) else { return Ok(true) };
        if extend.inline_end() == extend.end() {
            return Ok(true);
        }
        let end = if extend.ends { laid.state.ends.unwrap_or_default() } else { laid.state.data };
        let seed = if extend.ends { laid.seeds.1 } else { laid.seeds.0 };
        let mut tail = Tail { seed, end: end.end, crc: end.crc };
        let mut sums = Vec::new();
        tail.extend(extend.inline, &mut sums);
        if files.len()? < extend.end() {
            return Ok(false);
        }
        files.each(extend.inline_end()..extend.end(), |_, bytes| {
            tail.extend(bytes, &mut sums);
            Ok(())
        })?;
        Ok(tail.crc == extend.crc && extend.sums().eq(sums))
    }

    fn extend(&mut self, extend: &Extend<'_>) -> Result<()> {
        let Some((files, switched)) = self.column(extend) else { return Ok(()) };
        if self.at <= switched {
            return Ok(());
        }
        let inline_end = extend.inline_end();
        let counts = self.replay.counts_to(self.at, extend.member, extend.ends, inline_end);
        let len = usize::try_from(counts.saturating_sub(extend.keep)).unwrap_or(usize::MAX);
        let inline = extend.inline.get(..len).unwrap_or(extend.inline);
        files.write(extend.keep, inline)?;
        // In order, so that the last one to fill a block is the one that counts.
        files.write_sums_below(u64::MAX, block_of(extend.keep), extend.sums)?;
        let mut written = inline.len() as u64;
        if self.at > self.replay.vouched {
            files.each(inline_end..extend.end(), |at, bytes| {
                written = written.saturating_add(bytes.len() as u64);
                files.write(at, bytes)
            })?;
        }
        self.report.rewritten_bytes = self.report.rewritten_bytes.saturating_add(written);
        Ok(())
    }

    /// The files of a column, and the last change that went over to other ones.
    fn column(&self, extend: &Extend<'_>) -> Option<(Files, u64)> {
        let member = usize::from(extend.member);
        let files = self.found.get(member)?.files(extend.ends)?.clone();
        Some((files, *self.replay.switched.get(member)?))
    }
}
