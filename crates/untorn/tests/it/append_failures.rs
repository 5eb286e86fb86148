//! How the crates before this one fail, by the numbers of the list that it was built against, and what happens here: for elements
//! of fixed and of variable size.
#![expect(
    clippy::cast_possible_truncation,
    reason = "small numbers, and bytes that are made of them"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::append::{
    AppendGroup, AppendOnlyFile, DataFile, FileSpec, OnForeign, OpenOptions, ProtocolVersion,
    SizeEntry, SizeInfo, identify,
};
use untorn::fs::ReadMode;
use untorn::sim::{CallKind, Fault, FaultKind, SimFs};
use untorn::{ErrorKind, OnDamage, Outcome};

type File = AppendOnlyFile<Vec<u8>>;

/// Fixed and variable.
const SIZES: [u32; 2] = [40, 0];

fn options(fixed: u32) -> OpenOptions<Vec<u8>> {
    match fixed {
        0 => OpenOptions::new().variable(),
        size => OpenOptions::new().fixed(size),
    }
}

fn element(n: u64) -> Vec<u8> {
    (0..40).map(|at| (n * 31 + at * 7 + 1) as u8).collect()
}

fn elements(of: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    of.map(element).collect()
}

fn all(file: &File) -> Vec<Vec<u8>> {
    let read = |at| {
        let mut bytes = Vec::new();
        file.copy_to(at, &mut bytes).unwrap();
        bytes
    };
    (file.first()..file.size_unsync_in_elmts().unwrap()).map(read).collect()
}

/// A file of so many elements, closed.
fn closed(dir: &Path, fixed: u32, count: u64) -> PathBuf {
    let path = dir.join("a");
    let mut file = options(fixed).open(&path).unwrap();
    file.append_batch(elements(0..count)).unwrap();
    file.flush().unwrap();
    file.close().unwrap();
    path
}

fn flip(path: &Path, byte: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[byte] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

fn kind<T: std::fmt::Debug>(result: untorn::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn each(test: impl Fn(&Path, u32)) {
    for fixed in SIZES {
        let dir = tempfile::tempdir().unwrap();
        test(dir.path(), fixed);
    }
}

/// 1: a long element gets its whole length.
#[test]
fn n01_lengths_have_32_bits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut file = options(0).open(&path).unwrap();
    let long = vec![7; 70_000];
    file.append_batch([&b"before"[..], &long, b"after"]).unwrap();
    file.flush().unwrap();
    assert_eq!((file.read(1).unwrap(), file.read(2).unwrap()), (&long[..], &b"after"[..]));
    // Their file of sizes has no room for it: nothing is written, and it is said.
    let to = dir.path().join("sizes");
    std::fs::write(&to, b"old").unwrap();
    assert_eq!(kind(file.export_size_file(&to)), ErrorKind::TooLarge);
    assert_eq!(std::fs::read(&to).unwrap(), b"old");
    let mut small = options(0).max_element(10).open(dir.path().join("b")).unwrap();
    assert_eq!(kind(small.append(&[0; 11])), ErrorKind::TooLarge);
    assert_eq!(small.append(&[0; 10]).unwrap(), 0);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/grin").join(name)
}

/// What `grin_store` appended, by the formula of the fixtures.
fn grin_element(n: u64, len: u64) -> Vec<u8> {
    (0..len).map(|j| ((31 * n + 7 * j + 1) % 251) as u8).collect()
}

fn grin_len(n: u64) -> u64 {
    match n {
        20 => 65_535,
        n if n % 16 == 0 => 0,
        n => 1 + 7 * n * n % 97,
    }
}

fn copy(name: &str, to: &Path) {
    std::fs::copy(fixture(name), to).unwrap();
}

/// 2: sizes that were taken over stay as they are, however often it is opened; what is exported is byte-identical.
#[test]
fn n02_sizes_are_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let (data, sizes) = (dir.path().join("data"), dir.path().join("sizes"));
    copy("variable.bin", &data);
    copy("variable.size", &sizes);
    for round in 0..3 {
        let file = options(0).size_file(&sizes).open(&data).unwrap();
        assert_eq!(file.recovery().unwrap().adopted, if round == 0 { 48 } else { 0 });
        let expected: Vec<_> = (0..48).map(|n| grin_element(n, grin_len(n))).collect();
        assert_eq!(all(&file), expected);
        file.close().unwrap();
        assert_eq!(
            std::fs::read(&sizes).unwrap(),
            std::fs::read(fixture("variable.size")).unwrap()
        );
    }
    // Through the documented interface, with a file of sizes that is a file of its own.
    let (data, sizes) = (dir.path().join("data2"), dir.path().join("sizes2"));
    copy("variable.bin", &data);
    copy("variable.size", &sizes);
    let version = ProtocolVersion(1);
    let entries =
        AppendOnlyFile::<SizeEntry>::open(&sizes, SizeInfo::FixedSize(10), version).unwrap();
    assert_eq!(entries.read_as_elmt(20).unwrap().size, 65_535);
    let info = SizeInfo::VariableSize(Box::new(entries));
    let mut file = File::open(&data, info, version).unwrap();
    assert_eq!(file.read(47).unwrap(), grin_element(47, grin_len(47)));
    file.append(b"one more").unwrap();
    file.flush().unwrap();
    file.close().unwrap();
    let entries = std::fs::read(&sizes).unwrap();
    assert_eq!(entries.len(), 490);
    assert_eq!(entries[480..], [&67_664_u64.to_be_bytes()[..], &[0, 8]].concat());
}

