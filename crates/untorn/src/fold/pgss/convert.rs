//! A fold made of an image, and an image written of a fold.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::super::base::{BaseWriter, Header, Meta};
use super::super::compact::BASE;
use super::super::held::{Held, Value};
use super::super::open::{LOG, log_options};
use super::super::record::raise;
use super::super::{FoldOptions, FoldSnapshot, ScanOptions, VersionToken, WatchCursor};
use super::{Image, write_entries};
use crate::commit::{AtomicFile, Sites, TempDir};
use crate::fs::{Fs, SyncSite};
use crate::log::{Log, LogOptions};
use crate::{Error, ErrorKind, Outcome, Result};

/// The syncs of a base.
const SITES: Sites = Sites { file: SyncSite::FoldBase, dir: SyncSite::FoldBaseDir };

/// Makes a fold at `dest`, which must not exist or be an empty directory, of what was read; how many entries it has.
///
/// It is at the image's cursor, and knows no source yet. What the file was read from stays as it is.
///
/// # Durability
/// **On `Ok`** the fold is complete, closed and durable. **On `Err`**, **if the process dies** or **if power fails** there is nothing at
/// `dest`, unless the error's outcome is `Unknown`: then the fold is there whole or not at all.
///
/// # Cost
/// Writes every entry once. Two syncs for the entries, those of a log that is opened and closed, and two more.
///
/// # Errors
/// `AlreadyExists` if there is anything at `dest` but an empty directory; `NoSpace`; `Io`.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use untorn::fold::{AppendLogSnapshot, KvEntry, SnapshotStore, VersionToken, WatchCursor, pgss};
/// # let dir = tempfile::tempdir()?;
/// # let (path, dest) = (dir.path().join("edge.snap"), dir.path().join("edge"));
/// # let entry = KvEntry { key: "a".into(), value: "hi".into(), version: VersionToken::from_u64(7) };
/// let fs = || Arc::new(untorn::fs::OsFs::new());
/// # pgss::write_entries([Ok(entry)], &WatchCursor::from_u64(7), &path, fs())?;
/// pgss::convert(pgss::read(&path)?, &dest, fs())?;
/// let (cursor, fold) = AppendLogSnapshot::load(&dest)?;
/// assert_eq!((cursor.as_u64(), fold.get("a")?.is_some()), (Some(7), true));
/// pgss::write(&fold.snapshot(), dir.path().join("again.snap"), fs())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::needless_pass_by_value, reason = "as every constructor takes its file system")]
pub fn convert(image: Image, dest: impl AsRef<Path>, fs: Arc<dyn Fs>) -> Result<u64> {
    let stage = TempDir::begin(&*fs, "convert to", dest.as_ref())?;
    let cursor = image.cursor().clone();
    // Whatever a failure did to the staged fold, at the destination there is nothing yet.
    let made = fill(&*fs, &stage.path(), image).and_then(|(header, entries)| {
        settle(&fs, &stage.path(), &header, &cursor).map(|()| entries)
    });
    let entries = made.map_err(|e| e.with_outcome(Outcome::Unchanged))?;
    stage.publish("convert to")?;
    Ok(entries)
}

/// Writes the base.
fn fill(fs: &dyn Fs, path: &Path, image: Image) -> Result<(Header, u64)> {
    let dir = fs.open_dir(path).map_err(|e| Error::system("convert to", path, e))?;
    let mut store_id = [0; 16];
    fs.entropy(&mut store_id).map_err(|e| Error::system("convert to", path, e))?;
    let store_id = *uuid::Builder::from_random_bytes(store_id).as_uuid().as_bytes();
    let header = Header { store_id, floor: 1 };
    let file = AtomicFile::in_dir(fs, &dir, OsStr::new(BASE), 0o600, SITES)?;
    let mut out = BaseWriter::new(file, path.join(BASE), &header)?;
    let cursor = image.cursor().clone();
    let mut mark = VersionToken::of(cursor.position());
    for entry in image.into_entries() {
        let version = entry.version.as_bytes();
        raise(&mut mark, version);
        out.push(&Held { key: entry.key.as_bytes(), version, value: Value::Here(&entry.value) })?;
    }
    let wall_ms = u64::try_from(fs.now().as_millis()).unwrap_or(u64::MAX);
    let (file, meta) = out.finish(Meta { cursor, mark, wall_ms, ..Meta::default() })?;
    file.commit()?;
    Ok((header, meta.entries))
}

/// Makes the log that goes on behind it, and looks whether both are a fold at the cursor.
fn settle(fs: &Arc<dyn Fs>, path: &Path, header: &Header, cursor: &WatchCursor) -> Result<()> {
    let options = FoldOptions::new().fs(Arc::clone(fs)).create(false).compact_threshold(u64::MAX);
    let born =
        LogOptions { born: Some((header.store_id, header.floor)), ..log_options(&options, 0) };
    Log::open(path.join(LOG), born)?.0.close()?;
    let (opened, fold) = options.open(path)?;
    fold.close()?;
    if opened != *cursor {
        let what = format!("the new fold is at {opened}, and not at {cursor}");
        return Err(Error::new(ErrorKind::Damaged, "convert to", path, what));
    }
    Ok(())
}

