//! One path, two programs in turn: each reads what the other wrote, byte for byte, and goes on with it.

use std::fs;
use std::path::Path;

use grin_store::types::AppendOnlyFile;
use untorn::append::OnForeign;
use untorn::{ErrorKind, Outcome};

use crate::files::{Bytes, element, open_fixed, open_variable, variable_len};
use crate::ours::{all, kind, options};

const FIXED: [u16; 3] = [32, 34, 683];

fn fixed(size: u16, numbers: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.map(|n| element(n, size.into())).collect()
}

fn variable(numbers: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.map(|n| element(n, variable_len(n))).collect()
}

/// Their file, opened, has what is there, and they add `more`.
fn they_go_on(mut theirs: AppendOnlyFile<Bytes>, there: &[Vec<u8>], more: &[Vec<u8>]) {
    for (n, expected) in there.iter().enumerate() {
        assert_eq!(theirs.read(n as u64).unwrap(), &expected[..], "{n}");
    }
    more.iter().for_each(|element| theirs.append(&mut element.clone()).unwrap());
    theirs.flush().unwrap();
}

fn they_go_on_fixed(path: &Path, size: u16, there: &[Vec<u8>], more: &[Vec<u8>]) {
    they_go_on(open_fixed(path, size).unwrap(), there, more);
    assert!(fs::read(path).unwrap() == [there, more].concat().concat(), "and that is all");
}

fn they_go_on_variable(path: &Path, there: &[Vec<u8>], more: &[Vec<u8>]) {
    they_go_on(open_variable(path).unwrap(), there, more);
    let sizes = fs::metadata(path.with_extension("size")).unwrap().len();
    assert_eq!(sizes, 10 * (there.len() + more.len()) as u64, "and that is all");
}

fn we_go_on(path: &Path, size: u32, there: &[Vec<u8>], more: &[Vec<u8>], adopted: u64) {
    let mut options = options(size).on_foreign(OnForeign::Adopt);
    if size == 0 {
        options = options.size_file(path.with_extension("size"));
    }
    let mut ours = options.open(path).unwrap();
    let report = ours.recovery().unwrap();
    assert_eq!((report.adopted, report.cut_bytes, report.lost), (adopted, 0, 0));
    assert_eq!(all(&ours), there);
    ours.append_batch(more).unwrap();
    ours.flush().unwrap();
    ours.close().unwrap();
}

/// They, we, they, we, and each finds what the other left.
#[test]
fn elements_of_fixed_size_that_they_began() {
    for size in FIXED {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("both.bin");
        let part = |numbers: std::ops::Range<usize>| fixed(size, numbers);
        they_go_on_fixed(&path, size, &[], &part(0..60));
        we_go_on(&path, size.into(), &part(0..60), &part(60..100), 60);
        assert_eq!(fs::read(&path).unwrap(), part(0..100).concat());
        they_go_on_fixed(&path, size, &part(0..100), &part(100..130));

        let error = options(size.into()).open(&path).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::Precondition, Outcome::Unchanged));
        assert_eq!(error.offset(), Some(100 * u64::from(size)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), part(0..130).concat());
        we_go_on(&path, size.into(), &part(0..130), &part(130..131), 30);
        they_go_on_fixed(&path, size, &part(0..131), &[]);
        // They added nothing: there is nothing to report.
        assert_eq!(all(&options(size.into()).open(&path).unwrap()), part(0..131));
    }
}

#[test]
fn elements_of_fixed_size_that_we_began() {
    for size in FIXED {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("both.bin");
        let part = |numbers: std::ops::Range<usize>| fixed(size, numbers);
        we_go_on(&path, size.into(), &[], &part(0..50), 0);
        they_go_on_fixed(&path, size, &part(0..50), &part(50..70));
        assert_eq!(kind(options(size.into()).open(&path)), ErrorKind::Precondition);
        we_go_on(&path, size.into(), &part(0..70), &[], 20);
    }
}