#[test]
fn n02_sizes_that_do_not_add_up_are_refused() {
    for (data, sizes) in [
        ("prefixed-torn.bin", "prefixed.size"),
        ("prefixed.bin", "prefixed-torn-sizes.size"),
        ("variable.bin", "prefixed.size"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (at, size) = (dir.path().join("data"), dir.path().join("sizes"));
        copy(data, &at);
        copy(sizes, &size);
        let error = options(0).size_file(&size).open(&at).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Damaged, Outcome::Unchanged));
        assert_eq!(std::fs::read(&at).unwrap(), std::fs::read(fixture(data)).unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, sizes) = (dir.path().join("data"), dir.path().join("sizes"));
    let bytes: Vec<u8> =
        [100, 70_000, 100].iter().zip(0..).flat_map(|(len, n)| grin_element(n, *len)).collect();
    std::fs::write(&data, &bytes).unwrap();
    copy("wrapped.size", &sizes);
    let error = options(0).size_file(&sizes).open(&data).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(4664)), "{error}");
    let none = options(0).open(dir.path().join("data")).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Precondition);
}

/// 3, 4: rewinds and appends before one flush.
#[test]
fn n03_n04_rewinds_meet_what_is_pending() {
    each(|dir, fixed| {
        let mut file = options(fixed).open(dir.join("a")).unwrap();
        file.append_batch(elements(0..10)).unwrap();
        file.rewind(5).unwrap();
        file.append(&element(50)).unwrap();
        file.flush().unwrap();
        assert_eq!(all(&file), [elements(0..5), elements(50..51)].concat());
        file.append_batch(elements(6..10)).unwrap();
        file.flush().unwrap();
        file.append_batch(elements(10..15)).unwrap();
        file.rewind(8).unwrap();
        file.append(&element(100)).unwrap();
        file.flush().unwrap();
        let expected = [elements(0..5), elements(50..51), elements(6..8), elements(100..101)];
        assert_eq!(all(&file), expected.concat());
    });
}

/// 5: nothing is invented.
#[test]
fn n05_a_rewind_beyond_the_end_is_refused() {
    each(|dir, fixed| {
        let mut file = options(fixed).open(dir.join("a")).unwrap();
        file.append_batch(elements(0..10)).unwrap();
        assert_eq!(kind(file.rewind(20)), ErrorKind::OutOfRange);
        file.flush().unwrap();
        assert_eq!(kind(file.rewind(11)), ErrorKind::OutOfRange);
        assert_eq!((file.len(), all(&file)), (10, elements(0..10)));
    });
}

/// 6: half an element at the end of a file that is taken over is set aside.
#[test]
fn n06_half_an_element_is_healed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    copy("fixed-34-torn.bin", &path);
    let mut file = options(34).open(&path).unwrap();
    let report = file.recovery().unwrap().clone();
    assert_eq!((report.adopted, report.cut_bytes, report.quarantine.len()), (17, 20, 1));
    assert_eq!(std::fs::read(&report.quarantine[0]).unwrap(), &grin_element(17, 34)[..20]);
    assert_eq!(file.append(&[9; 34]).unwrap(), 17);
    file.flush().unwrap();
    assert_eq!(file.read(16).unwrap(), grin_element(16, 34));
    assert_eq!(file.read(17).unwrap(), [9; 34]);
}

