//! The files of a small fold changed at will, then any calls: a typed error or values that were committed, and never a panic. Records and bases that were
//! forged with their checksums say what they like, but panic neither, nor take more memory than they have bytes. Cursors and lines of NDJSON come back.
#![no_main]

mod kit;

use std::sync::{Arc, LazyLock};

use kit::{changed, forge};
use libfuzzer_sys::fuzz_target;
use untorn::fold::{
    AppendLogSnapshot, Compaction, FoldOptions, KvUpdate, ScanOptions, SnapshotStore, SyncScope,
    VersionToken, WatchCursor, ndjson,
};
use untorn::sim::SimFs;
use untorn::{ErrorKind, OnDamage, Result};

const PATH: &str = "/d/f";
const FILES: [&str; 4] = [
    "/d/f/base",
    "/d/f/log/META",
    "/d/f/log/0000000000000001.seg",
    "/d/f/log/0000000000000002.seg",
];
/// More are not read: what was forged may have any number.
const MOST: usize = 2000;

fn value(n: u64) -> Vec<u8> {
    let len = if n % 7 == 3 { 1100 } else { n * 37 % 130 };
    (0..len).map(|at| ((n * 31 + at * 7 + 1) % 256) as u8).collect()
}

fn put(n: u64) -> KvUpdate {
    KvUpdate::put(format!("k{:02}", n % 40), value(n), VersionToken::from_u64(n))
}

fn options(sim: &SimFs) -> FoldOptions {
    let options = FoldOptions::new().fs(Arc::new(sim.clone())).compaction(Compaction::Manual);
    options.log_segment_bytes(4096).max_value(1 << 20)
}

/// With a base or without, closed or not: 50 puts and some deletes, and what calls put later.
fn whole(base: bool, close: bool) -> SimFs {
    let sim = SimFs::new(1);
    sim.make_dirs("/d").expect("the disk is empty");
    let mut fold = options(&sim).open(PATH).expect("it is new").1;
    for n in (1..50).step_by(5) {
        let mut updates: Vec<_> = (n..n + 5).map(put).collect();
        updates.push(KvUpdate::delete(format!("k{:02}", n % 40), VersionToken::from_u64(n + 4)));
        fold.apply(&updates, &WatchCursor::from_u64(n + 4)).expect("there is room");
        if base && n == 26 {
            fold.compact_all().expect("there is room");
        }
    }
    if close {
        fold.close().expect("there is room");
    } else {
        drop(fold);
    }
    sim.kill()
}

static WHOLE: LazyLock<Vec<SimFs>> =
    LazyLock::new(|| (0..4).map(|nth| whole(nth & 1 == 1, nth & 2 == 2)).collect());

