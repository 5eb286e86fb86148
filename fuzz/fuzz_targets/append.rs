//! The files of a small append-only store changed at will, then any calls: a typed error or elements that were written where they
//! are read, and never a panic. Records that were forged with their checksums say what they like, but panic neither.
#![no_main]

mod kit;

use std::sync::{Arc, LazyLock};

use kit::{changed, forge};
use libfuzzer_sys::fuzz_target;
use untorn::append::{AppendOnlyFile, OpenOptions, Snapshot};
use untorn::sim::SimFs;
use untorn::{ErrorKind, OnDamage, Result};

const PATH: &str = "/d/a";
const SIZE: u32 = 40;
/// More are not read: a record that was forged may say that there are any number.
const MOST: usize = 2000;
/// What calls append.
const NEW: u64 = 9999;
const FILES: [&str; 7] = [
    PATH,
    "/d/a.untorn/META",
    "/d/a.untorn/log/META",
    "/d/a.untorn/log/0000000000000001.seg",
    "/d/a.untorn/sums.0.0",
    "/d/a.untorn/ends.0.0",
    "/d/a.untorn/esums.0.0",
];

type File = AppendOnlyFile<Vec<u8>>;

fn element(n: u64, variable: bool) -> Vec<u8> {
    let len = if variable { n * 37 % 90 } else { u64::from(SIZE) };
    (0..len).map(|at| ((n * 31 + at * 7 + 1) % 256) as u8).collect()
}

/// A store, and the elements that its states had.
struct Whole {
    sim: SimFs,
    variable: bool,
    states: Vec<Vec<Vec<u8>>>,
}

impl Whole {
    /// Three commits, the second of which rewinds, and one that nothing vouches for.
    fn new(variable: bool, close: bool, large: bool) -> Self {
        let sim = SimFs::new(1);
        sim.make_dirs("/d").expect("the disk is empty");
        let mut whole = Self { sim, variable, states: vec![Vec::new()] };
        let mut file = whole.options(&whole.sim, OnDamage::Refuse).open(PATH).expect("it is new");
        // More than a block, so that there are checksums, and beside the log.
        let much = if large { 500 } else { 20 };
        for (keep, add) in [(0, 0..much), (12, 1000..1000 + much), (usize::MAX, 2000..2012)] {
            let mut next = whole.states.last().cloned().unwrap_or_default();
            next.truncate(keep);
            file.rewind(next.len() as u64).expect("they are there");
            let kept = next.len();
            next.extend(add.map(|n| element(n, variable)));
            file.append_batch(&next[kept..]).expect("they have their size");
            file.flush().expect("there is room");
            whole.states.push(next);
        }
        let mut next = whole.states.last().cloned().unwrap_or_default();
        next.push(element(3000, variable));
        file.append_batch(next.last()).expect("it has its size");
        file.write().expect("there is room");
        whole.states.push(next);
        if close {
            file.close().expect("there is room");
        } else {
            drop(file);
        }
        whole.sim = whole.sim.kill();
        whole
    }

    fn options(&self, sim: &SimFs, on_damage: OnDamage) -> OpenOptions<Vec<u8>> {
        let options = OpenOptions::new().inline_limit(2048).log_segment_bytes(4096);
        let options = options.on_damage(on_damage).fs(Arc::new(sim.clone()));
        if self.variable { options } else { options.fixed(SIZE) }
    }

    /// Whether that element was ever there; anywhere, if positions have shifted.
    fn knows(&self, at: u64, bytes: &[u8], shifted: bool) -> bool {
        let is = |known: &Vec<u8>| known == bytes;
        let there = |state: &Vec<Vec<u8>>| match usize::try_from(at) {
            Ok(at) if !shifted => state.get(at).is_some_and(is),
            _ => state.iter().any(is),
        };
        self.states.iter().any(there) || element(NEW, self.variable) == bytes
    }
}

static WHOLE: LazyLock<Vec<Whole>> = LazyLock::new(|| {
    let bit = |nth: u8, bit: u8| nth >> bit & 1 == 1;
    (0..8).map(|nth| Whole::new(bit(nth, 0), bit(nth, 1), bit(nth, 2))).collect()
});