/// 6, 7: what lies behind the end after a crash is set aside; after a close it is another program's.
#[test]
fn n07_a_torn_tail_is_cut_and_a_foreign_one_refused() {
    each(|dir, fixed| {
        let path = dir.join("a");
        let mut file = options(fixed).open(&path).unwrap();
        file.append_batch(elements(0..10)).unwrap();
        file.flush().unwrap();
        drop(file);
        let add = |bytes: &[u8]| {
            let mut data = std::fs::read(&path).unwrap();
            data.extend_from_slice(bytes);
            std::fs::write(&path, data).unwrap();
        };
        add(&[1; 25]);
        let mut file = options(fixed).open(&path).unwrap();
        assert_eq!(file.recovery().unwrap().cut_bytes, 25);
        file.append(&element(10)).unwrap();
        file.flush().unwrap();
        assert_eq!(all(&file), elements(0..11));
        file.close().unwrap();
        add(&[2; 45]);
        let error = options(fixed).open(&path).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Precondition, Some(440)));
        let adopted = options(fixed).on_foreign(OnForeign::Adopt).open(&path);
        if fixed == 0 {
            assert_eq!(kind(adopted), ErrorKind::Precondition);
            return;
        }
        let file = adopted.unwrap();
        assert_eq!((file.len(), file.recovery().unwrap().cut_bytes), (12, 5));
        assert_eq!(file.read(11).unwrap(), [2; 40]);
        drop(file);
        assert_eq!(options(fixed).open(&path).unwrap().len(), 12);
    });
}

/// 8: damage is found by a compaction, and nothing is lost by it.
#[test]
fn n08_a_compaction_does_not_copy_damage() {
    let ends = |path: &Path| path.with_file_name("a.untorn").join("ends.0.0");
    for (fixed, in_ends) in [(40, false), (0, false), (0, true)] {
        let dir = tempfile::tempdir().unwrap();
        let path = closed(dir.path(), fixed, 3000);
        let (victim, byte) = if in_ends { (ends(&path), 64 + 8 * 4) } else { (path.clone(), 170) };
        flip(&victim, byte);
        let before = std::fs::read(&path).unwrap();
        let mut file = options(fixed).open(&path).unwrap();
        let error = file.compact([0]).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Damaged, Outcome::Unchanged));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(file.read(2999).unwrap(), element(2999));
        file.append(&element(3000)).unwrap();
        file.flush().unwrap();
    }
}

/// 9: what is pending is neither lost nor half applied by a compaction.
#[test]
fn n09_a_compaction_refuses_what_is_pending() {
    each(|dir, fixed| {
        let mut file = options(fixed).open(dir.join("a")).unwrap();
        file.append_batch(elements(0..10)).unwrap();
        assert_eq!(kind(file.write_tmp_pruned(&[])), ErrorKind::Precondition);
        file.flush().unwrap();
        file.rewind(8).unwrap();
        assert_eq!(kind(file.compact([1])), ErrorKind::Precondition);
        assert_eq!(kind(file.drop_head(2)), ErrorKind::Precondition);
        file.discard();
        assert_eq!(kind(file.replace_with_tmp()), ErrorKind::Precondition);
        file.write_tmp_pruned(&[0, 9]).unwrap();
        file.append(&element(10)).unwrap();
        file.flush().unwrap();
        file.replace_with_tmp().unwrap();
        assert_eq!(all(&file), [elements(1..9), elements(10..11)].concat());
        file.write_tmp_pruned(&[0]).unwrap();
        file.rewind(5).unwrap();
        file.flush().unwrap();
        assert_eq!(kind(file.replace_with_tmp()), ErrorKind::Precondition);
        assert_eq!(file.len(), 5);
    });
}

/// 10: data that is gone is an error, never an empty file. (The crash between the two halves is the explorer's.)
#[test]
fn n10_data_that_is_gone_is_not_found() {
    each(|dir, fixed| {
        let path = closed(dir, fixed, 10);
        let away = dir.join("away");
        std::fs::rename(&path, &away).unwrap();
        let error = options(fixed).open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!path.exists());
        std::fs::rename(&away, &path).unwrap();
        assert_eq!(all(&options(fixed).open(&path).unwrap()), elements(0..10));
    });
}

