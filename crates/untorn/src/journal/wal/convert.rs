//! An old single-file log turned into a log of today, published whole.

use std::path::Path;

use super::{OldTail, OldWalOptions, OldWalReader};
use crate::commit::TempDir;
use crate::log::{Log, LogOptions};
use crate::{Outcome, Result};

/// The largest record that a log takes.
const RECORD_MAX: usize = 1 << 30;

/// Records that follow each other, and where they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// The old number of the first one.
    pub old_first: u64,
    /// The old number of the last one.
    pub old_last: u64,
    /// The new number of the first one.
    pub new_first: u64,
}

/// What was converted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertReport {
    /// How many records.
    pub records: u64,
    /// Bytes of their events.
    pub bytes: u64,
    /// Runs of records without a gap: one from 1 on, or none, unless gaps were allowed.
    pub runs: Vec<Run>,
    /// How the old log ends: `Clean`, or `Torn`, and then the last record was never acknowledged and was left out.
    pub tail: OldTail,
}

/// Writes the events of the old log `file` into a new log in the directory `dest`, each as the bytes that it has.
///
/// The log numbers its records from 1 on. Without gaps these are the old numbers; where gaps are allowed, the report says
/// which are which. The old log is not changed; its writer must not be running.
///
/// # Durability
/// **On `Ok`** the new log is complete, closed and durable. **On `Err`**, **if the process dies** or **if power fails** there
/// is nothing at `dest`, unless the error's outcome is `Unknown`: then the log is there whole or not at all. What a killed
/// process left beside it is taken by the next attempt, or by a [`sweep`](crate::sweep).
///
/// # Cost
/// Reads the old log once, or twice where a record is larger than 1 MiB. Syncs as a log that is opened, appended to and closed, and two more.
///
/// # Errors
/// `AlreadyExists` if there is anything at `dest` but an empty directory; `TooLarge` for an event above 1 GiB; those of
/// [`OldWalReader::next`] and of a new log.
///
/// # Example
/// ```
/// use untorn::journal::wal::{OldWalOptions, convert_old_wal};
/// # let dir = tempfile::tempdir()?;
/// # let (old, new) = (dir.path().join("old.wal"), dir.path().join("events"));
/// # std::fs::write(&old, [5, 0, 0, 0, 2, 0, 0, 0, 0x1d, 0xb6, 0xa6, 0xc6, 1, 7])?;
/// let report = convert_old_wal(&old, &new, &OldWalOptions::new())?;
/// assert_eq!(report.records, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn convert_old_wal(
    file: impl AsRef<Path>,
    dest: impl AsRef<Path>,
    options: &OldWalOptions,
) -> Result<ConvertReport> {
    let mut old = OldWalReader::with(file, options)?;
    let stage = TempDir::begin(&*options.fs, "convert to", dest.as_ref())?;
    let log = LogOptions::new().max_record(RECORD_MAX).fs(options.fs.clone());
    // Whatever a failure did to the staged log, at the destination there is nothing yet.
    let written = Log::open(stage.path(), log).and_then(|(log, _)| {
        let report = copy(&mut old, &log)?;
        log.close()?;
        Ok(report)
    });
    let report = written.map_err(|e| e.with_outcome(Outcome::Unchanged))?;
    stage.publish("convert to")?;
    Ok(report)
}

fn copy(old: &mut OldWalReader, log: &Log) -> Result<ConvertReport> {
    let (mut records, mut bytes, mut runs) = (0_u64, 0_u64, Vec::<Run>::new());
    while let Some(record) = old.next()? {
        let new = log.append(record.event)?.seq;
        records = records.saturating_add(1);
        bytes = bytes.saturating_add(record.event.len() as u64);
        match runs.last_mut() {
            Some(run) if run.old_last.saturating_add(1) == record.sequence => {
                run.old_last = record.sequence;
            }
            _ => runs.push(Run {
                old_first: record.sequence,
                old_last: record.sequence,
                new_first: new,
            }),
        }
    }
    Ok(ConvertReport { records, bytes, runs, tail: old.outcome().clone() })
}
