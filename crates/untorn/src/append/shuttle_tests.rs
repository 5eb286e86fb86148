//! Publishing, turns and the readers between them, under `shuttle`: it runs the threads one at a time, and chooses at each step
//! which goes on. `cargo xtask ci shuttle` runs a number of such schedules; `UNTORN_SCHEDULES` is another number, `UNTORN_SEED` another choice.
//!
//! A writer does what `commit` does, over a column that is read by calls: each commit has a history drawn with the schedule, and each
//! byte says which commit wrote it. A file takes two steps for a read or a write, so that others come between.
//! Not tried: maps, what `arc_swap` counts, orders weaker than `SeqCst` (the scheduler makes them all that), waits that run out.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "small numbers"
)]

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Count;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use shuttle::rand::{RngCore, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

use super::blocks::{Seed, block_of, start_of, sum_at};
use super::publish::{Published, Shared, View};
use super::range::{Range, Through};
use super::reader::{Reader, Source};
use super::{TailEvent, Verify};
use crate::ErrorKind;
use crate::codec::Raw;
use crate::fs::sealed::Sealed;
use crate::fs::{Ahead, File, Fs, How, Lock, Map, ReadMode, Stat, SyncSite, SyncWhat};
use crate::sim::SimFs;
use crate::sync::{AtomicU64, Ordering};

/// Four are a block.
const SIZE: u64 = 4096;
const LEN_MAX: u64 = 14;
const COMMITS: u64 = 5;
const FOREVER: Duration = Duration::from_secs(3600);

/// A file whose calls others come between, and into.
#[derive(Debug)]
struct Stepping {
    file: Arc<dyn File>,
    step: AtomicU64,
}

impl Stepping {
    fn create(fs: &dyn Fs, name: &str) -> Arc<dyn File> {
        let dir = fs.open_dir(Path::new("/")).unwrap();
        let file = dir.open(OsStr::new(name), How::Create(0o600)).unwrap();
        Arc::new(Self { file, step: AtomicU64::new(0) })
    }

    /// Here the scheduler may choose another thread.
    fn step(&self) {
        self.step.load(Ordering::SeqCst);
    }
}

impl Sealed for Stepping {}

impl File for Stepping {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (first, second) = buf.split_at_mut(buf.len() / 2);
        self.step();
        let got = self.file.read_at(first, offset)?;
        if got < first.len() {
            return Ok(got);
        }
        self.step();
        Ok(got + self.file.read_at(second, offset + got as u64)?)
    }

    fn read_nowait(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buf, offset).map(Some)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        self.step();
        self.file.write_at(first, offset)?;
        self.step();
        self.file.write_at(second, offset + first.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step();
        self.file.set_len(len)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.file.stat()
    }

    fn sync(&self, _what: SyncWhat, _site: SyncSite) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn punch(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reflink_from(&self, _source: &dyn File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map(&self, _len: usize) -> io::Result<Map> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map_ahead(&self, _len: usize) -> io::Result<Ahead> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, _lock: Lock) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_mode(&self, _mode: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_owner(&self, _uid: u32, _gid: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn xattrs(&self) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        self.file.xattrs()
    }

    fn set_xattr(&self, _name: &OsStr, _value: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn to_std(&self) -> io::Result<std::fs::File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What a schedule draws.
fn below(n: u64) -> u64 {
    thread_rng().next_u64() % n
}

/// A writer who does one thing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    NoFreeze,
    /// The turn ends before all is overwritten.
    EarlyFinish,
    /// Nobody is found to hold a state.
    NobodyLives,
    /// A rewind is noted after the state that shows it.
    LateNote,
}

/// What there was to see, so that a run in which nothing met is seen too.
#[derive(Debug, Default)]
struct Seen {
    /// Turns during which someone held a state.
    held: Count,
    /// States that were read, and of these the ones that a turn had changed the bytes of.
    read: Count,
    frozen: Count,
    /// Rewinds that a reader was told of.
    told: Count,
}

/// One commit of a history.
struct Commit {
    /// Elements it keeps of those before it.
    keep: u64,
    /// The turn is dropped with half of the bytes overwritten, and the writer is gone.
    torn: bool,
    durable: bool,
    /// The byte of each element.
    elements: Vec<u8>,
}

impl Commit {
    fn end(&self) -> u64 {
        self.elements.len() as u64 * SIZE
    }

    fn bytes(&self, from: u64) -> Vec<u8> {
        let elements = self.elements.get(from as usize..).unwrap_or_default();
        elements.iter().flat_map(|byte| [*byte; SIZE as usize]).collect()
    }
}

/// What the writer will commit, so that readers know what to expect of a state by its number.
fn history() -> Vec<Commit> {
    let first = (0..5 + below(LEN_MAX - 5)).map(|pos| pos as u8).collect();
    let mut history = vec![Commit { keep: 0, torn: false, durable: true, elements: first }];
    for seq in 1..=COMMITS {
        let mut elements = history.last().unwrap().elements.clone();
        let len = elements.len() as u64;
        let keep = if below(4) == 0 { len } else { below(len + 1) };
        let torn = seq == COMMITS && keep < len && below(2) == 0;
        elements.truncate(keep as usize);
        if !torn {
            let new = keep..keep + below(LEN_MAX - keep + 1);
            elements.extend(new.map(|pos| (seq * 16 + pos) as u8));
        }
        history.push(Commit { keep, torn, durable: below(2) == 0, elements });
    }
    history
}

/// The writer's side.
struct Writer {
    data: Arc<dyn File>,
    sums: Arc<dyn File>,
    seed: Seed,
    view: View,
    wrong: Option<Wrong>,
}

impl Writer {
    fn new(first: &Commit, wrong: Option<Wrong>) -> Self {
        let fs = SimFs::new(1);
        let (data, sums) = (Stepping::create(&fs, "data"), Stepping::create(&fs, "sums"));
        let seed = Seed::new([7; 16], 1);
        let through = Through {
            file: Arc::clone(&data),
            sums: Arc::clone(&sums),
            base: 0,
            seed,
            mode: ReadMode::Pread,
            verify: Verify::FirstTouch,
            reserve: 0,
        };
        let range = Arc::new(Range::new(through, first.end()).unwrap());
        let (len, data_end) = (first.elements.len() as u64, first.end());
        let view = View { data: range, ends: None, fixed: SIZE as u32, first: 0, len, data_end };
        let writer = Self { data, sums, seed, view, wrong };
        writer.data.write_at(&first.bytes(0), 0).unwrap();
        writer.write_sums(first, 0);
        writer.trust_last(&writer.view.data, first.end());
        writer
    }

    fn write_sums(&self, commit: &Commit, from: u64) {
        let first = block_of(from);
        let bytes = commit.bytes(start_of(first) / SIZE);
        let (blocks, _) = bytes.as_chunks::<{ 4 * SIZE as usize }>();
        let sums =
            (first..).zip(blocks).flat_map(|(n, block)| self.seed.sum(n, block).to_le_bytes());
        self.sums.write_at(&sums.collect::<Vec<u8>>(), sum_at(first)).unwrap();
    }

    #[expect(clippy::unused_self, reason = "it is the writer who trusts")]
    fn trust_last(&self, range: &Range, end: u64) {
        range.trust(start_of(block_of(end))..end);
    }

    fn shows(&self, seq: u64, len: u64) -> Published {
        let view = View { len, data_end: len * SIZE, ..self.view.clone() };
        Published { seq, members: Box::new([view]), hold: None }
    }

    /// As the writer does it: `Commit::apply`, with readers who find blocks that nobody compared yet.
    fn commit(&mut self, shared: &Shared, seq: u64, commit: &Commit, seen: &Seen) {
        let (old, keep) = (self.view.data_end, commit.keep * SIZE);
        let (new, end) = (commit.bytes(commit.keep), commit.end());
        if keep == old {
            self.data.write_at(&new, keep).unwrap();
            self.write_sums(commit, keep);
            self.moved(keep, end, false);
            shared.publish(self.shows(seq, commit.elements.len() as u64), commit.durable);
            return;
        }
        // The beginning of the block that is cut becomes the new tail.
        self.view.data.compare(start_of(block_of(keep))..keep).unwrap();
        let turn = shared.turn(self.shows(seq, commit.keep));
        let mut living = turn.living();
        seen.held.fetch_add(usize::from(!living.is_empty()), Relaxed);
        if self.wrong == Some(Wrong::NobodyLives) {
            living.clear();
        }
        for state in &living {
            let view = &state.members[0];
            if view.data_end > keep && self.wrong != Some(Wrong::NoFreeze) {
                view.data.freeze(keep, view.data_end).unwrap();
            }
        }
        let (half, rest) = new.split_at(new.len() / 2);
        self.data.write_at(half, keep).unwrap();
        if self.wrong != Some(Wrong::LateNote) {
            shared.note_rewind(seq, 0, commit.keep);
        }
        if commit.torn {
            return;
        }
        let shown = living.iter().any(|state| Arc::ptr_eq(&state.members[0].data, &self.view.data));
        let mut turn = Some(turn);
        if self.wrong == Some(Wrong::EarlyFinish) {
            self.moved(keep, end, shown);
            turn.take().unwrap().finish(self.shows(seq, commit.elements.len() as u64));
        }
        self.data.write_at(rest, keep + half.len() as u64).unwrap();
        self.write_sums(commit, keep);
        self.data.set_len(end).unwrap();
        drop(living);
        if let Some(turn) = turn {
            self.moved(keep, end, shown);
            turn.finish(self.shows(seq, commit.elements.len() as u64));
        }
        if self.wrong == Some(Wrong::LateNote) {
            shared.note_rewind(seq, 0, commit.keep);
        }
    }

    fn moved(&mut self, keep: u64, end: u64, shown: bool) {
        if shown {
            self.view.data = Arc::new(self.view.data.successor(keep, end).unwrap());
        }
        // What he wrote needs no comparison; half of the time he leaves it to the readers all the same.
        if below(2) == 0 {
            self.view.data.trust(start_of(block_of(keep))..end);
        }
        self.trust_last(&self.view.data, end);
        (self.view.len, self.view.data_end) = (end / SIZE, end);
    }

    fn run(mut self, shared: &Shared, history: &[Commit], seen: &Seen) {
        for (seq, commit) in (0..).zip(history).skip(1) {
            self.commit(shared, seq, commit, seen);
            if below(4) == 0 {
                shared.made_durable();
            }
        }
        shared.made_durable();
        shared.close();
    }
}

/// All that a state shows is what its commit left, in one of the ways to read it.
fn check(state: &Published, history: &[Commit], seen: &Seen) {
    let (view, want) = (&state.members[0], &history[state.seq as usize].elements);
    assert_eq!(view.len as usize, want.len(), "elements of {}", state.seq);
    let compare = |pos: usize, bytes: &[u8]| {
        let fits = bytes.len() == SIZE as usize && bytes.iter().all(|byte| *byte == want[pos]);
        assert!(fits, "element {pos} of the commit {} is {:?}", state.seq, bytes.first());
    };
    match below(4) {
        0 => {
            let mut copy = Vec::new();
            view.data.copy(0..view.data_end, &mut copy).unwrap();
            assert_eq!(copy.len() as u64, view.data_end);
            copy.chunks(SIZE as usize).enumerate().for_each(|(pos, bytes)| compare(pos, bytes));
        }
        1 => view.data.verify(0..view.data_end, view.data_end).unwrap(),
        _ => {
            for pos in 0..view.len {
                compare(pos as usize, &view.cow(pos).unwrap());
            }
        }
    }
    seen.read.fetch_add(1, Relaxed);
    seen.frozen.fetch_add(usize::from(view.data.frozen_bytes() > 0), Relaxed);
}

/// The rewinds since a state, asked for with a later one in hand: all between the two, perhaps one of those to come (P5).
fn check_rewinds(shared: &Shared, since: u64, until: u64, history: &[Commit], seen: &Seen) {
    let told = shared.rewinds_since(since, 0);
    let deepest = |until: u64| {
        let later = (since + 1..=until).filter(|seq| {
            history[*seq as usize].keep < history[*seq as usize - 1].elements.len() as u64
        });
        later.map(|seq| history[seq as usize].keep).min()
    };
    let fits = (until.max(since)..=COMMITS).any(|last| deepest(last) == told);
    assert!(fits, "rewinds since {since}, seen in {until}: {told:?}");
    seen.told.fetch_add(usize::from(told.is_some()), Relaxed);
}

/// Takes states, holds some for a while, and reads them.
fn read(shared: &Shared, history: &[Commit], seen: &Seen) {
    let mut kept: Vec<Arc<Published>> = Vec::new();
    for _ in 0..4 {
        match below(4) {
            0 => shared.with(|state| check(state, history, seen)),
            1 => kept.push(shared.durable()),
            _ => kept.push(shared.visible()),
        }
        if let [first, .., last] = kept.as_slice() {
            check_rewinds(shared, first.seq, last.seq, history, seen);
        }
        match below(3) {
            0 => {}
            1 => kept.iter().for_each(|state| check(state, history, seen)),
            _ => {
                if let Some(state) = kept.last() {
                    check(state, history, seen);
                }
            }
        }
        if !kept.is_empty() && below(3) == 0 {
            drop(kept.swap_remove(below(kept.len() as u64) as usize));
        }
    }
    kept.iter().for_each(|state| check(state, history, seen));
}

/// Follows to the end, and knows then what is there.
fn follow(shared: &Arc<Shared>, history: &[Commit], seen: &Seen) {
    let reader = Reader::<Vec<u8>>::of(Source::Local(Arc::clone(shared)), 0, Arc::new(Raw));
    let mut tail = reader.subscribe(0);
    let mut known: Vec<u8> = Vec::new();
    loop {
        match tail.next(FOREVER) {
            Ok(None) => {}
            Ok(Some(TailEvent::Rewound { to })) => {
                assert!(to < known.len() as u64, "{to} of {}", known.len());
                known.truncate(to as usize);
                seen.told.fetch_add(1, Relaxed);
            }
            Ok(Some(TailEvent::Elements(new))) => {
                assert_eq!(new.start, known.len() as u64);
                // What was rewound meanwhile is told of next.
                let now = reader.durable_snapshot().unwrap();
                let read = |pos| now.get_cow(pos).map_or(255, |element| element[0]);
                known.extend(new.map(read));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed);
                break;
            }
        }
    }
    let last = shared.durable();
    assert_eq!(known, history[last.seq as usize].elements, "as of {}", last.seq);
}

#[derive(Clone, Copy)]
enum Threads {
    TwoReaders,
    ReaderAndFollower,
}

fn schedule(threads: Threads, wrong: Option<Wrong>, seen: &Arc<Seen>) {
    let history = Arc::new(history());
    let writer = Writer::new(&history[0], wrong);
    let shared = Shared::new(writer.shows(0, writer.view.len));
    let others: Vec<_> = (0..2)
        .map(|nth| {
            let (shared, history, seen) =
                (Arc::clone(&shared), Arc::clone(&history), Arc::clone(seen));
            thread::spawn(move || match threads {
                Threads::ReaderAndFollower if nth == 1 => follow(&shared, &history, &seen),
                _ => read(&shared, &history, &seen),
            })
        })
        .collect();
    writer.run(&shared, &history, seen);
    others.into_iter().for_each(|thread| thread.join().unwrap());
    // Whoever is gone holds nothing. Only after a turn that was dropped is the last state read through what was frozen.
    let (states, bytes) = shared.held();
    let torn = history.last().is_some_and(|commit| commit.torn);
    assert!(states == 0 && (bytes == 0 || torn), "{states} states, {bytes} bytes");
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn run(scheduler: impl Scheduler + 'static, threads: Threads, wrong: Option<Wrong>) -> Arc<Seen> {
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    let seen = Arc::new(Seen::default());
    let inner = Arc::clone(&seen);
    let ran = Runner::new(scheduler, config).run(move || schedule(threads, wrong, &inner));
    println!("{ran} schedules: {seen:?}");
    seen
}

fn seed() -> u64 {
    number("UNTORN_SEED", 1) as u64
}

fn explore(scheduler: impl Scheduler + 'static, threads: Threads) {
    let seen = run(scheduler, threads, None);
    for count in [&seen.held, &seen.read, &seen.frozen, &seen.told] {
        assert!(count.load(Relaxed) > 0, "nothing met: {seen:?}");
    }
}

#[test]
fn readers_see_what_was_published_in_random_schedules() {
    let count = number("UNTORN_SCHEDULES", 3000);
    explore(RandomScheduler::new_from_seed(seed(), count), Threads::TwoReaders);
}

#[test]
fn readers_see_what_was_published_where_one_thread_runs_long() {
    let count = number("UNTORN_SCHEDULES", 3000);
    explore(PctScheduler::new_from_seed(seed(), 4, count), Threads::TwoReaders);
}

#[test]
fn a_follower_knows_in_the_end_what_is_there_in_random_schedules() {
    let count = number("UNTORN_SCHEDULES", 3000);
    explore(RandomScheduler::new_from_seed(seed(), count), Threads::ReaderAndFollower);
}

#[test]
fn a_follower_knows_in_the_end_what_is_there_where_one_thread_runs_long() {
    let count = number("UNTORN_SCHEDULES", 3000);
    explore(PctScheduler::new_from_seed(seed(), 4, count), Threads::ReaderAndFollower);
}

/// Each of the writer's duties has a schedule that shows it.
#[test]
fn a_writer_who_does_one_thing_wrong_is_found_out() {
    for wrong in [Wrong::NoFreeze, Wrong::EarlyFinish, Wrong::NobodyLives, Wrong::LateNote] {
        for pct in [false, true] {
            let found = std::thread::spawn(move || {
                if pct {
                    run(PctScheduler::new_from_seed(1, 4, 3000), Threads::TwoReaders, Some(wrong))
                } else {
                    run(RandomScheduler::new_from_seed(1, 3000), Threads::TwoReaders, Some(wrong))
                }
            });
            assert!(found.join().is_err(), "{wrong:?} passed, pct: {pct}");
        }
    }
}