/// 11: four different answers.
#[test]
fn n11_absent_dropped_empty_and_released_differ() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = options(0).open(dir.path().join("a")).unwrap();
    file.append_batch([&b"x"[..], b"", b"z"]).unwrap();
    file.flush().unwrap();
    file.drop_head(1).unwrap();
    assert_eq!(file.read(1).unwrap(), b"");
    assert_eq!(kind(file.read(3)), ErrorKind::OutOfRange);
    assert_eq!(kind(file.read(0)), ErrorKind::Pruned);
    file.release();
    assert_eq!(kind(file.read(1)), ErrorKind::Closed);
    assert_eq!(kind(file.append(b"y")), ErrorKind::Closed);
    assert_eq!(kind(file.flush()), ErrorKind::Closed);
    file.init().unwrap();
    assert_eq!(file.read(2).unwrap(), b"z");
}

/// 12: an element of another length does not get in.
#[test]
fn n12_a_wrong_length_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = options(40).open(dir.path().join("a")).unwrap();
    assert_eq!(kind(file.append(&[0; 13])), ErrorKind::InvalidInput);
    assert_eq!(kind(file.append(&[])), ErrorKind::InvalidInput);
    assert_eq!(kind(file.append_with(41, |_| {})), ErrorKind::InvalidInput);
    assert_eq!(kind(file.append_batch([&[0_u8; 40][..], &[0; 39]])), ErrorKind::InvalidInput);
    assert_eq!(file.size_unsync_in_elmts().unwrap(), 0);
    assert_eq!(kind(options(40).fixed(0).open(dir.path().join("b"))), ErrorKind::InvalidInput);
}

/// 13: a flipped byte is damage when it is first touched, with its place; all else can be read.
#[test]
fn n13_a_flipped_byte_is_damage() {
    for mode in [ReadMode::Map, ReadMode::Pread] {
        each(|dir, fixed| {
            let path = closed(dir, fixed, 3000);
            flip(&path, 40 * 1000 + 7);
            let file = options(fixed).read_mode(mode).open(&path).unwrap();
            let mut bytes = Vec::new();
            let error = file.copy_to(1000, &mut bytes).unwrap_err();
            let block = 40 * 1000 / 16_384 * 16_384;
            assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(block)));
            assert!(error.to_string().contains("elements"), "{error}");
            assert!(bytes.is_empty());
            file.copy_to(0, &mut bytes).unwrap();
            file.copy_to(2999, &mut bytes).unwrap();
            drop(file);
            let report = options(fixed).check(&path, |_, _| {}).unwrap();
            assert_eq!((report.damaged_blocks, report.clean), (1, true));
            let damage = &report.damage[0];
            assert_eq!((damage.offset, damage.bytes), (block, 16_384));
            assert!(damage.elements.contains(&1000), "{damage:?}");
            // And the last block, which is not full, at the open.
            flip(&path, 40 * 2999);
            assert_eq!(kind(options(fixed).open(&path)), ErrorKind::Damaged);
            let salvaged = options(fixed).on_damage(OnDamage::Salvage).open(&path).unwrap();
            let kept = 40 * 3000 / 16_384 * 16_384 / 40;
            assert_eq!(salvaged.len(), kept);
            assert_eq!(salvaged.recovery().unwrap().lost, 3000 - kept);
            drop(salvaged);
            // All that precedes the damage.
            flip(&path, 40 * 1000 + 8);
            let file = options(fixed).open(&path).unwrap();
            drop(file);
            let cut = options(fixed).on_damage(OnDamage::Truncate).open(&path).unwrap();
            assert_eq!(cut.len(), block / 40);
            assert_eq!(cut.recovery().unwrap().quarantine.len(), 1);
        });
    }
}

fn on_sim(sim: &SimFs, fixed: u32) -> OpenOptions<Vec<u8>> {
    options(fixed).fs(Arc::new(sim.clone()))
}

