//! PGSS files from the inside: the bytes, every cut, every flipped bit, junk, zeros, damage, limits.

use std::sync::Arc;

use super::record::{Op, decode};
use super::{Image, read_with, record, write_entries, write_to};
use crate::fold::{KvEntry, VersionToken, WatchCursor};
use crate::sim::SimFs;
use crate::{Error, ErrorKind, OnDamage, Outcome, Result};

/// The worked example of docs/FORMAT.md: header, a = "hi" at 7, cursor 7, a deleted at 8.
const EXAMPLE: [&str; 4] = [
    "504753530200",
    "2d3d4e3f0101006102000000686908_0000000000000007",
    "cee4012d0308_0000000000000007",
    "c2faab7f0201006108_0000000000000008",
];

fn example(parts: usize) -> Vec<u8> {
    let text: String = EXAMPLE[..parts].concat().replace('_', "");
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn entry(key: &str, value: &[u8], version: &[u8]) -> KvEntry {
    let version = VersionToken::from_raw(version).unwrap();
    KvEntry { key: key.to_owned(), value: value.to_vec(), version }
}

fn at(position: u64) -> WatchCursor {
    WatchCursor::from_u64(position)
}

fn put(key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    record::Records::begin(&mut out).unwrap().put(&entry(key, value, &[7; 8])).unwrap();
    out.split_off(6)
}

fn cursor(position: u64) -> Vec<u8> {
    let mut out = Vec::new();
    record::Records::begin(&mut out).unwrap().cursor(&at(position).to_bytes()).unwrap();
    out.split_off(6)
}

fn delete(key: &str) -> Vec<u8> {
    let fields = [&[2][..], &u16::try_from(key.len()).unwrap().to_le_bytes(), key.as_bytes(), &[0]];
    summed(&fields.concat())
}

/// A record of these bytes, with their checksum.
fn summed(bytes: &[u8]) -> Vec<u8> {
    [&crate::codec::checksum::crc32(bytes, 0).to_le_bytes()[..], bytes].concat()
}

fn file(records: &[Vec<u8>]) -> Vec<u8> {
    [&example(1)[..], &records.concat()].concat()
}

fn read_as(bytes: &[u8], on_damage: OnDamage) -> Result<Image> {
    let sim = SimFs::new(1);
    sim.put("/f", bytes).unwrap();
    read_with("/f", Arc::new(sim), on_damage)
}

fn read(bytes: &[u8]) -> Result<Image> {
    read_as(bytes, OnDamage::Refuse)
}

fn keys(image: &Image) -> String {
    image.entries().map(|entry| entry.key.to_owned()).collect::<Vec<_>>().join(" ")
}

fn refused(bytes: &[u8]) -> Error {
    read(bytes).unwrap_err()
}

#[test]
fn the_worked_example() {
    let image = read(&example(3)).unwrap();
    assert_eq!((image.cursor(), image.len()), (&at(7), 1));
    let entries: Vec<_> = image.clone().into_entries().collect();
    assert_eq!(entries, [entry("a", b"hi", &[0, 0, 0, 0, 0, 0, 0, 7])]);
    assert_eq!((image.report().records, image.report().ops_after_cursor), (2, 0));
    let mut written = Vec::new();
    assert_eq!(write_to(entries.into_iter().map(Ok), &at(7), &mut written).unwrap(), 1);
    assert_eq!(written, example(3));
    let image = read(&example(4)).unwrap();
    assert_eq!((image.cursor(), image.is_empty()), (&at(7), true));
    assert_eq!((image.report().records, image.report().ops_after_cursor), (3, 1));
}

#[test]
fn what_is_written_is_read() {
    let entries = [
        entry("", b"", b""),
        entry("a", &[0; 3], &[255; 10]),
        entry("\u{e4}", b"", &[1]),
        entry(&"k".repeat(65_535), &vec![3; 3 << 20], &[0; 8]),
    ];
    let mut entries = entries.to_vec();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let ten = WatchCursor::from_raw(&[5; 10]).unwrap();
    let seen = at(9).remember_evicting(true);
    for cursor in [WatchCursor::none(), at(9), ten, seen.clone(), seen.written_at(Some(77))] {
        let sim = SimFs::new(1);
        sim.make_dirs("/data").unwrap();
        let fs = || Arc::new(sim.clone());
        let wanted = entries.iter().cloned().map(Ok);
        assert_eq!(write_entries(wanted, &cursor, "/data/f", fs()).unwrap(), 4);
        let image = read_with("/data/f", fs(), OnDamage::Refuse).unwrap();
        assert_eq!(image.cursor(), &cursor);
        assert!(image.into_entries().eq(entries.iter().cloned()));
        // Nothing is replaced.
        let again = write_entries([], &cursor, "/data/f", fs()).unwrap_err();
        assert_eq!((again.kind(), again.outcome()), (ErrorKind::AlreadyExists, Outcome::Unchanged));
    }
    // A time is written only beside the flag that it belongs to.
    let mut out = Vec::new();
    write_to([], &at(9).written_at(Some(77)), &mut out).unwrap();
    assert_eq!(read(&out).unwrap().cursor(), &at(9));
}

#[test]
fn the_last_of_a_key_and_of_the_cursors_counts() {
    let records =
        [put("b", b"1"), cursor(1), put("a", b"2"), put("b", b""), cursor(2), put("c", b"3")];
    let image = read(&file(&records)).unwrap();
    assert_eq!((keys(&image), image.cursor()), ("a b c".to_owned(), &at(2)));
    assert_eq!(image.entries().nth(1).unwrap().value, b"");
    assert_eq!((image.report().ops_after_cursor, image.report().records), (1, 6));
    let records = [put("b", b"1"), delete("b"), delete("x"), cursor(1)];
    assert!(read(&file(&records)).unwrap().is_empty());
}

/// More than are sorted at once, in an order without order, over and over again.
#[test]
fn many_updates_of_the_same_keys() {
    let mut bytes = example(1);
    let mut expected = std::collections::BTreeMap::new();
    for n in 0..200_000_u64 {
        let key = format!("{:04}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52);
        if n % 7 == 0 {
            bytes.extend_from_slice(&delete(&key));
            expected.remove(&key);
        } else {
            bytes.extend_from_slice(&put(&key, &n.to_le_bytes()));
            expected.insert(key, n.to_le_bytes());
        }
    }
    let image = read(&bytes).unwrap();
    assert_eq!((image.report().records, image.len()), (200_000, expected.len()));
    let same = image.entries().zip(&expected).all(|(a, (key, b))| (a.key, a.value) == (key, b));
    assert!(same);
}

/// Cut anywhere, it has the records that are whole.
#[test]
fn every_cut_is_torn() {
    let records = [put("a", b"1"), cursor(1), put("b", b"22"), delete("a"), cursor(2)];
    let whole = file(&records);
    let mut ends = vec![6];
    for record in &records {
        ends.push(ends.last().unwrap() + record.len());
    }
    let at_end = ["", "a", "a", "a b", "b", "b"];
    for cut in 0..=whole.len() {
        let result = read(&whole[..cut]);
        if cut < 4 {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::NotOurs);
            continue;
        }
        let image = result.unwrap();
        let count = ends.iter().filter(|end| **end <= cut).count();
        let good = if count == 0 { 0 } else { ends[count - 1] };
        assert_eq!(image.report().torn_bytes, (cut - good) as u64, "{cut}");
        assert_eq!(keys(&image), at_end[count.saturating_sub(1)], "{cut}");
        for zeros in [1, 5, 6, 4096] {
            let longer = [&whole[..cut], &vec![0; zeros]].concat();
            if cut < 6 {
                continue;
            }
            // Where all that is cut off is zero, zeros make it whole.
            let keys = keys(&read(&longer).unwrap());
            assert!(at_end[count - 1..].iter().take(2).any(|end| *end == keys), "{cut} {zeros}");
        }
    }
}

#[test]
fn no_flipped_bit_gives_other_entries() {
    let records = [put("a", b"1"), put("b", &[2; 40]), cursor(1), put("c", b"3"), cursor(2)];
    let whole = file(&records);
    let last = whole.len() - records[4].len();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match read(&bytes) {
            Err(error) if bit / 8 < 6 => {
                let kinds = [ErrorKind::NotOurs, ErrorKind::NewerFormat, ErrorKind::Unsupported];
                assert!(kinds.contains(&error.kind()), "{error}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                assert!(error.offset().unwrap() <= bit as u64 / 8, "{error}");
                // A shorter length in the last record leaves more behind it than a torn write does.
                assert!(bit / 8 < last || bit / 8 == last + 5, "{error}");
            }
            // Only the last record can pass for torn.
            Ok(image) => {
                assert!(bit / 8 >= last, "{bit}");
                assert_eq!((keys(&image), image.cursor()), ("a b c".to_owned(), &at(1)));
                assert_eq!(image.report().torn_bytes, records[4].len() as u64);
            }
        }
        if bit / 8 < 6 {
            continue;
        }
        let kept = read_as(&bytes, OnDamage::Truncate).unwrap();
        assert!("a b c".starts_with(&keys(&kept)), "{bit}");
        let salvaged = read_as(&bytes, OnDamage::Salvage).unwrap();
        let missing = ["a b c", "b c", "a c", "a b"];
        assert!(missing.contains(&&*keys(&salvaged)), "{bit}: {}", keys(&salvaged));
        let values = [&b"1"[..], &[2; 40], b"3"];
        assert!(salvaged.entries().all(|entry| values.contains(&entry.value)));
    }
}

#[test]
fn damage_says_where_and_how_much_follows() {
    let records = [put("a", b"1"), cursor(1), put("b", b"2"), put("c", b"3"), cursor(2)];
    let mut bytes = file(&records);
    let second = 6 + records[0].len() + records[1].len();
    bytes[second + 7] ^= 1;
    let error = refused(&bytes);
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(second as u64)));
    assert!(error.to_string().contains("2 good ones follow it"), "{error}");
    let image = read_as(&bytes, OnDamage::Truncate).unwrap();
    assert_eq!((keys(&image), image.cursor()), ("a".to_owned(), &at(1)));
    let hole = |len: usize| std::iter::once(second as u64..(second + len) as u64);
    assert!(image.report().holes.iter().cloned().eq(hole(bytes.len() - second)));
    let image = read_as(&bytes, OnDamage::Salvage).unwrap();
    // From cursor 1 on, b comes again.
    assert_eq!((keys(&image), image.cursor()), ("a c".to_owned(), &at(1)));
    assert!(image.report().holes.iter().cloned().eq(hole(records[2].len())));
    assert_eq!((image.report().records, image.report().ops_after_cursor), (4, 1));
}

