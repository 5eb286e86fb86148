//! Damage: what is said of it, and what can be saved.
//!
//! # Invariants
//! - D1 A salvage writes a base that has everything that is provably good, and only then is anything cut. If it dies between the
//!   two, it can be done again.
//! - D2 The originals are copied before they are replaced or cut.
//! - D3 The cursor is never ahead of the data: that of the last commit before the damage in the log, or none if a base lost keys
//!   or positions began anew behind the damage.
//!   Versions that were seen stay known, so that what is delivered again moves no key back.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::WatchCursor;
use super::base::Base;
use super::compact::{BASE, Merge, Target, keep_base};
use super::open::{Home, LOG, log_options};
use super::options::FoldOptions;
use super::record::{self, Record};
use super::replay::Replay;
use super::stats::Salvaged;
use super::view::State;
use crate::commit::{self, Cut, Quarantine, settle_read_mode};
use crate::fs::How;
use crate::log::{Log, LogOptions, Upto};
use crate::{Error, ErrorKind, OnDamage, Result};

/// Adds to an error of the log what is known of the commits around the damage. `good` is the state before it.
pub(super) fn explain(error: Error, good: &State, log: &Path, options: &FoldOptions) -> Error {
    if error.kind() != ErrorKind::Damaged {
        return error;
    }
    let last_good = good.seq;
    let mut behind = 0_u64;
    let count = Log::salvage(log, &log_options(options, 0), |rec| {
        let whole = matches!(record::read(rec.bytes, |_| ()), Ok(Record::Commit(_)));
        behind = behind.saturating_add(u64::from(whole && rec.seq > last_good));
        Ok(())
    });
    let cursor = &good.cursor;
    // What the log advises would cut below the base.
    let what = error.detail().split("; ").next().unwrap_or_default();
    let why = match count {
        Ok(_) => format!(
            "{what}; last good cursor {cursor}, {behind} intact commits behind it; nothing was changed; {ADVICE}"
        ),
        Err(_) => format!("{what}; last good cursor {cursor}; nothing was changed; {ADVICE}"),
    };
    let damaged = Error::new(ErrorKind::Damaged, "open fold", error.path().unwrap_or(log), why);
    match error.offset() {
        Some(offset) => damaged.at(offset),
        None => damaged,
    }
}

const ADVICE: &str = "OnDamage::Truncate keeps what precedes it, OnDamage::Salvage all that is provably good, and both keep a copy";

/// Brings a damaged fold to a state that can be opened; `None` if nothing is damaged. The caller has the claim.
pub(super) fn salvage(home: &Home, options: &FoldOptions) -> Result<Option<Salvaged>> {
    let mut salvaged = Salvaged::default();
    let (base, base_damaged) = good_part_of_base(home, options, &mut salvaged)?;
    let log_path = home.dir.path().join(LOG);
    let of_base = base.as_ref().map(|base| base.header.store_id);
    let Some(store_id) = home.log.map(|log| log.store_id).or(of_base) else { return Ok(None) };
    if let Some(base) = base.as_ref().filter(|base| base.header.store_id != store_id) {
        let what = format!(
            "`{BASE}` is of another fold than its log; move one of them away, and open again"
        );
        return Err(Error::new(ErrorKind::Damaged, "salvage", base.path(), what));
    }
    let view = LogOptions { on_damage: OnDamage::Truncate, ..log_options(options, 0) };
    // One that cannot be opened at all has nothing before the damage, and perhaps something behind it.
    let reader = match home.log.map(|_| Log::open_read_only(&log_path, view)).transpose() {
        Err(error) if error.kind() == ErrorKind::Damaged => None,
        other => other?,
    };
    let mut replay = Replay::new(base, options);
    let floor = replay.state().seq.saturating_add(1);
    let last = reader.as_ref().map(crate::log::LogReader::last_seq);
    let cut = reader.as_ref().is_none_or(|reader| reader.report().lost.is_some());
    // A log that ends before what the base has cannot be gone on with: the next record would count as one that the base has.
    let renew = last.is_none_or(|last| last.saturating_add(1) < floor);
    if !cut && !renew && !base_damaged {
        return Ok(None);
    }
    if let Some(reader) = &reader {
        let mut scan = reader.read(floor.max(reader.first_seq()), Upto::Written)?;
        while let Some(rec) = scan.next()? {
            replay.take(&rec, &log_path)?;
        }
    }
    let mut end = last.unwrap_or(0).saturating_add(1).max(floor);
    let mut good = replay.state().clone();
    let (mut commits, mut restarts) = (replay.commits, replay.restarts);
    if cut || renew {
        let (from, mut next) = (end, end);
        let found = Log::salvage(&log_path, &log_options(options, 0), |rec| {
            if rec.seq < from {
                return Ok(());
            }
            let follows = rec.seq == next;
            replay.take(&rec, &log_path)?;
            if follows {
                // The damage is in what the base has: nothing is missing so far.
                (next, good) = (rec.seq.saturating_add(1), replay.state().clone());
                (commits, restarts) = (replay.commits, replay.restarts);
            }
            if renew {
                end = rec.seq.saturating_add(1);
            }
            Ok(())
        });
        match found.map_err(|e| (e.kind(), e)) {
            Err((ErrorKind::NotFound | ErrorKind::NotOurs, _)) if reader.is_none() => {}
            found => drop(found.map_err(|(_, e)| e)?),
        }
        salvaged.commits_behind = replay.commits.saturating_sub(commits);
    }
    // D3: what lies behind the damage is kept, and is not counted as had. Where positions began anew in it, the old one says nothing of them.
    let void = base_damaged || replay.restarts != restarts;
    let cursor = if void { WatchCursor::none() } else { good.cursor };
    replay.pretend(cursor);
    if base_damaged || !renew || replay.commits > 0 {
        write(home, options, replay, end, store_id, &mut salvaged)?;
    }
    if renew {
        renew_log(home, options, (store_id, end), &mut salvaged)?;
    }
    Ok(Some(salvaged))
}

