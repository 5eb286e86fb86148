//! Files and memory that are filled in pieces.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use untorn::chunked::{
    Cancel, Driver, FileOptions, FileResource, MemResource, OpenMode, ReadMode, Resource,
    ResourceExt, ResourceStatus, WaitOutcome,
};
use untorn::fs::SyncSite;
use untorn::sim::{CallKind, Capability, Fault, FaultKind, Meter, SimFs};
use untorn::{ErrorKind, Outcome, Result};

fn dir() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    (dir, path)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) -> untorn::Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error
}

/// The same calls have the same answers, whatever the bytes lie in.
trait Answers: ResourceExt {
    fn ranges_of(&self) -> Vec<Range<u64>>;
    fn view_of(&self) -> Result<Vec<u8>>;
    fn prefix(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;
}

impl<D: Driver> Answers for Resource<D> {
    fn ranges_of(&self) -> Vec<Range<u64>> {
        self.ranges()
    }

    fn view_of(&self) -> Result<Vec<u8>> {
        self.view().map(|view| view.to_vec())
    }

    fn prefix(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.read_available(offset, buf)
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Active,
    Committed,
    Failed(String),
}

/// A list of bytes that are there or not, and a state.
#[derive(Debug)]
struct Model {
    bytes: Vec<Option<u8>>,
    state: State,
    expected: Option<u64>,
}

impl Model {
    fn end(&self) -> u64 {
        self.bytes.iter().rposition(Option::is_some).map_or(0, |last| last as u64 + 1)
    }

    /// The length, once committed; the expected one before.
    fn known(&self) -> Option<u64> {
        if self.state == State::Committed { Some(self.bytes.len() as u64) } else { self.expected }
    }

    fn at(&self, at: u64) -> Option<u8> {
        self.bytes.get(usize::try_from(at).unwrap()).copied().flatten()
    }

    fn gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        if self.state == State::Committed {
            return None;
        }
        let limit = limit.min(self.expected.unwrap_or(u64::MAX));
        let start = (from..limit).find(|&at| self.at(at).is_none())?;
        let written = limit.min(self.bytes.len() as u64);
        Some(start..(start..written).find(|&at| self.at(at).is_some()).unwrap_or(limit))
    }

    fn refuse(&self) -> Result<(), ErrorKind> {
        if matches!(self.state, State::Failed(_)) { Err(ErrorKind::Failed) } else { Ok(()) }
    }

    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, Result<Range<u64>, ErrorKind>> {
        self.refuse().map_err(Err)?;
        let end = (offset + len).min(self.known().unwrap_or(u64::MAX));
        match self.gap(offset, end) {
            Some(gap) => Err(Ok(gap)),
            None => Ok((offset..end).map(|at| self.at(at).unwrap()).collect()),
        }
    }

    fn contains(&self, range: &Range<u64>) -> bool {
        let end = range.end.min(self.known().unwrap_or(u64::MAX));
        range.start == range.end
            || (range.start < end && (range.start..end).all(|at| self.at(at).is_some()))
    }

    fn wait(&self, range: &Range<u64>) -> Option<Result<WaitOutcome, ErrorKind>> {
        if range.start > range.end {
            return Some(Err(ErrorKind::InvalidInput));
        }
        if range.is_empty() {
            return Some(Ok(WaitOutcome::Ready));
        }
        if let Err(kind) = self.refuse() {
            return Some(Err(kind));
        }
        if self.known().is_some_and(|known| range.start >= known) {
            return Some(Ok(WaitOutcome::Eof));
        }
        self.contains(range).then_some(Ok(WaitOutcome::Ready))
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), ErrorKind> {
        self.refuse()?;
        if self.state == State::Committed {
            return Err(ErrorKind::Closed);
        }
        let end = offset + data.len() as u64;
        if self.expected.is_some_and(|expected| end > expected) {
            return Err(ErrorKind::Precondition);
        }
        let (at, end) = (usize::try_from(offset).unwrap(), usize::try_from(end).unwrap());
        if self.bytes.len() < end && !data.is_empty() {
            self.bytes.resize(end, None);
        }
        for (place, byte) in self.bytes.iter_mut().skip(at).zip(data) {
            *place = Some(*byte);
        }
        Ok(())
    }

