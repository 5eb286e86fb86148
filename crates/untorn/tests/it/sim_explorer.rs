//! The explorer is caught lying if it misses one of these: toy stores, each with one known mistake.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use untorn::fs::{Dir, File, Fs, How, Rename, SyncSite, SyncWhat};
use untorn::sim::{After, Crash, Explorer, Fail, FaultKind, Report, Run, Violation};

const SITE: SyncSite = SyncSite::Caller;

fn n(name: &str) -> &OsStr {
    OsStr::new(name)
}

fn root(fs: &dyn Fs) -> Result<Arc<dyn Dir>, Fail> {
    Ok(fs.open_dir(Path::new("/"))?)
}

/// What a toy leaves out or gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    NoFileSync,
    NoDirSync,
    RetrySync,
    TailNotCut,
    ZeroRecord,
}

/// Replaces `/note`: temporary, sync, rename, sync of the directory.
fn replace(fs: &dyn Fs, text: &[u8], mistake: Mistake) -> Result<(), Fail> {
    let dir = root(fs)?;
    let file = dir.open(n("tmp"), How::Create(0o600))?;
    file.set_len(0)?;
    file.write_at(text, 0)?;
    if mistake != Mistake::NoFileSync {
        file.sync(SyncWhat::All, SITE)?;
    }
    dir.rename(n("tmp"), &*dir, n("note"), Rename::Replace)?;
    if mistake != Mistake::NoDirSync {
        dir.sync(SITE)?;
    }
    Ok(())
}

fn check_replace(after: &After<u64>) -> Result<(), Fail> {
    let found = after.sim().read("/note").unwrap_or_default();
    let wanted = |value: Option<&u64>| value.map_or(Vec::new(), |v| vec![*v as u8; 700]);
    if found == wanted(after.acked().last()) || found == wanted(after.issued().last()) {
        Ok(())
    } else {
        Err(format!("found {} bytes, acked {:?}", found.len(), after.acked()).into())
    }
}

fn explore_replace(mistake: Mistake) -> Result<Report, Box<Violation>> {
    Explorer::new("explore_replace")
        .start("empty", |_| Ok(()))
        .op("replace", move |run: &Run<u64>, ()| {
            let value = run.next();
            run.issue(value);
            replace(&*run.fs(), &vec![value as u8; 700], mistake)?;
            run.ack(value);
            Ok(())
        })
        .sequences(3)
        .check(check_replace)
        .try_explore()
        .map_err(Box::new)
}

#[test]
fn replace_without_a_sync_is_caught() {
    let report = explore_replace(Mistake::None).unwrap();
    println!("{report}");
    for mistake in [Mistake::NoFileSync, Mistake::NoDirSync] {
        let violation = explore_replace(mistake).unwrap_err();
        println!("{violation}");
    }
}

/// A log of records: length, check, number. The check covers the number.
struct Toy {
    file: Arc<dyn File>,
    end: u64,
    found: Vec<u64>,
    mistake: Mistake,
}

/// One sector, so that the records of a batch reach the disk in any order.
const RECORD: u64 = 512;

fn sum(value: u64, mistake: Mistake) -> u64 {
    let salt = if mistake == Mistake::ZeroRecord { 0 } else { 0x5a5a_0001 };
    value.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt
}

impl Toy {
    fn open(fs: &dyn Fs, mistake: Mistake) -> Result<Self, Fail> {
        let dir = root(fs)?;
        let file = dir.open(n("log"), How::Create(0o600))?;
        let len = file.stat()?.len;
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        file.read_at(&mut bytes, 0)?;
        let mut toy = Self { file, end: 0, found: Vec::new(), mistake };
        for record in bytes.chunks_exact(RECORD as usize) {
            let word = |i: usize| u64::from_le_bytes(record[i * 8..i * 8 + 8].try_into().unwrap());
            if word(1) != sum(word(0), mistake) || word(2) != word(1) {
                break;
            }
            toy.found.push(word(0));
            toy.end += RECORD;
        }
        if mistake != Mistake::TailNotCut {
            toy.file.set_len(toy.end)?;
        }
        // What is served from now on was perhaps never synced: written anew, and vouched for.
        let valid = &bytes[..usize::try_from(toy.end).unwrap()];
        toy.file.write_at(valid, 0)?;
        toy.file.sync(SyncWhat::All, SITE)?;
        if mistake != Mistake::NoDirSync {
            dir.sync(SITE)?;
        }
        Ok(toy)
    }