/// What the older program made an empty snapshot of: a length that runs past the end, and all the rest behind it.
#[test]
fn a_flipped_bit_in_a_length_is_damage() {
    let records: Vec<_> = (0..100).map(|n| put(&format!("key{n:03}"), &[1; 100])).collect();
    let mut bytes = file(&records);
    bytes[6 + 7 + 6 + 2] ^= 2; // 128 KiB more of the first value
    let error = refused(&bytes);
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Damaged, Some(6)));
    assert_eq!(read_as(&bytes, OnDamage::Salvage).unwrap().len(), 99);
    bytes[6 + 7 + 6 + 3] ^= 0x80; // and above what a value may have
    assert_eq!(refused(&bytes).offset(), Some(6));
}

#[test]
fn junk_and_zeros_at_the_end_are_torn() {
    let whole = file(&[put("a", b"1"), cursor(1)]);
    for junk in [&[0xa5; 16][..], &[0; 16], &[0; 5000], &[9], &[1, 2, 3], b"not a record at all"] {
        let image = read(&[&whole[..], junk].concat()).unwrap();
        assert_eq!((keys(&image), image.cursor()), ("a".to_owned(), &at(1)));
        assert_eq!(image.report().torn_bytes, junk.len() as u64);
        // A record behind it says that it was no torn write.
        let bytes = [&whole[..], junk, &cursor(2)].concat();
        let error = refused(&bytes);
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert_eq!(error.offset(), Some(whole.len() as u64));
        let image = read_as(&bytes, OnDamage::Salvage).unwrap();
        assert_eq!((image.cursor(), image.report().records), (&at(1), 3));
    }
}

