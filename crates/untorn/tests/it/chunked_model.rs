//! Every call of a resource, at random, against a list of bytes that are there or not and a status: a file with a part, a file as it
//! is, and memory give the same answers. Where they differ on purpose, `Kind` says so.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::chunked::{
    AtomicChunked, CheckpointPolicy, ChunkedOptions, FileOptions, FileResource, Identity,
    MemResource, ResourceExt as _, ResourceStatus, StorageResource, WaitOutcome,
};
use untorn::sim::SimFs;
use untorn::{ErrorKind, Result};

const PATH: &str = "/file";
const CHUNK: u64 = 4096;
const LEN: u64 = 10_000;
const SPAN: u64 = 12_000;

/// What the bytes lie in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// In a part: its length is known; a failure or a reopen leaves what is trusted.
    Part,
    /// A file under its own name: a failure leaves what was written.
    Bare,
    Memory,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Active,
    Committed,
    Failed,
}

/// `Incomplete` is told by its gap.
type Answer<T> = Result<T, Result<Range<u64>, ErrorKind>>;

#[derive(Debug)]
struct Model {
    kind: Kind,
    bytes: Vec<Option<u8>>,
    state: State,
    /// Which bytes of a part are trusted.
    trusted: Vec<bool>,
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

impl Model {
    fn new(kind: Kind) -> Self {
        let size = index(2 * SPAN);
        let (bytes, trusted) = (vec![None; size], vec![false; size]);
        Self { kind, bytes, state: State::Active, trusted }
    }

    fn expected(&self) -> Option<u64> {
        (self.kind == Kind::Part).then_some(LEN)
    }

    fn end(&self) -> u64 {
        self.bytes.iter().rposition(Option::is_some).map_or(0, |last| last as u64 + 1)
    }

    fn len(&self) -> Option<u64> {
        (self.state == State::Committed).then(|| self.end())
    }

    fn known_end(&self) -> u64 {
        self.len().or(self.expected()).unwrap_or(u64::MAX)
    }

    fn at(&self, at: u64) -> Option<u8> {
        self.bytes.get(index(at)).copied().flatten()
    }

    fn refuse(&self) -> Answer<()> {
        if self.state == State::Failed { Err(Err(ErrorKind::Failed)) } else { Ok(()) }
    }

    fn gap(&self, from: u64, limit: u64) -> Option<Range<u64>> {
        if self.state == State::Committed {
            return None;
        }
        let limit = limit.min(self.known_end());
        let start = (from..limit).find(|&at| self.at(at).is_none())?;
        let written = limit.min(self.bytes.len() as u64);
        Some(start..(start..written).find(|&at| self.at(at).is_some()).unwrap_or(limit))
    }

    fn read(&self, offset: u64, len: u64) -> Answer<Vec<u8>> {
        self.refuse()?;
        let end = (offset + len).min(self.known_end());
        match self.gap(offset, end) {
            Some(gap) => Err(Ok(gap)),
            None => Ok((offset..end).map(|at| self.at(at).unwrap()).collect()),
        }
    }

    fn contains(&self, range: &Range<u64>) -> bool {
        let end = range.end.min(self.known_end());
        range.start == range.end
            || (range.start < end && (range.start..end).all(|at| self.at(at).is_some()))
    }

