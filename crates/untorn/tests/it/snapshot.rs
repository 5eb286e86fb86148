//! Snapshots: the failures of earlier crates, the bytes, and what any bytes are answered with.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::codec::{Codec, Json, Raw};
use untorn::fs::Fs as _;
use untorn::sim::{CallKind, Effect, Fault, FaultKind, Meter, SimFs};
use untorn::snapshot::{
    FrameBytes, Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotInfo, SnapshotLoader,
    SnapshotOptions, SnapshotWriter,
};
use untorn::{Error, ErrorKind, Outcome, Result};

use crate::alloc::largest_during;

const PATH: &str = "/data/state";
const LAYOUTS: [Layout; 2] = [Layout::Frame, Layout::Blocks];

const FRAME: &[u8] = include_bytes!("../golden/v1/frame.snap");
const BLOCKS: &[u8] = include_bytes!("../golden/v1/blocks.snap");
const OF_A_MACHINE: &[u8] = include_bytes!("../golden/v1/blocks-of-a-machine.snap");

type Map = BTreeMap<String, u32>;

fn disk() -> SimFs {
    let sim = SimFs::new(1);
    sim.make_dirs("/data").unwrap();
    sim
}

fn holding(bytes: &[u8]) -> SimFs {
    let sim = disk();
    sim.put(PATH, bytes).unwrap();
    sim
}

fn on<S>(sim: &SimFs) -> SnapshotOptions<S> {
    SnapshotOptions::new().fs(Arc::new(sim.clone()))
}

fn raw(sim: &SimFs, layout: Layout) -> SnapshotOptions<Vec<u8>, Raw> {
    SnapshotOptions::with_codec(Raw).layout(layout).fs(Arc::new(sim.clone()))
}

fn writer<S, C: Codec<S>>(options: SnapshotOptions<S, C>) -> SnapshotFsWriter<S, C> {
    SnapshotFsWriter::with(PATH, options).unwrap()
}

fn save<S, C: Codec<S>>(options: SnapshotOptions<S, C>, value: &S) -> Result<()> {
    let mut writer = SnapshotFsWriter::with(PATH, options)?;
    writer.write(value)?;
    writer.close()
}

fn load<S, C: Codec<S>>(options: SnapshotOptions<S, C>) -> Result<Option<S>> {
    SnapshotFsLoader::with(PATH, options).load()
}

fn info(sim: &SimFs) -> Result<Option<SnapshotInfo>> {
    SnapshotFsLoader::with(PATH, on::<Map>(sim)).info()
}

fn map(n: u32) -> Map {
    Map::from([("a".to_owned(), n)])
}

/// Names in the directory but that of the snapshot.
fn left_overs(sim: &SimFs) -> Vec<PathBuf> {
    let names = sim.dump().into_keys();
    let in_data = |path: &PathBuf| path.parent() == Some(Path::new("/data"));
    names.filter(|path| in_data(path) && path != Path::new(PATH)).collect()
}

#[track_caller]
fn fails<T: Debug>(result: Result<T>, kind: ErrorKind) -> Error {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (kind, Outcome::Unchanged), "{error}");
    error
}

/// A writer was opened for the next snapshot, the program found that there was nothing to write, and closed it: an empty file
/// replaced the good snapshot, and the next start began from nothing. (actionqueue-storage 0.1.2, reproduced.)
#[test]
fn a_close_without_a_write_keeps_the_old_snapshot() {
    for layout in LAYOUTS {
        let sim = disk();
        save(on(&sim).layout(layout), &map(1)).unwrap();
        fails(writer(on::<Map>(&sim).layout(layout)).close(), ErrorKind::Incomplete);
        assert_eq!(load(on(&sim)).unwrap(), Some(map(1)));

        // The same after a write that failed, also if one succeeded before it.
        let mut late = writer(on::<Map>(&sim).layout(layout));
        late.write(&map(2)).unwrap();
        sim.inject(Fault::new(FaultKind::NoSpace).on(CallKind::Write).effect(Effect::Prefix));
        fails(late.write(&map(3)), ErrorKind::NoSpace);
        fails(late.flush(), ErrorKind::Incomplete);
        fails(late.close(), ErrorKind::Incomplete);
        assert_eq!(load(on(&sim)).unwrap(), Some(map(1)));
        assert!(left_overs(&sim).is_empty());

        // One that succeeds afterwards makes it whole again, and nothing of the others is left in it.
        let mut late = writer(raw(&sim, layout));
        sim.inject(Fault::new(FaultKind::NoSpace).on(CallKind::Write).effect(Effect::Prefix));
        fails(late.write(&vec![7; 5000]), ErrorKind::NoSpace);
        late.write(&b"short".to_vec()).unwrap();
        late.close().unwrap();
        assert_eq!(load(raw(&sim, layout)).unwrap(), Some(b"short".to_vec()));
    }
}

