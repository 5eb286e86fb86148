//! How the old crate fails, and what untorn does with the same. The numbers are those of the list in the design of the store; what
//! else there is to say of ours is in `append_failures` of the library's tests.

use std::fs;
use std::path::Path;

use untorn::ErrorKind;
use untorn::append::{DataFile, ProtocolVersion, SizeInfo};

use crate::files::{Bytes, element, open_data, open_fixed, open_variable};
use crate::ours;

const SIZE: usize = 40;

/// A file of that crate with elements of 40 bytes, 0 to `count`.
fn filled(path: &Path, count: usize) -> grin_store::types::AppendOnlyFile<Bytes> {
    let mut file = open_fixed(path, 40).unwrap();
    append(&mut file, 0..count);
    file.flush().unwrap();
    file
}

fn append(
    file: &mut grin_store::types::AppendOnlyFile<Bytes>,
    numbers: impl IntoIterator<Item = usize>,
) {
    for n in numbers {
        file.append(&mut element(n, SIZE)).unwrap();
    }
}

fn elements(numbers: impl IntoIterator<Item = usize>) -> Vec<u8> {
    numbers.into_iter().flat_map(|n| element(n, SIZE)).collect()
}

/// Ten elements of 20 bytes with their lengths before them.
fn prefixed(path: &Path) -> grin_store::types::DataFile<Bytes> {
    let mut file = open_data(path).unwrap();
    for n in 0..10 {
        file.append(&Bytes(element(n, 20))).unwrap();
    }
    file.flush().unwrap();
    file
}

/// Which of positions 1 to 10 can be read, and give what was appended there.
fn readable(file: &grin_store::types::DataFile<Bytes>) -> Vec<u64> {
    let good = |n: &u64| file.read(*n).is_some_and(|read| read.0 == element(*n as usize - 1, 20));
    (1..=10).filter(good).collect()
}

/// 1.
#[test]
fn an_element_of_70000_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open_variable(&dir.path().join("theirs")).unwrap();
    for (n, len) in [10, 70_000, 10].into_iter().enumerate() {
        file.append(&mut element(n, len)).unwrap();
    }
    file.flush().unwrap();
    assert_eq!(file.read(0).unwrap(), element(0, 10));
    assert_eq!(file.read(1).unwrap(), &element(1, 70_000)[..4_464], "its length modulo 65,536");
    assert_eq!(file.read(2).unwrap(), &element(1, 70_000)[4_464..4_474], "a neighbour's bytes");

    let mut ours = ours::options(0).open(dir.path().join("ours")).unwrap();
    ours.append_batch([element(0, 10), element(1, 70_000), element(2, 10)]).unwrap();
    ours.flush().unwrap();
    assert_eq!(ours.read(1).unwrap(), element(1, 70_000));
    assert_eq!(ours.read(2).unwrap(), element(2, 10));
}

/// 2.
#[test]
fn a_size_file_that_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs.bin");
    drop(prefixed(&path));
    let sizes = path.with_extension("size");
    fs::remove_file(&sizes).unwrap();
    let ours = || ours::kind(ours::options(0).size_file(&sizes).open(&path));
    assert_eq!(ours(), ErrorKind::NotFound);
    for _ in 0..2 {
        let file = open_data(&path).unwrap();
        assert_eq!(fs::read(&sizes).unwrap()[..10], [0, 0, 0, 0, 0, 0, 0, 0, 0, 36], "it is 28");
        assert_eq!(readable(&file), [1], "at each open");
        assert_eq!(ours(), ErrorKind::Damaged, "what it made of them");
    }
}

