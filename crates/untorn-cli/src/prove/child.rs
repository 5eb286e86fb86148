//! The process that is killed: writes as fast as it can, and says on stdout what was acknowledged, after the call returned.
//!
//! One line for each acknowledgement, in one write of less than `PIPE_BUF`, so that a kill never tears one:
//! `a WRITER COUNTER SEQ`. It never reads anything back: that is the parent's part.

use std::io::Write as _;
use std::path::Path;
use std::thread;

use untorn::codec::Raw;
use untorn::log::{Log, LogOptions};
use untorn::snapshot::{Layout, SnapshotFsWriter, SnapshotOptions, SnapshotWriter as _};
use untorn::{AtomicFile, Error};

use super::content::{self, Key, Rng};
use crate::args::ProveChild;
use crate::exit::{Failure, Result, code};

/// Threads that write at the same time.
pub(super) const WRITERS: u32 = 4;
/// Small, so that segments change often.
pub(super) const SEGMENT: u64 = 256 << 10;
/// How many records a truncation at the front leaves at least.
pub(super) const KEEP: u64 = 2000;

pub(crate) fn run(args: &ProveChild) -> Result<u8> {
    #[cfg(target_os = "linux")]
    {
        // A parent that is gone kills nobody any more. Best effort: a closed pipe ends the child too.
        let kill = Some(rustix::process::Signal::KILL);
        let _set = rustix::process::set_parent_process_death_signal(kill).is_ok();
    }
    let writing = match args.store.as_str() {
        "log" => log(args),
        "snapshot" => snapshots(args),
        "journal" => super::child_journal::run(args),
        "chunked" => super::child_chunked::run(args),
        "append" => super::child_append::run(args),
        "fold" => super::child_fold::run(args),
        "pool" => super::child_pool::run(args),
        _ => files(args),
    };
    writing.map(|()| code::OK)
}

/// Says what was acknowledged; false if nobody listens any more.
pub(super) fn tell(writer: u32, counter: u64, seq: u64) -> bool {
    say('a', writer, counter, seq)
}

/// As [`tell`], with another letter: see [`Ack`](super::kill::Ack).
pub(super) fn say(kind: char, writer: u32, counter: u64, seq: u64) -> bool {
    let line = format!("{kind} {writer} {counter} {seq}\n");
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

pub(super) fn log_options() -> LogOptions {
    LogOptions::new().owner(*b"PROV").segment_bytes(SEGMENT)
}

pub(super) fn on_threads(write: impl Fn(u32) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(done) => done,
            Err(_) => Err(Failure::plain(untorn::ErrorKind::Failed, "a writing thread panicked")),
        })
    })
}

fn log(args: &ProveChild) -> Result<()> {
    let (log, _report) = Log::open(args.dir.join("log"), log_options())?;
    on_threads(|writer| Ok(write_log(&log, args, writer)?))
}

fn write_log(log: &Log, args: &ProveChild, writer: u32) -> Result<(), Error> {
    let mut rng = Rng::new(args.seed ^ (u64::from(args.round) << 32) ^ u64::from(writer));
    let mut counter = 0_u64;
    let key = |counter, part, parts| Key { round: args.round, writer, counter, part, parts };
    loop {
        let mut acknowledged = Vec::new();
        match rng.below(16) {
            // Several at once, one wait.
            0..3 => {
                let count = 1 + rng.below(12);
                let mut tickets = Vec::new();
                for _ in 0..count {
                    let ticket = log.append(&content::record(args.seed, key(counter, 0, 1)))?;
                    tickets.push((counter, ticket));
                    counter += 1;
                }
                if let Some((_, last)) = tickets.last() {
                    last.wait()?;
                }
                acknowledged.extend(tickets.iter().map(|(counter, ticket)| (*counter, ticket.seq)));
            }
            // All or none.
            3 => {
                let parts = 2 + u32::try_from(rng.below(4)).unwrap_or(0);
                let first = counter;
                let records: Vec<_> = (0..parts)
                    .map(|part| {
                        content::record(args.seed, key(first + u64::from(part), part, parts))
                    })
                    .collect();
                counter += u64::from(parts);
                let last = log.append_batch(records.iter().map(Vec::as_slice))?.wait()?;
                let first_seq = last + 1 - u64::from(parts);
                acknowledged
                    .extend((0..u64::from(parts)).map(|part| (first + part, first_seq + part)));
            }
            4 if writer == 0 && rng.below(8) == 0 => {
                log.truncate_front(log.durable_seq().saturating_sub(KEEP))?;
            }
            _ => {
                let seq = log.append_synced(&content::record(args.seed, key(counter, 0, 1)))?;
                acknowledged.push((counter, seq));
                counter += 1;
            }
        }
        for (counter, seq) in acknowledged {
            if !tell(writer, counter, seq) {
                return Ok(());
            }
        }
    }
}

