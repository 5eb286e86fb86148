//! What the fold makes of versions, positions and values, by the numbers of the list of failures that it was built against: 11, 17, 18 and 24.

use untorn::fold::{KvUpdate, Redelivery, SnapshotStore, VersionToken, WatchCursor};
use untorn::{ErrorKind, Outcome};

use super::fold_kit::{PATH, at, delete, disk, kind, open, options, put, value};

/// 11: neither the cursor nor a key goes back, deleted keys included, over a compaction and a kill.
#[test]
fn n11_nothing_goes_back() {
    let sim = disk();
    let mut fold = open(&sim);
    fold.apply(&[put("a", "new", 10), put("b", "b", 11), delete("b", 12)], &at(20)).unwrap();
    for round in 0..3 {
        for back in [WatchCursor::none(), at(19), WatchCursor::from_raw(&[9; 9]).unwrap()] {
            let error = fold.apply(&[put("c", "c", 30)], &back).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CursorRegressed, "{back}");
            assert_eq!(error.outcome(), Outcome::Unchanged);
        }
        let late =
            [put("a", "old", 9), put("b", "undead", 11), delete("a", 10), put("a", "same", 10)];
        fold.apply(&late, &at(20)).unwrap();
        assert_eq!(value(&fold, "a"), Some(b"new".to_vec()), "round {round}");
        assert_eq!((value(&fold, "b"), value(&fold, "c")), (None, None), "round {round}");
        assert_eq!((fold.stats().stale_ops, fold.cursor()), (4, at(20)));
        if round == 1 {
            fold.compact_all().unwrap();
        }
        drop(fold);
        fold = open(&sim);
    }
    // Who wants it as it comes can have it.
    drop(fold);
    let mut fold = options(&sim).redelivery(Redelivery::Accept).open(PATH).unwrap().1;
    fold.apply(&[put("a", "old", 9)], &at(20)).unwrap();
    assert_eq!(value(&fold, "a"), Some(b"old".to_vec()));
    drop(fold);
    let mut fold = options(&sim).redelivery(Redelivery::Skip).open(PATH).unwrap().1;
    fold.apply(&[put("a", "at the cursor", 20), put("d", "above", 21)], &at(21)).unwrap();
    assert_eq!(value(&fold, "a"), Some(b"old".to_vec()));
    assert_eq!(value(&fold, "d"), Some(b"above".to_vec()));
}

/// 17: positions and versions of any source, compared as bytes.
#[test]
fn n17_long_positions_and_versionstamps() {
    assert_eq!(kind(WatchCursor::from_raw(&[1; 256])), ErrorKind::TooLarge);
    assert_eq!(kind(VersionToken::from_raw(&[1; 256])), ErrorKind::TooLarge);
    for len in [10, 11, 23, 255] {
        let sim = disk();
        let mut fold = open(&sim);
        let of = |last: u8| [vec![0xab; len - 1], vec![last]].concat();
        let cursor = |last| WatchCursor::from_raw(&of(last)).unwrap();
        let update = |value: &str, last| {
            KvUpdate::put("k", value, VersionToken::from_raw(&of(last)).unwrap())
        };
        fold.apply(&[update("new", 7)], &cursor(9)).unwrap();
        fold.apply(&[update("old", 6)], &cursor(9)).unwrap();
        assert_eq!(kind(fold.apply(&[], &cursor(8))), ErrorKind::CursorRegressed);
        fold.apply(&[], &cursor(200)).unwrap();
        fold.compact_all().unwrap();
        fold.apply(&[], &cursor(201)).unwrap();
        drop(fold);
        let fold = open(&sim);
        let entry = fold.get("k").unwrap().unwrap();
        assert_eq!((fold.cursor(), entry.value), (cursor(201), b"new".to_vec()));
        assert_eq!((entry.version.as_bytes(), entry.version.as_u64()), (&of(7)[..], None));
    }
}

/// 18: an empty value is a value.
#[test]
fn n18_an_empty_value_is_kept() {
    let sim = disk();
    let mut fold = open(&sim);
    fold.apply(&[put("flag", "", 1), put("", "no key", 2)], &at(2)).unwrap();
    for _ in 0..3 {
        assert_eq!(value(&fold, "flag"), Some(Vec::new()));
        assert_eq!(value(&fold, ""), Some(b"no key".to_vec()));
        assert_eq!(
            (fold.range("").unwrap().len(), fold.reader().contains("flag").unwrap()),
            (2, true)
        );
        fold.compact_all().unwrap();
        fold.apply(&[], &at(3)).unwrap();
        drop(fold);
        fold = open(&sim);
    }
}

/// 24: that a source was seen to evict stays known wherever the cursor goes.
#[test]
fn n24_what_was_seen_of_the_source_stays_known() {
    let sim = disk();
    let mut fold = open(&sim);
    let cursor = at(7).remember_evicting(true).written_at(Some(99));
    fold.apply(&[put("k", "v", 7)], &cursor).unwrap();
    let known =
        |cursor: &WatchCursor| (cursor.seen_evicting(), cursor.written_ms(), cursor.as_u64());
    for _ in 0..3 {
        assert_eq!(known(&fold.cursor()), (true, Some(99), Some(7)));
        fold.compact_all().unwrap();
        drop(fold);
        let (opened, again) = options(&sim).open(PATH).unwrap();
        assert_eq!(opened, cursor);
        fold = again;
    }
    #[cfg(feature = "blake3")]
    {
        let manifest = fold.export_to("/d/x".as_ref()).unwrap();
        assert_eq!(known(&manifest.cursor), (true, Some(99), Some(7)));
    }
}