/// 3, 4.
#[test]
fn a_rewind_with_elements_pending() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    let mut file = open_fixed(&path, 40).unwrap();
    append(&mut file, 0..10);
    file.rewind(5);
    append(&mut file, [100]);
    file.flush().unwrap();
    assert_eq!(fs::read(&path).unwrap(), elements((0..10).chain([100])), "nothing is taken back");
    drop(file);
    fs::remove_file(&path).unwrap();

    let mut file = filled(&path, 10);
    append(&mut file, 10..15);
    file.rewind(8);
    append(&mut file, [100]);
    file.flush().unwrap();
    let expected = elements((0..8).chain(10..15).chain([100]));
    assert_eq!(fs::read(&path).unwrap(), expected, "those that were taken back come again");

    let mut ours = ours::filled(&path, 0);
    ours::append(&mut ours, 0..10);
    ours.rewind(5).unwrap();
    ours::append(&mut ours, [100]);
    ours.flush().unwrap();
    assert_eq!(fs::read(ours::beside(&path)).unwrap(), elements((0..5).chain([100])));
    ours::append(&mut ours, 6..15);
    ours.rewind(3).unwrap();
    ours::append(&mut ours, [101]);
    ours.flush().unwrap();
    assert_eq!(fs::read(ours::beside(&path)).unwrap(), elements((0..3).chain([101])));
}

/// 5.
#[test]
fn a_rewind_beyond_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    let mut file = filled(&path, 10);
    file.rewind(20);
    file.flush().unwrap();
    let expected = [elements(0..10), vec![0; 10 * SIZE]].concat();
    assert_eq!(fs::read(&path).unwrap(), expected, "ten elements that nobody appended");
    assert_eq!(ours::kind(ours::filled(&path, 10).rewind(20)), ErrorKind::OutOfRange);
}

/// 6.
#[test]
fn half_an_element_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    drop(filled(&path, 10));
    fs::write(&path, &elements(0..10)[..9 * SIZE + 20]).unwrap();
    fs::copy(&path, ours::beside(&path)).unwrap();
    let mut file = open_fixed(&path, 40).unwrap();
    append(&mut file, [100, 101]);
    file.flush().unwrap();
    let expected = [&elements([9])[..20], &elements([100])[..20]].concat();
    assert_eq!(file.read(9).unwrap(), expected, "half of the one and half of the other");
    let expected = [&elements([100])[20..], &elements([101])[..20]].concat();
    assert_eq!(file.read(10).unwrap(), expected, "and so on for ever");

    let mut ours = ours::options(40).open(ours::beside(&path)).unwrap();
    ours::append(&mut ours, [100, 101]);
    assert_eq!(ours.recovery().unwrap().cut_bytes, 20, "and kept apart");
    assert_eq!(ours::all(&ours).concat(), elements((0..9).chain([100, 101])));
}

/// 7.
#[test]
fn half_an_element_at_the_end_of_variable_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs.bin");
    drop(prefixed(&path));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let ours = ours::options(0).size_file(path.with_extension("size"));
    assert_eq!(ours::kind(ours.open(&path)), ErrorKind::Damaged, "all that is there stays");
    let file = open_data(&path).unwrap();
    assert_eq!(readable(&file), [1], "nine are whole");
}

/// 8.
#[test]
fn a_length_that_was_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs.bin");
    drop(prefixed(&path));
    let mut bytes = fs::read(&path).unwrap();
    bytes[4 * 28 + 6] = 0xff;
    fs::write(&path, &bytes).unwrap();
    let mut file = open_data(&path).unwrap();
    file.write_tmp_pruned(&[1]).unwrap();
    file.replace_with_tmp().unwrap();
    let kept = fs::read(&path).unwrap();
    assert_eq!(kept, &bytes[28..4 * 28], "Ok, and of nine elements three are left");

    // Ours reads no lengths from the data.
    let ours = ours::beside(&path);
    fs::write(&ours, &bytes).unwrap();
    let mut ours = ours::options(28).open(&ours).unwrap();
    assert_eq!(ours.compact([0]).unwrap().kept, 9);
    assert_eq!(ours::all(&ours).concat(), &bytes[28..]);
}