/// 14, 15: a full disk takes nothing away, and a second attempt is as good as the first.
#[test]
fn n14_n15_a_full_disk() {
    for (fixed, count) in [(40, 300), (0, 300), (40, 9000), (0, 9000)] {
        let sim = SimFs::new(1);
        sim.make_dirs("/d").unwrap();
        let mut file = on_sim(&sim, fixed).open("/d/a").unwrap();
        file.append(&element(0)).unwrap();
        file.flush().unwrap();
        file.append_batch(elements(1..count)).unwrap();
        sim.set_capacity(Some(0));
        let error = file.flush().unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
        assert_eq!(file.len(), 1);
        sim.set_capacity(None);
        file.flush().unwrap();
        assert_eq!(all(&file), elements(0..count));
        sim.set_capacity(Some(0));
        file.append_batch(elements(count..2 * count + 5000)).unwrap();
        assert_eq!(kind(file.flush()), ErrorKind::NoSpace);
        file.discard();
        sim.set_capacity(None);
        file.append_batch(elements(7000..7005)).unwrap();
        file.flush().unwrap();
        let expected = [elements(0..count), elements(7000..7005)].concat();
        assert_eq!(all(&file), expected);
        drop(file);
        let sim = sim.kill();
        assert_eq!(all(&on_sim(&sim, fixed).open("/d/a").unwrap()), expected);
    }
}

/// 16: one writer, also while only a snapshot is left of the other.
#[test]
fn n16_a_second_writer_is_refused() {
    each(|dir, fixed| {
        let path = dir.join("a");
        let mut file = options(fixed).open(&path).unwrap();
        file.append(&element(0)).unwrap();
        file.flush().unwrap();
        assert_eq!(kind(options(fixed).open(&path)), ErrorKind::Locked);
        let snapshot = file.snapshot().unwrap();
        file.close().unwrap();
        assert_eq!(kind(options(fixed).open(&path)), ErrorKind::Locked);
        assert_eq!(snapshot.get(0).unwrap(), element(0));
        drop(snapshot);
        assert_eq!(options(fixed).open(&path).unwrap().len(), 1);
    });
}

/// 17, 31, 32: rewinds, cuts and growth under readers: what they hold stays.
#[test]
fn n17_n31_n32_what_is_lent_stays() {
    each(|dir, fixed| {
        let mut file = options(fixed).open(dir.join("a")).unwrap();
        file.append_batch(elements(0..3000)).unwrap();
        file.flush().unwrap();
        let old = file.snapshot().unwrap();
        let lent: Vec<&[u8]> = (0..3000).map(|at| old.get(at).unwrap()).collect();
        file.rewind(10).unwrap();
        file.append_batch(elements(5000..5100)).unwrap();
        file.flush().unwrap();
        let middle = file.snapshot().unwrap();
        file.rewind(0).unwrap();
        file.flush().unwrap();
        assert_eq!(std::fs::metadata(dir.join("a")).unwrap().len(), 0);
        assert!(lent.iter().zip(0..).all(|(bytes, n)| *bytes == element(n)));
        assert_eq!(middle.get(9).unwrap(), element(9));
        assert_eq!(middle.get(10).unwrap(), element(5000));
        assert!(file.stats().unwrap().snapshot_bytes >= 120_000);
        assert_eq!(file.stats().unwrap().snapshots, 2);
        drop(lent);
        drop((old, middle));
        assert_eq!(file.stats().unwrap().snapshots, 0);
    });
    // More than may be copied for them is refused, and says so.
    let dir = tempfile::tempdir().unwrap();
    let mut file = options(40).snapshot_copy_max(50_000).open(dir.path().join("a")).unwrap();
    file.append_batch(elements(0..3000)).unwrap();
    file.flush().unwrap();
    let held = file.snapshot().unwrap();
    file.rewind(0).unwrap();
    assert_eq!(kind(file.flush()), ErrorKind::OverBudget);
    drop(held);
    file.flush().unwrap();
    assert_eq!(file.len(), 0);
}