    fn commit(&mut self, len: Option<u64>) -> Result<(), Result<Range<u64>, ErrorKind>> {
        self.refuse().map_err(Err)?;
        if self.state == State::Committed {
            let same = len.is_none_or(|len| len == self.bytes.len() as u64);
            return if same { Ok(()) } else { Err(Err(ErrorKind::Precondition)) };
        }
        if self.expected.is_some_and(|expected| len.is_some_and(|len| len != expected)) {
            return Err(Err(ErrorKind::Precondition));
        }
        let len = self.expected.or(len).unwrap_or_else(|| self.end());
        if let Some(gap) = self.gap(0, len) {
            return Err(Ok(gap));
        }
        self.bytes.resize(usize::try_from(len).unwrap(), None);
        self.state = State::Committed;
        Ok(())
    }
}

#[track_caller]
fn same<T: PartialEq + std::fmt::Debug>(
    found: Result<T>,
    expected: Result<T, Result<Range<u64>, ErrorKind>>,
) {
    let found = found.map_err(|error| match error.kind() {
        ErrorKind::Incomplete => Ok(error.gap().unwrap()),
        kind => Err(kind),
    });
    let both = (found, expected);
    assert_eq!(both.0, both.1);
}

/// Calls at random, each compared with the model.
fn run(resource: &dyn Answers, expected: Option<u64>, seed: u64) {
    const SPAN: u64 = 20_000;
    let mut rng = Rng(seed);
    let mut model = Model { bytes: Vec::new(), state: State::Active, expected };
    for step in 0..250_u64 {
        let mut offset = rng.below(SPAN);
        if rng.below(2) == 0 {
            offset = offset / 4096 * 4096;
        }
        let len = [1, 10, 4096, 9000][usize::try_from(rng.below(4)).unwrap()];
        let range = offset..offset + len;
        match rng.below(14) {
            0..6 => {
                let byte = u8::try_from(step % 251).unwrap();
                let data = vec![byte; usize::try_from(len).unwrap()];
                same(resource.write_at(offset, &data), model.write(offset, &data).map_err(Err));
            }
            6 => {
                let given = [None, Some(model.end()), Some(offset)];
                let len = given[usize::try_from(rng.below(3)).unwrap()];
                same(resource.commit(len), model.commit(len));
            }
            7 if rng.below(4) == 0 => {
                resource.fail("given up".to_owned());
                if model.state == State::Active {
                    model.state = State::Failed("given up".to_owned());
                }
            }
            8 | 9 => {
                resource.reactivate().unwrap();
                model.expected = model.expected.filter(|len| model.end() <= *len);
                model.state = State::Active;
            }
            10 if rng.below(3) == 0 => {
                let kept: Vec<Range<u64>> = resource
                    .ranges_of()
                    .into_iter()
                    .map(|range| range.start..range.start.midpoint(range.end).max(range.start + 1))
                    .collect();
                resource.restore(&kept).unwrap();
                for (at, byte) in model.bytes.iter_mut().enumerate() {
                    if !kept.iter().any(|range| range.contains(&(at as u64))) {
                        *byte = None;
                    }
                }
                model.state = State::Active;
            }
            11 if rng.below(4) == 0 => {
                let data = vec![7; usize::try_from(len).unwrap()];
                let expected = if model.expected.is_some_and(|expected| expected != len) {
                    Err(Err(ErrorKind::Precondition))
                } else {
                    let written = model.write(0, &data).map_err(Err);
                    written.and_then(|()| model.commit(Some(len)))
                };
                same(resource.write_all(&data), expected);
            }
            _ => {}
        }
        compare(resource, &model, &range);
    }
}

fn compare(resource: &dyn Answers, model: &Model, range: &Range<u64>) {
    let status = match &model.state {
        State::Active => ResourceStatus::Active,
        State::Committed => ResourceStatus::Committed { final_len: Some(model.bytes.len() as u64) },
        State::Failed(reason) => ResourceStatus::Failed(reason.clone()),
    };
    assert_eq!(resource.status(), status);
    let len = model.known().filter(|_| model.state == State::Committed);
    assert_eq!((resource.len(), resource.is_empty()), (len, len == Some(0)));
    let mut buf = vec![0; usize::try_from(range.end - range.start).unwrap()];
    let read = resource.read_at(range.start, &mut buf).map(|count| buf[..count].to_vec());
    same(read, model.read(range.start, range.end - range.start));
    let prefix = resource.prefix(range.start, &mut buf);
    if model.refuse().is_ok() {
        let there = (*range).clone().take_while(|&at| model.at(at).is_some()).count();
        assert_eq!(prefix.unwrap(), there);
        assert!((range.start..).zip(&buf[..there]).all(|(at, byte)| model.at(at) == Some(*byte)));
    } else {
        refused(prefix, ErrorKind::Failed);
    }
    assert_eq!(resource.contains_range(range.clone()), model.contains(range));
    assert!(resource.contains_range(range.start..range.start));
    let reversed = Range { start: range.end, end: range.start };
    assert!(!resource.contains_range(reversed.clone()));
    refused(resource.wait_range(reversed), ErrorKind::InvalidInput);
    assert_eq!(resource.next_gap(range.start, range.end), model.gap(range.start, range.end));
    if let Some(expected) = model.wait(range) {
        same(resource.wait_range(range.clone()), expected.map_err(Err));
    }
    let mut all = b"before".to_vec();
    let whole = match model.known() {
        None if model.refuse().is_ok() => {
            Err(Ok(model.gap(0, 1 << 40).unwrap_or(1 << 40..1 << 40)))
        }
        known => model.read(0, known.unwrap_or(0)),
    };
    match (resource.read_into(&mut all), whole) {
        (Ok(count), Ok(bytes)) => assert_eq!((count, &all[6..]), (bytes.len(), &bytes[..])),
        (found, expected) => {
            assert_eq!(all, b"before");
            same(found, expected.map(|bytes| bytes.len()));
        }
    }
    match resource.view_of() {
        Ok(view) => assert!(view.iter().copied().map(Some).eq(model.bytes.iter().copied())),
        Err(_) => assert_ne!(model.state, State::Committed),
    }
    resource.write_out().unwrap();
}

#[test]
fn files_and_memory_answer_as_the_model() {
    for seed in 1..40 {
        let (_dir, path) = dir();
        run(&MemResource::new(), None, seed);
        run(&FileResource::open(&path).unwrap(), None, seed);
        let pread = FileOptions::new().read_mode(ReadMode::Pread).len(15_000);
        run(&FileResource::open_with(path.with_extension("1"), pread).unwrap(), Some(15_000), seed);
        let map = FileOptions::new().read_mode(ReadMode::Map).len(15_000);
        run(&FileResource::open_with(path.with_extension("2"), map).unwrap(), Some(15_000), seed);
        let sim = SimFs::new(seed);
        let sim = FileOptions::new().fs(Arc::new(sim));
        run(&FileResource::open_with("/file", sim).unwrap(), None, seed);
    }
}

/// Waits until so many threads wait; each of them looks before it sleeps.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

#[test]
fn who_waits_is_woken_by_his_own_bytes() {
    let memory = MemResource::new();
    let woken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for n in 0..8_u64 {
            let (memory, woken) = (&memory, &woken);
            scope.spawn(move || {
                let range = n * 100..n * 100 + 100;
                assert_eq!(memory.wait_range(range.clone()).unwrap(), WaitOutcome::Ready);
                let mut buf = [0; 100];
                assert_eq!(memory.read_at(range.start, &mut buf).unwrap(), 100);
                assert!(buf.iter().all(|&byte| u64::from(byte) == n));
                woken.fetch_add(1, SeqCst);
            });
        }
        until(|| memory.wanted(u64::MAX).is_some());
        for n in (0..8_u64).rev() {
            let byte = [u8::try_from(n).unwrap(); 50];
            memory.write_at(n * 100 + 50, &byte).unwrap();
            memory.write_at(n * 100, &byte).unwrap();
        }
    });
    assert_eq!((woken.into_inner(), memory.wanted(1)), (8, None));
}