// Of the first byte two bits say which fold, three how many changes there are, one whether the checksums of the base are put right, one whether records
// are added to the log, and the last whether it is cursors and lines instead. A change is: file, offset (two bytes), length; then so many bytes that are
// written there. What is left are calls of two bytes each: which one, and where.
fuzz_target!(|data: &[u8]| {
    let [flags, rest @ ..] = data else { return };
    if flags & 128 != 0 {
        return text(rest);
    }
    let sim = WHOLE[usize::from(flags & 3)].kill();
    let mut forged = flags & 64 != 0;
    let mut rest = if forged { forge(&sim, "/d/f/log", *b"FOLD", rest) } else { rest };
    for _ in 0..flags >> 2 & 7 {
        let [file, low, high, len, after @ ..] = rest else { break };
        let path = FILES[usize::from(*file) % FILES.len()];
        let (change, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        if let Ok(bytes) = sim.read(path) {
            let at = usize::from(u16::from_le_bytes([*low, *high]));
            sim.put(path, &changed(bytes, at, change)).expect("the path is there");
        }
    }
    if flags & 32 != 0 && mend(&sim).is_some() {
        forged = true;
    }
    let mut run = Run { sim, forged };
    run.look();
    for on_damage in [OnDamage::Refuse, OnDamage::Truncate, OnDamage::Salvage] {
        let Some(mut fold) = run.open(on_damage) else { continue };
        run.read_all(&fold);
        for calls in rest.chunks_exact(2) {
            match run.call(fold, calls[0], u64::from(calls[1]), on_damage) {
                Some(next) => fold = next,
                None => break,
            }
        }
    }
    run.look();
});

/// Cursors come back; lines are updates, or an error.
fn text(data: &[u8]) {
    if let Some(cursor) = WatchCursor::from_bytes(data) {
        let bytes = cursor.to_bytes();
        assert_eq!(WatchCursor::from_bytes(&bytes).as_ref(), Some(&cursor));
    }
    let sim = SimFs::new(1);
    sim.make_dirs("/d").expect("the disk is empty");
    let mut fold = options(&sim).open(PATH).expect("it is new").1;
    let applied = ndjson::apply_reader(&mut fold, data, &ndjson::NdjsonOptions::new());
    if typed(applied).is_some() {
        let (cursor, entries) = (fold.cursor(), fold.range("").expect("it is sound"));
        drop(fold);
        let fold = options(&sim.kill()).open(PATH).expect("it is sound").1;
        assert_eq!((fold.cursor(), fold.range("").expect("it is sound")), (cursor, entries));
    }
}

/// Puts the checksums of the base right: of its header and footer, and of what these say is meta, index, and the first block.
fn mend(sim: &SimFs) -> Option<()> {
    fn crc(bytes: &mut [u8], first: u32) -> Option<()> {
        let (body, crc) = bytes.split_last_chunk_mut::<4>()?;
        let mut hasher = crc32fast::Hasher::new_with_initial(first);
        hasher.update(body);
        *crc = hasher.finalize().to_le_bytes();
        Some(())
    }
    fn number(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
        let mut number = [0; 8];
        number[..len].copy_from_slice(bytes.get(at..at + len)?);
        usize::try_from(u64::from_le_bytes(number)).ok()
    }
    let mut bytes = sim.read(FILES[0]).ok()?;
    let foot = bytes.len().checked_sub(64)?;
    for at in [foot, foot + 12] {
        let (start, len) = (number(&bytes, at, 8)?, number(&bytes, at + 8, 4)?);
        if let Some(part) = bytes.get_mut(start..start.checked_add(len)?) {
            crc(part, 0)?;
        }
    }
    // The index begins with the number of blocks, then the place of the first.
    let index = number(&bytes, foot + 12, 8)?;
    if let Some(&[_, low, high, len_low, len_high]) = bytes.get(index..index.checked_add(5)?) {
        let wide = |low: u8, high: u8| usize::from(low & 127) | usize::from(high) << 7;
        let (start, len) = if low < 128 {
            (usize::from(low), wide(high, len_low))
        } else {
            (wide(low, high), wide(len_low, len_high))
        };
        if let Some(block) = bytes.get_mut(start..start.checked_add(len)?) {
            crc(block, crc32fast::hash(&(start as u64).to_le_bytes()));
        }
    }
    let end = bytes.len();
    crc(&mut bytes[foot..end - 8], 0)?;
    crc(bytes.get_mut(..64)?, 0)?;
    sim.put(FILES[0], &bytes).ok()
}

/// Nothing fails on this disk: an error of it is one that we made.
fn typed<T>(result: Result<T>) -> Option<T> {
    result.map_err(|error| assert_ne!(error.kind(), ErrorKind::Io, "{error:?}")).ok()
}

struct Run {
    sim: SimFs,
    forged: bool,
}

impl Run {
    fn open(&self, on_damage: OnDamage) -> Option<AppendLogSnapshot> {
        typed(options(&self.sim).on_damage(on_damage).open(PATH)).map(|(_, fold)| fold)
    }

    /// A value is that of its version.
    fn fits(&self, key: &str, found: &[u8], version: &VersionToken) {
        let known =
            version.as_u64().is_some_and(|n| key == format!("k{:02}", n % 40) && found == value(n));
        assert!(known || self.forged, "{key} is {found:?} of {version:?}");
    }

    fn read_all(&self, fold: &AppendLogSnapshot) {
        let reader = fold.reader();
        for n in 0..42 {
            let key = format!("k{n:02}");
            if let Some(Some(entry)) = typed(reader.get(&key)) {
                self.fits(&key, &entry.value, &entry.version);
            }
        }
        for reverse in [false, true] {
            for entry in reader.scan(&ScanOptions::new().reverse(reverse)).take(MOST) {
                if let Some(entry) = typed(entry) {
                    self.fits(&entry.key, &entry.value, &entry.version);
                }
            }
        }
        typed(reader.count(""));
        typed(reader.snapshot().digest());
    }

    /// Without an owner's rights, and without a change.
    fn look(&self) {
        let before = self.sim.image_hash();
        if let Some((_, mut fold)) = typed(options(&self.sim).read_only(true).open(PATH)) {
            self.read_all(&fold);
            typed(fold.refresh());
        }
        assert_eq!(self.sim.image_hash(), before, "a look changes nothing");
    }

    fn call(
        &mut self,
        mut fold: AppendLogSnapshot,
        which: u8,
        at: u64,
        on_damage: OnDamage,
    ) -> Option<AppendLogSnapshot> {
        let cursor = WatchCursor::from_u64(fold.cursor().as_u64().unwrap_or(0).max(50));
        match which % 12 {
            0..3 => drop(typed(fold.apply(&[put(at), put(at + 300)], &cursor))),
            3 => {
                let version = VersionToken::from_u64(at);
                typed(
                    fold.apply(&[KvUpdate::delete(format!("k{:02}", at % 40), version)], &cursor),
                );
            }
            4 => drop(typed(fold.compact_all())),
            5 => drop(typed(fold.compact_step(at * 64))),
            6 => drop(typed(fold.sync())),
            7 => self.read_all(&fold),
            8 => self.look(),
            9 => {
                let token = typed(fold.begin_sync(SyncScope::all()))?;
                typed(fold.sync_apply(&token, &[put(at)]));
                typed(fold.finish_sync(token, &cursor));
            }
            10 => {
                let held = fold.snapshot();
                typed(fold.apply(&[put(at)], &cursor));
                held.diff(&fold.snapshot()).take(MOST).for_each(|change| drop(typed(change)));
            }
            _ => {
                typed(fold.close());
                return self.open(on_damage);
            }
        }
        Some(fold)
    }
}