/// 18: a copy is what this handle shows.
#[test]
fn n18_a_copy_has_what_is_pending() {
    each(|dir, fixed| {
        let mut file = options(fixed).open(dir.join("a")).unwrap();
        file.append_batch(elements(0..4)).unwrap();
        file.flush().unwrap();
        file.append(&element(4)).unwrap();
        let read = |file: &File| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file.as_temp_file().unwrap(), &mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(&file), elements(0..5).concat());
        file.rewind(2).unwrap();
        assert_eq!(read(&file), elements(0..2).concat());
        let names: Vec<_> = std::fs::read_dir(dir.join("a.untorn")).unwrap().collect();
        assert!(
            names.iter().all(|n| !n
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("tmp"))
        );
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d");
    let mut data =
        DataFile::<Vec<u8>>::open(&path, SizeInfo::Variable, ProtocolVersion(1)).unwrap();
    assert_eq!(data.append(&vec![1]).unwrap(), 1);
    assert_eq!((data.size(), data.size_unsync().unwrap()), (0, 1));
    assert_eq!(data.read(1).unwrap(), Some(vec![1]));
    assert_eq!((data.read(0).unwrap(), data.read(2).unwrap()), (None, None));
    assert_eq!(data.extend_from_slice(&[vec![2], vec![3]]).unwrap(), 3);
    data.flush().unwrap();
    data.write_tmp_pruned(&[1]).unwrap();
    data.replace_with_tmp().unwrap();
    assert_eq!((data.size(), data.read(1).unwrap()), (2, Some(vec![2])));
    assert_eq!(kind(data.write_tmp_pruned(&[0])), ErrorKind::InvalidInput);
}

/// 19: positions to prune go up.
#[test]
fn n19_positions_to_prune_are_checked() {
    each(|dir, fixed| {
        let mut file = options(fixed).open(dir.join("a")).unwrap();
        file.append_batch(elements(0..10)).unwrap();
        file.flush().unwrap();
        assert_eq!(kind(file.write_tmp_pruned(&[3, 2])), ErrorKind::InvalidInput);
        assert_eq!(kind(file.write_tmp_pruned(&[3, 3])), ErrorKind::InvalidInput);
        assert_eq!(kind(file.write_tmp_pruned(&[10])), ErrorKind::OutOfRange);
        file.drop_head(4).unwrap();
        assert_eq!(kind(file.write_tmp_pruned(&[3])), ErrorKind::Pruned);
        assert_eq!(kind(file.drop_head(11)), ErrorKind::OutOfRange);
        assert_eq!(file.compact([4, 9]).unwrap().kept, 4);
        assert_eq!(all(&file), elements(5..9));
    });
}

/// 20: an error of the disk is one, and no empty store.
#[test]
fn n20_an_error_of_the_disk_is_told() {
    for fixed in SIZES {
        let sim = SimFs::new(1);
        sim.make_dirs("/d").unwrap();
        let mut file = on_sim(&sim, fixed).open("/d/a").unwrap();
        file.append_batch(elements(0..10)).unwrap();
        file.flush().unwrap();
        sim.fail_reads("/d/a");
        let mut bytes = Vec::new();
        assert_eq!(kind(file.copy_to(3, &mut bytes)), ErrorKind::Io);
        assert_eq!((file.len(), bytes.len()), (10, 0));
        drop(file);
        assert_eq!(kind(on_sim(&sim, fixed).open("/d/a")), ErrorKind::Io);
    }
}

/// 21: after a failed sync nothing is acknowledged until it is opened anew.
#[test]
fn n21_a_failed_sync_is_final() {
    for fixed in SIZES {
        let sim = SimFs::new(1);
        sim.make_dirs("/d").unwrap();
        let mut file = on_sim(&sim, fixed).open("/d/a").unwrap();
        file.append_batch(elements(0..10)).unwrap();
        file.flush().unwrap();
        file.append(&element(10)).unwrap();
        sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData));
        let error = file.flush().unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        sim.clear_faults();
        for _ in 0..2 {
            assert_eq!(kind(file.flush()), ErrorKind::Poisoned);
            assert_eq!(kind(file.append(&element(11))), ErrorKind::Poisoned);
        }
        assert_eq!(file.len(), 10);
        file.init().unwrap();
        assert!([10, 11].contains(&file.len()));
        assert_eq!(all(&file)[..10], elements(0..10));
        file.append(&element(11)).unwrap();
        file.flush().unwrap();
        // Bytes ahead of their record: it was never written.
        let before = file.len();
        file.append_batch(elements(100..3000)).unwrap();
        sim.inject(Fault::new(FaultKind::Io).on(CallKind::SyncData).on_path("/d/a"));
        let error = file.flush().unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unchanged);
        sim.clear_faults();
        assert_eq!(kind(file.flush()), ErrorKind::Poisoned);
        file.init().unwrap();
        assert_eq!(file.len(), before);
    }
}