/// Two writers of one path shared `<path>.tmp`: one renamed or unlinked what the other was writing, and said Ok. (actionqueue-storage
/// 0.1.2, reproduced.)
#[test]
fn of_two_writers_the_last_close_wins_whole() {
    for layout in LAYOUTS {
        let sim = disk();
        let mut one = writer(on::<Map>(&sim).layout(layout));
        one.write(&map(1)).unwrap();
        let mut two = writer(on::<Map>(&sim).layout(layout));
        two.write(&map(2)).unwrap();
        let three = writer(on::<Map>(&sim).layout(layout));
        two.close().unwrap();
        assert_eq!(load(on(&sim)).unwrap(), Some(map(2)));
        drop(three);
        one.close().unwrap();
        assert_eq!(load(on(&sim)).unwrap(), Some(map(1)));
        assert!(left_overs(&sim).is_empty());
    }
}

/// `SnapshotFsWriter::new("state.snap")`: close failed, since the directory of a bare name is "", and this after the rename had worked.
/// (actionqueue-storage 0.1.2, reproduced.)
#[test]
fn a_bare_file_name_works() {
    let sim = disk();
    let mut bare = SnapshotFsWriter::with("state", on::<Map>(&sim)).unwrap();
    bare.write(&map(1)).unwrap();
    bare.close().unwrap();
    assert_eq!(SnapshotFsLoader::with("state", on::<Map>(&sim)).load().unwrap(), Some(map(1)));
}

#[test]
fn a_path_without_a_file_name_is_invalid() {
    let sim = disk();
    for path in ["", "/", "..", "/data/", "/data/.."] {
        let error = SnapshotFsWriter::with(path, on::<Map>(&sim)).map(drop);
        fails(error, ErrorKind::InvalidInput);
    }
    let missing = SnapshotFsWriter::with("/missing/state", on::<Map>(&sim)).map(drop);
    fails(missing, ErrorKind::NotFound);
    let loaded = SnapshotFsLoader::with("/missing/state", on::<Map>(&sim)).load();
    assert_eq!(loaded.unwrap(), None);
    fails(SnapshotFsLoader::with("/data", on::<Map>(&sim)).load(), ErrorKind::Precondition);
}

/// 402 MiB of JSON were published, and could never be loaded: the loader had a limit of 256 MiB, the writer none. (actionqueue-storage
/// 0.1.2, reproduced.)
#[test]
fn what_is_too_large_to_be_loaded_is_not_published() {
    for layout in LAYOUTS {
        let sim = disk();
        let limited = || raw(&sim, layout).max_payload(3000);
        save(limited(), &vec![1; 3000]).unwrap();
        let error = fails(save(limited(), &vec![2; 3001]), ErrorKind::TooLarge);
        assert!(error.to_string().contains("max_payload"), "{error}");
        assert_eq!(error.path(), Some(Path::new(PATH)));
        assert_eq!(load(limited()).unwrap(), Some(vec![1; 3000]));
        // As it passes: nothing of what is behind the limit is written.
        let mut late = writer(limited().codec(Endless));
        fails(late.write(&Vec::new()), ErrorKind::TooLarge);
        drop(late);

        let loaded = load(limited().max_payload(2999));
        fails(loaded, ErrorKind::TooLarge);
    }
    assert_eq!(SnapshotOptions::<Map>::new().max_payload, u64::from(u32::MAX));
    assert_eq!(SnapshotOptions::<Map>::MAX_PAYLOAD, u64::from(u32::MAX));
}

/// Writes for ever, unless it is stopped.
struct Endless;

impl Codec<Vec<u8>> for Endless {
    const NAME: &'static str = "endless";

    fn encode(&self, _: &Vec<u8>, _: &mut Vec<u8>) -> Result<()> {
        unreachable!("the writer streams");
    }

    fn encode_to(&self, _: &Vec<u8>, out: &mut dyn io::Write) -> Result<()> {
        while out.write_all(&[7; 100]).is_ok() {}
        assert!(out.write_all(b"more").is_err(), "what failed goes on failing");
        // It hides that it failed.
        Ok(())
    }