/// What they take back, and write in its place, is noticed too.
#[test]
fn a_rewind_of_theirs_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("both.bin");
    let rewind = |to: u64, more: &[Vec<u8>]| {
        let mut theirs = open_fixed(&path, 32).unwrap();
        theirs.rewind(to);
        more.iter().for_each(|element| theirs.append(&mut element.clone()).unwrap());
        theirs.flush().unwrap();
    };
    we_go_on(&path, 32, &[], &fixed(32, 0..10), 0);
    rewind(8, &fixed(32, 20..22));
    assert_eq!(kind(options(32).open(&path)), ErrorKind::Damaged, "of the same length");
    rewind(8, &fixed(32, 8..10));
    rewind(7, &[]);
    assert_eq!(kind(options(32).open(&path)), ErrorKind::Damaged, "shorter");
    let ours = options(32).on_foreign(OnForeign::Adopt).open(&path).unwrap();
    assert_eq!((all(&ours), ours.recovery().unwrap().lost), (fixed(32, 0..7), 3));
}

/// Their files as they would be had they written it all.
fn as_theirs(dir: &Path, elements: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let path = dir.join("theirs.bin");
    they_go_on_variable(&path, &[], elements);
    let bytes = (fs::read(&path).unwrap(), fs::read(path.with_extension("size")).unwrap());
    fs::remove_file(&path).unwrap();
    fs::remove_file(path.with_extension("size")).unwrap();
    bytes
}

fn files(path: &Path) -> (Vec<u8>, Vec<u8>) {
    (fs::read(path).unwrap(), fs::read(path.with_extension("size")).unwrap())
}

#[test]
fn elements_of_variable_size_that_they_began() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("both.bin");
    let sizes = path.with_extension("size");
    let part = |numbers: std::ops::Range<usize>| variable(numbers);
    // Element 20 is as long as can be, 16 and 32 are empty.
    they_go_on_variable(&path, &[], &part(0..18));
    we_go_on(&path, 0, &part(0..18), &part(18..34), 18);
    assert!(files(&path) == as_theirs(dir.path(), &part(0..34)), "what we leave is theirs");
    they_go_on_variable(&path, &part(0..34), &part(34..50));
    assert!(files(&path) == as_theirs(dir.path(), &part(0..50)), "and they go on with it");

    let open = || options(0).size_file(&sizes);
    let error = open().open(&path).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Precondition, Outcome::Unchanged));
    assert!(files(&path) == as_theirs(dir.path(), &part(0..50)), "nothing was changed");
    // Without their sizes nothing says where theirs end.
    let adopt = options(0).on_foreign(OnForeign::Adopt);
    assert_eq!(kind(adopt.open(&path)), ErrorKind::Precondition);
    let ours = open().on_foreign(OnForeign::Adopt).open(&path).unwrap();
    // All of them count anew, by their file.
    assert_eq!((ours.recovery().unwrap().adopted, ours.recovery().unwrap().cut_bytes), (50, 0));
    assert_eq!(all(&ours), part(0..50));
    let exported = dir.path().join("exported");
    ours.export_size_file(&exported).unwrap();
    assert!(fs::read(&exported).unwrap() == fs::read(&sizes).unwrap(), "an export is theirs");
}

#[test]
fn elements_of_variable_size_that_we_began() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("both.bin");
    let part = |numbers: std::ops::Range<usize>| variable(numbers);
    we_go_on(&path, 0, &[], &part(0..25), 0);
    assert!(files(&path) == as_theirs(dir.path(), &part(0..25)));
    they_go_on_variable(&path, &part(0..25), &part(25..40));
    we_go_on(&path, 0, &part(0..40), &part(40..48), 40);
    assert!(files(&path) == as_theirs(dir.path(), &part(0..48)));
    they_go_on_variable(&path, &part(0..48), &[]);
}