/// 22: zeros in the place of what was committed do not pass for it.
#[test]
fn n22_zeros_are_damage() {
    each(|dir, fixed| {
        let path = closed(dir, fixed, 3000);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[16_384..32_768].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        let file = options(fixed).open(&path).unwrap();
        assert_eq!(kind(file.read(500)), ErrorKind::Damaged);
        drop(file);
        bytes[100_000..].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(kind(options(fixed).open(&path)), ErrorKind::Damaged);
    });
}

/// 23: the files of a group move as one, also if one of them cannot.
#[test]
fn n23_a_group_commits_all_or_none() {
    let sim = SimFs::new(1);
    sim.make_dirs("/d").unwrap();
    let open = |sim: &SimFs| {
        AppendGroup::options("/d/g")
            .file("a", "/d/a", FileSpec::fixed(40))
            .file("b", "/d/b", FileSpec::variable())
            .fs(Arc::new(sim.clone()))
            .open()
            .unwrap()
    };
    let mut group = open(&sim);
    let append = |group: &mut AppendGroup| {
        group.file::<Vec<u8>>("a").unwrap().append_batch(elements(0..10)).unwrap();
        group.file::<Vec<u8>>("b").unwrap().append_batch(elements(0..9000)).unwrap();
    };
    append(&mut group);
    sim.inject(Fault::new(FaultKind::NoSpace).on(CallKind::Write).on_path("/d/b"));
    let error = group.flush().unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    sim.clear_faults();
    assert_eq!(group.file::<Vec<u8>>("a").unwrap().len(), 0);
    drop(group);
    let sim = sim.kill();
    let mut group = open(&sim);
    for name in ["a", "b"] {
        assert_eq!(group.file::<Vec<u8>>(name).unwrap().len(), 0);
    }
    append(&mut group);
    group.flush().unwrap();
    drop(group);
    let mut group = open(&sim.kill());
    assert_eq!(group.file::<Vec<u8>>("a").unwrap().len(), 10);
    assert_eq!(group.file::<Vec<u8>>("b").unwrap().len(), 9000);
    let error = group.file_as::<Vec<u8>, _>("a", untorn::codec::Json).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Precondition);
}

/// 24: what a file is, is kept with it; files beside each other have nothing in common.
#[test]
fn n24_another_version_size_or_codec_is_refused() {
    each(|dir, fixed| {
        let (bin, dat) = (dir.join("a.bin"), dir.join("a.dat"));
        let mut one = options(fixed).version(ProtocolVersion(2)).open(&bin).unwrap();
        let mut two = options(fixed).open(&dat).unwrap();
        one.append_batch(elements(0..3)).unwrap();
        two.append_batch(elements(7..9)).unwrap();
        one.flush().unwrap();
        two.flush().unwrap();
        one.compact([0]).unwrap();
        two.compact([1]).unwrap();
        assert_eq!((all(&one), all(&two)), (elements(1..3), elements(7..8)));
        drop((one, two));
        let other = options(if fixed == 0 { 40 } else { 0 }).version(ProtocolVersion(2));
        assert_eq!(kind(other.open(&bin)), ErrorKind::Precondition);
        assert_eq!(kind(options(fixed).open(&bin)), ErrorKind::Precondition);
        let json = options(fixed).version(ProtocolVersion(2)).codec(untorn::codec::Json);
        assert_eq!(kind(json.open(&bin)), ErrorKind::Precondition);
        let both = options(fixed).accept_versions(&[ProtocolVersion(1), ProtocolVersion(2)]);
        assert_eq!(both.open(&bin).unwrap().len(), 2);
        let known = identify(&bin).unwrap().unwrap();
        assert_eq!((known.members[0].fixed, known.members[0].version), (fixed, ProtocolVersion(2)));
        assert_eq!(known.members[0].path, bin);
        assert_eq!(identify(dir.join("none")).unwrap(), None);
    });
}