/// 9.
#[test]
fn pruning_with_a_rewind_pending() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs.bin");
    let mut file = prefixed(&path);
    file.rewind(5);
    file.write_tmp_pruned(&[1]).unwrap();
    file.replace_with_tmp().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 9 * 28, "neither applied nor refused");

    let mut ours = ours::filled(&path, 10);
    ours.rewind(5).unwrap();
    assert_eq!(ours::kind(ours.write_tmp_pruned(&[1])), ErrorKind::Precondition);
}

/// 10.
#[test]
fn a_crash_in_the_replacement() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs.bin");
    let file = prefixed(&path);
    file.write_tmp_pruned(&[1]).unwrap();
    drop(file);
    // What it does first; the rename does not come any more.
    fs::remove_file(&path).unwrap();
    let file = open_data(&path).unwrap();
    assert!(readable(&file).is_empty(), "Ok, and all is lost");
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);

    // Ours has no such moment; if somebody else removes the file, that is told.
    let mut ours = ours::filled(&path, 10);
    ours.write_tmp_pruned(&[1]).unwrap();
    drop(ours);
    fs::remove_file(ours::beside(&path)).unwrap();
    let ours = ours::options(40).open(ours::beside(&path));
    assert_eq!(ours::kind(ours), ErrorKind::NotFound);
}

/// 11.
#[test]
fn what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open_variable(&dir.path().join("theirs")).unwrap();
    file.append(&mut []).unwrap();
    file.append(&mut [1, 2]).unwrap();
    file.flush().unwrap();
    assert!(file.read(0).unwrap().is_empty(), "an element that is empty");
    assert!(file.read(7).unwrap().is_empty(), "one that is not there");
    let mut file = filled(&dir.path().join("fixed"), 2);
    file.release();
    assert!(file.read(1).unwrap().is_empty(), "one that cannot be read any more");

    let mut ours = ours::options(0).open(dir.path().join("ours")).unwrap();
    ours.append_batch([&[][..], &[1, 2]]).unwrap();
    assert!(ours.read(0).unwrap().is_empty());
    assert_eq!(ours::kind(ours.read(7)), ErrorKind::OutOfRange);
    ours.release();
    assert_eq!(ours::kind(ours.read(1)), ErrorKind::Closed);
}

/// 12.
#[test]
fn an_element_of_another_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    let mut file = filled(&path, 2);
    file.append(&mut [7; 13]).unwrap();
    append(&mut file, [2]);
    file.flush().unwrap();
    assert_eq!(file.read(2).unwrap(), [&[7; 13][..], &elements([2])[..27]].concat());
    let ours = ours::filled(&path, 2).append(&[7; 13]);
    assert_eq!(ours::kind(ours), ErrorKind::InvalidInput);
}

/// 13.
#[test]
fn a_byte_that_was_flipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    drop(filled(&path, 10));
    let mut bytes = fs::read(&path).unwrap();
    bytes[3 * SIZE] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let file = open_fixed(&path, 40).unwrap();
    assert_eq!(file.read(3).unwrap(), &bytes[3 * SIZE..4 * SIZE], "it is returned");

    ours::filled(&path, 10).close().unwrap();
    fs::write(ours::beside(&path), &bytes).unwrap();
    let ours = ours::options(40).open(ours::beside(&path));
    assert_eq!(ours::kind(ours), ErrorKind::Damaged);
}

/// 16.
#[test]
fn two_writers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    let mut first = filled(&path, 10);
    let mut second = open_fixed(&path, 40).unwrap();
    append(&mut first, [10]);
    append(&mut second, [11]);
    first.flush().unwrap();
    assert_eq!(second.read(10).unwrap(), element(11, SIZE));
    second.flush().unwrap();
    assert_eq!(second.read(10).unwrap(), element(10, SIZE), "another one than before");

    let _first = ours::filled(&path, 10);
    let second = ours::options(40).open(ours::beside(&path));
    assert_eq!(ours::kind(second), ErrorKind::Locked);
}