    fn append(&mut self, values: &[u64]) -> Result<(), Fail> {
        let mut bytes = Vec::new();
        for value in values {
            let start = bytes.len();
            bytes.extend(value.to_le_bytes());
            let sum = sum(*value, self.mistake).to_le_bytes();
            bytes.extend(sum);
            bytes.extend(sum);
            bytes.resize(start + RECORD as usize, 0);
        }
        self.file.write_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        match self.mistake {
            Mistake::NoFileSync => {}
            Mistake::RetrySync => {
                if self.file.sync(SyncWhat::Data, SITE).is_err() {
                    self.file.sync(SyncWhat::Data, SITE)?;
                }
            }
            _ => self.file.sync(SyncWhat::Data, SITE)?,
        }
        self.found.extend(values);
        Ok(())
    }
}

/// An operation that appends so many records in one write. After an error the store is closed: never retry.
fn append(run: &Run<u64>, toy: &mut Option<Toy>, count: usize) -> Result<(), Fail> {
    let Some(open) = toy else { return Ok(()) };
    let values: Vec<u64> = (0..count).map(|_| run.next()).collect();
    values.iter().for_each(|value| run.issue(*value));
    if let Err(fail) = open.append(&values) {
        *toy = None;
        return Err(fail);
    }
    values.iter().for_each(|value| run.ack(*value));
    Ok(())
}

fn explore_log(mistake: Mistake, kinds: &'static [FaultKind]) -> Explorer<u64, Option<Toy>> {
    Explorer::new("explore_log")
        .start("empty", move |run: &Run<u64>| Ok(Some(Toy::open(&*run.fs(), mistake)?)))
        .start("two records", move |run| {
            let mut toy = Some(Toy::open(&*run.fs(), mistake)?);
            append(run, &mut toy, 2)?;
            Ok(toy)
        })
        .op("append", |run, toy| append(run, toy, 1))
        .op("batch", |run, toy| append(run, toy, 3))
        .op("reopen", move |run, toy| {
            *toy = None;
            *toy = Some(Toy::open(&*run.fs(), mistake)?);
            Ok(())
        })
        .sequences(3)
        .faults(kinds)
        .check(move |after| {
            let mut toy = Toy::open(&*after.fs(), mistake)?;
            let prefix = after.issued().iter().filter(|v| toy.found.contains(v)).count();
            if prefix != toy.found.len() {
                return Err(format!("{:?} are not all of {:?}", toy.found, after.issued()).into());
            }
            if let Some(lost) = after.acked().iter().find(|v| !toy.found.contains(v)) {
                return Err(format!("lost {lost}: found {:?}", toy.found).into());
            }
            let value = after.next();
            after.issue(value);
            toy.append(&[value])?;
            after.ack(value);
            drop(toy);
            let again = Toy::open(&*after.fs(), mistake)?;
            if again.found.last() == Some(&value) {
                Ok(())
            } else {
                Err("the record appended after recovery is gone".into())
            }
        })
}

#[test]
fn speed() {
    for (nested, kinds, len) in [
        (0, &[] as &'static [FaultKind], 1),
        (0, &[], 2),
        (0, &[], 3),
        (1, &[], 1),
        (2, &[], 1),
        (0, FaultKind::ERRORS, 1),
    ] {
        let start = std::time::Instant::now();
        let report = explore_log(Mistake::None, kinds)
            .sequences(len)
            .nested(nested)
            .fault_sequences(1)
            .explore();
        let time = start.elapsed();
        let per_check = time.as_nanos() / u128::from(report.checks);
        println!("{nested} {} {len}: {report} {time:?} {per_check} ns/check", kinds.len());
    }
}

#[test]
fn log_mistakes_are_caught() {
    for (mistake, kinds) in [
        (Mistake::NoFileSync, &[] as &[_]),
        (Mistake::NoDirSync, &[]),
        (Mistake::RetrySync, &[FaultKind::Io]),
        (Mistake::TailNotCut, &[]),
        (Mistake::ZeroRecord, &[]),
    ] {
        println!("{mistake:?}");
        match explore_log(mistake, kinds).nested(1).try_explore() {
            Ok(report) => println!("NOT CAUGHT {report}"),
            Err(violation) => println!("{violation}"),
        }
    }
}