#[test]
fn a_wait_ends_by_time_by_cancel_and_by_every_end() {
    let (_dir, path) = dir();
    let file = FileResource::open(path).unwrap();
    let short = Duration::from_millis(1);
    assert_eq!(file.wait_range_timeout(0..1, short).unwrap(), WaitOutcome::Interrupted);
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| file.wait_range_cancel(0..1, &cancel).unwrap());
        until(|| file.wanted(1).is_some());
        cancel.cancel();
        assert_eq!(waiter.join().unwrap(), WaitOutcome::Interrupted);
        // Also who comes later.
        assert_eq!(file.wait_range_cancel(0..1, &cancel).unwrap(), WaitOutcome::Interrupted);
        let eof = scope.spawn(|| file.wait_range(5..6).unwrap());
        let ready = scope.spawn(|| file.wait_range(4..6).unwrap());
        file.write_at(0, b"hello").unwrap();
        file.commit(None).unwrap();
        assert_eq!(
            (eof.join().unwrap(), ready.join().unwrap()),
            (WaitOutcome::Eof, WaitOutcome::Ready)
        );
    });
    file.reactivate().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| file.wait_range(5..6));
        until(|| file.wanted(1).is_some());
        file.fail("the server is gone".to_owned());
        let error = refused(waiter.join().unwrap(), ErrorKind::Failed);
        assert!(error.to_string().ends_with("the server is gone"), "{error}");
    });
}