// Of the first byte three bits say which store, three how many changes there are, one whether the checksum of META is put right, and the
// last whether records are added to the log: how many, and of each its length and its bytes. A change is: file, offset (two bytes),
// length; then so many bytes that are written there. What is left are calls of two bytes each: which one, and where.
fuzz_target!(|data: &[u8]| {
    let [flags, rest @ ..] = data else { return };
    let whole = &WHOLE[usize::from(flags & 7)];
    let sim = whole.sim.kill();
    let mut rest = rest;
    let forged = flags & 128 != 0;
    if forged {
        rest = forge(&sim, "/d/a.untorn/log", *b"APND", rest);
    }
    for _ in 0..flags >> 3 & 7 {
        let [file, low, high, len, after @ ..] = rest else { break };
        let path = FILES[usize::from(*file) % FILES.len()];
        let (change, after) = after.split_at(usize::from(*len).min(after.len()));
        let at = usize::from(u16::from_le_bytes([*low, *high]));
        rest = after;
        // Those of variable size alone have ends.
        if let Ok(bytes) = sim.read(path) {
            sim.put(path, &changed(bytes, at, change)).expect("the path is there");
        }
    }
    if flags & 64 != 0 {
        let mut bytes = sim.read(FILES[1]).unwrap_or_default();
        if let Some((body, crc)) = bytes.split_last_chunk_mut::<4>() {
            *crc = crc32fast::hash(body).to_le_bytes();
        }
        sim.put(FILES[1], &bytes).expect("the path is there");
    }
    let mut run = Run { whole, sim, shifted: false, forged };
    run.look();
    for on_damage in [OnDamage::Refuse, OnDamage::Truncate, OnDamage::Salvage] {
        let Some(mut file) = run.open(on_damage) else { continue };
        run.read_all(&file);
        let mut held = None;
        for calls in rest.chunks_exact(2) {
            match run.call(file, &mut held, calls[0], u64::from(calls[1]) * 4, on_damage) {
                Some(next) => file = next,
                None => break,
            }
        }
    }
    run.look();
});

/// Nothing fails on this disk: an error of it is one that we made.
fn typed<T>(result: Result<T>) -> Option<T> {
    result.map_err(|error| assert_ne!(error.kind(), ErrorKind::Io, "{error:?}")).ok()
}

struct Run {
    whole: &'static Whole,
    sim: SimFs,
    shifted: bool,
    forged: bool,
}

impl Run {
    fn open(&self, on_damage: OnDamage) -> Option<File> {
        typed(self.whole.options(&self.sim, on_damage).open(PATH))
    }

    fn fits(&self, at: u64, bytes: &[u8]) {
        let known = self.forged || self.whole.knows(at, bytes, self.shifted);
        assert!(known, "element {at} is {bytes:?}");
    }

    fn read_all(&self, file: &File) {
        let mut bytes = Vec::new();
        for at in (file.first()..file.size_unsync_in_elmts().unwrap_or(0)).take(MOST) {
            bytes.clear();
            if typed(file.copy_to(at, &mut bytes)).is_some() {
                self.fits(at, &bytes);
            }
        }
    }

    fn read_snapshot(&self, snapshot: &Snapshot<Vec<u8>>) {
        for at in (snapshot.first()..snapshot.len()).take(MOST) {
            if let Some(bytes) = typed(snapshot.get_cow(at)) {
                self.fits(at, &bytes);
            }
        }
        typed(snapshot.verify(.., |_| {}));
        typed(snapshot.write_to(&mut std::io::sink(), ..));
    }

    /// Without an owner's rights, and without a change.
    fn look(&self) {
        let before = self.sim.image_hash();
        let options = self.whole.options(&self.sim, OnDamage::Refuse);
        typed(options.check(PATH, |_, _| {}));
        if let Some(snapshot) = typed(options.open_read_only(PATH).and_then(|r| r.snapshot())) {
            self.read_snapshot(&snapshot);
        }
        assert_eq!(self.sim.image_hash(), before, "a look changes nothing");
    }

    fn call(
        &mut self,
        mut file: File,
        held: &mut Option<Snapshot<Vec<u8>>>,
        which: u8,
        at: u64,
        on_damage: OnDamage,
    ) -> Option<File> {
        match which % 18 {
            0..3 => drop(typed(file.append(&element(NEW, self.whole.variable)))),
            3 => drop(typed(file.flush())),
            4 => drop(typed(file.write())),
            5 => drop(typed(file.sync())),
            6 => drop(typed(file.rewind(at))),
            7 => {
                // What is held was read where it was before.
                *held = None;
                self.shifted = true;
                typed(file.compact([at]));
            }
            8 => drop(typed(file.drop_head(at))),
            9 => self.read_all(&file),
            10 => file.discard(),
            11 => {
                if let Some(mark) = typed(file.savepoint()) {
                    typed(file.rewind(at));
                    typed(file.rollback_to(&mark));
                }
            }
            12 => *held = typed(file.snapshot()),
            13 => {
                if let Some(snapshot) = held.take() {
                    self.read_snapshot(&snapshot);
                }
            }
            14 => {
                *held = None;
                typed(file.init());
            }
            15 => self.look(),
            16 => drop(typed(file.export_size_file("/d/sizes".as_ref()))),
            _ => {
                *held = None;
                typed(file.close());
                return self.open(on_damage);
            }
        }
        Some(file)
    }
}