/// Puts a new log, which begins where the base ends, in the place of one that nothing can be appended to (D1, D2).
fn renew_log(
    home: &Home,
    options: &FoldOptions,
    born: ([u8; 16], u64),
    salvaged: &mut Salvaged,
) -> Result<()> {
    let path = home.dir.path().join(LOG);
    let (fs, fail) = (&*options.fs, |e| Error::system("salvage", &path, e));
    match home.dir.open_dir(OsStr::new(LOG)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(fail(e)),
        Ok(dir) => {
            let names = dir.list().map_err(fail)?;
            let segment =
                |name: &OsStr| Path::new(name).extension().is_some_and(|end| end == "seg");
            for name in names.iter().filter(|name| segment(name)) {
                let file = dir.open(name, How::Read).map_err(fail)?;
                let len = file.stat().map_err(fail)?.len;
                let why = "its log was replaced by a salvage".to_owned();
                let cut = Cut { file: &*file, bytes: 0..len, why };
                salvaged.quarantine.push(Quarantine { fs, home: &*home.dir }.keep(&cut)?);
            }
            // Without META it is a log that was lost: if this dies now, the next salvage goes on.
            commit::unlink(&*dir, OsStr::new("META"))?;
            for name in names.iter().filter(|name| segment(name)) {
                commit::unlink(&*dir, name)?;
            }
        }
    }
    let new = LogOptions { born: Some(born), ..log_options(options, 0) };
    Log::open(&path, new)?.0.close()
}

/// The base without its damaged blocks, and whether there are any. One that cannot be opened at all has no good part.
fn good_part_of_base(
    home: &Home,
    options: &FoldOptions,
    salvaged: &mut Salvaged,
) -> Result<(Option<Arc<Base>>, bool)> {
    let file = match home.dir.open(OsStr::new(BASE), How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((None, false)),
        Err(e) => return Err(Error::system("open", &home.dir.path().join(BASE), e)),
    };
    let mode = settle_read_mode(options.read_mode, &*home.dir)?;
    let mut base = match Base::open(file, mode) {
        Ok(base) => base,
        Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NotOurs) => {
            salvaged.lost_keys.push((None, None));
            return Ok((None, true));
        }
        Err(e) => return Err(e),
    };
    let mut damaged = BTreeSet::new();
    base.check(
        |nth, error| {
            if error.kind() != ErrorKind::Damaged {
                return Err(error);
            }
            damaged.insert(nth);
            Ok(())
        },
        |_| {},
    )?;
    for nth in &damaged {
        let (from, to) = base.keys_of(*nth);
        let text = |key: Option<&[u8]>| key.map(|key| String::from_utf8_lossy(key).into_owned());
        salvaged.lost_keys.push((text(from), text(to)));
    }
    let any = !damaged.is_empty();
    base.skip(damaged);
    Ok((Some(Arc::new(base)), any))
}

/// Writes what a replay came to as the new base, after the old one was copied (D1, D2).
fn write(
    home: &Home,
    options: &FoldOptions,
    replay: Replay,
    floor: u64,
    store_id: [u8; 16],
    salvaged: &mut Salvaged,
) -> Result<()> {
    let (fs, mode) = (&*options.fs, settle_read_mode(options.read_mode, &*home.dir)?);
    let log_dir = match home.dir.open_dir(OsStr::new(LOG)) {
        // Without a log no value lies in one.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Arc::clone(&home.dir),
        other => other.map_err(|e| Error::system("open", &home.dir.path().join(LOG), e))?,
    };
    let from = replay.finish(&*log_dir, mode)?;
    salvaged.quarantine.extend(keep_base(fs, &*home.dir, "replaced by a salvage")?);
    let target = Target { fs, dir: &home.dir, store_id };
    let mut merge = Merge::begin(&target, from, floor)?;
    while !merge.step(u64::MAX / 2)? {}
    merge.publish()
}