/// 26: bytes of another file in the place of the data are damage, wherever they are read.
#[test]
fn n26_replaced_data_is_damage() {
    each(|dir, fixed| {
        let path = closed(dir, fixed, 3000);
        let other: Vec<u8> = elements(3000..6000).concat();
        std::fs::write(&path, &other).unwrap();
        assert_eq!(kind(options(fixed).open(&path)), ErrorKind::Damaged);
        let mut mixed = other;
        mixed[100_000..].copy_from_slice(&elements(0..3000).concat()[100_000..]);
        std::fs::write(&path, &mixed).unwrap();
        let file = options(fixed).open(&path).unwrap();
        assert_eq!(kind(file.read(0)), ErrorKind::Damaged);
        assert_eq!(file.read(2900).unwrap(), element(2900));
    });
}

/// 30: files of the store that are missing or cut are told, with their name.
#[test]
fn n30_missing_files_are_told() {
    each(|dir, fixed| {
        let path = closed(dir, fixed, 3000);
        let home = dir.join("a.untorn");
        let mut names = vec!["sums.0.0", "META"];
        if fixed == 0 {
            names.extend(["ends.0.0", "esums.0.0"]);
        }
        for name in names {
            let whole = std::fs::read(home.join(name)).unwrap();
            std::fs::remove_file(home.join(name)).unwrap();
            let error = options(fixed).open(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{name}: {error}");
            assert!(error.to_string().contains(name), "{error}");
            std::fs::write(home.join(name), &whole[..whole.len() / 2]).unwrap();
            let file = options(fixed).open(&path);
            let read = file.and_then(|file| (0..3000).try_for_each(|at| file.read(at).map(drop)));
            assert_eq!(kind(read), ErrorKind::Damaged, "{name}");
            std::fs::write(home.join(name), whole).unwrap();
        }
        assert_eq!(all(&options(fixed).open(&path).unwrap()), elements(0..3000));
    });
}

/// 33: a hole at the head stays one, and a compaction gives the file its length back.
#[cfg(target_os = "linux")]
#[test]
fn n33_holes_are_not_filled() {
    use std::os::unix::fs::MetadataExt as _;
    each(|dir, fixed| {
        let path = dir.join("a");
        let mut file = options(fixed).open(&path).unwrap();
        file.append_batch(elements(0..20_000)).unwrap();
        file.flush().unwrap();
        let report = file.drop_head(15_000).unwrap();
        if report.later {
            return; // this file system has no holes
        }
        let stat = std::fs::metadata(&path).unwrap();
        assert_eq!(stat.len(), 800_000);
        assert!(stat.blocks() * 512 < 300_000, "{}", stat.blocks());
        assert_eq!(file.read(15_000).unwrap(), element(15_000));
        file.compact([15_000]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4999 * 40);
        assert_eq!((file.first(), all(&file)), (0, elements(15_001..20_000)));
    });
}

/// 34: a store is looked into and verified while nobody has it open, and without a change.
#[test]
fn n34_a_look_changes_nothing() {
    each(|dir, fixed| {
        let path = dir.join("a");
        let mut file = options(fixed).open(&path).unwrap();
        file.append_batch(elements(0..1000)).unwrap();
        file.flush().unwrap();
        drop(file);
        let files = || {
            let list = |dir: &Path| {
                let names = std::fs::read_dir(dir).unwrap().map(|n| n.unwrap().path());
                names.filter(|n| n.is_file()).map(|n| (n.clone(), std::fs::read(n).unwrap()))
            };
            let mut all: Vec<_> = list(dir)
                .chain(list(&dir.join("a.untorn")))
                .chain(list(&dir.join("a.untorn/log")))
                .collect();
            all.sort();
            all
        };
        let before = files();
        let report = options(fixed).check(&path, |_, _| {}).unwrap();
        assert_eq!((report.len, report.clean, report.damaged_blocks), (1000, false, 0));
        let reader = options(fixed).open_read_only(&path).unwrap();
        let state = reader.snapshot().unwrap();
        assert_eq!(state.len(), 1000);
        assert_eq!(*state.get_cow(999).unwrap(), element(999));
        assert_eq!(kind(state.get(999)), ErrorKind::Unsupported);
        assert!(files() == before, "a look changed something");
        assert_eq!(kind(options(fixed).check(dir.join("none"), |_, _| {})), ErrorKind::NotFound);
        assert_eq!(kind(options(fixed).open_read_only(dir.join("none"))), ErrorKind::NotFound);
    });
}
