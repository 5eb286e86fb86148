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

fn byte(value: u64) -> u8 {
    u8::try_from(value).unwrap()
}

fn check_replace(after: &After<u64>) -> Result<(), Fail> {
    let found = after.sim().read("/note").unwrap_or_default();
    let wanted = |value: Option<&u64>| value.map_or(Vec::new(), |v| vec![byte(*v); 700]);
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
            replace(&*run.fs(), &vec![byte(value); 700], mistake)?;
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
    assert!(report.complete && report.distinct_states > 100, "{report}");
    assert_eq!(report, explore_replace(Mistake::None).unwrap(), "the same seed, the same report");
    for mistake in [Mistake::NoFileSync, Mistake::NoDirSync] {
        let violation = explore_replace(mistake).unwrap_err();
        // The shortest sequence comes first, and the trace says where.
        assert!(violation.trace.contains("operations: [replace]"), "{violation}");
        assert!(violation.trace.contains("POWER CUT HERE"), "{violation}");
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
const RECORD: usize = 512;

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
        for record in bytes.chunks_exact(RECORD) {
            let word = |i: usize| u64::from_le_bytes(record[i * 8..i * 8 + 8].try_into().unwrap());
            if word(1) != sum(word(0), mistake) || word(2) != word(1) {
                break;
            }
            toy.found.push(word(0));
            toy.end += RECORD as u64;
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
            bytes.resize(start + RECORD, 0);
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
    for value in &values {
        run.issue(*value);
    }
    if let Err(fail) = open.append(&values) {
        *toy = None;
        return Err(fail);
    }
    for value in values {
        run.ack(value);
    }
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
fn a_right_log_survives_nested_crashes_and_every_fault() {
    let report = explore_log(Mistake::None, FaultKind::ERRORS).nested(2).nested_budget(5000);
    let report = report.fault_sequences(1).explore();
    assert!(report.complete && report.nested_states > 1000 && report.faults > 1000, "{report}");
}

#[test]
fn each_mistake_of_a_log_is_caught() {
    for (mistake, kinds) in [
        (Mistake::NoFileSync, &[] as &[_]),
        (Mistake::NoDirSync, &[]),
        (Mistake::RetrySync, &[FaultKind::Io]),
        (Mistake::TailNotCut, &[]),
        (Mistake::ZeroRecord, &[]),
    ] {
        let result = explore_log(mistake, kinds).nested(1).nested_budget(5000).try_explore();
        let violation = result.expect_err(&format!("{mistake:?} was not caught"));
        assert!(violation.to_string().contains("UNTORN_REPLAY='explore_log:"), "{violation}");
    }
}

#[test]
fn a_sync_taken_out_by_its_site_is_caught() {
    let result = explore_log(Mistake::None, &[]).without_sync(SITE).try_explore();
    assert!(result.is_err());
}

#[test]
fn a_panic_in_a_check_is_a_violation() {
    let result = Explorer::new("panics")
        .workload(|run| {
            run.issue(1);
            Ok(())
        })
        .check(|_| panic!("on purpose"))
        .try_explore();
    assert!(result.unwrap_err().message.contains("on purpose"));
}

/// A toy that is one closure, and a check of what is on the disk.
#[track_caller]
fn caught(
    setup: &[(&'static str, Vec<u8>)],
    workload: impl Fn(&Run<u64>, &Arc<dyn Dir>) -> Result<(), Fail> + 'static,
    check: impl Fn(&After<u64>) -> Result<(), Fail> + 'static,
) {
    let setup = setup.to_vec();
    let result = Explorer::new("toy")
        .prepare(move |fs| setup.iter().for_each(|(path, bytes)| fs.put(path, bytes).unwrap()))
        .workload(move |run| workload(run, &root(&*run.fs())?))
        .check(check)
        .try_explore();
    assert!(result.is_err(), "not caught: {}", result.unwrap());
}

fn put(dir: &Arc<dyn Dir>, name: &str, bytes: &[u8]) -> Result<(), Fail> {
    let file = dir.open(n(name), How::Create(0o600))?;
    file.write_at(bytes, 0)?;
    file.sync(SyncWhat::All, SITE)?;
    Ok(dir.sync(SITE)?)
}

#[test]
fn the_old_file_unlinked_before_the_new_name_is_durable() {
    caught(
        &[("/v1", vec![1])],
        |_, dir| {
            let file = dir.open(n("v2"), How::CreateNew(0o600))?;
            file.write_at(&[2], 0)?;
            file.sync(SyncWhat::All, SITE)?;
            dir.unlink(n("v1"))?;
            Ok(dir.sync(SITE)?)
        },
        |after| {
            let found = ["/v1", "/v2"].iter().any(|path| {
                after.sim().read(path).is_ok_and(|bytes| !bytes.is_empty() && bytes[0] > 0)
            });
            if found { Ok(()) } else { Err("neither version is there".into()) }
        },
    );
}

#[test]
fn value_and_cursor_in_two_commits() {
    caught(
        &[("/value", vec![0]), ("/cursor", vec![0])],
        |_, dir| {
            put(dir, "value", &[1])?;
            put(dir, "cursor", &[1])
        },
        |after| {
            let (value, cursor) = (after.sim().read("/value")?, after.sim().read("/cursor")?);
            if value == cursor { Ok(()) } else { Err("value and cursor differ".into()) }
        },
    );
}

/// LMDB's published case: a header that is thought to be atomic because it is small.
#[test]
fn a_106_byte_header_across_two_sectors() {
    caught(
        &[("/db", vec![0; 1024])],
        |_, dir| {
            let file = dir.open(n("db"), How::Write)?;
            file.write_at(&[1; 106], 512 - 50)?;
            Ok(file.sync(SyncWhat::Data, SITE)?)
        },
        |after| {
            let header = after.sim().read("/db")?[462..568].to_vec();
            if header.iter().all(|b| *b == header[0]) { Ok(()) } else { Err("torn".into()) }
        },
    );
}

/// A log file is used again without a salt: records of the earlier use parse, since nothing ties them to this one.
#[test]
fn a_stale_block_without_a_salt() {
    let sector = |value: u8| vec![value; 512];
    let old = [sector(7), sector(8)].concat();
    caught(
        &[("/log", old)],
        move |run, dir| {
            // "The header says that the log starts anew": the first record is overwritten, the rest is left.
            run.issue(1);
            let file = dir.open(n("log"), How::Write)?;
            file.write_at(&[1; 512], 0)?;
            file.sync(SyncWhat::Data, SITE)?;
            run.ack(1);
            Ok(())
        },
        |after| {
            let bytes = after.sim().read("/log")?;
            let found: Vec<u64> = bytes.chunks(512).map(|s| u64::from(s[0])).collect();
            let foreign = found.iter().find(|v| !after.issued().contains(v));
            if after.acked().is_empty() || foreign.is_none() {
                Ok(())
            } else {
                Err(format!("a record of an earlier use: {foreign:?}").into())
            }
        },
    );
}

/// Bytes that a kill left in the cache are served, and lost in the next power cut, since nobody synced them.
#[test]
fn a_tail_served_after_a_kill_but_never_synced() {
    let result = Explorer::new("unsynced_tail")
        .nested(1)
        .workload(|run| {
            let dir = root(&*run.fs())?;
            put(&dir, "log", b"")?;
            let file = dir.open(n("log"), How::Write)?;
            run.issue(1_u64);
            file.write_at(b"x", 0)?;
            Ok(file.sync(SyncWhat::Data, SITE)?)
        })
        .check(|after| {
            let found = after.sim().read("/log").unwrap_or_default();
            if found.is_empty() && !after.acked().is_empty() {
                return Err("what an earlier life served is gone".into());
            }
            if found == b"x" {
                after.ack(1);
                root(&*after.fs())?;
            }
            Ok(())
        })
        .try_explore();
    let violation = result.unwrap_err();
    assert_eq!(violation.trace.matches(">>>>").count(), 2, "{violation}");
}

#[test]
fn a_buffered_promise_holds_after_a_kill_and_not_after_a_power_cut() {
    let explore = |strict: bool| {
        Explorer::new("buffered")
            .prepare(|fs| fs.put("/log", b"").unwrap())
            .workload(|run| {
                let file = root(&*run.fs())?.open(n("log"), How::Write)?;
                run.issue(1);
                file.write_at(b"x", 0)?;
                run.ack_buffered(1);
                file.sync(SyncWhat::Data, SITE)?;
                run.ack(1);
                Ok(())
            })
            .check(move |after| {
                let found = after.sim().read("/log")? == b"x";
                let promised = if strict && after.crash() == Crash::PowerCut {
                    after.issued().len()
                } else {
                    after.acked().len()
                };
                if found || promised == 0 { Ok(()) } else { Err("lost".into()) }
            })
            .try_explore()
    };
    explore(false).unwrap();
    assert!(explore(true).is_err());
}

/// Many pending sectors: how many states a second there are.
#[test]
fn many_states() {
    let start = std::time::Instant::now();
    let report = Explorer::new("many_states")
        .prepare(|fs| fs.put("/data", &[0; 8192]).unwrap())
        .workload(|run| {
            let file = root(&*run.fs())?.open(n("data"), How::Write)?;
            for i in 0..11_u64 {
                run.issue(i);
                file.write_at(&[byte(i) + 1; 512], i * 512)?;
            }
            Ok(file.sync(SyncWhat::Data, SITE)?)
        })
        .check(|after| {
            let len = after.sim().read("/data")?.len();
            if len == 8192 { Ok(()) } else { Err("cut".into()) }
        })
        .explore();
    println!("{report} in {:?}", start.elapsed());
    assert!(report.distinct_states > 2048, "{report}");
}

/// Runs itself again with the string that the violation printed: the same violation, after one check.
#[test]
fn a_violation_replays_alone() {
    let violation = explore_replace(Mistake::NoDirSync).unwrap_err();
    if std::env::var_os("UNTORN_REPLAY").is_some() {
        assert_eq!(violation.report.checks, 1);
        println!("replayed: {}", violation.message);
        return;
    }
    assert!(violation.report.checks > 1);
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sim_explorer::a_violation_replays_alone", "--nocapture"])
        .env("UNTORN_REPLAY", &violation.replay)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = format!("replayed: {}", violation.message);
    assert!(output.status.success() && text.contains(&told), "{text}");
}

#[test]
fn a_meter_kills_its_process_inside_a_write() {
    use std::os::unix::process::ExitStatusExt;
    use untorn::sim::{KillWhen, Meter, SimFs};
    const CHILD: &str = "UNTORN_TEST_METER_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let meter = Meter::new(Arc::new(SimFs::new(1)));
        let dir = root(&meter).unwrap();
        let file = dir.open(n("a"), How::CreateNew(0o600)).unwrap();
        meter.kill_at(3, KillWhen::Inside);
        drop(file.write_at(b"abcd", 0));
        return;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sim_explorer::a_meter_kills_its_process_inside_a_write"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9));
}