    fn decode(&self, _: &[u8]) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// A frame has no room for more than its length field says. The message says which layout has.
#[test]
fn more_than_a_frame_holds_names_the_other_layout() {
    struct Huge;
    impl Codec<Vec<u8>> for Huge {
        const NAME: &'static str = "huge";
        fn encode(&self, _: &Vec<u8>, _: &mut Vec<u8>) -> Result<()> {
            unreachable!("the writer streams");
        }
        fn encode_to(&self, bytes: &Vec<u8>, out: &mut dyn io::Write) -> Result<()> {
            let count = (1_u64 << 32) / bytes.len() as u64;
            (0..count).try_for_each(|_| out.write_all(bytes)).map_err(|e| {
                let ours = e.downcast::<Error>().unwrap();
                assert!(ours.to_string().contains("Layout::Blocks"), "{ours}");
                ours
            })
        }
        fn decode(&self, _: &[u8]) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
    }
    // No disk has to hold 4 GiB for this: writes are counted and dropped.
    let sim = disk();
    sim.inject(Fault::new(FaultKind::Dropped).on(CallKind::Write).lasting());
    for max in [u64::MAX, u64::from(u32::MAX)] {
        let mut late = writer(raw(&sim, Layout::Frame).codec(Huge).max_payload(max));
        let error = fails(late.write(&vec![0; 1 << 22]), ErrorKind::TooLarge);
        assert!(error.to_string().contains("Layout::Blocks"), "{error}");
    }
}

/// A shorter second write left the tail of the first one in the file, and the loader ignored what followed the frame. (actionqueue-storage
/// 0.1.2.)
#[test]
fn a_second_write_replaces_the_first_whole() {
    for layout in LAYOUTS {
        let sim = disk();
        let mut twice = writer(raw(&sim, layout));
        for len in [700_000, 3_000_000, 10, 0, 100] {
            twice.write(&vec![9; len]).unwrap();
        }
        twice.close().unwrap();
        assert_eq!(load(raw(&sim, layout)).unwrap(), Some(vec![9; 100]));
        let around = if layout == Layout::Frame { 12 } else { 128 + 16 + 32 };
        assert_eq!(sim.read(PATH).unwrap().len(), around + 100);
    }
}

#[test]
fn what_follows_the_end_is_damage() {
    for golden in [FRAME, BLOCKS] {
        for tail in [&b"\0"[..], b"}", &[0; 4096], golden] {
            let sim = holding(&[golden, tail].concat());
            fails(load(on::<Map>(&sim)), ErrorKind::Damaged);
            fails(info(&sim), ErrorKind::Damaged);
        }
    }
}

/// Every prefix and every single bit that is changed: a typed error, never another value.
#[test]
fn a_cut_or_a_changed_bit_is_never_a_value() {
    let known = [ErrorKind::Damaged, ErrorKind::NewerFormat];
    for golden in [FRAME, BLOCKS, OF_A_MACHINE] {
        assert_eq!(load(on(&holding(golden))).unwrap(), Some(map(1)));
        let cuts = (0..golden.len()).map(|len| golden[..len].to_vec());
        let flips = (0..golden.len() * 8).map(|bit| {
            let mut bytes = golden.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        for bytes in cuts.chain(flips) {
            let sim = holding(&bytes);
            let error = load(on::<Map>(&sim)).unwrap_err();
            assert!(known.contains(&error.kind()), "{error}: {}", bytes.escape_ascii());
            assert_eq!(error.path(), Some(Path::new(PATH)), "{error}");
            assert!(error.offset().is_some(), "{error}");
            let mut loader = SnapshotFsLoader::with(PATH, on::<Map>(&sim));
            assert!(known.contains(&loader.verify().unwrap_err().kind()));
            assert!(known.contains(&loader.load_bytes().unwrap_err().kind()));
            // The headers alone may be good.
            assert!(loader.info().map_or_else(|e| known.contains(&e.kind()), |i| i.is_some()));
        }
    }
}

/// A length that was changed made the loader ask for as much memory as it said.
#[test]
fn no_length_takes_memory() {
    let le = u32::to_le_bytes;
    let seal = |bytes: &mut Vec<u8>, from: usize| {
        let crc = crc32fast::hash(&bytes[from..]);
        bytes.extend(le(crc));
    };
    let mut hostile: Vec<(Vec<u8>, ErrorKind)> = Vec::new();
    for len in [0, 6, 8, 1 << 20, 1 << 31, u32::MAX] {
        let frame = [&le(4)[..], &le(len), &FRAME[8..]].concat();
        hostile.push((frame, ErrorKind::Damaged));
        // The length of a block, raw or stored.
        for field in [128, 132] {
            let mut blocks = BLOCKS.to_vec();
            blocks[field..field + 4].copy_from_slice(&le(len));
            hostile.push((blocks, ErrorKind::Damaged));
        }
        // The totals of the trailer, with a right checksum.
        for field in [4, 8, 12, 16, 20] {
            if (field, len) == (12, 0) || (field, len) == (20, 0) {
                continue; // those are 0 already
            }
            let mut blocks = BLOCKS[..BLOCKS.len() - 4].to_vec();
            let trailer = blocks.len() - 28;
            blocks[trailer + field..trailer + field + 4].copy_from_slice(&le(len));
            seal(&mut blocks, trailer);
            hostile.push((blocks, ErrorKind::Damaged));
        }
        // The length of the header itself.
        let mut blocks = BLOCKS.to_vec();
        blocks[12..16].copy_from_slice(&le(len));
        hostile.push((blocks, ErrorKind::Damaged));
    }
    for (bytes, kind) in hostile {
        let sim = holding(&bytes);
        let largest = largest_during(|| {
            for _ in 0..2 {
                fails(load(on::<Map>(&sim)), kind);
                let mut loader = SnapshotFsLoader::with(PATH, on::<Map>(&sim));
                fails(loader.verify(), kind);
            }
        });
        assert!(largest < 16 << 10, "{largest}: {}", bytes.escape_ascii());
    }
}

#[test]
fn blocks_in_another_order_or_number_are_damage() {
    let (head, prefix) = (128, 16);
    let block = |n: usize| {
        let start = head + n * (prefix + 3);
        start..(start + prefix + 3).min(OF_A_MACHINE.len() - 32)
    };
    let parts: Vec<&[u8]> = (0..3).map(|n| &OF_A_MACHINE[block(n)]).collect();
    let (header, trailer) = (&OF_A_MACHINE[..head], &OF_A_MACHINE[OF_A_MACHINE.len() - 32..]);
    let with = |blocks: &[&[u8]]| [&[header][..], blocks, &[trailer]].concat().concat();
    assert_eq!(with(&parts), OF_A_MACHINE);
    for order in [[1, 0, 2], [0, 0, 2], [1, 1, 2]] {
        let sim = holding(&with(&order.map(|n| parts[n])));
        fails(load(on::<Map>(&sim)), ErrorKind::Damaged);
    }
    fails(load(on::<Map>(&holding(&with(&parts[..2])))), ErrorKind::Damaged);
    // A block of another file: the salt is another one.
    let foreign = [&BLOCKS[128..144], b"{\"a\"".as_slice()].concat();
    let sim = holding(&with(&[&foreign, parts[1], parts[2]]));
    fails(load(on::<Map>(&sim)), ErrorKind::Damaged);
}

/// A block as a liar writes it: all its checksums are right.
#[derive(Clone, Copy)]
struct Forged<'a> {
    raw: usize,
    stored: usize,
    index: u32,
    bytes: &'a [u8],
}

/// A file of the header of `BLOCKS` and these blocks, and a trailer that agrees with them; `twist` changes the trailer before it is sealed.
fn forge(blocks: &[Forged<'_>], twist: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let crc = |bytes: &[u8], seed: u32| {
        let mut hasher = crc32fast::Hasher::new_with_initial(seed);
        hasher.update(bytes);
        hasher.finalize()
    };
    let le = |len: usize| u32::try_from(len).unwrap().to_le_bytes();
    let mut file = BLOCKS[..128].to_vec();
    let salt = u32::from_le_bytes(BLOCKS[120..124].try_into().unwrap());
    let (mut running, mut raw, mut stored) = (salt, 0, 0);
    for block in blocks {
        let prefix = [le(block.raw), le(block.stored), block.index.to_le_bytes()].concat();
        let of_block = crc(block.bytes, crc(&prefix, salt)).to_le_bytes();
        file.extend([&prefix, &of_block[..], block.bytes].concat());
        running = crc(&of_block, running);
        (raw, stored) = (raw + block.raw, stored + block.stored);
    }
    let count = le(blocks.len());
    let mut trailer = [[0xff; 4], count, le(raw), [0; 4], le(stored), [0; 4]].concat();
    trailer.extend(running.to_le_bytes());
    twist(&mut trailer);
    let sealed = crc(&trailer, 0).to_le_bytes();
    file.extend(trailer);
    file.extend(sealed);
    file
}

#[test]
fn blocks_with_right_checksums_that_cannot_be_true_are_damage() {
    let whole = |index, bytes| {
        let len = <[u8]>::len(bytes);
        Forged { raw: len, stored: len, index, bytes }
    };
    let (one, two) = (whole(0, b"{\"a\""), whole(1, b":1}"));
    assert_eq!(load(on(&holding(&forge(&[one, two], |_| {})))).unwrap(), Some(map(1)));
    let large = vec![b' '; (1 << 20) + 1];
    let full = [&b"{}"[..], &large[..(1 << 20) - 2]].concat();
    let at_most = forge(&[whole(0, &full)], |_| {});
    assert_eq!(load(on(&holding(&at_most))).unwrap(), Some(Map::new()));
    let lies = [
        ("the first block twice", forge(&[one, one], |_| {})),
        ("another order", forge(&[two, one], |_| {})),
        ("a number left out", forge(&[one, Forged { index: 2, ..two }], |_| {})),
        ("an empty block", forge(&[one, whole(1, b""), Forged { index: 2, ..two }], |_| {})),
        ("a block that is too large", forge(&[whole(0, &large)], |_| {})),
        ("shorter raw than stored", forge(&[one, Forged { raw: 2, ..two }], |_| {})),
        ("longer raw than stored", forge(&[one, Forged { raw: 4, ..two }], |_| {})),
        // The totals are right, so that only the block itself can tell.
        ("raw lengths that make up for each other", {
            forge(&[Forged { raw: 5, ..one }, Forged { raw: 2, ..two }], |_| {})
        }),
        ("other blocks than the trailer's", forge(&[one, two], |trailer| trailer[24] ^= 1)),
        ("two blocks too few", forge(&[one, two], |trailer| trailer[4] = 0)),
    ];
    for (lie, bytes) in lies {
        let sim = holding(&bytes);
        let error = load(on::<Map>(&sim)).expect_err(lie);
        assert_eq!(error.kind(), ErrorKind::Damaged, "{lie}: {error}");
        let verified = SnapshotFsLoader::with(PATH, on::<Map>(&sim)).verify();
        assert_eq!(verified.expect_err(lie).kind(), ErrorKind::Damaged, "{lie}");
    }
    // A block that says to be longer than the file, in both lengths.
    for len in [8_u32, 1 << 20, 1 << 31, u32::MAX - 1] {
        let mut bytes = BLOCKS.to_vec();
        bytes[128..132].copy_from_slice(&len.to_le_bytes());
        bytes[132..136].copy_from_slice(&len.to_le_bytes());
        let sim = holding(&bytes);
        let largest = largest_during(|| drop(fails(load(on::<Map>(&sim)), ErrorKind::Damaged)));
        assert!(largest < 16 << 10, "{largest} for {len}");
    }
}

#[test]
fn later_versions_are_no_damage() {
    let changed = |at: usize, value: u8| {
        let mut bytes = BLOCKS.to_vec();
        bytes[at] = value;
        let crc = crc32fast::hash(&bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        holding(&bytes)
    };
    for (at, value, kind) in [
        (8, 2, ErrorKind::NewerFormat),
        (10, 8, ErrorKind::NewerFormat),
        (10, 2, ErrorKind::Unsupported),
        (10, 4, ErrorKind::Unsupported),
        (72, b'x', ErrorKind::Precondition),
    ] {
        fails(load(on::<Map>(&changed(at, value))), kind);
    }
    let told = load(on::<Map>(&changed(10, 4))).unwrap_err().to_string();
    assert!(told.contains("zstd"), "{told}");
    let told = load(on::<Map>(&changed(72, b'x'))).unwrap_err().to_string();
    assert!(told.contains("\"xson\"") && told.contains("\"json\""), "{told}");

    // A longer header: its checksum stands at its end.
    let mut longer = [&BLOCKS[..124], &[0; 12]].concat();
    (longer[8], longer[12]) = (2, 140);
    longer.extend(crc32fast::hash(&longer).to_le_bytes());
    longer.extend([7; 100]);
    fails(load(on::<Map>(&holding(&longer))), ErrorKind::NewerFormat);
    longer[20] ^= 1;
    fails(load(on::<Map>(&holding(&longer))), ErrorKind::Damaged);

    let frame = load(on::<Map>(&holding(FRAME)).version(5));
    let told = fails(frame, ErrorKind::NewerFormat).to_string();
    assert!(told.contains("version 4") && told.contains("expected is 5"), "{told}");
}

/// A killed writer left its temporary for ever; a directory filled up with them. (actionqueue 0.3.0.)
#[test]
fn what_a_dead_writer_left_is_swept_and_a_live_one_stays() {
    let sim = disk();
    let mut dead = writer(on::<Map>(&sim));
    dead.write(&map(1)).unwrap();
    let mut other = SnapshotFsWriter::with("/data/other", on::<Map>(&sim)).unwrap();
    other.write(&map(1)).unwrap();
    let sim = sim.kill();
    drop((dead, other));
    assert_eq!(left_overs(&sim).len(), 2);

    let mut live = writer(on::<Map>(&sim));
    live.write(&map(2)).unwrap();
    let left = left_overs(&sim);
    assert_eq!(left.len(), 2, "the dead one's is gone, that of another path is not ours: {left:?}");
    assert!(left.iter().any(|path| path.to_string_lossy().contains(".other.")));
    let second = writer(on::<Map>(&sim));
    assert_eq!(left_overs(&sim).len(), 3, "a live one's stays");
    drop(second);
    live.close().unwrap();
    assert_eq!(load(on(&sim)).unwrap(), Some(map(2)));
}

/// What cannot be swept is no reason not to write.
#[test]
fn a_sweep_that_fails_is_not_told() {
    let sim = disk();
    sim.inject(Fault::new(FaultKind::Io).on(CallKind::List));
    save(on(&sim), &map(1)).unwrap();
    assert_eq!(load(on(&sim)).unwrap(), Some(map(1)));
}

#[test]
fn golden_bytes_are_written_and_read() {
    let sim = disk();
    save(on(&sim), &map(1)).unwrap();
    assert_eq!(sim.read(PATH).unwrap(), FRAME);
    save(on(&sim).version(9), &map(1)).unwrap();
    assert_eq!(sim.read(PATH).unwrap()[..4], [9, 0, 0, 0]);
    let by_version = SnapshotFsLoader::with(PATH, on::<Map>(&sim).version(9)).load();
    assert_eq!(by_version.unwrap(), Some(map(1)));

    save(on(&sim).layout(Layout::Blocks).seq(7), &map(1)).unwrap();
    let written = sim.read(PATH).unwrap();
    // All but the salt and what it seeds.
    assert_eq!(written.len(), BLOCKS.len());
    assert_eq!(written[..120], BLOCKS[..120]);
    assert_eq!(written[144..175], BLOCKS[144..175]);
    assert_ne!(written[120..124], BLOCKS[120..124]);
}

#[test]
fn info_tells_what_the_headers_say() {
    let frame = info(&holding(FRAME)).unwrap().unwrap();
    assert_eq!((frame.layout, frame.version), (Layout::Frame, 4));
    assert_eq!((frame.payload_bytes, frame.stored_bytes), (7, 19));
    assert_eq!((frame.codec, frame.seq, frame.path), (None, 0, PathBuf::from(PATH)));

    let blocks = info(&holding(BLOCKS)).unwrap().unwrap();
    assert_eq!((blocks.layout, blocks.version, blocks.seq), (Layout::Blocks, 1, 7));
    assert_eq!((blocks.payload_bytes, blocks.stored_bytes), (7, 183));
    assert_eq!((blocks.codec.as_deref(), blocks.machine), (Some("json"), None));
    assert_eq!((blocks.digest, blocks.store_id, blocks.pos), (None, None, None));

    let of_machine = info(&holding(OF_A_MACHINE)).unwrap().unwrap();
    assert_eq!(of_machine.machine.as_deref(), Some("counter"));
    assert_eq!((of_machine.machine_version, of_machine.seq), (2, 12345));
    assert_eq!(of_machine.digest, Some(0x0102_0304_0506_0708));
    let id = of_machine.store_id.unwrap().to_string();
    assert_eq!(id, "00010203-0405-0607-0809-0a0b0c0d0e0f");
    let pos = of_machine.pos.unwrap();
    assert_eq!((pos.segment, pos.frame, pos.at, pos.frame_crc), (3, 4096, 0, 0xdead_beef));

    for golden in [FRAME, BLOCKS, OF_A_MACHINE] {
        let sim = holding(golden);
        let mut loader = SnapshotFsLoader::with(PATH, on::<Map>(&sim));
        assert_eq!(loader.verify().unwrap(), loader.info().unwrap());
        let bytes: FrameBytes = loader.load_bytes().unwrap().unwrap();
        assert_eq!(bytes.as_bytes(), b"{\"a\":1}");
        assert_eq!(Some(bytes.info()), loader.info().unwrap().as_ref());
        assert!(!format!("{bytes:?}").contains("[123"), "contents are not shown");
        assert_eq!(bytes.into_bytes(), b"{\"a\":1}");
    }
    assert_eq!(info(&disk()).unwrap(), None);
}

#[test]
fn large_payloads_pass_in_bounded_memory() {
    let payload: Vec<u8> =
        (0..5_000_000_u32).map(|n| n.wrapping_mul(77).to_le_bytes()[1]).collect();
    for layout in LAYOUTS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let options = || SnapshotOptions::with_codec(Raw).layout(layout).verify_after_write(true);
        let written = largest_during(|| {
            let mut late = SnapshotFsWriter::with(&path, options()).unwrap();
            late.write(&payload).unwrap();
            late.close().unwrap();
        });
        let mut loader = SnapshotFsLoader::with(&path, options());
        let verified = largest_during(|| {
            assert_eq!(loader.verify().unwrap().unwrap().payload_bytes, 5_000_000);
        });
        assert!(written <= 1 << 20 && verified <= 1 << 20, "{written}, {verified}");
        assert!(loader.load().unwrap().as_ref() == Some(&payload));
        let largest = largest_during(|| drop(loader.load_bytes().unwrap()));
        assert_eq!(largest, payload.len(), "the payload, once");
    }
}

#[test]
fn an_empty_file_is_a_lost_snapshot_unless_told_otherwise() {
    let sim = holding(b"");
    let error = fails(load(on::<Map>(&sim)), ErrorKind::Damaged);
    assert!(error.to_string().contains("empty"), "{error}");
    fails(info(&sim), ErrorKind::Damaged);
    assert_eq!(load(on::<Map>(&sim).empty_is_none(true)).unwrap(), None);
}

#[test]
fn what_the_validation_refuses_is_neither_published_nor_loaded() {
    fn small(map: &Map) -> Result<(), String> {
        if map.values().all(|n| *n < 10) { Ok(()) } else { Err("ten or more".to_owned()) }
    }
    for layout in LAYOUTS {
        let sim = disk();
        let mut late = writer(on(&sim).layout(layout).validate(small));
        late.write(&map(9)).unwrap();
        let error = fails(late.write(&map(10)), ErrorKind::Failed);
        assert!(error.to_string().contains("ten or more"), "{error}");
        fails(late.close(), ErrorKind::Incomplete);
        assert_eq!(load(on::<Map>(&sim)).unwrap(), None);

        save(on(&sim).layout(layout), &map(10)).unwrap();
        let error = fails(load(on(&sim).validate(small)), ErrorKind::Failed);
        assert!(error.to_string().contains("ten or more"), "{error}");
    }
}

#[test]
fn what_does_not_encode_or_decode_is_told_with_its_path() {
    for layout in LAYOUTS {
        let sim = disk();
        let bad = BTreeMap::from([(vec![1_u8], 1)]);
        let mut late = writer(on(&sim).layout(layout));
        let error = fails(late.write(&bad), ErrorKind::Codec);
        assert_eq!(error.path(), Some(Path::new(PATH)));
        fails(late.close(), ErrorKind::Incomplete);

        save(on(&sim).layout(layout), &map(1)).unwrap();
        let error = fails(load(on::<Vec<String>>(&sim)), ErrorKind::Codec);
        assert_eq!(error.path(), Some(Path::new(PATH)));
    }
}

/// What is damaged is never handed to a codec, which might take it for a value.
#[test]
fn nothing_is_decoded_before_its_checksum_holds() {
    struct Never;
    impl Codec<Vec<u8>> for Never {
        const NAME: &'static str = "json";
        fn encode(&self, _: &Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
            out.extend_from_slice(b"not streamed");
            Ok(())
        }
        fn decode(&self, _: &[u8]) -> Result<Vec<u8>> {
            panic!("decoded");
        }
    }
    for golden in [FRAME, BLOCKS] {
        for at in [golden.len() - 1, 150.min(golden.len() - 3), golden.len() - 5] {
            let mut bytes = golden.to_vec();
            bytes[at] ^= 0x20;
            let sim = holding(&bytes);
            fails(load(on(&sim).codec(Never)), ErrorKind::Damaged);
        }
    }
    // A codec that does not stream is as good.
    for layout in LAYOUTS {
        let sim = disk();
        save(on(&sim).codec(Never).layout(layout), &Vec::new()).unwrap();
        let mut loader = SnapshotFsLoader::with(PATH, on::<Map>(&sim));
        assert_eq!(loader.load_bytes().unwrap().unwrap().as_bytes(), b"not streamed");
    }
}

#[test]
fn a_snapshot_of_another_codec_is_not_decoded() {
    let sim = disk();
    save(raw(&sim, Layout::Blocks), &b"{}".to_vec()).unwrap();
    let error = fails(load(on::<Map>(&sim)), ErrorKind::Precondition);
    assert!(error.to_string().contains("\"raw\""), "{error}");
    // A frame does not say who wrote it: then it is up to the codec.
    save(raw(&sim, Layout::Frame), &b"{}".to_vec()).unwrap();
    assert_eq!(load(on::<Map>(&sim)).unwrap(), Some(Map::new()));
}

#[test]
fn an_older_one_does_not_replace_a_newer_one() {
    let sim = disk();
    let numbered = |seq| on::<Map>(&sim).layout(Layout::Blocks).if_newer_than(seq);
    save(numbered(5), &map(5)).unwrap();
    for seq in [0, 4, 5] {
        let error = fails(save(numbered(seq), &map(1)), ErrorKind::Stale);
        assert!(error.to_string().contains("number 5"), "{error}");
    }
    assert_eq!(load(on(&sim)).unwrap(), Some(map(5)));
    assert!(left_overs(&sim).is_empty());
    save(numbered(6), &map(6)).unwrap();
    assert_eq!(info(&sim).unwrap().unwrap().seq, 6);

    // It is looked at when it is closed.
    let mut slow = writer(numbered(7));
    slow.write(&map(7)).unwrap();
    save(numbered(8), &map(8)).unwrap();
    fails(slow.close(), ErrorKind::Stale);
    assert_eq!(load(on(&sim)).unwrap(), Some(map(8)));

    // Without the condition the last one wins.
    save(on(&sim).layout(Layout::Blocks).seq(2), &map(2)).unwrap();
    assert_eq!(info(&sim).unwrap().unwrap().seq, 2);

    // What has no number is older; what cannot be told is not replaced.
    for older in [FRAME, b"", b"x"] {
        sim.put(PATH, older).unwrap();
        save(numbered(0), &map(1)).unwrap();
        assert_eq!(load(on(&sim)).unwrap(), Some(map(1)));
    }
    let mut damaged = BLOCKS.to_vec();
    damaged[32] ^= 1;
    sim.put(PATH, &damaged).unwrap();
    fails(save(numbered(100), &map(1)), ErrorKind::Damaged);
    assert_eq!(sim.read(PATH).unwrap(), damaged);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    struct Named;
    impl Codec<Map> for Named {
        const NAME: &'static str = "a name that is too long";
        fn encode(&self, _: &Map, _: &mut Vec<u8>) -> Result<()> {
            Ok(())
        }
        fn decode(&self, _: &[u8]) -> Result<Map> {
            Ok(Map::new())
        }
    }
    let sim = disk();
    let opened =
        |options| fails(SnapshotFsWriter::with(PATH, options).map(drop), ErrorKind::InvalidInput);
    opened(on::<Map>(&sim).seq(1));
    opened(on::<Map>(&sim).if_newer_than(0));
    opened(on::<Map>(&sim).layout(Layout::Blocks).seq(1).if_newer_than(2));
    writer(on::<Map>(&sim).layout(Layout::Blocks).seq(2).if_newer_than(2));
    let named = || on::<Map>(&sim).codec(Named);
    let refused = SnapshotFsWriter::with(PATH, named().layout(Layout::Blocks)).map(drop);
    fails(refused, ErrorKind::InvalidInput);
    writer(named()); // a frame does not say its codec
    assert!(left_overs(&sim).is_empty());
}

/// The memory or the way to the disk changed what was written. With the option nobody gets to see it.
#[test]
fn what_does_not_read_back_is_not_published() {
    for layout in LAYOUTS {
        for kind in [FaultKind::Dropped, FaultKind::Misdirected] {
            let sim = disk();
            save(on(&sim).layout(layout), &map(1)).unwrap();
            let bad = |verify| {
                let mut late = writer(raw(&sim, layout).verify_after_write(verify));
                sim.inject(Fault::new(kind).on(CallKind::Write).lasting());
                late.write(&vec![7; 300_000]).unwrap();
                let closed = late.close();
                sim.clear_faults();
                closed
            };
            let error = fails(bad(true), ErrorKind::Damaged);
            assert!(error.to_string().contains("read back"), "{error}");
            assert_eq!(load(on(&sim)).unwrap(), Some(map(1)));
            assert!(left_overs(&sim).is_empty());
            bad(false).unwrap();
            assert!(load(raw(&sim, layout)).is_err(), "so the option has a use");
        }
    }
}

/// A sync that failed is final: the temporary never takes the name, also if a second sync would say Ok.
#[test]
fn after_a_failed_flush_nothing_is_published() {
    for layout in LAYOUTS {
        let sim = disk();
        save(on(&sim).layout(layout), &map(1)).unwrap();
        let mut late = writer(on(&sim).layout(layout));
        late.flush().unwrap();
        late.write(&map(2)).unwrap();
        late.flush().unwrap();
        assert_eq!(load(on(&sim)).unwrap(), Some(map(1)), "a flush publishes nothing");
        sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncAll));
        fails(late.flush(), ErrorKind::Io);
        fails(late.flush(), ErrorKind::Poisoned);
        fails(late.write(&map(3)), ErrorKind::Poisoned);
        fails(late.close(), ErrorKind::Poisoned);
        assert_eq!(load(on(&sim)).unwrap(), Some(map(1)));
        assert!(left_overs(&sim).is_empty());
    }
}