#[test]
fn what_verifies_and_is_no_record_is_damage() {
    let bad: [&[u8]; 3] =
        [&[1, 1, 0, 0xff, 0, 0, 0, 0, 0], &[2, 1, 0, 0xff, 0], &[&[3, 11][..], &[0; 11]].concat()];
    for bad in bad {
        let bytes = file(&[put("a", b"1"), summed(bad)]);
        assert_eq!(refused(&bytes).kind(), ErrorKind::Damaged);
        for on_damage in [OnDamage::Truncate, OnDamage::Salvage] {
            assert_eq!(keys(&read_as(&bytes, on_damage).unwrap()), "a");
        }
    }
    // Fields of other lengths are junk, whatever their checksum.
    for bad in [&[3, 21][..], &[2, 0, 0, 11], &[1, 0, 0, 1, 0, 0, 4], &[4, 0, 0]] {
        let bytes = file(&[summed(&[bad, &[0; 40]].concat())]);
        assert!(read(&bytes).unwrap().report().torn_bytes > 40);
    }
    assert!(decode(&[]).is_err() && decode(&[0; 4]).is_err());
    assert_eq!(decode(&delete("x")), Ok(Op::Delete("x".to_owned())));
}

#[test]
fn other_files_are_told_apart() {
    let version = |version: u16| [b"PGSS", &version.to_le_bytes()[..], &[1; 40]].concat();
    for (bytes, kind) in [
        (version(0), ErrorKind::NotOurs),
        (version(1), ErrorKind::Unsupported),
        (version(3), ErrorKind::NewerFormat),
        (version(u16::MAX), ErrorKind::NewerFormat),
        (b"UNTORNFB".to_vec(), ErrorKind::NotOurs),
        (Vec::new(), ErrorKind::NotOurs),
    ] {
        assert_eq!(refused(&bytes).kind(), kind);
    }
    let error = refused(&version(1));
    assert!(
        error.to_string().contains("version 1 is not readable by any released code"),
        "{error}"
    );
    let missing = read_with("/f", Arc::new(SimFs::new(1)), OnDamage::Refuse).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn what_the_format_does_not_hold_is_unsupported() {
    let write = |entry: KvEntry, cursor: &WatchCursor| {
        let sim = SimFs::new(1);
        sim.make_dirs("/data").unwrap();
        let result = write_entries([Ok(entry)], cursor, "/data/f", Arc::new(sim.clone()));
        assert_eq!(sim.dump().len(), if result.is_ok() { 2 } else { 1 }, "nothing is left");
        result.map_err(|e| e.kind())
    };
    let unsupported = Err(ErrorKind::Unsupported);
    let key = |len: usize| entry(&"k".repeat(len), b"", b"");
    assert_eq!(write(key(65_535), &at(1)), Ok(1));
    assert_eq!(write(key(65_536), &at(1)), unsupported);
    assert_eq!(write(entry("a", b"", &[1; 10]), &at(1)), Ok(1));
    assert_eq!(write(entry("a", b"", &[1; 11]), &at(1)), unsupported);
    assert_eq!(write(entry("a", &vec![0; (64 << 20) + 1], b""), &at(1)), unsupported);
    let long = WatchCursor::from_raw(&[1; 11]).unwrap();
    assert_eq!(write(key(1), &long), unsupported);
    for keys in [["b", "a"], ["a", "a"]] {
        let entries = keys.map(|key| Ok(entry(key, b"", b"")));
        let error = write_to(entries, &at(1), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let failing = [Ok(key(1)), Err(Error::of_caller(ErrorKind::Cancelled, "look", "enough"))];
    let error = write_to(failing, &at(1), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn the_largest_value_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    let large = entry("a", &vec![9; 64 << 20], b"");
    let fs = || Arc::new(crate::fs::OsFs::new());
    let entries = [Ok(large.clone()), Ok(entry("b", b"x", b""))];
    write_entries(entries, &at(3), &path, fs()).unwrap();
    let image = super::read(&path).unwrap();
    assert_eq!(image.len(), 2);
    assert!(image.into_entries().next() == Some(large));
}

#[test]
fn a_full_disk_leaves_nothing() {
    let sim = SimFs::new(1);
    sim.make_dirs("/data").unwrap();
    sim.set_capacity(Some(200_000));
    let entries = (0..3000).map(|n| Ok(entry(&format!("{n:05}"), &[1; 100], b"")));
    let error = write_entries(entries, &at(1), "/data/f", Arc::new(sim.clone())).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoSpace, Outcome::Unchanged));
    assert_eq!(sim.dump().len(), 1);
}

/// Lengths that lie take no memory, and looking for what follows ends.
#[test]
fn hostile_lengths_end_soon() {
    let home = tempfile::tempdir().unwrap();
    for (byte, len) in [(1_u8, 20 << 20), (2, 1 << 20), (3, 4 << 20)] {
        let path = home.path().join(byte.to_string());
        crate::create_new(&path, &[&example(1)[..], &vec![byte; len]].concat()).unwrap();
        for on_damage in [OnDamage::Refuse, OnDamage::Salvage] {
            match read_with(&path, Arc::new(crate::fs::OsFs::new()), on_damage) {
                Ok(image) => assert!(image.is_empty()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged),
            }
        }
    }
}