fn files(args: &ProveChild) -> Result<()> {
    let dir = args.dir.join("file");
    on_threads(|writer| Ok(write_files(&dir, args, writer)?))
}

fn write_files(dir: &Path, args: &ProveChild, writer: u32) -> Result<(), Error> {
    let mut rng = Rng::new(args.seed ^ (u64::from(args.round) << 32) ^ u64::from(writer));
    let path = dir.join(name(writer));
    for counter in 0.. {
        let key = Key { round: args.round, writer, counter, part: 0, parts: 1 };
        let bytes = content::file(args.seed, key);
        match rng.below(8) {
            // As a stream, in pieces.
            0 | 1 => {
                let mut file = AtomicFile::create(&path)?;
                let piece = usize::try_from(1 + rng.below(bytes.len() as u64)).unwrap_or(1);
                for piece in bytes.chunks(piece) {
                    if let Err(e) = file.write_all(piece) {
                        return e.downcast::<Error>().map_or(Ok(()), Err);
                    }
                }
                file.commit()?;
            }
            // Also under a name that never was; the parent looks for it and removes it.
            2 => {
                untorn::create_new(dir.join(new_name(key)), &bytes)?;
                untorn::replace(&path, &bytes)?;
            }
            _ => untorn::replace(&path, &bytes)?,
        }
        if !tell(writer, counter, 0) {
            break;
        }
    }
    Ok(())
}

fn snapshots(args: &ProveChild) -> Result<()> {
    let dir = args.dir.join("snapshot");
    on_threads(|writer| Ok(write_snapshots(&dir, args, writer)?))
}

/// Both layouts in turn; the last write of each fourth was preceded by one that it replaces, and by a sync of that.
fn write_snapshots(dir: &Path, args: &ProveChild, writer: u32) -> Result<(), Error> {
    let mut rng = Rng::new(args.seed ^ (u64::from(args.round) << 32) ^ u64::from(writer));
    let path = dir.join(snapshot_name(writer));
    for counter in 0.. {
        let key = Key { round: args.round, writer, counter, part: 0, parts: 1 };
        let mut snapshot = SnapshotFsWriter::with(&path, snapshot_options(rng.below(3)))?;
        if rng.below(4) == 0 {
            snapshot.write(&vec![0x5a; usize::try_from(rng.below(100_000)).unwrap_or(0)])?;
            snapshot.flush()?;
        }
        snapshot.write(&content::file(args.seed, key))?;
        snapshot.close()?;
        if !tell(writer, counter, 0) {
            break;
        }
    }
    Ok(())
}

/// Some way to write a snapshot.
pub(super) fn snapshot_options(which: u64) -> SnapshotOptions<Vec<u8>, Raw> {
    let options = SnapshotOptions::with_codec(Raw);
    match which {
        0 => options,
        1 => options.layout(Layout::Blocks),
        _ => options.layout(Layout::Blocks).verify_after_write(true),
    }
}

/// The snapshot that a writer replaces again and again.
pub(super) fn snapshot_name(writer: u32) -> String {
    format!("state-{writer}")
}

/// The file that a writer replaces again and again.
pub(super) fn name(writer: u32) -> String {
    format!("file-{writer}")
}

/// A file that is created once.
pub(super) fn new_name(key: Key) -> String {
    format!("new-{}-{}-{}", key.round, key.writer, key.counter)
}
