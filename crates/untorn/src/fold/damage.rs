//! Damage: what is said of it, and what can be saved.
//!
//! # Invariants
//! - D1 A salvage writes a base that has everything that is provably good, and only then is anything cut. If it dies between the
//!   two, it can be done again.
//! - D2 The originals are copied before they are replaced or cut.
//! - D3 The cursor is never ahead of the data: that of the last commit before the damage in the log, or none if a base lost keys.
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
use crate::commit::settle_read_mode;
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
    let Some(log) = home.log else {
        let Some(base) = base else { return Ok(None) };
        // The fold at the base's cursor: a new log goes on where the lost one left it.
        let born = (base.header.store_id, base.header.floor);
        let new = LogOptions { born: Some(born), ..log_options(options, 0) };
        Log::open(&log_path, new)?.0.close()?;
        if base_damaged {
            let replay = Replay::new(Some(Arc::clone(&base)), options);
            write(home, options, replay, base.header.floor, base.header.store_id, &mut salvaged)?;
        }
        return Ok(Some(salvaged));
    };
    if let Some(base) = base.as_ref().filter(|base| base.header.store_id != log.store_id) {
        let what = format!(
            "`{BASE}` is of another fold than its log; move one of them away, and open again"
        );
        return Err(Error::new(ErrorKind::Damaged, "salvage", base.path(), what));
    }
    let view = LogOptions { on_damage: OnDamage::Truncate, ..log_options(options, 0) };
    let reader = Log::open_read_only(&log_path, view)?;
    let lost = reader.report().lost;
    if lost.is_none() && !base_damaged {
        return Ok(None);
    }
    let mut replay = Replay::new(base, options);
    let floor = replay.state().seq.saturating_add(1);
    let mut scan = reader.read(floor.max(reader.first_seq()), Upto::Written)?;
    while let Some(rec) = scan.next()? {
        replay.take(&rec, &log_path)?;
    }
    let end = reader.last_seq().max(floor.saturating_sub(1)).saturating_add(1);
    let state = replay.state().clone();
    if lost.is_some() {
        let mut behind = 0_u64;
        Log::salvage(&log_path, &log_options(options, 0), |rec| {
            if rec.seq < end {
                return Ok(());
            }
            behind = behind.saturating_add(1);
            replay.take(&rec, &log_path)
        })?;
        salvaged.commits_behind = behind;
    }
    // D3: what lies behind the damage is kept, and is not counted as had.
    let cursor = if base_damaged { WatchCursor::none() } else { state.cursor };
    replay.pretend(cursor);
    write(home, options, replay, end, log.store_id, &mut salvaged)?;
    Ok(Some(salvaged))
}

/// The base without its damaged blocks, and whether there are any. One that cannot be opened at all has no good part.
fn good_part_of_base(
    home: &Home,
    options: &FoldOptions,
    salvaged: &mut Salvaged,
) -> Result<(Option<Arc<Base>>, bool)> {
    let file = match home.dir.open(OsStr::new(BASE), crate::fs::How::Read) {
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
    let log_dir = home.dir.open_dir(OsStr::new(LOG));
    let log_dir = log_dir.map_err(|e| Error::system("open", &home.dir.path().join(LOG), e))?;
    let from = replay.finish(&*log_dir, mode)?;
    salvaged.quarantine.extend(keep_base(fs, &*home.dir, "replaced by a salvage")?);
    let target = Target { fs, dir: &home.dir, store_id };
    let mut merge = Merge::begin(&target, from, floor)?;
    while !merge.step(u64::MAX / 2)? {}
    merge.publish()
}