#[test]
fn the_outcome_says_what_a_failed_close_left() {
    let sim = disk();
    let close = |fault: Fault| {
        let mut late = writer(on(&sim));
        late.write(&map(2)).unwrap();
        sim.inject(fault);
        late.close().unwrap_err()
    };
    save(on(&sim), &map(1)).unwrap();
    let io = || Fault::new(FaultKind::Io);
    assert_eq!(close(io().on(CallKind::SyncAll)).outcome(), Outcome::Unchanged);
    assert_eq!(close(io().on(CallKind::Rename)).outcome(), Outcome::Unchanged);
    assert_eq!(load(on(&sim)).unwrap(), Some(map(1)));
    assert_eq!(close(io().on(CallKind::SyncDir)).outcome(), Outcome::Unknown);
    assert_eq!(load(on(&sim)).unwrap(), Some(map(2)));
}

#[test]
fn mode_and_symlink_are_kept() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    symlink("target", &link).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let save = |options: SnapshotOptions<Map>| {
        let mut late = SnapshotFsWriter::with(&link, options).unwrap();
        late.write(&map(1)).unwrap();
        late.close().unwrap();
    };
    save(SnapshotOptions::new().mode(0o640));
    assert_eq!(mode(&target), 0o640);
    save(SnapshotOptions::new());
    assert_eq!(mode(&target), 0o640);
    // The mode forbids to read, not the read-back.
    save(SnapshotOptions::new().mode(0o200).verify_after_write(true));
    assert_eq!(mode(&target), 0o200);
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let mut loader = SnapshotFsLoader::<Map>::new(link);
    assert_eq!(loader.load().unwrap(), Some(map(1)));
    assert_eq!(loader.info().unwrap().unwrap().path.file_name(), target.file_name());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_loader_beside_writers_sees_whole_values() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let value = |n: usize| vec![u8::try_from(n).unwrap(); n * 9000];
    std::thread::scope(|scope| {
        let writers: Vec<_> = LAYOUTS
            .into_iter()
            .map(|layout| {
                let path = &path;
                scope.spawn(move || {
                    for n in 0..40 {
                        let options = SnapshotOptions::with_codec(Raw).layout(layout);
                        let mut late = SnapshotFsWriter::with(path, options).unwrap();
                        late.write(&value(n)).unwrap();
                        late.close().unwrap();
                    }
                })
            })
            .collect();
        let mut loader = SnapshotFsLoader::with(&path, SnapshotOptions::with_codec(Raw));
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            if let Some(found) = loader.load().unwrap() {
                let found: Vec<u8> = found;
                assert_eq!(found, value(usize::from(found.first().copied().unwrap_or(0))));
            }
        }
    });
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_load_costs_as_many_reads_as_it_must() {
    let sim = disk();
    save(raw(&sim, Layout::Frame), &vec![7; 100]).unwrap();
    let meter = Meter::new(Arc::new(sim.clone()));
    let options = SnapshotOptions::with_codec(Raw).fs(Arc::new(meter.clone()));
    let loaded: Option<Vec<u8>> = load(options).unwrap();
    assert_eq!(loaded, Some(vec![7; 100]));
    let counts = meter.counts();
    assert_eq!((counts.of(CallKind::Read), counts.of(CallKind::Open)), (3, 1));
    assert_eq!(counts.of(CallKind::Write), 0);
    assert!(meter.open_dir("/data".as_ref()).is_ok());
}

#[test]
fn writers_and_loaders_pass_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<SnapshotFsWriter<Map>>();
    check::<SnapshotFsLoader<Map>>();
    check::<SnapshotOptions<std::rc::Rc<u8>, Json>>();
    check::<SnapshotInfo>();
}