/// kithara-storage published the 65,536 bytes that it had reserved.
#[test]
fn a_commit_without_a_length_publishes_the_reservation() {
    let (_dir, path) = dir();
    let file = FileResource::open(&path).unwrap();
    file.write_at(0, b"hello").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 5, "the first write may be the only one");
    file.write_at(5, b" world").unwrap();
    assert!(fs::metadata(&path).unwrap().len() >= 1 << 20, "space is reserved ahead");
    file.commit(None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hello world");
    assert_eq!(file.len(), Some(11));
}

/// kithara-storage published zeros where nothing was written.
#[test]
fn a_commit_over_gaps_publishes_zeros() {
    let (_dir, path) = dir();
    let file = FileResource::open(path).unwrap();
    file.write_at(10, b"x").unwrap();
    for len in [None, Some(11), Some(5)] {
        let error = refused(file.commit(len), ErrorKind::Incomplete);
        assert_eq!(error.gap(), Some(0..len.unwrap_or(11).min(10)));
    }
    assert_eq!(refused(file.read_at(0, &mut [0; 11]), ErrorKind::Incomplete).gap(), Some(0..10));
    file.write_at(0, &[b'y'; 10]).unwrap();
    assert_eq!(refused(file.commit(Some(20)), ErrorKind::Incomplete).gap(), Some(11..20));
    file.commit(Some(4)).unwrap();
    assert_eq!(&file.view().unwrap()[..], b"yyyy");
}

/// kithara-storage made it active again, and 64 KiB long.
#[test]
fn an_empty_committed_file_comes_back_active() {
    let (_dir, path) = dir();
    let file = FileResource::open(&path).unwrap();
    file.commit(None).unwrap();
    for mode in [OpenMode::Auto, OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let file = FileResource::open_mode(&path, mode).unwrap();
        assert_eq!(file.status(), ResourceStatus::Committed { final_len: Some(0) });
        assert_eq!((file.is_empty(), file.view().unwrap().len()), (true, 0));
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

/// kithara-storage: 128 of 500 targets corrupt, though both calls said Ok.
#[test]
fn a_write_that_races_a_commit_is_half_in() {
    let (dir, _) = dir();
    for round in 0..300 {
        let path = dir.path().join(round.to_string());
        let file = FileResource::open(&path).unwrap();
        file.write_at(0, &[1; 10_000]).unwrap();
        let ready = AtomicBool::new(false);
        let written = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                ready.store(true, SeqCst);
                let mut last = Ok(());
                let mut byte = 1;
                while last.is_ok() {
                    byte = byte % 250 + 1;
                    last = file.write_at(0, &vec![byte; 10_000]);
                }
                refused(last, ErrorKind::Closed);
                byte
            });
            until(|| ready.load(SeqCst));
            file.commit(None).unwrap();
            writer.join().unwrap()
        });
        // The one that was refused left nothing; the one before it is there whole.
        let last = if written == 1 { 250 } else { written - 1 };
        let found = fs::read(&path).unwrap();
        assert!(found.iter().all(|&byte| byte == last), "round {round}: {last}, {found:?}");
    }
}