/// Writes the state of a fold as a PGSS file to `path`, where there must be nothing; how many entries it has. The fold goes on meanwhile.
///
/// # Durability
/// As [`write_entries`].
///
/// # Errors
/// As [`write_entries`]; `Damaged` if an entry does not verify.
pub fn write(snapshot: &FoldSnapshot, path: impl AsRef<Path>, fs: Arc<dyn Fs>) -> Result<u64> {
    write_entries(snapshot.scan(&ScanOptions::new()), &snapshot.cursor(), path, fs)
}

#[cfg(feature = "sim")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::OnDamage;
    use crate::fold::{AppendLogSnapshot, KvEntry, KvUpdate, LoadOptions, SnapshotStore};
    use crate::sim::{Fault, FaultKind, SimFs};

    fn entries(count: u64) -> impl Iterator<Item = Result<KvEntry>> + Clone {
        (0..count).map(|n| {
            let value = vec![1; usize::try_from(n % 3000).unwrap()];
            Ok(KvEntry {
                key: format!("k{n:05}"),
                value,
                version: VersionToken::from_u64(n.saturating_add(1)),
            })
        })
    }

    fn image(sim: &SimFs, count: u64, cursor: &WatchCursor) -> Image {
        let fs = || Arc::new(sim.clone());
        write_entries(entries(count), cursor, "/data/f", fs()).unwrap();
        super::super::read_with("/data/f", fs(), OnDamage::Refuse).unwrap()
    }

    fn open(sim: &SimFs) -> Result<(WatchCursor, AppendLogSnapshot)> {
        let options = LoadOptions::new().fs(Arc::new(sim.clone())).create(false);
        AppendLogSnapshot::load_with(Path::new("/data/x"), &options)
    }

    #[test]
    fn an_image_becomes_a_fold_and_goes_on() {
        for (count, cursor) in [
            (0, WatchCursor::none()),
            (1, WatchCursor::from_u64(1)),
            (900, WatchCursor::from_u64(950)),
        ] {
            let sim = SimFs::new(1);
            sim.make_dirs("/data").unwrap();
            let made = convert(image(&sim, count, &cursor), "/data/x", Arc::new(sim.clone()));
            assert_eq!(made.unwrap(), count);
            let (at, mut fold) = open(&sim).unwrap();
            assert_eq!(at, cursor);
            assert!(fold.range("").unwrap().into_iter().eq(entries(count).map(Result::unwrap)));
            // What is older than the cursor is not taken for new.
            let version = VersionToken::from_u64(1);
            let late = KvUpdate::put("k00000", "late", version);
            let next = WatchCursor::from_u64(951);
            fold.apply(&[late, KvUpdate::put("z", "", VersionToken::from_u64(951))], &next)
                .unwrap();
            if count > 0 {
                assert!(fold.get("k00000").unwrap().unwrap().value.is_empty());
            }
            let fs = || Arc::new(sim.clone());
            write(&fold.snapshot(), "/data/g", fs()).unwrap();
            let again = super::super::read_with("/data/g", fs(), OnDamage::Refuse).unwrap();
            assert_eq!((again.cursor(), again.entries().last().unwrap().key), (&next, "z"));
            fold.close().unwrap();
            // Neither is written over.
            let error = convert(again, "/data/x", fs()).unwrap_err();
            assert_eq!(
                (error.kind(), error.outcome()),
                (ErrorKind::AlreadyExists, Outcome::Unchanged)
            );
        }
    }

    #[test]
    fn a_full_disk_leaves_nothing() {
        let sim = SimFs::new(1);
        sim.make_dirs("/data").unwrap();
        let image = image(&sim, 900, &WatchCursor::from_u64(950));
        let before = sim.dump().len();
        sim.set_capacity(Some(600_000));
        let error = convert(image, "/data/x", Arc::new(sim.clone())).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
        assert_eq!(sim.dump().len(), before);
    }

    /// All calls fail from some call on, and then power fails.
    #[test]
    fn a_power_cut_anywhere_leaves_all_or_nothing() {
        let cursor = WatchCursor::from_u64(50);
        let mut seen = [false; 2];
        for call in 1.. {
            let sim = SimFs::new(call);
            sim.make_dirs("/data").unwrap();
            let image = image(&sim, 40, &cursor);
            let fault = Fault::new(FaultKind::Io).at_call(sim.calls().saturating_add(call));
            sim.inject(fault.lasting());
            let done = convert(image, "/data/x", Arc::new(sim.clone()));
            sim.clear_faults();
            for pick in sim.power_states_within(8, 8) {
                let after = sim.power_cut(&pick);
                match open(&after) {
                    Ok((at, fold)) => {
                        assert_eq!(at, cursor);
                        let wanted = entries(40).map(Result::unwrap);
                        assert!(fold.range("").unwrap().into_iter().eq(wanted));
                        assert!(!matches!(&done, Err(e) if e.outcome() == Outcome::Unchanged));
                        seen[1] = true;
                    }
                    Err(error) => {
                        assert!(done.is_err(), "call {call}: {error}");
                        assert_eq!(error.kind(), ErrorKind::NotFound, "call {call}: {error}");
                        seen[0] = true;
                    }
                }
            }
            if done.is_ok() {
                break;
            }
        }
        assert_eq!(seen, [true, true]);
    }
}
