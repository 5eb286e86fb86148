//! Throughput beside the raw limit: the same bytes by the system calls alone, in turns, so that a busy disk is unfair to all.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use untorn::append::AppendOnlyFile;
use untorn::chunked::{AtomicChunked, ChunkedOptions, FileResource, Identity, ResourceExt as _};
use untorn::codec::Raw;
use untorn::fold::{FoldOptions, KvUpdate, SnapshotStore as _, VersionToken, WatchCursor};
use untorn::journal::{Journal, JournalOptions, Machine};
use untorn::log::{Log, LogOptions};
use untorn::pool::{BackingStore, DirPath, DirPathOptions, DirStore, MemoryBudget, Pool};
use untorn::snapshot::{SnapshotFsWriter, SnapshotOptions, SnapshotWriter as _};

use super::child::WRITERS;
use crate::cmd::zero_fill;
use crate::exit::{Failure, Result};
use crate::input;
use crate::out::real;

/// Writes a second: medians over the rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speed {
    pub(super) synced: f64,
    pub(super) raw: f64,
    /// Of a store that is made of a log: what that log does alone, with as many writers.
    pub(super) log: Option<f64>,
}

impl Speed {
    pub(super) fn ratio(&self) -> f64 {
        if self.raw > 0.0 { self.synced / self.raw } else { 0.0 }
    }
}

const ROUNDS: usize = 7;
const RECORD: usize = 128;
/// Header of a frame, prefix of a record, the record.
const FRAME: usize = 48 + 4 + RECORD + 4;
const FILE: usize = 4096;
/// The chunked file, and what is written of it at once.
const LARGE: usize = 1 << 20;
const PIECE: usize = 64 << 10;

/// Writes and syncs the same bytes again and again, into a file that was filled with zeros before.
struct RawFile {
    file: File,
    path: PathBuf,
    at: u64,
}

impl RawFile {
    const ROOM: u64 = 4 << 20;