#[test]
fn what_is_opened() {
    let (dir, path) = dir();
    refused(FileResource::open_mode(&path, OpenMode::ReadOnly), ErrorKind::NotFound);
    assert!(!path.exists());
    fs::write(&path, b"content").unwrap();
    let file = FileResource::open_mode(&path, OpenMode::ReadOnly).unwrap();
    assert_eq!(file.path(), Some(path.as_path()));
    assert_eq!(file.status(), ResourceStatus::Committed { final_len: Some(7) });
    refused(file.write_at(0, b"x"), ErrorKind::Closed);
    refused(file.reactivate(), ErrorKind::ReadOnly);
    refused(FileResource::create(&path, 9), ErrorKind::AlreadyExists);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    refused(FileResource::open(&link), ErrorKind::Precondition);
    refused(FileResource::create(&link, 9), ErrorKind::Precondition);
    refused(FileResource::open(dir.path()), ErrorKind::Precondition);
    let long = FileOptions::new().len(9).max_len(8);
    refused(FileResource::open_with(dir.path().join("new"), long), ErrorKind::TooLarge);
    let file = FileResource::open_mode(&path, OpenMode::Auto).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"another").unwrap();
    refused(file.reactivate(), ErrorKind::Stale);
    assert_eq!(&file.view().unwrap()[..], b"content");
}

#[test]
fn a_view_keeps_its_bytes() {
    let (_dir, path) = dir();
    for mode in [ReadMode::Map, ReadMode::Pread] {
        let file = FileResource::open_with(&path, FileOptions::new().read_mode(mode)).unwrap();
        if file.len().is_none() {
            refused(file.view(), ErrorKind::Incomplete);
            file.write_all(b"content").unwrap();
        }
        let (view, again) = (file.view().unwrap(), file.view().unwrap());
        assert_eq!((&view[..], again.as_ptr()), (&b"content"[..], view.as_ptr()));
        if mode == ReadMode::Map {
            refused(file.reactivate(), ErrorKind::Precondition);
            drop((view, again));
            file.reactivate().unwrap();
        } else {
            file.reactivate().unwrap();
            file.write_at(0, b"C").unwrap();
            assert_eq!(&view[..], b"content");
        }
    }
}

#[test]
fn memory_has_a_limit() {
    let memory = MemResource::with_max(10);
    memory.write_at(5, b"12345").unwrap();
    refused(memory.write_at(6, b"12345"), ErrorKind::TooLarge);
    refused(memory.write_at(u64::MAX, b"12345"), ErrorKind::InvalidInput);
    assert_eq!((memory.ranges().last(), memory.path()), (Some(&(5..10)), None));
    let memory = MemResource::from_bytes(b"content".to_vec());
    assert_eq!((memory.len(), &memory.view().unwrap()[..]), (Some(7), &b"content"[..]));
    refused(memory.write_all(b"x"), ErrorKind::Closed);
    memory.reactivate().unwrap();
    memory.write_all(b"x").unwrap();
    assert_eq!(&memory.view().unwrap()[..], b"x");
}

#[test]
fn bytes_that_are_not_there_are_not_taken_up() {
    let (_dir, path) = dir();
    fs::write(&path, b"content").unwrap();
    let file = FileResource::open_with(&path, FileOptions::new().len(9)).unwrap();
    let error = refused(file.restore(&[0..2, 6..8]), ErrorKind::Precondition);
    assert!(error.to_string().contains("6..8"), "{error}");
    file.restore(&[0..2, 4..7]).unwrap();
    assert_eq!((file.ranges(), file.next_gap(0, 99)), (vec![0..2, 4..7], Some(2..4)));
    assert_eq!((file.expected_len(), fs::metadata(&path).unwrap().len()), (Some(9), 9));
    file.write_at(2, b"NT").unwrap();
    file.write_at(7, b"ed").unwrap();
    file.commit(Some(9)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"coNTented");
}

#[test]
fn a_commit_syncs_the_file_and_its_directory() {
    let sim = SimFs::new(1);
    let meter = Meter::new(Arc::new(sim.clone()));
    let options = || FileOptions::new().fs(Arc::new(meter.clone()));
    let file = FileResource::open_with("/file", options()).unwrap();
    file.write_at(0, b"hello").unwrap();
    assert!(meter.counts().syncs.is_empty());
    file.sync().unwrap();
    file.commit(None).unwrap();
    file.commit(Some(5)).unwrap();
    let syncs = [(SyncSite::ResourceFile, 2), (SyncSite::ResourceDir, 1)];
    assert_eq!(meter.counts().syncs, syncs.into_iter().collect());
}