/// 18.
#[test]
fn a_temporary_copy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    let mut file = filled(&path, 4);
    append(&mut file, [4]);
    let len = |file: &grin_store::types::AppendOnlyFile<Bytes>| {
        file.as_temp_file().unwrap().metadata().unwrap().len() / SIZE as u64
    };
    assert_eq!(len(&file), 4, "five are read");
    file.rewind(2);
    assert_eq!(len(&file), 4, "two are read");

    let mut ours = ours::filled(&path, 4);
    ours::append(&mut ours, [4]);
    let len = |file: &ours::Ours| file.as_temp_file().unwrap().metadata().unwrap().len();
    assert_eq!(len(&ours), 5 * SIZE as u64);
    ours.rewind(2).unwrap();
    assert_eq!(len(&ours), 2 * SIZE as u64);
}

/// 18.
#[test]
fn what_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open_data(&dir.path().join("theirs.bin")).unwrap();
    assert_eq!(file.append(&Bytes(vec![1, 2])).unwrap(), 1);
    assert_eq!(file.size(), 0);
    assert_eq!(file.read(1).unwrap().0, [1, 2], "and yet it is there");

    let mut ours = our_data(&dir.path().join("ours"));
    assert_eq!(ours.append(&vec![1, 2]).unwrap(), 1);
    assert_eq!((ours.size(), ours.size_unsync().unwrap()), (0, 1), "and the two are told apart");
    assert_eq!(ours.read(1).unwrap(), Some(vec![1, 2]));
}

fn our_data(path: &Path) -> DataFile<Vec<u8>> {
    DataFile::open(path, SizeInfo::Variable, ProtocolVersion(1)).unwrap()
}

/// 19.
#[test]
fn positions_without_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs.bin");
    let mut file = prefixed(&path);
    file.write_tmp_pruned(&[5, 2]).unwrap();
    file.replace_with_tmp().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 9 * 28, "one of the two is gone");

    let mut ours = our_data(&ours::beside(&path));
    ours.extend_from_slice(&(0..10).map(|n| element(n, 20)).collect::<Vec<_>>()).unwrap();
    ours.flush().unwrap();
    assert_eq!(ours::kind(ours.write_tmp_pruned(&[5, 2])), ErrorKind::InvalidInput);
}

/// 20.
#[test]
fn a_file_that_was_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs.bin");
    let file = prefixed(&path);
    let sizes = path.with_extension("size");
    let ours = ours::options(0).size_file(&sizes).open(&path).unwrap();
    fs::rename(&sizes, dir.path().join("elsewhere")).unwrap();
    assert_eq!(file.size(), 0, "an error, shown as an empty store");
    assert_eq!((ours.len(), ours.read(9).unwrap().len()), (10, 28), "it was taken over once");
}

/// 24.
#[test]
fn two_files_with_one_temporary_name() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["a.bin", "a.dat"].map(|name| dir.path().join(name));
    let open = |path: &Path| {
        let mut file = open_fixed(path, 28).unwrap();
        for n in 0..10 {
            let element = element(n, 20);
            file.append(&mut [&20_u64.to_be_bytes()[..], &element].concat()).unwrap();
        }
        file.flush().unwrap();
        file
    };
    let (mut one, two) = (open(&first), open(&second));
    one.write_tmp_pruned(&[0]).unwrap();
    two.write_tmp_pruned(&[0, 1, 2]).unwrap();
    one.replace_with_tmp().unwrap();
    assert_eq!(fs::metadata(&first).unwrap().len(), 7 * 28, "it has what the other one prepared");

    let [first, second] = ["b.bin", "b.dat"].map(|name| dir.path().join(name));
    let open = |path: &Path| {
        let mut file = ours::options(40).open(path).unwrap();
        ours::append(&mut file, 0..10);
        file.flush().unwrap();
        file
    };
    let (mut one, mut two) = (open(&first), open(&second));
    one.write_tmp_pruned(&[0]).unwrap();
    two.write_tmp_pruned(&[0, 1, 2]).unwrap();
    one.replace_with_tmp().unwrap();
    assert_eq!((one.len(), two.len()), (9, 10));
}
