//! The fixtures of the library's tests: that crate writes them here once more, and they are the same bytes.
//!
//! With `UNTORN_MAKE_FIXTURES` in the environment they are written where they are checked in.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{Bytes, element, open_data, open_fixed, open_variable, variable_len};

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/untorn/tests/fixtures/grin")
}

/// Elements from 0 on in three flushes, as many as there are.
fn fixed(dir: &Path, size: u16, count: usize) {
    let mut file = open_fixed(&dir.join(format!("fixed-{size}.bin")), size).unwrap();
    for n in 0..count {
        file.append(&mut element(n, size.into())).unwrap();
        if n % (count / 3) == 0 {
            file.flush().unwrap();
        }
    }
    file.flush().unwrap();
}

fn variable(path: &Path) {
    let mut file = open_variable(path).unwrap();
    for n in 0..48 {
        file.append(&mut element(n, variable_len(n))).unwrap();
        if n % 10 == 9 {
            file.flush().unwrap();
        }
    }
    file.flush().unwrap();
}

/// Elements that say where they end.
fn prefixed(path: &Path) {
    let mut file = open_data(path).unwrap();
    for n in 21..48 {
        file.append(&Bytes(element(n, variable_len(n)))).unwrap();
    }
    file.flush().unwrap();
}

/// The second of three elements has 70,000 bytes, and an entry says 4,464.
fn wrapped(path: &Path) {
    let mut file = open_variable(path).unwrap();
    for (n, len) in [100, 70_000, 100].into_iter().enumerate() {
        file.append(&mut element(n, len)).unwrap();
    }
    file.flush().unwrap();
}

/// Ten elements, and ten of zeros that nobody appended: what a rewind beyond the end makes.
fn zero_tail(path: &Path) {
    let mut file = open_fixed(path, 32).unwrap();
    for n in 0..10 {
        file.append(&mut element(n, 32)).unwrap();
    }
    file.flush().unwrap();
    file.rewind(20);
    file.flush().unwrap();
}

fn cut(from: &Path, to: &Path, len: usize) {
    fs::write(to, &fs::read(from).unwrap()[..len]).unwrap();
}

fn make(dir: &Path) {
    fixed(dir, 32, 40);
    fixed(dir, 34, 40);
    fixed(dir, 683, 12);
    // In the middle of element 17, and of 7.
    cut(&dir.join("fixed-34.bin"), &dir.join("fixed-34-torn.bin"), 17 * 34 + 20);
    cut(&dir.join("fixed-683.bin"), &dir.join("fixed-683-torn.bin"), 7 * 683 + 1);
    zero_tail(&dir.join("fixed-32-zeros.bin"));

    variable(&dir.join("variable.bin"));
    prefixed(&dir.join("prefixed.bin"));
    // The data ends within its last element but one; the size file within the entry of element 40.
    let (data, sizes) = (dir.join("prefixed.bin"), dir.join("prefixed.size"));
    let last = (46..48).map(|n| 8 + variable_len(n)).sum::<usize>();
    let whole = usize::try_from(fs::metadata(&data).unwrap().len()).unwrap();
    cut(&data, &dir.join("prefixed-torn.bin"), whole - last + 9);
    cut(&sizes, &dir.join("prefixed-torn-sizes.size"), (40 - 21) * 10 + 3);

    // The data is 70,200 bytes of the formula: only the size file is worth its place.
    wrapped(&dir.join("wrapped.bin"));
    fs::remove_file(dir.join("wrapped.bin")).unwrap();
}

#[test]
fn the_fixtures_are_what_that_crate_writes() {
    let made = tempfile::tempdir().unwrap();
    make(made.path());
    let mut names: Vec<_> =
        fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 13, "{names:?}");
    for name in &names {
        let (made, kept) = (made.path().join(name), kept().join(name));
        if std::env::var_os("UNTORN_MAKE_FIXTURES").is_some() {
            fs::copy(&made, &kept).unwrap();
        }
        assert!(fs::read(&made).unwrap() == fs::read(&kept).unwrap(), "{}", kept.display());
    }
    // Nothing else is kept but the file that explains.
    assert_eq!(fs::read_dir(kept()).unwrap().count(), names.len() + 1);
}

#[test]
fn what_that_crate_makes_of_a_long_element() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wrapped.bin");
    wrapped(&path);
    assert_eq!(fs::metadata(&path).unwrap().len(), 70_200);
    assert_eq!(fs::read(path.with_extension("size")).unwrap()[18..20], 4_464_u16.to_be_bytes());
    let file = open_fixed(&path.with_extension("size"), 10).unwrap();
    assert_eq!(
        file.read(2).unwrap()[..8],
        4_564_u64.to_be_bytes(),
        "it begins within the one before"
    );
}