/// kithara-storage: SIGBUS, exit 135.
#[test]
fn a_full_disk_kills_the_process() {
    for allocates in [true, false] {
        let mut sim = SimFs::new(1);
        if !allocates {
            sim = sim.without(Capability::Allocate);
        }
        sim.set_capacity(Some(100_000));
        let options = || FileOptions::new().fs(Arc::new(sim.clone()));
        let long = FileResource::open_with("/long", options().len(100_001));
        let error = refused(long, ErrorKind::NoSpace);
        assert_eq!(error.outcome(), Outcome::Unchanged);
        assert!(sim.dump().is_empty(), "what a failed open made is a committed file to the next");
        let file = FileResource::open_with("/file", options()).unwrap();
        file.write_at(0, &vec![1; 90_000]).unwrap();
        refused(file.write_at(90_000, &vec![2; 20_000]), ErrorKind::NoSpace);
        assert_eq!((file.ranges().last(), file.len()), (Some(&(0..90_000)), None));
        sim.set_capacity(None);
        file.write_at(90_000, &vec![2; 20_000]).unwrap();
        file.commit(Some(110_000)).unwrap();
        assert_eq!(sim.read("/file").unwrap().len(), 110_000);
    }
}

#[test]
fn a_failed_sync_is_tried_again() {
    for (call, synced) in
        [(CallKind::SyncData, false), (CallKind::SyncDir, false), (CallKind::SyncData, true)]
    {
        let sim = SimFs::new(1);
        let file =
            FileResource::open_with("/file", FileOptions::new().fs(Arc::new(sim.clone()))).unwrap();
        file.write_at(0, b"hello").unwrap();
        sim.inject(Fault::new(FaultKind::Io).on(call));
        let first = if synced { file.sync() } else { file.commit(None) };
        assert_eq!(refused(first, ErrorKind::Io).outcome(), Outcome::Unknown);
        refused(file.commit(None), ErrorKind::Poisoned);
        refused(file.sync(), ErrorKind::Poisoned);
        refused(file.write_at(0, b"x"), ErrorKind::Poisoned);
        refused(file.read_at(0, &mut [0; 5]), ErrorKind::Poisoned);
        refused(file.wait_range(0..5), ErrorKind::Poisoned);
        refused(file.reactivate(), ErrorKind::Poisoned);
        refused(file.view(), ErrorKind::Poisoned);
        file.fail("it stays poisoned".to_owned());
        assert!(matches!(file.status(), ResourceStatus::Failed(why) if why.contains("sync")));
    }
}

/// Polling `contains_range` a million times leaked 76 MB.
#[test]
fn polling_takes_memory() {
    let memory = MemResource::new();
    memory.write_at(100, &[1; 10_000]).unwrap();
    let taken = super::alloc::largest_during(|| {
        for n in 0..10_000 {
            assert!(!memory.contains_range(n..n + 9000) || n >= 100);
            let _gap = memory.next_gap(n, 20_000);
        }
    });
    assert_eq!(taken, 0);
}

#[test]
fn a_cursor_reads_and_seeks_while_it_fills() {
    let memory = MemResource::new();
    memory.write_at(0, b"hello").unwrap();
    let mut cursor = memory.cursor().timeout(Duration::from_millis(1));
    let mut buf = [0; 8];
    assert_eq!((cursor.read(&mut buf).unwrap(), cursor.position()), (5, 5));
    assert_eq!(cursor.read(&mut []).unwrap(), 0);
    assert_eq!(cursor.read(&mut buf).unwrap_err().kind(), io::ErrorKind::TimedOut);
    let error = cursor.seek(SeekFrom::End(-2)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let error = cursor.seek(SeekFrom::Current(-6)).unwrap_err();
    assert_eq!((error.kind(), cursor.position()), (io::ErrorKind::InvalidInput, 5));
    thread::scope(|scope| {
        let rest = scope.spawn(|| {
            let mut rest = Vec::new();
            let mut cursor = memory.cursor();
            cursor.seek(SeekFrom::Start(5)).unwrap();
            cursor.read_to_end(&mut rest).map(|_| rest).unwrap()
        });
        until(|| memory.wanted(1).is_some());
        memory.write_at(5, b" world").unwrap();
        memory.commit(None).unwrap();
        assert_eq!(rest.join().unwrap(), b" world");
    });
    assert_eq!(cursor.seek(SeekFrom::End(-5)).unwrap(), 6);
    assert_eq!(cursor.read(&mut buf).unwrap(), 5);
    assert_eq!((cursor.read(&mut buf).unwrap(), &buf[..5]), (0, &b"world"[..]));
}
