//! How many syncs and renames each public call makes. The same numbers stand in the `# Cost` sections and in
//! docs/DURABILITY.md: who changes one of the three changes all.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use untorn::append::{AppendGroup, AppendOnlyFile, FileSpec, OpenOptions};
use untorn::chunked::{
    AtomicChunked, ChunkedOptions, CommitOptions, FileOptions, FileResource, Identity,
    ResourceExt as _, commit_many,
};
use untorn::fs::{Fs as _, How, OsFs, SyncSite};
use untorn::journal::{Journal, JournalOptions};
use untorn::log::{Log, LogOptions, LogReport, State, SyncPolicy};
use untorn::sim::{CallKind, Counts, Meter, SimFs};
use untorn::{AtomicFile, Durability, ErrorKind, ReplaceOptions};

use SyncSite::{
    AppendAhead, AppendBeginDir, AppendData, AppendEnds, AppendMetaDir, AppendMetaFile, AppendName,
    AppendNext, AppendNextDir, AppendSums, Caller, ChunkCommit, ChunkCommitDir, ChunkData,
    ChunkForget, ChunkMetaDir, ChunkMetaFile, ChunkPart, JournalFile, LogBeginFile, LogCutDir,
    LogCutFile, LogFrame, LogMetaDir, LogMetaFile, LogPrepareDir, LogPrepareFile, MakeDirParent,
    PublishDir, PublishFile, QuarantineDir, QuarantineFile, ReplaceDir, ReplaceFile, ResourceDir,
    ResourceFile, SnapshotDir, SnapshotFile, SnapshotRetire,
};

/// META is replaced.
pub(super) const META: [(SyncSite, u64); 2] = [(LogMetaFile, 1), (LogMetaDir, 1)];
/// An intent: META twice, and what it does in between.
pub(super) const CUT: [(SyncSite, u64); 4] =
    [(LogMetaFile, 2), (LogMetaDir, 2), (LogCutFile, 1), (LogCutDir, 1)];
pub(super) const NOTHING: [(SyncSite, u64); 0] = [];

fn renames(counts: &Counts) -> u64 {
    counts.of(CallKind::Rename) + counts.of(CallKind::RenameNoReplace)
}

/// Runs `act` and compares what passed through the meter.
#[track_caller]
pub(super) fn check<R>(
    meter: &Meter,
    syncs: impl IntoIterator<Item = (SyncSite, u64)>,
    renamed: u64,
    act: impl FnOnce() -> R,
) -> R {
    meter.reset();
    let result = act();
    let counts = meter.counts();
    let mut expected = BTreeMap::new();
    for (site, count) in syncs {
        *expected.entry(site).or_insert(0) += count;
    }
    assert_eq!(counts.syncs, expected, "syncs");
    assert_eq!(renames(&counts), renamed, "renames");
    result
}

pub(super) fn disk() -> (SimFs, Meter) {
    let sim = SimFs::new(1);
    sim.make_dirs("/data").unwrap();
    let meter = Meter::new(Arc::new(sim.clone()));
    (sim, meter)
}

fn replacing(meter: &Meter) -> ReplaceOptions {
    ReplaceOptions::new().fs(Arc::new(meter.clone()))
}

fn logging(meter: &Meter) -> LogOptions {
    LogOptions::new().fs(Arc::new(meter.clone()))
}

fn open(options: LogOptions) -> (Log, LogReport) {
    Log::open("/data/log", options).unwrap()
}

/// A new log, and the meter that counts what it does.
fn log() -> (SimFs, Meter, Log) {
    let (sim, meter) = disk();
    let (log, _) = open(logging(&meter));
    (sim, meter, log)
}

/// The process dies; the disk as the next one finds it.
pub(super) fn killed(sim: &SimFs) -> (SimFs, Meter) {
    let sim = sim.kill();
    let meter = Meter::new(Arc::new(sim.clone()));
    (sim, meter)
}