    /// `None`: it would wait.
    fn wait(&self, range: &Range<u64>) -> Option<Answer<WaitOutcome>> {
        if let Err(refused) = self.refuse() {
            return Some(Err(refused));
        }
        if range.start >= self.known_end() {
            return Some(Ok(WaitOutcome::Eof));
        }
        self.contains(range).then_some(Ok(WaitOutcome::Ready))
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Answer<()> {
        let end = offset + data.len() as u64;
        // Whether it can be at all comes before whether it can be now.
        if self.expected().is_some_and(|expected| end > expected) {
            return Err(Err(ErrorKind::Precondition));
        }
        self.refuse()?;
        if self.state == State::Committed {
            return Err(Err(ErrorKind::Closed));
        }
        self.distrust(&(offset..end));
        for (at, byte) in (offset..).zip(data) {
            self.bytes[index(at)] = Some(*byte);
        }
        Ok(())
    }

    /// What is trusted of a chunk in one piece is taken back in one piece.
    fn distrust(&mut self, range: &Range<u64>) {
        for at in range.clone() {
            if self.trusted[index(at)] {
                let chunk = at / CHUNK * CHUNK;
                let below = (chunk..at).rev().take_while(|&at| self.trusted[index(at)]).count();
                let run = at - below as u64..chunk + CHUNK;
                for at in run {
                    if !std::mem::take(&mut self.trusted[index(at)]) {
                        break;
                    }
                }
            }
        }
    }

    fn checkpoint(&mut self) {
        self.trusted = self.bytes.iter().map(Option::is_some).collect();
    }

    fn commit(&mut self, len: Option<u64>) -> Answer<()> {
        self.refuse()?;
        if self.state == State::Committed {
            return Ok(());
        }
        if self.expected().is_some_and(|expected| len.is_some_and(|len| len != expected)) {
            return Err(Err(ErrorKind::Precondition));
        }
        let len = self.expected().or(len).unwrap_or_else(|| self.end());
        if let Some(gap) = self.gap(0, len) {
            return Err(Ok(gap));
        }
        self.bytes[index(len)..].fill(None);
        self.trusted.fill(false);
        self.state = State::Committed;
        Ok(())
    }

    /// Replaces everything; of one that failed nothing.
    fn write_all(&mut self, data: &[u8]) -> Answer<()> {
        self.refuse()?;
        let len = data.len() as u64;
        if self.expected().is_some_and(|expected| expected != len) {
            return Err(Err(ErrorKind::Precondition));
        }
        self.clear();
        self.write(0, data)?;
        self.commit(Some(len))
    }

    fn clear(&mut self) {
        self.bytes.fill(None);
        self.trusted.fill(false);
        self.state = State::Active;
    }

    fn reactivate(&mut self) {
        match self.state {
            State::Failed if self.kind == Kind::Part => self.keep_trusted(),
            _ => self.state = State::Active,
        }
    }

    /// Another owner comes: of a part what is trusted is there.
    fn keep_trusted(&mut self) {
        for (byte, trusted) in self.bytes.iter_mut().zip(&self.trusted) {
            *byte = byte.filter(|_| *trusted);
        }
        self.state = State::Active;
    }
}

#[track_caller]
fn same<T: PartialEq + std::fmt::Debug>(found: Result<T>, expected: &Answer<T>) {
    let found = found.map_err(|error| match error.kind() {
        ErrorKind::Incomplete => Ok(error.gap().unwrap()),
        kind => Err(kind),
    });
    assert_eq!(&found, expected);
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

fn open(kind: Kind, sim: &SimFs) -> StorageResource {
    let fs = Arc::new(sim.clone());
    let files = FileOptions::new().fs(fs.clone());
    match kind {
        Kind::Part => {
            let options = ChunkedOptions::new()
                .identity(Identity::new().len(LEN).etag("\"1\""))
                .checkpoint(CheckpointPolicy::Manual)
                .chunk_size(CHUNK)
                .fs(fs);
            let factory = move |path: &Path, _| FileResource::open_with(path, files.clone());
            AtomicChunked::open_with(PathBuf::from(PATH), options, factory).unwrap().into()
        }
        Kind::Bare => FileResource::open_with(PATH, files).unwrap().into(),
        Kind::Memory => MemResource::new().into(),
    }
}

fn run(kind: Kind, seed: u64) {
    let mut rng = Rng(seed);
    let sim = SimFs::new(seed);
    let mut resource = open(kind, &sim);
    let mut model = Model::new(kind);
    for step in 0..50_u64 {
        let mut offset = rng.below(SPAN);
        if rng.below(2) == 0 {
            offset = offset / 2048 * 2048;
        }
        let len = [0, 1, 10, 2048, 4096, LEN][index(rng.below(6))];
        let byte = u8::try_from(step % 251 + 1).unwrap();
        let data = vec![byte; index(len)];
        match rng.below(20) {
            0..8 => same(resource.write_at(offset, &data), &model.write(offset, &data)),
            8 => {
                // As one that fills what is missing.
                while let Some(gap) = resource.next_gap(0, LEN) {
                    let data = vec![byte; index(gap.end - gap.start)];
                    if model.write(gap.start, &data).is_err() {
                        break;
                    }
                    resource.write_at(gap.start, &data).unwrap();
                }
            }
            9 | 10 => {
                let given = [None, Some(model.end()), Some(LEN), Some(offset)];
                let len = given[index(rng.below(4))];
                same(resource.commit(len), &model.commit(len));
            }
            11 if rng.below(3) == 0 => {
                resource.fail("given up".to_owned());
                if model.state == State::Active {
                    model.state = State::Failed;
                }
            }
            12 | 13 => {
                resource.reactivate().unwrap();
                model.reactivate();
            }
            14 if rng.below(2) == 0 => same(resource.write_all(&data), &model.write_all(&data)),
            15 | 16 if model.state == State::Active => {
                resource.sync().unwrap();
                model.checkpoint();
            }
            17 if kind == Kind::Part => {
                drop(resource);
                resource = open(kind, &sim);
                model.keep_trusted();
            }
            _ => {}
        }
        compare(&resource, &model, &(offset..offset + len));
    }
}

fn compare(resource: &StorageResource, model: &Model, range: &Range<u64>) {
    let len = model.len();
    let status = match &model.state {
        State::Active => ResourceStatus::Active,
        State::Committed => ResourceStatus::Committed { final_len: len },
        State::Failed => ResourceStatus::Failed("given up".to_owned()),
    };
    assert_eq!(resource.status(), status);
    assert_eq!((resource.len(), resource.is_empty()), (len, len == Some(0)));
    assert_eq!(resource.path(), (model.kind != Kind::Memory).then_some(Path::new(PATH)));
    let mut buf = vec![0; index(range.end - range.start)];
    let read = resource.read_at(range.start, &mut buf).map(|count| buf[..count].to_vec());
    same(read, &model.read(range.start, range.end - range.start));
    assert_eq!(resource.contains_range(range.clone()), model.contains(range), "{range:?}");
    assert_eq!(resource.next_gap(range.start, range.end), model.gap(range.start, range.end));
    let reversed = Range { start: range.end + 1, end: range.start };
    assert!(!resource.contains_range(reversed.clone()));
    same(resource.wait_range(reversed), &Err(Err(ErrorKind::InvalidInput)));
    if range.is_empty() {
        same(resource.wait_range(range.clone()), &Ok(WaitOutcome::Ready));
    } else if let Some(expected) = model.wait(range) {
        same(resource.wait_range(range.clone()), &expected);
    }
    let mut all = b"before".to_vec();
    let expected = match model.known_end() {
        // Its length is not known: more may come.
        u64::MAX => model.refuse().and_then(|()| {
            let most = 1 << 40;
            Err(Ok(model.gap(0, most).unwrap_or(most..most)))
        }),
        known => model.read(0, known),
    };
    let found = resource.read_into(&mut all).map(|count| all[6..6 + count].to_vec());
    assert!(found.is_ok() || all == b"before");
    same(found, &expected);
    if let (StorageResource::File(file), Kind::Part) = (resource, model.kind) {
        let is = |at: u64| file.trusted_ranges().iter().any(|range| range.contains(&at));
        let last = model.state == State::Active;
        assert!(
            !last || (0..SPAN).step_by(97).all(|at| is(at) == model.trusted[index(at)]),
            "{:?}",
            file.trusted_ranges()
        );
    }
}

#[test]
fn a_part_a_file_and_memory_answer_as_the_model() {
    for seed in 1..1000 {
        for kind in [Kind::Part, Kind::Bare, Kind::Memory] {
            run(kind, seed * 0x9e37_79b9);
        }
    }
}