    fn new(path: PathBuf) -> Result<Self> {
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let filled = made.and_then(|file| zero_fill(&file, Self::ROOM).map(|()| file));
        let file = filled.map_err(|e| Failure::io("write", &path, e))?;
        Ok(Self { file, path, at: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all_at(bytes, self.at).and_then(|()| self.file.sync_data());
        written.map_err(|e| Failure::io("write", &self.path, e))?;
        let len = bytes.len() as u64;
        self.at = if self.at + 2 * len > Self::ROOM { 0 } else { self.at + len };
        Ok(())
    }
}

/// One writer that waits for each record.
pub(super) fn log(work: &Path, round: Duration) -> Result<Speed> {
    let dir = work.join("speed-log");
    let (log, _report) = Log::open(&dir, LogOptions::new())?;
    let mut raw = RawFile::new(work.join("speed-raw"))?;
    let speed = in_turns(
        round,
        || Ok(log.append_synced(&[0x5a; RECORD]).map(drop)?),
        || raw.write(&[0x5a; FRAME]),
    )?;
    log.close()?;
    Ok(speed)
}

/// Counts its events; the time that a decision takes is the journal's.
struct Counter(u64);

impl Machine for Counter {
    type Event = Vec<u8>;
    type View = Vec<u8>;
    type EventCodec = Raw;
    type ViewCodec = Raw;
    const NAME: &'static str = "untorn-prove-speed";
    const VERSION: u32 = 1;

    fn apply(&mut self, _seq: u64, _event: &Vec<u8>) {
        self.0 += 1;
    }

    fn capture(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn restore(view: Vec<u8>) -> Result<Self, String> {
        let bytes = view.try_into().map_err(|_| "a count has 8 bytes")?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

/// Four writers that wait for each update; beside them a log with four writers, and the system calls, four records a sync.
pub(super) fn journal(work: &Path, round: Duration) -> Result<Speed> {
    let (journal, _report) =
        Journal::open(work.join("speed-journal"), Counter(0), JournalOptions::new())?;
    let (log, _report) = Log::open(work.join("speed-journal-log"), LogOptions::new())?;
    let mut raw = RawFile::new(work.join("speed-journal-raw"))?;
    let frame = [0x5a; FRAME + 3 * (4 + RECORD)];
    let update = || {
        let decided = journal.update(|_| Ok::<_, Infallible>((vec![0x5a; RECORD], ())))?;
        decided.unwrap_or_else(|never| match never {});
        Ok(())
    };
    let append = || log.append_synced(&[0x5a; RECORD]).map(drop);
    let [synced, alone, raw] = medians([
        &mut || shared_rate(round, WRITERS, update),
        &mut || shared_rate(round, WRITERS, append),
        &mut || Ok(rate(round, &mut || raw.write(&frame))? * f64::from(WRITERS)),
    ])?;
    journal.close()?;
    log.close()?;
    Ok(Speed { synced, raw, log: Some(alone) })
}

/// One writer that replaces a file of 4 KiB.
pub(super) fn file(work: &Path, round: Duration) -> Result<Speed> {
    let bytes = [0x5a; FILE];
    replacing(&work.join("speed-file"), round, FILE, |path| untorn::replace(path, &bytes))
}

/// One writer that replaces a snapshot of 4 KiB.
pub(super) fn snapshot(work: &Path, round: Duration) -> Result<Speed> {
    let bytes = vec![0x5a; FILE];
    replacing(&work.join("speed-snapshot"), round, FILE, |path| {
        let mut writer = SnapshotFsWriter::with(path, SnapshotOptions::with_codec(Raw))?;
        writer.write(&bytes)?;
        writer.close()
    })
}

/// One writer that fills a file of 1 MiB in pieces, the last one first, and commits it.
pub(super) fn chunked(work: &Path, round: Duration) -> Result<Speed> {
    let piece = vec![0x5a; PIECE];
    replacing(&work.join("speed-chunked"), round, LARGE, |path| {
        let options = ChunkedOptions::new().identity(Identity::new().len(LARGE as u64));
        let open = |path: &Path, _| FileResource::open(path);
        let file = AtomicChunked::open_with(path.to_path_buf(), options, open)?;
        for at in (0..LARGE).step_by(PIECE).rev() {
            file.write_at(at as u64, &piece)?;
        }
        file.commit(None)
    })
}

/// One writer that flushes a thousand elements at once; beside it the same bytes at the end of a file.
pub(super) fn append(work: &Path, round: Duration) -> Result<Speed> {
    let element = [0x5a; 40];
    let options = AppendOnlyFile::<Vec<u8>>::options().fixed(40);
    let mut file = options.open(work.join("speed-append"))?;
    let mut raw = RawFile::new(work.join("speed-append-raw"))?;
    let bytes = vec![0x5a; 40 * 1000];
    let ours = || {
        for _ in 0..1000 {
            file.append(&element)?;
        }
        Ok(file.flush().map(drop)?)
    };
    let speed = in_turns(round, ours, || raw.write(&bytes))?;
    file.close()?;
    Ok(speed)
}

/// One writer that applies a hundred updates at once, each with its cursor, compaction on; beside it about the same bytes at the end of a file.
pub(super) fn fold(work: &Path, round: Duration) -> Result<Speed> {
    let (_, mut fold) = FoldOptions::new().open(work.join("speed-fold"))?;
    let mut raw = RawFile::new(work.join("speed-fold-raw"))?;
    // Key, version, value, and what stands between them.
    let bytes = vec![0x5a; 138 * 100];
    let mut rev = 0_u64;
    let ours = || {
        let batch: Vec<KvUpdate> = (0..100)
            .map(|_| {
                rev += 1;
                let key = format!("svc-{:04}/{:013}", rev % 1000, rev % 20_000);
                KvUpdate::put(key, [0x5a; 100], VersionToken::from_u64(rev))
            })
            .collect();
        Ok(fold.apply(&batch, &WatchCursor::from_u64(rev))?)
    };
    let speed = in_turns(round, ours, || raw.write(&bytes))?;
    fold.close()?;
    Ok(speed)
}

/// One writer that persists sixteen objects at once and syncs them, in place of those before them; beside it their bytes and headers
/// at the end of a file.
pub(super) fn pool(work: &Path, round: Duration) -> Result<Speed> {
    const OBJECTS: usize = 16;
    let store = Arc::new(BackingStore::open(DirStore::new(work.join("speed-scratch"))?));
    let options = Pool::options().budget(MemoryBudget::bytes(16 << 20)).weigh(Vec::len);
    let pool = Arc::new(options.build(&store, Raw)?);
    let options = DirPathOptions::new().segment_bytes(RawFile::ROOM);
    let path = store.blocking_track_path(DirPath::with(work.join("speed-pool"), options))?;
    let mut raw = RawFile::new(work.join("speed-pool-raw"))?;
    let bytes = vec![0x5a; OBJECTS * (64 + FILE)];
    let mut before = Vec::new();
    let ours = || {
        let old = std::mem::take(&mut before);
        for _ in 0..OBJECTS {
            let object = pool.blocking_insert(vec![0x5a; FILE]).map_err(untorn::Error::from)?;
            object.blocking_persist(&path)?;
            before.push(object.key());
        }
        for key in old {
            store.blocking_delete_persisted(&path, key)?;
        }
        Ok(store.blocking_sync(&path)?)
    };
    in_turns(round, ours, || raw.write(&bytes))
}

fn replacing(
    dir: &Path,
    round: Duration,
    len: usize,
    replace: impl Fn(&Path) -> Result<(), untorn::Error>,
) -> Result<Speed> {
    let fail = |e| Failure::io("write in", dir, e);
    fs::create_dir(dir).map_err(fail)?;
    let (ours, raw) = (dir.join("ours"), dir.join("raw"));
    let begun = dir.join("raw.begun");
    let bytes = vec![0x5a; len];
    let replace_raw = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&begun)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&begun, &raw)?;
        File::open(dir)?.sync_all()
    };
    in_turns(round, || Ok(replace(&ours)?), || replace_raw().map_err(fail))
}

fn in_turns(
    round: Duration,
    mut ours: impl FnMut() -> Result<()>,
    mut raw: impl FnMut() -> Result<()>,
) -> Result<Speed> {
    let [synced, raw] = medians([&mut || rate(round, &mut ours), &mut || rate(round, &mut raw)])?;
    Ok(Speed { synced, raw, log: None })
}

/// The median rate of each of those who take turns.
fn medians<const N: usize>(mut rates: [&mut dyn FnMut() -> Result<f64>; N]) -> Result<[f64; N]> {
    let mut found = [const { Vec::new() }; N];
    for turn in 0..ROUNDS {
        // Who begins changes, so that nobody always follows the other's dirty pages.
        for at in 0..N {
            let at = (turn + at) % N;
            if let (Some(rate), Some(found)) = (rates.get_mut(at), found.get_mut(at)) {
                found.push(rate()?);
            }
        }
    }
    Ok(found.map(median))
}

/// What so many threads get done together, each of them again and again.
fn shared_rate(
    time: Duration,
    threads: u32,
    one: impl Fn() -> Result<(), untorn::Error> + Sync,
) -> Result<f64> {
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let done: Result<u64, untorn::Error> = thread::scope(|scope| {
        let write = || {
            let mut done = 0_u64;
            while done == 0 || !over.load(Ordering::Relaxed) {
                one()?;
                done += 1;
            }
            Ok(done)
        };
        let writers: Vec<_> = (0..threads).map(|_| scope.spawn(write)).collect();
        while started.elapsed() < time && !input::stopped() {
            thread::sleep(Duration::from_millis(2));
        }
        over.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap_or(Ok(0))).sum()
    });
    let done = done?;
    if input::stopped() {
        return Err(super::interrupted());
    }
    Ok(real(done) / started.elapsed().as_secs_f64())
}

fn rate(time: Duration, one: &mut impl FnMut() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    let mut done = 0_u64;
    while done == 0 || started.elapsed() < time {
        if input::stopped() {
            return Err(super::interrupted());
        }
        one()?;
        done += 1;
    }
    Ok(real(done) / started.elapsed().as_secs_f64())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}