#[test]
fn replace_and_create_new() {
    let (_sim, meter) = disk();
    let options = replacing(&meter);
    for _ in 0..2 {
        check(&meter, [(ReplaceFile, 1), (ReplaceDir, 1)], 1, || {
            untorn::replace_with("/data/a", b"bytes", &options).unwrap();
        });
    }
    check(&meter, [(PublishFile, 1), (PublishDir, 1)], 1, || {
        untorn::create_new_with("/data/b", b"bytes", &options).unwrap();
    });
    check(&meter, NOTHING, 0, || {
        let error = untorn::create_new_with("/data/b", b"bytes", &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn replace_on_the_operating_system() {
    let dir = tempfile::tempdir().unwrap();
    let meter = Meter::new(Arc::new(OsFs::new()));
    let options = replacing(&meter);
    check(&meter, [(ReplaceFile, 1), (ReplaceDir, 1)], 1, || {
        untorn::replace_with(dir.path().join("a"), b"bytes", &options).unwrap();
    });
    check(&meter, [(PublishFile, 1), (PublishDir, 1)], 1, || {
        untorn::create_new_with(dir.path().join("b"), b"bytes", &options).unwrap();
    });
    check(&meter, NOTHING, 1, || {
        let options = options.clone().durability(Durability::Buffered);
        untorn::replace_with(dir.path().join("a"), b"bytes", &options).unwrap();
    });
}

#[test]
fn atomic_file() {
    let (_sim, meter) = disk();
    let options = replacing(&meter);
    let mut file = check(&meter, NOTHING, 0, || {
        let mut file = AtomicFile::with("/data/a", &options).unwrap();
        file.write_all(&vec![7; 300_000]).unwrap();
        file.flush().unwrap();
        file
    });
    file.write_all(b"end").unwrap();
    check(&meter, [(ReplaceFile, 1), (ReplaceDir, 1)], 1, || file.commit().unwrap());

    let file = AtomicFile::create_new("/data/b", &options).unwrap();
    check(&meter, [(PublishFile, 1), (PublishDir, 1)], 1, || file.commit().unwrap());
    let file = AtomicFile::with("/data/a", &options).unwrap();
    check(&meter, NOTHING, 0, || file.discard().unwrap());
    let file = AtomicFile::with("/data/a", &options).unwrap();
    check(&meter, NOTHING, 0, || drop(file));
}

#[test]
fn buffered_files_are_not_synced() {
    let (_sim, meter) = disk();
    let options = replacing(&meter).durability(Durability::Buffered);
    check(&meter, NOTHING, 1, || untorn::replace_with("/data/a", b"x", &options).unwrap());
    check(&meter, NOTHING, 1, || untorn::create_new_with("/data/b", b"x", &options).unwrap());
    let file = AtomicFile::with("/data/a", &options).unwrap();
    check(&meter, NOTHING, 1, || file.commit().unwrap());
}

#[test]
fn snapshots() {
    use untorn::codec::Raw;
    use untorn::snapshot::{
        Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader as _, SnapshotOptions,
        SnapshotWriter as _,
    };
    let published = [(ReplaceFile, 1), (ReplaceDir, 1)];
    for layout in [Layout::Frame, Layout::Blocks] {
        let (_sim, meter) = disk();
        let options =
            || SnapshotOptions::with_codec(Raw).layout(layout).fs(Arc::new(meter.clone()));
        let begun = |options| {
            check(&meter, NOTHING, 0, || {
                let mut writer = SnapshotFsWriter::with("/data/a", options).unwrap();
                writer.flush().unwrap(); // nothing is there to be synced
                writer.write(&vec![7; 3_000_000]).unwrap();
                writer.write(&vec![7; 300_000]).unwrap();
                writer
            })
        };
        let writer = begun(options());
        check(&meter, published, 1, || writer.close().unwrap());
        let writer = begun(options().verify_after_write(true));
        check(&meter, published, 1, || writer.close().unwrap());
        let mut writer = begun(options());
        check(&meter, [(ReplaceFile, 1)], 0, || writer.flush().unwrap());
        check(&meter, published, 1, || writer.close().unwrap());
        let writer = begun(options());
        check(&meter, NOTHING, 0, || drop(writer));
        let mut loader = SnapshotFsLoader::with("/data/a", options());
        check(&meter, NOTHING, 0, || {
            loader.load().unwrap();
            loader.info().unwrap();
            loader.verify().unwrap();
        });
        assert_eq!(meter.counts().of(CallKind::Write), 0);
    }
}

#[test]
fn sweep_and_probe() {
    let (_sim, meter) = disk();
    let fs = Arc::new(meter.clone());
    check(&meter, NOTHING, 0, || untorn::sweep_with("/data", fs).unwrap());
    // The one rename tries whether the system replaces where it must not; it renames nothing.
    check(&meter, [(Caller, 1)], 1, || untorn::probe_with("/data", &meter).unwrap());
}

#[test]
fn log_open_new() {
    let (_sim, meter) = disk();
    let made = [(LogPrepareFile, 1), (LogBeginFile, 1), (LogPrepareDir, 1), (MakeDirParent, 2)];
    let (log, _) = check(&meter, made.into_iter().chain(META), 2, || {
        open(logging(&meter)) // two directories lead to it: / and /data
    });
    check(&meter, META, 1, || log.close().unwrap());
}

#[test]
fn log_open_clean() {
    let (_sim, meter, log) = log();
    log.append_synced(b"one").unwrap();
    log.close().unwrap();
    let (log, report) = check(&meter, NOTHING, 0, || open(logging(&meter)));
    assert_eq!(report.last_seq, 1);
    check(&meter, NOTHING, 0, || log.close().unwrap());
    let (log, _) = open(logging(&meter));
    check(&meter, META.into_iter().chain([(LogFrame, 1)]), 1, || {
        log.append_synced(b"two").unwrap()
    });
    check(&meter, [(LogFrame, 1)], 0, || log.append_synced(b"three").unwrap());
    check(&meter, META, 1, || log.close().unwrap());
}

#[test]
fn log_open_after_a_crash() {
    let (sim, _, log) = log();
    log.append_synced(b"one").unwrap();
    let (sim, meter) = killed(&sim);
    drop(log);
    let (log, report) = check(&meter, CUT, 2, || open(logging(&meter)));
    assert_eq!((report.last_seq, report.healed), (1, None));
    check(&meter, META, 1, || log.clone().close().unwrap());

    // Half a frame at the end: it is copied first, with a note.
    let (log, _) = open(logging(&meter));
    log.append_synced(b"two").unwrap();
    let dir = sim.open_dir("/data/log".as_ref()).unwrap();
    let segment = dir.open("0000000000000001.seg".as_ref(), How::Write).unwrap();
    segment.write_at(b"torn", 8000).unwrap();
    let (_sim, meter) = killed(&sim);
    drop(log);
    let kept = [(MakeDirParent, 1), (QuarantineFile, 2), (QuarantineDir, 1)];
    let (log, report) = check(&meter, CUT.into_iter().chain(kept), 4, || open(logging(&meter)));
    assert_eq!(report.last_seq, 2);
    assert_eq!(report.healed.unwrap().quarantine.len(), 1);
    drop(log);
}

#[test]
fn log_appends_share_a_sync() {
    let (_sim, meter, log) = log();
    check(&meter, [(LogFrame, 1)], 0, || log.append_synced(b"one").unwrap());
    let batch: [&[u8]; 3] = [b"two", b"three", b"four"];
    check(&meter, [(LogFrame, 1)], 0, || log.append_batch(batch).unwrap().wait().unwrap());
    check(&meter, [(LogFrame, 1)], 0, || {
        let tickets: Vec<_> = (0..10).map(|_| log.append(b"more").unwrap()).collect();
        assert_eq!(tickets[9].wait().unwrap(), 14);
        assert!(tickets.iter().all(untorn::log::Ticket::is_done));
    });
    assert_eq!(meter.counts().of(CallKind::Write), 1, "ten records, one write");
    check(&meter, NOTHING, 0, || log.append(b"pending").unwrap());
    check(&meter, [(LogFrame, 1)], 0, || log.sync().unwrap());
    check(&meter, NOTHING, 0, || log.sync().unwrap());
    log.append(b"pending").unwrap();
    check(&meter, META.into_iter().chain([(LogFrame, 1)]), 1, || log.close().unwrap());
}

#[test]
fn log_buffered() {
    let (_sim, meter) = disk();
    let (log, _) = open(logging(&meter).durability(Durability::Buffered));
    check(&meter, NOTHING, 0, || log.append_synced(b"one").unwrap());
    check(&meter, NOTHING, 0, || log.append_synced(b"two").unwrap());
    check(&meter, [(LogFrame, 1)], 0, || log.sync().unwrap());
    check(&meter, NOTHING, 0, || drop(log)); // a mark, not synced
}

#[test]
fn log_by_hand_and_with_a_window() {
    let (_sim, meter) = disk();
    let (log, _) = open(logging(&meter).sync_policy(SyncPolicy::Manual));
    let ticket = log.append(b"one").unwrap();
    check(&meter, NOTHING, 0, || {
        let error = ticket.wait_timeout(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
    check(&meter, [(LogFrame, 1)], 0, || log.sync().unwrap());
    check(&meter, NOTHING, 0, || ticket.wait().unwrap());
    drop((log, ticket));
    let window = SyncPolicy::Window { delay: Duration::from_millis(1), bytes: 1 };
    let (log, _) = open(logging(&meter).sync_policy(window));
    check(&meter, [(LogFrame, 1)], 0, || log.append_synced(b"two").unwrap());
}

#[test]
fn log_truncate_back() {
    let (_sim, meter, log) = log();
    for _ in 0..5 {
        log.append_synced(b"record").unwrap();
    }
    check(&meter, CUT, 2, || log.truncate_back(4).unwrap());
    check(&meter, NOTHING, 0, || log.truncate_back(4).unwrap());
    log.append(b"pending").unwrap();
    check(&meter, CUT.into_iter().chain([(LogFrame, 1)]), 2, || log.truncate_back(2).unwrap());
    // Inside a batch: the frame is shortened by the same intent.
    let batch: [&[u8]; 3] = [b"a", b"b", b"c"];
    log.append_batch(batch).unwrap().wait().unwrap();
    check(&meter, CUT, 2, || log.truncate_back(3).unwrap());
}

#[test]
fn log_roll_and_truncate_front() {
    let (_sim, meter) = disk();
    let (log, _) = open(logging(&meter).segment_bytes(1024));
    let mut rolled = 0;
    for _ in 0..60 {
        meter.reset();
        log.append_synced(&[7; 100]).unwrap();
        let counts = meter.counts();
        let prepared = counts.syncs_at(LogPrepareFile);
        // A segment of up to 256 KiB is prepared by two syncs; the roll itself goes with the frames.
        assert_eq!(prepared, counts.syncs_at(LogPrepareDir));
        assert_eq!(renames(&counts), prepared);
        assert!(counts.syncs_at(LogFrame) <= 2, "{counts:?}");
        assert_eq!(counts.total_syncs(), counts.syncs_at(LogFrame) + 2 * prepared);
        rolled += prepared;
    }
    assert!(rolled > 8, "{rolled}");
    check(&meter, META, 1, || assert!(log.truncate_front(40).unwrap() > 30));
    assert!(meter.counts().of(CallKind::Unlink) > 4);
    check(&meter, NOTHING, 0, || log.truncate_front(40).unwrap());
}

/// The seal goes out with the last frame of its segment, and the next header with the first frame behind it.
#[test]
fn log_roll_costs_no_sync_of_its_own() {
    let (_sim, meter) = disk();
    let (log, _) = open(logging(&meter).segment_bytes(64 * 1024));
    meter.reset();
    let appends = 2000;
    for _ in 0..appends {
        log.append_synced(&[7; 200]).unwrap();
    }
    let counts = meter.counts();
    let rolls = counts.syncs_at(LogPrepareDir);
    assert!(rolls > 5, "{rolls}");
    assert_eq!(counts.syncs_at(LogFrame), appends, "{rolls} rolls");
}

/// A segment above 256 KiB is prepared in parts, each synced: none of them holds up a commit for long.
#[test]
fn log_prepares_in_parts() {
    let (_sim, meter) = disk();
    let (log, _) = open(logging(&meter));
    meter.reset();
    log.append_synced(&vec![7; 150_000]).unwrap(); // more than half of the first segment
    log.append_synced(b"small").unwrap();
    let counts = meter.counts();
    assert_eq!((counts.syncs_at(LogPrepareFile), counts.syncs_at(LogPrepareDir)), (2, 1));
    assert_eq!(counts.syncs_at(LogFrame), 2);
}

#[test]
fn reading_syncs_nothing() {
    let (_sim, meter, log) = log();
    let ticket = log.append(b"one").unwrap();
    ticket.wait().unwrap();
    check(&meter, NOTHING, 0, || {
        log.verify(|_| {}).unwrap();
        log.read_at(ticket.pos().unwrap(), 3).unwrap();
        let mut reader = Log::open_read_only("/data/log", logging(&meter)).unwrap();
        reader.refresh().unwrap();
    });
    assert_eq!(meter.counts().of(CallKind::Write), 0);
    drop((log, ticket));
    check(&meter, NOTHING, 0, || Log::salvage("/data/log", &logging(&meter), |_| Ok(())).unwrap());
}

#[test]
fn state_full() {
    let (_sim, meter) = disk();
    let (state, _) =
        State::open("/data/log", logging(&meter).segment_bytes(1024), |_| Ok(())).unwrap();
    check(&meter, NOTHING, 0, || state.change(b"change").unwrap());
    check(&meter, [(LogFrame, 1)], 0, || state.full(b"full").unwrap());
    for _ in 0..20 {
        state.change(&[1; 100]).unwrap().wait().unwrap();
    }
    check(&meter, META.into_iter().chain([(LogFrame, 1)]), 1, || state.full(b"full").unwrap());
}

/// A machine that counts bytes.
struct Bytes(u64);

impl untorn::journal::Machine for Bytes {
    type Event = Vec<u8>;
    type View = Vec<u8>;
    type EventCodec = untorn::codec::Raw;
    type ViewCodec = untorn::codec::Raw;
    const NAME: &'static str = "bytes";
    const VERSION: u32 = 1;

    fn apply(&mut self, _seq: u64, event: &Vec<u8>) {
        self.0 += event.len() as u64;
    }

    fn capture(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn restore(view: Vec<u8>) -> Result<Self, String> {
        Ok(Self(u64::from_le_bytes(view.try_into().map_err(|_| "not 8 bytes")?)))
    }
}

fn open_journal(meter: &Meter, segment_bytes: u64) -> Journal<Bytes> {
    let log = LogOptions::new().segment_bytes(segment_bytes);
    let options = JournalOptions::new().log(log).fs(Arc::new(meter.clone()));
    Journal::open("/data/app", Bytes(0), options).unwrap().0
}

#[test]
fn journal_open() {
    let (sim, meter) = disk();
    let made = [(JournalFile, 1), (LogPrepareFile, 1), (LogBeginFile, 1), (LogPrepareDir, 1)];
    // Three directories lead to its log.
    let made = made.into_iter().chain(META).chain([(MakeDirParent, 3)]);
    let journal = check(&meter, made, 3, || open_journal(&meter, 16 << 20));
    journal.commit(vec![1]).unwrap();
    check(&meter, META, 1, || journal.close().unwrap());
    let journal = check(&meter, NOTHING, 0, || open_journal(&meter, 16 << 20));
    check(&meter, META.into_iter().chain([(LogFrame, 1)]), 1, || journal.commit(vec![2]).unwrap());
    let (_sim, meter) = killed(&sim);
    drop(journal);
    check(&meter, CUT, 2, || open_journal(&meter, 16 << 20));
}

#[test]
fn journal_events_and_checkpoints() {
    let (_sim, meter) = disk();
    let journal = open_journal(&meter, 1024);
    check(&meter, [(LogFrame, 1)], 0, || journal.commit(vec![1]).unwrap());
    let frame = [(LogFrame, 1)];
    let refuse = |journal: &Journal<Bytes>| journal.update::<(), _>(|_| Err(())).unwrap();
    check(&meter, NOTHING, 0, || {
        refuse(&journal).unwrap_err();
        journal.read(|bytes| bytes.0).unwrap();
        journal.submit(vec![2]).unwrap();
        journal.peek(|bytes, _| bytes.0);
    });
    check(&meter, frame, 0, || journal.read(|bytes| bytes.0).unwrap());
    drop(journal.submit(vec![3]).unwrap());
    check(&meter, frame, 0, || refuse(&journal).unwrap_err());
    check(&meter, frame, 0, || {
        let tickets: Vec<_> = (0..10).map(|n| journal.submit(vec![n]).unwrap()).collect();
        journal.wait(tickets.last().unwrap()).unwrap()
    });
    let snapshot = [(SnapshotFile, 1), (SnapshotDir, 1)];
    drop(journal.submit(vec![4]).unwrap());
    check(&meter, snapshot.into_iter().chain(frame), 1, || journal.checkpoint().unwrap());
    check(&meter, NOTHING, 0, || journal.checkpoint().unwrap());
    journal.commit(vec![5]).unwrap();
    check(&meter, snapshot, 1, || journal.checkpoint().unwrap());
    for _ in 0..20 {
        journal.commit(vec![6; 100]).unwrap();
    }
    let retire = snapshot.into_iter().chain([(SnapshotRetire, 1)]);
    check(&meter, retire.clone(), 1, || journal.checkpoint().unwrap());
    journal.commit(vec![7]).unwrap();
    check(&meter, retire.chain(META), 2, || journal.checkpoint().unwrap());
}

/// One sync for each file and the manifest, one for each directory in the artifact, itself and its parent.
#[test]
#[cfg(feature = "blake3")]
fn journal_export_and_import() {
    let (_sim, meter) = disk();
    let journal = open_journal(&meter, 16 << 20);
    journal.commit(vec![1]).unwrap();
    journal.checkpoint().unwrap();
    let manifest = check(
        &meter,
        [(SyncSite::ArtifactFile, 5), (SyncSite::ArtifactDir, 4), (SyncSite::ArtifactParent, 1)],
        1,
        || journal.export("/data/copy").unwrap(),
    );
    assert_eq!(manifest.files.len(), 4, "JOURNAL, the snapshot, META, a segment");
    check(
        &meter,
        [(SyncSite::ArtifactFile, 4), (SyncSite::ArtifactDir, 3), (SyncSite::ArtifactParent, 1)],
        1,
        || untorn::journal::import_with("/data/copy", "/data/b", Arc::new(meter.clone()), |_| {}),
    )
    .unwrap();
}

fn chunked(meter: &Meter) -> ChunkedOptions {
    let identity = Identity::new().len(9000).etag("\"1\"");
    ChunkedOptions::new().identity(identity).fs(Arc::new(meter.clone()))
}

fn fill(options: ChunkedOptions) -> AtomicChunked<FileResource> {
    let fs = Arc::clone(&options.fs);
    AtomicChunked::open_with("/data/file".into(), options, move |path, _| {
        FileResource::open_with(path, FileOptions::new().fs(Arc::clone(&fs)))
    })
    .unwrap()
}

/// The first checkpoint makes the list of ranges: a log, under two directories, and `meta`.
fn first_checkpoint() -> Vec<(SyncSite, u64)> {
    let log = [(LogBeginFile, 1), (LogPrepareFile, 1), (LogPrepareDir, 1), (LogMetaFile, 1)];
    let above = [(LogMetaDir, 1), (MakeDirParent, 4), (LogFrame, 1)];
    let ours = [(ChunkData, 1), (ChunkPart, 1), (ChunkMetaFile, 1), (ChunkMetaDir, 1)];
    log.into_iter().chain(above).chain(ours).collect()
}

#[test]
fn chunked_files() {
    let (sim, meter) = disk();
    sim.put("/data/beside", b"so that the directory is not empty").unwrap();
    let file = check(&meter, NOTHING, 0, || fill(chunked(&meter)));
    check(&meter, NOTHING, 0, || file.write_at(0, &[1; 4096])).unwrap();
    check(&meter, first_checkpoint(), 3, || file.checkpoint()).unwrap();
    check(&meter, NOTHING, 0, || file.checkpoint()).unwrap();
    file.write_at(4096, &[1; 4904]).unwrap();
    check(&meter, [(ChunkData, 1), (LogFrame, 1)], 0, || file.checkpoint()).unwrap();
    check(&meter, [(LogFrame, 1)], 0, || file.write_at(0, &[2; 10])).unwrap();
    let commit = [(ChunkCommit, 1), (ChunkCommitDir, 1), (ChunkForget, 1)];
    check(&meter, commit, 1, || file.commit(None)).unwrap();
    check(&meter, NOTHING, 0, || file.commit(None)).unwrap();
    check(&meter, NOTHING, 0, || file.reactivate()).unwrap();
    check(&meter, commit[..2].iter().copied(), 1, || file.commit(None)).unwrap();
    drop(file);

    let file = fill(chunked(&meter));
    check(&meter, NOTHING, 0, || file.abandon()).unwrap();
    let file = fill(chunked(&meter));
    file.write_at(0, &[1; 4096]).unwrap();
    file.checkpoint().unwrap();
    check(&meter, NOTHING, 0, || drop(file));
    let changed = chunked(&meter).identity(Identity::new().len(9000).etag("\"2\""));
    let file = check(&meter, [(ChunkForget, 1)], 0, || fill(changed));
    file.write_at(0, &[1; 9000]).unwrap();
    file.checkpoint().unwrap();
    check(&meter, [(ChunkForget, 1)], 0, || file.abandon()).unwrap();

    let unsynced = chunked(&meter).durability(Durability::Buffered);
    let file = fill(unsynced);
    file.write_at(0, &[1; 9000]).unwrap();
    check(&meter, NOTHING, 1, || file.commit(None)).unwrap();
}

#[test]
fn chunked_files_in_directories_that_may_be_new() {
    let (sim, meter) = disk();
    let path = || "/data/a/b/file".into();
    let open = |path| {
        let fs = Arc::new(meter.clone());
        AtomicChunked::open_with(path, ChunkedOptions::new().fs(fs), {
            let meter = meter.clone();
            move |path, _| {
                FileResource::open_with(path, FileOptions::new().fs(Arc::new(meter.clone())))
            }
        })
    };
    let file = check(&meter, [(MakeDirParent, 3)], 0, || open(path())).unwrap();
    drop(file);
    // Empty still: whoever made it may have died before he synced it.
    check(&meter, [(MakeDirParent, 3)], 0, || open(path()).map(drop)).unwrap();
    sim.put("/data/a/b/beside", b"").unwrap();
    check(&meter, NOTHING, 0, || open(path()).map(drop)).unwrap();
}

#[test]
fn chunked_files_committed_together() {
    let (sim, meter) = disk();
    sim.put("/data/beside", b"").unwrap();
    let files: Vec<_> = (0..5)
        .map(|n| {
            let fs: Arc<dyn untorn::fs::Fs> = Arc::new(meter.clone());
            let options = ChunkedOptions::new().fs(Arc::clone(&fs));
            let path = format!("/data/{n}").into();
            let file = AtomicChunked::open_with(path, options, move |path, _| {
                FileResource::open_with(path, FileOptions::new().fs(Arc::clone(&fs)))
            });
            let file = file.unwrap();
            file.write_at(0, b"content").unwrap();
            file
        })
        .collect();
    let all = files.iter().map(|file| (file, CommitOptions::new())).collect();
    let syncs = [(ChunkCommit, 5), (ChunkCommitDir, 1)];
    let answers = check(&meter, syncs, 5, || commit_many(all));
    assert!(answers.iter().all(Result::is_ok));
}

#[test]
fn bare_resources() {
    let (_sim, meter) = disk();
    let options = FileOptions::new().fs(Arc::new(meter.clone()));
    let file = check(&meter, NOTHING, 0, || FileResource::open_with("/data/file", options));
    let file = file.unwrap();
    file.write_at(0, b"content").unwrap();
    check(&meter, [(ResourceFile, 1)], 0, || file.sync()).unwrap();
    check(&meter, [(ResourceFile, 1), (ResourceDir, 1)], 0, || file.commit(None)).unwrap();
}

fn elements(meter: &Meter, fixed: u32) -> OpenOptions<Vec<u8>> {
    let options = OpenOptions::new().fs(Arc::new(meter.clone()));
    if fixed == 0 { options.variable() } else { options.fixed(fixed) }
}

/// What a checkpoint syncs of an append-only file.
fn columns(fixed: u32) -> Vec<(SyncSite, u64)> {
    match fixed {
        0 => vec![(AppendData, 1), (AppendEnds, 1), (AppendSums, 2), (LogFrame, 1)],
        _ => vec![(AppendData, 1), (AppendSums, 1), (LogFrame, 1)],
    }
}

#[test]
fn append_only_files() {
    for fixed in [40, 0] {
        let (sim, meter) = disk();
        let path = "/data/a";
        let made = [
            (MakeDirParent, 4),
            (AppendMetaFile, 1),
            (AppendMetaDir, 1),
            (LogPrepareFile, 1),
            (LogPrepareDir, 1),
            (LogBeginFile, 1),
            (LogMetaFile, 1),
            (LogMetaDir, 1),
            (AppendName, 1),
            (AppendBeginDir, 1),
        ];
        let open = || elements(&meter, fixed).open(path).unwrap();
        let mut file = check(&meter, made.into_iter().chain(columns(fixed)), 3, open);
        let append = |file: &mut AppendOnlyFile<Vec<u8>>, count: usize| {
            file.append_batch(vec![[7; 40]; count]).unwrap();
        };
        check(&meter, NOTHING, 0, || append(&mut file, 1000));
        let commit = check(&meter, [(LogFrame, 1)], 0, || file.flush().unwrap());
        assert_eq!(commit.syncs, 1);
        check(&meter, NOTHING, 0, || file.flush().unwrap());
        append(&mut file, 2000);
        let commit = check(&meter, [(AppendAhead, 1), (LogFrame, 1)], 0, || file.flush().unwrap());
        assert_eq!(commit.syncs, 2);
        append(&mut file, 2000);
        check(&meter, NOTHING, 0, || file.write().unwrap());
        let commit = check(&meter, [(AppendAhead, 1), (LogFrame, 1)], 0, || file.sync().unwrap());
        assert_eq!(commit.syncs, 2);
        file.rewind(100).unwrap();
        append(&mut file, 10);
        check(&meter, [(LogFrame, 1)], 0, || file.write().unwrap());
        check(&meter, [(LogFrame, 1)], 0, || file.drop_head(5).unwrap());
        let next = if fixed == 0 { 4 } else { 2 };
        let successor = [(AppendNext, next), (AppendNextDir, 1)];
        check(&meter, successor, 0, || file.write_tmp_pruned(&[7, 9]).unwrap());
        let over = [(LogFrame, 1)].into_iter().chain(columns(fixed));
        check(&meter, over, 1, || file.replace_with_tmp().unwrap());
        check(&meter, columns(fixed).into_iter().chain(META), 1, || file.close().unwrap());

        let mut file = check(&meter, NOTHING, 0, open);
        append(&mut file, 1);
        // The log takes back its recorded end, and says that the store is in use.
        check(&meter, META.into_iter().chain([(LogFrame, 2)]), 1, || file.flush().unwrap());
        drop(file);
        let (_, meter) = killed(&sim);
        let open = || elements(&meter, fixed).open(path).unwrap();
        meter.reset();
        let file = open();
        let counts = meter.counts();
        for (site, count) in columns(fixed).into_iter().filter(|(site, _)| *site != LogFrame) {
            assert_eq!(counts.syncs.get(&site), Some(&count), "{site:?}");
        }
        assert_eq!(counts.syncs.values().sum::<u64>(), if fixed == 0 { 11 } else { 9 });
        drop(file);
    }
}

#[test]
fn a_group_shares_one_sync() {
    let (_, meter) = disk();
    let open = || {
        AppendGroup::options("/data/group")
            .file("a", "/data/a", FileSpec::fixed(8))
            .file("b", "/data/b", FileSpec::variable())
            .file("c", "/data/c", FileSpec::fixed(32))
            .fs(Arc::new(meter.clone()))
            .open()
            .unwrap()
    };
    let mut group = open();
    for (name, len) in [("a", 8), ("b", 20), ("c", 32)] {
        group.file::<Vec<u8>>(name).unwrap().append_batch(vec![vec![1; len]; 100]).unwrap();
    }
    check(&meter, [(LogFrame, 1)], 0, || group.flush().unwrap());
}
